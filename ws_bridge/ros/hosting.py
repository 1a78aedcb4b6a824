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
"""What the services and the actions that peers serve have in common."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TYPE_CHECKING

from rclpy.node import Node

from ws_bridge.errors import AlreadyExists, WsBridgeError
from ws_bridge.ros.names import type_name
from ws_bridge.ros.survey import serving_nodes

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode


class Hosting:
    """
    A name that a peer serves (loop thread).

    :param name: the full name.
    :param interface: rclpy's class of its type.
    :param on_error: told what goes wrong, until it is closed.
    :param on_ready: called when it is served.
    """

    def __init__(self, name: str, interface: type[Any], ros: RosNode, post: Callable[..., None],
                 on_error: Callable[[WsBridgeError], None],
                 on_ready: Callable[[], None] | None) -> None:
        self._name = name
        self._class = interface
        self._ros = ros
        self._post = post
        self._on_error = on_error
        self._on_ready = on_ready
        self._closed = False

    @property
    def _type(self) -> str:
        return type_name(self._class)

    def _fail(self, error: WsBridgeError) -> None:
        if not self._closed:
            self._on_error(error)

    def _served(self) -> None:
        if not self._closed and self._on_ready is not None:
            self._on_ready()

    def _is_taken(self, service: str, field: str) -> bool:
        """
        Look whether another node serves it, and tell so (executor thread).

        :param service: the service that shows it.
        """
        taken = is_served(self._ros.node, service)
        if taken:
            self._post(self._fail, AlreadyExists(
                f'{self._name} is served by another node', field=field))
        return taken


def is_served(node: Node, service: str) -> bool:
    """
    Whether another node serves a service: a client would be answered by either.

    One of this node's own name does not count: of a bridge that was killed ROS knows for a while.
    """
    own = sum(each.service_name == service for each in node.services)
    return node.count_services(service) > own and \
        set(serving_nodes(node, service)) != {node.get_fully_qualified_name()}
