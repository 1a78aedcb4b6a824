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
from __future__ import annotations

from random import Random

import pytest
from support.latched_model import LatchedModel

from ws_bridge.ros import memory as memory_module
from ws_bridge.ros.latched import LatchedStore
from ws_bridge.ros.memory import Memory
from ws_bridge.ros.rcl import SampleInfo
from ws_bridge.ros.settings import RosSettings
from ws_bridge.ros.subscriptions import Subscription


def exact() -> tuple[Memory, LatchedStore]:
    store = LatchedStore(9, 999)
    memory = Memory(store)
    memory.be_exact(True)
    return memory, store


def infos(*numbers: int, origin: bytes = b'a') -> list[SampleInfo]:
    return [(number, number, origin) for number in numbers]


def test_a_sample_is_new_once() -> None:
    memory, _ = exact()
    for info in ((1, 1, b'a'), (2, 1, b'a'), (1, 2, b'a'), (1, 1, b'another')):
        assert memory.pass_on(info, latched=False) is None
        assert memory.pass_on(info, latched=False) == 0


def test_it_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not what is kept: all have had it."""
    monkeypatch.setattr(memory_module, 'MEMORY', 3)
    memory, store = exact()
    for info in infos(0, 1, 2, 3):
        assert memory.pass_on(info, latched=True) is None
    store.add((info, b'') for info in infos(1))
    assert [memory.pass_on(info, latched=True) for info in infos(3, 0, 1, 2)] == [0, None, 0, None]


def test_who_has_had_a_sample() -> None:
    """Those that were here when it came, and those that were given it later."""
    memory, store = exact()
    (info,) = infos(1)
    assert memory.pass_on(info, latched=False) is None
    assert memory.join() == 1
    assert memory.pass_on(info, latched=False) == 0
    assert memory.pass_on(info, latched=True) == 0
    assert memory.pass_on(info, latched=True) == 1
    store.add([(info, b'')])
    assert memory.join() == 2
    store.forget({b'a'})
    assert memory.join() == 3
    assert memory.pass_on(info, latched=True) == 2      # the third has not


def test_what_came_lately_is_known_as_soon_as_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, 'RECENT', 3)
    memory = Memory(LatchedStore(9, 999))
    memory.note_recent(infos(1, 2, 3, 4))
    memory.join()
    memory.note_recent(infos(5, 6))
    memory.be_exact(True)
    assert [memory.pass_on(info, latched=True) for info in infos(3, 4, 5, 6, 1)] == [
        0, 0, 1, 1, None]
    memory.be_exact(False)
    memory.be_exact(True)
    assert [memory.pass_on(info, latched=True) for info in infos(1, 6, 4)] == [1, 1, None]


def test_a_subscription_says_who_has_missed_what_in_order() -> None:
    """Also in the midst of what is new; nobody is told of what all have had."""
    told: list[object] = []
    subscription = Subscription(
        '/t', lambda samples, taken: told.append(samples), told.append, RosSettings(),
        lambda _: None, lambda sample, had: told.append((sample, had)))

    def come(*numbers: int, latched: bool = False) -> list[object]:
        told.clear()
        subscription.deliver([b'%d' % number for number in numbers], infos(*numbers), 0.0,
                             latched=latched)
        return told
    assert subscription.join() == (1, [])
    assert come(1) == [[b'1']]
    assert subscription.join() == (2, [])
    subscription.be_exact(True)
    assert come(3) == [[b'3']]
    assert subscription.join() == (3, [])
    assert come(1, 2, 3, 4, latched=True) == [(b'1', 1), [b'2'], (b'3', 2), [b'4']]
    assert subscription.join() == (4, [b'1', b'2', b'3', b'4'])
    assert come(4) == []
    assert come(1, 4, latched=True) == []
    assert subscription.latched() == [b'1', b'2', b'3', b'4']


class Members:
    """A subscription, and who is given its samples."""

    def __init__(self, most: int) -> None:
        self._members: dict[str, tuple[int, list[bytes]]] = {}
        self._heard = Subscription('/t', self._all, print, RosSettings(latched_count=most),
                                   lambda _: None, self._some)

    def _all(self, samples: list[bytes], taken: float) -> None:
        for _, got in self._members.values():
            got += samples

    def _some(self, sample: bytes, had: int) -> None:
        for number, got in self._members.values():
            if number > had:
                got.append(sample)

    def be_exact(self) -> None:
        self._heard.be_exact(True)

    def bring(self, samples: list[tuple[SampleInfo, int]], *, latched: bool) -> None:
        self._heard.deliver([b'%d' % number for _, number in samples],
                            [info for info, _ in samples], 0.0, latched=latched)

    def forget(self, origins: frozenset[bytes]) -> None:
        self._heard.forget(origins)

    def join(self, name: str) -> None:
        self._members[name] = self._heard.join()

    def change(self, name: str) -> None:
        pass

    def leave(self, name: str) -> None:
        del self._members[name]

    def got(self, name: str) -> list[int]:
        return list(map(int, self._members[name][1]))


def test_each_member_gets_each_latched_sample_once() -> None:
    """Whenever it joins, whatever comes live, from the store, or twice."""
    for seed in range(1000):
        try:
            LatchedModel(Members(5), Random(seed), 5).run(40)
        except AssertionError as exc:
            raise AssertionError(f'seed {seed}') from exc
