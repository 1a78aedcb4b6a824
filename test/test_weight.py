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
"""What a message costs to read, counted before anything is built of it."""
from __future__ import annotations

import json
from typing import Any

import cbor2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from ws_bridge.errors import BadEncoding, TooLarge
from ws_bridge.weight import (
    cbor_elements,
    has_references,
    INLINE,
    INLINE_ELEMENTS,
    is_heavy_cbor,
    is_heavy_json,
    json_elements,
    LARGE,
)

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def count(value: Any, *, keys: bool = True) -> int:
    """Count values the slow way."""
    if isinstance(value, dict):
        return 1 + sum(keys + count(item, keys=keys) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(count(item, keys=keys) for item in value)
    return 1


@given(VALUES)
def test_json_is_never_counted_too_low(value: Any) -> None:
    text = json.dumps(value)
    assert count(value, keys=False) <= 2 * json_elements(text)
    assert json_elements(text) == json_elements(text.encode()) == \
        json_elements(memoryview(text.encode()))


@given(VALUES)
def test_cbor_is_counted(value: Any) -> None:
    data = cbor2.dumps(value)
    big = data.count(0xc2) + data.count(0xc3)       # big numbers have a tag
    assert count(value) <= cbor_elements(data, 10**6) <= count(value) + big


@pytest.mark.parametrize('data', [
    b'\x9f' + b'\x80' * 100 + b'\xff', b'\x5f' + b'\x41a' * 100 + b'\xff', b'\x80' * 100,
    b'\x9a\x7f\xff\xff\xff' + b'\xf6' * 100, b'\x81' * 100])
def test_counting_ends_where_it_is_too_much(data: bytes) -> None:
    assert cbor_elements(data, 200) >= 100
    with pytest.raises(TooLarge):
        cbor_elements(data, 99)


@pytest.mark.parametrize('cut', range(10))
def test_what_is_cut_short_is_counted(cut: int) -> None:
    assert cbor_elements(cbor2.dumps({'a': 'text', 'b': 1.5})[:cut], 10) <= 5


@pytest.mark.parametrize('tag', [0, 1, 4, 5, 28, 29, 30, 35, 36, 256, 2**40])
def test_tags_without_a_use_are_refused(tag: int) -> None:
    with pytest.raises(BadEncoding):
        cbor_elements(cbor2.dumps(cbor2.CBORTag(tag, 1)), 10)


def test_typed_arrays_and_big_numbers_have_a_use() -> None:
    array = cbor2.CBORTag(86, np.zeros(1000).tobytes())
    assert cbor_elements(cbor2.dumps({'a': array, 'b': 2**70}), 10) == 7


@pytest.mark.parametrize('number', ['d81d00', 'd9001d00', 'da0000001d00', 'db000000000000001d00'])
def test_references_are_found(number: str) -> None:
    assert has_references(bytes.fromhex(number))
    assert not has_references(bytes.fromhex(number).replace(b'\x1d', b'\x1c'))


def test_what_is_heavy() -> None:
    assert not is_heavy_json('[' * INLINE)
    assert not is_heavy_json('"' + 'x' * (LARGE - 2) + '"')
    assert is_heavy_json('"' + 'x' * LARGE + '"')
    assert is_heavy_json('[' + '1,' * INLINE_ELEMENTS + '1]')
    assert not is_heavy_cbor(b'\x80' * INLINE)
    assert is_heavy_cbor(b'\x80' * (INLINE + 1))
    assert not is_heavy_cbor(cbor2.dumps(bytes(LARGE - 10)))
    assert is_heavy_cbor(cbor2.dumps(bytes(LARGE)))
    assert not is_heavy_cbor(cbor2.dumps([cbor2.CBORTag(29, 0), 'x' * INLINE]))
