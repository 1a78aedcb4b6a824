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
The bridge: sessions on one side, ROS on the other; the one place where both threads meet.

====================  =====================================================================
:mod:`.bridge`        peers: connections, sessions, the effects of their operations
:mod:`.outward`       topics from ROS to peers: one subscription, encoded once an encoding
:mod:`.publications`  topics from peers to ROS: shared publishers, checked conversion
:mod:`.services`      calls from peers to ROS and from ROS to peers
:mod:`.actions`       goals from peers to ROS and from ROS to peers
:mod:`.rosapi`        questions about the robot, as rosbridge's clients ask them
:mod:`.pages`         what plain HTTP on the port answers
:mod:`.state`         what the robot is told to be like
:mod:`.handover`      how the ROS threads hand work over to the loop
====================  =====================================================================
"""
from ws_bridge.bridge.bridge import Bridge
from ws_bridge.bridge.handover import Mailbox

__all__ = ['Bridge', 'Mailbox']
