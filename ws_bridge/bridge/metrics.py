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
``/metrics`` for Prometheus: what the bridge counts, read at the moment it is asked for.

No name of a peer, topic or address is a label: their number has no bound.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from http import HTTPStatus
from typing import Protocol, TYPE_CHECKING

from ws_bridge.errors import ConfigError
from ws_bridge.transport.options import HttpReply, Visitor

if TYPE_CHECKING:
    from ws_bridge.bridge.door import Door
    from ws_bridge.bridge.ledger import Ledger
    from ws_bridge.bridge.peer import Peer
    from ws_bridge.bridge.resumption import Resumption

Page = Callable[[Visitor], Awaitable[HttpReply]]


_TOTALS = {
    'received_messages': 'Messages from peers.', 'received_bytes': 'Bytes from peers.',
    'sent_messages': 'Messages to peers.', 'sent_bytes': 'Bytes to peers.',
    'dropped_samples': 'Samples that slow peers did not get.',
    'rate_limited_messages': 'Messages that were refused because they came too fast.'}


class Figures:
    """
    What is counted of the peers, those that left too.

    :param peers: returns those that are connected.
    :param entities: returns how many entities peers have in ROS.
    :param sessions: those whose peers may come back.
    :param clock: monotonic time, s.
    """

    def __init__(self, peers: Callable[[], Collection[Peer]], entities: Callable[[], int],
                 sessions: Resumption, clock: Callable[[], float]) -> None:
        self._peers = peers
        self._entities = entities
        self._sessions = sessions
        self._clock = clock
        self._started = clock()
        self._past: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f'Figures({len(self._peers())} peers)'

    def left(self, peer: Peer) -> None:
        """Keep what was counted of a peer that is no longer connected."""
        self._past.update(_traffic(peer))
        peer.session.allowance.refused = 0      # it may go on with another connection

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Return what there is now: by name, what it is and its value."""
        peers = self._peers()
        return {
            'peers': ('Peers that are connected.', len(peers)),
            'entities': ('Subscriptions, publishers, services and actions of peers in ROS.',
                         self._entities()),
            'queued_bytes': ('Bytes that wait for peers.',
                             sum(peer.link.queued_bytes for peer in peers)),
            'waiting_sessions': ('Sessions that wait for their peers to come back.',
                                 self._sessions.waiting),
            'kept_reply_bytes': ('Bytes of replies of which it is not known that they arrived.',
                                 self._sessions.kept()[0]),
            'uptime_seconds': ('How long the bridge runs.', self._clock() - self._started)}

    def totals(self) -> dict[str, tuple[str, float]]:
        """Return what there was in all the time, likewise."""
        counts = self._past.copy()
        for peer in self._peers():
            counts.update(_traffic(peer))
        return {name: (text, counts[name]) for name, text in _TOTALS.items()}


def _traffic(peer: Peer) -> dict[str, int]:
    link = peer.link
    return {'received_messages': link.messages_in, 'received_bytes': link.bytes_in,
            'sent_messages': link.messages_out, 'sent_bytes': link.bytes_out,
            'dropped_samples': link.dropped,
            'rate_limited_messages': peer.session.allowance.refused}


class Counted(Protocol):
    """What the metrics show: :class:`Figures`, or those of a relay."""

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Return what there is now: by name, what it is and its value."""

    def totals(self) -> dict[str, tuple[str, float]]:
        """Return what there was in all the time, likewise."""


def make_metrics(figures: Counted, ledger: Ledger, door: Door) -> Page:
    """
    Return what answers ``/metrics``.

    :raises ConfigError: the library is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, exposition
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    except ImportError:
        raise ConfigError('needs the Python package prometheus_client (pip install '
                          'prometheus-client, apt install python3-prometheus-client)',
                          field='metrics') from None

    class Collector:
        """Reads the bridge."""

        def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
            """Give every metric."""
            for name, (text, value) in figures.gauges().items():
                yield GaugeMetricFamily(f'ws_bridge_{name}', text, value=value)
            for name, (text, value) in figures.totals().items():
                yield CounterMetricFamily(f'ws_bridge_{name}', text, value=value)
            events = CounterMetricFamily(
                'ws_bridge_events', 'What happened: logins, refusals, ends.',
                labels=['event', 'code'])
            for (event, code), number in sorted(ledger.counts.items()):
                events.add_metric([event, code], number)
            yield events

    registry = CollectorRegistry()
    registry.register(Collector())

    async def answer(visitor: Visitor) -> HttpReply:
        refusal = await door.metrics_allowed(visitor)
        if refusal is not None:
            return refusal
        return HttpReply(HTTPStatus.OK, {'Content-Type': exposition.CONTENT_TYPE_LATEST,
                                         'Cache-Control': 'no-store'},
                         exposition.generate_latest(registry))
    return answer
