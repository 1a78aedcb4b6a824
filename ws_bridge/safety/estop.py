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
"""The emergency stop of the bridge: whoever asserts it latches it, who may clears it."""
from __future__ import annotations

from enum import Enum

from ws_bridge.safety.policy import EstopState


class EstopEvent(Enum):
    """What peers do to it."""

    ASSERT = 'assert'
    CLEAR = 'clear'


TRANSITIONS = {
    (EstopState.ARMED, EstopEvent.ASSERT): EstopState.STOPPED,
    (EstopState.ARMED, EstopEvent.CLEAR): EstopState.ARMED,
    (EstopState.STOPPED, EstopEvent.ASSERT): EstopState.STOPPED,
    (EstopState.STOPPED, EstopEvent.CLEAR): EstopState.ARMED,
}


class Estop:
    """
    The latch.

    :ivar by: the peer that asserted it, or ``None``.
    :ivar reason: what it said.
    """

    __slots__ = ('by', 'reason', 'state')

    def __init__(self, at_start: EstopState = EstopState.ARMED) -> None:
        self.state = at_start
        self.by: str | None = None
        self.reason = 'start' if self.stopped else ''

    def __repr__(self) -> str:
        return f'<Estop {self.state.value} by {self.by}: {self.reason}>'

    @property
    def stopped(self) -> bool:
        """Whether nothing may move."""
        return self.state is EstopState.STOPPED

    def apply(self, event: EstopEvent, by: str, reason: str = '') -> bool:
        """
        Assert or clear; the first to assert stays the one who did.

        :return: whether the state changed.
        """
        before, self.state = self.state, TRANSITIONS[self.state, event]
        if self.state is before:
            return False
        self.by, self.reason = (by, reason) if self.stopped else (None, '')
        return True
