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
"""The seed's data types: fields, defaults, derived values."""
from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from ws_bridge.protocol import types
from ws_bridge.protocol.types import (
    CommunicationProtocol,
    ConnectionInfo,
    ConnectionState,
    InterfaceConfig,
    InterfaceType,
    Message,
    MessageMetadata,
    MessageType,
    Priority,
    SecurityLevel,
)

SECRET = 'hunter2'


def test_vocabulary() -> None:
    """The names and values are the seed's."""
    assert [item.value for item in ConnectionState] == [
        'disconnected', 'connecting', 'connected', 'reconnecting', 'error', 'closed']
    assert [item.value for item in MessageType] == [
        'command', 'data', 'status', 'error', 'heartbeat', 'acknowledgment', 'configuration']
    assert {item.name: item.value for item in Priority} == {
        'LOW': 1, 'NORMAL': 2, 'HIGH': 3, 'CRITICAL': 4}
    assert [item.value for item in SecurityLevel] == [
        'none', 'basic', 'encrypted', 'authenticated', 'mutual_tls']
    assert {'udp', 'tcp', 'http', 'websocket', 'serial'} <= {item.value for item in InterfaceType}


def test_metadata() -> None:
    """Fields in the seed's order, each with a default."""
    assert [field.name for field in fields(MessageMetadata)] == [
        'message_id', 'timestamp', 'message_type', 'priority', 'source', 'destination',
        'correlation_id', 'retry_count', 'max_retries', 'ttl']
    metadata = MessageMetadata('id', 1.0, MessageType.COMMAND, Priority.HIGH, 'me')
    assert (metadata.destination, metadata.correlation_id, metadata.retry_count,
            metadata.max_retries, metadata.ttl) == (None, None, 0, 3, None)


def test_ids_never_collide() -> None:
    """Also when made in the same microsecond."""
    assert len({MessageMetadata().message_id for _ in range(5000)}) == 5000


def test_config() -> None:
    """Defaults as the seed's, custom settings by name, and no secret in the repr."""
    config = InterfaceConfig(auth_token=SECRET)
    assert (config.endpoint, config.timeout, config.retry_attempts, config.retry_delay,
            config.max_message_size, config.serialization) == (
        'localhost:8080', 30, 3, 1, 2**20, 'json')
    assert config.get_setting('x') is None
    assert config.get_setting('x', 5) == 5
    config.set_setting('x', 7)
    assert config.get_setting('x', 5) == 7
    assert InterfaceConfig().custom_settings == {}
    assert SECRET not in repr(config)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Let a test set the time that the types read."""
    now = {'now': 1000.0}
    monkeypatch.setattr(types.time, 'time', lambda: now['now'])     # type: ignore[attr-defined]
    return now


def test_message(clock: dict[str, float]) -> None:
    """Age, expiry and headers."""
    message = Message(payload=1, timestamp=1000.0, ttl=2.0)
    clock['now'] = 1002.0
    assert (message.age, message.is_expired) == (2.0, False)
    clock['now'] = 1002.1
    assert (message.age > 2.0, message.is_expired) == (True, True)
    assert not Message(timestamp=0.0).is_expired
    message.add_header('k', 'v')
    assert (message.get_header('k'), message.get_header('x'), message.get_header('x', 1)) == (
        'v', None, 1)


def test_connection_info(clock: dict[str, float]) -> None:
    """Durations, and 0 where there is nothing to measure."""
    info = ConnectionInfo(endpoint='a:1', state=ConnectionState.CONNECTED, connected_at=990.0,
                          last_activity=995.0)
    assert (info.is_connected, info.connection_duration, info.idle_time) == (True, 10.0, 5.0)
    gone = replace(info, state=ConnectionState.CLOSED)
    assert (gone.is_connected, gone.connection_duration) == (False, 0.0)
    assert (ConnectionInfo().connection_duration, ConnectionInfo().idle_time) == (0.0, 0.0)
    up = ConnectionInfo(state=ConnectionState.CONNECTED)
    assert up.connection_duration == 0.0


def test_protocol_is_abstract() -> None:
    """Whoever implements it implements all of it."""
    broken: Any = CommunicationProtocol
    with pytest.raises(TypeError, match='abstract'):
        broken()
    assert CommunicationProtocol.__abstractmethods__ == {
        'connect', 'disconnect', 'send', 'receive', 'get_connection_state', 'get_statistics'}
