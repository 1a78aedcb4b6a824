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

The bytes are the pixels of an RGB image, row by row, with newlines at its end. An image is written
here, but Pillow reads those of others: it is loaded with the first one, so a process of its own
reads them, not the loop.
"""
from __future__ import annotations

import base64
import binascii
from importlib.util import find_spec
import io
import math
import struct
import zlib

from ws_bridge.errors import BadFrame, Unavailable

HAS_PILLOW = find_spec('PIL') is not None

_CHANNELS = 3
_PADDING = b'\n'
_FASTEST = 1
_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_NOT_FILTERED = b'\0'
"""In front of each row of pixels."""
_KIND = 8, 2, 0, 0, 0
"""8 bits each of red, green and blue; deflated, not interlaced."""
_SIZE = struct.Struct('>II')
_SIZE_AT = 16
_HEAD = 32
"""Characters of base64 that hold the size."""


def require_png() -> None:
    """
    Check that images can be read.

    :raises Unavailable: Pillow is not installed.
    """
    if not HAS_PILLOW:
        raise Unavailable('to read png takes Pillow, which is not installed here '
                          '(python3-pil, or pip install "ws_bridge[png]")')


def to_png(text: bytes) -> bytes:
    """Return text as an image, in base64."""
    pixels = -(-len(text) // _CHANNELS)
    width = max(1, math.isqrt(pixels))
    height = max(1, -(-pixels // width))
    row = width * _CHANNELS
    data = text.ljust(height * row, _PADDING)
    rows = b''.join([_NOT_FILTERED + data[at:at + row] for at in range(0, len(data), row)])
    return base64.b64encode(b''.join((
        _SIGNATURE, _chunk(b'IHDR', struct.pack('>II5B', width, height, *_KIND)),
        _chunk(b'IDAT', zlib.compress(rows, _FASTEST)), _chunk(b'IEND', b''))))


def _chunk(name: bytes, data: bytes) -> bytes:
    return b'%b%b%b%b' % (len(data).to_bytes(4, 'big'), name, data,
                          zlib.crc32(data, zlib.crc32(name)).to_bytes(4, 'big'))


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
    from PIL import Image
    try:
        data = base64.b64decode(encoded, validate=True)
        width, height = _SIZE.unpack_from(data, _SIZE_AT)
        require_size(width * height * _CHANNELS, limit)
        with Image.open(io.BytesIO(data), formats=('PNG',)) as image:
            return image.convert('RGB').tobytes().rstrip(_PADDING)
    except (binascii.Error, struct.error, zlib.error, OSError, ValueError, SyntaxError,
            EOFError) as exc:
        raise BadFrame(f'no PNG image in base64: {type(exc).__name__}', field='data') from exc


def require_size(size: int, limit: int) -> None:
    """
    Refuse an image that holds too much.

    :raises BadFrame: more than ``limit`` bytes.
    """
    if size > limit:
        raise BadFrame(f'the image holds more than {limit} bytes', field='data')
