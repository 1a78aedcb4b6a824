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
"""A token bucket: how many messages, or bytes, a second one peer may send."""
from __future__ import annotations


class Bucket:
    """
    Let ``rate`` messages a second through, with a burst of one second.

    :param rate: messages a second; 0 lets everything through.
    :param now: monotonic time, s.
    :param burst: the least burst: the largest amount that can be taken at once.
    """

    __slots__ = ('_at', '_burst', '_level', '_rate')

    def __init__(self, rate: float, now: float, burst: float = 1.0) -> None:
        self._rate = rate
        self._burst = self._level = max(rate, burst)
        self._at = now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Return whether one more message, or so many bytes, may pass at ``now``."""
        if not self._rate:
            return True
        level = min(self._level + (now - self._at) * self._rate, self._burst)
        self._at = now
        passed = level >= amount
        self._level = level - amount if passed else level
        return passed
