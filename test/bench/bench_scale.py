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
What many topics and many peers cost, beside the ruler in the same run, and what an operator feels.

``python test/bench/bench_scale.py [--runs N] [--ruler PATH] [scenario ...]``
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
import json
import math
from pathlib import Path
import select
import selectors
import socket
from statistics import median
import subprocess
import sys
import time
from typing import Any

from bench_gate import answer, frame
from measure import (
    arguments_of,
    Client,
    cpu,
    load,
    NATIVE,
    outward,
    percentile,
    plain,
    plain_publish,
    started,
    Target,
    TYPES,
)

ROOM = tuple(
    part for name in ('max_peers', 'max_peers_per_address', 'max_handshakes', 'max_subscriptions')
    for part in ('-p', f'{name}:=2000'))
ROOMY = replace(NATIVE, command=(*NATIVE.command, *ROOM))

SCENARIOS: dict[str, Callable[[Target], dict[str, float]]] = {
    '1 topic, 1 kHz': lambda t: outward(t, 'twist', 1, 1000, 4),
    '200 topics, 1 kHz in all': lambda t: outward(t, 'twist', 200, 1000, 4),
    '1000 topics, 1 kHz in all': lambda t: outward(t, 'twist', 1000, 1000, 4),
    '50 peers, 50 Hz': lambda t: outward(t, 'twist', 1, 50, 4, clients=50),
    '200 peers, 20 Hz': lambda t: outward(t, 'twist', 1, 20, 4, clients=200),
    '50 topics to 20 peers, 10 Hz each': lambda t: outward(t, 'twist', 50, 500, 4, clients=20),
}
ONE = '1 topic, 1 kHz'
GROWTH = {'200 topics, 1 kHz in all': 1.5, '1000 topics, 1 kHz in all': 2.0}
"""How many times as much as with one topic a message may cost."""
BOUNDS = {ONE: 1.1, '200 peers, 20 Hz': 0.7, '50 peers, 50 Hz': 0.8,
          '50 topics to 20 peers, 10 Hz each': 0.8}
"""How many times as much as with the ruler a delivery may cost."""
LATENCIES = {'p50': 1.0, 'p99': 1.2}
"""How many times as long as with the ruler a message may take, with one topic."""
OPERATORS = {'operator': (0, 20.0), 'operator, peers come and go': (3, 40.0)}
"""How long the peers stay, s (0 = to the end), and the bound of p99, ms."""
PEERS, TOPICS, RATE, SECONDS = 200, 50, 255, 12
COMMANDS, COMMAND_RATE = 600, 50
BEAT = 0.5
AWAY = 0.5
#: The operator drives through a gate; what the others hear is gated nowhere.
DRIVEN = replace(ROOMY, name='driven', command=(
    *ROOMY.command, '-p', f'mapping_file:={Path(__file__).with_name("drive.yaml")}'))
TARGETS = {'driven': DRIVEN, 'ruler': Target('ruler', (), None, plain('subscribe'),
                                             plain('advertise'), plain_publish)}
#: What is once in each sample.
#: How a ping of the bridge begins; nothing else does, where the rest is ASCII.
PING = b'\x89\x08'
MARKS = {'driven': b'"sequence":', 'ruler': b'"op":"publish"'}


@contextmanager
def helper(role: str, target: Target, port: int, *numbers: int
           ) -> Iterator[subprocess.Popen[str]]:
    """Run this file as one of the ends, a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, role, target.name, *map(str, (port, *numbers))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def tell(process: subprocess.Popen[str], word: str) -> None:
    """Write a line to a process."""
    assert process.stdin
    process.stdin.write(word + '\n')
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> Any:
    """Return the next line of a process, JSON."""
    assert process.stdout
    return json.loads(process.stdout.readline())


def operator(target: Target, stay: int = 0) -> dict[str, Any]:
    """
    Send commands at 50 Hz while many peers subscribe to many topics, and then get them.

    Operator, peers, publisher and listener are a process each: what is measured is the bridge.

    :param stay: how long the peers stay, s, until all go at once; 0 = to the end.
    :return: the time from a command to a ROS subscription, ms, and to its acknowledgment, ms;
        counts of commands; deliveries a second.
    """
    with started(target) as (port, process), helper('--operator', target, port) as driver, \
            helper('--crowd', target, port, stay) as crowd:
        ros = load('pub', 'twist', TOPICS, RATE, SECONDS)
        assert hear(driver) == 'ready'
        # those of the bridge are two: its own, and that of the stop process
        listener = load('sub', COMMANDS, 2 if target.subprotocol else 1)
        try:
            assert listener.stdout and listener.stdout.readline().strip() == 'ready'
            assert hear(crowd) == 'connected'
            time.sleep(2.0)
            before = cpu(process)
            tell(driver, 'go')
            tell(crowd, 'go')
            tell(ros, 'go')     # it publishes when all topics have a subscription
            sent = hear(driver)
            report = hear(listener)
            tell(crowd, 'end')
            got = hear(crowd)
            used = cpu(process) - before
        finally:
            for each in (ros, listener):
                each.kill()
                each.wait()
    return {**sent, 'delivered': report['got'], 'p50': report['p50'], 'p99': report['p99'],
            'max': report['max'], 'rate': got['rate'], 'us': used / max(got['count'], 1) * 1e6}


def be_operator(target: Target, port: int, commands: int = COMMANDS) -> None:
    """Drive, and count what the bridge says of each command."""
    client = Client(port, target.subprotocol)
    epoch, bridge_time = 0, 0.0
    if target.subprotocol:
        answer(client, 'advertise', topic='/bench/in', type=TYPES['twist'])
    else:
        client.send(target.advertise('/bench/in', TYPES['twist']))
    print('"ready"', flush=True)
    sys.stdin.readline()
    if target.subprotocol:
        given = answer(client, 'acquire', gate='drive')
        assert 'epoch' in given, given
        epoch, bridge_time = given['epoch'], given['time']
    refused: Counter[str] = Counter()
    trips: list[float] = []
    asked: dict[str, tuple[float, float]] = {}
    is_stopped, zeros = True, 0

    def read(seconds: float) -> None:
        nonlocal bridge_time, is_stopped
        while select.select([client.socket], [], [], seconds)[0]:
            for each in client.frames():
                if not target.subprotocol:
                    continue
                reply = json.loads(bytes(each))
                head = reply['metadata']
                bridge_time = head['timestamp']
                since = asked.pop(head['correlation_id'] or '', None)
                if since is None:
                    continue
                if head['message_type'] == 'error':
                    refused[reply['data']['code']] += 1
                    is_stopped = reply['data']['code'] == 'not_neutral'
                elif since[1]:
                    trips.append(time.monotonic() - since[0])
            seconds = 0.0
    begin = beat = time.monotonic()
    for number in range(commands + 1):
        read(0.0)       # who is late has heard the bridge nevertheless
        while (left := begin + number / COMMAND_RATE - time.monotonic()) > 0:
            read(left)
        x = 0.0 if is_stopped and target.subprotocol else time.monotonic()  # neutral first
        is_stopped = False
        zeros += not x
        if not target.subprotocol:
            client.send(target.publish('/bench/in', x))
            continue
        if time.monotonic() > beat:
            beat += BEAT
            client.send(frame('heartbeat', {'type': 'heartbeat', 'sequence': number,
                                            'timestamp': time.time(), 'echo': None}))
        asked[f'c{number}'] = time.monotonic(), x
        client.send(json.dumps({
            'metadata': {'message_id': f'c{number}', 'timestamp': time.time(), 'ack': True,
                         'message_type': 'command', 'destination': '/bench/in',
                         'sequence': number, 'epoch': epoch, 'bridge_time': bridge_time},
            'data': {'linear': {'x': x}, 'angular': {'z': 0.5 if x else 0.0}}}))
    end = time.monotonic() + 2.0
    while asked and (left := end - time.monotonic()) > 0:
        read(left)
    print(json.dumps({
        'sent': commands + 1 - zeros, 'acknowledged': len(trips), 'refused': refused,
        'unanswered': len(asked), 'ack_p99': percentile(trips, 0.99) * 1e3}), flush=True)
    sys.stdin.readline()


def pong(source: socket.socket, data: bytes) -> bytes:
    """
    Answer the newest ping in what a peer got: who answers none is cut after a while.

    :return: the end of the data, which may be the beginning of a ping.
    """
    at = data.rfind(PING)
    if 0 <= at <= len(data) - len(PING) - 8:
        source.sendall(b'\x8A\x88\0\0\0\0' + data[at + len(PING):][:8])
        return b''
    return data[-9:]


def drain(target: Target, peers: list[Client], seconds: float) -> tuple[int, bool]:
    """
    Have peers subscribe to all topics, and read what they get, for a time or until told to end.

    :return: how many samples came, and whether it was told to end.
    """
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for peer in peers:
        selector.register(peer.socket, selectors.EVENT_READ)
    for peer in peers:
        for number in range(TOPICS):
            peer.send(target.subscribe(f'/bench/twist{number}', TYPES['twist']))
    got, mark, end = 0, MARKS[target.name], time.monotonic() + seconds
    tails: dict[int, bytes] = {}
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(min(left, 1.0)):
            source: Any = key.fileobj
            if source is sys.stdin:
                return got, True
            chunk = source.recv(1 << 20)
            got += chunk.count(mark)
            tails[key.fd] = pong(source, tails.get(key.fd, b'') + chunk)
        time.sleep(0.01)        # let some more come: what is drained rarely costs little
    return got, False


def connect(target: Target, port: int) -> list[Client]:
    """Connect all the peers at once."""
    peers = [Client(port, target.subprotocol, waits=False) for _ in range(PEERS)]
    for peer in peers:
        peer.wait()
    return peers


def be_crowd(target: Target, port: int, stay: int = 0) -> None:
    """
    Be all the peers until told to end.

    :param stay: after so many s all go at once, and as many come at once; 0 = they stay.
    """
    peers = connect(target, port)
    print('"connected"', flush=True)
    sys.stdin.readline()
    got, since = 0, time.monotonic()
    while True:
        more, is_told = drain(target, peers, stay or math.inf)
        got += more
        if is_told:
            break
        for peer in peers:
            peer.socket.close()
        time.sleep(AWAY)
        peers = connect(target, port)
    print(json.dumps({'count': got, 'rate': got / (time.monotonic() - since)}), flush=True)


def rows_of(name: str, pairs: list[tuple[dict[str, float], dict[str, float]]]
            ) -> list[tuple[str, float, float]]:
    """Return what a scenario has bounds for: name, median ratio to the ruler, bound."""
    bounds = {'us': BOUNDS[name]} if name in BOUNDS else {}
    if name == ONE:
        bounds |= LATENCIES
    return [(f'{name}: {"a delivery" if key == "us" else key}, to the ruler',
             median(ours[key] / base[key] for base, ours in pairs), bound)
            for key, bound in bounds.items()]


def operators(name: str, runs: int, ruler: Target) -> bool:
    """Print what an operator feels; whether that is as it should be."""
    stay, bound = OPERATORS[name]
    pairs = [(operator(ruler, stay), operator(DRIVEN, stay)) for _ in range(runs)]
    print(f'\nAn operator drives at {COMMAND_RATE} Hz while {PEERS} peers subscribe to {TOPICS} '
          f'topics each and get them, {RATE} samples/s in all'
          + (f'; after {stay} s they go at once, and others come at once' if stay else '')
          + ':\n\n| | command to ROS p50 / p99 / max ms | ack p99 ms | sent | acknowledged '
          '| refused | delivered | samples/s | us each |\n|---|---|---|---|---|---|---|---|---|')
    for index, target in enumerate(('ruler', 'bridge')):
        for each in (pair[index] for pair in pairs):
            print(f'| {target} | {each["p50"]:.1f} / {each["p99"]:.1f} / {each["max"]:.1f} '
                  f'| {each["ack_p99"]:.1f} | {each["sent"]} | {each["acknowledged"]} '
                  f'| {each["refused"] or 0} | {each["delivered"]} | {each["rate"]:.0f} '
                  f'| {each["us"]:.1f} |')
    worst = median(ours['p99'] for _, ours in pairs)
    missing = sum(ours['acknowledged'] - ours['delivered'] for _, ours in pairs)
    refused = sum(sum(ours['refused'].values()) for _, ours in pairs)
    ratio = worst / median(base['p99'] for base, _ in pairs)
    print(f'p99 {worst:.1f} ms (bound {bound:g}), {ratio:.2f} of the ruler; {refused} commands '
          f'refused; {missing} acknowledged and not delivered', flush=True)
    return worst <= bound and not missing and not refused


def main() -> int:
    """Print the tables; 1 if a bound is missed."""
    if sys.argv[1:2] in (['--crowd'], ['--operator']):
        be = be_crowd if sys.argv[1] == '--crowd' else be_operator
        be(TARGETS[sys.argv[2]], *map(int, sys.argv[3:]))
        return 0
    parser = arguments_of(__doc__ or '', runs=3)
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS, *OPERATORS])
    options = parser.parse_args()
    names = options.scenarios or [*SCENARIOS, *OPERATORS]
    costs: dict[str, list[tuple[float, float]]] = {}
    found: list[tuple[str, float, float]] = []
    for name in names:
        if name not in SCENARIOS:
            continue
        if not costs:
            print('| scenario | ruler us | native us | ratio | delivered | p50 ms | p99 ms |\n'
                  '|---|---|---|---|---|---|---|')
        pairs = [(SCENARIOS[name](options.ruler), SCENARIOS[name](ROOMY))
                 for _ in range(options.runs)]
        costs[name] = [(base['us'], ours['us']) for base, ours in pairs]
        cells = [f'{median(b["us"] for b, _ in pairs):.1f}',
                 f'{median(o["us"] for _, o in pairs):.1f}',
                 f'{median(o["us"] / b["us"] for b, o in pairs):.2f}']
        cells += [f'{median(b[key] for b, _ in pairs):.{digits}f} / '
                  f'{median(o[key] for _, o in pairs):.{digits}f}'
                  for key, digits in (('delivered', 3), ('p50', 2), ('p99', 2))]
        print(f'| {name} | {" | ".join(cells)} |', flush=True)
        found += rows_of(name, pairs)
    for name in GROWTH:
        if name in costs and ONE in costs:
            grown, one = ([median(run[i] for run in costs[each]) for i in (0, 1)]
                          for each in (name, ONE))
            found.append((f'{name}: a message, to 1 topic (ruler: {grown[0] / one[0]:.2f})',
                          grown[1] / one[1], GROWTH[name]))
    if found:
        print('\n| row | measured | bound |\n|---|---|---|')
        for row, value, bound in found:
            print(f'| {row} | {value:.2f} | {bound:g} |')
    are_held = [value <= bound for _, value, bound in found]
    are_held += [operators(name, options.runs, options.ruler) for name in OPERATORS
                 if name in names]
    return int(not all(are_held))


if __name__ == '__main__':
    sys.exit(main())
