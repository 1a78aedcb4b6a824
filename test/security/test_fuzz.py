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
"""
Everything that strangers can send, mutated for some seconds: only documented errors.

A few seconds for each target; ``FUZZ_SECONDS`` says how many together (CI: 30), and
``FUZZ_SECONDS=600 python -m pytest test/security/test_fuzz.py`` is the long run. A failure names
the seed and the input.
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import json
import os
from pathlib import Path
import time
from typing import Any, get_args

import cbor2
from hypothesis import given, HealthCheck, seed, settings
from hypothesis import strategies as st
import pytest
from support.frames import one
from support.sessions import FakeNames, START

from ws_bridge.config import Exposure, settings_from
from ws_bridge.convert.cbor import cbor_values
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import BadFrame, ConfigError, ConversionError, LoginFailed
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.tokens import parse_tokens
from ws_bridge.mapping.reader import parse_mapping
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.foxglove import FoxgloveDialect
from ws_bridge.protocol.native import BINARY_HEADER, NativeDialect
from ws_bridge.protocol.rosbridge import RosbridgeDialect
from ws_bridge.ros.types import TypeStore
from ws_bridge.session import effects as fx
from ws_bridge.session.session import Session

SECONDS = float(os.environ.get('FUZZ_SECONDS', '6'))
BATCH = 200
OPERATIONS = get_args(ops.Operation)
EFFECTS = get_args(fx.Effect)
STORE = CodecStore()
TYPES = TypeStore()
SCHEMAS = [TYPES.message(name) for name in (
    'test_msgs/BasicTypes', 'test_msgs/BoundedSequences', 'test_msgs/MultiNested',
    'test_msgs/WStrings', 'sensor_msgs/PointCloud2', 'nav_msgs/Odometry')]
ROOT = Path(__file__).resolve().parents[2]

TEXTS = [json.dumps({'metadata': {'message_type': kind, 'message_id': 'm', 'destination': '/d',
                                  'correlation_id': 'c', 'ttl': 1, 'ack': True, 'kind': 'topic',
                                  'timestamp': 1.5, 'priority': 2, 'sequence': 3},
                     'data': data}).encode()
         for kind, data in (
             ('command', {'linear': {'x': 1.0}}), ('data', {'a': [1, 2]}), ('status', {'k': 1}),
             ('error', {'code': 'x', 'message': 'm'}), ('acknowledgment', {'op': 'result'}),
             ('heartbeat', {'type': 'heartbeat', 'timestamp': 1, 'sequence': 2, 'echo': {
                 'sequence': 1, 'timestamp': 2, 'received': 3}}),
             *(('configuration', {'op': op, 'topic': '/t', 'type': 'a/msg/B', 'service': '/s',
                                  'action': '/a', 'goal': 'g', 'token': 't', 'qos': {'depth': 1},
                                  'encoding': 'cbor', 'max_rate': 5, 'subscribe': True,
                                  'picture_time': 5})
               for op in ('hello', 'auth', 'list', 'schema', 'subscribe', 'unsubscribe', 'shown',
                          'advertise', 'advertise_service', 'cancel_goal', 'advertise_action',
                          'status', 'channel')))]
OLD = [{'op': op, 'id': 'i', 'topic': '/t', 'type': 'a/B', 'msg': {'x': 1}, 'service': '/rosapi/x',
        'args': [1], 'action': '/a', 'action_type': 'a/B', 'values': {}, 'result': True,
        'status': 4, 'level': 'info', 'data': '{"op":"advertise"}', 'num': 0, 'total': 2,
        'queue_length': 1, 'throttle_rate': 5, 'compression': 'cbor', 'fragment_size': 100,
        'mac': 'x', 'token': 't', 'feedback': True}
       for op in ('advertise', 'unadvertise', 'publish', 'subscribe', 'unsubscribe',
                  'call_service', 'service_response', 'advertise_service', 'fragment', 'png',
                  'set_level', 'status', 'auth', 'send_action_goal', 'cancel_action_goal',
                  'action_feedback', 'action_result')]
VIEWER = [{'op': op, 'id': 'i', 'subscriptions': [{'id': 1, 'channelId': 1}],
           'channels': [{'id': 2, 'topic': '/t', 'encoding': 'json', 'schemaName': 'a/B'}],
           'subscriptionIds': [1], 'channelIds': [2], 'parameterNames': ['/n.p'],
           'parameters': [{'name': '/n.p', 'value': 'AQI=', 'type': 'byte_array'}],
           'uri': 'package://a/b', 'requestId': 1}
          for op in ('subscribe', 'unsubscribe', 'advertise', 'unadvertise', 'getParameters',
                     'setParameters', 'subscribeParameterUpdates', 'unsubscribeParameterUpdates',
                     'subscribeConnectionGraph', 'unsubscribeConnectionGraph', 'fetchAsset')]
MAPPING = (ROOT / 'config' / 'mapping.example.yaml').read_bytes()


def session(dialect: str) -> Session:
    return Session('p', dialect, settings=settings_from({}), exposure=Exposure.open(),
                   names=FakeNames(), now=START, unix_offset=0.0)


def native(data: bytes) -> None:
    """Decode frames of the native dialect and give what they ask for to a session."""
    peer = session('native')
    codec = NativeDialect('robot', 'p')
    for frame in (data, data.decode(errors='replace')):
        op = one(codec.decode(frame, START))
        assert isinstance(op, OPERATIONS)
        for effect in peer.receive(op, START):
            assert isinstance(effect, EFFECTS)
            if isinstance(effect, fx.Send):
                assert all(json.loads(each.data) for each in codec.encode(effect.reply, 1))


def rosbridge(data: bytes) -> None:
    """Decode frames of rosbridge and give what they ask for to a session."""
    peer = session('rosbridge')
    codec = RosbridgeDialect(100_000, cbor_values)
    codec.decode('{"op":"set_level","level":"info"}')
    for frame in (data, data.decode(errors='replace')):
        with suppress(BadFrame):
            assert DIALECTS.of_frame(frame) in (*DIALECTS.values(), None)
        op = one(codec.decode(frame, START))
        if op is None:
            continue
        assert isinstance(op, OPERATIONS)
        for effect in peer.receive(op, START):
            assert isinstance(effect, EFFECTS)
            if isinstance(effect, fx.Send):
                assert all(json.loads(each.data) for each in codec.encode(effect.reply, 1))


def foxglove(data: bytes) -> None:
    """Decode frames of Foxglove's dialect and give what they ask for to a session."""
    peer = session('foxglove')
    codec = FoxgloveDialect('robot')
    codec.encode(replies.TopicsChanged({'/t': ('a/msg/B',)}, (), {'a/msg/B': ''}), 1)
    codec.encode(replies.ServicesChanged({'/s': replies.ServiceDefined(
        None, 'a/srv/B', '', '')}, ()), 1)
    codec.decode(json.dumps(VIEWER[2]))
    for frame in (data, data.decode(errors='replace')):
        decoded = codec.decode(frame, START)
        assert isinstance(decoded, tuple)
        for op in decoded:
            assert isinstance(op, OPERATIONS)
            for effect in peer.receive(op, START):
                assert isinstance(effect, EFFECTS)
                if isinstance(effect, fx.Send):
                    assert all(json.loads(each.data) for each in codec.encode(effect.reply, 1)
                               if each.text)


def cdr(data: bytes) -> None:
    """Check and convert bytes that should be a message, of each type."""
    for schema in SCHEMAS:
        codec = STORE.codec(schema)
        for convert in (codec.check, codec.to_json, codec.to_values, codec.to_cbor):
            try:
                convert(data)
            except ConversionError:
                continue


def values(data: bytes) -> None:
    """Convert parsed values that should be a message, of each type."""
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        parsed = data.decode(errors='replace')
    for schema in SCHEMAS:
        codec = STORE.codec(schema)
        for given_values in (parsed, {field.name: parsed for field in schema.fields}):
            try:
                codec.check(codec.from_values(given_values, now=(1, 2)))
            except ConversionError:
                continue
        try:
            codec.check(codec.from_cbor(data, now=(1, 2)))
        except ConversionError:
            continue


def mapping(data: bytes) -> None:
    """Read a mapping file."""
    try:
        assert isinstance(parse_mapping(data, 'm.yaml'), Exposure)
    except ConfigError as exc:
        assert str(exc).startswith('m.yaml')


AUTHORITY = Authority(settings_from({}), {'WS_BRIDGE_TOKENS': 'a operator correct-horse-battery'})


def logins(data: bytes) -> None:
    """Read a token file, and present tokens."""
    text = data.decode(errors='surrogateescape')
    with suppress(ConfigError):
        parse_tokens(text, 'f')
    for present in (lambda: AUTHORITY.identify(text),
                    lambda: AUTHORITY.identify_credentials({'token': text}, 1.0),
                    lambda: AUTHORITY.identify_credentials({
                        'mac': text, 'client': text, 'dest': '', 'rand': '', 'level': '', 't': 1,
                        'end': 2}, 1.0)):
        try:
            assert present().name == 'a'
        except LoginFailed:
            continue


Edit = tuple[int, int, bytes]
TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    'native': (native, [*TEXTS, *(BINARY_HEADER.pack(code, 0, 5, 1, 1.0, 1) + b'\0\1\0\0abcd'
                                  for code in range(5))]),
    'rosbridge': (rosbridge, [*(json.dumps(each).encode() for each in OLD),
                              *(cbor2.dumps(each) for each in OLD)]),
    'foxglove': (foxglove, [*(json.dumps(each).encode() for each in VIEWER),
                            b'\1\2\0\0\0{"x":1}', b'\2\1\0\0\0\5\0\0\0\4\0\0\0json{}']),
    'cdr': (cdr, [STORE.codec(schema).from_values({}) for schema in SCHEMAS]),
    'values': (values, [b'1', b'-1e400', b'"text"', b'[1,2,3]', b'{"sec":1,"nanosec":2}',
                        b'{"a":{"b":[null,true]}}', cbor2.dumps({'a': [1.5, None, b'x']})]),
    'mapping': (mapping, [MAPPING, b'version: 1\nroles:\n  a: {like: operator, allow: [call: /x]}'
                          b'\nidentities: {b: a}\n']),
    'logins': (logins, [b'a operator correct-horse-battery', b'a.b.c', b'eyJhbGciOiJub25lIn0.e30.',
                        b'b - sha256:' + b'0' * 64])}


def edited(start: bytes, edits: list[Edit]) -> bytes:
    """Return bytes after some edits: each replaces ``length`` bytes somewhere."""
    data = bytearray(start)
    for place, length, new in edits:
        at = place % (len(data) + 1)
        data[at:at + length] = new
    return bytes(data)


@pytest.mark.parametrize('name', TARGETS)
def test_only_documented_errors(name: str) -> None:
    target, corpus = TARGETS[name]
    chunks = st.binary(max_size=8) | st.sampled_from(
        [b'"', b'{', b'[', b']', b'}', b':', b',', b'null', b'1e999', b'\\ud800', b'\0', b'\xff',
         b'\xff\xff\xff\xff', b'\n', b' - ', b'*', b'&a', b'!!python/object', b'NaN', b'-0'])
    edit: Any = st.tuples(st.integers(0, 1 << 16), st.integers(0, 12), chunks)
    inputs = st.builds(edited, st.sampled_from(corpus), st.lists(edit, max_size=6)) | \
        st.binary(max_size=300)
    end = time.monotonic() + SECONDS / len(TARGETS)
    number = 0
    while number == 0 or time.monotonic() < end:
        number += 1

        @seed(time.time_ns())
        @settings(max_examples=BATCH, deadline=None, database=None,
                  suppress_health_check=list(HealthCheck))
        @given(inputs)
        def run(data: bytes) -> None:
            target(data)
        run()
