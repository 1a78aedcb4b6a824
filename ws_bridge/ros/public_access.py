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
How entities are made and taken from by rclpy's public API alone.

An executor calls back for each sample, and the pump takes from a :class:`SampleInbox`. That is
slower than :class:`~ws_bridge.ros.private_access.PrivateAccess`, and does the same.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
import threading
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future

from ws_bridge.ros.access import Tap
from ws_bridge.ros.arrivals import Arrivals, Bells, Waited
from ws_bridge.ros.handles import ClientHandle
from ws_bridge.ros.qos import BURST
from ws_bridge.ros.rcl import SampleInfo, Unsupported

QUIET = SubscriptionEventCallbacks(use_default_callbacks=False)
# rclpy's own callbacks warn through a deprecated function, and cost the executor a waitable each
QUIET_PUBLISHER = PublisherEventCallbacks(use_default_callbacks=False)


class Unanswered(Exception):
    """Ends a request that gets no answer; an executor raises it, and it means nothing."""


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


def info_of(info: Any) -> SampleInfo:
    """Return what rclpy's message info says of a sample."""
    number, gid = info['publication_sequence_number'], info.get('publisher_gid')
    return info['source_timestamp'], -1 if number is None else number, gid['data'] if gid else b''


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
        self._items.append((cdr, info_of(info)))
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
