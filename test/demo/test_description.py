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

import pytest

from ws_bridge.demo.description import BASE, describe, MESH, Mount, MOUNTS
from ws_bridge.demo.robot import BODY_RADIUS, MAX_SPEED, MAX_TURN
from ws_bridge.safety.policy import TIMEOUT

ROOT = Path(__file__).parents[2]
LAYOUT = json.loads((ROOT / 'config' / 'foxglove_demo.json').read_text())


def test_the_parts_hang_together() -> None:
    robot = ElementTree.fromstring(describe())
    links = {link.get('name') for link in robot.findall('link')}
    joints = {joint.get('name'): joint for joint in robot.findall('joint')}
    ends = {name: tuple(joint.find(end).get('link')      # type: ignore[union-attr]
                        for end in ('parent', 'child')) for name, joint in joints.items()}
    assert {child for _, child in ends.values()} | {BASE} == links
    assert {'left_wheel_joint', 'right_wheel_joint'} == {
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


ANY: dict[str, Any] = {}
KEYS: dict[str, dict[str, Any]] = {
    '3D': {
        'followMode': ANY, 'followTf': ANY, 'scene': {'transforms': {'axisScale': ANY}},
        'cameraState': dict.fromkeys((
            'perspective', 'distance', 'phi', 'thetaOffset', 'targetOffset', 'target',
            'targetOrientation', 'fovy', 'near', 'far'), ANY),
        'transforms': ANY, 'publish': ANY,
        'topics': {'*': dict.fromkeys(('visible', 'pointSize', 'colorMode', 'flatColor'), ANY)},
        'layers': {'*': dict.fromkeys((
            'layerId', 'label', 'instanceId', 'visible', 'frameLocked', 'frameId', 'size',
            'divisions', 'lineWidth', 'color', 'position', 'rotation', 'order'), ANY)}},
    'Image': {'imageMode': {'imageTopic': ANY}},
    'Plot': dict.fromkeys((
        'paths', 'xAxisVal', 'showXAxisLabels', 'showYAxisLabels', 'showLegend', 'legendDisplay',
        'showPlotValuesInLegend', 'isSynced', 'followingViewWidth', 'sidebarDimension'), ANY),
    'Teleop': {'topic': ANY, 'publishRate': ANY, **{f'{way}Button': {'field': ANY, 'value': ANY}
               for way in ('up', 'down', 'left', 'right', 'rotateLeft', 'rotateRight')}},
    'RosOut': dict.fromkeys(('searchTerms', 'minLogLevel', 'topicToRender'), ANY)}
"""
What the panels read, as the sources of Lichtblick (August 2026) and Foxglove's documents have it;
``*`` is a name that the user chose. A key that is none of these would be ignored.
"""
TITLES = {'foxglovePanelTitle', 'lichtblickPanelTitle'}


def unknown(config: dict[str, Any], known: dict[str, Any]) -> Iterator[str]:
    """Give the keys that no panel reads."""
    for key, value in config.items():
        inner = known.get(key, known.get('*'))
        if inner is None:
            yield key
        elif inner and isinstance(value, dict):
            yield from (f'{key}.{each}' for each in unknown(value, inner))


def test_the_layout_has_keys_that_panels_read() -> None:
    assert set(LAYOUT) == {'configById', 'globalVariables', 'userNodes', 'playbackConfig',
                           'layout'}
    for panel, config in LAYOUT['configById'].items():
        settings = {key: value for key, value in config.items() if key not in TITLES}
        assert not list(unknown(settings, KEYS[panel.partition('!')[0]])), panel
        titles = [config[key] for key in TITLES & set(config)]
        assert not titles or titles == titles[:1] * len(TITLES)
    assert list(unknown({'topics': {'/scan': {'visible': True, 'pointsize': 4}}}, KEYS['3D'])) == [
        'topics./scan.pointsize']


def test_the_layout_hangs_together() -> None:
    configs = LAYOUT['configById']
    assert sorted(panels(LAYOUT['layout'])) == sorted(configs)
    assert {panel.partition('!')[0] for panel in configs} == set(KEYS)
    assert configs['3D!demo']['followTf'] == BASE
    for name, layer in configs['3D!demo']['layers'].items():
        assert layer['instanceId'] == name
    teleop = configs['Teleop!demo']
    most = {'linear-x': MAX_SPEED, 'angular-z': MAX_TURN}      # all that the robot obeys
    buttons = [teleop[key] for key in teleop if key.endswith('Button')]
    assert {button['field'] for button in buttons} == set(most)
    assert all(abs(button['value']) <= most[button['field']] for button in buttons)
    assert teleop['publishRate'] > 2 / TIMEOUT
