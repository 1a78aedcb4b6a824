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

asyncio reads all sockets that have something, and runs their readers, in one turn of the loop.
Here they wait in line once they have used :data:`SLICE` together; then some go on each turn, as
many as are expected to read in that time. Who has not waited lately comes before who has: one that
says little does not wait for those that say much. What is urgent passes the line.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
import time

SLICE = 0.002
"""For how long sockets are read, together, in one turn of the loop, s."""
GAP = 0.0005
"""A reader that comes so long after the last one, s, belongs to another turn of the loop."""
MOST = 64
"""So many readers go on in one turn at most."""
LATELY = 1.0
"""Who waited at most so long ago, s, comes after who did not."""


class Spot:
    """
    The place of one reader in line.

    :ivar waited: when it began to wait the last time, loop time, s.
    :ivar hurries: it does not wait: something urgent is among what it has to read.
    """

    __slots__ = ('_turn', 'hurries', 'waited')

    def __init__(self) -> None:
        self.waited = 0.0
        self.hurries = False
        self._turn: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f'<Spot, waited at {self.waited:g}{", hurries" if self.hurries else ""}>'

    def new_turn(self) -> asyncio.Future[None]:
        """Return what is done when its turn comes."""
        self._turn = asyncio.get_running_loop().create_future()
        return self._turn

    def go(self) -> bool:
        """Let it go on; whether it does: not if its reader was cancelled, or has gone on."""
        if self._turn is None or self._turn.done():
            return False
        self._turn.set_result(None)
        return True

    def hurry(self) -> None:
        """Let it go on now, and not wait until ``hurries`` is taken back."""
        self.hurries = True
        self.go()


class Turns:
    """The line in which all sockets and their readers wait (loop thread)."""

    __slots__ = ('_again', '_begin', '_cost', '_first', '_is_scheduled', '_is_unused', '_last',
                 '_waiting')

    def __init__(self) -> None:
        self._begin = self._last = 0.0
        self._cost = SLICE / 8      # about so long one takes
        self._is_unused = False     # nobody has gone on in this turn
        self._again: deque[Callable[[], bool]] = deque()    # whose turn was over before it came
        self._first: deque[Callable[[], bool]] = deque()
        self._waiting: deque[Callable[[], bool]] = deque()
        self._is_scheduled = False

    def __repr__(self) -> str:
        return f'<Turns, {len(self._again) + len(self._first) + len(self._waiting)} wait>'

    def are_over(self) -> bool:
        """Whether the next one has to wait."""
        now = time.perf_counter()
        if now > self._last + GAP:
            self._begin = self._last = now
        return self._is_line or now > self._begin + SLICE

    def note(self) -> None:
        """Note that something was just read."""
        before, self._last = self._last, time.perf_counter()
        self._cost += (min(self._last - before, SLICE) - self._cost) / 8

    @property
    def _is_line(self) -> bool:
        return bool(self._again or self._first or self._waiting)

    def line_up(self, go: Callable[[], bool], before: float) -> float:
        """
        Have something called when its turn comes.

        :param go: tells whether a reader goes on by it.
        :param before: when the same socket waited the last time, loop time, s.
        :return: when it waits now.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        (self._waiting if now < before + LATELY else self._first).append(go)
        self._schedule(loop)
        return now

    async def wait(self, place: Spot) -> None:
        """Wait in line."""
        loop = asyncio.get_running_loop()
        turn = place.new_turn()
        place.waited = self.line_up(place.go, place.waited)
        await turn
        while not place.hurries and not self._is_unused \
                and time.perf_counter() > self._begin + SLICE:
            turn = place.new_turn()     # those before it took longer than expected
            self._again.append(place.go)
            self._schedule(loop)
            await turn
        if not place.hurries:
            self._is_unused = False

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let some go on, and others in the next turn of the loop."""
        self._is_scheduled = False
        now = time.perf_counter()
        if now > self._last + GAP:
            self._begin = now       # else what was read before in this turn counts too
        self._first.extendleft(reversed(self._again))
        self._again.clear()
        readers = SLICE / max(self._cost, SLICE / MOST)
        try:
            while line := self._first or self._waiting:
                readers -= line.popleft()()
                if readers < 1 or time.perf_counter() > self._begin + SLICE:
                    break
        finally:
            if self._is_line:
                self._schedule(loop)
            self._begin = self._last = time.perf_counter()
            self._is_unused = True
