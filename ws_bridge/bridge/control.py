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
"""
Who commands: the emergency stop, what peers and nodes ask for, and what sessions ask of gates.

The order is always the same: the robot is stopped, then the answer, then the news.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
import logging
from math import inf
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.gates import Gates
from ws_bridge.bridge.guarded import Guarded
from ws_bridge.bridge.leases import Leases
from ws_bridge.bridge.news import News, state_of, UNNAMED
from ws_bridge.bridge.other_bridges import OtherBridges
from ws_bridge.bridge.passages import Passages
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.state import Diagnostic
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.config import Exposure, Settings
from ws_bridge.errors import Expired, StopFailed, Stopped, WsBridgeError
from ws_bridge.protocol.operations import EmergencyStop, LeaseOperation, ListGates
from ws_bridge.protocol.replies import GatesListed, StopAsserted, StopCleared
from ws_bridge.safety.estop import Estop, EstopEvent
from ws_bridge.safety.policy import EstopState, LeaseMode
from ws_bridge.safety.speed import SpeedLimit
from ws_bridge.session.effects import ControlOperation, PeerLost
from ws_bridge.session.rights import Rights

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

UNGUARDED = ('/_action/get_result', '/_action/cancel_goal')
"""Parts of an action that move nothing: a result, and a cancel, need no lease."""
PRESS_TIME = 60.0
"""
For so long a stop is known by its press, s. A second copy of it comes by another connection, which
ends sooner than that where nothing passes. After that, the same press stops again.
"""
MOST_PRESSES = 256
"""So many are known. Of one that is forgotten a second copy stops the robot once more."""
OK, WARN, ERROR = 0, 1, 2
"""Levels of ``diagnostic_msgs/msg/DiagnosticStatus``."""

logger = logging.getLogger(__name__)


class Control(Unit):
    """
    Carries out what peers say of leases and of the emergency stop.

    :param peers: returns those that are connected.
    :param arm: looks anew at when a peer's session is due.
    :param halt: ends what goes on by itself behind a gate: goals.
    :param clock: monotonic time, s.
    :param epoch: Unix time at monotonic 0, s.
    :param audit: gets leases, refusals and stops.
    """

    def __init__(self, settings: Settings, exposure: Exposure, ros: RosSide, *,
                 peers: Callable[[], Iterable[Peer]], arm: Callable[[Peer], None],
                 halt: Callable[[Guarded], None], clock: Callable[[], float],
                 epoch: float, audit: Audit) -> None:
        self.estop = Estop(EstopState(settings.estop_at_start))
        self.gates = Gates(settings, exposure, ros, self.estop, clock=clock, epoch=epoch)
        self.passages = Passages(settings, ros, self.gates, clock=clock, epoch=epoch)
        self._ros = ros
        self._audit = audit
        self._clock = clock
        self._stopped_at = -inf
        self._presses: dict[tuple[str | None, str | None], float] = {}  # when, the oldest first
        self._news = News(self.gates, self.estop, ros, audit, peers=peers, arm=arm, clock=clock)
        self._leases = Leases(self.gates, self._news, audit, end_goals=halt, clock=clock)
        self.gates.watcher = self._leases
        self._others = OtherBridges(
            self.gates, self.estop, self._leases, ros, audit, name_of=self._news.name_of,
            stop=self.stop, clear=self.clear, clock=clock, epoch=epoch)
        # what other units ask of these
        self.start, self.describe = self._news.begin, self._news.describe
        self.lost, self.stops_lost = self._leases.lost, self._leases.stops_lost
        self.stop_failed = self._leases.stop_failed
        self.hear_neighbour, self.neighbours = self._others.hear, self._others.sharing

    def __repr__(self) -> str:
        return f'Control({self.gates!r}, {self.estop!r})'

    def tick(self) -> None:
        """End what had its time, and what is used no more."""
        for guarded in self.gates.all():
            self._leases.elapsed(guarded)
            self._news.speed_changed(guarded)
        if self.gates.drop_unused():
            self._news.gates_changed()
        self._others.tick()
        self._audit.flush()

    def graph_changed(self) -> None:
        """Find the gates of the topics that there are now."""
        self.gates.graph_changed()
        self._others.heed()
        self._news.gates_changed()

    def end(self) -> None:
        """End every lease, which stops the robot."""
        self._stop_all('shutdown')
        for guarded in self.gates.all():
            before = state_of(guarded.gate)
            self._leases.end_goals(guarded)
            guarded.gate.end()
            self._news.lease_changed(guarded, before, 'shutdown')
        self._others.end()

    def diagnostics(self) -> list[Diagnostic]:
        """Return what ``/diagnostics`` says of the emergency stop, and of speed limits."""
        estop = self.estop
        return [('ws_bridge: emergency stop', ERROR if estop.stopped else OK,
                 f'stopped: {estop.reason}' if estop.stopped else 'armed',
                 [('by', estop.by or ''), ('reason', estop.reason)]),
                *(_speed(guarded.gate.name, guarded.gate.speed) for guarded in self.gates.all()
                  if guarded.gate.speed is not None)]

    # ---- what sessions ask

    def commands(self, peer: Peer) -> bool:
        """Whether a peer may be driving something."""
        return any(guarded.gate.is_driven_by(peer.name) for guarded in self.gates.all())

    def holders(self) -> set[str]:
        """Return the peers that hold a lease."""
        return {guarded.gate.lease.holder for guarded in self.gates.all()
                if guarded.gate.lease.holder is not None}

    def guards(self, topic: str) -> bool:
        """Whether a gate judges the age of what is published on a topic."""
        return self.gates.of(topic) is not None

    def check(self, peer: str, lease_mode: LeaseMode, name: str, epoch: int | None) -> None:
        """
        Judge a call or a goal.

        :raises WsBridgeError: it is refused.
        """
        caller = self._news.peer(peer)
        assert caller is not None
        if name == self._ros.own.clear_stop:
            self._require_clear(caller)
        guarded = self.gates.service(name)
        if guarded is not None and not name.endswith(UNGUARDED):
            try:
                self.gates.check_grants(guarded)
                guarded.gate.check_sender(peer, lease_mode, epoch)
            except WsBridgeError as exc:
                self._leases.refused(guarded, caller, exc)
                raise

    # ---- what peers ask for

    def operate(self, peer: Peer, effect: ControlOperation) -> None:
        """
        Do what a peer asks for, and answer it.

        :raises WsBridgeError: it cannot be done.
        """
        op = effect.operation
        if isinstance(op, ListGates):
            peer.send(GatesListed(op.op_id, self.describe(peer.session.login.rights)))
        elif isinstance(op, EmergencyStop):
            if not self._was_carried_out(peer, op):
                self.stop(peer.name, op.reason or f'{peer.session.name or peer.name} stopped it')
                self._note_press(peer, op)
            if self.estop.stopped:
                self._require_stopped(peer.session.login.rights)
            peer.send(StopAsserted(op.op_id, self.estop.stopped))
        elif isinstance(op, LeaseOperation):
            self._leases.operate(peer, op)
        else:
            self._require_clear(peer)
            self._others.require_cleared()
            self.clear(peer.name)
            peer.send(StopCleared(op.op_id))

    def _was_carried_out(self, peer: Peer, op: EmergencyStop) -> bool:
        """Whether the same login has had this stop before: the robot may be cleared by now."""
        at = None if op.press is None else self._presses.get(_press_of(peer, op))
        return at is not None and self._clock() < at + PRESS_TIME

    def _note_press(self, peer: Peer, op: EmergencyStop) -> None:
        if op.press is not None:
            key = _press_of(peer, op)
            self._presses.pop(key, None)
            self._presses[key] = self._clock()
            if len(self._presses) > MOST_PRESSES:
                del self._presses[next(iter(self._presses))]

    def _require_clear(self, peer: Peer) -> None:
        """
        Refuse to let a peer clear the emergency stop.

        Whoever carries what it signed may have held that back until the robot was stopped again.

        :raises Forbidden: its role does not let it.
        :raises Expired: it may have signed that before the stop was asserted.
        """
        self._leases.require(peer, 'clear_stop')
        if peer.session.login.rights.role.signed and peer.link.fence < self._stopped_at:
            raise Expired('it may have been signed before the emergency stop: sign it with a '
                          'challenge that came later')

    def _require_stopped(self, rights: Rights) -> None:
        """
        Let nobody be told that the robot is stopped before it is.

        :raises StopFailed: a stop could not be published yet.
        """
        failing = [guarded for guarded in self.gates.all() if guarded.guard.alarm]
        if failing:
            raise StopFailed('; '.join(
                f'{guarded.gate.name}: {guarded.guard.alarm}' for guarded in failing
                if self.gates.is_shown(guarded, rights)) or UNNAMED)

    def _silent(self, peer: Peer, effect: PeerLost) -> None:
        self.lost(peer, 'heartbeat')

    # ---- the emergency stop

    def stop(self, by: str, reason: str) -> None:
        """Assert the emergency stop: nothing moves, nobody holds a lease."""
        self._stopped_at = self._clock()
        changed = self.estop.apply(EstopEvent.ASSERT, by, reason)
        self._stop_all('estop')
        if changed:                     # then no goal can begin
            self._others.tell()
            for guarded in self.gates.all():
                self._leases.end_goals(guarded)
            self._news.estop_changed(by)
        for guarded in self.gates.all():
            before = state_of(guarded.gate)
            guarded.gate.end()
            self._news.lease_changed(guarded, before, 'estop')

    def _stop_all(self, reason: str) -> None:
        """Stop every gate, in one pass of the stop process."""
        every = self.gates.all()
        self._ros.watchdog.stop([guarded.guard for guarded in every], reason)
        for guarded in every:
            guarded.generation = guarded.guard.generation

    def clear(self, by: str) -> None:
        """End the emergency stop; nobody holds a lease."""
        self._others.mirrored = None
        if self.estop.apply(EstopEvent.CLEAR, by):
            for guarded in self.gates.all():
                guarded.gate.cleared()
            self._others.tell()
            self._news.estop_changed(by)
            for guarded in self.gates.all():
                guarded.generation = guarded.guard.generation

    def from_ros(self, stopped: bool, by: str, reason: str) -> None:
        """Do what a node asked for."""
        if stopped:
            self.stop(by, reason)
            return
        try:
            self._others.require_cleared()
        except Stopped as exc:
            logger.error('%s asked to clear the emergency stop: %s', by, exc)
        else:
            self.clear(by)

    EFFECTS: ClassVar[Effects] = {ControlOperation: operate, PeerLost: _silent}


def _press_of(peer: Peer, op: EmergencyStop) -> tuple[str | None, str | None]:
    """Return what names a press: nobody takes away that of another login."""
    identity = peer.session.login.identity
    return None if identity is None else identity.name, op.press


def _speed(gate: str, speed: SpeedLimit) -> Diagnostic:
    limit, delays = speed.limit, speed.newest
    if limit is None or delays is None:
        return f'ws_bridge: speed of {gate}', OK, 'nobody commands', []
    return (f'ws_bridge: speed of {gate}', OK if limit >= 1.0 else WARN,
            'full' if limit >= 1.0 else f'{limit:.0%}, by the delay',
            [('speed limit', f'{limit:.2f}'), ('delay of commands', f'{delays.command:.3f}'),
             ('age of the picture', '' if delays.picture is None else f'{delays.picture:.3f}')])
