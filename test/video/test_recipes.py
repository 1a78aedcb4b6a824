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

from hypothesis import given
from hypothesis import strategies as st

from ws_bridge.protocol.native_requests import MAX_RUNG
from ws_bridge.video.recipes import (
    JPEG_RUNGS,
    JpegRecipe,
    LARGEST_SIDE,
    MOST_ENLARGED,
    RUNG,
    RUNGS,
    rungs_of,
    shared_interval,
    video_recipe,
    VideoRecipe,
)

sides = st.integers(0, LARGEST_SIDE)


@given(sides, sides, st.integers(1, 1 << 16), st.integers(1, 1 << 16))
def test_sizes_are_bounded(width: int, height: int, of_width: int, of_height: int) -> None:
    wide, high = JpegRecipe(width, height).size(of_width, of_height)
    if not width and not height:
        assert (wide, high) == (of_width, of_height)
    else:
        assert 1 <= wide <= LARGEST_SIDE and 1 <= high <= LARGEST_SIDE
        assert wide * high <= max(of_width * of_height, MOST_ENLARGED)
        if width and height and width * height <= MOST_ENLARGED:
            assert (wide, high) == (width, height)


@given(st.floats(0.0, 1000.0))
def test_intervals_are_few_and_at_least_as_long(interval: float) -> None:
    assert shared_interval(interval) >= interval
    assert shared_interval(shared_interval(interval)) == shared_interval(interval)
    assert interval > 60.0 or shared_interval(interval) <= max(2.5 * interval, 1 / 15) or \
        shared_interval(interval) == 60.0


def test_rungs() -> None:
    """From thin to wide, and as many as peers may ask for."""
    for rungs in (RUNGS, JPEG_RUNGS):
        assert list(rungs) == sorted(rungs) and RUNG in range(len(rungs))
        assert len(rungs) == MAX_RUNG + 1
    assert VideoRecipe(0).pause == 1 / RUNGS[0].rate
    assert VideoRecipe(2, 0.5).pause == 0.5
    assert JpegRecipe(interval=0.5).pause == 0.5
    assert (rungs_of('h264'), rungs_of('jpeg')) == (RUNGS, JPEG_RUNGS)
    assert video_recipe('h264', 2, 0.3) == VideoRecipe(2, 0.5)
    assert [(each.quality, each.interval) for each in (
        video_recipe('jpeg', 0, interval) for interval in (0.1, 0.2, 1.0))
        if isinstance(each, JpegRecipe)] == [(50, 0.1), (25, 0.2), (25, 1.0)]
    assert video_recipe('jpeg', 1, 1.0) == JpegRecipe(480, 0, 65, 1.0, is_most=True)
    small = video_recipe('jpeg', 0, 0.0)
    assert small.pause == 1 / JPEG_RUNGS[0].rate and video_recipe('jpeg', 0, 0.3).pause == 0.5
    assert isinstance(small, JpegRecipe) and not small.is_as_it_is
    assert (small.size(480, 320), small.size(160, 120)) == ((240, 160), (160, 120))
