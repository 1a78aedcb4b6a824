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
"""What is told of a simulation's clock: in the audit log, on /diagnostics, in freshness."""
from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.clock_watch import ClockWatch
from ws_bridge.timing.pace import STILL

EPOCH = 1000.0


def test_it_is_told_with_both_times(tmp_path: Path) -> None:
    real, simulated = [0.0], [(0, 0)]
    ros: Any = SimpleNamespace(now=lambda: simulated[0])
    audit = Audit(str(tmp_path / 'audit'), 10**6, lambda: real[0], EPOCH)
    watch = ClockWatch(ros, audit, lambda: real[0])

    def said() -> tuple[int, str]:
        (row,) = watch.diagnostics()
        return row[1], row[2]

    def at(now: float, seconds: int, nanoseconds: int = 0) -> None:
        real[0], simulated[0] = now, (seconds, nanoseconds)
        watch.tick()
    at(0.0, 0)
    assert said() == (1, 'nothing was heard on /clock')
    assert (watch.stretch, watch.is_paused) == (1.0, False)
    for tick in range(1, 11):
        at(tick * 0.2, 7, tick * 50_000_000)
    assert said() == (0, 'it goes')
    assert watch.stretch == pytest.approx(4.0)
    at(2.0 + STILL, *simulated[0])
    assert said() == (1, 'it stands still')
    assert watch.is_paused
    at(9.0, *simulated[0])
    at(10.0, 7, 600_000_000)
    at(10.2, 2)
    lines = [json.loads(line) for line in (tmp_path / 'audit').read_text().splitlines()]
    assert lines == [
        {'time': 1000.2, 'event': 'clock', 'what': 'began', 'simulated': 7.05},
        {'time': 1002.0 + STILL, 'event': 'clock', 'what': 'paused', 'simulated': 7.5},
        {'time': 1010.0, 'event': 'clock', 'what': 'resumed', 'simulated': 7.6},
        {'time': 1010.2, 'event': 'clock', 'what': 'jumped', 'simulated': 2.0, 'before': 7.6}]
    audit.close()
