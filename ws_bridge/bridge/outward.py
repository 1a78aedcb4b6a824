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
:class:`Throttled`: they keep the newest sample until its time comes.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TYPE_CHECKING

from ws_bridge.bridge.peer import Peer, types_of, types_of_others
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import ConversionError, TypeMismatch, WsBridgeError
from ws_bridge.protocol.dialect import SampleWriter
from ws_bridge.protocol.fragment import splitter
from ws_bridge.protocol.operations import Appeared, Done, Encoding, Failed
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.session.effects import OpenSubscription
from ws_bridge.session.freshness import Freshness
from ws_bridge.session.queue import Split
from ws_bridge.transport.link import fan_out, Link

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

ERROR_INTERVAL = 1.0
"""A topic whose samples cannot be converted is reported once in this time, s."""


Encode = Callable[[Codec, bytes], bytes]


def as_json(codec: Codec, cdr: bytes) -> bytes:
    return codec.to_json(cdr)


def as_cbor(codec: Codec, cdr: bytes) -> bytes:
    return codec.to_cbor(cdr)


def as_cdr(codec: Codec, cdr: bytes) -> bytes:
    return cdr


ENCODERS: dict[Encoding, Encode] = {
    'json': as_json, 'png': as_json, 'cbor': as_cbor, 'cdr': as_cdr, 'cbor-raw': as_cdr}
"""What makes the body of a sample; the dialect makes a frame of it."""

TEXT: frozenset[Encoding] = frozenset({'json', 'png'})
"""The encodings whose frames are text."""


@dataclass(frozen=True, slots=True)
class Form:
    """What becomes of a sample on its way to those who want it so, under one name."""

    stream: str
    write: SampleWriter
    encode: Encode
    text: bool
    split: Split | None


@dataclass(slots=True, eq=False)
class Group:
    """Peers that get the same frames of one topic."""

    form: Form
    depth: int
    links: dict[Link, None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Throttled:
    """One peer that wants at most a sample each ``interval`` s."""

    link: Link
    form: Form
    interval: float
    due: float = 0.0
    pending: tuple[bytes, float, int] | None = None
    timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One peer's wish for one topic."""

    peer: Peer
    wish: OpenSubscription

    @property
    def key(self) -> tuple[str, str]:
        """The subscription, among all."""
        return self.peer.name, self.wish.wire_name

    @property
    def group_key(self) -> tuple[object, ...]:
        """Peers with the same key get the same frames."""
        wish = self.wish
        return (self.peer.dialect.name, wish.encoding, wish.wire_name, wish.queue_depth,
                wish.fragment_size)


Name = tuple[str, str]
"""A peer, and a topic as it calls it."""

Key = tuple[str, QosRequest | None, str | None]
"""What peers share: a topic, a quality of service that was asked for, a type if it is known."""


@dataclass(slots=True, eq=False)
class Topic:
    """
    A topic that at least one peer subscribes to; without ``codec`` its type is awaited.

    :param channels: numbers by the names that peers use: one connection may use several.
    """

    name: str
    freshness: Freshness
    channels: dict[str, int] = field(default_factory=dict)
    members: dict[Name, Member] = field(default_factory=dict)
    groups: dict[object, Group] = field(default_factory=dict)
    throttled: dict[Name, Throttled] = field(default_factory=dict)
    codec: Codec | None = None
    subscription: Any = None
    sequence: int = 0
    errors_due: float = 0.0
    errors: int = 0


class Outward:
    """
    All topics that go out.

    :param expected_rate: the configured rate of a topic, Hz, or ``None``.
    """

    def __init__(self, ros: RosSide, store: CodecStore, loop: asyncio.AbstractEventLoop, *,
                 expected_rate: Callable[[str], float | None], epoch: float) -> None:
        self._ros = ros
        self._store = store
        self._loop = loop
        self._expected_rate = expected_rate
        self._epoch = epoch
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
        old = self._keys.get(member.key)
        topic = self._enter(member, self._type_of(wish))
        peer.send(Done(wish.op_id, 'subscribe', self._describe(topic, member)))
        if old != self._keys[member.key] or wish.fresh:
            self._deliver_latched(topic, member)

    def _enter(self, member: Member, msg_type: str | None) -> Topic:
        """Let a peer share in a topic, in place of what it had under this name."""
        wish = member.wish
        key = wish.topic, wish.qos, msg_type
        old = self._keys.get(member.key)
        if old is not None and old != key:
            self.close(member.peer, wish.wire_name)
            old = None
        topic = self._topics.get(key)
        if topic is None:
            topic = Topic(wish.topic, Freshness(
                self._expected_rate(wish.topic), self._loop.time()))
            if msg_type is not None:
                self._start(topic, msg_type, wish)
        self._topics[key] = topic
        self._keys[member.key] = key
        if old is not None:
            self._leave(topic, member.key)
        topic.channels.setdefault(wish.wire_name, next(self._ids))
        topic.members[member.key] = member
        self._join(topic, member)
        return topic

    def close(self, peer: Peer, wire_name: str) -> None:
        """Let a peer have a topic no longer by this name; the last one ends the subscription."""
        name = peer.name, wire_name
        key = self._keys.pop(name, None)
        if key is None:
            return
        topic = self._topics[key]
        self._leave(topic, name)
        del topic.members[name]
        if not topic.members:
            del self._topics[key]
            if topic.subscription is not None:
                topic.subscription.close()

    def has(self, peer: Peer, wire_name: str) -> bool:
        """Whether a peer subscribes to a topic by this name."""
        return (peer.name, wire_name) in self._keys

    def wish_of(self, peer: Peer, name: str) -> OpenSubscription | None:
        """Return what a peer wants of a topic, ``None`` where it does not subscribe to it."""
        return next((member.wish for topic in self._topics.values() if topic.name == name
                     for member in topic.members.values() if member.peer is peer), None)

    def topics(self) -> list[Topic]:
        """Return the topics that somebody subscribes to."""
        return list(self._topics.values())

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
            msg_type = self._type_of(member.wish)
            if msg_type is None:
                return
            topic = self._enter(member, msg_type)
        except WsBridgeError as exc:
            self._lose(member, exc)
            return
        member.peer.send(Appeared(self._describe(topic, member)))
        self._deliver_latched(topic, member)

    def _describe(self, topic: Topic, member: Member) -> dict[str, Any]:
        """Return what the acknowledgment of a subscription tells."""
        codec = topic.codec
        wants = member.wish.want_schema or member.wish.encoding == 'cdr'
        return {
            'topic': member.wish.wire_name, 'type': codec.schema.name if codec else None,
            'encoding': member.wish.encoding, 'channel_id': topic.channels[member.wish.wire_name],
            'schema': schema_to_text(codec.schema) if codec and wants else None,
            'pending': codec is None,
        }

    def _type_of(self, wish: OpenSubscription) -> str | None:
        """Return the full name of the topic's type, ``None`` while there is none."""
        if wish.msg_type is not None:
            types = types_of_others(self._ros, wish.topic)
            msg_type = self._ros.types.message(wish.msg_type).name
            if types and msg_type not in types:
                raise TypeMismatch(f'{wish.topic} is {" and ".join(types)}, not {msg_type}',
                                   field='type')
            return msg_type
        types = types_of(self._ros, wish.topic) or tuple(
            msg_type for name, _, msg_type in self._topics if name == wish.topic and msg_type)
        if len(types) > 1:
            raise TypeMismatch(f'{wish.topic} has several types: {", ".join(types)}; say which',
                               field='type')
        return types[0] if types else None

    def _start(self, topic: Topic, msg_type: str, wish: OpenSubscription) -> None:
        codec = self._store.codec(self._ros.types.message(msg_type))
        topic.subscription = self._ros.subscribe(
            wish.ros_name, msg_type, wish.qos,
            lambda samples, taken: self._deliver(topic, samples, taken),
            lambda exc: self._fail(topic, exc))
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
                    member.peer.send(Failed(None, exc))
            return      # else graph_changed tells, when they have another type or lose it
        for member in list(topic.members.values()):
            self._lose(member, exc)

    def _lose(self, member: Member, exc: WsBridgeError) -> None:
        self.close(member.peer, member.wish.wire_name)
        member.peer.session.forget_subscription(member.wish.wire_name)
        member.peer.send(Failed(member.wish.op_id, exc))

    def _join(self, topic: Topic, member: Member) -> None:
        """Deliver to the peer from now on, once the type is known."""
        if topic.codec is None:
            return
        wish, peer = member.wish, member.peer
        if wish.min_interval:
            topic.throttled[member.key] = Throttled(
                peer.link, self._form(topic, member), wish.min_interval)
            return
        group = topic.groups.get(member.group_key)
        if group is None:
            group = topic.groups[member.group_key] = Group(
                self._form(topic, member), wish.queue_depth)
        group.links[peer.link] = None

    def _form(self, topic: Topic, member: Member) -> Form:
        wish = member.wish
        text = wish.encoding in TEXT
        split = None
        channel_id = topic.channels[wish.wire_name]
        if wish.fragment_size and text:
            split = splitter(f'{wish.wire_name}:{channel_id}', wish.fragment_size)
        write = member.peer.dialect.sample_writer(wish.wire_name, channel_id, wish.encoding)
        return Form(wish.wire_name, write, ENCODERS[wish.encoding], text, split)

    def _leave(self, topic: Topic, name: Name) -> None:
        throttled = topic.throttled.pop(name, None)
        if throttled is not None and throttled.timer is not None:
            throttled.timer.cancel()
        member = topic.members[name]
        key = member.group_key
        group = topic.groups.get(key)
        if group is not None:
            group.links.pop(member.peer.link, None)
            if not group.links:
                del topic.groups[key]

    def _deliver_latched(self, topic: Topic, member: Member) -> None:
        """Give a peer that came late what a transient local topic has kept."""
        if topic.codec is None:
            return
        samples = topic.subscription.latched()
        form = self._form(topic, member)
        stamp = self._loop.time() + self._epoch
        first = max(topic.sequence - len(samples), 0) + 1  # as if they were the last that came
        for sequence, cdr in enumerate(samples, first):
            try:
                body = form.encode(topic.codec, cdr)
            except ConversionError as exc:
                self._report(topic, exc)
                continue
            member.peer.link.send_stream(
                form.stream, form.write(body, stamp, sequence),
                max(member.wish.queue_depth, len(samples)), text=form.text, split=form.split)

    def _deliver(self, topic: Topic, samples: list[bytes], taken: float) -> None:
        """Hot path: encode each sample once per encoding anyone wants, and hand it over."""
        codec = topic.codec
        if codec is None or not topic.members:
            return
        stamp = taken + self._epoch
        for cdr in samples:
            topic.sequence = sequence = topic.sequence + 1
            bodies: dict[Encode, bytes] = {}
            for group in topic.groups.values():
                form = group.form
                body = bodies.get(form.encode)
                if body is None:
                    try:
                        body = bodies[form.encode] = form.encode(codec, cdr)
                    except ConversionError as exc:
                        self._report(topic, exc)
                        continue
                fan_out(group.links, form.stream, form.write(body, stamp, sequence),
                        group.depth, text=form.text, split=form.split)
            for throttled in topic.throttled.values():
                self._offer(topic, throttled, (cdr, stamp, sequence))
        topic.freshness.took(len(samples), taken)

    def _offer(self, topic: Topic, throttled: Throttled,
               sample: tuple[bytes, float, int]) -> None:
        """Send the sample, or keep it, the newest, until the peer's next time."""
        now = self._loop.time()
        if now < throttled.due or throttled.timer is not None:    # a late timer comes first
            throttled.pending = sample
            if throttled.timer is None:
                throttled.timer = self._loop.call_at(
                    throttled.due, self._release, topic, throttled)
            return
        late = now - throttled.due
        throttled.due = now + throttled.interval - (late if late < throttled.interval else 0.0)
        self._send(topic, throttled, sample)

    def _release(self, topic: Topic, throttled: Throttled) -> None:
        throttled.timer = None
        sample, throttled.pending = throttled.pending, None
        if sample is None:
            return
        throttled.due += throttled.interval
        self._send(topic, throttled, sample)

    def _send(self, topic: Topic, throttled: Throttled,
              sample: tuple[bytes, float, int]) -> None:
        if topic.codec is None:
            return
        cdr, stamp, sequence = sample
        try:
            body = throttled.form.encode(topic.codec, cdr)
        except ConversionError as exc:
            self._report(topic, exc)
            return
        form = throttled.form
        throttled.link.send_stream(form.stream, form.write(body, stamp, sequence), 1,
                                   text=form.text, split=form.split)

    def _report(self, topic: Topic, exc: ConversionError) -> None:
        """Tell those who wanted a sample that it cannot be converted."""
        topic.errors += 1
        now = self._loop.time()
        if now < topic.errors_due:
            return
        topic.errors_due = now + ERROR_INTERVAL
        for member in topic.members.values():
            member.peer.send(Failed(None, exc))
