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
"""Point clouds with few points: from a node by the bridge to peers, over sockets."""
from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
import json
import struct
from typing import Any

import cbor2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Int32
from support.bridge_harness import BINARY_HEADER, native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from websockets.asyncio.client import connect

ROWS, COLUMNS, STEP = 64, 2048, 16
CLOUD = 'sensor_msgs/msg/PointCloud2'
NAMES = ('x', 'y', 'z', 'intensity')
BESIDE = 200        # bytes of a cloud beside its points, and of its frame


@pytest.fixture
def robot() -> Iterator[Any]:
    """Give a rclpy node of its own, as the robot's other software."""
    with SpinningNode('robot') as spinning:
        yield spinning.node


def scan(number: int, names: tuple[str, ...] = NAMES) -> bytes:
    """Return a cloud of 2 MB: x is its number, y and z are row and column; each eighth is none."""
    points = np.zeros((ROWS, COLUMNS, 4), '<f4')
    points[..., 0] = number
    points[..., 1] = np.arange(ROWS)[:, None]
    points[..., 2] = np.arange(COLUMNS)
    points[:, ::8, 0] = np.nan
    message = PointCloud2(
        height=ROWS, width=COLUMNS, point_step=STEP, row_step=STEP * COLUMNS,
        fields=[PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
                for place, name in enumerate(names)])
    message.header.frame_id = 'lidar'
    message.header.stamp.sec, message.header.stamp.nanosec = number, 17
    cdr = serialize_message(message)    # the data come in place of the empty ones
    end = cdr.rindex(struct.pack('<II', STEP, STEP * COLUMNS)) + 8
    data = points.tobytes()
    return cdr[:end] + struct.pack('<I', len(data)) + data + b'\0'


def held_to(points: bytes, number: int, most: int) -> None:
    """Hold points to a cloud: they are its own, from all of it, and as many as there can be."""
    read = np.frombuffer(points, '<f4').reshape(-1, 3)
    assert len(read) == pytest.approx(most * 7 / 8, rel=0.1)
    assert len(read) <= most
    assert (read[:, 0] == number).all()
    places = read[:, 1] * COLUMNS + read[:, 2]
    assert (np.diff(places) > 0).all()
    assert set(read[:, 1]) == set(range(ROWS))
    assert not (read[:, 2] % 8 == 0).any()


async def test_peers_get_as_many_points_as_they_want(robot: Any) -> None:
    """Each in its encoding, beside one that gets all; header and stamp are those of the cloud."""
    publisher = robot.create_publisher(PointCloud2, '/points', 5)
    async with running_bridge() as service, native_peer(service) as few, \
            native_peer(service) as text, native_peer(service) as cbor, \
            native_peer(service) as slow, native_peer(service) as whole:
        await async_wait_until(lambda: '/points' in service.ros.graph.topics)
        await few.ask('subscribe', topic='/points', encoding='cdr', max_points=5000)
        await text.ask('subscribe', topic='/points', max_points=5000)
        await cbor.ask('subscribe', topic='/points', encoding='cbor', max_points=1000)
        await slow.ask('subscribe', topic='/points', encoding='cdr', max_points=5000, max_rate=1)
        await whole.ask('subscribe', topic='/points', encoding='cdr')
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        clouds = [scan(number) for number in range(3)]
        for number, cloud in enumerate(clouds, 1):
            publisher.publish(cloud)
            await async_wait_until(lambda number=number: min(map(len, (
                few.binary, text.samples('/points'), cbor.binary, whole.binary))) == number)
        for number in range(3):
            assert whole.binary[number][1] == clouds[number]
            header, cdr = few.binary[number]
            assert header[5] == number + 1
            assert len(cdr) < 5000 * 12 + BESIDE
            message = deserialize_message(cdr, PointCloud2)
            assert message.header.frame_id == 'lidar'
            assert (message.header.stamp.sec, message.header.stamp.nanosec) == (number, 17)
            assert [each.name for each in message.fields] == ['x', 'y', 'z']
            assert message.is_dense
            held_to(bytes(message.data), number, 5000)
            sample = text.samples('/points')[number]
            assert sample['header'] == {'stamp': {'sec': number, 'nanosec': 17},
                                        'frame_id': 'lidar'}
            assert b64decode(sample['data']) == bytes(message.data)
            held_to(cbor2.loads(cbor.binary[number][1])['data'], number, 1000)
        await async_wait_until(lambda: slow.binary[-1][1] == few.binary[2][1])
        assert slow.binary[0][1] == few.binary[0][1]
        # another number of points, and all of them again
        await few.ask('subscribe', topic='/points', encoding='cdr', max_points=20)
        await text.ask('subscribe', topic='/points', encoding='cdr')
        publisher.publish(clouds[0])
        await async_wait_until(lambda: len(few.binary) == 4 and text.binary)
        assert 0 < deserialize_message(few.binary[3][1], PointCloud2).width <= 20
        assert text.binary[0][1] == clouds[0]


async def test_what_cannot_be_is_refused(robot: Any) -> None:
    """Another type, known or not yet; a number that is none; video."""
    robot.create_publisher(Int32, '/number', 5)
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/number' in service.ros.graph.topics)
        for fields in ({'topic': '/number'}, {'topic': '/later', 'type': 'std_msgs/msg/Int32'}):
            error = await peer.refused('subscribe', max_points=5, **fields)
            assert (error['code'], error['field']) == ('type_mismatch', 'max_points')
        for value in (0, -1, 2.5, True, '5', [], 20_001):
            error = await peer.refused('subscribe', topic='/points', max_points=value, valid=False)
            assert (error['code'], error['field']) == ('bad_field', 'data.max_points')
        error = await peer.refused('subscribe', topic='/number', encoding='video', max_points=5)
        assert (error['code'], error['field']) == ('bad_field', 'data.max_points')
        # one that stands goes on as it was
        await peer.ask('subscribe', topic='/number')
        await peer.refused('subscribe', topic='/number', max_points=5)
        publisher = robot.create_publisher(Int32, '/number', 5)
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(Int32(data=7))
        await async_wait_until(lambda: peer.samples('/number') == [{'data': 7}])
        done = await peer.ask('subscribe', topic='/soon', max_points=5)
        assert done['pending']
        robot.create_publisher(Int32, '/soon', 5)
        await async_wait_until(peer.errors)
        await peer.wait(lambda frame: frame['metadata']['message_type'] == 'error' and
                        '/soon is of type' in frame['data']['message'])
        assert (await peer.refused('unsubscribe', topic='/soon'))['code'] == 'not_advertised'


async def test_a_malformed_cloud_is_an_error_and_the_next_one_comes(robot: Any) -> None:
    publisher = robot.create_publisher(PointCloud2, '/points', 5)
    async with running_bridge() as service, native_peer(service) as few, \
            native_peer(service) as whole:
        for peer, fields in ((few, {'max_points': 5000}), (whole, {})):
            await peer.ask('subscribe', topic='/points', type=CLOUD, encoding='cdr', **fields)
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        bad = scan(1, ('azimuth', 'y', 'z', 'intensity'))
        publisher.publish(bad)
        await async_wait_until(few.errors)
        assert few.errors()[0]['code'] == 'bad_cloud'
        assert few.errors()[0]['message'] == '/points has no field x'
        publisher.publish(scan(2))
        await async_wait_until(lambda: few.binary)
        assert deserialize_message(few.binary[0][1], PointCloud2).header.stamp.sec == 2
        await async_wait_until(lambda: len(whole.binary) == 2)
        assert whole.binary[0][1] == bad
        assert not whole.errors()


async def test_on_a_slow_link_the_size_that_travels_counts(robot: Any) -> None:
    """A peer that takes nothing is told of clouds of 240 kB that gave way, not of 2 MB."""
    publisher = robot.create_publisher(PointCloud2, '/points', 5)
    async with running_bridge() as service, connect(
            service.url, subprotocols=['ws_bridge.v1'], max_size=None, max_queue=1) as slow:
        await slow.send(json.dumps({'metadata': {'message_type': 'configuration'}, 'data': {
            'op': 'subscribe', 'topic': '/points', 'type': CLOUD, 'encoding': 'cdr',
            'queue_depth': 1, 'max_points': 20_000}}))
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        (peer,) = service.bridge._peers.values()
        cloud = scan(1)

        def look() -> Any:
            publisher.publish(cloud)
            return service.bridge._budget.rates(peer)
        (told,) = await async_wait_until(look)
        assert told.topic == '/points'
        assert 150_000 < told.size < 20_000 * 12 + BESIDE + BINARY_HEADER.size
        slow.transport.abort()
