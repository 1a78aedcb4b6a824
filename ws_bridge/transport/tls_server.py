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
TLS of connections that are accepted: small buffers, and handshakes one at a time.

asyncio's own gives each connection a buffer of 256 kB before a byte has come, and does the
arithmetic of every handshake for which something came in one round of the loop: a millisecond or
two each, in which no peer is served.
"""
from __future__ import annotations

import asyncio
from asyncio.sslproto import SSLProtocol
from collections import deque
from collections.abc import Callable
from functools import partial
import inspect
import ssl
import sys
from typing import Any

from ws_bridge.transport.crowd import CountedConnection, forget_itself, READ_SIZE

#: Python 3.11 brought a time for the end of TLS.
_HAS_SHUTDOWN_TIMEOUT = 'ssl_shutdown_timeout' in inspect.signature(SSLProtocol).parameters


class TlsTurns:
    """
    Does one thing in a round of the loop, in order, and then nothing for as long as that took.

    What a peer asks for takes several rounds, a command five: each would wait for a step.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._next_at = 0.0     # loop time, s
        self._waiting: deque[Callable[[], None]] = deque()

    def __repr__(self) -> str:
        return f'TlsTurns({len(self._waiting)} waiting)'

    def add(self, step: Callable[[], None]) -> None:
        """Do something when its turn comes."""
        self._waiting.append(step)
        if len(self._waiting) == 1:
            self._loop.call_at(self._next_at, self._next)

    def _next(self) -> None:
        begin = self._loop.time()
        try:
            self._waiting[0]()
        finally:
            self._waiting.popleft()
            end = self._loop.time()
            self._next_at = end + (end - begin)
            if self._waiting:
                self._loop.call_at(self._next_at, self._next)


class TlsProtocol(SSLProtocol):
    """
    Stands between a socket and its connection.

    :param connection: gets what was decrypted, and is made known when the handshake has ended.
    :param turns: shared by all connections of a server.
    :param handshake_timeout: s.
    :param close_timeout: how long the peer may take to confirm the end, s.
    """

    #: Of the buffer, bytes.
    max_size = READ_SIZE

    def __init__(self, connection: CountedConnection, context: ssl.SSLContext, turns: TlsTurns,
                 handshake_timeout: float, close_timeout: float) -> None:
        more: dict[str, Any] = {'waiter': None, 'ssl_handshake_timeout': handshake_timeout}
        if _HAS_SHUTDOWN_TIMEOUT:
            more['ssl_shutdown_timeout'] = close_timeout
        super().__init__(asyncio.get_running_loop(), connection, context, server_side=True, **more)
        #: What websockets looks for in what it takes for its connection.
        self.protocol = connection.protocol
        self._connection = connection
        self._turns = turns
        self._socket_transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket_transport = transport
        super().connection_made(transport)
        if self._connection.crowd.of_transport(transport) is None:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        transport = self._socket_transport
        self._socket_transport = None
        super().connection_lost(exc)
        forget_itself(transport)
        # The transport of the connection refers to this, and that is found as garbage late: what
        # is large goes now.
        self._extra.pop('ssl_object', None)
        for name in ('_sslobj', '_ssl_buffer', '_ssl_buffer_view', '_connection'):
            self.__dict__.pop(name, None)
        # These stay as large as the most that ever waited in them; Python 3.10 has none here.
        if hasattr(self, '_outgoing'):
            self._incoming = self._outgoing = ssl.MemoryBIO()
            self._write_buffer_size = 0

    def resume_writing(self) -> None:
        transport = self._socket_transport
        if transport is None or transport.is_closing():
            super().resume_writing()
        else:       # a transport whose socket is lost in this call tells its end twice
            self._loop.call_soon(self._resume_writing)

    def _resume_writing(self) -> None:
        if self._socket_transport is not None:
            super().resume_writing()

    if sys.version_info >= (3, 11):
        def buffer_updated(self, nbytes: int) -> None:
            if self._connection.is_connected:
                super().buffer_updated(nbytes)
            else:
                self._wait(partial(super().buffer_updated, nbytes))
    else:
        def data_received(self, data: bytes) -> None:
            if self._connection.is_connected:
                super().data_received(data)
            else:
                self._wait(partial(super().data_received, data))

    def _wait(self, step: Callable[[], None]) -> None:
        """Do one step of the handshake when its turn comes; until then nothing is read."""
        transport = self._socket_transport
        assert transport is not None
        transport.pause_reading()

        def take() -> None:
            if self._socket_transport is not None and not transport.is_closing():
                transport.resume_reading()
                step()
        self._turns.add(take)
