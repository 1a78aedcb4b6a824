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
"""Actions end to end: real rclpy, real sockets, the native dialect."""
from __future__ import annotations

from collections.abc import Iterator
import math
from pathlib import Path
from typing import Any

from action_msgs.msg import GoalStatus
import pytest
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from support.bridge_harness import Json, native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from test_msgs.action import Fibonacci

from ws_bridge.errors import Unavailable

FIBONACCI = 'test_msgs/action/Fibonacci'
SUCCEEDED, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)


class Robot(SpinningNode):
    """A node with action servers, whose goals end when the test says so, and action clients."""

    def __init__(self) -> None:
        super().__init__('robot')
        self.handles: list[Any] = []
        self.ends: list[Future] = []
        self.entities: list[Any] = []

    def serve(self, action: str) -> None:
        """Serve an action: negative orders are rejected, all are cancelled when asked to be."""
        self.entities.append(ActionServer(
            self.node, Fibonacci, action, self._work, callback_group=ReentrantCallbackGroup(),
            goal_callback=lambda goal: (GoalResponse.REJECT if goal.order < 0
                                        else GoalResponse.ACCEPT),
            cancel_callback=lambda handle: CancelResponse.ACCEPT))

    async def _work(self, handle: Any) -> Any:
        end: Future = Future()
        self.ends.append(end)
        self.handles.append(handle)
        sequence = await end
        if handle.is_cancel_requested:
            handle.canceled()
        elif sequence is None:
            handle.abort()
        else:
            handle.succeed()
        return Fibonacci.Result(sequence=sequence or [])

    def feedback(self, *sequence: int, goal: int = 0) -> None:
        self.run(self.handles[goal].publish_feedback, Fibonacci.Feedback(sequence=list(sequence)))

    def end(self, sequence: list[int] | None, goal: int = 0) -> None:
        self.run(self.ends[goal].set_result, sequence)

    def client(self, action: str) -> Any:
        client = self.call(ActionClient, self.node, Fibonacci, action)
        self.entities.append(client)
        return client

    def destroy(self) -> None:
        """Destroy the servers and clients, which a node does not do by itself."""
        for entity in self.entities:
            self.run(entity.destroy)
        self.entities.clear()


@pytest.fixture
def robot() -> Iterator[Robot]:
    with Robot() as robot:
        yield robot
        for end in robot.ends:
            if not end.done():
                robot.run(end.set_result, None)
        robot.destroy()


class Goal:
    """A goal of a rclpy client."""

    def __init__(self, robot: Robot, client: Any, order: int) -> None:
        self.feedback: list[list[int]] = []
        self.accepted: bool | None = None
        self.result: tuple[int, list[int]] | None = None
        self.handle: Any = None
        self._robot = robot
        robot.run(self._send, client, order)

    def _send(self, client: Any, order: int) -> None:
        client.send_goal_async(
            Fibonacci.Goal(order=order),
            feedback_callback=lambda message: self.feedback.append(
                list(message.feedback.sequence))).add_done_callback(self._answered)

    def _answered(self, future: Any) -> None:
        self.handle = future.result()
        if self.handle.accepted:
            self.handle.get_result_async().add_done_callback(self._ended)
        self.accepted = self.handle.accepted

    def _ended(self, future: Any) -> None:
        response = future.result()
        self.result = response.status, list(response.result.sequence)

    def cancel(self) -> None:
        self._robot.run(lambda: self.handle.cancel_goal_async() and None)


async def send(peer: NativePeer, action: str, order: Any = 3, **metadata: Any) -> str:
    return await peer.send('command', {'order': order}, destination=action, **metadata)


async def told(peer: NativePeer, goal: str, op: str) -> Json:
    """Return the data of an acknowledgment about a goal, or of the error that ended it."""
    frame = await peer.wait(lambda f: f['metadata']['correlation_id'] == goal and (
        f['data'].get('op') == op or f['metadata']['message_type'] == 'error'))
    data: Json = frame['data']
    return data


def fed(peer: NativePeer, goal: str) -> list[Json]:
    """Return the feedback on a goal."""
    return [f['data'] for f in peer.frames if f['metadata']['correlation_id'] == goal
            and f['metadata']['message_type'] == 'data']


async def asked(peer: NativePeer, number: int = 1) -> str:
    """Return the name of the n-th goal that reached a host."""
    def find() -> Json | None:
        goals = [f for f in peer.frames if f['metadata'].get('kind') == 'action']
        return goals[number - 1] if len(goals) >= number else None
    frame = await async_wait_until(find)
    assert frame is not None
    goal: str = frame['metadata']['message_id']
    return goal


async def result(peer: NativePeer, goal: str, *, valid: bool = True, **fields: Any) -> str:
    return await peer.send('acknowledgment', {'op': 'result', **fields}, correlation_id=goal,
                           valid=valid)


async def test_goal_feedback_and_result(robot: Robot) -> None:
    robot.serve('/count')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: service.ros.graph.actions)
        assert (await peer.ask('list'))['actions'] == [{'action': '/count', 'types': [FIBONACCI]}]
        goal = await send(peer, '/count', 5)
        assert await told(peer, goal, 'goal') == {
            'op': 'goal', 'action': '/count', 'accepted': True}
        await async_wait_until(lambda: robot.handles)
        assert robot.handles[0].request.order == 5
        robot.feedback(0)
        robot.feedback(0, 1)
        await async_wait_until(lambda: len(fed(peer, goal)) == 2)
        assert fed(peer, goal) == [{'sequence': [0]}, {'sequence': [0, 1]}]
        sample = next(f for f in peer.frames if f['metadata']['message_type'] == 'data')
        assert sample['metadata']['source'] == '/count'
        robot.end([0, 1, 1])
        assert await told(peer, goal, 'result') == {
            'op': 'result', 'action': '/count', 'status': 'succeeded',
            'result': {'sequence': [0, 1, 1]}}


async def test_two_goals_at_once_and_names_of_goals(robot: Robot) -> None:
    robot.serve('/count')
    async with running_bridge() as service, native_peer(service) as peer, \
            native_peer(service) as other:
        await async_wait_until(lambda: service.ros.graph.actions)
        first, second = await send(peer, '/count', 1), await send(peer, 'count', 2, kind='action')
        same_name = await send(other, '/count', 3)
        assert same_name == first
        await async_wait_until(lambda: len(robot.handles) == 3)
        for number, handle in enumerate(robot.handles):
            robot.end([handle.request.order], number)
        for who, goal, order in ((peer, first, 1), (peer, second, 2), (other, same_name, 3)):
            assert (await told(who, goal, 'result'))['result'] == {'sequence': [order]}


async def test_cancel(robot: Robot) -> None:
    robot.serve('/count')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: service.ros.graph.actions)
        goal = await send(peer, '/count')
        await told(peer, goal, 'goal')
        assert await peer.ask('cancel_goal', goal=goal) == {'op': 'cancel_goal', 'goal': goal}
        robot.end([4])
        done = await told(peer, goal, 'result')
        assert (done['status'], done['result']) == ('canceled', {'sequence': [4]})
        late = await peer.refused('cancel_goal', goal=goal)
        assert (late['code'], late['field']) == ('expired', 'data.goal')


async def test_goals_that_fail(robot: Robot) -> None:
    robot.serve('/count')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: service.ros.graph.actions)

        async def error(action: str, order: Any, **metadata: Any) -> tuple[str, str | None]:
            data = await told(peer, await send(peer, action, order, **metadata), 'result')
            return data['code'], data['field']
        assert await error('/count', -1) == ('rejected', None)
        assert await error('/count', 'three') == ('wrong_kind', 'data.order')
        assert await error('/count', 2 ** 40) == ('out_of_range', 'data.order')
        assert await error('/nowhere', 1, kind='action') == ('unknown_name',
                                                             'metadata.destination')
        assert await error('/count', 1, timeout=0.2) == ('timeout', None)
        await async_wait_until(lambda: robot.handles[0].is_cancel_requested)
        aborted = await send(peer, '/count', 2)
        await async_wait_until(lambda: len(robot.handles) == 2)
        robot.end(None, 1)
        assert (await told(peer, aborted, 'result'))['status'] == 'aborted'


async def test_a_server_that_leaves_ends_the_goal(robot: Robot) -> None:
    robot.serve('/count')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: service.ros.graph.actions)
        goal = await send(peer, '/count')
        await told(peer, goal, 'goal')
        robot.destroy()
        assert (await told(peer, goal, 'result'))['code'] == 'unavailable'


async def test_a_peer_that_is_killed_leaves_no_goal_and_no_server(robot: Robot) -> None:
    robot.serve('/count')
    client = robot.client('/page')
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise_action', action='/page', type=FIBONACCI)
        await async_wait_until(client.server_is_ready)
        theirs = Goal(robot, client, 1)
        await asked(peer)
        await async_wait_until(lambda: service.ros.graph.actions.get('/count'))
        await told(peer, await send(peer, '/count'), 'goal')
        await async_wait_until(lambda: theirs.accepted and robot.handles)
        peer.websocket.transport.abort()
        within = 1.0
        await async_wait_until(lambda: robot.handles[0].is_cancel_requested, within)
        await async_wait_until(lambda: theirs.result == (ABORTED, []), within)
        await async_wait_until(lambda: not client.server_is_ready(), within)
        await async_wait_until(
            lambda: robot.node.count_services('/page/_action/send_goal') == 0, within)
        await async_wait_until(lambda: '/page' not in service.ros.graph.actions, 2 * within)


async def test_hosted_action(robot: Robot) -> None:
    client = robot.client('/page')
    async with running_bridge() as service, native_peer(service) as peer:
        assert await peer.ask('advertise_action', action='/page',
                              type='test_msgs/Fibonacci') == {
            'op': 'advertise_action', 'action': '/page', 'type': FIBONACCI}
        await async_wait_until(client.server_is_ready)
        theirs = Goal(robot, client, 7)
        goal = await asked(peer)
        request = next(f for f in peer.frames if f['metadata']['message_id'] == goal)
        assert (request['data'], request['metadata']['destination']) == ({'order': 7}, '/page')
        await async_wait_until(lambda: theirs.accepted)
        await peer.send('data', {'sequence': [0]}, correlation_id=goal)
        await async_wait_until(lambda: theirs.feedback == [[0]])
        await result(peer, goal, result={'sequence': [0, 1]})
        await async_wait_until(lambda: theirs.result)
        assert theirs.result == (SUCCEEDED, [0, 1])
        await result(peer, goal)
        late = await peer.wait(lambda f: f['metadata']['message_type'] == 'error')
        assert (late['data']['code'], late['data']['field']) == \
            ('expired', 'metadata.correlation_id')


async def test_hosted_action_of_a_peer_that_answers(robot: Robot) -> None:
    client = robot.client('/page')
    async with running_bridge(call_timeout=1.0) as service, native_peer(service) as peer:
        await peer.ask('advertise_action', action='/page', type=FIBONACCI, answers=True)
        await async_wait_until(client.server_is_ready)
        goals = []
        for number in (1, 2, 3):
            goals.append(Goal(robot, client, number))
            name = await asked(peer, number)
            if number < 3:  # the third is never answered
                assert goals[-1].accepted is None
                await peer.send('acknowledgment', {'op': 'goal', 'accepted': number == 2},
                                correlation_id=name)
            await async_wait_until(lambda: goals[-1].accepted is not None)
        assert [goal.accepted for goal in goals] == [False, True, False]
        await peer.send('error', {'message': 'broken'}, correlation_id=await asked(peer, 2))
        await async_wait_until(lambda: goals[1].result == (ABORTED, []))


async def test_hosted_action_is_cancelled(robot: Robot) -> None:
    client = robot.client('/page')
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise_action', action='/page', type=FIBONACCI)
        await async_wait_until(client.server_is_ready)
        for number, status, expected in ((1, 'canceled', CANCELED), (2, 'succeeded', SUCCEEDED)):
            theirs = Goal(robot, client, number)
            goal = await asked(peer, number)
            await async_wait_until(lambda: theirs.accepted)  # noqa: B023
            theirs.cancel()
            cancel = await peer.wait(lambda f: f['data'].get('goal') == goal)  # noqa: B023
            assert cancel['data'] == {'op': 'cancel_goal', 'action': '/page', 'goal': goal}
            await result(peer, goal, status=status, result={'sequence': [number]})
            await async_wait_until(lambda: theirs.result)  # noqa: B023
            assert theirs.result == (expected, [number])


async def test_hosted_values_that_do_not_fit(robot: Robot) -> None:
    client = robot.client('/page')
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise_action', action='/page', type=FIBONACCI)
        await async_wait_until(client.server_is_ready)
        theirs = Goal(robot, client, 1)
        goal = await asked(peer)
        wrong = await peer.send('data', {'sequence': 'x'}, correlation_id=goal)
        error = (await peer.answer(wrong))['data']
        assert (error['code'], error['field']) == ('wrong_kind', 'data.sequence')
        wrong = await result(peer, goal, result={'sequence': [math.pi]})
        assert (await peer.answer(wrong))['data']['code'] == 'wrong_kind'
        await async_wait_until(lambda: theirs.result == (ABORTED, []))


async def test_the_newer_host_wins(robot: Robot) -> None:
    async with running_bridge() as service, native_peer(service) as old, \
            native_peer(service) as new:
        await old.ask('advertise_action', action='/page', type=FIBONACCI)
        mine = await send(old, '/page', 1)
        await asked(old)
        await new.ask('advertise_action', action='/page', type=FIBONACCI)
        await old.wait(lambda f: f['data'].get('code') == 'already_exists')
        assert (await told(old, mine, 'result'))['status'] == 'aborted'
        assert (await old.refused('unadvertise_action', action='/page'))['code'] == \
            'not_advertised'
        for wrong in ({'type': 'no_such/Type'}, {'type': FIBONACCI, 'action': '/a b'}):
            refused = await new.refused('advertise_action', **{'action': '/x', **wrong})
            assert refused['code'] in ('unknown_type', 'bad_name')
        await new.ask('advertise_action', action='/page', type=FIBONACCI)

        async def goal_of_old() -> Json:
            return await told(old, await send(old, '/page', 2, kind='action'), 'goal')
        # while the older server ends, it rejects what comes
        while (await goal_of_old()).get('code') == 'rejected':
            pass
        await result(new, await asked(new), result={'sequence': [9]})
        done = await old.wait(lambda f: f['data'].get('result') == {'sequence': [9]})
        assert done['data']['status'] == 'succeeded'
        await new.ask('unadvertise_action', action='/page')


async def test_a_ros_client_that_goes_away(robot: Robot) -> None:
    client = robot.client('/page')
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise_action', action='/page', type=FIBONACCI)
        await async_wait_until(client.server_is_ready)
        theirs = Goal(robot, client, 1)
        goal = await asked(peer)
        await async_wait_until(lambda: theirs.accepted)
        # the bridge must have seen the client before it goes
        await async_wait_until(
            lambda: service.ros._servers['/page']._work[1].clients)  # type: ignore[attr-defined]
        robot.destroy()
        await peer.wait(lambda f: f['data'].get('goal') == goal)
        await result(peer, goal, status='canceled')
        assert not peer.errors()


async def test_feedback_of_a_slow_peer_is_dropped_not_queued(robot: Robot) -> None:
    robot.serve('/count')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: service.ros.graph.actions)
        goal = await send(peer, '/count')
        await told(peer, goal, 'goal')
        await async_wait_until(lambda: robot.handles)
        peer.websocket.transport.pause_reading()
        long = [7] * 100_000
        for _ in range(200):
            robot.feedback(*long)
        robot.feedback(1)
        robot.end([1])
        link = next(iter(service.bridge._peers))
        await async_wait_until(lambda: link.dropped)
        peer.websocket.transport.resume_reading()
        assert (await told(peer, goal, 'result'))['status'] == 'succeeded'
        assert peer.closed is None


async def test_a_stop_cancels_the_goals_behind_its_gate(robot: Robot, tmp_path: Path) -> None:
    path = tmp_path / 'mapping.yaml'
    path.write_text("version: 1\nservices: ['*']\ngates:\n- {gate: arm, services: [/guarded]}\n")
    for action in ('/guarded', '/free'):
        robot.serve(action)
    async with running_bridge(mapping_file=str(path)) as service, native_peer(service) as peer:
        await async_wait_until(
            lambda: {'/guarded', '/free'} <= set(service.ros.graph.actions))
        refused = await peer.answer(await peer.send(
            'command', {'order': 1}, destination='/guarded', kind='action'))
        assert refused['data']['code'] == 'not_holder'
        await peer.acquire('arm')
        goals = [await peer.send('command', {'order': 1}, destination=action, kind='action')
                 for action in ('/guarded', '/free')]
        await async_wait_until(lambda: len(robot.handles) == 2)
        await peer.ask('stop')
        await async_wait_until(lambda: any(h.is_cancel_requested for h in robot.handles))
        for number in range(2):
            robot.end([1], number)
        ends = {}
        for goal in goals:
            frame = await peer.wait(lambda f, g=goal: f['metadata']['correlation_id'] == g
                                    and f['data'].get('op') == 'result')
            ends[frame['data']['action']] = frame['data']['status']
        assert ends == {'/guarded': 'canceled', '/free': 'succeeded'}


async def test_a_goal_that_cannot_be_sent_leaves_nothing_to_cancel(
        robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender is told, and the emergency stop works afterwards."""
    robot.serve('/count')
    async with running_bridge() as service, native_peer(service) as peer:
        await async_wait_until(lambda: service.ros.graph.actions)

        def fails(*_: Any, **__: Any) -> Any:
            raise Unavailable('the ROS side is shut down')
        with monkeypatch.context() as patch:
            patch.setattr(service.ros, 'send_goal', fails)
            refused = await peer.answer(await peer.send(
                'command', {'order': 1}, destination='/count', kind='action'))
        assert refused['data']['code'] == 'unavailable'
        service.bridge._actions.cancel_all(lambda action: True)
        await told(peer, goal := await send(peer, '/count'), 'goal')
        service.bridge._actions.cancel_all(lambda action: True)
        await async_wait_until(lambda: robot.handles[0].is_cancel_requested)
        robot.end([1])
        assert (await told(peer, goal, 'result'))['status'] == 'canceled'
