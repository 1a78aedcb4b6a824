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
"""Statuses stand until they are taken back, and are bounded."""
from __future__ import annotations

from ws_bridge.protocol.foxglove_status import MAX_STANDING, Statuses

NOW = 1_760_000_000 * 10**9


def test_statuses_are_bounded() -> None:
    statuses = Statuses()
    for number in range(MAX_STANDING + 1):
        statuses.tell(str(number), 1, 'm', NOW)
    assert not statuses.stands('0') and statuses.stands('1')
    statuses.drop('0', '1')
    assert statuses.removed() == {'op': 'removeStatus', 'statusIds': ['1']}
    assert statuses.removed() is None
    assert repr(statuses).startswith('Statuses(2, ')
