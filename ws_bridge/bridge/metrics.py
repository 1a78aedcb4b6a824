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

from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Any, TYPE_CHECKING

from ws_bridge.errors import ConfigError
from ws_bridge.transport.options import HttpReply, Visitor

if TYPE_CHECKING:
    from ws_bridge.bridge.bridge import Bridge
    from ws_bridge.bridge.door import Door
    from ws_bridge.bridge.ledger import Ledger

Page = Callable[[Visitor], Awaitable[HttpReply]]


def make_metrics(bridge: Bridge, ledger: Ledger, door: Door) -> Page:
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

        def collect(self) -> Iterator[Any]:
            """Give every metric."""
            for name, (text, value) in bridge.gauges().items():
                yield GaugeMetricFamily(f'ws_bridge_{name}', text, value=value)
            for name, (text, value) in bridge.totals().items():
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
