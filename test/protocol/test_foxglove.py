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
"""Test the codec of Foxglove's dialect: each operation both ways, and what is refused."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest
from support.rosbridge_garbage import WRONG

from ws_bridge.config import Limits
from ws_bridge.config.roles import USES
from ws_bridge.errors import (
    BadFrame,
    Expired,
    Forbidden,
    LimitExceeded,
    NotNeutral,
    QosMismatch,
    ServiceFailed,
    TypeMismatch,
    WsBridgeError,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.foxglove import BATCH, FoxgloveDialect, NEEDS_LOGIN
from ws_bridge.protocol.foxglove_frames import asset_error
from ws_bridge.protocol.foxglove_ids import Ids
from ws_bridge.protocol.foxglove_requests import (
    AT_ONCE,
    MAX_PARAMETER,
    MOST_NAMES,
    PARSERS,
    WITHIN,
)
from ws_bridge.protocol.foxglove_status import INTERVAL

NOW = 1_760_000_000 * 10**9
STRING, TWIST = 'std_msgs/msg/String', 'geometry_msgs/msg/Twist'
TRIGGER = replies.ServiceDefined(None, 'std_srvs/srv/Trigger', '',
                                 'bool success\nstring message\n')
TOPICS = replies.TopicsChanged({'/a': (STRING,), '/b': (TWIST,)}, (),
                               {STRING: 'string data\n', TWIST: 'twist\n'})
GREETING = replies.Greeting(
    None, False, 'p1', 'robot', '0.1.0', 1.0, 3.0, Limits(1, 1.0, 1, 1, 1, 1, 1),
    {'subscribe': ['*'], 'publish': ['/cmd_vel'], 'call': ['/n/*']}, 'operator', 'none', None,
    ('subscribe', 'publish', 'parameter_read'))


@pytest.fixture
def ids() -> Ids:
    """Give the numbers of a process."""
    return Ids()


@pytest.fixture
def dialect(ids: Ids) -> FoxgloveDialect:
    """Give the codec of a client that was told of two topics and a service."""
    codec = FoxgloveDialect('robot', 'kilted', ids=ids)
    codec.encode(TOPICS, NOW)
    codec.encode(replies.ServicesChanged({'/stop': TRIGGER}, ()), NOW)
    return codec


def ask(dialect: FoxgloveDialect, op: str, **fields: Any) -> tuple[ops.Operation, ...]:
    """Decode a text frame."""
    decoded = dialect.decode(json.dumps({'op': op, **fields}))
    assert isinstance(decoded, tuple)
    return decoded


def send(dialect: FoxgloveDialect, frame: bytes) -> tuple[ops.Operation, ...]:
    """Decode a binary frame."""
    decoded = dialect.decode(frame)
    assert isinstance(decoded, tuple)
    return decoded


def wrong(decoded: tuple[ops.Operation, ...]) -> tuple[str | None, str, str]:
    """Return identity, code and reason of the only operation, which is none."""
    (op,) = decoded
    assert isinstance(op, ops.Malformed), op
    return op.op_id, op.error.code, str(op.error)


def tell(dialect: FoxgloveDialect, reply: replies.Reply, stamp: int = NOW) -> list[Any]:
    """Return what a client is told: JSON as objects."""
    return [json.loads(frame.data) if frame.text else frame.data
            for frame in dialect.encode(reply, stamp)]


def failed(op_id: str | None, error: WsBridgeError) -> replies.Failed:
    """Return the reply that something failed."""
    return replies.Failed(op_id, error)


# ---- the first words

def test_its_clients_name_it() -> None:
    kind = DIALECTS['foxglove']
    for name in ('foxglove.sdk.v1', 'foxglove.websocket.v1'):
        assert DIALECTS.of_subprotocol(name) is kind
    assert kind.subprotocols[0] == 'foxglove.sdk.v1'        # chosen of both
    assert not kind.recognises({'op': 'subscribe'})


def test_server_info(dialect: FoxgloveDialect, ids: Ids) -> None:
    assert tell(dialect, GREETING) == [{
        'op': 'serverInfo', 'name': 'robot',
        'capabilities': ['clientPublish', 'parameters', 'parametersSubscribe'],     # no graph
        'supportedEncodings': ['cdr', 'json'],
        'metadata': {'ws_bridge': '0.1.0', 'ROS_DISTRO': 'kilted'}, 'sessionId': ids.session_id}]
    other = FoxgloveDialect('robot', ids=ids)
    (info,) = tell(other, GREETING)
    assert info['sessionId'] == ids.session_id and 'ROS_DISTRO' not in info['metadata']
    assert Ids().session_id != ids.session_id
    (info,) = tell(other, replace(GREETING, allowed={'publish': [], 'call': []}))
    assert info['capabilities'] == []
    everything = FoxgloveDialect('robot', ids=ids, serves_assets=True, sim_time=lambda: 1)
    (info,) = tell(everything, replace(GREETING, uses=USES))
    assert info['capabilities'] == [
        'clientPublish', 'services', 'parameters', 'parametersSubscribe', 'connectionGraph',
        'assets', 'time']


def test_who_has_to_log_in_is_told_how(dialect: FoxgloveDialect) -> None:
    info, status = tell(dialect, replace(GREETING, login='needed'))
    assert info['capabilities'] == []
    assert (status['op'], status['level'], status['message']) == ('status', 2, NEEDS_LOGIN)


@pytest.mark.parametrize(('by', 'reason', 'message'), [
    ('p1', 'a dog', 'emergency stop by p1: a dog'), (None, '', 'emergency stop')])
def test_an_emergency_stop_is_told_while_it_stands(dialect: FoxgloveDialect, by: str | None,
                                                   reason: str, message: str) -> None:
    stop = replies.StopState(True, by, reason)
    told = {'op': 'status', 'level': 1, 'message': message, 'id': 'estop'}
    greeting = replace(GREETING, control=replies.ControlState((), stop))
    assert tell(dialect, greeting)[1:] == [told]
    assert tell(dialect, replies.EstopChanged(False, by, '')) == [
        {'op': 'removeStatus', 'statusIds': ['estop']}]
    assert tell(dialect, replies.EstopChanged(False, by, '')) == []
    assert tell(dialect, replies.EstopChanged(True, by, reason)) == [told]
    free = replies.ControlState((), replies.StopState(False, None, ''))
    assert len(tell(FoxgloveDialect('r'), replace(GREETING, control=free))) == 1


# ---- channels and services

def test_channels_are_told_with_their_definitions(ids: Ids) -> None:
    codec = FoxgloveDialect('robot', ids=ids)
    assert tell(codec, TOPICS) == [{'op': 'advertise', 'channels': [
        {'id': 1, 'topic': '/a', 'encoding': 'cdr', 'schemaName': STRING,
         'schemaEncoding': 'ros2msg', 'schema': 'string data\n'},
        {'id': 2, 'topic': '/b', 'encoding': 'cdr', 'schemaName': TWIST,
         'schemaEncoding': 'ros2msg', 'schema': 'twist\n'}]}]


def test_a_number_is_never_used_for_something_else(dialect: FoxgloveDialect, ids: Ids) -> None:
    texts = TOPICS.definitions
    gone = replies.TopicsChanged({}, ('/a', '/unknown'))
    assert tell(dialect, gone) == [{'op': 'unadvertise', 'channelIds': [1]}]
    (new,) = tell(dialect, replies.TopicsChanged({'/a': (TWIST,)}, (), texts))
    assert [each['id'] for each in new['channels']] == [3]
    # one that is back as it was has its number again, also towards another client
    out, back = tell(dialect, replies.TopicsChanged({'/a': (STRING,)}, (), texts))
    assert out == {'op': 'unadvertise', 'channelIds': [3]}      # never two of one topic
    assert [each['id'] for each in back['channels']] == [1]
    (other,) = tell(FoxgloveDialect('robot', ids=ids), TOPICS)
    assert [each['id'] for each in other['channels']] == [1, 2]


def test_of_several_types_one_is_told_and_kept(dialect: FoxgloveDialect) -> None:
    texts = TOPICS.definitions
    assert tell(dialect, replies.TopicsChanged({'/b': ('a/msg/A', TWIST)}, (), texts)) == []
    (told,) = tell(dialect, replies.TopicsChanged(
        {'/c': ('not/msg/Installed', TWIST, STRING), '/d': ('not/msg/Installed',)}, (), texts))
    assert [(each['topic'], each['schemaName']) for each in told['channels']] == [('/c', TWIST)]


def test_many_channels_come_in_batches() -> None:
    topics = {f'/t{number}': (STRING,) for number in range(BATCH + 1)}
    told = tell(FoxgloveDialect('r', ids=Ids()),
                replies.TopicsChanged(topics, (), TOPICS.definitions))
    assert [len(each['channels']) for each in told] == [BATCH, 1]


def test_services_are_told(dialect: FoxgloveDialect, ids: Ids) -> None:
    codec = FoxgloveDialect('robot', ids=ids)
    present = replies.ServicesChanged({'/stop': TRIGGER}, ())
    assert tell(codec, present) == [{'op': 'advertiseServices', 'services': [{
        'id': 1, 'name': '/stop', 'type': 'std_srvs/srv/Trigger',
        'request': {'encoding': 'cdr', 'schemaName': 'std_srvs/srv/Trigger_Request',
                    'schemaEncoding': 'ros2msg', 'schema': ''},
        'response': {'encoding': 'cdr', 'schemaName': 'std_srvs/srv/Trigger_Response',
                     'schemaEncoding': 'ros2msg', 'schema': TRIGGER.response_text}}]}]
    assert tell(codec, present) == []
    other = replace(TRIGGER, srv_type='std_srvs/srv/SetBool')
    out, new = tell(codec, replies.ServicesChanged({'/stop': other}, ()))
    assert out == {'op': 'unadvertiseServices', 'serviceIds': [1]}
    assert new['services'][0]['id'] == 2
    assert tell(codec, replies.ServicesChanged({}, ('/stop', '/x'))) == [
        {'op': 'unadvertiseServices', 'serviceIds': [2]}]


# ---- subscriptions

def test_subscribe_and_unsubscribe(dialect: FoxgloveDialect) -> None:
    both = [{'id': 0, 'channelId': 1, 'more': 1}, {'id': 7, 'channelId': 2}]
    assert ask(dialect, 'subscribe', subscriptions=both) == (
        ops.Subscribe('subscribe:0', '/a', STRING, 'cdr', key='0', separate=True),
        ops.Subscribe('subscribe:7', '/b', TWIST, 'cdr', key='7', separate=True))
    assert ask(dialect, 'unsubscribe', subscriptionIds=[7, 99]) == (
        ops.Unsubscribe('unsubscribe:7', '/b', '7'),)
    assert ask(dialect, 'unsubscribe', subscriptionIds=[7]) == ()
    assert 'subscriptions=1' in repr(dialect)


def test_samples_have_the_number_of_the_subscription(dialect: FoxgloveDialect) -> None:
    write = dialect.sample_writer('/a', 12, 'cdr', '7')
    assert write(b'body', NOW, 1) == b'\1\7\0\0\0' + NOW.to_bytes(8, 'little') + b'body'
    assert dialect.share_key('/a', '7') == FoxgloveDialect('r').share_key('/a', '7')
    assert dialect.share_key('/a', '7') not in (dialect.share_key('/a', '8'),
                                                dialect.share_key('/b', '7'))


def test_one_subscription_of_a_channel_and_of_a_number(dialect: FoxgloveDialect) -> None:
    def subscribe(number: Any, channel: Any) -> tuple[str | None, str, str]:
        return wrong(ask(dialect, 'subscribe',
                         subscriptions=[{'id': number, 'channelId': channel}]))
    ask(dialect, 'subscribe', subscriptions=[{'id': 1, 'channelId': 1}])
    assert subscribe(2, 9)[1:] == ('unknown_name', 'channelId: Unknown channel ID: 9')
    assert subscribe(2, 1)[1] == 'already_exists'
    assert subscribe(1, 2)[1:] == ('bad_field', 'id: subscription 1 is in use')
    for number in (-1, 2**32, 1.5, True, '1', None):
        assert subscribe(number, 2)[1] == 'bad_field'


def test_a_refused_subscription_is_forgotten(dialect: FoxgloveDialect) -> None:
    asked = {'subscriptions': [{'id': 1, 'channelId': 1}]}
    ask(dialect, 'subscribe', **asked)
    (told,) = tell(dialect, failed('subscribe:1', Forbidden('no')))
    assert told == {'op': 'status', 'level': 2, 'message': 'forbidden: no', 'id': 'subscribe:1'}
    assert isinstance(ask(dialect, 'subscribe', **asked)[0], ops.Subscribe)
    delivery = replies.Delivery('/a', STRING, 'cdr', 1, None, False)
    assert tell(dialect, replies.Subscribed('subscribe:1', delivery)) == [
        {'op': 'removeStatus', 'statusIds': ['subscribe:1']}]


def test_subscriptions_end_with_their_channel(dialect: FoxgloveDialect) -> None:
    ask(dialect, 'subscribe', subscriptions=[{'id': 1, 'channelId': 1},
                                             {'id': 2, 'channelId': 2}])
    tell(dialect, replies.TopicsChanged({}, ('/a',)))
    assert ask(dialect, 'unsubscribe', subscriptionIds=[1]) == ()
    assert len(ask(dialect, 'unsubscribe', subscriptionIds=[2])) == 1


# ---- publications

CHANNEL = {'id': 5, 'topic': '/cmd_vel', 'encoding': 'json', 'schemaName': TWIST}


@pytest.mark.parametrize('encoding', ['cdr', 'json'])
def test_advertise_publish_unadvertise(dialect: FoxgloveDialect, encoding: str) -> None:
    assert ask(dialect, 'advertise', channels=[{**CHANNEL, 'encoding': encoding}]) == (
        ops.Advertise('advertise:5', '/cmd_vel', TWIST, key='5'),)
    (op,) = send(dialect, b'\1\5\0\0\0{"linear":{}}')
    assert isinstance(op, ops.Command)
    assert replace(op, data=bytes(op.data)) == ops.Command(
        'publish:5', '/cmd_vel', b'{"linear":{}}', 'topic', encoding=encoding)
    assert ask(dialect, 'unadvertise', channelIds=[5]) == (
        ops.Unadvertise('unadvertise:5', '/cmd_vel', '5'),)
    assert wrong(ask(dialect, 'unadvertise', channelIds=[5]))[:2] == (
        'unadvertise:5', 'unknown_name')
    assert wrong(send(dialect, b'\1\5\0\0\0'))[:2] == ('data:5', 'unknown_name')


@pytest.mark.parametrize(('change', 'code'), [
    ({'id': 5}, 'already_exists'), ({'encoding': 'ros1'}, 'bad_field'),
    ({'schemaName': STRING}, 'type_mismatch'), ({'schemaName': ''}, 'bad_field'),
    ({'topic': 5}, 'bad_field'), ({'topic': 'x' * 256}, 'bad_field'), ({'id': -1}, 'bad_field')])
def test_channels_that_cannot_be(dialect: FoxgloveDialect, change: Any, code: str) -> None:
    ask(dialect, 'advertise', channels=[CHANNEL])
    decoded = ask(dialect, 'advertise', channels=[{**CHANNEL, 'id': 6, **change}])
    assert wrong(decoded)[:2] == (None, code)


def test_a_refused_channel_takes_nothing(dialect: FoxgloveDialect) -> None:
    ask(dialect, 'advertise', channels=[CHANNEL])
    (told,) = tell(dialect, failed('advertise:5', Forbidden('not yours', field='topic')))
    assert (told['level'], told['id']) == (2, 'advertise:5')
    assert told['message'] == 'forbidden: topic: not yours'
    assert send(dialect, b'\1\5\0\0\0{}') == ()
    other = {**CHANNEL, 'id': 6, 'schemaName': STRING}
    assert isinstance(ask(dialect, 'advertise', channels=[other])[0], ops.Advertise)
    assert ask(dialect, 'unadvertise', channelIds=[5]) == ()
    assert tell(dialect, replies.Beat(1, 1, None)) == [
        {'op': 'removeStatus', 'statusIds': ['advertise:5']}]
    tell(dialect, failed('advertise:5', Forbidden('late')))     # of one that has ended
    ask(dialect, 'advertise', channels=[CHANNEL])
    tell(dialect, replies.Advertised('advertise:6', '/x', STRING, 1, '', None, 0))


def test_a_refused_channel_leaves_its_number_free(dialect: FoxgloveDialect) -> None:
    ask(dialect, 'advertise', channels=[CHANNEL])
    tell(dialect, failed('advertise:5', Forbidden('not yours', field='topic')))
    again = {**CHANNEL, 'topic': '/other'}
    assert ask(dialect, 'advertise', channels=[again]) == (
        ops.Advertise('advertise:5', '/other', TWIST, key='5'),)
    (op,) = send(dialect, b'\1\5\0\0\0{}')
    assert isinstance(op, ops.Command)
    assert op.destination == '/other'


def test_a_refusal_stands_until_it_passes_again(dialect: FoxgloveDialect) -> None:
    """A stick at 20 Hz is told once a second, and its status goes when it drives again."""
    ask(dialect, 'advertise', channels=[CHANNEL])
    refusal = failed('publish:5', NotNeutral('let go first'))
    told = [frame for tick in range(20)
            for frame in tell(dialect, refusal, NOW + tick * INTERVAL // 20)]
    assert told == [{'op': 'status', 'level': 1, 'message': 'not_neutral: let go first',
                     'id': 'publish:5'}]
    assert len(tell(dialect, refusal, NOW + INTERVAL)) == 1
    (op,) = send(dialect, b'\1\5\0\0\0{}')
    assert isinstance(op, ops.Command) and op.ack       # only now is its success of interest
    passed = replies.MessagePublished('publish:5', '/cmd_vel', 1)
    assert tell(dialect, passed) == [{'op': 'removeStatus', 'statusIds': ['publish:5']}]
    assert tell(dialect, passed) == []
    (op,) = send(dialect, b'\1\5\0\0\0{}')
    assert isinstance(op, ops.Command) and not op.ack
    tell(dialect, refusal)
    assert ask(dialect, 'unadvertise', channelIds=[5])
    assert tell(dialect, replies.Unadvertised('unadvertise:5', '/cmd_vel')) == [
        {'op': 'removeStatus', 'statusIds': ['publish:5']}]


def test_a_command_that_was_dropped_later_is_told_until_another_one_passes(
        dialect: FoxgloveDialect) -> None:
    ask(dialect, 'advertise', channels=[CHANNEL])
    assert tell(dialect, failed(None, Expired('no subscriber'))) == [
        {'op': 'status', 'level': 1, 'message': 'expired: no subscriber', 'id': 'expired'}]
    (op,) = send(dialect, b'\1\5\0\0\0{}')
    assert isinstance(op, ops.Command) and op.ack
    assert tell(dialect, replies.MessagePublished('publish:5', '/cmd_vel', 1)) == [
        {'op': 'removeStatus', 'statusIds': ['expired']}]
    (op,) = send(dialect, b'\1\5\0\0\0{}')
    assert isinstance(op, ops.Command) and not op.ack
    # of what is not about commands none of them says that it is over
    assert len(tell(dialect, failed(None, LimitExceeded('too much')))) == 1
    (op,) = send(dialect, b'\1\5\0\0\0{}')
    assert isinstance(op, ops.Command) and not op.ack


# ---- services

CALL = b'\2\1\0\0\0\x0c\0\0\0'


@pytest.mark.parametrize('encoding', ['cdr', 'json'])
def test_a_call_and_its_answer(dialect: FoxgloveDialect, encoding: str) -> None:
    frame = CALL + bytes([len(encoding), 0, 0, 0]) + encoding.encode() + b'{}'
    (op,) = send(dialect, frame)
    assert isinstance(op, ops.Command)
    assert replace(op, data=bytes(op.data)) == ops.Command(
        f'call:1:12:{encoding}', '/stop', b'{}', 'service', encoding=encoding)
    assert tell(dialect, replies.CallDone(op.op_id, '/stop', b'{}')) == [b'\3' + frame[1:]]


def test_a_call_that_fails(dialect: FoxgloveDialect) -> None:
    failure, status = tell(dialect, failed('call:1:12:cdr', ServiceFailed('no')))
    assert failure == {'op': 'serviceCallFailure', 'serviceId': 1, 'callId': 12,
                       'message': 'service_failed: no'}
    assert (status['op'], status['level'], status['id']) == ('status', 2, 'call:1')
    removed, _ = tell(dialect, replies.CallDone('call:1:13:cdr', '/stop', b''))
    assert removed == {'op': 'removeStatus', 'statusIds': ['call:1']}


def test_calls_that_cannot_be(dialect: FoxgloveDialect) -> None:
    unknown = send(dialect, b'\2\x09\0\0\0\1\0\0\0\4\0\0\0json')
    assert wrong(unknown) == ('call:9:1:json', 'unknown_name', 'Unknown service ID: 9')
    op_id, code, _ = wrong(send(dialect, CALL + b'\4\0\0\0ros1'))
    assert (op_id, code) == ('call:1:12:', 'bad_field')
    assert tell(dialect, failed(op_id, BadFrame('x')))[0]['callId'] == 12
    for frame in (CALL, CALL + b'\5\0\0\0json', CALL + b'\1\0\0\0\xff'):
        assert wrong(send(dialect, frame))[:2] == (None, 'bad_frame')


# ---- parameters

def test_parameters(dialect: FoxgloveDialect) -> None:
    assert ask(dialect, 'getParameters', parameterNames=[], id='get-all-params') == (
        ops.GetParameters('get:get-all-params', (), WITHIN),)
    assert ask(dialect, 'getParameters', parameterNames=['/ns/n.a.b']) == (
        ops.GetParameters('get', ('/ns/n:a.b',)),)
    assert ask(dialect, 'setParameters', id='1', parameters=[
        {'name': '/n.a', 'value': 3, 'type': 'float64'},
        {'name': '/n.b', 'value': 'AQI=', 'type': 'byte_array'}]) == (
        ops.SetParameters('set:1', {'/n:a': 3, '/n:b': [1, 2]}, want_values=True),)
    assert ask(dialect, 'setParameters', parameters=[
        {'name': '/n.a'}, {'name': '/n.b', 'type': 'byte_array'}, {'name': '/n.c', 'value': 0}]
    ) == (ops.SetParameters('set', {'/n:c': 0}, want_values=True, unset=('/n:a', '/n:b')),)
    assert ask(dialect, 'subscribeParameterUpdates', parameterNames=['/n.a']) == (
        ops.WatchParameters('watch', ('/n:a',), True),)
    assert ask(dialect, 'unsubscribeParameterUpdates', parameterNames=[]) == (
        ops.WatchParameters('watch', (), False),)


def test_many_names_are_watched_in_parts(dialect: FoxgloveDialect) -> None:
    """Lichtblick watches all parameters by one frame: others have the loop in between."""
    names = [f'/n.{number}' for number in range(2 * AT_ONCE + 1)]
    for op, watch in (('subscribeParameterUpdates', True), ('unsubscribeParameterUpdates', False)):
        parts = ask(dialect, op, parameterNames=names)
        assert all(isinstance(part, ops.WatchParameters) and part.watch is watch
                   for part in parts)
        assert [len(part.names) for part in parts] == [AT_ONCE, AT_ONCE, 1]  # type: ignore
    assert wrong(ask(dialect, 'subscribeParameterUpdates', parameterNames=['/n.a'] * (
        MOST_NAMES + 1)))[1] == 'limit_exceeded'
    # each is kept as long as it is watched
    longest = '/n.' + 'x' * (MAX_PARAMETER - 3)
    assert not isinstance(ask(dialect, 'subscribeParameterUpdates', parameterNames=[longest])[0],
                          ops.Malformed)
    assert wrong(ask(dialect, 'subscribeParameterUpdates', parameterNames=[longest + 'x']))[1] == \
        'bad_name'


def test_values_of_parameters(dialect: FoxgloveDialect) -> None:
    entries = [replies.ParameterEntry('/n:a.b', 'double', 3.0),
               replies.ParameterEntry('/n:i', 'integer', 3),
               replies.ParameterEntry('/n:d', 'double_array', [1.5]),
               replies.ParameterEntry('/n:b', 'byte_array', [1, 2])]
    told = [{'name': '/n.a.b', 'value': 3.0, 'type': 'float64'}, {'name': '/n.i', 'value': 3},
            {'name': '/n.d', 'value': [1.5], 'type': 'float64_array'},
            {'name': '/n.b', 'value': 'AQI=', 'type': 'byte_array'}]
    for op_id, extra in (('get:x:y', {'id': 'x:y'}), ('get', {}), (None, {})):
        assert tell(dialect, replies.ParametersTold(op_id, entries, {})) == [
            {'op': 'parameterValues', 'parameters': told, **extra}]
    # of what is watched the client is told that it has no value any more
    assert tell(dialect, replies.ParametersTold(None, entries[:1], {'/n:x': 'deleted'})) == [
        {'op': 'parameterValues', 'parameters': [*told[:1], {'name': '/n.x'}]}]
    assert tell(dialect, replies.ParametersTold('get', entries[:1], {'/n:x': 'no'})) == [
        {'op': 'parameterValues', 'parameters': told[:1]}]


def test_what_was_not_set_is_told(dialect: FoxgloveDialect) -> None:
    entries = [replies.ParameterEntry('/n:a', 'integer', 3)]
    status, values = tell(dialect, replies.ParametersSet('set:1', {'/n:a': 'too much'}, entries))
    assert status == {'op': 'status', 'level': 2, 'message': 'not set: /n.a: too much',
                      'id': 'set'}
    assert values == {'op': 'parameterValues', 'id': '1', 'parameters': [
        {'name': '/n.a', 'value': 3}]}
    removed, _ = tell(dialect, replies.ParametersSet('set:2', {}, entries))
    assert removed['op'] == 'removeStatus'
    # without an id it would be an update of what is not watched
    assert tell(dialect, replies.ParametersSet('set', {}, entries)) == []
    assert tell(dialect, replies.ParametersTold('set', entries, {})) == []
    (status,) = tell(dialect, failed('get:1', LimitExceeded('busy')))
    assert status['id'] == 'get'


@pytest.mark.parametrize(('op', 'fields', 'op_id', 'code'), [
    ('getParameters', {'parameterNames': ['/n']}, 'get', 'bad_name'),
    ('getParameters', {'parameterNames': ['.a']}, 'get', 'bad_name'),
    ('getParameters', {'parameterNames': [5], 'id': 'i'}, 'get:i', 'bad_field'),
    ('getParameters', {'parameterNames': [], 'id': 5}, None, 'bad_field'),
    ('setParameters', {'parameters': [{'name': '/n'}]}, 'set', 'bad_name'),
    ('setParameters', {'parameters': [{'name': '/n.a', 'value': 1, 'x': 1}]}, 'set', 'bad_field'),
    ('setParameters', {'parameters': [{'name': '/n.a', 'value': '!', 'type': 'byte_array'}]},
     'set', 'bad_field'),
    ('setParameters', {'parameters': [{'name': '/n.a', 'value': 5, 'type': 'byte_array'}]},
     'set', 'bad_field'),
    ('subscribeParameterUpdates', {}, None, 'bad_field')])
def test_parameters_that_cannot_be(dialect: FoxgloveDialect, op: str, fields: Any,
                                   op_id: str | None, code: str) -> None:
    assert wrong(ask(dialect, op, **fields))[:2] == (op_id, code)


# ---- what is wrong

@pytest.mark.parametrize(('frame', 'code'), [
    ('{', 'bad_frame'), ('[]', 'bad_frame'), ('{}', 'bad_field'), ('{"op":5}', 'bad_field'),
    ('{"op":"x"}', 'unknown_operation'), ('{"op":"subscribe"}', 'bad_field'),
    ('{"op":"unadvertise","channelIds":[true]}', 'bad_field'), (b'\1\0\0', 'bad_frame'),
    ('{"op":"subscribe","subscriptions":[5]}', 'bad_field'), (b'\x09', 'bad_frame')])
def test_malformed_frames(dialect: FoxgloveDialect, frame: str | bytes, code: str) -> None:
    decoded = dialect.decode(frame)
    assert isinstance(decoded, tuple)
    assert wrong(decoded)[:2] == (None, code)
    (op,) = decoded
    assert isinstance(op, ops.Malformed)
    (status,) = tell(dialect, failed(None, op.error))
    assert (status['level'], status['id']) == (2, code)


EXAMPLES: dict[str, dict[str, Any]] = {
    'subscribe': {'subscriptions': [{'id': 1, 'channelId': 1}]},
    'unsubscribe': {'subscriptionIds': [1]},
    'advertise': {'channels': [{
        'id': 5, 'topic': '/t', 'encoding': 'json', 'schemaName': STRING, 'schema': '',
        'schemaEncoding': 'ros2msg'}]},
    'unadvertise': {'channelIds': [5]},
    'getParameters': {'parameterNames': ['/n.a'], 'id': 'x'},
    'setParameters': {'parameters': [{'name': '/n.a', 'value': 'AQI=', 'type': 'byte_array'}],
                      'id': 'x'},
    'subscribeParameterUpdates': {'parameterNames': ['/n.a']},
    'unsubscribeParameterUpdates': {'parameterNames': ['/n.a']},
    'subscribeConnectionGraph': {}, 'unsubscribeConnectionGraph': {},
    'fetchAsset': {'uri': 'package://a/b.stl', 'requestId': 1}}


def garbage(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give an object with each field missing, and with each wrong value; at any depth."""
    for key, value in whole.items():
        yield {name: each for name, each in whole.items() if name != key}
        yield from ({**whole, key: wrong} for wrong in WRONG)
        if isinstance(value, list) and isinstance(value[0], dict):
            yield from ({**whole, key: [each]} for each in garbage(value[0]))
        elif isinstance(value, list):
            yield from ({**whole, key: [wrong]} for wrong in WRONG)


def test_there_is_an_example_of_every_operation() -> None:
    assert set(EXAMPLES) == set(PARSERS)


@pytest.mark.parametrize('op', EXAMPLES)
def test_garbage_in_any_field(ids: Ids, op: str) -> None:
    """What is wrong is told by its code, and nothing else is lost by it."""
    for fields in garbage(EXAMPLES[op]):
        codec = FoxgloveDialect('robot', ids=ids)
        codec.encode(TOPICS, NOW)
        for each in ask(codec, op, **fields):
            if isinstance(each, ops.Malformed):
                assert tell(codec, failed(each.op_id, each.error))
        assert not isinstance(ask(codec, 'getParameters', parameterNames=[])[0], ops.Malformed)
    codec = FoxgloveDialect('robot', ids=ids)
    codec.encode(TOPICS, NOW)
    if op == 'unadvertise':
        ask(codec, 'advertise', **EXAMPLES['advertise'])
    assert not any(isinstance(each, ops.Malformed) for each in ask(codec, op, **EXAMPLES[op]))


def test_unknown_keys_are_ignored(dialect: FoxgloveDialect) -> None:
    (op,) = ask(dialect, 'subscribe', later=1, subscriptions=[
        {'id': 1, 'channelId': 1, 'rate': 5}])
    assert isinstance(op, ops.Subscribe)


@given(st.lists(st.dictionaries(st.sampled_from(('/a', '/b', '/c')), st.lists(
    st.sampled_from((STRING, TWIST, 'x/msg/None')), min_size=1, max_size=2, unique=True)),
    max_size=8))
def test_channels_whatever_comes_and_goes(graphs: list[dict[str, list[str]]]) -> None:
    """As strict as Lichtblick: one channel a topic, and a number always means the same."""
    codec = FoxgloveDialect('robot', ids=Ids())
    definitions = {STRING: 'string data\n', TWIST: 'twist\n'}
    meanings: dict[int, Any] = {}
    there: dict[str, int] = {}
    before: dict[str, tuple[str, ...]] = {}
    for graph in graphs:
        after = {topic: tuple(types) for topic, types in graph.items()}
        changed = {topic: types for topic, types in after.items() if before.get(topic) != types}
        gone = tuple(topic for topic in before if topic not in after)
        before = after
        for told in tell(codec, replies.TopicsChanged(changed, gone, definitions)):
            if told['op'] == 'unadvertise':
                for number in told['channelIds']:
                    del there[meanings[number]['topic']]
                continue
            for each in told['channels']:
                assert each['topic'] not in there
                assert meanings.setdefault(each['id'], each) == each
                there[each['topic']] = each['id']
        assert set(there) == {topic for topic, types in after.items()
                              if set(types) & set(definitions)}
        assert all(meanings[number]['schemaName'] in after[topic]
                   for topic, number in there.items())


def test_a_byte_order_mark_is_no_part_of_a_frame(dialect: FoxgloveDialect) -> None:
    assert dialect.decode('\ufeff{"op": "subscribeConnectionGraph"}') == (
        ops.WatchConnections('graph', True),)
    assert wrong(dialect.decode('\ufeff\ufeff{}'))[1] == 'bad_frame'  # type: ignore[arg-type]


def test_an_empty_frame_is_nothing(dialect: FoxgloveDialect) -> None:
    assert dialect.decode(b'') == ()


def test_what_is_not_served_is_said(dialect: FoxgloveDialect) -> None:
    assert wrong(send(dialect, b'\3\1'))[1:] == (
        'unknown_operation', 'Server does not support the playbackControl capability')


# ---- a replay

REPLAY = replace(GREETING, playback=replies.Span(1_500_000_007, 3_000_000_000))


def test_a_replay_is_announced_with_its_times(dialect: FoxgloveDialect) -> None:
    (info,) = tell(dialect, REPLAY)
    assert 'playbackControl' in info['capabilities']
    assert (info['dataStartTime'], info['dataEndTime']) == (
        {'sec': 1, 'nsec': 500_000_007}, {'sec': 3, 'nsec': 0})
    (info, _) = tell(dialect, replace(REPLAY, login='needed'))
    assert 'dataEndTime' not in info and info['capabilities'] == []


def test_a_replay_is_controlled(dialect: FoxgloveDialect) -> None:
    """By the bytes of Foxglove's own server; who has never asked is told by no unknown word."""
    tell(dialect, REPLAY)
    state = replies.PlaybackState('playing', 12345, 1.0)
    assert tell(dialect, replies.PlaybackChanged(state)) == []
    pause = bytes.fromhex('03010000803f00000000000000000007000000736f6d652d6964')
    assert send(dialect, pause) == (ops.ControlPlayback('playback:some-id', False, 1.0),)
    assert tell(dialect, replies.PlaybackChanged(state)) == [
        bytes.fromhex('050039300000000000000000803f0000000000')]
    seek = bytes.fromhex('030000000040013930000000000000010000006e')
    assert send(dialect, seek) == (ops.ControlPlayback('playback:n', True, 2.0, 12345),)
    assert tell(dialect, replies.PlaybackControlled(
        'playback:n', replies.PlaybackState('ended', 12345, 2.0), replies.Span(0, 12345),
        has_jumped=True)) == [bytes.fromhex('050339300000000000000000004001010000006e')]


@pytest.mark.parametrize(('frame', 'op_id', 'code'), [
    ('030100', None, 'bad_frame'),
    ('03010000803f00000000000000000008000000736f6d652d6964', None, 'bad_frame'),
    ('03010000803f00000000000000000001000000ff', None, 'bad_frame'),
    ('03020000803f000000000000000000010000006e', 'playback:n', 'bad_field'),
    ('030100000000000000000000000000010000006e', 'playback:n', 'bad_field'),
    ('03010000c07f000000000000000000010000006e', 'playback:n', 'bad_field')])
def test_a_control_that_is_wrong(dialect: FoxgloveDialect, frame: str, op_id: str | None,
                                 code: str) -> None:
    tell(dialect, REPLAY)
    op = send(dialect, bytes.fromhex(frame))
    assert wrong(op)[:2] == (op_id, code)
    (status,) = tell(dialect, failed(op_id, BadFrame('no')))
    assert (status['op'], status['level']) == ('status', 2)
    if op_id is not None:
        assert status['id'] == 'playback'
        assert tell(dialect, replies.PlaybackControlled(
            op_id, replies.PlaybackState('paused', 0, 1.0), replies.Span(0, 0)))[0] == {
                'op': 'removeStatus', 'statusIds': ['playback']}


# ---- the robot

def test_assets(dialect: FoxgloveDialect) -> None:
    assert ask(dialect, 'fetchAsset', uri='package://x/y', requestId=10) == (
        ops.FetchAsset('asset:10', 'package://x/y'),)
    assert tell(dialect, replies.AssetFetched('asset:10', b'data')) == [
        bytes.fromhex('04 0a000000 00 00000000 64617461')]
    assert tell(dialect, failed('asset:10', BadFrame('oh no'))) == [
        asset_error(10, 'bad_frame: oh no')]        # nothing more: who asked knows
    assert wrong(ask(dialect, 'fetchAsset', uri='package://x/y'))[0] is None
    for uri in ('', 5, None, 'x' * 1025):
        assert wrong(ask(dialect, 'fetchAsset', uri=uri, requestId=10))[:2] == (
            'asset:10', 'bad_field')


def test_the_connection_graph(dialect: FoxgloveDialect) -> None:
    assert ask(dialect, 'subscribeConnectionGraph') == (ops.WatchConnections('graph', True),)
    assert ask(dialect, 'unsubscribeConnectionGraph') == (ops.WatchConnections('graph', False),)
    (told,) = tell(dialect, replies.ConnectionsChanged(
        {'/a': ['/n']}, {'/a': ()}, {'/s': ['/n']}, ('/b',), ('/t',)))
    assert told == {
        'op': 'connectionGraphUpdate', 'publishedTopics': [{'name': '/a', 'publisherIds': ['/n']}],
        'subscribedTopics': [{'name': '/a', 'subscriberIds': []}],
        'advertisedServices': [{'name': '/s', 'providerIds': ['/n']}],
        'removedTopics': ['/b'], 'removedServices': ['/t']}
    (status,) = tell(dialect, failed('graph', Forbidden('no')))
    assert (status['id'], status['level']) == ('graph', 2)


def test_the_time_of_a_simulation() -> None:
    times = iter((5, 7))
    dialect = FoxgloveDialect('robot', sim_time=lambda: next(times))
    assert tell(dialect, replies.TimeTold(1234)) == [bytes.fromhex('02 d204000000000000')]
    write = dialect.sample_writer('/a', 12, 'cdr', '7')
    assert [write(b'x', NOW, 1)[5:13] for _ in range(2)] == [
        bytes([5, *[0] * 7]), bytes([7, *[0] * 7])]


@pytest.mark.parametrize(('op_id', 'error', 'level'), [
    ('publish:1', Expired('x'), 1), ('data:1', Forbidden('x'), 2),
    ('unadvertise:1', Forbidden('x'), 1), (None, QosMismatch('x'), 1),
    (None, TypeMismatch('x'), 2), ('watch', Forbidden('x'), 2)])
def test_levels(dialect: FoxgloveDialect, op_id: str | None, error: WsBridgeError,
                level: int) -> None:
    (status,) = tell(dialect, failed(op_id, error))
    assert status['level'] == level


def test_what_it_has_no_words_for(dialect: FoxgloveDialect) -> None:
    dialect.limit_messages(5)
    assert tell(dialect, replies.GoalAccepted('x', '/a')) == []
    assert tell(dialect, replies.ParametersWatched('watch', (), True)) == []
