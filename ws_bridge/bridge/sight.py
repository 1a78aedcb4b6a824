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
What operators see: how old the newest picture is that has arrived at each of them.

A picture has arrived when a ping is answered that was sent after its last byte, as
:mod:`ws_bridge.transport.fence` has it of commands. What a client says of the one that it shows,
with a command or of a topic (``shown``), makes its picture older, never younger.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from math import inf

from ws_bridge.protocol.unix_time import SECOND
from ws_bridge.transport.link import Link

MOST = 64
"""Pictures of one topic that may be on their way to a peer, as far as they are remembered."""


@dataclass(slots=True, eq=False)
class View:
    """
    One topic, as one peer sees it.

    :ivar left: pictures that were written: their time, Unix, ns, and when they were, loop time, s.
    :ivar arrived: the time of the newest that has arrived.
    :ivar shown: the time of the one that the peer has shown, by its own word.
    """

    left: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MOST))
    arrived: int | None = None
    shown: int | None = None


class Sight:
    """
    The views of all peers of the topics by which gates slow down.

    :param cameras: the topics.
    :param clock: loop time, s.
    :param epoch: Unix time at the loop's time 0, s.
    """

    def __init__(self, cameras: Iterable[str], clock: Callable[[], float], epoch: float) -> None:
        self._cameras = frozenset(cameras)
        self._clock = clock
        self._epoch = epoch
        self._views: dict[tuple[Link, str], View] = {}

    def __repr__(self) -> str:
        return f'<Sight of {len(self._cameras)} cameras, {len(self._views)} views>'

    @property
    def has_cameras(self) -> bool:
        """Whether any gate slows down by pictures."""
        return bool(self._cameras)

    def watcher(self, topic: str) -> Callable[[int, Link], None] | None:
        """Return what is to be told of each picture that has left; ``None``: nobody asks."""
        return partial(self.left, topic) if topic in self._cameras else None

    def left(self, topic: str, stamp: int, link: Link) -> None:
        """
        Note that all of a picture was written to a peer.

        :param stamp: when it was taken, Unix, ns.
        """
        self._views.setdefault((link, topic), View()).left.append((stamp, self._clock()))

    def shown(self, topic: str, stamp: int, link: Link) -> None:
        """
        Note that a peer has shown a picture.

        :param stamp: when it was taken, Unix, ns.
        """
        view = self._views.get((link, topic))
        if view is not None:
            view.shown = stamp

    def age(self, topic: str, link: Link, now: float, says: int | None = None) -> float:
        """
        Return how old the picture of a topic may be that a peer sees, s.

        :param now: loop time, s.
        :param says: the time of the picture that it shows, by its own word, Unix, ns.
        :return: infinite where it has none.
        """
        view = self._views.get((link, topic))
        if view is None:
            return inf
        while view.left and view.left[0][1] < link.fence:
            view.arrived, _ = view.left.popleft()
        if view.arrived is None:
            return inf
        seen = min(each for each in (view.arrived, view.shown, says) if each is not None)
        return max(now + self._epoch - seen / SECOND, 0.0)

    def closed(self, link: Link) -> None:
        """Forget a peer."""
        for topic in self._cameras:
            self._views.pop((link, topic), None)
