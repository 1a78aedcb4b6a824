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
from contextlib import closing
import time

from faults import (
    Case,
    CASES,
    first_zero,
    ip,
    judge,
    MOVING,
    Network,
    OUTAGE,
    refusals,
    Rig,
    TTL,
)
from helpers import wait_until
import pytest

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
    else:
        assert outcome.zeros == ZEROS
    if case.way == 'pipe' and not case.name.startswith('page dead'):
        # of the 5 s that came at once, at 20 Hz
        assert sum(outcome.refused.values()) > OUTAGE * 10, outcome


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
