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
How entities are made and taken from by the parts of rclpy below its public API.

rclpy's executors build a wait set and a coroutine for every message. The pump waits for what is
ready and takes it, which rclpy's public API does not offer.

:class:`PrivateAccess` takes from the handles of entities that no executor waits on.
:class:`~ws_bridge.ros.rcl.CdrTaker` takes samples while other threads run: rclpy's own
``take_message`` has the interpreter lock all the time, for some 50 ms where the sample is a map
of 16 MB. :class:`~ws_bridge.ros.rcl.EntityMaker` makes entities while others run;
:class:`~ws_bridge.ros.waitables.ExecutorWait` has an executor wait for those that the pump does
not take from.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
import logging
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.client import Client
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.service import Service
from rclpy.subscription import Subscription

from ws_bridge.ros.access import Tap
from ws_bridge.ros.arrivals import Arrivals, Bells, WaitSet
from ws_bridge.ros.handles import ClientHandle
from ws_bridge.ros.public_access import (
    info_of,
    make_listener,
    make_publisher,
    publish,
    QUIET,
    QUIET_PUBLISHER,
)
from ws_bridge.ros.qos import BURST
from ws_bridge.ros.rcl import (
    CdrPublisher,
    CdrTaker,
    EntityMaker,
    FreeClient,
    FreePublisher,
    FreeService,
    FreeSubscription,
    SampleInfo,
    SMALL,
    Take,
    Unsupported,
)
from ws_bridge.ros.waitables import ExecutorWait, GraphBell

logger = logging.getLogger(__name__)


class NeverGroup(CallbackGroup):
    """A callback group whose entities no executor waits on: the pump does."""

    def add_entity(self, entity: Any) -> None:
        """Do nothing: rclpy would keep a weak reference for each entity that ever was."""

    def can_execute(self, entity: Any) -> bool:
        """Return ``False``: the executor leaves the entity alone."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return ``False``: never reached, for the base class."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing: never reached, for the base class."""


class PrivateAccess:
    """
    Takes from handles; no executor is concerned.

    :param context: an initialised context.
    :param taker: takes samples; ``None`` = rclpy does.
    :param writer: publishes large ones; ``None`` = rclpy does.
    :param maker: makes entities, where there is a taker; ``None`` = rclpy does.
    """

    def __init__(self, context: Context, taker: CdrTaker | None = None,
                 writer: CdrPublisher | None = None,
                 maker: EntityMaker | None = None) -> None:
        self._context = context
        self._taker = taker
        self._near_taker: CdrTaker | None = None
        self._writer = writer
        self._maker = maker
        self._group = NeverGroup()
        self._waited: ExecutorWait | None = None

    def arrivals(self) -> Arrivals:
        """Return what to wait with."""
        try:
            return Bells()
        except Unsupported as exc:
            return self.without_bells(exc)

    def without_bells(self, why: Unsupported) -> Arrivals:
        """Return what to wait with instead of what raised ``why``."""
        logger.warning('many topics cost more than they need to: %s', why)
        return WaitSet(self._context)

    def near(self) -> Bells | None:
        """Return what tells the loop what came; see :class:`Access`."""
        try:
            return Bells()
        except Unsupported:
            return None

    def _near_take(self, entity: Any) -> Take:
        """Return what takes on the loop's thread: memory is kept for each thread."""
        if self._taker is None:
            return take_of(entity)
        if self._near_taker is None:
            self._near_taker = CdrTaker()
        return self._near_taker.take_of(entity.handle)

    def make_subscription(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Tap:
        """Create a subscription; see :class:`Access`."""
        if self._maker is None or self._taker is None:
            entity = node.create_subscription(msg_type, topic, _never_called, profile, raw=True,
                                              callback_group=self._group, event_callbacks=QUIET)
        else:
            entity = _entity_of(
                FreeSubscription(self._maker, node, msg_type, topic, profile),
                lambda handle: Subscription(handle, msg_type, topic, _never_called, self._group,
                                            profile, True, QUIET))
            node._subscriptions.append(entity)      # it is the node's, as others are
        return Tap(entity, entity.handle, take_of(entity) if self._taker is None
                   else self._taker.take_of(entity.handle), partial(self._near_take, entity))

    def make_publisher(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Any:
        """Create a publisher; see :class:`Access`."""
        if self._maker is None:
            return make_publisher(node, msg_type, topic, profile)
        entity = _entity_of(
            FreePublisher(self._maker, node, msg_type, topic, profile),
            lambda handle: Publisher(handle, msg_type, topic, profile, QUIET_PUBLISHER,
                                     self._group))
        node._publishers.append(entity)
        return entity

    def make_service(self, node: Node, srv_type: Any, name: str) -> Tap:
        """Create a service; see :class:`Access`."""
        if self._maker is None:
            entity: Any = node.create_service(srv_type, name, _never_asked, qos_profile=BURST,
                                              callback_group=self._group)
        else:
            entity = _entity_of(
                FreeService(self._maker, node, srv_type, name, BURST),
                lambda handle: Service(handle, srv_type, name, _never_asked, self._group, BURST))
            node._services.append(entity)
        return Tap(entity, entity.handle, entity.handle.service_take_request)

    def make_client(self, node: Node, srv_type: Any, name: str) -> ClientHandle:
        """Create a client; see :class:`Access`."""
        if self._maker is None:
            return node.create_client(srv_type, name, qos_profile=BURST)
        wait = self._wait_of(node)
        client = _entity_of(
            FreeClient(self._maker, node, srv_type, name, BURST),
            lambda handle: Client(node.context, handle, srv_type, name, BURST, self._group))
        node._clients.append(client)
        wait.add(client.handle, lambda: _finish_call(node, client))
        return client

    def make_listener(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile,
                      callback: Callable[[bytes], None]) -> Any:
        """Create a subscription; see :class:`Access`."""
        if self._maker is None or self._taker is None:
            return make_listener(node, msg_type, topic, profile, callback)
        wait = self._wait_of(node)
        entity, handle, *_ = self.make_subscription(node, msg_type, topic, profile)
        take = wait.taker.take_of(handle)

        def hand_over() -> None:
            if (taken := take()) is not None:
                callback(taken[0])
        wait.add(handle, hand_over)
        return entity

    def _wait_of(self, node: Node) -> ExecutorWait:
        if self._waited is None:
            self._waited = ExecutorWait()
            node.add_waitable(self._waited)
        return self._waited

    def graph_bell(self, node: Node, ring: Callable[[], None]) -> Callable[[], None] | None:
        """Have a function called when the graph changes; see :class:`Access`."""
        try:
            return GraphBell(node, ring).arm
        except Unsupported as exc:
            logger.warning('the graph costs more than it needs to: %s', exc)
            return None

    def counts(self, node: Node, topics: Iterable[str]) -> list[tuple[int, int]]:
        """
        Return how many publishers and subscribers topics have; see :class:`Access`.

        rclpy's own functions expand and check each name first, and take twice as long.
        """
        handle: Any = node.handle
        with handle:
            publishers, subscribers = handle.get_count_publishers, handle.get_count_subscribers
            return [(publishers(topic), subscribers(topic)) for topic in topics]

    def respond(self, entity: Any, response: Any, header: Any) -> None:
        """Answer a request; see :class:`Access`."""
        if type(handle := entity.handle) is FreeService:
            with handle:
                handle.service_send_response(response, header)
        else:
            entity.send_response(response, header)

    def publish(self, entity: Any, cdr: bytes | memoryview) -> None:
        """Publish CDR; see :class:`Access`."""
        if self._writer is not None and len(cdr) > SMALL:
            self._writer.publish(entity, cdr)
        elif type(handle := entity.handle) is FreePublisher:
            handle.publish_raw(cdr if type(cdr) is bytes else bytes(cdr))
        else:
            publish(entity, cdr)


def _entity_of(handle: Any, make: Callable[[Any], Any]) -> Any:
    """Return the entity that rclpy makes of a handle; where it makes none, destroy the handle."""
    try:
        return make(handle)
    except Exception:
        handle.destroy_when_not_in_use()
        raise


def _never_called(_: Any) -> None:
    """Stand for the callback of a subscription: others take the samples."""


def _never_asked(_: Any, response: Any) -> Any:
    """Stand for the callback of a service: the pump takes the requests."""
    return response


def _finish_call(node: Node, client: Any) -> None:
    """Take a response, and have who waits for it called, as rclpy's executor does."""
    taken = client.handle.take_response()
    if taken is None:
        return
    number, response = taken
    try:
        future = client.get_pending_request(number)
    except KeyError:    # it was given up
        return
    future._set_executor(node.executor)
    future.set_result(response)


def take_of(entity: Any) -> Take:
    """Return what takes by rclpy's own function, which lets no other thread run meanwhile."""
    take, msg_type = entity.handle.take_message, entity.msg_type

    def take_sample() -> tuple[bytes, SampleInfo] | None:
        taken = take(msg_type, True)
        return None if taken is None else (taken[0], info_of(taken[1]))
    return take_sample
