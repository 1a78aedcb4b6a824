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
The demo robot without ROS: two driven wheels.

Motors follow their command with a first-order lag. Time passes only in :meth:`Robot.advance`, in
fixed Runge-Kutta steps: the same seed and the same calls give the same states. SI units, angles in
rad.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ws_bridge.demo.room import Room
from ws_bridge.errors import OutOfRange

STEP = 0.005

WHEEL_RADIUS = 0.08
TRACK = 0.36
BODY_RADIUS = 0.25
MAX_SPEED = 1.0
MAX_TURN = 2.0
AT_REST = 1e-6
"""Wheels that turn slower, rad/s, stand."""
MOTOR_LAG = 0.15
COAST_LAG = 0.6
# Without a newer command the motors stop after this: a robot defends itself.
COMMAND_TIMEOUT = 0.5

SCAN_MIN, SCAN_MAX = 0.1, 8.0
SCAN_NOISE = 0.005

CAPACITY = 5.0 * 3600.0     # A s
IDLE_CURRENT = 0.6
WHEEL_CURRENT = 0.08        # A for each rad/s of a wheel
VOLTAGES = (10.5, 12.6)     # empty, full


class State(NamedTuple):
    """All that moves."""

    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0
    left_rate: float = 0.0
    right_rate: float = 0.0
    left_angle: float = 0.0
    right_angle: float = 0.0

    @property
    def speed(self) -> float:
        """Forward, m/s."""
        return WHEEL_RADIUS * (self.left_rate + self.right_rate) / 2.0

    @property
    def turn_rate(self) -> float:
        """To the left, rad/s."""
        return WHEEL_RADIUS * (self.right_rate - self.left_rate) / TRACK


def slope(state: State, left: float, right: float, lag: float) -> State:
    """Return the derivative of ``state`` while the wheels tend to these rates."""
    left_pull, right_pull = (left - state.left_rate) / lag, (right - state.right_rate) / lag
    speed = state.speed
    return State(speed * math.cos(state.heading), speed * math.sin(state.heading),
                 state.turn_rate, left_pull, right_pull, state.left_rate, state.right_rate)


def moved(state: State, along: State, time: float) -> State:
    """Return ``state`` after ``time`` at the constant slope ``along``."""
    return State(*(value + time * rate for value, rate in zip(state, along, strict=True)))


def runge_kutta(state: State, left: float, right: float, lag: float) -> State:
    """Return ``state`` one :data:`STEP` later (the classical fourth-order method)."""
    first = slope(state, left, right, lag)
    second = slope(moved(state, first, STEP / 2.0), left, right, lag)
    third = slope(moved(state, second, STEP / 2.0), left, right, lag)
    fourth = slope(moved(state, third, STEP), left, right, lag)
    return State(*(value + STEP / 6.0 * (a + 2.0 * b + 2.0 * c + d) for value, a, b, c, d
                   in zip(state, first, second, third, fourth, strict=True)))


class Robot:
    """
    The simulated robot in its room.

    :param seed: decides the room's columns and the noise of the scanner.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.room = Room(seed)
        self.reset()

    def __repr__(self) -> str:
        return f'<Robot {self.time:.3f} s, x={self.state.x:.3f} y={self.state.y:.3f}>'

    def reset(self) -> None:
        """Go back to the start: the origin, motors on, a full battery, the noise from its seed."""
        self.state = State()
        self.motors_on = True
        self.charge = 1.0
        self.is_blocked = False
        self._steps = 0
        self._rest = 0.0
        self._wheels = (0.0, 0.0)
        self._command_ends = 0
        self._noise = np.random.default_rng(self._seed)

    @property
    def time(self) -> float:
        """Simulated time since the start, s."""
        return self._steps * STEP

    @property
    def current(self) -> float:
        """What the battery delivers, A."""
        rates = abs(self.state.left_rate) + abs(self.state.right_rate)
        return IDLE_CURRENT + WHEEL_CURRENT * rates * self.motors_on

    @property
    def voltage(self) -> float:
        """Of the battery, V."""
        empty, full = VOLTAGES
        return empty + (full - empty) * self.charge

    def command(self, linear: float, angular: float) -> None:
        """
        Drive, for :data:`COMMAND_TIMEOUT` at most.

        :param linear: forward speed, m/s, held to :data:`MAX_SPEED`.
        :param angular: turn rate to the left, rad/s, held to :data:`MAX_TURN`.
        :raises OutOfRange: for what is not a finite number; the last command then still holds.
        """
        for field, value in (('linear.x', linear), ('angular.z', angular)):
            if not math.isfinite(value):
                raise OutOfRange(f'{value} is not a finite number', field=field)
        speed = min(max(linear, -MAX_SPEED), MAX_SPEED)
        aside = min(max(angular, -MAX_TURN), MAX_TURN) * TRACK / 2.0
        self._wheels = ((speed - aside) / WHEEL_RADIUS, (speed + aside) / WHEEL_RADIUS)
        self._command_ends = self._steps + round(COMMAND_TIMEOUT / STEP)

    def set_motors(self, *, on: bool) -> None:
        """Switch the motors; without them the robot rolls out."""
        self.motors_on = on
        self._command_ends = 0

    def advance(self, seconds: float) -> None:
        """Let time pass, in whole steps; what remains counts the next time."""
        steps, self._rest = divmod(self._rest + seconds, STEP)
        for _ in range(int(steps)):
            self._step()

    def _step(self) -> None:
        is_driven = self.motors_on and self._steps < self._command_ends
        left, right = self._wheels if is_driven else (0.0, 0.0)
        before = self.state
        if max(abs(left), abs(right), abs(before.left_rate), abs(before.right_rate)) < AT_REST:
            self.is_blocked = False     # most of the time it stands, which costs nothing
            if before.left_rate or before.right_rate:
                self.state = before._replace(left_rate=0.0, right_rate=0.0)
        else:
            after = runge_kutta(before, left, right, MOTOR_LAG if self.motors_on else COAST_LAG)
            self.is_blocked = not self.room.is_free(after.x, after.y, BODY_RADIUS)
            if self.is_blocked:     # the bumper holds it where it was; it can turn and back out
                after = after._replace(x=before.x, y=before.y)
            self.state = after
        self._steps += 1
        self.charge = max(0.0, self.charge - self.current * STEP / CAPACITY)

    def scan(self, count: int) -> NDArray[np.float32]:
        """
        Measure around, counter-clockwise from ahead.

        :return: distances, m, shape (count,); ``inf`` beyond :data:`SCAN_MAX`.
        """
        around = self.state.heading + np.arange(count, dtype=np.float64) * (2.0 * np.pi / count)
        distances, _ = self.room.cast(self.state.x, self.state.y, around)
        distances += self._noise.normal(0.0, SCAN_NOISE, count)
        distances[distances > SCAN_MAX] = np.inf
        return np.maximum(distances, SCAN_MIN).astype(np.float32)

    def camera(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return what the robot sees ahead, rgb8, shape (height, width, 3)."""
        state = self.state
        return self.room.view(state.x, state.y, state.heading, width, height)
