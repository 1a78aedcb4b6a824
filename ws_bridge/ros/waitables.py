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
What the executor of a node waits for beside rclpy's own entities.

- :class:`ExecutorWait`: entities that :class:`~ws_bridge.ros.rcl.EntityMaker` has made and that
  the pump does not take from.
- :class:`GraphBell`: changes of the graph. A look at 1,000 topics takes 24 ms, where names are not
  expanded and checked again (else 40).
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
import ctypes
import os
from typing import Any, TYPE_CHECKING

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.waitable import NumberOfEntities, Waitable

from ws_bridge.ros.arrivals import EXTENSION
from ws_bridge.ros.rcl import CdrTaker, FreeHandle, in_a_line, Unsupported

if TYPE_CHECKING:
    _Waitable = Waitable[Any]  # type: ignore[type-arg, unused-ignore]   # rclpy 7.1: no types
else:
    _Waitable = Waitable    # rclpy 7.1 has it without types


class ExecutorWait(_Waitable):
    """
    Has the executor of a node wait for entities that rclpy's wait set does not take.

    Executor thread. An entity that is destroyed is waited for no more.

    :ivar taker: takes samples on this thread: memory is kept for each thread.
    """

    def __init__(self) -> None:
        super().__init__(ReentrantCallbackGroup())
        self.taker = CdrTaker()
        self._take: dict[FreeHandle, Callable[[], None]] = {}
        self._held = ExitStack()
        self._ready: list[FreeHandle] = []

    def __repr__(self) -> str:
        return f'ExecutorWait({len(self._take)} entities)'

    def add(self, handle: FreeHandle, take: Callable[[], None]) -> None:
        """Have ``take`` called when an entity has something."""
        self._take[handle] = take

    def __enter__(self) -> None:
        """Keep what is waited for from being destroyed."""
        for handle in list(self._take):
            try:
                self._held.enter_context(handle)
            except InvalidHandle:
                del self._take[handle]

    def __exit__(self, *_: object) -> None:
        """Wait no more."""
        self._held.close()

    def get_num_entities(self) -> NumberOfEntities:
        """Return how many there are."""
        clients = sum(handle.kind == 'client' for handle in self._take)
        return NumberOfEntities(num_subs=len(self._take) - clients, num_clients=clients)

    def add_to_wait_set(self, wait_set: Any) -> None:
        """Have all waited for."""
        for handle in self._take:
            handle.wait_in(wait_set.pointer)

    def is_ready(self, wait_set: Any) -> bool:
        """Return whether any has something."""
        ready = {kind: set(wait_set.get_ready_entities(kind))
                 for kind in ('subscription', 'client')} if self._take else {}
        self._ready = [handle for handle in self._take if handle.pointer in ready[handle.kind]]
        return bool(self._ready)

    def take_data(self) -> list[FreeHandle]:
        """Return those that have something."""
        return self._ready

    async def execute(self, taken_data: list[FreeHandle]) -> None:
        """Take from each; what one cannot take keeps the others for the next round."""
        for handle in taken_data:
            take = self._take.get(handle)
            if take is not None:
                with suppress(InvalidHandle), handle:
                    take()


class GraphBell(_Waitable):
    """
    Waits, in the wait set of the node's executor, for rcl's guard condition of the graph.

    The condition stays triggered until it is waited for. It is waited for while the bell is armed.

    :param ring: is called once for each time that it was armed (executor thread).
    :raises Unsupported: it cannot be had.
    """

    def __init__(self, node: Node, ring: Callable[[], None]) -> None:
        super().__init__(node.default_callback_group)
        self._ring = ring
        self._is_armed = False
        self._index = ctypes.c_size_t()
        try:
            rcl = ctypes.CDLL('librcl.so', mode=os.RTLD_NOLOAD)
            find = rcl.rcl_node_get_graph_guard_condition
            self._add = rcl.rcl_wait_set_add_guard_condition
            pointer = node.handle.pointer
        except (OSError, AttributeError) as exc:
            raise Unsupported(str(exc)) from exc
        find.argtypes, find.restype = [ctypes.c_void_p], ctypes.c_void_p
        self._add.argtypes, self._add.restype = [ctypes.c_void_p] * 3, ctypes.c_int
        self._condition = find(pointer)
        try:
            self._try(node.context.handle)
        except (AttributeError, TypeError, RuntimeError) as exc:
            raise Unsupported(in_a_line(exc)) from exc
        node.add_waitable(self)

    def __repr__(self) -> str:
        return f'<GraphBell {"armed" if self._is_armed else "not armed"}>'

    def __enter__(self) -> None:
        """Do nothing: the condition is there as long as the node."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def arm(self) -> None:
        """Ring at the next change, or at once if there was one since it rang."""
        self._is_armed = True

    def get_num_entities(self) -> NumberOfEntities:
        """Return what it adds."""
        return NumberOfEntities(num_gcs=int(self._is_armed))

    def add_to_wait_set(self, wait_set: Any) -> None:
        """Add the condition, if it is armed."""
        if self._is_armed and self._add(wait_set.pointer, self._condition,
                                        ctypes.byref(self._index)):
            self._is_armed = False      # the executor goes on without it
            raise RuntimeError('rcl does not wait for changes of the graph')

    def is_ready(self, wait_set: Any) -> bool:
        """Return whether the graph has changed."""
        return self._is_armed and bool(wait_set.is_ready('guard_condition', self._index.value))

    def take_data(self) -> None:
        """Wait for it no more."""
        self._is_armed = False

    async def execute(self, taken_data: None) -> None:
        """Ring."""
        self._ring()

    def _try(self, context: Any) -> None:
        self._is_armed = True
        waiting = EXTENSION.WaitSet(0, 1, 0, 0, 0, 0, context)
        with waiting:
            waiting.clear_entities()
            self.add_to_wait_set(waiting)
            waiting.wait(0)
            self.is_ready(waiting)
        self._is_armed = False
