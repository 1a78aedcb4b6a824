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
"""Names with a part that begins with an underscore: usable, and listed only on request."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import Json, rosbridge_peer
from test_msgs.action import Fibonacci

ZERO = {'uuid': [0] * 16}
ALL_GOALS = {'goal_info': {'goal_id': ZERO, 'stamp': {'sec': 0, 'nanosec': 0}}}
"""What cancels every goal of an action, as ``cancelAllGoals()`` of roslib sends it."""


class Counter:
    """An action ``/fib`` whose goals run until they are cancelled, and what it had to cancel."""

    def __init__(self, robot: SpinningNode) -> None:
        self.cancelled = 0
        self._node = robot.node
        self._group = ReentrantCallbackGroup()
        robot.run(self._create)
        self.close = lambda: robot.run(self.server.destroy)

    def _create(self) -> None:
        self.server = ActionServer(
            self._node, Fibonacci, '/fib', self._execute, callback_group=self._group,
            cancel_callback=lambda goal: CancelResponse.ACCEPT)

    async def _execute(self, handle: Any) -> Any:
        while not handle.is_cancel_requested:
            handle.publish_feedback(Fibonacci.Feedback(sequence=[1, 2]))
            await self._pause()
        self.cancelled += 1
        handle.canceled()
        return Fibonacci.Result()

    def _pause(self) -> Future:
        future = Future()

        def wake() -> None:
            self._node.destroy_timer(timer)
            future.set_result(None)
        timer = self._node.create_timer(0.05, wake, callback_group=self._group)
        return future


@pytest.fixture
def robot() -> Iterator[SpinningNode]:
    """Give a node with a hidden topic and a hidden service."""
    with SpinningNode('robot') as spinning:
        publisher = spinning.node.create_publisher(String, '/x/_hidden', 10)
        spinning.node.create_timer(0.05, lambda: publisher.publish(String(data='seen')))
        spinning.node.create_service(Trigger, '/x/_ask', lambda request, response: response)
        yield spinning


@pytest.fixture
def counter(robot: SpinningNode) -> Iterator[Counter]:
    """Give the robot's action."""
    counter = Counter(robot)
    yield counter
    counter.close()


async def test_hidden_names_are_used_as_others_and_listed_on_request(robot: SpinningNode) -> None:
    async with running_bridge() as service, native_peer(service) as peer, \
            rosbridge_peer(service) as page:
        await async_wait_until(lambda: '/x/_hidden' in service.ros.graph.topics
                               and '/x/_ask' in service.ros.graph.services)
        assert (await peer.ask('subscribe', topic='/x/_hidden'))['type'] == 'std_msgs/msg/String'
        await async_wait_until(lambda: peer.samples('/x/_hidden'))
        assert (await peer.call('/x/_ask'))['data']['op'] == 'call'
        assert (await page.call('/x/_ask'))['result']

        def names(listed: Json) -> set[str]:
            return {each['topic'] for each in listed['topics']} | {
                each['service'] for each in listed['services']}
        assert not {'/x/_hidden', '/x/_ask'} & names(await peer.ask('list'))
        assert {'/x/_hidden', '/x/_ask'} <= names(await peer.ask('list', hidden=True))
        assert (await peer.refused('list', hidden=1, valid=False))['field'] == 'data.hidden'
        assert '/x/_hidden' not in (await page.call('/rosapi/topics'))['values']['topics']
        assert '/x/_ask' not in (await page.call('/rosapi/services'))['values']['services']
        answer = await page.call('/rosapi/topic_type', {'topic': '/x/_hidden'})
        assert answer['values'] == {'type': 'std_msgs/msg/String'}


async def test_topics_and_services_of_an_action(counter: Counter) -> None:
    """A page watches an action's feedback and status, and cancels all of its goals."""
    async with running_bridge() as service, rosbridge_peer(service) as page, \
            rosbridge_peer(service) as other:
        await async_wait_until(lambda: '/fib' in service.ros.graph.actions)
        await other.send('subscribe', topic='/fib/_action/feedback',
                         type='test_msgs/action/Fibonacci_FeedbackMessage')
        await other.send('subscribe', topic='/fib/_action/status')
        await page.send('send_action_goal', action='/fib', id='g', feedback=True,
                        action_type='test_msgs/action/Fibonacci', args={'order': 3})
        await page.wait(lambda frame: frame['op'] == 'action_feedback')
        await async_wait_until(lambda: [
            sample for sample in other.samples('/fib/_action/feedback')
            if sample['feedback'] == {'sequence': [1, 2]} and sample['goal_id']['uuid']])
        await async_wait_until(lambda: [
            sample for sample in other.samples('/fib/_action/status')
            if sample['status_list'][0]['status'] == 2])
        answer = await other.call('/fib/_action/cancel_goal', ALL_GOALS)
        assert answer['result'], answer
        assert len(answer['values']['goals_canceling']) == 1
        result = await page.wait(lambda frame: frame['op'] == 'action_result')
        assert (result['status'], counter.cancelled) == (5, 1)
        answer = await other.call('/rosapi/topic_type', {'topic': '/fib/_action/feedback'})
        assert answer['values']['type'] == 'test_msgs/action/Fibonacci_FeedbackMessage'
        answer = await other.call('/rosapi/message_details', {
            'type': 'test_msgs/action/Fibonacci_FeedbackMessage'})
        assert answer['values']['typedefs'][0]['fieldnames'] == ['goal_id', 'feedback']


async def test_a_goal_sent_by_the_own_service_of_a_gated_action_ends_with_the_lease(
        counter: Counter, tmp_path: Any) -> None:
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text("""
        version: 1
        in: [{topic: '*'}]
        services: ['*']
        gates: [{gate: arm, topics: [/arm], services: [/fib], timeout: 60.0}]
        """)
    goal = {'goal_id': {'uuid': list(range(16))}, 'goal': {'order': 3}}
    async with running_bridge(mapping_file=str(mapping)) as service, \
            native_peer(service) as peer, native_peer(service) as other:
        await async_wait_until(lambda: '/fib' in service.ros.graph.actions)
        await peer.acquire('arm')
        refused = await other.call('/fib/_action/send_goal', goal)
        assert refused['data'].get('code') == 'not_holder', refused
        answer = await peer.call('/fib/_action/send_goal', goal)
        assert answer['data']['result']['accepted'], answer
        await peer.ask('release', gate='arm')
        await async_wait_until(lambda: counter.cancelled == 1)
        # a cancel moves nothing: it needs no lease, and passes an emergency stop
        await other.ask('stop')
        answer = await other.call('/fib/_action/cancel_goal', ALL_GOALS)
        assert 'result' in answer['data'], answer


async def test_rights_of_an_action_hold_for_what_it_consists_of(
        counter: Counter, tmp_path: Any) -> None:
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text("""
        version: 1
        out: [{topic: '*'}]
        services: ['*']
        roles:
          watcher: {allow: [{subscribe: '*', call: '*', graph: '*'}]}
        """)
    async with running_bridge(mapping_file=str(mapping), anonymous_role='watcher') as service, \
            native_peer(service) as peer:
        await async_wait_until(lambda: '/fib' in service.ros.graph.actions)
        answer = await peer.call('/fib/_action/cancel_goal', ALL_GOALS)
        assert answer['data']['code'] == 'forbidden', answer
        assert (await peer.refused('subscribe', topic='/fib/_action/status'))['code'] == \
            'forbidden'
