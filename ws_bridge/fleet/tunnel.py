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
"""The end of a stream at an operator's socket, which a relay holds; and two streams in a row."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ws_bridge.fleet.carrier import Stream
from ws_bridge.transport.options import Carried
from ws_bridge.transport.window import Kernel, NOT_SENT

if TYPE_CHECKING:
    from ws_bridge.transport.fence import Fenced

LITTLE = 1
"""What may wait for a socket that has taken everything, bytes: 0 pauses TLS for ever."""


class Tunnel(Carried, asyncio.Protocol):
    """
    Carries the bytes of one connection, from the answer to its handshake on.

    What the socket takes is told to the robot when it has left, so what waits is at the robot.

    :ivar stream: to the robot.
    :ivar on_end: called once, when it carries nothing more.

    :param network: of the operator.
    :param only_stops: it is one beside another one of the operator's, and gives way.
    """

    def __init__(self, network: str = '', *, only_stops: bool = False) -> None:
        self.network = network
        self.only_stops = only_stops
        self.stream: Stream | None = None
        self.on_end: Callable[[Tunnel], None] = _ignore
        self._timer: asyncio.TimerHandle | None = None
        self._websocket: Fenced | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._unwritten = 0
        self._has_ended = False
        self._is_reading = True
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f'<Tunnel of {self.stream!r}>'

    def expect(self, timeout: float) -> None:
        """End, unless there is something to carry within ``timeout`` s."""
        self._timer = asyncio.get_running_loop().call_later(timeout, self.close)

    async def carry(self, websocket: Fenced) -> None:
        """Carry until either end leaves; the handshake was answered, and nothing was read yet."""
        if self._timer is not None:
            self._timer.cancel()
        transport = self._transport = websocket.transport
        self._websocket = websocket
        # What was sent before the answer can be of any age: no client does that.
        if self._has_ended or websocket.fences or websocket.protocol.reader.buffer:
            self.close()
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=LITTLE, low=0)
        kernel = Kernel.of(transport.get_extra_info('socket'))
        if kernel is not None:
            kernel.take(NOT_SENT)
        early, self._early = self._early, []
        for data in early:
            self._write(data)
        self.room_changed()
        await asyncio.shield(self._done)

    def close(self) -> None:
        """End both ends at once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    # ---- a port

    def received(self, data: bytes) -> None:
        """Give the operator what comes from the robot."""
        if self._transport is None:
            self._early.append(data)
        else:
            self._write(data)

    def room_changed(self) -> None:
        """Read from the operator, or do not, as the robot takes it."""
        transport, stream = self._transport, self.stream
        if transport is None or stream is None or transport.is_closing() or \
                self._is_reading is stream.can_write:
            return
        self._is_reading = stream.can_write
        if self._is_reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def ended(self) -> None:
        """Let the operator have what came, then end."""
        self._end()
        if self._transport is not None:
            self._transport.close()

    # ---- the protocol of the operator's socket

    def data_received(self, data: bytes) -> None:
        """Give the robot what comes from the operator."""
        if self.stream is not None:
            self.stream.write(data)
            self.room_changed()

    def resume_writing(self) -> None:
        """Tell the robot that everything has left."""
        if self.stream is not None and self._unwritten:
            unwritten, self._unwritten = self._unwritten, 0
            self.stream.taken(unwritten)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the stream."""
        self._end()
        if self._websocket is not None:
            self._websocket.connection_lost(exc)
        if not self._done.done():
            self._done.set_result(None)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.stream is not None:
            self.stream.end()
        if not self._has_ended:
            self._has_ended = True
            self.on_end(self)

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        self._unwritten += len(data)
        if transport.get_write_buffer_size() <= LITTLE:     # of more the socket tells
            self.resume_writing()


def _ignore(tunnel: Tunnel) -> None:
    """Do nothing."""


class Splice:
    """
    The end of a stream that goes on as another one.

    :ivar own: the stream whose end this is; ``other``: the end of the one as which it goes on.
    """

    __slots__ = ('_held', 'other', 'own')

    def __init__(self) -> None:
        self.own: Stream | None = None
        self.other: Splice | None = None
        self._held = 0

    def __repr__(self) -> str:
        return f'<Splice of {self.own!r}>'

    @classmethod
    def pair(cls) -> tuple[Splice, Splice]:
        """Return two ends that go on as each other."""
        one, other = cls(), cls()
        one.other, other.other = other, one
        return one, other

    def received(self, data: bytes) -> None:
        """Write on; the writer gets room when there is some further on."""
        onward = self._onward()
        if onward is not None and self.own is not None:
            onward.write(data)
            self._held += len(data)
            if onward.can_write:
                self.release()

    def room_changed(self) -> None:
        """Give room to who writes this stream."""
        if self.own is not None and self.own.can_write and self.other is not None:
            self.other.release()

    def release(self) -> None:
        """Tell that everything that came has gone on."""
        held, self._held = self._held, 0
        if held and self.own is not None:
            self.own.taken(held)

    def ended(self) -> None:
        """End the other one."""
        onward = self._onward()
        if onward is not None:
            onward.end()

    def _onward(self) -> Stream | None:
        return None if self.other is None else self.other.own
