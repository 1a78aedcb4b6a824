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
The thread that stops the robot when commands cease.

It waits on a steady clock (by ``select``: locks with a timeout follow the system clock in older
Pythons) and needs neither the asyncio loop nor the executor.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
import selectors
import socket
import threading
import time
from typing import Any, TYPE_CHECKING

from ws_bridge.ros.guard import ACKED_WITHIN, Guard, Stopped

if TYPE_CHECKING:
    from ws_bridge.gate_policy import LossStep
    from ws_bridge.ros.status import Diagnostic

END_WITHIN = 0.3  # s, for what ladders still have to say at the shutdown
AFTER_FAULT = 0.05  # s, then a guard that failed is looked at again


class Watchdog:
    """
    The thread that polls every guard when it is due.

    :param post: runs a function on the loop thread.
    :param on_fault: called there with exceptions that should not have been.
    :param now: ROS time, for stamps of headers.
    :param prepare: returns what calls the service of a rung (any thread, without waiting).
    :ivar halted: no command passes.
    """

    def __init__(self, *, post: Callable[..., None], on_fault: Callable[[BaseException], None],
                 now: Callable[[], tuple[int, int]],
                 prepare: Callable[[LossStep], Callable[[], None]]) -> None:
        self.halted = False
        self._post = post
        self._now = now
        self._on_fault = on_fault
        self._prepare = prepare
        self._guards: tuple[Guard, ...] = ()
        self._reasons: deque[str] = deque()
        self._end: float | None = None
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name='ws_bridge watchdog', daemon=True)

    def __repr__(self) -> str:
        return f'<Watchdog {"halted" if self.halted else "on"}, {len(self._guards)} guards>'

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def guard(self, name: str, timeout: float, steps: tuple[LossStep, ...],
              on_stopped: Stopped) -> Guard:
        """
        Give a gate its guard, on the loop thread.

        :param timeout: silence of a topic that moves something, then the guard stops, s.
        :param steps: the ladder.
        :param on_stopped: told on the loop, when something moved: the guard, why (``timeout`` if
            nobody said), how many subscribers the stopped topics have, and how long ago the last
            moving command was, s.
        :raises UnknownType: a rung's service type is not on this machine.
        :raises ConversionError: a rung's request does not fit it.
        :raises BadName: a rung's service has a wrong name.
        """
        calls = {index: self._prepare(step) for index, step in enumerate(steps)
                 if step.action == 'service'}
        guard = Guard(name, timeout, steps, on_stopped, self, calls)
        self._guards = *(each for each in self._guards if not each.gone), guard
        return guard

    def stop_all(self, reason: str) -> None:
        """
        Stop every guard and let no command pass until :meth:`resume`.

        From any thread and from signal handlers: the watchdog's thread does it, at once.
        """
        self.halted = True
        self._reasons.append(reason)
        self.wake()

    def resume(self) -> None:
        """End a halt; not after :meth:`close`."""
        self.halted = self._end is not None

    def close(self, reason: str = 'shutdown') -> bool:
        """
        Stop every guard, say the rest of the ladders as far as there is time, end the thread.

        :return: whether it has ended.
        """
        self.halted = True
        self._end = time.monotonic() + END_WITHIN
        for guard in self._guards:
            try:
                guard.stop(reason)
            except Exception as exc:  # noqa: BLE001 - the others have to stop all the same
                self.fault(exc)
        self.wake()
        self._thread.join(END_WITHIN + 2 * ACKED_WITHIN)
        return not self._thread.is_alive()

    def diagnostics(self) -> list[Diagnostic]:
        """Return a row a guard."""
        return [guard.diagnostic() for guard in self._guards if not guard.gone]

    # for the guards

    def post(self, action: Callable[..., None], *args: Any) -> None:
        """Run a function on the loop thread."""
        self._post(action, *args)

    def now(self) -> tuple[int, int]:
        """Return ROS time."""
        return self._now()

    def wake(self) -> None:
        """Have the thread look at what is due (any thread, signal handlers)."""
        try:
            self._writer.send(b'\0')
        except OSError:  # full: it will wake anyway; closed: it has ended
            return

    def fault(self, exc: BaseException) -> None:
        """Report what should not have been."""
        self.post(self._on_fault, exc)

    # the thread

    def _run(self) -> None:
        with self._reader, self._writer, selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            while True:
                due = self._look()
                if self._end is not None and (due is None or time.monotonic() >= self._end):
                    break
                wait = None if due is None else max(due - time.monotonic(), 0.0)
                if selector.select(wait):
                    self._reader.recv(4096)
        for guard in self._guards:
            guard.settle()

    def _look(self) -> float | None:
        """Poll every guard; return when the next one is due."""
        reasons = [self._reasons.popleft() for _ in range(len(self._reasons))]
        dues = []
        for guard in self._guards:
            try:
                for reason in reasons:
                    guard.stop(reason)
                due = guard.poll(time.monotonic())
            except Exception as exc:  # noqa: BLE001 - the edge of a thread: reported
                self.fault(exc)
                due = time.monotonic() + AFTER_FAULT
            if due is not None:
                dues.append(due)
        return min(dues, default=None)
