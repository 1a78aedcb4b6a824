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
The environment of the stop process: its middleware shares no memory with other nodes.

With Fast DDS, nodes of one machine share memory, and in it a lock for each node that hears. A node
that is frozen or killed while it has its lock blocks whoever publishes to it, in ``publish``, for
1 s and more: ``test/bench/measure_dead_nodes.py``.  So the stop process sends over UDP alone.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FAST_DDS = ('rmw_fastrtps_cpp', 'rmw_fastrtps_dynamic_cpp')
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
PROFILES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
RANGE, ONLY_HERE = 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY'
ELSEWHERE = ('ROS_STATIC_PEERS', 'ROS_DISCOVERY_SERVER')
"""With these a node of this machine alone meets others all the same."""
LOOPBACK = Path(__file__).with_name('loopback.xml')
"""What the range ``LOCALHOST`` means to Fast DDS, but without shared memory."""


def profiles_variable() -> str:
    """Return which name the Fast DDS of this process reads; rclpy has been used."""
    try:
        has_old = 'libfastrtps.so' in Path('/proc/self/maps').read_text()   # before Fast DDS 3
    except OSError:     # no Linux
        has_old = False
    return PROFILES[has_old]


def without_shared_memory(environ: Mapping[str, str], middleware: str,
                          profiles: str) -> dict[str, str] | str:
    """
    Return what to change in an environment, or what keeps it from being changed.

    What the user has chosen for Fast DDS stays as it is.

    :param middleware: identifier of the RMW implementation.
    :param profiles: one of :data:`PROFILES`, which names a file to Fast DDS.
    """
    if middleware not in FAST_DDS:
        return {}
    here = environ.get(ONLY_HERE) == '1' or environ.get(RANGE) == 'LOCALHOST'
    chosen = next((name for name in (TRANSPORTS, *PROFILES, *(ELSEWHERE if here else ()))
                   if environ.get(name)), None)
    if chosen == TRANSPORTS and environ[TRANSPORTS].startswith('UDP') and not here:
        return {}
    if chosen:
        return chosen
    if not here:
        return {TRANSPORTS: 'UDPv4'}
    # Within this range the RMW adds shared memory whatever else is said.  An empty text is as no
    # variable; with any other rcl warns.
    return {RANGE: 'SYSTEM_DEFAULT', profiles: str(LOOPBACK),
            **({ONLY_HERE: ''} if ONLY_HERE in environ else {})}
