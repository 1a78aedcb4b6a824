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

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.transport_support import Dial, MakeServer, Recorder
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.streams import StreamReader

from ws_bridge.session.queue import Parts
from ws_bridge.transport.fence import Fenced
from ws_bridge.transport.fragments import write_fragments
from ws_bridge.transport.framing import PIECE
from ws_bridge.transport.window import LARGEST, Window

DATA = bytes(range(256)) * 8192     # 2 MiB


class Socket:
    """
    A connection and its transport, which keeps what it is given.

    :ivar waiting: bytes that the peer has not taken.
    :ivar window: of the link, which has room.
    """

    write_parts = Fenced.write_parts

    def __init__(self) -> None:
        self.transport = self
        self.state = State.OPEN
        self.waiting = 0
        self.window = Window(None)
        self.send_parts: Callable[[Sequence[bytes | memoryview]], int] | None = None
        self.on_change: Callable[[], object] = lambda: None
        self.loop = asyncio.get_running_loop()
        self.written: list[Any] = []
        self.is_ended = False
        self.on_drain: Callable[[], object] = lambda: None

    def is_closing(self) -> bool:
        return self.is_ended

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(data)

    async def drain(self) -> None:
        self.on_drain()

    async def take(self, frame: bytes | Parts, *, text: bool = False) -> tuple[bool, list[int]]:
        """Write a frame; return whether all of it was written, and what was noted."""
        socket: Any = self
        sizes: list[int] = []
        return await write_fragments(socket, frame, self.window, text=text,
                                     on_written=sizes.append), sizes

    def frames(self) -> list[WireFrame]:
        """Return what a client reads."""
        reader = StreamReader()
        reader.feed_data(b''.join(self.written))
        reader.feed_eof()
        found = []
        while True:
            parser = WireFrame.parse(reader.read_exact, mask=False, max_size=None)
            try:
                next(parser)
            except StopIteration as end:
                found.append(end.value)
            except EOFError:
                return found


@pytest.mark.parametrize(('frame', 'sizes'), [
    (DATA, [LARGEST] * 4),
    (DATA[:LARGEST + 1], [LARGEST, 1]),
    (Parts(b'head', memoryview(DATA)[:200_000], b'tail' * 50), [200_204]),
    (Parts(b'head', memoryview(DATA), b'tail'), [LARGEST] * 4 + [8]),
    (Parts(b'', memoryview(DATA)[:126], b''), [126]),
    (Parts(b'x' * 125), [125]), (Parts(b'y', b'z' * 65534), [65535]),
    (Parts(b'y', b'z' * 65535), [65536])])
@pytest.mark.parametrize('text', [True, False])
async def test_a_client_reads_one_message(frame: bytes | Parts, sizes: list[int], text: bool
                                          ) -> None:
    socket = Socket()
    assert await socket.take(frame, text=text) == (True, sizes)
    frames = socket.frames()
    assert [each.opcode for each in frames] == [
        Opcode.TEXT if text else Opcode.BINARY, *[Opcode.CONT] * (len(sizes) - 1)]
    assert [each.fin for each in frames] == [False] * (len(sizes) - 1) + [True]
    assert b''.join(each.data for each in frames) == (
        frame.whole() if isinstance(frame, Parts) else frame)


async def test_nothing_is_copied() -> None:
    socket = Socket()
    await socket.take(DATA)
    assert all(piece.obj is DATA for piece in socket.written[1::2])     # each has its head before


async def test_a_fast_peer_is_given_all_of_it() -> None:
    socket = Socket()
    socket.window.at_once = len(DATA) + 4
    assert await socket.take(Parts(b'head', DATA)) == (True, [len(DATA) + 4])


@pytest.mark.parametrize('room', [0, 1, 9, 10, 11, 14, 15, 1000, PIECE, PIECE + 14, None])
async def test_what_the_socket_does_not_take_waits(room: int | None) -> None:
    """Nothing is lost, comes twice or is copied, wherever the socket is full; or it has gone."""
    socket = Socket()
    taken = b''
    changes = 0

    def send_parts(parts: Sequence[bytes | memoryview]) -> int:
        nonlocal taken
        if not room:
            raise BlockingIOError if room is not None else ConnectionResetError
        more = b''.join(parts)[:room]
        taken += more
        return len(more)

    def write(data: bytes | memoryview) -> None:
        socket.written.append(data)
        socket.waiting += len(data)

    def changed() -> None:
        nonlocal changes
        changes += 1
    socket.send_parts, socket.write = send_parts, write     # type: ignore[method-assign]
    socket.on_change = changed
    frame = Parts(b'head', memoryview(DATA)[:PIECE])
    assert await socket.take(frame) == (True, [PIECE + 4])
    assert all(isinstance(each, bytes) or each.obj in (DATA, b'head') or len(each) <= 10
               for each in socket.written)
    socket.written.insert(0, taken)
    assert [each.data for each in socket.frames()] == [frame.whole()]
    assert changes == (len(socket.written) > 1)


async def test_a_peer_that_takes_little_is_given_little() -> None:
    socket = Socket()

    def fill() -> None:
        socket.waiting = 1
    socket.on_drain = fill
    _, sizes = await socket.take(DATA)
    assert sizes == [LARGEST, *[PIECE] * ((len(DATA) - LARGEST) // PIECE)]
    assert b''.join(each.data for each in socket.frames()) == DATA


async def test_over_a_slow_link_it_leaves_bit_by_bit() -> None:
    socket = Socket()
    socket.window.most = 1000
    done, sizes = await socket.take(DATA[:10_500])
    assert (done, sizes) == (True, [1000] * 10 + [500])
    assert b''.join(each.data for each in socket.frames()) == DATA[:10_500]


@pytest.mark.parametrize('how', ['closing', 'cut'])
async def test_it_ends_with_the_connection(how: str) -> None:
    socket = Socket()

    def end() -> None:
        socket.state = State.CLOSING if how == 'closing' else State.OPEN
        socket.is_ended = how == 'cut'
    socket.on_drain = end
    assert await socket.take(DATA) == (False, [LARGEST])


async def test_others_have_their_turns_in_between() -> None:
    socket, turns = Socket(), 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)
    task = asyncio.get_running_loop().create_task(count())
    await socket.take(DATA)
    task.cancel()
    assert turns >= len(DATA) // LARGEST


async def test_over_a_real_connection(make_server: MakeServer, dial: Dial) -> None:
    """With pings of both sides in between; the counters count each byte once."""
    server = Recorder()
    peer = await dial((await make_server(listener=server)).port, max_size=None)
    link = await server.link()
    frames = [DATA, DATA[:PIECE + 1], DATA]
    for frame in frames:
        link.send_stream('k', Parts(frame[:10], frame[10:]), 5, text=False)
        await peer.ping()
        link.websocket.send_fence()
    assert [await peer.recv() for _ in frames] == frames
    await async_wait_until(lambda: link.messages_out == len(frames))
    assert link.bytes_out == sum(map(len, frames))
    assert link.queued_bytes == 0
