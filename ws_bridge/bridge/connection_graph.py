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
"""Who publishes, subscribes to and serves what in ROS, for peers that draw it."""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.config.roles import is_hidden, Role, Use
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.replies import ConnectionsChanged
from ws_bridge.session.effects import ConnectionsWatched
from ws_bridge.session.rights import Rights

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.snapshot import GraphSnapshot
    from ws_bridge.ros.survey import Connections

Nodes = Mapping[str, Sequence[str]]
"""Names of nodes, by topic or service."""
_NOTHING: Connections = ({}, {}, {})


class ConnectionGraph(Unit):
    """
    Looks who is connected when the graph has changed, and tells each peer what is different.

    :param peers: returns the peers that are connected now.
    """

    def __init__(self, ros: RosSide, peers: Callable[[], Collection[Peer]]) -> None:
        self._ros = ros
        self._peers = peers
        self._told: dict[Peer, Connections | None] = {}
        self._found: tuple[GraphSnapshot, Connections] | None = None
        self._is_looking = False

    def __repr__(self) -> str:
        return f'ConnectionGraph({len(self._told)} peers)'

    def _watch(self, peer: Peer, effect: ConnectionsWatched) -> None:
        if effect.watch:
            self._told[peer] = None
            self.graph_changed()
        else:
            self._told.pop(peer, None)

    def graph_changed(self) -> None:
        """Look again, if anybody wants to know, and tell what is different."""
        here = self._peers()
        self._told = {peer: told for peer, told in self._told.items() if peer in here}
        if not self._told:
            self._found = None
        elif self._found is not None and self._found[0] is self._ros.graph:
            self._tell(self._found[1])
        elif not self._is_looking:
            self._is_looking = True
            graph = self._ros.graph
            self._ros.survey('connections', on_done=lambda found: self._end(graph, found))

    def _end(self, graph: GraphSnapshot, found: Connections | WsBridgeError) -> None:
        self._is_looking = False
        if not isinstance(found, WsBridgeError):
            self._found = graph, found
            self.graph_changed()        # tells, or looks again if it has changed meanwhile

    def _tell(self, found: Connections) -> None:
        by_role: dict[Role, Connections] = {}
        for peer, told in self._told.items():
            rights = peer.session.login.rights
            if rights.role not in by_role:
                by_role[rights.role] = _seen(found, rights)
            seen = by_role[rights.role]
            if seen != told:
                self._told[peer] = seen
                peer.send(_difference(told or _NOTHING, seen))

    EFFECTS: ClassVar[Effects] = {ConnectionsWatched: _watch}


def _seen(found: Connections, rights: Rights) -> Connections:
    """Return what a peer may know of: names that it may use, and nodes that it may see."""
    publishers, subscribers, servers = found
    nodes = {node for part in found for theirs in part.values() for node in theirs}
    visible = set(rights.seen(node for node in nodes if not is_hidden(node)))

    def part(nodes: Nodes, *uses: Use) -> dict[str, list[str]]:
        shown = {name: [node for node in theirs if node in visible]
                 for name, theirs in nodes.items()
                 if not is_hidden(name) and rights.shows(name, *uses)}
        return {name: theirs for name, theirs in shown.items() if theirs}
    return (part(publishers, 'subscribe', 'publish'), part(subscribers, 'subscribe', 'publish'),
            part(servers, 'call'))


def _difference(told: Connections, seen: Connections) -> ConnectionsChanged:
    topics = seen[0].keys() | seen[1].keys()
    return ConnectionsChanged(
        _changed(told[0], seen[0], topics), _changed(told[1], seen[1], topics),
        _changed(told[2], seen[2], ()),
        tuple(sorted((told[0].keys() | told[1].keys()) - topics)),
        tuple(sorted(told[2].keys() - seen[2].keys())))


def _changed(old: Nodes, new: Nodes, kept: Collection[str]) -> dict[str, Sequence[str]]:
    """Return what is new or different; of a topic that stays also that it has none any more."""
    return {**{name: nodes for name, nodes in new.items() if old.get(name) != nodes},
            **{name: () for name in old if name not in new and name in kept}}
