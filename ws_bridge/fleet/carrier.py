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
Streams of bytes over one connection, each with a window of its own.

A stream that is not taken at its other end gets no room, and then whoever writes it waits: a slow
operator costs only itself. Where the connection itself is slow, all wait. Nothing is kept here but
what leaves in this turn of the loop; what is newest is decided where samples are, at the robot.

What is written to several streams in one turn, and is the same, leaves once. So does what is the
same in most of it: the state of the robot, of which each peer is told the end for itself, or a
sample in whose head each peer has a number of its own.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from ws_bridge.errors import BadFrame, TooLarge
from ws_bridge.fleet.frames import (
    CarrierFrame,
    decode,
    encode_data,
    encode_room,
    encode_state,
    encode_stream,
    Kind,
    MAX_STREAMS,
)

WINDOW = 131_072
"""Bytes of a stream that may be under way."""
MOST = WINDOW + (2 << 20)
"""The same at the most, for a writer is told after it has written."""
TOLD_EACH = WINDOW // 4
"""So many bytes are taken before the other end is told at once,"""
TOLD_AFTER = 0.02
"""fewer within this time, s: it measures the way to an operator by that."""
TOLD_LATE = 0.5
"""The same of the way to the robot, which nobody measures, s: else commands cost twice as much."""
SLICE = 65_536
"""Bytes of a stream in one frame: then others have their turn."""
ALIKE = 256
"""What is shorter is not looked at for what is the same in it as in others, bytes."""
OWN = 2048
"""At most so many bytes before the same ones, and after them, are a stream's own."""
PROBE = 96
"""So many bytes in the middle have to be the same, bytes: else nothing is looked at."""
BY_CHANCE = 16
"""At both ends of what is the same in two, so much may be other in a third, bytes."""
MOST_ALIKE = 8
"""So many of what was written last in a turn are compared with what comes."""
STEP = 16
"""So much that is short may be written to a stream between two that others may share."""


class StreamPort(Protocol):
    """The end of a stream on this side; none of these may raise."""

    def received(self, data: bytes) -> None:
        """Take bytes; :meth:`Stream.taken` says when they are gone."""

    def room_changed(self) -> None:
        """Look at :attr:`Stream.can_write` anew."""

    def ended(self) -> None:
        """Take note that nothing more comes, and nothing more goes."""


class Outlet(Protocol):
    """How frames leave."""

    @property
    def is_busy(self) -> bool:
        """Whether frames wait, so that no more should come."""

    def send(self, frame: bytes, *, is_urgent: bool) -> None:
        """Send a frame, an urgent one before others; never waits."""

    def when_free(self, then: Callable[[], None]) -> None:
        """Call ``then`` as soon as nothing waits."""


class CarrierListener(Protocol):
    """What is told of a carrier beside the bytes of its streams."""

    def open_asked(self, number: int, fields: Mapping[str, Any]) -> None:
        """Take a stream, or refuse it."""

    def answered(self, number: int, refusal: Mapping[str, Any] | None) -> None:
        """Take note that a stream was accepted or refused."""

    def state_told(self, fields: Mapping[str, Any]) -> None:
        """Take note of what the robot says of itself."""


class Stream:
    """
    One stream; made by :meth:`Carrier.add`.

    :ivar credit: bytes that may still be written.
    """

    __slots__ = ('_carrier', '_owed', '_unread', 'credit', 'number', 'port')

    def __init__(self, carrier: Carrier, number: int, port: StreamPort) -> None:
        self._carrier = carrier
        self.number = number
        self.port = port
        self.credit = WINDOW
        self._owed = self._unread = 0

    def __repr__(self) -> str:
        return f'<Stream {self.number}, {self.credit} to write, {self._unread} unread>'

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self._carrier.streams.get(self.number) is self

    @property
    def can_write(self) -> bool:
        """Whether more should be written now."""
        return self.credit > 0 and not self._carrier.is_full

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes; never waits, and never refuses what comes too soon."""
        if data and self.is_open:
            self.credit -= len(data)
            self._carrier.write(self, bytes(data))

    def taken(self, size: int) -> None:
        """Take note that bytes that came are gone: so many more may come."""
        self._unread -= size
        self._owed += size
        if self._owed >= TOLD_EACH:
            self.tell()
        else:
            self._carrier.tell_later(self)

    def tell(self) -> None:
        """Tell the other end what was taken."""
        owed, self._owed = self._owed, 0
        if owed and self.is_open:
            self._carrier.give_room(self.number, owed)

    def end(self) -> None:
        """End the stream, after what was written; the port is not told."""
        if self.is_open:
            self._carrier.end(self)

    def take(self, data: bytes) -> None:
        """
        Hand bytes on.

        :raises TooLarge: more came than there was room for.
        """
        self._unread += len(data)
        if self._unread > MOST:
            raise TooLarge(f'{self._unread} bytes of stream {self.number} wait to be taken')
        self.port.received(data)


class Written:
    """
    What is written to some streams in one turn of the loop.

    :ivar step: what has a lower one leaves before it; what follows in one of its streams has a
        higher one.
    :ivar streams: to which ``data`` goes.
    :ivar before: what goes to some of them before it, ``after``: after it.
    """

    __slots__ = ('after', 'before', 'data', 'step', 'streams')

    def __init__(self, streams: list[int], data: bytes, step: int) -> None:
        self.step = step
        self.streams = streams
        self.data = data
        self.before: list[tuple[list[int], bytes]] = []
        self.after: list[tuple[list[int], bytes]] = []

    def __repr__(self) -> str:
        return f'<Written {len(self.data)} bytes to {self.streams}>'

    def frames(self) -> Iterator[tuple[list[int], bytes]]:
        """Give what leaves, in its order."""
        yield from self.before
        yield self.streams, self.data
        yield from self.after

    def add(self, stream: int, data: bytes) -> bool:
        """
        Write to one more stream, if most of it is what others get.

        Once it was found what is the same, it has to be all of that.
        """
        if self.before or self.after:
            start = data.find(self.data, 0, len(self.data) + OWN)
            size = len(self.data)
            if start < 0 or len(data) - size - start > OWN:
                return False
        else:
            own, start, size = _find_same(self.data, data)
            if not size:
                return False
            streams, whole, self.data = [*self.streams], self.data, data[start:start + size]
            self._surround(streams, whole, own)
        self.streams.append(stream)
        self._surround([stream], data, start)
        return True

    def _surround(self, streams: list[int], whole: bytes, start: int) -> None:
        """Write around what is the same."""
        end = start + len(self.data)
        if start:
            self.before.append((streams, whole[:start]))
        if end < len(whole):
            self.after.append((streams, whole[end:]))


def _find_same(one: bytes, other: bytes) -> tuple[int, int, int]:
    """Return where in both the same bytes begin, and how many these are; 0 = too few."""
    middle = len(one) // 2
    probe = one[middle:middle + PROBE]
    found = middle if other.startswith(probe, middle) else other.find(
        probe, max(middle - OWN, 0), middle + PROBE + OWN)
    if found < 0:
        return 0, 0, 0
    before = _same_size(one[:middle][::-1], other[:found][::-1]) - BY_CHANCE
    after = _same_size(one[middle:], other[found:]) - BY_CHANCE
    start, other_start, size = middle - before, found - before, before + after
    is_most = before > 0 and after > 0 and 2 * size >= max(len(one), len(other)) and max(
        start, other_start, len(one) - start - size, len(other) - other_start - size) <= OWN
    return (start, other_start, size) if is_most else (0, 0, 0)


def _same_size(one: bytes, other: bytes) -> int:
    """Return with how many of the same bytes both begin."""
    same, most = 0, min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    while same + 1 < most:      # the first ``same`` are, the first ``most`` are not
        middle = (same + most) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            most = middle
    return same


class Carrier:
    """
    One connection with its streams.

    :param told_after: within which time the other end is told what was taken, s.
    :ivar streams: those that have not ended, by number.
    :ivar is_full: nothing should be written now, to whatever stream.
    :ivar position: bytes that were written, what leaves once counted once; ``left``: of these,
        those that were given to the outlet.
    :ivar on_room: called whenever everything that was written has left, and more may be.
    """

    def __init__(self, outlet: Outlet, listener: CarrierListener,
                 told_after: float = TOLD_AFTER) -> None:
        self._outlet = outlet
        self._listener = listener
        self._told_after = told_after
        self._batch: list[Written] = []     # to no stream: its end, in place of bytes
        self._places: dict[bytes, Written] = {}
        self._large: list[Written] = []     # what others may be like
        self._last: dict[int, int] = {}     # steps, by streams
        self._untold: dict[Stream, None] = {}
        self._telling: asyncio.TimerHandle | None = None
        self.streams: dict[int, Stream] = {}
        self.is_full = False
        self.on_room: Callable[[], None] = _ignore
        self.bytes_out = self.position = self.left = 0

    def __repr__(self) -> str:
        return f'<Carrier of {len(self.streams)} streams>'

    @property
    def has_batch(self) -> bool:
        """Whether something was written in this turn of the loop, which has not left yet."""
        return bool(self._batch)

    # ---- streams

    def add(self, number: int, port: StreamPort) -> Stream:
        """
        Begin a stream.

        :raises BadFrame: there is one of this number.
        """
        if number in self.streams:
            raise BadFrame(f'stream {number} is open')
        stream = self.streams[number] = Stream(self, number, port)
        return stream

    def ask(self, number: int, port: StreamPort, fields: Mapping[str, Any]) -> Stream:
        """Begin a stream, and ask the other end to take it."""
        stream = self.add(number, port)
        self._outlet.send(encode_stream(Kind.OPEN, number, fields), is_urgent=True)
        return stream

    def accept(self, number: int) -> None:
        """Tell the other end that a stream is taken."""
        self._outlet.send(encode_stream(Kind.ACCEPT, number), is_urgent=True)

    def refuse(self, number: int, fields: Mapping[str, Any]) -> None:
        """Tell the other end that a stream is not taken."""
        self._outlet.send(encode_stream(Kind.REFUSE, number, fields), is_urgent=True)

    def tell_state(self, fields: Mapping[str, Any]) -> None:
        """Tell what the list shows."""
        self._outlet.send(encode_state(fields), is_urgent=True)

    def give_room(self, number: int, room: int) -> None:
        """Let the other end write so many more bytes."""
        self._outlet.send(encode_room(number, room), is_urgent=True)

    def tell_later(self, stream: Stream) -> None:
        """Have the other end told soon what was taken of a stream."""
        self._untold[stream] = None
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(
                self._told_after, self._tell)

    def _tell(self) -> None:
        self._telling = None
        untold, self._untold = self._untold, {}
        for stream in untold:
            stream.tell()

    def write(self, stream: Stream, data: bytes) -> None:
        """Write bytes to a stream, in this turn of the loop, with those of others."""
        batch, number = self._batch, stream.number
        if not batch:
            asyncio.get_running_loop().call_soon(self._flush)
        if len(self.streams) > 1:
            last = self._last.get(number, -1)
            same = self._places.get(data)
            if same is not None and same.step > last and len(same.streams) < MAX_STREAMS:
                same.streams.append(number)
                self._last[number] = same.step
                return
            if len(data) >= ALIKE and self._write_alike(number, data):
                return
        written = Written([number], data, self._next_step(number, len(data)))
        if len(self.streams) > 1:
            self._places[data] = written
            if len(data) >= ALIKE:
                self._large.append(written)
        batch.append(written)
        self.position += len(data)

    def _write_alike(self, number: int, data: bytes) -> bool:
        """Write what is the same in most of it as something else; return whether it is."""
        last = self._last.get(number, -1)
        for written in self._large[:-MOST_ALIKE - 1:-1]:
            if written.step <= last or len(written.streams) >= MAX_STREAMS:
                continue
            whole = written.data
            if written.add(number, data):
                if written.data is not whole:
                    self._places.pop(whole, None)       # nobody gets that alone
                self._last[number] = written.step
                self.position += len(data) - len(written.data)
                return True
        return False

    def _next_step(self, number: int, size: int) -> int:
        """Return the step of what follows in a stream."""
        step = self._last.get(number, -1) + 1
        if size >= ALIKE:
            step = (step // STEP + 1) * STEP
        self._last[number] = step
        return step

    def end(self, stream: Stream) -> None:
        """End a stream, after what was written to it."""
        del self.streams[stream.number]
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._flush)
        self._batch.append(Written([], encode_stream(Kind.END, stream.number),
                                   self._next_step(stream.number, 0)))

    def close(self) -> None:
        """End every stream: the connection is gone."""
        self._batch.clear()
        self._forget_places()
        self._untold.clear()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.port.ended()

    # ---- what leaves

    def _forget_places(self) -> None:
        self._places.clear()
        self._large.clear()
        self._last.clear()

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        self._forget_places()
        for written in sorted(batch, key=_step_of):
            if not written.streams:
                self._outlet.send(written.data, is_urgent=False)
                continue
            for streams, data in written.frames():
                self._send(streams, data)
        self.left = self.position
        if self.is_full:
            return
        if self._outlet.is_busy:
            self._set_full(is_full=True)
            self._outlet.when_free(self._free)
        else:
            self.on_room()

    def _send(self, streams: list[int], data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            piece = data if len(data) <= SLICE else data[start:start + SLICE]
            self.bytes_out += len(piece)
            self._outlet.send(encode_data(streams, piece), is_urgent=False)

    def _free(self) -> None:
        self._set_full(is_full=False)
        self.on_room()

    def _set_full(self, *, is_full: bool) -> None:
        self.is_full = is_full
        for stream in list(self.streams.values()):
            stream.port.room_changed()

    # ---- what comes

    def received(self, frame: bytes) -> None:
        """
        Take a frame.

        :raises BadFrame: it is none, or nothing that the other end may say now.
        """
        read = decode(frame)
        if read.kind is Kind.DATA:
            self._data(read)
        elif read.kind is Kind.ROOM:
            self._room(read.streams[0], read.room)
        elif read.kind is Kind.END:
            ended = self.streams.pop(read.streams[0], None)
            if ended is not None:
                ended.port.ended()
        elif read.kind is Kind.OPEN:
            self._listener.open_asked(read.streams[0], read.fields or {})
        elif read.kind is Kind.STATE:
            self._listener.state_told(read.fields or {})
        else:
            self._listener.answered(read.streams[0],
                                    read.fields if read.kind is Kind.REFUSE else None)

    def _data(self, frame: CarrierFrame) -> None:
        for number in frame.streams:
            stream = self.streams.get(number)
            if stream is None:      # it has ended, and the other end does not know yet
                continue
            try:
                stream.take(frame.data)
            except TooLarge:
                stream.end()
                stream.port.ended()

    def _room(self, number: int, room: int) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            stream.credit += room
            if stream.credit > WINDOW:
                raise BadFrame(f'more room in stream {number} than a window')
            stream.port.room_changed()


def _step_of(written: Written) -> int:
    return written.step


def _ignore() -> None:
    """Do nothing."""
