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
The controller of the demo's pendulum, without ROS: one force for each sample of the state.

===========  ======================================================================
``UPRIGHT``  the poles stand; the gains hold them, and the cart at the setpoint
``FALLEN``   they do not; gains of its own bring the cart to the middle and the
             poles to rest, hanging
``WAITING``  as ``FALLEN``, and once they are at rest it swings up
``SWINGING`` on the way up, which ``scripts/swing_up.py`` found once
===========  ======================================================================

Poles that come near upright are caught in any mode but ``SWINGING``.
"""
from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
import json
from pathlib import Path
from typing import NamedTuple

from ws_bridge.demo.cart import CartState, HANGING, MOST_FORCE, wrapped
from ws_bridge.errors import OutOfRange

GAINS = (13.48, -171.0, 258.1, 17.08, 4.571, 33.59)
"""
N for each m, rad, rad, m/s, rad/s and rad/s: the linear-quadratic regulator around upright, in
discrete time (:data:`ws_bridge.demo.cart.PERIOD`). It weighs the squares of the state by 20, 20,
20, 2, 1 and 1, that of the force by 0.05. ``scripts/swing_up.py`` computed it, and a test does so
again.
"""
AT_REST = (15.98, 45.5, -11.24, 13.39, 3.036, 0.8052)
"""The same around hanging poles."""
MOST_SETPOINT = 0.8
MOST_STEP = 0.4
"""The cart is never pulled as if the setpoint were farther away, m: the poles would fall."""

CAUGHT = 0.25
"""Poles that both lean less, rad, and turn slower than four times this a second, are caught."""
LOST = 0.7
"""A pole that leans more, rad, has fallen."""
STILL = CartState(0.03, 0.03, 0.03, 0.03, 0.1, 0.1)
"""As near to rest the swing begins."""
ASTRAY = 0.6
"""Beside its way by so many rad or m, the swing is given up."""


class Mode(Enum):
    """What the controller is about; see the module."""

    UPRIGHT = 'upright'
    FALLEN = 'fallen'
    WAITING = 'waiting'
    SWINGING = 'swinging'


class Sample(NamedTuple):
    """What the way up is at one time: force, state, and gains on what differs from it."""

    force: float
    state: CartState
    gains: tuple[float, ...]


def read_way() -> tuple[Sample, ...]:
    """Return the way up."""
    rows = json.loads((Path(__file__).parent / 'swing_up.json').read_text())
    return tuple(Sample(row[0], CartState(*row[1:7]), tuple(row[7:])) for row in rows)


def beside(state: CartState, wanted: CartState) -> CartState:
    """Return the difference of two states; that of angles is between -pi and pi."""
    return CartState(state.x - wanted.x, wrapped(state.lower - wanted.lower),
                     wrapped(state.upper - wanted.upper), state.speed - wanted.speed,
                     state.lower_rate - wanted.lower_rate, state.upper_rate - wanted.upper_rate)


def product(gains: Iterable[float], state: CartState) -> float:
    """Return the sum of gains times state."""
    return sum(gain * value for gain, value in zip(gains, state, strict=True))


class Controller:
    """
    The controller; :meth:`force` is called once a period.

    :ivar gains: those of ``UPRIGHT``, of :class:`~ws_bridge.demo.cart.CartState` in its order.
    :ivar mode: what it is about.
    """

    def __init__(self) -> None:
        self.gains: tuple[float, ...] = GAINS
        self.mode = Mode.FALLEN
        self._setpoint = 0.0
        self._way: tuple[Sample, ...] = ()
        self._next = 0

    def __repr__(self) -> str:
        return f'<Controller {self.mode.value}>'

    @property
    def setpoint(self) -> float:
        """Where the cart is to be while the poles stand, m."""
        return self._setpoint

    @setpoint.setter
    def setpoint(self, place: float) -> None:
        # also refuses what is not a number
        if not abs(place) <= MOST_SETPOINT:
            raise OutOfRange(f'{place} is not between -{MOST_SETPOINT} and {MOST_SETPOINT} m',
                             field='data')
        self._setpoint = place

    def swing_up(self) -> None:
        """Bring the poles up, unless they stand; first they have to hang at rest."""
        if self.mode is Mode.FALLEN:
            self._way = self._way or read_way()
            self.mode = Mode.WAITING

    def give_up(self) -> None:
        """Swing up no longer; poles that stand stay."""
        if self.mode is not Mode.UPRIGHT:
            self.mode = Mode.FALLEN

    def force(self, state: CartState) -> float:
        """Return the force on the cart, N, for what the sensors show."""
        self.mode = self._mode(state)
        if self.mode is Mode.UPRIGHT:
            ahead = min(max(state.x - self._setpoint, -MOST_STEP), MOST_STEP)
            force = -product(self.gains, state._replace(x=ahead))
        elif self.mode is Mode.SWINGING:
            sample = self._way[self._next]
            self._next += 1
            force = sample.force - product(sample.gains, beside(state, sample.state))
        else:
            force = -product(AT_REST, beside(state, HANGING))
        return min(max(force, -MOST_FORCE), MOST_FORCE)

    def _mode(self, state: CartState) -> Mode:
        lean = max(abs(state.lower), abs(state.upper))
        if self.mode is Mode.UPRIGHT:
            return Mode.FALLEN if lean > LOST else Mode.UPRIGHT
        if self.mode is Mode.SWINGING:
            if self._next == len(self._way):
                return Mode.UPRIGHT
            apart = beside(state, self._way[self._next].state)
            return Mode.WAITING if max(map(abs, apart[:3])) > ASTRAY else Mode.SWINGING
        turning = max(abs(state.lower_rate), abs(state.upper_rate))
        if lean < CAUGHT and turning < 4.0 * CAUGHT:
            return Mode.UPRIGHT
        if self.mode is Mode.WAITING and all(
                abs(value) < most for value, most in zip(beside(state, HANGING), STILL,
                                                         strict=True)):
            self._next = 0
            return Mode.SWINGING
        return self.mode
