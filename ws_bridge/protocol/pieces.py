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
A large frame of the native dialect in pieces, each a binary frame, so that others pass in between.

A WebSocket lets nothing but pings and pongs pass between the fragments of a message. Who says
``pieces`` in its hello gets large frames in pieces of this kind instead; the pieces of one frame
come in their order, and those of several frames may alternate.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
import struct

from ws_bridge.errors import BadFrame, LimitExceeded

OPCODE = 16
"""The first byte of a piece, among the opcodes of binary frames."""
HEADER = struct.Struct('<BBHI')
TEXT, LAST = 1, 2
"""Flags: the frame is text, UTF-8; this is its last piece."""
MAX_PARTIAL = 64
"""Frames of which some pieces are missing."""


def make_piece(number: int, chunks: Iterable[bytes | memoryview], *, text: bool,
               last: bool) -> bytes:
    """
    Return a piece.

    :param number: of the frame; its pieces have the same.
    :param chunks: what it holds of the frame.
    """
    return b''.join((HEADER.pack(OPCODE, text * TEXT | last * LAST, 0, number & 0xFFFFFFFF),
                     *chunks))


def is_piece(frame: bytes | memoryview) -> bool:
    """Whether a binary frame is a piece of another one."""
    return len(frame) >= HEADER.size and frame[0] == OPCODE


@dataclass(slots=True)
class Incomplete:
    """A frame of which some pieces are there."""

    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class Joiner:
    """
    Puts the frames of one connection together.

    :param limit: most bytes of all frames of which pieces are missing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._partial: dict[int, Incomplete] = {}
        self._size = 0

    def __repr__(self) -> str:
        return f'Joiner({len(self._partial)} incomplete, {self._size} bytes)'

    def add(self, piece: bytes) -> str | bytes | None:
        """
        Take a piece; return the frame when it is the last one.

        :raises BadFrame: it is malformed, or its text no UTF-8.
        :raises LimitExceeded: too much is incomplete; this frame is forgotten.
        """
        _, flags, zero, number = HEADER.unpack_from(piece)
        if zero or flags > (TEXT | LAST):
            raise BadFrame('the header of a piece is malformed')
        partial = self._partial.get(number)
        if partial is None:
            if len(self._partial) >= MAX_PARTIAL:
                raise LimitExceeded(f'{MAX_PARTIAL} frames are incomplete already')
            partial = self._partial[number] = Incomplete()
        chunk = piece[HEADER.size:]
        partial.chunks.append(chunk)
        partial.size += len(chunk)
        self._size += len(chunk)
        if self._size > self.limit:
            self._forget(number)
            raise LimitExceeded(f'incomplete frames hold more than {self.limit} bytes')
        if not flags & LAST:
            return None
        whole = b''.join(self._forget(number).chunks)
        if not flags & TEXT:
            return whole
        try:
            return whole.decode()
        except UnicodeDecodeError as exc:
            raise BadFrame(f'the text in pieces is not UTF-8: {exc.reason}') from exc

    def _forget(self, number: int) -> Incomplete:
        partial = self._partial.pop(number)
        self._size -= partial.size
        return partial
