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
"""Our ends against the seed's, on the wire, in both directions."""
from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.seed_peer import envelope, SeedClient, SeedServer, TYPES
from support.transport_support import MakeClient, MakeServer

from ws_bridge import MessageMetadata, MessageType, Priority


@pytest.mark.parametrize('message_type', TYPES)
async def test_our_server_understands_a_seed_client(make_server: MakeServer,
                                                    message_type: str) -> None:
    """Every type, with its metadata."""
    server = await make_server()
    got: list[tuple[Any, MessageMetadata]] = []
    server.register_message_handler(
        MessageType(message_type), lambda data, metadata: got.append((data, metadata)))
    async with SeedClient(f'ws://127.0.0.1:{server.port}') as peer:
        message_id = await peer.send({'type': 'heartbeat', 'x': 1}, message_type,
                                     destination='/cmd_vel')
        await async_wait_until(lambda: got)
    data, metadata = got[0]
    assert data == {'type': 'heartbeat', 'x': 1}
    assert (metadata.message_id, metadata.message_type.value, metadata.source,
            metadata.destination, metadata.priority) == (
        message_id, message_type, 'seed', '/cmd_vel', Priority.NORMAL)


async def test_a_seed_client_understands_our_server(make_server: MakeServer) -> None:
    """Everything that the seed looks up is there and of the right kind."""
    server = await make_server()
    async with SeedClient(f'ws://127.0.0.1:{server.port}') as peer:
        await async_wait_until(lambda: server.links)
        await server.broadcast({'a': [1, 2]}, MessageMetadata(
            message_type=MessageType.STATUS, priority=Priority.CRITICAL, ttl=5.0))
        message = await peer.receive()
        assert message['data'] == {'a': [1, 2]}
        assert (message['metadata']['message_type'], message['metadata']['priority'],
                message['metadata']['source']) == ('status', 4, 'server')
        await server.broadcast(b'\x00\xff')
        assert await peer.receive() == b'\x00\xff'


async def test_our_client_with_a_seed_server(make_client: MakeClient) -> None:
    """Both ways, text and bytes."""
    async with SeedServer() as server:
        client = await make_client(server.port)
        assert await client.send({'go': True}, MessageMetadata(message_type=MessageType.COMMAND))
        message = await server.receive()
        assert (message['data'], message['metadata']['message_type']) == ({'go': True}, 'command')
        assert await client.send(b'bytes')
        assert await server.receive() == b'bytes'
        await server.send([1, 'two'])
        await server.send_raw(b'raw')
        first, second = await client.receive(5), await client.receive(5)
        assert first is not None
        assert second is not None
        assert (first[0], second[0]) == ([1, 'two'], b'raw')
        await client.disconnect()


async def test_a_request_and_its_answer(make_server: MakeServer) -> None:
    """As a seed program correlates them."""
    server = await make_server()

    async def answer(data: Any, metadata: MessageMetadata, websocket: Any) -> None:
        await server.send_to_client(websocket, {'sum': sum(data)}, MessageMetadata(
            message_type=MessageType.ACKNOWLEDGMENT, correlation_id=metadata.message_id,
            destination=metadata.source))

    server.register_message_handler(MessageType.COMMAND, answer)
    async with SeedClient(f'ws://127.0.0.1:{server.port}') as peer:
        ids = [await peer.send([number, 1], 'command') for number in range(20)]
        answers = [await peer.receive() for _ in ids]
    assert [each['metadata']['correlation_id'] for each in answers] == ids
    assert [each['data']['sum'] for each in answers] == list(range(1, 21))


async def test_what_a_seed_peer_gets_wrong_is_told_to_it(make_server: MakeServer) -> None:
    """In its own words: an envelope of type error."""
    server = await make_server()
    async with SeedClient(f'ws://127.0.0.1:{server.port}') as peer:
        await peer.send_raw('{"metadata": {"message_type": 7}, "data": 1}')
        message = await peer.receive()
        assert message['metadata']['message_type'] == 'error'
        assert message['data']['field'] == 'metadata.message_type'


async def test_many_seed_clients_at_once(make_server: MakeServer) -> None:
    """Each gets the broadcast, and each of its own messages arrives."""
    server = await make_server()
    async with SeedClient(f'ws://127.0.0.1:{server.port}', 'a') as one, \
            SeedClient(f'ws://127.0.0.1:{server.port}', 'b') as two:
        await async_wait_until(lambda: len(server.links) == 2)
        await asyncio.gather(*(peer.send(number) for number in range(20) for peer in (one, two)))
        got = [await server.receive(5) for _ in range(40)]
        by_source: dict[str, list[Any]] = {'a': [], 'b': []}
        for message in got:
            assert message is not None
            by_source[message[1].source].append(message[0])
        assert by_source == {'a': list(range(20)), 'b': list(range(20))}
        await server.broadcast('all')
        assert [(await peer.receive())['data'] for peer in (one, two)] == ['all', 'all']


def test_the_copy_is_the_seed() -> None:
    """The keys of the wire format, in the seed's order."""
    message = envelope(1, None, 'data', 'me')
    assert list(message) == ['metadata', 'data']
    assert list(message['metadata']) == [
        'message_id', 'timestamp', 'message_type', 'priority', 'source', 'destination',
        'correlation_id']
