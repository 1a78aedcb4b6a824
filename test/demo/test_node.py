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
"""The demo robot as a node, over real rclpy, and as a process."""
from __future__ import annotations

from collections.abc import Iterator
import math
import os
import signal
import subprocess
import sys
from typing import Any

from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry
import pytest
from rcl_interfaces.srv import DescribeParameters
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import BatteryState, Image, JointState, LaserScan
from std_srvs.srv import SetBool, Trigger
from support.helpers import SpinningNode, wait_until

from ws_bridge.demo.node import DemoRobot, PARAMETERS
from ws_bridge.errors import ConfigError
from ws_bridge.ros.transforms import ELEMENT, STAND_INS, TF_TYPE


@pytest.fixture
def demo() -> Iterator[SpinningNode]:
    """Give a running demo robot."""
    with SpinningNode('demo_robot', DemoRobot) as spinning:
        yield spinning


class Watcher:
    """Keeps the newest message of each topic, and drives."""

    def __init__(self, spinning: SpinningNode) -> None:
        self.node = spinning.node
        self.newest: dict[str, Any] = {}
        self.command = self.node.create_publisher(Twist, '/cmd_vel', 10)

    def watch(self, topic: str, message: type[Any]) -> None:
        """Subscribe."""
        self.node.create_subscription(
            message, topic, lambda msg: self.newest.__setitem__(topic, msg),
            qos_profile_sensor_data)

    def fresh(self, topic: str) -> Any:
        """Wait for a message that is not here yet."""
        self.newest.pop(topic, None)
        return wait_until(lambda: self.newest.get(topic), why=topic)

    def drive(self, speed: float, until: str) -> Any:
        """Command again and again until the odometry says that it moves."""
        twist = Twist()
        twist.linear.x = speed

        def is_moving() -> bool:
            self.command.publish(twist)
            return abs(self.fresh(until).twist.twist.linear.x) > 0.5 * abs(speed)
        wait_until(is_moving)

    def call(self, service: str, kind: type[Any], **fields: Any) -> Any:
        """Call a service and wait for its answer."""
        client = self.node.create_client(kind, service)
        wait_until(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        wait_until(future.done, why=service)
        return future.result()


@pytest.fixture
def watcher(ros_node: SpinningNode) -> Watcher:
    """Give what listens to the robot."""
    return Watcher(ros_node)


def test_every_topic(demo: SpinningNode, watcher: Watcher) -> None:
    for topic, message in {'/odom': Odometry, '/pose': PoseStamped, '/scan': LaserScan,
                           '/joint_states': JointState, '/battery_state': BatteryState,
                           '/camera/image': Image}.items():
        watcher.watch(topic, message)
    odom, pose = watcher.fresh('/odom'), watcher.fresh('/pose')
    assert (odom.header.frame_id, odom.child_frame_id) == ('odom', 'base_link')
    assert odom.pose.pose.orientation.w == pytest.approx(1.0)
    assert pose.header.frame_id == 'odom'
    joints = watcher.fresh('/joint_states')
    assert len(joints.name) == len(joints.position) == len(joints.velocity) == 2
    scan = watcher.fresh('/scan')
    assert len(scan.ranges) == 360
    assert scan.angle_max == pytest.approx(2.0 * math.pi - scan.angle_increment, abs=1e-5)
    image = watcher.fresh('/camera/image')
    assert (image.width, image.height, image.encoding, image.step) == (160, 120, 'rgb8', 480)
    assert len(image.data) == 160 * 120 * 3
    battery = watcher.fresh('/battery_state')
    assert 0.9 < battery.percentage <= 1.0
    assert battery.present
    topics = dict(watcher.node.get_topic_names_and_types())
    assert topics['/robot_description'] == ['std_msgs/msg/String']
    for topic, source in STAND_INS.items():
        assert topics.get(topic, topics.get(source)) == [
            ELEMENT if topic not in topics else TF_TYPE]


def test_it_drives_stops_by_itself_and_resets(demo: SpinningNode, watcher: Watcher) -> None:
    watcher.watch('/odom', Odometry)
    watcher.drive(0.5, '/odom')
    assert watcher.fresh('/odom').pose.pose.position.x > 0.0
    # No further command: its own timeout stops it.
    wait_until(lambda: abs(watcher.fresh('/odom').twist.twist.linear.x) < 0.01)
    assert watcher.fresh('/odom').pose.pose.position.x > 0.1
    answer = watcher.call('/reset', Trigger)
    assert answer.success
    assert wait_until(lambda: watcher.fresh('/odom').pose.pose.position.x == 0.0)


def test_without_motors_it_does_not_drive(demo: SpinningNode, watcher: Watcher) -> None:
    watcher.watch('/odom', Odometry)
    assert watcher.call('/set_motors', SetBool, data=False).message == 'motors off'
    wait_until(lambda: watcher.command.get_subscription_count() == 1)
    for _ in range(10):
        watcher.command.publish(Twist())
        assert watcher.fresh('/odom').twist.twist.linear.x == 0.0
    assert watcher.call('/set_motors', SetBool, data=True).message == 'motors on'
    watcher.drive(0.5, '/odom')


def test_a_command_that_is_no_number_changes_nothing(demo: SpinningNode,
                                                     watcher: Watcher) -> None:
    watcher.watch('/odom', Odometry)
    watcher.drive(0.5, '/odom')
    twist = Twist()
    twist.angular.z = math.nan
    watcher.command.publish(twist)
    watcher.drive(-0.5, '/odom')
    assert math.isfinite(watcher.fresh('/odom').pose.pose.position.x)


def test_parameters_change_what_comes(watcher: Watcher) -> None:
    overrides = [Parameter('image_width', value=640), Parameter('image_height', value=480),
                 Parameter('camera_rate', value=15.0), Parameter('seed', value=7)]
    with SpinningNode('demo_robot', DemoRobot, parameter_overrides=overrides):
        watcher.watch('/camera/image', Image)
        assert len(watcher.fresh('/camera/image').data) == 640 * 480 * 3


def test_every_parameter_is_described(demo: SpinningNode, watcher: Watcher) -> None:
    answer = watcher.call('/demo_robot/describe_parameters', DescribeParameters,
                          names=list(PARAMETERS))
    for found in answer.descriptors:
        assert found.description
        assert found.read_only
        assert found.integer_range or found.floating_point_range


@pytest.mark.parametrize('override', [
    Parameter('image_width', value=3), Parameter('seed', value='one'),
    Parameter('camera_rate', value=0.0)], ids=lambda override: override.name)
def test_a_wrong_parameter_is_an_error(override: Parameter) -> None:
    context = Context()
    context.init(args=[])
    try:
        with pytest.raises(ConfigError, match=override.name):
            DemoRobot(context=context, parameter_overrides=[override])
    finally:
        context.try_shutdown()


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the demo robot as a process."""
    return subprocess.Popen([sys.executable, '-m', 'ws_bridge.demo', *arguments],
                            stderr=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process(number: signal.Signals) -> None:
    with start() as process:
        assert process.stderr is not None
        assert 'the demo robot is up' in process.stderr.readline()
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ''


@pytest.mark.parametrize('arguments', [('-p', 'seed:=-1'), ('--no-such-argument',)])
def test_wrong_arguments_end_the_process_with_one_line(arguments: tuple[str, ...]) -> None:
    with start('--ros-args', *arguments) as process:
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    assert complaint.startswith('demo_robot: ')
    assert complaint.count('\n') == 1
