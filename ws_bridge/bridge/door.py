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
Who comes in: credentials of a handshake or of a first message to an identity and its rights.

Failed logins are counted for each address; their answer comes late, and beyond a number in a
minute the address has to wait. What was presented is never logged and never repeated.
"""
from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
import time
from typing import Any

from ws_bridge.bridge.ledger import Ledger
from ws_bridge.config import Settings
from ws_bridge.config.roles import ADMIN, NOBODY, OBSERVER, Role
from ws_bridge.errors import ConfigError, Forbidden, LoginFailed, WsBridgeError
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.identity import Identity
from ws_bridge.identity.throttle import Throttle
from ws_bridge.identity.tickets import ticket_of, Tickets
from ws_bridge.session.login import Login
from ws_bridge.session.rights import Policy, Rights
from ws_bridge.transport.handshake import embedding_fault, host_fault
from ws_bridge.transport.options import HttpReply, ServerOptions, Visitor

TOKEN_PREFIX = 'ws_bridge.token.'
"""Of the subprotocol entry that carries a token, base64url, for browsers; never answered."""
FAILURE_DELAY = 1.0
"""How late a failed login is answered, s."""

_TEXT = {'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store'}


@dataclass(frozen=True, slots=True)
class Admission:
    """
    Who was let in by the handshake.

    :param identity: ``None`` = somebody who presented nothing.
    """

    identity: Identity | None
    rights: Rights


class Door:
    """
    Decides who a peer is.

    :param authority: knows the credentials.
    :param ledger: takes down logins and refusals.
    :raises ConfigError: a role is named that there is not.
    """

    def __init__(self, settings: Settings, policy: Policy, authority: Authority,
                 ledger: Ledger) -> None:
        self._settings = settings
        self._policy = policy
        self._authority = authority
        self._ledger = ledger
        self._throttle = Throttle(settings.max_login_failures)
        self._tickets = Tickets()
        self.anonymous = self._named('anonymous_role', settings.anonymous_role or (
            OBSERVER.name if authority else ADMIN.name))
        self.dialled = self._named('connect_role', settings.connect_role)
        self._relayed = self._named('relay_role', settings.relay_role)
        self._check_signed()

    def __repr__(self) -> str:
        return f'Door({self._authority!r}, {self._throttle!r})'

    @property
    def is_guarded(self) -> bool:
        """Whether peers have to log in."""
        return bool(self._authority) and not self._settings.allow_anonymous

    @property
    def can_log_in(self) -> bool:
        """Whether anybody can log in."""
        return bool(self._authority)

    # ---- before the connection

    async def admit(self, visitor: Visitor) -> Admission | HttpReply:
        """Decide about a handshake."""
        now = time.monotonic()
        wait = self._throttle.wait(visitor.address, now)
        ticket, token = ticket_of(visitor.path), _token_of(visitor.headers)
        if wait and (ticket is not None or token is not None or self.is_guarded):
            self._ledger.refused('login_failures', visitor.address)
            return HttpReply(HTTPStatus.TOO_MANY_REQUESTS, {
                **_TEXT, 'Retry-After': str(int(wait) + 1)}, b'too many failed logins\n')
        try:
            identity = self._identify(visitor, token) if ticket is None else \
                self._tickets.take(ticket, now)
            role = self._role(identity)
        except (LoginFailed, Forbidden) as exc:
            await self._failed(visitor.address, exc, is_guess=ticket is None or
                               not self._tickets.knew(ticket))
            return HttpReply(HTTPStatus.UNAUTHORIZED, {
                **_TEXT, 'WWW-Authenticate': 'Bearer'}, f'{exc.message}\n'.encode())
        return Admission(identity, Rights(self._policy, role))

    def vouch(self, identity: Identity) -> Admission:
        """
        Let somebody in for whom a relay vouches, with the role that it names, or a lesser one.

        It has to sign if either role says so.

        :raises Forbidden: there is no such role, or neither it nor ``relay_role`` is the lesser.
        """
        role = named = self._policy.role_of(identity.name, identity.role)
        if not self._relayed.covers(role):
            if not role.covers(self._relayed):
                raise Forbidden(f'by a relay nobody may have the role {role.name} here')
            role = self._relayed
        if (self._relayed.signed or named.signed) and not role.signed:
            role = replace(role, signed=True)
        return Admission(identity, Rights(self._policy, role))

    async def metrics_allowed(self, visitor: Visitor) -> HttpReply | None:
        """Return why a visitor may not see the metrics, or ``None`` if he may."""
        why = host_fault(visitor.headers.get('host', ''), self._settings.hosts)
        if why is not None:
            self._ledger.refused('host', visitor.address)
            return HttpReply(HTTPStatus.MISDIRECTED_REQUEST, _TEXT, f'{why}\n'.encode())
        admission = await self.admit(visitor)
        if isinstance(admission, HttpReply):
            return admission
        if admission.rights.may('metrics'):
            return None
        self._ledger.refused('metrics', visitor.address)
        status, headers = (HTTPStatus.FORBIDDEN, _TEXT) if admission.identity else (
            HTTPStatus.UNAUTHORIZED, {**_TEXT, 'WWW-Authenticate': 'Bearer'})
        return HttpReply(status, headers, b'forbidden\n')

    async def admit_to_look(self, visitor: Visitor) -> Admission | HttpReply:
        """Decide about a request for a picture, which may be for a page."""
        options = ServerOptions(origins=self._settings.origins or None, hosts=self._settings.hosts)
        why = embedding_fault(visitor.headers, options, visitor.local_address)
        if why is None:
            return await self.admit(visitor)
        self._ledger.refused('origin', visitor.address)
        return HttpReply(HTTPStatus.FORBIDDEN, _TEXT, f'{why}\n'.encode())

    def refusal(self, status: HTTPStatus, error: WsBridgeError, visitor: Visitor,
                admission: Admission, code: str) -> HttpReply:
        """
        Return the answer to a request that is refused.

        :param code: what was asked for, in the ledger of what somebody may not do.
        """
        headers = dict(_TEXT)
        if isinstance(error, Forbidden):
            self._ledger.refused(code, visitor.address)
            if admission.identity is None and self.can_log_in:
                status, headers['WWW-Authenticate'] = HTTPStatus.UNAUTHORIZED, 'Bearer'
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers['Retry-After'] = '2'
        return HttpReply(status, headers, f'{error.code}: {error}\n'.encode(errors='replace'))

    def _identify(self, visitor: Visitor, token: str | None) -> Identity | None:
        if not self._authority:
            return None
        if token is not None:
            return self._authority.identify(token)
        return self._authority.identify_certificate(visitor.certificate)

    def _role(self, identity: Identity | None) -> Role:
        if identity is not None:
            return self._policy.role_of(identity.name, identity.role)
        return NOBODY if self.is_guarded else self.anonymous

    async def _failed(self, address: str, why: LoginFailed | Forbidden, *,
                      is_guess: bool) -> None:
        self._note_failure(address, why, is_guess=is_guess)
        await asyncio.sleep(FAILURE_DELAY)

    def _note_failure(self, address: str, why: LoginFailed | Forbidden, *,
                      is_guess: bool = True) -> None:
        if is_guess:
            self._throttle.failed(address, time.monotonic())
        self._ledger.often('login_failed', address=address, reason=why.message)

    # ---- after it

    def login_of(self, admitted: object, *, dialled: bool, now: float, epoch: float) -> Login:
        """
        Return the login of a new connection.

        :param now: monotonic, s.
        :param epoch: Unix time at monotonic 0, s.
        """
        if dialled:
            return Login(Rights(self._policy, self.dialled))
        rights, identity = (admitted.rights, admitted.identity) \
            if isinstance(admitted, Admission) else (Rights(self._policy, self._role(None)), None)
        # Who came by a relay has logged in there: his credentials are none of this robot's.
        is_relayed = identity is not None and identity.method == 'relay'
        login = Login(rights, identity, possible=bool(self._authority) and not is_relayed)
        if login.needed:
            login.until = now + self._settings.login_timeout
        elif identity is not None and identity.expires is not None:
            login.until = identity.expires - epoch
        return login

    def identify(self, credentials: Mapping[str, Any], address: str,
                 unix: float) -> tuple[Identity, Rights]:
        """
        Return who presents credentials in a message, and what he may do.

        :param unix: Unix time, s.
        :raises LoginFailed: nobody knows, or the address has to wait.
        """
        if self._throttle.wait(address, time.monotonic()):
            self._ledger.refused('login_failures', address)
            raise LoginFailed('too many failed logins')
        try:
            identity = self._authority.identify_credentials(credentials, unix)
            return identity, Rights(self._policy, self._role(identity))
        except (LoginFailed, Forbidden) as exc:
            self._note_failure(address, exc)
            raise LoginFailed(exc.message) from None

    def make_ticket(self, maker: Login, role: str, unix: float) -> tuple[str, float]:
        """
        Return a ticket, and for how long it can be used, s.

        :param maker: the login of who wants it; its ticket may do no more than it may, and its
            peer is dismissed when this login expires.
        :param unix: Unix time, s.
        :raises Forbidden: there are no tickets, or not for this.
        :raises LimitExceeded: too many wait to be used.
        """
        lifetime, identity = self._settings.ticket_lifetime, maker.identity
        if not lifetime:
            raise Forbidden('this bridge makes no tickets: its parameter ticket_lifetime is 0')
        if identity is None or identity.method in ('ticket', 'relay'):
            raise Forbidden('a ticket is for who has logged in here, and not by a ticket')
        wanted = self._policy.roles.get(role)
        if wanted is None or not self._policy.may_hand_out(maker.rights.role, wanted):
            raise Forbidden(f'there is no role {role[:64]!r}, or the role '
                            f'{maker.rights.role.name} may not do all that it may', field='role')
        if identity.expires is not None:
            lifetime = max(min(lifetime, identity.expires - unix), 0.0)
        return self._tickets.make(identity, role, lifetime, time.monotonic()), lifetime

    @property
    def longest_ttl(self) -> float:
        """The oldest command that any gate lets pass, s."""
        return max((self._settings.gate_ttl,
                    *(gate.ttl for gate in self._policy.exposure.gates)))

    def is_signed(self, identity: Identity | None, signature: bytes, text: bytes) -> bool:
        """Whether a text has the signature of a key of somebody."""
        return identity is not None and self._authority.is_signed(identity.name, signature, text)

    # ---- configuration

    def _check_signed(self) -> None:
        """
        Refuse keys that nobody has to use, and roles that nobody could use.

        :raises ConfigError: so it is.
        """
        signing = [role.name for role in self._policy.roles.values() if role.signed]
        if bool(signing) != bool(self._settings.command_key_file):
            raise ConfigError(
                f'is empty, and the role {signing[0]} has to sign' if signing else
                'has no effect: no role of the mapping file has "signed: true"',
                field='command_key_file')
        if self.dialled.signed:
            raise ConfigError(f'{self.dialled.name} has to sign, which a bridge cannot',
                              field='connect_role')

    def _named(self, parameter: str, name: str) -> Role:
        role = self._policy.roles.get(name)
        if role is None:
            raise ConfigError(f'there is no role {name!r}; known are '
                              f'{", ".join(self._policy.roles)}', field=parameter)
        return role


def _token_of(headers: Mapping[str, str]) -> str | None:
    """
    Return the token of a request, ``None`` where it presents none.

    What is there and cannot be read is a wrong token: empty.
    """
    given = headers.get('authorization')
    if given is not None:
        scheme, _, token = given.partition(' ')
        return token.strip() if scheme.lower() == 'bearer' else ''
    for offered in headers.get('sec-websocket-protocol', '').split(','):
        entry = offered.strip()
        if entry.startswith(TOKEN_PREFIX):
            return _from_base64url(entry[len(TOKEN_PREFIX):])
    return None


def _from_base64url(text: str) -> str:
    try:
        return base64.b64decode(text + '=' * (-len(text) % 4), altchars=b'-_',
                                validate=True).decode()
    except (binascii.Error, ValueError):
        return ''
