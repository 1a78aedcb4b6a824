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
"""A listener that remembers, and a peer on a bare socket that does as little as it likes."""
from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine
import os
import socket
from typing import Any

from support.helpers import async_wait_until, PATIENCE
from websockets.asyncio.client import ClientConnection

from ws_bridge import WebSocketClient, WebSocketServer
from ws_bridge.transport.link import Link

# What the fixtures of test/transport/conftest.py give.
MakeServer = Callable[..., Awaitable[WebSocketServer]]
MakeClient = Callable[..., Awaitable[WebSocketClient]]
Dial = Callable[..., Coroutine[Any, Any, ClientConnection]]
Bare = Callable[[int], Awaitable['BarePeer']]


class Recorder:
    """Remembers what a transport tells its listener."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.frames: list[str | bytes] = []
        self.ends: list[tuple[int, str]] = []

    def opened(self, link: Link) -> None:
        """Remember a link."""
        self.links.append(link)

    def received(self, link: Link, data: str | bytes) -> None:
        """Remember a frame."""
        self.frames.append(data)

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Remember an end."""
        self.links.remove(link)
        self.ends.append((code, reason))

    async def link(self) -> Link:
        """Wait for a link."""
        await async_wait_until(lambda: self.links, why='a link')
        return self.links[-1]

    async def end(self) -> tuple[int, str]:
        """Wait for an end."""
        await async_wait_until(lambda: self.ends, why='the end of a link')
        return self.ends[-1]


TEXT, BINARY, PING, PONG = 1, 2, 9, 10


def masked(opcode: int, payload: bytes, mask: bytes = bytes(4), *, is_last: bool = True) -> bytes:
    """Return a frame of a client; ``mask`` of 4 bytes."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, 'big')
    data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) \
        if any(mask) else payload
    return bytes([0x80 * is_last | opcode]) + head + mask + data


class BarePeer:
    """A socket that has shaken hands and then neither reads nor answers pings by itself."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.socket = socket.socket()

    async def shake_hands(self, receive_buffer: int = 4096) -> BarePeer:
        """Connect, with a small buffer so that it is soon full."""
        loop = asyncio.get_running_loop()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setblocking(False)
        await loop.sock_connect(self.socket, ('127.0.0.1', self._port))
        key = base64.b64encode(os.urandom(16)).decode()
        await loop.sock_sendall(self.socket, (
            f'GET / HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n'
            f'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
            f'Sec-WebSocket-Key: {key}\r\n\r\n').encode())
        reply = b''
        while b'\r\n\r\n' not in reply:
            reply += await loop.sock_recv(self.socket, 1)
        assert b' 101 ' in reply, reply
        return self

    async def send(self, data: bytes) -> None:
        """Send bytes, in one segment where they are few."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def next_ping(self) -> bytes:
        """Return the payload of the next frame, which is a ping."""
        head = await self._read(2)
        assert head[0] == 0x80 | PING, head
        return await self._read(head[1])

    async def _read(self, size: int) -> bytes:
        data = b''
        while len(data) < size:
            data += await asyncio.get_running_loop().sock_recv(self.socket, size - len(data))
        return data

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


async def http(port: int, request: str) -> tuple[int, dict[str, str], bytes]:
    """Send one plain HTTP request; return status, headers and body."""
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    try:
        writer.write(request.replace('\n', '\r\n').encode())
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b'\r\n\r\n')
    lines = head.decode().split('\r\n')
    headers = {name.lower(): value for name, value in
               (line.split(': ', 1) for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body
