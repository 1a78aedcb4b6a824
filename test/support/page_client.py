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

``page_client.py URL TOPIC [RATE] [plain | json | cdr]`` speaks rosbridge's protocol, plain
envelopes, or Foxglove's protocol in one of its encodings.  It publishes zero, as it has to after
an emergency stop, and then a command that moves, 20 a second or ``RATE``; no time, no word of
leases.  A panel of Foxglove publishes no zero.  Each command carries the monotonic time at which
it was made in ``linear.z``, so one machine can tell its age.  On stdin: the URL, where it is
``-``; ``quiet`` (no more commands), ``close``.  On stdout: ``moving``, and ``{"code": ...}`` of
each refusal.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
import json
import os
import struct
import sys
import time

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

RATE = 20.0
QUEUE = 1 << 20


def say(data: object) -> None:
    print(json.dumps(data), flush=True)


CHANNEL = struct.pack('<BI', 1, 1)     # that which a panel advertises
Publication = Callable[[str, dict[str, float]], str | bytes]
"""Makes the frame of a command, of a topic and the parts of ``linear``."""


def rosbridge(topic: str, linear: dict[str, float]) -> str:
    return json.dumps({'op': 'publish', 'topic': topic, 'msg': {'linear': linear}})


def plain(topic: str, linear: dict[str, float]) -> str:
    return json.dumps({'metadata': {'message_type': 'command', 'destination': topic},
                       'data': {'linear': linear}})


def panel_json(topic: str, linear: dict[str, float]) -> bytes:
    return CHANNEL + json.dumps({'linear': linear}).encode()


def panel_cdr(topic: str, linear: dict[str, float]) -> bytes:
    return CHANNEL + b'\0\1\0\0' + struct.pack('<6d', linear['x'], 0, linear['z'], 0, 0, 0)


MANNERS: dict[str, Publication] = {'plain': plain, 'json': panel_json, 'cdr': panel_cdr}


async def command(websocket: ClientConnection, topic: str, driving: asyncio.Event, rate: float,
                  manner: str) -> None:
    """Command on absolute times, so that a page that was away catches up."""
    publication = MANNERS.get(manner, rosbridge)
    is_panel = manner in ('json', 'cdr')
    if is_panel:
        await websocket.send(json.dumps({'op': 'advertise', 'channels': [{
            'id': 1, 'topic': topic, 'encoding': manner, 'schemaName': 'geometry_msgs/Twist'}]}))
    elif publication is rosbridge:
        await websocket.send(json.dumps({'op': 'set_level', 'level': 'error'}))
        await websocket.send(json.dumps({'op': 'advertise', 'topic': topic,
                                         'type': 'geometry_msgs/Twist'}))
    begin, number = time.monotonic(), int(is_panel)
    while True:
        await driving.wait()
        await websocket.send(publication(
            topic, {'x': 0.3, 'z': time.monotonic()} if number else {}))
        if number == 1:
            say('moving')
        number += 1
        await asyncio.sleep(max(begin + number / rate - time.monotonic(), 0.0))


async def read(websocket: ClientConnection) -> None:
    async for text in websocket:
        frame = json.loads(text)
        if frame.get('op') == 'status':
            say({'code': frame.get('msg', frame.get('message')).partition(':')[0]})
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
    manner = next((word for word in words if word in MANNERS), '')
    rate = next((float(word) for word in words if word not in MANNERS), RATE)
    async with connect(url, ping_interval=None, write_limit=QUEUE, subprotocols=[
            Subprotocol('foxglove.sdk.v1')] if manner in ('json', 'cdr') else None) as websocket:
        parts = [asyncio.ensure_future(part) for part in (
            command(websocket, topic, driving, rate, manner),
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
