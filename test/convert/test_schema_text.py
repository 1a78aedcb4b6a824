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
"""Schema text: what is written, what is read, what is refused."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest
from support.schemas import POINT, SEPARATOR

from ws_bridge.convert.schema import Constant, Field, FieldType, MessageSchema
from ws_bridge.convert.schema_text import schema_from_text, schema_to_text
from ws_bridge.errors import BadEncoding

TEXT = """\
bool YES=true
int32 MANY=-5
float64 HALF=0.5
string WORD="a # \\"b\\""
byte BIT=7
int8 small 3
string<=5 name "x"
string<=5[<=3] names ["a", "b"]
float32[2] pair [1.0, 2.5]
bool[] flags
wstring wide
p/Point point
p/Point[3] points
""" + POINT


def test_text_is_written_as_it_was_read():
    schema = schema_from_text('p/msg/Tested', TEXT)
    assert schema_to_text(schema) == TEXT.replace(SEPARATOR, '\n' + SEPARATOR)
    assert schema_from_text('p/Tested', schema_to_text(schema)) == schema


def test_what_the_text_means():
    schema = schema_from_text('p/msg/Tested', TEXT)
    assert schema.name == 'p/msg/Tested'
    assert [(item.kind, item.value) for item in schema.constants] == [
        ('bool', True), ('int32', -5), ('float64', 0.5), ('string', 'a # "b"'), ('octet', 7)]
    assert schema.fields[2] == Field(
        'names', FieldType('string', None, 5, 'bounded', 3), ['a', 'b'])
    assert schema.fields[-1].field_type.message is schema.fields[-2].field_type.message
    assert repr(schema) == 'MessageSchema(p/msg/Tested, 8 fields)'


def test_what_rosidl_allows_beyond_json():
    schema = schema_from_text('p/msg/T', """
        # a comment
        string A=unquoted 'text'   # with a comment
        string B='single \\' quoted'
        uint8 C=0x10
        bool D=1
        float32 E=1
        bool[] on [True, False]
        string s 'it"s'   # a comment, with "quotes
        string t word
        char[<=2] c
        int32 zero 0
        Header header
""" + SEPARATOR + 'MSG: std_msgs/Header\nuint32 seq\n')
    assert schema.constants == (
        Constant('A', 'string', "unquoted 'text'"), Constant('B', 'string', "single ' quoted"),
        Constant('C', 'uint8', 16), Constant('D', 'bool', True), Constant('E', 'float32', 1.0))
    assert [item.default for item in schema.fields] == [
        [True, False], 'it"s', 'word', None, None, None]
    assert schema.fields[3].field_type == FieldType('uint8', None, None, 'bounded', 2)
    assert schema.fields[5].field_type.message.name == 'std_msgs/msg/Header'


def test_parts_of_services_keep_their_full_names():
    part = MessageSchema('p/srv/S_Request', (Field('a', FieldType('int8')),))
    event = MessageSchema('p/srv/S_Event', (Field('r', FieldType('message', part)),))
    assert 'MSG: p/srv/S_Request\n' in schema_to_text(event)
    assert schema_from_text(event.name, schema_to_text(event)) == event


@pytest.mark.parametrize('text', [
    'int8', 'int8 a b', 'int8 1a', '!', 'Nope a', 'p/Tested a', 'int8<=3 a', 'int8[0] a',
    'int8[<=] a', 'string<=9999999999 a', 'int8[99999999999] a', 'int8 A=', 'int8 A="x"',
    'int8 A=1.5', 'int8 A=true', 'Point[] a []\n' + POINT, 'bool a "x"', 'int8[] a 3',
    'int8[] a ["x"]', 'Point a 3\n' + POINT,
    'string a "open', 'float64 a x', 'int8 a [[[', 'int8 a ' + '(' * 5000, 'string[] a [1]',
    'int8 a\n' + SEPARATOR + 'int8 b', 'int8[999999999] a', 'float64 a 1_',
    'string[900000000] a', 'int8[2] a [1]', 'int8[<=2] a [1, 2, 3]',
    'int8[999999999] a [0]', 'int8 a\n' * 10_001])
def test_what_is_no_schema(text):
    with pytest.raises(BadEncoding):
        schema_from_text('p/msg/Tested', text)


def chain(link: str) -> str:
    parts = [f'T0 a\n{SEPARATOR}MSG: p/T0\n']
    for index in range(40):
        parts.append(link.replace('NEXT', f'T{index + 1}') + f'{SEPARATOR}MSG: p/T{index + 1}\n')
    return ''.join(parts) + 'int8 x\n'


@pytest.mark.parametrize('link', ['NEXT a\nNEXT b\n', 'NEXT[9] a\n', 'NEXT[] a\nNEXT[] b\n'])
def test_types_that_explode_are_refused(link):
    with pytest.raises(BadEncoding):
        schema_from_text('p/msg/Tested', chain(link))


def test_types_that_only_nest_are_not():
    assert schema_from_text('p/msg/Tested', chain('NEXT a\n')).fields[0].name == 'a'


def test_types_that_nest_too_deeply_are_refused():
    text = 'T0 a\n' + ''.join(
        f'{SEPARATOR}MSG: p/T{index}\nT{index + 1} a\n' for index in range(2000))
    with pytest.raises(BadEncoding):
        schema_from_text('p/msg/Tested', text)


@given(st.text(st.sampled_from('int8 string[]<=3a/"\'#\\\n=MSG:.-{(1'), max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        schema = schema_from_text('p/msg/Tested', text)
    except BadEncoding:
        return
    assert schema_from_text('p/msg/Tested', schema_to_text(schema)) == schema
