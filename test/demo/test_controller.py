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
"""The pendulum and its controller as nodes, over real rclpy; its time passes faster too."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
import math
from typing import Any

from action_msgs.msg import GoalStatus
import pytest
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, String
from support.helpers import SpinningNode, wait_until
from test_msgs.action import Fibonacci

from ws_bridge.demo.bench import FAULTS, NAMES
from ws_bridge.demo.cart import CartState, HANGING, PERIOD
from ws_bridge.demo.controller import GAIN_ROWS, PendulumController
from ws_bridge.demo.node import DemoRobot
from ws_bridge.errors import ConfigError

KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Rig:
    """Both nodes, and what is heard of them."""

    def __init__(self, demo: SpinningNode, hearer: SpinningNode) -> None:
        self.demo, self.node = demo, hearer.node
        self.bench = demo.node.bench
        self.newest: dict[str, Any] = {}
        self.modes: list[str] = []
        controller = demo.call(partial(PendulumController, context=demo.context))
        self.controller: PendulumController = controller
        for kind, name in ((JointState, 'state'), (Float64, 'effort')):
            self.node.create_subscription(kind, f'/pendulum/{name}', partial(
                self.newest.__setitem__, name), 10)
        self.node.create_subscription(
            String, '/pendulum/mode', lambda message: self.modes.append(message.data), KEPT)
        self.setpoint, self.push = (self.node.create_publisher(
            Float64, f'/pendulum/{name}', 10) for name in ('setpoint', 'push'))
        self.swing_up = hearer.call(partial(
            ActionClient, self.node, Fibonacci, '/pendulum/swing_up'))
        self._clients = {
            name: self.node.create_client(SetParameters, f'/{name}/set_parameters')
            for name in ('demo_robot', 'pendulum_controller')}

        def begin() -> None:
            self.bench.control = controller.control
            demo.executor.add_node(controller)
        demo.call(begin)
        wait_until(lambda: self.newest.keys() >= {'state', 'effort'} and self.modes
                   and self.swing_up.server_is_ready() and self.setpoint.get_subscription_count()
                   and self.push.get_subscription_count()
                   and all(client.service_is_ready() for client in self._clients.values()))

    def put(self, state: CartState, mode: str) -> None:
        """Begin from a state, with all that was set before undone."""
        def act() -> None:
            self.bench.cart.__init__()
            self.bench.cart.reset(state)
            self.controller.controller.__init__()
        self.demo.call(act)
        self.forward(0.1)
        self.until(mode)

    def forward(self, seconds: float) -> None:
        """Let time pass at once."""
        def act() -> None:
            for _ in range(round(seconds / PERIOD)):
                self.bench.tick()
        self.demo.call(act)

    def until(self, mode: str) -> None:
        """Wait until the controller is in a mode, and has told so."""
        wait_until(lambda: self.modes[-1] == mode, why=lambda: str(self.modes))
        assert self.controller.controller.mode.value == mode

    def heard(self, predicate: Callable[[JointState], bool]) -> None:
        """Wait until the newest state is such a one."""
        wait_until(lambda: predicate(self.newest['state']), why=lambda: str(self.newest['state']))

    def tune(self, node: str, **values: Any) -> list[bool]:
        """Set parameters; return which could be."""
        future = self._clients[node].call_async(SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]))
        wait_until(future.done)
        return [result.successful for result in future.result().results]

    def begin_goal(self, seconds: int, feedback: list[Any] | None = None) -> Any:
        """Send a goal; return its handle."""
        future = self.swing_up.send_goal_async(
            Fibonacci.Goal(order=seconds),
            feedback_callback=None if feedback is None else feedback.append)
        wait_until(future.done)
        return future.result()

    @staticmethod
    def result(goal: Any) -> Any:
        """Wait for the result of a goal."""
        future = goal.get_result_async()
        wait_until(future.done)
        return future.result()


@pytest.fixture(scope='module')
def rig() -> Iterator[Rig]:
    """Give the running rig."""
    with SpinningNode('demo_robot', DemoRobot) as demo, SpinningNode('hearer') as hearer:
        rig = Rig(demo, hearer)
        yield rig
        demo.call(setattr, rig.bench, 'control', None)
        demo.call(demo.executor.remove_node, rig.controller)
        demo.call(rig.controller.destroy_node)
        hearer.call(rig.swing_up.destroy)


def test_what_it_says(rig: Rig) -> None:
    """The cart goes to the setpoint, unless that is none; a hand moves it as well."""
    rig.put(CartState(), 'upright')
    state = rig.newest['state']
    assert (tuple(state.name), len(state.position), len(state.velocity), len(state.effort)) == (
        NAMES, 3, 3, 3)
    rig.setpoint.publish(Float64(data=0.3))
    wait_until(lambda: rig.controller.controller.setpoint == 0.3)
    rig.forward(6.0)
    rig.heard(lambda state: abs(state.position[0] - 0.3) < 0.01)
    for wrong in (0.9, math.nan):
        rig.setpoint.publish(Float64(data=wrong))
        rig.push.publish(Float64(data=math.inf))
    rig.push.publish(Float64(data=-4.0))
    rig.heard(lambda state: abs(state.position[0] - 0.3) > 0.01)
    rig.forward(6.0)
    rig.heard(lambda state: abs(state.position[0] - 0.3) < 0.01)
    rig.until('upright')


def test_gains_are_tuned_while_it_runs(rig: Rig) -> None:
    rig.put(CartState(), 'upright')
    assert rig.tune('pendulum_controller', gain_upper=math.nan, gain_lower=-2000.0) == [
        False, False]
    assert rig.tune('pendulum_controller', gain_upper=10.0) == [True]
    assert rig.controller.controller.gains[2] == 10.0
    rig.push.publish(Float64(data=5.0))
    rig.heard(lambda state: abs(state.position[0]) > 0.001)
    rig.forward(3.0)
    rig.until('fallen')
    assert rig.tune('pendulum_controller', gain_upper=GAIN_ROWS['gain_upper'][0]) == [True]


def test_faults_are_injected_while_it_runs(rig: Rig) -> None:
    rig.put(CartState(), 'upright')
    wrong = {'pendulum_actuator': 1.5, 'pendulum_bias': math.nan, 'pendulum_delay': -1}
    assert rig.tune('demo_robot', **wrong) == [False] * 3
    assert rig.tune('demo_robot', pendulum_bias=0.02) == [True]
    rig.forward(6.0)
    rig.heard(lambda state: state.position[0] > 0.2)
    assert rig.tune('demo_robot', pendulum_bias=0.0, pendulum_actuator=0.0) == [True, True]
    rig.forward(2.0)
    rig.until('fallen')
    wait_until(lambda: rig.newest['effort'].data and not rig.newest['state'].effort[0])
    assert rig.tune('demo_robot', pendulum_actuator=1.0) == [True]
    rig.demo.call(rig.bench.reset)
    rig.forward(0.1)
    rig.until('upright')


def test_it_swings_up_by_an_action(rig: Rig) -> None:
    rig.put(HANGING, 'fallen')
    feedback: list[Any] = []
    goal = rig.begin_goal(0, feedback)
    assert goal.accepted
    assert not rig.begin_goal(0).accepted, 'one at a time'
    wait_until(lambda: feedback)
    rig.forward(4.0)
    answer = rig.result(goal)
    assert answer.status == GoalStatus.STATUS_SUCCEEDED
    passed, height = answer.result.sequence
    assert passed > 0
    assert height == pytest.approx(1000, abs=2)
    assert min(each.feedback.sequence[1] for each in feedback) < 0
    rig.until('upright')
    assert rig.modes[-2:] == ['swinging', 'upright']
    assert not rig.begin_goal(-1).accepted
    late: list[str] = []
    rig.node.create_subscription(String, '/pendulum/mode', lambda said: late.append(said.data),
                                 QoSProfile(depth=9, durability=KEPT.durability))
    wait_until(lambda: late)
    assert late == ['upright'], 'the mode that is, not those that were'


@pytest.mark.parametrize('is_cancelled', [True, False], ids=['cancelled', 'too late'])
def test_a_swing_that_does_not_end_well(rig: Rig, *, is_cancelled: bool) -> None:
    rig.put(HANGING, 'fallen')
    assert rig.tune('demo_robot', pendulum_actuator=0.0) == [True]
    goal = rig.begin_goal(0 if is_cancelled else 1)
    if is_cancelled:
        goal.cancel_goal_async()
    assert rig.result(goal).status == (
        GoalStatus.STATUS_CANCELED if is_cancelled else GoalStatus.STATUS_ABORTED)
    rig.until('fallen')
    assert rig.tune('demo_robot', pendulum_actuator=1.0) == [True]


def test_every_parameter_is_described(rig: Rig) -> None:
    for node, rows in (('demo_robot', FAULTS), ('pendulum_controller', GAIN_ROWS)):
        client = rig.node.create_client(DescribeParameters, f'/{node}/describe_parameters')
        wait_until(client.service_is_ready)
        future = client.call_async(DescribeParameters.Request(names=list(rows)))
        wait_until(future.done)
        for found in future.result().descriptors:
            assert found.description
            assert not found.read_only
            assert found.integer_range or found.floating_point_range


@pytest.mark.parametrize(('node', 'override'), [
    (PendulumController, Parameter('gain_cart', value=2000.0)),
    (PendulumController, Parameter('gain_upper', value='much')),
    (DemoRobot, Parameter('pendulum_delay', value=99))], ids=['range', 'type', 'robot'])
def test_a_wrong_parameter_is_an_error(node: Any, override: Parameter) -> None:
    context = Context()
    context.init(args=[])
    try:
        with pytest.raises(ConfigError, match=override.name):
            node(context=context, parameter_overrides=[override])
    finally:
        context.try_shutdown()
