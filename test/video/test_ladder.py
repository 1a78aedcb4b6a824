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

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ws_bridge.video.ladder import Ladder, MOST_PATIENCE, PATIENCE, SETTLED, TOO_MANY
from ws_bridge.video.recipes import RUNG, RUNGS


def test_a_thin_link_steps_down_and_a_wide_one_up() -> None:
    ladder = Ladder(0.0)
    assert ladder.rung == RUNG
    assert not ladder.note(0.5, TOO_MANY, has_lost=False)       # it has just begun
    assert ladder.note(SETTLED, TOO_MANY, has_lost=False)
    assert ladder.rung == RUNG - 1
    assert not ladder.note(SETTLED + 5, 0, has_lost=True)       # there is no lower one
    calm = 2 * SETTLED + 5
    assert not ladder.note(calm, 1, has_lost=False)
    assert not ladder.note(calm + PATIENCE - 0.1, 0, has_lost=False)
    assert ladder.note(calm + PATIENCE, 0, has_lost=False)
    assert ladder.rung == RUNG
    assert not ladder.note(calm + PATIENCE + 0.1, 0, has_lost=False)
    assert ladder.note(calm + 2 * PATIENCE, 0, has_lost=False)
    assert ladder.rung == len(RUNGS) - 1
    assert not ladder.note(1e6, 0, has_lost=False)


def test_what_was_too_much_is_tried_again_ever_later() -> None:
    ladder, now, climbs = Ladder(0.0), 0.0, []
    while now < 1000.0:
        now += 0.1
        too_wide = ladder.rung > RUNG
        if ladder.note(now, TOO_MANY if too_wide else 0, has_lost=too_wide) and \
                ladder.rung > RUNG:
            climbs.append(now)
    pauses = [round(after - before) for before, after in pairwise(climbs)]
    assert pauses == sorted(pauses)
    assert MOST_PATIENCE <= pauses[-1] < MOST_PATIENCE + 5
    assert len(climbs) < 15


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(0, 6), st.booleans())))
def test_one_step_at_a_time(frames: list[tuple[float, int, bool]]) -> None:
    ladder, now = Ladder(0.0), 0.0
    for pause, waiting, has_lost in frames:
        now += pause
        before = ladder.rung
        changed = ladder.note(now, waiting, has_lost=has_lost)
        assert 0 <= ladder.rung < len(RUNGS)
        assert abs(ladder.rung - before) == int(changed)
        assert not (changed and ladder.rung > before and (waiting or has_lost))
