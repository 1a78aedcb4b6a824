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
Which parts of rclpy and of rcl the bridge uses: those that do, at the start, what they should.

:func:`find` tries the parts below rclpy's public API (they are in rclpy 7.1 and 9.1), and says in
one line what is missing. Then :class:`~ws_bridge.ros.public_access.PublicAccess` serves.
"""
from __future__ import annotations

from collections.abc import Callable
import logging
import os
from secrets import token_hex
import time
from typing import Any, TypeVar

from rcl_interfaces.msg import ListParametersResult, ParameterEvent
from rcl_interfaces.srv import ListParameters
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message

from ws_bridge.errors import ConfigError
from ws_bridge.ros.access import Access
from ws_bridge.ros.arrivals import EXTENSION, WaitSet
from ws_bridge.ros.private_access import PrivateAccess, take_of
from ws_bridge.ros.public_access import make_publisher, PublicAccess
from ws_bridge.ros.qos import BURST
from ws_bridge.ros.rcl import (
    CdrPublisher,
    CdrTaker,
    EntityMaker,
    FreeClient,
    FreeService,
    in_a_line,
    Unsupported,
)

SWITCH = 'WS_BRIDGE_RCLPY'
"""An environment variable: ``public`` = do without the private parts."""
PARTS = {
    'WaitSet': ('add_guard_condition', 'add_service', 'add_subscription', 'clear_entities',
                'get_ready_entities', 'is_ready', 'pointer', 'wait'),
    'GuardCondition': ('pointer',),
    'Node': ('get_count_publishers', 'get_count_subscribers'),
    'Service': ('pointer', 'service_take_request'),
    'Subscription': ('pointer', 'take_message'),
}
"""Classes of rclpy's extension, and what is used of them."""
TRIAL = '~/_trial'
"""How topics begin on which takes are tried: hidden, and there for a moment."""
TRIAL_TIME = 2.0
"""For how long a sample of the node's own may be under way, s."""

logger = logging.getLogger(__name__)
Taken = TypeVar('Taken')


def find(node: Node) -> Access:
    """
    Test what there is; one line of the log says what is missing.

    :param node: that nothing spins yet.
    :raises ConfigError: the environment variable is wrong.
    """
    switch = os.environ.get(SWITCH, '')
    if switch not in ('', 'public'):
        raise ConfigError(f'{SWITCH} is {switch!r}, not public')
    why = f'{SWITCH} is public' if switch else missing(node)
    if why is None:
        return PrivateAccess(node.context, *_of_rcl(node))
    logger.warning('every message costs more than it needs to: %s', why)
    return PublicAccess()


def missing(node: Node) -> str | None:
    """Return what this rclpy lacks, in one line; ``None`` if nothing."""
    if EXTENSION is None:
        return 'this rclpy has no rclpy_implementation'
    for name, attributes in PARTS.items():
        for attribute in attributes:
            if not hasattr(getattr(EXTENSION, name, None), attribute):
                return f'this rclpy has no {name}.{attribute}'
    try:
        _try(node)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the public API serves
        return f"this rclpy's private parts do not work: {in_a_line(exc)}"
    return None


def _try(node: Node) -> None:
    """Use each part once, on what the node has of its own."""
    access = PrivateAccess(node.context)
    waiting = WaitSet(node.context)
    tap = access.make_subscription(node, ParameterEvent, '/parameter_events', QoSProfile(depth=1))
    try:
        waiting.test(_Trial('subscription', tap.port))
        taken = tap.take()
        if taken is not None:
            cdr, _ = taken
            if type(cdr) is not bytes:
                raise TypeError(f'a raw sample is {type(cdr).__name__}')
    finally:
        waiting.close()
        node.destroy_subscription(tap.entity)
    access.counts(node, ['/parameter_events'])
    for service in node.services:
        kind: Any = service.srv_type    # Jazzy's rclpy says less of it
        _, _ = service.handle.service_take_request(kind.Request)
        break


def _of_rcl(node: Node
            ) -> tuple[CdrTaker | None, CdrPublisher | None, EntityMaker | None]:
    """Return what takes, publishes and makes entities by rcl, if that does what rclpy does."""
    try:
        taker, writer = CdrTaker(), CdrPublisher()
        _try_rcl(node, taker, writer)
    except Exception as exc:  # noqa: BLE001 - whatever it is, rclpy's own functions serve
        logger.warning('large messages keep others waiting longer than they need to: %s',
                       in_a_line(exc))
        return None, None, None
    try:
        maker = EntityMaker()
        _try_topic(node, PrivateAccess(node.context, taker, maker=maker))
        _try_service(node, maker)
    except Exception as exc:  # noqa: BLE001 - the same
        logger.warning('new subscriptions, publishers and services may keep others waiting: %s',
                       in_a_line(exc))
        return taker, writer, None
    return taker, writer, maker


def _try_rcl(node: Node, taker: CdrTaker, writer: CdrPublisher) -> None:
    """
    Take a sample of the node's own, and compare it with what rclpy says of the next one.

    The second one is published without rclpy. Who published it says the graph: rclpy 7.1 does not.

    :raises Unsupported: it is something else, or there is none.
    """
    profile = QoSProfile(depth=2)
    topic = f'{TRIAL}_{token_hex(4)}'   # another node may have this name
    tap = PrivateAccess(node.context, taker).make_subscription(
        node, ParameterEvent, topic, profile)
    publisher = make_publisher(node, ParameterEvent, topic, profile)
    try:
        sent = serialize_message(ParameterEvent(node=TRIAL))
        publisher.publish(sent)
        writer.publish(publisher, memoryview(bytearray(sent)))
        cdr, (stamp, number, gid) = _soon(tap.take)
        next_cdr, (next_stamp, next_number, next_gid) = _soon(take_of(tap.entity))
        there = [bytes(info.endpoint_gid) for info in node.get_publishers_info_by_topic(topic)]
        if not (cdr == next_cdr and cdr.startswith(sent)
                and abs(next_stamp - stamp) < 60 * 10 ** 9
                and next_number - number == (number >= 0) and next_gid in (b'', gid)
                and gid in there):
            raise Unsupported('a sample is not taken as rclpy takes it')
    finally:
        node.destroy_publisher(publisher)
        node.destroy_subscription(tap.entity)


def _try_topic(node: Node, access: PrivateAccess) -> None:
    """
    Make entities without rclpy, and compare what the graph says of them with what was asked for.

    :raises Unsupported: it is something else, or no sample comes.
    """
    topic = f'{TRIAL}_{token_hex(4)}'
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT,
                         deadline=Duration(seconds=60))
    tap = access.make_subscription(node, ParameterEvent, topic, profile)
    try:
        publisher = access.make_publisher(node, ParameterEvent, topic, profile)
        try:
            sent = serialize_message(ParameterEvent(node=TRIAL))
            access.publish(publisher, sent)
            cdr, (_, _, gid) = _soon(tap.take)
            of_publisher, of_tap = (infos(topic) for infos in (
                node.get_publishers_info_by_topic, node.get_subscriptions_info_by_topic))
            if not (cdr.startswith(sent) and len(of_publisher) == len(of_tap) == 1
                    and bytes(of_publisher[0].endpoint_gid) == gid
                    and publisher.get_subscription_count() == tap.entity.get_publisher_count() == 1
                    and publisher.wait_for_all_acked(Duration())
                    and tap.entity.topic_name == publisher.topic_name
                    and all((found.reliability, found.durability, found.deadline)
                            == (profile.reliability, profile.durability, profile.deadline)
                            for info in (*of_publisher, *of_tap)
                            for found in (info.qos_profile,))):
                raise Unsupported('they are not what rclpy makes')
        finally:
            node.destroy_publisher(publisher)
    finally:
        node.destroy_subscription(tap.entity)
    if node.get_subscriptions_info_by_topic(topic) or node.get_publishers_info_by_topic(topic):
        raise Unsupported('they are not destroyed')


def _try_service(node: Node, maker: EntityMaker) -> None:
    """
    Make a service and a client without rclpy, and call twice; the second is answered first.

    :raises Unsupported: something else arrives, or nothing.
    """
    name = f'{TRIAL}_{token_hex(4)}'
    service = FreeService(maker, node, ListParameters, name, BURST)
    try:
        client = FreeClient(maker, node, ListParameters, name, BURST)
        try:
            _soon(lambda: client.service_server_is_available() or None)
            numbers = [client.send_request(ListParameters.Request(depth=depth))
                       for depth in (7, 8)]
            calls = [_soon(lambda: _or_none(service.service_take_request(None)))
                     for _ in numbers]
            for request, header in reversed(calls):
                service.service_send_response(ListParameters.Response(
                    result=ListParametersResult(names=[str(request.depth)])), header)
            answers = [_soon(client.take_response) for _ in numbers]
            if [(number, list(answer.result.names)) for number, answer in answers] != [
                    (numbers[1], ['8']), (numbers[0], ['7'])]:
                raise Unsupported('a service does not answer as one of rclpy does')
        finally:
            client.destroy_when_not_in_use()
    finally:
        service.destroy_when_not_in_use()
    if node.count_services(name) or node.count_clients(name):
        raise Unsupported('services are not destroyed')


def _or_none(taken: tuple[Any, Any]) -> tuple[Any, Any] | None:
    return None if taken[1] is None else taken


def _soon(take: Callable[[], Taken | None]) -> Taken:
    """
    Return what is under way within this process.

    :raises Unsupported: it does not arrive.
    """
    end = time.monotonic() + TRIAL_TIME
    while (taken := take()) is None:
        if time.monotonic() > end:
            raise Unsupported("what is the node's own does not arrive")
        time.sleep(0.001)
    return taken


class _Trial:
    """A source of which nothing is taken."""

    def __init__(self, kind: str, port: Any) -> None:
        self.kind = kind
        self.port = port

    def take(self, batch: list[Any], now: float) -> tuple[int, int]:
        return 0, 0
