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
"""The audit log: who held what, every refusal, every stop; JSON lines, rotated, bounded."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import errno
from io import TextIOWrapper
import logging
from logging.handlers import RotatingFileHandler
import os
import stat
import sys

import orjson

from ws_bridge.errors import ConfigError

KEPT_FILES = 5
TOGETHER = 1.0
"""s in which events of one kind are one line, with their number."""
KIND = ('gate', 'peer', 'address', 'action', 'code')
"""The fields in which events of one kind are the same."""
MOST_KINDS = 1000
"""Kinds within that time; further ones are counted together."""

USUAL = ('lease', 'open', 'login', 'ticket', 'clock', 'close', 'connection_refused', 'recording',
         'recorded', 'recording_sent', 'resume', 'session_ended', 'untold')
"""What is no reason for a warning."""

logger = logging.getLogger(__name__)

_NOTHING = logging.LogRecord('audit', logging.ERROR, '', 0, '', None, None)

Kind = tuple[str, tuple[tuple[str, object], ...]]
"""An event, and its fields of :data:`KIND`."""


@dataclass(slots=True)
class Repeated:
    """
    An event that may come often.

    :ivar since: when it was written, monotonic, s; ``until``: when it came the last time.
    :ivar count: how often it came since.
    :ivar left: how many more are written at once.
    """

    since: float
    left: int = 0
    until: float = 0.0
    count: int = 0


class Audit:
    """
    Writes events as they happen; a peer that is refused all the time fills no disk.

    :param path: of the file; empty = only the log of the node gets the events.
    :param size: at which it is rotated, bytes.
    :param clock: monotonic time, s.
    :param epoch: Unix time at monotonic 0, s.
    :raises ConfigError: the file cannot be written.
    :ivar tap: gets each line too.
    """

    def __init__(self, path: str, size: int, clock: Callable[[], float], epoch: float) -> None:
        self._clock = clock
        self._epoch = epoch
        self._often: dict[Kind, Repeated] = {}
        self.tap: Callable[[dict[str, object]], None] | None = None
        self._handler: RotatingFileHandler | None = None
        if path:
            try:
                self._handler = _Handler(path, maxBytes=size, backupCount=KEPT_FILES,
                                         encoding='utf-8')
            except OSError as exc:
                reason = 'it is a symbolic link' if exc.errno == errno.ELOOP else exc.strerror
                raise ConfigError(f'cannot be written: {reason}', field='audit_file',
                                  file=path) from exc

    def __repr__(self) -> str:
        return f'Audit({self._handler!r})'

    def write(self, event: str, **fields: object) -> None:
        """
        Write an event.

        :param fields: with ``None`` are left out.
        """
        now = self._clock()
        self._line({'time': round(now + self._epoch, 6), 'event': event,
                    **{key: value for key, value in fields.items() if value is not None}},
                   logging.INFO if event in USUAL else logging.WARNING)

    def often(self, event: str, each: int = 1, /, **fields: object) -> None:
        """
        Write an event of which many may come.

        :param each: how many of its kind are written at once; the others are counted, until none
            came for :data:`TOGETHER`.
        """
        kind: Kind = event, tuple((key, fields[key]) for key in KIND if key in fields)
        if kind not in self._often and len(self._often) >= MOST_KINDS:
            fields = {key: value for key, value in fields.items() if key == 'code'}
            kind = event, tuple(fields.items())
        known = self._often.get(kind)
        if known is not None and known.left == 0:
            known.count += 1
            known.until = self._clock()
            return
        if known is None:
            known = self._often[kind] = Repeated(self._clock(), each)
        known.left -= 1
        self.write(event, **fields)

    def flush(self, *, everything: bool = False) -> None:
        """Write how many followed of the kinds that were written a while ago."""
        now = self._clock()
        for kind, known in list(self._often.items()):
            if not everything and now < known.since + TOGETHER:
                continue
            event, fields = kind
            if not known.count:
                del self._often[kind]
                continue
            self.write(event, **dict(fields), count=known.count,
                       until=round(known.until + self._epoch, 6))
            self._often[kind] = Repeated(now)

    def close(self) -> None:
        """Write what is left and close the file."""
        self.flush(everything=True)
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.close()

    def _line(self, fields: dict[str, object], level: int) -> None:
        text = orjson.dumps(fields).decode()
        logger.log(level, 'audit: %s', text)
        if self.tap is not None:
            self.tap(fields)
        if self._handler is not None:
            self._handler.emit(logging.LogRecord('audit', level, '', 0, text, None, None))


class _Handler(RotatingFileHandler):
    """
    Says in the node's log what goes wrong with the disk, once, and goes on.

    The file is its owner's alone. A symbolic link is not followed: who may write into the folder
    could have the bridge write anywhere.
    """

    failed = False

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, 'a', encoding=self.encoding, opener=_open_private)

    def close(self) -> None:
        try:
            super().close()
        except OSError:     # what waits cannot be written, as on a full disk
            self.handleError(_NOTHING)

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            logger.error('the audit log cannot be written: %s', sys.exc_info()[1])


def _open_private(path: str, flags: int) -> int:
    # Without waiting for who reads from a pipe.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
