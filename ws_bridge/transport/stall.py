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
"""A peer that takes nothing any more is noticed, though nobody waits for it."""
from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Sending(Protocol):
    """What a connection shows of its sending."""

    messages_out: int
    bytes_out: int
    websocket: Any

    @property
    def has_room(self) -> bool:
        """Whether nothing waits."""

    @property
    def received_signs(self) -> tuple[float, ...]:
        """What changes when anything comes from the peer."""

    def abort(self, reason: str) -> None:
        """Cut the connection."""


class Stall:
    """
    Looks, as long as something waits for a peer, whether it takes or sends anything.

    A ping would not tell: behind a full buffer it does not leave at all.

    :param link: is aborted if nothing changes for ``patience`` s.
    """

    __slots__ = ('_link', '_patience', '_timer')

    def __init__(self, link: Sending, patience: float) -> None:
        self._link = link
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f'<Stall, {"at rest" if self._timer is None else "looks"}>'

    def watch(self) -> None:
        """Look from now on, until nothing waits any more."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(
                self._patience, self._check, self._signs())

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self) -> None:
        """Refer to the link no more; it has ended."""
        self.stop()
        del self._link

    def _signs(self) -> tuple[float, ...]:
        link = self._link
        return (link.messages_out, link.bytes_out,
                link.websocket.transport.get_write_buffer_size(), *link.received_signs)

    def _check(self, before: tuple[float, ...]) -> None:
        self._timer = None
        if self._link.has_room:
            return
        if before == self._signs():
            self._link.abort(f'took nothing for {self._patience:g} s')
        else:
            self.watch()
