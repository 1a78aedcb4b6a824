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

``python test/bench/bench_large.py [--runs N] [--seconds S]``: a cloud of 2 MB at 10 Hz to 10
peers, which take it as CDR. CPU is that of the process that sends, a delivery. Publisher and peers
are a process each; the peers only drain their sockets. It ends with 1 where the bound is not held.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
import selectors
import socket
from statistics import median
import subprocess
import sys
import time
from typing import Any

from measure import Client, cpu, environment, free_port, load, NATIVE, started
import psutil

SIZE = 2 << 20
PEERS = 10
RATE = 10
TOPIC = '/bench/cloud0'
BOUND = 1.3


def be_ruler(port: int, seconds: float) -> None:
    """Send the bytes to each peer, once it is told to."""
    data = bytes(SIZE)
    with socket.create_server(('127.0.0.1', port)) as server:
        print('ready', flush=True)
        peers = [server.accept()[0] for _ in range(PEERS)]
        sys.stdin.readline()
        begin = time.monotonic()
        for number in range(int(seconds * RATE)):
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            for peer in peers:
                peer.sendall(data)
        print('sent', flush=True)
        sys.stdin.readline()


def be_peers(port: int, *, subscribe: bool) -> None:
    """Be all the peers: drain the sockets and count until told to end."""
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    clients: list[Any] = []     # that of the ruler has no WebSocket
    for _ in range(PEERS):
        if subscribe:
            client = Client(port, NATIVE.subprotocol)
            client.send(json.dumps({
                'metadata': {'message_type': 'configuration', 'message_id': 's'},
                'data': {'op': 'subscribe', 'topic': TOPIC, 'encoding': 'cdr',
                         'type': 'sensor_msgs/msg/PointCloud2', 'queue_depth': 10}}))
            clients.append(client)
        else:
            clients.append(socket.create_connection(('127.0.0.1', port)))
        selector.register(clients[-1].socket if subscribe else clients[-1], selectors.EVENT_READ)
    print('ready', flush=True)
    got, buffer = 0, bytearray(SIZE)
    while True:
        for key, _ in selector.select():
            source: Any = key.fileobj
            if source is sys.stdin:
                print(got / SIZE, flush=True)
                return
            got += source.recv_into(buffer)


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


def measured(process: psutil.Process, source: subprocess.Popen[str],
             peers: subprocess.Popen[str], seconds: float) -> tuple[float, float]:
    """Return us of CPU a delivery, and the share that was delivered."""
    before = cpu(process)
    tell(source, 'go')
    hear(source)
    time.sleep(0.5)     # the last one arrives
    used = cpu(process) - before
    tell(peers, 'end')
    got = float(hear(peers))
    return used / max(got, 1.0) * 1e6, got / (int(seconds * RATE) * PEERS)


def bridge(seconds: float) -> tuple[float, float]:
    """Measure the bridge."""
    with started(NATIVE) as (port, process):
        source = load('pub', 'cloud', 1, RATE, seconds)
        try:
            with helper('--peers', port) as peers:
                assert hear(source).strip() == 'ready'
                time.sleep(2.0)     # all peers have subscribed
                return measured(process, source, peers, seconds)
        finally:
            source.kill()
            source.communicate()


def sendall(seconds: float) -> tuple[float, float]:
    """Measure the ruler."""
    port = free_port()
    with helper('--ruler', port, seconds) as source, helper('--drain', port) as peers:
        return measured(psutil.Process(source.pid), source, peers, seconds)


def main() -> int:
    """Print the table."""
    ends: dict[str, Callable[..., None]] = {
        '--ruler': lambda port, seconds: be_ruler(int(port), float(seconds)),
        '--peers': lambda port: be_peers(int(port), subscribe=True),
        '--drain': lambda port: be_peers(int(port), subscribe=False)}
    if sys.argv[1:2] and sys.argv[1] in ends:
        ends[sys.argv[1]](*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=5.0)
    options = parser.parse_args()
    pairs = [(sendall(options.seconds), bridge(options.seconds)) for _ in range(options.runs)]
    ratio = median(ours[0] / base[0] for base, ours in pairs)
    print('| a cloud of 2 MB to 10 peers | us a delivery | delivered |\n|---|---|---|')
    for index, name in enumerate(('`sendall`', 'bridge')):
        print(f'| {name} | {median(pair[index][0] for pair in pairs):.0f} '
              f'| {median(pair[index][1] for pair in pairs):.3f} |')
    print(f'ratio {ratio:.2f}, of', ', '.join(f'{b[0] / a[0]:.2f}' for a, b in pairs))
    return int(ratio > BOUND)


if __name__ == '__main__':
    sys.exit(main())
