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
Start the bridge.

::

    ros2 launch ws_bridge ws_bridge.launch.py mapping_file:=$PWD/mapping.yaml
    ros2 launch ws_bridge ws_bridge.launch.py host:=0.0.0.0 params_file:=$PWD/secure.yaml

The second is for other machines: its parameter file has to say how peers log in, or the bridge
refuses to start.
"""
# ruff takes the folder launch/ for the package of this name.
# isort: skip_file
from __future__ import annotations

import os

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = 'ws_bridge'
RESPAWN_DELAY = 2.0
# Launch argument -> parameter and its type. One that is empty leaves it to the parameter file.
OVERRIDES = {'host': ('address', str), 'port': ('port', int),
             'mapping_file': ('mapping_file', str)}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    parameters = PathJoinSubstitution([FindPackageShare(PACKAGE), 'config', 'ws_bridge.yaml'])
    return LaunchDescription([
        DeclareLaunchArgument('host', default_value='', description=(
            'Address to listen on, 0.0.0.0 for all (peers have to log in then); empty = as the '
            'parameter file says')),
        DeclareLaunchArgument('port', default_value='', description=(
            'TCP port to listen on; empty = as the parameter file says')),
        DeclareLaunchArgument('mapping_file', default_value='', description=(
            'File that says what is exposed; empty = as the parameter file says')),
        DeclareLaunchArgument('params_file', default_value=parameters,
                              description='Parameter file of the bridge'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node'),
        DeclareLaunchArgument('name', default_value=PACKAGE, description='Name of the node'),
        DeclareLaunchArgument('log_level', default_value='info', description='Least level logged',
                              choices=['debug', 'info', 'warn', 'error', 'fatal']),
        DeclareLaunchArgument('respawn', default_value='false', choices=['true', 'false'],
                              description='Start the bridge again when it ends by itself'),
        OpaqueFunction(function=bridge),
    ])


def bridge(context: LaunchContext) -> list[Node]:
    """
    Return the node, with those parameters that were given as arguments.

    :raises ValueError: the port is no number, or the parameter file is not there; launch says it
        in one line, where the node would start with its defaults.
    """
    port = LaunchConfiguration('port').perform(context)
    if port and not port.isdecimal():
        raise ValueError(f'port:={port} is no port: a whole number from 0 to 65535')
    params_file = LaunchConfiguration('params_file').perform(context)
    if not os.path.isfile(params_file):
        raise ValueError(f'params_file:={params_file} is no file')
    # With their types: launch would take the host name "1" for a number.
    overrides = {parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
                 for argument, (parameter, value_type) in OVERRIDES.items()
                 if LaunchConfiguration(argument).perform(context)}
    return [Node(
        package=PACKAGE, executable='ws_bridge', arguments=['serve'],
        name=LaunchConfiguration('name'), namespace=LaunchConfiguration('namespace'),
        parameters=[LaunchConfiguration('params_file'), *([overrides] if overrides else [])],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        respawn=LaunchConfiguration('respawn').perform(context) == 'true',
        respawn_delay=RESPAWN_DELAY, output='screen')]
