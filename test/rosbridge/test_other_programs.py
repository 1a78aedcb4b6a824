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
"""What programs of other people do, and pages written for ROS 1 or for rosbridge alone."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
import json
from types import SimpleNamespace
from typing import Any

from geometry_msgs.msg import TwistStamped
import pytest
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int32
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer
from test_msgs.action import Fibonacci
from websockets.asyncio.client import connect

from ws_bridge.bridge.parameter_services import AT_ONCE, CallTurns
from ws_bridge.errors import UnknownType
from ws_bridge.ros.status import StatusPublisher
from ws_bridge.ros.types import TypeStore

ASK = {'op': 'call_service', 'service': '/rosapi/get_time', 'id': 'a'}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def robot() -> Iterator[SpinningNode]:
    with SpinningNode('robot') as spinning:
        yield spinning


# ---- JSON in binary frames

@pytest.mark.parametrize('space', [b'', b' \r\n\t '])
@pytest.mark.parametrize('subprotocols', [None, ['rosbridge.v2']])
async def test_json_in_binary_frames_of_rosbridge(subprotocols: Any, space: bytes) -> None:
    async with running_bridge() as service, \
            connect(service.url, subprotocols=subprotocols) as websocket:
        for frame in (space + json.dumps(ASK).encode(), json.dumps(ASK),
                      json.dumps(ASK).encode()):
            await websocket.send(frame)
            answer = json.loads(await asyncio.wait_for(websocket.recv(), 15))
            assert (answer['op'], answer['id'], answer['result']) == \
                ('service_response', 'a', True)


async def test_json_in_binary_frames_of_a_plain_envelope() -> None:
    envelope = {'metadata': {'message_id': 'm', 'message_type': 'configuration'},
                'data': {'op': 'list'}}
    async with running_bridge() as service, connect(service.url) as websocket:
        for frame in (json.dumps(envelope).encode(), json.dumps(envelope),
                      json.dumps(envelope).encode()):
            await websocket.send(frame)
            while (answer := json.loads(await asyncio.wait_for(websocket.recv(), 15)))[
                    'metadata']['correlation_id'] != 'm':
                pass
            assert answer['data']['op'] == 'list'


async def test_bytes_that_are_no_json_stay_what_they_were() -> None:
    """Native binary frames have opcodes, whoever sends JSON in them; broken text is an error."""
    async with running_bridge() as service, native_peer(service) as peer, \
            connect(service.url) as broken:
        await peer.websocket.send(b'{"metadata": {}}' + bytes(20))
        await async_wait_until(lambda: 'unknown_operation' in [
            error['code'] for error in peer.errors()] or 'bad_frame' in [
            error['code'] for error in peer.errors()])
        await broken.send(json.dumps({'op': 'set_level', 'level': 'error'}))
        await broken.send(b'{"op": "\xff"}')
        answer = json.loads(await asyncio.wait_for(broken.recv(), 15))
        assert (answer['op'], answer['level']) == ('status', 'error')


# ---- actions, clients, values, parameters

async def test_a_goal_repeats_the_type_as_it_was_advertised(robot: SpinningNode) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as page:
        await page.send('advertise_action', action='/of_page', type='test_msgs/Fibonacci')
        client = robot.call(ActionClient, robot.node, Fibonacci, '/of_page')
        await async_wait_until(client.server_is_ready)
        robot.run(client.send_goal_async, Fibonacci.Goal(order=3))
        goal = await page.wait(lambda frame: frame['op'] == 'send_action_goal')
        assert goal['action_type'] == 'test_msgs/Fibonacci'
        robot.run(client.destroy)


async def test_how_many_clients_there_are(robot: SpinningNode) -> None:
    """Also those that have said nothing yet; the bridge alone says it."""
    counts: list[int] = []
    robot.run(robot.node.create_subscription, Int32, '/client_count',
              lambda message: counts.append(message.data), LATCHED)
    async with running_bridge() as service:
        await async_wait_until(lambda: counts == [0], why=lambda: str(counts))
        async with rosbridge_peer(service), rosbridge_peer(service) as page:
            await page.call('/rosapi/get_time')
            await async_wait_until(lambda: counts[-1] == 2, why=lambda: str(counts))
            assert 'bridge itself' in await status_of(page, 'advertise', topic='/client_count',
                                                      type='std_msgs/Int32')
        await async_wait_until(lambda: counts[-1] == 0, why=lambda: str(counts))


async def status_of(page: Any, op: str, **fields: Any) -> str:
    await page.send('set_level', level='error')
    return str(await page.status(op, **fields))


class Recorder:
    """A node whose publishers keep what they are given."""

    def __init__(self) -> None:
        self.said: dict[str, list[Any]] = {}

    def create_publisher(self, msg_type: Any, name: str, *args: Any, **options: Any) -> Any:
        return SimpleNamespace(publish=self.said.setdefault(name, []).append, topic_name=name)


class RosbridgeTypes(TypeStore):
    """Has the messages of rosbridge_msgs, which no wheel brings."""

    def message_class(self, name: str) -> Any:
        if name == 'rosbridge_msgs/msg/ConnectedClients':
            return lambda: SimpleNamespace(clients=[])
        assert name == 'rosbridge_msgs/msg/ConnectedClient'
        return lambda ip_address: SimpleNamespace(
            ip_address=ip_address, connection_time=SimpleNamespace())


def test_who_is_connected_where_the_package_of_rosbridge_is_installed() -> None:
    node: Any = Recorder()
    status = StatusPublisher(node, RosbridgeTypes())
    status.publish_connections([('10.0.0.7', 12.5)])
    (message,) = node.said['connected_clients']
    (client,) = message.clients
    assert (client.ip_address, client.connection_time.sec, client.connection_time.nanosec) == \
        ('10.0.0.7', 12, 500_000_000)
    assert [message.data for message in node.said['client_count']] == [1]


def test_who_is_connected_without_that_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(types: TypeStore, name: str) -> None:
        raise UnknownType(name)
    monkeypatch.setattr(TypeStore, 'message_class', find)
    node: Any = Recorder()
    StatusPublisher(node, TypeStore()).publish_connections([])
    assert 'connected_clients' not in node.said
    assert [message.data for message in node.said['client_count']] == [0]


async def test_the_sequence_number_of_a_header_of_ros_1(robot: SpinningNode) -> None:
    heard: list[Any] = []
    robot.run(robot.node.create_subscription, TwistStamped, '/stamped', heard.append, 10)
    async with running_bridge(gated_types=['']) as service, rosbridge_peer(service) as page:
        await async_wait_until(lambda: '/stamped' in service.ros.graph.topics)
        for header in ({'seq': 7, 'stamp': {'secs': 3, 'nsecs': 4}, 'frame_id': 'base'},
                       {'seq': 8, 'stamp': {'secs': 3, 'nsecs': 4}}, {'seq': 9}):
            await page.send('publish', topic='/stamped', msg={'header': header})
        await async_wait_until(lambda: len(heard) == 3)
        assert (heard[0].header.stamp.sec, heard[0].header.frame_id) == (3, 'base')
        reason = await status_of(page, 'publish', topic='/stamped',
                                 msg={'header': {'seq': 7, 'sequence': 7}})
        assert reason.startswith('unknown_field: msg.header.sequence')
        reason = await status_of(page, 'publish', topic='/stamped', msg={'seq': 7})
        assert reason.startswith('unknown_field: msg.seq')


async def test_an_integer_parameter_set_to_a_whole_float(robot: SpinningNode) -> None:
    node = robot.node
    node.declare_parameter('count', 1)
    node.declare_parameter('counts', [1, 2])
    async with running_bridge() as service, rosbridge_peer(service) as page:
        await async_wait_until(lambda: '/robot/set_parameters' in service.ros.graph.services)
        for name, value, ok in (('count', '3.0', True), ('counts', '[4.0, 5]', True),
                                ('count', '3.5', False), ('count', '1e300', False),
                                ('count', 'true', False)):
            answer = await page.call('/rosapi/set_param',
                                     {'name': f'/robot:{name}', 'value': value})
            assert answer['values']['successful'] is ok, (value, answer)
        assert node.get_parameter('count').value == 3
        assert list(node.get_parameter('counts').value) == [4, 5]


async def test_three_hundred_parameters_at_once(robot: SpinningNode) -> None:
    for number in range(30):
        robot.node.declare_parameter(f'p{number}', number)
    async with running_bridge(call_timeout=60.0) as service, \
            rosbridge_peer(service) as page:
        await async_wait_until(lambda: '/robot/get_parameters' in service.ros.graph.services)
        answers = await asyncio.gather(*(
            page.call('/rosapi/get_param', {'name': f'/robot:p{number % 30}'})
            for number in range(300)))
        wrong = [answer for number, answer in enumerate(answers) if not answer['result']
                 or answer['values']['value'] != str(number % 30)]
        assert not wrong, (len(wrong), wrong[0])


def test_turns_of_calls_that_end_at_once() -> None:
    """However many wait and fail, the stack does not grow."""
    turns = CallTurns()
    running: list[int] = []
    ended = 0

    def fail() -> None:
        nonlocal ended
        ended += 1
        turns.end('/s')
    for number in range(AT_ONCE):
        turns.begin('/s', lambda number=number: running.append(number))
    for _ in range(5000):
        turns.begin('/s', fail)
    assert (len(running), ended) == (AT_ONCE, 0)
    turns.end('/s')
    assert ended == 5000
    for _ in range(AT_ONCE - 1):
        turns.end('/s')
    assert not turns._running
