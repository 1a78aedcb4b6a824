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
"""``ws_bridge doctor``: what it looks at itself, what it asks, and how it says it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
import fcntl
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest
from support import fake_bridge
from support.fake_bridge import FakeBridge
from support.helpers import SpinningNode

from ws_bridge.cli import doctor, main, shared_memory
from ws_bridge.cli.shared_memory import dead_files
from ws_bridge.errors import Forbidden, Unavailable, UnknownOperation
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.envelope import encode
from ws_bridge.protocol.types import InterfaceConfig, MessageType

Captured = pytest.CaptureFixture[str]
SILENT = {'code': 'silent', 'message': 'nothing came', 'advice': 'look there'}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave this machine's own troubles out: other tests leave shared memory."""
    monkeypatch.setattr(doctor, 'shared_memory', list)
    monkeypatch.setattr(fake_bridge, 'OFFSET', 0.0)


def answering(*answers: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Return what answers ``diagnose`` with these in turn, the last again and again."""
    left = list(answers)

    def answer(frame: dict[str, Any]) -> Any:
        if frame['metadata']['message_type'] != 'configuration' \
                or frame['data']['op'] != 'diagnose':
            return None
        data = {'op': 'diagnose', 'topic': frame['data'].get('topic'), 'use': None,
                'findings': [], **(left.pop(0) if left[1:] else left[0])}
        return encode(data, message_id='1', timestamp=0.0, source='ws_bridge',
                      message_type=MessageType.ACKNOWLEDGMENT,
                      correlation_id=frame['metadata']['message_id']).decode()
    return answer


def run(capsys: Captured, bridge: FakeBridge, *words: str) -> tuple[int, list[str]]:
    """Return exit code and codes of the findings."""
    code = main(['doctor', '--url', bridge.url, '--json', '--wait', '0.2', *words])
    found = json.loads(capsys.readouterr().out)['findings']
    assert all(each['message'] and each['advice'] for each in found)
    return code, [each['code'] for each in found]


def test_nothing_found(capsys: Captured) -> None:
    with FakeBridge(answering({})) as bridge:
        assert main(['doctor', '--url', bridge.url]) == 0
        assert capsys.readouterr().out == 'nothing found\n'
        assert run(capsys, bridge, '/cmd_vel', '--use', 'publish') == (0, [])
        assert bridge.frames[-1]['data'] == {
            'op': 'diagnose', 'topic': '/cmd_vel', 'use': 'publish'}


def test_a_line_a_finding(capsys: Captured) -> None:
    with FakeBridge(answering({'findings': [SILENT, {**SILENT, 'code': 'other'}]})) as bridge:
        assert main(['doctor', '/odom', '--url', bridge.url]) == 1
    assert capsys.readouterr().out == \
        'silent: nothing came; look there\nother: nothing came; look there\n'


def test_a_sample_that_comes(capsys: Captured) -> None:
    """Then there is nothing more to ask."""
    subscribe = {'use': 'subscribe'}
    with FakeBridge(answering(subscribe, {**subscribe, 'findings': [SILENT]})) as bridge:
        assert run(capsys, bridge, '/odom', '--wait', '15') == (0, [])
        assert [frame['data'].get('op') for frame in bridge.frames][-2:] == [
            'diagnose', 'subscribe']


def test_a_sample_that_does_not_come(capsys: Captured) -> None:
    """The bridge is asked again, which knows of the subscription now."""
    subscribe = {'use': 'subscribe'}
    diagnose = answering(subscribe, {**subscribe, 'findings': [SILENT]})

    def answer(frame: dict[str, Any]) -> Any:
        if frame['data'].get('op') != 'subscribe':
            return diagnose(frame)
        return encode({'op': 'subscribe', 'topic': '/odom', 'type': None, 'encoding': 'json',
                       'channel_id': 1, 'schema': None, 'pending': True}, message_id='1',
                      timestamp=0.0, source='ws_bridge', message_type=MessageType.ACKNOWLEDGMENT,
                      correlation_id=frame['metadata']['message_id']).decode()
    with FakeBridge(answer) as bridge:
        assert run(capsys, bridge, '/odom') == (1, ['silent'])


def test_a_subscription_that_is_refused(capsys: Captured) -> None:
    """Its error is a finding where the bridge has no other."""
    with FakeBridge(answering({'use': 'subscribe'})) as bridge:
        assert run(capsys, bridge, '/secret') == (1, ['forbidden'])


def test_a_clock_that_differs(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_bridge, 'OFFSET', -30.0)
    with FakeBridge(answering({})) as bridge:
        assert main(['doctor', '--url', bridge.url]) == 1
    assert 'clock is 30 s behind this one' in capsys.readouterr().out


@pytest.mark.parametrize(('error', 'code', 'advice'), [
    (UnknownOperation('diagnose'), 'old_bridge', 'run a newer ws_bridge there'),
    (Forbidden('no right to graph'), 'forbidden', 'log in as somebody who may ask'),
    (Unavailable('this is a replay: there are no nodes'), 'unavailable',
     'ask the bridge of a robot')])
def test_a_bridge_that_does_not_answer(capsys: Captured, error: Any, code: str,
                                       advice: str) -> None:
    with FakeBridge(lambda frame: error if frame['data'].get('op') == 'diagnose' else None
                    ) as bridge:
        assert main(['doctor', '--url', bridge.url]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f'{code}: ')
    assert line.endswith(f'; {advice}')


def test_no_bridge(capsys: Captured) -> None:
    assert main(['doctor', '--url', 'ws://127.0.0.1:1']) == 1
    assert capsys.readouterr().out.startswith('no_connection: ws://127.0.0.1:1')
    assert main(['doctor', '--url', 'http://x']) == 1
    assert capsys.readouterr().out.startswith('bad_config: ')


def test_an_older_websockets(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in a line; nothing of the library is imported."""
    monkeypatch.setattr('ws_bridge.transport.requirements.version', lambda name: '10.4')
    assert main(['doctor', '--url', 'ws://127.0.0.1:1']) == 1
    assert capsys.readouterr().out.startswith('old_websockets: websockets 10.4 is too old')
    script = ('import sys; sys.modules["websockets"] = None; import ws_bridge.cli.doctor')
    subprocess.run([sys.executable, '-c', script], check=True)


async def test_origin() -> None:
    """A page that the bridge would refuse is told of, with what the bridge says."""
    server = WebSocketServer(InterfaceConfig(endpoint='127.0.0.1:0', enable_logging=False))
    assert await server.connect()
    try:
        url = f'ws://127.0.0.1:{server.port}'
        (found,) = await doctor.check_origin(url, 'https://page.example')
        assert found.code == 'origin'
        assert 'https://page.example' in found.advice
        assert await doctor.check_origin(url, f'http://127.0.0.1:{server.port}') == []
    finally:
        await server.disconnect()
    assert await doctor.check_origin(url, 'https://page.example') == []


@pytest.fixture
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder of files as Fast DDS leaves them, some of which a process still has."""
    for name in ('fastdds_1', 'fastdds_1_el', 'fastdds_2', 'fastdds_2_el', 'fastdds_3',
                 'fastrtps_port7412', 'fastrtps_port7412_el', 'sem.fastrtps_port7412_mutex',
                 'fastdds_4', 'fastdds_4_sl', 'other', 'fastdds'):
        (tmp_path / name).write_bytes(bytes(16))
    with (tmp_path / 'fastdds_2_el').open() as owner, (tmp_path / 'fastdds_4_sl').open() as reader:
        fcntl.flock(owner, fcntl.LOCK_EX)
        fcntl.flock(reader, fcntl.LOCK_EX)
        yield tmp_path


def test_dead_shared_memory(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever nobody holds the lock of; not what is just being made, or somebody else's."""
    assert dead_files(shm) == {}, 'they may be about to be locked'
    monkeypatch.setattr(shared_memory, 'YOUNG', 0.0)
    found = {name: sorted(path.name for path in paths) for name, paths in dead_files(shm).items()}
    assert found == {
        'fastdds_1': ['fastdds_1', 'fastdds_1_el'], 'fastdds_3': ['fastdds_3'],
        'fastrtps_port7412': ['fastrtps_port7412', 'fastrtps_port7412_el',
                              'sem.fastrtps_port7412_mutex']}
    monkeypatch.undo()
    monkeypatch.setattr(shared_memory, 'YOUNG', 0.0)
    monkeypatch.setattr(doctor, 'dead_files', lambda: dead_files(shm))
    (finding,) = doctor.shared_memory()
    assert finding.message.startswith('6 files in /dev/shm')
    monkeypatch.setattr(doctor, 'dead_files', dict)
    assert doctor.shared_memory() == []


def test_a_living_participant_is_not_dead() -> None:
    """Its segment and its port are locked, as this module believes."""
    before = {path.name for path in shared_memory.FOLDER.glob('fast*_*')}
    with SpinningNode('shared'):
        ours = Path(f'/proc/{os.getpid()}/maps').read_text()
        names = {path.name for path in shared_memory.FOLDER.glob('fast*_*')
                 if str(path) in ours} - before
        if not names:
            pytest.skip('this middleware has no shared memory here')
        assert not names & {path.name for paths in dead_files().values() for path in paths}


def test_another_users_files(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as in use."""
    def refuse(self: Path, *args: Any) -> Any:
        raise PermissionError
    monkeypatch.setattr(shared_memory, 'YOUNG', 0.0)
    monkeypatch.setattr(Path, 'open', refuse)
    assert set(dead_files(shm)) == {'fastdds_3'}
