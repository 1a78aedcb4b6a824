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

from ws_bridge.bridge.publications import Publications
from ws_bridge.config.roles import OwnNames
from ws_bridge.convert.codec import CodecStore
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import Forbidden, LimitExceeded, NotAdvertised, UnknownType
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.operations import About
from ws_bridge.ros.graph import GraphSnapshot
from ws_bridge.session import effects as fx

SCHEMA = schema_from_text('a/msg/B', 'float64 x\n')
GATED = '/drive'


class FakeGates:
    """Guards one topic, and notes what is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.passed: list[Any] = []
        self.failure: Exception | None = None
        self.tap = None

    def expected(self) -> dict[str, str]:
        return {}

    def of(self, topic: str, msg_type: str | None = None) -> object | None:
        self.asked.append(topic)
        return 'gate' if topic == GATED else None

    def open(self, topic: str, codec: Any, publisher: Any) -> Any:     # noqa: A003
        if self.failure is not None:
            raise self.failure
        gate = SimpleNamespace(name='gate')
        return SimpleNamespace(guarded=SimpleNamespace(gate=gate)) if topic == GATED else None

    def passage(self, peer: Any, lane: Any) -> Any:
        return peer.name, lane

    def close(self, lane: Any) -> None:
        """Do nothing."""

    def publish(self, passage: Any, wish: fx.Publish, on_done: Any) -> None:
        self.passed.append((passage[0], wish.data))


class FakePublisher:
    """Keeps what is published."""

    failed = False
    misfit = None

    def __init__(self) -> None:
        self.published: list[tuple[bytes, float | None]] = []
        self.closed = False

    def publish(self, cdr: bytes, deadline: float | None, on_done: Any) -> None:
        self.published.append((cdr, deadline))

    def subscriber_count(self) -> int:
        return 2

    def close(self) -> None:
        self.closed = True


class Rig:
    """The unit with one peer, and no ROS."""

    def __init__(self) -> None:
        self.publishers: list[FakePublisher] = []
        self.gates = FakeGates()
        self.full = False
        self.sent: list[Any] = []
        self.session = make()
        self.peer: Any = SimpleNamespace(name='p', session=self.session, send=self.sent.append)
        ros: Any = SimpleNamespace(
            own=OwnNames(topics=frozenset({'/own'})), graph=GraphSnapshot(), now=lambda: (0, 0),
            types=SimpleNamespace(message=self._message), advertise=self._advertise)
        gates: Any = self.gates
        self.unit = Publications(ros, CodecStore(), gates, gates, require_room=self._room)

    def _message(self, name: str) -> Any:
        if name != SCHEMA.name:
            raise UnknownType('not here')
        return SCHEMA

    def _advertise(self, *_: Any) -> FakePublisher:
        self.publishers.append(FakePublisher())
        return self.publishers[-1]

    def _room(self) -> None:
        if self.full:
            raise LimitExceeded('full')

    def do(self, op: ops.Operation) -> None:
        """Carry out what follows from an operation, but for replies."""
        for effect in self.session.receive(op, START):
            if type(effect) in self.unit.EFFECTS:
                self.unit.EFFECTS[type(effect)](self.unit, self.peer, effect)


@pytest.mark.parametrize(('topic', 'msg_type', 'full', 'error'), [
    ('/own', 'a/msg/B', False, Forbidden), ('/t', 'a/msg/C', False, UnknownType),
    ('/t', None, False, UnknownType), ('/t', 'a/msg/B', True, LimitExceeded)])
def test_what_cannot_be_made_is_forgotten(topic: str, msg_type: str | None, full: bool,
                                          error: type[Exception]) -> None:
    rig = Rig()
    rig.full = full
    with pytest.raises(error):
        rig.do(ops.Advertise('i', topic, msg_type))
    assert not rig.session.publications.topics
    assert not rig.unit.has(rig.peer, topic)
    assert len(rig.unit) == 0


def test_a_refused_advertisement_leaves_an_older_one() -> None:
    rig = Rig()
    rig.do(ops.Advertise('i', '/t', 'a/msg/B', key='k1'))
    with pytest.raises(UnknownType):
        rig.do(ops.Advertise('i', '/t', 'a/msg/C', key='k2'))
    rig.full = True
    rig.do(ops.Advertise('i', '/t', 'a/msg/B', key='k3'))       # it needs no more room
    assert rig.session.publications.topics == {'/t': True}
    rig.do(ops.Unadvertise('i', '/t', 'k1'))
    assert len(rig.unit) == 1
    rig.do(ops.Unadvertise('i', '/t', 'k3'))
    assert len(rig.unit) == 0
    assert rig.publishers[0].closed


def test_a_gate_that_refuses_a_publisher_leaves_none() -> None:
    rig = Rig()
    rig.gates.failure = Forbidden('no field is bounded')
    with pytest.raises(Forbidden):
        rig.do(ops.Advertise('i', GATED, 'a/msg/B'))
    assert rig.publishers[0].closed
    assert not rig.session.publications.topics


def test_a_route_is_resolved_once() -> None:
    """A publication asks no gate and no graph: all is found when its topic is opened."""
    rig = Rig()
    for topic in (GATED, '/t'):
        rig.do(ops.Advertise('i', topic, 'a/msg/B'))
    assert [rig.unit.is_gated(rig.peer, topic) for topic in (GATED, '/t', '/u')] == [
        True, False, False]
    rig.gates.asked.clear()
    for _ in range(3):
        rig.do(ops.Command('i', GATED, {'x': 1.0}, 'topic'))
        rig.do(ops.Command('i', '/t', {'x': 2.0}, 'topic', ttl=0.5))
    assert rig.gates.asked == []
    assert rig.gates.passed == [('p', {'x': 1.0})] * 3
    codec = rig.unit.codec_of(rig.peer, '/t')
    assert codec is not None
    assert rig.publishers[0].published == []
    assert rig.publishers[1].published == [(codec.from_values({'x': 2.0}), START + 0.5)] * 3


def test_what_an_error_is_about() -> None:
    rig = Rig()
    wishes = [fx.Publish('i', topic, {}, 'json', None) for topic in (GATED, '/t')]
    assert [rig.unit.about(wish) for wish in wishes] == [About('command', GATED), None]
    assert rig.unit.about(fx.ClosePublisher(GATED)) is None
    with pytest.raises(NotAdvertised):
        rig.unit.publish(rig.peer, wishes[1])
