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
"""The heartbeats of one peer, either way: whether it lives, and how far its clock is.  Pure."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from ws_bridge.config import Settings
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.unix_time import nanoseconds, seconds
from ws_bridge.session import effects as fx
from ws_bridge.session.clock import PeerClock
from ws_bridge.session.parts import Handlers, Part
from ws_bridge.timing.liveness import Liveness, LivenessState

BEATS_REMEMBERED = 16


class Heartbeats(Part):
    """
    What was heard of the peer, and what it is sent.

    :param settings: has interval and timeout.
    :param clock: gets what exchanges say of the peer's clock.
    :ivar on_echo: told the number of each heartbeat that the peer has got, if anybody is.
    :ivar number: of the last heartbeat to the peer.
    :ivar liveness: ``None`` until the peer is known to send heartbeats.
    """

    def __init__(self, settings: Settings, clock: PeerClock) -> None:
        self.liveness: Liveness | None = None
        self._settings = settings
        self._clock = clock
        self.on_echo: Callable[[int], None] | None = None
        self.number = 0
        self._sent: dict[int, float] = {}
        self._last_heard: tuple[int, int, int] | None = None

    def __repr__(self) -> str:
        return f'Heartbeats({self.state_name}, sent={self.number})'

    @property
    def state_name(self) -> str:
        """ALIVE, SUSPECT or LOST; UNWATCHED before the first heartbeat."""
        return 'UNWATCHED' if self.liveness is None else self.liveness.state.name

    def watch(self, now: float) -> None:
        """Expect heartbeats from now on: the peer commands. One that was LOST begins anew."""
        if self.liveness is None or self.liveness.state is LivenessState.LOST:
            self.liveness = self._begin(now)

    def _begin(self, now: float) -> Liveness:
        return Liveness(self._settings.heartbeat_interval, self._settings.heartbeat_timeout, now)

    def _heartbeat(self, op: ops.Heartbeat, now: float) -> list[fx.Effect]:
        effects = [] if op.forgeable else self.heard(now)
        unix = self._clock.unix(now)
        if op.stamp is not None and op.echo is not None:
            sent = self._sent.get(op.echo[0])
            if sent is not None:
                self._clock.timesync.sample(sent, seconds(op.echo[2]), seconds(op.stamp), unix)
        if op.echo is not None and self.on_echo is not None:
            self.on_echo(op.echo[0])
        if op.sequence is not None:
            if op.stamp is not None:
                self._last_heard = op.sequence, op.stamp, nanoseconds(unix)
            if not op.answer:
                effects.insert(0, fx.Send(self.make(unix, op.op_id)))
        return effects

    def heard(self, now: float) -> list[fx.Effect]:
        """Note that the peer was heard, as one that sends heartbeats."""
        is_first = self.liveness is None
        if self.liveness is None:
            self.liveness = self._begin(now)
        changed = self.liveness.heard(now)
        if changed is LivenessState.LOST:
            return [fx.PeerLost(), fx.PeerChanged()]
        return [fx.PeerChanged()] if is_first or changed else []

    def take_over(self, other: Heartbeats) -> None:
        """Go on with what was exchanged on a new connection; no number is used twice."""
        self.liveness, self._last_heard = other.liveness, other._last_heard
        self.number, self._sent = max(self.number, other.number), other._sent

    def make(self, unix: float, answers: str | None = None) -> replies.Beat:
        """
        Return the next heartbeat to the peer; the bridge sends one each interval.

        :param unix: the time, s.
        :param answers: the heartbeat of the peer that it answers.
        """
        self.number = number = self.number + 1
        self._sent[number] = unix
        if number > BEATS_REMEMBERED:
            self._sent.pop(number - BEATS_REMEMBERED, None)
        return replies.Beat(number, nanoseconds(unix), self._last_heard, answers)

    def deadlines(self) -> Iterator[float]:
        """Give when the peer becomes SUSPECT or LOST."""
        if self.liveness is not None and (end := self.liveness.deadline()) is not None:
            yield end

    def poll(self, now: float) -> list[fx.Effect]:
        """Return what follows from the silence of the peer."""
        effects: list[fx.Effect] = []
        changed = None if self.liveness is None else self.liveness.poll(now)
        if changed is LivenessState.LOST:
            effects.append(fx.PeerLost())
        if changed is not None:
            effects.append(fx.PeerChanged())
        return effects

    HANDLERS: ClassVar[Handlers] = {ops.Heartbeat: _heartbeat}
