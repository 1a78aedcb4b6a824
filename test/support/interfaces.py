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
"""Fixtures: servers and clients of the standalone API, and plain ones, closed after each test."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import make_authority, make_certificate, Pair
from support.transport_support import Bare, BarePeer, Dial, MakeClient, MakeServer, Recorder
from websockets.asyncio.client import ClientConnection, connect

from ws_bridge import InterfaceConfig, WebSocketClient, WebSocketInterface, WebSocketServer
from ws_bridge.transport.options import ClientOptions, ServerOptions


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the plain clients away from a proxy that the environment may name."""
    monkeypatch.setenv('no_proxy', '*')


@pytest.fixture
async def interfaces() -> AsyncIterator[list[WebSocketInterface]]:
    """Disconnect what a test put here, last first, and see that no task is left."""
    before = asyncio.all_tasks()
    opened: list[WebSocketInterface] = []
    yield opened
    for interface in reversed(opened):
        assert await interface.disconnect()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        # Tasks that were told to end a moment ago may need one more round of the loop.
        await asyncio.wait(left, timeout=1.0)
    assert not [task for task in left if not task.done()]


@pytest.fixture
def make_server(interfaces: list[WebSocketInterface]) -> MakeServer:
    """Give a function that starts a server on a free port."""
    async def make(*, listener: Recorder | None = None, options: ServerOptions | None = None,
                   settings: dict[str, Any] | None = None, **config: Any) -> WebSocketServer:
        config.setdefault('endpoint', '127.0.0.1:0')
        server = WebSocketServer(
            InterfaceConfig(name='server', custom_settings=settings or {}, **config),
            listener=listener, options=options)
        interfaces.append(server)
        assert await server.connect(), server.last_error
        return server
    return make


@pytest.fixture
def make_client(interfaces: list[WebSocketInterface]) -> MakeClient:
    """Give a function that makes a client of a port, and connects it unless told not to."""
    async def make(port: int, *, listener: Recorder | None = None, is_connected: bool = True,
                   options: ClientOptions | None = None, settings: dict[str, Any] | None = None,
                   **config: Any) -> WebSocketClient:
        config.setdefault('endpoint', f'127.0.0.1:{port}')
        config.setdefault('retry_delay', 0.02)
        client = WebSocketClient(
            InterfaceConfig(name='client', custom_settings=settings or {}, **config),
            listener=listener, options=options)
        interfaces.append(client)
        if is_connected:
            assert await client.connect(), client.last_error
        return client
    return make


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Give a function that connects a plain ``websockets`` client to a port."""
    opened: list[ClientConnection] = []

    async def make(port: int, path: str = '/', **options: Any) -> ClientConnection:
        websocket = await connect(f'ws://127.0.0.1:{port}{path}', **options)
        opened.append(websocket)
        return websocket
    yield make
    for websocket in opened:
        websocket.transport.abort()
        await websocket.wait_closed()


@pytest.fixture
def bare() -> Iterator[Bare]:
    """Give a function that connects a peer which neither reads nor answers."""
    opened: list[BarePeer] = []

    async def make(port: int) -> BarePeer:
        opened.append(BarePeer(port))
        return await opened[-1].shake_hands()
    yield make
    for peer in opened:
        peer.close()


@pytest.fixture(scope='session')
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Give an authority, a server's and a client's certificate of it, and a stranger's."""
    folder: Path = tmp_path_factory.mktemp('certificates')
    ours, strange = make_authority(folder, 'ours'), make_authority(folder, 'strange')
    return {'authority': ours, 'server': make_certificate(folder, 'server', ours),
            'client': make_certificate(folder, 'client', ours), 'strange authority': strange,
            'stranger': make_certificate(folder, 'stranger', strange)}
