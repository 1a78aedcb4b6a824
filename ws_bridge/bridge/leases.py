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
Leases: how peers get them, and how they lose them; and what happens behind a gate.

The order is always the same: the robot is stopped, then the answer, then the news.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
import logging

from ws_bridge.addresses import is_loopback_address
from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.gates import Gates
from ws_bridge.bridge.guarded import Guarded
from ws_bridge.bridge.news import Before, News, state_of, terms_of
from ws_bridge.bridge.peer import Peer
from ws_bridge.config.roles import Use
from ws_bridge.errors import Forbidden, StopFailed, WsBridgeError
from ws_bridge.protocol.operations import LeaseOperation
from ws_bridge.protocol.replies import Failed, LeaseAnswered, LeaseTerms, RobotStopped
from ws_bridge.safety.policy import ASK_TIMEOUT
from ws_bridge.transport.link import Link

REASONS = {'acquire': 'acquired', 'grant': 'granted', 'deny': 'denied', 'take': 'taken',
           'release': 'released'}
"""What a change of a lease is told as, by the word that asked for it."""

logger = logging.getLogger(__name__)


def is_on_this_machine(address: str) -> bool:
    """Whether an address, as of a link, is this machine's own."""
    return is_loopback_address(address.strip('[]'))


def is_near(link: Link) -> bool:
    """Whether a peer is on this machine, and so is the proxy that says so."""
    return is_on_this_machine(link.address) \
        and is_on_this_machine(link.remote.rpartition(':')[0])


def may(peer: Peer, use: Use) -> bool:
    """Whether a peer's role lets it; who has not logged in has to be near."""
    login = peer.session.login
    return login.rights.may(use) and (login.identity is not None or is_near(peer.link))


class Leases:
    """
    Changes leases, and stops the robot where another one, or nobody, commands from then on.

    It is the watcher of the gates: :class:`ws_bridge.bridge.gates.Watcher`.

    :param end_goals: ends what goes on by itself behind a gate.
    :param audit: gets refusals and stops.
    :param clock: monotonic time, s.
    """

    def __init__(self, gates: Gates, news: News, audit: Audit, *,
                 end_goals: Callable[[Guarded], None], clock: Callable[[], float]) -> None:
        self._gates = gates
        self._news = news
        self._audit = audit
        self.end_goals = end_goals
        self._clock = clock

    def __repr__(self) -> str:
        return f'Leases({self._gates!r})'

    # ---- what peers ask for

    def require(self, peer: Peer, action: Use) -> None:
        """
        Refuse what a peer's role does not let it do.

        :raises Forbidden: it does not.
        """
        if not may(peer, action):
            self._audit.often('forbidden', peer=peer.name, action=action)
            raise Forbidden(f'{action} needs a role that this peer does not have')

    def operate(self, peer: Peer, op: LeaseOperation) -> None:
        """
        Do what a peer asks for, and answer it.

        :raises WsBridgeError: it cannot be done.
        """
        rights = peer.session.login.rights
        guarded = self._gates.named(op.gate, rights)
        if op.verb != 'release':        # what a peer has it may always give back
            self._gates.check_use(guarded, rights)
            self._gates.check_grants(guarded)
        if op.verb == 'grant' and (heir := self._news.peer(op.peer or '')) is not None:
            self._gates.check_use(guarded, heir.session.login.rights)
        gate, before = guarded.gate, state_of(guarded.gate)
        terms: LeaseTerms | None = None
        answer_timeout: float | None = None
        reason = REASONS.get(op.verb, op.verb)
        if op.verb == 'request':
            gate.ask(peer.name, op.message, self._clock() + ASK_TIMEOUT)
            answer_timeout = ASK_TIMEOUT
        elif op.verb in ('grant', 'deny'):
            gate.answer(peer.name, op.peer or '', granted=op.verb == 'grant')
        elif op.verb == 'release':
            gate.release(peer.name)
        else:
            if op.verb == 'take':
                self.require(peer, 'take')
                gate.take(peer.name)
            else:
                gate.acquire(peer.name)
            terms = terms_of(gate)
        self._halt(guarded, before, reason)
        peer.send(LeaseAnswered(op.op_id, op.verb, op.gate, terms, answer_timeout))
        self._news.lease_changed(guarded, before, reason)

    # ---- what happens to peers, and by itself

    def lost(self, peer: Peer, reason: str) -> None:
        """
        Take from a peer that is LOST, or left, all that it commanded by.

        Who acquired by publishing was not asked for heartbeats: its commands are its life. Its
        first one may have been its last word, and wait for a publisher: then it is published,
        and the robot stopped at once.
        """
        for guarded in self._gates.all():
            lease = guarded.gate.lease
            if not lease.implicit or lease.holder != peer.name:
                self._lost(guarded, peer.name, reason)
            elif reason == 'closed' and guarded.beginning:
                guarded.afterwards.append(partial(self._lost, guarded, peer.name, reason))
            elif reason != 'heartbeat':
                self._lost(guarded, peer.name, reason)

    def _lost(self, guarded: Guarded, peer: str, reason: str) -> None:
        before = state_of(guarded.gate)
        commanded = guarded.gate.commander == peer
        guarded.gate.forget(peer)
        if commanded and guarded.gate.commander is None:
            self._stop(guarded, reason)
        self._settle(guarded, before, reason)

    def end(self, guarded: Guarded, reason: str) -> None:
        """End a lease, which stops the robot."""
        before = state_of(guarded.gate)
        self._stop(guarded, reason)
        guarded.gate.end()
        self._news.lease_changed(guarded, before, reason)

    def stops_lost(self, why: str) -> None:
        """Begin anew after the stop process has ended; the robot is stopped already."""
        self._audit.write('stop_process_lost', message=why)
        logger.error('the stop process: %s; what moved was stopped, no command passes until it '
                     'runs again', why)
        self._news.alarm(StopFailed(f'the stop process: {why}; what moved was stopped, and '
                                    'commands begin anew'))
        for guarded in self._gates.all():
            self._gates.note_stop(guarded, 'stop_process')

    def stop_failed(self, why: str) -> None:
        """Tell everybody that a service did not do its part in a stop; not all may know which."""
        self._audit.write('stop_failed', message=why)
        self._news.alarm(StopFailed('a service that has to stop the robot has failed; the log of '
                                    'the bridge says which'))

    # ---- the watcher of the gates

    def elapsed(self, guarded: Guarded) -> None:
        """End what had its time at one gate: requests, leases of peers that only publish."""
        before = state_of(guarded.gate)
        guarded.gate.poll(self._clock())
        self._settle(guarded, before, 'timeout')

    def acquired(self, guarded: Guarded, peer: Peer) -> None:
        """Tell of a lease that was acquired by publishing."""
        self._news.lease_changed(guarded, Before(None, 0, None), 'published')

    def refused(self, guarded: Guarded, peer: Peer, error: WsBridgeError) -> None:
        """Note a refusal."""
        self._audit.often('refused', gate=guarded.gate.name, peer=peer.name,
                          address=peer.link.address, name=peer.session.name or None,
                          code=error.code, message=str(error))
        error.is_logged = True

    def halted(self, guarded: Guarded, reason: str) -> None:
        """Begin anew after a stop that the watchdog made."""
        before = state_of(guarded.gate)
        guarded.gate.stopped()
        self.end_goals(guarded)
        self._settle(guarded, before, reason)

    def stopped(self, guarded: Guarded, reason: str, subscribers: int, after: float) -> None:
        """Tell of a stop that was published."""
        stop = RobotStopped(guarded.gate.name, reason, subscribers, round(after, 4))
        self._audit.write('stopped', peer=guarded.last_peer, **asdict(stop))
        self._news.broadcast(stop, guarded)

    def dropped(self, guarded: Guarded, error: WsBridgeError) -> None:
        """Tell who commands that a command which had passed was not published."""
        peer = None if guarded.last_peer is None else self._news.peer(guarded.last_peer)
        if peer is not None:
            self.refused(guarded, peer, error)
            peer.send(Failed(None, error))

    def alarmed(self, guarded: Guarded, text: str) -> None:
        """Tell everybody that a stop cannot be published, or that it was at last."""
        name = guarded.gate.name
        self._audit.write('stop_failed' if text else 'stop_repeated', gate=name, message=text)
        if text:
            logger.error('a stop of %s cannot be published and is tried again: %s', name, text)
            self._news.alarm(StopFailed(f'{name}: {text}'), guarded)
        self._news.tell_estop()

    # ---- one change

    def _settle(self, guarded: Guarded, before: Before, reason: str) -> None:
        self._halt(guarded, before, reason)
        self._news.lease_changed(guarded, before, reason)

    def _halt(self, guarded: Guarded, before: Before, reason: str) -> None:
        """Stop the robot if another one, or nobody, commands now."""
        if guarded.gate.lease.epoch != before.epoch or \
                guarded.gate.lease.holder != before.holder:
            self._stop(guarded, reason)

    def _stop(self, guarded: Guarded, reason: str) -> None:
        guarded.guard.stop(reason)
        guarded.generation = guarded.guard.generation
        self.end_goals(guarded)
