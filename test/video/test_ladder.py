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

from collections import deque
from itertools import pairwise
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from ws_bridge.video.ladder import (
    BEST_OF,
    CALM,
    FIRST_PATIENCE,
    Ladder,
    LATE,
    LATE_FOR,
    MOST_PATIENCE,
    PATIENCE,
    SETTLED,
    SHARE,
    steps_of,
    TOO_MANY,
)
from ws_bridge.video.recipes import JPEG_RUNGS, RUNG, RUNGS

STEPS = steps_of(RUNGS)


def step_of(ladder: Ladder) -> int:
    return next(number for number, step in enumerate(STEPS)
                if step[:2] == (ladder.rung, ladder.interval))


def test_steps() -> None:
    """Fewer frames than the lowest rung has, as far as that makes a difference."""
    assert [step[:2] for step in STEPS] == [
        (0, 1.0), (0, 0.5), (0, 0.2), (0, 0.1), (0, 0.0), (1, 0.0), (2, 0.0)]
    assert [step[:2] for step in steps_of(JPEG_RUNGS)] == [
        (0, 1.0), (0, 0.5), (0, 0.2), (0, 0.0), (1, 0.0), (2, 0.0)]
    for steps in (STEPS, steps_of(JPEG_RUNGS)):
        assert [step.bits for step in steps] == sorted(step.bits for step in steps)


def test_an_unknown_link_begins_small() -> None:
    """The next step comes sooner than ever after."""
    ladder = Ladder(0.0, 0)
    assert not ladder.note(FIRST_PATIENCE - 0.1, 0, has_lost=False)
    assert ladder.note(FIRST_PATIENCE, 0, has_lost=False)
    assert (ladder.rung, ladder.interval) == (1, 0.0)
    assert ladder.note(FIRST_PATIENCE + SETTLED, 0, has_lost=True)
    assert not ladder.note(2 * FIRST_PATIENCE + SETTLED, 0, has_lost=False)
    assert ladder.note(FIRST_PATIENCE + SETTLED + PATIENCE, 0, has_lost=False)


def test_frames_that_come_rarely_may_not_wait() -> None:
    ladder = Ladder(0.0, 0)
    for now in (1.0, 3.0):
        assert not ladder.note(now, 1, has_lost=False)
        assert ladder.note(now, TOO_MANY, has_lost=False)
    assert (ladder.rung, ladder.interval) == (0, 0.2)
    assert ladder.note(5.0, 1, has_lost=False)
    assert (ladder.rung, ladder.interval) == (0, 0.5)


def test_what_a_link_carries_bounds_the_choice() -> None:
    """No step is tried that is too much; one down goes as far as is needed."""
    ladder = Ladder(0.0, 0)
    enough = RUNGS[1].bits / 8 / SHARE
    assert not ladder.note(100.0, 0, has_lost=False, bandwidth=0.9 * enough)
    assert ladder.note(101.0, 0, has_lost=False, bandwidth=1.01 * enough)
    assert not ladder.note(200.0, 0, has_lost=False, bandwidth=1.01 * enough)
    assert ladder.note(201.0, TOO_MANY, has_lost=False, bandwidth=0.3 * enough)
    assert (ladder.rung, ladder.interval) == (0, 0.0)
    assert ladder.note(203.0, TOO_MANY, has_lost=False, bandwidth=12_500.0)
    assert (ladder.rung, ladder.interval) == (0, 0.2)
    assert ladder.note(205.0, TOO_MANY, has_lost=False, bandwidth=100.0)
    assert (ladder.rung, ladder.interval) == (0, 1.0)
    assert not ladder.note(207.0, TOO_MANY, has_lost=False, bandwidth=100.0)


def test_a_thin_link_steps_down_and_a_wide_one_up() -> None:
    """Quality first, then fewer frames."""
    ladder, now = Ladder(0.0), 0.0
    assert (ladder.rung, ladder.interval) == (RUNG, 0.0)
    assert not ladder.note(0.5, TOO_MANY, has_lost=False)       # it has just begun
    assert ladder.note(SETTLED, TOO_MANY, has_lost=False)
    assert (ladder.rung, ladder.interval) == (RUNG - 1, 0.0)
    for _ in range(4):
        before, now = ladder.interval, now + 2 * SETTLED
        assert ladder.note(now, 0, has_lost=True)
        assert ladder.rung == 0 and ladder.interval > before
    assert not ladder.note(now + 5, 0, has_lost=True)           # there is no lower one
    calm = now + 5 + SETTLED
    assert not ladder.note(calm, 1, has_lost=False)
    assert not ladder.note(calm + PATIENCE - 0.1, 0, has_lost=False)
    for step in range(1, len(STEPS)):
        assert ladder.note(calm + step * PATIENCE, 0, has_lost=False)
        assert step_of(ladder) == step
        assert not ladder.note(calm + step * PATIENCE + 0.1, 0, has_lost=False)
    assert not ladder.note(1e6, 0, has_lost=False)
    assert ladder.rung == len(RUNGS) - 1


def test_what_is_seen_late_steps_down() -> None:
    """Where it is so for a moment, as measured by the best of late; a long way is no reason."""
    ladder = Ladder(0.0)
    for now in range(4):
        assert not ladder.note(now, 0, has_lost=False, delay=0.7)   # by satellite
    assert not ladder.note(4.0, 0, has_lost=False, delay=0.75 + LATE)
    assert not ladder.note(4.0 + LATE_FOR, 0, has_lost=False, delay=0.7 + LATE / 2)
    assert not ladder.note(5.0, 0, has_lost=False, delay=0.75 + LATE)
    assert not ladder.note(5.0 + LATE_FOR / 2, 0, has_lost=False, delay=0.75 + LATE)
    assert ladder.note(5.0 + LATE_FOR, 0, has_lost=False, delay=0.75 + LATE)
    assert ladder.rung == RUNG - 1
    assert not ladder.note(6.0 + LATE_FOR, 0, has_lost=False, delay=0.75 + CALM)
    assert not ladder.note(6.0 + LATE_FOR + PATIENCE - 0.1, 0, has_lost=False, delay=0.7)
    assert ladder.note(6.0 + LATE_FOR + PATIENCE, 0, has_lost=False)    # it says no more
    assert ladder.rung == RUNG


def test_a_way_that_has_become_longer() -> None:
    """It is taken as it is after a while."""
    ladder, now, steps = Ladder(0.0), 0.0, []
    while now < 6 * BEST_OF:
        now += 0.1
        if ladder.note(now, 0, has_lost=False, delay=0.1 if now < 1.0 else 0.6):
            steps.append((now, step_of(ladder)))
    low = min(step for _, step in steps)
    assert low == 0
    assert max(now for now, step in steps if step == low) < 2 * BEST_OF
    assert step_of(ladder) == len(STEPS) - 1


def on_a_link(bits: float) -> tuple[int, float]:
    """Return the highest step, and the median of how late frames are seen, s."""
    ladder, now, free, delay = Ladder(0.0), 0.0, 0.0, 0.0
    on_its_way = deque[tuple[float, float]]()
    steps, delays = [], []
    while now < 60.0:
        rung = RUNGS[ladder.rung]
        now += max(1.0 / rung.rate, ladder.interval)
        free = max(free, now) + rung.bits / rung.rate / bits
        on_its_way.append((now, free))
        while on_its_way[0][1] < now:
            left, seen = on_its_way.popleft()
            delay = seen - left
        ladder.note(now, 0, has_lost=False, delay=max(delay, now - on_its_way[0][0]))
        steps.append(step_of(ladder))
        delays.append(delay)
    return max(steps), median(delays)


def test_a_link_whose_own_queue_takes_everything() -> None:
    """There only what the page says tells: nothing waits in the bridge."""
    assert on_a_link(10e6)[0] == len(STEPS) - 1
    for bits in (10e6, 2e6, 1.2e6, 600_000, 400_000, 150_000):
        assert on_a_link(bits)[1] < 0.25, bits


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
        before = step_of(ladder)
        changed = ladder.note(now, waiting, has_lost=has_lost)
        after = step_of(ladder)
        assert abs(after - before) == int(changed)
        assert not (changed and after > before and (waiting or has_lost))
