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
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from websockets.protocol import State

from ws_bridge.session.queue import Frame, take_first, views
from ws_bridge.transport.framing import head_of, PIECE

if TYPE_CHECKING:
    from ws_bridge.transport.fence import Fenced
    from ws_bridge.transport.window import Window

_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_FINAL = 0x80


async def write_fragments(websocket: Fenced, frame: Frame, window: Window, *, text: bool,
                          on_written: Callable[[int], None]) -> bool:
    """
    Write a frame to a peer as fast as it takes it (RFC 6455 5.4).

    Only where frames are neither masked nor compressed, and nobody else sends messages meanwhile.

    :param window: of the connection.
    :param on_written: called with the bytes of each fragment.
    :return: whether all of it was written: not if the connection began to close.
    """
    transport = websocket.transport
    opcode, left = _TEXT if text else _BINARY, deque(views(frame))
    rest = len(frame)
    while rest:
        most = await window.room(transport, websocket.loop.time)
        if websocket.state is not State.OPEN or transport.is_closing():
            return False
        if most >= PIECE and not transport.get_write_buffer_size():
            most = window.largest
        size = min(most, rest)
        rest -= size
        # Control frames come between fragments, never between these.
        websocket.write_parts([head_of(opcode if rest else opcode | _FINAL, size),
                               *take_first(left, size)])
        opcode = _CONTINUATION
        on_written(size)
        await websocket.drain()
        if size >= PIECE:
            await asyncio.sleep(0)      # a peer that takes everything at once is not alone
    return True
