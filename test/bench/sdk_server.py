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
The server of foxglove-sdk, fed with what ROS has: what others build on, with the least around it.

One wait set, as in the ruler; every sample goes to the SDK as it is. The SDK is compiled code with
threads of its own. ``pip install foxglove-sdk`` brings it; nothing else here needs it.

``python sdk_server.py PORT``
"""
from __future__ import annotations

from contextlib import ExitStack
import sys
import time
from typing import Any

import foxglove
import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.ros.types import TypeStore

LOOK_EACH = 0.1     # s, at the graph
NAMES = '/bench/'


def channel_of(topic: str, msg_type: str, types: TypeStore) -> Any:
    """Return a channel of CDR."""
    return foxglove.Channel(topic, message_encoding='cdr', schema=foxglove.Schema(
        name=msg_type, encoding='ros2msg', data=schema_to_text(types.message(msg_type)).encode()))


def serve(port: int) -> None:
    """Carry every topic of the benches, until the process is ended."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, types = rclpy.create_node('sdk'), TypeStore()
    never = node.create_guard_condition(lambda: None)    # a wait set must not be empty
    foxglove.start_server(name='sdk', host='127.0.0.1', port=port)
    channels: dict[int, tuple[Any, Any, Any]] = {}
    known: set[str] = set()
    looked = 0.0
    with ExitStack() as stack:
        stack.enter_context(node.context.handle)
        stack.enter_context(never.handle)
        while True:
            if time.monotonic() - looked >= LOOK_EACH:
                looked = time.monotonic()
                for topic, (msg_type, *_) in node.get_topic_names_and_types():
                    if topic.startswith(NAMES) and topic not in known:
                        known.add(topic)
                        subscription = node.create_subscription(
                            types.message_class(msg_type), topic, print, QoSProfile(depth=200))
                        handle = subscription.handle
                        stack.enter_context(handle)
                        channels[handle.pointer] = (
                            handle, subscription.msg_type, channel_of(topic, msg_type, types))
                wait_set = _rclpy.WaitSet(len(channels), 1, 0, 0, 0, 0, node.context.handle)
            with wait_set:
                wait_set.clear_entities()
                for handle, _, _ in channels.values():
                    wait_set.add_subscription(handle)
                wait_set.add_guard_condition(never.handle)
                wait_set.wait(int(LOOK_EACH * 1e9))
                for pointer in wait_set.get_ready_entities('subscription'):
                    handle, message_class, channel = channels[pointer]
                    while (taken := handle.take_message(message_class, True)) is not None:
                        channel.log(taken[0])


if __name__ == '__main__':
    serve(int(sys.argv[1]))
