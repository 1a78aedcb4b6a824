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
What waits until a subscription or a service has something to take.

A port is what is waited for and taken from: the handle of an entity, or what stands for it.

- :class:`Bells` costs what is ready, however many sources there are: the middleware rings when a
  sample comes. Its callback is a function of the C library that writes to a file descriptor, so
  no Python code runs in the middleware's threads.
- :class:`WaitSet` serves where that cannot be had: all sources are added, waited for and looked
  at in each turn.

:class:`~ws_bridge.ros.public_access.Inboxes` needs nothing that is private in rclpy.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
import ctypes
from importlib import import_module
import os
import select
import sys
from typing import Any, Protocol

from rclpy.context import Context
from rclpy.guard_condition import GuardCondition

from ws_bridge.ros.rcl import FreeHandle, Unsupported

EXTENSION: Any = None
with suppress(ImportError):
    EXTENSION = import_module('rclpy.impl.implementation_singleton').rclpy_implementation
"""rclpy's classes in C++; ``None``: this rclpy has them elsewhere, as the start says."""
BELLS_OF_FILES = 8
"""
One of so many of the files that the process may open is a bell of the pump, one of the loop.

Beyond that sources share one: all of them are tried when it rings, which costs 2 us each.
"""

_EDGE = select.EPOLLIN | select.EPOLLET
_MUTE = -1
"""A file that is none: to ring it does nothing."""
_SETTERS = {'subscription': 'rcl_subscription_set_on_new_message_callback',
            'service': 'rcl_service_set_on_new_request_callback'}


class Waited(Protocol):
    """
    A source as it is waited for.

    :ivar kind: ``subscription`` or ``service``.
    :ivar port: see :class:`Tap`.
    """

    kind: str
    port: Any

    def take(self, batch: list[Any], now: float) -> tuple[int, int]:
        """Append what is ready to a batch; return its count and bytes."""


class Arrivals(Protocol):
    """Which sources have something to take; used on one thread, but for :meth:`wake`."""

    def watch(self, sources: Sequence[Waited]) -> None:
        """
        Wait for these sources from now on, and no others.

        :raises Unsupported: it cannot.
        """

    def wait(self, *, for_sources: bool = True) -> list[Waited]:
        """
        Wait until something comes, or :meth:`wake` is called.

        :param for_sources: whether samples count; those that come meanwhile are not forgotten.
        :return: the sources that may have something, each at most once.
        """

    def again(self, source: Waited) -> None:
        """Report a source once more: not everything was taken."""

    def wake(self) -> None:
        """End a :meth:`wait`, the next one if there is none now (any thread)."""

    def close(self) -> None:
        """Give everything back."""


class Bells:
    """
    The middleware rings for each sample; used on one thread, but for :meth:`wake`.

    A bell is an ``eventfd``, reported once each time something was written to it: what it counts
    is never read. The pump waits for its bells; the loop has others among its sockets.

    :raises Unsupported: not on this system.
    """

    def __init__(self) -> None:
        self._setters, self._ring = _library()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll, self._poll_wake = select.epoll(), select.epoll()
        for poll in (self._poll, self._poll_wake):
            poll.register(self._wake, _EDGE)
        self._most = max(_files() // BELLS_OF_FILES, 1)
        self._bells: dict[int, dict[Waited, None]] = {}     # the sources of a bell
        self._bell_of: dict[Waited, int] = {}

    def __repr__(self) -> str:
        return f'Bells({len(self._bell_of)} sources, {len(self._bells)} bells)'

    def watch(self, sources: Sequence[Waited]) -> None:
        """
        Wait for these sources from now on, and no others.

        :raises Unsupported: the middleware cannot ring.
        """
        for source in self._bell_of.keys() - set(sources):
            self.remove(source)
        for source in sources:
            if source not in self._bell_of:
                self.add(source)

    def wait(self, *, for_sources: bool = True) -> list[Waited]:
        """
        Wait until something comes, or :meth:`wake` is called.

        :param for_sources: whether samples count; those that come meanwhile are not forgotten.
        :return: the sources that may have something, each at most once.
        """
        if not for_sources:
            self._poll_wake.poll()
            return []
        return self.ready(-1)

    def fileno(self) -> int:
        """Return a file descriptor that can be read when :meth:`ready` has something."""
        return self._poll.fileno()

    def ready(self, timeout: float = 0) -> list[Waited]:
        """
        Return the sources that may have something, each at most once.

        :param timeout: how long to wait until something comes, s; below 0 = as long as it takes.
        """
        ready: list[Waited] = []
        for bell, _ in self._poll.poll(timeout):
            ready += self._bells.get(bell, ())
        return ready

    def again(self, source: Waited) -> None:
        """Report a source once more: not everything was taken."""
        os.eventfd_write(self._bell_of[source], 1)

    def wake(self) -> None:
        """End a :meth:`wait`, the next one if there is none now (any thread)."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Give everything back."""
        for source in list(self._bell_of):
            self.remove(source)
        self._poll.close()
        self._poll_wake.close()
        os.close(self._wake)

    def add(self, source: Waited) -> None:
        """
        Wait for one more source.

        :raises Unsupported: the middleware cannot ring.
        """
        handle = source.port
        handle.__enter__()      # so that it is not destroyed meanwhile
        try:
            bell = self._bell()
        except Unsupported:
            handle.__exit__(None, None, None)
            raise
        self._bells[bell][source] = None
        self._bell_of[source] = bell
        if self._setters[source.kind](handle.pointer, self._ring, bell):
            self.remove(source)
            raise Unsupported('the middleware reports no new messages')
        os.eventfd_write(bell, 1)       # for what came before

    def _bell(self) -> int:
        """
        Return a bell for one more source.

        :raises Unsupported: there are no files for any.
        """
        if len(self._bells) < self._most:
            try:
                bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            except OSError as exc:
                if not self._bells:
                    raise Unsupported(str(exc)) from exc
                self._most = len(self._bells)
            else:
                self._bells[bell] = {}
                self._poll.register(bell, _EDGE)
                return bell
        return min(self._bells, key=lambda each: len(self._bells[each]))

    def remove(self, source: Waited) -> None:
        """Wait for a source no more."""
        # When this returns no thread of the middleware rings the bell, nor will one. Without a
        # callback it would call what is not there, if a request came in the meantime.
        self._setters[source.kind](source.port.pointer, self._ring, _MUTE)
        source.port.__exit__(None, None, None)
        bell = self._bell_of.pop(source)
        del self._bells[bell][source]
        if not self._bells[bell]:
            del self._bells[bell]
            self._poll.unregister(bell)
            os.close(bell)


class WaitSet:
    """
    A wait set for all sources; used on one thread, but for :meth:`wake`.

    :param context: an initialised context.
    """

    def __init__(self, context: Context) -> None:
        self._context: Any = context.handle
        self._guard = GuardCondition(None, None, context=context)
        self._held = ExitStack()
        self._sources: list[Waited] = []
        self._by_pointer: dict[int, Waited] = {}
        self._wait_set: Any = None

    def __repr__(self) -> str:
        return f'WaitSet({len(self._sources)} sources)'

    def watch(self, sources: Sequence[Waited]) -> None:
        """Wait for these sources from now on, and no others."""
        self._held.close()
        self._sources = list(sources)
        self._held.enter_context(self._context)
        self._held.enter_context(self._guard.handle)
        for source in sources:
            self._held.enter_context(source.port)
        self._by_pointer = {source.port.pointer: source for source in sources}
        services = sum(source.kind == 'service' for source in sources)
        self._wait_set = EXTENSION.WaitSet(len(sources) - services, 1, 0, 0, services, 0,
                                           self._context)
        self._held.enter_context(self._wait_set)

    def wait(self, *, for_sources: bool = True) -> list[Waited]:
        """
        Wait until something comes, or :meth:`wake` is called.

        :param for_sources: whether samples count; those that come meanwhile are not forgotten.
        :return: the sources that have something, each once.
        """
        waiting = self._wait_set
        waiting.clear_entities()
        kinds: set[str] = set()
        if for_sources:
            add = {'subscription': waiting.add_subscription, 'service': waiting.add_service}
            for source in self._sources:
                if isinstance(source.port, FreeHandle):
                    source.port.wait_in(waiting.pointer)
                else:
                    add[source.kind](source.port)
                kinds.add(source.kind)
        waiting.add_guard_condition(self._guard.handle)
        waiting.wait(-1)
        return [self._by_pointer[pointer] for kind in kinds
                for pointer in waiting.get_ready_entities(kind)]

    def again(self, source: Waited) -> None:
        """Do nothing: what has still something is ready in any case."""

    def test(self, source: Waited) -> None:
        """
        Wait for a source and a wake-up that has come.

        :raises Unsupported: it is not reported.
        """
        self.watch([source])
        self.wake()
        waiting = self._wait_set
        waiting.clear_entities()
        waiting.add_subscription(source.port)
        waiting.add_guard_condition(self._guard.handle)
        waiting.wait(0)
        waiting.get_ready_entities('subscription')
        if self._guard.handle.pointer not in waiting.get_ready_entities('guard_condition'):
            raise Unsupported('a wait set does not report what is ready')

    def wake(self) -> None:
        """End a :meth:`wait`, the next one if there is none now (any thread)."""
        self._guard.trigger()

    def close(self) -> None:
        """Give everything back."""
        self._held.close()
        self._guard.destroy()


def _files() -> int:
    """Return how many files the process may open."""
    import resource  # only where there is an eventfd
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def _library() -> tuple[dict[str, Callable[..., int]], int]:
    """
    Return the functions of rcl that set a callback, and the address of one that rings.

    rcl calls ``void (*)(const void * user_data, size_t events)``. ``eventfd_write`` takes an
    ``int`` and a ``uint64_t``: in registers, on every system of 64 bits, that is the same.

    :raises Unsupported: not on this system.
    """
    if not hasattr(os, 'eventfd') or sys.maxsize < 2 ** 32:
        raise Unsupported('there is no eventfd on this system')
    try:
        rcl = ctypes.CDLL('librcl.so', mode=os.RTLD_NOLOAD)
        setters = {kind: getattr(rcl, name) for kind, name in _SETTERS.items()}
        ring = ctypes.cast(ctypes.CDLL(None).eventfd_write, ctypes.c_void_p).value
    except (OSError, AttributeError) as exc:
        raise Unsupported(str(exc)) from exc
    for setter in setters.values():
        setter.argtypes = [ctypes.c_void_p] * 3
        setter.restype = ctypes.c_int
    assert ring is not None
    return setters, ring
