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
"""A client of the toy dialect."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from support.helpers import async_wait_until
from support.toy_dialect import HEAD, ToyDialect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ws_bridge.main import Service
from ws_bridge.protocol.dialects import DialectKind


def toy_row(make: Callable[[], Any] = ToyDialect) -> DialectKind:
    """Return the row of the toy."""
    return DialectKind('toy', 'toy.v1', lambda value: type(value) is dict and 'toy' in value,
                       lambda options: make(), lease_mode='rosbridge', hears_topics=True)


class ToyPeer:
    """
    One connection.

    :ivar told: text frames.
    :ivar binary: binary frames: kind, number, payload.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self.told: list[dict[str, Any]] = []
        self.binary: list[tuple[int, int, bytes]] = []
        self._websocket = websocket
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._websocket.recv()
                if isinstance(frame, bytes):
                    self.binary.append((*HEAD.unpack_from(frame), frame[HEAD.size:]))
                else:
                    self.told.append(orjson.loads(frame))
        except ConnectionClosed:
            pass

    async def ask(self, toy: str, number: int, topic: str, **fields: str) -> None:
        """Send a request and wait until it is done."""
        done = self.told.count({'toy': 'done', 'id': str(number)})
        await self.tell(toy=toy, id=number, topic=topic, **fields)
        await async_wait_until(
            lambda: self.told.count({'toy': 'done', 'id': str(number)}) > done,
            why=lambda: str(self.told))

    async def tell(self, **fields: Any) -> None:
        """Send a text frame."""
        await self._websocket.send(orjson.dumps(fields).decode())

    async def send(self, kind: int, number: int, payload: bytes) -> None:
        """Send a binary frame."""
        await self._websocket.send(HEAD.pack(kind, number) + payload)

    @property
    def topics(self) -> dict[str, Any]:
        """What there is, by all that was told."""
        there: dict[str, Any] = {}
        for told in self.told:
            if told['toy'] == 'topics':
                there |= told['present']
                for name in told['gone']:
                    del there[name]
        return there


@asynccontextmanager
async def toy_peer(service: Service) -> AsyncIterator[ToyPeer]:
    """Give a client that is connected."""
    async with connect(service.url, subprotocols=[toy_row().subprotocol]) as websocket:
        peer = ToyPeer(websocket)
        yield peer
    await peer.reader
