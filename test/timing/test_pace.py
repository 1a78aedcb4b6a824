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
"""The clock of a simulation beside real time: what is a pause, what a jump, how fast it goes."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.timing.pace import ClockChange, ClockPace, LEAST_JUMP, STILL

TICK = 0.2


def going(pace: ClockPace, factor: float, seconds: float, now: float) -> list[ClockChange]:
    """Have the clock go for a while, at ``factor`` times real time; return what changed."""
    changes = []
    for index in range(1, round(seconds / TICK) + 1):
        change = pace.look(pace.simulated + factor * TICK, now + index * TICK)
        if change is not None:
            changes.append(change)
    return changes


@given(st.floats(0.01, 9.0))
def test_a_clock_that_goes(factor: float) -> None:
    pace = ClockPace()
    assert pace.look(0.0, 5.0) is None
    assert going(pace, factor, 10.0, 5.0) == [ClockChange.BEGAN]
    assert pace.pace == pytest.approx(factor, rel=1e-6)
    assert not pace.is_paused


def test_a_pause_is_told_once_and_does_not_count() -> None:
    pace = ClockPace()
    going(pace, 0.5, 10.0, 0.0)
    held = pace.simulated
    told = [pace.look(held, 10.0 + index * TICK) for index in range(1, 200)]
    assert [change for change in told if change] == [ClockChange.PAUSED]
    assert told.index(ClockChange.PAUSED) * TICK == pytest.approx(STILL - TICK, abs=TICK)
    assert pace.is_paused
    assert going(pace, 0.5, 10.0, 60.0) == [ClockChange.RESUMED]
    assert not pace.is_paused
    assert pace.pace == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize('to', [0.5, 500.0])
def test_a_jump_is_told_and_does_not_count(to: float) -> None:
    pace = ClockPace()
    going(pace, 2.0, 10.0, 0.0)
    assert pace.look(to, 10.2) is ClockChange.JUMPED
    assert going(pace, 2.0, 5.0, 10.2) == []
    assert pace.pace == pytest.approx(2.0, rel=1e-6)


def test_a_fast_simulation_does_not_jump() -> None:
    pace = ClockPace()
    assert pace.look(1.0, 0.0) is ClockChange.BEGAN
    assert pace.look(1.0 + LEAST_JUMP, TICK / 10.0) is None
    assert going(pace, 9.0, 5.0, TICK / 10.0) == []
    assert going(pace, 80.0, 5.0, 6.0) == []


def test_a_jump_out_of_a_pause_is_one() -> None:
    pace = ClockPace()
    going(pace, 1.0, 5.0, 0.0)
    assert pace.look(pace.simulated, 5.0 + STILL) is ClockChange.PAUSED
    assert pace.look(0.1, 9.0) is ClockChange.JUMPED
    assert not pace.is_paused
