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
"""Who is connected from where: counted from ``accept`` until the socket is closed."""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from socket import socket as Socket
import time
from typing import Any

from websockets.asyncio.server import ServerConnection

from ws_bridge.addresses import is_address, is_in, network_of
from ws_bridge.errors import forget_place
from ws_bridge.transport.fence import Fenced, ignore
from ws_bridge.transport.options import RefusedHook, ServerOptions

READ_SIZE = 16_384
"""Bytes taken from a socket at once, so that a flood leaves the others their turns."""

MAX_BODIES = 32 << 20
"""Bytes of pages that may wait for who asked for them."""
BODY_TIME = 10.0
"""For so long a page may be taken where others wait for room; else as slowly as the link, s."""

_FORWARDED = 'x-forwarded-for'
OF_PROXIES = {_FORWARDED, 'forwarded', 'via', 'x-real-ip'}
"""Headers by which one notices a proxy."""


@dataclass(eq=False, slots=True)
class Ticket:
    """
    One open connection, as it is counted.

    :param address: where it comes from, without a port; later what a trusted proxy says it is.
    :param socket: of the connection.
    :param transport: of the socket, once there is one.
    :param is_connecting: its handshakes (TLS, HTTP) have not ended.
    :param is_answered: its request was understood, and answered or let in.
    :param body: bytes of the page that it is sent; they wait for it until it has taken them.
    :param since: when that began, monotonic, s.
    :param is_streamed: it is sent an answer that goes on.
    """

    address: str
    socket: Socket | None = None
    transport: asyncio.Transport | None = None
    is_connecting: bool = True
    is_answered: bool = False
    body: int = 0
    since: float = 0.0
    is_streamed: bool = False


class Crowd:
    """
    Counts the connections of one server, from ``accept`` on: before TLS, before any byte is read.

    A connection that would be one too many before it has said anything is cut at once: an answer
    would cost more than it did.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        #: By the file descriptor of the socket: no two that are open have the same.
        self._tickets: dict[int, Ticket] = {}
        self._addresses: Counter[str] = Counter()
        self._connecting: Counter[str] = Counter()
        self._closed = False

    def __repr__(self) -> str:
        return f'Crowd({len(self._tickets)} of {len(self._addresses)} addresses, ' \
               f'{self._connecting.total()} connecting)'

    def of(self, address: str) -> int:
        """Return how many an address has."""
        return self._addresses[network_of(address)]

    def enter(self, descriptor: int, address: str,
              socket: Socket | None = None) -> bool:
        """
        Count a new connection.

        :param socket: of it.
        :return: ``False``: it is too late, or there are too many handshakes.
        """
        if self._closed:
            return False
        network = network_of(address)
        limit = self._options.max_handshakes
        if self._connecting.total() >= limit or (
                self._connecting[network] >= max(limit // 2, 1)
                and not is_in(address, self._options.trusted_proxies)):
            refused(self._options.refused, 'handshakes', address)
            return False
        self._tickets[descriptor] = Ticket(address, socket)
        self._addresses[network] += 1
        self._connecting[network] += 1
        return True

    def of_transport(self, transport: asyncio.Transport) -> Ticket | None:
        """Return how a new connection is counted; ``None``: it is not, or it comes too late."""
        bound = transport.get_extra_info('socket')
        ticket = self._tickets.get(bound.fileno()) if bound is not None else None
        if ticket is None or self._closed:
            return None
        ticket.transport = transport
        return ticket

    def move(self, ticket: Ticket, address: str) -> None:
        """Count a connection for the address that a proxy names."""
        if address != ticket.address:
            before, after = network_of(ticket.address), network_of(address)
            _take(self._addresses, before)
            self._addresses[after] += 1
            if ticket.is_connecting:
                _take(self._connecting, before)
                self._connecting[after] += 1
            ticket.address = address

    def has_room(self, ticket: Ticket, body: int) -> bool:
        """
        Note how much a connection is sent; whether it may be.

        One page always may, however large. Who has had :data:`BODY_TIME` is cut where another
        needs the room: of the address that has most, the largest page.
        """
        now = time.monotonic()
        while (waiting := (bodies := self._bodies()).total()) and waiting + body > MAX_BODIES:
            late = [other for other in self._tickets.values()
                    if other.body and other.transport is not None
                    and now >= other.since + BODY_TIME]
            if not late:
                return False
            slowest = max(late, key=lambda each: (bodies[network_of(each.address)], each.body))
            assert slowest.transport is not None
            slowest.transport.abort()
            slowest.body = 0
        ticket.body, ticket.since = body, now
        return True

    def _bodies(self) -> Counter[str]:
        """Return the bytes that wait for each address."""
        bodies: Counter[str] = Counter()
        for ticket in self._tickets.values():
            bodies[network_of(ticket.address)] += ticket.body
        return bodies

    def joined(self, ticket: Ticket) -> None:
        """Note that a connection has ended its handshakes."""
        if ticket.is_connecting:
            ticket.is_connecting = False
            _take(self._connecting, network_of(ticket.address))

    def close(self) -> None:
        """Cut what is no WebSocket: in its handshakes, streamed, or yet to come."""
        self._closed = True
        for ticket in list(self._tickets.values()):
            if (ticket.is_connecting or ticket.is_streamed) and ticket.transport is not None:
                ticket.transport.abort()

    def leave(self, descriptor: int) -> None:
        """Note that a socket is closed."""
        ticket = self._tickets.pop(descriptor, None)
        if ticket is None:
            return
        if ticket.is_connecting and not ticket.is_answered:
            refused(self._options.refused, 'handshake', ticket.address)
        self.joined(ticket)
        _take(self._addresses, network_of(ticket.address))


def _take(counts: Counter[str], network: str) -> None:
    counts[network] -= 1
    if counts[network] <= 0:
        del counts[network]


class _Gone(asyncio.Transport):
    """Stands for a socket that something else has now."""

    def abort(self) -> None:
        """Do nothing."""

    close = abort

    def is_closing(self) -> bool:
        """Whether nothing can be written."""
        return True


class CountedConnection(Fenced, ServerConnection):
    """A connection that is counted; one that is not is cut."""

    crowd: Crowd
    ticket: Ticket | None = None
    #: Whether TLS, if there is any, has ended.
    is_connected = False
    admitted: Any = None

    @property
    def client_address(self) -> str:
        """Where the peer is, without a port."""
        return self.ticket.address if self.ticket is not None else ''

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.is_connected = True
        # A read of asyncio's own 256 kB can hold thousands of frames, parsed in one go.
        if hasattr(transport, 'max_size'):
            transport.max_size = READ_SIZE
        self.ticket = self.crowd.of_transport(self.transport)
        if self.ticket is None:
            self.transport.abort()
        elif self.ticket.socket is not None \
                and self.transport.get_extra_info('sslcontext') is None:
            self.send_bytes = self.ticket.socket.send
            self.send_parts = self.ticket.socket.sendmsg

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """
        Let something else have the socket from now on; for the server this connection is lost.

        What the server does to a connection that it has lost does nothing to the socket.
        """
        transport = self.transport
        transport.set_protocol(protocol)
        if self.ticket is not None:
            self.ticket.is_streamed = True
            self.crowd.joined(self.ticket)
        super().connection_lost(None)
        self.transport = _Gone()
        return transport

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        forget_itself(self.transport)
        for fault in (self.protocol.parser_exc, self.protocol.handshake_exc):
            forget_place(fault)
        self._cutter.end()
        vars(self.protocol).pop('select_subprotocol', None)


def forget_itself(transport: asyncio.BaseTransport | None) -> None:
    """
    Free a transport that has ended: thousands would wait for one long collection.

    It can still be aborted: asyncio's own fails where it had closed as its last bytes left.
    """
    held = getattr(transport, '__dict__', {})
    if '_read_ready_cb' in held:
        # They refer to the transport, the second one since Python 3.12; there a transport that
        # was closed has none.
        del held['_read_ready_cb']
        held.pop('_write_ready', None)
        held['abort'] = ignore


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
        if not is_address(entry):
            break
        address = entry
    return address
