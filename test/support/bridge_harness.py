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
"""A real bridge in this process, and a native peer that checks every frame of both sides."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
import json
from pathlib import Path
import struct
import time
from typing import Any

import jsonschema
from rclpy.context import Context
from support.helpers import async_wait_until, other_domain, PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ws_bridge.main import close_service, open_service, Service

REFERENCE = Path(__file__).parents[2] / 'docs' / 'reference'
SCHEMA = json.loads((REFERENCE / 'ws_bridge.v1.schema.json').read_text())
BINARY_HEADER = struct.Struct('<BBHIdI')


def validator(side: str) -> jsonschema.Draft202012Validator:
    """Return what holds a frame to the documented schema: ``peer`` or ``bridge``."""
    return jsonschema.Draft202012Validator(
        {'$ref': f'#/$defs/{side}', '$defs': SCHEMA['$defs']})


PEER, BRIDGE = validator('peer'), validator('bridge')

Json = dict[str, Any]

PATIENT = {'heartbeat_timeout': 30.0, 'call_timeout': 30.0}
"""
Of each bridge that is told nothing else: on a busy machine a peer of a test, which sends no
heartbeats, would lose its lease, and an answer that starts a worker process would come too late.
"""


@asynccontextmanager
async def running_bridge(*arguments: str, domain: int | None = None,
                         override_port: bool = True, **parameters: Any) -> AsyncIterator[Service]:
    """
    Run a bridge on a free port; a fault of its threads fails the test.

    :param arguments: further ROS arguments, such as ``-r __ns:=/robot``.
    :param override_port: ``False`` where ``arguments`` say the port.
    :param domain: whatever it is, it stands for the second ROS domain of the tests.
    """
    faults: list[BaseException] = []
    args = ['--ros-args', '--log-level', 'warn', *arguments, '-p', 'robot_name:=testbot']
    if override_port:
        parameters['port'] = 0
    for name, value in {**PATIENT, **parameters}.items():
        args += ['-p', f'{name}:={json.dumps(value)}']
    context = None
    if domain is not None:
        context = Context()
        context.init(args=args, domain_id=other_domain())
    service = await open_service(args, on_fault=faults.append, context=context)
    try:
        yield service
    finally:
        ended = await close_service(service)
        if context is not None:
            context.try_shutdown()
    assert not faults
    assert not ended


async def look_no_more(service: Service) -> None:
    """Have a bridge look at the graph only when it is asked."""
    watch = service.ros._watch
    assert watch is not None
    watch.end()
    await look(service)


async def look(service: Service) -> None:
    """Have a bridge look at the graph."""
    done = asyncio.Event()
    service.ros.look_again(done.set)
    await asyncio.wait_for(done.wait(), PATIENCE)


class NativePeer:
    """A client of the native dialect; frames are kept in the order of their arrival."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.frames: list[Json] = []
        self.binary: list[tuple[tuple[Any, ...], bytes]] = []
        self.closed: tuple[int, str] | None = None
        self.epoch: int | None = None
        self.sequence = count()
        self._ids = count(1)
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                frame = await self.websocket.recv()
                if isinstance(frame, bytes):
                    header = BINARY_HEADER.unpack_from(frame)
                    self.binary.append((header, frame[BINARY_HEADER.size:]))
                else:
                    value = json.loads(frame, parse_constant=_not_json)
                    BRIDGE.validate(value)
                    self.frames.append(value)
        except ConnectionClosed as exc:
            self.closed = (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd else (1006, '')

    async def close(self) -> None:
        """Leave in order; a frame that broke the schema fails here."""
        await self.websocket.close()
        await self._reader

    async def send(self, message_type: str, data: Any, *, valid: bool = True,
                   **metadata: Any) -> str:
        """Send an envelope and return its id; ``valid=False`` for what is wrong on purpose."""
        message_id = f'm{next(self._ids)}'
        envelope = {'metadata': {'message_id': message_id, 'timestamp': time.time(),
                                 'message_type': message_type, 'source': 'test', **metadata},
                    'data': data}
        if valid:
            PEER.validate(envelope)
        await self.websocket.send(json.dumps(envelope))
        return message_id

    async def wait(self, predicate: Callable[[Json], bool], timeout: float = PATIENCE) -> Json:
        """Return the first frame, old or new, for which ``predicate`` holds."""
        def find() -> Json | None:
            if self._reader.done() and self._reader.exception():
                raise self._reader.exception() or AssertionError
            return next((frame for frame in self.frames if predicate(frame)), None)
        found = await async_wait_until(find, timeout, lambda: f'got {self.frames[-5:]}')
        assert found is not None
        return found

    async def answer(self, message_id: str, timeout: float = PATIENCE) -> Json:
        """Return the acknowledgment or error of a request."""
        return await self.wait(
            lambda frame: frame['metadata']['correlation_id'] == message_id
            and frame['metadata']['message_type'] in ('acknowledgment', 'error'), timeout)

    async def ask(self, op: str, **fields: Any) -> Json:
        """Send a configuration and return the acknowledgment's data."""
        frame = await self.answer(await self.send('configuration', {'op': op, **fields}))
        assert frame['metadata']['message_type'] == 'acknowledgment', frame
        data: Json = frame['data']
        return data

    async def refused(self, op: str, *, valid: bool = True, **fields: Any) -> Json:
        """Send a configuration that must fail and return the error's data."""
        frame = await self.answer(
            await self.send('configuration', {'op': op, **fields}, valid=valid))
        assert frame['metadata']['message_type'] == 'error', frame
        data: Json = frame['data']
        return data

    async def call(self, service: str, data: Any = None, **metadata: Any) -> Json:
        """Call a service and return the answering frame."""
        return await self.answer(await self.send(
            'command', {} if data is None else data, destination=service, **metadata))

    async def publish(self, topic: str, data: Any, **metadata: Any) -> Json:
        """Publish with an acknowledgment and return the answering frame."""
        return await self.answer(await self.send(
            'command', data, destination=topic, ack=True, **metadata))

    async def acquire(self, gate: str, word: str = 'acquire') -> Json:
        """
        Get the lease of a gate, for :meth:`command`, and return the acknowledgment's data.

        Waits until the gate is there.
        """
        await async_wait_until(lambda: gate in self.gates, why=lambda: f'gates: {self.gates}')
        terms = await self.ask(word, gate=gate)
        self.epoch = terms['epoch']
        return terms

    async def command(self, topic: str, data: Any, **metadata: Any) -> Json:
        """Publish by the lease, and return the acknowledgment's or error's data."""
        metadata = {'epoch': self.epoch, 'sequence': next(self.sequence),
                    'bridge_time': self.bridge_time, **metadata}
        answer: Json = (await self.publish(topic, data, **metadata))['data']
        return answer

    @property
    def gates(self) -> list[str]:
        """The gates' names, as last told."""
        told = [frame['data']['gates'] for frame in self.frames if 'gates' in frame['data']]
        return [gate['gate'] for gate in told[-1]] if told else []

    @property
    def bridge_time(self) -> float:
        """The bridge's own time, as of its last text frame."""
        return max(frame['metadata']['timestamp'] for frame in self.frames)

    def told(self, what: str) -> list[Json]:
        """Return the data of every notice of a kind: ``lease``, ``lost``, ``stopped``, ..."""
        return [frame['data'] for frame in self.frames
                if what == (frame['data'].get('kind') or frame['data'].get('op'))
                and frame['metadata']['message_type'] in ('status', 'configuration')]

    def samples(self, topic: str) -> list[Json]:
        """Return the data of every JSON sample of a topic."""
        return [frame['data'] for frame in self.frames
                if frame['metadata']['message_type'] == 'data'
                and frame['metadata']['source'] == topic]

    def errors(self) -> list[Json]:
        """Return the data of every error."""
        return [frame['data'] for frame in self.frames
                if frame['metadata']['message_type'] == 'error']


def _not_json(word: str) -> None:
    raise AssertionError(f'{word} is not strict JSON')


@asynccontextmanager
async def native_peer(service: Service | str, **options: Any) -> AsyncIterator[NativePeer]:
    """Connect a native peer to a bridge, or to a URL."""
    url = service if isinstance(service, str) else service.url
    options.setdefault('subprotocols', ['ws_bridge.v1'])
    websocket = await connect(url, max_size=None, **options)
    peer = NativePeer(websocket)
    try:
        yield peer
    finally:
        await peer.close()
