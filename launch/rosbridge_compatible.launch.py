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
``docs/how-to/come_from_rosbridge.md`` says what differs.
"""
# ruff takes the folder launch/ for the package of this name.
# isort: skip_file
from __future__ import annotations

import atexit
import os
import tempfile

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
import yaml

PACKAGE = 'ws_bridge'
RESPAWN_DELAY = 2.0
# Launch argument -> parameter and its type. One that is empty has its default.
OVERRIDES = {'address': ('address', str), 'port': ('port', int),
             'certfile': ('tls_certificate', str), 'keyfile': ('tls_key', str),
             'max_message_size': ('max_message_size', int),
             'use_compression': ('compression', bool),
             'default_call_service_timeout': ('call_timeout', float),
             'websocket_ping_interval': ('ping_interval', float),
             'websocket_ping_timeout': ('ping_timeout', float),
             'mapping_file': ('mapping_file', str), 'token_file': ('token_file', str),
             'allow_anonymous': ('allow_anonymous', bool), 'pages': ('pages', str),
             'neutral_first': ('neutral_first', bool),
             'fence_interval': ('fence_interval', float)}
# The same for lists: ['a', 'b'] or a,b.
LISTS = {'origins': 'origins', 'hosts': 'hosts', 'gated_types': 'gated_types'}
# Globs, and the lists of the mapping file that is written from them.
GLOBS = {'topics_glob': ('out', 'in'), 'services_glob': ('services', 'host')}
# Arguments of rosbridge that change nothing here, its defaults, and why.
NEEDLESS = {
    'url_path': ('/', 'every path is taken'),
    'retry_startup_delay': ('5.0', 'a port that is taken is an error: use respawn'),
    'fragment_timeout': ('600', 'it is 30 s, and incomplete messages are bounded'),
    'delay_between_messages': ('0.0', 'a slow client gets the newest samples'),
    'unregister_timeout': ('10.0', 'what a client made goes when it leaves'),
    'call_services_in_new_thread': ('true', 'calls never wait for each other'),
    'send_action_goals_in_new_thread': ('true', 'goals never wait for each other'),
    'params_timeout': ('5.0', 'default_call_service_timeout holds for rosapi too')}
# Those that cannot be had, the values that ask for nothing, and what to do.
MISSING = {
    'bson_only_mode': (('', 'false', 'False', '0'), 'there is no BSON: clients may ask for cbor'),
    'binary_encoder': (('', 'default', 'b64'), 'there is no BSON: clients may ask for cbor'),
    'params_glob': (('', '[*]', "['*']"), 'roles in a mapping_file say who may read and write')}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription([
        DeclareLaunchArgument('address', default_value='0.0.0.0', description=(
            'Address to listen on; :: = IPv6 too, 127.0.0.1 = this machine; empty = 0.0.0.0')),
        DeclareLaunchArgument('port', default_value='9090', description=(
            'TCP port to listen on; 0 = any free one, told by the parameter actual_port')),
        DeclareLaunchArgument('ssl', default_value='', description=(
            'true or false: TLS; empty = where there is a certfile'),
            choices=['', 'true', 'false', 'True', 'False']),
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
        DeclareLaunchArgument('websocket_ping_interval', default_value='', description=(
            'Time between WebSocket pings, s; 0 = none; empty = 5')),
        DeclareLaunchArgument('websocket_ping_timeout', default_value='', description=(
            'Time to answer one, s; empty = 10')),
        DeclareLaunchArgument('topics_glob', default_value='', description=(
            "Topics that clients may use, as ['/odom', '/camera/*']; [] = none, empty = all")),
        DeclareLaunchArgument('services_glob', default_value='', description=(
            'The same for services')),
        DeclareLaunchArgument('mapping_file', default_value='', description=(
            'File that says what is exposed, in place of the globs; empty = everything')),
        DeclareLaunchArgument('gated_types', default_value='', description=(
            "Types whose topics get a gate; [''] = none, empty = velocities, joysticks, "
            'trajectories')),
        DeclareLaunchArgument('neutral_first', default_value='', description=(
            'true: the first command after a change or a stop has to be zero, of everybody; '
            'empty = false'), choices=['', 'true', 'false', 'True', 'False']),
        DeclareLaunchArgument('fence_interval', default_value='', description=(
            'Time between pings to a client that may command but does not, s; its first command '
            'may be older by it; empty = 1')),
        DeclareLaunchArgument('token_file', default_value='', description=(
            'File with a line for each token: name, role, token')),
        DeclareLaunchArgument('allow_anonymous', default_value='true', description=(
            'Let clients in that do not log in, as rosbridge does; false where they have tokens')),
        DeclareLaunchArgument('origins', default_value='', description=(
            'Origins of web pages from other hosts that may connect; * = any')),
        DeclareLaunchArgument('hosts', default_value='', description=(
            'Names by which clients may reach the bridge; empty = those of this machine')),
        DeclareLaunchArgument('pages', default_value='', description=(
            'Folder with web pages of your own, served below /pages/')),
        *(DeclareLaunchArgument(name, default_value=default, description=(
            f'Of rosbridge, changes nothing here: {why}'))
          for name, (default, why) in NEEDLESS.items()),
        *(DeclareLaunchArgument(name, default_value='', description=(
            f'Of rosbridge, cannot be had: {instead}'))
          for name, (_, instead) in MISSING.items()),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node'),
        DeclareLaunchArgument('name', default_value='rosbridge_websocket',
                              description='Name of the node'),
        DeclareLaunchArgument('log_level', default_value='info', description='Least level logged',
                              choices=['debug', 'info', 'warn', 'error', 'fatal']),
        DeclareLaunchArgument('respawn', default_value='false', description=(
            'Start the bridge again when it ends by itself'),
            choices=['true', 'false', 'True', 'False']),
        OpaqueFunction(function=bridge),
    ])


def bridge(context: LaunchContext) -> list[LogInfo | Node]:
    """Return the node, with those parameters that are not empty, after what has to be said."""
    def value(argument: str) -> str:
        return str(LaunchConfiguration(argument).perform(context))

    for argument, (nothing, instead) in MISSING.items():
        if value(argument).strip() not in nothing:
            raise RuntimeError(f'{argument}:={value(argument)} cannot be had: {instead}')
    said = [LogInfo(msg=f'{argument}:={value(argument)} changes nothing: {why}')
            for argument, (default, why) in NEEDLESS.items() if value(argument) != default]
    # With their types: launch would take the host name "1" for a number.
    parameters = {parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
                  for argument, (parameter, value_type) in OVERRIDES.items() if value(argument)}
    if not value('address'):        # rosbridge listens on all then
        parameters['address'] = '0.0.0.0'
    if value('ssl').lower() == 'false':
        parameters.pop('tls_certificate', None)
        parameters.pop('tls_key', None)
    elif value('ssl').lower() == 'true' and not value('certfile'):
        raise RuntimeError('ssl:=true needs a certfile')
    globs = {argument: texts(value(argument), argument)
             for argument in GLOBS if value(argument).strip()}
    if globs:
        if value('mapping_file'):
            raise RuntimeError(f'{" and ".join(globs)} and mapping_file say the same: give one')
        parameters['mapping_file'] = write_mapping(globs)
    parameters.update({parameter: texts(value(argument), argument)
                       for argument, parameter in LISTS.items() if value(argument).strip()})
    return [*said, Node(
        package=PACKAGE, executable='ws_bridge', arguments=['serve'],
        name=LaunchConfiguration('name'), namespace=LaunchConfiguration('namespace'),
        parameters=[parameters],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        respawn=value('respawn').lower() == 'true',
        respawn_delay=RESPAWN_DELAY, output='screen')]


def texts(given: str, argument: str) -> list[str]:
    """Return the texts of a list as rosbridge and ROS write it, or with commas alone."""
    given = given.strip()
    if not given.startswith('['):
        return [text.strip() for text in given.split(',')]
    inner = given[1:-1] if given.endswith(']') else None
    if inner is None or '[' in inner:
        raise RuntimeError(f"{argument}:={given} is no list: ['a', 'b']")
    return [text.strip().strip('\'"') for text in inner.split(',')] if inner.strip() else []


def write_mapping(globs: dict[str, list[str]]) -> str:
    """Write a mapping file that exposes what the globs name, and return its path."""
    mapping = {'version': 1, **{key: list(globs.get(argument, ['*']))
                                for argument, keys in GLOBS.items() for key in keys}}
    descriptor, path = tempfile.mkstemp(prefix='ws_bridge_globs_', suffix='.yaml')
    with os.fdopen(descriptor, 'w') as file:
        yaml.safe_dump(mapping, file)
    atexit.register(os.unlink, path)
    return path
