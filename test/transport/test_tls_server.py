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
"""A peer that leaves: nothing more is written to it, its end is told once, its memory is free."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
import gc
import os
import socket
import ssl
import struct
import sys
from typing import Any
import weakref

import pytest
from support.certificates import Pair
from support.helpers import async_wait_until
from support.transport_support import MakeClient, MakeServer, Recorder
from websockets.utils import accept_key

from ws_bridge.session.queue import Parts
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import ServerOptions

LARGE = 8_000_000
"""Bytes: more than the sockets of both sides take."""
MANY = 200
ABNORMAL = 1006
DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate\r\n'
HOST = '127.0.0.1'


class Guest:
    """A peer at a socket of its own, with TLS or without; it reads nothing, and then leaves."""

    def __init__(self, bound: socket.socket) -> None:
        self.socket = bound

    @classmethod
    def visit(cls, port: int, tls: ssl.SSLContext | None, headers: str) -> Guest:
        """Dial a server, with a small buffer so that it is soon full."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect((HOST, port))
        guest = cls(plain if tls is None else tls.wrap_socket(plain, server_hostname=HOST))
        guest.socket.sendall((
            f'GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
            f'{headers}\r\n').encode())
        assert b' 101 ' in guest.head()
        return guest

    @classmethod
    def host(cls, listening: socket.socket, tls: ssl.SSLContext) -> Guest:
        """Accept a client."""
        guest = cls(tls.wrap_socket(listening.accept()[0], server_side=True))
        fields = dict(line.split(': ') for line in guest.head().decode().split('\r\n')[1:-2])
        guest.socket.sendall((
            'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            f'Sec-WebSocket-Accept: {accept_key(fields["Sec-WebSocket-Key"])}\r\n\r\n').encode())
        return guest

    def head(self) -> bytes:
        """Read what is in front of the frames."""
        data = b''
        while not data.endswith(b'\r\n\r\n'):
            data += self.socket.recv(1)
        return data

    def reset(self) -> None:
        """Leave at once, without a word that could wait."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Leave as a process that is killed does."""
        self.socket.close()

    def read_all(self) -> None:
        """Take what comes, to the end."""
        while self.socket.recv(65_536):
            pass

    def fall_silent(self) -> None:
        """Say that nothing more will be said, and keep the connection."""
        self.socket.shutdown(socket.SHUT_WR)


@dataclass
class Visit:
    """A guest, and this side of its connection."""

    guest: Guest
    link: Link
    recorder: Recorder

    def send_large(self) -> weakref.ref[memoryview]:
        """Send a large frame; return what tells whether it is still in memory."""
        payload = memoryview(os.urandom(LARGE))
        self.link.send_stream('large', Parts(b'[', payload, b']'), 1)
        return weakref.ref(payload)

    async def fill(self) -> None:
        """Wait until nothing more can be written."""
        await async_wait_until(lambda: self.link.websocket.paused
                               or self.link.websocket.transport.get_write_buffer_size())

    async def see_end(self) -> None:
        """Wait for the end, which is told once."""
        await self.recorder.end()
        await async_wait_until(lambda: self.link._writer is None and not self.link.queued_bytes)
        assert self.recorder.ends == [(ABNORMAL, '')]


Receive = Callable[[], Awaitable[Visit]]


@pytest.fixture
def tls_server(certificates: dict[str, Pair]) -> dict[str, Any]:
    """Give the configuration of a server with TLS."""
    pair = certificates['server']
    return {'security_level': 'encrypted', 'ssl_cert_path': pair.cert, 'ssl_key_path': pair.key}


@pytest.fixture(params=['plain', 'plain deflate', 'tls', 'tls deflate'])
async def receive(request: pytest.FixtureRequest, make_server: MakeServer,
                  tls_server: dict[str, Any], certificates: dict[str, Pair]
                  ) -> AsyncIterator[Receive]:
    """Give a function that starts a server, and has a guest visit it."""
    opened: list[Guest] = []
    deflate, tls = 'deflate' in request.param, None
    if 'tls' in request.param:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.load_verify_locations(certificates['authority'].cert)

    async def make() -> Visit:
        recorder = Recorder()
        server = await make_server(
            listener=recorder, options=ServerOptions(close_timeout=0.5), compression=deflate,
            **(tls_server if tls is not None else {}))
        opened.append(await asyncio.to_thread(
            Guest.visit, server.port, tls, DEFLATE if deflate else ''))
        return Visit(opened[-1], await recorder.link(), recorder)
    yield make
    for guest in opened:
        guest.close()


@pytest.fixture
async def dialled(make_client: MakeClient, tls_server: dict[str, Any],
                  certificates: dict[str, Pair]) -> AsyncIterator[Visit]:
    """Give a connection over TLS that this side has opened."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tls_server['ssl_cert_path'], tls_server['ssl_key_path'])
    recorder = Recorder()
    with socket.create_server((HOST, 0)) as listening:
        guest, _ = await asyncio.gather(
            asyncio.to_thread(Guest.host, listening, tls),
            make_client(listening.getsockname()[1], listener=recorder,
                        security_level='encrypted',
                        settings={'ssl_ca_path': certificates['authority'].cert}))
    yield Visit(guest, await recorder.link(), recorder)
    guest.close()


@pytest.fixture(autouse=True)
def nothing_said(caplog: pytest.LogCaptureFixture) -> Any:
    """See that no library complains: asyncio does where a lost socket is written to."""
    yield
    assert [each.getMessage() for each in caplog.get_records('call')
            if each.name.startswith(('asyncio', 'websockets'))] == []


async def test_small_frames_after_a_reset(receive: Receive) -> None:
    """Which the loop has not seen yet."""
    visit = await receive()
    visit.guest.reset()
    for _ in range(MANY):
        visit.link.send(b'small')
    await visit.see_end()


async def test_small_frames_to_a_server_after_a_reset(dialled: Visit) -> None:
    dialled.guest.reset()
    for _ in range(MANY):
        dialled.link.send(b'small')
    await dialled.see_end()


async def test_a_large_frame_after_a_reset(receive: Receive) -> None:
    """It is cut, and is not written to its end."""
    visit = await receive()
    visit.guest.reset()
    large = visit.send_large()
    await visit.see_end()
    assert visit.link.bytes_out < LARGE / 2
    await async_wait_until(lambda: large() is None)


async def test_a_server_leaves_while_much_waits(dialled: Visit) -> None:
    """What was lost waits no more, and who would read on may say so."""
    dialled.send_large()
    await dialled.fill()
    dialled.guest.reset()
    await dialled.see_end()
    transport = dialled.link.websocket.transport
    assert transport.get_write_buffer_size() == 0
    transport.pause_reading()
    transport.resume_reading()


@pytest.mark.parametrize('leave', [Guest.reset, Guest.close, Guest.fall_silent])
async def test_who_leaves_while_much_waits(receive: Receive,
                                           leave: Callable[[Guest], None]) -> None:
    """In the middle of a large frame, with small ones behind it."""
    visit = await receive()
    large = visit.send_large()
    for _ in range(MANY):
        visit.link.send(b'small')
    await visit.fill()
    leave(visit.guest)
    await visit.see_end()
    await async_wait_until(lambda: large() is None)


async def test_who_falls_silent_and_takes_what_waits(receive: Receive) -> None:
    """The socket closes as soon as the last of it has left."""
    visit = await receive()
    visit.send_large()
    await visit.fill()
    visit.guest.fall_silent()
    await asyncio.to_thread(visit.guest.read_all)
    await visit.see_end()
    visit.link.abort('late')


async def test_a_reset_between_two_writes(receive: Receive,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited for the socket has left, and what waits in TLS finds it lost."""
    visit = await receive()
    for size in (LARGE, 1000):
        visit.link.websocket.write(os.urandom(size))
    calls = 0

    def send(bound: socket.socket, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ConnectionResetError
        return len(data)
    monkeypatch.setattr('ws_bridge.transport.accepting.AcceptedSocket.send', send, raising=False)
    reading = asyncio.create_task(asyncio.to_thread(visit.guest.read_all))
    await async_wait_until(lambda: calls)
    visit.link.websocket.write(b'more')
    await visit.see_end()
    await asyncio.wait([reading])
    reading.exception()


async def test_buffers_of_tls_do_not_wait_for_the_garbage(
        receive: Receive, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay as large as the most that ever waited in them."""
    make, buffers = ssl.MemoryBIO, []

    def noted() -> ssl.MemoryBIO:
        buffers.append(make())
        return buffers[-1]
    monkeypatch.setattr('ssl.MemoryBIO', noted)
    gc.collect()
    gc.disable()
    try:
        visit = await receive()
        first = buffers[:]
        del buffers[:]
        visit.send_large()
        await visit.fill()
        visit.guest.reset()
        await visit.see_end()
        await async_wait_until(      # only the list and the call have them
            lambda: all(sys.getrefcount(first[index]) <= 2 for index in range(len(first))),
            why=lambda: f'{[sys.getrefcount(first[index]) for index in range(len(first))]}')
    finally:
        gc.enable()
