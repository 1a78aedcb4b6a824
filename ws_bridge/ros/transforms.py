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
``/tf`` and ``/tf_static`` where ``tf2_msgs`` is not installed, as with the wheels of ROS on PyPI.

No node can publish these there. The transforms come as ``TransformStamped`` on the topics of
:data:`STAND_INS`, and peers are given each of them as a ``TFMessage`` of one: that is a list of
them and nothing else, so its schema and its CDR follow from those of its element.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
import struct

from ws_bridge.convert.schema import Field, FieldType, MessageSchema
from ws_bridge.ros.rcl import SampleInfo
from ws_bridge.ros.snapshot import GraphSnapshot, TopicInfo
from ws_bridge.ros.subscriptions import Subscription

PACKAGE = 'tf2_msgs'
TF_TYPE = f'{PACKAGE}/msg/TFMessage'
TF_NAMES = (TF_TYPE, f'{PACKAGE}/TFMessage')
ELEMENT = 'geometry_msgs/msg/TransformStamped'
STAND_INS = {'/tf': '/tf/stamped', '/tf_static': '/tf_static/stamped'}
"""The topics that peers see, and where their transforms come from."""
_HEADER = 4     # of CDR, before the first field
_STAMP = 8
_NUMBERS = 7 * 8


@lru_cache(maxsize=1)
def is_installed() -> bool:
    """Whether this machine has the package, so that ``/tf`` is a topic like any other."""
    return find_spec(PACKAGE) is not None


def schema_of_tf(element: MessageSchema) -> MessageSchema:
    """
    Return the schema of a ``TFMessage``.

    :param element: that of a ``TransformStamped``.
    """
    return MessageSchema(TF_TYPE, (
        Field('transforms', FieldType('message', element, array='unbounded')),), ())


def with_stand_ins(graph: GraphSnapshot) -> GraphSnapshot:
    """Return the graph with the topics that peers get, unless there are real ones."""
    if is_installed():
        return graph
    made = {name: TopicInfo((TF_TYPE,), graph.topics[source].publishers)
            for name, source in STAND_INS.items()
            if name not in graph.topics and source in graph.topics
            and graph.topics[source].types == (ELEMENT,)}
    return replace(graph, topics={**graph.topics, **made}) if made else graph


def source_of(topic: str, msg_type: str | None, topics: Mapping[str, TopicInfo]) -> str | None:
    """Return where the samples of a topic come from that is none of ROS, ``None`` for others."""
    source = STAND_INS.get(topic) if msg_type in TF_NAMES and not is_installed() else None
    return source if source in topics else None


def tf_message(transform: bytes) -> bytes:
    """
    Return a ``TFMessage`` of one ``TransformStamped``, both CDR.

    The length of the list moves everything by four bytes, so what is aligned to eight may need
    other bytes in between.
    """
    length = struct.Struct('<I' if transform[1] & 1 else '>I')
    end = _HEADER + _STAMP
    for _ in range(2):      # frame_id, child_frame_id
        end += -end % 4
        end += length.size + length.unpack_from(transform, end)[0]
    start = end + -(end - _HEADER) % 8
    return b''.join((transform[:_HEADER], length.pack(1), transform[_HEADER:end],
                     bytes(-end % 8), transform[start:start + _NUMBERS]))


class TransformSubscription(Subscription):
    """Hears transforms one by one, and delivers each as a list of one."""

    def deliver(self, samples: list[bytes], infos: list[SampleInfo], taken: float, *,
                latched: bool = False) -> None:
        """Take a batch from the pump."""
        super().deliver([tf_message(sample) for sample in samples], infos, taken, latched=latched)

    def typed(self, msg_type: str) -> None:
        """Note the type that peers are told."""
        super().typed(TF_TYPE)
