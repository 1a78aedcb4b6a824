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

from collections.abc import Iterator
import random

import pytest
from support.helpers import async_wait_until
from support.transport_support import Bare, BINARY, Dial, MakeServer, masked, PONG, Recorder, TEXT
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol, SERVER

from ws_bridge.transport.framing import PIECE
from ws_bridge.transport.large import (
    Arriving,
    Cutter,
    EMPTY,
    Gathering,
    INVALID_DATA,
    Large,
    largest_message,
    limit_messages,
    MAX_FRAGMENTS,
    MESSAGE_TOO_BIG,
    MUCH,
    Pieces,
)
from ws_bridge.transport.link import Link

CONT = 0
MOST = 1_000_000
SIZES = (0, 1, 2, 4, 8, 125, 126, 65_535, 65_536, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7)


class LargeRecorder(Recorder):
    """Takes large messages as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.large: list[tuple[Large, float]] = []

    def received_large(self, link: Link, message: Large) -> None:
        """Remember a message, and its fence."""
        self.large.append((message, link.fence))


def parser(*, is_server: bool = True, most: int | None = MOST, deflate: bool = False,
           is_cut: bool = True) -> tuple[Protocol, Cutter | None]:
    """Return a parser of frames."""
    protocol = Protocol(SERVER if is_server else CLIENT, state=OPEN, max_size=most)
    if deflate:
        protocol.extensions = [PerMessageDeflate(True, True, 15, 15)]
    return protocol, Cutter(protocol) if is_cut else None


def wire(frames: list[Frame], *, mask: bool = True, deflate: bool = False) -> bytes:
    """Return frames as they are sent."""
    extensions = [PerMessageDeflate(True, True, 15, 15)] if deflate else []
    return b''.join(frame.serialize(mask=mask, extensions=extensions) for frame in frames)


def parse(protocol: Protocol, data: bytes, sizes: Iterator[int]) -> Iterator[Frame]:
    """Yield what a parser makes of a stream that comes in parts of some sizes."""
    while data:
        size = next(sizes)
        protocol.receive_data(data[:size])
        data = data[size:]
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            yield event


def messages(frames: Iterator[Frame]) -> list[tuple[Opcode, bytes]]:
    """Put the fragments of messages together."""
    whole: list[tuple[Opcode, bytes]] = []
    parts: list[Frame] = []
    for frame in frames:
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            whole.append((frame.opcode, bytes(frame.data)))
            continue
        assert (frame.opcode is Opcode.CONT) == bool(parts)
        parts.append(frame)
        if frame.fin:
            whole.append((parts[0].opcode, b''.join(bytes(part.data) for part in parts)))
            parts = []
    assert not parts
    return whole


@pytest.mark.parametrize(('is_server', 'deflate'), [(True, False), (False, False), (True, True)])
def test_a_large_frame_is_read_in_pieces(is_server: bool, deflate: bool) -> None:
    """However the stream is cut: the same messages, and no large piece of one at a time."""
    choose = random.Random(7)
    sent = []
    for number in range(26):
        opcode = (Opcode.TEXT, Opcode.BINARY)[number % 2]
        size = choose.choice(SIZES)
        sent.append(Frame(opcode, choose.randbytes(size) if deflate else bytes(size)))
        if choose.random() < 0.3:
            sent.append(Frame(choose.choice((Opcode.PING, Opcode.PONG)), choose.randbytes(8)))
        if choose.random() < 0.2:       # a peer that fragments by itself
            sent += [Frame(opcode, b'a' * 3, False), Frame(Opcode.CONT, bytes(2 * PIECE), False),
                     Frame(Opcode.PING, b'between'), Frame(Opcode.CONT, bytes(PIECE + 1))]
    data = wire(sent, mask=is_server, deflate=deflate)
    protocol, cutter = parser(is_server=is_server, deflate=deflate)
    largest = 0
    read: list[Frame] = []
    parts = iter(lambda: choose.choice((7, 14, 4096, 262_144)) * 16, None)
    for frame in parse(protocol, data, parts):
        largest = max(largest, len(frame.data), len(protocol.reader.buffer))
        read.append(frame)
    assert messages(iter(read)) == messages(iter(sent))
    assert largest <= PIECE * 2 + 64     # deflated, what cannot be is a little larger
    assert cutter is not None
    assert repr(cutter) == '<Cutter, 0 bytes left>'


def test_a_head_that_comes_byte_by_byte() -> None:
    protocol, _ = parser()
    data = wire([Frame(Opcode.TEXT, b'x' * (PIECE + 5))])
    frames = list(parse(protocol, data, iter([1] * 30 + [len(data)])))
    assert [len(frame.data) for frame in frames] == [PIECE, 5]
    assert [frame.fin for frame in frames] == [False, True]


@pytest.mark.parametrize('data', [
    wire([Frame(Opcode.TEXT, bytes(MOST + 1))])[:64],
    wire([Frame(Opcode.TEXT, bytes(MOST), False), Frame(Opcode.CONT, bytes(PIECE + 1))]),
    bytes((0x88, 0xFF)) + (PIECE * 2).to_bytes(8, 'big') + bytes(4 + PIECE * 2),
    bytes((0x83, 0xFF)) + (PIECE * 2).to_bytes(8, 'big') + bytes(4 + PIECE * 2),
    bytes((0xF1, 0xFF)) + (PIECE * 2).to_bytes(8, 'big') + bytes(4 + PIECE * 2),
    bytes((0x81, 0x7F)) + (PIECE * 2).to_bytes(8, 'big') + bytes(4 + PIECE * 2)],
    ids=['too large', 'too large together', 'control', 'reserved', 'reserved bits', 'no mask'])
def test_a_wrong_frame_is_refused_as_ever(data: bytes) -> None:
    codes = []
    for is_cut in (True, False):
        protocol, _ = parser(is_cut=is_cut)
        protocol.receive_data(data)
        assert protocol.close_sent is not None
        codes.append(protocol.close_sent.code)
    assert codes[0] == codes[1] in (1002, 1009)


def test_what_is_too_large_is_refused_by_its_head() -> None:
    reasons = []
    for is_cut in (True, False):
        protocol, _ = parser(is_cut=is_cut)
        protocol.receive_data(wire([Frame(Opcode.TEXT, bytes(MOST + 1))])[:14])
        assert protocol.close_sent is not None
        reasons.append(protocol.close_sent)
    assert reasons[0] == reasons[1]


def test_a_stream_that_ends_within_a_large_frame() -> None:
    data = wire([Frame(Opcode.TEXT, bytes(3 * PIECE))])
    for size in (1, 2, 5, 13, 14, PIECE, PIECE + 20, len(data) - 1):
        protocol, _ = parser()
        protocol.receive_data(data[:size])
        protocol.receive_eof()
        assert isinstance(protocol.parser_exc, EOFError)


def test_the_limit_of_a_connection() -> None:
    protocol, _ = parser(most=None)
    assert largest_message(protocol) is None
    protocol.receive_data(wire([Frame(Opcode.TEXT, bytes(PIECE + 1))]))
    assert len(protocol.events_received()) == 2
    limit_messages(protocol, 70_000)
    assert largest_message(protocol) == 70_000


def test_fragments_become_a_message() -> None:
    gathering = Gathering(1.5, Frame(Opcode.TEXT, b'ab', False))
    gathering.add(Frame(Opcode.CONT, b'c'))
    assert repr(gathering) == '<Gathering 2 fragments, 3 bytes>'
    assert gathering.message() == (Frame(Opcode.TEXT, b'abc'), None)
    gathering.add(Frame(Opcode.CONT, bytes(PIECE)))
    frame, large = gathering.message()
    assert frame is EMPTY
    assert large is not None
    assert (large.is_text, len(large), repr(large)) == (
        True, PIECE + 3, f'<Large text of {PIECE + 3} bytes>')
    assert large.whole() == 'abc' + '\0' * PIECE


def test_both_edges_of_a_message() -> None:
    pieces = [b'begin' + bytes(100), bytes(100), b'end']
    assert Large(pieces, is_text=True).edge(8) == b'begin' + bytes(3) + bytes(5) + b'end'
    assert Large([b'begin' + bytes(9), b'the end'], is_text=True).edge(5) == b'begine end'


async def test_a_listener_that_takes_pieces(make_server: MakeServer, dial: Dial) -> None:
    """A large text frame is never decoded here, nor put together; a small one is text as ever."""
    server = LargeRecorder()
    peer = await dial((await make_server(listener=server)).port, compression=None)
    text = '\N{DEGREE SIGN}' * PIECE
    await peer.send(text)
    await peer.send(text.encode())
    await peer.send(['\N{DEGREE SIGN}', 'C'])
    await async_wait_until(lambda: server.frames)
    assert server.frames == ['\N{DEGREE SIGN}C']
    assert [(large.is_text, max(map(len, large.pieces))) for large, _ in server.large] == [
        (True, PIECE), (False, PIECE)]
    assert server.large[0][0].whole() == text
    (link,) = server.links
    assert link.bytes_in == 2 * 2 * PIECE + 3
    assert link.messages_in == 3
    await peer.close()


async def test_a_listener_that_does_not(make_server: MakeServer, dial: Dial) -> None:
    server = Recorder()
    peer = await dial((await make_server(listener=server)).port, compression=None)
    for frame in ('x' * (PIECE + 1), bytes(PIECE + 1)):
        await peer.send(frame)
        await async_wait_until(lambda: server.frames)
        assert server.frames.pop() == frame
    await peer.close()


@pytest.mark.parametrize('size', [10, PIECE + 10])
async def test_text_that_is_none(make_server: MakeServer, dial: Dial, size: int) -> None:
    """The same code and words, however large the text is."""
    peer = await dial((await make_server(listener=Recorder())).port, compression=None)
    await peer.send(b'a' * size + b'\xff' + b'b' * size, text=True)
    await peer.wait_closed()
    assert (peer.close_code, peer.close_reason) == (
        INVALID_DATA, f'invalid start byte at position {size}')


async def test_no_message_has_fragments_without_end(make_server: MakeServer, bare: Bare) -> None:
    server = LargeRecorder()
    peer = await bare((await make_server(listener=server)).port)
    await server.link()
    await peer.send(masked(TEXT, b'', is_last=False)
                    + masked(CONT, b'', is_last=False) * (MAX_FRAGMENTS + 10))
    assert await server.end() == (MESSAGE_TOO_BIG, 'too many fragments')


@pytest.mark.parametrize('end', [b'', masked(CONT, b'end')])
async def test_what_all_have_sent_and_nobody_has_read_is_bounded(
        make_server: MakeServer, bare: Bare, end: bytes) -> None:
    """Whether the messages are whole or not; who has most is closed, the others go on."""
    server = LargeRecorder()
    interface = await make_server(listener=server)
    arriving = interface._connections._arriving
    size = 60_000
    arriving._most = 5 * size
    greedy = await bare(interface.port)
    link = await server.link()
    more = masked(CONT, bytes(size), is_last=False)
    begun = masked(BINARY, bytes(size), is_last=False)
    await greedy.send(begun + more * 2 + end)
    await async_wait_until(lambda: arriving.size >= 3 * size)
    others = [await bare(interface.port) for _ in range(3)]
    for peer in others:
        await peer.send(begun)
    await async_wait_until(lambda: not link.is_open)
    assert link._ending == (1008, 'too much of large messages waits to be read')
    greedy.close()
    server.large.clear()
    await async_wait_until(lambda: arriving.size == 3 * size)
    for peer in others:
        await peer.send(masked(CONT, b'end'))
    await async_wait_until(lambda: len(server.frames) == 3)
    await async_wait_until(lambda: arriving.size == 0)
    assert repr(arriving) == '<Arriving 0 bytes>'


def test_of_the_address_with_most_the_largest_message_ends() -> None:
    closed: list[str] = []
    arriving = Arriving(lambda owner: None if owner in closed else owner[0], closed.append, print,
                        most=9)
    held = {owner: Pieces(arriving, owner) for owner in ('a1', 'b1', 'b2', 'b3')}
    for owner, size in (('a1', 4), ('b1', 2), ('b2', 3)):
        held[owner].take(bytes(size))
    assert (arriving.size, closed) == (9, [])
    held['b3'].take(b'1')
    assert closed == ['b2']
    held['a1'].take(b'12')      # what is being closed is not counted, though it is still there
    assert (arriving.size, closed) == (12, ['b2'])
    held['a1'].take(b'3')
    assert closed == ['b2', 'a1']
    del held['b2']
    assert arriving.size == 10


def test_when_nothing_is_left_of_much_it_is_given_back() -> None:
    emptied: list[int] = []
    arriving = Arriving(lambda owner: owner, print, lambda: emptied.append(arriving.size))
    for size, times in ((MUCH - 1, 0), (MUCH, 1), (9, 1)):
        first, second = Pieces(arriving, 'a'), Pieces(arriving, 'b')
        first.take(bytes(size))
        second.take(b'')
        del first
        del second
        assert emptied == [0] * times


async def test_the_fence_of_a_large_frame_is_that_of_its_beginning(
        make_server: MakeServer, bare: Bare) -> None:
    server = LargeRecorder()
    peer = await bare((await make_server(listener=server)).port)
    link = await server.link()
    before = link.websocket.fence
    link.websocket.send_fence()
    pong = masked(PONG, await peer.next_ping())
    # Nor is a pong what is within another frame, and looks like one.
    data = bytes((0x82, 0xFF)) + (2 * PIECE + 14).to_bytes(8, 'big') + bytes(4 + 2 * PIECE) + pong
    await peer.send(data[:14 + PIECE])
    await async_wait_until(lambda: link.websocket._cutter.left == PIECE + 14)
    await peer.send(data[14 + PIECE:14 + 2 * PIECE])
    await async_wait_until(lambda: link.websocket._cutter.left == 14)
    await peer.send(data[-14:])
    await async_wait_until(lambda: server.large)
    assert server.large[0][1] == before
    assert len(server.large[0][0]) == 2 * PIECE + 14
    await peer.send(pong + masked(BINARY, b'small'))
    await async_wait_until(lambda: server.frames)
    assert link.fence > before
