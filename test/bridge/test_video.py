# Copyright 2026 ws_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Topics as video, over sockets."""
from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
import time
from types import SimpleNamespace
from typing import Any

import cbor2
import orjson
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import String
from support import pictures
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.foxglove_peer import foxglove_peer
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer

from ws_bridge.bridge import video, video_topics
from ws_bridge.bridge.video import DEPTH, VideoToPeers
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import LimitExceeded
from ws_bridge.protocol.foxglove import FoxgloveDialect
from ws_bridge.protocol.native import BINARY_HEADER, JPEG, KEY_FRAME, RUNG_AT, VIDEO_OPCODE
from ws_bridge.protocol.operations import VIDEO_TYPE
from ws_bridge.protocol.rosbridge import RosbridgeDialect
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.ros.types import TypeStore
from ws_bridge.session.effects import OpenSubscription
from ws_bridge.session.queue import OutQueue, Share
from ws_bridge.video.annexb import is_key
from ws_bridge.video.camera import Packet
from ws_bridge.video.messages import compressed_video, IMAGE, read_message
from ws_bridge.video.recipes import JpegRecipe, VideoRecipe


class Robot(SpinningNode):
    """A robot with a camera."""

    def __init__(self) -> None:
        super().__init__('robot')
        self.camera = self.node.create_publisher(Image, '/camera', 1)
        self.text = self.node.create_publisher(String, '/text', 1)

    async def show(self, peer: NativePeer, sec: int = 0) -> tuple[Any, ...]:
        """Publish until a peer gets one frame more, and return its header."""
        number = len(peer.binary)
        while len(peer.binary) <= number:
            self.camera.publish(pictures.raw(sec=sec))
            with suppress(AssertionError):
                await async_wait_until(lambda: len(peer.binary) > number, timeout=0.1)
        return peer.binary[number][0]


@pytest.fixture
def robot() -> Iterator[Robot]:
    """Give the robot."""
    with Robot() as running:
        yield running


async def test_a_camera_as_video(robot: Robot) -> None:
    """Two peers share what is encoded once; the same topic may be had otherwise too."""
    pytest.importorskip('av', reason='needs PyAV')
    async with running_bridge(max_cameras=1) as service, native_peer(service) as one, \
            native_peer(service) as two:
        await async_wait_until(lambda: {'/camera', '/text'} <= set(service.ros.graph.topics))
        opened = await one.ask('subscribe', topic='/camera', encoding='video', rung=1)
        assert opened == {'op': 'subscribe', 'topic': '/camera', 'type': IMAGE, 'schema': None,
                          'encoding': 'video', 'pending': False, 'rung': 1,
                          'channel_id': opened['channel_id']}
        camera = service.bridge.cameras.camera('/camera')
        assert camera is not None
        now = int(time.time())
        opcode, flags, zero, channel, stamp, number = await robot.show(one, now)
        assert (opcode, flags, zero, channel, stamp, number) == (
            VIDEO_OPCODE, KEY_FRAME | 2 << RUNG_AT, 0, opened['channel_id'], now, 1)
        assert (await robot.show(one))[1:4:2] == (2 << RUNG_AT, channel)
        assert one.binary[0][1].startswith(b'\0\0\0\1')
        await two.ask('subscribe', topic='/camera', encoding='video', rung=1)
        assert (await robot.show(two))[1] == flags
        await async_wait_until(lambda: two.binary[0][1] in [data for _, data in one.binary])
        assert (camera.viewer_count, service.bridge.entity_count) == (2, 1)

        wide = await two.ask('subscribe', topic='/camera', encoding='video', rung=2)
        assert wide['rung'] == 2 and wide['channel_id'] != channel      # in place of the first
        while (header := await robot.show(two))[3] != wide['channel_id']:
            continue                # of the first one
        assert header[1] == KEY_FRAME | 3 << RUNG_AT
        assert camera.viewer_count == 2
        await two.ask('subscribe', topic='/camera', encoding='cdr')
        await two.ask('unsubscribe', topic='/camera', encoding='video')
        await one.ask('unsubscribe', topic='/camera', encoding='video')
        assert camera.viewer_count == 0
        assert service.bridge.entity_count == 1     # that of the CDR

        for fields, code in ((
                {'topic': '/nothing', 'encoding': 'video'}, 'unknown_name'), (
                {'topic': '/text', 'encoding': 'video'}, 'type_mismatch'), (
                {'topic': '/camera', 'type': 'std_msgs/msg/String', 'encoding': 'video'},
                'type_mismatch')):
            assert (await two.refused('subscribe', **fields))['code'] == code
        assert (await two.refused('subscribe', topic='/camera', encoding='video', rung=3,
                                  valid=False))['code'] == 'bad_field'
        assert (await two.refused('unsubscribe', topic='/camera', encoding='video'))[
            'code'] == 'not_advertised'
        await one.ask('subscribe', topic='/camera', encoding='video')
    assert not service.bridge.cameras


async def test_what_cannot_be_encoded_is_told_to_the_subscription(robot: Robot) -> None:
    """A peer with two cameras, or with the samples too, has to know which is the one."""
    pytest.importorskip('PIL', reason='needs Pillow')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/camera' in service.ros.graph.topics)
        await peer.ask('subscribe', topic='/camera', encoding='cdr')
        await peer.ask('subscribe', topic='camera', encoding='video', codec='jpeg')
        while not peer.errors():
            robot.camera.publish(Image(width=4, height=4, step=12, encoding='strange',
                                       data=bytes(48)))
            with suppress(AssertionError):
                await async_wait_until(peer.errors, timeout=0.1)
        error = peer.errors()[0]
        assert (error['code'], error['topic'], error['encoding']) == (
            'bad_image', 'camera', 'video')


async def test_a_camera_as_jpeg(robot: Robot) -> None:
    """In the words of video, without its library; a smaller picture keeps its size."""
    pytest.importorskip('PIL', reason='needs Pillow')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/camera' in service.ros.graph.topics)
        opened = await peer.ask('subscribe', topic='/camera', encoding='video', codec='jpeg')
        assert opened['rung'] == 0
        assert (await robot.show(peer))[1] == KEY_FRAME | JPEG | 1 << RUNG_AT
        assert peer.binary[0][1].startswith(b'\xff\xd8\xff')
        assert (await peer.refused('subscribe', topic='/camera', encoding='video', codec='gif',
                                   valid=False))['code'] == 'bad_field'


async def test_topics_of_video(robot: Robot) -> None:
    """
    For dialects without words for it, of one encoder for all, and with the rights of the camera.

    A page may subscribe before there is a camera; a topic of the name, of a node, wins.
    """
    pytest.importorskip('av', reason='needs PyAV')
    topic, alias = '/camera/video', 'foxglove_msgs/CompressedVideo'
    async with running_bridge() as service, rosbridge_peer(service) as page, \
            foxglove_peer(service) as app:
        await page.send('subscribe', topic='/later/video', type=alias)
        await page.send('subscribe', topic=topic, type=alias)
        await app.subscribe(0, topic)
        channel = app.channels[topic]
        assert (channel['schemaName'], channel['encoding']) == (VIDEO_TYPE, 'cdr')
        assert 'uint8[] data' in channel['schema']
        assert (await page.call('/rosapi/topic_type', {'topic': topic}))['values'] == {
            'type': VIDEO_TYPE}
        listed = (await page.call('/rosapi/topics'))['values']
        assert dict(zip(listed['topics'], listed['types'], strict=True))[topic] == VIDEO_TYPE
        now = int(time.time())

        def shown() -> bool:
            robot.camera.publish(pictures.raw(sec=now))
            return bool(len(app.samples.get(0, ())) > 1 and page.samples(topic))
        await async_wait_until(shown)
        image = read_message(VIDEO_TYPE, app.samples[0][0])
        assert (image.stamp, is_key('h264', image.data)) == (now * 10**9, True)
        assert not is_key('h264', read_message(VIDEO_TYPE, app.samples[0][1]).data)
        first = page.samples(topic)[0]
        assert (first['timestamp'], first['format']) == ({'sec': now, 'nanosec': 0}, 'h264')
        assert is_key('h264', b64decode(first['data']))
        camera = service.bridge.cameras.camera('/camera')
        assert camera is not None and camera.viewer_count == 2
        assert len(service.bridge.cameras) == 1

        node = robot.node
        later = node.create_publisher(Image, '/later', 1)

        def came() -> bool:
            later.publish(pictures.raw())
            return bool(page.samples('/later/video'))
        await async_wait_until(came)

        real = node.create_publisher(String, topic, 1)
        await async_wait_until(lambda: app.channels.get(topic, channel) != channel)
        assert app.channels[topic]['schemaName'] == 'std_msgs/msg/String'
        await async_wait_until(lambda: not camera.viewer_count)
        robot.run(node.destroy_publisher, real)
        await async_wait_until(lambda: app.channels.get(topic) == channel)


class Rig:
    """The unit with one peer, whose link is a queue that nobody empties."""

    def __init__(self, rung: int | None = 1, dialect: Any = None, codec: str = 'h264',
                 **wish: Any) -> None:
        self.viewers: list[Any] = []
        self.keys = 0
        self.is_full = False
        self.now = 0.0
        self.sent: list[Any] = []
        self.queue = OutQueue(1 << 20, 100)
        ros: Any = SimpleNamespace(
            graph=SimpleNamespace(topics={'/camera': SimpleNamespace(types=(IMAGE,))}),
            types=TypeStore())
        cameras: Any = SimpleNamespace(
            add=self._add,
            remove=lambda key, viewer: self.viewers.remove(viewer), want_key=self._want_key)
        link = SimpleNamespace(
            forget_stream=self.queue.forget, is_fast=True, bandwidth=None, queue=self.queue,
            send_stream=lambda key, data, depth, text, split, on_left: self.queue.put_stream(
                key, data, depth, text=text, split=split, on_left=on_left))
        rights = SimpleNamespace(check_type=lambda topic, msg_type: None)
        self.peer: Any = SimpleNamespace(
            name='p', link=link, send=self.sent.append, dialect=dialect, clock=lambda: 5.0,
            session=SimpleNamespace(login=SimpleNamespace(rights=rights),
                                    subscriptions=SimpleNamespace(forget=self._forget)))
        self.forgotten: list[Any] = []
        self.left: list[int] = []
        self.unit = VideoToPeers(ros, CodecStore(), cameras, lambda: self.now,
                                 lambda topic: lambda stamp, link: self.left.append(stamp))
        self.wish = OpenSubscription(
            'i', '/camera', '/camera', None, 'video', 0.0, 1, None, False, key='video',
            separate=True, rung=rung, codec=codec, share=Share(weight=3.0))
        if wish:
            self.wish = replace(self.wish, topic='/camera/video', wire_name='camera/video',
                                camera='/camera', **wish)

    def _forget(self, name: Any) -> None:
        self.forgotten.append(name)

    def _add(self, key: Any, viewer: Any) -> None:
        if self.is_full:
            raise LimitExceeded('full')
        self.viewers.append(viewer)

    def _want_key(self, key: Any, recipe: VideoRecipe) -> None:
        self.keys += 1

    def show(self, *, is_key: bool = False) -> None:
        """Hand a packet out."""
        for viewer in [*self.viewers]:
            viewer.take(Packet(b'x', 7, is_key, 'h264', 'eye'))

    def numbers(self) -> list[int]:
        """Take what waits for the peer; return the numbers of the frames."""
        found = []
        while (item := self.queue.pop()) is not None:
            assert isinstance(item.frame, bytes)
            if item.on_left is not None:
                item.on_left()
            found.append(BINARY_HEADER.unpack_from(item.frame)[5])
        return found


def test_a_peer_that_missed_a_frame_gets_none_before_the_next_beginning() -> None:
    rig = Rig()
    rig.unit.open(rig.peer, rig.wish)
    rig.show()                                      # 1: it came in the middle
    assert rig.numbers() == []
    rig.show(is_key=True)
    for _ in range(DEPTH):                          # 3 to 8: one too many waits
        rig.show()
    assert not rig.keys
    rig.show()
    assert rig.keys == 1
    rig.show()
    assert rig.numbers() == []                      # what cannot be shown is not sent
    rig.show(is_key=True)
    rig.show()
    assert rig.queue._shares == {rig.wish.name: Share(weight=3.0)}
    assert (rig.numbers(), rig.keys) == ([11, 12], 1)
    assert rig.left == [7, 7]           # a gate may slow down by what was seen
    rig.viewers[0].fail(ValueError('broken'))
    rig.show()
    rig.show(is_key=True)
    assert rig.numbers() == [14]
    rig.unit.open(rig.peer, rig.wish)
    assert len(rig.viewers) == 1
    rig.unit.close(rig.peer, rig.wish.name)
    assert not rig.viewers and not rig.unit.has(rig.peer, rig.wish.name)


def test_what_waits_chooses_the_quality() -> None:
    """Where the peer does not; each step begins anew."""
    rig = Rig(rung=None)
    rig.unit.open(rig.peer, rig.wish)
    assert rig.viewers[0].recipe == VideoRecipe(1)
    rig.now = 2.0
    rig.show(is_key=True)
    for _ in range(3):
        rig.show()
    assert [viewer.recipe for viewer in rig.viewers] == [VideoRecipe(0)]
    rig.numbers()
    rig.show()
    assert rig.numbers() == []
    rig.show(is_key=True)
    assert len(rig.numbers()) == 1
    rig.now = 60.0
    rig.show()
    assert [viewer.recipe for viewer in rig.viewers] == [VideoRecipe(1)]


def test_what_is_not_known_to_be_fast_begins_small() -> None:
    """And goes no higher than the link is known to carry."""
    rig = Rig(rung=None)
    rig.peer.link.is_fast = False
    rig.unit.open(rig.peer, rig.wish)
    assert rig.viewers[0].recipe == VideoRecipe(0)
    rig.peer.link.bandwidth = 100_000.0
    rig.now = 60.0
    rig.show(is_key=True)
    assert rig.viewers[0].recipe == VideoRecipe(0)
    rig.peer.link.bandwidth = None
    rig.numbers()
    rig.now = 70.0
    rig.show()
    assert rig.viewers[0].recipe == VideoRecipe(1)


def test_jpeg_for_those_who_cannot_decode_video() -> None:
    """Each picture stands for itself: the newest waits, and one that gave way costs no other."""
    rig = Rig(rung=None, codec='jpeg')
    rig.peer.link.is_fast = False
    rig.unit.open(rig.peer, rig.wish)
    assert rig.viewers[0].recipe == JpegRecipe(240, 0, 50, 0.1, is_most=True)
    for _ in range(4):
        for viewer in [*rig.viewers]:
            viewer.take(Packet(b'x', 7, True, 'jpeg'))
    item = rig.queue.pop()
    assert item is not None and isinstance(item.frame, bytes)
    opcode, flags, _, _, _, number = BINARY_HEADER.unpack_from(item.frame)
    assert (opcode, flags, number) == (VIDEO_OPCODE, KEY_FRAME | JPEG | 1 << RUNG_AT, 4)
    assert rig.queue.pop() is None
    rig.now = 2.0
    for _ in range(3):
        for viewer in [*rig.viewers]:
            viewer.take(Packet(b'x', 7, True, 'jpeg'))
    assert rig.viewers[0].recipe == JpegRecipe(240, 0, 25, 0.2, is_most=True)


def test_where_no_other_quality_may_be_no_frame_is_left_out() -> None:
    """The next one is made of it."""
    rig = Rig(rung=None)
    rig.unit.open(rig.peer, rig.wish)
    rig.show(is_key=True)
    rig.is_full, rig.now = True, 2.0
    for _ in range(4):
        rig.show()
    assert rig.numbers() == [1, 2, 3, 4, 5]
    assert [viewer.recipe for viewer in rig.viewers] == [VideoRecipe(1)]


def test_what_is_seen_late_chooses_the_quality() -> None:
    """Where the peer says what it shows: nothing has to wait here."""
    rig = Rig(rung=None)
    rig.unit.open(rig.peer, rig.wish)
    stamps = count(10**18, 33_000_007)

    def show(seen: float, *, says: bool = True) -> list[VideoRecipe]:
        """Hand out a frame, which the peer sees after so many seconds; give what is watched."""
        stamp = next(stamps)
        rig.viewers[0].take(Packet(b'x', stamp, True, 'h264'))
        rig.numbers()
        rig.now += seen
        if says:
            rig.unit.shown(rig.peer, ('/camera', rig.wish.name), nanoseconds(stamp / 1e9))
        return [viewer.recipe for viewer in rig.viewers]
    for _ in range(20):
        assert show(0.1) == [VideoRecipe(1)]
    changes = [show(0.5) for _ in range(3)]
    assert changes == [[VideoRecipe(1)], [VideoRecipe(1)], [VideoRecipe(0)]]
    for _ in range(10):                             # it says nothing of the new one
        assert show(0.1, says=False) == [VideoRecipe(0)]
    show(0.1)
    for _ in range(12):                             # and then nothing any more
        show(0.1, says=False)
    assert show(0.1, says=False) == [VideoRecipe(0, 0.1)]


CDR = compressed_video(7, 'eye', b'x', 'h264')
VALUES = {'timestamp': {'sec': 0, 'nanosec': 7}, 'frame_id': 'eye', 'data': 'eA==',
          'format': 'h264'}
ROSBRIDGE = RosbridgeDialect(1000, cbor2.loads)


@pytest.mark.parametrize(('dialect', 'wish', 'read', 'wanted'), [
    (FoxgloveDialect('r'), {'encoding': 'cdr', 'key': '3'}, bytes,
     b'\1\3\0\0\0' + (5 * 10**9).to_bytes(8, 'little') + CDR),
    (ROSBRIDGE, {'encoding': 'json', 'separate': False}, orjson.loads,
     {'op': 'publish', 'topic': 'camera/video', 'msg': VALUES}),
    (ROSBRIDGE, {'encoding': 'cbor', 'separate': False}, cbor2.loads,
     {'op': 'publish', 'topic': 'camera/video', 'msg': {**VALUES, 'data': b'x'}}),
    (ROSBRIDGE, {'encoding': 'cbor-raw', 'separate': False}, cbor2.loads,
     {'op': 'publish', 'topic': 'camera/video', 'msg': {'secs': 5, 'nsecs': 0, 'bytes': CDR}})])
def test_video_as_messages(dialect: Any, wish: dict[str, Any], read: Any, wanted: Any) -> None:
    """In each dialect's own frames, from a key frame on, in a quality that what waits chooses."""
    rig = Rig(rung=None, dialect=dialect, **wish)
    rig.unit.open(rig.peer, rig.wish)
    assert rig.sent[0].delivery.msg_type == VIDEO_TYPE
    rig.show()
    assert rig.queue.pop() is None
    rig.show(is_key=True)
    item = rig.queue.pop()
    assert item is not None and item.text is (wish['encoding'] == 'json')
    assert read(item.frame) == wanted
    rig.now = 2.0
    for _ in range(4):
        rig.show()
    assert [viewer.recipe for viewer in rig.viewers] == [VideoRecipe(0)]
    assert rig.unit.of_topics() == [(rig.peer, rig.wish)]
    rig.unit.end(rig.peer, ('/camera', '/other/video'))
    assert rig.viewers and not rig.forgotten
    rig.unit.end(rig.peer, ('/camera', '/camera/video'))
    assert not rig.viewers and rig.forgotten == [rig.wish.name]


def test_a_camera_that_is_awaited() -> None:
    rig = Rig(rung=None, dialect=ROSBRIDGE, encoding='json', separate=False)
    rig.unit.await_camera(rig.peer, replace(rig.wish, camera=None))
    delivery = rig.sent[0].delivery
    assert (delivery.msg_type, delivery.pending) == (VIDEO_TYPE, True)
    assert rig.unit.has(rig.peer, 'camera/video') and not rig.viewers
    rig.unit.open(rig.peer, rig.wish)
    assert rig.unit.of_topics() == [(rig.peer, rig.wish)]
    rig.unit.close(rig.peer, 'camera/video')
    assert not rig.unit.has(rig.peer, 'camera/video')


def test_what_is_made_of_a_frame_is_made_once() -> None:
    """For all who get it in the same encoding."""
    packet = Packet(b'x', 7, True, 'h264')
    rig = Rig(rung=0, dialect=ROSBRIDGE, encoding='json', separate=False)
    rig.unit.open(rig.peer, rig.wish)
    rig.viewers[0].take(packet)
    made = {**packet.made}
    assert len(made) == 2
    rig.viewers[0].take(packet)
    assert [*map(id, packet.made.values())] == [*map(id, made.values())]


@pytest.mark.parametrize(('codec', 'says'), [
    ('h264', 'video needs PyAV and Pillow'), ('jpeg', 'JPEG needs Pillow')])
def test_without_the_library(monkeypatch: pytest.MonkeyPatch, codec: str, says: str) -> None:
    for module in (video, video_topics):
        monkeypatch.setattr(module, 'has_library', lambda name: False)
    rig = Rig()
    with pytest.raises(video.Unavailable, match=says):
        rig.unit.open(rig.peer, replace(rig.wish, codec=codec))
