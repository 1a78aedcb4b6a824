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
"""Accepting: what is counted before TLS, files that run out, addresses, turns of handshakes."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
import gc
import socket
import ssl
import subprocess
import sys
from typing import Any
import weakref

import pytest
from support.attacks import client_hello
from support.certificates import Pair
from support.helpers import async_wait_until, tries
from support.transport_support import Dial, http, MakeServer, Recorder
from websockets.asyncio.client import connect

from ws_bridge import WebSocketServer
from ws_bridge.addresses import is_loopback
from ws_bridge.transport.crowd import forget_itself
from ws_bridge.transport.options import HttpReply, ServerOptions, Visitor
from ws_bridge.transport.tls_server import TlsTurns

HAS_IPV6 = socket.has_dualstack_ipv6()


def trusting(pair: Pair) -> ssl.SSLContext:
    """Return a client's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pair.cert)
    return context


def counted(server: WebSocketServer) -> int:
    """Return how many connections a server counts."""
    listening = server._listening
    assert listening is not None
    return len(listening._crowd._tickets)


@pytest.fixture
def make_tls_server(make_server: MakeServer, certificates: dict[str, Pair]) -> MakeServer:
    """Give a function that starts a server with TLS."""
    pair = certificates['server']

    async def make(**options: Any) -> WebSocketServer:
        recorder = options.pop('listener', None)
        return await make_server(
            listener=recorder, security_level='encrypted', ssl_cert_path=pair.cert,
            ssl_key_path=pair.key, options=ServerOptions(**options))
    return make


@pytest.mark.parametrize('first_word', [b'', client_hello()], ids=['silent', 'hello'])
async def test_connections_are_counted_before_tls(
        make_tls_server: MakeServer, certificates: dict[str, Pair], first_word: bytes) -> None:
    told: list[str] = []
    server = await make_tls_server(max_handshakes=8, handshake_timeout=1.0,
                                   refused=lambda why, _: told.append(why))
    url = f'wss://127.0.0.1:{server.port}'
    tls = trusting(certificates['authority'])
    async with connect(url, ssl=tls) as peer:
        writers = []
        for _ in range(10):
            _, writer = await asyncio.open_connection('127.0.0.1', server.port)
            writer.write(first_word)
            writers.append(writer)
        await async_wait_until(lambda: told.count('handshakes') == 6, why=lambda: str(told))
        async with connect(url, ssl=tls, local_addr=('127.0.0.9', 0)):
            await asyncio.wait_for(await peer.ping(), 5)
        # They are cut in time, and then count no more.
        await async_wait_until(lambda: told.count('handshake') == 4, why=lambda: str(told))
        async with connect(url, ssl=tls):
            pass
        for writer in writers:
            writer.transport.abort()
    await async_wait_until(lambda: counted(server) == 0)


async def test_many_handshakes_of_tls_take_turns(
        make_tls_server: MakeServer, certificates: dict[str, Pair],
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of one in a round of the loop; all of them end."""
    rounds: list[int] = []
    turn = 0

    class Counting(TlsTurns):

        def add(self, step: Callable[[], None]) -> None:
            def noted() -> None:
                rounds.append(turn)
                step()
            super().add(noted)
    monkeypatch.setattr('ws_bridge.transport.listening.TlsTurns', Counting)
    recorder = Recorder()
    server = await make_tls_server(listener=recorder)

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)
    counting = asyncio.create_task(count())
    tls = trusting(certificates['authority'])
    peers = await asyncio.gather(*(
        connect(f'wss://127.0.0.1:{server.port}', ssl=tls) for _ in range(20)))
    await async_wait_until(lambda: len(recorder.links) == 20)
    counting.cancel()
    assert len(rounds) >= 40
    assert len(rounds) == len(set(rounds))
    for peer in peers:
        await peer.send('x')
    await async_wait_until(lambda: len(recorder.frames) == 20)
    for peer in peers:
        await peer.close()
    await async_wait_until(lambda: counted(server) == 0)


async def test_a_large_message_over_tls(make_tls_server: MakeServer,
                                        certificates: dict[str, Pair]) -> None:
    recorder = Recorder()
    server = await make_tls_server(listener=recorder, max_message_size=10_000_000)
    async with connect(f'wss://127.0.0.1:{server.port}', max_size=None,
                       ssl=trusting(certificates['authority'])) as peer:
        await peer.send(b'x' * 5_000_000)
        await async_wait_until(lambda: recorder.frames)
        assert recorder.frames == [b'x' * 5_000_000]
        recorder.links[0].send(b'y' * 5_000_000, text=False)
        assert await peer.recv() == b'y' * 5_000_000


class SlowLoop:
    """A loop on which time passes as it is told."""

    def __init__(self) -> None:
        self.now = 1.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        self.calls.append((when, call))

    def next_one(self) -> float:
        """Make the next call; return how long that was waited for."""
        when, call = self.calls.pop()
        assert not self.calls
        waited = max(when - self.now, 0.0)
        self.now += waited
        with suppress(ValueError):
            call()
        return waited


def test_after_a_step_of_a_handshake_the_others_have_as_long() -> None:
    done: list[str] = []
    loop: Any = SlowLoop()
    turns = TlsTurns(loop)

    def fail() -> None:
        loop.now += 0.25
        raise ValueError

    def step(name: str, seconds: float) -> None:
        loop.now += seconds
        done.append(name)
    for each in (partial(step, 'a', 0.5), fail, partial(step, 'b', 0.0)):
        turns.add(each)
    assert repr(turns) == 'TlsTurns(3 waiting)'
    assert [loop.next_one() for _ in range(3)] == [0.0, 0.5, 0.25]
    assert done == ['a', 'b']
    turns.add(partial(step, 'c', 2.0))
    assert loop.next_one() == 0.0
    loop.now += 0.5
    turns.add(partial(step, 'd', 0.0))      # also where none waited in between
    assert loop.next_one() == 1.5
    assert done == ['a', 'b', 'c', 'd']


WITHOUT_FILES = """
import asyncio, gc, resource, sys
from ws_bridge import InterfaceConfig, WebSocketServer
from ws_bridge.transport.accepting import ListeningSocket
from ws_bridge.transport.options import ServerOptions

async def main():
    server = WebSocketServer(InterfaceConfig(endpoint='127.0.0.1:0'), options=ServerOptions(
        max_handshakes=10000))
    assert await server.connect()
    if 'no reserve' in sys.argv:
        for each in gc.get_objects():
            if isinstance(each, ListeningSocket):
                each._give_reserve()
        ListeningSocket._take_reserve = lambda self: None
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    print(server.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.disconnect()
asyncio.run(main())
"""


@pytest.fixture(params=['reserve', 'no reserve'])
def without_files(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Give a server, a process of its own, that may have few files open."""
    with subprocess.Popen([sys.executable, '-c', WITHOUT_FILES, request.param],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


async def test_without_files_it_says_so_once_and_cuts_who_comes(
        without_files: subprocess.Popen[str]) -> None:
    process = without_files
    assert process.stdout is not None and process.stderr is not None
    port = int(process.stdout.readline())
    peers = [await asyncio.open_connection('127.0.0.1', port) for _ in range(60)]
    said = await asyncio.wait_for(asyncio.to_thread(process.stderr.readline), 20)
    if process.args[-1] == 'reserve':   # type: ignore[index]
        # The last ones are cut, not left waiting.
        assert await asyncio.wait_for(peers[-1][0].read(), 10) == b''
    for _, writer in peers:
        writer.transport.abort()

    async def answer() -> int:
        try:
            return (await http(port, 'GET / HTTP/1.1\nHost: localhost\n\n'))[0]
        except (OSError, IndexError):
            return 0
    for _ in tries():
        if await answer() == 426:
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail('it does not accept again')
    _, error = process.communicate('', timeout=20)
    assert process.returncode == 0
    assert 'no connection can be accepted' in said
    assert error == ''


@pytest.mark.skipif(not HAS_IPV6, reason='this machine has no IPv6')
@pytest.mark.parametrize(('host', 'reached'), [
    ('[::]', ('127.0.0.1', '::1')), ('localhost', ('127.0.0.1',)), ('[::1]', ('::1',))])
async def test_addresses(make_server: MakeServer, host: str, reached: tuple[str, ...]) -> None:
    """A peer that comes by IPv4 has an IPv4 address, whatever carries it."""
    seen: list[Visitor] = []

    async def page(visitor: Visitor) -> HttpReply:
        seen.append(visitor)
        return HttpReply(200)
    recorder = Recorder()
    server = await make_server(endpoint=f'{host}:0', listener=recorder,
                               options=ServerOptions(http=page))
    for address in reached:
        reader, writer = await asyncio.open_connection(address, server.port)
        writer.write(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
        assert b' 200 ' in await reader.readline()
        writer.transport.abort()
    assert tuple(visitor.address for visitor in seen) == reached


@pytest.mark.skipif(not HAS_IPV6, reason='this machine has no IPv6')
async def test_ipv4_in_ipv6_is_on_this_machine(make_server: MakeServer, dial: Dial) -> None:
    recorder = Recorder()
    server = await make_server(endpoint='[::]:0', listener=recorder)
    await dial(server.port)
    link = await recorder.link()
    assert link.address == '127.0.0.1'
    assert link.remote.startswith('127.0.0.1:')
    assert is_loopback('::ffff:127.0.0.1')
    assert not is_loopback('::ffff:10.0.0.1')


async def test_a_taken_port_leaves_nothing_bound(make_server: MakeServer) -> None:
    server = await make_server()
    other = WebSocketServer(server.config)
    assert not await other.start_server('127.0.0.1', server.port)
    assert str(server.port) in str(other.last_error)


class Ending(asyncio.Protocol):
    """Lets go of its transport when that has ended."""

    def __init__(self) -> None:
        self.has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True
        forget_itself(self.transport)


@pytest.mark.parametrize('end', ['close', 'abort'])
async def test_a_transport_that_has_ended(end: str) -> None:
    """It can be aborted, though its last bytes left after it was closed, and is no garbage."""
    here, there = socket.socketpair()
    there.setblocking(False)
    transport, ending = await asyncio.get_running_loop().create_connection(Ending, sock=here)
    while not transport.get_write_buffer_size():
        transport.write(bytes(100_000))
    getattr(transport, end)()
    while not ending.has_ended:
        with suppress(BlockingIOError):
            there.recv(1_000_000)
        await asyncio.sleep(0)
    transport.abort()
    there.close()
    gc.collect()
    gc.disable()
    try:
        held = weakref.ref(transport)
        del transport, ending.transport
        assert held() is None
    finally:
        gc.enable()
