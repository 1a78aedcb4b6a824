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
from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image as Pillow
import pytest

from ws_bridge.errors import BadImage
from ws_bridge.video.images import Layout, picture_of
from ws_bridge.video.jpeg import decode, to_jpeg
from ws_bridge.video.messages import EncodedImage, RawImage
from ws_bridge.video.recipes import JpegRecipe

ENCODINGS = {'rgb8': (3, (0, 1, 2)), 'bgr8': (3, (2, 1, 0)), 'rgba8': (4, (0, 1, 2)),
             'bgra8': (4, (2, 1, 0)), 'mono8': (1, (0, 0, 0))}


@pytest.mark.parametrize('gap', [0, 5])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_each_layout(encoding: str, gap: int) -> None:
    """A picture that is red in its upper half and blue below, whatever lies between its rows."""
    channels, places = ENCODINGS[encoding]
    width, height = 16, 32
    rows = np.full((height, width * channels + gap), 255, np.uint8)
    pixels = rows[:, :width * channels].reshape(height, width, channels)
    pixels[:] = 0
    pixels[:16, :, places[0]] = 250
    pixels[16:, :, places[2]] = 90 if channels == 1 else 250
    picture = picture_of(RawImage(0, height, width, encoding, False, rows.shape[1],
                                  memoryview(rows.tobytes())))
    shown = Pillow.open(io.BytesIO(to_jpeg(picture, JpegRecipe(quality=95))))
    assert shown.size == (width, height)
    upper, lower = (np.asarray(shown.convert('RGB'))[row, 8].astype(int) for row in (4, 28))
    wanted = ((250, 250, 250), (90, 90, 90)) if channels == 1 else ((250, 0, 0), (0, 0, 250))
    assert np.abs(upper - wanted[0]).max() < 12
    assert np.abs(lower - wanted[1]).max() < 12


def noise(width: int, height: int) -> RawImage:
    data = np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)
    return RawImage(0, height, width, 'mono8', False, width, memoryview(data.tobytes()))


@pytest.mark.parametrize(('recipe', 'size'), [
    (JpegRecipe(), (60, 40)), (JpegRecipe(width=30), (30, 20)), (JpegRecipe(height=10), (15, 10)),
    (JpegRecipe(width=10, height=90), (10, 90)), (JpegRecipe(width=1), (1, 1))])
def test_sizes(recipe: JpegRecipe, size: tuple[int, int]) -> None:
    """One side keeps the shape; both are taken as they are."""
    shown = Pillow.open(io.BytesIO(to_jpeg(picture_of(noise(60, 40)), recipe)))
    assert shown.size == size == recipe.size(60, 40)


def test_quality() -> None:
    sizes = [len(to_jpeg(picture_of(noise(64, 64)), JpegRecipe(quality=quality)))
             for quality in (1, 50, 80, 100)]
    assert sizes == sorted(set(sizes))
    assert len(to_jpeg(picture_of(noise(64, 64)), JpegRecipe())) == sizes[2]


@pytest.mark.parametrize(('form', 'mode', 'layout'), [
    ('JPEG', 'RGB', 'rgb'), ('JPEG', 'L', 'gray'), ('PNG', 'RGBA', 'rgb'), ('PNG', 'L', 'gray'),
    ('PNG', 'P', 'rgb'), ('PNG', '1', 'gray'), ('PNG', 'I;16', 'gray')])
def test_what_a_camera_has_encoded(form: str, mode: str, layout: Layout) -> None:
    written = io.BytesIO()
    shade = {'L': 200, 'I;16': 200 << 8, '1': 1, 'P': 7}.get(
        mode, (200, 200, 200, 255)[:len(mode)])
    Pillow.new(mode, (7, 5), shade).save(written, form)
    picture = decode(EncodedImage(0, form, memoryview(written.getvalue())))
    assert (picture.layout, picture.width, picture.height) == (layout, 7, 5)
    if mode not in ('P', '1'):
        assert np.abs(picture.pixels.astype(int) - 200).max() <= 2


@pytest.mark.parametrize('data', [
    b'', b'nonsense', b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n' + bytes(30)])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(BadImage):
        decode(EncodedImage(0, 'jpeg', memoryview(data)))


def test_a_bomb() -> None:
    """Its size is told before anything is unpacked."""
    written = io.BytesIO()
    Pillow.new('1', (1, 1)).save(written, 'PNG')
    data = bytearray(written.getvalue())
    data[16:24] = struct.pack('>II', 9_000, 9_000)
    data[29:33] = struct.pack('>I', zlib.crc32(data[12:29]))
    with pytest.raises(BadImage, match='9000 x 9000 pixels'):
        decode(EncodedImage(0, 'png', memoryview(data)))
