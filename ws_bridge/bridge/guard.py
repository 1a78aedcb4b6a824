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
"""What the start of the node checks and makes, from the parameters."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
import logging
import ssl
from typing import TYPE_CHECKING

from ws_bridge.addresses import is_loopback
from ws_bridge.bridge.watch import Watch
from ws_bridge.config import Settings
from ws_bridge.errors import BadName, ConfigError, UnknownType
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.files import check_file, read_file
from ws_bridge.identity.tokens import MAX_LENGTH
from ws_bridge.transport.tls import reload_certificate, server_context

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

logger = logging.getLogger(__name__)


def check_names(settings: Settings, ros: RosSide) -> None:
    """
    Look at the names and types of parameters with what the node and this machine know of them.

    :raises ConfigError: a type is not installed, a name is not allowed, or it goes in circles.
    """
    for msg_type in settings.gated_types:
        try:
            ros.types.message(msg_type)
        except UnknownType as exc:
            raise ConfigError(f'{exc}: its topics would have no gate', field='gated_types') \
                from exc
    pushed = {_resolved(ros, 'push', name) for name in settings.push}
    for name in settings.pull:
        if _resolved(ros, 'pull', name) in pushed:
            raise ConfigError(f'{name} is in push too: it would go in circles', field='pull')
    if settings.estop_service:
        service = _resolved(ros, 'estop_service', settings.estop_service, service=True)
        if service in ros.own.services:
            raise ConfigError(f"{service} is the bridge's own: it would go in circles",
                              field='estop_service')


def _resolved(ros: RosSide, field: str, name: str, *, service: bool = False) -> str:
    try:
        return ros.resolve(name, service=service)
    except BadName as exc:
        raise ConfigError(exc.message, field=field) from exc


def tell_gates(gates: Mapping[str, Sequence[str]], gated_types: Sequence[str]) -> None:
    """
    Log in one line which topics are guarded when the bridge starts.

    :param gates: the topics of each gate that there is.
    """
    named = ', '.join(name if list(topics) == [name] else f'{name} ({" ".join(topics) or "-"})'
                      for name, topics in gates.items())
    if gated_types:
        logger.info('gates: %s; every topic of %s gets one', named or 'none yet',
                    ', '.join(gated_types))
    elif named:
        logger.info('gates: %s; gated_types is empty: no other topic gets one', named)
    else:
        logger.warning('gates: none; gated_types is empty: nothing stops the robot when its '
                       'operator is gone')


def check_reach(settings: Settings, authority: Authority) -> None:
    """
    Refuse to let other machines in unless they have to log in, or are let in on purpose.

    :raises ConfigError: the address is not of this machine only, and nobody has to log in.
    """
    if is_loopback(settings.address.strip('[]')):
        return
    if settings.allow_anonymous:
        logger.warning(
            'allow_anonymous: whoever reaches %s:%d can use everything that the mapping file and '
            'the role of anonymous peers allow, and can move the robot where that allows it',
            settings.address, settings.port)
    elif not authority:
        raise ConfigError(
            f'{settings.address} can be reached from other machines, and nobody has to log in: '
            'set token_file, jwt_key_file or tls_client_ca (config/secure.yaml shows how), or '
            'allow_anonymous: true where the network is trusted', field='address')
    if authority.takes_tokens and not settings.tls_certificate and not settings.trusted_proxies:
        logger.warning('tokens travel over %s:%d without TLS: who listens has them',
                       settings.address, settings.port)


def server_tls(settings: Settings, authority: Authority) -> ssl.SSLContext | None:
    """
    Return the context to serve with, ``None`` without a certificate.

    Peers need a certificate of their own where there is no other way to log in.

    :raises ConfigError: a file cannot be read or is not what it should be.
    """
    if not settings.tls_certificate:
        return None
    _check_tls_files(settings)
    if settings.tls_client_ca:
        check_file(settings.tls_client_ca, 'tls_client_ca', is_secret=False)
    return server_context(
        settings.tls_certificate, _key_of(settings), settings.tls_client_ca or None,
        is_optional=authority.takes_tokens or settings.allow_anonymous)


def read_token(path: str, field: str) -> str:
    """
    Return the one token of a file.

    :param field: names the parameter in errors.
    :raises ConfigError: it cannot be read, or holds something else.
    """
    content = read_file(path, field, MAX_LENGTH + 2).strip()
    try:
        token = content.decode('ascii')
    except ValueError as exc:
        raise ConfigError(f'{path} cannot be read: it is not ASCII', field=field) from exc
    if not token or not token.isprintable() or ' ' in token:
        raise ConfigError(f'{path} holds no token', field=field)
    return token


def watch_files(settings: Settings, authority: Authority, tls: ssl.SSLContext | None,
                loop: asyncio.AbstractEventLoop,
                *more: tuple[tuple[str, ...], Callable[[], None]]) -> Watch:
    """Return what reads certificate, tokens and keys, and more, again when they change."""
    readers: list[tuple[tuple[str, ...], Callable[[], None]]] = list(more)
    if authority.files:
        readers.append((authority.files, authority.read))
    if authority.key_files:
        readers.append((authority.key_files, authority.read_keys_again))
    if tls is not None:
        context, paths = tls, (settings.tls_certificate, _key_of(settings))

        def reload() -> None:
            _check_tls_files(settings)
            reload_certificate(context, *paths)
        readers.append((paths, reload))
    return Watch(readers, loop)


def _check_tls_files(settings: Settings) -> None:
    """Refuse files that others could have changed, and a key that they know."""
    check_file(settings.tls_certificate, 'tls_certificate', is_secret=not settings.tls_key)
    if settings.tls_key:
        check_file(settings.tls_key, 'tls_key', is_secret=True)


def _key_of(settings: Settings) -> str:
    return settings.tls_key or settings.tls_certificate
