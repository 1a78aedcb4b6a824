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
"""
Several participants of Fast DDS in one process, as tests have them, and one at a time is changed.

One that is destroyed waits for all that tells it of others. An entity of another participant that
is destroyed meanwhile tells it of that, and waits for it: neither ever ends. rclpy holds the
interpreter, so it never does both; the bridge does not (:mod:`ws_bridge.ros.rcl`), and has one
participant in its process.
"""
from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

from ws_bridge.ros import rcl

LOCK = threading.RLock()
"""Held while a node is destroyed, or an entity is made or destroyed by rcl."""


def one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that holds :data:`LOCK`."""
    def call(*arguments: Any) -> Any:
        with LOCK:
            return function(*arguments)
    return call


class Functions(rcl._Functions):
    """Those of rcl that make and destroy a kind of entity."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.init, self.fini = one_at_a_time(self.init), one_at_a_time(self.fini)


def guard() -> None:
    """Let all makers of entities to come hold the lock."""
    rcl._Functions = Functions  # type: ignore[misc]
