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
"""Large text in slices is what it is as a whole: the same values, the same errors."""
from __future__ import annotations

import json
import tracemalloc
from typing import Any

import cbor2
from hypothesis import given
from hypothesis import strategies as st
import orjson
import pytest

from ws_bridge.convert import checks
from ws_bridge.convert.cbor import cbor_values
from ws_bridge.convert.codec import Codec, LARGE
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.convert.slices import MOST_FIELDS, SLICE, Sliced, sliced_cbor, sliced_json
from ws_bridge.errors import (
    BadEncoding,
    ConversionError,
    TooLarge,
    UnknownField,
    WrongLength,
    WsBridgeError,
)

SIZES = st.sampled_from([1, 2, 7, 16, 60])
SCALARS: Any = st.none() | st.booleans() | st.integers(-2**60, 2**60) | st.floats(
    allow_nan=False, allow_infinity=False) | st.text(max_size=6) | st.sampled_from(
        ['\\', '"', '\\"', '[', '{]', ',', '\\\\"', 'é,[', '\U0001f600'])
VALUES: Any = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=9) | st.dictionaries(
        st.text(max_size=3) | st.sampled_from(['"', ',', '{']), inner, max_size=6),
    max_leaves=60)
JSON_BITS = st.sampled_from(['', '[', ']', '{', '}', ',', ':', '"', '\\', ' ', '1', 'null', 'a',
                             '"a":', ',,', '[]', '\x00'])


def plain(value: Any) -> Any:
    """Return values with lists in place of what is sliced."""
    if isinstance(value, Sliced):
        assert len(value) == len(list(value))
    if isinstance(value, (Sliced, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def outcome(function: Any, *arguments: Any) -> Any:
    """Return what comes of a call; ``None`` for any error, which no value is here."""
    try:
        return repr(plain(function(*arguments)))
    except (ValueError, WsBridgeError):
        return None


@given(VALUES, SIZES, st.sampled_from([None, 1]), st.booleans())
def test_json_in_slices(value: Any, size: int, indent: int | None, is_ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode()
    assert repr(plain(sliced_json(text, orjson.loads, 200, size))) == repr(orjson.loads(text))


@given(VALUES, SIZES, st.data())
def test_damaged_json_in_slices(value: Any, size: int, data: st.DataObject) -> None:
    text = json.dumps(value)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(at + 2, len(text))))
        text = text[:at] + data.draw(JSON_BITS) + text[end:]
    raw = text.encode()
    assert outcome(sliced_json, raw, orjson.loads, 200, size) == outcome(orjson.loads, raw)


@given(VALUES, SIZES)
def test_cbor_in_slices(value: Any, size: int) -> None:
    data = cbor2.dumps(value)
    assert repr(plain(sliced_cbor(data, cbor_values, 200, size))) == repr(cbor_values(data))


@given(VALUES, SIZES, st.data())
def test_damaged_cbor_in_slices(value: Any, size: int, data: st.DataObject) -> None:
    raw = bytearray(cbor2.dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(at, min(at + 2, len(raw))))
        raw[at:end] = data.draw(st.binary(max_size=2) | st.sampled_from(
            [b'\x9f', b'\xff', b'\xbf', b'\x5f', b'\x81', b'\xa1', b'\xc2', b'\x80']))
    whole = outcome(cbor_values, raw)
    sliced = outcome(sliced_cbor, raw, cbor_values, 200, size)
    # a break where none belongs is a value for cbor2, and so is a key that is no text
    assert sliced == whole or (sliced is None and (
        0xff in raw or not has_text_keys(cbor_values(raw))))


@pytest.mark.parametrize('key', [(None, None), 1])
def test_a_key_that_is_no_text_is_refused_with_what_is_long(key: object) -> None:
    """The key of the first is long itself."""
    with pytest.raises(BadEncoding, match='a key is no text'):
        sliced_cbor(cbor2.dumps({'a': [1, 2, 3], key: [1, 2, 3]}), cbor_values, 200, 1)


def has_text_keys(value: Any) -> bool:
    """Whether each key is text."""
    if isinstance(value, dict):
        return all(type(key) is str and has_text_keys(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(has_text_keys, value))


@given(st.sampled_from([
    b'\x9f' + b'\x01' * 20 + b'\xff', b'\xbf' + b'\x61a\x01\x61b\x02' * 9 + b'\xff',
    b'\x9f' + b'\x9f\x01\x02\xff' * 9 + b'\xff', b'\x83\x5f\x41a\x41b\xff\x7f\x61c\xff\x01',
    b'\x85' + b'\xc2\x41\x01' * 5, b'\x82\xd8\x40\x43abc\x9f\xff']), SIZES)
def test_cbor_of_unknown_length(data: bytes, size: int) -> None:
    assert repr(plain(sliced_cbor(data, cbor_values, 200, size))) == repr(cbor_values(data))


@pytest.mark.parametrize('text', [
    b'[1,]', b'[,1]', b'[1,,2]', b'[1,2}', b'{"a":1]', b'[1,2', b'"[1,2]', b'[1,2]]', b'[[1,2]:1]',
    b'{[1,2]:1}', b'{"a":1,}', b'[1,2]3', b'[1,"a]', b'', b'[1,\xff]', b'[[1,2],,[3,4]]'])
@pytest.mark.parametrize('size', [1, 4])
def test_what_is_no_json(text: bytes, size: int) -> None:
    with pytest.raises((BadEncoding, orjson.JSONDecodeError)):
        plain(sliced_json(text, orjson.loads, 200, size))


def test_deep_text_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(BadEncoding, match='deeper'):
        sliced_json(b'[' * 9 + b']' * 9, orjson.loads, 8)
    with pytest.raises(BadEncoding, match='deeper'):
        sliced_cbor(b'\x81' * 9 + b'\x80', cbor_values, 8)
    assert sliced_json(b'[' * 8 + b']' * 8, orjson.loads, 8)


# ---- converted

PARTS = schema_from_text('test_msgs/msg/Whole', '\n'.join((
    'test_msgs/Part[] parts', 'float32[] numbers', 'uint8[] octets', 'int16[<=5] few',
    'string[] words', 'float64[3] three', 'test_msgs/Part one', '=' * 80, 'MSG: test_msgs/Part',
    'string name', 'int8[] small', 'bool[] flags', 'float64 x')))
CODEC = Codec(PARTS)
NUMBER = st.integers(-5, 200) | st.floats(-9, 9) | st.sampled_from([None, 'x', 1e300, True, {}])
PART = st.fixed_dictionaries({}, optional={
    'name': st.text(max_size=3) | st.just(1), 'small': st.lists(NUMBER, max_size=5),
    'flags': st.lists(st.booleans(), max_size=3), 'x': NUMBER, 'y': st.just(1)})
WHOLE = st.fixed_dictionaries({}, optional={
    'parts': st.lists(PART, max_size=5), 'numbers': st.lists(NUMBER, max_size=9),
    'octets': st.lists(NUMBER, max_size=5), 'few': st.lists(st.integers(-9, 9), max_size=7),
    'words': st.lists(st.text(max_size=4) | NUMBER, max_size=5),
    'three': st.lists(NUMBER, min_size=2, max_size=4), 'one': PART, 'other': st.just([1, 2])})


def converted(values: Any) -> Any:
    """Return CDR, or the code of the error and its path."""
    try:
        return CODEC.from_values(values)
    except ConversionError as exc:
        return exc.code, exc.field, exc.message


@given(WHOLE, SIZES)
def test_what_is_sliced_is_converted_as_the_whole(values: Any, size: int) -> None:
    text, data = orjson.dumps(values), cbor2.dumps(values)
    assert converted(sliced_json(text, orjson.loads, 200, size)) == converted(orjson.loads(text))
    assert converted(sliced_cbor(data, cbor_values, 200, size)) == converted(cbor_values(data))


@pytest.mark.parametrize('values', [
    {'numbers': [0.5] * 40_000}, {'parts': [{'name': 'abc', 'small': [1, 2]}] * 5_000},
    {'words': ['eight...'] * 15_000}, {'parts': [{'small': [7] * 40_000}] * 3},
    {'parts': [{'flags': [True] * 9}] * 3_000 + [{'flags': [True, 1]}]},
    {'numbers': [1] * 60_000 + ['x']}, {'numbers': [1] * 60_000 + [1e300]},
    {'few': [1] * 60_000}, {'three': [1.0] * 60_000}, {'octets': [255] * 60_000},
    {'octets': [255] * 60_000 + [256]}, {'one': [1] * 60_000}, {'parts': {'a': [1] * 60_000}}])
def test_large_ones_are_converted_as_the_whole(values: Any) -> None:
    text, data = orjson.dumps(values), cbor2.dumps(values)
    assert len(text) > LARGE
    assert converted(sliced_json(text, orjson.loads)) == converted(values)
    assert converted(sliced_cbor(data, cbor_values)) == converted(values)


def test_an_object_of_many_keys_is_as_wrong_as_before() -> None:
    values = {f'key {number}': number for number in range(3 * MOST_FIELDS)}
    text = orjson.dumps({'one': values})
    merged = sliced_json(text, orjson.loads)
    assert len(merged['one']) == MOST_FIELDS + 1
    with pytest.raises(UnknownField) as caught:
        CODEC.from_json(text)
    assert caught.value.field == 'one.key 0'
    assert converted(merged) == converted({'one': values})


def test_of_a_repeated_key_the_last_one_counts() -> None:
    text = b'{"a":[1,1,1],"b":[2,2,2],"a":[3,3,3]}'
    for size in (1, 4, 8, 30):
        value = sliced_json(text, orjson.loads, 200, size)
        assert list(plain(value).items()) == [('a', [3, 3, 3]), ('b', [2, 2, 2])]


@pytest.mark.parametrize(('form', 'count', 'slices'), [('json', 60_000, 15), ('cbor', 30_000, 10)])
def test_a_large_message_takes_little_beside_its_text(form: str, count: int, slices: int) -> None:
    values = {'numbers': [0.123456] * count}
    text = orjson.dumps(values) if form == 'json' else cbor2.dumps(values)
    convert = CODEC.from_json if form == 'json' else CODEC.from_cbor
    cdr = CODEC.from_values(values)
    tracemalloc.start()
    try:
        assert convert(text) == cdr
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # the result, once as it grows, and some slices as Python objects
    assert peak < 2.2 * len(cdr) + slices * SLICE


def test_lists_by_position_are_bounded() -> None:
    with pytest.raises(WrongLength):
        CODEC.from_values({'three': sliced_json(b'[' + b'1,' * 99 + b'1]', orjson.loads, 9, 8)})
    assert repr(sliced_json(b'[1,2,3]', orjson.loads, 9, 1)) == 'Sliced(3 elements)'


@pytest.mark.parametrize('data', [
    b'\xd9\xd9\xf7\x83\x01\x02\x03', b'\x81\xd9\xd9\xf7\xa1\x61a\x83\x01\x02\x03'])
def test_what_is_long_has_no_tag(data: bytes) -> None:
    """Inside of one cbor2 makes tuples and frozen maps."""
    assert sliced_cbor(data, cbor_values) == cbor_values(data)
    with pytest.raises(BadEncoding, match='tags'):
        sliced_cbor(data, cbor_values, 200, 1)


LONG_TEXT = schema_from_text('test_msgs/msg/Long', 'string s\nstring<=70000 short\nuint8[] o\n')


@pytest.mark.parametrize('values', [
    {'s': 'x' * 70_000}, {'s': 'é' * 70_000}, {'s': 'x' * 65_535 + '\U0001f600' * 9},
    {'s': 'x' * 70_000 + '\x00'}, {'s': 'x' * 70_000 + '\ud800'}, {'short': 'x' * 70_000},
    {'short': 'x' * 70_001}, {'short': 'é' * 66_000}, {'o': 'AAEC' * 20_000},
    {'o': 'AAEC' * 20_000 + 'AA=='}, {'o': 'AAEC' * 20_000 + 'AAA='}, {'o': 'AAEC' * 20_000 + 'A'},
    {'o': 'AA==' * 20_000}, {'o': 'AAEC' * 20_000 + '=AAA'}, {'o': 'AA C' * 20_000},
    {'o': 'AAEC' * 20_000 + 'AAAé'}, {'o': 'A' * 20_000}])
def test_long_text_is_put_as_short_text(values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec(LONG_TEXT)

    def result() -> Any:
        try:
            return codec.from_values(values)
        except ConversionError as exc:
            return exc.code, exc.field, exc.message
    with pytest.raises(TooLarge):
        codec.from_values({'s': 'é' * 70_000}, limit=100_000)
    sliced = result()
    monkeypatch.setattr(checks, '_LONG_TEXT', 10**9)
    assert sliced == result()


@pytest.mark.parametrize('data', [
    b'', b'\x9c', b'\x1c', b'\x82\x01', b'\x9f\x01', b'\xbf\x61a\xff', b'\xff', b'\x82\x01\xff',
    b'\x5f\x01\xff', b'\x5f\x5f\xff\xff', b'\x5f\x41a', b'\x44abc', b'\x19\x01', b'\x82\x01\x9b'])
def test_what_is_no_cbor(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        sliced_cbor(data, cbor_values, 200, 1)


def test_what_is_inside_of_too_much_is_not_cut() -> None:
    text = b'[' * 50 + b'1,2,3' + b']' * 50
    value = sliced_json(text, orjson.loads, 200, 1)
    assert plain(value) == orjson.loads(text)
    data = b'\x81' * 50 + b'\x83\x01\x02\x03'
    assert plain(sliced_cbor(data, cbor_values, 200, 1)) == cbor_values(data)


def test_typed_arrays_beside_what_is_long() -> None:
    two = [cbor2.CBORTag(64, b'\x01\x02')] * 2
    value = sliced_cbor(cbor2.dumps([two, [1] * 9]), cbor_values, 9, 12)
    (arrays, ones) = value
    assert [list(each) for each in arrays] == [[1, 2], [1, 2]]
    assert plain(ones) == [1] * 9
