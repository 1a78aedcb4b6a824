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
"""How far a peer's clock is from ours, and how long frames travel: four timestamps, as NTP."""
from __future__ import annotations

from collections import deque
import math

#: Round trips that are remembered; the shortest of them tells the offset best.
WINDOW = 16

DRIFT = 0.01
"""How far clocks may drift apart within the window, s."""


class TimeSync:
    """
    Estimate of one peer's clock from heartbeats that were answered with both times.

    All results are ``None`` until there is one good sample, and in seconds. The true offset is
    within half a round trip of each sample's; two samples for which no such offset is left say
    that a clock was set meanwhile: the older ones are forgotten.

    :ivar offset: the peer's clock minus ours, from the shortest round trip of the window.
    """

    __slots__ = ('_samples', 'offset')

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self.offset: float | None = None

    def __repr__(self) -> str:
        return f'<TimeSync offset={self.offset} round_trip={self.round_trip} jitter={self.jitter}>'

    def sample(self, t0: float, t1: float, t2: float, t3: float) -> bool:
        """
        Add one exchange; the peer's numbers are not trusted.

        :param t0: when we sent, our clock.
        :param t1: when the peer received that, its clock.
        :param t2: when the peer answered, its clock.
        :param t3: when we received the answer, our clock.
        :return: whether the times make sense and were used.
        """
        round_trip = (t3 - t0) - (t2 - t1)
        offset = (t1 - t0) / 2 + (t2 - t3) / 2
        if not math.isfinite(round_trip) or not math.isfinite(offset) \
                or round_trip < 0 or t3 < t0 or t2 < t1:
            return False
        if self._samples:
            best_trip, best = min(self._samples)
            if abs(offset - best) > (round_trip + best_trip) / 2 + DRIFT:
                self._samples.clear()
        self._samples.append((round_trip, offset))
        self.offset = min(self._samples)[1]
        return True

    @property
    def round_trip(self) -> float | None:
        """The last round trip, without the time the peer took to answer."""
        return self._samples[-1][0] if self._samples else None

    @property
    def jitter(self) -> float | None:
        """Root mean square of how much the round trips of the window exceed the shortest."""
        if not self._samples:
            return None
        best = min(self._samples)[0]
        return math.sqrt(sum((sample[0] - best) ** 2 for sample in self._samples)
                         / len(self._samples))
