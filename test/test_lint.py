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
"""The linters, as tests: ruff, mypy, flake8 and pep257 with ament's rules, the licence header."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ['launch', 'scripts', 'setup.py', 'test', 'ws_bridge']
# The plugins that ament_flake8 depends on: flake8 without them would pass silently.
AMENT_FLAKE8_PLUGINS = [
    'flake8-blind-except', 'flake8-builtins', 'flake8-class-newline', 'flake8-comprehensions',
    'flake8-deprecated', 'flake8-docstrings', 'flake8-quotes', 'flake8_import_order']


def run(*command: str) -> str:
    """Run a module of this interpreter in the project; fail with its output if it complains."""
    done = subprocess.run([sys.executable, '-m', *command], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, f'\n{done.stdout}{done.stderr}'
    return done.stdout


def python_files() -> Iterator[Path]:
    """Give every Python file of the project."""
    for source in SOURCES:
        path = ROOT / source
        yield from [path] if path.is_file() else sorted(
            file for file in path.rglob('*.py') if 'node_modules' not in file.parts)


def test_ruff() -> None:
    run('ruff', 'check', *SOURCES)


def test_mypy() -> None:
    run('mypy', '--strict', '-p', 'ws_bridge')


def test_flake8() -> None:
    run('flake8', *SOURCES)


def test_flake8_has_the_plugins_of_ament() -> None:
    version = re.sub(r'\s', '', run('flake8', '--version'))
    assert not [plugin for plugin in AMENT_FLAKE8_PLUGINS if f'{plugin}:' not in version]


def test_docstrings_are_judged_as_ament_pep257_does(tmp_path: Path) -> None:
    wrong = tmp_path / 'wrong.py'
    wrong.write_text('def function() -> None:\n    """Do something\n\n    More.\n    """\n')
    found = subprocess.run([sys.executable, '-m', 'flake8', '--config', str(ROOT / 'setup.cfg'),
                            str(wrong)], check=False, capture_output=True, text=True).stdout
    # D213, of the summary on the second line, is outside flake8's own convention
    assert set(re.findall(r' (D\d+) ', found)) == {'D213', 'D400', 'D415'}


def licence_of(path: Path) -> str:
    """Return the comment that a file opens with, without the copyright line."""
    text = re.sub(r'\A#!.*\n', '', path.read_text())
    head = re.match(r'# Copyright \d{4}(?:-\d{4})? \S.*\n((?:#.*\n)+)', text)
    return head.group(1) if head else ''


@pytest.mark.parametrize('path', list(python_files()),
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_licence_header(path: Path) -> None:
    header = licence_of(Path(__file__))
    assert 'Licensed under the Apache License, Version 2.0' in header
    assert licence_of(path) == header
