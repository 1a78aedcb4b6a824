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
"""The services that a peer calls and serves, and what it asks of the bridge."""
from __future__ import annotations

import json
from typing import Any

import pytest
from support.sessions import call_from_ros, EPOCH, failed, make, refusal, START

from ws_bridge.config import Exposure, Rule
from ws_bridge.config.roles import NOBODY, OwnNames
from ws_bridge.errors import BadField, NotHolder, TimedOut
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.rosbridge import RosbridgeDialect
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session import effects as fx
from ws_bridge.session.gate_lookup import GateLookup, NoGates
from ws_bridge.session.rights import Rights
from ws_bridge.session.services import MAX_QUESTIONS
from ws_bridge.session.session import Session
from ws_bridge.timing.unix import nanoseconds


def test_call() -> None:
    session = make(Exposure(call=(Rule('/reset', msg_type='a/srv/S'),)))
    (call,) = session.receive(ops.Command('i', 'reset', {'x': 1}), START)
    assert isinstance(call, fx.CallService)
    assert call == fx.CallService(call.key, '/reset', 'a/srv/S', {'x': 1}, 5.0)
    assert session.services.ended(call.key, b'{}') == [
        fx.Send(replies.CallDone('i', 'reset', b'{}'))]
    assert session.services.ended(call.key, b'{}') == []


def test_a_call_says_how_it_is_encoded_and_is_answered_so() -> None:
    payload = memoryview(b'cdr')
    (call,) = make().receive(
        ops.Command('i', '/reset', payload, 'service', encoding='cdr'), START)
    assert isinstance(call, fx.CallService)
    assert (call.data, call.encoding) == (payload, 'cdr')


def test_failed_call() -> None:
    session = make()
    (call,) = session.receive(ops.Command('i', '/reset', {}), START)
    assert isinstance(call, fx.CallService)
    assert refusal(session.services.ended(call.key, TimedOut('late'))) == ('i', 'timeout', None)


@pytest.mark.parametrize(('asked', 'ruled', 'expected'),
                         [(2.0, 3.0, 2.0), (None, 3.0, 3.0), (None, None, 4.0)])
def test_timeout_of_a_call(asked: float | None, ruled: float | None, expected: float) -> None:
    session = make(Exposure(call=(Rule('/reset', timeout=ruled),)), call_timeout=4.0)
    (call,) = session.receive(ops.Command('i', '/reset', {}, timeout=asked), START)
    assert isinstance(call, fx.CallService)
    assert call.timeout == expected


# ---- the emergency stop as a service

STOP = '/ws_bridge/stop'


def with_stop(gates: GateLookup | None = None, **parameters: object) -> Session:
    session = make(gates=gates, **parameters)
    session.login.rights.policy.own = OwnNames(stop=STOP)
    return session


ODD_STOPS: list[dict[str, object]] = [
    {}, {'args': {'hard': True}}, {'args': [1, 2]}, {'args': 'now'}, {'args': 7}, {'args': [[]]},
    {'id': 1.5}, {'id': {}}, {'id': []}, {'id': 'x' * 600}, {'id': True, 'args': None},
    {'timeout': 'soon'}, {'timeout': [1]}, {'type': 7, 'fragment_size': 'x', 'compression': 1}]


@pytest.mark.parametrize('more', ODD_STOPS)
def test_a_call_of_the_stop_is_made_whatever_else_is_wrong(more: dict[str, object]) -> None:
    """As the native stop; the same in a call of something else is an error."""
    dialect = RosbridgeDialect(10_000, lambda data: None)

    def calls(service: str) -> bool:
        frame = json.dumps({'op': 'call_service', 'service': service, **more})
        (op,) = dialect.decode(frame)
        (effect,) = with_stop().receive(op, START)
        return isinstance(effect, fx.CallService) and (effect.service, effect.data) == (STOP, {})
    assert calls(STOP)
    assert calls('ws_bridge/stop')
    assert not calls('/reset')


@pytest.mark.parametrize('frame', [
    '\ufeff{"op":"call_service","service":"/ws_bridge/stop"}',
    '{"op":"call_service","service":"/ws_bridge/stop","id":NaN}',
    '{"op":"call_service","service":"/ws_bridge/stop","args":{"why":"\\ud800"}}',
    '{"op":"call_service","service":"/ws_bridge/stop","args":' + '[' * 60 + ']' * 60 + '}',
    '{"op":"call_service","service":"/ws_bridge/stop","args":{"x":1e999}}'])
def test_a_call_of_the_stop_in_a_frame_that_is_refused(frame: str) -> None:
    (op,) = RosbridgeDialect(10_000, lambda data: None, 32).decode(frame)
    (effect,) = with_stop().receive(op, START)
    assert isinstance(effect, fx.CallService)
    assert (effect.service, effect.data) == (STOP, {})


def test_no_lease_age_or_count_keeps_a_call_from_the_stop() -> None:
    class Locked(NoGates):

        def check(self, peer: str, lease_mode: LeaseMode, name: str, epoch: int | None) -> None:
            raise NotHolder('somebody else has it')
    session = with_stop(Locked(), max_calls=1)
    for _ in range(2):
        (effect,) = session.receive(ops.Command(
            'i', STOP, memoryview(b'garbage'), 'service', stamp=nanoseconds(EPOCH), ttl=0.1,
            epoch=-1, encoding='cdr'), START)
        assert isinstance(effect, fx.CallService)
        assert (effect.service, effect.data, effect.encoding) == (STOP, {}, 'cdr')
    assert refusal(session.receive(ops.Command('i', '/reset', {}), START))[1] == 'not_holder'


def test_a_call_of_the_stop_still_needs_its_right_and_the_login() -> None:
    broken = ops.Malformed('i', BadField('no'), ops.About('call', STOP))
    session = with_stop(exposure=Exposure(call=(Rule('/reset'),)))
    assert refusal(session.receive(broken, START))[1] == 'forbidden'
    session = with_stop()
    session.login.rights = Rights(session.login.rights.policy, NOBODY)
    assert refusal(session.receive(broken, START)) == ('i', 'forbidden', None)
    other = ops.Malformed('i', BadField('no'), ops.About('call', 'a b'))
    assert refusal(with_stop().receive(other, START))[1] == 'bad_field'


def hosting(**parameters: object) -> Session:
    session = make(**parameters)  # type: ignore[arg-type]
    session.receive(ops.AdvertiseService(None, '/s', 'a/S'), START)
    return session


def test_advertise_service() -> None:
    session = make()
    assert session.receive(ops.AdvertiseService('i', 's', 'a/S'), START) == [
        fx.Host('i', '/s', 's', 'a/S')]
    call_id = call_from_ros(session, 'token')
    answer = ops.ServiceAnswer('j', call_id, {'x': 1})
    assert session.receive(answer, START) == [fx.AnswerService('j', '/s', 'token', {'x': 1})]
    assert session.receive(ops.UnadvertiseService('k', '/s'), START) == [
        fx.Unhost('/s'), fx.Send(replies.ServiceUnadvertised('k', '/s'))]
    assert refusal(session.receive(ops.UnadvertiseService('l', 's'), START)) == \
        ('l', 'not_advertised', 'service')


def test_a_call_is_answered_once_and_by_its_owner_only() -> None:
    session, other = hosting(), hosting()
    call_id = call_from_ros(session, 'token')
    answer = ops.ServiceAnswer('j', call_id, {})
    late = ('j', 'expired', 'correlation_id')
    assert refusal(make().receive(answer, START)) == late
    assert refusal(other.receive(answer, START)) == late
    assert session.receive(answer, START) == [fx.AnswerService('j', '/s', 'token', {})]
    assert refusal(session.receive(answer, START)) == late
    assert refusal(session.receive(ops.ServiceAnswer('j', None, {}), START)) == late


def test_an_error_is_never_answered_by_an_error() -> None:
    session = hosting()
    call_id = call_from_ros(session, 'token')
    error = ops.ServiceAnswer('j', call_id, error='no')
    assert session.receive(error, START) == []
    assert session.receive(error, START) == [fx.Ignored()]
    assert session.receive(ops.ServiceAnswer('j', None, error='no'), START) == [fx.Ignored()]


def test_hosted_call_times_out() -> None:
    session = hosting(call_timeout=2.0)
    call_id = call_from_ros(session, 'token')
    assert session.deadline() == START + 2.0
    assert session.poll(START + 1.9) == []
    assert session.deadline() == START + 2.0
    assert session.poll(START + 2.0) == []
    assert session.deadline() is None
    answer = ops.ServiceAnswer('j', call_id, {})
    assert refusal(session.receive(answer, START + 2.0))[1] == 'expired'


def test_calls_of_a_service_given_up_wait_no_more() -> None:
    session = hosting()
    session.receive(ops.AdvertiseService(None, '/other', 'a/S'), START)
    call_id = call_from_ros(session, 'token')
    session.services.called('/other', 'other', b'{}', START)
    session.services.forget('/s')
    assert session.services.called('/s', 'token', b'{}', START) == []
    assert refusal(session.receive(ops.ServiceAnswer('j', call_id, {}), START))[1] == 'expired'
    assert [e.service for e in session.close() if isinstance(e, fx.Unhost)] == ['/other']


def test_unanswered_calls_are_bounded_and_the_peer_is_told() -> None:
    session = hosting(max_calls=2)
    call_id = call_from_ros(session, 1)
    call_from_ros(session, 2)
    assert refusal(session.services.called('/s', 3, b'{}', START)) == \
        (None, 'limit_exceeded', None)
    session.receive(ops.ServiceAnswer(None, call_id, {}), START)
    call_from_ros(session, 4)


def test_calls_are_limited_until_they_end() -> None:
    session = make(max_calls=1)
    op = ops.Command('i', '/reset', {})
    (call,) = session.receive(op, START)
    assert isinstance(call, fx.CallService)
    assert refusal(session.receive(op, START)) == ('i', 'limit_exceeded', None)
    session.services.ended(call.key, b'{}')
    assert isinstance(session.receive(op, START)[0], fx.CallService)


def test_hosting_again_forgets_the_calls_of_the_older_advertisement() -> None:
    session = make()
    session.receive(ops.AdvertiseService(None, '/s', 'a/S'), START)
    (sent,) = session.services.called('/s', 1, b'{}', START)
    assert isinstance(sent, fx.Send)
    assert isinstance(sent.reply, replies.ServiceCall)
    session.receive(ops.AdvertiseService(None, '/s', 'a/S'), START)
    answer = ops.ServiceAnswer('i', sent.reply.call_id, {})
    assert failed(session.receive(answer, START)).error.code == 'expired'


def test_questions_wait_for_their_turn() -> None:
    session = make(max_calls=2, call_timeout=3.0)

    def ask(op_id: str, **options: Any) -> list[fx.Effect]:
        return session.receive(ops.Inquire(op_id, '/rosapi/nodes', 'nodes', {}, **options), START)
    assert ask('i') == [fx.AnswerQuestion(1, 'nodes', {}, 3.0)]
    assert ask('j', timeout=1.0) == [fx.AnswerQuestion(2, 'nodes', {}, 1.0)]
    assert [ask(name) for name in 'kl'] == [[], []]
    late = TimedOut('late')
    assert session.services.ended(1, late) == [
        fx.Send(replies.Failed('i', late, ops.About('call', '/rosapi/nodes'))),
        fx.AnswerQuestion(3, 'nodes', {}, 3.0)]
    assert session.services.ended(3, b'{}') == [
        fx.Send(replies.CallDone('k', '/rosapi/nodes', b'{}')),
        fx.AnswerQuestion(4, 'nodes', {}, 3.0)]
    assert session.services.ended(3, b'{}') == []
    for _ in range(MAX_QUESTIONS):
        assert ask('m') == []
    refused = failed(ask('n'))
    assert (refused.op_id, refused.error.code) == ('n', 'limit_exceeded')
    assert refused.about == ops.About('call', '/rosapi/nodes')
    assert session.close() == [fx.CancelCall(2), fx.CancelCall(4)]
    assert session.services.ended(2, b'{}') == []
