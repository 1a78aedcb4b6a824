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
"""Sessions that wait: their secrets, their time, their number."""
from __future__ import annotations

from itertools import count

import pytest

from ws_bridge.errors import SessionGone
from ws_bridge.session.waiting_room import WaitingRoom


def room(most: int = 9, most_of_network: int = 9) -> WaitingRoom[str]:
    numbers = count()
    return WaitingRoom(10.0, most, most_of_network, lambda: f'secret{next(numbers)}')


def is_gone(waiting: WaitingRoom[str], name: str, secret: str, now: float = 0.0) -> bool:
    try:
        waiting.find(name, secret, now)
    except SessionGone:
        return True
    return False


def test_a_secret_is_random() -> None:
    waiting: WaitingRoom[str] = WaitingRoom(10.0, 1, 1)
    first, second = (waiting.issue('p', 'peer', 0) for _ in range(2))
    assert first != second
    assert len(first) == 43


def test_a_secret_opens_its_own_session() -> None:
    waiting = room()
    secret = waiting.issue('p', 'peer', 0)
    assert is_gone(waiting, 'q', secret)
    assert is_gone(waiting, 'p', 'secret0')     # of nobody
    assert is_gone(waiting, 'p', 'ä')
    assert waiting.find('p', secret, 0.0) == 'peer'
    assert repr(waiting) == 'WaitingRoom(0 of 1 sessions wait)'


def test_a_used_secret_counts_until_the_next_has_arrived() -> None:
    waiting = room()
    first = waiting.issue('p', 'peer', 3)
    waiting.find('p', first, 0.0)
    second = waiting.issue('p', 'other', 5)
    assert waiting.find('p', first, 0.0) == 'other'     # the second was lost
    assert is_gone(waiting, 'p', second)
    third = waiting.issue('p', 'other', 7)
    waiting.arrived('p', 7)     # that left before
    assert not is_gone(waiting, 'p', first)
    fourth = waiting.issue('p', 'other', 8)
    waiting.arrived('p', 9)
    assert is_gone(waiting, 'p', first)
    assert is_gone(waiting, 'p', third)
    assert waiting.find('p', fourth, 0.0) == 'other'
    waiting.arrived('q', 9)


def test_a_secret_that_was_used_ends_the_one_before() -> None:
    waiting = room()
    first = waiting.issue('p', 'peer', 0)
    second = waiting.issue('p', 'peer', 0)
    waiting.find('p', second, 0.0)
    assert is_gone(waiting, 'p', first)


def test_a_session_waits_for_a_time() -> None:
    waiting = room()
    secret = waiting.issue('p', 'peer', 0)
    waiting.issue('q', 'here', 0)
    assert waiting.leave('p', '1.2.3.4', 100.0) == []
    assert (len(waiting), waiting.owners()) == (1, ['here', 'peer'])
    assert waiting.overdue(109.9) is None
    assert waiting.find('p', secret, 109.9) == 'peer'
    assert is_gone(waiting, 'p', secret, 110.0)
    assert waiting.overdue(110.0) == 'peer'
    assert 'p' not in waiting
    assert 'q' in waiting
    waiting.forget('q')
    assert 'q' not in waiting


@pytest.mark.parametrize(('most', 'of_network', 'gone'), [
    (9, 2, ['a']), (3, 9, ['b']), (9, 9, []), (2, 1, ['a', 'c']), (1, 2, ['b', 'a', 'c'])])
def test_who_has_waited_longest_gives_way(most: int, of_network: int, gone: list[str]) -> None:
    waiting = room(most, of_network)
    left: list[str] = []
    for name, network in [('b', 'other'), ('a', 'same'), ('c', 'same'), ('d', 'same')]:
        waiting.issue(name, name, 0)
        left += waiting.leave(name, network, 0.0)
    assert left == gone


def test_room_for_who_is_here() -> None:
    waiting = room()
    for name in 'ab':
        waiting.issue(name, name, 0)
        waiting.leave(name, 'n', 0.0)
    assert [waiting.give_way(), waiting.give_way(), waiting.give_way()] == ['a', 'b', None]
