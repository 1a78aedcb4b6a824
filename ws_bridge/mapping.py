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

It is YAML, read with the safe loader and never constructed: the nodes are walked, so that every
error can name file, line and key, and all errors of a file are reported at once. There are no
anchors and aliases (a few lines of them can stand for gigabytes), and a key may stand only once.

:data:`SECTIONS` is the whole grammar; ``config/mapping.example.yaml`` shows it in use.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import math
import re
from typing import Any

import yaml

from ws_bridge.access import BUILT_IN, Grant, Role, Use, USES
from ws_bridge.config import (
    Denial,
    did_you_mean,
    ENCODINGS,
    Exposure,
    is_glob,
    Kind,
    NAME_LENGTH,
    Rule,
)
from ws_bridge.errors import ConfigError

VERSION = 1
MAX_FILE_SIZE = 256 * 1024
MAX_DEPTH = 8
MAX_RATE = 1e6
MAX_QUEUE_DEPTH = 10_000
MAX_TIMEOUT = 86400.0

_NAME = re.compile(r'(~/?|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
_GLOB = re.compile(r'[A-Za-z0-9_/~*?!\[\]-]+')
_ROLE = re.compile(r'[A-Za-z][A-Za-z0-9_-]{0,63}')
_CHANNEL = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_TYPE = re.compile(r'(?P<package>[a-z][a-z0-9_]*)/((?P<folder>msg|srv)/)?'
                   r'(?P<name>[A-Z][A-Za-z0-9]*(_[A-Za-z0-9]+)*)')

_QUOTES = "; a pattern that starts with '*' needs quotes"

KnownType = Callable[[str, str], bool]
"""``known_type('msg' or 'srv', 'pkg/msg/Type')``: whether the type is on this machine."""


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
        'expected_rate': 'expected_rate', 'queue_depth': 'queue_depth'}),
    'in': Section('publish', 'topic', {'type': 'msg_type', 'channel': 'channel'}),
    'services': Section('call', 'service', {'type': 'msg_type', 'timeout': 'timeout'}),
    'host': Section('host', 'service', {'type': 'msg_type'}),
}


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
    root = _compose(content, file)
    reader = _Reader(file, known_type)
    exposure = reader.read(root)
    if not reader.errors:
        return exposure
    errors = sorted(reader.errors, key=lambda error: error.line or 0)
    raise errors[0] if len(errors) == 1 else ConfigError('\n'.join(map(str, errors)))


class _Loader(yaml.SafeLoader):
    """Composes nodes, without aliases and to a limited depth; constructs nothing."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem=f'aliases are not supported{_QUOTES}',
                                       problem_mark=mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f'more than {MAX_DEPTH} levels deep',
                                       problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(content: bytes, file: str) -> yaml.Node:
    try:
        loader = _Loader(content.decode('utf-8-sig'))
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as exc:
        problem = exc.problem or exc.context or 'not YAML'
        if 'alias' in (exc.context or ''):
            problem += _QUOTES
        mark = exc.problem_mark or exc.context_mark
        raise ConfigError(problem, file=file, line=mark.line + 1 if mark else None) from exc
    except (yaml.YAMLError, ValueError, OverflowError) as exc:
        # ValueError, OverflowError: bad UTF-8, and what the scanner does with "\UFFFFFFFF".
        raise ConfigError(f'not YAML: {exc}', file=file) from exc
    if root is None:
        raise ConfigError(f"is empty; it needs at least 'version: {VERSION}'", file=file)
    return root


class _Reader:
    """Walks the nodes of one file; goes on after an error, which it keeps."""

    def __init__(self, file: str, known_type: KnownType | None) -> None:
        self.errors: list[ConfigError] = []
        self._file = file
        self._known_type = known_type
        self._channels: dict[str, tuple[str, int]] = {}
        self._topics: dict[str, tuple[str, int]] = {}

    def read(self, root: yaml.Node) -> Exposure:
        known = ('version', *SECTIONS, 'deny', 'roles', 'identities')
        entries = self._entries(root, '', known)
        if entries is None:
            return Exposure()
        if 'version' not in entries:
            self._fail(root, 'version', f'is missing; this bridge reads version {VERSION}')
        elif self._number(entries['version'], 'version') not in (None, VERSION):
            self._fail(entries['version'], 'version', f'must be {VERSION}')
        rules = {section.kind: self._rules(key, section, entries[key])
                 for key, section in SECTIONS.items() if key in entries}
        roles = self._roles(entries.get('roles'))
        return Exposure(**rules, deny=self._denials(entries.get('deny')), roles=roles,
                        identities=self._identities(entries.get('identities'), roles))

    def _fail(self, node: yaml.Node, path: str, message: str) -> None:
        self.errors.append(ConfigError(message, field=path or None, file=self._file,
                                       line=node.start_mark.line + 1))

    def _entries(self, node: yaml.Node, path: str,
                 known: tuple[str, ...]) -> dict[str, yaml.Node] | None:
        """Return a mapping's values by key; ``None`` if it is none."""
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, path, f'must be a mapping with {_listed(known)}')
            return None
        entries: dict[str, yaml.Node] = {}
        first_line: dict[str, int] = {}
        for key_node, value in node.value:
            key = key_node.value[:80] if isinstance(key_node, yaml.ScalarNode) else None
            where = f'{path}.{key}' if path and key else key or path
            if key not in known:
                self._fail(key_node, where, 'unknown key' + did_you_mean(key or '', known) +
                           f'; known are {_listed(known)}')
            elif key in entries:
                self._fail(key_node, where, f'stands twice, first in line {first_line[key]}')
            else:
                entries[key] = value
                first_line[key] = key_node.start_mark.line + 1
        return entries

    def _items(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node]]:
        if _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, path, "must be a list, one '- ' an entry")
            return []
        return [(f'{path}[{index}]', item) for index, item in enumerate(node.value)]

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
            return self._matching(node, path, _CHANNEL, 'a channel name: a letter or digit, then '
                                  "up to 63 letters, digits, '_', '.' or '-'")
        if key == 'encoding':
            return self._choice(node, path, ENCODINGS)
        if key == 'queue_depth':
            return self._integer(node, path, 1, MAX_QUEUE_DEPTH)
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

    # ---- roles

    def _roles(self, node: yaml.Node | None) -> tuple[Role, ...]:
        roles: dict[str, Role] = {}
        for name, item in self._named(node, 'roles'):
            path = f'roles.{name}'
            if not _ROLE.fullmatch(name):
                self._fail(item, path, f'{_shown(name)} is not a role: a letter, then up to 63 '
                           "letters, digits, '_' or '-'")
                continue
            entries = {} if _is_null(item) else \
                self._entries(item, path, ('like', 'allow', 'deny')) or {}
            like = self._role_name(entries['like'], f'{path}.like', {**BUILT_IN, **roles}) \
                if 'like' in entries else None
            base = {**BUILT_IN, **roles}.get(like or '', Role(name))
            roles[name] = Role(name, base.allow + self._grants(entries.get('allow'),
                                                               f'{path}.allow'),
                               base.deny + self._grants(entries.get('deny'), f'{path}.deny'))
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
                grants += [Grant(pattern, use)] if pattern else []
        return tuple(grants)

    def _identities(self, node: yaml.Node | None,
                    roles: tuple[Role, ...]) -> tuple[tuple[str, str], ...]:
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
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, path, 'must be a mapping')
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

    def _type(self, node: yaml.Node, path: str, folder: str) -> str | None:
        text = self._matching(node, path, _TYPE, f'a type such as package/{folder}/Type')
        match = _TYPE.fullmatch(text or '')
        if match is None:
            return None
        if match['folder'] not in (None, folder):
            self._fail(node, path, f"{text} is no {folder} type: 'package/{folder}/Type'")
            return None
        name = f"{match['package']}/{folder}/{match['name']}"
        if self._known_type is not None and not self._known_type(folder, name):
            self._fail(node, path, f'no such type on this machine: {name}')
        return name

    def _pattern(self, node: yaml.Node, path: str) -> str | None:
        text = self._text(node, path)
        if text is None:
            return None
        fits = _GLOB.fullmatch(text) and '//' not in text if is_glob(text) \
            else _NAME.fullmatch(text) and '__' not in text
        if not fits or len(text) > NAME_LENGTH:
            self._fail(node, path, f'{_shown(text)} is neither a ROS name nor a pattern')
            return None
        return text

    def _matching(self, node: yaml.Node, path: str, form: re.Pattern[str],
                  what: str) -> str | None:
        text = self._text(node, path)
        if text is not None and not (form.fullmatch(text) and len(text) <= NAME_LENGTH):
            self._fail(node, path, f'{_shown(text)} is not {what}')
            return None
        return text

    def _choice(self, node: yaml.Node, path: str, known: tuple[str, ...]) -> str | None:
        text = self._text(node, path)
        if text is not None and text not in known:
            self._fail(node, path, f'{_shown(text)} is unknown{did_you_mean(text, known)}; '
                       f'known are {_listed(known)}')
            return None
        return text

    def _text(self, node: yaml.Node, path: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode) or node.tag != 'tag:yaml.org,2002:str':
            self._fail(node, path, 'must be text')
            return None
        text: str = node.value
        return text

    def _number(self, node: yaml.Node, path: str) -> float | None:
        """Return a number that is written plainly; YAML 1.1 would take 1:30 for 90."""
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            try:
                return float(node.value)
            except ValueError:
                pass
        self._fail(node, path, 'must be a number')
        return None

    def _positive(self, node: yaml.Node, path: str, maximum: float) -> float | None:
        number = self._number(node, path)
        if number is not None and not (math.isfinite(number) and 0 < number <= maximum):
            self._fail(node, path, f'must be above 0 and at most {maximum:.10g}')
            return None
        return number

    def _integer(self, node: yaml.Node, path: str, low: int, high: int) -> int | None:
        number = self._number(node, path)
        if number is not None and not (low <= number <= high and number == int(number)):
            self._fail(node, path, f'must be an integer, {low} to {high}')
            return None
        return None if number is None else int(number)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == 'tag:yaml.org,2002:null'


def _listed(known: tuple[str, ...]) -> str:
    return ', '.join(known)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f'{text[:77]}...')
