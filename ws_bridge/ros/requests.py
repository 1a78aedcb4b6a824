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
Requests to a service of ROS that come at once, and leave as the service takes them.

A service takes requests from a queue of 10 (the default of rmw for services, and so of an action
server): of a burst that does not fit, some are lost without a word.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode

MOST_AT_ONCE = 8
# A service that has answered nothing for a while is busy, and still has to take what it was sent,
# or lets requests wait on purpose: it gets one more at a time.
HOLD = 1.0  # s


class Requests:
    """
    The requests of one client (executor thread).

    :param rest: s, between the answer to the last of :data:`MOST_AT_ONCE` requests and the next
        ones, if each answer makes a request to another queue of the same server, which may prefer
        this one; 0 = each answer makes room for one.
    """

    def __init__(self, ros: RosNode, rest: float = 0.0) -> None:
        self._ros = ros
        self._rest = rest
        self._held: deque[Callable[[], bool]] = deque()
        self._unanswered = 0
        self._taken = 0             # places in the queue that may be taken yet
        self._has_moved = self._is_watched = self._is_resting = False

    def __repr__(self) -> str:
        return f'<Requests {self._unanswered} unanswered, {len(self._held)} held>'

    def add(self, send: Callable[[], bool]) -> None:
        """
        Send a request when it is its turn: now, if there is room.

        :param send: sends it; returns whether it was sent, and then :meth:`ended` has to follow.
        """
        self._held.append(send)
        self._release()

    def ended(self) -> None:
        """Take note that a request that was sent is answered, or given up."""
        self._unanswered -= 1
        self._has_moved = True
        if not self._rest:
            self._taken -= 1
            self._release()
        elif not self._unanswered and not self._is_resting:
            self._is_resting = True
            self._ros.after(self._rest, self._rested)

    def _rested(self) -> None:
        self._is_resting = False
        if not self._unanswered:
            self._taken = 0
            self._release()

    def _release(self) -> None:
        while self._held and self._taken < MOST_AT_ONCE:
            self._send_next()
        if self._held and not self._is_watched:
            self._is_watched, self._has_moved = True, False
            self._ros.after(HOLD, self._look)

    def _look(self) -> None:
        """Send one of those that are held, unless the service gets on with those it has."""
        self._is_watched = False
        self._taken = self._unanswered
        while self._held and not self._has_moved:
            self._has_moved = self._send_next()
        self._release()

    def _send_next(self) -> bool:
        is_sent = self._held.popleft()()
        self._taken += is_sent
        self._unanswered += is_sent
        return is_sent
