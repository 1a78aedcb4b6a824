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
A fleet on one machine: three nodes of NATS, two relays, many robots without ROS, operators.

``python test/bench/measure_fleet.py [--robots N] [--operators N] [--seconds N]``. Robots are the
real uplink code with an echo in place of a bridge, half of them at each relay. Operators have the
other relay, so that everything crosses the engine; each sends 10 times a second, and waits for the
echo. Before that the round trip is measured without a relay, by one, and by two. Then a relay and
a node are killed. All of it shares the cores, so the figures are above those of a fleet.
"""
from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from contextlib import AsyncExitStack, suppress
import os
from pathlib import Path
import statistics
import subprocess
import sys
import time

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from measure import command_line, percentile  # noqa: E402,I100,RUF100
from support.fleet import Cluster, fake_robot, nats_cluster  # noqa: E402,I100,RUF100

from scripts.fleet import free_ports  # noqa: E402,I100,RUF100
from ws_bridge.cli.robots import fetch_robots  # noqa: E402
from ws_bridge.errors import WsBridgeError  # noqa: E402

IN_ONE = 250
"""Robots in one process."""
RATE = 10.0
PATIENCE = 120.0
LOOK = 0.2
"""Between looks at a list, s: it is long."""
TRIPS = 300


async def hold(first: int, number: int, urls: list[str]) -> None:
    """Keep robots connected until the process is ended."""
    async with AsyncExitStack() as stack:
        for index in range(first, first + number):
            await stack.enter_async_context(fake_robot(
                urls[index % 2:] + urls[:index % 2], f'r{index}', is_awaited=False))
        await asyncio.Event().wait()


async def reach(url: str) -> ClientConnection:
    """Connect, again and again until it succeeds."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return await connect(url, proxy=None)
        except (OSError, InvalidHandshake, asyncio.TimeoutError):
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


async def trips(peer: ClientConnection, count: int) -> list[float]:
    """Return round trips, ms."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await peer.send('x' * 100)
        await peer.recv()
        found.append(1000 * (time.perf_counter() - began))
    return found


async def operate(url: str, end: float, found: list[float]) -> None:
    """Send at a rate and wait for the echo, until the end; connect again where that is lost."""
    while time.monotonic() < end:
        peer = await reach(url)
        with suppress(ConnectionClosed):
            while time.monotonic() < end:
                found += await trips(peer, 1)
                await asyncio.sleep(1 / RATE)
        await peer.close()


def listed(url: str, *, is_one: bool) -> int:
    """Return how many robots a relay lists, or how many of them one relay has."""
    with suppress(WsBridgeError):
        relays = Counter(robot['relay'] for robot in fetch_robots(url))
        return max(relays.values(), default=0) if is_one else relays.total()
    return 0


async def until_listed(url: str, count: int, *, is_one: bool = False) -> float:
    """Return how long it takes until a relay lists so many robots, s."""
    began = time.monotonic()
    while (number := await asyncio.to_thread(listed, url, is_one=is_one)) < count:
        if time.monotonic() > began + PATIENCE:
            raise AssertionError(f'{number} robots of {count} after {PATIENCE:g} s')
        await asyncio.sleep(LOOK)
    return time.monotonic() - began


class Run:
    """The processes of one run."""

    def __init__(self, nats: Cluster, robots: int) -> None:
        self.nats = nats
        self._count = robots
        self.ports = free_ports(2)
        self.urls = [f'ws://127.0.0.1:{port}' for port in self.ports]
        self.relays: list[subprocess.Popen[bytes]] = []
        self.robots: list[subprocess.Popen[bytes]] = []

    def start_relays(self) -> None:
        """Start both."""
        for port in self.ports:
            self.relays.append(subprocess.Popen(
                [sys.executable, '-m', 'ws_bridge', 'relay', '-p', f'port:={port}', '-p',
                 'max_peers:=10000', '-p', 'max_peers_per_address:=10000', '-p',
                 'max_handshakes:=2000', '-p',
                 f'engine:={self.nats.urls}'], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL))

    def start_robots(self) -> None:
        """Start all of them."""
        for first in range(0, self._count, IN_ONE):
            number = min(IN_ONE, self._count - first)
            self.robots.append(subprocess.Popen(
                [sys.executable, __file__, '--hold', str(first), str(number), *self.urls],
                stderr=subprocess.DEVNULL))

    def usage(self) -> list[psutil.Process]:
        """Return the relays and nodes, whose use of the machine counts."""
        nodes = [node.pid for node in self.nats.nodes if node is not None]
        return [psutil.Process(pid) for pid in [relay.pid for relay in self.relays
                                                if relay.poll() is None] + nodes]

    def close(self) -> None:
        """End everything."""
        for process in self.robots + self.relays:
            process.kill()
            process.wait()


async def compare() -> None:
    """Print the round trip without a relay, by one, by two and the engine."""
    with nats_cluster(3) as nats:
        run = Run(nats, 0)
        run.start_relays()
        try:
            for url in run.urls:
                await reach_list(url)
            async with fake_robot(run.urls[:1]) as robot:
                await until_listed(run.urls[1], 1)
                direct = f'ws://127.0.0.1:{robot.server.port}'
                for name, url in (('without', direct), ('by one', f'{run.urls[0]}/robots/r1'),
                                  ('by two and the engine', f'{run.urls[1]}/robots/r1')):
                    peer = await reach(url)
                    found = (await trips(peer, TRIPS))[TRIPS // 10:]
                    await peer.close()
                    print(f'round trip {name}: p50 {statistics.median(found):.2f}, '
                          f'p99 {percentile(found, 0.99):.2f} ms', flush=True)
        finally:
            run.close()


async def run_fleet(robots: int, operators: int, seconds: float) -> None:
    """Print what a fleet costs, and what happens when parts of it die."""
    with nats_cluster(3) as nats:
        run = Run(nats, robots)
        run.start_relays()
        try:
            for url in run.urls:
                await reach_list(url)
            run.start_robots()
            took = max(await asyncio.gather(*(until_listed(url, robots) for url in run.urls)))
            print(f'{robots} robots in both lists after {took:.1f} s', flush=True)
            processes = run.usage()
            for process in processes:
                process.cpu_percent()
            end, found = time.monotonic() + seconds, list[float]()
            tasks = [asyncio.create_task(operate(
                f'{run.urls[(index + 1) % 2]}/robots/r{index}', end, found))
                for index in range(operators)]
            await asyncio.gather(*tasks)
            print(f'{operators} operators, {len(found)} echoes: p50 '
                  f'{statistics.median(found):.1f}, p99 {percentile(found, 0.99):.1f} ms')
            for process in processes:
                print(f'  {process.name()}: {process.cpu_percent():.0f} % CPU, '
                      f'{process.memory_info().rss / 2**20:.0f} MB', flush=True)
            run.relays[0].kill()
            nats.kill(0)
            took = await until_listed(run.urls[1], robots, is_one=True)
            print(f'a relay and a node killed: {robots} robots at the other after {took:.1f} s')
        finally:
            run.close()


async def reach_list(url: str) -> None:
    """Wait until a relay answers."""
    while True:
        with suppress(WsBridgeError):
            await asyncio.to_thread(fetch_robots, url)
            return
        await asyncio.sleep(0.1)


def main() -> int:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--robots', type=int, default=1000)
    parser.add_argument('--operators', type=int, default=100)
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--hold', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.hold:
        first, number, *urls = args.hold
        asyncio.run(hold(int(first), int(number), urls))
        return 0
    print(f'`{command_line()}` on {os.cpu_count()} cores')
    asyncio.run(compare())
    asyncio.run(run_fleet(args.robots, args.operators, args.seconds))
    return 0


if __name__ == '__main__':
    sys.exit(main())
