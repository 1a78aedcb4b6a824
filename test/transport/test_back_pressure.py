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
"""Handlers that are slower than what comes: nothing is lost, and nothing lives on without end."""
from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.transport_support import Bare, MakeClient, MakeServer

from ws_bridge import ConnectionState, LivenessState, MessageMetadata, MessageType, WebSocketServer
from ws_bridge.transport.options import ClientOptions, ServerOptions

COUNT = 5000
TEXT = 'x' * 500        # 0.7 kB with its metadata
SMALL = 8192            # the seed's own receive_buffer_size


class Collector:
    """A handler that remembers what it got, and waits for a gate first."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.gate = asyncio.Event()

    async def handle(self, data: Any, metadata: MessageMetadata) -> None:
        """Take one message."""
        await self.gate.wait()
        self.got.append(data)


def watch_queue(server: WebSocketServer) -> int:
    """Return how many bytes wait for the handlers of the first peer."""
    return next(iter(server._conversation._peers.values())).nbytes


@pytest.mark.parametrize('size', [SMALL, 2**20])
@pytest.mark.parametrize('to_server', [True, False])
async def test_a_burst_reaches_every_handler(make_server: MakeServer, make_client: MakeClient,
                                             size: int, to_server: bool) -> None:
    """In order, both ways, though the handler lets others run at each."""
    server = await make_server(receive_buffer_size=size)
    client = await make_client(server.port, receive_buffer_size=size)
    await async_wait_until(lambda: server.links)
    sender, taker = (client, server) if to_server else (server, client)
    collector = Collector()
    collector.gate.set()
    plain: list[Any] = []

    async def handle(data: Any, metadata: MessageMetadata) -> None:
        await asyncio.sleep(0)
        await collector.handle(data, metadata)

    taker.register_message_handler(MessageType.DATA, handle)
    taker.register_message_handler(MessageType.STATUS, lambda data, _: plain.append(data))
    status = MessageMetadata(message_type=MessageType.STATUS)
    for number in range(COUNT):
        assert await sender.send([number, TEXT])
        if not number % 10:
            assert await sender.send(number, status)
    await async_wait_until(lambda: len(collector.got) == COUNT, 60,
                           lambda: f'{len(collector.got)} of {COUNT}')
    assert [number for number, _ in collector.got] == list(range(COUNT))
    await async_wait_until(lambda: plain == list(range(0, COUNT, 10)))
    assert taker.get_statistics()['messages_dropped'] == 0
    assert taker.get_connection_state() is ConnectionState.CONNECTED


async def test_a_stuck_handler_stops_the_reader(make_server: MakeServer,
                                                make_client: MakeClient) -> None:
    """What waits is bounded, on both sides; when the handler goes on, all of it arrives."""
    server = await make_server(receive_buffer_size=SMALL)
    options = ClientOptions(max_queue_bytes=2**20)
    client = await make_client(server.port, timeout=0.5, options=options)
    collector = Collector()
    server.register_message_handler(MessageType.DATA, collector.handle)
    payload = 'y' * 100_000
    sent = 0
    while await client.send([sent, payload]):
        sent += 1
        assert sent < 1000, 'the sender was never slowed down'
    assert server.links[0].is_paused
    assert watch_queue(server) < SMALL + 2 * len(payload)
    assert server.get_statistics()['messages_received'] < sent
    collector.gate.set()
    # The one that timed out waits in the client's queue and arrives as well.
    await async_wait_until(lambda: len(collector.got) == sent + 1, 30)
    assert not server.links[0].is_paused
    assert [number for number, _ in collector.got] == list(range(sent + 1))
    assert server.get_statistics()['messages_dropped'] == 0


async def test_other_peers_and_receive_go_on(make_server: MakeServer,
                                             make_client: MakeClient) -> None:
    """Only the connection whose handler is stuck waits."""
    server = await make_server(receive_buffer_size=SMALL)
    stuck, quick = await make_client(server.port), await make_client(server.port)
    gate = asyncio.Event()
    got: list[Any] = []

    async def handle(data: Any, metadata: MessageMetadata) -> None:
        if data == TEXT:
            await gate.wait()
        got.append(data)

    server.register_message_handler(MessageType.DATA, handle)
    for _ in range(100):
        assert await stuck.send(TEXT)
    await async_wait_until(lambda: any(link.is_paused for link in server.links))
    assert await quick.send('through')
    await async_wait_until(lambda: got == ['through'])
    gate.set()
    await async_wait_until(lambda: len(got) == 101)


@pytest.mark.parametrize('way', ['disconnect', 'handler disconnects', 'peer leaves'])
async def test_a_held_connection_ends(make_server: MakeServer, make_client: MakeClient,
                                      way: str) -> None:
    """Whoever ends it; what no handler got is counted."""
    server = await make_server(receive_buffer_size=SMALL,
                               options=ServerOptions(close_timeout=0.5))
    client = await make_client(server.port, options=ClientOptions(close_timeout=0.2))
    done = asyncio.Event()
    go = asyncio.Event()

    async def handle(data: Any, metadata: MessageMetadata) -> None:
        await go.wait()
        if way == 'handler disconnects':
            await server.disconnect()
            done.set()

    server.register_message_handler(MessageType.DATA, handle)
    for number in range(100):
        assert await client.send([number, TEXT])
    await async_wait_until(lambda: server.links[0].is_paused)
    waiting = len(server._conversation._peers[server.links[0]].jobs)
    if way == 'peer leaves':
        await client.disconnect()
        go.set()
        await async_wait_until(lambda: server.get_statistics()['connections_lost'] == 1)
        assert server.get_statistics()['messages_dropped'] == 0
        return
    if way == 'disconnect':
        await server.disconnect()
    else:
        go.set()
        await asyncio.wait_for(done.wait(), 5)
    assert server.get_statistics()['messages_dropped'] == waiting
    assert server.links == []


async def test_what_is_dropped_is_counted_once(make_server: MakeServer,
                                               make_client: MakeClient) -> None:
    """A message that a handler got was not dropped, though nobody received it too."""
    server = await make_server(receive_buffer_size=SMALL)
    client = await make_client(server.port)
    got: list[Any] = []
    server.register_message_handler(MessageType.STATUS, lambda data, _: got.append(data))
    for kind in (MessageType.STATUS, MessageType.DATA):
        for number in range(100):
            assert await client.send([number, TEXT], MessageMetadata(message_type=kind))
    await async_wait_until(lambda: server.get_statistics()['messages_received'] == 200)
    await async_wait_until(lambda: len(got) == 100)
    left = 0
    while await server.receive(0) is not None:
        left += 1
    assert server.get_statistics()['messages_dropped'] == 100 - left > 0


async def test_silence_is_not_judged_while_nobody_listens(
        make_server: MakeServer, make_client: MakeClient) -> None:
    """Who does not read cannot say that the other end is silent."""
    server = await make_server(receive_buffer_size=SMALL, settings={
        'heartbeat_interval': 0.02, 'heartbeat_timeout': 0.1})
    client = await make_client(server.port, settings={'heartbeat_interval': 0.02,
                                                      'heartbeat_timeout': 60})
    told: list[LivenessState] = []
    server.register_heartbeat_callback(lambda state, websocket: told.append(state))
    await async_wait_until(lambda: server.get_statistics()['heartbeats_received'] >= 2)
    collector = Collector()
    server.register_message_handler(MessageType.DATA, collector.handle)
    for number in range(100):
        assert await client.send([number, TEXT])
    await async_wait_until(lambda: server.links[0].is_paused)
    told.clear()
    beats = client.get_statistics()['heartbeats_received']
    await async_wait_until(
        lambda: client.get_statistics()['heartbeats_received'] >= beats + 20)
    collector.gate.set()
    await async_wait_until(lambda: len(collector.got) == 100)
    assert LivenessState.LOST not in told
    assert server.get_statistics()['connections_lost'] == 0


async def test_pings_are_not_judged_while_nobody_reads(make_server: MakeServer,
                                                       make_client: MakeClient) -> None:
    """A handler may be slower than a ping may be; both ends know that the other one lives."""
    quick = {'ping_interval': 0.05, 'ping_timeout': 0.2}
    server = await make_server(receive_buffer_size=SMALL, options=ServerOptions(**quick))
    client = await make_client(server.port, options=ClientOptions(**quick))
    collector = Collector()
    server.register_message_handler(MessageType.DATA, collector.handle)
    payload = 'y' * 100_000
    for number in range(60):        # more than what the system's own buffers hold
        assert client.links[0].send(client._conversation.encode([number, payload],
                                                                MessageMetadata()))
    await async_wait_until(lambda: server.links[0].is_paused)
    beats = client.get_statistics()['heartbeats_received']
    # Each is sent when half a ping's time is over.
    await async_wait_until(
        lambda: client.get_statistics()['heartbeats_received'] >= beats + 10)
    collector.gate.set()
    await async_wait_until(lambda: len(collector.got) == 60)
    for interface in (server, client):
        assert interface.get_statistics()['connections_lost'] == 0


async def test_a_peer_that_is_gone_is_not_kept_by_a_stuck_handler(
        make_server: MakeServer, make_client: MakeClient) -> None:
    """The connection counts no longer, though the handler never ends."""
    server = await make_server(receive_buffer_size=SMALL, options=ServerOptions(
        ping_interval=0.05, ping_timeout=0.2))
    client = await make_client(server.port)
    collector = Collector()
    server.register_message_handler(MessageType.DATA, collector.handle)
    for number in range(15):
        assert await client.send([number, TEXT])
    await async_wait_until(lambda: server.links[0].is_paused)
    client.links[0].websocket.transport.abort()
    await async_wait_until(lambda: server.get_statistics()['connections_lost'] == 1)
    assert collector.got == []
    await client.disconnect()


@pytest.mark.parametrize('heartbeat_interval', [0, 30])
async def test_who_answers_no_ping_is_cut(make_server: MakeServer, bare: Bare,
                                          heartbeat_interval: float) -> None:
    """With heartbeats and without; the library no longer does it."""
    server = await make_server(settings={'heartbeat_interval': heartbeat_interval},
                               options=ServerOptions(ping_interval=0.02, ping_timeout=0.1))
    await bare(server.port)
    await async_wait_until(lambda: server.get_statistics()['connections_lost'] == 1)
