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
"""Is the peer's program alive? A total table over what was heard, and when."""
from __future__ import annotations

from enum import Enum


class LivenessState(str, Enum):
    """What the silence of a peer means."""

    ALIVE = 'alive'
    SUSPECT = 'suspect'
    LOST = 'lost'


class Silence(Enum):
    """How long nothing was heard, measured against interval and timeout."""

    SHORT = 'short'
    MISSED = 'missed'
    TOO_LONG = 'too_long'


#: Every state under every silence. Only a fresh frame leads out of LOST, and what was lost with
#: it (a lease) does not come back by that.
TRANSITIONS = {
    (LivenessState.ALIVE, Silence.SHORT): LivenessState.ALIVE,
    (LivenessState.ALIVE, Silence.MISSED): LivenessState.SUSPECT,
    (LivenessState.ALIVE, Silence.TOO_LONG): LivenessState.LOST,
    (LivenessState.SUSPECT, Silence.SHORT): LivenessState.ALIVE,
    (LivenessState.SUSPECT, Silence.MISSED): LivenessState.SUSPECT,
    (LivenessState.SUSPECT, Silence.TOO_LONG): LivenessState.LOST,
    (LivenessState.LOST, Silence.SHORT): LivenessState.ALIVE,
    (LivenessState.LOST, Silence.MISSED): LivenessState.LOST,
    (LivenessState.LOST, Silence.TOO_LONG): LivenessState.LOST,
}

#: A heartbeat is missed when it is half an interval late: networks and schedulers jitter.
SLACK = 1.5


class Liveness:
    """
    The liveness of one peer. ``now`` is monotonic, s.

    :param interval: how often the peer should be heard.
    :param timeout: silence after which it is LOST.
    :param now: the peer counts as heard at this instant.
    """

    __slots__ = ('_last', '_suspect_after', '_timeout', 'state')

    def __init__(self, interval: float, timeout: float, now: float) -> None:
        self._last = now
        self.state = LivenessState.ALIVE
        self.expect(interval, timeout)

    def __repr__(self) -> str:
        return f'<Liveness {self.state.value}, last heard at {self._last:.3f}>'

    @property
    def timeout(self) -> float:
        """Silence after which the peer is LOST, s."""
        return self._timeout

    def expect(self, interval: float, timeout: float) -> None:
        """Judge by other times from now on."""
        self._suspect_after = min(interval * SLACK, timeout)
        self._timeout = timeout

    def excuse(self, now: float) -> None:
        """Do not count the silence until ``now``: nobody listened."""
        self._last = now

    def heard(self, now: float) -> LivenessState | None:
        """
        Note that the peer was heard.

        A loss that nobody polled for is not skipped: it is reported now, and the peer is ALIVE
        again from the next call on.

        :return: the new state, if it changed.
        """
        before = self.state
        lost = self.poll(now) is LivenessState.LOST
        self._last = now
        if lost:
            return LivenessState.LOST
        self.state = TRANSITIONS[self.state, Silence.SHORT]
        return self.state if self.state is not before else None

    def poll(self, now: float) -> LivenessState | None:
        """Note that time has passed; return the new state, if it changed."""
        before = self.state
        self.state = TRANSITIONS[before, self._silence_at(now)]
        return self.state if self.state is not before else None

    def deadline(self) -> float | None:
        """Return when the state changes next if nothing is heard; ``None`` = never."""
        if self.state is LivenessState.ALIVE:
            return self._last + self._suspect_after
        if self.state is LivenessState.SUSPECT:
            return self._last + self._timeout
        return None

    def _silence_at(self, now: float) -> Silence:
        # The same sums as in deadline(): at that very instant the state does change.
        if now >= self._last + self._timeout:
            return Silence.TOO_LONG
        return Silence.MISSED if now >= self._last + self._suspect_after else Silence.SHORT
