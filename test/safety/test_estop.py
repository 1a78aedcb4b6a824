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
"""The emergency stop latches."""
from __future__ import annotations

from itertools import product

from ws_bridge.safety.estop import Estop, EstopEvent, EstopState, TRANSITIONS


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == set(product(EstopState, EstopEvent))


def test_a_stop_shows_itself() -> None:
    estop = Estop(EstopState.STOPPED)
    assert (estop.stopped, estop.reason) == (True, 'start')
    assert repr(estop) == '<Estop stopped by None: start>'


def test_the_first_to_assert_stays_the_one() -> None:
    estop = Estop()
    assert estop.apply(EstopEvent.ASSERT, 'a', 'fire')
    assert not estop.apply(EstopEvent.ASSERT, 'b', 'smoke')
    assert (estop.by, estop.reason) == ('a', 'fire')
    assert estop.apply(EstopEvent.CLEAR, 'b')
    assert (estop.stopped, estop.by, estop.reason) == (False, None, '')
    assert not estop.apply(EstopEvent.CLEAR, 'b')
