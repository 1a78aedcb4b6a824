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
"""From any thread to the event loop, one wake-up a batch."""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
import time

TURN = 0.002
"""What was posted is worked off for so long before others have the loop, s."""


class Mailbox:
    """
    Run functions on the loop's thread, in the order in which they were posted.

    :param loop: the loop that runs them.
    :ivar then: called after them, once a turn of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self._scheduled = False
        self.then: Callable[[], None] = lambda: None

    def post(self, function: Callable[..., None], *args: object) -> None:
        """
        Have ``function(*args)`` called on the loop; never waits, any thread.

        After the loop was closed nothing is called any more.
        """
        self._items.append((function, args))
        # append first, look second; _drain resets first, pops second: no item is forgotten
        if not self._scheduled:
            self._scheduled = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop is closed: the process is on its way out
                self._items.clear()

    def attach(self, descriptor: int, function: Callable[[], None]) -> Callable[[], None]:
        """
        Have a function called on the loop whenever a file descriptor can be read.

        :return: what ends that.
        """
        def ready() -> None:
            try:
                function()
            finally:
                self.then()
        self._loop.add_reader(descriptor, ready)

        def end() -> None:
            self._loop.remove_reader(descriptor)
        return end

    def _drain(self) -> None:
        self._scheduled = False
        end = time.perf_counter() + TURN
        try:
            for _ in range(len(self._items)):
                function, args = self._items.popleft()
                function(*args)
                if time.perf_counter() > end:   # the sockets are looked at before the rest
                    break
        finally:
            if self._items and not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._drain)
            self.then()
