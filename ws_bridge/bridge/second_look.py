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
Operations on topics that the graph, as it was seen last, would refuse: it is looked at again.

A topic may be new, or be back with another type, for up to half a second before the bridge
knows.  What a peer sends for the same topic meanwhile waits too, in order; each operation is
judged by the fence of its arrival.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.publications import Publications
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.errors import BadName, LimitExceeded, TypeMismatch, UnknownType, WsBridgeError
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.replies import Failed
from ws_bridge.session import effects as fx
from ws_bridge.transport.link import Link

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

MAX_WAITING = 100
"""Operations of one peer that wait for one topic, or to learn what their destination is."""

AboutTopic = ops.Subscribe | ops.Unsubscribe | ops.Advertise | ops.Unadvertise | ops.Command


class SecondLook(Unit):
    """
    Keeps operations back until the graph was looked at again.

    :param topic_of: returns the full name of a topic; raises ``BadName``.
    :param carry_out: carries out the effects of a session.
    :param peers: those that are connected.
    :param clock: monotonic time, s.
    """

    def __init__(self, ros: RosSide, publications: Publications, outward: Outward, *,
                 topic_of: Callable[[str], str],
                 carry_out: Callable[[Peer, list[fx.Effect], str | None], object],
                 peers: Mapping[Link, Peer], clock: Callable[[], float]) -> None:
        self._ros = ros
        self._publications = publications
        self._outward = outward
        self._topic_of = topic_of
        self._carry_out = carry_out
        self._peers = peers
        self._clock = clock
        self._waiting: dict[tuple[Peer, str], list[tuple[AboutTopic, float]]] = {}
        self._asking: Counter[Peer] = Counter()

    def keeps(self, peer: Peer, op: ops.Operation) -> bool:
        """
        Whether an operation is done with until the graph was looked at again (hot path).

        Where too many wait already, or the ROS side ends, the peer is told so.
        """
        if not isinstance(op, AboutTopic):
            return False
        try:
            return self._keeps(peer, op)
        except WsBridgeError as exc:
            peer.send(Failed(op.op_id, exc))
            return True

    def _keeps(self, peer: Peer, op: AboutTopic) -> bool:
        topic = self._topic(peer, op)
        if topic is None:
            return False
        queue = self._waiting.get((peer, topic))
        if queue is None:
            if not self._is_unsure(peer, op, topic):
                return False
            self._ros.look_again(lambda: self._go_on(peer, topic))
            queue = self._waiting[peer, topic] = []
        if len(queue) >= MAX_WAITING:
            raise LimitExceeded(f'{MAX_WAITING} messages for {topic}, which is new, wait')
        queue.append((op, peer.link.fence))
        return True

    def is_unsure(self, peer: Peer, op: ops.Operation) -> bool:
        """Whether the graph has to be looked at again before an operation is carried out."""
        topic = self._topic(peer, op) if isinstance(op, AboutTopic) else None
        return topic is not None and self._is_unsure(peer, op, topic)

    def _topic(self, peer: Peer, op: AboutTopic) -> str | None:
        """Return the topic whose type decides what becomes of an operation."""
        if isinstance(op, ops.Command):
            if op.kind != 'topic':
                return None
            name = op.destination
        else:
            name = op.topic
        try:
            return self._topic_of(name)
        except BadName:
            return None

    def _is_unsure(self, peer: Peer, op: ops.Operation, topic: str) -> bool:
        if isinstance(op, ops.Unsubscribe | ops.Unadvertise) or (
                type(op) is ops.Command and topic in peer.session.publications.topics):
            return False
        wants = isinstance(op, ops.Subscribe)
        rule = peer.session.login.rights.find('subscribe' if wants else 'publish', topic)
        if rule is None:
            return False
        msg_type = getattr(op, 'msg_type', None) or rule.msg_type
        try:
            (self._outward if wants else self._publications).type_of(topic, msg_type)
        except TypeMismatch:
            return True
        except UnknownType:     # of what it names: no look at the graph brings that
            return msg_type is None
        return False

    def _go_on(self, peer: Peer, topic: str) -> None:
        newest = peer.link.fence
        for op, fence in self._waiting.pop((peer, topic)):
            peer.link.fence = fence
            if self._peers.get(peer.link) is peer and peer.link.is_open:
                self._carry_out(peer, peer.session.receive(op, self._clock()), op.op_id)
        peer.link.fence = newest

    def _look_again(self, peer: Peer, effect: fx.LookAgain) -> None:
        op, fence = effect.operation, peer.link.fence
        if self._asking[peer] >= MAX_WAITING:
            peer.send(Failed(op.op_id, LimitExceeded(
                f'{MAX_WAITING} messages for what is not known yet wait')))
            return
        self._asking[peer] += 1

        def resume() -> None:
            self._asking[peer] -= 1
            if not self._asking[peer]:
                del self._asking[peer]
            if peer.link in self._peers:
                newest, peer.link.fence = peer.link.fence, fence
                self._carry_out(peer, peer.session.resume(op, self._clock()), op.op_id)
                peer.link.fence = newest
        self._ros.look_again(resume)

    EFFECTS: ClassVar[Effects] = {fx.LookAgain: _look_again}
