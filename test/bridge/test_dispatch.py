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

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ws_bridge.bridge.bridge import Bridge
from ws_bridge.bridge.dispatch import Dispatcher
from ws_bridge.bridge.state import StateReporter
from ws_bridge.bridge.unit import Unit
from ws_bridge.bridge.uplinks import Uplinks
from ws_bridge.config import Exposure, settings_from
from ws_bridge.errors import Forbidden
from ws_bridge.protocol import replies
from ws_bridge.protocol.operations import About
from ws_bridge.ros.graph import GraphSnapshot
from ws_bridge.session import effects as fx
from ws_bridge.session.effects import Effect


class Loop:
    """Keeps what is to be called, and when."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, function: Any, *args: Any) -> Any:
        call = SimpleNamespace(due=due, run=lambda: function(*args),
                               cancel=lambda: self.calls.remove(call))
        self.calls.append(call)
        return call


class Everything(Unit):
    """Carries out what the dispatcher does not, and notes it."""

    def __init__(self) -> None:
        self.done: list[Effect] = []

    def take(self, peer: Any, effect: Effect) -> None:
        if isinstance(effect, fx.StatusWanted):
            raise Forbidden('never')
        self.done.append(effect)

    def codec_of(self, peer: Any, effect: Effect) -> None:
        return None

    def about(self, effect: Effect) -> About | None:
        return About('answer', '/x')

    EFFECTS = dict.fromkeys((
        fx.OpenSubscription, fx.CloseSubscription, fx.NoteShown, fx.OpenPublisher,
        fx.ClosePublisher, fx.Publish, fx.LookAgain, fx.CallService, fx.AnswerQuestion,
        fx.CancelCall, fx.Host, fx.Unhost, fx.AnswerService, fx.StartGoal, fx.RequestCancel,
        fx.DropGoal, fx.HostAction, fx.UnhostAction, fx.AnswerGoal, fx.Feedback, fx.EndGoal,
        fx.Describe, fx.RunDiagnosis, fx.ControlOperation, fx.PeerLost, fx.StatusWanted,
        fx.PeerChanged, fx.Greeted, fx.LogIn, fx.IssueTicket, fx.Dismiss, fx.ParameterOperation,
        fx.UnwatchParameters, fx.ConnectionsWatched, fx.ReadAsset, fx.TakesPieces,
        fx.SetPlayback, fx.AddToExport, fx.AbandonGoal, fx.OfferResume, fx.ResumeSession), take)
    CODECS = dict.fromkeys((fx.Publish, fx.CallService, fx.StartGoal, fx.AnswerService,
                            fx.Feedback, fx.EndGoal), codec_of)


class Rig:
    """A dispatcher with one peer, whose session is due at ``due``."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.due: float | None = None
        self.polled: list[float] = []
        self.sent: list[replies.Reply] = []
        self.peer: Any = SimpleNamespace(name='p', link='link', send=self.sent.append,
                                         session=SimpleNamespace(deadline=lambda: self.due,
                                                                 poll=self._poll))
        self.unit = Everything()
        self.peers: Any = {'link': self.peer}
        loop: Any = self.loop
        self.dispatcher = Dispatcher(self.peers, loop)
        self.dispatcher.connect([self.unit])

    def _poll(self, now: float) -> list[Effect]:
        self.polled.append(now)
        self.due = None
        return [fx.PeerChanged()]

    @property
    def armed(self) -> list[float]:
        return [call.due for call in self.loop.calls]


def test_effects_are_carried_out_in_order() -> None:
    rig = Rig()
    reply = replies.StatusWatched('i', True)
    effects: list[Effect] = [fx.PeerChanged(), fx.Send(reply), fx.Ignored(), fx.Unhost('/s')]
    assert rig.dispatcher.carry_out(rig.peer, effects)
    assert rig.unit.done == [fx.PeerChanged(), fx.Unhost('/s')]
    assert rig.sent == [reply]
    assert repr(rig.dispatcher) == 'Dispatcher(43 effects)'
    assert rig.dispatcher.codec_of(rig.peer, fx.EndGoal(None, '/a', 1, {}, 4)) is None


def test_an_error_ends_the_list_and_goes_to_the_peer() -> None:
    rig = Rig()
    assert not rig.dispatcher.carry_out(
        rig.peer, [fx.PeerChanged(), fx.StatusWanted(), fx.Unhost('/s')], 'i')
    assert rig.unit.done == [fx.PeerChanged()]
    (failed,) = rig.sent
    assert isinstance(failed, replies.Failed)
    assert (failed.op_id, type(failed.error), failed.about) == (
        'i', Forbidden, About('answer', '/x'))


def test_a_session_is_polled_when_it_is_due() -> None:
    rig = Rig()
    rig.due = 101.0
    rig.dispatcher.carry_out(rig.peer, [])
    rig.dispatcher.arm(rig.peer)
    assert rig.armed == [101.0]
    rig.due = 100.5
    rig.dispatcher.carry_out(rig.peer, [])
    assert rig.armed == [100.5]
    rig.loop.now = 100.5
    rig.loop.calls.pop().run()
    assert rig.polled == [100.5]
    assert rig.unit.done == [fx.PeerChanged()]
    assert rig.armed == []
    rig.due = 102.0
    rig.dispatcher.arm(rig.peer)
    rig.dispatcher.disarm(rig.peer.link)
    rig.peers.clear()
    rig.dispatcher.arm(rig.peer)        # it has left
    assert rig.armed == []


def bridge() -> Bridge:
    """Return a bridge that has met neither ROS nor a peer."""
    ros: Any = SimpleNamespace(graph=GraphSnapshot(), node_name='/bridge', now=lambda: (0, 0),
                               publish_safety=lambda **_: None, uses_sim_time=False)
    ledger: Any = SimpleNamespace(audit=None)
    door: Any = None
    loop: Any = Loop()
    return Bridge(settings_from({}), Exposure.open(), ros, loop, door, ledger, 0.0)


def test_every_effect_has_a_unit() -> None:
    assert repr(bridge()._dispatcher) == 'Dispatcher(43 effects)'


@pytest.mark.parametrize(('unit', 'effects', 'complaint'), [
    (Uplinks, {}, 'Greeted: no effect, or one without a handler'),
    (Uplinks, {fx.Greeted: print, fx.LogIn: print}, 'LogIn has two handlers'),
    (StateReporter, {**StateReporter.EFFECTS, asyncio.Event: print}, 'Event: no effect')])
def test_a_missing_or_a_double_row_fails_at_construction(
        monkeypatch: pytest.MonkeyPatch, unit: type[Unit], effects: dict[type, Any],
        complaint: str) -> None:
    monkeypatch.setattr(unit, 'EFFECTS', effects)
    with pytest.raises(TypeError, match=complaint):
        bridge()


def test_what_carries_a_message_has_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unit, 'CODECS', {fx.Publish: print})
    with pytest.raises(TypeError, match='Publish has two handlers'):
        bridge()
