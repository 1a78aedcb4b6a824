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
relay. Operators have the other relay, so that everything crosses the engine; each sends 10
commands a second, waits for the echo of each, and watches five topics of its robot. A robot
refuses a command as a bridge does: if more than the time to live has gone since the newest ping
that was answered before it. Meanwhile a relay and a node are killed. The exit code is 1 if a robot
accepted a command twice, or after a newer one, or one that was older than that by the clock that
all have; or if an operator got a sample twice, or after a newer one; or if a robot or an operator
did not come back. Without a word all of it is done. It shares the cores, so the figures are above
those of a fleet. What relays and robots complain of is printed.
"""
from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from itertools import count, cycle
import json
import os
from pathlib import Path
import re
import statistics
import struct
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
    FakeRobot,
    nats_cluster,
    slow_line,
)
from support.helpers import SpinningNode  # noqa: E402,I100,RUF100

from scripts.fleet import free_ports  # noqa: E402,I100,RUF100
from ws_bridge.cli.robots import fetch_robots  # noqa: E402
from ws_bridge.errors import WsBridgeError  # noqa: E402
from ws_bridge.fleet.uplink import FleetUplink, MOST_RETRY_DELAY  # noqa: E402
from ws_bridge.transport.framing import StreamFrame  # noqa: E402
from ws_bridge.transport.link import Link  # noqa: E402

IN_ONE = 250
"""Robots in one process."""
RATE = 10.0
"""Commands of an operator, Hz."""
TOPICS, SAMPLE, SAMPLE_RATE = 5, 200, 4.0
"""That an operator watches; bytes of a sample, and Hz of each topic."""
TTL = 1.0
"""How old a command may be, s; more than a bridge allows: the cores do much else."""
FENCE = 0.5
"""Between the pings of a robot to its operators, s."""
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


class Driven(FakeRobot):
    """A robot that judges the age of what it hears, and tells five topics to its operators."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.last: dict[str, int] = {}
        self.ages: list[float] = []
        self.found = Counter[str]()
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def opened(self, link: Link) -> None:
        super().opened(link)
        link.pace.keep(FENCE)
        if self._timer is None:
            self._publish()

    def received(self, link: Link, data: str | bytes) -> None:
        now = time.monotonic()
        operator, serial, sent, _ = str(data).split(' ')
        if now - link.fence > TTL:
            self.found['expired'] += 1
            link.send(EXPIRED)
            return
        self.ages.append(now - float(sent))
        self.found['accepted'] += 1
        self.found['late'] += now - float(sent) > TTL
        self.found['twice or overtaken'] += int(serial) <= self.last.get(operator, -1)
        self.last[operator] = max(int(serial), self.last.get(operator, -1))
        link.send(data)

    def _publish(self) -> None:
        self._timer = None
        if self.links:
            number = next(self._numbers)
            for topic in range(TOPICS):
                frame = NUMBERS.pack(topic, number).ljust(SAMPLE, b'x')
                for link in self.links:
                    link.stage(StreamFrame(topic, frame, 1, text=False))
            for link in self.links:
                link.flush()
            self._timer = asyncio.get_running_loop().call_later(1 / SAMPLE_RATE, self._publish)


async def hold(first: int, number: int, urls: list[str]) -> None:
    """Keep robots connected; print what they have heard since the last time, on each line."""
    async with AsyncExitStack() as stack:
        robots: list[Any] = [await stack.enter_async_context(fake_robot(
            urls[index % 2:] + urls[:index % 2], f'r{index}', is_awaited=False, kind=Driven,
            patience=ANSWER, longest=MOST_RETRY_DELAY, retry_delay=1.0))
            for index in range(first, first + number)]
        while await asyncio.to_thread(sys.stdin.readline):
            found, ages = Counter[str](), list[float]()
            for robot in robots:
                found.update(robot.found)
                ages += robot.ages
                robot.found.clear()
                robot.ages.clear()
            print(json.dumps([found, [round(age, 4) for age in ages]]), flush=True)


FAILURES = Counter[str]()
"""Why operators were not connected."""
NUMBERS = struct.Struct('!BI')
"""What a sample begins with: its topic and its number."""
EXPIRED = 'expired'
"""The answer to a command that is too old."""
OPERATORS_IN_ONE = 50
"""Operators in one process."""
WRONG = ('twice or overtaken', 'late', 'samples twice or overtaken')
"""What must not be."""


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
    await peer.send(f'{operator} {serial} {time.monotonic()} {"x" * 100}')
    while isinstance(await asyncio.wait_for(peer.recv(), LOST_AFTER), bytes):
        pass
    return 1000 * (time.perf_counter() - began)


class Operator:
    """
    Who drives a robot and watches it.

    :ivar trips: of the commands that were answered, ms.
    """

    def __init__(self, number: int, urls: Sequence[str]) -> None:
        self._number = number
        self._urls = urls
        self._serials = count()
        self._sent: dict[int, float] = {}
        self._last: dict[int, int] = {}
        self.trips: list[float] = []
        self.found = Counter[str]()

    async def work(self, end: float) -> None:
        """Send at a rate until the end; connect again where that is lost."""
        while time.monotonic() < end:
            peer = await reach(self._urls)
            self._sent.clear()
            reading = asyncio.create_task(self._read(peer))
            with suppress(ConnectionClosed):
                while time.monotonic() < end and not reading.done():
                    serial, now = next(self._serials), time.monotonic()
                    self._sent[serial] = now
                    await peer.send(f'{self._number} {serial} {now} {"x" * 100}')
                    if len(self._sent) > LOST_AFTER * RATE:
                        break
                    await asyncio.sleep(1 / RATE)
            reading.cancel()
            await asyncio.wait([reading])
            await peer.close()

    async def _read(self, peer: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                data = await peer.recv()
                if isinstance(data, bytes):
                    topic, number = NUMBERS.unpack_from(data)
                    self.found['samples'] += 1
                    self.found['samples twice or overtaken'] += number <= self._last.get(topic, -1)
                    self._last[topic] = number
                elif data != EXPIRED:
                    sent = self._sent.pop(int(data.split(' ', 2)[1]), None)
                    if sent is not None:
                        self.trips.append(1000 * (time.monotonic() - sent))


async def operate(first: int, number: int, step: int, seconds: float, urls: list[str]) -> None:
    """Be operators of every so many robots; print what they have found, on each line."""
    end = time.monotonic() + seconds
    robots = [index * step + index % 2 for index in range(first, first + number)]
    operators = [Operator(index, [
        f'{url}/robots/r{index}' for url in (urls if index % 2 else urls[::-1])])
        for index in robots]
    tasks = [asyncio.create_task(each.work(end)) for each in operators]
    while await asyncio.to_thread(sys.stdin.readline):
        trips, found = list[float](), Counter[str]()
        for each in operators:
            found['silent operators'] += not each.trips
            trips += each.trips
            each.trips.clear()
            found.update(each.found)
            each.found.clear()
        found.update(FAILURES)
        FAILURES.clear()
        print(json.dumps([found, [round(trip, 2) for trip in trips]]), flush=True)
    await asyncio.gather(*tasks)


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
        self.operators: list[subprocess.Popen[bytes]] = []
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
            self.robots.append(self._start(f'robots from {first} on', '--hold', first, number,
                                           *self.urls))

    def start_operators(self, count: int, seconds: float) -> None:
        """Start some, each with a robot of its own, for a time."""
        step = self._count // count
        for first in range(0, count, OPERATORS_IN_ONE):
            number = min(OPERATORS_IN_ONE, count - first)
            self.operators.append(self._start(f'operators from {first} on', '--operate', first,
                                              number, step, seconds, *self.urls))

    def _start(self, name: str, *words: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, *map(str, words)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=self._listen(name))

    def print_found(self, when: str) -> Counter[str]:
        """Print what robots and operators have found since the last time, and return it."""
        found, ages, trips = Counter[str](), list[float](), list[float]()
        for processes, figures in ((self.robots, ages), (self.operators, trips)):
            for process in processes:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(b'\n')
                process.stdin.flush()
                some, more = json.loads(process.stdout.readline())
                found.update(some)
                figures += more
        print(f'{when}: {in_ms([1000 * age for age in ages], "commands to the robot")}; '
              f'{in_ms(trips, "round trips")}', flush=True)
        print('  ' + ', '.join(f'{number} {what}' for what, number in found.items()), flush=True)
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

    def usage(self) -> dict[str, psutil.Process]:
        """Return all processes, by what they are."""
        nodes = [node for node in self.nats.nodes if node is not None] if self.nats else []
        return {f'{name} {number}': psutil.Process(process.pid) for name, processes in (
            ('relay', self.relays), ('node', nodes), ('250 robots', self.robots),
            ('50 operators', self.operators)) for number, process in enumerate(processes)}

    def close(self) -> None:
        """End everything."""
        for process in self.operators + self.robots + self.relays:
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


async def run_fleet(robots: int, operators: int, seconds: float) -> bool:
    """Print what a fleet costs, and what happens when parts of it die; whether that is wrong."""
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
            run.start_operators(operators, 2 * seconds + SETTLE)
            await asyncio.sleep(SETTLE)
            run.print_found('at first')
            processes = run.usage()
            for process in processes.values():
                process.cpu_percent()
            await asyncio.sleep(seconds)
            found = run.print_found(f'{operators} operators')
            for name, process in processes.items():
                print(f'  {name}: {process.cpu_percent():.0f} % CPU, '
                      f'{process.memory_info().rss / 2**20:.0f} MB', flush=True)
            run.relays[0].kill()
            nats.kill(0)
            took = await until_listed(run.urls[1], robots, is_one=True)
            print(f'a relay and a node killed: {robots} robots at the other after {took:.1f} s')
            found.update(run.print_found('meanwhile'))
            await asyncio.sleep(max(seconds - took, SETTLE))
            last = run.print_found('then')
            found.update(last)
            return any(found[what] for what in WRONG) or last['silent operators'] > 0
        finally:
            run.close()


def in_ms(found: Sequence[float], what: str) -> str:
    """Return what there is to say of times, ms."""
    if not found:
        return f'no {what}'
    return (f'{len(found)} {what}, p50 {statistics.median(found):.1f}, '
            f'p99 {percentile(found, 0.99):.1f}, at most {max(found):.1f} ms')


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
    parser.add_argument('--operate', nargs='+', help=argparse.SUPPRESS)
    parser.add_argument('--watch', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.hold:
        first, number, *urls = args.hold
        asyncio.run(hold(int(first), int(number), urls))
        return 0
    if args.operate:
        first, number, step, seconds, *urls = args.operate
        asyncio.run(operate(int(first), int(number), int(step), float(seconds), urls))
        return 0
    if args.watch:
        asyncio.run(watch_all(int(args.watch[0]), *args.watch[1:]))
        return 0
    if not {*args.parts} <= {*PARTS}:
        parser.error(f'parts are {", ".join(PARTS)}')
    print(f'`{command_line()}` on {os.cpu_count()} cores')
    is_wrong = False
    runs: dict[str, Callable[[], Coroutine[Any, Any, bool | None]]] = {
        'trips': compare, 'watched': lambda: run_watched(args.seconds),
        'fleet': lambda: run_fleet(args.robots, args.operators, args.seconds)}
    for part in PARTS:
        if not args.parts or part in args.parts:
            is_wrong |= bool(asyncio.run(runs[part]()))
    return int(is_wrong)


if __name__ == '__main__':
    sys.exit(main())
