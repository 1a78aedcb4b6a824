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
How long the robot goes on after the last good command, for each fault of ``support/faults.py``.

``python test/bench/measure_stops.py [--runs 20] [--hogs 6] [WORD ...]`` prints the tables of
``docs/explanation/safety.md``, with words only the faults that have one in their name: the time
from the last command that the robot heard to the first zero that it heard, both with the clock of
the process that hears them.  The bound is ``timeout`` + 20 ms, + 40 ms beside processes that
compute all the time (``--hogs``).  With ``--link 0.3,200,0.01`` (Mbit/s, ms there and back, share
of the packets that is lost; again for more links) the operator is behind such a link, which is
full of pictures, scans and odometry; it needs to be root.  STOP takes at most the round trip and
100 ms since it was pressed.  A cut link carries later what waited in it.  It ends with 1 where a
bound is not held, a backlog moved the robot with a command older than ``ttl``, or anything moved
it after a stop on such a link.  "Stolen" is what the host of a virtual machine kept from each
processor during the longest run: no program can stop a robot in that time.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
import os
from pathlib import Path
import platform
import signal
import subprocess
import sys
import time

from measure import command_line, environment, percentile, stolen

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from measure_large_frames import Payload, PAYLOADS, Sender  # noqa: E402,I100,RUF100
from support.faults import (  # noqa: E402,I100,RUF100
    Case,
    CASES,
    die_in_the_outage,
    hold_for,
    NotDriving,
    OPERATOR,
    OUTAGE,
    Outcome,
    PAGE,
    PLAIN_PAGE,
    Process,
    python,
    Rig,
    signal_bridge,
    tell,
    TIMEOUT,
    TOPIC,
    TTL,
)
from support.helpers import wait_until  # noqa: E402,I100,RUF100
from support.links import Link, shaped, STREAMS  # noqa: E402,I100,RUF100

SLACK, SLACK_BESIDE_HOGS = 0.02, 0.04
MOVING = 5
TRIES = 3
WATCH = 0.3
"""For how long one looks whether anything moves after a stop, where nothing is to come back, s."""
LEFT_OUT = ('page, bridge ended (SIGTERM)', 'page, lease taken', 'page, e-stop from a second peer',
            'page, no commands', '64 kB of empty arrays', 'one string of 9 MB')
"""What says the same as another row does; words name them."""
STOP = 'STOP pressed'
LATE = 0.1
"""By how much more than a round trip of a thin link it may take, s."""
FLOOD = 5000
"""Commands until a history of any size is full."""


@contextmanager
def frozen_subscriber(rig: Rig) -> Iterator[None]:
    """Have a subscriber that takes nothing."""
    with closing(python(str(HERE.parent / 'support/stop_listener.py'), TOPIC)) as process:
        with rig.operator('direct'):
            wait_until(lambda: any(isinstance(line, list) for line in process.lines))
        rig.settle()
        process.signal(signal.SIGSTOP)
        yield


@contextmanager
def keep_all(rig: Rig) -> Iterator[None]:
    """Do the same, and fill whatever history a peer asks for."""
    with frozen_subscriber(rig), rig.colleague() as colleague:
        colleague.ask('advertise', topic=TOPIC, type='geometry_msgs/msg/Twist',
                      qos={'history': 'keep_all'})
        heard = rig.hear()
        with closing(python(str(HERE.parent / 'support' / PAGE[0]), f'ws://127.0.0.1:{rig.port}',
                            TOPIC, '500')) as page:
            wait_until(lambda: len(heard()) > FLOOD, 60.0, lambda: page.lines[-5:])
        # Beside processes that compute the listener reads all that only later.
        wait_until(lambda: heard()[-1][1] == 0, 60.0, lambda: heard()[-5:])
        rig.settle()
        yield


class OtherBridge:
    """A second bridge in the graph; the emergency stop is asserted there."""

    def __init__(self) -> None:
        self._port = 0

    @contextmanager
    def beside(self, rig: Rig) -> Iterator[None]:
        """Have it beside."""
        process, self._port = rig.another_bridge('-r', '__node:=ws_bridge_other')
        with closing(process):
            yield

    def stop(self, rig: Rig, operator: Process) -> None:
        """Stop there, and clear it there when the robot has heard of it."""
        heard = rig.hear()
        with rig.colleague(self._port) as colleague:
            assert colleague.ask('stop', reason='measured')['stopped']
            wait_until(lambda: any(x == 0 for _, x, _ in heard()))
            time.sleep(0.3)
            colleague.ask('clear_stop')


class Sent:
    """A payload that a peer sends just as the operator falls silent."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._sender: Sender | None = None

    @contextmanager
    def beside(self, rig: Rig) -> Iterator[None]:
        """Have the peer beside; the first one starts the process that reads what is large."""
        with closing(Sender(rig.port, self._payload)) as self._sender:
            self._sender.begin()
            self._sender.wait()
            yield

    def send(self, rig: Rig, operator: Process) -> None:
        """Send it."""
        assert self._sender is not None
        self._sender.begin()
        operator.say('quiet')

    def wait(self, rig: Rig, operator: Process) -> None:
        """Wait until it was read."""
        assert self._sender is not None
        self._sender.wait()


def more() -> list[Case]:
    """Return the faults that only this measurement has."""
    other = OtherBridge()
    sent = [(payload.name, Sent(payload)) for payload in PAYLOADS[1:] if payload.make is not None]
    return [
        Case('plain page alive, 5 s of backlog at once', hold_for(OUTAGE), way='pipe',
             watch=OUTAGE, program=PLAIN_PAGE, drives_on=True),
        Case('plain page dead, 5 s of backlog at once', die_in_the_outage, way='pipe',
             watch=OUTAGE, program=PLAIN_PAGE),
        Case('a subscriber is frozen, no commands', tell('quiet'), beside=frozen_subscriber),
        Case('the same, full of 5,000 commands (keep_all asked for)', tell('quiet'),
             beside=keep_all),
        Case('audit log on a full disk, bridge ended (SIGINT)', signal_bridge(signal.SIGINT),
             bridge_ends=True, parameters={'audit_file': '/dev/full'}),
        Case('e-stop at another bridge', other.stop, beside=other.beside),
        *(Case(f'{name}, then no commands', each.send, beside=each.beside, later=each.wait,
               watch=0.3) for name, each in sent)]


def row(name: str, outcomes: Sequence[Outcome], steals: Sequence[float], timeout: float,
        ttl: float, slack: float = SLACK) -> tuple[str, bool]:
    """
    Return a row of the table, and whether the bound holds.

    :param steals: what was stolen in each run, s.
    """
    after = [outcome.after for outcome in outcomes]
    since = percentile((outcome.since_fault for outcome in outcomes), 0.99)
    old = sum(outcome.oldest > ttl for outcome in outcomes)
    held = percentile(after, 0.99) <= timeout + slack and not ('backlog' in name and old)
    cells = [name, str(len(outcomes)),
             *(f'{percentile(after, share) * 1e3:.1f}' for share in (0.5, 0.99, 1.0)),
             f'{steals[after.index(max(after))] * 1e3:.0f}', f'{since * 1e3:.1f}',
             str(sum(outcome.moved for outcome in outcomes)),
             str(sum(outcome.oldest > ttl for outcome in outcomes)), 'yes' if held else '**no**']
    return f'| {" | ".join(cells)} |', held


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Have processes beside that compute all the time."""
    hogs = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def run_once(rig: Rig, case: Case) -> Outcome:
    """Run a case; begin anew where the machine was too busy for the operator to begin."""
    for _ in range(TRIES):
        try:
            return rig.run(case)
        except NotDriving as exc:
            print(f'{case.name}: again, {exc}'[:200], file=sys.stderr, flush=True)
            rig.settle()
    return rig.run(case)


def repeat(rig: Rig, case: Case, count: int) -> tuple[list[Outcome], list[float]]:
    """Run a case again and again; return the outcomes, and what was stolen in each run, s."""
    outcomes, steals = [], []
    for _ in range(count):
        before = stolen()
        outcomes.append(run_once(rig, case))
        steals.append(stolen() - before)
    return outcomes, steals


def tell_end(all_held: bool, began: float) -> int:
    """Print whether the bounds were held, since a monotonic time; return the exit status."""
    print(f'\n{"held" if all_held else "NOT held"}; {time.monotonic() - began:.0f} s, load at the '
          f'end {os.getloadavg()[0]:.1f}')
    return int(not all_held)


def chosen(words: Sequence[str]) -> Iterator[Case]:
    """Give the cases to be run: all that tell something, or those that words name."""
    for case in (*CASES, *more()):
        if any(word in case.name for word in words or LEFT_OUT) is bool(words):
            yield replace(case, watch=WATCH) if case.watch == Case.watch else case


def behind(words: Sequence[str]) -> list[Case]:
    """Return the cases of an operator behind a thin link."""
    plain = [case for case in CASES if case.program == OPERATOR and case.way != 'pipe']
    return [case for case in (*plain, Case(STOP, tell('stop'), watch=WATCH))
            if not words or any(word in case.name for word in words)]


def run(words: Sequence[str], runs: int, hogs: int) -> int:
    """Print the table; return 1 where the bound is not held."""
    slack = SLACK_BESIDE_HOGS if hogs else SLACK
    began = time.monotonic()
    tell_begin(slack)
    all_held = True
    with busy(hogs), closing(Rig()) as rig:
        rig.moving, rig.is_ahead = MOVING, True
        for case in chosen(words):
            count = runs if words or case.way != 'pipe' else (runs + 1) // 2    # 6 s each
            if case.way == 'network' and rig.network.fault:
                print(f'| {case.name} | 0 | skipped: {rig.network.fault} | | | | | | | |')
                continue
            line, held, _ = measure(rig, case, count, slack)
            print(line, flush=True)
            all_held &= held
    return tell_end(all_held, began)


def run_behind(links: Sequence[Link], words: Sequence[str], runs: int, hogs: int) -> int:
    """Do the same behind thin links."""
    slack = SLACK_BESIDE_HOGS if hogs else SLACK
    began = time.monotonic()
    all_held = True
    for link in links:
        print(f'\n{link}\n')
        tell_begin(slack)
        with busy(hogs), shaped(link) as names, closing(Rig()) as rig:
            rig.moving, rig.link = MOVING, names
            rig.wishes = [{'op': 'hello', 'name': 'operator', 'pieces': True},
                          *({'op': 'subscribe', 'topic': topic, 'encoding': encoding}
                            for topic, encoding in STREAMS.items())]
            for case in behind(words):
                bound = link.round_trip + LATE
                name = f'{case.name} (p99 since then <= {bound * 1e3:.0f})' * (case.name == STOP)
                line, held, outcomes = measure(
                    rig, replace(case, name=name or case.name), runs, slack)
                held &= not any(outcome.moved for outcome in outcomes)
                if name:
                    held &= percentile((each.since_fault for each in outcomes), 0.99) <= bound
                print(line if held else line.replace('| yes |', '| **no** |'), flush=True)
                all_held &= held
    return tell_end(all_held, began)


def tell_begin(slack: float) -> None:
    """Print the head of a table."""
    print(f'`{command_line()}`, Python {platform.python_version()}, {os.cpu_count()} processors, '
          f'load {os.getloadavg()[0]:.1f}; `timeout` {TIMEOUT:g} s, `ttl` {TTL:g} s; times in ms\n'
          '\n| fault | runs | p50 | p99 | longest | stolen | p99 since the fault '
          '| moved afterwards | older than ttl '
          f'| p99 <= timeout + {slack * 1e3:.0f} ms |\n' + '|---' * 10 + '|')


def measure(rig: Rig, case: Case, count: int, slack: float) -> tuple[str, bool, list[Outcome]]:
    """Run a case so often; return a row of the table, whether its bound holds, and the runs."""
    since = time.monotonic()
    with rig.beside(case):
        outcomes, steals = repeat(rig, case, count)
    print(f'{case.name}: {time.monotonic() - since:.0f} s', file=sys.stderr, flush=True)
    return (*row(case.name, outcomes, steals, TIMEOUT, TTL, slack), outcomes)


def link_of(text: str) -> Link:
    """Return the link that an argument names."""
    mbit, ms, loss = (*text.split(','), '0')[:3]
    return Link(float(mbit), float(ms) / 1e3, float(loss))


def main() -> int:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('words', nargs='*', metavar='WORD')
    parser.add_argument('--runs', type=int, default=20)
    parser.add_argument('--hogs', type=int, default=0)
    parser.add_argument('--link', type=link_of, action='append', metavar='MBIT,MS[,LOSS]')
    args = parser.parse_args()
    os.environ.update(environment())
    if args.link:
        return run_behind(args.link, args.words, args.runs, args.hogs)
    return run(args.words, args.runs, args.hogs)


if __name__ == '__main__':
    sys.exit(main())
