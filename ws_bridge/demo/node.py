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
The demo robot as a node: what it publishes, listens to and serves.

=====================  =============================  ===========================================
``odom``               ``nav_msgs/Odometry``          where the wheels have brought it, 50 Hz
``pose``               ``geometry_msgs/PoseStamped``  the same place alone, 50 Hz
``joint_states``       ``sensor_msgs/JointState``     both wheels, 50 Hz
``scan``               ``sensor_msgs/LaserScan``      360 ranges, 10 Hz, while someone listens
``camera/image``       ``sensor_msgs/Image``          rgb8, 10 Hz, while someone listens
``battery_state``      ``sensor_msgs/BatteryState``   1 Hz
``robot_description``  ``std_msgs/String``            its URDF, kept for who comes later
``/tf``                ``tf2_msgs/TFMessage``         ``odom`` to ``base_link``, 50 Hz
``/tf_static``         ``tf2_msgs/TFMessage``         where its sensors are, kept
``cmd_vel``            ``geometry_msgs/Twist``        in: obeyed for 0.5 s, then the motors stop
``reset``              ``std_srvs/Trigger``           back to the start
``set_motors``         ``std_srvs/SetBool``           motors on or off
=====================  =============================  ===========================================

The wheels of ROS on PyPI lack ``tf2_msgs``. Where it is not installed the transforms go out one by
one, as ``geometry_msgs/TransformStamped`` on ``/tf/stamped`` and ``/tf_static/stamped``, of which
the bridge makes the two topics for its peers.

The node also has the rig of the pendulum (:mod:`ws_bridge.demo.bench`), whose controller is a node
of its own (:mod:`ws_bridge.demo.controller`).
"""
from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
import math
import os
import signal
import sys

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TransformStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data, QoSProfile
from sensor_msgs.msg import BatteryState, Image, JointState, LaserScan
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from ws_bridge.demo.bench import Bench
from ws_bridge.demo.cart import PERIOD
from ws_bridge.demo.controller import PendulumController
from ws_bridge.demo.description import BASE, describe, Mount, MOUNTS
from ws_bridge.demo.entities import declare, KEPT, publisher, Row, subscription
from ws_bridge.demo.robot import CAPACITY, Robot, SCAN_MAX, SCAN_MIN
from ws_bridge.errors import ConfigError, OutOfRange

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

SCAN_COUNT = 360
ODOM = 'odom'
# Longer gaps (a suspended machine, a jump of the clock) are not made up for.
LONGEST_GAP = 0.5

PARAMETERS: dict[str, Row] = {
    'seed': (1, 0, 2**31 - 1, "Decides the room's columns and the noise of the scanner."),
    'state_rate': (50.0, 1.0, 200.0, 'Odometry, pose, joint states and transform, Hz.'),
    'scan_rate': (10.0, 0.1, 40.0, 'Laser scans, Hz.'),
    'camera_rate': (10.0, 0.1, 30.0, 'Camera images, Hz.'),
    'battery_rate': (1.0, 0.1, 10.0, 'Battery states, Hz.'),
    'image_width': (160, 16, 1920, 'Width of the camera image, pixels.'),
    'image_height': (120, 16, 1080, 'Height of the camera image, pixels.'),
}


class DemoRobot(Node):
    """
    The node; it needs an executor that spins it.

    :param name: its name, unless ``__node`` is remapped.
    :param context: its context; the global one if ``None``.
    :param parameter_overrides: values for :data:`PARAMETERS`.
    :raises ConfigError: for a parameter of the wrong type or out of its range.
    """

    def __init__(self, name: str = 'demo_robot', *, context: Context | None = None,
                 parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__(name, context=context, parameter_overrides=parameter_overrides)
        try:
            values = declare(self, PARAMETERS)
            self.bench = Bench(self)
        except ConfigError:
            self.destroy_node()
            raise
        self._image_size = values['image_width'], values['image_height']
        self._scan_period = 1.0 / values['scan_rate']
        self.robot = Robot(values['seed'])
        self._advertise()
        subscription(self, Twist, 'cmd_vel', self._on_command, 10)
        self.create_service(Trigger, 'reset', self._on_reset)
        self.create_service(SetBool, 'set_motors', self._on_set_motors)
        self._last_tick = self.get_clock().now().nanoseconds
        ticks: dict[float, list[Callable[[], None]]] = defaultdict(list)
        ticks[1.0 / PERIOD].append(self.bench.tick)
        ticks[values['state_rate']].append(self._tick)
        ticks[values['scan_rate']].append(self._publish_scan)
        ticks[values['camera_rate']].append(self._publish_image)
        ticks[values['battery_rate']].append(self._publish_battery)
        for rate, together in ticks.items():    # each timer has the executor wake up
            self.create_timer(1.0 / rate, partial(_call, together))

    def _advertise(self) -> None:
        self._odom = publisher(self, Odometry, 'odom', 10)
        self._pose = publisher(self, PoseStamped, 'pose', 10)
        self._joints = publisher(self, JointState, 'joint_states', 10)
        self._scan = publisher(self, LaserScan, 'scan', qos_profile_sensor_data)
        self._image = publisher(self, Image, 'camera/image', qos_profile_sensor_data)
        self._battery = publisher(self, BatteryState, 'battery_state', qos_profile_sensor_data)
        self._tf = self._transform_publisher('/tf', 100)
        # as long as they are referred to, what they keep is there
        self._description = publisher(self, String, 'robot_description', KEPT)
        self._description.publish(String(data=describe()))
        self._tf_static = self._transform_publisher('/tf_static', KEPT)
        self._transform(self._tf_static, *(self._mounted(mount) for mount in MOUNTS))

    def _transform_publisher(self, topic: str, qos: int | QoSProfile) -> Publisher:
        if TFMessage is None:
            return publisher(self, TransformStamped, f'{topic}/stamped', qos)
        return publisher(self, TFMessage, topic, qos)

    def _transform(self, to: Publisher, *transforms: TransformStamped) -> None:
        for message in transforms if TFMessage is None else (TFMessage(transforms=[*transforms]),):
            to.publish(message)

    def _mounted(self, mount: Mount) -> TransformStamped:
        transform = TransformStamped(child_frame_id=mount.frame)
        transform.header.stamp = self._now()
        transform.header.frame_id = BASE
        place, turn = transform.transform.translation, transform.transform.rotation
        place.x, place.y, place.z = mount.place
        turn.x, turn.y, turn.z, turn.w = mount.quaternion
        return transform

    def _on_command(self, twist: Twist) -> None:
        try:
            self.robot.command(twist.linear.x, twist.angular.z)
        except OutOfRange as error:
            self.get_logger().warning(f'cmd_vel refused: {error}', throttle_duration_sec=1.0)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.robot.reset()
        self.bench.reset()
        response.success = True
        response.message = 'at the start'
        return response

    def _on_set_motors(self, request: SetBool.Request,
                       response: SetBool.Response) -> SetBool.Response:
        self.robot.set_motors(on=request.data)
        response.success = True
        response.message = f'motors {"on" if request.data else "off"}'
        return response

    def _now(self) -> Time:
        return self.get_clock().now().to_msg()

    def _tick(self) -> None:
        """Let the time since the last tick pass for the robot, and publish its state."""
        now = self.get_clock().now().nanoseconds
        elapsed, self._last_tick = (now - self._last_tick) / 1e9, now
        self.robot.advance(min(max(elapsed, 0.0), LONGEST_GAP))
        stamp = self._now()
        odom = self._odometry(stamp)
        self._odom.publish(odom)
        pose = PoseStamped(header=odom.header, pose=odom.pose.pose)
        self._pose.publish(pose)
        transform = TransformStamped(header=odom.header, child_frame_id=BASE)
        transform.transform.translation.x = pose.pose.position.x
        transform.transform.translation.y = pose.pose.position.y
        transform.transform.rotation = pose.pose.orientation
        self._transform(self._tf, transform)
        self._joints.publish(self._joint_state(stamp))

    def _odometry(self, stamp: Time) -> Odometry:
        state = self.robot.state
        message = Odometry(child_frame_id=BASE)
        message.header.stamp = stamp
        message.header.frame_id = ODOM
        message.pose.pose.position.x = state.x
        message.pose.pose.position.y = state.y
        message.pose.pose.orientation.z = math.sin(state.heading / 2.0)
        message.pose.pose.orientation.w = math.cos(state.heading / 2.0)
        message.twist.twist.linear.x = state.speed
        message.twist.twist.angular.z = state.turn_rate
        return message

    def _joint_state(self, stamp: Time) -> JointState:
        state = self.robot.state
        message = JointState(
            name=['left_wheel_joint', 'right_wheel_joint'],
            position=[state.left_angle, state.right_angle],
            velocity=[state.left_rate, state.right_rate])
        message.header.stamp = stamp
        return message

    def _publish_scan(self) -> None:
        if not self._scan.get_subscription_count():
            return
        step = 2.0 * math.pi / SCAN_COUNT
        message = LaserScan(
            angle_min=0.0, angle_max=step * (SCAN_COUNT - 1), angle_increment=step,
            scan_time=self._scan_period, range_min=SCAN_MIN, range_max=SCAN_MAX,
            ranges=array('f', self.robot.scan(SCAN_COUNT).tobytes()))
        message.header.stamp = self._now()
        message.header.frame_id = 'laser'
        self._scan.publish(message)

    def _publish_image(self) -> None:
        if not self._image.get_subscription_count():
            return
        width, height = self._image_size
        message = Image(
            width=width, height=height, encoding='rgb8', step=3 * width,
            data=array('B', self.robot.camera(width, height).tobytes()))
        message.header.stamp = self._now()
        message.header.frame_id = 'camera'
        self._image.publish(message)

    def _publish_battery(self) -> None:
        robot = self.robot
        message = BatteryState(
            voltage=robot.voltage, current=-robot.current, temperature=math.nan,
            charge=robot.charge * CAPACITY / 3600.0, capacity=CAPACITY / 3600.0,
            design_capacity=CAPACITY / 3600.0, percentage=robot.charge, present=True,
            power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING,
            power_supply_health=BatteryState.POWER_SUPPLY_HEALTH_GOOD,
            power_supply_technology=BatteryState.POWER_SUPPLY_TECHNOLOGY_LION)
        message.header.stamp = self._now()
        message.header.frame_id = BASE
        self._battery.publish(message)


def _call(functions: Iterable[Callable[[], None]]) -> None:
    for function in functions:
        function()


def run(args: list[str] | None = None, parent: int | None = None) -> int:
    """
    Run the demo robot alone, until SIGINT or SIGTERM; a second signal changes nothing.

    :param args: ROS arguments; those of the command line if ``None``.
    :param parent: id of the process that started this one and without which it ends: nobody tells
        it when that was killed.
    :return: the exit status.
    """
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    context = Context()
    try:
        context.init(args=args)
    except RuntimeError as error:       # what rclpy raises for ROS arguments it does not know
        sys.stderr.write(f'demo_robot: wrong ROS arguments: {error}\n')
        return 2
    executor = SingleThreadedExecutor(context=context)
    nodes: list[Node] = []
    try:
        robot = DemoRobot(context=context)
        nodes.append(robot)
        controller = PendulumController(context=context)
        nodes.append(controller)
        robot.bench.control = controller.control
        for node in nodes:
            executor.add_node(node)
        robot.get_logger().info('the demo robot is up')
        # the robot's own timers wake it often enough to notice
        while not signals and parent in (None, os.getppid()):
            executor.spin_once()
    except ConfigError as error:
        sys.stderr.write(f'{error}\n')
        return 2
    finally:
        executor.shutdown()
        for node in nodes:
            node.destroy_node()
        context.try_shutdown()
    return 0
