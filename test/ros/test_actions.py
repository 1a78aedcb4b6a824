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
"""Actions of the ROS side, against rclpy's own action server and client."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import time
from typing import Any

from action_msgs.msg import GoalStatus
import pytest
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.task import Future
from support.helpers import SpinningNode
from support.ros_harness import FakeLoop, look, QUICK, running_side
from test_msgs.action import Fibonacci, NestedMessage
from test_msgs.msg import BasicTypes

from ws_bridge.errors import (
    BadName,
    Expired,
    LimitExceeded,
    NotAdvertised,
    Rejected,
    TimedOut,
    TypeMismatch,
    Unavailable,
    UnknownType,
    WsBridgeError,
)
from ws_bridge.ros.actions import Goal, GoalEnd
from ws_bridge.ros.hosted_actions import HostedAction
from ws_bridge.ros.side import RosSide

FIBONACCI = 'test_msgs/action/Fibonacci'
SUCCEEDED, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)

pytestmark = pytest.mark.usefixtures('tidy')


class Robot:
    """
    An action server whose goals end when the test says so.

    A goal of a negative order is rejected; it is cancelled where ``cancellable``.
    """

    def __init__(self, node: Any, action: str, action_type: type[Any] = Fibonacci) -> None:
        self.handles: list[Any] = []
        self.ends: dict[int, Future] = {}
        self.cancellable = True
        self.requested: list[Any] = []
        self.action_type = action_type
        self.server = ActionServer(
            node, action_type, action, self._work, callback_group=ReentrantCallbackGroup(),
            goal_callback=self._decide, cancel_callback=self._cancel)

    def _decide(self, goal: Any) -> GoalResponse:
        self.requested.append(goal)
        rejected = self.action_type is Fibonacci and goal.order < 0
        return GoalResponse.REJECT if rejected else GoalResponse.ACCEPT

    def _cancel(self, handle: Any) -> CancelResponse:
        return CancelResponse.ACCEPT if self.cancellable else CancelResponse.REJECT

    async def _work(self, handle: Any) -> Any:
        end: Future = Future()
        self.ends[id(handle)] = end
        self.handles.append(handle)
        result = await end
        if handle.is_cancel_requested:
            handle.canceled()
        elif result is None:
            handle.abort()
        else:
            handle.succeed()
        return result or self.action_type.Result()


class Server(SpinningNode):
    """A participant of its own with a robot in it."""

    def __init__(self) -> None:
        super().__init__('robot')

    def serve(self, action: str, action_type: type[Any] = Fibonacci) -> Robot:
        return Robot(self.node, action, action_type)

    def end(self, robot: Robot, number: int, result: Any) -> None:
        self.run(robot.ends[id(robot.handles[number])].set_result, result)

    def stop(self, robot: Robot) -> None:
        """Destroy the server as a program that ends does, with its goals."""
        self.run(robot.server.destroy)


@pytest.fixture(scope='module')
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def robot(server: Server, topic: str) -> Iterator[Robot]:
    robot = server.serve(topic)
    yield robot
    for end in robot.ends.values():
        if not end.done():
            server.run(end.set_result, None)
    server.stop(robot)


class Sent:
    """A goal that a peer sent, and what it heard of it."""

    def __init__(self, side: RosSide, action: str, order: int = 3, *, goal: Any = None,
                 action_type: str = FIBONACCI, patience: float = 10.0,
                 timeout: float | None = None, feedback: bool = True) -> None:
        self.accepted = 0
        self.feedback: list[bytes] = []
        self.done: list[Any] = []
        self.cancels: list[Any] = []
        self.goal: Goal = side.send_goal(
            action, action_type, serialize_message(goal or Fibonacci.Goal(order=order)),
            patience=patience, timeout=timeout, on_accepted=self._accept,
            on_feedback=self.feedback.append if feedback else None, on_done=self.done.append)

    def _accept(self) -> None:
        self.accepted += 1

    @property
    def sequences(self) -> list[list[int]]:
        return [list(deserialize_message(each, Fibonacci.Feedback).sequence)
                for each in self.feedback]

    @property
    def end(self) -> tuple[int, list[int]]:
        assert len(self.done) == 1
        assert isinstance(self.done[0], GoalEnd), self.done
        return self.done[0].status, list(
            deserialize_message(self.done[0].result, Fibonacci.Result).sequence)

    def cancel(self) -> None:
        self.goal.cancel(self.cancels.append)


def test_goal_feedback_and_result(loop: FakeLoop, side: RosSide, server: Server, robot: Robot,
                                  topic: str) -> None:
    sent = Sent(side, topic, 5)
    loop.until(lambda: sent.accepted and robot.handles)
    assert robot.requested[0].order == 5
    for count in (1, 2):
        server.run(robot.handles[0].publish_feedback,
                   Fibonacci.Feedback(sequence=list(range(count))))
    loop.until(lambda: len(sent.feedback) == 2)
    server.end(robot, 0, Fibonacci.Result(sequence=[0, 1, 1]))
    loop.until(lambda: sent.done)
    assert sent.sequences == [[0], [0, 1]]
    assert sent.end == (SUCCEEDED, [0, 1, 1])
    assert sent.accepted == 1


def test_fields_of_every_alignment_survive(loop: FakeLoop, side: RosSide, server: Server,
                                           topic: str) -> None:
    """The bridge cuts the goal's id off the CDR of feedback: nothing may move."""
    robot = server.serve(topic, NestedMessage)
    values = BasicTypes(bool_value=True, float64_value=1.125, int8_value=-3, uint64_value=2 ** 60)
    goal = NestedMessage.Goal(nested_field=values)
    feedback = NestedMessage.Feedback(nested_field=values)
    result = NestedMessage.Result(nested_field=values)
    sent = Sent(side, topic, goal=goal, action_type='test_msgs/action/NestedMessage')
    loop.until(lambda: robot.handles)
    server.run(robot.handles[0].publish_feedback, feedback)
    loop.until(lambda: sent.feedback)
    server.end(robot, 0, result)
    loop.until(lambda: sent.done)
    assert robot.requested == [goal]
    assert deserialize_message(sent.feedback[0], NestedMessage.Feedback) == feedback
    assert deserialize_message(sent.done[0].result, NestedMessage.Result) == result
    server.stop(robot)


def test_goals_run_side_by_side(loop: FakeLoop, side: RosSide, server: Server, robot: Robot,
                                topic: str) -> None:
    first, second = Sent(side, topic, 1), Sent(side, topic, 2, feedback=False)
    loop.until(lambda: len(robot.handles) == 2)
    by_order = {handle.request.order: number for number, handle in enumerate(robot.handles)}
    for order, number in by_order.items():
        server.run(robot.handles[number].publish_feedback, Fibonacci.Feedback(sequence=[order]))
    server.end(robot, by_order[2], Fibonacci.Result(sequence=[2]))
    loop.until(lambda: second.done)
    assert first.done == []
    server.end(robot, by_order[1], Fibonacci.Result(sequence=[1]))
    loop.until(lambda: first.done and first.feedback)
    assert (first.end, second.end) == ((SUCCEEDED, [1]), (SUCCEEDED, [2]))
    assert (first.sequences, second.sequences) == ([[1]], [])


def test_of_goals_that_end_at_once_all_results_are_heard(
        loop: FakeLoop, side: RosSide, server: Server, robot: Robot, topic: str) -> None:
    sent: list[Sent] = []
    for count in (8, 16):       # the robot's own queue holds ten
        sent += [Sent(side, topic, feedback=False) for _ in range(8)]
        loop.until(lambda: len(robot.handles) == count and all(    # noqa: B023 - awaited here
            each.accepted for each in sent))    # noqa: B023

    def end_all() -> None:
        for end in robot.ends.values():
            end.set_result(Fibonacci.Result(sequence=[7]))
    server.run(end_all)
    loop.until(lambda: all(each.done for each in sent),
               lambda: [len(each.done) for each in sent])
    assert [each.end for each in sent] == [(SUCCEEDED, [7])] * 16


class BusyRobot(Robot):
    """It decides one after the other."""

    def _decide(self, goal: Any) -> GoalResponse:
        time.sleep(0.01)
        return super()._decide(goal)

    def _cancel(self, handle: Any) -> CancelResponse:
        time.sleep(0.01)
        return super()._cancel(handle)


def test_of_a_burst_to_a_busy_robot_nothing_is_lost(
        loop: FakeLoop, side: RosSide, server: Server, topic: str) -> None:
    """Neither goals nor cancel requests nor requests for results: its queues hold ten each."""
    robot = BusyRobot(server.node, topic)
    loop.until(lambda: topic in side.graph.actions)
    sent = [Sent(side, topic, number, feedback=False, patience=60.0) for number in range(30)]
    loop.until(lambda: all(each.accepted for each in sent),
               lambda: f'{len(robot.requested)} goals came')
    for each in sent:
        each.cancel()
    loop.until(lambda: all(each.cancels for each in sent),
               lambda: f'{sum(handle.is_cancel_requested for handle in robot.handles)} cancelled')

    def end_all() -> None:
        for end in robot.ends.values():
            end.set_result(Fibonacci.Result(sequence=[7]))
    server.run(end_all)
    loop.until(lambda: all(each.done for each in sent),
               lambda: f'{sum(len(each.done) for each in sent)} results')
    assert [each.cancels for each in sent] == [[None]] * 30
    assert [each.end for each in sent] == [(CANCELED, [7])] * 30
    server.stop(robot)


def test_rejected(loop: FakeLoop, side: RosSide, robot: Robot, topic: str) -> None:
    sent = Sent(side, topic, -1)
    loop.until(lambda: sent.done)
    assert [type(each) for each in sent.done] == [Rejected]
    assert (sent.accepted, robot.handles) == (0, [])


def test_aborted(loop: FakeLoop, side: RosSide, server: Server, robot: Robot, topic: str) -> None:
    sent = Sent(side, topic)
    loop.until(lambda: robot.handles)
    server.end(robot, 0, None)
    loop.until(lambda: sent.done)
    assert sent.end == (ABORTED, [])


def test_cancelled(loop: FakeLoop, side: RosSide, server: Server, robot: Robot,
                   topic: str) -> None:
    sent = Sent(side, topic)
    sent.cancel()   # before the server can have answered
    loop.until(lambda: sent.cancels)
    assert sent.cancels == [None]
    assert robot.handles[0].is_cancel_requested
    server.end(robot, 0, Fibonacci.Result(sequence=[7]))
    loop.until(lambda: sent.done)
    assert sent.end == (CANCELED, [7])
    sent.cancel()
    loop.until(lambda: len(sent.cancels) == 2)
    assert isinstance(sent.cancels[1], Expired)


def test_a_server_may_refuse_to_cancel(loop: FakeLoop, side: RosSide, server: Server,
                                       robot: Robot, topic: str) -> None:
    robot.cancellable = False
    sent = Sent(side, topic)
    loop.until(lambda: robot.handles)
    sent.cancel()
    loop.until(lambda: sent.cancels)
    assert isinstance(sent.cancels[0], Rejected)
    server.end(robot, 0, Fibonacci.Result(sequence=[1]))
    loop.until(lambda: sent.done)
    assert sent.end == (SUCCEEDED, [1])


def test_a_dropped_goal_is_cancelled_and_silent(loop: FakeLoop, side: RosSide, server: Server,
                                                robot: Robot, topic: str) -> None:
    running, unsent = Sent(side, topic, 1), Sent(side, '/nobody_serves_it')
    unsent.goal.drop()
    loop.until(lambda: running.accepted)
    running.goal.drop()
    running.goal.drop()
    loop.until(lambda: robot.handles[0].is_cancel_requested)
    server.end(robot, 0, None)
    after = Sent(side, topic, 3)
    loop.until(lambda: after.accepted)
    assert [goal.order for goal in robot.requested] == [1, 3]
    assert (running.done, unsent.done) == ([], [])


def test_dropped_before_it_was_accepted(loop: FakeLoop, side: RosSide, topic: str) -> None:
    """The goal is cancelled as soon as the server accepts it, though nobody waits any more."""
    peer = Peer(side, topic)
    sent = Sent(side, topic)
    loop.until(lambda: peer.goals)
    sent.goal.drop()
    loop.until(lambda: side.idle)
    peer.hosted.answer(peer.token, accepted=True)
    loop.until(lambda: peer.cancels)
    peer.hosted.finish(peer.token, CANCELED, None)
    assert (sent.done, sent.accepted) == ([], 0)


def test_nobody_serves_it(loop: FakeLoop) -> None:
    with running_side(loop, replace(QUICK, service_wait=0.1)) as side:
        sent = Sent(side, '/nowhere')
        loop.until(lambda: sent.done)
        look(loop, side, 2)
        assert '/nowhere' not in side.graph.actions
    assert [type(each) for each in sent.done] == [Unavailable]


def test_another_type(loop: FakeLoop, side: RosSide, robot: Robot, topic: str) -> None:
    loop.until(lambda: side.graph.actions.get(topic) == (FIBONACCI,))
    sent = Sent(side, topic, goal=NestedMessage.Goal(),
                action_type='test_msgs/action/NestedMessage')
    loop.until(lambda: sent.done)
    assert isinstance(sent.done[0], TypeMismatch)
    assert FIBONACCI in str(sent.done[0])


def test_wrong_names_and_types(side: RosSide) -> None:
    with pytest.raises(BadName):
        Sent(side, 'no name')
    with pytest.raises(UnknownType):
        Sent(side, '/fine', action_type='test_msgs/action/Nothing')
    with pytest.raises(BadName):
        Peer(side, '')
    with pytest.raises(UnknownType):
        Peer(side, '/fine', 'no_package/action/Nothing')


def test_a_goal_that_takes_too_long_is_cancelled(loop: FakeLoop, side: RosSide, robot: Robot,
                                                 topic: str) -> None:
    loop.until(lambda: topic in side.graph.actions)
    sent = Sent(side, topic, timeout=1.0)
    loop.until(lambda: sent.done)
    assert [type(each) for each in sent.done] == [TimedOut]
    loop.until(lambda: robot.handles[0].is_cancel_requested)


def test_a_server_that_does_not_decide(loop: FakeLoop, side: RosSide, topic: str) -> None:
    peer = Peer(side, topic)
    sent = Sent(side, topic, patience=0.5)
    loop.until(lambda: sent.done)
    assert [type(each) for each in sent.done] == [TimedOut]
    peer.hosted.answer(peer.token, accepted=True)   # too late: cancelled at once
    loop.until(lambda: peer.cancels)


def test_a_server_that_leaves_ends_its_goals(loop: FakeLoop, side: RosSide, server: Server,
                                             topic: str) -> None:
    robot = server.serve(topic)
    sent = Sent(side, topic)
    loop.until(lambda: sent.accepted, lambda: sent.done)
    sent.cancel()
    server.stop(robot)
    loop.until(lambda: sent.done)
    assert [type(each) for each in sent.done] == [Unavailable]
    loop.until(lambda: topic not in side.graph.actions)


def test_unused_clients_are_destroyed(loop: FakeLoop, side: RosSide, server: Server,
                                      robot: Robot, topic: str) -> None:
    service = f'{topic}/_action/send_goal'
    sent = Sent(side, topic)
    loop.until(lambda: robot.handles)
    assert server.node.count_clients(service) == 1
    server.end(robot, 0, None)
    loop.until(lambda: sent.done and server.node.count_clients(service) == 0)


def test_shutdown_cancels_goals(loop: FakeLoop, server: Server, robot: Robot,
                                topic: str) -> None:
    with running_side(loop) as side:
        loop.until(lambda: topic in side.graph.actions)
        sent = Sent(side, topic)
        loop.until(lambda: sent.accepted, lambda: sent.done)
    assert [type(each) for each in sent.done] == [Unavailable]
    loop.until(lambda: robot.handles[0].is_cancel_requested)


class Peer:
    """A peer that hosts an action."""

    def __init__(self, side: RosSide, action: str, action_type: str = FIBONACCI, *,
                 accept: bool = False) -> None:
        self.goals: list[tuple[int, int]] = []
        self.cancels: list[int] = []
        self.errors: list[WsBridgeError] = []
        self.accept = accept
        self.hosted: HostedAction = side.host_action(
            action, action_type, on_goal=self._goal, on_cancel=self.cancels.append,
            on_error=self.errors.append)

    def _goal(self, token: int, cdr: bytes) -> None:
        self.goals.append((token, deserialize_message(cdr, Fibonacci.Goal).order))
        if self.accept:
            self.hosted.answer(token, accepted=True)

    @property
    def token(self) -> int:
        return self.goals[-1][0]

    def feedback(self, *sequence: int) -> None:
        self.hosted.feedback(self.token, serialize_message(
            Fibonacci.Feedback(sequence=list(sequence))))

    def finish(self, status: int, *sequence: int) -> None:
        self.hosted.finish(self.token, status, serialize_message(
            Fibonacci.Result(sequence=list(sequence))))


class Client:
    """
    A goal of rclpy's action client.

    It is sent when each side knows the other: what a server answers to a client that it has not
    discovered yet is lost.
    """

    def __init__(self, server: Server, loop: FakeLoop, side: RosSide, action: str,
                 order: int = 3) -> None:
        def known() -> int:
            node = side._ros.node  # type: ignore[union-attr]
            return min(node.count_clients(f'{action}/_action/{service}')
                       for service in ('send_goal', 'get_result', 'cancel_goal'))
        before = known()
        self.client: Any = server.call(ActionClient, server.node, Fibonacci, action)
        self.server = server
        self.feedback: list[list[int]] = []
        self.results: list[tuple[int, list[int]]] = []
        self.answers: list[bool] = []
        self.cancels: list[int] = []
        self.handle: Any = None
        loop.until(lambda: self.client.server_is_ready() and known() > before)
        server.run(self._send, order)

    def _send(self, order: int) -> None:
        self.client.send_goal_async(
            Fibonacci.Goal(order=order),
            feedback_callback=lambda message: self.feedback.append(
                list(message.feedback.sequence))).add_done_callback(self._answered)

    def _answered(self, future: Any) -> None:
        self.handle = future.result()
        if self.handle.accepted:
            self.handle.get_result_async().add_done_callback(self._finished)
        self.answers.append(self.handle.accepted)

    def _finished(self, future: Any) -> None:
        response = future.result()
        self.results.append((response.status, list(response.result.sequence)))

    def cancel(self) -> None:
        self.server.run(lambda: self.handle.cancel_goal_async().add_done_callback(
            lambda future: self.cancels.append(len(future.result().goals_canceling))))

    def close(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            self.server.run(client.destroy)


@pytest.fixture
def peer(side: RosSide, topic: str) -> Peer:
    return Peer(side, topic)


@pytest.fixture
def client(server: Server, loop: FakeLoop, side: RosSide, peer: Peer, topic: str
           ) -> Iterator[Client]:
    """Give a goal that has reached the peer."""
    client = Client(server, loop, side, topic)
    loop.until(lambda: peer.goals)
    yield client
    client.close()


def test_hosting(loop: FakeLoop, side: RosSide, peer: Peer, client: Client, topic: str) -> None:
    assert peer.goals[0][1] == 3
    assert client.answers == []
    peer.hosted.answer(peer.token, accepted=True)
    peer.feedback(0)    # before ROS has started the goal
    loop.until(lambda: client.answers and client.feedback)
    assert client.handle.status == GoalStatus.STATUS_EXECUTING
    peer.feedback(0, 1)
    loop.until(lambda: len(client.feedback) == 2)
    peer.finish(SUCCEEDED, 0, 1, 1)
    assert peer.hosted.pending == 0
    loop.until(lambda: client.results)
    assert (client.answers, client.feedback) == ([True], [[0], [0, 1]])
    assert client.results == [(SUCCEEDED, [0, 1, 1])]
    loop.until(lambda: side.graph.actions.get(topic) == (FIBONACCI,))


def test_hosting_rejects(loop: FakeLoop, peer: Peer, client: Client) -> None:
    peer.hosted.answer(peer.token, accepted=False)
    loop.until(lambda: client.answers)
    assert client.answers == [False]
    with pytest.raises(NotAdvertised):
        peer.feedback()


def test_hosting_aborts_what_nobody_asked_to_cancel(loop: FakeLoop, peer: Peer, client: Client
                                                    ) -> None:
    peer.hosted.answer(peer.token, accepted=True)
    peer.finish(CANCELED)
    loop.until(lambda: client.results)
    assert client.results == [(ABORTED, [])]


def test_hosting_is_asked_to_cancel(loop: FakeLoop, peer: Peer, client: Client) -> None:
    peer.hosted.answer(peer.token, accepted=True)
    loop.until(lambda: client.answers)
    client.cancel()
    loop.until(lambda: peer.cancels and client.cancels)
    assert (peer.cancels, client.cancels) == ([peer.token], [1])
    peer.finish(CANCELED, 9)
    loop.until(lambda: client.results)
    assert client.results == [(CANCELED, [9])]


def test_hosting_two_goals(loop: FakeLoop, server: Server, side: RosSide, peer: Peer,
                           client: Client, topic: str) -> None:
    other = Client(server, loop, side, topic, 8)
    loop.until(lambda: len(peer.goals) == 2)
    for token, _ in peer.goals:
        peer.hosted.answer(token, accepted=True)
    for token, order in peer.goals:
        peer.hosted.finish(token, SUCCEEDED, serialize_message(Fibonacci.Result(sequence=[order])))
    loop.until(lambda: client.results and other.results)
    assert client.results + other.results == [(SUCCEEDED, [3]), (SUCCEEDED, [8])]
    other.close()


def test_hosting_loses_no_goal_of_a_burst(loop: FakeLoop, server: Server, peer: Peer,
                                          client: Client) -> None:
    def send_all() -> None:
        for order in range(20):
            client.client.send_goal_async(Fibonacci.Goal(order=order))
    server.run(send_all)
    loop.until(lambda: len(peer.goals) == 21, lambda: f'{len(peer.goals)} goals')


def test_a_host_that_leaves_aborts_its_goals(loop: FakeLoop, server: Server, side: RosSide,
                                             peer: Peer, client: Client, topic: str) -> None:
    asked = Client(server, loop, side, topic, 8)
    loop.until(lambda: len(peer.goals) == 2)
    peer.hosted.answer(peer.goals[0][0], accepted=True)
    loop.until(lambda: client.answers)
    peer.hosted.close()
    peer.hosted.close()
    loop.until(lambda: client.results and asked.answers)
    assert (client.results, asked.answers) == ([(ABORTED, [])], [False])
    loop.until(lambda: not client.client.server_is_ready())
    loop.until(lambda: topic not in side.graph.actions)
    with pytest.raises(NotAdvertised):
        peer.feedback()
    asked.close()


def test_the_newer_host_serves_after_the_older_one(loop: FakeLoop, server: Server, side: RosSide,
                                                   peer: Peer, client: Client, topic: str) -> None:
    peer.hosted.answer(peer.token, accepted=True)
    loop.until(lambda: client.answers)
    peer.hosted.close()
    new = Peer(side, topic, accept=True)
    # until then the older one rejects what comes
    loop.until(lambda: client.results and side._servers.get(topic) is new.hosted)
    again = Client(server, loop, side, topic, 4)
    loop.until(lambda: again.answers)
    assert (again.answers, [order for _, order in new.goals]) == ([True], [4])
    again.close()


def test_a_client_that_goes_away_cancels_its_goals(
        loop: FakeLoop, side: RosSide, server: Server, peer: Peer, client: Client, topic: str
        ) -> None:
    peer.hosted.answer(peer.token, accepted=True)
    loop.until(lambda: client.answers)
    look(loop, side, 2)
    late = server.node.create_subscription(     # hears the feedback, but sent nothing
        Fibonacci.Impl.FeedbackMessage, f'{topic}/_action/feedback', lambda _: None, 10)
    assert peer.cancels == []
    client.close()
    loop.until(lambda: peer.cancels)
    peer.finish(CANCELED)
    assert peer.hosted.pending == 0
    server.run(server.node.destroy_subscription, late)


def test_goals_that_a_host_never_answers_are_bounded(loop: FakeLoop, server: Server) -> None:
    with running_side(loop, replace(QUICK, max_requests=2)) as side:
        peer = Peer(side, '/bounded')
        clients = [Client(server, loop, side, '/bounded', order) for order in range(4)]
        loop.until(lambda: sum(map(len, (client.answers for client in clients))) == 2)
        assert (len(peer.goals), peer.hosted.pending, peer.hosted.refused) == (2, 2, 2)
        assert [type(error) for error in peer.errors] == [LimitExceeded]
        for client in clients:
            client.close()


def test_shutdown_aborts_the_goals_of_hosts(loop: FakeLoop, server: Server) -> None:
    with running_side(loop) as side:
        Peer(side, '/ending', accept=True)
        client = Client(server, loop, side, '/ending')
        loop.until(lambda: client.answers)
    loop.until(lambda: client.results)
    assert client.results == [(ABORTED, [])]
    client.close()
