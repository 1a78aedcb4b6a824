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
Who reads next: with many sockets to read, the loop does other things between two of them.

Each socket has a reader, and asyncio lets all that have something run in one turn of the loop.
Here they wait in line once they have used :data:`SLICE` together; then one a turn goes on. Who
has not waited lately comes before who has: one that says little does not wait for those that say
much. What is urgent passes the line.
"""
from __future__ import annotations

import asyncio
from collections import deque
import time

SLICE = 0.002
"""For how long sockets are read, together, in one turn of the loop, s."""
GAP = 0.0005
"""A reader that comes so long after the last one, s, belongs to another turn of the loop."""
LATELY = 1.0
"""Who waited at most so long ago, s, comes after who did not."""


class Turns:
    """The line of the readers of all sockets (loop thread)."""

    __slots__ = ('_begin', '_first', '_is_scheduled', '_last', '_waiting')

    def __init__(self) -> None:
        self._begin = self._last = 0.0
        self._first: deque[asyncio.Future[None]] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False

    def __repr__(self) -> str:
        return f'<Turns, {len(self._first) + len(self._waiting)} wait>'

    def are_over(self) -> bool:
        """Whether the next reader has to :meth:`wait`."""
        now = time.perf_counter()
        if now > self._last + GAP:
            self._begin = now
        return bool(self._first or self._waiting) or now > self._begin + SLICE

    def note(self) -> None:
        """Note that something was just read."""
        self._last = time.perf_counter()

    async def wait(self, before: float) -> float:
        """
        Wait in line.

        :param before: when the reader began to wait the last time, loop time, s.
        :return: when it began to wait now.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        turn = loop.create_future()
        (self._waiting if now < before + LATELY else self._first).append(turn)
        self._schedule(loop)
        await turn
        return now

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let one go on, and the next one in the next turn of the loop."""
        self._is_scheduled = False
        while line := self._first or self._waiting:
            turn = line.popleft()
            if not turn.done():         # its reader has not been cancelled
                turn.set_result(None)
                self._begin = time.perf_counter()
                self._schedule(loop)
                break
