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
"""The demo robot's physics and sensors, without ROS."""
from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from ws_bridge.demo import robot as model
from ws_bridge.demo.robot import Robot
from ws_bridge.demo.room import CLEARING, HALF_LENGTH, HALF_WIDTH, Room
from ws_bridge.errors import OutOfRange

COMMANDS = st.lists(st.tuples(st.floats(-3.0, 3.0), st.floats(-5.0, 5.0), st.floats(0.0, 0.3)),
                    max_size=20)


def drive(robot: Robot, linear: float, angular: float, seconds: float) -> None:
    """Hold a command for a time."""
    for _ in range(round(seconds / 0.1)):
        robot.command(linear, angular)
        robot.advance(0.1)


def test_a_straight_line() -> None:
    robot = Robot(1)
    drive(robot, 0.5, 0.0, 1.0)
    state = robot.state
    # A first-order lag is behind by its time constant, in distance as in time.
    assert state.x == pytest.approx(0.5 * (1.0 - model.MOTOR_LAG), abs=2e-3)
    assert (state.y, state.heading) == (0.0, 0.0)
    assert state.left_rate == state.right_rate
    assert state.speed == pytest.approx(0.5, abs=1e-3)
    assert state.left_angle * model.WHEEL_RADIUS == pytest.approx(state.x)


def test_a_turn_in_place() -> None:
    robot = Robot(1)
    drive(robot, 0.0, 1.0, 2.0)
    assert robot.state.heading == pytest.approx(2.0 - model.MOTOR_LAG, abs=1e-3)
    assert math.hypot(robot.state.x, robot.state.y) < 1e-12
    assert robot.state.left_rate == -robot.state.right_rate


def test_silence_stops_the_motors() -> None:
    robot = Robot(1)
    robot.command(0.5, 0.0)
    robot.advance(model.COMMAND_TIMEOUT)
    assert robot.state.speed > 0.45
    robot.advance(1.5)
    assert abs(robot.state.speed) < 1e-3


def test_motors_off_rolls_out_and_obeys_nothing() -> None:
    robot = Robot(1)
    drive(robot, 0.5, 0.0, 1.0)
    robot.set_motors(on=False)
    robot.advance(0.2)
    assert robot.state.speed > 0.3, 'it rolls out, it does not brake'
    drive(robot, 0.5, 0.0, 5.0)
    assert abs(robot.state.speed) < 1e-3
    robot.set_motors(on=True)
    robot.advance(0.2)
    assert abs(robot.state.speed) < 1e-3, 'no command from before is obeyed'
    drive(robot, 0.5, 0.0, 0.5)
    assert robot.state.speed > 0.4


@pytest.mark.parametrize(('linear', 'angular', 'field'), [
    (math.nan, 0.0, 'linear.x'), (math.inf, 0.0, 'linear.x'), (0.0, -math.inf, 'angular.z')])
def test_a_command_that_is_no_number_is_refused(linear: float, angular: float,
                                                field: str) -> None:
    robot = Robot(1)
    with pytest.raises(OutOfRange) as caught:
        robot.command(linear, angular)
    assert caught.value.field == field
    robot.advance(0.5)
    assert robot.state.speed == 0.0


@given(COMMANDS, st.integers(0, 2**31 - 1))
def test_the_same_seed_gives_the_same_robot(commands: list[tuple[float, float, float]],
                                            seed: int) -> None:
    one, other = Robot(seed), Robot(seed)
    for linear, angular, seconds in commands:
        for robot in (one, other):
            robot.command(linear, angular)
            robot.advance(seconds)
    assert one.state == other.state
    assert np.array_equal(one.scan(90), other.scan(90))
    assert np.array_equal(one.camera(32, 24), other.camera(32, 24))


def test_another_seed_is_another_room() -> None:
    assert not np.array_equal(Robot(1).camera(32, 24), Robot(2).camera(32, 24))
    assert not np.array_equal(Robot(1).scan(90), Robot(2).scan(90))


@given(COMMANDS)
def test_time_may_pass_in_any_pieces(commands: list[tuple[float, float, float]]) -> None:
    robot = Robot(1)
    for _, _, seconds in commands:
        robot.advance(seconds)
    total = sum(seconds for _, _, seconds in commands)
    assert robot.time == pytest.approx(total, abs=1.001 * model.STEP)


def test_reset_goes_back_to_the_start() -> None:
    robot, fresh = Robot(3), Robot(3)
    robot.scan(10)
    drive(robot, 0.8, 0.4, 2.0)
    robot.set_motors(on=False)
    assert robot.charge < 1.0
    robot.reset()
    assert (robot.state, robot.charge, robot.time) == (fresh.state, 1.0, 0.0)
    assert np.array_equal(robot.scan(90), fresh.scan(90))
    drive(robot, 0.5, 0.0, 0.5)
    assert robot.state.speed > 0.4, 'the motors are on again'


@given(st.integers(0, 2**31 - 1), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_no_drive_leaves_the_room(seed: int, linear: float, angular: float) -> None:
    robot = Robot(seed)
    assert robot.room.is_free(0.0, 0.0, CLEARING)
    for _ in range(30):
        robot.command(linear * 5.0, angular)
        robot.advance(0.4)
        assert robot.room.is_free(robot.state.x, robot.state.y, model.BODY_RADIUS)


def test_a_wall_blocks_and_lets_go() -> None:
    robot = Robot(1)
    robot.state = robot.state._replace(x=HALF_LENGTH - model.BODY_RADIUS - 0.01)
    drive(robot, 1.0, 0.0, 1.0)
    assert robot.is_blocked
    drive(robot, -1.0, 0.0, 1.0)
    assert not robot.is_blocked
    assert robot.state.x < HALF_LENGTH - 0.6


def test_the_battery_drains_faster_when_driving() -> None:
    idle, busy = Robot(1), Robot(1)
    drive(idle, 0.0, 0.0, 2.0)
    drive(busy, 0.0, 2.0, 2.0)
    assert 1.0 > idle.charge > busy.charge > 0.99
    assert busy.current > idle.current == model.IDLE_CURRENT
    assert model.VOLTAGES[0] < busy.voltage < idle.voltage < model.VOLTAGES[1]


def test_an_empty_battery_stays_at_zero() -> None:
    robot = Robot(1)
    robot.charge = 1e-9
    robot.advance(0.1)
    assert (robot.charge, robot.voltage) == (0.0, model.VOLTAGES[0])


def test_the_scan_measures_the_walls() -> None:
    robot = Robot(1)
    robot.room.radii[:] = 0.0
    ranges = robot.scan(4)
    assert ranges.dtype == np.float32
    expected = [HALF_LENGTH, HALF_WIDTH, HALF_LENGTH, HALF_WIDTH]
    assert ranges == pytest.approx(expected, abs=6.0 * model.SCAN_NOISE)


def test_the_scan_ends_at_its_range() -> None:
    robot = Robot(1)
    robot.room.radii[:] = 0.0
    robot.state = robot.state._replace(x=-HALF_LENGTH + 0.3)
    ahead, _, behind, _ = robot.scan(4)
    assert math.isinf(ahead)
    assert behind == pytest.approx(0.3, abs=0.05)


@given(st.integers(0, 2**31 - 1), st.floats(0.0, 2.0 * math.pi), st.integers(0, 4))
def test_a_ray_ends_on_what_it_meets(seed: int, direction: float, column: int) -> None:
    room = Room(seed)
    (distance,), (met,) = room.cast(0.0, 0.0, np.array([direction]))
    x, y = distance * math.cos(direction), distance * math.sin(direction)
    if met < 4:
        outward = (x - HALF_LENGTH, y - HALF_WIDTH, -x - HALF_LENGTH, -y - HALF_WIDTH)
        assert outward[met] == pytest.approx(0.0, abs=1e-9)
    else:
        away = math.dist((x, y), room.centres[met - 4])
        assert away == pytest.approx(room.radii[met - 4], abs=1e-6)
    # A ray to a column's centre ends on it, or on one that stands before it.
    centre = room.centres[column]
    (distance,), (met,) = room.cast(0.0, 0.0, np.array([math.atan2(centre[1], centre[0])]))
    assert met >= 4
    assert distance <= math.hypot(*centre) - room.radii[column] + 1e-9


@pytest.mark.parametrize(('width', 'height'), [(160, 120), (640, 480), (17, 16)])
def test_the_camera_sees_sky_wall_and_floor(width: int, height: int) -> None:
    image = Robot(1).camera(width, height)
    assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)
    top, bottom = image[0, width // 2], image[-1, width // 2]
    assert top[2] > top[0], 'the sky is blue'
    assert abs(int(bottom[0]) - int(bottom[2])) < 20, 'the floor is grey'
    assert not np.array_equal(image[height // 2, 0], top)


@pytest.mark.parametrize(('linear', 'angular'), [(0.5, 0.0), (0.0, 0.5)])
def test_the_image_changes_with_motion(linear: float, angular: float) -> None:
    robot = Robot(1)
    before = robot.camera(160, 120)
    robot.advance(1.0)
    assert np.array_equal(robot.camera(160, 120), before), 'nothing moved'
    drive(robot, linear, angular, 1.0)
    changed = np.any(robot.camera(160, 120) != before, axis=2)
    assert changed.mean() > 0.05


def test_it_comes_to_rest() -> None:
    robot = Robot(1)
    drive(robot, 0.5, 0.3, 0.5)
    robot.advance(5.0)
    place = robot.state
    assert (place.left_rate, place.right_rate, robot.is_blocked) == (0.0, 0.0, False)
    robot.advance(1.0)
    assert robot.state == place
    robot.command(0.0, 0.1)
    robot.advance(0.1)
    assert robot.state.turn_rate > 0.03
