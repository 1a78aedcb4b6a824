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
"""The mapping file in force: what is exposed, under which name, how."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
import time
from typing import Any

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int32, String
from std_srvs.srv import Trigger
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode

MAPPING = """
version: 1
out:
  - {topic: /count, channel: counter, encoding: json, max_rate: 5, expected_rate: 20}
  - {topic: /sensors/*, encoding: cdr}
in:
  - {topic: /command, type: std_msgs/msg/Int32}
services:
  - {service: /allowed, timeout: 0.3}
host:
  - {service: /ui/*}
deny:
  - /sensors/secret
"""


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    """Give the path of the mapping file."""
    path = tmp_path / 'mapping.yaml'
    path.write_text(MAPPING)
    return str(path)


@pytest.fixture
def robot() -> Iterator[Any]:
    """Give a rclpy node of its own, as the robot's other software."""
    with SpinningNode('robot') as spinning:
        yield spinning.node


async def test_friendly_name_rate_and_encoding(robot: Any, mapping: str) -> None:
    publisher = robot.create_publisher(Int32, '/count', 100)
    robot.create_publisher(Int32, '/sensors/left', 10)
    async with running_bridge(mapping_file=mapping) as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/sensors/left' in service.ros.graph.topics
                               and '/count' in service.ros.graph.topics)
        assert (await peer.ask('subscribe', topic='counter'))['encoding'] == 'json'
        assert (await peer.ask('subscribe', topic='/sensors/left'))['encoding'] == 'cdr'
        listed = await peer.ask('list')
        assert {t['topic']: t['channel'] for t in listed['topics']} == {
            '/count': 'counter', '/sensors/left': None}
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        begun = time.monotonic()
        for number in range(20):
            publisher.publish(Int32(data=number))
            await asyncio.sleep(0.02)
        await async_wait_until(lambda: peer.samples('counter')[-1:] == [{'data': 19}])
        numbers = [sample['data'] for sample in peer.samples('counter')]
        assert numbers == sorted(numbers)
        # at 5 Hz, the first at once; one more where a late timer is followed by one in time
        assert len(numbers) <= 2 + 5 * (time.monotonic() - begun)


@pytest.mark.parametrize(('op', 'fields'), [
    ('subscribe', {'topic': '/other'}),
    ('subscribe', {'topic': '/sensors/secret'}),
    ('advertise', {'topic': '/count', 'type': 'std_msgs/msg/Int32'}),
    ('advertise_service', {'service': '/allowed', 'type': 'std_srvs/srv/Trigger'}),
])
async def test_the_rest_is_forbidden(robot: Any, mapping: str, op: str,
                                     fields: dict[str, str]) -> None:
    async with running_bridge(mapping_file=mapping) as service, native_peer(service) as peer:
        assert (await peer.refused(op, **fields))['code'] == 'forbidden'
        await asyncio.sleep(0)
        assert robot.count_subscribers('/other') == 0


async def test_services_and_types_of_the_mapping(robot: Any, mapping: str) -> None:
    async with running_bridge(mapping_file=mapping) as service, native_peer(service) as peer:
        frame = await peer.publish('/command', {'data': 4})
        assert frame['data'] == {'op': 'publish', 'topic': '/command', 'subscribers': 0}
        frame = await peer.call('/forbidden', kind='service')
        assert frame['data']['code'] == 'forbidden'
        robot.create_service(Trigger, '/allowed', lambda request, response: response)
        await async_wait_until(lambda: '/allowed' in service.ros.graph.services)
        assert (await peer.call('/allowed'))['data']['result'] == {'success': False, 'message': ''}
        await peer.ask('advertise_service', service='/ui/ask', type='std_srvs/srv/Trigger')


async def test_expected_rate_makes_silence_known(robot: Any, mapping: str) -> None:
    robot.create_publisher(Int32, '/count', 10)
    async with running_bridge(mapping_file=mapping) as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/count' in service.ros.graph.topics)
        await peer.ask('subscribe', topic='/count')
        await peer.wait(lambda f: f['data'].get('kind') == 'state' and any(
            t['topic'] == '/count' and t['freshness'] == 'LOST' for t in f['data']['topics']))


async def test_ros_is_told_too() -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    heard: list[Any] = []
    clients: list[str] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with SpinningNode('watcher') as watcher:
        watcher.node.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
        async with running_bridge() as service, native_peer(service) as peer:
            await peer.ask('hello', name='page')
            await peer.send('status', {'hidden': True})
            await async_wait_until(lambda: any(
                v.key == 'peers' and v.value == '1' for m in heard for s in m.status
                for v in s.values))
            watcher.node.create_subscription(
                String, '/ws_bridge/clients', lambda m: clients.append(m.data), latched)
            await async_wait_until(lambda: clients and '"name":"page"' in clients[-1]
                                   and '"hidden":true' in clients[-1])


async def test_simulated_time_stamps_headers(robot: Any) -> None:
    from rosgraph_msgs.msg import Clock
    from std_msgs.msg import Header
    heard: list[Header] = []
    robot.create_subscription(Header, '/stamped', heard.append, 10)
    clock = robot.create_publisher(Clock, '/clock', 10)
    async with running_bridge('-p', 'use_sim_time:=true') as service, \
            native_peer(service) as peer:
        await async_wait_until(lambda: '/stamped' in service.ros.graph.topics)

        def ticks() -> bool:
            message = Clock()
            message.clock.sec = 42
            clock.publish(message)
            return service.ros.now()[0] == 42
        await async_wait_until(ticks)
        await peer.publish('/stamped', {'frame_id': 'map'})
        await async_wait_until(lambda: heard)
        assert (heard[0].stamp.sec, heard[0].frame_id) == (42, 'map')
