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
How commands and a stop pass a thin link on which pictures, scans and odometry leave the robot.

``python test/bench/measure_thin_link.py [--runs 2] [--seconds 10] [MBIT ...]``: the demo robot and
its bridge are behind a slow line (``test/support/thin_link.py``), an operator on this side
subscribes to the camera (CDR), the scan and odometry (JSON), drives with 20 commands a second and
then presses STOP. It needs to be root, for the network. Printed: how many commands the robot
heard of those that were sent, the time from the operator to the robot of the median and the 99th
percentile, what the link alone takes, the time from STOP to the first zero that the robot heard,
whether the connection broke, and how many messages of each topic came a second.

With ``--page`` the operator is the bridge's web page in chromium: how long it took to load, and
for each key that was pressed when the robot heard of it.
"""
from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
import json
import os
from pathlib import Path
import sys
import time
from typing import Any

from measure import command_line, environment, percentile

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.faults import Process  # noqa: E402,I100,RUF100
from support.helpers import wait_until  # noqa: E402,I100,RUF100

SUPPORT = HERE.parent / 'support'
RATES = (5.0, 1.0, 0.3, 0.1)
ROUND_TRIPS = (0.02, 0.2)
LOSSES = (0.0, 0.01)
HEAD = ('link: rate, round trip, loss', 'lease', 'commands heard', 'refused', 'p50', 'p99',
        'STOP to zero', 'connection', 'camera, scan, odometry a second')
PAGE_HEAD = ('link: rate, round trip, loss', 'loaded', 'lease', 'keys heard', 'key to speed',
             'STOP to zero', 'connection', 'the page says')
STREAMS = {'/camera/image': 'cdr', '/scan': 'json', '/odom': 'json'}
PATIENCE = 60.0
KEYS = 3
"""How often a key is pressed in the page."""
SETTLE = 3.0
"""What passes before commands are measured: the link is full by then, s."""


@dataclass(frozen=True)
class Link:
    """A thin link: million bits a second, s, share of the packets."""

    mbit: float
    round_trip: float
    loss: float

    def __str__(self) -> str:
        return f'{self.mbit:g} Mbit/s, {self.round_trip * 1000:g} ms, {self.loss * 100:g} %'


@contextmanager
def shaped(link: Link) -> Iterator[dict[str, str]]:
    """Give the names of a link."""
    with closing(Process(sys.executable, str(SUPPORT / 'thin_link.py'), str(link.mbit),
                         str(link.round_trip / 2), str(link.loss))) as process:
        wait_until(lambda: process.lines, PATIENCE)
        yield process.lines[0]


@contextmanager
def robot(names: dict[str, str], *own: str) -> Iterator[Process]:
    """Start the robot, its bridge and a listener behind the link; give the listener."""
    inside = ('ip', 'netns', 'exec', names['namespace'], sys.executable)
    with closing(Process(*inside, str(SUPPORT / 'stop_listener.py'), '/cmd_vel')) as listener, \
            closing(Process(*inside, '-m', 'ws_bridge', 'demo', '--ros-args', '--log-level',
                            'error', '-p', 'port:=9090', '-p', 'address:="0.0.0.0"',
                            '-p', 'allow_anonymous:=true', *own)) as demo:
        wait_until(lambda: any('Ctrl-C' in str(line) for line in demo.lines), PATIENCE,
                   why=lambda: demo.lines)
        wait_until(lambda: 'ready' in listener.lines, PATIENCE)
        yield listener


def measure(link: Link, seconds: float) -> list[str]:
    """Drive for so long; return the cells of a row."""
    with shaped(link) as names, robot(names) as listener, closing(Process(
            sys.executable, str(SUPPORT / 'operator_client.py'),
            f'ws://{names["inside"]}:9090', '/cmd_vel', '20', 'again', '1')) as operator:
        operator.say(json.dumps({'op': 'hello', 'name': 'operator', 'pieces': True}))
        for topic, encoding in STREAMS.items():
            operator.say(json.dumps({'op': 'subscribe', 'topic': topic, 'encoding': encoding}))
        begin = time.monotonic()
        operator.say(json.dumps({'op': 'acquire', 'gate': '/cmd_vel'}))
        wait_until(lambda: 'moving' in operator.lines or operator.popen.poll() is not None,
                   PATIENCE, why=lambda: operator.lines[-9:])
        acquired = time.monotonic() - begin
        time.sleep(SETTLE)
        first, counted = time.monotonic(), counts(operator)
        time.sleep(seconds)
        last, arrived = time.monotonic(), counts(operator)
        broke = operator.popen.poll() is not None
        pressed = time.monotonic()
        operator.say('stop')
        time.sleep(2.0)
        heard = [line for line in listener.lines if isinstance(line, list)]
    refused = Counter(line['code'] for line in operator.lines
                      if isinstance(line, dict) and 'code' in line)
    delays = [at - made for at, speed, made in heard if speed and first <= made < last]
    stops = [at - pressed for at, speed, _ in heard if at > pressed and not speed]
    return [str(link), f'{acquired:.2f} s',
            f'{len(delays)} of {round((last - first) * 20)}',
            ', '.join(f'{count} {code}' for code, count in refused.items()) or 'none',
            *(f'{percentile(delays, share) * 1000:.0f} ms' for share in (0.5, 0.99)),
            f'{stops[0] * 1000:.0f} ms' if stops else 'none', 'broke' if broke else 'held',
            ', '.join(f'{(arrived.get(topic, 0) - counted.get(topic, 0)) / seconds:.1f}'
                      for topic in STREAMS)]


def measure_page(link: Link, seconds: float) -> list[str]:
    """Drive by the web page in chromium: keys, then STOP; return the cells of a row."""
    from support.browser import browser

    with shaped(link) as names, robot(names) as listener, browser() as page:
        begin = time.monotonic()
        page.driver.get(f'http://{names["inside"]}:9090/')
        wait_until(lambda: 'connected' in page.text('connection'), PATIENCE)
        connected = time.monotonic() - begin
        wait_until(lambda: 'Nobody has control' in page.text('lease-text'), PATIENCE)
        begin = time.monotonic()
        page['lease-main'].click()
        wait_until(lambda: 'You have control' in page.text('lease-text'), PATIENCE)
        acquired = time.monotonic() - begin
        time.sleep(max(seconds, SETTLE))
        presses = []
        for _ in range(KEYS):
            presses.append(time.monotonic())
            page.press('w')
            time.sleep(1.0)
            page.release('w')
            time.sleep(1.0)
        page.press('w')
        time.sleep(0.7)
        stop = time.monotonic()
        page['stop'].click()
        time.sleep(2.0)
        said, state = page.text('drive-state'), page.text('connection')
        heard = [line for line in listener.lines if isinstance(line, list)]
    delays = [next((at - pressed for at, speed, _ in heard if speed and at > pressed
                    and at < pressed + 2.0), None) for pressed in presses]
    stops = [at - stop for at, speed, _ in heard if at > stop and not speed]
    return [str(link), f'{connected:.1f} s', f'{acquired:.2f} s',
            f'{sum(each is not None for each in delays)} of {KEYS}',
            ', '.join('none' if each is None else f'{each * 1000:.0f} ms' for each in delays),
            f'{stops[0] * 1000:.0f} ms' if stops else 'none', state, said]


def counts(operator: Process) -> dict[str, int]:
    """Return how many messages of each topic the operator has received."""
    before = len(operator.lines)
    operator.say('count')

    def answer() -> Any:
        return next((line['received'] for line in operator.lines[before:]
                     if isinstance(line, dict) and 'received' in line), None)
    wait_until(lambda: answer() is not None or operator.popen.poll() is not None, PATIENCE,
               why=lambda: operator.lines[-5:])
    return dict(answer() or {})


def main() -> None:
    """Measure; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('mbit', nargs='*', type=float)
    parser.add_argument('--runs', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--page', action='store_true', help='by the web page in chromium')
    arguments = parser.parse_args()
    os.environ.update(environment())
    print(f'`{command_line()}`\n')
    head = PAGE_HEAD if arguments.page else HEAD
    print('\n'.join((f'| {" | ".join(head)} |', '|---' * len(head) + '|')))
    for mbit in arguments.mbit or RATES:
        for round_trip in ROUND_TRIPS:
            for loss in LOSSES:
                for _ in range(arguments.runs):
                    row = (measure_page if arguments.page else measure)(
                        Link(mbit, round_trip, loss), arguments.seconds)
                    print('| ' + ' | '.join(row) + ' |', flush=True)


if __name__ == '__main__':
    main()
