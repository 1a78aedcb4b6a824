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
"""What a peer asks for is never the type of a topic, a service or an action."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geometry_msgs.msg import Twist
import pytest
from rclpy.action import ActionServer
from std_msgs.msg import Int32, String
from std_srvs.srv import SetBool, Trigger
from support.bridge_harness import look_no_more, native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer
from test_msgs.action import Fibonacci, NestedMessage

INT, STRING = 'std_msgs/msg/Int32', 'std_msgs/msg/String'


@pytest.fixture
def robot() -> Iterator[SpinningNode]:
    """Give a node that is the robot; entities are made on its thread."""
    with SpinningNode('robot') as spinning:
        yield spinning


class Topic:
    """A topic of the robot, heard and said ten times a second."""

    def __init__(self, robot: SpinningNode, name: str, msg_type: Any, value: Any) -> None:
        self.heard: list[Any] = []
        self._robot = robot
        robot.run(self._create, robot.node, name, msg_type, value)

    def _create(self, node: Any, name: str, msg_type: Any, value: Any) -> None:
        publisher = node.create_publisher(msg_type, name, 10)
        self._entities = [
            ('publisher', publisher),
            ('subscription', node.create_subscription(msg_type, f'{name}', self._take, 10)),
            ('timer', node.create_timer(0.1, lambda: publisher.publish(msg_type(data=value))))]

    def _take(self, message: Any) -> None:
        self.heard.append(message.data)

    def close(self) -> None:
        """Take it back."""
        def destroy() -> None:
            for kind, entity in self._entities:
                getattr(self._robot.node, f'destroy_{kind}')(entity)
        self._robot.run(destroy)


async def sample_of(peer: NativePeer, topic: str, value: Any) -> None:
    """Wait for a sample."""
    await async_wait_until(lambda: {'data': value} in peer.samples(topic),
                           why=lambda: str(peer.frames[-5:]))


def lost(peer: NativePeer) -> bool:
    """Whether a peer was told that what it has is of another type, not only that it waits."""
    return any(error['code'] == 'type_mismatch' and error['field'] == 'data.type'
               for error in peer.errors())


async def test_only_who_asked_for_a_wrong_type_loses(robot: SpinningNode) -> None:
    """Whoever subscribes or advertises before the robot is there: the others get theirs."""
    async with running_bridge() as service, native_peer(service) as wrong, \
            native_peer(service) as page, native_peer(service) as typed, \
            native_peer(service) as untyped:
        await wrong.ask('subscribe', topic='/late', type=INT)
        await page.ask('advertise', topic='/late', type='std_msgs/msg/Bool')
        late = Topic(robot, '/late', String, 'robot')
        await async_wait_until(lambda: lost(wrong) and lost(page))
        assert {(error['topic'], error['encoding']) for error in wrong.errors()} == {
            ('/late', 'json')}
        assert not any('topic' in error for error in page.errors())
        assert (await typed.ask('subscribe', topic='/late', type=STRING))['type'] == STRING
        assert (await untyped.ask('subscribe', topic='/late'))['type'] == STRING
        await sample_of(typed, '/late', 'robot')
        await sample_of(untyped, '/late', 'robot')
        answer = await typed.publish('/late', {'data': 'from a page'})
        assert answer['metadata']['message_type'] == 'acknowledgment', answer
        await async_wait_until(lambda: 'from a page' in late.heard)
        assert (await wrong.refused('subscribe', topic='/late', type=INT))['code'] == \
            'type_mismatch'
        assert (await page.refused('advertise', topic='/late', type=INT))['code'] == \
            'type_mismatch'
        assert not lost(typed)
        assert not lost(untyped)


@pytest.mark.parametrize('kind', ['subscribe', 'advertise'])
async def test_whoever_cannot_host_an_action_is_told(kind: str) -> None:
    """The error of rclpy is another one than for a topic."""
    async with running_bridge() as service, native_peer(service) as wrong, \
            native_peer(service) as host:
        await wrong.ask(kind, topic='/fib/_action/feedback', type=STRING)
        await async_wait_until(lambda: '/fib/_action/feedback' in service.ros.graph.topics)
        refused = await host.refused('advertise_action', action='/fib',
                                     type='test_msgs/action/Fibonacci')
        assert refused['code'] == 'type_mismatch'


async def test_others_are_served_while_a_wrong_type_is_there_alone(robot: SpinningNode) -> None:
    """Nobody knows the type yet: who asks for one has it, beside who asks for another."""
    async with running_bridge() as service, native_peer(service) as first, \
            native_peer(service) as second:
        await first.ask('subscribe', topic='/early', type=INT)
        await async_wait_until(lambda: '/early' in service.ros.graph.topics)
        assert (await second.ask('subscribe', topic='/early', type=STRING))['type'] == STRING
        assert (await second.ask('advertise', topic='/early', type=STRING))['type'] == STRING
        early = Topic(robot, '/early', String, 'robot')
        await sample_of(second, '/early', 'robot')
        await second.publish('/early', {'data': 'page'})
        await async_wait_until(lambda: 'page' in early.heard)
        await async_wait_until(lambda: lost(first))
        assert not lost(second)


async def test_a_node_that_restarts_with_another_type(robot: SpinningNode) -> None:
    """Who named no type gets the new one; who named the old one loses it."""
    async with running_bridge() as service, native_peer(service) as typed, \
            native_peer(service) as untyped, native_peer(service) as new:
        topic = Topic(robot, '/again', Int32, 7)
        await async_wait_until(lambda: '/again' in service.ros.graph.topics)
        channel = (await untyped.ask('subscribe', topic='/again'))['channel_id']
        await typed.ask('subscribe', topic='/again', type=INT)
        await untyped.publish('/again', {'data': 8})
        await sample_of(untyped, '/again', 7)
        topic.close()
        again = Topic(robot, '/again', String, 'seven')
        told = await untyped.wait(lambda frame: frame['data'].get('op') == 'channel')
        assert told['data']['type'] == STRING
        assert told['data']['channel_id'] != channel
        await sample_of(untyped, '/again', 'seven')
        await async_wait_until(lambda: lost(typed))
        await new.ask('subscribe', topic='/again', type=STRING)
        await sample_of(new, '/again', 'seven')
        await untyped.publish('/again', {'data': 'eight'})
        await async_wait_until(lambda: 'eight' in again.heard)


async def test_an_observer_does_not_block_an_operator(robot: SpinningNode, tmp_path: Any) -> None:
    """The robot's type counts for the gate and for who commands, whatever is subscribed to."""
    async with running_bridge(gate_timeout=30.0, gate_ttl=20.0) as service, \
            native_peer(service) as observer, native_peer(service) as operator:
        await observer.ask('subscribe', topic='/cmd_vel', type=STRING)
        await async_wait_until(lambda: '/cmd_vel' in service.ros.graph.topics)
        await operator.ask('advertise', topic='/cmd_vel', type='geometry_msgs/Twist')
        heard: list[float] = []
        robot.run(robot.node.create_subscription, Twist, '/cmd_vel',
                  lambda message: heard.append(message.linear.x), 10)
        await async_wait_until(lambda: lost(observer))
        await operator.acquire('/cmd_vel')
        for speed in (0.0, 0.5):
            answer = await operator.command('/cmd_vel', {'linear': {'x': speed}})
            assert answer['op'] == 'publish', answer
        await async_wait_until(lambda: 0.5 in heard)
        assert not lost(operator)


@pytest.mark.parametrize(('wanted', 'value'), [(INT, 2), (STRING, 'two')])
async def test_two_types_that_are_there(robot: SpinningNode, wanted: str,
                                        value: Any) -> None:
    """With a type given its samples come; without one the peer has to say which."""
    Topic(robot, '/two', Int32, 2)
    with SpinningNode('other') as other:
        Topic(other, '/two', String, 'two')
        async with running_bridge() as service, native_peer(service) as peer, \
                rosbridge_peer(service) as page:
            await async_wait_until(lambda: '/two' in service.ros.graph.topics
                                   and len(service.ros.graph.topics['/two'].types) == 2)
            await peer.ask('subscribe', topic='/two', type=wanted)
            await page.send('subscribe', topic='/two', type=wanted)
            await sample_of(peer, '/two', value)
            await async_wait_until(lambda: {'data': value} in page.samples('/two'))
            assert {str(each['data']) for each in peer.samples('/two')} == {str(value)}
            async with native_peer(service) as third:
                assert (await third.refused('subscribe', topic='/two'))['code'] == 'type_mismatch'


async def test_a_service_that_a_peer_hosts_with_another_type_than_the_robot(
        robot: SpinningNode) -> None:
    async with running_bridge() as service, native_peer(service) as host, \
            rosbridge_peer(service) as page:
        await host.ask('advertise_service', service='/turn', type='std_srvs/Trigger')
        await async_wait_until(lambda: '/turn' in service.ros.graph.services)
        robot.run(robot.node.create_service, SetBool, '/turn',
                  lambda request, response: response)
        await async_wait_until(lambda: lost(host))
        answer = await page.call('/turn', {'data': True})
        assert answer['result'], answer


async def test_a_service_that_restarts_with_another_type(robot: SpinningNode) -> None:
    """Somebody goes on to call it: nobody has to wait for that."""
    def make(srv_type: Any) -> Any:
        made: list[Any] = []
        robot.run(lambda: made.append(robot.node.create_service(
            srv_type, '/turn', lambda request, response: response)))
        return made
    async with running_bridge(client_idle=60.0) as service, rosbridge_peer(service) as page:
        old = make(Trigger)
        await async_wait_until(
            lambda: service.ros.graph.services.get('/turn') == ('std_srvs/srv/Trigger',))
        answer = await page.call('/turn')
        assert answer['result'], answer
        robot.run(lambda: robot.node.destroy_service(old[0]))
        make(SetBool)
        await async_wait_until(
            lambda: service.ros.graph.services.get('/turn') == ('std_srvs/srv/SetBool',))
        answer = await page.call('/turn', {'data': True})
        assert answer['result'], answer


async def test_an_action_that_restarts_with_another_type(robot: SpinningNode) -> None:
    def make(action_type: Any) -> list[Any]:
        def execute(handle: Any) -> Any:
            handle.succeed()
            return action_type.Result()
        made: list[Any] = []
        robot.run(lambda: made.append(ActionServer(robot.node, action_type, '/act', execute)))
        return made
    async with running_bridge(client_idle=60.0) as service, rosbridge_peer(service) as page:
        # the larger one first: participants of one process share the buffers of a name
        old = make(NestedMessage)
        for number, full in enumerate(('test_msgs/action/NestedMessage',
                                       'test_msgs/action/Fibonacci')):
            if number:
                robot.run(lambda: old[0].destroy())
                new = make(Fibonacci)
            await async_wait_until(lambda full=full:
                                   service.ros.graph.actions.get('/act') == (full,))
            await page.send('send_action_goal', action='/act', action_type=full, id=full, args={})
            result = await page.wait(lambda frame, full=full: frame['op'] == 'action_result'
                                     and frame['id'] == full)
            assert result['result'], result
        robot.run(lambda: new[0].destroy())


async def test_what_was_made_a_moment_ago_is_found(robot: SpinningNode) -> None:
    """Before it says no the bridge looks at the graph again, which it does each half second."""
    async with running_bridge() as service, rosbridge_peer(service) as page, \
            native_peer(service) as peer:
        await look_no_more(service)
        looker = SpinningNode('looker')
        with looker:
            def there(name: str) -> bool:
                return name in dict(looker.node.get_service_names_and_types())
            for name in ('/fresh', '/fresh_2'):
                robot.run(lambda name=name: robot.node.create_service(
                    Trigger, name, lambda request, response: response))
                await async_wait_until(lambda name=name: there(name))
            bridge_knows = service.ros._ros.node.get_service_names_and_types
            await async_wait_until(lambda: '/fresh_2' in dict(bridge_knows()))
        assert '/fresh' not in service.ros.graph.services
        assert (await page.call('/fresh'))['result']
        answer = await peer.call('/fresh_2')
        assert answer['data'].get('op') == 'call', answer
        answer = await page.call('/never')
        assert answer['values'].startswith('unknown_name: '), answer
        await page.send('advertise', topic='/just_now', type='std_msgs/String')
        topics = (await page.call('/rosapi/topics'))['values']
        assert dict(zip(topics['topics'], topics['types'], strict=True))['/just_now'] == STRING
        await peer.ask('advertise', topic='/also_now', type=STRING)
        assert '/also_now' in [each['topic'] for each in (await peer.ask('list'))['topics']]


async def test_one_topic_by_two_names_on_one_connection(robot: SpinningNode) -> None:
    Topic(robot, '/chat', String, 'hello')
    async with running_bridge('-r', '/alias:=/chat') as service, rosbridge_peer(service) as page, \
            native_peer(service) as peer:
        await async_wait_until(lambda: '/chat' in service.ros.graph.topics)
        channels = set()
        for name in ('/chat', 'chat', '/alias'):
            await page.send('subscribe', topic=name, id=name)
            channels.add((await peer.ask('subscribe', topic=name, encoding='cdr'))['channel_id'])
        for name in ('/chat', 'chat', '/alias'):
            await async_wait_until(lambda name=name: page.samples(name))
        assert len(channels) == 3
        await async_wait_until(lambda: {header[3] for header, _ in peer.binary} == channels)
        await page.send('unsubscribe', topic='chat', id='chat')
        await peer.ask('unsubscribe', topic='chat')
        await page.call('/rosapi/get_time')
        count = len(page.samples('chat'))
        await async_wait_until(lambda: len(page.samples('/chat')) > count + 2)
        assert len(page.samples('chat')) == count
