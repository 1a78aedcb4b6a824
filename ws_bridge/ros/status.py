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
"""What the bridge says about itself to ROS: ``/diagnostics`` and who its clients are."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int32, String

from ws_bridge.errors import UnknownType
from ws_bridge.ros.public_access import QUIET_PUBLISHER
from ws_bridge.ros.types import TypeStore

Diagnostic = tuple[str, int, str, Sequence[tuple[str, str]]]
"""Name, level (0 OK, 1 WARN, 2 ERROR, 3 STALE), message, values."""


class StatusPublisher:
    """
    The publishers (executor thread).

    Those about clients are transient local: a late subscriber gets the current state.
    ``client_count`` and ``connected_clients`` are those of rosbridge; the latter needs its
    package ``rosbridge_msgs``.

    :param types: finds message classes.
    :ivar diagnostics_topic: full name of the topic of the diagnostics.
    """

    def __init__(self, node: Node, types: TypeStore) -> None:
        self._node = node
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10,
                                                  event_callbacks=QUIET_PUBLISHER)
        self._clients = node.create_publisher(String, '~/clients', latched,
                                              event_callbacks=QUIET_PUBLISHER)
        self._count = node.create_publisher(Int32, 'client_count', latched,
                                            event_callbacks=QUIET_PUBLISHER)
        self.diagnostics_topic = str(self._diagnostics.topic_name)
        self._last_clients: str | None = None
        self._connected: Any = None
        with suppress(UnknownType):
            self._list_class = types.message_class('rosbridge_msgs/msg/ConnectedClients')
            self._client_class = types.message_class('rosbridge_msgs/msg/ConnectedClient')
            self._connected = node.create_publisher(self._list_class, 'connected_clients', latched,
                                                    event_callbacks=QUIET_PUBLISHER)

    def are_diagnostics_heard(self) -> bool:
        """Whether anybody subscribes to the diagnostics (any thread)."""
        try:
            return self._diagnostics.get_subscription_count() > 0
        except InvalidHandle:       # the node is destroyed
            return False

    def publish(self, diagnostics: Iterable[Diagnostic] | None, clients: str | None) -> None:
        """
        Publish the diagnostics, and the clients if they changed, each where given.

        :param clients: JSON text.
        """
        if diagnostics is not None:
            self._diagnose(diagnostics)
        if clients is not None and clients != self._last_clients:
            self._last_clients = clients
            self._clients.publish(String(data=clients))

    def _diagnose(self, diagnostics: Iterable[Diagnostic]) -> None:
        message = DiagnosticArray(status=[
            DiagnosticStatus(
                name=name, level=bytes([level]), message=text,
                hardware_id=self._node.get_fully_qualified_name(),
                values=[KeyValue(key=key, value=value) for key, value in values])
            for name, level, text, values in diagnostics])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def publish_connections(self, connections: Sequence[tuple[str, float]]) -> None:
        """
        Publish who is connected, as rosbridge does.

        :param connections: addresses, and Unix times of their connections, s.
        """
        self._count.publish(Int32(data=len(connections)))
        if self._connected is not None:
            message = self._list_class()
            for address, since in connections:
                client = self._client_class(ip_address=address)
                client.connection_time.sec = int(since)
                client.connection_time.nanosec = int(since % 1 * 1e9)
                message.clients.append(client)
            self._connected.publish(message)
