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
"""The graph as values: what the bridge knows of it, without ROS."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STOP_SUFFIX = '_stop'   # of the node of the stop process


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """
    One topic.

    :param types: full names (``std_msgs/msg/String``), sorted; more than one is a conflict. What
        only the bridge has brought for a peer is no type of a topic that others use.
    :param publishers: endpoints of every node, the bridge's included.
    :param own_publishers: those of the bridge.
    :param brought: nobody but the bridge uses the topic, as far as the graph shows.
    """

    types: tuple[str, ...]
    publishers: int = 0
    subscribers: int = 0
    own_publishers: int = 0
    own_subscribers: int = 0
    brought: bool = False


@dataclass(frozen=True, slots=True)
class GraphSnapshot:
    """
    The graph at one time, hidden names included; names are fully qualified.

    :param services: name to types, sorted.
    :param actions: name to types, sorted, of those that have a server.
    :param nodes: full names, sorted, as often as they are there.
    """

    topics: Mapping[str, TopicInfo] = field(default_factory=dict)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    actions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
