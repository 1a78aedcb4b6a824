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
Start the bridge where rosbridge_suite was: its port, its node name, its arguments' names.

::

    ros2 launch ws_bridge rosbridge_compatible.launch.py port:=9090

Listens on all interfaces and lets everybody in, as rosbridge does, with a warning;
``docs/migrating_from_rosbridge.md`` says what differs.
"""
# ruff takes the folder launch/ for the package of this name.
# isort: skip_file
from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = 'ws_bridge'
RESPAWN_DELAY = 2.0
# Launch argument -> parameter and its type. One that is empty has its default.
OVERRIDES = {'address': ('address', str), 'port': ('port', int),
             'certfile': ('tls_certificate', str), 'keyfile': ('tls_key', str),
             'max_message_size': ('max_message_size', int),
             'use_compression': ('compression', bool),
             'default_call_service_timeout': ('call_timeout', float),
             'mapping_file': ('mapping_file', str), 'token_file': ('token_file', str),
             'allow_anonymous': ('allow_anonymous', bool)}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription([
        DeclareLaunchArgument('address', default_value='0.0.0.0', description=(
            'Address to listen on; 127.0.0.1 = this machine only')),
        DeclareLaunchArgument('port', default_value='9090', description=(
            'TCP port to listen on; 0 = any free one, told by the parameter actual_port')),
        DeclareLaunchArgument('certfile', default_value='', description=(
            'PEM file with the certificate chain; empty = no TLS')),
        DeclareLaunchArgument('keyfile', default_value='', description=(
            'PEM file with the private key')),
        DeclareLaunchArgument('max_message_size', default_value='10000000', description=(
            'Largest message from a client, bytes')),
        DeclareLaunchArgument('use_compression', default_value='false', description=(
            'Offer per-message compression')),
        DeclareLaunchArgument('default_call_service_timeout', default_value='5.0', description=(
            'How long a service call may take unless the client says otherwise, s')),
        DeclareLaunchArgument('mapping_file', default_value='', description=(
            'File that says what is exposed, in place of the globs; empty = everything')),
        DeclareLaunchArgument('token_file', default_value='', description=(
            'File with a line for each token: name, role, token')),
        DeclareLaunchArgument('allow_anonymous', default_value='true', description=(
            'Let clients in that do not log in, as rosbridge does; false where they have tokens')),
        DeclareLaunchArgument('origins', default_value='', description=(
            'Origin of web pages from other hosts that may connect; * = any')),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node'),
        DeclareLaunchArgument('name', default_value='rosbridge_websocket',
                              description='Name of the node'),
        DeclareLaunchArgument('log_level', default_value='info', description='Least level logged',
                              choices=['debug', 'info', 'warn', 'error', 'fatal']),
        DeclareLaunchArgument('respawn', default_value='false', choices=['true', 'false'],
                              description='Start the bridge again when it ends by itself'),
        OpaqueFunction(function=bridge),
    ])


def bridge(context: LaunchContext) -> list[Node]:
    """Return the node, with those parameters that are not empty."""
    # With their types: launch would take the host name "1" for a number.
    parameters = {parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
                  for argument, (parameter, value_type) in OVERRIDES.items()
                  if LaunchConfiguration(argument).perform(context)}
    origin = LaunchConfiguration('origins').perform(context)
    return [Node(
        package=PACKAGE, executable='ws_bridge', arguments=['serve'],
        name=LaunchConfiguration('name'), namespace=LaunchConfiguration('namespace'),
        parameters=[{**parameters, **({'origins': [origin]} if origin else {})}],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        respawn=LaunchConfiguration('respawn').perform(context) == 'true',
        respawn_delay=RESPAWN_DELAY, output='screen')]
