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
All encodings of ``sensor_msgs/Image`` in a few forms; pure.

What an encoder takes as it is stays where it lies: 8-bit gray and colours are views of the
message. Of more bits the high byte counts. YUV is that of cameras (BT.601, 16 to 235), as OpenCV
reads it. Bayer patterns are interpolated between the nearest pixels of a colour. Depth is shown in
colours from red (near) to blue (:data:`FARTHEST` and beyond); where it is not known it is black.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ws_bridge.errors import BadImage
from ws_bridge.video.messages import RawImage

Octets = npt.NDArray[np.uint8]
Layout = Literal['gray', 'rgb', 'bgr', 'rgba', 'bgra']

FARTHEST = 10.0
"""Depth of the last colour, m."""
LARGEST = 1 << 26
"""Pixels of the largest picture."""

_PACKED: dict[str, tuple[Layout, int, int]] = {
    'mono8': ('gray', 1, 1), '8UC1': ('gray', 1, 1), 'mono16': ('gray', 1, 2),
    'rgb8': ('rgb', 3, 1), 'bgr8': ('bgr', 3, 1), '8UC3': ('bgr', 3, 1),
    'rgba8': ('rgba', 4, 1), 'bgra8': ('bgra', 4, 1), '8UC4': ('bgra', 4, 1),
    'rgb16': ('rgb', 3, 2), 'bgr16': ('bgr', 3, 2), '16UC3': ('bgr', 3, 2),
    'rgba16': ('rgba', 4, 2), 'bgra16': ('bgra', 4, 2), '16UC4': ('bgra', 4, 2)}
"""Layout, channels and bytes of a value."""

_COLOURS = ((0, 0, 0), (255, 40, 20), (255, 150, 0), (235, 235, 40), (60, 220, 90),
            (20, 190, 230), (30, 60, 200))
"""Of a depth that is not known; then from near to far."""
_KNOWN = 255
"""Steps of depth; step 0 is none."""

_FRACTION = 5
"""Bits behind the point, in the tables of YUV: sums of three fit into 16 bits."""


class Picture(NamedTuple):
    """
    A picture as encoders take it.

    :param pixels: height, width and, but for ``gray``, channels; there may be gaps between rows,
        and none inside.
    """

    layout: Layout
    pixels: Octets

    @property
    def width(self) -> int:
        """Pixels of a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])


def picture_of(image: RawImage) -> Picture:
    """
    Return an image in a form that encoders take.

    :raises BadImage: its encoding is not known, or it is not what it says.
    """
    if not 0 < image.width * image.height <= LARGEST:
        raise BadImage(f'a picture of {image.width} x {image.height} pixels', field='width')
    packed = _PACKED.get(image.encoding)
    if packed is not None:
        return _packed(image, *packed)
    make = _OTHERS.get(image.encoding)
    if make is None:
        raise BadImage(f'encoding {image.encoding[:32]!r} is not known', field='encoding')
    return Picture('rgb', make(image))


def _lay(image: RawImage, *inner: int, kind: str = 'u1', rows: int = 0) -> npt.NDArray[Any]:
    """
    Return the data as an array, without copying them.

    :param inner: its shape behind the rows.
    :param kind: of the values, as numpy has it.
    :param rows: how many; 0 = as many as the picture has.
    :raises BadImage: there are fewer.
    """
    dtype = np.dtype(('>' if image.is_bigendian else '<') + kind)
    strides = [dtype.itemsize]
    for size in inner[:0:-1]:
        strides.insert(0, strides[0] * size)
    used, rows = strides[0] * inner[0], rows or image.height
    if image.step < used:
        raise BadImage(f'step is {image.step}; a row of {image.width} pixels in '
                       f'{image.encoding} has {used} bytes', field='step')
    if len(image.data) < image.step * rows:
        raise BadImage(f'there are {len(image.data)} bytes; {rows} rows of {image.step} have '
                       f'{image.step * rows}', field='data')
    return np.ndarray((rows, *inner), dtype, image.data, strides=(image.step, *strides))


def _require_even(image: RawImage, *, height: bool = False) -> None:
    if image.width % 2 or (height and image.height % 2):
        raise BadImage(f'{image.width} x {image.height} pixels cannot be {image.encoding}: it '
                       'has colours in pairs', field='width')


def _high(image: RawImage) -> int:
    """Return where the high byte of 16 bits is."""
    return 0 if image.is_bigendian else 1


def _packed(image: RawImage, layout: Layout, channels: int, size: int) -> Picture:
    inner = (image.width,) if channels == 1 else (image.width, channels)
    if size == 1:
        return Picture(layout, _lay(image, *inner))
    values = _lay(image, *inner, 2)
    return Picture(layout, np.ascontiguousarray(values[..., _high(image)]))


# ---- depth

@lru_cache(1)
def _colours() -> Octets:
    """Return the colour of each step of depth."""
    steps = np.linspace(1, _KNOWN, len(_COLOURS) - 1)
    table = np.stack([np.interp(np.arange(_KNOWN + 1), steps, channel)
                      for channel in np.array(_COLOURS[1:]).T], axis=1)
    table[0] = _COLOURS[0]
    return table.round().astype(np.uint8)


def _steps(depth: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the steps of depths, which are in m; 0 where a depth is none."""
    scale = np.float32((_KNOWN - 1) / FARTHEST)
    with np.errstate(invalid='ignore', over='ignore'):
        known = (depth > 0) & (depth < np.inf)
        steps = np.minimum(depth * scale, np.float32(_KNOWN - 1)) + np.float32(1.5)
        return np.where(known, steps, np.float32(0)).astype(np.uint8)


@lru_cache(1)
def _colours_of_millimetres() -> Octets:
    table: Octets = _colours()[_steps(np.arange(1 << 16, dtype=np.float32) / np.float32(1000))]
    return table


def _millimetres(image: RawImage) -> Octets:
    return np.take(_colours_of_millimetres(), _lay(image, image.width, kind='u2'), axis=0)


def _metres(image: RawImage) -> Octets:
    return np.take(_colours(), _steps(_lay(image, image.width, kind='f4').astype(np.float32)),
                   axis=0)


# ---- YUV

class _YuvTables(NamedTuple):
    """What a value of Y, U or V adds to a colour, with :data:`_FRACTION` bits behind the point."""

    y: npt.NDArray[np.int16]
    red_v: npt.NDArray[np.int16]
    green_u: npt.NDArray[np.int16]
    green_v: npt.NDArray[np.int16]
    blue_u: npt.NDArray[np.int16]


@lru_cache(1)
def _yuv_tables() -> _YuvTables:
    def table(factor: float, zero: int, more: float = 0.0) -> npt.NDArray[np.int16]:
        values = (np.arange(256) - zero) * factor + more
        return (values * (1 << _FRACTION)).round().astype(np.int16)
    return _YuvTables(table(255 / 219, 16, 0.5), table(1.596027, 128), table(-0.391762, 128),
                      table(-0.812968, 128), table(2.017232, 128))


def _rgb_of_yuv(y: npt.NDArray[Any], u: npt.NDArray[Any], v: npt.NDArray[Any],
                height: int, width: int) -> Octets:
    """Return a picture; ``u`` and ``v`` have an axis of 1 where pixels share them."""
    tables = _yuv_tables()
    picture = np.empty((*y.shape, 3), np.uint8)
    light = tables.y[y]
    for channel, colour in enumerate((
            tables.red_v[v], tables.green_u[u] + tables.green_v[v], tables.blue_u[u])):
        values = light + colour
        values >>= _FRACTION
        np.maximum(values, 0, out=values)       # np.clip takes three times as long
        np.minimum(values, 255, out=values)
        picture[..., channel] = values
    return picture.reshape(height, width, 3)


def _yuv422(image: RawImage, y_at: int, u_at: int) -> Octets:
    _require_even(image)
    pairs = _lay(image, image.width // 2, 4)
    return _rgb_of_yuv(pairs[..., y_at::2], pairs[..., u_at, None], pairs[..., u_at + 2, None],
                       image.height, image.width)


def _nv(image: RawImage, u_at: int) -> Octets:
    _require_even(image, height=True)
    height, width = image.height, image.width
    rows = _lay(image, width, rows=height + height // 2)
    y = np.ascontiguousarray(rows[:height]).reshape(height // 2, 2, width // 2, 2)
    colours = np.ascontiguousarray(rows[height:]).reshape(height // 2, 1, width // 2, 1, 2)
    return _rgb_of_yuv(y, colours[..., u_at], colours[..., 1 - u_at], height, width)


# ---- Bayer

def _bayer(image: RawImage, order: str, size: int) -> Octets:
    """
    Return the colours of a pattern.

    :param order: the colours of the first two pixels of the first two rows.
    :param size: bytes of a value.
    """
    height, width = image.height, image.width
    if min(height, width) < 2:
        raise BadImage(f'{width} x {height} pixels have no pattern', field='width')
    cells = _lay(image, width) if size == 1 else _lay(image, width, 2)[..., _high(image)]
    # mirrored at the edges, so that the pattern goes on
    wide = np.pad(cells, ((1, 1 + height % 2), (1, 1 + width % 2)), 'reflect').astype(np.uint16)
    rows, columns = (height + 1) // 2, (width + 1) // 2

    def at(row: int, column: int) -> npt.NDArray[Any]:
        return wide[row:row + 2 * rows:2, column:column + 2 * columns:2]

    picture = np.empty((2 * rows, 2 * columns, 3), np.uint8)
    red_row, red_column = divmod(order.index('r'), 2)
    for row in (0, 1):
        for column in (0, 1):
            y, x = row + 1, column + 1
            here = at(y, x)
            beside = at(y, x - 1) + at(y, x + 1)
            above = at(y - 1, x) + at(y + 1, x)
            if (row == red_row) == (column == red_column):
                aslant = at(y - 1, x - 1) + at(y - 1, x + 1) + at(y + 1, x - 1) + at(y + 1, x + 1)
                own, green, other = here, (beside + above + 2) >> 2, (aslant + 2) >> 2
                colours = (own, green, other) if row == red_row else (other, green, own)
            else:
                beside, above = (beside + 1) >> 1, (above + 1) >> 1
                colours = (beside, here, above) if row == red_row else (above, here, beside)
            for channel, values in enumerate(colours):
                picture[row::2, column::2, channel] = values
    return picture[:height, :width]


_OTHERS: dict[str, Callable[[RawImage], Octets]] = {
    '16UC1': _millimetres, '32FC1': _metres,
    'nv12': partial(_nv, u_at=0), 'nv21': partial(_nv, u_at=1),
    **dict.fromkeys(('yuv422', 'uyvy'), partial(_yuv422, y_at=1, u_at=0)),
    **dict.fromkeys(('yuv422_yuy2', 'yuyv'), partial(_yuv422, y_at=0, u_at=1)),
    **{f'bayer_{order}{8 * size}': partial(_bayer, order=order, size=size)
       for order in ('rggb', 'bggr', 'gbrg', 'grbg') for size in (1, 2)}}
"""By encoding: what makes RGB of it."""

ENCODINGS = (*_PACKED, *_OTHERS)
"""All that are known."""
