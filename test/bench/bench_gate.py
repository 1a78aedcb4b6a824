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

First the bridge alone, on its own loop: publishing one command again and again, by turns through
its gate and past it. That is exact. Then whole processes, with sockets: the frames are the same,
byte for byte but for times, and the ruler shows how fast the machine is just then. The gate is the
one that every Twist has by default.
"""
from __future__ import annotations

import asyncio
from dataclasses import replace
import json
import os
from pathlib import Path
from statistics import median
import sys
import time
from typing import Any

from measure import (
    arguments_of,
    BRIDGE,
    Client,
    cpu,
    environment,
    inward,
    load,
    NATIVE,
    started,
    Target,
)

from ws_bridge.session.effects import Publish

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
        ros = load('sub', total - 1)
        assert ros.stdout
        assert ros.stdout.readline().strip() == 'ready'
        time.sleep(3.0)
        given = answer(client, 'acquire', gate=TOPIC)
        assert ('epoch' in given) is (target is not FREE), given
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
    return {'us': used / total * 1e6, 'delivered': report['got'] / (total - 1)}


async def alone(rounds: int = 15, times: int = 5000) -> tuple[float, float]:
    """
    Publish one command again and again, past the gate and through it, by turns.

    :return: medians of the us of CPU a command.
    """
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
    from support.bridge_harness import native_peer, running_bridge
    async with running_bridge(gate_ttl=3600.0, gate_timeout=60.0,
                              heartbeat_timeout=3600.0, max_message_rate=0.0) as service, \
            native_peer(service) as operator:
        await operator.ask('advertise', topic=TOPIC, type='geometry_msgs/msg/Twist')
        epoch = (await operator.ask('acquire', gate=TOPIC))['epoch']
        way = service.bridge._publications
        wishes: list[Any] = []
        publish = way.publish

        def note(_: Any, peer: Any, wish: Any) -> None:
            wishes.append((peer, wish))
            publish(peer, wish)
        service.bridge._dispatcher._handlers[Publish] = way, note
        for number, x in enumerate((0.0, 0.5)):
            await operator.publish(TOPIC, {'linear': {'x': x}}, epoch=epoch, sequence=number,
                                   bridge_time=time.time())
        peer, wish = wishes[-1]
        wish = replace(wish, ack=None)
        (route,) = way._routes.values()
        passage, spent = route.passage, ([], [])
        assert passage is not None
        for turn in range(2 * rounds):
            route.passage = passage if turn % 2 else None
            begin = time.process_time()
            for number in range(times):
                command = replace(wish.command, sequence=turn * times + number + 2)
                publish(peer, replace(wish, command=command))
            spent[turn % 2].append((time.process_time() - begin) / times * 1e6)
            await asyncio.sleep(0)
        route.passage = passage
    return median(spent[0]), median(spent[1])


def main() -> None:
    """Print the tables."""
    given = arguments_of(__doc__, runs=5).parse_args()
    os.environ.update(environment())
    free, gated = asyncio.run(alone())
    print(f'the bridge alone: {gated - free:.1f} us a command for the gate '
          f'({free:.1f} past it, {gated:.1f} through it); the bound is {TARGET:g} us\n')
    rows = [(inward(given.ruler, RATE, SECONDS), drive(FREE), drive(GATED))
            for _ in range(given.runs)]
    print('| | us a command | delivered |\n|---|---|---|')
    for index, name in enumerate(('ruler', 'ungated', 'gated')):
        print(f'| {name} | {median(row[index]["us"] for row in rows):.1f} | '
              f'{min(row[index]["delivered"] for row in rows):.3f} |')
    extra = sorted(gated['us'] - free['us'] for _, free, gated in rows)
    print(f'\nwhole processes: {median(extra):.1f} us a command for the gate, median of '
          f'{len(rows)} pairs ({extra[0]:.1f} to {extra[-1]:.1f}); the bound is {TARGET:g} us')


if __name__ == '__main__':
    main()
