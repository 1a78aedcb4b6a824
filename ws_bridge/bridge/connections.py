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
Connections: which peers there are, from the handshake to the end.

A peer is known by the subprotocol that it names, else by its first frame.  Until then, and until
it has logged in where it has to, it counts as a stranger, of which there may be only so many.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
import logging
import secrets
from typing import Protocol, TYPE_CHECKING

from ws_bridge.addresses import network_of
from ws_bridge.bridge.control import Control
from ws_bridge.bridge.dispatch import Dispatcher
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.logins import Logins
from ws_bridge.bridge.metrics import Figures
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.resumption import Resumption
from ws_bridge.bridge.simulated_time import SimulatedTime
from ws_bridge.bridge.state import StateReporter
from ws_bridge.bridge.uplinks import Uplinks
from ws_bridge.config import Settings
from ws_bridge.convert.cbor import cbor_values
from ws_bridge.protocol.dialect import Dialect, SIGNED_OPCODE, STOP_SIZE
from ws_bridge.protocol.dialects import DialectKind, DialectOptions, DIALECTS
from ws_bridge.protocol.stop_connection import giving_way
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session import effects as fx
from ws_bridge.session.login import Login
from ws_bridge.session.session import Session
from ws_bridge.transport.link import Link
from ws_bridge.transport.rounds import Round

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

PROTOCOL_ERROR = 1002
PRIVATE = 3000
"""Close codes from here on mean what the peer likes (RFC 6455 7.4.2): they count as one."""
TRY_LATER = 1013
NO_DIALECT = 'bad_frame: the first frame is of no dialect: neither "op" nor "metadata" is in it'

logger = logging.getLogger(__name__)


class MakeSession(Protocol):
    """Makes the session of a peer."""

    def __call__(self, peer: str, dialect: str, *, login: Login,
                 lease_mode: LeaseMode = 'native') -> Session:
        """Return it; see :class:`~ws_bridge.session.session.Session`."""


class PeerConnections:
    """
    Makes and ends peers.

    :param peers: those that have spoken or were greeted; this object adds and removes them.
    :param make_session: makes the session of a peer.
    :param sim_time: listens to that of a simulation.
    :param unix: Unix time that no wall clock step disturbs, s.
    """

    def __init__(self, settings: Settings, ros: RosSide, loop: asyncio.AbstractEventLoop, *,
                 peers: dict[Link, Peer], dispatcher: Dispatcher, control: Control,
                 logins: Logins, resumption: Resumption, uplinks: Uplinks,
                 state: StateReporter, figures: Figures, ledger: Ledger, make_session: MakeSession,
                 unix: Callable[[], float], sim_time: SimulatedTime) -> None:
        self._settings = settings
        self._ros = ros
        self._loop = loop
        self._peers = peers
        self._dispatcher = dispatcher
        self._control = control
        self._logins = logins
        self._resumption = resumption
        self._uplinks = uplinks
        self._state = state
        self._figures = figures
        self._ledger = ledger
        self._make_session = make_session
        self._unix = unix
        self._sim_time = sim_time
        self._run = secrets.token_hex(4)
        self._numbers = count(1)
        self._strangers: dict[Link, asyncio.TimerHandle] = {}
        self._beats = Round(settings.heartbeat_interval)
        self._has_come_or_gone = True
        self._published: list[tuple[str, float]] | None = None

    def __repr__(self) -> str:
        return f'PeerConnections({len(self._peers)} peers, {len(self._strangers)} strangers)'

    # ---- begin

    def opened(self, link: Link) -> None:
        """Greet a native peer; one that named no dialect is known by its first frame."""
        self._has_come_or_gone = True
        link.websocket.is_urgent = partial(self._is_urgent, link)
        if self._logins.is_needed(link) and self._are_strangers_enough(link.address):
            self._ledger.refused('strangers', link.address)
            link.close(TRY_LATER, 'too many peers that have not logged in')
        elif (kind := DIALECTS.of_subprotocol(link.subprotocol)) is not None:
            self.meet(link, kind, is_named=True)
        else:
            login = self._logins.of(link)
            link.limit_messages(self._logins.largest(login))
            self._logins.fence(link, login)     # its first word may be a command, long after this
            self._strangers[link] = self._loop.call_later(
                self._settings.login_timeout, self._expect_word, link)
        self._give_way()

    def _give_way(self) -> None:
        """Close the newest connections that only stop, where others may soon need their room."""
        if not any(peer.kind.only_stops for peer in self._peers.values()):
            return
        connections = [(link, False) for link in self._strangers]
        connections += [(link, peer.kind.only_stops) for link, peer in self._peers.items()]
        for link in giving_way(
                [(link, network_of(link.address), only_stops) for link, only_stops in connections
                 if link.is_open and not link.dialled],
                self._settings.max_peers, self._settings.max_peers_per_address):
            link.close(TRY_LATER, 'others need the room')

    def _is_urgent(self, link: Link, data: str | bytes) -> bool:
        """Whether a frame is read before those of others: one that may stop, or commands."""
        peer = self._peers.get(link)
        return may_stop(data) or (peer is not None and self._control.commands(peer))

    def _expect_word(self, link: Link) -> None:
        """Dismiss who has to log in and has said nothing yet."""
        if self._logins.is_needed(link):
            self._logins.dismiss(link, fx.POLICY_VIOLATION, 'no login in time')

    def _are_strangers_enough(self, address: str) -> bool:
        """Whether those who have still to log in may be no more: others need room too."""
        networks = [network_of(link.address) for link, peer in self._peers.items()
                    if peer.session.login.needed]
        networks += [network_of(link.address) for link in self._strangers
                     if self._logins.is_needed(link)]
        most = max(self._settings.max_peers // 2, 1)
        return len(networks) >= most or \
            networks.count(network_of(address)) >= max(most // 2, 1)

    def _forget_stranger(self, link: Link) -> None:
        timer = self._strangers.pop(link, None)
        if timer is not None:
            timer.cancel()

    def meet(self, link: Link, kind: DialectKind, *, is_named: bool = False) -> Peer:
        """
        Make the session of a connection.

        :param is_named: the peer named its dialect, and does not only speak it.
        """
        self._forget_stranger(link)
        name = f'p{next(self._numbers)}'
        dialect = self._make_dialect(link, kind, name)
        lease_mode = kind.lease_mode if is_named else kind.unnamed_lease_mode or kind.lease_mode
        session = self._make_session(name, dialect.name, login=self._logins.of(link),
                                     lease_mode=lease_mode)
        peer = self._peers[link] = Peer(link, session, dialect, kind, self._unix, self._ledger,
                                        not is_named or kind.parses_binary)
        self._logins.require_signatures(peer)
        self._logins.bound(peer)
        if kind.has_heartbeats:
            self._beats.add(peer.beat)
            link.pace.beats = self._beats.interval
        logger.info('peer %s from %s: %s', peer.name, link.address, dialect.name)
        self._note_visit('open', peer, dialect=dialect.name)
        if session.login.identity is not None:
            self._logins.note(peer)
        self._logins.fence(link, session.login, lease_mode)
        if is_named and kind.greets:
            peer.send(session.greeting())
            session.wants_status = True
            if peer.hears_news:
                self._state.greet(peer)
        self._state.tell_topics(peer)
        if kind.hears_time:
            self._sim_time.greet(peer)
        self._state.peer_changed(peer)
        self._dispatcher.arm(peer)
        return peer

    def _make_dialect(self, link: Link, kind: DialectKind, name: str) -> Dialect:
        settings, time = self._settings, self._sim_time
        is_simulated = kind.hears_time and self._ros.uses_sim_time
        if is_simulated:
            time.begin()
        return kind.make(DialectOptions(
            settings.robot_name, f'{self._run}-{name}', settings.max_message_size,
            settings.max_json_depth, cbor_values,
            in_browser='origin' in link.request_headers,     # browsers send theirs
            ros_distro=self._ros.release, serves_assets=bool(settings.asset_uri_allowlist),
            sim_time=(lambda: time.now) if is_simulated else None))

    # ---- while it lasts

    def find(self, link: Link, dialect: str | None) -> Peer | None:
        """
        Return the peer of a link, ``None`` while it has shown no dialect.

        :param dialect: what its first frame shows; empty = none, so that it has to leave.
        """
        peer = self._peers.get(link)
        if peer is None and dialect:
            peer = self.meet(link, DIALECTS[dialect])
        elif peer is None and dialect is not None:
            link.close(PROTOCOL_ERROR, NO_DIALECT)
        return peer

    def is_here(self, peer: Peer) -> bool:
        """Whether a peer has not left."""
        return self.is_known(peer) and peer.link.is_open

    def is_known(self, peer: Peer) -> bool:
        """Whether the end of a peer's connection was not taken note of."""
        return self._peers.get(peer.link) is peer

    def tick(self) -> None:
        """Do what is to be done a few times a second."""
        self._bound_queues()
        self._count()

    def _bound_queues(self) -> None:
        """Close the peer for which most waits where too much waits for all together."""
        most = self._settings.max_total_queue_bytes
        if sum([link.queued_bytes for link in self._peers]) <= most:
            return
        links = [link for link in self._peers if link.is_open]
        if sum(link.queued_bytes for link in links) > most:
            worst = max(links, key=lambda link: link.queued_bytes)
            self._logins.dismiss(worst, fx.POLICY_VIOLATION,
                                 'too slow: too much waits for all peers')

    def _count(self) -> None:
        """Tell ROS who is connected, when that has changed."""
        if not self._has_come_or_gone:
            return
        self._has_come_or_gone = False
        connections = [(link.address, link.opened_at) for link in (*self._strangers, *self._peers)
                       if not link.dialled]
        if connections != self._published:
            self._published = connections
            self._ros.publish_connections(connections)

    # ---- end

    def closed(self, link: Link, code: int, reason: str) -> None:
        """
        Take back everything the peer made; first the robot is stopped if it commanded.

        Where the peer may come back, its session waits: see :class:`Resumption`.
        """
        self._has_come_or_gone = True
        self._forget_stranger(link)
        peer = self._peers.pop(link, None)
        if peer is not None:
            self._control.lost(peer, 'closed')
            self._beats.discard(peer.beat)
        self._uplinks.closed(link)
        self._dispatcher.disarm(link)
        self._sim_time.left()
        if peer is not None:
            self._figures.left(peer)
            if not self._resumption.keeps(peer, code):
                self._dispatcher.carry_out(peer, peer.session.close())
            logger.info('peer %s left: %d %s', peer.name, code, reason)
            self._note_visit('close', peer, code=min(code, PRIVATE))
            self._state.peer_changed(peer)

    def _note_visit(self, event: str, peer: Peer, **fields: object) -> None:
        """Take down who comes and goes; of those who have still to log in not each one."""
        if peer.session.login.needed:
            self._ledger.often(event, address=peer.link.address, **fields)
        else:
            self._ledger.note(event, peer=peer.name, address=peer.link.address, **fields)


def may_stop(data: str | bytes) -> bool:
    """Whether a frame may be an emergency stop, as far as can be told without parsing it."""
    return len(data) <= STOP_SIZE and (
        'stop"' in data if isinstance(data, str) else
        b'stop"' in data and data[0] != SIGNED_OPCODE)
