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
Is what the robot says still true?  Rate, age and freshness of one topic; pure.

============  ========================================================================
``UNKNOWN``   nothing was heard yet, or no rate is known to judge by
``FRESH``     the last sample is younger than three expected periods
``STALE``     older than that
``LOST``      older than ten configured periods, or nobody publishes the topic any more
============  ========================================================================

Times are real ones. Of a simulation that stands still nothing stays FRESH, and nothing gets LOST.
The expected rate is the configured one, else the measured one. A measured rate is no promise (of a
log, of a clicked point): its silence makes a value STALE, never LOST.
"""
from __future__ import annotations

from enum import Enum

STALE_PERIODS = 3.0
LOST_PERIODS = 10.0
SMALLEST_LIMIT = 0.2
"""Seconds below which silence is never called STALE: schedulers and links jitter."""

MEASURED_AFTER = 3
"""Samples before the measured rate counts."""

_SMOOTHING = 0.1


class FreshnessState(Enum):
    """How a page should show the last value; see the module."""

    UNKNOWN = 'UNKNOWN'
    FRESH = 'FRESH'
    STALE = 'STALE'
    LOST = 'LOST'


class Freshness:
    """
    Follow the samples of one topic.

    :param expected_rate: Hz, or ``None`` to judge by what is measured.
    """

    __slots__ = ('_count', '_expected', '_last', '_period', '_since')

    def __init__(self, expected_rate: float | None, now: float) -> None:
        self._expected = 1.0 / expected_rate if expected_rate else None
        self._period: float | None = None
        self._last: float | None = None
        self._count = 0
        self._since = now

    def took(self, number: int, now: float) -> None:
        """Note that ``number`` samples came at ``now`` (monotonic, s)."""
        if self._last is not None:
            period = (now - self._last) / number
            if self._period is not None:
                # a pause says little about the rate before and after it
                period = min(period, self._limit(LOST_PERIODS, self._period))
                period = self._period + (period - self._period) * min(1.0, _SMOOTHING * number)
            self._period = period
        self._last = now
        self._count += number

    def rate(self, now: float) -> float | None:
        """Return the measured rate, Hz; it falls while nothing comes."""
        if self._period is None or self._last is None or self._count < MEASURED_AFTER:
            return None
        period = max(self._period, (now - self._last) / LOST_PERIODS)
        return 1.0 / period if period > 0 else None

    def age(self, now: float) -> float | None:
        """Return the time since the last sample, s."""
        return None if self._last is None else now - self._last

    def state(self, now: float, *, published: bool, stretch: float = 1.0,
              is_paused: bool = False) -> FreshnessState:
        """
        Judge the topic at ``now``.

        :param published: somebody publishes the topic.
        :param stretch: so many times as long a configured period takes in a slow simulation.
        :param is_paused: the simulation stands still: silence is then no loss.
        """
        if not published:
            return FreshnessState.UNKNOWN if self._last is None and self._expected is None \
                else FreshnessState.LOST
        period = self._judged_period(stretch)
        if period is None:
            return FreshnessState.UNKNOWN
        since = self._since if self._last is None else self._last
        if now < since + self._limit(STALE_PERIODS, period):
            return FreshnessState.UNKNOWN if self._last is None else FreshnessState.FRESH
        if self._expected is None or is_paused or now < since + self._limit(
                LOST_PERIODS, period):
            return FreshnessState.STALE
        return FreshnessState.LOST

    def _judged_period(self, stretch: float) -> float | None:
        if self._expected is not None:
            return self._expected * stretch
        return self._period if self._count >= MEASURED_AFTER else None

    @staticmethod
    def _limit(periods: float, period: float) -> float:
        return max(periods * period, SMALLEST_LIMIT * periods / STALE_PERIODS)
