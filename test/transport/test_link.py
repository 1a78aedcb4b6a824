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
"""Links: what is written at once, what is queued, who is closed, over real sockets."""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import pairwise
import logging
import random
import re
import socket
import time
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.transport_support import (
    Bare,
    BarePeer,
    BINARY,
    Dial,
    MakeClient,
    MakeServer,
    masked,
    PING,
    Recorder,
    TEXT,
)
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import broadcast, serve, ServerConnection
from websockets.exceptions import ConnectionClosed

from ws_bridge.bridge.fan_out import batch_of, FanOut
from ws_bridge.protocol.types import Priority
from ws_bridge.session.queue import Parts
from ws_bridge.transport import outbound as outbound_module
from ws_bridge.transport.dialling import FencedClient
from ws_bridge.transport.framing import PIECE, StreamFrame
from ws_bridge.transport.link import address_text, Link
from ws_bridge.transport.options import ClientOptions, ServerOptions
from ws_bridge.transport.rounds import Rounds
from ws_bridge.transport.turns import SLICE, Spot, Turns

BIG = bytes(256 * 1024)


async def test_frames_both_ways(make_server: MakeServer, dial: Dial) -> None:
    """Text stays text and binary binary, both ways; counters count bytes on the wire."""
    server = Recorder()
    port = (await make_server(listener=server)).port
    peer = await dial(port, '/path?x=1', additional_headers={'X-Who': 'me'})
    link = await server.link()
    assert link.send('grüße')
    assert link.send('naïve'.encode(), text=True)
    assert link.send(b'\x00\x01', text=False)
    link.send_stream('k', 's1', 1)
    link.send_stream('k', b's2', 1, text=False)
    assert [await peer.recv() for _ in range(5)] == ['grüße', 'naïve', b'\x00\x01', 's1', b's2']
    await peer.send('für')
    await peer.send(b'\xff')
    await async_wait_until(lambda: len(server.frames) == 2)
    assert server.frames == ['für', b'\xff']
    assert (link.messages_out, link.bytes_out, link.messages_in, link.bytes_in) == (5, 19, 2, 5)
    assert (link.path, link.request_headers['x-who'], link.dialled) == ('/path?x=1', 'me', False)
    assert link.latency == 0 or link.latency > 0
    assert link.remote == address_text(peer.local_address)
    assert 'in=2 out=5' in repr(link)
    await peer.close(1000, 'bye')
    assert await server.end() == (1000, 'bye')
    assert not link.send('late')
    link.send_stream('k', b'late', 1)
    assert link.messages_out == 5


async def test_with_a_broadcast_that_takes_no_text(
        make_server: MakeServer, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of websockets before 16.1."""
    def old(connections: Iterable[Connection], message: str | bytes) -> None:
        broadcast(connections, message)

    monkeypatch.setattr(outbound_module, 'broadcast', old)
    monkeypatch.setattr(outbound_module, '_BROADCAST_TAKES_TEXT', False)
    server = Recorder()
    peer = await dial((await make_server(listener=server)).port)
    link = await server.link()
    link.send('grüße'.encode())
    link.send(b'\xff', text=False)
    assert [await peer.recv(), await peer.recv()] == ['grüße', b'\xff']


async def test_a_peer_that_resets_while_a_large_frame_leaves(make_server: MakeServer,
                                                             bare: Bare) -> None:
    """The end of the connection is all that comes of it: the task that writes ends in order."""
    server = Recorder()
    await bare((await make_server(listener=server)).port)
    link = await server.link()
    link.send(BIG * 40, text=False)
    await async_wait_until(lambda: link.websocket.transport.get_write_buffer_size()
                           or link._window.is_tight)
    writer = link._writer
    assert writer is not None
    transport: Any = link.websocket.transport
    transport._force_close(ConnectionResetError('as the system says it'))
    await async_wait_until(writer.done)
    assert writer.exception() is None


async def test_ids_differ(make_server: MakeServer, dial: Dial) -> None:
    """Each connection has its own."""
    server = Recorder()
    port = (await make_server(listener=server)).port
    for _ in range(3):
        await dial(port)
    await async_wait_until(lambda: len(server.links) == 3)
    assert len({link.peer_id for link in server.links}) == 3


async def test_a_shared_frame_reaches_idle_and_busy_links(make_server: MakeServer, dial: Dial,
                                                          bare: Bare) -> None:
    """The slow one keeps the newest frames; the quick one has them all at once."""
    server = Recorder()
    port = (await make_server(listener=server)).port
    await bare(port)
    slow_link = await server.link()
    quick = await dial(port)
    await async_wait_until(lambda: len(server.links) == 2)
    slow_link.send(BIG * 40, text=False)
    assert not slow_link.is_idle
    for number in range(10):
        item = StreamFrame('topic', b'%d' % number, 3)
        for link in server.links:
            assert link.stage(item)
            link.flush()
        await asyncio.sleep(0)
    assert [await quick.recv() for _ in range(10)] == [str(number) for number in range(10)]
    # Its writer is still at the large one; of ten, three wait.
    assert slow_link.dropped == 7
    assert slow_link.queued_bytes >= 3


@pytest.mark.parametrize('compression', [None, 'deflate'])
async def test_shared_frames_of_every_size(make_server: MakeServer, dial: Dial,
                                           compression: str | None) -> None:
    """Together, in order, whatever was negotiated; what is sent next comes after them."""
    server = Recorder()
    port = (await make_server(listener=server, compression=compression is not None)).port
    peer = await dial(port, max_size=None, compression=compression)
    link = await server.link()
    frames = [b'', b'x', b'y' * 125, b'z' * 126, b'{' * 65535, b'}' * 65536, BIG, b'text',
              b'a' * 100_000, b'b' * 100_000, b'c' * 100_000]
    for number, frame in enumerate(frames):
        link.stage(StreamFrame('k', frame, 20, text=number > 6))
    link.stage(StreamFrame('k', b'12', 20, split=lambda frame: [frame[:1], frame[1:]]))
    assert link.messages_out == 0
    link.send_stream('k', b'last', 20)
    got = [await peer.recv() for _ in range(len(frames) + 3)]
    assert got[:7] == frames[:7]
    assert got[7:] == [*(frame.decode() for frame in frames[7:]), '1', '2', 'last']
    await async_wait_until(lambda: link.messages_out == len(got))
    assert link.bytes_out == sum(map(len, got))
    link.stage(StreamFrame('k', b'before the end', 20))
    link.close(1000, 'bye')
    assert await peer.recv() == 'before the end'
    link.stage(StreamFrame('k', b'after it', 20))
    link.flush()
    assert await server.end() == (1000, 'bye')


async def test_what_waits_for_a_peer_is_bounded_in_bytes(make_server: MakeServer,
                                                         bare: Bare) -> None:
    """However deep a history it asks for; what gives way is counted."""
    server, most = Recorder(), 4 * len(BIG)
    port = (await make_server(listener=server, options=ServerOptions(
        max_queue_bytes=most))).port
    await bare(port)
    link = await server.link()
    for number in range(50):
        link.stage(StreamFrame('image', BIG if number % 2 else Parts(BIG[1:], b'.'), 1000))
        link.flush()
        await asyncio.sleep(0)
        # One is being written, in pieces.
        assert link.queued_bytes <= most + len(BIG) + 2 * PIECE
    assert link.dropped >= 15


async def test_many_readers_leave_time_for_others(make_server: MakeServer, dial: Dial) -> None:
    """However many sockets have something to read, the loop has its turns in between."""
    class Slow(Recorder):
        """Takes 1 ms for a message."""

        def received(self, link: Link, data: str | bytes) -> None:
            super().received(link, data)
            end = time.perf_counter() + SLICE / 2
            while time.perf_counter() < end:
                pass

    server, turns = Slow(), [0]
    port = (await make_server(listener=server)).port
    peers = [await dial(port) for _ in range(40)]
    for peer in peers:
        await peer.send('first')
    urgent = await dial(port)
    await async_wait_until(lambda: len(server.links) == 41 and len(server.frames) == 40)
    server.links[40].websocket.is_urgent = lambda data: data == 'stop'
    server.frames.clear()
    for each in peers:
        await each.send('more')
        await each.send('and more')
    await urgent.send('stop')

    def count() -> None:
        turns.append(len(server.frames))
        if turns[-1] < 81:
            loop.call_soon(count)
    loop = asyncio.get_running_loop()
    count()
    await async_wait_until(lambda: len(server.frames) == 81)
    assert max(after - before for before, after in pairwise(turns)) < 12
    assert server.frames.index('stop') < 40


async def test_many_ends_leave_time_for_others(make_server: MakeServer, dial: Dial) -> None:
    """Who may drive something is taken note of at once; the others wait in line for their end."""
    class Slow(Recorder):
        """Takes longer for an end than there is time for in a turn."""

        def closed(self, link: Link, code: int, reason: str) -> None:
            super().closed(link, code, reason)
            gone.append(link)
            end = time.perf_counter() + 1.5 * SLICE
            while time.perf_counter() < end:
                pass

    gone: list[Link] = []
    server, turns = Slow(), [0]
    port = (await make_server(listener=server)).port
    for _ in range(30):
        await dial(port)
    await async_wait_until(lambda: len(server.links) == 30)
    *others, urgent = server.links
    urgent.websocket.is_urgent = lambda data: True
    for link in (*others, urgent):
        link.abort('all at once')

    def count() -> None:
        turns.append(len(gone))
        if turns[-1] < 30:
            loop.call_soon(count)
    loop = asyncio.get_running_loop()
    count()
    await async_wait_until(lambda: len(gone) == 30)
    # one before they notice how long it takes, and the one that is urgent
    assert max(after - before for before, after in pairwise(turns)) <= 3
    assert gone.index(urgent) < 4


async def test_replies_leave_before_streams(make_server: MakeServer, dial: Dial) -> None:
    """A stop overtakes replies, also large ones; replies state, state streams."""
    server = Recorder()
    port = (await make_server(listener=server)).port
    peer = await dial(port, max_queue=1, max_size=None)
    link = await server.link()
    link.send(BIG * 40, text=False)
    link.send_stream('k', b'stream', 1)
    link.send(b'state', Priority.NORMAL)
    link.send(b'reply', Priority.HIGH)
    link.send(b'stop', Priority.CRITICAL)
    assert await peer.recv() == 'stop'
    assert len(await peer.recv()) == len(BIG) * 40
    assert [await peer.recv() for _ in range(3)] == ['reply', 'state', 'stream']


async def test_a_peer_that_does_not_take_its_replies_is_closed(make_server: MakeServer, bare: Bare,
                                                               dial: Dial) -> None:
    """With 1008, and it alone."""
    server = Recorder()
    options = ServerOptions(max_queue_bytes=100_000, close_timeout=0.2)
    port = (await make_server(listener=server, options=options)).port
    await bare(port)
    slow_link = await server.link()
    quick = await dial(port)
    await async_wait_until(lambda: len(server.links) == 2)
    slow_link.send(BIG * 40, text=False)
    sent = [slow_link.send(bytes(30_000), text=False) for _ in range(5)]
    assert sent == [True, True, True, False, False]
    assert not slow_link.is_open
    code, reason = await server.end()
    assert (code, reason[:8]) == (1008, 'too slow')
    assert server.links[0].send('still here')
    assert await quick.recv() == 'still here'


async def test_flushed_is_back_pressure(make_server: MakeServer, bare: Bare) -> None:
    """It returns when the peer has taken everything, or when time is up."""
    server = Recorder()
    port = (await make_server(listener=server)).port
    slow = await bare(port)
    link = await server.link()
    assert await link.flushed(0.1)
    link.send(BIG * 40, text=False)
    link.send(b'queued')
    assert not await link.flushed(0.05)

    async def drain() -> None:
        while await asyncio.get_running_loop().sock_recv(slow.socket, 1 << 20):
            pass
    reading = asyncio.create_task(drain())
    assert await link.flushed(5.0)
    link.close(1000, '')
    reading.cancel()
    await asyncio.wait((reading,))
    await server.end()


async def test_a_peer_that_takes_nothing_is_cut(make_server: MakeServer, bare: Bare) -> None:
    """A ping cannot leave behind a full buffer, so progress of writing is watched."""
    server = Recorder()
    options = ServerOptions(ping_timeout=0.1, close_timeout=0.1)
    port = (await make_server(listener=server, options=options)).port
    await bare(port)
    link = await server.link()
    link.send(BIG * 40, text=False)
    assert await server.end() == (1006, 'took nothing for 0.1 s')


async def test_a_slow_peer_that_is_alive_is_not_cut(make_server: MakeServer,
                                                    bare: Bare) -> None:
    """One that takes nothing for long, but sends, is slow, not dead."""
    server = Recorder()
    options = ServerOptions(ping_timeout=0.2, close_timeout=0.1)
    port = (await make_server(listener=server, options=options)).port
    slow = await bare(port)
    link = await server.link()
    link.send(BIG * 40, text=False)
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.7
    while loop.time() < end:
        await loop.sock_sendall(slow.socket, b'\x81\x82\0\0\0\0hi')
        await asyncio.sleep(0.02)
    assert not server.ends
    assert link.queued_bytes > 0
    assert await server.end() == (1006, 'took nothing for 0.2 s')


async def test_a_peer_that_answers_no_ping_is_closed(make_server: MakeServer, bare: Bare) -> None:
    """A half-open connection costs nothing for long."""
    server = Recorder()
    options = ServerOptions(ping_interval=0.05, ping_timeout=0.1, close_timeout=0.1)
    port = (await make_server(listener=server, options=options)).port
    await bare(port)
    await server.link()
    assert (await server.end())[0] in (1006, 1011)


async def test_a_peer_that_vanishes(make_server: MakeServer, dial: Dial) -> None:
    """No closing handshake is 1006, and the writer of a busy link ends with it."""
    server = Recorder()
    port = (await make_server(listener=server)).port
    peer = await dial(port, max_queue=1)
    link = await server.link()
    link.send(BIG * 40, text=False)
    link.send('queued')
    peer.transport.abort()
    assert (await server.end())[0] == 1006
    await async_wait_until(lambda: link.queued_bytes == 0)      # its writer ends next


async def test_close_lets_the_queue_leave_first(make_server: MakeServer, dial: Dial) -> None:
    """What was sent before is not lost by closing; what comes after is not received."""
    server = Recorder()
    port = (await make_server(listener=server)).port
    peer = await dial(port, max_size=None)
    link = await server.link()
    link.send(BIG * 20, text=False)
    link.send('last words')
    link.close(4000, 'ü' * 200)
    link.close(4001, 'too late')
    assert len(await peer.recv()) == len(BIG) * 20
    assert await peer.recv() == 'last words'
    assert await server.end() == (4000, 'ü' * 61)
    assert (peer.close_code, peer.close_reason) == (4000, 'ü' * 61)


async def test_nothing_is_received_after_close(make_server: MakeServer, bare: Bare) -> None:
    """Frames that were under way are discarded."""
    server = Recorder()
    port = (await make_server(listener=server, options=ServerOptions(close_timeout=0.1))).port
    sender = await bare(port)
    link = await server.link()
    link.close(1000, '')
    frame = b'\x81\x82\0\0\0\0hi'
    await asyncio.get_running_loop().sock_sendall(sender.socket, frame * 3)
    await server.end()
    assert server.frames == []


def close_frame(code: int, reason: bytes) -> bytes:
    """Return the close frame of a client."""
    return masked(8, code.to_bytes(2, 'big') + reason)


@pytest.mark.parametrize('waits', [False, True], ids=['at once', 'after what came before'])
async def test_the_end_is_told_when_the_peer_says_that_it_closes(
        make_server: MakeServer, bare: Bare, waits: bool) -> None:
    """What it drives has to stop, and the rest of the handshake waits behind pictures."""
    server = Recorder()
    interface = await make_server(listener=server)
    peer = await bare(interface.port)
    link = await server.link()
    link.send(BIG * 40, text=False)
    if waits:
        link.pause()
    await peer.send(masked(TEXT, b'hi') + masked(TEXT, b'there') + close_frame(4007, b'bye'))
    if waits:
        await async_wait_until(lambda: not link.is_open)
        assert server.ends == []
        link.resume()
    assert await server.end() == (4007, 'bye')
    assert server.frames == ['hi', 'there']
    assert not link.is_open
    assert not link._transport.is_closing()
    assert len(interface._connections) == 1
    link.close(1000, 'too late')
    peer.close()
    await async_wait_until(lambda: not len(interface._connections))
    assert server.ends == [(4007, 'bye')]


async def test_a_client_is_told_when_its_server_says_that_it_closes(
        make_client: MakeClient) -> None:
    """And connects again when that connection is gone."""
    client, said = Recorder(), asyncio.Event()

    async def hold(connection: ServerConnection) -> None:
        connection.transport.pause_reading()    # it never hears the answer
        connection.protocol.send_close(1012, 'restart')
        connection.send_data()
        await said.wait()
        connection.transport.abort()
    async with serve(hold, '127.0.0.1', 0) as server:
        await make_client(server.sockets[0].getsockname()[1], listener=client)
        assert await client.end() == (1012, 'restart')
        assert not client.links
        said.set()
        await async_wait_until(lambda: len(client.ends) == 2)
    assert set(client.ends) == {(1012, 'restart')}


@pytest.mark.parametrize('seed', range(30))
async def test_the_end_comes_once_and_after_all_that_came_before(
        make_server: MakeServer, bare: Bare, seed: int) -> None:
    """However it comes in pieces, its reading pauses, the line is full, and whoever closes."""
    chance = random.Random(seed)
    server = Recorder()
    interface = await make_server(listener=server, options=ServerOptions(close_timeout=0.2))
    peer = await bare(interface.port)
    link = await server.link()
    if chance.random() < 0.5:
        link.send(BIG * 40, text=False)
    sent, stream = [], b''
    for number in range(chance.randrange(8)):
        kind, text = chance.randrange(4), f'{number}' * chance.choice([1, 100, 100_000])
        data = text.encode()
        if kind == 0:
            stream += masked(PING, b'ping')
        elif kind == 1:
            half = len(data) // 2
            stream += masked(TEXT, data[:half][:60_000], is_last=False) + masked(
                0, data[half:][:60_000])
            sent.append((data[:half][:60_000] + data[half:][:60_000]).decode())
        else:
            stream += masked(TEXT, data[:60_000])
            sent.append(data[:60_000].decode())
    how = chance.choice(['closes', 'says no code', 'sends no more', 'is closed', 'both'])
    end = {'closes': (4000 + seed, f'bye {seed}'), 'says no code': (1005, ''),
           'sends no more': (1006, '')}.get(how, (4999, 'go'))
    if how in ('closes', 'both'):
        stream += close_frame(4000 + seed, f'bye {seed}'.encode())
    elif how == 'says no code':
        stream += masked(8, b'')
    stream += masked(TEXT, b'after the end') * (how != 'is closed')
    while stream:
        piece, stream = stream[:(size := chance.choice([1, 7, 300, 10**6]))], stream[size:]
        if how == 'both' and not stream:
            link.close(4999, 'go')
        await peer.send(piece)
        chance.choice([link.pause, link.resume, link.resume])()
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    link.resume()
    if how == 'sends no more':
        sent.append('after the end')
        peer.socket.shutdown(socket.SHUT_WR)
    elif how == 'is closed':
        await async_wait_until(lambda: len(server.frames) == len(sent))
        link.close(4999, 'go')
    assert await server.end() == end
    if how == 'both':
        assert server.frames == sent[:len(server.frames)]
    else:
        assert server.frames == sent
    peer.close()
    await async_wait_until(lambda: not len(interface._connections))
    assert server.ends == [end]


async def test_closing_a_stuck_peer_is_bounded(make_server: MakeServer, bare: Bare) -> None:
    """The socket is cut when the closing handshake takes too long."""
    server = Recorder()
    port = (await make_server(listener=server, options=ServerOptions(close_timeout=0.1))).port
    await bare(port)
    link = await server.link()
    link.send(BIG * 40, text=False)
    link.send('queued')
    link.close(4000, 'go')
    assert await asyncio.wait_for(server.end(), 2) == (4000, 'go')


@pytest.mark.parametrize('compression', [None, 'deflate'])
async def test_closing_while_a_large_frame_leaves_says_why(
        make_server: MakeServer, dial: Dial, compression: str | None) -> None:
    """A peer too slow for the rest of it gets the code of the close, between two fragments."""
    server = Recorder()
    port = (await make_server(listener=server, compression=True, options=ServerOptions(
        close_timeout=1.0))).port
    peer = await dial(port, compression=compression, max_size=None, max_queue=1)
    link = await server.link()
    peer.transport.pause_reading()
    large = random.Random(0).randbytes(40 * len(BIG))
    link.send(large, text=False)
    await async_wait_until(lambda: 0 < link.bytes_out < len(large))
    link.close(4001, 'why')
    await async_wait_until(lambda: link._writer is None)
    assert link.bytes_out < len(large)
    peer.transport.resume_reading()
    with pytest.raises(ConnectionClosed):
        await peer.recv()
    assert (peer.close_code, peer.close_reason) == (4001, 'why')


async def test_a_listener_that_fails_closes_its_connection(
        make_server: MakeServer, dial: Dial, caplog: pytest.LogCaptureFixture) -> None:
    """With 1011; the server goes on."""
    class Faulty(Recorder):

        def received(self, link: Link, data: str | bytes) -> None:
            raise RuntimeError('fault of the listener')

    server = Faulty()
    port = (await make_server(listener=server)).port
    peer = await dial(port)
    await peer.send('x')
    await peer.wait_closed()
    assert peer.close_code == 1011
    assert server.ends == [(1011, 'internal error')]
    await async_wait_until(lambda: 'fault of the listener' in caplog.text)
    await dial(port)


async def test_a_client_survives_its_listener(
        make_server: MakeServer, make_client: MakeClient,
        caplog: pytest.LogCaptureFixture) -> None:
    """It connects again after the listener failed."""
    class Faulty(Recorder):

        def received(self, link: Link, data: str | bytes) -> None:
            if data == 'bad':
                raise RuntimeError('fault of the listener')
            super().received(link, data)

    server, client = Recorder(), Faulty()
    port = (await make_server(listener=server)).port
    await make_client(port, listener=client)
    (await server.link()).send('bad')
    assert (await server.end())[0] == 1011
    (await server.link()).send('good')
    await async_wait_until(lambda: client.frames == ['good'])
    assert client.links[0].dialled
    assert 'fault of the listener' in caplog.text


async def test_one_that_floods_does_not_starve_the_others(make_server: MakeServer, bare: Bare,
                                                          dial: Dial) -> None:
    """Another peer's frame is taken while thousands of the flood still wait."""
    class Order(Recorder):

        def received(self, link: Link, data: str | bytes) -> None:
            self.frames.append(data)

    server = Order()
    port = (await make_server(listener=server)).port
    flood = await bare(port)
    other = await dial(port)
    await async_wait_until(lambda: len(server.links) == 2)
    frames = b'\x81\x81\0\0\0\0f' * 4000
    await asyncio.get_running_loop().sock_sendall(flood.socket, frames)
    await other.send('other')
    await async_wait_until(lambda: len(server.frames) == 4001)
    assert server.frames.index('other') < 3900


@pytest.mark.parametrize('cost', [0.0, 1.5 * SLICE])
async def test_as_many_read_in_a_turn_as_there_is_time_for(cost: float) -> None:
    """In order; who takes longer than expected is alone in its turn of the loop."""
    loop, turns, turn = asyncio.get_running_loop(), Turns(), 0
    done: list[tuple[int, int]] = []

    async def read(number: int) -> None:
        await turns.wait(Spot())
        end = time.perf_counter() + cost
        while time.perf_counter() < end:
            pass
        turns.note()
        done.append((number, turn))
    readers = [loop.create_task(read(number)) for number in range(30)]
    while len(done) < 30:
        await asyncio.sleep(0)
        turn += 1
    await asyncio.gather(*readers)
    assert [number for number, _ in done] == list(range(30))
    used = {at for _, at in done}
    assert len(used) == 30 if cost else len(used) < 15
    assert repr(turns) == '<Turns, 0 wait, 0 begin or end>'


async def test_many_of_one_place_do_not_keep_another_waiting() -> None:
    """Each network has its turn, also where those in front take longer than expected."""
    loop, turns = asyncio.get_running_loop(), Turns()
    done: list[str] = []

    async def read(network: str, times: int) -> None:
        place = Spot(network)
        for _ in range(times):
            await turns.wait(place)
            end = time.perf_counter() + 1.5 * SLICE
            while time.perf_counter() < end:
                pass
            turns.note()
            done.append(network)
    crowd = [loop.create_task(read('crowd', 3)) for _ in range(20)]
    await async_wait_until(lambda: len(done) >= 5)
    before = len(done)
    await read('other', 3)
    places = [place for place, network in enumerate(done) if network == 'other']
    # some of the crowd were called before it was known how long they take; then by turns
    assert places[0] - before <= 8
    assert max(after - earlier for earlier, after in pairwise(places)) <= 3
    await asyncio.gather(*crowd)
    assert len(done) == 63


async def test_who_has_its_turn_does_not_wait_again() -> None:
    """As long as there is time: what was parsed in line is handed on at once."""
    turns = Turns()
    are_over: list[bool] = []

    def take(cost: float) -> bool:
        are_over.append(turns.are_over())
        end = time.perf_counter() + cost
        while time.perf_counter() < end:
            pass
        are_over.append(turns.are_over())
        return False
    for cost in (0.0, 1.5 * SLICE):
        turns.line_up(partial(take, cost), Spot())
        assert turns.are_over()
    await async_wait_until(lambda: len(are_over) == 4)
    assert are_over == [False, False, False, True]


async def test_one_connection_begins_or_ends_in_a_turn() -> None:
    """In order, after those that read; who does not wait any more keeps nobody."""
    loop, turns = asyncio.get_running_loop(), Turns()
    done: list[str] = []

    async def change(name: str) -> None:
        await turns.come_or_go()
        done.append(name)

    async def read() -> None:
        await turns.wait(Spot())
        turns.note()
        done.append('read')
    changes = [loop.create_task(change(name)) for name in 'abcd']
    await asyncio.sleep(0)
    assert repr(turns) == '<Turns, 0 wait, 4 begin or end>'
    changes[1].cancel()
    changes.append(loop.create_task(read()))
    seen = []
    while len(done) < 4:
        await asyncio.sleep(0)
        seen.append(len(done))
    await asyncio.wait(changes)
    assert [name for name in done if name != 'read'] == ['a', 'c', 'd']
    assert max(after - before for before, after in pairwise([0, *seen])) <= 2
    assert repr(turns) == '<Turns, 0 wait, 0 begin or end>'


async def test_cancelling_a_served_link_cuts_it(make_server: MakeServer, dial: Dial,
                                                caplog: pytest.LogCaptureFixture) -> None:
    """As when the event loop is shut down around it."""
    caplog.set_level(logging.CRITICAL)
    server = Recorder()
    port = (await make_server(listener=server)).port
    peer = await dial(port, create_connection=FencedClient)
    recorder = Recorder()
    assert isinstance(peer, FencedClient)
    link = Link(peer, ClientOptions(), dialled=True, turns=Turns(), rounds=Rounds())
    serving = asyncio.create_task(link.serve(recorder))
    await recorder.link()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert (await server.end())[0] == 1006


async def test_a_heartbeat_leaves_in_one_write_with_the_ping_that_is_due(
        make_server: MakeServer, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each where they come often enough, and as long as the peer does not command."""
    server = Recorder()
    options = ServerOptions(ping_interval=0.0)
    peer = await dial((await make_server(listener=server, options=options)).port, compression=None)
    link = await server.link()
    writes: list[bytes] = []
    write = link.websocket.transport.write
    monkeypatch.setattr(link.websocket.transport, 'write',
                        lambda data: (writes.append(data), write(data)))
    plain = b'\x81\x04beat'
    link.beat(b'beat', Priority.HIGH)
    link.pace.beats = 1.0
    for interval, is_along in ((1.0, True), (1.9, True), (2.0, False), (0.9, False)):
        link.pace.keep(interval)
        assert (writes[-1][:2], link.pace.goes_along) == (b'\x89\x08', is_along)
        link.beat(b'beat', Priority.HIGH)
        assert writes[-1].endswith(plain) and writes[-1].startswith(b'\x89\x08') is is_along
    link.pace.keep(1.0)
    link.pace.hurry(60.0)
    link.beat(b'beat', Priority.HIGH)
    link.pace.end()
    link.beat(b'beat', Priority.HIGH)
    assert writes[0] == writes[-1] == writes[-2] == plain
    assert (link.messages_out, link.bytes_out) == (7, 28)
    assert [await peer.recv() for _ in range(7)] == ['beat'] * 7
    await async_wait_until(lambda: not link.websocket._pings)
    assert link.websocket.latency > 0


async def test_a_heartbeat_waits_where_others_do(make_server: MakeServer, dial: Dial, bare: Bare
                                                 ) -> None:
    """And is compressed where frames are; of one that is closed nothing comes."""
    server = Recorder()
    port = (await make_server(listener=server, compression=True,
                              options=ServerOptions(ping_interval=0.0))).port
    await bare(port)
    slow = await server.link()
    slow.send(BIG * 40, text=False)
    peer = await dial(port, compression='deflate')
    await async_wait_until(lambda: len(server.links) == 2)
    for link in server.links:
        link.pace.beats = 1.0
        link.pace.keep(1.0)
        link.beat(b'beat', Priority.HIGH)
        assert len(link.websocket._pings) == 2
    assert len(slow.queue) == 1
    assert await peer.recv() == 'beat'
    server.links[1].close(1000, 'bye')
    server.links[1].beat(b'late', Priority.HIGH)
    with pytest.raises(ConnectionClosed):
        await peer.recv()


def hand_out(item: StreamFrame, links: Iterable[Link]) -> None:
    """Write what comes alone, as the bridge does."""
    fan_out = FanOut(None, asyncio.get_running_loop(), 0.0)  # type: ignore[arg-type]
    fan_out._batches.append(batch_of([item], links))
    fan_out._hand_out(float('inf'))


@pytest.mark.parametrize('seed', range(12))
async def test_frames_leave_whole_and_in_order_whatever_comes_together(
        make_server: MakeServer, bare: Bare, seed: int) -> None:
    """Samples, heartbeats and messages, while the socket now and then takes only a part."""
    choose = random.Random(seed)
    server = Recorder()
    peer = await bare((await make_server(listener=server, options=ServerOptions(
        ping_interval=0.0, max_queue_bytes=2**30))).port)
    link = await server.link()
    if link._window._kernel is not None:
        link._window._set(1e9, 0.0)       # the link is known to be fast
    samples = messages = beats = clouds = 0
    data = b''

    def drain() -> None:
        nonlocal data
        with suppress(BlockingIOError):
            while came := peer.socket.recv(1 << 20):
                data += came
    for _ in range(900):
        what = choose.random()
        if what < 0.8:
            samples += 1
            body = b'sample %d ' % samples
            hand_out(StreamFrame('k', body.ljust(choose.choice((20, 300, 9000)), b'.'), 2**20,
                                 text=False), [link])
        elif what < 0.9:
            beats += 1
            link.beat(b'beat%d' % beats, Priority.CRITICAL)
        elif what < 0.94:
            messages += 1
            link.send(b'message %d' % messages)
        elif what < 0.95:
            clouds += 1
            head = b'cloud %d ' % clouds
            link.send_stream('c', Parts(head, b'.' * choose.choice((2 * PIECE, 1 << 20))), 2**20,
                             text=False)
        elif what < 0.955:
            await asyncio.sleep(0)
            drain()

    def is_done() -> bool:
        drain()
        return not link.queued_bytes
    await async_wait_until(is_done)
    link.send(b'end')
    await async_wait_until(lambda: is_done() and data.endswith(b'\x81\x03end'))
    found: dict[bytes, list[int]] = {b'sample': [], b'message': [], b'beat': [], b'cloud': []}
    frames, place, frame = 0, 0, b''
    while place < len(data):
        first, size, at = data[place], data[place + 1], place + 2
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[place + 2:at], 'big')
        assert (first & 0x0f == 0) is bool(frame)       # the next fragment of what came before
        frame, place = frame + data[at:at + size], at + size
        if first < 0x80:
            continue
        frames += 1
        if frame != b'end':
            parts = re.fullmatch(rb'([a-z]+) ?(\d+) ?\.*', frame)
            assert parts is not None, frame
            found[parts[1]].append(int(parts[2]))
        frame = b''
    assert found == {b'sample': [*range(1, samples + 1)], b'message': [*range(1, messages + 1)],
                     b'beat': [*range(1, beats + 1)], b'cloud': [*range(1, clouds + 1)]}
    assert link.messages_out == frames
    assert link.queued_bytes == 0


async def test_what_a_socket_takes_in_part_is_never_mixed_with_other_frames(
        make_server: MakeServer, bare: Bare) -> None:
    """Also while the peer counts as idle: what fits in no more waits, and all after it."""
    server = Recorder()
    peer = await bare((await make_server(listener=server, send_buffer_size=2**30,
                                         options=ServerOptions(ping_interval=0.0))).port)
    link = await server.link()
    websocket = link.websocket
    if link._window._kernel is not None:
        link._window._set(1e9, 0.001)       # the link is known to be fast
    item = StreamFrame('k', bytes(3000), 1, text=False)
    expected = b''

    def pong() -> bytes:
        websocket.protocol.send_pong(b'')
        websocket.send_data()       # as websockets does when it answers a ping
        return b'\x8a\0'

    def beat() -> bytes:
        link.beat(b'beat', Priority.HIGH)
        return b'\x81\x04beat'

    def sample() -> bytes:
        hand_out(item, [link])
        return item.wire()
    for first in (pong, beat, sample):
        expected += sample()
        assert link.direct is not None
        with suppress(BlockingIOError):
            while True:             # until the socket is full, and nobody knows of it
                expected += item.wire()[:link.direct(item.wire())]
        expected += first()
        assert link.direct is None
        for each in (sample, beat, pong, sample):
            expected += each()
            assert link.direct is None
            assert link.is_idle
        got = b''
        while len(got) < len(expected):
            got += await asyncio.get_running_loop().sock_recv(peer.socket, 1 << 20)
        assert got == expected
        expected = b''
        await async_wait_until(lambda: not websocket.transport.get_write_buffer_size())


async def test_what_is_left_of_a_frame_waits_in_the_transport(
        make_server: MakeServer, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the socket does: takes a part, nothing, or has gone."""
    server = Recorder()
    peer = await dial((await make_server(listener=server)).port, compression=None)
    link = await server.link()
    item = StreamFrame('k', b'one two', 1)
    hand_out(item, [link])
    for taken in (3, 0, 9):
        assert link.direct is not None
        direct = link.direct
        link.direct = lambda data, taken=taken, direct=direct: direct(  # type: ignore[misc]
            data[:taken]) if taken else direct_fails()
        hand_out(item, [link])
        assert (link.direct is None) is (taken < 9)
        link.flush()
    assert [await peer.recv() for _ in range(4)] == ['one two'] * 4
    assert link.messages_out == 4
    link.abort('cut')
    hand_out(item, [link])
    assert link.direct is None


def direct_fails() -> int:
    """Take nothing, as a full socket does."""
    raise BlockingIOError


@pytest.mark.parametrize('seed', range(3))
async def test_whatever_happens_in_the_middle_of_a_fan_out(
        make_server: MakeServer, dial: Dial, bare: Bare, seed: int) -> None:
    """Peers pause, are closed and are cut; frames are large, split, compressed: all in order."""
    choose = random.Random(seed)
    server = Recorder()
    port = (await make_server(listener=server, compression=True, options=ServerOptions(
        close_timeout=120.0, ping_interval=0.0))).port
    peers: dict[Link, ClientConnection | BarePeer] = {}
    got: dict[ClientConnection | BarePeer, list[bytes]] = {}
    readers = []

    async def read(peer: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                data = await peer.recv()
                got[peer].append(data.encode() if isinstance(data, str) else data)
    for kind in (None, 'deflate', None, 'deflate', 'bare', 'bare'):
        peer = await bare(port) if kind == 'bare' else await dial(
            port, compression=kind, max_size=None, max_queue=1)
        got[peer] = []
        if isinstance(peer, ClientConnection):
            readers.append(asyncio.create_task(read(peer)))
        await async_wait_until(lambda: len(server.links) > len(peers))
        link = server.links[-1]
        peers[link] = peer
        if link._window._kernel is not None and choose.random() < 0.5:
            link._window._set(1e9, 0.0)       # the link is known to be fast
    sent: dict[Link, list[bytes]] = {link: [] for link in peers}
    ends = dict(zip(choose.sample(range(60), 3), choose.sample(list(peers), 3), strict=True))
    codes: dict[Link, int] = {}
    for number in range(60):
        text = b'%d:' % number + b'x' * choose.choice((0, 1, 200, 70_000, PIECE, 2 * PIECE))
        split = choose.choice((None, None, lambda frame: [frame[:1], frame[1:]]))
        item = StreamFrame('k', Parts(text[:1], text[1:]) if choose.random() < 0.2 else text, 99,
                           text=bool(number % 2), split=split)
        if isinstance(item.frame, bytes) and len(text) <= PIECE and choose.random() < 0.3:
            for link in peers:
                link.flush()
            hand_out(item, peers)
        else:
            fresh = [link for link in peers if link.stage(item)]
            for link in choose.sample(fresh, choose.randrange(len(fresh) + 1)):
                link.flush()
        if choose.random() < 0.2:
            for link in peers:
                link.websocket.send_fence()
        for link in peers:
            if link not in codes:
                sent[link] += [text[:1], text[1:]] if split else [text]
        ended = ends.get(number)
        if ended is not None:
            codes[ended] = 1006 if isinstance(peers[ended], BarePeer) \
                else choose.choice((4000, 1006))
            if codes[ended] == 4000:
                ended.close(4000, 'bye')
            else:
                ended.abort('cut')
        await asyncio.sleep(choose.choice((0, 0, 0.002)))
    for link in peers:
        link.flush()
        if link not in codes:
            codes[link] = 4001
            if isinstance(peers[link], BarePeer):
                link.abort('end')
            else:
                link.close(4001, 'end')
    await asyncio.wait(readers, timeout=120.0)
    for link, peer in peers.items():
        if isinstance(peer, ClientConnection):
            assert got[peer] == sent[link][:len(got[peer])]
            assert peer.close_code == codes[link], peer.close_reason
            assert codes[link] == 1006 or len(got[peer]) == len(sent[link])
    await async_wait_until(lambda: len(server.ends) == len(peers))


async def test_a_message_is_handed_on_as_soon_as_it_is_parsed(make_server: MakeServer,
                                                              bare: Bare) -> None:
    """Not in a later turn of the loop; text that is none ends it as ever."""
    server = Recorder()
    await bare((await make_server(listener=server)).port)
    link = await server.link()
    await asyncio.sleep(0)
    link.websocket.data_received(masked(TEXT, b'one') + masked(BINARY, b'two'))
    assert server.frames == ['one', b'two']
    assert (link.messages_in, link.bytes_in) == (2, 6)
    link.websocket.data_received(masked(TEXT, b'\xff') + masked(TEXT, b'after'))
    await server.end()
    closing = link.websocket.protocol.close_sent
    assert closing is not None and closing.code == 1007
    assert server.frames == ['one', b'two']


@pytest.mark.parametrize('seed', range(4))
async def test_what_is_read_is_in_order_whatever_its_way(make_server: MakeServer, bare: Bare,
                                                         seed: int) -> None:
    """At once or by the queue; in pieces, pausing, after a long message; never while paused."""
    choose = random.Random(seed)
    sent: list[str | bytes] = []
    while_paused: list[str | bytes] = []

    class Pausing(Recorder):

        def received(self, link: Link, data: str | bytes) -> None:
            super().received(link, data)
            if link.is_paused:
                while_paused.append(data)
            elif choose.random() < 0.1:
                link.pause()
                asyncio.get_running_loop().call_later(choose.choice((0, 0.001)), link.resume)
            if choose.random() < 0.02:
                time.sleep(0.003)       # longer than a turn

    server = Pausing()
    peer = await bare((await make_server(listener=server)).port)
    await server.link()
    stream = bytearray()
    for number in range(1500):
        payload = b'%d,' % number * choose.choice((1, 1, 1, 3, 3000))
        text = bool(choose.randrange(2))
        sent.append(payload.decode() if text else payload)
        cut = choose.randrange(len(payload)) if choose.random() < 0.1 else None
        for part, opcode, is_last in [(payload, 1 if text else 2, True)] if cut is None else [
                (payload[:cut], 1 if text else 2, False), (payload[cut:], 0, True)]:
            stream += masked(opcode, part, is_last=is_last)
    while stream:
        size = choose.choice((1, 20, 500, 10_000, 100_000))
        await peer.send(bytes(stream[:size]))
        del stream[:size]
        if choose.random() < 0.3:
            await asyncio.sleep(0.001)
    await async_wait_until(lambda: len(server.frames) == len(sent))
    assert server.frames == sent
    assert not while_paused


@pytest.mark.parametrize(('address', 'text'), [
    (('127.0.0.1', 80), '127.0.0.1:80'), (('::1', 80, 0, 0), '[::1]:80'), (None, 'unknown'),
    ('/run/socket', '/run/socket')])
def test_address_text(address: object, text: str) -> None:
    """Any kind of socket address has one."""
    assert address_text(address) == text
