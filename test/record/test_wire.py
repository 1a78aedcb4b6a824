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
"""Items cross the pipe whole, however the pipe cuts them."""
from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ws_bridge.record import wire
from ws_bridge.record.wire import Batch, Happened, Item, Latched, NewChannel, Parser, Trigger

ITEMS: list[Item] = [
    NewChannel(3, {'topic': '/a', 'qos': []}),
    Batch(3, 1 << 60, 7, [b'one', b'', b'three' * 100]),
    Latched(3, 5, [b'map']),
    Latched(3, 6, []),
    Happened('/ws_bridge/commands', 9, b'{"a": 1}'),
    Trigger('estop', 10)]


@pytest.mark.parametrize('size', [1, 7, 1 << 20])
def test_items(size: int) -> None:
    data = b''.join(b''.join(wire.pack(item)) for item in ITEMS)
    parser = Parser()
    found = [item for start in range(0, len(data), size)
             for item in parser.feed(data[start:start + size])]
    assert found == [ITEMS[0], *(Batch(3, 1 << 60, 7 + place, [sample])
                                 for place, sample in enumerate((b'one', b'', b'three' * 100))),
                     *ITEMS[2:]]


def test_samples_keep_their_order() -> None:
    data = b''.join(wire.pack_runs([(1, 10, 5, [b'a', b'b']), (2, 11, 1, [b'c']),
                                    (1, 12, 1 << 32, [b'd'])]))
    assert list(Parser().feed(data)) == [
        Batch(1, 10, 5, [b'a']), Batch(1, 10, 6, [b'b']), Batch(2, 11, 1, [b'c']),
        Batch(1, 12, 0, [b'd'])]


def test_samples_are_not_copied() -> None:
    sample = bytes(1000)
    assert wire.pack(Batch(1, 0, 0, [sample]))[1] is sample
    assert wire.weight(Batch(1, 0, 0, [sample])) > 1000


@pytest.mark.parametrize(('value', 'shown'), [
    (memoryview(bytes(3)), '000000'), (bytes(100), f'{"00" * 64}...'),
    (np.arange(2), [0, 1]), (1 << 80, str(1 << 80)), ({1: 2}, {'1': 2}),
    (float('nan'), None), (object, "<class 'object'>")])
def test_whatever_was_sent_is_shown(value: Any, shown: Any) -> None:
    assert json.loads(wire.json_of({'values': value, 'peer': 'p1'})) == {
        'values': shown, 'peer': 'p1'}


@pytest.mark.parametrize('data', [
    wire._HEAD.pack(9, 0, 0), wire._HEAD.pack(1, 0, 1 << 40)])
def test_no_item(data: bytes) -> None:
    with pytest.raises(ValueError, match='an item of'):
        list(Parser().feed(data))
