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
"""Clouds with fewer points, held to a slow reference that reads one number after the other."""
from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
import math
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2, PointField

from ws_bridge.convert.clouds import CLOUD, MOST_FIELDS, sparse_cloud, SparseClouds
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import BadCloud, ConversionError, MalformedCdr
from ws_bridge.ros.types import TypeStore

CODES = {PointField.INT8: 'b', PointField.UINT8: 'B', PointField.INT16: 'h',
         PointField.UINT16: 'H', PointField.INT32: 'i', PointField.UINT32: 'I',
         PointField.FLOAT32: 'f', PointField.FLOAT64: 'd'}
GOLDEN = (5 ** 0.5 - 1) / 2
CODEC = CodecStore().codec(TypeStore().message(CLOUD))
XYZ = (('x', 0, 7), ('y', 4, 7), ('z', 8, 7))


@dataclass(frozen=True)
class Cloud:
    """A cloud as it may come; fields are name, offset and datatype."""

    height: int = 1
    width: int = 2
    fields: tuple[tuple[str, int, int], ...] = XYZ
    point_step: int = 12
    row_step: int = 24
    is_bigendian: bool = False
    data: bytes = field(default_factory=lambda: struct.pack('<6f', 1, 2, 3, 4, 5, 6))
    frame_id: str = 'lidar'
    stamp: tuple[int, int] = (-3, 999_999_999)

    def cdr(self, order: str = '<') -> bytes:
        """Return it as CDR, written by hand."""
        out = bytearray()

        def number(form: str, value: int) -> None:
            size = struct.calcsize(form)
            out.extend(bytes(-len(out) % size) + struct.pack(order + form, value))

        def text(value: str) -> None:
            number('I', len(value.encode()) + 1)
            out.extend(value.encode() + b'\0')
        number('i', self.stamp[0])
        number('I', self.stamp[1])
        text(self.frame_id)
        number('I', self.height)
        number('I', self.width)
        number('I', len(self.fields))
        for name, offset, datatype in self.fields:
            text(name)
            number('I', offset)
            number('B', datatype)
            number('I', 1)
        number('B', self.is_bigendian)
        number('I', self.point_step)
        number('I', self.row_step)
        number('I', len(self.data))
        out.extend(self.data)
        number('B', 0)
        return (b'\0\1\0\0' if order == '<' else b'\0\0\0\0') + bytes(out)

    def sparse(self, most: int) -> PointCloud2:
        """Return what comes of it."""
        message: PointCloud2 = deserialize_message(sparse_cloud(self.cdr(), most), PointCloud2)
        return message


def points_of(message: PointCloud2) -> list[tuple[float, float, float]]:
    """Return the points of a cloud that was written."""
    return list(struct.iter_unpack('<3f', bytes(message.data)))  # type: ignore[arg-type]


def reference(cloud: Cloud, most: int) -> list[bytes] | None:
    """Return x, y, z of each point that is to come of a cloud; ``None`` = it is malformed."""
    count = cloud.height * cloud.width
    if not count:
        return []
    axes = [next(((offset, CODES.get(datatype)) for name, offset, datatype in cloud.fields
                  if name == axis), None) for axis in 'xyz']
    if cloud.height > 1 and cloud.row_step < cloud.width * cloud.point_step:
        return None
    places = range(count) if count <= most else [
        int((part + part * GOLDEN % 1.0) * (count / most)) for part in range(most)]
    order = '>' if cloud.is_bigendian else '<'
    points = []
    end = (cloud.height - 1) * cloud.row_step + cloud.width * cloud.point_step
    if end > len(cloud.data):
        return None
    for place in places:
        row, column = divmod(place, cloud.width)
        begin = row * cloud.row_step + column * cloud.point_step
        point = b''
        for axis in axes:
            if axis is None or axis[1] is None \
                    or axis[0] + struct.calcsize(axis[1]) > cloud.point_step:
                return None
            (value,) = struct.unpack_from(order + axis[1], cloud.data, begin + axis[0])
            with suppress(OverflowError):       # it is infinite as float32
                point += struct.pack('<f', value) if math.isfinite(value) else b''
        if len(point) == 12:
            points.append(point)
    return points


def datatypes() -> st.SearchStrategy[int]:
    """Return a strategy for datatypes: most often one that there is."""
    return st.sampled_from([*CODES, *CODES, 0, 9])


@st.composite
def clouds(draw: st.DrawFn) -> Cloud:
    """Draw a cloud in any layout, now and then a malformed one."""
    height, width = draw(st.integers(0, 4)), draw(st.integers(0, 9))
    point_step = draw(st.integers(0, 30))
    names = draw(st.permutations(['x', 'y', 'z', 'intensity', 'x', 'rgb']))
    fields = tuple((name, draw(st.integers(0, max(point_step - 4, 0))), draw(datatypes()))
                   for name in names[:draw(st.integers(5, 6))])
    if draw(st.booleans()):     # as most sensors have it
        point_step += 12
        fields = (*XYZ, *fields)
    row_step = width * point_step + draw(st.sampled_from([0, 0, 1, 4, 7, -1]))
    row_step = max(row_step, 0)
    size = max(height * row_step + draw(st.sampled_from([0, 0, 3, -1])), 0)
    data = draw(st.binary(min_size=size, max_size=size))
    return Cloud(height, width, fields, point_step, row_step, draw(st.booleans()), data,
                 draw(st.sampled_from(['', 'a', 'abc', 'velodyne', 'ümlaut'])))


@settings(max_examples=max(settings.default.max_examples, 400))
@given(clouds(), st.integers(1, 12), st.sampled_from('<>'))
def test_any_layout(cloud: Cloud, most: int, order: str) -> None:
    """Of the points of the reference, x, y, z; what is malformed is an error, not a guess."""
    wanted = reference(cloud, most)
    if wanted is None:
        with pytest.raises(BadCloud):
            sparse_cloud(cloud.cdr(order), most)
        return
    cdr = sparse_cloud(cloud.cdr(order), most)
    CODEC.check(cdr)
    made = deserialize_message(cdr, PointCloud2)
    assert bytes(made.data) == b''.join(wanted)
    assert len(wanted) <= most
    assert (made.height, made.width, made.point_step, made.row_step) == (
        1, len(wanted), 12, 12 * len(wanted))
    assert [(each.name, each.offset, each.datatype, each.count) for each in made.fields] == [
        (*each, 1) for each in XYZ]
    assert (made.is_bigendian, made.is_dense) == (False, True)
    assert made.header.frame_id == cloud.frame_id
    assert (made.header.stamp.sec, made.header.stamp.nanosec) == cloud.stamp
    assert CODEC.from_values(CODEC.to_values(cdr)) == cdr
    assert sparse_cloud(cdr, most) == cdr       # of what is sparse nothing more is taken


def test_the_clouds_here_are_those_of_ros() -> None:
    """The reference writes what rclpy writes."""
    cloud = Cloud(is_bigendian=True, data=bytes(range(24)))
    message = deserialize_message(cloud.cdr(), PointCloud2)
    assert (message.height, message.width, message.point_step, message.row_step) == (1, 2, 12, 24)
    assert (message.is_bigendian, bytes(message.data)) == (True, bytes(range(24)))
    assert [(each.name, each.offset, each.datatype) for each in message.fields] == list(XYZ)
    assert CODEC.from_values(CODEC.to_values(serialize_message(message))) == cloud.cdr()


@given(st.binary(max_size=120) | st.builds(
    lambda cut, flip, bit: bytes(byte ^ (1 << bit) * (place == flip)
                                 for place, byte in enumerate(Cloud().cdr()[:cut])),
    st.integers(0, 200), st.integers(0, 200), st.integers(0, 7)))
def test_any_bytes(cdr: bytes) -> None:
    """They are a cloud, or an error with a code."""
    try:
        made = sparse_cloud(cdr, 5)
    except ConversionError as exc:
        assert exc.code in ('bad_cloud', 'bad_cdr')
        assert exc.message
    else:
        deserialize_message(made, PointCloud2)


@pytest.mark.parametrize(('change', 'message'), [
    ({'fields': XYZ[:2]}, 'has no field z'),
    ({'fields': ()}, 'has no field x'),
    ({'fields': (XYZ[0], ('y', 4, 9), XYZ[2])}, 'field y has the unknown datatype 9'),
    ({'fields': (*XYZ[:2], ('z', 9, 7))}, 'field z ends behind a point of 12 bytes'),
    ({'fields': (*XYZ[:2], ('z', 2**32 - 1, 7))}, 'field z ends behind a point of 12 bytes'),
    ({'fields': XYZ * 34}, f'has 102 fields, more than {MOST_FIELDS}'),
    ({'frame_id': 'a' * 9_000_000}, 'has a name of 9000001 bytes, more than 1000'),
    ({'fields': (('a' * 1000, 0, 7), *XYZ)}, 'has a name of 1001 bytes, more than 1000'),
    ({'point_step': 0}, 'field x ends behind a point of 0 bytes'),
    ({'data': bytes(23)}, 'needs 24 bytes of data and has 23'),
    ({'data': b''}, 'needs 24 bytes of data and has 0'),
    ({'width': 2**32 - 1, 'height': 2**32 - 1, 'row_step': 2**32 - 1}, 'do not fit in a row of'),
    ({'width': 2**32 - 1}, f'needs {12 * (2**32 - 1)} bytes of data and has 24'),
    ({'height': 2, 'width': 1, 'row_step': 2**32 - 1}, f'needs {2**32 + 11} bytes'),
    ({'height': 2, 'width': 1, 'row_step': 11}, '1 points of 12 bytes do not fit in a row of 11'),
])
def test_what_is_wrong_is_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadCloud, match=message):
        sparse_cloud(replace(Cloud(), **change).cdr(), 5)


def test_cdr_of_something_else() -> None:
    for cdr in (b'', b'\0\1\0\0', Cloud().cdr()[:40], b'\0\7\0\0' + bytes(99)):
        with pytest.raises(MalformedCdr):
            sparse_cloud(cdr, 5)


@pytest.mark.parametrize('change', [
    {'width': 0, 'data': b''}, {'height': 0, 'data': b''}, {'width': 0, 'height': 0},
    {'width': 0, 'fields': (), 'point_step': 0, 'row_step': 0}])
def test_a_cloud_without_points_is_one_without_points(change: dict[str, Any]) -> None:
    """Whatever fields it has: drivers send such before they know any."""
    made = replace(Cloud(), **change).sparse(5)
    assert (made.width, bytes(made.data), made.header.frame_id) == (0, b'', 'lidar')
    assert [each.name for each in made.fields] == ['x', 'y', 'z']


def test_numbers_that_are_none_are_left_out() -> None:
    rows = [(1, 2, 3), (math.nan, 2, 3), (1, math.inf, 3), (1, 2, -math.inf), (4, 5, 6)]
    cloud = Cloud(width=5, data=b''.join(struct.pack('<3f', *row) for row in rows))
    assert points_of(cloud.sparse(9)) == [(1, 2, 3), (4, 5, 6)]
    wide = (('x', 0, 8), ('y', 8, 8), ('z', 16, 8))
    cloud = Cloud(width=2, fields=wide, point_step=24,
                  data=struct.pack('<6d', 1e39, 0, 0, 0.1, -1e38, 2))
    assert points_of(cloud.sparse(9)) == [struct.unpack('<3f', struct.pack('<3f', 0.1, -1e38, 2))]


@pytest.mark.parametrize('rings', [8, 16, 32, 64, 128])
@pytest.mark.parametrize('is_organised', [False, True])
def test_no_ring_of_a_scanner_is_left_out(rings: int, is_organised: bool) -> None:
    """Whether points come ring by ring or in turns, also where a step would meet one alone."""
    columns, most = 1024, 1024
    ring_of = [place // columns if is_organised else place % rings
               for place in range(rings * columns)]
    cloud = Cloud(width=columns, height=rings, row_step=12 * columns, data=b''.join(
        struct.pack('<3f', place, ring, 0) for place, ring in enumerate(ring_of)))
    points = points_of(cloud.sparse(most))
    assert len(points) == most
    places = [x for x, _, _ in points]
    assert places == sorted(set(places))
    for ring in range(rings):
        assert sum(y == ring for _, y, _ in points) >= most // rings // 2, ring
    for part in range(16):      # and evenly, from the first to the last
        assert abs(sum(place // (rings * columns // 16) == part for place in places)
                   - most // 16) <= 1


def test_what_was_made_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all who want as many points of the same sample."""
    made: list[int] = []
    from ws_bridge.convert import clouds as module

    def count(cdr: bytes, most: int) -> bytes:
        made.append(most)
        return sparse_cloud(cdr, most)
    monkeypatch.setattr(module, 'sparse_cloud', count)
    sparse, first, second = SparseClouds(), Cloud().cdr(), Cloud(frame_id='b').cdr()
    assert sparse.make(first, 1) is sparse.make(first, 1)
    assert sparse.make(first, 2) == sparse_cloud(first, 2)
    assert sparse.make(second, 1) == sparse_cloud(second, 1)
    assert made == [1, 2, 1]
    sparse.clear()
    sparse.make(second, 1)
    assert made == [1, 2, 1, 1]
