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
"""Which error malformed CDR gives, and where it says the fault is."""
from __future__ import annotations

import struct

import pytest
from support.schemas import codec, field

from ws_bridge.convert import diagnose
from ws_bridge.errors import BadEncoding, MalformedCdr, WrongLength

LITTLE = b'\x00\x01\x00\x00'
BIG = b'\x00\x00\x00\x00'


def counted(count: int, content: bytes = b'') -> bytes:
    return struct.pack('<I', count) + content


@pytest.mark.parametrize('cdr', [b'', b'\x00', LITTLE[:3], b'\x00\x02\x00\x00\x01',
                                 b'\x00\x07\x00\x00\x01', b'\x01\x01\x00\x00\x01', LITTLE, BIG])
def test_what_is_no_cdr_at_all(cdr):
    tested = field('int8')
    for reader in (tested.to_json, tested.to_values, tested.to_cbor, tested.check):
        with pytest.raises(MalformedCdr):
            reader(cdr)


HUGE = 0xffffffff


@pytest.mark.parametrize(('definition', 'content', 'path'), [
    ('string', counted(HUGE), 'v'),
    ('string', counted(5, b'abc'), 'v'),
    ('wstring', counted(HUGE), 'v'),
    ('wstring', counted(1, b'\x00\x00\x01\x00'), 'v'),
    ('uint8[]', counted(HUGE, b'abc'), 'v'),
    ('float64[]', counted(HUGE), 'v'),
    ('float64[]', counted(1, bytes(11)), 'v'),
    ('bool[]', counted(3, b'\x00\x01'), 'v'),
    ('byte[]', counted(3, b'\x00\x01'), 'v'),
    ('string[]', counted(HUGE), 'v'),
    ('string[]', counted(2, counted(1, b'\x00\x00\x00\x00') + counted(9)), 'v[1]'),
    ('Point[]', counted(HUGE), 'v'),
    ('Point[]', counted(1, bytes(19)), 'v[0].y'),
    ('Point[2]', bytes(31), 'v[1].y'),
    ('Point', bytes(15), 'v.y'),
    ('float64[2]', bytes(15), 'v'),
    ('int64', bytes(7), 'v'),
    ('string[2]', counted(1, b'\x00\x00\x00\x00'), 'v[1]'),
])
def test_lengths_that_point_outside(definition, content, path):
    tested = field(definition)
    for reader in (tested.to_json, tested.to_values, tested.to_cbor, tested.check):
        with pytest.raises(MalformedCdr) as caught:
            reader(LITTLE + content)
        assert caught.value.field == path
        assert caught.value.message != 'malformed'


@pytest.mark.parametrize(('definition', 'content', 'error', 'path'), [
    ('bool', b'\x02', MalformedCdr, 'v'),
    ('bool[3]', b'\x00\x01\x02', MalformedCdr, 'v[2]'),
    ('bool[]', counted(2, b'\x01\xff'), MalformedCdr, 'v[1]'),
    ('string', counted(0), MalformedCdr, 'v'),
    ('string', counted(2, b'ab'), MalformedCdr, 'v'),
    ('string', counted(3, b'a\x00\x00'), BadEncoding, 'v'),
    ('string', counted(3, b'\xff\xfe\x00'), BadEncoding, 'v'),
    ('string<=2', counted(4, b'abc\x00'), WrongLength, 'v'),
    ('wstring', counted(1, counted(0xd800)), BadEncoding, 'v'),
    ('wstring<=1', counted(2, counted(97) * 2), WrongLength, 'v'),
    ('int8[<=2]', counted(3, b'abc'), WrongLength, 'v'),
    ('string[<=1]', counted(2, counted(1, b'\x00\x00\x00\x00') * 2), WrongLength, 'v'),
    ('string[]', counted(1, counted(1, b'a')), MalformedCdr, 'v[0]'),
    ('Flag[]', counted(2, b'\x00\x02'), MalformedCdr, 'v[1].f'),
    ('Flag', b'\x02', MalformedCdr, 'v.f'),
])
def test_check_is_strict_where_reading_is_not(definition, content, error, path):
    flag = '=' * 80 + '\nMSG: p/Flag\nbool f\n'
    tested = codec(f'{definition} v\n' + flag)
    tested.to_json(LITTLE + content)
    tested.to_values(LITTLE + content)
    tested.to_cbor(LITTLE + content)
    with pytest.raises(error) as caught:
        tested.check(LITTLE + content)
    assert type(caught.value) is error
    assert caught.value.field == path


@pytest.mark.parametrize(('definition', 'content', 'wanted'), [
    ('bool', b'\x02', True),
    ('bool[]', counted(2, b'\x00\xff'), [False, True]),
    ('string', counted(0), ''),
    ('string', counted(2, b'ab'), 'ab'),
    ('string', counted(4, b'a\x00b\x00'), 'a\x00b'),
    ('string', counted(3, b'a\xff\x00'), 'a\ufffd'),
    ('wstring', counted(1, counted(0xd800)), '\ufffd'),
    ('int8[<=2]', counted(3, b'\x01\x02\x03'), [1, 2, 3]),
])
def test_reading_loses_nothing_that_robots_send(definition, content, wanted):
    assert field(definition).to_values(LITTLE + content) == {'v': wanted}


def test_bytes_behind_the_message_are_ignored():
    tested = field('int8')
    assert tested.to_values(LITTLE + b'\x05junk') == {'v': 5}
    tested.check(LITTLE + b'\x05junk')


def test_check_takes_off_the_padding_that_the_options_announce():
    tested = field('int32')
    tested.check(b'\x00\x01\x00\x03' + bytes(7))
    tested.check(b'\x00\x01\x00\x00' + bytes(4))
    with pytest.raises(MalformedCdr) as caught:
        tested.check(b'\x00\x01\x00\x03' + bytes(4))
    assert caught.value.field == 'v'


def test_big_endian_is_diagnosed_too():
    tested = field('string')
    with pytest.raises(MalformedCdr) as caught:
        tested.to_json(BIG + struct.pack('>I', 9))
    assert caught.value.field == 'v'


def test_an_empty_message_needs_its_byte():
    empty = codec('')
    assert empty.from_values({}) == LITTLE + b'\x00'
    assert empty.to_json(LITTLE + b'\x7f\x00\x00\x00') == b'{}'
    with pytest.raises(MalformedCdr):
        empty.check(LITTLE)


def test_a_large_message_is_not_walked(monkeypatch):
    monkeypatch.setattr(diagnose, 'LARGEST_WALKED', 100)
    with pytest.raises(MalformedCdr) as caught:
        field('uint8[]').check(LITTLE + counted(200, bytes(100)))
    assert caught.value.message == 'malformed'
