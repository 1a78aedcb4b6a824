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
"""The fence of a message is that of its arrival, however long it waits to be read."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
import os
import random
import socket
import struct
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.transport_support import (
    Bare,
    BINARY,
    Dial,
    MakeClient,
    MakeServer,
    masked,
    PING,
    PONG,
    Recorder,
    TEXT,
)
from websockets.asyncio.server import serve, ServerConnection

from ws_bridge.transport import fence as fence_module
from ws_bridge.transport.fence import FEW, Keepalive, LINGER, MAX_UNANSWERED, Pace, SOME, UNKNOWN
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import ClientOptions, ServerOptions
from ws_bridge.transport.rounds import Rounds
from ws_bridge.transport.turns import Spot, Turns


class Fences(Recorder):
    """Remembers each message with its fence."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[str | bytes, float]] = []

    def received(self, link: Link, data: str | bytes) -> None:
        """Remember a message."""
        super().received(link, data)
        self.got.append((data, link.fence))


async def test_fifty_old_commands_and_the_pong_in_one_segment(make_server: MakeServer,
                                                              bare: Bare) -> None:
    server = Fences()
    peer = await bare((await make_server(listener=server)).port)
    link = await server.link()
    handshake = link.websocket.fence
    assert handshake > UNKNOWN
    link.websocket.send_fence()
    sent = asyncio.get_running_loop().time()
    pong = masked(PONG, await peer.next_ping())
    await peer.send(masked(TEXT, b'old') * 50 + pong + masked(TEXT, b'new'))
    await async_wait_until(lambda: len(server.got) == 51)
    assert server.got[:50] == [('old', handshake)] * 50
    word, fence = server.got[50]
    assert word == 'new'
    assert handshake < fence <= sent


async def test_under_back_pressure(make_server: MakeServer, bare: Bare) -> None:
    server = Fences()
    peer = await bare((await make_server(listener=server)).port)
    link = await server.link()
    handshake = link.websocket.fence
    link.websocket.send_fence()
    pong = masked(PONG, await peer.next_ping())
    await peer.send(masked(TEXT, b'old') * 20_000 + pong + masked(TEXT, b'new') * 20_000)
    await async_wait_until(lambda: len(server.got) == 40_000)
    assert {fence for word, fence in server.got if word == 'old'} == {handshake}
    (fence,) = {fence for word, fence in server.got if word == 'new'}
    assert fence > handshake
    assert not link.websocket.fences


@pytest.mark.parametrize('compression', [None, 'deflate'])
async def test_a_message_in_fragments_has_the_fence_of_the_first(
        make_server: MakeServer, dial: Dial, compression: str | None) -> None:
    server = Fences()
    port = (await make_server(listener=server, compression=compression is not None)).port
    peer = await dial(port, compression=compression)
    link = await server.link()
    assert len(peer.protocol.extensions) == (compression is not None)
    handshake = link.websocket.fence

    async def parts() -> AsyncIterator[str]:
        yield 'one, '
        await asyncio.sleep(0)
        link.websocket.send_fence()
        await async_wait_until(lambda: link.websocket.fence > handshake)
        yield 'two'
    await peer.send(parts())
    await peer.send('three')
    await async_wait_until(lambda: len(server.got) == 2)
    assert server.got == [('one, two', handshake), ('three', link.websocket.fence)]
    await peer.close()


async def test_what_comes_before_the_handshake_is_answered_is_of_any_age(
        make_server: MakeServer) -> None:
    server = Fences()
    port = (await make_server(listener=server)).port
    _, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n'
                 b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
                 b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' + masked(TEXT, b'early'))
    await async_wait_until(lambda: server.got)
    writer.write(masked(TEXT, b'later'))
    await async_wait_until(lambda: len(server.got) == 2)
    assert server.got[0] == ('early', UNKNOWN)
    assert server.got[1][1] > UNKNOWN
    writer.close()
    await writer.wait_closed()
    await server.end()


async def test_pongs_that_answer_nothing_count_for_nothing(make_server: MakeServer,
                                                           bare: Bare) -> None:
    server = Fences()
    peer = await bare((await make_server(listener=server)).port)
    link = await server.link()
    handshake = link.websocket.fence
    link.websocket.send_fence()
    ping = await peer.next_ping()
    await peer.send(masked(PONG, b'') + masked(PONG, os.urandom(8)) + masked(TEXT, b'a')
                    + masked(PONG, ping) + masked(PONG, ping) + masked(TEXT, b'b'))
    await async_wait_until(lambda: len(server.got) == 2)
    assert server.got[0][1] == handshake < server.got[1][1]


async def test_the_pong_of_the_newest_is_enough_and_none_is_kept_waiting(
        make_server: MakeServer, bare: Bare) -> None:
    """As RFC 6455 5.5.3 allows it; the library's own pings are answered by it too."""
    server = Fences()
    options = ServerOptions(ping_interval=0.05, ping_timeout=0.5)
    peer = await bare((await make_server(listener=server, options=options)).port)
    link = await server.link()
    loop = asyncio.get_running_loop()
    link.pace.keep(0.02)
    end = loop.time() + 1.5
    while loop.time() < end:
        newest = await peer.next_ping()      # one in four is answered, the others never
        for _ in range(3):
            newest = await peer.next_ping()
        await peer.send(masked(PONG, newest))
    assert link.is_open
    await peer.send(masked(TEXT, b'x'))
    await async_wait_until(lambda: server.got)
    assert server.got[0][1] > end - 1.0


async def test_who_answers_nothing_is_not_asked_for_ever(make_server: MakeServer,
                                                         bare: Bare) -> None:
    server = Fences()
    await bare((await make_server(listener=server)).port)
    link = await server.link()
    for _ in range(2 * MAX_UNANSWERED):
        link.websocket.send_fence()
    assert len(link.websocket._pings) == MAX_UNANSWERED


async def test_the_side_that_dialled_has_fences_too(make_client: MakeClient) -> None:
    begun = asyncio.Event()
    connections: list[ServerConnection] = []

    async def handler(connection: ServerConnection) -> None:
        connections.append(connection)
        await connection.send('first')
        await begun.wait()
        await connection.send('second')
        await connection.wait_closed()
    before = asyncio.get_running_loop().time()
    async with serve(handler, '127.0.0.1', 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = Fences()
        await make_client(port, listener=client, options=ClientOptions())
        link = await client.link()
        await async_wait_until(lambda: client.got)
        opened = link.fence
        assert before <= opened
        link.pace.hurry(0.02)
        await async_wait_until(lambda: link.websocket.fence > opened)
        begun.set()
        await async_wait_until(lambda: len(client.got) == 2)
        assert client.got[1][1] > client.got[0][1] == opened
        link.close(1000, '')
        await client.end()


async def test_the_pace_is_slow_fast_and_slow_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LINGER > 1.0
    monkeypatch.setattr('ws_bridge.transport.fence.LINGER', 0.1)
    loop = asyncio.get_running_loop()
    times: list[float] = []
    rounds = Rounds()
    pace = Pace(lambda: times.append(loop.time()), rounds)
    pace.keep(60.0)
    assert (len(times), pace.hurried_at) == (1, None)
    pace.hurry(0.02)                    # at once, for there was none lately
    assert len(times) == 2
    began = pace.hurried_at
    assert began is not None
    assert repr(pace) == f'<Pace 60 s, 0.02 s since {began}>'
    pace.hurry(0.03)
    assert len(times) == 2
    pace.hurry(0.01)                    # a gate that is more impatient
    assert len(times) == 3
    await async_wait_until(lambda: pace.hurried_at is None)
    number = len(times)
    assert number > 3
    pace.hurry(0.05)
    assert len(times) == number + 1
    pace.end()
    pace.end()
    assert not pace.is_kept
    assert repr(rounds) == '<Rounds []>'


async def test_without_a_pace_nobody_is_asked(make_server: MakeServer, bare: Bare) -> None:
    server = Fences()
    peer = await bare((await make_server(listener=server)).port)
    link = await server.link()
    assert not link.websocket._pings
    link.pace.keep(0.01)
    payload = await peer.next_ping()
    assert len(payload) == 8
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    peer.close()
    await server.end()
    assert not link.pace.is_kept


class Held(Turns):
    """A line in which nobody goes on before the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], bool]] = []
        self.urgent: list[bool] = []

    def are_over(self) -> bool:
        return True

    def line_up(self, go: Callable[[], bool], place: Spot, *, is_urgent: bool = False
                ) -> tuple[str, bool]:
        self.waiting.append(go)
        self.urgent.append(is_urgent)
        return place.network, False


async def test_what_waits_to_be_parsed_is_not_lost(make_server: MakeServer, bare: Bare) -> None:
    """While others are read, and when the connection ends meanwhile."""
    server, held = Recorder(), Held()
    port = (await make_server(listener=server)).port
    peers = [await bare(port) for _ in range(3)]
    await async_wait_until(lambda: len(server.links) == 3)
    for link in server.links:
        link.websocket.turns = held
    server.links[2].websocket.is_urgent = lambda data: True
    for peer in peers:
        await peer.send(masked(TEXT, b'1'))
    await async_wait_until(lambda: len(held.waiting) == 2 and server.frames == ['1'])
    for peer in peers:
        await peer.send(masked(TEXT, b'2') + masked(TEXT, b'3'))
    await async_wait_until(lambda: server.frames == ['1', '2', '3'])
    server.links[0].websocket.transport.abort()
    await async_wait_until(lambda: server.frames == ['1', '2', '3'] * 2)

    def go_on() -> bool:
        while held.waiting:
            held.waiting.pop()()
        return len(server.frames) == 9
    await async_wait_until(go_on)
    assert server.frames == ['1', '2', '3'] * 3


def has_stop(data: str | bytes) -> bool:
    return ('stop' if isinstance(data, str) else b'stop') in data


async def test_a_stop_waits_in_no_line(make_server: MakeServer, bare: Bare,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what its peer sent before it, which stands in line; what follows it waits."""
    server, held = Recorder(), Held()
    monkeypatch.setattr('ws_bridge.transport.connections.Turns', lambda: held)
    peer = await bare((await make_server(listener=server)).port)
    (await server.link()).websocket.is_urgent = has_stop
    await peer.send(masked(TEXT, b'before'))
    await async_wait_until(lambda: held.waiting)
    assert not server.frames
    await peer.send(masked(TEXT, b'more') + masked(TEXT, b'stop'))
    await async_wait_until(lambda: server.frames == ['before', 'more', 'stop'], 5.0)
    await peer.send(masked(TEXT, b'after'))
    await asyncio.sleep(0.1)
    assert server.frames[3:] == []

    def go_on() -> bool:
        while held.waiting:
            held.waiting.pop()()
        return len(server.frames) == 4
    await async_wait_until(go_on)
    assert server.frames[3:] == ['after']
    assert 'hurries' not in repr((await server.link()).websocket.place)
    monkeypatch.setattr(Held, 'are_over', Turns.are_over)       # for its end


STOP, OTHER = masked(TEXT, b'stop'), masked(TEXT, b'x' * 300)


@pytest.mark.parametrize(('chunks', 'parsed', 'is_read'), [
    ([STOP], 4, True), ([OTHER * (FEW - 1) + STOP], 904, True), ([OTHER, STOP], 304, True),
    ([OTHER, OTHER, STOP], 604, True), ([STOP + OTHER], 4, False), ([STOP * (FEW + 1)], 16, False),
    ([OTHER * FEW], 0, True), ([OTHER * FEW + STOP], 0, False), ([OTHER, OTHER[:9]], 0, False),
    ([OTHER[:-1], OTHER[-1:] + STOP], 0, False), ([OTHER[:1], OTHER[1:], STOP], 0, False),
    ([masked(TEXT, b'x' * SOME), STOP], 0, False), ([OTHER * 3] * 5, 0, False),
    ([masked(PING, b'stop')], 4, True)])
async def test_a_stop_is_found_in_what_waits(
        make_server: MakeServer, bare: Bare, chunks: list[bytes], parsed: int,
        is_read: bool) -> None:
    """
    It is parsed with what came before it, and what comes after it waits.

    :param parsed: how many bytes of payload do not wait.
    :param is_read: whether what comes next is looked at.
    """
    server, held = Recorder(), Held()
    await bare((await make_server(listener=server)).port)
    websocket = (await server.link()).websocket
    websocket.turns, websocket.is_urgent = held, has_stop
    before, count = [], websocket.process_event

    def process(event: Any) -> None:
        before.append(len(event.data))
        count(event)
    websocket.process_event = process
    for chunk in chunks:
        websocket.data_received(chunk)
    assert sum(before) == parsed
    assert websocket.transport.is_reading() == is_read
    while held.waiting:
        held.waiting.pop()()
    assert websocket.transport.is_reading()
    assert not websocket._unparsed


async def test_who_drives_comes_before_who_has_waited_lately(make_server: MakeServer,
                                                             bare: Bare) -> None:
    """With what is too much to be parsed at once, such as one command of 6 kB."""
    server, held = Recorder(), Held()
    await bare((await make_server(listener=server)).port)
    websocket = (await server.link()).websocket
    websocket.turns = held
    for is_urgent in (True, True, False, False):
        websocket.is_urgent = lambda data, is_urgent=is_urgent: is_urgent
        websocket.data_received(masked(TEXT, b'x' * 6000))
        while held.waiting:
            held.waiting.pop()()
    assert held.urgent == [True, True, False, False, False, False]
    await async_wait_until(lambda: server.frames == ['x' * 6000] * 4)


@pytest.mark.parametrize('is_urgent', [True, False])
async def test_many_small_frames_are_not_parsed_at_once(make_server: MakeServer, bare: Bare,
                                                        is_urgent: bool) -> None:
    """Nor those of a peer whose frames pass the line; a large one is, but for its beginning."""
    server, held = Recorder(), Held()
    await bare((await make_server(listener=server)).port)
    websocket = (await server.link()).websocket
    websocket.turns, websocket.is_urgent = held, lambda data: is_urgent
    small, parsed = masked(TEXT, b''), [0]

    def count() -> int:
        return len(server.frames) + len(websocket.fences)
    websocket.data_received(small * 10_000)
    while held.waiting:
        parsed.append(count())
        held.waiting.pop()()
    parsed.append(count())
    assert parsed[-1] == 10_000
    assert max(after - before for before, after in pairwise(parsed)) <= SOME / len(small) + 1
    size = 200_000
    websocket.data_received(
        bytes((0x82, 0xFF)) + size.to_bytes(8, 'big') + bytes(4 + size) + small)
    turns = 0
    while held.waiting:
        turns += 1
        held.waiting.pop()()
    assert count() == 10_002
    assert turns == 3 - is_urgent       # its beginning, all but what follows it, and that


async def test_the_answer_to_a_ping_waits_in_no_line(make_server: MakeServer, bare: Bare) -> None:
    """Unless something of its peer does, which was sent before it and must not look newer."""
    server, held = Fences(), Held()
    peer = await bare((await make_server(listener=server)).port)
    websocket = (await server.link()).websocket
    websocket.turns = held
    websocket.send_fence()
    websocket.data_received(masked(PONG, await peer.next_ping()))
    assert not websocket._pings and not held.waiting
    websocket.send_fence()
    before = websocket.fence
    websocket.data_received(masked(TEXT, b'old'))
    websocket.data_received(masked(PONG, await peer.next_ping()))
    assert len(held.waiting) == 1
    while held.waiting:
        assert websocket.fence == before
        held.waiting.pop()()
    assert server.got == [('old', before)]
    assert websocket.fence > before


async def test_who_was_asked_has_so_long_to_answer(make_server: MakeServer, bare: Bare) -> None:
    """Any ping will do for a question; what cannot leave is not waited for."""
    server = Recorder()
    options = ServerOptions(ping_interval=0.0)
    peer = await bare((await make_server(listener=server, options=options)).port)
    websocket = (await server.link()).websocket
    keepalive = Keepalive(websocket, Rounds(), 6.0, 8.0, lambda: None)
    assert repr(keepalive) == '<Keepalive 6 s, 8 s>'
    begin = websocket.fence
    assert keepalive.has_answered(begin + 4.4) and not websocket._pings
    assert keepalive.has_answered(begin + 4.5) and len(websocket._pings) == 1
    websocket.send_fence()
    assert keepalive.has_answered(begin + 12.4)
    assert not keepalive.has_answered(begin + 12.5)
    websocket.paused = True
    assert keepalive.has_answered(begin + 99.0)
    websocket.paused = False
    assert keepalive.has_answered(begin + 106.9)
    assert len(websocket._pings) == 2
    assert not keepalive.has_answered(begin + 107.0)
    for _ in range(2):
        await peer.send(masked(PONG, await peer.next_ping()))
    await async_wait_until(lambda: not websocket._pings)
    assert keepalive.has_answered(websocket.fence + 1.0) and not websocket._pings
    keepalive.leave_unjudged()
    for number in range(1, 4):      # it is asked again, whether it answers or not
        assert keepalive.has_answered(begin + 200.0 * number)
        assert len(websocket._pings) == number


async def test_the_pings_of_a_pace_are_enough(make_server: MakeServer, bare: Bare) -> None:
    """Nobody is pinged twice: for the fence, and to see whether it lives."""
    server = Recorder()
    options = ServerOptions(ping_interval=0.5, ping_timeout=0.3)
    peer = await bare((await make_server(listener=server, options=options)).port)
    link = await server.link()
    sent, send = [0], link.websocket.send_fence

    def count() -> None:
        sent[0] += 1
        send()
    link.websocket.send_fence = count  # type: ignore[method-assign]
    link.pace.keep(0.02)
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.6
    while loop.time() < end:
        await peer.send(masked(PONG, await peer.next_ping()))
    assert link.is_open and not sent[0]
    assert await server.end() == (1011, 'keepalive ping timeout')   # nothing is answered any more


async def test_bytes_that_look_like_a_pong_are_none(make_server: MakeServer, bare: Bare) -> None:
    """In the middle of a message: a page could write them into one before it was asked."""
    server = Fences()
    await bare((await make_server(listener=server)).port)
    link = await server.link()
    handshake = link.websocket.fence
    link.websocket.send_fence()
    (payload,) = link.websocket._pings
    link.websocket.is_urgent = lambda data: True
    pong = masked(PONG, payload)
    text = masked(BINARY, pong)
    for cut in range(1, len(text) - len(pong) + 1):
        assert len(text[cut:cut + len(pong)]) == len(pong)
        for piece in (text[:cut], text[cut:cut + len(pong)], text[cut + len(pong):]):
            link.websocket.data_received(piece)
    await async_wait_until(lambda: len(server.got) == len(text) - len(pong))
    assert set(server.got) == {(pong, handshake)}
    link.websocket.data_received(pong)
    assert link.websocket.fence > handshake


@pytest.mark.parametrize('seed', range(5))
async def test_the_short_way_of_a_pong_is_no_other_way(
        make_server: MakeServer, bare: Bare, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """However the stream of a peer is cut: the same messages, with the same fences."""
    server = Fences()
    port = (await make_server(listener=server, options=ServerOptions(ping_interval=0.0))).port
    choose = random.Random(seed)
    script: list[bytes | None] = []     # None: a ping is sent
    stream = b''
    for number in range(150):
        pong = masked(PONG, script.count(None).to_bytes(8, 'big'), choose.randbytes(4))
        script += [None] * choose.choice((0, 1))
        stream += choose.choice((
            masked(TEXT, b'%d' % number), masked(PONG, choose.randrange(60).to_bytes(8, 'big')),
            pong, pong,
            masked(PONG, b'other'), masked(PING, b'12345678'),
            masked(TEXT, b'a', is_last=False) + masked(PONG, bytes(8)) + masked(0, b'b')))
        if choose.random() < 0.6:       # what comes is a whole frame, or several
            script.append(stream)
            stream = b''
        else:
            cut = choose.randrange(len(stream))
            script.append(stream[:cut])
            stream = stream[cut:]
    script.append(stream)
    results, parsed = [], []
    for is_short in (True, False):
        peer = await bare(port)
        link = await server.link()
        websocket = link.websocket
        numbers = iter(range(1000))
        monkeypatch.setattr(fence_module.os, 'urandom',
                            lambda size, numbers=numbers: next(numbers).to_bytes(size, 'big'))
        seen: list[object] = []

        def see(event: Any, websocket: Any = websocket, seen: list[object] = seen) -> None:
            seen.append(event.opcode)
            type(websocket).process_event(websocket, event)
        websocket.process_event = see
        websocket.is_urgent = lambda data: True     # nothing waits to be parsed
        if not is_short:
            websocket._take_pong = lambda data: False
        order: dict[float, int] = {websocket.fence: -1}
        sent = iter(range(1000))
        for segment in script:
            if segment is None:
                websocket.send_fence()
                order[list(websocket._pings.values())[-1][1]] = next(sent)
            elif segment:
                websocket.data_received(segment)
        count = seen.count(TEXT)
        await async_wait_until(lambda count=count: len(server.got) == count)
        results.append(([(word, order[fence]) for word, fence in server.got],
                        order[websocket.fence], list(websocket._pings), websocket.latency > 0))
        parsed.append(sum(opcode == PONG for opcode in seen))
        server.got.clear()
        peer.close()
        await server.end()
        server.ends.clear()
    assert results[0] == results[1]
    assert parsed[0] < parsed[1]
