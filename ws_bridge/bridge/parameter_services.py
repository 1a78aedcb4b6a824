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
"""The services by which every node lets others read and set its parameters, called in turns."""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, TYPE_CHECKING

from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import ConversionError, WsBridgeError

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

Answered = dict[str, Any] | WsBridgeError

AT_ONCE = 8
"""Calls of one service that may run at the same time."""
NODE_TIMEOUT = 2.0
"""How long a node may take to answer, s."""


class CallTurns:
    """
    Lets so many calls of one service run at once, and the others wait for their turn.

    A service takes requests from a queue of 10 (rmw's default): of a burst some would be lost.
    """

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        self._starting: set[str] = set()

    def begin(self, service: str, start: Callable[[], None]) -> None:
        """Start a call, now or later; :meth:`end` has to follow."""
        self._waiting.setdefault(service, deque()).append(start)
        self._start(service)

    def end(self, service: str) -> None:
        """Note the end of a call."""
        self._running[service] -= 1
        self._start(service)

    def _start(self, service: str) -> None:
        if service in self._starting:   # one that ended at once: the loop below goes on
            return
        self._starting.add(service)
        waiting = self._waiting[service]
        while waiting and self._running[service] < AT_ONCE:
            self._running[service] += 1
            waiting.popleft()()
        self._starting.discard(service)
        if not self._running[service]:
            del self._running[service], self._waiting[service]


class ParameterServices:
    """Calls them, whoever asks: whether that one may is another's affair."""

    def __init__(self, ros: RosSide, store: CodecStore) -> None:
        self._ros = ros
        self._store = store
        self._turns = CallTurns()

    def call(self, name: str, service: str, request: Mapping[str, Any],
             then: Callable[[Answered], None]) -> None:
        """
        Call a service.

        :param name: its full name.
        :param service: which of them it is: ``get_parameters``.
        :param then: gets the answer, or why there is none; perhaps before this returns.
        """
        short_type = service.title().replace('_', '')
        try:
            schema = self._ros.types.service(f'rcl_interfaces/srv/{short_type}')
            cdr = self._store.codec(schema.request).from_values(request)
            response = self._store.codec(schema.response)
        except WsBridgeError as exc:
            then(exc)
            return

        def on_done(result: bytes | WsBridgeError) -> None:
            self._turns.end(name)
            try:
                then(result if isinstance(result, WsBridgeError) else response.to_values(result))
            except ConversionError as exc:
                then(exc)

        def start() -> None:
            try:
                self._ros.call(name, schema.name, cdr, NODE_TIMEOUT, on_done)
            except WsBridgeError as exc:
                on_done(exc)
        self._turns.begin(name, start)
