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
What generated encoders call: checks of single values, numbers in a row, text, missing fields.

Everything here raises a :class:`ConversionError` that names the value by its path, or returns
what goes into CDR. ``limit`` bounds the length of the buffer, header included.
"""
from __future__ import annotations

import array
import base64
from collections.abc import Iterator
import math
import re
import struct
from typing import Any

import numpy as np

from ws_bridge.convert.schema import FieldType, Primitive, PRIMITIVES, Value
from ws_bridge.convert.slices import Sliced
from ws_bridge.errors import (
    BadEncoding,
    ConversionError,
    OutOfRange,
    TooLarge,
    UnknownField,
    WrongKind,
    WrongLength,
)

PADDING = tuple(bytes(size) for size in range(8))
_COUNT = struct.Struct('<I').pack
_FLOATS = ('float32', 'float64')
_BASE64_KINDS = ('uint8',)
_BYTE_KINDS = ('uint8', 'octet')
_WIDE = 2**63 - 1
_LONG_TEXT = 65_536
_DIGITS = re.compile(r'-?[0-9]{1,20}')


def wrong_kind(wanted: str, value: Value, path: str) -> WrongKind:
    """Return the error for a value of another kind than ``wanted``."""
    return WrongKind(f'{wanted} wanted, not {_kind_name(value)}', field=path or None)


def _kind_name(value: Value) -> str:
    names = {type(None): 'null', bool: 'a boolean', int: 'an integer', float: 'a number',
             str: 'text', list: 'a list', Sliced: 'a list', dict: 'an object'}
    return names.get(type(value), type(value).__name__)


# -- single numbers -----------------------------------------------------------------------

def to_bool(value: Value, path: str) -> bool:
    """Accept only true and false."""
    if value is True or value is False:
        return value
    raise wrong_kind('a boolean', value, path)


def to_int(value: Value, low: int, high: int, path: str) -> int:
    """
    Accept an integer, or a float without a fraction, in range.

    One of 64 bits may be text, for those whose numbers hold only 53.
    """
    if isinstance(value, str) and high >= _WIDE and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_kind('an integer', value, path)
    if not low <= value <= high:
        raise OutOfRange(f'not in {low}..{high}', field=path or None)
    return value


def to_float64(value: Value, path: str) -> float:
    """Accept any number; null is NaN."""
    if value is None:
        return math.nan
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong_kind('a number', value, path)
    try:
        return float(value)
    except OverflowError as exc:
        raise OutOfRange('too large for float64', field=path or None) from exc


def to_float32(value: Value, path: str) -> float:
    """Accept any number that float32 can hold, rounded; null is NaN."""
    number = to_float64(value, path)
    try:
        struct.pack('<f', number)
    except OverflowError as exc:
        raise OutOfRange('too large for float32', field=path or None) from exc
    return number


def to_number(primitive: Primitive, value: Value, path: str) -> bool | int | float:
    """Check one value of any primitive kind."""
    if primitive.low is not None and primitive.high is not None:
        return to_int(value, primitive.low, primitive.high, path)
    if primitive.kind == 'bool':
        return to_bool(value, path)
    return (to_float32 if primitive.kind == 'float32' else to_float64)(value, path)


# -- numbers in a row ---------------------------------------------------------------------

def pack_numbers(value: Value, kind: str, path: str) -> bytes:
    """
    Turn a list, numpy array, byte string or base64 text into the content of an array.

    :param kind: a key of :data:`PRIMITIVES`.
    """
    primitive = PRIMITIVES[kind]
    if isinstance(value, (list, tuple)):
        return _pack_list(value, primitive, path)
    if isinstance(value, Sliced):
        return b''.join(_pack_slices(value, primitive, path))
    if isinstance(value, (bytes, bytearray, memoryview)) and kind in _BYTE_KINDS:
        return bytes(value)
    if isinstance(value, str) and kind in _BASE64_KINDS:
        try:
            return base64.b64decode(value, validate=True)
        except ValueError as exc:
            raise BadEncoding(f'not base64: {exc}', field=path or None) from exc
    if isinstance(value, array.array):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return _pack_array(value, primitive, path)
    raise wrong_kind('a list', value, path)


def _count_of_long(value: Value, kind: str) -> int | None:
    """Return how many numbers are packed slice by slice; ``None`` = it is packed as a whole."""
    if isinstance(value, Sliced):
        return len(value)
    if isinstance(value, str) and kind in _BASE64_KINDS and len(value) > _LONG_TEXT \
            and len(value) % 4 == 0 and value.find('=', 0, -2) < 0:
        return len(value) // 4 * 3 - value.count('=', -2)
    return None


def _pack_slices(value: Sliced | str, primitive: Primitive, path: str) -> Iterator[bytes]:
    if isinstance(value, str):
        for at in range(0, len(value), _LONG_TEXT):
            yield pack_numbers(value[at:at + _LONG_TEXT], primitive.kind, path)
        return
    begin = 0
    for part in value.slices():
        yield _pack_list(part, primitive, path, begin)
        begin += len(part)


def _pack_list(value: list[Value] | tuple[Value, ...], primitive: Primitive, path: str,
               begin: int = 0) -> bytes:
    kinds = set(map(type, value))
    if primitive.kind in _FLOATS:
        if type(None) in kinds:
            value = [math.nan if element is None else element for element in value]
            kinds.discard(type(None))
        plain = kinds <= {float, int}
    else:
        plain = kinds <= ({bool} if primitive.kind == 'bool' else {int})
    if plain:
        try:
            return struct.pack(f'<{len(value)}{primitive.code}', *value)
        except (struct.error, OverflowError):
            pass   # one of them is out of range: the loop below names it
    checked: list[bool | int | float] = []
    for index, element in enumerate(value, begin):
        try:
            checked.append(to_number(primitive, element, ''))
        except ConversionError as exc:
            exc.inside(f'{path}[{index}]')
            raise
    return struct.pack(f'<{len(value)}{primitive.code}', *checked)


def _pack_array(value: np.ndarray[Any, Any], primitive: Primitive, path: str) -> bytes:
    dtype = np.dtype(f'<{primitive.code}')
    if value.dtype == dtype:
        return value.tobytes()
    if primitive.kind == 'bool' or value.dtype.kind not in 'iuf':
        raise WrongKind(f'an array of {value.dtype} where {primitive.kind} belongs',
                        field=path or None)
    if value.size == 0:
        return b''
    with np.errstate(all='ignore'):
        if primitive.low is None:
            packed = value.astype(dtype)
            _refuse(np.isinf(packed) & ~np.isinf(value), OutOfRange,
                    f'too large for {primitive.kind}', path)
            return packed.tobytes()
        if value.dtype.kind == 'f':
            _refuse(value != np.trunc(value), WrongKind, 'an integer wanted', path)
            _refuse(~np.isfinite(value), WrongKind, 'an integer wanted', path)
            high = float(primitive.high or 0) + 1.0   # exact in float64, unlike 2 ** 63 - 1
            bad = (value < float(primitive.low)) | (value >= high)
        else:
            bad = _outside(value, primitive)
        _refuse(bad, OutOfRange, f'not in {primitive.low}..{primitive.high}', path)
        return value.astype(dtype).tobytes()


def _outside(value: np.ndarray[Any, Any], primitive: Primitive) -> np.ndarray[Any, Any]:
    """Compare without letting numpy promote int64 with uint64 to float64."""
    limits = np.iinfo(value.dtype)
    bad = np.zeros(value.shape, bool)
    if primitive.low is not None and limits.min < primitive.low:
        bad |= value < primitive.low
    if primitive.high is not None and limits.max > primitive.high:
        bad |= value > primitive.high
    return bad


def _refuse(bad: np.ndarray[Any, Any], error: type[ConversionError], message: str,
            path: str) -> None:
    if bad.any():
        raise error(message, field=f'{path}[{int(bad.argmax())}]')


def fixed_numbers(value: Value, kind: str, size: int, path: str) -> bytes:
    """Return the content of an array of exactly ``size`` numbers."""
    packed = pack_numbers(value, kind, path)
    count = len(packed) // PRIMITIVES[kind].size
    if count != size:
        raise WrongLength(f'{count} elements, {size} wanted', field=path or None)
    return packed


def put_numbers(out: bytearray, value: Value, field_type: FieldType, limit: int,
                path: str) -> None:
    """Append a sequence of numbers with its count."""
    kind, size = field_type.kind, PRIMITIVES[field_type.kind].size
    if isinstance(value, str):
        check_room(out, len(value) * 3 // 4 - 2, limit, path)
    elif isinstance(value, np.ndarray):
        check_room(out, value.size * size, limit, path)
    elif isinstance(value, (list, tuple, bytes, bytearray, memoryview)):
        check_room(out, len(value) * size, limit, path)
    count = _count_of_long(value, kind)
    if count is not None:
        check_room(out, count * size, limit, path)
        _begin_numbers(out, count, size)
        for part in _pack_slices(value, PRIMITIVES[kind], path):
            out += part
        _check_bound(count, field_type, path)
        return
    packed = pack_numbers(value, kind, path)
    count = len(packed) // size
    _check_bound(count, field_type, path)
    _begin_numbers(out, count, size)
    out += packed


def _begin_numbers(out: bytearray, count: int, size: int) -> None:
    out += PADDING[-len(out) & 3] + _COUNT(count)
    if size == 8 and count:
        out += PADDING[(4 - len(out)) & 7]


# -- text ---------------------------------------------------------------------------------

def put_text(out: bytearray, value: Value, bound: int | None, limit: int, path: str) -> None:
    """Append a string: the count of its UTF-8 bytes and NUL, the bytes, the NUL."""
    if value.__class__ is not str:
        raise wrong_kind('text', value, path)
    if len(value) > _LONG_TEXT:
        _put_long_text(out, value, bound, limit, path)
        return
    try:
        raw = value.encode()
    except UnicodeEncodeError as exc:
        raise BadEncoding('a lone surrogate', field=path or None) from exc
    if b'\x00' in raw:
        raise BadEncoding('a NUL inside a string', field=path or None)
    size = len(raw) + 1
    begin = len(out)
    if begin + size + 8 > limit:
        check_room(out, size, limit, path)
    if bound is not None and size > bound + 1:
        raise WrongLength(f'{size - 1} bytes of text, at most {bound} are allowed',
                          field=path or None)
    out += PADDING[-begin & 3] + _COUNT(size) + raw + b'\x00'


def _put_long_text(out: bytearray, value: str, bound: int | None, limit: int, path: str) -> None:
    """Append a string without a second copy of it."""
    check_room(out, len(value), limit, path)
    out += PADDING[-len(out) & 3]
    begin = len(out)
    out += _COUNT(0)
    for at in range(0, len(value), _LONG_TEXT):
        try:
            out += value[at:at + _LONG_TEXT].encode()
        except UnicodeEncodeError as exc:
            raise BadEncoding('a lone surrogate', field=path or None) from exc
        check_room(out, 1, limit, path)
    if '\x00' in value:
        raise BadEncoding('a NUL inside a string', field=path or None)
    out += b'\x00'
    size = len(out) - begin - 4
    if bound is not None and size > bound + 1:
        raise WrongLength(f'{size - 1} bytes of text, at most {bound} are allowed',
                          field=path or None)
    out[begin:begin + 4] = _COUNT(size)


def put_wide_text(out: bytearray, value: Value, bound: int | None, limit: int,
                  path: str) -> None:
    """Append a wstring: the count of its UTF-16 units, each in 4 bytes; a NUL is a unit."""
    if value.__class__ is not str:
        raise wrong_kind('text', value, path)
    check_room(out, 4 * len(value), limit, path)
    try:
        units = np.frombuffer(value.encode('utf-16-le'), '<u2')
    except UnicodeEncodeError as exc:
        raise BadEncoding('a lone surrogate', field=path or None) from exc
    check_room(out, 4 * units.size, limit, path)
    if bound is not None and units.size > bound:
        raise WrongLength(f'{units.size} UTF-16 units, at most {bound} are allowed',
                          field=path or None)
    out += PADDING[-len(out) & 3] + _COUNT(units.size) + units.astype('<u4').tobytes()


# -- messages and lists of them -----------------------------------------------------------

def check_room(out: bytearray, size: int, limit: int, path: str) -> None:
    """Refuse what would not fit, before it is made."""
    if len(out) + size > limit:
        raise TooLarge(f'the message would exceed {limit} bytes', field=path or None)


def _check_bound(count: int, field_type: FieldType, path: str) -> None:
    if field_type.array == 'bounded' and count > (field_type.array_size or 0):
        raise WrongLength(f'{count} elements, at most {field_type.array_size} are allowed',
                          field=path or None)


def put_count(out: bytearray, value: Value, field_type: FieldType, least: int, limit: int,
              path: str) -> None:
    """Begin a sequence or array of strings or messages, each of at least ``least`` bytes."""
    if not isinstance(value, (list, tuple, Sliced)):
        raise wrong_kind('a list', value, path)
    count = len(value)
    if field_type.array == 'fixed':
        if count != field_type.array_size:
            raise WrongLength(f'{count} elements, {field_type.array_size} wanted',
                              field=path or None)
    else:
        _check_bound(count, field_type, path)
        out += PADDING[-len(out) & 3] + _COUNT(count)
    check_room(out, count * least, limit, path)


def fill(value: Value, defaults: dict[str, Value], path: str) -> dict[str, Value]:
    """
    Complete the fields of a message from their defaults.

    :raises UnknownField: the message type has no such field.
    """
    if not isinstance(value, dict):
        raise wrong_kind('an object', value, path)
    for key in value:
        if key not in defaults:
            name = key[:64] if isinstance(key, str) else type(key).__name__
            raise UnknownField('the message type has no such field',
                               field=f'{path}.{name}' if path else name)
    return {**defaults, **value}


def fill_time(value: Value, defaults: dict[str, Value], path: str,
              now: tuple[int, int] | None) -> dict[str, Value]:
    """Complete a Time or Duration, which ROS 1 clients spell ``secs`` and ``nsecs``."""
    if now is not None and value.__class__ is str and value == 'now':
        return {'sec': now[0], 'nanosec': now[1]}
    if isinstance(value, dict):
        names = {'secs': 'sec', 'nsecs': 'nanosec'}
        value = {key if names.get(key, key) in value else names.get(key, key): element
                 for key, element in value.items()}
    return fill(value, defaults, path)


def fill_header(value: Value, defaults: dict[str, Value], path: str) -> dict[str, Value]:
    """Complete a Header; the ``seq`` of ROS 1 clients means nothing here and is left out."""
    if isinstance(value, dict):
        value = {key: element for key, element in value.items() if key != 'seq'}
    return fill(value, defaults, path)
