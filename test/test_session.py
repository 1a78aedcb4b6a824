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
"""One peer's session: what follows from each operation, its limits, and from time."""
from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
from typing import Any, get_args

from jsonschema import Draft202012Validator
import pytest

from ws_bridge.config import Denial, Exposure, Rule, Settings, settings_from
from ws_bridge.errors import BadField, BadName, NotHolder, TimedOut
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.session import effects as fx
from ws_bridge.session.keeper import Keeper, NoGates
from ws_bridge.session.session import BEATS_REMEMBERED, Session

SCHEMA = json.loads((Path(__file__).resolve().parents[1] / 'docs' / 'reference'
                     / 'ws_bridge.v1.schema.json').read_text())
EPOCH = 1_760_000_000.0
START = 1000.0
QOS = QosRequest(depth=3)


class FakeNames:
    """Names in a node whose namespace is ``/``; ``odom`` is the friendly name of ``/odometry``."""

    def __init__(self) -> None:
        self.services = {'/reset', '/both'}

    def topic(self, name: str) -> str:
        return self.service({'odom': '/odometry'}.get(name, name))

    def service(self, name: str) -> str:
        if ' ' in name:
            raise BadName('no spaces', field='topic')
        return name if name.startswith('/') else f'/{name}'

    def kind_of(self, name: str) -> ops.Kind:
        return 'service' if self.service(name) in self.services else 'topic'


def make(exposure: Exposure | None = None, *, keeper: Keeper | None = None,
         **parameters: object) -> Session:
    """Return the session of peer ``p`` that connected at ``START``."""
    settings: Settings = settings_from({'robot_name': 'demo', **parameters})
    return Session('p', 'native', settings=settings, exposure=exposure or Exposure.open(),
                   names=FakeNames(), now=START, epoch=EPOCH, keeper=keeper)


def failed(effects: list[fx.Effect]) -> ops.Failed:
    """Return the one error that effects consist of."""
    (effect,) = effects
    assert isinstance(effect, fx.Send)
    assert isinstance(effect.reply, ops.Failed), effect
    return effect.reply


def refusal(effects: list[fx.Effect]) -> tuple[str | None, str, str | None]:
    """Return whom an error answers, its code and its field."""
    reply = failed(effects)
    return reply.op_id, reply.error.code, reply.error.field


def beat_of(effects: list[fx.Effect]) -> ops.Beat:
    """Return the one heartbeat among effects."""
    (beat,) = (effect.reply for effect in effects
               if isinstance(effect, fx.Send) and isinstance(effect.reply, ops.Beat))
    return beat


# ---- who is who

def test_hello_tells_limits_and_permissions() -> None:
    exposure = Exposure((Rule('/a'), Rule('/b*')), deny=(Denial('/c'), Denial('/d', 'call')))
    session = make(exposure, max_calls=7, max_message_rate=0, max_services=3)
    (sent, changed) = session.receive(ops.Hello('i', 'page'), START)
    assert session.name == 'page'
    assert isinstance(changed, fx.PeerChanged)
    assert sent == fx.Send(ops.Welcome('i', session.hello(), asked=True))
    hello = session.hello()
    Draft202012Validator({**SCHEMA, 'anyOf': [{'$ref': '#/$defs/hello'}]}).validate(hello)
    assert hello['session'] == 'p'
    assert hello['limits'] == {'message_size': 10_000_000, 'message_rate': 0,
                               'subscriptions': 500, 'advertisements': 100, 'services': 3,
                               'calls': 7, 'goals': 100}
    assert hello['allowed'] == {'subscribe': ['/a', '/b*'], 'publish': [], 'call': [], 'host': [],
                                'deny': ['/c', 'call:/d']}


def test_hello_without_name_keeps_the_name() -> None:
    session = make()
    session.receive(ops.Hello('i', 'page'), START)
    session.receive(ops.Hello('i'), START)
    assert session.name == 'page'
    assert 'page' in repr(session)


def test_greeting_of_another_bridge_is_not_answered() -> None:
    session = make()
    effects = session.receive(ops.Hello('i', 'robot', greeting=True), START)
    assert effects == [fx.PeerChanged(), fx.Greeted()]
    assert session.name == 'robot'


@pytest.mark.parametrize('op', [ops.ListNames('i'), ops.GetSchema('i', 'a/B')])
def test_questions_go_to_the_bridge(op: ops.ListNames | ops.GetSchema) -> None:
    assert make().receive(op, START) == [fx.Describe(op)]


@pytest.mark.parametrize(('name', 'topic'), [('/t', '/t'), ('t', '/t'), (None, None)])
def test_diagnose(name: str | None, topic: str | None) -> None:
    assert make().receive(ops.Diagnose('i', name, 'publish'), START) == [
        fx.Diagnose('i', topic, name, 'publish')]


def test_status() -> None:
    session = make()
    done = ops.Done('i', 'status', {'subscribe': True})
    assert session.receive(ops.WatchStatus('i', True), START) == [fx.Send(done), fx.StatusWanted()]
    assert session.wants_status
    done = ops.Done('i', 'status', {'subscribe': False})
    assert session.receive(ops.WatchStatus('i', False), START) == [fx.Send(done)]
    assert not session.wants_status


def test_peer_status_is_shown() -> None:
    session = make()
    assert session.receive(ops.PeerStatus('i', {'hidden': True}), START) == [fx.PeerChanged()]
    assert session.told == {'hidden': True}


def test_malformed_frame_gets_its_error() -> None:
    op = ops.Malformed('i', BadField('no', field='data.x'))
    assert refusal(make().receive(op, START)) == ('i', 'bad_field', 'data.x')


@pytest.mark.parametrize('op', [
    ops.BinarySample(1, 'cdr', memoryview(b''), 0.0, 0), ops.Appeared({})])
def test_what_nobody_asked_for_is_refused(op: ops.Operation) -> None:
    assert refusal(make().receive(op, START)) == (None, 'not_advertised', None)


# ---- subscriptions

def test_subscribe_with_everything() -> None:
    session = make()
    op = ops.Subscribe('i', 'odom', 'a/B', 'cdr', 0.5, 3, QOS, True)
    assert session.receive(op, START) == [fx.OpenSubscription(
        'i', '/odometry', 'odom', 'a/B', 'cdr', 0.5, 3, QOS, True)]
    assert session.subscriptions == {'odom': '/odometry'}


def test_subscribe_takes_defaults_of_rule_and_settings() -> None:
    rule = Rule('/ruled', msg_type='a/msg/B', encoding='cbor', max_rate=10.0, queue_depth=4)
    session = make(Exposure((rule, Rule('/plain'))), queue_depth=6)
    assert session.receive(ops.Subscribe(None, '/ruled'), START) == [fx.OpenSubscription(
        None, '/ruled', '/ruled', 'a/msg/B', 'cbor', 0.1, 4, None, False)]
    assert session.receive(ops.Subscribe(None, 'plain'), START) == [fx.OpenSubscription(
        None, '/plain', 'plain', None, 'json', 0.0, 6, None, False)]


@pytest.mark.parametrize(('asked', 'expected'), [(0.01, 0.1), (None, 0.1), (0.0, 0.1), (2.0, 2.0)])
def test_a_rule_bounds_the_rate(asked: float | None, expected: float) -> None:
    session = make(Exposure((Rule('/t', max_rate=10.0),)))
    (effect,) = session.receive(ops.Subscribe(None, '/t', min_interval=asked), START)
    assert isinstance(effect, fx.OpenSubscription)
    assert effect.min_interval == expected


def test_unsubscribe() -> None:
    session = make()
    session.receive(ops.Subscribe(None, 'odom'), START)
    assert session.receive(ops.Unsubscribe('i', '/odometry'), START) == [
        fx.CloseSubscription('/odometry', 'odom'),
        fx.Send(ops.Done('i', 'unsubscribe', {'topic': '/odometry'}))]
    assert refusal(session.receive(ops.Unsubscribe('j', 'odom'), START)) == \
        ('j', 'not_advertised', 'topic')


def test_a_topic_by_several_names() -> None:
    session = make(max_subscriptions=2)
    for name in ('odom', '/odometry'):
        (effect,) = session.receive(ops.Subscribe(None, name), START)
        assert isinstance(effect, fx.OpenSubscription)
        assert (effect.topic, effect.wire_name) == ('/odometry', name)
    assert refusal(session.receive(ops.Subscribe('i', 'odometry'), START))[1] == 'limit_exceeded'
    closed = [session.receive(ops.Unsubscribe(None, name), START)[0]
              for name in ('/odometry', '/odometry')]     # the other one by its name or by any
    assert closed == [fx.CloseSubscription('/odometry', name) for name in ('/odometry', 'odom')]


def test_a_command_for_what_the_graph_does_not_have_looks_again(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeNames, 'kind_of', lambda names, name: None)
    session = make()
    command = ops.Command('i', '/new', {})
    assert session.receive(command, START) == [fx.LookAgain(command)]
    (opened, _) = session.resume(command, START)
    assert isinstance(opened, fx.OpenPublisher)
    assert session.receive(command, START) == [fx.Publish(
        'i', '/new', {}, 'json', None, None, command)]
    monkeypatch.setattr(FakeNames, 'kind_of', lambda names, name: 'service')
    (call,) = session.resume(ops.Command('i', '/newer', {}), START)
    assert isinstance(call, fx.Call)
    assert refusal(session.resume(ops.Command('j', 'a b', {}), START))[:2] == ('j', 'bad_name')


# ---- publications

def test_advertise_and_publish() -> None:
    session = make(Exposure(publish=(Rule('*', msg_type='a/msg/B'),)))
    assert session.receive(ops.Advertise('i', 'odom', None, QOS), START) == [fx.OpenPublisher(
        'i', '/odometry', 'odom', 'a/msg/B', QOS, True, None, True)]
    assert session.receive(ops.Advertise('i', '/t', 'a/B'), START) == [fx.OpenPublisher(
        'i', '/t', '/t', 'a/msg/B', None, True, None, True)]
    command = ops.Command('j', 'odom', {'x': 1}, ack=True)
    assert session.receive(command, START) == [
        fx.Publish('j', '/odometry', {'x': 1}, 'json', None, 'odom', command)]


@pytest.mark.parametrize('asked', ['c/msg/D', 'a/msg/C', 'c/msg/B', 'a/srv/C', 'B', ''])
def test_the_type_of_a_rule_is_the_only_one(asked: str) -> None:
    rules = (Rule('/t', msg_type='a/msg/B'), Rule('/other'))
    session = make(Exposure(rules, rules, rules, rules))
    for op in (ops.Subscribe('i', '/t', asked), ops.Advertise('i', '/t', asked),
               ops.AdvertiseService('i', '/t', asked)):
        assert refusal(session.receive(op, START)) == ('i', 'type_mismatch', 'type')
    assert not (session.subscriptions or session.advertised or session.hosted)
    (effect,) = session.receive(ops.Subscribe('i', '/other', asked), START)
    assert effect.msg_type == asked or not asked    # type: ignore[union-attr]


def test_a_refused_advertisement_is_forgotten_alone() -> None:
    session = make()
    for key, fresh in (('a', True), ('a', False), ('b', True)):
        (effect,) = session.receive(ops.Advertise(key, '/t', key=key), START)
        assert (effect.key, effect.fresh) == (key, fresh)       # type: ignore[union-attr]
    session.forget_advertiser('/t', 'b')
    assert session.receive(ops.Unadvertise('u', '/t', key='a'), START)[0] == \
        fx.ClosePublisher('/t')


def test_stops_pass_the_rate_but_a_flood_of_them_ends() -> None:
    session = make(max_message_rate=10)
    now, dismissed = START, False
    for _ in range(400):
        now += 0.02
        (effect,) = session.receive(ops.EmergencyStop('s', ''), now)
        assert not isinstance(effect, fx.Send)      # no error
        dismissed |= any(isinstance(effect, fx.Dismiss) for effect in session.poll(now))
    assert dismissed
    assert session.refused == 0


def test_publishing_implies_a_publisher_once() -> None:
    session = make()
    opened = fx.OpenPublisher('i', '/t', 't', None, None, False)
    command = ops.Command('i', 't', 5)
    publish = fx.Publish('i', '/t', 5, 'json', None, None, command)
    assert session.receive(command, START) == [opened, publish]
    assert session.receive(command, START) == [publish]
    assert session.advertised == {'/t': False}


def test_unadvertise() -> None:
    session = make()
    session.receive(ops.Advertise(None, 'odom'), START)
    assert session.receive(ops.Unadvertise('i', '/odometry'), START) == [
        fx.ClosePublisher('/odometry'),
        fx.Send(ops.Done('i', 'unadvertise', {'topic': '/odometry'}))]
    assert refusal(session.receive(ops.Unadvertise('j', 'odom'), START)) == \
        ('j', 'not_advertised', 'topic')


def binary(channel_id: int, **values: Any) -> ops.BinaryPublish:
    fields: dict[str, Any] = {'encoding': 'cdr', 'payload': memoryview(b'x'),
                              'stamp': START + EPOCH, 'sequence': 0}
    return ops.BinaryPublish(channel_id, **{**fields, **values})


def test_binary_publication_needs_the_channel_of_this_peer() -> None:
    session = make()
    session.receive(ops.Advertise(None, '/t'), START)
    assert refusal(session.receive(binary(4), START)) == (None, 'not_advertised', 'channel_id')
    session.publisher_opened('/t', 4)
    command = binary(4, encoding='cbor', ttl=0.5)
    assert session.receive(command, START) == [fx.Publish(
        None, '/t', memoryview(b'x'), 'cbor', START + 0.5, None, command)]
    session.receive(ops.Unadvertise(None, '/t'), START)
    assert refusal(session.receive(binary(4), START)) == (None, 'not_advertised', 'channel_id')


def test_a_topic_has_one_channel() -> None:
    """Advertising again with another type or qos must neither keep the old one nor pile up."""
    session = make()
    for topic in ('/t', '/u'):
        session.receive(ops.Advertise(None, topic), START)
    session.publisher_opened('/u', 1)
    for channel_id in (4, 5, 6):
        session.publisher_opened('/t', channel_id)
    assert [len(session.receive(binary(n), START)) for n in (1, 6)] == [1, 1]
    for channel_id in (4, 5):
        assert refusal(session.receive(binary(channel_id), START))[1] == 'not_advertised'


# ---- age

@pytest.mark.parametrize('op', [ops.Command('i', '/t', {}, 'topic'), binary(1)])
@pytest.mark.parametrize(('age', 'ttl', 'left'), [
    (0.0, 0.5, 0.5), (0.2, 0.5, 0.3), (0.5, 0.5, 0.0), (-3600.0, 0.5, 0.5),
    (0.0, 0.0, 0.0), (9.0, None, None)])
def test_what_is_left_of_the_time_to_live(op: Any, age: float, ttl: float | None,
                                          left: float | None) -> None:
    session = make()
    session.receive(ops.Advertise(None, '/t'), START)
    session.publisher_opened('/t', 1)
    fields = {name: getattr(op, name) for name in op.__slots__}
    op = type(op)(**{**fields, 'stamp': START + EPOCH - age, 'ttl': ttl})
    (effect,) = session.receive(op, START)
    assert isinstance(effect, fx.Publish)
    expected = None if left is None else pytest.approx(START + left)
    assert effect.deadline == expected


def test_ttl_without_timestamp_counts_from_reception() -> None:
    session = make()
    effects = session.receive(ops.Command('i', '/t', {}, ttl=0.5), START)
    assert [e.deadline for e in effects if isinstance(e, fx.Publish)] == [START + 0.5]


@pytest.mark.parametrize('kind', ['topic', 'service'])
def test_expired(kind: ops.Kind) -> None:
    session = make()
    op = ops.Command('i', '/t', {}, kind, stamp=START + EPOCH - 0.6, ttl=0.5)
    assert refusal(session.receive(op, START)) == ('i', 'expired', 'ttl')
    assert not session.calls
    assert not session.advertised


@pytest.mark.parametrize('offset', [3600.0, -3600.0])
def test_clock_of_the_peer_is_corrected(offset: float) -> None:
    session = make()

    def command(age: float, now: float) -> list[fx.Effect]:
        stamp = now + EPOCH + offset - age
        return session.receive(ops.Command('i', '/t', {}, stamp=stamp, ttl=1.0), now)

    assert isinstance(command(0.0, START)[-1], fx.Publish if offset > 0 else fx.Send)
    exchange(session, START + 1, offset, travel=0.01)
    assert session.timesync.offset == pytest.approx(offset)
    for effect in command(0.25, START + 2):
        if isinstance(effect, fx.Publish):
            assert effect.deadline == pytest.approx(START + 2.75, abs=1e-3)
    assert refusal(command(1.25, START + 2)) == ('i', 'expired', 'ttl')


# ---- calls

def test_call() -> None:
    session = make(Exposure(call=(Rule('/reset', msg_type='a/srv/S'),)))
    (call,) = session.receive(ops.Command('i', 'reset', {'x': 1}), START)
    assert isinstance(call, fx.Call)
    assert call == fx.Call(call.key, '/reset', 'a/srv/S', {'x': 1}, 5.0)
    assert session.call_ended(call.key, b'{}') == [fx.Send(ops.CallDone('i', 'reset', b'{}'))]
    assert session.call_ended(call.key, b'{}') == []


def test_failed_call() -> None:
    session = make()
    (call,) = session.receive(ops.Command('i', '/reset', {}), START)
    assert isinstance(call, fx.Call)
    assert refusal(session.call_ended(call.key, TimedOut('late'))) == ('i', 'timeout', None)


@pytest.mark.parametrize(('asked', 'ruled', 'expected'),
                         [(2.0, 3.0, 2.0), (None, 3.0, 3.0), (None, None, 4.0)])
def test_timeout_of_a_call(asked: float | None, ruled: float | None, expected: float) -> None:
    session = make(Exposure(call=(Rule('/reset', timeout=ruled),)), call_timeout=4.0)
    (call,) = session.receive(ops.Command('i', '/reset', {}, timeout=asked), START)
    assert isinstance(call, fx.Call)
    assert call.timeout == expected


@pytest.mark.parametrize(('kind', 'name', 'effect'), [
    (None, '/reset', fx.Call), ('service', '/t', fx.Call), (None, '/t', fx.OpenPublisher),
    ('topic', '/reset', fx.OpenPublisher)])
def test_kind_says_what_a_destination_is(kind: ops.Kind | None, name: str, effect: type) -> None:
    assert isinstance(make().receive(ops.Command('i', name, {}, kind), START)[0], effect)


# ---- hosted services

def hosting(**parameters: object) -> Session:
    session = make(**parameters)  # type: ignore[arg-type]
    session.receive(ops.AdvertiseService(None, '/s', 'a/S'), START)
    return session


def call_from_ros(session: Session, token: object, now: float = START) -> str:
    (effect,) = session.service_called('/s', token, b'{}', now)
    assert isinstance(effect, fx.Send)
    assert isinstance(effect.reply, ops.ServiceCall)
    assert (effect.reply.service, effect.reply.values) == (session.hosted['/s'], b'{}')
    return effect.reply.call_id


def test_advertise_service() -> None:
    session = make()
    assert session.receive(ops.AdvertiseService('i', 's', 'a/S'), START) == [
        fx.Host('i', '/s', 's', 'a/S')]
    call_id = call_from_ros(session, 'token')
    answer = ops.ServiceAnswer('j', call_id, {'x': 1})
    assert session.receive(answer, START) == [fx.AnswerService('j', '/s', 'token', {'x': 1})]
    assert session.receive(ops.UnadvertiseService('k', '/s'), START) == [
        fx.Unhost('/s'), fx.Send(ops.Done('k', 'unadvertise_service', {'service': '/s'}))]
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
    session.service_called('/other', 'other', b'{}', START)
    session.forget_service('/s')
    assert session.service_called('/s', 'token', b'{}', START) == []
    assert refusal(session.receive(ops.ServiceAnswer('j', call_id, {}), START))[1] == 'expired'
    assert [e.service for e in session.close() if isinstance(e, fx.Unhost)] == ['/other']


def test_unanswered_calls_are_bounded_and_the_peer_is_told() -> None:
    session = hosting(max_calls=2)
    call_id = call_from_ros(session, 1)
    call_from_ros(session, 2)
    assert refusal(session.service_called('/s', 3, b'{}', START)) == \
        (None, 'limit_exceeded', None)
    session.receive(ops.ServiceAnswer(None, call_id, {}), START)
    call_from_ros(session, 4)


# ---- limits and permissions

@pytest.mark.parametrize(('parameter', 'ask'), [
    ('max_subscriptions', lambda name: ops.Subscribe('i', name)),
    ('max_advertisements', lambda name: ops.Advertise('i', name)),
    ('max_advertisements', lambda name: ops.Command('i', name, {}, 'topic')),
    ('max_services', lambda name: ops.AdvertiseService('i', name, 'a/S')),
])
def test_limits_count_names_not_requests(parameter: str, ask: Any) -> None:
    session = make(**{parameter: 2})  # type: ignore[arg-type]
    for name in ('/a', '/b', '/a'):
        assert not isinstance(session.receive(ask(name), START)[0], fx.Send)
    assert refusal(session.receive(ask('/c'), START)) == ('i', 'limit_exceeded', None)
    take_back = {'max_subscriptions': session.forget_subscription,
                 'max_advertisements': session.forget_publisher,
                 'max_services': session.forget_service}[parameter]
    take_back('/a')
    assert not isinstance(session.receive(ask('/c'), START)[0], fx.Send)


@pytest.mark.parametrize(('parameter', 'ask', 'give_back'), [
    ('max_subscriptions', ops.Subscribe, ops.Unsubscribe),
    ('max_advertisements', ops.Advertise, ops.Unadvertise)])
def test_limits_count_the_wishes_for_one_topic(parameter: str, ask: Any, give_back: Any) -> None:
    session = make(**{parameter: 2})  # type: ignore[arg-type]
    for key in ('k1', 'k2', 'k1'):
        assert not isinstance(session.receive(ask('i', '/a', key=key), START)[0], fx.Send)
    assert refusal(session.receive(ask('i', '/a', key='k3'), START)) == \
        ('i', 'limit_exceeded', None)
    session.receive(give_back('i', '/a', 'k1'), START)
    assert not isinstance(session.receive(ask('i', '/a', key='k3'), START)[0], fx.Send)
    assert len(session.close()) == 1


def test_several_advertisements_of_a_topic_end_with_the_last() -> None:
    session = make()
    for key in ('k1', 'k2'):
        session.receive(ops.Advertise('i', '/a', key=key), START)
    done = fx.Send(ops.Done('i', 'unadvertise', {'topic': '/a'}))
    assert session.receive(ops.Unadvertise('i', '/a', 'k1'), START) == [done]
    assert session.receive(ops.Unadvertise('i', '/a', 'k2'), START) == [
        fx.ClosePublisher('/a'), done]


def test_several_wishes_for_a_topic_are_one_subscription() -> None:
    session = make()
    session.receive(ops.Subscribe('i', '/a', min_interval=1.0, key='k1'), START)
    (both,) = session.receive(ops.Subscribe('i', '/a', min_interval=0.5, key='k2'), START)
    assert isinstance(both, fx.OpenSubscription)
    assert both.min_interval == 0.5
    rest, done = session.receive(ops.Unsubscribe('j', '/a', 'k2'), START)
    assert isinstance(rest, fx.OpenSubscription)
    assert rest.min_interval == 1.0
    assert refusal(session.receive(ops.Unsubscribe('j', '/a', 'k2'), START)) == \
        ('j', 'not_advertised', 'id')
    session.forget_wish('/a', 'none')
    assert session.receive(ops.Unsubscribe('j', '/a'), START) == [
        fx.CloseSubscription('/a', '/a'), done]


def test_calls_are_limited_until_they_end() -> None:
    session = make(max_calls=1)
    op = ops.Command('i', '/reset', {})
    (call,) = session.receive(op, START)
    assert isinstance(call, fx.Call)
    assert refusal(session.receive(op, START)) == ('i', 'limit_exceeded', None)
    session.call_ended(call.key, b'{}')
    assert isinstance(session.receive(op, START)[0], fx.Call)


USES = [
    ('subscribe', ops.Subscribe('i', '/x'), 'topic'),
    ('publish', ops.Advertise('i', '/x'), 'topic'),
    ('publish', ops.Command('i', '/x', {}, 'topic'), 'destination'),
    ('call', ops.Command('i', '/x', {}, 'service'), 'destination'),
    ('host', ops.AdvertiseService('i', '/x', 'a/S'), 'service'),
]


@pytest.mark.parametrize(('kind', 'op', 'field'), USES)
def test_only_what_is_exposed_may_be_used(kind: str, op: ops.Operation, field: str) -> None:
    everything = {k: (Rule('*'),) for k in ('subscribe', 'publish', 'call', 'host')}
    allowed = make(Exposure(**{kind: (Rule('/x'),)}))  # type: ignore[arg-type]
    assert not isinstance(allowed.receive(op, START)[0], fx.Send)
    refused: list[dict[str, Any]] = [
        {}, {**everything, kind: (Rule('/y'),)}, {**everything, 'deny': (Denial('/x'),)},
        {**everything, 'deny': (Denial('/*', kind),)}]  # type: ignore[arg-type]
    for fields in refused:
        session = make(Exposure(**fields))
        assert refusal(session.receive(op, START)) == ('i', 'forbidden', field)
        assert session.close() == []


@pytest.mark.parametrize('op', [
    ops.Subscribe('i', 'a b'), ops.Unsubscribe('i', 'a b'), ops.Advertise('i', 'a b'),
    ops.Unadvertise('i', 'a b'), ops.AdvertiseService('i', 'a b', 'a/S'),
    ops.UnadvertiseService('i', 'a b'), ops.Command('i', 'a b', {}),
    ops.Command('i', 'a b', {}, 'service')])
@pytest.mark.parametrize('rate', [0.0, 1.0])
def test_bad_names(op: ops.Operation, rate: float) -> None:
    session = make(max_message_rate=rate)
    session.receive(ops.ListNames(None), START)
    op_id, code, _ = refusal(session.receive(op, START))
    assert op_id == 'i'
    assert code in ('bad_name', 'rate_limited')


def test_every_operation_has_a_handler() -> None:
    session = make()
    action = {ops.SendGoal, ops.CancelGoal, ops.AdvertiseAction, ops.UnadvertiseAction,
              ops.GoalAnswer, ops.ActionFeedback, ops.ActionResult}
    handled: list[ops.Operation] = [
        ops.Hello('i'), ops.ListNames('i'), ops.GetSchema('i', 't'), ops.Subscribe('i', 't'),
        ops.Diagnose('i'),
        ops.Unsubscribe('i', 't'), ops.Advertise('i', 't'), ops.Unadvertise('i', 't'),
        ops.AdvertiseService('i', 's', 't'), ops.UnadvertiseService('i', 's'),
        ops.WatchStatus('i', True), ops.Command('i', 't', None), binary(1),
        ops.BinarySample(1, 'cdr', memoryview(b''), 0.0, 0), ops.Heartbeat('i', None),
        ops.Malformed('i', BadField('x')), ops.ServiceAnswer('i', 'c'), ops.PeerStatus('i', {}),
        ops.Appeared({}), ops.Inquire('i', 's', 'topics', {}), ops.Authenticate('i', {}),
        ops.ListGates('i'), ops.LeaseWish('i', 'acquire', 'g'), ops.EmergencyStop('i'),
        ops.ClearStop('i')]
    assert {type(op) for op in handled} == set(get_args(ops.Operation)) - action
    for op in handled:
        assert set(map(type, session.receive(op, START))) <= set(get_args(fx.Effect))


# ---- rate

REQUESTS: list[ops.Operation] = [
    ops.ListNames('i'), ops.Subscribe('i', '/t'), ops.Command('i', '/reset', {}),
    ops.Command('i', '/t', {}, 'service'), ops.Command('i', '/t', {}, ack=True),
    ops.ServiceAnswer('i', 'c', {}), ops.Malformed('i', BadField('x')), ops.PeerStatus('i', {})]
UNANSWERED: list[ops.Operation] = [
    ops.Command('i', '/t', {}), ops.Command('i', '/reset', {}, 'topic'), binary(1),
    ops.BinarySample(1, 'cdr', memoryview(b''), 0.0, 0), ops.Appeared({}),
    ops.Malformed(None, BadField('x')), ops.ServiceAnswer('i', 'c', error='no')]


@pytest.mark.parametrize('op', REQUESTS, ids=lambda op: type(op).__name__)
def test_each_request_over_the_rate_gets_its_own_error(op: ops.Operation) -> None:
    session = make(max_message_rate=2.0)
    for _ in range(2):
        session.receive(ops.ListNames(None), START)
    for number in range(1, 4):
        assert refusal(session.receive(op, START)) == ('i', 'rate_limited', None)
        assert session.refused == number
    assert session.poll(START + 1) == []     # each was told already
    assert session.poll(START + 2) == []
    assert session.deadline() is None
    assert session.receive(ops.ListNames('j'), START + 0.5) == [fx.Describe(ops.ListNames('j'))]


@pytest.mark.parametrize('op', UNANSWERED, ids=lambda op: type(op).__name__)
def test_the_rest_over_the_rate_is_counted_in_one_error_a_second(op: ops.Operation) -> None:
    session = make(max_message_rate=1.0)
    session.receive(ops.ListNames(None), START)
    told = [session.receive(op, START + number / 100) for number in range(1, 11)]
    assert [failed(told[0]).op_id, failed(told[0]).error.code] == [None, 'rate_limited']
    assert '1 messages' in failed(told[0]).error.message
    assert told[1:] == [[]] * 9
    due = session.deadline()
    assert due == START + 1.01
    assert session.poll(due - 0.01) == []
    assert failed(session.poll(due)).error.message.startswith('9 messages were refused')
    assert session.poll(due) == []
    due = session.deadline()
    assert due == START + 2.01
    assert session.poll(due) == []
    assert session.deadline() is None
    assert session.refused == 10


def test_bytes_over_the_rate_are_not_read() -> None:
    session = make(max_byte_rate=2e6, max_message_size=1_000_000)
    assert session.weigh(1_500_000, START) is None
    assert refusal(session.weigh(600_000, START) or []) == (None, 'rate_limited', None)
    assert session.weigh(600_000, START) == []
    assert session.weigh(500_000, START) is None
    assert failed(session.poll(START + 1)).error.message.startswith('1 messages')
    assert session.weigh(2_000_000, START + 1) is None
    unlimited = make(max_byte_rate=0)
    assert all(unlimited.weigh(1 << 40, START) is None for _ in range(9))


def test_the_largest_message_always_fits_the_byte_rate() -> None:
    session = make(max_byte_rate=1000.0, max_message_size=5000)
    assert session.weigh(5000, START) is None
    assert session.weigh(5000, START + 4.9) is not None
    assert session.weigh(5000, START + 10) is None


@pytest.mark.parametrize('op', [ops.ListNames('i'), binary(1)], ids=['request', 'stream'])
def test_a_flood_is_ended(op: ops.Operation) -> None:
    """After five seconds of more than twice the rate; a pause begins the count anew."""
    session = make(max_message_rate=10.0)
    now = START
    for pause in (False, True, False):
        for second in range(4 if not pause else 3):
            for _ in range(0 if pause else 30):
                session.receive(op, now)
            now += 1.001
            assert not any(isinstance(effect, fx.Dismiss) for effect in session.poll(now)), second
    for _ in range(30):
        session.receive(op, now)
    assert fx.Dismiss(1008, 'too many messages') in session.poll(now + 1.001)


def dismissed(session: Session, frames: int, size: int) -> bool:
    """Weigh so many frames a second, after a second that is used up; whether that ends it."""
    ended = False
    for second in range(9):
        for _ in range(frames):
            session.weigh(size, START + 1.001 * second)
        ended = any(isinstance(effect, fx.Dismiss)
                    for effect in session.poll(START + 1.001 * (second + 1))) or ended
    return ended


def test_a_flood_of_bytes_is_ended() -> None:
    """Few messages, but large ones."""
    assert dismissed(make(max_byte_rate=1e6, max_message_size=100_000), 30, 100_000)
    assert not dismissed(make(max_byte_rate=1e6, max_message_size=100_000), 15, 100_000)


def test_who_sends_too_many_bytes_now_and_then_may_stay() -> None:
    """Without a limit of messages, too."""
    limits = {'max_byte_rate': 1e6, 'max_message_size': 100_000}
    for rate in (0.0, 5000.0):
        assert not dismissed(make(**limits, max_message_rate=rate), 12, 100_000)
    assert not dismissed(make(max_byte_rate=0.0, max_message_rate=0.0), 50, 1 << 30)


def test_no_rate_limit() -> None:
    session = make(max_message_rate=0)
    assert all(session.receive(ops.ListNames('i'), START) == [fx.Describe(ops.ListNames('i'))]
               for _ in range(10_000))


def test_a_heartbeat_over_the_rate_is_heard_but_not_answered() -> None:
    session = make(max_message_rate=1.0, heartbeat_interval=1.0, heartbeat_timeout=3.0)
    session.receive(ops.ListNames(None), START)
    effects = session.receive(ops.Heartbeat('i', START, 1), START)
    assert [type(effect) for effect in effects] == [fx.PeerChanged, fx.Send]
    assert refusal(effects[1:]) == (None, 'rate_limited', None)
    assert session.liveness_name == 'ALIVE'
    for tenth in range(1, 100):
        now = START + tenth / 10
        session.receive(binary(1), now)
        session.receive(ops.Heartbeat('i', now, 1), now)
        session.poll(now)
        assert session.liveness_name == 'ALIVE'


# ---- heartbeats

def exchange(session: Session, now: float, offset: float, travel: float) -> None:
    """Let the peer beat twice, the second time with the echo of the answer to the first."""
    def peer_time(monotonic: float) -> float:
        return monotonic + EPOCH + offset

    beat = beat_of(session.receive(ops.Heartbeat('a', peer_time(now - travel), 1), now))
    assert beat.answers == 'a'
    assert beat.stamp == now + EPOCH
    echo = beat.sequence, beat.stamp, peer_time(now + travel)
    session.receive(ops.Heartbeat('b', peer_time(now + 0.5), 2, echo), now + 0.5 + travel)


def test_round_trip_and_offset() -> None:
    session = make()
    assert session.describe(START + 2)['round_trip'] is None
    exchange(session, START + 1, -12.5, travel=0.02)
    told = session.describe(START + 2)
    assert told == {
        'peer': 'p', 'name': '', 'dialect': 'native', 'connected': 2.0, 'liveness': 'ALIVE',
        'identity': None, 'role': 'admin',
        'round_trip': pytest.approx(0.04, abs=1e-5), 'offset': pytest.approx(-12.5, abs=1e-5),
        'jitter': 0.0}


def test_a_heartbeat_is_answered_once_with_its_echo() -> None:
    session = make()
    effects = session.receive(ops.Heartbeat('a', 5.0, 7), START)
    assert effects == [fx.Send(ops.Beat(1, START + EPOCH, (7, 5.0, START + EPOCH), 'a')),
                       fx.PeerChanged()]
    assert session.receive(ops.Heartbeat('a', 6.0, 8), START + 1) == [
        fx.Send(ops.Beat(2, START + 1 + EPOCH, (8, 6.0, START + 1 + EPOCH), 'a'))]


def test_an_answer_is_not_answered() -> None:
    session = make()
    assert session.receive(ops.Heartbeat('a', 5.0, 7, answer=True), START) == [fx.PeerChanged()]
    assert session.receive(ops.Heartbeat('a', 5.0, 8, answer=True), START) == []
    assert beat_of(session.receive(ops.Heartbeat('a', None, 9), START)).echo == \
        (8, 5.0, START + EPOCH)


def test_a_heartbeat_without_time_is_answered_too() -> None:
    assert beat_of(make().receive(ops.Heartbeat('a', None, 1), START)).echo is None


def test_the_heartbeat_of_a_seed_is_heard_but_not_answered() -> None:
    session = make()
    assert session.receive(ops.Heartbeat('a', 5.0), START) == [fx.PeerChanged()]
    assert session.liveness_name == 'ALIVE'


def test_an_echo_counts_only_of_a_beat_that_was_sent() -> None:
    session = make()
    session.receive(ops.Heartbeat('a', 5.0, 1), START)
    for sequence in (0, 2, 10**15):
        echo = sequence, START + EPOCH, 5.0
        session.receive(ops.Heartbeat('a', 5.1, 1, echo, answer=True), START + 1)
    assert session.timesync.offset is None
    for _ in range(BEATS_REMEMBERED):
        session.receive(ops.Heartbeat('a', 5.0, 1), START + 1)
    session.receive(ops.Heartbeat('a', 5.1, 1, (1, 0.0, 5.0), answer=True), START + 1)
    assert session.timesync.offset is None
    session.receive(ops.Heartbeat('a', 5.1, 1, (2, 0.0, 5.0), answer=True), START + 2)
    assert session.timesync.offset == pytest.approx(5.05 - (START + EPOCH + 1.5))


def test_beats_leave_each_interval() -> None:
    session = make(heartbeat_interval=1.0)
    assert session.deadline() is None
    session.beats = True
    assert session.deadline() == START + 1
    assert session.poll(START + 0.9) == []
    assert session.poll(START + 1.25) == [fx.Send(ops.Beat(1, START + 1.25 + EPOCH, None))]
    assert session.deadline() == START + 2
    assert session.poll(START + 1.25) == []


@pytest.mark.parametrize('late', [2.0, 2.5, 7.0, 1e6])
def test_missed_beats_are_not_made_up_for(late: float) -> None:
    session = make(heartbeat_interval=1.0)
    session.beats = True
    beat_of(session.poll(START + late))
    assert session.poll(START + late) == []
    due = session.deadline()
    assert due is not None
    assert START + late < due <= START + late + 1


def test_liveness() -> None:
    session = make(heartbeat_interval=1.0, heartbeat_timeout=3.0)
    assert session.liveness_name == 'UNWATCHED'
    assert session.poll(START + 100) == []
    start = START + 100
    session.receive(ops.Heartbeat('a', 0.0, 1), start)
    assert session.liveness_name == 'ALIVE'
    for state, after in (('SUSPECT', 1.5), ('LOST', 3.0)):
        assert session.deadline() == start + after
        assert session.poll(start + after - 0.01) == []
        lost = [fx.PeerLost()] if state == 'LOST' else []
        assert session.poll(start + after) == [*lost, fx.PeerChanged()]
        assert session.poll(start + after) == []
        assert session.describe(start + after)['liveness'] == state
    assert session.deadline() is None
    effects = session.receive(ops.Heartbeat('a', 0.0, 2), start + 9)
    assert [type(effect) for effect in effects] == [fx.Send, fx.PeerChanged]
    assert session.liveness_name == 'ALIVE'


def test_a_loss_that_nobody_polled_for_is_one() -> None:
    session = make(heartbeat_interval=1.0, heartbeat_timeout=3.0)
    session.receive(ops.Heartbeat('a', 0.0), START)
    effects = session.receive(ops.Heartbeat('b', 0.0), START + 3)
    assert effects == [fx.PeerLost(), fx.PeerChanged()]


def test_who_commands_has_to_send_heartbeats() -> None:
    session = make(heartbeat_interval=1.0, heartbeat_timeout=3.0)
    session.watch(START)
    assert session.liveness_name == 'ALIVE'
    session.watch(START + 2)                    # to command more renews nothing
    assert fx.PeerLost() in session.poll(START + 3)
    session.watch(START + 4)                    # it asked again, and has to be heard again
    assert session.liveness_name == 'ALIVE'
    assert fx.PeerLost() in session.poll(START + 7)


# ---- gates

class FakeKeeper(NoGates):
    """Guards one topic, and one service and action against every epoch but 7."""

    def guards(self, topic: str) -> bool:
        return topic == '/drive'

    def check(self, peer: str, manner: str, name: str, epoch: int | None) -> None:
        assert (peer, manner) == ('p', 'native')
        if name == '/move' and epoch != 7:
            raise NotHolder('not now')


def test_the_age_of_a_guarded_command_is_the_gates_to_judge() -> None:
    session = make(keeper=FakeKeeper())
    for topic, expected in (('/drive', True), ('/t', False)):
        session.receive(ops.Advertise(None, topic), START)
        session.publisher_opened(topic, 4)
        old: list[Any] = [ops.Command('i', topic, {}, stamp=START + EPOCH - 9, ttl=0.1),
                          binary(4, stamp=START + EPOCH - 9, ttl=0.1)]
        for command in old:
            (effect,) = session.receive(command, START)
            assert (isinstance(effect, fx.Publish) and effect.command is command) == expected
            assert expected or refusal([effect])[1] == 'expired'


def test_a_guarded_call_and_goal() -> None:
    session = make(keeper=FakeKeeper())
    for kind in ('service', 'action'):
        command = ops.Command('i', '/move', {}, kind, epoch=6)  # type: ignore[arg-type]
        assert refusal(session.receive(command, START))[:2] == ('i', 'not_holder')
        assert len(session.calls) + len(session.goals.sent) == (kind == 'action')
        (effect,) = session.receive(replace(command, epoch=7), START)
        assert isinstance(effect, fx.Call | fx.SendGoal)


def test_access_comes_before_the_gate() -> None:
    """Who may not send a goal does not learn whether a gate guards the action."""
    session = make(Exposure(), keeper=FakeKeeper())
    for kind in ('service', 'action'):
        command = ops.Command('i', '/move', {}, kind, epoch=6)  # type: ignore[arg-type]
        assert refusal(session.receive(command, START)) == ('i', 'forbidden', 'destination')


def test_a_stop_is_never_too_much() -> None:
    session = make(max_message_rate=1.0)
    stop = ops.EmergencyStop('i', 'x')
    for _ in range(9):
        assert session.receive(stop, START) == [fx.Control(stop)]
    assert fx.Control(stop).op_id == 'i'
    assert refusal(session.receive(ops.ListGates('j'), START))[:2] == ('j', 'rate_limited')


# ---- the end

def test_close_takes_everything_back_once() -> None:
    session = make()
    for op in (ops.Subscribe(None, '/a'), ops.Advertise(None, '/b'), ops.Command(None, '/c', {}),
               ops.AdvertiseService(None, '/s', 'a/S'), ops.Command(None, '/reset', {})):
        session.receive(op, START)
    session.publisher_opened('/b', 1)
    call_id = call_from_ros(session, 'token')
    (key,) = session.calls
    assert session.close() == [
        fx.CloseSubscription('/a', '/a'), fx.ClosePublisher('/b'), fx.ClosePublisher('/c'),
        fx.Unhost('/s'), fx.CancelCall(key)]
    assert session.close() == []
    assert session.call_ended(key, b'{}') == []
    assert session.deadline() is None
    answer = ops.ServiceAnswer('j', call_id, {})
    assert refusal(session.receive(answer, START))[1] == 'expired'
    assert refusal(session.receive(binary(1), START))[1] == 'not_advertised'


def test_what_ros_refused_is_not_taken_back() -> None:
    session = make(max_subscriptions=1)
    session.receive(ops.Subscribe(None, '/a'), START)
    session.receive(ops.Advertise(None, '/b'), START)
    session.receive(ops.AdvertiseService(None, '/s', 'a/S'), START)
    for _ in range(2):
        session.forget_subscription('/a')
        session.forget_publisher('/b')
        session.forget_service('/s')
    assert session.close() == []
    assert isinstance(session.receive(ops.Subscribe(None, '/z'), START)[0], fx.OpenSubscription)
