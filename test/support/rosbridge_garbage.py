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
Garbage for the rosbridge dialect, and the process that throws it at a bridge.

``python rosbridge_garbage.py ws://127.0.0.1:9090 [rounds]`` prints one line of JSON: how many
frames it sent, how many of them were no operation, how many errors it was told, what it was
closed with, and what is not as it must be.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import json
from pathlib import Path
import random
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

import cbor2
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 20.0
LARGEST = 10_000_000
TYPE, SERVICE, ACTION = 'std_msgs/Int32', 'std_srvs/SetBool', 'test_msgs/action/Fibonacci'

EXAMPLES: dict[str, dict[str, Any]] = {
    'advertise': {'topic': '/garbage', 'type': TYPE, 'latch': False, 'queue_size': 1, 'qos': {}},
    'unadvertise': {'topic': '/garbage'},
    'publish': {'topic': '/garbage', 'msg': {'data': 1}},
    'subscribe': {'topic': '/garbage', 'type': TYPE, 'throttle_rate': 1, 'queue_length': 1,
                  'fragment_size': 1000, 'compression': 'none', 'qos': {}},
    'unsubscribe': {'topic': '/garbage'},
    'call_service': {'service': '/garbage/none', 'args': {}, 'timeout': 0.2},
    'advertise_service': {'service': '/garbage/service', 'type': SERVICE},
    'unadvertise_service': {'service': '/garbage/service'},
    'service_response': {'service': '/garbage/service', 'values': {}, 'result': True},
    'send_action_goal': {'action': '/garbage/none', 'action_type': ACTION, 'args': {},
                         'feedback': True},
    'cancel_action_goal': {'action': '/garbage/none'},
    'advertise_action': {'action': '/garbage/action', 'type': ACTION, 'action_type': ACTION},
    'unadvertise_action': {'action': '/garbage/action'},
    'action_feedback': {'action': '/garbage/action', 'values': {}},
    'action_result': {'action': '/garbage/action', 'values': {}, 'status': 4, 'result': True},
    'status': {'level': 'info', 'msg': 'text'},
    'auth': {'mac': 'text', 'client': 'text', 'dest': 'text', 'rand': 'text', 't': 0,
             'level': 'text', 'end': 0},
    'set_level': {'level': 'error'},
    'fragment': {'data': 'x', 'num': 0, 'total': 2},
    'png': {'data': 'AAAA', 'num': 0, 'total': 1},
}
"""Every operation that a client sends, with all its fields but ``id``."""

QOS = {'history': 1, 'depth': 1, 'reliability': 1, 'durability': 1, 'lifespan': 1, 'deadline': 1,
       'liveliness': 1}

WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, -2**63, 2**64 - 1, 10**30, 0.5, -0.5, 1e308, '', 'x',
    'no such', '/no such', '//', '~', '\0', 'ä' * 300, 'x' * 100_000, [], [[]], [None] * 100,
    {}, {'x': 1}, {'': {'': {}}}, {'sec': 'x'})
"""Values of every kind; what is right for one field is wrong for the next."""


def message(op: str, **change: Any) -> dict[str, Any]:
    """Return a whole operation."""
    return {'op': op, 'id': f'{op}:1', **EXAMPLES[op], **change}


def wrong_kinds(op: str) -> Iterator[str]:
    """Return an operation with each field missing, and with each value in each field."""
    whole = message(op)
    for field in whole:
        yield json.dumps({key: value for key, value in whole.items() if key != field})
        for value in WRONG:
            yield json.dumps({**whole, field: value})
    if 'qos' in whole:
        for field in QOS:
            for value in WRONG:
                yield json.dumps({**whole, 'qos': {**QOS, field: value}})


def cut() -> Iterator[str]:
    """Return JSON that ends too early."""
    for op in EXAMPLES:
        text = json.dumps(message(op))
        for end in range(0, len(text), 3):
            yield text[:end]


def deep() -> Iterator[str | bytes]:
    """Return what nests, or promises, too much."""
    for text in ('{', '[', '{"a":', '[[],', '"', '{"op":"publish","topic":"/garbage","msg":['):
        yield text * 10_000
        yield '{"op":"publish","topic":"/garbage","msg":' + text * 10_000
        yield '{"op":"publish","topic":"/garbage","msg":NaN' + text * 10_000
    yield '{"op":"publish","topic":"/garbage","msg":' + '[' * 900 + ']' * 900 + '}'
    yield from (byte * 10_000 for byte in (b'\x81', b'\xa1', b'\xc1', b'\xd8', b'\x9f', b'\xbf'))
    for byte in (b'\x5b', b'\x7b', b'\x9b', b'\xbb'):   # 2^64 bytes, characters, items, pairs
        yield b'\xa1\x62op' + byte + b'\xff' * 8


def bad_cbor() -> Iterator[bytes]:
    """Return CBOR that ends too early, or has wrong kinds."""
    for op in EXAMPLES:
        data = cbor2.dumps(message(op))
        yield from (data[:end] for end in range(0, len(data), 5))
    for value in (b'\x00', cbor2.CBORTag(69, b'\x00'), cbor2.CBORTag(86, 'x'), cbor2.undefined,
                  cbor2.CBORSimpleValue(99), {1: 2}, {b'x': 1}, float('nan'), 10**40):
        yield cbor2.dumps(value)
        for key in ('op', 'topic', 'msg', 'id'):
            yield cbor2.dumps({**message('publish'), key: value})
        yield cbor2.dumps(message('publish', msg={'data': value}))


def bad_parts() -> Iterator[str]:
    """Return fragments and images that contradict each other, or hide something."""
    for total, num in ((2, 0), (2, 0), (3, 1), (1, 1), (0, 0), (10**9, 5), (2, -1)):
        yield json.dumps(message('fragment', total=total, num=num))
    for number in range(40):
        yield json.dumps(message('fragment', id=f'f{number}', total=9999))
    inner = json.dumps(message('fragment', total=1))
    for text in (inner, '{' * 10_000, '', 'null', '{"op": 5}', json.dumps({'op': 'png'})):
        yield json.dumps(message('fragment', id=text[:9] + 'x', data=text, total=1))
    for data in ('', '?', 'AAAA', 'iVBORw0KGgo=', 'iVBORw0KGgoAAAANSUhEUgAA////////' * 9):
        yield json.dumps(message('png', data=data))
        yield json.dumps({'op': 'png', 'data': data})


def noise() -> Iterator[str | bytes]:
    """Return random frames, the same each time."""
    chance = random.Random(1)
    for _ in range(300):
        data = chance.randbytes(chance.randrange(200))
        yield data
        yield b'\xa3' + data
        yield data.decode('latin-1')
        yield '{' + data.decode('latin-1')
        words = bytearray(json.dumps(message(chance.choice(list(EXAMPLES)))).encode())
        words[chance.randrange(len(words))] = chance.randrange(32, 127)
        yield words.decode()


def groups() -> Iterator[list[str | bytes]]:
    """Return all garbage; each list is for a connection of its own."""
    for op in EXAMPLES:
        yield list(wrong_kinds(op))
    yield from (list(make()) for make in (cut, deep, bad_cbor, bad_parts, noise))


FIRST: tuple[str | bytes, ...] = (
    '', '{', '[]', 'null', '{}', '{' * 10_000, 'NaN', '{"x": 1}', '\0', '[{"op": "publish"}]')
"""First frames of no dialect; a binary one is taken for the native dialect's."""

UPGRADE = ('GET / HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
           'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
RAW: tuple[tuple[str, bytes], ...] = (
    ('', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc'), ('', b'\0' * 100_000), ('', b'GET / \r\n\r\n'),
    ('', b'GET / HTTP/1.1\r\n' + b'A: b\r\n' * 10_000),
    (UPGRADE, b'\x81\x01x'), (UPGRADE, b'\x83\x80\0\0\0\0'), (UPGRADE, b'\xff' * 50),
    (UPGRADE, b'\x81\x82\0\0\0\0\xff\xff'), (UPGRADE, b'\x88\x81\0\0\0\0x'),
    (UPGRADE, b'\x80\x80\0\0\0\0'), (UPGRADE, b'\x81\xff' + b'\x7f' * 8), (UPGRADE, b'\x81'))
"""Bytes that are no HTTP, and no WebSocket frames: the handshake before them, then they."""


IsOperation = Callable[[str | bytes], bool]


class Thrower:
    """
    Throws garbage and keeps what comes of it.

    :param is_operation: makes, for each connection, what tells whether a frame is one.
    """

    def __init__(self, url: str, is_operation: Callable[[], IsOperation]) -> None:
        self.url = url
        self.is_operation = is_operation
        self.frames = self.malformed = self.errors = 0
        self.closed: dict[str, int] = {}
        self.faults: list[str] = []

    def throw(self, frames: list[str | bytes]) -> None:
        """Send frames over one connection; each that is no operation must be told an error."""
        is_operation = self.is_operation()
        malformed = errors = 0
        with connect(self.url, max_size=None, close_timeout=TIMEOUT) as websocket:
            websocket.send('{"op": "set_level", "level": "error"}')
            for start in range(0, len(frames), 100):
                for frame in frames[start:start + 100]:
                    websocket.send(frame)
                    malformed += not is_operation(frame)
                # what a frame may have changed is put right again
                websocket.send('{"op": "set_level", "level": "error"}')
                errors += self.errors_told(websocket, f'end {start}')
        self.frames += len(frames)
        self.malformed += malformed
        self.errors += errors
        if errors < malformed:
            self.faults.append(f'{malformed} of {str(frames[0])[:80]}..., {errors} errors told')

    def errors_told(self, websocket: ClientConnection, end: str) -> int:
        """Count the errors up to the answer of a call."""
        websocket.send(json.dumps({'op': 'call_service', 'service': '/rosapi/get_time',
                                   'id': end}))
        errors = 0
        while True:
            told = websocket.recv(TIMEOUT)
            answer = json.loads(told) if isinstance(told, str) else {}
            if answer.get('id') == end and answer['op'] == 'service_response':
                return errors
            errors += answer.get('op') == 'status' or answer.get('result') is False

    def throw_first(self, frame: str | bytes) -> None:
        """Send a first frame; the connection must be closed with a reason."""
        with connect(self.url, close_timeout=TIMEOUT) as websocket:
            self.frames += 1
            try:
                websocket.send(frame)
                told: Any = websocket.recv(TIMEOUT)
            except ConnectionClosed as exc:
                self.note_end(exc.rcvd.code if exc.rcvd else 1006,
                              exc.rcvd.reason if exc.rcvd else '')
            else:
                self.faults.append(f'{str(frame)[:80]} was answered by {told[:80]!r}')

    def throw_raw(self, handshake: str, data: bytes) -> None:
        """Send bytes to the port and hang up; the other end must not wait for more than that."""
        place = urlsplit(self.url)
        with socket.create_connection((place.hostname, place.port), TIMEOUT) as raw:
            try:
                raw.sendall(handshake.format(netloc=place.netloc).encode() + data)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(65536):
                    pass
            except ConnectionError:
                pass  # it was cut off, as it deserves
        self.frames += 1

    def note_end(self, code: int, reason: str) -> None:
        self.closed[f'{code} {reason}'] = self.closed.get(f'{code} {reason}', 0) + 1
        if not reason:
            self.faults.append(f'closed with {code}, without a reason')

    def everything(self) -> None:
        """Throw all there is."""
        for frames in groups():
            self.throw(frames)
        for frame in (*FIRST, 'x' * (LARGEST + 1)):
            self.throw_first(frame)
        for handshake, data in RAW:
            self.throw_raw(handshake, data)
        self.answer_wrongly()

    def answer_wrongly(self) -> None:
        """Host a service and an action, call them, and answer with wrong kinds."""
        with connect(self.url, max_size=None) as websocket:
            for op, reply, name in (('advertise_service', 'service_response', '/garbage/host'),
                                    ('advertise_action', 'action_result', '/garbage/act')):
                kind = reply.partition('_')[0]
                hosted = message(op, **{kind: name})
                websocket.send(json.dumps(hosted))
                for number, value in enumerate((*WRONG, {'success': 'x'}, {'sequence': [2**40]})):
                    websocket.send(json.dumps(
                        {'op': 'call_service', 'service': name, 'timeout': 0.1}
                        if kind == 'service' else
                        {'op': 'send_action_goal', 'action': name, 'action_type': ACTION}))
                    websocket.send(json.dumps(message(
                        reply, id=f'{"service_request" if kind == "service" else "action_goal"}'
                        f':{name}:{number + 1}', values=value, **{kind: name})))
                    self.frames += 1
            self.errors += self.errors_told(websocket, 'end')


def report(thrower: Thrower) -> Mapping[str, Any]:
    """Return what came of it."""
    return {'frames': thrower.frames, 'malformed': thrower.malformed, 'errors': thrower.errors,
            'closed': thrower.closed, 'faults': thrower.faults}


def operation_tester() -> IsOperation:
    """Return what tells, by the codec itself, whether a frame is an operation."""
    from support.frames import one

    from ws_bridge.convert.cbor import cbor_values
    from ws_bridge.protocol.operations import Malformed
    from ws_bridge.protocol.rosbridge import RosbridgeDialect
    dialect = RosbridgeDialect(LARGEST, cbor_values)
    return lambda frame: not isinstance(one(dialect.decode(frame)), Malformed)


def main() -> None:
    """Throw everything, as often as told."""
    sys.path[:0] = str(ROOT), str(ROOT / 'test')
    thrower = Thrower(sys.argv[1], operation_tester)
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1):
        thrower.everything()
    print(json.dumps(report(thrower)))


if __name__ == '__main__':
    main()
