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
"""Files that Fast DDS processes left in shared memory when they were killed."""
from __future__ import annotations

import fcntl
from pathlib import Path
import re
import time

FOLDER = Path('/dev/shm')
YOUNG = 10.0
"""A file without a lock beside it may be about to get one for so long, s."""
_NAME = re.compile(r'(?:sem\.)?((?:fastrtps|fastdds)_[^_]+)(?:_el|_sl|_mutex)?')
_LOCKS = ('_el', '_sl')
"""Endings of the files that a living process holds a lock of, also one of another container."""


def dead_files(folder: Path = FOLDER) -> dict[str, list[Path]]:
    """Return the files of each segment or port that no living process has, by its name."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.glob('*')):
        name = _NAME.fullmatch(path.name)
        if name is not None:
            groups.setdefault(name[1], []).append(path)
    return {name: paths for name, paths in groups.items() if not any(map(_is_kept, paths))}


def _is_kept(path: Path) -> bool:
    """Whether a process has, or is about to have, this file; so for what cannot be looked at."""
    try:
        if time.time() - path.stat().st_ctime < YOUNG:
            return True
        if path.name.endswith(_LOCKS):
            with path.open('rb') as opened:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:         # it is locked, or another user's
        return True
    return False
