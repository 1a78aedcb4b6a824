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
The parameters of all nodes: each node is read once, and then kept as ``/parameter_events`` say.

Viewers ask for everything when they connect, and every few seconds again. That must not cost the
nodes anything: nodes that are asked again and again leak (rclpy), and slow ones would keep each
answer waiting.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TYPE_CHECKING

from ws_bridge.bridge.parameter_services import Answered, ParameterServices
from ws_bridge.errors import BadName, TimedOut, WsBridgeError

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

Value = Mapping[str, Any]
"""A ``rcl_interfaces/msg/ParameterValue``."""
Found = Mapping[str, Mapping[str, Value]]
"""Values by parameter, by node."""
Reasons = Mapping[str, str]
"""Why nodes have none, by node."""
Done = Callable[[Found, Reasons], None]
Late = Callable[[str, Mapping[str, Value]], None]

SETTLE = 3.0
"""
How long a node's publisher of events, and the bridge's listening, have to be there before what is
read then is kept, s: before, an event may be lost.
"""


@dataclass(slots=True)
class KnownNode:
    """
    What a node said of its parameters.

    :param publishers: its publishers of events then: another process of its name has others.
    """

    publishers: frozenset[bytes]
    values: dict[str, Value]


@dataclass(slots=True)
class Reading:
    """
    A node that is being asked.

    :param changes: what events say meanwhile; ``None`` = it was deleted.
    :param then: called at the end.
    """

    publishers: frozenset[bytes]
    is_settled: bool
    changes: dict[str, Value | None] = field(default_factory=dict)
    then: list[Callable[[dict[str, Value] | WsBridgeError], None]] = field(default_factory=list)


class ParameterCache:
    """
    Knows the parameters of nodes, while somebody listens to their events.

    :param resolve: makes the full name of a service; raises ``BadName``.
    :param loop: its clock, and its timers.
    :param post: calls a function later: many viewers may wait for the same node, and what is told
        to each of them takes milliseconds.
    """

    def __init__(self, ros: RosSide, services: ParameterServices, resolve: Callable[[str], str],
                 loop: asyncio.AbstractEventLoop, post: Callable[..., None]) -> None:
        self._ros = ros
        self._services = services
        self._resolve = resolve
        self._loop = loop
        self._post = post
        self._since: float | None = None
        self._seen: dict[str, tuple[frozenset[bytes], float]] = {}
        self._kept: dict[str, KnownNode] = {}
        self._readings: dict[str, Reading] = {}
        self._silent: dict[str, frozenset[bytes]] = {}

    def __repr__(self) -> str:
        return f'ParameterCache({len(self._kept)} nodes)'

    def begin(self) -> None:
        """Take note that the events are listened to from now on."""
        self._since = self._loop.time()

    def end(self) -> None:
        """Forget everything: nobody listens."""
        self._since = None
        self._seen.clear()
        self._kept.clear()
        self._readings.clear()
        self._silent.clear()

    def heard(self, node: str, changes: Mapping[str, Value | None]) -> None:
        """
        Take note of an event.

        :param changes: values by parameter; ``None`` = it was deleted.
        """
        if node in self._readings:
            self._readings[node].changes.update(changes)
        if node in self._kept:
            _apply(self._kept[node].values, changes)

    def read(self, may_read: Callable[[str], bool], done: Done, within: float | None = None,
             late: Late | None = None) -> None:
        """
        Find the parameters of every node.

        A node that did not answer once is asked again, but not waited for.

        :param may_read: whether those of a node are wanted.
        :param done: gets them.
        :param within: when it gets what is known then, s; ``None`` = all together.
        :param late: gets what nodes say later.
        """
        def published(found: Mapping[str, frozenset[bytes]] | WsBridgeError) -> None:
            self._find([node for node in self.nodes() if may_read(node)],
                       {} if isinstance(found, WsBridgeError) else found, done, within, late)

        def looked() -> None:
            try:
                self._ros.survey('event_publishers', on_done=published)
            except WsBridgeError as exc:    # ROS has ended meanwhile
                self._post(done, {}, {'': str(exc)})
        self._ros.look_again(looked)

    def nodes(self) -> Collection[str]:
        """
        Return the nodes that have parameter services.

        One without, such as the stop process, is not asked: the answer would come when the bridge
        had waited for them.
        """
        services = self._ros.graph.services
        nodes: dict[str, bool] = {}
        for node in self._ros.graph.nodes:
            with suppress(BadName):     # of no node of ROS, whoever says so
                nodes[node] = self._resolve(f'{node}/list_parameters') in services
        return [node for node, has_services in nodes.items() if has_services]

    def _find(self, nodes: Collection[str], publishers: Mapping[str, frozenset[bytes]],
              done: Done, within: float | None, late: Late | None) -> None:
        found: dict[str, Mapping[str, Value]] = {}
        reasons: dict[str, str] = {}
        waiting = set(nodes)
        self._forget_all_but(publishers)

        def told(node: str, result: Mapping[str, Value] | WsBridgeError) -> None:
            if node not in waiting:
                if late is not None and not isinstance(result, WsBridgeError):
                    self._post(late, node, result)      # behind the answer
                return
            waiting.discard(node)
            if isinstance(result, WsBridgeError):
                reasons[node] = str(result)
            else:
                found[node] = result
            if not waiting:
                if timer is not None:
                    timer.cancel()
                self._post(done, found, reasons)

        def hurry() -> None:
            for node in sorted(waiting):
                told(node, TimedOut(f'no answer within {within:g} s'))
        if not waiting:
            self._post(done, found, reasons)
            return
        timer = None if within is None else self._loop.call_later(within, hurry)
        for node in nodes:
            theirs = publishers.get(node, frozenset())
            kept = self._kept.get(node)
            if kept is not None and kept.publishers == theirs:
                told(node, kept.values)
                continue
            was_silent = self._silent.get(node) == theirs
            self._ask(node, theirs, partial(told, node))
            if was_silent:
                told(node, TimedOut('did not answer the last time'))

    def _forget_all_but(self, publishers: Mapping[str, frozenset[bytes]]) -> None:
        """Forget nodes that are gone, or are another process now, and note those that are new."""
        now = self._loop.time()
        self._seen = {node: self._seen[node] if self._seen.get(node, ((),))[0] == theirs
                      else (theirs, now) for node, theirs in publishers.items()}
        for node in [node for node, kept in self._kept.items()
                     if publishers.get(node) != kept.publishers]:
            del self._kept[node]
        self._silent = {node: theirs for node, theirs in self._silent.items()
                        if node in self._ros.graph.nodes}

    def _ask(self, node: str, publishers: frozenset[bytes],
             then: Callable[[dict[str, Value] | WsBridgeError], None]) -> None:
        reading = self._readings.get(node)
        if reading is not None and reading.publishers == publishers:
            reading.then.append(then)
            return
        reading = self._readings[node] = Reading(publishers, self._is_settled(node), then=[then])

        def end(result: dict[str, Value] | WsBridgeError) -> None:
            self._end(node, reading, result)

        def listed(answer: Answered) -> None:
            if isinstance(answer, WsBridgeError):
                end(answer)
                return
            names = answer['result']['names']
            self._call(node, 'get_parameters', {'names': names}, lambda got: end(
                got if isinstance(got, WsBridgeError)
                else dict(zip(names, got['values'], strict=False))))
        self._call(node, 'list_parameters', {}, listed)

    def _call(self, node: str, service: str, request: Mapping[str, Any],
              then: Callable[[Answered], None]) -> None:
        self._services.call(self._resolve(f'{node}/{service}'), service, request, then)

    def _is_settled(self, node: str) -> bool:
        """Whether no event of a node is lost any more."""
        publishers, since = self._seen.get(node, (frozenset(), 0.0))
        return self._since is not None and bool(publishers) and \
            self._loop.time() - max(self._since, since) >= SETTLE

    def _end(self, node: str, reading: Reading, result: dict[str, Value] | WsBridgeError) -> None:
        is_current = self._readings.get(node) is reading
        if is_current:
            del self._readings[node]
        if isinstance(result, WsBridgeError):
            if is_current:
                self._silent[node] = reading.publishers
        else:
            _apply(result, reading.changes)
            if is_current:
                self._silent.pop(node, None)
                if reading.is_settled:
                    self._kept[node] = KnownNode(reading.publishers, result)
        for then in reading.then:
            then(result)


def _apply(values: dict[str, Value], changes: Mapping[str, Value | None]) -> None:
    for name, value in changes.items():
        if value is None:
            values.pop(name, None)
        else:
            values[name] = value
