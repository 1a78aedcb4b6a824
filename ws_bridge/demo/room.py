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
The room around the demo robot: what a laser scanner measures and a camera sees in it.

A rectangle of walls with the origin in its middle, and round columns. Lengths in m, angles in rad.
"""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HALF_LENGTH = 5.0
HALF_WIDTH = 4.0
COLUMNS = 5
COLUMN_RADII = (0.2, 0.5)
# Nothing stands closer to the origin, where the robot starts.
CLEARING = 1.2

FIELD_OF_VIEW = np.radians(80.0)
WALL_HEIGHT = 1.6
# East, north, west, south, then the columns in turn.
WALL_COLOURS = ((196, 84, 64), (72, 140, 92), (70, 104, 180), (204, 168, 72))
COLUMN_COLOURS = ((150, 70, 160), (60, 160, 170), (220, 120, 60))
SKY = np.array([[150.0, 190.0, 230.0]])
FLOOR = np.array([[110.0, 104.0, 98.0]])


class Room:
    """
    The walls and columns.

    :param seed: decides where the columns stand and how thick they are.
    """

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        away = random.uniform(CLEARING + COLUMN_RADII[1], HALF_WIDTH, COLUMNS)
        around = random.uniform(0.0, 2.0 * np.pi, COLUMNS)
        self.centres = np.stack([away * np.cos(around), away * np.sin(around)], axis=1)
        self.radii = random.uniform(*COLUMN_RADII, COLUMNS)
        columns = [COLUMN_COLOURS[i % len(COLUMN_COLOURS)] for i in range(COLUMNS)]
        self._colours = np.array([*WALL_COLOURS, *columns], dtype=float)

    def is_free(self, x: float, y: float, radius: float) -> bool:
        """Tell whether a disc fits there."""
        inside = abs(x) + radius < HALF_LENGTH and abs(y) + radius < HALF_WIDTH
        away = np.hypot(self.centres[:, 0] - x, self.centres[:, 1] - y)
        return inside and bool(np.all(away > self.radii + radius))

    def cast(self, x: float, y: float, directions: Floats) -> tuple[Floats, NDArray[np.intp]]:
        """
        Follow rays to what they meet first.

        :param x: where they start, inside the room.
        :param directions: angles against the x axis, shape (n,).
        :return: distances, and indices of what was met: 0 to 3 the walls, then the columns.
        """
        cosines, sines = np.cos(directions), np.sin(directions)
        with np.errstate(divide='ignore', over='ignore'):
            walls = np.stack([(HALF_LENGTH - x) / cosines, (HALF_WIDTH - y) / sines,
                              (-HALF_LENGTH - x) / cosines, (-HALF_WIDTH - y) / sines])
        # A ray t * (cos, sin) meets a circle where t^2 - 2 t along + apart^2 - radius^2 = 0.
        apart = self.centres - (x, y)
        along = apart[:, :1] * cosines + apart[:, 1:] * sines
        root = along ** 2 - np.sum(apart ** 2, axis=1)[:, None] + self.radii[:, None] ** 2
        columns = np.where(root > 0.0, along - np.sqrt(np.maximum(root, 0.0)), np.inf)
        distances = np.concatenate([walls, columns])
        distances[distances <= 0.0] = np.inf
        met = np.argmin(distances, axis=0)
        return distances[met, np.arange(len(directions))], met

    def view(self, x: float, y: float, heading: float, width: int,
             height: int) -> NDArray[np.uint8]:
        """
        Draw what a camera sees that looks ahead.

        :return: rgb8, shape (height, width, 3).
        """
        across = np.linspace(1.0, -1.0, width) * np.tan(FIELD_OF_VIEW / 2.0)
        aside = np.arctan(across)
        distances, met = self.cast(x, y, heading + aside)
        # Stripes two a metre make motion along a wall visible, the distance darkens.
        places = x + y + distances * (np.cos(heading + aside) + np.sin(heading + aside))
        light = np.where(np.floor(places * 2.0) % 2.0, 1.0, 0.78) / (1.0 + 0.08 * distances)
        colours = self._colours[met] * light[:, None]
        focal = width / (2.0 * np.tan(FIELD_OF_VIEW / 2.0))
        tall = focal * WALL_HEIGHT / 2.0 / np.maximum(distances * np.cos(aside), 0.05)
        rows = np.arange(height) - (height - 1) / 2.0
        nearness = (0.6 + 0.8 * np.abs(rows) / height)[:, None]
        ground = np.where(rows[:, None] < 0.0, SKY * (2.0 - nearness) / 1.4, FLOOR * nearness)
        is_wall = np.abs(rows)[:, None] < tall
        return np.where(is_wall[..., None], colours.astype(np.uint8)[None],
                        ground.astype(np.uint8)[:, None])
