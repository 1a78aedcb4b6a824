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
"""The bridges that this one has dialled: what it does there for itself."""
from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.publications import Publications
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.bridge.uplink import PushDialect, Uplink
from ws_bridge.config import Settings
from ws_bridge.session import effects as fx
from ws_bridge.session.session import Session
from ws_bridge.transport.link import Link

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide


class Uplinks(Unit):
    """
    This side's own half of dialled connections.

    :param make_session: makes the session of a connection under a name.
    :param unix: Unix time that no wall clock step disturbs, s.
    :param lost: ends what a peer that has left commanded by.
    """

    def __init__(self, settings: Settings, ros: RosSide, outward: Outward,
                 publications: Publications, ledger: Ledger, *,
                 make_session: Callable[[str, Link], Session], unix: Callable[[], float],
                 lost: Callable[[Peer, str], None]) -> None:
        self._settings = settings
        self._ros = ros
        self._outward = outward
        self._publications = publications
        self._ledger = ledger
        self._make_session = make_session
        self._unix = unix
        self._lost = lost
        self._uplinks: dict[Link, Uplink] = {}

    def __repr__(self) -> str:
        return f'Uplinks({len(self._uplinks)})'

    def of(self, link: Link) -> Uplink | None:
        """Return this side's half of a connection, if it has one there."""
        return self._uplinks.get(link)

    def closed(self, link: Link) -> None:
        """Take back what was made for a connection that has ended."""
        uplink = self._uplinks.pop(link, None)
        if uplink is not None:
            self._lost(uplink.peer, 'closed')
            uplink.close()

    def graph_changed(self) -> None:
        """Push what has got a type."""
        for uplink in self._uplinks.values():
            uplink.graph_changed()

    def _greeted(self, peer: Peer, effect: fx.Greeted) -> None:
        """Begin this side's own half on a bridge that it dialled."""
        link = peer.link
        if not link.dialled or link in self._uplinks:
            return
        settings, name = self._settings, f'{peer.name}-up'
        if settings.pull:   # what is pulled commands, whatever the peer itself may
            link.pace.keep(settings.fence_interval)
        dialect = PushDialect(name)
        session = self._make_session(name, link)
        self._uplinks[link] = Uplink(
            Peer(link, session, dialect, peer.kind, self._unix, self._ledger), dialect, self._ros,
            self._outward, self._publications, push=settings.push, pull=settings.pull,
            queue_depth=settings.queue_depth)

    EFFECTS: ClassVar[Effects] = {fx.Greeted: _greeted}
