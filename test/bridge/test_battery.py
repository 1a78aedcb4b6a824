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
"""Batteries of a robot, as a list of robots shows them; the graph and its samples are made up."""
from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import BatteryState

from ws_bridge.bridge.battery import Battery, KNOWN_FOR, MOST, TYPE
from ws_bridge.config import Denial, Exposure
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import UnknownType
from ws_bridge.ros.snapshot import TopicInfo
from ws_bridge.ros.types import TypeStore


class Robot:
    """A graph, and the subscriptions that were made in it."""

    def __init__(self) -> None:
        self.graph = SimpleNamespace(topics=dict[str, TopicInfo]())
        self.types = TypeStore()
        self.heard: dict[str, Callable[[list[bytes], float], None]] = {}
        self.now = 100.0

    def subscribe(self, topic: str, msg_type: str, qos: object, on_samples: Any,
                  on_error: object) -> Any:
        if topic == '/unknown':
            raise UnknownType('not here')
        self.heard[topic] = on_samples
        return SimpleNamespace(close=lambda: self.heard.pop(topic))

    def say(self, topic: str, percentage: float) -> None:
        """Publish two messages; only the newest counts."""
        self.heard[topic]([serialize_message(BatteryState(percentage=each))
                           for each in (0.001, percentage)], self.now)


@pytest.fixture
def robot() -> Robot:
    """Give a robot with two batteries."""
    robot = Robot()
    robot.graph.topics.update(
        {'/arm': TopicInfo((TYPE,), 1), '/base': TopicInfo((TYPE,), 1),
         '/odom': TopicInfo(('nav_msgs/msg/Odometry',), 1),
         '/wish': TopicInfo((TYPE,), brought=True), '/secret': TopicInfo((TYPE,), 1),
         '/unknown': TopicInfo((TYPE,), 1)})
    return robot


def batteries(robot: Any) -> Battery:
    """Return what listens to a robot."""
    exposure = Exposure.open()
    battery = Battery(robot, CodecStore(), Exposure(
        exposure.subscribe, deny=(Denial('/secret', None),)), lambda: robot.now)
    battery.graph_changed()
    return battery


def test_the_emptiest_battery_counts(robot: Robot, caplog: pytest.LogCaptureFixture) -> None:
    battery = batteries(robot)
    assert sorted(robot.heard) == ['/arm', '/base']
    assert battery.level() is None
    robot.say('/base', 0.876)
    assert battery.level() == 0.88
    robot.say('/arm', 0.31)
    assert battery.level() == 0.31
    del robot.graph.topics['/arm']
    battery.graph_changed()
    battery.graph_changed()
    assert battery.level() == 0.88
    assert list(robot.heard) == ['/base']
    assert caplog.text.count('/unknown is not in the list of robots') == 1


@pytest.mark.parametrize(('percentage', 'level'), [
    (float('nan'), None), (-1.0, None), (float('inf'), None), (0.0, 0.0), (1.2, 1.0)])
def test_who_does_not_know_says_nothing(robot: Robot, percentage: float,
                                        level: float | None) -> None:
    battery = batteries(robot)
    robot.say('/base', percentage)
    assert battery.level() == level


def test_what_is_old_is_not_shown_as_new(robot: Robot) -> None:
    battery = batteries(robot)
    robot.say('/base', 0.5)
    robot.now += KNOWN_FOR
    assert battery.level() == 0.5
    robot.now += 0.1
    assert battery.level() is None


def test_bytes_that_are_no_message_say_nothing(robot: Robot) -> None:
    battery = batteries(robot)
    robot.heard['/base']([b'\0\1\0\0junk'], robot.now)
    assert battery.level() is None


def test_not_more_than_some_are_heard(robot: Robot) -> None:
    robot.graph.topics.update({f'/b{number}': TopicInfo((TYPE,), 1) for number in range(50)})
    batteries(robot)
    assert len(robot.heard) <= MOST
