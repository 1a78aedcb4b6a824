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
"""The controller of the pendulum: its gains, what it holds, what it does not, its way up."""
from __future__ import annotations

from itertools import pairwise
import math
from pathlib import Path
import random
import re

import numpy as np
import pytest

from ws_bridge.demo.cart import Build, Cart, CartState, HANGING, MOST_FORCE, PERIOD, RAIL, STEP
from ws_bridge.demo.control import (
    AT_REST,
    Controller,
    GAINS,
    Mode,
    MOST_SETPOINT,
    product,
    read_way,
)
from ws_bridge.errors import OutOfRange


def run(cart: Cart, controller: Controller, seconds: float) -> list[Mode]:
    """Let time pass; return the modes in turn."""
    modes: list[Mode] = []
    for _ in range(round(seconds / PERIOD)):
        cart.advance(controller.force(cart.measured()))
        if modes[-1:] != [controller.mode]:
            modes.append(controller.mode)
    return modes


def after(state: CartState, force: float) -> CartState:
    """Return the state one period later."""
    for _ in range(round(PERIOD / STEP)):
        state = Build().after(state, force)
    return state


@pytest.mark.parametrize(('gains', 'around'), [(GAINS, CartState()), (AT_REST, HANGING)])
def test_the_gains_are_those_of_riccatis_equation(
        gains: tuple[float, ...], around: CartState) -> None:
    """And with them the linearised rig comes to rest."""
    small = 1e-5
    ways = [CartState(*row) for row in np.eye(6) * small]

    def at(way: CartState) -> CartState:
        return CartState(*map(sum, zip(around, way, strict=True)))
    drift = np.array([np.subtract(after(at(way), 0.0), after(around, 0.0)) for way in ways]
                     ).T / small
    push = np.subtract(after(around, small), after(around, 0.0)) / small
    weights, effort = np.diag([20.0, 20.0, 20.0, 2.0, 1.0, 1.0]), 0.05
    cost = weights
    for _ in range(600):
        found = push @ cost @ drift / (effort + push @ cost @ push)
        cost = weights + drift.T @ cost @ drift - np.outer(drift.T @ cost @ push, found)
    assert found == pytest.approx(np.array(gains), rel=2e-3, abs=2e-3)
    assert np.max(np.abs(np.linalg.eigvals(drift - np.outer(push, gains)))) < 0.98


def test_the_tutorial_has_these_gains() -> None:
    text = (Path(__file__).parents[2] / 'docs' / 'tutorial' / 'control_demo.md').read_text()
    rows = re.findall(r'^\| `gain_\w+` \|.*\| (-?[\d.]+) \|$', text, re.MULTILINE)
    assert tuple(map(float, rows)) == GAINS


def test_the_poles_stand_and_the_cart_goes_where_it_shall() -> None:
    cart, controller = Cart(), Controller()
    assert run(cart, controller, 4.0) == [Mode.UPRIGHT]
    assert cart.state == pytest.approx(CartState(), abs=2e-3)
    for place in (MOST_SETPOINT, -MOST_SETPOINT):
        controller.setpoint = place
        assert run(cart, controller, 8.0) == [Mode.UPRIGHT]
        assert cart.state.x == pytest.approx(place, abs=5e-3)


@pytest.mark.parametrize('place', [0.81, -0.81, math.nan, math.inf])
def test_a_setpoint_that_cannot_be_is_refused(place: float) -> None:
    controller = Controller()
    controller.setpoint = 0.2
    with pytest.raises(OutOfRange):
        controller.setpoint = place
    assert controller.setpoint == 0.2


@pytest.mark.parametrize(('broken', 'stands'), [
    ({'bias': 0.02}, True), ({'bias': 0.1}, False), ({'actuator': 0.6}, True),
    ({'actuator': 0.3}, False), ({'actuator': 0.0}, False), ({'delay': 1}, True),
    ({'delay': 2}, False)], ids=str)
def test_what_it_can_take(broken: dict[str, float], *, stands: bool) -> None:
    cart, controller = Cart(), Controller()
    run(cart, controller, 1.0)
    for name, value in broken.items():
        setattr(cart, name, value)
    controller.setpoint = 0.1
    modes = run(cart, controller, 4.0)
    assert modes == [Mode.UPRIGHT] if stands else modes == [Mode.UPRIGHT, Mode.FALLEN]
    if 'bias' in broken and stands:
        assert cart.state.x == pytest.approx(
            0.1 - 0.02 * GAINS[1] / GAINS[0], abs=0.01), 'where the bias has it stand'


def test_gains_count_at_once() -> None:
    cart, controller = Cart(), Controller()
    run(cart, controller, 1.0)
    controller.gains = (0.0,) * 6
    cart.advance(0.0, push=10.0)
    assert run(cart, controller, 3.0) == [Mode.UPRIGHT, Mode.FALLEN]


def test_the_way_up_is_one() -> None:
    """It begins hanging, stays on the rail, obeys the equations and ends upright."""
    way = read_way()
    assert way[0].state == pytest.approx(HANGING, abs=1e-4)
    for here, there in pairwise(way):
        assert after(here.state, here.force) == pytest.approx(there.state, abs=2e-3)
    assert after(way[-1].state, way[-1].force) == pytest.approx(CartState(), abs=0.02)
    assert max(abs(sample.state.x) for sample in way) < RAIL / 2.0
    assert max(abs(sample.force) for sample in way) < MOST_FORCE


def test_it_swings_up() -> None:
    cart, controller = Cart(), Controller()
    cart.reset(HANGING)
    assert run(cart, controller, 1.0) == [Mode.FALLEN]
    controller.swing_up()
    assert run(cart, controller, 5.0) == [Mode.SWINGING, Mode.UPRIGHT]
    assert cart.state == pytest.approx(CartState(lower=cart.state.lower, upper=cart.state.upper),
                                       abs=0.01)
    controller.swing_up()
    assert run(cart, controller, 0.1) == [Mode.UPRIGHT], 'it is up already'


@pytest.mark.parametrize('seed', range(2))
def test_it_swings_up_however_it_fell(seed: int) -> None:
    chance = random.Random(seed)
    cart, controller = Cart(), Controller()
    cart.reset(CartState(*(chance.uniform(-most, most)
                           for most in (1.0, 3.0, 3.0, 2.0, 8.0, 8.0))))
    controller.swing_up()
    assert run(cart, controller, 12.0) == [Mode.WAITING, Mode.SWINGING, Mode.UPRIGHT]


def test_a_swing_that_goes_astray_begins_anew() -> None:
    cart, controller = Cart(), Controller()
    cart.reset(HANGING)
    controller.swing_up()
    run(cart, controller, 1.0)
    cart.actuator = 0.0
    assert run(cart, controller, 2.0)[-1] is Mode.WAITING
    cart.actuator = 1.0
    assert run(cart, controller, 15.0)[-2:] == [Mode.SWINGING, Mode.UPRIGHT]


def test_it_gives_up_the_swing_but_not_poles_that_stand() -> None:
    cart, controller = Cart(), Controller()
    run(cart, controller, 0.1)
    controller.give_up()
    assert controller.mode is Mode.UPRIGHT
    cart.reset(HANGING)
    run(cart, controller, 0.1)
    controller.swing_up()
    run(cart, controller, 0.5)
    controller.give_up()
    assert run(cart, controller, 15.0) == [Mode.FALLEN]
    assert cart.measured().x == pytest.approx(0.0, abs=0.01)


def test_a_product_is_of_all_six() -> None:
    assert product((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), CartState(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)) == 21.0
    assert repr(Controller()) == '<Controller fallen>'
