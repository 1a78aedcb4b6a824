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

from ws_bridge.ros.latched import LatchedStore
from ws_bridge.ros.probe import Probe, Prober


def test_one_probe_at_a_time_until_it_has_caught_up() -> None:
    store = LatchedStore(100, 1000)
    begun: list[Probe] = []
    ended: list[bool] = []
    prober = Prober(store, begun.append, lambda: ended.append(True))
    store.add([((1, 1, b'a'), b'1')])
    prober.look()
    assert begun == []
    store.add([((2, 2, b'a'), b'2'), ((3, 3, b'a'), b'3')])
    prober.look()
    prober.look()
    probe, = begun
    assert not probe.nameless
    probe.show([], [(2, 2, b'a')], 0.0)
    assert ended == []
    probe.show([], [(3, 3, b'a')], 0.0)
    assert ended == [True]
    assert store.samples() == [b'2', b'3']
    probe.finish()
    assert ended == [True]


def test_an_old_probe_teaches_nothing_any_more() -> None:
    store = LatchedStore(100, 1000)
    begun: list[Probe] = []
    prober = Prober(store, begun.append, lambda: None)
    store.add([((1, 1, b'a'), b'1'), ((2, 2, b'a'), b'2')])
    prober.look()
    begun[0].finish()  # time was up
    store.add([((3, 3, b'a'), b'3')])
    prober.look()
    begun[0].show([], [(3, 3, b'a')], 0.0)  # live, from the subscription that is to go
    assert len(begun) == 2
    assert len(store) == 3
    begun[1].show([], [(2, 2, b'a'), (3, 3, b'a')], 0.0)
    assert store.samples() == [b'2', b'3']


def test_samples_without_origin_are_told() -> None:
    store = LatchedStore(100, 1000)
    store.add([((1, 1, b''), b'1'), ((2, 2, b''), b'2')])
    assert Probe(store, lambda: None).nameless
