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
Roles as frozen values: who may do what, as far as the mapping file exposes it at all.

A role allows what one of its ``allow`` grants matches and none of its ``deny`` grants does.
Names are absolute; patterns are those of :mod:`ws_bridge.config.exposure`. The names are topics,
services and actions; nodes for ``parameter_read``, ``parameter_write``; nodes, topics, services
and actions for ``graph``; ``take``, ``clear_stop``, ``metrics``, ``record`` (have it saved) and
``recordings`` (read them) are about no name, so ``*``.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import get_args, Literal

Use = Literal['subscribe', 'publish', 'call', 'host', 'goal', 'host_action', 'parameter_read',
              'parameter_write', 'graph', 'take', 'clear_stop', 'metrics', 'record',
              'recordings']
USES: tuple[Use, ...] = get_args(Use)
NAMELESS: tuple[Use, ...] = ('take', 'clear_stop', 'metrics', 'record', 'recordings')
EVERYTHING = '*'

PARAMETER_SERVICES: Mapping[str, Use] = {
    'get_parameters': 'parameter_read', 'get_parameter_types': 'parameter_read',
    'list_parameters': 'parameter_read', 'describe_parameters': 'parameter_read',
    'set_parameters': 'parameter_write', 'set_parameters_atomically': 'parameter_write'}
"""The services by which a node's parameters are reached, below its name; what each takes."""
PARAMETER_TYPES: Mapping[str, Use] = {
    **{f'rcl_interfaces/srv/{name.title().replace("_", "")}': use
       for name, use in PARAMETER_SERVICES.items()},
    'rcl_interfaces/msg/ParameterEvent': 'parameter_read'}
"""The same by type, for a node may serve them by other names."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A pattern of names for one use, or (``None``) for all."""

    pattern: str
    use: Use | None = None

    def covers(self, other: Grant) -> bool:
        """Whether this holds wherever the other one does, as their patterns are written."""
        return self.use in (None, other.use) and self.pattern in (EVERYTHING, other.pattern)

    def holds(self, use: Use, name: str) -> bool:
        """Whether this is about ``use`` of ``name``."""
        return self.use in (None, use) and fnmatchcase(name, self.pattern)


@dataclass(frozen=True, slots=True)
class Role:
    """
    What peers of one kind may do.

    :param signed: they have to sign whatever does more than look, ask and give up.
    """

    name: str
    allow: tuple[Grant, ...] = ()
    deny: tuple[Grant, ...] = ()
    signed: bool = False

    def allows(self, use: Use, name: str) -> bool:
        """Whether a peer may; a denial wins."""
        return any(grant.holds(use, name) for grant in self.allow) and \
            not self.denies(use, name)

    def denies(self, use: Use, name: str) -> bool:
        """Whether a denial is about this, whatever is allowed."""
        return any(grant.holds(use, name) for grant in self.deny)

    def allows_all(self, use: Use) -> bool:
        """Whether a peer may for every name that there can be."""
        return any(grant.use in (None, use) and grant.pattern == EVERYTHING
                   for grant in self.allow) and \
            not any(grant.use in (None, use) for grant in self.deny)

    def covers(self, other: Role) -> bool:
        """Whether a peer may whatever one of the other role may, as the patterns are written."""
        return all(any(mine.covers(each) for mine in self.allow) for each in other.allow) and \
            all(any(theirs.covers(each) for theirs in other.deny) for each in self.deny)

    def may_at_all(self, use: Use) -> bool:
        """Whether there is anything for which a peer might; without a name: whether it may."""
        if use in NAMELESS:
            return self.allows(use, EVERYTHING)
        return any(grant.use in (None, use) for grant in self.allow) and \
            not any(grant.use in (None, use) and grant.pattern == EVERYTHING
                    for grant in self.deny)


def _everything(*uses: Use) -> tuple[Grant, ...]:
    return tuple(Grant(EVERYTHING, use) for use in uses)


NOBODY = Role('nobody')
"""Who has not logged in yet."""
OBSERVER = Role('observer', _everything('subscribe', 'graph'))
OPERATOR = Role('operator', OBSERVER.allow + _everything(
    'publish', 'call', 'host', 'goal', 'host_action', 'parameter_read', 'record'))
SAFETY = Role('safety', OPERATOR.allow + _everything('take', 'clear_stop'))
ADMIN = Role('admin', (Grant(EVERYTHING),))

BUILT_IN: Mapping[str, Role] = {role.name: role for role in (OBSERVER, OPERATOR, SAFETY, ADMIN)}


def is_hidden(name: str) -> bool:
    """Tell whether a part of a name has a leading underscore: such are listed only on request."""
    return '/_' in name


@dataclass(frozen=True, slots=True)
class OwnNames:
    """
    What the bridge's own node has in ROS, by the full names that these things really have.

    :param node: the node.
    :param services: all that it serves.
    :param parameter_services: those of them that reach its parameters, each with what it takes.
    :param clear_stop: the one that clears the emergency stop.
    :param topics: what nobody but the bridge may publish.
    :param telling: topics on which the bridge tells of everything that there is.
    :param stop: the service that asserts the emergency stop.
    :param record: the service that has a recording saved; empty = there is none.
    """

    node: str = ''
    services: frozenset[str] = frozenset()
    parameter_services: Mapping[str, Use] = field(default_factory=dict)
    clear_stop: str = ''
    topics: frozenset[str] = frozenset()
    telling: frozenset[str] = frozenset()
    stop: str = ''
    record: str = ''
