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
Who may command through one gate: at most one peer, and how that changes.

::

             acquire, request, take                     request
    FREE --------------------------> HELD ------------------------------> ASKED
      ^                               | ^   grant (to who asked), deny,     |
      |            end                | |   withdraw, take, end (to who     |
      `-------------------------------' `---asked) -------------------------'
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ws_bridge.errors import Held, NotHolder, PeerGone


class LeaseState(str, Enum):
    """What a lease is in."""

    FREE = 'free'
    HELD = 'held'
    ASKED = 'asked'


class LeaseEvent(Enum):
    """What happens to a lease; ``END`` is a release or a loss, ``WITHDRAW`` ends a request."""

    ACQUIRE = 'acquire'
    REQUEST = 'request'
    GRANT = 'grant'
    DENY = 'deny'
    TAKE = 'take'
    END = 'end'
    WITHDRAW = 'withdraw'


#: Every state under every event; ``None`` = refused, nothing changes.
TRANSITIONS: dict[tuple[LeaseState, LeaseEvent], LeaseState | None] = {
    (LeaseState.FREE, LeaseEvent.ACQUIRE): LeaseState.HELD,
    (LeaseState.FREE, LeaseEvent.REQUEST): LeaseState.HELD,
    (LeaseState.FREE, LeaseEvent.GRANT): None,
    (LeaseState.FREE, LeaseEvent.DENY): None,
    (LeaseState.FREE, LeaseEvent.TAKE): LeaseState.HELD,
    (LeaseState.FREE, LeaseEvent.END): None,
    (LeaseState.FREE, LeaseEvent.WITHDRAW): None,
    (LeaseState.HELD, LeaseEvent.ACQUIRE): None,
    (LeaseState.HELD, LeaseEvent.REQUEST): LeaseState.ASKED,
    (LeaseState.HELD, LeaseEvent.GRANT): None,
    (LeaseState.HELD, LeaseEvent.DENY): None,
    (LeaseState.HELD, LeaseEvent.TAKE): LeaseState.HELD,
    (LeaseState.HELD, LeaseEvent.END): LeaseState.FREE,
    (LeaseState.HELD, LeaseEvent.WITHDRAW): None,
    (LeaseState.ASKED, LeaseEvent.ACQUIRE): None,
    (LeaseState.ASKED, LeaseEvent.REQUEST): None,
    (LeaseState.ASKED, LeaseEvent.GRANT): LeaseState.HELD,
    (LeaseState.ASKED, LeaseEvent.DENY): LeaseState.HELD,
    (LeaseState.ASKED, LeaseEvent.TAKE): LeaseState.HELD,
    (LeaseState.ASKED, LeaseEvent.END): LeaseState.HELD,
    (LeaseState.ASKED, LeaseEvent.WITHDRAW): LeaseState.HELD,
}


@dataclass(frozen=True, slots=True)
class Request:
    """A peer asks the holder, who may answer until ``deadline`` (monotonic, s)."""

    peer: str
    message: str
    deadline: float


class Lease:
    """
    The lease of one gate. Each holder has an epoch of its own, also the same peer again.

    :param next_epoch: gives numbers that rise and never come twice.
    :ivar holder: the peer, or ``None``.
    :ivar epoch: of the current holder, or the last.
    :ivar implicit: whether the holder acquired by publishing.
    :ivar request: what waits for the holder's answer.
    """

    __slots__ = ('_next_epoch', 'epoch', 'holder', 'implicit', 'request', 'state')

    def __init__(self, next_epoch: Callable[[], int]) -> None:
        self._next_epoch = next_epoch
        self.state = LeaseState.FREE
        self.holder: str | None = None
        self.epoch = 0
        self.implicit = False
        self.request: Request | None = None

    def __repr__(self) -> str:
        return f'<Lease {self.state.value} by {self.holder}, epoch {self.epoch}>'

    def acquire(self, peer: str, *, implicit: bool = False) -> None:
        """
        Give the free lease to a peer.

        :raises Held: somebody has it.
        """
        if not self._move(LeaseEvent.ACQUIRE):
            raise Held('this peer holds it already' if peer == self.holder
                       else f'{self.holder} holds it', field='gate')
        self._give(peer, implicit=implicit)

    def ask(self, peer: str, message: str, deadline: float) -> bool:
        """
        Ask the holder; a free lease is given at once.

        :return: whether it was given.
        :raises Held: the peer has it, or somebody else has asked already.
        """
        if peer == self.holder:
            raise Held('this peer holds it', field='gate')
        free = self.state is LeaseState.FREE
        if not self._move(LeaseEvent.REQUEST):
            raise Held('another peer waits for an answer of the holder', field='gate')
        if free:
            self._give(peer)
        else:
            self.request = Request(peer, message, deadline)
        return free

    def answer(self, by: str, peer: str, *, granted: bool) -> None:
        """
        Let the holder answer a request.

        :raises NotHolder: only the holder may.
        :raises PeerGone: this peer does not ask (any more).
        """
        if by != self.holder:
            raise NotHolder('only the holder answers', field='gate')
        if self.request is None or self.request.peer != peer or \
                not self._move(LeaseEvent.GRANT if granted else LeaseEvent.DENY):
            raise PeerGone(f'{peer} does not ask for it', field='peer')
        self.request = None
        if granted:
            self._give(peer)

    def take(self, peer: str) -> None:
        """Give the lease to a peer, whoever has it; a request is over."""
        self._move(LeaseEvent.TAKE)
        self.request = None
        self._give(peer)

    def end(self) -> None:
        """End the holder's lease; who has asked for it gets it."""
        request, self.request, self.holder = self.request, None, None
        self._move(LeaseEvent.END)
        if request is not None:
            self._give(request.peer)

    def withdraw(self) -> None:
        """End the request that waits, without a change of holder."""
        self._move(LeaseEvent.WITHDRAW)
        self.request = None

    def _move(self, event: LeaseEvent) -> bool:
        after = TRANSITIONS[self.state, event]
        if after is None:
            return False
        self.state = after
        return True

    def _give(self, peer: str, *, implicit: bool = False) -> None:
        self.holder, self.implicit = peer, implicit
        self.epoch = self._next_epoch()
