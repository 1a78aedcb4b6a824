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
"""How deep transient-local publishers are: seen by a subscription that lives for a moment."""
from __future__ import annotations

from collections.abc import Callable

from ws_bridge.ros.latched import LatchedStore
from ws_bridge.ros.rcl import SampleInfo


class Probe:
    """
    One look at what a fresh subscription is given (loop thread).

    :ivar nameless: samples have no origin.
    :param end: called once, when the subscription is not needed any more.
    """

    def __init__(self, store: LatchedStore, end: Callable[[], None]) -> None:
        self._store = store
        self._end = end
        self._before = store.newest()
        self._shown: list[tuple[bytes, int]] = []
        self._ended = False
        self.nameless = b'' in self._before

    def show(self, samples: list[bytes], infos: list[SampleInfo], taken: float) -> None:
        """Take what the fresh subscription is given; finish when it has caught up."""
        self._shown += [(origin, number) for _, number, origin in infos]
        if set(self._shown).issuperset(self._before.items()):
            self.finish()

    def finish(self) -> None:
        """Learn from what was shown so far, and end."""
        if not self._ended:
            self._ended = True
            self._store.learn(self._before, self._shown)
            self._end()


class Prober:
    """
    Makes a probe when the store is unsure, one at a time (loop thread).

    :param begin: makes the fresh subscription for a probe.
    :param end: destroys it.
    """

    def __init__(self, store: LatchedStore, begin: Callable[[Probe], None],
                 end: Callable[[], None]) -> None:
        self._store = store
        self._begin = begin
        self._end = end
        self._busy = False

    def look(self) -> None:
        """Begin if the store is unsure, and no probe runs."""
        if not self._busy and self._store.unsure():
            self._busy = True
            self._begin(Probe(self._store, self._ended))

    def _ended(self) -> None:
        self._busy = False
        self._end()
