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
What one gate's commands pass through, and what stops them: any thread, under one lock.

A stop publishes bytes that were made beforehand, on the publishers that the commands took: it
comes after every command, and no command comes after it.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
import struct
import threading
import time
from typing import Protocol, TYPE_CHECKING

from ws_bridge.errors import WsBridgeError

if TYPE_CHECKING:
    from ws_bridge.gate_policy import LossStep
    from ws_bridge.ros.publishers import OnDone, Publisher
    from ws_bridge.ros.status import Diagnostic

ACKED_WITHIN = 0.1  # s, for subscribers to acknowledge the last word
OK, WARN = 0, 1
STAMP = struct.Struct('<iI')

Stops = tuple[bytes | None, ...]
Stopped = Callable[['Guard', str, int, float], None]


class Keeper(Protocol):
    """What a guard needs of the watchdog."""

    halted: bool

    def post(self, action: Callable[..., None], *args: object) -> None:
        """Run a function on the loop thread."""

    def now(self) -> tuple[int, int]:
        """Return ROS time."""

    def wake(self) -> None:
        """Look when something is due."""

    def fault(self, exc: BaseException) -> None:
        """Report what should not have been."""


def schedule(steps: tuple[LossStep, ...]) -> list[tuple[float, int]]:
    """
    Return when which rung of a ladder acts: s since the loss, and its index.

    A later rung for topics ends the repetitions of the earlier ones; a service is called beside.
    """
    plan: list[tuple[float, int]] = []
    for index, step in enumerate(steps):
        if step.action == 'service':
            plan.append((step.after, index))
            continue
        plan = [(due, rung) for due, rung in plan
                if due < step.after or steps[rung].action == 'service']
        if step.action != 'silence':
            plan += [(step.after + number / step.rate, index) for number in range(step.times)]
    return sorted(plan)


class Topic:
    """A publisher that a guard watches over; of the guard, under its lock."""

    __slots__ = ('fed', 'moving', 'publisher', 'stops')

    def __init__(self, publisher: Publisher, stops: Stops) -> None:
        self.publisher = publisher
        self.stops = stops
        self.moving = False
        self.fed = 0.0


class Guard:
    """
    Commands of one gate pass here, and end here; made by :meth:`Watchdog.guard`.

    The lock is held while a command is published: what the watchdog's thread stops stays stopped.

    :ivar generation: how often it has stopped; a command has to name the current one.
    """

    def __init__(self, name: str, timeout: float, steps: tuple[LossStep, ...],
                 on_stopped: Stopped, watchdog: Keeper, calls: dict[int, Callable[[], None]]
                 ) -> None:
        self.name = name
        self.generation = 0
        self.stops = 0
        self._timeout = timeout
        self._steps = steps
        self._plan = schedule(steps)
        self._on_stopped = on_stopped
        self._watchdog = watchdog
        self._calls = calls
        self._lock = threading.Lock()
        self._topics: dict[Publisher, Topic] = {}
        self._moving: list[Topic] = []
        self._stopped: list[Topic] = []
        self._stopped_at = 0.0
        self._ladder: deque[tuple[float, int]] = deque()
        self._last = ''
        self._closed = False

    def __repr__(self) -> str:
        return f'<Guard {self.name} {self.state}, {self.stops} stops>'

    @property
    def state(self) -> str:
        """``idle``, ``armed`` or ``stopping``."""
        return 'armed' if self._moving else 'stopping' if self._ladder else 'idle'

    def add(self, publisher: Publisher, stops: Stops) -> None:
        """
        Watch over a publisher.

        :param stops: a message for each rung of the ladder, as CDR; ``None`` where there is none.
        """
        self._topics[publisher] = Topic(publisher, stops)

    def publish(self, publisher: Publisher, cdr: bytes, generation: int, *, moving: bool,
                deadline: float | None = None, on_done: OnDone | None = None) -> bool:
        """
        Publish an accepted command (loop thread); see :meth:`Publisher.publish`.

        :param generation: of the guard, when the command's sender got its right.
        :param moving: it asks for something that has to be stopped.
        :return: ``False``, and nothing happened, if the guard has stopped since.
        :raises RequestError: as of :meth:`Publisher.publish`.
        """
        topic = self._topics[publisher]
        if not publisher.ready:
            if self._refuses(generation):
                return False
            publisher.publish(cdr, deadline, on_done,
                              partial(self._pass, topic, generation, moving))
            return True
        if not self._pass(topic, generation, moving, cdr):
            return False
        if on_done is not None:
            on_done(None)
        return True

    def stop(self, reason: str) -> bool:
        """
        Stop now what moves: the ladder's first rung is published when this returns.

        Any thread, but not in a signal handler.

        :return: whether something moved.
        """
        with self._lock:
            return self._stop(reason, time.monotonic())

    def close_publisher(self, publisher: Publisher) -> None:
        """Close a publisher; it is destroyed when no stop needs it any more."""
        self._topics.pop(publisher, None)
        publisher.close()

    def close(self) -> None:
        """Stop; then there is no such gate any more."""
        self.stop('closed')
        self._closed = True
        self._watchdog.wake()

    # of the watchdog

    def poll(self, now: float) -> float | None:
        """
        Do what is due (watchdog thread).

        :return: when there is more to do; ``None`` = when a command comes.
        """
        with self._lock:
            if self._moving:
                due = min(topic.fed for topic in self._moving) + self._timeout
                if due > now:
                    return due
                self._stop('timeout', now)
            self._climb(now)
            return self._stopped_at + self._ladder[0][0] if self._ladder else None

    @property
    def gone(self) -> bool:
        """Whether it is closed and has nothing left to do."""
        return self._closed and not self._ladder

    def diagnostic(self) -> Diagnostic:
        """Return a row for ``/diagnostics``."""
        stopping = self.state == 'stopping'
        return (f'ws_bridge: guard {self.name}', WARN if stopping else OK, self.state, [
            ('timeout', f'{self._timeout:g}'), ('stops', str(self.stops)),
            ('last stop', self._last)])

    # under the lock

    def _refuses(self, generation: int) -> bool:
        return generation != self.generation or self._watchdog.halted

    def _pass(self, topic: Topic, generation: int, moving: bool, cdr: bytes) -> bool:
        with self._lock:
            if self._refuses(generation):
                return False
            topic.publisher.put(cdr)
            topic.fed = time.monotonic()
            if self._stopped:
                self._end_ladder()
            if moving is not topic.moving:
                self._turn(topic, moving)
            return True

    def _turn(self, topic: Topic, moving: bool) -> None:
        topic.moving = topic.publisher.held = moving
        if moving:
            self._moving.append(topic)
            self._watchdog.wake()
        else:
            self._moving.remove(topic)

    def _stop(self, reason: str, now: float) -> bool:
        self.generation += 1
        if not self._moving:
            return False
        after = now - max(topic.fed for topic in self._moving)
        stopped, self._stopped, self._moving = self._moving, self._moving, []
        self._stopped_at = now
        self._ladder = deque(self._plan)
        for topic in stopped:
            topic.moving = False
        self._climb(now)
        subscribers = sum(topic.publisher.subscriber_count() for topic in stopped)
        self.stops += 1
        self._last = f'{reason}, {after:.3f} s after the last command, {subscribers} subscribers'
        self._watchdog.post(self._on_stopped, self, reason, subscribers, after)
        self._watchdog.wake()
        return True

    def _climb(self, now: float) -> None:
        """Do what the ladder has for this time."""
        while self._ladder and self._stopped_at + self._ladder[0][0] <= now:
            _, index = self._ladder.popleft()
            call = self._calls.get(index)
            if call is not None:
                call()
            for topic in self._stopped:
                self._say(topic, index)
        if self._stopped and not self._ladder:
            self._end_ladder()

    def _say(self, topic: Topic, index: int) -> None:
        cdr = topic.stops[index] if index < len(topic.stops) else None
        if cdr is None:
            return
        try:
            if topic.publisher.stamped:
                cdr = cdr[:4] + STAMP.pack(*self._watchdog.now()) + cdr[4 + STAMP.size:]
            topic.publisher.put(cdr)
        except WsBridgeError as exc:  # the other topics have to stop all the same
            self._watchdog.fault(exc)

    def _end_ladder(self) -> None:
        """Let go of what was stopped; who commands again must not hear the rest."""
        self._ladder.clear()
        for topic in self._stopped:
            topic.publisher.held = topic.moving
        self._stopped = []

    def settle(self) -> None:
        """Wait until the subscribers have the last word (watchdog thread, at the end)."""
        until = time.monotonic() + ACKED_WITHIN
        for publisher in list(self._topics):
            publisher.wait_acked(until - time.monotonic())
