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
The watchdog of a bridge and its stop process, both unchanged, on a clock that is made up.

Each runs on a thread of its own, and only one at a time: where its code waits, or asks for the
time, it may be held up, frozen or killed.  The sockets between them are real.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass
from math import inf
import os
from random import Random
import select
import selectors
import socket
import struct
import subprocess
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from ws_bridge.errors import NotAdvertised, Unavailable, WsBridgeError
from ws_bridge.ros import guard as guard_module
from ws_bridge.ros import watchdog as watchdog_module
from ws_bridge.ros.guard import Guard, GuardEvents
from ws_bridge.ros.watchdog import PING_EVERY, UNANSWERED, Watchdog
from ws_bridge.safety.policy import LossStep
from ws_bridge.stop_process import DISCOVERY, wire
from ws_bridge.stop_process import process as process_module
from ws_bridge.stop_process.process import StopProcess

TIMEOUT = 0.5
TWIST = 'geometry_msgs/msg/Twist'
STEPS = (LossStep('zero', times=2, rate=20.0),)
EPSILON = 0.001  # s; nothing takes time but what a test makes take it
STARTS_WITHIN = 0.4  # s
MATCH_TIMEOUT = DISCOVERY
PAUSE = 0.01  # s
BACKLOG = 4096  # bytes: a real socket, that is soon full
_COMMAND = struct.Struct('<4sBIIx')
ZERO = b'\0\1\0\0zero'


class Killed(BaseException):
    """Ends the thread of a process that was killed, wherever it is."""


class Task:
    """
    A thread that runs only when it is told, until it waits for something.

    :ivar ready: what it waits for.
    :ivar due: the latest time at which it goes on, s.
    :ivar hold_at: what happens at its nth next step: ``freeze``, ``kill`` or ``pause``.
    :ivar deaf_since: when it got no processor any more, or ended; ``None`` = it runs.
    :ivar up_since: when it got one again.
    :ivar end: the socket of a process, closed when it ends.
    """

    def __init__(self, simulation: Simulation, target: Callable[[], None]) -> None:
        self.ready: Callable[[], bool] = lambda: True
        self.due = inf
        self.done = self.frozen = False
        self.hold_at: tuple[int, str] | None = None
        self.busy_until = 0.0
        self.deaf_since: float | None = None
        self.up_since = 0.0
        self.end: socket.socket | None = None
        self.error: BaseException | None = None
        self._killed = False
        self._simulation = simulation
        self._target = target
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._target()
        except Killed:
            pass
        except BaseException as exc:  # noqa: BLE001 - raised where the test sees it
            self.error = exc
        if self.end is not None:
            self.end.close()
        self.done = True
        self._back.release()

    @property
    def deaf(self) -> bool:
        """Whether it gets no processor."""
        return self.frozen or self.busy_until > self._simulation.now

    def can_run(self) -> bool:
        """Whether it has something to do, and may."""
        return not self.done and not self.deaf and (
            self.due <= self._simulation.now or self.ready())

    def step(self) -> None:
        """Run it until it waits."""
        before, self._simulation.current = self._simulation.current, self
        self._go.release()
        self._back.acquire()
        self._simulation.current = before
        if self.error is not None:
            raise self.error

    def wait(self, ready: Callable[[], bool], due: float = inf) -> None:
        """Wait, in its own thread."""
        self.ready, self.due = ready, due
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def point(self) -> None:
        """Be where it may be held up (its own thread)."""
        if self.hold_at is not None:
            count, how = self.hold_at
            self.hold_at = (count - 1, how) if count else None
            if count:
                return
            if how == 'kill':
                raise Killed
            if how == 'freeze':
                self.frozen = True
            else:
                self.busy_until = self._simulation.now + PAUSE
            self.wait(lambda: True)

    def kill(self) -> None:
        """Kill it."""
        if not self.done:
            self._killed = True
            self.step()

    def join(self) -> None:
        """Wait for the thread."""
        self._thread.join()


class Child:
    """A ``subprocess.Popen`` of the stop process."""

    pid = 1

    def __init__(self, simulation: Simulation, fd: int) -> None:
        self._simulation = simulation
        self.task = Task(simulation, self._run)
        self.task.end = self._end = socket.socket(fileno=os.dup(fd))
        self._end.setblocking(False)

    def _run(self) -> None:
        simulation = self._simulation
        self.task.wait(lambda: False, simulation.now + simulation.starts_within)
        node: Any = Node(simulation, self.task)
        StopProcess(self._end, node).run('simulated')

    def kill(self) -> None:
        """Kill it."""
        self.task.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._simulation.wait(lambda: self.task.done, inf if timeout is None else timeout)
        if not self.task.done:
            raise subprocess.TimeoutExpired('stop process', timeout or 0.0)
        return 0


@dataclass
class Heard:
    """What a subscriber of a topic heard last, and what stopped it before."""

    at: float = 0.0
    moving: bool = False
    generation: int = 0
    writer: Task | None = None
    stopped: int = -1  # generation of the newest command that was stopped
    zeros: int = 0


class Node:
    """What the stop process needs of a node."""

    def __init__(self, simulation: Simulation, task: Task) -> None:
        self._simulation, self._task = simulation, task

    def create_publisher(self, message_class: object, name: str, *_: object, **__: object) -> Any:
        return Entity(self._simulation, name, self._task)

    def destroy_publisher(self, entity: Any) -> None:
        entity.destroyed = True

    def get_subscriptions_info_by_topic(self, name: str) -> list[Any]:
        return [SimpleNamespace(topic_type=TWIST)]


class Entity:
    """A publisher of the stop process; it is matched after a while."""

    def __init__(self, simulation: Simulation, topic: str, task: Task) -> None:
        self._simulation, self._topic, self._task = simulation, topic, task
        self._matched_at = simulation.now + simulation.matched_within
        self._heard_at = self._matched_at + simulation.heard_within
        self.destroyed = False

    def publish(self, cdr: bytes) -> None:
        self._task.point()
        assert not self.destroyed
        self._simulation.say(self._topic, cdr, self._task)
        self._task.point()

    def get_subscription_count(self) -> int:
        return self._simulation.subscribers * (self._simulation.now >= self._matched_at)

    def wait_for_all_acked(self, timeout: object) -> bool:
        return self._simulation.now >= self._heard_at


class FakePublisher:
    """What a guard needs of a publisher of the bridge."""

    keyed = stamped = False
    msg_type = TWIST

    def __init__(self, simulation: Simulation, topic: str) -> None:
        self.topic = topic
        self.closed = False
        self._gone = False
        self._held = False
        self._simulation = simulation
        self._known_at = simulation.now + simulation.known_within

    @property
    def held(self) -> bool:
        """Whether it may have to say a stop."""
        return self._held

    @held.setter
    def held(self, held: bool) -> None:
        self._held = held
        self._gone |= self.closed and not held

    def check(self) -> None:
        if self.closed:
            raise NotAdvertised(self.topic)

    def put(self, cdr: bytes) -> None:
        if self._gone:
            raise Unavailable('it was destroyed')
        if self._simulation.now >= self._known_at:
            self._simulation.say(self.topic, cdr, None)

    def introduce(self, count: int, cdr: bytes | None, on_known: Callable[[], None]) -> None:
        if not self._knows(count):
            return
        if self._simulation.now >= self._known_at:
            on_known()
        else:
            self._simulation.introductions.append((self._known_at, on_known))

    def _knows(self, count: int) -> bool:
        return count <= self._simulation.subscribers - self._simulation.unknown

    def subscriber_count(self) -> int:
        return self._simulation.subscribers - self._simulation.unknown

    def has_reached(self, count: int, *, were_known: bool) -> bool:
        return not self._gone and self._simulation.now >= self._known_at and (
            were_known or self._knows(count))

    def close(self) -> None:
        self.closed = True
        self._gone |= not self._held


class Simulation:
    """
    A bridge's watchdog with guards, its stop processes one after another, and what is heard.

    The thread of the test is the loop of the bridge.

    :ivar now: the time, s.
    :ivar answers: what became of the commands that asked.
    :ivar faults: what was reported and should not have been.
    :ivar known_at: when the subscribers of a topic hear the bridge's own publisher, where it is
        so late that commands do not wait for it.
    :ivar stopped: why guards have stopped, as the loop was told.
    """

    def __init__(self, seed: int, gates: dict[str, tuple[str, ...]]) -> None:
        self.now = 1000.0
        self.current: Task | None = None
        self.heard = {topic: Heard() for topics in gates.values() for topic in topics}
        self.faults: list[object] = []
        self.starts_within = STARTS_WITHIN
        self.matched_within = 0.0
        self.heard_within = 0.0     # after it was matched
        self.known_within = 0.0     # a publisher of the bridge, to the subscribers
        self.subscribers = 1        # of each topic; one of them is what is heard
        self.unknown = 0            # of these to the bridge
        self.launches_fail = 0
        self.unanswered = 0
        self.answers: list[WsBridgeError | None] = []
        self.introductions: list[tuple[float, Callable[[], None]]] = []     # when they are known
        self._random = Random(seed)
        self._tasks: list[Task] = []
        self._posted: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self._numbers = 0
        self._bridge: Task | None = None
        self._stack = ExitStack()
        self._replace()
        self.watchdog = Watchdog(
            post=lambda action, *args: self._posted.append((action, args)),
            on_fault=self.faults.append, now=lambda: (7, 8), prepare=lambda step: lambda: None,
            launch=self._launch, match_timeout=MATCH_TIMEOUT, count=lambda topic, msg_type: 1,
            on_lost=lambda why: None)
        self.watchdog.start()
        self.not_let_go: list[str] = []
        self.stopped: list[str] = []
        self.known_at: dict[str, float] = {}
        self._guards = {
            gate: self.watchdog.guard(gate, TIMEOUT, STEPS, GuardEvents(
                lambda _, reason, *more: self.stopped.append(reason), *[lambda *_: None] * 2,
                lambda _, topic: self.not_let_go.append(topic)))
            for gate in gates}
        self.gate_of = {topic: gate for gate, topics in gates.items() for topic in topics}
        self.publishers: dict[str, FakePublisher] = {}
        for topic in self.gate_of:
            self.advertise(topic)

    def _replace(self) -> None:
        """Have both sides see the simulated clock, and wait in it."""
        clock = SimpleNamespace(
            monotonic=self._monotonic, monotonic_ns=lambda: int(self.now * 1e9),
            time_ns=lambda: int(self.now * 1e9), sleep=lambda s: self.wait(lambda: False, s))
        threads = SimpleNamespace(
            Event=lambda: Event(self), Lock=lambda: Lock(self), Thread=self._thread)
        for module, name, value in (
                (watchdog_module, 'time', clock), (guard_module, 'time', clock),
                (process_module, 'time', clock), (watchdog_module, 'threading', threads),
                (watchdog_module, 'selectors', SimpleNamespace(
                    EVENT_READ=1, DefaultSelector=lambda: Selector(self))),
                (process_module, 'select', SimpleNamespace(
                    POLLIN=select.POLLIN, POLLOUT=select.POLLOUT, poll=lambda: Poll(self))),
                (wire, 'BACKLOG', BACKLOG)):
            self._stack.enter_context(patch.object(module, name, value))

    def _monotonic(self) -> float:
        if self.current is not None:
            self.current.point()
        return self.now

    def _launch(self, fd: int) -> Any:
        if self.launches_fail:
            self.launches_fail -= 1
            raise OSError('made up')
        child = Child(self, fd)
        self._tasks.append(child.task)
        return child

    def _thread(self, *, target: Callable[[], None], **_: object) -> Any:
        def start() -> None:
            self._bridge = Task(self, target)
            self._tasks.append(self._bridge)
        return SimpleNamespace(
            start=start, is_alive=lambda: not self.bridge.done,
            join=lambda timeout: self.wait(lambda: self.bridge.done, timeout))

    # ---- what a test does

    @property
    def bridge(self) -> Task:
        """Return the watchdog's thread."""
        assert self._bridge is not None
        return self._bridge

    @property
    def stop_process(self) -> Task | None:
        """Return the newest stop process, if it lives."""
        task = self._tasks[-1]
        return task if task is not self._bridge and not task.done else None

    @property
    def moving(self) -> list[str]:
        """Return the topics of which a subscriber heard last that it should move."""
        return [topic for topic, heard in self.heard.items() if heard.moving]

    def guard(self, topic: str) -> Guard:
        """Return the guard of a topic."""
        return self._guards[self.gate_of[topic]]

    def advertise(self, topic: str) -> None:
        """Make a publisher of the topic."""
        publisher: Any = FakePublisher(self, topic)
        # what passes earlier waits until they hear it
        self.known_at[topic] = 0.0 if self.known_within <= MATCH_TIMEOUT else \
            self.now + self.known_within
        self.publishers[topic] = publisher
        self.guard(topic).add(publisher, tuple(ZERO for _ in STEPS))

    def unadvertise(self, topic: str) -> None:
        """Close the publisher."""
        publisher: Any = self.publishers[topic]
        self.guard(topic).close_publisher(publisher)

    def command(self, topic: str, *, moving: bool, acknowledge: bool = False, ttl: float = 0.3,
                size: int = 0, counted: bool = False) -> bool:
        """Command as a peer does; return whether it was handed over."""
        guard = self.guard(topic)
        publisher: Any = self.publishers[topic]
        self._numbers += 1
        cdr = _COMMAND.pack(b'\0\1\0\0', moving, self._numbers, guard.generation) + bytes(size)

        def answered(why: WsBridgeError | None) -> None:
            self.unanswered -= 1
            self.answers.append(why)
        try:
            taken = guard.publish(publisher, cdr, guard.generation, moving=moving,
                                  deadline=self.now + ttl,
                                  on_done=answered if acknowledge else None,
                                  counted=counted)
        except Unavailable:
            return False
        self.unanswered += taken and acknowledge
        return taken

    def stop(self, *gates: str, reason: str = 'taken') -> None:
        """Stop gates; where nothing of an alarm is said they stand when this returns."""
        self.watchdog.stop([self._guards[gate] for gate in gates], reason)
        for topic, heard in self.heard.items():
            gate = self.gate_of[topic]
            assert gate not in gates or self._guards[gate].alarm or not heard.moving, (
                f'{topic} still moves, and nobody is told')

    def say(self, topic: str, cdr: bytes, writer: Task | None) -> None:
        """Hear a message."""
        heard = self.heard[topic]
        if cdr == ZERO:
            if heard.moving:
                heard.stopped = heard.generation
            heard.moving, heard.zeros = False, heard.zeros + 1
            return
        _, moving, number, generation = _COMMAND.unpack_from(cdr)
        assert not moving or generation > heard.stopped, f'command {number} follows a stop'
        heard.at, heard.moving, heard.writer = self.now, bool(moving), writer
        if moving:
            heard.generation = generation

    def run_loop(self) -> None:
        """Run what was posted to the loop, and what the executor would post."""
        known = [each for each in self.introductions if each[0] <= self.now]
        for each in known:
            self.introductions.remove(each)
            each[1]()
        while self._posted:
            action, args = self._posted.popleft()
            action(*args)

    def kill_bridge(self) -> None:
        """Kill the process of the bridge, its threads and sockets with it."""
        self.bridge.kill()
        for end in (self.watchdog._socket, self.watchdog._far):
            if end is not None:
                end.close()

    def close(self) -> None:
        """End everything that is left."""
        for task in self._tasks:
            task.kill()
            task.join()
        self.kill_bridge()
        self._stack.close()

    # ---- time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wait(lambda: False, seconds)

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait, in whatever thread."""
        until = self.now + seconds
        if self.current is not None:
            self.current.wait(ready, until)
            return
        steps = 0
        while True:
            runnable = [task for task in self._tasks if task.can_run()]
            if runnable:
                self._random.choice(runnable).step()
                steps += 1
                assert steps < 2000, f'something spins: {runnable}'
                continue
            self._look()
            if ready() or self.now >= until:
                return
            dues = [max(task.due, task.busy_until) if not task.ready() else task.busy_until
                    for task in self._tasks if not task.done and not task.frozen]
            self.now, steps = min([until, *(due for due in dues if due > self.now)]), 0
            self._look()

    def _look(self) -> None:
        """Assert that nothing moves longer than it may."""
        for task in self._tasks:
            if not (task.deaf or task.done):
                if task.deaf_since is not None:
                    task.deaf_since, task.up_since = None, self.now
            elif task.deaf_since is None:
                task.deaf_since = self.now
        for topic, heard in self.heard.items():
            writer = heard.writer
            if heard.moving and writer is not None:
                limit = self._limit(heard, writer, self.known_at[topic])
                assert self.now <= limit + EPSILON, (
                    f'{topic} moves {self.now - limit:.3f} s longer than it may, stop process '
                    f'{writer.deaf_since=}, bridge {self.bridge.deaf_since=}')

    def _limit(self, heard: Heard, writer: Task, known_at: float) -> float:
        """
        Return the time until which a topic has to be stopped by somebody.

        :param known_at: when subscribers hear the bridge's own publisher.
        """
        if writer.deaf_since is None:
            return max(heard.at + TIMEOUT, writer.up_since)
        if self.bridge.deaf_since is not None:
            return inf  # both: only the base's own timeout is left
        since = max(writer.deaf_since, self.bridge.up_since, heard.at)
        limit = since + (0.0 if writer.done else PING_EVERY + UNANSWERED)
        return limit if limit >= known_at else known_at + 1 / STEPS[0].rate


class Event:
    """A ``threading.Event`` of the loop."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._is_set = False

    def _set(self) -> None:
        self._is_set = True

    set = _set      # noqa: A003

    def wait(self, timeout: float) -> bool:
        self._simulation.wait(lambda: self._is_set, timeout)
        return self._is_set


class Lock:
    """A ``threading.Lock``."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            self._simulation.wait(lambda: not self._taken, inf)
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class Selector:
    """A ``selectors.DefaultSelector``."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Selector:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def register(self, end: socket.socket, events: int) -> None:
        assert end.fileno() >= 0
        self._ends.append(end)

    def select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        self._simulation.wait(lambda: bool(readable(self._ends)),
                              inf if timeout is None else timeout)
        return [(selectors.SelectorKey(end, end.fileno(), 1, None), 1)
                for end in readable(self._ends)]


def readable(ends: list[socket.socket]) -> list[socket.socket]:
    """Return those that have something to read."""
    return select.select([end for end in ends if end.fileno() >= 0], [], [], 0)[0]


class Poll:
    """A ``select.poll``."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._poll = select.poll()

    def register(self, end: socket.socket, events: int) -> None:
        self._poll.register(end, events)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        # as the system does, which counts in whole ms, upwards
        self._simulation.wait(lambda: bool(self._poll.poll(0)),
                              inf if timeout is None else timeout / 1e3 + 1e-9)
        return self._poll.poll(0)


@contextmanager
def simulated(seed: int, gates: dict[str, tuple[str, ...]]) -> Iterator[Simulation]:
    """Give a simulation whose stop process is ready."""
    simulation = Simulation(seed, gates)
    try:
        simulation.run(1.0)
        yield simulation
    finally:
        simulation.close()
