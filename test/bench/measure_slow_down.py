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
How fast a robot is driven while the delay of its operator's commands changes.

``python test/bench/measure_slow_down.py [--seconds 4] [DELAY ...]``: a gate slows down by delay, a
native client commands full speed 20 times a second through a proxy that delays what is sent either
way, and the delay is stepped. Printed for each step: how old the commands were that the robot
heard, the speed that the curve allows by that, the speed that was published in the end, how long
after the first command with the new delay all were upon it, and by how much a command was above it
at most: of a client that is honest, and of one that says that each command is new. Speeds are
shares of the bound, times s.  It ends with 1 where commands are not upon the curve after 0.2 s, or
one is above it by more than the 0.05 by which speeds may differ: a command ages on its way from
the gate to the robot.
"""
from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from itertools import count
import json
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any

from geometry_msgs.msg import Twist
from measure import command_line, environment, percentile
from websockets.asyncio.client import ClientConnection, connect

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.bridge_harness import running_bridge  # noqa: E402,I100,RUF100
from support.helpers import async_wait_until, SpinningNode  # noqa: E402,I100,RUF100

from ws_bridge.safety.policy import SlowDown  # noqa: E402,I100,RUF100

CURVE = SlowDown(0.15, 0.6)
DELAYS = (0.05, 0.2, 0.4, 0.6, 1.0, 0.05)
RATE = 20.0
WITHIN = 0.2
"""So soon all commands have to be upon the curve, s."""
NEAR = 0.05
"""Speeds that differ by less are the same; so are delays, s."""
HEAD = ('client', 'delay', 'commands heard', 'age p50', 'curve', 'speed', 'upon it after',
        'above it at most', 'held')
MAPPING = f"""\
version: 1
out: ['*']
in: ['*']
gates:
- gate: drive
  topics: [/cmd_vel]
  timeout: 5
  ttl: 3
  clamp: [{{field: linear.x, min: -1, max: 1, saturate: true}}]
  slow_down: {{full: {CURVE.full}, stop: {CURVE.stop}}}
"""


class Proxy:
    """
    Carries bytes to a port, and back.

    :ivar delay: of what comes from now on, each way, s.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.delay = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        there, back = await asyncio.open_connection('127.0.0.1', self._port)
        with suppress(OSError):
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, due = asyncio.get_running_loop(), 0.0
        while data := await reader.read(65536):
            due = max(due + 1e-6, loop.time() + self.delay)     # in this order
            loop.call_at(due, writer.write, data)
        loop.call_at(due, writer.close)


class Client:
    """An operator's program; ``is_honest``: it tells when its commands were made."""

    def __init__(self, websocket: ClientConnection, *, is_honest: bool) -> None:
        self._socket = websocket
        self._is_honest = is_honest
        self._numbers = count()
        self._heard: dict[str, Any] | None = None
        self._epoch: int | None = None

    async def send(self, message_type: str, data: Any, **metadata: Any) -> None:
        """Send an envelope."""
        await self._socket.send(json.dumps({'metadata': {
            'message_type': message_type, 'message_id': 'i', **metadata}, 'data': data}))

    async def read(self) -> None:
        """Take what comes."""
        async for text in self._socket:
            data = json.loads(text)['data']
            if data.get('type') == 'heartbeat':
                self._heard = {'sequence': data['sequence'], 'timestamp': data['timestamp'],
                               'received': time.time()}
            self._epoch = data.get('epoch', self._epoch)

    async def drive(self) -> None:
        """Command for ever, from a neutral command on."""
        await self.send('configuration', {'op': 'advertise', 'topic': '/cmd_vel',
                                          'type': 'geometry_msgs/msg/Twist'})
        await self.send('configuration', {'op': 'acquire', 'gate': 'drive'})
        await async_wait_until(lambda: self._epoch is not None)
        due = time.monotonic()
        for number in self._numbers:
            await self.send('heartbeat', {'type': 'heartbeat', 'timestamp': time.time(),
                                          'sequence': number, 'echo': self._heard})
            linear = {'x': 9.0, 'z': time.monotonic()} if number > RATE else {}
            times = {'timestamp': time.time()} if self._is_honest else {'bridge_time': time.time()}
            await self.send('command', {'linear': linear}, destination='/cmd_vel',
                            epoch=self._epoch, sequence=number, **times)
            due += 1 / RATE
            await asyncio.sleep(max(due - time.monotonic(), 0.0))


async def measure(mapping: Path, delays: list[float], seconds: float, *,
                  is_honest: bool) -> list[list[str]]:
    """Return a row for each step."""
    rows, heard = [], []
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda message: heard.append(
            (time.monotonic(), message.linear.x, message.linear.z)), 100)
        async with running_bridge(mapping_file=str(mapping)) as service:
            proxy = Proxy(service.server.port)
            server = await asyncio.start_server(proxy.serve, '127.0.0.1', 0)
            port = server.sockets[0].getsockname()[1]
            async with connect(f'ws://127.0.0.1:{port}', subprotocols=['ws_bridge.v1'],
                               compression=None, ping_interval=None) as websocket:
                client = Client(websocket, is_honest=is_honest)
                tasks = [asyncio.ensure_future(part) for part in (client.read(), client.drive())]
                await async_wait_until(lambda: heard and heard[-1][2] and heard[-1][1] == 1.0)
                for delay in delays:
                    proxy.delay = delay
                    heard.clear()
                    await asyncio.sleep(seconds)
                    rows.append(row(delay, list(heard)))
                for task in tasks:
                    task.cancel()
            server.close()
    return rows


def row(delay: float, heard: list[tuple[float, float, float]]) -> list[str]:
    """Return what a step shows, by what the robot heard: when, how fast, and when it was made."""
    ages = [at - made for at, _, made in heard]
    begin = next((number for number, age in enumerate(ages) if abs(age - delay) < NEAR), 0)
    allowed = CURVE.share(percentile(ages[begin:], 0.5))
    late = [at for at, speed, _ in heard[begin:] if abs(speed - allowed) > NEAR]
    after = late[-1] - heard[begin][0] if late else 0.0
    above = max(speed - CURVE.share(age) for (_, speed, _), age in zip(heard, ages, strict=True))
    return [f'{delay:g}', str(len(heard)), f'{percentile(ages[begin:], 0.5):.3f}',
            f'{allowed:.2f}', f'{heard[-1][1]:.2f}',
            f'{after:.2f}', f'{max(above, 0.0):.2f}',
            'yes' if after <= WITHIN and above <= NEAR else '**no**']


def main() -> int:
    """Measure; print the table; return 1 where a bound is not held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('delays', nargs='*', type=float, default=list(DELAYS))
    parser.add_argument('--seconds', type=float, default=4.0)
    arguments = parser.parse_args()
    os.environ.update(environment())
    all_held = True
    print(f'`{command_line()}`\n')
    print('\n'.join((f'| {" | ".join(HEAD)} |', '|---' * len(HEAD) + '|')))
    with tempfile.TemporaryDirectory() as folder:
        mapping = Path(folder, 'mapping.yaml')
        mapping.write_text(MAPPING)
        for name, is_honest in (('honest', True), ('says that all is new', False)):
            for cells in asyncio.run(measure(mapping, arguments.delays, arguments.seconds,
                                             is_honest=is_honest)):
                print('| ' + ' | '.join([name, *cells]) + ' |', flush=True)
                all_held &= cells[-1] == 'yes'
    return int(not all_held)


if __name__ == '__main__':
    sys.exit(main())
