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
"""A short soak; ``test/bench/measure_soak.py`` is the long one, and says how memory grows."""
from __future__ import annotations

from collections import Counter
import importlib
import os
from pathlib import Path
from typing import Any

import pytest

SECONDS = float(os.environ.get('SOAK_SECONDS', '20'))


@pytest.fixture
def measure_soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the script."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / 'bench'))
    return importlib.import_module('measure_soak')


def test_nothing_is_left(measure_soak: Any) -> None:
    """Peers of every dialect come and go; then ROS has nothing of them, and memory is bounded."""
    soak = measure_soak.run(SECONDS, 20)
    assert soak.left == []
    assert soak.counts['exit code'] == 0
    assert soak.counts['peers'] > 20
    assert soak.counts['operations'] > 20 * SECONDS
    assert set(soak.counts) <= {'peers', 'operations', 'frames', 'exit code', 'ConnectionClosedOK',
                                'ConnectionClosedError'}, soak.counts
    said, _ = soak.report(SECONDS / 6)
    assert 'Left in the graph: nothing. The bridge ended with 0.' in said
    # A short run cannot tell growth from warming up; a leak of each peer or message would show.
    assert soak.memory[-1][1] < 400 << 20


@pytest.mark.parametrize(('sizes', 'left', 'exit_code', 'held'), [
    ([100, 101], [], 0, True), ([100, 103], [], 0, False), ([100, 100], ['/soak/1'], 0, False),
    ([100, 100], [], -11, False), ([], [], 0, False)])
def test_bounds(measure_soak: Any, sizes: list[int], left: list[str], exit_code: int,
                held: bool) -> None:
    soak = measure_soak.Soak([(60.0 + at, size << 20) for at, size in enumerate(sizes)],
                             Counter({'exit code': exit_code}), left)
    said, good = soak.report(60.0)
    assert good is held
    assert not sizes or f'100.0 MB after 1.0 minutes, {sizes[-1]}.0 MB at the end' in said
