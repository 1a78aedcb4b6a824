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
The ROS parameters of the bridge's node as frozen values.

A line of :class:`Settings` is all that declares a parameter: its declaration on the node, its
check, ``config/ws_bridge.yaml`` and ``docs/reference/parameters.md`` are made from it.
"""
from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
import math
import platform
from typing import Any, TypeVar

from ws_bridge.config import forms
from ws_bridge.errors import ConfigError
from ws_bridge.safety.policy import (
    EstopState,
    FENCE_INTERVAL,
    GATED_TYPES,
    TIMEOUT,
    TTL,
)

T = TypeVar('T')
ParameterValue = bool | int | float | str | tuple[str, ...]

JWT_ALGORITHMS = ('HS256', 'RS256', 'ES256')


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """
    One ROS parameter of the bridge node.

    :param default: its value and, by its Python type, its kind; a tuple is a string array.
    :param description: one sentence, with the unit.
    :param minimum: smallest value allowed, of numbers; ``None`` = no bound.
    :param maximum: largest value allowed.
    :param read_only: it cannot be set while the node runs.
    :param form: checks a text, or each of an array, and returns it as it is used; raises
        :class:`ws_bridge.config.forms.BadForm`. An empty text that is the default is not asked
        about.
    """

    name: str
    default: ParameterValue
    description: str
    minimum: float | None = None
    maximum: float | None = None
    read_only: bool = True
    form: Callable[[str], str] | None = None

    @property
    def kind(self) -> str:
        """``bool``, ``integer``, ``double``, ``string`` or ``string_array``."""
        return {bool: 'bool', int: 'integer', float: 'double', str: 'string',
                tuple: 'string_array'}[type(self.default)]

    @property
    def ros_default(self) -> bool | int | float | str | list[str]:
        """
        The default as a node declares it.

        An empty string array is ``['']``: rclpy takes ``[]`` for a byte array.
        """
        return self.default if not isinstance(self.default, tuple) else list(self.default) or ['']

    def check(self, value: object, written: str | None = None) -> ParameterValue:
        """
        Return the value in the kind of the default, texts in their usual form.

        Empty texts in an array count for nothing, and ``None``, which rclpy makes of ``[]`` in
        a parameter file, is the default. Of a text that has to be one of a few, and is missing
        its quotes, YAML makes a bool of ``off``: that is taken for the text.

        :param written: what YAML made the value of, if it is known.
        :raises ConfigError: of another kind, out of range, or of the wrong form.
        """
        if isinstance(value, bool) and isinstance(self.form, forms.OneOf):
            meant = self.form.meant_by(value)
            value = value if meant is None else meant
        checked = self.default if value is None else _of_kind(self.kind, value)
        if checked is None:
            article = 'an' if self.kind == 'integer' else 'a'
            raise ConfigError(f'must be {article} {self.kind.replace("_", " ")}, is '
                              f'{_shown(value)}{self._advice(value, written)}',
                              field=self.name)
        if isinstance(checked, (int, float)) and not self._in_range(checked):
            raise ConfigError(f'must be {self.range_text()}, is {_shown(value)}', field=self.name)
        if isinstance(checked, str):
            return self._formed(checked)
        if isinstance(checked, tuple):
            return tuple(dict.fromkeys(map(self._formed, checked)))
        return checked

    def _advice(self, value: object, written: str | None) -> str:
        """Say how a text is written of which YAML has made something else, if it has."""
        if self.kind == 'string' and isinstance(value, (bool, int, float)):
            first, text = value, f'"{written or _as_yaml(value)}"'
        elif self.kind == 'string_array' and isinstance(value, (list, tuple, array)) and value \
                and all(isinstance(each, (bool, int, float)) for each in value):
            items = ', '.join([f'"{_as_yaml(each)}"' for each in value])
            first, text = value[0], f'[{items}]'
        else:
            return ''
        what = 'a bool' if isinstance(first, bool) else 'a number'
        return f"; YAML makes {what} of it without quotes: write -p {self.name}:='{text}', or " \
            f'{self.name}: {text} in a file'

    def _formed(self, text: str) -> str:
        if self.form is None or text == self.default:
            return text
        try:
            return self.form(text)
        except forms.BadForm as exc:
            raise ConfigError(f'{_shown(text)} is {exc}', field=self.name) from exc

    def range_text(self) -> str:
        """Return the range for a person, empty where there is none."""
        if self.minimum is None and self.maximum is None:
            return ''
        if self.maximum is None:
            return f'at least {self.minimum:g}'
        if self.minimum is None:
            return f'at most {self.maximum:g}'
        return f'{self.minimum:.10g} to {self.maximum:.10g}'

    def _in_range(self, value: float) -> bool:
        return math.isfinite(value) and (self.minimum is None or value >= self.minimum) and \
            (self.maximum is None or value <= self.maximum)


def _shown(value: object) -> str:
    """Return a value in one line of bounded length."""
    text = repr(value)
    return text if len(text) <= 200 else f'{text[:200]}...'


def _as_yaml(value: object) -> str:
    """Return a bool or a number as it may have been written."""
    return {'False': 'off', 'True': 'on'}.get(repr(value), repr(value))


def _of_kind(kind: str, value: object) -> ParameterValue | None:
    if isinstance(value, bool):
        return value if kind == 'bool' else None
    if isinstance(value, int):
        if kind == 'double':
            return float(value) if abs(value) < 2 ** 63 else None
        return value if kind == 'integer' else None
    if isinstance(value, float):
        return value if kind == 'double' else None
    if isinstance(value, str):
        return value if kind == 'string' else None
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(item for item in value if item) if kind == 'string_array' else None
    return None


_DAY = 86400.0
_MEGA = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may have and send; 0 for ``message_rate`` = unlimited."""

    message_size: int
    message_rate: float
    subscriptions: int
    advertisements: int
    services: int
    calls: int
    goals: int


def parameter(default: T, description: str, minimum: float | None = None,
              maximum: float | None = None, *, form: Callable[[str], str] | None = None) -> T:
    """
    Declare a parameter, a field of :class:`Settings`; see :class:`ParameterSpec`.

    :return: what a dataclass makes a field of, for which type checkers see the default.
    """
    return field(default=default, metadata={
        'default': default, 'description': description, 'minimum': minimum, 'maximum': maximum,
        'form': form})


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The parameters of the node, a field each: its default here, its checked value in an instance.

    :func:`settings_from` is the way to make one; nothing here checks.
    """

    address: str = parameter(
        '127.0.0.1', 'Address to listen on; 0.0.0.0 = every IPv4 address of this machine, :: = '
        'IPv6 too.', form=forms.host)
    port: int = parameter(9090, 'TCP port to listen on; 0 = any free one.', 0, 65535)
    foxglove_port: int = parameter(
        0, 'A second port of the same server, for example 8765, which is the port of '
        'foxglove_bridge; 0 = none.', 0, 65535)
    robot_name: str = parameter(
        '', 'Name of the robot that peers are told; empty = host name.', form=forms.robot_name)
    mapping_file: str = parameter(
        '', 'File that says which names are exposed and how; empty = every topic and service is '
        'exposed.', form=forms.path)
    connect: tuple[str, ...] = parameter(
        (), 'Endpoints to dial out to, for example ws://host:9090.', form=forms.endpoint)
    push: tuple[str, ...] = parameter(
        (), 'Topics to publish on every bridge that was dialled.', form=forms.topic_name)
    pull: tuple[str, ...] = parameter(
        (), 'Topics to take from every bridge that was dialled and to publish here.',
        form=forms.topic_name)
    origins: tuple[str, ...] = parameter(
        (), 'Origins of web pages that may connect, for example https://robot.example; empty = '
        'pages from the same host; * = any.', form=forms.origin)
    pages: str = parameter(
        '', 'Folder with web pages of your own, served below /pages/ to whoever reaches the port; '
        'empty = none.', form=forms.path)
    asset_uri_allowlist: tuple[str, ...] = parameter(
        (r'^package://(?:[-\w%]+/)*[-\w%]+\.(?:dae|fbx|glb|gltf|mtl|obj|stl|urdf|xacro)$',
         r'^package://(?:[-\w%]+/)*[-\w%]+\.(?:jpeg|jpg|png|tif|tiff|webp)$'),
        "Regular expressions of the package:// files that peers may have, such as a robot's "
        "meshes; [''] = none.", form=forms.pattern)
    tls_certificate: str = parameter(
        '', 'PEM file with the certificate chain; empty = no TLS.', form=forms.path)
    tls_key: str = parameter(
        '', 'PEM file with the private key; empty = it is in the certificate file.',
        form=forms.path)
    compression: bool = parameter(
        False, 'Offer per-message compression to peers (costs CPU and latency, saves bandwidth).')
    tls_client_ca: str = parameter(
        '', 'PEM file of the authority that signs the certificates of peers; the name in a '
        'certificate is the identity; empty = peers need no certificate.', form=forms.path)
    token_file: str = parameter(
        '', 'File with a line for each token: name, role, token; the environment variable '
        'WS_BRIDGE_TOKENS may hold such lines too.', form=forms.path)
    jwt_key_file: str = parameter(
        '', 'File with the key that JSON web tokens are verified with: a secret (HS256) or a '
        'public key, PEM; empty = no such token is accepted.', form=forms.path)
    jwt_algorithm: str = parameter(
        'RS256', 'The one algorithm of JSON web tokens: HS256, RS256 or ES256.',
        form=forms.OneOf(*JWT_ALGORITHMS))
    jwt_audience: str = parameter(
        '', 'What "aud" of a JSON web token must name; empty = it must have none.',
        form=forms.printable)
    jwt_issuer: str = parameter(
        '', 'What "iss" of a JSON web token must be; empty = anything.', form=forms.printable)
    jwt_leeway: float = parameter(
        10.0, 'How far the clock of the issuer of a JSON web token may be off, s.', 0.0, 3600.0)
    command_key_file: str = parameter(
        '', 'File with a line for each public key that signs commands: name and key; empty = '
        'none. Peers have to sign whose role in the mapping file has "signed".', form=forms.path)
    allow_anonymous: bool = parameter(
        False, 'Let peers in that do not log in, also from other machines.')
    anonymous_role: str = parameter(
        '', 'Role of peers that do not log in; empty = admin where nobody can log in, else '
        'observer.', form=forms.word)
    connect_role: str = parameter(
        'admin', 'Role that the bridges which were dialled have here.', form=forms.word)
    connect_token_file: str = parameter(
        '', 'File with the token that is presented to the bridges which are dialled.',
        form=forms.path)
    fleet: tuple[str, ...] = parameter(
        (), 'Relays to dial out to, for example wss://relay.example; of several, one at a time.',
        form=forms.endpoint)
    fleet_token_file: str = parameter(
        '', 'File with the token of this robot at its relays.', form=forms.path)
    relay_role: str = parameter(
        'admin', 'Role that bounds what operators who come by a relay may do here.',
        form=forms.word)
    hosts: tuple[str, ...] = parameter(
        (), 'Names by which peers may reach the bridge ("Host"); empty = addresses, localhost and '
        'the name of this machine, checked for browsers and for pages only.', form=forms.host)
    trusted_proxies: tuple[str, ...] = parameter(
        (), 'Addresses or networks of reverse proxies whose X-Forwarded-For is believed.',
        form=forms.network)
    metrics: bool = parameter(False, 'Answer /metrics (Prometheus) to roles that may see it.')
    handshake_timeout: float = parameter(
        5.0, 'Time for TLS and the opening handshake, s.', 0.1, 600.0)
    login_timeout: float = parameter(
        5.0, 'Time to log in after the opening handshake, s.', 0.1, 600.0)
    ticket_lifetime: float = parameter(
        0.0, 'How long a ticket of "ws_bridge ticket" can be used as a login in the path of a '
        'URL, s; 0 = there are none.', 0.0, 600.0)
    max_login_failures: int = parameter(
        10, 'Failed logins of one address in a minute, after which it has to wait.', 1, 10000)
    max_peers: int = parameter(64, 'Connections at the same time.', 1, 10000)
    max_peers_per_address: int = parameter(
        64, 'Connections of one address at the same time.', 1, 10000)
    max_handshakes: int = parameter(
        256, 'Connections at the same time that are no peers yet, at most half of them from one '
        'address; more are cut.', 1, 10000)
    max_message_size: int = parameter(
        10_000_000, 'Largest message from a peer, bytes.', 1024, 1024 * _MEGA)
    max_observer_message_size: int = parameter(
        65536, 'Largest message from a peer whose role may neither publish, call, host nor send '
        'goals, bytes.', 1024, 1024 * _MEGA)
    max_elements: int = parameter(
        1_000_000, 'Values in one message from a peer, counted before it is read; more are '
        'refused: too_large.', 1000, 1_000_000_000)
    max_reading_time: float = parameter(
        10.0, 'Time to read and convert one large message, s; then it is given up: '
        'limit_exceeded.', 0.1, 600.0)
    # orjson writes no deeper than 254, and others are told what one peer tells inside of more.
    max_json_depth: int = parameter(
        100, 'Depth of arrays and objects in JSON from a peer; deeper is refused: bad_frame.',
        8, 200)
    max_message_rate: float = parameter(
        5000.0, 'Messages a second that one peer may send, with a burst of one second; 0 = '
        'unlimited.', 0.0, 1e6)
    max_byte_rate: float = parameter(
        100e6, 'Bytes, of text characters, a second that one peer may send, with a burst of one '
        'second or one message; 0 = unlimited.', 0.0, 1e12)
    max_queue_bytes: int = parameter(
        32 * _MEGA, 'Bytes that may wait for one peer to take them.', 4096, 4096 * _MEGA)
    max_total_queue_bytes: int = parameter(
        256 * _MEGA, 'Bytes that may wait for all peers together; beyond it the peer with most is '
        'closed.', 4096, 1 << 40)
    max_subscriptions: int = parameter(500, 'Topics that one peer may subscribe to.', 0, 100000)
    max_advertisements: int = parameter(100, 'Topics that one peer may advertise.', 0, 100000)
    max_services: int = parameter(100, 'Services that one peer may host.', 0, 100000)
    max_calls: int = parameter(100, 'Service calls of one peer at the same time.', 0, 100000)
    max_goals: int = parameter(100, 'Goals of one peer at the same time.', 0, 100000)
    max_entities: int = parameter(
        2000, 'Subscriptions, publishers, services and actions that all peers together may have '
        'in ROS.', 1, 1000000)
    max_streams: int = parameter(
        16, 'Pictures and streams for pages (/snapshot, /stream) at the same time; 0 = none.',
        0, 10000)
    max_cameras: int = parameter(
        4, 'Cameras that are shown at the same time: each has a process that encodes.', 0, 1000)
    queue_depth: int = parameter(
        10, 'Samples of one topic that wait for a slow peer, unless the peer or the mapping file '
        'says otherwise.', 1, 10000)
    wide_integers_as_text: bool = parameter(
        False, 'Send integers beyond 2^53 as text in JSON: JavaScript would round them.')
    call_timeout: float = parameter(
        5.0, 'How long a service call may take unless the peer or the mapping file says '
        'otherwise, s.', 0.001, _DAY)
    heartbeat_interval: float = parameter(
        1.0, 'Time between heartbeats to a peer, s.', 0.05, 3600.0)
    heartbeat_timeout: float = parameter(
        5.0, 'Silence after which a peer that sends heartbeats is LOST, s; longer than '
        'heartbeat_interval.', 0.1, 3600.0)
    resume_time: float = parameter(
        0.0, 'How long the session of a native peer whose connection broke waits for it to come '
        'back, s; leases never wait; 0 = not at all.', 0.0, 600.0)
    max_kept_bytes: int = parameter(
        _MEGA, 'Bytes of replies that are kept for one peer, where resume_time is set, until it '
        'has got them.', 1024, 1024 * _MEGA)
    ping_interval: float = parameter(
        5.0, 'Time between WebSocket pings to a peer, s; 0 = none.', 0.0, 3600.0)
    ping_timeout: float = parameter(
        10.0, 'Time to answer a WebSocket ping before the connection is closed, s.', 0.1, 3600.0)
    status_interval: float = parameter(
        5.0, 'Longest time between status messages to a peer, s.', 0.2, 3600.0)
    diagnostics_period: float = parameter(
        1.0, 'Time between messages on /diagnostics, s.', 0.1, 3600.0)
    subscription_depth: int = parameter(
        1000, 'History depth of the ROS subscriptions: samples that wait for the bridge.',
        1, 100000)
    match_timeout: float = parameter(
        1.0, 'How long the first message of a new publisher waits for its subscribers to be '
        'matched, s; 0 = not at all.', 0.0, 60.0)
    gated_types: tuple[str, ...] = parameter(
        GATED_TYPES, 'Message types whose topics get a gate each, unless one of the mapping file '
        "guards them; [''] = no gates but those.", form=forms.message_type)
    gate_timeout: float = parameter(
        TIMEOUT, 'Silence of the holder after which a gate stops the robot, unless the mapping '
        'file says it for that gate, s.', 0.02, 3600.0)
    gate_ttl: float = parameter(
        TTL, 'Age of the oldest command that a gate lets pass, unless the mapping file says it '
        'for that gate, s.', 0.01, 3600.0)
    fence_interval: float = parameter(
        FENCE_INTERVAL, 'Time between pings to a peer that tells no times and may command but '
        'does not, s; its first command may be older than gate_ttl by this time.', 0.05, 60.0)
    neutral_first: bool = parameter(
        False, 'Whether gates of gated_types ask every peer for a neutral first command after a '
        'change of holder or a stop; false = they ask native peers always, others only after an '
        'emergency stop and after another peer commanded.')
    estop_at_start: str = parameter(
        'armed', 'The emergency stop when the bridge starts: armed, or stopped until somebody '
        'clears it.', form=forms.OneOf(*(state.value for state in EstopState)))
    estop_service: str = parameter(
        '', 'Service of type std_srvs/srv/Trigger that is called when the emergency stop is '
        'asserted; empty = none.', form=forms.topic_name)
    audit_file: str = parameter(
        '', 'File of the audit log, JSON lines; empty = only the log of the node.',
        form=forms.path)
    audit_size: int = parameter(
        1_000_000, 'Size at which the audit log is rotated, bytes; five older files are kept.',
        1000, 1 << 30)
    record: str = parameter(
        'off', 'Record what crosses the bridge and what it decides: off = nothing; ring = keep '
        'the last seconds, and write them when the robot is stopped or somebody asks; always = '
        'write everything. Needs the extra "record".', form=forms.OneOf('off', 'ring', 'always'))
    record_folder: str = parameter(
        '', 'Folder of the recordings, one folder each; empty = ws_bridge/recordings in ~/.ros '
        '($ROS_HOME).', form=forms.path)
    record_key: str = parameter(
        '', 'File of the private key that recordings are signed with, made at its first use; '
        'empty = ws_bridge/record.key in ~/.ros.', form=forms.path)
    record_ring: float = parameter(
        30.0, 'How far back the ring goes, s; 256 MB at most.', 1.0, 3600.0)
    record_after: float = parameter(
        10.0, 'How long a recording goes on after the event that started it, s.', 0.0, 3600.0)
    record_limit: int = parameter(
        2_000_000_000, 'Size of all recordings together, bytes; beyond it the oldest files are '
        'deleted.', 1_000_000, 1 << 50)
    record_secrets: tuple[str, ...] = parameter(
        ('(?i).*(?:password|passphrase|secret|token|api_?key|credential).*',),
        'Regular expressions of parameters, /node:name, whose values are in no recording; '
        "[''] = none.", form=forms.pattern)
    retry_delay: float = parameter(
        1.0, 'Delay before the first new attempt to dial out, s; it grows with each failure.',
        0.01, 3600.0)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_message_size, self.max_message_rate, self.max_subscriptions,
                      self.max_advertisements, self.max_services, self.max_calls, self.max_goals)


PARAMETERS: tuple[ParameterSpec, ...] = tuple(
    ParameterSpec(declared.name, **declared.metadata) for declared in fields(Settings))
"""The parameters as a table, in the order of their declaration."""


def settings_from(values: Mapping[str, object]) -> Settings:
    """
    Check the values of parameters; one that is not given has its default.

    :raises ConfigError: ``field`` names the parameter.
    """
    specs = {spec.name: spec for spec in PARAMETERS}
    for name in values:
        if name not in specs:
            raise ConfigError(f'no such parameter{did_you_mean(name, specs)}', field=name)
    checked: dict[str, Any] = {spec.name: spec.check(values.get(spec.name))
                               for spec in PARAMETERS}
    checked['robot_name'] = checked['robot_name'] or \
        (platform.node() or 'robot')[:forms.LONGEST_ROBOT_NAME]
    settings = Settings(**checked)
    _check_together(settings)
    return settings


MISSPELT = 0.85
"""A name that is so much like another one, 0 to 1, was meant to be that."""


def did_you_mean(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return a suggestion to put after an error about ``word``, or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ''


def _check_together(settings: Settings) -> None:
    def require(condition: object, name: str, message: str) -> None:
        if not condition:
            raise ConfigError(message, field=name)

    require(settings.heartbeat_timeout > settings.heartbeat_interval, 'heartbeat_timeout',
            f'must be longer than heartbeat_interval ({settings.heartbeat_interval} s)')
    require(settings.max_queue_bytes >= settings.max_message_size, 'max_queue_bytes',
            f'must hold at least one message of max_message_size ({settings.max_message_size})')
    require(settings.tls_certificate or not settings.tls_key, 'tls_key',
            'needs tls_certificate')
    require(settings.tls_certificate or not settings.tls_client_ca, 'tls_client_ca',
            'needs tls_certificate')
    require(not settings.fleet or forms.FLEET_NAME.fullmatch(settings.robot_name), 'robot_name',
            f'{settings.robot_name!r} is no name for a fleet: letters, digits, - and _, at most '
            '64')
    require(not settings.foxglove_port or settings.foxglove_port != settings.port,
            'foxglove_port', f'is port already ({settings.port})')
    require(settings.max_total_queue_bytes >= settings.max_queue_bytes, 'max_total_queue_bytes',
            f'must be at least max_queue_bytes ({settings.max_queue_bytes})')
