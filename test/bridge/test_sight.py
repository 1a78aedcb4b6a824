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
"""What operators see: which picture has arrived, and the speed limit of a gate with a camera."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
import json
from math import inf
from pathlib import Path
import time
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, Limit, PATIENCE, SpinningNode

from ws_bridge.bridge.sight import MOST, Sight
from ws_bridge.errors import ConfigError
from ws_bridge.protocol.unix_time import nanoseconds

CAMERA = '/camera'
EPOCH = 1_000.0
MAPPING = """\
version: 1
out: ['*']
in: ['*']
gates:
- gate: drive
  topics: [/cmd_vel]
  timeout: 30
  ttl: 3600
  clamp: [{field: linear.x, min: -1, max: 1, saturate: true}]
  slow_down: {full: 0, stop: 100}
- gate: look
  topics: [/look]
  timeout: 30
  ttl: 3600
  clamp: [{field: linear.x, min: -1, max: 1, saturate: true}]
  slow_down: {full: 0, stop: 100, camera: camera}
"""


class FakeLink(SimpleNamespace):
    """A connection as a key, with its fence."""

    __hash__ = object.__hash__


def unix(seconds: float) -> int:
    return nanoseconds(EPOCH + seconds)


def test_a_picture_has_arrived_when_a_later_ping_is_answered() -> None:
    now = 0.0
    sight = Sight([CAMERA], lambda: now, EPOCH)
    link: Any = FakeLink(fence=0.5)
    assert sight.watcher('/other') is None
    left = sight.watcher(CAMERA)
    assert left is not None
    assert sight.age(CAMERA, link, 1.0) == inf
    for now in (1.0, 2.0):
        left(unix(now - 0.25), link)
    assert sight.age(CAMERA, link, 3.0) == inf      # nobody knows
    link.fence = 1.0
    assert sight.age(CAMERA, link, 3.0) == inf      # the ping may have been first
    link.fence = 1.5
    assert sight.age(CAMERA, link, 3.0) == pytest.approx(2.25)
    link.fence = 2.5
    assert sight.age(CAMERA, link, 3.0) == pytest.approx(1.25)
    for says, age in ((1.5, 1.5), (2.75, 1.25), (3.5, 1.25), (1e12, 1.25), (-1e12, 1e12)):
        # What has not arrived nobody shows, whatever it says.
        assert sight.age(CAMERA, link, 3.0, unix(says)) == pytest.approx(age)
    assert sight.age('/other', link, 3.0, unix(2.75)) == inf
    sight.shown(CAMERA, unix(0.75), link)       # what is in sight is an older one
    assert sight.age(CAMERA, link, 3.0) == pytest.approx(2.25)
    sight.shown(CAMERA, unix(2.9), link)        # what has not arrived is not
    assert sight.age(CAMERA, link, 3.0) == pytest.approx(1.25)
    sight.shown('/other', unix(2.9), link)
    for _ in range(2 * MOST):
        left(unix(now), link)
    assert len(sight._views[link, CAMERA].left) == MOST
    sight.closed(link)
    assert repr(sight) == '<Sight of 1 cameras, 0 views>'


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    """Give a mapping file."""
    path = tmp_path / 'mapping.yaml'
    path.write_text(MAPPING)
    return str(path)


async def command(peer: NativePeer, topic: str, age: float, **metadata: Any) -> None:
    """Ask for more speed than there is."""
    answer = await peer.command(topic, {'linear': {'x': 9.0}},
                                bridge_time=peer.bridge_time - age, **metadata)
    assert answer['op'] == 'publish', answer


async def test_a_bridge_slows_down(mapping: str, tmp_path: Path) -> None:
    audit = tmp_path / 'audit.jsonl'
    leases: list[Any] = []
    rows: dict[str, Any] = {}

    def diagnosed(message: DiagnosticArray) -> None:
        rows.update((each.name, each) for each in message.status)
    with SpinningNode('robot') as robot:
        heard: dict[str, list[float]] = {'/cmd_vel': [], '/look': []}
        for topic, speeds in heard.items():
            robot.node.create_subscription(
                Twist, topic, lambda m, speeds=speeds: speeds.append(m.linear.x), 100)
        robot.node.create_subscription(
            String, '/ws_bridge/lease', lambda m: leases.append(json.loads(m.data)),
            QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        robot.node.create_subscription(DiagnosticArray, '/diagnostics', diagnosed, 10)
        camera = robot.node.create_publisher(String, CAMERA, 10)
        async with running_bridge(mapping_file=mapping, audit_file=str(audit),
                                  diagnostics_period=0.2) as service, \
                native_peer(service) as peer:
            for gate, topic in (('drive', '/cmd_vel'), ('look', '/look')):
                await peer.acquire(gate)
                await peer.ask('advertise', topic=topic, type='geometry_msgs/msg/Twist')
                while not heard[topic]:     # until they have found each other
                    assert (await peer.command(topic, {}))['op'] == 'publish'
            look, peer.epoch = peer.epoch, (await peer.ask('gates'))['gates'][0]['epoch']
            for age, high in ((0.0, 1.0), (50.0, 0.5), (150.0, 0.0)):
                await command(peer, '/cmd_vel', age)
                await async_wait_until(lambda h=high: h - 0.2 < heard['/cmd_vel'][-1] <= h)
            told = await peer.wait(lambda f: f['data'].get('kind') == 'speed'
                                   and f['data']['gate'] == 'drive'
                                   and f['data']['speed_limit'] == 0.0)
            assert told['data']['delay'] > 100.0
            assert told['data']['picture_age'] is None
            gates = (await peer.ask('gates'))['gates']
            assert [gate['speed_limit'] for gate in gates][:1] == [0.0]
            await async_wait_until(lambda: leases and leases[-1][0]['speed_limit'] == 0.0)
            await async_wait_until(lambda: (row := rows.get('ws_bridge: speed of drive'))
                                   and row.message == '0%, by the delay')
            lines = [json.loads(line) for line in audit.read_text().splitlines()]
            assert [line['speed_limit'] for line in lines
                    if line['event'] == 'speed' and line['gate'] == 'drive'][-1] == 0.0

            peer.epoch = look
            heard['/look'].clear()
            await command(peer, '/look', 0.0)
            await async_wait_until(lambda: heard['/look'])
            assert set(heard['/look']) == {0.0}     # it sees nothing
            await peer.ask('subscribe', topic=CAMERA)
            await async_wait_until(lambda: camera.get_subscription_count())
            camera.publish(String(data='a picture'))
            await async_wait_until(lambda: peer.samples(CAMERA))
            while heard['/look'][-1] < 0.8:
                await command(peer, '/look', 0.0)
            await command(peer, '/look', 0.0, picture_time=peer.bridge_time - 50.0)
            await async_wait_until(lambda: 0.3 < heard['/look'][-1] <= 0.5)


@pytest.mark.parametrize('is_explicit', [True, False])
async def test_who_says_wrong_times_is_slowed_down_by_its_pongs(tmp_path: Path,
                                                                is_explicit: bool) -> None:
    """It says that each command is new; that it answers no ping shows that it is far away."""
    path = tmp_path / 'mapping.yaml'
    lease = str(is_explicit).lower()
    path.write_text(MAPPING.replace(
        'full: 0, stop: 100}', f'full: 0.3, stop: 0.6}}\n  require_lease: {lease}'))
    with SpinningNode('robot') as robot:
        heard: list[float] = []
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: heard.append(m.linear.x), 100)
        async with running_bridge(mapping_file=str(path)) as service, \
                native_peer(service) as peer:
            if is_explicit:
                await peer.acquire('drive')
            await peer.ask('advertise', topic='/cmd_vel', type='geometry_msgs/msg/Twist')
            while not heard:
                assert (await peer.command('/cmd_vel', {}))['op'] == 'publish'

            async def drive(is_enough: Callable[[float], bool]) -> None:
                heard.clear()
                limit = Limit(PATIENCE)
                while not heard or not is_enough(heard[-1]):
                    assert not limit.is_over(), heard[-9:]
                    await peer.send('command', {'linear': {'x': 9.0}}, destination='/cmd_vel',
                                    epoch=peer.epoch, sequence=next(peer.sequence),
                                    bridge_time=time.time())
                    await asyncio.sleep(0.02)   # as a page does
            await drive(lambda speed: speed == 1.0)
            peer.websocket.transport.pause_reading()
            await drive(lambda speed: speed == 0.0)
            peer.websocket.transport.resume_reading()
            await drive(lambda speed: speed == 1.0)


async def test_a_camera_that_nobody_may_see_is_an_error_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / 'mapping.yaml'
    path.write_text(MAPPING.replace("out: ['*']", 'out: [/scan]'))
    with pytest.raises(ConfigError, match='look slows down by the picture of /camera, which'):
        async with running_bridge(mapping_file=str(path)):
            raise AssertionError('it has started')
