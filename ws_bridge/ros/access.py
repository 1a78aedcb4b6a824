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
How the bridge makes entities of ROS, waits for them and takes from them.

:func:`ws_bridge.ros.trials.find` chooses one of the two:
:class:`~ws_bridge.ros.private_access.PrivateAccess` or
:class:`~ws_bridge.ros.public_access.PublicAccess`.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from rclpy.node import Node
from rclpy.qos import QoSProfile

from ws_bridge.ros.arrivals import Arrivals, Bells
from ws_bridge.ros.handles import ClientHandle
from ws_bridge.ros.rcl import Take, Unsupported


class Tap(NamedTuple):
    """
    An entity, and how the pump takes from it.

    :ivar entity: rclpy's subscription or service.
    :ivar port: what is waited for.
    :ivar take: of a subscription a :data:`Take`; of a service ``take(request_type)`` returns a
        request and its header, or twice ``None``.
    :ivar near: makes another :data:`Take`, for the loop's thread; ``None``: that cannot take.
    """

    entity: Any
    port: Any
    take: Callable[..., Any]
    near: Callable[[], Take] | None = None


class Access(Protocol):
    """How entities are made, waited for and taken from; they are made on the executor thread."""

    def arrivals(self) -> Arrivals:
        """Return what to wait with."""

    def without_bells(self, why: Unsupported) -> Arrivals:
        """Return what to wait with instead of what raised ``why``."""

    def near(self) -> Bells | None:
        """Return what tells the loop by a file descriptor what came; ``None``: nothing does."""

    def make_subscription(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Tap:
        """
        Create a subscription whose samples come as CDR.

        :raises RuntimeError: of rclpy.
        """

    def make_publisher(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Any:
        """
        Create a publisher of CDR.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def make_service(self, node: Node, srv_type: Any, name: str) -> Tap:
        """
        Create a service.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def make_client(self, node: Node, srv_type: Any, name: str) -> ClientHandle:
        """
        Create a client of a service, which the node's executor waits for.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def make_listener(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile,
                      callback: Callable[[bytes], None]) -> Any:
        """
        Create a subscription of CDR, which the node's executor waits for.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def graph_bell(self, node: Node, ring: Callable[[], None]) -> Callable[[], None] | None:
        """
        Have ``ring`` called once, on the executor thread, when the graph changes.

        Nobody else may wait for that in the node's context.

        :return: is called there to wait for the next change; one since the last ring counts too.
            ``None``: nothing tells of changes.
        """

    def counts(self, node: Node, topics: Iterable[str]) -> list[tuple[int, int]]:
        """
        Return how many publishers and subscribers topics have (executor thread).

        :param topics: full names, as the graph has them.
        """

    def respond(self, entity: Any, response: Any, header: Any) -> None:
        """
        Answer a request (executor thread).

        :raises RuntimeError: of rclpy, or as rclpy's.
        :raises TimeoutError: the middleware has not found the caller yet.
        :raises SystemError: the same, of rclpy, where its warnings are errors.
        """

    def publish(self, entity: Any, cdr: bytes | memoryview) -> None:
        """
        Publish CDR (any thread); others run while a large message is copied.

        :raises InvalidHandle: the publisher was destroyed.
        :raises RuntimeError: of rclpy, or of rcl.
        """
