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
A bridge without ROS: the transport's server with answers that a test can change.

It holds every frame of both sides against the JSON Schema of the dialect.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
import json
from pathlib import Path
import threading
import time
from types import TracebackType
from typing import Any

from jsonschema import Draft202012Validator

from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import Forbidden, TimedOut, UnknownType, WsBridgeError
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.envelope import encode
from ws_bridge.protocol.native import BINARY_HEADER, SUBPROTOCOL
from ws_bridge.protocol.native_replies import error_fields
from ws_bridge.protocol.types import InterfaceConfig, MessageType
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import ServerOptions

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / 'docs' / 'reference' /
                     'ws_bridge.v1.schema.json').read_text())
TYPE = 'fake_msgs/msg/Sample'
TEXT = 'float64 x\nint64 large\nuint8[] raw\nfloat32[] list\n'
CODEC = Codec(schema_from_text(TYPE, TEXT))
SAMPLES = [{'x': float(number), 'large': 2 ** 62 + number, 'raw': 'AQI=', 'list': [0.5, 1.5]}
           for number in range(3)]
DEFINED: dict[str, dict[str, str]] = {
    TYPE: {'kind': 'message', 'text': TEXT},
    'fake_srvs/srv/Switch': {'kind': 'service', 'request': 'bool on\n', 'response': ''},
    **{f'fake_msgs/action/Go_{part}': {'kind': 'message', 'text': f'float32 {part.lower()}\n'}
       for part in ('Goal', 'Result', 'Feedback')}}
"""Types that can be asked for, and what they are."""
CHANNEL = 7
TOPICS = [
    {'topic': '/odom', 'types': [TYPE], 'channel': 'pose', 'publishers': 1, 'subscribers': 0,
     'subscribe': True, 'publish': False},
    {'topic': '/cmd_vel', 'types': ['geometry_msgs/msg/Twist'], 'channel': None, 'publishers': 0,
     'subscribers': 2, 'subscribe': True, 'publish': True}]
SERVICES = [{'service': '/reset', 'types': ['std_srvs/srv/Trigger'], 'call': True},
            {'service': '/hidden', 'types': ['std_srvs/srv/Empty'], 'call': False}]
GATE = 'drive'
HELLO = {'op': 'hello', 'dialect': 'ws_bridge.v1', 'session': 'p1', 'robot': 'fake',
         'version': '0', 'encodings': ['json'], 'capabilities': [],
         'heartbeat': {'interval': 0.05, 'timeout': 1.0},
         'limits': {'message_size': 1, 'message_rate': 1, 'subscriptions': 1,
                    'advertisements': 1, 'services': 1, 'calls': 1, 'goals': 1},
         'allowed': {'subscribe': [], 'publish': [], 'call': [], 'host': [], 'deny': []},
         'role': 'admin', 'may': [], 'login': 'none',
         'gates': [], 'estop': {'stopped': False, 'by': None, 'reason': ''}}
SILENCE = object()
ABNORMAL = 1006
OFFSET = 100.0
"""How far the fake's clock is ahead, s."""


def validator(side: str) -> Draft202012Validator:
    """Return the validator of the frames of ``peer`` or ``bridge``."""
    return Draft202012Validator({**SCHEMA, 'anyOf': [{'$ref': f'#/$defs/{side}'}]})


class FakeBridge:
    """
    A server in a thread of its own; a context manager.

    :param on_frame: called in the server's thread with each decoded frame, before the answer; what
        it returns, if not ``None``, comes instead of the answer: a frame, an error, the code to
        close with, or :data:`SILENCE`.
    :param subprotocols: what it speaks.
    :ivar subscribers: what it tells of them, one after the other and then the last; without any
        it tells nothing when a topic is advertised, as older bridges do, and 1 later.
    :ivar ends: the codes with which connections are closed after their samples, one each; 1006 is
        that of one that is cut.
    """

    def __init__(self, on_frame: Callable[[dict[str, Any]], Any] = lambda frame: None,
                 subprotocols: tuple[str, ...] = (SUBPROTOCOL,)) -> None:
        self.frames: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.peers = 0
        self.url = ''
        self.subscribers: list[int] = []
        self.ends: list[int] = []
        self._on_frame = on_frame
        self._server_options = ServerOptions(subprotocols=subprotocols)
        self._checks = {side: validator(side) for side in ('peer', 'bridge')}
        self._started: Future[str] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._stop: Callable[[], object] = lambda: None

    def __enter__(self) -> FakeBridge:
        self._thread.start()
        self.url = self._started.result(timeout=15)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._stop()
        self._thread.join(15)
        assert not self._thread.is_alive()
        assert self.faults == []

    async def _serve(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        server = WebSocketServer(InterfaceConfig(enable_logging=False), listener=self,
                                 options=self._server_options)
        assert await server.start_server('127.0.0.1', 0)
        self._started.set_result(f'ws://127.0.0.1:{server.port}')
        await stop.wait()
        await server.disconnect()

    # ---- listener

    def opened(self, link: Link) -> None:
        self.peers += 1
        self._send(link, MessageType.STATUS, {
            'kind': 'state', 'robot': 'fake', 'uptime': 1.0, 'nodes': [], 'topics': [],
            'peers': [], 'peer_count': 0, 'you': {
                'peer': 'p1', 'dropped': 0, 'queued_bytes': 0, 'bandwidth': None, 'rates': []}})

    def closed(self, link: Link, code: int, reason: str) -> None:
        self.peers -= 1

    def received(self, link: Link, data: str | bytes) -> None:
        frame = json.loads(data)
        self.faults += [error.message for error in self._checks['peer'].iter_errors(frame)]
        self.frames.append(frame)
        message_id = frame['metadata']['message_id']
        instead = self._on_frame(frame)
        if isinstance(instead, (str, bytes)):
            link.send(instead, text=isinstance(instead, str))
        elif isinstance(instead, WsBridgeError):
            self._send(link, MessageType.ERROR, error_fields(instead), message_id)
        elif isinstance(instead, int):
            link.close(instead, 'as told')
        elif instead is None:
            self._answer(link, frame['metadata'], frame['data'], message_id)

    # ---- answers

    def _answer(self, link: Link, metadata: dict[str, Any], data: Any, message_id: str) -> None:
        if metadata['message_type'] == 'heartbeat':
            now = time.time() + OFFSET
            self._send(link, MessageType.HEARTBEAT, {
                'type': 'heartbeat', 'timestamp': now, 'sequence': 1, 'echo': {
                    'sequence': data['sequence'], 'timestamp': data['timestamp'],
                    'received': now}}, message_id)
        elif metadata['message_type'] == 'configuration':
            self._configuration(link, data, message_id)
        elif metadata['kind'] == 'topic':
            self._acknowledge(link, message_id, {
                'op': 'publish', 'topic': metadata['destination'],
                'subscribers': self._count() if self.subscribers else 1})
        else:
            self._call(link, metadata, data, message_id)

    def _configuration(self, link: Link, data: dict[str, Any], message_id: str) -> None:
        if data['op'] == 'list':
            self._acknowledge(link, message_id, {
                'op': 'list', 'topics': TOPICS, 'services': SERVICES,
                'actions': [{'action': '/turn', 'types': ['fake_msgs/action/Turn']}],
                'nodes': ['/robot']})
        elif data['op'] == 'subscribe':
            self._subscribe(link, data, message_id)
        elif data['op'] == 'advertise':
            self._acknowledge(link, message_id, {
                'op': 'advertise', 'topic': data['topic'], 'type': TYPE, 'channel_id': 1,
                'schema': TEXT, 'gate': GATE if data['topic'] == '/cmd_vel' else None,
                **({'subscribers': self._count()} if self.subscribers else {})})
        elif data['op'] == 'hello':
            self._acknowledge(link, message_id, HELLO)
        elif data['op'] in ('acquire', 'take'):
            self._acknowledge(link, message_id, {
                'op': data['op'], 'gate': GATE, 'epoch': 3, 'timeout': 0.5, 'ttl': 0.3})
        elif data['op'] == 'schema' and data['type'] in DEFINED:
            self._acknowledge(link, message_id, {
                'op': 'schema', 'type': data['type'], **DEFINED[data['type']]})
        elif data['op'] == 'schema':
            self._send(link, MessageType.ERROR,
                       error_fields(UnknownType('no such type')), message_id)
        elif data['op'] == 'ticket':
            self._acknowledge(link, message_id, {
                'op': 'ticket', 'role': data['role'], 'ticket': 'abc', 'lifetime': 60.0})
        elif data['op'] == 'release':
            self._acknowledge(link, message_id, {'op': 'release', 'gate': data['gate']})
        else:
            self._acknowledge(link, message_id, {'op': data['op'], 'topic': data['topic']})

    def _count(self) -> int:
        return self.subscribers.pop(0) if len(self.subscribers) > 1 else self.subscribers[0]

    def _subscribe(self, link: Link, data: dict[str, Any], message_id: str) -> None:
        if data['topic'] == '/secret':
            self._send(link, MessageType.ERROR,
                       error_fields(Forbidden('not exposed', field='topic')), message_id)
            return
        encoding = data.get('encoding', 'json')
        fields = {'topic': data['topic'], 'encoding': encoding}
        known = {'type': TYPE, 'channel_id': CHANNEL,
                 'schema': TEXT if data.get('schema') else None, 'pending': False}
        if data['topic'] == '/later':
            self._acknowledge(link, message_id, {
                'op': 'subscribe', **fields, 'type': None, 'channel_id': CHANNEL, 'schema': None,
                'pending': True})
            self._send(link, MessageType.CONFIGURATION, {'op': 'channel', **fields, **known})
        else:
            self._acknowledge(link, message_id, {'op': 'subscribe', **fields, **known})
        for number, sample in enumerate(SAMPLES):
            if encoding == 'json':
                self._send(link, MessageType.DATA, sample, source=data['topic'],
                           extra={'sequence': number})
                continue
            cdr = CODEC.from_values(sample)
            payload = cdr if encoding == 'cdr' else CODEC.to_cbor(cdr)
            header = BINARY_HEADER.pack(ENCODINGS[encoding].opcode, 0, 0, CHANNEL, 0.0, number)
            link.send(header + payload, text=False)
        if self.ends:
            code = self.ends.pop(0)
            if code == ABNORMAL:
                asyncio.get_running_loop().call_later(0.1, link.abort, 'as told')
            else:
                link.close(code, 'as told')

    def _call(self, link: Link, metadata: dict[str, Any], data: Any, message_id: str) -> None:
        service = metadata['destination']
        if service == '/slow':
            error = TimedOut(f'no answer within {metadata.get("timeout", 5):g} s')
            self._send(link, MessageType.ERROR, error_fields(error), message_id)
        else:
            self._acknowledge(link, message_id, {'op': 'call', 'service': service,
                                                 'result': {'success': True, 'message': 'ok'}})

    def _acknowledge(self, link: Link, message_id: str, data: Any) -> None:
        self._send(link, MessageType.ACKNOWLEDGMENT, data, message_id)

    def _send(self, link: Link, message_type: MessageType, data: Any,
              correlation_id: str | None = None, source: str = 'ws_bridge',
              extra: dict[str, Any] | None = None) -> None:
        frame = encode(data, message_id=f'f{time.monotonic_ns()}', timestamp=time.time() + OFFSET,
                       message_type=message_type, source=source, correlation_id=correlation_id,
                       extra=extra)
        self.faults += [f'fake: {error.message}'
                        for error in self._checks['bridge'].iter_errors(json.loads(frame))]
        link.send(frame)
