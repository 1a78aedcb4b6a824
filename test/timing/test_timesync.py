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
"""Clock offset and round trip from four timestamps."""
from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.timing.timesync import TimeSync, WINDOW


def exchange(sync: TimeSync, there: float, back: float, offset: float, at: float = 100.0) -> bool:
    """Play an exchange with known delays and a peer whose clock is ``offset`` ahead."""
    t1 = at + there + offset
    t2 = t1 + 0.5
    return sync.sample(at, t1, t2, t2 - offset + back)


def test_nothing_is_known_at_first() -> None:
    """No sample, no number."""
    sync = TimeSync()
    assert (sync.round_trip, sync.offset, sync.jitter) == (None, None, None)
    assert repr(sync) == '<TimeSync offset=None round_trip=None jitter=None>'


def test_even_delays_give_the_exact_offset() -> None:
    """The time the peer takes to answer does not count."""
    sync = TimeSync()
    assert exchange(sync, 0.02, 0.02, 5.0)
    assert sync.offset == pytest.approx(5.0)
    assert sync.round_trip == pytest.approx(0.04)
    assert sync.jitter == 0.0


def test_the_shortest_round_trip_decides_and_old_ones_leave() -> None:
    """One good exchange is better than many that were held up."""
    sync = TimeSync()
    exchange(sync, 0.01, 0.01, -3.0)
    for _ in range(WINDOW - 1):
        exchange(sync, 0.5, 0.01, -3.0)
    assert sync.offset == pytest.approx(-3.0)
    assert sync.round_trip == pytest.approx(0.51)
    assert sync.jitter == pytest.approx(0.49 * math.sqrt((WINDOW - 1) / WINDOW))
    exchange(sync, 0.5, 0.01, -3.0)
    assert sync.offset == pytest.approx(-3.0 + 0.245)
    assert sync.jitter == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize('times', [
    (10.0, 0.0, 5.0, 11.0),             # answered for longer than it all took
    (10.0, 5.0, 4.0, 11.0),             # answered before it received
    (11.0, 5.0, 5.0, 10.0),             # received before we sent
    (10.0, math.nan, 5.0, 11.0), (10.0, math.inf, math.inf, 11.0),
    (10.0, -1e308, 1e308, 11.0)])
def test_nonsense_is_not_used(times: tuple[float, float, float, float]) -> None:
    """A peer can send any numbers."""
    sync = TimeSync()
    assert not sync.sample(*times)
    assert sync.offset is None


@given(st.floats(0, 10), st.floats(0, 10), st.floats(-1e6, 1e6))
def test_the_error_is_at_most_half_the_round_trip(there: float, back: float,
                                                  offset: float) -> None:
    """As RFC 5905 says."""
    sync = TimeSync()
    if exchange(sync, there, back, offset):
        assert sync.offset is not None and sync.round_trip is not None
        assert abs(sync.offset - offset) <= sync.round_trip / 2 + 1e-6


@given(*[st.floats()] * 4)
def test_any_numbers_are_survived(t0: float, t1: float, t2: float, t3: float) -> None:
    """Used or not, the estimates stay numbers."""
    sync = TimeSync()
    if sync.sample(t0, t1, t2, t3):
        assert sync.offset is not None and math.isfinite(sync.offset)
        assert sync.jitter == 0.0


def test_a_clock_that_is_set_anew_is_found_at_the_next_exchange() -> None:
    sync = TimeSync()
    for number, offset in enumerate((3600.0, 3600.0, 3610.0, 3599.9)):
        # each way takes 20 ms, so that each sample is within 20 ms of the truth
        t0 = 100.0 + number
        assert sync.sample(t0, t0 + 0.02 + offset, t0 + 0.02 + offset, t0 + 0.04)
        assert sync.offset == pytest.approx(offset)


def test_a_slow_exchange_tells_of_no_new_clock() -> None:
    sync = TimeSync()
    assert sync.sample(100.0, 100.001, 100.001, 100.002)
    assert sync.sample(101.0, 102.0, 102.0, 102.01)     # 1 s there, 10 ms back
    assert sync.offset == pytest.approx(0.0, abs=0.001)
