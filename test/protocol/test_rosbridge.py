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
"""Test the codec of rosbridge v2: each operation both ways, and what is refused."""
from __future__ import annotations

import base64
import io
import json
from typing import Any

import cbor2
import orjson
import pytest
from support.frames import one

from ws_bridge.config import Limits
from ws_bridge.convert.cbor import cbor_values
from ws_bridge.errors import (
    BadField,
    BadFrame,
    Expired,
    Forbidden,
    OutOfRange,
    QosMismatch,
    UnknownField,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import png, replies
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.fragment import MAX_AGE, MAX_PARTIAL, MAX_PARTS_OUT, splitter
from ws_bridge.protocol.qos import MAX_DEPTH, QosRequest
from ws_bridge.protocol.rosbridge import MOST_WARNINGS, RosbridgeDialect
from ws_bridge.protocol.rosbridge_ops import Handed, MAX_TIMEOUT
from ws_bridge.protocol.unix_time import nanoseconds, SECOND

LIMIT = 10_000
ROBOT_STATE = replies.RobotState(
    replies.SharedState('robot', 1.0, [], [], [], 0), replies.LinkState('p', 0, 0))


@pytest.fixture
def dialect() -> RosbridgeDialect:
    """Give a codec with a limit of 10,000 bytes."""
    return RosbridgeDialect(LIMIT, cbor_values)


def decode(dialect: RosbridgeDialect, now: float = 0.0, **fields: Any) -> Any:
    """Decode one operation."""
    return one(dialect.decode(json.dumps(fields), now))


def error(dialect: RosbridgeDialect, now: float = 0.0, **fields: Any) -> tuple[str, str | None]:
    """Return code and field of what is wrong with an operation."""
    op = decode(dialect, now, **fields)
    assert isinstance(op, ops.Malformed), op
    return op.error.code, op.error.field


def encode(dialect: RosbridgeDialect, reply: replies.Reply) -> Any:
    """Return what a client is told, ``None`` for nothing."""
    frames = dialect.encode(reply, 1_500_000_000)
    assert len(frames) < 2
    assert all(frame.text for frame in frames)
    return json.loads(frames[0].data) if frames else None


# ---- what a client sends

@pytest.mark.parametrize(('fields', 'op'), [
    ({'op': 'publish', 'topic': '/t', 'msg': {'x': 1}},
     ops.Command(None, '/t', {'x': 1}, 'topic')),
    ({'op': 'publish', 'topic': '/t', 'id': 'p:1', 'latch': False, 'type': 'a/B'},
     ops.Command('"p:1"', '/t', {}, 'topic')),
    ({'op': 'subscribe', 'topic': '/t'},
     ops.Subscribe(None, '/t', None, 'json', 0.0, key='')),
    ({'op': 'subscribe', 'topic': '/t', 'type': 'a/B', 'id': 7, 'throttle_rate': 250,
      'queue_length': 3, 'fragment_size': 100, 'compression': 'cbor', 'qos': {'depth': 4}},
     ops.Subscribe('7', '/t', 'a/B', 'cbor', 0.25, 3, QosRequest(depth=4), key='7',
                   fragment_size=100)),
    ({'op': 'subscribe', 'topic': '/t', 'type': '', 'queue_length': 10**9, 'compression': None,
      'fragment_size': None},
     ops.Subscribe(None, '/t', None, 'json', 0.0, MAX_DEPTH, key='')),
    ({'op': 'unsubscribe', 'topic': '/t', 'id': 's'}, ops.Unsubscribe('"s"', '/t', '"s"')),
    ({'op': 'unsubscribe', 'topic': '/t'}, ops.Unsubscribe(None, '/t', None)),
    ({'op': 'advertise', 'topic': '/t', 'type': 'a/B'},
     ops.Advertise(None, '/t', 'a/B', None, '')),
    ({'op': 'advertise', 'topic': '/t', 'type': 'a/B', 'queue_size': 5, 'latch': False},
     ops.Advertise(None, '/t', 'a/B', QosRequest(depth=5), '')),
    ({'op': 'advertise', 'topic': '/t', 'type': 'a/B', 'queue_size': 5, 'latch': True, 'id': 'a'},
     ops.Advertise('"a"', '/t', 'a/B', QosRequest(depth=1, durability='transient_local'), '"a"')),
    ({'op': 'advertise', 'topic': '/t', 'qos': {'durability': 'volatile'}, 'latch': True},
     ops.Advertise(None, '/t', None, QosRequest(durability='volatile'), '')),
    ({'op': 'advertise', 'topic': '/t', 'qos': {'reliability': 2, 'depth': 7}, 'latch': True},
     ops.Advertise(None, '/t', None, QosRequest(
         depth=7, reliability='best_effort', durability='transient_local'), '')),
    ({'op': 'unadvertise', 'topic': '/t', 'id': 'a'}, ops.Unadvertise('"a"', '/t', '"a"')),
    ({'op': 'call_service', 'service': '/s', 'id': 'c', 'type': 'ignored'},
     ops.Command('"c"', '/s', {}, 'service')),
    ({'op': 'call_service', 'service': '/s', 'args': [1, 'x'], 'timeout': 2},
     ops.Command(None, '/s', (1, 'x'), 'service', timeout=2.0)),
    ({'op': 'call_service', 'service': '/s', 'args': {'a': 1}, 'timeout': 0},
     ops.Command(None, '/s', {'a': 1}, 'service', timeout=MAX_TIMEOUT)),
    ({'op': 'call_service', 'service': 'rosapi/topics', 'id': 'c'},
     ops.Inquire('"c"', 'rosapi/topics', 'topics', {})),
    ({'op': 'call_service', 'service': '/rosapi/topic_type', 'args': ['/t'], 'timeout': 1},
     ops.Inquire(None, '/rosapi/topic_type', 'topic_type', ('/t',), 1.0)),
    ({'op': 'advertise_service', 'service': '/s', 'type': 'a/S'},
     ops.AdvertiseService(None, '/s', 'a/S')),
    ({'op': 'unadvertise_service', 'service': '/s'}, ops.UnadvertiseService(None, '/s')),
    ({'op': 'service_response', 'service': '/s', 'id': 'gone', 'values': {'a': 1},
      'result': True}, ops.ServiceAnswer('"gone"', None, {'a': 1})),
    ({'op': 'service_response', 'service': '/s', 'id': 'x', 'result': False},
     ops.ServiceAnswer('"x"', None, {}, 'no reason given')),
    ({'op': 'service_response', 'service': '/s', 'id': 'x', 'result': False, 'values': 'no!'},
     ops.ServiceAnswer('"x"', None, 'no!', 'no!')),
    ({'op': 'service_response', 'service': '/s', 'id': 'x', 'result': False, 'values': {}},
     ops.ServiceAnswer('"x"', None, {}, 'no reason given')),
    ({'op': 'service_response', 'service': '/s', 'id': 'x', 'result': False, 'values': {'a': 1}},
     ops.ServiceAnswer('"x"', None, {'a': 1})),
    ({'op': 'service_response', 'service': '/s', 'id': 'x'},
     ops.ServiceAnswer('"x"', None, {})),
    ({'op': 'send_action_goal', 'action': '/a', 'action_type': 'a/A', 'args': [5], 'id': 'g',
      'feedback': True}, ops.SendGoal('"g"', '/a', 'a/A', (5,), True)),
    ({'op': 'send_action_goal', 'action': '/a'}, ops.SendGoal(None, '/a', None, {}, False)),
    ({'op': 'cancel_action_goal', 'action': '/a', 'id': 'g'}, ops.CancelGoal(None, '"g"', '/a')),
    ({'op': 'advertise_action', 'action': '/a', 'type': 'a/A'},
     ops.AdvertiseAction(None, '/a', 'a/A')),
    ({'op': 'advertise_action', 'action': '/a', 'action_type': 'a/A', 'type': 'ignored'},
     ops.AdvertiseAction(None, '/a', 'a/A')),
    ({'op': 'unadvertise_action', 'action': '/a'}, ops.UnadvertiseAction(None, '/a')),
    ({'op': 'action_feedback', 'action': '/a', 'id': 'gone', 'values': {'f': 1}},
     ops.ActionFeedback('"gone"', 'gone', {'f': 1}, '/a')),
    ({'op': 'action_result', 'action': '/a', 'id': 'gone', 'values': {'r': 1}, 'status': 5,
      'result': True}, ops.ActionResult('"gone"', 'gone', {'r': 1}, 5, True, '/a')),
    ({'op': 'action_result', 'action': '/a', 'id': 'gone', 'values': 'why', 'result': False},
     ops.ActionResult('"gone"', 'gone', None, None, False, '/a')),
    ({'op': 'action_result', 'id': 'gone', 'status': 0},
     ops.ActionResult('"gone"', 'gone', None, None, True, None)),
    ({'op': 'status', 'level': 'error', 'msg': 'oh'},
     ops.PeerStatus(None, {'level': 'error', 'msg': 'oh'})),
    ({'op': 'auth', 'mac': 'm', 't': 1}, ops.Authenticate(None, {'mac': 'm', 't': 1})),
])
def test_operations(dialect: RosbridgeDialect, fields: dict[str, Any], op: ops.Operation) -> None:
    assert decode(dialect, **fields) == op


@pytest.mark.parametrize(('fields', 'field'), [
    ({}, 'op'), ({'op': None}, 'op'), ({'op': 5}, 'op'), ({'op': []}, 'op'),
    ({'op': 'publish'}, 'topic'), ({'op': 'publish', 'topic': ''}, 'topic'),
    ({'op': 'publish', 'topic': 5}, 'topic'), ({'op': 'publish', 'topic': 'x' * 256}, 'topic'),
    ({'op': 'publish', 'topic': '/t', 'msg': []}, 'msg'),
    ({'op': 'publish', 'topic': '/t', 'id': True}, 'id'),
    ({'op': 'publish', 'topic': '/t', 'id': 2**63}, 'id'),
    ({'op': 'publish', 'topic': '/t', 'id': 'x' * 257}, 'id'),
    ({'op': 'publish', 'topic': '/t', 'id': {}}, 'id'),
    ({'op': 'subscribe', 'topic': '/t', 'compression': 'zip'}, 'compression'),
    ({'op': 'subscribe', 'topic': '/t', 'compression': ['png']}, 'compression'),
    ({'op': 'subscribe', 'topic': '/t', 'throttle_rate': -1}, 'throttle_rate'),
    ({'op': 'subscribe', 'topic': '/t', 'throttle_rate': '5'}, 'throttle_rate'),
    ({'op': 'subscribe', 'topic': '/t', 'queue_length': 1.5}, 'queue_length'),
    ({'op': 'subscribe', 'topic': '/t', 'fragment_size': 0}, 'fragment_size'),
    ({'op': 'subscribe', 'topic': '/t', 'type': 5}, 'type'),
    ({'op': 'subscribe', 'topic': '/t', 'qos': 'x'}, 'qos'),
    ({'op': 'subscribe', 'topic': '/t', 'qos': {'depth': -1}}, 'qos.depth'),
    ({'op': 'advertise', 'topic': '/t', 'latch': 1}, 'latch'),
    ({'op': 'advertise', 'topic': '/t', 'queue_size': 'x'}, 'queue_size'),
    ({'op': 'call_service', 'service': '/s', 'args': 'x'}, 'args'),
    ({'op': 'call_service', 'service': '/s', 'timeout': True}, 'timeout'),
    ({'op': 'advertise_service', 'service': '/s'}, 'type'),
    ({'op': 'service_response', 'service': '/s'}, 'id'),
    ({'op': 'service_response', 'id': 'x', 'result': 'yes'}, 'result'),
    ({'op': 'service_response', 'id': 'x', 'values': 'x'}, 'values'),
    ({'op': 'cancel_action_goal', 'action': '/a'}, 'id'),
    ({'op': 'advertise_action', 'action': '/a'}, 'type'),
    ({'op': 'action_feedback', 'action': '/a', 'id': 'g', 'values': []}, 'values'),
    ({'op': 'action_result', 'action': '/a', 'id': 'g', 'values': 'x'}, 'values'),
    ({'op': 'action_result', 'action': '/a', 'id': 'g', 'status': -1}, 'status'),
    ({'op': 'status'}, 'msg'), ({'op': 'set_level'}, 'level'),
    ({'op': 'set_level', 'level': 'loud'}, 'level'), ({'op': 'png'}, 'data'),
])
def test_fields_that_are_wrong(dialect: RosbridgeDialect, fields: dict[str, Any],
                               field: str) -> None:
    assert error(dialect, **fields) == ('bad_field', field)


def test_error_keeps_the_id_and_says_who_waits(dialect: RosbridgeDialect) -> None:
    op = decode(dialect, op='call_service', service='/s', id='c', args=1)
    assert (op.op_id, op.about) == ('"c"', ops.About('call', '/s'))
    op = decode(dialect, op='send_action_goal', action='/a', id='g', args=1)
    assert (op.op_id, op.about) == ('"g"', ops.About('goal', '/a'))
    op = decode(dialect, op='fly', id='x')
    assert (op.op_id, op.about, op.error.code) == ('"x"', None, 'unknown_operation')
    assert decode(dialect, op='call_service', service=5).about is None


@pytest.mark.parametrize('frame', [
    '', '{', '[]', '5', 'null', '"x"', '{"op": "publish", "topic": "/t", "msg": {"x": NaNo}}',
    '{' * 10_000, '[' * 10_000 + ']' * 10_000, '{"a":NaN' * 5000, b'', b'\xff', b'\x01',
    b'\xa1', b'\xf6', '{"op": "publish", "msg": NaN} x', '{"x": "\ud800"}',
    '{"a":' * 200 + 'NaN' + '}' * 200])
def test_no_operation_at_all(dialect: RosbridgeDialect, frame: str | bytes) -> None:
    op = one(dialect.decode(frame))
    assert isinstance(op, ops.Malformed)
    assert op.error.code == 'bad_frame'


def test_nan_and_infinity_are_taken(dialect: RosbridgeDialect) -> None:
    op = one(dialect.decode('{"op": "publish", "topic": "/t", "msg": {"x": [NaN, -Infinity, 1]}}'))
    assert op == ops.Command(None, '/t', {'x': [None, None, 1]}, 'topic')
    assert DIALECTS.of_frame('{"op": "publish", "msg": NaN}').name == 'rosbridge'


def test_cbor_in(dialect: RosbridgeDialect) -> None:
    op = one(dialect.decode(cbor2.dumps({'op': 'publish', 'topic': '/t', 'msg': {'x': b'\x01'}})))
    assert op == ops.Command(None, '/t', {'x': b'\x01'}, 'topic')


def test_depth_is_the_callers_to_bound() -> None:
    """However a message is wrapped, and as the first one too."""
    dialect = RosbridgeDialect(LIMIT, cbor_values, 8)
    for value in ('1', 'NaN'):
        fine, deep = ('{"op": "publish", "topic": "/t", "msg": ' + '{"a":' * levels + value +
                      '}' * levels + '}' for levels in (7, 8))
        assert isinstance(one(dialect.decode(fine)), ops.Command)
        assert DIALECTS.of_frame(fine, 8).name == 'rosbridge'
        op = one(dialect.decode(deep))
        assert isinstance(op, ops.Malformed)
        assert op.error.message == 'JSON nested deeper than 8'
        with pytest.raises(BadFrame):
            DIALECTS.of_frame(deep, 8)
        assert error(dialect, op='fragment', id='f', data=deep, num=0, total=1) == (
            'bad_frame', None)


# ---- what a client is told

def test_answers(dialect: RosbridgeDialect) -> None:
    assert encode(dialect, replies.CallDone('"c"', '/s', b'{"a":1}')) == {
        'op': 'service_response', 'service': '/s', 'values': {'a': 1}, 'result': True, 'id': 'c'}
    assert 'id' not in encode(dialect, replies.CallDone(None, '/s', b'{}'))
    assert encode(dialect, replies.CallDone('7', '/s', b'{}'))['id'] == 7
    failed = replies.Failed('"c"', OutOfRange('too much', field='[2].x'), ops.About('call', '/s'))
    assert encode(dialect, failed) == {
        'op': 'service_response', 'service': '/s', 'values': 'out_of_range: args[2].x: too much',
        'result': False, 'id': 'c'}
    forbidden = replies.Failed(None, Forbidden('no', field='destination'), ops.About('call', '/s'))
    assert encode(dialect, forbidden)['values'] == 'forbidden: service: no'


def test_what_has_no_word(dialect: RosbridgeDialect) -> None:
    for reply in (replies.Greeting(None, False, '', '', '', 1.0, 5.0,
                                   Limits(1, 1.0, 1, 1, 1, 1, 1), {}, '', 'none'),
                  replies.Beat(1, SECOND, None), ROBOT_STATE,
                  replies.TopicAppeared(replies.Delivery('/t', None, 'json', 1, None, True)),
                  replies.EstopChanged(True, None, ''), replies.GoalAccepted('"g"', '/a'),
                  replies.Unadvertised('"i"', '/t'), replies.Failed('"i"', Expired('late'))):
        assert encode(dialect, reply) is None


def test_status_from_the_level_on(dialect: RosbridgeDialect) -> None:
    failed = replies.Failed('"p"', UnknownField('no such field', field='x'))
    done = replies.Unadvertised('"d"', '/t')
    told = {'op': 'status', 'level': 'error', 'msg': 'unknown_field: msg.x: no such field',
            'id': 'p'}
    for level, expected in (('none', (None, None)), ('error', (told, None)),
                            ('warning', (told, None)), ('info', (told, {
                                'op': 'status', 'level': 'info', 'msg': 'unadvertise: done',
                                'id': 'd'})), ('none', (None, None))):
        assert decode(dialect, op='set_level', level=level) is None
        assert (encode(dialect, failed), encode(dialect, done)) == expected
    assert 'none' in repr(dialect)


def test_a_browser_is_told_once_a_second_why_nothing_moves() -> None:
    failed = replies.Failed('"p"', Expired('too late', field='ttl'), ops.About('command', '/t'))
    other = replies.Failed(None, UnknownField('no such field', field='x'))

    def told(dialect: RosbridgeDialect, *stamps: float) -> list[str]:
        return [orjson.loads(frame.data)['level'] for stamp in map(nanoseconds, stamps)
                for reply in (failed, other) for frame in dialect.encode(reply, stamp)]
    browser = RosbridgeDialect(10_000, cbor_values, takes_status=True)
    assert told(browser, 100.0, 100.99, 101.0, 101.5, 103.0) == ['warning'] * 4
    assert json.loads(browser.encode(failed, 200 * SECOND)[0].data) == {
        'op': 'status', 'level': 'warning', 'msg': 'expired: ttl: too late'}
    decode(browser, op='set_level', level='none')       # as it wishes, from now on
    assert not told(browser, 300.0)
    decode(browser, op='set_level', level='error')
    assert told(browser, 300.0, 300.1) == ['error'] * 4
    program = RosbridgeDialect(10_000, cbor_values)
    assert not told(program, 100.0, 102.0)


def test_a_browser_is_told_each_error_without_an_answer_once() -> None:
    """Nothing else would say that a topic may not be had, or that an operation is misspelt."""
    browser = RosbridgeDialect(10_000, cbor_values, takes_status=True)

    def told(*numbers: int) -> list[str]:
        return [orjson.loads(frame.data)['msg'] for number in numbers for frame in browser.encode(
            replies.Failed('"s"', Forbidden(f'topic {number}')), 100 * SECOND)]
    assert told(1, 2, 1, 2) == ['forbidden: topic 1', 'forbidden: topic 2']
    assert len(told(*range(3, 3 + MOST_WARNINGS))) == MOST_WARNINGS
    assert told(MOST_WARNINGS, 1) == ['forbidden: topic 1']     # it was long ago
    assert json.loads(browser.encode(replies.Failed('"s"', Forbidden('no')), SECOND)[0].data) == {
        'op': 'status', 'level': 'warning', 'msg': 'forbidden: no'}


def test_a_browser_is_told_once_what_does_not_match() -> None:
    """Until it changes, however often it advertises; as much as it wants once it has a level."""
    misfit = QosMismatch('/map: 1 subscriber cannot get what is published: durability')

    def told(dialect: RosbridgeDialect, *errors: QosMismatch) -> list[str]:
        return [orjson.loads(frame.data)['level'] for error in errors
                for frame in dialect.encode(replies.Failed(None, error), 100 * SECOND)]
    browser = RosbridgeDialect(10_000, cbor_values, takes_status=True)
    assert json.loads(browser.encode(replies.Failed(None, misfit), 100 * SECOND)[0].data) == {
        'op': 'status', 'level': 'warning', 'msg': f'qos_mismatch: {misfit.message}'}
    changed = QosMismatch(misfit.message)
    assert told(browser, misfit, changed, misfit, changed) == ['warning']
    decode(browser, op='set_level', level='error')
    assert told(browser, misfit, misfit) == ['error'] * 2
    decode(browser, op='set_level', level='none')
    assert not told(browser, misfit)
    assert not told(RosbridgeDialect(10_000, cbor_values), misfit)      # raises at a status


def test_a_message_in_parts_has_the_fence_of_the_first(dialect: RosbridgeDialect) -> None:
    def part(number: int, fence: float, *, outer: str = 'fragment') -> float:
        dialect.fence = fence
        text = '{"op":"publish","topic":"/t","msg":{}}'
        data = (text[:9], text[9:])[number]
        got = decode(dialect, op=outer, id='a', data=data, num=number, total=2)
        assert (got is None) is (fence == 5.0)
        return dialect.fence
    assert part(1, 5.0) == 5.0
    assert decode(dialect, op='publish', topic='/t', msg={}) is not None
    assert part(0, 9.0) == 5.0


@pytest.mark.parametrize(('field', 'about', 'msg'), [
    ('correlation_id', None, 'bad_field: id: wrong'), ('metadata.ttl', None, 'bad_field: wrong'),
    ('destination', None, 'bad_field: topic: wrong'),
    ('destination', ops.About('answer', ''), 'bad_field: topic: wrong'),
    (None, None, 'bad_field: wrong'), ('topic', None, 'bad_field: topic: wrong')])
def test_fields_have_the_names_of_this_dialect(dialect: RosbridgeDialect, field: str | None,
                                               about: ops.About | None, msg: str) -> None:
    decode(dialect, op='set_level', level='error')
    reply = replies.Failed(None, BadField('wrong', field=field), about)
    assert encode(dialect, reply)['msg'] == msg


def test_values_of_an_answer_have_their_path(dialect: RosbridgeDialect) -> None:
    decode(dialect, op='set_level', level='error')
    failed = replies.Failed(None, OutOfRange('wrong', field='a.b'), ops.About('answer', '/s'))
    assert encode(dialect, failed)['msg'] == 'out_of_range: values.a.b: wrong'
    failed = replies.Failed(None, OutOfRange('wrong'), ops.About('answer', '/s'))
    assert encode(dialect, failed)['msg'] == 'out_of_range: values: wrong'


def test_hosted_service_counts_from_one_at_each_advertisement(dialect: RosbridgeDialect) -> None:
    def call(inner: str) -> str:
        request = encode(dialect, replies.ServiceCall(inner, '/s', b'{"a":1}'))
        wire: str = request.pop('id')
        assert request == {'op': 'call_service', 'service': '/s', 'args': {'a': 1}}
        return wire
    assert [call('p1-1'), call('p1-2')] == ['service_request:/s:1', 'service_request:/s:2']
    answer = decode(dialect, op='service_response', id='service_request:/s:2', service='/s')
    assert answer.call_id == 'p1-2'
    decode(dialect, op='advertise_service', service='/s', type='a/S')
    assert call('p1-3') == 'service_request:/s:1'
    answer = decode(dialect, op='service_response', id='service_request:/s:1', service='/s')
    assert answer.call_id == 'p1-3', 'an answer to the older advertisement was taken for this'
    answer = decode(dialect, op='service_response', id='service_request:/s:1', service='/s')
    assert answer.call_id is None


def test_ids_that_were_handed_out_are_bounded() -> None:
    handed = Handed()
    first = handed.hand('k', '/s', 'inner 0')
    for number in range(handed.LIMIT):
        handed.hand('k', '/s', f'inner {number + 1}')
    assert handed.find(first) is None
    assert repr(handed) == f'Handed({handed.LIMIT})'


def test_goals_both_ways(dialect: RosbridgeDialect) -> None:
    assert encode(dialect, replies.GoalFeedback('"g"', '/a', b'{"f":1}')) == {
        'op': 'action_feedback', 'action': '/a', 'values': {'f': 1}, 'id': 'g'}
    assert encode(dialect, replies.GoalDone('"g"', '/a', b'{"r":1}', 5)) == {
        'op': 'action_result', 'action': '/a', 'values': {'r': 1}, 'status': 5, 'result': True,
        'id': 'g'}
    failed = replies.Failed('"g"', Forbidden('no', field='destination'), ops.About('goal', '/a'))
    assert encode(dialect, failed) == {
        'op': 'action_result', 'action': '/a', 'values': 'forbidden: action: no', 'status': 0,
        'result': False, 'id': 'g'}
    assert encode(dialect, replies.GoalRequest('p-1', '/a', 'a/action/A', b'{"o":1}')) == {
        'op': 'send_action_goal', 'id': 'action_goal:/a:1', 'action': '/a',
        'action_type': 'a/action/A', 'args': {'o': 1}, 'feedback': True}
    fed = decode(dialect, op='action_feedback', action='/a', id='action_goal:/a:1', values={})
    assert fed.goal_id == 'p-1'
    assert encode(dialect, replies.GoalCancel('p-1', '/a')) == {
        'op': 'cancel_action_goal', 'id': 'action_goal:/a:1', 'action': '/a'}
    ended = decode(dialect, op='action_result', action='/a', id='action_goal:/a:1')
    assert ended.goal_id == 'p-1'
    assert encode(dialect, replies.GoalCancel('p-1', '/a')) is None
    decode(dialect, op='advertise_action', action='/a', type='a/A')
    assert encode(dialect, replies.GoalRequest('p-2', '/a', 'a/action/A', b'{}'))['id'] == \
        'action_goal:/a:1'


@pytest.mark.parametrize('topic', ['/t', '/täg%s"\\'])
def test_samples(dialect: RosbridgeDialect, topic: str) -> None:
    frame = dialect.sample_writer(topic, 1, 'json')(b'{"a":1}', 1_500_000_000, 1)
    assert frame == b'{"op":"publish","topic":' + orjson.dumps(topic) + b',"msg":{"a":1}}'
    frame = dialect.sample_writer(topic, 1, 'cbor')(cbor2.dumps({'a': 1}), 1_500_000_000, 1)
    assert cbor2.loads(frame) == {'op': 'publish', 'topic': topic, 'msg': {'a': 1}}
    frame = dialect.sample_writer(topic, 1, 'cbor-raw')(b'\x00\x01', 1_500_000_000, 1)
    assert cbor2.loads(frame) == {'op': 'publish', 'topic': topic, 'msg': {
        'secs': 1, 'nsecs': 500_000_000, 'bytes': b'\x00\x01'}}


# ---- fragments and images

def test_fragments_in_any_order(dialect: RosbridgeDialect) -> None:
    whole = json.dumps({'op': 'publish', 'topic': '/t', 'msg': {'x': 'ä' * 100}})
    parts = [whole[start:start + 50] for start in range(0, len(whole), 50)]
    for number in reversed(range(1, len(parts))):
        assert decode(dialect, op='fragment', id='f', data=parts[number], num=number,
                      total=len(parts)) is None
    op = decode(dialect, op='fragment', id='f', data=parts[0], num=0, total=len(parts))
    assert op == ops.Command(None, '/t', {'x': 'ä' * 100}, 'topic')
    assert '0 incomplete' in repr(dialect)


def test_fragments_out_can_be_put_together_again(dialect: RosbridgeDialect) -> None:
    split = splitter('/t:1', 64)
    frame = orjson.dumps({'op': 'publish', 'topic': '/t', 'msg': {'x': 'ä"\\' * 100}})
    parts = list(split(frame))
    assert len(parts) > 1
    assert all(len(json.loads(part)['data']) <= 64 for part in parts)
    *some, last = [one(dialect.decode(part.decode())) for part in parts]
    assert not any(some)
    assert isinstance(last, ops.Command)
    assert last.data == {'x': 'ä"\\' * 100}
    assert json.loads(next(iter(split(frame))))['id'] != json.loads(parts[0])['id']
    assert list(split(b'{}')) == [b'{}']
    assert len(list(splitter('/t:1', 1)(b'x' * 100_000))) == MAX_PARTS_OUT


FRAGMENT = {'op': 'fragment', 'id': 'f', 'data': 'x', 'num': 0, 'total': 2}


@pytest.mark.parametrize(('change', 'field'), [
    ({'id': None}, 'id'), ({'id': 5}, 'id'), ({'id': ''}, 'id'), ({'data': 5}, 'data'),
    ({'num': 2}, 'num'), ({'num': -1}, 'num'), ({'num': True}, 'num'), ({'num': 0.5}, 'num'),
    ({'total': 0}, 'total'), ({'total': 10**9}, 'total'), ({'total': '2'}, 'total'),
    ({'total': 2.5}, 'total')])
def test_fragments_that_are_wrong(dialect: RosbridgeDialect, change: dict[str, Any],
                                  field: str) -> None:
    assert error(dialect, **{**FRAGMENT, **change}) == ('bad_field', field)


def test_fragments_that_contradict_each_other_are_forgotten(dialect: RosbridgeDialect) -> None:
    assert decode(dialect, **FRAGMENT) is None
    assert error(dialect, **FRAGMENT) == ('bad_field', 'num')
    assert decode(dialect, **FRAGMENT) is None
    assert error(dialect, **{**FRAGMENT, 'num': 1, 'total': 3}) == ('bad_field', 'total')
    assert '0 incomplete' in repr(dialect)


def test_fragments_are_bounded(dialect: RosbridgeDialect) -> None:
    for number in range(MAX_PARTIAL):
        assert decode(dialect, **{**FRAGMENT, 'id': f'f{number}'}) is None
    assert error(dialect, **{**FRAGMENT, 'id': 'one more'}) == ('limit_exceeded', 'id')
    assert decode(dialect, MAX_AGE + 1, **{**FRAGMENT, 'id': 'later'}) is None
    assert error(dialect, MAX_AGE + 2, **{**FRAGMENT, 'id': 'big', 'data': 'x' * LIMIT}) == \
        ('limit_exceeded', 'data')
    assert '1 incomplete' in repr(dialect)


def test_what_is_wrapped_is_checked(dialect: RosbridgeDialect) -> None:
    inner = json.dumps({'op': 'publish', 'id': 'p'})
    op = decode(dialect, op='fragment', id='f', data=inner, num=0, total=1)
    assert (op.op_id, op.error.field) == ('"p"', 'topic')
    inner = json.dumps({**FRAGMENT, 'total': 1})
    assert error(dialect, op='fragment', id='f', data=inner, num=0, total=1) == \
        ('bad_frame', None)
    assert error(dialect, op='fragment', id='f', data='{', num=0, total=1) == ('bad_frame', None)


def test_what_is_much_is_left_to_a_reader(dialect: RosbridgeDialect) -> None:
    text = '{"op":"publish","topic":"/t","msg":{"x":[' + '[],' * 3000 + '[]]}}'
    for number, data in enumerate((text[:5000], text[5000:])):
        op = decode(dialect, op='fragment', id='i', data=data, num=number, total=2)
    assert op == ops.Wrapped(text)


@pytest.mark.parametrize(('message', 'expected'), [
    ({'op': 'publish', 'topic': '/t', 'msg': ops.Parked()},
     ops.Command(None, '/t', ops.Parked(), 'topic')),
    ({'op': 'call_service', 'service': '/s', 'args': ops.Parked(is_list=True)},
     ops.Command(None, '/s', ops.Parked(is_list=True), 'service')),
    ({'op': 'action_feedback', 'id': 'i', 'values': ops.Parked()},
     ops.ActionFeedback('"i"', 'i', ops.Parked())),
    ({'op': 'action_result', 'id': 'i', 'values': ops.Parked()},
     ops.ActionResult('"i"', 'i', ops.Parked(), None, True)),
    ({'op': 'service_response', 'id': 'i', 'values': ops.Parked()},
     ops.ServiceAnswer('"i"', None, ops.Parked(), None))])
def test_values_that_a_reader_has(dialect: RosbridgeDialect, message: Any,
                                  expected: ops.Operation) -> None:
    assert one(dialect.decode_value(message)) == expected


def test_values_that_a_reader_has_must_be_an_object(dialect: RosbridgeDialect) -> None:
    for message in ({'op': 'publish', 'topic': '/t', 'msg': ops.Parked(is_list=True)}, [1],
                    {'op': 'fragment', 'id': 'i', 'data': '', 'num': 0, 'total': 1}):
        op = one(dialect.decode_value(message, wrapped=True))
        assert isinstance(op, ops.Malformed)


def test_limit_of_messages_in_parts(dialect: RosbridgeDialect) -> None:
    dialect.limit_messages(10)
    assert error(dialect, op='fragment', id='i', data='x' * 11, num=0, total=2) == (
        'limit_exceeded', 'data')


class TestPng:
    """Text as an image."""

    @pytest.fixture(autouse=True)
    def pillow(self) -> None:
        """Skip these where Pillow is not installed: it is optional."""
        pytest.importorskip('PIL', reason='Pillow is not installed')

    @pytest.mark.parametrize('size', [0, 1, 2, 3, 100, 9999])
    def test_there_and_back(self, size: int) -> None:
        text = b'x' * size
        assert png.from_png(png.to_png(text).decode(), 40_000) == text

    def test_sample(self, dialect: RosbridgeDialect) -> None:
        frame = dialect.sample_writer('/t', 1, 'png')(b'{"a":1}', 1_500_000_000, 1)
        message = json.loads(frame)
        assert list(message) == ['op', 'data']
        data = message['data']
        assert dialect.decode(frame.decode()) == ops.Wrapped(data, is_png=True)
        assert json.loads(png.from_png(data, 1000)) == {
            'op': 'publish', 'topic': '/t', 'msg': {'a': 1}}
        half = len(message['data']) // 2
        for number, data in enumerate((message['data'][:half], message['data'][half:])):
            found = dialect.decode(json.dumps(
                {'op': 'png', 'id': 'i', 'data': data, 'num': number, 'total': 2}))
        assert found == ops.Wrapped(message['data'], is_png=True)

    def test_pillow_shows_the_same(self) -> None:
        from PIL import Image
        text = bytes(range(256)) * 9
        with Image.open(io.BytesIO(base64.b64decode(png.to_png(text)))) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ('PNG', 'RGB', (27, 29))
            assert image.tobytes() == text.ljust(27 * 29 * 3, b'\n')

    @pytest.mark.parametrize('data', ['', '?', 'AAAA', 'iVBORw0KGgo=', 'ä'])
    def test_no_image(self, dialect: RosbridgeDialect, data: str) -> None:
        assert error(dialect, op='png', data=data) == ('bad_frame', 'data')

    @pytest.mark.parametrize('cut', [slice(80), slice(81), slice(30, None)])
    def test_cut_image(self, cut: slice) -> None:
        data = png.to_png(b'{"op": "x"}' * 100).decode()
        with pytest.raises(BadFrame) as caught:
            png.from_png(data[cut], LIMIT)
        assert caught.value.field == 'data'

    def test_large_image_is_not_read(self) -> None:
        with pytest.raises(BadFrame, match='more than 10000 bytes'):
            png.from_png(png.to_png(b'x' * 20_000).decode(), LIMIT)

    def test_large_image_is_not_unpacked(self, dialect: RosbridgeDialect) -> None:
        assert error(dialect, op='png', data=png.to_png(b'x' * 20_000).decode()) == \
            ('bad_frame', 'data')


def test_png_without_pillow(dialect: RosbridgeDialect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, 'HAS_PILLOW', False)
    op = decode(dialect, op='png', data=png.to_png(b'{}').decode())
    assert op.error.code == 'unavailable'
    assert 'Pillow' in op.error.message
    op = decode(dialect, op='subscribe', topic='/t', compression='png')
    assert op.encoding == 'png'     # an image is written without it
