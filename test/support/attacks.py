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
Attacks on a bridge over real sockets; each returns what became of its attempts, counted.

One call is one round. The tests run each round once; ``test/bench/measure_attacks.py`` repeats
them from a process of its own: ``python test/support/attacks.py NAME PORT TOKEN SECONDS``.
"""
from __future__ import annotations

import asyncio
import base64
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
import hashlib
import hmac
from itertools import cycle
import json
import os
import resource
import socket
import ssl
import sys
import time
from typing import Any
import zlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
import jwt
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ws_bridge.protocol.foxglove_frames import ASSET_RESPONSE
from ws_bridge.protocol.native import BINARY_HEADER

HOST = '127.0.0.1'
MEGABYTE = 1 << 20
HURRY = 10.0
"""No single attempt takes longer, s."""
SAYS_FOR = 1.0
"""How long a peer that is inside says what it may, s."""
LEAKS = (b'root:x:', b'\nset-cookie:')
"""What no answer may have in it: a file of the system, a header of a request; lower case."""


@dataclass(frozen=True)
class Target:
    """
    What is attacked.

    :param token: of an observer, for attacks from inside.
    :param key: the private key, PEM, of who issues JSON web tokens: one that has expired is real.
    :param source: the address to attack from: others are not to suffer for it.
    :param is_tls: whether it speaks TLS.
    """

    port: int
    token: str
    key: bytes = b''
    source: str = '127.0.0.2'
    is_tls: bool = False

    @property
    def url(self) -> str:
        """Where a client connects."""
        return f'{"wss" if self.is_tls else "ws"}://{HOST}:{self.port}'

    def inside(self, **options: Any) -> Any:
        """Connect with the token."""
        options.setdefault('subprotocols', ['ws_bridge.v1'])
        options.setdefault('additional_headers', {'Authorization': f'Bearer {self.token}'})
        return connect(self.url, max_size=None, compression=None, proxy=None,
                       local_addr=(self.source, 0), **options)


Attack = Callable[[Target], Awaitable['Counter[str]']]


async def handshake(target: Target, **options: Any) -> str:
    """Return the status that a handshake is answered with, or ``in``."""
    try:
        async with connect(target.url, compression=None, proxy=None,
                           local_addr=(target.source, 0), **options):
            return 'in'
    except InvalidStatus as exc:
        return str(exc.response.status_code)
    except (InvalidHandshake, OSError, EOFError, TimeoutError):
        return 'cut'


async def open_connection(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect without any protocol."""
    return await asyncio.open_connection(HOST, target.port, local_addr=(target.source, 0))


async def raw(target: Target, data: bytes) -> str:
    """Send bytes; return the status of the answer, ``leaked``, or ``cut`` if there is none."""
    try:
        reader, writer = await open_connection(target)
    except OSError:
        return 'cut'
    try:
        writer.write(data)
        answer = await asyncio.wait_for(reader.readline(), HURRY)
        words = answer.decode(errors='replace').split()
        if len(words) < 2:
            return 'cut'
        with suppress(OSError, asyncio.TimeoutError):
            while chunk := await asyncio.wait_for(reader.read(MEGABYTE), HURRY):
                answer += chunk
        return 'leaked' if any(leak in answer.lower() for leak in LEAKS) else words[1]
    except (OSError, asyncio.TimeoutError, ValueError):
        return 'cut'
    finally:
        writer.transport.abort()


async def many(count: int, one: Callable[[], Awaitable[str]], at_once: int = 20) -> Counter[str]:
    """Do something so many times, some of them at once."""
    outcomes: Counter[str] = Counter()
    left = count

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            outcomes[await one()] += 1
    await asyncio.gather(*(work() for _ in range(min(at_once, count))))
    return outcomes


def part(value: Any) -> str:
    """Return one part of a JSON web token."""
    raw_part = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw_part).rstrip(b'=').decode()


def web_token(key: bytes, **claims: Any) -> str:
    """Return a JSON web token of who has the key."""
    return jwt.encode({'sub': 'root', 'role': 'admin', 'exp': int(time.time()) + 600, **claims},
                      key, 'RS256')


def forgeries(key: bytes) -> dict[str, str]:
    """Return JSON web tokens that let nobody in, by what is wrong with them."""
    private: Any = serialization.load_pem_private_key(key, None)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption())
    right = web_token(key)
    head, claims, signature = right.split('.')
    unsigned = {alg: f'{part({"alg": alg, "typ": "JWT"})}.{claims}' for alg in
                ('none', 'NONE', 'HS256')}
    return {'wrong': 'wrong', 'expired': web_token(key, exp=int(time.time()) - 60),
            'not yet': web_token(key, nbf=int(time.time()) + 600), 'foreign': web_token(other),
            'alg none': f'{unsigned["none"]}.', 'alg NONE': f'{unsigned["NONE"]}.',
            'none, with a signature': f'{unsigned["none"]}.{signature}',
            'signed by the public key': f'{unsigned["HS256"]}.' + part(hmac.new(
                public, unsigned['HS256'].encode(), hashlib.sha256).digest()),
            'other claims': f'{head}.{part({"sub": "root", "role": "admin"})}.{signature}',
            'without a signature': f'{head}.{claims}.', 'cut': right[:-20]}


async def web_tokens(target: Target) -> Counter[str]:
    """Log in with wrong, expired, foreign, unsigned and re-signed tokens."""
    tokens = list(forgeries(target.key).values())
    return await many(len(tokens), lambda: handshake(target, additional_headers={
        'Authorization': f'Bearer {tokens.pop()}'}))


async def origin(target: Target) -> Counter[str]:
    """Connect as a page of somebody else."""
    return await many(20, lambda: handshake(target, origin='http://evil.example'))


async def rebinding(target: Target) -> Counter[str]:
    """Connect as a page whose own name points to this machine."""
    return await many(20, lambda: raw(target, (
        b'GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n'
        b'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
        b'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n')))


async def slowloris(target: Target) -> Counter[str]:
    """Begin many handshakes and never end them."""
    async def one() -> str:
        try:
            reader, writer = await open_connection(target)
        except OSError:
            return 'cut'
        try:
            writer.write(b'GET / HTTP/1.1\r\nX: ')
            while True:
                writer.write(b'x')
                if await asyncio.wait_for(asyncio.shield(reader.read(1)), 0.2) == b'':
                    return 'cut'
        except asyncio.TimeoutError:
            return 'held'
        except OSError:
            return 'cut'
        finally:
            writer.transport.abort()
    return await many(300, one, 300)


async def half_open(target: Target) -> Counter[str]:
    """Become peers that then neither read nor answer; here for a moment only."""
    peers = []
    for _ in range(20):
        with suppress(InvalidHandshake, OSError, EOFError):
            peer = await target.inside(ping_interval=None)
            peer.transport.pause_reading()
            peers.append(peer)
    await asyncio.sleep(0.5)
    for peer in peers:
        peer.transport.abort()
    return Counter(opened=len(peers))


QUESTIONS = {
    'ws_bridge.v1': ('{"metadata":{"message_id":"x","message_type":"configuration"},'
                     '"data":{"op":"list"}}', '"x"'),
    'rosbridge.v2': ('{"op":"call_service","id":"x","service":"/rosapi/get_time"}', '"x"'),
    'foxglove.sdk.v1': ('{"op":"x"}', "'x' is unknown")}
"""By dialect, what is answered, and what is in the answer."""


async def braces(target: Target) -> Counter[str]:
    """Send a megabyte of what nests."""
    outcomes: Counter[str] = Counter()
    for text in ('{' * MEGABYTE, '[' * MEGABYTE, '{"a":' * (MEGABYTE // 5),
                 '[' * (MEGABYTE // 2) + ']' * (MEGABYTE // 2), '[' * MEGABYTE + 'NaN'):
        for subprotocol, (question, sign) in QUESTIONS.items():
            try:
                async with target.inside(subprotocols=[subprotocol]) as peer:
                    await peer.send(text)
                    await peer.send(question)
                    async for frame in peer:
                        if isinstance(frame, str) and sign in frame:
                            outcomes['survived'] += 1
                            break
            except (ConnectionClosed, InvalidHandshake, OSError):
                outcomes['closed'] += 1
    return outcomes


def masked(payload: bytes, first: int) -> bytes:
    """Return a client's frame; the mask is zero, which is one, too."""
    return bytes([first, 0xFF]) + len(payload).to_bytes(8, 'big') + bytes(4) + payload


@lru_cache(1)
def squeezed() -> bytes:
    """Return 256 MB of nothing, compressed."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(MEGABYTE)
    return b''.join(squeeze.compress(block) for _ in range(256)) + squeeze.flush()


async def shake_hands(target: Target, subprotocol: str | None
                      ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect with the token and compression; what follows is up to the attack."""
    reader, writer = await open_connection(target)
    named = f'Sec-WebSocket-Protocol: {subprotocol}\r\n' if subprotocol else ''
    writer.write((
        f'GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n'
        f'Authorization: Bearer {target.token}\r\n{named}'
        'Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n').encode())
    head = await asyncio.wait_for(reader.readuntil(b'\r\n\r\n'), HURRY)
    assert b'permessage-deflate' in head
    return reader, writer


async def half_frames(target: Target) -> Counter[str]:
    """Begin binary messages and frames, and leave in the midst of them."""
    halves = (b'\x02\x85\0\0\0\0\x01\0\0\0\0', b'\x02\x82\0\0\0\0\x01\0' * 2,     # not the last
              b'\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0' + bytes(1000),     # a part of 1 MB
              b'\x02\x81\0\0\0\0\x01\x00\x81\0\0\0\0\0', b'\x82', b'\xc2\xff\0\0')
    outcomes: Counter[str] = Counter()
    for subprotocol in QUESTIONS:
        for half in halves:
            try:
                _, writer = await shake_hands(target, subprotocol)
            except (OSError, EOFError):     # too many come at once
                outcomes['cut'] += 1
                continue
            writer.write(half)
            await asyncio.sleep(0)
            writer.transport.abort()
            outcomes['left'] += 1
    return outcomes


async def bomb(target: Target) -> Counter[str]:
    """Send a little that inflates to 256 MB, in every dialect and before one is known."""
    small = squeezed()
    outcomes: Counter[str] = Counter()
    for subprotocol, first in ((None, 0xC1), *((name, 0xC2) for name in QUESTIONS)):
        reader, writer = await shake_hands(target, subprotocol)
        writer.write(masked(small, first))
        with suppress(OSError):
            rest = await asyncio.wait_for(reader.read(), HURRY)
            outcomes['1009' if (1009).to_bytes(2, 'big') in rest else 'open'] += 1
        writer.transport.abort()
    return outcomes


CONNECTS = 10_000
"""Connections of one attack."""


async def connects(target: Target) -> Counter[str]:
    """Connect and leave, :data:`CONNECTS` times."""
    loop = asyncio.get_running_loop()
    outcomes: Counter[str] = Counter()
    for number in range(CONNECTS):
        with socket.socket() as client:
            client.setblocking(False)
            client.bind((target.source, 0))
            try:
                await asyncio.wait_for(loop.sock_connect(client, (HOST, target.port)), HURRY)
                if number % 2:
                    await loop.sock_sendall(client, b'GET / HTTP/1.1\r\n')
                outcomes['connected'] += 1
            except OSError:
                outcomes['cut'] += 1
    return outcomes


Talk = Callable[[Target], Awaitable[tuple[str, Callable[[], None]]]]
"""Opens one connection; returns what became of it and what closes it."""


async def _bare(target: Target, data: bytes) -> tuple[str, Callable[[], None]]:
    loop = asyncio.get_running_loop()
    client = socket.socket()
    try:
        client.setblocking(False)
        client.bind((target.source, 0))
        await loop.sock_connect(client, (HOST, target.port))
        if data:
            await loop.sock_sendall(client, data)
    except OSError:
        client.close()
        return 'cut', client.close
    return 'connected', client.close


async def silent(target: Target) -> tuple[str, Callable[[], None]]:
    """Connect and say nothing."""
    return await _bare(target, b'')


async def hello(target: Target) -> tuple[str, Callable[[], None]]:
    """Say the first word of TLS and no other."""
    return await _bare(target, client_hello())


async def part_of_a_request(target: Target) -> tuple[str, Callable[[], None]]:
    """Begin a request, inside of TLS where there is TLS."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(
            HOST, target.port, local_addr=(target.source, 0),
            ssl=anybody() if target.is_tls else None), HURRY)
        writer.write(b'GET / HTTP/1.1\r\nX: ')
    except (OSError, asyncio.TimeoutError):
        return 'cut', lambda: None
    return 'connected', writer.transport.abort


async def handshake_only(target: Target) -> tuple[str, Callable[[], None]]:
    """Shake hands to the end and say nothing more."""
    try:
        peer = await asyncio.wait_for(connect(
            target.url, ssl=anybody() if target.is_tls else None, compression=None, proxy=None,
            local_addr=(target.source, 0), ping_interval=None), HURRY)
    except InvalidStatus as exc:
        return str(exc.response.status_code), lambda: None
    except (InvalidHandshake, OSError, EOFError, asyncio.TimeoutError):
        return 'cut', lambda: None
    return 'in', peer.transport.abort


@lru_cache(1)
def client_hello() -> bytes:
    """Return what a client of TLS says first."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        anybody().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


@lru_cache(1)
def anybody() -> ssl.SSLContext:
    """Return a client's context that trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def swarm(target: Target, talk: Talk, count: int = 10_000, at_once: int = 2_000,
                workers: int = 100) -> Counter[str]:
    """Open so many connections, and keep so many of them, the newest, open."""
    need_files(at_once + 500)
    kept: deque[Callable[[], None]] = deque()

    async def one() -> str:
        outcome, close = await talk(target)
        kept.append(close)
        if len(kept) > at_once:
            kept.popleft()()
        return outcome
    try:
        return await many(count, one, workers)
    finally:
        for close in kept:
            close()


def need_files(number: int) -> None:
    """Allow this process to have so many files open, where the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number and soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (
            number if hard == resource.RLIM_INFINITY else min(number, hard), hard))


SWARMS: dict[str, tuple[Attack, str]] = {
    f'{way}swarm: {name}': (partial(swarm, talk=talk), f'10,000 that {what}, 2,000 at once')
    for way in ('', 'TLS ') for name, talk, what in (
        ('silent', silent, 'say nothing'), ('hello', hello, 'say the first word of TLS'),
        ('part', part_of_a_request, 'begin a request'),
        ('handshake', handshake_only, 'shake hands, and say nothing more'))}
"""Those that begin with TLS want a bridge that has it."""


REQUEST = json.dumps({'metadata': {'message_type': 'configuration', 'message_id': 'x' * 200},
                      'data': {'op': 'list'}})


async def never_reads(target: Target) -> Counter[str]:
    """Ask for more and more and read none of it."""
    async with target.inside(ping_interval=None) as peer:
        peer.transport.pause_reading()
        end = time.monotonic() + HURRY
        try:
            while time.monotonic() < end:
                for _ in range(50):
                    await asyncio.wait_for(peer.send(REQUEST), 0.5)
        except (ConnectionClosed, asyncio.TimeoutError):
            return Counter(stuck=1)
        finally:
            peer.transport.abort()
    return Counter(taken=1)


async def flood(target: Target) -> Counter[str]:
    """Publish, which an observer may not, as fast as the socket takes it; read the errors."""
    command = json.dumps({'metadata': {'message_type': 'command', 'destination': '/cmd_vel'},
                          'data': {'linear': {'x': 1.0}}})
    codes: Counter[str] = Counter()
    async with target.inside() as peer:
        async def read() -> None:
            with suppress(ConnectionClosed):
                async for frame in peer:
                    data = json.loads(frame)['data']
                    if 'code' in data:
                        codes[data['code']] += 1
        reading = asyncio.create_task(read())
        with suppress(ConnectionClosed):
            for _ in range(60):
                for _ in range(100):
                    await peer.send(command)
                await asyncio.sleep(0)
            await peer.close()
        await reading
    return Counter(dict.fromkeys(codes, 1))


PATHS = ('/../../../../etc/passwd', '/..%2f..%2f..%2fetc/passwd', '/%2e%2e/%2e%2e/etc/passwd',
         '//etc/passwd', '/..\\..\\etc\\passwd', '/./../ws_bridge.yaml', '/%00', '/index.html%00',
         '/....//....//etc/passwd', '/?../../etc/passwd/..', 'http://evil/../etc/passwd', '*')


async def traversal(target: Target) -> Counter[str]:
    """Ask for files that are none of the page's."""
    paths = iter(PATHS)
    return await many(len(PATHS), lambda: raw(
        target, f'GET {next(paths)} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode()))


def injections() -> list[bytes]:
    """Return requests whose headers say more than they should."""
    good = (b'GET /version HTTP/1.1\r\nHost: localhost\r\n')
    return [good + header + b'\r\n\r\n' for header in (
        b'X: a\rSet-Cookie: b', b'X: a\nSet-Cookie: b', b'X\x00: a', b': a', b'X : a',
        b'X: ' + b'a' * 100_000, b'\r\n'.join(b'X: a' for _ in range(1000)),
        b'Content-Length: -1', b'Content-Length: 10\r\nTransfer-Encoding: chunked',
        b'X: \xff\xfe', b'Authorization: Bearer a\x0bb')] + [
        b'GET /version\r\nX: y HTTP/1.1\r\n\r\n', b'GET /' + b'a' * 100_000 + b' HTTP/1.1\r\n\r\n']


async def header_injection(target: Target) -> Counter[str]:
    """Send headers with more in them than one line."""
    requests = iter(injections())
    return await many(len(injections()), lambda: raw(target, next(requests)))


ATTACKS: dict[str, tuple[Attack, str]] = {
    'web tokens': (web_tokens, 'wrong, expired, foreign, unsigned, re-signed'),
    'origin': (origin, 'a page of somebody else'),
    'rebinding': (rebinding, 'a foreign name that points here'),
    'slowloris': (slowloris, '300 handshakes that never end'),
    'half-open': (half_open, '20 peers that neither read nor answer'),
    'braces': (braces, '1 MB that nests, every dialect'),
    'bomb': (bomb, '256 kB that inflate to 256 MB, every dialect'),
    'half frames': (half_frames, 'binary messages without an end, every dialect'),
    'connects': (connects, '10,000 connections'),
    'never reads': (never_reads, 'asks, and reads nothing'),
    'flood': (flood, 'as fast as the socket takes it'),
    'traversal': (traversal, 'files that are not of the page'),
    'header injection': (header_injection, 'more than one line in a header')}


def ask(op: str, **fields: Any) -> str:
    """Return a request of the native dialect."""
    return json.dumps({'metadata': {'message_type': 'configuration', 'message_id': op},
                       'data': {'op': op, **fields}})


def code_of(frame: str | bytes) -> str:
    """Return the code of an error, in the native dialect."""
    return str(json.loads(frame)['data'].get('code') or 'answers')


def code_for_viewers(frame: str | bytes) -> str:
    """Return the code of an error, in Foxglove's dialect."""
    if isinstance(frame, bytes):    # of an asset, with a status; or a sample, or the time
        return 'answers' if frame[0] != ASSET_RESPONSE or frame[5] == 0 \
            else frame[10:].partition(b':')[0].decode()
    told = json.loads(frame)
    return str(told['message']).partition(':')[0] if told['op'] == 'status' else 'answers'


async def say(target: Target, frames: Iterable[str | bytes],
              code: Callable[[str | bytes], str] = code_of, **options: Any) -> Counter[str]:
    """Send frames as fast as the socket takes them, and read; count what is refused, by code."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + SAYS_FOR
    async with target.inside(**options) as peer:
        async def read() -> None:
            with suppress(ConnectionClosed):
                async for frame in peer:
                    counts[code(frame)] += 1
        reading = asyncio.create_task(read())
        with suppress(ConnectionClosed):
            for number, frame in enumerate(frames):
                await peer.send(frame)
                if number % 50 == 49:
                    await asyncio.sleep(0)
                    if time.monotonic() > end:
                        break
            await asyncio.sleep(0.2)
            await peer.close()
        counts['closed'] += peer.close_code == 1008
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
    return counts


async def questions(target: Target) -> Counter[str]:
    """Ask what there is in the graph, and why nothing arrives."""
    return await say(target, cycle((
        ask('list', hidden=True), ask('gates'), ask('diagnose', topic='/attacked'),
        ask('diagnose', topic='/nobody_has_this'),
        ask('schema', type='sensor_msgs/msg/PointCloud2'))))


CROWD = 60
"""So many come at once: nearly all that one address may have."""


async def subscriptions(target: Target) -> Counter[str]:
    """Subscribe to names of its own, to more than it may, and leave."""
    return await say(target, (
        ask('subscribe', topic=f'/attacked_{number}', type='std_msgs/msg/String')
        for number in range(600)))


async def leaves(target: Target) -> Counter[str]:
    """Come as many, with as many subscriptions as it may have, and leave at once."""
    outcomes: Counter[str] = Counter(closed=0)

    async def come() -> Any:
        peer = await target.inside()
        for number in range(50):
            await peer.send(ask('subscribe', topic=f'/attacked_{number}',
                                type='std_msgs/msg/String'))
        await peer.send(ask('gates'))
        while json.loads(frame := await peer.recv())['metadata']['correlation_id'] != 'gates':
            outcomes[code_of(frame)] += 1
        return peer
    for peer in await asyncio.gather(*(come() for _ in range(CROWD))):
        peer.transport.abort()
    return outcomes


async def advertisements(target: Target) -> Counter[str]:
    """Advertise and take back names of its own."""
    return await say(target, (
        ask(op, topic=f'/attacked_{number % 120}', type='std_msgs/msg/String')
        for number in range(600) for op in ('advertise', 'unadvertise')))


async def gates(target: Target) -> Counter[str]:
    """Advertise and take back topics that get a gate each: the stop process makes them."""
    return await say(target, (
        ask(op, topic=f'/attacked_gate_{number % 120}', type='geometry_msgs/msg/Twist')
        for number in range(600) for op in ('advertise', 'unadvertise')))


async def calls(target: Target) -> Counter[str]:
    """Host a service that is never answered, and call it more often than it may."""
    call = json.dumps({'metadata': {'message_type': 'command', 'message_id': 'call',
                                    'destination': '/attacked_service', 'timeout': 1.0},
                       'data': {}})
    return await say(target, (
        ask('advertise_service', service='/attacked_service', type='std_srvs/srv/Trigger'),
        *[call] * 300))


async def leases(target: Target) -> Counter[str]:
    """Acquire and release the lease of a gate of its own, and of one that is not there."""
    return await say(target, (
        ask('advertise', topic='/attacked_gate', type='geometry_msgs/msg/Twist'),
        *(ask(op, gate=gate) for _ in range(1000) for op in ('acquire', 'release')
          for gate in ('/attacked_gate', '/nobody_has_this'))))


async def stops(target: Target) -> Counter[str]:
    """Assert the emergency stop, which passes the limits of messages and bytes."""
    return await say(target, (
        ask('advertise', topic='/attacked_gate', type='geometry_msgs/msg/Twist'),
        *[ask('stop', reason='attack')] * 20_000))


async def viewers(target: Target) -> Counter[str]:
    """Ask for all parameters, for files and for the graph, as Foxglove's clients can."""
    return await say(target, (json.dumps({'op': op, **fields}) for op, fields in cycle((
        ('getParameters', {'parameterNames': [], 'id': 'x'}),
        ('subscribeConnectionGraph', {}), ('unsubscribeConnectionGraph', {}),
        ('fetchAsset', {'uri': 'package://ws_bridge/x.stl', 'requestId': 1}),
        ('fetchAsset', {'uri': 'package://ws_bridge/../x.stl', 'requestId': 1}),
        ('subscribe', {'subscriptions': [{'id': 1, 'channelId': 1}]}),
        ('unsubscribe', {'subscriptionIds': [1]}),
        ('advertise', {'channels': [{'id': 1, 'topic': '/attacked_view', 'encoding': 'json',
                                     'schemaName': 'std_msgs/msg/String'}]}),
        ('unadvertise', {'channelIds': [1]})))),
        code_for_viewers, subprotocols=['foxglove.sdk.v1'])


def crowd() -> Iterator[str | bytes]:
    """Give frames of Foxglove's dialect that ask for much, or lie, each kind of them first."""
    def text(op: str, **fields: Any) -> str:
        return json.dumps({'op': op, **fields})

    def channel(number: Any, encoding: str = 'json', **more: Any) -> dict[str, Any]:
        return {'id': number, 'topic': f'/attacked_view_{number}', 'encoding': encoding,
                'schemaName': 'std_msgs/msg/String', **more}
    names = [f'/n{number}.x' for number in range(3000)]
    yield text('advertise', channels=[channel(number) for number in range(150)])
    yield text('unadvertise', channelIds=[*range(1000)])
    yield text('subscribe', subscriptions=[
        {'id': number, 'channelId': number} for number in range(1500)])
    yield text('unsubscribe', subscriptionIds=[*range(1500)])
    for op in ('getParameters', 'subscribeParameterUpdates', 'unsubscribeParameterUpdates'):
        yield text(op, parameterNames=names)
    for value in ('x' * 9_000_000, [1.5] * 50_000, {'a': [{}] * 5_000}):
        yield text('setParameters', id='x', parameters=[{'name': '/attacked.x', 'value': value}])
    for number in (2**32, 2**64, -1, 1.5, '1', None):
        yield text('subscribe', subscriptions=[{'id': number, 'channelId': number}])
        yield text('unsubscribe', subscriptionIds=[number])
        yield text('advertise', channels=[channel(number)])
        yield text('fetchAsset', uri='package://ws_bridge/x.stl', requestId=number)
    yield from (b'\1', b'\1\xff\xff\xff\xff', b'\2' * 12, b'\2' + b'\xff' * 12, b'\3\0',
                b'\x09', b'\xff' * 1000, b'')
    # what is said of a channel is not what comes on it
    yield text('advertise', channels=[channel(1, 'cdr', schema='int32 data'), channel(
        2, 'json', schemaEncoding='protobuf', schema='CgA='), channel(3, 'protobuf')])
    for number in (1, 2, 3):
        yield from (b'\1%b%b' % (number.to_bytes(4, 'little'), payload) for payload in (
            b'', b'{"data": "x"}', b'\0\1\0\0\xff\xff\xff\xff', b'\0\1\0\0\2\0\0\0x\0',
            b'\xff' * 9000))
    yield from (text('getParameters', parameterNames=[], id=f'{number}') for number in range(200))
    yield from (text('fetchAsset', uri='package://ws_bridge/meshes/base.stl', requestId=number)
                for number in range(2000))
    yield from (text('advertise', channels=[channel(number)]) for number in range(5000))


async def viewers_in_a_crowd(target: Target) -> Counter[str]:
    """Ask for much at once, with numbers that overflow, half frames and lies."""
    return await say(target, crowd(), code_for_viewers, subprotocols=['foxglove.sdk.v1'])


INSIDE: dict[str, tuple[Attack, str]] = {
    'questions': (questions, 'asks for names, types and reasons'),
    'subscriptions': (subscriptions, '600 topics of its own'),
    'leaves': (leaves, '60 peers with 50 topics each, at once'),
    'advertisements': (advertisements, '120 topics, made and taken back'),
    'gates': (gates, '120 topics with a gate each, made and taken back'),
    'calls': (calls, '300 calls that nobody answers'),
    'leases': (leases, 'acquires and releases'),
    'viewers': (viewers, 'asks for parameters, files and the graph'),
    'crowd of viewers': (viewers_in_a_crowd, 'thousands of ids, names and files, and lies'),
    'stops': (stops, '20,000 emergency stops')}
"""Those of a peer that may do what it does; it needs an operator's token."""


CAMERA, AHEAD_CAMERA = '/attacked_camera', '/attacked_ahead'
AHEAD = 3600.0
"""By so much the clock of that camera is ahead, s; see :mod:`support.attacked_camera`."""
PAGE = '/ws_bridge.js'


async def look(target: Target, query: str) -> str:
    """Look at a stream for a moment; return the status, and whether pictures came."""
    try:
        reader, writer = await open_connection(target)
    except OSError:
        return 'cut'
    data = b''

    async def take() -> None:
        nonlocal data
        while chunk := await reader.read(MEGABYTE):
            data += chunk
    try:
        writer.write(f'GET /stream?topic={CAMERA}&{query} HTTP/1.1\r\nHost: localhost\r\n'
                     f'Authorization: Bearer {target.token}\r\n\r\n'.encode())
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(take(), SAYS_FOR)
    except OSError:
        return 'cut'
    finally:
        writer.transport.abort()
    if b'X-Timestamp' in data:
        return 'pictures'
    return data.split()[1].decode() if data else 'waits'


async def enlarged(target: Target) -> Counter[str]:
    """Look at a camera in the largest size that there is."""
    return Counter([await look(target, 'width=8192&height=8192')])


async def sizes(target: Target) -> Counter[str]:
    """Look at a camera in more sizes than it is made in."""
    return Counter(await asyncio.gather(*(
        look(target, f'width={width}') for width in range(20, 180, 10))))


async def comes_and_goes(target: Target) -> Counter[str]:
    """Begin to watch a video, and end it: who begins needs a key frame."""
    wish = {'topic': CAMERA, 'encoding': 'video'}
    return await say(target, (ask(op, **wish) for _ in range(300)
                              for op in ('subscribe', 'unsubscribe')), code_of_text)


async def slow_readers(target: Target) -> Counter[str]:
    """Ask for pages, and take them byte by byte."""
    loop = asyncio.get_running_loop()
    request = f'GET {PAGE} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode()

    async def one() -> str:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            slow.bind((target.source, 0))
            try:
                await asyncio.wait_for(loop.sock_connect(slow, (HOST, target.port)), HURRY)
                await loop.sock_sendall(slow, request)
                end = time.monotonic() + SAYS_FOR
                while time.monotonic() < end:
                    if not await asyncio.wait_for(loop.sock_recv(slow, 1), HURRY):
                        return 'cut'
                    await asyncio.sleep(0.02)
            except (OSError, asyncio.TimeoutError):
                return 'cut'
        return 'held'
    return await many(60, one, 60)


async def clock_ahead(target: Target) -> Counter[str]:
    """Watch a camera whose clock is ahead: no frame may say that it is of the future."""
    outcomes: Counter[str] = Counter()
    async with target.inside() as peer:
        async def take() -> None:
            async for frame in peer:
                if isinstance(frame, str):
                    outcomes[code_of(frame)] += 1
                else:
                    stamp = BINARY_HEADER.unpack_from(frame)[4]
                    outcomes['now' if stamp < time.time() + 1.0 else 'ahead'] += 1
        await peer.send(ask('subscribe', topic=AHEAD_CAMERA, encoding='video', codec='jpeg'))
        with suppress(ConnectionClosed, asyncio.TimeoutError):
            await asyncio.wait_for(take(), SAYS_FOR)
    return outcomes


def code_of_text(frame: str | bytes) -> str:
    """Return the code of an error, in the native dialect, or that it is a sample."""
    return code_of(frame) if isinstance(frame, str) else 'frames'


CAMERAS: dict[str, tuple[Attack, str]] = {
    'enlarged': (enlarged, 'one viewer of `/stream`, 8192 x 8192'),
    'sizes': (sizes, 'one camera in 16 sizes'),
    'comes and goes': (comes_and_goes, 'begins and ends a video 300 times'),
    'slow readers': (slow_readers, '60 that take a page byte by byte'),
    'clock ahead': (clock_ahead, 'a camera whose clock is an hour ahead')}
"""Those that want the cameras of :mod:`support.attacked_camera`, and others who watch."""


KNOWN = {**ATTACKS, **SWARMS, **INSIDE, **CAMERAS}


async def repeat(attack: Attack, target: Target, seconds: float) -> Counter[str]:
    """Attack again and again."""
    end = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    while time.monotonic() < end:
        try:
            outcomes += await attack(target)
        except (OSError, InvalidHandshake, EOFError, asyncio.TimeoutError) as exc:
            outcomes[f'failed ({type(exc).__name__})'] += 1
            await asyncio.sleep(0.1)
    return outcomes


if __name__ == '__main__':
    _, name, port_text, own_token, seconds_text = sys.argv
    print(json.dumps(asyncio.run(repeat(
        KNOWN[name][0],
        Target(int(port_text), own_token, os.environ.get('ATTACKED_KEY', '').encode(),
               f'127.0.0.{2 + [*KNOWN].index(name)}', name.startswith('TLS ')),
        float(seconds_text)))))
