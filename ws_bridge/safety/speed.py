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
How fast a gate lets one drive: its bounds shrink with the delay of commands, and of the picture.

Pure; ``now`` is monotonic, s.
"""
from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ws_bridge.safety.policy import SlowDown

HOLD = 0.15
"""
For how long the longest delay counts, s: what comes late now and then does not make speed jump,
and what was late is forgotten with the next command.
"""


class Delays(NamedTuple):
    """
    What a command was judged by.

    :param share: how much of the bounds is left, 1 to 0.
    :param command: its age, s; ``picture``: of what its sender sees, ``None`` = no camera counts.
    """

    share: float
    command: float
    picture: float | None


class SpeedLimit:
    """
    The limit of one gate, by the commands of whoever commands.

    :ivar newest: of the last command; ``None`` = nobody commands.
    """

    __slots__ = ('_commander', '_lowest', '_slow', 'newest')

    def __init__(self, slow_down: SlowDown) -> None:
        self._slow = slow_down
        self._commander = ''
        # Shares of the last :data:`HOLD` s, each lower than those that came later.
        self._lowest: deque[tuple[float, float]] = deque()
        self.newest: Delays | None = None

    def __repr__(self) -> str:
        return f'<SpeedLimit {self.newest}>'

    @property
    def limit(self) -> float | None:
        """How much of the bounds is left, as it is told; ``None`` = nobody commands."""
        return None if self.newest is None else round(self.newest.share, 2)

    def note(self, peer: str, age: float, picture: float | None, now: float) -> None:
        """
        Take note of a command.

        :param age: how old it may be, s.
        :param picture: how old the picture may be that its sender sees, s; ``None`` = none counts.
        """
        if peer != self._commander:
            self.clear()
            self._commander = peer
        share = self._slow.share(age if picture is None else max(age, picture))
        lowest = self._lowest
        while lowest and lowest[-1][1] >= share:
            lowest.pop()
        lowest.append((now, share))
        while lowest[0][0] < now - HOLD:
            lowest.popleft()
        self.newest = Delays(lowest[0][1], age, picture)

    def is_over(self, now: float, timeout: float) -> bool:
        """Whether nobody has commanded for ``timeout`` s."""
        return self.newest is not None and now >= self._lowest[-1][0] + timeout

    def clear(self) -> None:
        """Forget everything: nobody commands."""
        self._lowest.clear()
        self._commander = ''
        self.newest = None
