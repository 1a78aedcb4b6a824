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
"""Names as peers write them, to names as ROS has them."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from ws_bridge.bridge.video_topics import camera_of
from ws_bridge.config import Exposure
from ws_bridge.protocol.operations import Kind

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

REMEMBERED = 4096


class BridgeNames:
    """
    Resolves names by the node, and tells what they are by the graph.

    :param hosted: services that peers host, which the graph may not show yet.
    :param hosted_actions: the same of actions.
    """

    def __init__(self, ros: RosSide, exposure: Exposure, hosted: Callable[[str], bool],
                 hosted_actions: Callable[[str], bool]) -> None:
        self._ros = ros
        self._exposure = exposure
        self._hosted = hosted
        self._hosted_actions = hosted_actions
        self.topic = lru_cache(REMEMBERED)(self._topic)
        self.service = lru_cache(REMEMBERED)(self._service)

    def _topic(self, name: str) -> str:
        return self._ros.resolve(self._exposure.topic_of(name) or name)

    def _service(self, name: str) -> str:
        return self._ros.resolve(name, service=True)

    def camera_of(self, topic: str) -> str | None:
        """Return the camera whose video a full name stands for, ``None`` where it does not."""
        return camera_of(self._ros.graph.topics, topic)

    def node(self, name: str) -> str:
        """Return the full name of a node."""
        return self._ros.resolve_node(name)

    def kind_of(self, name: str) -> Kind | None:
        """Tell what a destination is: a topic, else a service, else an action."""
        graph = self._ros.graph
        if self.topic(name) in graph.topics:
            return 'topic'
        service = self.service(name)
        if service in graph.services or self._hosted(service):
            return 'service'
        return 'action' if service in graph.actions or self._hosted_actions(service) else None
