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
"""The login of a session: what is refused before it, what holds after it, when it ends."""
from __future__ import annotations

from typing import get_args

import pytest
from support.sessions import EPOCH, failed, FakeNames, refusal, START

from ws_bridge.config import Exposure, settings_from
from ws_bridge.config.roles import ADMIN, BUILT_IN, Grant, NOBODY, OPERATOR, Role
from ws_bridge.identity.identity import Identity
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.session import effects as fx
from ws_bridge.session.login import Login
from ws_bridge.session.rights import Policy, Rights
from ws_bridge.session.session import Session

POLICY = Policy(Exposure.open())
ALICE = Identity('alice', 'operator', 'token')


def make(login: Login, exposure: Exposure | None = None) -> Session:
    """Return a session with a login."""
    return Session('p', 'native', settings=settings_from({'robot_name': 'demo'}),
                   exposure=exposure or Exposure.open(), names=FakeNames(), now=START,
                   unix_offset=EPOCH, login=login)


def unauthenticated(until: float = START + 5) -> Session:
    """Return the session of who has to log in."""
    return make(Login(Rights(POLICY, NOBODY), until=until, possible=True))


EVERYTHING: list[ops.Operation] = [
    ops.Hello('i', 'page'), ops.Hello('i', 'bridge', greeting=True), ops.ListNames('i'),
    ops.GetSchema('i', 't'), ops.Diagnose('i', '/t'), ops.Subscribe('i', '/t'),
    ops.Unsubscribe('i', '/t'),
    ops.Advertise('i', '/t', 't'), ops.Unadvertise('i', '/t'),
    ops.AdvertiseService('i', '/s', 't'), ops.UnadvertiseService('i', '/s'),
    ops.SendGoal('i', '/a', 't', {}), ops.CancelGoal('i', 'g'),
    ops.AdvertiseAction('i', '/a', 't'), ops.UnadvertiseAction('i', '/a'),
    ops.GoalAnswer('i', 'g', True), ops.ActionFeedback('i', 'g', {}), ops.ActionResult('i', 'g'),
    ops.WatchStatus('i', True), ops.Command('i', '/t', {}), ops.Inquire('i', 's', 'topics', {}),
    ops.BinaryPublish(1, 'cdr', memoryview(b''), 0, 0),
    ops.BinarySample(1, 'cdr', memoryview(b''), 0, 0), ops.ServiceAnswer('i', 'c'),
    ops.Heartbeat('i', None), ops.PeerStatus('i', {}), ops.Appeared({}),
    ops.EmergencyStop('i', ''), ops.ClearStop('i'), ops.LeaseOperation('i', 'take', 'g'),
    ops.ListGates('i'), ops.MakeTicket('i', 'r'), ops.GetParameters('i'),
    ops.SetParameters('i', {}), ops.WatchParameters('i'), ops.WatchConnections('i'),
    ops.FetchAsset('i', 'u'), ops.ControlPlayback('i'), ops.PictureShown('i', '/t', 1),
    ops.AddToTable('i', 0, 'a'), ops.Nothing(),
    ops.ComeBack('i', 'q', 's')]


def test_everything_is_here() -> None:
    assert {type(op) for op in EVERYTHING} == \
        set(get_args(ops.Operation)) - {ops.Authenticate, ops.Malformed}


@pytest.mark.parametrize('op', EVERYTHING, ids=lambda op: type(op).__name__)
def test_nothing_is_done_before_the_login(op: ops.Operation) -> None:
    session = unauthenticated()
    assert refusal(session.receive(op, START))[1] == 'forbidden'
    assert session.name == ''
    assert session.heartbeats.liveness is None
    assert not session.wants_status


def test_login() -> None:
    session = unauthenticated()
    greeting = session.greeting()
    assert (greeting.login, greeting.role) == ('needed', 'nobody')
    assert greeting.allowed == {
        'subscribe': [], 'publish': [], 'call': [], 'host': [], 'deny': []}
    assert greeting.control is None
    (asked,) = session.receive(ops.Authenticate('i', {'token': 'secret'}), START)
    assert asked == fx.LogIn('i', {'token': 'secret'})
    assert 'secret' not in repr(asked)
    sent, changed = session.login.succeeded('i', ALICE, Rights(POLICY, OPERATOR), None)
    assert isinstance(changed, fx.PeerChanged)
    assert sent == fx.Send(replies.LoggedIn(
        'i', 'alice', 'operator', session.greeting().allowed))
    assert session.greeting().login == 'done'
    assert session.greeting().control == replies.ControlState(
        [], replies.StopState(False, None, ''))
    assert session.deadline() is None
    assert isinstance(session.receive(ops.Subscribe('j', '/t'), START)[0], fx.OpenSubscription)
    assert refusal(session.receive(ops.Authenticate('k', {}), START)) == (
        'k', 'already_exists', None)


def test_one_failed_login_is_enough() -> None:
    session = unauthenticated()
    session.login.is_refused = True
    assert refusal(session.receive(ops.Authenticate('k', {}), START))[1] == 'forbidden'


@pytest.mark.parametrize(('identity', 'why'), [(None, 'no login in time'),
                                               (ALICE, 'login expired')])
def test_the_time_of_a_login_ends(identity: Identity | None, why: str) -> None:
    session = unauthenticated(START + 5)
    if identity is not None:
        session.login.succeeded(None, identity, Rights(POLICY, OPERATOR), START + 5)
    assert session.deadline() == START + 5
    assert session.poll(START + 4.9) == []
    assert session.poll(START + 5) == [fx.Dismiss(1008, why)]
    assert session.poll(START + 6) == []


def test_states() -> None:
    rights = Rights(POLICY, OPERATOR)
    assert Login(rights).state == 'none'
    assert Login(rights, possible=True).state == 'possible'
    assert Login(rights, ALICE, possible=True).state == 'done'


def test_what_is_about_no_name_is_for_who_is_known_or_near() -> None:
    for login, may in ((Login(Rights(POLICY, ADMIN)), True),
                       (Login(Rights(POLICY, ADMIN), ALICE, is_near=False), True),
                       (Login(Rights(POLICY, ADMIN), is_near=False), False),
                       (Login(Rights(POLICY, OPERATOR), ALICE), False)):
        session = make(login)
        assert ('clear_stop' in session.greeting().uses) is login.may('clear_stop') is may
        assert login.may('publish')


def test_who_has_no_right_at_all() -> None:
    for role, uses in ((NOBODY, {'graph', 'call'}), (BUILT_IN['observer'], {'call'}),
                       (Role('r', (Grant('*'),), (Grant('*', 'call'),)), {'call'}),
                       (Role('r', (Grant('*'),), (Grant('/x', 'call'),)), set()),
                       (Role('r', (Grant('/x', 'graph'),)), {'call'})):
        assert {use for use in ('graph', 'call') if not role.may_at_all(use)} == uses
    session = unauthenticated()
    session.login.succeeded(None, ALICE, Rights(POLICY, Role('r', (Grant('*', 'call'),))), None)
    for op in (ops.ListNames('i'), ops.GetSchema('i', 't'), ops.Diagnose('i', 't')):
        assert refusal(session.receive(op, START)) == ('i', 'forbidden', None)


def test_a_denied_service_is_refused_as_one_that_is_not_there(
        monkeypatch: pytest.MonkeyPatch) -> None:
    session = make(Login(Rights(POLICY, Role('r', (Grant('/x', 'call'),)))))
    errors = [failed(session.receive(ops.Command('i', name, {}, 'service'), START)).error
              for name in ('/reset', '/nothing')]
    assert [(error.code, error.message.replace('/reset', '').replace('/nothing', ''))
            for error in errors] == [('forbidden', ' is not exposed for call')] * 2
    # Nor does the error tell what there is, where the peer leaves that open; the graph is asked
    # again for neither, but for what it may use: else a flood of these costs the loop its time.
    errors = [failed(session.receive(ops.Command('i', name, {}), START)).error
              for name in ('/reset', '/nothing')]
    monkeypatch.setattr(FakeNames, 'kind_of', lambda names, name: None)
    (effect,) = session.receive(ops.Command('i', '/x', {}), START)
    assert type(effect) is fx.LookAgain
    assert [error.message.replace('/reset', '/nothing') for error in errors] == [
        '/nothing is not exposed for publish'] * 2


@pytest.mark.parametrize(('other', 'is_same'), [
    (Login(Rights(POLICY, OPERATOR), ALICE, until=9.0), True),
    (Login(Rights(POLICY, OPERATOR), Identity('alice', 'operator', 'token', 99.0)), True),
    (Login(Rights(POLICY, OPERATOR), Identity('bob', 'operator', 'token')), False),
    (Login(Rights(POLICY, OPERATOR), Identity('alice', 'operator', 'relay')), False),
    (Login(Rights(POLICY, ADMIN), ALICE), False),
    (Login(Rights(POLICY, OPERATOR)), False)])
def test_who_is_the_same(other: Login, is_same: bool) -> None:
    login = Login(Rights(POLICY, OPERATOR), ALICE)
    assert login.is_of_same(other) is is_same
    assert other.is_of_same(login) is is_same


def test_a_login_that_takes_over_another() -> None:
    old = Login(Rights(POLICY, OPERATOR), ALICE, until=1.0, is_refused=True)
    new = Login(Rights(POLICY, OPERATOR), ALICE, until=9.0, possible=True, is_near=False)
    old.take_over(new)
    assert old == new
