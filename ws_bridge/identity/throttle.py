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
"""How many logins may fail for one address.  Pure: no clock."""
from __future__ import annotations

from collections import deque

from ws_bridge.addresses import network_of

WINDOW = 60.0
ADDRESSES_REMEMBERED = 10_000


class Throttle:
    """
    Counts the failures of the last :data:`WINDOW` seconds.

    :param limit: failures of one address after which it has to wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failures: dict[str, deque[float]] = {}

    def __repr__(self) -> str:
        return f'Throttle({len(self._failures)} addresses)'

    def wait(self, address: str, now: float) -> float:
        """Return for how long an address may not try again, s; 0 = it may."""
        failures = self._recent(network_of(address), now)
        return WINDOW - (now - failures[0]) if len(failures) >= self._limit else 0.0

    def failed(self, address: str, now: float) -> None:
        """Note a failed login; the addresses that failed longest ago are forgotten first."""
        network = network_of(address)
        failures = self._recent(network, now)
        failures.append(now)
        self._failures.pop(network, None)
        self._failures[network] = failures
        if len(self._failures) > ADDRESSES_REMEMBERED:
            del self._failures[next(iter(self._failures))]

    def _recent(self, network: str, now: float) -> deque[float]:
        failures = self._failures.get(network)
        if failures is None:
            return deque(maxlen=self._limit)
        while failures and now - failures[0] >= WINDOW:
            failures.popleft()
        return failures
