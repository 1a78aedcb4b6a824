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
At which rate a peer on a slow link gets what it subscribed to: what came, less what gave way.

A peer is told when topics of its own are thinned, when that changes, and when it has ended. Where
it takes no pieces, samples that would keep all else waiting for long are not begun.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.streams import Topic
from ws_bridge.protocol.replies import RatesChanged, TopicRate
from ws_bridge.session.effects import DeliveryName

PERIOD = 2.0
"""Over which what gave way is counted, and how often a peer is told at most, s."""
HOLD_UP = 2.0
"""So long a sample may keep all else waiting for a peer that takes no pieces, s."""
CHANGE = 0.25
"""By what share a rate has to change to be told again."""


@dataclass(slots=True, eq=False)
class Account:
    """
    One peer's.

    :ivar since: the begin of the period, s; ``dropped``: of the link, then.
    :ivar rates: of the topics that were thinned in the last period, by their deliveries.
    """

    since: float
    dropped: int
    rates: dict[DeliveryName, TopicRate] = field(default_factory=dict)


class Budget:
    """
    The accounts of all peers.

    :param peers: returns those that are connected.
    :param clock: monotonic time, s.
    """

    def __init__(self, outward: Outward, peers: Callable[[], Iterable[Peer]],
                 clock: Callable[[], float]) -> None:
        self._outward = outward
        self._peers = peers
        self._clock = clock
        self._accounts: dict[Peer, Account] = {}

    def __repr__(self) -> str:
        return f'Budget({len(self._accounts)} accounts)'

    def tick(self) -> None:
        """Look at those whose period is over; called a few times a second."""
        now = self._clock()
        for peer in self._peers():
            account = self._accounts.get(peer)
            if account is None:
                self._accounts[peer] = Account(now, peer.link.dropped)
            elif now >= account.since + PERIOD:
                self._look(peer, account, now)

    def rates(self, peer: Peer) -> list[TopicRate]:
        """Return at which rates a peer gets its topics that are thinned."""
        account = self._accounts.get(peer)
        return [] if account is None else list(account.rates.values())

    def forget(self, peer: Peer) -> None:
        """Forget a peer that has left."""
        self._accounts.pop(peer, None)

    def _look(self, peer: Peer, account: Account, now: float) -> None:
        elapsed, account.since = now - account.since, now
        bandwidth = peer.link.bandwidth
        peer.link.queue.most_whole = \
            inf if bandwidth is None or not peer.hears_news else bandwidth * HOLD_UP
        dropped, account.dropped = account.dropped, peer.link.dropped
        if dropped == account.dropped and not account.rates:
            return      # as almost always
        rates: dict[DeliveryName, TopicRate] = {}
        for name, (count, size) in peer.link.queue.take_drops().items():
            found = self._outward.delivery_of(peer, name)
            if found is not None:
                topic, member = found
                wanted = _wanted(topic, member.wish.min_interval, now)
                rates[name] = TopicRate(
                    member.wish.wire_name, round(max(wanted - count / elapsed, 0.0), 2),
                    round(wanted, 2), size)
        before, account.rates = account.rates, rates
        if peer.hears_news and _is_news(before, rates):
            peer.send(RatesChanged(bandwidth, list(rates.values())))


def _wanted(topic: Topic, min_interval: float, now: float) -> float:
    """Return how often a sample would leave if the link were fast, Hz."""
    rate = topic.freshness.rate(now) or 0.0
    return min(rate, 1.0 / min_interval) if min_interval else rate


def _is_news(before: dict[DeliveryName, TopicRate], rates: dict[DeliveryName, TopicRate]) -> bool:
    return before.keys() != rates.keys() or any(
        abs(each.rate - before[name].rate) > CHANGE * max(each.rate, before[name].rate)
        for name, each in rates.items())
