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
"""What a program of the seed does with the interface, over real sockets."""
from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.transport_support import Bare, Dial, MakeClient, MakeServer, Recorder

from ws_bridge import (
    ConnectionState,
    InterfaceConfig,
    MessageMetadata,
    MessageType,
    Priority,
    WebSocketClient,
    WebSocketInterface,
    WebSocketServer,
)
from ws_bridge.errors import BadFrame, ConfigError, ConnectFailed
from ws_bridge.protocol.native import SUBPROTOCOL
from ws_bridge.protocol.pieces import make_piece
from ws_bridge.transport.options import ServerOptions

COMMAND = MessageType.COMMAND
STATISTICS = {
    'messages_sent', 'messages_received', 'bytes_sent', 'bytes_received',
    'connections_established', 'connections_lost', 'heartbeats_sent', 'heartbeats_received',
    'last_activity', 'connection_state', 'connected_clients', 'is_server'}


async def received(interface: WebSocketInterface) -> tuple[Any, MessageMetadata]:
    """Return the next message; there must be one."""
    message = await interface.receive(5)
    assert message is not None
    return message


async def test_messages_both_ways(make_server: MakeServer, make_client: MakeClient) -> None:
    """Data and metadata arrive as they were sent; what was not said has its default."""
    server = await make_server()
    client = await make_client(server.port)
    sent = MessageMetadata(message_type=COMMAND, priority=Priority.HIGH, destination='/cmd_vel',
                           correlation_id='c', ttl=60.0)
    assert await client.send({'linear': [1, 2.5, None]}, sent)
    data, metadata = await received(server)
    assert data == {'linear': [1, 2.5, None]}
    sent.source = 'client'
    assert metadata == sent
    before = time.time()
    assert await server.send('to all')
    data, metadata = await received(client)
    assert (data, metadata.source, metadata.message_type) == ('to all', 'server', MessageType.DATA)
    assert before <= metadata.timestamp <= time.time()


async def test_bytes_are_binary_frames(make_server: MakeServer, make_client: MakeClient) -> None:
    """Both ways, and they are counted."""
    server = await make_server()
    client = await make_client(server.port)
    for data in (b'abc', bytearray(b'de'), memoryview(b'f')):
        assert await client.send(data)
        got, metadata = await received(server)
        assert (got, metadata.message_type) == (bytes(data), MessageType.DATA)
    assert await server.broadcast(b'\xff\xfe') == 1
    assert (await received(client))[0] == b'\xff\xfe'
    assert server.get_statistics()['bytes_received'] == 6
    assert server.get_statistics()['messages_received'] == 3
    assert client.get_statistics()['bytes_received'] == 2


@pytest.mark.parametrize('subprotocol', [SUBPROTOCOL, None])
async def test_pieces_of_the_native_dialect_are_put_together(
        make_server: MakeServer, dial: Dial, subprotocol: str | None) -> None:
    """Without it they are bytes as any."""
    server = await make_server(options=ServerOptions(subprotocols=(SUBPROTOCOL,)))
    peer = await dial(server.port, subprotocols=subprotocol and [subprotocol])
    text = b'{"data": {"a": 1}}'
    first = make_piece(1, [text[:5]], text=True, last=False)
    await peer.send(first)
    await peer.send(make_piece(1, [text[5:]], text=True, last=True))
    expected = {'a': 1} if subprotocol else first
    assert (await received(server))[0] == expected
    if subprotocol:
        await peer.send(make_piece(2, [b'\xff'], text=True, last=True))
        assert json.loads(await peer.recv())['data']['code'] == 'bad_frame'


async def test_handlers_and_receive_are_both_served(make_server: MakeServer,
                                                    make_client: MakeClient) -> None:
    """In both modes handlers get the websocket, and can answer on it."""
    server = await make_server()
    client = await make_client(server.port)
    at_client: list[Any] = []

    async def at_server(data: Any, metadata: MessageMetadata, websocket: Any) -> None:
        assert websocket in server.get_connected_clients()
        assert await server.send_to_client(websocket, {'answer': data}, MessageMetadata(
            message_type=MessageType.STATUS, correlation_id=metadata.message_id))

    def handle_status(data: Any, metadata: MessageMetadata, websocket: Any) -> None:
        at_client.append((data, metadata.correlation_id, websocket is not None))

    server.register_message_handler(COMMAND, at_server)
    client.register_message_handler(MessageType.STATUS, handle_status)
    metadata = MessageMetadata(message_type=COMMAND)
    assert await client.send(5, metadata)
    assert (await received(server))[0] == 5
    assert (await received(client))[0] == {'answer': 5}
    assert at_client == [({'answer': 5}, metadata.message_id, True)]


async def test_a_slow_handler_holds_up_nothing(make_server: MakeServer,
                                               make_client: MakeClient) -> None:
    """Receiving goes on; the calls of one peer keep their order."""
    server = await make_server()
    client = await make_client(server.port)
    gate = asyncio.Event()
    handled: list[Any] = []

    async def slow(data: Any, metadata: MessageMetadata) -> None:
        await gate.wait()
        handled.append(data)

    server.register_message_handler(MessageType.DATA, slow)
    for number in range(5):
        assert await client.send(number)
    assert [(await received(server))[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert handled == []
    gate.set()
    await async_wait_until(lambda: handled == [0, 1, 2, 3, 4])


async def test_handlers_that_fail(make_server: MakeServer, make_client: MakeClient,
                                  caplog: pytest.LogCaptureFixture) -> None:
    """Logged and counted; the next call comes, also after a cancellation."""
    server = await make_server()
    client = await make_client(server.port)
    handled: list[Any] = []

    async def faulty(data: Any, metadata: MessageMetadata) -> None:
        if data == 'raise':
            raise RuntimeError('fault of the handler')
        if data == 'cancel':
            raise asyncio.CancelledError
        handled.append(data)

    server.register_message_handler(MessageType.DATA, faulty)
    for data in ('raise', 'cancel', 'fine'):
        await client.send(data)
    await async_wait_until(lambda: handled == ['fine'])
    assert 'fault of the handler' in caplog.text
    assert server.get_statistics()['errors'] == 1
    await server._call_handler(faulty, 'direct', MessageMetadata())
    assert handled == ['fine', 'direct']


async def test_a_handler_may_disconnect(make_server: MakeServer, make_client: MakeClient) -> None:
    """Without waiting for itself."""
    server = await make_server()
    client = await make_client(server.port)
    done = asyncio.Event()

    async def leave(data: Any, metadata: MessageMetadata) -> None:
        await client.disconnect()
        done.set()

    client.register_message_handler(MessageType.DATA, leave)
    await server.broadcast('go')
    await asyncio.wait_for(done.wait(), 5)
    assert client.get_connection_state() is ConnectionState.DISCONNECTED


async def test_disconnect_ends_handlers_that_run(make_server: MakeServer,
                                                 make_client: MakeClient) -> None:
    """And drops those that wait."""
    server = await make_server()
    client = await make_client(server.port)
    running = asyncio.Event()
    started: list[str] = []
    ended: list[str] = []

    async def endless(data: Any, metadata: MessageMetadata) -> None:
        started.append(data)
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(data)

    client.register_message_handler(MessageType.DATA, endless)
    await server.broadcast('first')
    await server.broadcast('second')
    await asyncio.wait_for(running.wait(), 5)
    await async_wait_until(lambda: client.get_statistics()['messages_received'] == 2)
    await client.disconnect()
    for _ in range(5):
        await asyncio.sleep(0)
    assert started == ended == ['first']


async def test_receive_when_there_is_nothing(make_server: MakeServer,
                                             make_client: MakeClient) -> None:
    """None after the timeout, and when the interface is closed meanwhile."""
    server = await make_server()
    client = await make_client(server.port)
    assert await client.receive(0.01) is None
    waiting = asyncio.create_task(client.receive())
    await asyncio.sleep(0)
    await client.disconnect()
    assert await asyncio.wait_for(waiting, 5) is None
    assert await client.receive() is None


async def test_what_was_received_outlives_the_connection(make_server: MakeServer,
                                                         make_client: MakeClient) -> None:
    """It can still be taken after disconnect."""
    server = await make_server()
    client = await make_client(server.port)
    await server.broadcast('last')
    await async_wait_until(lambda: client.get_statistics()['messages_received'])
    await client.disconnect()
    assert (await received(client))[0] == 'last'


async def test_send_to_client(make_server: MakeServer, make_client: MakeClient) -> None:
    """By websocket, link or peer id; nobody else gets it."""
    server = await make_server()
    first, second = await make_client(server.port), await make_client(server.port)
    await async_wait_until(lambda: len(server.get_connected_clients()) == 2)
    link = server.links[0]
    for client in (link, link.websocket, link.peer_id):
        assert await server.send_to_client(client, 'you')
        assert (await received(first))[0] == 'you'
    assert not await server.send_to_client('nobody', 'x')
    await first.disconnect()
    await async_wait_until(lambda: len(server.get_connected_clients()) == 1)
    assert not await server.send_to_client(link, 'gone')
    assert await second.receive(0) is None
    assert server.get_statistics()['errors'] == 2


async def test_broadcast_waits_for_no_slow_peer(make_server: MakeServer, make_client: MakeClient,
                                                bare: Bare) -> None:
    """The quick ones get everything while the slow one takes nothing."""
    options = ServerOptions(max_queue_bytes=4 * 2**20, close_timeout=0.2)
    server = await make_server(options=options, max_message_size=2**20)
    await bare(server.port)
    client = await make_client(server.port)
    await async_wait_until(lambda: len(server.links) == 2)
    payload = 'x' * 500_000
    for number in range(40):
        assert await server.broadcast([number, payload])
        assert (await received(client))[0][0] == number
    await async_wait_until(lambda: len(server.links) == 1, why='the slow one to be closed')


async def test_a_loop_around_send_loses_nothing(make_server: MakeServer,
                                                make_client: MakeClient) -> None:
    """A client that sends as fast as it can is slowed down, not closed."""
    server = await make_server(receive_buffer_size=2**30)
    client = await make_client(server.port)
    payload = 'x' * 20_000
    for number in range(2000):
        assert await client.send([number, payload])
    await async_wait_until(lambda: server.get_statistics()['messages_received'] == 2000)
    assert [(await received(server))[0][0] for _ in range(2000)] == list(range(2000))


async def test_bad_frames_are_answered(make_server: MakeServer, dial: Dial) -> None:
    """With an error message that says why; the peer stays."""
    server = await make_server()
    peer = await dial(server.port)
    for frame, code, field in (
            ('nonsense', 'bad_frame', None), ('{"op":"publish"}', 'bad_frame', None),
            ('{"metadata":{"priority":9}}', 'bad_field', 'metadata.priority')):
        await peer.send(frame)
        answer = json.loads(await asyncio.wait_for(peer.recv(), 5))
        assert answer['metadata']['message_type'] == 'error'
        assert (answer['data']['code'], answer['data']['field']) == (code, field)
        assert answer['data']['message']
    await peer.send('{"data":1}')
    assert (await received(server))[0] == 1
    assert server.get_statistics()['errors'] == 3


async def test_expired_messages_are_dropped(make_server: MakeServer,
                                            make_client: MakeClient) -> None:
    """By ttl and the sender's timestamp, and counted."""
    server = await make_server()
    client = await make_client(server.port)
    await client.send('old', MessageMetadata(timestamp=time.time() - 10, ttl=5))
    await client.send('new', MessageMetadata(timestamp=time.time() - 10, ttl=60))
    assert (await received(server))[0] == 'new'
    assert server.get_statistics()['expired_dropped'] == 1


async def test_states_of_a_client(make_server: MakeServer, make_client: MakeClient) -> None:
    """A lost connection never counts as CONNECTED, not even in the first failed send."""
    server = await make_server()
    client = await make_client(server.port, is_connected=False)
    assert client.get_connection_state() is ConnectionState.DISCONNECTED
    assert not await client.send('too early')
    assert await client.receive(1) is None
    connecting = asyncio.create_task(client.connect())
    await asyncio.sleep(0)
    assert client.get_connection_state() is ConnectionState.CONNECTING
    assert await connecting
    assert client.get_connection_state() is ConnectionState.CONNECTED
    assert await client.connect()
    assert client.get_statistics()['connections_established'] == 1
    client.links[0].websocket.transport.abort()
    await asyncio.sleep(0)
    assert not await client.send('lost')
    assert client.get_connection_state() is ConnectionState.RECONNECTING
    assert client.get_statistics()['errors'] == 2
    assert await client.disconnect()
    assert await client.disconnect()
    assert client.get_connection_state() is ConnectionState.DISCONNECTED


async def test_a_client_that_finds_no_server(make_client: MakeClient) -> None:
    """ERROR after its attempts, with the reason; connecting again is possible."""
    server = WebSocketServer(InterfaceConfig(endpoint='127.0.0.1:0'))
    assert await server.connect()
    port = server.port
    await server.disconnect()
    client = await make_client(port, retry_attempts=2, is_connected=False)
    waiting = None
    for _ in range(2):
        assert not await client.connect()
        assert client.get_connection_state() is ConnectionState.ERROR
        assert isinstance(client.last_error, ConnectFailed)
        assert str(port) in str(client.last_error)
        waiting = await client.receive(1)
    assert waiting is None
    assert not await client.send('x')


@pytest.mark.parametrize('listener', [None, Recorder()])
async def test_a_port_that_is_taken(make_server: MakeServer, listener: Recorder | None,
                                    caplog: pytest.LogCaptureFixture) -> None:
    """ERROR, with the reason, which is logged unless the owner of a listener says it."""
    server = await make_server()
    other = WebSocketServer(InterfaceConfig(endpoint=f'127.0.0.1:{server.port}'),
                            listener=listener)
    assert not await other.connect()
    assert other.get_connection_state() is ConnectionState.ERROR
    assert 'cannot listen on 127.0.0.1' in str(other.last_error)
    assert 'choose another port' in str(other.last_error)
    assert caplog.text.count('cannot listen') == (listener is None)
    assert not await other.send('x')
    assert await other.disconnect()


async def test_start_server_and_connect_to_server(interfaces: list[WebSocketInterface]) -> None:
    """They replace what the configuration says."""
    server = WebSocketServer(InterfaceConfig(endpoint='ws://unused:1'))
    client = WebSocketClient(InterfaceConfig())
    interfaces += [server, client]
    assert server.port == 0
    assert await server.start_server('127.0.0.1', 0)
    assert await client.connect_to_server(f'ws://127.0.0.1:{server.port}/path')
    await async_wait_until(lambda: server.links)
    assert server.links[0].path == '/path'
    with pytest.raises(ConfigError):
        await client.connect_to_server('http://x')
    await server.start_server()
    assert server.config.endpoint == 'ws://127.0.0.1:0'


@pytest.mark.parametrize('settings', [{'mode': 'server'}, {'is_server': True}])
async def test_a_plain_interface_has_both_modes(interfaces: list[WebSocketInterface],
                                                settings: dict[str, Any]) -> None:
    """By custom setting; a new configuration may change it."""
    server = WebSocketInterface(InterfaceConfig(endpoint='127.0.0.1:0', custom_settings=settings))
    interfaces.append(server)
    assert await server.connect()
    port = server._listening.port if server._listening is not None else 0
    client = WebSocketInterface(InterfaceConfig(endpoint='unused'))
    interfaces.append(client)
    assert await client.connect(InterfaceConfig(endpoint=f'127.0.0.1:{port}'))
    assert await client.send('hello')
    assert (await received(server))[0] == 'hello'
    assert server.get_statistics()['is_server']
    assert not client.get_statistics()['is_server']
    assert await client.connect(InterfaceConfig(
        endpoint='127.0.0.1:0', custom_settings={'mode': 'server'}))
    assert client.get_statistics()['is_server']


async def test_statistics_are_a_copy(make_server: MakeServer, make_client: MakeClient) -> None:
    """With the seed's keys; changing them changes nothing; past connections count."""
    server = await make_server()
    client = await make_client(server.port)
    await client.send('x')
    await received(server)
    statistics = server.get_statistics()
    assert statistics.keys() >= STATISTICS
    assert (statistics['connection_state'], statistics['connected_clients']) == ('connected', 1)
    assert abs(statistics['last_activity'] - time.time()) < 60
    statistics.clear()
    assert server.get_statistics()['messages_received'] == 1
    await client.disconnect()
    await async_wait_until(lambda: server.get_statistics()['connections_lost'] == 1)
    after = server.get_statistics()
    assert (after['messages_received'], after['connections_established'],
            after['connected_clients']) == (1, 1, 0)


async def test_inner_methods(make_client: MakeClient) -> None:
    """Those of the seed that do not need a connection."""
    client = await make_client(1, is_connected=False)
    assert client._parse_endpoint('ws://robot:9090/x') == ('robot', 9090)
    assert client._parse_endpoint('robot') == ('robot', 8080)
    with pytest.raises(ConfigError):
        client._parse_endpoint('')
    data, metadata = client._deserialize_message('{"metadata":{"message_id":"a"},"data":[1]}')
    assert (data, metadata.message_id) == ([1], 'a')
    with pytest.raises(BadFrame):
        client._deserialize_message('nonsense')


async def test_a_subclass_may_override_the_inner_methods(
        interfaces: list[WebSocketInterface], dial: Dial) -> None:
    """They are what the loops use."""
    class Shouting(WebSocketServer):

        def _deserialize_message(self, message_json: str | bytes) -> tuple[Any, MessageMetadata]:
            return str(message_json).upper(), MessageMetadata()

    server = Shouting(InterfaceConfig(endpoint='127.0.0.1:0'))
    interfaces.append(server)
    await server.connect()
    await (await dial(server.port)).send('not json')
    assert (await received(server))[0] == 'NOT JSON'


async def test_a_send_that_a_peer_does_not_take(make_server: MakeServer, bare: Bare) -> None:
    """False after the timeout, confirmed or not."""
    for confirmation in (False, True):
        server = await make_server(timeout=0.1, delivery_confirmation=confirmation,
                                   max_message_size=2**30,
                                   options=ServerOptions(close_timeout=0.1))
        await bare(server.port)
        await async_wait_until(lambda: server.links)        # noqa: B023 - awaited in the loop
        await server.broadcast(bytes(10 * 2**20))
        assert not await server.send_to_client(server.links[0], 'x')


async def test_connect_can_be_cancelled(make_client: MakeClient) -> None:
    """And leaves nothing behind."""
    client = await make_client(1, endpoint='127.0.0.1:1', retry_attempts=0, is_connected=False)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.connect(), 0.1)
    assert client.get_connection_state() is ConnectionState.DISCONNECTED


def test_under_plain_asyncio_run() -> None:
    """An interface may be made outside a loop and used in one after the other."""
    server = WebSocketServer(InterfaceConfig(endpoint='127.0.0.1:0'))
    client = WebSocketClient(InterfaceConfig())

    async def main() -> Any:
        assert await server.connect()
        assert await client.connect_to_server(f'127.0.0.1:{server.port}')
        await client.send('hello')
        message = await server.receive(5)
        await client.disconnect()
        await server.disconnect()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return message and message[0]

    assert [asyncio.run(main()), asyncio.run(main())] == ['hello', 'hello']
