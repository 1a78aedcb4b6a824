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
Schemas as ``ros2msg`` text, the form of MCAP, rosbag2 and Foxglove.

The text of the message comes first; each type that it nests follows behind a line of 80 ``=`` and
a line ``MSG: pkg/Type``. ``char`` is written ``uint8``, which it is in CDR, and rclpy does not say
which integer type a constant was declared with.
"""
from __future__ import annotations

import ast
import re
from typing import Any

import orjson

from ws_bridge.convert.schema import (
    Constant,
    Field,
    field_minimum,
    FieldType,
    MessageSchema,
    nested_schemas,
    PRIMITIVES,
    Value,
    zero_value,
)
from ws_bridge.errors import BadEncoding

_SEPARATOR = '=' * 80
_LINE = re.compile(r'([A-Za-z][\w/]*)(<=\d+)?(\[(?:<=)?\d*\])?\s+([A-Za-z]\w*)\s*(=)?\s*(.*)',
                   re.ASCII)
_TEXT_KINDS = ('string', 'wstring')
_KINDS = {'byte': 'octet', 'char': 'uint8'}
_LARGEST_MESSAGE = 16 * 1024 * 1024   # bytes that a message needs at least
_MOST_FIELDS = 10_000                 # of a message and all it nests


def schema_to_text(schema: MessageSchema) -> str:
    """Return the definition of a type, followed by those of the types it nests."""
    parts = [_definition(schema)]
    for nested in list(nested_schemas(schema))[1:]:
        parts.append(f'{_SEPARATOR}\nMSG: {_short_name(nested.name)}\n{_definition(nested)}')
    return '\n'.join(parts)


def _short_name(name: str) -> str:
    return name.replace('/msg/', '/')


def _definition(schema: MessageSchema) -> str:
    lines = [f'{_type_text(FieldType(item.kind))} {item.name}={_literal(item.value)}'
             for item in schema.constants]
    for item in schema.fields:
        default = '' if item.default is None else f' {_literal(item.default)}'
        lines.append(f'{_type_text(item.field_type)} {item.name}{default}')
    return ''.join(f'{line}\n' for line in lines)


def _type_text(field_type: FieldType) -> str:
    if field_type.message is not None:
        text = _short_name(field_type.message.name)
    else:
        text = 'byte' if field_type.kind == 'octet' else field_type.kind
    if field_type.string_bound is not None:
        text += f'<={field_type.string_bound}'
    size = field_type.array_size
    return text + {'none': '', 'unbounded': '[]', 'fixed': f'[{size}]',
                   'bounded': f'[<={size}]'}[field_type.array]


def _literal(value: Value) -> str:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return f'[{", ".join(map(_literal, value))}]'
    return orjson.dumps(value).decode()


def schema_from_text(name: str, text: str) -> MessageSchema:
    """
    Read ``ros2msg`` text.

    :param name: full name of the type that the text defines, such as ``std_msgs/msg/String``.
    :raises BadEncoding: not such a text, or one of absurd size.
    """
    first, *others = re.split(r'^={3,}[ \t]*$', text, flags=re.MULTILINE)
    definitions = {_full_name(name, ''): first}
    for part in others:
        head, _, body = part.lstrip().partition('\n')
        if not head.startswith('MSG:'):
            raise BadEncoding(f'"MSG: pkg/Type" wanted, not {head[:80]!r}')
        definitions[_full_name(head[4:].strip(), '')] = body
    reader = _Reader(definitions)
    return reader.message(_full_name(name, ''))


def _full_name(name: str, package: str) -> str:
    """Return ``pkg/msg/Type`` for the forms that a definition may use."""
    if name == 'Header':
        return 'std_msgs/msg/Header'
    parts = name.split('/')
    if len(parts) == 1:
        return f'{package}/msg/{name}'
    return f'{parts[0]}/msg/{parts[1]}' if len(parts) == 2 else name


class _Reader:
    """Reads definitions, each once, those that it needs first."""

    def __init__(self, definitions: dict[str, str]) -> None:
        self.definitions = definitions
        self.done: dict[str, MessageSchema] = {}
        self.fields: dict[str, int] = {}    # of the type and all it nests
        self.least: dict[str, int] = {}     # bytes of CDR
        self.open: list[str] = []

    def message(self, name: str) -> MessageSchema:
        if name in self.done:
            return self.done[name]
        if name not in self.definitions:
            raise BadEncoding(f'the type {name[:80]!r} is not defined')
        if name in self.open or len(self.open) > 60:
            raise BadEncoding(f'{name[:80]!r} contains itself, or nests too deeply')
        self.open.append(name)
        constants: list[Constant] = []
        fields: list[Field] = []
        self.fields[name], self.least[name] = 1, 0
        for line in self.definitions[name].splitlines():
            content = _without_comment(line).strip()
            if content:
                item = self._line(content, name.split('/')[0])
                if isinstance(item, Constant):
                    constants.append(item)
                else:
                    fields.append(item)
                    self._count(name, item.field_type)
        self.open.pop()
        self.done[name] = MessageSchema(name, tuple(fields), tuple(constants))
        return self.done[name]

    def _count(self, name: str, field_type: FieldType) -> None:
        """Add up sizes here, where shared types are seen once: sums over the tree explode."""
        message = field_type.message
        self.fields[name] += self.fields[message.name] if message else 1
        if field_type.array in ('bounded', 'unbounded') or message is None:
            self.least[name] += field_minimum(field_type)
        else:
            self.least[name] += (self.least[message.name] or 1) * (field_type.array_size or 1)
        if self.fields[name] > _MOST_FIELDS or self.least[name] > _LARGEST_MESSAGE:
            raise BadEncoding(f'{name[:80]!r} is too large')

    def _line(self, line: str, package: str) -> Field | Constant:
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadEncoding(f'neither a field nor a constant: {line[:80]!r}')
        word, bound, array, name, is_constant, value = match.groups()
        field_type = self._field_type(word, bound, array, package)
        try:
            if is_constant:
                return Constant(name, field_type.kind, _value(value, field_type))
            default = _value(value, field_type) if value else None
        except (ValueError, SyntaxError, OverflowError, RecursionError, MemoryError) as exc:
            raise BadEncoding(f'not a value of its type: {line[:80]!r}') from exc
        if default is None or default == zero_value(field_type):
            return Field(name, field_type)
        return Field(name, field_type, default)

    def _field_type(self, word: str, bound: str | None, array: str | None,
                    package: str) -> FieldType:
        kind = _KINDS.get(word, word)
        message = None
        if kind not in PRIMITIVES and kind not in _TEXT_KINDS:
            message, kind = self.message(_full_name(word, package)), 'message'
        string_bound = _size(bound[2:]) if bound else None
        if string_bound is not None and kind not in _TEXT_KINDS:
            raise BadEncoding(f'{word[:80]!r} takes no bound')
        if array is None:
            return FieldType(kind, message, string_bound)
        if array == '[]':
            return FieldType(kind, message, string_bound, 'unbounded')
        size = _size(array[1:-1].removeprefix('<='))
        if size == 0:
            raise BadEncoding('an array of no elements')
        return FieldType(kind, message, string_bound,
                         'bounded' if '<=' in array else 'fixed', size)


def _size(text: str) -> int:
    if not 0 < len(text) < 10:
        raise BadEncoding(f'not a size: {text[:80]!r}')
    return int(text)


def _without_comment(line: str) -> str:
    """Cut at the first ``#`` that is not inside quotes."""
    quote = ''
    skip = False
    for index, character in enumerate(line):
        if skip:
            skip = False
        elif character == '\\':
            skip = True
        elif quote:
            quote = '' if character == quote else quote
        elif character in '"\'':
            quote = character
        elif character == '#':
            return line[:index]
    return line


def _value(text: str, field_type: FieldType) -> Value:
    """Read a default or a constant; raise ``ValueError`` and the like when it is none."""
    if field_type.message is not None:
        raise ValueError('a message has no default of its own')
    if field_type.array != 'none':
        values = _parsed(text)
        if not isinstance(values, list):
            raise ValueError('a list wanted')
        size = field_type.array_size
        if size is not None and (len(values) > size or
                                 (field_type.array == 'fixed' and len(values) < size)):
            raise ValueError('a list of another length')
        return [_scalar(value, field_type.kind) for value in values]
    if field_type.kind in _TEXT_KINDS and text[:1] not in ('"', "'"):
        return text   # constants need no quotes
    if field_type.kind in ('float32', 'float64'):
        return float(text)
    return _scalar(_parsed(text), field_type.kind)


def _scalar(value: Any, kind: str) -> Value:
    wanted: dict[str, tuple[type, ...]] = {
        'bool': (bool, int), 'float32': (int, float), 'float64': (int, float),
        'string': (str,), 'wstring': (str,)}
    if not isinstance(value, wanted.get(kind, (int,))) or \
            (isinstance(value, bool) and kind != 'bool'):
        raise ValueError(f'not a {kind}')
    if kind == 'bool':
        return bool(value)
    return float(value) if kind in ('float32', 'float64') else value   # type: ignore[arg-type]


def _parsed(text: str) -> Any:
    """Read JSON, or what rosidl allows beyond: single quotes, hexadecimal, True."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return ast.literal_eval(text)
