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
"""The token bucket never lets more through than it should, and never less for long."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.timing.bucket import Bucket

rates = st.floats(0.01, 10_000)
gaps = st.lists(st.just(0.0) | st.floats(0, 3), min_size=1, max_size=200)


@given(rates, gaps, st.floats(0, 1e6))
def test_never_more_than_rate_and_burst(rate: float, gaps: list[float], start: float) -> None:
    bucket = Bucket(rate, start)
    burst = max(rate, 1.0)
    passed: list[float] = []
    now = start
    for gap in gaps:
        now += gap
        if bucket.take(now):
            passed.append(now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= (passed[last] - begin) * rate + burst + 1e-3


@given(rates, st.integers(1, 200))
def test_who_keeps_to_the_rate_is_never_refused(rate: float, number: int) -> None:
    bucket = Bucket(rate, 0.0)
    assert all(bucket.take(index * 1.000001 / rate) for index in range(number))


@given(st.floats(1, 10_000), st.floats(0, 1e6))
def test_the_burst_is_a_second_s_worth(rate: float, start: float) -> None:
    bucket = Bucket(rate, start)
    assert sum(bucket.take(start) for _ in range(int(rate) + 5)) == int(rate)


@given(rates)
def test_a_refusal_costs_nothing(rate: float) -> None:
    bucket = Bucket(rate, 0.0)
    while bucket.take(0.0):
        pass
    for _ in range(1000):
        assert not bucket.take(0.0)
    assert bucket.take(1.000001 / rate)


def test_a_long_silence_saves_no_more_than_one_burst() -> None:
    bucket = Bucket(3.0, 0.0)
    assert [bucket.take(1e6) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize('rate', [0, 0.0])
def test_zero_is_unlimited(rate: float) -> None:
    bucket = Bucket(rate, 0.0)
    assert all(bucket.take(0.0) for _ in range(10_000))
