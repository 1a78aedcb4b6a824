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
How long the robot goes on after the last good command, for each fault of ``test/safety``.

``python test/bench/measure_stops.py [RUNS [CASE]]`` prints the table of
``docs/explanation/safety.md``: the time from the last command that the robot heard to the first
zero that it heard, both with the clock of the process that hears them.  The bound is ``timeout``
+ 20 ms.  ``CASE`` is a part of the name of those that are run: ``backlog`` is all of the backlogs
that are released.  It ends with 1 where a stop is late, or a backlog moved the robot with a
command older than ``ttl``.
"""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
import os
from pathlib import Path
import platform
import sys
from typing import Any

from measure import environment, percentile

RUNS = 20
SLACK = 0.02


def row(name: str, outcomes: Sequence[Any], timeout: float, ttl: float) -> str:
    """Return a row of the table."""
    after = [outcome.after for outcome in outcomes]
    fault = [outcome.since_fault for outcome in outcomes]
    late = not percentile(after, 0.99) <= timeout + SLACK
    old = str(sum(outcome.oldest > ttl for outcome in outcomes))
    if 'backlog' in name and old != '0':
        old += ' OLD'
    moved = sum(outcome.moved for outcome in outcomes)
    cells = [name, str(len(outcomes)),
             *(f'{percentile(after, share) * 1e3:.1f}' for share in (0.5, 0.99)),
             f'{percentile(fault, 0.99) * 1e3:.1f}', str(moved), old,
             'LATE' if late else 'yes']
    return f'| {" | ".join(cells)} |'


def main(runs: int = RUNS, only: str = '') -> int:
    """Print the table; return 1 when a bound does not hold."""
    for folder in ('.', 'safety'):
        sys.path.insert(0, str(Path(__file__).parents[1] / folder))
    from faults import MEASURED, Rig, TIMEOUT, TTL
    os.environ.update(environment())
    print(f'Python {platform.python_version()}, {os.cpu_count()} processors, load '
          f'{os.getloadavg()[0]:.1f}; timeout {TIMEOUT:g} s, ttl {TTL:g} s; times in ms\n')
    print('| fault | runs | p50 | p99 | p99 since the fault | moved afterwards | older than ttl '
          '| p99 <= timeout + 20 ms |\n|---|---|---|---|---|---|---|---|')
    rows = []
    with closing(Rig()) as rig:
        for case in MEASURED:
            if only not in case.name:
                continue
            if case.way == 'network' and rig.network.fault:
                print(f'| {case.name} | 0 | skipped: {rig.network.fault} | | | | | |')
                continue
            rows.append(row(case.name, [rig.run(case) for _ in range(runs)], TIMEOUT, TTL))
            print(rows[-1], flush=True)
    print(f'\nload at the end {os.getloadavg()[0]:.1f}')
    return int(any('LATE' in each or 'OLD' in each for each in rows))


if __name__ == '__main__':
    sys.exit(main(*(int(part) if part.isdigit() else part for part in sys.argv[1:])))
