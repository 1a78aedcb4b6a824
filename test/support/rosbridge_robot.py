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
"""The robot's side of the tests with real clients: what a page finds in the graph."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import subprocess
import sys
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import Int32, String, UInt8MultiArray
from std_srvs.srv import SetBool
from support.helpers import PATIENCE, SpinningNode
from test_msgs.action import Fibonacci

TICK = 0.02
STEP = 0.02


def furnish(node: Any) -> ActionServer:
    """
    Give a node topics that tick, echo and are latched, a service, an action, a parameter.

    :return: the action's server, which the node does not destroy by itself.
    """
    group = ReentrantCallbackGroup()
    ticks = node.create_publisher(Int32, '/ticks', 10)
    number = iter(range(1_000_000))
    node.create_timer(TICK, lambda: ticks.publish(Int32(data=next(number))))
    map_publisher = node.create_publisher(String, '/map', QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    map_publisher.publish(String(data='the map'))
    for name, msg_type in (('numbers', Int32), ('text', String), ('bytes', UInt8MultiArray)):
        out = node.create_publisher(msg_type, f'/echo/{name}/out', 50)
        node.create_subscription(msg_type, f'/echo/{name}/in', out.publish, 50)

    def switch(request: Any, response: Any) -> Any:
        response.success, response.message = request.data, 'on' if request.data else 'off'
        return response
    node.create_service(SetBool, '/switch', switch)
    node.declare_parameter('speed', 1.5)

    def pause() -> Future:
        future = Future()

        def wake() -> None:
            node.destroy_timer(timer)
            future.set_result(None)
        timer = node.create_timer(STEP, wake, callback_group=group)
        return future

    async def execute(goal: Any) -> Any:
        sequence = [0, 1]
        for _ in range(goal.request.order):
            if goal.is_cancel_requested:
                goal.canceled()
                return Fibonacci.Result(sequence=sequence)
            sequence.append(sequence[-1] + sequence[-2])
            goal.publish_feedback(Fibonacci.Feedback(sequence=sequence[-20:]))
            sequence = sequence[-20:]
            await pause()
            if sequence[-1] > 2 ** 30:
                sequence = [0, 1]
        goal.succeed()
        return Fibonacci.Result(sequence=sequence)

    return ActionServer(
        node, Fibonacci, '/fibonacci', execute, callback_group=group,
        goal_callback=lambda goal: (GoalResponse.REJECT if goal.order < 0
                                    else GoalResponse.ACCEPT),
        cancel_callback=lambda goal: CancelResponse.ACCEPT)


@contextmanager
def running_robot(name: str) -> Iterator[Any]:
    """Run the robot's node; nothing of it is left in the graph afterwards."""
    with SpinningNode(name) as spinning:
        server = furnish(spinning.node)
        try:
            yield spinning.node
        finally:
            spinning.run(server.destroy)


@contextmanager
def bridge_process(port: int = 0, log: Any = None,
                   **parameters: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """
    Run ``ws_bridge serve`` as a process of its own; give it and its URL.

    :param log: the file that its log goes to; the test's own if ``None``.
    """
    given = [part for name, value in parameters.items()
             for part in ('-p', f'{name}:={json.dumps(value)}')]
    process = subprocess.Popen(
        [sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '-p', f'port:={port}',
         *given, '--log-level', 'warn'], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert 'listening on ' in line, line
        yield process, line.split()[3]
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()
