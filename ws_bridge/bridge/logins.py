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
"""Who peers are, and what follows: how much they may send, and when they have to leave."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
import secrets
from typing import ClassVar

from ws_bridge.bridge.door import Door, FAILURE_DELAY
from ws_bridge.bridge.leases import is_near
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.state import StateReporter
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.config import Settings
from ws_bridge.errors import LoginFailed
from ws_bridge.protocol.replies import Failed, TicketMade
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session import effects as fx
from ws_bridge.session.login import Login
from ws_bridge.transport.link import Link

STRANGER_MESSAGE = 16_384
"""The largest message of who has to log in first, bytes."""
SECRET_SIZE = 16
"""Of what makes the challenges of one connection, bytes."""


class Logins(Unit):
    """
    Lets peers in, and has them leave.

    :param door: knows who peers are.
    :param ledger: takes down logins, and who was dismissed.
    :param epoch: Unix time at the loop's time 0, s.
    :param peers: those that are connected.
    :param carry_out: carries out the effects of a session.
    :param state: told to a peer that has logged in.
    :param needs_pings: tells of peers, by how they go about leases, whether pings bound the age of
        what they command.
    """

    def __init__(self, settings: Settings, door: Door, ledger: Ledger, state: StateReporter,
                 loop: asyncio.AbstractEventLoop, *, epoch: float, peers: Mapping[Link, Peer],
                 carry_out: Callable[[Peer, list[fx.Effect]], object],
                 needs_pings: Callable[[LeaseMode], bool]) -> None:
        self._settings = settings
        self._door = door
        self._ledger = ledger
        self._state = state
        self._loop = loop
        self._epoch = epoch
        self._peers = peers
        self._carry_out = carry_out
        self._needs_pings = needs_pings

    def __repr__(self) -> str:
        return f'Logins({self._door!r})'

    def of(self, link: Link) -> Login:
        """Return who a peer is by its handshake."""
        login = self._door.login_of(link.admitted, dialled=link.dialled, now=self._loop.time(),
                                    epoch=self._epoch)
        login.is_near = is_near(link)
        return login

    def is_needed(self, link: Link) -> bool:
        """Whether a peer has to log in, and did not by its handshake."""
        return self._door.is_guarded and not link.dialled and \
            getattr(link.admitted, 'identity', None) is None

    def bound(self, peer: Peer) -> None:
        """Bound the messages of a peer."""
        size = self.largest(peer.session.login)
        peer.link.limit_messages(size)
        peer.dialect.limit_messages(size)

    def largest(self, login: Login) -> int:
        """Return how large a message of a peer may be, bytes: who may send nothing needs less."""
        if login.needed:
            return STRANGER_MESSAGE
        most = self._settings.max_message_size
        return most if login.rights.may_send else \
            min(most, self._settings.max_observer_message_size)

    def fence(self, link: Link, login: Login, lease_mode: LeaseMode | None = None) -> None:
        """
        Ping a peer that may command: then the age of its first command has a bound.

        :param lease_mode: ``None`` = it has not shown yet how it goes about leases.
        """
        if not login.needed and login.rights.may('publish') and (
                lease_mode is None or self._needs_pings(lease_mode)):
            link.pace.keep(self._settings.fence_interval)

    def require_signatures(self, peer: Peer) -> None:
        """Have a peer sign what it asks for, if its role wants that; the one before may have."""
        login, settings = peer.session.login, self._settings
        peer.dialect = getattr(peer.dialect, 'inner', peer.dialect)
        if login.rights.role.signed:
            from ws_bridge.protocol.signed import SignedDialect  # which few bridges need
            peer.dialect = SignedDialect(
                peer.dialect, robot=settings.robot_name, unix_offset=self._epoch,
                secret=secrets.token_bytes(SECRET_SIZE),
                longest=settings.heartbeat_interval + self._door.longest_ttl,
                is_signed=partial(self._is_signed, peer),
                is_stop=peer.session.services.is_stop)

    def _is_signed(self, peer: Peer, signature: bytes, text: bytes) -> bool:
        if self._door.is_signed(peer.session.login.identity, signature, text):
            return True
        self._ledger.often('bad_signature', peer=peer.name, address=peer.link.address)
        return False

    def note(self, peer: Peer) -> None:
        """Take down that a peer has logged in."""
        login = peer.session.login
        assert login.identity is not None
        self._ledger.note('login', peer=peer.name, address=peer.link.address,
                          identity=login.identity.name, role=login.rights.role.name,
                          method=login.identity.method)

    def dismiss(self, link: Link, code: int, reason: str) -> None:
        """Close a connection, and take it down."""
        peer = self._peers.get(link)
        self._ledger.often('dismissed', peer=peer.name if peer else '', address=link.address,
                           code=reason)
        link.close(code, reason)

    # ---- effects

    def _log_in(self, peer: Peer, effect: fx.LogIn) -> None:
        """Let a peer in; one that fails is told late, and leaves."""
        login, address = peer.session.login, peer.link.address
        try:
            identity, rights = self._door.identify(effect.credentials, address,
                                                   self._loop.time() + self._epoch)
        except LoginFailed as exc:
            login.is_refused = True
            self._loop.call_later(FAILURE_DELAY, self._turn_away, peer, Failed(
                effect.op_id, exc))
            return
        until = None if identity.expires is None else identity.expires - self._epoch
        self._carry_out(peer, login.succeeded(effect.op_id, identity, rights, until))
        self.require_signatures(peer)
        self.bound(peer)
        self.note(peer)
        self.fence(peer.link, login, peer.session.lease_mode)
        if peer.hears_news:
            self._state.greet(peer)
        self._state.tell_topics(peer)

    def _make_ticket(self, peer: Peer, effect: fx.IssueTicket) -> None:
        """Make a ticket; what is taken down is who has one, never the ticket."""
        login = peer.session.login
        ticket, lifetime = self._door.make_ticket(login, effect.role,
                                                  self._loop.time() + self._epoch)
        assert login.identity is not None
        self._ledger.note('ticket', peer=peer.name, address=peer.link.address,
                          identity=login.identity.name, role=effect.role)
        peer.send(TicketMade(effect.op_id, effect.role, ticket, lifetime))

    def _turn_away(self, peer: Peer, why: Failed) -> None:
        if peer.link in self._peers:    # it may have left by itself
            peer.send(why)
            self.dismiss(peer.link, fx.POLICY_VIOLATION, 'login failed')

    def _dismiss(self, peer: Peer, effect: fx.Dismiss) -> None:
        self.dismiss(peer.link, effect.code, effect.reason)

    EFFECTS: ClassVar[Effects] = {
        fx.LogIn: _log_in, fx.IssueTicket: _make_ticket, fx.Dismiss: _dismiss}
