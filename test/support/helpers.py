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
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
import os
from pathlib import Path
import socket
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


DOMAINS = 100
"""ROS domains from 1 on whose ports the kernel gives to no connection."""
FIRST_PORT, PORTS = 7400, 250
"""Of UDP, that DDS has for a domain: so many from ``FIRST_PORT + domain * PORTS`` on."""
PORT_TABLES = ('/proc/net/udp', '/proc/net/udp6')

claims: list[socket.socket] = []
"""What keeps other runs away from the domains of this process, as long as it lives."""
_other: list[int] = []


def choose_domain(environment: MutableMapping[str, str], pid: int) -> None:
    """
    Set the ROS domain of this process: the one that was given and no other, else one of its own.

    In its own there is nobody else: no worker of this run, no other run and no robot.
    """
    given = environment.setdefault(GIVEN, environment.get('ROS_DOMAIN_ID', ''))
    if not given:
        environment['ROS_DOMAIN_ID'] = str(free_domain(pid))


def other_domain() -> int:
    """Return a second ROS domain, or skip: one that was given is used alone."""
    if os.environ.get(OTHER):
        return int(os.environ[OTHER])
    if os.environ[GIVEN]:
        pytest.skip(f'ROS_DOMAIN_ID is given, and a second domain, {OTHER}, is not')
    if not _other:
        _other.append(free_domain(int(os.environ['ROS_DOMAIN_ID'])))
    return _other[0]


def free_domain(start: int) -> int:
    """
    Return a ROS domain in which nobody is, and keep other runs of the tests away from it.

    :param start: where to begin to look.
    """
    used = used_domains()
    for number in range(DOMAINS):
        domain = (start + number) % DOMAINS + 1
        if domain not in used and _claim(domain):
            return domain
    raise AssertionError(f'no ROS domain is free: {sorted(used)} have nodes')


def used_domains() -> set[int]:
    """Return the ROS domains of which a program of this machine has a port."""
    ports: set[int] = set()
    for path in map(Path, PORT_TABLES):
        if path.exists():
            ports.update(int(line.split()[1].rpartition(':')[2], 16)
                         for line in path.read_text().splitlines()[1:])
    return {(port - FIRST_PORT) // PORTS for port in ports if port >= FIRST_PORT}


def _claim(domain: int) -> bool:
    """Take a domain, unless another run has it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f'\0tests of ws_bridge in the ROS domain {domain}')
    except OSError:
        claim.close()
        return False
    claims.append(claim)
    return True


def remove_segments(dead: Mapping[str, Collection[Path]]) -> None:
    """
    Remove segments of shared memory that nobody has any more.

    Ports stay. The next process takes the name of a dead one, perhaps between the look and the
    removal, which may be minutes on a machine that suspends this process. It would hear nobody.

    :param dead: files by the name of the segment or port.
    """
    for name, paths in dead.items():
        if 'port' not in name:
            for path in paths:
                with suppress(OSError):     # another worker was faster, or it is another user's
                    path.unlink()


def open_files() -> int:
    """
    Return how many files this process has open.

    Without those of shared memory, which threads of Fast DDS open for a moment when nodes come.
    """
    count = 0
    for name in os.listdir('/proc/self/fd'):
        with suppress(FileNotFoundError):       # it was open for the list, or for a moment
            count += not os.readlink(f'/proc/self/fd/{name}').startswith('/dev/shm/')
    return count


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


def tries(timeout: float = PATIENCE) -> Iterator[None]:
    """
    Let a ``for`` try until time is up, at least twice.

    A number of tries is no limit: a hundred may be over before other processes were found.
    """
    limit = Limit(timeout)
    yield
    yield
    while not limit.is_over():
        yield


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
        from support.participants import LOCK
        # shutdown() beside a spinning thread takes away what a callback still needs: stop first.
        self.run(self._stop)
        self._thread.join(PATIENCE)
        self.executor.shutdown()
        with LOCK:
            self.node.destroy_node()
        self.context.try_shutdown()
        assert not self._thread.is_alive(), 'the executor does not stop'
