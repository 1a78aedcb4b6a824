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
What an operator notices of attacks: round trip of its 50 Hz commands, and the bridge's memory.

``python test/bench/measure_attacks.py [--seconds 10] [--repeat 3] [NAME ...]`` prints the table
of ``docs/explanation/security.md``: of each attack the round with the median p99, and ends with 1
where a bound is not held. Bridge, operator and attacker are processes of their own; the command
goes into ROS, and what is measured is the time until its acknowledgment is there.
"""
from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

import psutil
from websockets.asyncio.client import connect

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from attacks import ATTACKS  # noqa: E402,I100,RUF100
from certificates import make_web_token_key  # noqa: E402
from measure import command_line, environment, free_port, percentile  # noqa: E402
from security_support import bearer, TOKEN, TOKENS, write_tokens  # noqa: E402

RATE = 50.0
LIMIT_MS = 20.0
"""The longest p99 of the operator's round trips."""
LIMIT_MB = 256.0
"""The most memory that the bridge may take."""
MEGABYTE = 1 << 20

Round = tuple[list[float], int, int, str]
"""Round trips, s; memory before and at its highest, bytes; what the attacker got."""


class Operator:
    """Commands at 50 Hz and notes when each was acknowledged."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.sent: dict[str, float] = {}
        self.trips: list[float] = []
        self.refused = 0

    async def ask(self, data: dict[str, Any]) -> None:
        """Send a configuration."""
        await self.websocket.send(json.dumps({
            'metadata': {'message_type': 'configuration', 'message_id': 'ask'}, 'data': data}))

    async def read(self) -> None:
        """Take what comes."""
        async for frame in self.websocket:
            now = time.perf_counter()
            value = json.loads(frame)
            began = self.sent.pop(value['metadata']['correlation_id'] or '', None)
            if began is not None:
                self.trips.append(now - began)
                self.refused += value['metadata']['message_type'] == 'error'

    async def command(self) -> None:
        """Send a command each period."""
        number = 0
        due = time.perf_counter()
        while True:
            number += 1
            message_id = f'c{number}'
            self.sent[message_id] = time.perf_counter()
            await self.websocket.send(json.dumps({'metadata': {
                'message_type': 'command', 'message_id': message_id, 'destination': '/attacked',
                'ack': True}, 'data': {'data': 0.1}}))
            due += 1 / RATE
            await asyncio.sleep(max(due - time.perf_counter(), 0))


def quantile(trips: list[float], share: float) -> float:
    """Return a percentile, ms; nan, within no bound, where nothing was acknowledged."""
    return percentile(trips, share) * 1000


def row(name: str, what: str, rounds: list[Round]) -> tuple[str, bool]:
    """Return the row of an attack, what is beyond a bound in bold, and whether both are held."""
    # of rounds in which nothing came there is no p99: they are the longest
    rounds = sorted(rounds, key=lambda each: (not each[0], quantile(each[0], 0.99)))
    trips, _, _, outcome = rounds[len(rounds) // 2]
    p99, before, highest = (quantile(trips, 0.99), min(each[1] for each in rounds) / MEGABYTE,
                            max(each[2] for each in rounds) / MEGABYTE)
    quick, small = p99 <= LIMIT_MS, highest <= LIMIT_MB
    cells = [name, what, outcome, str(len(trips)), f'{quantile(trips, 0.5):.2f}',
             f'{p99:.2f}' if quick else f'**{p99:.2f}**', f'{quantile(trips, 1.0):.2f}',
             f'{before:.0f} to ' + (f'{highest:.0f}' if small else f'**{highest:.0f}**')]
    return f'| {" | ".join(cells)} |', quick and small


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start a process whose output is read."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


async def measure(operator: Operator, bridge: psutil.Process, command: list[str] | None,
                  key: bytes, seconds: float) -> Round:
    """Return what one round shows."""
    await asyncio.sleep(1.0)
    operator.trips.clear()
    before = highest = bridge.memory_info().rss
    process = None
    if command is not None:
        process = start(command, stderr=subprocess.DEVNULL,
                        env={**os.environ, 'ATTACKED_KEY': key.decode()})
    end = time.monotonic() + seconds
    while time.monotonic() < end or (process is not None and process.poll() is None):
        highest = max(highest, bridge.memory_info().rss)
        await asyncio.sleep(0.05)
        if time.monotonic() > end + 30 and process is not None:
            process.kill()
    trips = list(operator.trips)
    if process is None:
        return trips, before, highest, ''
    out = process.communicate()[0]
    counts = json.loads(out) if out.strip() else {'failed': 1}
    return trips, before, highest, ', '.join(f'{n} {what}' for what, n in sorted(counts.items()))


def run(names: list[str], seconds: float, repeat: int) -> int:
    """Measure quiet and each attack; return 1 where an operator would notice."""
    with tempfile.TemporaryDirectory() as folder:
        key_file = Path(folder, 'key.pem')
        pem = make_web_token_key(key_file)
        port = free_port()
        parameters = {'port': port, 'token_file': write_tokens(Path(folder, 'tokens')),
                      'jwt_key_file': key_file, 'compression': 'true', 'match_timeout': 0.0}
        command = [sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '--log-level',
                   'error']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        bridge = start(command, env=environment())
        try:
            assert bridge.stdout is not None
            bridge.stdout.readline()
            return asyncio.run(_measure_all(names, seconds, repeat, port, bridge.pid, pem))
        finally:
            bridge.terminate()
            bridge.wait(10)


async def _measure_all(names: list[str], seconds: float, repeat: int, port: int, pid: int,
                       pem: bytes) -> int:
    failed = False
    process = psutil.Process(pid)
    async with connect(f'ws://127.0.0.1:{port}', subprotocols=['ws_bridge.v1'],
                       additional_headers=bearer(TOKEN), compression=None) as websocket:
        operator = Operator(websocket)
        await operator.ask({'op': 'advertise', 'topic': '/attacked',
                            'type': 'std_msgs/msg/Float64'})
        tasks = [asyncio.create_task(operator.read()), asyncio.create_task(operator.command())]
        print(f'`{command_line()}`\n\n'
              '| attack | what | attempts | commands | p50 ms | p99 ms | worst ms | memory MB |\n'
              '|---|---|---|---|---|---|---|---|', flush=True)
        for name in ('none', *names):
            attacker = None if name == 'none' else [
                sys.executable, str(HERE.parent / 'attacks.py'), name, str(port),
                TOKENS['olga'][1], str(seconds)]
            rounds = [await measure(operator, process, attacker, pem, seconds)
                      for _ in range(repeat)]
            line, held = row(name, ATTACKS[name][1] if attacker else 'quiet', rounds)
            failed |= not held or operator.refused > 0 or any(t.done() for t in tasks)
            print(line, flush=True)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    print(f'\n{LIMIT_MS:g} ms at p99, {LIMIT_MB:g} MB, no command refused: '
          f'{"NOT held" if failed else "held"}')
    return int(failed)


def main() -> int:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('names', nargs='*', metavar='NAME', choices=[[], *ATTACKS])
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--repeat', type=int, default=3)
    args = parser.parse_args()
    return run(args.names or list(ATTACKS), args.seconds, args.repeat)


if __name__ == '__main__':
    sys.exit(main())
