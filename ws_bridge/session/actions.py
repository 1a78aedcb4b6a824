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
"""The goals that one peer sends, and the actions that it serves.  Pure."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from ws_bridge.config import Settings
from ws_bridge.errors import (
    AlreadyExists,
    Expired,
    LimitExceeded,
    NotAdvertised,
    WsBridgeError,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.session import effects as fx
from ws_bridge.session.clock import PeerClock
from ws_bridge.session.gate_lookup import LeaseCheck
from ws_bridge.session.limits import require_room
from ws_bridge.session.login import Login
from ws_bridge.session.names import Names
from ws_bridge.session.parts import Handlers, Part
from ws_bridge.session.rights import type_of


@dataclass(frozen=True, slots=True)
class SentGoal:
    """A goal that this peer sent: its identity there, and the action's name as it said it."""

    op_id: str | None
    action: str


@dataclass(frozen=True, slots=True)
class OfferedAction:
    """An action that this peer hosts, as it named it, and whether it answers goals itself."""

    wire_name: str
    answers: bool


@dataclass(slots=True)
class IncomingGoal:
    """A goal from ROS for this peer, which has to accept it until ``deadline`` (monotonic, s)."""

    action: str
    token: int
    deadline: float | None


class PeerActions(Part):
    """
    What one session knows of actions.

    :param peer: unique name of the peer.
    :param login: says what the peer may.
    :param check_lease: refuses a goal that needs a lease.
    :param clock: refuses a goal that is too old.
    :param hosted_count: how many services and actions the peer hosts; the bound is on both.
    :ivar sent: the goals that the peer sent and that have not ended, by key.
    :ivar hosted: the actions that the peer hosts, by their full names.
    :ivar working: the goals from ROS that have not ended, by the names that the peer was told.
    """

    def __init__(self, peer: str, settings: Settings, names: Names, login: Login,
                 check_lease: LeaseCheck, clock: PeerClock,
                 hosted_count: Callable[[], int]) -> None:
        self.sent: dict[int, SentGoal] = {}
        self.hosted: dict[str, OfferedAction] = {}
        self.working: dict[str, IncomingGoal] = {}
        self._peer = peer
        self._settings = settings
        self._resolve = names.service
        self._login = login
        self._check_lease = check_lease
        self._clock = clock
        self._hosted_count = hosted_count
        self._keys = count(1)

    def __repr__(self) -> str:
        return (f'PeerActions(sent={len(self.sent)}, hosted={len(self.hosted)}, '
                f'working={len(self.working)})')

    # ---- goals of the peer

    def send(self, op: ops.SendGoal, now: float) -> list[fx.Effect]:
        """Send a goal to ROS."""
        action = self._resolve(op.action)
        rule = self._login.check('goal', action, 'destination')
        type_of(op.action_type, rule)
        self._check_lease(action, op.epoch)
        self._clock.deadline(op.stamp, op.ttl, now)
        require_room(len(self.sent), self._settings.max_goals, 'goals')
        if op.op_id is not None and self._key_of(op.op_id) is not None:
            raise AlreadyExists(f'a goal {op.op_id!r} of this peer runs already')
        key = next(self._keys)
        self.sent[key] = SentGoal(op.op_id, op.action)
        return [fx.StartGoal(key, action, op.action_type, op.args, op.want_feedback,
                             op.timeout or rule.timeout, op.epoch)]

    def check_again(self, goal: fx.StartGoal) -> None:
        """
        Judge a goal that had to wait.

        :raises WsBridgeError: the peer has lost the lease meanwhile.
        """
        self._check_lease(goal.action, goal.epoch)

    def _cancel(self, op: ops.CancelGoal, now: float) -> list[fx.Effect]:
        key = self._key_of(op.goal_op_id)
        if key is None or self._differs(op.action, self._resolve(self.sent[key].action)):
            raise Expired(f'no goal {op.goal_op_id!r} of this peer runs', field='goal')
        return [fx.RequestCancel(op.op_id, key, op.goal_op_id)]

    def _key_of(self, op_id: str) -> int | None:
        return next((key for key, sent in self.sent.items() if sent.op_id == op_id), None)

    def accepted(self, key: int) -> list[fx.Effect]:
        """Tell the peer that its goal was accepted."""
        sent = self.sent.get(key)
        return [fx.Send(replies.GoalAccepted(sent.op_id, sent.action))] if sent else []

    def feedback(self, key: int, values: bytes) -> replies.GoalFeedback | None:
        """Return what the peer is told of feedback, JSON text, if its goal still runs."""
        sent = self.sent.get(key)
        return replies.GoalFeedback(sent.op_id, sent.action, values) if sent else None

    def ended(self, key: int, result: tuple[int, bytes] | WsBridgeError) -> list[fx.Effect]:
        """Tell the peer how its goal ended: status and JSON text of the result, or the error."""
        sent = self.sent.pop(key, None)
        if sent is None:
            return []
        if isinstance(result, WsBridgeError):
            return [fx.Send(replies.Failed(sent.op_id, result, ops.About('goal', sent.action)))]
        status, values = result
        return [fx.Send(replies.GoalDone(sent.op_id, sent.action, values, status))]

    # ---- actions of the peer

    def _advertise(self, op: ops.AdvertiseAction, now: float) -> list[fx.Effect]:
        action = self._resolve(op.action)
        type_of(op.action_type, self._login.check('host_action', action, 'action'))
        if action not in self.hosted:
            require_room(self._hosted_count(), self._settings.max_services, 'services')
        self.hosted[action] = OfferedAction(op.action, op.answers)
        return [fx.HostAction(op.op_id, action, op.action, op.action_type)]

    def _unadvertise(self, op: ops.UnadvertiseAction, now: float) -> list[fx.Effect]:
        action = self._resolve(op.action)
        if action not in self.hosted:
            raise NotAdvertised(f'{op.action} is not hosted by this peer', field='action')
        self.forget(action)
        return [fx.UnhostAction(action),
                fx.Send(replies.ActionUnadvertised(op.op_id, op.action))]

    def forget(self, action: str) -> None:
        """Take back a hosted action: it was refused, taken over by another peer or given up."""
        self.hosted.pop(action, None)
        self.forget_goals(action)

    def forget_goals(self, action: str) -> None:
        """Forget the goals of an action: they went to an older advertisement."""
        for goal_id in [g for g, goal in self.working.items() if goal.action == action]:
            del self.working[goal_id]

    def asked(self, action: str, action_type: str, token: int, values: bytes, now: float
              ) -> list[fx.Effect]:
        """
        Pass a goal from ROS on to the peer that hosts the action.

        It is accepted at once unless the peer answers goals itself. One that would exceed the
        bound of those that have not ended is rejected; the peer is told.
        """
        hosted = self.hosted.get(action)
        if hosted is None:
            return []
        try:
            require_room(len(self.working), self._settings.max_goals, 'goals to work on')
        except LimitExceeded as exc:
            return [fx.AnswerGoal(action, token, False), fx.Send(replies.Failed(None, exc))]
        goal_id = f'{self._peer}-goal-{next(self._keys)}'
        request = fx.Send(replies.GoalRequest(goal_id, hosted.wire_name, action_type, values))
        if hosted.answers:
            self.working[goal_id] = IncomingGoal(
                action, token, now + self._settings.call_timeout)
            return [request]
        self.working[goal_id] = IncomingGoal(action, token, None)
        return [fx.AnswerGoal(action, token, True), request]

    def cancelled(self, action: str, token: int) -> list[fx.Effect]:
        """Tell the peer that a goal which it works on shall end."""
        return [fx.Send(replies.GoalCancel(goal_id, self.hosted[action].wire_name))
                for goal_id, goal in self.working.items()
                if goal.action == action and goal.token == token]

    def _answer(self, op: ops.GoalAnswer, now: float) -> list[fx.Effect]:
        goal = self._incoming(op.goal_id)
        if goal.deadline is None:
            raise Expired(f'the goal {op.goal_id!r} was accepted already', field='correlation_id')
        if not op.accepted:
            del self.working[op.goal_id]
        goal.deadline = None
        return [fx.AnswerGoal(goal.action, goal.token, op.accepted)]

    def _feedback(self, op: ops.ActionFeedback, now: float) -> list[fx.Effect]:
        """Pass feedback on; a peer that gives any has accepted."""
        goal = self._incoming(op.goal_id, op.action)
        return [*_accept(goal), fx.Feedback(op.op_id, goal.action, goal.token, op.values)]

    def _finish(self, op: ops.ActionResult, now: float) -> list[fx.Effect]:
        """End a goal; a peer that ends one has accepted it."""
        goal = self._incoming(op.goal_id, op.action)
        del self.working[op.goal_id]
        status = op.status
        if status is None:
            status = ops.STATUS_SUCCEEDED if op.ok else ops.STATUS_ABORTED
        return [*_accept(goal),
                fx.EndGoal(op.op_id, goal.action, goal.token, op.values, status)]

    def failed(self, goal_id: str) -> list[fx.Effect]:
        """End a goal by an error of the peer: rejected if it was not answered, else aborted."""
        goal = self.working.pop(goal_id)
        if goal.deadline is not None:
            return [fx.AnswerGoal(goal.action, goal.token, False)]
        return [fx.EndGoal(None, goal.action, goal.token, None, ops.STATUS_ABORTED)]

    def _incoming(self, goal_id: str, action: str | None = None) -> IncomingGoal:
        goal = self.working.get(goal_id)
        if goal is None or self._differs(action, goal.action):
            raise Expired(f'no goal {goal_id!r} waits for this peer', field='correlation_id')
        return goal

    def _differs(self, wire_name: str | None, action: str) -> bool:
        return wire_name is not None and self._resolve(wire_name) != action

    # ---- time and end

    def deadlines(self) -> Iterator[float]:
        """Give when goals from ROS have waited for too long."""
        return (goal.deadline for goal in self.working.values() if goal.deadline is not None)

    def poll(self, now: float) -> list[fx.Effect]:
        """Reject the goals that the peer did not answer in time."""
        late = [goal_id for goal_id, goal in self.working.items()
                if goal.deadline is not None and goal.deadline <= now]
        return [effect for goal_id in late for effect in self.failed(goal_id)]

    def leave(self) -> list[fx.Effect]:
        """Return the effects that take back what the peer serves, and cancel its goals."""
        effects: list[fx.Effect] = [fx.UnhostAction(action) for action in self.hosted]
        self.hosted.clear()
        self.working.clear()
        return [*effects, *(fx.AbandonGoal(key) for key in self.sent)]

    def close(self) -> list[fx.Effect]:
        """Return the effects that take back everything."""
        effects: list[fx.Effect] = [fx.DropGoal(key) for key in self.sent]
        effects += [fx.UnhostAction(action) for action in self.hosted]
        for owned in (self.sent, self.hosted, self.working):
            owned.clear()
        return effects

    HANDLERS: ClassVar[Handlers] = {
        ops.SendGoal: send, ops.CancelGoal: _cancel, ops.AdvertiseAction: _advertise,
        ops.UnadvertiseAction: _unadvertise, ops.GoalAnswer: _answer,
        ops.ActionFeedback: _feedback, ops.ActionResult: _finish}


def _accept(goal: IncomingGoal) -> list[fx.Effect]:
    if goal.deadline is None:
        return []
    goal.deadline = None
    return [fx.AnswerGoal(goal.action, goal.token, True)]
