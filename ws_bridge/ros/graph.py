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

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TYPE_CHECKING
from weakref import WeakKeyDictionary

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import get_rmw_implementation_identifier

from ws_bridge.ros.names import type_name, TypeConflict
from ws_bridge.ros.snapshot import GraphSnapshot, STOP_SUFFIX, TopicInfo

if TYPE_CHECKING:
    from ws_bridge.ros.access import Access

NAME_UNKNOWN = '_NODE_NAME_UNKNOWN_'    # until its participant has said it
PARTICIPANT = 12        # bytes that name it in a gid of DDS
ONE_TYPE = 'rmw_fastrtps'
DDS = (ONE_TYPE, 'rmw_cyclonedds', 'rmw_connextdds')
SEND_GOAL = '/_action/send_goal'
_NAMED: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()
REASON_LOST = 'invalid allocator'   # what Jazzy's rcl says in place of the reason


def take_snapshot(node: Node, access: Access) -> GraphSnapshot:
    """
    Look at the graph as this node knows it.

    :param access: counts endpoints.
    """
    own_publishers = Counter(_named(each)[0] for each in node.publishers)
    own_subscribers = Counter(_named(each)[0] for each in node.subscriptions)
    own_publishers['/rosout'] += 1  # made below rclpy
    brought = _types_by_topic(node)
    guarded = _of_stop_process(node)
    found_topics = node.get_topic_names_and_types()
    counts = access.counts(node, [name for name, _ in found_topics])
    topics: dict[str, TopicInfo] = {}
    for (name, types), (publishers, subscribers) in zip(found_topics, counts, strict=True):
        others: Collection[str] = types
        if name in brought or name in guarded:
            if len(types) > 1 or name in guarded:
                others = _types_of_others(node, name, brought[name])
            elif publishers + subscribers <= brought[name].total():
                others = ()
        topics[name] = TopicInfo(tuple(sorted(others or types)), publishers, subscribers,
                                 own_publishers[name], own_subscribers[name], not others)
    called = {each.service_name for each in node.clients}
    found = node.get_service_names_and_types()
    # ROS lists a service that has only clients: one that the bridge calls is not one
    services = {name: tuple(sorted(served_types(node, name, types))) for name, types in found
                if name not in called or node.count_services(name)}
    return GraphSnapshot(topics, services,
                         tuple(sorted(node.get_fully_qualified_node_names())),
                         _actions(node, found))


def count_subscribers(node: Node, topic: str, msg_type: str) -> int:
    """Return how many subscribers of a type a topic has: no publisher matches the others."""
    return sum(info.topic_type == msg_type
               for info in node.get_subscriptions_info_by_topic(topic))


def is_of_others(info: TopicEndpointInfo, node: Node) -> bool:
    """Whether it is sure, by its node's name, that an endpoint is another node's."""
    name = node.get_name()
    return info.node_name not in (name, name + STOP_SUFFIX, NAME_UNKNOWN)


def types_of_others(node: Node, topic: str) -> set[str]:
    """Return the types of a topic that are not only there because a peer asked for them."""
    return _types_of_others(node, topic, _types_by_topic(node)[topic])


@contextmanager
def only_type(node: Node, topic: str, msg_type: str) -> Iterator[None]:
    """
    Say that a publisher or subscription is not to be had because of another type.

    Fast DDS lets a participant have one type of a topic. Jazzy's rcl loses what it says of that,
    and prints some lines each time: it is not asked where this node has the other type.

    :raises TypeConflict: the node, or this participant, has the topic with another type.
    """
    if get_rmw_implementation_identifier().startswith(ONE_TYPE) and any(
            name == topic and other != msg_type
            for name, other in map(_named, (*node.publishers, *node.subscriptions))):
        raise TypeConflict(f'{topic} has another type here')
    try:
        yield
    except RuntimeError as exc:
        if REASON_LOST in str(exc) and any(
                info.topic_type != msg_type
                for info in (*node.get_publishers_info_by_topic(topic),
                             *node.get_subscriptions_info_by_topic(topic))):
            raise TypeConflict(f'{topic} has another type here: {exc}') from exc
        raise


def _types_by_topic(node: Node) -> defaultdict[str, Counter[str]]:
    brought: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for topic, msg_type in map(_named, (*node.publishers, *node.subscriptions)):
        brought[topic][msg_type] += 1
    return brought


def _named(entity: Any) -> tuple[str, str]:
    """Return topic and type of a publisher or subscription; rclpy takes a while to say them."""
    known = _NAMED.get(entity)
    if known is None:
        known = _NAMED[entity] = entity.topic_name, type_name(entity.msg_type)
    return known


def _types_of_others(node: Node, topic: str, brought: Counter[str]) -> set[str]:
    """
    Return the types of endpoints of other nodes.

    Those of this node are known by their number: other bridges may have nodes of its name. Those
    of the stop process are known by its node's name, or by its participant: the graph shows the
    name of a new one's node a little later.
    """
    stop = node.get_name() + STOP_SUFFIX
    participants = {participant_of(info)
                    for info in node.get_publishers_info_by_topic('/parameter_events')
                    if info.node_name == stop} - {None}
    there = Counter(info.topic_type for info in (*node.get_publishers_info_by_topic(topic),
                                                 *node.get_subscriptions_info_by_topic(topic))
                    if info.node_name != stop and participant_of(info) not in participants)
    return set(there - brought)


def participant_of(info: TopicEndpointInfo) -> bytes | None:
    """
    Return what the endpoints of one participant have in common.

    Only with DDS a gid shows it: gids of other middleware have another form and another length.
    """
    if not get_rmw_implementation_identifier().startswith(DDS):
        return None
    return bytes(info.endpoint_gid)[:PARTICIPANT]


def _of_stop_process(node: Node) -> set[str]:
    """Return the topics on which the stop process publishes what peers command."""
    try:
        return {name for name, _ in node.get_publisher_names_and_types_by_node(
            node.get_name() + STOP_SUFFIX, node.get_namespace())}
    except RuntimeError:    # it is not there
        return set()


def served_types(node: Node, service: str, types: Collection[str]) -> Collection[str]:
    """
    Return the types with which a service is served, those of other nodes where there are any.

    :param types: of its servers and its clients, as the graph has them.
    """
    if len(types) == 1:
        return types
    own: set[str] = set()
    others: set[str] = set()
    for name, namespace in set(node.get_node_names_and_namespaces()):
        try:
            served = dict(node.get_service_names_and_types_by_node(name, namespace))
        except RuntimeError:  # it left in between
            continue
        is_own = (name, namespace) == (node.get_name(), node.get_namespace())
        (own if is_own else others).update(served.get(service, ()))
    return others or own or types


def _actions(node: Node, services: Iterable[tuple[str, list[str]]]
             ) -> dict[str, tuple[str, ...]]:
    """Find the actions by the service that takes their goals."""
    return {name.removesuffix(SEND_GOAL): tuple(sorted(
        each.removesuffix('_SendGoal') for each in served_types(node, name, types)))
        for name, types in services if name.endswith(SEND_GOAL) and node.count_services(name)}
