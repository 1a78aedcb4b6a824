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
"""The actions of one peer's life: goals that it sent, actions that it hosts.  Pure."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from ws_bridge.access import Use
from ws_bridge.config import Rule, Settings
from ws_bridge.errors import (
    AlreadyExists,
    Expired,
    LimitExceeded,
    NotAdvertised,
    WsBridgeError,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.session import effects as fx
from ws_bridge.session.limits import below


class ActionNames(Protocol):
    """How the names of actions become fully qualified ones: as those of services do."""

    def service(self, name: str) -> str:
        """Expand and remap a name; raises ``BadName``."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A goal that this peer sent: its identity there, and the action's name as it said it."""

    op_id: str | None
    action: str


@dataclass(frozen=True, slots=True)
class HostedAction:
    """An action that this peer hosts, as it named it, and whether it answers goals itself."""

    wire_name: str
    answers: bool


@dataclass(slots=True)
class Work:
    """A goal from ROS that this peer works on; it has to be answered until ``deadline``."""

    action: str
    token: object
    deadline: float | None


class Goals:
    """
    What one session knows of actions.

    :param peer: unique name of the peer.
    :param rule: finds what exposes a name, or raises ``Forbidden``.
    :ivar hosted: the actions that the peer hosts, by their full names.
    """

    def __init__(self, peer: str, settings: Settings, names: ActionNames,
                 rule: Callable[[Use, str, str], Rule]) -> None:
        self.sent: dict[int, Sent] = {}
        self.hosted: dict[str, HostedAction] = {}
        self.working: dict[str, Work] = {}
        self._peer = peer
        self._settings = settings
        self._names = names
        self._rule = rule
        self._keys = count(1)

    # ---- goals of the peer

    def send(self, op: ops.SendGoal, action: str, rule: Rule) -> list[fx.Effect]:
        """
        Send a goal to ROS.

        :param action: its full name.
        :param rule: what exposes it.
        """
        below(len(self.sent), self._settings.max_goals, 'goals')
        if op.op_id is not None and self._key_of(op.op_id) is not None:
            raise AlreadyExists(f'a goal {op.op_id!r} of this peer runs already')
        key = next(self._keys)
        self.sent[key] = Sent(op.op_id, op.action)
        return [fx.SendGoal(key, action, op.action_type, op.args, op.want_feedback,
                            op.timeout or rule.timeout)]

    def cancel(self, op: ops.CancelGoal) -> list[fx.Effect]:
        """Have a goal cancelled."""
        key = self._key_of(op.goal_op_id)
        if key is None or self._differs(op.action, self._names.service(self.sent[key].action)):
            raise Expired(f'no goal {op.goal_op_id!r} of this peer runs', field='goal')
        return [fx.CancelGoal(op.op_id, key, op.goal_op_id)]

    def _key_of(self, op_id: str) -> int | None:
        return next((key for key, sent in self.sent.items() if sent.op_id == op_id), None)

    def accepted(self, key: int) -> list[fx.Effect]:
        """Tell the peer that its goal was accepted."""
        sent = self.sent.get(key)
        return [fx.Send(ops.GoalAccepted(sent.op_id, sent.action))] if sent else []

    def feedback(self, key: int, values: bytes) -> ops.GoalFeedback | None:
        """Return what the peer is told of feedback, JSON text, if its goal still runs."""
        sent = self.sent.get(key)
        return ops.GoalFeedback(sent.op_id, sent.action, values) if sent else None

    def ended(self, key: int, result: tuple[int, bytes] | WsBridgeError) -> list[fx.Effect]:
        """Tell the peer how its goal ended: status and JSON text of the result, or the error."""
        sent = self.sent.pop(key, None)
        if sent is None:
            return []
        if isinstance(result, WsBridgeError):
            return [fx.Send(ops.Failed(sent.op_id, result, ops.About('goal', sent.action)))]
        status, values = result
        return [fx.Send(ops.GoalDone(sent.op_id, sent.action, values, status))]

    # ---- actions of the peer

    def advertise(self, op: ops.AdvertiseAction, services: int) -> list[fx.Effect]:
        """
        Host an action.

        :param services: how many services the peer hosts; the bound is on both together.
        """
        action = self._names.service(op.action)
        self._rule('host_action', action, 'action')
        if action not in self.hosted:
            below(services + len(self.hosted), self._settings.max_services, 'services')
        self.hosted[action] = HostedAction(op.action, op.answers)
        return [fx.HostAction(op.op_id, action, op.action, op.action_type)]

    def unadvertise(self, op: ops.UnadvertiseAction) -> list[fx.Effect]:
        """Host an action no longer."""
        action = self._names.service(op.action)
        if action not in self.hosted:
            raise NotAdvertised(f'{op.action} is not hosted by this peer', field='action')
        self.forget(action)
        return [fx.UnhostAction(action),
                fx.Send(ops.Done(op.op_id, 'unadvertise_action', {'action': op.action}))]

    def forget(self, action: str) -> None:
        """Take back a hosted action: it was refused, taken over by another peer or given up."""
        self.hosted.pop(action, None)
        self.forget_work(action)

    def forget_work(self, action: str) -> None:
        """Forget the goals of an action: they went to an older advertisement."""
        for goal_id in [g for g, work in self.working.items() if work.action == action]:
            del self.working[goal_id]

    def asked(self, action: str, action_type: str, token: object, values: bytes, now: float
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
            below(len(self.working), self._settings.max_goals, 'goals to work on')
        except LimitExceeded as exc:
            return [fx.AnswerGoal(action, token, False), fx.Send(ops.Failed(None, exc))]
        goal_id = f'{self._peer}-goal-{next(self._keys)}'
        request = fx.Send(ops.GoalRequest(goal_id, hosted.wire_name, action_type, values))
        if hosted.answers:
            self.working[goal_id] = Work(action, token, now + self._settings.call_timeout)
            return [request]
        self.working[goal_id] = Work(action, token, None)
        return [fx.AnswerGoal(action, token, True), request]

    def cancelled(self, action: str, token: object) -> list[fx.Effect]:
        """Tell the peer that a goal which it works on shall end."""
        return [fx.Send(ops.GoalCancel(goal_id, self.hosted[action].wire_name))
                for goal_id, work in self.working.items()
                if work.action == action and work.token == token]

    def answer(self, op: ops.GoalAnswer) -> list[fx.Effect]:
        """Accept or reject a goal."""
        work = self._work(op.goal_id)
        if work.deadline is None:
            raise Expired(f'the goal {op.goal_id!r} was accepted already', field='correlation_id')
        if not op.accepted:
            del self.working[op.goal_id]
        work.deadline = None
        return [fx.AnswerGoal(work.action, work.token, op.accepted)]

    def fed(self, op: ops.ActionFeedback) -> list[fx.Effect]:
        """Pass feedback on; who gives any has accepted."""
        work = self._work(op.goal_id, op.action)
        return [*_accept(work), fx.Feedback(op.op_id, work.action, work.token, op.values)]

    def finished(self, op: ops.ActionResult) -> list[fx.Effect]:
        """End a goal; who ends one has accepted it."""
        work = self._work(op.goal_id, op.action)
        del self.working[op.goal_id]
        status = op.status
        if status is None:
            status = ops.STATUS_SUCCEEDED if op.ok else ops.STATUS_ABORTED
        return [*_accept(work),
                fx.EndGoal(op.op_id, work.action, work.token, op.values, status)]

    def failed(self, goal_id: str) -> list[fx.Effect]:
        """End a goal by an error of the peer: rejected if it was not answered, else aborted."""
        work = self.working.pop(goal_id)
        if work.deadline is not None:
            return [fx.AnswerGoal(work.action, work.token, False)]
        return [fx.EndGoal(None, work.action, work.token, None, ops.STATUS_ABORTED)]

    def _work(self, goal_id: str, action: str | None = None) -> Work:
        work = self.working.get(goal_id)
        if work is None or self._differs(action, work.action):
            raise Expired(f'no goal {goal_id!r} waits for this peer', field='correlation_id')
        return work

    def _differs(self, wire_name: str | None, action: str) -> bool:
        return wire_name is not None and self._names.service(wire_name) != action

    # ---- time and end

    def deadlines(self) -> Iterator[float]:
        """Give the times at which :meth:`poll` is due."""
        return (work.deadline for work in self.working.values() if work.deadline is not None)

    def poll(self, now: float) -> list[fx.Effect]:
        """Reject the goals that the peer did not answer in time."""
        late = [goal_id for goal_id, work in self.working.items()
                if work.deadline is not None and work.deadline <= now]
        return [effect for goal_id in late for effect in self.failed(goal_id)]

    def close(self) -> list[fx.Effect]:
        """Return the effects that take back everything."""
        effects: list[fx.Effect] = [fx.DropGoal(key) for key in self.sent]
        effects += [fx.UnhostAction(action) for action in self.hosted]
        for owned in (self.sent, self.hosted, self.working):
            owned.clear()
        return effects


def _accept(work: Work) -> list[fx.Effect]:
    if work.deadline is None:
        return []
    work.deadline = None
    return [fx.AnswerGoal(work.action, work.token, True)]


HANDLERS: dict[type, Callable[[Goals, Any], list[fx.Effect]]] = {
    ops.CancelGoal: Goals.cancel,
    ops.UnadvertiseAction: Goals.unadvertise,
    ops.GoalAnswer: Goals.answer,
    ops.ActionFeedback: Goals.fed,
    ops.ActionResult: Goals.finished,
}
"""What needs nothing else of the session."""
