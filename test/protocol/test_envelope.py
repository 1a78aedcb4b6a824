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
"""The seed's envelope: round trips, defaults, and every way to be wrong."""
from __future__ import annotations

import contextlib
import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import orjson
import pytest

from ws_bridge.errors import BadField, BadFrame, ProtocolError
from ws_bridge.protocol.envelope import decode, encode, MAX_DEPTH, MAX_ID_LENGTH, parse_json
from ws_bridge.protocol.types import MessageType, Priority

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=['Cs'])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=['Cs'])), inner, max_size=4),
    max_leaves=10)


@given(JSON, st.sampled_from(MessageType), st.sampled_from(Priority),
       st.none() | st.text('abc/', max_size=9), st.none() | st.floats(0, 1e9), st.booleans())
def test_what_is_encoded_is_decoded(data: Any, message_type: MessageType, priority: Priority,
                                    name: str | None, ttl: float | None, as_text: bool) -> None:
    """Every field survives, from text and from bytes."""
    frame = encode(data, message_id='m1', timestamp=12.5, message_type=message_type,
                   priority=priority, source='me', destination=name, correlation_id=name,
                   ttl=ttl, extra={'sequence': 7})
    got = decode(frame.decode() if as_text else frame)
    assert (got.message_id, got.timestamp, got.message_type, got.priority, got.source) == (
        'm1', 12.5, message_type, priority, 'me')
    assert (got.destination, got.correlation_id, got.ttl) == (name, name, ttl)
    assert got.extra == {'sequence': 7}
    assert got.data == data


def test_wire_format() -> None:
    """The seed's keys, in its order, and no others unless they are used."""
    frame = encode({'x': 1}, message_id='a', timestamp=1.0)
    assert json.loads(frame) == {
        'metadata': {'message_id': 'a', 'timestamp': 1.0, 'message_type': 'data', 'priority': 2,
                     'source': '', 'destination': None, 'correlation_id': None},
        'data': {'x': 1}}


def test_encoded_data_is_put_in_as_it_is() -> None:
    """What a converter made is not parsed again."""
    frame = encode(orjson.Fragment(b'{"a":[1,2]}'), message_id='a', timestamp=1.0)
    assert decode(frame).data == {'a': [1, 2]}


def test_keys_that_are_numbers_become_text_as_with_json() -> None:
    """A program that relied on ``json.dumps`` goes on working."""
    assert decode(encode({1: [{2.5: 'x'}]}, message_id='a', timestamp=1.0)).data == {
        '1': [{'2.5': 'x'}]}


@pytest.mark.parametrize('data', [object(), {'a': b'bytes'}, 2**64, '\ud800', {(1, 2): 3}, 1j])
def test_data_that_cannot_be_json(data: Any) -> None:
    """It is refused with the path."""
    with pytest.raises(BadField, match='data: cannot be JSON'):
        encode(data, message_id='a', timestamp=1.0)


def test_numbers_that_json_does_not_have() -> None:
    """They become null."""
    assert decode(encode([math.nan, math.inf], message_id='a', timestamp=1.0)).data == [None, None]


@pytest.mark.parametrize('frame', [
    '{"metadata":{}}', '{"data":null}', '{"metadata":null,"data":1}',
    '{"metadata":{"source":null,"priority":null,"ttl":null}}'])
def test_what_is_missing_has_its_default(frame: str) -> None:
    """As the seed is: lenient."""
    got = decode(frame)
    assert (got.message_id, got.timestamp, got.message_type, got.priority, got.source,
            got.destination, got.correlation_id, got.ttl, got.extra) == (
        None, None, MessageType.DATA, Priority.NORMAL, '', None, None, None, {})


@pytest.mark.parametrize(('value', 'priority'), [
    (1, Priority.LOW), (4, Priority.CRITICAL), ('high', Priority.HIGH), ('LOW', Priority.LOW)])
def test_priority_is_a_number_or_a_name(value: object, priority: Priority) -> None:
    """Both are understood."""
    assert decode(json.dumps({'metadata': {'priority': value}})).priority is priority


WRONG = [
    ('message_id', 5), ('message_id', 'x' * (MAX_ID_LENGTH + 1)), ('correlation_id', []),
    ('correlation_id', 'x' * (MAX_ID_LENGTH + 1)), ('timestamp', '1'), ('timestamp', True),
    ('message_type', 'nonsense'), ('message_type', 3), ('message_type', ['data']),
    ('priority', 0), ('priority', 5), ('priority', 'urgent'), ('priority', 2.0),
    ('priority', True), ('priority', [1]), ('source', 1), ('destination', {}), ('ttl', -0.1),
    ('ttl', 'short'), ('ttl', False)]


@pytest.mark.parametrize(('key', 'value'), WRONG)
def test_a_metadata_key_of_the_wrong_kind(key: str, value: object) -> None:
    """The error names it."""
    with pytest.raises(BadField) as caught:
        decode(json.dumps({'metadata': {key: value}, 'data': 1}))
    assert caught.value.field == f'metadata.{key}'


def test_metadata_that_is_no_object() -> None:
    """It is a field like another."""
    with pytest.raises(BadField) as caught:
        decode('{"metadata": []}')
    assert caught.value.field == 'metadata'


def test_numbers() -> None:
    """A whole number is a time as well; one that is too big is none."""
    got = decode('{"metadata":{"timestamp":5,"ttl":0}}')
    assert (got.timestamp, got.ttl) == (5.0, 0.0)
    with pytest.raises(BadFrame):
        decode('{"metadata":{"timestamp":1e999}}')


@pytest.mark.parametrize('frame', [
    '', 'x', '5', '[]', '"text"', 'null', '{}', '{"op":"publish"}', '{"data":1', '{"data":NaN}',
    '{"data":"\\ud800"}', b'\xff\xfe', '\ufeff', '\ufeff\ufeff{"data":1}', '{"data":1}{"data":2}',
    '{"data":' + '[' * 100_000 + ']' * 100_000 + '}', '[' * 5_000_000])
def test_frames_that_are_no_envelopes(frame: str | bytes) -> None:
    """All the same error."""
    with pytest.raises(BadFrame):
        decode(frame)


def test_a_byte_order_mark_is_skipped() -> None:
    for frame in ('\ufeff{"data":1}', '\ufeff{"data":1}'.encode()):
        assert decode(frame).data == 1


@pytest.mark.parametrize('depth', [8, MAX_DEPTH, 200])
@pytest.mark.parametrize('opening', ['[', '{"a":'])
def test_depth_is_bounded(opening: str, depth: int) -> None:
    """Just deep enough is fine, one more is not; width does not count."""
    closing = ']' if opening == '[' else '}'
    fine = opening * (depth - 1) + '[]' + closing * (depth - 1)
    parse_json(fine, depth)
    parse_json(fine.encode(), depth)
    with pytest.raises(BadFrame, match=f'deeper than {depth}'):
        parse_json(opening + fine + closing, depth)
    parse_json('[' + '{},' * 1000 + '[[]]]', depth)
    parse_json('"' + '[' * 1000 + '"', depth)


@given(st.text() | st.binary())
def test_any_text_is_an_envelope_or_a_protocol_error(frame: str | bytes) -> None:
    """Nothing else comes out."""
    with contextlib.suppress(ProtocolError):
        decode(frame)


@given(st.dictionaries(st.sampled_from([key for key, _ in WRONG]), JSON))
def test_any_metadata_is_understood_or_a_protocol_error(metadata: dict[str, Any]) -> None:
    """Nothing else comes out."""
    try:
        decode(orjson.dumps({'metadata': metadata}))
    except ProtocolError as exc:
        assert exc.field is not None
