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
"""What is used of rclpy's entities: their annotations differ from one rclpy to the next."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rclpy.duration import Duration


class PublisherHandle(Protocol):
    """A publisher."""

    def publish(self, msg: Any) -> None:
        """Publish a message, or its CDR."""

    def get_subscription_count(self) -> int:
        """Return how many subscribers are matched."""

    def wait_for_all_acked(self, timeout: Duration) -> bool:
        """Return whether the subscribers have everything, within a time."""


class FutureHandle(Protocol):
    """A result to come."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back with the future when it is done."""

    def cancelled(self) -> bool:
        """Return whether it was given up."""

    def result(self) -> Any:
        """Return the result; raise what went wrong."""


class ClientHandle(Protocol):
    """A service client."""

    @property
    def srv_type(self) -> Any:
        """The class of the service type."""

    def call_async(self, request: Any) -> Any:
        """Send a request; return the future of the response."""

    def remove_pending_request(self, future: Any) -> None:
        """Wait for a response no more."""

    def service_is_ready(self) -> bool:
        """Return whether a server is there."""
