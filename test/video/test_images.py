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
"""Every encoding against a reference that goes through the pixels one by one."""
from __future__ import annotations

from collections.abc import Callable
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from ws_bridge.errors import BadImage
from ws_bridge.video import images
from ws_bridge.video.images import FARTHEST, picture_of
from ws_bridge.video.messages import RawImage

Pixel = tuple[int, int, int]
PIXEL_SIZES = {
    'mono8': 1, '8UC1': 1, 'mono16': 2, 'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4,
    '8UC4': 4, 'rgb16': 6, 'bgr16': 6, '16UC3': 6, 'rgba16': 8, 'bgra16': 8, '16UC4': 8,
    '16UC1': 2, '32FC1': 4, 'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2, 'nv12': 1,
    'nv21': 1, **{f'bayer_{order}{8 * size}': size
                  for order in ('rggb', 'bggr', 'gbrg', 'grbg') for size in (1, 2)}}
"""Bytes of a pixel in a row."""
IN_PAIRS = ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21')


def test_the_reference_knows_all_of_them() -> None:
    assert sorted(images.ENCODINGS) == sorted(PIXEL_SIZES)


# ---- the reference: one pixel after the other

def clip(value: float) -> int:
    return max(0, min(255, round(value)))


def of_yuv(y: int, u: int, v: int) -> Pixel:
    light = (y - 16) * 255 / 219
    return (clip(light + 1.596027 * (v - 128)),
            clip(light - 0.391762 * (u - 128) - 0.812968 * (v - 128)),
            clip(light + 2.017232 * (u - 128)))


def depth_colour(depth: float) -> Pixel:
    """Return the colour of a depth in m: between two of seven that are known."""
    if not 0 < depth < float('inf'):
        return 0, 0, 0
    place = min(depth / FARTHEST, 1.0) * (len(images._COLOURS) - 2)
    low = min(int(place), len(images._COLOURS) - 3)
    one, two = images._COLOURS[low + 1], images._COLOURS[low + 2]
    red, green, blue = (clip(a + (b - a) * (place - low)) for a, b in zip(one, two, strict=True))
    return red, green, blue


def mirrored(index: int, size: int) -> int:
    index = abs(index)
    return index if index < size else 2 * (size - 1) - index


def of_bayer(image: RawImage, order: str, value: Callable[[int, int], int], row: int,
             column: int) -> Pixel:
    """Return the mean of the nearest neighbours that have a colour, for each colour."""
    pixel = []
    for colour in 'rgb':
        if order[row % 2 * 2 + column % 2] == colour:
            pixel.append(value(row, column))
            continue
        near = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)
                if order[(row + y) % 2 * 2 + (column + x) % 2] == colour]
        nearest = min(abs(y) + abs(x) for y, x in near)
        values = [value(mirrored(row + y, image.height), mirrored(column + x, image.width))
                  for y, x in near if abs(y) + abs(x) == nearest]
        pixel.append(int(sum(values) / len(values) + 0.5))
    return pixel[0], pixel[1], pixel[2]


def reference(image: RawImage, row: int, column: int) -> Pixel:
    """Return red, green and blue of one pixel."""
    data, step, encoding = bytes(image.data), image.step, image.encoding
    order = '>' if image.is_bigendian else '<'
    high = 0 if image.is_bigendian else 1

    def octet(y: int, at: int) -> int:
        return data[y * step + at]

    if encoding == '16UC1':
        return depth_colour(struct.unpack_from(f'{order}H', data, row * step + 2 * column)[0]
                            / 1000)
    if encoding == '32FC1':
        return depth_colour(struct.unpack_from(f'{order}f', data, row * step + 4 * column)[0])
    if encoding in ('nv12', 'nv21'):
        pair = [octet(image.height + row // 2, column // 2 * 2 + each) for each in (0, 1)]
        return of_yuv(octet(row, column), *(pair if encoding == 'nv12' else pair[::-1]))
    if encoding in IN_PAIRS:
        four = [octet(row, column // 2 * 4 + each) for each in range(4)]
        if encoding in ('yuv422', 'uyvy'):
            return of_yuv(four[1 + column % 2 * 2], four[0], four[2])
        return of_yuv(four[column % 2 * 2], four[1], four[3])
    if encoding.startswith('bayer'):
        if encoding.endswith('16'):
            return of_bayer(image, encoding[6:10], lambda y, x: octet(y, 2 * x + high), row,
                            column)
        return of_bayer(image, encoding[6:10], octet, row, column)
    size = PIXEL_SIZES[encoding]
    wide = '16' in encoding
    values = [octet(row, column * size + at)
              for at in range(high if wide else 0, size, 2 if wide else 1)]
    if len(values) == 1:
        return values[0], values[0], values[0]
    red, green, blue = values[:3] if encoding.startswith('rgb') else values[2::-1]
    return red, green, blue


# ---- against it

@st.composite
def raw_images(draw: st.DrawFn, encoding: str) -> RawImage:
    """Return any image of an encoding: of any size, step and order of bytes."""
    step_of_size = 2 if encoding in IN_PAIRS else 1
    least = 2 if encoding.startswith('bayer') else 1
    width = draw(st.integers(least, 6)) * step_of_size
    height = draw(st.integers(least, 5)) * (2 if encoding.startswith('nv') else 1)
    step = width * PIXEL_SIZES[encoding] + draw(st.integers(0, 5))
    rows = height * 3 // 2 if encoding.startswith('nv') else height
    data = draw(st.binary(min_size=step * rows, max_size=step * rows + 3))
    return RawImage(0, height, width, encoding, draw(st.booleans()), step, memoryview(data))


def rgb_of(image: RawImage) -> np.ndarray:
    picture = picture_of(image)
    assert (picture.width, picture.height) == (image.width, image.height)
    pixels = picture.pixels
    if picture.layout == 'gray':
        return np.stack([pixels] * 3, axis=2)
    return pixels[..., 2::-1] if picture.layout.startswith('bgr') else pixels[..., :3]


@pytest.mark.parametrize('encoding', PIXEL_SIZES)
def test_against_the_reference(encoding: str) -> None:
    # Depth has 255 colours, and YUV five bits behind the point.
    tolerance = 3 if encoding in ('16UC1', '32FC1') else 1 if encoding in IN_PAIRS else 0

    @settings(max_examples=12)      # there are many encodings
    @given(raw_images(encoding))
    def check(image: RawImage) -> None:
        wanted = [[reference(image, row, column) for column in range(image.width)]
                  for row in range(image.height)]
        difference = np.abs(rgb_of(image).astype(int) - np.array(wanted))
        assert difference.max() <= tolerance
    check()


@pytest.mark.parametrize('encoding', ['mono8', '8UC1', 'rgb8', 'bgr8', '8UC3', 'rgba8', 'bgra8'])
def test_what_encoders_take_is_not_copied(encoding: str) -> None:
    step = 5 * PIXEL_SIZES[encoding] + 3
    data = bytearray(step * 4)
    picture = picture_of(RawImage(0, 4, 5, encoding, False, step, memoryview(data)))
    data[0] = 200
    assert picture.pixels.flat[0] == 200
    assert picture.pixels.strides[0] == step


@pytest.mark.parametrize('depth', [0.001, 0.5, 3.0, FARTHEST, 2 * FARTHEST, 1e30])
def test_depth_is_shown_as_far_as_it_is(depth: float) -> None:
    data = struct.pack('<f', depth)
    pixel = picture_of(RawImage(0, 1, 1, '32FC1', False, 4, memoryview(data))).pixels[0, 0]
    assert np.abs(pixel.astype(int) - depth_colour(depth)).max() <= 3
    assert pixel.any()


@pytest.mark.parametrize('depth', [0.0, -1.0, float('inf'), float('-inf'), float('nan')])
def test_what_is_no_depth_is_black(depth: float) -> None:
    for order, is_bigendian in (('<', False), ('>', True)):
        data = struct.pack(f'{order}f', depth)
        image = RawImage(0, 1, 1, '32FC1', is_bigendian, 4, memoryview(data))
        assert not picture_of(image).pixels.any()


@pytest.mark.parametrize(('change', 'field'), [
    ({'encoding': 'hsv8'}, 'encoding'), ({'encoding': ''}, 'encoding'),
    ({'data': memoryview(bytes(35))}, 'data'), ({'step': 11}, 'step'), ({'step': 0}, 'step'),
    ({'height': 4}, 'data'), ({'width': 0}, 'width'), ({'height': 0}, 'width'),
    ({'width': 1 << 31, 'height': 1 << 31}, 'width'),
    ({'width': 3, 'encoding': 'yuyv'}, 'width'), ({'encoding': 'nv12'}, 'width'),
    ({'height': 2, 'encoding': 'nv21'}, 'data'),
    ({'width': 1, 'encoding': 'bayer_rggb8'}, 'width'),
    ({'encoding': '32FC1'}, 'step'), ({'encoding': 'mono16', 'width': 7}, 'step')])
def test_what_lies_is_told(change: dict[str, object], field: str) -> None:
    """An image of 4 x 3 pixels in rgb8, with one thing wrong."""
    fields = {'stamp': 0, 'height': 3, 'width': 4, 'encoding': 'rgb8', 'is_bigendian': False,
              'step': 12, 'data': memoryview(bytes(36))}
    assert picture_of(RawImage(**fields)).pixels.shape == (3, 4, 3)  # type: ignore[arg-type]
    if change.get('encoding') == 'nv21':
        fields['data'] = memoryview(bytes(35))
    with pytest.raises(BadImage) as error:
        picture_of(RawImage(**{**fields, **change}))  # type: ignore[arg-type]
    assert error.value.field == field
