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
"""The roles of the mapping file, and who has them."""
from __future__ import annotations

from collections.abc import Mapping
import re

import yaml

from ws_bridge.config import NAME_LENGTH
from ws_bridge.config.roles import BUILT_IN, EVERYTHING, Grant, NAMELESS, Role, Use, USES
from ws_bridge.mapping.nodes import NodeReader, shown

ROLE_KEYS = ('like', 'allow', 'deny', 'signed')

_ROLE = re.compile(r'[A-Za-z][A-Za-z0-9_-]{0,63}')


class RoleReader(NodeReader):
    """Reads ``roles`` and ``identities``."""

    def roles(self, node: yaml.Node | None) -> tuple[Role, ...]:
        """Return the roles of the section; ``None`` = there is no such section."""
        roles: dict[str, Role] = {}
        for name, item in self._named(node, 'roles'):
            path = f'roles.{name}'
            if not _ROLE.fullmatch(name):
                self._fail(item, path, f'{shown(name)} is not a role: a letter, then up to 63 '
                           "letters, digits, '_' or '-'")
                continue
            entries = self._entries(item, path, ROLE_KEYS) or {}
            like = self._role_name(entries['like'], f'{path}.like', {**BUILT_IN, **roles}) \
                if 'like' in entries else None
            base = {**BUILT_IN, **roles}.get(like or '', Role(name))
            signed = self._flag(entries['signed'], f'{path}.signed') if 'signed' in entries \
                else base.signed
            roles[name] = Role(name, base.allow + self._grants(entries.get('allow'),
                                                               f'{path}.allow'),
                               base.deny + self._grants(entries.get('deny'), f'{path}.deny'),
                               bool(signed))
        return tuple(roles.values())

    def _grants(self, node: yaml.Node | None, path: str) -> tuple[Grant, ...]:
        grants: list[Grant] = []
        for where, item in self._items(node, path) if node else []:
            if isinstance(item, yaml.ScalarNode):
                pattern = self._pattern(item, where)
                grants += [Grant(pattern)] if pattern else []
                continue
            for key, value in (self._entries(item, where, USES) or {}).items():
                use: Use = key  # type: ignore[assignment]
                pattern = self._pattern(value, f'{where}.{key}')
                if pattern and use in NAMELESS and pattern != EVERYTHING:
                    self._fail(value, f'{where}.{key}', f"{use} is about no name: '*' is all "
                               'that can stand here')
                grants += [Grant(pattern, use)] if pattern else []
        return tuple(grants)

    def identities(self, node: yaml.Node | None,
                   roles: tuple[Role, ...]) -> tuple[tuple[str, str], ...]:
        """
        Return who has which role: a pattern of names, and the name of a role, of each.

        :param roles: those of the file.
        """
        known = {**BUILT_IN, **{role.name: role for role in roles}}
        found = []
        for name, item in self._named(node, 'identities'):
            role = self._role_name(item, f'identities.{name}', known)
            if role is not None:
                found.append((name, role))
        return tuple(found)

    def _role_name(self, node: yaml.Node, path: str, known: Mapping[str, Role]) -> str | None:
        return self._choice(node, path, tuple(known))

    def _named(self, node: yaml.Node | None, path: str) -> list[tuple[str, yaml.Node]]:
        """Return a mapping's entries, whose keys are the file's own names."""
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, path, 'must be a mapping, or {} for none')
            return []
        entries: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = self._text(key_node, path)
            if key is None:
                continue
            if not key or len(key) > NAME_LENGTH:
                self._fail(key_node, path, f'a name has 1 to {NAME_LENGTH} characters')
            elif key in entries:
                self._fail(key_node, f'{path}.{key[:80]}', 'stands twice')
            else:
                entries[key] = value
        return list(entries.items())
