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
"""The matrix of roles: who may have a recording saved, see the list, and read which part."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import IncompleteRead
from io import BytesIO
import json
import os
from pathlib import Path
import tarfile
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.helpers import async_wait_until
from support.recordings import begin, COUNT, NAME, POINT, read, record, START
from support.security_support import bearer

from ws_bridge.bridge import recordings
from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.door import Admission, Door
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.pages import make_http
from ws_bridge.bridge.recordings import Recordings
from ws_bridge.config import settings_from
from ws_bridge.config.roles import ADMIN, OwnNames
from ws_bridge.errors import Forbidden
from ws_bridge.identity.authority import Authority
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.mapping.reader import parse_mapping
from ws_bridge.protocol.types import InterfaceConfig
from ws_bridge.record.library import answer
from ws_bridge.session.rights import Policy, Rights
from ws_bridge.transport.options import ServerOptions, Visitor

SAVE = '/ws_bridge/record/save'
MAPPING = b"""
version: 1
out: ['*']
services: ['*']
roles:
  reader: {like: observer, allow: [{recordings: '*'}], deny: [{subscribe: '/secret/*'}]}
  blind: {allow: [{recordings: '*'}]}
  keeper: {like: admin, deny: [{recordings: '*'}]}
  saver: {allow: [{record: '*', call: '*'}]}
"""
ALL, PART, NOTHING = {'/count', POINT.topic}, {'/count'}, set[str]()
ROLES: Mapping[str, tuple[bool, set[str] | None]] = {
    'nobody': (False, None), 'observer': (False, None), 'operator': (True, None),
    'safety': (True, None), 'admin': (True, ALL), 'reader': (False, PART),
    'blind': (False, NOTHING), 'keeper': (True, None), 'saver': (True, None)}
"""Whether a role may have a recording saved; what it may read of one; ``None``: no list."""
NUMBER = 20


class Served:
    """A server that has recordings."""

    def __init__(self, port: int, ledger: Ledger, policy: Policy, folder: Path,
                 library: Recordings) -> None:
        self.port, self.ledger, self.policy, self.folder = port, ledger, policy, folder
        self.library = library

    async def get(self, path: str, role: str = 'nobody', **headers: str) -> tuple[int, bytes]:
        """Ask as a role; return status and body."""
        def ask() -> tuple[int, bytes]:
            try:
                with urlopen(Request(f'http://127.0.0.1:{self.port}{path}', headers={
                        **({} if role == 'nobody' else bearer(f'the-token-of-{role}')),
                        **{name.replace('_', '-'): value for name, value in headers.items()}}),
                        timeout=20) as reply:
                    return reply.status, reply.read()
            except HTTPError as exc:
                with exc:
                    return exc.code, exc.read()
        return await asyncio.to_thread(ask)


def answered(library: Recordings, options: Mapping[str, Any]) -> Any:
    """Answer here what a process would be asked."""
    out = BytesIO()
    answer(json.loads(library._request(options)), out)
    return json.loads(out.getvalue())


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have short questions answered without a process: each takes half a second."""
    async def ask(library: Recordings, options: Mapping[str, Any]) -> Any:
        return await asyncio.to_thread(answered, library, options)
    monkeypatch.setattr(Recordings, '_ask', ask)


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    folder = tmp_path / 'records'
    (tmp_path / 'tokens').write_text('\n'.join(
        f'{role} {role} the-token-of-{role}' for role in ROLES if role != 'nobody'))
    (tmp_path / 'tokens').chmod(0o600)
    settings = settings_from({'port': 0, 'token_file': str(tmp_path / 'tokens'),
                              'handshake_timeout': 20.0, 'ping_timeout': 20.0})
    loop = asyncio.get_running_loop()
    epoch = time.time() - loop.time()
    policy = Policy(parse_mapping(MAPPING, 'm.yaml'), OwnNames(record=SAVE))
    ledger = Ledger(Audit('', 1_000_000, loop.time, epoch))
    door = Door(settings, policy, Authority(settings, {}, tuple(policy.roles)), ledger)
    library = Recordings(settings, str(folder), str(tmp_path / 'record.key'), door, ledger, loop,
                         gated=lambda: ['/gated', '/secret/gated'], epoch=epoch)
    server = WebSocketServer(InterfaceConfig(name='it', description='it'), options=ServerOptions(
        handshake_timeout=20.0, ping_timeout=20.0,
        http=make_http('it', lambda: True, recordings=library.answer)))
    assert await server.start_server('127.0.0.1', 0)
    try:
        yield Served(server.port, ledger, policy, folder, library)
    finally:
        await server.disconnect()
        await library.shutdown()


def topics_in(archive: bytes, target: Path) -> set[str]:
    """Return the topics of ROS in what was sent."""
    with tarfile.open(fileobj=BytesIO(archive)) as opened:
        opened.extractall(target, filter='data')
    return {row[0] for path in target.rglob('*_0.mcap') for row in read(path)}


async def test_matrix(tmp_path: Path, beside: None) -> None:
    record(tmp_path / 'records', NUMBER)
    async with served(tmp_path) as it:
        for role, (may_save, topics) in ROLES.items():
            if role != 'nobody':
                rights = it.policy.roles[role]
                assert (it.policy.find(rights, 'call', SAVE) is not None) is may_save, role
            refusal = 401 if role == 'nobody' else 403
            status, body = await it.get('/recordings/', role)
            if topics is None:
                assert (status, body) == (
                    refusal, b'forbidden: needs the right recordings\n'), role
                for path in (f'/recordings/{NAME}.tar', '/recordings', '/recordings/none.tar'):
                    assert (await it.get(path, role))[0] == refusal, role
                continue
            assert (status, [each['name'] for each in json.loads(body)]) == (200, [NAME])
            status, body = await it.get(f'/recordings/{NAME}.tar', role)
            assert (status, topics_in(body, tmp_path / role)) == (200, topics), role
        assert it.ledger.counts['recording_sent', ''] == 3


async def test_what_is_not_there(tmp_path: Path, beside: None) -> None:
    record(tmp_path / 'records', NUMBER)
    begin(tmp_path / 'records', name='2026-11-29_08-00-00Z_now').abandon()
    async with served(tmp_path) as it:
        for path, expected in (
                (f'/recordings/{NAME}', 404), ('/recordings/2026-11-29_08-00-00Z_now.tar', 409),
                ('/recordings/..%2Fx.tar', 404), ('/recordingsx', 404)):
            assert (await it.get(path, 'admin'))[0] == expected, path
        # a page of another host can have the browser of an admin ask, and is told nothing
        assert (await it.get('/recordings/', 'admin', Origin='http://evil.example'))[0] == 403


async def test_what_was_not_sent_in_full_has_no_end(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gets only a part because it was cut off knows; no process is left."""
    recording = begin(tmp_path / 'records', name=NAME)
    for number in range(40):
        recording.add(COUNT, START + number, number, os.urandom(100_000))
    recording.close()
    async with served(tmp_path) as it:
        whole = (await it.get(f'/recordings/{NAME}.tar', 'admin'))[1]
        assert topics_in(whole, tmp_path / 'got') == {'/count'}
        assert (await it.get('/recordings/none.tar', 'admin')) == (
            404, b"unknown_name: there is no recording 'none'\n")
        reading = recordings._read

        async def cut_off(stream: asyncio.StreamReader) -> bytes:
            piece = await reading(stream)
            for task in it.library._tasks:
                task.cancel()
            return piece
        monkeypatch.setattr(recordings, '_read', cut_off)
        with pytest.raises(IncompleteRead):
            await it.get(f'/recordings/{NAME}.tar', 'admin')
        await async_wait_until(lambda: not it.library._tasks)
        assert it.library._working == 0
        it.library._working = recordings.AT_ONCE
        assert (await it.get('/recordings/', 'admin'))[0] == 503


def test_a_command_to_a_gate_is_spoken_of() -> None:
    """What was refused is in no sample: its topic is known by its gate."""
    policy = Policy(parse_mapping(MAPPING, 'm.yaml'))
    assert {role: recordings._heard(Rights(policy, policy.roles[role]), ['/gated', '/secret/g'])
            for role in ('admin', 'reader', 'blind')} == {
                'admin': ['/gated', '/secret/g'], 'reader': ['/gated'], 'blind': []}


def test_who_has_not_logged_in_has_to_be_near() -> None:
    rights = Rights(Policy(parse_mapping(MAPPING, 'm.yaml')), ADMIN)
    recordings._require(Admission(None, rights), Visitor('127.0.0.1', '/', {}))
    with pytest.raises(Forbidden, match='needs a login'):
        recordings._require(Admission(None, rights), Visitor('192.0.2.7', '/', {}))
