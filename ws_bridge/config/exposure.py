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
What peers may use: :class:`Exposure` says of a name whether, and how.

Patterns are those of :mod:`fnmatch`, as in rosbridge_suite: ``*`` crosses ``/``, so ``/camera/*``
holds for ``/camera/front/image`` too; ``?`` is one character, ``[ab]`` one of a set.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import get_args, Literal

from ws_bridge.config.parameters import did_you_mean
from ws_bridge.config.roles import Grant, Role
from ws_bridge.errors import ConfigError
from ws_bridge.safety.policy import GatePolicy, SlowDown

Kind = Literal['subscribe', 'publish', 'call', 'host']
KINDS: tuple[Kind, ...] = get_args(Kind)
GLOB_CHARACTERS = '*?['
NAME_LENGTH = 255
"""No ROS name is longer (rmw refuses earlier)."""

_NAMES_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What is said about the names that match ``pattern``; ``None`` = nothing is said.

    :param pattern: a topic or service, or a glob over them.
    :param msg_type: the message or service type, ``pkg/msg/Type``.
    :param channel: friendly name of the topic.
    :param encoding: what a subscriber gets that asks for none.
    :param max_rate: most samples a second to each peer, Hz.
    :param expected_rate: rate at which the topic is fresh, Hz.
    :param queue_depth: samples that wait for a slow peer.
    :param timeout: how long a call may take, s.
    :param priority: topics of a higher one leave first on a slow link.
    :param weight: of the topic's bytes beside those of others there.
    :param min_rate: so many samples a second leave there before others are served, Hz.
    """

    pattern: str
    msg_type: str | None = None
    channel: str | None = None
    encoding: str | None = None
    max_rate: float | None = None
    expected_rate: float | None = None
    queue_depth: int | None = None
    timeout: float | None = None
    priority: int | None = None
    weight: float | None = None
    min_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """A pattern that no peer may use, for one kind of use or (``None``) for all."""

    pattern: str
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """
    Which names peers may use.

    :param subscribe: rules of topics that go out to peers.
    :param publish: rules of topics that come in from peers.
    :param call: rules of services that peers may call.
    :param host: rules of services that peers may host.
    :param deny: what nobody may use, whatever the rules say.
    :param roles: the mapping file's own roles.
    :param identities: patterns of the names of who logs in, each with a role.
    :param gates: what commands have to pass, in the order of their precedence.
    """

    subscribe: tuple[Rule, ...] = ()
    publish: tuple[Rule, ...] = ()
    call: tuple[Rule, ...] = ()
    host: tuple[Rule, ...] = ()
    deny: tuple[Denial, ...] = ()
    roles: tuple[Role, ...] = ()
    identities: tuple[tuple[str, str], ...] = ()
    gates: tuple[GatePolicy, ...] = ()
    _search: Callable[[Kind, str], Rule | None] = field(init=False, repr=False, compare=False)
    _topics: Mapping[str, str] = field(init=False, repr=False, compare=False)
    _channels: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rules = {kind: self.rules(kind) for kind in KINDS}
        exact = {(kind, rule.pattern): rule for kind in KINDS for rule in reversed(rules[kind])
                 if not is_glob(rule.pattern)}

        def search(kind: Kind, name: str) -> Rule | None:
            if self.denies(kind, name):
                return None
            found = exact.get((kind, name))
            return found or next((rule for rule in rules[kind]
                                  if fnmatchcase(name, rule.pattern)), None)

        channels = {rule.pattern: rule.channel for rule in (*self.subscribe, *self.publish)
                    if rule.channel}
        object.__setattr__(self, '_search', lru_cache(_NAMES_REMEMBERED)(search))
        object.__setattr__(self, '_channels', channels)
        object.__setattr__(self, '_topics', {name: topic for topic, name in channels.items()})

    @classmethod
    def open(cls) -> Exposure:  # noqa: A003,RUF100
        """Return what holds without a mapping file: everything is exposed."""
        everything = (Rule('*'),)
        return cls(everything, everything, everything, everything)

    def rules(self, kind: Kind) -> tuple[Rule, ...]:
        """Return the rules of one kind of use, as listed."""
        rules: tuple[Rule, ...] = getattr(self, kind)
        return rules

    def find(self, kind: Kind, name: str) -> Rule | None:
        """
        Return the rule for a name, or ``None`` if peers may not use it.

        A denial wins over every rule, an exact name over a glob, then the first listed.

        :param name: absolute, as resolved by the node.
        """
        return self._search(kind, name) if len(name) <= NAME_LENGTH else None

    def denies(self, kind: Kind, name: str) -> bool:
        """Whether a denial is about this, whatever the rules say."""
        return any(denial.kind in (None, kind) and fnmatchcase(name, denial.pattern)
                   for denial in self.deny)

    def channel_of(self, topic: str) -> str | None:
        """Return the friendly name of a topic."""
        return self._channels.get(topic)

    def topic_of(self, channel: str) -> str | None:
        """Return the topic of a friendly name."""
        return self._topics.get(channel)

    def resolved(self, namespace: str, node_name: str) -> Exposure:
        """
        Return this with absolute patterns: relative and private ones are expanded as ROS does.

        A pattern that starts with ``*`` is left as it is.

        :param namespace: the node's, for example ``/`` or ``/robot1``.
        """
        space = namespace.rstrip('/')

        def absolute(pattern: str) -> str:
            if pattern.startswith(('/', '*')):
                return pattern
            if pattern.startswith('~'):
                return f"{space}/{node_name}/{pattern[1:].lstrip('/')}"
            return f'{space}/{pattern}'

        def expand(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
            return tuple(replace(rule, pattern=absolute(rule.pattern)) for rule in rules)

        def grants(given: tuple[Grant, ...]) -> tuple[Grant, ...]:
            return tuple(replace(grant, pattern=absolute(grant.pattern)) for grant in given)

        return replace(
            self, subscribe=expand(self.subscribe), publish=expand(self.publish),
            call=expand(self.call), host=expand(self.host),
            deny=tuple(replace(denial, pattern=absolute(denial.pattern)) for denial in self.deny),
            roles=tuple(replace(role, allow=grants(role.allow), deny=grants(role.deny))
                        for role in self.roles),
            gates=tuple(replace(gate, topics=tuple(map(absolute, gate.topics)),
                                services=tuple(map(absolute, gate.services)),
                                slow_down=_seen_by(gate, absolute))
                        for gate in self.gates))

    def remapped(self, topic: Callable[[str], str], service: Callable[[str], str]) -> Exposure:
        """
        Return this with gates and denials that hold for what their names are remapped to as well.

        What is exposed stays what is listed: too little is noticed, a gate that is not there is
        not.

        :param topic: remaps an absolute topic; ``service``: the same for services and actions.
        """
        def topics(pattern: str) -> set[str]:
            return {pattern} if is_glob(pattern) else {pattern, topic(pattern)}

        def services(pattern: str) -> set[str]:
            return {pattern} if is_glob(pattern) else {pattern, service(pattern)}

        def of(use: str | None, pattern: str) -> list[str]:
            found = {pattern}
            if use in (None, 'graph', 'subscribe', 'publish'):
                found |= topics(pattern)
            if use in (None, 'graph', 'call', 'host', 'goal', 'host_action'):
                found |= services(pattern)
            return sorted(found)

        return replace(
            self,
            deny=tuple(replace(denial, pattern=each) for denial in self.deny
                       for each in of(denial.kind, denial.pattern)),
            roles=tuple(replace(role, deny=tuple(
                replace(grant, pattern=each) for grant in role.deny
                for each in of(grant.use, grant.pattern))) for role in self.roles),
            gates=tuple(replace(
                gate, topics=tuple(sorted(set().union(*map(topics, gate.topics)))),
                services=tuple(sorted(set().union(*map(services, gate.services)))),
                slow_down=_seen_by(gate, topic))
                for gate in self.gates))

    def check_cameras(self, file: str) -> None:
        """
        Check that peers may see the pictures whose age slows them down.

        :param file: the mapping file, for the error.
        :raises ConfigError: they may not.
        """
        for gate in self.gates:
            camera = gate.slow_down.camera if gate.slow_down else None
            if camera is not None and self.find('subscribe', camera) is None:
                raise ConfigError(f'the gate {gate.name} slows down by the picture of {camera}, '
                                  'which is not listed under out: nobody could see it',
                                  field='slow_down', file=file)

    def idle_gates(self) -> list[str]:
        """Tell of the topics that have a gate and that nobody may publish: misspelt ones."""
        listed = [rule.pattern for rule in self.publish if not is_glob(rule.pattern)]
        return [f'the gate {gate.name} guards {topic}, which is not listed under in'
                f'{did_you_mean(topic, tuple(listed))}'
                for gate in self.gates for topic in gate.topics
                if not is_glob(topic) and self.find('publish', topic) is None]

    def allowed(self) -> dict[str, list[str]]:
        """
        Return the patterns of each kind, as the native hello tells them to a peer.

        A denial of one kind only is written ``call:/pattern``.
        """
        told: dict[str, list[str]] = {kind: [rule.pattern for rule in self.rules(kind)]
                                      for kind in KINDS}
        told['deny'] = [f'{denial.kind}:{denial.pattern}' if denial.kind else denial.pattern
                        for denial in self.deny]
        return told


def _seen_by(gate: GatePolicy, name: Callable[[str], str]) -> SlowDown | None:
    """Return how a gate slows down, by a camera of this name."""
    slow = gate.slow_down
    return slow if slow is None or slow.camera is None else replace(
        slow, camera=name(slow.camera))


def is_glob(pattern: str) -> bool:
    """Whether a pattern can hold for more than one name."""
    return any(character in pattern for character in GLOB_CHARACTERS)
