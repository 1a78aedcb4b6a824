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
What the benches share: processes, a client that is no bottleneck, CPU by ``psutil``.

A scenario runs against the ruler and against the bridge in turn, several times; what counts is
the median of the ratios, for machines are noisy.
"""
from __future__ import annotations

import argparse
import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
import json
import math
import os
from pathlib import Path
import selectors
import shlex
import socket
import struct
import subprocess
import sys
import time
from typing import Any

import psutil

HERE = Path(__file__).parent
TYPES = {'twist': 'geometry_msgs/msg/Twist', 'string': 'std_msgs/msg/String',
         'image': 'sensor_msgs/msg/Image', 'scan': 'sensor_msgs/msg/LaserScan'}
QUIET = 1.0
SETTLE = 0.5       # s between a source being told to go and its first message
SETTLED = 3.0
"""After the last topic was subscribed to, until nothing has to be looked at any more, s."""
START_TIMEOUT = 120.0
AT_ONCE, BETWEEN = 50, 0.1
"""So many topics are subscribed to, then none for so long, s: else discovery loses some."""


def environment() -> dict[str, str]:
    """Return an environment with a ROS domain of this run."""
    domain = str(os.getpid() % 100 + 1)
    return {**os.environ, 'ROS_DOMAIN_ID': os.environ.get('ROS_DOMAIN_ID', domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Target:
    """
    What is measured.

    :param command: its command line, with ``{port}``.
    :param subprotocol: what the client offers.
    :param subscribe: makes the frame that subscribes, from topic and type.
    :param advertise: makes the frame that advertises.
    :param publish: makes a publication of a Twist from a topic and x.
    :param join: subscribes to a topic where that takes more than a frame.
    :param age: returns how old the message in a frame is, s, from its kind and the time now.
    :param environ: what it has in its environment besides what all have.
    """

    name: str
    command: tuple[str, ...]
    subprotocol: str | None
    subscribe: Callable[[str, str], str]
    advertise: Callable[[str, str], str]
    publish: Callable[[str, float], str]
    join: Callable[[Client, str], None] | None = None
    age: Callable[[str, bytes, float], float | None] = lambda *of: age_of(*of)
    environ: Mapping[str, str] = field(default_factory=dict)


def plain(op: str) -> Callable[[str, str], str]:
    """Return the maker of a frame that the ruler, and every rosbridge, understands."""
    return lambda topic, kind: json.dumps({'op': op, 'topic': topic, 'type': kind})


def plain_publish(topic: str, x: float) -> str:
    """Return a publication that the ruler, and every rosbridge, understands."""
    return ('{"op":"publish","topic":"%s","msg":{"linear":{"x":%.6f,"y":0.0,"z":0.0},'
            '"angular":{"x":0.0,"y":0.0,"z":0.5}}}' % (topic, x))


def native(op: str) -> Callable[[str, str], str]:
    """Return the maker of a native configuration frame."""
    return lambda topic, kind: json.dumps({
        'metadata': {'message_type': 'configuration', 'message_id': f'{op}{topic}'},
        'data': {'op': op, 'topic': topic, 'type': kind,
                 **({'queue_depth': 10000} if op == 'subscribe' else {})}})


def native_publish(topic: str, x: float) -> str:
    """Return a native command."""
    return ('{"metadata":{"message_id":"c","timestamp":%.6f,"message_type":"command",'
            '"destination":"%s"},"data":{"linear":{"x":%.6f},"angular":{"z":0.5}}}'
            % (time.time(), topic, x))


BRIDGE = (sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '--log-level', 'warn', '-p',
          'port:={port}', '-p', 'max_message_rate:=0.0')
#: What a gate costs is measured by itself, by bench_gate.py: here clients publish as they like.
UNGATED = (*BRIDGE, '-p', 'gated_types:=["std_msgs/msg/Empty"]')


def ruler(script: str) -> Target:
    """
    Return the ruler of this folder, or another with the same manners.

    :param script: its path, seen from where the bench is started.
    :raises argparse.ArgumentTypeError: there is no such file.
    """
    if not Path(script).is_file():
        raise argparse.ArgumentTypeError(f'there is no file {script}')
    return Target('ruler', (sys.executable, script, '{port}'), None,
                  plain('subscribe'), plain('advertise'), plain_publish)


def arguments_of(description: str, runs: int) -> argparse.ArgumentParser:
    """Return a parser of ``--runs`` and ``--ruler``; a bench adds its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--runs', type=int, default=runs)
    parser.add_argument('--ruler', type=ruler, default=str(HERE / 'ruler.py'),
                        help='another ruler: a script that takes a port')
    return parser


def command_line() -> str:
    """Return the command that was typed, as the documentation shows it."""
    return shlex.join(['python', f'test/bench/{Path(sys.argv[0]).name}', *sys.argv[1:]])


NATIVE = Target('native', UNGATED, 'ws_bridge.v1', native('subscribe'), native('advertise'),
                native_publish)


class Client:
    """
    A blocking WebSocket client without checks, so that it costs little.

    :param waits: for the answer of the server; else :meth:`wait` has to be called.
    """

    def __init__(self, port: int, subprotocol: str | None, *, waits: bool = True) -> None:
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        offer = f'Sec-WebSocket-Protocol: {subprotocol}\r\n' if subprotocol else ''
        self.socket.sendall((
            f'GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n'
            'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: '
            f'{base64.b64encode(os.urandom(16)).decode()}\r\n{offer}\r\n').encode())
        self.buffer = bytearray()
        self.parts: list[bytes] = []       # of a message that is not complete
        if waits:
            self.wait()

    def wait(self) -> None:
        """
        Wait until the server has answered the handshake.

        :raises ConnectionError: it refuses.
        """
        while (end := self.buffer.find(b'\r\n\r\n')) < 0:
            self.buffer += self.socket.recv(65536)
        if b' 101 ' not in self.buffer[:40]:
            raise ConnectionError(bytes(self.buffer[:200]))
        del self.buffer[:end + 4]

    def send(self, text: str) -> None:
        """Send a text frame, masked with zeros."""
        data = text.encode()
        size = len(data)
        head = struct.pack('!BB', 0x81, 0x80 | size) if size < 126 else \
            struct.pack('!BBH', 0x81, 0xFE, size)
        self.socket.sendall(head + b'\0\0\0\0' + data)

    def frames(self) -> Iterator[memoryview | bytes]:
        """Read once and give every complete message; pings are answered."""
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            raise ConnectionError('closed')
        self.buffer += chunk
        start = 0
        view = self.buffer
        while len(view) - start >= 2:
            size, head = view[start + 1] & 127, 2
            if size == 126:
                size, head = int.from_bytes(view[start + 2:start + 4], 'big'), 4
            elif size == 127:
                size, head = int.from_bytes(view[start + 2:start + 10], 'big'), 10
            if len(view) - start < head + size or len(view) - start < head:
                break
            opcode, final = view[start] & 15, view[start] & 128
            payload = bytes(view[start + head:start + head + size])
            start += head + size
            if opcode in (0, 1, 2):
                self.parts.append(payload)
                if final:
                    yield payload if len(self.parts) == 1 else b''.join(self.parts)
                    self.parts.clear()
            elif opcode == 9:
                self.socket.sendall(struct.pack('!BB', 0x8A, 0x80 | size) + b'\0\0\0\0' + payload)
        del view[:start]


def age_of(kind: str, frame: bytes, now: float) -> float | None:
    """Return how old the message in a frame is, s; ``None`` for another frame."""
    mark = {'twist': b'"x":', 'string': b'"data":"'}.get(kind, b'"frame_id":"')
    at = frame.find(mark)
    if at < 0 or b'/bench/' not in frame[:300]:
        return None
    at += len(mark)
    end = at
    while frame[end:end + 1] in b'0123456789.e-' and frame[end:end + 1]:
        end += 1
    try:
        return now - float(frame[at:end])
    except ValueError:
        return None


@contextmanager
def started(target: Target) -> Iterator[tuple[int, psutil.Process]]:
    """Start what is measured and wait until its port answers."""
    port = free_port()
    process = subprocess.Popen([part.format(port=port) for part in target.command],
                               env={**environment(), **target.environ}, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(('127.0.0.1', port), 1).close()
                break
            except OSError:
                assert process.poll() is None, f'{target.name} ended before it listened'
                assert time.monotonic() < end, f'{target.name} does not listen'
                time.sleep(0.05)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu(process: psutil.Process) -> float:
    """Return the CPU time of all threads of a process, s."""
    times = process.cpu_times()
    return float(times.user + times.system)


def load(*arguments: object) -> subprocess.Popen[str]:
    """Start the ROS end."""
    return subprocess.Popen([sys.executable, str(HERE / 'load.py'), *map(str, arguments)],
                            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True)


def stolen() -> float:
    """Return for how long the host has kept processors of this virtual machine from it, s each."""
    return float(getattr(psutil.cpu_times(), 'steal', 0.0)) / (os.cpu_count() or 1)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the nearest rank, in the unit of the values; nan, within no bound, of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else math.nan


def outward(target: Target, kind: str, topics: int, rate: float, seconds: float,
            clients: int = 1) -> dict[str, float]:
    """
    Measure topics from ROS to clients.

    :return: us of CPU a delivery, share delivered, latencies in ms.
    """
    with started(target) as (port, process):
        ros = load('pub', kind, topics, rate, seconds)
        assert ros.stdin and ros.stdout
        connected = [Client(port, target.subprotocol) for _ in range(clients)]
        for client in connected:
            for i in range(topics):
                if i and i % AT_ONCE == 0:
                    time.sleep(BETWEEN)
                if target.join is not None:
                    target.join(client, f'/bench/{kind}{i}')
                else:
                    client.send(target.subscribe(f'/bench/{kind}{i}', TYPES[kind]))
        assert ros.stdout.readline().strip() == 'ready'
        selector = selectors.DefaultSelector()
        for client in connected:
            selector.register(client.socket, selectors.EVENT_READ, client)
        time.sleep(SETTLED)
        before = cpu(process)
        ros.stdin.write('go\n')
        ros.stdin.flush()
        ages: list[float] = []
        end: float | None = None
        selector.register(ros.stdout, selectors.EVENT_READ, None)
        report: dict[str, Any] = {}
        while end is None or time.monotonic() < end:
            events = selector.select(0.25)
            for key, _ in events:
                if key.data is None:
                    report = json.loads(ros.stdout.readline())
                    selector.unregister(ros.stdout)
                    continue
                for frame in key.data.frames():
                    age = target.age(kind, frame, time.monotonic())
                    if age is not None:
                        ages.append(age)
            if report and (end is None or any(key.data for key, _ in events)):
                end = time.monotonic() + QUIET
                if len(ages) >= report['sent'] * clients:
                    break
        used = cpu(process) - before
        ros.kill()
        ros.wait()
        return {'us': used / max(1, len(ages)) * 1e6,
                'delivered': len(ages) / (report['sent'] * clients),
                'rate': report['sent'] / report['seconds'],
                'p50': percentile(ages, 0.5) * 1e3, 'p99': percentile(ages, 0.99) * 1e3}


def inward(target: Target, rate: float, seconds: float) -> dict[str, float]:
    """
    Measure Twists from a client to ROS.

    :return: us of CPU a message, share delivered, latencies in ms.
    """
    total = int(rate * seconds)
    with started(target) as (port, process):
        client = Client(port, target.subprotocol)
        client.send(target.advertise('/bench/in', TYPES['twist']))
        ros = load('sub', total)
        assert ros.stdout
        assert ros.stdout.readline().strip() == 'ready'
        time.sleep(3.0)
        before = cpu(process)
        start = time.perf_counter()
        sent = 0
        while sent < total:
            ahead = sent / rate - (time.perf_counter() - start)
            if ahead > 0:
                time.sleep(min(ahead, 0.0005))
                continue
            client.send(target.publish('/bench/in', time.monotonic()))
            sent += 1
        report = json.loads(ros.stdout.readline())
        used = cpu(process) - before
        ros.wait()
        return {'us': used / total * 1e6, 'delivered': report['got'] / total, 'rate': rate,
                'p50': report['p50'], 'p99': report['p99']}
