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
"""
Goals that peers send to the action servers of ROS.

An action is three services and two topics below its name; they are used as such, because
rclpy's ``ActionClient`` cannot forget what it waits for: a goal whose peer left, or whose
server died, would stay in it. Feedback stays CDR.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import Any, TYPE_CHECKING
import uuid

from action_msgs.msg import GoalInfo, GoalStatus
from action_msgs.srv import CancelGoal
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from unique_identifier_msgs.msg import UUID

from ws_bridge.errors import (
    Expired,
    Rejected,
    ServiceFailed,
    TimedOut,
    TypeMismatch,
    Unavailable,
    WsBridgeError,
)
from ws_bridge.ros.access import Access
from ws_bridge.ros.graph import only_type, SEND_GOAL, served_types
from ws_bridge.ros.handles import FutureHandle
from ws_bridge.ros.names import creation_error, CREATION_ERRORS, is_type_conflict, type_name
from ws_bridge.ros.pool import Pool, Pooled
from ws_bridge.ros.requests import Requests

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode, TimerHandle
    from ws_bridge.ros.settings import RosSettings

LOOK_AGAIN = 0.02  # s, while a goal waits for its server
REST = 0.02
"""
Between goals that were answered and the next ones, s: then the server takes the requests for the
results of the former. rclcpp's server prefers goals.
"""
FEEDBACK_QOS = QoSProfile(depth=10)
HEADER = 4  # bytes before the body of CDR
UUID_END = HEADER + 16  # a feedback message starts with its goal's id, and 16 keeps 8-alignment
ENDED = (GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)


@dataclass(frozen=True, slots=True)
class GoalEnd:
    """
    How a goal ended.

    :param status: of ``action_msgs/msg/GoalStatus``: succeeded, canceled or aborted.
    :param result: CDR.
    """

    status: int
    result: bytes


class Goal:
    """
    One goal; it ends exactly once: with a :class:`GoalEnd`, an error or :meth:`drop`.

    Methods belong to the loop thread, attributes to :class:`Goals` on the executor thread.
    """

    def __init__(self, action: str, goals: Goals, post: Callable[..., None], *,
                 on_accepted: Callable[[], None], on_feedback: Callable[[bytes], None] | None,
                 on_done: Callable[[GoalEnd | WsBridgeError], None]) -> None:
        self.action = action
        self._goals = goals
        self._post = post
        self._on_accepted = on_accepted
        self._on_feedback = on_feedback
        self._on_done: Callable[[GoalEnd | WsBridgeError], None] | None = on_done
        self.goal_id = uuid.uuid4().bytes
        self.client: _Client | None = None
        self.asked: FutureHandle | None = None      # future of the acceptance
        self.result: FutureHandle | None = None     # future of the result
        self.alarm: TimerHandle | None = None
        self.patience = 0.0
        self.until: float | None = None
        self.accepted = False
        self.told = False           # the loop was told that it is accepted
        self.dropped = False
        self.ended = False
        self.is_unanswered = False  # it was sent, and neither accepted nor rejected
        self.cancels: list[Callable[[WsBridgeError | None], None]] = []

    def cancel(self, on_answer: Callable[[WsBridgeError | None], None]) -> None:
        """
        Ask the server to cancel; the goal then ends as the server says.

        :param on_answer: gets ``None`` or why not: ``Rejected``, ``TimedOut``, ``Expired``.
        """
        self._goals.cancel(self, on_answer)

    def drop(self) -> None:
        """Cancel without listening: no callback of the goal is called any more."""
        if self._on_done is not None:
            self._on_done = None
            self._goals.drop(self)

    # the executor thread hands over

    def accept(self) -> None:
        if not self.told and not self.dropped:
            self.told = True
            self._post(self._accepted)

    def feed(self, cdr: bytes) -> None:
        if self._on_feedback is not None and not self.dropped:
            self.accept()   # feedback may overtake the acceptance
            self._post(self._fed, cdr)

    def finish(self, result: GoalEnd | WsBridgeError) -> None:
        self._post(self._finished, result)

    def _accepted(self) -> None:
        if self._on_done is not None:
            self._on_accepted()

    def _fed(self, cdr: bytes) -> None:
        if self._on_done is not None and self._on_feedback is not None:
            self._on_feedback(cdr)

    def _finished(self, result: GoalEnd | WsBridgeError) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(result)


class _Client(Pooled):
    """
    The clients and the subscription of one action, and the goals that use them.

    :ivar to_send: the goals that wait for their turn; ``to_cancel`` are the cancel requests.
    """

    __slots__ = ('action_class', 'cancel', 'feedback', 'goals', 'result', 'send', 'to_cancel',
                 'to_send')

    def __init__(self, action_class: type[Any], ros: RosNode) -> None:
        super().__init__()
        self.to_send, self.to_cancel = Requests(ros, REST), Requests(ros)
        self.action_class = action_class
        self.send: Any = None
        self.cancel: Any = None
        self.result: Any = None
        self.feedback: Any = None
        self.goals: dict[bytes, Goal] = {}


class Goals:
    """Every running goal, and the clients that they share (executor thread)."""

    def __init__(self, ros: RosNode, access: Access, settings: RosSettings,
                 post: Callable[..., None]) -> None:
        self._ros = ros
        self._access = access
        self._settings = settings
        self._post = post
        self._clients: Pool[_Client] = Pool(ros, settings.client_idle, self._destroy)
        self._running: set[Goal] = set()
        self._watch: TimerHandle | None = None

    def __repr__(self) -> str:
        return f'<Goals {len(self._running)} running, {len(self._clients)} clients>'

    def begin(self, goal: Goal, action_class: type[Any], cdr: bytes, patience: float,
              timeout: float | None) -> None:
        """
        Send the goal as soon as the server is there.

        :param cdr: the goal, checked.
        :param patience: s, for the acceptance, and for the answer to a cancel request.
        :param timeout: s, of the whole goal; ``None`` = it may take for ever.
        """
        if goal.ended:
            return
        self._running.add(goal)
        now = time.monotonic()
        goal.patience = patience
        goal.until = None if timeout is None else now + timeout
        wait = patience if timeout is None else min(patience, timeout)
        goal.alarm = self._ros.after(wait, lambda: self._give_up(goal, TimedOut(
            f'{goal.action} did not accept the goal within {wait:g} s')))
        self._begin(goal, action_class, cdr, now + min(wait, self._settings.service_wait))

    def _begin(self, goal: Goal, action_class: type[Any], cdr: bytes, until: float) -> None:
        if goal.ended:
            return
        try:
            self._use_client(goal, action_class)
        except CREATION_ERRORS as exc:
            if not is_type_conflict(exc) or time.monotonic() >= until:
                self._end(goal, creation_error(goal.action, exc))
                return
            self._make_room(goal.action, type_name(action_class))
            self._ros.after(LOOK_AGAIN, lambda: self._begin(goal, action_class, cdr, until))
            return
        self._send_when_ready(goal, cdr, until)

    def _make_room(self, action: str, wanted: str) -> None:
        """Destroy the clients of another type, where nobody serves that or nobody uses them."""
        served = self._served(action)
        for action_type, client in self._clients.of_other_types(action, wanted):
            if wanted in served and action_type not in served:
                for goal in [each for each in self._running if each.client is client]:
                    self._end(goal, self._absence(action, action_type))
            self._clients.forget(client)

    def _served(self, action: str) -> set[str]:
        service = f'{action}{SEND_GOAL}'
        types = dict(self._ros.node.get_service_names_and_types()).get(service, ())
        return {each.removesuffix('_SendGoal')
                for each in served_types(self._ros.node, service, types)}

    def cancel(self, goal: Goal, on_answer: Callable[[WsBridgeError | None], None]) -> None:
        """Ask the server to cancel, now or when it has accepted (any thread)."""
        def act() -> None:
            if goal.ended or goal.dropped:
                self._tell([on_answer], Expired(f'the goal for {goal.action} has ended'))
                return
            goal.cancels.append(on_answer)
            if goal.accepted:
                self._send_cancel(goal)
        self._ros.submit(act)

    def drop(self, goal: Goal) -> None:
        """Cancel a goal that nobody waits for (any thread)."""
        self._ros.submit(lambda: self._give_up(goal, None))

    @property
    def busy(self) -> bool:
        """Return whether a server has still something to answer."""
        return any(client.users for client in self._clients)

    def stop(self) -> None:
        """Cancel every goal; :attr:`busy` until the servers have answered."""
        for goal in list(self._running):
            self._give_up(goal, Unavailable('the bridge shuts down'))

    def close(self) -> None:
        """Destroy the clients."""
        for goal in list(self._running):
            self._end(goal, None)
        self._clients.close()

    def _use_client(self, goal: Goal, action_class: type[Any]) -> None:
        goal.client = self._clients.use(goal.action, type_name(action_class),
                                        lambda: self._create(goal.action, action_class))
        goal.client.goals[goal.goal_id] = goal

    def _create(self, action: str, action_class: type[Any]) -> _Client:
        node, parts, access = self._ros.node, action_class.Impl, self._access
        client = _Client(action_class, self._ros)

        def fed(cdr: bytes) -> None:
            goal = client.goals.get(cdr[HEADER:UUID_END])
            if goal is not None:
                goal.feed(cdr[:HEADER] + cdr[UUID_END:])
        try:
            with only_type(node, f'{action}/_action/feedback', type_name(parts.FeedbackMessage)):
                client.feedback = access.make_listener(
                    node, parts.FeedbackMessage, f'{action}/_action/feedback', FEEDBACK_QOS, fed)
            client.send = access.make_client(
                node, parts.SendGoalService, f'{action}/_action/send_goal')
            client.cancel = access.make_client(
                node, parts.CancelGoalService, f'{action}/_action/cancel_goal')
            client.result = access.make_client(
                node, parts.GetResultService, f'{action}/_action/get_result')
        except CREATION_ERRORS:
            self._destroy(client)
            raise
        return client

    def _destroy(self, client: _Client) -> None:
        for entity in (client.send, client.cancel, client.result):
            if entity is not None:
                self._ros.node.destroy_client(entity)
        if client.feedback is not None:
            self._ros.node.destroy_subscription(client.feedback)

    def _is_ready(self, action: str, client: _Client) -> bool:
        return (client.send.service_is_ready() and client.cancel.service_is_ready()
                and client.result.service_is_ready()
                and self._ros.node.count_publishers(f'{action}/_action/feedback') > 0)

    def _send_when_ready(self, goal: Goal, cdr: bytes, until: float) -> None:
        client = goal.client
        if goal.ended or client is None:
            return
        if not self._is_ready(goal.action, client):
            if time.monotonic() >= until:
                self._end(goal, self._absence(goal.action, type_name(client.action_class)))
            else:
                self._ros.after(LOOK_AGAIN, lambda: self._send_when_ready(goal, cdr, until))
            return
        client.to_send.add(lambda: self._send(goal, client, cdr))

    def _send(self, goal: Goal, client: _Client, cdr: bytes) -> bool:
        """Send a goal; tell whether it was sent."""
        if goal.ended:
            return False
        try:
            request = client.action_class.Impl.SendGoalService.Request(
                goal_id=_uuid(goal), goal=deserialize_message(cdr, client.action_class.Goal))
            goal.asked = client.send.call_async(request)
        except RuntimeError as exc:  # rclpy's errors of the middleware
            self._end(goal, ServiceFailed(f'cannot send a goal to {goal.action}: {exc}'))
            return False
        goal.is_unanswered = True
        goal.asked.add_done_callback(lambda future: self._answered(goal, client, future))
        return True

    def _note_answer(self, goal: Goal, client: _Client) -> None:
        """Let other goals have their turn."""
        if goal.is_unanswered:
            goal.is_unanswered = False
            client.to_send.ended()

    def _absence(self, action: str, wanted: str) -> WsBridgeError:
        """Say why no server is there; the graph shows the bridge's own client too."""
        others = sorted(self._served(action) - {wanted})
        if others:
            return TypeMismatch(f'{action} is of type {" and ".join(others)}, not {wanted}')
        return Unavailable(f'nobody serves {action}')

    def _answered(self, goal: Goal, client: _Client, future: FutureHandle) -> None:
        if goal.ended or future.cancelled():
            return
        self._note_answer(goal, client)
        if not future.result().accepted:
            self._end(goal, Rejected(f'{goal.action} rejected the goal'))
            return
        goal.accepted = True
        if goal.alarm is not None:
            goal.alarm.cancel()
        if goal.dropped:
            self._give_up(goal, None)
            return
        goal.accept()
        if goal.until is not None:
            goal.alarm = self._ros.after(
                max(goal.until - time.monotonic(), 0.0), lambda: self._give_up(
                    goal, TimedOut(f'the goal for {goal.action} took too long; it is cancelled')))
        goal.result = client.result.call_async(
            client.action_class.Impl.GetResultService.Request(goal_id=_uuid(goal)))
        goal.result.add_done_callback(lambda future: self._finished(goal, future))
        if goal.cancels:
            self._send_cancel(goal)
        if self._watch is None:
            self._watch = self._ros.after(self._settings.graph_interval, self._look)

    def _finished(self, goal: Goal, future: FutureHandle) -> None:
        if goal.ended or future.cancelled():
            return
        response = future.result()
        if response.status in ENDED:
            self._end(goal, GoalEnd(response.status, serialize_message(response.result)))
        else:
            self._end(goal, Unavailable(f'{goal.action} does not know the goal any more'))

    def _look(self) -> None:
        """End the goals whose server is gone: nobody else would tell."""
        self._watch = None
        for goal in [each for each in self._running if each.accepted]:
            if goal.client is not None and not goal.client.send.service_is_ready():
                self._end(goal, Unavailable(f'the server of {goal.action} left'))
        if any(each.accepted for each in self._running):
            self._watch = self._ros.after(self._settings.graph_interval, self._look)

    def _give_up(self, goal: Goal, error: WsBridgeError | None) -> None:
        """End a goal here and on the server, which must have accepted it to be told so."""
        if goal.ended:
            return
        if goal.accepted:
            self._send_cancel(goal)
            self._end(goal, error)
        elif goal.asked is None or goal.dropped:
            self._end(goal, error)
        else:
            goal.dropped = True
            if goal.alarm is not None:
                goal.alarm.cancel()
            goal.alarm = self._ros.after(goal.patience, lambda: self._end(goal, None))
            if error is not None:
                goal.finish(error)

    def _send_cancel(self, goal: Goal) -> None:
        """Send a cancel request, which outlives the goal, and answer those who asked for it."""
        client, waiting = goal.client, goal.cancels
        if client is None:
            return
        goal.cancels = []
        client.users += 1
        request = CancelGoal.Request(goal_info=GoalInfo(goal_id=_uuid(goal)))
        future: FutureHandle | None = None
        finished = False

        def finish(answer: WsBridgeError | None) -> None:
            nonlocal finished
            if not finished:
                finished = True
                alarm.cancel()
                if future is not None:
                    client.cancel.remove_pending_request(future)
                    client.to_cancel.ended()
                self._clients.release(client)
                self._tell(waiting, answer)
        alarm = self._ros.after(goal.patience, lambda: finish(TimedOut(
            f'{goal.action} did not answer a cancel request within {goal.patience:g} s')))

        def answered(future: FutureHandle) -> None:
            if future.cancelled():
                return
            response = future.result()
            if response.return_code == CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID:
                self._end(goal, Unavailable(f'{goal.action} does not know the goal any more'))
            finish(None if response.goals_canceling else Rejected(
                f'{goal.action} does not cancel the goal'))

        def send() -> bool:
            nonlocal future
            if finished:
                return False
            try:
                future = client.cancel.call_async(request)
            except RuntimeError as exc:  # rclpy's errors of the middleware
                finish(ServiceFailed(f'cannot cancel a goal of {goal.action}: {exc}'))
                return False
            future.add_done_callback(answered)
            return True
        client.to_cancel.add(send)

    def _tell(self, waiting: list[Callable[[WsBridgeError | None], None]],
              answer: WsBridgeError | None) -> None:
        for on_answer in waiting:
            self._post(on_answer, answer)

    def _end(self, goal: Goal, result: GoalEnd | WsBridgeError | None) -> None:
        if goal.ended:
            return
        goal.ended = True
        self._running.discard(goal)
        if goal.alarm is not None:
            goal.alarm.cancel()
        client = goal.client
        if client is not None:
            client.goals.pop(goal.goal_id, None)
            self._note_answer(goal, client)
            if goal.asked is not None:
                client.send.remove_pending_request(goal.asked)
            if goal.result is not None:
                client.result.remove_pending_request(goal.result)
            self._clients.release(client)
        self._tell(goal.cancels, Expired(f'the goal for {goal.action} has ended'))
        if result is not None:
            goal.finish(result)


def _uuid(goal: Goal) -> UUID:
    return UUID(uuid=list(goal.goal_id))
