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
"""The service by which ROS nodes, and peers that may call it, have the recording saved."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger


class RecordEnd:
    """
    ``~/record/save``; used on the executor thread.

    :param tell: told that somebody wants it saved.
    :ivar save: full name of the service.
    :ivar failure: why nothing is recorded, empty where it is; set by the loop.
    """

    def __init__(self, node: Node, tell: Callable[[], None]) -> None:
        self.failure = ''
        self._tell = tell
        self.save = str(node.create_service(Trigger, '~/record/save', self._save).service_name)

    def _save(self, _: Any, response: Any) -> Any:
        """Answer at once: the recording goes on after what it was asked for."""
        self._tell()
        response.success = not self.failure
        response.message = f'it was tried again; the last time: {self.failure}' if self.failure \
            else 'the recording is saved, and goes on for a while'
        return response
