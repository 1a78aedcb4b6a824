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
What happened: counters for the metrics, and entries for the audit.

An entry has an event and fields such as peer, address, code; never a token, never a payload.
Whoever causes many of the same gets one a second, with the number of those that are left out.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
import logging
from typing import Any

import orjson

INTERVAL = 1.0
KEYS_REMEMBERED = 1024

Audit = Callable[[str, dict[str, Any]], None]
"""Takes an event and its fields."""

logger = logging.getLogger('ws_bridge.audit')


def log_entry(event: str, fields: dict[str, Any]) -> None:
    """Write an entry to the log, one line of JSON."""
    logger.info('%s', orjson.dumps({'event': event, **fields}).decode())


class Ledger:
    """
    Counts and takes down.

    :param now: monotonic clock, s.
    :param audit: gets the entries.
    """

    def __init__(self, now: Callable[[], float], audit: Audit = log_entry) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.audit = audit
        self._now = now
        self._last: dict[tuple[str, ...], float] = {}
        self._left_out: Counter[tuple[str, ...]] = Counter()

    def __repr__(self) -> str:
        return f'Ledger({sum(self.counts.values())} events)'

    def note(self, event: str, **fields: Any) -> None:
        """Count an event, and take it down unless the same was less than a second ago."""
        self.counts[event, str(fields.get('code', ''))] += 1
        key = event, *(str(fields.get(name, '')) for name in ('peer', 'address', 'code'))
        now = self._now()
        if now - self._last.get(key, -INTERVAL) < INTERVAL:
            self._left_out[key] += 1
            return
        self._last.pop(key, None)
        self._last[key] = now
        if len(self._last) > KEYS_REMEMBERED:
            oldest = next(iter(self._last))
            del self._last[oldest]
            self._left_out.pop(oldest, None)
        number = self._left_out.pop(key, 0)
        self.audit(event, {**fields, 'left_out': number} if number else fields)

    def refused(self, code: str, address: str) -> None:
        """Take down that a connection was refused."""
        self.note('connection_refused', code=code, address=address)
