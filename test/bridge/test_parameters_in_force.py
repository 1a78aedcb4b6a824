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
"""Each ROS parameter has an effect: one proof for each, and a parameter without one fails."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files
from itertools import groupby
import json
import os
from pathlib import Path
import platform
import socket
import ssl
import time
from typing import Any

from geometry_msgs.msg import Twist
import jwt
import pytest
from rcl_interfaces.msg import Parameter, ParameterEvent, ParameterValue
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Int32, Int64MultiArray, String
from std_srvs.srv import Trigger
from support.bridge_harness import BINARY_HEADER, native_peer, running_bridge
from support.fleet import running_relay
from support.foxglove_peer import foxglove_peer
from support.helpers import async_wait_until, other_domain, SpinningNode, wait_until
from support.recordings import read
from support.security_support import answer_of, bearer, TOKEN, write_tokens
from support.transport_support import http
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from ws_bridge.bridge.recorder import options_of
from ws_bridge.config import PARAMETERS, settings_from
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import ConfigError, ConnectFailed
from ws_bridge.identity.identity import Identity
from ws_bridge.identity.signatures import line_of, make_private_key
from ws_bridge.main import Service
from ws_bridge.ros.types import schema_of

Proof = Callable[[Path], Awaitable[None]]
PROOFS: dict[str, Proof] = {}


def proof(*names: str) -> Callable[[Proof], Proof]:
    """Register the proof of some parameters."""
    def register(function: Proof) -> Proof:
        for name in names:
            PROOFS[name] = function
        return function
    return register


@pytest.mark.parametrize('name', [spec.name for spec in PARAMETERS])
async def test_parameter_has_an_effect(name: str, tmp_path: Path) -> None:
    await PROOFS[name](tmp_path)


def test_no_proof_is_left_over() -> None:
    assert set(PROOFS) == {spec.name for spec in PARAMETERS}


async def refused(peer: Any, op: str, **fields: Any) -> str:
    """Return the code of the error that a request must end in."""
    code: str = (await peer.refused(op, **fields))['code']
    return code


@proof('address')
async def address(_: Path) -> None:
    async with running_bridge(address='127.0.0.2') as service:
        assert service.url == f'ws://127.0.0.2:{service.server.port}'
        async with native_peer(service):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', service.server.port))


@proof('port')
async def port(_: Path) -> None:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        number = probe.getsockname()[1]
    async with running_bridge('-p', f'port:={number}', override_port=False) as service:
        assert service.server.port == number


@proof('foxglove_port')
async def foxglove_port(_: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as probe:
        number = probe.getsockname()[1]
        with pytest.raises(ConnectFailed, match=f'127.0.0.1:{number}'):     # it is taken
            async with running_bridge(foxglove_port=number):
                pass
    async with running_bridge(foxglove_port=number, max_peers=1, origins=['https://a.b']
                              ) as service:
        assert service.listening == f'{service.url} and port {number}'
        second = f'ws://127.0.0.1:{number}'
        for options, status in (({'origin': 'https://evil.example'}, 403), ({}, None), ({}, 503)):
            if status is None:      # the same server, and so the same limits
                peer = await connect(second, subprotocols=[Subprotocol('foxglove.sdk.v1')])
                assert json.loads(await peer.recv())['op'] == 'serverInfo'
                continue
            for url in (second, service.url):
                with pytest.raises(InvalidStatus) as error:
                    await connect(url, **options)
                assert error.value.response.status_code == status
        await peer.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', number))


@proof('asset_uri_allowlist')
async def asset_uri_allowlist(_: Path) -> None:
    own = 'package://ws_bridge/web/{}'.format
    async with running_bridge(asset_uri_allowlist=[own('.*[.]svg')]) as service, \
            foxglove_peer(service) as peer:
        for request in range(40):       # every mesh of a robot at once
            await peer.ask('fetchAsset', uri=own('icon.svg'), requestId=request)
        await peer.ask('fetchAsset', uri=own('index.html'), requestId=99)
        await async_wait_until(lambda: len(peer.assets) == 41)
        icon = (files('ws_bridge') / 'web' / 'icon.svg').read_bytes()
        assert [peer.assets[request] for request in range(40)] == [(0, icon)] * 40
        assert peer.assets[99][0] == 1 and b'forbidden' in peer.assets[99][1]
        assert 'assets' in peer.told[0]['capabilities'] and not peer.statuses
    async with running_bridge(asset_uri_allowlist=['']) as service, foxglove_peer(service) as peer:
        await async_wait_until(lambda: peer.told)
        assert 'assets' not in peer.told[0]['capabilities']


@proof('robot_name')
async def robot_name(_: Path) -> None:
    async with running_bridge() as service, native_peer(service) as peer:
        hello = await peer.ask('hello')
        assert hello['robot'] == 'testbot'


@proof('mapping_file')
async def mapping_file(folder: Path) -> None:
    path = folder / 'mapping.yaml'
    path.write_text('version: 1\nout: [/only]\n')
    async with running_bridge(mapping_file=str(path)) as service, native_peer(service) as peer:
        assert await refused(peer, 'subscribe', topic='/other') == 'forbidden'


@proof('connect', 'retry_delay')
async def dial(_: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.setblocking(False)
        url = f'127.0.0.1:{server.getsockname()[1]}'
        loop = asyncio.get_running_loop()
        async with running_bridge(connect=[url], retry_delay=0.01):
            for _ in range(3):
                client, _ = await asyncio.wait_for(loop.sock_accept(server), 5)
                client.close()


@proof('push', 'pull')
async def push_and_pull(_: Path) -> None:
    asked: list[str] = []

    async def serve(websocket: Any) -> None:
        await websocket.send(HELLO)
        async for frame in websocket:
            asked.append(frame)
    from websockets.asyncio.server import serve as listen
    with SpinningNode('robot') as robot:
        robot.node.create_publisher(Int32, '/pushed', 10)
        async with listen(serve, '127.0.0.1', 0, subprotocols=['ws_bridge.v1']) as server:
            port = server.sockets[0].getsockname()[1]
            async with running_bridge(connect=[f'127.0.0.1:{port}'], push=['/pushed'],
                                      pull=['/pulled']):
                await async_wait_until(lambda: any('/pushed' in f and 'advertise' in f
                                                   for f in asked))
                await async_wait_until(lambda: any('/pulled' in f and 'subscribe' in f
                                                   for f in asked))

HELLO = ('{"metadata": {"message_id": "1", "message_type": "configuration"}, '
         '"data": {"op": "hello", "dialect": "ws_bridge.v1", "robot": "base"}}')


@proof('origins')
async def origins(_: Path) -> None:
    async with running_bridge(origins=['https://robot.example']) as service:
        async with native_peer(service, origin='https://robot.example'):
            pass
        with pytest.raises(InvalidStatus) as error:
            await connect(service.url, origin='https://evil.example')
        assert error.value.response.status_code == 403


@proof('pages')
async def pages(folder: Path) -> None:
    (folder / 'index.html').write_text('my own')
    async with running_bridge(pages=str(folder)) as service:
        assert (await http(service.server.port, 'GET /pages/ HTTP/1.1\nHost: localhost\n\n'))[
            2] == b'my own'


@proof('max_streams', 'max_cameras')
async def pictures(_: Path) -> None:
    async def status(service: Service, topic: str) -> int:
        return (await http(service.server.port, f'GET /snapshot?topic={topic} HTTP/1.1\n'
                                                'Host: localhost\n\n'))[0]
    with SpinningNode('robot') as robot:
        for topic in ('/one', '/two'):
            robot.node.create_publisher(Image, topic, 1)
        async with running_bridge(max_streams=0) as service:
            assert await status(service, '/one') == 404
        async with running_bridge(max_cameras=1, max_streams=2) as service:
            await async_wait_until(lambda: {'/one', '/two'} <= set(service.ros.graph.topics))
            port = service.server.port
            writers = []
            for _ in range(2):
                reader, writer = await asyncio.open_connection('127.0.0.1', port)
                writer.write(b'GET /stream?topic=/one HTTP/1.1\r\nHost: localhost\r\n\r\n')
                await reader.readuntil(b'\r\n\r\n')
                assert await status(service, '/two') == 503     # of the one limit, or the other
                writers.append(writer)
            for writer in writers:
                writer.transport.abort()


@proof('tls_certificate', 'tls_key')
async def tls(folder: Path) -> None:
    from support.certificates import make_authority, make_certificate
    authority = make_authority(folder, 'authority')
    pair = make_certificate(folder, 'server', authority)
    with socket.create_server(('127.0.0.1', 0)) as probe:
        second = probe.getsockname()[1]
    async with running_bridge(tls_certificate=pair.cert, tls_key=pair.key,
                              foxglove_port=second) as service:
        assert service.url.startswith('wss://')
        context = ssl.create_default_context(cafile=authority.cert)
        for url in (service.url, f'wss://127.0.0.1:{second}'):
            async with native_peer(url, ssl=context) as peer:
                await peer.ask('hello')


@proof('tls_client_ca')
async def tls_client_ca(folder: Path) -> None:
    from support.certificates import make_authority, make_certificate
    authority = make_authority(folder, 'authority')
    pair = make_certificate(folder, 'server', authority)
    own = make_certificate(folder, 'tablet', authority)
    context = ssl.create_default_context(cafile=authority.cert)
    async with running_bridge(tls_certificate=pair.cert, tls_key=pair.key,
                              tls_client_ca=authority.cert) as service:
        assert not await asyncio.to_thread(answer_of, service.server.port, context)
        context.load_cert_chain(own.cert, own.key)
        async with native_peer(service, ssl=context) as peer:
            hello = await peer.ask('hello')
            assert (hello['login'], hello['role']) == ('done', 'observer')


@proof('token_file', 'allow_anonymous', 'anonymous_role')
async def token_file(folder: Path) -> None:
    path = write_tokens(folder / 'tokens')
    async with running_bridge(token_file=path) as service, native_peer(service) as peer:
        assert await refused(peer, 'list') == 'forbidden'
        assert (await peer.ask('auth', token=TOKEN))['name'] == 'alice'
        await peer.ask('list')
    async with running_bridge(token_file=path, allow_anonymous=True) as service, \
            native_peer(service) as peer:
        assert (await peer.ask('hello'))['role'] == 'observer'
    async with running_bridge(token_file=path, allow_anonymous=True,
                              anonymous_role='safety') as service, native_peer(service) as peer:
        assert (await peer.ask('hello'))['role'] == 'safety'


@proof('jwt_key_file', 'jwt_algorithm', 'jwt_audience', 'jwt_issuer', 'jwt_leeway')
async def web_tokens(folder: Path) -> None:
    secret = 'a-secret-of-at-least-thirty-two-bytes'
    (folder / 'key').write_text(secret)

    def made(**claims: Any) -> dict[str, str]:
        return bearer(jwt.encode({'sub': 'alice', 'exp': time.time() - 5, 'aud': 'robot',
                                  'iss': 'me', **claims}, secret, algorithm='HS256'))
    async with running_bridge(jwt_key_file=str(folder / 'key'), jwt_algorithm='HS256',
                              jwt_audience='robot', jwt_issuer='me', jwt_leeway=30.0) as service:
        async with native_peer(service, additional_headers=made()):
            pass
        for error in await asyncio.gather(*(
                connect(service.url, additional_headers=made(**wrong)) for wrong in (
                    {'aud': 'other'}, {'iss': 'other'}, {'exp': time.time() - 60})),
                return_exceptions=True):
            assert isinstance(error, InvalidStatus)
            assert error.response.status_code == 401


@proof('connect_role', 'connect_token_file')
async def dial_with_a_token(folder: Path) -> None:
    path = folder / 'token'
    path.write_text(TOKEN)
    async with running_bridge(token_file=write_tokens(folder / 'tokens')) as base, \
            running_bridge(connect=[base.url], connect_token_file=str(path), pull=['/p'],
                           connect_role='observer', domain=other_domain()) as robot:
        await async_wait_until(lambda: robot.bridge.peer_count and base.bridge.peer_count)
        peer = next(iter(base.bridge.peers()))
        assert peer.session.login.identity.name == 'alice'
        await async_wait_until(lambda: '/p' in peer.session.subscriptions.names)
        assert next(iter(robot.bridge.peers())).session.login.rights.role.name == 'observer'


@proof('fleet', 'fleet_token_file', 'relay_role')
async def dial_a_relay(folder: Path) -> None:
    tokens, path = folder / 'tokens', folder / 'token'
    tokens.write_text('testbot robot the-token-of-testbot\nalice operator the-token-of-alice\n')
    path.write_text('the-token-of-testbot')
    async with running_relay(token_file=str(tokens)) as relay, running_bridge(
            fleet=[relay.url], fleet_token_file=str(path), relay_role='observer') as robot:
        await async_wait_until(lambda: 'testbot' in relay.relay.robots)
        async with native_peer(f'{relay.url}/robots/testbot',
                               additional_headers=bearer('the-token-of-alice')):
            await async_wait_until(lambda: robot.bridge.peer_count)
            login = next(iter(robot.bridge.peers())).session.login
            assert login.identity.name == 'alice'
            assert login.rights.role.name == 'observer'


@proof('command_key_file')
async def command_keys(folder: Path) -> None:
    mapping, keys = folder / 'mapping.yaml', folder / 'keys'
    mapping.write_text('version: 1\nroles: {remote: {like: operator, signed: true}}\n')
    key = make_private_key(str(folder / 'key'))
    keys.write_text(line_of('alice', key.public))
    async with running_bridge(mapping_file=str(mapping), command_key_file=str(keys)) as service:
        door = service.bridge._logins._door
        alice, bob = (Identity(name, None, 'relay') for name in ('alice', 'bob'))
        assert door.is_signed(alice, key.sign(b'text'), b'text')
        assert not door.is_signed(bob, key.sign(b'text'), b'text')
        assert not door.is_signed(None, key.sign(b'text'), b'text')
    with pytest.raises(ConfigError, match='the role remote has to sign'):
        async with running_bridge(mapping_file=str(mapping)):
            pass
    with pytest.raises(ConfigError, match='has no effect'):
        async with running_bridge(command_key_file=str(keys)):
            pass


@proof('hosts')
async def hosts(_: Path) -> None:
    async with running_bridge(hosts=['robot.example']) as service:
        with pytest.raises(InvalidStatus) as error:
            await connect(service.url)
        assert error.value.response.status_code == 421
        port = service.server.port
        async with native_peer(f'ws://robot.example:{port}', host='127.0.0.1', port=port):
            pass


@proof('trusted_proxies')
async def trusted_proxies(_: Path) -> None:
    for trusted, address in ((['127.0.0.0/8'], '10.0.0.7'), ([], '127.0.0.1')):
        async with running_bridge(trusted_proxies=trusted) as service, native_peer(
                service, additional_headers={'X-Forwarded-For': '1.2.3.4, 10.0.0.7'}) as peer:
            await peer.ask('hello')
            assert [link.address for link in service.server.links] == [address]


@proof('metrics')
async def metrics(_: Path) -> None:
    for wanted in (True, False):
        async with running_bridge(metrics=wanted) as service:
            status, _, body = await http(service.server.port,
                                         'GET /metrics HTTP/1.1\nHost: localhost\n\n')
            assert status == (200 if wanted else 404)
            assert (b'ws_bridge_peers 0.0' in body) is wanted


@proof('handshake_timeout')
async def handshake_timeout(_: Path) -> None:
    async with running_bridge(handshake_timeout=0.2) as service:
        reader, writer = await asyncio.open_connection('127.0.0.1', service.server.port)
        writer.write(b'GET / HTTP/1.1\r\n')
        assert await asyncio.wait_for(reader.read(), 5) == b''
        writer.close()


@proof('login_timeout')
async def login_timeout(folder: Path) -> None:
    async with running_bridge(token_file=write_tokens(folder / 'tokens'),
                              login_timeout=0.2) as service, \
            native_peer(service) as peer, native_peer(service, subprotocols=None) as silent:
        await async_wait_until(lambda: peer.closed and silent.closed, timeout=5)
        assert peer.closed == silent.closed == (1008, 'no login in time')


@proof('ticket_lifetime')
async def ticket_lifetime(folder: Path) -> None:
    for lifetime in (0.0, 60.0):
        async with running_bridge(token_file=write_tokens(folder / 'tokens'),
                                  ticket_lifetime=lifetime) as service, \
                native_peer(service, additional_headers=bearer(TOKEN)) as peer:
            if lifetime:
                assert (await peer.ask('ticket', role='observer'))['lifetime'] == lifetime
            else:
                assert await refused(peer, 'ticket', role='observer') == 'forbidden'


@proof('resume_time', 'max_kept_bytes')
async def sessions_that_wait(_: Path) -> None:
    async with running_bridge() as service, native_peer(service) as peer:
        assert 'resume' not in await peer.ask('hello', resume=True)
    async with running_bridge(resume_time=600.0, max_kept_bytes=1024) as service:
        async with native_peer(service) as peer:
            hello = await peer.ask('hello', resume=True)
            large = await peer.send('configuration', {'op': 'list'})
            small = await peer.send('configuration', {'op': 'status', 'subscribe': True})
            await peer.answer(large)
            await peer.answer(small)
            peer.websocket.transport.abort()
        async with native_peer(service) as peer:
            back = await peer.ask('resume', session=hello['session'], waiting=[large, small],
                                  secret=hello['resume']['secret'])
            assert (back['resume']['time'], back['unknown']) == (600.0, [large])
            await peer.answer(small)


@proof('max_login_failures')
async def max_login_failures(folder: Path) -> None:
    async with running_bridge(token_file=write_tokens(folder / 'tokens'),
                              max_login_failures=1) as service:
        for status in (401, 429):
            with pytest.raises(InvalidStatus) as error:
                await connect(service.url, additional_headers=bearer('x'))
            assert error.value.response.status_code == status


@proof('compression')
async def compression(_: Path) -> None:
    for wanted in (False, True):
        async with running_bridge(compression=wanted) as service, native_peer(service) as peer:
            assert bool(peer.websocket.protocol.extensions) is wanted


@proof('max_peers')
async def max_peers(_: Path) -> None:
    async with running_bridge(max_peers=1) as service, native_peer(service):
        with pytest.raises(InvalidStatus) as error:
            await connect(service.url)
        assert error.value.response.status_code == 503


@proof('max_peers_per_address')
async def max_peers_per_address(_: Path) -> None:
    async with running_bridge(max_peers_per_address=1) as service, native_peer(service):
        with pytest.raises(InvalidStatus) as error:
            await connect(service.url)
        assert error.value.response.status_code == 429
        async with native_peer(service, local_addr=('127.0.0.9', 0)):
            pass


@proof('max_handshakes')
async def max_handshakes(_: Path) -> None:
    for most, is_cut in ((2, True), (4, False)):
        async with running_bridge(max_handshakes=most) as service:
            port = service.server.port
            _, silent = await asyncio.open_connection('127.0.0.1', port)
            if is_cut:
                reader, writer = await asyncio.open_connection('127.0.0.1', port)
                assert await asyncio.wait_for(reader.read(), 2) == b''
                writer.close()
            else:
                async with native_peer(service):
                    pass
            silent.close()


@proof('max_observer_message_size')
async def max_observer_message_size(_: Path) -> None:
    for most, code in ((2000, 1009), (4000, None)):
        async with running_bridge(anonymous_role='observer', max_observer_message_size=most) \
                as service, native_peer(service) as peer:
            await peer.send('status', {'text': 'x' * 3000})
            if code is None:
                await peer.ask('hello')
                assert peer.closed is None
            else:
                await async_wait_until(lambda: peer.closed)
                assert peer.closed == (code, peer.closed[1])


@proof('max_elements')
async def max_elements(_: Path) -> None:
    for most, code in ((20_000, 'too_large'), (40_000, None)):
        async with running_bridge(max_elements=most) as service, native_peer(service) as peer:
            await peer.ask('advertise', topic='/n', type='std_msgs/msg/Int64MultiArray')
            answer = await peer.publish('/n', {'data': [1] * 30_000})
            assert answer['data'].get('code') == code


@proof('max_reading_time')
async def max_reading_time(_: Path) -> None:
    async with running_bridge(max_reading_time=0.1) as service, native_peer(service) as peer:
        await peer.ask('advertise', topic='/p', type='geometry_msgs/msg/PoseArray')
        answer = await peer.publish('/p', {'poses': [{}] * 300_000})     # takes half a second
        assert answer['data']['code'] == 'limit_exceeded'


@proof('max_json_depth')
async def max_json_depth(_: Path) -> None:
    async with running_bridge(max_json_depth=8) as service, native_peer(service) as peer:
        for levels, code in ((6, None), (7, 'bad_frame')):
            data = {'op': 'hello', 'x': json.loads('[' * levels + ']' * levels)}
            frame = await peer.answer(await peer.send('configuration', data, valid=False))
            assert frame['data'].get('code') == code
        async with connect(service.url) as page:
            await page.send('{"op": "publish", "msg": ' + '[' * 8 + ']' * 8 + '}')
            await page.wait_closed()
            assert page.close_code == 1002


@proof('max_byte_rate')
async def max_byte_rate(_: Path) -> None:
    async with running_bridge(max_byte_rate=3000.0, max_message_size=2048) as service, \
            native_peer(service) as peer:
        for _ in range(3):
            await peer.send('status', {'text': 'x' * 1500})
        await async_wait_until(lambda: 'rate_limited' in {e['code'] for e in peer.errors()})


@proof('max_total_queue_bytes')
async def max_total_queue_bytes(_: Path) -> None:
    async with running_bridge(max_queue_bytes=1_000_000, max_message_size=50_000,
                              max_total_queue_bytes=1_000_000, ping_interval=0.0) as service:
        peers = [await connect(service.url, subprotocols=['ws_bridge.v1']) for _ in range(2)]
        await async_wait_until(lambda: service.bridge.peer_count == 2)
        links = service.server.links
        for peer, link in zip(peers, links, strict=True):
            peer.transport.pause_reading()
            while link.queued_bytes < 600_000 and link.is_open:
                # At first the kernel takes it; never so much at once that this queue is too long.
                answer = link.bytes_out / max(link.messages_in, 1)
                number = 1 if link.queued_bytes else max(1, min(10, int(90_000 / (answer or 1e6))))
                wanted = link.messages_in + number
                for _ in range(number):
                    await peer.send('{"metadata": {"message_type": "configuration", "message_id": '
                                    '"' + 'x' * 200 + '"}, "data": {"op": "list"}}')
                await async_wait_until(lambda link=link, n=wanted: link.messages_in >= n)
        await async_wait_until(lambda: service.bridge.peer_count < 2)
        for peer in peers:
            peer.transport.abort()
        assert service.ledger.counts['dismissed', 'too slow: too much waits for all peers']


@proof('max_goals')
async def max_goals(_: Path) -> None:
    async with running_bridge(max_goals=0) as service, native_peer(service) as peer:
        frame = await peer.answer(await peer.send('command', {}, destination='/go',
                                                  kind='action'))
        assert frame['data']['code'] == 'limit_exceeded'


@proof('max_entities')
async def max_entities(_: Path) -> None:
    async with running_bridge(max_entities=2) as service, native_peer(service) as peer:
        await peer.ask('subscribe', topic='/a')
        await peer.ask('advertise', topic='/b', type='std_msgs/String')
        await peer.ask('subscribe', topic='/a', max_rate=1)
        assert await refused(peer, 'subscribe', topic='/c') == 'limit_exceeded'
        assert await refused(peer, 'advertise', topic='/c',
                             type='std_msgs/String') == 'limit_exceeded'
        assert await refused(peer, 'advertise_service', service='/c',
                             type='std_srvs/srv/Trigger') == 'limit_exceeded'
        assert await refused(peer, 'advertise_action', action='/c',
                             type='test_msgs/action/Fibonacci') == 'limit_exceeded'
        await peer.ask('unsubscribe', topic='/a')
        await peer.ask('advertise_service', service='/c', type='std_srvs/srv/Trigger')


@proof('max_message_size')
async def max_message_size(_: Path) -> None:
    async with running_bridge(max_message_size=2048) as service, native_peer(service) as peer:
        await peer.send('status', {'text': 'x' * 1500})
        await peer.ask('hello')
        await peer.send('status', {'text': 'x' * 3000})
        await async_wait_until(lambda: peer.closed)
        assert peer.closed is not None
        assert peer.closed[0] == 1009


@proof('max_message_rate')
async def max_message_rate(_: Path) -> None:
    async with running_bridge(max_message_rate=5.0) as service, native_peer(service) as peer:
        for _ in range(10):
            await peer.send('configuration', {'op': 'list'})
        await async_wait_until(lambda: 'rate_limited' in {e['code'] for e in peer.errors()})


@proof('max_queue_bytes')
async def max_queue_bytes(_: Path) -> None:
    async with running_bridge(max_queue_bytes=60_000, max_message_size=50_000,
                              ping_interval=0.0) as service:
        await ask_and_never_read(service)


async def ask_and_never_read(service: Service) -> None:
    """Ask until the connection is cut because nothing of the answers is read."""
    peer = await connect(service.url, subprotocols=['ws_bridge.v1'])
    peer.transport.pause_reading()
    try:
        sent = 0
        with pytest.raises(AssertionError):
            while True:
                await asyncio.wait_for(peer.send(
                    '{"metadata": {"message_type": "configuration", "message_id": "'
                    + 'x' * 200 + '"}, "data": {"op": "list"}}'), 5)
                sent += 1
                await asyncio.sleep(0)
                assert service.bridge.peer_count == 1
        assert sent > 10
    finally:
        peer.transport.abort()


@proof('max_subscriptions')
async def max_subscriptions(_: Path) -> None:
    async with running_bridge(max_subscriptions=1) as service, native_peer(service) as peer:
        await peer.ask('subscribe', topic='/a')
        await peer.ask('subscribe', topic='/a', max_rate=1)
        assert await refused(peer, 'subscribe', topic='/b') == 'limit_exceeded'


@proof('max_advertisements')
async def max_advertisements(_: Path) -> None:
    async with running_bridge(max_advertisements=1) as service, native_peer(service) as peer:
        await peer.ask('advertise', topic='/a', type='std_msgs/String')
        assert await refused(peer, 'advertise', topic='/b', type='std_msgs/String') \
            == 'limit_exceeded'


@proof('max_services')
async def max_services(_: Path) -> None:
    async with running_bridge(max_services=1) as service, native_peer(service) as peer:
        await peer.ask('advertise_service', service='/a', type='std_srvs/srv/Trigger')
        assert await refused(peer, 'advertise_service', service='/b',
                             type='std_srvs/srv/Trigger') == 'limit_exceeded'


@proof('max_calls')
async def max_calls(_: Path) -> None:
    async with running_bridge(max_calls=1) as service, native_peer(service) as peer, \
            native_peer(service) as server:
        await server.ask('advertise_service', service='/slow', type='std_srvs/srv/Trigger')
        await peer.send('command', {}, destination='/slow')
        frame = await peer.call('/slow')
        assert frame['data']['code'] == 'limit_exceeded'


@proof('queue_depth')
async def queue_depth(_: Path) -> None:
    text = 60_000       # characters: converted at once, for no worker has to be waited
    async with running_bridge(queue_depth=3) as service:
        with socket.socket() as narrow:     # the system takes little that the peer does not
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            narrow.setblocking(False)
            await asyncio.get_running_loop().sock_connect(
                narrow, ('127.0.0.1', service.server.port))
            websocket = await connect(service.url, sock=narrow, subprotocols=['ws_bridge.v1'],
                                      max_size=None, max_queue=1)
            with SpinningNode('robot') as robot:
                publisher = robot.node.create_publisher(String, '/big', QoSProfile(depth=100))
                await async_wait_until(lambda: '/big' in service.ros.graph.topics)
                await websocket.send('{"metadata": {"message_type": "configuration"}, "data": '
                                     '{"op": "subscribe", "topic": "/big"}}')
                await async_wait_until(lambda: publisher.get_subscription_count() == 1)
                link = next(iter(service.server.links))
                count = 0

                def dropped() -> bool:
                    nonlocal count
                    count += 1
                    publisher.publish(String(data=f'{count:06d}' * (text // 6)))
                    return link.dropped > 10
                await async_wait_until(dropped, why=lambda: (
                    count, link, link.messages_out, link.queue, link.queued_bytes,
                    publisher.get_subscription_count(), service.ros.graph.topics.get('/big')))
                assert link.queued_bytes < 10 * text
            websocket.transport.abort()


@proof('call_timeout')
async def call_timeout(_: Path) -> None:
    async with running_bridge(call_timeout=0.1) as service, native_peer(service) as peer:
        await peer.ask('advertise_service', service='/never', type='std_srvs/srv/Trigger')
        frame = await peer.call('/never')
        assert frame['data']['code'] == 'timeout'


@proof('heartbeat_interval', 'heartbeat_timeout')
async def heartbeats(_: Path) -> None:
    async with running_bridge(heartbeat_interval=0.3, heartbeat_timeout=0.8) as service, \
            native_peer(service) as peer:
        await peer.send('heartbeat', {'type': 'heartbeat', 'timestamp': time.time()})
        hello = await peer.ask('hello')
        assert hello['heartbeat'] == {'interval': 0.3, 'timeout': 0.8}
        await async_wait_until(lambda: len([f for f in peer.frames if f['metadata'][
            'message_type'] == 'heartbeat']) >= 2, timeout=5)
        await peer.wait(lambda f: f['data'].get('kind') == 'state' and
                        f['data']['peers'][0]['liveness'] == 'LOST', timeout=5)


@proof('ping_interval', 'ping_timeout')
async def pings(_: Path) -> None:
    async with running_bridge(ping_interval=0.1, ping_timeout=0.2) as service:
        websocket = await connect(service.url, subprotocols=['ws_bridge.v1'])
        await async_wait_until(lambda: service.bridge.peer_count == 1)
        websocket.transport.pause_reading()  # a half-open connection: nothing is answered
        await async_wait_until(lambda: service.bridge.peer_count == 0, timeout=5)
        websocket.transport.abort()


@proof('status_interval')
async def status_interval(_: Path) -> None:
    async with running_bridge(status_interval=0.2) as service, native_peer(service) as peer:
        await async_wait_until(lambda: len([f for f in peer.frames if f['metadata'][
            'message_type'] == 'status']) >= 8, timeout=6)


@proof('diagnostics_period')
async def diagnostics_period(_: Path) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    heard: list[float] = []
    with SpinningNode('watcher') as watcher:
        watcher.node.create_subscription(
            DiagnosticArray, '/diagnostics', lambda m: heard.append(time.monotonic()), 10)
        async with running_bridge(diagnostics_period=0.2):
            await async_wait_until(lambda: len(heard) >= 8)
            assert heard[-1] - heard[-6] < 3.0


@proof('subscription_depth')
async def subscription_depth(_: Path) -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_publisher(Int32, '/deep', 10)
        async with running_bridge(subscription_depth=7) as service, native_peer(service) as peer:
            await async_wait_until(lambda: '/deep' in service.ros.graph.topics)
            await peer.ask('subscribe', topic='/deep')

            def depth() -> int:
                infos = robot.node.get_subscriptions_info_by_topic('/deep')
                return infos[0].qos_profile.depth if infos else -1
            wait_until(lambda: depth() >= 0)
            assert service.ros.settings.subscription_depth == 7


@proof('wide_integers_as_text')
async def wide_integers_as_text(_: Path) -> None:
    with SpinningNode('robot') as robot:
        heard: list[int] = []
        robot.node.create_subscription(
            Int64MultiArray, '/wide', lambda message: heard.extend(message.data), 10)
        for text in (False, True):
            sent = [2**53, '-9007199254740993' if text else -2**53 - 1]
            async with running_bridge(wide_integers_as_text=text) as service, \
                    native_peer(service) as peer:
                await async_wait_until(lambda service=service: (  # type: ignore[misc]
                    '/wide' in service.ros.graph.topics))
                await peer.ask('subscribe', topic='/wide', type='std_msgs/Int64MultiArray')
                await peer.publish('/wide', {'data': sent})
                await async_wait_until(lambda peer=peer: peer.samples('/wide'))  # type: ignore
                assert peer.samples('/wide')[0]['data'] == sent
        assert heard == [2**53, -2**53 - 1] * 2


@proof('match_timeout')
async def match_timeout(_: Path) -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(String, '/mismatched', lambda _: None, QoSProfile(
            # transient local: a volatile publisher never matches
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))
        async with running_bridge(match_timeout=0.2) as service, native_peer(service) as peer:
            await async_wait_until(lambda: '/mismatched' in service.ros.graph.topics)
            channel = await peer.ask('advertise', topic='/mismatched', type='std_msgs/String')
            started = time.monotonic()
            await peer.websocket.send(BINARY_HEADER.pack(
                2, 0, 100, channel['channel_id'], time.time(), 1) + b'\0\1\0\0\1\0\0\0\0')
            await async_wait_until(lambda: 'expired' in {e['code'] for e in peer.errors()})
            assert 0.1 < time.monotonic() - started < 2.0


async def drive(peer: Any) -> None:
    """Hold the lease of the robot's gate and send what is neutral."""
    await peer.acquire('/cmd_vel')
    assert (await peer.command('/cmd_vel', {}))['op'] == 'publish'


@proof('gated_types')
async def gated_types(_: Path) -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Int32, '/count', lambda m: None, 10)
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: None, 10)
        for types, gates in ((['std_msgs/msg/Int32'], ['/count']), ([''], [])):
            async with running_bridge(gated_types=types) as service, \
                    native_peer(service) as peer:
                await async_wait_until(
                    lambda: {'/count', '/cmd_vel'} <= set(service.ros.graph.topics))
                await async_wait_until(lambda: service.ros.idle)
                told = await peer.ask('gates')
                assert [gate['gate'] for gate in told['gates']] == gates


@proof('gate_timeout')
async def gate_timeout(path: Path) -> None:
    heard: list[float] = []
    mapping = path / 'm.yaml'
    mapping.write_text("""
version: 1
in: ['*']
gates: [{gate: own, topics: [/own], timeout: 9.0}, {gate: other, topics: [/other], ttl: 0.01}]
""")
    async with running_bridge(gate_timeout=4.0, gate_ttl=2.0, mapping_file=str(mapping)
                              ) as service, native_peer(service) as peer:
        gates = (await peer.ask('gates'))['gates']
        assert [(gate['timeout'], gate['ttl']) for gate in gates] == [(9.0, 2.0), (4.0, 0.01)]
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: heard.append(m.linear.x), 10)
        async with running_bridge(gate_timeout=1.0) as service, native_peer(service) as peer:
            await drive(peer)
            await peer.command('/cmd_vel', {'linear': {'x': 1.0}})
            stopped = await peer.wait(lambda f: f['data'].get('kind') == 'stopped')
            assert stopped['data']['reason'] == 'timeout'
            assert stopped['data']['after'] >= 1.0     # 0.5 s is what it is else
            await async_wait_until(lambda: [x for x, _ in groupby(heard)] == [0.0, 1.0, 0.0],
                                   why=lambda: heard)


@proof('gate_ttl')
async def gate_ttl(_: Path) -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: None, 10)
        async with running_bridge(gate_ttl=30.0) as service, native_peer(service) as peer:
            await drive(peer)
            for age, what in ((20.0, 'op'), (31.0, 'code')):
                answer = await peer.command('/cmd_vel', {}, bridge_time=peer.bridge_time - age)
                assert answer[what] == {'op': 'publish', 'code': 'expired'}[what]


@proof('fence_interval')
async def fence_interval(_: Path) -> None:
    class Pinged(ClientConnection):
        pings = 0

        def process_event(self, event: Any) -> None:
            self.pings += getattr(event, 'opcode', None) is Opcode.PING
            super().process_event(event)
    for interval in (60.0, 0.05):
        async with running_bridge(fence_interval=interval, ping_interval=0.0) as service, \
                native_peer(service, create_connection=Pinged, subprotocols=None) as peer:
            websocket: Any = peer.websocket
            await peer.ask('hello')
            if interval == 60.0:
                assert websocket.pings == 2     # at the handshake, and with the first word
            else:
                await async_wait_until(lambda websocket=websocket: (  # type: ignore[misc]
                    websocket.pings > 5))


@proof('neutral_first')
async def neutral_first(_: Path) -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: None, 10)
        for first, code in ((True, 'not_neutral'), (False, None)):
            async with running_bridge(neutral_first=first) as service, \
                    native_peer(service, subprotocols=None) as peer:
                await async_wait_until(lambda service=service: (  # type: ignore[misc]
                    '/cmd_vel' in service.ros.graph.topics
                    and robot.node.count_publishers('/cmd_vel') >= 2))
                answer = await peer.publish('/cmd_vel', {'linear': {'x': 1.0}})
                assert answer['data'].get('code') == code


@proof('estop_at_start')
async def estop_at_start(_: Path) -> None:
    for state in ('armed', 'stopped'):
        async with running_bridge(estop_at_start=state) as service, native_peer(service) as peer:
            hello = await peer.ask('hello')
            assert hello['estop']['stopped'] is (state == 'stopped')


@proof('estop_service')
async def estop_service(_: Path) -> None:
    called: list[bool] = []

    def cut(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        called.append(True)
        response.message = 'stuck'      # and no success
        return response
    with SpinningNode('robot') as robot:
        robot.node.create_service(Trigger, '/cut_power', cut)
        async with running_bridge(estop_service='/cut_power') as service, \
                native_peer(service) as peer:
            await async_wait_until(lambda: '/cut_power' in service.ros.graph.services)
            assert await peer.ask('stop') == {'op': 'stop', 'stopped': True}
            await async_wait_until(lambda: called)
            await async_wait_until(lambda: any(
                error['code'] == 'stop_failed' for error in peer.errors()), why=peer.errors)


@proof('audit_file', 'audit_size')
async def audit(folder: Path) -> None:
    path = folder / 'audit.jsonl'
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: None, 10)
        async with running_bridge(audit_file=str(path), audit_size=1000) as service, \
                native_peer(service) as peer:
            await drive(peer)
            written = [json.loads(line) for line in path.read_text().splitlines()]
            assert [(line['event'], line.get('reason')) for line in written] == [
                ('open', None), ('lease', 'acquired')]
            for _ in range(10):
                await peer.ask('stop')
                await peer.ask('clear_stop')
    sizes = [entry.stat().st_size for entry in os.scandir(folder)]
    assert len(sizes) > 1
    assert max(sizes) <= 1000


@proof('record')
async def record(folder: Path) -> None:
    async with running_bridge(record='always', record_folder=str(folder / 'records'),
                              record_key=str(folder / 'key')) as service:
        assert service.ros.own.record == '/ws_bridge/record/save'
        await async_wait_until(lambda: (folder / 'key.pub').exists()
                               and list((folder / 'records').glob('*/*_0.mcap')))


@proof('record_secrets')
async def secrets_are_not_recorded(folder: Path) -> None:
    event = ParameterEvent(node='/arm', new_parameters=[Parameter(
        name=name, value=ParameterValue(type=4, string_value=text))
        for name, text in (('pin', 'swordfish'), ('gain', 'plain'))])
    async with running_bridge(record='ring', record_folder=str(folder / 'records'),
                              record_key=str(folder / 'key'), record_after=0.0,
                              record_secrets=['/arm:p.*']) as service:
        recorder = service.bridge._recorder
        assert recorder is not None
        recorder.published('/parameter_events', CodecStore().codec(schema_of(ParameterEvent)),
                           serialize_message(event))
        recorder.save('test')
        found = await async_wait_until(
            lambda: list((folder / 'records').glob('*/metadata.yaml')))
    (told,) = [data for topic, *_, data in read(next(found[0].parent.glob('*_0.mcap')))
               if topic == '/parameter_events']
    assert [each.value.string_value for each in deserialize_message(
        told, ParameterEvent).new_parameters] == ['', 'plain']


@proof('record_folder', 'record_key', 'record_ring', 'record_after', 'record_limit')
async def what_the_process_is_told(folder: Path) -> None:
    """In record/ it is tested what it does then."""
    told = options_of(settings_from({
        'record': 'ring', 'record_folder': '~/here', 'record_key': str(folder), 'record_ring': 2.0,
        'record_after': 5.0, 'record_limit': 3_000_000}), 'kilted')
    assert told == {'folder': str(Path.home() / 'here'), 'key': str(folder), 'limit': 3_000_000,
                    'robot': platform.node(), 'distro': 'kilted', 'mode': 'ring', 'ring': 2.0,
                    'after': 5.0}
