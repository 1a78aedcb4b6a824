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
Write golden.json: CDR as rclpy makes it, of every kind of field, for the tests of the web client.

Run it by hand after a change of the messages below: ``python test/support/make_golden.py``.
"""
from __future__ import annotations

import base64
from collections.abc import Iterator
import json
import math
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import ByteMultiArray, Header
from std_msgs.msg import Empty as StdEmpty
from test_msgs.msg import (
    Arrays,
    BasicTypes,
    BoundedPlainSequences,
    BoundedSequences,
    Builtins,
    Constants,
    Defaults,
    Empty,
    Nested,
    Strings,
    UnboundedSequences,
    WStrings,
)

from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.ros.types import TypeStore

GOLDEN = Path(__file__).parents[1] / 'web' / 'golden' / 'golden.json'


def basic(**values: Any) -> BasicTypes:
    """Return numbers at an end of their ranges, unless told otherwise."""
    return BasicTypes(**{
        'bool_value': True, 'byte_value': b'\xff', 'char_value': 255, 'float32_value': 1.125,
        'float64_value': -2.0 ** -1074, 'int8_value': -128, 'uint8_value': 255,
        'int16_value': -2 ** 15, 'uint16_value': 2 ** 16 - 1, 'int32_value': -2 ** 31,
        'uint32_value': 2 ** 32 - 1, 'int64_value': -2 ** 63, 'uint64_value': 2 ** 64 - 1,
        **values})


def sequences(message: Any, count: int) -> Any:
    """Fill every sequence of a message with ``count`` elements."""
    samples: dict[str, list[Any]] = {
        'bool': [True, False, True], 'byte': [b'\x00', b'\x7f', b'\xff'],
        'char': [0, 127, 255], 'float32': [1.5, -0.0, math.inf],
        'float64': [math.pi, math.nan, -math.inf], 'int8': [-128, 0, 127],
        'uint8': [0, 1, 255], 'int16': [-2 ** 15, 0, 2 ** 15 - 1], 'uint16': [0, 1, 2 ** 16 - 1],
        'int32': [-2 ** 31, 0, 2 ** 31 - 1], 'uint32': [0, 1, 2 ** 32 - 1],
        'int64': [-2 ** 63, -1, 2 ** 63 - 1], 'uint64': [0, 2 ** 53 + 1, 2 ** 64 - 1],
        'string': ['', 'x', 'grün 🤖'], 'basic_types': [basic(), BasicTypes(), basic()]}
    for name, values in samples.items():
        if hasattr(message, f'{name}_values'):
            setattr(message, f'{name}_values', values[:count])
    return message


def messages() -> Iterator[tuple[str, Any]]:
    """Give each case with its name."""
    yield 'numbers', basic()
    yield 'zeros', BasicTypes()
    yield 'not finite', basic(float32_value=math.nan, float64_value=-math.inf)
    yield 'negative zero', basic(float32_value=-0.0, float64_value=-0.0)
    yield 'fixed arrays', sequences(Arrays(), 3)
    yield 'no elements', sequences(UnboundedSequences(), 0)
    yield 'one element', sequences(UnboundedSequences(), 1)
    yield 'three elements', sequences(UnboundedSequences(), 3)
    yield 'bounded sequences', sequences(BoundedSequences(), 2)
    yield 'bounded plain sequences', sequences(BoundedPlainSequences(), 3)
    yield 'texts', Strings(string_value='grün 🤖 \x01', bounded_string_value='x' * 22)
    yield 'wide texts', WStrings(
        wstring_value='grün', array_of_wstrings=['', 'ハロー', 'a'],
        bounded_sequence_of_wstrings=['x', 'ü'], unbounded_sequence_of_wstrings=['', 'yz', '世界'])
    yield 'defaults', Defaults()
    yield 'constants only', Constants()
    yield 'no fields', Empty()
    yield 'no fields either', StdEmpty()
    yield 'nested', Nested(basic_types_value=basic())
    yield 'time', Builtins()
    yield 'bytes', ByteMultiArray(data=[b'\x00', b'\x80', b'\xff'])
    header = Header(frame_id='odd')
    header.stamp.sec = -1
    header.stamp.nanosec = 999_999_999
    yield 'header', header
    yield 'twist', Twist()
    yield 'odometry', Odometry(header=header, child_frame_id='base_link')
    yield 'image', Image(header=header, height=2, width=3, encoding='rgb8', step=9,
                         data=bytes(range(18)))
    yield 'scan', LaserScan(header=header, ranges=[1.0, math.inf, 0.25], intensities=[])


def plain(value: Any) -> Any:
    """Return a value as JSON that loses nothing: wide integers and odd floats as text."""
    if hasattr(value, 'get_fields_and_field_types'):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, bytes) and len(value) == 1:
        return value[0]
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2 ** 53 else {'integer': str(value)}
    if isinstance(value, float):
        odd = not math.isfinite(value) or (value == 0.0 and math.copysign(1.0, value) < 0)
        return {'float': str(value)} if odd else value
    if hasattr(value, 'item'):
        if value.ndim == 0:
            return plain(value.item())
        return [plain(item) for item in value.tolist()]
    return [plain(item) for item in value]


def main() -> None:
    """Write the file."""
    types = TypeStore()
    cases = []
    schemas: dict[str, str] = {}
    for name, message in messages():
        package = type(message).__module__.partition('.')[0]
        full = f'{package}/msg/{type(message).__name__}'
        schemas[full] = schema_to_text(types.message(full))
        cases.append({'name': name, 'type': full, 'values': plain(message),
                      'cdr': base64.b64encode(serialize_message(message)).decode()})
    GOLDEN.write_text(json.dumps({'schemas': schemas, 'cases': cases}, indent=1,
                                 ensure_ascii=False, sort_keys=True) + '\n')


if __name__ == '__main__':
    main()
