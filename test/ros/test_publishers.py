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
from __future__ import annotations

from contextlib import closing
from dataclasses import replace
import time
from typing import Any, cast

import pytest
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from std_msgs.msg import Int32, String
from support.ros_harness import FakeLoop, latched, OtherNode, QUICK, RELIABLE, running_side
import test_msgs.msg

from ws_bridge.errors import (
    BadName,
    Expired,
    LimitExceeded,
    NotAdvertised,
    TypeMismatch,
    Unavailable,
    UnknownType,
    WsBridgeError,
)
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.ros.publishers import Kept
from ws_bridge.ros.publishers import Publisher as BridgePublisher
from ws_bridge.ros.side import RosSide
from ws_bridge.ros.types import is_keyed

STRING = 'std_msgs/msg/String'
DEEP = QoSProfile(depth=1000)
KEYED = pytest.mark.skipif(not hasattr(test_msgs.msg, 'KeyedLong'),
                           reason='keys came with Kilted')

pytestmark = pytest.mark.usefixtures('tidy')


def cdr(text: str) -> bytes:
    return bytes(serialize_message(String(data=text)))


def test_the_first_sample_reaches_a_subscriber_that_is_there(
        loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    errors: list[WsBridgeError] = []
    with other.hearing('/first', DEEP) as heard:
        loop.until(lambda: '/first' in side.graph.topics)
        publisher = side.advertise('/first', 'std_msgs/String', None, errors.append)
        for number in range(50):
            publisher.publish(cdr(str(number)))
        assert publisher.pending == 50
        loop.until(lambda: len(heard()) == 50)
        publisher.publish(cdr('50'))
        loop.until(lambda: len(heard()) == 51)
        assert [int(message.data) for message in heard()] == list(range(51))
        assert (publisher.pending, publisher.subscriber_count()) == (0, 1)
    assert errors == []


def test_order_holds_while_the_queue_empties(loop: FakeLoop, side: RosSide, other: OtherNode
                                             ) -> None:
    with other.hearing('/order', DEEP) as heard:
        loop.until(lambda: '/order' in side.graph.topics)
        publisher = side.advertise('/order', STRING, None, print)
        said = 0

        def speak() -> bool:
            nonlocal said
            publisher.publish(cdr(str(said)))
            said += 1
            return publisher.pending == 0
        loop.until(speak)
        publisher.publish(cdr(str(said)))
        loop.until(lambda: len(heard()) == said + 1)
        assert [int(message.data) for message in heard()] == list(range(said + 1))


def test_overflow_drops_the_oldest_and_reports_once(loop: FakeLoop, other: OtherNode) -> None:
    errors: list[WsBridgeError] = []
    with other.hearing('/overflow', DEEP) as heard, \
            running_side(loop, replace(QUICK, pending_depth=3)) as side:
        loop.until(lambda: '/overflow' in side.graph.topics)
        publisher = side.advertise('/overflow', STRING, None, errors.append)
        for text in 'abcdef':
            publisher.publish(cdr(text))
        loop.until(lambda: len(heard()) == 3)
        assert [message.data for message in heard()] == ['d', 'e', 'f']
        assert publisher.dropped == 3
    assert [type(error) for error in errors] == [LimitExceeded]


def test_what_waits_is_bounded_by_bytes_too(loop: FakeLoop, other: OtherNode) -> None:
    errors: list[WsBridgeError] = []
    with other.hearing('/heavy', DEEP) as heard, \
            running_side(loop, replace(QUICK, pending_bytes=2500)) as side:
        loop.until(lambda: '/heavy' in side.graph.topics)
        publisher = side.advertise('/heavy', STRING, None, errors.append)
        for text in 'abcd':
            publisher.publish(cdr(text * 1000))
        assert publisher.pending == 2
        publisher.publish(cdr('e' * 9000))      # one is taken, however large it is
        assert publisher.pending == 1
        loop.until(lambda: len(heard()) == 1)
        assert [message.data[:1] for message in heard()] == ['e']
    assert [type(error) for error in errors] == [LimitExceeded]


def test_what_late_subscribers_get_is_bounded_by_bytes(loop: FakeLoop, other: OtherNode) -> None:
    errors: list[WsBridgeError] = []
    request = QosRequest(durability='transient_local', depth=3)
    with running_side(loop, replace(QUICK, latched_bytes=2500)) as side:
        publisher = side.advertise('/kept', STRING, request, errors.append)
        for text in 'abc':      # what waits is counted when it is published
            publisher.publish(cdr(text * 1000))
        loop.until(lambda: publisher.pending == 0)
        assert [type(error) for error in errors] == [LimitExceeded]
        with pytest.raises(LimitExceeded, match='depth of less than 3'):
            publisher.publish(cdr('d' * 1000))
        publisher.publish(cdr('e'))
        publisher.publish(cdr('f' * 1000))      # in place of the first one
        with other.hearing('/kept', latched(10)) as heard:
            loop.until(lambda: len(heard()) == 3)
            assert [message.data[:1] for message in heard()] == ['b', 'e', 'f']
        single = side.advertise('/kept_one', STRING, replace(request, depth=1), errors.append)
        for text in 'gh':
            single.publish(cdr(text * 9000))
        loop.until(lambda: single.pending == 0)
    assert len(errors) == 1


def test_all_that_late_subscribers_get_is_bounded_by_bytes(loop: FakeLoop) -> None:
    request = QosRequest(durability='transient_local', depth=10)
    with running_side(loop, replace(QUICK, latched_total_bytes=2500)) as side:
        one, two = (side.advertise(name, STRING, request, print) for name in ('/one', '/two'))
        loop.until(lambda: one.ready and two.ready)
        one.publish(cdr('a' * 2000))
        with pytest.raises(LimitExceeded, match='all publishers together'):
            two.publish(cdr('b' * 1000))
        two.publish(cdr('c'))
        one.close()         # gives back what it kept
        loop.until(lambda: side_takes(two, cdr('d' * 1000)))


class Frozen:
    """A publisher in ROS of which a subscriber takes nothing, until it is told to."""

    def __init__(self) -> None:
        self.taken = False
        self.published: list[int] = []

    def publish(self, cdr: bytes) -> None:
        self.published.append(len(cdr))

    def wait_for_all_acked(self, timeout: object) -> bool:
        return self.taken


def frozen(kept: Kept, depth: int, latched_bytes: int = 50_000
           ) -> tuple[BridgePublisher, Frozen]:
    """Return a ready publisher without ROS, with what stands for it there."""
    publisher = BridgePublisher(
        '/x', String, QoSProfile(depth=depth), ros=cast(Any, None),
        settings=replace(QUICK, latched_bytes=latched_bytes), kept=kept, post=print,
        on_error=print, on_close=print)
    entity = Frozen()
    publisher._entity = cast(Any, entity)
    return publisher, entity


def test_what_a_frozen_subscriber_gets_is_bounded_by_bytes() -> None:
    """ROS keeps as many samples as the depth, until every subscriber has them."""
    kept = Kept(1 << 20)
    publisher, entity = frozen(kept, depth=1000)
    sample = cdr('a' * 9980)
    for _ in range(5):
        publisher.put(sample)
    for _ in range(2):
        with pytest.raises(LimitExceeded, match='does not take what it was sent: advertise it '
                                                'with a depth of less than 1000'):
            publisher.put(sample)
    publisher.put(cdr('a stop is small'))
    assert len(entity.published) == 6
    assert kept.used == 5 * len(sample)
    entity.taken = True         # it goes on, or is gone
    for _ in range(20):
        publisher.put(sample)
    assert kept.used <= 50_000
    # A shallow one replaces the oldest, and one sample always passes.
    shallow, entity = frozen(kept, depth=1, latched_bytes=100)
    for _ in range(10):
        shallow.put(sample)
    assert len(entity.published) == 10


def test_what_frozen_subscribers_of_all_get_is_bounded_by_bytes() -> None:
    kept = Kept(50_000)
    (one, slow), (two, _) = frozen(kept, 10), frozen(kept, 10)
    for _ in range(4):
        one.put(cdr('a' * 9980))
    with pytest.raises(LimitExceeded, match=r'all publishers together .* does not take'):
        for _ in range(2):
            two.put(cdr('b' * 9980))
    slow.taken = True
    two.put(cdr('c' * 9980))
    assert kept.used == 2 * len(cdr('b' * 9980))
    assert kept.waiting == {two}
    two._release()
    assert (kept.used, kept.waiting) == (0, set())


def side_takes(publisher: Publisher, sample: bytes) -> bool:
    try:
        publisher.publish(sample)
    except LimitExceeded:
        return False
    return True


def test_a_sample_past_its_deadline_is_dropped(loop: FakeLoop, side: RosSide, other: OtherNode
                                               ) -> None:
    errors: list[WsBridgeError] = []
    with other.hearing('/expired', DEEP) as heard:
        loop.until(lambda: '/expired' in side.graph.topics)
        publisher = side.advertise('/expired', STRING, None, errors.append)
        publisher.publish(cdr('old'), time.monotonic() - 0.001)
        publisher.publish(cdr('young'), time.monotonic() + 60)
        loop.until(heard)
        assert [message.data for message in heard()] == ['young']
    assert [type(error) for error in errors] == [Expired]


def test_a_subscriber_that_never_matches_holds_nothing_up(loop: FakeLoop, other: OtherNode
                                                          ) -> None:
    with other.hearing('/stuck', latched()), \
            running_side(loop, replace(QUICK, match_timeout=0.1)) as side:
        loop.until(lambda: '/stuck' in side.graph.topics)
        publisher = side.advertise('/stuck', STRING, None, print)
        publisher.publish(cdr('volatile is not enough for that one'))
        loop.until(lambda: publisher.pending == 0)
        assert publisher.subscriber_count() == 0


def test_a_late_node_gets_no_old_command(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    publisher = side.advertise('/cmd', STRING, None, print)
    publisher.publish(cdr('old'))
    loop.until(lambda: publisher.pending == 0)
    with other.hearing('/cmd', RELIABLE) as heard:
        loop.until(publisher.subscriber_count)
        publisher.publish(cdr('new'))
        loop.until(heard)
        assert [message.data for message in heard()] == ['new']
        profile = other.node.get_publishers_info_by_topic('/cmd')[0].qos_profile
        assert profile.reliability == ReliabilityPolicy.RELIABLE
        assert profile.durability == DurabilityPolicy.VOLATILE


def test_a_requested_latched_publisher(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    publisher = side.advertise('/state', STRING, QosRequest(durability='transient_local', depth=2),
                               print)
    for text in 'abc':
        publisher.publish(cdr(text))
    loop.until(lambda: publisher.pending == 0)
    with other.hearing('/state', latched(10)) as heard:
        loop.until(lambda: len(heard()) == 2)
        assert [message.data for message in heard()] == ['b', 'c']


def test_advertise_publish_unadvertise_at_once(loop: FakeLoop, side: RosSide, other: OtherNode
                                               ) -> None:
    with other.hearing('/at_once', RELIABLE) as heard:
        loop.until(lambda: '/at_once' in side.graph.topics)
        publisher = side.advertise('/at_once', STRING, None, print)
        publisher.publish(cdr('still comes'))
        publisher.close()
        publisher.close()
        loop.until(heard)
        assert [message.data for message in heard()] == ['still comes']
        with pytest.raises(NotAdvertised):
            publisher.publish(cdr('too late'))
        loop.until(lambda: other.node.count_publishers('/at_once') == 0)
        assert publisher.subscriber_count() == 0


@pytest.mark.parametrize('closed', [False, True])
def test_who_waits_for_no_match_waits_for_acknowledgments(
        loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    """Else the samples behind the first ten would push these out of the publisher's history."""
    asked: list[Duration] = []

    def not_yet(publisher: Publisher, timeout: Duration) -> bool:
        asked.append(timeout)
        return len(asked) > 3
    with running_side(loop, replace(QUICK, match_timeout=0.0)) as side:
        monkeypatch.setattr(Publisher, 'wait_for_all_acked', not_yet)
        publisher = side.advertise('/acked', STRING, None, print)
        for number in range(1 if closed else 15):
            publisher.publish(cdr(str(number)))
        if closed:
            publisher.close()
        loop.until(lambda: asked)
        loop.until(lambda: publisher.pending == 0)


def test_a_context_that_is_gone(loop: FakeLoop, side: RosSide) -> None:
    """A stop goes on, whatever the middleware says then."""
    publisher = side.advertise('/gone', STRING, None, print)
    publisher.publish(cdr('x'))
    loop.until(lambda: publisher.ready)
    gone = OtherNode()
    entity = gone.node.create_publisher(String, '/gone', RELIABLE)
    gone.context.handle.shutdown()
    mine, publisher._entity = publisher._entity, entity
    assert publisher.subscriber_count() == 0
    with pytest.raises(Unavailable):
        publisher.put(cdr('y'))
    publisher._entity = mine
    gone.close()


def test_another_type_is_reported(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    errors: list[WsBridgeError] = []
    with other.publisher('/int', RELIABLE, Int32):
        loop.until(lambda: '/int' in side.graph.topics)
        publisher = side.advertise('/int', STRING, None, errors.append)
        publisher.publish(cdr('x'))
        loop.until(lambda: errors)
        with pytest.raises(TypeMismatch):
            publisher.publish(cdr('y'))
        publisher.close()
    assert [type(error) for error in errors] == [TypeMismatch]


def test_a_subscriber_of_another_type_is_not_waited_for(loop: FakeLoop, other: OtherNode) -> None:
    with running_side(loop, replace(QUICK, match_timeout=60.0)) as side, \
            other.hearing('/wide', RELIABLE) as heard, closing(OtherNode()) as third, \
            third.hearing('/wide', RELIABLE, Int32):
        loop.until(lambda: '/wide' in side.graph.topics
                   and len(side.graph.topics['/wide'].types) == 2)
        publisher = side.advertise('/wide', STRING, None, print)
        publisher.publish(cdr('x'))
        loop.until(heard)


def test_two_types_of_the_bridge_itself(loop: FakeLoop, side: RosSide) -> None:
    """Who comes second is told that it waits, and is served when the first one is gone."""
    errors: list[WsBridgeError] = []
    heard: list[bytes] = []
    first = side.advertise('/self', STRING, None, print)
    second = side.advertise('/self', 'std_msgs/msg/Int32', None, errors.append)
    side.subscribe('/self', 'std_msgs/msg/Int32', None,
                   lambda samples, taken: heard.extend(samples), errors.append)
    loop.until(lambda: len(errors) == 2)
    assert [type(error) for error in errors] == [TypeMismatch] * 2
    assert 'another peer' in str(errors[0])
    first.close()
    number = bytes(serialize_message(Int32(data=7)))
    second.publish(number)
    loop.until(lambda: heard == [number])
    assert len(errors) == 2


def test_what_waits_for_another_type_is_given_up_with_its_samples(loop: FakeLoop, side: RosSide
                                                                  ) -> None:
    why: list[WsBridgeError | None] = []
    side.advertise('/kept', STRING, None, print)
    second = side.advertise('/kept', 'std_msgs/msg/Int32', None, print)
    second.publish(bytes(serialize_message(Int32())), on_done=why.append)
    second.close()
    loop.until(lambda: why)
    assert isinstance(why[0], TypeMismatch)


@KEYED
def test_a_type_with_a_key(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    keyed = test_msgs.msg.KeyedString
    with other.hearing('/keyed', DEEP, keyed) as heard:
        loop.until(lambda: '/keyed' in side.graph.topics)
        publisher = side.advertise('/keyed', 'test_msgs/KeyedString', None, print)
        sample = keyed(key='one', value='two')
        publisher.publish(bytes(serialize_message(sample)))
        loop.until(heard)
        assert heard() == [sample]


@KEYED
def test_which_types_have_a_key() -> None:
    assert not is_keyed(String)
    assert is_keyed(test_msgs.msg.KeyedLong) and is_keyed(test_msgs.msg.ComplexNestedKey)
    assert not is_keyed(test_msgs.msg.NonKeyedWithNestedKey)
    undefined = type('Undefined', (), {'__module__': 'std_msgs.msg._undefined'})
    assert is_keyed(undefined)


def test_whom_a_publisher_has_reached(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    """Subscribers that are not known yet differ from those that have gone."""
    known: list[int] = []
    with other.hearing('/known', DEEP) as heard:
        loop.until(lambda: '/known' in side.graph.topics)
        publisher = side.advertise('/known', STRING, None, print)
        publisher.introduce(2, cdr('to nobody'), lambda: known.append(2))
        publisher.introduce(1, cdr('hello'), lambda: known.append(1))
        loop.until(lambda: known)
        loop.until(heard)
        assert [message.data for message in heard()] == ['hello']
        assert publisher.has_reached(1, were_known=False)
        assert not publisher.has_reached(2, were_known=False)
        assert publisher.has_reached(2, were_known=True)
    assert known == [1]


def test_wrong_names_and_types(side: RosSide) -> None:
    with pytest.raises(BadName):
        side.advertise('1/2', STRING, None, print)
    with pytest.raises(UnknownType):
        side.advertise('/fine', 'std_msgs/msg/Strnig', None, print)


def test_publishing_after_the_shutdown(loop: FakeLoop) -> None:
    with running_side(loop) as side:
        publisher = side.advertise('/fine', STRING, None, print)
        publisher.publish(cdr('x'))
        loop.until(lambda: publisher.pending == 0)
    with pytest.raises(Unavailable):
        publisher.publish(cdr('after the end'))
    assert publisher.subscriber_count() == 0
