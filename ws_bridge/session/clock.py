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
"""How the times that a peer writes are read."""
from __future__ import annotations

from ws_bridge.errors import Expired
from ws_bridge.protocol.unix_time import seconds
from ws_bridge.timing.timesync import TimeSync


class PeerClock:
    """
    The bridge's time and the peer's. ``now`` is monotonic, s.

    :param unix_offset: Unix time at monotonic 0, s: steps of the wall clock change nothing.
    :ivar timesync: how far the peer's clock is from the bridge's, as far as that was measured.
    """

    __slots__ = ('_unix_offset', 'timesync')

    def __init__(self, unix_offset: float) -> None:
        self.timesync = TimeSync()
        self._unix_offset = unix_offset

    def unix(self, now: float) -> float:
        """Return the Unix time at ``now``, s."""
        return now + self._unix_offset

    def deadline(self, stamp: int | None, ttl: float | None, now: float) -> float | None:
        """
        Return until when (monotonic) a message may reach ROS; ``None`` = for ever.

        Its age is bridge time minus its timestamp, corrected by the measured clock offset; one
        without a timestamp, or from the future, is as new as can be.

        :param stamp: when it was sent, by the peer's clock, ns.
        :param ttl: the age up to which it is good, s.
        :raises Expired: it is older than its ``ttl`` already.
        """
        if ttl is None:
            return None
        age = 0.0 if stamp is None else \
            max(0.0, self.unix(now) - (seconds(stamp) - (self.timesync.offset or 0.0)))
        if age > ttl:
            raise Expired(f'{age:.3f} s old, may be {ttl:g} s', field='ttl')
        return now + ttl - age
