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
"""The paths of a relay."""
from __future__ import annotations

import pytest

from ws_bridge.fleet.names import dialled_path, robot_asked_for, robot_dialling

INSTANCE = '0123456789abcdef'


def test_a_robot_dials_by_name_and_instance() -> None:
    assert robot_dialling(dialled_path('r-1_A', INSTANCE)) == ('r-1_A', INSTANCE)


@pytest.mark.parametrize('path', [
    '/', '/fleet', '/fleet/r1', f'/fleet/r.1/{INSTANCE}', f'/fleet/{"r" * 65}/{INSTANCE}',
    f'/fleet/r1/{INSTANCE}/x', '/fleet/r1/XYZ', f'x/fleet/r1/{INSTANCE}', f'/fleet//{INSTANCE}',
    f'/fleet/r%31/{INSTANCE}', f'/fleet/../{INSTANCE}'])
def test_others_do_not(path: str) -> None:
    assert robot_dialling(path) is None


@pytest.mark.parametrize(('path', 'asked'), [
    ('/robots/r1', ('r1', '')), ('/robots/r1/', ('r1', '/')), ('/robots/r1/?a=b', ('r1', '/')),
    ('/robots/r1/app/main.js', ('r1', '/app/main.js')), ('/robots/', None), ('/robots', None),
    ('/robots/a.b/', None), ('/robots/*/', None), ('/robotsr1', None), ('/', None)])
def test_an_operator_asks_for_a_robot(path: str, asked: tuple[str, str] | None) -> None:
    assert robot_asked_for(path) == asked
