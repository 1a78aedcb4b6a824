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
"""What ROS nodes see of leases, links and the emergency stop, and what they can do to it."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

from geometry_msgs.msg import Twist
import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from support.ros_harness import FakeLoop, latched, OtherNode, QUICK, RELIABLE, running_side

from ws_bridge.ros.guard import GuardEvents
from ws_bridge.ros.side import RosSide
from ws_bridge.safety.policy import LossStep

EMPTY = bytes(serialize_message(Trigger.Request()))
TRIGGER = 'std_srvs/srv/Trigger'

Estops = list[tuple[bool, str, str]]


@pytest.fixture
def estops() -> Estops:
    """Return what the loop was told."""
    return []


@pytest.fixture
def own(loop: FakeLoop, estops: Estops) -> Iterator[RosSide]:
    """Give a side that nothing was said on, in a namespace."""
    with running_side(loop, replace(QUICK, estop_service='/robot/halt'),
                      args=['--ros-args', '-r', '__ns:=/safe'],
                      on_estop=lambda *said: estops.append(said)) as side:
        yield side


def trigger(loop: FakeLoop, side: RosSide, service: str) -> Any:
    """Call a service of the side itself, as another node would."""
    answers: list[Any] = []
    side.call(side.resolve(service, service=True), TRIGGER, EMPTY, 15.0, answers.append)
    loop.until(lambda: answers)
    return answers[0]


def test_states_are_latched_and_come_on_change(loop: FakeLoop, own: RosSide, other: OtherNode
                                               ) -> None:
    own.publish_safety(lease='[]', links='{}', estop=(False, '', ''))
    loop.until(lambda: own.idle)
    with other.hearing('/safe/ws_bridge/lease', latched(10)) as lease, \
            other.hearing('/safe/ws_bridge/links', latched(10)) as links, \
            other.hearing('/safe/ws_bridge/estop', latched(10), Bool) as estop:
        loop.until(lambda: lease() and links() and estop())
        own.publish_safety(lease='[1]')
        own.publish_safety(lease='[1]', links='{}', estop=(False, '', ''))
        own.publish_safety(estop=(True, 'p1', 'dog on the road'))
        own.publish_safety(estop=(True, 'p2', 'dog'))
        loop.until(lambda: len(estop()) >= 2)
        own.publish_safety(links='{"p1": 1}')
        loop.until(lambda: len(lease()) >= 2 and len(links()) >= 2)
        assert lease() == [String(data='[]'), String(data='[1]')]
        assert links() == [String(data='{}'), String(data='{"p1": 1}')]
        assert estop() == [Bool(data=False), Bool(data=True)]


def test_a_node_stops_and_clears(loop: FakeLoop, own: RosSide, other: OtherNode, estops: Estops
                                 ) -> None:
    called: list[int] = []

    def halted(token: int, cdr: bytes) -> None:
        called.append(token)
        hosted.reply(token, bytes(serialize_message(Trigger.Response(success=True))))
    hosted = own.host('/robot/halt', TRIGGER, halted, print)
    with other.hearing('/safe/cmd_vel', RELIABLE, Twist) as heard, \
            other.hearing('/safe/ws_bridge/estop', latched(10), Bool) as estop:
        loop.until(lambda: '/safe/cmd_vel' in own.graph.topics
                   and '/robot/halt' in own.graph.services)
        publisher = own.advertise('/safe/cmd_vel', 'geometry_msgs/msg/Twist', None, print)
        fast = Twist()
        fast.linear.x = 0.5
        stops: list[str] = []
        guard = own.watchdog.guard('base', 3600.0, (LossStep('zero', times=1),),
                                   GuardEvents(lambda _, reason, *rest: stops.append(reason),
                                               print, print, print))
        guard.add(publisher, (bytes(serialize_message(Twist())),))
        moving = bytes(serialize_message(fast))
        assert guard.publish(publisher, moving, 0, moving=True, deadline=inf)
        loop.until(lambda: len(heard()) == 2)       # after a zero of the bridge's own publisher
        assert guard.publish(publisher, moving, 0, moving=True, deadline=inf)
        trigger(loop, own, '~/stop')
        loop.until(lambda: len(heard()) == 4 and estop() and called)
        assert [message.linear.x for message in heard()] == [0, 0.5, 0.5, 0]
        assert estop() == [Bool(data=True)]
        assert estops == [(True, 'ros', '~/stop')]
        assert stops == ['estop']
        # halted until the bridge has cleared the stop, in the newest right too
        assert not guard.publish(publisher, moving, guard.generation, moving=True, deadline=inf)
        trigger(loop, own, '~/clear_stop')
        assert estops[1:] == [(False, 'ros', '~/clear_stop')]
        assert not guard.publish(publisher, moving, guard.generation, moving=True, deadline=inf)
        own.publish_safety(estop=(True, 'ros', '~/stop'))
        own.publish_safety(estop=(False, '', ''))
        assert guard.publish(publisher, moving, guard.generation, moving=True, deadline=inf)
        loop.until(lambda: len(estop()) == 2)
        assert len(called) == 1


def test_a_side_without_a_listener_stops_all_the_same(loop: FakeLoop, side: RosSide) -> None:
    trigger(loop, side, '~/stop')
    assert side.watchdog.halted
    side.publish_safety(estop=(False, '', ''))
    assert not side.watchdog.halted


def test_the_services_are_named(own: RosSide) -> None:
    assert own.own.clear_stop == '/safe/ws_bridge/clear_stop'
    assert {'/safe/ws_bridge/stop', '/safe/ws_bridge/clear_stop',
            '/safe/ws_bridge/set_parameters'} <= own.own.services
