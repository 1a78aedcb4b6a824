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
"""
Video to peers: frames of H.264, encoded once for all who watch a camera in the same quality.

A frame is made of the one before. So a peer that has missed one gets nothing more until the next
one that stands for itself, which is asked for at once. Where a peer does not choose a quality,
what waits for it does. It begins small: nobody knows yet what the link carries. Peers that cannot
decode video get JPEG in the same way.

Peers whose dialect has no words for video get the same frames as messages, on topics that are
none of ROS (:mod:`.video_topics`).
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import count
from typing import NamedTuple, TYPE_CHECKING

from ws_bridge.bridge.cameras import CameraKey, Cameras
from ws_bridge.bridge.peer import agreed_type, Peer, types_of
from ws_bridge.bridge.streams import Form, form_for, Member
from ws_bridge.bridge.video_topics import has_library, lacks_library
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema import VIDEO
from ws_bridge.errors import LimitExceeded, TypeMismatch, Unavailable, UnknownName, WsBridgeError
from ws_bridge.protocol.native import video_frame
from ws_bridge.protocol.operations import VIDEO_TYPE
from ws_bridge.protocol.replies import Delivery, Subscribed
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.session.effects import DeliveryName, OpenSubscription
from ws_bridge.session.queue import Frame, Split
from ws_bridge.transport.link import Link
from ws_bridge.video.camera import Packet, VIDEO_TYPES, Viewer
from ws_bridge.video.ladder import Ladder, LATE
from ws_bridge.video.messages import compressed_video, READERS
from ws_bridge.video.recipes import Recipe, RUNG, rungs_of, video_recipe

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

DEPTH = 6
"""Frames of one camera that wait for a slow peer; then it has to wait for a new beginning."""
LEAST_DEPTH = 1
"""The same of pictures that stand for themselves, and of frames that come rarely."""
REMEMBERED = 256
"""Frames of which it is remembered when they left, until the peer says that it has shown them."""
ROUNDING = 1_000
"""By so much a time that a peer repeats may differ, ns: it is written in seconds."""
SAYS_EACH = 0.25
"""So often a peer says at least what it shows, s, where it does."""
OnFrameLeft = Callable[[int, Link], None]
"""Gets the time of a picture, Unix, ns, and the link to which all of it was written."""
FIRST_CHANNEL = 1 << 30
"""The channels of video are numbered from here on; no other channel has such a number."""


class _Wire(NamedTuple):
    """
    How the frames of one peer leave.

    :param frame: makes one of a packet, its rung and its number.
    """

    frame: Callable[[Packet, int, int], Frame]
    text: bool = False
    split: Split | None = None


class _Showing:
    """
    A camera that a peer watches.

    :param wish: what it has asked for.
    :param rung: the quality to begin with.
    :param wire: makes the frames.
    :param ladder: chooses the quality; ``None`` = the peer did.
    :param clock: monotonic time, s.
    :param on_left: told of each frame that has left.
    """

    def __init__(self, cameras: Cameras, peer: Peer, wish: OpenSubscription, key: CameraKey,
                 rung: int, wire: _Wire, ladder: Ladder | None,
                 clock: Callable[[], float], on_left: OnFrameLeft | None) -> None:
        self.peer = peer
        self.wish = wish
        self._cameras = cameras
        self._name = wish.name
        self._key = key
        self._on_left = on_left
        self._wire = wire
        self._ladder = ladder
        self._clock = clock
        self._count = 0
        self._waits = True      # for a frame that stands for itself
        self._left: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._delay: float | None = None
        self._viewer = self._make_viewer(rung)
        cameras.add(key, self._viewer)

    def begin(self) -> None:
        """Send nothing of what waits, and what comes from now on in its share of the link."""
        self._left.clear()      # what was lost is never shown
        self.peer.link.forget_stream(self._name)
        self.peer.link.queue.share(self._name, self.wish.share)

    def end(self) -> None:
        """Watch no longer; what waits is not sent any more."""
        self._cameras.remove(self._key, self._viewer)
        self.peer.link.forget_stream(self._name)

    def _make_viewer(self, rung: int) -> Viewer:
        interval = self.wish.min_interval
        if self._ladder is not None:
            interval = max(interval, self._ladder.interval)
        recipe = video_recipe(self.wish.codec, rung, interval)
        return Viewer(recipe, partial(self._take, rung, recipe), self._fail)

    def _take(self, rung: int, recipe: Recipe, packet: Packet) -> None:
        """Send a frame, unless one that it is made of is missing."""
        link, wire = self.peer.link, self._wire
        self._count += 1
        has_lost = link.queue.has_lost(self._name)
        if has_lost:
            self.begin()
            self._waits = True
            self._cameras.want_key(self._key, recipe)
        if self._ladder is not None and self._ladder.note(
                self._clock(), link.queue.waiting(self._name), has_lost=has_lost,
                delay=self._delay_now(), bandwidth=link.bandwidth) and self._change(
                    self._ladder.rung):
            return
        if self._waits and not packet.is_key:
            return
        self._waits = False
        self._left.append((packet.stamp, self._clock()))
        link.send_stream(
            self._name, wire.frame(packet, rung, self._count),
            self._depth(packet), text=wire.text,
            split=wire.split, on_left=None if self._on_left is None else partial(
                self._on_left, packet.stamp, link))

    def _depth(self, packet: Packet) -> int:
        """Return how many frames may wait: where they come rarely, one is old already."""
        if packet.codec == 'jpeg' or (
                self._ladder is not None and self._ladder.interval >= LATE):
            return LEAST_DEPTH
        return DEPTH

    def shown(self, stamp: int) -> None:
        """Take note that the peer has shown a picture, by its time, Unix, ns."""
        newest = next((index for index in reversed(range(len(self._left)))
                       if abs(self._left[index][0] - stamp) <= ROUNDING), None)
        if newest is not None:
            self._delay = self._clock() - self._left[newest][1]
            for _ in range(newest + 1):
                self._left.popleft()

    def _delay_now(self) -> float | None:
        """Return how late the peer sees frames, s; no word of one that left long ago tells too."""
        if self._delay is None or not self._left:
            return self._delay
        return max(self._delay, self._clock() - self._left[0][1] - SAYS_EACH)

    def _change(self, rung: int) -> bool:
        """Watch in another quality, from a new beginning on, if that may be; return whether."""
        viewer = self._make_viewer(rung)
        try:
            self._cameras.add(self._key, viewer)
        except LimitExceeded:       # as before, until the next step
            return False
        self._cameras.remove(self._key, self._viewer)
        self.begin()
        self._viewer, self._waits, self._delay = viewer, True, None
        return True

    def _fail(self, error: WsBridgeError) -> None:
        self._waits = True
        self.peer.send(self.wish.failed(error))


def _native(channel: int, *, is_encoded: bool) -> _Wire:
    """
    Return how video leaves in words of its own.

    :param is_encoded: the bridge has encoded it.
    """
    return _Wire(lambda packet, rung, number: video_frame(
        channel, packet.data, packet.stamp, number, is_key=packet.is_key, codec=packet.codec,
        rung=rung if is_encoded else None))


def _message(codec: Codec, form: Form, clock: Callable[[], float]) -> _Wire:
    """
    Return how video leaves as messages.

    :param clock: Unix time, s.
    """
    def frame(packet: Packet, rung: int, number: int) -> Frame:
        made = packet.made
        if form.encode not in made:
            if compressed_video not in made:
                made[compressed_video] = compressed_video(
                    packet.stamp, packet.frame_id, packet.data, packet.codec)
            made[form.encode] = form.encode(codec, made[compressed_video])
        return form.frame_here(made[form.encode], nanoseconds(clock()), number)
    return _Wire(frame, form.text, form.split)


class VideoToPeers:
    """
    Delivers what peers subscribe to as video.

    :param store: converts video to what peers want as messages.
    :param cameras: where it comes from.
    :param clock: monotonic time, s.
    :param watcher: returns what is told of each picture of a topic that has left, if anybody is.
    """

    def __init__(self, ros: RosSide, store: CodecStore, cameras: Cameras,
                 clock: Callable[[], float],
                 watcher: Callable[[str], OnFrameLeft | None]) -> None:
        self._ros = ros
        self._store = store
        self._cameras = cameras
        self._clock = clock
        self._watcher = watcher
        self._numbers = count(FIRST_CHANNEL)
        self._shown: dict[tuple[str, DeliveryName], _Showing] = {}
        self._awaited: dict[tuple[str, DeliveryName], tuple[Peer, OpenSubscription]] = {}

    def __repr__(self) -> str:
        return f'VideoToPeers({len(self._shown)} shown)'

    def has(self, peer: Peer, delivery: DeliveryName) -> bool:
        """Whether a peer watches a camera by this name, or waits for one."""
        key = peer.name, delivery
        return key in self._shown or key in self._awaited

    def of_topics(self) -> list[tuple[Peer, OpenSubscription]]:
        """Return who gets video as messages, or waits for it, and as what it is wanted."""
        return [*self._awaited.values(), *(
            (showing.peer, showing.wish) for showing in self._shown.values()
            if showing.wish.camera is not None)]

    def await_camera(self, peer: Peer, wish: OpenSubscription) -> None:
        """Let a peer wait for the camera whose video a topic is; whoever opens it has to look."""
        self.close(peer, wish.name)
        self._awaited[peer.name, wish.name] = peer, wish
        peer.send(Subscribed(wish.op_id, Delivery(
            wish.wire_name, VIDEO_TYPE, wish.encoding, next(self._numbers), None, True)))

    def open(self, peer: Peer, wish: OpenSubscription) -> None:  # noqa: A003
        """
        Let a peer watch a camera, and acknowledge it; a second time replaces its settings.

        :raises UnknownName: there is no such topic.
        :raises TypeMismatch: it is no camera, or none of which JPEG is made.
        :raises Unavailable: what encodes is not installed.
        :raises LimitExceeded: there are too many cameras.
        """
        topic = wish.camera or wish.topic
        msg_type = self._type_of(topic, wish.msg_type, wish.codec)
        peer.session.login.rights.check_type(topic, msg_type)
        ladder = Ladder(self._clock(), RUNG if peer.link.is_fast else 0, rungs_of(wish.codec)) \
            if wish.rung is None and msg_type not in VIDEO_TYPES else None
        rung = ladder.rung if ladder else wish.rung or 0
        channel = next(self._numbers)
        wire = _native(channel, is_encoded=msg_type not in VIDEO_TYPES) if wish.camera is None \
            else _message(self._store.codec(VIDEO),
                          form_for(Member(peer, wish), channel), peer.clock)
        showing = _Showing(self._cameras, peer, wish, (topic, msg_type, wish.qos), rung,
                           wire, ladder, self._clock, self._watcher(topic))
        self.close(peer, wish.name)
        showing.begin()
        self._shown[peer.name, wish.name] = showing
        peer.send(Subscribed(wish.op_id, Delivery(
            wish.wire_name, msg_type if wish.camera is None else VIDEO_TYPE, wish.encoding,
            channel, None, False,
            None if msg_type in VIDEO_TYPES else rung)))

    def shown(self, peer: Peer, names: Iterable[DeliveryName], stamp: int) -> None:
        """Take note that a peer has shown a picture of a camera, by its time, Unix, ns."""
        for name in names:
            showing = self._shown.get((peer.name, name))
            if showing is not None:
                showing.shown(stamp)

    def close(self, peer: Peer, delivery: DeliveryName) -> None:
        """Let a peer watch no longer by this name."""
        self._awaited.pop((peer.name, delivery), None)
        showing = self._shown.pop((peer.name, delivery), None)
        if showing is not None:
            showing.end()

    def end(self, peer: Peer, topics: Collection[str]) -> None:
        """End what a peer has of topics that are gone, of which its dialect tells it."""
        for each, wish in self.of_topics():
            if each is peer and wish.topic in topics:
                self.close(peer, wish.name)
                peer.session.subscriptions.forget(wish.name)

    def _type_of(self, topic: str, asked: str | None, codec: str) -> str:
        types = types_of(self._ros, topic)
        if asked is not None:
            msg_type = agreed_type(topic, self._ros.types.message(asked).name, types)
        elif not types:
            raise UnknownName(f'there is no topic {topic}', field='topic')
        elif len(types) > 1:
            raise TypeMismatch(f'{topic} has several types: {", ".join(types)}; say which',
                               field='type')
        else:
            msg_type = types[0]
        if msg_type not in READERS:
            raise TypeMismatch(f'{topic} is {msg_type}, of which no video is made',
                               field='topic')
        if codec == 'jpeg' and msg_type in VIDEO_TYPES:
            raise TypeMismatch(f'{topic} is {msg_type}, of which no JPEG is made', field='topic')
        if codec == 'jpeg' and not has_library('PIL'):
            raise Unavailable('JPEG needs Pillow, which is not installed where the bridge runs '
                              '(pip install "ws_bridge[video]")')
        if codec != 'jpeg' and lacks_library(msg_type):
            raise Unavailable('video needs PyAV and Pillow, which are not installed where the '
                              'bridge runs (pip install "ws_bridge[video]")')
        return msg_type
