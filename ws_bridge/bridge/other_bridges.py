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
"""Other bridges that guard the same topics: one grants the leases, and a stop of one is of all."""
from __future__ import annotations

from collections.abc import Callable
import logging
import secrets
from typing import TYPE_CHECKING

from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.gates import Gates
from ws_bridge.bridge.leases import Leases
from ws_bridge.bridge.neighbours import Neighbour, Neighbours, SAY_EVERY, SILENT_AFTER
from ws_bridge.errors import Stopped
from ws_bridge.safety.estop import Estop

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

logger = logging.getLogger(__name__)


class OtherBridges:
    """
    Hears other bridges, and heeds what they say; tells them what is guarded here.

    :param name_of: what a peer calls itself.
    :param stop: asserts the emergency stop: by whom, why.
    :param clear: clears it: by whom.
    :param clock: monotonic time, s.
    :param epoch: Unix time at monotonic 0, s.
    :ivar mirrored: the bridge whose emergency stop is asserted here too.
    """

    def __init__(self, gates: Gates, estop: Estop, leases: Leases, ros: RosSide, audit: Audit, *,
                 name_of: Callable[[str], str | None], stop: Callable[[str, str], None],
                 clear: Callable[[str], None], clock: Callable[[], float], epoch: float) -> None:
        self.mirrored: Neighbour | None = None
        self._gates = gates
        self._estop = estop
        self._leases = leases
        self._ros = ros
        self._audit = audit
        self._name_of = name_of
        self._stop = stop
        self._clear = clear
        self._clock = clock
        self._neighbours = Neighbours(ros.node_name, secrets.token_hex(8), clock() + epoch)
        self._said = ('', 0.0)
        self._ticked = clock()
        self._has_ended = False

    def __repr__(self) -> str:
        return f'OtherBridges({self._neighbours!r})'

    def hear(self, text: str) -> None:
        """Take note of what a bridge of the graph says of its gates."""
        try:
            other = self._neighbours.hear(text, self._clock())
        except ValueError as exc:
            self._audit.often('neighbour_ignored', message=str(exc))
            return
        if other is None:
            return
        mirrored = self.mirrored
        if mirrored is not None and other.instance == mirrored.instance and other.estop is None:
            self._clear(f'bridge {other.name}')
        self.heed()

    def heed(self) -> None:
        """Grant no lease that an older bridge grants, and stop where another one has."""
        topics = self._gates.topics()
        for guarded in self._gates.all():
            granting = self._neighbours.granting(topics[guarded.gate.name])
            is_new = granting is not None and guarded.granting is None
            guarded.granting = granting
            if is_new and granting is not None:
                self._audit.write('another_bridge', gate=guarded.gate.name, name=granting.name)
                logger.warning('%s is guarded by the bridge %s too, which grants its leases',
                               guarded.gate.name, granting.name)
                self._leases.end(guarded, 'another_bridge')
            if self._neighbours.is_held(topics[guarded.gate.name]):
                guarded.gate.commanded_elsewhere()
        stopping = self._stopping()
        if stopping is not None and not self._estop.stopped:
            self.mirrored = stopping
            self._stop(f'bridge {stopping.name}', stopping.estop or '')

    def sharing(self, topic: str | None = None) -> list[Neighbour]:
        """Return the bridges that guard this topic too, or any topic that is guarded here."""
        return self._neighbours.sharing(self._topics() if topic is None else {topic})

    def require_cleared(self) -> None:
        """
        Let no stop of another bridge be cleared here: it would move what that one has stopped.

        :raises Stopped: another bridge that guards the same topic is stopped.
        """
        stopping = self._stopping()
        if stopping is not None:
            raise Stopped(f'the bridge {stopping.name} has asserted its emergency stop: clear it '
                          'there')

    def _stopping(self) -> Neighbour | None:
        return self._neighbours.stopping(self._topics())

    def _topics(self) -> set[str]:
        """Return every guarded topic."""
        return {topic for topics in self._gates.topics().values() for topic in topics}

    # ---- to them

    def tick(self) -> None:
        """Heed that some are silent, or that this bridge was, and say what is guarded here."""
        now = self._clock()
        was_silent, self._ticked = now - self._ticked > SILENT_AFTER, now
        if was_silent:
            self._neighbours.begin_anew(now)
        if was_silent and self.sharing():
            # The next one has granted meanwhile, and this one cannot know yet to whom.
            for guarded in self._gates.all():
                self._leases.end(guarded, 'another_bridge')
                guarded.gate.commanded_elsewhere()
        if self._neighbours.poll(now):
            self.heed()
        self.tell()

    def end(self) -> None:
        """Say that nothing is guarded here, and nothing more."""
        self._has_ended = True
        self._ros.tell_neighbours(self._neighbours.say({}, None))

    def tell(self) -> None:
        """Say what is guarded here, when it has changed, and once a second if anybody listens."""
        if self._has_ended:
            return
        topics = self._gates.topics()
        holders = {topic: self._name_of(gate.lease.holder) or gate.lease.holder
                   if gate.lease.holder else None
                   for gate in (guarded.gate for guarded in self._gates.all())
                   for topic in topics[gate.name]}
        text = self._neighbours.say(
            holders, self._estop.reason if self._estop.stopped and self.mirrored is None else None)
        said, at = self._said
        if text != said or self._clock() >= at + SAY_EVERY:
            self._said = text, self._clock()
            if text != said or self._ros.has_neighbours():
                self._ros.tell_neighbours(text)
