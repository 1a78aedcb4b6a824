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
"""Who may connect, and what plain HTTP gets, on a real port."""
from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.helpers import async_wait_until
from support.transport_support import Dial, http, MakeServer, Recorder
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from ws_bridge.interface.server import WebSocketServer
from ws_bridge.transport.handshake import host_fault, origin_fault
from ws_bridge.transport.options import HttpReply, ServerOptions, Visitor

LOOPBACK = '127.0.0.1'


async def refusal(dial: Dial, server: WebSocketServer, **options: object) -> tuple[int, str]:
    """Connect in vain; return status and text."""
    with pytest.raises(InvalidStatus) as caught:
        await dial(server.port, **options)
    return caught.value.response.status_code, (caught.value.response.body or b'').decode()


@pytest.mark.parametrize(('origin', 'host', 'origins', 'local', 'is_fine'), [
    (None, 'robot:9090', None, LOOPBACK, True),
    (None, 'robot:9090', (), '10.0.0.1', True),
    ('http://robot:8000', 'robot:9090', None, '10.0.0.1', True),
    ('https://robot', 'ROBOT:9090', None, '10.0.0.1', True),
    ('http://[fe80::1]:1', '[fe80::1]:9090', None, 'fe80::1', True),
    ('http://localhost:8000', 'localhost:9090', None, LOOPBACK, True),
    ('http://ui.localhost', 'ui.localhost:9090', None, '::1', True),
    ('http://127.0.0.1', '127.0.0.1:9090', None, LOOPBACK, True),
    ('http://evil', 'robot:9090', None, '10.0.0.1', False),
    # All names of this machine are one host, whichever the page and the client took.
    ('http://localhost', '127.0.0.1:9090', None, LOOPBACK, True),
    ('http://127.0.0.1:8000', 'localhost:9090', None, '::1', True),
    ('http://[::1]:8000', 'localhost:9090', None, LOOPBACK, True),
    ('http://localhost:8000', '[::1]:9090', None, '::1', True),
    ('http://localhost.evil', '127.0.0.1:9090', None, LOOPBACK, False),
    ('http://localhost', 'robot:9090', None, '10.0.0.1', False),
    ('http://127.0.0.1:8000', 'robot', ('http://localhost:8000',), '10.0.0.1', True),
    ('http://localhost:8000', 'robot', ('http://[::1]:8000/',), '10.0.0.1', True),
    ('http://localhost:8001', 'robot', ('http://[::1]:8000/',), '10.0.0.1', False),
    ('https://localhost:8000', 'robot', ('http://localhost:8000',), '10.0.0.1', False),
    ('null', 'robot:9090', None, '10.0.0.1', False),
    ('null', '127.0.0.1:9090', None, LOOPBACK, False),
    ('file://', '127.0.0.1:9090', None, LOOPBACK, False),
    ('file://', 'robot:9090', ('file://',), '10.0.0.1', True),
    ('null', 'robot:9090', ('file://',), '10.0.0.1', False),
    ('http://[', 'robot:9090', None, '10.0.0.1', False),
    ('http://evil', '', None, '10.0.0.1', False),
    # A name of the attacker's that points to this machine: DNS rebinding.
    ('http://evil', 'evil:9090', None, LOOPBACK, False),
    ('http://evil', 'evil:9090', ('http://evil',), LOOPBACK, True),
    ('http://evil:80', 'robot', ('http://evil',), '10.0.0.1', False),
    ('http://ui.example:8000', 'robot', ('http://Ui.example:8000/',), '10.0.0.1', True),
    ('http://robot', 'robot', ('http://ui.example',), '10.0.0.1', False),
    ('null', 'robot', ('null',), '10.0.0.1', True),
    ('http://evil', 'robot', 'http://evil', '10.0.0.1', True),
    ('http://evil', 'robot', '*', LOOPBACK, True),
    ('http://evil', 'robot', ('*',), LOOPBACK, True)])
def test_origins(origin: str | None, host: str, origins: tuple[str, ...] | str | None,
                 local: str, is_fine: bool) -> None:
    """Same host, a list, or any; programs send none."""
    headers = {'host': host} if origin is None else {'host': host, 'origin': origin}
    fault = origin_fault(headers, origins, local)
    assert (fault is None) is is_fine
    assert fault is None or (origin or '') in fault
    # A browser tells a page nothing; a person who looks is told what to do.
    if fault is not None:
        assert ('the parameter pages' in fault) is (origin in ('null', 'file://'))


@pytest.mark.parametrize('origin', [
    'http://evil.example@127.0.0.1:9090', 'http://evil.example:1@127.0.0.1:9090',
    'http://@127.0.0.1:9090', 'http://127.0.0.1:9090/', 'http://127.0.0.1:9090/path',
    'http://127.0.0.1:9090?x', 'http://127.0.0.1:9090#x', 'http://127.0.0.1.:9090',
    'http://localhost.:9090', 'http://LOCALHOST:9090', 'HTTP://127.0.0.1:9090', '//127.0.0.1:9090',
    'http:/127.0.0.1:9090', 'http:127.0.0.1', '127.0.0.1:9090', 'http://127.0.0.1:',
    'http://127.0.0.1:0', 'http://127.0.0.1:09090', 'http://127.0.0.1:99999',
    'http://127.0.0.1:9090 ', ' http://127.0.0.1:9090', 'http://127.0.0.1:9090, http://evil',
    'http://127.0.0.1:9090 http://evil', 'http://127.0.0.1\t', 'http://2130706433',
    'http://[::1%25lo]:9090', 'http://[::1', 'http://::1', 'http://127.0.0.1:9090\\@evil',
    'file:///', 'file://127.0.0.1/x', 'NULL', 'http://', '', '://127.0.0.1'])
@pytest.mark.parametrize('origins', [None, ('http://localhost:9090', 'null', 'file://')])
def test_an_origin_that_no_browser_sends(origin: str, origins: tuple[str, ...] | None) -> None:
    """It is refused, whatever host a parser of addresses would find in it."""
    headers = {'host': '127.0.0.1:9090', 'origin': origin}
    assert 'it is not scheme://host[:port]' in (origin_fault(headers, origins, LOOPBACK) or '')
    fine = {**headers, 'origin': 'http://127.0.0.1:9090'}
    assert origin_fault(fine, origins, LOOPBACK) is None


@pytest.mark.parametrize('host', [
    'evil.example@127.0.0.1', '127.0.0.1/x', '127.0.0.1#x', '127.0.0.1?x', 'a@localhost:1',
    '127.0.0.1, evil', '127.0.0.1 evil', '127.0.0.1:x', '127.0.0.1.', '[::1', '::1:9090', ''])
def test_a_host_that_no_browser_sends(host: str) -> None:
    assert host_fault(host, ()) is not None


@pytest.mark.parametrize(('host', 'hosts', 'origins', 'is_fine'), [
    ('localhost:9090', (), None, True), ('[::1]:9090', (), None, True),
    ('10.0.0.1', (), None, True),
    ('evil.example:9090', (), None, False), ('evil.example', ('robot',), None, False),
    ('robot', ('robot',), None, True), ('10.0.0.1', ('robot',), None, False),
    # A page of these origins may connect, so it may be served too.
    ('ui.example:1', (), ('https://ui.example',), True),
    ('evil', (), ('https://ui.example',), False),
    ('10.0.0.1', (), ('https://ui.example',), True), ('', (), ('file://', 'null'), False),
    ('evil', (), ('null', 'file://'), False), ('evil', (), '*', True), ('evil', (), ('*',), True),
    ('evil', ('robot',), '*', False)])
async def test_pages_are_for_names_of_this_machine(
        make_server: MakeServer, host: str, hosts: tuple[str, ...],
        origins: tuple[str, ...] | str | None, is_fine: bool) -> None:
    """So that no page of a foreign name that points here reads them; health is for everybody."""
    async def page(visitor: Visitor) -> HttpReply:
        return HttpReply(200)
    server = await make_server(options=ServerOptions(
        hosts=hosts, origins=origins, http=page, paths_of_any_host=('/healthz',)))
    for path in ('/', '/version', '/healthz/', '/healthz%2f'):
        status, _, body = await http(server.port, f'GET {path} HTTP/1.1\nHost: {host}\n\n')
        assert status == (200 if is_fine else 421)
        assert is_fine or b'Host' in body or b"parameter 'hosts'" in body
    assert (await http(server.port, f'GET /healthz?x HTTP/1.1\nHost: {host}\n\n'))[0] == 200


async def test_a_page_that_was_opened_as_a_file_is_said_once(
        make_server: MakeServer, dial: Dial, caplog: pytest.LogCaptureFixture) -> None:
    server = await make_server()
    for name in ('null', 'file://', 'http://evil.example'):
        status, text = await refusal(dial, server, origin=Origin(name))
        assert status == 403
        assert ('the parameter pages' in text) is (name != 'http://evil.example')
    assert caplog.text.count('the parameter pages') == 1


async def test_a_foreign_page_is_refused(make_server: MakeServer, dial: Dial) -> None:
    """With 403 and the reason; a page of the same host is not."""
    server = await make_server()
    status, text = await refusal(dial, server, origin=Origin('http://evil.example'))
    assert status == 403
    assert 'http://evil.example may not connect' in text
    await dial(server.port, origin=Origin('http://127.0.0.1:8000'))


async def test_no_more_than_max_peers(make_server: MakeServer, dial: Dial) -> None:
    """One too many gets 503; when one leaves there is room again."""
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(max_peers=2))
    first = await dial(server.port)
    await dial(server.port)
    await async_wait_until(lambda: len(recorder.links) == 2)
    assert (await refusal(dial, server))[0] == 503
    await first.close()
    await recorder.end()
    await dial(server.port)


async def test_who_has_to_leave_keeps_nobody_out(make_server: MakeServer, dial: Dial) -> None:
    """Whoever does not answer that it has to leave is cut as soon as another one comes."""
    recorder = Recorder()
    server = await make_server(
        listener=recorder, options=ServerOptions(max_peers=1, close_timeout=60.0))
    first = await dial(server.port)
    first.transport.pause_reading()
    (await recorder.link()).close(1013, 'others need the room')
    await dial(server.port)
    assert await recorder.end() == (1013, 'others need the room')
    await recorder.link()
    assert (await refusal(dial, server))[0] == 503


@pytest.mark.parametrize(('headers', 'is_direct'), [
    ({}, True), ({'X-Forwarded-For': '10.0.0.1'}, False), ({'Via': '1.1 proxy'}, False)])
async def test_a_proxy_is_noticed(make_server: MakeServer, dial: Dial, headers: dict[str, str],
                                  is_direct: bool) -> None:
    """The kernel knows how fast the proxy is, and not the link behind it."""
    server = Recorder()
    await dial((await make_server(listener=server)).port, additional_headers=headers)
    window = (await server.link())._window
    if window._kernel is not None:
        window._set(1e10, 0.0)
        assert bool(window.at_once) is is_direct


async def test_a_burst_of_peers_is_bounded_too(make_server: MakeServer, dial: Dial) -> None:
    """Those that slip through the handshake together are closed with 1013."""
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(max_peers=1))
    peers = await asyncio.gather(*(dial(server.port) for _ in range(5)), return_exceptions=True)
    await recorder.link()
    assert len(recorder.links) == 1
    for peer in peers:
        if not isinstance(peer, BaseException) and peer.id.hex != recorder.links[0].peer_id \
                and peer.local_address[1] != int(recorder.links[0].remote.split(':')[1]):
            await peer.wait_closed()
            assert peer.close_code == 1013


async def test_bearer_token(make_server: MakeServer, dial: Dial) -> None:
    """Right or refused with 401."""
    server = await make_server(security_level='basic', auth_token='s3cret')
    for header in (None, 's3cret', 'Bearer', 'Bearer wrong', 'Basic s3cret', 'Bearer s3cret2',
                   'Bearer \xfc'):
        headers = {} if header is None else {'Authorization': header}
        status, text = await refusal(dial, server, additional_headers=headers)
        assert (status, text) == (401, 'a bearer token is needed\n')
    await dial(server.port, additional_headers={'Authorization': 'bearer s3cret'})


async def test_subprotocols(make_server: MakeServer, dial: Dial) -> None:
    """The server's favourite; none offered is fine; only unknown ones are refused a browser."""
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(subprotocols=('b', 'a')))
    for offered, chosen in ((['x', 'a', 'b'], 'b'), (['a'], 'a'), (None, None)):
        peer = await dial(server.port, subprotocols=offered and [
            Subprotocol(name) for name in offered])
        assert peer.subprotocol == chosen
        assert (await recorder.link()).subprotocol == chosen
        await peer.close()
        await async_wait_until(lambda: not recorder.links)
    # A browser fails without a choice of the server's; so it is told why.
    status, text = await refusal(dial, server, subprotocols=[Subprotocol('x')],
                                 origin=f'http://127.0.0.1:{server.port}')
    assert (status, text) == (400, 'unknown subprotocol; this server speaks b, a\n')


@pytest.mark.parametrize(('offered', 'status'), [
    (['arduino'], 101),     # what a library for microcontrollers offers unless told otherwise
    (['chat', 'superchat'], 101), (['ab.v1'], 101), (['a.v10'], 400), (['a.v2'], 400),
    (['arduino', 'a.v2'], 400), (['a.v2', 'a.v1'], 101), (['a.token.x'], 400)])
async def test_a_program_with_a_foreign_subprotocol(make_server: MakeServer, dial: Dial,
                                                    offered: list[str], status: int) -> None:
    """It is let in, with none chosen; another version of what the server speaks is refused."""
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(subprotocols=('a.v1',)))
    names = [Subprotocol(name) for name in offered]
    if status == 101:
        peer = await dial(server.port, subprotocols=names)
        assert peer.subprotocol == ('a.v1' if 'a.v1' in offered else None)
        assert (await recorder.link()).subprotocol == peer.subprotocol
    else:
        assert await refusal(dial, server, subprotocols=names) == (
            400, 'unknown subprotocol; this server speaks a.v1\n')


async def test_a_server_without_subprotocols_ignores_them(make_server: MakeServer,
                                                          dial: Dial) -> None:
    """As the seed's does."""
    server = await make_server()
    peer = await dial(server.port, subprotocols=[Subprotocol('x')])
    assert peer.subprotocol is None


async def test_plain_http(make_server: MakeServer, dial: Dial) -> None:
    """The hook answers GET and HEAD beside WebSockets; what it does not know is 404."""
    async def hook(visitor: Visitor) -> HttpReply | None:
        assert visitor.address == LOOPBACK
        if visitor.path == '/index.html?x=1':
            return HttpReply(200, {'Content-Type': 'text/html'}, visitor.headers['x-a'].encode())
        return None

    server = await make_server(options=ServerOptions(http=hook))
    request = ' /index.html?x=1 HTTP/1.1\nHost: [::1]:1\nX-A: one\nx-a: two\n\n'
    status, headers, body = await http(server.port, 'GET' + request)
    assert (status, body) == (200, b'one, two')
    assert (headers['content-type'], headers['content-length'], headers['connection'],
            headers['server']) == ('text/html', '8', 'close', 'ws_bridge')
    status, headers, body = await http(server.port, 'GET /other HTTP/1.1\nHost: localhost\n\n')
    assert (status, body) == (404, b'there is nothing here\n')
    await dial(server.port, '/index.html')


async def test_plain_http_without_hook(make_server: MakeServer) -> None:
    """A browser is told that this is a WebSocket."""
    server = await make_server()
    status, headers, _ = await http(server.port, 'GET / HTTP/1.1\nHost: x\n\n')
    assert (status, headers['upgrade']) == (426, 'websocket')


async def test_a_hook_that_fails(make_server: MakeServer, dial: Dial,
                                 caplog: pytest.LogCaptureFixture) -> None:
    """Its fault is a 500 and in the log, with each version of the library; the server goes on."""
    async def hook(visitor: Visitor) -> HttpReply | None:
        raise RuntimeError('fault of the hook')

    server = await make_server(options=ServerOptions(http=hook, admit=hook))
    for number in range(2):
        status, _, body = await http(server.port, 'GET / HTTP/1.1\nHost: localhost\n\n')
        assert (status, body) == (500, b'internal error; the log of the bridge has more\n')
        assert (await refusal(dial, server))[0] == 500
        assert [record.name for record in caplog.records] == [
            'ws_bridge.transport.handshake'] * 2 * (number + 1)
    assert caplog.text.count('RuntimeError: fault of the hook') == 4


async def test_a_handshake_that_never_comes(make_server: MakeServer) -> None:
    """It is cut after the timeout."""
    server = await make_server(timeout=0.1)
    reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
    writer.write(b'GET / HTTP/1.1\r\n')
    assert await asyncio.wait_for(reader.read(), 5) == b''
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize('request_text', [
    'nonsense\n\n', 'GET / HTTP/1.1\n' + 'A: b\n' * 1000 + '\n',
    'GET /' + 'x' * 100_000 + ' HTTP/1.1\n\n', '\x16\x03\x01\n\n'])
async def test_hostile_requests(make_server: MakeServer, dial: Dial, request_text: str) -> None:
    """They are refused or cut, and others are served."""
    server = await make_server()
    reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
    writer.write(request_text.replace('\n', '\r\n').encode())
    with contextlib.suppress(ConnectionError):
        assert b' 101 ' not in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await asyncio.wait((asyncio.ensure_future(writer.wait_closed()),))
    await dial(server.port)
