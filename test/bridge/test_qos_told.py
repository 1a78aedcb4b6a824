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
"""Quality of service: what cannot match is told to the peer, and nobody's history is endless."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer
from websockets.asyncio.client import connect

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# rclpy's own callbacks warn through a deprecated function
QUIET_SUBSCRIPTION = SubscriptionEventCallbacks(use_default_callbacks=False)
QUIET_PUBLISHER = PublisherEventCallbacks(use_default_callbacks=False)
STRING = 'std_msgs/msg/String'
LISTENER = """
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
context = Context()
context.init(args=[])
node = Node('frozen', context=context)
node.create_subscription(String, '/frozen', lambda message: None, 10)
executor = SingleThreadedExecutor(context=context)
executor.add_node(node)
print('up', flush=True)
while True:
    executor.spin_once()
"""
PATIENT = """
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="patient" is_default_profile="true"><rtps><builtin><discovery_config>
    <leaseDuration><sec>600</sec></leaseDuration>
  </discovery_config></builtin></rtps></participant>
</profiles>
"""
"""Of a participant that others do not forget after 20 s of silence: the machine may be slow."""


def mismatches(peer: Any) -> list[str]:
    return [error['message'] for error in peer.errors() if error['code'] == 'qos_mismatch']


async def test_advertising_what_a_subscriber_cannot_get_is_told_to_each_peer() -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(String, '/map', lambda _: None, LATCHED,
                                       event_callbacks=QUIET_SUBSCRIPTION)
        async with running_bridge() as service, native_peer(service) as first, \
                native_peer(service) as second:
            await first.ask('advertise', topic='/map', type=STRING)
            await async_wait_until(lambda: mismatches(first))
            await second.ask('advertise', topic='/map', type=STRING)
            await async_wait_until(lambda: mismatches(second))
            (said,) = mismatches(first)
            assert said == ('/map: 1 subscriber cannot get what is published: '
                            'volatile publisher and transient local subscription')
            assert mismatches(second) == [said]
            await second.ask('advertise', topic='/map', type=STRING,
                             qos={'durability': 'transient_local'})
            answer = await second.publish('/map', {'data': 'x'})
            assert answer['data'] == {'op': 'publish', 'topic': '/map', 'subscribers': 1}
            assert len(mismatches(second)) == 1


async def test_a_rosbridge_page_is_told() -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(String, '/map', lambda _: None, LATCHED,
                                       event_callbacks=QUIET_SUBSCRIPTION)
        robot.node.create_publisher(String, '/weak', BEST_EFFORT, event_callbacks=QUIET_PUBLISHER)
        async with running_bridge() as service, connect(service.url) as page:
            await async_wait_until(lambda: {'/map', '/weak'} <= set(service.ros.graph.topics))
            await page.send(json.dumps({'op': 'set_level', 'level': 'error'}))
            for operation in ({'op': 'advertise', 'topic': '/map', 'type': 'std_msgs/String'},
                              {'op': 'subscribe', 'topic': '/weak',
                               'qos': {'reliability': 'reliable'}}):
                await page.send(json.dumps(operation))
                told = json.loads(await asyncio.wait_for(page.recv(), 10))
                assert (told['op'], told['level']) == ('status', 'error')
                assert operation['topic'] in told['msg']
                assert 'subscription' in told['msg']


async def test_a_browser_is_told_without_having_asked() -> None:
    """Once: the second advertisement is of the same publisher."""
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(String, '/map', lambda _: None, LATCHED,
                                       event_callbacks=QUIET_SUBSCRIPTION)
        async with running_bridge() as service, rosbridge_peer(
                service, origin=service.url.replace('ws', 'http')) as page:
            await async_wait_until(lambda: '/map' in service.ros.graph.topics)
            for key in ('first', 'second'):
                await page.send('advertise', id=key, topic='/map', type='std_msgs/String')
                told = await page.wait(lambda f: f['op'] == 'status')
            assert (await page.call('/rosapi/get_time'))['result']
            assert [frame for frame in page.frames if frame['op'] == 'status'] == [told]
            assert told['level'] == 'warning'
            assert told['msg'].startswith('qos_mismatch: /map: 1 subscriber cannot get')


async def test_a_subscription_that_hears_nobody_is_told_and_stays() -> None:
    with SpinningNode('robot') as robot:
        robot.node.create_publisher(String, '/weak', BEST_EFFORT, event_callbacks=QUIET_PUBLISHER)
        async with running_bridge() as service, native_peer(service) as first, \
                native_peer(service) as second:
            wish = {'topic': '/weak', 'type': STRING, 'qos': {'reliability': 'reliable'}}
            await first.ask('subscribe', **wish)
            await async_wait_until(lambda: mismatches(first))
            await second.ask('subscribe', **wish)
            await async_wait_until(lambda: mismatches(second))
            assert mismatches(first) == mismatches(second) == [
                '/weak: 1 publisher cannot be heard: '
                'best effort publisher and reliable subscription']
            strong = robot.node.create_publisher(String, '/weak', 1)

            def heard() -> bool:
                strong.publish(String(data='x'))
                return bool(first.samples('/weak'))
            await async_wait_until(heard)


@pytest.mark.parametrize('op', ['subscribe', 'advertise'])
@pytest.mark.parametrize('history', ['keep_all', 2])
async def test_an_endless_history_is_refused(op: str, history: object) -> None:
    async with running_bridge() as service, native_peer(service) as peer, \
            connect(service.url) as page:
        error = await peer.refused(op, valid=False, topic='/endless', type=STRING,
                                   qos={'history': history, 'depth': 10})
        assert (error['code'], error['field']) == ('bad_field', 'data.qos.history')
        await page.send(json.dumps({'op': 'set_level', 'level': 'error'}))
        await page.send(json.dumps({'op': op, 'topic': '/endless', 'type': STRING,
                                    'qos': {'history': history}}))
        told = json.loads(await asyncio.wait_for(page.recv(), 10))
        assert (told['op'], told['level']) == ('status', 'error')
        assert 'keep_all has no bound' in told['msg']
        assert service.bridge.entity_count == 0


@contextmanager
def frozen_listener(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process with a subscription; stop it with SIGSTOP."""
    profile = folder / 'patient.xml'
    profile.write_text(PATIENT)
    process = subprocess.Popen(
        [sys.executable, '-c', LISTENER], stdout=subprocess.PIPE, text=True,
        # the names of Fast DDS 2 and 3
        env={**os.environ, **dict.fromkeys(('FASTRTPS_DEFAULT_PROFILES_FILE',
                                            'FASTDDS_DEFAULT_PROFILES_FILE'), str(profile))})
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == 'up\n'
        yield process
    finally:
        process.kill()
        process.send_signal(signal.SIGCONT)
        process.communicate()


@pytest.mark.parametrize('qos', [
    None, {'depth': 10000}, {'depth': 10000, 'durability': 'transient_local'},
    {'history': 'keep_last', 'depth': 1}], ids=str)
async def test_a_frozen_subscriber_holds_nobody_up(qos: Any, tmp_path: Path) -> None:
    """
    More than the 5000 samples that the middleware keeps for a reader that never acknowledges.

    With a history without bound each further one waits 100 ms, and everybody's commands behind it.
    """
    with frozen_listener(tmp_path) as listener:
        async with running_bridge(max_message_rate=0.0) as service, \
                native_peer(service) as flood, native_peer(service) as operator:
            await async_wait_until(lambda: '/frozen' in service.ros.graph.topics)
            await flood.ask('advertise', topic='/frozen', type=STRING, **(
                {} if qos is None else {'qos': qos}))
            answer = await flood.publish('/frozen', {'data': 'x'})
            assert answer['data']['subscribers'] == 1
            await operator.ask('advertise', topic='/other', type=STRING)
            await operator.publish('/other', {'data': 'x'})
            listener.send_signal(signal.SIGSTOP)
            waits = []
            for _ in range(30):
                for _ in range(200):
                    await flood.send('command', {'data': 'x'}, valid=False, destination='/frozen')
                since = time.monotonic()
                answer = await operator.publish('/other', {'data': 'x'})
                waits.append(time.monotonic() - since)
                assert answer['metadata']['message_type'] == 'acknowledgment'
                await flood.publish('/frozen', {'data': 'x'})   # all of these were read
            # 6000 samples; what does not fit would have waited 0.1 s each, the last 1000 100 s
            answer = await flood.publish('/frozen', {'data': 'last'})
            assert answer['data']['subscribers'] == 1
            assert not flood.errors()
            assert sorted(waits)[len(waits) // 2] < 1.0
