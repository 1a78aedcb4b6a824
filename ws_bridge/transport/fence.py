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
from collections.abc import Callable, Sequence
import os
from typing import Any, TYPE_CHECKING

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.streams import StreamReader

from ws_bridge.transport.large import Arriving, Cutter, EMPTY, Gathering, Large, Pieces, TOO_MANY
from ws_bridge.transport.rounds import Rounds
from ws_bridge.transport.tls import heed_socket
from ws_bridge.transport.turns import Spot, Turns
from ws_bridge.transport.window import Kernel, Window

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
SOME = 4096
"""So many bytes are parsed at once, unless they are of one frame: 700 empty frames take 5 ms."""
FEW = 4
"""Among so many frames that came together, one that is urgent is found before they are parsed."""
END = Large([], is_text=False)
"""Stands for what ends what the peer sends: its close frame, or else the end of the stream."""
_LOOKS = 8
"""How often an answer is looked for in the time that it may take."""
_SIZE = 8   # of a payload, bytes: nobody answers a ping by chance that he has not got
_PING = bytes((0x89, _SIZE))
"""What is in front of the payload in a ping of a server (RFC 6455 5.2)."""
_PONG = bytes((0x8A, 0x80 | _SIZE))
"""What is in front of mask and payload in the pong of a client."""
_MASKED_HEAD = 6
"""Bytes before the payload of a small frame of a client; of a medium one there are two more."""
_MEDIUM = 126
_COMPRESSED = 0x40
_PONG_SIZE = len(_PONG) + 4 + _SIZE
_BETWEEN_FRAMES = getattr(StreamReader.at_eof, '__code__', None)
"""What the parser of ``websockets`` waits in when all that it has got were whole frames."""


def ignore() -> None:
    """Do nothing."""


def _never(data: object) -> bool:
    return False


class Fenced(Base):
    """
    A connection that knows of each message since when, at the earliest, it can have been sent.

    To stand before ``ServerConnection`` or ``ClientConnection`` in a class's bases.

    :ivar fence: when the newest ping was sent that was answered, loop time, s; at first the
        time when the peer's side of the handshake arrived (server) or this one began (client).
    :ivar fences: of each message that waits to be received, the fence as of its first frame, and
        the message itself where it is large, or :data:`END`: what is received is empty then.
    :ivar is_client: whether this side opened it; ``is_direct``: no proxy is known to be between.
    :ivar turns: the line in which what came waits to be parsed, while there is much of others;
        ``None`` = it is parsed at once.
    :ivar place: in line; its reader hurries as soon as something urgent is to be received.
    :ivar arriving: counts what comes of large messages.
    :ivar is_urgent: tells whether a message passes the line; asked of ``b''``, whether everything
        does that comes now.
    :ivar take: takes a whole message as soon as it is parsed, or leaves it for :meth:`recv`; only
        called while none waits there. ``None`` = all wait.
    :ivar on_change: called when something waits to be written, and as soon as the connection is no
        longer open.
    :ivar send_bytes: writes to the socket itself, as far as it takes it: only while nothing waits
        in the transport; ``None`` = the socket takes something else. ``send_parts`` does the same
        with several buffers.
    """

    is_client = False
    is_direct = True
    fence = UNKNOWN
    fences: deque[tuple[float, Large | None]]
    turns: Turns | None = None
    place: Spot
    arriving: Arriving | None = None
    is_urgent: Callable[[str | bytes], bool]
    take: Callable[[Frame, float], bool] | None = None
    on_change: Callable[[], None]
    send_bytes: Callable[[bytes], int] | None = None
    send_parts: Callable[[Sequence[bytes | memoryview]], int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        heed_socket(transport)
        self.fences = deque()
        self.place = Spot()
        self.is_urgent = _never
        self._gathering: Gathering | None = None
        self._cutter = Cutter(self.protocol)
        self._unparsed: deque[bytes | memoryview] = deque()
        self._is_whole = False      # what waits there ends with a frame
        self._is_in_line = False
        self._has_ended = False
        self._cut: asyncio.TimerHandle | None = None
        self.on_change = ignore
        # The pings that were not answered: ``pong_waiters`` before websockets 16.
        self._pings: dict[bytes, tuple[asyncio.Future[float], float]] = \
            getattr(self, 'pending_pings' if hasattr(self, 'pending_pings') else 'pong_waiters')
        if self.is_client:
            self.fence = self.loop.time()   # what a server says is said after it was asked
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        turns = self.turns
        if turns is None:
            super().data_received(data)
        elif len(data) == _PONG_SIZE and not self._unparsed and self._take_pong(data):
            turns.note()        # to wait in line would take longer
        elif self._unparsed or (turns.are_over() and not self.is_urgent(b'')):
            self._wait_with(data, turns)
        elif len(data) <= SOME or self._cutter.ahead >= len(data):
            super().data_received(data)
            turns.note()
        else:
            super().data_received(data[:SOME])
            turns.note()
            self._wait_with(memoryview(data)[SOME:], turns)

    def forget_link(self) -> None:
        """Call nothing of a link any more; it has ended."""
        self.take, self.on_change, self.is_urgent = None, ignore, _never

    def _wait_with(self, data: bytes | memoryview, turns: Turns) -> None:
        """
        Have data parsed later, but for what is urgent, and what came before that.

        As long as little waits, all of it whole frames, what comes next is read, to be looked at.
        """
        is_begin = self._is_whole if self._unparsed else self._is_between_frames
        urgent, self._is_whole = self._look_at(data) if is_begin else (0, False)
        if urgent:
            self._parse_all()
            super().data_received(bytes(data[:urgent]))
            data, self._is_whole = data[urgent:], False
            if not data:
                return
        self._unparsed.append(data)
        if not self._is_whole or sum(map(len, self._unparsed)) > SOME:
            self.transport.pause_reading()
        if not self._is_in_line:
            self._line_up(turns)

    def _line_up(self, turns: Turns) -> None:
        """Have some parsed when it is its turn; who drives comes first."""
        self._is_in_line = True
        turns.line_up(self._parse_next, self.place, is_urgent=self.is_urgent(b''))

    def _look_at(self, data: bytes | memoryview) -> tuple[int, bool]:
        """
        Look through the first frames of a client.

        :return: where the last one ends that is urgent, or may be: a few compressed ones; 0 = none
            is; and whether the last one of all ends with the data.
        """
        urgent = at = 0
        is_hidden = False
        for _ in range(0 if self.is_client else FEW):
            if len(data) < at + _MASKED_HEAD:
                break
            size, begin = data[at + 1] & 0x7F, at + _MASKED_HEAD
            if size == _MEDIUM:
                size, begin = int.from_bytes(data[at + 2:at + 4], 'big'), begin + 2
            end = begin + size
            if end > min(len(data), SOME):
                break
            mask = bytes(data[begin - 4:begin]) * (size // 4 + 1)
            payload = (int.from_bytes(data[begin:end], 'big')
                       ^ int.from_bytes(mask[:size], 'big')).to_bytes(size, 'big')
            if self.is_urgent(payload):
                urgent = end
            is_hidden |= bool(data[at] & _COMPRESSED)
            at = end
        is_whole = at == len(data)
        return (at if is_hidden and is_whole else urgent), is_whole

    def eof_received(self) -> None:
        self._parse_all()
        if self.protocol.state is not State.CONNECTING:
            self._end()
        super().eof_received()
        # The socket is closed as soon as what waits has left: a peer can keep it from leaving.
        if self.close_timeout is not None:
            self._cut = self.loop.call_later(self.close_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._parse_all()
            super().connection_lost(exc)
        finally:
            self._gathering = None
            if self._cut is not None:
                self._cut.cancel()
            if exc is not None:
                exc.__traceback__ = None    # its frames hold what could not be written
            self.on_change()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.on_change()

    def send_data(self) -> None:
        if self.transport.is_closing():
            self.protocol.data_to_send()    # nobody gets it
        else:
            super().send_data()
        # A close frame, and what ends the stream; or what the socket does not take now.
        if self.protocol.state is not State.OPEN or self.transport.get_write_buffer_size():
            self.on_change()

    def write(self, data: bytes | memoryview) -> None:
        """
        Write what is a frame, or the rest of one, as it is; never waits.

        Nothing is written once the socket is lost, though the connection learns that later.
        """
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if self.transport.get_write_buffer_size():
            self.on_change()

    def write_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Do the same with several buffers, of which the socket takes what it can, uncopied."""
        sent = 0
        if self.send_parts is not None and not self.transport.get_write_buffer_size():
            try:
                sent = self.send_parts(parts)
            except OSError:     # it takes nothing now, or never again, as the transport will see
                sent = 0
        for part in parts:
            if self.transport.is_closing():
                return
            if sent < len(part):
                self.transport.write(memoryview(part)[sent:] if sent else part)
            sent = max(sent - len(part), 0)
        if self.transport.get_write_buffer_size():
            self.on_change()

    def _parse_next(self) -> bool:
        """Parse some of what came first; what comes next waits for another turn."""
        self._is_in_line = False
        if self._unparsed:
            data = self._unparsed.popleft()
            size = max(SOME, min(self._cutter.ahead, len(data)))
            if len(data) > size:
                self._unparsed.appendleft(memoryview(data)[size:])
            super().data_received(bytes(data[:size]))
        if self._unparsed and self.turns is not None:
            self._line_up(self.turns)
        elif not self.recv_messages.paused:
            self.transport.resume_reading()
        return False

    def _parse_all(self) -> None:
        while self._unparsed:
            super().data_received(bytes(self._unparsed.popleft()))

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame):    # the peer's side of the handshake
            if not self.is_client:
                self.fence = self.loop.time()
        elif event.opcode is Opcode.TEXT or event.opcode is Opcode.BINARY:
            # Who sends before the handshake was answered may have done so at any time.
            fence = self.fence if self.protocol.state is not State.CONNECTING else UNKNOWN
            if not event.fin:
                self._gathering = Gathering(fence, event, Pieces(self.arriving, self))
                return
            take = self.take
            if take is not None and not self.fences and take(event, fence):
                return
            self.fences.append((fence, None))
            if len(event.data) <= SOME and self.is_urgent(bytes(event.data)):
                self.place.hurry()      # with what came before it
        elif event.opcode is Opcode.CONT:
            self._gather(event)
            return
        elif event.opcode is Opcode.PONG:
            ping = self._pings.get(bytes(event.data))
            if ping is not None:
                self.fence = max(self.fence, ping[1])
        elif event.opcode is Opcode.CLOSE:
            self._end()
        super().process_event(event)

    def _end(self) -> None:
        """Let the end be received, after all that came before; once."""
        if not self._has_ended:
            self._has_ended = True
            self.fences.append((self.fence, END))
            self.recv_messages.put(EMPTY)

    def _gather(self, fragment: Frame) -> None:
        """Take a further fragment of a message; with the last one it is received."""
        gathering = self._gathering
        if gathering is None:
            return              # it had too many
        protocol = self.protocol
        if protocol.state is not State.OPEN and not protocol.close_rcvd_then_sent:
            self._gathering = None      # this side closes: nobody wants it any more
            return
        gathering.add(fragment)
        if fragment.fin or gathering.is_too_much:
            frame, large = gathering.message() if fragment.fin else (EMPTY, TOO_MANY)
            self._gathering = None
            self.fences.append((gathering.fence, large))
            super().process_event(frame)

    def _take_pong(self, data: bytes) -> bool:
        """
        Take the answer to a ping, if that is all that came: as the parser would, at a tenth.

        :return: whether it was one; else nothing was done.
        """
        if self.is_client or not data.startswith(_PONG) or not self._is_between_frames:
            return False        # or these are bytes of another frame
        payload = (int.from_bytes(data[6:], 'big')
                   ^ int.from_bytes(data[2:6] * 2, 'big')).to_bytes(_SIZE, 'big')
        ping = self._pings.get(payload)
        if ping is None:
            return False
        self.fence = max(self.fence, ping[1])
        self.acknowledge_pings(payload)
        return True

    @property
    def _is_between_frames(self) -> bool:
        """Whether the parser waits for the beginning of a frame."""
        if self._cutter.left or self.protocol.state is not State.OPEN:
            return False
        waits: Any = self.protocol.parser
        while (inner := getattr(waits, 'gi_yieldfrom', None)) is not None:
            waits = inner
        return getattr(waits, 'gi_code', waits) is _BETWEEN_FRAMES

    def send_fence(self) -> None:
        """
        Send a ping; never waits.

        It stands among those that ``websockets`` sends: the pong of one answers all before it.
        """
        if self.may_ping:
            ping = self.make_fence()
            if self.is_client:     # its frames are masked
                self.protocol.send_ping(ping[len(_PING):])
                self.send_data()
            else:
                self.write(ping)

    def window(self, link: object) -> Window:
        """Return the window of the link that is made of this connection."""
        return Window(self.kernel(), is_direct=self.is_direct)

    def kernel(self) -> Kernel | None:
        """Return what tells how much is under way; ``None``: nothing does."""
        return Kernel.of(self.transport.get_extra_info('socket'))

    @property
    def may_ping(self) -> bool:
        """Whether another ping makes sense."""
        return self.protocol.state is State.OPEN and len(self._pings) < MAX_UNANSWERED

    def make_fence(self) -> bytes:
        """Return a ping of a server, to be written at once."""
        payload = os.urandom(_SIZE)
        self._pings[payload] = self.loop.create_future(), self.loop.time()
        return _PING + payload


class Keepalive:
    """
    Pings a peer that has not answered lately, and notices when it does not answer.

    Any ping will do as a question: one that is pinged for its fence is not pinged for this as
    well. As long as the peer takes nothing, a question may not have left, and is not judged.

    :param rounds: of the interface.
    :param interval: how long after its last answer it is asked again at the latest, s; 0 = never.
    :param timeout: how long an answer may take, s; within :data:`_LOOKS` parts of it.
    :param end: called when it took longer.
    """

    __slots__ = ('_asked', '_asked_at', '_connection', '_end', '_interval', '_look', '_rest',
                 '_rounds', '_sent_at', '_timeout')

    def __init__(self, connection: Fenced, rounds: Rounds, interval: float, timeout: float,
                 end: Callable[[], None]) -> None:
        self._connection = connection
        self._rounds = rounds
        self._interval = interval
        self._timeout: float | None = timeout
        self._look = min(interval, timeout) / _LOOKS
        # Early enough for an end within interval and timeout, though looks come now and then.
        self._rest = interval - 2 * self._look
        self._end = end
        self._asked: bytes | None = None
        self._asked_at = self._sent_at = 0.0

    def __repr__(self) -> str:
        return f'<Keepalive {self._interval:g} s, {self._timeout or 0:g} s>'

    def start(self) -> None:
        """Ask from now on."""
        if self._interval:
            self._rounds.add(self._look, self._check)

    def stop(self) -> None:
        """Ask no more, and forget whom to tell."""
        self._rounds.discard(self._look, self._check)
        self._end = ignore

    def leave_unjudged(self) -> None:
        """Ask, but let others say what it means that nothing is answered."""
        self._timeout = None

    def has_answered(self, now: float) -> bool:
        """Whether the peer answers in time; ask it, if it was not asked lately."""
        connection = self._connection
        if self._asked is None and now < connection.fence + self._rest:
            return True     # as with everybody who is pinged for the fence
        pings = connection._pings
        if self._asked not in pings:
            self._asked = None
        elif connection.paused:
            self._asked_at = now    # it may not have left yet
        elif self._timeout is not None and now >= self._asked_at + self._timeout:
            return False
        if now >= max(connection.fence, self._sent_at) + self._rest:
            self._sent_at = now
            if not pings or self._timeout is None:
                connection.send_fence()
            if self._asked is None:
                self._asked, self._asked_at = next(reversed(pings), None), now
        return True

    def _check(self) -> None:
        if not self.has_answered(self._connection.loop.time()):
            self._end()


class Pace:
    """
    When a connection is pinged: slowly at rest, fast while its peer commands.

    At rest it is pinged in a round with all others, or along with the heartbeats that it is sent;
    who commands has a timer of its own.

    :param ping: sends one.
    :param rounds: of the interface.
    :ivar beats: the interval of the heartbeats that the peer is sent, s; 0 = none.
    :ivar goes_along: a ping leaves with each of them, and with nothing else.
    :ivar hurried_at: since when it is fast, loop time, s; ``None`` at rest.
    """

    __slots__ = ('_fast', '_is_in_round', '_last', '_ping', '_rounds', '_slow', '_timer', 'beats',
                 'goes_along', 'hurried_at')

    def __init__(self, ping: Callable[[], None], rounds: Rounds) -> None:
        self._ping = ping
        self._rounds = rounds
        self._slow = self._fast = self.beats = 0.0
        self._is_in_round = self.goes_along = False
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.hurried_at: float | None = None

    def __repr__(self) -> str:
        return f'<Pace {self._slow:g} s, {self._fast:g} s since {self.hurried_at}>'

    @property
    def is_kept(self) -> bool:
        """Whether the connection will be pinged again."""
        return self._timer is not None or self._is_in_round or self.goes_along

    def keep(self, interval: float) -> None:
        """Ping from now on, once in ``interval`` s; 0 = at rest not at all."""
        self.end()
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
        self.goes_along = False
        if self._is_in_round:
            self._rounds.discard(self._slow, self._ping)
            self._is_in_round = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self.end()
        loop = asyncio.get_running_loop()
        if self.hurried_at is not None and loop.time() >= self._last + LINGER:
            self.hurried_at = None
        self._ping()
        if self.hurried_at is not None:
            self._timer = loop.call_later(self._fast, self._step)
        elif self._slow / 2 < self.beats <= self._slow:
            self.goes_along = True
        elif self._slow:
            self._is_in_round = True
            self._rounds.add(self._slow, self._ping)
