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
"""A clock that a test moves."""
from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class Timers:
    """A loop whose timers run when the test says so: it may be late."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, action: Callable[..., None], *args: Any) -> object:
        def run() -> None:
            action(*args)
        self.waiting.append(run)
        return SimpleNamespace(cancel=lambda: self.waiting.remove(run))

    def call_soon(self, action: Callable[..., None]) -> None:
        self.waiting.append(action)

    def run(self) -> None:
        """Run each timer."""
        while self.waiting:
            self.waiting.pop(0)()


class Later:
    """Stands for the alarms of a node: the test lets them ring."""

    def __init__(self) -> None:
        self.alarms: list[Any] = []

    def after(self, delay: float, action: Callable[[], None]) -> Any:
        alarm = SimpleNamespace(action=action, delay=delay)
        alarm.cancel = lambda: self.alarms.remove(alarm) if alarm in self.alarms else None
        self.alarms.append(alarm)
        return alarm

    def ring(self) -> None:
        for alarm in self.alarms[:]:
            self.alarms.remove(alarm)
            alarm.action()
