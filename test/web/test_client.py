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
from typing import Any

import pytest

from ws_bridge import errors
from ws_bridge.config import VERSION
from ws_bridge.identity.signatures import parse_keys
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.native import NativeDialect
from ws_bridge.protocol.signed import FREE_WORDS, SignedDialect

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
    counts = dict(re.findall(r'^. (tests|pass|fail|cancelled|skipped) (\d+)$', done.stdout,
                             re.MULTILINE))
    if counts['skipped'] == counts['tests'] != '0':
        pytest.skip(re.findall(r'# SKIP (.*)', done.stdout)[0])
    assert int(counts['pass']) > 0
    assert counts['fail'] == counts['cancelled'] == '0'


@pytest.mark.skipif(node_version() < 20, reason='Ed25519 needs node 20')
def test_python_verifies_what_the_client_signs() -> None:
    """
    Each frame once, in order, signed or not; a stop overtakes.

    What was not sent in time is not sent.
    """
    told: dict[str, Any] = {}
    dialect = SignedDialect(
        NativeDialect('rover', 'p1'), robot='rover', secret=b'secret', unix_offset=0.0,
        longest=10.0, is_stop=lambda name: False, is_signed=lambda signature, text: parse_keys(
            told['line'], 'line').is_signed('alice', signature, text))
    assert NODE is not None
    done = subprocess.run([NODE, str(HERE / 'signing.mjs'), dialect.challenge(0)], text=True,
                          capture_output=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told.update(json.loads(done.stdout))
    frames = [frame if frame.startswith('{') else bytes.fromhex(frame) for frame in told['sent']]
    heard = [op for frame in frames for op in dialect.decode(frame, 0.0)]
    assert not [op for op in heard if isinstance(op, ops.Malformed)]
    commands = [op for op in heard if isinstance(op, ops.Command)]
    (goal,) = [op for op in commands if op.kind == 'action']
    cancel = next(op for op in heard if isinstance(op, ops.CancelGoal))
    assert heard.index(goal) < heard.index(cancel)
    commands.remove(goal)
    assert [op.sequence for op in commands] == list(range(1, 22))
    assert commands[3].data == {'linear': {'x': 3}, 'note': 'é'}
    signed = [op for frame, op in zip(frames, heard, strict=True) if isinstance(frame, bytes)]
    signed.remove(goal)
    beats = [op for op in heard if isinstance(op, ops.Heartbeat)]
    assert [op for op in signed if op not in beats] == [heard[2], *commands]
    assert not any(op.forgeable for op in beats)
    assert heard[2] == ops.LeaseOperation(heard[2].op_id, 'acquire', 'base')
    stop = next(op for op in heard if isinstance(op, ops.EmergencyStop))
    assert heard.index(stop) < heard.index(commands[0])
    assert heard[-1] == ops.LeaseOperation(heard[-1].op_id, 'release', 'base')
    assert told['pace'] == [1, pytest.approx(0.1), 1]
    assert (told['isHidden'], told['errors']) == (True, [])


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


def test_the_client_signs_what_the_bridge_wants_signed() -> None:
    found = re.search(r'^const FREE_WORDS = new Set\(\[(.*?)\]\)',
                      (WEB / 'ws_bridge.js').read_text(), re.MULTILINE | re.DOTALL)
    assert found
    assert set(re.findall(r"'(\w+)'", found[1])) == FREE_WORDS


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
