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
What a message type looks like: the dataclasses every converter is made from.

Schemas come from rclpy's classes (``ws_bridge.ros.types``) or from text
(:func:`ws_bridge.convert.schema_text.schema_from_text`); this module knows neither.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ws_bridge.errors import WrongLength

Value = Any   # JSON-like: dict, list, str, int, float, bool, None (and what CBOR adds)


@dataclass(frozen=True, slots=True)
class Primitive:
    """
    One fixed-size IDL type.

    :param code: its letter in the ``struct`` module.
    :param size: bytes, which is its alignment too.
    :param low: the smallest integer, or ``None`` for bool and floats.
    :param high: the largest integer.
    """

    kind: str
    code: str
    size: int
    low: int | None = None
    high: int | None = None


def _integer(kind: str, code: str, size: int) -> Primitive:
    bits = 8 * size
    if code.isupper():
        return Primitive(kind, code, size, 0, 2 ** bits - 1)
    return Primitive(kind, code, size, -2 ** (bits - 1), 2 ** (bits - 1) - 1)


PRIMITIVES: Final[dict[str, Primitive]] = {primitive.kind: primitive for primitive in (
    Primitive('bool', '?', 1), Primitive('float32', 'f', 4), Primitive('float64', 'd', 8),
    _integer('octet', 'B', 1), _integer('uint8', 'B', 1), _integer('int8', 'b', 1),
    _integer('uint16', 'H', 2), _integer('int16', 'h', 2),
    _integer('uint32', 'I', 4), _integer('int32', 'i', 4),
    _integer('uint64', 'Q', 8), _integer('int64', 'q', 8),
)}


@dataclass(frozen=True, slots=True)
class FieldType:
    """
    The type of one field.

    :param kind: a key of :data:`PRIMITIVES`, ``string``, ``wstring`` or ``message``.
    :param message: the nested type where ``kind`` is ``message``.
    :param string_bound: longest string, in bytes of UTF-8 (wstring: UTF-16 units).
    :param array: ``none``, ``fixed``, ``bounded`` or ``unbounded``.
    :param array_size: length of a fixed array, bound of a bounded sequence.
    """

    kind: str
    message: MessageSchema | None = None
    string_bound: int | None = None
    array: str = 'none'
    array_size: int | None = None

    @property
    def element(self) -> FieldType:
        """The type of one element of an array."""
        return FieldType(self.kind, self.message, self.string_bound)


@dataclass(frozen=True, slots=True)
class Field:
    """
    One field.

    :param default: JSON-like default value; ``None`` means the zero value.
    """

    name: str
    field_type: FieldType
    default: Value = field(default=None, hash=False)   # may be a list


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant of a message type."""

    name: str
    kind: str
    value: bool | int | float | str


@dataclass(frozen=True, slots=True, repr=False)
class MessageSchema:
    """
    One message type, complete with the types it nests.

    :param name: full name, such as ``geometry_msgs/msg/Twist``.
    """

    name: str
    fields: tuple[Field, ...]
    constants: tuple[Constant, ...] = ()

    def __repr__(self) -> str:
        return f'MessageSchema({self.name}, {len(self.fields)} fields)'


def nested_schemas(schema: MessageSchema) -> Iterator[MessageSchema]:
    """Yield every type that ``schema`` contains, itself first, each name once."""
    seen = {schema.name}
    queue = [schema]
    while queue:
        current = queue.pop(0)
        yield current
        for item in current.fields:
            message = item.field_type.message
            if message is not None and message.name not in seen:
                seen.add(message.name)
                queue.append(message)


def zero_value(field_type: FieldType) -> Value:
    """Return the value of a field that nothing is known of; ``{}`` for a message."""
    if field_type.array == 'fixed':
        return [zero_value(field_type.element)] * (field_type.array_size or 0)
    if field_type.array != 'none':
        return []
    if field_type.kind == 'message':
        return {}
    if field_type.kind in ('string', 'wstring'):
        return ''
    if field_type.kind == 'bool':
        return False
    return 0.0 if field_type.kind in ('float32', 'float64') else 0


def default_value(item: Field) -> Value:
    """Return what a missing field means."""
    return zero_value(item.field_type) if item.default is None else item.default


def by_name(schema: MessageSchema, data: Value) -> Value:
    """
    Return the fields of a message by their names; a tuple has them by their positions.

    :raises WrongLength: there are more values than fields.
    """
    if not isinstance(data, tuple):
        return data
    if len(data) > len(schema.fields):
        raise WrongLength(f'{len(data)} values for the {len(schema.fields)} fields of '
                          f'{schema.name}')
    return {item.name: value for item, value in zip(schema.fields, data, strict=False)}


def minimum_size(schema: MessageSchema) -> int:
    """Return the fewest bytes, without padding, that the message can take; at least 1."""
    return sum(field_minimum(item.field_type) for item in schema.fields) or 1


def field_minimum(field_type: FieldType) -> int:
    """Return the fewest bytes that the field can take."""
    if field_type.array in ('bounded', 'unbounded'):
        return 4
    count = field_type.array_size or 0 if field_type.array == 'fixed' else 1
    if field_type.message is not None:
        return count * minimum_size(field_type.message)
    primitive = PRIMITIVES.get(field_type.kind)
    return count * (primitive.size if primitive else 4)


_TIME = MessageSchema('builtin_interfaces/msg/Time', (
    Field('sec', FieldType('int32')), Field('nanosec', FieldType('uint32'))), ())
VIDEO = MessageSchema('foxglove_msgs/msg/CompressedVideo', (
    Field('timestamp', FieldType('message', _TIME)), Field('frame_id', FieldType('string')),
    Field('data', FieldType('uint8', array='unbounded')), Field('format', FieldType('string'))),
    ())
"""A frame of video: peers are given it, be the type installed or not."""
