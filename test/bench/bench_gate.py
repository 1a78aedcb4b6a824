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
What a gate costs: CPU of the bridge a command, with and without one, in the same run.

``python test/bench/bench_gate.py [--runs N] [--ruler PATH]``

The frames are the same, byte for byte but for times; the gate is the one that every Twist has by
default. The ruler shows how fast the machine is just then.
"""
from __future__ import annotations

import argparse
from dataclasses import replace
import json
from statistics import median
import time
from typing import Any

from measure import BRIDGE, Client, cpu, inward, load, NATIVE, ruler, started, Target

TOPIC = '/bench/in'
RATE = 1000.0
SECONDS = 4
BEAT = 0.5
TARGET = 15.0  # us
LENIENT = ('-p', 'gate_ttl:=3600.0', '-p', 'gate_timeout:=60.0')
GATED = replace(NATIVE, name='gated', command=(*BRIDGE, *LENIENT))
FREE = replace(NATIVE, name='ungated', command=(
    *BRIDGE, *LENIENT, '-p', 'gated_types:=["std_msgs/msg/Empty"]'))


def frame(message_type: str, data: Any, **metadata: Any) -> str:
    """Return an envelope."""
    return json.dumps({'metadata': {'message_id': 'b', 'message_type': message_type,
                                    'timestamp': time.time(), **metadata}, 'data': data})


def answer(client: Client, op: str, **fields: Any) -> dict[str, Any]:
    """Ask and return the data of the answer, with the bridge's time."""
    client.send(frame('configuration', {'op': op, **fields}))
    while True:
        for each in list(client.frames()):
            reply = json.loads(bytes(each))
            if reply['metadata']['correlation_id'] == 'b':
                return {**reply['data'], 'time': reply['metadata']['timestamp']}


def command(number: int, epoch: int | None, bridge_time: float, x: float) -> str:
    """Return a command as an operator's program sends it."""
    return ('{"metadata":{"message_id":"c","timestamp":%.6f,"message_type":"command",'
            '"destination":"%s","sequence":%d,"epoch":%d,"bridge_time":%.6f},'
            '"data":{"linear":{"x":%.6f},"angular":{"z":%.1f}}}'
            % (time.time(), TOPIC, number, epoch or 0, bridge_time, x, 0.5 if x else 0.0))


def drive(target: Target) -> dict[str, float]:
    """
    Command through a bridge.

    :return: us of CPU a command, share delivered.
    """
    total = int(RATE * SECONDS)
    with started(target) as (port, process):
        client = Client(port, target.subprotocol)
        answer(client, 'advertise', topic=TOPIC, type='geometry_msgs/msg/Twist')
        ros = load('sub', total)
        assert ros.stdout
        assert ros.stdout.readline().strip() == 'ready'
        time.sleep(3.0)
        given = answer(client, 'acquire', gate=TOPIC)
        assert ('epoch' in given) is (target is GATED), given
        epoch, bridge_time = given.get('epoch'), given['time']
        before = cpu(process)
        start = beat = time.perf_counter()
        for number in range(total):
            while (now := time.perf_counter()) < start + number / RATE:
                time.sleep(0.0003)
            if now > beat:
                beat += BEAT
                client.send(frame('heartbeat', {'type': 'heartbeat', 'sequence': number,
                                                'timestamp': time.time(), 'echo': None}))
            client.send(command(number, epoch, bridge_time, time.monotonic() if number else 0.0))
        report = json.loads(ros.stdout.readline())
        used = cpu(process) - before
        ros.wait()
    return {'us': used / total * 1e6, 'delivered': report['got'] / total}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--ruler', help='another program with the manners of ruler.py')
    given = parser.parse_args()
    rows = [(inward(ruler(given.ruler), RATE, SECONDS), drive(FREE), drive(GATED))
            for _ in range(given.runs)]
    print('| | us a command | delivered |\n|---|---|---|')
    for index, name in enumerate(('ruler', 'ungated', 'gated')):
        print(f'| {name} | {median(row[index]["us"] for row in rows):.1f} | '
              f'{min(row[index]["delivered"] for row in rows):.3f} |')
    extra = sorted(gated['us'] - free['us'] for _, free, gated in rows)
    print(f'\nthe gate costs {median(extra):.1f} us a command, median of {len(rows)} pairs '
          f'({extra[0]:.1f} to {extra[-1]:.1f}); the bound is {TARGET:g} us')


if __name__ == '__main__':
    main()
