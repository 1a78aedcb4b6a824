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
"""Transforms where ``tf2_msgs`` is not installed: peers get the topics that everybody knows."""
from __future__ import annotations

from importlib.util import find_spec
import struct

from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
import pytest
from rclpy.serialization import deserialize_message, serialize_message

from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import UnknownType
from ws_bridge.ros import transforms
from ws_bridge.ros.graph import GraphSnapshot, TopicInfo
from ws_bridge.ros.transforms import (
    ELEMENT,
    schema_of_tf,
    source_of,
    tf_message,
    TF_TYPE,
    with_stand_ins,
)
from ws_bridge.ros.types import TypeStore

TYPES = TypeStore()
GRAPH = GraphSnapshot({'/tf/stamped': TopicInfo((ELEMENT,), 2, 1),
                       '/tf_static/stamped': TopicInfo(('std_msgs/msg/String',), 1),
                       '/odom': TopicInfo(('nav_msgs/msg/Odometry',), 1)})


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as if the package were not installed."""
    monkeypatch.setattr(transforms, 'is_installed', lambda: False)


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize(('parent', 'child'), [
    ('odom', 'base_link'), ('', ''), *(('x' * n, 'é' * m) for n in range(4) for m in range(4))])
def test_a_list_of_one(parent: str, child: str, order: str) -> None:
    """Equal to what the converters make, for every length of the names, and of either order."""
    stamped = TransformStamped(child_frame_id=child, transform=Transform(
        translation=Vector3(x=1.5, y=-2.0, z=1e300), rotation=Quaternion(z=0.6, w=0.8)))
    stamped.header.frame_id = parent
    stamped.header.stamp.sec, stamped.header.stamp.nanosec = -1, 999_999_999
    element = Codec(TYPES.message(ELEMENT))
    whole = Codec(schema_of_tf(element.schema))
    values = element.to_values(serialize_message(stamped))
    sample = element.from_values(values)    # whose bytes in between are 0, as ours are
    wanted = whole.from_values({'transforms': [values]})
    if order == '<':
        assert tf_message(sample) == wanted
    else:
        assert len(tf_message(swapped(sample))) == len(wanted)
        assert tf_message(swapped(sample))[4:8] == b'\0\0\0\1'
        assert struct.unpack('>7d', tf_message(swapped(sample))[-56:]) == \
            struct.unpack('<7d', wanted[-56:])


def swapped(sample: bytes) -> bytes:
    """Return the numbers of a transform in the other order."""
    data, at = bytearray(sample), 12
    data[1] ^= 1
    data[4:8], data[8:12] = data[4:8][::-1], data[8:12][::-1]
    for _ in range(2):
        at += -at % 4
        length = int.from_bytes(sample[at:at + 4], 'little')
        data[at:at + 4] = data[at:at + 4][::-1]
        at += 4 + length
    for start in range(len(sample) - 56, len(sample), 8):
        data[start:start + 8] = data[start:start + 8][::-1]
    return bytes(data)


def test_what_the_graph_shows(missing: None) -> None:
    shown = with_stand_ins(GRAPH).topics
    assert shown['/tf'] == TopicInfo((TF_TYPE,), 2)
    assert '/tf_static' not in shown        # that one is of another type
    real = GraphSnapshot({**GRAPH.topics, '/tf': TopicInfo((TF_TYPE,), 1)})
    assert with_stand_ins(real) is real
    assert source_of('/tf', TF_TYPE, shown) == '/tf/stamped'
    assert source_of('/tf', None, shown) is None
    assert source_of('/tf_static', TF_TYPE, {}) is None
    assert source_of('/odom', TF_TYPE, shown) is None


def test_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, 'is_installed', lambda: True)
    assert with_stand_ins(GRAPH) is GRAPH
    assert source_of('/tf', TF_TYPE, GRAPH.topics) is None


@pytest.mark.skipif(find_spec('tf2_msgs') is None, reason='tf2_msgs is not installed')
def test_it_is_what_the_package_has() -> None:
    from tf2_msgs.msg import TFMessage

    real = TYPES.message(TF_TYPE)
    assert TYPES.message_class(TF_TYPE) is TFMessage
    assert schema_to_text(real) == schema_to_text(schema_of_tf(TYPES.message(ELEMENT)))
    stamped = TransformStamped(child_frame_id='base_link')
    stamped.header.frame_id = 'odom'
    assert deserialize_message(tf_message(serialize_message(stamped)), TFMessage) == TFMessage(
        transforms=[stamped])


@pytest.mark.skipif(find_spec('tf2_msgs') is not None, reason='tf2_msgs is installed')
def test_the_type() -> None:
    for name in (TF_TYPE, 'tf2_msgs/TFMessage'):
        schema = TYPES.message(name)
        assert schema.name == TF_TYPE
        assert schema_to_text(schema).startswith('geometry_msgs/TransformStamped[] transforms\n')
    with pytest.raises(UnknownType):
        TYPES.message_class(TF_TYPE)        # nobody can publish it
    with pytest.raises(UnknownType):
        TYPES.message('tf2_msgs/msg/TF2Error')
