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
"""What the trace of a message takes for a change of unit, and for a turn-back."""
from __future__ import annotations

import re
import subprocess
import sys

import pytest

from scripts.trace_message import (
    change,
    COMMAND,
    PACKAGE,
    place_of,
    ROOMS_THEN,
    SAMPLE,
    Step,
    unit_of,
)


def step(place: str, *callers: str) -> Step:
    return Step(place, 'f', 0, callers)


@pytest.mark.parametrize(('before', 'now', 'mark'), [
    (None, step('ros/pump.py'), ''),
    (step('ros/pump.py'), step('ros/arrivals.py', 'ros'), ''),
    (step('ros/pump.py'), step('bridge/handover.py'), '->'),        # another thread
    (step('bridge/bridge.py'), step('session/session.py', 'bridge'), '->'),
    (step('session/session.py'), step('bridge/control.py', 'session', 'bridge'), '<-'),
    (step('session/session.py'), step('bridge/gates.py', 'bridge'), ''),    # it had returned
    (step('convert/codec.py'), step('<json of std_msgs/msg/String>', 'convert'), ''),
])
def test_what_counts(before: Step | None, now: Step, mark: str) -> None:
    assert change(now, before) == mark


@pytest.mark.parametrize(('now', 'mark'), [
    (step('safety/gate.py', 'session', 'bridge'), ''),
    (step('timing/bucket.py', 'safety'), ''),
    (step('safety/gate.py', 'bridge'), '->'),
    (step('bridge/gates.py', 'safety', 'bridge'), '<-'),
    (step('stop_process/wire.py', 'ros', 'bridge'), '')])
def test_what_counts_by_the_rooms_of_then(now: Step, mark: str) -> None:
    assert change(now, step('bridge/gates.py'), ROOMS_THEN) == mark


def test_places() -> None:
    assert place_of(str(PACKAGE / 'ros' / 'pump.py')) == 'ros/pump.py'
    assert place_of(__file__) is None
    assert unit_of('config.py') == 'config'


def test_the_way_leads_through_functions_that_exist() -> None:
    for recorder in (COMMAND, SAMPLE):
        place, function = recorder.through
        assert f'def {function}(' in (PACKAGE / place).read_text()


def test_the_way_of_a_command_is_short() -> None:
    """Of a real one, by a real bridge; others are longer, where something else comes between."""
    done = subprocess.run([sys.executable, str(PACKAGE.parent / 'scripts' / 'trace_message.py')],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ways = {kind: (int(changes), int(back)) for kind, changes, back in re.findall(
        r'^a (command|sample), .* by the rooms of \w+: (\d+) changes of unit, (\d+) turn-backs$',
        done.stdout, re.M)}
    assert set(ways) == {'command', 'sample'}
    changes, back = ways['command']
    assert changes <= 7
    assert back <= 1
