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
"""What the bridge holds of the ROS side, as far as it uses it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ws_bridge.errors import WsBridgeError


class RunningCall(Protocol):
    """A call of a service."""

    def cancel(self) -> None:
        """Forget it: nobody is told any more."""


class RunningGoal(Protocol):
    """A goal of an action."""

    def cancel(self, on_answer: Callable[[WsBridgeError | None], None]) -> None:
        """Have it cancelled; ``on_answer`` gets why it is not."""

    def drop(self) -> None:
        """Have it cancelled, and tell nobody."""


class ServiceServer(Protocol):
    """A service that a peer hosts."""

    def reply(self, token: int, cdr: bytes) -> None:
        """Answer the request of a token."""

    def close(self) -> None:
        """Serve it no more."""


class ActionServer(Protocol):
    """An action that a peer hosts."""

    def answer(self, token: int, *, accepted: bool) -> None:
        """Accept or reject the goal of a token."""

    def feedback(self, token: int, cdr: bytes) -> None:
        """Publish feedback on a goal."""

    def finish(self, token: int, status: int, cdr: bytes | None) -> None:
        """End a goal; without CDR the result has its defaults."""

    def close(self) -> None:
        """Serve it no more; its goals are aborted."""
