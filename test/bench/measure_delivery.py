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
Where the microseconds of one delivery go: CPU of one frame to one of many peers.

``python test/bench/measure_delivery.py [--runs N] [--peers N]``

The peers are a process of their own that reads and throws away. The four ways take turns, so that
other work on the machine disturbs them alike.
"""
from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
import selectors
from statistics import median
import sys
import time
from typing import Any

from measure import Client
from websockets.asyncio.server import broadcast

from ws_bridge import InterfaceConfig, WebSocketServer
from ws_bridge.bridge.fan_out import batch_of, FanOut
from ws_bridge.transport.framing import StreamFrame
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import ServerOptions

TEXT = b'x' * 282
"""As long as a Twist in the native dialect."""
PAUSE = 0.02


class Links:
    """
    A listener that keeps the connections.

    :param count: how many there will be.
    """

    def __init__(self, count: int) -> None:
        self.all: list[Link] = []
        self.are_there = asyncio.Event()
        self._count = count

    def opened(self, link: Link) -> None:
        """Keep one."""
        self.all.append(link)
        if len(self.all) == self._count:
            self.are_there.set()

    def received(self, link: Link, data: str | bytes) -> None:
        """Take nothing."""

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Forget one."""
        self.all.remove(link)


def be_peers(port: int, count: int) -> None:
    """Connect and drain until killed."""
    selector = selectors.DefaultSelector()
    for _ in range(count):
        client = Client(port, None)
        selector.register(client.socket, selectors.EVENT_READ, client)
    while True:
        for key, _ in selector.select():
            for _ in key.data.frames():
                pass


def ways_of(links: list[Link]) -> dict[str, Callable[[], Any]]:
    """Return the ways of giving a frame to all peers, by name."""
    unused: Any = None
    fan_out = FanOut(unused, asyncio.get_running_loop(), 0.0)
    item = StreamFrame('', TEXT, 1)
    wire, text = item.wire(), TEXT.decode()
    transports = [link.websocket.transport for link in links]
    sockets = [transport.get_extra_info('socket')._sock for transport in transports]
    connections = [link.websocket for link in links]

    def send() -> None:
        for each in sockets:
            each.send(wire)

    def write() -> None:
        for each in transports:
            each.write(wire)

    def hand_out() -> None:
        fan_out._batches.append(batch_of([item], links))
        fan_out._hand_out(float('inf'))
    return {'socket.send: the limit': send, "asyncio's transport.write": write,
            'ws_bridge: FanOut._hand_out': hand_out,
            'websockets.broadcast: the ruler': lambda: broadcast(connections, text)}


async def measure(peers: int, runs: int) -> dict[str, float]:
    """Return the us of CPU of a delivery, by way."""
    listener = Links(peers)
    server = WebSocketServer(
        InterfaceConfig(name='bench', endpoint='127.0.0.1:0'), listener=listener,
        options=ServerOptions(max_peers=peers, max_peers_per_address=peers, ping_interval=0.0))
    assert await server.connect(), server.last_error
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__)), '--be-peers', str(server.port), '--peers', str(peers))
    try:
        await listener.are_there.wait()
        ways = ways_of(list(listener.all))
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(runs):
            for name, way in ways.items():
                begin = time.process_time()
                way()
                costs[name].append((time.process_time() - begin) / peers * 1e6)
                await asyncio.sleep(PAUSE)
    finally:
        process.kill()
        await process.wait()
        await server.disconnect()
    return {name: median(each) for name, each in costs.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=100)
    parser.add_argument('--peers', type=int, default=200)
    parser.add_argument('--be-peers', type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_peers:
        be_peers(options.be_peers, options.peers)
    costs = asyncio.run(measure(options.peers, options.runs))
    print('| a frame to one peer by | us | to the ruler |\n|---|---|---|')
    for name, cost in costs.items():
        print(f'| {name} | {cost:.1f} | {cost / list(costs.values())[-1]:.2f} |')


if __name__ == '__main__':
    main()
