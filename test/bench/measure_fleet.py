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

``python test/bench/measure_fleet.py [--robots N] [--operators N] [--seconds N] [PART ...]``

``trips``: the round trip without a relay, by one, and by two. ``watched``: what one robot, with a
bridge and ROS, sends up while one operator watches its camera and its odometry, and while 50 do.
One of them says once a second how it is, so all are told the state of the robot. Then the same by
a line that carries less than they ask for.
``fleet``: robots are the real uplink code with an echo in place of a bridge, half of them at each
relay. Operators have the other relay, so that everything crosses the engine; each sends 10 times a
second, and waits for the echo. Meanwhile a relay and a node are killed; then it is counted what
robots heard twice, or later than something newer. Without a word all of it is done. It shares the
cores, so the figures are above those of a fleet. What relays and robots complain of is printed.
"""
from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from itertools import count, cycle
import json
import os
from pathlib import Path
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, IO

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from measure import command_line, environment, percentile  # noqa: E402,I100,RUF100
from support.fleet import (  # noqa: E402,I100,RUF100
    Cluster,
    fake_robot,
    nats_cluster,
    slow_line,
)
from support.helpers import SpinningNode  # noqa: E402,I100,RUF100

from scripts.fleet import free_ports  # noqa: E402,I100,RUF100
from ws_bridge.cli.robots import fetch_robots  # noqa: E402
from ws_bridge.errors import WsBridgeError  # noqa: E402
from ws_bridge.fleet.uplink import FleetUplink, MOST_RETRY_DELAY  # noqa: E402

IN_ONE = 250
"""Robots in one process."""
RATE = 10.0
PATIENCE = 120.0
LOOK = 0.2
"""Between looks at a list, s: it is long."""
TRIPS = 300
LOST_AFTER = 10.0
"""Until an operator gives an echo up, s."""
ANSWER = 30.0
"""How long the answer of a relay may take, s: as a bridge has it."""
PARTS = ('trips', 'watched', 'fleet')
ODOMETRY, CAMERA = '/odom', '/camera'
WATCHERS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, (ODOMETRY, CAMERA)), (50, (ODOMETRY, CAMERA)), (50, ()))
"""How many operators watch what; what they get who watch nothing is no sample."""
LINE = 200_000
"""What a slow line of a robot carries, bytes/s."""
STATE = '"kind":"state"'
SETTLE = 2.0
"""Until it is counted, s: at first all are told of all who come."""
STATUS_EACH = 1.0
"""How often an operator says how it is, s."""
PICTURE = 40_000
"""Bytes of a compressed picture."""
OFTEN = 5
"""Complaints of a process that are printed, those that came most often."""


async def hold(first: int, number: int, urls: list[str]) -> None:
    """Keep robots connected until a line comes; then print what was wrong with what they heard."""
    async with AsyncExitStack() as stack:
        robots = [await stack.enter_async_context(fake_robot(
            urls[index % 2:] + urls[:index % 2], f'r{index}', is_awaited=False,
            patience=ANSWER, longest=MOST_RETRY_DELAY, retry_delay=1.0))
            for index in range(first, first + number)]
        await asyncio.to_thread(sys.stdin.readline)
        heard = [[str(data) for data, _ in robot.heard] for robot in robots]
        print(json.dumps({'heard': sum(map(len, heard)), 'wrong': sum(map(wrong, heard))}),
              flush=True)
        await asyncio.Event().wait()


def wrong(heard: Iterable[str]) -> int:
    """Return how many messages came twice, or after a newer one of the same operator."""
    last, found = dict[str, int](), 0
    for operator, serial, _ in (message.split(' ') for message in heard):
        found += int(serial) <= last.get(operator, -1)
        last[operator] = max(int(serial), last.get(operator, -1))
    return found


FAILURES = Counter[str]()
"""Why operators were not connected."""


async def reach(urls: Sequence[str], **options: Any) -> ClientConnection:
    """Connect by one of some URLs, again and again until that succeeds."""
    end = time.monotonic() + PATIENCE
    for url in cycle(urls):
        try:
            return await connect(url, proxy=None, **options)
        except (OSError, InvalidHandshake, asyncio.TimeoutError) as exc:
            FAILURES[f'{type(exc).__name__} {exc}'] += 1
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
    raise AssertionError('no URL')


async def trip(peer: ClientConnection, operator: int, serial: int) -> float:
    """Return a round trip, ms."""
    began = time.perf_counter()
    await peer.send(f'{operator} {serial} {"x" * 100}')
    await asyncio.wait_for(peer.recv(), LOST_AFTER)
    return 1000 * (time.perf_counter() - began)


async def operate(operator: int, urls: Sequence[str], end: float, found: list[float]) -> None:
    """Send at a rate and wait for the echo, until the end; connect again where that is lost."""
    serials = count()
    while time.monotonic() < end:
        peer = await reach(urls)
        with suppress(ConnectionClosed, asyncio.TimeoutError):
            while time.monotonic() < end:
                found.append(await trip(peer, operator, next(serials)))
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

    def __init__(self, nats: Cluster | None, robots: int) -> None:
        self.nats = nats
        self._count = robots
        self.ports = free_ports(2)
        self.urls = [f'ws://127.0.0.1:{port}' for port in self.ports]
        self.relays: list[subprocess.Popen[bytes]] = []
        self.robots: list[subprocess.Popen[bytes]] = []
        self._said: dict[str, IO[bytes]] = {}

    def start_relays(self, number: int = 2) -> None:
        """Start both, or one."""
        engine = [] if self.nats is None else ['-p', f'engine:={self.nats.urls}']
        for port in self.ports[:number]:
            self.relays.append(subprocess.Popen(
                [sys.executable, '-m', 'ws_bridge', 'relay', '-p', f'port:={port}', '-p',
                 'max_peers:=10000', '-p', 'max_peers_per_address:=10000', *engine],
                stdout=subprocess.DEVNULL, stderr=self._listen(f'relay {len(self.relays)}')))

    def start_robots(self) -> None:
        """Start all of them."""
        for first in range(0, self._count, IN_ONE):
            number = min(IN_ONE, self._count - first)
            self.robots.append(subprocess.Popen(
                [sys.executable, __file__, '--hold', str(first), str(number), *self.urls],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._listen(f'robots from {first} on')))

    def heard(self) -> Counter[str]:
        """Return what all robots together have heard."""
        found = Counter[str]()
        for process in self.robots:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b'\n')
            process.stdin.flush()
            found.update(json.loads(process.stdout.readline()))
        return found

    def _listen(self, name: str) -> IO[bytes]:
        self._said[name] = tempfile.TemporaryFile()     # noqa: SIM115
        return self._said[name]

    def print_complaints(self) -> None:
        """Print what processes have said that is no news; numbers make no difference."""
        for name, file in self._said.items():
            file.seek(0)
            lines = Counter(re.sub(r'[0-9a-f]*[0-9][0-9a-f]*', '#', line).strip()
                            for line in file.read().decode(errors='replace').splitlines()
                            if not line.startswith('INFO'))
            for line, times in lines.most_common(OFTEN):
                print(f'  {name} said {times} times: {line[:200]}', flush=True)

    def cpu(self) -> dict[str, float]:
        """Return the CPU time of each kind of process until now, s."""
        def used(processes: Iterable[subprocess.Popen[bytes] | None]) -> float:
            times = [psutil.Process(process.pid).cpu_times() for process in processes
                     if process is not None and process.poll() is None]
            return sum(each.user + each.system for each in times)
        nodes = () if self.nats is None else self.nats.nodes
        return {'relays': used(self.relays), 'nodes': used(nodes), 'robots': used(self.robots)}

    def usage(self) -> list[psutil.Process]:
        """Return the relays and nodes, whose use of the machine counts."""
        nodes = [node.pid for node in self.nats.nodes if node is not None] if self.nats else []
        return [psutil.Process(pid) for pid in [relay.pid for relay in self.relays
                                                if relay.poll() is None] + nodes]

    def close(self) -> None:
        """End everything."""
        for process in self.robots + self.relays:
            process.kill()
            process.communicate()
        self.print_complaints()
        for file in self._said.values():
            file.close()


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
                    peer = await reach([url])
                    found = [await trip(peer, 0, serial) for serial in range(TRIPS)][TRIPS // 10:]
                    await peer.close()
                    print(f'round trip {name}: p50 {statistics.median(found):.2f}, '
                          f'p99 {percentile(found, 0.99):.2f} ms', flush=True)
        finally:
            run.close()


@dataclass
class Got:
    """What the operators have got: samples each, or what else comes; and states, all of them."""

    samples: list[int]
    sizes: list[int]
    states: int = 0
    state_bytes: int = 0


def envelope(kind: str, **data: Any) -> str:
    """Return a message of an operator."""
    return json.dumps({'metadata': {'message_type': kind, 'message_id': 'm'}, 'data': data})


async def say(peer: ClientConnection) -> None:
    """Say again and again how an operator is."""
    for number in count():
        await peer.send(envelope('status', number=number))
        await asyncio.sleep(STATUS_EACH)


async def watch(url: str, topics: Sequence[str], got: Got, number: int) -> None:
    """Subscribe to some topics, and count the samples; without a topic, what else comes."""
    async with await reach([url], max_size=None,
                           subprotocols=[Subprotocol('ws_bridge.v1')]) as peer:
        for topic in topics:
            await peer.send(envelope('configuration', op='subscribe', topic=topic,
                                     encoding='cdr'))
        saying = None if number else asyncio.create_task(say(peer))
        try:
            async for frame in peer:
                if isinstance(frame, str) and STATE in frame:
                    got.states += 1
                    got.state_bytes += len(frame)
                got.samples[number] += isinstance(frame, bytes) or not topics
                got.sizes[number] += len(frame)
        finally:
            if saying is not None:
                saying.cancel()


async def watch_all(watchers: int, url: str, *topics: str) -> None:
    """Be so many operators; print what they have got whenever a line comes."""
    got = Got([0] * watchers, [0] * watchers)
    tasks = [asyncio.create_task(watch(url, topics, got, each)) for each in range(watchers)]
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(asdict(got)), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def watched_by(watchers: int, url: str, topics: Sequence[str], fleet: FleetUplink,
                     seconds: float) -> None:
    """Print what a robot sends up while so many operators watch some topics of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, '--watch', str(watchers), url, *topics,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    asks, answers = process.stdin, process.stdout
    assert asks is not None
    assert answers is not None

    async def count_all() -> Got:
        asks.write(b'\n')
        return Got(**json.loads(await answers.readline()))
    while not all((await count_all()).samples):   # noqa: ASYNC110 - another process has events
        await asyncio.sleep(LOOK)
    await asyncio.sleep(SETTLE)
    begin, before, sent = time.monotonic(), await count_all(), fleet.bytes_out
    await asyncio.sleep(seconds)
    took, after, sent = time.monotonic() - begin, await count_all(), fleet.bytes_out - sent
    got = [end - start for start, end in zip(before.samples, after.samples, strict=True)]
    sizes = [end - start for start, end in zip(before.sizes, after.sizes, strict=True)]
    states = after.states - before.states
    print(f'{watchers} operators of {" and ".join(topics) or "nothing"}: the robot sends '
          f'{sent / took / 1000:.1f} kB/s up, {sent / statistics.mean(sizes):.2f} times what one '
          f'gets; each gets {min(got) / took:.1f} to '
          f'{max(got) / took:.1f} messages a second; all together get {states / took:.1f} states '
          f'a second, {(after.state_bytes - before.state_bytes) / took / 1000:.1f} kB/s',
          flush=True)
    asks.close()
    await process.wait()


async def run_watched(seconds: float) -> None:
    """Print what one robot sends up, while one operator watches it, and while many do."""
    os.environ.update(environment())
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CompressedImage
    from support.bridge_harness import running_bridge
    run = Run(None, 0)
    run.start_relays(1)
    await reach_list(run.urls[0])
    try:
        with SpinningNode('robot') as robot:
            odometry = robot.node.create_publisher(Odometry, ODOMETRY, 10)
            camera = robot.node.create_publisher(CompressedImage, CAMERA, 10)
            picture, numbers = os.urandom(PICTURE), count()

            def publish() -> None:
                odometry.publish(Odometry())
                if next(numbers) % 5 == 0:
                    camera.publish(CompressedImage(format='jpeg', data=picture))
            robot.node.create_timer(0.02, publish)
            async with slow_line(run.ports[0], LINE) as line:
                for url in (run.urls[0], f'ws://127.0.0.1:{line.port}'):
                    if url != run.urls[0]:
                        print(f'by a line of {LINE / 1000:g} kB/s:')
                    async with running_bridge(fleet=[url], max_peers=100) as bridge:
                        fleet = bridge.fleet
                        assert fleet is not None
                        await until_listed(run.urls[0], 1)
                        for watchers, topics in WATCHERS:
                            await watched_by(watchers, f'{run.urls[0]}/robots/testbot', topics,
                                             fleet, seconds)
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
            before = run.cpu()
            run.start_robots()
            took = max(await asyncio.gather(*(until_listed(url, robots) for url in run.urls)))
            print(f'{robots} robots in both lists after {took:.1f} s; CPU: ' + ', '.join(
                f'{kind} {used - before[kind]:.1f} s' for kind, used in run.cpu().items()),
                flush=True)
            processes = run.usage()
            for process in processes:
                process.cpu_percent()
            found = list[float]()
            tasks = [asyncio.create_task(operate(index, [
                f'{url}/robots/r{index}' for url in run.urls[::1 if index % 2 else -1]],
                time.monotonic() + 2 * seconds, found)) for index in range(operators)]
            await asyncio.sleep(seconds)
            print_echoes(f'{operators} operators', found)
            for process in processes:
                print(f'  {process.name()}: {process.cpu_percent():.0f} % CPU, '
                      f'{process.memory_info().rss / 2**20:.0f} MB', flush=True)
            run.relays[0].kill()
            nats.kill(0)
            took = await until_listed(run.urls[1], robots, is_one=True)
            print(f'a relay and a node killed: {robots} robots at the other after {took:.1f} s')
            found.clear()
            await asyncio.gather(*tasks)
            print_echoes('then', found)
            heard = run.heard()
            print(f'{heard["heard"]} messages were heard by robots, {heard["wrong"]} of them '
                  f'twice or too late', flush=True)
        finally:
            run.close()


def print_echoes(who: str, found: Sequence[float]) -> None:
    """Print how long echoes took."""
    if found:
        print(f'{who}: {len(found)} echoes, p50 {statistics.median(found):.1f}, '
              f'p99 {percentile(found, 0.99):.1f} ms', flush=True)
    else:
        print(f'{who}: no echo', flush=True)
    for failure, times in FAILURES.most_common(OFTEN):
        print(f'  not connected {times} times: {failure}', flush=True)
    FAILURES.clear()


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
    parser.add_argument('parts', nargs='*', metavar='PART', help=', '.join(PARTS))
    parser.add_argument('--robots', type=int, default=1000)
    parser.add_argument('--operators', type=int, default=100)
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--hold', nargs='+', help=argparse.SUPPRESS)
    parser.add_argument('--watch', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.hold:
        first, number, *urls = args.hold
        asyncio.run(hold(int(first), int(number), urls))
        return 0
    if args.watch:
        asyncio.run(watch_all(int(args.watch[0]), *args.watch[1:]))
        return 0
    if not {*args.parts} <= {*PARTS}:
        parser.error(f'parts are {", ".join(PARTS)}')
    print(f'`{command_line()}` on {os.cpu_count()} cores')
    for part in PARTS:
        if not args.parts or part in args.parts:
            asyncio.run({'trips': compare, 'watched': lambda: run_watched(args.seconds),
                         'fleet': lambda: run_fleet(args.robots, args.operators, args.seconds)
                         }[part]())
    return 0


if __name__ == '__main__':
    sys.exit(main())
