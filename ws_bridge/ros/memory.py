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
"""Which samples peers have had, so that each peer is given each sample once."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ws_bridge.ros.latched import LatchedStore
from ws_bridge.ros.rcl import SampleInfo

RECENT = 512
"""So many samples are known afterwards if only one subscription brought them."""
MEMORY = 8192
"""So many samples are known where several bring them."""


class Memory:
    """
    The samples of one topic that came, and which peers have had each (loop thread).

    Two subscriptions may bring the same sample, and peers may join in between. So peers are
    counted as they join, and of each sample it is known how many had joined when all had had it.
    All have had what the store keeps: it is given to whoever joins.

    While one subscription brings each sample once, their infos are only gathered.

    :param store: what is given to a peer that joins.
    :ivar joined: how many peers have joined.
    :ivar is_exact: samples are told apart.
    """

    def __init__(self, store: LatchedStore) -> None:
        self._store = store
        self._had: dict[SampleInfo, int] = {}
        self._recent: deque[SampleInfo] = deque(maxlen=RECENT)  # since the last peer joined
        self.joined = 0
        self.is_exact = False

    def be_exact(self, is_exact: bool) -> None:
        """Tell samples apart from now on, also those that came lately; or no more."""
        self.is_exact = is_exact
        self._sort_in()

    def note_recent(self, infos: Iterable[SampleInfo]) -> None:
        """Note that all peers are given samples, none of which has come before."""
        self._recent.extend(infos)

    def pass_on(self, info: SampleInfo, *, latched: bool) -> int | None:
        """
        Note that a sample has come, once more perhaps.

        :param latched: all peers that have not had it are given it.
        :return: how many peers had joined when all had had it; ``None`` = it is new.
        """
        had = self._had.get(info)
        if had is None:
            self._had[info] = self.joined
            self._bound()
            return self.joined if info in self._store else None
        if latched:
            self._had[info] = self.joined
        return had

    def join(self) -> int:
        """
        Count a peer, which is given what the store keeps.

        :return: its number.
        """
        self._sort_in()
        self.joined += 1
        for info in self._store.infos():
            self._had[info] = self.joined
        self._bound()
        return self.joined

    def _sort_in(self) -> None:
        for info in self._recent:
            self._had[info] = self.joined
        self._recent.clear()
        self._bound()

    def _bound(self) -> None:
        most = MEMORY if self.is_exact else RECENT
        while len(self._had) > most:
            del self._had[next(iter(self._had))]
