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
many as are expected to read in that time. Each network has two lines, and one of each goes on by
turns: many connections from one place do not keep others waiting. In the one stand those who have
not waited lately: who says little does not wait for those of its network that say much. What is
urgent passes the lines. Connections that begin or end have a line too.
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
"""Who waited at most so long ago, s, stands in the line of those that say much."""

_Key = tuple[str, bool]
"""A line: the network, and whether those in it have waited lately."""


class Spot:
    """
    The place of one connection in line.

    :ivar network: from where it comes.
    :ivar waited: when it began to wait the last time, loop time, s.
    :ivar hurries: its reader does not wait: something urgent is among what it has to read.
    """

    __slots__ = ('_turn', 'hurries', 'network', 'waited')

    def __init__(self, network: str = '') -> None:
        self.network = network
        self.waited = -LATELY
        self.hurries = False
        self._turn: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f'<Spot of {self.network}, waited at {self.waited:g}' \
               f'{", hurries" if self.hurries else ""}>'

    def new_turn(self) -> asyncio.Future[None]:
        """Return what is done when the turn of its reader comes."""
        self._turn = asyncio.get_running_loop().create_future()
        return self._turn

    def go(self) -> bool:
        """Let its reader go on; whether it does: not if it was cancelled, or has gone on."""
        if self._turn is None or self._turn.done():
            return False
        self._turn.set_result(None)
        return True

    def hurry(self) -> None:
        """Let its reader go on now, and not wait until ``hurries`` is taken back."""
        self.hurries = True
        self.go()


class Turns:
    """The lines in which all sockets and their readers wait (loop thread)."""

    __slots__ = ('_begin', '_changing', '_cost', '_in_front', '_is_calling', '_is_scheduled',
                 '_is_unused', '_last', '_lines')

    def __init__(self) -> None:
        self._begin = self._last = 0.0
        self._cost = SLICE / 8      # about so long one takes
        self._is_unused = False     # nobody has gone on in this turn
        self._is_calling = False    # what asks now has its turn
        self._is_scheduled = False
        #: The one whose turn is next is in front.
        self._lines: dict[_Key, deque[Callable[[], bool]]] = {}
        #: What comes before these: it is urgent, or its turn was over before it came.
        self._in_front: list[tuple[_Key, Callable[[], bool]]] = []
        self._changing: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        waiting = sum(map(len, self._lines.values())) + len(self._in_front)
        return f'<Turns, {waiting} wait, {len(self._changing)} begin or end>'

    def are_over(self) -> bool:
        """Whether the next one has to wait."""
        now = time.perf_counter()
        if self._is_calling:
            return now > self._begin + SLICE
        if now > self._last + GAP:
            self._begin = self._last = now
        return bool(self._lines or self._in_front) or now > self._begin + SLICE

    def note(self) -> None:
        """Note that something was just read."""
        before, self._last = self._last, time.perf_counter()
        self._cost += (min(self._last - before, SLICE) - self._cost) / 8

    def line_up(self, go: Callable[[], bool], place: Spot, *, is_urgent: bool = False) -> _Key:
        """
        Have something called when its turn comes.

        :param go: tells whether a reader goes on by it.
        :param is_urgent: before all others.
        :return: the line in which it stands.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        key = place.network, now < place.waited + LATELY
        place.waited = now
        if is_urgent:
            self._in_front.append((key, go))
        else:
            self._lines.setdefault(key, deque()).append(go)
        self._schedule(loop)
        return key

    async def wait(self, place: Spot) -> None:
        """Wait in line."""
        turn = place.new_turn()
        key = self.line_up(place.go, place)
        await turn
        while not place.hurries and not self._is_unused \
                and time.perf_counter() > self._begin + SLICE:
            turn = place.new_turn()     # those before it took longer than expected
            self._in_front.append((key, place.go))
            self._schedule(asyncio.get_running_loop())
            await turn
        if not place.hurries:
            self._is_unused = False

    async def come_or_go(self) -> None:
        """
        Wait until a connection may begin or end: one in a turn of the loop, after those that read.

        Who comes finds that those have left who ended before.
        """
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._changing.append(turn)
        self._schedule(loop)
        await turn

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
        if self._in_front:
            self._put_in_front()
        readers = SLICE / max(self._cost, SLICE / MOST)
        self._is_calling = True
        try:
            while self._lines:
                readers -= self._take()()
                if readers < 1 or time.perf_counter() > self._begin + SLICE:
                    break
            while self._changing:
                turn = self._changing.popleft()
                if not turn.done():     # else it was cancelled
                    turn.set_result(None)
                    break
        finally:
            self._is_calling = False
            if self._lines or self._changing:
                self._schedule(loop)
            self._begin = self._last = time.perf_counter()
            self._is_unused = True

    def _put_in_front(self) -> None:
        """Let those come first who do not wait for others."""
        later, self._lines = self._lines, {}
        for key, go in self._in_front:
            self._lines.setdefault(key, deque()).append(go)
        self._in_front.clear()
        for key, line in later.items():
            self._lines.setdefault(key, deque()).extend(line)

    def _take(self) -> Callable[[], bool]:
        """Return what is next: of the line in front, which is the last one then."""
        key = next(iter(self._lines))
        line = self._lines.pop(key)
        go = line.popleft()
        if line:
            self._lines[key] = line
        return go
