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
"""CBOR in: turn the bytes of a peer into values that ``from_values`` takes."""
from __future__ import annotations

import decimal
import re
from typing import Any

import cbor2
import numpy as np

from ws_bridge.convert.schema import Value
from ws_bridge.errors import BadEncoding
from ws_bridge.weight import cbor_elements, has_references

_TYPED_ARRAYS = {   # RFC 8746, section 2.1
    64: '>u1', 65: '>u2', 66: '>u4', 67: '>u8', 68: '<u1', 69: '<u2', 70: '<u4', 71: '<u8',
    72: '>i1', 73: '>i2', 74: '>i4', 75: '>i8', 77: '<i2', 78: '<i4', 79: '<i8',
    80: '>f2', 81: '>f4', 82: '>f8', 84: '<f2', 85: '<f4', 86: '<f8'}
_ERRORS = (cbor2.CBORDecodeError, ValueError, TypeError, ArithmeticError, LookupError,
           AttributeError, RecursionError, MemoryError, re.error, decimal.DecimalException)


def cbor_values(data: bytes | bytearray | memoryview) -> Value:
    """
    Decode CBOR; typed arrays become numpy arrays.

    :raises BadEncoding: not CBOR, or with tags that no message needs.
    """
    raw = bytes(data)
    if has_references(raw):
        cbor_elements(raw, len(raw))    # a few bytes may stand for any amount of values
    try:
        return cbor2.loads(raw, tag_hook=_tag)
    except _ERRORS as exc:
        raise BadEncoding(f'not CBOR: {type(exc).__name__}') from exc


def _tag(*arguments: Any) -> Value:
    # cbor2 5 calls with (decoder, tag), cbor2 6 with (tag, immutable)
    tag = next(value for value in arguments if isinstance(value, cbor2.CBORTag))
    dtype = _TYPED_ARRAYS.get(tag.tag)
    if dtype is None or not isinstance(tag.value, bytes):
        raise BadEncoding(f'CBOR tag {tag.tag} is not used in messages')
    return np.frombuffer(tag.value, dtype)
