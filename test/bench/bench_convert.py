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
What a conversion costs, beside rclpy's own way: deserialize, walk the fields, ``json.dumps``.

Then, what it costs to take few points out of clouds, of which each is another one than before.

Run it as ``python test/bench/bench_convert.py``; the best of five rounds counts. The machine's
other work changes the numbers: compare columns, not runs.
"""
from __future__ import annotations

from array import array
import base64
from collections.abc import Callable
from itertools import cycle
import json
import os
import timeit
from typing import Any

from geometry_msgs.msg import Point32, PoseStamped, Twist
from nav_msgs.msg import Odometry, Path
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import (
    Image,
    JointState,
    LaserScan,
    PointCloud,
    PointCloud2,
    PointField,
)
from std_msgs.msg import String

from ws_bridge.convert.clouds import sparse_cloud
from ws_bridge.convert.codec import Codec
from ws_bridge.ros.types import schema_of

ROUNDS = 5
SECONDS = 0.05   # a round takes about this long
CLOUDS = 4       # of each size, in turn
POINTS = (1000, 5000, 20_000)


def messages() -> list[Any]:
    """Return typical messages, small to large."""
    ranges = [index * 0.01 for index in range(1080)]
    joints = [0.1] * 7
    return [
        Twist(), String(data='hello'), Odometry(),
        JointState(name=list('abcdefg'), position=joints, velocity=joints, effort=joints),
        LaserScan(ranges=ranges), Path(poses=[PoseStamped() for _ in range(100)]),
        PointCloud(points=[Point32() for _ in range(1000)]),
        Image(width=640, height=480, encoding='rgb8', step=1920, data=os.urandom(921_600))]


def walk(message: Any) -> Any:
    """Do what bridges without a converter of their own do to every message."""
    if hasattr(message, 'get_fields_and_field_types'):
        return {name: walk(getattr(message, name))
                for name in message.get_fields_and_field_types()}
    if isinstance(message, bytes):
        return message[0]
    if getattr(message, 'typecode', '') == 'B':
        return base64.b64encode(message).decode()
    if hasattr(message, 'tolist'):
        return message.tolist()
    return [walk(element) for element in message] if isinstance(message, list) else message


def cost(function: Callable[[], object]) -> float:
    """Return the microseconds of one call."""
    function()
    once = timeit.timeit(function, number=1)
    number = max(1, min(100_000, int(SECONDS / max(once, 1e-7))))
    return min(timeit.repeat(function, number=number, repeat=ROUNDS)) / number * 1e6


def measure(message: Any) -> list[float]:
    """Return the costs of one message, in the order of the columns."""
    codec = Codec(schema_of(type(message)))
    cdr = serialize_message(message)
    text = codec.to_json(cdr)
    values = codec.to_values(cdr)
    return [
        cost(lambda: json.dumps(walk(deserialize_message(cdr, type(message))))),
        cost(lambda: codec.to_json(cdr)), cost(lambda: codec.to_cbor(cdr)),
        cost(lambda: codec.from_values(values)), cost(lambda: codec.from_json(text)),
        cost(lambda: codec.check(cdr))]


def cloud(megabytes: int, point_step: int, rows: int, seed: int) -> bytes:
    """Return a cloud; one of several rows has padding, and each fifth number is none."""
    width = (megabytes << 20) // point_step // rows
    row_step = width * point_step + (32 if rows > 1 else 0)
    numbers = np.random.default_rng(seed).random(rows * row_step // 4, dtype=np.float32)
    if rows > 1:
        numbers[::5] = np.nan
    message = PointCloud2(
        height=rows, width=width, point_step=point_step, row_step=row_step,
        fields=[PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
                for place, name in enumerate('xyz')])
    message.data = array('B', numbers.tobytes())
    return bytes(serialize_message(message))


def few_points(megabytes: int, point_step: int, rows: int) -> list[float]:
    """Return what it costs to take points out of such clouds, then to make JSON of the most."""
    clouds = cycle([cloud(megabytes, point_step, rows, seed) for seed in range(CLOUDS)])
    codec = Codec(schema_of(PointCloud2))
    few = sparse_cloud(next(clouds), POINTS[-1])

    def take(most: int) -> Callable[[], object]:
        return lambda: sparse_cloud(next(clouds), most)
    return [*map(cost, map(take, POINTS)), cost(lambda: codec.to_json(few))]


def main() -> None:
    """Print the tables."""
    columns = ('rclpy+json', 'to_json', 'to_cbor', 'from_values', 'from_json', 'check')
    print(f'{"us a message":12}' + ''.join(f'{column:>13}' for column in columns))
    for message in messages():
        costs = ''.join(f'{value:13.2f}' for value in measure(message))
        print(f'{type(message).__name__:12}{costs}', flush=True)
    print(f'\n{"us a cloud":28}' + ''.join(f'{most:>9} points' for most in POINTS)
          + '  JSON of the last')
    for megabytes, point_step, rows in ((2, 16, 1), (2, 16, 64), (20, 32, 1), (20, 32, 480)):
        costs = ''.join(f'{value:16.0f}' for value in few_points(megabytes, point_step, rows))
        print(f'{f"{megabytes} MB, {point_step} bytes, {rows} rows":28}{costs}', flush=True)


if __name__ == '__main__':
    main()
