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
A program written for the seed's classes, with no more changed than its imports.

``docs/reference/python_api.md`` lists where we differ on purpose; the last test holds some
of its rows.
"""
from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import numpy as np
import pytest
from support.helpers import async_wait_until
from support.transport_support import MakeClient, MakeServer

from ws_bridge import (
    ConnectionInfo,
    InterfaceConfig,
    InterfaceType,
    Message,
    MessageMetadata,
    MessageType,
    Priority,
    SecurityLevel,
    TransportType,
    WebSocketClient,
    WebSocketInterface,
    WebSocketServer,
)
from ws_bridge.errors import BadField, ConfigError, TooLarge

#: As the seed names them.
INTERFACE_TYPES = {'UDP', 'TCP', 'HTTP', 'WEBSOCKET', 'SERIAL', 'MODBUS', 'ETHERCAT', 'GRPC',
                   'MQTT', 'ZEROMQ', 'FILE', 'DATABASE'}


def free_port(host: str = '127.0.0.1') -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server((host, 0),
                              family=socket.AF_INET6 if ':' in host else socket.AF_INET) as bound:
        return int(bound.getsockname()[1])


async def test_a_program_of_the_seed(interfaces: list[WebSocketInterface]) -> None:
    """Dictionaries, names and answers as there."""
    config = InterfaceConfig(name='plant', interface_type=InterfaceType.TCP,
                             endpoint='localhost:1', compression='deflate',
                             custom_settings={'heartbeat_interval': 5.0})
    server, client = WebSocketInterface(config), WebSocketInterface(config)
    interfaces += [server, client]
    assert await server.connect({'endpoint': '127.0.0.1:0', 'server_mode': True}) is True
    assert server._listening is not None
    endpoint = f'127.0.0.1:{server._listening.port}'
    assert server.get_statistics()['is_server']
    assert await server.send({'early': True}) is False

    async def on_command(data: Any, metadata: MessageMetadata, websocket: Any) -> None:
        await server.send_to_client(websocket, {'got': data}, MessageMetadata(
            message_id='1', timestamp=metadata.timestamp, message_type=MessageType.ACK,
            priority=Priority.HIGH, source='plant', correlation_id=metadata.message_id))

    answers: list[Any] = []
    server.register_message_handler(MessageType.COMMAND, on_command)
    client.register_message_handler(MessageType.ACK, lambda data, _: answers.append(data))
    client.register_message_handler(MessageType.CONFIG, lambda data, _: answers.append(data))
    assert await client.connect({'endpoint': f'ws://{endpoint}', 'server_mode': False}) is True
    assert not client.get_statistics()['is_server']
    assert await client.send({'gain': np.float64(0.5), 'steps': np.int64(3)}, MessageMetadata(
        'c1', 0.0, MessageType.COMMAND, Priority.CRITICAL, 'page'))
    await async_wait_until(lambda: answers == [{'got': {'gain': 0.5, 'steps': 3}}])
    assert await server.send({'rate': 10}, MessageMetadata(
        'c2', 0.0, MessageType.CONFIG, Priority.NORMAL, 'plant'))
    await async_wait_until(lambda: answers[1:] == [{'rate': 10}])


def test_names() -> None:
    """Every member that the seed has; aliases are the same member."""
    assert {member.name for member in InterfaceType} == INTERFACE_TYPES
    assert MessageType.ACK is MessageType.ACKNOWLEDGMENT is MessageType('acknowledgment')
    assert MessageType.CONFIG is MessageType.CONFIGURATION is MessageType['CONFIG']
    assert len(MessageType) == 7


def test_messages_and_connections() -> None:
    """The seed's fields, with its meaning."""
    message = Message(source='plant', payload=1, compression='gzip')
    assert message.delivery_attempts == [message.timestamp]
    info = ConnectionInfo(
        endpoint='x:1', interface_type=InterfaceType.TCP, transport_type=TransportType.STREAM,
        remote_address=('x', 1), security_level=SecurityLevel.NONE, config={'a': 1},
        metadata={})
    assert info.last_activity is None
    info.update_activity()
    assert info.last_activity is not None
    assert 0 <= info.idle_time < 60


@pytest.mark.parametrize('kind', [*InterfaceType, 'tcp'])
async def test_every_interface_type_is_taken(kind: Any) -> None:
    """The seed does not look at it, and has TCP by default."""
    WebSocketServer(InterfaceConfig(interface_type=kind))


async def test_a_dictionary_may_hold_any_field(interfaces: list[WebSocketInterface]) -> None:
    """It replaces that of the configuration, for this connection on."""
    server = WebSocketServer(InterfaceConfig(endpoint='unused'))
    interfaces.append(server)
    assert await server.connect({'endpoint': '127.0.0.1:0', 'description': 'of the arm'})
    assert 'of the arm' in repr(server)
    client = WebSocketClient(InterfaceConfig())
    interfaces.append(client)
    assert await client.connect({'endpoint': f'127.0.0.1:{server.port}'})


@pytest.mark.parametrize(('given', 'field'), [
    ({'endpont': 'x'}, 'endpont'), ({'server_mode': 'yes'}, 'server_mode'),
    ({'server_mode': True}, 'server_mode'), ({'endpoint': 5}, 'endpoint'),
    ({'timeout': -1}, 'timeout'), (5, 'config')])
async def test_a_dictionary_that_is_wrong(given: Any, field: str) -> None:
    """Named, before anything is opened; the client stays usable."""
    client = WebSocketClient(InterfaceConfig())
    with pytest.raises(ConfigError) as caught:
        await client.connect(given)
    assert caught.value.field == field
    assert client.get_connection_state().value == 'disconnected'


@pytest.mark.parametrize(('host', 'dialled'), [
    ('127.0.0.1', '127.0.0.1'), ('127.0.0.2', '127.0.0.2'), ('0.0.0.0', '127.0.0.3'),
    ('localhost', '127.0.0.1'), ('::1', '::1'), ('[::1]', '::1'), ('', '127.0.0.4')])
@pytest.mark.parametrize('endpoint', ['localhost:1', 'ws://127.0.0.9:1/path', '[::1]'])
async def test_start_server_listens_where_its_arguments_say(
        interfaces: list[WebSocketInterface], host: str, dialled: str, endpoint: str) -> None:
    """Whatever the configuration's endpoint, and also when it listened elsewhere before."""
    server = WebSocketServer(InterfaceConfig(endpoint=endpoint))
    interfaces.append(server)
    assert await server.start_server('127.0.0.1', 0)
    for _ in range(20):     # somebody else may take it in between
        port = free_port(dialled)
        if await server.start_server(host, port):
            break
    assert server.port == port
    _, writer = await asyncio.open_connection(dialled, port)
    writer.close()
    await writer.wait_closed()


async def test_broadcast_counts(make_server: MakeServer, make_client: MakeClient) -> None:
    """An int: how many peers it went to; with nobody there ``send`` is False, and no error."""
    server = await make_server()
    assert await server.broadcast('x') == 0
    assert type(await server.broadcast('x')) is int
    assert await server.send('x') is False
    assert server.get_statistics()['errors'] == 0
    clients = [await make_client(server.port) for _ in range(3)]
    await async_wait_until(lambda: len(server.links) == 3)
    assert await server.broadcast('x') == 3
    assert await server.send('x') is True
    await clients[0].disconnect()
    await async_wait_until(lambda: len(server.links) == 2)
    assert await server.broadcast(b'x') == 2


class Unknown:
    """Nothing that JSON knows."""


@pytest.mark.parametrize('data', [Unknown(), {'a': b'x'}, 2**64, {1, 2}, 'x' * 2**20, '\ud800'])
async def test_data_that_cannot_be_sent(make_server: MakeServer, make_client: MakeClient,
                                        caplog: pytest.LogCaptureFixture, data: Any) -> None:
    """False everywhere, logged and kept with the reason; what comes next is sent."""
    server = await make_server()
    client = await make_client(server.port)
    await async_wait_until(lambda: server.links)
    caplog.set_level(logging.ERROR)
    for interface, sends in ((client, (client.send,)), (server, (server.send, server.broadcast))):
        for number, send in enumerate(sends, 1):
            caplog.clear()
            assert not await send(data)
            assert 'not sent: data: ' in caplog.text
            assert isinstance(interface.last_error, (BadField, TooLarge))
            assert interface.get_statistics()['errors'] == number
    assert not await server.send_to_client(server.links[0], data)
    nonsense: Any = 'nonsense'
    assert not await client.send(1, MessageMetadata(message_type=nonsense))
    assert await client.send('next')
    message = await server.receive(5)
    assert message is not None
    assert message[0] == 'next'


@pytest.mark.parametrize(('data', 'arrives'), [
    (np.float64(0.5), 0.5), (np.float32(0.5), 0.5), (np.int64(7), 7), (np.uint8(7), 7),
    (np.bool_(True), True), ({'a': [np.int32(1)]}, {'a': [1]}), (np.arange(3), [0, 1, 2]),
    (np.zeros((2, 2)), [[0, 0], [0, 0]]), (np.arange(6)[::2], [0, 2, 4]),
    (np.arange(3, dtype='>i4'), [0, 1, 2]), ({1: np.int8(2)}, {'1': 2}), ((1, 2), [1, 2])])
async def test_numpy(make_server: MakeServer, make_client: MakeClient, data: Any,
                     arrives: Any) -> None:
    """Scalars and arrays, in any memory order, are numbers and lists."""
    server = await make_server()
    client = await make_client(server.port)
    assert await client.send(data)
    message = await server.receive(5)
    assert message is not None
    assert message[0] == arrives
    assert type(message[0]) is type(arrives)
