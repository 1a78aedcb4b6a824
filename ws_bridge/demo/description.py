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
"""How the demo robot looks: its URDF, and where its sensors are on it.  Without ROS."""
from __future__ import annotations

import math
from typing import NamedTuple

from ws_bridge.demo.robot import BODY_RADIUS, TRACK, WHEEL_RADIUS

BASE = 'base_link'
MESH = 'package://ws_bridge/meshes/base.stl'
LENS = -math.pi / 2.0, 0.0, -math.pi / 2.0
"""Turns x ahead, z up into what cameras have: z ahead, x to the right."""

Triple = tuple[float, float, float]


class Mount(NamedTuple):
    """Where a sensor is on the base: m, and roll, pitch, yaw in rad."""

    frame: str
    place: Triple
    angles: Triple = (0.0, 0.0, 0.0)

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """The same rotation as x, y, z, w."""
        (cr, sr), (cp, sp), (cy, sy) = (
            (math.cos(angle / 2.0), math.sin(angle / 2.0)) for angle in self.angles)
        return (sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy,
                cr * cp * sy - sr * sp * cy, cr * cp * cy + sr * sp * sy)


MOUNTS = (Mount('laser', (0.0, 0.0, 0.18)), Mount('camera', (BODY_RADIUS, 0.0, 0.12), LENS))


def describe() -> str:
    """Return the URDF; its joints have the names that ``joint_states`` has."""
    wheels = ''.join(_link(
        f'{side}_wheel', f'<cylinder radius="{WHEEL_RADIUS}" length="0.04"/>', 'dark',
        angles=(math.pi / 2.0, 0.0, 0.0)) + _joint(
            f'{side}_wheel', 'continuous', (0.0, way * TRACK / 2.0, WHEEL_RADIUS), 'y')
        for side, way in (('left', 1.0), ('right', -1.0)))
    sensors = ''.join(_link(mount.frame, '<box size="0.05 0.05 0.04"/>', 'dark') + _joint(
        mount.frame, 'fixed', mount.place, angles=mount.angles) for mount in MOUNTS)
    return f"""<?xml version="1.0"?>
<robot name="demo_robot">
  <material name="dark"><color rgba="0.15 0.15 0.17 1"/></material>
  <material name="body"><color rgba="0.20 0.45 0.75 1"/></material>
{_link(BASE, f'<mesh filename="{MESH}"/>', 'body')}{wheels}{sensors}</robot>
"""


def _link(name: str, shape: str, material: str, *, angles: Triple = (0.0, 0.0, 0.0)) -> str:
    return f"""  <link name="{name}">
    <visual>
      {_origin((0.0, 0.0, 0.0), angles)}
      <geometry>{shape}</geometry>
      <material name="{material}"/>
    </visual>
  </link>
"""


def _joint(child: str, kind: str, place: Triple, axis: str | None = None, *,
           angles: Triple = (0.0, 0.0, 0.0)) -> str:
    turns = '' if axis is None else f"""
    <axis xyz="{' '.join('1' if each == axis else '0' for each in 'xyz')}"/>"""
    return f"""  <joint name="{child}_joint" type="{kind}">
    <parent link="{BASE}"/>
    <child link="{child}"/>
    {_origin(place, angles)}{turns}
  </joint>
"""


def _origin(place: Triple, angles: Triple) -> str:
    return (f'<origin xyz="{" ".join(f"{value:g}" for value in place)}" '
            f'rpy="{" ".join(f"{value:.6g}" for value in angles)}"/>')
