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
The rig of the pendulum on the graph: cart, motor and sensors of :mod:`ws_bridge.demo.cart`.

==================  ==========================  ================================================
``pendulum/state``  ``sensor_msgs/JointState``  ``cart`` (m), ``lower`` and ``upper`` (rad from
                                                upright), their rates, and the force that the
                                                motor made; 50 Hz
``pendulum/push``   ``std_msgs/Float64``        in: the force of a hand on the cart, N, for 0.1 s
==================  ==========================  ================================================

Each tick is one period of the rig's time, however late it comes: on a busy machine the pendulum
gets slower, it does not fall. The controller is called, not asked by a topic: both ways through
rclpy's executor cost as much as the whole robot. Until there is one, somebody holds the poles.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64

from ws_bridge.demo.cart import Cart, CartState, MOST_DELAY, PERIOD
from ws_bridge.demo.entities import declare_live, publisher, Row, subscription
from ws_bridge.errors import OutOfRange

NAMES = ('cart', 'lower', 'upper')
PUSH_TIME = 0.1
FAULTS: dict[str, Row] = {
    'pendulum_bias': (0.0, -0.5, 0.5, "What the sensor of the lower pole's angle shows too much, "
                                      'rad.'),
    'pendulum_actuator': (1.0, 0.0, 1.0, 'The part of the force that the motor still makes; '
                                         '0 = it is lost.'),
    'pendulum_delay': (0, 0, MOST_DELAY, 'So many periods of 20 ms later a force arrives at the '
                                         'motor.'),
}


class Bench:
    """
    The rig, as a part of a node that calls :meth:`tick` once a period.

    :ivar control: is given what the sensors show, and returns the force wanted, N.
    :raises ConfigError: for a fault of the wrong type or out of its range.
    """

    def __init__(self, node: Node) -> None:
        self.cart = Cart()
        self.control: Callable[[CartState], float] | None = None
        self._node = node
        self._push = 0.0
        self._pushes = 0
        declare_live(node, FAULTS, self._break)
        self._state = publisher(node, JointState, 'pendulum/state', 10)
        subscription(node, Float64, 'pendulum/push', self._on_push, 10)

    def __repr__(self) -> str:
        return f'<Bench {self.cart}>'

    def reset(self) -> None:
        """Put the poles upright again; what is broken stays broken."""
        self.cart.reset()
        self._pushes = 0

    def tick(self) -> None:
        """Publish the state, and let one period pass."""
        state = self.cart.measured()
        message = JointState(name=NAMES, position=state[:3], velocity=state[3:],
                             effort=(self.cart.force, 0.0, 0.0))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._state.publish(message)
        if self.control is None:
            return
        self.cart.advance(self.control(state), self._push if self._pushes else 0.0)
        self._pushes = max(self._pushes - 1, 0)

    def _break(self, name: str, value: Any) -> None:
        setattr(self.cart, name.removeprefix('pendulum_'), value)

    def _on_push(self, message: Float64) -> None:
        try:
            self._push = self.cart.checked(message.data)
        except OutOfRange as error:
            self._node.get_logger().warning(f'pendulum/push refused: {error}',
                                            throttle_duration_sec=1.0)
        else:
            self._pushes = round(PUSH_TIME / PERIOD)
