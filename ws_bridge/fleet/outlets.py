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
"""How the frames of a carrier leave by a WebSocket connection, and when too many wait."""
from __future__ import annotations

import asyncio
from collections.abc import Callable

from ws_bridge.protocol.types import Priority
from ws_bridge.transport.link import Link

LOOK = 0.005
"""Between looks whether a full link has room, s."""
PATIENCE = 1.0
"""How long at most until it is looked at again, s."""


class LinkOutlet:
    """Sends frames by a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f'<LinkOutlet of {self._link!r}>'

    @property
    def is_busy(self) -> bool:
        """Whether the link has too much already."""
        return not self._link.is_idle

    def send(self, frame: bytes, *, is_urgent: bool) -> None:
        """Send a frame, an urgent one before others; never waits."""
        self._link.send(frame, Priority.CRITICAL if is_urgent else Priority.NORMAL, text=False)

    def when_free(self, then: Callable[[], None]) -> None:
        """Call ``then`` as soon as the link has room."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_task(self._wait(then))

    async def _wait(self, then: Callable[[], None]) -> None:
        link = self._link
        while link.is_open and not link.is_idle:
            await link.flushed(PATIENCE)
            if not link.is_idle:        # the kernel tells by no event when it has room
                await asyncio.sleep(LOOK)
        self._waiting = None
        if link.is_open:
            then()

    def close(self) -> None:
        """Wait no more."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
