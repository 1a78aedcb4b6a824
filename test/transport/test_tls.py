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
"""TLS with throwaway certificates: who verifies whom, and what fails."""
from __future__ import annotations

import ssl
from typing import Any

import pytest
from support.certificates import Pair
from support.transport_support import MakeClient, MakeServer, Recorder

from ws_bridge.protocol.types import SecurityLevel
from ws_bridge.transport.tls import server_context

Pairs = dict[str, Pair]


def files(pair: Pair) -> dict[str, str]:
    """Return the configuration that names a certificate."""
    return {'ssl_cert_path': pair.cert, 'ssl_key_path': pair.key}


async def test_encrypted(make_server: MakeServer, make_client: MakeClient,
                         certificates: Pairs) -> None:
    """Messages go both ways; an endpoint without scheme becomes wss."""
    server = await make_server(security_level=SecurityLevel.ENCRYPTED,
                               **files(certificates['server']))
    client = await make_client(server.port, security_level=SecurityLevel.ENCRYPTED,
                               settings={'ssl_ca_path': certificates['authority'].cert})
    assert await client.send({'x': 'y' * 300_000})
    got = await server.receive(5)
    assert got is not None
    assert len(got[0]['x']) == 300_000
    assert await server.broadcast(b'back')
    assert (await client.receive(5) or ('',))[0] == b'back'


@pytest.mark.parametrize(('authority', 'host', 'why'), [
    ('strange authority', '127.0.0.1', 'certificate verify failed'),
    ('authority', 'localhost', "doesn't match|not valid for|mismatch"),
    (None, '127.0.0.1', 'certificate verify failed')])
async def test_a_client_verifies_the_server(
        make_server: MakeServer, make_client: MakeClient, certificates: Pairs,
        authority: str | None, host: str, why: str) -> None:
    """Who signed it, and the name; by default only whom the system trusts."""
    server = await make_server(security_level='encrypted', **files(certificates['server']))
    settings = {'ssl_ca_path': certificates[authority].cert} if authority else None
    client = await make_client(0, endpoint=f'wss://{host}:{server.port}', retry_attempts=1,
                               settings=settings, is_connected=False)
    assert not await client.connect()
    assert client.last_error is not None
    with pytest.raises(type(client.last_error), match=why):
        raise client.last_error


def test_no_second_handshake(certificates: Pairs) -> None:
    """A peer inside cannot have the server do its arithmetic again and again."""
    pair = certificates['server']
    assert server_context(pair.cert, pair.key, None).options & ssl.OP_NO_RENEGOTIATION


async def test_plain_and_tls_do_not_meet(make_server: MakeServer, make_client: MakeClient,
                                         certificates: Pairs) -> None:
    """Neither end falls back."""
    secure = await make_server(security_level='encrypted', **files(certificates['server']))
    plain = await make_client(secure.port, retry_attempts=1, timeout=0.5, is_connected=False)
    assert not await plain.connect()
    server = await make_server()
    client = await make_client(server.port, security_level='encrypted', retry_attempts=1,
                               timeout=0.5, is_connected=False)
    assert not await client.connect()


async def test_authenticated(make_server: MakeServer, make_client: MakeClient,
                             certificates: Pairs) -> None:
    """TLS and the token."""
    server = await make_server(security_level='authenticated', auth_token='s3cret',
                               **files(certificates['server']))
    common: dict[str, Any] = {'settings': {'ssl_ca_path': certificates['authority'].cert},
                              'security_level': 'authenticated', 'retry_attempts': 1}
    await make_client(server.port, auth_token='s3cret', **common)
    wrong = await make_client(server.port, auth_token='wrong', is_connected=False, **common)
    assert not await wrong.connect()
    assert 'HTTP 401 a bearer token is needed' in str(wrong.last_error)


async def test_mutual_tls(make_server: MakeServer, make_client: MakeClient,
                          certificates: Pairs) -> None:
    """A server that wants certificates takes those of its authority, and no others."""
    recorder = Recorder()
    settings = {'ssl_ca_path': certificates['authority'].cert}
    server = await make_server(listener=recorder, security_level='mutual_tls', settings=settings,
                               **files(certificates['server']))
    client = await make_client(server.port, security_level='mutual_tls', settings=settings,
                               **files(certificates['client']))
    assert await client.send(1)
    assert (await recorder.link()).is_open
    for other in (
            {'security_level': 'encrypted'},
            {'security_level': 'mutual_tls', **files(certificates['stranger'])}):
        stranger = await make_client(server.port, settings=settings, retry_attempts=1,
                                     is_connected=False, **other)
        assert not await stranger.connect()
    assert len(recorder.links) == 1
