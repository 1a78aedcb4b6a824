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
Who may reach which robots.  Pure.

A line has a name of who logs in, or a pattern of names, and patterns of robots::

    alice    r2d2,c3po
    night-*  *

The first line that matches a name counts. Without any line who has logged in may reach all.
"""
from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from ws_bridge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FleetAccess:
    """
    Tells who may reach which robots.

    :param lines: pattern of names, and patterns of robots; ``None`` = everybody may reach all.
    """

    lines: tuple[tuple[str, tuple[str, ...]], ...] | None = None

    def allows(self, name: str, robot: str) -> bool:
        """Whether somebody may know of a robot, and be connected with it."""
        if self.lines is None:
            return True
        robots = next((robots for pattern, robots in self.lines if fnmatchcase(name, pattern)), ())
        return any(fnmatchcase(robot, pattern) for pattern in robots)


def parse_access(text: str, source: str) -> FleetAccess:
    """
    Read the lines.

    :param source: names the text in errors.
    :raises ConfigError: a line is not a name and robots.
    """
    lines: list[tuple[str, tuple[str, ...]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith('#'):
            continue
        if len(words) != 2 or not all(words[1].split(',')):
            raise ConfigError('a line is: name, robots with commas and no blanks between them',
                              file=source, line=number)
        lines.append((words[0], tuple(words[1].split(','))))
    return FleetAccess(tuple(lines))
