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
The one place where permission is decided, for every dialect: what a role may use.

The mapping file's lists say what is exposed at all, its roles who may use it. What could be
reached by another way needs the right for that too: the parameter services of a node are not only
services, and the services of an action not either.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from ws_bridge.config import Exposure, Kind, KINDS, NAME_LENGTH, Rule
from ws_bridge.config.roles import (
    ADMIN,
    BUILT_IN,
    EVERYTHING,
    OBSERVER,
    OwnNames,
    PARAMETER_SERVICES,
    PARAMETER_TYPES,
    Role,
    Use,
)
from ws_bridge.errors import Forbidden, TypeMismatch

DECISIONS_REMEMBERED = 4096
EXPOSED_AS: Mapping[Use, Kind] = {
    'subscribe': 'subscribe', 'publish': 'publish', 'call': 'call', 'host': 'host',
    'goal': 'call', 'host_action': 'host'}
"""Which list of the mapping file must have a name; other uses are not listed there."""
SENDING: tuple[Use, ...] = ('publish', 'call', 'host', 'goal', 'host_action')
"""Uses in which a peer sends messages, which may be large."""
PARAMETER_EVENTS = '/parameter_events'
ACTION_PART = '/_action/'
"""What stands between an action's name and those of the services and topics it consists of."""
AS_ACTION: Mapping[Use, Use] = {
    'call': 'goal', 'subscribe': 'goal', 'host': 'host_action', 'publish': 'host_action'}
"""What using a part of an action is a use of the action as."""

_UNLISTED = Rule('*')


class Policy:
    """
    What each role may do.

    :param exposure: what is exposed, and the roles of the mapping file.
    :param own: the names of what the bridge's own node has.
    """

    def __init__(self, exposure: Exposure, own: OwnNames | None = None) -> None:
        self.exposure = exposure
        self.own = own or OwnNames()
        self.roles: Mapping[str, Role] = {**BUILT_IN,
                                          **{role.name: role for role in exposure.roles}}
        self._find: Callable[[Role, Use, str], Rule | None] = \
            lru_cache(DECISIONS_REMEMBERED)(self._decide)

    def check(self, role: Role, use: Use, name: str, field: str | None = None) -> Rule:
        """
        Return the mapping file's rule for a use that is allowed.

        :param name: absolute, as resolved by the node.
        :raises Forbidden: it is not; the same for what exists and for what does not.
        """
        rule = self.find(role, use, name)
        if rule is None:
            raise Forbidden(f'{name} is not exposed for {use}', field=field)
        return rule

    def find(self, role: Role, use: Use, name: str) -> Rule | None:
        """Return the rule for a use, or ``None`` if it is not allowed."""
        return self._find(role, use, name) if len(name) <= NAME_LENGTH else None

    def role_of(self, name: str, claimed: str | None) -> Role:
        """
        Return the role of who logged in.

        :param claimed: the role that the credentials name; without one the mapping file's
            ``identities`` say, else it is an observer.
        :raises Forbidden: there is no such role.
        """
        if claimed is None:
            claimed = next((role for pattern, role in self.exposure.identities
                            if fnmatchcase(name, pattern)), OBSERVER.name)
        role = self.roles.get(claimed)
        if role is None:
            raise Forbidden(f'there is no role {claimed[:64]!r}')
        return role

    def may_hand_out(self, maker: Role, role: Role) -> bool:
        """Whether who has one role may let somebody else in who has the other: never more."""
        return maker.covers(role) and (role.signed or not maker.signed) and all(
            _may_hear_all(maker, topic) or not _may_hear_all(role, topic)
            for topic in self.own.telling)

    def check_type(self, role: Role, name: str, type_name: str) -> None:
        """
        Refuse what reaches parameters by a name that does not say so, of which node.

        :param type_name: of a service that is called, or of a topic that is subscribed to.
        :raises Forbidden: the role does not have the right for the parameters of every node.
        """
        use = PARAMETER_TYPES.get(type_name)
        if use is None or name == PARAMETER_EVENTS or role.allows_all(use) or use in (
                self.own.parameter_services.get(name),
                PARAMETER_SERVICES.get(name.rpartition('/')[2])):
            return
        raise Forbidden(f'{name} is about parameters, and says not of which node: it needs '
                        f'{use} for all')

    def _decide(self, role: Role, use: Use, name: str) -> Rule | None:
        kind = EXPOSED_AS.get(use)
        actions = actions_of(name)
        if actions and use in AS_ACTION:
            return self._decide_part(role, use, name, actions)
        if use == 'subscribe' and name in self.own.telling and not _may_hear_all(role, name):
            return None
        rule = _UNLISTED if kind is None else self.exposure.find(kind, name)
        needs = [*self._needs(use, name), *((use, action) for action in actions)]
        return rule if rule and all(role.allows(*need) for need in needs) else None

    def _decide_part(self, role: Role, use: Use, name: str,
                     actions: list[str]) -> Rule | None:
        """Decide on a service or topic that an action consists of, by the rights of the action."""
        whole = AS_ACTION[use]
        kind = EXPOSED_AS[use]
        if self.exposure.denies(kind, name) or role.denies(use, name) or \
                any(self._decide(role, whole, action) is None for action in actions):
            return None
        return self.exposure.find(kind, name) or _UNLISTED

    def _needs(self, use: Use, name: str) -> Iterator[tuple[Use, str]]:
        """Give every right that a use takes."""
        yield use, name
        if use == 'subscribe' and name == PARAMETER_EVENTS:
            yield 'parameter_read', name
        if use == 'call':
            yield from self.parameter_needs(name)
            if name == self.own.record:
                yield 'record', EVERYTHING
        if use == 'host':       # who serves a node's parameters speaks for the node
            yield from (('parameter_write', node) for _, node in self.parameter_needs(name))

    def parameter_needs(self, service: str) -> list[tuple[Use, str]]:
        """Return the rights for parameters that a call takes, each with the node."""
        node, _, last = service.rpartition('/')
        needs = [(PARAMETER_SERVICES[last], node)] if last in PARAMETER_SERVICES else []
        if service in self.own.parameter_services:
            needs.append((self.own.parameter_services[service], self.own.node))
        return needs


def actions_of(name: str) -> list[str]:
    """Return the actions that a service or topic may be a part of, by its name: mostly none."""
    return [] if ACTION_PART not in name else [
        name[:place] for place in range(1, len(name)) if name.startswith(ACTION_PART, place)]


def _may_hear_all(role: Role, topic: str) -> bool:
    """Whether a role sees all that there is, or is given a topic by its full name."""
    return (role.allows_all('graph') and role.allows_all('subscribe')) or any(
        grant.use in (None, 'subscribe') and grant.pattern == topic for grant in role.allow)


@dataclass(frozen=True, slots=True)
class Rights:
    """What one role may do."""

    policy: Policy
    role: Role

    def check(self, use: Use, name: str, field: str | None = None) -> Rule:
        """Do as :meth:`Policy.check`, for this role."""
        return self.policy.check(self.role, use, name, field)

    def find(self, use: Use, name: str) -> Rule | None:
        """Return the rule for a use, or ``None`` if it is not allowed."""
        return self.policy.find(self.role, use, name)

    def check_type(self, name: str, type_name: str) -> None:
        """Do as :meth:`Policy.check_type`, for this role."""
        self.policy.check_type(self.role, name, type_name)

    def may_hear(self, topic: str, type_name: str) -> bool:
        """
        Whether a peer may have what was recorded of a topic: whether it could subscribe to it.

        To those who may know of everything belongs also what peers may only publish.
        """
        if self.find('subscribe', topic) is None and not (
                self.hears_all and topic != PARAMETER_EVENTS and not actions_of(topic)
                and self.policy.exposure.find('publish', topic) is not None):
            return False
        try:
            self.check_type(topic, type_name)
        except Forbidden:
            return False
        return True

    @property
    def hears_all(self) -> bool:
        """Whether a peer may know of everything that there is."""
        return self.role.allows_all('graph') and self.role.allows_all('subscribe')

    def commands(self, topics: Iterable[str], services: Iterable[str],
                 actions: Iterable[str]) -> bool:
        """Whether a peer may use anything of what a gate guards."""
        wanted: tuple[tuple[Use, Iterable[str]], ...] = (
            ('publish', topics), ('call', services), ('goal', actions))
        return any(self.find(use, name) is not None for use, names in wanted for name in names)

    def may_reach(self, service: str) -> bool:
        """Whether a peer may do with a node's parameters what a service of these is for."""
        needs = self.policy.parameter_needs(service)
        return bool(needs) and all(self.find(*need) is not None for need in needs)

    def exposed(self, service: str) -> None:
        """
        Refuse a service that the mapping file does not list, whoever asks.

        :raises Forbidden: it does not.
        """
        if self.policy.exposure.find('call', service) is None:
            raise Forbidden(f'{service} is not exposed for call')

    def check_at_all(self, use: Use) -> None:
        """
        Refuse a question of which every answer would be empty.

        :raises Forbidden: there is nothing for which this role has the right.
        """
        if not self.role.may_at_all(use):
            raise Forbidden(f'the role {self.role.name} has no right to {use}')

    @property
    def may_send(self) -> bool:
        """Whether a peer may send messages at all: publish, call, host, act."""
        return any(self.role.may_at_all(use) for use in SENDING)

    def may(self, use: Use) -> bool:
        """Whether a peer may do what is about no name: ``take``, ``clear_stop``, ``metrics``."""
        return self.role.may_at_all(use)

    def shows(self, name: str, *uses: Use) -> bool:
        """Whether a name may be listed: it can be used, and seen."""
        return self.find('graph', name) is not None and any(
            self.find(use, name) is not None for use in uses)

    def seen(self, names: Iterable[str]) -> list[str]:
        """Return those of some nodes that may be listed."""
        return [name for name in names if self.find('graph', name) is not None]

    def allowed(self) -> dict[str, list[str]]:
        """
        Return what a peer is told of what it may do: patterns by kind of use.

        A role that may not do everything is told the patterns that it may use, and no denials:
        they name what is hidden from it.
        """
        exposed = self.policy.exposure.allowed()
        if self.role == ADMIN:
            return exposed
        return {**{kind: [pattern for pattern in exposed[kind] if self.role.allows(kind, pattern)]
                   for kind in KINDS}, 'deny': []}


def type_of(asked: str | None, rule: Rule) -> str | None:
    """
    Return the type for what a rule exposes: the rule's, else what is asked for, if anything.

    :raises TypeMismatch: the rule exposes another one.
    """
    only = rule.msg_type
    if only is None or asked is None:
        return asked or only
    require_type(asked, only)
    return only


def require_type(asked: str, only: str) -> None:
    """
    Refuse another type than the only one that there is, with or without its folder.

    :raises TypeMismatch: it is another one.
    """
    package, _, name = asked.partition('/')
    if only.split('/')[::2] != [package, name.rpartition('/')[2]]:
        raise TypeMismatch(f'only {only} is exposed here, not {asked}', field='type')
