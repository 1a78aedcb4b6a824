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
"""The documents: links and anchors resolve, the index reaches all, names of files are right."""
from __future__ import annotations

from functools import cache
from pathlib import Path
import re

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
README = ROOT / 'README.md'
DOCUMENTS = sorted([*ROOT.glob('*.md'), *DOCS.rglob('*.md'), *ROOT.glob('ws_bridge/web/*.md')])
IN_DOCS = sorted(path for path in DOCS.rglob('*') if path.is_file())
# Plain English is short; an experienced reader stumbles at more words than this.
LONGEST_SENTENCE = 35
LONGEST_LINE = 100
TEACHING = [README, *sorted(DOCS.glob('tutorial/*.md')), *sorted(DOCS.glob('how-to/*.md'))]
# Where files are named: everything that git has, but not what tests and builds leave.
PARTS = ('.ci', '.github', 'CHANGELOG.rst', 'CONTRIBUTING.md', 'README.md', 'SECURITY.md',
         'config', 'docs', 'launch', 'scripts', 'setup.py', 'test', 'ws_bridge')
TEXTS = ('.md', '.py', '.js', '.ts', '.yaml', '.yml', '.rst')
FENCE = re.compile(r'^ *```.*?^ *```', re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    """Return a path as it stands in the repository."""
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    """Return a document without its blocks of code."""
    return FENCE.sub('', path.read_text())


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a document, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r'^#+ (.*)$', text_of(path), re.MULTILINE):
        plain = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading).strip().lower()
        slug = re.sub(r'[^\w\- ]', '', plain).replace(' ', '-')
        count = sum(1 for each in found if re.fullmatch(rf'{re.escape(slug)}(-\d+)?', each))
        found.add(f'{slug}-{count}' if count else slug)
    return found


def links(path: Path) -> list[tuple[Path, str]]:
    """Return target and anchor of each relative link of a document."""
    text = text_of(path)
    said = re.findall(r'\]\(([^)\s]+)\)', text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    targets = [each.partition('#') for each in said if not re.match(r'[a-z]+:', each)]
    return [((path.parent / target).resolve() if target else path, anchor)
            for target, _, anchor in targets]


@pytest.mark.parametrize('path', DOCUMENTS, ids=name_of)
def test_links_resolve(path: Path) -> None:
    for target, anchor in links(path):
        assert target.exists(), f'{name_of(path)} links to {target}'
        if anchor:
            assert anchor in anchors(target), f'{name_of(path)}: {name_of(target)}#{anchor}'


def test_the_index_names_every_document() -> None:
    index = DOCS / 'index.md'
    assert {target for target, _ in links(index)} == {*IN_DOCS} - {index}


@pytest.mark.parametrize('path', IN_DOCS, ids=name_of)
def test_documents_stand_by_kind(path: Path) -> None:
    kind, _, name = path.relative_to(DOCS).as_posix().rpartition('/')
    assert kind in ('tutorial', 'how-to', 'reference', 'explanation', 'images') or \
        name == 'index.md'
    assert path.suffix != '.md' or re.fullmatch(r'[a-z0-9_]+\.md', name)


def test_the_first_screen_has_the_two_commands() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 130
    first = '\n'.join(lines[:35])
    assert '$ make demo\n' in first
    assert '$ make test\n' in first


def test_files_that_are_named_exist() -> None:
    """Of documents, comments, docstrings and launch files."""
    names = re.compile(r'(?<![\w/.-])((?:docs|scripts|config|test|launch)/[\w./-]+'
                       r'\.(?:md|py|yaml|json|js|mjs))\b')
    missing: list[str] = []
    for path in sorted(path for part in PARTS for path in (ROOT / part, *(ROOT / part).rglob('*'))
                       if path.suffix in TEXTS):
        name = name_of(path)
        if 'node_modules' in name or path == Path(__file__):
            continue
        missing += [f'{name} names {named}' for named in names.findall(path.read_text())
                    if not (ROOT / named).exists()]
    assert not missing


def sentences(path: Path) -> list[str]:
    """Return the sentences of a document's prose, without tables and code."""
    prose = '\n'.join('' if line.startswith(('|', '#', '<', '  <')) else line
                      for line in text_of(path).splitlines())
    prose = re.sub(r'^(?:> ?)?(?:[-*]|\d+\.) ', '\n\n', prose, flags=re.MULTILINE)
    prose = re.sub(r'^> ?', '', prose, flags=re.MULTILINE)
    prose = re.sub(r'`[^`]*`', 'code', re.sub(r'\]\([^)]*\)', ']', prose))
    return [part for block in re.split(r'\n\s*\n', prose)
            for part in re.split(r'(?<=[.!?])["*)]*\s+', block.replace('\n', ' ').strip())]


@pytest.mark.parametrize('path', TEACHING, ids=name_of)
def test_sentences_are_short(path: Path) -> None:
    for sentence in sentences(path):
        assert len(sentence.split()) <= LONGEST_SENTENCE, sentence


def long_lines(text: str) -> list[str]:
    """Return the lines of more columns than two windows side by side show; tables have any."""
    return [line for line in text.splitlines()
            if len(line) > LONGEST_LINE and not line.startswith('|')]


@pytest.mark.parametrize('path', [*DOCUMENTS, ROOT / 'CHANGELOG.rst'], ids=name_of)
def test_lines_are_short(path: Path) -> None:
    assert long_lines(path.read_text()) == []


def test_a_long_line_is_found() -> None:
    assert long_lines('| a |' + 'b' * 100 + '\n' + 'c' * 100) == []
    assert long_lines('c' * 101) == ['c' * 101]
