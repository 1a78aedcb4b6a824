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
"""Leases, links and the emergency stop as ROS nodes see them, and their own hand on the stop."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from ws_bridge.ros.public_access import QUIET_PUBLISHER
from ws_bridge.safety.policy import NEIGHBOURS_TOPIC

BY_ROS = 'ros'
"""Who asserted or cleared the emergency stop, where a ROS node did."""

EstopCallback = Callable[[bool, str, str], None]


class SafetyEnd:
    """
    ``~/lease``, ``~/links``, ``~/estop``, transient local, and ``~/stop`` and ``~/clear_stop``.

    And ``/ws_bridge_gates``, by which the bridges of a graph know each other.

    Used on the executor thread.

    :param halt: stops everything at once and lets nothing pass; gets the reason, returns why
        something is not stopped yet, or nothing.
    :param tell: told what was asked for: asserted or not, by whom, why.
    :param call: calls the service of the robot's own, when the stop is asserted.
    :param hear: told what a bridge, this one too, says of its gates.
    :ivar stop: full name of the service that asserts the emergency stop.
    :ivar clear_stop: full name of the service that clears the emergency stop.
    :ivar lease_topic: full name of the topic of the leases.
    """

    def __init__(self, node: Node, halt: Callable[[str], str], tell: EstopCallback,
                 call: Callable[[], None], hear: Callable[[str], None]) -> None:
        self._node = node
        self._halt = halt
        self._tell = tell
        self._call = call
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

        def publisher(msg_type: type[Any], name: str) -> Any:
            return node.create_publisher(msg_type, f'~/{name}', latched,
                                         event_callbacks=QUIET_PUBLISHER)
        self._lease = publisher(String, 'lease')
        self._links = publisher(String, 'links')
        self._estop = publisher(Bool, 'estop')
        self._neighbours = node.create_publisher(
            String, NEIGHBOURS_TOPIC, latched, event_callbacks=QUIET_PUBLISHER)

        def heard(message: Any) -> None:
            hear(message.data)
        node.create_subscription(
            String, NEIGHBOURS_TOPIC, heard,
            QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))
        self._said: dict[Any, object] = {}
        self.stop = str(node.create_service(Trigger, '~/stop', self._stop).service_name)
        self.clear_stop = str(
            node.create_service(Trigger, '~/clear_stop', self._clear).service_name)
        self.lease_topic = str(self._lease.topic_name)

    def publish(self, lease: str | None, links: str | None,
                estop: tuple[bool, str, str] | None) -> None:
        """Publish what is given and has changed."""
        if lease is not None:
            self._say(self._lease, String, lease)
        if links is not None:
            self._say(self._links, String, links)
        if estop is not None and self._say(self._estop, Bool, estop[0]) and estop[0]:
            self._call()

    def tell_neighbours(self, text: str) -> None:
        """
        Tell the other bridges, also that nothing has changed: silence means that it is gone.

        Who comes later gets what was told last.

        Any thread may, until the node is destroyed.
        """
        self._neighbours.publish(String(data=text))

    def has_neighbours(self) -> bool:
        """Whether anybody else listens to what other bridges are told (any thread, as above)."""
        return bool(self._node.count_subscribers(self._neighbours.topic_name) > 1)

    def _say(self, publisher: Any, msg_type: type[Any], value: str | bool) -> bool:
        if self._said.get(publisher) == value:
            return False
        self._said[publisher] = value
        publisher.publish(msg_type(data=value))
        return True

    def _stop(self, _: Any, response: Any) -> Any:
        """Stop first, then tell the loop, which may hang."""
        failure = self._halt('estop')
        self.publish(None, None, (True, BY_ROS, '~/stop'))
        self._tell(True, BY_ROS, '~/stop')
        response.success = not failure
        response.message = f'asserted, but a stop cannot be published: {failure}' if failure \
            else 'the emergency stop is asserted'
        return response

    def _clear(self, _: Any, response: Any) -> Any:
        self._tell(False, BY_ROS, '~/clear_stop')
        response.success, response.message = True, 'the bridge clears the emergency stop'
        return response
