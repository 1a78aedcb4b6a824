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
"""A stand-in for the loop: what is posted waits until the test runs it."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import select
import time
from traceback import format_exception
from typing import Any, TypeVar

from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from support.helpers import Limit

from ws_bridge.ros.settings import RosSettings
from ws_bridge.ros.side import RosSide

Value = TypeVar('Value')
QUICK = RosSettings(graph_interval=0.05, overlap=0.3, client_idle=0.2)
PATIENCE = 15.0
RELIABLE = QoSProfile(depth=10)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def latched(depth: int = 1) -> QoSProfile:
    """Return a reliable, transient-local profile."""
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class OtherNode:
    """
    A node of another participant that nobody spins.

    So a test may create and destroy its publishers and subscriptions, and take from these.
    """

    def __init__(self, name: str = 'other') -> None:
        self.context = Context()
        self.context.init(args=[])
        self.node = Node(name, context=self.context, use_global_arguments=False)

    def close(self) -> None:
        self.node.destroy_node()
        self.context.try_shutdown()

    @contextmanager
    def publisher(self, topic: str, qos: QoSProfile, msg_type: type[Any] = String
                  ) -> Iterator[Any]:
        """Give a publisher."""
        entity = self.node.create_publisher(msg_type, topic, qos)
        try:
            yield entity
        finally:
            self.node.destroy_publisher(entity)

    @contextmanager
    def hearing(self, topic: str, qos: QoSProfile, msg_type: type[Any] = String
                ) -> Iterator[Callable[[], list[Any]]]:
        """Give a function that returns every message heard so far."""
        entity = self.node.create_subscription(msg_type, topic, lambda _: None, qos)
        heard: list[Any] = []

        def take() -> list[Any]:
            while (taken := entity.handle.take_message(msg_type, False)) is not None:
                heard.append(taken[0])
            return heard
        try:
            yield take
        finally:
            self.node.destroy_subscription(entity)


class FakeLoop:
    """The loop thread is the test's own thread."""

    def __init__(self) -> None:
        self._posted: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._readers: dict[int, Callable[[], None]] = {}
        self.faults: list[BaseException] = []

    def post(self, action: Callable[..., None], *args: Any) -> None:
        self._posted.append((action, args))

    def attach(self, descriptor: int, function: Callable[[], None]) -> Callable[[], None]:
        self._readers[descriptor] = function

        def end() -> None:
            del self._readers[descriptor]
        return end

    def run(self) -> None:
        """Run what was posted, and what waits for file descriptors that can be read."""
        while self._posted:
            action, args = self._posted.popleft()
            action(*args)
        for descriptor in self._readable():
            self._readers[descriptor]()

    @property
    def has_something(self) -> bool:
        """Whether something is left to run."""
        return bool(self._posted or self._readable())

    def _readable(self) -> list[int]:
        return select.select(list(self._readers), [], [], 0)[0]

    def until(self, predicate: Callable[[], Value],
              what: str | Callable[[], object] = 'the awaited state',
              timeout: float = PATIENCE) -> Value:
        """Run the loop until the predicate gives something true."""
        limit = Limit(timeout)
        while True:
            self.run()
            if value := predicate():
                # what was posted before that, since the loop ran
                self.run()
                return value
            assert not limit.is_over(), (
                f'not within {timeout:g} s: {what() if callable(what) else what}')
            time.sleep(0.002)


def look(loop: FakeLoop, side: RosSide, times: int = 1) -> None:
    """Have the graph looked at."""
    for _ in range(times):
        told: list[bool] = []
        side.look_again(lambda: told.append(True))      # noqa: B023 - it is waited for here
        loop.until(lambda: told)    # noqa: B023


@contextmanager
def running_side(loop: FakeLoop, settings: RosSettings = QUICK, **options: Any
                 ) -> Iterator[RosSide]:
    """Give a started ROS side, and shut it down; no fault may have happened."""
    side = RosSide(settings, post=loop.post, attach=loop.attach,
                   on_fault=loop.faults.append, **options)
    side.start()
    try:
        yield side
    finally:
        side.shutdown()
        loop.run()
    assert loop.faults == [], [''.join(format_exception(fault)) for fault in loop.faults]
