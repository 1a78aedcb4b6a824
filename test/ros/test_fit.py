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

from typing import Any

import pytest
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Int32, String
from support.ros_harness import BEST_EFFORT, FakeLoop, latched, OtherNode, RELIABLE

from ws_bridge.errors import QosMismatch, TypeMismatch, WsBridgeError
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.ros.side import RosSide

DEADLINE = QoSProfile(depth=1, deadline=Duration(seconds=1))
MANUAL = QoSProfile(depth=1, liveliness=LivelinessPolicy.MANUAL_BY_TOPIC)
pytestmark = pytest.mark.usefixtures('tidy')
STRING = 'std_msgs/msg/String'
SUBSCRIBERS: list[tuple[QosRequest | None, QoSProfile, str | None]] = [
    (None, RELIABLE, None), (None, BEST_EFFORT, None),
    (None, latched(), 'volatile publisher and transient local subscription'),
    (QosRequest(durability='transient_local'), latched(), None),
    (QosRequest(reliability='best_effort'), RELIABLE,
     'best effort publisher and reliable subscription'),
    (None, DEADLINE, 'subscription deadline is less than publisher deadline'),
    (None, MANUAL, 'liveliness'),
    (QosRequest(deadline=0.5), DEADLINE, None)]
PUBLISHERS: list[tuple[QosRequest | None, QoSProfile, str | None]] = [
    (None, RELIABLE, None), (None, BEST_EFFORT, None), (None, latched(), None),
    (QosRequest(durability='transient_local'), RELIABLE,
     'volatile publisher and transient local subscription'),
    (QosRequest(reliability='reliable'), BEST_EFFORT,
     'best effort publisher and reliable subscription'),
    (QosRequest(deadline=1.0), RELIABLE, 'subscription deadline is less than publisher deadline'),
    (QosRequest(liveliness='manual_by_topic'), RELIABLE, 'liveliness'),
    (QosRequest(reliability='best_effort'), RELIABLE, None)]


def known(side: RosSide, topic: str, **counts: int) -> bool:
    """Whether the side has looked at a graph that shows so many others."""
    info = side.graph.topics.get(topic)
    return info is not None and all(getattr(info, name) == n for name, n in counts.items())


@pytest.mark.parametrize('late', [False, True])
@pytest.mark.parametrize(('qos', 'theirs', 'said'), SUBSCRIBERS)
def test_subscribers_that_get_nothing(
        loop: FakeLoop, side: RosSide, other: OtherNode, topic: str, *, qos: QosRequest | None,
        theirs: QoSProfile, said: str | None, late: bool) -> None:
    errors: list[WsBridgeError] = []

    def advertise() -> Any:
        return side.advertise(topic, STRING, qos, errors.append)
    publisher = advertise() if late else None
    with other.hearing(topic, theirs), other.hearing(topic, BEST_EFFORT):
        loop.until(lambda: known(side, topic, subscribers=2))
        publisher = publisher or advertise()
        if said is None:
            loop.until(lambda: publisher.subscriber_count() == 2)
        else:
            loop.until(lambda: publisher.misfit)
    loop.run()
    assert [type(error) for error in errors] == ([QosMismatch] if said else [])
    if said:
        assert str(errors[0]).startswith(f'{topic}: 1 subscriber cannot get what is published: ')
        assert said in str(errors[0])
        loop.until(lambda: publisher.misfit is None)     # it has left
    publisher.close()
    loop.until(lambda: not side._watch._fits)


@pytest.mark.parametrize('late', [False, True])
@pytest.mark.parametrize(('qos', 'theirs', 'said'), PUBLISHERS)
def test_publishers_that_are_not_heard(
        loop: FakeLoop, side: RosSide, other: OtherNode, topic: str, *, qos: QosRequest | None,
        theirs: QoSProfile, said: str | None, late: bool) -> None:
    errors: list[WsBridgeError] = []
    samples: list[bytes] = []

    def subscribe() -> Any:
        return side.subscribe(topic, STRING, qos, lambda found, _: samples.extend(found),
                              errors.append)
    subscription = subscribe() if late else None
    with other.publisher(topic, theirs) as entity:
        loop.until(lambda: known(side, topic, publishers=1))
        subscription = subscription or subscribe()
        if said is None:
            def heard() -> bool:
                entity.publish(String(data='x'))
                return bool(samples)
            loop.until(heard)
        else:
            loop.until(lambda: errors)
    loop.run()
    assert [type(error) for error in errors] == ([QosMismatch] if said else [])
    assert subscription.msg_type == STRING
    if said:
        assert str(errors[0]).startswith(f'{topic}: 1 publisher cannot be heard: ')
        assert said in str(errors[0])
    subscription.close()
    loop.until(lambda: not side._watch._fits)


def test_other_types_are_no_matter_of_quality(
        loop: FakeLoop, side: RosSide, other: OtherNode, topic: str) -> None:
    errors: list[WsBridgeError] = []
    with other.hearing(topic, latched(), Int32):
        loop.until(lambda: known(side, topic, subscribers=1))
        side.advertise(topic, STRING, None, errors.append)
        loop.until(lambda: errors)
        loop.until(lambda: side.idle)
        loop.run()
    assert [type(error) for error in errors] == [TypeMismatch]


def test_it_is_told_again_when_it_changed(
        loop: FakeLoop, side: RosSide, other: OtherNode, topic: str) -> None:
    errors: list[WsBridgeError] = []
    best_effort_latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT,
                                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
    side.advertise(topic, STRING, None, errors.append)
    with other.hearing(topic, latched()):
        loop.until(lambda: len(errors) == 1)
        with other.hearing(topic, best_effort_latched):
            loop.until(lambda: len(errors) == 2)
    assert ['1 subscriber ' in str(errors[0]), '2 subscribers ' in str(errors[1])] == [True, True]
