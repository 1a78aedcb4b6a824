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
Sessions that wait for their peers: who left unwillingly comes back, and finds what it had.

The robot was stopped when the connection broke, and every lease has ended: those never wait.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from ws_bridge.addresses import network_of
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.publications import Publications
from ws_bridge.bridge.state import Diagnostic
from ws_bridge.bridge.subscriptions import Subscriptions
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.config import Settings
from ws_bridge.errors import OtherLogin, SessionGone
from ws_bridge.protocol.replies import Resumed
from ws_bridge.session import effects as fx
from ws_bridge.session.outbox import Outbox
from ws_bridge.session.session import Session
from ws_bridge.session.waiting_room import WaitingRoom
from ws_bridge.transport.link import Link

FAREWELLS = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1013})
"""
Close codes of who said goodbye, broke the rules or was dismissed: whatever else ends a connection,
its peer may come back.
"""
MOVED = 3000
"""Close code of a connection whose session goes on by another one."""


class Resumption(Unit):
    """
    Keeps the sessions of peers that may come back.

    :param carry_out: carries out the effects of a session.
    :param part: ends what a connection has, as if it were closed.
    :param is_here: whether a peer has still what it commands by.
    :param lost: ends what a peer commands by.
    :param clock: monotonic time, s.
    """

    def __init__(self, settings: Settings, outward: Outward, publications: Publications,
                 subscriptions: Subscriptions, ledger: Ledger, *,
                 carry_out: Callable[[Peer, list[fx.Effect]], object],
                 part: Callable[[Link, int, str], None], is_here: Callable[[Peer], bool],
                 lost: Callable[[Peer, str], None],
                 changed: Callable[[], None], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._outward = outward
        self._publications = publications
        self._subscriptions = subscriptions
        self._ledger = ledger
        self._carry_out = carry_out
        self._part = part
        self._is_here = is_here
        self._lost = lost
        self._changed = changed
        self._clock = clock
        self._room: WaitingRoom[Peer] = WaitingRoom(
            settings.resume_time, settings.max_peers, settings.max_peers_per_address)

    def __repr__(self) -> str:
        return f'Resumption({self._room!r})'

    # ---- peers that leave

    def keeps(self, peer: Peer, code: int) -> bool:
        """
        Whether the session of a peer waits for it; it does from now on.

        :param code: with which the connection ended.
        """
        if peer.name not in self._room:
            return False
        if code in FAREWELLS:
            self._room.forget(peer.name)
            return False
        self._carry_out(peer, peer.session.leave())
        self._subscriptions.leave(peer)
        for other in self._room.leave(peer.name, network_of(peer.link.address), self._clock()):
            self._end(other, 'room')
        return True

    def tick(self) -> None:
        """
        End the sessions that have waited for too long; called a few times a second.

        Many may have begun to wait at once: one is ended in a turn of the loop.
        """
        peer = self._room.overdue(self._clock())
        if peer is not None:
            asyncio.get_running_loop().call_soon(self.tick)
            self._end(peer, 'time')

    def make_room(self) -> bool:
        """End the session that has waited longest, in favour of who is here; if any waits."""
        peer = self._room.give_way()
        if peer is not None:
            self._end(peer, 'room')
        return peer is not None

    def end(self) -> None:
        """End all that wait."""
        while self.make_room():
            pass

    def _end(self, peer: Peer, why: str) -> None:
        self._ledger.often('session_ended', peer=peer.name, address=peer.link.address, code=why)
        self._carry_out(peer, peer.session.close())
        self._changed()

    # ---- what is told of them

    @property
    def waiting(self) -> int:
        """How many sessions wait."""
        return len(self._room)

    def kept(self) -> tuple[int, int]:
        """Return how many bytes of replies are kept, and how many replies had no room."""
        boxes = [outbox for peer in self._room.owners()
                 if (outbox := peer.session.outbox) is not None]
        return sum(box.nbytes for box in boxes), sum(box.given_way for box in boxes)

    def diagnostics(self) -> list[Diagnostic]:
        """Return what ``/diagnostics`` says of them."""
        nbytes, given_way = self.kept()
        return [('ws_bridge: sessions', 0, f'{self.waiting} wait for their peers', [
            ('waiting', str(self.waiting)), ('kept bytes', str(nbytes)),
            ('replies without room', str(given_way))])]

    # ---- peers that come back

    def _offer(self, peer: Peer, effect: fx.OfferResume) -> None:
        """Tell a peer its secret, and keep its replies from now on."""
        session = peer.session
        if session.outbox is None:
            session.outbox = Outbox(self._settings.max_kept_bytes)
            session.heartbeats.on_echo = partial(self._echoed, session.peer, session.outbox)
        secret = self._room.issue(peer.name, peer, session.heartbeats.number)
        peer.send(session.greeting(effect.op_id, asked=True, secret=secret))

    def _echoed(self, name: str, outbox: Outbox, beat: int) -> None:
        outbox.arrived(beat)
        self._room.arrived(name, beat)

    def _resume(self, peer: Peer, effect: fx.ResumeSession) -> None:
        """
        Let a peer go on with a session.

        :raises SessionGone: it waits no longer, or has another secret.
        :raises OtherLogin: it is that of another.
        """
        op, address = effect.operation, peer.link.address
        try:
            old = self._room.find(op.session, op.secret, self._clock())
            self._check(peer, old)
        except (SessionGone, OtherLogin) as exc:
            self._ledger.often('resume_refused', peer=peer.name, address=address, code=exc.code)
            raise
        if self._is_here(old):      # it has lost that connection; this side does not know it yet
            self._part(old.link, MOVED, 'resumed')
            old.link.close(MOVED, 'the session goes on by another connection')
        self._ledger.note('resume', peer=old.name, address=address, connection=peer.name)
        self._move(old, peer)
        self._welcome(peer, effect)

    def _check(self, peer: Peer, old: Peer) -> None:
        """
        Refuse to let somebody go on with a session.

        :raises SessionGone: its peer is being dismissed.
        :raises OtherLogin: it is that of somebody else, whose secret is worth nothing any more.
        """
        if old.link.ending in FAREWELLS:
            self._room.forget(old.name)
            raise SessionGone('this session is gone, or its secret is another one')
        if peer.session.login.is_of_same(old.session.login):
            return
        self._room.forget(old.name)
        if not self._is_here(old):
            self._end(old, 'other_login')
        raise OtherLogin('this session belongs to another login or role', field='data.session')

    def _move(self, old: Peer, peer: Peer) -> None:
        """Let a peer have the session of an older one, in place of its own."""
        self._lost(peer, 'closed')
        self._room.forget(peer.name)
        self._carry_out(peer, peer.session.close())
        self._carry_out(old, old.session.come_back(peer.session, self._clock()))
        peer.session, old.successor = old.session, peer
        peer.link.queue.takes_pieces = old.link.queue.takes_pieces
        self._publications.move(old, peer)

    def _welcome(self, peer: Peer, effect: fx.ResumeSession) -> None:
        """Tell a peer what it finds, then what it waits for."""
        op, session = effect.operation, peer.session
        outbox, beat = session.outbox, session.heartbeats.number
        assert outbox is not None
        restored = self._outward.come_back(peer, op.received)
        again, unknown = outbox.come_back(op.waiting, op.accepted, _running(session), beat)
        peer.send(Resumed(
            op.op_id, peer.name, self._room.issue(peer.name, peer, beat),
            self._settings.resume_time, restored,
            session.publications.channels(), unknown))
        peer.send_frames(again)
        self._changed()

    EFFECTS: ClassVar[Effects] = {fx.OfferResume: _offer, fx.ResumeSession: _resume}


def _running(session: Session) -> list[str | None]:
    """Return the requests of a peer that go on in ROS."""
    return [*(op_id for op_id, _ in session.services.calls.values()),
            *(sent.op_id for sent in session.actions.sent.values())]
