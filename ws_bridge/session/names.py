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
"""How a session learns what names mean."""
from __future__ import annotations

from typing import Protocol

from ws_bridge.protocol.operations import Kind


class Names(Protocol):
    """How names become fully qualified ones; ``topic`` and ``service`` raise ``BadName``."""

    def topic(self, name: str) -> str:
        """Expand and remap a topic, or find the topic of a channel's friendly name."""

    def service(self, name: str) -> str:
        """Expand and remap a service or an action."""

    def kind_of(self, name: str) -> Kind | None:
        """Tell what the graph has under this name; a topic where it has both."""
