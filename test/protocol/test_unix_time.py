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
"""Unix time in seconds and in nanoseconds."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.protocol.unix_time import nanoseconds, seconds

numbers = st.floats(-1e12, 1e12)


@given(numbers)
def test_seconds_come_back(number: float) -> None:
    assert abs(seconds(nanoseconds(number)) - number) <= 0.5e-9
    if abs(number) > 1e8:       # where a float has no finer parts than a nanosecond
        assert seconds(nanoseconds(number)) == number


@given(st.integers(-10**18, 10**18))
def test_nanoseconds_are_off_by_no_more_than_a_float_is(number: int) -> None:
    assert abs(nanoseconds(seconds(number)) - number) <= 64


@pytest.mark.parametrize(('number', 'expected'), [
    (0.0, 0), (1.5, 1_500_000_000), (-0.25, -250_000_000),
    (1760000000.25, 1_760_000_000_250_000_000)])
def test_examples(number: float, expected: int) -> None:
    assert nanoseconds(number) == expected


def test_a_number_of_any_size_is_taken() -> None:
    assert seconds(nanoseconds(1e300)) == 1e300
