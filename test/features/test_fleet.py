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
"""A bridge behind a relay: every dialect, its roles, and what stops the robot."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, AsyncExitStack
import itertools
from pathlib import Path
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from geometry_msgs.msg import Twist
import orjson
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Int32, String
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.fleet import running_relay, slow_line, TOKENS, write_fleet_tokens
from support.foxglove_peer import foxglove_peer
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer, RosbridgePeer
from support.security_support import bearer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ws_bridge.main import Service

GATE = '/cmd_vel'
ALICE, BOB, R1 = (TOKENS[name][1] for name in ('alice', 'bob', 'r1'))


@pytest.fixture
def heard() -> Iterator[list[float]]:
    """Give what a robot hears."""
    heard: list[float] = []
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, GATE, lambda m: heard.append(m.linear.x), 100)
        odom = robot.node.create_publisher(Int32, '/odom', 10)
        robot.node.create_timer(0.02, lambda: odom.publish(Int32(data=7)))
        battery = robot.node.create_publisher(BatteryState, '/battery', 10)
        robot.node.create_timer(0.1, lambda: battery.publish(BatteryState(percentage=0.42)))
        yield heard


def token_of_robot(folder: Path) -> dict[str, str]:
    """Return the parameter that names the token of the robot of the tests."""
    path = folder / 'robot_token'
    path.write_text('the-token-of-testbot')
    with open(write_fleet_tokens(folder), 'a') as file:
        file.write('testbot robot the-token-of-testbot\n')
    return {'fleet_token_file': str(path)}


async def is_registered(robot: Service) -> None:
    """Wait until a robot is in the list of its relay."""
    fleet = robot.fleet
    assert fleet is not None
    await async_wait_until(lambda: fleet.is_registered, why=lambda: fleet)


async def test_every_dialect_as_at_the_robot_itself(heard: list[float], tmp_path: Path) -> None:
    """With identity, role and address for which the relay vouches; the audit says so."""
    token = token_of_robot(tmp_path)
    audit = tmp_path / 'audit'
    async with running_relay(token_file=str(tmp_path / 'fleet_tokens')) as relay, running_bridge(
            fleet=[relay.url], audit_file=str(audit), gate_ttl=5.0, **token) as robot:
        await is_registered(robot)
        url, headers = f'{relay.url}/robots/testbot', {'additional_headers': bearer(ALICE)}
        async with native_peer(url, **headers) as native, \
                rosbridge_peer(url, **headers) as page, foxglove_peer(
                    SimpleNamespace(url=url), **headers) as viewer:  # type: ignore[arg-type]
            hello = await native.ask('hello', name='console')
            assert (hello['robot'], hello['login']) == ('testbot', 'done')
            await native.ask('subscribe', topic='/odom')
            await page.send('subscribe', topic='/odom')
            await async_wait_until(lambda: native.samples('/odom') and page.samples('/odom'))
            await async_wait_until(lambda: '/odom' in viewer.channels)
            await native.acquire(GATE)
            await native.command(GATE, {'linear': {'x': 0.0}})
            await native.command(GATE, {'linear': {'x': 0.4}})
            await async_wait_until(lambda: 0.4 in heard)
            await async_wait_until(lambda: relay.relay.robots['testbot'].state == {
                'stopped': False, 'drivers': ['alice'], 'battery': 0.42})
            assert (await page.call('/ws_bridge/stop', {}))['result']
            await async_wait_until(lambda: heard[-1] == 0.0)
            peers = {peer.dialect.name: peer for peer in robot.bridge.peers()}
            assert len(peers) == 3
            for peer in peers.values():
                identity = peer.session.login.identity
                assert identity is not None
                assert (identity.name, identity.method) == ('alice', 'relay')
                assert peer.session.login.rights.role.name == 'operator'
                assert peer.link.address == '127.0.0.1'
        async with native_peer(url, additional_headers=bearer(BOB)) as looker:
            assert (await looker.refused('acquire', gate=GATE))['code'] == 'forbidden'
    logins = [line for line in map(orjson.loads, audit.read_text().splitlines())
              if line['event'] == 'login']
    assert {(line['identity'], line['role'], line['method'], line['address'])
            for line in logins} == {('alice', 'operator', 'relay', '127.0.0.1'),
                                    ('bob', 'observer', 'relay', '127.0.0.1')}


async def test_the_robot_gives_less_than_the_relay_says(tmp_path: Path) -> None:
    """Also where its own logins would give more: they are not asked."""
    token = token_of_robot(tmp_path)
    own = tmp_path / 'own'
    own.write_text('root admin the-token-of-an-admin\n')
    own.chmod(0o600)
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text("""
version: 1
roles:
  painter: {allow: [{publish: /paint}]}
""")
    async with running_relay(token_file=str(tmp_path / 'fleet_tokens')) as relay, running_bridge(
            fleet=[relay.url], relay_role='observer', token_file=str(own), ticket_lifetime=60.0,
            **token) as robot:
        await is_registered(robot)
        url = f'{relay.url}/robots/testbot'
        async with native_peer(url, additional_headers=bearer(ALICE)) as peer:
            await async_wait_until(lambda: robot.bridge.peer_count)
            (only,) = robot.bridge.peers()
            assert only.session.login.rights.role.name == 'observer'
            answer = await peer.ask('auth', token='the-token-of-an-admin')
            assert (answer['name'], answer['role']) == ('alice', 'observer')
            assert (await peer.refused('ticket', role='observer'))['code'] == 'forbidden'
    async with running_relay(token_file=str(tmp_path / 'fleet_tokens')) as relay, running_bridge(
            fleet=[relay.url], relay_role='painter', mapping_file=str(mapping),
            **token) as robot:
        await is_registered(robot)
        with pytest.raises(InvalidStatus) as refused:       # neither is less than the other
            await connect(f'{relay.url}/robots/testbot', proxy=None,
                          additional_headers=bearer(BOB))
        assert refused.value.response.status_code == 403


# ---- what stops the robot

@asynccontextmanager
async def relay_process() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a relay in a process of its own; give the process and its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, '-m', 'ws_bridge', 'relay', '-p', 'port:=0', stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield process, next(word for word in line.split() if word.startswith('ws://'))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def driving(page: RosbridgePeer, heard: list[float]) -> AsyncIterator[list[float]]:
    """Command ever greater speeds; give what was commanded."""
    commanded = [1.0]

    async def drive() -> None:
        while True:
            commanded.append(commanded[-1] + 1.0)
            await page.send('publish', topic=GATE, msg={'linear': {'x': commanded[-1]}})
            await asyncio.sleep(0.02)
    task = asyncio.create_task(drive())
    try:
        await async_wait_until(lambda: len(heard) > 5, why=lambda: page.frames[-3:])
        yield commanded
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize('fate', ['killed', 'frozen'])
async def test_a_relay_that_dies_stops_the_robot(heard: list[float], fate: str) -> None:
    """And what it has held back is expired, when it lives again."""
    async with relay_process() as (process, url), running_bridge(
            fleet=[url], gate_timeout=0.4, gate_ttl=0.2, fence_interval=0.2) as robot:
        await is_registered(robot)
        page: Any
        async with rosbridge_peer(f'{url}/robots/testbot') as page, \
                driving(page, heard) as commanded:
            process.send_signal(signal.SIGKILL if fate == 'killed' else signal.SIGSTOP)
            held = commanded[-1]
            await async_wait_until(lambda: heard[-1] == 0.0)
            moved = [speed for speed in heard if speed]
            if fate == 'killed':
                await async_wait_until(lambda: robot.bridge.peer_count == 0)
                assert [speed for speed in heard if speed] == moved
                return
            await async_wait_until(lambda: commanded[-1] > held + 50)
            late = commanded[-1]
            process.send_signal(signal.SIGCONT)
            refused = robot.ledger.counts
            await async_wait_until(lambda: refused['refused', 'expired'] > 10)
            # What came out of the relay at once was older than it may be; then it drives again.
            await async_wait_until(lambda: heard[-1] > late)
            assert not [speed for speed in heard[len(moved):] if held + 2 < speed < late - 25]


async def test_a_robot_goes_on_to_another_relay(heard: list[float]) -> None:
    """A client finds its session by that one, but nobody holds the lease any more."""
    def last(peer: NativePeer) -> int:
        return max([frame['metadata']['sequence'] for frame in peer.frames
                    if frame['metadata']['source'] == '/odom'], default=0)
    async with relay_process() as (process, first), running_relay() as second, running_bridge(
            fleet=[first, second.url], retry_delay=0.05, resume_time=30.0) as robot:
        await is_registered(robot)
        # else the number of the channel is another one when it appears
        await async_wait_until(lambda: '/odom' in robot.ros.graph.topics)
        async with rosbridge_peer(f'{first}/robots/testbot') as page, \
                native_peer(f'{first}/robots/testbot') as native:
            await page.send('subscribe', topic='/odom')
            hello = await native.ask('hello', resume=True)
            channel = (await native.ask('subscribe', topic='/odom'))['channel_id']
            await native.acquire(GATE)
            await async_wait_until(lambda: last(native))
            process.kill()
            await async_wait_until(lambda: page.closed and native.closed)
        await async_wait_until(lambda: 'testbot' in second.relay.robots)
        async with rosbridge_peer(f'{second.url}/robots/testbot') as page, \
                native_peer(f'{second.url}/robots/testbot') as back:
            await page.send('subscribe', topic='/odom')
            await async_wait_until(lambda: page.samples('/odom'))
            told = await back.ask(
                'resume', session=hello['session'], secret=hello['resume']['secret'],
                received={str(channel): last(native)})
            (found,) = told['subscriptions']
            assert found['missed'] == found['sequence'] - last(native) > 0
            await async_wait_until(lambda: last(back))
            first_sample = next(frame for frame in back.frames
                                if frame['metadata']['source'] == '/odom')
            assert first_sample['metadata']['sequence'] == found['sequence'] + 1
            assert [gate['holder'] for gate in (await back.ask('gates'))['gates']] == [None]


async def test_by_a_slow_uplink_each_gets_what_it_may(tmp_path: Path) -> None:
    """Whatever is shared on the way: only that, in order, and what is kept for who comes late."""
    tokens, mapping = tmp_path / 'tokens', tmp_path / 'mapping.yaml'
    tokens.write_text(f'testbot robot {R1}\nalice - {ALICE}\nbob - {BOB}\n')
    tokens.chmod(0o600)
    (tmp_path / 'token').write_text(R1)
    mapping.write_text("""
version: 1
out: ['*']
roles:
  little: {like: observer, deny: [{subscribe: /secret}]}
identities: {alice: operator, bob: little}
""")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with SpinningNode('robot') as robot:
        numbers = itertools.count(1)
        out = {topic: robot.node.create_publisher(String, topic, 10)
               for topic in ('/open', '/secret')}
        kept = robot.node.create_publisher(String, '/map', latched)
        kept.publish(String(data='the map ' + 20_000 * 'm'))

        def publish() -> None:
            for topic, publisher in out.items():
                publisher.publish(String(data=f'{topic}:{next(numbers)}:'.ljust(9000, '.')))
        robot.node.create_timer(0.02, publish)
        async with running_relay(token_file=str(tokens)) as relay, \
                slow_line(relay.server.port, 200_000) as line, running_bridge(
                    fleet=[f'ws://127.0.0.1:{line.port}'], mapping_file=str(mapping),
                    fleet_token_file=str(tmp_path / 'token')) as bridge:
            await is_registered(bridge)
            await async_wait_until(lambda: {*out, '/map'} <= {*bridge.ros.graph.topics})
            url = f'{relay.url}/robots/testbot'
            async with AsyncExitStack() as stack:
                async def join(token: str, *topics: str, **wish: Any) -> NativePeer:
                    peer = await stack.enter_async_context(
                        native_peer(url, additional_headers=bearer(token)))
                    for topic in topics:
                        await peer.ask('subscribe', topic=topic, **wish)
                    return peer
                alices = [await join(ALICE, '/open', '/secret') for _ in range(3)]
                bobs = [await join(BOB, '/open') for _ in range(2)] + [
                    await join(BOB, '/open', max_rate=5), await join(BOB, '/open', '/map')]
                assert (await bobs[0].refused('subscribe', topic='/secret'))['code'] == 'forbidden'
                await async_wait_until(lambda: all(
                    len(peer.samples('/open')) > 10 for peer in alices + bobs))
                late = await join(BOB, '/map')
                await alices.pop().websocket.close()
                await async_wait_until(lambda: late.samples('/map') and all(
                    len(peer.samples('/open')) > 20 for peer in alices + bobs))
        for peer in [*alices, *bobs, late]:
            for topic in out:
                got = [int(sample['data'].split(':')[1]) for sample in peer.samples(topic)]
                assert got == sorted({*got})
        for peer in [*bobs, late]:
            assert '/secret:' not in str(peer.frames)
        assert all(peer.samples('/secret') for peer in alices)
        assert [len(peer.samples('/map')) for peer in (bobs[-1], late)] == [1, 1]


@pytest.mark.parametrize('encoding', ['json', 'cdr'])
async def test_echo_goes_on_by_another_relay(encoding: str) -> None:
    """The command line finds its session there, and says how many samples were missed."""
    printed: list[int] = []
    said: list[str] = []

    async def read(stream: asyncio.StreamReader, take: Callable[[str], object]) -> None:
        async for line in stream:
            take(line.decode().strip())
    with SpinningNode('robot') as robot:
        out, numbers = robot.node.create_publisher(Int32, '/count', 100), itertools.count(1)
        robot.node.create_timer(0.01, lambda: out.publish(Int32(data=next(numbers))))
        async with relay_process() as (process, first), running_relay() as second, \
                running_bridge(fleet=[first, second.url], retry_delay=0.05,
                               resume_time=30.0) as bridge:
            await is_registered(bridge)
            await async_wait_until(lambda: '/count' in bridge.ros.graph.topics)
            echo = await asyncio.create_subprocess_exec(
                sys.executable, '-m', 'ws_bridge', 'echo', '/count', '--robot', 'testbot',
                '--url', f'{first},{second.url}', '--encoding', encoding,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert echo.stdout is not None
            assert echo.stderr is not None
            reading = [asyncio.create_task(each) for each in (
                read(echo.stdout, lambda line: printed.append(int(orjson.loads(line)['data']))),
                read(echo.stderr, said.append))]
            await async_wait_until(lambda: printed, why=lambda: said)
            process.kill()
            await async_wait_until(lambda: len(said) > 1, why=lambda: said)
            count = len(printed)
            await async_wait_until(lambda: len(printed) > count + 10, why=lambda: said)
            echo.send_signal(signal.SIGINT)
            assert await echo.wait() == 0
            await asyncio.gather(*reading)
    assert printed == sorted({*printed})
    missing = printed[-1] - printed[0] + 1 - len(printed)
    assert (said[0].split(':')[0], said[-1]) == (
        'not_connected', f'connected again, {missing} samples were missed')
    assert missing


async def test_the_end_of_the_bridge_is_told_to_those_behind_the_relay() -> None:
    async with running_relay() as relay:
        async with running_bridge(fleet=[relay.url]) as robot:
            await is_registered(robot)
            websocket = await connect(f'{relay.url}/robots/testbot', proxy=None,
                                      subprotocols=['ws_bridge.v1'])  # type: ignore[list-item]
            await websocket.recv()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        await async_wait_until(lambda: not relay.relay.robots)


def test_a_relay_needs_no_ros() -> None:
    """Nor does a bridge without relays load anything of a fleet."""
    code = """
import sys
import ws_bridge.fleet.serve, ws_bridge.fleet.engine
found = [name for name in sys.modules if name.startswith(('rclpy', 'nats'))]
for name in [name for name in sys.modules if name.startswith('ws_bridge.fleet')]:
    del sys.modules[name]
import ws_bridge.main
print(found + [name for name in sys.modules if name.startswith('ws_bridge.fleet')])"""
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True).stdout.strip() == '[]'
