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
"""One peer's outbound frames: in order of priority, bounded, the newest of each stream kept."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from itertools import chain, count
from math import inf
import sys
from typing import Any, NamedTuple

from ws_bridge.errors import QueueOverflow
from ws_bridge.protocol.pieces import HEADER, make_piece
from ws_bridge.protocol.types import Priority

_REMEMBERED = 64
"""Streams that are remembered though nothing of them waits."""
Split = Callable[[bytes], Iterable[bytes]]
"""Makes several frames of one, which leave in their order; others may pass in between."""
OnLeft = Callable[[], None]
"""Called when all of a frame was written."""


class Share(NamedTuple):
    """
    What a stream is entitled to where a link is too slow for all.

    :param weight: of its bytes beside those of others; ``None`` = by the size of its frames.
    :param priority: those of a higher one leave first.
    :param max_gap: after so long without a frame it is its turn before all others, s.
    """

    weight: float | None = None
    priority: int = 0
    max_gap: float = inf


class Drops(NamedTuple):
    """
    How many frames of a stream gave way.

    :param size: of the last one, bytes.
    """

    frames: int = 0
    size: int = 0


SMALL = 8192
"""Frames of up to this size are small, bytes."""
SMALL_WEIGHT = 4.0
"""How much more of the bytes streams of small frames get than others, unless it is said."""
USUAL = Share()
"""Of a stream of which nothing is said."""


class Parts:
    """One large frame that was never put together: to copy it would keep everybody waiting."""

    __slots__ = ('_parts', '_size')

    def __init__(self, *parts: bytes | memoryview) -> None:
        self._parts = parts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        return self._size

    def whole(self) -> bytes:
        """Return the frame as bytes."""
        return b''.join(self._parts)

    def views(self) -> Iterator[memoryview]:
        """Give what the frame consists of."""
        return map(memoryview, self._parts)

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Give the frame in pieces of at most so many bytes, without copying it."""
        for part in self._parts:
            view = memoryview(part)
            for start in range(0, len(part), size):
                yield view[start:start + size]


Frame = bytes | Parts


def views(frame: Frame) -> Iterable[memoryview]:
    """Return what a frame consists of."""
    return frame.views() if isinstance(frame, Parts) else (memoryview(frame),)


def take_first(left: deque[memoryview], size: int) -> list[memoryview]:
    """Take the first bytes of what is left of a frame, without a copy; so many are left."""
    taken = []
    while size:
        view = left.popleft()
        taken.append(view[:size])
        if len(view) > size:
            left.appendleft(view[size:])
        size -= len(taken[-1])
    return taken


class Outgoing(NamedTuple):
    """One frame to write: a text frame (UTF-8) or a binary one; as several if it is split."""

    frame: Frame
    text: bool
    split: Split | None = None
    on_left: OnLeft | None = None

    def frames(self) -> Iterable[Frame]:
        """Return what is written."""
        if self.split is None:
            return [self.frame]
        return self.split(self.frame.whole() if isinstance(self.frame, Parts) else self.frame)


class Begun:
    """
    A frame of which a part has left: the rest follows, and messages pass it.

    :param number: of its pieces; ``None`` = it leaves as a whole.
    :ivar size: of the whole frame, bytes; ``rest``: those that have not left.
    """

    __slots__ = ('_frames', '_item', '_next', '_number', '_views', 'is_done', 'rest', 'size')

    def __init__(self, item: Outgoing, number: int | None) -> None:
        self._item = item
        self._number = number
        self.size = self.rest = len(item.frame)
        self.is_done = False
        self._views: deque[memoryview] = deque()
        self._frames: Iterator[Frame] = iter(())
        self._next: Frame | None = None
        if number is None or item.split is not None:
            self._number = None
            self._frames = iter(item.frames())
            self._next = next(self._frames)
        else:
            self._views.extend(views(item.frame))

    def take(self, most: int) -> Outgoing:
        """
        Return what leaves next.

        :param most: bytes of a piece, with its head.
        """
        item = self._item
        frame = self._next_frame() if self._number is None else self._piece(
            self._number, max(most - HEADER.size, 1))
        return Outgoing(frame, item.text and self._number is None, None,
                        item.on_left if self.is_done else None)

    def _next_frame(self) -> Frame:
        frame = self._next
        assert frame is not None
        self._next = next(self._frames, None)
        self.is_done = self._next is None
        self.rest = 0 if self.is_done else max(self.rest - len(frame), 1)
        return frame

    def _piece(self, number: int, most: int) -> bytes:
        size = min(most, self.rest)
        self.rest -= size
        self.is_done = not self.rest
        return make_piece(number, take_first(self._views, size), text=self._item.text,
                          last=self.is_done)


class OutQueue:
    """
    Frames wait here while their peer is busy.

    Two kinds: *messages* (replies, state, stop) leave by priority, first in first out inside
    one, and are never dropped; *streams* leave after them. A stream keeps only its newest frames.
    Each stream gets a share of the bytes by its weight, so that neither a fast nor a large one
    keeps the others waiting for more than a frame (start-time fair queueing: Goyal, Vin and Cheng,
    1996); of those that had as much, the one that waits longest leaves first. Before that counts
    what their :class:`Share` says: whose turn is overdue, and priority. When the queue is full,
    the stream of which most bytes wait gives way, its oldest frame first.

    What is split, and what is large where the peer takes pieces, leaves piece by piece: whatever
    is more urgent passes in between, and other streams have their turns. Such a frame counts no
    more as waiting, and gives way to nothing.

    :param max_bytes: how much may wait.
    :param max_frames: how many frames may wait.
    :ivar owed_bytes: of the messages that wait.
    :ivar takes_pieces: the peer does.
    :ivar most_whole: a larger frame of a stream that comes faster than it leaves gives way where
        the peer takes no pieces, bytes: nothing could pass it.
    """

    __slots__ = ('_begun', '_drops', '_had', '_lanes', '_left_at', '_lost', '_max_bytes',
                 '_max_frames', '_messages', '_numbers', '_shares', '_sizes',
                 '_stream_frames', '_streams', '_turns', '_urgent', 'dropped', 'most_whole',
                 'nbytes', 'owed_bytes', 'takes_pieces')

    def __init__(self, max_bytes: int, max_frames: int) -> None:
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._lanes: dict[Priority, deque[Outgoing]] = {
            priority: deque() for priority in sorted(Priority, reverse=True)}
        self._messages = 0
        self.owed_bytes = 0
        # By key; in the order in which they began to wait.
        self._streams: dict[Hashable, deque[Outgoing]] = {}
        # What each stream had, bytes by its weight; one that comes again has no claim on what it
        # left to others.
        self._had: dict[Hashable, float] = {}
        # What the stream had whose turn was last, by priority.
        self._turns: dict[int, float] = {}
        self._shares: dict[Hashable, Share] = {}
        self._left_at: dict[Hashable, float] = {}   # of those that may be overdue
        self._drops: dict[Hashable, Drops] = {}
        self._lost: set[Hashable] = set()
        self._sizes: dict[Hashable, int] = {}
        self._stream_frames = 0
        self._begun: dict[Hashable, Begun] = {}     # of streams
        self._urgent: dict[Priority, Begun] = {}    # of messages
        self._numbers = count(1)
        self.nbytes = 0
        self.dropped = 0
        self.takes_pieces = False
        self.most_whole: float = inf

    def __len__(self) -> int:
        return self._messages + self._stream_frames

    @property
    def begun_bytes(self) -> int:
        """Bytes that are left of frames of which a part has left."""
        return sum([begun.rest for begun in chain(self._begun.values(), self._urgent.values())])

    @property
    def has_messages(self) -> bool:
        """Whether messages wait, or the rest of one."""
        return bool(self._messages or self._urgent)

    def __repr__(self) -> str:
        return f'<OutQueue {len(self)} frames, {self.nbytes} bytes, {self.dropped} dropped>'

    def put(self, frame: bytes, priority: Priority, *, text: bool = True) -> None:
        """
        Queue a message; streams give way to it.

        :raises QueueOverflow: if there is no room even without them; nothing has changed then.
        """
        size = len(frame)
        if self.owed_bytes + size > self._max_bytes or self._messages >= self._max_frames:
            raise QueueOverflow(
                f'{self._messages} messages of {self.owed_bytes} bytes wait already')
        self._lanes[priority].append(Outgoing(frame, text))
        self._messages += 1
        self.owed_bytes += size
        self.nbytes += size
        self._make_room()

    def put_stream(self, key: Hashable, frame: Frame, depth: int, *, text: bool = True,
                   split: Split | None = None, on_left: OnLeft | None = None) -> int:
        """
        Queue the newest frame of stream ``key`` and keep at most ``depth`` (at least 1) of them.

        A frame that cannot fit beside the waiting messages is itself dropped.

        :return: how many frames were dropped.
        """
        if self._gives_way(key, frame, split):
            return 1
        before = self.dropped
        waiting = self._streams.get(key)
        if waiting is None:
            waiting = self._streams[key] = deque()
            self._sizes[key] = 0
            self._wait_in_line(key)
        waiting.append(Outgoing(frame, text, split, on_left))
        self._stream_frames += 1
        self._sizes[key] += len(frame)
        self.nbytes += len(frame)
        for _ in range(len(waiting) - max(depth, 1)):
            self._drop(key)
        self._make_room()
        return self.dropped - before

    def share(self, key: Hashable, share: Share) -> None:
        """Let a stream have its share from now on."""
        if share != USUAL:
            self._shares[key] = share
        else:
            self._shares.pop(key, None)

    def take_drops(self) -> dict[Any, Drops]:
        """Return what gave way of each stream since this was asked."""
        drops, self._drops = self._drops, {}
        return drops

    def begin(self, frame: bytes, priority: Priority, *, text: bool = True) -> None:
        """Let a large message leave, for which no room is asked: nothing waits now."""
        self._urgent[priority] = self._begin(Outgoing(frame, text))

    def begin_stream(self, key: Hashable, frame: Frame, *, text: bool = True,
                     split: Split | None = None, on_left: OnLeft | None = None) -> None:
        """Do the same with a frame of a stream, unless it gives way."""
        if self._gives_way(key, frame, split):
            return
        self._wait_in_line(key)
        self._begun[key] = self._begin(Outgoing(frame, text, split, on_left))

    def pop(self, most: int = sys.maxsize, now: float = 0.0) -> Outgoing | None:
        """
        Take what leaves next.

        :param most: bytes that should leave in one piece.
        :param now: monotonic, s.
        """
        if self._messages or self._urgent:
            return self._take_message(most)
        if self._streams or self._begun:
            return self._take_turn(most, now)
        return None

    def large(self, most: int) -> list[int]:
        """Return what tells those frames apart that are next of a stream and larger than that."""
        return [id(waiting[0].frame) for waiting in self._streams.values()
                if len(waiting[0].frame) > most]

    def take_alike(self, frame: bytes, end: bytes, now: float = 0.0) -> Outgoing | None:
        """
        Take a frame out of turn, since one like it leaves to others, if it is next of its stream.

        :param end: of the frame; one of the same size that has this end is like it.
        :param now: monotonic, s.
        :return: ``None``: there is none, or messages wait.
        """
        if not self.has_messages:
            for key, waiting in self._streams.items():
                other = waiting[0].frame
                if isinstance(other, bytes) and len(other) == len(frame) \
                        and (other is frame or other.endswith(end)) \
                        and waiting[0].split is None and key not in self._begun:
                    self._count_turn(key, len(frame), len(frame), now)
                    return self._take(key)
        return None

    def forget(self, key: Hashable) -> None:
        """Forget a stream that nobody wants any more, and what waits of it."""
        self._shares.pop(key, None)
        self._left_at.pop(key, None)
        self._drops.pop(key, None)
        while key in self._streams:
            self._take(key)
        self._lost.discard(key)

    def has_lost(self, key: Hashable) -> bool:
        """Whether a frame of a stream was dropped since it was last forgotten."""
        return key in self._lost

    def waiting(self, key: Hashable) -> int:
        """Return how many frames of a stream wait."""
        return len(self._streams.get(key, ()))

    def clear(self) -> None:
        """Forget everything that waits."""
        for lane in self._lanes.values():
            lane.clear()
        self._streams.clear()
        self._begun.clear()
        self._urgent.clear()
        self._had.clear()
        self._sizes.clear()
        self._messages = self.owed_bytes = self._stream_frames = self.nbytes = 0

    def _make_room(self) -> None:
        """Have the largest streams give way until the bounds hold; messages alone always fit."""
        while self._streams and (self.nbytes > self._max_bytes or len(self) > self._max_frames):
            self._drop(max(self._sizes, key=self._sizes.__getitem__))

    def _drop(self, key: Hashable, frame: Frame | None = None) -> None:
        """Drop a frame of a stream: one that has just come, else the oldest that waits."""
        size = len(self._take(key).frame if frame is None else frame)
        self._lost.add(key)
        self.dropped += 1
        self._drops[key] = Drops(self._drops.get(key, Drops()).frames + 1, size)

    def _gives_way(self, key: Hashable, frame: Frame, split: Split | None) -> bool:
        """
        Drop a frame of a stream that nothing could pass for too long; return whether it was.

        One of a stream of which none was dropped yet leaves: it may be the only one, as of a map.
        """
        if len(frame) <= self.most_whole or self.takes_pieces or split is not None \
                or key not in self._lost:
            return False
        self._drop(key, frame)
        return True

    def _wait_in_line(self, key: Hashable) -> None:
        """Let a stream that had nothing to send begin with no claim."""
        turn = self._turns.get(self._shares.get(key, USUAL).priority, 0.0)
        self._had[key] = max(self._had.get(key, 0.0), turn)

    def _begin(self, item: Outgoing) -> Begun:
        return Begun(item, next(self._numbers) if self.takes_pieces else None)

    def _is_whole(self, item: Outgoing, most: int) -> bool:
        """Whether a frame leaves at once."""
        return item.split is None and (not self.takes_pieces or len(item.frame) <= most)

    def _take_message(self, most: int) -> Outgoing:
        """Take the oldest message of the highest priority, or the next piece of it."""
        urgent = self._urgent
        priority = next(priority for priority, lane in self._lanes.items()
                        if lane or priority in urgent)
        begun = urgent.get(priority)
        if begun is None:
            item = self._lanes[priority].popleft()
            self._messages -= 1
            self.owed_bytes -= len(item.frame)
            self.nbytes -= len(item.frame)
            if self._is_whole(item, most):
                return item
            begun = urgent[priority] = self._begin(item)
        piece = begun.take(most)
        if begun.is_done:
            del urgent[priority]
        return piece

    def _rank(self, now: float, key: Hashable) -> tuple[bool, int, float]:
        """Return what is least of the stream whose turn it is."""
        share = self._shares.get(key, USUAL)
        return (not self._is_overdue(key, share, now), -share.priority, self._had[key])

    def _is_overdue(self, key: Hashable, share: Share, now: float) -> bool:
        return share.max_gap < inf and now - self._left_at.get(key, -inf) >= share.max_gap

    def _take_turn(self, most: int, now: float) -> Outgoing:
        """Take a frame of the stream whose turn it is, or the next piece of it."""
        streams, begun_ones = self._streams, self._begun
        key = min(chain(begun_ones, streams), key=partial(self._rank, now) if self._shares
                  else self._had.__getitem__)
        begun = begun_ones.get(key)
        if begun is None:
            item = self._take(key)
            size = len(item.frame)
            if not self._is_whole(item, most):
                begun = begun_ones[key] = self._begin(item)
        if begun is not None:
            size = begun.size
            item = begun.take(most)
            if begun.is_done:
                del begun_ones[key]
        share = self._shares.get(key, USUAL)
        if not self._is_overdue(key, share, now):   # else it is nobody's turn that way
            self._turns[share.priority] = self._had[key]
        self._count_turn(key, size, len(item.frame), now)
        if not (streams or begun_ones):
            self._had.clear()
        elif len(self._had) > 2 * (len(streams) + len(begun_ones)) + _REMEMBERED:
            self._had = {key: self._had[key] for key in {*streams, *begun_ones}}
        return item

    def _count_turn(self, key: Hashable, size: int, sent: int, now: float) -> None:
        """
        Count what a stream is sent.

        :param size: of the frame, bytes; ``sent``: of what leaves of it.
        """
        share = self._shares.get(key, USUAL)
        if share.max_gap < inf and key not in self._begun:
            self._left_at[key] = now
        self._had[key] += sent / (share.weight or (SMALL_WEIGHT if size <= SMALL else 1.0))

    def _take(self, key: Hashable) -> Outgoing:
        """Take the oldest frame of a stream."""
        waiting = self._streams[key]
        item = waiting.popleft()
        self.nbytes -= len(item.frame)
        self._sizes[key] -= len(item.frame)
        self._stream_frames -= 1
        if not waiting:
            del self._streams[key], self._sizes[key]
        return item
