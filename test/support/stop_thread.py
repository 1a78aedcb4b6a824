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
The stop process as a thread of the test's own process, for tests that are not about processes.

Discovery between processes of one machine takes up to 3 s, within one none.
``test/features/test_faults.py`` has the real one.
"""
from __future__ import annotations

from collections.abc import Callable
import os
import socket
import subprocess
import threading
from typing import Any

from rclpy.node import Node
from support.participants import guard, LOCK

from ws_bridge.stop_process import process

guard()


class StopNode(Node):
    """The node of the stop process."""

    def destroy_node(self) -> None:
        with LOCK:
            super().destroy_node()


process.Node = StopNode  # type: ignore[misc]


class StopThread:
    """What the watchdog needs of a ``subprocess.Popen``."""

    def __init__(self, fd: int, options: dict[str, Any]) -> None:
        self.pid = threading.get_native_id()
        self._socket = socket.socket(fileno=os.dup(fd))
        self._thread = threading.Thread(target=self._run, args=(options,), name='stop thread',
                                        daemon=True)
        self._thread.start()

    def _run(self, options: dict[str, Any]) -> None:
        with self._socket:
            process.run(self._socket, options, lambda: 'a thread')

    def kill(self) -> None:
        """End it: a socket that is shut down is the end of the bridge."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired('stop thread', timeout or 0.0)
        return 0


def launcher(name: str, namespace: str, domain: int, args: object,
             warn: object) -> Callable[[int], StopThread]:
    """Stand in for :func:`ws_bridge.ros.watchdog.launcher`."""
    options = {'domain': domain, 'name': f'{name}_stop', 'namespace': namespace, 'args': []}
    return lambda fd: StopThread(fd, options)
