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
What the clock of a simulation does, told: in the audit log, so in recordings, and as diagnostics.

It is there only with ``use_sim_time``. What stops a robot counts real time, whatever this clock
does.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ws_bridge.bridge.audit import Audit
from ws_bridge.protocol.unix_time import SECOND
from ws_bridge.timing.pace import ClockChange, ClockPace

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

OK, WARN = 0, 1
"""Levels of ``diagnostic_msgs/msg/DiagnosticStatus``."""


class ClockWatch:
    """
    Looks at the clock a few times a second.

    :param clock: monotonic time, s.
    """

    def __init__(self, ros: RosSide, audit: Audit, clock: Callable[[], float]) -> None:
        self._ros = ros
        self._audit = audit
        self._clock = clock
        self._pace = ClockPace()

    def __repr__(self) -> str:
        return f'ClockWatch({self._pace.simulated}, paused={self._pace.is_paused})'

    @property
    def stretch(self) -> float:
        """How many times as long what is promised a second may take: a slow simulation's."""
        return 1.0 / min(self._pace.pace, 1.0) if self._pace.pace else 1.0

    @property
    def is_paused(self) -> bool:
        """Whether the clock stands still."""
        return self._pace.is_paused

    def tick(self) -> None:
        """Look at the clock, and tell what became of it."""
        seconds, nanoseconds = self._ros.now()
        before = self._pace.simulated
        change = self._pace.look(seconds + nanoseconds / SECOND, self._clock())
        if change is not None:
            self._audit.write(
                'clock', what=change.value, simulated=round(self._pace.simulated, 6),
                before=round(before, 6) if change is ClockChange.JUMPED else None)

    def diagnostics(self) -> Iterator[tuple[str, int, str, list[tuple[str, str]]]]:
        """Give what is said on ``/diagnostics``."""
        pace = self._pace
        level, said = OK, 'it goes'
        if not pace.simulated:
            level, said = WARN, 'nothing was heard on /clock'
        elif pace.is_paused:
            level, said = WARN, 'it stands still'
        yield ('ws_bridge: simulated time', level, said, [
            ('time', f'{pace.simulated:.3f}'),
            ('pace', '' if pace.pace is None else f'{pace.pace:.2f}')])
