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
"""What a session asks of what knows the gates."""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ws_bridge.protocol.replies import ControlState, StopState
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session.rights import Rights

LeaseCheck = Callable[[str, 'int | None'], None]
"""Refuses, by an error, a call or a goal that needs a lease: its full name, its epoch."""


class GateLookup(Protocol):
    """Knows which topics, services and actions have a gate."""

    def guards(self, topic: str) -> bool:
        """Whether a gate judges the age of what is published on a topic."""

    def check(self, peer: str, lease_mode: LeaseMode, name: str, epoch: int | None) -> None:
        """Refuse, by an error, a call or a goal that needs a lease."""

    def describe(self, rights: Rights) -> ControlState:
        """Return the gates that a role may know of, and the emergency stop."""


class NoGates:
    """A lookup where there are no gates."""

    def guards(self, topic: str) -> bool:
        """Say no."""
        return False

    def check(self, peer: str, lease_mode: LeaseMode, name: str, epoch: int | None) -> None:
        """Let it pass."""

    def describe(self, rights: Rights) -> ControlState:
        """Return that there is nothing."""
        return ControlState([], StopState(False, None, ''))
