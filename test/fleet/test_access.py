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
"""Who may reach which robots."""
from __future__ import annotations

import pytest

from ws_bridge.errors import ConfigError
from ws_bridge.fleet.access import FleetAccess, parse_access

TEXT = """
# operators
alice r1,r2
night-* arm-*
*     lobby
"""


@pytest.mark.parametrize(('name', 'robot', 'may'), [
    ('alice', 'r1', True), ('alice', 'r3', False), ('alice', 'lobby', False),
    ('night-1', 'arm-7', True), ('night-1', 'r1', False), ('bob', 'lobby', True),
    ('bob', 'r1', False)])
def test_the_first_line_that_matches_counts(name: str, robot: str, may: bool) -> None:
    assert parse_access(TEXT, 'file').allows(name, robot) is may


def test_without_lines_all_may_and_with_none_that_matches_nobody() -> None:
    assert FleetAccess().allows('bob', 'r1')
    assert not parse_access('', 'file').allows('bob', 'r1')


@pytest.mark.parametrize('line', ['alice', 'alice r1 r2', 'alice r1,,r2', 'alice ,'])
def test_a_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match='2'):
        parse_access(f'bob r1\n{line}', 'file')
