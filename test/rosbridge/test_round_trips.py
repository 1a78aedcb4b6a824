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
Values through the whole bridge: JSON and CBOR to ROS and back, for every message of test_msgs.

What comes back must be what was sent, in both encodings, whichever was sent.
"""
from __future__ import annotations

import base64
from collections.abc import Iterator
from inspect import signature
import json
import math
from typing import Any

import cbor2
from hypothesis import given, HealthCheck, Phase, settings
import numpy as np
import pytest
from support.rosbridge_robot import bridge_process
from support.strategies import message_values
import test_msgs.msg
from websockets.sync.client import ClientConnection, connect

from ws_bridge.convert.schema import FieldType, MessageSchema
from ws_bridge.ros.types import TypeStore

TYPES = sorted(name for name, cls in vars(test_msgs.msg).items() if hasattr(cls, 'SLOT_TYPES'))
EXAMPLES = 8
TIMEOUT = 15.0
STORE = TypeStore()
TYPED_ARRAYS = {69: '<u2', 70: '<u4', 71: '<u8', 72: 'i1', 77: '<i2', 78: '<i4', 79: '<i8',
                85: '<f4', 86: '<f8'}

NO_PINGS = {'ping_interval': None} if 'ping_interval' in signature(connect).parameters else {}
"""A ping takes a number from ``random``, in a thread: hypothesis takes that for the strategy's."""

Pair = tuple[ClientConnection, ClientConnection]


@pytest.fixture(scope='module')
def peers() -> Iterator[Pair]:
    """Give a client that hears JSON and one that hears CBOR, of one bridge."""
    with bridge_process() as (_, url), connect(url, max_size=None, **NO_PINGS) as text, \
            connect(url, max_size=None, **NO_PINGS) as binary:
        text.send('{"op": "set_level", "level": "error"}')
        yield text, binary


def prepared(peers: Pair, name: str) -> str:
    """Subscribe in both encodings and advertise; return the topic."""
    text, binary = peers
    topic = f'/round_trip/{name.lower()}'
    for peer, compression in ((text, 'none'), (binary, 'cbor')):
        peer.send(json.dumps({'op': 'subscribe', 'topic': topic, 'type': f'test_msgs/{name}',
                              'compression': compression}))
        # the subscription is asked for before the first sample is
        peer.send('{"op": "call_service", "service": "/rosapi/get_time"}')
        assert json.loads(peer.recv(TIMEOUT))['result'] is True
    text.send(json.dumps({'op': 'advertise', 'topic': topic, 'type': f'test_msgs/{name}'}))
    return topic


def received(peers: Pair) -> tuple[Any, Any]:
    """Return the next message in both encodings."""
    text, binary = peers
    words = json.loads(text.recv(TIMEOUT), parse_constant=pytest.fail)
    assert words['op'] == 'publish', words
    data = binary.recv(TIMEOUT)
    assert isinstance(data, bytes), data
    return words['msg'], cbor2.loads(data, tag_hook=array_of)['msg']


def array_of(*arguments: Any) -> Any:
    """Decode a typed array, as RFC 8746 has it; cbor2 5 and 6 call differently."""
    tag = next(value for value in arguments if isinstance(value, cbor2.CBORTag))
    return np.frombuffer(tag.value, TYPED_ARRAYS[tag.tag]).tolist()


def finite(values: Any) -> Any:
    """Return values as JSON has them: null for what is no finite number."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def same(schema: MessageSchema, sent: Any, got: Any) -> None:
    """Check every field; a float32 by its value, NaN and null as one."""
    assert list(got) == [item.name for item in schema.fields]
    for item in schema.fields:
        field_type = item.field_type
        mine, theirs = sent[item.name], got[item.name]
        if field_type.array != 'none' and field_type.kind != 'uint8':
            assert len(mine) == len(theirs), item.name
            for one, other in zip(mine, theirs, strict=True):
                same_one(field_type, one, other)
        elif field_type.array != 'none' and isinstance(theirs, bytes):
            assert base64.b64decode(mine) == theirs
        else:
            same_one(field_type, mine, theirs)


def same_one(field_type: FieldType, sent: Any, got: Any) -> None:
    if field_type.message is not None:
        same(field_type.message, sent, got)
    elif (field_type.kind in ('float32', 'float64') and field_type.array == 'none') or \
            isinstance(sent, float) or sent is None:
        one, other = (math.nan if value is None else value for value in (sent, got))
        kind = np.float32 if field_type.kind == 'float32' else np.float64
        assert kind(one) == kind(other) or (math.isnan(one) and math.isnan(other))
    else:
        assert sent == got
        assert type(sent) is type(got)


@pytest.mark.parametrize('name', TYPES)
def test_there_and_back(peers: Pair, name: str) -> None:
    schema = STORE.message(f'test_msgs/{name}')
    topic = prepared(peers, name)

    @settings(max_examples=EXAMPLES, phases=[Phase.generate], deadline=None,
              suppress_health_check=list(HealthCheck))
    @given(message_values(schema))
    def check(values: dict[str, Any]) -> None:
        plain = finite(values)
        peers[0].send(json.dumps({'op': 'publish', 'topic': topic, 'msg': plain}))
        words, binary = received(peers)
        same(schema, plain, words)
        same(schema, plain, binary)
        # the same by CBOR, which has infinities
        peers[0].send(cbor2.dumps({'op': 'publish', 'topic': topic, 'msg': values}))
        words, binary = received(peers)
        same(schema, plain, words)
        same(schema, values, binary)
    check()
    for peer in peers:
        peer.send(json.dumps({'op': 'unsubscribe', 'topic': topic}))
    peers[0].send(json.dumps({'op': 'unadvertise', 'topic': topic}))
