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

from dataclasses import replace
from typing import Any

import pytest
from support.frames import one

from ws_bridge.errors import TooLarge
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.encodings import ENCODINGS, EncodingTable
from ws_bridge.protocol.native import binary_writer, NativeDialect


class Codec:
    """Says what was asked of it."""

    def __getattr__(self, name: str) -> Any:
        return lambda data, **options: (name, bytes(data), options)


CODEC: Any = Codec()
NOW = (1, 2)


@pytest.mark.parametrize(('name', 'made'), [
    ('json', ('to_json', b'x', {})), ('png', ('to_json', b'x', {})),
    ('cbor', ('to_cbor', b'x', {})), ('cbor-raw', b'x'), ('cdr', b'x')])
def test_what_becomes_of_cdr(name: str, made: object) -> None:
    assert ENCODINGS[name].encode(CODEC, b'x') == made


@pytest.mark.parametrize(('name', 'made'), [
    ('json', ('from_json', b'x', {'now': NOW})), ('cbor', ('from_cbor', b'x', {'now': NOW})),
    ('cdr', b'x')])
def test_what_becomes_of_a_payload(name: str, made: object) -> None:
    assert ENCODINGS[name].decode(CODEC, memoryview(b'x'), NOW) == made


def test_cdr_of_a_peer_is_checked() -> None:
    class Strict(Codec):

        def check(self, cdr: bytes) -> None:
            raise TooLarge('checked')
    strict: Any = Strict()
    with pytest.raises(TooLarge, match='checked'):
        ENCODINGS['cdr'].decode(strict, b'x', None)


def test_cdr_of_a_type_without_fields_may_lack_its_byte() -> None:
    class Strict(Codec):
        is_empty = True

        def check(self, cdr: bytes) -> None:
            assert len(cdr) == 5
    codec: Any = Strict()
    for cdr in (b'\0\1\0\0', b'\0\1\0\0\0'):
        assert ENCODINGS['cdr'].decode(codec, cdr, None) == b'\0\1\0\0\0'


@pytest.mark.parametrize(('name', 'payload'), [('json', b'[1,2,3]'), ('cbor', b'\x83\1\2\3')])
def test_values_are_counted_before_they_are_made(name: str, payload: bytes) -> None:
    count = ENCODINGS[name].check_count
    assert count is not None
    count(payload, 4)
    with pytest.raises(TooLarge):
        count(payload, 3)


def test_what_is_too_much_for_the_loop() -> None:
    assert not ENCODINGS['cdr'].is_heavy(bytes(65536))
    assert ENCODINGS['cdr'].is_heavy(bytes(65537))


def test_no_two_rows_share_what_tells_them_apart() -> None:
    table = EncodingTable(ENCODINGS.values())
    row = replace(ENCODINGS['cdr'], name='other', rank=9, opcode=7)
    for wrong in (replace(row, name='cdr'), replace(row, rank=4), replace(row, opcode=1),
                  replace(row, opcode=2), replace(row, opcode=4)):
        with pytest.raises(ValueError, match='an encoding has'):
            table.add(wrong)
    table.add(row)
    assert table.samples[7] is table.publications[8] is row
    assert repr(table) == 'EncodingTable(json, png, cbor, cbor-raw, cdr, other)'
    for name in [*table]:
        table.remove(name)
    assert not table and not table.samples and not table.publications


def test_the_numbers_of_native_frames() -> None:
    assert ENCODINGS.native_names == ('json', 'cbor', 'cdr')
    assert {number: kind.name for number, kind in ENCODINGS.samples.items()} == {
        1: 'cdr', 3: 'cbor'}
    native = NativeDialect('robot', 'p')
    for number, name in ((2, 'cdr'), (4, 'cbor')):
        op = one(native.decode(binary_writer(5, number)(b'x', 1, 1)))
        assert isinstance(op, ops.BinaryPublish) and op.encoding == name
