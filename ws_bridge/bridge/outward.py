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
Topics from ROS to peers: one subscription a topic, one encoding for all who want the same.

A sample comes as CDR bytes. Peers that want it in the same form (dialect, encoding, name) are
one :class:`Group`: the frame is made once and written to all. Peers with a rate limit are
:class:`Throttled`: they keep the newest sample until its time comes. So are those that want few
points of clouds. :class:`FanOut` hands out the samples; here is who wants what.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import TYPE_CHECKING

from ws_bridge.bridge.converter import Converter
from ws_bridge.bridge.fan_out import FanOut
from ws_bridge.bridge.peer import agreed_type, Peer, types_of, types_of_others
from ws_bridge.bridge.streams import Key, Member, Name, OnLeft, Topic
from ws_bridge.convert.clouds import CLOUD
from ws_bridge.convert.codec import CodecStore
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import QosMismatch, TypeMismatch, WsBridgeError
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.replies import Delivery, Restored, Subscribed, TopicAppeared
from ws_bridge.session.effects import DeliveryName, OpenSubscription
from ws_bridge.timing.freshness import Freshness

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide


class Outward:
    """
    All topics that go out.

    :param converter: converts what is large.
    :param expected_rate: the configured rate of a topic, Hz, or ``None``.
    :param watcher: returns what is told of each sample of a topic that has left, if anybody is.
    """

    def __init__(self, ros: RosSide, store: CodecStore, converter: Converter,
                 loop: asyncio.AbstractEventLoop, *,
                 expected_rate: Callable[[str], float | None], epoch: float,
                 watcher: Callable[[str], OnLeft | None]) -> None:
        self._ros = ros
        self._store = store
        self._loop = loop
        self._expected_rate = expected_rate
        self._watcher = watcher
        self._fan_out = FanOut(converter, loop, epoch)
        self._ids = count(1)
        self._topics: dict[Key, Topic] = {}
        self._keys: dict[Name, Key] = {}

    def open(self, peer: Peer, wish: OpenSubscription) -> None:  # noqa: A003
        """
        Let a peer have a topic, and acknowledge it; a second time replaces its settings.

        :raises TypeMismatch: the topic has another type.
        :raises UnknownType: the type is not on this machine.
        """
        member = Member(peer, wish)
        msg_type = self.type_of(wish.topic, wish.msg_type)
        if msg_type is not None:
            peer.session.login.rights.check_type(wish.topic, msg_type)
        topic = self._enter(member, msg_type)
        peer.send(Subscribed(wish.op_id, self._describe(topic, member)))
        if topic.subscription is not None and topic.subscription.misfit is not None:
            peer.send(wish.failed(topic.subscription.misfit))

    def _enter(self, member: Member, msg_type: str | None) -> Topic:
        """
        Let a peer share in a topic, in place of what it had under this name.

        It is given first what the topic has kept, if it joins, and what waited for it, if it was
        here; not before the loop goes on, so that it can be told before.

        :raises TypeMismatch: it wants few points of what is no point cloud.
        """
        wish = member.wish
        if wish.max_points is not None and msg_type not in (None, CLOUD):
            raise TypeMismatch(f'{wish.topic} is of type {msg_type}, and only {CLOUD} has points',
                               field='max_points')
        key = wish.topic, wish.qos, msg_type
        old = self._keys.get(member.key)
        if old is not None and old != key:
            self.close(member.peer, wish.name)
            old = None
        topic = self._topics.get(key)
        if topic is None:
            topic = Topic(wish.topic, Freshness(
                self._expected_rate(wish.topic), self._loop.time()),
                on_left=self._watcher(wish.topic))
            if msg_type is not None:
                self._start(topic, msg_type, wish)
        self._topics[key] = topic
        self._keys[member.key] = key
        kept: list[bytes] = []
        if topic.subscription is not None and (old is None or wish.fresh):
            member.joined, kept = topic.subscription.join()
            member.since = member.joined
        if old is not None:
            before = topic.members[member.key]
            member.since, member.joined = before.since, max(member.joined, before.joined)
            kept = [*(cdr for cdr in topic.let_out(before) if cdr not in kept), *kept]
        topic.channels.setdefault(wish.wire_name, next(self._ids))
        topic.members[member.key] = member
        if old is None:
            topic.begun[member.key] = topic.sequence
        member.peer.link.queue.share(wish.name, wish.share)
        self._fan_out.arrive(topic, member, kept)
        return topic

    def close(self, peer: Peer, delivery: DeliveryName) -> None:
        """Let a peer have a topic no longer by this name; the last one ends the subscription."""
        name = peer.name, delivery
        key = self._keys.pop(name, None)
        if key is None:
            return
        topic = self._topics[key]
        topic.let_out(topic.members[name])
        self._fan_out.gather()      # so that nothing of it comes after the answer
        peer.link.forget_stream(delivery)
        del topic.members[name]
        topic.begun.pop(name, None)
        if not topic.members:
            del self._topics[key]
            self._fan_out.forget(topic)
            if topic.subscription is not None:
                topic.subscription.close()

    def leave(self, peer: Peer) -> None:
        """Make nothing more for a peer that may come back, but go on counting its samples."""
        for topic, member in self._of(peer):
            topic.let_out(member)
        self._fan_out.gather()

    def come_back(self, peer: Peer, received: Mapping[int, int]) -> list[Restored]:
        """
        Let a peer have again what its session subscribed to.

        What a transient local topic has kept of what it missed it is given when the loop goes on.

        :param peer: the one that goes on with the session.
        :param received: the number of the last sample that it got, by channel.
        """
        restored = []
        for topic, old in self._of(peer):
            member = Member(peer, old.wish)
            kept: list[bytes] = []
            if topic.subscription is not None:
                member.joined, kept = topic.subscription.join()
                member.since = member.joined
            topic.members[old.key] = member
            peer.link.queue.share(member.wish.name, member.wish.share)
            behind = topic.behind(member.key,
                                  received.get(topic.channels[member.wish.wire_name]))
            kept = kept[max(len(kept) - behind, 0):]
            restored.append(Restored(self._describe(topic, member), behind - len(kept),
                                     topic.sequence - len(kept)))
            self._fan_out.arrive(topic, member, kept)
        return restored

    def _of(self, peer: Peer) -> list[tuple[Topic, Member]]:
        """Return what the session of a peer subscribes to."""
        mine = [(self._topics[key], name) for name, key in self._keys.items()
                if name[0] == peer.name]
        return [(topic, topic.members[name]) for topic, name in mine]

    def end(self, peer: Peer, topics: Collection[str]) -> None:
        """End what a peer has of topics that are gone, of which its dialect tells it."""
        for topic in [topic for topic in self._topics.values() if topic.name in topics]:
            for member in [each for each in topic.members.values() if each.peer is peer]:
                self.close(peer, member.wish.name)
                peer.session.subscriptions.forget(member.wish.name)

    def has(self, peer: Peer, delivery: DeliveryName) -> bool:
        """Whether a peer subscribes to a topic by this name."""
        return (peer.name, delivery) in self._keys

    def wish_of(self, peer: Peer, name: str) -> OpenSubscription | None:
        """Return what a peer wants of a topic, ``None`` where it does not subscribe to it."""
        return next((member.wish for topic in self._topics.values() if topic.name == name
                     for member in topic.members.values() if member.peer is peer), None)

    def delivery_of(self, peer: Peer, delivery: DeliveryName) -> tuple[Topic, Member] | None:
        """Return what a peer subscribes to by this name, if it does."""
        key = self._keys.get((peer.name, delivery))
        if key is None:
            return None
        topic = self._topics[key]
        return topic, topic.members[peer.name, delivery]

    def topics(self) -> list[Topic]:
        """Return the topics that somebody subscribes to."""
        return list(self._topics.values())

    def record(self, tap: Callable[[Topic, list[bytes], int], None]) -> None:
        """Have everything that comes recorded, too."""
        self._fan_out.tap = tap

    def work(self) -> None:
        """Hand out what waits, for a slice of time; called once in a turn of the loop."""
        self._fan_out.work()

    def graph_changed(self) -> None:
        """
        Start what waited for its topic to appear.

        Where a topic has another type by now, those who named none get that; others lose it.
        """
        for (name, _, msg_type), topic in list(self._topics.items()):
            types = types_of_others(self._ros, name)
            if msg_type is None or (types and msg_type not in types):
                for member in list(topic.members.values()):
                    self._appeared(member)

    def _appeared(self, member: Member) -> None:
        """Deliver to a peer that waited for the type of a topic, or must take another one."""
        try:
            msg_type = self.type_of(member.wish.topic, member.wish.msg_type)
            if msg_type is None:
                return
            member.peer.session.login.rights.check_type(member.wish.topic, msg_type)
            topic = self._enter(member, msg_type)
        except WsBridgeError as exc:
            self._lose(member, exc)
            return
        member.peer.send(TopicAppeared(self._describe(topic, member)))

    def _describe(self, topic: Topic, member: Member) -> Delivery:
        """Return what the acknowledgment of a subscription tells."""
        codec = topic.codec
        wants = member.wish.want_schema or ENCODINGS[member.wish.encoding].is_cdr
        return Delivery(
            member.wish.wire_name, codec.schema.name if codec else None, member.wish.encoding,
            topic.channels[member.wish.wire_name],
            schema_to_text(codec.schema) if codec and wants else None, codec is None)

    def type_of(self, topic: str, asked: str | None) -> str | None:
        """
        Return the full name of a topic's type, ``None`` while there is none.

        :param asked: the one that a peer names.
        :raises UnknownType: it is not installed.
        :raises TypeMismatch: the topic has another type, or several and the peer names none.
        """
        if asked is not None:
            return agreed_type(topic, self._ros.types.message(asked).name,
                               types_of_others(self._ros, topic))
        types = types_of(self._ros, topic) or tuple(
            msg_type for name, _, msg_type in self._topics if name == topic and msg_type)
        if len(types) > 1:
            raise TypeMismatch(f'{topic} has several types: {", ".join(types)}; say which',
                               field='type')
        return types[0] if types else None

    def _start(self, topic: Topic, msg_type: str, wish: OpenSubscription) -> None:
        codec = self._store.codec(self._ros.types.message(msg_type))
        topic.subscription = self._ros.subscribe(
            topic.name, msg_type, wish.qos,
            lambda samples, taken: self._fan_out.deliver(topic, samples, taken),
            lambda exc: self._fail(topic, exc),
            lambda cdr, had: self._fan_out.deliver_missed(topic, cdr, had))
        topic.codec = codec

    def _fail(self, topic: Topic, exc: WsBridgeError) -> None:
        """
        Tell every peer of a topic what is wrong with it; what ROS refuses for good they lose.

        A further type is an error of the robot's, or another peer's wish: no reason to go deaf.
        """
        if isinstance(exc, TypeMismatch):
            types = types_of_others(self._ros, topic.name)
            if not types or (topic.codec is not None and topic.codec.schema.name in types):
                for member in topic.members.values():
                    member.peer.send(member.wish.failed(exc))
            return      # else graph_changed tells, when they have another type or lose it
        if isinstance(exc, QosMismatch):
            for member in topic.members.values():
                member.peer.send(member.wish.failed(exc))
            return
        for member in list(topic.members.values()):
            self._lose(member, exc)

    def _lose(self, member: Member, exc: WsBridgeError) -> None:
        self.close(member.peer, member.wish.name)
        member.peer.session.subscriptions.forget(member.wish.name)
        member.peer.send(member.wish.failed(exc, member.wish.op_id))
