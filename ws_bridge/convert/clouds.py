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
Point clouds with fewer points, for who looks from afar or by a thin link; from CDR to CDR.

Of a ``sensor_msgs/PointCloud2`` in any layout, x, y and z of some points are taken. Only these
points are read, so the cost follows their number, not the size of the cloud.
"""
from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ws_bridge.convert.reader import Buffer, Reader
from ws_bridge.errors import BadCloud, MalformedCdr

CLOUD = 'sensor_msgs/msg/PointCloud2'
MOST_FIELDS = 100
"""Of a point; a cloud that names more is not read to the end."""
MOST_TEXT = 1000
"""Bytes of the name of a frame or a field: what is made of a cloud is small, whatever it says."""

_AXES = (b'x', b'y', b'z')
_DATATYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
"""As ``sensor_msgs/PointField`` numbers them, and numpy names them."""
_FLOAT32 = 7
_STEP = 12
"""Bytes of a point that is written: three times float32."""
_FIELDS = struct.pack('<I', len(_AXES)) + b''.join(
    struct.pack('<I2s2xIB3xI', 2, name, 4 * place, _FLOAT32, 1)
    for place, name in enumerate(_AXES))
_GOLDEN = (5 ** 0.5 - 1) / 2


class SparseClouds:
    """The clouds of one topic with fewer points: the last one, once for each number of points."""

    def __init__(self) -> None:
        self._cdr = b''
        self._made: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return f'SparseClouds({", ".join(map(str, self._made))})'

    def make(self, cdr: bytes, most: int) -> bytes:
        """Do as :func:`sparse_cloud`, or return what was made of these very bytes before."""
        if cdr is not self._cdr:
            self._cdr, self._made = cdr, {}
        made = self._made.get(most)
        if made is None:
            made = self._made[most] = sparse_cloud(cdr, most)
        return made

    def __len__(self) -> int:
        return len(self._made)

    def forget(self, most: int) -> None:
        """Keep none with this number of points."""
        self._made.pop(most, None)

    def clear(self) -> None:
        """Keep none."""
        self._cdr, self._made = b'', {}


def sparse_cloud(cdr: Buffer, most: int) -> bytes:
    """
    Return a cloud with at most so many points of another one: x, y, z as float32, in one row.

    Stamp and frame stay. Points of which x, y or z is not finite as float32 are left out, so
    there may be fewer points than ``most`` even if the cloud has more.

    :param cdr: of a ``sensor_msgs/PointCloud2``, in either byte order.
    :raises BadCloud: its data do not fit what it says of them, or it has no x, y and z.
    :raises MalformedCdr: it is no such message.
    """
    try:
        return _sparse(Reader(cdr), most)
    except struct.error as exc:
        raise MalformedCdr(f'is no {CLOUD}') from exc


def _sparse(reader: Reader, most: int) -> bytes:
    sec, nanosec = reader.number('i'), reader.number('I')
    frame_id = _name(reader) + b'\0'
    height, width = reader.number('I'), reader.number('I')
    fields = _read_fields(reader)
    order = '>' if reader.number('B') else '<'
    point_step, row_step = reader.number('I'), reader.number('I')
    data = reader.octets()
    if height and width:
        axes = [_axis(fields, name, point_step) for name in _AXES]
        _check_size(height, width, point_step, row_step, len(data))
        points = _take(data, [(offset, order + kind) for offset, kind in axes],
                       (height, width), (row_step, point_step), most)
    else:
        points = b''
    count = len(points) // _STEP
    text = len(frame_id) + -len(frame_id) % 4
    return b''.join((
        struct.pack(f'<4siII{text}sII', b'\0\1\0\0', sec, nanosec, len(frame_id), frame_id, 1,
                    count),
        _FIELDS, struct.pack('<B3xIII', 0, _STEP, len(points), len(points)), points, b'\1'))


def _read_fields(reader: Reader) -> dict[bytes, tuple[int, int]]:
    """Return offset and datatype of each field; of several with one name, of the first."""
    number = reader.number('I')
    if number > MOST_FIELDS:
        raise BadCloud(f'has {number} fields, more than {MOST_FIELDS}')
    fields: dict[bytes, tuple[int, int]] = {}
    for _ in range(number):
        name = _name(reader)
        fields.setdefault(name, (reader.number('I'), reader.number('B')))
        reader.number('I')      # how many numbers it has: the first one counts
    return fields


def _name(reader: Reader) -> bytes:
    name = reader.octets()
    if len(name) > MOST_TEXT:
        raise BadCloud(f'has a name of {len(name)} bytes, more than {MOST_TEXT}')
    return bytes(name).rstrip(b'\0')


def _axis(fields: dict[bytes, tuple[int, int]], name: bytes, point_step: int) -> tuple[int, str]:
    """Return offset and kind of a field that each point must have."""
    if name not in fields:
        raise BadCloud(f'has no field {name.decode()}')
    offset, datatype = fields[name]
    kind = _DATATYPES.get(datatype)
    if kind is None:
        raise BadCloud(f'field {name.decode()} has the unknown datatype {datatype}')
    if offset + int(kind[1]) > point_step:
        raise BadCloud(f'field {name.decode()} ends behind a point of {point_step} bytes')
    return offset, kind


def _check_size(height: int, width: int, point_step: int, row_step: int, size: int) -> None:
    """Refuse a cloud that has not as many bytes as it says."""
    row = width * point_step
    if height > 1 and row_step < row:
        raise BadCloud(f'{width} points of {point_step} bytes do not fit in a row of {row_step}')
    needed = (height - 1) * row_step + row
    if needed > size:
        raise BadCloud(f'needs {needed} bytes of data and has {size}')


def _take(data: memoryview, axes: list[tuple[int, str]], shape: tuple[int, int],
          steps: tuple[int, int], most: int) -> bytes:
    """
    Return x, y, z of at most so many points, one after the other.

    :param axes: where in a point each of them is, and the kind of number.
    :param shape: rows, and points in each; ``steps``: bytes from one to the next.
    """
    (height, width), (row_step, point_step) = shape, steps
    count = height * width
    places = _places(count, most) if count > most else np.arange(count)
    if row_step == width * point_step:
        height, width = 1, count
    rows, columns = np.divmod(places, width) if height > 1 else (0, places)
    points = np.empty((len(places), len(axes)), '<f4')
    with np.errstate(over='ignore', invalid='ignore'):      # those are left out
        for number, (offset, kind) in enumerate(axes):
            numbers: NDArray[Any] = np.ndarray(
                (height, width), kind, data, offset, (row_step, point_step))
            points[:, number] = numbers[rows, columns]
    finite = np.isfinite(points)
    if not finite.all():
        points = points[finite[:, 0] & finite[:, 1] & finite[:, 2]]
    return points.tobytes()


def _places(count: int, most: int) -> NDArray[np.int64]:
    """
    Return which points of a cloud are taken: one of each of so many parts of the same size.

    Where it is in its part differs from part to part, by the golden ratio. A fixed step could meet
    the same ring or column of a scanner again and again.
    """
    part = np.arange(most, dtype=np.float64)
    places: NDArray[np.int64] = ((part + part * _GOLDEN % 1.0) * (count / most)).astype(np.int64)
    return places
