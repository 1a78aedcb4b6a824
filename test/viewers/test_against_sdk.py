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
The same requests to Foxglove's own server, of its SDK, and to a bridge: the same frames come back.

Numbers, times and the words of statuses aside. Where the bridge does something else on purpose,
``docs/reference/foxglove_differences.md`` says what and why.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
import struct
import subprocess
import sys
from typing import Any

import orjson
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support import foxglove_server as server_script
from support.bridge_harness import running_bridge
from support.foxglove_server import FILE, NODE, SAID, SERVICE, TOPICS, VALUES, YES
from support.helpers import async_wait_until, PATIENCE, SpinningNode
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

SERVER = Path(server_script.__file__)
REFERENCE = Path(__file__).parents[2] / 'docs' / 'reference' / 'foxglove_differences.md'
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OLD, NEW = 'foxglove.websocket.v1', 'foxglove.sdk.v1'
SAMPLE, CALL, ASSET = struct.Struct('<BIQ'), struct.Struct('<BIII'), struct.Struct('<BIBI')
ON = f'{NODE}.on'
NOWHERE = 4_000_000
"""The number of no channel and of no service."""
LAST = 3_999_999
"""The number of no channel either; the status about it ends what is looked at."""


# ---- what is asked

@dataclass(frozen=True)
class Step:
    """
    Requests, one after the other of one client.

    :param requests: what the client sends, by the numbers of channels and services.
    :param told: what the SDK says: operations, and levels of statuses.
    :param ours: what the bridge says instead, where it does something else on purpose.
    """

    requests: Callable[[dict[str, int]], list[Any]]
    told: str = '-'
    ours: str | None = None


def op(op: str, **fields: Any) -> Callable[[Any], list[Any]]:
    return lambda numbers: [{'op': op, **fields}]


def raw(frame: bytes | str) -> Callable[[Any], list[Any]]:
    return lambda numbers: [frame]


def advertise(number: int, topic: str = '/in', encoding: str = 'json',
              schema: str = 'std_msgs/msg/String', **more: Any) -> Callable[[Any], list[Any]]:
    return op('advertise', channels=[{
        'id': number, 'topic': topic, 'encoding': encoding, 'schemaName': schema, **more}])


def publish(number: int, payload: bytes) -> Callable[[Any], list[Any]]:
    return raw(struct.pack('<BI', 1, number) + payload)


def call(service: str, number: int, encoding: str, payload: bytes) -> Callable[[Any], list[Any]]:
    return lambda numbers: [CALL.pack(2, numbers.get(service, NOWHERE), number, len(encoding)) +
                            encoding.encode() + payload]


def subscribe(**channels: str) -> Callable[[Any], list[Any]]:
    return lambda numbers: [{'op': 'subscribe', 'subscriptions': [
        {'id': int(number[1:]), 'channelId': numbers.get(topic, NOWHERE)}
        for number, topic in channels.items()]}]


def put(*parameters: Any, **more: Any) -> Callable[[Any], list[Any]]:
    return op('setParameters', parameters=[*parameters], **more)


STEPS = {
    'subscribe': Step(subscribe(_0='/out'), 'sample'),
    'subscribe to an unknown channel': Step(subscribe(_7='no'), 'status 2'),
    'subscribe again': Step(subscribe(_1='/out'), 'status 1'),
    'subscribe with a number in use': Step(subscribe(_0='/other'), 'status 2'),
    'unsubscribe': Step(op('unsubscribe', subscriptionIds=[0])),
    'unsubscribe what is not subscribed to': Step(op('unsubscribe', subscriptionIds=[0, 9])),
    'subscribe to two channels': Step(subscribe(_3='/out', _4='/other'), 'sample, sample'),

    'advertise JSON': Step(advertise(1)),
    'publish JSON': Step(publish(1, b'{"data": "a"}')),
    'advertise under a number in use': Step(advertise(1), 'status 1'),
    'publish on an unknown channel': Step(publish(9, b'{}'), 'status 2'),
    'unadvertise': Step(op('unadvertise', channelIds=[1])),
    'publish on a channel that has ended': Step(publish(1, b'{"data": "a"}'), 'status 2'),
    'unadvertise an unknown channel': Step(op('unadvertise', channelIds=[9]), 'status 1'),
    'advertise CDR with a schema': Step(advertise(
        2, encoding='cdr', schema='std_msgs/msg/String', schemaEncoding='ros2msg')),
    'publish CDR': Step(publish(2, SAID)),
    'publish what cannot be read': Step(publish(2, b'xxxx'), '-', 'status 1'),
    'advertise CDR without a schema': Step(advertise(3, encoding='cdr')),
    'advertise another encoding': Step(
        advertise(4, encoding='protobuf', schema='Any', schemaEncoding='protobuf'),
        '-', 'status 2'),
    'advertise a topic with a second type': Step(
        advertise(5, schema='std_msgs/msg/Int32'), '-', 'status 2'),
    'advertise an unknown type': Step(
        advertise(6, topic='/else', schema='no_msgs/msg/No'), '-', 'status 2'),

    'getParameters': Step(op('getParameters', parameterNames=[*VALUES], id='a'),
                          'parameterValues'),
    'getParameters without id': Step(op('getParameters', parameterNames=[ON]), 'parameterValues'),
    'getParameters of an unknown name': Step(
        op('getParameters', parameterNames=[f'{NODE}.no'], id='b'), 'parameterValues'),
    'setParameters': Step(put(
        {'name': f'{NODE}.speed', 'value': 2, 'type': 'float64'},
        {'name': f'{NODE}.names', 'value': ['c']},
        {'name': f'{NODE}.raw', 'value': 'AQI=', 'type': 'byte_array'},
        {'name': f'{NODE}.rates', 'value': [1, 2], 'type': 'float64_array'}, id='c'),
        'parameterValues'),
    'setParameters without id': Step(put({'name': ON, 'value': False})),
    'setParameters with other keys': Step(put({'name': ON, 'value': True, 'why': 5}, id='d'),
                                          'status 2'),
    'setParameters of a wrong type': Step(put({'name': f'{NODE}.count', 'value': 'x'}, id='e'),
                                          'parameterValues', 'status 2, parameterValues'),
    'setParameters with a mixed array': Step(
        put({'name': f'{NODE}.names', 'value': ['a', 5]}, id='f'),
        'status 2', 'status 2, parameterValues'),
    'subscribeParameterUpdates': Step(op('subscribeParameterUpdates', parameterNames=[ON])),
    'setParameters of what is watched': Step(put({'name': ON, 'value': True}, id='g'),
                                             'parameterValues, parameterValues'),
    'unsubscribeParameterUpdates': Step(op('unsubscribeParameterUpdates', parameterNames=[ON])),
    'setParameters of what is not watched': Step(put({'name': ON, 'value': False}, id='h'),
                                                 'parameterValues'),

    'call in CDR': Step(call(SERVICE, 1, 'cdr', bytes(serialize_message(Trigger.Request()))),
                        'serviceCallResponse'),
    'call in JSON': Step(call(SERVICE, 2, 'json', b'{}'),
                         'serviceCallFailure', 'serviceCallResponse'),
    'call in another encoding': Step(call(SERVICE, 3, 'yaml', b''),
                                     'serviceCallFailure', 'serviceCallFailure, status 2'),
    'call an unknown service': Step(call('no', 4, 'cdr', b''),
                                    'serviceCallFailure', 'serviceCallFailure, status 2'),

    'fetchAsset': Step(op('fetchAsset', uri=FILE, requestId=5), 'fetchAssetResponse'),
    'fetchAsset of what there is not': Step(
        op('fetchAsset', uri='package://ws_bridge/no.json', requestId=6), 'fetchAssetResponse'),
    'subscribeConnectionGraph': Step(op('subscribeConnectionGraph'), 'connectionGraphUpdate'),
    'unsubscribeConnectionGraph': Step(op('unsubscribeConnectionGraph')),

    'text that is no JSON': Step(raw('{'), 'status 2'),
    'JSON that is no object': Step(raw('[]'), 'status 2'),
    'an object without op': Step(raw('{}'), 'status 2'),
    'an unknown op': Step(raw('{"op": "dance"}'), 'status 2'),
    'a number that is text': Step(
        op('subscribe', subscriptions=[{'id': 'x', 'channelId': 1}]), 'status 2'),
    'a negative number': Step(
        op('subscribe', subscriptions=[{'id': -1, 'channelId': 1}]), 'status 2'),
    'a list that is not there': Step(op('unsubscribe'), 'status 2'),
    'a key that is unknown': Step(op('unsubscribe', subscriptionIds=[], more=1)),
    'an empty binary frame': Step(raw(b'')),
    'an unknown opcode': Step(raw(b'\x09'), 'status 2'),
    'a publication that is too short': Step(raw(b'\x01\x00'), 'status 2'),
    'a call that is too short': Step(raw(b'\x02\x00'), 'status 2'),
    'a call with an encoding longer than it': Step(raw(CALL.pack(2, 1, 1, 99) + b'cdr'),
                                                   'status 2'),
    'playback control': Step(raw(bytes.fromhex(
        '03010000803f00000000000000000007000000736f6d652d6964')), 'status 2'),
}
HANDSHAKES = {
    'both names of the protocol': ((OLD, NEW), NEW, None),
    f'`{NEW}` alone': ((NEW,), NEW, None),
    f'`{OLD}` alone': ((OLD,), 'HTTP 400', OLD),
    'no name of the protocol': ((), 'HTTP 400', 'another protocol'),
}


# ---- what is told

class Talk:
    """
    A connection, and what its client is told in words that do not depend on the server.

    :ivar told: frames that no step has taken yet.
    :ivar numbers: of channels and services, by name.
    :ivar ended: whether the status came that ends what is looked at.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.told: list[Any] = []
        self.numbers: dict[str, int] = {}
        self.ended = False
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                frame = await self.websocket.recv()
                said = self._binary(frame) if isinstance(frame, bytes) else self._text(frame)
                if said is not None:
                    self.told.append(said)
        except ConnectionClosed:
            pass

    def _name(self, number: int) -> str | int:
        """Return what a number stands for; no channel has that of a service here."""
        return next((name for name, known in self.numbers.items() if known == number), number)

    def _binary(self, frame: bytes) -> tuple[Any, ...]:
        if frame[0] == 1:
            return 'sample', SAMPLE.unpack_from(frame)[1], frame[SAMPLE.size:]
        if frame[0] == 3:
            _, service, number, length = CALL.unpack_from(frame)
            end = CALL.size + length
            assert service == self.numbers[SERVICE]
            encoding, answer = frame[CALL.size:end], frame[end:]
            if encoding == b'cdr':      # the bytes between two fields may be any
                answer = deserialize_message(answer, Trigger.Response)
            return 'serviceCallResponse', number, encoding, answer
        _, number, failed, length = ASSET.unpack_from(frame)
        assert frame[0] == 4 and failed == (length > 0)
        return 'fetchAssetResponse', number, failed, frame[ASSET.size + length:]

    def _text(self, text: str) -> Any:
        """Return a frame without what differs from server to server."""
        said = orjson.loads(text)
        match said['op']:
            case 'serverInfo':
                del said['name'], said['sessionId']
                said.pop('metadata', None)
                said['capabilities'].sort()
            case 'advertise' | 'advertiseServices':
                rows = said['channels'] if 'channels' in said else said['services']
                for row in rows:
                    self.numbers[row.get('topic', row.get('name'))] = row.pop('id')
                rows[:] = sorted((row for row in rows if row.get('topic') in TOPICS
                                  or row.get('name') == SERVICE), key=str)
                return said if rows else None
            case 'unadvertise':
                said['channelIds'] = [*map(self._name, said['channelIds'])]
            case 'serviceCallFailure':
                assert said.pop('message')
                assert said.pop('serviceId') in (self.numbers[SERVICE], NOWHERE)
            case 'status' if f' {LAST}' in said['message']:
                self.ended = True
                return None
            case 'status':
                return 'status', said['level']
            case 'removeStatus':
                return None
            case 'parameterValues':
                said['parameters'].sort(key=lambda each: each['name'])
            case 'connectionGraphUpdate':
                del said['subscribedTopics']    # the bridge itself is there
                for key in ('publishedTopics', 'advertisedServices'):
                    said[key] = sorted((row for row in said[key]
                                        if row['name'] in (*TOPICS, SERVICE)), key=str)
        return said


def summary(told: list[Any]) -> str:
    """Return frames in short, as the reference has them."""
    words = [f'status {each[1]}' if each[0] == 'status' else each[0]
             for each in (each if isinstance(each, tuple) else (each['op'],) for each in told)]
    return ', '.join(words) or '-'


async def say(talk: Talk, step: Step, expected: str) -> list[Any]:
    """Send the requests of a step; return what came, once it is what is expected."""
    talk.ended = False
    for frame in (*step.requests(talk.numbers), {'op': 'subscribe', 'subscriptions': [
            {'id': LAST, 'channelId': LAST}]}):
        await talk.websocket.send(orjson.dumps(frame).decode() if isinstance(frame, dict)
                                  else frame)
    orders = expected, turned(expected)
    await async_wait_until(lambda: talk.ended and summary(talk.told) in orders,
                           why=lambda: f'expected {expected}, was told {talk.told}')
    told, talk.told = talk.told, []
    return told


def turned(told: str) -> str:
    """Return two frames in the other order: answers and updates go different ways."""
    return ', '.join(reversed(told.split(', ')))


# ---- the servers

@asynccontextmanager
async def foxglove_server() -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Give URL of Foxglove's server, and what ends ``/other``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        yield f'ws://127.0.0.1:{port}', lambda: process.stdin.write(b'end\n')
    finally:
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


@asynccontextmanager
async def bridge() -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Give URL of a bridge that has a robot with the same, and what ends ``/other``."""
    with SpinningNode(NODE[1:]) as robot:
        node = robot.node
        publishers = [node.create_publisher(String, topic, LATCHED) for topic in TOPICS]
        for publisher in publishers:
            publisher.publish(String(data='a'))
        node.create_service(Trigger, SERVICE, lambda request, response: YES)
        for name, value in VALUES.items():
            node.declare_parameter(name.partition('.')[2], [
                bytes([each]) for each in value] if isinstance(value, bytes) else value)
        async with running_bridge(asset_uri_allowlist=[r'package://[\w/]+\.json']) as service:
            await async_wait_until(lambda: {
                *TOPICS, SERVICE, f'{NODE}/get_parameters', f'{NODE}/set_parameters'
                } <= service.ros.graph.topics.keys() | service.ros.graph.services.keys())
            yield service.url, lambda: robot.run(node.destroy_publisher, publishers[1])


async def answers(url: str, end_other: Callable[[], None], *, ours: bool) -> dict[str, list[Any]]:
    """Return what a server says to each step."""
    said: dict[str, list[Any]] = {}
    async with connect(url, subprotocols=[Subprotocol(NEW)]) as websocket:
        talk = Talk(websocket)
        await async_wait_until(lambda: {*TOPICS, SERVICE} <= talk.numbers.keys())
        said['greeting'], talk.told = talk.told, []
        for name, step in STEPS.items():
            try:
                said[name] = await say(talk, step, step.ours if ours and step.ours else step.told)
            except AssertionError as exc:
                raise AssertionError(f'{name}: {exc}') from exc
        end_other()
        await async_wait_until(lambda: talk.told)
        said['a topic ends'] = talk.told
    await talk.reader
    return said


async def chosen(url: str, offered: tuple[str, ...]) -> str:
    """Return the name of the protocol that a server chooses."""
    try:
        async with connect(url, subprotocols=[*map(Subprotocol, offered)] or None) as websocket:
            return websocket.subprotocol or 'another protocol'
    except InvalidStatus as exc:
        return f'HTTP {exc.response.status_code}'


@pytest.mark.skipif(find_spec('foxglove') is None, reason='foxglove-sdk is not installed')
async def test_the_same_requests_give_the_same_frames() -> None:
    async with foxglove_server() as (url, end_other):
        names = {name: await chosen(url, row[0]) for name, row in HANDSHAKES.items()}
        assert names == {name: row[1] for name, row in HANDSHAKES.items()}
        theirs = await answers(url, end_other, ours=False)
    async with bridge() as (url, end_other):
        names = {name: await chosen(url, row[0]) for name, row in HANDSHAKES.items()}
        assert names == {name: row[2] or row[1] for name, row in HANDSHAKES.items()}
        our = await answers(url, end_other, ours=True)
    same = [name for name in theirs if name not in STEPS or STEPS[name].ours is None]
    assert len(same) > 40
    for name in same:
        assert sorted(our[name], key=str) == sorted(theirs[name], key=str), name


def test_the_reference_has_what_differs() -> None:
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in REFERENCE.read_text().splitlines() if line.startswith('| ')]
    told = {row[0]: tuple(cell.replace('`', '') for cell in row[1:3]) for row in rows
            if row[0] != 'request'}
    assert told == {
        **{name: (row[1], row[2]) for name, row in HANDSHAKES.items() if row[2]},
        **{name: (step.told, step.ours) for name, step in STEPS.items() if step.ours}}
    assert all(row[3] for row in rows)
