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
"""The run of the whole suite names each test that it had to run again, and says why."""
from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[1]
FLAKY = """
import pathlib

def test_steady():
    pass

def test_flaky():
    been = pathlib.Path(__file__).with_name('been')
    print('the bridge said why')
    if not been.exists():
        been.touch()
        assert {'answers': 0} == {'answers': 30}
"""


@pytest.mark.parametrize('how', [(), ('-n', '2')], ids=['alone', 'side by side'])
def test_first_failures_are_told(tmp_path: Path, how: tuple[str, ...]) -> None:
    (tmp_path / 'test_it.py').write_text(FLAKY)
    run = subprocess.run(
        [sys.executable, ROOT / 'scripts' / 'test.py', '-c', '/dev/null', f'--rootdir={tmp_path}',
         '-p', 'no:cacheprovider', '-W', 'ignore', '--reruns', '1', *how, tmp_path], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert run.returncode == 0, run.stdout
    assert '1 rerun' in run.stdout
    before, told = run.stdout.split('\nRERUN ')
    name, *why = told.splitlines()
    assert name == 'test_it.py::test_flaky'
    assert all(line.startswith('    | ') for line in why)
    assert "AssertionError: assert {'answers': 0} == {'answers': 30}" in why[0]
    assert why[-1].endswith('test_it.py:12: AssertionError')
    assert 'the bridge said why' in before.partition(' RERUNS ')[2]
