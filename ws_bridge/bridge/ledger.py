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
"""
from __future__ import annotations

from collections import Counter

from ws_bridge.bridge.audit import Audit


class Ledger:
    """
    Counts what happens, and has it written down.

    :param audit: gets the entries.
    :ivar counts: how often, by event and code; empty where there is none.
    """

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.counts: Counter[tuple[str, str]] = Counter()

    def __repr__(self) -> str:
        return f'Ledger({sum(self.counts.values())} events)'

    def note(self, event: str, **fields: object) -> None:
        """Take down what a peer does once."""
        self._count(event, fields)
        self.audit.write(event, **fields)

    def often(self, event: str, **fields: object) -> None:
        """Take down what somebody may cause as often as he likes."""
        self._count(event, fields)
        self.audit.often(event, **fields)

    def refused(self, code: str, address: str) -> None:
        """Take down that a connection was refused."""
        self.often('connection_refused', code=code, address=address)

    def _count(self, event: str, fields: dict[str, object]) -> None:
        self.counts[event, str(fields.get('code', ''))] += 1
