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
What leaves a connection: at once, together, or through a queue.

Nothing here waits for a peer but the peer's own writer. A frame for an idle connection is written
at once; one for a busy connection goes into its :class:`OutQueue`, which one task drains under
the socket's back-pressure. The transport says when it has too much and when it has room again: it
is not asked before each frame.

A server without extensions sends everybody the same bytes (:mod:`.framing`) and writes them to
the transport itself. What is masked or compressed goes through ``websockets``.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from functools import partial
import inspect
from typing import TYPE_CHECKING

from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from ws_bridge.errors import QueueOverflow
from ws_bridge.protocol.types import Priority
from ws_bridge.session.queue import Frame, OnLeft, Outgoing, OutQueue, Parts, Split, views
from ws_bridge.transport.fragments import write_fragments
from ws_bridge.transport.framing import head, PIECE, StreamFrame
from ws_bridge.transport.stall import Stall

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

    from ws_bridge.transport.fence import Fenced
    from ws_bridge.transport.options import LinkOptions

_TOO_SLOW = 1008
#: ``broadcast(text=)`` came with websockets 16.1; before, bytes must be decoded to go as text.
_BROADCAST_TAKES_TEXT = 'text' in inspect.signature(broadcast).parameters


def _write(connections: Iterable[Connection], frame: bytes, text: bool) -> None:
    """Write one frame to open connections at once, whatever their buffers hold."""
    if _BROADCAST_TAKES_TEXT:
        broadcast(connections, frame, text=text)
    else:
        broadcast(connections, frame.decode() if text else frame)


class Outbound:
    """
    The half of a :class:`Link` that sends.

    :ivar direct: writes what leaves a server as it is, at once, as far as it can, and returns how
        much that was: :meth:`write_rest` has to get the rest. ``None``: nothing may be written
        now, or :meth:`stage` and :meth:`flush` have to be asked.
    :ivar messages_out: messages that were written; ``bytes_out``: what was in them.
    :ivar messages_in: messages that the other half has read.
    :ivar in_hand: bytes that are left of a frame that is being written in fragments.
    :ivar queue: what waits for the peer; it knows whether the peer takes pieces, and the shares
        of its streams.
    """

    __slots__ = ('_ending', '_is_plain', '_protocol', '_staged', '_stall',
                 '_transport', '_window', '_writer', 'bytes_out', 'direct', 'in_hand',
                 'messages_in', 'messages_out', 'queue', 'websocket')

    def __init__(self, websocket: Fenced, options: LinkOptions, *, dialled: bool) -> None:
        self.websocket = websocket
        self.bytes_out = self.messages_in = self.messages_out = 0
        self._protocol = websocket.protocol
        self._transport = websocket.transport
        # Then a frame is the same bytes for everybody: not masked, and not compressed.
        self._is_plain = not dialled and not websocket.protocol.extensions
        self._staged: list[StreamFrame] = []
        self.queue = OutQueue(options.max_queue_bytes, options.max_queue_frames)
        self._writer: asyncio.Task[None] | None = None
        self._stall = Stall(self, options.ping_timeout)
        self._window = websocket.window(self)
        self._ending: tuple[int, str] | None = None
        self.in_hand = 0
        self.direct: Callable[[bytes], int] | None = None
        websocket.on_change = self._changed

    @property
    def is_open(self) -> bool:
        """Whether frames can still be sent."""
        return self._ending is None and self._protocol.state is State.OPEN

    @property
    def has_room(self) -> bool:
        """Whether nothing waits here; the transport says by itself when it has too much."""
        return self._writer is None and not self.websocket.paused

    @property
    def is_idle(self) -> bool:
        """Whether a frame would be written at once."""
        return self._writer is None and not self.websocket.paused and self._ending is None and (
            not self._window.is_asked or self._transport.is_closing()
            or self._window.has_room(self._transport.get_write_buffer_size(), self.bytes_out))

    @property
    def received_signs(self) -> tuple[float, ...]:
        """What changes when anything, also a pong, comes from the peer."""
        return self.messages_in, self.websocket.latency

    @property
    def dropped(self) -> int:
        """Stream frames that gave way because the peer was too slow."""
        return self.queue.dropped

    def note_dropped(self) -> None:
        """Count a stream frame that gave way before it came here."""
        self.queue.dropped += 1

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait in the queue and in the transport."""
        if self.direct is not None:     # as almost always: it is asked of each peer, often
            return 0
        if self._writer is None:
            return self._transport.get_write_buffer_size()
        return self.queue.nbytes + self.queue.begun_bytes + self.in_hand + \
            self._transport.get_write_buffer_size()

    @property
    def owed_bytes(self) -> int:
        """Bytes of frames in the queue that are never dropped."""
        return self.queue.owed_bytes

    def close(self, code: int, reason: str) -> None:
        """Start to close."""
        raise NotImplementedError

    def abort(self, reason: str) -> None:
        """Cut the connection at once."""
        raise NotImplementedError

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
            if len(frame) > self._window.most:
                self.queue.begin(frame, priority, text=text)
                self._start_writer()
                return True
            self._write_now(frame, text)
            return True
        try:
            self.queue.put(frame, priority, text=text)
        except QueueOverflow as exc:
            self.queue.clear()
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
            if not staged and self.is_idle and self._protocol.state is State.OPEN \
                    and not self._transport.get_write_buffer_size() \
                    and not self._window.is_bounded:
                self.direct = self.websocket.send_bytes or self._write_all
        for item in staged:
            self.send_stream(item.key, item.frame, item.depth, text=item.text, split=item.split,
                             on_left=partial(item.on_left, self) if item.on_left else None)

    def _write_all(self, data: bytes) -> int:
        self.websocket.write(data)
        return len(data)

    def write_rest(self, data: bytes, sent: int) -> None:
        """
        Have the transport write what :attr:`direct` did not.

        :param sent: bytes that left already.
        """
        self.direct = None
        self.websocket.write(memoryview(data)[sent:] if sent else data)

    def _changed(self) -> None:
        """Take note that something waits in the transport, or that no more may be sent."""
        self.direct = None
        if self.websocket.paused and self._protocol.state is State.OPEN:
            self._stall.watch()

    def _stop(self) -> None:
        """Do nothing more by itself."""
        self.direct = None
        self._stall.stop()

    def _write_together(self, staged: list[StreamFrame]) -> list[StreamFrame]:
        """Write frames as they are, as far as the peer takes them; return the others."""
        done = 0
        while done < len(staged) and self.is_idle and self._protocol.state is State.OPEN:
            wires, size, most = [], 0, self._window.most
            for item in staged[done:] if done else staged:
                if len(item.frame) > most or size > most or isinstance(item.frame, Parts):
                    break
                wire = item.wire()
                wires.append(wire)
                size += len(wire)
                done += 1
                self.messages_out += item.count
                self.bytes_out += item.size
                if item.on_left is not None:
                    item.on_left(self)
            if not wires:
                break
            self.websocket.write(wires[0] if len(wires) == 1 else b''.join(wires))
        return staged[done:]

    def send_stream(self, key: Hashable, frame: str | Frame, depth: int, *,
                    text: bool = True, split: Split | None = None,
                    on_left: OnLeft | None = None) -> None:
        """
        Send the newest frame of a stream; a slow peer gets only the newest ``depth``.

        What was staged leaves first.

        :param on_left: called when all of it was written; not if it gives way.
        """
        if self._staged:
            self.flush()
        if not self.is_open:
            return
        if isinstance(frame, str):
            frame, text = frame.encode(), True
        is_large = isinstance(frame, Parts) or len(frame) > self._window.most
        if is_large and self._is_plain and split is None and len(frame) <= self._window.at_once \
                and self.is_idle and not self._transport.get_write_buffer_size():
            self.websocket.write_parts([head(len(frame), text), *views(frame)])
            self.messages_out += 1
            self.bytes_out += len(frame)
            if on_left is not None:
                on_left()
        elif self.is_idle and is_large:
            self.queue.begin_stream(key, frame, text=text, split=split, on_left=on_left)
            self._start_writer()
        elif self.is_idle:
            for part in Outgoing(frame, text, split).frames():
                assert isinstance(part, bytes)
                self._write_now(part, text)
            if on_left is not None:
                on_left()
        else:
            self.queue.put_stream(key, frame, depth, text=text, split=split, on_left=on_left)
            self._start_writer()

    @property
    def bandwidth(self) -> float | None:
        """What the link carries, bytes/s; ``None`` where it is not slow, or nobody knows."""
        return self._window.bandwidth

    @property
    def is_bounded(self) -> bool:
        """Whether little may be under way: the link is slow, or far and nobody knows yet."""
        return self._window.is_bounded

    @property
    def is_fast(self) -> bool:
        """Whether the link is known not to be slow, or nobody will ever know."""
        return not self._window.is_asked

    def forget_stream(self, key: Hashable) -> None:
        """Send nothing more of a stream; of a large frame that is being sent the rest follows."""
        self._staged = [item for item in self._staged if item.key != key]
        self.queue.forget(key)

    async def flushed(self, timeout: float) -> bool:
        """Wait, up to ``timeout`` s, until nothing is queued: back-pressure for one sender."""
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=timeout)
        return self._writer is None and self.is_open

    def _write_now(self, frame: bytes, text: bool) -> None:
        """Write a frame, count it, and see to it that a stuck peer is noticed."""
        if self._is_plain:
            self.websocket.write(head(len(frame), text) + frame)
        else:
            _write((self.websocket,), frame, text)
        self.messages_out += 1
        self.bytes_out += len(frame)

    def _start_writer(self) -> None:
        """Have one task write."""
        if self._writer is None:
            self.direct = None
            self._writer = asyncio.get_running_loop().create_task(self._drain())
            self._stall.watch()

    async def _drain(self) -> None:
        """Write what is queued, as fast as the peer takes it."""
        room, now = self._window.room, self.websocket.loop.time
        try:
            while (most := await room(self._transport, now)) \
                    and (item := self.queue.pop(most, now())) is not None:
                frame = item.frame
                if isinstance(frame, bytes) and len(frame) <= most:
                    await self.websocket.send(frame, text=item.text)
                    self.bytes_out += len(frame)
                elif self._is_plain:
                    self.in_hand = len(frame)
                    if not await write_fragments(self.websocket, frame, self._window,
                                                 text=item.text, on_written=self._note_written):
                        self.queue.clear()
                        return
                else:
                    await self.websocket.send(self._pieces(frame), text=item.text)
                self.messages_out += 1
                if item.on_left is not None:
                    item.on_left()
                if len(frame) >= PIECE:
                    await asyncio.sleep(0)      # a peer that takes everything at once is not alone
        except (ConnectionClosed, OSError):     # it was reset while it was waited for
            self.queue.clear()
        finally:
            self._writer = None
            self.in_hand = 0
            if not self._transport.is_closing():
                self._window.rest(self.websocket.loop.time())

    def _note_written(self, size: int) -> None:
        self.bytes_out += size
        self.in_hand -= size

    async def _pieces(self, frame: Frame) -> AsyncIterator[memoryview]:
        """Give a large frame bit by bit; it becomes the fragments of one message."""
        self.in_hand = len(frame)
        room = partial(self._window.room, self._transport, self.websocket.loop.time)
        for piece in (frame if isinstance(frame, Parts) else Parts(frame)).pieces(await room()):
            await room()
            yield piece
            self.bytes_out += len(piece)
            self.in_hand -= len(piece)
            await asyncio.sleep(0)      # a peer that takes everything at once is not alone
