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
The gates of the bridge: which topics have one, and the way of a command through it.

Each gate has a guard on the ROS side, which publishes what passed and stops the robot when
commands cease. A topic of a gated type that no gate of the mapping file guards has its own.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
import logging
from typing import Protocol, TYPE_CHECKING

from ws_bridge.bridge.neighbours import Neighbour
from ws_bridge.bridge.peer import Peer, types_of
from ws_bridge.bridge.sight import Sight
from ws_bridge.config import Exposure, is_glob, Settings
from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema import Value
from ws_bridge.errors import (
    ConversionError,
    Forbidden,
    Held,
    Stopped,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.replies import GateState
from ws_bridge.ros.guard import GuardEvents
from ws_bridge.safety.estop import Estop
from ws_bridge.safety.gate import Convert, Gate, HandOver
from ws_bridge.safety.neutral import Checks, make_checks
from ws_bridge.safety.policy import GatePolicy
from ws_bridge.session.effects import Publish
from ws_bridge.session.rights import actions_of, Rights

if TYPE_CHECKING:
    from ws_bridge.ros.guard import Guard
    from ws_bridge.ros.publishers import Publisher
    from ws_bridge.ros.side import RosSide

MAX_KNOWN = 4096
"""Topics whose gate, or that they have none, is remembered."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Guarded:
    """
    A gate and what stops the robot behind it.

    :param generation: of the guard, as far as this side has taken note of its stops.
    :param topic: the only one, of a gate that no mapping file names.
    :param lanes: how many publishers it has.
    :param last_peer: who sent the last command that passed.
    :param beginning: the command by which somebody acquired the lease is not published yet.
    :param afterwards: what is to be done when it is, or was dropped.
    :param granting: another bridge that guards the same topic, and grants the leases.
    :param told: the speed limit that peers were told.
    """

    gate: Gate
    guard: Guard
    generation: int
    topic: str | None = None
    lanes: int = 0
    last_peer: str | None = None
    beginning: bool = False
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    granting: Neighbour | None = None
    told: float | None = None


@dataclass(slots=True, eq=False)
class Lane:
    """One publisher behind a gate, and how the gate judges what it is to say."""

    guarded: Guarded
    topic: str
    codec: Codec
    publisher: Publisher
    checks: Checks


@dataclass(frozen=True, slots=True)
class Passage:
    """
    The way of the commands of one peer to one publisher, through its gate.

    :param is_explicit: the peer has to hold a lease that it asked for in words.
    """

    peer: Peer
    lane: Lane
    is_explicit: bool


class Watcher(Protocol):
    """Who is told what happens; see :class:`ws_bridge.bridge.leases.Leases`."""

    def acquired(self, guarded: Guarded, peer: Peer) -> None:
        """Note that a peer acquired the lease by publishing."""

    def refused(self, guarded: Guarded, peer: Peer, error: WsBridgeError) -> None:
        """Note that a command was refused."""

    def stopped(self, guarded: Guarded, reason: str, subscribers: int, after: float) -> None:
        """Note that a stop was published."""

    def halted(self, guarded: Guarded, reason: str) -> None:
        """Note that the guard has stopped without being asked from here."""

    def elapsed(self, guarded: Guarded) -> None:
        """Note that time has passed for a gate."""

    def dropped(self, guarded: Guarded, error: WsBridgeError) -> None:
        """Note that a command that had passed was not published after all."""

    def alarmed(self, guarded: Guarded, text: str) -> None:
        """Note that a stop cannot be published, or with an empty text that it was."""


class CommandTap(Protocol):
    """What records commands; see :class:`ws_bridge.bridge.recorder.Recorder`."""

    def judged(self, passage: Passage, wish: Publish, why: WsBridgeError | None) -> None:
        """Note what became of a command: it passed, or why not."""

    def published(self, topic: str, codec: Codec, cdr: bytes | memoryview) -> None:
        """Note what was published."""


class Gates:
    """
    All gates, by their topics.

    :param clock: monotonic time, s.
    :param epoch: Unix time at monotonic 0, s.
    :ivar sight: the pictures by whose age gates slow down.
    :ivar watcher: told what happens; to be set before a command comes.
    :ivar tap: records commands; ``None`` = nothing is recorded.
    """

    def __init__(self, settings: Settings, exposure: Exposure, ros: RosSide, estop: Estop, *,
                 clock: Callable[[], float], epoch: float) -> None:
        self._settings = settings
        self._exposure = exposure
        self._ros = ros
        self._estop = estop
        self.watcher: Watcher
        self.tap: CommandTap | None = None
        self.sight = Sight((policy.slow_down.camera for policy in exposure.gates
                            if policy.slow_down and policy.slow_down.camera), clock, epoch)
        self._clock = clock
        self._epoch = epoch
        self._numbers = count(1)
        self._named: dict[str, Guarded] = {}
        self._known: dict[str, Guarded | None] = {}
        self._topics: dict[str, list[str]] | None = None    # of each gate; None = to be found
        for policy in exposure.gates:
            self._named[policy.name] = self._make(policy)
        self._configured = tuple(self._named.values())
        self.graph_changed()

    def __repr__(self) -> str:
        return f'Gates({", ".join(self._named)})'

    def all(self) -> list[Guarded]:  # noqa: A003
        """Return every gate."""
        return list(self._named.values())

    def named(self, name: str, rights: Rights) -> Guarded:
        """
        Return a gate by its name.

        :raises UnknownName: there is none that the role may know of.
        """
        guarded = self._named.get(name)
        if guarded is None or not self.is_shown(guarded, rights):
            seen = [each.gate.name for each in self.all() if self.is_shown(each, rights)]
            raise UnknownName(f'there is no gate {name!r}; there are '
                              f'{", ".join(seen) or "none"}', field='gate')
        return guarded

    def check_use(self, guarded: Guarded, rights: Rights) -> None:
        """
        Refuse a gate to who may use nothing of what it guards.

        :raises Forbidden: the role may not.
        """
        if not self._may_use(guarded, rights):
            raise Forbidden(f'nothing behind the gate {guarded.gate.name} is exposed to this peer',
                            field='gate')

    def is_shown(self, guarded: Guarded, rights: Rights) -> bool:
        """Whether a role may know of a gate: it may command by it, or see one of its topics."""
        return self._may_use(guarded, rights) or any(
            rights.shows(topic, 'subscribe') for topic in self._topics_of(guarded))

    def describe(self, guarded: Guarded, rights: Rights | None,
                 name_of: Callable[[str], str | None]) -> GateState:
        """
        Return what a role may know of a gate.

        :param rights: ``None`` = all.
        :param name_of: what a peer calls itself.
        """
        return guarded.gate.describe(name_of, [
            topic for topic in self._topics_of(guarded)
            if rights is None or rights.find('publish', topic) is not None
            or rights.shows(topic, 'subscribe')])

    def _may_use(self, guarded: Guarded, rights: Rights) -> bool:
        """Judge by what is there; of a pattern for which nothing is there by the pattern."""
        policy, graph = guarded.gate.policy, self._ros.graph
        topics = self._topics_of(guarded) or policy.topics
        services, actions = (_matching(policy.services, names)
                             for names in (graph.services, graph.actions))
        if rights.commands(topics, services, actions):
            return True
        # What is not there is a service or an action, nobody knows which: who may only one of
        # both waits for it.
        absent = [each for each in policy.services
                  if not _matching((each,), (*services, *actions))]
        return any(rights.commands((), (each,), ()) and rights.commands((), (), (each,))
                   for each in absent)

    def _topics_of(self, guarded: Guarded) -> list[str]:
        """Return the topics of a gate that there are, or are named in full."""
        return self.topics().get(guarded.gate.name, [])

    def of(self, topic: str, msg_type: str | None = None) -> Guarded | None:
        """
        Return the gate of a topic.

        :param msg_type: what it is or will be; ``None`` = as the graph knows it.
        """
        if topic in self._known and (msg_type is None or self._known[topic] is not None):
            return self._known[topic]
        types = types_of(self._ros, topic) if msg_type is None else (msg_type,)
        guarded = self._find(topic, types, used=msg_type is not None)
        if len(self._known) >= MAX_KNOWN:
            self._forget()
        self._known[topic] = guarded
        if guarded is not None:
            self._topics = None
        return guarded

    def service(self, name: str) -> Guarded | None:
        """Return the gate of a service or an action, or of the action that it is a part of."""
        names = name, *actions_of(name)
        return next((guarded for guarded in self._configured
                     if any(_fits(each, guarded.gate.policy.services) for each in names)), None)

    def topics(self) -> dict[str, list[str]]:
        """Return the topics of each gate that there are, or are named in full; not to change."""
        if self._topics is None:
            found = {name: {topic for topic in guarded.gate.policy.topics if not is_glob(topic)}
                     for name, guarded in self._named.items()}
            for topic, each in self._known.items():
                if each is not None:
                    found[each.gate.name].add(topic)
            self._topics = {name: sorted(topics) for name, topics in found.items()}
        return self._topics

    def expected(self) -> dict[str, str]:
        """
        Return the guarded topics, with their types, on which a command may come at any time.

        Nodes listen to them, or the mapping file names gate, topic and type.
        """
        found = {}
        for topic, info in self._ros.graph.topics.items():
            if len(info.types) == 1 and not info.brought \
                    and info.subscribers > info.own_subscribers and self.of(topic) is not None:
                found[topic] = info.types[0]
        for guarded in self._configured:
            for topic in guarded.gate.policy.topics:
                rule = None if is_glob(topic) else self._exposure.find('publish', topic)
                if rule is not None and rule.msg_type is not None:
                    found[topic] = rule.msg_type
        return {topic: msg_type for topic, msg_type in found.items()
                if self._exposure.find('publish', topic) is not None}

    def graph_changed(self) -> None:
        """Find the gates of the topics that there are now; those without a topic end."""
        graph = self._ros.graph.topics
        self._forget()
        for topic in graph:
            self.of(topic)
        self.drop_unused()

    def drop_unused(self) -> bool:
        """
        End the gates of topics that there are no longer, or never were in the graph.

        :return: whether there was one.
        """
        graph = self._ros.graph.topics
        unused = [guarded for guarded in self._named.values()
                  if guarded.topic is not None and guarded.topic not in graph
                  and not guarded.lanes and guarded.gate.lease.holder is None]
        for guarded in unused:
            del self._named[guarded.gate.name]
            self._known.pop(str(guarded.topic), None)
            guarded.guard.close()
            self._topics = None
        return bool(unused)

    def _forget(self) -> None:
        """Look again for the gates of topics that may have got one."""
        self._known = {topic: guarded for topic, guarded in self._known.items()
                       if guarded is not None and guarded.topic is not None}
        self._topics = None

    def _find(self, topic: str, types: tuple[str, ...], *, used: bool) -> Guarded | None:
        """Return the gate of a topic; one that nobody uses has to be exposed to have one."""
        if topic in self._ros.own.topics:
            return None
        for guarded in self._configured:
            if _fits(topic, guarded.gate.policy.topics):
                return guarded
        found = self._named.get(topic)
        if found is None and not set(types).isdisjoint(self._settings.gated_types) \
                and (used or self._exposure.find('publish', topic) is not None):
            found = self._named[topic] = self._make(GatePolicy(
                topic, (topic,), neutral_first=self._settings.neutral_first or None), topic)
        return found

    def _make(self, policy: GatePolicy, topic: str | None = None) -> Guarded:
        policy = replace(policy, timeout=policy.timeout or self._settings.gate_timeout,
                         ttl=policy.ttl or self._settings.gate_ttl)
        gate = Gate(policy, self._estop, self._clock(), lambda: next(self._numbers))

        def on_stopped(guard: Guard, reason: str, subscribers: int, after: float) -> None:
            self.note_stop(guarded, reason)
            self.watcher.stopped(guarded, reason, subscribers, after)

        def on_refused(guard: Guard, error: WsBridgeError) -> None:
            self.note_stop(guarded, 'timeout')
            self.watcher.dropped(guarded, error)

        def on_not_let_go(guard: Guard, topic: str) -> None:
            self.note_stop(guarded, 'timeout')
            gate.not_let_go(topic)

        def on_alarm(guard: Guard, text: str) -> None:
            self.note_stop(guarded, 'timeout')
            self.watcher.alarmed(guarded, text)
        guard = self._ros.watchdog.guard(policy.name, policy.timeout, policy.on_loss,
                                         GuardEvents(on_stopped, on_refused, on_alarm,
                                                     on_not_let_go))
        guarded = Guarded(gate, guard, guard.generation, topic)
        return guarded

    def check_grants(self, guarded: Guarded) -> None:
        """
        Check that this bridge grants the leases of a gate.

        :raises Held: another bridge does.
        """
        other = guarded.granting
        if other is not None:
            holder = next((other.holders[topic] for topic in self.topics()[guarded.gate.name]
                           if topic in other.holders), None)
            raise Held(f'the bridge {other.name} guards the same topic and grants its leases; '
                       f'{holder or "nobody"} holds it there', field='gate')

    def granting(self, topic: str) -> Neighbour | None:
        """Return the other bridge that grants the lease of a topic."""
        guarded = self._known.get(topic)
        return None if guarded is None else guarded.granting

    def guards(self, topic: str) -> bool:
        """Whether a topic is known to have a gate."""
        return self._known.get(topic) is not None

    # ---- commands

    def open(self, topic: str, codec: Codec, publisher: Publisher) -> Lane | None:  # noqa: A003
        """
        Return the way of a new publisher's commands; ``None`` where no gate is.

        :raises Forbidden: the gate bounds fields that this type does not have: nothing would hold.
        """
        guarded = self.of(topic, codec.schema.name)
        if guarded is None:
            return None
        policy = guarded.gate.policy
        checks = make_checks(codec.schema, policy)
        if policy.clamp and checks.clamp is None:
            raise Forbidden(f'no bound of the gate {policy.name} is about a field of '
                            f'{codec.schema.name}', field='type')
        guarded.guard.add(publisher, tuple(
            _stop_of(codec, step.action, step.message) for step in policy.on_loss))
        guarded.lanes += 1
        return Lane(guarded, topic, codec, publisher, checks)

    def passage(self, peer: Peer, lane: Lane) -> Passage:
        """Return the way of a peer's commands, for as long as it uses the publisher."""
        return Passage(peer, lane, lane.guarded.gate.explicit(peer.session.lease_mode))

    def close(self, lane: Lane) -> None:
        """End the way of a publisher, and that when the robot is stopped."""
        lane.guarded.lanes -= 1
        lane.guarded.guard.close_publisher(lane.publisher)

    def publish(self, passage: Passage, wish: Publish,
                on_done: Callable[[WsBridgeError | None], None] | None) -> None:
        """
        Hot path: judge a command, and publish it if it may pass.

        What is judged is what would be published, whatever it was encoded in.

        :raises WsBridgeError: it is refused.
        """
        try:
            self._publish(passage, wish, on_done)
        except WsBridgeError as exc:
            self.watcher.refused(passage.lane.guarded, passage.peer, exc)
            if self.tap is not None:
                self.tap.judged(passage, wish, exc)
            raise
        if self.tap is not None:
            self.tap.judged(passage, wish, None)

    def _publish(self, passage: Passage, wish: Publish,
                 on_done: Callable[[WsBridgeError | None], None] | None) -> None:
        peer, lane, command = passage.peer, passage.lane, wish.command
        guarded, session = lane.guarded, peer.session
        gate = guarded.gate
        assert command is not None
        if guarded.granting is not None:
            gate.kept_out(session.peer)
            self.check_grants(guarded)
        now = self._clock()
        slack = 0.0 if passage.is_explicit else self._refresh(guarded, peer, now)
        slow_down = gate.policy.slow_down
        camera = slow_down.camera if slow_down is not None else None
        if camera and passage.is_explicit:  # by pings one knows which pictures have arrived
            peer.link.pace.hurry(gate.policy.fence_interval)
        begins = gate.policy.require_lease and gate.lease.holder is None
        before, handed_over = guarded.beginning, False
        if begins:
            on_done = self._when_published(guarded, on_done)
            guarded.beginning = True
        hand_over: HandOver = partial(guarded.guard.publish, lane.publisher,
                                      generation=guarded.generation, on_done=on_done,
                                      counted=wish.ack is not None and not begins)
        if self.tap is not None:
            hand_over = _noting(self.tap, lane, hand_over)
        try:
            handed_over = gate.let_through(
                session.peer, session.lease_mode, command, lane.checks, topic=lane.topic,
                convert=_reading(lane.codec, wish, self._ros), encode=lane.codec.from_values,
                hand_over=hand_over,
                offset=session.clock.timesync.offset, unix=now + self._epoch, now=now,
                fence=peer.link.fence, slack=slack,
                picture=self.sight.age(camera, peer.link, now, command.picture_time)
                if camera else None)
        finally:
            if begins and not handed_over:
                guarded.beginning = before
        if not handed_over:
            self._halted(guarded, 'timeout')
            raise Stopped('the robot was stopped a moment ago; begin anew')
        guarded.last_peer = session.peer
        if begins:
            self.watcher.acquired(guarded, peer)

    def _when_published(self, guarded: Guarded,
                        on_done: Callable[[WsBridgeError | None], None] | None
                        ) -> Callable[[WsBridgeError | None], None]:
        """Return what is told of a peer's first command: that it is published, or why not."""
        def done(why: WsBridgeError | None) -> None:
            guarded.beginning = False
            if why is not None:
                self.note_stop(guarded, 'timeout')
            if on_done is not None:
                on_done(why)
            elif why is not None:
                self.watcher.dropped(guarded, why)
            actions, guarded.afterwards = guarded.afterwards, []
            for action in actions:
                action()
        return done

    def _refresh(self, guarded: Guarded, peer: Peer, now: float) -> float:
        """
        Make ready for a command of a peer that has no words for leases.

        A stop by silence, or the end of a lease by it, is taken note of first: such a peer is
        told of none, and its next command begins anew. From now on it is pinged fast.

        :return: by how much its first command may be older than ``ttl``, s: until the first fast
            ping can have been answered there are but slow ones.
        """
        gate = guarded.gate
        self.note_stop(guarded, 'timeout')
        if gate.is_over(now):
            self.watcher.elapsed(guarded)
        pace, ttl = peer.link.pace, gate.policy.ttl
        is_slow = pace.hurried_at is None or now < pace.hurried_at + ttl
        slow = self._settings.fence_interval
        pace.hurry(min(gate.policy.fence_interval, slow))
        return slow if is_slow else 0.0

    def note_stop(self, guarded: Guarded, reason: str) -> None:
        """Take note of a stop that the guard made by itself, if it has made one."""
        if guarded.guard.generation != guarded.generation:
            self._halted(guarded, reason)

    def _halted(self, guarded: Guarded, reason: str) -> None:
        guarded.generation = guarded.guard.generation
        self.watcher.halted(guarded, reason)


def _reading(codec: Codec, wish: Publish, ros: RosSide) -> Convert:
    """Return what converts a command, when its gate asks for it."""
    now = ros.now() if codec.uses_time else None
    if wish.data.__class__ is memoryview:
        return partial(ENCODINGS[wish.encoding].round_trip, codec, wish.data, now)
    return partial(codec.round_trip, wish.data, now)


def _noting(tap: CommandTap, lane: Lane, hand_over: HandOver) -> HandOver:
    """Return what hands a command over, and has it recorded then."""
    def hand_over_and_note(cdr: bytes, /, *, moving: bool, deadline: float) -> bool:
        done = hand_over(cdr, moving=moving, deadline=deadline)
        if done:
            tap.published(lane.topic, lane.codec, cdr)
        return done
    return hand_over_and_note


def _matching(patterns: tuple[str, ...], names: Iterable[str]) -> list[str]:
    return [name for name in names if _fits(name, patterns)] if patterns else []


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _stop_of(codec: Codec, action: str, message: Value) -> bytes | None:
    """Return what a step of on_loss publishes; zero where its message is of another type."""
    if action not in ('zero', 'message'):
        return None
    if action == 'message':
        try:
            return codec.from_values(message)
        except ConversionError as exc:
            logger.warning('the message of on_loss does not fit %s: %s; zero instead',
                           codec.schema.name, exc)
    return codec.from_values({})
