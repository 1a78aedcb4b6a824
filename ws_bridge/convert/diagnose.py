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
"""
Find out what is wrong with CDR bytes that a compiled reader refused, and where.

This walks the message field by field; it runs once a refused message, so it may be slow.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import struct

from ws_bridge.convert.schema import FieldType, MessageSchema, minimum_size, Primitive, PRIMITIVES
from ws_bridge.errors import BadEncoding, ConversionError, MalformedCdr, WrongLength

LARGEST_WALKED = 1024 * 1024   # bytes; beyond, nobody learns where the fault is


def diagnose(schema: MessageSchema, cdr: bytes, *, strict: bool) -> ConversionError:
    """
    Return the error that describes why ``cdr`` is not a ``schema`` message.

    :param strict: as ``check`` reads, where text and bools matter too.
    """
    if len(cdr) < 4:
        return MalformedCdr('shorter than the 4-byte CDR header')
    if cdr[:2] not in (b'\x00\x00', b'\x00\x01'):
        return MalformedCdr(f'not plain CDR: encapsulation {cdr[:2].hex()}')
    if len(cdr) > LARGEST_WALKED:
        return MalformedCdr('malformed')
    end = len(cdr) - (cdr[3] & 3 if strict else 0)   # see make_reader
    try:
        _Walk(cdr, end, '<' if cdr[1] else '>', strict).message(schema)
    except ConversionError as exc:
        return exc
    return MalformedCdr('malformed')   # pragma: no cover  (compiled reader and walk agree)


@dataclass(slots=True)
class _Walk:
    """A position in a buffer."""

    buffer: bytes
    end: int
    endian: str
    strict: bool
    position: int = 4

    def message(self, schema: MessageSchema) -> None:
        if not schema.fields:
            self._take(1, 1)
        for item in schema.fields:
            try:
                self._field(item.field_type)
            except ConversionError as exc:
                exc.inside(item.name)
                raise

    def _take(self, alignment: int, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        start = self.position + (4 - self.position) % alignment
        if start + size > self.end:
            raise MalformedCdr(f'{size} bytes needed at byte {start}, the message ends '
                               f'at {self.end}')
        self.position = start + size
        return self.buffer[start:self.position]

    def _count(self) -> int:
        count: int = struct.unpack(f'{self.endian}I', self._take(4, 4))[0]
        return count

    def _field(self, field_type: FieldType) -> None:
        if field_type.array == 'none':
            self._value(field_type)
            return
        if field_type.array == 'fixed':
            count = field_type.array_size or 0
        else:
            count = self._sequence_count(field_type)
        primitive = PRIMITIVES.get(field_type.kind)
        if primitive is not None:
            self._numbers(primitive, count)
            return
        for index in range(count):
            try:
                self._value(field_type)
            except ConversionError as exc:
                exc.inside(f'[{index}]')
                raise

    def _sequence_count(self, field_type: FieldType) -> int:
        count = self._count()
        if self.strict and field_type.array == 'bounded' and count > (field_type.array_size or 0):
            raise WrongLength(f'{count} elements, at most {field_type.array_size} are allowed')
        primitive = PRIMITIVES.get(field_type.kind)
        least = primitive.size if primitive else \
            minimum_size(field_type.message) if field_type.message else 4
        if count * least > self.end - self.position:
            raise MalformedCdr(f'{count} elements announced, '
                               f'{self.end - self.position} bytes left')
        return count

    def _numbers(self, primitive: Primitive, count: int) -> None:
        if count == 0:
            return
        data = self._take(primitive.size, primitive.size * count)
        if self.strict and primitive.kind == 'bool':
            for index in _wrong_bools(data):
                raise MalformedCdr(f'a bool of {data[index]}', field=f'[{index}]')

    def _value(self, field_type: FieldType) -> None:
        primitive = PRIMITIVES.get(field_type.kind)
        if field_type.message is not None:
            self.message(field_type.message)
        elif primitive is not None:
            data = self._take(primitive.size, primitive.size)
            if self.strict and primitive.kind == 'bool' and data[0] > 1:
                raise MalformedCdr(f'a bool of {data[0]}')
        elif field_type.kind == 'wstring':
            self._wide_text(field_type)
        else:
            self._text(field_type)

    def _text(self, field_type: FieldType) -> None:
        data = self._take(1, self._count())
        if not self.strict:
            return
        if data[-1:] != b'\x00':
            raise MalformedCdr('a string without its terminating NUL')
        if field_type.string_bound is not None and len(data) - 1 > field_type.string_bound:
            raise WrongLength(f'{len(data) - 1} bytes of text, at most '
                              f'{field_type.string_bound} are allowed')
        if 0 in data[:-1]:
            raise BadEncoding('a NUL inside a string')
        try:
            data.decode()
        except UnicodeDecodeError as exc:
            raise BadEncoding(f'not UTF-8: {exc.reason}') from exc

    def _wide_text(self, field_type: FieldType) -> None:
        count = self._count()
        units = struct.unpack(f'{self.endian}{count}I', self._take(1, 4 * count))
        if any(unit > 0xffff for unit in units):
            raise MalformedCdr('a wstring unit above 0xffff')
        if not self.strict:
            return
        if field_type.string_bound is not None and count > field_type.string_bound:
            raise WrongLength(f'{count} UTF-16 units, at most '
                              f'{field_type.string_bound} are allowed')
        try:
            struct.pack(f'<{count}H', *units).decode('utf-16-le')
        except UnicodeDecodeError as exc:
            raise BadEncoding(f'not UTF-16: {exc.reason}') from exc


def _wrong_bools(data: bytes) -> Iterator[int]:
    return (index for index, byte in enumerate(data) if byte > 1)
