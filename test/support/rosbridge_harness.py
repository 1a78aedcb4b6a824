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
"""A client of rosbridge v2 on a bare WebSocket, which keeps everything it is sent."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
import json
from typing import Any

from support.helpers import async_wait_until, PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ws_bridge.main import Service

Json = dict[str, Any]


class RosbridgePeer:
    """A client; frames are kept in the order of their arrival."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.frames: list[Json] = []
        self.binary: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self._ids = count(1)
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                frame = await self.websocket.recv()
                if isinstance(frame, bytes):
                    self.binary.append(frame)
                else:
                    self.frames.append(json.loads(frame, parse_constant=_not_json))
        except ConnectionClosed as exc:
            self.closed = (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd else (1006, '')

    async def close(self) -> None:
        """Leave in order; a frame that was no strict JSON fails here."""
        await self.websocket.close()
        await self._reader

    async def send(self, op: str, **fields: Any) -> None:
        """Send an operation."""
        await self.websocket.send(json.dumps({'op': op, **fields}))

    async def wait(self, predicate: Callable[[Json], Any], timeout: float = PATIENCE) -> Json:
        """Return the first frame, old or new, for which ``predicate`` holds."""
        def find() -> Json | None:
            return next((frame for frame in self.frames if predicate(frame)), None)
        found = await async_wait_until(find, timeout, lambda: f'got {str(self.frames[-5:])[:800]}')
        assert found is not None
        return found

    async def call(self, service: str, args: Any = None, **fields: Any) -> Json:
        """Call a service and return the answer."""
        call_id = f'call:{next(self._ids)}'
        await self.send('call_service', service=service, id=call_id, args=args, **fields)
        return await self.wait(lambda f: f['op'] == 'service_response' and f['id'] == call_id)

    async def status(self, op: str, **fields: Any) -> str:
        """Send an operation that must fail, having asked for errors, and return the reason."""
        op_id = f'{op}:{next(self._ids)}'
        await self.send(op, id=op_id, **fields)
        frame = await self.wait(lambda f: f['op'] == 'status' and f.get('id') == op_id)
        assert frame['level'] == 'error'
        return str(frame['msg'])

    def samples(self, topic: str) -> list[Any]:
        """Return the message of every sample of a topic."""
        return [frame['msg'] for frame in self.frames
                if frame['op'] == 'publish' and frame['topic'] == topic]


def _not_json(word: str) -> None:
    raise AssertionError(f'{word} is not strict JSON')


@asynccontextmanager
async def rosbridge_peer(service: Service | str, **options: Any) -> AsyncIterator[RosbridgePeer]:
    """Connect a client to a bridge, or to a URL."""
    url = service if isinstance(service, str) else service.url
    websocket = await connect(url, max_size=None, **options)
    peer = RosbridgePeer(websocket)
    try:
        yield peer
    finally:
        await peer.close()
