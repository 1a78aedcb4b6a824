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
The clients of Foxglove's protocol that can be had, against a bridge process.

Foxglove's own client runs under node, under both names of the protocol. It is one process that
goes through its scenarios and prints how each ended.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.make_golden import plain
from support.real_clients import lines_of, node_is_new_enough, scenarios, SKIP_NODE
from support.rosbridge_robot import bridge_process
from support.viewer_robot import decodes, Kinds, running_viewer_robot

CLIENTS = Path(__file__).parent / 'clients'
SKIP_FOXGLOVE = "Foxglove's packages are not installed (make test does that where there is npm)"
SCENARIOS = scenarios(CLIENTS / 'foxglove_client.mjs', r'^  async (\w+)\(subprotocol\) \{')
SUBPROTOCOLS = 'foxglove.sdk.v1', 'foxglove.websocket.v1'


@pytest.fixture(scope='module')
def place() -> Iterator[tuple[Kinds, str]]:
    """Run the robot and a bridge for all clients; give the kinds of the robot, and the URL."""
    with running_viewer_robot('js_robot') as kinds, bridge_process() as (_, url):
        yield kinds, url


@pytest.fixture(scope='module')
def foxglove(place: tuple[Kinds, str]) -> dict[tuple[str, str], Any]:
    """Run Foxglove's client; give what it says of each scenario."""
    if not node_is_new_enough():
        pytest.skip(SKIP_NODE)
    if not (CLIENTS / 'node_modules' / '@foxglove').is_dir():
        pytest.skip(SKIP_FOXGLOVE)
    with lines_of(['node', 'foxglove_client.mjs', place[1]], CLIENTS) as lines:
        return {(line['scenario'], line['subprotocol']): line for line in lines}


@pytest.mark.parametrize('subprotocol', SUBPROTOCOLS)
@pytest.mark.parametrize('scenario', SCENARIOS)
def test_foxglove(foxglove: dict[tuple[str, str], Any], scenario: str, subprotocol: str) -> None:
    said = foxglove.get((scenario, subprotocol))
    assert said, 'the client ended before'
    assert said['error'] is None, said['error']


def test_every_kind_of_field_is_decoded_and_published(
        place: tuple[Kinds, str], foxglove: dict[tuple[str, str], Any]) -> None:
    kinds, _ = place
    assert kinds.heard == kinds.expected
    for subprotocol in SUBPROTOCOLS:
        decoded = foxglove['every_kind_of_field', subprotocol]['decoded']
        assert decoded == {name: plain(message) for name, message in kinds.cases.items()
                           if decodes(message)}


def test_the_script_has_scenarios() -> None:
    assert len(SCENARIOS) == 8
