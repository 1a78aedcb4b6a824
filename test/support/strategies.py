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
"""Hypothesis strategies made from message schemas, and a plain walk over message objects."""
from __future__ import annotations

import base64
import importlib
import math
import pkgutil
from typing import Any

from hypothesis import strategies as st

from ws_bridge.convert.schema import FieldType, MessageSchema, PRIMITIVES

PACKAGES = ('test_msgs', 'std_msgs', 'geometry_msgs', 'sensor_msgs', 'nav_msgs',
            'diagnostic_msgs', 'trajectory_msgs', 'visualization_msgs', 'shape_msgs',
            'stereo_msgs', 'actionlib_msgs', 'std_srvs', 'builtin_interfaces')
PARTS = ('Request', 'Response', 'Goal', 'Result', 'Feedback')
MOST_FIELDS = 40   # of a nested message that sequences of it stay short


def interface_names() -> list[str]:
    """Return the full names of all message types, and of the parts of services and actions."""
    names = []
    for package in PACKAGES:
        module = importlib.import_module(package)
        for folder in pkgutil.iter_modules(module.__path__):
            if folder.name not in ('msg', 'srv', 'action'):
                continue
            for name, cls in vars(importlib.import_module(f'{package}.{folder.name}')).items():
                if folder.name == 'msg' and hasattr(cls, 'SLOT_TYPES'):
                    names.append(f'{package}/msg/{name}')
                elif folder.name != 'msg' and isinstance(cls, type):
                    names += [f'{package}/{folder.name}/{name}_{part}'
                              for part in PARTS if hasattr(cls, part)]
    return sorted(names)


def numbers(kind: str) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a primitive kind."""
    if kind == 'bool':
        return st.booleans()
    if kind in ('float32', 'float64'):
        if kind == 'float32':   # rclpy refuses the largest one
            finite = st.floats(-2.0 ** 127, 2.0 ** 127, width=32)
        else:
            finite = st.floats(allow_nan=False, allow_infinity=False)
        return finite | st.sampled_from([math.nan, math.inf, -math.inf])
    primitive = PRIMITIVES[kind]
    return st.integers(primitive.low, primitive.high)


def text(field_type: FieldType) -> st.SearchStrategy[str]:
    """Return a strategy for text that both kinds of string can hold."""
    most = 4 if field_type.string_bound is None else min(4, field_type.string_bound // 4)
    return st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\x00'),
                   max_size=most)


def single(field_type: FieldType) -> st.SearchStrategy[Any]:
    """Return a strategy for one element of a field."""
    if field_type.message is not None:
        return message_values(field_type.message)
    if field_type.kind in PRIMITIVES:
        return numbers(field_type.kind)
    return text(field_type)


def field_values(field_type: FieldType) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a field."""
    if field_type.array == 'none':
        return single(field_type)
    if field_type.array == 'fixed':
        least = most = field_type.array_size or 0
    else:
        large = field_type.message is not None and len(field_type.message.fields) > 9
        least, most = 0, min(field_type.array_size or 3, 1 if large else 3)
    elements = st.lists(single(field_type), min_size=least, max_size=most)
    if field_type.kind == 'uint8':
        return elements.map(lambda values: base64.b64encode(bytes(values)).decode())
    return elements


def message_values(schema: MessageSchema) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for complete values of a message, as ``Codec.to_values`` gives them."""
    names = [item.name for item in schema.fields]
    return st.tuples(*(field_values(item.field_type) for item in schema.fields)).map(
        lambda values: dict(zip(names, values, strict=True)))


def walk(message: Any, schema: MessageSchema) -> dict[str, Any]:
    """Return the fields of a message object of rclpy as ``Codec.to_values`` gives them."""
    values = {}
    for item in schema.fields:
        value = getattr(message, item.name)
        field_type = item.field_type
        if field_type.array == 'none':
            values[item.name] = _walk_one(value, field_type)
        elif field_type.kind == 'uint8':
            values[item.name] = base64.b64encode(bytes(value)).decode()
        else:
            values[item.name] = [_walk_one(element, field_type) for element in value]
    return values


def _walk_one(value: Any, field_type: FieldType) -> Any:
    if field_type.message is not None:
        return walk(value, field_type.message)
    if field_type.kind == 'octet':
        return value[0]
    return value.item() if hasattr(value, 'item') else value
