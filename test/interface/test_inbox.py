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
"""What waits for ``receive()``: bounded, in order, nothing lost to a taker that gave up."""
from __future__ import annotations

import asyncio

import pytest

from ws_bridge.interface.inbox import Inbox


async def test_order_and_bound() -> None:
    """The oldest gives way and is counted; the newest stays, whatever its size."""
    inbox: Inbox[int] = Inbox(2400)
    assert sum(inbox.put(number, 800) for number in range(20)) == 17
    assert len(inbox) == 3
    assert [inbox.pop(), await inbox.take(0), inbox.pop(), inbox.pop()] == [17, 18, 19, None]
    inbox.put(99, 10**9)
    assert inbox.pop() == 99
    assert inbox.put(1, 2400, is_spare=True) == 0
    assert inbox.put(2, 2400) == 0, 'a spare one is not missed'
    assert inbox.put(3, 2400) == 1
    assert [inbox.pop(), inbox.pop()] == [3, None]


async def test_takers_are_served_in_turn() -> None:
    """A message goes to who waits longest; a timeout gives nothing and takes nothing."""
    inbox: Inbox[int] = Inbox(1000)
    assert await inbox.take(0.01) is None
    takers = [asyncio.create_task(inbox.take(5)) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        inbox.put(number, 1)
    assert await asyncio.gather(*takers) == [0, 1, 2]
    assert len(inbox) == 0


async def test_release_wakes_all() -> None:
    """With nothing."""
    inbox: Inbox[int] = Inbox(1000)
    takers = [asyncio.create_task(inbox.take(None)) for _ in range(2)]
    await asyncio.sleep(0)
    inbox.release()
    assert await asyncio.gather(*takers) == [None, None]


@pytest.mark.parametrize('is_handed_over', [False, True])
async def test_a_cancelled_taker_loses_nothing(is_handed_over: bool) -> None:
    """Also when it was cancelled just after a message was handed to it."""
    inbox: Inbox[int] = Inbox(1000)
    taker = asyncio.create_task(inbox.take(5))
    await asyncio.sleep(0)
    if is_handed_over:
        inbox.put(7, 1)
        inbox.put(8, 1)
    taker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taker
    if not is_handed_over:
        inbox.put(7, 1)
        inbox.put(8, 1)
    assert [inbox.pop(), inbox.pop()] == [7, 8]


async def test_a_message_passes_over_a_taker_that_is_going() -> None:
    """One that is cancelled, but has not run yet, gets nothing."""
    inbox: Inbox[int] = Inbox(1000)
    first, second = (asyncio.create_task(inbox.take(5)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    inbox.put(1, 1)
    assert await second == 1
