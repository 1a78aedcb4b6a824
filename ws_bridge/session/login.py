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
"""Who the peer of a session is, and what it may do.  Pure: no clock, no I/O."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ws_bridge.config import Exposure, Rule
from ws_bridge.config.roles import ADMIN, NAMELESS, NOBODY, Use
from ws_bridge.errors import AlreadyExists, Forbidden
from ws_bridge.identity.identity import Identity
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.replies import LoginState
from ws_bridge.session import effects as fx
from ws_bridge.session.parts import Handlers, Part
from ws_bridge.session.rights import Policy, Rights


@dataclass(slots=True)
class Login(Part):
    """
    The state of one peer's login.

    :param rights: what it may do now.
    :param identity: who it is; ``None`` before the login, and where it needs none.
    :param until: monotonic time at which it has to have logged in, or to log in again; s.
    :param possible: whether anybody can log in at all.
    :ivar is_near: the peer is on this machine.
    :ivar is_refused: it tried, and failed: once is enough for one connection.
    """

    rights: Rights
    identity: Identity | None = None
    until: float | None = None
    possible: bool = False
    is_refused: bool = False
    is_near: bool = True

    @property
    def needed(self) -> bool:
        """Whether the peer may do nothing but log in."""
        return self.rights.role is NOBODY

    @property
    def state(self) -> LoginState:
        """What the peer is told."""
        return 'needed' if self.needed else 'done' if self.identity else \
            'possible' if self.possible else 'none'

    def is_of_same(self, other: Login) -> bool:
        """Whether both are logins of the same, in the same way, with the same role."""
        return self.rights.role == other.rights.role and _who(self) == _who(other)

    def take_over(self, other: Login) -> None:
        """Take the login of a new connection, with what that may do now."""
        self.rights, self.identity, self.until = other.rights, other.identity, other.until
        self.possible, self.is_refused, self.is_near = \
            other.possible, other.is_refused, other.is_near

    def admit(self, op: ops.Operation) -> None:
        """
        Refuse everything but the login where that is still missing.

        :raises Forbidden: it is.
        """
        if self.needed and not isinstance(op, (ops.Authenticate, ops.Malformed)):
            raise Forbidden('log in first')

    def check(self, use: Use, name: str, field: str) -> Rule:
        """
        Return the mapping file's rule for a use that is allowed.

        :param name: absolute, as resolved by the node.
        :raises Forbidden: it is not.
        """
        return self.rights.check(use, name, field)

    def may(self, use: Use) -> bool:
        """Whether it may do what is about no name; who has not logged in has to be near."""
        return self.rights.may(use) and (
            self.identity is not None or self.is_near or use not in NAMELESS)

    def _authenticate(self, op: ops.Authenticate, now: float) -> list[fx.Effect]:
        """Have credentials looked at; where nobody can log in there is nothing to say."""
        if not self.possible:
            return [fx.Send(self._answer(op.op_id))]
        if self.is_refused:
            raise Forbidden('the login has failed')
        if self.identity is not None:
            raise AlreadyExists(f'this peer has logged in as {self.identity.name}')
        return [fx.LogIn(op.op_id, op.credentials)]

    def _make_ticket(self, op: ops.MakeTicket, now: float) -> list[fx.Effect]:
        return [fx.IssueTicket(op.op_id, op.role)]

    def succeeded(self, op_id: str | None, identity: Identity, rights: Rights,
                  until: float | None) -> list[fx.Effect]:
        """Take note of who the peer is, and tell it; ``until`` is monotonic, s."""
        self.identity, self.rights, self.until = identity, rights, until
        return [fx.Send(self._answer(op_id)), fx.PeerChanged()]

    def deadlines(self) -> Iterable[float]:
        """Give when the peer has to have logged in, or its login expires."""
        return () if self.until is None else (self.until,)

    def poll(self, now: float) -> list[fx.Effect]:
        """Dismiss a peer that did not log in in time, or whose login has expired."""
        if self.until is None or now < self.until:
            return []
        self.until = None
        return [fx.Dismiss(fx.POLICY_VIOLATION, 'login expired' if self.identity else
                           'no login in time')]

    def _answer(self, op_id: str | None) -> replies.LoggedIn:
        return replies.LoggedIn(op_id, self.identity.name if self.identity else None,
                                self.rights.role.name, self.rights.allowed())

    HANDLERS: ClassVar[Handlers] = {
        ops.Authenticate: _authenticate, ops.MakeTicket: _make_ticket}


def _who(login: Login) -> tuple[str, str] | None:
    return None if login.identity is None else (login.identity.name, login.identity.method)


def open_to_all(exposure: Exposure) -> Login:
    """Return the login of a peer that needs none and may do whatever is exposed."""
    return Login(Rights(Policy(exposure), ADMIN))
