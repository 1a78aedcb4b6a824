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
"""A client that loses its connection again and again, and keeps count of what it gets."""
from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
import json
import random
import time
from typing import Any

from std_msgs.msg import Int32
from std_srvs.srv import SetBool
from support.bridge_harness import BRIDGE, PEER, running_bridge
from support.helpers import async_wait_until, SpinningNode
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Json = dict[str, Any]


class ReturningPeer:
    """
    A native peer that comes back to its session.

    :param url: of the bridge, or of a relay; each connection takes the next one.
    :ivar outcomes: what became of each request, by its id: the data of its replies, or 'unknown'.
    :ivar got: how many samples came; ``missed``: how many it was told that it missed.
    """

    def __init__(self, *urls: str, **options: Any) -> None:
        self.outcomes: dict[str, list[Any]] = {}
        self.waiting: set[str] = set()
        self.got = self.missed = 0
        self.last: dict[int, int] = {}
        self.key: Json = {}
        self.answers: dict[str, Json] = {}
        self._urls = urls
        self._options = options
        self._turn = count()
        self._ids = count(1)
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._echo: Json | None = None
        self.old: list[ClientConnection] = []

    async def open(self, *, patient: bool = True) -> None:  # noqa: A003
        """
        Connect; come back where there is something to come back to.

        :param patient: wait until it is back.
        """
        url = self._urls[next(self._turn) % len(self._urls)]
        socket = await connect(url, subprotocols=['ws_bridge.v1'],  # type: ignore[list-item]
                               max_size=None, **self._options)
        self._socket = socket
        self._reader = asyncio.create_task(self._read(socket))
        if not self.key:
            hello = await self.ask('hello', resume=True)
            self.key = {'session': hello['session'], 'secret': hello['resume']['secret']}
            return
        received = {str(channel): number for channel, number in self.last.items()}
        data = {'op': 'resume', **self.key, 'waiting': sorted(self.waiting), 'received': received}
        message_id = await self._send('configuration', data)
        if patient:
            await async_wait_until(lambda: 'session' in self.answers.get(message_id, {}))

    async def close(self) -> None:
        """Leave in order."""
        for socket in [*self.old, self._socket]:
            if socket is not None:
                with suppress(ConnectionClosed):
                    socket.transport.resume_reading()
                    await socket.close()
        if self._reader is not None:
            await self._reader

    async def lose(self, chance: random.Random) -> None:
        """
        Lose the connection: what has arrived lately was not read.

        Now and then the other end is not told.
        """
        socket, reader = self._socket, self._reader
        assert socket is not None
        assert reader is not None
        if chance.random() < 0.7:
            socket.transport.pause_reading()
            await asyncio.sleep(chance.random() * 0.02)
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader
        if chance.random() < 0.3:
            self.old.append(socket)
        else:
            socket.transport.abort()
        self._socket = None

    async def ask(self, op: str, **fields: Any) -> Json:
        """Send a configuration and return the acknowledgment's data."""
        message_id = await self._send('configuration', {'op': op, **fields})
        answer: Json | None = await async_wait_until(lambda: self.answers.get(message_id))
        assert answer is not None
        assert 'code' not in answer, answer
        return answer

    async def request(self, message_type: str, data: Json, **metadata: Any) -> str:
        """Send a request of which the outcome is noted, and return its id."""
        message_id = await self._send(message_type, data, noted=True, **metadata)
        return message_id

    async def _send(self, message_type: str, data: Json, *, noted: bool = False,
                    **metadata: Any) -> str:
        message_id = f'r{next(self._ids)}'
        envelope = {'metadata': {'message_id': message_id, 'timestamp': time.time(),
                                 'message_type': message_type, **metadata}, 'data': data}
        PEER.validate(envelope)
        if noted:
            self.outcomes[message_id] = []
            self.waiting.add(message_id)
        if self._socket is not None:
            with suppress(ConnectionClosed):
                await self._socket.send(json.dumps(envelope))
        return message_id

    async def beat(self) -> None:
        """Send a heartbeat, with the echo of the last one."""
        await self._send('heartbeat', {'type': 'heartbeat', 'timestamp': time.time(),
                                       'sequence': next(self._ids), 'echo': self._echo})

    async def _read(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                frame = json.loads(await socket.recv())
                BRIDGE.validate(frame)
                self._take(frame['metadata'], frame['data'])

    def _take(self, metadata: Json, data: Json) -> None:
        kind, answers = metadata['message_type'], metadata['correlation_id']
        if kind == 'heartbeat':
            self._echo = {'sequence': data['sequence'], 'timestamp': data['timestamp'],
                          'received': time.time()}
        elif kind == 'data':
            self.got += 1
            (channel,) = self.last
            assert metadata['sequence'] == self.last[channel] + 1, 'a gap, or a sample twice'
            self.last[channel] = metadata['sequence']
        elif kind in ('acknowledgment', 'error') and answers is not None:
            if answers in self.outcomes:
                self.outcomes[answers].append(data)
                self.waiting.discard(answers)
                return
            if data.get('op') == 'resume':
                self._resumed(data)
            elif data.get('op') == 'subscribe':
                self.last = {data['channel_id']: 0}
            self.answers[answers] = data

    def _resumed(self, data: Json) -> None:
        self.key = {'session': data['session'], 'secret': data['resume']['secret']}
        for message_id in data['unknown']:
            self.outcomes[message_id].append('unknown')
            self.waiting.discard(message_id)
        (found,) = data['subscriptions']
        self.missed += found['missed']
        self.last = {found['channel_id']: found['sequence']}


@dataclass(frozen=True)
class Count:
    """What there was, and what a peer knows of it after it came back so many times."""

    published: int
    got: int
    missed: int
    requests: int
    answered: int
    unknown: int
    doubled: int
    unanswered: int


def answer_set(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
    """Answer a call by what it says."""
    response.success = request.data
    return response


async def come_back_again_and_again(times: int, seed: int) -> Count:
    """
    Lose the connection so many times, at random moments, with calls and samples under way.

    Now and then the next loss comes before the peer knows that it is back.
    """
    chance = random.Random(seed)
    with SpinningNode('robot') as robot:
        out = robot.node.create_publisher(Int32, '/count', 100)
        robot.node.create_service(SetBool, '/set', answer_set)
        async with running_bridge(resume_time=30.0, heartbeat_interval=0.1) as service:
            peer = ReturningPeer(service.url)
            await peer.open()
            await peer.ask('subscribe', topic='/count', type='std_msgs/msg/Int32',
                           queue_depth=1000)
            await async_wait_until(out.get_subscription_count)
            for _ in range(times):
                for _ in range(chance.randrange(1, 6)):
                    out.publish(Int32())
                    await _do_something(peer, chance)
                await peer.lose(chance)
                out.publish(Int32())
                await peer.open(patient=chance.random() < 0.8)
            (topic,) = [each for each in service.bridge._outward.topics()
                        if each.name == '/count']
            await async_wait_until(lambda: not peer.waiting
                                   and list(peer.last.values()) == [topic.sequence])
            await peer.close()
            ends = list(peer.outcomes.values())
            return Count(topic.sequence, peer.got, peer.missed, len(ends),
                         sum('unknown' not in each and len(each) == 1 for each in ends),
                         sum(each == ['unknown'] for each in ends),
                         sum(len(each) > 1 for each in ends), sum(not each for each in ends))


async def _do_something(peer: ReturningPeer, chance: random.Random) -> None:
    word = chance.choice(('call', 'list', 'beat', 'pause'))
    if word == 'call':
        await peer.request('command', {'data': True}, destination='/set', kind='service')
    elif word == 'list':
        await peer.request('configuration', {'op': 'list'})
    elif word == 'beat':
        await peer.beat()
    else:
        await asyncio.sleep(chance.random() * 0.01)
