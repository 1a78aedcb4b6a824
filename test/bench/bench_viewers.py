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
How soon viewers of Foxglove's protocol know of topics and of parameters.

``python test/bench/bench_viewers.py [--runs N] [--topics N] [--viewers N] [--nodes N]``

Viewers that come at once are told of all topics. Then topics come one by one, and go. Then one
viewer asks for all parameters of many nodes, as Lichtblick does when it connects, and again and
again. All viewers are in this process, so its own share of the time is in the figures; the nodes
are in another one.
"""
from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
import json
import multiprocessing
from multiprocessing.connection import Connection
import os
import sys
import time
from typing import Any

from measure import environment, NATIVE, percentile, started
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

BOUND = 0.5
"""What each of the times may take, s."""
PATIENCE = 30.0
PARAMETERS = 20
"""Of each node."""
SETTLED = 5.0
"""After which the bridge need not ask nodes again, s."""


class AskedNode(Node):
    """
    A node with parameters.

    :cvar asked: how often nodes of this process were asked for their parameters.
    """

    asked = 0

    def __init__(self, name: str) -> None:
        super().__init__(name)
        for number in range(PARAMETERS):
            self.declare_parameter(f'group.parameter{number}', float(number))

    def list_parameters(self, *arguments: Any, **options: Any) -> Any:
        """Count, and answer."""
        AskedNode.asked += 1
        return super().list_parameters(*arguments, **options)


def run_nodes(count: int, pipe: Connection) -> None:
    """Run nodes until the pipe is closed; tell how often they were asked when it says anything."""
    rclpy.init(args=[])
    executor = SingleThreadedExecutor()
    for number in range(count):
        executor.add_node(AskedNode(f'asked{number}'))
    pipe.send(0)
    while True:
        executor.spin_once(0.05)
        if pipe.poll():
            try:
                pipe.recv()
            except EOFError:
                return
            pipe.send(AskedNode.asked)


class Viewer:
    """
    One connection.

    :ivar topics: when it was told of those that there are, s.
    :ivar parameters: names of parameters, as they came.
    :ivar answers: how many parameters each answer had, by the identity of the request.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self.topics: dict[str, float] = {}
        self.parameters: set[str] = set()
        self.answers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._websocket = websocket
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._websocket:
            said, now = json.loads(frame), time.monotonic()
            if said['op'] == 'parameterValues':
                names = {each['name'] for each in said['parameters']}
                self.parameters |= names
                if 'id' in said:
                    self.answers[said['id']] = len(names)
            for each in said.get('channels', ()):
                self._names[each['id']] = each['topic']
                self.topics[each['topic']] = now
            for number in said.get('channelIds', ()):
                self.topics.pop(self._names[number])

    async def ask(self, request: str) -> float:
        """Ask for all parameters; return how long the answer took, s."""
        began = time.monotonic()
        await self._websocket.send(json.dumps(
            {'op': 'getParameters', 'parameterNames': [], 'id': request}))
        while request not in self.answers:
            assert time.monotonic() < began + PATIENCE, 'no answer'
            await asyncio.sleep(0.001)
        return time.monotonic() - began

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


async def measure_parameters(url: str, nodes: int, pipe: Connection, runs: int
                             ) -> tuple[dict[str, list[float]], int]:
    """Return times in s, and how often the nodes were asked when all was known."""
    viewer = await arrive(url)
    wanted = {f'/asked{node}.group.parameter{number}'
              for node in range(nodes) for number in range(PARAMETERS)}
    began = time.monotonic()
    times = {'parameters asked for': [await viewer.ask('first')]}
    while not wanted <= viewer.parameters:
        assert time.monotonic() < began + PATIENCE, 'a node was not told of'
        await asyncio.sleep(0.001)
    times['all nodes told'] = [time.monotonic() - began]
    await asyncio.sleep(SETTLED)
    await viewer.ask('settled')
    await asyncio.sleep(1.0)        # what is late of that
    pipe.send(None)
    before = pipe.recv()
    times['asked for again'] = [await viewer.ask(f'{run}') for run in range(10 * runs)]
    assert viewer.answers['0'] >= len(wanted)
    pipe.send(None)
    after: int = pipe.recv()
    await viewer.close()
    return times, after - before


def main() -> int:
    """Print the times; 1 where one is beyond the bound, or nodes are asked again and again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--topics', type=int, default=300)
    parser.add_argument('--viewers', type=int, default=20)
    parser.add_argument('--nodes', type=int, default=50)
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
    here, there = multiprocessing.Pipe()
    with started(target) as (port, _):
        process = multiprocessing.get_context('spawn').Process(
            target=run_nodes, args=(arguments.nodes, there))
        process.start()
        there.close()
        here.recv()
        time.sleep(SETTLED)     # the bridge knows all
        told_of, asked = asyncio.run(measure_parameters(
            f'ws://127.0.0.1:{port}', arguments.nodes, here, arguments.runs))
        here.close()
        process.join()
    print(f'{arguments.viewers} viewers, {arguments.topics} topics, {arguments.runs} runs; '
          'until the last viewer is told, s')
    for name, values in times.items():
        print(f'{name:20} median {percentile(values, 0.5):.3f}  most {max(values):.3f}')
    print(f'one viewer, {arguments.nodes} nodes of {PARAMETERS} parameters, s')
    for name, values in told_of.items():
        print(f'{name:20} median {percentile(values, 0.5):.3f}  most {max(values):.3f}')
    print(f'nodes were asked {asked} times meanwhile')
    bounded = [*times['viewers come'], *times['a topic comes'],
               *told_of['parameters asked for'], *told_of['asked for again']]
    return int(max(bounded) > BOUND or asked > 0)


if __name__ == '__main__':
    sys.exit(main())
