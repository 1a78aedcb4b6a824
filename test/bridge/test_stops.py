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
"""A stop is published whatever peers and subscribers do, and nobody is told of it before."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
import signal
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
import pytest
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.faults import HERE, Process, python
from support.helpers import async_wait_until, SpinningNode, tries, wait_until

from ws_bridge.errors import Unavailable
from ws_bridge.stop_process import wire
from ws_bridge.stop_process.process import StopProcess

GATE = '/cmd_vel'
TWIST = 'geometry_msgs/msg/Twist'


class Robot:
    """A node that hears velocities, keeping the latest for late comers if it may."""

    def __init__(self, node: Any, **qos: Any) -> None:
        self.node = node
        self.heard: list[float] = []
        node.create_subscription(
            Twist, GATE, lambda m: self.heard.append(m.linear.x), QoSProfile(depth=1000, **qos),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))


@pytest.fixture
def robot() -> Iterator[Robot]:
    """Give a robot."""
    with SpinningNode('robot') as spinning:
        yield Robot(spinning.node)


@pytest.fixture
def frozen() -> Iterator[Process]:
    """Give a process that subscribed, and was then frozen."""
    process = python(str(HERE / 'stop_listener.py'), GATE)
    wait_until(lambda: 'ready' in process.lines, why=lambda: process.lines)
    yield process
    process.close()


def speed(x: float) -> dict[str, Any]:
    """Return the fields of a velocity."""
    return {'linear': {'x': x}}


async def drives(peer: NativePeer) -> None:
    """Let a neutral command pass, as soon as subscribers in other processes are matched."""
    for _ in tries():
        answer = await peer.command(GATE, speed(0.0))
        if answer.get('op') == 'publish':
            return
        assert answer['code'] == 'expired'
    raise AssertionError(answer)


async def test_a_frozen_subscriber_and_keep_all_keep_no_stop(robot: Robot, frozen: Process
                                                             ) -> None:
    async with running_bridge(gate_timeout=30.0) as service, native_peer(service) as operator:
        await operator.acquire(GATE)
        told = await operator.answer(await operator.send('configuration', {
            'op': 'advertise', 'topic': GATE, 'type': TWIST,
            'qos': {'durability': 'transient_local', 'depth': 1000}}))
        # the bridge chooses, and says what
        assert told['data']['qos'] == {'history': 'keep_last', 'depth': 1,
                                       'reliability': 'reliable', 'durability': 'volatile'}
        for _ in tries():
            await drives(operator)
            if frozen.lines[-1:] != ['ready']:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError(frozen.lines)
        frozen.signal(signal.SIGSTOP)
        for _ in range(1200):      # more than any history that was asked for
            await operator.command(GATE, speed(0.4))
        await operator.ask('stop', reason='smoke')
        await async_wait_until(lambda: robot.heard[-1:] == [0.0], why=lambda: robot.heard[-5:])
        await operator.wait(lambda f: f['data'].get('kind') == 'stopped')
        frozen.signal(signal.SIGCONT)


async def test_a_late_node_hears_no_old_command(robot: Robot) -> None:
    async with running_bridge(gate_timeout=30.0) as service, native_peer(service) as operator:
        await operator.acquire(GATE)
        await operator.ask('advertise', topic=GATE, type=TWIST,
                           qos={'durability': 'transient_local', 'depth': 1000})
        await drives(operator)
        for x in (0.4, 0.4, 0.4):
            assert (await operator.command(GATE, speed(x)))['op'] == 'publish'
        await operator.ask('stop', reason='smoke')
        await async_wait_until(lambda: robot.heard[-1:] == [0.0], why=lambda: robot.heard)
        for durability in (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL):
            with SpinningNode('late') as late:
                node = Robot(late.node, durability=durability)
                await async_wait_until(lambda: late.node.count_publishers(GATE) >= 1)
                await asyncio.sleep(0.5)    # what was kept would come now
                assert not any(node.heard)


async def test_a_stop_that_cannot_be_published_is_an_alarm(
        robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[bytes] = []
    robot.node.create_subscription(DiagnosticArray, '/diagnostics', lambda m: levels.extend(
        status.level for status in m.status if status.name == f'ws_bridge: guard {GATE}'), 10)

    def fail(*_: object) -> None:
        raise Unavailable('made up')
    async with running_bridge(gate_timeout=30.0, diagnostics_period=0.1) as service, \
            native_peer(service) as operator, native_peer(service) as colleague:
        await colleague.ask('hello', name='colleague')
        await operator.acquire(GATE)
        await drives(operator)
        assert (await operator.command(GATE, speed(0.4)))['op'] == 'publish'
        await async_wait_until(lambda: robot.heard[-1:] == [0.4], why=lambda: robot.heard)
        before = list(robot.heard)
        with monkeypatch.context() as patch:
            patch.setattr(StopProcess, 'publish', fail)
            refused = await operator.refused('stop', reason='smoke')
            assert refused['code'] == 'stop_failed'
            alarm = await colleague.wait(lambda f: f['data'].get('code') == 'stop_failed')
            assert 'made up' in alarm['data']['message']
            await async_wait_until(lambda: b'\2' in levels)
            # nobody is told that it is so, nor may anybody move it
            for kind in ('stopped', 'estop'):
                assert colleague.told(kind) == []
            assert (await operator.command(GATE, speed(0.1)))['code'] == 'stopped'
            assert robot.heard == before
        await colleague.wait(lambda f: f['data'].get('kind') == 'estop')
        stopped = await colleague.wait(lambda f: f['data'].get('kind') == 'stopped')
        assert stopped['data']['reason'] == 'estop'
        # it was published; the robot's thread may have to wait for its turn
        await async_wait_until(lambda: len(robot.heard) > len(before))
        assert robot.heard[len(before)] == 0.0
        levels.clear()
        await async_wait_until(lambda: b'\0' in levels)
        assert (await operator.ask('stop'))['stopped'] is True


async def test_everybody_is_told_that_the_stop_process_has_ended(robot: Robot) -> None:
    async with running_bridge(gate_timeout=30.0) as service, native_peer(service) as operator, \
            native_peer(service) as colleague:
        await colleague.ask('hello', name='colleague')
        await operator.acquire(GATE)
        await drives(operator)
        assert (await operator.command(GATE, speed(0.4)))['op'] == 'publish'
        process = service.ros.watchdog._process
        assert process is not None
        process.kill()
        for peer in (operator, colleague):
            await peer.wait(lambda f: f['data'].get('code') == 'stop_failed')
        stopped = await colleague.wait(lambda f: f['data'].get('kind') == 'stopped')
        assert stopped['data']['gate'] == GATE
        await async_wait_until(lambda: robot.heard[-1:] == [0.0], why=lambda: robot.heard)
        # it was started again; who holds the lease begins anew
        await async_wait_until(lambda: service.ros.watchdog.pid is not None)
        await operator.ask('gates')     # what it knows of the time is as old as the start
        assert (await operator.command(GATE, speed(0.4)))['code'] == 'not_neutral'
        await drives(operator)


async def test_an_emergency_stop_of_many_gates_is_one_message(monkeypatch: pytest.MonkeyPatch
                                                              ) -> None:
    async with running_bridge() as service, native_peer(service) as operator:
        for topic in ('/one', '/two', '/three'):
            await operator.ask('advertise', topic=topic, type=TWIST)
        told: list[Any] = []
        watchdog = service.ros.watchdog
        send = watchdog._send
        monkeypatch.setattr(watchdog, '_send', lambda m: (told.append(m), send(m)))
        await operator.ask('stop', reason='smoke')
        (stop,) = (message for message in told if isinstance(message, wire.Stop))
        assert len(stop.gates) == 3
