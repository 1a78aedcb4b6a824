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
The robot stops, whatever dies, and what waited meanwhile moves nothing.

Order and meaning, with patience; times are measured by ``test/bench/measure_stops.py``.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import pairwise
import os
from pathlib import Path
from random import Random
import signal
import time

import pytest
from support.faults import (
    Case,
    CASES,
    first_zero,
    ip,
    judge,
    MOVING,
    Network,
    OUTAGE,
    PAGE,
    refusals,
    Rig,
    stop_process,
    TIMEOUT,
    TTL,
)
from support.helpers import wait_until

from ws_bridge.ros.watchdog import PING_EVERY, UNANSWERED

SLACK = 1.0  # s, by which a busy machine may be late
ZEROS = 5


@pytest.fixture(scope='module')
def rig() -> Iterator[Rig]:
    """Give the processes, for all cases."""
    with closing(Rig()) as rig:
        yield rig


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_it_stops_and_stays(case: Case, rig: Rig) -> None:
    if case.way == 'network' and rig.network.fault:
        pytest.skip(f'no network of its own: {rig.network.fault}')
    outcome = rig.run(case)
    print(f'{case.name}: {outcome.after * 1e3:.1f} ms after the last good command')
    assert case.drives_on or outcome.moved == 0, outcome
    assert outcome.oldest < TTL + SLACK, outcome
    if case.bridge_ends:
        assert 1 <= outcome.zeros <= ZEROS
    elif case.afresh:       # the bridge repeats what it publishes in the place of the process
        assert outcome.zeros >= ZEROS
    else:
        assert outcome.zeros == ZEROS
    if case.way == 'pipe' and not case.name.startswith('page dead'):
        # of the 5 s that came at once, at 20 Hz
        assert sum(outcome.refused.values()) > OUTAGE * 10, outcome


def freeze(process: int, seconds: float) -> None:
    """Freeze a process for a while; another may kill it meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)
        time.sleep(seconds)     # what is tested is this time
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize('seed', range(int(os.environ.get('FAULT_RUNS', '1'))))
def test_signals_at_random_moments(seed: int, rig: Rig) -> None:
    """``test/stop_process/test_together.py`` has far more of them, on a clock that is made up."""
    random = Random(seed)
    rig.stop_bridge()
    rig.start_bridge()
    assert rig.bridge is not None
    bridge = rig.bridge.popen.pid
    heard = rig.hear()

    def moves() -> bool:
        return bool(heard()) and heard()[-1][1] != 0
    with rig.operator('direct', PAGE) as page:
        faults = [lambda: os.kill(stop_process(rig), signal.SIGKILL),
                  lambda: freeze(stop_process(rig), random.uniform(0.1, 0.8)),
                  lambda: freeze(bridge, random.uniform(0.1, 0.9)),
                  lambda: freeze(page.popen.pid, random.uniform(0.1, 0.9))]
        for fault in random.sample(faults, 2):
            wait_until(moves, why=lambda: heard()[-5:])
            time.sleep(random.uniform(0.0, 0.1))    # this moment, too
            fault()
        wait_until(moves, why=lambda: heard()[-5:])
        last = stop_process(rig)
        rig.bridge.signal(signal.SIGKILL)
        wait_until(lambda: not Path(f'/proc/{last}').exists())
        wait_until(lambda: not moves(), why=lambda: heard()[-5:])
    rig.stop_bridge()
    lines = heard()
    for (at, x, _), (then, _, _) in pairwise(lines):
        assert x == 0 or then - at < TIMEOUT + PING_EVERY + UNANSWERED + SLACK
    moving = [(at, made) for at, x, made in lines if x]
    assert all(at - made < TTL + SLACK for at, made in moving)
    assert all(a < b for (_, a), (_, b) in pairwise(moving))    # none twice, none out of order


def test_the_stop_process_shares_no_memory_with_other_nodes(rig: Rig) -> None:
    """A node that is frozen or killed with a lock in that memory would hold a stop for seconds."""
    rig.start_bridge()
    heard = rig.hear()
    with rig.operator('direct'):
        wait_until(lambda: len(heard()) > MOVING, why=heard)
        assert rig.bridge is not None
        shares = ['/dev/shm/fast' in Path(f'/proc/{pid}/maps').read_text()
                  for pid in (rig.bridge.popen.pid, stop_process(rig))]
    assert shares == [True, False]


def test_what_the_start_made_is_no_work_for_the_garbage_collector(rig: Rig) -> None:
    rig.start_bridge()
    assert rig.bridge is not None
    assert rig.bridge.lines[0]['frozen'] > 10_000


def test_of_a_backlog_the_newest_moves_and_the_old_is_refused(rig: Rig) -> None:
    rig.stop_bridge()   # the first of two bridges grants the leases
    with closing(Rig(gate_timeout=30.0, heartbeat_timeout=30.0)) as rig:
        rig.start_bridge()
        heard = rig.hear()
        with rig.operator('pipe') as operator:
            wait_until(lambda: len(heard()) > MOVING, why=heard)
            rig.hold()
            time.sleep(OUTAGE)
            before = len(heard())
            rig.release()
            wait_until(lambda: len(heard()) > before + MOVING,
                       why=lambda: operator.lines[-5:])
            refused = refusals(operator)
        ages = [at - made for at, x, made in heard() if x]
        assert max(ages) < TTL + SLACK
        assert set(refused) == {'expired'}
        assert refused['expired'] > OUTAGE * 10


def test_a_run_is_judged_by_what_was_heard() -> None:
    heard = [[0.0, 0.0, 0.0], [1.0, 0.3, 0.9], [2.0, 0.3, 1.5], [2.5, 0.0, 0.0], [2.6, 0.0, 0.0],
             [3.0, 0.3, 2.9]]
    outcome = judge(heard, 2.1)
    assert first_zero(heard) == 3
    assert first_zero(heard[:3]) is None
    assert (outcome.after, outcome.zeros, outcome.moved, outcome.oldest) == (0.5, 2, 1, 0.5)
    assert outcome.since_fault == pytest.approx(0.4)


def test_each_rig_has_a_network_of_its_own() -> None:
    with closing(Network()) as one, closing(Network()) as other:
        if one.fault:
            pytest.skip(f'no network of its own: {one.fault}')
        assert other.fault is None
        assert len({one.name, other.name, one.outside, other.outside}) == 4
        other.close()
        assert ip('netns', 'exec', one.name, 'true').returncode == 0
