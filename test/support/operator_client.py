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
An operator's program, a process of its own, to be killed, frozen and cut off.

``operator_client.py URL TOPIC [RATE [again [BEAT]]]`` acquires the lease of the gate, sends
heartbeats, a neutral command and then one that moves, 20 a second or ``RATE``.  Each carries the
monotonic time at which it was made in ``linear.z``, so one machine can tell its age.  With
``again`` it lets go for one command where the gate asks for that, as after a stop; it beats each
0.1 or ``BEAT`` s.  On stdin: the URL, where it is ``-``; ``quiet`` (no more commands), ``mute``
(no more heartbeats), ``close``, ``stop``, ``count``, or the data of a configuration, JSON.  On
stdout: ``moving``, the frames that concern the lease, and how many messages of each topic, and of
each other type, were ``received``, JSON.
"""
from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
import json
import os
import struct
import sys
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

RATE = 20.0
BEAT = 0.1
FOLLOWS = 0.01      # s after a command or a stop an empty frame is sent, as by ws_bridge.js
CHANNEL = struct.Struct('<4xI')    # what is read of the header of a binary frame
PIECE, HEAD = 16, struct.Struct('<xBxxI')
QUEUE = 1 << 20


def say(data: Any) -> None:
    print(json.dumps(data), flush=True)


class Operator:
    """The program."""

    def __init__(self, websocket: ClientConnection, gate: str, rate: float, again: bool,
                 interval: float) -> None:
        self.interval = interval
        self.again = again
        self.neutral = True
        self.websocket = websocket
        self.gate = gate
        self.rate = rate
        self.epoch: int | None = None
        self.bridge_time: float | None = None
        self.heard: dict[str, Any] | None = None
        self.beating = asyncio.Event()
        self.answered = asyncio.Event()     # by the first heartbeat
        self.commanding = asyncio.Event()
        self.beating.set()
        self.numbers = count(1)
        self.received: Counter[str] = Counter()
        self.topics: dict[int, str] = {}    # of channels
        self.sizes: Counter[str] = Counter()
        self.pieces: dict[int, bytes] = {}  # of large frames

    async def send(self, message_type: str, data: Any, **metadata: Any) -> None:
        await self.websocket.send(json.dumps({'metadata': {
            'message_id': f'o{next(self.numbers)}', 'timestamp': time.time(),
            'message_type': message_type, **metadata}, 'data': data}))

    async def follow(self) -> None:
        await asyncio.sleep(FOLLOWS)
        await self.websocket.send('')

    async def beat(self) -> None:
        for number in count(1):
            await self.beating.wait()
            await self.send('heartbeat', {'type': 'heartbeat', 'timestamp': time.time(),
                                          'sequence': number, 'echo': self.heard})
            if self.heard is None:      # the next one tells the bridge how the clocks stand
                await self.answered.wait()
            else:
                await asyncio.sleep(self.interval)

    async def command(self) -> None:
        """Command on absolute times, so that a program that was away catches up as a page does."""
        await self.commanding.wait()
        begin = time.monotonic()
        for number in count():
            await self.commanding.wait()
            linear = {} if self.neutral else {'x': 0.3, 'z': time.monotonic()}
            self.neutral = False
            await self.send('command', {'linear': linear}, destination=self.gate,
                            epoch=self.epoch, sequence=number, bridge_time=self.bridge_time)
            if number == 1:
                say('moving')
            if self.rate * FOLLOWS < 0.5:
                await self.follow()
            await asyncio.sleep(max(begin + (number + 1) / self.rate - time.monotonic(), 0.0))

    def whole(self, piece: bytes) -> str | bytes | None:
        """Take a piece; return the frame whose last one it is."""
        flags, number = HEAD.unpack_from(piece)
        self.pieces[number] = self.pieces.get(number, b'') + piece[HEAD.size:]
        if not flags & 2:
            return None
        frame = self.pieces.pop(number)
        return frame.decode() if flags & 1 else frame

    async def read(self) -> None:
        text: str | bytes | None
        async for text in self.websocket:
            if isinstance(text, bytes) and text[0] == PIECE:
                text = self.whole(text)
                if text is None:
                    continue
            if isinstance(text, bytes):
                (channel,) = CHANNEL.unpack_from(text)
                self.received[self.topics.get(channel, f'channel {channel}')] += 1
                continue
            frame = json.loads(text)
            metadata, data = frame['metadata'], frame['data']
            if metadata['message_type'] == 'data':
                self.received[metadata['source']] += 1
            else:
                self.received[metadata['message_type']] += 1
                self.sizes[metadata['message_type']] += len(text)
            if 'channel_id' in data:
                self.topics[data['channel_id']] = data['topic']
            self.bridge_time = metadata['timestamp']
            kind = metadata['message_type']
            if kind == 'heartbeat':
                self.heard = {'sequence': data['sequence'], 'timestamp': data['timestamp'],
                              'received': time.time()}
                self.answered.set()
            elif kind in ('acknowledgment', 'error') or data.get('op') == 'lost' or \
                    data.get('kind') in ('lease', 'estop', 'stopped'):
                say(data)
            if self.again and data.get('code') == 'not_neutral':
                self.neutral = True
            if kind == 'acknowledgment' and 'epoch' in data:
                self.epoch = data['epoch']
                self.commanding.set()

    async def obey(self) -> None:
        """Do what the test says."""
        stdin = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
        while line := (await stdin.readline()).decode().strip():
            if line == 'close':
                await self.websocket.close()
            elif line == 'quiet':
                self.commanding.clear()
            elif line == 'stop':
                self.commanding.clear()
                await self.send('configuration', {'op': 'stop', 'reason': 'operator'})
                await self.follow()
            elif line == 'count':
                say({'received': self.received, 'sizes': self.sizes})
            elif line == 'mute':
                self.beating.clear()
            else:
                await self.send('configuration', json.loads(line))


async def main(url: str, gate: str, rate: str = str(RATE), again: str = '',
               beat: str = str(BEAT)) -> None:
    """Run until the connection or the test ends."""
    async with connect(url, subprotocols=['ws_bridge.v1'], ping_interval=None,
                       write_limit=QUEUE) as websocket:
        operator = Operator(websocket, gate, float(rate), bool(again), float(beat))
        parts = [asyncio.ensure_future(part) for part in (
            operator.beat(), operator.command(), operator.read(), operator.obey())]
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            part.cancel()
        for part in done:
            if part.exception() and not isinstance(part.exception(), ConnectionClosed):
                raise part.exception() or AssertionError


if __name__ == '__main__':
    _, url, *others = sys.argv
    while url[-1:] != '\n' and url[0] == '-':
        url += os.read(0, 1).decode()      # no more: the rest is for the loop
    asyncio.run(main(url.strip('-\n'), *others))
