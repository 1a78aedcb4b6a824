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
"""What several test files need: waiting for a state with a limit, and a node that spins."""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, MutableMapping
from concurrent.futures import Future
import os
import sys
import threading
import time
from types import TracebackType
from typing import Any, TypeVar

import pytest

Value = TypeVar('Value')

# Discovery takes up to 3 s on a busy machine; a test that waits longer has found a fault.
PATIENCE = 15.0
INTERVAL = 0.005

GIVEN = 'WS_BRIDGE_TEST_DOMAIN'
"""Set by the first process of a run: the ROS domain that it was given, empty where it chooses."""
OTHER = 'WS_BRIDGE_OTHER_DOMAIN_ID'
"""The second domain that tests may use beside one that they were given."""


def choose_domain(environment: MutableMapping[str, str], pid: int) -> None:
    """
    Set the ROS domain of this process: the one that was given and no other, else one of its own.

    Workers of one run that chooses have a domain each, with which :func:`other_domain` of none
    collides.
    """
    given = environment.setdefault(GIVEN, environment.get('ROS_DOMAIN_ID', ''))
    if not given:
        base = int(environment.setdefault('ROS_DOMAIN_ID', str(pid % 100 + 1)))
        worker = environment.get('PYTEST_XDIST_WORKER', '').removeprefix('gw')    # gw0, gw1, ...
        if worker:
            environment['ROS_DOMAIN_ID'] = str((base - 1 + 13 * int(worker)) % 100 + 1)


def other_domain() -> int:
    """Return a second ROS domain, or skip: one that was given is used alone."""
    if os.environ.get(OTHER):
        return int(os.environ[OTHER])
    if os.environ[GIVEN]:
        pytest.skip(f'ROS_DOMAIN_ID is given, and a second domain, {OTHER}, is not')
    return (int(os.environ['ROS_DOMAIN_ID']) + 49) % 100 + 1


class Limit:
    """
    The limit of a wait, which counts only time in which this process has run.

    A machine may suspend a process, or give it no processor, for longer than any limit of a test.
    Then it has not looked in vain.

    :param timeout: the limit, s.
    """

    LONGEST = 1.0
    """So much counts of the time between two looks, s."""

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = timeout
        self._looked_at = clock()

    def is_over(self) -> bool:
        """Tell whether to give up (after each look)."""
        now = self._clock()
        self._left -= min(now - self._looked_at, self.LONGEST)
        self._looked_at = now
        return self._left < 0


def _give_up(timeout: float, why: str | Callable[[], object]) -> AssertionError:
    return AssertionError(f'not within {timeout:g} s: {why() if callable(why) else why}')


def wait_until(predicate: Callable[[], Value], timeout: float = PATIENCE,
               why: str | Callable[[], object] = 'the awaited state') -> Value:
    """
    Poll until ``predicate`` gives something true, and return that.

    :param timeout: the limit, s.
    :param why: what was awaited, for the error; a function is called when time is up.
    :raises AssertionError: when time is up.
    """
    limit = Limit(timeout)
    while not (value := predicate()):
        if limit.is_over():
            raise _give_up(timeout, why)
        time.sleep(INTERVAL)
    return value


async def async_wait_until(predicate: Callable[[], Value], timeout: float = PATIENCE,
                           why: str | Callable[[], object] = 'the awaited state') -> Value:
    """Do as :func:`wait_until` does, while the event loop goes on."""
    limit = Limit(timeout)
    while not (value := predicate()):
        if limit.is_over():
            raise _give_up(timeout, why)
        await asyncio.sleep(INTERVAL)
    return value


class SpinningNode:
    """
    A node in its own ``Context``, spun by a ``SingleThreadedExecutor`` in an own thread.

    A context manager; :attr:`node`, :attr:`context` and :attr:`executor` are there inside it.

    :param name: the node's name.
    :param make: the node's class; ``rclpy.node.Node`` if ``None``.
    :param options: further keyword arguments of that class.
    """

    def __init__(self, name: str, make: Callable[..., Any] | None = None, **options: Any) -> None:
        # Imported late: the pure tests run without ROS.
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        self.context = Context()
        self.context.init(args=[])
        self.node = (make or Node)(name, context=self.context, **options)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._stopped = False
        self._tasks: deque[Callable[[], object]] = deque()
        self._thread = threading.Thread(target=self._spin, name=f'spin {name}')

    def _spin(self) -> None:
        while not self._stopped:
            try:
                self.executor.spin_once()
            except Exception:  # noqa: BLE001 - the test fails; those that share the node go on
                threading.excepthook(threading.ExceptHookArgs(
                    (*sys.exc_info(), threading.current_thread())))

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function on the thread that spins the node, in order, and have it look again."""
        self._tasks.append(lambda: function(*args))
        self.executor.create_task(self._run_tasks)

    def call(self, function: Callable[..., Value], *args: Any) -> Value:
        """
        Do as :meth:`run` does; return what the function returns.

        rclpy's ActionClient, for one, is in the node before it is complete.
        """
        done: Future[Value] = Future()

        def act() -> None:
            try:
                done.set_result(function(*args))
            except Exception as exc:  # noqa: BLE001 - handed on
                done.set_exception(exc)
        self.run(act)
        return done.result(PATIENCE)

    def _run_tasks(self) -> None:
        # Jazzy runs its newest task first: the order is ours
        while self._tasks:
            self._tasks.popleft()()
        self.executor.wake()

    def _stop(self) -> None:
        self._stopped = True

    def __enter__(self) -> SpinningNode:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop spinning, then close the node, then the context: in the order of their need."""
        # shutdown() beside a spinning thread takes away what a callback still needs: stop first.
        self.run(self._stop)
        self._thread.join(PATIENCE)
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()
        assert not self._thread.is_alive(), 'the executor does not stop'
