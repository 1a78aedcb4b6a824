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
Hears ``/cmd_vel``, a process of its own: prints monotonic time, linear x and linear z, JSON.

Of the emergency stop, where the bridge's node is named too, it prints when it was asserted or
cleared, and clears it at each line that it reads. It hears by its own clock whatever the test is
busy with.
"""
from __future__ import annotations

import json
import sys
from threading import Thread
import time

from geometry_msgs.msg import Twist
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import Trigger


def clear(node: Node, bridge: str) -> None:
    """Clear the emergency stop at each line."""
    client = node.create_client(Trigger, f'{bridge}/clear_stop')
    for _ in sys.stdin:
        client.wait_for_service()
        client.call_async(Trigger.Request())


def main(topic: str, bridge: str = '') -> None:
    """Listen until the process is ended."""
    rclpy.init(args=[])
    node = rclpy.create_node('stop_listener')

    def heard(message: Twist) -> None:
        at = time.monotonic()
        print(json.dumps([at, message.linear.x, message.linear.z]), flush=True)
    node.create_subscription(Twist, topic, heard, 1000)

    def changed(message: Bool) -> None:
        print(json.dumps({'at': time.monotonic(), 'stopped': message.data}), flush=True)
    if bridge:
        node.create_subscription(Bool, f'{bridge}/estop', changed, 10)
        Thread(target=clear, args=(node, bridge), daemon=True).start()
    print('"ready"', flush=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return


if __name__ == '__main__':
    main(*sys.argv[1:])
