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
"""What a viewer of Foxglove or Lichtblick does, with a real bridge and real nodes."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
import time
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, Vector3
import orjson
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Int32, String
from std_srvs.srv import Trigger
from support.bridge_harness import running_bridge
from support.foxglove_peer import foxglove_peer, FoxglovePeer
from support.helpers import async_wait_until, PATIENCE, SpinningNode


def cdr(message: Any) -> bytes:
    """Return what ROS sends."""
    data: bytes = serialize_message(message)
    return data


async def test_a_viewer(ros_node: SpinningNode) -> None:
    node = ros_node.node
    first = node.create_publisher(String, '/out', 10)
    node.create_publisher(String, '/_hidden', 10)
    node.create_service(Trigger, '/_ask', lambda request, response: response)
    async with running_bridge() as service, foxglove_peer(service) as peer:
        assert peer.websocket.subprotocol == 'foxglove.sdk.v1'      # both were offered
        await peer.subscribe(0, '/out')
        assert peer.told[0]['op'] == 'serverInfo'
        assert peer.told[0]['capabilities'] == ['clientPublish', 'services', 'parameters',
                                                'parametersSubscribe', 'connectionGraph',
                                                'assets']
        channel = peer.channels['/out']
        assert (channel['schemaName'], channel['schema']) == ('std_msgs/msg/String',
                                                              'string data\n')
        await async_wait_until(lambda: first.get_subscription_count() == 1)
        before = time.time_ns()
        first.publish(String(data='a'))
        await async_wait_until(lambda: peer.samples.get(0))
        assert peer.samples[0] == [cdr(String(data='a'))]
        assert abs(peer.stamps[0] - before) < 60 * 10**9

        # it vanishes though it is subscribed to, and that ends the subscription
        ros_node.run(node.destroy_publisher, first)
        await async_wait_until(lambda: '/out' not in peer.channels)
        await async_wait_until(lambda: not service.ros.graph.topics.get('/out'))
        await peer.ask('unsubscribe', subscriptionIds=[0])

        # with another type it has another number, and its own again as it was
        second = node.create_publisher(Int32, '/out', 10)
        await peer.subscribe(1, '/out')
        assert peer.channels['/out']['id'] != channel['id']
        await async_wait_until(lambda: second.get_subscription_count() == 1)
        second.publish(Int32(data=5))
        await async_wait_until(lambda: peer.samples.get(1))
        assert peer.samples[1] == [cdr(Int32(data=5))]
        ros_node.run(node.destroy_publisher, second)
        await async_wait_until(lambda: '/out' not in peer.channels)
        node.create_publisher(String, '/out', 10)
        await async_wait_until(lambda: '/out' in peer.channels)
        assert peer.channels['/out'] == channel
        assert not peer.statuses

        async with foxglove_peer(service, ['foxglove.websocket.v1']) as other:
            # what it kept is still true
            assert other.websocket.subprotocol == 'foxglove.websocket.v1'
            await async_wait_until(lambda: '/out' in other.channels)
            assert other.channels['/out'] == channel
            assert other.told[0]['sessionId'] == peer.told[0]['sessionId']
            await other.advertise(1, '/from_app', 'std_msgs/String', 'json')
            await async_wait_until(lambda: node.count_publishers('/from_app'))
        # what it advertised goes with it
        await async_wait_until(lambda: not node.count_publishers('/from_app'))
        # what is hidden is known, and not told
        await async_wait_until(lambda: '/_hidden' in service.ros.graph.topics
                               and '/_ask' in service.ros.graph.services)
        await peer.ask('barrier')
        await async_wait_until(lambda: peer.statuses)
        assert not {'/_hidden', '/_ask'} & {*peer.channels, *peer.services}


async def test_a_simulated_robot_is_shown(ros_node: SpinningNode) -> None:
    """With its time, and who is connected to what."""
    node, name = ros_node.node, ros_node.node.get_fully_qualified_name()
    clock = node.create_publisher(Clock, '/clock', 10)
    out = node.create_publisher(String, '/out', 10)
    async with running_bridge('-p', 'use_sim_time:=true') as service, \
            foxglove_peer(service) as peer, foxglove_peer(service) as other:
        await peer.ask('subscribeConnectionGraph')
        await peer.subscribe(0, '/out')
        assert peer.told[0]['capabilities'][-2:] == ['assets', 'time']

        def tick(second: int) -> bool:
            clock.publish(Clock(clock=Time(sec=second, nanosec=5)))
            out.publish(String(data='a'))
            stamp = second * 10**9 + 5
            return stamp in peer.times and stamp in other.times and stamp in peer.stamps
        for second in (100, 50):        # it steps back when the simulation begins anew
            await async_wait_until(partial(tick, second))
        assert not other.samples
        async with foxglove_peer(service) as late:      # meanwhile the simulation stands still
            await async_wait_until(lambda: late.times == [50 * 10**9 + 5])

        await async_wait_until(lambda: peer.graph['publishedTopics'].get('/out') == [name]
                               and peer.graph['subscribedTopics'].get('/out')
                               == [service.ros.node_name], why=lambda: str(peer.graph))
        ros_node.run(node.destroy_publisher, out)
        await async_wait_until(lambda: '/out' not in peer.graph['publishedTopics'])
        await async_wait_until(lambda: '/out' not in peer.graph['subscribedTopics'])
        assert not other.of('connectionGraphUpdate')


async def test_a_slow_viewer(ros_node: SpinningNode) -> None:
    """It gets the newest, of each topic, and nothing of what it has unsubscribed from."""
    node = ros_node.node
    large = node.create_publisher(String, '/large', 10)
    small = node.create_publisher(Int32, '/small', 10)
    latched = node.create_publisher(String, '/kept', QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    latched.publish(String(data='kept'))
    async with running_bridge(queue_depth=2) as service, foxglove_peer(service) as slow, \
            foxglove_peer(service) as quick:
        (link,) = [peer.link for peer in service.bridge.peers() if peer.name == 'p1']
        for peer in (slow, quick):      # each later one, too, is given what the topic has kept
            for number, topic in enumerate(('/large', '/small', '/kept')):
                await peer.subscribe(number, topic)
            await async_wait_until(partial(peer.samples.get, 2))
        await async_wait_until(lambda: large.get_subscription_count()
                               and small.get_subscription_count())
        slow.websocket.transport.pause_reading()
        image = String(data='x' * 1_000_000)

        def fill() -> bool:
            large.publish(image)
            return link.queue.dropped > 0
        await async_wait_until(fill)
        for number in range(20):
            small.publish(Int32(data=number))
        newest = cdr(Int32(data=19))
        await async_wait_until(lambda: newest in quick.samples.get(1, ()))
        assert set(link.queue._streams) == {('/large', '0'), ('/small', '1')}
        await slow.ask('unsubscribe', subscriptionIds=[0])
        await async_wait_until(lambda: set(link.queue._streams) == {('/small', '1')})
        slow.websocket.transport.resume_reading()
        await async_wait_until(lambda: newest in slow.samples.get(1, ()))
        assert len(slow.samples[1]) <= 2
        # and again, to who subscribes again
        await slow.ask('unsubscribe', subscriptionIds=[2])
        await slow.subscribe(3, '/kept')
        await async_wait_until(lambda: slow.samples.get(3) == [cdr(String(data='kept'))])


async def hold(peer: FoxglovePeer, payload: bytes, until: Callable[[], object]) -> None:
    """Publish as a panel does while its button is pressed."""
    while not until():
        await peer.publish(1, payload)
        await asyncio.sleep(0.05)


async def test_a_teleop_panel(ros_node: SpinningNode) -> None:
    moved, slow, zero = list[float](), orjson.dumps({'linear': {'x': 0.25}}), b'{}'
    ros_node.node.create_subscription(
        Twist, '/cmd_vel', lambda twist: moved.append(twist.linear.x), 10)
    async with running_bridge(gate_timeout=0.5, gate_ttl=0.3) as service, \
            foxglove_peer(service) as peer, foxglove_peer(service) as other:
        await async_wait_until(lambda: service.bridge.gates)
        await peer.advertise(1, '/cmd_vel', 'geometry_msgs/Twist', 'cdr')
        await other.advertise(1, '/cmd_vel', 'geometry_msgs/msg/Twist', 'json')
        fast = cdr(Twist(linear=Vector3(x=0.5)))
        await asyncio.wait_for(hold(peer, fast, lambda: 0.5 in moved), PATIENCE)
        # another one may not meanwhile, and is told that
        await asyncio.wait_for(asyncio.gather(
            hold(peer, fast, lambda: other.of('status')),
            hold(other, slow, lambda: other.of('status'))), PATIENCE)
        told = other.of('status')[0]
        assert (told['id'], told['level']) == ('publish:1', 1)
        # the first one lets go: the robot is stopped
        await async_wait_until(lambda: moved[-1] == 0.0)
        await asyncio.wait_for(hold(other, zero, lambda: not other.statuses), PATIENCE)
        await asyncio.wait_for(hold(other, slow, lambda: 0.25 in moved), PATIENCE)

        # so it is with what cannot be read
        await asyncio.wait_for(hold(other, b'{"linear": 5}', lambda: any(
            'linear' in each['message'] for each in other.of('status'))), PATIENCE)
        await asyncio.wait_for(hold(other, zero, lambda: not other.statuses), PATIENCE)


async def test_a_stop_is_told(ros_node: SpinningNode) -> None:
    async with running_bridge() as service, foxglove_peer(service) as peer:
        await peer.call(1, f'/{service.ros.settings.node_name}/stop', 'json', b'{}')
        await async_wait_until(lambda: 1 in peer.answers, why=lambda: str(peer.told[-3:]))
        assert orjson.loads(peer.answers[1][1])['success'] is True
        await async_wait_until(lambda: 'estop' in peer.statuses)


async def test_calls(ros_node: SpinningNode) -> None:
    ros_node.node.create_service(Trigger, '/ask', lambda request, response: Trigger.Response(
        success=True, message='yes'))
    async with running_bridge() as service, foxglove_peer(service) as peer:
        request = cdr(Trigger.Request())
        for number, payload in ((1, request), (2, request[:4])):    # with and without placeholder
            await peer.call(number, '/ask', 'cdr', payload)
        await peer.call(3, '/ask', 'json', b'{}')
        await peer.call(4, '/ask', 'json', b'{"x": 1}')
        await async_wait_until(lambda: len(peer.answers) == 3 and peer.of('serviceCallFailure'),
                               why=lambda: str(peer.told[-3:]))
        yes = Trigger.Response(success=True, message='yes')
        for number in (1, 2):
            assert peer.answers[number][0] == 'cdr'
            assert deserialize_message(peer.answers[number][1], Trigger.Response) == yes
        assert peer.answers[3][0] == 'json'
        assert orjson.loads(peer.answers[3][1]) == {'success': True, 'message': 'yes'}
        (failure,) = peer.of('serviceCallFailure')
        assert failure['callId'] == 4 and 'unknown_field' in failure['message']
        assert peer.services['/ask']['type'] == 'std_srvs/srv/Trigger'


async def test_parameters(ros_node: SpinningNode) -> None:
    node = ros_node.node
    ros_node.run(node.declare_parameter, 'speed.most', 1.5)
    ros_node.run(lambda: node.declare_parameter('fixed', 5, ParameterDescriptor(read_only=True)))
    base = node.get_fully_qualified_name()
    ros_node.run(lambda: node.declare_parameter(
        'free', 'x', ParameterDescriptor(dynamic_typing=True)))
    name, fixed, free = f'{base}.speed.most', f'{base}.fixed', f'{base}.free'

    async with running_bridge() as service, foxglove_peer(service) as peer:
        await async_wait_until(lambda: f'{base}/set_parameters' in service.ros.graph.services)
        await peer.ask('getParameters', parameterNames=[], id='all')
        await async_wait_until(lambda: peer.of('parameterValues'), why=lambda: str(peer.told[-3:]))
        told = {each['name']: each for each in peer.of('parameterValues')[0]['parameters']}
        assert told[name] == {'name': name, 'value': 1.5, 'type': 'float64'}
        assert told[fixed] == {'name': fixed, 'value': 5}

        # as many as Lichtblick names at once for a robot of fifty nodes
        await peer.ask('subscribeParameterUpdates', parameterNames=[
            *(f'{base}.a_group.of_parameters.number_{each}' for each in range(3000)), name])
        await peer.ask('setParameters', id='set', parameters=[
            {'name': name, 'value': 3, 'type': 'float64'}, {'name': fixed, 'value': 6}])
        await async_wait_until(
            lambda: any('id' not in each for each in peer.of('parameterValues')) and
            any(each.get('id') == 'set' for each in peer.of('parameterValues')),
            why=lambda: str(peer.told[-3:]))
        (answer,) = [each for each in peer.of('parameterValues') if each.get('id') == 'set']
        assert {each['name']: each['value'] for each in answer['parameters']} == {
            name: 3.0, fixed: 5}
        assert fixed in peer.statuses['set']['message']
        (update,) = [each for each in peer.of('parameterValues') if 'id' not in each]
        assert update['parameters'] == [{'name': name, 'value': 3.0, 'type': 'float64'}]

        # unset: what cannot be is as it was, and what can be has no value any more
        await peer.ask('subscribeParameterUpdates', parameterNames=[free])
        await peer.ask('setParameters', id='unset', parameters=[{'name': free}, {'name': name}])
        await async_wait_until(lambda: {'name': free} in [
            each for told in peer.of('parameterValues') if 'id' not in told
            for each in told['parameters']], why=lambda: str(peer.told[-3:]))
        await async_wait_until(lambda: any(
            each.get('id') == 'unset' for each in peer.of('parameterValues')))
        (answer,) = [each for each in peer.of('parameterValues') if each.get('id') == 'unset']
        assert answer['parameters'] == [{'name': name, 'value': 3.0, 'type': 'float64'}]
        assert name in peer.statuses['set']['message']
        assert not node.has_parameter('free')
