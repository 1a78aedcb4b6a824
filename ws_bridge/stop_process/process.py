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
The stop process itself: a socket to the bridge, a node, and publishers of commands.

One thread does everything, so nothing follows a stop.  It ends when the bridge does, after its
stops.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
import gc
from importlib import import_module
import json
from math import inf
import os
import select
import signal
import socket
import sys
import time
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions

from ws_bridge.errors import Unavailable
from ws_bridge.stop_process import DISCOVERY, load_no_generator, wire
from ws_bridge.stop_process.guard import StopGuard

PROFILE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1,
                     reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
"""
Of every topic behind a gate, whatever peers ask for.

With one sample of history no subscriber, however slow, keeps a stop from being published, and no
node that comes late hears an old command.
"""
LOOK_AGAIN = 0.01  # s, while a new publisher waits for its subscribers
PENDING = 100  # commands that wait for a publisher to be matched
BATCH = 256  # messages that are taken at once
STOPPED = 'the robot was stopped a moment ago; begin anew'
END_WITHIN = 0.3  # s, for what escalations still have to publish at the end
ACKED_WITHIN = 0.1  # s, for subscribers to acknowledge the last message
CLOSING = 0.4  # s, in which they acknowledge what a publisher that is closed has published
GREETING = 1.0  # s, in which one that is new acknowledges the first message
UNSENT = 1000  # events that wait for a bridge that does not take them
AFTER_FAULT = 0.05  # s, then a guard that failed is looked at again
PRIORITY = 10  # of real-time scheduling, where the system allows it


class CommandedTopic:
    """
    A publisher behind a gate.

    :ivar met: how many subscribers the last command met.
    :ivar introduced_by: what moves waits so long until the bridge knows as many; 0 = not.
    :ivar known: how many subscribers were matched when the last answer was given.
    :ivar unanswered: commands of which a new subscriber may not have heard, until ``greeted_by``.
    """

    __slots__ = ('closing', 'deadline', 'entity', 'greeted_by', 'guard', 'introduced_by', 'known',
                 'message_class', 'met', 'pending', 'spec', 'unanswered')

    def __init__(self, spec: wire.OpenTopic, guard: StopGuard, message_class: type[Any],
                 entity: Any, deadline: float) -> None:
        self.spec = spec
        self.guard = guard
        self.message_class = message_class
        self.entity = entity
        self.deadline: float | None = deadline  # for its subscribers; None: nothing is waited for
        self.met = 0
        self.introduced_by = 0.0
        self.pending: deque[wire.PublishCommand] = deque()
        self.closing: float | None = None  # since when
        self.known = 0
        self.unanswered: deque[int] = deque()
        self.greeted_by = 0.0


def _overtaken(messages: Sequence[wire.Message], *, has_ended: bool) -> set[int]:
    """Return the indices of the first commands that a later message stops."""
    last = len(messages) if has_ended else max(
        (index for index, message in enumerate(messages)
         if isinstance(message, wire.Halt | wire.End)), default=-1)
    stops = {gate: index for index, message in enumerate(messages)
             if isinstance(message, wire.Stop | wire.CloseGate)
             for gate in (message.gates if isinstance(message, wire.Stop) else (message.gate,))}
    gates = {message.topic: message.gate for message in messages
             if isinstance(message, wire.OpenTopic)}
    return {index for index, message in enumerate(messages)
            if isinstance(message, wire.PublishCommand)
            and index < max(last, stops.get(gates.get(message.topic, 0), -1))}


class StopProcess:
    """
    Publishes what the bridge hands over, and stops.

    :param end: the socket to the bridge.
    :param node: has the publishers.
    """

    def __init__(self, end: socket.socket, node: Node) -> None:
        self._socket = end
        self._node = node
        self._made_at = time.monotonic()
        self._guards: dict[int, StopGuard] = {}
        self._closing: set[int] = set()
        self._topics: dict[int, CommandedTopic] = {}
        self._unsent: deque[wire.Event] = deque()
        self._halted = False
        self._has_begun = False
        self._ros_offset = time.time_ns() - time.monotonic_ns()
        self._next = 0.0  # when there is something to do, or earlier
        self._end: float | None = None

    def __repr__(self) -> str:
        return f'<StopProcess, {len(self._guards)} guards, {len(self._topics)} topics>'

    def run(self, scheduling: str) -> None:
        """
        Work until the bridge ends this process, or ends itself.

        :param scheduling: how the system schedules it, to be told.
        """
        self._tell(wire.Ready(scheduling))
        while self._end is None:
            self._look()
            events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
            poll = select.poll()
            poll.register(self._socket, events)
            if poll.poll(self._wait()):
                self._send_unsent()
                self._receive()
        while self._is_stopping() and time.monotonic() < self._end:
            self._next = 0.0
            self._look()
            time.sleep(min(self._wait() or 0.0, 10.0) / 1e3)
        self._settle()
        self._send_unsent()

    def _wait(self) -> float | None:
        """Return the time until there is something to do, ms; ``None`` = for ever."""
        return None if self._next == inf else max(self._next - time.monotonic(), 0.0) * 1e3

    # ---- the bridge

    def _receive(self) -> None:
        """
        Take what waits, and do it in order.

        But of what was sent while this process started a stop overtakes the commands before it:
        the bridge took them for stopped, for nothing could have been published.
        """
        messages, has_ended = self._take()
        overtaken = set() if self._has_begun else _overtaken(messages, has_ended=has_ended)
        self._has_begun = True
        for index, message in enumerate(messages):
            # a deadline that passed while this process had no time comes before what waits
            self._look()
            if type(message) is not wire.PublishCommand:
                self._next = 0.0
            elif index in overtaken:
                self._refuse(message, 'stopped', STOPPED)
                continue
            try:
                _HANDLERS[type(message)](self, message)
            except Exception as exc:  # noqa: BLE001 - the edge of a process: reported
                self._tell(wire.Fault(f'{type(message).__name__}: {exc!r}'))
            if self._end is not None:
                return
        if has_ended:
            self._finish('bridge_ended')

    def _take(self) -> tuple[list[wire.Message], bool]:
        """Return the messages that wait, and whether there is no bridge any more."""
        messages: list[wire.Message] = []
        while len(messages) < BATCH:
            try:
                message = wire.receive(self._socket)
            except BlockingIOError:
                return messages, False
            except OSError:
                return messages, True
            if message is None:
                return messages, True
            messages.append(message)  # type: ignore[arg-type]
        return messages, False

    def _tell(self, event: wire.Event) -> None:
        """Tell the bridge; a bridge that does not listen is told later, the newest first lost."""
        if len(self._unsent) < UNSENT:
            self._unsent.append(event)
        self._send_unsent()

    def _send_unsent(self) -> None:
        while self._unsent:
            try:
                wire.send(self._socket, self._unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()  # nobody hears it any more
                return
            self._unsent.popleft()

    # ---- messages

    def _open_gate(self, message: wire.OpenGate) -> None:
        self._guards[message.gate] = StopGuard(
            message.gate, message.timeout, message.steps, self, message.generation)

    def _close_gate(self, message: wire.CloseGate) -> None:
        self._guards[message.gate].stop('closed', time.monotonic())
        self._closing.add(message.gate)

    def _open_topic(self, message: wire.OpenTopic) -> None:
        package, folder, name = message.msg_type.split('/')
        try:
            message_class = getattr(import_module(f'{package}.{folder}'), name)
            entity = self._node.create_publisher(
                message_class, message.name, PROFILE,
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False))
        except (RuntimeError, ImportError, AttributeError) as exc:
            self._tell(wire.TopicFailed(message.topic, str(exc)))
            return
        guard = self._guards[message.gate]
        guard.add(message.topic, message.stops, stamped=message.stamped)
        # Commands that wait keep their own deadlines: patience makes none of them old.
        self._topics[message.topic] = CommandedTopic(
            message, guard, message_class, entity, self._patience(message, time.monotonic()))

    def _patience(self, topic: wire.OpenTopic, now: float) -> float:
        """Return until when subscribers are waited for."""
        return max(now + topic.match_timeout, self._made_at + DISCOVERY)

    def _known(self, message: wire.Known) -> None:
        topic = self._topics.get(message.topic)
        if topic is not None and message.subscribers >= topic.met:
            topic.introduced_by = 0.0

    def _close_topic(self, message: wire.CloseTopic) -> None:
        topic = self._topics.get(message.topic)
        if topic is not None:
            topic.closing = time.monotonic()

    def _stop(self, message: wire.Stop) -> None:
        guards = [self._guards[gate] for gate in message.gates if gate in self._guards]
        tried = self._stop_each(guards, message.reason)
        if message.reason == 'timeout':
            self._expire_pending(guards)
        if len(tried) == len(message.gates):    # else the bridge, unanswered, stops in this place
            self._tell(wire.StopTried(message.ticket, {
                guard.key: guard.generation for guard in guards}))

    def _halt(self, message: wire.Halt) -> None:
        self._halted = True
        self._stop_all(message.reason)

    def _stop_all(self, reason: str) -> None:
        for guard, moved in self._stop_each(self._guards.values(), reason):
            if not moved:
                self._tell(wire.GuardStopped(guard.key, guard.generation, moved=False))

    def _stop_each(self, guards: Iterable[StopGuard], reason: str) -> list[tuple[StopGuard, bool]]:
        """Stop guards; return those that did not fail, and whether something moved."""
        tried = []
        for guard in guards:
            try:
                tried.append((guard, guard.stop(reason, time.monotonic())))
            except Exception as exc:  # noqa: BLE001 - the others have to stop all the same
                self._tell(wire.Fault(f'stop: {exc!r}'))
        return tried

    def _resume(self, message: wire.Resume) -> None:
        self._halted = False

    def _ping(self, message: wire.Ping) -> None:
        self._tell(wire.Pong())

    def _finish(self, reason: str) -> None:
        """Stop everything; then the process ends as soon as its escalations have."""
        self._halted = True
        self._end = time.monotonic() + END_WITHIN
        self._stop_all(reason)

    def _finish_when_told(self, message: wire.End) -> None:
        self._finish(message.reason)

    def _command(self, command: wire.PublishCommand) -> None:
        """Hot path: publish a command, unless a stop or its deadline came first."""
        topic = self._topics.get(command.topic)
        if topic is None:
            self._refuse(command, 'unavailable', 'its publisher is closed, or could not be made')
        elif topic.deadline is None and self._may_meet(topic, command, time.monotonic()):
            self._publish(topic, command, time.monotonic())
        elif not command.moving and topic.guard.moves(command.topic):
            self._let_go(topic, command)
        else:
            if len(topic.pending) >= PENDING:
                oldest = next((each for each in topic.pending if each.moving), topic.pending[0])
                topic.pending.remove(oldest)
                self._refuse(oldest, 'limit_exceeded',
                             f'more than {PENDING} commands wait for subscribers')
            topic.pending.append(command)

    def _let_go(self, topic: CommandedTopic, command: wire.PublishCommand) -> None:
        """Publish at once by what its sender lets go, in the place of what still waits."""
        while topic.pending:
            self._refuse(topic.pending.popleft(), 'expired', 'its sender has let go meanwhile')
        self._publish(topic, command, time.monotonic())

    def _may_meet(self, topic: CommandedTopic, command: wire.PublishCommand, now: float) -> bool:
        """
        Whether a command may meet its subscribers: the bridge can stop them as well.

        Else what moves the robot waits until the bridge's own publisher knows as many.  A process
        knows the graph soon: who comes later, while somebody drives, holds nobody up.
        """
        matched = topic.entity.get_subscription_count()
        if matched != topic.met:
            if matched > topic.met:
                topic.introduced_by = self._patience(topic.spec, now)
            topic.met = matched
            self._tell(wire.Matched(topic.spec.topic, matched,
                                    topic.guard.moves(topic.spec.topic)))
        if now >= topic.introduced_by or not command.moving or (
                now >= self._made_at + DISCOVERY and topic.guard.moves(topic.spec.topic)):
            return True
        topic.deadline = topic.introduced_by
        self._next = 0.0
        return False

    def _publish(self, topic: CommandedTopic, command: wire.PublishCommand, now: float) -> None:
        guard = topic.guard
        if now > command.deadline:
            self._refuse(command, 'expired', 'it waited too long')
            return
        if command.generation != guard.generation or self._halted:
            self._refuse(command, 'stopped', STOPPED)
            return
        if command.ros_offset:
            self._ros_offset = command.ros_offset
        try:
            self.publish(command.topic, command.cdr)
        except Unavailable as exc:
            self._refuse(command, exc.code, str(exc))
            return
        guard.feed(command.topic, moving=command.moving, now=now)
        self._next = min(self._next, now + guard.timeout)
        if command.acknowledge:
            self._acknowledge(topic, command, now)

    def _acknowledge(self, topic: CommandedTopic, command: wire.PublishCommand, now: float
                     ) -> None:
        """
        Tell that a command was published, and how many subscribers were matched.

        A subscriber that has just been matched may not know this publisher yet. It would take
        nothing, and the next command, or a stop, takes the place of this one: where the sender
        counts, the answer waits until it has taken something.
        """
        matched = self.subscribers(command.topic)
        if not command.counted or (matched <= topic.known and not topic.unanswered):
            topic.known = min(matched, topic.known)
            self._tell(wire.Published(command.topic, command.number, matched))
            return
        if not topic.unanswered:
            topic.greeted_by = now + GREETING
            self._next = 0.0
        topic.unanswered.append(command.number)

    def _greet(self, topic: CommandedTopic, now: float) -> None:
        """Answer what waits, when the subscribers have taken everything, or time is up."""
        heard = topic.entity.wait_for_all_acked(Duration())
        if heard or now >= topic.greeted_by:
            self._answer(topic, heard=heard)

    def _answer(self, topic: CommandedTopic, *, heard: bool) -> None:
        matched = self.subscribers(topic.spec.topic)
        told = matched if heard else min(matched, topic.known)
        topic.known = matched
        while topic.unanswered:
            self._tell(wire.Published(topic.spec.topic, topic.unanswered.popleft(), told))

    def _refuse(self, command: wire.PublishCommand, code: str, text: str) -> None:
        topic = self._topics.get(command.topic)
        if topic is not None and not command.moving and code != 'stopped':
            self._let_nothing_follow(topic)
        self._tell(wire.Refused(command.topic, command.number, code, text, command.moving))

    def _let_nothing_follow(self, topic: CommandedTopic) -> None:
        """
        Refuse what was sent after a command by which its sender let go, and which is refused.

        What moves is judged by whether its sender has let go, and the robot has not heard of it.
        """
        guard, pending = topic.guard, topic.pending
        is_let_go = any(not each.moving for each in pending)    # by one that waits
        if not guard.moving and not is_let_go:  # else what moves behind the gate would be stopped
            guard.stop('timeout', time.monotonic())
            self._tell(wire.GuardStopped(guard.key, guard.generation, moved=False))
            return
        while pending and pending[0].moving:
            self._refuse(pending.popleft(), 'expired',
                         'a command before it, by which its sender let go, was not published')

    # ---- time

    def _look(self) -> None:
        """Do what is due, if anything is."""
        now = time.monotonic()
        if now < self._next:
            return
        for guard in tuple(self._guards.values()):
            self._poll(guard)       # a stop comes before what waits for subscribers
        dues: list[float] = []
        for topic in tuple(self._topics.values()):
            if topic.deadline is not None:
                self._match(topic, now)
            elif topic.closing is not None and not topic.guard.needs(topic.spec.topic):
                self._destroy(topic, topic.closing, now)
            if topic.unanswered:
                self._greet(topic, now)
            if topic.deadline is not None or topic.closing is not None or topic.unanswered:
                dues.append(now + LOOK_AGAIN)
        dues += [due for guard in tuple(self._guards.values())
                 if (due := self._poll(guard)) is not None]
        for gate in [gate for gate in self._closing if not self._guards[gate].stopping]:
            self._closing.discard(gate)
            del self._guards[gate]
        self._next = min(dues, default=inf)

    def _poll(self, guard: StopGuard) -> float | None:
        try:
            return guard.poll(time.monotonic())
        except Exception as exc:  # noqa: BLE001 - the other guards have to stop all the same
            self._tell(wire.Fault(f'{guard!r}: {exc!r}'))
            return time.monotonic() + AFTER_FAULT

    def _match(self, topic: CommandedTopic, now: float) -> None:
        """
        Publish what waits, when the subscribers that the graph shows are matched.

        The bridge's own publisher knows them as well, by then.
        """
        assert topic.deadline is not None
        # the bridge may know the graph better than this node, which has just come
        shown = max(sum(info.topic_type == topic.spec.msg_type for info in
                        self._node.get_subscriptions_info_by_topic(topic.spec.name)),
                    topic.spec.subscribers)
        matched = topic.entity.get_subscription_count()
        waits = matched < shown or (shown == 0 and now - self._made_at < DISCOVERY)
        if now < topic.deadline and (waits or (topic.introduced_by and matched >= topic.met)):
            for command in [each for each in topic.pending if now > each.deadline]:
                if command in topic.pending:    # else it was refused with one before it
                    topic.pending.remove(command)
                    self._expire(topic, command)
            return
        topic.deadline = None
        while topic.pending and self._may_meet(topic, topic.pending[0], now):
            self._publish(topic, topic.pending.popleft(), now)

    def _expire_pending(self, guards: Collection[StopGuard]) -> None:
        """Refuse what waits for subscribers behind gates whose time for a command is over."""
        for topic in self._topics.values():
            if topic.guard in guards:
                while topic.pending:
                    self._expire(topic, topic.pending.popleft())

    def _expire(self, topic: CommandedTopic, command: wire.PublishCommand) -> None:
        is_matched = topic.entity.get_subscription_count() > 0
        self._refuse(command, 'expired',
                     f'the subscribers of {topic.spec.name} were not ready in its time'
                     if is_matched else
                     f'no subscriber of {topic.spec.name} was matched in its time')

    def _destroy(self, topic: CommandedTopic, since: float, now: float) -> None:
        """Destroy a publisher when the subscribers have every message, or time is up."""
        if now < since + CLOSING and not topic.entity.wait_for_all_acked(Duration()):
            return
        if topic.unanswered:
            self._answer(topic, heard=False)
        topic.guard.remove(topic.spec.topic)
        del self._topics[topic.spec.topic]
        self._node.destroy_publisher(topic.entity)

    def _is_stopping(self) -> bool:
        return any(guard.stopping for guard in self._guards.values())

    def _settle(self) -> None:
        """Wait until the subscribers have the last message, but not for long."""
        until = time.monotonic() + ACKED_WITHIN
        for topic in self._topics.values():
            with suppress(InvalidHandle, RuntimeError):
                topic.entity.wait_for_all_acked(
                    Duration(seconds=max(until - time.monotonic(), 0.0)))

    # ---- where guards put their stops

    def publish(self, key: int, cdr: bytes) -> None:
        """
        Publish.

        :raises Unavailable: ROS refused it.
        """
        topic = self._topics[key]
        try:
            topic.entity.publish(deserialize_message(cdr, topic.message_class)
                                 if topic.spec.keyed else cdr)
        except (InvalidHandle, RuntimeError) as exc:
            raise Unavailable(f'cannot publish on {topic.spec.name}: {exc}') from exc

    def subscribers(self, key: int) -> int:
        """Return how many subscribers are matched."""
        return int(self._topics[key].entity.get_subscription_count())

    def ros_time(self) -> tuple[int, int]:
        """Return ROS time, as far as the bridge has told: seconds, nanoseconds."""
        return divmod(time.monotonic_ns() + self._ros_offset, 1_000_000_000)

    def call(self, guard: StopGuard, step: int) -> None:
        """Have the bridge call a service; this process has no clients."""
        self._tell(wire.Call(guard.key, step))

    def stopped(self, guard: StopGuard, reason: str, subscribers: int, after: float) -> None:
        """Tell the bridge."""
        self._tell(wire.GuardStopped(guard.key, guard.generation, moved=True, reason=reason,
                                     subscribers=subscribers, after=after,
                                     stopping=guard.stopping))

    def rested(self, guard: StopGuard) -> None:
        """Tell the bridge."""
        self._tell(wire.Rested(guard.key))

    def alarm(self, guard: StopGuard, text: str) -> None:
        """Tell the bridge."""
        self._tell(wire.Alarm(guard.key, guard.generation, text))


_HANDLERS: dict[type, Callable[[StopProcess, Any], None]] = {
    wire.PublishCommand: StopProcess._command,
    wire.OpenGate: StopProcess._open_gate,
    wire.CloseGate: StopProcess._close_gate,
    wire.OpenTopic: StopProcess._open_topic,
    wire.Known: StopProcess._known,
    wire.CloseTopic: StopProcess._close_topic,
    wire.Stop: StopProcess._stop,
    wire.Halt: StopProcess._halt,
    wire.Resume: StopProcess._resume,
    wire.Ping: StopProcess._ping,
    wire.End: StopProcess._finish_when_told,
}


def prefer() -> str:
    """Ask for real-time scheduling of this thread; return how it is scheduled."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError:
        return 'normal'
    return 'real time'


def run(end: socket.socket, options: dict[str, Any], scheduling: Callable[[], str]) -> None:
    """
    Make the node and work.

    :param options: ``domain``; ``name`` and ``namespace`` of the node; ``args`` for ROS.
    :param scheduling: called when there is no more to load.
    """
    context = Context()
    rclpy.init(args=options['args'], context=context, domain_id=options['domain'],
               signal_handler_options=SignalHandlerOptions.NO)
    node = Node(options['name'], namespace=options['namespace'], context=context,
                use_global_arguments=False, enable_rosout=False, start_parameter_services=False)
    StopProcess(end, node).run(scheduling())
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def main() -> None:
    """Run, as ``python -m ws_bridge.stop_process.process OPTIONS``; JSON, with the socket's fd."""
    # A signal to the whole group must not end this process before its stops: the bridge does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    load_no_generator()
    options = json.loads(sys.argv[1])

    def loaded() -> str:
        gc.collect()
        gc.freeze()
        return prefer()
    with socket.socket(fileno=options['fd']) as end:
        run(end, options, loaded)


if __name__ == '__main__':
    main()
