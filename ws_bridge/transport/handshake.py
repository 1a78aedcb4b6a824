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

import asyncio
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
import hmac
from http import HTTPStatus
import logging
import platform
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ws_bridge.addresses import is_address, is_loopback
from ws_bridge.config.forms import is_origin
from ws_bridge.transport.crowd import client_address, CountedConnection, Crowd, OF_PROXIES, refused
from ws_bridge.transport.endpoint import address_host
from ws_bridge.transport.link import plain_headers
from ws_bridge.transport.options import HttpReply, HttpStreaming, ServerOptions, Visitor
from ws_bridge.transport.streaming import HttpStream
from ws_bridge.transport.turns import Turns

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

ADMISSION = '/admission'
"""Where one that is no WebSocket asks whether it would be let in as one."""

AT_ONCE = 16_384
"""An answer of so many bytes is taken by any kernel, however slow the way is."""

SERVER = 'ws_bridge'
"""What answers are from."""

SAID_EACH = 60.0
"""Time between lines of the log about pages that were opened as files, s."""

logger = logging.getLogger(__name__)

_HOST = re.compile(r'(?P<name>\[[0-9A-Za-z:.%]+\]|[^][/?#@:,\s]+)(:[0-9]{1,5})?')
_TEXT = {'Content-Type': 'text/plain; charset=utf-8'}


class Handshake:
    """
    The checks of one server.

    :param token: the bearer token that every peer must present; ``None`` = none.
    :param peers: returns how many peers are connected.
    :param crowd: counts the connections.
    :param turns: in which they come.
    """

    def __init__(self, options: ServerOptions, token: str | None,
                 peers: Callable[[], int], crowd: Crowd, turns: Turns) -> None:
        self._options = options
        self._token = token
        self._peers = peers
        self._crowd = crowd
        self._turns = turns
        self._said = -SAID_EACH
        self._delivering: set[asyncio.Task[None]] = set()

    async def process_request(self, connection: ServerConnection,
                              request: Request) -> Response | None:
        """Answer what is refused, or no WebSocket at all; ``None`` lets the handshake go on."""
        await self._turns.come_or_go()
        try:
            return await self._answer(connection, request)
        except Exception:
            # Before websockets 17 it would be logged as what any stranger can cause: not at all.
            logger.exception('a request could not be answered')
            return _response(request, _refusal(HTTPStatus.INTERNAL_SERVER_ERROR,
                                               'internal error; the log of the bridge has more'))

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = plain_headers(request.headers)
        address = client_address(address_host(connection.remote_address), headers,
                                 self._options.trusted_proxies)
        if isinstance(connection, CountedConnection) and connection.ticket is not None:
            self._crowd.move(connection.ticket, address)
            connection.is_direct = not headers.keys() & OF_PROXIES
            connection.ticket.is_answered = True
        tls = connection.transport.get_extra_info('ssl_object')
        visitor = Visitor(address, request.path, headers,
                          tls.getpeercert() if tls else None, tls is not None,
                          address_host(connection.local_address))
        reply = await self._enter(connection, visitor) \
            if 'websocket' in headers.get('upgrade', '').lower() \
            else await self._plain(connection, request, visitor)
        if isinstance(reply, HttpStreaming):
            reply = self._stream(connection, request, visitor, reply)
        if reply is None:
            return None
        if isinstance(connection, CountedConnection) and connection.ticket is not None \
                and not self._crowd.has_room(connection.ticket, len(reply.body)):
            refused(self._options.refused, 'pages', address)
            reply = _refusal(HTTPStatus.SERVICE_UNAVAILABLE, 'too many pages wait to be taken',
                             {'Retry-After': '2'})
        response = _response(request, reply)
        if len(response.body or b'') > AT_ONCE and not connection.transport.is_closing():
            self._deliver(connection, response)
        return response

    def select_subprotocol(self, connection: ServerConnection,
                           offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """Return the server's favourite among those that the peer offers, if any."""
        common = _first_common(self._options.subprotocols, offered)
        return None if common is None else Subprotocol(common)

    def _stream(self, connection: ServerConnection, request: Request, visitor: Visitor,
                answer: HttpStreaming) -> HttpReply:
        """Let an answer that goes on have the socket; return what is said to a lost connection."""
        assert isinstance(connection, CountedConnection)
        reply = HttpReply(HTTPStatus.OK, answer.headers)
        if getattr(request, 'method', 'GET') == 'HEAD' or connection.transport.is_closing():
            return reply
        refusal = self._too_many(visitor)
        if refusal is not None:
            return refusal
        stream = HttpStream(self._options.ping_timeout)
        head = _response(request, reply)
        del head.headers['Content-Length']
        head.headers['Server'] = SERVER
        stream.begin(connection.hand_over(stream), head.serialize())
        answer.begin(stream)
        return reply

    def _deliver(self, connection: ServerConnection, response: Response) -> None:
        """
        Send an answer as slowly as it is taken.

        ``websockets`` would cut who has not taken all of it in the time of a handshake.
        """
        assert isinstance(connection, CountedConnection)
        stream = HttpStream(self._options.ping_timeout)
        response.headers['Server'] = SERVER
        body, response.body = bytes(response.body), b''
        stream.begin(connection.hand_over(stream), response.serialize())
        stream.put(body)
        task = connection.loop.create_task(stream.end())
        self._delivering.add(task)
        task.add_done_callback(self._delivering.discard)

    async def _plain(self, connection: ServerConnection, request: Request,
                     visitor: Visitor) -> HttpReply | HttpStreaming | None:
        # Before websockets 16 only GET came here, and the request had no method.
        if self._options.http is None or getattr(request, 'method', 'GET') not in ('GET', 'HEAD'):
            return None         # websockets itself says 426, or 405
        if visitor.path.partition('?')[0] not in self._options.paths_of_any_host:
            why = page_fault(visitor.headers.get('host', ''), self._options)
            if why is not None:
                return self._say(visitor, 'host', HTTPStatus.MISDIRECTED_REQUEST, why)
        if visitor.path.partition('?')[0] == ADMISSION:
            # a browser tells a page nothing of a handshake that was refused, but of this
            return await self._enter(connection, visitor) or HttpReply(
                HTTPStatus.OK, {**_TEXT, 'Cache-Control': 'no-store'}, b'ok\n')
        return await self._options.http(visitor) or _refusal(
            HTTPStatus.NOT_FOUND, 'there is nothing here')

    async def _enter(self, connection: ServerConnection, visitor: Visitor) -> HttpReply | None:
        """Let a WebSocket in, or say why not."""
        reply = self._refuse(visitor, address_host(connection.local_address))
        if reply is not None or self._options.admit is None:
            return reply
        admitted = await self._options.admit(visitor)
        if isinstance(admitted, HttpReply):
            return admitted
        connection.admitted = admitted  # type: ignore[attr-defined]
        return None

    def _refuse(self, visitor: Visitor, local_host: str) -> HttpReply | None:
        options, headers = self._options, visitor.headers
        if self._peers() >= options.max_peers:
            return self._say(visitor, 'max_peers', HTTPStatus.SERVICE_UNAVAILABLE,
                             f'{options.max_peers} peers are connected, no more may')
        refusal = self._too_many(visitor)
        if refusal is not None:
            return refusal
        why = origin_fault(headers, options.origins, local_host, options.hosts)
        if why is not None:
            self._log_file(headers.get('origin', ''), why)
            return self._say(visitor, 'origin', HTTPStatus.FORBIDDEN, why)
        # Programs send no Origin; what a browser is made to send through a foreign name has one.
        if options.hosts or ('origin' in headers and options.origins is None):
            why = host_fault(headers.get('host', ''), options.hosts)
            if why is not None:
                return self._say(visitor, 'host', HTTPStatus.MISDIRECTED_REQUEST, why)
        if self._token is not None and not _has_token(headers, self._token):
            refused(options.refused, 'token', visitor.address)
            return _refusal(HTTPStatus.UNAUTHORIZED, 'a bearer token is needed',
                            {'WWW-Authenticate': 'Bearer'})
        offered = [name.strip() for name in headers.get('sec-websocket-protocol', '').split(',')
                   if name.strip()]
        known = self._options.subprotocols
        # Programs go on without one, and some offer what their library has made up; a browser
        # does not. Another version of a known one is refused everybody.
        if offered and known and _first_common(known, offered) is None and (
                'origin' in headers or {_family(name) for name in known} &
                {_family(name) for name in offered}):
            return self._say(visitor, 'subprotocol', HTTPStatus.BAD_REQUEST,
                             f'unknown subprotocol; this server speaks {", ".join(known)}')
        return None

    def _too_many(self, visitor: Visitor) -> HttpReply | None:
        """Refuse one more connection of an address that has too many."""
        most = self._options.max_peers_per_address
        if self._crowd.of(visitor.address) <= most:
            return None
        return self._say(visitor, 'max_peers_per_address', HTTPStatus.TOO_MANY_REQUESTS,
                         f'{most} connections of this address are open, no more may')

    def _log_file(self, origin: str, why: str) -> None:
        """Say in the log what a page cannot show: a browser hides the answer from it."""
        now = time.monotonic()
        if is_of_a_file(origin) and now - self._said >= SAID_EACH:
            self._said = now
            logger.warning('%s', why)

    def _say(self, visitor: Visitor, why: str, status: HTTPStatus, text: str) -> HttpReply:
        refused(self._options.refused, why, visitor.address)
        return _refusal(status, text)


def host_fault(host: str, hosts: Sequence[str]) -> str | None:
    """
    Return why a request cannot be meant for this machine, or ``None`` if it can.

    A page of a foreign name that its owner lets point to this machine (DNS rebinding) gives that
    name; an address, or a name of this machine, is nobody else's.

    :param host: the ``Host`` header.
    :param hosts: the names that it may have; empty = those of this machine.
    """
    name = _name_of(host)
    if name is None:
        return 'there is no valid Host'
    if hosts:
        fine = name in [known.lower() for known in hosts]
    else:
        own = platform.node().lower()
        fine = is_loopback(name) or is_address(name) or name in (own, f'{own}.local')
    return None if fine else f"this is not host {name[:255]}; the parameter 'hosts' allows names"


def page_fault(host: str, options: ServerOptions) -> str | None:
    """
    Return why a page, or another plain answer, is not for who asks, or ``None`` if it is.

    Nobody can tell a program from a browser that was led here by a foreign name. So a name has to
    be one by which a page could connect afterwards: of this machine, in ``hosts``, or, where only
    ``origins`` are given, of one of these.
    """
    origins = options.origins or ()
    listed = (origins,) if isinstance(origins, str) else origins
    if not options.hosts and ('*' in listed or
                              _name_of(host) in [_host_of(each) or '' for each in listed]):
        return None
    return host_fault(host, options.hosts)


def origin_fault(headers: Mapping[str, str], origins: tuple[str, ...] | str | None,
                 local_host: str, hosts: Sequence[str] = ()) -> str | None:
    """
    Return why a web page may not connect, or ``None`` if it may.

    :param origins: see :class:`ServerOptions`.
    :param local_host: the address on which the connection arrived; that of a proxy on this machine
        is a loopback address.
    :param hosts: the names that ``Host`` may have, if they are given.
    """
    origin = headers.get('origin')
    if origin is None or origins == '*' or (origins is not None and '*' in origins):
        return None
    if not is_origin(origin):
        return f'origin {origin} may not connect: it is not scheme://host[:port]'
    if origins is not None:
        wanted = (origins,) if isinstance(origins, str) else origins
        if _canonical(origin) in map(_canonical, wanted):
            return None
        return f'origin {origin} may not connect{_instead_of_a_file(origin)}'
    own = _name_of(headers.get('host', ''))
    if own is None or not _is_same_host(_host_of(origin), own):
        return f'origin {origin} may not connect: it is not this host' + (
            _instead_of_a_file(origin) or '; allow it by name')
    # A foreign name that its owner lets point to this machine (DNS rebinding) is no "same host".
    if is_loopback(local_host) and not is_loopback(own) and \
            own not in [known.lower() for known in hosts]:
        return f'origin {origin} may not connect to a loopback address; allow it by name'
    return None


def page_of(headers: Mapping[str, str]) -> str | None:
    """
    Return the origin of the page that something is for, ``None`` where nothing tells of one.

    A browser that loads a picture sends no ``Origin``, but says where the page is.
    """
    origin = headers.get('origin')
    if origin is not None:
        return origin
    try:
        page = urlsplit(headers.get('referer', ''))
    except ValueError:
        return None
    return f'{page.scheme}://{page.netloc}' if page.netloc else None


def embedding_fault(headers: Mapping[str, str], options: ServerOptions,
                    local_host: str) -> str | None:
    """
    Return why a page may not show what is asked for, or ``None`` if it may, or is none.

    The pages that may connect may also show pictures.

    :param local_host: see :func:`origin_fault`.
    """
    page = page_of(headers)
    if page is not None:
        return origin_fault({**headers, 'origin': page}, options.origins, local_host,
                            options.hosts)
    if headers.get('sec-fetch-site') in ('cross-site', 'same-site') and \
            '*' not in (options.origins or ()):
        return 'a page of another host that hides which one it is may not show this'
    return None


def is_of_a_file(origin: str) -> bool:
    """Whether a page was opened as a file; or is in a sandboxed frame, which looks the same."""
    return origin.lower() == 'null' or origin.lower().startswith('file:')


def _instead_of_a_file(origin: str) -> str:
    return ('. Was the page opened as a file? Then have the bridge serve it: the parameter pages '
            'names its folder, and /pages/ is its address') if is_of_a_file(origin) else ''


def _is_same_host(one: str | None, other: str) -> bool:
    """Whether two names are of one host; localhost, 127.0.0.1 and ::1 are."""
    return one is not None and (one == other or (is_loopback(one) and is_loopback(other)))


def _canonical(origin: str) -> str:
    """Return what is equal for origins that are: in lower case, one name for this machine."""
    origin = origin.lower()
    host = _host_of(origin)
    if host is None or not is_loopback(host):
        return origin.rstrip('/')
    scheme, _, rest = origin.rstrip('/').partition('://')
    port = rest.rpartition(']')[2].rpartition(':')[2] if ':' in rest.rpartition(']')[2] else ''
    return f'{scheme}://localhost:{port}'


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _name_of(host: str) -> str | None:
    """Return the name in a ``Host`` header, in lower case, without the port; it has no user."""
    match = _HOST.fullmatch(host)
    return None if match is None else match['name'].strip('[]').lower()


def _has_token(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, given = headers.get('authorization', '').partition(' ')
    return scheme.lower() == 'bearer' and hmac.compare_digest(
        given.strip().encode(errors='surrogateescape'), token.encode())


def _first_common(known: Sequence[str], offered: Sequence[str]) -> str | None:
    return next((name for name in known if name in offered), None)


def _family(subprotocol: str) -> str:
    """Return what a subprotocol is called without its version."""
    return subprotocol.partition('.')[0]


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
