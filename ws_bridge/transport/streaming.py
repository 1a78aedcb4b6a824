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
"""
Answers to plain HTTP requests that go on: parts of which a slow viewer gets the newest.

``websockets`` sends an answer in one piece, and then ends the connection, within the time of a
handshake. So a stream takes the socket over (:meth:`.CountedConnection.hand_over`) and writes the
answer itself. One part is being written, one waits; a newer one takes its place.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
import socket

from ws_bridge.transport.crowd import forget_itself
from ws_bridge.transport.window import Kernel, Window

MOST_SAID = 16_384
"""A viewer has nothing to say: one that sends more bytes is cut."""
START = 6_000
"""As :data:`.window.START`: nobody drives by this connection, and a page is to load soon."""
_IDLE, _EVERY, _TIMES = 10, 5, 3
"""When and how often the kernel asks a viewer whether it is there, while nothing is sent; s."""


class HttpStream(asyncio.Protocol):
    """
    One viewer.

    :param patience: for how long it may take nothing, s; then it is cut.
    :ivar dropped: parts that gave way to newer ones.
    :ivar sent: parts that were written.
    :ivar on_end: called once, when the connection has ended.
    """

    def __init__(self, patience: float) -> None:
        self.dropped = self.sent = 0
        self.on_end: Callable[[], None] = _ignore
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._window: Window
        self._next: bytes | None = None
        self._writer: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._has_ended = False
        self._said = self._written = 0

    def __repr__(self) -> str:
        return f'HttpStream(sent={self.sent}, dropped={self.dropped})'

    def begin(self, transport: asyncio.Transport, head: bytes) -> None:
        """Take a socket over, and begin the answer."""
        self._transport = transport
        transport.set_write_buffer_limits(high=1, low=0)    # 0 would pause TLS for ever
        sock = transport.get_extra_info('socket')
        self._window = Window(Kernel.of(sock), START)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, 'TCP_KEEPIDLE') and sock.family in (socket.AF_INET, socket.AF_INET6):
            for option, value in ((socket.TCP_KEEPIDLE, _IDLE), (socket.TCP_KEEPINTVL, _EVERY),
                                  (socket.TCP_KEEPCNT, _TIMES)):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        transport.write(head)

    @property
    def is_open(self) -> bool:
        """Whether parts can still be sent."""
        return not self._has_ended and not self._transport.is_closing()

    def put(self, part: bytes) -> None:
        """Send a part; one that still waits gives way to it. Never waits."""
        if not self.is_open:
            return
        if self._writer is not None:
            self.dropped += self._next is not None
            self._next = part
        elif self._writable.is_set() and len(part) <= self._window.most and \
                self._window.has_room(0, self._written):
            self._transport.write(part)
            self._written += len(part)
            self.sent += 1
        else:
            self._writer = self._loop.create_task(self._write(part))

    async def drained(self) -> None:
        """Wait until what was put is written, or lost with the connection."""
        if self._writer is not None:
            await asyncio.wait((self._writer,))

    async def end(self) -> None:
        """End the answer as soon as all of it was taken, or nothing was for too long."""
        await self.drained()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._writable.wait(), self._patience)
        self.close()

    def close(self) -> None:
        """End the answer; what was not taken yet is lost."""
        if self.is_open:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._said += len(data)
        if self._said > MOST_SAID:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = True
        self._writable.set()
        forget_itself(self._transport)
        self.on_end()
        self.on_end = _ignore

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _write(self, part: bytes | None) -> None:
        """Write a part, and those that come meanwhile, as fast as the viewer takes them."""
        try:
            while part is not None and self.is_open:
                at = 0
                while at < len(part) and self.is_open:
                    most = await asyncio.wait_for(self._room(), self._patience)
                    self._transport.write(memoryview(part)[at:at + most])
                    self._written += min(most, len(part) - at)
                    at += most
                self.sent += 1
                part, self._next = self._next, None
            self._window.rest(self._loop.time())
        except (asyncio.TimeoutError, OSError):     # it takes nothing, or was reset
            self._transport.abort()
        finally:
            self._writer = None

    async def _room(self) -> int:
        """Wait until something may be written; return how many bytes."""
        await self._writable.wait()
        return await self._window.room(self._transport, self._loop.time)


def _ignore() -> None:
    """Do nothing."""
