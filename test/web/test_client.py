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

from ws_bridge import errors
from ws_bridge.config import VERSION

HERE = Path(__file__).parent
NODE = shutil.which('node')
CLIENTS = HERE.parent / 'rosbridge' / 'clients'
TSC, ESLINT = (CLIENTS / 'node_modules' / '.bin' / name for name in ('tsc', 'eslint'))
WEB = HERE.parents[1] / 'ws_bridge' / 'web'
REFERENCE = HERE.parents[1] / 'docs' / 'reference' / 'web_client.md'
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
        pytest.skip(f'`npm ci` in {CLIENTS} brings the TypeScript compiler')
    done = subprocess.run(
        [str(TSC), '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext',
         '--moduleResolution', 'nodenext', str(HERE / 'types' / 'usage.ts')],
        capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stdout


def test_eslint() -> None:
    """The client and the page have nothing that eslint calls an error."""
    if not ESLINT.is_file():
        pytest.skip(f'`npm ci` in {CLIENTS} brings eslint')
    done = subprocess.run([str(ESLINT), '--config', str(CLIENTS / 'eslint.config.mjs'), str(WEB)],
                          cwd=HERE.parents[1], capture_output=True, text=True, timeout=WITHIN,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_versions_agree() -> None:
    package = json.loads((WEB / 'package.json').read_text())
    assert package['version'] == VERSION
    assert all((WEB / name).is_file() for name in package['files'])


CODES = {error.code for error in vars(errors).values()
         if isinstance(error, type) and issubclass(error, errors.WsBridgeError)}


def list_of(script: str, name: str) -> set[str]:
    """Return the words of a constant Set of the page."""
    match = re.search(rf'^const {name} = new Set\(\[(.*?)\]\)', (WEB / 'app' / script).read_text(),
                      re.MULTILINE | re.DOTALL)
    assert match, f'{script} has no {name}'
    return set(re.findall(r"'(\w+)'", match[1]))


def test_the_page_shows_every_refusal_of_a_gate() -> None:
    refusals = {error.code for error in errors.COMMAND_REFUSALS}
    assert list_of('teleop.js', 'REFUSALS') == refusals
    assert list_of('drive.js', 'ENDS') < refusals


def test_codes_of_the_client_are_documented() -> None:
    source = (WEB / 'ws_bridge.js').read_text()
    own = set(re.findall(r"new WsBridgeError\('(\w+)'", source)) - CODES
    (reference,) = re.findall(r'## Errors\n(.*?)(?:\n## |\Z)', REFERENCE.read_text(), re.DOTALL)
    assert set(re.findall(r'^\| `(\w+)` \|', reference, re.MULTILINE)) == own
    types = (WEB / 'ws_bridge.d.ts').read_text()
    for text in (re.findall(r'only this side has: (.*)', source)[0],
                 re.findall(r'A code of .*?, or (.*)', types)[0]):
        assert set(re.findall(r'`(\w+)`', text)) == own


@pytest.mark.parametrize('declaration', ['class WsBridge ', 'interface WsBridgeOptions ',
                                         'interface Events '])
def test_the_reference_names_every_member(declaration: str) -> None:
    types = (WEB / 'ws_bridge.d.ts').read_text()
    (body,) = re.findall(rf'^export {declaration}{{\n(.*?)^}}', types, re.MULTILINE | re.DOTALL)
    members = set(re.findall(r'^  (?:readonly )?(\w+)\??[(:<]', body, re.MULTILINE))
    assert len(members) > 5
    named = set(re.findall(r'\w+', ' '.join(re.findall(r'`([^`]*)`', REFERENCE.read_text()))))
    assert members - {'constructor'} <= named


def test_codes_that_scripts_compare_exist() -> None:
    source = (WEB / 'ws_bridge.js').read_text()
    known = CODES | set(re.findall(r"new WsBridgeError\('(\w+)'", source))
    for script in (WEB / 'ws_bridge.js', *(WEB / 'app').glob('*.js')):
        for code in re.findall(r"\berror\.code [!=]== '(\w+)'", script.read_text()):
            assert code in known, f'{script.name} compares with {code}'
