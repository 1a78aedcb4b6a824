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
The ROS end of the benches, a process of its own.

``load.py pub KIND TOPICS RATE SECONDS`` publishes ``/bench/<kind><n>`` in turn, after a line on
stdin; ``load.py sub COUNT [PUBLISHERS]`` receives Twists on ``/bench/in``, and is ready as soon as
it has met so many publishers.  Each message carries the monotonic time at which it was made, so
one machine can tell how old it is.
"""
from __future__ import annotations

import json
import sys
import time
from typing import Any

from geometry_msgs.msg import Twist
from measure import SETTLE
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import String

CLASSES = {'twist': Twist, 'string': String, 'image': Image, 'scan': LaserScan,
           'cloud': PointCloud2}
PATIENCE = 60.0
"""How long no further publisher may find a subscription, s."""
GIVE_UP = 4.0


def stamp(kind: str, message: Any) -> None:
    """Write the time into a message."""
    if kind == 'twist':
        message.linear.x = time.monotonic()
    elif kind == 'string':
        message.data = f'{time.monotonic():.6f}'
    else:
        message.header.frame_id = f'{time.monotonic():.6f}'


def make(kind: str) -> Any:
    """Return a message of the usual size."""
    message = CLASSES[kind]()
    if kind == 'image':
        message.height, message.width, message.encoding, message.step = 480, 640, 'rgb8', 1920
        message.data = bytes(640 * 480 * 3)
    if kind == 'scan':
        message.ranges = [1.0] * 1080
    if kind == 'cloud':
        message.height, message.width, message.point_step, message.row_step = 1, 65536, 32, 1 << 21
        message.data = bytes(1 << 21)
        message.fields = [
            PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
            for place, name in enumerate('xyz')]
    return message


def publish(node: Any, kind: str, topics: int, rate: float, seconds: float) -> None:
    """Publish at a rate and print how many and in which time."""
    publishers = [node.create_publisher(CLASSES[kind], f'/bench/{kind}{i}', QoSProfile(depth=200))
                  for i in range(topics)]
    lonely, end = publishers, time.monotonic() + PATIENCE
    while lonely:
        still = [each for each in lonely if each.get_subscription_count() == 0]
        if len(still) < len(lonely):
            lonely, end = still, time.monotonic() + PATIENCE
        elif time.monotonic() > end:
            sys.exit(f'{len(lonely)} of {topics} topics have no subscription')
        time.sleep(0.02)
    print('ready', flush=True)
    sys.stdin.readline()
    time.sleep(SETTLE)
    message = make(kind)
    total = int(rate * seconds)
    start = time.perf_counter()
    sent = 0
    while sent < total:
        ahead = sent / rate - (time.perf_counter() - start)
        if ahead > 0:
            time.sleep(min(ahead, 0.0005))
            continue
        stamp(kind, message)
        publishers[sent % topics].publish(message)
        sent += 1
    print(json.dumps({'sent': sent, 'seconds': time.perf_counter() - start}), flush=True)
    time.sleep(GIVE_UP)


def receive(node: Any, count: int, publishers: int = 0) -> None:
    """Receive until all are there or none comes any more; print count and latencies, ms."""
    latencies: list[float] = []
    last = [0.0]

    def heard(message: Twist) -> None:
        if message.linear.x:        # else it stops
            last[0] = time.monotonic()
            latencies.append(last[0] - message.linear.x)
    subscription = node.create_subscription(Twist, '/bench/in', heard, 1000)
    end = time.monotonic() + PATIENCE
    while subscription.get_publisher_count() < publishers:
        if time.monotonic() > end:
            sys.exit(f'{subscription.get_publisher_count()} of {publishers} publishers')
        time.sleep(0.02)
    print('ready', flush=True)
    while len(latencies) < count and not (latencies and time.monotonic() - last[0] > GIVE_UP):
        rclpy.spin_once(node, timeout_sec=0.1)
    latencies.sort()
    print(json.dumps({'got': len(latencies), 'p50': latencies[len(latencies) // 2] * 1e3,
                      'p99': latencies[int(len(latencies) * 0.99)] * 1e3,
                      'max': latencies[-1] * 1e3}), flush=True)


def main() -> None:
    """Read the command line."""
    rclpy.init()
    node = rclpy.create_node('bench_load')
    if sys.argv[1] == 'pub':
        publish(node, sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    else:
        receive(node, *map(int, sys.argv[2:]))


main()
