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
"""Liveness: the table is total, and no loss goes unreported."""
from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.timing.liveness import Liveness, LivenessState, Silence, TRANSITIONS

ALIVE, SUSPECT, LOST = LivenessState.ALIVE, LivenessState.SUSPECT, LivenessState.LOST


def test_every_state_has_an_answer_to_every_silence() -> None:
    """A missing row would be an error in the middle of a loss."""
    assert set(TRANSITIONS) == set(product(LivenessState, Silence))


def test_silence_makes_suspect_then_lost_then_alive_again() -> None:
    """The whole round."""
    liveness = Liveness(interval=1.0, timeout=3.0, now=100.0)
    assert liveness.deadline() == 101.5
    assert liveness.poll(101.4) is None
    assert liveness.poll(101.5) is SUSPECT
    assert liveness.deadline() == 103.0
    assert liveness.poll(102.9) is None
    assert liveness.poll(103.0) is LOST
    assert liveness.deadline() is None
    assert liveness.poll(200.0) is None
    assert liveness.heard(200.0) is ALIVE
    assert repr(liveness) == '<Liveness alive, last heard at 200.000>'


def test_being_heard_clears_the_suspicion() -> None:
    """A late heartbeat is no loss."""
    liveness = Liveness(1.0, 3.0, 0.0)
    assert liveness.poll(2.0) is SUSPECT
    assert liveness.heard(2.5) is ALIVE
    assert liveness.heard(2.6) is None
    assert liveness.heard(4.5) is None      # was late, is back: nothing has changed
    assert liveness.state is ALIVE


def test_a_loss_that_nobody_polled_for_is_reported() -> None:
    """The frame that ends a long silence does not hide it."""
    liveness = Liveness(1.0, 3.0, 0.0)
    assert liveness.heard(10.0) is LOST
    assert liveness.poll(10.1) is ALIVE


@pytest.mark.parametrize('timeout', [1.0, 1.2])
def test_a_timeout_within_the_slack_skips_suspect(timeout: float) -> None:
    """There is no time for a suspicion then."""
    liveness = Liveness(1.0, timeout, 0.0)
    assert liveness.deadline() == timeout
    assert liveness.poll(timeout) is LOST


@given(st.floats(0.01, 100), st.floats(1, 10), st.floats(0, 1e9),
       st.lists(st.tuples(st.booleans(), st.floats(0, 300)), max_size=20))
def test_against_the_definition(interval: float, factor: float, start: float,
                                steps: list[tuple[bool, float]]) -> None:
    """After any history, the state is what the silence says; changes are reported once."""
    timeout = interval * factor
    liveness = Liveness(interval, timeout, start)
    now = last = start
    told = ALIVE
    for is_frame, step in steps:
        now += step
        if is_frame:
            change = liveness.heard(now)
            if told is not LOST and now >= last + timeout:
                assert change is LOST
            last = now
        else:
            change = liveness.poll(now)
            if now >= last + timeout:
                assert liveness.state is LOST
        assert change is None or change is not told
        told = change or told
        assert liveness.state is told
        deadline = liveness.deadline()
        if deadline is not None and deadline > now:
            probe = Liveness(interval, timeout, last)
            probe.poll(now)
            assert probe.poll(deadline) is not None
