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
"""What values go in, and which error with which path the others give."""
from __future__ import annotations

import array
import math
import struct
import sys

import numpy as np
import pytest
from support.schemas import body, codec, DURATION, field, HEADER, POINT, TIME

from ws_bridge.errors import (
    BadEncoding,
    ConversionError,
    OutOfRange,
    TooLarge,
    UnknownField,
    WrongKind,
    WrongLength,
)

NAN = struct.pack('<d', math.nan)


@pytest.mark.parametrize(('definition', 'value', 'wanted'), [
    ('float64', 1, struct.pack('<d', 1)),
    ('float64', None, NAN),
    ('float64', math.inf, struct.pack('<d', math.inf)),
    ('float32', math.inf, struct.pack('<f', math.inf)),
    ('float32', 3.4e38, struct.pack('<f', 3.4e38)),
    ('int8', -128.0, b'\x80'),
    ('uint64', 2 ** 64 - 1, b'\xff' * 8),
    ('int64', -2 ** 63, b'\x00' * 7 + b'\x80'),
    ('int64', '-9223372036854775808', b'\x00' * 7 + b'\x80'),
    ('uint64[]', [str(2 ** 64 - 1)], struct.pack('<I4xQ', 1, 2 ** 64 - 1)),
    ('bool', True, b'\x01'),
    ('byte', 255, b'\xff'),
    ('char', 200, b'\xc8'),
    ('uint8[]', 'AQI=', b'\x02\x00\x00\x00\x01\x02'),
    ('uint8[]', [1, 2.0], b'\x02\x00\x00\x00\x01\x02'),
    ('uint8[]', bytearray(b'\x01'), b'\x01\x00\x00\x00\x01'),
    ('uint8[]', memoryview(b'\x01'), b'\x01\x00\x00\x00\x01'),
    ('uint8[2]', 'AQI=', b'\x01\x02'),
    ('byte[]', b'\x07', b'\x01\x00\x00\x00\x07'),
    ('byte[]', [7], b'\x01\x00\x00\x00\x07'),
    ('float64[1]', [None], NAN),
    ('float32[]', [None, 1], b'\x02\x00\x00\x00' + struct.pack('<2f', math.nan, 1)),
    ('float64[]', [], b'\x00\x00\x00\x00'),
    ('float64[]', [np.float64(2)], struct.pack('<I4xd', 1, 2)),
    ('int16[]', (1, -1), b'\x02\x00\x00\x00\x01\x00\xff\xff'),
    ('int16[]', array.array('h', [1]), b'\x01\x00\x00\x00\x01\x00'),
    ('int16[]', np.array([1.0, -2.0]), b'\x02\x00\x00\x00\x01\x00\xfe\xff'),
    ('int16[]', np.array([], '>f8'), b'\x00\x00\x00\x00'),
    ('uint64[]', np.array([1], 'i1'), struct.pack('<I4xQ', 1, 1)),
    ('float32[]', np.array([1, math.inf]), struct.pack('<I2f', 2, 1, math.inf)),
    ('float64[]', np.array([1], '>i2'), struct.pack('<I4xd', 1, 1)),
    ('bool[]', np.array([True]), b'\x01\x00\x00\x00\x01'),
    ('bool[2]', [True, False], b'\x01\x00'),
    ('string', 'aé', b'\x04\x00\x00\x00a\xc3\xa9\x00'),
    ('string<=2', 'é', b'\x03\x00\x00\x00\xc3\xa9\x00'),
    ('wstring', 'a\x00', struct.pack('<3I', 2, 97, 0)),
    ('wstring', '\U0001f600', struct.pack('<3I', 2, 0xd83d, 0xde00)),
    ('string[<=1]', ['a'], b'\x01\x00\x00\x00\x02\x00\x00\x00a\x00'),
])
def test_values_that_fit(definition, value, wanted):
    assert body(definition, value) == wanted


@pytest.mark.parametrize(('definition', 'value', 'error', 'path'), [
    ('float64', True, WrongKind, 'v'),
    ('float64', '1', WrongKind, 'v'),
    ('float64', 10 ** 400, OutOfRange, 'v'),
    ('float32', 1e39, OutOfRange, 'v'),
    ('float32', sys.float_info.max, OutOfRange, 'v'),
    ('int8', 128, OutOfRange, 'v'),
    ('int8', 1.5, WrongKind, 'v'),
    ('int8', True, WrongKind, 'v'),
    ('int8', None, WrongKind, 'v'),
    ('int8', math.nan, WrongKind, 'v'),
    ('int8', math.inf, WrongKind, 'v'),
    ('uint64', -1, OutOfRange, 'v'),
    ('int64', 2 ** 63, OutOfRange, 'v'),
    ('int64', 10 ** 4000, OutOfRange, 'v'),
    ('int64', '9223372036854775808', OutOfRange, 'v'),
    ('int64', '9' * 5000, WrongKind, 'v'),
    ('int64', '1.0', WrongKind, 'v'),
    ('int64', '', WrongKind, 'v'),
    ('int64', '\u0661', WrongKind, 'v'),
    ('int32', '1', WrongKind, 'v'),
    ('bool', 1, WrongKind, 'v'),
    ('bool', None, WrongKind, 'v'),
    ('byte', b'\x01', WrongKind, 'v'),
    ('string', 1, WrongKind, 'v'),
    ('string', b'a', WrongKind, 'v'),
    ('string', None, WrongKind, 'v'),
    ('string', '\ud800', BadEncoding, 'v'),
    ('string', 'a\x00', BadEncoding, 'v'),
    ('string<=2', 'éé', WrongLength, 'v'),
    ('wstring', 1, WrongKind, 'v'),
    ('wstring', '\ud800', BadEncoding, 'v'),
    ('wstring<=1', '\U0001f600', WrongLength, 'v'),
    ('uint8[]', 'AQI', BadEncoding, 'v'),
    ('uint8[]', 'A*I=', BadEncoding, 'v'),
    ('uint8[]', 'é', BadEncoding, 'v'),
    ('uint8[]', [0, 256], OutOfRange, 'v[1]'),
    ('uint8[]', [0, True], WrongKind, 'v[1]'),
    ('uint8[]', None, WrongKind, 'v'),
    ('uint8[]', {}, WrongKind, 'v'),
    ('uint8[2]', 'AQIC', WrongLength, 'v'),
    ('uint8[<=2]', b'123', WrongLength, 'v'),
    ('byte[]', 'AQI=', WrongKind, 'v'),
    ('int8[]', b'12', WrongKind, 'v'),
    ('int8[2]', [1], WrongLength, 'v'),
    ('int8[<=2]', [1, 2, 3], WrongLength, 'v'),
    ('int32[]', [1, None], WrongKind, 'v[1]'),
    ('float32[]', [1, 1e39], OutOfRange, 'v[1]'),
    ('float64[]', [1.0, True], WrongKind, 'v[1]'),
    ('float64[]', [10 ** 400], OutOfRange, 'v[0]'),
    ('float32[]', np.array([1, 1e39]), OutOfRange, 'v[1]'),
    ('int16[]', np.array([1.5]), WrongKind, 'v[0]'),
    ('int16[]', np.array([1, math.nan]), WrongKind, 'v[1]'),
    ('int16[]', np.array([1, 70000]), OutOfRange, 'v[1]'),
    ('int64[]', np.array([2.0 ** 63]), OutOfRange, 'v[0]'),
    ('int64[]', np.array([2 ** 63], 'u8'), OutOfRange, 'v[0]'),
    ('uint64[]', np.array([-1], 'i8'), OutOfRange, 'v[0]'),
    ('bool[]', np.array([1]), WrongKind, 'v'),
    ('int8[]', np.array([True]), WrongKind, 'v'),
    ('int8[]', np.array([[1]]), WrongKind, 'v'),
    ('int8[]', np.array(1), WrongKind, 'v'),
    ('bool[]', [1], WrongKind, 'v[0]'),
    ('bool[]', [True, 1], WrongKind, 'v[1]'),
    ('string[]', 'ab', WrongKind, 'v'),
    ('string[2]', ['a'], WrongLength, 'v'),
    ('string[<=1]', ['a', 'b'], WrongLength, 'v'),
    ('string[]', ['a', 1], WrongKind, 'v[1]'),
    ('Point', None, WrongKind, 'v'),
    ('Point', [1, 2], WrongKind, 'v'),
    ('Point', {'x': 1, 'z': 2}, UnknownField, 'v.z'),
    ('Point', {'x': 1, 'y': 2, 'z': 3}, UnknownField, 'v.z'),
    ('Point', {1: 2}, UnknownField, 'v.int'),
    ('Point', {'z' * 1000: 2}, UnknownField, 'v.' + 'z' * 64),
    ('Point[]', [{}, {'x': 'a'}], WrongKind, 'v[1].x'),
    ('Point[]', [{}, {'z': 1}], UnknownField, 'v[1].z'),
    ('Point[]', [{}, 3], WrongKind, 'v[1]'),
    ('Point[]', {}, WrongKind, 'v'),
    ('Point[2]', [{}], WrongLength, 'v'),
])
def test_values_that_do_not_fit(definition, value, error, path):
    with pytest.raises(error) as caught:
        body(definition, value)
    assert type(caught.value) is error
    assert caught.value.field == path


@pytest.mark.parametrize('values', [None, [], 'text', 3, b'', np.zeros(3)])
def test_the_root_must_be_an_object(values):
    with pytest.raises(WrongKind) as caught:
        field('int8').from_values(values)
    assert caught.value.field is None


def test_what_is_missing_has_its_default():
    text = 'int8 a 5\nstring b "x"\nint16[2] c [1, 2]\nPoint d\nstring[2] e\nfloat64 f\n'
    values = codec(text + POINT).to_values(codec(text + POINT).from_values({'f': 2.5}))
    assert values == {'a': 5, 'b': 'x', 'c': [1, 2], 'd': {'x': 0.0, 'y': 0.0},
                      'e': ['', ''], 'f': 2.5}


def test_values_are_left_as_they_were():
    values = {'v': [{'x': 1}, {}]}
    body('Point[]', values['v'])
    assert values == {'v': [{'x': 1}, {}]}


@pytest.mark.parametrize(('stamp', 'wanted'), [
    ({}, (7, 8)), ({'sec': 1}, (1, 0)), ({'secs': 1, 'nsecs': 2}, (1, 2)), ('now', (7, 8)),
    ({'sec': 0, 'nanosec': 0}, (0, 0)), ({'nsecs': 2}, (0, 2))])
def test_stamps_of_headers(stamp, wanted):
    stamped = codec('std_msgs/Header header\n' + HEADER)
    found = stamped.to_values(stamped.from_values({'header': {'stamp': stamp}}, now=(7, 8)))
    assert tuple(found['header']['stamp'].values()) == wanted


@pytest.mark.parametrize('values', [{}, {'header': {}}, {'header': {'frame_id': ''}}])
def test_an_absent_stamp_becomes_now_if_there_is_one(values):
    stamped = codec('std_msgs/Header header\n' + HEADER)
    assert stamped.from_values(values, now=(7, 8))[4:12] == struct.pack('<iI', 7, 8)
    assert stamped.from_values(values)[4:12] == bytes(8)


def test_a_time_outside_of_a_header_is_zero_unless_now_is_asked_for():
    timed = codec('builtin_interfaces/Time t\n' + TIME)
    assert timed.from_values({'t': {}}, now=(7, 8))[4:] == bytes(8)
    assert timed.from_values({'t': 'now'}, now=(7, 8))[4:] == struct.pack('<iI', 7, 8)


@pytest.mark.parametrize(('value', 'now', 'error', 'path'), [
    ('now', None, WrongKind, 't'), ('then', (7, 8), WrongKind, 't'),
    (np.zeros(2), (7, 8), WrongKind, 't'),
    ({'sec': 1, 'secs': 2}, None, UnknownField, 't.secs'),
    ({'secs': 1, 'nope': 2}, None, UnknownField, 't.nope'),
    ({'secs': 'a'}, None, WrongKind, 't.sec'), ({'nsecs': -1}, None, OutOfRange, 't.nanosec')])
def test_times_that_are_none(value, now, error, path):
    timed = codec('builtin_interfaces/Time t\n' + TIME)
    with pytest.raises(error) as caught:
        timed.from_values({'t': value}, now=now)
    assert caught.value.field == path


def test_a_stamp_of_another_kind_is_refused():
    stamped = codec('std_msgs/Header header\n' + HEADER)
    for stamp in (np.zeros(2), [], None, 0):
        with pytest.raises(WrongKind):
            stamped.from_values({'header': {'stamp': stamp}}, now=(7, 8))


def test_a_duration_takes_secs_but_has_no_now():
    timed = codec('builtin_interfaces/Duration d\n' + DURATION)
    assert timed.from_values({'d': {'secs': 1, 'nsecs': 2}})[4:] == struct.pack('<iI', 1, 2)
    with pytest.raises(WrongKind):
        timed.from_values({'d': 'now'}, now=(7, 8))


LIMITED = [
    ('Point[]', [{}] * 100_000), ('string[]', [''] * 100_000), ('string', 'x' * 1000),
    ('wstring', 'x' * 250), ('wstring', '\U0001f600' * 140), ('uint8[]', 'AAAA' * 500),
    ('uint8[]', bytes(1000)), ('float64[]', [0] * 200), ('float64[]', np.zeros(200)),
    ('float64[200]', {}), ('Point[100]', {}), ('Nested[]', [{}] * 10)]


@pytest.mark.parametrize(('definition', 'value'), LIMITED)
def test_what_would_exceed_the_limit_is_too_large(definition, value):
    nested = '=' * 80 + '\nMSG: p/Nested\nfloat64[20] a\nstring s\n'
    limited = codec(f'{definition} v\n' + POINT + nested)
    values = {} if isinstance(value, dict) else {'v': value}
    with pytest.raises(TooLarge):
        limited.from_values(values, limit=1000)


@pytest.mark.parametrize('definition', ['string', 'string[]', 'uint8[]', 'float64[]', 'Point',
                                        'Point[]', 'wstring', 'float64[3]', 'bool'])
def test_the_limit_is_exact(definition):
    value = {'string': 'abc', 'wstring': 'abc', 'string[]': ['ab', 'c'], 'uint8[]': b'123',
             'float64[]': [1.0], 'Point': {}, 'Point[]': [{}, {}], 'float64[3]': [1, 2, 3],
             'bool': True}[definition]
    tested = field(definition)
    size = len(tested.from_values({'v': value}))
    for limit in range(4, size):
        with pytest.raises(TooLarge):
            tested.from_values({'v': value}, limit=limit)
    assert len(tested.from_values({'v': value}, limit=size)) == size


def test_elements_that_grow_are_stopped_while_they_grow():
    """Each element is small, and all share one text: only a running check can tell."""
    growing = codec('Nested[] v\n' + '=' * 80 + '\nMSG: p/Nested\nstring s\nstring[] t\n')
    shared = {'s': 'x' * 100, 't': ['y' * 100] * 100}
    with pytest.raises(TooLarge) as caught:
        growing.from_values({'v': [shared] * 1_000_000}, limit=50_000_000)
    assert caught.value.field.startswith('v[')


def test_every_error_is_a_conversion_error():
    assert all(issubclass(error, ConversionError) for error in (
        BadEncoding, OutOfRange, TooLarge, UnknownField, WrongKind, WrongLength))
