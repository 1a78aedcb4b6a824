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
"""The first command of all is delivered: its publisher is there, and matched, before."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist
import pytest
from sensor_msgs.msg import Joy
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer

BOTH = ['ws_bridge', 'ws_bridge_stop']
"""Who publishes a command, and who stops the robot where that process has died."""


@pytest.fixture
def robot() -> Iterator[SpinningNode]:
    """Give a node that is the robot."""
    with SpinningNode('robot') as spinning:
        yield spinning


def publishers(robot: SpinningNode, topic: str) -> list[str]:
    return sorted(info.node_name for info in robot.node.get_publishers_info_by_topic(topic))


async def test_one_click_after_the_start_moves_the_robot(robot: SpinningNode) -> None:
    """No peer has said anything about the topic before."""
    heard: list[float] = []
    made: list[Any] = []
    robot.run(lambda: made.append(robot.node.create_subscription(
        Twist, '/cmd_vel', lambda m: heard.append(m.linear.x), 10)))
    async with running_bridge() as service:
        await async_wait_until(lambda: publishers(robot, '/cmd_vel') == BOTH,
                               why=lambda: publishers(robot, '/cmd_vel'))
        assert service.bridge.entity_count == 0
        async with rosbridge_peer(service) as page:
            await page.send('publish', topic='/cmd_vel', msg={'linear': {'x': 0.5}})
            await async_wait_until(lambda: heard[:2] == [0.0, 0.5], why=lambda: heard)
            assert service.bridge.entity_count == 1
        # the page has gone, its publisher stays for the next one
        await async_wait_until(lambda: service.bridge.entity_count == 0)
        assert publishers(robot, '/cmd_vel') == BOTH
        robot.run(lambda: robot.node.destroy_subscription(made[0]))
        await async_wait_until(lambda: not publishers(robot, '/cmd_vel'))
        await async_wait_until(lambda: '/cmd_vel' not in service.bridge.gates)


MAPPING = """
version: 1
out: ['*']
in:
  - {topic: /motors, type: geometry_msgs/msg/Twist}
  - {topic: /stick, type: sensor_msgs/msg/Joy}
gates:
  - {gate: drive, topics: [/motors, /any/*]}
  - {gate: untyped, topics: [/hidden]}
"""


async def test_what_the_mapping_file_names_is_there_before_the_robot(
        robot: SpinningNode, tmp_path: Path) -> None:
    """Where it names gate, topic and type; nothing is made for what peers may not use."""
    path = tmp_path / 'mapping.yaml'
    path.write_text(MAPPING)
    for topic in ('/hidden', '/any/one'):
        robot.run(lambda topic=topic: robot.node.create_subscription(
            Twist, topic, lambda _: None, 10))
    async with running_bridge(mapping_file=str(path)) as service:
        await async_wait_until(lambda: publishers(robot, '/motors') == BOTH,
                               why=lambda: publishers(robot, '/motors'))
        robot.run(lambda: robot.node.create_subscription(Joy, '/stick', lambda _: None, 10))
        await async_wait_until(lambda: publishers(robot, '/stick') == BOTH)
        assert not publishers(robot, '/hidden') + publishers(robot, '/any/one')
        assert service.bridge.entity_count == 0


async def test_a_prepared_publisher_gives_way_to_the_right_type(robot: SpinningNode) -> None:
    made: list[Any] = []

    def listen(msg_type: Any) -> None:
        made.append(robot.node.create_subscription(msg_type, '/cmd', lambda _: None, 10))
    robot.run(listen, Twist)
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: publishers(robot, '/cmd') == BOTH)
        robot.run(lambda: robot.node.destroy_subscription(made[0]))
        await async_wait_until(lambda: not publishers(robot, '/cmd'))
        robot.run(listen, Joy)
        await async_wait_until(lambda: publishers(robot, '/cmd') == BOTH)
        answer = await peer.ask('advertise', topic='/cmd')
        assert (answer['type'], answer['gate']) == ('sensor_msgs/msg/Joy', '/cmd')
        await peer.ask('advertise', topic='/cmd')
        assert (await peer.publish('/cmd', {}))['data'].get('code') != 'type_mismatch'
