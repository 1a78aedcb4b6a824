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
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import socket
import ssl
from typing import Any

import pytest
from support.certificates import Pair
from support.helpers import async_wait_until, PATIENCE
from support.transport_support import Dial, http, MakeServer

from ws_bridge.transport.handshake import embedding_fault
from ws_bridge.transport.options import (
    HttpReply,
    HttpStreaming,
    PartSender,
    ServerOptions,
    Visitor,
)
from ws_bridge.transport.streaming import HttpStream, MOST_SAID

PART = b'x' * 300_000


class Source:
    """Answers everything by a stream."""

    def __init__(self) -> None:
        self.streams: list[HttpStream] = []
        self.ended: list[HttpStream] = []

    async def answer(self, visitor: Visitor) -> HttpReply | HttpStreaming | None:
        """Answer a request."""
        return HttpStreaming({'Content-Type': 'text/x-parts'}, self._begin)

    def _begin(self, stream: PartSender) -> None:
        assert isinstance(stream, HttpStream)
        self.streams.append(stream)
        stream.on_end = lambda: self.ended.append(stream)

    async def stream(self, number: int = 0) -> HttpStream:
        """Wait for a viewer."""
        await async_wait_until(lambda: len(self.streams) > number, why='a viewer')
        return self.streams[number]


@asynccontextmanager
async def viewer(port: int, head: str = '', **options: Any) -> AsyncIterator[
        tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Ask, and read the head of the answer."""
    reader, writer = await asyncio.open_connection('127.0.0.1', port, **options)
    try:
        writer.write(f'GET /s HTTP/1.1\r\nHost: localhost\r\n{head}\r\n'.encode())
        answer = await asyncio.wait_for(reader.readuntil(b'\r\n\r\n'), PATIENCE)
        assert answer.startswith(b'HTTP/1.1 200 ')
        for line in (b'Connection: close', b'Content-Type: text/x-parts', b'Server: ws_bridge'):
            assert line in answer
        assert b'content-length' not in answer.lower()
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_it_goes_on_beyond_the_handshake(make_server: MakeServer, dial: Dial) -> None:
    """Parts come one after the other; it counts as a connection, and no more as a handshake."""
    source = Source()
    server = await make_server(options=ServerOptions(
        http=source.answer, max_handshakes=1, max_peers_per_address=2, handshake_timeout=0.5))
    async with viewer(server.port) as (reader, _):
        stream = await source.stream()
        await async_wait_until(lambda: not server._listening._crowd._connecting)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await async_wait_until(lambda: loop.time() > begin + 0.5)
        for part in (b'first', PART, b'last'):
            stream.put(part)
            assert await asyncio.wait_for(reader.readexactly(len(part)), PATIENCE) == part
        assert (stream.sent, stream.dropped) == (3, 0)
        await dial(server.port)             # the handshake has made room
        status, _, body = await http(server.port, 'GET / HTTP/1.1\nHost: localhost\n\n')
        assert status == 429 and b'connections of this address' in body
        assert len(source.streams) == 1
    await async_wait_until(lambda: source.ended == [stream])
    assert not stream.is_open
    stream.put(b'nobody')


async def test_a_slow_viewer_gets_the_newest_and_costs_nobody_anything(
        make_server: MakeServer) -> None:
    source = Source()
    server = await make_server(options=ServerOptions(http=source.answer))
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ('127.0.0.1', server.port))
        await loop.sock_sendall(slow, b'GET /s HTTP/1.1\r\nHost: localhost\r\n\r\n')
        stuck = await source.stream()
        async with viewer(server.port) as (reader, _):
            fast = await source.stream(1)
            for number in range(20):
                part = bytes([number]) * len(PART)
                stuck.put(part)
                fast.put(part)
                assert await asyncio.wait_for(reader.readexactly(len(part)), PATIENCE) == part
            assert (fast.sent, fast.dropped) == (20, 0)
            assert stuck.dropped == 18
            await fast.drained()
            waiting = asyncio.create_task(stuck.drained())
            assert stuck._transport.get_write_buffer_size() <= len(PART)
            data = await loop.sock_recv(slow, 1)
            assert not waiting.done()
            while not data.endswith(bytes([19]) * len(PART)):
                data += await asyncio.wait_for(loop.sock_recv(slow, 1 << 20), PATIENCE)
            assert set(data.partition(b'\r\n\r\n')[2]) == {0, 19}
            await asyncio.wait_for(waiting, PATIENCE)
            assert stuck.sent == 2


async def test_a_viewer_that_takes_nothing_is_cut(make_server: MakeServer) -> None:
    source = Source()
    server = await make_server(options=ServerOptions(http=source.answer, ping_timeout=0.2))
    _, writer = await asyncio.open_connection('127.0.0.1', server.port, limit=1)
    writer.write(b'GET /s HTTP/1.1\r\nHost: localhost\r\n\r\n')
    stream = await source.stream()
    stream.put(bytes(1 << 25))
    await asyncio.wait_for(stream.drained(), PATIENCE)
    await async_wait_until(lambda: source.ended == [stream])
    assert stream.sent == 0
    writer.transport.abort()


@asynccontextmanager
async def taker_of_a_page(port: int) -> AsyncIterator[socket.socket]:
    """Ask for a page, and take nothing of it yet."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ('127.0.0.1', port))
        await loop.sock_sendall(slow, b'GET /p HTTP/1.1\r\nHost: localhost\r\n\r\n')
        yield slow


async def a_page(visitor: Visitor) -> HttpReply:
    """Answer with more than a kernel holds."""
    return HttpReply(200, {'Content-Type': 'text/x-page'}, PART * 20)


async def test_a_page_comes_as_slowly_as_it_is_taken(make_server: MakeServer) -> None:
    """Behind a thin link it takes longer than any handshake."""
    server = await make_server(options=ServerOptions(
        http=a_page, handshake_timeout=0.3, close_timeout=0.2))
    loop = asyncio.get_running_loop()
    async with taker_of_a_page(server.port) as slow:
        data = await asyncio.wait_for(loop.sock_recv(slow, 1), PATIENCE)
        begin = loop.time()
        await async_wait_until(lambda: loop.time() > begin + 0.8)
        while more := await asyncio.wait_for(loop.sock_recv(slow, 1 << 20), PATIENCE):
            data += more
    head, _, body = data.partition(b'\r\n\r\n')
    assert head.startswith(b'HTTP/1.1 200 ')
    assert f'Content-Length: {len(PART) * 20}'.encode() in head
    assert body == PART * 20
    await async_wait_until(lambda: not server._listening._crowd._tickets)


async def test_who_takes_nothing_of_a_page_is_cut(make_server: MakeServer) -> None:
    server = await make_server(options=ServerOptions(http=a_page, ping_timeout=0.2))
    async with taker_of_a_page(server.port):
        await async_wait_until(lambda: bool(server._listening._crowd._tickets))
        await async_wait_until(lambda: not server._listening._crowd._tickets)


async def test_one_that_says_too_much_is_cut(make_server: MakeServer) -> None:
    source = Source()
    server = await make_server(options=ServerOptions(http=source.answer))
    async with viewer(server.port) as (_, writer):
        stream = await source.stream()
        writer.write(bytes(MOST_SAID + 1))
        await async_wait_until(lambda: source.ended == [stream])


async def test_it_ends_with_the_server_and_when_it_is_closed(make_server: MakeServer) -> None:
    source = Source()
    server = await make_server(options=ServerOptions(http=source.answer))
    async with viewer(server.port), viewer(server.port):
        (await source.stream(0)).close()
        await async_wait_until(lambda: source.ended == source.streams[:1])
        await server.disconnect()
        await async_wait_until(lambda: source.ended == source.streams)


async def test_the_head_alone(make_server: MakeServer) -> None:
    """Before websockets 16 only GET comes to the hook, and 14 ends the connection instead."""
    source = Source()
    server = await make_server(options=ServerOptions(http=source.answer))
    reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
    writer.write(b'HEAD /s HTTP/1.1\r\nHost: localhost\r\n\r\n')
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.transport.abort()
    assert not answer or answer.split()[1] in (b'200', b'400', b'405')
    assert not source.streams


async def test_over_tls(make_server: MakeServer, certificates: dict[str, Pair]) -> None:
    source = Source()
    pair = certificates['server']
    server = await make_server(security_level='encrypted', ssl_cert_path=pair.cert,
                               ssl_key_path=pair.key, options=ServerOptions(http=source.answer))
    context = ssl.create_default_context(cafile=certificates['authority'].cert)
    async with viewer(server.port, ssl=context) as (reader, _):
        stream = await source.stream()
        for part in (PART, b'last'):
            stream.put(part)
            assert await asyncio.wait_for(reader.readexactly(len(part)), PATIENCE) == part
    await async_wait_until(lambda: source.ended == [stream])


@pytest.mark.parametrize(('headers', 'origins', 'is_fine'), [
    ({}, None, True),       # a program
    ({'sec-fetch-site': 'none'}, None, True), ({'sec-fetch-site': 'same-origin'}, None, True),
    ({'sec-fetch-site': 'cross-site'}, None, False),
    ({'sec-fetch-site': 'same-site'}, None, False),
    ({'sec-fetch-site': 'cross-site'}, ('http://ui',), False),
    ({'sec-fetch-site': 'cross-site'}, ('*',), True),
    ({'referer': 'http://robot:8000/page?x'}, None, True),
    ({'referer': 'http://evil/page', 'sec-fetch-site': 'cross-site'}, None, False),
    ({'referer': 'http://evil/page'}, None, False), ({'origin': 'http://evil'}, None, False),
    ({'referer': 'http://ui/page', 'sec-fetch-site': 'cross-site'}, ('http://ui',), True),
    ({'origin': 'http://ui', 'referer': 'http://evil/'}, ('http://ui',), True),
    ({'origin': 'http://evil', 'referer': 'http://ui/'}, ('http://ui',), False),
    ({'referer': 'http://['}, None, True), ({'referer': 'nonsense'}, None, True)])
def test_which_pages_may_show_it(headers: dict[str, str], origins: tuple[str, ...] | None,
                                 is_fine: bool) -> None:
    fault = embedding_fault({'host': 'robot:9090', **headers}, ServerOptions(origins=origins),
                            '10.0.0.1')
    assert (fault is None) is is_fine
