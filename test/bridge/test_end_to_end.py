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
"""The bridge end to end: real rclpy, real sockets, the native dialect."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
import itertools
import time
from typing import Any

from geometry_msgs.msg import Twist, Vector3
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Int32, String
from std_srvs.srv import SetBool, Trigger
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode

from ws_bridge.errors import Unavailable

LATCHED = QoSProfile(depth=3, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def robot() -> Iterator[Any]:
    """Give a rclpy node of its own, as the robot's other software."""
    with SpinningNode('robot') as spinning:
        yield spinning.node


async def stream(publisher: Any, make: Any, stop: asyncio.Event, period: float = 0.02) -> None:
    """Publish until told to stop."""
    number = 0
    while not stop.is_set():
        publisher.publish(make(number))
        number += 1
        await asyncio.sleep(period)


async def test_greeting_is_hello_then_state() -> None:
    async with running_bridge() as service, native_peer(service) as peer:
        hello = await peer.wait(lambda f: f['data'].get('op') == 'hello')
        assert peer.frames[0] is hello
        assert hello['data']['robot'] == 'testbot'
        assert hello['data']['allowed']['publish'] == ['*']
        state = await peer.wait(lambda f: f['data'].get('kind') == 'state')
        assert peer.frames[1] is state
        assert '/ws_bridge' in state['data']['nodes']


@pytest.mark.parametrize('encoding', ['json', 'cbor', 'cdr'])
async def test_samples_reach_a_peer(robot: Any, encoding: str) -> None:
    publisher = robot.create_publisher(String, '/chatter', 10)
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/chatter' in service.ros.graph.topics)
        done = await peer.ask('subscribe', topic='/chatter', encoding=encoding, schema=True)
        assert done['type'] == 'std_msgs/msg/String'
        assert done['schema'].strip().startswith('string data')
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        before = time.time()
        publisher.publish(String(data='grüß Gott'))
        if encoding == 'json':
            frame = await peer.wait(lambda f: f['metadata']['source'] == '/chatter')
            assert frame['data'] == {'data': 'grüß Gott'}
            assert before - 0.1 <= frame['metadata']['timestamp'] <= time.time() + 0.1
        else:
            await async_wait_until(lambda: peer.binary)
            (opcode, _, _, channel, stamp, sequence), body = peer.binary[0]
            assert channel == done['channel_id']
            assert opcode == {'cdr': 1, 'cbor': 3}[encoding]
            assert sequence == 1
            assert before - 0.1 <= stamp <= time.time() + 0.1
            assert 'grüß Gott'.encode() in body


async def test_publish_reaches_ros_and_says_how_many_heard(robot: Any) -> None:
    heard: list[Twist] = []
    robot.create_subscription(Twist, '/cmd_vel', heard.append, 10)
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/cmd_vel' in service.ros.graph.topics)
        await peer.acquire('/cmd_vel')
        for speed in (0.0, 0.25):
            assert await peer.command('/cmd_vel', {'linear': {'x': speed}}) == \
                {'op': 'publish', 'topic': '/cmd_vel', 'subscribers': 1}
        await async_wait_until(lambda: len(heard) == 3)     # the first one is of the bridge itself
        assert heard == [Twist(), Twist(), Twist(linear=Vector3(x=0.25))]


@pytest.mark.usefixtures('both_rclpy')
async def test_binary_publication_in_order(robot: Any) -> None:
    heard: list[int] = []
    robot.create_subscription(Int32, '/count', lambda m: heard.append(m.data), 100)
    from support.bridge_harness import BINARY_HEADER
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/count' in service.ros.graph.topics)
        channel = await peer.ask('advertise', topic='/count', type='std_msgs/Int32')
        for number in range(50):
            body = b'\x00\x01\x00\x00' + number.to_bytes(4, 'little')
            await peer.websocket.send(BINARY_HEADER.pack(
                2, 0, 0, channel['channel_id'], time.time(), number) + body)
        await async_wait_until(lambda: len(heard) == 50, why=lambda: f'{heard} {peer.frames[-3:]}')
        assert heard == list(range(50))
        await peer.websocket.send(BINARY_HEADER.pack(
            2, 0, 0, channel['channel_id'], time.time(), 51) + b'\x00\x01\x00\x00\x01')
        await async_wait_until(peer.errors)
        assert peer.errors()[0]['code'] == 'bad_cdr'


@pytest.mark.usefixtures('both_rclpy')
async def test_topic_that_appears_later() -> None:
    async with running_bridge() as service, native_peer(service) as peer:
        done = await peer.ask('subscribe', topic='/later')
        assert done['pending'] is True
        assert done['type'] is None
        with SpinningNode('late') as late:
            publisher = late.node.create_publisher(Int32, '/later', BEST_EFFORT)
            channel = await peer.wait(lambda f: f['data'].get('op') == 'channel')
            assert channel['data']['type'] == 'std_msgs/msg/Int32'
            await async_wait_until(lambda: publisher.get_subscription_count() == 1)
            publisher.publish(Int32(data=7))
            await async_wait_until(lambda: peer.samples('/later') == [{'data': 7}])


async def test_who_waits_for_the_type_hears_when_another_says_it() -> None:
    async with running_bridge() as service, native_peer(service) as waiting, \
            native_peer(service) as knowing:
        assert (await waiting.ask('subscribe', topic='/t'))['pending'] is True
        await knowing.ask('subscribe', topic='/t', type='std_msgs/msg/Int32')
        told = await waiting.wait(lambda f: f['data'].get('op') == 'channel')
        assert told['data']['type'] == 'std_msgs/msg/Int32'
        await knowing.ask('advertise', topic='/t', type='std_msgs/msg/Int32')
        await knowing.publish('/t', {'data': 7})
        for peer in (waiting, knowing):
            await async_wait_until(lambda p=peer: p.samples('/t'))
            assert peer.samples('/t') == [{'data': 7}]


async def test_a_call_that_cannot_be_started_takes_no_slot(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise Unavailable('the ROS side is shut down')
    async with running_bridge(max_calls=1) as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/ws_bridge/stop' in service.ros.graph.services)
        with monkeypatch.context() as patch:
            patch.setattr(service.ros, 'call', fails)
            for _ in range(3):
                assert (await peer.call('/ws_bridge/stop'))['data']['code'] == 'unavailable'
        answer = await peer.call('/ws_bridge/stop')
        assert answer['data']['result']['success'] is True


@pytest.mark.usefixtures('both_rclpy')
async def test_latched_topic_to_three_peers_exactly_once(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/map', LATCHED)
    for number in (1, 2):
        publisher.publish(Int32(data=number))
    async with running_bridge() as service:
        await async_wait_until(lambda: '/map' in service.ros.graph.topics)
        async with native_peer(service) as first, native_peer(service) as second, \
                native_peer(service) as third:
            peers = [first, second, third]
            for peer in peers:
                await peer.ask('subscribe', topic='/map')
                await async_wait_until(
                    lambda peer=peer: len(peer.samples('/map')) == 2)  # type: ignore[misc]
            publisher.publish(Int32(data=3))
            for peer in peers:
                await async_wait_until(
                    lambda peer=peer: len(peer.samples('/map')) >= 3)  # type: ignore[misc]
            for peer in peers:
                assert [s['data'] for s in peer.samples('/map')] == [1, 2, 3]


@pytest.mark.usefixtures('both_rclpy')
async def test_last_peer_takes_the_subscription_along(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/shared', 10)
    async with running_bridge() as service, native_peer(service) as first:
        await async_wait_until(lambda: '/shared' in service.ros.graph.topics)
        async with native_peer(service) as second:
            await first.ask('subscribe', topic='/shared')
            await second.ask('subscribe', topic='/shared')
            await async_wait_until(lambda: publisher.get_subscription_count() == 1)
            await first.ask('unsubscribe', topic='/shared')
            publisher.publish(Int32(data=5))
            await async_wait_until(lambda: second.samples('/shared'))
            assert not first.samples('/shared')
        await async_wait_until(lambda: publisher.get_subscription_count() == 0)


async def test_max_rate_keeps_the_newest(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/fast', 100)
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/fast' in service.ros.graph.topics)
        await peer.ask('subscribe', topic='/fast', max_rate=5)
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        started = time.monotonic()
        for number in range(100):
            publisher.publish(Int32(data=number))
            await asyncio.sleep(0.01)
        await async_wait_until(lambda: peer.samples('/fast')[-1:] == [{'data': 99}])
        seconds = time.monotonic() - started
        assert 2 <= len(peer.samples('/fast')) <= seconds * 5 + 2


async def test_peers_with_rates_that_are_multiples_get_the_same_samples(robot: Any) -> None:
    """So what they get is encoded once, and leaves once by the uplink of a fleet."""
    publisher = robot.create_publisher(Int32, '/fast', 100)
    async with running_bridge() as service, native_peer(service) as first, \
            native_peer(service) as second, native_peer(service) as third:
        await async_wait_until(lambda: '/fast' in service.ros.graph.topics)
        wishes, numbers = [(first, 10), (second, 10), (third, 5)], itertools.count()
        got: list[list[int]] = []
        while min(map(len, got), default=0) < 10 or wishes:
            if wishes and len(first.samples('/fast')) >= 5 * (3 - len(wishes)):
                peer, rate = wishes.pop(0)
                await peer.ask('subscribe', topic='/fast', max_rate=rate)
            publisher.publish(Int32(data=next(numbers)))
            await asyncio.sleep(0.007)
            got = [[sample['data'] for sample in peer.samples('/fast')]
                   for peer in (first, second, third)]
        for later in got[1:]:
            common = [number for number in later[2:] if number in got[0]]
            assert len(common) > 0.7 * len(later[2:]), got


async def test_call_service_and_errors(robot: Any) -> None:
    def set_bool(request: Any, response: Any) -> Any:
        response.success, response.message = request.data, 'done'
        return response
    robot.create_service(SetBool, '/switch', set_bool)
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/switch' in service.ros.graph.services)
        frame = await peer.call('/switch', {'data': True})
        assert frame['data'] == {'op': 'call', 'service': '/switch',
                                 'result': {'success': True, 'message': 'done'}}
        frame = await peer.call('/switch', {'data': 1})
        assert frame['data']['code'] == 'wrong_kind'
        assert frame['data']['field'] == 'data.data'
        frame = await peer.call('/nowhere', kind='service')
        assert frame['data']['code'] == 'unknown_name'


async def test_slow_service_delays_nothing_else(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/ticks', 10)
    async with running_bridge() as service, native_peer(service) as server, \
            native_peer(service) as peer:
        await server.ask('advertise_service', service='/slow', type='std_srvs/srv/Trigger')
        await async_wait_until(lambda: '/ticks' in service.ros.graph.topics)
        await peer.ask('subscribe', topic='/ticks')
        call = await peer.send('command', {}, destination='/slow', kind='service')
        request = await server.wait(lambda f: f['metadata']['destination'] == '/slow')
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(Int32(data=1))
        await async_wait_until(lambda: peer.samples('/ticks'))
        await server.send('acknowledgment', {'result': {'success': True, 'message': 'at last'}},
                          correlation_id=request['metadata']['message_id'])
        frame = await peer.answer(call)
        assert frame['data']['result'] == {'success': True, 'message': 'at last'}


@pytest.mark.usefixtures('both_rclpy')
async def test_hosted_service_answers_ros_and_the_same_connection(robot: Any) -> None:
    client = robot.create_client(Trigger, '/page')
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise_service', service='/page', type='std_srvs/srv/Trigger')
        await async_wait_until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        request = await peer.wait(lambda f: f['metadata']['message_type'] == 'command')
        assert request['data'] == {}
        await peer.send('acknowledgment', {'result': {'success': True, 'message': 'page'}},
                        correlation_id=request['metadata']['message_id'])
        await async_wait_until(future.done)
        assert future.result() == Trigger.Response(success=True, message='page')
        call = await peer.send('command', {}, destination='/page', timeout=1.0)
        own = await peer.wait(lambda f: f['metadata']['message_type'] == 'command'
                              and f is not request)
        await peer.send('acknowledgment', {'result': {'success': 'no'}},
                        correlation_id=own['metadata']['message_id'])
        await async_wait_until(peer.errors)
        assert peer.errors()[0]['code'] == 'wrong_kind'
        await peer.send('acknowledgment', {'result': {}},
                        correlation_id=own['metadata']['message_id'])
        late = await peer.wait(lambda f: f['data'].get('code') == 'expired')
        assert late['data']['field'] == 'metadata.correlation_id'
        frame = await peer.answer(call)
        assert frame['data']['code'] == 'timeout'


async def test_newer_owner_of_a_service_wins() -> None:
    async with running_bridge() as service, native_peer(service) as old, \
            native_peer(service) as new:
        await old.ask('advertise_service', service='/page', type='std_srvs/srv/Trigger')
        await new.ask('advertise_service', service='/page', type='std_srvs/srv/Trigger')
        await old.wait(lambda f: f['data'].get('code') == 'already_exists')
        call = await old.send('command', {}, destination='/page')
        request = await new.wait(lambda f: f['metadata']['message_type'] == 'command')
        await new.send('acknowledgment', {'result': {'message': 'new'}},
                       correlation_id=request['metadata']['message_id'])
        assert (await old.answer(call))['data']['result']['message'] == 'new'
        assert (await old.refused('unadvertise_service', service='/page'))['code'] == \
            'not_advertised'


async def test_a_peer_that_vanishes_takes_everything_along(robot: Any) -> None:
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise', topic='/mine', type='std_msgs/String')
        await peer.ask('advertise_service', service='/mine_too', type='std_srvs/srv/Trigger')
        await peer.ask('subscribe', topic='/heard', type='std_msgs/String')
        await async_wait_until(lambda: robot.count_publishers('/mine') == 1
                               and robot.count_subscribers('/heard') >= 1
                               and robot.count_services('/mine_too') == 1)
        peer.websocket.transport.abort()
        await async_wait_until(lambda: robot.count_publishers('/mine') == 0
                               and robot.count_subscribers('/heard') == 0
                               and robot.count_services('/mine_too') == 0)


async def test_errors_name_what_is_wrong(robot: Any) -> None:
    robot.create_publisher(String, '/chatter', 10)
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: '/chatter' in service.ros.graph.topics)
        assert (await peer.refused('subscribe', topic='/chatter', type='std_msgs/Int32'))['code'] \
            == 'type_mismatch'
        assert (await peer.refused('subscribe', topic='/x', type='no_such/Type'))['code'] \
            == 'unknown_type'
        assert (await peer.refused('subscribe', topic='/a b'))['code'] == 'bad_name'
        assert (await peer.refused('advertise', topic='/untyped'))['code'] == 'unknown_type'
        assert (await peer.refused('unsubscribe', topic='/chatter'))['code'] == 'not_advertised'
        wrong = await peer.refused('subscribe', topic='/chatter', encoding='xml', valid=False)
        assert (wrong['code'], wrong['field']) == ('bad_field', 'data.encoding')
        frame = await peer.publish('/chatter', {'dat': 'x'})
        assert (frame['data']['code'], frame['data']['field']) == ('unknown_field', 'data.dat')
        old = await peer.publish('/chatter', {}, timestamp=time.time() - 10, ttl=0.3)
        assert old['data']['code'] == 'expired'
        await peer.websocket.send('')       # says nothing
        await peer.websocket.send('{"metadata": ')
        await peer.wait(lambda f: f['data'].get('code') == 'bad_frame')
        await peer.websocket.send('{' * 10_000)
        await async_wait_until(lambda: len(
            [e for e in peer.errors() if e['code'] == 'bad_frame']) == 2)
        assert (await peer.publish('/chatter', {'data': 'still here'}))['data']['op'] == 'publish'


async def test_names_are_remapped_and_namespaced(robot: Any) -> None:
    heard: list[str] = []
    robot.create_subscription(String, '/robot1/chatter', lambda m: heard.append(m.data), 10)
    robot.create_subscription(String, '/other', lambda m: heard.append(m.data), 10)
    async with running_bridge('-r', '__ns:=/robot1', '-r', '/alias:=/other') as service, \
            native_peer(service) as peer:
        await async_wait_until(
            lambda: {'/robot1/chatter', '/other'} <= service.ros.graph.topics.keys())
        for topic in ('chatter', '/alias'):
            await peer.ask('advertise', topic=topic, type='std_msgs/String')
            await peer.publish(topic, {'data': topic})
        await async_wait_until(lambda: sorted(heard) == ['/alias', 'chatter'])


async def test_state_shows_freshness_and_peers(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/ticks', 10)
    stop = asyncio.Event()
    async with running_bridge() as service, native_peer(service) as peer, \
            native_peer(service) as other:
        await other.ask('hello', name='observer')
        await async_wait_until(lambda: '/ticks' in service.ros.graph.topics)
        await peer.ask('subscribe', topic='/ticks')

        def topic_is(state: str) -> Any:
            def check(frame: Any) -> bool:
                return frame['data'].get('kind') == 'state' and any(
                    t['topic'] == '/ticks' and t['freshness'] == state
                    for t in frame['data']['topics'])
            return check
        ticking = asyncio.create_task(stream(publisher, lambda n: Int32(data=n), stop))
        await peer.wait(topic_is('FRESH'))
        stop.set()
        await ticking
        await peer.wait(topic_is('STALE'))
        robot.destroy_publisher(publisher)
        await peer.wait(topic_is('LOST'))
        await peer.wait(lambda f: f['data'].get('kind') == 'state' and any(
            p['name'] == 'observer' for p in f['data']['peers']))


async def test_heartbeat_is_answered_with_both_times() -> None:
    async with running_bridge(heartbeat_interval=0.5, heartbeat_timeout=1.5) as service, \
            native_peer(service) as peer:
        sent = time.time()
        beat = await peer.send('heartbeat', {'type': 'heartbeat', 'timestamp': sent,
                                             'sequence': 1, 'echo': None})
        answer = await peer.wait(lambda f: f['metadata']['correlation_id'] == beat)
        assert answer['data']['echo']['sequence'] == 1
        assert answer['data']['echo']['timestamp'] == sent
        assert abs(answer['data']['echo']['received'] - sent) < 5.0

        def liveness(state: str) -> Any:
            return lambda f: f['data'].get('kind') == 'state' and \
                f['data']['peers'][0]['liveness'] == state
        await peer.wait(liveness('ALIVE'))
        await peer.wait(liveness('SUSPECT'))
        await peer.wait(liveness('LOST'))


async def test_seed_style_peer_without_subprotocol(robot: Any) -> None:
    heard: list[Twist] = []
    robot.create_subscription(Twist, '/cmd_vel', heard.append, 10)
    async with running_bridge() as service, \
            native_peer(service, subprotocols=None) as peer:
        await async_wait_until(lambda: '/cmd_vel' in service.ros.graph.topics)
        # The first command expires where its subscriber is matched later than the command's ttl.
        while 'subscribers' not in (frame := await peer.publish(
                '/cmd_vel', {'linear': {'x': 0.0}}))['data']:
            assert frame['data']['code'] == 'expired', frame
            peer.frames.remove(frame)
        assert frame['data']['subscribers'] == 1
        await async_wait_until(lambda: heard)
        kinds = {f['metadata']['message_type'] for f in peer.frames}
        assert kinds <= {'acknowledgment', 'heartbeat'}


async def test_shutdown_tells_peers_1001() -> None:
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.wait(lambda f: f['data'].get('op') == 'hello')
        await service.server.disconnect()
        await async_wait_until(lambda: peer.closed)
        assert peer.closed is not None
        assert peer.closed[0] == 1001


async def test_what_left_stays_counted() -> None:
    async with running_bridge() as service:
        for number in (1, 2):
            async with native_peer(service) as peer:
                await peer.ask('hello')
            await async_wait_until(lambda: service.bridge.peer_count == 0)
            assert service.bridge.figures.totals()['received_messages'][1] == number
        assert service.bridge.figures.gauges()['peers'][1] == 0
