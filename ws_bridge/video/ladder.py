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
Which quality a link carries, by what waits for it and by how late its peer sees it; pure.

Quality gives way before time does: one step down as soon as frames wait, or are seen late for a
moment; one step up after a while in which neither was so. A step up that was too much makes the
next one wait longer. Below the lowest rung there are fewer frames. Where one knows what the link
carries, no step is tried that takes more, and a step down goes as far as is needed.

Late is what is seen later than it was at the best of times, for on a long way it is always late.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from ws_bridge.video.recipes import leanness, RUNG, Rung, RUNGS

INTERVALS = (1.0, 0.5, 0.2, 0.1)
"""Times between two frames of the lowest rung, s, as far as they make a difference."""


class Step(NamedTuple):
    """
    One of the choices.

    :param interval: the least time between two frames, s; 0 = that of the rung.
    :param bits: a second, about.
    """

    rung: int
    interval: float
    bits: float


def steps_of(rungs: Sequence[Rung]) -> tuple[Step, ...]:
    """Return the choices from thin to wide."""
    lowest = rungs[0]
    return (*(Step(0, interval, lowest.bits * leanness(interval) / lowest.rate / interval)
              for interval in INTERVALS if interval * lowest.rate >= 1.5),
            *(Step(number, 0.0, rung.bits) for number, rung in enumerate(rungs)))


SHARE = 0.7
"""So much of what a link carries the video may take, by what one knows of both."""
TOO_MANY = 3
"""So many frames that wait are a sign that the link is too thin."""
LATE, LATE_FOR = 0.2, 0.4
"""
So much later than at best, for so long, is such a sign too, s: more than a key frame takes. So are
frames that wait, of so much time.
"""
FALLS = 0.05
"""What becomes less late by so much, s, gets the time again: a step down helps by and by."""
CALM = 0.1
"""What is seen so much later than at best, s, is no reason to try more."""
BEST_OF = 30.0
"""Best is the best of this time, and of as much before it, s: a way may get longer."""
SETTLED = 1.0
"""For how long a step down is given time to help, s."""
FIRST_PATIENCE, PATIENCE, MOST_PATIENCE = 2.0, 5.0, 120.0
"""
After so long without a frame that waited or was late, a step up is tried, s; the first one where a
link was not known, before anything was too much.
"""
REGRET = 10.0
"""A step down so soon after one up, s, tells that this was too much."""


class Ladder:
    """
    The choice for one viewer.

    :param now: monotonic time, s.
    :param rung: to begin with.
    :param rungs: the qualities.
    """

    __slots__ = ('_best', '_best_before', '_best_since', '_calm_since', '_changed', '_climbed',
                 '_excess', '_late_since', '_patience', '_step', '_steps')

    def __init__(self, now: float, rung: int = RUNG, rungs: Sequence[Rung] = RUNGS) -> None:
        self._steps = steps_of(rungs)
        self._step = len(self._steps) - len(rungs) + rung
        self._patience = FIRST_PATIENCE if rung < RUNG else PATIENCE
        self._changed = self._calm_since = self._best_since = now
        self._climbed = -inf
        self._late_since: float | None = None
        self._excess = 0.0
        self._best = self._best_before = inf

    def __repr__(self) -> str:
        return f'Ladder({self.rung}, {self.interval:g} s, patience={self._patience:g} s)'

    @property
    def rung(self) -> int:
        """The quality, of the rungs."""
        return self._steps[self._step].rung

    @property
    def interval(self) -> float:
        """The least time between two frames, s; 0 = that of the rung."""
        return self._steps[self._step].interval

    def note(self, now: float, waiting: int, *, has_lost: bool,
             delay: float | None = None, bandwidth: float | None = None) -> bool:
        """
        Take note of a frame that is about to leave; return whether the choice has changed.

        :param waiting: how many older ones wait.
        :param has_lost: one gave way.
        :param delay: how long after a frame has left the peer sees it, s; ``None`` = it does not
            say.
        :param bandwidth: what the link carries, bytes/s; ``None`` = it is not known to be slow.
        """
        most = inf if bandwidth is None else 8.0 * SHARE * bandwidth
        excess = 0.0 if delay is None else delay - self._note_best(now, delay)
        if excess < LATE:
            self._late_since = None
        elif self._late_since is None or excess < self._excess - FALLS:
            self._late_since, self._excess = now, excess
        if waiting or has_lost or excess >= CALM:
            self._calm_since = now
        if has_lost or waiting >= TOO_MANY or waiting * self.interval >= LATE or (
                self._late_since is not None and now >= self._late_since + LATE_FOR):
            if not self._step or now < self._changed + SETTLED:
                return False
            self._patience = min(max(2 * self._patience, PATIENCE), MOST_PATIENCE) \
                if now < self._climbed + REGRET else PATIENCE
            self._step = max(min(self._step, sum(step.bits <= most for step in self._steps)) - 1,
                             0)
        elif self._step < len(self._steps) - 1 and self._steps[self._step + 1].bits <= most \
                and now >= max(self._calm_since, self._changed) + self._patience:
            self._step += 1
            self._climbed = now
        else:
            return False
        self._changed, self._late_since = now, None
        return True

    def _note_best(self, now: float, delay: float) -> float:
        """Return the least delay of late."""
        if now >= self._best_since + BEST_OF:
            self._best_before, self._best, self._best_since = self._best, inf, now
        self._best = min(self._best, delay)
        return min(self._best, self._best_before)
