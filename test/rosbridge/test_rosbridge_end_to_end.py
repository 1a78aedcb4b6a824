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
"""Everything at once, in rosbridge v2: a real node, a real bridge, a client on a WebSocket."""
from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
import json
import time
from typing import Any

import cbor2
from geometry_msgs.msg import PoseStamped
import pytest
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Int32, String, UInt8MultiArray
from std_srvs.srv import SetBool, Trigger
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer

LATCHED = QoSProfile(depth=3, durability=DurabilityPolicy.TRANSIENT_LOCAL)
QUIET = PublisherEventCallbacks(use_default_callbacks=False)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def robot() -> Iterator[Any]:
    """Give a rclpy node of its own, as the robot's other software."""
    with SpinningNode('robot') as spinning:
        yield spinning.node


async def matched(publisher: Any, number: int = 1) -> None:
    """Wait until a publisher has so many subscribers."""
    await async_wait_until(lambda: publisher.get_subscription_count() == number)


@pytest.mark.parametrize('options', [
    {}, {'subprotocols': ['rosbridge.v2']}, {'subprotocols': ['arduino']}])
async def test_samples_reach_a_client(robot: Any, options: dict[str, Any]) -> None:
    publisher = robot.create_publisher(String, '/chatter', 10)
    async with running_bridge() as service, rosbridge_peer(service, **options) as peer:
        await peer.send('subscribe', topic='/chatter', type='std_msgs/String', id='subscribe:1')
        await matched(publisher)
        publisher.publish(String(data='grüß Gott'))
        frame = await peer.wait(lambda f: True)
        assert frame == {'op': 'publish', 'topic': '/chatter', 'msg': {'data': 'grüß Gott'}}
        assert len(peer.frames) == 1, 'something was told that nobody asked for'


async def test_advertise_and_publish_at_once_in_order(robot: Any) -> None:
    heard: list[int] = []
    robot.create_subscription(Int32, '/count', lambda m: heard.append(m.data), 100)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/count' in service.ros.graph.topics)
        await peer.send('advertise', topic='/count', type='std_msgs/Int32', queue_size=100,
                        latch=False, id='advertise:1')
        for number in range(30):
            await peer.send('publish', topic='/count', msg={'data': number}, latch=False)
        await async_wait_until(lambda: len(heard) == 30, why=lambda: str(heard))
        assert heard == list(range(30))
        await peer.send('publish', topic='/count', msg={'data': 30}, id=7)
        await async_wait_until(lambda: heard[-1:] == [30])
        assert not peer.frames


async def test_publish_without_advertise_and_header_stamp(robot: Any) -> None:
    heard: list[PoseStamped] = []
    robot.create_subscription(PoseStamped, '/goal', heard.append, 10)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/goal' in service.ros.graph.topics)
        before = time.time()
        await peer.send('publish', topic='/goal', msg={'header': {'frame_id': 'map'}})
        await peer.send('publish', topic='/goal', msg={
            'header': {'stamp': {'secs': 5, 'nsecs': 6}}, 'pose': {'position': {'x': 1}}})
        await async_wait_until(lambda: len(heard) == 2)
        assert abs(heard[0].header.stamp.sec - before) < 5
        assert heard[0].header.frame_id == 'map'
        assert (heard[1].header.stamp.sec, heard[1].header.stamp.nanosec) == (5, 6)
        assert heard[1].pose.position.x == 1.0


async def test_errors_come_only_when_asked_for(robot: Any) -> None:
    robot.create_publisher(String, '/chatter', 10)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/chatter' in service.ros.graph.topics)
        await peer.send('publish', topic='/chatter', msg={'dat': 'x'})
        await peer.send('set_level', level='error')
        status = peer.status
        assert await status('publish', topic='/chatter', msg={'dat': 'x'}) == \
            'unknown_field: msg.dat: the message type has no such field'
        assert (await status('subscribe', topic='/chatter', type='std_msgs/Int32')).startswith(
            'type_mismatch: type: ')
        assert (await status('advertise', topic='/x', type='no_such/Type')).startswith(
            'unknown_type: ')
        assert (await status('publish', topic='/a b', msg={})).startswith('bad_name: ')
        assert (await status('publish', topic='/nobody', msg={})).startswith('unknown_type: ')
        assert (await status('unsubscribe', topic='/chatter')).startswith('not_advertised: topic')
        assert (await status('fly')).startswith('unknown_operation: op: ')
        assert len([f for f in peer.frames if f['op'] == 'status']) == 7
        await peer.websocket.send('{"op": ')
        await peer.wait(lambda f: f['op'] == 'status' and f['msg'].startswith('bad_frame'))
        await peer.send('set_level', level='info')
        await peer.send('advertise', topic='/chatter', type='std_msgs/String', id='a')
        await peer.wait(lambda f: f == {'op': 'status', 'level': 'info', 'msg': 'advertise: done',
                                        'id': 'a'})


async def test_latched_topic_to_three_clients_exactly_once(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/map', LATCHED)
    publisher.publish(Int32(data=1))
    async with running_bridge() as service, rosbridge_peer(service) as first, \
            rosbridge_peer(service) as second, rosbridge_peer(service) as third:
        for peer in (first, second, third):
            await peer.send('subscribe', topic='/map', type='std_msgs/Int32')
            await peer.wait(lambda f: True)
        publisher.publish(Int32(data=2))
        for peer in (first, second, third):
            await async_wait_until(
                lambda peer=peer: len(peer.samples('/map')) >= 2)  # type: ignore[misc]
            assert peer.samples('/map') == [{'data': 1}, {'data': 2}]


async def test_latch_of_a_client_reaches_late_nodes_and_clients(robot: Any) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer, \
            rosbridge_peer(service) as late:
        at_once: list[int] = []
        robot.create_subscription(Int32, '/map', lambda m: at_once.append(m.data), 10)
        await peer.send('advertise', topic='/map', type='std_msgs/Int32', latch=True,
                        queue_size=100)
        for number in range(3):
            await peer.send('publish', topic='/map', msg={'data': number})
        await async_wait_until(lambda: at_once == [0, 1, 2])
        heard: list[int] = []
        robot.create_subscription(Int32, '/map', lambda m: heard.append(m.data), LATCHED)
        await async_wait_until(lambda: heard)
        await late.send('subscribe', topic='/map', type='std_msgs/Int32')
        await late.wait(lambda f: True)
        assert heard == [2]
        assert late.samples('/map') == [{'data': 2}]


async def test_late_node_gets_no_old_command(robot: Any) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await peer.send('advertise', topic='/cmd_vel', type='geometry_msgs/Twist', queue_size=1)
        await peer.send('publish', topic='/cmd_vel', msg={'linear': {'x': 1.0}})
        # of the stop process, and the bridge's own for the case that this one dies
        infos = await async_wait_until(lambda: [
            info for info in [robot.get_publishers_info_by_topic('/cmd_vel')] if len(info) == 2])
        assert {info.qos_profile.durability for info in infos[0]} == {DurabilityPolicy.VOLATILE}


async def test_unsubscribing_one_of_two_keeps_the_other(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/t', 10)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await peer.send('subscribe', topic='/t', type='std_msgs/Int32', id='slow',
                        throttle_rate=60000)
        await peer.send('subscribe', topic='/t', type='std_msgs/Int32', id='fast')
        await matched(publisher)
        for number in range(5):
            publisher.publish(Int32(data=number))
        await async_wait_until(lambda: len(peer.samples('/t')) == 5)
        await peer.send('unsubscribe', topic='/t', id='slow')
        await peer.call('/rosapi/get_time')
        publisher.publish(Int32(data=5))
        await async_wait_until(lambda: len(peer.samples('/t')) == 6)
        await peer.send('subscribe', topic='/t', id='third')
        await peer.send('unsubscribe', topic='/t')
        await matched(publisher, 0)
        assert [s['data'] for s in peer.samples('/t')] == list(range(6))


async def test_second_subscription_of_a_client_gets_the_latched_sample_too(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/map', LATCHED)
    publisher.publish(Int32(data=1))
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await peer.send('subscribe', topic='/map', type='std_msgs/Int32', id='a')
        await async_wait_until(lambda: len(peer.samples('/map')) == 1)
        await peer.send('subscribe', topic='/map', type='std_msgs/Int32', id='b')
        await async_wait_until(lambda: len(peer.samples('/map')) == 2)
        await peer.send('unsubscribe', topic='/map', id='a')
        publisher.publish(Int32(data=2))
        await async_wait_until(lambda: peer.samples('/map')[-1] == {'data': 2})
        assert len(peer.samples('/map')) == 3


async def test_refused_subscription_leaves_the_other(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/t', 10)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await peer.send('subscribe', topic='/t', type='std_msgs/Int32', id='a')
        await matched(publisher)
        await peer.send('set_level', level='error')
        assert 'type_mismatch' in await peer.status('subscribe', topic='/t', type='std_msgs/Bool')
        publisher.publish(Int32(data=1))
        await async_wait_until(lambda: peer.samples('/t'))
        await peer.send('unsubscribe', topic='/t', id='a')
        await matched(publisher, 0)


async def test_unadvertising_one_of_two_keeps_the_other(robot: Any) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        for key in 'ab':
            await peer.send('advertise', topic='/t', type='std_msgs/Int32', id=key)
        await peer.send('unadvertise', topic='/t', id='a')
        heard: list[int] = []
        robot.create_subscription(Int32, '/t', lambda m: heard.append(m.data), 10)
        while not heard:
            await peer.send('publish', topic='/t', msg={'data': 1})
            await asyncio.sleep(0.05)
        await peer.send('unadvertise', topic='/t', id='b')
        await async_wait_until(lambda: robot.count_publishers('/t') == 0)


async def test_throttle_keeps_the_last(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/fast', 100)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await peer.send('subscribe', topic='/fast', type='std_msgs/Int32', throttle_rate=300)
        await matched(publisher)
        started = time.monotonic()
        for number in range(60):
            publisher.publish(Int32(data=number))
            await asyncio.sleep(0.01)
        await async_wait_until(lambda: peer.samples('/fast')[-1:] == [{'data': 59}])
        seconds = time.monotonic() - started
        assert 2 <= len(peer.samples('/fast')) <= seconds / 0.3 + 2


async def test_best_effort_publisher_that_appears_later_is_heard() -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await peer.send('subscribe', topic='/later', type='std_msgs/Int32')
        with SpinningNode('late') as late:
            publisher = late.node.create_publisher(Int32, '/later', BEST_EFFORT,
                                                   event_callbacks=QUIET)

            def heard() -> bool:
                publisher.publish(Int32(data=7))
                return bool(peer.samples('/later'))
            await async_wait_until(heard)


async def test_cbor_and_raw_cbor(robot: Any) -> None:
    publisher = robot.create_publisher(UInt8MultiArray, '/bytes', 10)
    async with running_bridge() as service, rosbridge_peer(service) as cbor, \
            rosbridge_peer(service) as raw:
        await cbor.send('subscribe', topic='/bytes', compression='cbor')
        await raw.send('subscribe', topic='/bytes', compression='cbor-raw')
        await matched(publisher)
        before = time.time()
        publisher.publish(UInt8MultiArray(data=b'\x00\xff\x10'))
        await async_wait_until(lambda: cbor.binary and raw.binary)
        assert cbor2.loads(cbor.binary[0]) == {
            'op': 'publish', 'topic': '/bytes', 'msg': {
                'layout': {'dim': [], 'data_offset': 0}, 'data': b'\x00\xff\x10'}}
        message = cbor2.loads(raw.binary[0])
        assert list(message) == ['op', 'topic', 'msg']
        assert message['msg']['bytes'].endswith(b'\x03\x00\x00\x00\x00\xff\x10')
        assert message['msg']['bytes'][:4] == b'\x00\x01\x00\x00'
        assert abs(message['msg']['secs'] + message['msg']['nsecs'] * 1e-9 - before) < 5


async def test_cbor_from_a_client(robot: Any) -> None:
    heard: list[bytes] = []
    robot.create_subscription(UInt8MultiArray, '/bytes', lambda m: heard.append(bytes(m.data)), 10)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/bytes' in service.ros.graph.topics)
        await peer.websocket.send(cbor2.dumps({
            'op': 'advertise', 'topic': '/bytes', 'type': 'std_msgs/UInt8MultiArray'}))
        await peer.websocket.send(cbor2.dumps({
            'op': 'publish', 'topic': '/bytes', 'msg': {'data': cbor2.CBORTag(64, b'\x01\x02')}}))
        await async_wait_until(lambda: heard == [b'\x01\x02'])


async def test_fragments_and_png_both_ways(robot: Any) -> None:
    pytest.importorskip('PIL', reason='Pillow is not installed')
    publisher = robot.create_publisher(String, '/long', 10)
    heard: list[str] = []
    robot.create_subscription(String, '/in', lambda m: heard.append(m.data), 10)
    long = 'äöü ' * 1000
    async with running_bridge() as service, rosbridge_peer(service) as parts, \
            rosbridge_peer(service) as image:
        await async_wait_until(lambda: '/in' in service.ros.graph.topics)
        await parts.send('subscribe', topic='/long', fragment_size=500, type='std_msgs/String')
        await image.send('subscribe', topic='/long', compression='png', type='std_msgs/String')
        await matched(publisher)
        publisher.publish(String(data=long))
        await async_wait_until(lambda: parts.frames and image.frames
                               and len(parts.frames) == parts.frames[0]['total'])
        whole = ''.join(f['data'] for f in sorted(parts.frames, key=lambda f: f['num']))
        assert json.loads(whole)['msg'] == {'data': long}
        assert len({f['id'] for f in parts.frames}) == 1
        assert all(len(f['data']) <= 500 for f in parts.frames)
        assert image.frames[0]['op'] == 'png'
        assert base64.b64decode(image.frames[0]['data'])[:4] == b'\x89PNG'

        wanted = json.dumps({'op': 'publish', 'topic': '/in', 'msg': {'data': long}})
        await parts.send('advertise', topic='/in', type='std_msgs/String')
        pieces = [wanted[start:start + 700] for start in range(0, len(wanted), 700)]
        for number in reversed(range(len(pieces))):
            await parts.send('fragment', id='f', data=pieces[number], num=number,
                             total=len(pieces))
        await async_wait_until(lambda: heard == [long])
        image.frames[0]['data'] = image.frames[0]['data'].replace('\n', '')
        await parts.send('advertise', topic='/long', type='std_msgs/String')
        await parts.send('png', data=image.frames[0]['data'])
        await async_wait_until(lambda: len(image.frames) == 2)


async def test_five_megabytes_both_ways(robot: Any) -> None:
    heard: list[int] = []
    robot.create_subscription(UInt8MultiArray, '/in', lambda m: heard.append(len(m.data)), 10)
    publisher = robot.create_publisher(UInt8MultiArray, '/out', 10)
    big = bytes(5_000_000)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/in' in service.ros.graph.topics)
        await peer.send('subscribe', topic='/out', type='std_msgs/UInt8MultiArray')
        await peer.send('advertise', topic='/in', type='std_msgs/UInt8MultiArray')
        await peer.send('publish', topic='/in', msg={'data': base64.b64encode(big).decode()})
        await async_wait_until(lambda: heard == [len(big)])
        await matched(publisher)
        publisher.publish(UInt8MultiArray(data=big))
        await async_wait_until(lambda: peer.samples('/out'))
        assert base64.b64decode(peer.samples('/out')[0]['data']) == big


async def test_call_service(robot: Any) -> None:
    def set_bool(request: Any, response: Any) -> Any:
        response.success, response.message = request.data, 'done'
        return response
    robot.create_service(SetBool, '/switch', set_bool)
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/switch' in service.ros.graph.services)
        for args in ({'data': True}, [True]):
            assert await peer.call('/switch', args) == {
                'op': 'service_response', 'id': peer.frames[-1]['id'], 'service': '/switch',
                'values': {'success': True, 'message': 'done'}, 'result': True}
        wrong = await peer.call('/switch', {'data': 1})
        assert wrong['result'] is False
        assert wrong['values'].startswith('wrong_kind: args.data: ')
        assert (await peer.call('/switch', [True, 2]))['values'].startswith('wrong_length: args')
        assert (await peer.call('/switch', 'x'))['values'].startswith('bad_field: args: ')
        absent = await peer.call('/nowhere')
        assert absent['result'] is False
        assert absent['values'].startswith('unknown_name: service: ')
        await peer.send('call_service', service='/switch')
        await peer.wait(lambda f: f['op'] == 'service_response' and 'id' not in f)


async def test_hosted_service_on_the_same_and_another_connection(robot: Any) -> None:
    client = robot.create_client(Trigger, '/page')
    async with running_bridge() as service, rosbridge_peer(service) as page, \
            rosbridge_peer(service) as other, native_peer(service) as native:
        await page.send('advertise_service', service='/page', type='std_srvs/Trigger')
        await page.send('call_service', service='/page', id='own')
        await page.wait(lambda f: f.get('id') == 'service_request:/page:1')
        await page.send('service_response', service='/page', id='service_request:/page:1',
                        values={'success': True, 'message': 'mine'}, result=True)
        own = await page.wait(lambda f: f.get('id') == 'own')
        assert own['values'] == {'success': True, 'message': 'mine'}
        await other.send('call_service', service='/page', id='other')
        request = await page.wait(lambda f: f.get('id') == 'service_request:/page:2')
        assert request == {'op': 'call_service', 'id': 'service_request:/page:2',
                           'service': '/page', 'args': {}}
        # only the owner answers
        await other.send('service_response', service='/page', id='service_request:/page:2',
                         values={'message': 'stolen'}, result=True)
        await page.send('service_response', service='/page', id='service_request:/page:2',
                        values={'message': 'failed, but meant'}, result=False)
        answer = await other.wait(lambda f: f.get('id') == 'other')
        assert answer['values'] == {'success': False, 'message': 'failed, but meant'}
        await async_wait_until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        await page.wait(lambda f: f.get('id') == 'service_request:/page:3')
        await page.send('service_response', service='/page', id='service_request:/page:3',
                        values={'success': True}, result=True)
        await async_wait_until(future.done)
        assert future.result() == Trigger.Response(success=True)
        # again, and the count starts over; the native dialect calls it as well
        await page.send('unadvertise_service', service='/page')
        await page.send('advertise_service', service='/page', type='std_srvs/srv/Trigger')
        await page.call('/rosapi/get_time')     # another connection is not to come first
        page.frames.clear()
        call = await native.send('command', {}, destination='/page', kind='service')
        await page.wait(lambda f: f.get('id') == 'service_request:/page:1')
        await page.send('service_response', service='/page', id='service_request:/page:1',
                        values={'message': 'again'}, result=True)
        assert (await native.answer(call))['data']['result']['message'] == 'again'


async def test_newer_owner_of_a_service_wins() -> None:
    async with running_bridge() as service, rosbridge_peer(service) as old, \
            rosbridge_peer(service) as new, rosbridge_peer(service) as caller:
        await old.send('advertise_service', service='/page', type='std_srvs/Trigger')
        await old.call('/rosapi/get_time')
        await new.send('advertise_service', service='/page', type='std_srvs/Trigger')
        await new.call('/rosapi/get_time')
        await caller.send('call_service', service='/page', id='c')
        await new.wait(lambda f: f.get('id') == 'service_request:/page:1')
        await new.send('service_response', service='/page', id='service_request:/page:1',
                       values={'message': 'new'}, result=True)
        assert (await caller.wait(lambda f: f.get('id') == 'c'))['values']['message'] == 'new'
        assert [f for f in old.frames if f['op'] == 'call_service'] == []


async def test_call_with_timeout_and_a_host_that_never_answers() -> None:
    async with running_bridge() as service, rosbridge_peer(service) as page:
        await page.send('advertise_service', service='/page', type='std_srvs/Trigger')
        answer = await page.call('/page', timeout=0.3)
        assert answer['result'] is False
        assert answer['values'].startswith('timeout: ')


async def test_a_client_that_vanishes_takes_everything_along(robot: Any) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await peer.send('advertise', topic='/mine', type='std_msgs/String')
        await peer.send('advertise_service', service='/mine_too', type='std_srvs/Trigger')
        await peer.send('subscribe', topic='/heard', type='std_msgs/String')
        await async_wait_until(lambda: robot.count_publishers('/mine') == 1
                               and robot.count_subscribers('/heard') >= 1
                               and robot.count_services('/mine_too') == 1)
        peer.websocket.transport.abort()
        await async_wait_until(lambda: robot.count_publishers('/mine') == 0
                               and robot.count_subscribers('/heard') == 0
                               and robot.count_services('/mine_too') == 0, timeout=3.0)


async def test_thirty_clients_at_once(robot: Any) -> None:
    publisher = robot.create_publisher(Int32, '/t', 10)

    async def life(service: Any, number: int) -> None:
        async with rosbridge_peer(service) as peer:
            await peer.send('subscribe', topic='/t', type='std_msgs/Int32', id=f's{number}')
            assert (await peer.call('/rosapi/get_time'))['result'] is True
            await peer.wait(lambda f: f.get('msg') == {'data': 99})
    async with running_bridge() as service:
        lives = [asyncio.create_task(life(service, number)) for number in range(30)]
        await async_wait_until(lambda: service.bridge.peer_count == 30)
        await matched(publisher)
        while not all(task.done() for task in lives):
            publisher.publish(Int32(data=99))
            await asyncio.sleep(0.05)
        await asyncio.gather(*lives)


async def test_first_frame_of_no_dialect_is_refused() -> None:
    async with running_bridge() as service:
        for frame in ('{"op', '[]', '{"x": 1}', '{' * 10_000, '7'):
            async with rosbridge_peer(service) as peer:
                await peer.websocket.send(frame)
                await async_wait_until(lambda peer=peer: peer.closed)  # type: ignore[misc]
                assert peer.closed is not None
                assert peer.closed[0] == 1002
                assert peer.closed[1].startswith('bad_frame: the first frame ')
        # a byte order mark keeps no stop, nor anything else
        stop = '\ufeff' + json.dumps({'op': 'call_service', 'id': 'x', 'service':
                                      f'/{service.ros.settings.node_name}/stop'})
        for first in (stop, stop.encode(), stop.replace('"x"', '"x", "y": "\\ud83d"')):
            async with rosbridge_peer(service) as peer:
                await peer.websocket.send(first)
                answer = await peer.wait(lambda f: f.get('id') == 'x')
                assert answer['values']['success'] is True
