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
"""``docs/reference/mapping_file.md`` names every key that the readers know, and no other."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re

import pytest

from ws_bridge.config.roles import USES
from ws_bridge.mapping import gates, reader, roles
from ws_bridge.safety.policy import ACTIONS, LEASE_MODES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs/reference/mapping_file.md').read_text()
READERS = ROOT / 'ws_bridge/mapping'
SECTIONS = {(name, key) for name, section in reader.SECTIONS.items()
            for key in (section.noun, *section.keys)}


def words(cell: str) -> tuple[str, ...]:
    """Return what stands in backticks."""
    return tuple(re.findall(r'`([a-z_]+)`', cell))


def tables(text: str) -> Iterator[list[list[str]]]:
    """Give the rows of each table, without its head."""
    for found in re.finditer(r'(?:^\|.*\n)+', text, re.M):
        lines = found[0].splitlines()[2:]
        yield [[cell.strip() for cell in line.strip('|').split(' | ')] for line in lines]


FILE, TOPICS, GATES, STEPS, ROLES = tables(TEXT)


def first(rows: list[list[str]]) -> list[str]:
    """Return the keys in the first column."""
    return [word for row in rows for word in words(row[0])]


def of_lists(rows: list[list[str]]) -> set[tuple[str, str]]:
    """Return list and key of each row; a row without a list is about the one above."""
    found, name = set(), ''
    for row in rows:
        name = next(iter(words(row[0])), name)
        found |= {(name, key) for key in words(row[1])}
    return found


@pytest.mark.parametrize(('told', 'known'), [
    (first(FILE), reader.FILE_KEYS), (first(GATES), gates.GATE_KEYS),
    (first(STEPS), gates.STEP_KEYS), (first(ROLES), roles.ROLE_KEYS)],
    ids=['file', 'gate', 'step', 'role'])
def test_keys(told: list[str], known: tuple[str, ...]) -> None:
    assert sorted(told) == sorted(known)


def test_keys_of_lists() -> None:
    assert of_lists(TOPICS) == SECTIONS


def test_words_and_keys_inside_of_a_key() -> None:
    meaning = {words(row[0])[0]: row[-1] for row in [*GATES, *STEPS]}
    assert set(words(meaning['clamp'])) == set(gates.CLAMP_KEYS)
    assert set(words(meaning['neutral'])) == set(gates.REST_KEYS)
    assert set(words(meaning['slow_down'])) - {'clamp'} == set(gates.SLOW_KEYS)
    assert set(words(meaning['acquire_on_publish'])) == set(LEASE_MODES)
    assert set(words(meaning['action'])) == set(ACTIONS)


def test_uses() -> None:
    (told,) = re.findall(r'^The uses are (.*?)\. The last five', TEXT, re.M | re.S)
    assert sorted(words(told)) == sorted(USES)


def test_every_key_that_is_read_is_of_one_of_these() -> None:
    """The readers take keys by one method, which is told those that are known."""
    asked = {known for path in READERS.glob('*.py') for known in re.findall(
        r'self\._entries\(\w+, [^,]+, (.*?)\)(?:\s|$| or)', path.read_text())}
    assert asked == {'FILE_KEYS', '(section.noun, *section.keys)', 'tuple(SECTIONS)', 'GATE_KEYS',
                     'STEP_KEYS', 'CLAMP_KEYS', 'REST_KEYS', 'SLOW_KEYS', 'ROLE_KEYS', 'USES'}


def test_a_difference_is_found() -> None:
    text = '| list | key |\n|---|---|\n| `out` | `topic`, `typo` |\n| | `type` |\n'
    (rows,) = tables(text)
    assert of_lists(rows) == {('out', 'topic'), ('out', 'typo'), ('out', 'type')}
