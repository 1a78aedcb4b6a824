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
"""A client that loses its server comes back, with growing, jittered pauses."""
from __future__ import annotations

import asyncio
import logging

import pytest
from support.helpers import async_wait_until
from support.transport_support import MakeClient, MakeServer, Recorder
from websockets.asyncio.server import serve, ServerConnection

from ws_bridge import ConnectionState, InterfaceConfig
from ws_bridge.transport.dialling import pause
from ws_bridge.transport.options import ClientOptions
from ws_bridge.transport.settings import check_config


def test_pauses_double_with_jitter_up_to_a_limit() -> None:
    """Between half of the nominal pause and all of it."""
    settings = check_config(InterfaceConfig(retry_delay=0.5), is_server=False)
    options = ClientOptions(max_retry_delay=10)
    for failures, nominal in ((0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (6, 10.0), (10**6, 10.0)):
        pauses = [pause(failures, settings, options) for _ in range(200)]
        assert nominal / 2 <= min(pauses) < max(pauses) <= nominal
        assert max(pauses) - min(pauses) > nominal / 4
    slow = check_config(InterfaceConfig(retry_delay=60), is_server=False)
    assert pause(5, slow, options) >= 30


async def test_through_a_restarted_server(make_server: MakeServer,
                                          make_client: MakeClient) -> None:
    """RECONNECTING while it is away; messages flow again afterwards, to the same handlers."""
    server = await make_server()
    port = server.port
    client = await make_client(port, retry_attempts=0)
    waiting = asyncio.create_task(client.receive())
    await server.disconnect()
    await async_wait_until(
        lambda: client.get_connection_state() is ConnectionState.RECONNECTING)
    assert not await client.send('lost')
    again = await make_server(endpoint=f'127.0.0.1:{port}')
    await async_wait_until(lambda: client.get_connection_state() is ConnectionState.CONNECTED)
    assert await client.send('hello')
    message = await again.receive(5)
    assert message is not None
    assert message[0] == 'hello'
    await again.broadcast('welcome')
    answer = await asyncio.wait_for(waiting, 5)
    assert answer is not None
    assert answer[0] == 'welcome'
    assert client.get_statistics()['connections_lost'] == 1


async def test_attempts_are_counted_anew_after_each_loss(
        make_server: MakeServer, make_client: MakeClient,
        caplog: pytest.LogCaptureFixture) -> None:
    """Then ERROR, and whoever waits is let go."""
    caplog.set_level(logging.INFO, logger='ws_bridge')
    server = await make_server()
    client = await make_client(server.port, retry_attempts=3)
    waiting = asyncio.create_task(client.receive())
    await server.disconnect()
    await async_wait_until(lambda: client.get_connection_state() is ConnectionState.ERROR)
    assert await asyncio.wait_for(waiting, 5) is None
    assert client.last_error is not None
    assert sum('attempt' in record.message for record in caplog.records) == 3


async def test_zero_attempts_is_for_ever(make_server: MakeServer,
                                         make_client: MakeClient) -> None:
    """``connect`` waits for a server that is not there yet."""
    server = await make_server()
    port = server.port
    await server.disconnect()
    client = await make_client(port, retry_attempts=0, is_connected=False)
    connecting = asyncio.create_task(client.connect())
    await async_wait_until(lambda: client.last_error is not None)
    assert not connecting.done()
    await make_server(endpoint=f'127.0.0.1:{port}')
    assert await asyncio.wait_for(connecting, 5)


async def test_disconnect_ends_the_attempts(make_client: MakeClient) -> None:
    """``connect`` then says no."""
    client = await make_client(1, endpoint='127.0.0.1:1', retry_attempts=0, retry_delay=100,
                               is_connected=False)
    connecting = asyncio.create_task(client.connect())
    await async_wait_until(lambda: client.last_error is not None)
    await client.disconnect()
    assert not await asyncio.wait_for(connecting, 5)
    assert client.get_connection_state() is ConnectionState.DISCONNECTED


async def test_a_server_that_drops_at_once_is_not_stormed(make_client: MakeClient) -> None:
    """A connection that lasts no longer than the pause lets the pause grow."""
    times = []

    async def drop(websocket: ServerConnection) -> None:
        times.append(asyncio.get_running_loop().time())
        websocket.transport.abort()

    async with serve(drop, '127.0.0.1', 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = await make_client(port, retry_attempts=0, retry_delay=0.04)
        await async_wait_until(lambda: len(times) == 5)
        await client.disconnect()
    assert times[4] - times[3] > 0.08 > 0.02 <= times[1] - times[0]


async def test_dial_out_with_a_listener(make_server: MakeServer, make_client: MakeClient) -> None:
    """The bridge's way: each connection is opened and closed at the same listener."""
    far, near = Recorder(), Recorder()
    server = await make_server(listener=far)
    port = server.port
    client = await make_client(port, listener=near, retry_attempts=0,
                               options=ClientOptions(subprotocols=('ws_bridge.v1',)))
    first = await near.link()
    assert (first.dialled, first.remote) == (True, f'127.0.0.1:{port}')
    first.send(b'{"op":1}')
    await async_wait_until(lambda: far.frames == ['{"op":1}'])
    await server.disconnect()
    assert await near.end() == (1001, 'shutting down')
    again = await make_server(listener=far, endpoint=f'127.0.0.1:{port}')
    second = await near.link()
    assert second.peer_id != first.peer_id
    await client.disconnect()
    assert near.ends == [(1001, 'shutting down'), (1000, '')]
    await async_wait_until(lambda: len(far.ends) == 2)
    assert far.ends[1] == (1000, '')
    assert again.links == []
