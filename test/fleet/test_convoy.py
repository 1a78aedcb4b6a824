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
"""What many watch by a slow connection of the robot: once for all, and each as it takes it."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
import random
import socket
from typing import Any

import pytest
from support.fleet import fake_robot, FakeRobot, operator, running_relay, slow_line, SlowLine
from support.helpers import async_wait_until
from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

from ws_bridge.fleet.carrier import WINDOW
from ws_bridge.fleet.transport import CarriedTransport
from ws_bridge.protocol.pieces import is_piece, Joiner
from ws_bridge.protocol.types import Priority
from ws_bridge.session.queue import Drops
from ws_bridge.transport.framing import StreamFrame
from ws_bridge.transport.link import Link

RATE = 400_000
OPERATORS = 20
PICTURE, ODOMETRY = 20_000, 700
TRIALS = 5
"""On a machine that has much else to do some operators are slow."""
TOPICS = {'camera': PICTURE, 'second camera': PICTURE // 2, 'odometry': ODOMETRY}


class Watcher:
    """
    An operator, and what it has got.

    :param link: the robot's end.
    """

    def __init__(self, peer: ClientConnection, link: Link) -> None:
        self.peer = peer
        self.link = link
        self.got: dict[str, list[int]] = {topic: [] for topic in TOPICS}
        self.messages: list[str] = []
        self.size = 0

    async def read(self) -> None:
        """Read until the end."""
        joiner = Joiner(1 << 20)
        async for data in self.peer:
            if isinstance(data, bytes) and is_piece(data):
                whole = joiner.add(data)
                if whole is None:
                    continue
                data = whole
            if isinstance(data, bytes):
                *_, topic, number = data[:40].split(b'.')[0].decode().split(':')
                self.got[topic].append(int(number))
            else:
                self.messages.append(data)
            self.size += len(data)


class Fleet:
    """Operators of a robot whose connection to the relay is slow."""

    def __init__(self, robot: FakeRobot, line: SlowLine) -> None:
        self.robot = robot
        self.line = line
        self.watchers: list[Watcher] = []
        self.published = self.port = 0
        self.has_numbers = False
        self.times = 1

    async def link_of(self, number: int) -> Link:
        """Return the robot's end of who came as that."""
        await async_wait_until(lambda: len(self.robot.links) > number)
        return self.robot.links[number]

    async def new_link(self) -> Link:
        """Return the robot's end of who came last."""
        known = {each.link for each in self.watchers}
        await async_wait_until(lambda: {*self.robot.links} - known)
        (link,) = {*self.robot.links} - known
        return link

    async def publish(self, to: Sequence[Watcher] | None = None) -> None:
        """Give a sample of each topic to operators, as the bridge does."""
        self.published += 1
        for topic, size in TOPICS.items():
            frame = f'{topic}:{self.published}'.encode().ljust(40, b'.').ljust(
                self.times * size, b'x')
            item = StreamFrame(topic, frame, 1, text=False)
            for number, watcher in enumerate(self.watchers if to is None else to):
                if self.has_numbers:    # as Foxglove's clients have
                    item = StreamFrame(topic, b'%02d:%b' % (number, frame[:-3]), 1, text=False)
                if watcher.link.stage(item):
                    watcher.link.flush()
        await asyncio.sleep(0.01)

    async def publish_until(self, count: int, watchers: Sequence[Watcher]) -> None:
        """Publish until each of some has got so many more pictures."""
        goals = [len(each.got['camera']) + count for each in watchers]
        while any(len(each.got['camera']) < goal
                  for each, goal in zip(watchers, goals, strict=True)):
            await self.publish()

    async def costs_at_most(self, times: float, watchers: Sequence[Watcher]) -> None:
        """Have some sent samples, until the robot sends little more than one of them gets."""
        found: list[float] = []
        while not found or min(found) >= times:
            assert len(found) < TRIALS, found
            await self.publish_until(5, watchers)
            before, sizes = self.line.carried, [each.size for each in watchers]
            await self.publish_until(20, watchers)
            least = min(each.size - size for each, size in zip(watchers, sizes, strict=True))
            found.append((self.line.carried - before) / least)

    async def rest(self) -> None:
        """Wait until nothing waits any more."""
        await async_wait_until(lambda: all(
            len(numbers) + drops(each, topic) == self.published
            for each in self.watchers for topic, numbers in each.got.items()), why=lambda: [
                (each.link, {topic: len(numbers) for topic, numbers in each.got.items()})
                for each in self.watchers])


def drops(watcher: Watcher, topic: str) -> int:
    """Return how many samples of a topic gave way in the queue of an operator."""
    return watcher.link.queue._drops.get(topic, Drops()).frames


class running_fleet(AsyncExitStack):
    """Run a relay, a robot behind a slow line, and operators."""

    def __init__(self, operators: int) -> None:
        super().__init__()
        self._operators = operators

    async def __aenter__(self) -> Any:
        await super().__aenter__()
        relay = await self.enter_async_context(running_relay())
        line = await self.enter_async_context(slow_line(relay.server.port, RATE))
        robot = await self.enter_async_context(fake_robot(f'ws://127.0.0.1:{line.port}'))
        fleet = Fleet(robot, line)
        fleet.port = relay.server.port
        for number in range(self._operators):
            peer = await self.enter_async_context(operator(relay))
            self.watch(fleet, Watcher(peer, await fleet.link_of(number)))
        return fleet

    def watch(self, fleet: Fleet, watcher: Watcher) -> None:
        """Have an operator read."""
        fleet.watchers.append(watcher)
        reading = asyncio.create_task(watcher.read())
        self.push_async_callback(asyncio.wait, (reading,))
        self.callback(reading.cancel)


@pytest.mark.parametrize('has_numbers', [False, True])
async def test_by_a_slow_line_each_sample_goes_up_once(has_numbers: bool) -> None:
    """
    In order to each, and each knows how many it missed.

    So it is if each has a number of its own in its frames.
    """
    async with running_fleet(OPERATORS) as fleet:
        fleet.has_numbers = has_numbers
        await fleet.costs_at_most(1.5 if has_numbers else 1.3, fleet.watchers)
        await fleet.rest()
        for watcher in fleet.watchers:
            assert watcher.link.dropped
            for topic, numbers in watcher.got.items():
                assert numbers == sorted({*numbers})
                assert numbers[-1] == fleet.published
                assert len(numbers) + drops(watcher, topic) == fleet.published


async def test_a_slow_operator_behind_a_slow_line_costs_only_itself() -> None:
    async with running_fleet(OPERATORS) as fleet:
        slow, *others = fleet.watchers
        slow.peer.transport.pause_reading()
        await fleet.costs_at_most(1.3, others)
        slow.peer.transport.resume_reading()
        await fleet.rest()
        for watcher in fleet.watchers:
            for topic, numbers in watcher.got.items():
                assert numbers == sorted({*numbers})
                assert len(numbers) + drops(watcher, topic) == fleet.published


async def test_little_is_under_way_to_a_slow_operator_behind_a_slow_line() -> None:
    """Its replies, and the pings that tell the age of its commands, wait for little."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    async with running_fleet(5) as fleet:
        await asyncio.get_running_loop().sock_connect(plain, ('127.0.0.1', fleet.port))
        async with operator(f'ws://127.0.0.1:{fleet.port}', sock=plain) as peer:
            slow = Watcher(peer, await fleet.link_of(5))
            fleet.watchers.append(slow)
            transport = slow.link.websocket.transport
            assert isinstance(transport, CarriedTransport)
            taken = 0
            while not slow.link._window.is_tight or \
                    transport.journey.read().waiting > WINDOW / 4:
                for _ in range(30):
                    await fleet.publish()
                await asyncio.wait_for(peer.recv(), 10)
                taken += 1
                assert taken < 100, slow.link._window
            assert slow.link.dropped > 10
            assert slow.link.bandwidth == slow.link._window.rate
            while any(each.link._window.is_tight for each in fleet.watchers[:-1]):
                await fleet.publish()       # one that took long by chance is not slow for good


async def test_messages_overtake_samples_that_wait_for_a_slow_line() -> None:
    async with running_fleet(OPERATORS) as fleet:
        await fleet.publish_until(5, fleet.watchers)
        for number in range(20):
            for watcher in fleet.watchers:
                watcher.link.send(f'{number}', Priority.HIGH)
            passed = [len(each.got['camera']) for each in fleet.watchers]
            while not all(f'{number}' in each.messages for each in fleet.watchers):
                await fleet.publish()
            for watcher, before in zip(fleet.watchers, passed, strict=True):
                assert len(watcher.got['camera']) - before <= 4
        for watcher in fleet.watchers:
            assert watcher.messages == [f'{number}' for number in range(20)]


async def test_who_watches_something_else_has_its_turns() -> None:
    async with running_fleet(OPERATORS) as fleet:
        other, *same = fleet.watchers
        while len(same[-1].got['camera']) < 30:
            fleet.published += 1
            for topic, who in (('camera', same), ('second camera', [other])):
                frame = f'{topic}:{fleet.published}'.encode().ljust(40, b'.')
                item = StreamFrame(topic, frame.ljust(PICTURE, b'x'), 1, text=False)
                for watcher in who:
                    watcher.link.stage(item)
                    watcher.link.flush()
            await asyncio.sleep(0.01)
        assert len(other.got['second camera']) > 10


@pytest.mark.parametrize('seed', range(3))
async def test_whatever_operators_do_each_gets_whole_frames_in_order(seed: int) -> None:
    """They come, leave, read slowly, want pieces, have numbers of their own; frames are large."""
    chance, running, sent = random.Random(seed), running_fleet(4), 0
    async with running as fleet:
        slow = set[Watcher]()
        for _ in range(150):
            deed, watcher = chance.random(), chance.choice(fleet.watchers)
            if deed < 0.05 and len(fleet.watchers) < 9:
                peer = await running.enter_async_context(operator(f'ws://127.0.0.1:{fleet.port}'))
                link = await fleet.new_link()
                link.queue.takes_pieces = chance.random() < 0.5
                running.watch(fleet, Watcher(peer, link))
            elif deed < 0.08 and len(fleet.watchers) > 4:
                fleet.watchers.remove(watcher)
                slow.discard(watcher)
                watcher.peer.transport.abort()
            elif deed < 0.14:
                watcher.peer.transport.pause_reading()
                slow.add(watcher)
            elif deed < 0.2 and slow:
                slow.pop().peer.transport.resume_reading()
            elif deed < 0.4:
                sent += 1
                watcher.link.send(f'{sent}'.rjust(chance.choice((10, 5000, 70_000))))
            else:
                fleet.has_numbers = chance.random() < 0.5
                fleet.times = chance.choice((1, 1, 1, 5, 12))
                await fleet.publish(chance.sample(fleet.watchers, chance.randrange(
                    2, len(fleet.watchers) + 1)))
        for watcher in slow:
            watcher.peer.transport.resume_reading()
        fleet.times = 1
        await fleet.publish()
        await async_wait_until(lambda: all(
            each.got[topic][-1:] == [fleet.published]
            for each in fleet.watchers for topic in TOPICS), why=lambda: [
                (each.link, each.peer.close_code) for each in fleet.watchers])
        for watcher in fleet.watchers:
            assert watcher.peer.state is State.OPEN
            assert watcher.messages == sorted(watcher.messages, key=int)
            for numbers in watcher.got.values():
                assert numbers == sorted({*numbers})
