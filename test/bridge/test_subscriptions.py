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
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.sessions import make, START

from ws_bridge.bridge.subscriptions import Subscriptions
from ws_bridge.errors import LimitExceeded, UnknownType, WsBridgeError
from ws_bridge.protocol import operations as ops
from ws_bridge.session import effects as fx


class Rig:
    """The unit with one peer; nothing is delivered."""

    def __init__(self) -> None:
        self.open: set[object] = set()
        self.error: WsBridgeError | None = None
        self.full = False
        self.changes = 0
        self.session = make()
        self.peer: Any = SimpleNamespace(session=self.session)
        outward: Any = SimpleNamespace(
            has=lambda peer, name: name in self.open, open=self._open, topics=lambda: self.open,
            close=lambda peer, name: self.open.discard(name), graph_changed=self._changed)
        self.unit = Subscriptions(outward, outward, require_room=self._room, changed=self._changed)

    def _open(self, peer: Any, effect: fx.OpenSubscription) -> None:
        if self.error is not None:
            raise self.error
        self.open.add(effect.name)

    def _room(self) -> None:
        if self.full:
            raise LimitExceeded('full')

    def _changed(self) -> None:
        self.changes += 1

    def do(self, op: ops.Operation) -> None:
        """Carry out what follows from an operation, but for replies."""
        for effect in self.session.receive(op, START):
            if type(effect) in self.unit.EFFECTS:
                self.unit.EFFECTS[type(effect)](self.unit, self.peer, effect)


def test_peers_are_told_that_another_topic_is_heard() -> None:
    rig = Rig()
    rig.do(ops.Subscribe('i', '/t'))
    assert (rig.open, rig.changes, repr(rig.unit)) == ({'/t'}, 1, 'Subscriptions(1 topics)')
    rig.do(ops.Unsubscribe('i', '/t'))
    assert (rig.open, rig.changes) == (set(), 2)
    rig.unit.graph_changed()
    assert rig.changes == 3


@pytest.mark.parametrize('error', [UnknownType('no'), None])
def test_what_fails_is_forgotten(error: WsBridgeError | None) -> None:
    rig = Rig()
    rig.error, rig.full = error, error is None
    with pytest.raises(WsBridgeError):
        rig.do(ops.Subscribe('i', '/t'))
    assert not rig.session.subscriptions.names
    assert not rig.changes


def test_what_stands_needs_no_room_and_outlives_a_failed_change() -> None:
    rig = Rig()
    rig.do(ops.Subscribe('i', '/t', key='a'))
    rig.full = True
    rig.do(ops.Subscribe('i', '/t', key='b'))
    rig.error = UnknownType('no')
    with pytest.raises(UnknownType):
        rig.do(ops.Subscribe('i', '/t', key='c'))
    assert rig.session.subscriptions.names == {'/t': '/t'}
    rig.error = None
    for key in 'ab':
        assert rig.open == {'/t'}
        rig.do(ops.Unsubscribe('i', '/t', key))
    assert rig.open == set()
