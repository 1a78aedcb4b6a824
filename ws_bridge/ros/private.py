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
Everything of rclpy below its public API that ws_bridge uses, and what serves without it.

rclpy's executors build a wait set and a coroutine for every message. The pump waits for what is
ready and takes it, which rclpy's public API does not offer. :func:`find` tests at the start
whether what it needs is there (it is in rclpy 7.1 and 9.1), and says in one line what is not.

- :class:`PrivateAccess` takes from the handles of entities that no executor waits on.
  :class:`~ws_bridge.ros.rcl.CdrTaker` takes samples while other threads run: rclpy's own
  ``take_message`` has the interpreter lock all the time, for some 50 ms where the sample is a map
  of 16 MB. :class:`~ws_bridge.ros.rcl.EntityMaker` makes entities while others run;
  :class:`ExecutorWait` has an executor wait for those that the pump does not take from.
  :class:`Bells` costs what is ready, however many sources there are: the middleware rings when a
  sample comes. Its callback is a function of the C library that writes to a file descriptor, so
  no Python code runs in the middleware's threads. :class:`WaitSet` serves where that cannot be
  had: all sources are added, waited for and looked at in each turn.
  :class:`GraphBell` waits for changes of the graph: a look at 1,000 topics takes 24 ms, where
  names are not expanded and checked again (else 40).
- :class:`PublicAccess` uses the public API alone: an executor calls back for each sample, and
  the pump takes from an :class:`SampleInbox`. It is slower, and does the same.

A port is what the pump takes from: the handle of an entity, or what stands for it. No other
module may touch what is private in rclpy: ``test/test_layers.py``.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
import ctypes
from functools import partial
from importlib import import_module
import logging
import os
from secrets import token_hex
import select
import sys
import threading
import time
from typing import Any, NamedTuple, Protocol, TYPE_CHECKING, TypeVar

from rcl_interfaces.msg import ListParametersResult, ParameterEvent
from rcl_interfaces.srv import ListParameters
from rclpy.callback_groups import CallbackGroup, ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.guard_condition import GuardCondition
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.waitable import NumberOfEntities, Waitable

from ws_bridge.errors import ConfigError
from ws_bridge.ros.handles import ClientHandle
from ws_bridge.ros.qos import BURST
from ws_bridge.ros.rcl import (
    CdrPublisher,
    CdrTaker,
    EntityMaker,
    FreeClient,
    FreeHandle,
    FreePublisher,
    FreeService,
    FreeSubscription,
    SampleInfo,
    SMALL,
    Take,
    Unsupported,
)

if TYPE_CHECKING:
    _Waitable = Waitable[Any]
else:
    _Waitable = Waitable    # rclpy 7.1 has it without types

_rclpy: Any = None  # then find() says so
with suppress(ImportError):
    _rclpy = import_module('rclpy.impl.implementation_singleton').rclpy_implementation

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
QUIET = SubscriptionEventCallbacks(use_default_callbacks=False)
# rclpy's own callbacks warn through a deprecated function, and cost the executor a waitable each
QUIET_PUBLISHER = PublisherEventCallbacks(use_default_callbacks=False)
BELLS_OF_FILES = 8
"""
One of so many of the files that the process may open is a bell of the pump, one of the loop.

Beyond that sources share one: all of them are tried when it rings, which costs 2 us each.
"""
TRIAL = '~/_trial'
"""How topics begin on which takes are tried: hidden, and there for a moment."""
TRIAL_TIME = 2.0
"""For how long a sample of the node's own may be under way, s."""

_EDGE = select.EPOLLIN | select.EPOLLET
_SETTERS = {'subscription': 'rcl_subscription_set_on_new_message_callback',
            'service': 'rcl_service_set_on_new_request_callback'}


logger = logging.getLogger(__name__)
Taken = TypeVar('Taken')


class Tap(NamedTuple):
    """
    An entity, and how the pump takes from it.

    :ivar entity: rclpy's subscription or service.
    :ivar port: what is waited for.
    :ivar take: of a subscription a :data:`Take`; of a service ``take(request_type)`` returns a
        request and its header, or twice ``None``.
    :ivar near: makes another :data:`Take`, for the loop's thread; ``None``: that cannot take.
    """

    entity: Any
    port: Any
    take: Callable[..., Any]
    near: Callable[[], Take] | None = None


class Waited(Protocol):
    """
    A source as it is waited for.

    :ivar kind: ``subscription`` or ``service``.
    :ivar port: see :class:`Tap`.
    """

    kind: str
    port: Any

    def take(self, batch: list[Any], now: float) -> tuple[int, int]:
        """Append what is ready to a batch; return its count and bytes."""


class Arrivals(Protocol):
    """Which sources have something to take; used on one thread, but for :meth:`wake`."""

    def watch(self, sources: Sequence[Waited]) -> None:
        """
        Wait for these sources from now on, and no others.

        :raises Unsupported: it cannot.
        """

    def wait(self, *, for_sources: bool = True) -> list[Waited]:
        """
        Wait until something comes, or :meth:`wake` is called.

        :param for_sources: whether samples count; those that come meanwhile are not forgotten.
        :return: the sources that may have something, each at most once.
        """

    def again(self, source: Waited) -> None:
        """Report a source once more: not everything was taken."""

    def wake(self) -> None:
        """End a :meth:`wait`, the next one if there is none now (any thread)."""

    def close(self) -> None:
        """Give everything back."""


class Unanswered(Exception):
    """Ends a request that gets no answer; an executor raises it, and it means nothing."""


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


class Access(Protocol):
    """How entities are made, waited for and taken from; they are made on the executor thread."""

    def arrivals(self) -> Arrivals:
        """Return what to wait with."""

    def without_bells(self, why: Unsupported) -> Arrivals:
        """Return what to wait with instead of what raised ``why``."""

    def near(self) -> Bells | None:
        """Return what tells the loop by a file descriptor what came; ``None``: nothing does."""

    def make_subscription(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Tap:
        """
        Create a subscription whose samples come as CDR.

        :raises RuntimeError: of rclpy.
        """

    def make_publisher(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Any:
        """
        Create a publisher of CDR.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def make_service(self, node: Node, srv_type: Any, name: str) -> Tap:
        """
        Create a service.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def make_client(self, node: Node, srv_type: Any, name: str) -> ClientHandle:
        """
        Create a client of a service, which the node's executor waits for.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def make_listener(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile,
                      callback: Callable[[bytes], None]) -> Any:
        """
        Create a subscription of CDR, which the node's executor waits for.

        :raises RuntimeError: of rclpy, or as rclpy's.
        """

    def graph_bell(self, node: Node, ring: Callable[[], None]) -> Callable[[], None] | None:
        """
        Have ``ring`` called once, on the executor thread, when the graph changes.

        Nobody else may wait for that in the node's context.

        :return: is called there to wait for the next change; one since the last ring counts too.
            ``None``: nothing tells of changes.
        """

    def counts(self, node: Node, topics: Iterable[str]) -> list[tuple[int, int]]:
        """
        Return how many publishers and subscribers topics have (executor thread).

        :param topics: full names, as the graph has them.
        """

    def respond(self, entity: Any, response: Any, header: Any) -> None:
        """
        Answer a request (executor thread).

        :raises RuntimeError: of rclpy, or as rclpy's.
        :raises TimeoutError: the middleware has not found the caller yet.
        :raises SystemError: the same, of rclpy, where its warnings are errors.
        """

    def publish(self, entity: Any, cdr: bytes | memoryview) -> None:
        """
        Publish CDR (any thread); others run while a large message is copied.

        :raises InvalidHandle: the publisher was destroyed.
        :raises RuntimeError: of rclpy, or of rcl.
        """


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
    if _rclpy is None:
        return 'this rclpy has no rclpy_implementation'
    for name, attributes in PARTS.items():
        for attribute in attributes:
            if not hasattr(getattr(_rclpy, name, None), attribute):
                return f'this rclpy has no {name}.{attribute}'
    try:
        _try(node)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the public API serves
        return f"this rclpy's private parts do not work: {_in_a_line(exc)}"
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
                       _in_a_line(exc))
        return None, None, None
    try:
        maker = EntityMaker()
        _try_topic(node, PrivateAccess(node.context, taker, maker=maker))
        _try_service(node, maker)
    except Exception as exc:  # noqa: BLE001 - the same
        logger.warning('new subscriptions, publishers and services may keep others waiting: %s',
                       _in_a_line(exc))
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
        next_cdr, (next_stamp, next_number, next_gid) = _soon(_take_of(tap.entity))
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


def _in_a_line(exc: BaseException) -> str:
    return ' '.join(repr(exc).split())


class _Trial:
    """A source of which nothing is taken."""

    def __init__(self, kind: str, port: Any) -> None:
        self.kind = kind
        self.port = port

    def take(self, batch: list[Any], now: float) -> tuple[int, int]:
        return 0, 0


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
            return _take_of(entity)
        if self._near_taker is None:
            self._near_taker = CdrTaker()
        return self._near_taker.take_of(entity.handle)

    def make_subscription(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Tap:
        """Create a subscription; see :class:`Access`."""
        if self._maker is None or self._taker is None:
            entity = node.create_subscription(msg_type, topic, _never_called, profile, raw=True,
                                              callback_group=self._group, event_callbacks=QUIET)
        else:
            handle: Any = FreeSubscription(self._maker, node, msg_type, topic, profile)
            try:
                entity = Subscription(handle, msg_type, topic, _never_called, self._group,
                                      profile, True, QUIET)
            except Exception:
                handle.destroy_when_not_in_use()
                raise
            node._subscriptions.append(entity)      # it is the node's, as others are
        return Tap(entity, entity.handle, _take_of(entity) if self._taker is None
                   else self._taker.take_of(entity.handle), partial(self._near_take, entity))

    def make_publisher(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Any:
        """Create a publisher; see :class:`Access`."""
        if self._maker is None:
            return make_publisher(node, msg_type, topic, profile)
        handle: Any = FreePublisher(self._maker, node, msg_type, topic, profile)
        try:
            entity = Publisher(handle, msg_type, topic, profile, QUIET_PUBLISHER, self._group)
        except Exception:
            handle.destroy_when_not_in_use()
            raise
        node._publishers.append(entity)
        return entity

    def make_service(self, node: Node, srv_type: Any, name: str) -> Tap:
        """Create a service; see :class:`Access`."""
        if self._maker is None:
            entity: Any = node.create_service(srv_type, name, _never_asked, qos_profile=BURST,
                                              callback_group=self._group)
        else:
            handle: Any = FreeService(self._maker, node, srv_type, name, BURST)
            entity = Service(handle, srv_type, name, _never_asked, self._group, BURST)
            node._services.append(entity)
        return Tap(entity, entity.handle, entity.handle.service_take_request)

    def make_client(self, node: Node, srv_type: Any, name: str) -> ClientHandle:
        """Create a client; see :class:`Access`."""
        if self._maker is None:
            return node.create_client(srv_type, name, qos_profile=BURST)
        handle: Any = FreeClient(self._maker, node, srv_type, name, BURST)
        client: Any = Client(node.context, handle, srv_type, name, BURST, self._group)
        node._clients.append(client)
        self._wait_of(node).add(handle, lambda: _finish_call(node, client))
        return client

    def make_listener(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile,
                      callback: Callable[[bytes], None]) -> Any:
        """Create a subscription; see :class:`Access`."""
        if self._maker is None or self._taker is None:
            return make_listener(node, msg_type, topic, profile, callback)
        entity, handle, *_ = self.make_subscription(node, msg_type, topic, profile)
        wait = self._wait_of(node)
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


def make_publisher(node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Any:
    """Create a publisher by rclpy's own function."""
    return node.create_publisher(msg_type, topic, profile, event_callbacks=QUIET_PUBLISHER)


def make_listener(node: Node, msg_type: Any, topic: str, profile: QoSProfile,
                  callback: Callable[[bytes], None]) -> Any:
    """Create a subscription of CDR by rclpy's own function."""
    called: Any = callback      # with raw samples, which rclpy's annotation does not know
    return node.create_subscription(msg_type, topic, called, profile, raw=True)


def publish(entity: Any, cdr: bytes | memoryview) -> None:
    """Publish CDR by rclpy's own function."""
    entity.publish(cdr if type(cdr) is bytes else bytes(cdr))


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


class ExecutorWait(_Waitable):
    """
    Has the executor of a node wait for entities that rclpy's wait set does not take.

    Executor thread. An entity that is destroyed is waited for no more.

    :ivar taker: takes samples on this thread: memory is kept for each thread.
    """

    def __init__(self) -> None:
        super().__init__(ReentrantCallbackGroup())
        self.taker = CdrTaker()
        self._take: dict[FreeHandle, Callable[[], None]] = {}
        self._held = ExitStack()
        self._ready: list[FreeHandle] = []

    def __repr__(self) -> str:
        return f'ExecutorWait({len(self._take)} entities)'

    def add(self, handle: FreeHandle, take: Callable[[], None]) -> None:
        """Have ``take`` called when an entity has something."""
        self._take[handle] = take

    def __enter__(self) -> None:
        """Keep what is waited for from being destroyed."""
        for handle in list(self._take):
            try:
                self._held.enter_context(handle)
            except InvalidHandle:
                del self._take[handle]

    def __exit__(self, *_: object) -> None:
        """Wait no more."""
        self._held.close()

    def get_num_entities(self) -> NumberOfEntities:
        """Return how many there are."""
        clients = sum(handle.kind == 'client' for handle in self._take)
        return NumberOfEntities(num_subs=len(self._take) - clients, num_clients=clients)

    def add_to_wait_set(self, wait_set: Any) -> None:
        """Have all waited for."""
        for handle in self._take:
            handle.wait_in(wait_set.pointer)

    def is_ready(self, wait_set: Any) -> bool:
        """Return whether any has something."""
        ready = {kind: set(wait_set.get_ready_entities(kind))
                 for kind in ('subscription', 'client')} if self._take else {}
        self._ready = [handle for handle in self._take if handle.pointer in ready[handle.kind]]
        return bool(self._ready)

    def take_data(self) -> list[FreeHandle]:
        """Return those that have something."""
        return self._ready

    async def execute(self, taken_data: list[FreeHandle]) -> None:
        """Take from each; what one cannot take keeps the others for the next round."""
        for handle in taken_data:
            take = self._take.get(handle)
            if take is not None:
                with suppress(InvalidHandle), handle:
                    take()


def _take_of(entity: Any) -> Take:
    """Return what takes by rclpy's own function, which lets no other thread run meanwhile."""
    take, msg_type = entity.handle.take_message, entity.msg_type

    def take_sample() -> tuple[bytes, SampleInfo] | None:
        taken = take(msg_type, True)
        return None if taken is None else (taken[0], _info_of(taken[1]))
    return take_sample


def _info_of(info: Any) -> SampleInfo:
    """Return what rclpy's message info says of a sample."""
    number, gid = info['publication_sequence_number'], info.get('publisher_gid')
    return info['source_timestamp'], -1 if number is None else number, gid['data'] if gid else b''


class Bells:
    """
    The middleware rings for each sample; used on one thread, but for :meth:`wake`.

    A bell is an ``eventfd``, reported once each time something was written to it: what it counts
    is never read. The pump waits for its bells; the loop has others among its sockets.

    :raises Unsupported: not on this system.
    """

    def __init__(self) -> None:
        self._setters, self._ring = _library()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll, self._poll_wake = select.epoll(), select.epoll()
        for poll in (self._poll, self._poll_wake):
            poll.register(self._wake, _EDGE)
        self._most = max(_files() // BELLS_OF_FILES, 1)
        self._bells: dict[int, dict[Waited, None]] = {}     # the sources of a bell
        self._bell_of: dict[Waited, int] = {}

    def __repr__(self) -> str:
        return f'Bells({len(self._bell_of)} sources, {len(self._bells)} bells)'

    def watch(self, sources: Sequence[Waited]) -> None:
        """
        Wait for these sources from now on, and no others.

        :raises Unsupported: the middleware cannot ring.
        """
        for source in self._bell_of.keys() - set(sources):
            self.remove(source)
        for source in sources:
            if source not in self._bell_of:
                self.add(source)

    def wait(self, *, for_sources: bool = True) -> list[Waited]:
        """
        Wait until something comes, or :meth:`wake` is called.

        :param for_sources: whether samples count; those that come meanwhile are not forgotten.
        :return: the sources that may have something, each at most once.
        """
        if not for_sources:
            self._poll_wake.poll()
            return []
        return self.ready(-1)

    def fileno(self) -> int:
        """Return a file descriptor that can be read when :meth:`ready` has something."""
        return self._poll.fileno()

    def ready(self, timeout: float = 0) -> list[Waited]:
        """
        Return the sources that may have something, each at most once.

        :param timeout: how long to wait until something comes, s; below 0 = as long as it takes.
        """
        ready: list[Waited] = []
        for bell, _ in self._poll.poll(timeout):
            ready += self._bells.get(bell, ())
        return ready

    def again(self, source: Waited) -> None:
        """Report a source once more: not everything was taken."""
        os.eventfd_write(self._bell_of[source], 1)

    def wake(self) -> None:
        """End a :meth:`wait`, the next one if there is none now (any thread)."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Give everything back."""
        for source in list(self._bell_of):
            self.remove(source)
        self._poll.close()
        self._poll_wake.close()
        os.close(self._wake)

    def add(self, source: Waited) -> None:
        """
        Wait for one more source.

        :raises Unsupported: the middleware cannot ring.
        """
        handle = source.port
        handle.__enter__()      # so that it is not destroyed meanwhile
        try:
            bell = self._bell()
        except Unsupported:
            handle.__exit__(None, None, None)
            raise
        self._bells[bell][source] = None
        self._bell_of[source] = bell
        if self._setters[source.kind](handle.pointer, self._ring, bell):
            self.remove(source)
            raise Unsupported('the middleware reports no new messages')
        os.eventfd_write(bell, 1)       # for what came before

    def _bell(self) -> int:
        """
        Return a bell for one more source.

        :raises Unsupported: there are no files for any.
        """
        if len(self._bells) < self._most:
            try:
                bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            except OSError as exc:
                if not self._bells:
                    raise Unsupported(str(exc)) from exc
                self._most = len(self._bells)
            else:
                self._bells[bell] = {}
                self._poll.register(bell, _EDGE)
                return bell
        return min(self._bells, key=lambda each: len(self._bells[each]))

    def remove(self, source: Waited) -> None:
        """Wait for a source no more."""
        # When this returns no thread of the middleware is in the callback, nor will be.
        self._setters[source.kind](source.port.pointer, None, None)
        source.port.__exit__(None, None, None)
        bell = self._bell_of.pop(source)
        del self._bells[bell][source]
        if not self._bells[bell]:
            del self._bells[bell]
            self._poll.unregister(bell)
            os.close(bell)


class WaitSet:
    """
    A wait set for all sources; used on one thread, but for :meth:`wake`.

    :param context: an initialised context.
    """

    def __init__(self, context: Context) -> None:
        self._context: Any = context.handle
        self._guard = GuardCondition(None, None, context=context)
        self._held = ExitStack()
        self._sources: list[Waited] = []
        self._by_pointer: dict[int, Waited] = {}
        self._wait_set: Any = None

    def __repr__(self) -> str:
        return f'WaitSet({len(self._sources)} sources)'

    def watch(self, sources: Sequence[Waited]) -> None:
        """Wait for these sources from now on, and no others."""
        self._held.close()
        self._sources = list(sources)
        self._held.enter_context(self._context)
        self._held.enter_context(self._guard.handle)
        for source in sources:
            self._held.enter_context(source.port)
        self._by_pointer = {source.port.pointer: source for source in sources}
        services = sum(source.kind == 'service' for source in sources)
        self._wait_set = _rclpy.WaitSet(len(sources) - services, 1, 0, 0, services, 0,
                                        self._context)
        self._held.enter_context(self._wait_set)

    def wait(self, *, for_sources: bool = True) -> list[Waited]:
        """
        Wait until something comes, or :meth:`wake` is called.

        :param for_sources: whether samples count; those that come meanwhile are not forgotten.
        :return: the sources that have something, each once.
        """
        waiting = self._wait_set
        waiting.clear_entities()
        kinds: set[str] = set()
        if for_sources:
            add = {'subscription': waiting.add_subscription, 'service': waiting.add_service}
            for source in self._sources:
                if isinstance(source.port, FreeHandle):
                    source.port.wait_in(waiting.pointer)
                else:
                    add[source.kind](source.port)
                kinds.add(source.kind)
        waiting.add_guard_condition(self._guard.handle)
        waiting.wait(-1)
        return [self._by_pointer[pointer] for kind in kinds
                for pointer in waiting.get_ready_entities(kind)]

    def again(self, source: Waited) -> None:
        """Do nothing: what has still something is ready in any case."""

    def test(self, source: Waited) -> None:
        """
        Wait for a source and a wake-up that has come.

        :raises Unsupported: it is not reported.
        """
        self.watch([source])
        self.wake()
        waiting = self._wait_set
        waiting.clear_entities()
        waiting.add_subscription(source.port)
        waiting.add_guard_condition(self._guard.handle)
        waiting.wait(0)
        waiting.get_ready_entities('subscription')
        if self._guard.handle.pointer not in waiting.get_ready_entities('guard_condition'):
            raise Unsupported('a wait set does not report what is ready')

    def wake(self) -> None:
        """End a :meth:`wait`, the next one if there is none now (any thread)."""
        self._guard.trigger()

    def close(self) -> None:
        """Give everything back."""
        self._held.close()
        self._guard.destroy()


def _files() -> int:
    """Return how many files the process may open."""
    import resource  # only where there is an eventfd
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def _library() -> tuple[dict[str, Callable[..., int]], int]:
    """
    Return the functions of rcl that set a callback, and the address of one that rings.

    rcl calls ``void (*)(const void * user_data, size_t events)``. ``eventfd_write`` takes an
    ``int`` and a ``uint64_t``: in registers, on every system of 64 bits, that is the same.

    :raises Unsupported: not on this system.
    """
    if not hasattr(os, 'eventfd') or sys.maxsize < 2 ** 32:
        raise Unsupported('there is no eventfd on this system')
    try:
        rcl = ctypes.CDLL('librcl.so', mode=os.RTLD_NOLOAD)
        setters = {kind: getattr(rcl, name) for kind, name in _SETTERS.items()}
        ring = ctypes.cast(ctypes.CDLL(None).eventfd_write, ctypes.c_void_p).value
    except (OSError, AttributeError) as exc:
        raise Unsupported(str(exc)) from exc
    for setter in setters.values():
        setter.argtypes = [ctypes.c_void_p] * 3
        setter.restype = ctypes.c_int
    assert ring is not None
    return setters, ring


class GraphBell(_Waitable):
    """
    Waits, in the wait set of the node's executor, for rcl's guard condition of the graph.

    The condition stays triggered until it is waited for. It is waited for while the bell is armed.

    :param ring: is called once for each time that it was armed (executor thread).
    :raises Unsupported: it cannot be had.
    """

    def __init__(self, node: Node, ring: Callable[[], None]) -> None:
        super().__init__(node.default_callback_group)
        self._ring = ring
        self._is_armed = False
        self._index = ctypes.c_size_t()
        try:
            rcl = ctypes.CDLL('librcl.so', mode=os.RTLD_NOLOAD)
            find = rcl.rcl_node_get_graph_guard_condition
            self._add = rcl.rcl_wait_set_add_guard_condition
            pointer = node.handle.pointer
        except (OSError, AttributeError) as exc:
            raise Unsupported(str(exc)) from exc
        find.argtypes, find.restype = [ctypes.c_void_p], ctypes.c_void_p
        self._add.argtypes, self._add.restype = [ctypes.c_void_p] * 3, ctypes.c_int
        self._condition = find(pointer)
        try:
            self._try(node.context.handle)
        except (AttributeError, TypeError, RuntimeError) as exc:
            raise Unsupported(_in_a_line(exc)) from exc
        node.add_waitable(self)

    def __repr__(self) -> str:
        return f'<GraphBell {"armed" if self._is_armed else "not armed"}>'

    def __enter__(self) -> None:
        """Do nothing: the condition is there as long as the node."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def arm(self) -> None:
        """Ring at the next change, or at once if there was one since it rang."""
        self._is_armed = True

    def get_num_entities(self) -> NumberOfEntities:
        """Return what it adds."""
        return NumberOfEntities(num_gcs=int(self._is_armed))

    def add_to_wait_set(self, wait_set: Any) -> None:
        """Add the condition, if it is armed."""
        if self._is_armed and self._add(wait_set.pointer, self._condition,
                                        ctypes.byref(self._index)):
            self._is_armed = False      # the executor goes on without it
            raise RuntimeError('rcl does not wait for changes of the graph')

    def is_ready(self, wait_set: Any) -> bool:
        """Return whether the graph has changed."""
        return self._is_armed and bool(wait_set.is_ready('guard_condition', self._index.value))

    def take_data(self) -> None:
        """Wait for it no more."""
        self._is_armed = False

    async def execute(self, taken_data: None) -> None:
        """Ring."""
        self._ring()

    def _try(self, context: Any) -> None:
        self._is_armed = True
        waiting = _rclpy.WaitSet(0, 1, 0, 0, 0, 0, context)
        with waiting:
            waiting.clear_entities()
            self.add_to_wait_set(waiting)
            waiting.wait(0)
            self.is_ready(waiting)
        self._is_armed = False


# ---- the public API alone


class SampleInbox:
    """
    The samples that an executor has taken and the pump has not.

    As those in ROS, the oldest are dropped beyond the depth of the subscription.

    :param depth: of the subscription.
    """

    def __init__(self, depth: int) -> None:
        self._items: deque[tuple[bytes, SampleInfo]] = deque(maxlen=max(depth, 1))
        self.ring: Callable[[], None] = _ring_nowhere

    def put(self, cdr: bytes, info: Any) -> None:
        """Take a sample (executor thread)."""
        self._items.append((cdr, _info_of(info)))
        self.ring()

    def take(self) -> tuple[bytes, SampleInfo] | None:
        """Return the oldest sample and what is known of it, if there is one."""
        return self._items.popleft() if self._items else None


class Header:
    """
    Stands for the header of a request; when nobody has it any more, the request ends.

    :param answer: what the executor waits for.
    """

    __slots__ = ('answer',)

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __del__(self) -> None:
        if not self.answer.done():
            self.answer.set_result(None)


class RequestInbox:
    """The requests that an executor has taken and the pump has not."""

    def __init__(self) -> None:
        self._items: deque[tuple[Any, Header]] = deque()
        self.ring: Callable[[], None] = _ring_nowhere

    async def put(self, request: Any, response: Any) -> Any:
        """
        Take a request, and return the answer when there is one (executor thread).

        :raises Unanswered: there will be none.
        """
        answer: Any = Future()
        self._items.append((request, Header(answer)))
        self.ring()
        response = await answer
        if response is None:
            raise Unanswered
        return response

    def take(self, request_type: Any) -> tuple[Any, Header | None]:
        """Return the oldest request and its header, if there is one."""
        return self._items.popleft() if self._items else (None, None)


def _ring_nowhere() -> None:
    """Stand for the bell of an inbox that nobody waits for."""


class Inboxes:
    """Waits for what executors put into inboxes; used on one thread, but for :meth:`wake`."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung: dict[Waited, None] = {}
        self._woken = False
        self._sources: list[Waited] = []

    def __repr__(self) -> str:
        return f'Inboxes({len(self._sources)} sources)'

    def watch(self, sources: Sequence[Waited]) -> None:
        """Wait for these sources from now on, and no others."""
        before = set(self._sources)
        for source in before - set(sources):
            source.port.ring = _ring_nowhere
            with self._condition:
                self._rung.pop(source, None)
        for source in sources:
            if source not in before:
                source.port.ring = lambda source=source: self.again(source)
                self.again(source)      # for what came before
        self._sources = list(sources)

    def wait(self, *, for_sources: bool = True) -> list[Waited]:
        """Wait until something comes, or :meth:`wake` is called; see :class:`Arrivals`."""
        with self._condition:
            self._condition.wait_for(lambda: self._woken or (for_sources and self._rung))
            self._woken = False
            if not for_sources:
                return []
            ready = list(self._rung)
            self._rung.clear()
        return ready

    def again(self, source: Waited) -> None:
        """Report a source once more (any thread)."""
        with self._condition:
            self._rung[source] = None
            self._condition.notify()

    def wake(self) -> None:
        """End a :meth:`wait`, the next one if there is none now (any thread)."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def close(self) -> None:
        """Give everything back."""
        self.watch([])


class PublicAccess:
    """Takes what the node's executor hands over: a callback a sample, a coroutine a request."""

    def __init__(self) -> None:
        self._group = ReentrantCallbackGroup()

    def arrivals(self) -> Arrivals:
        """Return what to wait with."""
        return Inboxes()

    def without_bells(self, why: Unsupported) -> Arrivals:
        """Raise what cannot come: nothing here has bells."""
        raise why

    def near(self) -> Bells | None:
        """Return ``None``: an executor takes."""
        return None

    def make_subscription(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Tap:
        """Create a subscription; see :class:`Access`."""
        inbox = SampleInbox(profile.depth)
        put: Any = inbox.put    # of raw samples, which rclpy's annotation does not know
        return Tap(node.create_subscription(msg_type, topic, put, profile, raw=True,
                                            callback_group=self._group, event_callbacks=QUIET),
                   inbox, inbox.take)

    def make_publisher(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile) -> Any:
        """Create a publisher; see :class:`Access`."""
        return make_publisher(node, msg_type, topic, profile)

    def make_service(self, node: Node, srv_type: Any, name: str) -> Tap:
        """Create a service; see :class:`Access`."""
        inbox = RequestInbox()
        put: Any = inbox.put    # rclpy awaits it, which its annotation does not know
        return Tap(node.create_service(srv_type, name, put, qos_profile=BURST,
                                       callback_group=self._group), inbox, inbox.take)

    def make_client(self, node: Node, srv_type: Any, name: str) -> ClientHandle:
        """Create a client; see :class:`Access`."""
        return node.create_client(srv_type, name, qos_profile=BURST)

    def make_listener(self, node: Node, msg_type: Any, topic: str, profile: QoSProfile,
                      callback: Callable[[bytes], None]) -> Any:
        """Create a subscription; see :class:`Access`."""
        return make_listener(node, msg_type, topic, profile, callback)

    def graph_bell(self, node: Node, ring: Callable[[], None]) -> Callable[[], None] | None:
        """Return that nothing tells of changes of the graph; see :class:`Access`."""
        return None

    def counts(self, node: Node, topics: Iterable[str]) -> list[tuple[int, int]]:
        """Return how many publishers and subscribers topics have; see :class:`Access`."""
        return [(node.count_publishers(topic), node.count_subscribers(topic)) for topic in topics]

    def respond(self, entity: Any, response: Any, header: Any) -> None:
        """Answer a request; see :class:`Access`."""
        header.answer.set_result(response)

    def publish(self, entity: Any, cdr: bytes | memoryview) -> None:
        """Publish CDR; see :class:`Access`."""
        publish(entity, cdr)
