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
"""
Check an ``InterfaceConfig`` and make of it what the transport works with.

Every field is honoured, or rejected with a ``ConfigError`` that names it:

====================== ==========================================================================
field                  effect
====================== ==========================================================================
name                   ``source`` of outgoing messages, logger name
interface_type         any of them: programs of the seed leave ``tcp`` there
description            shown in ``repr`` and in the log at the start
endpoint               where to listen or dial
timeout                s: opening handshake, back-pressure of one send, acknowledgment
retry_attempts         attempts to connect, and again after each loss; 0 = for ever
retry_delay            s before the second attempt; doubles each time, with jitter
keep_alive             WebSocket pings
send_buffer_size       bytes in the socket's buffer above which a peer counts as busy
receive_buffer_size    bytes of received messages that wait for ``receive()`` and for handlers
max_message_size       bytes of one message, both ways
security_level         none, basic (token), encrypted (TLS), authenticated (both), mutual_tls
                       (certificates of both sides, a token if one is set)
ssl_cert_path          certificate (chain), PEM: a server's; with mutual_tls a client's too
ssl_key_path           its private key, PEM
auth_token             ``Authorization: Bearer``: sent by a client, demanded by a server
serialization          must be ``json``
compression            permessage-deflate: a bool, ``'deflate'``, or ``None`` for none
encoding               must be ``utf-8``
message_ordering       off: the higher priority leaves first when a peer is slow
duplicate_detection    drop received messages whose ``message_id`` came before
delivery_confirmation  acknowledge what is received; ``send`` waits for the acknowledgment
enable_metrics         off: ``get_statistics`` counts nothing
enable_logging         off: nothing is logged
log_level              the least level that is logged
custom_settings        ``mode`` (server, client) or ``is_server`` (bool) of a plain interface;
                       ``heartbeat_interval`` (30 s; 0 = none), ``heartbeat_timeout``
                       (3 intervals); ``ssl_ca_path`` (PEM of who may sign the other side's
                       certificate); every other key is the program's own, unless it is nearly
                       one of these: then it is misspelt
====================== ==========================================================================
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
import logging
import math
import ssl
from typing import Any, TYPE_CHECKING

from ws_bridge.errors import ConfigError
from ws_bridge.protocol.types import InterfaceConfig, InterfaceType, SecurityLevel
from ws_bridge.transport.endpoint import Endpoint, parse_endpoint
from ws_bridge.transport.tls import client_context, server_context

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter        # not generic before Python 3.11

#: level -> (TLS, token): True = needed, False = must not be, None = may be.
_NEEDS = {
    SecurityLevel.NONE: (False, False),
    SecurityLevel.BASIC: (False, True),
    SecurityLevel.ENCRYPTED: (True, False),
    SecurityLevel.AUTHENTICATED: (True, True),
    SecurityLevel.MUTUAL_TLS: (True, None),
}
_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
_HEARTBEAT_INTERVAL = 30.0
_CUSTOM = 'mode', 'is_server', 'heartbeat_interval', 'heartbeat_timeout', 'ssl_ca_path'
_MISSPELT = 0.9     # a name so much like another one, 0 to 1, was meant to be that
_MODES = ('client', 'server')
_DAY = 86400.0
_GIBI = 2**30


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """A checked configuration. Durations in s, sizes in bytes."""

    name: str
    is_server: bool
    endpoint: Endpoint
    secure: bool
    tls: ssl.SSLContext | None
    token: str | None
    timeout: float
    retry_attempts: int
    retry_delay: float
    keep_alive: bool
    write_limit: int
    inbox_bytes: int
    max_message_size: int
    compression: bool
    ordered: bool
    drop_duplicates: bool
    confirm_delivery: bool
    count: bool
    heartbeat_interval: float
    heartbeat_timeout: float
    log: _Adapter

    def __repr__(self) -> str:
        mode = 'server' if self.is_server else 'client'
        return f'<ConnectionSettings {self.name!r} {mode} {self.endpoint}>'


class _Log(_Adapter):
    """A logger with a level of its own, so that no other interface's is changed."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        super().__init__(logger, {})
        self._level = level

    def isEnabledFor(self, level: int) -> bool:
        return level >= self._level and super().isEnabledFor(level)


def merged(config: InterfaceConfig,
           given: InterfaceConfig | Mapping[str, Any] | None) -> InterfaceConfig:
    """
    Return the configuration that ``connect`` was given.

    :param config: the one so far.
    :param given: another one, or a dictionary as programs of the seed have it: ``server_mode``,
        which becomes the custom setting ``mode``, and fields that replace those of ``config``.
    :raises ConfigError: if it is something else, or has a key that is no field.
    """
    if given is None or isinstance(given, InterfaceConfig):
        return given or config
    if not isinstance(given, Mapping):
        raise ConfigError(f'expected an InterfaceConfig or a dictionary, not {given!r}',
                          field='config')
    changes = dict(given)
    is_server = changes.pop('server_mode', None)
    known = [field.name for field in fields(InterfaceConfig)]
    for key in changes:
        if key not in known:
            raise ConfigError(f'unknown; expected server_mode, {", ".join(known)}',
                              field=str(key))
    config = replace(config, **changes)
    if is_server is None:
        return config
    mode = 'server' if _flag('server_mode', is_server) else 'client'
    kept = {key: value for key, value in config.custom_settings.items() if key != 'is_server'}
    return replace(config, custom_settings={**kept, 'mode': mode})


def is_server_mode(config: InterfaceConfig) -> bool:
    """Return which mode a plain interface has: ``mode`` or ``is_server``; a client if neither."""
    mode = config.get_setting('mode')
    if mode is None:
        return _flag('custom_settings.is_server', config.get_setting('is_server', False))
    if mode not in _MODES:
        raise ConfigError(f'expected client or server, not {mode!r}',
                          field='custom_settings.mode')
    if config.get_setting('is_server', mode == 'server') is not (mode == 'server'):
        raise ConfigError(f'contradicts mode {mode!r}', field='custom_settings.is_server')
    return bool(mode == 'server')


def check_config(config: InterfaceConfig, *, is_server: bool) -> ConnectionSettings:
    """
    Check a configuration.

    :raises ConfigError: that names the first field which is wrong.
    """
    _one_of('interface_type', config.interface_type, tuple(InterfaceType))
    _one_of('serialization', config.serialization, ('json',))
    _one_of('encoding', str(config.encoding).lower().replace('_', '-'), ('utf-8', 'utf8'))
    if not isinstance(config.name, str) or not config.name:
        raise ConfigError('expected a name', field='name')
    if not isinstance(config.description, str):
        raise ConfigError('expected text', field='description')
    endpoint = parse_endpoint(config.endpoint)
    if not is_server and endpoint.port == 0:
        raise ConfigError(f'{config.endpoint!r}: a client needs a port', field='endpoint')
    secure = _check_security(config, endpoint, is_server=is_server)
    for key in config.custom_settings:
        close = get_close_matches(str(key), _CUSTOM, n=1, cutoff=_MISSPELT)
        if close and key not in _CUSTOM:
            raise ConfigError(f'is not read; did you mean {close[0]!r}?',
                              field=f'custom_settings.{key}')
    interval = _number('custom_settings.heartbeat_interval',
                       config.get_setting('heartbeat_interval', _HEARTBEAT_INTERVAL), 0, _DAY)
    return ConnectionSettings(
        name=config.name, is_server=is_server, endpoint=endpoint, secure=secure,
        tls=_context(config, is_server=is_server) if secure else None, token=config.auth_token,
        timeout=_number('timeout', config.timeout, 0.001, _DAY),
        retry_attempts=_integer('retry_attempts', config.retry_attempts, 0, _GIBI),
        retry_delay=_number('retry_delay', config.retry_delay, 0.001, _DAY),
        keep_alive=_flag('keep_alive', config.keep_alive),
        write_limit=_integer('send_buffer_size', config.send_buffer_size, 1, _GIBI),
        inbox_bytes=_integer('receive_buffer_size', config.receive_buffer_size, 1, _GIBI),
        max_message_size=_integer('max_message_size', config.max_message_size, 1, _GIBI),
        compression=_is_compressed(config.compression),
        ordered=_flag('message_ordering', config.message_ordering),
        drop_duplicates=_flag('duplicate_detection', config.duplicate_detection),
        confirm_delivery=_flag('delivery_confirmation', config.delivery_confirmation),
        count=_flag('enable_metrics', config.enable_metrics),
        heartbeat_interval=interval,
        heartbeat_timeout=_number('custom_settings.heartbeat_timeout',
                                  config.get_setting('heartbeat_timeout', 3 * interval),
                                  interval, 3 * _DAY),
        log=_log(config))


def _is_compressed(value: Any) -> bool:
    """Return whether to compress; the seed names an algorithm, of which RFC 7692 has one."""
    if value is None or value == 'deflate':
        return value is not None
    if not isinstance(value, bool):
        raise ConfigError(f"expected True, False, 'deflate' or None, not {value!r}",
                          field='compression')
    return value


def _check_security(config: InterfaceConfig, endpoint: Endpoint, *, is_server: bool) -> bool:
    """Return whether to use TLS, after seeing that level, scheme, paths and token agree."""
    level = _one_of('security_level', config.security_level, tuple(SecurityLevel))
    needs_tls, needs_token = _NEEDS[SecurityLevel(level)]
    token = config.auth_token
    if token is not None and (not isinstance(token, str) or not token.isascii()
                              or not token.isprintable() or ' ' in token or not token):
        raise ConfigError('expected printable ASCII without blanks', field='auth_token')
    if needs_token is not None and needs_token is not (token is not None):
        raise ConfigError(f'security_level {level.value!r} '
                          f'{"needs a token" if needs_token else "has no token"}',
                          field='auth_token')
    if needs_tls and endpoint.secure is False:
        raise ConfigError(f'security_level {level.value!r} needs wss://', field='endpoint')
    if not needs_tls and is_server and endpoint.secure:
        raise ConfigError('wss:// on a server needs security_level encrypted, authenticated or '
                          'mutual_tls', field='security_level')
    _check_paths(config, level, is_server=is_server)
    return needs_tls or endpoint.secure is True


def _check_paths(config: InterfaceConfig, level: SecurityLevel, *, is_server: bool) -> None:
    mutual = level is SecurityLevel.MUTUAL_TLS
    wanted = mutual or (is_server and bool(_NEEDS[level][0]))
    for field, value in (('ssl_cert_path', config.ssl_cert_path),
                         ('ssl_key_path', config.ssl_key_path)):
        if wanted and not value:
            raise ConfigError(f'security_level {level.value!r} needs it', field=field)
        if value and not wanted:
            raise ConfigError(f'a {"server" if is_server else "client"} with security_level '
                              f'{level.value!r} has no use for it', field=field)
    if mutual and is_server and not config.get_setting('ssl_ca_path'):
        raise ConfigError("security_level 'mutual_tls' needs it",
                          field='custom_settings.ssl_ca_path')


def _context(config: InterfaceConfig, *, is_server: bool) -> ssl.SSLContext:
    ca_path = config.get_setting('ssl_ca_path')
    if is_server:
        if config.security_level != SecurityLevel.MUTUAL_TLS:
            ca_path = None
        return server_context(config.ssl_cert_path or '', config.ssl_key_path or '', ca_path)
    return client_context(ca_path, config.ssl_cert_path, config.ssl_key_path)


def _log(config: InterfaceConfig) -> _Adapter:
    name = str(config.log_level).upper()
    _one_of('log_level', name, _LEVELS)
    level = getattr(logging, name)
    if not _flag('enable_logging', config.enable_logging):
        level = logging.CRITICAL + 1
    return _Log(logging.getLogger(f'{__package__}.{config.name}'), level)


def _one_of(field: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    for item in allowed:
        if value == item:
            return item
    names = ', '.join(str(getattr(item, 'value', item)) for item in allowed)
    raise ConfigError(f'expected {names}, not {value!r}', field=field)


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f'expected True or False, not {value!r}', field=field)
    return value


def _number(field: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) \
            or not math.isfinite(value) or not least <= value <= most:
        raise ConfigError(f'expected a number from {least:g} to {most:g}, not {value!r}',
                          field=field)
    return float(value)


def _integer(field: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f'expected a whole number from {least} to {most}, not {value!r}',
                          field=field)
    return value
