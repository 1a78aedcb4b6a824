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
"""One timer calls all, in slices, whatever becomes of one of them."""
from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from support.helpers import async_wait_until

from ws_bridge.transport import rounds as rounds_module
from ws_bridge.transport.rounds import Round, Rounds, SLICE


async def test_each_member_is_called_once_in_an_interval() -> None:
    called: list[str] = []

    def one() -> None:
        called.append('one')

    def two() -> None:
        called.append('two')
    every = Round(0.01)
    every.add(one)
    every.add(two)
    every.add(two)
    await async_wait_until(lambda: len(called) >= 6)
    assert called[:6] == ['one', 'two'] * 3
    assert repr(every) == '<Round of 2, 0.01 s>'
    every.discard(one)
    every.discard(two)
    assert every._timer is None
    called.clear()
    every.discard(two)
    await asyncio.sleep(0.03)
    assert not called


async def test_a_member_may_leave_and_join_in_the_middle_of_a_round() -> None:
    called: list[int] = []
    every = Round(0.01)

    def member(number: int) -> None:
        called.append(number)
        for other in members:
            every.discard(other)
        every.add(late)

    def late() -> None:
        called.append(9)
        every.discard(late)
    members = [lambda number=number: member(number) for number in range(3)]
    for each in members:
        every.add(each)
    await async_wait_until(lambda: 9 in called)
    assert called == [0, 9]


async def test_a_member_that_fails_keeps_none_from_its_turn() -> None:
    called: list[str] = []
    faults: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context['exception']))

    def bad() -> None:
        raise RuntimeError('bad')

    def good() -> None:
        called.append('good')
    every = Round(0.01)
    every.add(bad)
    every.add(good)
    await async_wait_until(lambda: len(called) == 2)
    assert len(faults) >= 2
    every.discard(bad)
    every.discard(good)
    loop.set_exception_handler(None)


async def test_many_are_called_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are; what takes longer than an interval is not begun twice."""
    clock, slices, begin = [0.0], [], [0.0]
    monkeypatch.setattr(rounds_module, 'time', SimpleNamespace(perf_counter=lambda: clock[0]))
    called: list[int] = []

    def member(number: int) -> None:
        called.append(number)
        clock[0] += SLICE / 4

    every = Round(60.0)
    members = [lambda number=number: member(number) for number in range(100)]
    for each in members:
        every.add(each)
    every._begin()
    every._begin()
    while len(called) < 100:
        slices.append(clock[0] - begin[0])
        begin[0] = clock[0]
        await asyncio.sleep(0)
    assert called == list(range(100))
    assert len(slices) > 10 and max(slices) <= SLICE * 1.5
    for each in members:
        every.discard(each)


async def test_those_of_one_interval_share_a_timer() -> None:
    rounds = Rounds()

    def one() -> None:
        pass

    def two() -> None:
        pass
    rounds.add(5.0, one)
    rounds.add(5.0, two)
    rounds.add(1.0, one)
    assert repr(rounds) == '<Rounds [<Round of 2, 5 s>, <Round of 1, 1 s>]>'
    rounds.discard(5.0, one)
    rounds.discard(1.0, one)
    rounds.discard(1.0, one)
    assert repr(rounds) == '<Rounds [<Round of 1, 5 s>]>'
    rounds.discard(5.0, two)
    assert repr(rounds) == '<Rounds []>'
