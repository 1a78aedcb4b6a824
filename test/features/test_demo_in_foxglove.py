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
"""The demo robot as a 3D panel sees it, and the layout that shows it."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from support.bridge_harness import running_bridge
from support.foxglove_peer import foxglove_peer, FoxglovePeer
from support.helpers import async_wait_until, SpinningNode

from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.demo import TOPICS
from ws_bridge.demo.description import describe, MESH
from ws_bridge.demo.node import DemoRobot

LAYOUT: dict[str, Any] = json.loads((
    Path(__file__).parents[2] / 'config' / 'foxglove_demo.json').read_text())['configById']
IN_3D = {'/robot_description': 'std_msgs/msg/String', '/scan': 'sensor_msgs/msg/LaserScan',
         '/joint_states': 'sensor_msgs/msg/JointState'}
"""What the 3D panel of the layout shows, and of which type it has to be for that."""
SAID = {'/pendulum/state', *(topic for topic in TOPICS if topic != '/cmd_vel'
                             and not topic.startswith('/pendulum/'))}
"""What the robot publishes; the controller of its pendulum is not here."""


def field_type(peer: FoxglovePeer, path: str) -> str:
    """Return the type of what a plot shows, by the definition that the app is given."""
    topic, *names = path.split('.')
    channel = peer.channels[topic]
    schema: Any = schema_from_text(channel['schemaName'], channel['schema'])
    for name in names:
        (kind,) = [each.field_type for each in schema.fields if each.name == name]
        assert kind.array == 'none'
        schema = kind.message
    return str(kind.kind)


def shows_what_there_is(peer: FoxglovePeer, types: dict[str, tuple[str, ...]]) -> None:
    """Hold the layout to the topics, types and fields that the bridge tells of."""
    told = {topic: each['schemaName'] for topic, each in peer.channels.items()}
    scene, image, plot, teleop, log = (LAYOUT[f'{panel}!demo'] for panel in (
        '3D', 'Image', 'Plot', 'Teleop', 'RosOut'))
    assert {topic: told[topic] for topic in scene['topics']} == IN_3D
    assert told[image['imageMode']['imageTopic']] == 'sensor_msgs/msg/Image'
    assert told[log['topicToRender']] == 'rcl_interfaces/msg/Log'
    assert {field_type(peer, path['value']) for path in plot['paths']} == {'float64'}
    assert types[teleop['topic']] == ('geometry_msgs/msg/Twist',)


async def test_a_3d_panel() -> None:
    """It gets the description, its mesh and where things are, however late it comes."""
    with SpinningNode('demo_robot', DemoRobot):
        async with running_bridge() as service, foxglove_peer(service) as early:
            numbers = {'/robot_description': 1, '/tf': 2, '/tf_static': 3}
            for topic, number in numbers.items():
                await early.subscribe(number, topic)
            async with foxglove_peer(service) as peer:
                for topic, number in numbers.items():
                    await async_wait_until(lambda n=number: early.samples.get(n))
                    await peer.subscribe(number, topic)
                await async_wait_until(lambda: set(peer.channels) >= SAID)
                await async_wait_until(lambda: len(peer.samples) == 3)
                assert deserialize_message(peer.samples[1][0], String).data == describe()
                links = set[tuple[str, str]]()
                for topic in ('/tf', '/tf_static'):
                    channel = peer.channels[topic]
                    assert channel['schemaName'] == 'tf2_msgs/msg/TFMessage'
                    codec = Codec(schema_from_text(channel['schemaName'], channel['schema']))
                    frames = {(each['header']['frame_id'], each['child_frame_id'])
                              for sample in peer.samples[numbers[topic]]
                              for each in codec.to_values(sample)['transforms']}
                    assert frames == ({('odom', 'base_link')} if topic == '/tf' else {
                        ('base_link', 'laser'), ('base_link', 'camera')})
                    links |= frames
                await peer.ask('fetchAsset', uri=MESH, requestId=7)
                await async_wait_until(lambda: peer.assets)
                status, body = peer.assets[7]
                assert (status, body[:10]) == (0, b'solid base')
                assert not peer.statuses
                await async_wait_until(lambda: '/rosout' in peer.channels)
                shows_what_there_is(peer, {topic: tuple(info.types) for topic, info
                                           in service.ros.graph.topics.items()})
                scene = LAYOUT['3D!demo']
                assert {scene['followTf'], *(layer['frameId'] for layer in scene[
                    'layers'].values())} <= {end for link in links for end in link}
