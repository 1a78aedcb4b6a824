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

from hypothesis import given
from hypothesis import strategies as st

from ws_bridge.ros.latched import LatchedStore, TRIES
from ws_bridge.ros.rcl import SampleInfo

INFO = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([b'a', b'b']))
ENTRIES = st.lists(st.tuples(INFO, st.binary()), unique_by=lambda entry: entry[0])


def test_keeps_the_order_and_the_bounds() -> None:
    store = LatchedStore(3, 100)
    store.add([((number, number, b'a'), bytes([number])) for number in range(1, 6)])
    assert store.samples() == [b'\3', b'\4', b'\5']
    store.add([((1, 1, b'b'), bytes(99))])
    assert store.samples() == [b'\5', bytes(99)]
    store.add([((2, 2, b'b'), bytes(101))])
    assert (store.samples(), len(store), store.nbytes) == ([], 0, 0)


def test_learns_the_depth_of_a_publisher() -> None:
    store = LatchedStore(100, 1000)
    store.add([((1, 1, b'a'), b'1'), ((1, 1, b'b'), b'other')])
    assert not store.unsure()
    store.add([((2, 2, b'a'), b'2'), ((3, 3, b'a'), b'3')])
    assert store.unsure()
    before = store.newest()
    assert before == {b'a': 3, b'b': 1}
    store.learn(before, [(b'a', 1), (b'a', 2), (b'a', 3), (b'b', 1)])  # three or more: not known
    assert (len(store), store.unsure()) == (4, False)
    store.learn(before, [(b'a', 2), (b'a', 3), (b'b', 1)])
    assert store.samples() == [b'other', b'2', b'3']
    store.add([((4, 4, b'a'), b'4')])
    assert store.samples() == [b'other', b'3', b'4']
    assert not store.unsure()
    store.unlearn(b'a')
    store.add([((5, 5, b'a'), b'5')])
    assert len(store) == 4


def test_learns_nothing_when_samples_came_in_between() -> None:
    store = LatchedStore(100, 1000)
    store.add([((number, number, b'a'), b'x') for number in (1, 2, 3)])
    before = store.newest()
    store.learn(before, [(b'a', 3), (b'a', 4)])  # 4 came while it looked
    store.add([((4, 4, b'a'), b'x')])
    store.learn(before, [(b'a', 3)])
    store.learn(before, [])
    assert len(store) == 4
    assert store.unsure()
    for _ in range(TRIES):
        store.learn(before, [])
    assert not store.unsure()


def test_asks_again_when_twice_as_much_has_come() -> None:
    store = LatchedStore(100, 1000)
    asked = []
    for number in range(1, 33):
        store.add([((number, number, b'a'), b'x')])
        if store.unsure():
            asked.append(number)
            store.learn(store.newest(), [(b'a', each) for each in range(1, number + 1)])
    assert asked == [2, 5, 11, 23]


def test_forgets_publishers_that_are_gone() -> None:
    store = LatchedStore(100, 1000)
    store.add([((1, 1, b'a'), b'1'), ((1, 1, b'b'), b'other'), ((2, 2, b'a'), b'2')])
    store.forget({b'a', b'c'})
    assert (store.samples(), store.nbytes) == ([b'other'], 5)


@given(ENTRIES, st.integers(1, 5), st.integers(0, 20))
def test_is_bounded_and_counts_its_bytes(entries: list[tuple[SampleInfo, bytes]],
                                         count: int, nbytes: int) -> None:
    store = LatchedStore(count, nbytes)
    for entry in entries:
        store.add([entry])
        assert len(store) <= count
        assert store.nbytes <= nbytes
        assert store.nbytes == sum(map(len, store.samples()))
    kept = [cdr for _, cdr in entries]
    assert store.samples() == kept[len(kept) - len(store):]
