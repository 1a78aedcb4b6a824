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
Start the demo robot and the bridge; every argument of ``ws_bridge.launch.py`` works here too.

::

    ros2 launch ws_bridge demo.launch.py
    ros2 run ws_bridge ws_bridge echo /odom
"""
# ruff takes the folder launch/ for the package of this name.
# isort: skip_file
from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

PACKAGE = 'ws_bridge'


def generate_launch_description() -> LaunchDescription:
    """Return the robot, and the bridge in the same namespace."""
    bridge = PathJoinSubstitution([FindPackageShare(PACKAGE), 'launch', 'ws_bridge.launch.py'])
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='',
                              description='Namespace of the robot and of the bridge'),
        Node(package=PACKAGE, executable='ws_bridge', exec_name='demo_robot', arguments=['robot'],
             namespace=LaunchConfiguration('namespace'), output='screen'),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(bridge),
            launch_arguments={'namespace': LaunchConfiguration('namespace')}.items()),
    ])
