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
"""Signed commands of a real client, a real bridge, and a thief who has the relay between them."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
import itertools
import json
from pathlib import Path
import time
from typing import Any, TypeGuard

from geometry_msgs.msg import Twist
import pytest
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.fleet import running_relay
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer
from support.security_support import bearer
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve, ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ws_bridge.cli.client import connected, KEY_VARIABLE
from ws_bridge.errors import WsBridgeError
from ws_bridge.identity.signatures import line_of, make_private_key, PrivateKey
from ws_bridge.main import Service
from ws_bridge.protocol.signed import sign_frame

TTL = 1.0
HELD_BACK = TTL + 0.05
TOKEN = 'alice-drives-robots'
NATIVE = [Subprotocol('ws_bridge.v1')]
MAPPING = """
version: 1
out: ['*']
in:
  - {topic: /cmd_vel, type: geometry_msgs/msg/Twist}
services: ['*']
roles:
  remote: {like: safety, signed: true}
"""
LARGE = json.dumps({'metadata': {'message_type': 'data', 'destination': '/cmd_vel'},
                    'data': {'x': 'x' * 100_000}})
FAST = {'linear': {'x': 0.5}}
Frame = str | bytes


class Thief:
    """
    Has a relay: passes on what it likes, as it likes, and sees everything.

    :ivar up: what becomes of a frame of the operator's: the frames that the robot gets.
    :ivar sent: all that the operator has sent; ``robots``: the connections with the robot.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.url = ''
        self.up: Callable[[Frame], Awaitable[list[Frame]]] = self.honest
        self.down: Callable[[Frame], Frame] = lambda frame: frame
        self.sent: list[Frame] = []
        self.robots: list[ClientConnection] = []

    async def honest(self, frame: Frame) -> list[Frame]:
        return [frame]

    def connect(self) -> connect:
        """Connect with the robot as alice: a relay says who an operator is."""
        return connect(self._url, subprotocols=NATIVE, additional_headers=bearer(TOKEN))

    async def carry(self, operator: ServerConnection) -> None:
        async with self.connect() as robot:
            self.robots.append(robot)

            async def back() -> None:
                async for frame in robot:
                    await operator.send(self.down(frame))
            backward = asyncio.create_task(back())
            try:
                async for frame in operator:
                    self.sent.append(frame)
                    for each in await self.up(frame):
                        await robot.send(each)
            except ConnectionClosed:
                pass
            finally:
                backward.cancel()
                await asyncio.wait([backward])


@asynccontextmanager
async def stolen_relay(service: Service) -> AsyncIterator[Thief]:
    thief = Thief(service.url)
    async with serve(thief.carry, '127.0.0.1', 0, subprotocols=NATIVE) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        thief.url = f'ws://127.0.0.1:{port}/robots/testbot'
        yield thief


class Signing:
    """A connection whose text frames are signed, all of them."""

    def __init__(self, websocket: ClientConnection, peer: NativePeer, key: PrivateKey) -> None:
        self._websocket, self._peer, self._key = websocket, peer, key
        self.number = 0
        self.sent: list[bytes] = []
        self.recv, self.close = websocket.recv, websocket.close

    async def send(self, frame: str) -> None:
        self.number += 1
        self.sent.append(sign_frame('testbot', newest_challenge(self._peer), self.number, frame,
                                    self._key.sign))
        await self._websocket.send(self.sent[-1])


def newest_challenge(peer: NativePeer) -> str:
    """Return what a peer has to sign."""
    return str([told['data']['challenge'] for told in peer.frames
                if isinstance(told['data'], dict) and 'challenge' in told['data']][-1])


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return make_private_key(str(tmp_path / 'command.key'))


@asynccontextmanager
async def bridge(tmp_path: Path, key: PrivateKey,
                 **parameters: Any) -> AsyncIterator[tuple[Service, list[float]]]:
    """Give a bridge to which alice has to sign, and what the robot hears."""
    for name, text in (('mapping.yaml', MAPPING), ('tokens', f'alice remote {TOKEN}\n'),
                       ('keys', f'{line_of("alice", key.public)}\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    heard: list[float] = []
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: heard.append(m.linear.x), 10)
        async with running_bridge(
                mapping_file=str(tmp_path / 'mapping.yaml'), token_file=str(tmp_path / 'tokens'),
                command_key_file=str(tmp_path / 'keys'), gate_ttl=TTL,
                **parameters) as service:
            await async_wait_until(lambda: '/cmd_vel' in service.ros.graph.topics)
            await async_wait_until(lambda: service.bridge.gates)
            yield service, heard


def code_of(frame: dict[str, Any]) -> str:
    """Return how a request was answered."""
    return str(frame['data']['code']) if frame['metadata']['message_type'] == 'error' else 'ok'


def is_request(frame: Frame) -> TypeGuard[bytes]:
    """Whether a frame is signed, and no heartbeat."""
    return isinstance(frame, bytes) and b'"heartbeat"' not in frame


async def test_who_has_the_relay_cannot_drive(tmp_path: Path, key: PrivateKey,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / 'command.key'))
    errors: list[WsBridgeError] = []
    async with bridge(tmp_path, key) as (service, heard), stolen_relay(service) as thief:
        async with connected(thief.url, errors.append) as alice, \
                alice.holding('/cmd_vel', take=False) as lease:
            await alice.publish('/cmd_vel', {}, lease)
            await alice.publish('/cmd_vel', FAST, lease)
            await async_wait_until(lambda: heard[-1:] == [0.5], why=lambda: heard)
            seen = [frame for frame in thief.sent if is_request(frame)]
            assert len(seen) == 3       # acquire, and two commands

            async def say(*frames: Frame) -> None:
                """Have frames put before the next one of alice's, which is a heartbeat."""
                waiting = list(frames)

                async def up(frame: Frame) -> list[Frame]:
                    out = [*waiting, frame]
                    waiting.clear()
                    return out
                thief.up = up
                await async_wait_until(lambda: not waiting)

            # Repeated in alice's own connection, altered, and made up:
            altered = seen[-1].replace(b'0.5', b'9.5')
            assert altered != seen[-1]
            made_up = json.dumps({'metadata': {
                'message_type': 'command', 'destination': '/cmd_vel', 'kind': 'topic',
                'epoch': lease.epoch, 'sequence': 99}, 'data': {'linear': {'x': 9.0}}})
            await say(*seen, altered, made_up)
            await async_wait_until(lambda: len(errors) == 5, why=lambda: errors)
            assert [error.code for error in errors] == [
                *['out_of_order'] * 3, 'out_of_order', 'signature_needed']

            # Held back, while it tells both ends whatever times it likes:
            def lie(frame: Frame) -> Frame:
                if isinstance(frame, bytes):
                    return frame
                value = json.loads(frame)
                value['metadata']['timestamp'] += HELD_BACK
                if 'timestamp' in value['data']:
                    value['data']['timestamp'] += HELD_BACK
                return json.dumps(value)

            async def hold_back(frame: Frame) -> list[Frame]:
                if is_request(frame):
                    await asyncio.sleep(HELD_BACK)
                return [frame]
            thief.down = lie
            await async_wait_until(lambda: (alice._bridge_time or 0.0) > time.time() + TTL / 2)
            thief.up = hold_back
            with pytest.raises(WsBridgeError) as late:
                await alice.publish('/cmd_vel', {'linear': {'x': 7.0}}, lease)
            assert late.value.code == 'expired'
            thief.down, thief.up = lambda frame: frame, thief.honest
        assert set(heard) <= {0.0, 0.5}

        # As alice, in a connection of its own: it can look, and stop.
        async with native_peer(service, additional_headers=bearer(TOKEN)) as stranger:
            hello = await stranger.ask('hello')
            assert (hello['role'], len(hello['challenge'])) == ('remote', 32)
            for frame in seen:
                await stranger.websocket.send(frame)
            await async_wait_until(lambda: len(stranger.errors()) == 3)
            assert {error['code'] for error in stranger.errors()} == {'bad_signature'}
            await stranger.ask('subscribe', topic='/cmd_vel')
            assert (await stranger.ask('stop'))['stopped']
        async with rosbridge_peer(service, additional_headers=bearer(TOKEN)) as page:
            await page.send('publish', topic='/cmd_vel', msg=FAST)
            answer = await page.call('/ws_bridge/clear_stop')
            assert (answer['result'], 'has to sign' in str(answer)) == (False, True), answer
        assert set(heard) <= {0.0, 0.5}


async def test_forged_heartbeats_keep_nothing_going(
        tmp_path: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do old ones: without those of alice her lease ends, and with it what she had begun."""
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / 'command.key'))
    errors: list[WsBridgeError] = []
    async with bridge(tmp_path, key, gate_timeout=60.0, heartbeat_interval=0.1,
                      heartbeat_timeout=0.5) as (service, heard), \
            stolen_relay(service) as thief, connected(thief.url, errors.append) as alice, \
            alice.holding('/cmd_vel', take=False) as lease:
        await alice.publish('/cmd_vel', {}, lease)
        await alice.publish('/cmd_vel', FAST, lease)
        await async_wait_until(lambda: heard[-1:] == [0.5], why=lambda: heard)
        told, beats = [0.0, 0], itertools.count(1000)

        def note(frame: Frame) -> Frame:
            value = json.loads(frame)
            if value['metadata']['message_type'] == 'heartbeat':
                told[:] = value['data']['timestamp'], value['data']['sequence']
            return frame
        thief.down = note

        async def drop(frame: Frame) -> list[Frame]:
            return []
        thief.up = drop
        (robot,), old = thief.robots, thief.sent[-1]

        async def forge() -> None:
            while True:
                now = time.time()
                await robot.send(json.dumps({
                    'metadata': {'message_type': 'heartbeat', 'message_id': 'f'},
                    'data': {'type': 'heartbeat', 'timestamp': now, 'sequence': next(beats),
                             'echo': {'timestamp': told[0], 'sequence': told[1],
                                      'received': now}}}))
                await robot.send(old)
                await asyncio.sleep(0.05)
        forging = asyncio.create_task(forge())
        await async_wait_until(lambda: heard[-1] == 0.0, why=lambda: heard)
        async with native_peer(service, additional_headers=bearer(TOKEN)) as stranger:
            (gate,) = (await stranger.ask('gates'))['gates']
            assert gate['holder'] is None
        assert not forging.done()
        forging.cancel()
        thief.up = thief.honest


async def test_the_matrix_of_signatures(tmp_path: Path, key: PrivateKey) -> None:
    """By a relay: each operation not signed, signed by somebody else, and by alice."""
    other = make_private_key(str(tmp_path / 'other.key'))
    operations: list[tuple[str, dict[str, Any]]] = [
        ('stop', {}), ('hello', {}), ('clear_stop', {}), ('acquire', {'gate': '/cmd_vel'}),
        ('release', {'gate': '/cmd_vel'}), ('take', {'gate': '/cmd_vel'}),
        ('advertise', {'topic': '/cmd_vel', 'type': 'geometry_msgs/msg/Twist'})]
    codes: dict[str, list[str]] = {}
    tokens = tmp_path / 'tokens_of_the_relay'
    # Its role safety has not to sign; relay_role has.
    tokens.write_text(f'testbot robot the-token-of-testbot\nalice safety {TOKEN}\n')
    (tmp_path / 'token').write_text('the-token-of-testbot')
    async with running_relay(token_file=str(tokens)) as relay, bridge(
            tmp_path, key, fleet=[relay.url], fleet_token_file=str(tmp_path / 'token'),
            relay_role='remote'):
        await async_wait_until(lambda: 'testbot' in relay.relay.robots)
        for signer in (None, other, key):
            async with native_peer(f'{relay.url}/robots/testbot',
                                   additional_headers=bearer(TOKEN)) as peer:
                await async_wait_until(lambda: '/cmd_vel' in peer.gates)
                websocket = peer.websocket
                if signer is not None:
                    peer.websocket = Signing(websocket, peer, signer)  # type: ignore[assignment]
                if signer is key:       # after a frame that is read elsewhere, and takes long
                    await websocket.send(LARGE)
                    assert code_of(await peer.answer(await peer.send(
                        'configuration', {'op': 'clear_stop'}))) != 'out_of_order'
                sequence = {'epoch': 1, 'sequence': 1}
                for op, fields in operations:
                    frame = await peer.answer(await peer.send(
                        'configuration', {'op': op, **fields}))
                    codes.setdefault(op, []).append(code_of(frame))
                    sequence['epoch'] = frame['data'].get('epoch', sequence['epoch'])
                codes.setdefault('publish', []).append(
                    code_of(await peer.publish('/cmd_vel', {}, **sequence)))
                codes.setdefault('call', []).append(
                    code_of(await peer.call('/ws_bridge/clear_stop', {})))
    unsigned, wrong = 'signature_needed', 'bad_signature'
    assert codes == {
        'stop': ['ok'] * 3, 'hello': ['ok', wrong, 'ok'], 'release': ['not_holder', wrong, 'ok'],
        **{op: [unsigned, wrong, 'ok'] for op in (
            'clear_stop', 'acquire', 'take', 'advertise', 'publish', 'call')}}


async def test_signed_and_resumed(tmp_path: Path, key: PrivateKey) -> None:
    """A peer that comes back signs anew: what it signed before is worth nothing."""
    async with bridge(tmp_path, key, resume_time=30.0, heartbeat_interval=0.2, gate_timeout=30.0,
                      allow_anonymous=True, anonymous_role='remote') as (service, heard):
        async with native_peer(service, additional_headers=bearer(TOKEN)) as alice:
            hello = await alice.ask('hello', resume=True)
            secret = {'session': hello['session'], 'secret': hello['resume']['secret']}
            websocket, before = alice.websocket, Signing(alice.websocket, alice, key)
            alice.websocket = before  # type: ignore[assignment]
            await alice.acquire('/cmd_vel')
            for command in ({}, FAST):
                assert (await alice.command('/cmd_vel', command))['op'] == 'publish'
            await async_wait_until(lambda: heard[-1:] == [0.5])
            epoch, old = alice.epoch, newest_challenge(alice)
            websocket.transport.abort()
            await async_wait_until(lambda: alice.closed)
        await async_wait_until(lambda: heard[-1] == 0.0)
        async with native_peer(service, additional_headers=bearer(TOKEN)) as alice:
            alice._ids = itertools.count(1000)
            websocket, signing = alice.websocket, Signing(alice.websocket, alice, key)
            assert (await alice.refused('resume', **secret))['code'] == 'signature_needed'
            come_back = json.dumps({'metadata': {'message_type': 'configuration'},
                                    'data': {'op': 'resume', **secret}})
            for frame in (*before.sent, sign_frame('testbot', old, 99, come_back, key.sign)):
                await websocket.send(frame)
            await async_wait_until(lambda: len(alice.errors()) == len(before.sent) + 2)
            assert {error['code'] for error in alice.errors()[1:]} == {'bad_signature'}
            alice.websocket = signing  # type: ignore[assignment]
            assert (await alice.ask('resume', **secret))['session'] == secret['session']
            alice.websocket, alice.epoch = websocket, epoch
            assert (await alice.command('/cmd_vel', FAST))['code'] == 'signature_needed'
            assert (await alice.refused('acquire', gate='/cmd_vel'))['code'] == 'signature_needed'
            for frame in before.sent:
                await websocket.send(frame)
            await async_wait_until(lambda: [error['code'] for error in alice.errors()].count(
                'bad_signature') == 2 * len(before.sent) + 1)
            alice.websocket = signing  # type: ignore[assignment]
            assert (await alice.command('/cmd_vel', FAST))['code'] == 'not_holder'
            await alice.acquire('/cmd_vel')
            assert (await alice.command('/cmd_vel', FAST))['code'] == 'not_neutral'
            assert (await alice.command('/cmd_vel', {}))['op'] == 'publish'
            assert heard.count(0.5) == 1

            # A clearing of the emergency stop that is held back until there is another stop:
            clear = sign_frame('testbot', newest_challenge(alice), signing.number + 1, json.dumps(
                {'metadata': {'message_id': 'c', 'message_type': 'configuration'},
                 'data': {'op': 'clear_stop'}}), key.sign)
            async with native_peer(service) as stranger:
                assert (await stranger.ask('stop'))['stopped']
                await websocket.send(clear)
                assert (await alice.answer('c'))['data']['code'] == 'expired'
                signing.number += 1
                await alice.ask('hello')
                assert not (await alice.ask('clear_stop'))['stopped']

                # Who has to sign before the login, and as somebody else after it:
                await stranger.ask('auth', token=TOKEN)
                await stranger.ask('hello')
                stranger.websocket = Signing(  # type: ignore[assignment]
                    stranger.websocket, stranger, key)
                await stranger.ask('advertise', topic='/cmd_vel', type='geometry_msgs/msg/Twist')
