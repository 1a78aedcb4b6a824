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
TypeScript declarations of message types, as ``ws_bridge.js`` decodes their CDR.

A type ``pkg/msg/Type`` is the interface ``Type`` in the namespace ``pkg.msg``, the types that it
nests with it. ``Messages`` and ``Services`` find them by their names in ROS.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from ws_bridge.convert.schema import FieldType, MessageSchema, nested_schemas

WideInteger = Literal['bigint', 'number']
"""What 64-bit integers are: the option ``int64`` of the client."""

WIDE_INTEGERS: tuple[WideInteger, ...] = ('bigint', 'number')
_ARRAYS = {
    'octet': 'Uint8Array', 'uint8': 'Uint8Array', 'int8': 'Int8Array', 'uint16': 'Uint16Array',
    'int16': 'Int16Array', 'uint32': 'Uint32Array', 'int32': 'Int32Array',
    'uint64': 'BigUint64Array', 'int64': 'BigInt64Array', 'float32': 'Float32Array',
    'float64': 'Float64Array'}
_WIDE = ('int64', 'uint64')
_OTHERS = {'bool': 'boolean', 'string': 'string', 'wstring': 'string'}
_HEAD = """\
// Made by `ws_bridge types`: what ws_bridge.js decodes, 64-bit integers as {int64}.

/** What may be sent as a T: fields may be missing, and lists of numbers be plain ones. */
export type Sent<T> = T extends bigint ? bigint | number | string
  : T extends ArrayBufferView ? T | ReadonlyArray<number | bigint | string>
  : T extends ReadonlyArray<infer E> ? ReadonlyArray<Sent<E>>
  : T extends object ? {{ [K in keyof T]?: Sent<T[K]> }} : T;
"""


def typescript_of(messages: Iterable[MessageSchema],
                  services: Mapping[str, tuple[MessageSchema, MessageSchema]] | None = None, *,
                  int64: WideInteger = 'bigint') -> str:
    """
    Return the text of a ``.d.ts`` file.

    :param messages: types of messages; what they nest comes along, each type once.
    :param services: request and response by the name of the service's type.
    :param int64: what 64-bit integers are.
    """
    messages, services = tuple(messages), services or {}
    parts = (part for pair in services.values() for part in pair)
    known = {schema.name: schema for top in (*messages, *parts) for schema in nested_schemas(top)}
    spaces: dict[str, list[str]] = {}
    for name in sorted(known):
        space = _path(name).rpartition('.')[0]
        spaces.setdefault(space, []).extend(_interface(known[name], int64))
    lines = [_HEAD.format(int64=int64)]
    for space, body in spaces.items():
        lines += [f'export namespace {space} {{', *body, '}', '']
    lines += ['/** Messages by the names of their types. */', 'export interface Messages {',
              *dict.fromkeys(f"  '{schema.name}': {_path(schema.name)};" for schema in messages),
              '}', '',
              '/** Services by the names of their types. */', 'export interface Services {',
              *(f"  '{name}': {{ request: {_path(request.name)}; "
                f'response: {_path(response.name)} }};'
                for name, (request, response) in services.items()), '}', '']
    return '\n'.join(lines)


def _path(name: str) -> str:
    return name.replace('/', '.')


def _interface(schema: MessageSchema, int64: WideInteger) -> list[str]:
    lines = []
    if schema.constants:
        lines.append('  /**')
        lines += [f'   * {each.name} = {str(each.value).replace("*/", "*")}'
                  for each in schema.constants]
        lines.append('   */')
    short = schema.name.rpartition('/')[2]
    lines.append(f'  interface {short} {{')
    lines += [f'    {item.name}: {_type(item.field_type, int64)};' for item in schema.fields]
    return [*lines, '  }']


def _type(field_type: FieldType, int64: WideInteger) -> str:
    if field_type.message is not None:
        element = _path(field_type.message.name)
    elif field_type.kind in _WIDE:
        element = int64
    else:
        element = _OTHERS.get(field_type.kind, 'number')
    if field_type.array == 'none':
        return element
    array = _ARRAYS.get(field_type.kind)
    if array is None or (field_type.kind in _WIDE and int64 == 'number'):
        return f'{element}[]'
    return array
