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
What a large message costs on its way to many peers, beside one ``sendall`` of it to each.

``python test/bench/bench_large.py [--runs N] [--seconds S] [--peers N]``: a cloud of 2 MB at 10 Hz
to 10 peers, which take it as CDR, then with ``max_points``. A node of rclpy that takes it, too,
and does one ``sendall`` to each peer shows what taking it costs. CPU is that of the process that
sends, a delivery and a cloud, after the first second. Publisher and peers are a process each; the
peers only drain their sockets, and answer no ping: so a run takes 10 s at most. It ends with 1
where the bound is not held.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
import os
import selectors
import socket
from statistics import median
import subprocess
import sys
import time
from typing import Any, NamedTuple

from measure import Client, cpu, environment, free_port, load, NATIVE, SETTLE, started
import psutil

SIZE = 2 << 20
PEERS = 10
POINTS = 5000
RATE = 10
SAMPLE = 1          # opcode of CDR
TOPIC = '/bench/cloud0'
BOUND = 1.3
WARM = 1.0          # s, in which links are measured and memory grows


def be_ruler(port: int, count: int, seconds: float) -> None:
    """Send the bytes to each peer, once it is told to."""
    data = os.urandom(SIZE)     # not zeros: the kernel has one page for all of them
    with socket.create_server(('127.0.0.1', port)) as server:
        print('ready', flush=True)
        peers = [server.accept()[0] for _ in range(count)]
        sys.stdin.readline()
        begin = time.monotonic()
        for number in range(int(seconds * RATE)):
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            for peer in peers:
                peer.sendall(data)
        print('sent', flush=True)
        sys.stdin.readline()


def be_node(port: int, count: int) -> None:
    """Send each cloud to each peer, as a node of rclpy that does nothing else."""
    import rclpy
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import PointCloud2
    with socket.create_server(('127.0.0.1', port)) as server:
        print('ready', flush=True)
        peers = [server.accept()[0] for _ in range(count)]

        def send(cloud: Any) -> None:
            for peer in peers:
                peer.sendall(cloud)
        rclpy.init()
        node = rclpy.create_node('bench_ruler')
        node.create_subscription(PointCloud2, TOPIC, send, QoSProfile(depth=10), raw=True)
        rclpy.spin(node)


def be_peers(port: int, count: int, points: int | None = None, *, subscribe: bool) -> None:
    """
    Be all the peers: drain the sockets until told to end; print clouds and bytes that came.

    :param points: how many of a cloud are wanted; ``None`` = all.
    """
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    sockets: list[socket.socket] = []       # those of the ruler have no WebSocket
    for _ in range(count):
        client = Client(port, NATIVE.subprotocol) if subscribe else None
        if client is not None:
            client.send(json.dumps({
                'metadata': {'message_type': 'configuration', 'message_id': 's'},
                'data': {'op': 'subscribe', 'topic': TOPIC, 'encoding': 'cdr',
                         'type': 'sensor_msgs/msg/PointCloud2', 'queue_depth': 10,
                         'max_points': points}}))
        sockets.append(client.socket if client else socket.create_connection(('127.0.0.1', port)))
        selector.register(sockets[-1], selectors.EVENT_READ, client if points else None)
    print('ready', flush=True)
    clouds, got, buffer = 0.0, 0, bytearray(SIZE)
    while True:
        for key, _ in selector.select():
            source: Any = key.fileobj
            if source is sys.stdin:
                print(clouds or got / SIZE, got, flush=True)
                return
            if key.data is None:
                got += source.recv_into(buffer)
                continue
            for frame in key.data.frames():
                if frame[0] == SAMPLE:
                    clouds += 1
                    got += len(frame)


@contextmanager
def helper(*words: object) -> Iterator[subprocess.Popen[str]]:
    """Run this file as one of the ends, once it is ready."""
    process = subprocess.Popen([sys.executable, __file__, *map(str, words)], env=environment(),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        hear(process)
        yield process
    finally:
        process.kill()
        process.communicate()


def hear(process: subprocess.Popen[str]) -> str:
    """Return the next line of a process."""
    assert process.stdout
    line = process.stdout.readline()
    assert line, 'a process has ended'
    return line


def tell(process: subprocess.Popen[str], word: str) -> None:
    """Write a line to a process."""
    assert process.stdin
    process.stdin.write(word + '\n')
    process.stdin.flush()


class Row(NamedTuple):
    """
    What was measured.

    :param used: CPU of the process that sends, s a cloud.
    :param clouds: deliveries of one; ``size``: bytes of all.
    """

    used: float
    clouds: float
    size: int


def measured(process: psutil.Process, source: subprocess.Popen[str], peers: subprocess.Popen[str],
             seconds: float, settle: float = SETTLE) -> Row:
    """
    Let it run.

    :param settle: how long the source waits before it begins, s.
    """
    tell(source, 'go')
    time.sleep(settle + WARM - 0.5 / RATE)
    before = cpu(process)
    hear(source)
    time.sleep(0.5)     # the last one arrives
    used = cpu(process) - before
    tell(peers, 'end')
    clouds, size = hear(peers).split()
    return Row(used / (seconds - WARM) / RATE, max(float(clouds), 1.0), int(size))


def bridge(count: int, seconds: float, points: int | None = None) -> Row:
    """Measure the bridge."""
    with started(NATIVE) as (port, process):
        source = load('pub', 'cloud', 1, RATE, seconds)
        try:
            with helper('--peers', port, count, *(() if points is None else (points,))) as peers:
                assert hear(source).strip() == 'ready'
                time.sleep(2.0)     # all peers have subscribed
                return measured(process, source, peers, seconds)
        finally:
            source.kill()
            source.communicate()


def bare_node(count: int, seconds: float) -> Row:
    """Measure the node that does nothing else."""
    port = free_port()
    source = load('pub', 'cloud', 1, RATE, seconds)
    try:
        with helper('--node', port, count) as node, helper('--drain', port, count) as peers:
            assert hear(source).strip() == 'ready'
            time.sleep(2.0)
            return measured(psutil.Process(node.pid), source, peers, seconds)
    finally:
        source.kill()
        source.communicate()


def sendall(count: int, seconds: float) -> Row:
    """Measure the ruler."""
    port = free_port()
    with helper('--ruler', port, count, seconds) as source, \
            helper('--drain', port, count) as peers:
        return measured(psutil.Process(source.pid), source, peers, seconds, settle=0.0)


def main() -> int:
    """Print the table."""
    ends: dict[str, Callable[..., None]] = {
        '--ruler': lambda port, count, seconds: be_ruler(int(port), int(count), float(seconds)),
        '--node': lambda port, count: be_node(int(port), int(count)),
        '--peers': lambda *numbers: be_peers(*map(int, numbers), subscribe=True),
        '--drain': lambda *numbers: be_peers(*map(int, numbers), subscribe=False)}
    if sys.argv[1:2] and sys.argv[1] in ends:
        ends[sys.argv[1]](*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=8.0)
    parser.add_argument('--peers', type=int, default=10)
    options = parser.parse_args()
    count, seconds = options.peers, options.seconds
    if not WARM < seconds <= 10.0:
        parser.error(f'--seconds: more than {WARM:g}, and at most 10')
    runs = [(sendall(count, seconds), bare_node(count, seconds), bridge(count, seconds),
             bridge(count, seconds, POINTS)) for _ in range(options.runs)]
    published = int(seconds * RATE)
    print(f'| a cloud of 2 MB to {count} peers | us a delivery | ms a cloud | delivered '
          '| kB a delivery |\n|---|---|---|---|---|')
    for index, name in enumerate(('`sendall`', 'node of rclpy: take, then `sendall`', 'bridge',
                                  f'bridge, `max_points` {POINTS}')):
        rows = [run[index] for run in runs]
        print(f'| {name} '
              f'| {median(row.used * published / row.clouds for row in rows) * 1e6:.0f} '
              f'| {median(row.used for row in rows) * 1e3:.2f} '
              f'| {median(row.clouds for row in rows) / published / count:.3f} '
              f'| {median(row.size / row.clouds for row in rows) / 1e3:.0f} |')
    ratios = [ours.used / ours.clouds / base.used * base.clouds for base, _, ours, _ in runs]
    print(f'to `sendall` {median(ratios):.2f}, of', ', '.join(f'{each:.2f}' for each in ratios))
    print(f'to the node {median(ours.used / node.used for _, node, ours, _ in runs):.2f}')
    return int(median(ratios) > BOUND)


if __name__ == '__main__':
    sys.exit(main())
