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
"""A client of Foxglove's dialect on a bare WebSocket, which keeps everything it is sent."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
import struct
from typing import Any

import orjson
from support.helpers import async_wait_until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ws_bridge.main import Service

SAMPLE = struct.Struct('<BIQ')
ASSET = struct.Struct('<BIBI')
GRAPH = {'publishedTopics': 'publisherIds', 'subscribedTopics': 'subscriberIds',
         'advertisedServices': 'providerIds'}
CALL = struct.Struct('<BIII')
CONTROL = struct.Struct('<BBfBQI')
PLAYBACK = struct.Struct('<BBQfBI')
SUBPROTOCOLS = ('foxglove.websocket.v1', 'foxglove.sdk.v1')


class FoxglovePeer:
    """
    One connection.

    :ivar told: text frames.
    :ivar samples: payloads by the number of the subscription.
    :ivar answers: encoding and payload of answers, by the number of the call.
    :ivar assets: status and content of files, by the number of the request.
    :ivar times: those of the simulation.
    :ivar playback: status, time, speed, jump and request of each state of a replay.
    :ivar graph: the nodes of each part of the connection graph, by topic or service.
    :ivar channels: those that there are, by topic; so are ``services`` by name.
    :ivar statuses: messages by id, those that stand.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.told: list[dict[str, Any]] = []
        self.samples: dict[int, list[bytes]] = {}
        self.stamps: list[int] = []
        self.answers: dict[int, tuple[str, bytes]] = {}
        self.assets: dict[int, tuple[int, bytes]] = {}
        self.times: list[int] = []
        self.playback: list[tuple[int, int, float, int, str]] = []
        self.graph: dict[str, dict[str, list[str]]] = {part: {} for part in GRAPH}
        self.channels: dict[str, dict[str, Any]] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                frame = await self.websocket.recv()
                if isinstance(frame, bytes):
                    self._binary(frame)
                else:
                    self._text(orjson.loads(frame))
        except ConnectionClosed:
            pass

    def _binary(self, frame: bytes) -> None:
        if frame[0] == 1:
            _, number, stamp = SAMPLE.unpack_from(frame)
            self.samples.setdefault(number, []).append(frame[SAMPLE.size:])
            self.stamps.append(stamp)
        elif frame[0] == 2:
            self.times.append(int.from_bytes(frame[1:], 'little'))
        elif frame[0] == 4:
            _, request, status, length = ASSET.unpack_from(frame)
            self.assets[request] = status, frame[ASSET.size:]
            assert length == (len(frame) - ASSET.size if status else 0)
        elif frame[0] == 5:
            _, *state, length = PLAYBACK.unpack_from(frame)
            request = frame[PLAYBACK.size:].decode()
            assert length == len(request)
            self.playback.append((*state, request))     # type: ignore[arg-type]
        else:
            assert frame[0] == 3
            _, _, call, length = CALL.unpack_from(frame)
            end = CALL.size + length
            self.answers[call] = frame[CALL.size:end].decode(), frame[end:]

    def _text(self, told: dict[str, Any]) -> None:
        """Take note, as strictly as Lichtblick: a topic never has two channels."""
        self.told.append(told)
        if told['op'] == 'advertise':
            for each in told['channels']:
                assert each['topic'] not in self.channels
                self.channels[each['topic']] = each
        elif told['op'] == 'advertiseServices':
            self.services.update({each['name']: each for each in told['services']})
        elif told['op'] == 'unadvertise':
            known = {each['id']: topic for topic, each in self.channels.items()}
            for number in told['channelIds']:
                del self.channels[known[number]]
        elif told['op'] == 'status':
            self.statuses[told['id']] = told
        elif told['op'] == 'connectionGraphUpdate':
            self._draw(told)
        elif told['op'] == 'removeStatus':
            for status in told['statusIds']:
                del self.statuses[status]

    def _draw(self, told: dict[str, Any]) -> None:
        for part, ids in GRAPH.items():
            self.graph[part].update({each['name']: each[ids] for each in told[part]})
        for topic in told['removedTopics']:
            assert [part.pop(topic, None) for part in self.graph.values()] != [None, None, None]
        for service in told['removedServices']:
            del self.graph['advertisedServices'][service]

    def of(self, op: str) -> list[dict[str, Any]]:
        """Return the frames of an operation."""
        return [each for each in self.told if each['op'] == op]

    async def ask(self, op: str, **fields: Any) -> None:
        """Send a text frame."""
        await self.websocket.send(orjson.dumps({'op': op, **fields}).decode())

    async def subscribe(self, number: int, topic: str) -> None:
        """Subscribe to a topic, once there is one."""
        await async_wait_until(lambda: topic in self.channels, why=lambda: str(self.told))
        await self.ask('subscribe', subscriptions=[
            {'id': number, 'channelId': self.channels[topic]['id']}])

    async def advertise(self, number: int, topic: str, schema: str, encoding: str) -> None:
        """Advertise a channel of the client, as Lichtblick does it."""
        await self.ask('advertise', channels=[{
            'id': number, 'topic': topic, 'encoding': encoding, 'schemaName': schema}])

    async def publish(self, number: int, payload: bytes) -> None:
        """Publish on a channel of the client."""
        await self.websocket.send(struct.pack('<BI', 1, number) + payload)

    async def call(self, number: int, service: str, encoding: str, payload: bytes) -> None:
        """Call a service, once there is one."""
        await async_wait_until(lambda: service in self.services, why=lambda: str(self.told))
        await self.websocket.send(CALL.pack(2, self.services[service]['id'], number,
                                            len(encoding)) + encoding.encode() + payload)


@asynccontextmanager
async def foxglove_peer(service: Service, subprotocols: Sequence[str] = SUBPROTOCOLS,
                        path: str = '', **options: Any) -> AsyncIterator[FoxglovePeer]:
    """Give a client that is connected."""
    async with connect(f'{service.url}{path}', subprotocols=[*map(Subprotocol, subprotocols)],
                       **options) as websocket:
        peer = FoxglovePeer(websocket)
        yield peer
    await peer.reader
