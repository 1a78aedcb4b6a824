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
"""What each member of a topic is due, as slow and plain as can be; chance decides what happens."""
from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from random import Random
from typing import Protocol

from ws_bridge.ros.rcl import SampleInfo

Sample = tuple[SampleInfo, int]
"""What is known of it, and what it says."""
DEPTHS = {b'deep': 3, b'flat': 1}
"""What the latched publishers keep; there is a volatile one, too."""


class Topic(Protocol):
    """What is tested."""

    def be_exact(self) -> None:
        """Know that samples may come twice from now on."""

    def bring(self, samples: list[Sample], *, latched: bool) -> None:
        """Take samples from a subscription."""

    def forget(self, origins: frozenset[bytes]) -> None:
        """Take note that publishers are gone."""

    def join(self, name: str) -> None:
        """Let a member come."""

    def change(self, name: str) -> None:
        """Let a member wish for something else."""

    def leave(self, name: str) -> None:
        """Let a member go."""

    def got(self, name: str) -> list[int]:
        """Return what a member was given."""


class LatchedModel:
    """
    A topic that two subscriptions hear: the *live* one everybody, as soon as it is matched.

    The *latched* one hears the latched publishers, first what they keep. It comes and goes.

    :param most: samples that the topic keeps.
    """

    def __init__(self, topic: Topic, random: Random, most: int) -> None:
        self._topic = topic
        self._random = random
        self._most = most
        self._live: list[Sample] = []       # not taken yet
        self._latched: list[Sample] | None = None
        self._history: dict[bytes, list[Sample]] = {origin: [] for origin in DEPTHS}
        self._store: list[Sample] = []
        self._known: set[Sample] = set()
        self._due: dict[str, list[int]] = {}
        self._missed: dict[str, list[int]] = {}     # of these, what was heard before it came
        self._numbers = count(1)
        self._join()

    def run(self, steps: int) -> None:
        """Let things happen, and everything arrive in the end; compare."""
        happens: list[Callable[[], None]] = [
            *3 * [self._publish], *2 * [self._take], *2 * [self._join], self._leave, self._change,
            self._start, self._end, self._settle]
        for _ in range(steps):
            self._random.choice(happens)()
        self._settle()
        kept = {number for _, number in self._store}
        for name, due in self._due.items():
            got, missed = self._topic.got(name), self._missed[name]
            assert sorted(got) == sorted(due), name
            assert len(got) == len(set(got))
            assert kept <= set(got)
            assert [each for each in got if each not in missed] == \
                [each for each in due if each not in missed], name
            assert [each for each in got if each in missed] == missed, name
            # These are older than what came since: the sooner, the better.
            assert all(got.index(each) <= due.index(each) for each in missed), name

    def _publish(self) -> None:
        number, origin = next(self._numbers), self._random.choice([*DEPTHS, b'deep', b'volatile'])
        sample = (number, number, origin), number
        if self._random.random() < 0.7:
            self._live.append(sample)
        if origin in DEPTHS:
            self._history[origin] = [*self._history[origin], sample][-DEPTHS[origin]:]
            if self._latched is not None:
                self._latched.append(sample)

    def _take(self) -> None:
        self._take_some(self._random.choice([1, 2, 99]), latched=self._random.random() < 0.5)

    def _take_some(self, most: int, *, latched: bool) -> None:
        waiting = self._latched if latched else self._live
        if not waiting:
            return
        taken, waiting[:] = waiting[:most], waiting[most:]
        self._topic.bring(taken, latched=latched)
        for sample in taken:
            for name, due in self._due.items():
                is_missed = sample in self._known
                if not is_missed or (latched and sample[1] not in due):
                    due.append(sample[1])
                    self._missed[name] += [sample[1]] * is_missed
            self._known.add(sample)
            if latched and sample not in self._store:
                self._store.append(sample)
        self._store = self._store[-self._most:]

    def _join(self) -> None:
        name = f'p{next(self._numbers)}'
        self._due[name] = [number for _, number in self._store]
        self._missed[name] = []
        self._topic.join(name)

    def _leave(self) -> None:
        if len(self._due) > 1:
            name = self._random.choice(list(self._due)[1:])
            del self._due[name]
            self._topic.leave(name)

    def _change(self) -> None:
        self._topic.change(self._random.choice(list(self._due)))

    def _start(self) -> None:
        if self._latched is None:
            self._topic.be_exact()
            self._latched = sorted(chain(*self._history.values()))

    def _end(self) -> None:
        """Take the publishers off the graph; they may be back with what they keep."""
        self._latched = None
        self._store = []
        self._topic.forget(frozenset(DEPTHS))

    def _settle(self) -> None:
        self._start()
        for latched in self._random.sample([True, False], 2):
            self._take_some(99, latched=latched)
