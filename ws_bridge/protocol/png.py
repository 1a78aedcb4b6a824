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
Text as a PNG image, the compression that rosbridge v2 calls ``png``.

The bytes are the pixels of an RGB image, row by row, with newlines at its end. Needs Pillow,
which is asked for only here. It is loaded with this module, its plugins too: at the first image
that would hold up every client for a while.
"""
from __future__ import annotations

import base64
import binascii
import io
import math
import struct
import zlib

from ws_bridge.errors import BadFrame, Unavailable

try:
    from PIL import Image
except ImportError:
    HAS_PILLOW = False
else:
    HAS_PILLOW = True
    Image.preinit()

_CHANNELS = 3
_PADDING = b'\n'
_FASTEST = 1
_SIZE = struct.Struct('>II')
_SIZE_AT = 16
_HEAD = 32
"""Characters of base64 that hold the size."""


def require_png() -> None:
    """
    Check that PNG can be had.

    :raises Unavailable: Pillow is not installed.
    """
    if not HAS_PILLOW:
        raise Unavailable('png needs Pillow, which is not installed here '
                          '(python3-pil, or pip install "ws_bridge[png]")')


def to_png(text: bytes) -> bytes:
    """Return text as an image, in base64."""
    pixels = -(-len(text) // _CHANNELS)
    width = max(1, math.isqrt(pixels))
    height = max(1, -(-pixels // width))
    data = text.ljust(width * height * _CHANNELS, _PADDING)
    file = io.BytesIO()
    Image.frombytes('RGB', (width, height), data).save(
        file, 'PNG', compress_level=_FASTEST)
    return base64.b64encode(file.getvalue())


def png_size(encoded: str) -> int:
    """
    Return how many bytes of text an image holds, by its header alone.

    :raises BadFrame: not base64, or no PNG.
    :raises Unavailable: Pillow is not installed.
    """
    require_png()
    try:
        width, height = _SIZE.unpack_from(base64.b64decode(encoded[:_HEAD], validate=True),
                                          _SIZE_AT)
    except (binascii.Error, struct.error, ValueError) as exc:
        raise BadFrame(f'no PNG image in base64: {type(exc).__name__}', field='data') from exc
    return int(width * height * _CHANNELS)


def from_png(encoded: str, limit: int) -> bytes:
    """
    Return the text of an image.

    :param limit: most bytes of text; a larger image is not unpacked.
    :raises BadFrame: not base64, no PNG, or too large.
    :raises Unavailable: Pillow is not installed.
    """
    require_png()
    try:
        data = base64.b64decode(encoded, validate=True)
        width, height = _SIZE.unpack_from(data, _SIZE_AT)
        if width * height * _CHANNELS > limit:
            raise BadFrame(f'the image holds more than {limit} bytes', field='data')
        with Image.open(io.BytesIO(data), formats=('PNG',)) as image:
            return image.convert('RGB').tobytes().rstrip(_PADDING)
    except (binascii.Error, struct.error, zlib.error, OSError, ValueError, SyntaxError,
            EOFError) as exc:
        raise BadFrame(f'no PNG image in base64: {type(exc).__name__}', field='data') from exc
