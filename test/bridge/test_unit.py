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
from __future__ import annotations

from typing import Any

import pytest

from ws_bridge.bridge.unit import table_of, Unit
from ws_bridge.session import effects as fx


class Some(Unit):
    """Carries out one effect."""

    def lost(self, peer: Any, effect: fx.PeerLost) -> None:
        """Do nothing."""

    EFFECTS = {fx.PeerLost: lost}   # noqa: RUF012


def rows(*units: Unit) -> Any:
    return [(unit, unit.EFFECTS) for unit in units]


def test_a_unit_brings_only_what_it_has() -> None:
    unit, some = Unit(), Some()
    assert unit.about(fx.PeerLost()) is None
    unit.graph_changed()
    assert table_of(rows(unit, some), [fx.PeerLost]) == {fx.PeerLost: (some, Some.lost)}


@pytest.mark.parametrize(('units', 'complaint'), [
    ([Some(), Some()], 'PeerLost has two handlers'),
    ([Some()], 'Greeted: no effect, or one without a handler'),
    ([], 'Greeted, PeerLost: no effect')])
def test_a_missing_or_a_double_row_fails(units: list[Unit], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        table_of(rows(*units), [fx.PeerLost, fx.Greeted])


def test_a_row_that_is_no_effect_fails() -> None:
    with pytest.raises(TypeError, match='PeerLost: no effect'):
        table_of(rows(Some()), [])
