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
Peers that come and go, with every kind of operation; then what grew, and what is left.

``python test/bench/measure_soak.py [--seconds 1800] [--peers 50]`` prints the bridge's memory
each minute; then, as ``docs/explanation/security.md`` has it, what grew after the first five
minutes (or the first sixth), and what is left in the graph. It ends with 1 if memory grew by more
than 2 %, anything is left, or the bridge failed. ``test/security/test_soak.py`` runs a short one.
"""
from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
import json
import math
from pathlib import Path
import random
import subprocess
import sys
import time
from typing import Any

import psutil
from rclpy.context import Context
from rclpy.node import Node
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from measure import command_line, environment, free_port  # noqa: E402,I100,RUF100

MEGABYTE = 1 << 20
LIMIT = 0.02
"""The share by which memory may grow."""
NAME = 'soaked_bridge'
FIBONACCI = 'test_msgs/action/Fibonacci'
TYPES = ('std_msgs/msg/String', 'sensor_msgs/msg/LaserScan')


@dataclass
class Soak:
    """What was seen: memory, s and bytes; operations; what is left in the graph."""

    memory: list[tuple[float, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)

    def report(self, settled: float) -> tuple[str, bool]:
        """
        Return what is to be said, and whether the bounds are held.

        Compared are the highest values of the first and the last tenth of the time.

        :param settled: when the bridge has warmed up, s from the begin.
        """
        begun = [size / MEGABYTE for at, size in self.memory if at >= settled] or [math.nan]
        tenth = max(len(begun) // 10, 1)
        growth = max(begun[-tenth:]) / max(begun[:tenth]) - 1.0
        return (f'{self.counts["peers"]:,} peers, {self.counts["operations"]:,} operations: '
                f'{begun[0]:.1f} MB after {settled / 60:.1f} minutes, {begun[-1]:.1f} MB at the '
                f'end: {growth:.1%} between the highest values of the first and the last tenth. '
                f'Left in the graph: {", ".join(self.left) or "nothing"}. The bridge ended with '
                f'{self.counts["exit code"]}.',
                growth <= LIMIT and not self.left and not self.counts['exit code'])


def native(rng: random.Random, number: int) -> dict[str, Any]:
    """Return any operation of the native dialect."""
    name = f'/soak/{rng.randrange(20)}'
    kind = TYPES[rng.randrange(2)]
    choices: list[tuple[str, Any, dict[str, Any]]] = [
        ('configuration', {'op': 'subscribe', 'topic': f'{name}/{kind[-4:]}', 'type': kind,
                           'encoding': rng.choice(('json', 'cbor', 'cdr'))}, {}),
        ('configuration', {'op': 'unsubscribe', 'topic': f'{name}/{kind[-4:]}'}, {}),
        ('configuration', {'op': 'advertise', 'topic': f'{name}/{kind[-4:]}', 'type': kind}, {}),
        ('configuration', {'op': 'advertise_service', 'service': f'{name}/s',
                           'type': 'std_srvs/srv/Trigger'}, {}),
        ('configuration', {'op': 'advertise_action', 'action': f'{name}/a', 'type': FIBONACCI},
         {}),
        ('configuration', {'op': 'list'}, {}), ('configuration', {'op': 'nonsense'}, {}),
        ('configuration', {'op': 'schema', 'type': kind}, {}),
        ('command', {'data': 'x' * rng.randrange(3000)}, {
            'destination': f'{name}/{TYPES[0][-4:]}', 'kind': 'topic', 'ack': rng.random() < 0.3}),
        ('command', {}, {'destination': f'{name}/s', 'kind': 'service', 'timeout': 0.5}),
        ('command', {'order': 1}, {'destination': f'{name}/a', 'kind': 'action', 'timeout': 0.5}),
        ('heartbeat', {'type': 'heartbeat', 'timestamp': time.time(), 'sequence': number}, {}),
        ('status', {'hidden': True}, {})]
    message_type, data, more = choices[rng.randrange(len(choices))]
    return {'metadata': {'message_type': message_type, 'message_id': f'm{number}', **more},
            'data': data}


def old(rng: random.Random, number: int) -> dict[str, Any]:
    """Return any operation of rosbridge."""
    name = f'/soak/{rng.randrange(20)}'
    kind = TYPES[rng.randrange(2)]
    topic = {'topic': f'{name}/{kind[-4:]}', 'type': kind}
    return {'id': f'i{number}', **rng.choice([
        {'op': 'subscribe', **topic, 'compression': rng.choice(('none', 'cbor', 'png'))},
        {'op': 'unsubscribe', **topic}, {'op': 'advertise', **topic},
        {'op': 'publish', 'topic': f'{name}/{TYPES[0][-4:]}', 'msg': {'data': 'y' * 500}},
        {'op': 'call_service', 'service': '/rosapi/topics'},
        {'op': 'call_service', 'service': f'{name}/s', 'timeout': 0.5},
        {'op': 'advertise_service', 'service': f'{name}/s', 'type': 'std_srvs/srv/Trigger'},
        {'op': 'advertise_action', 'action': f'{name}/a', 'type': FIBONACCI},
        {'op': 'send_action_goal', 'action': f'{name}/a', 'action_type': FIBONACCI, 'args': {}},
        {'op': 'nonsense'}])}


def viewed(rng: random.Random, number: int) -> dict[str, Any]:
    """Return any operation of Foxglove's dialect, numbers guessed."""
    kind = TYPES[rng.randrange(2)]
    some = rng.randrange(20)
    return rng.choice([
        {'op': 'subscribe', 'subscriptions': [{'id': some, 'channelId': rng.randrange(200)}]},
        {'op': 'unsubscribe', 'subscriptionIds': [some]},
        {'op': 'advertise', 'channels': [{
            'id': some, 'topic': f'/soak/{some}/{kind[-4:]}', 'encoding': 'json',
            'schemaName': kind}]},
        {'op': 'unadvertise', 'channelIds': [some]},
        {'op': 'getParameters', 'parameterNames': [], 'id': f'i{number}'},
        {'op': 'subscribeParameterUpdates', 'parameterNames': []},
        {'op': rng.choice(('subscribeConnectionGraph', 'unsubscribeConnectionGraph'))},
        {'op': 'fetchAsset', 'uri': 'package://ws_bridge/x.stl', 'requestId': some},
        {'op': 'nonsense'}])


MAKERS = {'ws_bridge.v1': native, 'rosbridge.v2': old, 'foxglove.sdk.v1': viewed}


async def live(port: int, rng: random.Random, end: float, soak: Soak) -> None:
    """Be one peer after the other."""
    number = 0
    while time.monotonic() < end:
        dialect = rng.choice([*MAKERS])
        make = MAKERS[dialect]
        until = min(end, time.monotonic() + rng.uniform(0.5, 5.0))
        try:
            async with connect(f'ws://127.0.0.1:{port}', subprotocols=[dialect], proxy=None,
                               max_size=None) as peer:
                soak.counts['peers'] += 1
                while time.monotonic() < until:
                    number += 1
                    soak.counts['operations'] += 1
                    await peer.send(json.dumps(make(rng, number)))
                    with suppress(asyncio.TimeoutError):
                        while True:
                            await asyncio.wait_for(peer.recv(), 0.1)
                            soak.counts['frames'] += 1
                            if rng.random() < 0.2:
                                break
                if rng.random() < 0.3:
                    peer.transport.abort()
        except (ConnectionClosed, InvalidHandshake, OSError, EOFError) as exc:
            soak.counts[type(exc).__name__] += 1
            await asyncio.sleep(0.1)


async def watch(process: psutil.Process, soak: Soak, end: float, say: bool) -> None:
    """Note the memory, each second."""
    began = time.monotonic()
    minute = 0
    while time.monotonic() < end:
        at = time.monotonic() - began
        soak.memory.append((at, process.memory_info().rss))
        if say and at >= 60 * minute:
            minute += 1
            print(f'{at:6.0f} s  {soak.memory[-1][1] / MEGABYTE:7.1f} MB  {dict(soak.counts)}',
                  flush=True)
        await asyncio.sleep(1.0)


def entities(node: Node) -> list[str]:
    """Return what the bridge has in ROS under the names of the soak."""
    found = []
    for ask in (node.get_publisher_names_and_types_by_node,
                node.get_subscriber_names_and_types_by_node,
                node.get_service_names_and_types_by_node,
                node.get_client_names_and_types_by_node):
        found += [name for name, _ in ask(NAME, '/') if name.startswith('/soak/')]
    return found


def run(seconds: float, peers: int, *, say: bool = False) -> Soak:
    """Soak a bridge in a process of its own."""
    soak = Soak()
    port = free_port()
    bridge = subprocess.Popen(
        [sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '-r', f'__node:={NAME}',
         '--log-level', 'error', '-p', f'port:={port}', '-p', 'max_peers:=200', '-p',
         'max_peers_per_address:=200', '-p', 'match_timeout:=0.0'], env=environment(),
        stdout=subprocess.PIPE, text=True)
    context = Context()
    context.init(args=[])
    node = Node('soak_watcher', context=context)
    try:
        assert bridge.stdout is not None
        bridge.stdout.readline()

        async def act() -> None:
            end = time.monotonic() + seconds
            await asyncio.gather(
                watch(psutil.Process(bridge.pid), soak, end, say),
                *(live(port, random.Random(each), end, soak) for each in range(peers)))
        asyncio.run(act())
        end = time.monotonic() + 15
        while (left := entities(node)) and time.monotonic() < end:
            time.sleep(0.2)
        soak.left = left
    finally:
        node.destroy_node()
        context.try_shutdown()
        bridge.terminate()
        bridge.wait(10)
        if bridge.stdout is not None:
            bridge.stdout.close()
    soak.counts['exit code'] = bridge.returncode
    return soak


def main() -> int:
    """Parse the arguments and soak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--seconds', type=float, default=1800.0)
    parser.add_argument('--peers', type=int, default=50)
    args = parser.parse_args()
    soak = run(args.seconds, args.peers, say=True)
    said, held = soak.report(min(300.0, args.seconds / 6))
    print(f'`{command_line()}` ({args.peers} peers of every dialect that come and go): {said}')
    return int(not held)


if __name__ == '__main__':
    sys.exit(main())
