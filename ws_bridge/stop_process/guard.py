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
What one gate's commands have set in motion, and the escalation that stops it.

Pure; ``now`` is monotonic, s.  The stop process has one of these for each gate.  The bridge makes
one where that process died.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil
import struct
from typing import Protocol, TYPE_CHECKING

from ws_bridge.errors import WsBridgeError

if TYPE_CHECKING:
    from ws_bridge.safety.policy import LossStep

RETRY = 0.05  # s, until a stop that could not be published is tried again
STAMP = struct.Struct('<iI')

Stops = tuple[bytes | None, ...]
"""A message for each step of an escalation, as CDR; ``None`` where a step publishes nothing."""


class Output(Protocol):
    """Where stops go."""

    def publish(self, topic: int, cdr: bytes) -> None:
        """
        Publish a message.

        :raises WsBridgeError: it could not be published.
        """

    def subscribers(self, topic: int) -> int:
        """Return how many subscribers are matched."""

    def ros_time(self) -> tuple[int, int]:
        """Return ROS time for the stamp of a header: seconds, nanoseconds."""

    def call(self, guard: StopGuard, step: int) -> None:
        """Call the service of a step."""

    def stopped(self, guard: StopGuard, reason: str, subscribers: int, after: float) -> None:
        """Note that a stop was published, ``after`` s after the last command."""

    def rested(self, guard: StopGuard) -> None:
        """Note that the escalation has ended."""

    def alarm(self, guard: StopGuard, text: str) -> None:
        """Note that a stop cannot be published, or with an empty text that it was."""


def schedule(steps: Sequence[LossStep], insist: float = 0.0) -> list[tuple[float, int]]:
    """
    Return when which step of an escalation acts: s since the loss, and its index.

    A later step for topics ends the repetitions of the earlier ones; a service is called beside.

    :param insist: messages are repeated for at least so long, s.
    """
    plan: list[tuple[float, int]] = []
    for index, step in enumerate(steps):
        if step.action == 'service':
            plan.append((step.after, index))
            continue
        plan = [(due, earlier) for due, earlier in plan
                if due < step.after or steps[earlier].action == 'service']
        if step.action != 'silence':
            times = max(step.times, ceil(insist * step.rate))
            plan += [(step.after + number / step.rate, index) for number in range(times)]
    return sorted(plan)


def stamp(cdr: bytes, ros_time: tuple[int, int]) -> bytes:
    """
    Return a message that begins with a header, with another stamp.

    :param ros_time: seconds, nanoseconds.
    """
    return cdr[:4] + STAMP.pack(*ros_time) + cdr[4 + STAMP.size:]


class WatchedTopic:
    """A topic that a guard watches over."""

    __slots__ = ('fed', 'key', 'moving', 'stamped', 'stops')

    def __init__(self, key: int, stops: Stops, *, stamped: bool) -> None:
        self.key = key
        self.stops = stops
        self.stamped = stamped
        self.moving = False
        self.fed = 0.0


class StopGuard:
    """
    Watches over the topics of one gate.

    :param key: of the gate.
    :param timeout: silence of a topic that moves something, then the guard stops, s.
    :param steps: the escalation.
    :param insist: messages are repeated for at least so long, s.
    :ivar generation: how often it has stopped; a command has to name the current one.
    :ivar timeout: the same.
    :ivar alarm: why the last stop is not published yet; empty = it is.
    """

    def __init__(self, key: int, timeout: float, steps: Sequence[LossStep], output: Output,
                 generation: int = 0, insist: float = 0.0) -> None:
        self.key = key
        self.generation = generation
        self.alarm = ''
        self.timeout = timeout
        self._steps = steps
        self._plan = schedule(steps, insist)
        self._output = output
        self._topics: dict[int, WatchedTopic] = {}
        self._moving: list[WatchedTopic] = []
        self._stopped: list[WatchedTopic] = []
        self._stopped_at = 0.0
        self._fed = 0.0
        self._reason = ''
        self._told = True
        self._ladder: deque[tuple[float, int]] = deque()
        self._unsaid: dict[WatchedTopic, int] = {}
        self._retry_at = 0.0

    def __repr__(self) -> str:
        return f'<StopGuard {self.key}, generation {self.generation}, {len(self._moving)} moving>'

    @property
    def moving(self) -> bool:
        """Whether the last command of a topic asked for something that has to be stopped."""
        return bool(self._moving)

    @property
    def stopping(self) -> bool:
        """Whether the escalation, or a stop that failed, still has something to publish."""
        return bool(self._ladder or self._unsaid)

    def add(self, key: int, stops: Stops, *, stamped: bool) -> None:
        """
        Watch over a topic.

        :param stamped: its messages begin with a header.
        """
        self._topics[key] = WatchedTopic(key, stops, stamped=stamped)

    def remove(self, key: int) -> None:
        """Forget a topic that :meth:`needs` does not name."""
        del self._topics[key]

    def moves(self, key: int) -> bool:
        """Whether the last command of this topic asked for something that has to be stopped."""
        return self._topics[key].moving

    def needs(self, key: int) -> bool:
        """Whether a stop of this topic may have to be published yet."""
        topic = self._topics[key]
        return topic.moving or (self.stopping and topic in self._stopped)

    def feed(self, key: int, *, moving: bool, now: float) -> None:
        """
        Take note of a command that was published.

        :param moving: it asks for something that has to be stopped.
        """
        topic = self._topics[key]
        topic.fed = now
        if self._stopped:
            self._end_ladder()
        if moving is not topic.moving:
            topic.moving = moving
            if moving:
                self._moving.append(topic)
            else:
                self._moving.remove(topic)

    def stop(self, reason: str, now: float) -> bool:
        """
        Stop what moves: the first step of the escalation is tried when this returns.

        :return: whether something moved.
        """
        self.generation += 1
        if not self._moving:
            return False
        self._fed = max(topic.fed for topic in self._moving)
        self._stopped, self._moving = self._moving, []
        self._stopped_at = now
        self._reason = reason
        self._told = False
        self._unsaid.clear()
        self._ladder = deque(self._plan)
        for topic in self._stopped:
            topic.moving = False
        self._climb(now)
        return True

    def insist_no_more(self) -> None:
        """Repeat nothing more often than the escalation says."""
        least = schedule(self._steps)
        self._ladder = deque(each for each in self._ladder if each in least)
        if self._stopped and not self.stopping:
            self._end_ladder()

    def poll(self, now: float) -> float | None:
        """
        Do what is due.

        :return: when there is more to do; ``None`` = when a command comes.
        """
        if self._moving:
            due = min(topic.fed for topic in self._moving) + self.timeout
            if due > now and not self.stopping:
                return due
            if due <= now:
                self.stop('timeout', now)
        if self.stopping:
            self._climb(now)
        dues = [topic.fed + self.timeout for topic in self._moving]
        if self._ladder:
            dues.append(self._stopped_at + self._ladder[0][0])
        if self._unsaid:
            dues.append(self._retry_at)
        return min(dues, default=None)

    def _climb(self, now: float) -> None:
        """Do what the escalation has for this time; what failed is tried again."""
        if self._unsaid and self._retry_at <= now:
            unsaid, self._unsaid = self._unsaid, {}
            for topic, step in unsaid.items():
                self._say(topic, step, now)
        while self._ladder and self._stopped_at + self._ladder[0][0] <= now:
            _, step = self._ladder.popleft()
            if self._steps[step].action == 'service':
                self._output.call(self, step)
                continue
            for topic in self._stopped:
                self._say(topic, step, now)
        if not self._unsaid:
            self._tell(now)
        if self._stopped and not self.stopping:
            self._end_ladder()

    def _say(self, topic: WatchedTopic, step: int, now: float) -> None:
        cdr = topic.stops[step] if step < len(topic.stops) else None
        if cdr is None:
            return
        if topic.stamped:
            cdr = stamp(cdr, self._output.ros_time())
        try:
            self._output.publish(topic.key, cdr)
        except WsBridgeError as exc:  # the other topics have to stop all the same
            self._unsaid[topic] = step
            self._retry_at = now + RETRY
            self._set_alarm(str(exc))
        else:
            self._unsaid.pop(topic, None)

    def _tell(self, now: float) -> None:
        """Tell of the stop, once, when it is published."""
        self._set_alarm('')
        if not self._told:
            self._told = True
            self._output.stopped(self, self._reason, sum(
                self._output.subscribers(topic.key) for topic in self._stopped), now - self._fed)

    def _set_alarm(self, text: str) -> None:
        if text != self.alarm:
            self.alarm = text
            self._output.alarm(self, text)

    def _end_ladder(self) -> None:
        """Let go of what was stopped; a new command must not be followed by the rest."""
        self._ladder.clear()
        self._unsaid.clear()
        self._stopped = []
        self._told = True
        self._set_alarm('')
        self._output.rested(self)
