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
"""Numbers mean one thing as long as the process lives."""
from __future__ import annotations

import pytest

from ws_bridge.protocol.foxglove_ids import IdBook, Ids


def test_the_oldest_of_many_numbers_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdBook, 'LIMIT', 2)
    book = IdBook(lambda number, contents: {'id': number})
    assert [book.row(text).number for text in 'abacaba'] == [1, 2, 1, 3, 1, 4, 1]
    assert repr(book) == 'IdBook(2)'


def test_what_numbers_of_a_process_mean() -> None:
    ids = Ids()
    assert ids.session_id != Ids().session_id
    assert ids.channels.row('/t', 'a/msg/B', '') == ids.channels.row('/t', 'a/msg/B', '')
    assert ids.channels.row('/t', 'a/msg/B', 'int8 x\n').number == 2
