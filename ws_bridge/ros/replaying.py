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
"""A node that publishes what is replayed, on the topics that somebody has named."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import logging
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions

from ws_bridge.convert.schema import MessageSchema
from ws_bridge.errors import TypeMismatch
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.ros.qos import requested_profile
from ws_bridge.ros.types import schema_of, TypeStore

NAME = 'ws_bridge_replay'
DEPTH = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replayed:
    """
    A topic that is published.

    :param schema: of its type, as it was recorded.
    :param qos: as it was offered.
    """

    schema: MessageSchema
    qos: QosRequest


class ReplayNode:
    """
    The node; nothing spins it, for it only publishes.

    :param topics: what it publishes.
    :raises UnknownType: a type is not installed.
    :raises TypeMismatch: it is another one than that of the recording.
    """

    def __init__(self, topics: Mapping[str, Replayed]) -> None:
        types = TypeStore()
        self._classes: dict[str, Any] = {}
        for topic, each in topics.items():
            cls = types.message_class(each.schema.name)
            if schema_of(cls) != each.schema:
                raise TypeMismatch(f'{each.schema.name} is not what it was when {topic} was '
                                   'recorded', field=topic)
            self._classes[topic] = cls
        self._context = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node(NAME, context=self._context, start_parameter_services=False,
                          enable_rosout=False)
        self._publishers = {
            topic: self._node.create_publisher(
                self._classes[topic], topic, requested_profile(each.qos, depth=DEPTH))
            for topic, each in topics.items()}
        self._unreadable: set[str] = set()

    def __repr__(self) -> str:
        return f'ReplayNode({", ".join(self._publishers)})'

    def publish(self, topic: str, cdr: bytes) -> None:
        """Publish a message, if it is of the topic's type: a file may hold anything."""
        try:
            message = deserialize_message(cdr, self._classes[topic])
        except (RuntimeError, ValueError, MemoryError) as exc:
            if topic not in self._unreadable:
                self._unreadable.add(topic)
                logger.warning('a message of %s cannot be read and is left out: %r', topic, exc)
            return
        self._publishers[topic].publish(message)

    def close(self) -> None:
        """Destroy the node."""
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
