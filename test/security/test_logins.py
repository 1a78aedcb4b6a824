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
"""Logins over real sockets, by each way; what is refused, limited, late, logged."""
from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path
import ssl
import time
from typing import Any

import jwt
import pytest
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until
from support.rosbridge_harness import rosbridge_peer
from support.security_support import bearer, replace_text, TOKEN, TOKENS
from support.transport_support import http
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ws_bridge.bridge.door import Door, FAILURE_DELAY, TOKEN_PREFIX
from ws_bridge.config import settings_from
from ws_bridge.errors import ConfigError
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.identity import Identity
from ws_bridge.main import open_service
from ws_bridge.mapping.reader import parse_mapping
from ws_bridge.session.rights import Policy

SECRET = 'a-secret-of-at-least-thirty-two-bytes'


def entry(token: str | bytes) -> str:
    """Return the subprotocol entry of a token."""
    raw = token if isinstance(token, bytes) else token.encode()
    return TOKEN_PREFIX + base64.urlsafe_b64encode(raw).rstrip(b'=').decode()


async def status_of(url: str, **options: Any) -> int:
    """Return the HTTP status of a handshake that must fail."""
    with pytest.raises(InvalidStatus) as error:
        await connect(url, **options)
    assert TOKEN.encode() not in (error.value.response.body or b'')
    return error.value.response.status_code


async def test_bearer(token_file: str, no_delay: None) -> None:
    async with running_bridge(token_file=token_file) as service:
        async with native_peer(service, additional_headers=bearer(TOKEN)) as peer:
            hello = await peer.ask('hello')
            assert (hello['login'], hello['role']) == ('done', 'operator')
            assert (await peer.refused('auth', token=TOKEN))['code'] == 'already_exists'
        for header in ('Bearer', 'Bearer wrong-token', f'Basic {TOKEN}', f'Bearer {TOKEN}x', ''):
            assert await status_of(service.url,
                                   additional_headers={'Authorization': header}) == 401


async def test_subprotocol_entry(token_file: str, no_delay: None) -> None:
    """For browsers; the entry is never answered with."""
    async with running_bridge(token_file=token_file) as service:
        for offered in (['ws_bridge.v1', entry(TOKEN)], [entry(TOKEN), 'ws_bridge.v1']):
            async with native_peer(service, subprotocols=offered) as peer:
                assert peer.websocket.subprotocol == 'ws_bridge.v1'
                assert (await peer.ask('hello'))['role'] == 'operator'
        async with rosbridge_peer(service, subprotocols=['rosbridge.v2', entry(TOKEN)]) as old:
            assert old.websocket.subprotocol == 'rosbridge.v2'
            assert (await old.call('/rosapi/get_time'))['result'] is True
        for wrong in (entry('wrong-token'), entry(b'\xff\xfe'), TOKEN_PREFIX + '!', TOKEN_PREFIX):
            with pytest.raises(Exception):      # noqa: B017  what is offered may be no name
                await connect(service.url, subprotocols=['ws_bridge.v1', wrong])
        assert await status_of(service.url, subprotocols=[entry(TOKEN)]) == 400


async def test_never_in_the_url(token_file: str) -> None:
    async with running_bridge(token_file=token_file) as service, native_peer(
            f'{service.url}/?token={TOKEN}&access_token={TOKEN}') as peer:
        assert (await peer.refused('list'))['code'] == 'forbidden'


async def test_first_message(token_file: str, no_delay: None) -> None:
    async with running_bridge(token_file=token_file) as service:
        async with native_peer(service) as peer:
            greeting = await peer.wait(lambda f: f['data'].get('op') == 'hello')
            assert (greeting['data']['login'], greeting['data']['role']) == ('needed', 'nobody')
            assert (await peer.refused('list'))['code'] == 'forbidden'
            assert (await peer.publish('/cmd_vel', {}))['data']['code'] == 'forbidden'
            answer = await peer.ask('auth', token=TOKEN)
            assert (answer['name'], answer['role']) == ('alice', 'operator')
            await peer.ask('list')
            status = await peer.wait(lambda f: f['metadata']['message_type'] == 'status')
            assert status['data']['peers'][0]['identity'] == 'alice'
        async with native_peer(service) as peer:
            assert (await peer.refused('auth', token='wrong'))['code'] == 'login_failed'
            await async_wait_until(lambda: peer.closed)
            assert peer.closed == (1008, 'login failed')


async def test_strangers_send_little(token_file: str) -> None:
    """A large message before the login closes the connection, after it it does not."""
    async with running_bridge(token_file=token_file) as service:
        for subprotocols in (['ws_bridge.v1'], None):
            async with native_peer(service, subprotocols=subprotocols) as peer:
                await peer.send('status', {'x': 'x' * 20_000})
                await async_wait_until(lambda peer=peer: peer.closed)
                assert peer.closed[0] == 1009
            async with native_peer(service, subprotocols=subprotocols) as peer:
                await peer.ask('auth', token=TOKEN)
                await peer.send('command', {'data': 'x' * 200_000}, destination='/x')
                await peer.ask('hello')


async def test_a_handshake_logs_in_before_the_first_word(token_file: str, no_delay: None) -> None:
    """No dialect named, nothing said in time, then much at once: it stays."""
    async with running_bridge(token_file=token_file, login_timeout=0.2) as service, \
            rosbridge_peer(service, additional_headers=bearer(TOKEN)) as peer, \
            rosbridge_peer(service) as stranger:
        await async_wait_until(lambda: stranger.closed)
        await peer.send('set_level', level='none', id='x' * 20_000)
        assert (await peer.call('/rosapi/get_time'))['result'] is True
        assert peer.closed is None


async def test_strangers_leave_room(token_file: str, no_delay: None) -> None:
    """Half of the peers may still have to log in, and half of these from one address."""
    async with running_bridge(token_file=token_file, max_peers=8) as service, \
            native_peer(service) as first, native_peer(service) as second, \
            native_peer(service) as third:
        await async_wait_until(lambda: third.closed)
        assert third.closed == (1013, 'too many peers that have not logged in')
        assert service.ledger.counts['connection_refused', 'strangers'] == 1
        async with native_peer(service, local_addr=('127.0.0.2', 0)) as other, \
                native_peer(service, additional_headers=bearer(TOKEN)) as alice:
            await first.ask('auth', token=TOKEN)
            async with native_peer(service) as next_one:
                await next_one.ask('auth', token=TOKEN)
            for peer in (first, alice):
                await peer.ask('list')
            assert second.closed is None
            assert other.closed is None


async def test_strangers_fill_no_audit(token_file: str, no_delay: None, tmp_path: Path) -> None:
    audit = tmp_path / 'audit'
    async with running_bridge(token_file=token_file, audit_file=str(audit)) as service:
        for code in range(20):
            async with native_peer(service) as stranger:
                await stranger.websocket.close(3000 + code)
        async with native_peer(service, additional_headers=bearer(TOKEN)):
            pass
        await async_wait_until(lambda: service.ledger.counts['close', '1000'] == 1)
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        assert len([line for line in lines if line['event'] in ('open', 'close')]) < 10
        assert [line['identity'] for line in lines if line['event'] == 'login'] == ['alice']
        assert service.ledger.counts['close', '3000'] == 20


async def test_rosbridge_auth(token_file: str, no_delay: None) -> None:
    async with running_bridge(token_file=token_file) as service:
        async with rosbridge_peer(service) as peer:
            answer = await peer.call('/rosapi/topics')
            assert (answer['result'], answer['values']) == (False, 'forbidden: log in first')
            await peer.send('set_level', level='info')
            await peer.send('auth', token=TOKEN)
            await peer.wait(lambda f: f['op'] == 'status' and 'auth: done' in f['msg'])
            assert (await peer.call('/rosapi/topics'))['result'] is True
        async with rosbridge_peer(service) as peer:
            await peer.send('auth', mac='0' * 128, client='c', dest='d', rand='r', t=1,
                            level='admin', end=2)
            await async_wait_until(lambda: peer.closed)
            assert peer.closed == (1008, 'login failed')


async def test_auth_where_nobody_can_log_in() -> None:
    """A client that always authenticates works with an open bridge."""
    async with running_bridge() as service, native_peer(service) as peer:
        assert await peer.ask('auth', token='whatever') == {
            'op': 'auth', 'name': None, 'role': 'admin', 'allowed': {
                'subscribe': ['*'], 'publish': ['*'], 'call': ['*'], 'host': ['*'], 'deny': []}}


async def test_a_failure_is_late_and_limited(token_file: str) -> None:
    """Each costs its author a second; too many cost everybody at his address a minute."""
    async with running_bridge(token_file=token_file, max_login_failures=2) as service:
        began = time.monotonic()
        assert await asyncio.gather(*(status_of(service.url, additional_headers=bearer('wrong'))
                                      for _ in range(2))) == [401, 401]
        assert time.monotonic() - began >= FAILURE_DELAY
        assert await status_of(service.url, additional_headers=bearer(TOKEN)) == 429
        assert await status_of(service.url) == 429
        # What a browser hides from a page of a handshake it may ask for.
        status, headers, body = await http(
            service.server.port, 'GET /admission HTTP/1.1\nHost: localhost\n\n')
        assert (status, body) == (429, b'too many failed logins\n')
        assert 0 < int(headers['retry-after']) <= 60
        async with native_peer(service, additional_headers=bearer(TOKEN),
                               local_addr=('127.0.0.9', 0)) as peer:
            await peer.ask('list')
        assert service.ledger.counts['connection_refused', 'login_failures'] == 3
        assert service.ledger.counts['login_failed', ''] == 2


async def test_many_attempts_in_one_connection_are_one(token_file: str) -> None:
    async with running_bridge(token_file=token_file, max_login_failures=2) as service, \
            native_peer(service) as peer:
        for _ in range(20):
            await peer.send('configuration', {'op': 'auth', 'token': 'guess'})
        await async_wait_until(lambda: peer.closed)
        assert service.ledger.counts['login_failed', ''] == 1


async def test_a_login_expires(tmp_path: Path) -> None:
    (tmp_path / 'key').write_text(SECRET)
    token = jwt.encode({'sub': 'a', 'role': 'operator', 'exp': time.time() + 1.0}, SECRET,
                       algorithm='HS256')
    async with running_bridge(jwt_key_file=str(tmp_path / 'key'), jwt_algorithm='HS256',
                              jwt_leeway=0.5) as service, \
            native_peer(service, additional_headers=bearer(token)) as peer:
        await peer.ask('list')
        await async_wait_until(lambda: peer.closed)
        assert peer.closed == (1008, 'login expired')


async def test_the_mapping_file_s_roles(tmp_path: Path, no_delay: None) -> None:
    tokens, mapping = tmp_path / 'tokens', tmp_path / 'm.yaml'
    tokens.write_text(f'alice lab {TOKEN}\nbob - another-long-token\ncarol - yet-another-token')
    mapping.write_text("""
version: 1
out: ['*']
roles:
  lab: {allow: [{subscribe: /a}, {graph: '*'}]}
  bobs: {like: lab, allow: [{subscribe: /b}]}
identities: {bob: bobs}
""")
    async with running_bridge(token_file=str(tokens), mapping_file=str(mapping)) as service:
        for token, role, topics in ((TOKEN, 'lab', '/a'), ('another-long-token', 'bobs', '/a/b'),
                                    ('yet-another-token', 'observer', '/a/b/c')):
            async with native_peer(service, additional_headers=bearer(token)) as peer:
                assert (await peer.ask('hello'))['role'] == role
                for name in 'abc':
                    if name in topics:
                        await peer.ask('subscribe', topic=f'/{name}')
                    else:
                        assert (await peer.refused('subscribe', topic=f'/{name}'))[
                            'code'] == 'forbidden'


async def test_a_token_with_a_role_that_there_is_not(tmp_path: Path) -> None:
    (tmp_path / 'tokens').write_text(f'alice king {TOKEN}\n')
    with pytest.raises(ConfigError, match="alice has the role 'king', which there is not"):
        await open(token_file=str(tmp_path / 'tokens'))
    for parameter in ('anonymous_role', 'connect_role'):
        with pytest.raises(ConfigError, match=f"{parameter}: there is no role 'king'"):
            await open(**{parameter: 'king'})


async def open(**parameters: Any) -> None:  # noqa: A001
    """Start a bridge that cannot start."""
    args = ['--ros-args', '--log-level', 'error', '-p', 'port:=0']
    for name, value in parameters.items():
        args += ['-p', f'{name}:={json.dumps(value)}']
    await open_service(args, on_fault=lambda exc: None)


async def test_other_machines_have_to_log_in(token_file: str,
                                             caplog: pytest.LogCaptureFixture) -> None:
    """Or are let in on purpose, with a warning that names the risk."""
    for address in ('0.0.0.0', '::', '192.0.2.1'):
        with pytest.raises(ConfigError, match='nobody has to log in') as caught:
            await open(address=address)
        assert caught.value.field == 'address'
    with caplog.at_level(logging.WARNING):
        async with running_bridge(address='0.0.0.0', token_file=token_file) as service:
            assert await status_of(service.url, additional_headers=bearer('x')) == 401
    assert 'without TLS' in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        async with running_bridge(address='0.0.0.0', allow_anonymous=True) as service, \
                native_peer(service) as peer:
            assert (await peer.ask('hello'))['role'] == 'admin'
    assert 'can move the robot' in caplog.text


async def test_no_secret_is_logged(token_file: str, no_delay: None,
                                   caplog: pytest.LogCaptureFixture) -> None:
    """At no level, by whatever way it came; nor is a payload."""
    with caplog.at_level(logging.DEBUG):
        async with running_bridge(token_file=token_file, max_message_rate=50.0) as service:
            async with native_peer(service, additional_headers=bearer(TOKEN)) as peer:
                await peer.publish('/x', {'data': 'private-payload'}, kind='topic')
                await peer.call('/x/call', {'data': 'private-payload'}, kind='service')
            async with native_peer(service) as peer:
                await peer.ask('auth', token=TOKEN)
            async with native_peer(service, subprotocols=['ws_bridge.v1', entry(TOKEN)]):
                pass
            for wrong in ('wrong-token-here', f'{TOKEN}-and-more'):
                await status_of(service.url, additional_headers=bearer(wrong))
            async with rosbridge_peer(service) as old:
                await old.send('auth', token='wrong-token-here')
                await async_wait_until(lambda: old.closed)
    server_side = [record.getMessage() for record in caplog.records
                   if record.name != 'websockets.client']
    assert any('"event":"login"' in line for line in server_side)
    for secret in (TOKEN, 'wrong-token', entry(TOKEN), 'private-payload'):
        assert not [line for line in server_side if secret in line]


async def test_tokens_are_revoked_by_the_file(token_file: str, no_delay: None) -> None:
    async with running_bridge(token_file=token_file) as service:
        async with native_peer(service, additional_headers=bearer(TOKEN)):
            pass
        replace_text(token_file, 'bob operator another-long-token\n')
        service.watch.read()
        assert await status_of(service.url, additional_headers=bearer(TOKEN)) == 401
        replace_text(token_file, 'nonsense\n')
        service.watch.read()
        async with native_peer(service, additional_headers=bearer('another-long-token')):
            pass


async def test_metrics_have_a_rule_of_their_own(token_file: str, no_delay: None) -> None:
    async with running_bridge(token_file=token_file, metrics=True) as service:
        async def get(*headers: str, host: str = 'localhost') -> tuple[int, bytes]:
            lines = '\n'.join(('GET /metrics HTTP/1.1', f'Host: {host}', *headers))
            status, _, body = await http(service.server.port, lines + '\n\n')
            return status, body
        assert (await get())[0] == 401
        assert (await get('Authorization: Bearer nonsense'))[0] == 401
        assert (await get(f'Authorization: Bearer {TOKEN}'))[0] == 403
        async with native_peer(service, additional_headers=bearer(TOKEN)) as peer:
            await peer.ask('subscribe', topic='/x')
            status, body = await get(f'Authorization: Bearer {TOKENS["root"][1]}')
        assert status == 200
        lines = body.decode().splitlines()
        assert 'ws_bridge_peers 1.0' in lines
        assert 'ws_bridge_entities 1.0' in lines
        assert 'ws_bridge_events_total{code="",event="login"} 1.0' in lines
        assert 'ws_bridge_events_total{code="metrics",event="connection_refused"} 2.0' in lines
        assert not any('alice' in line or '/x' in line for line in lines)
        assert (await get(f'Authorization: Bearer {TOKENS["root"][1]}',
                          host='evil.example'))[0] == 421


async def test_the_secure_preset(tmp_path: Path, token_file: str, no_delay: None) -> None:
    """It starts with the files that it names, lets in who has a token, and nobody else."""
    from support.certificates import make_authority, make_certificate
    authority = make_authority(tmp_path, 'authority')
    pair = make_certificate(tmp_path, 'server', authority)
    preset = Path(__file__).parents[2] / 'config' / 'secure.yaml'
    context = ssl.create_default_context(cafile=authority.cert)
    async with running_bridge('--params-file', str(preset), token_file=token_file,
                              mapping_file=str(preset.with_name('mapping.example.yaml')),
                              tls_certificate=pair.cert, tls_key=pair.key) as service:
        assert service.settings.address == '0.0.0.0'
        assert service.settings.max_entities == 200
        assert await status_of(service.url, ssl=context,
                               additional_headers=bearer('wrong')) == 401
        async with native_peer(service, ssl=context, additional_headers=bearer(TOKEN)) as peer:
            assert (await peer.ask('hello'))['role'] == 'operator'
            assert (await peer.refused('subscribe', topic='/secret'))['code'] == 'forbidden'


@pytest.mark.parametrize(('relay_role', 'claimed', 'role', 'signs'), [
    ('operator', 'remote', 'operator', True), ('remote', 'operator', 'operator', True),
    ('remote', 'admin', 'remote', True), ('admin', 'remote', 'remote', True),
    ('operator', None, 'operator', True), ('operator', 'admin', 'operator', False)])
def test_a_lesser_role_by_a_relay_signs_as_the_other_one_would(
        relay_role: str, claimed: str | None, role: str, signs: bool, tmp_path: Path) -> None:
    (tmp_path / 'keys').touch(0o600)
    settings = settings_from({
        'relay_role': relay_role, 'command_key_file': str(tmp_path / 'keys')})
    policy = Policy(parse_mapping(b"""
version: 1
roles:
  remote: {like: safety, signed: true}
identities: {alice: remote}
""", 'm.yaml'))
    nothing: Any = None
    door = Door(settings, policy, Authority(settings, {}, tuple(policy.roles)), nothing)
    given = door.vouch(Identity('alice', claimed, 'relay')).rights.role
    assert (given.name, given.signed) == (role, signs)
