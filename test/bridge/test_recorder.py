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
"""What crossed the bridge is in the recording, and recording changes nothing else."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
import json
import os
from pathlib import Path
import re
import signal
import sys
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from std_msgs.msg import Int32, String
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, SpinningNode, tries
from support.recordings import read
from support.security_support import bearer, TOKEN, TOKENS, write_tokens

import ws_bridge
from ws_bridge.main import Service
from ws_bridge.record import feed
from ws_bridge.record.channels import COMMANDS, DELIVERIES, EVENTS, LINKS
from ws_bridge.record.recording import recordings_in
from ws_bridge.record.rosbag2 import facts_of, files_of
from ws_bridge.record.verify import verify

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def robot() -> Iterator[Any]:
    """Give a rclpy node of its own, as the robot's other software."""
    with SpinningNode('robot') as spinning:
        yield spinning.node


def parameters(tmp_path: Path, **more: Any) -> dict[str, Any]:
    """Return those of a bridge that records, and is patient: no stop but those of the test."""
    return {'record': 'ring', 'record_folder': str(tmp_path / 'records'),
            'record_key': str(tmp_path / 'record.key'), 'record_after': 0.0,
            'gate_ttl': 30.0, 'gate_timeout': 60.0, **more}


def recorder(service: Service) -> Any:
    found = service.bridge._recorder
    assert found is not None
    return found


async def drives(peer: NativePeer) -> bool:
    """Whether commands pass, also where the first ones meet no subscriber yet."""
    for _ in tries():
        await peer.command('/cmd_vel', {})
        if (await peer.command('/cmd_vel', {'linear': {'x': 0.5}})).get('op') == 'publish':
            return True
    return False


def finished(tmp_path: Path) -> list[Path]:
    """Return the recordings that are complete."""
    return [each for each in recordings_in(tmp_path / 'records')
            if (each / 'metadata.yaml').exists()]


def own(folder: Path, topic: str) -> list[dict[str, Any]]:
    """Return what the bridge says on one of its channels."""
    return [json.loads(data) for name, _, _, data in read(
        folder / f'{folder.name}_0.bridge.mcap') if name == topic]


async def test_a_drive_that_ends_in_a_stop(robot: Any, tmp_path: Path) -> None:
    """Samples, what is kept, the commands with their verdicts, leases, the stop; all signed."""
    counts = robot.create_publisher(Int32, '/count', 10)
    robot.create_publisher(String, '/description', LATCHED).publish(String(data='a robot'))
    robot.create_subscription(Twist, '/cmd_vel', lambda message: None, 10)
    async with running_bridge(**parameters(tmp_path)) as service, \
            native_peer(service) as peer, native_peer(service) as other:
        for topic in ('/count', '/description'):
            await async_wait_until(lambda: topic in service.ros.graph.topics)  # noqa: B023
            await peer.ask('subscribe', topic=topic)
        await async_wait_until(lambda: peer.samples('/description'))
        await async_wait_until(lambda: counts.get_subscription_count() == 1)
        # who hears a topic no more ends the recording of no other one
        counts.publish(Int32(data=-1))
        await async_wait_until(lambda: peer.samples('/count'))
        await peer.ask('unsubscribe', topic='/description')
        recorder(service)._due = 0.0
        await async_wait_until(lambda: not recorder(service)._numbers)
        await peer.ask('subscribe', topic='/description')
        for number in range(5):
            counts.publish(Int32(data=number))
        await async_wait_until(lambda: len(peer.samples('/count')) == 6)
        await peer.acquire('/cmd_vel')
        await peer.command('/cmd_vel', {})
        assert (await peer.command('/cmd_vel', {'linear': {'x': 0.5}}))['op'] == 'publish'
        assert (await other.command('/cmd_vel', {'linear': {'x': 0.7}}))['code'] == 'not_holder'
        await async_wait_until(lambda: recorder(service)._entries[
            '/description', 'std_msgs/msg/String'].kept)    # looked at once a second
        await peer.ask('stop', reason='enough')
        await async_wait_until(lambda: finished(tmp_path))
    folder = finished(tmp_path)[0]
    assert [each.kind for each in verify(folder)] == ['intact']
    assert folder.name.endswith(('_estop', '_stopped-estop'))
    rows = read(files_of(folder)[0])
    assert [data for topic, *_, data in rows if topic == '/count'] == [
        serialize_message(Int32(data=number)) for number in range(-1, 5)]
    assert serialize_message(String(data='a robot')) in [
        data for topic, *_, data in rows if topic == '/description']
    moving = Twist()
    moving.linear.x = 0.5
    assert [data for topic, *_, data in rows if topic == '/cmd_vel'] == [
        serialize_message(Twist()), serialize_message(moving)]
    info, count = facts_of(files_of(folder)[0]).topics['/count', 'std_msgs/msg/Int32']
    assert count == 6
    assert info.type_hash.startswith('RIHS01_')
    assert (info.qos[0]['reliability'], info.qos[0]['durability']) == ('reliable', 'volatile')
    commands = own(folder, COMMANDS)
    assert [(each['verdict'], each['values']) for each in commands] == [
        ('passed', {}), ('passed', {'linear': {'x': 0.5}}),
        ('not_holder', {'linear': {'x': 0.7}})]
    assert all(-1 < each['age'] < 30 and each['gate'] == '/cmd_vel' for each in commands)
    events = own(folder, EVENTS)
    assert {'open', 'lease', 'refused'} <= {each['event'] for each in events}
    assert any({'/count', '/description'} == {topic['topic'] for topic in each['topics']}
               for each in own(folder, DELIVERIES))
    assert own(folder, LINKS)[-1]['links'][0]['liveness']


async def test_a_gate_is_known_without_a_command(robot: Any, tmp_path: Path) -> None:
    """A replay must not publish what the gate guarded, also where no peer has commanded."""
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text("version: 1\nout: ['*']\nservices: ['*']\n"
                       'gates: [{gate: arm, topics: [/arm/*]}]\n')
    efforts = robot.create_publisher(Int32, '/arm/effort', 10)
    async with running_bridge(mapping_file=str(mapping), **parameters(tmp_path)) as service, \
            native_peer(service) as peer:
        await async_wait_until(lambda: '/arm/effort' in service.ros.graph.topics)
        await peer.ask('subscribe', topic='/arm/effort')
        await async_wait_until(lambda: efforts.get_subscription_count() == 1)
        efforts.publish(Int32(data=1))
        await async_wait_until(lambda: peer.samples('/arm/effort'))
        await peer.ask('stop')
        await async_wait_until(lambda: finished(tmp_path))
    (info, _), = facts_of(files_of(finished(tmp_path)[0])[0]).topics.values()
    assert (info.topic, info.gate) == ('/arm/effort', 'arm')


async def test_saved_by_a_service(tmp_path: Path) -> None:
    """By peers whose roles have the right ``record``; ``ws_bridge record`` does it so."""
    tokens = write_tokens(tmp_path / 'tokens')
    async with running_bridge(token_file=tokens, **parameters(tmp_path)) as service:
        async with native_peer(
                service, additional_headers=bearer(TOKENS['olga'][1])) as peer:
            answer = await peer.call('/ws_bridge/record/save')
            assert answer['data']['code'] == 'forbidden'
        await async_wait_until(
            lambda: '/ws_bridge/record/save' in service.ros.graph.services)
        process = await asyncio.create_subprocess_exec(
            sys.executable, '-m', 'ws_bridge', 'record', '--url', service.url,
            env={**os.environ, 'WS_BRIDGE_TOKEN': TOKEN}, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        assert said == b'the recording is saved, and goes on for a while\n'
        await async_wait_until(lambda: len(finished(tmp_path)) == 1)
        assert finished(tmp_path)[0].name.endswith('_save')


async def test_a_folder_that_cannot_be_written(robot: Any, tmp_path: Path) -> None:
    """Peers, the log and ``/diagnostics`` are told; commands and stops go on."""
    (tmp_path / 'records').write_text('in the way')
    heard: list[Any] = []
    robot.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
    robot.create_subscription(Twist, '/cmd_vel', lambda message: None, 10)
    async with running_bridge(**parameters(tmp_path, diagnostics_period=0.1)) as service, \
            native_peer(service) as peer:
        await peer.acquire('/cmd_vel')
        recorder(service).save('save')
        await peer.wait(lambda frame: frame['data'].get('code') == 'not_recorded')
        assert await drives(peer)
        assert await peer.ask('stop') == {'op': 'stop', 'stopped': True}
        await async_wait_until(lambda: any(
            each.name == 'ws_bridge: recorder' and each.level == b'\2' and 'failed' in each.message
            for message in heard for each in message.status))


async def test_a_process_that_hangs_or_dies_delays_nothing(
        robot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded, and commands and stops go on; one that died is replaced."""
    monkeypatch.setattr(feed, 'MOST_BYTES', 200_000)
    monkeypatch.setattr(feed, 'RESTART', 0.05)
    robot.create_subscription(Twist, '/cmd_vel', lambda message: None, 10)
    async with running_bridge(**parameters(tmp_path)) as service, native_peer(service) as peer:
        box = recorder(service)
        await async_wait_until(lambda: box._state == 'ring')
        first = box.feed.pid
        os.kill(first, signal.SIGSTOP)
        await peer.acquire('/cmd_vel')
        while not box.feed.lost:        # more than the pipe and the deque hold
            assert await drives(peer)
            box._say(EVENTS, {'event': 'x' * 50_000}, 50_000)
        assert box.feed.waiting < 300_000
        assert await peer.ask('stop') == {'op': 'stop', 'stopped': True}
        assert 'items lost' in box.diagnostics()[0][2]
        os.kill(first, signal.SIGCONT)
        await async_wait_until(lambda: finished(tmp_path))
        os.kill(first, signal.SIGKILL)
        await peer.wait(lambda frame: frame['data'].get('code') == 'not_recorded')
        await async_wait_until(lambda: box._state == 'ring')
        assert box.feed.pid != first
        assert await peer.ask('clear_stop') == {'op': 'clear_stop', 'stopped': False}
    assert [each for folder in finished(tmp_path) for each in own(folder, '/ws_bridge/recorder')
            if each['event'] == 'not_recorded' and each.get('count')]


def test_a_bridge_that_records_nothing_loads_nothing_for_it() -> None:
    """No other module imports what records, but in a function."""
    package = Path(ws_bridge.__file__).parent
    found = {path.relative_to(package).as_posix() for path in package.rglob('*.py') if re.search(
        r'^(from|import) ws_bridge\.(record|bridge\.recorder)\b', path.read_text(), re.MULTILINE)}
    assert {name for name in found if not name.startswith('record/')} == {
        'bridge/recorder.py', 'bridge/replay_side.py', 'cli/bag.py', 'cli/replay.py'}
