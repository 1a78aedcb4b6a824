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
"""What the ROS side can be told, with its defaults."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RosSettings:
    """
    Settings of the ROS side; a declared ROS parameter of the same name replaces one.

    Durations are in seconds, on a steady clock.

    :param node_name: name of the node, unless ``__node`` is remapped.
    :param namespace: namespace of the node, unless ``__ns`` is remapped.
    :param subscription_depth: samples that ROS keeps for a subscription until they are taken.
    :param pending_depth: samples that a publisher keeps until it is ready.
    :param pending_bytes: their total size.
    :param match_timeout: how long a new publisher waits for the subscribers of its topic.
    :param service_wait: how long a call waits for its service to appear.
    :param client_idle: how long an unused service client is kept.
    :param max_requests: unanswered requests that a hosted service remembers.
    :param graph_interval: how often the graph is looked at.
    :param overlap: how long a subscription and its replacement run side by side.
    :param latched_count: transient-local samples kept for late peers, a topic.
    :param latched_bytes: their total size, a topic; in either direction.
    :param latched_total_bytes: the same of everything that peers publish.
    :param estop_service: ``std_srvs/srv/Trigger`` to call when the emergency stop is asserted.
    """

    node_name: str = 'ws_bridge'
    namespace: str = ''
    subscription_depth: int = 1000
    pending_depth: int = 100
    pending_bytes: int = 64 * 1024 * 1024
    match_timeout: float = 1.0
    service_wait: float = 1.5
    client_idle: float = 30.0
    max_requests: int = 1000
    graph_interval: float = 0.5
    overlap: float = 1.0
    latched_count: int = 1000
    latched_bytes: int = 64 * 1024 * 1024
    latched_total_bytes: int = 256 * 1024 * 1024
    estop_service: str = ''
