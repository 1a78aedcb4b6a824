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
"""The services that one peer calls and serves, and what it asks of the bridge.  Pure."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

from ws_bridge.config import Settings
from ws_bridge.errors import BadName, Expired, LimitExceeded, NotAdvertised, WsBridgeError
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

MAX_QUESTIONS = 1000
"""Questions of one peer that wait, beside those that are asked: pages ask many at once."""


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """A call from ROS that this peer has to answer until ``deadline`` (monotonic, s)."""

    service: str
    token: int
    deadline: float


class PeerServices(Part):
    """
    What one session knows of services.

    :param peer: unique name of the peer.
    :param login: says what the peer may.
    :param check_lease: refuses a call that needs a lease.
    :param clock: refuses a call that is too old.
    :param hosted_count: how many services and actions the peer hosts; the bound is on both.
    :ivar calls: what waits for an answer from ROS or the bridge, by key: the identity of the
        request and the service as the peer named it.
    :ivar hosted: the services that the peer hosts, by their full names, as it named them.
    """

    def __init__(self, peer: str, settings: Settings, names: Names, login: Login,
                 check_lease: LeaseCheck, clock: PeerClock,
                 hosted_count: Callable[[], int]) -> None:
        self.calls: dict[int, tuple[str | None, str]] = {}
        self.hosted: dict[str, str] = {}
        self._peer = peer
        self._settings = settings
        self._resolve = names.service
        self._login = login
        self._check_lease = check_lease
        self._clock = clock
        self._hosted_count = hosted_count
        self._keys = count(1)
        self._incoming: dict[str, IncomingCall] = {}
        self._questions: deque[tuple[tuple[str | None, str], fx.AnswerQuestion]] = deque()

    def __repr__(self) -> str:
        return f'PeerServices(calls={len(self.calls)}, hosted={len(self.hosted)})'

    # ---- calls of the peer

    def call(self, op: ops.Command, now: float) -> list[fx.Effect]:
        """Call a service of ROS."""
        service = self._resolve(op.destination)
        rule = self._login.check('call', service, 'destination')
        if service == self._login.rights.policy.own.stop:
            # No lease, age, count or argument keeps the robot from being stopped.
            op = replace(op, data={})
        else:
            self._check_lease(service, op.epoch)
            self._clock.deadline(op.stamp, op.ttl, now)
            require_room(len(self.calls), self._settings.max_calls, 'calls')
        key = next(self._keys)
        self.calls[key] = op.op_id, op.destination
        timeout = op.timeout or rule.timeout or self._settings.call_timeout
        return [fx.CallService(key, service, rule.msg_type, op.data, timeout, op.encoding,
                               op.epoch)]

    def check_again(self, call: fx.CallService) -> None:
        """
        Judge a call that had to wait.

        :raises WsBridgeError: the peer has lost the lease meanwhile.
        """
        if call.service != self._login.rights.policy.own.stop:
            self._check_lease(call.service, call.epoch)

    def is_stop(self, name: str) -> bool:
        """Whether a service, as the peer names it, asserts the emergency stop."""
        try:
            return self._resolve(name) == self._login.rights.policy.own.stop
        except BadName:
            return False

    def _inquire(self, op: ops.Inquire, now: float) -> list[fx.Effect]:
        require_room(len(self._questions), MAX_QUESTIONS, 'questions that wait')
        key = next(self._keys)
        question = fx.AnswerQuestion(key, op.question, op.data,
                                     op.timeout or self._settings.call_timeout)
        self._questions.append(((op.op_id, op.service), question))
        return self._next_questions()

    def _next_questions(self) -> list[fx.Effect]:
        """Ask what waits, as far as there may be more calls."""
        asked: list[fx.Effect] = []
        while self._questions and len(self.calls) < self._settings.max_calls:
            call, question = self._questions.popleft()
            self.calls[question.key] = call
            asked.append(question)
        return asked

    def ended(self, key: int, result: bytes | WsBridgeError) -> list[fx.Effect]:
        """Return the answer to the peer: the response as the call wants it, or the error."""
        if key not in self.calls:
            return []
        op_id, service = self.calls.pop(key)
        if isinstance(result, WsBridgeError):
            reply: replies.Reply = replies.Failed(op_id, result, ops.About('call', service))
        else:
            reply = replies.CallDone(op_id, service, result)
        return [fx.Send(reply), *self._next_questions()]

    # ---- services of the peer

    def _advertise(self, op: ops.AdvertiseService, now: float) -> list[fx.Effect]:
        service = self._resolve(op.service)
        type_of(op.srv_type, self._login.check('host', service, 'service'))
        if service not in self.hosted:
            require_room(self._hosted_count(), self._settings.max_services, 'services')
        self.forget(service)  # its unanswered calls went to the older advertisement
        self.hosted[service] = op.service
        return [fx.Host(op.op_id, service, op.service, op.srv_type)]

    def _unadvertise(self, op: ops.UnadvertiseService, now: float) -> list[fx.Effect]:
        service = self._resolve(op.service)
        if service not in self.hosted:
            raise NotAdvertised(f'{op.service} is not hosted by this peer', field='service')
        self.forget(service)
        return [fx.Unhost(service),
                fx.Send(replies.ServiceUnadvertised(op.op_id, op.service))]

    def forget(self, service: str) -> None:
        """Take back a hosted service: it was refused, taken over by another peer or given up."""
        self.hosted.pop(service, None)
        for call_id in [c for c, call in self._incoming.items() if call.service == service]:
            del self._incoming[call_id]

    def called(self, service: str, token: int, values: bytes, now: float) -> list[fx.Effect]:
        """
        Pass a call from ROS on to the peer that hosts the service.

        A call that would exceed the bound of unanswered ones is not passed on; the peer is told.

        :param token: what the answer is to be given with.
        :param values: JSON text.
        """
        if service not in self.hosted:
            return []
        try:
            require_room(len(self._incoming), self._settings.max_calls, 'unanswered calls')
        except LimitExceeded as exc:
            return [fx.Send(replies.Failed(None, exc))]
        call_id = f'{self._peer}-call-{next(self._keys)}'
        self._incoming[call_id] = IncomingCall(
            service, token, now + self._settings.call_timeout)
        return [fx.Send(replies.ServiceCall(call_id, self.hosted[service], values))]

    def answered(self, op: ops.ServiceAnswer) -> list[fx.Effect]:
        """
        Give an answer of the peer to the caller in ROS.

        An error that answers nothing is not answered by an error: two bridges would go on so.

        :raises Expired: no call waits for it.
        """
        call = self._incoming.pop(op.call_id or '', None)
        if call is None:
            if op.error is not None:
                return [fx.Ignored()]
            raise Expired(f'no call {op.call_id!r} waits for an answer of this peer',
                          field='correlation_id')
        if op.error is not None:
            return []
        return [fx.AnswerService(op.op_id, call.service, call.token, op.values)]

    # ---- time and end

    def deadlines(self) -> Iterator[float]:
        """Give when calls from ROS have waited for too long."""
        return (call.deadline for call in self._incoming.values())

    def poll(self, now: float) -> list[fx.Effect]:
        """Forget the calls that the peer did not answer in time."""
        for call_id in [c for c, call in self._incoming.items() if call.deadline <= now]:
            del self._incoming[call_id]
        return []

    def leave(self) -> list[fx.Effect]:
        """Return the effects that take back what the peer serves: nobody in ROS waits for it."""
        effects: list[fx.Effect] = [fx.Unhost(service) for service in self.hosted]
        self.hosted.clear()
        self._incoming.clear()
        return effects

    def close(self) -> list[fx.Effect]:
        """Return the effects that take back everything."""
        effects = [*self.leave(), *(fx.CancelCall(key) for key in self.calls)]
        self.calls.clear()
        self._questions.clear()
        return effects

    HANDLERS: ClassVar[Handlers] = {
        ops.Inquire: _inquire, ops.AdvertiseService: _advertise,
        ops.UnadvertiseService: _unadvertise}
