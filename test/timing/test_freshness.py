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
"""Rate, age and freshness of a topic, by the words of docs/reference/protocol.md."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.timing.freshness import Freshness, FreshnessState, MEASURED_AFTER, SMALLEST_LIMIT

FRESH, STALE, LOST, UNKNOWN = (FreshnessState.FRESH, FreshnessState.STALE, FreshnessState.LOST,
                               FreshnessState.UNKNOWN)
rates = st.floats(0.01, 2000)
expectations = st.none() | st.floats(0.01, 2000)
# what happens: samples after a while, or nothing for a while
histories = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 20)), max_size=30)


def fed(rate: float, number: int, expected: float | None = None) -> tuple[Freshness, float]:
    """Return what saw ``number`` samples at ``rate``, and when the last one came."""
    freshness = Freshness(expected, 0.0)
    for index in range(1, number + 1):
        freshness.took(1, index / rate)
    return freshness, number / rate


def limits(rate: float) -> tuple[float, float]:
    """Return the silences after which a topic of this rate is STALE and LOST."""
    return (max(3 / rate, SMALLEST_LIMIT), max(10 / rate, SMALLEST_LIMIT * 10 / 3))


@given(rates)
def test_the_rate_of_a_steady_topic(rate: float) -> None:
    freshness, now = fed(rate, 50)
    assert freshness.rate(now) == pytest.approx(rate, rel=1e-6)
    assert freshness.age(now + 0.5) == pytest.approx(0.5)


@given(rates, st.integers(2, 30))
def test_the_rate_does_not_depend_on_batches(rate: float, batch: int) -> None:
    freshness = Freshness(None, 0.0)
    for index in range(1, 200):
        freshness.took(batch, index * batch / rate)
    assert freshness.rate(199 * batch / rate) == pytest.approx(rate, rel=1e-6)


@given(rates, rates)
def test_the_rate_follows_a_change(before: float, after: float) -> None:
    freshness, start = fed(before, 20)
    for index in range(1, 251):
        freshness.took(1, start + index / after)
    assert freshness.rate(start + 250 / after) == pytest.approx(after, rel=0.01)


def test_the_rate_falls_while_nothing_comes() -> None:
    freshness, now = fed(10, 20)
    told = [freshness.rate(now + silence) for silence in (0, 1, 2, 10, 100)]
    assert told == pytest.approx([10, 10, 5, 1, 0.1])


def test_no_rate_before_enough_samples() -> None:
    for number in range(MEASURED_AFTER):
        freshness, now = fed(10, number)
        assert freshness.rate(now) is None
        assert freshness.state(now, published=True) is UNKNOWN
    freshness, now = fed(10, MEASURED_AFTER)
    assert freshness.rate(now) == pytest.approx(10)
    assert Freshness(None, 0.0).age(1.0) is None


def test_each_sample_of_a_batch_counts() -> None:
    freshness = Freshness(None, 0.0)
    freshness.took(2, 1.0)
    freshness.took(2, 2.0)
    assert freshness.rate(2.0) == pytest.approx(2.0)


def test_samples_at_one_instant_have_no_rate_but_a_state() -> None:
    freshness = Freshness(None, 0.0)
    for _ in range(5):
        freshness.took(1, 1.0)
    assert freshness.rate(1.0) is None
    assert freshness.state(1.0, published=True) is FRESH
    assert freshness.state(1.0 + SMALLEST_LIMIT, published=True) is STALE
    for index in range(1, 200):
        freshness.took(1, 1.0 + index)
    assert freshness.rate(200.0) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize('expected', [None, 10.0])
@given(rate=rates)
def test_silence_makes_stale_then_lost(expected: float | None, rate: float) -> None:
    freshness, now = fed(rate, 50, expected)
    stale, lost = limits(expected or rate)
    for share, state in ((0.0, FRESH), (0.999, FRESH), (1.001, STALE)):
        assert freshness.state(now + share * stale, published=True) is state
    assert freshness.state(now + 0.999 * lost, published=True) is STALE
    # a rate that nobody promised
    silent = STALE if expected is None else LOST
    assert freshness.state(now + 1.001 * lost, published=True) is silent
    freshness.took(1, now + 5 * lost)
    assert freshness.state(now + 5 * lost, published=True) is FRESH


def test_a_configured_topic_that_never_speaks() -> None:
    freshness = Freshness(10.0, 5.0)
    told = [freshness.state(now, published=True) for now in (5.0, 5.29, 5.31, 5.99, 6.01)]
    assert told == [UNKNOWN, UNKNOWN, STALE, STALE, LOST]


def test_without_publisher() -> None:
    assert Freshness(None, 0.0).state(1.0, published=False) is UNKNOWN
    assert Freshness(10.0, 0.0).state(0.0, published=False) is LOST
    assert fed(10, 1)[0].state(0.1, published=False) is LOST


@given(st.floats(0.1, 100), st.floats(20, 1e6))
def test_a_pause_does_not_count_as_rate(rate: float, periods: float) -> None:
    """A topic that paused for an hour must not be FRESH for hours when it stops for good."""
    freshness, now = fed(rate, 50)
    now += periods / rate
    for index in range(5):
        freshness.took(1, now + index / rate)
    silent = now + 4 / rate + 3 * limits(rate)[1]
    assert freshness.state(silent, published=True) is STALE


@given(expectations, histories)
def test_silence_only_makes_it_worse(expected: float | None,
                                     history: list[tuple[float, int]]) -> None:
    freshness = Freshness(expected, 0.0)
    now = 0.0
    for after, number in history:
        now += after
        if number:
            freshness.took(number, now)
    order = [UNKNOWN, FRESH, STALE, LOST]
    told = [order.index(freshness.state(now + later, published=True))
            for later in (0, 0.1, 1, 10, 100, 1e3, 1e4, 1e5)]
    assert told == sorted(told)


def test_the_words_are_those_of_the_reference() -> None:
    assert [state.value for state in FreshnessState] == ['UNKNOWN', 'FRESH', 'STALE', 'LOST']


def test_a_slow_simulation_may_take_longer() -> None:
    """Ten times as slow, it is judged by ten times the period that was promised."""
    freshness = Freshness(10.0, 0.0)
    for index in range(20):
        freshness.took(1, float(index))
    assert freshness.state(19.9, published=True) is STALE
    assert freshness.state(19.9, published=True, stretch=10.0) is FRESH
    assert freshness.state(22.5, published=True, stretch=10.0) is STALE
    assert freshness.state(30.0, published=True, stretch=10.0) is LOST


@pytest.mark.parametrize('expected', [None, 10.0])
def test_of_a_simulation_that_stands_still_nothing_is_fresh_or_lost(
        expected: float | None) -> None:
    freshness, now = fed(10.0, 20, expected)
    assert freshness.state(now, published=True, is_paused=True) is FRESH
    assert freshness.state(now + 1e4, published=True, is_paused=True) is STALE
    assert freshness.state(now + 1e4, published=False, is_paused=True) is LOST
