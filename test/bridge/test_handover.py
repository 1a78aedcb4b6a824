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

import asyncio
import os

import pytest

from ws_bridge.bridge import handover
from ws_bridge.bridge.handover import Mailbox


def fail() -> None:
    """Raise what nobody catches."""
    raise ValueError


async def test_one_that_fails_keeps_nobody_waiting() -> None:
    """Neither what was posted after it, nor what is to be done after all."""
    loop, done = asyncio.get_running_loop(), list[object]()
    failed: list[dict[str, object]] = []
    loop.set_exception_handler(lambda loop, context: failed.append(context))
    box = Mailbox(loop)
    box.then = lambda: done.append('then')
    box.post(done.append, 1)
    box.post(done.append, 2)
    await asyncio.sleep(0)
    assert done == [1, 2, 'then']
    box.post(fail)
    box.post(done.append, 3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done[3:] == ['then', 3, 'then']
    box.post(fail)
    await asyncio.sleep(0)
    assert done[6:] == ['then']
    assert len(failed) == 2


async def test_much_that_was_posted_leaves_room_for_others(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop looks at its sockets in between, and the order stays."""
    monkeypatch.setattr(handover, 'TURN', 0.0)
    loop, done = asyncio.get_running_loop(), list[object]()
    box = Mailbox(loop)
    for number in range(3):
        box.post(done.append, number)
    loop.call_soon(done.append, 'other')
    for _ in range(4):
        await asyncio.sleep(0)
    assert done == [0, 'other', 1, 2]


async def test_what_the_loop_reads_by_itself_is_followed_by_the_same() -> None:
    loop, done = asyncio.get_running_loop(), list[object]()
    failed: list[dict[str, object]] = []
    loop.set_exception_handler(lambda loop, context: failed.append(context))
    box = Mailbox(loop)
    box.then = lambda: done.append('then')
    descriptor = os.eventfd(0)

    def read() -> None:
        done.append(os.eventfd_read(descriptor))
        if len(done) > 2:
            fail()
    end = box.attach(descriptor, read)
    try:
        for number in (5, 6):
            os.eventfd_write(descriptor, number)
            for _ in range(100):
                if len(done) < 2 * number - 8:
                    await asyncio.sleep(0)
        assert done == [5, 'then', 6, 'then']
        assert len(failed) == 1
        end()
        os.eventfd_write(descriptor, 7)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(done) == 4
    finally:
        os.close(descriptor)
