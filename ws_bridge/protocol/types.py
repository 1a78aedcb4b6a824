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
"""The data types of the seed's API: what a program hands to, and gets from, an interface."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
import time
from typing import Any
import uuid


class ConnectionState(str, Enum):
    """Where an interface, or one connection of it, stands."""

    DISCONNECTED = 'disconnected'
    CONNECTING = 'connecting'
    CONNECTED = 'connected'
    RECONNECTING = 'reconnecting'
    ERROR = 'error'
    CLOSED = 'closed'


class MessageType(str, Enum):
    """What a message is for."""

    COMMAND = 'command'
    DATA = 'data'
    STATUS = 'status'
    ERROR = 'error'
    HEARTBEAT = 'heartbeat'
    ACKNOWLEDGMENT = 'acknowledgment'
    CONFIGURATION = 'configuration'
    # The names in programs written for the seed.
    ACK = ACKNOWLEDGMENT
    CONFIG = CONFIGURATION


class Priority(IntEnum):
    """What leaves first: the higher."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


class InterfaceType(str, Enum):
    """The kinds of interface that a configuration can name; all of them are websockets here."""

    UDP = 'udp'
    TCP = 'tcp'
    HTTP = 'http'
    WEBSOCKET = 'websocket'
    SERIAL = 'serial'
    MODBUS = 'modbus'
    ETHERCAT = 'ethercat'
    GRPC = 'grpc'
    MQTT = 'mqtt'
    ZEROMQ = 'zeromq'
    FILE = 'file'
    DATABASE = 'database'


class TransportType(str, Enum):
    """What a transport guarantees; a WebSocket is ``reliable``."""

    RELIABLE = 'reliable'
    UNRELIABLE = 'unreliable'
    STREAM = 'stream'
    DATAGRAM = 'datagram'


class SecurityLevel(str, Enum):
    """How a connection is protected; :mod:`ws_bridge.transport.settings` says what each needs."""

    NONE = 'none'
    BASIC = 'basic'
    ENCRYPTED = 'encrypted'
    AUTHENTICATED = 'authenticated'
    MUTUAL_TLS = 'mutual_tls'


def new_message_id() -> str:
    """Return an id that no other message has, on this machine or another."""
    return str(uuid.uuid4())


@dataclass(slots=True)
class MessageMetadata:
    """
    What travels beside the data of a message.

    ``retry_count`` and ``max_retries`` are the sender's own and not on the wire.

    :param timestamp: Unix time, s.
    :param ttl: seconds after ``timestamp`` at which the message is worthless; ``None`` = never.
    """

    message_id: str = field(default_factory=new_message_id)
    timestamp: float = field(default_factory=time.time)
    message_type: MessageType = MessageType.DATA
    priority: Priority = Priority.NORMAL
    source: str = ''
    destination: str | None = None
    correlation_id: str | None = None
    retry_count: int = 0
    max_retries: int = 3
    ttl: float | None = None


@dataclass(slots=True)
class Message:
    """A message with its payload, as programs pass it around."""

    message_id: str = field(default_factory=new_message_id)
    correlation_id: str | None = None
    timestamp: float = field(default_factory=time.time)
    source: str = ''
    destination: str | None = None
    reply_to: str | None = None
    message_type: MessageType = MessageType.DATA
    payload: Any = None
    headers: dict[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    ttl: float | None = None
    compression: str | None = None
    encryption: str | None = None
    retry_count: int = 0
    max_retries: int = 3
    delivery_attempts: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count the making of the message as its first attempt, as the seed does."""
        if not self.delivery_attempts:
            self.delivery_attempts.append(self.timestamp)

    @property
    def age(self) -> float:
        """Seconds since ``timestamp``."""
        return time.time() - self.timestamp

    @property
    def is_expired(self) -> bool:
        """Whether the message is older than its ``ttl``."""
        return self.ttl is not None and self.age > self.ttl

    def add_header(self, key: str, value: Any) -> None:
        """Set one header."""
        self.headers[key] = value

    def get_header(self, key: str, default: Any = None) -> Any:
        """Return one header, or ``default``."""
        return self.headers.get(key, default)


@dataclass(slots=True)
class ConnectionInfo:
    """One connection and its counters; times are Unix seconds."""

    connection_id: str = field(default_factory=new_message_id)
    endpoint: str = ''
    interface_type: InterfaceType = InterfaceType.WEBSOCKET
    state: ConnectionState = ConnectionState.DISCONNECTED
    connected_at: float | None = None
    disconnected_at: float | None = None
    last_activity: float | None = None
    local_address: str | tuple[str, int] | None = None
    remote_address: str | tuple[str, int] | None = None
    transport_type: TransportType = TransportType.RELIABLE
    security_level: SecurityLevel = SecurityLevel.NONE
    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    errors: int = 0
    reconnections: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def update_activity(self) -> None:
        """Note that something was sent or received now."""
        self.last_activity = time.time()

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""
        return self.state is ConnectionState.CONNECTED

    @property
    def connection_duration(self) -> float:
        """Seconds since the connection was made; 0 if it is not."""
        if self.connected_at is None or not self.is_connected:
            return 0.0
        return time.time() - self.connected_at

    @property
    def idle_time(self) -> float:
        """Seconds since anything was sent or received; 0 if nothing ever was."""
        return 0.0 if self.last_activity is None else time.time() - self.last_activity


@dataclass(slots=True)
class InterfaceConfig:
    """
    How an interface connects; every field is honoured or rejected with a ``ConfigError``.

    :mod:`ws_bridge.transport.settings` checks them and lists the custom settings that are read.
    """

    name: str = 'websocket'
    interface_type: InterfaceType = InterfaceType.WEBSOCKET
    description: str = ''
    endpoint: str = 'localhost:8080'
    timeout: float = 30.0
    retry_attempts: int = 3
    retry_delay: float = 1.0
    keep_alive: bool = True
    send_buffer_size: int = 65536
    receive_buffer_size: int = 1048576
    max_message_size: int = 1048576
    security_level: SecurityLevel = SecurityLevel.NONE
    ssl_cert_path: str | None = None
    ssl_key_path: str | None = None
    auth_token: str | None = field(default=None, repr=False)
    serialization: str = 'json'
    compression: bool | str | None = False
    encoding: str = 'utf-8'
    message_ordering: bool = True
    duplicate_detection: bool = False
    delivery_confirmation: bool = False
    enable_metrics: bool = True
    enable_logging: bool = True
    log_level: str = 'INFO'
    custom_settings: dict[str, Any] = field(default_factory=dict)

    def get_setting(self, key: str, default: Any = None) -> Any:
        """Return one custom setting, or ``default``."""
        return self.custom_settings.get(key, default)

    def set_setting(self, key: str, value: Any) -> None:
        """Set one custom setting; an interface reads it when it connects."""
        self.custom_settings[key] = value


class CommunicationProtocol(ABC):
    """What every interface of the seed can do."""

    @abstractmethod
    async def connect(self, config: InterfaceConfig | Mapping[str, Any] | None = None) -> bool:
        """Open the connection; whether it is open now."""

    @abstractmethod
    async def disconnect(self) -> bool:
        """Close the connection; whether it is closed now."""

    @abstractmethod
    async def send(self, data: Any, metadata: MessageMetadata | None = None) -> bool:
        """Send one message; whether the transport took it."""

    @abstractmethod
    async def receive(self, timeout: float | None = None) -> tuple[Any, MessageMetadata] | None:
        """Return the next message, or ``None`` if none came in ``timeout`` seconds."""

    @abstractmethod
    def get_connection_state(self) -> ConnectionState:
        """Return where the connection stands."""

    @abstractmethod
    def get_statistics(self) -> dict[str, Any]:
        """Return a copy of the counters."""
