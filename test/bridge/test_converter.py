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
"""The order in which large messages are converted; test_large_messages has a real worker."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.helpers import async_wait_until

from ws_bridge.bridge.converter import Converter
from ws_bridge.convert.codec import CodecStore
from ws_bridge.ros.types import TypeStore

INT32 = CodecStore().codec(TypeStore().message('std_msgs/msg/Int32'))


class Bench:
    """A workshop that is done with a message when the test says so."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.done = asyncio.Semaphore(0)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        yield

    async def ask(self, request: object, cargo: list[bytes]) -> tuple[dict[str, Any], memoryview]:
        self.asked += cargo
        await self.done.acquire()
        return {}, memoryview(cargo[0])

    def close(self) -> None:
        """Do nothing."""

    async def closed(self) -> None:
        """Do nothing."""


def converter_with(bench: Any) -> Converter:
    """Return one that has its messages converted by this bench."""
    return Converter(CodecStore(), bench, asyncio.get_running_loop())


async def test_messages_are_converted_in_the_order_in_which_they_came() -> None:
    """One that gives way to a newer one of its stream leaves it its place."""
    bench, got, dropped = Bench(), list[str](), list[str]()
    converter = converter_with(bench)

    def convert(name: str, depth: int = 1) -> None:
        converter.convert(name[0], INT32, name.encode(), 'json',
                          lambda body: got.append(bytes(body).decode()),
                          depth=depth, on_drop=lambda: dropped.append(name))
    for name, depth in (('a1', 3), ('a2', 3), ('b1', 1), ('a3', 3), ('c1', 1), ('b2', 1)):
        convert(name, depth)
    await async_wait_until(lambda: bench.asked)
    convert('a4', 2)        # of those that wait, with it
    convert('d1')
    assert converter.is_busy('a')
    assert not converter.is_busy('e')
    for _ in range(6):
        bench.done.release()
    await async_wait_until(lambda: len(got) == 6)
    assert got == ['a1', 'a3', 'b2', 'a4', 'c1', 'd1']
    assert dropped == ['b1', 'a2']
    assert not converter.is_busy('a')
    convert('a5')
    bench.done.release()
    await async_wait_until(lambda: len(got) == 7)
    await converter.shutdown()


async def test_nothing_is_handed_over_after_the_end() -> None:
    bench, got = Bench(), list[object]()
    converter = converter_with(bench)
    for name in (b'a', b'b'):
        converter.convert(name, INT32, name, 'json', got.append)
    await async_wait_until(lambda: bench.asked)
    await converter.shutdown()
    bench.done.release()
    await asyncio.sleep(0)
    assert (bench.asked, got) == ([b'a'], [])
