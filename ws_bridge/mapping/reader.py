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
The mapping file: what goes out to peers, what comes in, what they may call; and the roles.

The nodes are walked, so that every error can name file, line and key, and all errors of a file
are reported at once. :data:`SECTIONS`, ``gates`` (:mod:`ws_bridge.mapping.gates`), ``roles`` and
``identities`` (:mod:`ws_bridge.mapping.roles`) and ``deny`` are the whole grammar;
``config/mapping.example.yaml`` shows it in use.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ws_bridge.config import Denial, Exposure, is_glob, Kind, Rule
from ws_bridge.errors import ConfigError
from ws_bridge.mapping.gates import GateReader
from ws_bridge.mapping.nodes import compose, KnownType, NodeReader
from ws_bridge.mapping.roles import RoleReader
from ws_bridge.protocol.encodings import ENCODINGS

VERSION = 1
MAX_FILE_SIZE = 256 * 1024
MAX_RATE = 1e6
MAX_QUEUE_DEPTH = 10_000
MAX_TIMEOUT = 86400.0
MAX_PRIORITY = 100
MAX_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True)
class Section:
    """
    One list of the file: the kind of use it is about and the keys of its entries.

    :param noun: the key of the name or pattern, which an entry must have.
    :param keys: further keys, each with the field of :class:`~ws_bridge.config.Rule` it sets.
    """

    kind: Kind
    noun: str
    keys: Mapping[str, str]


SECTIONS: Mapping[str, Section] = {
    'out': Section('subscribe', 'topic', {
        'type': 'msg_type', 'channel': 'channel', 'encoding': 'encoding', 'max_rate': 'max_rate',
        'expected_rate': 'expected_rate', 'queue_depth': 'queue_depth', 'priority': 'priority',
        'weight': 'weight', 'min_rate': 'min_rate'}),
    'in': Section('publish', 'topic', {'type': 'msg_type', 'channel': 'channel'}),
    'services': Section('call', 'service', {'type': 'msg_type', 'timeout': 'timeout'}),
    'host': Section('host', 'service', {'type': 'msg_type'}),
}
FILE_KEYS = ('version', *SECTIONS, 'gates', 'deny', 'roles', 'identities')


def load_mapping(path: str, known_type: KnownType | None = None) -> Exposure:
    """
    Read a mapping file.

    :param known_type: says whether a type exists; without it only its form is checked.
    :raises ConfigError: with every error of the file, one a line.
    """
    try:
        with open(path, 'rb') as file:
            content = file.read(MAX_FILE_SIZE + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f'cannot be read: {reason}', file=path) from exc
    return parse_mapping(content, path, known_type)


def parse_mapping(content: bytes, file: str, known_type: KnownType | None = None) -> Exposure:
    """
    Check the content of a mapping file; see :func:`load_mapping`.

    :param file: its name, for the errors.
    """
    if len(content) > MAX_FILE_SIZE:
        raise ConfigError(f'is larger than {MAX_FILE_SIZE} bytes', file=file)
    root = compose(content, file)
    found: list[ConfigError] = []
    exposure = MappingReader(file, known_type, found).read(root)
    if not found:
        return exposure
    errors = sorted(found, key=lambda error: error.line or 0)
    raise errors[0] if len(errors) == 1 else ConfigError('\n'.join(map(str, errors)))


class MappingReader(NodeReader):
    """Reads a whole file: what is exposed by itself, gates and roles by their own readers."""

    def __init__(self, file: str, known_type: KnownType | None,
                 errors: list[ConfigError]) -> None:
        super().__init__(file, known_type, errors)
        self._gates = GateReader(file, known_type, errors)
        self._roles = RoleReader(file, known_type, errors)
        self._channels: dict[str, tuple[str, int]] = {}
        self._topics: dict[str, tuple[str, int]] = {}

    def read(self, root: yaml.Node) -> Exposure:
        """Return what the file says; of what is wrong an error is kept instead."""
        entries = self._entries(root, '', FILE_KEYS)
        if entries is None:
            return Exposure()
        if 'version' not in entries:
            self._fail(root, 'version', f'is missing; this bridge reads version {VERSION}')
        elif self._number(entries['version'], 'version') not in (None, VERSION):
            self._fail(entries['version'], 'version', f'must be {VERSION}')
        rules: dict[str, Any] = {
            section.kind: self._rules(key, section, entries[key])
            for key, section in SECTIONS.items() if key in entries}
        roles = self._roles.roles(entries.get('roles'))
        return Exposure(**rules, deny=self._denials(entries.get('deny')), roles=roles,
                        identities=self._roles.identities(entries.get('identities'), roles),
                        gates=self._gates.gates(entries.get('gates')))

    def _rules(self, key: str, section: Section, node: yaml.Node) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        lines: dict[str, int] = {}
        for path, item in self._items(node, key):
            rule = self._rule(path, section, item)
            if rule is None:
                continue
            if rule.pattern in lines:
                self._fail(item, path, f'{rule.pattern} stands twice, '
                           f'first in line {lines[rule.pattern]}')
            lines.setdefault(rule.pattern, item.start_mark.line + 1)
            rules.append(rule)
        return tuple(rules)

    def _rule(self, path: str, section: Section, item: yaml.Node) -> Rule | None:
        if isinstance(item, yaml.ScalarNode):
            pattern = self._pattern(item, path)
            return Rule(pattern) if pattern else None
        entries = self._entries(item, path, (section.noun, *section.keys))
        if entries is None:
            return None
        if section.noun not in entries:
            self._fail(item, path, f"has no '{section.noun}'")
        values: dict[str, Any] = {
            section.keys[key]: self._value(key, node, f'{path}.{key}', section)
            for key, node in entries.items() if key != section.noun}
        if section.noun not in entries:
            return None
        pattern = self._pattern(entries[section.noun], f'{path}.{section.noun}')
        if pattern is None:
            return None
        if values.get('channel'):
            self._check_channel(entries['channel'], f'{path}.channel', pattern,
                                values['channel'])
        return Rule(pattern, **values)

    def _value(self, key: str, node: yaml.Node, path: str, section: Section) -> Any:
        if key == 'type':
            return self._type(node, path, 'msg' if section.noun == 'topic' else 'srv')
        if key == 'channel':
            return self._word(node, path, 'channel')
        if key == 'encoding':
            return self._choice(node, path, ENCODINGS.native_names)
        if key == 'queue_depth':
            return self._integer(node, path, 1, MAX_QUEUE_DEPTH)
        if key == 'priority':
            return self._integer(node, path, -MAX_PRIORITY, MAX_PRIORITY)
        if key == 'weight':
            return self._positive(node, path, MAX_WEIGHT)
        return self._positive(node, path, MAX_TIMEOUT if key == 'timeout' else MAX_RATE)

    def _denials(self, node: yaml.Node | None) -> tuple[Denial, ...]:
        denials: list[Denial] = []
        for path, item in self._items(node, 'deny') if node else []:
            if isinstance(item, yaml.ScalarNode):
                pattern = self._pattern(item, path)
                denials += [Denial(pattern)] if pattern else []
                continue
            for key, value in (self._entries(item, path, tuple(SECTIONS)) or {}).items():
                pattern = self._pattern(value, f'{path}.{key}')
                denials += [Denial(pattern, SECTIONS[key].kind)] if pattern else []
        return tuple(denials)

    def _check_channel(self, node: yaml.Node, path: str, topic: str, channel: str) -> None:
        line = node.start_mark.line + 1
        if is_glob(topic):
            self._fail(node, path, f'one name cannot stand for every topic of {topic}')
            return
        other, other_line = self._topics.setdefault(channel, (topic, line))
        if other != topic:
            self._fail(node, path, f'{channel!r} is the name of {other} in line {other_line}')
        name, name_line = self._channels.setdefault(topic, (channel, line))
        if name != channel:
            self._fail(node, path, f'{topic} is called {name!r} in line {name_line}')
