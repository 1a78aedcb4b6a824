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
A program: requests come in one thread while another changes what rings for them.

``python ringing.py TIMES``; it says ``done``, unless the middleware calls what is not there.
"""
from __future__ import annotations

import sys
import threading
from typing import Any

import rclpy
from std_srvs.srv import Trigger

from ws_bridge.ros.arrivals import Bells
from ws_bridge.ros.private_access import PrivateAccess
from ws_bridge.ros.pump import RequestSource
from ws_bridge.ros.rcl import EntityMaker


def main(times: int) -> None:
    """Watch a service, and no more, so many times."""
    rclpy.init()
    node = rclpy.create_node('ringing')
    access = PrivateAccess(node.context, maker=EntityMaker())
    source = RequestSource(access.make_service(node, Trigger, '/ringing'), print)
    client: Any = access.make_client(node, Trigger, '/ringing')
    while not client.service_is_ready():
        pass
    has_ended = threading.Event()

    def ask() -> None:
        while not has_ended.is_set():
            client.handle.send_request(Trigger.Request())
    thread = threading.Thread(target=ask)
    thread.start()
    bells = Bells()
    batch: list[Any] = []
    for _ in range(times):
        bells.watch([source])
        bells.watch([])
        source.take(batch, 0.0)
        batch.clear()
    has_ended.set()
    thread.join()
    bells.close()
    print('done')


if __name__ == '__main__':
    main(int(sys.argv[1]))
