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
The fence of a connection: before which time what arrives cannot have been sent.

A WebSocket library answers a ping by itself, in order with its messages. A message that comes
after the pong of a ping was sent after that ping was, whatever any clock says. The pong counts
for what comes after it in the stream: where a frame arrives, not where it leaves the queue.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
import os
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from ws_bridge.transport.turns import Turns

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection as Base
    from websockets.protocol import Event
else:
    Base = object

UNKNOWN = float('-inf')
"""The fence of what came before the handshake was complete: it can be of any age."""
MAX_UNANSWERED = 128
"""Pings that wait for their pongs; then no more are sent until one comes."""
LINGER = 10.0
"""For how long after its last command a peer is pinged fast, s."""
_SIZE = 8   # of a payload, bytes: nobody answers a ping by chance that he has not got


class Fenced(Base):
    """
    A connection that knows of each message since when, at the earliest, it can have been sent.

    To stand before ``ServerConnection`` or ``ClientConnection`` in a class's bases.

    :ivar fence: when the newest ping was sent that was answered, loop time, s; at first the
        time when the peer's side of the handshake arrived (server) or this one began (client).
    :ivar fences: of each message that waits to be received, the fence as of its first frame.
    :ivar turns: the line in which what came waits to be parsed, while there is much of others;
        ``None`` = it is parsed at once.
    :ivar is_urgent: tells whether a message passes the line; asked of ``b''``, whether everything
        does that comes now.
    """

    fence = UNKNOWN
    fences: deque[float]
    turns: Turns | None = None
    is_urgent: Callable[[str | bytes], bool]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.fences = deque()
        self.is_urgent = lambda data: False
        self._unparsed: deque[bytes] = deque()
        self._waited = 0.0
        self._is_client = isinstance(self, ClientConnection)
        if self._is_client:
            self.fence = self.loop.time()   # what a server says is said after it was asked
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        turns = self.turns
        if turns is None:
            super().data_received(data)
        elif self._unparsed or (turns.are_over() and not self.is_urgent(b'')):
            self._unparsed.append(data)
            self.transport.pause_reading()
            if len(self._unparsed) == 1:
                self._waited = turns.line_up(self._parse_next, self._waited)
        else:
            super().data_received(data)
            turns.note()

    def eof_received(self) -> None:
        self._parse_all()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parse_all()
        super().connection_lost(exc)

    def _parse_next(self) -> bool:
        """Parse what came first; what comes next waits for another turn."""
        if self._unparsed:
            super().data_received(self._unparsed.popleft())
        if self._unparsed and self.turns is not None:
            self._waited = self.turns.line_up(self._parse_next, self._waited)
        elif not self.recv_messages.paused:
            self.transport.resume_reading()
        return False

    def _parse_all(self) -> None:
        while self._unparsed:
            super().data_received(self._unparsed.popleft())

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame):    # the peer's side of the handshake
            if not self._is_client:
                self.fence = self.loop.time()
        elif event.opcode is Opcode.TEXT or event.opcode is Opcode.BINARY:
            # Who sends before the handshake was answered may have done so at any time.
            self.fences.append(self.fence if self.protocol.state is not State.CONNECTING
                               else UNKNOWN)
        elif event.opcode is Opcode.PONG:
            ping = self._pings.get(bytes(event.data))
            if ping is not None:
                self.fence = max(self.fence, ping[1])
        super().process_event(event)

    def send_fence(self) -> None:
        """
        Send a ping; never waits.

        It stands among those that ``websockets`` sends: the pong of one answers all before it.
        """
        pings = self._pings
        if self.protocol.state is State.OPEN and len(pings) < MAX_UNANSWERED:
            payload = os.urandom(_SIZE)
            pings[payload] = self.loop.create_future(), self.loop.time()
            self.protocol.send_ping(payload)
            self.send_data()

    @property
    def _pings(self) -> dict[bytes, tuple[asyncio.Future[float], float]]:
        """The pings that were not answered: ``pong_waiters`` before websockets 16."""
        pings: dict[bytes, tuple[asyncio.Future[float], float]] | None = getattr(
            self, 'pending_pings', None)
        return self.pong_waiters if pings is None else pings  # type: ignore[attr-defined]


class FencedClient(Fenced, ClientConnection):
    """A connection that this side opened."""


class Pace:
    """
    When a connection is pinged: slowly at rest, fast while its peer commands.

    :param ping: sends one.
    :ivar hurried_at: since when it is fast, loop time, s; ``None`` at rest.
    """

    __slots__ = ('_fast', '_last', '_ping', '_slow', '_timer', 'hurried_at')

    def __init__(self, ping: Callable[[], None]) -> None:
        self._ping = ping
        self._slow = self._fast = 0.0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.hurried_at: float | None = None

    def __repr__(self) -> str:
        return f'<Pace {self._slow:g} s, {self._fast:g} s since {self.hurried_at}>'

    def keep(self, interval: float) -> None:
        """Ping from now on, once in ``interval`` s; 0 = at rest not at all."""
        self._slow = interval
        self._step()

    def hurry(self, interval: float) -> None:
        """
        Note a command: ping at once, if that is new, and for :data:`LINGER` s fast.

        :param interval: s; of several the shortest counts.
        """
        self._last = asyncio.get_running_loop().time()
        if self.hurried_at is None:
            self.hurried_at, self._fast = self._last, interval
            self._step()
        elif interval < self._fast:
            self._fast = interval
            self._step()

    def end(self) -> None:
        """Ping no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self.end()
        loop = asyncio.get_running_loop()
        if self.hurried_at is not None and loop.time() >= self._last + LINGER:
            self.hurried_at = None
        self._ping()
        interval = self._slow if self.hurried_at is None else self._fast
        if interval:
            self._timer = loop.call_later(interval, self._step)
