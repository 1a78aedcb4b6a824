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
YAML files read with line numbers: nodes are composed with the safe loader and never constructed.

There are no anchors and aliases (a few lines of them can stand for gigabytes), and a key may
stand only once. A key without a value is an error everywhere (:meth:`NodeReader._fail`): a list
that was forgotten, ``deny:`` for example, must not pass for an empty one, ``deny: []``.
"""
from __future__ import annotations

from collections.abc import Callable
import math
import re
from typing import Any, TypeVar

import yaml

from ws_bridge.config import did_you_mean, is_glob, NAME_LENGTH
from ws_bridge.errors import ConfigError

MAX_DEPTH = 16
Word = TypeVar('Word', bound=str)

_NAME = re.compile(r'(~/?|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
_GLOB = re.compile(r'([A-Za-z0-9_/~*?-]|\[!?[A-Za-z0-9_/~-]+\])+')
_TYPE = re.compile(r'(?P<package>[a-z][a-z0-9_]*)/((?P<folder>msg|srv)/)?'
                   r'(?P<name>[A-Z][A-Za-z0-9]*(_[A-Za-z0-9]+)*)')

_WORD = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_QUOTES = "; a pattern that starts with '*' needs quotes"

KnownType = Callable[[str, str], bool]
"""``known_type('msg' or 'srv', 'pkg/msg/Type')``: whether the type is on this machine."""


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


def compose(content: bytes, file: str) -> yaml.Node:
    """
    Return the root of a file.

    :raises ConfigError: it is no YAML, or empty.
    """
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
        raise ConfigError("is empty; it needs at least 'version: 1'", file=file)
    return root


class NodeReader:
    """
    Checks nodes of one file; goes on after an error, which it keeps.

    :param errors: gets every error; the readers of the sections of a file share one list.
    :param known_type: says whether a type exists; without it only its form is checked.
    """

    def __init__(self, file: str, known_type: KnownType | None,
                 errors: list[ConfigError]) -> None:
        self.errors = errors
        self._file = file
        self._known_type = known_type

    def _fail(self, node: yaml.Node, path: str, message: str) -> None:
        if is_null(node):
            message = f'has no value: {message}'
        self.errors.append(ConfigError(message, field=path or None, file=self._file,
                                       line=node.start_mark.line + 1))

    def _entries(self, node: yaml.Node, path: str, known: tuple[str, ...], *,
                 may_be_empty: bool = True) -> dict[str, yaml.Node] | None:
        """Return a mapping's values by key; ``None`` if it is none."""
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, path, f'must be a mapping with {listed(known)}')
            return None
        entries: dict[str, yaml.Node] = {}
        first_line: dict[str, int] = {}
        for key_node, value in node.value:
            key = key_node.value[:80] if isinstance(key_node, yaml.ScalarNode) else None
            where = f'{path}.{key}' if path and key else key or path
            if key not in known:
                self._fail(key_node, where, 'unknown key' + did_you_mean(key or '', known) +
                           f'; known are {listed(known)}')
            elif key in entries:
                self._fail(key_node, where, f'stands twice, first in line {first_line[key]}')
            else:
                entries[key] = value
                first_line[key] = key_node.start_mark.line + 1
        return entries

    def _items(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node]]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, path, "must be a list, one '- ' an entry, or [] for none")
            return []
        items = [(f'{path}[{index}]', item) for index, item in enumerate(node.value)]
        for where, item in items:
            if isinstance(item, yaml.MappingNode) and not item.value:
                self._fail(item, where, 'says nothing')
        return items

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
            self._fail(node, path, f'{shown(text)} is neither a ROS name nor a pattern')
            return None
        return text

    def _matching(self, node: yaml.Node, path: str, form: re.Pattern[str],
                  what: str) -> str | None:
        text = self._text(node, path)
        if text is not None and not (form.fullmatch(text) and len(text) <= NAME_LENGTH):
            self._fail(node, path, f'{shown(text)} is not {what}')
            return None
        return text

    def _word(self, node: yaml.Node, path: str, what: str) -> str | None:
        return self._matching(node, path, _WORD, f'a {what} name: a letter or digit, then '
                              "up to 63 letters, digits, '_', '.' or '-'")

    def _choice(self, node: yaml.Node, path: str, known: tuple[Word, ...]) -> Word | None:
        text = self._text(node, path)
        if text is not None and text not in known:
            self._fail(node, path, f'{shown(text)} is unknown{did_you_mean(text, known)}; '
                       f'known are {listed(known)}')
        return next((word for word in known if word == text), None)

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

    def _flag(self, node: yaml.Node, path: str) -> bool | None:
        if isinstance(node, yaml.ScalarNode) and node.style is None and \
                node.value in ('true', 'false'):
            return bool(node.value == 'true')
        self._fail(node, path, 'must be true or false')
        return None

    def _integer(self, node: yaml.Node, path: str, low: int, high: int) -> int | None:
        number = self._number(node, path)
        if number is not None and not (low <= number <= high and number == int(number)):
            self._fail(node, path, f'must be an integer, {low} to {high}')
            return None
        return None if number is None else int(number)


def is_null(node: yaml.Node) -> bool:
    """Whether nothing stands where something might."""
    return isinstance(node, yaml.ScalarNode) and node.tag == 'tag:yaml.org,2002:null'


def listed(known: tuple[str, ...]) -> str:
    """Return words for a person."""
    return ', '.join(known)


def shown(text: str) -> str:
    """Return a text of a file for an error about it."""
    return repr(text if len(text) <= 80 else f'{text[:77]}...')
