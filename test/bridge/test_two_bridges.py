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
"""Two bridges that guard one topic: one grants its leases, and a stop of either is of both."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from geometry_msgs.msg import Twist
import pytest
from support.bridge_harness import native_peer, NativePeer, PATIENT, running_bridge
from support.helpers import async_wait_until, SpinningNode, tries
from support.processes import serving
from support.rosbridge_harness import rosbridge_peer

from ws_bridge.bridge.bridge import TICK
from ws_bridge.bridge.neighbours import SAY_EVERY, SILENT_AFTER
from ws_bridge.safety.policy import NEIGHBOURS_TOPIC

GATE = '/cmd_vel'
MOVING = {'linear': {'x': 0.4}}
LEASES = {'gate_timeout': 30.0, 'gate_ttl': 20.0}
"""Of commands where their age is no matter: a busy machine takes its time."""


@pytest.fixture
def heard() -> Iterator[list[float]]:
    """Give what a robot hears."""
    heard: list[float] = []
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, GATE, lambda m: heard.append(m.linear.x), 100)
        yield heard


@asynccontextmanager
async def bridge_apart(*arguments: str) -> AsyncIterator[str]:
    """
    Run a bridge in a process of its own, as bridges are; give its URL.

    By the way of Fast DDS within a process, one node in a hundred never learns of another's
    endpoints, where further nodes come and go at the same time.
    """
    for name, value in {**PATIENT, **LEASES}.items():
        arguments += ('-p', f'{name}:={value}')
    with serving(*arguments) as (process, url):
        yield url
        process.terminate()     # a node that is killed is there for 20 s
        await async_wait_until(lambda: process.poll() is not None)


@asynccontextmanager
async def bridge_here(*arguments: str) -> AsyncIterator[str]:
    """Run a bridge in this process; give its URL."""
    async with running_bridge(*arguments, **LEASES) as service:
        yield service.url


@asynccontextmanager
async def two_bridges(bridge: Callable[..., Any] = bridge_apart
                      ) -> AsyncIterator[tuple[NativePeer, NativePeer]]:
    """
    Give a peer of each; the first one's bridge was started first.

    :param bridge: runs the second one.
    """
    async with running_bridge(**LEASES) as first, native_peer(first) as operator:
        await operator.ask('hello', name='alice')
        await async_wait_until(lambda: GATE in operator.gates, why=lambda: operator.gates)
        async with bridge('-r', '__node:=second') as second, native_peer(second) as colleague:
            await colleague.ask('hello', name='bob')
            await async_wait_until(lambda: GATE in colleague.gates, why=lambda: colleague.gates)
            yield operator, colleague


async def until_refused(peer: NativePeer, code: str, word: str = 'acquire') -> dict[str, Any]:
    """Ask for the lease until it is refused as it shall be; return the error."""
    for _ in tries():
        answer = await peer.answer(await peer.send('configuration', {'op': word, 'gate': GATE}))
        if answer['data'].get('code') == code:
            error: dict[str, Any] = answer['data']
            return error
        await peer.answer(await peer.send('configuration', {'op': 'release', 'gate': GATE}))
    raise AssertionError(answer)


async def test_one_grants_and_the_other_names_the_holder(heard: list[float]) -> None:
    async with two_bridges() as (operator, colleague):
        await until_refused(colleague, 'held')
        await operator.acquire(GATE)
        for _ in tries():
            error = await until_refused(colleague, 'held', 'take')
            if 'alice' in error['message']:
                break
        else:
            raise AssertionError(error)
        assert '/ws_bridge' in error['message']
        for x in (0.0, 0.4):
            await operator.command(GATE, {'linear': {'x': x}})
        await async_wait_until(lambda: heard[-1:] == [0.4], why=lambda: heard)


async def test_a_bridge_knows_the_topic_by_another_name(heard: list[float]) -> None:
    """Its peers say ``/steer``; it is the same topic, which the first bridge grants."""
    async with running_bridge(**LEASES) as first, native_peer(first) as operator, \
            bridge_apart('-r', '__node:=second', '-r', '/steer:=/cmd_vel') as second, \
            native_peer(second) as colleague:
        await operator.ask('hello', name='alice')
        await async_wait_until(lambda: GATE in operator.gates, why=lambda: operator.gates)
        await async_wait_until(lambda: colleague.gates, why=lambda: colleague.gates)
        await until_refused(colleague, 'held')
        await operator.acquire(GATE)
        for x in (0.0, 0.4):
            await operator.command(GATE, {'linear': {'x': x}})
        await async_wait_until(lambda: heard[-1:] == [0.4], why=lambda: heard)
        refused = await colleague.answer(await colleague.send(
            'command', {'linear': {'x': 0.7}}, destination='/steer'))
        assert refused['data']['code'] in ('held', 'no_lease')
        await colleague.ask('stop', reason='smoke')
        await async_wait_until(lambda: heard[-1:] == [0.0], why=lambda: heard)
        assert 0.7 not in heard


async def test_a_stop_of_either_is_of_both(heard: list[float]) -> None:
    """It is cleared where it was made."""
    async with two_bridges() as (operator, colleague):
        await until_refused(colleague, 'held')
        await operator.acquire(GATE)
        for x in (0.0, 0.4):
            await operator.command(GATE, {'linear': {'x': x}})
        await async_wait_until(lambda: heard[-1:] == [0.4], why=lambda: heard)
        await colleague.ask('stop', reason='smoke')
        await operator.wait(lambda f: f['data'].get('kind') == 'estop' and f['data']['stopped'])
        await async_wait_until(lambda: heard[-1:] == [0.0], why=lambda: heard)
        assert operator.told('estop')[-1] == {
            'kind': 'estop', 'stopped': True, 'by': 'bridge /second', 'reason': 'smoke'}
        refused = await operator.refused('clear_stop')
        assert refused['code'] == 'stopped'
        assert '/second' in refused['message']
        await colleague.ask('clear_stop')
        await operator.wait(lambda f: f['data'].get('kind') == 'estop' and
                            not f['data']['stopped'])
        await operator.acquire(GATE)


async def test_a_stop_waits_for_no_tick(heard: list[float], monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    async with two_bridges(bridge_here) as (operator, colleague):   # whose tick is patched too
        await until_refused(colleague, 'held')
        ticked = TICK
        monkeypatch.setattr('ws_bridge.bridge.bridge.TICK', 3600.0)
        await asyncio.sleep(2 * ticked)     # the last one has been
        for stopped, word in ((True, 'stop'), (False, 'clear_stop')):
            await colleague.ask(word)
            await operator.wait(lambda f, stopped=stopped: f['data'].get('kind') == 'estop' and
                                f['data']['stopped'] is stopped)


async def test_a_bridge_that_was_alone_is_heard_by_one_that_comes(heard: list[float]) -> None:
    """It says nothing while it is alone, and goes on saying it when it is not."""
    async with running_bridge('-r', '__node:=second', **LEASES) as older, \
            native_peer(older) as first:
        others = older.bridge._control._others
        await async_wait_until(lambda: GATE in others._said[0], why=lambda: first.gates)
        assert not older.ros.has_neighbours()
        said, tell = [], older.ros.tell_neighbours

        def count_and_tell(text: str) -> None:
            said.append(text)
            tell(text)
        older.ros.tell_neighbours = count_and_tell  # type: ignore[method-assign]
        checked, rounds = others._said[1], 0
        while rounds < 3:
            await async_wait_until(lambda: others._said[1] > checked)   # noqa: B023 - awaited
            checked, rounds = others._said[1], rounds + 1
        assert not said
        async with bridge_apart() as younger, native_peer(younger) as second:
            await async_wait_until(lambda: GATE in second.gates, why=lambda: (
                second.gates, len(said), older.ros.graph.nodes,
                older.ros.graph.topics.get(NEIGHBOURS_TOPIC)))
            await until_refused(second, 'held')
            await async_wait_until(lambda: len(said) > SILENT_AFTER / SAY_EVERY + 1)
            assert (await second.refused('acquire', gate=GATE))['code'] == 'held'
        await async_wait_until(lambda: not older.ros.has_neighbours())


async def test_the_second_grants_when_the_first_has_gone(heard: list[float]) -> None:
    async with running_bridge('-r', '__node:=second', **LEASES) as older, \
            running_bridge(**LEASES) as younger, native_peer(younger) as peer, \
            rosbridge_peer(younger) as page:
        await async_wait_until(lambda: GATE in peer.gates, why=lambda: peer.gates)
        await until_refused(peer, 'held')
        await page.send('set_level', level='error')
        await page.send('advertise', topic=GATE, type='geometry_msgs/Twist')
        assert (await page.status('publish', topic=GATE, msg=MOVING)).startswith('held')
        older.ros.tell_neighbours = lambda text: None  # type: ignore[method-assign]
        await async_wait_until(lambda: younger.bridge._control._others._neighbours.granting(
            {GATE}) is None)
        # A stick that was held all the time moves nothing now.
        for _ in tries():   # what the older one had said may arrive late
            why = await page.status('publish', topic=GATE, msg=MOVING)
            if not why.startswith('held'):
                break
        assert why.startswith('not_neutral')
        await peer.acquire(GATE)
