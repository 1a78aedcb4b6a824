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
"""What the environment of the stop process says of transports, and what Fast DDS makes of it."""
from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from rclpy.utilities import get_rmw_implementation_identifier

from ws_bridge.ros.transports import (
    FAST_DDS,
    LOOPBACK,
    PROFILES,
    profiles_variable,
    without_shared_memory,
)

FAST = FAST_DDS[0]
HERE = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
OURS = {'FASTDDS_DEFAULT_PROFILES_FILE': str(LOOPBACK),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SYSTEM_DEFAULT'}
SHARED = re.compile('/dev/shm/fast(dds|rtps)_')
NODE = """
import rclpy
rclpy.init()
node = rclpy.create_node('alone')
print(open('/proc/self/maps').read())
"""


@pytest.mark.parametrize(('environ', 'changes'), [
    ({}, {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}),
    ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}, {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}),
    ({'ROS_STATIC_PEERS': '10.0.0.1'}, {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}),
    (HERE, OURS),
    ({'ROS_LOCALHOST_ONLY': '1'}, {**OURS, 'ROS_LOCALHOST_ONLY': ''}),
    ({'ROS_LOCALHOST_ONLY': '0'}, {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}),
    ({'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv6'}, {}),
    # What the user has chosen stays.
    ({'FASTDDS_BUILTIN_TRANSPORTS': 'SHM'}, 'FASTDDS_BUILTIN_TRANSPORTS'),
    ({**HERE, 'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}, 'FASTDDS_BUILTIN_TRANSPORTS'),
    ({'FASTRTPS_DEFAULT_PROFILES_FILE': '/x.xml'}, 'FASTRTPS_DEFAULT_PROFILES_FILE'),
    ({**HERE, 'FASTDDS_DEFAULT_PROFILES_FILE': '/x.xml'}, 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ({**HERE, 'ROS_STATIC_PEERS': '10.0.0.1'}, 'ROS_STATIC_PEERS'),
    ({**HERE, 'ROS_DISCOVERY_SERVER': '10.0.0.1'}, 'ROS_DISCOVERY_SERVER')])
def test_what_is_changed(environ: dict[str, str], changes: object) -> None:
    assert without_shared_memory(environ, FAST, PROFILES[0]) == changes


def test_other_middleware_is_left_alone() -> None:
    """With it the range of the second case would be wider than what the user has asked for."""
    assert without_shared_memory(HERE, 'rmw_cyclonedds_cpp', PROFILES[0]) == {}


@pytest.mark.parametrize('asked', [
    {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}, {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'},
    {'ROS_LOCALHOST_ONLY': '1'}])
def test_fast_dds_shares_no_memory_then(asked: dict[str, str]) -> None:
    environ = {**os.environ, **asked}
    middleware = get_rmw_implementation_identifier()
    changes = without_shared_memory(environ, middleware, profiles_variable())
    assert isinstance(changes, dict)
    before, after = (subprocess.run([sys.executable, '-c', NODE], env=each, check=True,
                                    capture_output=True, text=True)
                     for each in (environ, {**environ, **changes}))
    assert [bool(SHARED.search(each.stdout)) for each in (before, after)] == [True, False]
    assert after.stderr == ''
