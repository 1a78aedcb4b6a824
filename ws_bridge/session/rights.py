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

from ws_bridge.access import action_of, ADMIN, BUILT_IN, OBSERVER, Role, Use
from ws_bridge.config import Exposure, Kind, KINDS, NAME_LENGTH, Rule
from ws_bridge.errors import Forbidden

DECISIONS_REMEMBERED = 4096
EXPOSED_AS: Mapping[Use, Kind] = {
    'subscribe': 'subscribe', 'publish': 'publish', 'call': 'call', 'host': 'host',
    'goal': 'call', 'host_action': 'host'}
"""Which list of the mapping file must have a name; other uses are not listed there."""
PARAMETER_SERVICES: Mapping[str, Use] = {
    'get_parameters': 'parameter_read', 'get_parameter_types': 'parameter_read',
    'list_parameters': 'parameter_read', 'describe_parameters': 'parameter_read',
    'set_parameters': 'parameter_write', 'set_parameters_atomically': 'parameter_write'}
_OF_ACTION: Mapping[Use, Use] = {
    'call': 'goal', 'subscribe': 'goal', 'host': 'host_action', 'publish': 'host_action'}
"""Which right for an action a use of one of its services and topics takes."""
SENDING: tuple[Use, ...] = ('publish', 'call', 'host', 'goal', 'host_action')
"""Uses in which a peer sends messages, which may be large."""
PARAMETER_EVENTS = '/parameter_events'

_UNLISTED = Rule('*')


class Policy:
    """
    What each role may do.

    :param exposure: what is exposed, and the roles of the mapping file.
    """

    def __init__(self, exposure: Exposure) -> None:
        self.exposure = exposure
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

    def _decide(self, role: Role, use: Use, name: str) -> Rule | None:
        action = action_of(name)
        if action is not None and use in _OF_ACTION:   # as its action is
            rule = self.exposure.find(EXPOSED_AS[_OF_ACTION[use]], action)
        else:
            kind = EXPOSED_AS.get(use)
            rule = _UNLISTED if kind is None else self.exposure.find(kind, name)
        return rule if rule and all(role.allows(*need) for need in _needs(use, name)) else None


def _needs(use: Use, name: str) -> Iterator[tuple[Use, str]]:
    """Give every right that a use takes."""
    yield use, name
    if use == 'subscribe' and name == PARAMETER_EVENTS:
        yield 'parameter_read', name
    if use == 'call':
        node, _, last = name.rpartition('/')
        if last in PARAMETER_SERVICES:
            yield PARAMETER_SERVICES[last], node
    action = action_of(name)
    if action is not None and use in _OF_ACTION:
        yield _OF_ACTION[use], action


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
        told = self.policy.exposure.allowed()
        if self.role == ADMIN:
            return told
        return {**{kind: [pattern for pattern in told[kind] if self.role.allows(kind, pattern)]
                   for kind in KINDS}, 'deny': []}
