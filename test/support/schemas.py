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
"""Schemas for the tests that need no ROS: written as text, with every kind of field."""
from __future__ import annotations

from typing import Any

from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema_text import schema_from_text

SEPARATOR = '=' * 80 + '\n'
TIME = SEPARATOR + 'MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n'
DURATION = SEPARATOR + 'MSG: builtin_interfaces/Duration\nint32 sec\nuint32 nanosec\n'
HEADER = SEPARATOR + ('MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\n'
                      'string frame_id\n') + TIME
POINT = SEPARATOR + 'MSG: p/Point\nfloat64 x\nfloat64 y\n'


def codec(text: str) -> Codec:
    """Return the codec of the message that ``text`` defines."""
    return Codec(schema_from_text('p/msg/Tested', text))


def field(definition: str) -> Codec:
    """Return the codec of a message with the one field ``v`` of the type ``definition``."""
    return codec(f'{definition} v\n' + (POINT if 'Point' in definition else ''))


def body(definition: str, value: Any) -> bytes:
    """Return the CDR of the one field ``v``, behind the header."""
    return field(definition).from_values({'v': value})[4:]
