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
"""The table of a session: each operation has one part that carries it out."""
from __future__ import annotations

import pytest
from support.sessions import START

from ws_bridge.protocol import operations as ops
from ws_bridge.session.effects import Effect
from ws_bridge.session.parts import Part, table_of


class Echo(Part):
    """Carries out one operation, and what a test adds."""

    def stop(self, op: ops.EmergencyStop, now: float) -> list[Effect]:
        return []

    HANDLERS = {ops.EmergencyStop: stop}    # noqa: RUF012


def test_a_part_brings_only_what_it_has() -> None:
    part = Part()
    assert (list(part.deadlines()), part.poll(START), part.close()) == ([], [], [])
    place, handle = table_of((Part, Echo), (ops.EmergencyStop,))[ops.EmergencyStop]
    assert (place, handle(Echo(), ops.EmergencyStop(None), START)) == (1, [])


@pytest.mark.parametrize(('parts', 'complaint'), [
    ((Echo, Echo), 'EmergencyStop has two handlers'),
    ((Echo,), 'ClearStop: no operation, or one without a handler'),
    ((), 'ClearStop, EmergencyStop: no operation'),
])
def test_a_missing_or_a_double_row_fails(parts: tuple[type[Part], ...], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        table_of(parts, (ops.EmergencyStop, ops.ClearStop))


def test_a_row_that_is_no_operation_fails() -> None:
    with pytest.raises(TypeError, match='EmergencyStop: no operation'):
        table_of((Echo,), ())
