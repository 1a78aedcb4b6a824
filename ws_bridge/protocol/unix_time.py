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
Unix time inside the package: whole nanoseconds, as ROS and most wire protocols have it.

Each dialect writes it as its protocol must. Durations, and monotonic time, are seconds.
"""
from __future__ import annotations

SECOND = 1_000_000_000
"""Nanoseconds in a second."""


def nanoseconds(seconds: float) -> int:
    """Return a Unix time that was given in seconds; :func:`seconds` gives the same number back."""
    whole = int(seconds)    # apart: together they have more digits than a float
    return whole * SECOND + round((seconds - whole) * SECOND)


def seconds(nanoseconds: int) -> float:
    """Return a Unix time in seconds: the nearest number that a float has."""
    return nanoseconds / SECOND
