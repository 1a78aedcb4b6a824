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
How a program written after the seed behaves on the wire, with plain ``websockets`` and ``json``.

Small, and independent of our code on purpose: the tests hold both ends against each other.
"""
from __future__ import annotations

import asyncio
import itertools
import json
import time
from types import TracebackType
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import serve

KEYS = ('message_id', 'timestamp', 'message_type', 'priority', 'source', 'destination',
        'correlation_id')
PRIORITIES = (1, 2, 3, 4)
TYPES = ('command', 'data', 'status', 'error', 'heartbeat', 'acknowledgment', 'configuration')


def envelope(number: int, data: Any, message_type: str, source: str,
             **metadata: Any) -> dict[str, Any]:
    """Return what the seed puts on the wire."""
    fields = dict.fromkeys(KEYS)
    fields.update(message_id=f'{source}_{number}', timestamp=time.time(), priority=2,
                  message_type=message_type, source=source, **metadata)
    return {'metadata': fields, 'data': data}


def check(frame: str) -> dict[str, Any]:
    """Read an envelope as the seed does: every key is looked up, every kind relied on."""
    message: dict[str, Any] = json.loads(frame)
    metadata = message['metadata']
    for key in KEYS:
        assert key in metadata, f'{key} is missing'
    assert metadata['message_type'] in TYPES
    assert metadata['priority'] in PRIORITIES
    assert isinstance(metadata['message_id'], str)
    assert isinstance(metadata['timestamp'], float)
    assert isinstance(metadata['source'], str)
    if metadata['message_type'] == 'heartbeat':
        assert message['data']['type'] == 'heartbeat'
        assert isinstance(message['data']['timestamp'], float)
    assert 'data' in message
    return message


class SeedPeer:
    """
    One end of the seed's protocol.

    :param beat: s between heartbeats; ``None`` = none are sent.
    """

    def __init__(self, name: str = 'seed', beat: float | None = None) -> None:
        self.name = name
        self.beat = beat
        self.messages: asyncio.Queue[dict[str, Any] | bytes] = asyncio.Queue()
        self.heartbeats = 0
        self.peers: list[Connection] = []
        self._numbers = itertools.count()

    async def send(self, data: Any, message_type: str = 'data', **metadata: Any) -> str:
        """Send one envelope to every peer, one after the other; return its id."""
        message = envelope(next(self._numbers), data, message_type, self.name, **metadata)
        for peer in self.peers:
            await peer.send(json.dumps(message))
        return str(message['metadata']['message_id'])

    async def send_raw(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        for peer in self.peers:
            await peer.send(frame)

    async def receive(self, timeout: float = 5.0) -> Any:
        """Return the next message that is no heartbeat."""
        return await asyncio.wait_for(self.messages.get(), timeout)

    async def serve_peer(self, websocket: Connection) -> None:
        """Read one connection to its end."""
        self.peers.append(websocket)
        beats = asyncio.create_task(self._heartbeats()) if self.beat else None
        try:
            async for frame in websocket:
                self._take(frame)
        finally:
            self.peers.remove(websocket)
            if beats is not None:
                beats.cancel()

    def _take(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self.messages.put_nowait(frame)
            return
        message = check(frame)
        if message['metadata']['message_type'] == 'heartbeat':
            self.heartbeats += 1
        else:
            self.messages.put_nowait(message)

    async def _heartbeats(self) -> None:
        while self.beat:
            await self.send({'type': 'heartbeat', 'timestamp': time.time()}, 'heartbeat')
            await asyncio.sleep(self.beat)


class SeedServer(SeedPeer):
    """A context manager: listens, on :attr:`port`."""

    async def __aenter__(self) -> SeedServer:
        self._server = await serve(self.serve_peer, '127.0.0.1', 0)
        self.port = int(next(iter(self._server.sockets)).getsockname()[1])
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                        trace: TracebackType | None) -> None:
        self._server.close()
        await self._server.wait_closed()


class SeedClient(SeedPeer):
    """A context manager: connected to ``url``."""

    def __init__(self, url: str, name: str = 'seed', beat: float | None = None) -> None:
        super().__init__(name, beat)
        self._url = url

    async def __aenter__(self) -> SeedClient:
        self._websocket = await connect(self._url)
        self._reader = asyncio.create_task(self.serve_peer(self._websocket))
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self._websocket.close()
        await asyncio.wait((self._reader,))
