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
"""The connections of one interface, and what went through them in all."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
import time
from typing import Any, TYPE_CHECKING

from ws_bridge.offload.memory import give_back
from ws_bridge.transport.fence import Fenced
from ws_bridge.transport.large import Arriving
from ws_bridge.transport.link import Link, Listener
from ws_bridge.transport.rounds import Rounds
from ws_bridge.transport.turns import Turns

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

    from ws_bridge.transport.options import LinkOptions

POLICY = 1008
REST = 1.0
"""Between the end of the last large message, and when memory is given back, s."""

#: Names of the statistics, and the counter of a link behind each.
_TRAFFIC = {'messages_sent': 'messages_out', 'messages_received': 'messages_in',
            'bytes_sent': 'bytes_out', 'bytes_received': 'bytes_in'}


class Connections:
    """
    Iterates over the links that are open, in the order in which they were opened.

    :ivar turns: the line in which all connections wait.
    """

    def __init__(self) -> None:
        self._links: dict[Connection, Link] = {}
        self.turns = Turns()
        self._rounds = Rounds()
        self._arriving = Arriving(self._address_of, self._end_message, self._give_back_soon)
        self._giving_back: asyncio.TimerHandle | None = None
        self._past = dict.fromkeys(_TRAFFIC, 0)
        self._last_activity: float | None = None
        self.established = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        return iter([link for link in self._links.values() if link.is_open])

    @property
    def last_activity(self) -> float | None:
        """When anything was last received, or noted as sent, Unix s."""
        times = [link.last_activity for link in self._links.values()]
        if self._last_activity is not None:
            times.append(self._last_activity)
        return max(times, default=None)

    def add(self, websocket: Connection, options: LinkOptions, *, dialled: bool,
            ping_interval: float) -> Link:
        """Make the link of a new connection."""
        assert isinstance(websocket, Fenced)
        link = Link(websocket, options, dialled=dialled, turns=self.turns, rounds=self._rounds,
                    ping_interval=ping_interval)
        self._links[websocket] = link
        websocket.arriving = self._arriving
        self.established += 1
        return link

    def _address_of(self, websocket: Connection) -> str | None:
        link = self._links.get(websocket)
        return link.address if link is not None and link.is_open else None

    def _end_message(self, websocket: Connection) -> None:
        """Close who has sent most, where all together have sent too much that is not read yet."""
        self._links[websocket].close(POLICY, 'too much of large messages waits to be read')

    def _give_back_soon(self) -> None:
        """Have memory given back, unless that is about to be done, or the loop has ended."""
        if self._giving_back is None:
            with suppress(RuntimeError):
                self._giving_back = asyncio.get_running_loop().call_later(REST, self._give_back)

    def _give_back(self) -> None:
        self._giving_back = None
        give_back()

    async def serve(self, link: Link, listener: Listener) -> None:
        """Read from a link until it is closed, and count it as past."""
        try:
            await link.serve(listener)
        finally:
            del self._links[link.websocket]
            self.lost += 1
            self._last_activity = max(link.last_activity, self._last_activity or 0.0)
            for key, name in _TRAFFIC.items():
                self._past[key] += getattr(link, name)

    def touch(self) -> None:
        """Note that something was sent now."""
        self._last_activity = time.time()

    def close(self, code: int, reason: str) -> None:
        """Start to close every link."""
        for link in list(self._links.values()):
            link.close(code, reason)

    def make_room(self, most: int) -> int:
        """
        Cut the links that should have left, if there are ``most`` of all; return how many stay.

        Who does not answer that it has to leave must not keep others out.
        """
        if len(self._links) >= most:
            for link in list(self._links.values()):
                if link.ending is not None:
                    link.abort('others need the room')
        return sum(link.ending is None for link in self._links.values())

    def find(self, client: Any) -> Link | None:
        """Return the link of a websocket, a link or a peer id; ``None`` if it is gone."""
        for link in self._links.values():
            if client is link or client is link.websocket or client == link.peer_id:
                return link
        return None

    def traffic(self) -> dict[str, int]:
        """Return the counters of all links, past and present."""
        return {key: self._past[key] + sum(getattr(link, name) for link in self._links.values())
                for key, name in _TRAFFIC.items()}
