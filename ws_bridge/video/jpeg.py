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
"""JPEG by Pillow; in the worker process alone."""
from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from ws_bridge.errors import BadImage
from ws_bridge.video.images import LARGEST, Layout, Picture
from ws_bridge.video.messages import EncodedImage
from ws_bridge.video.recipes import JpegRecipe, QUALITY

_MODES: dict[Layout, tuple[str, str]] = {
    'gray': ('L', 'L'), 'rgb': ('RGB', 'RGB'), 'bgr': ('RGB', 'BGR'), 'rgba': ('RGB', 'RGBX'),
    'bgra': ('RGB', 'BGRX')}
"""How Pillow has a picture, and how it is read."""


def to_jpeg(picture: Picture, recipe: JpegRecipe) -> bytes:
    """Return a picture as JPEG."""
    image = _image(picture)
    size = recipe.size(picture.width, picture.height)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    written = io.BytesIO()
    image.save(written, 'JPEG', quality=recipe.quality or QUALITY)
    return written.getvalue()


def _image(picture: Picture) -> Image.Image:
    """Return a picture as Pillow has it; gaps between rows are skipped."""
    mode, raw = _MODES[picture.layout]
    pixels = picture.pixels
    row = picture.width * (1 if pixels.ndim == 2 else pixels.shape[2])
    step = pixels.strides[0]
    flat = np.lib.stride_tricks.as_strided(pixels, ((picture.height - 1) * step + row,), (1,))
    return Image.frombytes(mode, (picture.width, picture.height), flat.data, 'raw', raw, step,
                           1)


def decode(image: EncodedImage) -> Picture:
    """
    Return the picture that a camera has encoded: JPEG, PNG.

    :raises BadImage: it is none, or too large.
    """
    try:
        opened = Image.open(io.BytesIO(image.data))
        if opened.width * opened.height > LARGEST:
            raise BadImage(f'a picture of {opened.width} x {opened.height} pixels', field='data')
        gray = opened.mode in ('L', 'I;16', 'I', '1')
        if opened.mode.startswith('I'):     # 16 bits: the high byte counts
            return Picture('gray', (np.asarray(opened) >> 8).astype(np.uint8))
        pixels = np.asarray(opened.convert('L' if gray else 'RGB'))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError,
            Image.DecompressionBombError) as exc:
        raise BadImage(f'is no picture in {image.codec[:32]!r}: {exc}', field='data') from exc
    return Picture('gray' if gray else 'rgb', pixels)
