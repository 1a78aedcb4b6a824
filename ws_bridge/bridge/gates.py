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
The gates of the bridge: which topics have one, and who may use it.

Each gate has a guard on the ROS side, which publishes what passed and stops the robot when
commands cease. A topic of a gated type that no gate of the mapping file guards has its own.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import count
import logging
from typing import TYPE_CHECKING

from ws_bridge.bridge.guarded import Guarded, Watcher
from ws_bridge.bridge.neighbours import Neighbour
from ws_bridge.bridge.peer import is_there, types_of
from ws_bridge.bridge.sight import Sight
from ws_bridge.config import Exposure, is_glob, MISSPELT, Settings
from ws_bridge.errors import Forbidden, Held, UnknownName, WsBridgeError
from ws_bridge.protocol.replies import GateState
from ws_bridge.ros.guard import GuardEvents
from ws_bridge.safety.estop import Estop
from ws_bridge.safety.gate import Gate
from ws_bridge.safety.policy import GatePolicy, LeaseMode
from ws_bridge.session.rights import actions_of, Rights

if TYPE_CHECKING:
    from ws_bridge.ros.guard import Guard
    from ws_bridge.ros.side import RosSide

logger = logging.getLogger(__name__)

USUAL = GatePolicy('')
"""What every gate is that no mapping file describes, but for its topic."""
MAX_KNOWN = 4096
"""Topics whose gate, or that they have none, is remembered."""


class Gates:
    """
    All gates, by their topics.

    :param clock: monotonic time, s.
    :param epoch: Unix time at monotonic 0, s.
    :ivar sight: the pictures by whose age gates slow down.
    :ivar watcher: told what happens; to be set before a command comes.
    """

    def __init__(self, settings: Settings, exposure: Exposure, ros: RosSide, estop: Estop, *,
                 clock: Callable[[], float], epoch: float) -> None:
        self._settings = settings
        self._exposure = exposure
        self._ros = ros
        self._estop = estop
        self.watcher: Watcher
        self.sight = Sight((policy.slow_down.camera for policy in exposure.gates
                            if policy.slow_down and policy.slow_down.camera), clock, epoch)
        self._clock = clock
        self._numbers = count(1)
        self._named: dict[str, Guarded] = {}
        self._known: dict[str, Guarded | None] = {}
        self._warned_of: set[str] = set()   # topics of nodes
        self._topics: dict[str, list[str]] | None = None    # of each gate; None = to be found
        for policy in exposure.gates:
            self._named[policy.name] = self._make(policy)
        self._configured = tuple(self._named.values())
        self.graph_changed()

    def __repr__(self) -> str:
        return f'Gates({", ".join(self._named)})'

    def needs_pings(self, lease_mode: LeaseMode) -> bool:
        """
        Whether pings bound the age of what such a peer may command, or of the pictures it sees.

        Who asks for leases in words tells how old its commands are.
        """
        return self.sight.has_cameras or any(not policy.explicit(lease_mode)
                                             for policy in (USUAL, *self._exposure.gates))

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
            or rights.shows(topic, 'subscribe')], [
            name for name in guarded.gate.policy.services
            if rights is None or rights.commands((), (name,), (name,))])

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
            self._warn_of_misspelt(topic)
        return found

    def _warn_of_misspelt(self, topic: str) -> None:
        """
        Say that a topic of a node gets a gate without bounds, if one with bounds may be meant.

        Of topics that only peers have brought nothing is said: they could fill the log.
        """
        info = self._ros.graph.topics.get(topic)
        if info is None or info.brought or topic in self._warned_of:
            return
        absent = [each for guarded in self._configured for each in guarded.gate.policy.topics
                  if not is_glob(each) and not is_there(self._ros.graph.topics.get(each))]
        close = get_close_matches(topic, absent, n=1, cutoff=MISSPELT)
        if close:
            self._warned_of.add(topic)
            logger.warning('%s gets a gate of its own, with no bounds; the gate of the mapping '
                           'file is for %s, which is not there: is that misspelt?', topic,
                           close[0])

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

    def note_stop(self, guarded: Guarded, reason: str) -> None:
        """Take note of a stop that the guard made by itself, if it has made one."""
        if guarded.guard.generation != guarded.generation:
            self.halted(guarded, reason)

    def halted(self, guarded: Guarded, reason: str) -> None:
        """Take note of a stop that the guard made by itself."""
        guarded.generation = guarded.guard.generation
        self.watcher.halted(guarded, reason)


def _matching(patterns: tuple[str, ...], names: Iterable[str]) -> list[str]:
    return [name for name in names if _fits(name, patterns)] if patterns else []


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
