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
Questions about the graph that the snapshot does not answer, asked on the executor thread.

Each takes the node, the type store and its own arguments, and returns plain values.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import distribution, PackageNotFoundError
import os
from pathlib import Path
import re
import sys
from typing import Any

from rclpy.node import Node

from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import ServiceFailed, UnknownName, UnknownType, WsBridgeError
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.ros.qos import described, mismatches, Offer, offer_of, requested_profile
from ws_bridge.ros.snapshot import STOP_SUFFIX
from ws_bridge.ros.types import TypeStore

_DISTROS = ('jazzy', 'kilted', 'lyrical', 'rolling')
_FOLDERS = ('msg', 'srv', 'action')
_IMPORT = re.compile(r'^from \w+\.\w+\._\w+ import ([A-Z][A-Za-z0-9]*)\b', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TopicEndpoint:
    """
    One publisher or subscription.

    :param node: full name; empty where it is not known yet.
    :param own: whether it is the bridge's, or its stop process's.
    :param problems: the policies for which the bridge does not hear, or reach, it.
    """

    node: str
    msg_type: str
    own: bool
    problems: tuple[str, ...] = ()


def publisher_nodes(node: Node, types: TypeStore, topic: str) -> list[str]:
    """Return the nodes that publish a topic."""
    return _owners(node.get_publishers_info_by_topic(topic))


def subscriber_nodes(node: Node, types: TypeStore, topic: str) -> list[str]:
    """Return the nodes that subscribe to a topic."""
    return _owners(node.get_subscriptions_info_by_topic(topic))


def _owners(endpoints: Iterable[Any]) -> list[str]:
    return sorted({_full_name(each.node_name, each.node_namespace) for each in endpoints
                   if 'UNKNOWN' not in each.node_name})


def endpoints(node: Node, types: TypeStore, topic: str,
              wanted: QosRequest | None) -> tuple[list[TopicEndpoint], list[TopicEndpoint]]:
    """
    Return the publishers and the subscriptions of a topic.

    :param wanted: what a subscription of a peer asks for; ``None`` = it is matched to whoever
        publishes.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    own = node.get_fully_qualified_name()
    request = None if wanted is None else offer_of(requested_profile(wanted, depth=1))
    heard = [_endpoint(info, own, lambda offer: [] if request is None
                       else mismatches(offer, request)) for info in publishers]
    ours = [offer_of(info.qos_profile) for info, end in zip(publishers, heard, strict=True)
            if end.own] or [offer_of(requested_profile(QosRequest(), depth=1))]
    reached = [_endpoint(info, own, lambda wish: min(
        (mismatches(offer, wish) for offer in ours), key=len))
        for info in node.get_subscriptions_info_by_topic(topic)]
    return _sorted(heard), _sorted(reached)


def _endpoint(info: Any, own: str, judge: Callable[[Offer], list[str]]) -> TopicEndpoint:
    name = '' if 'UNKNOWN' in info.node_name else _full_name(info.node_name, info.node_namespace)
    is_own = name in (own, own + STOP_SUFFIX)
    return TopicEndpoint(name, info.topic_type, is_own, tuple(judge(offer_of(info.qos_profile))))


def _sorted(found: list[TopicEndpoint]) -> list[TopicEndpoint]:
    return sorted(found, key=lambda each: (each.node, each.msg_type))


def offers(node: Node, types: TypeStore, topic: str,
           msg_type: str) -> tuple[list[dict[str, Any]], str]:
    """
    Return what the publishers of a topic offer, each profile once, and the hash of its type.

    By the names of rosbag2; the hash is empty where no publisher shows one.
    """
    infos = [info for info in node.get_publishers_info_by_topic(topic)
             if info.topic_type == msg_type]
    profiles: list[dict[str, Any]] = []
    for info in infos:
        profile = described(info.qos_profile)
        if profile not in profiles:
            profiles.append(profile)
    hashes = [text for info in infos
              if (text := str(getattr(info, 'topic_type_hash', ''))).startswith('RIHS')]
    return profiles, hashes[0] if hashes else ''


def event_publishers(node: Node, types: TypeStore) -> dict[str, frozenset[bytes]]:
    """
    Return the publishers of ``/parameter_events`` by node.

    They tell a node from another process that had its name before.
    """
    found: defaultdict[str, set[bytes]] = defaultdict(set)
    for info in node.get_publishers_info_by_topic('/parameter_events'):
        found[_full_name(info.node_name, info.node_namespace)].add(bytes(info.endpoint_gid))
    return {name: frozenset(gids) for name, gids in found.items()}


Connections = tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]
"""Nodes by what they publish, subscribe to and serve."""


def connections(node: Node, types: TypeStore) -> Connections:
    """Return which nodes publish and subscribe to each topic, and serve each service; sorted."""
    found: Connections = ({}, {}, {})
    for name, namespace in sorted(set(node.get_node_names_and_namespaces())):
        try:
            theirs = (node.get_publisher_names_and_types_by_node(name, namespace),
                      node.get_subscriber_names_and_types_by_node(name, namespace),
                      node.get_service_names_and_types_by_node(name, namespace))
        except RuntimeError:  # it left in between
            continue
        for nodes, entries in zip(found, theirs, strict=True):
            for each, _ in entries:
                nodes.setdefault(each, []).append(_full_name(name, namespace))
    return found


def service_nodes(node: Node, types: TypeStore, service: str) -> list[str]:
    """Return the nodes that serve a service."""
    return serving_nodes(node, service)


def serving_nodes(node: Node, service: str) -> list[str]:
    """Return the full names of the nodes that serve a service, of each name once."""
    return [name for name, services in _services(node) if service in services]


def type_nodes(node: Node, types: TypeStore, srv_type: str) -> list[str]:
    """Return the nodes that serve a service of a type."""
    return [name for name, services in _services(node)
            if any(srv_type in each for each in services.values())]


def _services(node: Node) -> Iterable[tuple[str, dict[str, list[str]]]]:
    for name, namespace in sorted(set(node.get_node_names_and_namespaces())):
        try:
            found = node.get_service_names_and_types_by_node(name, namespace)
        except RuntimeError:  # it left in between
            continue
        yield _full_name(name, namespace), dict(found)


def node_details(node: Node, types: TypeStore, full_name: str) -> dict[str, list[str]]:
    """
    Return what a node subscribes to, publishes and serves.

    :raises UnknownName: there is no such node.
    """
    there = {_full_name(*each): each for each in node.get_node_names_and_namespaces()}
    if full_name not in there:
        raise UnknownName(f'there is no node {full_name}', field='node')
    name, namespace = there[full_name]
    return {
        'subscribing': _names(node.get_subscriber_names_and_types_by_node(name, namespace)),
        'publishing': _names(node.get_publisher_names_and_types_by_node(name, namespace)),
        'services': _names(node.get_service_names_and_types_by_node(name, namespace))}


def _names(entries: Iterable[tuple[str, list[str]]]) -> list[str]:
    return sorted(name for name, _ in entries)


def _full_name(name: str, namespace: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def full_texts(node: Node, types: TypeStore, names: tuple[str, ...]) -> list[str]:
    """Return the definition of each message type, with those that it nests."""
    texts = {}
    for name in set(names):
        try:
            texts[name] = schema_to_text(types.message(name))
        except UnknownType as exc:
            texts[name] = f'# {exc}'
    return [texts[name] for name in names]


def interfaces(node: Node, types: TypeStore) -> list[str]:
    """Return every interface type of this machine, by the packages on the path of Python."""
    found = set()
    for place in map(Path, sys.path):
        for init in place.glob('*/__init__.py'):
            if any(init.parent.glob('*_s__rosidl_typesupport_*')) or \
                    any(init.parent.glob('_*_s.ep.rosidl_typesupport_*')):
                found |= _types_of(init.parent)
    return sorted(found)


def _types_of(package: Path) -> set[str]:
    found = set()
    for folder in _FOLDERS:
        listing = package / folder / '__init__.py'
        if listing.is_file():
            found |= {f'{package.name}/{folder}/{name}'
                      for name in _IMPORT.findall(listing.read_text())}
    return found


def distro(node: Node, types: TypeStore) -> str:
    """Return the name of the ROS release, empty where it is not known."""
    return ros_release()


def ros_release() -> str:
    """Return the name of the ROS release, empty where it is not known."""
    if 'ROS_DISTRO' in os.environ:
        return os.environ['ROS_DISTRO']
    return next((name for name in _DISTROS if _is_installed(f'ros-{name}-rclpy')), '')


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


QUESTIONS: dict[str, Callable[..., Any]] = {
    'publisher_nodes': publisher_nodes,
    'subscriber_nodes': subscriber_nodes,
    'connections': connections,
    'endpoints': endpoints,
    'event_publishers': event_publishers,
    'offers': offers,
    'service_nodes': service_nodes,
    'type_nodes': type_nodes,
    'node_details': node_details,
    'full_texts': full_texts,
    'interfaces': interfaces,
    'distro': distro,
}


def answer(question: str, node: Node, types: TypeStore, args: tuple[Any, ...]) -> Any:
    """Return the answer, or the error instead of it."""
    try:
        return QUESTIONS[question](node, types, *args)
    except WsBridgeError as exc:
        return exc
    except (RuntimeError, ValueError, OSError) as exc:  # rclpy's, and what files may raise
        return ServiceFailed(f'{question}: {exc}')
