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
"""The time of a simulation, from ``/clock``, for peers whose dialect has it told."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
import logging
from typing import TYPE_CHECKING

from ws_bridge.bridge.peer import Peer
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.replies import TimeTold
from ws_bridge.protocol.unix_time import SECOND

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.subscriptions import Subscription

CLOCK = '/clock'
CLOCK_TYPE = 'rosgraph_msgs/msg/Clock'
INTERVAL = 0.02
"""Shortest time between two frames, s: simulations tell theirs up to a thousand times a second."""

logger = logging.getLogger(__name__)


class SimulatedTime:
    """
    Listens to ``/clock`` as long as there is a peer that wants it.

    :param peers: returns the peers that are connected now.
    :ivar now: the latest time, ns; 0 before the first.
    """

    def __init__(self, ros: RosSide, store: CodecStore, loop: asyncio.AbstractEventLoop,
                 peers: Callable[[], Collection[Peer]]) -> None:
        self.now = 0
        self._ros = ros
        self._store = store
        self._loop = loop
        self._peers = peers
        self._told = 0
        self._subscription: Subscription | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f'SimulatedTime({self.now})'

    def begin(self) -> None:
        """Listen, if that is not done already."""
        if self._subscription is not None:
            return
        codec = self._store.codec(self._ros.types.message(CLOCK_TYPE))

        def heard(samples: list[bytes], taken: float) -> None:
            clock = codec.to_values(samples[-1])['clock']
            self.now = clock['sec'] * SECOND + clock['nanosec']
            if self._timer is None:
                self._tell()
        self._subscription = self._ros.subscribe(
            self._ros.resolve(CLOCK), CLOCK_TYPE, None, heard, self._fail)

    def greet(self, peer: Peer) -> None:
        """Tell a new peer what time it is: a simulation that stands still tells no other."""
        if self.now:
            self._send(peer)

    def left(self) -> None:
        """Listen no longer, if no peer wants it any more."""
        if self._subscription is not None and not self._wanting():
            self._subscription.close()
            self._subscription = None
            self.now = self._told = 0
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _wanting(self) -> list[Peer]:
        return [peer for peer in self._peers() if peer.kind.hears_time]

    def _fail(self, error: WsBridgeError) -> None:
        logger.error('%s cannot be heard: %s', CLOCK, error)

    def _tell(self) -> None:
        """Tell the time, the newest to who is slow, and what it is later at the end of a pause."""
        self._timer = None
        if self.now == self._told:
            return
        self._told = self.now
        self._timer = self._loop.call_later(INTERVAL, self._tell)
        for peer in self._wanting():
            self._send(peer)

    def _send(self, peer: Peer) -> None:
        if not peer.session.login.needed:
            for frame in peer.frames_of(TimeTold(self.now)):
                peer.link.send_stream(CLOCK, frame.data, 1, text=frame.text)
