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

from collections.abc import Callable
from dataclasses import replace
import json
import select
import selectors
from statistics import median
import subprocess
import sys
import time
from typing import Any

from measure import (
    arguments_of,
    Client,
    load,
    NATIVE,
    outward,
    started,
    Target,
    TYPES,
)

ROOMY = replace(NATIVE, command=(*NATIVE.command, *(
    part for name in ('max_peers', 'max_peers_per_address', 'max_handshakes', 'max_subscriptions')
    for part in ('-p', f'{name}:=2000'))))

SCENARIOS: dict[str, Callable[[Target], dict[str, float]]] = {
    '1 topic, 1 kHz': lambda t: outward(t, 'twist', 1, 1000, 4),
    '200 topics, 1 kHz in all': lambda t: outward(t, 'twist', 200, 1000, 4),
    '1000 topics, 1 kHz in all': lambda t: outward(t, 'twist', 1000, 1000, 4),
    '50 peers, 50 Hz': lambda t: outward(t, 'twist', 1, 50, 4, clients=50),
    '200 peers, 20 Hz': lambda t: outward(t, 'twist', 1, 20, 4, clients=200),
    '50 topics to 20 peers, 10 Hz each': lambda t: outward(t, 'twist', 50, 500, 4, clients=20),
}
GROWTH = ('200 topics, 1 kHz in all', '1000 topics, 1 kHz in all')
ONE = '1 topic, 1 kHz'
OPERATOR = 'operator'
PEERS, TOPICS, RATE, SECONDS = 200, 50, 255, 12
COMMANDS, COMMAND_RATE = 600, 50
BOUND = 20.0


def operator(target: Target) -> dict[str, float]:
    """
    Send commands at 50 Hz while many peers subscribe to many topics, and then get them.

    The peers are a process of their own: what the operator feels is the bridge, not this client.

    :return: the time from a command to a ROS subscription, ms; deliveries a second.
    """
    with started(target) as (port, _):
        ros = load('pub', 'twist', TOPICS, RATE, SECONDS)
        driver = Client(port, target.subprotocol)
        driver.send(target.advertise('/bench/in', TYPES['twist']))
        listener = load('sub', COMMANDS + 1)
        assert listener.stdout and listener.stdout.readline().strip() == 'ready'
        # A publisher's first message waits for its subscribers: it is from the future, and quick.
        driver.send(target.publish('/bench/in', time.monotonic() + 1e6))
        time.sleep(2.0)
        crowd = subprocess.Popen([sys.executable, __file__, '--crowd', str(port)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert ros.stdin and ros.stdout and crowd.stdin and crowd.stdout
        try:
            assert crowd.stdout.readline().strip() == 'connected'
            crowd.stdin.write('go\n')
            crowd.stdin.flush()
            ros.stdin.write('go\n')      # it publishes when all topics have a subscription
            ros.stdin.flush()
            sent = 0
            begin = time.monotonic()
            while sent < COMMANDS:
                driver.send(target.publish('/bench/in', time.monotonic()))
                sent += 1
                if select.select([driver.socket], [], [], 0)[0]:
                    list(driver.frames())       # answers pings
                time.sleep(max(0.0, begin + sent / COMMAND_RATE - time.monotonic()))
            report = json.loads(listener.stdout.readline())
            crowd.stdin.write('end\n')
            crowd.stdin.flush()
            rate = float(crowd.stdout.readline())
        finally:
            for process in (ros, crowd, listener):
                process.kill()
                process.wait()
        return {'p50': report['p50'], 'p99': report['p99'], 'rate': rate,
                'delivered': report['got'] / (COMMANDS + 1)}


def be_crowd(port: int) -> None:
    """Be all the peers: subscribe, read and count until told to end."""
    peers = [Client(port, ROOMY.subprotocol) for _ in range(PEERS)]
    print('connected', flush=True)
    sys.stdin.readline()
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for peer in peers:
        selector.register(peer.socket, selectors.EVENT_READ)
    for peer in peers:
        for number in range(TOPICS):
            peer.send(ROOMY.subscribe(f'/bench/twist{number}', TYPES['twist']))
    got, since = 0, time.monotonic()
    while True:
        for key, _ in selector.select():
            source: Any = key.fileobj
            if source is sys.stdin:
                print(got / (time.monotonic() - since), flush=True)
                return
            got += source.recv(1 << 20).count(b'"sequence":')


def main() -> int:
    """Print the tables; 1 if the operator waited too long."""
    if sys.argv[1:2] == ['--crowd']:
        be_crowd(int(sys.argv[2]))
        return 0
    parser = arguments_of(__doc__ or '', runs=3)
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS, OPERATOR])
    options = parser.parse_args()
    names = options.scenarios or [*SCENARIOS, OPERATOR]
    costs: dict[str, list[tuple[float, float]]] = {}
    for name in names:
        if name == OPERATOR:
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
    for name in GROWTH:
        if name in costs and ONE in costs:
            grown, one = ([median(run[i] for run in costs[each]) for i in (0, 1)]
                          for each in (name, ONE))
            print(f'{name}: a message costs {grown[1] / one[1]:.2f} times as much as with 1 topic '
                  f'(ruler: {grown[0] / one[0]:.2f})')
    if OPERATOR not in names:
        return 0
    trips = [operator(ROOMY)
             for _ in range(options.runs)]
    worst = median(trip['p99'] for trip in trips)
    print(f'\ncommand to ROS while {PEERS} peers subscribe to {TOPICS} topics and get '
          f'them: p50 {median(trip["p50"] for trip in trips):.1f} ms, p99 {worst:.1f} ms, '
          f'{median(trip["delivered"] for trip in trips):.3f} delivered; '
          f'{median(trip["rate"] for trip in trips):.0f} deliveries/s')
    return int(worst > BOUND)


if __name__ == '__main__':
    sys.exit(main())
