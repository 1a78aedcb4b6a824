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
Which quality a link carries, by what waits for it; pure.

Quality gives way before time does: one step down as soon as frames wait, one step up after a while
in which none did. A step up that was too much makes the next one wait longer.
"""
from __future__ import annotations

from ws_bridge.video.recipes import RUNG, RUNGS

TOO_MANY = 3
"""So many frames that wait are a sign that the link is too thin."""
SETTLED = 1.0
"""For how long a step down is given time to help, s."""
PATIENCE, MOST_PATIENCE = 5.0, 120.0
"""After so long without a frame that waited, a step up is tried, s."""
REGRET = 10.0
"""A step down so soon after one up, s, tells that this was too much."""


class Ladder:
    """
    The choice for one viewer.

    :param now: monotonic time, s.
    :ivar rung: of :data:`.RUNGS`.
    """

    __slots__ = ('_calm_since', '_changed', '_climbed', '_patience', 'rung')

    def __init__(self, now: float) -> None:
        self.rung = RUNG
        self._patience = PATIENCE
        self._changed = self._calm_since = now
        self._climbed = float('-inf')

    def __repr__(self) -> str:
        return f'Ladder({self.rung}, patience={self._patience:g} s)'

    def note(self, now: float, waiting: int, *, has_lost: bool) -> bool:
        """
        Take note of a frame that is about to leave; return whether the rung has changed.

        :param waiting: how many older ones wait.
        :param has_lost: one gave way.
        """
        if waiting or has_lost:
            self._calm_since = now
        if has_lost or waiting >= TOO_MANY:
            if not self.rung or now < self._changed + SETTLED:
                return False
            self._patience = min(2 * self._patience, MOST_PATIENCE) \
                if now < self._climbed + REGRET else PATIENCE
            self.rung -= 1
        elif self.rung < len(RUNGS) - 1 and now >= max(
                self._calm_since, self._changed) + self._patience:
            self.rung += 1
            self._climbed = now
        else:
            return False
        self._changed = now
        return True
