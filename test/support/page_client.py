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
A page that knows no leases and drives without ever letting go, a process of its own.

``page_client.py URL TOPIC [RATE] [plain]`` speaks rosbridge's protocol, or plain envelopes.  It
publishes zero, as it has to after an emergency stop, and then a command that moves, 20 a second or
``RATE``; no time, no word of leases.  Each carries the monotonic time at which it was made in
``linear.z``, so one machine can tell its age.  On stdin: the URL, where it is ``-``; ``quiet`` (no
more commands), ``close``.  On stdout: ``moving``, and ``{"code": ...}`` of each refusal.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
import json
import os
import sys
import time

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

RATE = 20.0
QUEUE = 1 << 20


def say(data: object) -> None:
    print(json.dumps(data), flush=True)


def rosbridge(topic: str, msg: object) -> object:
    return {'op': 'publish', 'topic': topic, 'msg': msg}


def plain(topic: str, msg: object) -> object:
    return {'metadata': {'message_type': 'command', 'destination': topic}, 'data': msg}


async def command(websocket: ClientConnection, topic: str, driving: asyncio.Event, rate: float,
                  publication: Callable[[str, object], object]) -> None:
    """Command on absolute times, so that a page that was away catches up."""
    if publication is rosbridge:
        await websocket.send(json.dumps({'op': 'set_level', 'level': 'error'}))
        await websocket.send(json.dumps({'op': 'advertise', 'topic': topic,
                                         'type': 'geometry_msgs/Twist'}))
    begin, number = time.monotonic(), 0
    while True:
        await driving.wait()
        await websocket.send(json.dumps(publication(topic, {
            'linear': {'x': 0.3, 'z': time.monotonic()} if number else {}})))
        if number == 1:
            say('moving')
        number += 1
        await asyncio.sleep(max(begin + number / rate - time.monotonic(), 0.0))


async def read(websocket: ClientConnection) -> None:
    async for text in websocket:
        frame = json.loads(text)
        if frame.get('op') == 'status':
            say({'code': frame['msg'].partition(':')[0]})
        elif frame.get('metadata', {}).get('message_type') == 'error':
            say({'code': frame['data']['code']})


async def obey(websocket: ClientConnection, driving: asyncio.Event) -> None:
    """Do what the test says."""
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while line := (await stdin.readline()).decode().strip():
        if line == 'close':
            await websocket.close()
        elif line == 'quiet':
            driving.clear()


async def main(url: str, topic: str, *words: str) -> None:
    """Run until the connection or the test ends."""
    driving = asyncio.Event()
    driving.set()
    rate = next((float(word) for word in words if word != 'plain'), RATE)
    async with connect(url, ping_interval=None, write_limit=QUEUE) as websocket:
        parts = [asyncio.ensure_future(part) for part in (
            command(websocket, topic, driving, rate, plain if 'plain' in words else rosbridge),
            read(websocket), obey(websocket, driving))]
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
