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
"""Who may connect: the checks of a server's opening handshake, and its plain HTTP answers."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
import hmac
from http import HTTPStatus
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ws_bridge.transport.link import plain_headers
from ws_bridge.transport.options import HttpReply, ServerOptions

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

_TEXT = {'Content-Type': 'text/plain; charset=utf-8'}


class Handshake:
    """
    The checks of one server.

    :param token: the bearer token that every peer must present; ``None`` = none.
    :param peers: returns how many peers are connected.
    """

    def __init__(self, options: ServerOptions, token: str | None,
                 peers: Callable[[], int]) -> None:
        self._options = options
        self._token = token
        self._peers = peers

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is refused, or no WebSocket at all; ``None`` lets the handshake go on."""
        headers = plain_headers(request.headers)
        reply = self._refuse(headers, address_host(connection.local_address)) \
            if 'websocket' in headers.get('upgrade', '').lower() \
            else self._plain(request, headers)
        return None if reply is None else _response(request, reply)

    def select_subprotocol(self, connection: ServerConnection,
                           offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """Return the server's favourite among those that the peer offers, if any."""
        common = _first_common(self._options.subprotocols, offered)
        return None if common is None else Subprotocol(common)

    def _plain(self, request: Request, headers: Mapping[str, str]) -> HttpReply | None:
        # Before websockets 16 only GET came here, and the request had no method.
        if self._options.http is None or getattr(request, 'method', 'GET') not in ('GET', 'HEAD'):
            return None         # websockets itself says 426, or 405
        return self._options.http(request.path, headers) or _refusal(
            HTTPStatus.NOT_FOUND, 'there is nothing here')

    def _refuse(self, headers: Mapping[str, str], local_host: str) -> HttpReply | None:
        if self._peers() >= self._options.max_peers:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE,
                            f'{self._options.max_peers} peers are connected, no more may')
        why = origin_fault(headers, self._options.origins, local_host)
        if why is not None:
            return _refusal(HTTPStatus.FORBIDDEN, why)
        if self._token is not None and not _has_token(headers, self._token):
            return _refusal(HTTPStatus.UNAUTHORIZED, 'a bearer token is needed',
                            {'WWW-Authenticate': 'Bearer'})
        offered = [name.strip() for name in headers.get('sec-websocket-protocol', '').split(',')
                   if name.strip()]
        known = self._options.subprotocols
        if offered and known and _first_common(known, offered) is None:
            return _refusal(HTTPStatus.BAD_REQUEST,
                            f'unknown subprotocol; this server speaks {", ".join(known)}')
        return None


def origin_fault(headers: Mapping[str, str], origins: tuple[str, ...] | str | None,
                 local_host: str) -> str | None:
    """
    Return why a web page may not connect, or ``None`` if it may.

    :param origins: see :class:`ServerOptions`.
    :param local_host: the address on which the connection arrived.
    """
    origin = headers.get('origin')
    if origin is None or origins == '*' or (origins is not None and '*' in origins):
        return None
    if origins is not None:
        wanted = (origins,) if isinstance(origins, str) else origins
        if origin.lower() in [item.lower().rstrip('/') for item in wanted]:
            return None
        return f'origin {origin} may not connect'
    own = _host_of(f'//{headers.get("host", "")}')
    if own is None or _host_of(origin) != own:
        return f'origin {origin} may not connect: it is not this host; allow it by name'
    # A foreign name that its owner lets point to this machine (DNS rebinding) is no "same host".
    if is_loopback(local_host) and not is_loopback(own):
        return f'origin {origin} may not connect to a loopback address; allow it by name'
    return None


def address_host(address: object) -> str:
    """Return the host of a socket address."""
    return str(address[0]) if isinstance(address, tuple) and address else ''


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    if host == 'localhost' or host.endswith('.localhost'):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _has_token(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, given = headers.get('authorization', '').partition(' ')
    return scheme.lower() == 'bearer' and hmac.compare_digest(
        given.strip().encode(errors='surrogateescape'), token.encode())


def _first_common(known: Sequence[str], offered: Sequence[str]) -> str | None:
    return next((name for name in known if name in offered), None)


def _refusal(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> HttpReply:
    return HttpReply(status, {**_TEXT, **(headers or {})}, f'{text}\n'.encode())


def _response(request: Request, reply: HttpReply) -> Response:
    headers = Headers(reply.headers)
    headers['Date'] = formatdate(usegmt=True)
    headers['Connection'] = 'close'
    if reply.status != HTTPStatus.NOT_MODIFIED:     # there it would speak of the file
        headers['Content-Length'] = str(len(reply.body))
    body = b'' if getattr(request, 'method', 'GET') == 'HEAD' else reply.body
    return Response(reply.status, HTTPStatus(reply.status).phrase, headers, body)
