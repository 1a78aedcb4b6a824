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
"""CBOR in and out: typed arrays, byte strings, and what a hostile peer may send."""
from __future__ import annotations

import math

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from support.schemas import codec, field, POINT

from ws_bridge.convert.cbor import cbor_values
from ws_bridge.errors import BadEncoding, ConversionError

TYPED = [('uint16', 69, '<u2'), ('uint32', 70, '<u4'), ('uint64', 71, '<u8'), ('int8', 72, 'i1'),
         ('int16', 77, '<i2'), ('int32', 78, '<i4'), ('int64', 79, '<i8'), ('float32', 85, '<f4'),
         ('float64', 86, '<f8')]


@pytest.mark.parametrize(('kind', 'tag', 'dtype'), TYPED)
@pytest.mark.parametrize('array', ['[]', '[3]', '[<=3]'])
def test_numbers_in_a_row_are_typed_arrays(kind, tag, dtype, array):
    tested = field(kind + array)
    cdr = tested.from_values({'v': [1, 2, 3]})
    found = cbor2.loads(tested.to_cbor(cdr), tag_hook=lambda *a: next(
        x for x in a if isinstance(x, cbor2.CBORTag)))['v']
    assert (found.tag, found.value) == (tag, np.array([1, 2, 3], dtype).tobytes())
    assert tested.from_cbor(tested.to_cbor(cdr)) == cdr


@pytest.mark.parametrize(('definition', 'value'), [
    ('uint8[]', b'\x01\x02'), ('uint8[2]', b'\x01\x02'), ('byte[]', [1, 2]), ('byte[2]', [1, 2]),
    ('bool[]', [True, False]), ('bool[9]', [True] * 9), ('string[]', ['a', 'b']),
    ('byte[9]', [5] * 9), ('string', 'ä'), ('int64', 2 ** 53 + 1), ('uint64', 2 ** 64 - 1)])
def test_other_values_are_plain(definition, value):
    tested = field(definition)
    cdr = tested.from_values({'v': value})
    assert cbor2.loads(tested.to_cbor(cdr)) == {'v': value}
    assert tested.from_cbor(cbor2.dumps({'v': value})) == cdr


def test_nan_stays_nan():
    tested = codec('float64 a\nfloat32[] b\n')
    cdr = tested.from_cbor(cbor2.dumps({'a': math.inf, 'b': [math.nan]}))
    values = tested.to_values(cdr)
    assert values['a'] == math.inf
    assert math.isnan(values['b'][0])
    assert tested.from_cbor(tested.to_cbor(cdr)) == cdr


@pytest.mark.parametrize(('tag', 'dtype'), [
    (64, 'u1'), (65, '>u2'), (66, '>u4'), (67, '>u8'), (68, 'u1'), (73, '>i2'), (74, '>i4'),
    (75, '>i8'), (80, '>f2'), (81, '>f4'), (82, '>f8'), (84, '<f2'),
    *((tag, dtype) for _, tag, dtype in TYPED)])
@pytest.mark.parametrize('kind', ['uint8', 'int64', 'float32', 'byte'])
def test_any_typed_array_fits_where_its_numbers_fit(tag, dtype, kind):
    tested = field(f'{kind}[]')
    data = cbor2.dumps({'v': cbor2.CBORTag(tag, np.array([1, 100], dtype).tobytes())})
    assert tested.from_cbor(data) == tested.from_values({'v': [1, 100]})


HOSTILE = {
    'empty': b'', 'deep': b'\x81' * 100_000, 'cycle': bytes.fromhex('d81c81d81d00'),
    'huge array': bytes.fromhex('9b7fffffffffffffff'), 'break': b'\xff',
    'huge bytes': bytes.fromhex('5b7fffffffffffffff'),
    'huge map': bytes.fromhex('bb7fffffffffffffff00'), 'bad text': bytes.fromhex('62fffe'),
    'unhashable': bytes.fromhex('a1810101'), 'shared': bytes.fromhex('d81d00'),
    'undefined': b'\xa1\x61v\xf7', 'truncated array': bytes.fromhex('a16176d85543ffffff'),
    'array of no bytes': bytes.fromhex('a16176d85501'),
    'big float': bytes.fromhex('c5821b7fffffffffffffff01'),
    'decimal': bytes.fromhex('c4821b7fffffffffffffff01'),
    'regex': cbor2.dumps(cbor2.CBORTag(35, '(' * 5000)),
    'fraction': cbor2.dumps(cbor2.CBORTag(30, [1, 0])),
    'date': cbor2.dumps(cbor2.CBORTag(1, 1e300)), 'address': cbor2.dumps(cbor2.CBORTag(260, b'a')),
    'uuid': cbor2.dumps({'v': cbor2.CBORTag(37, b'x')}),
    'unknown tag': cbor2.dumps({'v': cbor2.CBORTag(87, bytes(16))}),
    'big number': b'\xa1\x61v\xc2' + cbor2.dumps(b'\xff' * 10_000),
    'set': cbor2.dumps({'v': {1, 2}}), 'keys': cbor2.dumps({1: 2, b'v': 3}),
    'mail': cbor2.dumps({'v': cbor2.CBORTag(36, 'x')})}


@pytest.mark.parametrize('definition', ['int8', 'float64', 'float64[]', 'uint8[]', 'string',
                                        'string[]', 'Point', 'Point[]'])
@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_cbor_is_a_conversion_error(name, definition):
    with pytest.raises(ConversionError):
        field(definition).from_cbor(HOSTILE[name])


def test_what_is_not_cbor_says_so():
    with pytest.raises(BadEncoding, match='not CBOR'):
        cbor_values(b'\xff')
    with pytest.raises(BadEncoding):
        cbor_values(HOSTILE['unknown tag'])


def test_shared_values_do_not_multiply_beyond_the_limit():
    """A few kilobytes that name one large list many times."""
    shared = cbor2.dumps(['x' * 100] * 1000)
    inner = b'\xd8\x1c' + b'\x82\x00' + b'\xd8\x1c' + shared
    data = b'\xa1\x61v' + b'\x9a\x00\x00\x27\x10' + inner + b'\xd8\x1d\x01' * 9999
    with pytest.raises(ConversionError):
        codec('Many[] v\n' + '=' * 80 + '\nMSG: p/Many\nstring[] s\n' + POINT).from_cbor(data)


@settings(max_examples=300)
@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(data):
    try:
        field('float64[]').from_cbor(data)
    except ConversionError:
        return
    assert isinstance(cbor_values(data), dict)


def test_bytes_that_look_like_a_reference_are_none():
    tested = field('uint8[]')
    data = bytes.fromhex('d81d00')
    assert tested.from_cbor(cbor2.dumps({'v': data})) == tested.from_values({'v': list(data)})


def test_a_reference_is_refused():
    with pytest.raises(BadEncoding, match='tag 28'):
        cbor_values(bytes.fromhex('82d81c8101d81d00'))
