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
"""Shutdown before, during and after: peers are told, the port is free, nothing is left."""
from __future__ import annotations

import asyncio
import contextlib
import gc
import socket

import pytest
from support.certificates import Pair
from support.helpers import async_wait_until
from support.transport_support import Bare, Dial, MakeServer, Recorder

from ws_bridge import InterfaceConfig, WebSocketServer
from ws_bridge.transport.options import ServerOptions


async def test_peers_are_told(make_server: MakeServer, dial: Dial) -> None:
    """With 1001; the listener hears of each end."""
    recorder = Recorder()
    server = await make_server(listener=recorder)
    peers = [await dial(server.port) for _ in range(3)]
    await async_wait_until(lambda: len(recorder.links) == 3)
    await server.disconnect()
    assert recorder.ends == [(1001, 'shutting down')] * 3
    for peer in peers:
        await peer.wait_closed()
        assert (peer.close_code, peer.close_reason) == (1001, 'shutting down')


async def test_bounded_whatever_the_peers_do(make_server: MakeServer, bare: Bare,
                                             dial: Dial) -> None:
    """Peers that take nothing, answer nothing, or never finished their handshake."""
    recorder = Recorder()
    server = await make_server(listener=recorder, options=ServerOptions(close_timeout=0.2),
                               max_message_size=2**30)
    port = server.port
    await bare(port)
    await bare(port)
    await dial(port)
    await async_wait_until(lambda: len(recorder.links) == 3)
    for link in recorder.links:
        link.send(bytes(10 * 2**20), text=False)
        link.send('queued')
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'GET / HTTP/1.1\r\n')
    await asyncio.wait_for(server.disconnect(), 2)
    assert recorder.links == []
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 2) == b''
    writer.close()
    await asyncio.wait((asyncio.ensure_future(writer.wait_closed()),))


async def test_the_port_is_free_at_once(make_server: MakeServer, dial: Dial) -> None:
    """For the next server."""
    server = await make_server()
    port = server.port
    for _ in range(3):
        await dial(port)
        await server.disconnect()
        server = await make_server(endpoint=f'127.0.0.1:{port}')


async def test_while_peers_connect(make_server: MakeServer, dial: Dial) -> None:
    """Those on their way are refused or told; none is served afterwards."""
    recorder = Recorder()
    server = await make_server(listener=recorder)
    dialling = [asyncio.create_task(dial(server.port)) for _ in range(20)]
    await async_wait_until(lambda: recorder.links)
    await asyncio.wait_for(server.disconnect(), 3)
    await asyncio.wait(dialling)
    assert recorder.links == []
    for task in dialling:
        if task.exception() is None:
            peer = task.result()
            await asyncio.wait_for(peer.wait_closed(), 2)
            assert peer.close_code in (1001, 1006)


@pytest.mark.parametrize('rounds', range(8))
async def test_at_the_very_moment(make_server: MakeServer, rounds: int) -> None:
    """Whoever comes so many rounds of the loop before the end sees it, and leaves nothing."""
    server = await make_server(options=ServerOptions(close_timeout=0.2))
    port = server.port
    for _ in range(5):
        peers = [socket.create_connection(('127.0.0.1', port)) for _ in range(3)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        await asyncio.wait_for(server.disconnect(), 2)
        for peer in peers:
            peer.settimeout(0.1)
            with contextlib.suppress(ConnectionError):
                assert peer.recv(1) == b''
            peer.close()
        gc.collect()                            # a transport that nobody closed warns
        server = await make_server(options=ServerOptions(close_timeout=0.2))
        port = server.port


async def test_an_unfinished_tls_handshake(make_server: MakeServer,
                                           certificates: dict[str, Pair]) -> None:
    """Does not hold the shutdown up."""
    pair = certificates['server']
    server = await make_server(security_level='encrypted', ssl_cert_path=pair.cert,
                               ssl_key_path=pair.key, timeout=3.0,
                               options=ServerOptions(close_timeout=0.1))
    _, writer = await asyncio.open_connection('127.0.0.1', server.port)
    writer.write(b'\x16\x03\x01')
    await asyncio.sleep(0)
    await asyncio.wait_for(server.disconnect(), 2)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_before_start_and_twice() -> None:
    """Nothing to do is fine."""
    server = WebSocketServer(InterfaceConfig(endpoint='127.0.0.1:0'))
    assert await server.disconnect()
    assert await server.connect()
    assert all(await asyncio.gather(server.disconnect(), server.disconnect()))
    assert await server.disconnect()
