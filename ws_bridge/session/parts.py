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
What a session is put together from.

A part has the state of one row of the house (subscriptions, services, heartbeats ...) and carries
out the operations of that row. It knows the other parts only by what its constructor takes.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, get_args, Protocol

from ws_bridge.protocol.operations import Operation
from ws_bridge.session.effects import Effect

Handler = Callable[[Any, Any, float], list[Effect]]
Handlers = Mapping[type, Handler]
"""By the class of an operation: the method that takes it, and the monotonic time, s."""


class Handling(Protocol):
    """What carries out operations."""

    HANDLERS: ClassVar[Handlers]


class Part:
    """A part without operations, deadlines and belongings; each kind has some of them."""

    __slots__ = ()
    HANDLERS: ClassVar[Handlers] = {}

    def deadlines(self) -> Iterable[float]:
        """Give the times at which :meth:`poll` is due, monotonic seconds."""
        return ()

    def poll(self, now: float) -> list[Effect]:
        """Return what the passing of time brings; asked only of a part that has deadlines."""
        return []

    def close(self) -> list[Effect]:
        """Forget what the peer made; return the effects that take it back."""
        return []


@lru_cache(8)
def table_of(parts: tuple[type[Handling], ...],
             operations: tuple[type, ...] = get_args(Operation)
             ) -> Mapping[type, tuple[int, Handler]]:
    """
    Return which of the parts, by its place, carries out what; the same table for all sessions.

    :raises TypeError: an operation has no handler, or two; or it is none.
    """
    table: dict[type, tuple[int, Handler]] = {}
    for place, part in enumerate(parts):
        for operation, handler in part.HANDLERS.items():
            if operation in table:
                raise TypeError(f'{operation.__name__} has two handlers')
            table[operation] = place, handler
    wrong = {operation.__name__ for operation in table.keys() ^ set(operations)}
    if wrong:
        raise TypeError(f'{", ".join(sorted(wrong))}: no operation, or one without a handler')
    return table
