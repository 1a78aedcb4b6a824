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
"""Which clients a pool makes, keeps and destroys."""
from __future__ import annotations

from typing import Any

import pytest
from support.timers import Later

from ws_bridge.ros.pool import Pool, Pooled


def test_a_client_lives_as_long_as_it_is_used_and_a_while_more() -> None:
    ros: Any = Later()
    destroyed: list[Pooled] = []
    pool: Pool[Pooled] = Pool(ros, 30.0, destroyed.append)
    one = pool.use('/a', 'x', Pooled)
    assert pool.use('/a', 'x', Pooled) is one
    other = pool.use('/a', 'y', Pooled)
    assert [each for _, each in pool.of_other_types('/a', 'x')] == [other]
    assert (len(pool), list(pool)) == (2, [one, other])
    pool.release(one)
    pool.forget(one)
    assert ros.alarms == destroyed == []        # it has another user
    pool.release(one)
    assert [alarm.delay for alarm in ros.alarms] == [30.0]
    assert pool.use('/a', 'x', Pooled) is one
    assert ros.alarms == []                     # used again in time
    pool.release(one)
    ros.ring()
    assert destroyed == [one]
    pool.close()
    assert destroyed == [one, other]
    assert len(pool) == 0


def test_what_cannot_be_made_is_not_kept() -> None:
    ros: Any = Later()
    pool: Pool[Pooled] = Pool(ros, 30.0, print)

    def fail() -> Pooled:
        raise RuntimeError
    with pytest.raises(RuntimeError):
        pool.use('/a', 'x', fail)
    assert len(pool) == 0
