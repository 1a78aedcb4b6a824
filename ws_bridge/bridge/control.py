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
Who commands: leases and the emergency stop, and what everybody is told of them.

The order is always the same: the robot is stopped, then the answer, then the news.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
import logging
import secrets
from typing import Any, ClassVar, NamedTuple, TYPE_CHECKING

import orjson

from ws_bridge.access import Use
from ws_bridge.addresses import is_loopback_address
from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.gates import Gates, Guarded
from ws_bridge.bridge.neighbours import Neighbour, Neighbours, SAY_EVERY
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.state import Diagnostic
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.config import Exposure, Settings
from ws_bridge.errors import Forbidden, StopFailed, Stopped, WsBridgeError
from ws_bridge.protocol.operations import EmergencyStop, LeaseOperation, ListGates
from ws_bridge.protocol.replies import (
    EstopChanged,
    Failed,
    GatesChanged,
    GatesListed,
    LeaseAnswered,
    LeaseChanged,
    LeaseDecided,
    LeaseLost,
    LeaseRequested,
    LeaseTerms,
    Reply,
    RobotStopped,
    StopAsserted,
    StopCleared,
)
from ws_bridge.safety.estop import Estop, EstopEvent, EstopState
from ws_bridge.safety.gate import Gate
from ws_bridge.safety.lease import Request
from ws_bridge.safety.policy import ASK_TIMEOUT
from ws_bridge.session.effects import ControlOperation, PeerLost
from ws_bridge.session.rights import Rights

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

logger = logging.getLogger(__name__)

UNGUARDED = ('/_action/get_result', '/_action/cancel_goal')
"""Parts of an action that move nothing: a result, and a cancel, need no lease."""
CHANGES = 10
"""Changes of a lease or the emergency stop by one peer that are written one by one, a second."""
UNNAMED = 'a stop cannot be published and is tried again'
"""What is said of a gate that a peer may not know of."""
OK, ERROR = 0, 2
"""Levels of ``diagnostic_msgs/msg/DiagnosticStatus``."""


def is_on_this_machine(address: str) -> bool:
    """Whether an address, as of a link, is this machine's own."""
    return is_loopback_address(address.strip('[]'))


def may(peer: Peer, use: Use) -> bool:
    """
    Whether a peer's role lets it.

    Who has not logged in has to be on this machine, and so has the proxy that says so.
    """
    login, link = peer.session.login, peer.link
    return login.rights.may(use) and (login.identity is not None or (
        is_on_this_machine(link.address)
        and is_on_this_machine(link.remote.rpartition(':')[0])))


class Before(NamedTuple):
    """A lease as it was."""

    holder: str | None
    epoch: int
    request: Request | None


class Control(Unit):
    """
    Carries out what peers say of leases and of the emergency stop.

    :param peers: returns those that are connected.
    :param arm: looks anew at when a peer's session is due.
    :param halt: ends what goes on by itself behind a gate: goals.
    :param audit: gets leases, refusals and stops.
    """

    def __init__(self, settings: Settings, exposure: Exposure, ros: RosSide, *,
                 peers: Callable[[], Iterable[Peer]], arm: Callable[[Peer], None],
                 halt: Callable[[Guarded], None], clock: Callable[[], float],
                 epoch: float, audit: Audit) -> None:
        self.estop = Estop(EstopState(settings.estop_at_start))
        self._audit = audit
        self.gates = Gates(settings, exposure, ros, self.estop, self, clock=clock, epoch=epoch)
        self._ros = ros
        self._peers = peers
        self._arm = arm
        self._end_goals = halt
        self._clock = clock
        self._listed = self.gates.topics()
        self._estop_untold = False
        self._neighbours = Neighbours(ros.node_name, secrets.token_hex(8), clock() + epoch)
        self._mirrored: Neighbour | None = None  # whose emergency stop is asserted here too
        self._said = ('', 0.0)
        self._has_ended = False

    def __repr__(self) -> str:
        return f'Control({self.gates!r}, {self.estop!r})'

    def start(self) -> None:
        """Tell ROS how it begins."""
        self._ros.publish_safety(lease=self._leases(), estop=(
            self.estop.stopped, self.estop.by or '', self.estop.reason))

    def end(self) -> None:
        """End every lease, which stops the robot."""
        for guarded in self.gates.all():
            before = _state(guarded.gate)
            self._stop(guarded, 'shutdown')
            guarded.gate.end()
            self._tell(guarded, before, 'shutdown')
        self._has_ended = True
        self._ros.tell_neighbours(self._neighbours.say({}, None))

    # ---- what sessions ask

    def commands(self, peer: Peer) -> bool:
        """Whether a peer holds a lease."""
        return any(guarded.gate.lease.holder == peer.name for guarded in self.gates.all())

    def guards(self, topic: str) -> bool:
        """Whether a gate judges the age of what is published on a topic."""
        return self.gates.of(topic) is not None

    def check(self, peer: str, lease_mode: str, name: str, epoch: int | None) -> None:
        """
        Judge a call or a goal.

        :raises WsBridgeError: it is refused.
        """
        caller = self._peer(peer)
        assert caller is not None
        if name == self._ros.own.clear_stop:
            self._require(caller, 'clear_stop')
        guarded = self.gates.service(name)
        if guarded is not None and not name.endswith(UNGUARDED):
            try:
                self.gates.check_grants(guarded)
                guarded.gate.check_sender(peer, lease_mode, epoch)
            except WsBridgeError as exc:
                self.refused(guarded, caller, exc)
                raise

    def describe(self, rights: Rights) -> dict[str, Any]:
        """Return the gates that a role may know of, and the emergency stop."""
        return {'gates': [self.gates.describe(guarded, rights, self._name_of)
                          for guarded in self.gates.all()
                          if self.gates.is_shown(guarded, rights)],
                'estop': self._estop_fields()}

    def _estop_fields(self) -> dict[str, Any]:
        estop = self.estop
        return {'stopped': estop.stopped, 'by': estop.by, 'reason': estop.reason}

    def diagnostic(self) -> Diagnostic:
        """Return what ``/diagnostics`` says of the emergency stop."""
        estop = self.estop
        return ('ws_bridge: emergency stop', ERROR if estop.stopped else OK,
                f'stopped: {estop.reason}' if estop.stopped else 'armed',
                [('by', estop.by or ''), ('reason', estop.reason)])

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
            self.stop(peer.name, op.reason or f'{peer.session.name or peer.name} stopped it')
            self._require_stopped(peer.session.login.rights)
            peer.send(StopAsserted(op.op_id))
        elif isinstance(op, LeaseOperation):
            self._lease(peer, op)
        else:
            self._require(peer, 'clear_stop')
            self._require_cleared_elsewhere()
            self.clear(peer.name)
            peer.send(StopCleared(op.op_id))

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

    def _require(self, peer: Peer, action: Use) -> None:
        if not may(peer, action):
            self._audit.often('forbidden', peer=peer.name, action=action)
            raise Forbidden(f'{action} needs a role that this peer does not have')

    def _lease(self, peer: Peer, op: LeaseOperation) -> None:
        rights = peer.session.login.rights
        guarded = self.gates.named(op.gate, rights)
        if op.verb != 'release':        # what a peer has it may always give back
            self.gates.check_use(guarded, rights)
            self.gates.check_grants(guarded)
        if op.verb == 'grant' and (heir := self._peer(op.peer or '')) is not None:
            self.gates.check_use(guarded, heir.session.login.rights)
        gate, before = guarded.gate, _state(guarded.gate)
        terms: LeaseTerms | None = None
        answer_timeout: float | None = None
        reason = _REASONS.get(op.verb, op.verb)
        if op.verb == 'request':
            gate.ask(peer.name, op.message, self._clock() + ASK_TIMEOUT)
            answer_timeout = ASK_TIMEOUT
        elif op.verb in ('grant', 'deny'):
            gate.answer(peer.name, op.peer or '', granted=op.verb == 'grant')
        elif op.verb == 'release':
            gate.release(peer.name)
        else:
            if op.verb == 'take':
                self._require(peer, 'take')
                gate.take(peer.name)
            else:
                gate.acquire(peer.name)
            terms = _terms(gate)
        self._halt(guarded, before, reason)
        peer.send(LeaseAnswered(op.op_id, op.verb, op.gate, terms, answer_timeout))
        self._tell(guarded, before, reason)

    def stop(self, by: str, reason: str) -> None:
        """Assert the emergency stop: nothing moves, nobody holds a lease."""
        changed = self.estop.apply(EstopEvent.ASSERT, by, reason)
        for guarded in self.gates.all():
            guarded.guard.stop('estop')
            guarded.generation = guarded.guard.generation
        if changed:                     # then no goal can begin
            for guarded in self.gates.all():
                self._end_goals(guarded)
            self._estop_changed(by)
        for guarded in self.gates.all():
            before = _state(guarded.gate)
            guarded.gate.end()
            self._tell(guarded, before, 'estop')

    def clear(self, by: str) -> None:
        """End the emergency stop; nobody holds a lease."""
        self._mirrored = None
        if self.estop.apply(EstopEvent.CLEAR, by):
            for guarded in self.gates.all():
                guarded.gate.cleared()
            self._estop_changed(by)
            for guarded in self.gates.all():
                guarded.generation = guarded.guard.generation

    def from_ros(self, stopped: bool, by: str, reason: str) -> None:
        """Do what a node asked for."""
        if stopped:
            self.stop(by, reason)
            return
        try:
            self._require_cleared_elsewhere()
        except Stopped as exc:
            logger.error('%s asked to clear the emergency stop: %s', by, exc)
        else:
            self.clear(by)

    # ---- other bridges

    def hear_neighbour(self, text: str) -> None:
        """Take note of what a bridge of the graph says of its gates."""
        try:
            other = self._neighbours.hear(text, self._clock())
        except ValueError as exc:
            self._audit.often('neighbour_ignored', message=str(exc))
            return
        if other is None:
            return
        mirrored = self._mirrored
        if mirrored is not None and other.instance == mirrored.instance and other.estop is None:
            self.clear(f'bridge {other.name}')
        self._heed_neighbours()

    def _heed_neighbours(self) -> None:
        """Grant no lease that an older bridge grants, and stop where another one has."""
        topics = self.gates.topics()
        for guarded in self.gates.all():
            granting = self._neighbours.granting(topics[guarded.gate.name])
            is_new = granting is not None and guarded.granting is None
            guarded.granting = granting
            if is_new and granting is not None:
                self._audit.write('another_bridge', gate=guarded.gate.name, name=granting.name)
                logger.warning('%s is guarded by the bridge %s too, which grants its leases',
                               guarded.gate.name, granting.name)
                before = _state(guarded.gate)
                self._stop(guarded, 'another_bridge')
                guarded.gate.end()
                self._tell(guarded, before, 'another_bridge')
        stopping = self._stopping_neighbour()
        if stopping is not None and not self.estop.stopped:
            self._mirrored = stopping
            self.stop(f'bridge {stopping.name}', stopping.estop or '')

    def _stopping_neighbour(self) -> Neighbour | None:
        return self._neighbours.stopping(self._topics())

    def neighbours(self, topic: str | None = None) -> list[Neighbour]:
        """Return the bridges that guard this topic too, or any topic that is guarded here."""
        return self._neighbours.sharing(self._topics() if topic is None else {topic})

    def _topics(self) -> set[str]:
        """Return every guarded topic."""
        return {topic for topics in self.gates.topics().values() for topic in topics}

    def _require_cleared_elsewhere(self) -> None:
        """
        Let no stop of another bridge be cleared here: it would move what that one has stopped.

        :raises Stopped: another bridge that guards the same topic is stopped.
        """
        stopping = self._stopping_neighbour()
        if stopping is not None:
            raise Stopped(f'the bridge {stopping.name} has asserted its emergency stop: clear it '
                          'there')

    def _tell_neighbours(self) -> None:
        """Say what is guarded here, when it has changed and once a second."""
        if self._has_ended:
            return
        holders = {topic: self._name_of(gate.lease.holder) or gate.lease.holder
                   if gate.lease.holder else None
                   for gate in (guarded.gate for guarded in self.gates.all())
                   for topic in self.gates.topics()[gate.name]}
        text = self._neighbours.say(
            holders, self.estop.reason if self.estop.stopped and self._mirrored is None else None)
        said, at = self._said
        if text != said or self._clock() >= at + SAY_EVERY:
            self._said = text, self._clock()
            self._ros.tell_neighbours(text)

    def _estop_changed(self, by: str) -> None:
        fields = self._estop_fields()
        self._ros.publish_safety(estop=(fields['stopped'], by, fields['reason']))
        self._audit.often('estop', each=CHANGES, peer=by,
                          **{key: fields[key] for key in ('stopped', 'reason')})
        self._estop_untold = True
        self._tell_estop()

    def _tell_estop(self) -> None:
        """Tell peers of the emergency stop, once every stop is published."""
        if self._estop_untold and not any(
                guarded.guard.alarm for guarded in self.gates.all()):
            self._estop_untold = False
            self._broadcast(EstopChanged(**self._estop_fields()))

    # ---- what happens to peers, and by itself

    def _silent(self, peer: Peer, effect: PeerLost) -> None:
        self.lost(peer, 'heartbeat')

    def lost(self, peer: Peer, reason: str) -> None:
        """
        Take from a peer that is LOST, or left, all that it commanded by.

        Who acquired by publishing was not asked for heartbeats: its commands are its life. Its
        first one may have been its last word, and wait for a publisher: then it is published,
        and the robot stopped at once.
        """
        for guarded in self.gates.all():
            lease = guarded.gate.lease
            if not lease.implicit or lease.holder != peer.name:
                self._lost(guarded, peer.name, reason)
            elif reason == 'closed' and guarded.beginning:
                guarded.afterwards.append(partial(self._lost, guarded, peer.name, reason))
            elif reason != 'heartbeat':
                self._lost(guarded, peer.name, reason)

    def _lost(self, guarded: Guarded, peer: str, reason: str) -> None:
        before = _state(guarded.gate)
        commanded = guarded.gate.commander == peer
        guarded.gate.forget(peer)
        if commanded and guarded.gate.commander is None:
            self._stop(guarded, reason)
        self._settle(guarded, before, reason)

    def tick(self) -> None:
        """End what had its time: requests, leases of peers that only publish."""
        for guarded in self.gates.all():
            self.elapsed(guarded)
        if self.gates.drop_unused():
            self._list()
        if self._neighbours.poll(self._clock()):
            self._heed_neighbours()
        self._tell_neighbours()
        self._audit.flush()

    def elapsed(self, guarded: Guarded) -> None:
        """End what had its time at one gate."""
        before = _state(guarded.gate)
        guarded.gate.poll(self._clock())
        self._settle(guarded, before, 'timeout')

    def graph_changed(self) -> None:
        """Find the gates of the topics that there are now."""
        self.gates.graph_changed()
        self._heed_neighbours()
        self._list()

    def _list(self) -> None:
        """Tell peers of gates that came or went, and of new topics of old ones."""
        listed = self.gates.topics()
        if listed != self._listed:
            self._listed = listed
            for peer in self._peers():
                if peer.hears_news:
                    peer.send(GatesChanged(self.describe(peer.session.login.rights)))
            self._ros.publish_safety(lease=self._leases())

    def acquired(self, guarded: Guarded, peer: Peer) -> None:
        """Tell of a lease that was acquired by publishing."""
        self._tell(guarded, Before(None, 0, None), 'published')

    def refused(self, guarded: Guarded, peer: Peer, error: WsBridgeError) -> None:
        """Note a refusal."""
        self._audit.often('refused', gate=guarded.gate.name, peer=peer.name,
                          address=peer.link.address, name=peer.session.name or None,
                          code=error.code, message=str(error))

    def halted(self, guarded: Guarded, reason: str) -> None:
        """Begin anew after a stop that the watchdog made."""
        before = _state(guarded.gate)
        guarded.gate.stopped()
        self._end_goals(guarded)
        self._settle(guarded, before, reason)

    def stopped(self, guarded: Guarded, reason: str, subscribers: int, after: float) -> None:
        """Tell of a stop that was published."""
        stop = RobotStopped(guarded.gate.name, reason, subscribers, round(after, 4))
        self._audit.write('stopped', peer=guarded.last_peer, **asdict(stop))
        self._broadcast(stop, guarded)

    def dropped(self, guarded: Guarded, error: WsBridgeError) -> None:
        """Tell who commands that a command which had passed was not published."""
        peer = None if guarded.last_peer is None else self._peer(guarded.last_peer)
        if peer is not None:
            self.refused(guarded, peer, error)
            peer.send(Failed(None, error))

    def alarmed(self, guarded: Guarded, text: str) -> None:
        """Tell everybody that a stop cannot be published, or that it was at last."""
        name = guarded.gate.name
        self._audit.write('stop_failed' if text else 'stop_repeated', gate=name, message=text)
        if text:
            logger.error('a stop of %s cannot be published and is tried again: %s', name, text)
            self._alarm(StopFailed(f'{name}: {text}'), guarded)
        self._tell_estop()

    def stops_lost(self, why: str) -> None:
        """Begin anew after the stop process has ended; the robot is stopped already."""
        self._audit.write('stop_process_lost', message=why)
        logger.error('the stop process: %s; what moved was stopped, no command passes until it '
                     'runs again', why)
        self._alarm(StopFailed(f'the stop process: {why}; what moved was stopped, and commands '
                               'begin anew'))
        for guarded in self.gates.all():
            self.gates.note_stop(guarded, 'stop_process')

    def _alarm(self, error: WsBridgeError, about: Guarded | None = None) -> None:
        """Tell everybody, but not of which gate to who may not know of it."""
        for peer in self._peers():
            if not peer.session.login.needed:
                shown = about is None or self.gates.is_shown(about, peer.session.login.rights)
                peer.send(Failed(None, error if shown else StopFailed(UNNAMED)))

    # ---- one change

    def _settle(self, guarded: Guarded, before: Before, reason: str) -> None:
        self._halt(guarded, before, reason)
        self._tell(guarded, before, reason)

    def _halt(self, guarded: Guarded, before: Before, reason: str) -> None:
        """Stop the robot if another one, or nobody, commands now."""
        if guarded.gate.lease.epoch != before.epoch or \
                guarded.gate.lease.holder != before.holder:
            self._stop(guarded, reason)

    def _stop(self, guarded: Guarded, reason: str) -> None:
        guarded.guard.stop(reason)
        guarded.generation = guarded.guard.generation
        self._end_goals(guarded)

    def _tell(self, guarded: Guarded, before: Before, reason: str) -> None:
        """Tell who is concerned, and then everybody, what became of a lease."""
        gate = guarded.gate
        lease = gate.lease
        changed = (lease.holder, lease.epoch) != (before.holder, before.epoch)
        if changed and before.holder is not None:
            self._notify(before.holder, LeaseLost(gate.name, before.epoch, reason))
        if changed:
            self._tell_change(guarded, before, reason)
        asked = before.request
        if asked is not None and lease.request is not asked:
            self._answer(gate, asked.peer, changed and lease.holder == asked.peer, reason)
        elif changed and reason == 'request' and lease.holder is not None:
            self._answer(gate, lease.holder, True, reason)
        if lease.request is not None and lease.request is not asked:
            self._notify(lease.holder, LeaseRequested(
                gate.name, lease.request.peer, self._name_of(lease.request.peer) or '',
                lease.request.message, ASK_TIMEOUT))

    def _tell_change(self, guarded: Guarded, before: Before, reason: str) -> None:
        gate = guarded.gate
        lease = gate.lease
        holder = None if lease.holder is None else self._peer(lease.holder)
        if holder is not None and not lease.implicit:
            holder.session.heartbeats.watch(self._clock())
            self._arm(holder)
        name = holder.session.name if holder else None
        self._audit.often('lease', each=CHANGES, gate=gate.name, peer=lease.holder, name=name,
                          epoch=lease.epoch, reason=reason, before=before.holder)
        self._broadcast(LeaseChanged(gate.name, lease.holder, name, lease.epoch, reason), guarded)
        self._ros.publish_safety(lease=self._leases())

    def _answer(self, gate: Gate, peer: str, granted: bool, reason: str) -> None:
        """Tell a peer what became of its request."""
        self._notify(peer, LeaseDecided(gate.name, reason, _terms(gate) if granted else None))

    def _notify(self, name: str | None, news: Reply) -> None:
        peer = None if name is None else self._peer(name)
        if peer is not None:
            peer.send(news)

    def _broadcast(self, news: Reply, about: Guarded | None = None) -> None:
        """Tell the peers that want to know, of a gate those that may know of it."""
        for peer in self._peers():
            if peer.hears_news and (about is None or self.gates.is_shown(
                    about, peer.session.login.rights)):
                peer.send(news)

    def _peer(self, name: str) -> Peer | None:
        return next((peer for peer in self._peers() if peer.name == name), None)

    def _name_of(self, name: str) -> str | None:
        peer = self._peer(name)
        return peer.session.name if peer else None

    def _leases(self) -> str:
        """Return what ROS is told, JSON."""
        return orjson.dumps([self.gates.describe(guarded, None, self._name_of)
                             for guarded in self.gates.all()]).decode()

    EFFECTS: ClassVar[Effects] = {ControlOperation: operate, PeerLost: _silent}


_REASONS = {'acquire': 'acquired', 'grant': 'granted', 'deny': 'denied', 'take': 'taken',
            'release': 'released'}


def _state(gate: Gate) -> Before:
    return Before(gate.lease.holder, gate.lease.epoch, gate.lease.request)


def _terms(gate: Gate) -> LeaseTerms:
    return LeaseTerms(gate.lease.epoch, gate.policy.timeout, gate.policy.ttl)
