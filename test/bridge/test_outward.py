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
"""Topics to peers, with a clock and timers that the test moves."""
from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
import re
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Int32
from support.latched_model import LatchedModel
from support.timers import Timers

from ws_bridge.bridge import fan_out as fan_out_module
from ws_bridge.bridge import streams
from ws_bridge.bridge.fan_out import LATE, MAX_WAITING, SLICE, TOGETHER
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.streams import Form
from ws_bridge.config import Exposure
from ws_bridge.convert import clouds as clouds_module
from ws_bridge.convert.cbor import cbor_values
from ws_bridge.convert.clouds import CLOUD, sparse_cloud
from ws_bridge.convert.codec import Codec, CodecStore, LARGE
from ws_bridge.errors import TypeMismatch
from ws_bridge.protocol.dialect import SampleWriter
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.native import binary_writer
from ws_bridge.protocol.operations import Encoding
from ws_bridge.protocol.rosbridge import RosbridgeDialect
from ws_bridge.ros.rcl import SampleInfo
from ws_bridge.ros.settings import RosSettings
from ws_bridge.ros.subscriptions import Subscription
from ws_bridge.ros.types import TypeStore
from ws_bridge.session.effects import OpenSubscription
from ws_bridge.session.login import open_to_all
from ws_bridge.session.queue import OutQueue, Parts

IDLE: Any = SimpleNamespace(is_busy=lambda stream: False)
"""Converts nothing: no sample here is large."""
SETTINGS = RosSettings(latched_count=5)
TYPES, CODECS = TypeStore(), CodecStore()


class Slow:
    """A converter that is done with each message when the test says so."""

    def __init__(self) -> None:
        self._jobs: list[tuple[object, Callable[[], None]]] = []

    def is_busy(self, stream: object) -> bool:
        return any(stream == of for of, _ in self._jobs)

    def convert(self, stream: object, codec: Codec, cdr: bytes, encoding: Encoding,
                then: Callable[[memoryview], None], depth: int = 1, **options: Any) -> None:
        old = [job for job in self._jobs if job[0] == stream]
        for job in old[:max(len(old) + 1 - depth, 0)]:
            self._jobs.remove(job)
        self._jobs.append((stream, lambda: then(
            memoryview(ENCODINGS[encoding].encode(codec, cdr)))))

    def work(self) -> None:
        while self._jobs:
            _, run = self._jobs.pop(0)
            run()


class FakeLink:
    """
    A link to which it takes a while to write.

    :param log: of what is written, by all links.
    :param cost: by how much it moves the clock, s.
    """

    def __init__(self, name: str, log: list[tuple[str, list[Any]]], clock: Timers,
                 cost: float = 0.0) -> None:
        self.name = name
        self.is_open = True
        self.dropped = self.messages_out = self.bytes_out = 0
        self.direct: Callable[[bytes], int] | None = None
        self._log = log
        self._clock = clock
        self._cost = cost
        self._staged: list[Any] = []
        self.forgotten: list[object] = []
        self.depths: set[int] = set()
        self.queue = OutQueue(1, 1)

    def forget_stream(self, key: object) -> None:
        self.forgotten.append(key)
        self._staged = [item for item in self._staged if item.key != key]

    def write(self, wire: bytes) -> int:
        """Be what is put into ``direct``."""
        self._log.append((self.name, [wire[2:]]))
        self._clock.now += self._cost
        return len(wire)

    def stage(self, item: Any) -> bool:
        self.depths.add(item.depth)
        self._staged.append(item)
        return len(self._staged) == 1

    def flush(self) -> None:
        if self._staged:
            self._log.append((self.name, [item.frame for item in self._staged]))
            self._staged = []
            self._clock.now += self._cost

    def send_stream(self, key: object, frame: Any, depth: int, **options: Any) -> None:
        self.flush()
        self._log.append((self.name, [frame]))

    def note_dropped(self) -> None:
        self.dropped += 1


class Robot:
    """An :class:`Outward` with what it needs; samples come from :meth:`publish`."""

    msg_type = 'std_msgs/msg/Int32'

    def __init__(self, converter: Any = IDLE, loop: Any = None) -> None:
        self.loop: Any = loop or Timers()
        self.log: list[tuple[str, list[Any]]] = []
        self.heard: dict[str, Subscription] = {}
        self._count = count(1)
        ros: Any = SimpleNamespace(graph=SimpleNamespace(topics={}), types=TYPES,
                                   subscribe=self._subscribe)
        self.outward = Outward(ros, CODECS, converter, self.loop,
                               expected_rate=lambda topic: None, epoch=0.0,
                               watcher=lambda topic: None)

    def _subscribe(self, name: str, msg_type: str, qos: object, *told: Any) -> Subscription:
        on_samples, on_error, on_missed = told
        self.heard[name] = Subscription(name, on_samples, on_error, SETTINGS, lambda _: None,
                                        on_missed)
        return self.heard[name]

    def peer(self, name: str, *topics: str, cost: float = 0.0, depth: int = 1,
             interval: float = 0.0) -> Any:
        """Let a peer subscribe."""
        peer: Any = SimpleNamespace(
            name=name, send=lambda reply: None, link=FakeLink(name, self.log, self.loop, cost),
            session=SimpleNamespace(login=open_to_all(Exposure.open())),
            dialect=SimpleNamespace(
                name='test', share_key=lambda topic, key: key or topic,
                sample_writer=lambda *form: lambda body, stamp, sequence: body))
        for topic in topics:
            self.subscribe(peer, topic, depth, interval)
        return peer

    def subscribe(self, peer: Any, topic: str, depth: int = 1, interval: float = 0.0,
                  key: str | None = None, encoding: Encoding = 'json',
                  max_points: int | None = None) -> None:
        """:param key: of one that is separate."""
        self.outward.open(peer, OpenSubscription(
            '1', topic, topic, self.msg_type, encoding, interval, depth, None, False,
            key=key, separate=key is not None, max_points=max_points))

    def make(self, number: int) -> bytes:
        """Return a message."""
        return serialize_message(Int32(data=number))

    def publish(self, topic: str, *numbers: int) -> None:
        """Hand samples over as the pump does, but hand nothing out."""
        self.bring(topic, [((next(self._count), 1, b''), number) for number in numbers])

    def bring(self, topic: str, samples: list[tuple[SampleInfo, int]], *,
              latched: bool = False) -> None:
        """Do so with samples of which all is said."""
        self.heard[topic].deliver(
            [self.make(number) for _, number in samples],
            [info for info, _ in samples], self.loop.now, latched=latched)

    def sent(self, name: str) -> list[int]:
        """Return what was written to a peer."""
        return [int(number) for frame in self.frames(name)
                for number in re.findall(rb'"data":(\d+)', frame)]

    def frames(self, name: str) -> list[bytes]:
        """Return the frames that were written to a peer."""
        return [frame.whole() if isinstance(frame, Parts) else frame
                for to, frames in self.log if to == name for frame in frames]


class OnTime(Timers):
    """A loop that is never late."""

    def __init__(self) -> None:
        super().__init__()
        self._alarms: list[tuple[float, Callable[[], None]]] = []

    def call_at(self, when: float, action: Callable[..., None], *args: Any) -> object:
        alarm = when, partial(action, *args)
        self._alarms.append(alarm)
        return SimpleNamespace(cancel=lambda: self._alarms.remove(alarm))

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is to be done meanwhile."""
        end = self.now + seconds
        self.run()
        while due := [alarm for alarm in self._alarms if alarm[0] <= end]:
            alarm = min(due, key=lambda each: each[0])
            self._alarms.remove(alarm)
            self.now = max(self.now, alarm[0])
            alarm[1]()
            self.run()
        self.now = max(self.now, end)


class CloudRobot(Robot):
    """Its messages are clouds of 40 points, at (number, 0, 0)."""

    msg_type = CLOUD

    def make(self, number: int) -> bytes:
        fields = [PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
                  for place, name in enumerate('xyz')]
        return serialize_message(PointCloud2(
            height=1, width=40, fields=fields, point_step=12, row_step=480,
            data=struct.pack('<3f', number, 0.0, 0.0) * 40))

    def clouds(self, name: str) -> list[tuple[int, int]]:
        """Return number and points of each cloud that was written to a peer."""
        codec = CODECS.codec(TYPES.message(CLOUD))
        texts = [frame if b'"width"' in frame else codec.to_json(frame)
                 for frame in self.frames(name)]
        return [(int(struct.unpack_from('<f', b64decode(data))[0]), int(width)) for text in texts
                for width, data in re.findall(rb'"width":(\d+),.*?"data":"([^"]+)"', text)]

    def sent(self, name: str) -> list[int]:
        return [number for number, _ in self.clouds(name)]


def told_by(clock: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have slices measured by a clock of the test."""
    monkeypatch.setattr(fan_out_module, 'time', SimpleNamespace(perf_counter=lambda: clock.now))


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Robot:
    """Return a robot whose clock is the one by which slices are measured, too."""
    robot = Robot()
    told_by(robot.loop, monkeypatch)
    return robot


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> CloudRobot:
    """Return one of which the messages are clouds."""
    scanner = CloudRobot(loop=OnTime())
    told_by(scanner.loop, monkeypatch)
    return scanner


def longest_turn(robot: Robot) -> float:
    """Run what the loop has to do, and return how long the longest part took."""
    turns = []
    while robot.loop.waiting:
        before = robot.loop.now
        robot.loop.waiting.pop(0)()
        turns.append(robot.loop.now - before)
    return max(turns)


def test_a_command_waits_for_one_slice_at_most(robot: Robot) -> None:
    """However many samples wait, and however many peers want them."""
    topics = [f'/t{number}' for number in range(20)]
    for number in range(100):
        robot.peer(f'p{number}', *topics, cost=SLICE / 4, depth=50)
    for number in range(50):
        for topic in topics:
            robot.publish(topic, number)
    robot.outward.work()
    turns = []
    while robot.loop.waiting:
        before = robot.loop.now         # here the loop reads, and a command is carried out
        robot.loop.waiting.pop(0)()
        turns.append(robot.loop.now - before)
    assert len(turns) > 20
    assert max(turns) <= SLICE * 1.5
    for number in range(100):
        assert Counter(robot.sent(f'p{number}')) == Counter(list(range(50)) * 20)


def test_what_waits_leaves_together_and_in_order(robot: Robot) -> None:
    robot.peer('a', '/x', '/y', depth=9)
    robot.peer('b', '/x', depth=9)
    robot.publish('/x', 1, 2)
    robot.publish('/y', 10, 11)
    robot.outward.work()
    assert not robot.loop.waiting
    assert [name for name, _ in robot.log] == ['a', 'b']
    assert robot.sent('a') == [1, 10, 2, 11]
    assert robot.sent('b') == [1, 2]


def test_what_comes_alone_is_written_straight_to_who_takes_it(robot: Robot) -> None:
    """All others have it staged; each is counted."""
    quick, slow = robot.peer('quick', '/x', '/y'), robot.peer('slow', '/x', '/y')
    quick.link.direct = quick.link.write
    robot.publish('/x', 1)
    robot.outward.work()
    assert (quick.link.messages_out, quick.link.bytes_out) == (1, len('{"data":1}'))
    assert (slow.link.messages_out, robot.sent('quick'), robot.sent('slow')) == (0, [1], [1])
    robot.publish('/x', 2)
    robot.publish('/y', 3)
    robot.outward.work()
    assert (quick.link.messages_out, quick.link.bytes_out) == (3, 3 * len('{"data":1}'))
    assert robot.log[2:] == [('quick', [b'{"data":2}' + b'\x81\x0a' + b'{"data":3}']),
                             ('slow', [b'{"data":2}', b'{"data":3}'])]


def test_what_some_get_and_others_do_not_is_in_order_for_all(robot: Robot) -> None:
    """Peers who share all of their topics, or none, or some, with or without a rate limit."""
    rooms = {'a': ('/x', '/y'), 'b': ('/y', '/x'), 'c': ('/z',), 'd': ('/y', '/z'), 'e': ('/x',)}
    for name in ('ab', 'abc', 'abcd', 'abe'):
        peers = {each: robot.peer(each, *rooms[each], depth=99) for each in name}
        robot.subscribe(peers['b'], '/slow', interval=0.5)
        for peer in peers.values():
            peer.link.direct = peer.link.write
        robot.publish('/slow', 1)
        for number in range(40):
            for place, topic in enumerate(('/x', '/y', '/z')):
                if any(topic in rooms[each] for each in name):
                    robot.publish(topic, 10 + 3 * number + place)
        robot.outward.work()
        robot.loop.run()
        for each, peer in peers.items():
            got = robot.sent(each)
            for place, topic in enumerate(('/x', '/y', '/z')):
                assert [number for number in got if number >= 10 and number % 3 == (place + 1) % 3
                        ] == ([10 + 3 * number + place for number in range(40)]
                              if topic in rooms[each] else [])
            assert got.count(1) == (each == 'b')
            for topic in (*rooms[each], *(['/slow'] if each == 'b' else [])):
                robot.outward.close(peer, topic)
        robot.log.clear()


def test_time_that_is_up_ends_a_turn_at_any_point(robot: Robot,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only where something is written: else nothing would ever be made any more."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        assert looks < 5000, 'it looks at the clock and does nothing'
        robot.loop.now += SLICE / 7
        return float(robot.loop.now)
    monkeypatch.setattr(fan_out_module, 'time', SimpleNamespace(perf_counter=clock))
    topics = ('/x', '/y', '/z')
    peer = robot.peer('p', *topics, depth=99)
    peer.link.direct = peer.link.write
    for number in range(20):
        for topic in topics:
            robot.publish(topic, number)
        robot.outward.work()
    robot.loop.run()
    assert Counter(robot.sent('p')) == Counter(list(range(20)) * 3)


def test_what_is_put_together_is_bounded(robot: Robot) -> None:
    peer = robot.peer('p', '/t', depth=9999)
    peer.link.direct = peer.link.write
    robot.publish('/t', *range(1000))
    for _ in range(3):
        robot.outward.work()
        robot.loop.run()
    assert robot.sent('p') == list(range(1000))
    writes = [len(frames[0]) for _, frames in robot.log]
    assert max(writes) <= 2 * TOGETHER
    assert len(writes) < 10


def test_nothing_comes_after_a_topic_was_given_up(robot: Robot) -> None:
    """Though it was ready to be written."""
    peers = [robot.peer(f'p{number}', '/t', cost=SLICE) for number in range(4)]
    for peer in peers:
        peer.link.direct = peer.link.write
    robot.publish('/t', 1)
    robot.outward.work()
    assert len(robot.log) < 4
    robot.outward.close(peers[3], '/t')
    robot.loop.run()
    assert [robot.sent(peer.name) for peer in peers] == [[1], [1], [1], []]


def test_a_sample_that_is_still_handed_out_stays_before_newer_ones(robot: Robot) -> None:
    """Whatever happens meanwhile: more of it comes, peers join, leave, change their settings."""
    peers = [robot.peer(f'p{number}', '/t', cost=SLICE / 4, depth=9) for number in range(20)]
    for peer in peers[::2]:
        peer.link.direct = peer.link.write
    robot.publish('/t', 1)
    robot.outward.work()
    assert 0 < len(robot.log) < 10
    robot.publish('/t', 2, 3)
    robot.subscribe(peers[15], '/t', depth=8)
    robot.peer('late', '/t', depth=9)
    robot.outward.close(peers[16], '/t')
    peers[18].link.direct = None
    assert longest_turn(robot) <= SLICE * 1.5
    robot.publish('/t', 4)
    robot.outward.work()
    robot.loop.run()
    assert robot.sent('late') == [4]
    for peer in peers:
        assert robot.sent(peer.name) == ([] if peer is peers[16] else [1, 2, 3, 4])


def test_late_samples_give_way_to_the_newest(robot: Robot) -> None:
    """They are counted; a burst that is not late loses nothing."""
    few = robot.peer('few', '/t', depth=2)
    robot.publish('/t', *range(10))
    robot.outward.work()
    assert robot.sent('few') == list(range(10))
    robot.publish('/t', *range(10))
    robot.loop.now += LATE * 2
    robot.publish('/t', 10)
    robot.outward.work()
    assert robot.sent('few')[10:] == [9, 10]
    assert few.link.dropped == 9


def test_what_waits_is_bounded(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """In samples of a topic, and in bytes of all but the newest of each topic."""
    peer = robot.peer('p', '/t', '/u')
    robot.publish('/t', *range(MAX_WAITING + 5))
    assert peer.link.dropped == 5
    monkeypatch.setattr(fan_out_module, 'MAX_WAITING_BYTES', 10)
    robot.publish('/u', 1, 2)
    assert peer.link.dropped == 6
    robot.outward.work()
    assert robot.sent('p')[:2] == [5, 2]
    assert len(robot.sent('p')) == MAX_WAITING + 1


def test_who_comes_late_gets_nothing_from_before(robot: Robot) -> None:
    """Nor twice what is latched; who is there loses nothing when it changes its settings."""
    first = robot.peer('first', '/t', depth=9)
    robot.publish('/t', 1, 2)
    robot.peer('late', '/t', depth=9)
    robot.subscribe(first, '/t', depth=8)
    robot.publish('/t', 3)
    robot.outward.work()
    robot.loop.run()
    assert robot.sent('first') == [1, 2, 3]
    assert robot.sent('late') == [3]


def test_nothing_waits_for_peers_that_left(robot: Robot) -> None:
    peer = robot.peer('p', '/t')
    robot.publish('/t', 1)
    robot.outward.close(peer, '/t')
    robot.outward.work()
    assert not robot.log
    assert not robot.loop.waiting


def test_peers_with_a_rate_limit_get_theirs_in_slices(robot: Robot) -> None:
    """Though all of their times come at once."""
    for number in range(100):
        robot.peer(f'p{number}', '/t', cost=SLICE / 4, interval=1.0)
    robot.publish('/t', 1)
    robot.outward.work()
    robot.loop.run()
    robot.publish('/t', 2)
    robot.outward.work()
    robot.loop.now += 2.0
    assert longest_turn(robot) <= SLICE * 1.5
    assert all(robot.sent(f'p{number}') == [1, 2] for number in range(100))


def test_a_late_timer_sends_the_newest_sample_last(robot: Robot) -> None:
    robot.peer('page', '/t', interval=1.0)
    for number, step in ((1, 0.5), (2, 1.0), (3, 0.0)):     # the third comes after its time
        robot.publish('/t', number)
        robot.outward.work()
        robot.loop.now += step
    robot.loop.run()
    assert robot.sent('page') == [1, 3]


def test_deliveries_of_one_topic_to_one_peer(robot: Robot) -> None:
    """Peers share the frames of those that their dialect lets them share."""
    peers = [robot.peer('a'), robot.peer('b')]
    for peer in peers:
        for key in ('1', '2'):
            robot.subscribe(peer, '/t', depth=9, key=key)
    (topic,) = robot.outward.topics()
    assert [len(group.links) for group in topic.groups.values()] == [2, 2]
    robot.publish('/t', 1)
    robot.outward.work()
    assert robot.sent('a') == robot.sent('b') == [1, 1]
    robot.outward.close(peers[0], ('/t', '1'))
    assert not robot.outward.has(peers[0], ('/t', '1'))
    assert robot.outward.has(peers[0], ('/t', '2'))
    robot.publish('/t', 2)
    robot.outward.work()
    assert (robot.sent('a'), robot.sent('b')) == ([1, 1, 2], [1, 1, 2, 2])


@pytest.mark.parametrize(('write', 'is_spliced'), [
    (binary_writer(7, 1), True),
    (RosbridgeDialect(1000, cbor_values).sample_writer('/t', 1, 'cbor-raw'), False)])
def test_large_cdr_is_framed_without_a_copy(write: SampleWriter, is_spliced: bool) -> None:
    """Unless the frame says how long the body is."""
    form = Form('s', write, lambda codec, cdr: cdr, False, None, None,
                is_spliced=streams._is_spliced(write))
    for size in (10, LARGE, LARGE + 1):
        body = bytes(size)
        frame = form.frame_here(body, 1_500_000_000, 3)
        assert isinstance(frame, Parts) == (is_spliced and size > LARGE)
        whole = frame.whole() if isinstance(frame, Parts) else frame
        assert whole == write(body, 1_500_000_000, 3)


def test_what_waits_of_an_ended_subscription_is_forgotten() -> None:
    """A slow peer would be sent it long after it has unsubscribed."""
    robot = Robot()
    peer = robot.peer('a')
    for key in ('1', '2'):
        robot.subscribe(peer, '/t', key=key)
    robot.outward.close(peer, ('/t', '1'))
    assert peer.link.forgotten == [('/t', '1')]
    robot.outward.close(peer, ('/t', '2'))
    assert peer.link.forgotten == [('/t', '1'), ('/t', '2')]


A_SAMPLE = (1, 1, b'map server')


def test_a_latched_sample_is_kept_late(robot: Robot) -> None:
    """
    It is heard live, before the graph shows that it is kept; peers come in between.

    Whoever had it live is not given it again.
    """
    robot.peer('first', '/map')
    robot.bring('/map', [(A_SAMPLE, 7)])
    robot.outward.work()
    robot.peer('second', '/map')
    robot.peer('third', '/map', interval=1.0)
    robot.heard['/map'].be_exact(True)
    robot.bring('/map', [(A_SAMPLE, 7)], latched=True)
    robot.peer('fourth', '/map')
    robot.bring('/map', [(A_SAMPLE, 7)], latched=True)
    robot.outward.work()
    robot.loop.run()
    assert [robot.sent(name) for name in ('first', 'second', 'third', 'fourth')] == [[7]] * 4


@pytest.fixture
def costly(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Have it take a third of a slice to make text of a sample; count that."""
    made: Counter[str] = Counter()
    to_json = Codec.to_json

    def slowly(codec: Codec, cdr: bytes) -> bytes:
        robot.loop.now += SLICE / 3
        made['text'] += 1
        return to_json(codec, cdr)
    monkeypatch.setattr(Codec, 'to_json', slowly)
    return made


def keep(robot: Robot, topic: str, *numbers: int) -> None:
    """Have a topic keep samples; who is there gets them."""
    robot.heard[topic].be_exact(True)
    robot.bring(topic, [((number, number, b'map'), number) for number in numbers], latched=True)
    robot.outward.work()
    robot.loop.run()


def test_what_is_kept_is_given_in_slices(robot: Robot, costly: Counter[str]) -> None:
    """However many topics a peer subscribes to at once: nobody's command waits for more."""
    topics = [f'/t{number}' for number in range(300)]
    robot.peer('first', *topics)
    for topic in topics:
        keep(robot, topic, 1, 2)
    costly.clear()
    before = robot.loop.now
    robot.peer('late', *topics)
    assert robot.loop.now == before
    robot.publish('/t299', 3)
    robot.publish('/t7', 4)
    robot.outward.work()
    turns = []
    while robot.loop.waiting:
        before = costly['text']
        robot.loop.waiting.pop(0)()
        turns.append(costly['text'] - before)
    assert max(turns) <= 5
    assert costly['text'] == 2 * 300 + 2 * 2    # what is new is made for it alone, meanwhile
    assert robot.sent('first')[-2:] == [3, 4]
    assert Counter(robot.sent('late')) == Counter([1, 2] * 300 + [3, 4])
    robot.publish('/t7', 5)
    robot.outward.work()
    assert costly['text'] == 2 * 300 + 2 * 2 + 1
    assert robot.sent('first')[-1] == robot.sent('late')[-1] == 5


def test_what_is_missed_is_given_in_slices(robot: Robot, costly: Counter[str]) -> None:
    """It is known to be kept only when many peers have come that did not get it."""
    robot.peer('first', '/t')
    robot.bring('/t', [(A_SAMPLE, 7)])
    robot.outward.work()
    for number in range(30):
        robot.peer(f'p{number}', '/t')
    robot.heard['/t'].be_exact(True)
    before = robot.loop.now
    robot.bring('/t', [(A_SAMPLE, 7)], latched=True)
    assert robot.loop.now == before
    robot.publish('/t', 8)
    robot.outward.work()
    assert longest_turn(robot) <= SLICE * 1.7
    assert {tuple(robot.sent(f'p{number}')) for number in range(30)} == {(7, 8)}


def test_who_gives_up_a_topic_is_given_nothing_that_is_kept(robot: Robot, costly: Counter[str]
                                                            ) -> None:
    """Neither the rest of it, nor anything new; others are."""
    robot.peer('first', '/t')
    keep(robot, '/t', *range(1, 6))
    gone, stays = robot.peer('gone', '/t', depth=3), robot.peer('stays', '/t', depth=3)
    while not robot.sent('gone'):
        robot.loop.waiting.pop(0)()
    assert robot.sent('gone')[-1] < 5
    got = robot.sent('gone')
    robot.publish('/t', 6)
    robot.outward.close(gone, '/t')
    robot.subscribe(stays, '/t', depth=4)
    robot.loop.run()
    assert robot.sent('gone') == got
    assert robot.sent('stays') == [1, 2, 3, 4, 5, 6]
    robot.outward.close(stays, '/t')
    robot.peer('last', '/t')
    for peer in ('first', 'last'):
        robot.outward.close(SimpleNamespace(name=peer, link=stays.link), '/t')
    robot.loop.run()
    assert not robot.sent('last')


@pytest.mark.parametrize('interval', [0.0, 1.0])
def test_nothing_is_made_for_who_is_gone(robot: Robot, costly: Counter[str], interval: float
                                         ) -> None:
    """Though its end was not told yet."""
    robot.peer('first', '/t')
    keep(robot, '/t', 1, 2)
    gone = robot.peer('gone', '/t', interval=interval)
    robot.peer('late', '/t')
    robot.publish('/t', 3)
    gone.link.is_open = False
    robot.loop.run()
    assert (robot.sent('gone'), robot.sent('late')) == ([], [1, 2, 3])
    robot.outward.leave(gone)
    robot.publish('/t', 4)
    robot.outward.work()
    assert (robot.sent('gone'), robot.sent('late')) == ([], [1, 2, 3, 4])


def test_to_come_is_told_before_anything_is_given(robot: Robot) -> None:
    robot.peer('first', '/t')
    keep(robot, '/t', 1)
    late = robot.peer('late')
    late.send = lambda reply: robot.log.append(('late', [b'"data":999']))
    robot.subscribe(late, '/t')
    robot.loop.run()
    assert robot.sent('late') == [999, 1]


def test_a_peer_that_comes_while_there_is_much_gets_on(robot: Robot, costly: Counter[str]) -> None:
    """What comes meanwhile does not keep it from joining, and is bounded by its depth."""
    robot.peer('first', '/t', depth=2)
    keep(robot, '/t', 1, 2, 3)
    late = robot.peer('late', '/t', depth=2)
    number = 3
    while len(robot.outward.topics()[0].arrivals):
        number += 1
        assert number < 50
        robot.publish('/t', number)
        robot.loop.waiting.pop(0)()
    robot.loop.run()
    got = robot.sent('late')
    assert got[:3] == [1, 2, 3]
    assert got == sorted(got)
    assert len(got) == number - late.link.dropped
    assert got[-1] == number


def test_who_is_limited_gets_what_is_kept_and_then_the_newest(monkeypatch: pytest.MonkeyPatch
                                                              ) -> None:
    robot = Robot(loop=OnTime())
    told_by(robot.loop, monkeypatch)
    robot.peer('first', '/t', depth=9)
    keep(robot, '/t', 1, 2, 3)
    robot.peer('slow', '/t', interval=1.0)
    robot.publish('/t', 4, 5, 6)
    robot.outward.work()
    robot.loop.advance(0.9)
    *kept, new = robot.sent('slow')
    assert kept == [1, 2, 3]
    robot.loop.advance(0.2)
    assert robot.sent('slow') == [1, 2, 3, new, *{6} - {new}]


class OnePlace:
    """A topic of a robot, as the model has it."""

    def __init__(self, robot: Robot, random: Random) -> None:
        self._robot = robot
        self._random = random
        self._peers: dict[str, Any] = {}

    def be_exact(self) -> None:
        self._robot.heard['/t'].be_exact(True)

    def bring(self, samples: list[tuple[SampleInfo, int]], *, latched: bool) -> None:
        self._robot.bring('/t', samples, latched=latched)
        self._go_on()

    def _go_on(self) -> None:
        """Let some slices of time pass, or none."""
        for _ in range(self._random.choice([0, 1, 1, 2, 9])):
            self._robot.outward.work()
            if self._robot.loop.waiting:
                self._robot.loop.waiting.pop(0)()

    def forget(self, origins: frozenset[bytes]) -> None:
        self._robot.heard['/t'].forget(origins)

    def join(self, name: str) -> None:
        self._peers[name] = peer = self._robot.peer(name)
        if self._random.random() < 0.5:
            peer.link.direct = peer.link.write
        self.change(name)

    def change(self, name: str) -> None:
        points = self._random.choice([None, 1, 2]) if self._robot.msg_type == CLOUD else None
        self._robot.subscribe(self._peers[name], '/t', depth=self._random.randrange(90, 99),
                              max_points=points)
        self._go_on()

    def leave(self, name: str) -> None:
        self._robot.outward.close(self._peers[name], '/t')

    def got(self, name: str) -> list[int]:
        self._robot.outward.work()
        self._robot.loop.run()
        return self._robot.sent(name)


@pytest.mark.parametrize('kind', [Robot, CloudRobot])
def test_each_member_gets_each_latched_sample_once(kind: type[Robot],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it joins, whatever comes live, from the store, or twice; and in this order."""
    for seed in range(40):
        random = Random(seed)
        robot = kind()
        told_by(robot.loop, monkeypatch)
        # a slice is long enough for two, twenty or all
        cost = random.choice([SLICE / 2, SLICE / 20, 0.0])
        monkeypatch.setattr(robot, 'peer', partial(robot.peer, cost=cost))
        try:
            LatchedModel(OnePlace(robot, random), random, SETTINGS.latched_count).run(40)
        except AssertionError as exc:
            raise AssertionError(f'seed {seed}') from exc


def test_a_large_latched_sample_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes, goes, or wants it in another way, while it is converted."""
    monkeypatch.setattr(fan_out_module, 'LARGE', 4)
    slow = Slow()
    robot = Robot(slow)
    first, other = robot.peer('first', '/map'), robot.peer('other', '/map')
    rare, gone = robot.peer('rare', '/map', interval=1.0), robot.peer('gone', '/map')
    robot.heard['/map'].be_exact(True)
    robot.bring('/map', [(A_SAMPLE, 7)], latched=True)
    robot.outward.work()
    robot.peer('late', '/map')
    robot.subscribe(robot.peer('changes', '/map'), '/map', depth=5)
    both = robot.peer('both')
    for key in ('1', '2'):
        robot.subscribe(both, '/map', key=key)
    robot.subscribe(first, '/map', depth=5)
    robot.subscribe(other, '/map', encoding='cbor')
    robot.outward.close(gone, '/map')
    robot.outward.close(rare, '/map')
    robot.subscribe(rare, '/map', interval=1.0)
    robot.loop.run()
    slow.work()
    robot.outward.work()
    robot.loop.run()
    assert [robot.sent(name) for name in ('first', 'rare', 'late', 'changes', 'both', 'gone')] == [
        [7], [7], [7], [7], [7, 7], []]
    assert len(robot.frames('other')) == 1
    assert not robot.sent('other')


def test_a_small_sample_waits_for_a_large_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only a late peer waits for that: else it would be left with the older one."""
    slow = Slow()
    robot = Robot(slow)
    robot.peer('first', '/map')
    robot.heard['/map'].be_exact(True)
    robot.bring('/map', [(A_SAMPLE, 1)], latched=True)
    robot.outward.work()
    with monkeypatch.context() as patch:
        patch.setattr(fan_out_module, 'LARGE', 4)
        robot.peer('late', '/map')
        robot.loop.run()
    robot.bring('/map', [((2, 2, b'map server'), 2)], latched=True)
    robot.outward.work()
    slow.work()
    robot.bring('/map', [((3, 3, b'map server'), 3)], latched=True)
    robot.outward.work()
    robot.loop.run()
    assert robot.sent('first') == robot.sent('late') == [1, 2, 3]


@pytest.mark.parametrize('interval', [0.0, 1.0])
def test_what_is_new_waits_for_large_ones_that_are_kept(monkeypatch: pytest.MonkeyPatch,
                                                        interval: float) -> None:
    """Also if it is small, or if it comes before these were looked at; none gives way."""
    slow = Slow()
    robot = Robot(slow, OnTime())
    robot.peer('first', '/map', depth=9)
    keep(robot, '/map', 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(fan_out_module, 'LARGE', 4)
        robot.peer('late', '/map', interval=interval)
        robot.bring('/map', [((3, 3, b'map server'), 3)])
        robot.loop.run()
    robot.bring('/map', [((4, 4, b'map server'), 4)])
    robot.outward.work()
    robot.loop.run()
    assert not robot.sent('late')
    slow.work()
    robot.loop.advance(0.0)
    slow.work()
    robot.loop.advance(2.0)
    assert robot.sent('late') == [1, 2, 3, 4]


@pytest.mark.parametrize('interval', [0.0, 1.0])
def test_what_waits_for_its_time_is_not_lost_when_a_peer_changes_it(robot: Robot, interval: float
                                                                    ) -> None:
    page = robot.peer('page', '/t', interval=5.0)
    for number in (1, 2):
        robot.publish('/t', number)
        robot.outward.work()
    assert robot.sent('page') == [1]
    robot.subscribe(page, '/t', interval=interval)
    robot.outward.work()
    robot.loop.run()
    assert robot.sent('page') == [1, 2]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what is made of clouds, by how many points were wanted."""
    made: list[int] = []

    def count_it(cdr: bytes, most: int) -> bytes:
        made.append(most)
        return sparse_cloud(cdr, most)
    monkeypatch.setattr(clouds_module, 'sparse_cloud', count_it)
    return made


@pytest.mark.parametrize('large', [LARGE, 4])
def test_few_points_are_taken_once_for_all_who_want_as_many(
        scanner: CloudRobot, made: list[int], monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    """In whatever encoding, at whatever rate; what comes of a large cloud needs no worker."""
    monkeypatch.setattr(fan_out_module, 'LARGE', large)
    wishes: dict[str, dict[str, Any]] = {
        'a': {'max_points': 10, 'encoding': 'cdr'}, 'b': {'max_points': 10, 'encoding': 'json'},
        'c': {'max_points': 10, 'encoding': 'cdr', 'interval': 1.0, 'depth': 5},
        'd': {'max_points': 20, 'encoding': 'json'}, 'whole': {'encoding': 'cdr'}}
    peers = {name: scanner.peer(name) for name in wishes}
    for name, wish in wishes.items():
        scanner.subscribe(peers[name], '/t', **wish)
    for number in (1, 2):
        scanner.publish('/t', number)
        scanner.outward.work()
        scanner.loop.advance(0.1)
    assert sorted(made) == [10, 10, 20, 20]
    for name, points in (('a', 10), ('b', 10), ('d', 20), ('whole', 40)):
        assert scanner.clouds(name) == [(1, points), (2, points)], name
    assert scanner.clouds('c') == [(1, 10)]
    scanner.loop.advance(1.0)
    assert scanner.clouds('c') == [(1, 10), (2, 10)]
    assert peers['c'].link.depths == {1}


def test_to_take_few_points_for_many_peers_holds_up_nothing(
        scanner: CloudRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many numbers of points are wanted; none of several clouds at once is lost."""
    def slowly(cdr: bytes, most: int) -> bytes:
        scanner.loop.now += SLICE / 3
        return sparse_cloud(cdr, most)
    monkeypatch.setattr(clouds_module, 'sparse_cloud', slowly)
    peers = {f'p{number}': scanner.peer(f'p{number}') for number in range(1, 30)}
    for number, peer in enumerate(peers.values(), 1):
        scanner.subscribe(peer, '/t', depth=9, max_points=number)
    scanner.publish('/t', 1, 2, 3)
    scanner.outward.work()
    assert longest_turn(scanner) <= SLICE * 1.5
    for number, (name, peer) in enumerate(peers.items(), 1):
        assert scanner.clouds(name) == [(1, number), (2, number), (3, number)]
        assert peer.link.dropped == 0
        assert peer.link.depths == {9}


def test_few_points_come_as_often_as_all(scanner: CloudRobot) -> None:
    """With each rate limit."""
    for rate in (2, 3, 7, 20):
        for points in (None, 5):
            scanner.subscribe(scanner.peer(f'{rate} {points}'), '/t', interval=1.0 / rate,
                              max_points=points)
    for number in range(40):
        scanner.publish('/t', number)
        scanner.outward.work()
        scanner.loop.advance(0.11)
    for rate in (2, 3, 7, 20):
        got = scanner.sent(f'{rate} 5')
        assert got == scanner.sent(f'{rate} None')
        assert len(got) == pytest.approx(min(rate, 9) * 4.4, abs=2)


def test_what_waits_when_a_peer_comes_is_not_lost(scanner: CloudRobot) -> None:
    scanner.subscribe(scanner.peer('few'), '/t', depth=9, max_points=5)
    scanner.publish('/t', 1, 2, 3)
    scanner.subscribe(scanner.peer('late'), '/t', depth=9, max_points=5)
    scanner.publish('/t', 4)
    scanner.outward.work()
    scanner.loop.advance(0.1)
    assert (scanner.sent('few'), scanner.sent('late')) == ([1, 2, 3, 4], [4])


def test_a_malformed_cloud_is_told_to_who_wants_few_points_of_it(
        scanner: CloudRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second; the others get it, as it is."""
    told: dict[str, list[Any]] = {'few': [], 'slow': [], 'whole': []}
    for name, wish in (('few', {'max_points': 5}), ('slow', {'max_points': 7, 'interval': 0.1}),
                       ('whole', {})):
        peer = scanner.peer(name)
        peer.send = told[name].append
        scanner.subscribe(peer, '/t', encoding='cdr', **wish)
        told[name].clear()
    good = scanner.make(1)
    bad = good.replace(b'\x02\0\0\0z\0', b'\x02\0\0\0w\0')
    for cdr, told_of in ((bad, 1), (bad, 1), (good, 1), (bad, 2)):
        monkeypatch.setattr(scanner, 'make', lambda number, cdr=cdr: cdr)
        scanner.publish('/t', 1)
        scanner.outward.work()
        scanner.loop.advance(0.4)
        for name in ('few', 'slow'):
            assert [(reply.error.code, reply.error.message) for reply in told[name]] == \
                [('bad_cloud', '/t has no field z')] * told_of
    assert told['whole'] == []
    assert [len(scanner.frames(name)) for name in told] == [1, 1, 4]


def test_each_who_cannot_have_a_cloud_is_told_so(scanner: CloudRobot,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who comes a moment after another was told; who gets it as it is is told nothing."""
    good = scanner.make(1)
    told: dict[str, list[Any]] = {}

    def join(name: str, encoding: Encoding, **wish: Any) -> None:
        told[name], peer = [], scanner.peer(name)
        peer.send = told[name].append
        scanner.subscribe(peer, '/t', encoding=encoding, **wish)
        told[name].clear()

    def publish(cdr: bytes) -> None:
        monkeypatch.setattr(scanner, 'make', lambda number: cdr)
        scanner.publish('/t', 1)
        scanner.outward.work()
        scanner.loop.run()
    join('few', 'cdr', max_points=5)
    join('whole', 'cdr')
    join('text', 'json')
    publish(good[:60])
    join('late', 'cbor', max_points=5)
    publish(good[:60])
    publish(good.replace(b'\x02\0\0\0z\0', b'\x02\0\0\0w\0'))
    assert {name: [(reply.error.code, reply.subscription) for reply in replies]
            for name, replies in told.items()} == {
        'few': [(code, ('/t', 'cdr')) for code in ('bad_cdr', 'bad_cloud')],
        'whole': [], 'text': [('bad_cdr', ('/t', 'json'))],
        'late': [(code, ('/t', 'cbor')) for code in ('bad_cdr', 'bad_cloud')]}


def test_numbers_of_points_that_nobody_wants_any_more_are_forgotten(scanner: CloudRobot) -> None:
    """However often a peer changes what it wants, while another one stays."""
    scanner.subscribe(scanner.peer('stays'), '/t', max_points=40)
    scanner.bring('/t', [((1, 1, b'map'), 1)], latched=True)
    changes = scanner.peer('changes')
    for number in range(1, 30):
        scanner.subscribe(changes, '/t', depth=number, max_points=number)
        scanner.publish('/t', number)
        scanner.outward.work()
        scanner.loop.run()
        scanner.outward.close(changes, '/t')
        # the cloud that is kept stays the same
        scanner.subscribe(changes, '/t', max_points=number)
        scanner.loop.run()
    (topic,) = scanner.outward.topics()
    assert len(topic.thinned) <= 2
    assert len(topic.clouds) <= 2


def test_kept_clouds_are_thinned_in_slices(scanner: CloudRobot, monkeypatch: pytest.MonkeyPatch
                                           ) -> None:
    """And what comes meanwhile, with all others who want few points, when one more joins."""
    def slowly(cdr: bytes, most: int) -> bytes:
        scanner.loop.now += SLICE / 3
        return sparse_cloud(cdr, most)
    monkeypatch.setattr(clouds_module, 'sparse_cloud', slowly)
    scanner.subscribe(scanner.peer('first'), '/t', depth=9, max_points=10)
    scanner.heard['/t'].be_exact(True)
    scanner.bring('/t', [((number, number, b'map'), number) for number in range(1, 6)],
                  latched=True)
    scanner.outward.work()
    scanner.loop.run()
    names = [f'p{number}' for number in range(1, 30)]
    for number, name in enumerate(names, 1):
        before = scanner.loop.now
        scanner.subscribe(scanner.peer(name), '/t', depth=9, max_points=number)
        scanner.bring('/t', [((number, 5 + number, b'other'), 5 + number)])
        assert scanner.loop.now - before <= SLICE * 1.5
    scanner.outward.work()
    assert longest_turn(scanner) <= SLICE * 1.5
    for name in names[-5:]:
        number = int(name[1:])
        assert scanner.sent(name) == [1, 2, 3, 4, 5, *range(5 + number, 35)], name


def test_only_clouds_have_points(robot: Robot) -> None:
    peer = robot.peer('a')
    with pytest.raises(TypeMismatch, match='only sensor_msgs/msg/PointCloud2 has') as caught:
        robot.subscribe(peer, '/t', max_points=5)
    assert caught.value.field == 'max_points'
    assert not robot.outward.has(peer, '/t')
