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
"""Received messages that wait for ``receive()``: bounded, the newest kept."""
from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar('T')

#: What a message costs beside its own bytes, so that empty ones are bounded too.
OVERHEAD = 256


class Inbox(Generic[T]):
    """
    A queue between the reader of a socket and those who take from it.

    :param max_bytes: how much may wait; beyond it the oldest is dropped, never the newest.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._items: deque[tuple[T, int, bool]] = deque()
        self._nbytes = 0
        self._takers: deque[asyncio.Future[T | None]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, size: int, *, is_spare: bool = False) -> int:
        """
        Add a message, or hand it to who waits longest.

        :param size: bytes, with ``OVERHEAD``.
        :param is_spare: somebody else gets it as well.
        :return: how many messages were dropped for it that were no spare ones.
        """
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(item)
                return 0
        self._items.append((item, size, is_spare))
        self._nbytes += size
        dropped = 0
        while self._nbytes > self.max_bytes and len(self._items) > 1:
            _, size, is_spare = self._items.popleft()
            self._nbytes -= size
            dropped += not is_spare
        return dropped

    def pop(self) -> T | None:
        """Take the oldest message, if there is one."""
        if not self._items:
            return None
        item, size, _ = self._items.popleft()
        self._nbytes -= size
        return item

    async def take(self, timeout: float | None) -> T | None:
        """Take the oldest message; wait up to ``timeout`` s (``None`` = for ever) for one."""
        if self._items:
            return self.pop()
        taker: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._takers.append(taker)
        try:
            await asyncio.wait((taker,), timeout=timeout)
        except asyncio.CancelledError:
            if taker.done() and (item := taker.result()) is not None:
                self._items.appendleft((item, 0, False))    # it was handed over in vain
            raise
        finally:
            if not taker.done():
                self._takers.remove(taker)
                taker.cancel()
        return None if taker.cancelled() else taker.result()

    def release(self) -> None:
        """Let all who wait go, with nothing."""
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
