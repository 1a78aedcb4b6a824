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
The clients of Foxglove's protocol that can be had, against a bridge process.

Foxglove's own client runs under node, under both names of the protocol. It is one process that
goes through its scenarios and prints how each ended. So does Foxglove's recorder, whose file the
readers of two others read. ``robo-ws-bridge`` is a client in Python.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
import json
from pathlib import Path
import signal
import subprocess
from typing import Any

from builtin_interfaces.msg import Time
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Int32, String
from std_srvs.srv import SetBool
from support.bridge_harness import running_bridge
from support.helpers import async_wait_until, PATIENCE, SpinningNode, wait_until
from support.make_golden import plain
from support.processes import replaying
from support.real_clients import lines_of, node_is_new_enough, scenarios, SKIP_NODE
from support.recordings import read, record
from support.rosbridge_robot import bridge_process
from support.viewer_robot import decodes, Kinds, ListeningRobot, running_viewer_robot

CLIENTS = Path(__file__).parent / 'clients'
ROOT = CLIENTS.parents[2]
FILE = 'ws_bridge/web/package.json'     # as an asset, too
SKIP_FOXGLOVE = "Foxglove's packages are not installed (make test does that where there is npm)"
SCENARIOS = scenarios(CLIENTS / 'foxglove_client.mjs', r'^  async (\w+)\(subprotocol\) \{')
HEARD = 5    # messages of each topic that somebody has to listen to
APART = 'time_of_a_simulation', 'replay'     # with a bridge of their own
SUBPROTOCOLS = 'foxglove.sdk.v1', 'foxglove.websocket.v1'


@pytest.fixture(scope='module')
def place() -> Iterator[tuple[Kinds, str]]:
    """Run the robot and a bridge for all clients; give the kinds of the robot, and the URL."""
    with running_viewer_robot('js_robot') as kinds, \
            bridge_process(asset_uri_allowlist=[r'package://[\w/]+\.json']) as (_, url):
        yield kinds, url


@pytest.fixture(scope='module')
def packages() -> Path:
    """Give the folder of Foxglove's packages."""
    if not node_is_new_enough():
        pytest.skip(SKIP_NODE)
    if not (CLIENTS / 'node_modules' / '@foxglove').is_dir():
        pytest.skip(SKIP_FOXGLOVE)
    return CLIENTS / 'node_modules'


@pytest.fixture(scope='module')
def foxglove(place: tuple[Kinds, str], packages: Path) -> dict[tuple[str, str], Any]:
    """Run Foxglove's client; give what it says of each scenario."""
    with lines_of(['node', 'foxglove_client.mjs', place[1]], CLIENTS) as lines:
        return {(line['scenario'], line['subprotocol']): line for line in lines}


@pytest.mark.parametrize('subprotocol', SUBPROTOCOLS)
@pytest.mark.parametrize('scenario', [name for name in SCENARIOS if name not in APART])
def test_foxglove(foxglove: dict[tuple[str, str], Any], scenario: str, subprotocol: str) -> None:
    said = foxglove.get((scenario, subprotocol))
    assert said, 'the client ended before'
    assert said['error'] is None, said['error']


def test_every_kind_of_field_is_decoded_and_published(
        place: tuple[Kinds, str], foxglove: dict[tuple[str, str], Any]) -> None:
    kinds, _ = place
    assert kinds.heard == kinds.expected
    for subprotocol in SUBPROTOCOLS:
        decoded = foxglove['every_kind_of_field', subprotocol]['decoded']
        assert decoded == {name: plain(message) for name, message in kinds.cases.items()
                           if decodes(message)}


async def test_the_time_of_a_simulation(ros_node: SpinningNode, packages: Path) -> None:
    node = ros_node.node
    clock, out = (node.create_publisher(Clock, '/clock', 10),
                  node.create_publisher(String, '/out', 10))
    stamps = iter(range(10**6))

    def tick() -> None:
        clock.publish(Clock(clock=Time(sec=1000, nanosec=next(stamps) * 1000)))
        out.publish(String())
    node.create_timer(0.01, tick)
    async with running_bridge(use_sim_time=True) as service:
        client = await asyncio.create_subprocess_exec(
            'node', 'foxglove_client.mjs', service.url, 'time_of_a_simulation', cwd=CLIENTS,
            stdout=subprocess.PIPE)
        said, _ = await client.communicate()
    lines = map(json.loads, said.splitlines())
    assert {line['subprotocol']: line['error'] for line in lines} == dict.fromkeys(SUBPROTOCOLS)


def test_a_replay_is_what_was_recorded(packages: Path, tmp_path: Path) -> None:
    """The bytes of each message, in their order; what the bridge said in a string."""
    folder = record(tmp_path / 'records', 10)
    rows = [row for file in sorted(folder.glob('*.mcap')) for row in read(file)]
    topics = {topic: [data.decode() if topic.startswith('/ws_bridge/') else data.hex()
                      for each, _, _, data in rows if each == topic] for topic, *_ in rows}
    assert {len(each) for each in topics.values()} == {10}
    times = [time for _, time, *_ in rows]
    recorded = json.dumps({'begin': str(min(times)), 'end': str(max(times)), 'topics': topics})
    with replaying(str(folder), '--loop') as url, lines_of(
            ['node', 'foxglove_client.mjs', url, 'replay'], CLIENTS, RECORDED=recorded) as lines:
        assert {line['subprotocol']: line['error'] for line in lines} == dict.fromkeys(
            SUBPROTOCOLS)


def test_the_script_has_scenarios() -> None:
    assert len(SCENARIOS) == 11


def with_profile(source: Path, copy: Path) -> None:
    """Copy a recording and say that it is of ROS 2, which Foxglove's recorder leaves out."""
    from mcap.reader import make_reader
    from mcap.writer import Writer

    channels: dict[int, int] = {}
    with source.open('rb') as read, copy.open('wb') as write:
        writer = Writer(write)
        writer.start(profile='ros2')
        for schema, channel, message in make_reader(read).iter_messages():
            if channel.id not in channels:
                channels[channel.id] = writer.register_channel(
                    channel.topic, channel.message_encoding, writer.register_schema(
                        schema.name, schema.encoding, schema.data))
            writer.add_message(channels[channel.id], message.log_time, message.data,
                               message.publish_time)
        writer.finish()


def test_a_recording_is_what_the_robot_said(
        place: tuple[Kinds, str], packages: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip('mcap.reader')
    rosbags = pytest.importorskip('rosbags.highlevel')
    file, copy = tmp_path / 'robot.mcap', tmp_path / 'copy.mcap'
    with SpinningNode('demo_robot', ListeningRobot) as robot, (tmp_path / 'log').open('w+') as log:
        recorder = subprocess.Popen(
            ['node', packages / '.bin' / 'ws-protocol-examples', 'mcap-record', '--output', file,
             place[1]], stderr=log)
        try:
            said, others = robot.node.said, robot.node.others
            wait_until(lambda: all(count >= HEARD for count in others.values()),
                       why=lambda: f'{others} {(tmp_path / "log").read_text()}')
        finally:
            recorder.send_signal(signal.SIGINT)
            try:
                assert recorder.wait(PATIENCE) == 0
            finally:
                recorder.kill()
        with file.open('rb') as stream:
            recorded = [(channel.topic, schema.name, message.data) for schema, channel, message
                        in reader.make_reader(stream).iter_messages() if channel.topic in said]
        assert {topic for topic, _, _ in recorded} == said.keys()
        wait_until(lambda: all(data in said[topic] for topic, _, data in recorded))

    with_profile(file, copy)
    with rosbags.AnyReader([copy]) as bag:
        read = [(connection.topic, connection.msgtype, bytes(data))
                for connection, _, data in bag.messages() if connection.topic in said]
        assert sorted(read) == sorted(recorded)
        for topic, (name, data) in {topic: more for topic, *more in read}.items():
            # it decodes by the schemas of the file; what was encoded anew differs in its gaps
            again = bag.typestore.serialize_cdr(bag.typestore.deserialize_cdr(data, name), name)
            kind = robot.node.kinds[topic]
            assert plain(deserialize_message(bytes(again), kind)) == plain(
                deserialize_message(data, kind))


async def test_robo_ws_bridge(place: tuple[Kinds, str]) -> None:
    robo = pytest.importorskip('robo_ws_bridge')
    client = robo.WebSocketBridgeClient(place[1])
    got: dict[str, list[bytes]] = {'/ticks': [], '/map': [], '/echo/text/out': []}
    statuses: list[tuple[Any, ...]] = []
    client.on_message(lambda channel, stamp, payload: got[channel['topic']].append(payload))
    client.on_status(lambda *status: statuses.append(status))

    def text(payload: bytes) -> str:
        return deserialize_message(payload, String).data

    def service() -> int | None:
        return next((number for number, each in client.services.items()
                     if each['name'] == '/switch'), None)
    await client.connect()
    try:
        for topic in got:
            await client.subscribe(topic)   # before it knows of any
        await async_wait_until(lambda: service() is not None and len(got['/ticks']) > 3)
        assert 'clientPublish' in client.server_info['capabilities']
        numbers = [deserialize_message(each, Int32).data for each in got['/ticks']]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
        await async_wait_until(lambda: got['/map'])
        assert list(map(text, got['/map'])) == ['the map']

        for encoding, payload in (('cdr', serialize_message(String(data='cdr'))),
                                  ('json', b'{"data": "json"}')):
            channel = await client.advertise('/echo/text/in', encoding=encoding,
                                             schema_name='std_msgs/msg/String')

            async def echoed(channel: int = channel, encoding: str = encoding,
                             payload: bytes = payload) -> None:
                while encoding not in map(text, got['/echo/text/out']):
                    await client.publish(channel, payload)
                    await asyncio.sleep(0.05)
            await asyncio.wait_for(echoed(), PATIENCE)
            await client.unadvertise(channel)

        answer = await client.call_service(service(), serialize_message(
            SetBool.Request(data=True)), encoding='cdr')
        assert deserialize_message(answer.payload, SetBool.Response).message == 'on'
        answer = await client.call_service(service(), b'{"data": false}', encoding='json')
        assert json.loads(answer.payload) == {'success': False, 'message': 'off'}
        with pytest.raises(robo.client.ServiceCallError, match='unknown_field'):
            await client.call_service(service(), b'{"date": false}', encoding='json')

        (fixed,) = await client.get_parameters(['/js_robot.fixed'])
        assert fixed == {'name': '/js_robot.fixed', 'value': 5}
        (speed,) = await client.set_parameters([{'name': '/js_robot.speed', 'value': 9.0}])
        assert speed == {'name': '/js_robot.speed', 'value': 9.0, 'type': 'float64'}
        assert [level for level, _, _ in statuses] == [2]   # of the call that failed

        assert await client.fetch_asset(f'package://{FILE}') == (ROOT / FILE).read_bytes()
        with pytest.raises(robo.client.FetchAssetError, match='unknown_name'):
            await client.fetch_asset('package://ws_bridge/web/no.json')
        await client.subscribe_connection_graph()
        await async_wait_until(lambda: {'name': '/ticks', 'publisherIds': ['/js_robot']} in
                               client.connection_graph.published_topics)
    finally:
        await client.disconnect()
