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
"""What the metrics of a relay show."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ws_bridge.fleet.relay import Relay


class RelayFigures:
    """
    What is counted of a relay.

    :param clock: monotonic time, s.
    """

    def __init__(self, relay: Relay, clock: Callable[[], float]) -> None:
        self._relay = relay
        self._clock = clock
        self._started = clock()

    def __repr__(self) -> str:
        return f'RelayFigures({self._relay!r})'

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Return what there is now: by name, what it is and its value."""
        robots = self._relay.robots.values()
        return {
            'relay_robots': ('Robots that are connected with this relay.', len(robots)),
            'relay_operators': ('Operators whose connections are carried.',
                                sum(not each.only_stops for each in self._relay.tunnels)),
            'queued_bytes': ('Bytes that wait for robots.',
                             sum(robot.link.queued_bytes for robot in robots)),
            'uptime_seconds': ('How long the relay runs.', self._clock() - self._started)}

    def totals(self) -> dict[str, tuple[str, float]]:
        """Return what there was in all the time, likewise."""
        return {'relay_sent_bytes': ('Bytes of operators to robots.', self._relay.bytes_out)}
