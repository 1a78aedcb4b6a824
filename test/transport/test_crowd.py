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
"""Connections before they are peers: addresses behind proxies, Host, bounds, what is told."""
from __future__ import annotations

import asyncio
from contextlib import suppress
import platform
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.transport_support import Dial, http, MakeServer, Recorder
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from ws_bridge.addresses import is_in
from ws_bridge.transport.crowd import client_address, Crowd
from ws_bridge.transport.handshake import Handshake, host_fault
from ws_bridge.transport.options import HttpReply, ServerOptions, Visitor
from ws_bridge.transport.turns import Turns


@pytest.mark.parametrize(('remote', 'forwarded', 'proxies', 'address'), [
    ('10.0.0.1', '1.2.3.4', (), '10.0.0.1'), ('10.0.0.1', '', ('10.0.0.1',), '10.0.0.1'),
    ('10.0.0.1', '1.2.3.4', ('10.0.0.1',), '1.2.3.4'),
    ('10.0.0.1', '6.6.6.6, 1.2.3.4', ('10.0.0.1',), '1.2.3.4'),
    ('10.0.0.1', '6.6.6.6, 1.2.3.4, 10.0.0.2', ('10.0.0.0/8',), '1.2.3.4'),
    ('10.0.0.1', 'nonsense', ('10.0.0.1',), '10.0.0.1'),
    ('10.0.0.1', '1.2.3.4, unknown', ('10.0.0.1',), '10.0.0.1'),
    ('10.0.0.1', '10.0.0.2', ('10.0.0.0/8',), '10.0.0.2'),
    ('::1', '[2001:db8::1]', ('::1',), '2001:db8::1'),
    ('1.2.3.4', '9.9.9.9', ('10.0.0.0/8',), '1.2.3.4'), ('', '9.9.9.9', ('::/0',), '')])
def test_client_address(remote: str, forwarded: str, proxies: tuple[str, ...],
                        address: str) -> None:
    """Only what a trusted proxy saw is believed, from the end of the list."""
    headers = {'x-forwarded-for': forwarded} if forwarded else {}
    assert client_address(remote, headers, proxies) == address


def test_networks() -> None:
    assert is_in('10.1.2.3', ('192.168.0.1', '10.0.0.0/8'))
    assert not is_in('11.0.0.1', ('10.0.0.0/8', '::/0'))
    assert not is_in('name', ('10.0.0.0/8',))


@pytest.mark.parametrize(('host', 'hosts', 'is_fine'), [
    ('127.0.0.1:9090', (), True), ('192.168.1.7', (), True), ('[::1]:9090', (), True),
    ('localhost:9090', (), True), ('robot.localhost', (), True),
    (platform.node().upper(), (), True), (f'{platform.node()}.local:1', (), True),
    ('evil.example', (), False), ('127.0.0.1.evil.example', (), False), ('', (), False),
    ('[', (), False), ('a, b', (), False), ('Robot.example:1', ('robot.example',), True),
    ('robot.example', ('ROBOT.example',), True), ('127.0.0.1', ('robot.example',), False)])
def test_hosts(host: str, hosts: tuple[str, ...], is_fine: bool) -> None:
    assert (host_fault(host, hosts) is None) is is_fine


async def test_a_rebound_name_is_refused(make_server: MakeServer, dial: Dial) -> None:
    """A page of a name that points here gives that name as Origin and as Host."""
    server = await make_server()
    lines = '\n'.join((
        'GET / HTTP/1.1', 'Host: evil.example:80', 'Origin: http://evil.example:80',
        'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=='))
    assert (await http(server.port, lines + '\n\n'))[0] == 403
    await dial(server.port, origin=Origin('http://127.0.0.1'))
    options = ServerOptions()
    handshake = Handshake(options, None, lambda: 0, Crowd(options), Turns())
    for host, status in (('evil.example', 421), ('192.168.1.7', None), (platform.node(), None)):
        visitor = Visitor('1.2.3.4', '/', {'host': host, 'origin': f'http://{host}'})
        reply = handshake._refuse(visitor, '192.168.1.7')
        assert (reply.status if reply else None) == status


async def test_hosts_hold_for_programs_and_pages_too(make_server: MakeServer, dial: Dial) -> None:
    async def page(visitor: Visitor) -> HttpReply:
        return HttpReply(200)
    told: list[tuple[str, str]] = []
    server = await make_server(options=ServerOptions(
        hosts=('robot',), http=page, refused=lambda *why: told.append(why)))
    with pytest.raises(InvalidStatus) as caught:
        await dial(server.port)
    assert caught.value.response.status_code == 421
    for host, status in (('robot', 200), ('other', 421)):
        assert (await http(server.port, f'GET / HTTP/1.1\nHost: {host}\n\n'))[0] == status
    assert told == [('host', '127.0.0.1')] * 2


@pytest.mark.parametrize(('one', 'same', 'other'), [
    ('1.1.1.1', '1.1.1.1', '2.2.2.2'),
    ('2001:db8::1', '2001:db8::2', '2001:db8:0:1::1')])     # an IPv6 customer has a /64
async def test_connections_of_one_address(make_server: MakeServer, dial: Dial, one: str,
                                          same: str, other: str) -> None:
    """They are counted for the address that a proxy names, and counted off at their end."""
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(
        max_peers_per_address=2, trusted_proxies=('127.0.0.1',)))

    async def come(address: str) -> Any:
        return await dial(server.port, additional_headers={'X-Forwarded-For': address})
    first = await come(one)
    await come(same)
    with pytest.raises(InvalidStatus) as caught:
        await come(one)
    assert caught.value.response.status_code == 429
    await come(other)
    await async_wait_until(lambda: len(recorder.links) == 3)
    assert [link.address for link in recorder.links] == [one, same, other]
    await first.close()
    await recorder.end()
    await come(same)


async def test_handshakes_at_the_same_time(make_server: MakeServer, dial: Dial) -> None:
    """One address can hold only half of them; the rest is cut at once, peers are not."""
    told: list[str] = []
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(
        max_handshakes=8, handshake_timeout=0.5, refused=lambda why, _: told.append(why)))
    peer = await dial(server.port)
    slow = [await asyncio.open_connection('127.0.0.1', server.port) for _ in range(10)]
    await async_wait_until(lambda: told.count('handshakes') == 6)
    other = await dial(server.port, local_addr=('127.0.0.9', 0))
    await async_wait_until(lambda: told.count('handshake') == 4, why=lambda: str(told))
    await dial(server.port)
    for each in (peer, other):
        await asyncio.wait_for(await each.ping(), 5)
    for _, writer in slow:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_what_is_no_http_is_told_but_not_logged(
        make_server: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    server = await make_server(options=ServerOptions(refused=lambda why, _: told.append(why)))
    for junk in (b'\x16\x03\x01\x02\x00junk\r\n\r\n', b'GET / HTTP/1.1\r\nA\x00: b\r\n\r\n',
                 b'GET / HTTP/1.1\r\nno colon\r\n\r\n', b'POST / HTTP/1.1\r\n\r\n', b'\r\n\r\n'):
        reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
        writer.write(junk)
        await reader.read()
        writer.close()
    await async_wait_until(lambda: len(told) >= 4)
    assert set(told) == {'handshake'}
    assert 'handshake failed' not in caplog.text


async def test_admit(make_server: MakeServer, dial: Dial) -> None:
    """What the hook returns is kept with the link, or is the refusal."""
    seen: list[Visitor] = []

    async def admit(visitor: Visitor) -> object:
        seen.append(visitor)
        return HttpReply(403) if visitor.path == '/no' else visitor.path
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(admit=admit))
    await dial(server.port, '/yes', additional_headers={'Authorization': 'secret'})
    assert (await recorder.link()).admitted == '/yes'
    with pytest.raises(InvalidStatus):
        await dial(server.port, '/no')
    assert (seen[0].address, seen[0].is_secure, seen[0].certificate) == (
        '127.0.0.1', False, None)
    assert 'secret' not in repr(seen)
