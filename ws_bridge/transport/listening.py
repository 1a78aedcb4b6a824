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
"""The listening socket of an interface in server mode."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
import errno
import logging
from typing import Any

from websockets.asyncio.server import serve, Server, ServerConnection
from websockets.typing import Subprotocol

from ws_bridge.errors import ConnectFailed
from ws_bridge.transport.accepting import bind, ListeningSocket
from ws_bridge.transport.crowd import CountedConnection, Crowd
from ws_bridge.transport.endpoint import join_host_port
from ws_bridge.transport.handshake import Handshake, SERVER
from ws_bridge.transport.options import ServerOptions
from ws_bridge.transport.settings import ConnectionSettings
from ws_bridge.transport.tls_server import TlsProtocol, TlsTurns
from ws_bridge.transport.turns import Turns

ACCEPTED_AT_ONCE = 1
"""
New connections in one round of the loop; asyncio takes as many as its ``backlog`` is.

More, and a thousand strangers at the door would keep the peers inside waiting.
"""


class Listening:
    """What is bound, one port or several; made by :func:`listen`."""

    def __init__(self, servers: list[Server], crowd: Crowd) -> None:
        self._servers = servers
        self._crowd = crowd

    @property
    def port(self) -> int:
        """The first port, also where port 0 was asked for."""
        return next((int(bound.getsockname()[1]) for server in self._servers
                     for bound in server.sockets), 0)

    def stop(self) -> None:
        """Free what is bound; connections that are open stay, all others are cut."""
        for server in self._servers:
            # The server closes in a task: who was accepted until then would be nobody's.
            for bound in server.sockets:
                server.get_loop().remove_reader(bound)
            server.close(close_connections=False)
        self._crowd.close()

    async def closed(self, timeout: float) -> None:
        """Wait, up to ``timeout`` s, until every connection and its task is gone."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(
                *(server.wait_closed() for server in self._servers)), timeout)


async def listen(settings: ConnectionSettings, options: ServerOptions,
                 handler: Callable[[ServerConnection], Awaitable[None]],
                 peers: Callable[[], int], turns: Turns) -> Listening:
    """
    Bind the port, and the further ones, and accept peers.

    :param handler: serves one connection; it is closed when the handler returns.
    :param peers: returns how many peers are connected.
    :param turns: in which they come.
    :raises ConnectFailed: if the address cannot be bound.
    """
    crowd = Crowd(options)
    tls_turns = TlsTurns(asyncio.get_running_loop())
    tls = options.tls or settings.tls
    arguments = link_arguments(settings, options)
    if options.handshake_timeout is not None:
        arguments['open_timeout'] = options.handshake_timeout

    def create_connection(*args: Any, **kwargs: Any) -> Any:
        connection = CountedConnection(*args, **kwargs)
        connection.crowd = crowd
        return connection if tls is None else TlsProtocol(
            connection, tls, tls_turns, arguments['open_timeout'], options.close_timeout)

    async def serve_one(connection: ServerConnection) -> None:
        if isinstance(connection, CountedConnection) and connection.ticket is not None:
            crowd.joined(connection.ticket)
            await handler(connection)

    handshake = Handshake(options, settings.token, peers, crowd, turns)
    bound = await _bind_all(settings.endpoint.host,
                            (settings.endpoint.port, *options.more_ports), crowd)
    servers: list[Server] = []
    try:
        for each in bound:
            servers.append(await serve(
                serve_one, sock=each,
                subprotocols=[Subprotocol(name) for name in options.subprotocols] or None,
                select_subprotocol=handshake.select_subprotocol if options.subprotocols else None,
                process_request=handshake.process_request, server_header=SERVER,
                create_connection=create_connection,  # type: ignore[arg-type]
                logger=_quiet_logger(), backlog=ACCEPTED_AT_ONCE, **arguments))
    except OSError as exc:      # another process has bound the port as well, and listens
        Listening(servers, crowd).stop()
        for each in bound:
            each.close()
        raise _cannot_listen(settings.endpoint.host, settings.endpoint.port, exc) from exc
    return Listening(servers, crowd)


async def _bind_all(host: str, ports: tuple[int, ...], crowd: Crowd) -> list[ListeningSocket]:
    """
    Bind every port; none stays bound where one cannot be.

    :raises ConnectFailed: naming it.
    """
    bound: list[ListeningSocket] = []
    for port in ports:
        try:
            bound += await bind(host, port, crowd)
        except (OSError, OverflowError) as exc:
            for each in bound:
                each.close()
            raise _cannot_listen(host, port, exc) from exc
    return bound


def _cannot_listen(host: str, port: int, exc: OSError | OverflowError) -> ConnectFailed:
    """Return what is wrong with an address, and what to do if another program has it."""
    is_taken = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
    return ConnectFailed(f'cannot listen on {join_host_port(host, port)}: {exc}'
                         + '; choose another port, or end the program that uses it' * is_taken)


def _quiet_logger() -> logging.Logger:
    """Return the logger of the library, without what it logs below: headers, payloads."""
    logger = logging.getLogger('websockets.ws_bridge')
    logger.setLevel(logging.WARNING)
    logger.addFilter(_is_news)
    return logger


def _is_news(record: logging.LogRecord) -> bool:
    """Keep out what any stranger can cause as often as he likes; it is counted instead."""
    return not str(record.msg).startswith('opening handshake failed')


def link_arguments(settings: ConnectionSettings, options: Any) -> dict[str, Any]:
    """Return the arguments of ``serve`` and ``connect`` that both sides share."""
    return {
        'compression': 'deflate' if settings.compression else None,
        'open_timeout': settings.timeout,
        'ping_interval': None,      # the links ping: one timer for all, not a task for each
        'close_timeout': options.close_timeout,
        'max_size': options.max_message_size or settings.max_message_size,
        'write_limit': settings.write_limit,
    }
