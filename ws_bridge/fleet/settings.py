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
The parameters of a relay: many of those of a bridge, with the same meaning, and some of its own.

They come from a file of YAML and from the command line, not from ROS.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from ws_bridge.config import forms, Settings, settings_from
from ws_bridge.config.parameters import did_you_mean, PARAMETERS, ParameterSpec
from ws_bridge.errors import ConfigError
from ws_bridge.identity.files import read_file

MAX_FILE_SIZE = 1 << 20
ASSIGNED = ':='

SHARED = (
    'address', 'port', 'origins', 'hosts', 'trusted_proxies', 'tls_certificate', 'tls_key',
    'tls_client_ca', 'token_file', 'jwt_key_file', 'jwt_algorithm', 'jwt_audience', 'jwt_issuer',
    'jwt_leeway', 'allow_anonymous', 'anonymous_role', 'metrics', 'handshake_timeout',
    'max_login_failures', 'max_peers', 'max_peers_per_address', 'max_handshakes',
    'max_queue_bytes', 'ping_interval', 'ping_timeout', 'audit_file', 'audit_size')
"""Parameters of a bridge that a relay has as well."""


def _engine(text: str) -> str:
    """Check the address of a node of NATS."""
    try:
        parts = urlsplit(text.strip())
        fine = parts.scheme in ('nats', 'tls') and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.username is not None:
        raise forms.BadForm('no address of NATS: nats://host:port or tls://host:port, without a '
                            'user')
    return text.strip()


def _relay(text: str) -> str:
    """Check where browsers find a relay; it becomes a part of a header."""
    origin = text.strip().rstrip('/')
    if not origin.startswith(('http://', 'https://')) or not forms.is_origin(origin):
        raise forms.BadForm('no address of a relay for browsers: https://host or '
                            'https://host:port, in lower case')
    return origin


OWN = (
    ParameterSpec('engine', (), 'Nodes of NATS that join several relays into one, for example '
                  'nats://a:4222; empty = this relay is alone.', form=_engine),
    ParameterSpec('engine_user_file', '', 'File with user and password for NATS, in one line; '
                  'empty = NATS needs none.', form=forms.path),
    ParameterSpec('engine_ca', '', 'PEM file of the authority that signs the certificates of the '
                  'nodes; empty = the authorities that this machine trusts.', form=forms.path),
    ParameterSpec('access_file', '', 'File that says which operators may reach which robots, a '
                  'line each: name, robots; empty = every operator that has logged in may reach '
                  'all.', form=forms.path),
    ParameterSpec('relays', (), 'Addresses of all relays for browsers, for example '
                  'https://relay-1.example; a page goes on at another relay if its own relay is '
                  'gone.', form=_relay),
)
"""Parameters that only a relay has."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """
    The checked parameters of a relay.

    :param shared: those that a bridge has too; others of it have their defaults and no effect.
    """

    shared: Settings
    engine: tuple[str, ...]
    engine_user_file: str
    engine_ca: str
    access_file: str
    relays: tuple[str, ...]


def specs() -> tuple[ParameterSpec, ...]:
    """Return every parameter of a relay."""
    return tuple(spec for spec in PARAMETERS if spec.name in SHARED) + OWN


def relay_settings_from(values: Mapping[str, object]) -> RelaySettings:
    """
    Check the values of parameters; one that is not given has its default.

    :raises ConfigError: ``field`` names the parameter.
    """
    known = {spec.name: spec for spec in specs()}
    for name in values:
        if name not in known:
            raise ConfigError(f'a relay has no such parameter{did_you_mean(str(name), known)}',
                              field=str(name))
    own: dict[str, Any] = {spec.name: spec.check(values.get(spec.name)) for spec in OWN}
    if own['engine_user_file'] and not own['engine']:
        raise ConfigError('needs engine', field='engine_user_file')
    return RelaySettings(settings_from(
        {name: value for name, value in values.items() if name in SHARED}), **own)


def read_values(path: str | None, assignments: Sequence[str]) -> dict[str, object]:
    """
    Read parameters as they are given on the command line.

    :param path: of a file of YAML, a parameter a line.
    :param assignments: ``name:=value``, the value as in YAML; they count for more.
    :raises ConfigError: they cannot be read.
    """
    values: dict[str, object] = {}
    if path is not None:
        found = _parse(read_file(path, '--params-file', MAX_FILE_SIZE, is_secret=False).decode(
            errors='replace'), path)
        if not isinstance(found, dict):
            raise ConfigError('a file of parameters has one a line: name: value', file=path)
        values.update({str(name): value for name, value in found.items()})
    for each in assignments:
        name, assigned, text = each.partition(ASSIGNED)
        if not assigned:
            raise ConfigError(f'{each!r} is not name:=value')
        values[name] = _parse(text, name)
    return values


def _parse(text: str, source: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError('is no YAML', file=source) from exc
