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
"""The package's two descriptions, package.xml and setup.py, agree with each other and the code."""
from __future__ import annotations

import ast
from importlib.metadata import entry_points
import json
from pathlib import Path
import re
import runpy
import sys
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from ws_bridge.config import VERSION
from ws_bridge.safety.policy import GATED_TYPES
from ws_bridge.transport.requirements import MINIMUM_WEBSOCKETS

ROOT = Path(__file__).resolve().parents[1]
URL = 'https://github.com/ws-bridge/ws_bridge'
# rosdep's key -> the name on PyPI
KEYS = {'python3-cbor2': 'cbor2', 'python3-cryptography': 'cryptography',
        'python3-jwt': 'pyjwt', 'python3-numpy': 'numpy', 'python3-orjson': 'orjson',
        'python3-pil': 'pillow', 'python3-prometheus-client': 'prometheus-client',
        'python3-websockets': 'websockets', 'python3-yaml': 'pyyaml'}
IMPORT_NAMES = {'PIL': 'pillow', 'jwt': 'pyjwt', 'nats': 'nats-py',
                'prometheus_client': 'prometheus-client', 'yaml': 'pyyaml'}
NO_KEY = {'av', 'mcap', 'nats-py', 'zstandard'}
"""What rosdep does not know: extras that only pip brings."""


@pytest.fixture
def described() -> ElementTree.Element:
    """Give package.xml."""
    return ElementTree.parse(ROOT / 'package.xml').getroot()


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what setup.py says; setuptools, which new environments lack, is stood in for."""
    said: dict[str, Any] = {}
    stand_in = SimpleNamespace(setup=lambda **known: said.update(known),
                               find_packages=lambda include: include)
    monkeypatch.setitem(sys.modules, 'setuptools', stand_in)
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    return said


def names(requirements: list[str]) -> set[str]:
    """Return requirements without their versions."""
    return {re.split(r'\[|>', requirement)[0] for requirement in requirements}


def depends(described: ElementTree.Element, kind: str = 'exec_depend') -> set[str]:
    """Return the keys of one kind of dependency."""
    return {str(element.text) for element in described.iter(kind)}


def imports(folder: str) -> set[str]:
    """Return the top-level names that a folder imports from outside."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split('.')[0])
    return found - sys.stdlib_module_names - {'ws_bridge'}


def test_versions_agree(described: ElementTree.Element, arguments: dict[str, Any]) -> None:
    version = described.findtext('version')
    assert version == arguments['version'] == VERSION
    assert f'\n{version} (' in (ROOT / 'CHANGELOG.rst').read_text()


def test_the_oldest_websockets_is_one(arguments: dict[str, Any]) -> None:
    """What pip asks for, what the start asks for, and what documents say."""
    oldest = '.'.join(map(str, MINIMUM_WEBSOCKETS))
    assert f'websockets>={oldest}' in arguments['install_requires']
    said = [found for path in (ROOT / 'docs').rglob('*.md') for found in re.findall(
        r'websockets(?:>=|` \(|` )([0-9.]+)(?: or newer|\')', path.read_text())]
    assert said == [oldest] * 3


def test_descriptions_agree(described: ElementTree.Element, arguments: dict[str, Any]) -> None:
    assert described.findtext('name') == arguments['name'] == 'ws_bridge'
    assert described.findtext('license') == arguments['license']
    assert described.get('format') == '3'
    assert described.findtext('export/build_type') == 'ament_python'
    maintainer = described.find('maintainer')
    assert maintainer is not None
    assert maintainer.get('email') == arguments['maintainer_email']


def test_addresses_agree(described: ElementTree.Element, arguments: dict[str, Any]) -> None:
    said = {str(element.get('type')): element.text for element in described.iter('url')}
    assert said['website'] == said['repository'] == arguments['url'] == URL
    assert said['bugtracker'] == arguments['project_urls']['Bug tracker'] == f'{URL}/issues'
    web = json.loads((ROOT / 'ws_bridge' / 'web' / 'package.json').read_text())
    assert web['repository']['url'] == f'git+{URL}.git'
    for address in arguments['project_urls'].values():
        path = address.removeprefix(URL).removeprefix('/blob/main').lstrip('/')
        assert path in ('', 'issues') or (ROOT / path).is_file(), address
    for name in ('README.md', 'SECURITY.md', '.github/ISSUE_TEMPLATE/config.yml'):
        text = (ROOT / name).read_text()
        assert set(re.findall(r'https://github\.com/[\w-]+/ws_bridge', text)) == {URL}, name


def test_the_hooks_have_the_pins_of_the_tests(arguments: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    hooks = {hook['id']: hook for hook in config['repos'][0]['hooks']}
    assert {'ruff', 'flake8', 'mypy'} <= set(hooks)
    pins = [pin for hook in hooks.values() for pin in hook.get('additional_dependencies', [])]
    assert set(pins) <= set(arguments['extras_require']['test'])
    linters = {pin for pin in arguments['extras_require']['test']
               if re.match('flake8|ruff|pydocstyle', pin)}
    assert set(pins) == linters
    for hook in hooks.values():
        for word in re.findall(r'\S+/\S+\.py', hook['entry']):
            assert (ROOT / word).is_file()


def test_the_workflows_run_what_ci_runs(arguments: dict[str, Any]) -> None:
    workflows = {path.stem: yaml.safe_load(path.read_text())
                 for path in (ROOT / '.github' / 'workflows').glob('*.yml')}
    assert set(workflows) == {'test', 'release'}
    (job,) = workflows['test']['jobs'].values()
    assert '.ci/run' in [step.get('run') for step in job['steps']]
    jobs = workflows['release']['jobs']
    assert jobs['test']['uses'] == './.github/workflows/test.yml'
    assert jobs['publish']['needs'] == 'test'
    matrix = job['strategy']['matrix']
    assert set(matrix['ros']) <= set(arguments['extras_require'])
    first = arguments['python_requires'].removeprefix('>=')
    assert matrix['python'][0] == first
    assert matrix['python'] == [f'3.{minor}' for minor in range(10, 10 + len(matrix['python']))]
    (pattern,) = workflows['release'][True]['push']['tags']      # YAML reads `on` as true
    assert re.fullmatch(pattern.replace('.', r'\.'), arguments['version'])


def test_dependencies_agree(described: ElementTree.Element, arguments: dict[str, Any]) -> None:
    by_rosdep = {KEYS[key] for key in depends(described) if key.startswith('python3-')}
    extras = arguments['extras_require']
    assert by_rosdep == names(arguments['install_requires']).union(
        *(names(extras[optional]) for optional in ('png', 'jwt', 'metrics', 'record'))) - NO_KEY


def test_every_import_is_declared(described: ElementTree.Element) -> None:
    declared = {KEYS.get(key, key) for key in depends(described)}
    used = {IMPORT_NAMES.get(name, name) for name in imports('ws_bridge') | imports('launch')}
    assert not used - declared - NO_KEY


def test_what_rosdep_does_not_know_is_an_extra(arguments: dict[str, Any]) -> None:
    assert set().union(*map(names, arguments['extras_require'].values())) >= NO_KEY


def test_every_dependency_is_imported(described: ElementTree.Element) -> None:
    declared = {KEYS.get(key, key) for key in depends(described)}
    used = {IMPORT_NAMES.get(name, name) for name in imports('ws_bridge') | imports('launch')}
    used |= {msg_type.partition('/')[0] for msg_type in GATED_TYPES}
    assert not declared - used


def test_extras_bring_ros(arguments: dict[str, Any]) -> None:
    extras = arguments['extras_require']
    for release in ('kilted', 'jazzy'):
        assert names(extras[release]) == {
            f'ros-{release}-{part}'
            for part in ('rclpy', 'rmw-fastrtps-cpp', 'common-interfaces', 'test-msgs')}
        assert all('<' in wheel for wheel in extras[release])
    assert 'pytest' in names(extras['test'])     # by this colcon finds the tests


def test_files_of_the_share_folder(arguments: dict[str, Any]) -> None:
    installed = {f'{folder}/{Path(path).name}': Path(path)
                 for folder, paths in arguments['data_files'] for path in paths}
    assert all(path.is_file() for path in installed.values())
    wanted = {'share/ament_index/resource_index/packages/ws_bridge', 'share/ws_bridge/package.xml'}
    for folder, kind in (('launch', '*.py'), ('config', '*.*'), ('ws_bridge/meshes', '*')):
        files = list((ROOT / folder).glob(kind))
        assert files
        wanted |= {f'share/ws_bridge/{Path(folder).name}/{path.name}' for path in files}
    assert set(installed) == wanted


def test_what_is_no_code_is_installed_too(arguments: dict[str, Any]) -> None:
    """Without the profile of its transports the stop process would look beyond the machine."""
    package = ROOT / 'ws_bridge'
    installed = {path for pattern in arguments['package_data']['ws_bridge']
                 for path in package.glob(pattern) if path.is_file()}
    wanted = {path for path in package.rglob('*') if path.is_file()
              and '__pycache__' not in path.parts and path.suffix != '.py'}
    assert package / 'ros/loopback.xml' in wanted
    assert wanted - installed == set()


def test_entry_point(arguments: dict[str, Any]) -> None:
    (script,) = entry_points(group='console_scripts', name='ws_bridge')
    assert arguments['entry_points'] == {
        'console_scripts': [f'{script.name} = {script.value}']}, 'installed from an older setup.py'
    assert callable(script.load())
