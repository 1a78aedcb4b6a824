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
One WebSocket connection, either mode: what leaves, what comes, and its end.

Nothing here waits for a peer but the peer's own tasks. A frame for an idle connection is written
at once; one for a busy connection goes into its :class:`OutQueue`, which one writer task drains
under the socket's back-pressure. A peer that cannot take even that is closed, and costs nobody
else anything.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
import inspect
import struct
import time
from typing import Any, Protocol, TYPE_CHECKING

from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from ws_bridge.errors import QueueOverflow
from ws_bridge.protocol.types import Priority
from ws_bridge.session.queue import Frame, Outgoing, OutQueue, Parts, Split
from ws_bridge.transport.endpoint import address_host, join_host_port
from ws_bridge.transport.fence import Pace, UNKNOWN
from ws_bridge.transport.fragments import write_fragments
from ws_bridge.transport.turns import Turns

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

    from ws_bridge.transport.fence import Fenced
    from ws_bridge.transport.options import LinkOptions

#: For how long one socket is read before the others get their turn, s.
TURN = 0.001
#: A larger frame leaves in pieces of this size, bytes, as the peer takes them: to write it at once
#: would copy it twice while everybody waits.
PIECE = 131_072
_SHORT = struct.Struct('!BBH')
_LONG = struct.Struct('!BBQ')
#: RFC 6455 5.5: a control frame holds 125 bytes, two of them the code.
_MAX_REASON = 123
_ABNORMAL = 1006
_TOO_SLOW = 1008
_INTERNAL_ERROR = 1011
#: ``broadcast(text=)`` came with websockets 16.1; before, bytes must be decoded to go as text.
_BROADCAST_TAKES_TEXT = 'text' in inspect.signature(broadcast).parameters


def _write(connections: Iterable[Connection], frame: bytes, text: bool) -> None:
    """Write one frame to open connections at once, whatever their buffers hold."""
    if _BROADCAST_TAKES_TEXT:
        broadcast(connections, frame, text=text)
    else:
        broadcast(connections, frame.decode() if text else frame)


class StreamFrame:
    """
    A frame of a stream, made once for all who share it.

    :param key: the stream; a busy link keeps the newest ``depth`` frames of it.
    :param split: makes several frames of one.
    :ivar is_small: it is written at once; what is large leaves in pieces.
    """

    __slots__ = ('_wire', 'count', 'depth', 'frame', 'is_small', 'key', 'size', 'split', 'text')

    def __init__(self, key: Hashable, frame: Frame, depth: int, *, text: bool = True,
                 split: Split | None = None) -> None:
        self.key = key
        self.frame = frame
        self.depth = depth
        self.text = text
        self.split = split
        self.is_small = not isinstance(frame, Parts) and len(frame) <= PIECE
        self.count = self.size = 0
        self._wire: bytes | None = None

    def __repr__(self) -> str:
        return f'<StreamFrame of {self.key!r}, {len(self.frame)} bytes>'

    def wire(self) -> bytes:
        """
        Return what leaves a server that has no extension in force: the same bytes to everybody.

        ``count`` and ``size`` are the frames in it and their bytes from then on.
        """
        if self._wire is None:
            parts = [part for part in Outgoing(self.frame, self.text, self.split).frames()
                     if isinstance(part, bytes)]
            self.count, self.size = len(parts), sum(map(len, parts))
            self._wire = b''.join([item for part in parts
                                   for item in (_head(len(part), self.text), part)])
        return self._wire


def _head(size: int, text: bool) -> bytes:
    """Return what is in front of an unmasked frame of so many bytes, RFC 6455 5.2."""
    opcode = 0x81 if text else 0x82
    if size < 126:
        return bytes((opcode, size))
    return _SHORT.pack(opcode, 126, size) if size < 65536 else _LONG.pack(opcode, 127, size)


class Listener(Protocol):
    """
    What gets the raw frames of each connection, on the event loop; never blocks.

    Reading waits while a call is running, and from ``link.pause()`` to ``link.resume()``, and only
    for that connection's socket. An exception is a fault of the listener: it closes that
    connection with 1011.
    """

    def opened(self, link: Link) -> None:
        """Take note of a connection whose handshake is complete."""

    def received(self, link: Link, data: str | bytes) -> None:
        """Take one message: ``str`` from a text frame, ``bytes`` from a binary one."""

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Take note of the end; 1006 = without a closing handshake. Called once."""


class Link:
    """
    One open connection.

    :param dialled: whether this side opened it (client mode).
    :param write_limit: bytes in the transport's buffer above which a peer counts as busy.
    :param turns: the line in which the readers of all connections wait.
    :ivar fence: of the message that the listener has just got: loop time, s, before which it
        cannot have been sent.
    :ivar pace: of the pings, which make fences; nobody has asked for any.
    """

    __slots__ = ('_buffered', '_closer', '_ending', '_in_hand', '_is_plain', '_limit', '_options',
                 '_queue', '_resumed', '_staged', '_stall_timer', '_turns', '_writer', 'address',
                 'admitted', 'bytes_in', 'bytes_out', 'dialled', 'fence', 'last_activity',
                 'messages_in', 'messages_out', 'opened_at', 'pace', 'peer_id',
                 'remote', 'subprotocol', 'websocket')

    def __init__(self, websocket: Fenced, options: LinkOptions, *, dialled: bool,
                 write_limit: int, turns: Turns) -> None:
        self.websocket = websocket
        self.dialled = dialled
        self.peer_id: str = websocket.id.hex
        self.remote = address_text(websocket.remote_address)
        #: Where the peer is, without a port; and what the server's ``admit`` hook returned.
        self.address: str = getattr(websocket, 'client_address', '') or \
            self.remote.rpartition(':')[0]
        self.admitted: Any = getattr(websocket, 'admitted', None)
        self.subprotocol: str | None = websocket.subprotocol
        self.opened_at = self.last_activity = time.time()
        self.bytes_in = self.bytes_out = self.messages_in = self.messages_out = 0
        self.fence = UNKNOWN
        self.pace = Pace(websocket.send_fence)
        self._turns = websocket.turns = turns
        self._options = options
        self._limit = write_limit
        self._buffered = websocket.transport.get_write_buffer_size
        # Then a frame is the same bytes for everybody: not masked, and not compressed.
        self._is_plain = not dialled and not websocket.protocol.extensions
        self._staged: list[StreamFrame] = []
        self._queue = OutQueue(options.max_queue_bytes, options.max_queue_frames)
        self._writer: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._ending: tuple[int, str] | None = None
        self._in_hand = 0
        self._resumed: asyncio.Event | None = None

    def __repr__(self) -> str:
        way = 'to' if self.dialled else 'from'
        return f'<Link {way} {self.remote} in={self.messages_in} out={self.messages_out} ' \
               f'{self._queue!r}>'

    @property
    def is_open(self) -> bool:
        """Whether frames can still be sent."""
        return self._ending is None and self.websocket.state is State.OPEN

    @property
    def is_idle(self) -> bool:
        """Whether a frame would be written at once."""
        return self._writer is None and self._buffered() <= self._limit and self._ending is None

    @property
    def received_signs(self) -> tuple[float, ...]:
        """What changes when anything, also a pong, comes from the peer."""
        return self.messages_in, self.websocket.latency

    @property
    def is_paused(self) -> bool:
        """Whether its listener has stopped the reading."""
        return self._resumed is not None

    @property
    def dropped(self) -> int:
        """Stream frames that gave way because the peer was too slow."""
        return self._queue.dropped

    def note_dropped(self) -> None:
        """Count a stream frame that gave way before it came here."""
        self._queue.dropped += 1

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait in the queue and in the transport."""
        return self._queue.nbytes + self._in_hand + self._buffered()

    @property
    def request_headers(self) -> Mapping[str, str]:
        """The headers of the opening request, names in lower case."""
        request = self.websocket.request
        return {} if request is None else plain_headers(request.headers)

    @property
    def path(self) -> str:
        """The path, with its query, of the opening request."""
        request = self.websocket.request
        return '/' if request is None else request.path

    @property
    def latency(self) -> float:
        """The last round trip of a WebSocket ping, s; 0 before the first."""
        return self.websocket.latency

    def send(self, frame: str | bytes, priority: Priority = Priority.HIGH, *,
             text: bool = True) -> bool:
        """
        Send a frame that is never dropped; never waits.

        A peer for which too much waits already is closed with 1008.

        :param text: send bytes, which are UTF-8, as a text frame; a ``str`` always is one.
        :return: whether the link took it; not if it is closed or closing.
        """
        if not self.is_open:
            return False
        if isinstance(frame, str):
            frame, text = frame.encode(), True
        if self.is_idle:
            if len(frame) > PIECE:
                self._start_writer(Outgoing(frame, text))
                return True
            self._write_now(frame, text)
            return True
        try:
            self._queue.put(frame, priority, text=text)
        except QueueOverflow as exc:
            self._queue.clear()
            self.close(_TOO_SLOW, f'too slow: {exc.message}')
            return False
        self._start_writer()
        return True

    def stage(self, item: StreamFrame) -> bool:
        """
        Take the newest frame of a stream, to be sent by :meth:`flush` with others.

        :return: whether it is the first since then.
        """
        staged = self._staged
        staged.append(item)
        return len(staged) == 1

    def flush(self) -> None:
        """Send what was staged: at once and together if the peer is idle, else by the queue."""
        staged, self._staged = self._staged, []
        if self._is_plain:
            staged = self._write_together(staged)
        for item in staged:
            self.send_stream(item.key, item.frame, item.depth, text=item.text, split=item.split)

    def _write_together(self, staged: list[StreamFrame]) -> list[StreamFrame]:
        """Write frames as they are, as far as the peer takes them; return the others."""
        done = 0
        while done < len(staged) and self.is_idle and self.websocket.state is State.OPEN:
            wires, size = [], 0
            for item in staged[done:] if done else staged:
                if not item.is_small or size > PIECE:
                    break
                wire = item.wire()
                wires.append(wire)
                size += len(wire)
                self.messages_out += item.count
                self.bytes_out += item.size
            if not wires:
                break
            done += len(wires)
            self.websocket.transport.write(wires[0] if len(wires) == 1 else b''.join(wires))
        if self._stall_timer is None and self._buffered() > self._limit:
            self._watch_stall()
        return staged[done:]

    def send_stream(self, key: Hashable, frame: str | Frame, depth: int, *,
                    text: bool = True, split: Split | None = None) -> None:
        """
        Send the newest frame of a stream; a slow peer gets only the newest ``depth``.

        What was staged leaves first.
        """
        if self._staged:
            self.flush()
        if not self.is_open:
            return
        if isinstance(frame, str):
            frame, text = frame.encode(), True
        if self.is_idle and (isinstance(frame, Parts) or len(frame) > PIECE):
            self._start_writer(Outgoing(frame, text, split))
        elif self.is_idle:
            for part in Outgoing(frame, text, split).frames():
                assert isinstance(part, bytes)
                self._write_now(part, text)
        else:
            self._queue.put_stream(key, frame, depth, text=text, split=split)
            self._start_writer()

    def limit_messages(self, size: int) -> None:
        """Take messages of at most so many bytes from now on; larger ones close with 1009."""
        protocol: Any = self.websocket.protocol
        # websockets 15.0 has one limit, 16 two.
        setattr(protocol, 'max_message_size' if hasattr(protocol, 'max_message_size')
                else 'max_size', size)

    def leave_pings_unjudged(self) -> None:
        """Send pings, but let the listener say what it means that none is answered."""
        self.websocket.ping_timeout = None

    def pause(self) -> None:
        """Read no further until :meth:`resume`: the listener's back-pressure."""
        if self._resumed is None and self._ending is None:
            self._resumed = asyncio.Event()

    def resume(self) -> None:
        """Read on."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    async def flushed(self, timeout: float) -> bool:
        """Wait, up to ``timeout`` s, until nothing is queued: back-pressure for one sender."""
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=timeout)
        return self._writer is None and self.is_open

    def close(self, code: int, reason: str) -> None:
        """
        Start to close; never waits. What is queued leaves first, if the peer takes it in time.

        Nothing is received any more. A peer that does not answer is cut off after the
        ``close_timeout``. The first call counts.
        """
        if self._ending is None:
            self.flush()
            reason = reason.encode()[:_MAX_REASON].decode(errors='ignore')
            self._ending = code, reason
            self.resume()
            self._closer = asyncio.get_running_loop().create_task(self._close(code, reason))

    def abort(self, reason: str) -> None:
        """Cut the connection at once, without a closing handshake."""
        if self._ending is None:
            self._ending = _ABNORMAL, reason
        self.resume()
        self._queue.clear()
        self.websocket.transport.abort()

    async def serve(self, listener: Listener) -> None:
        """Read until the end and tell the listener; returns when no task of the link is left."""
        try:
            listener.opened(self)
            try:
                await self._read(listener)
            finally:
                if self.is_open:       # the listener failed; who called closes the connection
                    self._ending = _INTERNAL_ERROR, 'internal error'
                self._queue.clear()
                listener.closed(self, *self._outcome())
        except asyncio.CancelledError:
            self.abort('cancelled')
            raise
        finally:
            self.pace.end()
            if self._stall_timer is not None:
                self._stall_timer.cancel()
        tasks = [task for task in (self._writer, self._closer) if task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def _write_now(self, frame: bytes, text: bool) -> None:
        """Write a frame, count it, and see to it that a stuck peer is noticed."""
        if self._is_plain:
            self.websocket.transport.write(_head(len(frame), text) + frame)
        else:
            _write((self.websocket,), frame, text)
        self.messages_out += 1
        self.bytes_out += len(frame)
        if self._stall_timer is None and self._buffered() > self._limit:
            self._watch_stall()

    async def _read(self, listener: Listener) -> None:
        receive, fences, turns = self.websocket.recv, self.websocket.fences, self._turns
        end = time.perf_counter() + TURN
        waited = 0.0
        try:
            while True:
                data = await receive()
                self.fence = fences.popleft()
                self.messages_in += 1
                self.bytes_in += len(data) if isinstance(data, bytes) or data.isascii() \
                    else len(data.encode())
                self.last_activity = time.time()
                if turns.are_over() and not self.websocket.is_urgent(data):
                    waited = await turns.wait(waited)
                    end = time.perf_counter() + TURN
                if self._ending is None:
                    listener.received(self, data)
                turns.note()
                del data        # it may be large, and the next one may be long in coming
                if self._resumed is not None:
                    await self._resumed.wait()
                    end = time.perf_counter() + TURN
                if time.perf_counter() > end:
                    await asyncio.sleep(0)
                    end = time.perf_counter() + TURN
        except ConnectionClosed:
            return

    def _start_writer(self, first: Outgoing | None = None) -> None:
        """Have one task write; ``first`` is large, and no room in the queue is asked for it."""
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._drain(first))
            if self._stall_timer is None:
                self._watch_stall()

    async def _drain(self, item: Outgoing | None) -> None:
        """Write what is queued, as fast as the peer takes it."""
        try:
            while (item := item or self._queue.pop()) is not None:
                for frame in item.frames():
                    if isinstance(frame, bytes) and len(frame) <= PIECE:
                        await self.websocket.send(frame, text=item.text)
                        self.bytes_out += len(frame)
                    elif self._is_plain:
                        self._in_hand = len(frame)
                        if not await write_fragments(self.websocket, frame, text=item.text,
                                                     on_written=self._note_written):
                            self._queue.clear()
                            return
                    else:
                        await self.websocket.send(self._pieces(frame), text=item.text)
                    self.messages_out += 1
                item = None
        except ConnectionClosed:
            self._queue.clear()
        finally:
            self._writer = None
            self._in_hand = 0

    def _note_written(self, size: int) -> None:
        self.bytes_out += size
        self._in_hand -= size

    async def _pieces(self, frame: Frame) -> AsyncIterator[memoryview]:
        """Give a large frame bit by bit; it becomes the fragments of one message."""
        self._in_hand = len(frame)
        for piece in (frame if isinstance(frame, Parts) else Parts(frame)).pieces(PIECE):
            yield piece
            self.bytes_out += len(piece)
            self._in_hand -= len(piece)
            await asyncio.sleep(0)      # a peer that takes everything at once is not alone

    def _watch_stall(self) -> None:
        """
        Look again in ``ping_timeout`` s whether the peer took, or sent, anything.

        A ping would not tell: behind a full buffer it does not leave at all.
        """
        self._stall_timer = asyncio.get_running_loop().call_later(
            self._options.ping_timeout, self._check_stall, self._signs_of_life())

    def _signs_of_life(self) -> tuple[float, ...]:
        return (self.messages_out, self.bytes_out, self._buffered(), self.messages_in,
                self.websocket.latency)

    def _check_stall(self, before: tuple[float, ...]) -> None:
        self._stall_timer = None
        if self._writer is None and self._buffered() <= self._limit:
            return
        if before == self._signs_of_life():
            self.abort(f'took nothing for {self._options.ping_timeout:g} s')
        else:
            self._watch_stall()

    async def _close(self, code: int, reason: str) -> None:
        timeout = self._options.close_timeout / 2
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=timeout)
        try:
            await asyncio.wait_for(self.websocket.close(code, reason), timeout)
        except asyncio.TimeoutError:
            self.websocket.transport.abort()

    def _outcome(self) -> tuple[int, str]:
        if self._ending is not None:
            return self._ending
        code = self.websocket.close_code
        return (_ABNORMAL if code is None else code), self.websocket.close_reason or ''


def address_text(address: Any) -> str:
    """Return ``host:port`` of a socket address."""
    if isinstance(address, tuple) and len(address) >= 2:
        return join_host_port(address_host(address), address[1])
    return str(address or 'unknown')


def plain_headers(headers: Any) -> dict[str, str]:
    """Return headers with lower-case names, repeated ones joined as RFC 9110 5.3 allows."""
    plain: dict[str, str] = {}
    for name, value in headers.raw_items():
        name = name.lower()
        plain[name] = f'{plain[name]}, {value}' if name in plain else value
    return plain
