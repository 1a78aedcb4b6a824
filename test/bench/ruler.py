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
The ruler: the least that a Python process can do to carry topics to WebSocket clients and back.

One wait set built once, a hand-written CDR to JSON function for each type, one frame a message,
one write a client; no checks, no features.  What the bridge costs is said as a multiple of this,
measured in the same run on the same machine.

``python ruler.py PORT``; a client sends ``{"op": "subscribe" | "advertise" | "publish", ...}``.
"""
from __future__ import annotations

import asyncio
import base64
from contextlib import ExitStack
import json
import struct
import sys
import threading
from typing import Any

from geometry_msgs.msg import Twist
import numpy as np
import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import String
from websockets.asyncio.server import broadcast, serve

TYPES = {'geometry_msgs/msg/Twist': Twist, 'std_msgs/msg/String': String,
         'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/LaserScan': LaserScan}
SIX_DOUBLES = struct.Struct('<6d')
SCAN_RANGES = 1080
IMAGE_BYTES = 640 * 480 * 3


def twist(cdr: bytes) -> str:
    """Write a Twist as JSON."""
    a = SIX_DOUBLES.unpack_from(cdr, 4)
    return '{"linear":{"x":%r,"y":%r,"z":%r},"angular":{"x":%r,"y":%r,"z":%r}}' % a


def string(cdr: bytes) -> str:
    """Write a String as JSON; quotes inside are not expected here."""
    return '{"data":"%s"}' % cdr[8:7 + int.from_bytes(cdr[4:8], 'little')].decode()


def header(cdr: bytes) -> str:
    """Write the header at the start of a message as JSON."""
    sec, nanosec, size = struct.unpack_from('<iII', cdr, 4)
    return '{"stamp":{"sec":%d,"nanosec":%d},"frame_id":"%s"}' % (
        sec, nanosec, cdr[16:15 + size].decode())


def image(cdr: bytes) -> str:
    """Write the header and the pixels of an image as JSON."""
    pixels = memoryview(cdr)[-IMAGE_BYTES:]
    return '{"header":%s,"data":"%s"}' % (header(cdr), base64.b64encode(pixels).decode())


def scan(cdr: bytes) -> str:
    """Write the header and the ranges of a scan as JSON."""
    ranges = np.frombuffer(cdr, '<f4', SCAN_RANGES, len(cdr) - 4 * SCAN_RANGES - 4)
    return '{"header":%s,"ranges":%s}' % (header(cdr), json.dumps(ranges.tolist()))


ENCODERS = {Twist: twist, String: string, Image: image, LaserScan: scan}


class Ruler:
    """Everything in one object: topics, clients, publishers."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node('ruler')
        self.changed = self.node.create_guard_condition(lambda: None)
        self.loop = asyncio.get_running_loop()
        self.subscriptions: dict[str, Any] = {}
        self.clients: dict[str, set[Any]] = {}
        self.publishers: dict[str, Any] = {}

    def pump(self) -> None:
        """Take and encode on a thread of its own; hand over one batch a wake-up."""
        with ExitStack() as stack:
            stack.enter_context(self.node.context.handle)
            stack.enter_context(self.changed.handle)
            known = -1
            handles: dict[int, tuple[Any, str, Any]] = {}
            wait_set: Any = None
            while True:
                if known != len(self.subscriptions):
                    items = list(self.subscriptions.items())
                    known = len(items)
                    handles = {}
                    for topic, subscription in items:
                        stack.enter_context(subscription.handle)
                        handles[subscription.handle.pointer] = (
                            subscription.handle, topic, subscription.msg_type)
                    wait_set = _rclpy.WaitSet(known, 1, 0, 0, 0, 0, self.node.context.handle)
                    stack.enter_context(wait_set)
                wait_set.clear_entities()
                for handle, _, _ in handles.values():
                    wait_set.add_subscription(handle)
                wait_set.add_guard_condition(self.changed.handle)
                wait_set.wait(10 ** 9)
                batch = []
                for pointer in wait_set.get_ready_entities('subscription'):
                    handle, topic, msg_type = handles[pointer]
                    encode = ENCODERS[msg_type]
                    while (taken := handle.take_message(msg_type, True)) is not None:
                        batch.append((topic, '{"op":"publish","topic":"%s","msg":%s}' % (
                            topic, encode(taken[0]))))
                if batch:
                    self.loop.call_soon_threadsafe(self.deliver, batch)

    def deliver(self, batch: list[tuple[str, str]]) -> None:
        """Write each frame to each client."""
        for topic, frame in batch:
            broadcast(self.clients[topic], frame)

    async def handle(self, websocket: Any) -> None:
        """Do what a client asks for."""
        async for text in websocket:
            ask = json.loads(text)
            topic = ask['topic']
            if ask['op'] == 'publish':
                message = Twist()
                message.linear.x = ask['msg']['linear']['x']
                message.angular.z = ask['msg']['angular']['z']
                self.publishers[topic].publish(serialize_message(message))
            elif ask['op'] == 'advertise':
                self.publishers[topic] = self.node.create_publisher(
                    TYPES[ask['type']], topic, 10)
            else:
                self.clients.setdefault(topic, set()).add(websocket)
                if topic not in self.subscriptions:
                    self.subscriptions[topic] = self.node.create_subscription(
                        TYPES[ask['type']], topic, lambda _: None, QoSProfile(depth=1000),
                        raw=True)
                    self.changed.trigger()
        for clients in self.clients.values():
            clients.discard(websocket)


async def main(port: int) -> None:
    """Serve until killed."""
    ruler = Ruler()
    threading.Thread(target=ruler.pump, daemon=True).start()
    async with serve(ruler.handle, '127.0.0.1', port, compression=None, max_size=None):
        print('ready', flush=True)
        await asyncio.Future()

if __name__ == '__main__':
    asyncio.run(main(int(sys.argv[1])))
