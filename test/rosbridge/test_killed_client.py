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
"""A client that is killed leaves nothing in the graph, whatever it was doing."""
from __future__ import annotations

from pathlib import Path
import subprocess
import sys

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int32
from support.helpers import wait_until
from support.rosbridge_robot import bridge_process, running_robot

CLIENT = Path(__file__).parent / 'clients' / 'doomed_client.py'
GONE_WITHIN = 1.0


def test_killed_client_leaves_nothing() -> None:
    with running_robot('robot') as robot, bridge_process() as (_, url):
        states: list[int] = []
        robot.create_subscription(
            GoalStatusArray, '/fibonacci/_action/status',
            lambda message: states.extend(each.status for each in message.status_list), 10)

        heard: list[Int32] = []
        robot.create_subscription(Int32, '/doomed/topic', heard.append, QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))

        def made() -> dict[str, int]:
            return {
                'publisher': robot.count_publishers('/doomed/topic'),
                'subscription': robot.count_subscribers('/doomed/heard'),
                'service': robot.count_services('/doomed/service'),
                'action': robot.count_services('/doomed/action/_action/send_goal'),
                'goal': states[-1:] == [GoalStatus.STATUS_EXECUTING]}
        client = subprocess.Popen([sys.executable, str(CLIENT), url], stdout=subprocess.PIPE,
                                  text=True)
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == 'at work\n'
            wait_until(lambda: all(made().values()) and heard, why=lambda: str(made()))
        finally:
            client.kill()
            client.communicate()
        wait_until(lambda: not any(made().values()), GONE_WITHIN, lambda: str(made()))
        # said after the goal is no longer EXECUTING
        wait_until(lambda: states[-1] == GoalStatus.STATUS_CANCELED, why=lambda: str(states[-9:]))
