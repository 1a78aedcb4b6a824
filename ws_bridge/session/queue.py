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
from typing import NamedTuple

from ws_bridge.errors import QueueOverflow
from ws_bridge.protocol.types import Priority

_REMEMBERED = 64
"""Streams that are remembered though nothing of them waits."""
Split = Callable[[bytes], Iterable[bytes]]
"""Makes several frames of one, which leave together."""


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

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Give the frame in pieces of at most so many bytes, without copying it."""
        for part in self._parts:
            view = memoryview(part)
            for start in range(0, len(part), size):
                yield view[start:start + size]


Frame = bytes | Parts


class Outgoing(NamedTuple):
    """One frame to write: a text frame (UTF-8) or a binary one; as several if it is split."""

    frame: Frame
    text: bool
    split: Split | None = None

    def frames(self) -> Iterable[Frame]:
        """Return what is written."""
        if self.split is None:
            return [self.frame]
        return self.split(self.frame.whole() if isinstance(self.frame, Parts) else self.frame)


class OutQueue:
    """
    Frames wait here while their peer is busy.

    Two kinds: *messages* (replies, state, stop) leave by priority, first in first out inside
    one, and are never dropped; *streams* leave after them. A stream keeps only its newest frames.
    Each stream gets the same share of the bytes, so that neither a fast nor a large one keeps the
    others waiting for more than a frame (start-time fair queueing: Goyal, Vin and Cheng, 1996); of
    those that had as much, the one that waits longest leaves first. When the queue is full, the
    stream of which most bytes wait gives way, its oldest frame first.

    :param max_bytes: how much may wait.
    :param max_frames: how many frames may wait.
    """

    __slots__ = ('_had', '_lanes', '_lost', '_max_bytes', '_max_frames', '_message_bytes',
                 '_messages', '_sizes', '_stream_frames', '_streams', '_turn', 'dropped', 'nbytes')

    def __init__(self, max_bytes: int, max_frames: int) -> None:
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._lanes: dict[Priority, deque[Outgoing]] = {
            priority: deque() for priority in sorted(Priority, reverse=True)}
        self._messages = 0
        self._message_bytes = 0
        # By key; in the order in which they began to wait.
        self._streams: dict[Hashable, deque[Outgoing]] = {}
        # What each stream had, bytes; one that comes again has no claim on what it left to others.
        self._had: dict[Hashable, int] = {}
        self._lost: set[Hashable] = set()
        self._turn = 0          # what the stream had that was last
        self._sizes: dict[Hashable, int] = {}
        self._stream_frames = 0
        self.nbytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._messages + self._stream_frames

    @property
    def owed_bytes(self) -> int:
        """Bytes of the messages that wait."""
        return self._message_bytes

    def __repr__(self) -> str:
        return f'<OutQueue {len(self)} frames, {self.nbytes} bytes, {self.dropped} dropped>'

    def put(self, frame: bytes, priority: Priority, *, text: bool = True) -> None:
        """
        Queue a message; streams give way to it.

        :raises QueueOverflow: if there is no room even without them; nothing has changed then.
        """
        size = len(frame)
        if self._message_bytes + size > self._max_bytes or self._messages >= self._max_frames:
            raise QueueOverflow(
                f'{self._messages} messages of {self._message_bytes} bytes wait already')
        self._lanes[priority].append(Outgoing(frame, text))
        self._messages += 1
        self._message_bytes += size
        self.nbytes += size
        self._make_room()

    def put_stream(self, key: Hashable, frame: Frame, depth: int, *, text: bool = True,
                   split: Split | None = None) -> int:
        """
        Queue the newest frame of stream ``key`` and keep at most ``depth`` (at least 1) of them.

        A frame that cannot fit beside the waiting messages is itself dropped.

        :return: how many frames were dropped.
        """
        before = self.dropped
        waiting = self._streams.get(key)
        if waiting is None:
            waiting = self._streams[key] = deque()
            self._sizes[key] = 0
            self._had[key] = max(self._had.get(key, 0), self._turn)
        waiting.append(Outgoing(frame, text, split))
        self._stream_frames += 1
        self._sizes[key] += len(frame)
        self.nbytes += len(frame)
        for _ in range(len(waiting) - max(depth, 1)):
            self._drop(key)
        self._make_room()
        return self.dropped - before

    def pop(self) -> Outgoing | None:
        """Take the frame that leaves next."""
        if self._messages:
            item = next(lane for lane in self._lanes.values() if lane).popleft()
            self._messages -= 1
            self._message_bytes -= len(item.frame)
            self.nbytes -= len(item.frame)
        elif self._streams:
            item = self._take_turn()
        else:
            return None
        return item

    def forget(self, key: Hashable) -> None:
        """Forget what waits of a stream that nobody wants any more."""
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
        self._had.clear()
        self._sizes.clear()
        self._messages = self._message_bytes = self._stream_frames = self.nbytes = 0

    def _make_room(self) -> None:
        """Have the largest streams give way until the bounds hold; messages alone always fit."""
        while self._streams and (self.nbytes > self._max_bytes or len(self) > self._max_frames):
            self._drop(max(self._sizes, key=self._sizes.__getitem__))

    def _drop(self, key: Hashable) -> None:
        self._take(key)
        self._lost.add(key)
        self.dropped += 1

    def _take_turn(self) -> Outgoing:
        """Take a frame of the stream that had least."""
        key = min(self._streams, key=self._had.__getitem__)
        item = self._take(key)
        self._turn = self._had[key]
        self._had[key] += len(item.frame)
        if not self._streams:
            self._had.clear()
        elif len(self._had) > 2 * len(self._streams) + _REMEMBERED:
            self._had = {key: self._had[key] for key in self._streams}
        return item

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
