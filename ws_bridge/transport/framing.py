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
"""Frames as they leave a server that has no extension in force: the same bytes to everybody."""
from __future__ import annotations

from collections.abc import Callable, Hashable
import struct
from typing import Any

from ws_bridge.session.queue import Frame, Outgoing, Split

#: A larger frame leaves in pieces of this size, bytes, as the peer takes them: to write it at once
#: would copy it twice while everybody waits.
PIECE = 131_072
_SHORT = struct.Struct('!BBH')
_LONG = struct.Struct('!BBQ')


def head(size: int, text: bool) -> bytes:
    """Return what is in front of an unmasked frame of so many bytes."""
    return head_of(0x81 if text else 0x82, size)


def head_of(first: int, size: int) -> bytes:
    """
    Return what is in front of an unmasked frame or fragment of so many bytes, RFC 6455 5.2.

    :param first: its first byte: the opcode, and whether it is the last one.
    """
    if size < 126:
        return bytes((first, size))
    return _SHORT.pack(first, 126, size) if size < 65536 else _LONG.pack(first, 127, size)


class StreamFrame:
    """
    A frame of a stream, made once for all who share it.

    :param key: the stream; a busy link keeps the newest ``depth`` frames of it.
    :param split: makes several frames of one.
    :param on_left: called with each link when all of it was written there.
    """

    __slots__ = ('_wire', 'count', 'depth', 'frame', 'key', 'on_left', 'size', 'split', 'text')

    def __init__(self, key: Hashable, frame: Frame, depth: int, *, text: bool = True,
                 split: Split | None = None,
                 on_left: Callable[[Any], None] | None = None) -> None:
        self.key = key
        self.frame = frame
        self.depth = depth
        self.text = text
        self.split = split
        self.on_left = on_left
        self.count = self.size = 0
        self._wire: bytes | None = None

    def __repr__(self) -> str:
        return f'<StreamFrame of {self.key!r}, {len(self.frame)} bytes>'

    def wire(self) -> bytes:
        """
        Return what leaves a server that has no extension in force.

        ``count`` and ``size`` are the frames in it and their bytes from then on.
        """
        if self._wire is None:
            frame = self.frame
            if self.split is None and isinstance(frame, bytes):     # as almost always
                self.count, self.size = 1, len(frame)
                self._wire = head(len(frame), self.text) + frame
                return self._wire
            parts = [part for part in Outgoing(frame, self.text, self.split).frames()
                     if isinstance(part, bytes)]
            self.count, self.size = len(parts), sum(map(len, parts))
            self._wire = b''.join([item for part in parts
                                   for item in (head(len(part), self.text), part)])
        return self._wire
