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

``python test/bench/measure_attacks.py [--seconds 10] [--repeat 3] [NAME ...]``
prints the table of ``docs/explanation/security.md``: of each attack the round with the median
p99, and ends with 1 where a bound is not held. Bridge, operator and attacker are processes of
their own; the command goes into ROS, and what is measured is the time until its acknowledgment
is there.
"""
from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from dataclasses import dataclass
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

from measure import command_line, environment, free_port, percentile  # noqa: E402,I100,RUF100
from support.attacks import (  # noqa: E402,I100,RUF100
    anybody,
    ask,
    CAMERA,
    CAMERAS,
    INSIDE,
    KNOWN,
    SWARMS,
    Target,
)
from support.certificates import make_authority, make_certificate, make_web_token_key  # noqa: E402
from support.security_support import bearer, TOKEN, TOKENS, write_tokens  # noqa: E402

RATE = 50.0
LIMIT_MS = 20.0
"""The longest p99 of the operator's round trips."""
LIMIT_MB = 256.0
"""The most memory that the bridge may take."""
SWARM_MB = 200.0
"""The same where connections come in swarms."""
LEAST_PICTURES = 5.0
"""Those who watch a camera, which gives 10 pictures a second, get at least so many."""
REST = 30.0
"""After a swarm the memory is within this time, s, at most :data:`REST_MB` more than before."""
REST_MB = 20.0
MEGABYTE = 1 << 20


@dataclass
class Round:
    """
    What one round shows.

    :ivar trips: of the operator's commands, s.
    :ivar before: memory, bytes.
    :ivar highest: the same, at its highest.
    :ivar files: open files at their most.
    :ivar audit: bytes that were written to the audit log.
    :ivar lines: lines that the bridge logged.
    :ivar outcome: what the attacker got.
    :ivar pictures: of a camera, that the operator, who is a viewer too, got in a second.
    """

    trips: list[float]
    before: int
    highest: int
    files: int
    audit: int
    lines: int
    outcome: str
    pictures: float = 0.0


@dataclass
class Bridge:
    """The bridge that is attacked: its process, and the files that it writes."""

    process: psutil.Process
    audit: Path
    log: Path

    def written(self) -> tuple[int, int]:
        """Return the bytes of the audit log, older files included, and the lines of the log."""
        return (sum(path.stat().st_size for path in self.audit.parent.glob(f'{self.audit.name}*')),
                self.log.read_bytes().count(b'\n'))


class Operator:
    """Commands at 50 Hz and notes when each was acknowledged."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.sent: dict[str, float] = {}
        self.trips: list[float] = []
        self.refused = 0
        self.pictures = 0

    async def ask(self, data: dict[str, Any]) -> None:
        """Send a configuration."""
        await self.websocket.send(json.dumps({
            'metadata': {'message_type': 'configuration', 'message_id': 'ask'}, 'data': data}))

    async def read(self) -> None:
        """Take what comes."""
        async for frame in self.websocket:
            now = time.perf_counter()
            if isinstance(frame, bytes):
                self.pictures += 1
                continue
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


def row(name: str, what: str, rounds: list[Round],
        limit: float = LIMIT_MB) -> tuple[str, bool]:
    """Return the row of an attack, what is beyond a bound in bold, and whether both are held."""
    # of rounds in which nothing came there is no p99: they are the longest
    rounds = sorted(rounds, key=lambda each: (not each.trips, quantile(each.trips, 0.99)))
    middle = rounds[len(rounds) // 2]
    p99, before, highest = (quantile(middle.trips, 0.99),
                            min(each.before for each in rounds) / MEGABYTE,
                            max(each.highest for each in rounds) / MEGABYTE)
    quick, small = p99 <= LIMIT_MS, highest <= limit
    cells = [name, what, middle.outcome, str(len(middle.trips)),
             f'{quantile(middle.trips, 0.5):.2f}',
             f'{p99:.2f}' if quick else f'**{p99:.2f}**', f'{quantile(middle.trips, 1.0):.2f}',
             f'{before:.0f} to ' + (f'{highest:.0f}' if small else f'**{highest:.0f}**'),
             str(max(each.files for each in rounds)),
             f'{max(each.audit for each in rounds) / 1000:.0f}',
             str(max(each.lines for each in rounds))]
    return f'| {" | ".join(cells)} |', quick and small


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start a process whose output is read."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


async def measure(operator: Operator, bridge: Bridge, command: list[str] | None,
                  key: bytes, seconds: float) -> Round:
    """Return what one round shows."""
    await asyncio.sleep(1.0)
    operator.trips.clear()
    operator.pictures, begin = 0, time.monotonic()
    audit, lines = bridge.written()
    before = highest = bridge.process.memory_info().rss
    files = 0
    process = None
    if command is not None:
        process = start(command, stderr=subprocess.DEVNULL,
                        env={**os.environ, 'ATTACKED_KEY': key.decode()})
    end = time.monotonic() + seconds
    while time.monotonic() < end or (process is not None and process.poll() is None):
        highest = max(highest, bridge.process.memory_info().rss)
        files = max(files, bridge.process.num_fds())
        await asyncio.sleep(0.05)
        if time.monotonic() > end + 30 and process is not None:
            process.kill()
    pictures = operator.pictures / (time.monotonic() - begin)
    outcome = ''
    if process is not None:
        out = process.communicate()[0]
        counts = json.loads(out) if out.strip() else {'failed': 1}
        outcome = ', '.join(f'{n} {what}' for what, n in sorted(counts.items()) if n)
    if operator.pictures:
        outcome = '; '.join(filter(None, (outcome, f'a viewer: {pictures:.1f} a second')))
    written, said = bridge.written()
    return Round(list(operator.trips), before, highest, files, written - audit, said - lines,
                 outcome, pictures)


def run(names: list[str], seconds: float, repeat: int) -> int:
    """Measure quiet and each attack; return 1 where an operator would notice."""
    plain = [name for name in names if not name.startswith('TLS ') and name not in CAMERAS]
    secure = [name for name in names if name.startswith('TLS ')]
    print(f'`{command_line()}`\n\n'
          '| attack | what | attempts | commands | p50 ms | p99 ms | worst ms | memory MB '
          '| files | audit kB | log lines |\n' + '|---' * 11 + '|', flush=True)
    failed = False
    for some, is_tls in ((plain, False), (secure, True)):
        failed |= bool(some) and _run(some, seconds, repeat, is_tls=is_tls)
    seen = [name for name in names if name in CAMERAS]
    if seen:
        camera = start([sys.executable, str(HERE.parent / 'support' / 'attacked_camera.py')],
                       env=environment())
        try:
            assert camera.stdout is not None
            camera.stdout.readline()
            failed |= _run(seen, seconds, repeat, is_tls=False)
        finally:
            camera.terminate()
            camera.wait(10)
    print(f'\n{LIMIT_MS:g} ms at p99, {LIMIT_MB:g} MB ({SWARM_MB:g} MB where connections come in '
          f'swarms), at rest again in {REST:g} s, no command refused: '
          f'{"NOT held" if failed else "held"}')
    return int(failed)


def _run(names: list[str], seconds: float, repeat: int, *, is_tls: bool) -> bool:
    """Measure one bridge; return whether a bound was not held."""
    with tempfile.TemporaryDirectory() as folder:
        key_file, audit, log = (Path(folder, each) for each in ('key.pem', 'audit', 'log'))
        pem = make_web_token_key(key_file)
        port = free_port()
        parameters = {'port': port, 'token_file': write_tokens(Path(folder, 'tokens')),
                      'jwt_key_file': key_file, 'compression': 'true', 'match_timeout': 0.0,
                      'audit_file': audit}
        if is_tls:
            pair = make_certificate(Path(folder), 'server', make_authority(Path(folder), 'ours'))
            parameters |= {'tls_certificate': pair.cert, 'tls_key': pair.key}
        command = [sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '--log-level',
                   'warn']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        with log.open('wb') as errors:
            bridge = start(command, env=environment(), stderr=errors)
        try:
            assert bridge.stdout is not None
            bridge.stdout.readline()
            return asyncio.run(_measure_all(
                names, seconds, repeat, Target(port, TOKENS['olga'][1], pem, is_tls=is_tls),
                Bridge(psutil.Process(bridge.pid), audit, log)))
        finally:
            bridge.terminate()
            bridge.wait(10)


async def _measure_all(names: list[str], seconds: float, repeat: int, target: Target,
                       bridge: Bridge) -> bool:
    failed = False
    async with connect(target.url, ssl=anybody() if target.is_tls else None,
                       subprotocols=['ws_bridge.v1'], additional_headers=bearer(TOKEN),
                       compression=None) as websocket:
        operator = Operator(websocket)
        await operator.ask({'op': 'advertise', 'topic': '/attacked',
                            'type': 'std_msgs/msg/Float64'})
        tasks = [asyncio.create_task(operator.read()), asyncio.create_task(operator.command())]
        watches = names[0] in CAMERAS
        while watches and not operator.pictures:
            await websocket.send(ask('subscribe', topic=CAMERA, encoding='video'))
            await asyncio.sleep(0.5)
        quiet = 'TLS none' if target.is_tls else 'none'
        for name in (quiet, *names):
            attacker = None if name == quiet else [
                sys.executable, str(HERE.parent / 'support' / 'attacks.py'), name,
                str(target.port), TOKEN if name in INSIDE else target.token, str(seconds)]
            rounds = [await measure(operator, bridge, attacker, target.key, seconds)
                      for _ in range(repeat)]
            line, held = row(name, KNOWN[name][1] if attacker else 'quiet', rounds,
                             SWARM_MB if name in SWARMS else LIMIT_MB)
            failed |= watches and min(each.pictures for each in rounds) < LEAST_PICTURES
            failed |= not held or operator.refused > 0 or any(t.done() for t in tasks)
            if name in SWARMS:
                failed |= not await _comes_to_rest(bridge.process, rounds[0].before)
            print(line, flush=True)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return failed


async def _comes_to_rest(bridge: psutil.Process, before: int) -> bool:
    """Whether the memory is, within :data:`REST`, nearly what it was."""
    end = time.monotonic() + REST
    while bridge.memory_info().rss > before + REST_MB * MEGABYTE:
        if time.monotonic() > end:
            print(f'not at rest: {bridge.memory_info().rss / MEGABYTE:.0f} MB', flush=True)
            return False
        await asyncio.sleep(0.5)
    return True


def main() -> int:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('names', nargs='*', metavar='NAME', choices=[[], *KNOWN])
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--repeat', type=int, default=3)
    args = parser.parse_args()
    return run(args.names or list(KNOWN), args.seconds, args.repeat)


if __name__ == '__main__':
    sys.exit(main())
