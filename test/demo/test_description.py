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
"""How the robot looks, and Foxglove's layout that shows it: all names are those that exist."""
from __future__ import annotations

from collections.abc import Iterator
import json
import math
from pathlib import Path
import re
from typing import Any
import xml.etree.ElementTree as ElementTree

from nav_msgs.msg import Odometry
import pytest

from ws_bridge.demo import TOPICS
from ws_bridge.demo.description import BASE, describe, MESH, Mount, MOUNTS
from ws_bridge.demo.robot import BODY_RADIUS

ROOT = Path(__file__).parents[2]
LAYOUT = json.loads((ROOT / 'config' / 'foxglove_demo.json').read_text())


def test_the_parts_hang_together() -> None:
    robot = ElementTree.fromstring(describe())
    links = {link.get('name') for link in robot.findall('link')}
    joints = {joint.get('name'): joint for joint in robot.findall('joint')}
    ends = {name: tuple(joint.find(end).get('link')      # type: ignore[union-attr]
                        for end in ('parent', 'child')) for name, joint in joints.items()}
    assert {child for _, child in ends.values()} | {BASE} == links
    assert {'left_wheel_joint', 'right_wheel_joint', 'pendulum_joint'} == {
        name for name, joint in joints.items() if joint.get('type') == 'continuous'}
    assert {mount.frame for mount in MOUNTS} < links
    materials = {each.get('name') for each in robot.findall('material')}
    assert {each.get('name') for each in robot.findall('link/visual/material')} == materials


def test_the_mesh_is_what_is_installed() -> None:
    """A prism of the robot's size, closed: every edge belongs to two faces."""
    assert MESH in describe()
    # beside the Python files as well as in the share folder: `make demo` installs none
    text = (ROOT / 'ws_bridge' / MESH.removeprefix('package://ws_bridge/')).read_text()
    corners = [tuple(map(float, found)) for found in re.findall(
        r'vertex (\S+) (\S+) (\S+)', text)]
    assert max(math.hypot(x, y) for x, y, _ in corners) == pytest.approx(BODY_RADIUS, abs=1e-3)
    faces = [corners[start:start + 3] for start in range(0, len(corners), 3)]
    edges = [(face[i], face[(i + 1) % 3]) for face in faces for i in range(3)]
    assert len(set(edges)) == len(edges) == 3 * text.count('endfacet')
    assert {(end, start) for start, end in edges} == set(edges)


def test_the_axes_of_a_lens() -> None:
    """Its z looks ahead, its x to the right."""
    def turned(mount: Mount, vector: tuple[float, float, float]) -> list[float]:
        x, y, z, w = mount.quaternion
        a, b, c = vector
        s, t, u = y * c - z * b, z * a - x * c, x * b - y * a
        return [a + 2 * (w * s + y * u - z * t), b + 2 * (w * t + z * s - x * u),
                c + 2 * (w * u + x * t - y * s)]
    laser, camera = MOUNTS
    assert laser.quaternion == (0.0, 0.0, 0.0, 1.0)
    assert turned(camera, (0.0, 0.0, 1.0)) == pytest.approx([1.0, 0.0, 0.0], abs=1e-9)
    assert turned(camera, (1.0, 0.0, 0.0)) == pytest.approx([0.0, -1.0, 0.0], abs=1e-9)


def panels(part: Any) -> Iterator[str]:
    """Give the panels in a part of the layout."""
    if isinstance(part, str):
        yield part
    else:
        yield from (*panels(part['first']), *panels(part['second']))


def test_the_layout_names_what_there_is() -> None:
    configs = LAYOUT['configById']
    assert sorted(panels(LAYOUT['layout'])) == sorted(configs)
    assert {panel.partition('!')[0] for panel in configs} == {
        '3D', 'Image', 'Plot', 'Teleop', 'RosOut'}
    scene, plot, teleop = configs['3D!demo'], configs['Plot!demo'], configs['Teleop!demo']
    paths = [path['value'] for path in plot['paths']]
    named = {*scene['topics'], configs['Image!demo']['imageMode']['imageTopic'], teleop['topic'],
             configs['RosOut!demo']['topicToRender'], *(path.partition('.')[0] for path in paths)}
    assert named <= {*TOPICS, '/rosout'}
    for path in paths:      # both are of the odometry
        value: Any = Odometry()
        for field in path.split('.')[1:]:
            value = getattr(value, field)
        assert isinstance(value, float)
    assert scene['followTf'] == BASE
    assert {teleop[f'{way}Button']['field'] for way in ('up', 'down', 'left', 'right')} == {
        'linear-x', 'angular-z'}
