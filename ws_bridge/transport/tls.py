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
"""TLS of both sides: contexts from PEM files, and a transport that knows of its socket."""
from __future__ import annotations

import asyncio
from asyncio.sslproto import _SSLProtocolTransport
import ssl

from ws_bridge.errors import ConfigError


class TlsTransport(_SSLProtocolTransport):
    """
    A connection of TLS that is closing as soon as its socket is.

    asyncio's own learns that rounds of the loop later. Who asks it before each write goes on
    writing meanwhile: all of a large frame, to nobody. Once the socket is gone, that of Python
    3.10 fails where it is asked what waits, or told to read, and others count what was lost.
    """

    def __del__(self) -> None:
        if self._below is not None:     # Python 3.10 would warn of one that the other end closed
            super().__del__()

    @property
    def _below(self) -> asyncio.BaseTransport | None:
        """What writes to the socket; ``None`` once it is gone."""
        protocol = self._ssl_protocol
        return None if protocol is None else protocol._transport

    def is_closing(self) -> bool:
        """Whether nothing that is written arrives."""
        below = self._below
        return self._closed or below is None or below.is_closing()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        return 0 if self._below is None else super().get_write_buffer_size()

    def pause_reading(self) -> None:
        """Read no more, if anything can still be read."""
        if self._below is not None:
            super().pause_reading()

    def resume_reading(self) -> None:
        """Read again, if anything can still be read."""
        if self._below is not None:
            super().resume_reading()


def heed_socket(transport: asyncio.BaseTransport) -> None:
    """Have a transport of asyncio's TLS be closing as soon as its socket is; leave any other."""
    if type(transport) is _SSLProtocolTransport:
        transport.__class__ = TlsTransport


def server_context(cert_path: str, key_path: str, ca_path: str | None, *,
                   is_optional: bool = False) -> ssl.SSLContext:
    """
    Return a server's context: TLS 1.2 or newer.

    :param ca_path: who must have signed the clients' certificates; ``None`` = clients have none.
    :param is_optional: a client may also have none.
    :raises ConfigError: if a file cannot be read or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A handshake is the dearest thing that a stranger can ask for: one a connection. OpenSSL 3
    # refuses more by itself, older ones do not.
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_own(context, cert_path, key_path)
    if ca_path is not None:
        context.verify_mode = ssl.CERT_OPTIONAL if is_optional else ssl.CERT_REQUIRED
        _load_ca(context, ca_path)
    return context


def reload_certificate(context: ssl.SSLContext, cert_path: str, key_path: str) -> None:
    """
    Serve new connections with what the files hold now; those that are open stay.

    :raises ConfigError: if they are no certificate and key; nothing has changed then.
    """
    _load_own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert_path, key_path)
    _load_own(context, cert_path, key_path)


def client_context(ca_path: str | None, cert_path: str | None,
                   key_path: str | None) -> ssl.SSLContext:
    """
    Return a client's context, which verifies the server's name and certificate.

    :param ca_path: who must have signed it; ``None`` = whom the system trusts.
    :param cert_path: this client's own certificate, if it has one.
    :raises ConfigError: if a file cannot be read or is not what it should be.
    """
    context = ssl.create_default_context()
    if ca_path is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_ca(context, ca_path)
    if cert_path and key_path:
        _load_own(context, cert_path, key_path)
    return context


def _load_own(context: ssl.SSLContext, cert_path: str, key_path: str) -> None:
    for field, path in (('ssl_cert_path', cert_path), ('ssl_key_path', key_path)):
        _check_readable(field, path)
    try:
        # A password must not be asked for on the terminal.
        context.load_cert_chain(cert_path, key_path, password=lambda: '')
    except (ssl.SSLError, OSError, ValueError) as exc:
        raise ConfigError(f'{cert_path} and {key_path} are not a certificate and its '
                          f'unencrypted key: {exc}', field='ssl_cert_path') from exc


def _load_ca(context: ssl.SSLContext, ca_path: str) -> None:
    _check_readable('custom_settings.ssl_ca_path', ca_path)
    try:
        context.load_verify_locations(ca_path)
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f'{ca_path} holds no certificates: {exc}',
                          field='custom_settings.ssl_ca_path') from exc


def _check_readable(field: str, path: str) -> None:
    try:
        with open(path, 'rb'):
            pass
    except (OSError, TypeError) as exc:
        raise ConfigError(f'cannot read {path!r}: {exc}', field=field) from exc
