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
"""A large frame that leaves bit by bit, without a copy: the fragments of one message."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
import struct
from typing import TYPE_CHECKING

from websockets.protocol import State

from ws_bridge.session.queue import Frame, Parts

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

Room = Callable[[], Awaitable[int]]
"""Waits until a link has room, and returns for how many bytes."""
#: What is written at once to a peer that takes everything, bytes, and to one that does not.
LARGEST = 524_288
PIECE = 131_072
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_FINAL = 0x80
_SHORT = struct.Struct('!BBH')
_LONG = struct.Struct('!BBQ')


async def write_fragments(websocket: Connection, frame: Frame, *, text: bool,
                          on_written: Callable[[int], None],
                          room: Room) -> bool:
    """
    Write a frame to a peer as fast as it takes it (RFC 6455 5.4).

    Only where frames are neither masked nor compressed, and nobody else sends messages meanwhile.

    :param on_written: called with the bytes of each fragment.
    :param room: waits until the link has room, and returns for how many bytes; :data:`PIECE` where
        the link is not slow.
    :return: whether all of it was written: not if the connection began to close.
    """
    transport = websocket.transport
    opcode, left = _TEXT if text else _BINARY, len(frame)
    for block in (frame if isinstance(frame, Parts) else Parts(frame)).pieces(LARGEST):
        while block:
            most = await room()
            if websocket.state is not State.OPEN or transport.is_closing():
                return False
            piece = block if most >= PIECE and not transport.get_write_buffer_size() \
                else block[:most]
            size = len(piece)
            block = block[size:]
            left -= size
            # Control frames come between fragments, never between these two.
            transport.write(_head(opcode if left else opcode | _FINAL, size))
            transport.write(piece)
            opcode = _CONTINUATION
            on_written(size)
            await websocket.drain()
            if size >= PIECE:
                await asyncio.sleep(0)      # a peer that takes everything at once is not alone
    return True


def _head(first: int, size: int) -> bytes:
    """Return what is in front of a fragment of so many bytes."""
    if size < 126:
        return bytes((first, size))
    return _SHORT.pack(first, 126, size) if size < 65536 else _LONG.pack(first, 127, size)
