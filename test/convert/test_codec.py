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
"""The codec: JSON as strict text, big messages, the store."""
from __future__ import annotations

import base64
import json
import math
import struct

import numpy as np
import orjson
import pytest
from support import reference_converter as reference
from support.schemas import codec, field, POINT

from ws_bridge.convert.codec import Codec, CodecStore, Converted
from ws_bridge.convert.decode import make_reader, MODES, Undecodable
from ws_bridge.convert.schema import (
    by_name,
    Field,
    FieldType,
    MessageSchema,
    minimum_size,
    nested_schemas,
    PRIMITIVES,
)
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import BadEncoding, ConversionError, WrongKind, WrongLength

EVERYTHING = ''.join(
    f'{kind} {kind}_1\n{kind}[3] {kind}_2\n{kind}[12] {kind}_3\n{kind}[] {kind}_4\n'
    f'{kind}[<=5] {kind}_5\n'
    for kind in ('bool', 'byte', 'uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'uint64',
                 'int64', 'float32', 'float64', 'string', 'wstring', 'Point', 'Inner'))
LONE = '=' * 80 + '\nMSG: p/Inner\n'   # more slots than are inlined
INNER = LONE + ''.join(f'int8 a{index}\nfloat64 b{index}\n' for index in range(40))


def example(field_type):
    """Return a value in which neighbours differ."""
    if field_type.message is not None:
        return {item.name: example(item.field_type) for item in field_type.message.fields}
    return {'bool': True, 'string': 'é', 'wstring': '\U0001f600'}.get(field_type.kind, 7)


def test_every_kind_in_every_arrangement():
    tested = codec(EVERYTHING + POINT + INNER)
    values = {}
    for item in tested.schema.fields:
        one = example(item.field_type)
        count = {'fixed': item.field_type.array_size, 'unbounded': 4, 'bounded': 2}
        values[item.name] = one if item.field_type.array == 'none' else \
            [one] * count[item.field_type.array]
    cdr = tested.from_values(values)
    assert cdr == reference.encode(tested.schema, values)
    for buffer in (cdr, reference.encode(tested.schema, values, '>')):
        assert tested.to_values(buffer) == reference.decode(tested.schema, buffer)
        assert json.loads(tested.to_json(buffer)) == reference.decode(tested.schema, buffer)
        assert tested.from_cbor(tested.to_cbor(buffer)) == cdr
        tested.check(buffer)


def test_wide_integers_as_text():
    schema = codec('int64 a\nuint64 b\nint64[] c\nuint8[] d\nfloat32[] e\nInner[] f\nstring g\n'
                   + '=' * 80 + '\nMSG: p/Inner\nint64[3] x\n').schema
    values = {'a': 2**53, 'b': 2**64 - 1, 'c': [1, -2**63], 'd': 'AQI=', 'e': [0.1, None],
              'f': [{'x': [2**53 + 1, -2**53, -2**53 - 1]}], 'g': 'text'}
    tested = CodecStore(wide_as_text=True).codec(schema)
    written = json.loads(tested.to_json(tested.from_values(values)))
    assert written == {
        'a': 2**53, 'b': str(2**64 - 1), 'c': [1, str(-2**63)], 'd': 'AQI=', 'e': [0.1, None],
        'f': [{'x': [str(2**53 + 1), -2**53, str(-2**53 - 1)]}], 'g': 'text'}
    assert tested.from_values(written) == tested.from_values(values)


def test_json_has_no_nan_and_no_infinity():
    tested = codec('float64 a\nfloat32[] b\nfloat64[2] c\nfloat64[9] d\n')
    values = {'a': math.nan, 'b': [math.inf, 1], 'c': [-math.inf, 2], 'd': [math.nan] * 9}
    text = tested.to_json(tested.from_values(values))
    assert text == (b'{"a":null,"b":[null,1.0],"c":[null,2.0],"d":['
                    + b','.join([b'null'] * 9) + b']}')


def test_float32_arrays_are_written_shortest():
    tested = field('float32[]')
    assert tested.to_json(tested.from_values({'v': [0.1, 3.3]})) == b'{"v":[0.1,3.3]}'


def test_large_integers_are_exact():
    tested = codec('int64 a\nuint64[] b\n')
    text = b'{"a":-9223372036854775808,"b":[18446744073709551615,9007199254740993]}'
    assert tested.to_json(tested.from_json(text)) == text


@pytest.mark.parametrize('text', ['"', '\\', '\x01', '\x7f', '</script>', '\u2028', '\U0001f600'])
def test_text_is_escaped(text):
    tested = field('string')
    assert json.loads(tested.to_json(tested.from_values({'v': text}))) == {'v': text}


def test_an_image_is_base64():
    tested = codec('uint32 width\nuint8[] data\n')
    pixels = bytes(range(256)) * 3600
    text = tested.to_json(tested.from_values({'width': 640, 'data': pixels}))
    assert json.loads(text) == {'width': 640, 'data': base64.b64encode(pixels).decode()}
    assert tested.from_json(text)[12:] == pixels


def test_alignment_continues_behind_empty_sequences():
    tested = codec('uint8 a\nfloat64[] b\nuint8 c\nfloat64 d\nPoint[] e\nuint8 f\n' + POINT)
    values = {'a': 1, 'b': [], 'c': 2, 'd': 3.0, 'e': [], 'f': 4}
    cdr = tested.from_values(values)
    assert cdr == b'\x00\x01\x00\x00' + struct.pack('<B3xIB7xdIB', 1, 0, 2, 3.0, 0, 4)
    assert tested.to_values(cdr) == values
    tested.check(cdr)


@pytest.mark.parametrize('text', [
    b'', b'{', b'nul', b'[1,', b'{"v":NaN}', b'{"v":1}x', b'\xff', b'{"v":"\xff"}',
    b'{"v":' * 10_000, b'[' * 10_000, b'{"v":"\\ud800"}', 'a'])
def test_what_is_not_json(text):
    with pytest.raises(BadEncoding):
        field('int8').from_json(text)


def test_json_of_another_kind():
    for text in ('[]', '1', 'null', '"v"'):
        with pytest.raises(WrongKind):
            field('int8').from_json(text)


def test_the_last_of_repeated_keys_counts():
    assert field('int8').from_json('{"v":1,"v":2}')[4:] == b'\x02'


def test_json_may_come_in_any_buffer():
    for text in ('{"v":1}', b'{"v":1}', bytearray(b'{"v":1}'), memoryview(b'{"v":1}')):
        assert field('int8').from_json(text)[4:] == b'\x01'


def test_deep_values_reach_no_deeper_than_the_type():
    deep = value = {}
    for _ in range(100_000):
        value['v'] = {}
        value = value['v']
    with pytest.raises(ConversionError):
        field('Point').from_values(deep)
    while deep:   # taken apart by hand: so deep a tree would overflow the stack when it is freed
        deep = deep.pop('v', None)


def test_the_store_compiles_once():
    store = CodecStore()
    first = store.codec(schema_from_text('p/msg/A', 'int8 a 3\nint8[] b [1, 2]\n'))
    again = store.codec(schema_from_text('p/msg/A', 'int8 a 3\nint8[] b [1, 2]\n'))
    other = store.codec(schema_from_text('p/msg/A', 'int8 a 4\nint8[] b [1, 2]\n'))
    assert first is again
    assert first is not other
    assert repr(store) == 'CodecStore(2 codecs)'
    assert repr(first) == 'Codec(p/msg/A)'


def test_a_codec_keeps_to_its_own_functions():
    one, two = Codec(schema_from_text('p/msg/A', 'int8 a')), Codec(
        schema_from_text('p/msg/B', 'int16 b'))
    assert one.to_json(one.from_values({'a': 1})) == b'{"a":1}'
    assert two.to_json(two.from_values({'b': 2})) == b'{"b":2}'
    assert one.to_json(one.from_values({'a': 1})) == b'{"a":1}'


def test_readers_of_every_mode_refuse_the_other_byte_order():
    schema = schema_from_text('p/msg/A', 'int8 a')
    for mode in MODES:
        with pytest.raises(Undecodable):
            make_reader(schema, mode, '>')(b'\x00\x01\x00\x00\x01')


def test_names_in_schemas_are_only_ever_data():
    """A field name is not run, whatever it holds."""
    strange = "x'] = raise SystemExit #\n"
    tested = Codec(MessageSchema("p/msg/'", (Field(strange, FieldType('int8')),)))
    assert tested.to_values(tested.from_values({strange: 3})) == {strange: 3}
    assert orjson.loads(tested.to_json(tested.from_values({}))) == {strange: 0}


def test_nested_schemas_are_listed_once():
    schema = schema_from_text('p/msg/T', 'Point a\nPoint b\nInner c\n' + POINT + INNER)
    assert [item.name for item in nested_schemas(schema)] == [
        'p/msg/T', 'p/msg/Point', 'p/msg/Inner']


def test_minimum_sizes():
    schema = schema_from_text('p/msg/T', 'Point[2] a\nstring b\nint8[3] c\nPoint[] d\n' + POINT)
    assert minimum_size(schema) == 2 * 16 + 4 + 3 + 4
    assert minimum_size(MessageSchema('p/msg/Empty', ())) == 1


@pytest.mark.parametrize('primitive', PRIMITIVES.values(), ids=PRIMITIVES)
def test_primitives_are_as_numpy_has_them(primitive):
    dtype = np.dtype(f'<{primitive.code}')
    assert dtype.itemsize == primitive.size == struct.calcsize(f'<{primitive.code}')
    if dtype.kind in 'iu':
        assert (primitive.low, primitive.high) == (np.iinfo(dtype).min, np.iinfo(dtype).max)


def test_values_that_were_converted_elsewhere():
    tested = field('int32')
    assert tested.from_values(Converted(b'cdr')) == b'cdr'
    assert repr(Converted(b'cdr')) == 'Converted(bytes)'
    with pytest.raises(WrongKind):
        tested.from_values(Converted(WrongKind('no')))


@pytest.mark.parametrize(('definition', 'is_flat'), [
    ('uint8[]', True), ('float64[3]', True), ('string', True), ('bool[<=2]', True),
    ('string[]', False), ('wstring[2]', False)])
def test_what_is_checked_in_one_step(definition, is_flat):
    assert field(definition).is_flat is is_flat
    assert codec('Point[] p\n' + POINT).is_flat is False


def test_fields_by_position():
    schema = codec('int32 a\nint32 b\n').schema
    assert by_name(schema, (1, 2)) == {'a': 1, 'b': 2}
    assert by_name(schema, {'a': 1}) == {'a': 1}
    with pytest.raises(WrongLength):
        by_name(schema, (1, 2, 3))
