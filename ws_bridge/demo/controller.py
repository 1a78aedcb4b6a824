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
The controller of the pendulum as a node: :mod:`ws_bridge.demo.control` with gains to tune.

======================  ======================  =============================================
``pendulum/setpoint``   ``std_msgs/Float64``    in: where the cart is to be, m
``pendulum/effort``     ``std_msgs/Float64``    the force wanted for each state, N; 50 Hz
``pendulum/mode``       ``std_msgs/String``     ``upright``, ``fallen``, ``waiting`` or
                                                ``swinging``; kept for who comes later
``pendulum/swing_up``   ``Fibonacci``, an       brings the poles up
                        action
======================  ======================  =============================================

The wheels of ROS on PyPI bring one useful type of action, ``test_msgs/action/Fibonacci``. Here
``order`` is the time that it may take, s (0: 60 s). ``sequence`` is the time that passed, ms, and
the height of the upper end above the cart, mm.
"""
from __future__ import annotations

import math
from typing import Any

from rclpy.action.server import ActionServer, CancelResponse, GoalResponse, ServerGoalHandle
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64, String

from ws_bridge.demo.cart import Build, CartState, PERIOD
from ws_bridge.demo.control import Controller, GAINS, Mode
from ws_bridge.demo.entities import declare_live, publisher, Row, subscription
from ws_bridge.errors import ConfigError, OutOfRange

try:
    from test_msgs.action import Fibonacci
except ImportError:
    Fibonacci = None

NEWEST = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LONGEST = 60
LOOK = 0.2
"""Time between two looks at a goal, s; each is a feedback."""
SURE = round(1.0 / PERIOD)
"""So many samples the poles stand before a goal has succeeded."""
_GAIN_TEXTS = {
    'gain_cart': "Force for the cart's distance from its setpoint, N/m",
    'gain_lower': "Force for the lower pole's angle, N/rad",
    'gain_upper': "Force for the upper pole's angle, N/rad",
    'gain_cart_rate': "Force for the cart's speed, N s/m",
    'gain_lower_rate': "Force for the lower pole's rate, N s/rad",
    'gain_upper_rate': "Force for the upper pole's rate, N s/rad"}
GAIN_ROWS: dict[str, Row] = {
    name: (gain, -1000.0, 1000.0, f'{what}; an LQR gain.')
    for (name, what), gain in zip(_GAIN_TEXTS.items(), GAINS, strict=True)}


class PendulumController(Node):
    """
    The node; it needs an executor that spins it, and a rig that calls :meth:`control`.

    :param name: its name, unless ``__node`` is remapped.
    :param context: its context; the global one if ``None``.
    :param parameter_overrides: values for :data:`GAIN_ROWS`.
    :raises ConfigError: for a parameter of the wrong type or out of its range.
    """

    def __init__(self, name: str = 'pendulum_controller', *, context: Context | None = None,
                 parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__(name, context=context, parameter_overrides=parameter_overrides)
        self.controller = Controller()
        self._server: ActionServer | None = None
        self._gains = dict.fromkeys(GAIN_ROWS, 0.0)
        try:
            declare_live(self, GAIN_ROWS, self._tune)
        except ConfigError:
            self.destroy_node()
            raise
        self._height = -2.0 * Build.length
        self._sure = 0
        self._goal: ServerGoalHandle | None = None
        self._since = 0
        self._looks = self.create_timer(LOOK, self._look)
        self._looks.cancel()
        self._mode_told: Mode | None = None
        self._effort = publisher(self, Float64, 'pendulum/effort', 10)
        self._mode = publisher(self, String, 'pendulum/mode', NEWEST)
        self._tell_mode()
        subscription(self, Float64, 'pendulum/setpoint', self._on_setpoint, 10)
        if Fibonacci is None:
            self.get_logger().warning('no swing-up: test_msgs is not installed')
            return
        self._server = ActionServer(
            self, Fibonacci, 'pendulum/swing_up', self._result, goal_callback=self._judge,
            handle_accepted_callback=self._begin, cancel_callback=lambda _: CancelResponse.ACCEPT)

    def destroy_node(self) -> None:
        """End the action with the node."""
        if self._server is not None:
            self._server.destroy()
        super().destroy_node()

    def _tune(self, name: str, value: float) -> None:
        self._gains[name] = value
        self.controller.gains = tuple(self._gains.values())

    def _on_setpoint(self, message: Float64) -> None:
        try:
            self.controller.setpoint = message.data
        except OutOfRange as error:
            self.get_logger().warning(f'pendulum/setpoint refused: {error}',
                                      throttle_duration_sec=1.0)

    def control(self, state: CartState) -> float:
        """Return the force wanted for what the sensors show, N, and publish it."""
        force = self.controller.force(state)
        self._effort.publish(Float64(data=force))
        self._height = Build.length * (math.cos(state.lower) + math.cos(state.upper))
        self._sure = self._sure + 1 if self.controller.mode is Mode.UPRIGHT else 0
        self._tell_mode()
        return force

    def _tell_mode(self) -> None:
        if self.controller.mode is not self._mode_told:
            self._mode_told = self.controller.mode
            self._mode.publish(String(data=self._mode_told.value))

    # One goal at a time. It is executed when it is over: rclpy runs a coroutine that waits again
    # and again without a pause.

    def _judge(self, goal: Any) -> GoalResponse:
        return GoalResponse.REJECT if self._goal is not None or goal.order < 0 \
            else GoalResponse.ACCEPT

    def _begin(self, goal: ServerGoalHandle) -> None:
        self._goal = goal
        self._since = self.get_clock().now().nanoseconds
        self._sure = 0
        self.controller.swing_up()
        self._looks.reset()

    def _progress(self) -> list[int]:
        passed = self.get_clock().now().nanoseconds - self._since
        return [passed // 10**6, round(1000.0 * self._height)]

    def _look(self) -> None:
        goal = self._goal
        assert goal is not None
        progress = self._progress()
        is_over = (goal.is_cancel_requested or self._sure >= SURE
                   or progress[0] > 1000 * (goal.request.order or LONGEST))
        if not is_over:
            self.controller.swing_up()      # they may have fallen again
            goal.publish_feedback(Fibonacci.Feedback(sequence=progress))
            return
        self._looks.cancel()
        self.controller.give_up()
        self._tell_mode()
        goal.execute()

    def _result(self, goal: ServerGoalHandle) -> Any:
        if goal.is_cancel_requested:
            goal.canceled()
        elif self._sure >= SURE:
            goal.succeed()
        else:
            goal.abort()
        self._goal = None
        return Fibonacci.Result(sequence=self._progress())
