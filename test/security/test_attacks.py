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
"""Each attack once, while an operator commands at 50 Hz: what it gets; nothing is lost."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import importlib
from pathlib import Path
from typing import Any

import pytest
from support import attacks
from support.attacked_camera import add_cameras
from support.attacks import (
    AHEAD_CAMERA,
    ATTACKS,
    CAMERA,
    CAMERAS,
    forgeries,
    handshake,
    INSIDE,
    raw,
    Target,
    web_token,
)
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.certificates import make_web_token_key
from support.helpers import async_wait_until, SpinningNode
from support.security_support import bearer, TOKEN, TOKENS

PERIOD = 0.02
EXPECTED = {
    'web tokens': {'401', '429'}, 'origin': {'403'}, 'rebinding': {'403'},
    'slowloris': {'cut', 'held'}, 'half-open': {'opened'}, 'braces': {'survived', 'closed'},
    'bomb': {'1009'}, 'half frames': {'left', 'cut'},
    'connects': {'connected', 'cut'}, 'never reads': {'stuck', 'taken'},
    'flood': {'forbidden', 'rate_limited'}, 'traversal': {'404', '400', 'cut', '200'},
    'header injection': {'200', '400', '414', '431', 'cut'}}
"""What may become of the attempts; nothing else may."""
MAY_SAY = {name: {'answers', 'limit_exceeded'} for name in INSIDE} | {
    'leases': {'answers', 'unknown_name', 'not_holder'},
    'viewers': {'answers', 'unknown_name', 'forbidden', 'limit_exceeded'},
    'crowd of viewers': {
        'answers', 'unknown_name', 'forbidden', 'limit_exceeded', 'bad_field', 'bad_frame',
        'already_exists', 'unknown_operation', 'bad_cdr', 'bad_encoding', 'type_mismatch'}}
"""The same of peers that are inside, by the codes that they are told."""


SEE = {
    'enlarged': {'pictures', '200', 'waits'}, 'sizes': {'pictures', '200', 'waits', '503'},
    'comes and goes': {'answers', 'frames', 'rate_limited', 'limit_exceeded', 'closed'},
    'slow readers': {'held', 'cut'}, 'clock ahead': {'answers', 'now'}}
"""The same of those who look at cameras."""


class Operator:
    """Commands, and counts the acknowledgments."""

    def __init__(self, peer: NativePeer) -> None:
        self.peer = peer
        self.sent: list[str] = []

    async def command(self) -> None:
        """Publish at 50 Hz until cancelled."""
        while True:
            self.sent.append(await self.peer.send(
                'command', {'data': 0.1}, destination='/attacked', ack=True))
            await asyncio.sleep(PERIOD)

    def answered(self) -> bool:
        """Whether every command was acknowledged."""
        done = {frame['metadata']['correlation_id'] for frame in self.peer.frames
                if frame['metadata']['message_type'] == 'acknowledgment'}
        return done.issuperset(self.sent)


@asynccontextmanager
async def commanding(peer: NativePeer) -> AsyncIterator[Operator]:
    """Have a peer command meanwhile."""
    await peer.ask('advertise', topic='/attacked', type='std_msgs/msg/Float64')
    operator = Operator(peer)
    task = asyncio.create_task(operator.command())
    try:
        yield operator
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize('leak', [b'\r\nroot:x:0:0:root', b'Set-Cookie: b\r\n\r\n'])
async def test_what_leaks_is_seen(leak: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'\r\n\r\n')
        writer.write(b'HTTP/1.1 200 OK\r\n' + leak)
        writer.close()
    async with await asyncio.start_server(answer, '127.0.0.1', 0) as server:
        target = Target(server.sockets[0].getsockname()[1], '')
        assert await raw(target, b'GET / HTTP/1.1\r\n\r\n') == 'leaked'


@pytest.mark.parametrize('name', ATTACKS)
async def test_attack(name: str, token_file: str, no_delay: None, tmp_path: Path,
                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, 'CONNECTS', 2000)
    attack, _ = ATTACKS[name]
    key = make_web_token_key(tmp_path / 'key.pem')
    async with running_bridge(
            token_file=token_file, compression=True, match_timeout=0.0, handshake_timeout=1.0,
            ping_timeout=1.0, max_queue_bytes=10_000_000,
            jwt_key_file=str(tmp_path / 'key.pem')) as service, native_peer(
            service, additional_headers=bearer(TOKEN)) as peer, commanding(peer) as operator:
        outcomes = await attack(Target(service.server.port, TOKENS['olga'][1], key))
        assert set(outcomes) <= EXPECTED[name], outcomes
        assert sum(outcomes.values()) > 0
        before = len(operator.sent)
        await async_wait_until(lambda: len(operator.sent) > before + 5 and operator.answered())
        assert peer.closed is None
        assert not peer.errors()
        await async_wait_until(lambda: service.bridge.peer_count == 1)
        # It can be reached as before, but for who tried too often to log in.
        if name != 'web tokens':
            async with native_peer(service, additional_headers=bearer(TOKEN)) as other:
                await other.ask('hello')


async def test_peers_that_are_inside(
        token_file: str, no_delay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, 'SAYS_FOR', 0.02)
    monkeypatch.setattr(attacks, 'CROWD', 10)
    async with running_bridge(
            token_file=token_file, match_timeout=0.0, max_subscriptions=50, max_calls=5,
            ) as service, native_peer(
            service, additional_headers=bearer(TOKEN)) as peer, commanding(peer) as operator:
        for name, (attack, _) in INSIDE.items():
            outcomes = await attack(Target(service.server.port, TOKEN))
            assert outcomes.pop('closed') == 0
            assert set(outcomes) <= MAY_SAY[name], (name, outcomes)
            before = len(operator.sent)
            await async_wait_until(lambda before=before: len(operator.sent) > before + 5
                                   and operator.answered())
        assert not peer.errors()
        await async_wait_until(lambda: service.bridge.peer_count == 1)


async def test_attacks_on_cameras(token_file: str, no_delay: None) -> None:
    """Somebody else who watches gets pictures meanwhile and afterwards."""
    pytest.importorskip('av')
    with SpinningNode('robot') as robot:
        robot.call(lambda: add_cameras(robot.node))
        async with running_bridge(
                token_file=token_file, match_timeout=0.0, handshake_timeout=20.0) as service, \
                native_peer(service, additional_headers=bearer(TOKEN)) as peer, \
                commanding(peer) as operator:
            await async_wait_until(lambda: {CAMERA, AHEAD_CAMERA} <= set(service.ros.graph.topics))
            await peer.ask('subscribe', topic=CAMERA, encoding='video')
            await async_wait_until(lambda: peer.binary)
            for name, (attack, _) in CAMERAS.items():
                seen = len(peer.binary)
                outcomes = +await attack(Target(service.server.port, TOKENS['olga'][1]))
                assert outcomes and set(outcomes) <= SEE[name], (name, outcomes)
                assert len(peer.binary) > seen, f'no picture during {name}'
                seen, before = len(peer.binary), len(operator.sent)
                await async_wait_until(
                    lambda seen=seen, before=before: len(peer.binary) > seen + 3
                    and len(operator.sent) > before + 5 and operator.answered())
            assert not peer.errors()
            await async_wait_until(lambda: service.bridge.peer_count == 1)


async def test_web_tokens_one_by_one(no_delay: None, tmp_path: Path) -> None:
    key = make_web_token_key(tmp_path / 'key.pem')
    async with running_bridge(jwt_key_file=str(tmp_path / 'key.pem')) as service:
        tokens = {**forgeries(key), 'right': web_token(key)}
        answers = {what: await handshake(
            Target(service.server.port, '', source=f'127.0.0.{number}'),
            additional_headers=bearer(token)) for number, (what, token) in
            enumerate(tokens.items(), 2)}
        assert answers == {**dict.fromkeys(tokens, '401'), 'right': 'in'}


@pytest.fixture
def measure_attacks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the script."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / 'bench'))
    return importlib.import_module('measure_attacks')


@pytest.mark.parametrize(('trips', 'highest', 'cells', 'held'), [
    ([0.001, 0.002], 200, '2 | 2.00 | 2.00 | 2.00 | 100 to 200', True),
    ([0.001, 0.021], 200, '2 | 21.00 | **21.00** | 21.00 | 100 to 200', False),
    ([0.001, 0.002], 257, '2 | 2.00 | 2.00 | 2.00 | 100 to **257**', False),
    ([], 200, '0 | nan | **nan** | nan | 100 to 200', False)])
def test_bounds_of_the_measurement(measure_attacks: Any, trips: list[float], highest: int,
                                   cells: str, held: bool) -> None:
    line, good = measure_attacks.row('name', 'what', [
        measure_attacks.Round(trips, 100 << 20, highest << 20, 30, 4000, 5, '3 401')])
    assert line == f'| name | what | 3 401 | {cells} | 30 | 4 | 5 |'
    assert good is held


def test_the_row_is_of_the_median_round(measure_attacks: Any) -> None:
    rounds = [measure_attacks.Round(trips, 100 << 20, 200 << 20, 30, 0, 0, '')
              for trips in ([], [0.003], [0.001])]
    assert measure_attacks.row('name', 'what', rounds)[0].count(' 3.00 ') == 3
