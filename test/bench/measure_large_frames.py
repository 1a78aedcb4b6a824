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
What others notice of one large message: an operator that drives, and the stop of one that ceases.

``python test/bench/measure_large_frames.py [--runs 20] [--busy 1] [WORD ...]`` prints the tables
of ``docs/explanation/safety.md`` and ``performance.md``; with words only the payloads that have
them in their name, with ``--busy`` beside processes that each take a processor. Bridge, operator,
listener and the peer that sends are processes of their own. The operator drives at 50 Hz; in each
run it drives on at first while the payload is sent, then falls silent just as it is sent again.
A command carries the time when it was made: its age when it is heard, less the usual one, is for
how long it was held. A gap that shows in the times when they were made is the operator's own: it
shares the processors. "Stolen" is what the host of a virtual machine kept from each processor in
the run with the oldest command. It ends with 1 where a bound is not held.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
import json
import os
from pathlib import Path
import platform
import subprocess
import sys
import threading
import time
from typing import Any

import cbor2
from measure import environment, percentile, stolen
import psutil
from websockets.sync.client import connect
from websockets.typing import Subprotocol

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

RATE = 50
MOVING = 20
"""Commands that are heard before a payload is sent."""
HOLD = 0.020
"""For how long a message of one peer may keep another's, s."""
MAP_HOLD = 0.040
"""The same for the map, of which ROS gives 16 MB at once, s."""
SLACK = 0.020
"""By how much a stop may be later than the gate's timeout, s."""
AFTER = 0.5
"""For how long the operator drives on after the payload was answered, s."""
GIVEN_BACK = 12.0
"""When the worker has ended, and memory is looked at, s."""
FAMILY = 0.2
"""Between two looks for new workers, s."""
SHARES = 0.5, 0.99, 1.0
MEGABYTE = 1 << 20
ARRAY = 'std_msgs/msg/Float64MultiArray'
POSES = 'geometry_msgs/msg/PoseArray'
STRINGS = 'test_msgs/msg/UnboundedSequences'
MAP = 4000
PATIENT: dict[str, Any] = {'max_size': None, 'max_queue': None, 'compression': None,
                           'ping_interval': None}

Frame = str | bytes


@dataclass(frozen=True)
class Payload:
    """
    What is sent.

    :param make: returns the frame; ``None``: a map is published, for the peer that subscribes.
    :param dialect: ``ws_bridge.v1`` or ``rosbridge.v2``.
    """

    name: str
    dialect: str
    make: Callable[[], Frame] | None
    msg_type: str = ARRAY


def native(values: str) -> Frame:
    """Return a publication in the native dialect."""
    return '{"metadata":{"message_type":"command","destination":"/large"},"data":%s}' % values


def rosbridge(values: str) -> Frame:
    """Return a publication in rosbridge."""
    return '{"op":"publish","topic":"/large","msg":%s}' % values


def poses(count: int) -> str:
    """Return an honest message of many parts, JSON."""
    return json.dumps({'poses': [{
        'position': {'x': 0.1 * number, 'y': 1.25, 'z': 0.0},
        'orientation': {'x': 0.0, 'y': 0.0, 'z': 0.70710678, 'w': 0.70710678}}
        for number in range(count)]})


def shared() -> bytes:
    """Return CBOR of 9.9 MB that refers to one list again and again."""
    head = cbor2.dumps({'op': 'publish', 'topic': '/large', 'msg': None})[:-1]
    count = 3_300_000
    return head + b'\xa1\x64data\x9a' + (count + 1).to_bytes(4, 'big') + \
        b'\xd8\x1c\x81\x01' + b'\xd8\x1d\x00' * count


def empties() -> bytes:
    """Return CBOR of 9.9 MB of empty arrays."""
    head = cbor2.dumps({'op': 'publish', 'topic': '/large', 'msg': None})[:-1]
    return head + b'\xa1\x64data\x9a' + (9_800_000).to_bytes(4, 'big') + b'\x80' * 9_800_000


PAYLOADS = (
    Payload('none', 'rosbridge.v2', lambda: '{"op":"set_level","level":"none"}'),
    Payload('CBOR, 9.9 MB of empty arrays', 'rosbridge.v2', empties),
    Payload('CBOR, 9.9 MB of shared references', 'rosbridge.v2', shared),
    Payload('JSON, 9.9 MB of empty arrays', 'rosbridge.v2',
            lambda: rosbridge('{"data":[' + '[],' * 3_290_000 + '[]]}')),
    Payload('JSON, 9.9 MB of empty arrays and a NaN', 'rosbridge.v2',
            lambda: rosbridge('{"data":[' + '[],' * 3_290_000 + 'NaN]}')),
    Payload('JSON, 3 MB of empty arrays', 'ws_bridge.v1',
            lambda: native('{"data":[' + '[],' * 990_000 + '[]]}')),
    Payload('JSON, 7 MB of [[1],...]', 'ws_bridge.v1',
            lambda: native('{"data":[' + '[1],' * 1_750_000 + '[1]]}')),
    Payload('JSON, 64 kB of empty arrays', 'ws_bridge.v1',
            lambda: native('{"data":[' + '[],' * 21_000 + '[]]}')),
    Payload('JSON, PoseArray of 8 MB', 'ws_bridge.v1', lambda: native(poses(66_000)), POSES),
    Payload('JSON, 9 MB of strings', 'ws_bridge.v1',
            lambda: native(json.dumps({'string_values': ['eight...'] * 780_000})), STRINGS),
    Payload('JSON, one string of 9 MB', 'ws_bridge.v1',
            lambda: native(json.dumps({'data': 'x' * 9_000_000})), 'std_msgs/msg/String'),
    Payload('JSON, 7 MB of numbers', 'ws_bridge.v1',
            lambda: native(json.dumps({'data': [0.123456] * 700_000}))),
    Payload('CBOR, 7 MB of numbers', 'rosbridge.v2', lambda: cbor2.dumps(
        {'op': 'publish', 'topic': '/large', 'msg': {'data': [0.123456] * 770_000}})),
    Payload('a map of 4000x4000 as JSON, 46 MB, to one peer', 'ws_bridge.v1', None),
)
MORE = (
    Payload('JSON, PoseArray of 5 MB, rosbridge', 'rosbridge.v2', lambda: rosbridge(json.dumps(
        {'poses': [{'position': {'x': 0.125, 'y': 1.25, 'z': 0.0}, 'orientation': {
            'x': 0.0, 'y': 0.0, 'z': 0.70710678, 'w': 0.70710678}}] * 45_000})),
        'geometry_msgs/msg/PoseArray'),
    Payload('JSON, 6 MB of numbers of one digit', 'ws_bridge.v1',
            lambda: native(json.dumps({'data': [7.5] * 990_000}))),
    Payload('JSON, an image of 9 MB in base64', 'ws_bridge.v1', lambda: native(json.dumps(
        {'height': 1500, 'width': 1500, 'encoding': 'rgb8', 'step': 4500,
         'data': 'AAEC' * 2_250_000})), 'sensor_msgs/msg/Image'),
    Payload('JSON, one string of 9 MB with an emoji', 'ws_bridge.v1', lambda: native(json.dumps(
        {'data': '\U0001f600' + 'x' * 9_000_000}, ensure_ascii=False)), 'std_msgs/msg/String'),
    Payload('JSON, 8 MB of keys', 'ws_bridge.v1', lambda: native(json.dumps(
        {f'k{number:05}': 0 for number in range(600_000)}))))
"""Further ones, of which the memory is measured."""


@dataclass
class Figures:
    """What was measured of one payload, s and bytes."""

    size: int = 0
    gaps: list[float] = field(default_factory=list)
    made_gaps: list[float] = field(default_factory=list)
    all_gaps: list[float] = field(default_factory=list)
    ages: list[list[float]] = field(default_factory=list)
    stolen: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    rest: int = 0
    peak: int = 0
    after: int = 0


class Memory:
    """The memory of the bridge and of its workers, looked at all the time."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._family: list[psutil.Process] = []
        self._looked = 0.0
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self) -> int:
        """Return the bytes that are taken now."""
        total = 0
        if time.monotonic() > self._looked + FAMILY:    # it costs milliseconds: /proc is read
            self._family = [self._process, *self._process.children(recursive=True)]
            self._looked = time.monotonic()
        for process in self._family:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self.peak = max(self.peak, self.now())

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()


class Sender:
    """The peer that sends, or gets, what is large: a process, so that it is not in the way."""

    def __init__(self, port: int, payload: Payload) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, '--send', payload.name, '--port', str(port)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.size = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, 'the peer that sends has ended'
        return line

    def begin(self) -> None:
        """Send it."""
        assert self._process.stdin is not None
        self._process.stdin.write('\n')
        self._process.stdin.flush()

    def wait(self) -> None:
        """Wait until it was read, or has arrived."""
        self._line()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def send(payload: Payload, port: int) -> None:
    """Be the peer that sends: a line on stdin each time, one on stdout when it is done."""
    if payload.make is None:
        get_map(port)
        return
    frame = payload.make()
    with connect(f'ws://127.0.0.1:{port}', subprotocols=[Subprotocol(payload.dialect)],
                 **PATIENT) as websocket:
        def ask(number: int, **fields: Any) -> None:
            if payload.dialect == 'ws_bridge.v1':
                websocket.send(json.dumps({'metadata': {
                    'message_type': 'configuration', 'message_id': f'a{number}'},
                    'data': {'op': 'list', **fields}}))
                while json.loads(websocket.recv())['metadata']['correlation_id'] != f'a{number}':
                    pass
            else:
                websocket.send(json.dumps({'op': 'call_service', 'service': '/rosapi/get_time',
                                           'id': f'a{number}'}))
                while json.loads(websocket.recv()).get('id') != f'a{number}':
                    pass
        if payload.dialect == 'ws_bridge.v1':
            ask(0, op='advertise', topic='/large', type=payload.msg_type)
        else:
            websocket.send(json.dumps({'op': 'advertise', 'topic': '/large',
                                       'type': payload.msg_type}))
            ask(0)
        print(len(frame), flush=True)
        for number, _ in enumerate(sys.stdin, 1):
            websocket.send(frame)
            ask(number)
            print(flush=True)


def get_map(port: int) -> None:
    """Be the peer that subscribes to a map, and the robot that publishes it."""
    from nav_msgs.msg import OccupancyGrid
    import rclpy
    rclpy.init(args=[])
    node = rclpy.create_node('measured_map')
    publisher = node.create_publisher(OccupancyGrid, '/large_map', 1)
    grid = OccupancyGrid()
    grid.info.width = grid.info.height = MAP
    grid.data.frombytes(bytes([0, 100, 7, 255]) * (MAP * MAP // 4))
    with connect(f'ws://127.0.0.1:{port}', subprotocols=[Subprotocol('ws_bridge.v1')],
                 **PATIENT) as websocket:
        websocket.send(json.dumps({'metadata': {'message_type': 'configuration'}, 'data': {
            'op': 'subscribe', 'topic': '/large_map', 'type': 'nav_msgs/msg/OccupancyGrid'}}))
        while not publisher.get_subscription_count():
            time.sleep(0.01)
        time.sleep(1.0)     # both sides know each other

        def once() -> int:
            publisher.publish(grid)
            while len(frame := websocket.recv()) < MEGABYTE:
                pass
            return len(frame)
        print(once(), flush=True)
        for _ in sys.stdin:
            once()
            print(flush=True)


@contextmanager
def driving(rig: Any) -> Iterator[tuple[Any, Callable[[], list[list[float]]]]]:
    """Have an operator that drives; gives it, and what is heard from now on."""
    from support.faults import Process, TOPIC
    from support.helpers import wait_until
    heard = rig.hear()
    operator = Process(sys.executable, str(HERE.parent / 'support/operator_client.py'),
                       f'ws://127.0.0.1:{rig.port}', TOPIC, str(RATE))
    try:
        operator.say(json.dumps({'op': 'acquire', 'gate': TOPIC}))
        wait_until(lambda: sum(x != 0 for _, x, _ in heard()) >= MOVING,
                   why=lambda: operator.lines[-5:])
        yield operator, heard
    finally:
        operator.close()


def run_once(rig: Any, sender: Sender, figures: Figures) -> None:
    """Measure a payload once, both ways."""
    from support.faults import first_zero
    from support.helpers import wait_until
    with driving(rig) as (operator, heard):
        begin, before = time.monotonic(), stolen()
        sender.begin()
        sender.wait()
        time.sleep(AFTER)
        figures.stolen.append(stolen() - before)
        driven = [line for line in heard() if line[0] > begin and line[1] != 0]
        gaps = [b[0] - a[0] for a, b in pairwise(driven)]
        figures.gaps.append(max(gaps))
        figures.made_gaps.append(max(b[2] - a[2] for a, b in pairwise(driven)))
        figures.all_gaps += gaps
        figures.ages.append([at - made for at, _, made in driven])
    rig.settle()
    with driving(rig) as (operator, heard):
        sender.begin()
        operator.say('quiet')
        wait_until(lambda: first_zero(heard()) is not None)
        lines = heard()
        stop = first_zero(lines)
        assert stop is not None
        figures.stops.append(lines[stop][0] - lines[stop - 1][0])
        sender.wait()
    rig.settle()


def measure(rig: Any, payload: Payload, runs: int) -> Figures:
    """Measure one payload."""
    rig.start_bridge()
    figures = Figures()
    with closing(Memory(rig.bridge.popen.pid)) as memory:
        with closing(Sender(rig.port, payload)) as sender:
            figures.size = sender.size
            time.sleep(GIVEN_BACK)
            figures.rest, memory.peak = memory.now(), 0
            for _ in range(runs):
                run_once(rig, sender, figures)
        figures.peak = memory.peak
        time.sleep(GIVEN_BACK)
        figures.after = memory.now()
    return figures


def row(payload: Payload, figures: Figures, timeout: float) -> tuple[str, bool]:
    """Return a row of the table, and whether its bounds are held."""
    usual = percentile((age for ages in figures.ages for age in ages), 0.5)
    oldest, stolen_then = max(zip(map(max, figures.ages), figures.stolen, strict=True))
    stop = percentile(figures.stops, 0.99)
    hold = MAP_HOLD if payload.make is None else HOLD
    held = oldest - usual <= hold and stop <= timeout + SLACK
    cells = [payload.name, f'{figures.size / 1e6:.1f}', str(len(figures.gaps)),
             *(f'{value * 1e3:.1f}' for value in (
                 max(figures.made_gaps), max(figures.gaps), usual, oldest, stolen_then,
                 percentile(figures.stops, 0.5), stop)),
             *(f'{value / MEGABYTE:.0f}' for value in (
                 figures.rest, figures.peak, figures.after)), 'yes' if held else '**no**']
    return f'| {" | ".join(cells)} |', held


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Have processes that each take a processor."""
    processes = [subprocess.Popen([sys.executable, '-c', 'while True: pass'])
                 for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> int:
    """Print the table; return 1 where a bound is not held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('words', nargs='*')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--busy', type=int, default=0)
    parser.add_argument('--send')
    parser.add_argument('--port', type=int, default=0)
    arguments = parser.parse_args()
    if arguments.send:
        send(next(each for each in (*PAYLOADS, *MORE) if each.name == arguments.send),
             arguments.port)
        return 0
    os.environ.update(environment())
    from support.faults import Rig, TIMEOUT
    print(f'Python {platform.python_version()}, {os.cpu_count()} processors, load '
          f'{os.getloadavg()[0]:.1f}, {arguments.busy} busy processes; timeout {TIMEOUT:g} s; '
          'times in ms, memory in MB\n')
    print('| payload | MB | runs | longest gap, made | heard | age of a command, p50 | longest '
          '| stolen | p50 of a stop | p99 of a stop | memory before | highest | after '
          '| within the bounds |\n' + '|---' * 14 + '|')
    held, between = True, []
    with closing(Rig(gate_ttl=5.0, heartbeat_timeout=5.0)) as rig, busy(arguments.busy):
        for payload in PAYLOADS:
            if all(word in payload.name for word in arguments.words):
                figures = measure(rig, payload, arguments.runs)
                line, good = row(payload, figures, TIMEOUT)
                print(line, flush=True)
                held &= good
                between.append(f'{payload.name}: ' + ', '.join(
                    f'{percentile(figures.all_gaps, share) * 1e3:.1f}' for share in SHARES))
    print('\nbetween two commands, ms, p50, p99, longest:', *between, sep='\n')
    print(f'\nload at the end {os.getloadavg()[0]:.1f}')
    return int(not held)


if __name__ == '__main__':
    sys.exit(main())
