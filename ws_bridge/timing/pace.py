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
How the clock of a simulation goes beside real time: its pace, pauses and jumps; pure.

============  =====================================================================
``BEGAN``     the first time was heard
``PAUSED``    it has stood still for :data:`STILL`
``RESUMED``   it goes again
``JUMPED``    it was set back, or went on by far more than its pace
============  =====================================================================
"""
from __future__ import annotations

from enum import Enum

STILL = 1.0
"""Real time, s: clocks that tell less often than once a second are taken to stand still."""
LEAST_JUMP = 1.0
"""s; steps ahead are jumps only if they are longer, and :data:`TOO_FAST` times too long."""
TOO_FAST = 10.0

_SMOOTHING = 0.3


class ClockChange(Enum):
    """What has become of the clock; see the module."""

    BEGAN = 'began'
    PAUSED = 'paused'
    RESUMED = 'resumed'
    JUMPED = 'jumped'


class ClockPace:
    """
    Follow one clock.

    :ivar simulated: its latest time, s; 0 before the first.
    :ivar pace: simulated seconds in a real one while it goes; ``None`` = not known yet.
    :ivar is_paused: it stands still.
    """

    __slots__ = ('_changed', '_since', 'is_paused', 'pace', 'simulated')

    def __init__(self) -> None:
        self.simulated = 0.0
        self.pace: float | None = None
        self.is_paused = False
        self._changed = 0.0
        self._since: tuple[float, float] | None = None      # real and simulated time

    def look(self, simulated: float, now: float) -> ClockChange | None:
        """
        Take note of what the clock says; return what that changes.

        :param simulated: its time, s; 0 = it has said nothing yet.
        :param now: monotonic, s.
        """
        before, self.simulated = self.simulated, simulated
        if simulated == before:
            if not before or self.is_paused or now < self._changed + STILL:
                return None
            self.is_paused = True
            return ClockChange.PAUSED
        passed, self._changed = now - self._changed, now
        was_paused, self.is_paused = self.is_paused, False
        if not before:
            self._since = now, simulated
            return ClockChange.BEGAN
        ahead = simulated - before
        if ahead < 0.0 or ahead > max(LEAST_JUMP, TOO_FAST * passed * (self.pace or 1.0)):
            self._since = now, simulated
            return ClockChange.JUMPED
        if was_paused:
            self._since = now, simulated
            return ClockChange.RESUMED
        self._measure(simulated, now)
        return None

    def _measure(self, simulated: float, now: float) -> None:
        since, began = self._since or (now, simulated)
        if now < since + STILL:
            return
        pace = (simulated - began) / (now - since)
        self.pace = pace if self.pace is None else self.pace + (pace - self.pace) * _SMOOTHING
        self._since = now, simulated
