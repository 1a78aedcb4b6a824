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
The clients of the field against a bridge process: roslib run by node, and roslibpy.

Each client is one process that goes through its scenarios and prints how each ended.
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
import sys
from typing import Any

import pytest
from support.real_clients import lines_of, node_is_new_enough, scenarios, SKIP_NODE
from support.rosbridge_robot import bridge_process, running_robot

CLIENTS = Path(__file__).parent / 'clients'
SKIP_ROSLIB = 'roslib is not installed (make test does that where there is npm)'
SKIP_ROSLIBPY = 'roslibpy is not installed'


ROSLIB = scenarios(CLIENTS / 'roslib_client.mjs', r'^  async (\w+)\(\) \{')
ROSLIBPY = scenarios(CLIENTS / 'roslibpy_client.py', r'^def (\w+)\(page: Page\)')


def run_roslib(*names: str) -> dict[str, Any]:
    """Run scenarios of roslib, all without names; return how each ended."""
    with running_robot('js_robot'), bridge_process() as (_, url), \
            lines_of(['node', 'roslib_client.mjs', url, *names], CLIENTS) as lines:
        return {line['scenario']: line['error'] for line in lines}


def run_roslibpy(*names: str) -> dict[str, Any]:
    """Do the same with roslibpy; restart the bridge when it asks for that."""
    with running_robot('py_robot'), ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        _, url = first.enter_context(bridge_process())
        port = url.rpartition(':')[2]
        ended = {}
        command = [sys.executable, 'roslibpy_client.py', '127.0.0.1', port, *names]
        with lines_of(command, CLIENTS) as lines:
            for line in lines:
                if 'restart' in line:
                    first.close()
                    stack.enter_context(bridge_process(int(port)))
                else:
                    ended[line['scenario']] = line['error']
    return ended


@pytest.fixture(scope='module')
def roslib() -> dict[str, Any]:
    """Run roslib; give how each scenario ended."""
    if not node_is_new_enough():
        pytest.skip(SKIP_NODE)
    if not (CLIENTS / 'node_modules' / 'roslib').is_dir():
        pytest.skip(SKIP_ROSLIB)
    return run_roslib()


@pytest.fixture(scope='module')
def roslibpy() -> dict[str, Any]:
    """Run roslibpy; give how each scenario ended."""
    if find_spec('roslibpy') is None:
        pytest.skip(SKIP_ROSLIBPY)
    return run_roslibpy()


def outcome(ended: dict[str, Any], scenario: str, run: Callable[..., dict[str, Any]]) -> Any:
    """Return how a scenario ended; one that is asked for again is run again, by itself."""
    if scenario not in ended:
        ended.update(run(scenario))
    return ended.pop(scenario, 'the client ended before')


@pytest.mark.parametrize('scenario', ROSLIB)
def test_roslib(roslib: dict[str, Any], scenario: str) -> None:
    why = outcome(roslib, scenario, run_roslib)
    assert why is None, why


@pytest.mark.parametrize('scenario', ROSLIBPY)
def test_roslibpy(roslibpy: dict[str, Any], scenario: str) -> None:
    why = outcome(roslibpy, scenario, run_roslibpy)
    assert why is None, why


def test_the_scripts_have_scenarios() -> None:
    assert len(ROSLIB) == 18
    assert len(ROSLIBPY) == 13
