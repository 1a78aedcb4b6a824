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
Names are absolute; patterns are those of :mod:`ws_bridge.config`. The names are topics, services
and actions; nodes for ``parameter_read``, ``parameter_write``; nodes, topics, services and
actions for ``graph``; ``take``, ``clear_stop`` and ``metrics`` are about no name, so ``*``.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import get_args, Literal

Use = Literal['subscribe', 'publish', 'call', 'host', 'goal', 'host_action', 'parameter_read',
              'parameter_write', 'graph', 'take', 'clear_stop', 'metrics']
USES: tuple[Use, ...] = get_args(Use)
NAMELESS: tuple[Use, ...] = ('take', 'clear_stop', 'metrics')
EVERYTHING = '*'


@dataclass(frozen=True, slots=True)
class Grant:
    """A pattern of names for one use, or (``None``) for all."""

    pattern: str
    use: Use | None = None

    def holds(self, use: Use, name: str) -> bool:
        """Whether this is about ``use`` of ``name``."""
        return self.use in (None, use) and fnmatchcase(name, self.pattern)


@dataclass(frozen=True, slots=True)
class Role:
    """What peers of one kind may do."""

    name: str
    allow: tuple[Grant, ...] = ()
    deny: tuple[Grant, ...] = ()

    def allows(self, use: Use, name: str) -> bool:
        """Whether a peer may; a denial wins."""
        return any(grant.holds(use, name) for grant in self.allow) and \
            not any(grant.holds(use, name) for grant in self.deny)

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
    'publish', 'call', 'host', 'goal', 'host_action', 'parameter_read'))
SAFETY = Role('safety', OPERATOR.allow + _everything('take', 'clear_stop'))
ADMIN = Role('admin', (Grant(EVERYTHING),))

BUILT_IN: Mapping[str, Role] = {role.name: role for role in (OBSERVER, OPERATOR, SAFETY, ADMIN)}


ACTION_PART = '/_action/'
"""What stands between the name of an action and that of a service or topic of its own."""


def is_hidden(name: str) -> bool:
    """Tell whether a part of a name has a leading underscore: such are listed only on request."""
    return '/_' in name


def action_of(name: str) -> str | None:
    """Return the action to which a service or topic belongs, ``None`` where it is another's."""
    action, part, _ = name.partition(ACTION_PART)
    return action if part else None
