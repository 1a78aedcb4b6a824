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

Samples wait here for their turn. They are handed out in slices of :data:`SLICE`, between which
the loop reads what peers send: streams give way to commands, however many peers want them. What
waits when a peer's turn comes leaves in one write.
"""
from __future__ import annotations

import asyncio
from collections import deque, OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
import time
from typing import Any, TYPE_CHECKING

from ws_bridge.bridge.converter import Converter
from ws_bridge.bridge.peer import agreed_type, Peer, types_of, types_of_others
from ws_bridge.convert.codec import Codec, CodecStore, LARGE
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import ConversionError, QosMismatch, TypeMismatch, WsBridgeError
from ws_bridge.protocol.dialect import SampleWriter
from ws_bridge.protocol.encodings import Encode, ENCODINGS
from ws_bridge.protocol.fragment import splitter
from ws_bridge.protocol.operations import Encoding
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.replies import Delivery, Failed, Subscribed, TopicAppeared
from ws_bridge.protocol.rosbridge import PNG_AROUND
from ws_bridge.session.effects import DeliveryName, OpenSubscription
from ws_bridge.session.queue import Frame, Parts, Split
from ws_bridge.timing.freshness import Freshness
from ws_bridge.timing.unix import nanoseconds
from ws_bridge.transport.link import Link, StreamFrame

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

ERROR_INTERVAL = 1.0
"""A topic whose samples cannot be converted is reported once in this time, s."""
SLICE = 0.002
"""For how long streams are handed out before the loop reads again, s."""
ROUND = 65_536
"""Bytes of frames that are made before every peer has been given them."""
LATE = 0.1
"""After so long, s, older samples give way where more wait than peers want to have waiting."""
MAX_WAITING = 1000
"""Samples of one topic that wait for their turn, unless a peer wants more."""
MAX_WAITING_BYTES = 67_108_864
"""Bytes of all samples that wait, but for the newest of each topic."""

Sample = tuple[bytes, int, int]
"""CDR, the Unix time at which it was taken, ns, its number."""

_BODY = b'\x00body\x00'
"""Stands for a body, to find out what a frame has around it; in no text, and no text in it."""


@dataclass(frozen=True, slots=True)
class Form:
    """
    What becomes of a sample on its way to those who want it so, under one name.

    :param encode: makes the body; the dialect makes a frame of it.
    :param converted: the encoding into which a sample is converted; ``None`` = it stays CDR.
    :param write_text: frames the text that is in an image; ``None`` = it is in none.
    :param is_spliced: the body is CDR, and the frame around it does not depend on its size.
    """

    stream: Hashable
    write: SampleWriter
    encode: Encode
    text: bool
    split: Split | None
    converted: Encoding | None
    write_text: SampleWriter | None = None
    is_spliced: bool = False

    def around(self, stamp: int, sequence: int) -> tuple[bytes, bytes]:
        """Return what stands before and after a body in the text, or in the frame."""
        before, _, after = (self.write_text or self.write)(
            _BODY, stamp, sequence).rpartition(_BODY)
        return before, after

    def frame(self, body: bytes | memoryview, stamp: int, sequence: int) -> Parts:
        """Return the frame of a body that a worker made, without copying it."""
        before, after = PNG_AROUND if self.write_text else self.around(stamp, sequence)
        return Parts(before, body, after)

    def frame_here(self, body: bytes, stamp: int, sequence: int) -> Frame:
        """Return the frame of a body that no worker made; of large CDR without copying it."""
        if self.is_spliced and len(body) > LARGE:
            return self.frame(body, stamp, sequence)
        return self.write(body, stamp, sequence)


def _is_spliced(write: SampleWriter) -> bool:
    """Whether frames are the same around a body, whatever its size."""
    return write(_BODY, 0, 0).replace(_BODY, 2 * _BODY) == write(2 * _BODY, 0, 0)


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
    pending: Sample | None = None
    timer: asyncio.TimerHandle | None = None    # also while its turn has not come


Name = tuple[str, DeliveryName]
"""A peer, and its delivery."""


@dataclass(frozen=True, slots=True)
class Member:
    """One peer's wish for one topic."""

    peer: Peer
    wish: OpenSubscription

    @property
    def key(self) -> Name:
        """The subscription, among all."""
        return self.peer.name, self.wish.name

    @property
    def group_key(self) -> tuple[object, ...]:
        """Peers with the same key get the same frames."""
        wish = self.wish
        dialect = self.peer.dialect
        return (dialect.name, dialect.share_key(wish.wire_name, wish.key), wish.encoding,
                wish.queue_depth, wish.fragment_size)


Key = tuple[str, QosRequest | None, str | None]
"""What peers share: a topic, a quality of service that was asked for, a type if it is known."""


@dataclass(slots=True, eq=False)
class Topic:
    """
    A topic that at least one peer subscribes to; without ``codec`` its type is awaited.

    :param channels: numbers by the names that peers use: one connection may use several.
    :ivar is_slow: a large sample is being converted: smaller ones come after it.
    :ivar waiting: the samples that nobody was given yet.
    :ivar depth: how many of them may be late.
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
    is_slow: bool = False
    waiting: deque[Sample] = field(default_factory=deque)
    depth: int = 1


class Outward:
    """
    All topics that go out.

    :param converter: converts what is large.
    :param expected_rate: the configured rate of a topic, Hz, or ``None``.
    """

    def __init__(self, ros: RosSide, store: CodecStore, converter: Converter,
                 loop: asyncio.AbstractEventLoop, *,
                 expected_rate: Callable[[str], float | None], epoch: float) -> None:
        self._ros = ros
        self._store = store
        self._converter = converter
        self._loop = loop
        self._expected_rate = expected_rate
        self._epoch = epoch
        self._ids = count(1)
        self._topics: dict[Key, Topic] = {}
        self._keys: dict[Name, Key] = {}
        self._line: OrderedDict[Topic, None] = OrderedDict()    # those with samples that wait
        self._due: deque[tuple[Topic, Throttled]] = deque()
        self._served: deque[Link] = deque()     # those that have frames, not sent yet
        self._waiting_bytes = 0
        self._is_scheduled = False

    def open(self, peer: Peer, wish: OpenSubscription) -> None:  # noqa: A003
        """
        Let a peer have a topic, and acknowledge it; a second time replaces its settings.

        :raises TypeMismatch: the topic has another type.
        :raises UnknownType: the type is not on this machine.
        """
        member = Member(peer, wish)
        old = self._keys.get(member.key)
        msg_type = self.type_of(wish.topic, wish.msg_type)
        if msg_type is not None:
            peer.session.login.rights.check_type(wish.topic, msg_type)
        topic = self._enter(member, msg_type)
        peer.send(Subscribed(wish.op_id, self._describe(topic, member)))
        if topic.subscription is not None and topic.subscription.misfit is not None:
            peer.send(Failed(None, topic.subscription.misfit))
        if old != self._keys[member.key] or wish.fresh:
            self._deliver_latched(topic, member)

    def _enter(self, member: Member, msg_type: str | None) -> Topic:
        """Let a peer share in a topic, in place of what it had under this name."""
        wish = member.wish
        key = wish.topic, wish.qos, msg_type
        old = self._keys.get(member.key)
        if old is not None and old != key:
            self.close(member.peer, wish.name)
            old = None
        topic = self._topics.get(key)
        if topic is None:
            topic = Topic(wish.topic, Freshness(
                self._expected_rate(wish.topic), self._loop.time()))
            if msg_type is not None:
                self._start(topic, msg_type, wish)
        self._topics[key] = topic
        self._keys[member.key] = key
        while topic.waiting:        # what came before is for those who were here
            self._serve(topic)
        if old is not None:
            self._leave(topic, member.key)
        topic.channels.setdefault(wish.wire_name, next(self._ids))
        topic.members[member.key] = member
        self._join(topic, member)
        return topic

    def close(self, peer: Peer, delivery: DeliveryName) -> None:
        """Let a peer have a topic no longer by this name; the last one ends the subscription."""
        name = peer.name, delivery
        key = self._keys.pop(name, None)
        if key is None:
            return
        topic = self._topics[key]
        self._leave(topic, name)
        del topic.members[name]
        if not topic.members:
            del self._topics[key]
            self._forget(topic)
            if topic.subscription is not None:
                topic.subscription.close()

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
            msg_type = self.type_of(member.wish.topic, member.wish.msg_type)
            if msg_type is None:
                return
            member.peer.session.login.rights.check_type(member.wish.topic, msg_type)
            topic = self._enter(member, msg_type)
        except WsBridgeError as exc:
            self._lose(member, exc)
            return
        member.peer.send(TopicAppeared(self._describe(topic, member)))
        self._deliver_latched(topic, member)

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
        if isinstance(exc, QosMismatch):
            for member in topic.members.values():
                member.peer.send(Failed(None, exc))
            return
        for member in list(topic.members.values()):
            self._lose(member, exc)

    def _lose(self, member: Member, exc: WsBridgeError) -> None:
        self.close(member.peer, member.wish.name)
        member.peer.session.subscriptions.forget(member.wish.name)
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
        topic.depth = max(each.depth for each in topic.groups.values())

    def _form(self, topic: Topic, member: Member) -> Form:
        wish = member.wish
        kind = ENCODINGS[wish.encoding]
        split = None
        channel_id = topic.channels[wish.wire_name]
        if wish.fragment_size and kind.is_text:
            split = splitter(f'{wish.wire_name}:{channel_id}', wish.fragment_size)
        writer = member.peer.dialect.sample_writer
        write = writer(wish.wire_name, channel_id, wish.encoding, wish.key)
        return Form(wish.name, write, kind.encode, kind.is_text, split,
                    None if kind.is_cdr else kind.name,
                    writer(wish.wire_name, channel_id, kind.inside) if kind.inside else None,
                    kind.is_cdr and _is_spliced(write))

    def _leave(self, topic: Topic, name: Name) -> None:
        throttled = topic.throttled.pop(name, None)
        if throttled is not None and throttled.timer is not None:
            throttled.timer.cancel()
            throttled.pending = None
        member = topic.members[name]
        key = member.group_key
        group = topic.groups.get(key)
        if group is not None:
            group.links.pop(member.peer.link, None)
            if not group.links:
                del topic.groups[key]
                topic.depth = max((each.depth for each in topic.groups.values()), default=1)

    def _deliver_latched(self, topic: Topic, member: Member) -> None:
        """Give a peer that came late what a transient local topic has kept."""
        if topic.codec is None:
            return
        samples = topic.subscription.latched()
        form = self._form(topic, member)
        stamp = nanoseconds(self._loop.time() + self._epoch)
        first = max(topic.sequence - len(samples), 0) + 1  # as if they were the last that came
        for sequence, cdr in enumerate(samples, first):
            if len(cdr) > LARGE and form.converted:
                self._convert(topic, form, (cdr, stamp, sequence), (topic, member.peer),
                              partial(self._send_latched, topic, member, form), len(samples))
                continue
            try:
                body = form.encode(topic.codec, cdr)
            except ConversionError as exc:
                self._report(topic, exc)
                continue
            member.peer.link.send_stream(
                form.stream, form.frame_here(body, stamp, sequence),
                max(member.wish.queue_depth, len(samples)), text=form.text, split=form.split)

    def _deliver(self, topic: Topic, samples: list[bytes], taken: float) -> None:
        """Take samples, which :meth:`work` hands out."""
        if topic.codec is None or not topic.members:
            return
        stamp, waiting = nanoseconds(taken + self._epoch), topic.waiting
        most = max(topic.depth, MAX_WAITING)
        for cdr in samples:
            topic.sequence = sequence = topic.sequence + 1
            waiting.append((cdr, stamp, sequence))
            self._waiting_bytes += len(cdr)
            while len(waiting) > 1 and (len(waiting) > most
                                        or self._waiting_bytes > MAX_WAITING_BYTES):
                self._give_way(topic)
        self._line[topic] = None
        topic.freshness.took(len(samples), taken)

    def work(self) -> None:
        """Hand out what waits, for a slice of time; called once in a turn of the loop."""
        if not self._is_scheduled and (self._line or self._served):
            self._work()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        """Hot path: give each peer what was made for it, then make more, until time is up."""
        self._is_scheduled = False
        end = time.perf_counter() + SLICE
        served, line, due = self._served, self._line, self._due
        try:
            while True:
                while served:
                    served.popleft().flush()
                    if time.perf_counter() > end:
                        return
                if not (line or due):
                    return
                self._fill(end)
        finally:
            if served or line or due:
                self._schedule()

    def _fill(self, end: float) -> None:
        """Make the frames of a round, of each topic in turn."""
        size = 0
        late = nanoseconds(self._loop.time() + self._epoch - LATE)
        while self._due and size < ROUND:
            size += self._release_now(*self._due.popleft())
            if time.perf_counter() > end:
                return
        while self._line and size < ROUND:
            topic, _ = self._line.popitem(last=False)
            while len(topic.waiting) > topic.depth and topic.waiting[0][1] < late:
                self._give_way(topic)
            size += self._serve(topic)
            if topic.waiting:
                self._line[topic] = None
            if time.perf_counter() > end:
                return

    def _give_way(self, topic: Topic) -> None:
        """Drop the oldest sample of a topic that nobody was given yet."""
        cdr, _, _ = topic.waiting.popleft()
        self._waiting_bytes -= len(cdr)
        for group in topic.groups.values():
            for link in group.links:
                link.note_dropped()

    def _forget(self, topic: Topic) -> None:
        """Drop what waits of a topic that nobody wants any more."""
        self._waiting_bytes -= sum(len(cdr) for cdr, _, _ in topic.waiting)
        topic.waiting.clear()
        self._line.pop(topic, None)

    def _serve(self, topic: Topic) -> int:
        """
        Encode the next sample once per encoding anyone wants, and give it to all who want it.

        :return: the bytes of all frames that were made.
        """
        sample = cdr, stamp, sequence = topic.waiting.popleft()
        self._waiting_bytes -= len(cdr)
        codec = topic.codec
        assert codec is not None
        if len(cdr) > LARGE or topic.is_slow:
            self._deliver_large(topic, sample)
            return len(cdr)
        size = 0
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
            size += self._stage(group.links, group.form, group.depth,
                                form.write(body, stamp, sequence))
        for throttled in topic.throttled.values():
            self._offer(topic, throttled, sample)
        return size

    def _stage(self, links: Iterable[Link], form: Form, depth: int, frame: Frame) -> int:
        """Give a frame to peers, which are sent it in the next turn; return its size."""
        item = StreamFrame(form.stream, frame, depth, text=form.text, split=form.split)
        served = self._served
        for link in links:
            if link.stage(item):
                served.append(link)
        return len(frame)

    def _deliver_large(self, topic: Topic, sample: Sample) -> None:
        """Have a sample, and what comes after it, converted elsewhere, once an encoding."""
        cdr, stamp, sequence = sample
        topic.is_slow = False
        asked: set[Hashable] = set()
        for key, group in topic.groups.items():
            converted = group.form.converted
            if converted is None:
                self._stage(group.links, group.form, group.depth,
                            group.form.frame_here(cdr, stamp, sequence))
                continue
            topic.is_slow = True
            stream = (topic, key if group.form.write_text else converted)
            if stream not in asked:
                asked.add(stream)
                self._convert(topic, group.form, sample, stream,
                              partial(self._fan_out_large, topic, stream),
                              on_drop=partial(self._note_dropped, topic, stream))
        for throttled in topic.throttled.values():
            self._offer(topic, throttled, sample)

    def _convert(self, topic: Topic, form: Form, sample: Sample, stream: Hashable,
                 then: Callable[[memoryview, int, int], None], depth: int = 1,
                 on_drop: Callable[[], None] | None = None) -> None:
        """Have a sample converted, then handed out; one of a stream at a time, the newest."""
        cdr, stamp, sequence = sample

        def on_done(body: memoryview | WsBridgeError) -> None:
            if not any(self._converter.is_busy((topic, key)) for key in (
                    *topic.groups, *ENCODINGS)):
                topic.is_slow = False
            if isinstance(body, ConversionError):
                self._report(topic, body)
            elif isinstance(body, WsBridgeError):
                self._report(topic, ConversionError(body.message))
            else:
                then(body, stamp, sequence)
        converted = form.converted
        assert topic.codec is not None
        assert converted is not None
        self._converter.convert(stream, topic.codec, cdr, converted, on_done, depth=depth,
                                on_drop=on_drop,
                                around=form.around(stamp, sequence) if form.write_text else
                                (b'', b''))

    def _note_dropped(self, topic: Topic, stream: tuple[Topic, object]) -> None:
        """Count a sample that gave way to a newer one for those who wanted it."""
        for key, group in topic.groups.items():
            if stream[1] in (key, group.form.converted):
                for link in group.links:
                    link.note_dropped()

    def _fan_out_large(self, topic: Topic, stream: tuple[Topic, object],
                       body: memoryview, stamp: int, sequence: int) -> None:
        for key, group in topic.groups.items():
            if stream[1] in (key, group.form.converted):
                self._stage(group.links, group.form, group.depth,
                            group.form.frame(body, stamp, sequence))
        self._schedule()

    def _send_latched(self, topic: Topic, member: Member, form: Form,
                      body: memoryview, stamp: int, sequence: int) -> None:
        """Hand out what a late peer missed, unless it left, or has newer ones already."""
        if topic.members.get(member.key) is member:
            member.peer.link.send_stream(
                form.stream, form.frame(body, stamp, sequence), member.wish.queue_depth,
                text=form.text, split=form.split)

    def _offer(self, topic: Topic, throttled: Throttled,
               sample: Sample) -> None:
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
        self._due.append((topic, throttled))
        self._schedule()

    def _release_now(self, topic: Topic, throttled: Throttled) -> int:
        throttled.timer = None
        sample, throttled.pending = throttled.pending, None
        if sample is None:
            return 0
        throttled.due += throttled.interval
        self._send(topic, throttled, sample)
        return len(sample[0])

    def _send(self, topic: Topic, throttled: Throttled,
              sample: Sample) -> None:
        if topic.codec is None:
            return
        cdr, stamp, sequence = sample
        stream = (topic, throttled)
        if throttled.form.converted and (len(cdr) > LARGE or self._converter.is_busy(stream)):
            self._convert(topic, throttled.form, sample, stream,
                          partial(self._send_large, topic, throttled))
            return
        try:
            body = throttled.form.encode(topic.codec, cdr)
        except ConversionError as exc:
            self._report(topic, exc)
            return
        form = throttled.form
        self._stage((throttled.link,), form, 1, form.frame_here(body, stamp, sequence))

    def _send_large(self, topic: Topic, throttled: Throttled, body: memoryview,
                    stamp: int, sequence: int) -> None:
        form = throttled.form
        throttled.link.send_stream(form.stream, form.frame(body, stamp, sequence), 1,
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
