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
"""What can be made of a camera's pictures: values, equal for all who share what is made."""
from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

QUALITY = 80
"""Of JPEG, where nobody asks for another."""
LEAST_QUALITY = 25
"""Of JPEG over the thinnest links."""
LARGEST_SIDE = 8192
"""Of a JPEG, pixels."""
MOST_ENLARGED = 1 << 20
"""
Pixels of a JPEG that is larger than the picture, at most: who asks for more would keep the process
busy, and so the pictures of others waiting.
"""


class Rung(NamedTuple):
    """
    One of the qualities of video.

    :param bits: a second, on average of some frames; of JPEG about that, at most.
    :param width: at most so many pixels; a smaller picture stays as it is.
    :param rate: at most so many frames a second.
    :param quality: of JPEG.
    """

    bits: int
    width: int
    rate: float
    quality: int = 0


RUNGS = (Rung(300_000, 480, 15.0), Rung(1_000_000, 854, 30.0), Rung(3_000_000, 1280, 30.0))
"""From thin to wide."""
JPEG_RUNGS = (Rung(400_000, 240, 10.0, 50), Rung(2_000_000, 480, 15.0, 65),
              Rung(10_000_000, 854, 15.0, 80))
"""The same for those who cannot decode video: each picture stands for itself, and costs more."""
RUNG = 1
"""With which a link begins that is known not to be slow."""


@dataclass(frozen=True, slots=True)
class JpegRecipe:
    """
    Pictures as JPEG.

    :param width: pixels; 0 = by the height and the shape of the picture, or as it is.
    :param height: likewise.
    :param quality: 1 to 100; 0 = any: what is JPEG already stays as it is.
    :param interval: least time between two, s.
    :param is_most: a smaller picture stays as it is.
    """

    width: int = 0
    height: int = 0
    quality: int = 0
    interval: float = 0.0
    is_most: bool = False

    @property
    def pause(self) -> float:
        """Least time between two pictures that are encoded, s."""
        return self.interval

    @property
    def is_as_it_is(self) -> bool:
        """Whether nothing is to be changed of what is JPEG already."""
        return not (self.width or self.height or self.quality)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of what is made of a picture, pixels."""
        wide, high = self.width, self.height
        if (not wide and not high) or (self.is_most and width <= wide):
            return width, height
        wide = wide or min(max(round(high * width / height), 1), LARGEST_SIDE)
        high = high or min(max(round(wide * height / width), 1), LARGEST_SIDE)
        share = sqrt(max(width * height, MOST_ENLARGED) / (wide * high))
        return (wide, high) if share >= 1.0 else (max(int(wide * share), 1),
                                                  max(int(high * share), 1))


@dataclass(frozen=True, slots=True)
class VideoRecipe:
    """
    Pictures as H.264, each frame made of the one before.

    :param rung: of :data:`RUNGS`.
    :param interval: least time between two, s.
    """

    rung: int
    interval: float = 0.0

    @property
    def pause(self) -> float:
        """Least time between two pictures that are encoded, s."""
        return max(self.interval, 1.0 / RUNGS[self.rung].rate)


Recipe = JpegRecipe | VideoRecipe


def leanness(interval: float) -> float:
    """
    Return which share of its bits a frame of the lowest rung gets that is to come so rarely.

    It comes rarely because the link is thin: there a frame takes long, and a key frame longer.

    :param interval: s.
    """
    return min(1.0, 0.1 / interval) if interval else 1.0


def rungs_of(codec: str) -> tuple[Rung, ...]:
    """Return the qualities of ``h264`` or ``jpeg``."""
    return JPEG_RUNGS if codec == 'jpeg' else RUNGS


def video_recipe(codec: str, rung: int, interval: float) -> Recipe:
    """
    Return how the pictures of one quality are made.

    :param interval: least time between two, s; that of the rung at least.
    """
    interval = shared_interval(interval)
    if codec != 'jpeg':
        return VideoRecipe(rung, interval)
    _, width, rate, quality = JPEG_RUNGS[rung]
    if not rung:
        quality = max(int(quality * leanness(interval)), LEAST_QUALITY)
    return JpegRecipe(width, 0, quality, max(interval, 1.0 / rate), is_most=True)


_INTERVALS = (0.0, 1 / 15, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)


def shared_interval(interval: float) -> float:
    """
    Return an interval that few others differ from, at least as long: what is made is shared.

    :param interval: s; beyond a minute it is its own.
    """
    return next((each for each in _INTERVALS if each >= interval), interval)
