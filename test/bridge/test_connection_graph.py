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
"""Test who is told what of the connections in ROS, and when ROS is asked; without ROS."""
from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ws_bridge.bridge.connection_graph import ConnectionGraph
from ws_bridge.config import Exposure
from ws_bridge.config.roles import ADMIN, Grant, Role
from ws_bridge.errors import ServiceFailed
from ws_bridge.protocol.replies import ConnectionsChanged
from ws_bridge.session.effects import ConnectionsWatched
from ws_bridge.session.rights import Policy, Rights

GUEST = Role('guest', (Grant('*', 'subscribe'), Grant('*', 'graph')),
             (Grant('/secret*'), Grant('/spy', 'graph')))


class FakePeer:
    """Takes replies."""

    def __init__(self, role: Role) -> None:
        rights = Rights(Policy(Exposure.open()), role)
        self.session = SimpleNamespace(login=SimpleNamespace(rights=rights))
        self.told: list[ConnectionsChanged] = []

    def send(self, reply: ConnectionsChanged) -> None:
        self.told.append(reply)


class World:
    """Some connections, and peers that watch them."""

    def __init__(self) -> None:
        self.found: Any = ({'/a': ['/n', '/spy'], '/secret': ['/n'], '/_hidden': ['/n']},
                           {'/a': ['/m', '/_cli'], '/b': ['/spy']}, {'/s': ['/n']})
        self.ros = SimpleNamespace(graph=object(), survey=self._survey)
        self.surveys: list[Callable[[Any], None]] = []
        self.holds = False
        self.peers: list[Any] = []
        ros: Any = self.ros
        self.graph = ConnectionGraph(ros, lambda: self.peers)

    def _survey(self, question: str, on_done: Callable[[Any], None]) -> None:
        assert question == 'connections'
        self.surveys.append(on_done)
        if not self.holds:
            on_done(self.found)

    def watch(self, role: Role, *, watch: bool = True) -> Any:
        peer = FakePeer(role)
        self.peers.append(peer)
        self.graph._watch(self.peers[-1], ConnectionsWatched(watch))
        return peer

    def change(self, *found: Any) -> None:
        self.found = found
        self.ros.graph = object()
        self.graph.graph_changed()


@pytest.fixture
def world() -> World:
    """Give one."""
    return World()


def test_a_peer_is_told_what_it_may_know(world: World) -> None:
    assert world.watch(ADMIN).told == [ConnectionsChanged(
        {'/a': ['/n', '/spy'], '/secret': ['/n']}, {'/a': ['/m'], '/b': ['/spy']},
        {'/s': ['/n']})]
    assert world.watch(GUEST).told == [ConnectionsChanged({'/a': ['/n']}, {'/a': ['/m']}, {})]
    assert len(world.surveys) == 1      # the graph is still the same
    assert repr(world.graph) == 'ConnectionGraph(2 peers)'


def test_then_differences(world: World) -> None:
    peer, guest = world.watch(ADMIN), world.watch(GUEST)
    world.change({'/a': ['/n'], '/new': ['/n']}, {'/b': ['/spy']}, {})
    assert peer.told[1] == ConnectionsChanged(
        {'/a': ['/n'], '/new': ['/n']}, {'/a': ()}, {}, ('/secret',), ('/s',))
    assert guest.told[1] == ConnectionsChanged({'/new': ['/n']}, {'/a': ()}, {})
    world.change({'/a': ['/n', '/spy'], '/new': ['/n']}, {'/b': ['/spy']}, {})
    assert peer.told[2] == ConnectionsChanged({'/a': ['/n', '/spy']}, {}, {})
    assert len(guest.told) == 2         # that another node is there is hidden from it
    world.change({}, {}, {})
    assert guest.told[2] == ConnectionsChanged({}, {}, {}, ('/a', '/new'))
    world.graph._watch(peer, ConnectionsWatched(True))
    assert peer.told[-1] == ConnectionsChanged({}, {}, {})      # everything, which is nothing


def test_ros_is_asked_while_somebody_watches(world: World) -> None:
    world.graph.graph_changed()
    assert world.surveys == []
    peer = world.watch(ADMIN)
    world.graph._watch(peer, ConnectionsWatched(False))
    world.change({}, {}, {})
    assert len(peer.told) == len(world.surveys) == 1
    world.watch(ADMIN)
    world.peers.clear()                 # it has left
    world.change({}, {}, {})
    assert len(world.surveys) == 2
    assert repr(world.graph) == 'ConnectionGraph(0 peers)'


def test_what_changes_while_ros_is_asked_is_asked_again(world: World) -> None:
    world.holds = True
    peer = world.watch(ADMIN)
    world.change({}, {'/late': ['/n']}, {})
    assert len(world.surveys) == 1
    world.surveys[0](({}, {}, {}))
    assert len(world.surveys) == 2 and peer.told == []
    world.surveys[1](world.found)
    assert peer.told == [ConnectionsChanged({}, {'/late': ['/n']}, {})]
    world.change({}, {}, {})
    world.surveys[2](ServiceFailed('x'))            # the next change asks again
    world.change({}, {}, {})
    world.surveys[3](world.found)
    assert peer.told[1] == ConnectionsChanged({}, {}, {}, ('/late',))
