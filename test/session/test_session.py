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
import orjson
import pytest
from support.sessions import binary, call_from_ros, EPOCH, failed, FakeNames, make, refusal, START

from ws_bridge.config import Denial, Exposure, Rule, Settings
from ws_bridge.config.roles import OPERATOR, Role
from ws_bridge.errors import BadField, NotHolder, TimedOut
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.native_replies import hello_fields
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.unix_time import nanoseconds as ns
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session import effects as fx
from ws_bridge.session.gate_lookup import NoGates
from ws_bridge.session.login import Login
from ws_bridge.session.rights import Policy, Rights
from ws_bridge.session.session import Session

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / 'docs' / 'reference'
                     / 'ws_bridge.v1.schema.json').read_text())
QOS = QosRequest(depth=3)


def test_hello_tells_limits_and_permissions() -> None:
    exposure = Exposure((Rule('/a'), Rule('/b*')), deny=(Denial('/c'), Denial('/d', 'call')))
    session = make(exposure, max_calls=7, max_message_rate=0, max_services=3)
    (sent, changed) = session.receive(ops.Hello('i', 'page'), START)
    assert session.name == 'page'
    assert isinstance(changed, fx.PeerChanged)
    greeting = session.greeting('i', asked=True)
    assert sent == fx.Send(greeting)
    hello = orjson.loads(orjson.dumps(hello_fields(greeting)))
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
    *_, pieces = session.receive(ops.Hello('i', pieces=True), START)
    assert pieces == fx.TakesPieces()
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
        fx.RunDiagnosis('i', topic, name, 'publish')]


def test_status() -> None:
    session = make()
    done = replies.StatusWatched('i', True)
    assert session.receive(ops.WatchStatus('i', True), START) == [fx.Send(done), fx.StatusWanted()]
    assert session.wants_status
    done = replies.StatusWatched('i', False)
    assert session.receive(ops.WatchStatus('i', False), START) == [fx.Send(done)]
    assert not session.wants_status


def test_peer_status_is_shown() -> None:
    session = make()
    assert session.receive(ops.PeerStatus('i', {'hidden': True}), START) == [fx.PeerChanged()]
    assert session.reported_status == {'hidden': True}


def test_malformed_frame_gets_its_error() -> None:
    op = ops.Malformed('i', BadField('no', field='data.x'))
    assert refusal(make().receive(op, START)) == ('i', 'bad_field', 'data.x')


@pytest.mark.parametrize('op', [
    ops.BinarySample(1, 'cdr', memoryview(b''), 0, 0), ops.Appeared({})])
def test_what_nobody_asked_for_is_refused(op: ops.Operation) -> None:
    assert refusal(make().receive(op, START)) == (None, 'not_advertised', None)


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
    assert isinstance(call, fx.CallService)
    assert refusal(session.resume(ops.Command('j', 'a b', {}), START))[:2] == ('j', 'bad_name')


@pytest.mark.parametrize('asked', ['c/msg/D', 'a/msg/C', 'c/msg/B', 'a/srv/C', 'B', ''])
def test_the_type_of_a_rule_is_the_only_one(asked: str) -> None:
    rules = (Rule('/t', msg_type='a/msg/B'), Rule('/other'))
    session = make(Exposure(rules, rules, rules, rules))
    for op in (ops.Subscribe('i', '/t', asked), ops.Advertise('i', '/t', asked),
               ops.AdvertiseService('i', '/t', asked), ops.AdvertiseAction('i', '/t', asked),
               ops.SendGoal('i', '/t', asked, {})):
        assert refusal(session.receive(op, START)) == ('i', 'type_mismatch', 'type')
    assert not session.subscriptions.names
    assert not session.publications.topics
    assert not session.services.hosted
    (effect,) = session.receive(ops.Subscribe('i', '/other', asked), START)
    assert effect.msg_type == asked or not asked    # type: ignore[union-attr]


@pytest.mark.parametrize(('kind', 'name', 'effect'), [
    (None, '/reset', fx.CallService), ('service', '/t', fx.CallService),
    (None, '/t', fx.OpenPublisher), ('topic', '/reset', fx.OpenPublisher)])
def test_kind_says_what_a_destination_is(kind: ops.Kind | None, name: str, effect: type) -> None:
    assert isinstance(make().receive(ops.Command('i', name, {}, kind), START)[0], effect)


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
    take_back = {'max_subscriptions': session.subscriptions.forget,
                 'max_advertisements': session.publications.forget,
                 'max_services': session.services.forget}[parameter]
    take_back('/a')
    assert not isinstance(session.receive(ask('/c'), START)[0], fx.Send)


@pytest.mark.parametrize(('parameter', 'ask', 'give_back'), [
    ('max_subscriptions', ops.Subscribe, ops.Unsubscribe),
    ('max_advertisements', ops.Advertise, ops.Unadvertise)])
def test_limits_count_the_keys_of_one_topic(parameter: str, ask: Any, give_back: Any) -> None:
    session = make(**{parameter: 2})  # type: ignore[arg-type]
    for key in ('k1', 'k2', 'k1'):
        assert not isinstance(session.receive(ask('i', '/a', key=key), START)[0], fx.Send)
    assert refusal(session.receive(ask('i', '/a', key='k3'), START)) == \
        ('i', 'limit_exceeded', None)
    session.receive(give_back('i', '/a', 'k1'), START)
    assert not isinstance(session.receive(ask('i', '/a', key='k3'), START)[0], fx.Send)
    assert len(session.close()) == 1


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
        ops.BinarySample(1, 'cdr', memoryview(b''), 0, 0), ops.Heartbeat('i', None),
        ops.Malformed('i', BadField('x')), ops.ServiceAnswer('i', 'c'), ops.PeerStatus('i', {}),
        ops.Appeared({}), ops.Inquire('i', 's', 'topics', {}), ops.Authenticate('i', {}),
        ops.ListGates('i'), ops.LeaseOperation('i', 'acquire', 'g'), ops.EmergencyStop('i'),
        ops.ClearStop('i'), ops.GetParameters('i'), ops.SetParameters('i', {}),
        ops.WatchParameters('i'), ops.WatchConnections('i'), ops.FetchAsset('i', 'u'),
        ops.MakeTicket('i', 'r'), ops.ControlPlayback('i'), ops.PictureShown('i', 't', 1),
        ops.AddToTable('i', 0, 'a'), ops.Nothing(),
        ops.ComeBack('i', 'q', 's')]
    assert {type(op) for op in handled} == set(get_args(ops.Operation)) - action
    for op in handled:
        assert set(map(type, session.receive(op, START))) <= set(get_args(fx.Effect))


def test_a_secret_is_offered_where_sessions_wait() -> None:
    wanted = ops.Hello('i', resume=True)
    assert make().receive(wanted, START)[0] == fx.Send(make().greeting('i', asked=True))
    session = make(resume_time=5)
    assert session.receive(ops.Hello('i'), START)[0] == fx.Send(session.greeting('i', asked=True))
    assert session.receive(wanted, START) == [fx.OfferResume('i'), fx.PeerChanged()]
    assert 'resume' in hello_fields(session.greeting())['capabilities']
    assert hello_fields(session.greeting(secret='s'))['resume'] == {'secret': 's', 'time': 5}
    assert 'geheim' not in repr(session.greeting(secret='geheim'))
    assert 'geheim' not in repr(ops.ComeBack('i', 'q', 'geheim'))


def test_only_a_session_that_has_nothing_is_given_up_for_another() -> None:
    op = ops.ComeBack('i', 'q', 's')
    session = make()
    (effect,) = session.receive(op, START)
    assert effect == fx.ResumeSession(op)
    assert refusal(session.receive(ops.ComeBack('i', 'p', 's'), START))[1] == 'bad_field'
    for made in (ops.Subscribe('i', '/t'), ops.Advertise('i', '/t', 't'),
                 ops.Command('i', '/reset', {}, 'service'), ops.SendGoal('i', '/a', 't', {}),
                 ops.AdvertiseService('i', '/s', 't'), ops.AdvertiseAction('i', '/a', 't')):
        session = make()
        session.receive(made, START)
        assert refusal(session.receive(op, START))[1] == 'already_exists'


def busy() -> Session:
    """Return a session that has one of everything."""
    session = make()
    for op in (ops.Subscribe('i', '/t'), ops.Advertise('i', '/w', 't'),
               ops.Command('i', '/reset', {}, 'service'), ops.SendGoal('g', '/a', 't', {}),
               ops.AdvertiseService('i', '/s', 't'), ops.AdvertiseAction('i', '/b', 't')):
        session.receive(op, START)
    session.publications.opened('/w', 7, is_judged=False)
    return session


def test_what_does_not_wait_for_the_peer() -> None:
    """Nobody in ROS waits for a peer that has gone, and no goal goes on without it."""
    session = busy()
    assert session.leave() == [fx.Unhost('/s'), fx.UnhostAction('/b'), fx.AbandonGoal(1)]
    assert session.leave() == [fx.AbandonGoal(1)]
    (done,) = session.actions.ended(1, (5, b'{}'))
    assert done == fx.Send(replies.GoalDone('g', '/a', b'{}', 5))
    assert session.publications.channels() == [('/w', 7)]
    assert session.close() == [fx.CloseSubscription('/t', '/t'), fx.ClosePublisher('/w'),
                               fx.CancelCall(1)]


def test_who_comes_back_has_the_rights_of_the_new_login() -> None:
    session, new = busy(), make()
    new.receive(ops.Heartbeat('i', ns(EPOCH + START), 1), START + 1)
    new.heartbeats.number = 40
    new.login.rights = Rights(Policy(Exposure(subscribe=(Rule('/other'),))), OPERATOR)
    assert session.come_back(new, START + 2) == [
        fx.CloseSubscription('/t', '/t'), fx.ClosePublisher('/w')]
    assert (session.subscriptions.names, session.publications.topics) == ({}, {})
    assert session.login.rights is new.login.rights
    assert session.clock.timesync is new.clock.timesync
    assert session.heartbeats.liveness is new.heartbeats.liveness
    assert session.connected_at == START + 2
    assert session.heartbeats.make(0.0).sequence == 41
    assert session.come_back(make(), START + 3) == []


def test_an_echo_shows_what_has_arrived() -> None:
    session = make()
    heard: list[int] = []
    echo = ops.Heartbeat('i', None, None, (3, 0, 0))
    session.receive(echo, START)
    session.heartbeats.on_echo = heard.append
    session.receive(echo, START)
    session.receive(ops.Heartbeat('i', None), START)
    assert heard == [3]


class FakeGates(NoGates):
    """Guards one topic, and one service and action against every epoch but 7."""

    def guards(self, topic: str) -> bool:
        return topic == '/drive'

    def check(self, peer: str, lease_mode: LeaseMode, name: str, epoch: int | None) -> None:
        assert (peer, lease_mode) == ('p', 'native')
        if name == '/move' and epoch != 7:
            raise NotHolder('not now')


def test_the_age_of_a_guarded_command_is_the_gates_to_judge() -> None:
    session = make(gates=FakeGates())
    for topic, expected in (('/drive', True), ('/t', False)):
        session.receive(ops.Advertise(None, topic), START)
        session.publications.opened(topic, 4, is_judged=expected)
        old: list[Any] = [ops.Command('i', topic, {}, stamp=ns(START + EPOCH - 9), ttl=0.1),
                          binary(4, stamp=ns(START + EPOCH - 9), ttl=0.1)]
        for command in old:
            (effect,) = session.receive(command, START)
            assert (isinstance(effect, fx.Publish) and effect.command is command) == expected
            assert expected or refusal([effect])[1] == 'expired'


def test_the_gates_are_asked_once_for_a_topic() -> None:
    """From then on the bridge has told what its way has."""
    asked: list[str] = []

    class Counting(FakeGates):
        """Notes the topics."""

        def guards(self, topic: str) -> bool:
            asked.append(topic)
            return super().guards(topic)
    session = make(gates=Counting())
    command = ops.Command('i', '/drive', {}, stamp=ns(START + EPOCH - 9), ttl=0.1)
    opening, publication = session.receive(command, START)
    assert isinstance(opening, fx.OpenPublisher)
    session.publications.opened('/drive', 4, is_judged=True)
    for _ in range(3):
        assert session.receive(command, START) == [publication]
    assert asked == ['/drive']


def test_a_guarded_call_and_goal() -> None:
    session = make(gates=FakeGates())
    for kind in ('service', 'action'):
        command = ops.Command('i', '/move', {}, kind, epoch=6)  # type: ignore[arg-type]
        assert refusal(session.receive(command, START))[:2] == ('i', 'not_holder')
        assert len(session.services.calls) + len(session.actions.sent) == (kind == 'action')
        (effect,) = session.receive(replace(command, epoch=7), START)
        assert isinstance(effect, fx.CallService | fx.StartGoal)


def test_access_comes_before_the_gate() -> None:
    """Who may not send a goal does not learn whether a gate guards the action."""
    session = make(Exposure(), gates=FakeGates())
    for kind in ('service', 'action'):
        command = ops.Command('i', '/move', {}, kind, epoch=6)  # type: ignore[arg-type]
        assert refusal(session.receive(command, START)) == ('i', 'forbidden', 'destination')


def test_a_stop_is_never_too_much() -> None:
    session = make(max_message_rate=1.0)
    stop = ops.EmergencyStop('i', 'x')
    for _ in range(9):
        assert session.receive(stop, START) == [fx.ControlOperation(stop)]
    assert fx.ControlOperation(stop).op_id == 'i'
    assert refusal(session.receive(ops.ListGates('j'), START))[:2] == ('j', 'rate_limited')


def test_close_takes_everything_back_once() -> None:
    session = make()
    for op in (ops.Subscribe(None, '/a'), ops.Advertise(None, '/b'), ops.Command(None, '/c', {}),
               ops.AdvertiseService(None, '/s', 'a/S'), ops.Command(None, '/reset', {})):
        session.receive(op, START)
    session.publications.opened('/b', 1, is_judged=False)
    call_id = call_from_ros(session, 'token')
    (key,) = session.services.calls
    assert session.close() == [
        fx.CloseSubscription('/a', '/a'), fx.ClosePublisher('/b'), fx.ClosePublisher('/c'),
        fx.Unhost('/s'), fx.CancelCall(key)]
    assert session.close() == []
    assert session.services.ended(key, b'{}') == []
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
        session.subscriptions.forget('/a')
        session.publications.forget('/b')
        session.services.forget('/s')
    assert session.close() == []
    assert isinstance(session.receive(ops.Subscribe(None, '/z'), START)[0], fx.OpenSubscription)


def test_who_waits_for_a_failed_request() -> None:
    session = make()
    for op, about in (
            (ops.Command('i', '/a b', {}, 'service'), ops.About('call', '/a b')),
            (ops.Command('i', '/a b', {}, 'topic'), None),
            (ops.SendGoal('i', '/a b', None, {}), ops.About('goal', '/a b')),
            (ops.Malformed('i', TimedOut('x'), ops.About('call', '/s')), ops.About('call', '/s'))):
        assert failed(session.receive(op, START)).about == about
    (sent,) = session.receive(ops.Authenticate('i', {}), START)
    assert sent == fx.Send(replies.LoggedIn('i', None, 'admin', session.login.rights.allowed()))


def test_a_replay_is_controlled_and_plots_are_exported_by_whoever_may_look() -> None:
    span = replies.Span(1, 2)
    session = Session('p', 'native', settings=Settings(), exposure=Exposure.open(),
                      names=FakeNames(), now=START, unix_offset=EPOCH, playback=span)
    assert session.greeting().playback == span
    op, part = ops.ControlPlayback('i', True), ops.AddToTable('i', 0, 'time [s],a\n')
    assert session.receive(op, START) == [fx.SetPlayback(op)]
    assert session.receive(part, START) == [fx.AddToExport(part)]
    blind = Session('p', 'native', settings=Settings(), exposure=Exposure.open(),
                    names=FakeNames(), now=START, unix_offset=EPOCH,
                    login=Login(Rights(Policy(Exposure.open()), Role('blind'))))
    for each in (op, part):
        assert refusal(blind.receive(each, START))[1] == 'forbidden'
    assert blind.greeting().playback is None
