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
"""How full the battery is: what a list of robots shows of a robot that dials relays."""
from __future__ import annotations

from collections.abc import Callable
import logging
import math
from typing import TYPE_CHECKING

from ws_bridge.bridge.unit import Unit
from ws_bridge.config import Exposure
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import MalformedCdr, WsBridgeError

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.subscriptions import Subscription

TYPE = 'sensor_msgs/msg/BatteryState'
MOST = 8
"""Batteries that are listened to."""
KNOWN_FOR = 30.0
"""How long what a battery has said counts, s."""

logger = logging.getLogger(__name__)


class Battery(Unit):
    """
    Listens to every battery of the robot that peers may hear; the emptiest one counts.

    :param clock: monotonic time, s.
    """

    def __init__(self, ros: RosSide, store: CodecStore, exposure: Exposure,
                 clock: Callable[[], float]) -> None:
        self._ros = ros
        self._store = store
        self._exposure = exposure
        self._clock = clock
        self._subscriptions: dict[str, Subscription] = {}
        self._refused: set[str] = set()
        self._newest: dict[str, tuple[bytes, float]] = {}

    def __repr__(self) -> str:
        return f'Battery({", ".join(self._subscriptions) or "none"})'

    def graph_changed(self) -> None:
        """Listen to the batteries that there are now."""
        wanted = sorted(
            topic for topic, info in self._ros.graph.topics.items()
            if TYPE in info.types and not info.brought
            and self._exposure.find('subscribe', topic) is not None)[:MOST]
        for topic in self._subscriptions.keys() - set(wanted):
            self._subscriptions.pop(topic).close()
            self._newest.pop(topic, None)
        for topic in wanted:
            if topic not in self._subscriptions and topic not in self._refused:
                self._listen(topic)

    def _listen(self, topic: str) -> None:
        def heard(samples: list[bytes], taken: float) -> None:
            if topic in self._subscriptions:
                self._newest[topic] = samples[-1], taken

        def fail(error: WsBridgeError) -> None:
            logger.warning('%s is not in the list of robots: %s', topic, error)
        try:
            self._subscriptions[topic] = self._ros.subscribe(topic, TYPE, None, heard, fail)
        except WsBridgeError as exc:
            self._refused.add(topic)    # this is said once, not whenever the graph changes
            fail(exc)

    def level(self) -> float | None:
        """Return how full the battery is, 0 to 1, in hundredths; ``None``: nobody says."""
        oldest = self._clock() - KNOWN_FOR
        found = [self._read(raw) for raw, taken in self._newest.values() if taken >= oldest]
        return min((level for level in found if level is not None), default=None)

    def _read(self, raw: bytes) -> float | None:
        """Read one message; a driver that does not know how full it is says NaN, or -1."""
        try:
            level = self._store.codec(self._ros.types.message(TYPE)).to_values(raw)['percentage']
        except MalformedCdr:
            return None
        return round(min(level, 1.0), 2) if math.isfinite(level) and level >= 0.0 else None
