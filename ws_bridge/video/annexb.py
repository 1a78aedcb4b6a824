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
"""Video as cameras encode it: which codec it is, and which frames stand for themselves; pure."""
from __future__ import annotations

from collections.abc import Iterator

Buffer = bytes | bytearray | memoryview

_START = b'\0\0\1'
_LOOKED_AT = 4096
"""Bytes at the beginning of a frame in which what it is must show."""


def codec_of(said: str) -> str | None:
    """
    Return the codec that a message names: ``h264``, ``h265`` or another, which is ``None``.

    :param said: ``h264``, ``hevc``, ``libx264``, ``h264;yuv420p;bgr8;bgr8`` ...
    """
    name = said.partition(';')[0].lower()
    if '264' in name or name == 'avc':
        return 'h264'
    return 'h265' if '265' in name or 'hevc' in name else None


def is_key(codec: str, data: Buffer) -> bool:
    """
    Tell whether a frame stands for itself: it has the sets of parameters and a whole picture.

    :param codec: ``h264`` or ``h265``.
    :param data: one frame, Annex B.
    """
    for kind in _kinds(codec, bytes(data[:_LOOKED_AT])):
        if codec == 'h264' and kind in (1, 5):
            return kind == 5
        if codec == 'h265' and kind < 32:
            return 16 <= kind <= 23
    return False


def _kinds(codec: str, head: bytes) -> Iterator[int]:
    """Give the kinds of the units of a frame, ITU-T H.264 7.4.1 and H.265 7.4.2.2."""
    at = head.find(_START)
    while 0 <= at < len(head) - len(_START):
        first = head[at + len(_START)]
        yield first & 0x1F if codec == 'h264' else first >> 1 & 0x3F
        at = head.find(_START, at + len(_START))
