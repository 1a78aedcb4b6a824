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
Compute what the controller of the demo's pendulum knows: its gains, and how it swings up.

``python scripts/swing_up.py`` prints the gains of ``ws_bridge/demo/control.py`` and writes
``ws_bridge/demo/swing_up.json``; it takes some minutes.

The gains are those of a linear-quadratic regulator in discrete time: the equations of
``ws_bridge/demo/cart.py`` are linearised around the poles upright (or hanging) by differences over
one period with the force held, and Riccati's equation is iterated until it stands still.

The way up is found by iterative LQR from the poles at rest and hanging: a guess is improved by a
backward pass over the linearised steps and a forward pass that is accepted where it costs less;
the weight of its end grows in four rounds. A ``tanh`` bounds the force, and places beyond the
middle of the rail cost. The gains of the last backward pass hold the cart on that way.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ws_bridge.demo.cart import Build, CartState, HANGING, MOST_FORCE, PERIOD, STEP

Floats = NDArray[np.float64]

FILE = Path(__file__).resolve().parents[1] / 'ws_bridge' / 'demo' / 'swing_up.json'
BUILD = Build()
WEIGHTS = np.diag([20.0, 20.0, 20.0, 2.0, 1.0, 1.0])
EFFORT = 0.05
"""What a state and a force cost, in the units of each, squared."""
SAMPLES = 140
ON_THE_WAY = PERIOD * np.diag([0.2, 0.0, 0.0, 0.01, 0.002, 0.002])
FORCE = PERIOD * 0.002
FARTHEST = 0.9
TOO_FAR = PERIOD * 200.0
ROUNDS = (0.003, 0.03, 0.3, 3.0)
SMALL = 1e-5


def after(state: Floats, force: float) -> Floats:
    """Return the state one period later."""
    moved = CartState(*state)
    for _ in range(round(PERIOD / STEP)):
        moved = BUILD.after(moved, force)
    return np.array(moved)


def linearised(state: Floats, force: float) -> tuple[Floats, Floats]:
    """Return how the state one period later depends on the state and on the force."""
    ways = np.eye(6) * SMALL
    columns = [after(state + way, force) - after(state - way, force) for way in ways]
    pushed = after(state, force + SMALL) - after(state, force - SMALL)
    return np.stack(columns, axis=1) / (2.0 * SMALL), pushed / (2.0 * SMALL)


def regulator(state: Floats) -> tuple[Floats, Floats]:
    """Return the gains around an equilibrium, and what it costs to be beside it."""
    drift, push = linearised(state, 0.0)
    cost = WEIGHTS.copy()
    while True:
        gains = push @ cost @ drift / (EFFORT + push @ cost @ push)
        newer = WEIGHTS + drift.T @ cost @ (drift - np.outer(push, gains))
        if np.max(np.abs(newer - cost)) < 1e-11 * np.max(np.abs(newer)):
            return gains, newer
        cost = newer


class Way:
    """
    States and bounded forces from the start on.

    :param wished: forces before the bound, shape (n,).
    """

    def __init__(self, states: Floats, wished: Floats) -> None:
        self.states = states
        self.wished = wished

    @property
    def forces(self) -> Floats:
        """The forces within :data:`MOST_FORCE`."""
        return np.asarray(MOST_FORCE * np.tanh(self.wished / MOST_FORCE))

    @property
    def beyond(self) -> Floats:
        """How far each state is too far out, with its sign."""
        places = self.states[:, 0]
        return np.asarray(np.sign(places) * np.maximum(np.abs(places) - FARTHEST, 0.0))

    def cost(self, end: Floats) -> float:
        """Return what the way costs; ``end`` weighs its last state."""
        last = self.states[-1]
        return float(FORCE * np.sum(self.wished ** 2) + TOO_FAR * np.sum(self.beyond ** 2)
                     + np.einsum('ni,ij,nj->', self.states[:-1], ON_THE_WAY, self.states[:-1])
                     + last @ end @ last)

    def backward(self, end: Floats, damping: float) -> tuple[Floats, Floats]:
        """Return the change of each force, and its gains."""
        changes, gains = np.zeros(SAMPLES), np.zeros((SAMPLES, 6))
        slope, curve = 2.0 * end @ self.states[-1], 2.0 * end
        scale = 1.0 - np.tanh(self.wished / MOST_FORCE) ** 2
        beyond = self.beyond
        for n in reversed(range(SAMPLES)):
            drift, push = linearised(self.states[n], self.forces[n])
            push = push * scale[n]
            here, bend = 2.0 * ON_THE_WAY @ self.states[n], 2.0 * ON_THE_WAY
            here[0] += 2.0 * TOO_FAR * beyond[n]
            bend[0, 0] += 2.0 * TOO_FAR * bool(beyond[n])
            by_state = here + drift.T @ slope
            by_force = 2.0 * FORCE * self.wished[n] + push @ slope
            of_force = 2.0 * FORCE + push @ curve @ push
            mixed = push @ curve @ drift
            changes[n], gains[n] = (-by_force / (of_force + damping),
                                    -mixed / (of_force + damping))
            slope = by_state + gains[n] * (of_force * changes[n] + by_force) + mixed * changes[n]
            curve = (bend + drift.T @ curve @ drift + of_force * np.outer(gains[n], gains[n])
                     + np.outer(gains[n], mixed) + np.outer(mixed, gains[n]))
            curve = (curve + curve.T) / 2.0
        return changes, gains

    def forward(self, changes: Floats, gains: Floats) -> Way:
        """Return the way with these changes."""
        states, wished = [self.states[0]], np.zeros(SAMPLES)
        for n in range(SAMPLES):
            wished[n] = self.wished[n] + changes[n] + gains[n] @ (states[n] - self.states[n])
            states.append(after(states[n], MOST_FORCE * float(np.tanh(wished[n] / MOST_FORCE))))
        return Way(np.array(states), wished)


def improved(way: Way, end: Floats) -> Way:
    """Return the way where nothing makes it cheaper any more."""
    damping, cost = 1e-3, way.cost(end)
    for _ in range(120):
        changes, gains = way.backward(end, damping)
        for part in 0.5 ** np.arange(10):
            other = way.forward(part * changes, gains)
            if other.cost(end) < cost:
                break
        else:
            damping *= 8.0
            if damping > 1e3:
                break
            continue
        saved, way, cost = cost - other.cost(end), other, other.cost(end)
        damping = max(damping / 2.0, 1e-6)
        if saved < 1e-5 * cost:
            break
    print(f'cost {cost:.4f}, it ends at {np.round(way.states[-1], 3)}', flush=True)
    return way


def main() -> None:
    """Compute, print and write."""
    upright, cost = regulator(np.zeros(6))
    hanging, _ = regulator(np.array(HANGING))
    for name, gains in (('UPRIGHT', upright), ('AT_REST', hanging)):
        print(name, '=', tuple(float(f'{gain:.4g}') for gain in gains))
    times = np.arange(SAMPLES) * PERIOD
    still = Way(np.tile(np.array(HANGING), (SAMPLES + 1, 1)), np.zeros(SAMPLES))
    way = still.forward(6.0 * np.sin(2.0 * np.pi * times / 1.58), np.zeros((SAMPLES, 6)))
    for weight in ROUNDS:
        way = improved(way, weight * cost)
    _, gains = way.backward(ROUNDS[-1] * cost, 0.0)
    gains *= (1.0 - np.tanh(way.wished / MOST_FORCE) ** 2)[:, None]
    rows = [[round(float(force), 3), *(round(float(value), 4) for value in state),
             *(float(f'{-gain:.4g}') for gain in row)]
            for force, state, row in zip(way.forces, way.states[:-1], gains, strict=True)]
    FILE.write_text('[' + ',\n '.join(map(json.dumps, rows)) + ']\n')


if __name__ == '__main__':
    main()
