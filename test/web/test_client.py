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
"""The web client's own tests, which node runs: each file of them is a test here."""
from __future__ import annotations

import json
from pathlib import Path
import re
import shutil
import subprocess

import pytest

from ws_bridge.config import VERSION

HERE = Path(__file__).parent
NODE = shutil.which('node')
TSC = HERE.parent / 'rosbridge' / 'clients' / 'node_modules' / '.bin' / 'tsc'
WITHIN = 120.0


def node_version() -> int:
    """Return node's major version, 0 without node."""
    if NODE is None:
        return 0
    told = subprocess.run([NODE, '--version'], capture_output=True, text=True, check=False).stdout
    match = re.match(r'v(\d+)', told)
    return int(match[1]) if match else 0


@pytest.mark.skipif(node_version() < 18, reason='the web client needs node 18')
@pytest.mark.parametrize('name', sorted(path.name for path in HERE.glob('*.test.mjs')))
def test_under_node(name: str) -> None:
    assert NODE is not None
    done = subprocess.run([NODE, '--test', str(HERE / name)], capture_output=True, text=True,
                          timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    counts = dict(re.findall(r'^. (pass|fail|cancelled) (\d+)$', done.stdout, re.MULTILINE))
    assert int(counts['pass']) > 0
    assert counts['fail'] == counts['cancelled'] == '0'


def test_types() -> None:
    """What ws_bridge.d.ts says can be used as usage.ts does."""
    if not TSC.is_file():
        pytest.skip(f'`npm ci` in {TSC.parents[2]} brings the TypeScript compiler')
    done = subprocess.run(
        [str(TSC), '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext',
         '--moduleResolution', 'nodenext', str(HERE / 'types' / 'usage.ts')],
        capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stdout


def test_versions_agree() -> None:
    package = json.loads((HERE.parents[1] / 'ws_bridge' / 'web' / 'package.json').read_text())
    assert package['version'] == VERSION
    assert all((HERE.parents[1] / 'ws_bridge' / 'web' / name).is_file()
               for name in package['files'])
