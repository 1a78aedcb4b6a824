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
A fleet: a relay that carries connections of operators to robots which have dialled it.

The relay understands nothing of what it carries, and decides nothing: leases, the emergency stop,
gates, ages and rights stay in the bridge of each robot. It says who an operator is, and the robot
believes that, as far as its ``relay_role`` goes.

===================  ======================================================================
:mod:`.frames`       what crosses between a robot and a relay, and between relays
:mod:`.carrier`      streams of bytes over one such connection, each with its own window
:mod:`.outlets`      how a carrier's frames leave, and when too many wait
:mod:`.tunnel`       the end of a stream at an operator's socket
:mod:`.transport`    the end of a stream at a robot, as a transport of asyncio
:mod:`.uplink`       a robot's connection to a relay
:mod:`.relay`        the robots and operators of a relay
:mod:`.engine`       relays that are one, by NATS
:mod:`.ways`         what goes between two of them
:mod:`.pages`        what plain HTTP on a relay's port answers
:mod:`.settings`     the parameters of a relay
:mod:`.serve`        start, signals, shutdown of a relay
===================  ======================================================================

Nothing here is imported by a bridge that has no ``fleet``; a relay imports nothing of ROS.
"""
