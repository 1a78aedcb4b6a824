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
"""Pictures as cameras publish them, and what comes of them."""
from __future__ import annotations

import io

from PIL import Image as Pillow
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

WIDTH, HEIGHT = 32, 24


def raw(shade: int = 100, width: int = WIDTH, height: int = HEIGHT, sec: int = 0) -> Image:
    """Return a gray picture, in colours."""
    image = Image(height=height, width=width, encoding='rgb8', step=3 * width,
                  data=bytes([shade]) * (3 * width * height))
    image.header.stamp.sec = sec
    return image


def cdr(shade: int = 100, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return the same as CDR."""
    data: bytes = serialize_message(raw(shade, width, height))
    return data


def jpeg(shade: int = 100, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a picture as JPEG."""
    written = io.BytesIO()
    Pillow.new('RGB', (width, height), (shade, shade, shade)).save(written, 'JPEG')
    return written.getvalue()


def compressed(data: bytes, codec: str = 'jpeg') -> CompressedImage:
    """Return the message of an encoded picture."""
    return CompressedImage(format=codec, data=data)


def seen(data: bytes | memoryview) -> tuple[tuple[int, int], int]:
    """Return size and shade of a picture in JPEG."""
    image = Pillow.open(io.BytesIO(data))
    assert image.format == 'JPEG'
    low, high = image.convert('L').getextrema()
    assert high - low < 8
    return image.size, (low + high) // 2
