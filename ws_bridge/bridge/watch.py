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
"""Files that are read again when they change: certificate, tokens, keys."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
import logging
import os

from ws_bridge.errors import ConfigError

INTERVAL = 2.0

logger = logging.getLogger(__name__)


class Watch:
    """
    Calls what reads some files anew when one of them has changed, or on demand.

    :param readers: the files, and what reads them; raises ``ConfigError`` and has then changed
        nothing.
    """

    def __init__(self, readers: Sequence[tuple[tuple[str, ...], Callable[[], None]]],
                 loop: asyncio.AbstractEventLoop, interval: float = INTERVAL) -> None:
        self._readers = readers
        self._loop = loop
        self._interval = interval
        self._seen = [_signs(files) for files, _ in readers]
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look each interval from now on, if there is anything to look at."""
        if self._readers:
            self._timer = self._loop.call_later(self._interval, self._look)

    def close(self) -> None:
        """Look no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def read(self) -> None:
        """Read everything again, changed or not."""
        for index, (files, _) in enumerate(self._readers):
            self._seen[index] = _signs(files)
            self._read(index)

    def _look(self) -> None:
        self.start()
        for index, (files, _) in enumerate(self._readers):
            signs = _signs(files)
            if signs != self._seen[index]:
                self._seen[index] = signs
                self._read(index)

    def _read(self, index: int) -> None:
        files, reader = self._readers[index]
        try:
            reader()
        except ConfigError as exc:
            logger.error('%s: what was read before still holds', exc)
        else:
            logger.info('read again: %s', ', '.join(files))


def _signs(files: tuple[str, ...]) -> tuple[object, ...]:
    """Return what is different when a file is; a file that is gone has no signs."""
    signs: list[object] = []
    for path in files:
        try:
            status = os.stat(path)
        except OSError:
            signs.append(None)
        else:
            signs.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(signs)
