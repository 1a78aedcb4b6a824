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
"""Where to listen or dial: ``ws://host:port/path``, ``wss://``, ``host:port``, ``host``."""
from __future__ import annotations

from dataclasses import dataclass
import re
from urllib.parse import SplitResult, urlsplit

from ws_bridge.addresses import parse, plain
from ws_bridge.errors import ConfigError
from ws_bridge.identity.tickets import without_ticket

#: The seed's port where an endpoint without scheme names none.
DEFAULT_PORT = 8080
_SCHEME_PORTS = {'ws': 80, 'wss': 443}
_HOST = re.compile(r'[A-Za-z0-9_.:%-]+')


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    A parsed endpoint.

    :param secure: ``wss``; ``None`` if the endpoint names no scheme.
    """

    host: str
    port: int
    path: str = '/'
    secure: bool | None = None

    def url(self, *, secure: bool) -> str:
        """Return the URL to dial."""
        scheme = 'wss' if secure else 'ws'
        return f'{scheme}://{join_host_port(self.host, self.port)}{self.path}'


def join_host_port(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def address_host(address: object) -> str:
    """Return the host of a socket address; an IPv4 one as such, also where IPv6 carries it."""
    host = str(address[0]) if isinstance(address, tuple) and address else ''
    parsed = parse(host)
    return host if parsed is None or plain(parsed) is parsed else str(plain(parsed))


def parse_endpoint(text: str) -> Endpoint:
    """
    Parse an endpoint.

    :raises ConfigError: if it is none of the forms above.
    """
    if not isinstance(text, str) or not text or not text.isascii() or text != text.strip():
        raise _bad(text, 'expected ws://host:port/path, wss://..., host:port or host')
    scheme = text.split('://', 1)[0].lower() if '://' in text else ''
    if scheme and scheme not in _SCHEME_PORTS:
        raise _bad(text, f'unknown scheme {scheme!r}, expected ws or wss')
    try:
        parts = urlsplit(text if scheme else f'//{text}')
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise _bad(text, str(exc)) from exc
    if not host or not _HOST.fullmatch(host) or parts.username is not None or parts.fragment:
        raise _bad(text, 'expected a host name or address, and neither user nor fragment')
    if (':' in host) is not ('[' in parts.netloc) or (':' in host and parse(host) is None):
        raise _bad(text, 'write an IPv6 address, and only that, in brackets')
    if parts.netloc.endswith(':'):
        raise _bad(text, 'expected a port after the colon')
    if port is None:
        port = _SCHEME_PORTS.get(scheme, DEFAULT_PORT)
    return Endpoint(host, port, _path(parts), scheme == 'wss' if scheme else None)


def _path(parts: SplitResult) -> str:
    path = parts.path or '/'
    return f'{path}?{parts.query}' if parts.query else path


def _bad(text: object, why: str) -> ConfigError:
    shown = without_ticket(text) if isinstance(text, str) else text
    return ConfigError(f'{shown!r}: {why}', field='endpoint')
