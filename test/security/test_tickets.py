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
"""How a client logs in that can type only a URL: a ticket, a certificate, a proxy."""
from __future__ import annotations

import asyncio
import logging
from pathlib import Path
import ssl
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from support.bridge_harness import native_peer, running_bridge
from support.certificates import make_authority, make_certificate
from support.foxglove_peer import foxglove_peer
from support.helpers import async_wait_until
from support.rosbridge_harness import rosbridge_peer
from support.security_support import bearer, TOKEN, TOKENS
from support.transport_support import http
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ws_bridge.bridge import door
from ws_bridge.config import Exposure
from ws_bridge.config.roles import BUILT_IN, Grant, OwnNames, Role
from ws_bridge.session.rights import Policy

SECRET = 'a-secret-of-at-least-thirty-two-bytes'


async def refusal(url: str) -> tuple[int, bytes]:
    """Return how a handshake is refused."""
    with pytest.raises(InvalidStatus) as error:
        await connect(url)
    return error.value.response.status_code, error.value.response.body or b''


async def test_a_ticket(token_file: str, no_delay: None, tmp_path: Path,
                        caplog: pytest.LogCaptureFixture) -> None:
    """It lets one in, whichever the dialect, with no more rights than its maker has; no trace."""
    caplog.set_level(logging.DEBUG)
    audit = tmp_path / 'audit'
    tickets: list[str] = []
    async with running_bridge(
            token_file=token_file, ticket_lifetime=60.0, max_login_failures=2, metrics=True,
            audit_file=str(audit)) as service, \
            native_peer(service, additional_headers=bearer(TOKEN)) as operator:
        async def path_of(role: str, maker: Any = operator) -> str:
            made = await maker.ask('ticket', role=role)
            assert (made['role'], made['lifetime']) == (role, 60.0)
            tickets.append(made['ticket'])
            return f'/ticket/{made["ticket"]}'

        for role in ('safety', 'admin', 'nobody', 'none'):
            error = await operator.refused('ticket', role=role)
            assert (error['code'], error['field']) == ('forbidden', 'data.role')

        # the page of that address is nothing, and uses no ticket up
        path = await path_of('observer')
        status, _, body = await http(service.server.port,
                                     f'GET {path} HTTP/1.1\nHost: localhost\n\n')
        assert status == 404
        assert tickets[-1].encode() not in body
        async with foxglove_peer(service, path=path) as viewer:
            await async_wait_until(lambda: viewer.told)
            assert 'clientPublish' not in viewer.told[0]['capabilities']
            assert 'login' not in viewer.statuses
            seen = service.bridge.peers()[-1].session.describe(0.0)
            assert (seen.identity, seen.role) == ('alice', 'observer')

        # again: refused, and no guess, for an app tries again and again
        for _ in range(4):
            status, body = await refusal(f'{service.url}{path}')
            assert (status, body) == (401, b'the ticket is used, too old, or was never made\n')

        async with rosbridge_peer(f'{service.url}/robot{await path_of("operator")}') as page:
            assert (await page.call('/rosapi/get_time'))['result'] is True
        async with native_peer(f'{service.url}{await path_of("operator")}') as guest:
            assert (await guest.ask('hello'))['role'] == 'operator'
            assert (await guest.refused('ticket', role='observer'))['code'] == 'forbidden'

        # two at once
        url = f'{service.url}{await path_of("observer")}'
        ends = await asyncio.gather(connect(url), connect(url), return_exceptions=True)
        (let_in,) = (end for end in ends if not isinstance(end, BaseException))
        (refused,) = (end for end in ends if isinstance(end, InvalidStatus))
        assert refused.response.status_code == 401
        await let_in.close()

        # guesses are failed logins, and then not even a good one is looked at
        path = await path_of('observer')
        assert [(await refusal(f'{service.url}/ticket/{guess}'))[0]
                for guess in ('', 'x', 'y')] == [401, 401, 429]
        assert (await refusal(f'{service.url}{path}'))[0] == 429
        assert service.ledger.counts['ticket', ''] == len(tickets)
        status, _, figures = await http(service.server.port, (
            'GET /metrics HTTP/1.1\nHost: localhost\n'
            f'Authorization: Bearer {TOKENS["root"][1]}\n\n'))
    logged = [record.getMessage() for record in caplog.records
              if record.name != 'websockets.client']        # that is this test itself
    written = '\n'.join((*logged, audit.read_text(), figures.decode()))
    assert '"event":"ticket"' in written and '"method":"ticket"' in written
    assert not [ticket for ticket in tickets if ticket in written]


async def test_the_end_of_the_maker_s_login_is_the_ticket_s(
        tmp_path: Path, no_delay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / 'key'
    key.write_text(SECRET)
    key.chmod(0o600)
    async with running_bridge(jwt_key_file=str(key), jwt_algorithm='HS256',
                              ticket_lifetime=60.0, jwt_leeway=0.0) as service:
        def web_token(seconds: float) -> str:
            return jwt.encode({'sub': 'eve', 'role': 'operator',
                               'exp': service.bridge._unix() + seconds}, SECRET, 'HS256')

        async with native_peer(service, additional_headers=bearer(web_token(30))) as maker:
            made = await maker.ask('ticket', role='observer')
            assert 0 < made['lifetime'] <= 30
            with monkeypatch.context() as later:
                later.setattr(door, 'time', SimpleNamespace(
                    monotonic=lambda: time.monotonic() + made['lifetime']))
                assert (await refusal(f'{service.url}/ticket/{made["ticket"]}'))[0] == 401
            path = f'/ticket/{(await maker.ask("ticket", role="observer"))["ticket"]}'
            async with native_peer(f'{service.url}{path}') as guest:
                await guest.ask('hello')
                login, own = (peer.session.login for peer in service.bridge.peers()[::-1])
                assert login.until is not None and own.until is not None
                assert abs(login.until - own.until) < 1.0


async def test_no_tickets_unless_they_are_wanted(token_file: str, no_delay: None) -> None:
    async with running_bridge(token_file=token_file) as service, \
            native_peer(service, additional_headers=bearer(TOKEN)) as peer:
        error = await peer.refused('ticket', role='observer')
        assert error['code'] == 'forbidden'
        assert 'ticket_lifetime' in error['message']
        assert (await refusal(f'{service.url}/ticket/x'))[0] == 401


async def test_a_certificate(tmp_path: Path) -> None:
    """A Foxglove client that has one needs no word for a login."""
    authority = make_authority(tmp_path, 'authority')
    server = make_certificate(tmp_path, 'server', authority)
    own = make_certificate(tmp_path, 'alice', authority)
    context = ssl.create_default_context(cafile=authority.cert)
    async with running_bridge(tls_certificate=server.cert, tls_key=server.key,
                              tls_client_ca=authority.cert) as service:
        context.load_cert_chain(own.cert, own.key)
        async with foxglove_peer(service, ssl=context) as viewer:
            await async_wait_until(lambda: viewer.told)
            (peer,) = service.bridge.peers()
            assert peer.session.login.identity is not None
            assert peer.session.login.identity.method == 'certificate'
            assert 'login' not in viewer.statuses


async def test_a_proxy_that_knows_its_users(token_file: str) -> None:
    """It puts the token into the header, which no app can."""
    async with running_bridge(token_file=token_file, trusted_proxies=['127.0.0.1']) as service, \
            foxglove_peer(service, additional_headers={
                **bearer(TOKEN), 'X-Forwarded-For': '10.0.0.7'}) as viewer:
        await async_wait_until(lambda: viewer.told)
        assert 'clientPublish' in viewer.told[0]['capabilities']
        assert [link.address for link in service.server.links] == ['10.0.0.7']


READER, ALL = Role('reader', (Grant('/odom', 'subscribe'),)), Role('all', (Grant('*'),))
TELLING = Policy(Exposure.open(), OwnNames(telling=frozenset({'/told'})))


@pytest.mark.parametrize(('maker', 'role', 'may'), [
    (BUILT_IN['operator'], BUILT_IN['observer'], True),
    (BUILT_IN['operator'], BUILT_IN['operator'], True),
    (BUILT_IN['operator'], BUILT_IN['safety'], False),
    (BUILT_IN['admin'], BUILT_IN['safety'], True),
    (BUILT_IN['safety'], BUILT_IN['admin'], False),
    (ALL, BUILT_IN['admin'], True),
    (BUILT_IN['observer'], READER, True),
    (READER, BUILT_IN['observer'], False),
    (READER, Role('other', (Grant('/scan', 'subscribe'),)), False),
    (READER, Role('wide', (Grant('/odom'),)), False),
    (Role('less', (Grant('*'),), (Grant('/secret'),)), BUILT_IN['observer'], False),
    (Role('less', (Grant('*'),), (Grant('/secret', 'subscribe'),)),
     Role('r', (Grant('*'),), (Grant('/secret'),)), True),
    # a topic on which the bridge tells everything is heard by its full name, or by who sees all
    (Role('blind', (Grant('*', 'subscribe'),)),
     Role('told', (Grant('/told', 'subscribe'),)), False),
    (BUILT_IN['observer'], Role('told', (Grant('/told', 'subscribe'),)), True)])
def test_no_role_hands_out_more_than_it_has(maker: Role, role: Role, may: bool) -> None:
    assert TELLING.may_hand_out(maker, role) is may
