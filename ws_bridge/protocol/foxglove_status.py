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
Statuses of the Foxglove dialect: what a client is told that it did not ask for.

A client shows a status until it is taken back. So each has an id, a refusal that comes with each
of many publications is told once a second, and what works again takes its status back.
"""
from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ws_bridge.errors import AlreadyExists, QosMismatch, WsBridgeError
from ws_bridge.timing.unix import SECOND

INFO, WARNING, ERROR = 0, 1, 2
"""Levels, as the protocol has them."""
INTERVAL = SECOND
"""Time between two statuses about the same channel, ns."""
MAX_STANDING = 1000

PASSING = frozenset({'expired', 'rate_limited', 'stopped', 'unavailable'})
"""The codes of commands that were not published after all; it is not said of which channel."""
_OFTEN = ('publish', 'data')
"""The kinds of identity under which many operations come."""
_WARNINGS = ('publish', 'unadvertise', *PASSING)


def level_of(kind: str, error: WsBridgeError) -> int:
    """Return how bad an error is, by the kind of the identity of what failed."""
    if kind in _WARNINGS or isinstance(error, (AlreadyExists, QosMismatch)):
        return WARNING
    return ERROR


def text_of(error: WsBridgeError) -> str:
    """Return code, field and reason."""
    return ': '.join(part for part in (error.code, error.field, error.message) if part)


class Statuses:
    """Those that one client was told and that still stand; the oldest of many are forgotten."""

    def __init__(self) -> None:
        self._standing: OrderedDict[str, int] = OrderedDict()
        self._over: list[str] = []

    def __repr__(self) -> str:
        return f'Statuses({", ".join(self._standing)})'

    def stands(self, status_id: str) -> bool:
        """Whether a client was told a status, and nothing else since."""
        return status_id in self._standing

    def waits(self, status_id: str) -> bool:
        """Hot path: whether a status stands that goes when a publication passes."""
        return bool(self._standing) and any(
            each in self._standing for each in (status_id, *PASSING))

    def of_failure(self, op_id: str, error: WsBridgeError, stamp: int) -> dict[str, Any] | None:
        """
        Return the status that an error becomes, ``None`` where it was told a moment ago.

        :param op_id: identity of what failed; empty where nothing was asked.
        :param stamp: Unix time, ns.
        """
        kind = op_id.partition(':')[0]
        status_id = op_id or error.code
        last = self._standing.get(status_id)
        if kind in _OFTEN and last is not None and stamp < last + INTERVAL:
            return None
        return self.tell(status_id, level_of(kind or error.code, error), text_of(error), stamp)

    def tell(self, status_id: str, level: int, message: str, stamp: int) -> dict[str, Any]:
        """Return a status, which stands from now on."""
        self._standing[status_id] = stamp
        self._standing.move_to_end(status_id)
        if len(self._standing) > MAX_STANDING:
            self._standing.popitem(last=False)
        return {'op': 'status', 'level': level, 'message': message, 'id': status_id}

    def drop(self, *status_ids: str) -> None:
        """Take statuses back, those of them that stand, with what is told next."""
        for status_id in status_ids:
            if self._standing.pop(status_id, None) is not None:
                self._over.append(status_id)

    def removed(self) -> dict[str, Any] | None:
        """Return how the client is told of what was taken back, if anything was."""
        over, self._over = self._over, []
        return {'op': 'removeStatus', 'statusIds': over} if over else None
