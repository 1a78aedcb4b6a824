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
How soon viewers of Foxglove's protocol know of topics: 20 of them, and 300 topics.

``python test/bench/bench_viewers.py [--runs N] [--topics N] [--viewers N]``

Viewers that come at once are told of all topics. Then topics come one by one, and go. All viewers
are in this process, so its own share of the time is in the figures.
"""
from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
import json
import os
import sys
import time

from measure import environment, NATIVE, percentile, started
import rclpy
from rclpy.node import Node
from std_msgs.msg import String
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

BOUND = 0.5
"""What each of the times may take, s."""
PATIENCE = 30.0


class Viewer:
    """
    One connection.

    :ivar topics: when it was told of those that there are, s.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self.topics: dict[str, float] = {}
        self._names: dict[int, str] = {}
        self._websocket = websocket
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._websocket:
            said, now = json.loads(frame), time.monotonic()
            for each in said.get('channels', ()):
                self._names[each['id']] = each['topic']
                self.topics[each['topic']] = now
            for number in said.get('channelIds', ()):
                self.topics.pop(self._names[number])

    async def close(self) -> None:
        """Leave."""
        await self._websocket.close()
        await self._reader


async def arrive(url: str) -> Viewer:
    """Connect a viewer."""
    return Viewer(await connect(url, subprotocols=[Subprotocol('foxglove.sdk.v1')], max_size=None))


async def told(viewers: list[Viewer], topics: set[str], *, there: bool = True) -> float:
    """Return when the last viewer was told of topics, or that they are gone."""
    end = time.monotonic() + PATIENCE
    while not all((topic in viewer.topics) == there for viewer in viewers for topic in topics):
        assert time.monotonic() < end, 'a viewer was not told'
        await asyncio.sleep(0.001)
    return max((viewer.topics[topic] for viewer in viewers for topic in topics if there),
               default=time.monotonic())


async def measure(url: str, node: Node, topics: set[str], arguments: argparse.Namespace
                  ) -> dict[str, list[float]]:
    """Return times in s: of viewers that come, of topics that come, of topics that go."""
    first = [await arrive(url)]
    await told(first, topics)       # the bridge knows all
    times: dict[str, list[float]] = {'viewers come': [], 'a topic comes': [], 'a topic goes': []}
    for run in range(arguments.runs):
        began = time.monotonic()
        viewers = list(await asyncio.gather(*(arrive(url) for _ in range(arguments.viewers))))
        times['viewers come'].append(await told(viewers, topics) - began)
        name = f'/new{run}'
        began = time.monotonic()
        publisher = node.create_publisher(String, name, 10)
        times['a topic comes'].append(await told(viewers, {name}) - began)
        began = time.monotonic()
        node.destroy_publisher(publisher)
        times['a topic goes'].append(await told(viewers, {name}, there=False) - began)
        for viewer in viewers:
            await viewer.close()
    await first[0].close()
    return times


def main() -> int:
    """Print the times; 1 where one of viewers or topics that come is beyond the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--topics', type=int, default=300)
    parser.add_argument('--viewers', type=int, default=20)
    arguments = parser.parse_args()
    os.environ.update(environment())
    rclpy.init(args=[])
    node = Node('many')
    topics = {f'/many{number}' for number in range(arguments.topics)}
    for topic in topics:
        node.create_publisher(String, topic, 10)
    room = ('-p', 'max_handshakes:=100', '-p', 'max_peers_per_address:=100')
    target = replace(NATIVE, command=(*NATIVE.command, *room))
    with started(target) as (port, _):
        times = asyncio.run(measure(f'ws://127.0.0.1:{port}', node, topics, arguments))
    rclpy.shutdown()
    print(f'{arguments.viewers} viewers, {arguments.topics} topics, {arguments.runs} runs; '
          'until the last viewer is told, s')
    for name, values in times.items():
        print(f'{name:15} median {percentile(values, 0.5):.3f}  most {max(values):.3f}')
    return int(max(times['viewers come'] + times['a topic comes']) > BOUND)


if __name__ == '__main__':
    sys.exit(main())
