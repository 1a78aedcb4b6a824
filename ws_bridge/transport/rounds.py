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
"""What is done for every connection again and again: one timer for all, not one for each."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
import time

SLICE = 0.001
"""For how long members are called before the loop does other things, s."""


class Round:
    """
    Calls its members once in each interval, all in one go, in slices (loop thread).

    A member that raises does not keep the others from being called. A round that the loop is too
    late for is not made up for.

    :param interval: s.
    """

    __slots__ = ('_left', '_members', '_timer', 'interval')

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._members: dict[Callable[[], None], None] = {}
        self._left: Iterator[Callable[[], None]] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f'<Round of {len(self._members)}, {self.interval:g} s>'

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Callable[[], None]) -> None:
        """Call ``member`` from the next round on: in ``interval`` s at the latest."""
        self._members[member] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.interval, self._begin)

    def discard(self, member: Callable[[], None]) -> None:
        """Call a member no more; without one there is no timer."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.interval, self._begin)
        if self._left is None:
            self._left = iter(tuple(self._members))
            self._go_on()

    def _go_on(self) -> None:
        """Call those of this round that were not called yet, for a slice of time."""
        left = self._left
        assert left is not None
        end = time.perf_counter() + SLICE
        is_done = False
        try:
            for member in left:
                if member in self._members:
                    member()
                    if time.perf_counter() > end:
                        break
            else:
                is_done = True
        finally:
            if is_done:
                self._left = None
            else:
                asyncio.get_running_loop().call_soon(self._go_on)


class Rounds:
    """The rounds of an interface, one for each interval."""

    __slots__ = ('_rounds',)

    def __init__(self) -> None:
        self._rounds: dict[float, Round] = {}

    def __repr__(self) -> str:
        return f'<Rounds {list(self._rounds.values())}>'

    def add(self, interval: float, member: Callable[[], None]) -> None:
        """Call ``member`` once in ``interval`` s."""
        found = self._rounds.get(interval)
        if found is None:
            found = self._rounds[interval] = Round(interval)
        found.add(member)

    def discard(self, interval: float, member: Callable[[], None]) -> None:
        """Call a member no more, if it is called at all."""
        found = self._rounds.get(interval)
        if found is not None:
            found.discard(member)
            if not len(found):
                del self._rounds[interval]
