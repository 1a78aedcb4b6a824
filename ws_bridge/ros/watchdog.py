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
Watches over the stop process, which stops the robot when commands cease, and over what it says.

The process is started with the first gate.  When it dies, or does not answer while something
moves, its thread here stops what moves, and starts it again.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
import itertools
import json
import os
from pathlib import Path
import selectors
import socket
import subprocess
import sys
import threading
import time
from typing import Any, TYPE_CHECKING

from rclpy.utilities import get_rmw_implementation_identifier

from ws_bridge.errors import Unavailable
from ws_bridge.ros.guard import Guard, GuardedTopic, GuardEvents, OK
from ws_bridge.ros.names import creation_error
from ws_bridge.ros.transports import profiles_variable, without_shared_memory
from ws_bridge.stop_process import wire

if TYPE_CHECKING:
    from ws_bridge.ros.status import Diagnostic
    from ws_bridge.safety.policy import LossStep

PING_EVERY = 0.05  # s, while something moves
UNANSWERED = 0.25  # s, then the stop process is taken for dead
STOP_WITHIN = 0.25  # s, for the stop process to say that it has stopped
TAKE_OVER_WITHIN = 0.4  # s, for this process to stop in its place
HEARD_WITHIN = 0.2  # s, for the subscribers to take what this process says in its place
LOOK_AGAIN = 0.002  # s, whether they have
END_WITHIN = 0.8  # s, for the stop process to end
RESTART = (0.0, 0.2, 1.0, 5.0)  # s, until it is started again, the first time and so on
STABLE = 2.0  # s, after which a start counts as the first again
ERROR = 2
PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])

Launch = Callable[[int], 'subprocess.Popen[bytes]']
"""Starts the stop process, with the number of the file that is its socket."""


def launcher(name: str, namespace: str, domain: int, args: Sequence[str],
             warn: Callable[[str], object]) -> Launch:
    """
    Return what starts a stop process.

    :param name: of the bridge's node.
    :param args: ROS arguments of the bridge; its enclave is the process's too.
    :param warn: told if nodes that are frozen or killed may delay its stops.
    """
    enclave = [part for flag, value in itertools.pairwise(args)
               if flag in ('-e', '--enclave') for part in (flag, value)]
    options = {'domain': domain, 'name': f'{name}_stop', 'namespace': namespace,
               'args': ['--ros-args', *enclave] if enclave else []}
    changes = without_shared_memory(os.environ, get_rmw_implementation_identifier(),
                                    profiles_variable())
    if isinstance(changes, str):
        warn(f'{changes} is set, so the stop process may share memory with other nodes: one that '
             'is frozen or killed can delay a stop by seconds')
        changes = {}

    def launch(fd: int) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, (PACKAGE_ROOT, os.environ.get('PYTHONPATH'))))
        return subprocess.Popen(
            [sys.executable, '-m', 'ws_bridge.stop_process.process',
             json.dumps({**options, 'fd': fd})],
            pass_fds=[fd], stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **changes, 'PYTHONPATH': path})
    return launch


class Watchdog:
    """
    The stop process, and the thread that hears it.

    :param post: runs a function on the loop thread.
    :param on_fault: called there with exceptions that should not have been.
    :param now: ROS time, for stamps of headers.
    :param prepare: returns what calls the service of a step (any thread, without waiting).
    :param launch: starts the process.
    :param match_timeout: how long the first command on a topic waits for its subscribers, s.
    :param count: tells how many subscribers of a topic and type the graph shows (any thread).
    :param on_lost: told on the loop that the process has ended, why.
    :ivar halted: no command passes.
    """

    def __init__(self, *, post: Callable[..., None], on_fault: Callable[[BaseException], None],
                 now: Callable[[], tuple[int, int]],
                 prepare: Callable[[LossStep], Callable[[], None]], launch: Launch,
                 match_timeout: float, count: Callable[[str, str], int],
                 on_lost: Callable[[str], None]) -> None:
        self.halted = False
        self._post = post
        self._now = now
        self._on_fault = on_fault
        self._prepare = prepare
        self._launch = launch
        self._match_timeout = match_timeout
        self._count = count
        self._on_lost = on_lost
        self._guards: dict[int, Guard] = {}
        self._keys = itertools.count(1)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # what is told to the process, and its replay at a start
        self._tickets: dict[int, threading.Event] = {}  # stops that the loop waits for
        self._socket: socket.socket | None = None
        self._far: socket.socket | None = None  # its other end, until the process is started
        self._process: subprocess.Popen[bytes] | None = None
        self._scheduling = ''  # of a process that is ready
        self._started_at = 0.0
        self._start_at = 0.0
        self._starts = 0  # in a row
        self._deaths = 0
        self._pinged = 0.0
        self._ponged = True
        self._takes_over = False  # its stops are not published yet
        self._is_deaf = ''  # why the process has to be taken for dead
        self._end: float | None = None
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name='ws_bridge watchdog', daemon=True)

    def __repr__(self) -> str:
        return f'<Watchdog {"halted" if self.halted else "on"}, {len(self._guards)} guards>'

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether the process has said that it runs."""
        return bool(self._scheduling)

    @property
    def pid(self) -> int | None:
        """Return the process, if one is ready."""
        process = self._process
        return process.pid if process is not None and self._scheduling else None

    def guard(self, name: str, timeout: float, steps: tuple[LossStep, ...],
              events: GuardEvents) -> Guard:
        """
        Give a gate its guard, on the loop thread.

        :param timeout: silence of a topic that moves something, then the guard stops, s.
        :param steps: the escalation.
        :raises UnknownType: a step's service type is not on this machine.
        :raises ConversionError: a step's request does not fit it.
        :raises BadName: a step's service has a wrong name.
        """
        calls = {index: self._prepare(step) for index, step in enumerate(steps)
                 if step.action == 'service'}
        guard = Guard(next(self._keys), name, timeout, steps, events, self, calls,
                      lambda: next(self._keys))
        with self._lock:
            self._guards[guard.key] = guard
            self._send(self._opening(guard))
        self.start_process()
        return guard

    def start_process(self) -> None:
        """Start the process, unless it was; what is handed over from now on waits for it."""
        with self._lock:
            if self._socket is None and not self._deaths:
                self._connect()
        self.wake()

    def stop_all(self, reason: str) -> None:
        """
        Have every guard stopped and no command pass until :meth:`resume`.

        From any thread and from signal handlers: without a lock, and without waiting.
        """
        self.halted = True
        end = self._socket
        if end is not None:
            try:
                wire.send(end, wire.Halt(reason))
            except BlockingIOError:
                self._is_deaf = 'it does not listen'
                self.wake()
            except OSError:  # it has ended, which the thread sees too
                return

    def halt(self, reason: str) -> str:
        """
        Do the same, and wait until it is done; not on the loop thread, nor in a signal handler.

        :return: why a stop is not published yet; empty = every one is.
        """
        self.stop_all(reason)
        guards = tuple(self._guards.values())
        moving = [guard for guard in guards if guard.may_move]
        if moving:
            self._stop_now(moving, (), reason)
        return '; '.join(f'{guard.name}: {guard.alarm}' for guard in guards if guard.alarm)

    def resume(self) -> None:
        """End a halt; not after :meth:`close`."""
        self.halted = self._end is not None
        if not self.halted:
            self.tell(wire.Resume())

    def close(self, reason: str = 'shutdown') -> bool:
        """
        Stop every guard, go on with escalations while there is time, end process and thread.

        :return: whether they have ended.
        """
        self.halted = True
        self._end = time.monotonic() + END_WITHIN
        self.tell(wire.End(reason))
        self.wake()
        self._thread.join(2 * END_WITHIN + TAKE_OVER_WITHIN)
        return not self._thread.is_alive()

    def diagnostics(self) -> list[Diagnostic]:
        """Return a row a guard, and one of the process."""
        rows = [guard.diagnostic() for guard in tuple(self._guards.values()) if not guard.closed]
        pid = self.pid
        if not self._guards:
            level, text = OK, 'not needed: there is no gate'
        elif not self._scheduling:
            level, text = ERROR, 'it is being started; no command passes'
        else:
            level, text = OK, 'runs'
        rows.append(('ws_bridge: stop process', level, text, [
            ('pid', str(pid or '')), ('scheduling', self._scheduling),
            ('ended by itself', str(self._deaths))]))
        return rows

    # ---- for the guards

    def post(self, action: Callable[..., None], *args: object) -> None:
        """Run a function on the loop thread."""
        self._post(action, *args)

    def now(self) -> tuple[int, int]:
        """Return ROS time."""
        return self._now()

    def wake(self) -> None:
        """Have the thread look at what is due (any thread, signal handlers)."""
        try:
            self._writer.send(b'\0')
        except OSError:  # full: it will wake anyway; closed: it has ended
            return

    def command(self, topic: int, generation: int, cdr: bytes, *, moving: bool, acknowledge: bool,
                counted: bool, deadline: float, stamped: bool) -> int:
        """
        Hand a command over (hot path).

        :return: its number.
        :raises Unavailable: the process does not take it.
        """
        end = self._socket
        if end is None:
            raise Unavailable('the stop process is being started; no command passes meanwhile')
        number = next(self._numbers) & 0xFFFFFFFF
        try:
            wire.send(end, wire.PublishCommand(
                topic, generation, number, moving, acknowledge, deadline,
                self._ros_offset() if stamped else 0, cdr, counted))
        except OSError as exc:
            raise Unavailable('the stop process does not take commands') from exc
        return number

    def _ros_offset(self) -> int:
        seconds, nanoseconds = self._now()
        return seconds * 1_000_000_000 + nanoseconds - time.monotonic_ns()

    def tell(self, message: wire.Message) -> None:
        """Tell the process; one that does not run hears what still holds when it starts."""
        with self._lock:
            self._send(message)

    def open_topic(self, guard: Guard, topic: GuardedTopic) -> None:
        """Have the process make a publisher."""
        with self._lock:
            self._send(self._opening_of(guard, topic))

    def stop(self, guards: Sequence[Guard], reason: str) -> None:
        """
        Have the process stop guards, all in one pass, and wait until it has.

        It does not wait for guards that nothing was handed over to since their last stop. Where
        the process does not stop them, it is killed, and the stops are published from here.
        """
        used = [guard for guard in guards if guard.is_used]
        rest = [guard for guard in guards if guard not in used]
        for guard in rest:
            guard.generation += 1
        if used:
            self._stop_now(used, rest, reason)
        elif rest:
            self.tell(wire.Stop(tuple(guard.key for guard in rest), 0, reason))

    def _stop_now(self, used: Sequence[Guard], rest: Sequence[Guard], reason: str) -> None:
        """
        Have the process stop guards, and wait until it has.

        :param rest: told in the same breath, and not waited for.
        """
        number, done = next(self._numbers), threading.Event()
        self._tickets[number] = done
        asked = {guard: guard.generation for guard in used}
        self.tell(wire.Stop(tuple(guard.key for guard in (*used, *rest)), number, reason))
        try:
            # while it starts, it may have begun: then this thread's news are late
            if (any(guard.may_move for guard in asked) or self._runs()) \
                    and done.wait(STOP_WITHIN):
                return
            if not self._runs():    # it has not begun: the stop overtakes the commands
                for guard, generation in asked.items():
                    guard.note_generation(generation + 1)
                return
            self._is_deaf = f'it did not stop within {STOP_WITHIN:g} s'
            self.wake()
            if not done.wait(TAKE_OVER_WITHIN):
                for guard in asked:
                    guard.note_alarm('the stop process does not answer and does not end')
        finally:
            self._tickets.pop(number, None)

    def _runs(self) -> bool:
        """Whether the process has begun, or is being replaced."""
        return self.ready or self._takes_over

    # ---- under the lock

    def _send(self, message: wire.Message) -> None:
        if self._socket is None:
            return
        try:
            wire.send(self._socket, message)
        except OSError as exc:
            self._is_deaf = f'it does not listen: {exc}'
            self.wake()

    def _connect(self) -> None:
        """Make the socket of a process to come, and tell it what there is."""
        self._socket, self._far = wire.make_pair()
        self._is_deaf, self._ponged = '', True
        for guard in self._guards.values():
            self._send(self._opening(guard))
            for topic in guard.topics():
                self._send(self._opening_of(guard, topic))
        if self.halted:
            self._send(wire.Halt('halted'))

    def _opening(self, guard: Guard) -> wire.OpenGate:
        return wire.OpenGate(guard.key, guard.timeout, guard.steps, guard.generation)

    def _opening_of(self, guard: Guard, topic: GuardedTopic) -> wire.OpenTopic:
        publisher = topic.publisher
        return wire.OpenTopic(topic.key, guard.key, publisher.topic, publisher.msg_type,
                              topic.stops, publisher.keyed, publisher.stamped,
                              self._match_timeout,
                              self._count(publisher.topic, publisher.msg_type))

    # ---- the thread

    def _run(self) -> None:
        with self._reader, self._writer:
            while not self._has_ended():
                try:
                    self._round()
                except Exception as exc:  # noqa: BLE001 - the edge of a thread: reported
                    self._post(self._on_fault, exc)
        if self._far is not None:       # of a process that was not started any more
            self._far.close()
        for guard in self._guards.values():
            for topic in guard.topics():
                topic.publisher.held = False

    def _has_ended(self) -> bool:
        return self._end is not None and self._socket is None and not any(
            guard.stopping for guard in self._guards.values())

    def _round(self) -> None:
        """Wait for something to do, and do it."""
        end = self._socket
        with selectors.DefaultSelector() as selector:
            for each in filter(None, (self._reader, end)):
                selector.register(each, selectors.EVENT_READ)
            if any(key.fileobj is self._reader for key, _ in selector.select(self._wait())):
                self._reader.recv(4096)
        if end is not None:
            # what the process has said comes first: this thread may have waited for its turn
            if not self._hear(end):
                self._lose('it has ended', kill=self._end is None)
            elif self._is_deaf or self._is_late():
                self._lose(self._is_deaf or f'it did not answer for {UNANSWERED:g} s')
        now = time.monotonic()
        for guard in tuple(self._guards.values()):
            guard.poll(now, insists=self._end is None)
            if guard.closed and not guard.stopping:
                self._guards.pop(guard.key, None)
        if self._process is None and self._end is None and now >= self._start_at and (
                self._far is not None or self._guards):
            self._start()

    def _wait(self) -> float | None:
        """Return how long nothing is due, s; ``None`` = for ever."""
        now = time.monotonic()
        dues = [due for guard in tuple(self._guards.values())
                if (due := guard.poll(now)) is not None]
        if self._process is None:
            if self._end is not None and self._socket is not None:
                return 0.0      # the end came before the start: nothing would wake this thread
            if self._guards and self._end is None:
                dues.append(self._start_at)
        else:
            if self._end is not None:
                dues.append(self._end)
            if self._scheduling and self._may_move():
                dues.append(self._due())
        return max(min(dues) - now, 0.0) if dues else None

    def _is_late(self) -> bool:
        """Whether the process should have answered, or ended, by now; else ask it again."""
        now = time.monotonic()
        if self._end is not None and (now >= self._end or not self._scheduling):
            return True  # one that was only being started has nothing to end
        if not self._scheduling or not self._may_move() or now < self._due():
            return False
        if self._end is not None or not self._ponged:
            return True
        self._pinged, self._ponged = now, False
        self.tell(wire.Ping())
        return False

    def _may_move(self) -> bool:
        return any(guard.may_move for guard in tuple(self._guards.values()))

    def _due(self) -> float:
        """Return when a process is to be asked again, or to have answered a ping or the end."""
        if not self._ponged:
            return self._pinged + UNANSWERED
        if self._end is not None:
            return self._end - END_WITHIN + UNANSWERED
        return self._pinged + PING_EVERY

    def _start(self) -> None:
        """Start the process, which finds in its socket what there is."""
        if self._far is None:
            with self._lock:
                self._connect()
        far, self._far = self._far, None
        assert far is not None
        with far:
            try:
                self._process = self._launch(far.fileno())
            except OSError as exc:
                self._lose(f'it cannot be started: {exc}')
        self._started_at = time.monotonic()

    def _lose(self, why: str, *, kill: bool = True) -> None:
        """
        Stop in the place of the process.

        :param kill: at once; else it has the time to end in order.
        """
        assert self._socket is not None
        with self._lock:
            self._socket.close()
            self._takes_over = True
            self._socket, self._scheduling, self._is_deaf = None, '', ''
            process, self._process = self._process, None
            if self._far is not None:
                self._far.close()
                self._far = None
        if process is not None:
            if kill:
                process.kill()
            try:
                process.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        now = time.monotonic()
        guards = tuple(self._guards.values())
        for guard in guards:
            guard.take_over(why, now)
        heard_by = now + HEARD_WITHIN
        while True:
            moment = time.monotonic()
            for guard in guards:
                guard.poll(moment, is_late=moment >= heard_by)
            if moment >= heard_by or not any(guard.is_unheard for guard in guards):
                break
            time.sleep(LOOK_AGAIN)
        self._takes_over = False    # before: a stop that comes now waits for nobody
        for done in tuple(self._tickets.values()):
            done.set()
        if self._end is None:
            self._deaths += 1
            self._starts = 0 if now >= self._started_at + STABLE else self._starts + 1
            self._start_at = now + RESTART[min(self._starts, len(RESTART) - 1)]
            self._post(self._on_lost, why)

    # ---- what the process says

    def _hear(self, end: socket.socket) -> bool:
        """Take what the process has said; return whether it lives."""
        while True:
            try:
                event = wire.receive(end)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if event is None:
                return False
            self._note(event)

    def _note(self, event: object) -> None:
        match event:
            case wire.Pong():
                self._ponged = True
            case wire.Ready():
                self._scheduling = event.scheduling
            case wire.Fault():
                self._post(self._on_fault, RuntimeError(f'the stop process: {event.text}'))
            case wire.StopTried():
                for gate, generation in event.generations.items():
                    guard = self._guards.get(gate)
                    if guard is not None:
                        guard.note_generation(generation)
                done = self._tickets.get(event.ticket)
                if done is not None:
                    done.set()
            case wire.Published() | wire.Refused() | wire.TopicFailed():
                self._note_topic(event)
            case wire.Matched():
                self._note_matched(event)
            case _:
                self._note_guard(event)

    def _note_topic(self, event: wire.Published | wire.Refused | wire.TopicFailed) -> None:
        for guard in tuple(self._guards.values()):
            topic = next((each for each in guard.topics() if each.key == event.topic), None)
            if isinstance(event, wire.TopicFailed):
                if topic is not None:
                    topic.publisher.fail(creation_error(
                        topic.publisher.topic, RuntimeError(event.text)))
            elif topic is not None or guard.waits_for(event.number):  # it may be closed since
                guard.note_answer(event)

    def _note_matched(self, event: wire.Matched) -> None:
        for guard in tuple(self._guards.values()):
            for topic in guard.topics():
                if topic.key == event.topic:
                    topic.introduce(event.subscribers, guard.steps, self, moving=event.moving)
                    return
        self.tell(wire.Known(event.topic, event.subscribers))   # it was closed while it rested

    def _note_guard(self, event: Any) -> None:
        guard = self._guards.get(event.gate)
        if guard is None:
            return
        match event:
            case wire.GuardStopped():
                guard.note_generation(event.generation)
                if event.moved:
                    guard.note_stopped(event.reason, event.subscribers, event.after,
                                       stopping=event.stopping)
            case wire.Alarm():
                guard.note_generation(event.generation)
                guard.note_alarm(event.text)
            case wire.Rested():
                guard.note_rested()
            case wire.Call():
                guard.note_call(event.step)
