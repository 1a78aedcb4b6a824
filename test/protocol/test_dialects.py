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
"""The table of dialects: how a peer shows which it speaks, and a toy that is one row more."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from support.frames import one

from ws_bridge.errors import BadFrame
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialect import Dialect, SampleWriter
from ws_bridge.protocol.dialects import DialectKind, DialectOptions, DIALECTS, DialectTable
from ws_bridge.protocol.types import Priority

OPTIONS = DialectOptions('robot', 'r', 1000, 8, read_cbor=lambda data: None)


@pytest.mark.parametrize(('frame', 'name'), [
    ('{"op": "subscribe"}', 'rosbridge'), ('{"op": 5}', 'rosbridge'),
    ('{"metadata": {}}', 'native'), ('{"data": {}}', 'native'), ('{"x": 1}', None),
    ('[{"op": 1}]', None), ('\ufeff{"op": "x"}', 'rosbridge'), ('\ufeff{"data": 1}', 'native'),
    ('\ufeff{"op": NaN}', 'rosbridge'),
    ('{"op": "call_service", "service": "/stop", "id": "\\ud83d"}', 'rosbridge'),
    (b'\xa1\x62op\x61x', 'rosbridge'),
    (b'\x01\x00', 'native'), (b'', 'native')])
def test_dialect_of_a_first_frame(frame: str | bytes, name: str | None) -> None:
    kind = DIALECTS.of_frame(frame)
    assert (kind and kind.name) == name


@pytest.mark.parametrize('frame', [
    '{"op', '', '\ufeff', '\ufeff\ufeff{"op": "x"}', '{"op": "publish", "topic": "\\ud83d"}'])
def test_a_first_frame_that_cannot_be_read(frame: str) -> None:
    with pytest.raises(BadFrame, match='not JSON'):
        DIALECTS.of_frame(frame)


def test_a_peer_names_its_dialect_by_a_subprotocol() -> None:
    for name, kind in DIALECTS.items():
        assert DIALECTS.of_subprotocol(kind.subprotocol) is kind
        assert kind.name == kind.make(OPTIONS).name == name
    assert DIALECTS.of_subprotocol('mqtt') is None
    assert DIALECTS.of_subprotocol(None) is None
    assert DIALECTS.subprotocols == ('ws_bridge.v1', 'rosbridge.v2', 'foxglove.sdk.v1',
                                     'foxglove.websocket.v1', 'ws_bridge.v1.stop')
    assert repr(DIALECTS) == 'DialectTable(native, rosbridge, foxglove, stop)'


def test_no_two_dialects_share_a_name_or_a_subprotocol() -> None:
    table = DialectTable(DIALECTS.values())
    for wrong in (replace(DIALECTS['native'], name='x'),
                  replace(DIALECTS['native'], subprotocol='x'),
                  replace(DIALECTS['native'], name='x', subprotocol='x', other_subprotocols=(
                      'foxglove.websocket.v1',))):
        with pytest.raises(ValueError, match='a dialect has'):
            table.add(wrong)
    assert table == DIALECTS


@pytest.mark.parametrize('name', ['native', 'rosbridge'])
def test_what_has_a_topic_by_the_same_name_shares_its_frames(name: str) -> None:
    dialect = DIALECTS[name].make(OPTIONS)
    assert dialect.share_key('/t', '1') == dialect.share_key('/t', None)
    assert dialect.share_key('/t', '1') != dialect.share_key('/u', '1')
    assert not DIALECTS[name].hears_topics


@pytest.mark.parametrize(('name', 'value', 'path'), [
    ('native', {'metadata': {'message_type': 'command'}, 'data': {}}, ['data']),
    ('native', {'data': {}}, ['data']), ('native', {'data': []}, []),
    ('native', {'metadata': 5, 'data': {}}, ['data']),
    ('native', {'metadata': {'message_type': 'configuration'}, 'data': {}}, []),
    ('native', {'metadata': {'message_type': 'acknowledgment'}, 'data': {'result': {}}},
     ['data', 'result']),
    ('native', {'metadata': {'message_type': 'acknowledgment'}, 'data': {'result': 5}}, []),
    ('rosbridge', {'op': 'publish', 'msg': {}}, ['msg']),
    ('rosbridge', {'op': 'publish', 'msg': []}, []), ('rosbridge', {'op': 'publish'}, []),
    ('rosbridge', {'op': 'call_service', 'args': []}, ['args']),
    ('rosbridge', {'op': 'subscribe', 'msg': {}}, []), ('rosbridge', {'op': [], 'msg': {}}, [])])
def test_where_a_frame_has_values(name: str, value: dict[str, Any], path: list[str]) -> None:
    assert DIALECTS[name].find_values(value) == path


@pytest.mark.parametrize(('text', 'op_id'), [
    (b'{"metadata":{"message_id" : "m1"', 'm1'), (b' ' * 5000 + b'"message_id":"m2"}}', 'm2'),
    (b' ' * 3000 + b'"message_id":"m3"' + b' ' * 3000, None), (b'{}', None)])
def test_the_id_of_what_is_not_parsed(text: bytes, op_id: str | None) -> None:
    assert DIALECTS['native'].find_id(text) == op_id
    assert DIALECTS['rosbridge'].find_id(text) is None


def test_a_row_has_what_most_dialects_need() -> None:
    row = DialectKind('toy', 'toy.v1', lambda value: False, lambda options: Toy())
    assert row.find_values({'data': {}}) == []
    assert row.find_id(b'"message_id":"m"') is None
    assert not (row.hears_topics or row.hears_definitions or row.parses_binary
                or row.lenient_json)
    assert row.subprotocols == ('toy.v1',)


class Toy:
    """A line a message: ``sub TOPIC`` and ``unsub TOPIC``."""

    name = 'toy'
    fence = 0.0

    def decode(self, frame: str | bytes, now: float = 0.0) -> ops.Decoded:
        return self.decode_value(orjson.loads(frame), now)

    def decode_value(self, value: Any, now: float = 0.0, *,
                     wrapped: bool = False) -> ops.Decoded:
        word, topic = value['toy'].split()
        return (ops.Subscribe(word, topic) if word == 'sub' else ops.Unsubscribe(word, topic),)

    def limit_messages(self, size: int) -> None:
        pass

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        if not isinstance(reply, replies.Answer):
            return []
        return [ops.Frame(f'{reply.request} ok'.encode(), True, Priority.HIGH)]

    def share_key(self, topic: str, key: str | None) -> str:
        return topic

    def sample_writer(self, topic: str, channel_id: int, encoding: ops.Encoding,
                      key: str | None = None) -> SampleWriter:
        return lambda body, stamp, sequence: body


def test_a_dialect_is_one_row_more() -> None:
    row = DialectKind('toy', 'toy.v1', lambda value: type(value) is dict and 'toy' in value,
                      lambda options: Toy())
    table = DialectTable((*DIALECTS.values(), row))
    assert table.of_subprotocol('toy.v1') is row
    assert table.of_frame('{"toy": "sub /t"}') is row
    assert table.of_frame('{"op": "subscribe"}') is DIALECTS['rosbridge']
    toy: Dialect = row.make(OPTIONS)
    assert one(toy.decode('{"toy": "unsub /t"}')) == ops.Unsubscribe('unsub', '/t')
    (frame,) = toy.encode(replies.Unsubscribed('u', '/t'), 0)
    assert frame.data == b'unsubscribe ok'
