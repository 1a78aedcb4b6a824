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
"""One lease: who has it, who asks for it, and every state under every event."""
from __future__ import annotations

from itertools import count, product

import pytest

from ws_bridge.errors import Held, NotHolder, PeerGone
from ws_bridge.safety.lease import Lease, LeaseEvent, LeaseState, TRANSITIONS


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == set(product(LeaseState, LeaseEvent))


def test_a_lease_has_one_holder_and_one_request() -> None:
    lease = Lease(count(5).__next__)
    lease.acquire('a')
    assert lease.epoch == 5
    with pytest.raises(Held, match='a holds it'):
        lease.acquire('b')
    with pytest.raises(Held, match='this peer holds it already'):
        lease.acquire('a')
    with pytest.raises(Held):
        lease.ask('a', '', 1.0)
    assert lease.ask('b', 'please', 1.0) is False
    with pytest.raises(Held):
        lease.ask('c', '', 1.0)
    lease.end()
    assert (lease.holder, lease.epoch, lease.request) == ('b', 6, None)


def test_only_the_holder_answers_and_only_who_asks_gets_it() -> None:
    lease = Lease(count(1).__next__)
    assert lease.ask('a', '', 1.0) is True      # it was free
    assert (lease.holder, lease.request) == ('a', None)
    with pytest.raises(PeerGone):
        lease.answer('a', 'b', granted=True)
    lease.ask('b', '', 1.0)
    with pytest.raises(NotHolder):
        lease.answer('b', 'b', granted=True)
    with pytest.raises(PeerGone):
        lease.answer('a', 'c', granted=True)
    lease.answer('a', 'b', granted=False)
    assert (lease.holder, lease.request) == ('a', None)
    lease.ask('c', '', 1.0)
    lease.answer('a', 'c', granted=True)
    assert (lease.holder, lease.epoch, lease.request) == ('c', 2, None)
