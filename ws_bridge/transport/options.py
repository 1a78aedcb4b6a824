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
"""What a program may ask of the transport beyond the seed's configuration; all values."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
import ssl
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class HttpReply:
    """The answer to a plain HTTP request on the WebSocket port."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b''


class PartSender(Protocol):
    """
    What sends an answer that goes on, part by part.

    :ivar on_end: called once, when the connection has ended.
    """

    on_end: Callable[[], None]

    def put(self, part: bytes) -> None:
        """Send a part; one that still waits gives way to it. Never waits."""

    def close(self) -> None:
        """End the answer; what was not taken yet is lost."""


@dataclass(frozen=True, slots=True)
class HttpStreaming:
    """
    An answer that goes on until one of both ends closes the connection.

    :param begin: called once, when what comes can be sent; not for HEAD.
    """

    headers: Mapping[str, str]
    begin: Callable[[PartSender], None]


@dataclass(frozen=True, slots=True)
class Visitor:
    """
    Who asks for a connection or a page; nothing of it is believed yet.

    :param address: where it comes from, without a port; what a trusted proxy says it is.
    :param path: with its query; it may be a secret.
    :param headers: names in lower case.
    :param certificate: what TLS has verified, as ``ssl`` gives it; empty or ``None`` = none.
    :param is_secure: whether TLS ends here.
    :param local_address: the address of this machine at which it arrived.
    """

    address: str
    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    certificate: Mapping[str, Any] | None = None
    is_secure: bool = False
    local_address: str = ''


class Carried(ABC):
    """Takes a connection over after its handshake, byte by byte: it is no peer of this server."""

    @abstractmethod
    async def carry(self, websocket: Any) -> None:
        """Carry the bytes of a connection until it is lost."""


#: ``None`` = 404.
HttpHook = Callable[[Visitor], Awaitable[HttpReply | HttpStreaming | None]]
#: Lets a WebSocket in: what it returns is kept as ``Link.admitted``, unless it is a refusal, or
#: :class:`Carried`, which then has the connection.
AdmitHook = Callable[[Visitor], Awaitable[Any]]
#: Told of each refusal, with one word for why, and the address.
RefusedHook = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """
    Options of every connection, whoever opened it; times in s.

    :param subprotocols: in order of preference; empty = none is negotiated.
    :param ping_interval: between WebSocket pings; 0 = none, as where the configuration's
        ``keep_alive`` is off.
    :param ping_timeout: without a pong, or without any progress in writing, after which a
        connection is dead.
    :param close_timeout: how long a closing handshake may take before the socket is cut.
    :param max_message_size: bytes of one incoming message; ``None`` = the configuration's.
    :param max_queue_bytes: how much may wait for a slow peer.
    :param max_queue_frames: how many frames may wait for a slow peer.
    """

    subprotocols: tuple[str, ...] = ()
    ping_interval: float = 5.0
    ping_timeout: float = 10.0
    close_timeout: float = 1.0
    max_message_size: int | None = None
    max_queue_bytes: int = 16 * 2**20
    max_queue_frames: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(LinkOptions):
    """
    Options of a listening interface.

    :param origins: which web pages may connect: ``None`` = those of the same host; a tuple of
        origins (``'http://ui.example:8000'``); ``('*',)`` or ``'*'`` = any. Programs that send no
        Origin header are not web pages.
    :param max_peers: connections at the same time.
    :param max_peers_per_address: the same of one address, handshakes too.
    :param max_handshakes: connections at the same time that are no peers yet.
    :param handshake_timeout: for TLS and for the opening handshake; ``None`` = the
        configuration's ``timeout``.
    :param hosts: names that ``Host`` may have; empty = names of this machine, asked of browsers,
        and of who asks for a page.
    :param paths_of_any_host: what ``http`` answers whatever stands in ``Host``.
    :param trusted_proxies: addresses and networks whose ``X-Forwarded-For`` is believed.
    :param more_ports: further ports of the same server: what is bound is counted and served
        together.
    :param tls: the context to serve with, in place of the configuration's.
    :param http: answers plain GET and HEAD requests; without it they get 426.
    :param admit: decides about each WebSocket, after everything else was found in order.
    :param refused: told of each refusal.
    """

    origins: tuple[str, ...] | str | None = None
    max_peers: int = 100
    max_peers_per_address: int = 100
    max_handshakes: int = 256
    handshake_timeout: float | None = None
    hosts: tuple[str, ...] = ()
    paths_of_any_host: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    more_ports: tuple[int, ...] = ()
    tls: ssl.SSLContext | None = None
    http: HttpHook | None = None
    admit: AdmitHook | None = None
    refused: RefusedHook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions(LinkOptions):
    """
    Options of a dialling interface.

    :param max_retry_delay: the longest pause between two attempts, s.
    """

    max_retry_delay: float = 30.0
