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
"""What a peer on a slow link is told of its topics."""
from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

from support.timers import Timers

from ws_bridge.bridge.budget import Budget, HOLD_UP, PERIOD
from ws_bridge.bridge.streams import Topic
from ws_bridge.protocol.replies import RatesChanged, TopicRate
from ws_bridge.session.queue import Drops
from ws_bridge.timing.freshness import Freshness


class SlowPeer(SimpleNamespace):
    """A peer as a key."""

    __hash__ = object.__hash__


def test_a_peer_is_told_what_gives_way_and_when_that_has_ended() -> None:
    loop = Timers()
    drops: dict[Any, Drops] = {}
    link: Any = SimpleNamespace(dropped=0, bandwidth=1000.0, queue=SimpleNamespace(
        take_drops=lambda: dict(drops), most_whole=inf))
    told: list[Any] = []
    peer: Any = SlowPeer(name='p', link=link, hears_news=True, send=told.append)
    topic = Topic('/camera', Freshness(None, 0.0))
    member: Any = SimpleNamespace(wish=SimpleNamespace(
        name='camera', wire_name='camera', min_interval=0.0))
    outward: Any = SimpleNamespace(delivery_of=lambda of, name: (
        (topic, member) if name == 'camera' else None))
    budget = Budget(outward, lambda: [peer], lambda: loop.now)

    def period(count: int) -> list[Any]:
        """Let so many of 8 samples a second give way; return what is told."""
        drops.clear()
        if count:
            drops.update(camera=Drops(count, 900), gone=Drops(1, 9))
        link.dropped += count
        for _ in range(int(8 * PERIOD)):
            loop.now += 0.125
            topic.freshness.took(1, loop.now)
            budget.tick()
        news, told[:] = list(told), []
        return news
    budget.tick()
    assert period(0) == []
    assert period(12) == [RatesChanged(1000.0, [TopicRate('camera', 2.0, 8.0, 900)])]
    assert budget.rates(peer) == [TopicRate('camera', 2.0, 8.0, 900)]
    assert period(12) == []             # the same
    member.wish.min_interval = 0.25
    assert period(2) == [RatesChanged(1000.0, [TopicRate('camera', 3.0, 4.0, 900)])]
    assert period(0) == [RatesChanged(1000.0, [])]
    assert period(0) == []
    assert link.queue.most_whole == 1000.0 * HOLD_UP
    peer.hears_news = False
    assert period(12) == []
    assert repr(budget) == 'Budget(1 accounts)'
    assert link.queue.most_whole == inf     # who would not be told why gets all of it
    budget.forget(peer)
    assert budget.rates(peer) == []
