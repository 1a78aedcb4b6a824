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
"""Several subscriptions of one peer to one topic, by keys of their own."""
from __future__ import annotations

from typing import Any

import pytest
from support.sessions import failed, make, refusal, START

from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.session import effects as fx
from ws_bridge.session.merger import SubscriptionMerger
from ws_bridge.session.session import Session


def subscribe(session: Session, key: str | None, **options: Any) -> fx.OpenSubscription:
    """Subscribe to /t; return what is opened."""
    (effect,) = session.receive(ops.Subscribe(key, '/t', key=key, **options), START)
    assert isinstance(effect, fx.OpenSubscription)
    return effect


def unsubscribe(session: Session, key: str | None) -> list[fx.Effect]:
    return session.receive(ops.Unsubscribe('u', '/t', key), START)


DONE = fx.Send(replies.Unsubscribed('u', '/t'))


def test_subscriptions_are_served_together() -> None:
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


def test_one_without_a_key_takes_the_place_of_all() -> None:
    session = make()
    subscribe(session, 'a', min_interval=0.1)
    only = subscribe(session, None, min_interval=2.0)
    assert (only.min_interval, only.fresh) == (2.0, False)
    assert unsubscribe(session, None)[0] == fx.CloseSubscription('/t', '/t')


def test_another_type_is_refused_and_the_first_stands() -> None:
    session = make()
    subscribe(session, 'a', msg_type='std_msgs/msg/Int32')
    (answer,) = session.receive(
        ops.Subscribe('i', '/t', msg_type='std_msgs/msg/Bool', key='b'), START)
    assert failed([answer]).error.code == 'type_mismatch'
    assert subscribe(session, 'b').msg_type == 'std_msgs/msg/Int32'
    assert unsubscribe(session, 'b')[0].msg_type == 'std_msgs/msg/Int32'
    assert subscribe(session, 'a', msg_type='std_msgs/msg/Bool').msg_type == 'std_msgs/msg/Bool'


def test_a_refused_one_is_forgotten_and_the_others_stand() -> None:
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


def test_several_subscriptions_to_a_topic_are_one_delivery() -> None:
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
    session.subscriptions.forget_key('/a', 'none')
    assert session.receive(ops.Unsubscribe('j', '/a'), START) == [
        fx.CloseSubscription('/a', '/a'), done]
