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
"""``ws_bridge pub``: the first drive moves the robot, also through a bridge that was dialled."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import sys

from geometry_msgs.msg import Twist
import pytest
from support.bridge_harness import running_bridge
from support.helpers import async_wait_until, other_domain, SpinningNode

from ws_bridge.main import Service

DRIVE = ('pub', '/cmd_vel', '{"linear": {"x": 0.5}}', '--type', 'geometry_msgs/msg/Twist')


async def command(*words: str) -> tuple[int, str, str]:
    """Run ``ws_bridge`` beside the bridge of this process, and return its code and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, '-m', 'ws_bridge', *words, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def aged(service: Service) -> Service:
    """Return a bridge as one that has run for long: it does not wait for whom it does not know."""
    assert service.ros._ros is not None
    service.ros._ros.made_at -= 3600.0
    return service


@asynccontextmanager
async def robot() -> AsyncIterator[list[float]]:
    """Give what a robot in the domain of the tests hears."""
    heard: list[float] = []
    with SpinningNode('robot') as spinning:
        spinning.node.create_subscription(
            Twist, '/cmd_vel', lambda message: heard.append(message.linear.x), 10)
        yield heard


@pytest.mark.parametrize('times', [('--once',), ('--rate', '20', '--count', '10')])
async def test_the_first_drive_moves_the_robot(times: tuple[str, ...]) -> None:
    async with robot() as heard, running_bridge() as service:
        code, out, err = await command(*DRIVE, *times, '--url', aged(service).url)
        assert (code, out, err) == (0, '/cmd_vel: 1 subscriber matched\n', '')
        await async_wait_until(lambda: 0.5 in heard)


async def test_the_first_drive_through_a_dialled_bridge_moves_the_robot() -> None:
    async with robot() as heard, running_bridge(domain=other_domain()) as base, running_bridge(
            connect=[base.url], pull=['/cmd_vel']) as service:
        await async_wait_until(lambda: service.bridge.peer_count and base.bridge.peer_count)
        aged(base)
        code, _, err = await command(*DRIVE, '--rate', '20', '--count', '10', '--url', base.url)
        assert code == 0, err
        await async_wait_until(lambda: 0.5 in heard)


async def test_a_drive_that_moves_nothing_says_so() -> None:
    async with running_bridge(gate_ttl=0.3) as service:
        url = aged(service).url
        code, out, err = await command(*DRIVE, '--once', '--wait', '0.2', '--url', url)
        assert (code, out) == (1, '/cmd_vel: 0 subscribers matched\n')
        assert err == '/cmd_vel: nobody subscribes to it: nothing was received\n'


async def test_a_subscriber_that_comes_late_is_waited_for() -> None:
    async with running_bridge() as service:
        driving = asyncio.create_task(
            command(*DRIVE, '--wait', '30', '--url', aged(service).url))
        await async_wait_until(lambda: '/cmd_vel' in service.ros.graph.topics)
        async with robot() as heard:
            code, _, err = await driving
            assert code == 0, err
            await async_wait_until(lambda: 0.5 in heard)
