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
"""Which of several bridges grants leases, and whose emergency stop is everybody's."""
from __future__ import annotations

from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.bridge.neighbours import MAX_NEIGHBOURS, Neighbours, SILENT_AFTER
from ws_bridge.bridge.other_bridges import OtherBridges
from ws_bridge.errors import Stopped
from ws_bridge.protocol.operations import Command
from ws_bridge.safety.estop import Estop
from ws_bridge.safety.gate import Gate
from ws_bridge.safety.policy import GatePolicy

NOW = 100.0


def meet(*bridges: Neighbours, topics: tuple[str, ...] = ('/cmd_vel',), estop: str | None = None,
         now: float = NOW) -> None:
    """Let everybody hear what everybody says."""
    for speaker in bridges:
        for hearer in bridges:
            hearer.hear(speaker.say(dict.fromkeys(topics), estop), now)


@given(st.lists(st.tuples(st.floats(0, 1e10), st.text(max_size=3)), min_size=1, max_size=5,
                unique_by=lambda each: each[1]))
def test_exactly_one_grants(starts: list[tuple[float, str]]) -> None:
    bridges = [Neighbours('/b', instance, started) for started, instance in starts]
    meet(*bridges)
    granting = [bridge for bridge in bridges if bridge.granting({'/cmd_vel'}) is None]
    assert len(granting) == 1
    assert bridges.index(granting[0]) == starts.index(min(starts))


def test_the_next_one_grants_when_the_first_is_silent() -> None:
    first, second = Neighbours('/a', 'a', 1.0), Neighbours('/b', 'b', 2.0)
    meet(first, second)
    other = second.granting({'/cmd_vel', '/x'})
    assert other is not None
    assert other.name == '/a'
    assert second.granting({'/x'}) is None
    assert second.poll(NOW + SILENT_AFTER) == []
    assert second.poll(NOW + SILENT_AFTER + 0.1) == [other]
    assert second.granting({'/cmd_vel'}) is None


def test_a_stop_is_that_of_bridges_with_a_topic_in_common() -> None:
    first, second = Neighbours('/a', 'a', 1.0), Neighbours('/b', 'b', 2.0)
    first.hear(second.say({'/cmd_vel': 'p1'}, 'smoke'), NOW)
    stopping = first.stopping({'/cmd_vel'})
    assert stopping is not None
    assert (stopping.name, stopping.estop) == ('/b', 'smoke')
    assert first.stopping({'/arm'}) is None
    assert first.sharing({'/cmd_vel', '/arm'}) == [stopping]
    assert first.sharing({'/arm'}) == []
    first.hear(second.say({'/cmd_vel': 'p1'}, None), NOW)
    assert first.stopping({'/cmd_vel'}) is None


def test_a_lease_of_another_bridge_is_seen() -> None:
    first, second = Neighbours('/a', 'a', 1.0), Neighbours('/b', 'b', 2.0)
    first.hear(second.say({'/cmd_vel': None, '/x': 'bob'}, None), NOW)
    assert not first.is_held({'/cmd_vel'})
    assert first.is_held({'/cmd_vel', '/x'})
    assert not first.is_held({'/other'})


class FakeGates:
    """One gate; as far as :class:`OtherBridges` asks."""

    def __init__(self) -> None:
        self.gate = Gate(GatePolicy('drive', ('/cmd_vel',)), Estop(), NOW, count(1).__next__)
        self.guarded = SimpleNamespace(gate=self.gate, granting=None)
        self.ended: list[str] = []

    def all(self) -> list[SimpleNamespace]:  # noqa: A003
        return [self.guarded]

    def topics(self) -> dict[str, set[str]]:
        return {'drive': {'/cmd_vel'}}

    def end(self, guarded: SimpleNamespace, reason: str) -> None:
        self.ended.append(reason)

    @property
    def page_owes(self) -> bool:
        """Whether a page that sent something has to let go first."""
        return bool(self.gate._why_neutral('page', 'rosbridge', '/cmd_vel'))


def other_bridges(times: list[float], ros: Any = None) -> tuple[OtherBridges, FakeGates]:
    """Return the older bridge, whose time is the last of ``times``; a page commands there."""
    gates: Any = FakeGates()
    if ros is None:
        ros = SimpleNamespace(node_name='/a', tell_neighbours=print, has_neighbours=lambda: True)
    audit: Any = SimpleNamespace(write=lambda *_, **__: None)
    others = OtherBridges(gates, Estop(), gates, ros, audit, name_of=str, clear=print, stop=print,
                          clock=lambda: times[-1], epoch=0.0)
    gates.gate.accepted('page', '/cmd_vel', Command('i', '/cmd_vel', {}), NOW)
    gates.gate.kept_out('page')
    gates.gate.accepted('page', '/cmd_vel', Command('i', '/cmd_vel', {}), NOW)
    assert not gates.page_owes
    return others, gates


def test_who_commands_by_another_bridge_makes_everybody_here_let_go() -> None:
    others, gates = other_bridges([NOW])
    younger = Neighbours('/b', 'b', NOW + 1)
    others.hear(younger.say({'/cmd_vel': None}, None))
    assert not gates.page_owes
    others.hear(younger.say({'/cmd_vel': 'bob'}, None))
    assert gates.page_owes
    assert gates.guarded.granting is None


@pytest.mark.parametrize(('silence', 'is_alone', 'ends'), [
    (SILENT_AFTER + 0.1, False, True), (SILENT_AFTER + 0.1, True, False), (1.0, False, False)])
def test_a_bridge_that_was_frozen_has_no_lease(silence: float, is_alone: bool,
                                               ends: bool) -> None:
    """The next one may have granted meanwhile."""
    times = [NOW]
    others, gates = other_bridges(times)
    if not is_alone:
        others.hear(Neighbours('/b', 'b', NOW + 1).say({'/cmd_vel': None}, None))
    others.tick()
    times.append(NOW + silence)
    others.tick()
    assert gates.ended == (['another_bridge'] if ends else [])
    assert gates.page_owes is ends


@pytest.mark.parametrize('silence', [SILENT_AFTER + 0.1, 60.0])
def test_a_bridge_that_was_frozen_does_not_think_that_others_are_gone(silence: float) -> None:
    """It was silent, not they: an older one goes on to grant, and its stop holds."""
    times = [NOW]
    others, gates = other_bridges(times)
    others.hear(Neighbours('/b', 'b', NOW - 1).say({'/cmd_vel': 'bob'}, 'smoke'))
    others.tick()
    assert gates.guarded.granting is not None
    for later in (silence, silence + SILENT_AFTER):
        times.append(NOW + later)
        others.tick()
        assert gates.guarded.granting is not None
        with pytest.raises(Stopped):
            others.require_cleared()
    for later in (silence + SILENT_AFTER + 0.2, silence + SILENT_AFTER + 0.4):
        times.append(NOW + later)
        others.tick()
    assert gates.guarded.granting is None, 'now it is silent'
    others.require_cleared()


def test_nothing_is_said_again_while_nobody_else_listens() -> None:
    """And the next second after somebody came, long before the silence means something."""
    said: list[float] = []
    is_there = [False]
    times = [NOW]
    ros: Any = SimpleNamespace(node_name='/a', tell_neighbours=lambda text: said.append(times[-1]),
                               has_neighbours=lambda: is_there[-1])
    others, gates = other_bridges(times, ros)

    def tick_until(time: float) -> None:
        while times[-1] < time:
            others.tick()
            times.append(times[-1] + 0.2)
    tick_until(NOW + 10)
    assert said == [NOW]
    is_there.append(True)
    tick_until(NOW + 15)
    assert len(said) in (5, 6)
    assert max(later - earlier for earlier, later in pairwise([NOW + 10, *said[1:]])) < 1.5
    is_there.append(False)
    count = len(said)
    tick_until(NOW + 20)
    assert len(said) == count
    gates.gate.take('operator')
    others.tick()
    assert len(said) == count + 1, 'a change is said at once'


def test_its_own_words_are_not_a_neighbours() -> None:
    bridge = Neighbours('/a', 'a', 1.0)
    assert bridge.hear(bridge.say({'/cmd_vel': None}, 'smoke'), NOW) is None
    assert bridge.stopping({'/cmd_vel'}) is None


@pytest.mark.parametrize('text', [
    '', '[]', '{}', '{"bridge": 1, "instance": "a", "started": 1, "gates": {}, "estop": null}',
    '{"bridge": "a", "instance": "x", "started": 1, "gates": {"/a": 1}, "estop": null}',
    '{"bridge": "a", "instance": "x", "started": "1", "gates": {}, "estop": null}', 'x' * 100_001])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'.'):
        Neighbours('/a', 'a', 1.0).hear(text, NOW)


def test_neighbours_are_bounded() -> None:
    bridge = Neighbours('/a', 'a', 1.0)
    for number in range(MAX_NEIGHBOURS):
        bridge.hear(Neighbours('/b', f'b{number}', 2.0).say({}, None), NOW)
    with pytest.raises(ValueError, match='more than'):
        bridge.hear(Neighbours('/b', 'late', 2.0).say({}, None), NOW)
    bridge.hear(Neighbours('/b', 'b0', 2.0).say({}, None), NOW)
