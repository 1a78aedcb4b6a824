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
A cart on a rail with two poles on top of each other, without ROS: the exact equations of motion.

::

    x  place of the cart along the rail, m; the middle is 0
    a  angle of the lower pole, b of the upper one: rad from upright, both against the vertical
    F  force on the cart, N

With M the cart's mass, m and l mass and length of each pole (uniform rods)::

    | M+2m       1.5ml cos a      0.5ml cos b      |   | x'' |
    | 1.5ml cos a  4/3 ml^2       0.5ml^2 cos(a-b) | * | a'' |  =
    | 0.5ml cos b  0.5ml^2 cos(a-b)  1/3 ml^2      |   | b'' |

    | F + 1.5ml a'^2 sin a + 0.5ml b'^2 sin b - c x'                      |
    | 1.5mgl sin a - 0.5ml^2 b'^2 sin(a-b) - d a' + d (b' - a')           |
    | 0.5mgl sin b + 0.5ml^2 a'^2 sin(a-b) - d (b' - a')                  |

These are Lagrange's equations of the energy that :meth:`Build.energy` returns, with the friction c
of the cart and d of both hinges. Time passes in fixed Runge-Kutta steps: the same calls give the
same states, bit by bit.
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import math
from typing import NamedTuple

from ws_bridge.errors import OutOfRange

STEP = 0.005
PERIOD = 0.02
"""A force is held for this long, s: the time between two samples of the state."""
GRAVITY = 9.81
RAIL = 1.2
"""The stops are so far from the middle, m."""
MOST_FORCE = 20.0
"""What the motor can do, N."""
MOST_DELAY = 10

Triple = tuple[float, float, float]


class CartState(NamedTuple):
    """Places and rates; the poles stand at 0 and hang at pi."""

    x: float = 0.0
    lower: float = 0.0
    upper: float = 0.0
    speed: float = 0.0
    lower_rate: float = 0.0
    upper_rate: float = 0.0


HANGING = CartState(0.0, math.pi, math.pi)
START = CartState(0.0, 0.04, 0.04)
"""Nearly upright: the controller has something to do, and can."""


@dataclass(frozen=True)
class Build:
    """What the rig is made of: kg, m, and friction in N s/m and N m s."""

    cart: float = 1.0
    pole: float = 0.2
    length: float = 0.5
    cart_friction: float = 0.1
    hinge_friction: float = 0.004

    def push(self, state: CartState, force: float) -> Triple:
        """Return the right side of the equations, N and N m."""
        _, lower, upper, speed, lower_rate, upper_rate = state
        moment = self.pole * self.length
        between = 0.5 * moment * self.length * math.sin(lower - upper)
        hinge = self.hinge_friction * (upper_rate - lower_rate)
        sine, upper_sine = math.sin(lower), math.sin(upper)
        return (force - self.cart_friction * speed + moment * (
                    1.5 * lower_rate * lower_rate * sine
                    + 0.5 * upper_rate * upper_rate * upper_sine),
                1.5 * moment * GRAVITY * sine - between * upper_rate * upper_rate
                - self.hinge_friction * lower_rate + hinge,
                0.5 * moment * GRAVITY * upper_sine + between * lower_rate * lower_rate - hinge)

    def solve(self, state: CartState, right: Triple) -> Triple:
        """Return what the mass matrix makes ``right`` of: accelerations of forces."""
        moment = self.pole * self.length
        inertia = moment * self.length
        p, s, t = self.cart + 2.0 * self.pole, inertia * 4.0 / 3.0, inertia / 3.0
        q = 1.5 * moment * math.cos(state.lower)
        r = 0.5 * moment * math.cos(state.upper)
        w = 0.5 * inertia * math.cos(state.lower - state.upper)
        # the inverse of a symmetric matrix, by its cofactors
        pp, pq, pr = s * t - w * w, r * w - q * t, q * w - r * s
        qq, qr, rr = p * t - r * r, q * r - p * w, p * s - q * q
        whole = p * pp + q * pq + r * pr
        x, y, z = right
        return ((pp * x + pq * y + pr * z) / whole, (pq * x + qq * y + qr * z) / whole,
                (pr * x + qr * y + rr * z) / whole)

    def slope(self, state: CartState, force: float) -> CartState:
        """Return the derivative of ``state`` under ``force``, N."""
        return CartState(*state[3:], *self.solve(state, self.push(state, force)))

    def after(self, state: CartState, force: float) -> CartState:
        """Return ``state`` one :data:`STEP` later (the classical fourth-order method)."""
        first = self.slope(state, force)
        second = self.slope(_moved(state, first, STEP / 2.0), force)
        third = self.slope(_moved(state, second, STEP / 2.0), force)
        fourth = self.slope(_moved(state, third, STEP), force)
        return CartState(*[state[i] + STEP / 6.0 * (
            first[i] + 2.0 * (second[i] + third[i]) + fourth[i]) for i in range(6)])

    def energy(self, state: CartState) -> float:
        """Return kinetic and potential energy, J; 0 where the cart rests and the poles stand."""
        _, lower, upper, speed, lower_rate, upper_rate = state
        moment = self.pole * self.length
        inertia = moment * self.length
        return ((self.cart / 2.0 + self.pole) * speed * speed
                + inertia * (2.0 / 3.0 * lower_rate ** 2 + upper_rate ** 2 / 6.0
                             + 0.5 * lower_rate * upper_rate * math.cos(lower - upper))
                + moment * speed * (1.5 * lower_rate * math.cos(lower)
                                    + 0.5 * upper_rate * math.cos(upper))
                + moment * GRAVITY * (1.5 * (math.cos(lower) - 1.0)
                                      + 0.5 * (math.cos(upper) - 1.0)))


def _moved(state: CartState, along: CartState, time: float) -> CartState:
    return CartState(state[0] + time * along[0], state[1] + time * along[1],
                     state[2] + time * along[2], state[3] + time * along[3],
                     state[4] + time * along[4], state[5] + time * along[5])


def wrapped(angle: float) -> float:
    """Return the same angle between -pi and pi."""
    return math.remainder(angle, 2.0 * math.pi)


class Cart:
    """
    The rig with its motor, its sensors and what is broken of them.

    :ivar bias: what the sensor of the lower pole shows too much, rad.
    :ivar actuator: the part of the force that the motor still makes, 0 to 1.
    :ivar delay: so many periods later a force arrives at the motor.
    """

    def __init__(self, build: Build | None = None) -> None:
        self.build = build or Build()
        self.bias = 0.0
        self.actuator = 1.0
        self.delay = 0
        self.reset()

    def __repr__(self) -> str:
        return f'<Cart x={self.state.x:.3f} lower={self.state.lower:.3f}>'

    def reset(self, state: CartState = START) -> None:
        """Go back to the start; what is broken stays broken."""
        self.state = state
        self.force = 0.0
        self._forces = deque([0.0] * (MOST_DELAY + 1), maxlen=MOST_DELAY + 1)

    @staticmethod
    def checked(force: float) -> float:
        """
        Return a force, N, held to :data:`MOST_FORCE`.

        :raises OutOfRange: for what is not a finite number.
        """
        if not math.isfinite(force):
            raise OutOfRange(f'{force} is not a finite number', field='data')
        return min(max(force, -MOST_FORCE), MOST_FORCE)

    def advance(self, force: float, push: float = 0.0) -> None:
        """
        Let one :data:`PERIOD` pass.

        :param force: what the motor is told, N; ``push``: the force of a hand.
        """
        self._forces.append(self.checked(force))
        self.force = self._forces[-1 - self.delay] * self.actuator
        state = self.state
        for _ in range(round(PERIOD / STEP)):
            state = self.build.after(state, self.force + push)
            if abs(state.x) > RAIL:
                state = self._stopped(state)
        self.state = state

    def _stopped(self, state: CartState) -> CartState:
        """Return the state after a stop has taken the cart's speed; the poles feel the blow."""
        if state.x * state.speed > 0.0:
            x, lower, upper = self.build.solve(state, (1.0, 0.0, 0.0))
            blow = -state.speed / x
            state = state._replace(speed=0.0, lower_rate=state.lower_rate + blow * lower,
                                   upper_rate=state.upper_rate + blow * upper)
        return state._replace(x=math.copysign(RAIL, state.x))

    def measured(self) -> CartState:
        """Return what the sensors show; angles from -pi/2 to 3 pi/2: hanging is in the middle."""
        quarter, state = math.pi / 2.0, self.state
        return state._replace(lower=wrapped(state.lower + self.bias - quarter) + quarter,
                              upper=wrapped(state.upper - quarter) + quarter)
