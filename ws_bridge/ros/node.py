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
"""The node, its context, and the executor thread that owns every entity of it."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
import heapq
import itertools
import re
import threading
import time

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.context import Context
from rclpy.exceptions import (
    InvalidHandle,
    InvalidNamespaceException,
    InvalidNodeNameException,
    ParameterException,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ws_bridge.errors import ConfigError
from ws_bridge.ros.names import NameResolver
from ws_bridge.ros.public_access import Unanswered

MAX_FAULTS = 10  # in a row, then the thread gives up
FAR = 365 * 24 * 3600.0


class TimerHandle:
    """One callback that is due at a steady time; :meth:`cancel` forgets it."""

    __slots__ = ('action',)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Never run it (executor thread)."""
        self.action = None


class RosNode:
    """
    A node in its own context, spun by its own thread.

    Only that thread creates and destroys entities; others ask it with :meth:`submit`.

    :param args: ROS arguments (``--ros-args ...``).
    :param post: ``post(fn, *args)`` runs ``fn`` on the loop thread.
    :param on_fault: called on the loop with an exception that should not have been.
    :param context: an initialised context of the caller's, which is then not shut down.
    :raises ConfigError: on a wrong name or argument.
    """

    def __init__(self, name: str, namespace: str, args: list[str], *,
                 post: Callable[..., None], on_fault: Callable[[BaseException], None],
                 context: Context | None = None) -> None:
        self._post = post
        self._on_fault = on_fault
        self._owns_context = context is None
        self.context = Context() if context is None else context
        try:
            if context is None:
                rclpy.init(args=args, context=self.context,
                           signal_handler_options=SignalHandlerOptions.NO)
            self.node = Node(name, namespace=namespace, context=self.context)
        except (RuntimeError, ParameterException, InvalidNodeNameException,
                InvalidNamespaceException) as exc:
            if self._owns_context:
                rclpy.try_shutdown(context=self.context)
            raise ConfigError(f'cannot create the node: {_in_one_line(exc)}') from exc
        self.names = NameResolver(self.node)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.made_at = time.monotonic()
        self._requests: deque[Callable[[], None]] = deque()
        self._awake = False
        self._busy = False
        self._wake = self.node.create_guard_condition(self._drain)
        self._alarms: list[tuple[float, int, TimerHandle]] = []
        self._numbers = itertools.count()
        self._timer = self.node.create_timer(FAR, self._ring,
                                             clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='ws_bridge executor', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, last: Callable[[], None]) -> None:
        """
        Carry out what was submitted, then ``last``, then end the thread.

        :param last: runs on the executor thread, before the node is destroyed.
        """
        def act() -> None:
            last()
            self._stopping = True
        self.submit(act)

    def join(self, timeout: float) -> bool:
        """
        Wait for the thread; :meth:`discard` comes next.

        :return: whether it has ended.
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def discard(self) -> None:
        """Destroy the node and its context; no thread runs."""
        self._executor.shutdown()
        self.node.destroy_node()
        if self._owns_context:
            rclpy.try_shutdown(context=self.context)

    def submit(self, action: Callable[[], None]) -> None:
        """
        Run ``action`` on the executor thread, in the order of submission (any thread).

        After :meth:`discard` nothing happens.
        """
        self._requests.append(action)
        if not self._awake:
            self._awake = True
            with suppress(InvalidHandle):  # the node is destroyed, and what it would act on
                self._wake.trigger()

    @property
    def idle(self) -> bool:
        """Return whether everything submitted was carried out."""
        return not self._requests and not self._busy

    def after(self, delay: float, action: Callable[[], None]) -> TimerHandle:
        """
        Run ``action`` in ``delay`` s of the steady clock (executor thread).

        :return: to cancel it.
        """
        alarm = TimerHandle(action)
        heapq.heappush(self._alarms, (time.monotonic() + delay, next(self._numbers), alarm))
        if self._alarms[0][2] is alarm:
            self._set_timer()
        return alarm

    def _drain(self) -> None:
        self._awake = False  # before the first look: a later submit triggers again
        requests = self._requests
        while requests:
            self._busy = True  # before the request is taken: idle must not be true in between
            self._guarded(requests.popleft())
        self._busy = False

    def _ring(self) -> None:
        if self._requests:      # their trigger was lost
            self._drain()
        now = time.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            action = heapq.heappop(self._alarms)[2].action
            if action is not None:
                self._guarded(action)
        self._set_timer()

    def _set_timer(self) -> None:
        while self._alarms and self._alarms[0][2].action is None:
            heapq.heappop(self._alarms)
        delay = self._alarms[0][0] - time.monotonic() if self._alarms else FAR
        self._timer.timer_period_ns = max(int(delay * 1e9), 100_000)
        self._timer.reset()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run one action; its fault is reported and the next ones still run."""
        try:
            action()
        except Exception as exc:  # noqa: BLE001 - the edge of a thread: reported
            self._post(self._on_fault, exc)

    def _run(self) -> None:
        faults = 0
        # The trigger of what was submitted before the first wait may get lost.
        self._drain()
        while not self._stopping:
            try:
                self._executor.spin_once()
                faults = 0
            except Unanswered:
                faults = 0
            except ExternalShutdownException:
                return
            except Exception as exc:  # noqa: BLE001 - the edge of a thread: reported
                self._post(self._on_fault, exc)
                faults += 1
                if faults >= MAX_FAULTS:
                    return


def _in_one_line(exc: Exception) -> str:
    """Return what rclpy says, without the places in its source."""
    if type(exc).__name__ == 'UnknownROSArgsError':     # of a private module of rclpy
        return f'unknown ROS arguments: {exc}'
    return ' '.join(re.sub(r', at /\S+:\d+', '', str(exc)).split())
