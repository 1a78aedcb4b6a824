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
Measure what the bridge takes while nobody uses it: start, memory at rest, CPU; and one peer more.

``python test/bench/bench_rest.py [--runs N] [--seconds S]``; ends with 1 where a bound is missed.
The ruler of start and memory is a bare rclpy node with one publisher, in the same run.

``--parts`` instead prints what the memory is taken by: a process loads one part after the other.
"""
from __future__ import annotations

from collections.abc import Iterator
import compileall
from contextlib import contextmanager
import json
from pathlib import Path
from statistics import median
import subprocess
import sys
import time
from typing import Any

from measure import (
    arguments_of,
    Client,
    cpu,
    environment,
    HERE,
    NATIVE,
    native,
    started,
    Target,
    TYPES,
)
import psutil
from rest_nodes import MANY_TOPICS

SUBSCRIPTIONS = 50
PEERS = 20
SETTLE = 4.0
"""After a change, until what follows it is done, s."""
FOUND_WITHIN = 120.0
"""In which the bridge finds all topics, s."""
SERVE = Target('native', (sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '--log-level',
                          'warn', '-p', 'port:={port}'),
               NATIVE.subprotocol, NATIVE.subscribe, NATIVE.advertise, NATIVE.publish)
ROWS = (
    ('start until it listens, bare node, s', 'bare_start', 2, None),
    ('start until it listens, s', 'start', 2, None),
    ('the same, CPU of the bridge, s', 'start_cpu', 2, None),
    ('RSS at rest, bare node, MB', 'bare', 1, None),
    ('RSS at rest, the bridge, MB', 'bridge', 1, 70.0),
    ('RSS at rest, its stop process, MB', 'stop', 1, None),
    ('both, pages that they share counted once, MB', 'both', 1, None),
    ('CPU, nobody connected, both processes, %', 'idle', 2, 0.4),
    (f'CPU, nobody connected, {MANY_TOPICS} topics in the graph, %', 'idle_many', 2, 1.0),
    (f'a topic heard anew, kB (the first peer, {SUBSCRIPTIONS} topics)', 'topic', 0, None),
    (f'a peer with {SUBSCRIPTIONS} subscriptions to topics heard already, kB', 'peer', 0, 100.0),
)


@contextmanager
def helper(role: str) -> Iterator[subprocess.Popen[str]]:
    """Run another node, and wait until it is ready."""
    process = subprocess.Popen([sys.executable, str(HERE / 'rest_nodes.py'), role],
                               env=environment(), text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline().strip() == 'ready'
        yield process
    finally:
        process.kill()
        process.wait()


def resident(pid: int, what: str = 'Rss') -> float:
    """Return the memory of a process, MB; ``Pss`` divides pages among those that share them."""
    text = Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='ascii')
    return next(int(line.split()[1]) for line in text.splitlines()
                if line.startswith(f'{what}:')) / 1000


def print_parts() -> None:
    """Print the table of what takes the memory."""
    print('| part | RSS, MB | of this its own, MB |\n|---|---|---|')
    rest = [0.0, 0.0]
    loaded = subprocess.run([sys.executable, str(HERE / 'rest_nodes.py'), 'parts'], text=True,
                            env=environment(), stdout=subprocess.PIPE, check=True).stdout
    for line in loaded.splitlines():
        name, *sizes = json.loads(line)
        rest = [total - size for total, size in zip(rest, sizes, strict=True)]
        print(f'| {name} | {sizes[0]:.1f} | {sizes[1]:.1f} |')
    with started(SERVE) as (_, bridge):
        time.sleep(SETTLE)
        sizes = [resident(bridge.pid, what) for what in ('Rss', 'Anonymous')]
    rest = [total + size for total, size in zip(rest, sizes, strict=True)]
    print(f'| its publishers, services and threads | {rest[0]:.1f} | {rest[1]:.1f} |\n'
          f'| all | {sizes[0]:.1f} | {sizes[1]:.1f} |')


def of_all(processes: list[psutil.Process], seconds: float) -> float:
    """Return the CPU that processes take while they are left alone, percent of a core."""
    before = sum(map(cpu, processes))
    begin = time.monotonic()
    time.sleep(seconds)
    return (sum(map(cpu, processes)) - before) / (time.monotonic() - begin) * 100


def subscribed(port: int) -> Client:
    """Return a peer that has subscribed, and was answered."""
    client = Client(port, NATIVE.subprotocol)
    for number in range(SUBSCRIPTIONS):
        client.send(native('subscribe')(f'/bench/twist{number}', TYPES['twist']))
    answers = 0
    while answers < SUBSCRIPTIONS:
        for each in client.frames():
            data: Any = json.loads(bytes(each)).get('data')
            answers += isinstance(data, dict) and data.get('op') == 'subscribe'
    return client


def wait_for_topics(port: int, count: int) -> None:
    """
    Return when the bridge knows so many topics of the node that has many.

    :raises TimeoutError: it does not find them.
    """
    client = Client(port, NATIVE.subprotocol)
    end = time.monotonic() + FOUND_WITHIN
    known = 0
    while known < count:
        if time.monotonic() > end:
            raise TimeoutError(f'of {count} topics the bridge has found {known}')
        client.send(json.dumps({'metadata': {'message_type': 'configuration', 'message_id': 'l'},
                                'data': {'op': 'list'}}))
        is_answered = False
        while not is_answered:
            for each in client.frames():
                data: Any = json.loads(bytes(each)).get('data')
                if isinstance(data, dict) and data.get('op') == 'list':
                    is_answered = True
                    known = sum(topic['topic'].startswith('/many/') for topic in data['topics'])
        time.sleep(0.5)
    client.socket.close()


def measure(seconds: float) -> dict[str, float]:
    """Measure once."""
    found: dict[str, float] = {}
    begin = time.monotonic()
    with helper('bare') as bare:
        found['bare_start'] = time.monotonic() - begin
        time.sleep(1.0)
        found['bare'] = resident(bare.pid)
    begin = time.monotonic()
    with started(SERVE) as (port, process):
        found['start'] = time.monotonic() - begin
        found['start_cpu'] = cpu(process)
        time.sleep(SETTLE)
        both = [process, *process.children()]
        found['bridge'] = resident(process.pid)
        found['stop'] = sum(resident(each.pid) for each in both[1:])
        found['both'] = sum(resident(each.pid, 'Pss') for each in both)
        found['idle'] = of_all(both, seconds)
        before = resident(process.pid)
        clients = [subscribed(port)]
        time.sleep(SETTLE)
        after = resident(process.pid)
        found['topic'] = (after - before) / SUBSCRIPTIONS * 1000
        clients += [subscribed(port) for _ in range(PEERS)]
        time.sleep(SETTLE)
        found['peer'] = (resident(process.pid) - after) / PEERS * 1000
        for client in clients:
            client.socket.close()
    with started(SERVE) as (port, process), helper('many'):
        wait_for_topics(port, MANY_TOPICS)
        time.sleep(SETTLE)
        found['idle_many'] = of_all([process, *process.children()], seconds)
    return found


def main() -> int:
    """Print the table; 1 where a bound is missed."""
    # As an installation has it: else the start is mostly the compiler.
    compileall.compile_dir(HERE.parents[1] / 'ws_bridge', quiet=1)
    parser = arguments_of(__doc__ or '', runs=3)
    parser.add_argument('--seconds', type=float, default=10.0, help='for how long CPU is measured')
    parser.add_argument('--parts', action='store_true', help='print what takes the memory')
    options = parser.parse_args()
    if options.parts:
        print_parts()
        return 0
    runs = [measure(options.seconds) for _ in range(options.runs)]
    print('| row | measured | bound |\n|---|---|---|')
    is_missed = False
    for name, key, digits, bound in ROWS:
        value = median(run[key] for run in runs)
        is_missed |= bound is not None and value > bound
        print(f'| {name} | {value:.{digits}f} | {"-" if bound is None else f"{bound:g}"} |')
    return int(is_missed)


if __name__ == '__main__':
    sys.exit(main())
