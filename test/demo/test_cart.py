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
"""The cart with two poles: its equations against a slow reference, its energy, its faults."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from numpy.typing import NDArray
import pytest

from ws_bridge.demo.cart import (
    Build,
    Cart,
    CartState,
    GRAVITY,
    HANGING,
    MOST_DELAY,
    MOST_FORCE,
    RAIL,
    START,
    STEP,
)
from ws_bridge.errors import OutOfRange

Floats = NDArray[np.float64]

SMOOTH = Build(cart_friction=0.0, hinge_friction=0.0)
ANGLES, RATES = st.floats(-4.0, 4.0), st.floats(-8.0, 8.0)
STATES = st.builds(CartState, st.floats(-1.0, 1.0), ANGLES, ANGLES, st.floats(-3.0, 3.0), RATES,
                   RATES)


def kinetic(build: Build, places: Sequence[float], rates: Sequence[float]) -> float:
    """Return the kinetic energy of three bodies, by the speeds of their centres and turns."""
    half = build.length / 2.0
    x, y = rates[0], 0.0
    whole = build.cart * x * x
    for angle, rate in zip(places[1:], rates[1:], strict=True):
        across, along = rate * half * math.cos(angle), -rate * half * math.sin(angle)
        whole += build.pole * ((x + across) ** 2 + (y + along) ** 2
                               + build.length ** 2 / 12.0 * rate * rate)
        x, y = x + 2.0 * across, y + 2.0 * along
    return whole / 2.0


def potential(build: Build, places: Sequence[float]) -> float:
    """Return the potential energy, J; 0 where the poles stand."""
    lower, upper = ((math.cos(angle) - 1.0) * build.length for angle in places[1:])
    return build.pole * GRAVITY * (1.5 * lower + 0.5 * upper)


def reference(build: Build, state: CartState, force: float) -> Floats:
    """Return the slope by Lagrange's equations, whose derivatives are differences."""
    places, rates, axes = np.array(state[:3]), np.array(state[3:]), np.eye(3)

    def masses(at: Floats) -> Floats:
        alone = [kinetic(build, at, axis) for axis in axes]
        return np.array([[kinetic(build, at, axes[i] + axes[j]) - alone[i] - alone[j]
                          for i in range(3)] for j in range(3)])

    def lagrangian(at: Floats) -> float:
        return kinetic(build, at, rates) - potential(build, at)
    small = 1e-6
    turning = (masses(places + small * rates) - masses(places - small * rates)) / (2.0 * small)
    pulls = np.array([(lagrangian(places + small * axis) - lagrangian(places - small * axis))
                      / (2.0 * small) for axis in axes])
    hinge = build.hinge_friction * (rates[2] - rates[1])
    outside = np.array([force - build.cart_friction * rates[0],
                        hinge - build.hinge_friction * rates[1], -hinge])
    return np.concatenate([rates, np.linalg.solve(
        masses(places), outside + pulls - turning @ rates)])


@settings(max_examples=30)
@given(STATES, st.floats(-MOST_FORCE, MOST_FORCE))
def test_the_equations_are_those_of_lagrange(state: CartState, force: float) -> None:
    assert np.array(Build().slope(state, force)) == pytest.approx(
        reference(Build(), state, force), abs=2e-5, rel=2e-6)
    assert Build().energy(state) == pytest.approx(
        kinetic(Build(), np.array(state[:3]), np.array(state[3:]))
        + potential(Build(), np.array(state[:3])), abs=1e-9)


def test_its_steps_end_where_small_ones_do() -> None:
    state, force, parts = CartState(0.1, 2.0, 0.5, 0.5, -3.0, 4.0), 5.0, 4
    slow = np.array(state)
    build = Build()
    for _ in range(round(0.15 / STEP)):
        state = build.after(state, force)
    for _ in range(round(0.15 / STEP) * parts):      # the midpoint method, another one
        middle = slow + STEP / parts / 2.0 * reference(build, CartState(*slow), force)
        slow = slow + STEP / parts * reference(build, CartState(*middle), force)
    assert np.array(state) == pytest.approx(slow, abs=2e-3)


@pytest.mark.parametrize('state', [
    CartState(0.0, 2.5, 1.0, 0.3, 4.0, -3.0), CartState(0.0, 0.01, 0.0),
    CartState(0.5, 3.0, -3.0, -1.0, 0.0, 6.0)])
def test_without_friction_the_energy_stays(state: CartState) -> None:
    energy = SMOOTH.energy(state)
    momentum = None
    for _ in range(round(3.0 / STEP)):
        state = SMOOTH.after(state, 0.0)
        sideways = (SMOOTH.cart + 2 * SMOOTH.pole) * state.speed + SMOOTH.pole * SMOOTH.length * (
            1.5 * state.lower_rate * math.cos(state.lower)
            + 0.5 * state.upper_rate * math.cos(state.upper))
        momentum = sideways if momentum is None else momentum
        assert SMOOTH.energy(state) == pytest.approx(energy, abs=2e-4)
        assert sideways == pytest.approx(momentum, abs=1e-4)


def test_friction_takes_energy() -> None:
    build, state = Build(), CartState(0.0, 2.0, 2.5)
    energies = [build.energy(state)]
    for _ in range(round(4.0 / STEP)):
        state = build.after(state, 0.0)
        energies.append(build.energy(state))
    assert all(after < before + 1e-9 for before, after in pairwise(energies))
    assert build.energy(HANGING) < energies[-1] < energies[0] - 0.2


@settings(max_examples=20)
@given(STATES)
def test_a_stop_takes_speed_and_gives_no_energy(state: CartState) -> None:
    cart = Cart()
    cart.reset(state._replace(x=RAIL - 1e-6, speed=abs(state.speed) + 0.5))
    before = cart.build.energy(cart.state)
    cart.advance(0.0)
    assert abs(cart.state.x) <= RAIL
    assert cart.build.energy(cart.state) < before
    for _ in range(20):
        cart.advance(MOST_FORCE)
    assert -RAIL <= cart.state.x <= RAIL


@settings(max_examples=10)
@given(st.lists(st.floats(-30.0, 30.0), max_size=20))
def test_the_same_forces_give_the_same_states(forces: list[float]) -> None:
    one, other = Cart(), Cart()
    for force in forces:
        one.advance(force)
        other.advance(min(max(force, -MOST_FORCE), MOST_FORCE))
    assert one.state == other.state
    one.reset()
    assert (one.state, one.force) == (START, 0.0)


@pytest.mark.parametrize('force', [math.nan, math.inf, -math.inf])
def test_a_force_that_is_no_number_is_refused(force: float) -> None:
    cart = Cart()
    with pytest.raises(OutOfRange):
        cart.advance(force)
    assert cart.state == START


def test_what_is_broken() -> None:
    cart = Cart()
    cart.bias = 0.2
    assert cart.measured() == pytest.approx(START._replace(lower=START.lower + 0.2))
    cart.reset(CartState(lower=math.pi - 0.1, upper=7.0))
    shown = cart.measured()
    assert (shown.lower, shown.upper) == pytest.approx((math.pi + 0.1, 7.0 - math.tau))
    cart.reset(CartState(lower=-1.8, upper=-1.5))
    assert cart.measured()[1:3] == pytest.approx((-1.6 + math.tau, -1.5))
    cart.actuator = 0.25
    cart.advance(8.0)
    assert cart.force == 2.0
    cart.actuator, cart.delay = 1.0, 3
    made = []
    for force in range(1, MOST_DELAY):
        cart.advance(float(force))
        made.append(cart.force)
    assert made == [0.0, 0.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    cart.reset()
    assert (cart.bias, cart.delay) == (0.2, 3)


def test_a_hand_pushes_beside_the_motor() -> None:
    cart, other = Cart(), Cart()
    cart.advance(2.0, 3.0)
    other.advance(5.0)
    assert cart.state == other.state
    assert cart.force == 2.0
