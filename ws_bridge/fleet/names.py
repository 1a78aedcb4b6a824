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
"""The paths of a relay, and what a robot may be called.  Pure."""
from __future__ import annotations

import re

from ws_bridge.config.forms import FLEET_NAME

ROBOTS = '/robots'
"""The list; below it, each robot by its name."""
FLEET = '/fleet'
"""Where robots dial in: ``/fleet/NAME/INSTANCE``."""

_INSTANCE = re.compile(r'[0-9a-f]{16}')


def is_robot_name(text: str) -> bool:
    """Whether a robot of a fleet may have this name: it is a part of paths and of subjects."""
    return FLEET_NAME.fullmatch(text) is not None


def dialled_path(name: str, instance: str) -> str:
    """
    Return where a robot dials in.

    :param instance: says that it is the same bridge which comes again.
    """
    return f'{FLEET}/{name}/{instance}'


def robot_dialling(path: str) -> tuple[str, str] | None:
    """Return name and instance of a robot that dials in; ``None``: it is something else."""
    parts = path.partition('?')[0].split('/')
    if len(parts) != 4 or parts[0] or f'/{parts[1]}' != FLEET or \
            not is_robot_name(parts[2]) or not _INSTANCE.fullmatch(parts[3]):
        return None
    return parts[2], parts[3]


def robot_asked_for(path: str) -> tuple[str, str] | None:
    """
    Return the robot that an operator asks for, and the path below it.

    ``None``: the path is none of a robot; an empty rest has no slash.
    """
    page = path.partition('?')[0]
    if not page.startswith(f'{ROBOTS}/'):
        return None
    name, slash, rest = page[len(ROBOTS) + 1:].partition('/')
    return (name, slash + rest) if is_robot_name(name) else None
