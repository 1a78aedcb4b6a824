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
"""Listening sockets that count what they accept, and cut at once what would be too much."""
from __future__ import annotations

import asyncio
from contextlib import suppress
import errno
import logging
import os
import socket
import time
from typing import Any

from ws_bridge.transport.crowd import Crowd
from ws_bridge.transport.endpoint import address_host

BACKLOG = 128
"""Connections that the kernel keeps until they are accepted."""
SAID_EACH = 60.0
"""Time between lines that say that nothing can be accepted, s."""

_MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What binding fails with where a machine has no IPv6, or no IPv4."""

logger = logging.getLogger(__name__)


class AcceptedSocket(socket.socket):
    """One connection: it is counted for as long as it is open."""

    crowd: Crowd | None = None

    def close(self) -> None:
        descriptor = self.fileno()
        super().close()
        if self.crowd is not None and descriptor >= 0:
            self.crowd.leave(descriptor)


class ListeningSocket(socket.socket):
    """A bound socket; asyncio calls :meth:`accept` when somebody waits."""

    crowd: Crowd
    _reserve: int | None = None
    _said = -SAID_EACH

    def close(self) -> None:
        super().close()
        self._give_reserve()

    def listen(self, backlog: int = BACKLOG) -> None:
        """Listen; a file is kept in reserve for the day when there are no others."""
        # asyncio accepts as many connections in a row as its backlog is: few, on purpose.
        super().listen(max(backlog, BACKLOG))
        self._take_reserve()

    def accept(self) -> tuple[socket.socket, Any]:
        """
        Return a connection and its address.

        :raises BlockingIOError: there is none, or it was cut.
        """
        try:
            plain, address = super().accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            raise
        except OSError as exc:
            self._cannot(exc)
            raise BlockingIOError('who came was cut') from exc
        accepted = AcceptedSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        if not self.crowd.enter(accepted.fileno(), address_host(address), accepted):
            accepted.close()
            raise BlockingIOError('who came was cut')
        accepted.crowd = self.crowd
        return accepted, address

    def _cannot(self, exc: OSError) -> None:
        """Say so, not too often, and cut who waits: else the loop would turn without end."""
        now = time.monotonic()
        if now - self._said >= SAID_EACH:
            self._said = now
            logger.error('no connection can be accepted, who comes is cut: %s', exc.strerror)
        if self._reserve is None:       # somebody else was faster: asyncio tries again in a second
            self._take_reserve()
            logging.getLogger('asyncio').addFilter(_is_news)
            raise exc
        self._give_reserve()
        with suppress(OSError):     # nobody waits any more, or somebody else took the file
            super().accept()[0].close()
        self._take_reserve()

    def _take_reserve(self) -> None:
        if self._reserve is None:
            try:
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as exc:
                logger.debug('no file in reserve: %s', exc)

    def _give_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


def _is_news(record: logging.LogRecord) -> bool:
    """Keep out what asyncio says, with a traceback, each time that it cannot accept."""
    return not record.getMessage().startswith('socket.accept() out of system resource')


async def bind(host: str, port: int, crowd: Crowd) -> list[ListeningSocket]:
    """
    Return sockets bound to every address of a host; ``::`` takes IPv4 too.

    :param port: 0 = any free one, the same for all.
    :raises OSError: an address cannot be bound.
    """
    bound: list[ListeningSocket] = []
    missing: OSError | None = None
    try:
        for family, address in await _addresses(host, port):
            if bound:
                port = bound[0].getsockname()[1]
            try:
                bound.append(_bind(family, (address[0], port, *address[2:]), crowd,
                                   takes_ipv4=host == '::'))
            except OSError as exc:
                if exc.errno not in _MISSING:
                    raise
                missing = exc
        if missing is not None and not bound:
            raise missing
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound


async def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    try:        # an address needs no thread that waits for an answer
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                   flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind(family: int, address: tuple[Any, ...], crowd: Crowd, *,
          takes_ipv4: bool) -> ListeningSocket:
    made = ListeningSocket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.crowd = crowd
    try:
        made.setblocking(False)
        if os.name == 'posix':      # elsewhere it would let others take the port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not takes_ipv4))
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made
