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
"""How many connections there are, also before they are peers, and from where."""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
import ipaddress
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from ws_bridge.identity.throttle import network_of
from ws_bridge.transport.fence import Fenced
from ws_bridge.transport.options import RefusedHook, ServerOptions

READ_SIZE = 16_384
"""Bytes taken from a socket at once, so that a flood leaves the others their turns."""

_FORWARDED = 'x-forwarded-for'


class Crowd:
    """
    Counts the connections of one server.

    A connection that would be one too many before it has said anything is cut at once: an answer
    would cost more than it did.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._connecting: dict[Guarded, str] = {}
        self._addresses: Counter[str] = Counter()
        self._closed = False

    def __repr__(self) -> str:
        return f'Crowd({sum(self._addresses.values())} of {len(self._addresses)} addresses, ' \
               f'{len(self._connecting)} connecting)'

    def of(self, address: str) -> int:
        """Return how many an address has."""
        return self._addresses[network_of(address)]

    def enter(self, connection: Guarded) -> bool:
        """Count a new connection; ``False``: it is too late, or there are too many handshakes."""
        if self._closed:
            return False
        address = connection.client_address
        network = network_of(address)
        limit = self._options.max_handshakes
        same = sum(1 for other in self._connecting.values() if other == network)
        if len(self._connecting) >= limit or (
                same >= max(limit // 2, 1) and not is_in(address, self._options.trusted_proxies)):
            refused(self._options.refused, 'handshakes', address)
            return False
        self._connecting[connection] = network
        self._addresses[network] += 1
        connection.is_counted = True
        return True

    def move(self, connection: Guarded, address: str) -> None:
        """Count a connection for the address that a proxy names."""
        if connection.is_counted and address != connection.client_address:
            self._forget(connection.client_address)
            self._addresses[network_of(address)] += 1
            if connection in self._connecting:
                self._connecting[connection] = network_of(address)
        connection.client_address = address

    def joined(self, connection: Any) -> None:
        """Note that a connection has ended its handshake."""
        self._connecting.pop(connection, None)

    def close(self) -> None:
        """Cut what has not ended its handshake, and what is yet to come."""
        self._closed = True
        for connection in list(self._connecting):
            if connection.state is State.CONNECTING:
                connection.transport.abort()

    def leave(self, connection: Guarded) -> None:
        """Note the end of a connection."""
        if self._connecting.pop(connection, None) is not None and not connection.is_answered:
            refused(self._options.refused, 'handshake', connection.client_address)
        if connection.is_counted:
            connection.is_counted = False
            self._forget(connection.client_address)

    def _forget(self, address: str) -> None:
        network = network_of(address)
        self._addresses[network] -= 1
        if self._addresses[network] <= 0:
            del self._addresses[network]


class Guarded(Fenced, ServerConnection):
    """A connection that is counted from its first moment to its last."""

    crowd: Crowd
    client_address = ''
    is_counted = False
    is_answered = False
    admitted: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # A read of asyncio's own 256 kB can hold thousands of frames, parsed in one go.
        if hasattr(transport, 'max_size'):
            transport.max_size = READ_SIZE
        peer = transport.get_extra_info('peername')
        self.client_address = str(peer[0]) if isinstance(peer, tuple) and peer else ''
        if not self.crowd.enter(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.leave(self)
        super().connection_lost(exc)
        # asyncio's transport refers to itself: thousands would wait for one long collection.
        getattr(self.transport, '__dict__', {}).pop('_read_ready_cb', None)
        # Its traceback holds the message that was too large, until the garbage is collected.
        fault: BaseException | None = self.protocol.parser_exc
        while fault is not None:
            fault.__traceback__ = None
            fault = fault.__cause__ or fault.__context__


def refused(hook: RefusedHook | None, why: str, address: str) -> None:
    """Tell who wants to know of a refusal."""
    if hook is not None:
        hook(why, address)


def client_address(remote: str, headers: Mapping[str, str], proxies: Sequence[str]) -> str:
    """
    Return where a request comes from.

    A proxy appends the address that it sees, so the list is believed from its end, as far as its
    entries are trusted proxies themselves.
    """
    address = remote
    forwarded = [part.strip() for part in headers.get(_FORWARDED, '').split(',')]
    while is_in(address, proxies) and forwarded:
        entry = forwarded.pop().strip('[]')
        if not _is_address(entry):
            break
        address = entry
    return address


def is_in(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is one of these, or in one of these networks."""
    if not networks or not _is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    return any(parsed in ipaddress.ip_network(network, strict=False) for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
