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
A slow, plain converter that the compiled one is held against.

It walks schema and bytes one value at a time: no generated code, no grouping, no numpy. What it
refuses it refuses with ``Bad``. It says nothing about paths.
"""
from __future__ import annotations

import base64
import math
import struct
from typing import Any

from ws_bridge.convert.schema import FieldType, MessageSchema

CODES = {'bool': 'B', 'octet': 'B', 'uint8': 'B', 'int8': 'b', 'uint16': 'H', 'int16': 'h',
         'uint32': 'I', 'int32': 'i', 'uint64': 'Q', 'int64': 'q', 'float32': 'f', 'float64': 'd'}
LARGEST_SEQUENCE = 1_000_000


class Bad(Exception):
    """The input does not fit the type."""


# -- reading ------------------------------------------------------------------------------

class Reader:
    """Reads CDR; ``strict`` is what ``Codec.check`` promises."""

    def __init__(self, cdr: bytes, *, strict: bool) -> None:
        if cdr[:2] not in (b'\x00\x00', b'\x00\x01') or len(cdr) < 4:
            raise Bad
        self.endian = '<' if cdr[1] else '>'
        self.body = cdr[4:]
        if strict and cdr[3] & 3:
            self.body = self.body[:-(cdr[3] & 3)]
        self.strict = strict
        self.position = 0

    def take(self, size: int) -> bytes:
        if self.position + size > len(self.body):
            raise Bad
        self.position += size
        return self.body[self.position - size:self.position]

    def primitive(self, kind: str) -> Any:
        size = struct.calcsize(CODES[kind])
        while self.position % size:
            self.position += 1
        value = struct.unpack(self.endian + CODES[kind], self.take(size))[0]
        if kind == 'bool':
            if self.strict and value > 1:
                raise Bad
            return value != 0
        return value

    def message(self, schema: MessageSchema) -> dict[str, Any]:
        if not schema.fields:
            self.take(1)
        return {item.name: self.field(item.field_type) for item in schema.fields}

    def field(self, field_type: FieldType) -> Any:
        if field_type.array == 'none':
            return self.value(field_type)
        count = field_type.array_size or 0
        if field_type.array != 'fixed':
            count = self.primitive('uint32')
            if count > len(self.body):
                raise Bad
            if self.strict and field_type.array == 'bounded' \
                    and count > (field_type.array_size or 0):
                raise Bad
        values = [self.value(field_type) for _ in range(count)]
        if field_type.kind == 'uint8':
            return base64.b64encode(bytes(values)).decode()
        return values

    def value(self, field_type: FieldType) -> Any:
        if field_type.message is not None:
            return self.message(field_type.message)
        if field_type.kind == 'string':
            return self.text(field_type)
        if field_type.kind == 'wstring':
            return self.wide_text(field_type)
        return self.primitive(field_type.kind)

    def text(self, field_type: FieldType) -> str:
        data = self.take(self.primitive('uint32'))
        if not self.strict:
            return data.removesuffix(b'\x00').decode(errors='replace')
        if not data.endswith(b'\x00') or b'\x00' in data[:-1]:
            raise Bad
        if field_type.string_bound is not None and len(data) - 1 > field_type.string_bound:
            raise Bad
        try:
            return data[:-1].decode()
        except UnicodeDecodeError as exc:
            raise Bad from exc

    def wide_text(self, field_type: FieldType) -> str:
        count = self.primitive('uint32')
        data = self.take(4 * count)
        units = struct.unpack(f'{self.endian}{count}I', data)
        if any(unit > 0xffff for unit in units):
            raise Bad
        if self.strict and field_type.string_bound is not None \
                and count > field_type.string_bound:
            raise Bad
        raw = b''.join(struct.pack('<H', unit) for unit in units)
        try:
            return raw.decode('utf-16-le', 'strict' if self.strict else 'replace')
        except UnicodeDecodeError as exc:
            raise Bad from exc


def decode(schema: MessageSchema, cdr: bytes, *, strict: bool = False) -> dict[str, Any]:
    """Return the values of ``cdr``: ``uint8[]`` as base64 text, NaN as NaN."""
    return Reader(cdr, strict=strict).message(schema)


def jsonable(value: Any) -> Any:
    """Return ``value`` as strict JSON can hold it."""
    if isinstance(value, dict):
        return {key: jsonable(element) for key, element in value.items()}
    if isinstance(value, list):
        return [jsonable(element) for element in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# -- writing ------------------------------------------------------------------------------

class Writer:
    """Writes CDR from complete or incomplete JSON values, without ``now``."""

    def __init__(self, endian: str) -> None:
        self.endian = endian
        self.body = b''

    def primitive(self, kind: str, value: Any) -> None:
        code = CODES[kind]
        while len(self.body) % struct.calcsize(code):
            self.body += b'\x00'
        try:
            self.body += struct.pack(self.endian + code, self.number(kind, value))
        except (struct.error, OverflowError) as exc:
            raise Bad from exc

    def number(self, kind: str, value: Any) -> Any:
        if kind == 'bool':
            if not isinstance(value, bool):
                raise Bad
            return value
        if isinstance(value, bool):
            raise Bad
        if kind in ('float32', 'float64'):
            if value is None:
                return math.nan
            if isinstance(value, (int, float)):
                return float(value)
            raise Bad
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if kind in ('int64', 'uint64') and isinstance(value, str) and \
                value.isascii() and value.removeprefix('-').isdigit() and len(value) < 21:
            return int(value)
        if isinstance(value, int):
            return value
        raise Bad

    def message(self, schema: MessageSchema, values: Any) -> None:
        if not isinstance(values, dict):
            raise Bad
        values = dict(values)
        if schema.name in ('builtin_interfaces/msg/Time', 'builtin_interfaces/msg/Duration'):
            for old, new in (('secs', 'sec'), ('nsecs', 'nanosec')):
                if old in values and new not in values:
                    values[new] = values.pop(old)
        if schema.name == 'std_msgs/msg/Header':
            values.pop('seq', None)
        if not schema.fields:
            self.body += b'\x00'
        for item in schema.fields:
            if item.name in values:
                self.field(item.field_type, values.pop(item.name))
            elif item.default is not None:
                self.field(item.field_type, item.default)
            else:
                self.zero(item.field_type)
        if values:
            raise Bad

    def zero(self, field_type: FieldType) -> None:
        if field_type.array in ('bounded', 'unbounded'):
            self.primitive('uint32', 0)
            return
        for _ in range(field_type.array_size or 1 if field_type.array == 'fixed' else 1):
            if field_type.message is not None:
                self.message(field_type.message, {})
            elif field_type.kind == 'string':
                self.value(field_type, '')
            elif field_type.kind in ('wstring', 'bool'):
                self.value(field_type, '' if field_type.kind == 'wstring' else False)
            else:
                self.primitive(field_type.kind, 0)

    def field(self, field_type: FieldType, value: Any) -> None:
        if field_type.array == 'none':
            self.value(field_type, value)
            return
        if field_type.kind == 'uint8' and isinstance(value, str):
            try:
                value = list(base64.b64decode(value, validate=True))
            except ValueError as exc:
                raise Bad from exc
        if field_type.kind in ('uint8', 'octet') and isinstance(value, bytes):
            value = list(value)
        if not isinstance(value, list):
            raise Bad
        if field_type.array == 'fixed' and len(value) != field_type.array_size:
            raise Bad
        if field_type.array == 'bounded' and len(value) > (field_type.array_size or 0):
            raise Bad
        if field_type.array != 'fixed':
            self.primitive('uint32', len(value))
        for element in value:
            self.value(field_type, element)

    def value(self, field_type: FieldType, value: Any) -> None:
        if field_type.message is not None:
            self.message(field_type.message, value)
        elif field_type.kind == 'string':
            self.text(field_type, value)
        elif field_type.kind == 'wstring':
            self.wide_text(field_type, value)
        else:
            self.primitive(field_type.kind, value)

    def text(self, field_type: FieldType, value: Any) -> None:
        if not isinstance(value, str) or '\x00' in value:
            raise Bad
        try:
            data = value.encode()
        except UnicodeEncodeError as exc:
            raise Bad from exc
        if field_type.string_bound is not None and len(data) > field_type.string_bound:
            raise Bad
        self.primitive('uint32', len(data) + 1)
        self.body += data + b'\x00'

    def wide_text(self, field_type: FieldType, value: Any) -> None:
        if not isinstance(value, str):
            raise Bad
        try:
            data = value.encode('utf-16-le')
        except UnicodeEncodeError as exc:
            raise Bad from exc
        if field_type.string_bound is not None and len(data) // 2 > field_type.string_bound:
            raise Bad
        self.primitive('uint32', len(data) // 2)
        for unit in struct.unpack(f'<{len(data) // 2}H', data):
            self.primitive('uint32', unit)


def encode(schema: MessageSchema, values: Any, endian: str = '<') -> bytes:
    """Return ``values`` as CDR."""
    writer = Writer(endian)
    writer.message(schema, values)
    return (b'\x00\x01' if endian == '<' else b'\x00\x00') + b'\x00\x00' + writer.body
