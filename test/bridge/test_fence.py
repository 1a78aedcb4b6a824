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
"""The age of what a peer commands that tells no times, from the wire to ROS."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, AsyncExitStack
import json
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist
import pytest
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode, tries
from support.rosbridge_harness import rosbridge_peer
from support.transport_support import BarePeer, masked, PONG, TEXT

GATE = '/cmd_vel'


class Heard(list[float]):
    """
    What a robot hears.

    :ivar publishers: tells whether its subscription is matched with those of a gate.
    """

    publishers: Callable[[], bool]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Give what a robot hears."""
    with SpinningNode('robot') as robot:
        speeds = Heard()
        hearing = robot.node.create_subscription(
            Twist, GATE, lambda m: speeds.append(m.linear.x), 1000)
        # of the stop process, and of the bridge
        speeds.publishers = lambda: hearing.get_publisher_count() == 2
        yield speeds


@asynccontextmanager
async def bare_page(service: Any) -> AsyncIterator[BarePeer]:
    """Connect a page whose pings and pongs the test sees."""
    peer = BarePeer(int(service.url.rpartition(':')[2]))
    try:
        yield await peer.shake_hands()
    finally:
        peer.close()


def publish(x: float) -> bytes:
    """Return the frame of a command."""
    return masked(TEXT, json.dumps({
        'op': 'publish', 'topic': GATE, 'msg': {'linear': {'x': x}}}).encode())


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Close what a test opens in its middle."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_fifty_old_commands_and_the_pong_in_one_segment(heard: Heard,
                                                              stack: AsyncExitStack) -> None:
    async with running_bridge(gate_ttl=0.2, fence_interval=0.2, ping_interval=0.0) as service:
        await async_wait_until(heard.publishers)    # else its first command may wait for too long
        page = await stack.enter_async_context(bare_page(service))
        await page.send(publish(0.5))
        refused = service.ledger.counts
        await async_wait_until(lambda: heard[-1:] == [0.0] and len(heard) > 1)     # it was silent
        assert heard[:2] == [0.0, 0.5]      # the first zero is of the bridge itself
        link = next(iter(service.bridge._peers))
        await async_wait_until(lambda: len(link.websocket._pings) > 6)
        pings = [await page.next_ping() for _ in range(6)]
        await page.send(publish(2.0) * 50 + masked(PONG, pings[-1]))
        await async_wait_until(lambda: refused['refused', 'expired'] == 50)
        assert 2.0 not in heard
        while 3.0 not in heard:     # the first ones answered are old pings
            await page.send(masked(PONG, await page.next_ping()) + publish(3.0))
        assert 2.0 not in heard


async def test_who_answers_no_ping_commands_for_as_long_as_the_handshake_is_new(
        heard: Heard, stack: AsyncExitStack) -> None:
    async with running_bridge(gate_ttl=0.1, fence_interval=0.3) as service:
        await async_wait_until(heard.publishers)    # else its first command may wait for too long
        page = await stack.enter_async_context(bare_page(service))
        await page.send(publish(1.0))
        await async_wait_until(lambda: service.bridge._peers)
        (link,) = service.bridge._peers
        handshake = link.fence
        refused = service.ledger.counts
        while refused['refused', 'expired'] < 4:
            await page.send(publish(1.0))
            await asyncio.sleep(0.01)
        await page.send(publish(2.0))
        await async_wait_until(lambda: refused['refused', 'expired'] > 4)
        assert link.fence == handshake
        assert 2.0 not in heard


async def test_who_commands_is_pinged_fast_and_who_may_not_command_not_at_all(
        heard: Heard) -> None:
    async with running_bridge(fence_interval=60.0, ping_interval=0.0) as service, \
            rosbridge_peer(service) as page:
        await async_wait_until(heard.publishers)    # else its first command may wait for too long
        await page.call('/rosapi/topics')
        (link,) = service.bridge._peers
        assert link.pace.hurried_at is None
        await page.send('publish', topic=GATE, msg={})
        await async_wait_until(lambda: link.pace.hurried_at)
        fence = link.websocket.fence
        await async_wait_until(lambda: link.websocket.fence > fence)
        fence = link.websocket.fence
        await async_wait_until(lambda: link.websocket.fence > fence)
    async with running_bridge(anonymous_role='observer', ping_interval=0.0,
                              fence_interval=0.05) as service, rosbridge_peer(service) as page:
        await page.call('/rosapi/topics')
        (link,) = service.bridge._peers
        assert not link.pace.is_kept


@pytest.mark.parametrize(('gate', 'is_pinged'), [
    ('', False),
    ('acquire_on_publish: [native]', True),
    ('require_lease: false', True),
    ('clamp: [{field: linear.x, min: -1, max: 1}], slow_down: {full: 1, stop: 2}', False),
    ('clamp: [{field: linear.x, min: -1, max: 1}], slow_down: {full: 1, stop: 2, camera: c}',
     True)])
async def test_who_tells_the_age_of_its_commands_is_pinged_for_it_only_where_a_gate_needs_that(
        gate: str, is_pinged: bool, tmp_path: Path) -> None:
    path = tmp_path / 'mapping.yaml'
    path.write_text('version: 1\nout: ["*"]\nin: ["*"]\n'
                    f'gates: [{{gate: drive, topics: [{GATE}], {gate}}}]\n', encoding='utf-8')
    async with running_bridge(mapping_file=str(path), ping_interval=0.0,
                              fence_interval=0.05) as service, native_peer(service) as peer:
        await peer.ask('hello')
        (link,) = service.bridge._peers
        assert link.pace.is_kept is is_pinged
        fence = link.websocket.fence
        if is_pinged:
            await async_wait_until(lambda: link.websocket.fence > fence)
        else:
            assert not link.websocket._pings


async def test_who_has_not_said_a_word_is_pinged(heard: Heard,
                                                 stack: AsyncExitStack) -> None:
    """A page connects when it is opened; its first word is the first command, minutes later."""
    async with running_bridge(gate_ttl=0.2, fence_interval=0.05, ping_interval=0.0) as service:
        await async_wait_until(heard.publishers)    # else its first command may wait for too long
        page = await stack.enter_async_context(bare_page(service))
        now = asyncio.get_running_loop().time
        begin = now()
        while now() < begin + 0.5:     # by then the handshake is too old
            await page.send(masked(PONG, await asyncio.wait_for(page.next_ping(), 10.0)))
        await page.send(publish(0.5))
        await async_wait_until(lambda: heard[:2] == [0.0, 0.5], why=lambda: service.ledger.counts)


async def test_what_is_pulled_is_fenced(heard: Heard) -> None:
    async with running_bridge(domain=182, gated_types=['']) as base, native_peer(base) as console:
        await console.ask('advertise', topic=GATE, type='geometry_msgs/msg/Twist')
        async with running_bridge(connect=[base.url], pull=[GATE], connect_role='observer',
                                  ) as service:
            await async_wait_until(lambda: service.bridge._uplinks._uplinks)
            (link,) = service.bridge._uplinks._uplinks
            await async_wait_until(lambda: link.pace.is_kept)
            await async_wait_until(lambda: service.bridge._publications._shared)
            for _ in tries():
                await console.publish(GATE, {'linear': {'x': 1.0}})
                if 1.0 in heard:
                    break
            assert 1.0 in heard
            assert link.pace.hurried_at is not None
