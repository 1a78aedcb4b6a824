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
"""One peer's session: the goals that it sends and the actions that it hosts."""
from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest
from support.sessions import FakeNames, make, refusal, START

from ws_bridge.config import Denial, Exposure, Rule
from ws_bridge.errors import Rejected
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.unix_time import SECOND
from ws_bridge.session import effects as fx
from ws_bridge.session.session import Session

TYPE = 'test_msgs/action/Fibonacci'


def send(session: Session, op_id: str | None = 'g', action: str = '/count', **fields: Any) -> Any:
    """Send a goal; return its one effect."""
    (effect,) = session.receive(ops.SendGoal(op_id, action, TYPE, {'order': 1}, **fields), START)
    return effect


def hosting(*, answers: bool = False, **parameters: object) -> Session:
    """Return a session that hosts ``/count``."""
    session = make(**parameters)
    session.receive(ops.AdvertiseAction('a', 'count', TYPE, answers), START)
    return session


def asked(session: Session, token: object = 1, now: float = START) -> tuple[str, list[fx.Effect]]:
    """Have ROS send a goal; return its name and the effects."""
    effects = session.actions.asked('/count', TYPE, token, b'{}', now)
    (goal_id,) = (effect.reply.goal_id for effect in effects
                  if isinstance(effect, fx.Send) and isinstance(effect.reply, replies.GoalRequest))
    return goal_id, effects


# ---- goals of the peer

def test_a_goal_from_its_sending_to_its_end() -> None:
    session = make()
    effect = send(session, action='count', want_feedback=False, timeout=9.0)
    assert effect == fx.StartGoal(effect.key, '/count', TYPE, {'order': 1}, False, 9.0)
    goals = session.actions
    assert goals.accepted(effect.key) == [fx.Send(replies.GoalAccepted('g', 'count'))]
    assert goals.feedback(effect.key, b'{}') == replies.GoalFeedback('g', 'count', b'{}')
    assert goals.ended(effect.key, (4, b'{"a":1}')) == [
        fx.Send(replies.GoalDone('g', 'count', b'{"a":1}', 4))]
    assert goals.accepted(effect.key) == []
    assert goals.feedback(effect.key, b'{}') is None
    assert goals.ended(effect.key, (4, b'{}')) == []


@pytest.mark.parametrize(('status', 'ok'), [(4, True), (5, False), (6, False)])
def test_only_success_is_ok(status: int, ok: bool) -> None:
    assert replies.GoalDone('g', '/count', b'{}', status).ok is ok


def test_a_goal_that_fails_says_what_it_was() -> None:
    session = make()
    error = Rejected('no')
    assert session.actions.ended(send(session).key, error) == [
        fx.Send(replies.Failed('g', error, ops.About('goal', '/count')))]


def test_a_command_is_a_goal_where_the_name_is_an_action() -> None:
    session = make()
    (effect,) = session.receive(
        ops.Command('g', '/count', {'order': 2}, 'action', timeout=3.0), START)
    assert isinstance(effect, fx.StartGoal)
    assert (effect.action_type, effect.data, effect.want_feedback, effect.timeout) == \
        (None, {'order': 2}, True, 3.0)
    nameless = session.receive(ops.Command(None, '/count', {}, 'action'), START)
    assert refusal(nameless) == (None, 'bad_field', 'metadata.message_id')
    expired = session.receive(
        ops.Command('h', '/count', {}, 'action', stamp=SECOND, ttl=1.0), START)
    assert refusal(expired) == ('h', 'expired', 'ttl')


def test_the_graph_says_what_is_an_action(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeNames, 'kind_of', lambda names, name: 'action')
    session = make(max_message_rate=1)
    command = ops.Command('g', '/count', {})
    (effect,) = session.receive(command, START)
    assert isinstance(effect, fx.StartGoal)
    answers = [session.receive(command, START) for _ in range(9)]
    assert refusal(answers[-1])[:2] == ('g', 'rate_limited')


def test_feedback_that_comes_too_fast_is_refused_by_count() -> None:
    session = make(max_message_rate=1)
    answers = [session.receive(ops.ActionFeedback('f', 'x', {}), START) for _ in range(9)]
    assert [len(effects) for effects in answers][-1] == 0
    assert session.allowance.refused > 0


def test_timeout_of_the_mapping_file() -> None:
    session = make(Exposure(call=(Rule('/*', msg_type='std_srvs/srv/Trigger', timeout=7.0),)))
    (effect,) = session.receive(ops.SendGoal('g', '/count', None, {}), START)
    assert (effect.action_type, effect.timeout) == (None, 7.0)


def test_goals_that_are_refused() -> None:
    session = make(Exposure(call=(Rule('*'),), deny=(Denial('/secret'),)), max_goals=2)
    for action, code, field in (('/secret', 'forbidden', 'destination'),
                                ('a b', 'bad_name', 'topic')):
        assert refusal(session.receive(ops.SendGoal('g', action, TYPE, {}), START)) == \
            ('g', code, field)
    send(session, 'one')
    assert refusal(session.receive(ops.SendGoal('one', '/count', TYPE, {}), START)) == \
        ('one', 'already_exists', None)
    send(session, None)
    assert refusal(session.receive(ops.SendGoal('three', '/count', TYPE, {}), START)) == \
        ('three', 'limit_exceeded', None)
    session.actions.ended(1, Rejected(''))
    send(session, 'one')


def test_goals_without_a_name_are_not_the_same() -> None:
    session = make()
    assert send(session, None).key != send(session, None).key


def test_cancelling() -> None:
    session = make()
    key = send(session).key
    assert session.receive(ops.CancelGoal('c', 'g', 'count'), START) == [
        fx.RequestCancel('c', key, 'g')]
    assert session.receive(ops.CancelGoal(None, 'g'), START) == [fx.RequestCancel(None, key, 'g')]
    for op in (ops.CancelGoal('c', 'h'), ops.CancelGoal('c', 'g', '/other')):
        assert refusal(session.receive(op, START)) == ('c', 'expired', 'goal')
    session.actions.ended(key, (4, b'{}'))
    assert refusal(session.receive(ops.CancelGoal('c', 'g'), START)) == ('c', 'expired', 'goal')


# ---- actions of the peer

def test_hosting_and_giving_up() -> None:
    session = make()
    assert session.receive(ops.AdvertiseAction('a', 'count', TYPE), START) == [
        fx.HostAction('a', '/count', 'count', TYPE)]
    assert session.receive(ops.UnadvertiseAction('u', '/count'), START) == [
        fx.UnhostAction('/count'),
        fx.Send(replies.ActionUnadvertised('u', '/count'))]
    assert refusal(session.receive(ops.UnadvertiseAction('u', '/count'), START)) == \
        ('u', 'not_advertised', 'action')
    assert session.actions.asked('/count', TYPE, 1, b'{}', START) == []


def test_services_and_actions_share_a_bound() -> None:
    session = make(Exposure(host=(Rule('*'),), deny=(Denial('/secret'),)), max_services=2)
    session.receive(ops.AdvertiseAction('a', '/a', TYPE), START)
    session.receive(ops.AdvertiseService('s', '/s', 'x/srv/S'), START)
    for op in (ops.AdvertiseAction('b', '/b', TYPE), ops.AdvertiseService('b', '/b', 'x/srv/S')):
        assert refusal(session.receive(op, START))[:2] == ('b', 'limit_exceeded')
    assert len(session.receive(ops.AdvertiseAction('a', '/a', TYPE), START)) == 1
    assert refusal(session.receive(ops.AdvertiseAction('c', '/secret', TYPE), START)) == \
        ('c', 'forbidden', 'action')


def test_a_host_accepts_by_saying_nothing() -> None:
    session = hosting()
    goal_id, effects = asked(session)
    assert effects == [fx.AnswerGoal('/count', 1, True),
                       fx.Send(replies.GoalRequest(goal_id, 'count', TYPE, b'{}'))]
    assert session.deadline() is None
    assert refusal(session.receive(ops.GoalAnswer('x', goal_id, True), START)) == \
        ('x', 'expired', 'correlation_id')
    assert session.receive(ops.ActionFeedback('f', goal_id, {'a': 1}, '/count'), START) == [
        fx.Feedback('f', '/count', 1, {'a': 1})]
    assert session.receive(ops.ActionResult('r', goal_id, {'b': 2}), START) == [
        fx.EndGoal('r', '/count', 1, {'b': 2}, ops.STATUS_SUCCEEDED)]
    for op in (ops.ActionResult('r', goal_id), ops.ActionFeedback('r', goal_id, {}),
               ops.GoalAnswer('r', goal_id, False)):
        assert refusal(session.receive(op, START)) == ('r', 'expired', 'correlation_id')


@pytest.mark.parametrize(('status', 'ok', 'told'), [
    (None, True, 4), (None, False, 6), (4, True, 4), (5, False, 5), (6, True, 6)])
def test_how_a_goal_ends(status: int | None, ok: bool, told: int) -> None:
    session = hosting()
    goal_id, _ = asked(session)
    assert session.receive(ops.ActionResult('r', goal_id, None, status, ok), START) == [
        fx.EndGoal('r', '/count', 1, None, told)]


@pytest.mark.parametrize('accepted', [True, False])
def test_a_host_that_answers(accepted: bool) -> None:
    session = hosting(answers=True)
    goal_id, effects = asked(session)
    assert [type(effect) for effect in effects] == [fx.Send]
    assert session.receive(ops.GoalAnswer('x', goal_id, accepted), START) == [
        fx.AnswerGoal('/count', 1, accepted)]
    assert (goal_id in session.actions.working) is accepted
    assert session.deadline() is None


def test_feedback_and_results_accept_as_well() -> None:
    session = hosting(answers=True)
    first, _ = asked(session, 1)
    second, _ = asked(session, 2)
    assert session.receive(ops.ActionFeedback('f', first, {}), START) == [
        fx.AnswerGoal('/count', 1, True), fx.Feedback('f', '/count', 1, {})]
    assert session.receive(ops.ActionFeedback('f', first, {}), START) == [
        fx.Feedback('f', '/count', 1, {})]
    assert session.receive(ops.ActionResult('r', second), START) == [
        fx.AnswerGoal('/count', 2, True), fx.EndGoal('r', '/count', 2, None, 4)]


def test_an_error_of_the_host_rejects_or_aborts() -> None:
    session = hosting(answers=True)
    first, _ = asked(session, 1)
    second, _ = asked(session, 2)
    session.receive(ops.GoalAnswer(None, first, True), START)
    assert session.receive(ops.ServiceAnswer('e', first, error='broken'), START) == [
        fx.EndGoal(None, '/count', 1, None, ops.STATUS_ABORTED)]
    assert session.receive(ops.ServiceAnswer('e', second, error='no'), START) == [
        fx.AnswerGoal('/count', 2, False)]
    assert session.receive(ops.ServiceAnswer('e', second, error='no'), START) == [fx.Ignored()]


def test_an_answer_to_a_call_does_not_end_a_goal() -> None:
    session = hosting()
    goal_id, _ = asked(session)
    assert refusal(session.receive(ops.ServiceAnswer('s', goal_id, {}), START)) == \
        ('s', 'expired', 'correlation_id')
    assert goal_id in session.actions.working


def test_a_host_that_does_not_answer_in_time_rejects() -> None:
    session = hosting(answers=True, call_timeout=2.0)
    asked(session, 1)
    late, _ = asked(session, 2, START + 1)
    assert session.deadline() == START + 2
    assert session.poll(START + 2) == [fx.AnswerGoal('/count', 1, False)]
    assert list(session.actions.working) == [late]


def test_a_goal_shall_end() -> None:
    session = hosting()
    session.receive(ops.AdvertiseAction('b', '/other', TYPE), START)
    session.actions.asked('/other', TYPE, 1, b'{}', START)
    goal_id, _ = asked(session)
    assert session.actions.cancelled('/count', 1) == [
        fx.Send(replies.GoalCancel(goal_id, 'count'))]
    assert session.actions.cancelled('/count', 2) == []


def test_goals_to_work_on_are_bounded() -> None:
    session = hosting(max_goals=1)
    asked(session, 1)
    rejected, told = session.actions.asked('/count', TYPE, 2, b'{}', START)
    assert rejected == fx.AnswerGoal('/count', 2, False)
    assert refusal([told])[:2] == (None, 'limit_exceeded')


def test_only_the_named_action_is_answered_for() -> None:
    session = hosting()
    goal_id, _ = asked(session)
    for op in (ops.ActionFeedback('x', goal_id, {}, '/other'),
               ops.ActionResult('x', goal_id, action='/other')):
        assert refusal(session.receive(op, START)) == ('x', 'expired', 'correlation_id')
    assert len(session.receive(ops.ActionResult('x', goal_id, action='count'), START)) == 1


def test_another_peer_cannot_answer() -> None:
    goal_id, _ = asked(hosting())
    assert refusal(make().receive(ops.ActionResult('x', goal_id), START)) == \
        ('x', 'expired', 'correlation_id')


def test_forgotten_work_keeps_the_action() -> None:
    session = hosting()
    asked(session)
    session.actions.forget_goals('/count')
    assert (session.actions.working, list(session.actions.hosted)) == ({}, ['/count'])
    session.actions.forget('/count')
    assert not session.actions.hosted


# ---- end

def test_a_session_that_ends_takes_everything_back() -> None:
    session = hosting()
    key = send(session).key
    asked(session)
    assert session.close() == [fx.DropGoal(key), fx.UnhostAction('/count')]
    assert session.close() == []
    assert session.actions.ended(key, (4, b'{}')) == []
    assert session.deadline() is None


goal_ids = st.sampled_from(['g', 'h', 'p-goal-1', 'p-goal-2', ''])
actions = st.sampled_from(['/count', 'count', '/other', 'a b'])
operations = st.one_of(
    st.builds(ops.SendGoal, goal_ids | st.none(), actions, st.none(), st.none()),
    st.builds(ops.CancelGoal, st.just('c'), goal_ids, actions | st.none()),
    st.builds(ops.AdvertiseAction, st.just('a'), actions, st.just(TYPE), st.booleans()),
    st.builds(ops.UnadvertiseAction, st.just('u'), actions),
    st.builds(ops.GoalAnswer, st.just('x'), goal_ids, st.booleans()),
    st.builds(ops.ActionFeedback, st.just('f'), goal_ids, st.none(), actions | st.none()),
    st.builds(ops.ActionResult, st.just('r'), goal_ids, st.none(),
              st.sampled_from([None, 4, 5, 6, 99])),
    st.builds(ops.ServiceAnswer, st.just('s'), goal_ids, error=st.just('x')),
    st.sampled_from(['/count', '/other']))  # ROS sends a goal


@given(st.lists(operations, max_size=30), st.booleans())
def test_whatever_comes_in_whatever_order(steps: list[Any], answers: bool) -> None:
    """Each goal from ROS is answered at most once, ended only if accepted; bounds are kept."""
    session = hosting(answers=answers, max_goals=3, max_services=2)
    accepted: dict[object, bool] = {}
    ended: set[object] = set()
    for number, step in enumerate(steps):
        effects = session.actions.asked(step, TYPE, number, b'{}', START) \
            if isinstance(step, str) else session.receive(step, START)
        for effect in effects:
            if isinstance(effect, fx.AnswerGoal):
                assert effect.token not in accepted
                accepted[effect.token] = effect.accepted
            if isinstance(effect, (fx.Feedback, fx.EndGoal)):
                assert accepted[effect.token]
                assert effect.token not in ended
            if isinstance(effect, fx.EndGoal):
                ended.add(effect.token)
        goals = session.actions
        assert len(goals.sent) <= 3
        assert len(goals.working) <= 3
        assert len(goals.hosted) <= 2
        assert {work.action for work in goals.working.values()} <= set(goals.hosted)
    assert len(session.close()) <= 5
    assert not (session.actions.sent or session.actions.working or session.actions.hosted)
