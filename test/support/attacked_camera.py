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
"""The cameras that :mod:`support.attacks` attacks: ``python test/support/attacked_camera.py``."""
from __future__ import annotations

from contextlib import suppress
from pathlib import Path
import sys
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.attacks import AHEAD, AHEAD_CAMERA, CAMERA  # noqa: E402,I100,RUF100

WIDTH, HEIGHT = 320, 240
PERIOD = 0.1


def add_cameras(node: Any) -> None:
    """Have a node publish what two cameras see; the clock of the second one is ahead."""
    image = Image(width=WIDTH, height=HEIGHT, encoding='rgb8', step=3 * WIDTH,
                  data=bytes(range(240)) * (WIDTH * HEIGHT // 80))
    publishers = [(node.create_publisher(Image, CAMERA, 1), 0),
                  (node.create_publisher(Image, AHEAD_CAMERA, 1), int(AHEAD))]

    def publish() -> None:
        for publisher, ahead in publishers:
            image.header.stamp = node.get_clock().now().to_msg()
            image.header.stamp.sec += ahead
            publisher.publish(image)
    node.create_timer(PERIOD, publish)


def main() -> None:
    """Publish until this process is ended."""
    rclpy.init()
    node = rclpy.create_node('attacked_cameras')
    add_cameras(node)
    print('ready', flush=True)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == '__main__':
    main()
