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
"""The native dialect, held against docs/reference/protocol.md and its JSON Schema."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
import json
from pathlib import Path
import re
import struct
from typing import Any, get_args

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
import orjson
import pytest
from support.frames import one
from support.sessions import make

from ws_bridge import errors
from ws_bridge.config import Limits
from ws_bridge.protocol import native as native_module
from ws_bridge.protocol import native_replies, native_requests, replies
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.dialect import STOP_SIZE
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.envelope import encode as encode_envelope
from ws_bridge.protocol.envelope import MAX_ID_LENGTH
from ws_bridge.protocol.native import binary_writer, NativeDialect, text_writer
from ws_bridge.protocol.native_replies import error_fields
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.types import MessageType, Priority
from ws_bridge.protocol.unix_time import nanoseconds, SECOND, seconds
from ws_bridge.timing.freshness import FreshnessState

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'reference'
PROTOCOL = (DOCS / 'protocol.md').read_text()
NATIVE = ''.join(Path(module.__file__).read_text()
                 for module in (native_module, native_requests))
SCHEMA = json.loads((DOCS / 'ws_bridge.v1.schema.json').read_text())
OPERATIONS = get_args(ops.Operation)
LARGEST_ERROR = 4096
MISSING = object()

MESSAGE_TYPES = ['command', 'data', 'status', 'error', 'heartbeat', 'acknowledgment',
                 'configuration']
scalars = (st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | st.text(max_size=20)
           | st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4)
                      | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12)


def section(title: str) -> str:
    """Return one section of the protocol's reference, up to the next title of its level."""
    level = title.split(' ')[0]
    text = PROTOCOL.split(f'\n{title}\n', 1)[1]
    return re.split(rf'\n#{{1,{len(level)}}} ', text)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table's rows, without its two head lines."""
    table = [line for line in text.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table[2:]]


@lru_cache
def validator(definition: str) -> Draft202012Validator:
    return Draft202012Validator({**SCHEMA, 'anyOf': [{'$ref': f'#/$defs/{definition}'}]})


def is_valid(definition: str, frame: Any) -> bool:
    """Whether the schema takes a frame of ``peer`` or ``bridge``."""
    return bool(validator(definition).is_valid(frame))


def native() -> NativeDialect:
    return NativeDialect('robot', 'run-p1')


def decode(metadata: Any, data: Any = MISSING) -> ops.Operation:
    """Decode an envelope given as values."""
    envelope = {'metadata': metadata} if data is MISSING else {'metadata': metadata, 'data': data}
    return one(native().decode(json.dumps(envelope)))


def malformed(op: ops.Operation) -> errors.WsBridgeError:
    assert isinstance(op, ops.Malformed), op
    return op.error


def encode(reply: replies.Reply) -> dict[str, Any]:
    """Encode a reply; its one frame is held against the schema and returned as values."""
    (frame,) = native().encode(reply, 1_760_000_000_250_000_000)
    assert frame.text
    value: dict[str, Any] = json.loads(frame.data)
    validator('bridge').validate(value)
    assert value['metadata']['priority'] == frame.priority
    return value


# ---- the documents agree with each other and with the code

def error_classes() -> Iterator[type[errors.WsBridgeError]]:
    """Give what may reach a peer: the leaves of the tree, but those of configuration and link."""
    def walk(root: type[errors.WsBridgeError]) -> Iterator[type[errors.WsBridgeError]]:
        below = root.__subclasses__()
        for item in below:
            yield from walk(item)
        if not below and not issubclass(root, (errors.ConfigError, errors.TransportError)):
            yield root
    yield errors.WsBridgeError
    yield from walk(errors.WsBridgeError)


def control_of(told: dict[str, Any]) -> replies.ControlState:
    """Return the gates and the emergency stop that a peer was told."""
    return replies.ControlState([replies.GateState(**gate) for gate in told['gates']],
                                replies.StopState(**told['estop']))


def greeting_of(hello: dict[str, Any], op_id: str | None = None, *,
                asked: bool = False) -> replies.Greeting:
    """Return the greeting that a hello was made of."""
    control = control_of(hello) if 'gates' in hello else None
    return replies.Greeting(
        op_id, asked, hello['session'], hello['robot'], hello['version'],
        hello['heartbeat']['interval'], hello['heartbeat']['timeout'], Limits(**hello['limits']),
        hello['allowed'], hello['role'], hello['login'], control, hello['may'])


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA['$schema'].endswith('2020-12/schema')


def test_error_codes_are_those_of_the_schema() -> None:
    codes = [item.code for item in error_classes()]
    assert sorted(SCHEMA['$defs']['error_code']['enum']) == sorted(codes)


def test_refusals_of_a_gate_are_those_of_the_docs() -> None:
    found = re.search(r'^\| code \|.*?\n\n', section('## Gates, leases and the emergency stop'),
                      re.MULTILINE | re.DOTALL)
    assert found
    documented = [row[0].strip('`') for row in rows(found[0])]
    assert documented == [error.code for error in errors.COMMAND_REFUSALS]


def test_metadata_keys_are_those_of_the_docs() -> None:
    documented = [row[0].strip('`') for row in rows(section('## The envelope'))]
    assert documented == list(dict.fromkeys(documented))
    assert set(documented) == set(SCHEMA['$defs']['metadata']['properties'])


def test_examples_of_the_docs() -> None:
    examples = [json.loads(text) for text in re.findall(r'```json\n(.*?)```', PROTOCOL, re.S)]
    envelope, hello, state, playback, resume, resumed = examples
    validator('peer').validate(envelope)
    command = one(native().decode(json.dumps(envelope)))
    assert command == ops.Command('4f0c-12', '/cmd_vel', {'linear': {'x': 0.2}},
                                  stamp=1_760_000_000_250_000_000)
    assert encode(greeting_of(hello))['data'] == hello
    assert encode(robot_state_of(state))['data'] == state
    assert encode(playback_of(playback))['data'] == playback
    assert decode({'message_type': 'configuration'}, resume) == ops.ComeBack(
        None, 'p3', resume['secret'], ('4f0c-12', '4f0c-15'), ('4f0c-9',), {7: 1204})
    assert encode(resumed_of(resumed))['data'] == resumed


def resumed_of(told: dict[str, Any]) -> replies.Resumed:
    """Return the reply that an answer to a peer which came back was made of."""
    return replies.Resumed(
        'i', told['session'], told['resume']['secret'], told['resume']['time'],
        [replies.Restored(replies.Delivery(
            each['topic'], each['type'], each['encoding'], each['channel_id'], each['schema'],
            each['pending']), each['missed'], each['sequence']) for each in told['subscriptions']],
        [(each['topic'], each['channel_id']) for each in told['channels']], told['unknown'])


def test_examples_of_the_docs_are_what_the_code_says() -> None:
    told = json.loads(re.findall(r'```json\n(.*?)```', section('### hello'), re.S)[0])
    assert {**told, 'session': 'p'} == encode(make().greeting())['data']


# ---- anything at all

def assert_harmless(op: ops.Operation) -> None:
    """Hold what every decoded frame must keep: an operation; an error short enough to send."""
    assert isinstance(op, OPERATIONS)
    if isinstance(op, ops.Malformed):
        frame = encode(replies.Failed(op.op_id, op.error))
        assert len(json.dumps(frame['data'])) < LARGEST_ERROR
        assert op.op_id is None or len(op.op_id) <= MAX_ID_LENGTH


@given(st.text())
@example('\ud800')
@example('{"metadata":{"message_id":"\\ud800"},"data":1}')
def test_any_text(text: str) -> None:
    assert_harmless(one(native().decode(text)))


@given(st.binary(max_size=64))
def test_any_bytes(frame: bytes) -> None:
    op = one(native().decode(frame))
    assert_harmless(op)
    if len(frame) < 20:
        assert malformed(op).code == 'bad_frame'


@given(values)
def test_any_json(value: Any) -> None:
    assert_harmless(one(native().decode(json.dumps(value))))


KEYS = ['op', 'topic', 'type', 'encoding', 'max_rate', 'max_points', 'queue_depth', 'qos',
        'schema', 'service', 'subscribe', 'name', 'dialect', 'robot', 'sequence', 'timestamp',
        'echo', 'result', 'message', 'kind']
OPS = ['hello', 'list', 'schema', 'subscribe', 'unsubscribe', 'shown', 'advertise', 'unadvertise',
       'advertise_service', 'unadvertise_service', 'status', 'channel']
fields = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(OPS) | values, max_size=5)
metadata_of_anything = st.fixed_dictionaries(
    {'message_type': st.sampled_from(MESSAGE_TYPES) | values},
    optional={key: values for key in SCHEMA['$defs']['metadata']['properties']
              if key != 'message_type'})


@given(metadata_of_anything, fields | values)
def test_any_envelope(metadata: dict[str, Any], data: Any) -> None:
    op = decode(metadata, data)
    assert_harmless(op)
    message_id = metadata.get('message_id')
    if isinstance(op, ops.Malformed) and isinstance(message_id, str):
        assert op.op_id == message_id


@pytest.mark.parametrize('frame', [
    '[' * 1_000_000, '{"a":' * 200_000, '9' * 1_000_000, '"' * 1_000_000,
    '{"metadata":' * 100_000 + '}' * 100_000,
    json.dumps({'metadata': {'message_id': 'x' * 1_000_000}}),
    json.dumps({'metadata': {'message_id': 'x' * 1_000_000, 'message_type': 'nothing'}}),
    json.dumps({'metadata': {'message_type': 'x' * 1_000_000}}),
    json.dumps({'metadata': {'message_type': 'configuration'}, 'data': {'op': 'x' * 1_000_000}}),
    json.dumps({'metadata': {'message_type': 'configuration'},
                'data': {'op': 'subscribe', 'topic': 't', 'qos': {'x' * 1_000_000: 1}}}),
    json.dumps({'metadata': {'message_type': 'heartbeat'}, 'data': {'echo': ['x'] * 300_000}}),
    json.dumps({'metadata': {'message_type': 'status'}, 'data': {'x' * 1_000_000: 1}}),
    json.dumps({'metadata': {'message_type': 'command', 'destination': '/t'},
                'data': None}).replace('null', '[' * 101 + ']' * 101),
], ids=lambda frame: frame[:24])
def test_long_and_deep_frames(frame: str) -> None:
    op = one(native().decode(frame))
    malformed(op)
    assert_harmless(op)


@pytest.mark.parametrize(('frame', 'code', 'field', 'op_id'), [
    (' ', 'bad_frame', None, None),
    ('nonsense', 'bad_frame', None, None),
    ('[]', 'bad_frame', None, None),
    ('{}', 'bad_frame', None, None),
    ('{"metadata": {}, "data": NaN}', 'bad_frame', None, None),
    ('{"metadata": {"message_id": "m"}, "data": Infinity}', 'bad_frame', None, None),
    ('{"metadata": 1}', 'bad_field', 'metadata', None),
    ('{"data": {}}', 'bad_field', 'metadata.destination', None),
    ('{"metadata": {"message_id": 1}}', 'bad_field', 'metadata.message_id', None),
    ('{"metadata": {"message_id": "m", "message_type": "no"}}', 'unknown_operation',
     'metadata.message_type', 'm'),
    ('{"metadata": {"message_id": "m", "message_type": 7}}', 'unknown_operation',
     'metadata.message_type', 'm'),
    ('{"metadata": {"message_id": "m", "priority": 5}}', 'bad_field', 'metadata.priority', 'm'),
    ('{"metadata": {"message_id": "m", "message_type": "configuration"}, "data": {"op": "no"}}',
     'unknown_operation', 'data.op', 'm'),
    ('{"metadata": {"message_id": "m", "message_type": "configuration"}, "data": '
     '{"op": "subscribe", "topic": "/t", "encoding": "video", "max_points": 5}}',
     'bad_field', 'data.max_points', 'm'),
])
def test_frames_that_are_no_operations(frame: str, code: str, field: str | None,
                                       op_id: str | None) -> None:
    op = one(native().decode(frame))
    assert (malformed(op).code, malformed(op).field) == (code, field)
    assert isinstance(op, ops.Malformed)
    assert op.op_id == op_id


def test_an_empty_frame_says_nothing() -> None:
    assert one(native().decode('')) == ops.Nothing()


# ---- what a peer sends: every field, valid, at its bounds, missing and wrong

LONG = 'x' * 255
NO_TEXT: list[Any] = ['', 'x' * 256, 1, 1.5, True, [], {}]
NO_NUMBER: list[Any] = ['1', True, [], {}]
NO_QOS: list[Any] = ['reliable', 1, True, []]


class Field:
    """
    What a field may hold and what not.

    :param good: values that are taken, with what becomes of them where that differs.
    :param bad: values that are refused; ``path`` is then named.
    """

    def __init__(self, path: str, good: list[Any], bad: list[Any], *,
                 required: bool = False) -> None:
        self.path = path
        self.good = good if required else [*good, None, MISSING]
        self.bad = [*bad, None, MISSING] if required else bad

    @property
    def key(self) -> str:
        return self.path.rsplit('.', 1)[1]


def text(path: str, *, required: bool = False, limit: int = 255) -> Field:
    return Field(path, ['x', 'x' * limit, 'é%"\\'], [*NO_TEXT, 'x' * (limit + 1)],
                 required=required)


def number(path: str, low: float, high: float) -> Field:
    below = [] if low < -1e13 else [low - 1]
    return Field(path, [low, high, 0.5], [*NO_NUMBER, *below, high * 1.01])


def integer(path: str, low: int, high: int) -> Field:
    return Field(path, [low, high], [*NO_NUMBER, low - 1, high + 1, 1.5])


def flag(path: str) -> Field:
    return Field(path, [True, False], [0, 1, 'true', [], {}])


def requests(path: str) -> Field:
    return Field(path, [[], [''], ['x' * 256] * 1000],
                 ['a', 1, {}, [1], ['x' * 257], ['a'] * 1001])


QOS = Field('data.qos', [{}, {'depth': 5, 'reliability': 'best_effort'}], NO_QOS)
ENCODING = Field('data.encoding', ['json', 'cbor', 'cdr', 'video'],
                 ['', 'JSON', 'xml', 1, True, [], {}])
GATE_NAME = text('data.gate', required=True)
CONFIGURATION: dict[str, list[Field]] = {
    'hello': [text('data.name', limit=64), flag('data.pieces'), flag('data.resume')],
    'resume': [
        text('data.session', required=True),
        Field('data.secret', ['x', 'x' * 256], ['', 'x' * 257, 1, True, [], {}], required=True),
        requests('data.waiting'), requests('data.accepted'),
        Field('data.received', [{}, {'1': 0, '2': 2**53}, {'1': None}],
              ['', 1, [], {'x': 1}, {'': 1}, {'-1': 1}, {'1' * 11: 1},
               {str(key): 1 for key in range(10_001)}])],
    'auth': [Field('data.token', ['x', 'x' * 4096], ['', 'x' * 4097, 1, True, [], {}],
                   required=True)],
    'ticket': [text('data.role', required=True)],
    'list': [flag('data.hidden')],
    'schema': [text('data.type', required=True)],
    'diagnose': [text('data.topic'), Field('data.use', ['subscribe', 'publish'],
                                           ['', 'both', 1, True, [], {}])],
    'subscribe': [
        text('data.topic', required=True), text('data.type'),
        ENCODING, integer('data.rung', 0, 2),
        Field('data.codec', ['h264', 'jpeg'], ['', 'h265', 1, True, [], {}]),
        number('data.max_rate', 0, 1e6), integer('data.max_points', 1, 20_000),
        integer('data.queue_depth', 1, 10_000), QOS,
        flag('data.schema')],
    'unsubscribe': [text('data.topic', required=True), ENCODING],
    'shown': [text('data.topic', required=True), Field(
        'data.picture_time', [-1e12, 1e12, 0.5], [*NO_NUMBER, -1.01e12, 1.01e12], required=True)],
    'advertise': [text('data.topic', required=True), text('data.type'), QOS],
    'unadvertise': [text('data.topic', required=True)],
    'advertise_service': [text('data.service', required=True), text('data.type', required=True)],
    'unadvertise_service': [text('data.service', required=True)],
    'cancel_goal': [Field('data.goal', ['g', 'x' * 256], ['', 'x' * 257, 1, True, [], {}],
                          required=True), text('data.action')],
    'advertise_action': [text('data.action', required=True), text('data.type', required=True),
                         flag('data.answers')],
    'unadvertise_action': [text('data.action', required=True)],
    'playback': [flag('data.play'), number('data.speed', 1e-3, 1e3),
                 number('data.seek', -1e12, 1e12), flag('data.marks')],
    'mcap': [Field('data.part', [0, 10_000], [*NO_NUMBER, -1, 10_001, 1.5], required=True),
             Field('data.csv', ['x', 'x' * 8000, '\xe9\r\n"'], ['', 'x' * 8001, 1, True, [], {}],
                   required=True), flag('data.last')],
    'status': [flag('data.subscribe')],
    'gates': [],
    'acquire': [GATE_NAME],
    'request': [GATE_NAME, text('data.message')],
    'grant': [GATE_NAME, text('data.peer', required=True)],
    'deny': [GATE_NAME, text('data.peer', required=True)],
    'take': [GATE_NAME],
    'release': [GATE_NAME],
    'stop': [Field('data.reason', ['', 'x', 'x' * 999, 1, None], []),
             Field('data.press', ['x', 'x' * 64, None], [])],
    'clear_stop': [],
}
METADATA = [
    Field('metadata.message_id', ['', 'x' * 256], ['x' * 257, 1, True, [], {}]),
    Field('metadata.correlation_id', ['', 'x' * 256], ['x' * 257, 1, True, [], {}]),
    Field('metadata.timestamp', [0, -1.5, 1e300], ['1', True, [], {}]),
    Field('metadata.source', ['', 'x'], [1, True, [], {}]),
    Field('metadata.priority', [1, 2, 3, 4, 'LOW', 'critical'], [0, 5, 1.5, True, 'up', [], {}]),
    Field('metadata.ttl', [0, 0.5, 1e9], [-1, '1', True, [], {}]),
]
NAME = Field('metadata.destination', ['x', LONG], ['', 'x' * 256, 1, True, [], {}], required=True)
STREAM = [NAME, integer('metadata.sequence', 0, 2**53), number('metadata.timeout', 0, 3600),
          flag('metadata.ack'), integer('metadata.epoch', 0, 2**53),
          number('metadata.bridge_time', -1e12, 1e12),
          number('metadata.picture_time', -1e12, 1e12)]
BEAT = [integer('data.sequence', 0, 2**53), number('data.timestamp', -1e12, 1e12),
        Field('data.echo', [{'sequence': 1, 'timestamp': 2.5, 'received': 3}],
              [1, 'x', [], {}, {'sequence': 1, 'timestamp': 2.5}])]
ANSWER = Field('data.result', [{}, {'success': True}], [])
REASON = Field('data.message', ['x', 'x' * 4096], [])

# name: (metadata, data, fields)
FRAMES: dict[str, tuple[dict[str, Any], Any, list[Field]]] = {
    'command': ({'message_type': 'command', 'destination': '/x'}, {'a': 1},
                [*STREAM,
                 Field('metadata.kind', ['topic', 'service', 'action'], ['', 'goal', 1, []])]),
    'data': ({'message_type': 'data', 'destination': '/x'}, {'a': 1},
             [*STREAM, Field('metadata.kind', ['topic'], ['service', 'action', '', 1, []])]),
    'heartbeat': ({'message_type': 'heartbeat'}, {'type': 'heartbeat'}, BEAT),
    'peer status': ({'message_type': 'status'}, {'hidden': True}, []),
    'acknowledgment': ({'message_type': 'acknowledgment', 'correlation_id': 'c'},
                       {'result': {}}, []),
    'goal answer': ({'message_type': 'acknowledgment', 'correlation_id': 'c'},
                    {'op': 'goal'}, [flag('data.accepted')]),
    'goal result': ({'message_type': 'acknowledgment', 'correlation_id': 'c'}, {'op': 'result'},
                    [Field('data.status', ['succeeded', 'canceled', 'aborted'],
                           ['', 'cancelled', 4, True, [], {}])]),
    'feedback': ({'message_type': 'data', 'correlation_id': 'c'}, {'a': 1}, []),
    'error': ({'message_type': 'error', 'correlation_id': 'c'}, {}, [REASON]),
    **{op: ({'message_type': 'configuration'}, {
        'op': op, **{f.key: f.good[0] for f in fields if MISSING in f.bad}}, fields)
       for op, fields in CONFIGURATION.items()},
}


def frame_with(name: str, path: str = '', value: Any = MISSING) -> dict[str, Any]:
    """Return a valid frame, but for the value at ``path``."""
    metadata, data, _ = FRAMES[name]
    frame: dict[str, Any] = {'metadata': {'message_id': 'm1', **metadata}, 'data': dict(data)}
    if path:
        part, key = path.split('.')
        frame[part].pop(key, None)
        if value is not MISSING:
            frame[part][key] = value
    return frame


def cases(kind: str) -> Iterator[Any]:
    for name, (_, _, own) in FRAMES.items():
        for field in [*METADATA, *own] if name in ('command', 'list') else own:
            for value in getattr(field, kind):
                label = 'missing' if value is MISSING else repr(value)[:20]
                yield pytest.param(name, field.path, value, id=f'{name}-{field.path}-{label}')


def test_every_operation_of_the_docs_has_its_cases() -> None:
    table = rows(section('### `configuration`'))
    assert [row[0].strip('`') for row in table] == list(CONFIGURATION)
    for name, documented, *_ in table:
        told = set(re.findall(r'`(\w+)`', re.sub(r'\(.*?\)', '', documented)))
        assert told == {field.key for field in CONFIGURATION[name.strip('`')]}, name


@pytest.mark.parametrize(('name', 'path', 'value'), list(cases('good')))
def test_good_field(name: str, path: str, value: Any) -> None:
    frame = frame_with(name, path, value)
    op = one(native().decode(json.dumps(frame)))
    assert not isinstance(op, ops.Malformed), op
    validator('peer').validate(frame)


@pytest.mark.parametrize(('name', 'path', 'value'), list(cases('bad')))
def test_bad_field(name: str, path: str, value: Any) -> None:
    frame = frame_with(name, path, value)
    op = one(native().decode(json.dumps(frame)))
    error = malformed(op)
    assert (error.code, error.field) == ('bad_field', path)
    assert isinstance(op, ops.Malformed)
    assert op.op_id == (None if path == 'metadata.message_id' else 'm1')
    assert not is_valid('peer', frame)


@given(st.sampled_from(list(FRAMES)), st.sampled_from(['metadata', 'data']),
       st.sampled_from([*KEYS, *SCHEMA['$defs']['metadata']['properties']]),
       values.filter(lambda v: not isinstance(v, float) or not v.is_integer()))
def test_what_the_schema_takes_is_understood(name: str, part: str, key: str, value: Any) -> None:
    frame = frame_with(name, f'{part}.{key}', value)
    if is_valid('peer', frame):
        assert not isinstance(one(native().decode(json.dumps(frame))), ops.Malformed)


@pytest.mark.parametrize('name', ['heartbeat', 'peer status', 'acknowledgment', *CONFIGURATION])
@pytest.mark.parametrize('data', [None, 1, 'x', [], True])
def test_data_that_must_be_an_object(name: str, data: Any) -> None:
    frame = {**frame_with(name), 'data': data}
    error = malformed(one(native().decode(json.dumps(frame))))
    assert (error.code, error.field) == ('bad_field', 'data')
    assert not is_valid('peer', frame)


@pytest.mark.parametrize('op', ['', 1, None, [], 'x' * 256])
def test_op_that_is_no_name(op: Any) -> None:
    error = malformed(decode({'message_type': 'configuration'}, {'op': op}))
    assert (error.code, error.field) == ('bad_field', 'data.op')


@pytest.mark.parametrize(('echo', 'path'), [
    ({'sequence': -1, 'timestamp': 1, 'received': 1}, 'data.echo.sequence'),
    ({'sequence': 1, 'timestamp': 'x', 'received': 1}, 'data.echo.timestamp'),
    ({'sequence': 1, 'timestamp': 1, 'received': 2e12}, 'data.echo.received'),
    ({'sequence': 1, 'timestamp': 1, 'received': None}, 'data.echo'),
])
def test_bad_echo(echo: dict[str, Any], path: str) -> None:
    assert malformed(decode({'message_type': 'heartbeat'}, {'echo': echo})).field == path


def test_qos_errors_name_the_path() -> None:
    data = {'op': 'advertise', 'topic': '/t', 'qos': {'depth': -1}}
    assert malformed(decode({'message_type': 'configuration'}, data)).field == 'data.qos.depth'


QOS_VALUE = {'reliability': 'reliable', 'depth': 3}
CONTENT: list[tuple[dict[str, Any], Any, ops.Operation]] = [
    ({}, {'op': 'hello', 'name': 'page'}, ops.Hello('i', 'page')),
    ({}, {'op': 'hello', 'name': 'page', 'dialect': 'ws_bridge.v1'}, ops.Hello('i', 'page')),
    ({}, {'op': 'hello', 'pieces': True}, ops.Hello('i', pieces=True)),
    ({}, {'op': 'hello', 'resume': True}, ops.Hello('i', resume=True)),
    ({}, {'op': 'resume', 'session': 'p1', 'secret': 'x'}, ops.ComeBack('i', 'p1', 'x')),
    ({}, {'op': 'resume', 'session': 'p1', 'secret': 'x', 'waiting': ['a', 'b'],
          'accepted': ['c'], 'received': {'7': 9, '8': None}},
     ops.ComeBack('i', 'p1', 'x', ('a', 'b'), ('c',), {7: 9})),
    ({}, {'op': 'hello', 'dialect': 'ws_bridge.v1', 'robot': 'r'}, ops.Hello('i', 'r', True)),
    ({}, {'op': 'list'}, ops.ListNames('i')),
    ({}, {'op': 'auth', 'token': 't'}, ops.Authenticate('i', {'token': 't'})),
    ({}, {'op': 'ticket', 'role': 'r'}, ops.MakeTicket('i', 'r')),
    ({}, {'op': 'schema', 'type': 'a/B'}, ops.GetSchema('i', 'a/B')),
    ({}, {'op': 'diagnose'}, ops.Diagnose('i')),
    ({}, {'op': 'diagnose', 'topic': '/t', 'use': 'publish'},
     ops.Diagnose('i', '/t', 'publish')),
    ({}, {'op': 'subscribe', 'topic': '/t'}, ops.Subscribe('i', '/t')),
    ({}, {'op': 'subscribe', 'topic': '/t', 'type': 'a/B', 'encoding': 'cdr', 'max_rate': 4,
          'queue_depth': 2, 'qos': QOS_VALUE, 'schema': True},
     ops.Subscribe('i', '/t', 'a/B', 'cdr', 0.25, 2,
                   QosRequest(reliability='reliable', depth=3), True)),
    ({}, {'op': 'subscribe', 'topic': '/t', 'max_points': 5000},
     ops.Subscribe('i', '/t', max_points=5000)),
    ({}, {'op': 'subscribe', 'topic': '/t', 'max_rate': 0},
     ops.Subscribe('i', '/t', min_interval=0.0)),
    ({}, {'op': 'subscribe', 'topic': '/t', 'max_rate': 5e-324},
     ops.Subscribe('i', '/t', min_interval=1e6)),
    ({}, {'op': 'subscribe', 'topic': '/t', 'encoding': 'video', 'rung': 2},
     ops.Subscribe('i', '/t', encoding='video', key='video', separate=True, rung=2)),
    ({}, {'op': 'subscribe', 'topic': '/t', 'encoding': 'video', 'codec': 'jpeg'},
     ops.Subscribe('i', '/t', encoding='video', key='video', separate=True, codec='jpeg')),
    ({}, {'op': 'unsubscribe', 'topic': '/t'}, ops.Unsubscribe('i', '/t')),
    ({}, {'op': 'shown', 'topic': '/t', 'picture_time': 2.5},
     ops.PictureShown('i', '/t', 2_500_000_000)),
    ({}, {'op': 'unsubscribe', 'topic': '/t', 'encoding': 'cdr'}, ops.Unsubscribe('i', '/t')),
    ({}, {'op': 'unsubscribe', 'topic': '/t', 'encoding': 'video'},
     ops.Unsubscribe('i', '/t', 'video')),
    ({}, {'op': 'advertise', 'topic': '/t', 'type': 'a/B', 'qos': QOS_VALUE},
     ops.Advertise('i', '/t', 'a/B', QosRequest(reliability='reliable', depth=3))),
    ({}, {'op': 'unadvertise', 'topic': '/t'}, ops.Unadvertise('i', '/t')),
    ({}, {'op': 'advertise_service', 'service': '/s', 'type': 'a/S'},
     ops.AdvertiseService('i', '/s', 'a/S')),
    ({}, {'op': 'unadvertise_service', 'service': '/s'}, ops.UnadvertiseService('i', '/s')),
    ({}, {'op': 'status'}, ops.WatchStatus('i', True)),
    ({}, {'op': 'status', 'subscribe': False}, ops.WatchStatus('i', False)),
    ({}, {'op': 'playback'}, ops.ControlPlayback('i')),
    ({}, {'op': 'playback', 'play': False, 'speed': 2, 'seek': 1.5, 'marks': True},
     ops.ControlPlayback('i', False, 2.0, 1_500_000_000, True)),
    ({}, {'op': 'mcap', 'part': 0, 'csv': 'x'}, ops.AddToTable('i', 0, 'x')),
    ({}, {'op': 'mcap', 'part': 1, 'csv': 'x', 'last': True}, ops.AddToTable('i', 1, 'x', True)),
    ({}, {'op': 'gates'}, ops.ListGates('i')),
    *[({}, {'op': word, 'gate': 'g', 'peer': 'p', 'message': 'm'},
       ops.LeaseOperation('i', word, 'g'))  # type: ignore[arg-type]
      for word in ('acquire', 'take', 'release')],
    ({}, {'op': 'request', 'gate': 'g'}, ops.LeaseOperation('i', 'request', 'g')),
    ({}, {'op': 'request', 'gate': 'g', 'message': 'please'},
     ops.LeaseOperation('i', 'request', 'g', message='please')),
    ({}, {'op': 'grant', 'gate': 'g', 'peer': 'p'}, ops.LeaseOperation('i', 'grant', 'g', 'p')),
    ({}, {'op': 'deny', 'gate': 'g', 'peer': 'p'}, ops.LeaseOperation('i', 'deny', 'g', 'p')),
    ({}, {'op': 'stop'}, ops.EmergencyStop('i')),
    ({}, {'op': 'stop', 'reason': 'x' * 300}, ops.EmergencyStop('i', 'x' * 255)),
    ({}, {'op': 'stop', 'reason': 7}, ops.EmergencyStop('i')),
    ({}, {'op': 'stop', 'press': 'x' * 64}, ops.EmergencyStop('i', '', 'x' * 64)),
    *[({}, {'op': 'stop', 'press': wrong}, ops.EmergencyStop('i'))
      for wrong in ('x' * 65, '', 7, None, ['x'], {})],
    ({}, {'op': 'clear_stop'}, ops.ClearStop('i')),
    ({}, {'op': 'channel', 'topic': '/t'}, ops.Appeared({'op': 'channel', 'topic': '/t'})),
    ({'message_type': 'command', 'destination': '/t'}, [1], ops.Command('i', '/t', [1])),
    ({'message_type': 'command', 'destination': '/t', 'kind': 'service', 'timestamp': 9,
      'ttl': 2, 'sequence': 3, 'timeout': 4, 'ack': True, 'epoch': 5, 'bridge_time': 6,
      'picture_time': 7}, {'x': 1},
     ops.Command('i', '/t', {'x': 1}, 'service', 9 * SECOND, 2.0, 3, 4.0, True, 5,
                 6 * SECOND, 7 * SECOND)),
    ({'message_type': 'data', 'destination': '/t'}, {}, ops.Command('i', '/t', {}, 'topic')),
    ({'message_type': 'data', 'destination': '/t', 'kind': 'topic'}, {},
     ops.Command('i', '/t', {}, 'topic')),
    ({'message_type': 'heartbeat', 'timestamp': 5}, {}, ops.Heartbeat('i', 5 * SECOND)),
    ({'message_type': 'heartbeat', 'timestamp': 5, 'correlation_id': 'b'},
     {'type': 'heartbeat', 'timestamp': 6, 'sequence': 7,
      'echo': {'sequence': 1, 'timestamp': 2, 'received': 3}},
     ops.Heartbeat('i', 6 * SECOND, 7, (1, 2 * SECOND, 3 * SECOND), True)),
    ({'message_type': 'status'}, {'hidden': True}, ops.PeerStatus('i', {'hidden': True})),
    ({'message_type': 'status'}, {'kind': 'state', 'nodes': ['x' * 5000]},
     ops.PeerStatus('i', {'kind': 'state'})),
    ({'message_type': 'status'}, {'kind': 'estop', 'reason': 'x' * 5000},
     ops.PeerStatus('i', {'kind': 'estop'})),
    ({'message_type': 'acknowledgment', 'correlation_id': 'c'}, {'result': {'a': 1}},
     ops.ServiceAnswer('i', 'c', {'a': 1}, data={'result': {'a': 1}})),
    ({}, {'op': 'cancel_goal', 'goal': 'g'}, ops.CancelGoal('i', 'g')),
    ({}, {'op': 'cancel_goal', 'goal': 'g', 'action': '/a'}, ops.CancelGoal('i', 'g', '/a')),
    ({}, {'op': 'advertise_action', 'action': '/a', 'type': 'a/B'},
     ops.AdvertiseAction('i', '/a', 'a/B')),
    ({}, {'op': 'advertise_action', 'action': '/a', 'type': 'a/B', 'answers': True},
     ops.AdvertiseAction('i', '/a', 'a/B', True)),
    ({}, {'op': 'unadvertise_action', 'action': '/a'}, ops.UnadvertiseAction('i', '/a')),
    ({'message_type': 'acknowledgment', 'correlation_id': 'c'}, {'op': 'goal'},
     ops.GoalAnswer('i', 'c', True)),
    ({'message_type': 'acknowledgment'}, {'op': 'goal', 'accepted': False},
     ops.GoalAnswer('i', '', False)),
    ({'message_type': 'acknowledgment', 'correlation_id': 'c'}, {'op': 'result'},
     ops.ActionResult('i', 'c')),
    ({'message_type': 'acknowledgment', 'correlation_id': 'c'},
     {'op': 'result', 'status': 'canceled', 'result': {'a': 1}},
     ops.ActionResult('i', 'c', {'a': 1}, 5)),
    ({'message_type': 'data', 'correlation_id': 'c'}, {'a': 1},
     ops.ActionFeedback('i', 'c', {'a': 1})),
    ({'message_type': 'error', 'correlation_id': 'c'}, {'message': 'x' * 5000},
     ops.ServiceAnswer('i', 'c', error='x' * 4096, data={'message': 'x' * 5000})),
    ({'message_type': 'error'}, {'message': ''},
     ops.ServiceAnswer('i', None, error='no reason given', data={'message': ''})),
    ({'message_type': 'error'}, {'message': 7},
     ops.ServiceAnswer('i', None, error='no reason given', data={'message': 7})),
    ({'message_type': 'error'}, 'text', ops.ServiceAnswer('i', None, error='no reason given')),
]


@pytest.mark.parametrize(('metadata', 'data', 'expected'), CONTENT)
def test_content(metadata: dict[str, Any], data: Any, expected: ops.Operation) -> None:
    metadata = {'message_id': 'i', 'message_type': 'configuration', **metadata}
    assert decode(metadata, data) == expected


@pytest.mark.parametrize(('fields', 'path'), [
    ({'received': {'1': 0, '7': -1}}, 'data.received.7'),
    ({'received': {'7': True}}, 'data.received.7'), ({'received': {'7': '1'}}, 'data.received.7'),
    ({'waiting': ['a'] * 600, 'accepted': ['b'] * 401}, 'data.waiting')])
def test_what_a_peer_comes_back_for_is_bounded(fields: dict[str, Any], path: str) -> None:
    error = malformed(decode({'message_type': 'configuration'}, {
        'op': 'resume', 'session': 'p', 'secret': 's', **fields}))
    assert (error.code, error.field) == ('bad_field', path)


def test_content_covers_every_operation_of_text_frames() -> None:
    made = set(re.findall(r'ops\.(\w+)\(', NATIVE)) - {'Frame'}
    assert {type(op).__name__ for _, _, op in CONTENT} == \
        made - {'Malformed', 'Nothing', 'BinaryPublish', 'BinarySample'}


def test_a_bare_message_type_is_enough() -> None:
    assert decode({'message_type': 'configuration'}, {'op': 'list'}) == ops.ListNames(None)


def test_status_is_bounded_in_bytes() -> None:
    room = 4096 - len('{"a":""}')
    assert isinstance(decode({'message_type': 'status'}, {'a': 'x' * room}), ops.PeerStatus)
    assert isinstance(decode({'message_type': 'status'}, {'a': 'é' * (room // 2)}),
                      ops.PeerStatus)
    for too_long in ('x' * (room + 1), 'é' * (room // 2 + 1)):
        assert malformed(decode({'message_type': 'status'}, {'a': too_long})).field == 'data'


# ---- what the bridge sends

HELLO = json.loads(re.findall(r'```json\n(.*?)```', section('### hello'), re.S)[0])
STATE = json.loads(re.findall(r'```json\n(.*?)```', section('### status'), re.S)[0])


def robot_state_of(told: dict[str, Any]) -> replies.RobotState:
    """Return the reply of which a dialect makes this."""
    topics = [replies.TopicState(each['topic'], each['type'], each['rate'], each['age'],
                                 FreshnessState(each['freshness'])) for each in told['topics']]
    return replies.RobotState(
        replies.SharedState(told['robot'], told['uptime'], told['nodes'], topics,
                            [replies.PeerState(**each) for each in told['peers']],
                            told['peer_count']),
        replies.LinkState(**{**told['you'], 'rates': [
            replies.TopicRate(**each) for each in told['you']['rates']]}))


SUBSCRIBED = {'topic': '/t', 'type': 'a/msg/B', 'encoding': 'cdr', 'channel_id': 1,
              'schema': 'int32 x', 'pending': False}
PENDING = {**SUBSCRIBED, 'type': None, 'schema': None, 'pending': True}
DELIVERY = replies.Delivery('/t', 'a/msg/B', 'cdr', 1, 'int32 x', False)
LISTING = {'topics': [{'topic': '/t', 'types': ['a/msg/B'], 'channel': None, 'publishers': 1,
                       'subscribers': 0, 'subscribe': True, 'publish': False}],
           'services': [{'service': '/s', 'types': ['a/srv/S'], 'call': True}],
           'actions': [{'action': '/a', 'types': ['a/action/A']}], 'nodes': ['/n']}
GRAPH = replies.GraphView(
    [replies.TopicEntry('/t', ['a/msg/B'], None, 1, 0, True, False)],
    [replies.ServiceEntry('/s', ['a/srv/S'])], [replies.ActionEntry('/a', ['a/action/A'])],
    ['/n'])
FINDINGS = [{'code': 'silent', 'message': 'so', 'advice': 'do'}]
GATE = {'gate': '/t', 'topics': ['/t'], 'holder': 'p1', 'holder_name': 'page', 'epoch': 3,
        'timeout': 0.5, 'ttl': 0.3, 'state': 'held', 'neutral_needed': True,
        'speed_limit': None, 'services': []}
ESTOP = {'stopped': True, 'by': None, 'reason': 'start'}
CONTROL = {'gates': [GATE], 'estop': ESTOP}
TERMS = {'gate': '/t', 'epoch': 3, 'timeout': 0.5, 'ttl': 0.3}
LEASE_TERMS = replies.LeaseTerms(3, 0.5, 0.3)


def playback_of(told: dict[str, Any]) -> replies.PlaybackControlled:
    """Return the reply that an answer about a replay was made of."""
    return replies.PlaybackControlled(
        'i', replies.PlaybackState(told['status'], nanoseconds(told['time']), told['speed']),
        replies.Span(nanoseconds(told['begin']), nanoseconds(told['end'])), [
            replies.Mark(nanoseconds(each['time']), each['kind'], each['text'])
            for each in told['marks']])


PLAYBACK = replies.PlaybackState('paused', 1_500_000_000, 0.5)
SPAN = replies.Span(SECOND, 3 * SECOND)
ANSWERS: list[tuple[replies.Reply, dict[str, Any]]] = [
    (replies.LoggedIn('i', 'alice', 'admin', HELLO['allowed']),
     {'op': 'auth', 'name': 'alice', 'role': 'admin', 'allowed': HELLO['allowed']}),
    (replies.TicketMade('i', 'r', 't', 60.0),
     {'op': 'ticket', 'role': 'r', 'ticket': 't', 'lifetime': 60.0}),
    (replies.Resumed('i', 'p3', 'x' * 43, 5.0, [replies.Restored(DELIVERY, 2, 7)], [('/w', 4)],
                     ['a']),
     {'op': 'resume', 'session': 'p3', 'resume': {'secret': 'x' * 43, 'time': 5.0},
      'subscriptions': [{**SUBSCRIBED, 'missed': 2, 'sequence': 7}],
      'channels': [{'topic': '/w', 'channel_id': 4}], 'unknown': ['a']}),
    (replies.Subscribed('i', DELIVERY), {'op': 'subscribe', **SUBSCRIBED}),
    (replies.Subscribed('i', replies.Delivery('/t', None, 'cdr', 1, None, True)),
     {'op': 'subscribe', **PENDING}),
    (replies.Unsubscribed('i', '/t'), {'op': 'unsubscribe', 'topic': '/t'}),
    (replies.Unadvertised('i', '/t'), {'op': 'unadvertise', 'topic': '/t'}),
    (replies.Advertised('i', '/t', 'a/msg/B', 2, '', None, 1),
     {'op': 'advertise', 'topic': '/t', 'type': 'a/msg/B', 'channel_id': 2, 'schema': '',
      'gate': None, 'subscribers': 1}),
    (replies.Advertised('i', '/t', 'a/msg/B', 2, '', '/t', 1, {'depth': 1}),
     {'op': 'advertise', 'topic': '/t', 'type': 'a/msg/B', 'channel_id': 2, 'schema': '',
      'gate': '/t', 'subscribers': 1, 'qos': {'depth': 1}}),
    (replies.ServiceAdvertised('i', '/s', 'a/srv/S'),
     {'op': 'advertise_service', 'service': '/s', 'type': 'a/srv/S'}),
    (replies.ServiceUnadvertised('i', '/s'), {'op': 'unadvertise_service', 'service': '/s'}),
    (replies.StatusWatched('i', True), {'op': 'status', 'subscribe': True}),
    (replies.StopReady('i', 'p2'), {'op': 'hello', 'session': 'p2'}),
    (replies.PlaybackControlled('i', PLAYBACK, SPAN), {
        'op': 'playback', 'status': 'paused', 'time': 1.5, 'speed': 0.5, 'begin': 1.0,
        'end': 3.0}),
    (replies.PlaybackControlled('i', PLAYBACK, SPAN, [replies.Mark(2 * SECOND, 'lost', 'p1')],
                                True), {
        'op': 'playback', 'status': 'paused', 'time': 1.5, 'speed': 0.5, 'begin': 1.0,
        'end': 3.0, 'marks': [{'time': 2.0, 'kind': 'lost', 'text': 'p1'}]}),
    (replies.Exported('i'), {'op': 'mcap', 'data': None}),
    (replies.Exported('i', b'\x89MCAP'), {'op': 'mcap', 'data': 'iU1DQVA='}),
    (replies.MessagePublished('i', '/t', 0), {'op': 'publish', 'topic': '/t', 'subscribers': 0}),
    (replies.GraphListed('i', GRAPH), {'op': 'list', **LISTING}),
    (replies.ActionAdvertised('i', '/a', 'a/action/A'),
     {'op': 'advertise_action', 'action': '/a', 'type': 'a/action/A'}),
    (replies.ActionUnadvertised('i', '/a'), {'op': 'unadvertise_action', 'action': '/a'}),
    (replies.GoalCancelling('i', 'g'), {'op': 'cancel_goal', 'goal': 'g'}),
    (replies.MessageDefined('i', 'a/msg/B', ''),
     {'op': 'schema', 'type': 'a/msg/B', 'kind': 'message', 'text': ''}),
    (replies.ServiceDefined('i', 'a/srv/S', '', ''),
     {'op': 'schema', 'type': 'a/srv/S', 'kind': 'service', 'request': '', 'response': ''}),
    (replies.Diagnosed('i', None, None, []),
     {'op': 'diagnose', 'topic': None, 'use': None, 'findings': []}),
    (replies.Diagnosed('i', '/t', 'subscribe', [replies.Finding(**FINDINGS[0])]),
     {'op': 'diagnose', 'topic': '/t', 'use': 'subscribe', 'findings': FINDINGS}),
    (replies.GatesListed('i', control_of(CONTROL)), {'op': 'gates', **CONTROL}),
]
URGENT: list[tuple[replies.Reply, dict[str, Any]]] = [
    (replies.LeaseAnswered('i', 'acquire', '/t', LEASE_TERMS), {'op': 'acquire', **TERMS}),
    (replies.LeaseAnswered('i', 'take', '/t', LEASE_TERMS), {'op': 'take', **TERMS}),
    (replies.LeaseAnswered('i', 'request', '/t', None, 15.0),
     {'op': 'request', 'gate': '/t', 'pending': True, 'timeout': 15.0}),
    (replies.LeaseAnswered('i', 'grant', '/t'), {'op': 'grant', 'gate': '/t'}),
    (replies.LeaseAnswered('i', 'deny', '/t'), {'op': 'deny', 'gate': '/t'}),
    (replies.LeaseAnswered('i', 'release', '/t'), {'op': 'release', 'gate': '/t'}),
    (replies.StopAsserted('i'), {'op': 'stop', 'stopped': True}),
    (replies.StopAsserted('i', False), {'op': 'stop', 'stopped': False}),
    (replies.StopCleared('i'), {'op': 'clear_stop', 'stopped': False})]
PERSONAL: list[tuple[replies.Reply, dict[str, Any]]] = [
    (replies.LeaseDecided('/t', 'granted', LEASE_TERMS),
     {'op': 'lease', 'granted': True, 'reason': 'granted', **TERMS}),
    (replies.LeaseDecided('/t', 'denied', None),
     {'op': 'lease', 'gate': '/t', 'granted': False, 'epoch': None, 'reason': 'denied'}),
    (replies.LeaseLost('/t', 3, 'taken'),
     {'op': 'lost', 'gate': '/t', 'epoch': 3, 'reason': 'taken'}),
    (replies.LeaseRequested('/t', 'p2', '', '', 15.0),
     {'op': 'requested', 'gate': '/t', 'peer': 'p2', 'name': '', 'message': '',
      'timeout': 15.0})]
NEWS: list[tuple[replies.Reply, dict[str, Any]]] = [
    (replies.LeaseChanged('/t', None, None, 3, 'released'),
     {'kind': 'lease', 'gate': '/t', 'holder': None, 'holder_name': None, 'epoch': 3,
      'reason': 'released'}),
    (replies.EstopChanged(True, None, 'start'), {'kind': 'estop', **ESTOP}),
    (replies.RobotStopped('/t', 'timeout', 1, 0.5),
     {'kind': 'stopped', 'gate': '/t', 'reason': 'timeout', 'subscribers': 1, 'after': 0.5}),
    (replies.SpeedChanged('/t', 0.5, 0.3, 0.4),
     {'kind': 'speed', 'gate': '/t', 'speed_limit': 0.5, 'delay': 0.3, 'picture_age': 0.4}),
    (replies.SpeedChanged('/t', None),
     {'kind': 'speed', 'gate': '/t', 'speed_limit': None, 'delay': None, 'picture_age': None}),
    (replies.GatesChanged(control_of(CONTROL)), {'kind': 'gates', **CONTROL})]
# reply, (message_type, priority, correlation_id, destination), data
REPLIES: list[tuple[replies.Reply, tuple[str, int, str | None, str | None], Any]] = [
    (greeting_of(HELLO), ('configuration', 3, None, None), HELLO),
    (greeting_of(HELLO, 'i', asked=True), ('acknowledgment', 3, 'i', None), HELLO),
    (greeting_of(HELLO, asked=True), ('acknowledgment', 3, None, None), HELLO),
    *[(reply, ('acknowledgment', 3, 'i', None), data) for reply, data in ANSWERS],
    *[(reply, ('acknowledgment', 4, 'i', None), data) for reply, data in URGENT],
    *[(reply, ('configuration', 4, None, None), data) for reply, data in PERSONAL],
    *[(reply, ('status', 4, None, None), data) for reply, data in NEWS],
    (replies.CallDone('i', '/s', b'{"success": true}'), ('acknowledgment', 3, 'i', None),
     {'op': 'call', 'service': '/s', 'result': {'success': True}}),
    (replies.Failed(None, errors.BadFrame('no')), ('error', 3, None, None),
     {'code': 'bad_frame', 'message': 'no', 'field': None}),
    (replies.TopicAppeared(DELIVERY), ('configuration', 3, None, None),
     {'op': 'channel', **SUBSCRIBED}),
    (replies.ServiceCall('c-1', '/s', b'{"data": false}'), ('command', 3, None, '/s'),
     {'data': False}),
    (replies.GoalAccepted('i', '/a'), ('acknowledgment', 3, 'i', None),
     {'op': 'goal', 'action': '/a', 'accepted': True}),
    (replies.GoalFeedback('i', '/a', b'{"left": 2}'), ('data', 1, 'i', None), {'left': 2}),
    (replies.GoalDone('i', '/a', b'{"way": 3}', 5), ('acknowledgment', 3, 'i', None),
     {'op': 'result', 'action': '/a', 'status': 'canceled', 'result': {'way': 3}}),
    (replies.GoalRequest('g-1', '/a', 'a/action/A', b'{"order": 3}'), ('command', 3, None, '/a'),
     {'order': 3}),
    (replies.GoalCancel('g-1', '/a'), ('configuration', 3, None, None),
     {'op': 'cancel_goal', 'action': '/a', 'goal': 'g-1'}),
    (replies.Beat(4, 1_500_000_000, None), ('heartbeat', 4, None, None),
     {'type': 'heartbeat', 'timestamp': 1.5, 'sequence': 4, 'echo': None}),
    (replies.Beat(5, 1_500_000_000, (1, 2 * SECOND, 3 * SECOND), 'i'), ('heartbeat', 4, 'i', None),
     {'type': 'heartbeat', 'timestamp': 1.5, 'sequence': 5,
      'echo': {'sequence': 1, 'timestamp': 2.0, 'received': 3.0}}),
    (robot_state_of(STATE), ('status', 2, None, None), STATE),
    (replies.PlaybackChanged(PLAYBACK, True), ('status', 3, None, None),
     {'kind': 'playback', 'status': 'paused', 'time': 1.5, 'speed': 0.5, 'jumped': True}),
    (replace(greeting_of(HELLO), playback=SPAN), ('configuration', 3, None, None),
     {**HELLO, 'capabilities': [*HELLO['capabilities'], 'playback']}),
    (replies.RatesChanged(1.5, [replies.TopicRate('/t', 1.0, 2.0, 3)]), ('status', 2, None, None),
     {'kind': 'rates', 'bandwidth': 1.5, 'rates': [
         {'topic': '/t', 'rate': 1.0, 'wanted': 2.0, 'size': 3}]}),
]


@pytest.mark.parametrize(('reply', 'metadata', 'data'), REPLIES)
def test_reply(reply: replies.Reply, metadata: tuple[Any, ...], data: Any) -> None:
    frame = encode(reply)
    told = frame['metadata']
    assert (told['message_type'], told['priority'], told['correlation_id'],
            told['destination']) == metadata
    source = reply.action if isinstance(reply, replies.GoalFeedback) else 'robot'
    assert (told['timestamp'], told['source']) == (1760000000.25, source)
    assert frame['data'] == data
    if isinstance(reply, replies.ServiceCall):
        assert told['message_id'] == reply.call_id
    if isinstance(reply, replies.GoalRequest):
        assert (told['message_id'], told['kind']) == (reply.goal_id, 'action')


NOT_NATIVE: list[replies.Reply] = [
    replies.TopicsChanged({'/t': ('p/msg/T',)}, ('/u',)), replies.ServicesChanged({}, ('/s',)),
    replies.ParametersTold('i', [], {}),
    replies.ParametersSet('i', {}), replies.ParametersWatched('i', (), True),
    replies.ConnectionsChanged({}, {}, {}), replies.AssetFetched('i', b''), replies.TimeTold(1)]


@pytest.mark.parametrize('reply', [*NOT_NATIVE, object()])
def test_no_frame_for_what_is_not_native(reply: replies.Reply) -> None:
    assert native().encode(reply, 0) == []


def test_replies_cover_every_reply() -> None:
    assert {type(reply) for reply in [*(reply for reply, _, _ in REPLIES), *NOT_NATIVE]} == \
        set(get_args(replies.Reply))


@given(error=st.sampled_from(list(error_classes())), message=st.text(),
       op_id=st.none() | st.text(max_size=256))
def test_every_error_can_be_told(error: type[errors.WsBridgeError], message: str,
                                 op_id: str | None) -> None:
    frame = encode(replies.Failed(op_id, error(message)))
    assert frame['data']['code'] == error.code
    assert frame['data']['message'] == message
    assert frame['metadata']['correlation_id'] == op_id


@pytest.mark.parametrize(('error', 'path'), [
    (errors.WrongKind('x', field='linear.x'), 'data.linear.x'),
    (errors.WrongKind('x', field='[3].x'), 'data[3].x'),
    (errors.WrongKind('x'), 'data'),
    (errors.UnknownField('x', field='topic'), 'data.topic'),
    (errors.BadField('x', field='data.qos.depth'), 'data.qos.depth'),
    (errors.Forbidden('x', field='topic'), 'data.topic'),
    (errors.Forbidden('x', field='destination'), 'metadata.destination'),
    (errors.Expired('x', field='ttl'), 'metadata.ttl'),
    (errors.Expired('x', field='correlation_id'), 'metadata.correlation_id'),
    (errors.Expired('x', field='goal'), 'data.goal'),
    (errors.NotAdvertised('x', field='action'), 'data.action'),
    (errors.TypeMismatch('x', field='type'), 'data.type'),
    (errors.Unavailable('x'), None),
])
def test_errors_name_the_path_in_the_frame(error: errors.WsBridgeError,
                                           path: str | None) -> None:
    assert error_fields(error)['field'] == path


def test_what_many_are_told_is_written_once() -> None:
    shared = robot_state_of(STATE).shared
    first, other = (encode(replies.RobotState(shared, replies.LinkState(name, 1, 2)))['data']
                    for name in ('p3', 'p4'))
    assert first == {**STATE, 'you': {'peer': 'p3', 'dropped': 1, 'queued_bytes': 2,
                                      'bandwidth': None, 'rates': []}}
    assert {**other, 'you': first['you']} == first
    hits = native_replies._shared.cache_info().hits
    encode(replies.RobotState(shared, replies.LinkState('p5', 1, 2)))
    assert native_replies._shared.cache_info().hits == hits + 1


def test_the_schema_of_the_bridge_is_strict() -> None:
    frame = encode(replies.Beat(1, 1_500_000_000, None))
    for part in ('metadata', 'data'):
        assert not is_valid('bridge', {**frame, part: {**frame[part], 'surplus': 1}})
        for key in frame[part]:
            less = {name: value for name, value in frame[part].items() if name != key}
            assert not is_valid('bridge', {**frame, part: less}), key
    assert not is_valid('bridge', {**frame, 'surplus': 1})


NANOSECONDS = st.integers(-10**21, 10**21)


@given(source=st.text(max_size=9), prefix=st.text(max_size=9), stamp=NANOSECONDS,
       times=st.none() | st.tuples(st.integers(0, 2**53), NANOSECONDS, NANOSECONDS),
       sequence=st.integers(0, 2**60), answers=st.none() | st.text(max_size=20))
def test_what_is_put_together_is_what_the_encoder_would_write(
        source: str, prefix: str, stamp: int, times: tuple[int, int, int] | None,
        sequence: int, answers: str | None) -> None:
    """Byte by byte, of heartbeats and of the robot's state."""
    echo = None if times is None else {
        'sequence': times[0], 'timestamp': seconds(times[1]), 'received': seconds(times[2])}
    cases: list[tuple[replies.Reply, str, Priority, str | None, Any]] = [
        (replies.Beat(sequence, stamp, times, answers), 'heartbeat', Priority.CRITICAL, answers, {
            'type': 'heartbeat', 'timestamp': seconds(stamp), 'sequence': sequence,
            'echo': echo}),
        (replies.RobotState(robot_state_of(STATE).shared, replies.LinkState('p3', 1, 2)),
         'status', Priority.NORMAL, None, None)]
    dialect = NativeDialect(source, prefix)
    for number, (reply, kind, priority, correlation_id, data) in enumerate(cases, 1):
        frame, = dialect.encode(reply, stamp)
        assert (frame.text, frame.priority) == (True, priority)
        assert frame.data == encode_envelope(
            data or orjson.loads(frame.data)['data'], message_id=f'{prefix}-{number}',
            timestamp=seconds(stamp),
            message_type=MessageType(kind), priority=priority, source=source,
            correlation_id=correlation_id)


def test_message_ids_are_unique() -> None:
    dialect = native()
    ids = [json.loads(frame.data)['metadata']['message_id'] for _ in range(20)
           for reply, _, _ in REPLIES
           if not isinstance(reply, (replies.ServiceCall, replies.GoalRequest))
           for frame in dialect.encode(reply, 0)]
    for channel_id in range(1, 13):
        write = dialect.sample_writer('/t', channel_id, 'json')
        ids += [json.loads(write(b'{}', 0, sequence))['metadata']['message_id']
                for sequence in range(1, 125)]
    assert len(set(ids)) == len(ids)


names = st.text(min_size=1, max_size=40) | st.sampled_from(['%', '%d%s%%', '"\\"', '/é/\u2028'])


@given(names, names, st.integers(1, 2**32 - 1), st.integers(0, 2**53), st.integers(0, 4 * 10**18),
       st.dictionaries(st.text(max_size=5), values, max_size=3))
def test_text_samples(topic: str, prefix: str, channel_id: int, sequence: int, stamp: int,
                      body: dict[str, Any]) -> None:
    data = json.loads(orjson.dumps(body))
    frame = json.loads(text_writer(topic, channel_id, prefix)(orjson.dumps(body), stamp, sequence))
    if len(frame['metadata']['message_id']) <= MAX_ID_LENGTH:
        validator('bridge').validate(frame)
    assert frame['data'] == data
    assert frame['metadata'] == {
        'message_id': f'{prefix}-{channel_id}-{sequence}', 'source': topic,
        'timestamp': pytest.approx(stamp / SECOND, abs=1e-6), 'message_type': 'data',
        'priority': Priority.LOW, 'destination': None, 'correlation_id': None,
        'sequence': sequence}


# ---- binary frames, byte by byte

def header(opcode: int, ttl: int, channel_id: int, stamp: float, sequence: int, *,
           zero: int = 0) -> bytes:
    """Build the 20 bytes of the reference's table by hand."""
    return (bytes([opcode, zero]) + ttl.to_bytes(2, 'little') + channel_id.to_bytes(4, 'little')
            + struct.pack('<d', stamp) + sequence.to_bytes(4, 'little'))


u32 = st.integers(0, 2**32 - 1)
stamps = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(('encoding', 'opcode'), [('cdr', 1), ('cbor', 3)])
@given(u32, st.integers(-10**30, 10**30), st.integers(0, 2**40), st.binary(max_size=8))
def test_binary_samples(encoding: ops.Encoding, opcode: int, channel_id: int, stamp: int,
                        sequence: int, body: bytes) -> None:
    frame = native().sample_writer('/t', channel_id, encoding)(body, stamp, sequence)
    assert frame == header(opcode, 0, channel_id, stamp / SECOND, sequence % 2**32) + body
    assert binary_writer(channel_id, opcode)(body, stamp, sequence) == frame
    assert one(native().decode(frame)) == ops.BinarySample(
        channel_id, encoding, memoryview(body), nanoseconds(stamp / SECOND), sequence % 2**32)


@pytest.mark.parametrize(('encoding', 'opcode'), [('cdr', 2), ('cbor', 4)])
@given(st.integers(0, 65535), u32, stamps, u32, st.binary(max_size=8))
def test_binary_publications(encoding: ops.Encoding, opcode: int, ttl: int, channel_id: int,
                             stamp: float, sequence: int, body: bytes) -> None:
    op = one(native().decode(header(opcode, ttl, channel_id, stamp, sequence) + body))
    assert op == ops.BinaryPublish(channel_id, encoding, memoryview(body), nanoseconds(stamp),
                                   sequence, ttl / 1000 if ttl else None)


@pytest.mark.parametrize(('frame', 'code'), [
    (b'', 'bad_frame'), (bytes(19), 'bad_frame'), (header(1, 0, 1, 0.0, 0)[:19], 'bad_frame'),
    (header(1, 0, 1, 0.0, 0, zero=1), 'bad_frame'),
    (header(2, 0, 1, float('nan'), 0), 'bad_frame'),
    (header(2, 0, 1, float('inf'), 0), 'bad_frame'),
    (header(0, 0, 1, 0.0, 0), 'unknown_operation'), (header(5, 0, 1, 0.0, 0), 'unknown_operation'),
    (header(255, 0, 1, 0.0, 0), 'unknown_operation'),
])
def test_malformed_binary_frames(frame: bytes, code: str) -> None:
    assert malformed(one(native().decode(frame))).code == code


def test_binary_header_is_as_documented() -> None:
    table = [(row[0], row[1]) for row in rows(section('## Binary frames'))]
    sizes = {'u8': 1, 'u16': 2, 'u32': 4, 'f64': 8, '': 0}
    at = 0
    for offset, kind in table:
        assert int(offset) == at
        at += sizes[kind]
    assert at == len(header(1, 0, 0, 0.0, 0)) == 20


def test_a_frame_that_was_parsed_elsewhere() -> None:
    dialect = NativeDialect('bridge', 'p')
    dialect.limit_messages(1)       # frames are bounded by the connection
    value = {'metadata': {'message_id': 'i', 'message_type': 'command', 'destination': '/t'},
             'data': ops.Parked()}
    op = one(dialect.decode_value(value))
    assert isinstance(op, ops.Command)
    assert (op.op_id, op.destination, op.data) == ('i', '/t', ops.Parked())
    for metadata, code in (({'message_type': 'x'}, 'unknown_operation'),
                           ({'source': 1}, 'bad_field')):
        op = one(dialect.decode_value({'metadata': {'message_id': 'i', **metadata}}))
        assert isinstance(op, ops.Malformed)
        assert (op.op_id, op.error.code) == ('i', code)
    op = one(dialect.decode_value([1]))
    assert isinstance(op, ops.Malformed)
    assert op.op_id is None


# ---- an emergency stop

odd = st.recursive(
    scalars | st.just('\ud83d') | st.text('\ud83d\udc00a', max_size=4)
    | st.sampled_from([float('nan'), float('inf'), 'x' * 300, 9, '']),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6)
NO_MARK = st.sampled_from(['', '\ufeff', ' \n'])


def stop_frame(metadata: Any, more: Any, mark: str = '') -> str:
    """Return a stop as JSON, with whatever ``json`` writes beyond the standard."""
    return mark + json.dumps({'metadata': metadata, 'data': {**more, 'op': 'stop'}})


@given(st.dictionaries(st.sampled_from([*SCHEMA['$defs']['metadata']['properties'], 'x']), odd,
                       max_size=4) | odd.filter(lambda value: not isinstance(value, dict)),
       st.dictionaries(st.sampled_from(['reason', 'press', 'x']), odd, max_size=2), NO_MARK,
       st.booleans())
def test_a_stop_is_one_whatever_else_is_wrong(metadata: Any, more: dict[str, Any], mark: str,
                                              binary: bool) -> None:
    if isinstance(metadata, dict):
        metadata['message_type'] = 'configuration'
    text = stop_frame(metadata, more, mark)
    frame = text.encode(errors='surrogatepass') if binary else text
    if len(frame) > STOP_SIZE:
        return
    stop = one(native().decode(frame))
    assert isinstance(stop, ops.EmergencyStop)
    answer = encode(replies.StopAsserted(stop.op_id))       # it can be told
    assert (answer['data']['op'], answer['metadata']['correlation_id']) == ('stop', stop.op_id)
    orjson.dumps(stop.reason)


@pytest.mark.parametrize('metadata', [
    {'message_id': 7}, {'message_id': 'x' * 300}, {'priority': 9}, {'timestamp': 'now'},
    {'timestamp': float('nan')}, {'destination': 1}, {'source': 1}, {'ttl': -1}])
def test_a_field_of_the_envelope_keeps_no_stop(metadata: dict[str, Any]) -> None:
    frame = stop_frame({'message_id': 'i', 'message_type': 'configuration', **metadata}, {})
    op_id = None if 'message_id' in metadata else 'i'
    assert native().decode(frame) == (ops.EmergencyStop(op_id),)
    assert native().decode(frame.encode()) == (ops.EmergencyStop(op_id),)
    assert native().decode('\ufeff' + frame) == (ops.EmergencyStop(op_id),)


def test_half_of_a_letter_keeps_no_stop() -> None:
    frame = stop_frame({'message_id': 'i\ud83d', 'message_type': 'configuration'},
                       {'reason': 'fire \ud83d'})
    assert native().decode(frame) == (ops.EmergencyStop(None, 'fire ?'),)


@pytest.mark.parametrize('kind', [None, 'Configuration', 7, [], {}])
def test_a_stop_needs_no_message_type(kind: Any) -> None:
    metadata = {'message_id': 'i', 'message_type': kind}
    assert native().decode(stop_frame(metadata, {})) == (ops.EmergencyStop('i'),)
    assert native().decode('{"data": {"op": "stop"}}') == (ops.EmergencyStop(None),)


@pytest.mark.parametrize('frame', [
    stop_frame({'message_type': 'acknowledgment', 'priority': 9}, {}),      # another bridge's
    stop_frame({'message_type': 'command', 'destination': '/t', 'priority': 9}, {}),
    stop_frame({'destination': '/t', 'priority': 9}, {}),                   # a publication
    stop_frame({'message_type': 'configuration', 'priority': 9}, {'x': 'x' * 1000}),
    '{"metadata": {"priority": 9}, "data": {"op": "stopped"}}', '{"data": "stop", "metadata": 1}',
    '[' * 900, '"stop"', '{"data": {"op": "stop"}', ' ', '\ud83d'])
def test_what_is_no_stop_is_refused(frame: str) -> None:
    assert malformed(one(native().decode(frame)))
    assert malformed(one(native().decode(frame.encode(errors='surrogatepass'))))


def test_a_publication_of_the_word_stop_is_one() -> None:
    op = one(native().decode(stop_frame({'destination': '/t'}, {})))
    assert isinstance(op, ops.Command)


@pytest.mark.parametrize('frame', [
    '\ufeff' + stop_frame({'message_type': 'configuration'}, {}),
    ('\ufeff' + stop_frame({'message_type': 'configuration'}, {})).encode(),
    stop_frame({'message_type': 'configuration'}, {'reason': '\ud83d'})])
def test_a_first_frame_that_is_a_stop_is_of_this_dialect(frame: str | bytes) -> None:
    kind = DIALECTS.of_frame(frame)
    assert kind is not None
    assert kind.name == 'native'
    assert DIALECTS.of_frame('\ufeff{}') is None
