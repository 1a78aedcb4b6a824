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
The command line: ``ws_bridge serve | demo | robot | check | topics | echo | pub | call | ping``.

Nothing here needs ROS; ``serve``, ``demo`` and ``robot`` import what does when they run.
"""
from __future__ import annotations

import os
import signal
import sys

__all__ = ['main']

NODES = ('serve', 'demo', 'robot', 'relay')
"""Commands that run until a signal ends them: done, whenever it comes."""


def main(argv: list[str] | None = None) -> int:
    """
    Run a command.

    :param argv: the words after ``ws_bridge``; ``None`` = those of this process. Everything from
        ``--ros-args`` on is for ROS and passed on as it is.
    :return: the exit code.
    """
    if argv is None and sys.argv[1:2] and sys.argv[1] in NODES:
        _end_quietly()
    from ws_bridge.cli.parser import main as run
    return run(argv)


def _end_quietly() -> None:
    """
    Have signals end the process while it only loads modules, which takes half a second.

    Nothing is to be undone yet; an exception would come up anywhere, in the middle of an import.
    SIGHUP asks to read files again: they are not read yet.
    """
    def end(*_: object) -> None:
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
