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
A client that makes one of everything, says so and waits to be killed.

``python doomed_client.py ws://127.0.0.1:9090``
"""
from __future__ import annotations

import json
import sys

from websockets.sync.client import connect

TRIGGER, FIBONACCI = 'std_srvs/Trigger', 'test_msgs/action/Fibonacci'
LIFE = (
    {'op': 'advertise', 'topic': '/doomed/topic', 'type': 'std_msgs/Int32', 'latch': True},
    {'op': 'publish', 'topic': '/doomed/topic', 'msg': {'data': 1}},
    {'op': 'subscribe', 'topic': '/doomed/heard', 'type': 'std_msgs/Int32'},
    {'op': 'advertise_service', 'service': '/doomed/service', 'type': TRIGGER},
    {'op': 'advertise_action', 'action': '/doomed/action', 'type': FIBONACCI},
    # a call of itself that it never answers
    {'op': 'call_service', 'service': '/doomed/service', 'id': 'own'},
)
GOAL = {'op': 'send_action_goal', 'action': '/fibonacci', 'action_type': FIBONACCI,
        'id': 'long', 'args': {'order': 100_000}, 'feedback': True}


def main() -> None:
    """Live until killed."""
    with connect(sys.argv[1]) as websocket:
        for operation in (*LIFE, GOAL):
            websocket.send(json.dumps(operation))
        told = False
        for frame in websocket:
            op = json.loads(frame)['op']
            if op == 'action_result':  # the bridge has not seen the server yet
                websocket.send(json.dumps(GOAL))
            elif op == 'action_feedback' and not told:
                told = True
                print('at work', flush=True)


main()
