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
"""The demo robot: what it brings to the graph, and how it is started beside the bridge."""
from __future__ import annotations

TOPICS = ('/battery_state', '/camera/image', '/cmd_vel', '/joint_states', '/odom',
          '/pendulum/effort', '/pendulum/mode', '/pendulum/push', '/pendulum/setpoint',
          '/pendulum/state', '/pose', '/robot_description', '/scan', '/tf', '/tf_static')
SERVICES = ('/reset', '/set_motors')
PARENT = '--parent'
"""Comes before the id of the process without which the robot is to end, however that ended."""
