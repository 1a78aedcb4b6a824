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
"""Several wishes of one peer for a topic, several advertisements, what sessions do with both."""
from __future__ import annotations

from typing import Any

import pytest
from support.sessions import failed, make, START

from ws_bridge.errors import TimedOut
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.session import effects as fx
from ws_bridge.session.merger import SubscriptionMerger
from ws_bridge.session.services import MAX_QUESTIONS
from ws_bridge.session.session import Session


def subscribe(session: Session, key: str | None, **options: Any) -> fx.OpenSubscription:
    """Subscribe to /t; return what is opened."""
    (effect,) = session.receive(ops.Subscribe(key, '/t', key=key, **options), START)
    assert isinstance(effect, fx.OpenSubscription)
    return effect


def unsubscribe(session: Session, key: str | None) -> list[fx.Effect]:
    return session.receive(ops.Unsubscribe('u', '/t', key), START)


DONE = fx.Send(ops.Done('u', 'unsubscribe', {'topic': '/t'}))


def test_wishes_are_served_together() -> None:
    session = make(queue_depth=4)
    first = subscribe(session, 'a', msg_type='x/Y', min_interval=0.5, queue_depth=9,
                      fragment_size=100, qos=QosRequest(depth=2))
    assert first.fresh
    both = subscribe(session, 'b', encoding='cbor', min_interval=0.2, fragment_size=300)
    assert both.fresh
    assert (both.op_id, both.key) == ('b', 'b')
    assert (both.msg_type, both.encoding, both.min_interval, both.queue_depth,
            both.fragment_size, both.qos) == \
        ('x/Y', 'cbor', 0.2, 9, 100, QosRequest(depth=2))
    again = subscribe(session, 'a', min_interval=1.0)
    assert not again.fresh
    assert (again.min_interval, again.queue_depth, again.fragment_size) == (0.2, 4, 300)
    (rest, done) = unsubscribe(session, 'b')
    assert done == DONE
    assert isinstance(rest, fx.OpenSubscription)
    assert (rest.op_id, rest.fresh, rest.min_interval, rest.encoding) == (None, False, 1.0, 'json')
    assert unsubscribe(session, 'a') == [fx.CloseSubscription('/t', '/t'), DONE]
    assert failed(unsubscribe(session, 'a')).error.code == 'not_advertised'


@pytest.mark.parametrize('encodings', [('json', 'png', 'cbor', 'cbor-raw')])
def test_the_strongest_encoding_counts(encodings: tuple[ops.Encoding, ...]) -> None:
    session = make()
    seen = [subscribe(session, name, encoding=name).encoding for name in reversed(encodings)]
    assert seen == ['cbor-raw'] * 4
    assert [subscribe(make(), name, encoding=name).encoding for name in encodings] == \
        list(encodings)


def test_unsubscribing_without_a_key_ends_all() -> None:
    session = make()
    for key in 'ab':
        subscribe(session, key)
    assert unsubscribe(session, None) == [fx.CloseSubscription('/t', '/t'), DONE]
    assert subscribe(session, 'b').fresh


def test_unknown_key_is_an_error_and_changes_nothing() -> None:
    session = make()
    subscribe(session, 'a')
    reply = failed(unsubscribe(session, 'x'))
    assert (reply.error.code, reply.error.field) == ('not_advertised', 'id')
    assert '/t' in session.subscriptions.names


def test_wish_without_a_key_takes_the_place_of_all() -> None:
    session = make()
    subscribe(session, 'a', min_interval=0.1)
    only = subscribe(session, None, min_interval=2.0)
    assert (only.min_interval, only.fresh) == (2.0, False)
    assert unsubscribe(session, None)[0] == fx.CloseSubscription('/t', '/t')


def test_refused_wish_is_forgotten_and_the_others_stand() -> None:
    session = make()
    subscribe(session, 'a', min_interval=1.0)
    subscribe(session, 'b')
    session.subscriptions.forget_key('/t', 'b')
    session.subscriptions.forget_key('/t', None)
    session.subscriptions.forget_key('/other', 'b')
    assert subscribe(session, 'a', min_interval=1.0).min_interval == 1.0
    session.subscriptions.forget('/t')
    assert subscribe(session, 'b', min_interval=3.0).min_interval == 3.0
    assert repr(SubscriptionMerger()) == 'SubscriptionMerger(0 for 0 names)'


def test_several_advertisements_of_one_topic() -> None:
    session = make()

    def unadvertise(key: str | None) -> list[fx.Effect]:
        return session.receive(ops.Unadvertise('u', '/t', key), START)
    done = fx.Send(ops.Done('u', 'unadvertise', {'topic': '/t'}))
    for key in 'ab':
        session.receive(ops.Advertise(key, '/t', 'x/Y', key=key), START)
    assert unadvertise('a') == [done]
    assert unadvertise('b') == [fx.ClosePublisher('/t'), done]
    for key in 'ab':
        session.receive(ops.Advertise(key, '/t', 'x/Y', key=key), START)
    assert unadvertise(None) == [fx.ClosePublisher('/t'), done]


def test_hosting_again_forgets_the_calls_of_the_older_advertisement() -> None:
    session = make()
    session.receive(ops.AdvertiseService(None, '/s', 'a/S'), START)
    (sent,) = session.services.called('/s', 1, b'{}', START)
    assert isinstance(sent, fx.Send)
    assert isinstance(sent.reply, ops.ServiceCall)
    session.receive(ops.AdvertiseService(None, '/s', 'a/S'), START)
    answer = ops.ServiceAnswer('i', sent.reply.call_id, {})
    assert failed(session.receive(answer, START)).error.code == 'expired'


def test_questions_wait_for_their_turn() -> None:
    session = make(max_calls=2, call_timeout=3.0)

    def ask(op_id: str, **options: Any) -> list[fx.Effect]:
        return session.receive(ops.Inquire(op_id, '/rosapi/nodes', 'nodes', {}, **options), START)
    assert ask('i') == [fx.Inquire(1, 'nodes', {}, 3.0)]
    assert ask('j', timeout=1.0) == [fx.Inquire(2, 'nodes', {}, 1.0)]
    assert [ask(name) for name in 'kl'] == [[], []]
    late = TimedOut('late')
    assert session.services.ended(1, late) == [
        fx.Send(ops.Failed('i', late, ops.About('call', '/rosapi/nodes'))),
        fx.Inquire(3, 'nodes', {}, 3.0)]
    assert session.services.ended(3, b'{}') == [
        fx.Send(ops.CallDone('k', '/rosapi/nodes', b'{}')), fx.Inquire(4, 'nodes', {}, 3.0)]
    assert session.services.ended(3, b'{}') == []
    for _ in range(MAX_QUESTIONS):
        assert ask('m') == []
    refused = failed(ask('n'))
    assert (refused.op_id, refused.error.code) == ('n', 'limit_exceeded')
    assert refused.about == ops.About('call', '/rosapi/nodes')
    assert session.close() == [fx.CancelCall(2), fx.CancelCall(4)]
    assert session.services.ended(2, b'{}') == []


def test_who_waits_for_a_failed_request() -> None:
    session = make()
    for op, about in (
            (ops.Command('i', '/a b', {}, 'service'), ops.About('call', '/a b')),
            (ops.Command('i', '/a b', {}, 'topic'), None),
            (ops.SendGoal('i', '/a b', None, {}), ops.About('goal', '/a b')),
            (ops.Malformed('i', TimedOut('x'), ops.About('call', '/s')), ops.About('call', '/s'))):
        assert failed(session.receive(op, START)).about == about
    (sent,) = session.receive(ops.Authenticate('i', {}), START)
    assert sent == fx.Send(ops.Done('i', 'auth', session.login.describe()))
