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
from __future__ import annotations

from typing import Any

import pytest
from support.timers import Later

from ws_bridge.ros.requests import HOLD, MOST_AT_ONCE, Requests


class Server:
    """Counts the requests that it was sent; those that are not to be sent are refused."""

    def __init__(self, rest: float = 0.0) -> None:
        ros: Any = Later
        self.ros = ros()
        self.requests = Requests(self.ros, rest)
        self.sent: list[int] = []
        self.given_up: set[int] = set()

    def add(self, *numbers: int) -> None:
        for number in numbers:
            self.requests.add(lambda number=number: self._send(number))  # type: ignore[misc]

    def _send(self, number: int) -> bool:
        if number in self.given_up:
            return False
        self.sent.append(number)
        return True

    def answer(self, count: int) -> None:
        for _ in range(count):
            self.requests.ended()


def test_each_answer_makes_room_for_one() -> None:
    server = Server()
    server.given_up = {9}
    server.add(*range(12))
    assert server.sent == list(range(MOST_AT_ONCE))
    server.answer(2)
    assert server.sent == [*range(9), 10]
    server.answer(9)
    assert server.sent == [*range(9), 10, 11]
    assert '0 held' in repr(server.requests)


def test_after_a_rest_there_is_room_again_for_all() -> None:
    """In between, the server takes what the answers to the former have led to."""
    server = Server(0.5)
    server.add(*range(20))
    server.answer(7)
    assert len(server.sent) == MOST_AT_ONCE
    server.answer(1)
    assert len(server.sent) == MOST_AT_ONCE
    assert [alarm.delay for alarm in server.ros.alarms] == [HOLD, 0.5]
    server.ros.alarms.pop().action()
    assert len(server.sent) == 2 * MOST_AT_ONCE


@pytest.mark.parametrize('rest', [0.0, 0.5])
def test_one_at_a_time_to_a_server_that_answers_nothing(rest: float) -> None:
    server = Server(rest)
    server.given_up = {8, 9}
    server.add(*range(13))
    for count in (9, 10, 11, 11):
        server.ros.ring()
        assert len(server.sent) == count
    assert not server.ros.alarms


def test_who_never_answers_one_request_keeps_no_more_than_its_place() -> None:
    server = Server(0.5)
    server.add(*range(20))
    server.answer(7)
    server.ros.ring()
    assert len(server.sent) == MOST_AT_ONCE + 7
