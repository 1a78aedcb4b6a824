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
"""Message types as ``rosapi_msgs/msg/TypeDef`` describes them."""
from __future__ import annotations

from typing import Any

from ws_bridge.convert.schema import default_value, Field, MessageSchema, nested_schemas

SCALAR = -1
"""Stands for the length of a field that is no array; 0 for one of any length."""
_KINDS = {'octet': 'byte'}


def short_name(name: str) -> str:
    """Return ``pkg/Type`` of ``pkg/msg/Type``."""
    parts = name.split('/')
    return f'{parts[0]}/{parts[-1]}'


def typedefs(schema: MessageSchema) -> list[dict[str, Any]]:
    """Return the definition of a type, and of all that it nests."""
    return [_typedef(each) for each in nested_schemas(schema)]


def _typedef(schema: MessageSchema) -> dict[str, Any]:
    return {
        'type': short_name(schema.name),
        'fieldnames': [item.name for item in schema.fields],
        'fieldtypes': [_kind(item) for item in schema.fields],
        'fieldarraylen': [_length(item) for item in schema.fields],
        'examples': [_example(item) for item in schema.fields],
        'constnames': [constant.name for constant in schema.constants],
        'constvalues': [str(constant.value) for constant in schema.constants]}


def _kind(item: Field) -> str:
    field_type = item.field_type
    if field_type.message is not None:
        return short_name(field_type.message.name)
    return _KINDS.get(field_type.kind, field_type.kind)


def _length(item: Field) -> int:
    field_type = item.field_type
    if field_type.array == 'none':
        return SCALAR
    return field_type.array_size or 0 if field_type.array == 'fixed' else 0


def _example(item: Field) -> str:
    if item.field_type.array != 'none':
        return '[]'
    return '{}' if item.field_type.message is not None else str(default_value(item))
