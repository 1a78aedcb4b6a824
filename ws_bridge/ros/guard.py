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
The bridge's end of one gate's guard.

Commands pass here on their way to the stop process, which publishes and stops them.  Where that
process has died the stop is published from here.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
import time
from typing import Protocol, TYPE_CHECKING

from ws_bridge.errors import Expired, LimitExceeded, Stopped, Unavailable, WsBridgeError
from ws_bridge.stop_process import wire
from ws_bridge.stop_process.guard import RETRY, stamp, StopGuard, Stops

if TYPE_CHECKING:
    from ws_bridge.ros.publishers import OnDone, Publisher
    from ws_bridge.ros.status import Diagnostic
    from ws_bridge.safety.policy import LossStep

OK, WARN, ERROR = 0, 1, 2
"""Levels of ``diagnostic_msgs/msg/DiagnosticStatus``."""

_REFUSALS: dict[str, type[WsBridgeError]] = {
    each.code: each for each in (Expired, LimitExceeded, Stopped, Unavailable)}


@dataclass(frozen=True, slots=True)
class GuardEvents:
    """
    Who is told, on the loop thread, what a guard does.

    :param stopped: a stop was published: the guard, why (``timeout`` if nobody said), how many
        subscribers the stopped topics have, and how long ago the last command was, s.
    :param refused: a command that nobody waits for was not published: the guard, why.
    :param not_let_go: a command that moves nothing was not published: the guard, the topic.
    :param alarm: a stop cannot be published: the guard, why; with an empty text it was.
    """

    stopped: Callable[[Guard, str, int, float], None]
    refused: Callable[[Guard, WsBridgeError], None]
    alarm: Callable[[Guard, str], None]
    not_let_go: Callable[[Guard, str], None]


class Port(Protocol):
    """What a guard needs of the watchdog."""

    halted: bool

    @property
    def ready(self) -> bool:
        """Whether the stop process runs."""

    def post(self, action: Callable[..., None], *args: object) -> None:
        """Run a function on the loop thread."""

    def now(self) -> tuple[int, int]:
        """Return ROS time."""

    def wake(self) -> None:
        """Look when something is due."""

    def command(self, topic: int, generation: int, cdr: bytes, *, moving: bool, acknowledge: bool,
                counted: bool, deadline: float, stamped: bool) -> int:
        """Hand a command over; return its number."""

    def tell(self, message: wire.Message) -> None:
        """Tell the stop process, if it runs."""

    def open_topic(self, guard: Guard, topic: GuardedTopic) -> None:
        """Have the stop process make a publisher."""

    def stop(self, guards: Sequence[Guard], reason: str) -> None:
        """Have the stop process stop guards, and wait until it has."""


REFUSED = -1
"""No command's number."""
INSIST = 5.0
"""
For how long a stop is repeated that the bridge publishes in the place of the stop process, s.

Subscribers that know the publisher of the stop process may not know the bridge's own one yet, and
do not hear what it publishes until they do.
"""


class GuardedTopic:
    """
    A publisher behind a gate, as the bridge knows it.

    :ivar introduced: the bridge's own publisher has said something, to be known.
    :ivar matched: how many subscribers the stop process has met with commands.
    :ivar reached: how many know the bridge's own publisher.
    :ivar moving: the last command that was handed over asks for something to be stopped.
    :ivar resting: number of the command that ended this, until it is known to be published.
    :ivar subscribers: how many were matched, as the last answer says.
    """

    __slots__ = ('fed', 'introduced', 'key', 'matched', 'moving', 'publisher', 'reached',
                 'resting', 'stops', 'subscribers')

    def __init__(self, key: int, publisher: Publisher, stops: Stops) -> None:
        self.key = key
        self.publisher = publisher
        self.stops = stops
        self.introduced = False
        self.matched = self.reached = 0
        self.moving = False
        self.resting: int | None = None
        self.fed = 0.0
        self.subscribers = 0

    @property
    def may_move(self) -> bool:
        """Whether the robot may have heard last of something to be stopped."""
        return self.moving or self.resting is not None

    def introduce(self, count: int, steps: Sequence[LossStep], port: Port, *, moving: bool
                  ) -> None:
        """
        Have so many subscribers know the bridge's own publisher (watchdog thread).

        That publisher stops them where the stop process dies.  The first time it says a zero, if
        the escalation has one: a command follows.

        :param moving: the robot moves: nothing is said.
        """
        self.matched = count

        def known() -> None:
            self.reached = max(self.reached, count)
            port.tell(wire.Known(self.key, count))
        zero = None if self.introduced or moving else next(
            (stop for step, stop in zip(steps, self.stops, strict=False)
             if step.action == 'zero'), None)
        if zero is not None and self.publisher.stamped:
            zero = stamp(zero, port.now())
        self.introduced = True
        if count <= self.reached:
            known()
        else:
            self.publisher.introduce(count, zero, known)


class Guard:
    """
    Commands of one gate pass here, and end here; made by :meth:`Watchdog.guard`.

    Of the loop thread, but for what the watchdog's thread takes note of.

    :ivar generation: how often it has stopped; a command has to name the current one.
    :ivar alarm: why the last stop is not published yet; empty = it is.
    """

    def __init__(self, key: int, name: str, timeout: float, steps: tuple[LossStep, ...],
                 events: GuardEvents, port: Port, calls: dict[int, Callable[[], None]],
                 make_key: Callable[[], int]) -> None:
        self.key = key
        self.name = name
        self.timeout = timeout
        self.steps = steps
        self.generation = 0
        self.stops = 0
        self.alarm = ''
        self.closed = False
        self._events = events
        self._port = port
        self._calls = calls
        self._make_key = make_key
        self._topics: dict[Publisher, GuardedTopic] = {}
        self._waiting: dict[int, OnDone] = {}
        self._sent: int | None = None  # generation of the last command
        self._stopping = False
        self._fallback: StopGuard | None = None
        self._output: _Fallback | None = None   # of that one
        self._last = ''

    def __repr__(self) -> str:
        return f'<Guard {self.name} {self.state}, {self.stops} stops>'

    @property
    def state(self) -> str:
        """``idle``, ``armed`` or ``stopping``."""
        return 'armed' if self.moving else 'stopping' if self.stopping else 'idle'

    @property
    def stopping(self) -> bool:
        """Whether an escalation has more to say."""
        return self._stopping or self._takes_over

    @property
    def _takes_over(self) -> bool:
        """Whether an escalation has more to say from here."""
        return self._fallback is not None and self._fallback.stopping

    @property
    def moving(self) -> bool:
        """Whether the last command of a topic asked for something that has to be stopped."""
        return any(topic.moving for topic in self.topics())

    @property
    def may_move(self) -> bool:
        """Do the same, for what the robot has heard: a command at rest may not be published."""
        return self.is_unheard or any(topic.may_move for topic in self.topics())

    @property
    def is_used(self) -> bool:
        """Whether something was handed over since the last stop, or that was not heard yet."""
        return self._sent == self.generation or self.is_unheard

    @property
    def is_unheard(self) -> bool:
        """Whether a stop from here has not reached its subscribers yet."""
        output = self._output
        return output is not None and output.is_unheard

    def topics(self) -> tuple[GuardedTopic, ...]:
        """Return what it watches over (any thread)."""
        return tuple(self._topics.values())

    def add(self, publisher: Publisher, stops: Stops) -> None:
        """
        Watch over a topic.

        :param publisher: publishes its stop where the stop process cannot.
        :param stops: a message for each step of the escalation, as CDR; ``None`` = none.
        """
        topic = self._topics[publisher] = GuardedTopic(self._make_key(), publisher, stops)
        self._port.open_topic(self, topic)

    def publish(self, publisher: Publisher, cdr: bytes, generation: int, *, moving: bool,
                deadline: float, on_done: OnDone | None = None, counted: bool = False) -> bool:
        """
        Hot path: hand an accepted command to the stop process.

        :param generation: of the guard, when the command's sender got its right.
        :param moving: it asks for something that has to be stopped.
        :param deadline: monotonic time until which it may reach ROS.
        :param on_done: called when it is published (``None``), or why it is not; else
            :attr:`GuardEvents.refused` is told.
        :param counted: ``on_done`` waits until new subscribers have taken something.
        :return: ``False``, and nothing happened, if the guard has stopped since.
        :raises RequestError: it could not be handed over.
        """
        if generation != self.generation or self._port.halted:
            return False
        publisher.check()
        if self._takes_over and not self._port.ready:
            raise Unavailable('the robot is being stopped, and the stop process started; no '
                              'command passes meanwhile')
        topic = self._topics[publisher]
        before = topic.moving
        rests = not moving and (before or topic.resting == REFUSED)
        # before it is handed over: the process may die right after
        topic.moving, topic.fed = moving or before, time.monotonic()
        try:
            number = self._port.command(topic.key, generation, cdr, moving=moving,
                                        acknowledge=rests or on_done is not None,
                                        counted=counted, deadline=deadline,
                                        stamped=publisher.stamped)
        except WsBridgeError:
            topic.moving = before
            raise
        self._sent = generation
        if self._fallback is not None:
            self._release()
        if moving or rests:     # first: at no moment it seems to be at rest
            topic.resting = number if rests else None
        if moving is not before:
            topic.moving = moving
            if moving:
                publisher.held = True
                self._port.wake()
        if on_done is not None:
            self._waiting[number] = on_done
        return True

    def stop(self, reason: str) -> bool:
        """
        Stop now what moves: the escalation's first step is published when this returns.

        Where it could not be, :attr:`alarm` says why, and it is tried again. Several guards are
        stopped by :meth:`Port.stop`, which takes as long.

        :return: whether something moved.
        """
        moved = self.moving
        self._port.stop((self,), reason)
        return moved

    def subscriber_count(self, publisher: Publisher) -> int:
        """Return how many subscribers were matched when a command was last answered for."""
        topic = self._topics.get(publisher)
        return 0 if topic is None else topic.subscribers

    def close_publisher(self, publisher: Publisher) -> None:
        """Close a publisher; it is destroyed when no stop needs it any more."""
        topic = self._topics[publisher]
        if not topic.may_move:
            del self._topics[publisher]
        self._port.tell(wire.CloseTopic(topic.key))
        publisher.close()

    def close(self) -> None:
        """Stop; then there is no such gate any more."""
        self.stop('closed')
        self.closed = True
        self._port.tell(wire.CloseGate(self.key))
        self._port.wake()

    def diagnostic(self) -> Diagnostic:
        """Return a row for ``/diagnostics``."""
        state = self.state
        level = ERROR if self.alarm else WARN if state == 'stopping' else OK
        text = f'a stop cannot be published: {self.alarm}' if self.alarm else state
        return f'ws_bridge: guard {self.name}', level, text, [
            ('timeout', f'{self.timeout:g}'), ('stops', str(self.stops)),
            ('last stop', self._last)]

    # ---- what the stop process tells (watchdog thread)

    def note_generation(self, generation: int, still_held: Collection[GuardedTopic] = ()) -> None:
        """
        Take note of a stop: nothing moves, and commands from before it are refused.

        :param still_held: topics of which the publisher has to say the stop yet.
        """
        if generation > self.generation:
            takes_over = self._takes_over
            for publisher, topic in tuple(self._topics.items()):
                topic.moving, topic.resting = False, None
                publisher.held = topic in still_held or (takes_over and publisher.held)
                if publisher.closed:
                    self._topics.pop(publisher, None)
            self.generation = generation

    def note_stopped(self, reason: str, subscribers: int, after: float, *, stopping: bool) -> None:
        """Take note of a stop that was published."""
        self.stops += 1
        self._stopping = stopping
        self._last = f'{reason}, {after:.3f} s after the last command, {subscribers} subscribers'
        self._port.post(self._events.stopped, self, reason, subscribers, after)

    def note_rested(self) -> None:
        """Take note of the end of an escalation."""
        self._stopping = False

    def note_alarm(self, text: str) -> None:
        """Take note that a stop cannot be published, or was at last."""
        self.alarm = text
        self._port.post(self._events.alarm, self, text)

    def note_call(self, step: int) -> None:
        """Call the service of a step."""
        self._calls[step]()

    def waits_for(self, number: int) -> bool:
        """Whether somebody waits to be told what became of a command."""
        return number in self._waiting

    def note_answer(self, event: wire.Published | wire.Refused) -> None:
        """Have the sender of a command told."""
        if isinstance(event, wire.Published):
            self._port.post(self._done, event.topic, event.number, None, event.subscribers)
        else:
            self._port.post(self._done, event.topic, event.number,
                            _REFUSALS[event.code](event.text), None, event.moving)

    def _done(self, key: int, number: int, why: WsBridgeError | None,
              subscribers: int | None = None, moving: bool = True) -> None:
        for topic in self.topics():
            if topic.key == key:
                if subscribers is not None:
                    topic.subscribers = subscribers
                if not moving:
                    self._events.not_let_go(self, topic.publisher.topic)
                if topic.resting == number:
                    self._rested(topic, published=why is None)
        on_done = self._waiting.pop(number, None)
        if on_done is not None:
            on_done(why)
        elif why is not None:
            self._events.refused(self, why)

    def _rested(self, topic: GuardedTopic, *, published: bool) -> None:
        """Take note of what became of the command by which a topic is at rest."""
        if not published and self._sent == self.generation:
            topic.resting = REFUSED     # the next one is asked about
            return
        topic.resting, topic.publisher.held = None, False
        if topic.publisher.closed:
            self._topics.pop(topic.publisher, None)

    # ---- where the stop process has died (watchdog thread)

    def take_over(self, why: str, now: float) -> None:
        """
        Stop from here what the stop process has left moving.

        Where a process has died before, and nothing was handed over since, the escalation of
        then goes on.
        """
        topics = self.topics()
        generation = self.generation + 1
        moving = [topic for topic in topics if topic.may_move]
        if self._takes_over and not moving:
            self.note_generation(generation)
            self._port.post(self._fail, why)
            return
        self._output = _Fallback(self, topics, self._port.now, is_unheard=bool(moving))
        fallback = StopGuard(self.key, self.timeout, self.steps, self._output, insist=INSIST)
        for topic in topics:
            fallback.add(topic.key, topic.stops, stamped=topic.publisher.stamped)
        for topic in moving:
            fallback.feed(topic.key, moving=True, now=topic.fed)
        self.note_generation(generation, moving)
        self._stopping = False
        self._fallback = fallback
        if self.alarm and not moving:
            self.note_alarm('')
        fallback.stop(why, now)
        self._port.post(self._fail, why)

    def poll(self, now: float, *, is_late: bool = True, insists: bool = True) -> float | None:
        """
        Go on with the escalation of :meth:`take_over`.

        :param is_late: its subscribers should have what was published; else there is an alarm.
        :param insists: it may be repeated more often than the escalation says: there is time.
        :return: when there is more to do.
        """
        fallback, output = self._fallback, self._output
        if fallback is None or output is None:
            return None
        if not insists:
            fallback.insist_no_more()
        due = fallback.poll(now)
        output.settle(is_late=is_late)
        if not output.is_unheard:
            return due
        return now + RETRY if due is None else min(due, now + RETRY)

    def _release(self) -> None:
        """Have no stop published from here any more."""
        self._fallback = self._output = None
        if self.alarm:
            self.note_alarm('')
        for topic in self.topics():
            topic.publisher.held = topic.may_move

    def _fail(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for on_done in waiting.values():
            on_done(Unavailable(f'the stop process has ended: {why}'))


class _Fallback:
    """
    Publishes the stops of one guard on the bridge's own publishers.

    :param now: returns ROS time: seconds, nanoseconds.
    :ivar is_unheard: there is a stop that its subscribers do not have yet.
    """

    def __init__(self, guard: Guard, topics: tuple[GuardedTopic, ...],
                 now: Callable[[], tuple[int, int]], *, is_unheard: bool) -> None:
        self.is_unheard = is_unheard
        self._now = now
        self._guard = guard
        self._topics = {topic.key: topic for topic in topics}
        self._said: set[GuardedTopic] = set()
        self._untold: tuple[str, float] | None = None   # the stop that was published: why, after
        self._is_over = False

    def publish(self, topic: int, cdr: bytes) -> None:
        """Publish a message."""
        self._topics[topic].publisher.put(cdr)
        self._said.add(self._topics[topic])

    def subscribers(self, topic: int) -> int:
        """Return how many subscribers are matched."""
        return self._topics[topic].publisher.subscriber_count()

    def ros_time(self) -> tuple[int, int]:
        """Return ROS time."""
        return self._now()

    def call(self, guard: StopGuard, step: int) -> None:
        """Call the service of a step."""
        self._guard.note_call(step)

    def stopped(self, guard: StopGuard, reason: str, subscribers: int, after: float) -> None:
        """Note that a stop was published; it is told when the subscribers have it."""
        self._untold = reason, after

    def settle(self, *, is_late: bool) -> None:
        """
        Tell of the stop that was published, if its subscribers have it.

        :param is_late: they should have it; else there is an alarm.
        """
        if self._untold is None:
            return
        unheard = next((topic.publisher.topic for topic in self._said
                        if not topic.publisher.has_reached(
                            topic.matched, were_known=topic.reached >= topic.matched)), None)
        if unheard is not None:
            if is_late and not self._guard.alarm:
                self._guard.note_alarm(f'a subscriber of {unheard} has not taken it')
            return
        if self._guard.alarm:
            self._guard.note_alarm('')
        (reason, after), self._untold = self._untold, None
        self._guard.note_stopped(
            reason, sum(topic.publisher.subscriber_count() for topic in self._said), after,
            stopping=False)
        self.is_unheard = False
        self._release()

    def rested(self, guard: StopGuard) -> None:
        """Note that the escalation has ended."""
        self._is_over = True
        self._guard.note_rested()
        self._release()

    def _release(self) -> None:
        """Let the publishers go, when there is nothing more to be said by them."""
        if self._is_over and not self.is_unheard:
            for topic in self._topics.values():
                topic.publisher.held = False

    def alarm(self, guard: StopGuard, text: str) -> None:
        """Note that a stop cannot be published."""
        self._guard.note_alarm(text)
