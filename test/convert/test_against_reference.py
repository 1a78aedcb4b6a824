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
The proof: on every type, the compiled converter, the plain one and rclpy say the same.

Values are compared by ``repr``, in which NaN equals NaN and -0.0 differs from 0.0.
"""
from __future__ import annotations

import os

from hypothesis import given, HealthCheck, Phase, settings
from hypothesis import strategies as st
import orjson
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from support import reference_converter as reference
from support.strategies import interface_names, message_values, walk

from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema_text import schema_from_text, schema_to_text
from ws_bridge.errors import ConversionError, MalformedCdr
from ws_bridge.ros.types import TypeStore

TYPES = TypeStore()
NAMES = interface_names()
EXAMPLES = 60 if os.environ.get('HYPOTHESIS_PROFILE') == 'thorough' else 5
few = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck),
               phases=[Phase.explicit, Phase.generate])   # shrinking large messages takes minutes


def test_all_kinds_of_interfaces_are_found():
    assert {'test_msgs/msg/MultiNested', 'test_msgs/srv/BasicTypes_Request',
            'test_msgs/action/Fibonacci_Feedback', 'std_srvs/srv/SetBool_Response',
            'sensor_msgs/msg/Image'} <= set(NAMES)
    assert len(NAMES) > 150


@pytest.mark.parametrize('name', NAMES)
def test_text_of_every_schema_comes_back(name):
    schema = TYPES.message(name)
    assert schema_from_text(name, schema_to_text(schema)) == schema


@pytest.mark.parametrize('name', NAMES)
def test_defaults_are_those_of_rclpy(name):
    codec = Codec(TYPES.message(name))
    message = TYPES.message_class(name)()
    cdr = codec.from_values({})
    assert cdr == reference.encode(codec.schema, {})
    assert deserialize_message(cdr, type(message)) == message


@pytest.mark.parametrize('name', NAMES)
def test_every_type_converts_both_ways(name):
    schema = TYPES.message(name)
    message_class = TYPES.message_class(name)
    codec = Codec(schema)

    @few
    @given(values=message_values(schema))
    def check(values):
        cdr = codec.from_values(values)
        assert cdr == reference.encode(schema, values)
        message = deserialize_message(cdr, message_class)
        assert repr(walk(message, schema)) == repr(values)

        theirs = serialize_message(message)   # with junk in the padding
        for each in (cdr, theirs, bytearray(theirs), memoryview(theirs),
                     reference.encode(schema, values, '>')):
            assert repr(codec.to_values(each)) == repr(values)
            codec.check(each)
            assert reference_json(codec.to_json(each), schema) == cdr_without_nan(schema, values)
            assert codec.from_cbor(codec.to_cbor(each)) == cdr
            assert codec.from_values(codec.to_values(each)) == cdr
        text = codec.to_json(cdr)
        assert codec.to_json(codec.from_json(text)) == text
        assert codec.from_json(text.decode()) == codec.from_json(text)

    check()


def reference_json(text, schema):
    """Return what JSON text means, in CDR: float32 are written shortest, so text differs."""
    return reference.encode(schema, orjson.loads(text))


def cdr_without_nan(schema, values):
    return reference.encode(schema, reference.jsonable(values))


STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-300, 300), st.floats(),
    st.text(max_size=3),
    st.just('\ud800'), st.just('a\x00'), st.just('AAAA'), st.binary(max_size=4), st.just({}),
    st.lists(st.one_of(st.none(), st.booleans(), st.integers(-300, 70000), st.floats(),
                       st.text(max_size=2), st.just({})), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.just([2 ** 64]), st.just([1e300]), st.just(10 ** 400), st.just([10 ** 400]))


def replace_somewhere(draw, values):
    """Put something strange at a random place of ``values``, in place."""
    place = values
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys or draw(st.integers(0, 9)) == 0:
            if isinstance(place, dict):
                name = draw(st.sampled_from(['nope', 'secs', 'nsecs', 'x', 'data']))
                place[name] = draw(STRANGE)
            else:
                place.append(draw(STRANGE))
            return
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and draw(st.integers(0, 3)):
            place = place[key]
        elif isinstance(place, dict) and draw(st.booleans()):
            del place[key]
            return
        else:
            place[key] = draw(STRANGE)
            return


@pytest.mark.parametrize('name', NAMES)
def test_strange_values_are_judged_as_the_reference_does(name):
    schema = TYPES.message(name)
    codec = Codec(schema)

    @few
    @given(values=message_values(schema), data=st.data())
    def check(values, data):
        replace_somewhere(data.draw, values)
        try:
            wanted = reference.encode(schema, values)
        except reference.Bad:
            with pytest.raises(ConversionError):
                codec.from_values(values)
        else:
            assert codec.from_values(values) == wanted

    check()


@pytest.mark.parametrize('name', NAMES)
def test_damaged_cdr_is_judged_as_the_reference_does(name):
    schema = TYPES.message(name)
    codec = Codec(schema)

    @few
    @given(values=message_values(schema), big=st.booleans(), data=st.data())
    def check(values, big, data):
        cdr = bytearray(reference.encode(schema, values, '>' if big else '<'))
        for _ in range(data.draw(st.integers(1, 3))):
            byte = st.sampled_from([0, 1, 2, 3, 4, 0x7f, 0x80, 0xff]) | st.integers(0, 255)
            cdr[data.draw(st.integers(0, len(cdr) - 1))] = data.draw(byte)
        for strict in (False, True):
            try:
                wanted = reference.decode(schema, bytes(cdr), strict=strict)
            except reference.Bad:
                wanted = None
            readers = [codec.check] if strict else \
                [codec.to_values, codec.to_json, codec.to_cbor]
            for reader in readers:
                if wanted is None:
                    with pytest.raises(ConversionError) as caught:
                        reader(cdr)
                    assert str(caught.value) != 'malformed'
                else:
                    found = reader(cdr)
                    assert reader != codec.to_values or repr(found) == repr(wanted)

    check()


@pytest.mark.parametrize('name', [
    'test_msgs/msg/Arrays', 'test_msgs/msg/UnboundedSequences', 'test_msgs/msg/WStrings',
    'test_msgs/msg/Strings', 'nav_msgs/msg/Odometry', 'std_msgs/msg/Empty',
    'sensor_msgs/msg/JointState', 'visualization_msgs/msg/MarkerArray'])
def test_cdr_cut_anywhere_is_malformed(name):
    schema = TYPES.message(name)
    codec = Codec(schema)

    @settings(few, max_examples=2)
    @given(values=message_values(schema))
    def check(values):
        cdr = codec.from_values(values)
        for end in range(len(cdr)):
            for reader in (codec.to_json, codec.to_values, codec.to_cbor, codec.check):
                with pytest.raises(MalformedCdr) as caught:
                    reader(cdr[:end])
                assert str(caught.value) != 'malformed'

    check()
