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
Tickets: a login for clients in which one can type nothing but a URL.  Pure: no clock.

Whoever has logged in has one made and types ``ws://robot:9090/ticket/TICKET`` elsewhere. It lets
one connection in, within a short time. A URL is shown, kept and logged by what it passes through,
so a ticket is worth nothing once it was used. Only digests are kept.
"""
from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
import secrets

from ws_bridge.errors import LimitExceeded, LoginFailed
from ws_bridge.identity.identity import Identity
from ws_bridge.identity.tokens import digest_of

FOLDER = '/ticket/'
"""Comes before a ticket in the path of a URL, also below the path that a proxy hands on."""
MOST_OF_ONE = 8
"""Tickets that one identity has made and nobody has used yet."""
MOST = 1000
"""The same of all identities together; and used ones that are remembered."""
_SECRET_BYTES = 32


def ticket_of(path: str) -> str | None:
    """
    Return the ticket in the path of a request, ``None`` where it presents none.

    :param path: with its query.
    """
    _, found, ticket = path.partition('?')[0].rpartition(FOLDER)
    return ticket if found and '/' not in ticket else None


def without_ticket(url: str) -> str:
    """Return a URL as it may be shown and logged."""
    before, found, _ = url.rpartition(FOLDER)
    return f'{before}{found}...' if found else url


@dataclass(frozen=True, slots=True)
class _Entry:
    """Whom a ticket lets in, and until when; monotonic, s."""

    identity: Identity
    until: float


class Tickets:
    """The tickets that were made and not used yet, and the last ones that cannot be used now."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Entry] = {}
        self._spent: OrderedDict[bytes, None] = OrderedDict()

    def __repr__(self) -> str:
        return f'Tickets({len(self._open)} open, {len(self._spent)} spent)'

    def make(self, maker: Identity, role: str, lifetime: float, now: float) -> str:
        """
        Return a new ticket.

        :param maker: whose name its peer has, and whose login ends that of its peer too.
        :param lifetime: how long it can be used, s.
        :param now: monotonic, s.
        :raises LimitExceeded: too many wait to be used.
        """
        self._expire(now)
        own = sum(entry.identity.name == maker.name for entry in self._open.values())
        if own >= MOST_OF_ONE or len(self._open) >= MOST:
            raise LimitExceeded('too many tickets wait to be used')
        ticket = secrets.token_urlsafe(_SECRET_BYTES)
        self._open[digest_of(ticket)] = _Entry(
            Identity(maker.name, role, 'ticket', maker.expires), now + lifetime)
        return ticket

    def take(self, ticket: str, now: float) -> Identity:
        """
        Use a ticket up, and return whom it lets in.

        :param now: monotonic, s.
        :raises LoginFailed: there is no such ticket, or no longer.
        """
        self._expire(now)
        digest = digest_of(ticket)
        entry = self._open.pop(digest, None)
        if entry is None:
            raise LoginFailed('the ticket is used, too old, or was never made')
        self._spend(digest)
        return entry.identity

    def knew(self, ticket: str) -> bool:
        """
        Tell whether a ticket was good once.

        An app that lost its connection tries its URL again and again: these are no guesses.
        """
        return digest_of(ticket) in self._spent

    def _expire(self, now: float) -> None:
        for digest in [digest for digest, entry in self._open.items() if now >= entry.until]:
            del self._open[digest]
            self._spend(digest)

    def _spend(self, digest: bytes) -> None:
        self._spent[digest] = None
        if len(self._spent) > MOST:
            self._spent.popitem(last=False)
