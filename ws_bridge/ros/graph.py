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
"""What is there in ROS: topics, services and nodes, watched for changes."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rclpy.node import Node
from rclpy.topic_or_service_is_hidden import topic_or_service_is_hidden

SEND_GOAL = '/_action/send_goal'


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """
    One topic.

    :param types: full names (``std_msgs/msg/String``), sorted; more than one is a conflict.
    :param publishers: endpoints of every node, the bridge's included.
    :param own_publishers: those of the bridge.
    """

    types: tuple[str, ...]
    publishers: int = 0
    subscribers: int = 0
    own_publishers: int = 0
    own_subscribers: int = 0


@dataclass(frozen=True, slots=True)
class GraphSnapshot:
    """
    The graph at one time; names are fully qualified.

    :param services: name to types, sorted.
    :param actions: name to types, sorted, of those that have a server.
    :param own_services: those that the bridge's node serves.
    :param nodes: full names, sorted, as often as they are there.
    """

    topics: Mapping[str, TopicInfo] = field(default_factory=dict)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_services: frozenset[str] = frozenset()
    nodes: tuple[str, ...] = ()
    actions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def take_snapshot(node: Node, *, hidden: bool = False) -> GraphSnapshot:
    """
    Look at the graph as this node knows it (0.1 ms and 0.05 ms a topic).

    :param hidden: with the names that have a part with a leading underscore.
    """
    own_publishers = Counter(each.topic_name for each in node.publishers)
    own_subscribers = Counter(each.topic_name for each in node.subscriptions)
    own_publishers['/rosout'] += 1  # made below rclpy
    topics = {
        name: TopicInfo(
            tuple(sorted(types)), node.count_publishers(name), node.count_subscribers(name),
            own_publishers[name], own_subscribers[name])
        for name, types in _shown(node.get_topic_names_and_types(), hidden)}
    called = {each.service_name for each in node.clients}
    all_services = node.get_service_names_and_types()
    # ROS lists a service that has only clients: one that the bridge calls is not one
    services = {name: tuple(sorted(types))
                for name, types in _shown(all_services, hidden)
                if name not in called or node.count_services(name)}
    return GraphSnapshot(topics, services,
                         frozenset(each.service_name for each in node.services),
                         tuple(sorted(node.get_fully_qualified_node_names())),
                         _actions(node, all_services, hidden))


def _actions(node: Node, services: Iterable[tuple[str, list[str]]], hidden: bool
             ) -> dict[str, tuple[str, ...]]:
    """Find the actions by the service that takes their goals."""
    goals = ((name.removesuffix(SEND_GOAL), types) for name, types in services
             if name.endswith(SEND_GOAL) and node.count_services(name))
    return {name: tuple(sorted(each.removesuffix('_SendGoal') for each in types))
            for name, types in _shown(goals, hidden)}


def _shown(entries: Iterable[tuple[str, list[str]]], hidden: bool
           ) -> Iterable[tuple[str, list[str]]]:
    return (entry for entry in entries if hidden or not topic_or_service_is_hidden(entry[0]))
