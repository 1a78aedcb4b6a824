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
The end of a stream at a robot: to the bridge it is the socket of one more peer.

The WebSocket connection of an operator ends here, not at the relay, which has answered its
handshake. So a peer behind a relay has its own queue, its own limits, its own pings: the age of
what it commands is known as that of any other.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
import logging
from typing import Any

from websockets.asyncio.connection import Connection
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from ws_bridge.fleet.carrier import Stream, WINDOW
from ws_bridge.fleet.convoy import CarriedWindow, Convoy, Journey
from ws_bridge.transport.fence import Fenced
from ws_bridge.transport.outbound import Outbound
from ws_bridge.transport.window import Kernel, Window


class CarriedTransport(asyncio.Transport):
    """
    Stands for a socket.

    :param protocol: the connection; told of everything in turns of the loop of its own, as by a
        socket.
    :param convoy: of all who are behind the same relay.
    """

    def __init__(self, protocol: asyncio.Protocol, convoy: Convoy) -> None:
        super().__init__({'peername': ('relay', 0)})
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._stream: Stream | None = None
        self._unread: deque[bytes] = deque()
        self._is_reading = True
        self._is_paused = False
        self._is_closing = False
        self.journey = Journey(convoy, self._loop.time)

    def __repr__(self) -> str:
        return f'<CarriedTransport of {self._stream!r}>'

    def begin(self, stream: Stream) -> None:
        """Begin to be the transport of a connection."""
        self._stream = stream
        self._protocol.connection_made(self)

    @property
    def credit(self) -> int:
        """How many bytes the operator's end has room for."""
        return 0 if self._stream is None else self._stream.credit

    # ---- a transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._stream is not None and not self._is_closing:
            self._stream.write(data)
            self.journey.wrote(len(data))
            self.room_changed()

    def get_write_buffer_size(self) -> int:
        """Return what waits: not what may be under way."""
        if not self._is_paused or self._stream is None:
            return 0
        return max(-self._stream.credit, 1)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: the window of the stream is the limit."""

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._loop.call_soon(self._read_on)

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        """End the stream, after what was written."""
        if not self._is_closing:
            if self._stream is not None:
                self._stream.end()
            self._lose()

    def abort(self) -> None:
        self.close()

    # ---- a port

    def received(self, data: bytes) -> None:
        """Hand bytes on, or keep them while nobody reads: the window bounds them."""
        if self._is_closing:
            return
        if self._unread or not self._is_reading:
            self._unread.append(data)
        else:
            self._hand_on(data)

    def room_changed(self) -> None:
        """Pause or resume the writer."""
        if self._stream is not None:
            self.journey.under_way(WINDOW - self._stream.credit)
        if self._stream is None or self._is_closing or \
                self._is_paused is not self._stream.can_write:
            return
        self._is_paused = not self._is_paused
        if self._is_paused:
            self._protocol.pause_writing()
        else:
            self._protocol.resume_writing()

    def ended(self) -> None:
        """Lose the connection."""
        if not self._is_closing:
            self._lose()

    # ---- inside

    def _hand_on(self, data: bytes) -> None:
        self._protocol.data_received(data)
        if self._stream is not None:
            self._stream.taken(len(data))

    def _read_on(self) -> None:
        while self._unread and self._is_reading and not self._is_closing:
            self._hand_on(self._unread.popleft())

    def _lose(self) -> None:
        self._is_closing = True
        self._unread.clear()
        self._loop.call_soon(self._protocol.connection_lost, None)


class CarriedConnection(Fenced, Connection):
    """
    A WebSocket connection whose handshake was answered elsewhere.

    :param path: of the request.
    :param headers: of the request, as far as anybody here asks for them.
    :param address: where the peer is, without a port, as the relay says.
    :param admitted: what was found of it, as by the hook ``admit`` of a server.
    :param convoy: of all who are behind the same relay.
    :param max_size: of a message, bytes.
    :param close_timeout: how long a closing handshake may take, s.
    """

    def __init__(self, path: str, headers: Mapping[str, str], subprotocol: str | None, *,
                 address: str, admitted: Any, convoy: Convoy, max_size: int,
                 close_timeout: float) -> None:
        protocol = ServerProtocol(state=State.OPEN, max_size=max_size, logger=_LOGGER)
        protocol.subprotocol = None if subprotocol is None else Subprotocol(subprotocol)
        super().__init__(protocol, ping_interval=None, ping_timeout=None,
                         close_timeout=close_timeout)
        self.request = Request(path, Headers(headers))
        self.client_address = address
        self.admitted = admitted
        self._convoy = convoy
        self._link: Outbound | None = None

    def kernel(self) -> Kernel | None:
        """Return how much is under way to the operator."""
        assert isinstance(self.transport, CarriedTransport)
        return self.transport.journey

    def window(self, link: object) -> Window:
        """Return a window that takes the connection of the robot into account."""
        transport = self.transport
        assert isinstance(transport, CarriedTransport)
        assert isinstance(link, Outbound)
        window = CarriedWindow(self, link, self._convoy, lambda: transport.credit)
        self._convoy.join(link, window)
        self._link = link
        return window

    async def send(self, message: Any, text: bool | None = None) -> None:
        """Send what waited; whoever has the same waiting sends it too."""
        if self._link is not None and isinstance(message, bytes):
            self._convoy.share(self._link, message)
        await super().send(message, text=text)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._link is not None:
            self._convoy.leave(self._link)
        super().connection_lost(exc)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # The relay answers the handshake when this end has taken the connection, not before: what
        # the peer says it says after that.
        self.fence = self.loop.time()


_LOGGER = logging.getLogger('websockets.ws_bridge.fleet')
_LOGGER.setLevel(logging.WARNING)
