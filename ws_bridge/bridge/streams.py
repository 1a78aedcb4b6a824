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
"""What goes out, and to whom: the values that :mod:`.outward` keeps and :mod:`.fan_out` serves."""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any

from ws_bridge.bridge.peer import Peer
from ws_bridge.convert.clouds import SparseClouds
from ws_bridge.convert.codec import Codec, LARGE
from ws_bridge.protocol.dialect import SampleWriter
from ws_bridge.protocol.encodings import Encode, ENCODINGS
from ws_bridge.protocol.fragment import splitter
from ws_bridge.protocol.operations import Encoding
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.rosbridge import PNG_AROUND
from ws_bridge.session.effects import DeliveryName, OpenSubscription
from ws_bridge.session.queue import Frame, Parts, Split
from ws_bridge.timing.freshness import Freshness
from ws_bridge.transport.link import Link

Sample = tuple[bytes, int, int]
"""CDR, the Unix time at which it was taken, ns, its number."""

OnLeft = Callable[[int, Link], None]
"""Told when a sample has left to a peer: its time, Unix, ns, and the link."""

NUMBERS = 1 << 32
"""So many numbers of samples there are in binary frames."""
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
    """
    Peers that get the same frames of one topic.

    :param links: of the peers, and the number under which each joined (``Member.since``).
    """

    form: Form
    depth: int
    links: dict[Link, int] = field(default_factory=dict)


Name = tuple[str, DeliveryName]
"""A peer, and its delivery."""


@dataclass(slots=True, eq=False)
class Member:
    """
    One peer's wish for one topic.

    :ivar since: the number under which it joined; ``joined``: under which it did so last, and was
        given what the topic keeps.
    :ivar errors_due: when it may be told again, by code, that a sample cannot be converted.
    """

    peer: Peer
    wish: OpenSubscription
    since: int = 0
    joined: int = 0
    errors_due: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> Name:
        """The subscription, among all."""
        return self.peer.name, self.wish.name

    @property
    def is_alone(self) -> bool:
        """Whether it gets samples for itself: see :class:`Throttled`."""
        return bool(self.wish.min_interval) or self.wish.max_points is not None

    @property
    def patience(self) -> int:
        """How many samples may wait for it."""
        return 1 if self.wish.min_interval else max(self.wish.queue_depth, 1)

    @property
    def group_key(self) -> tuple[object, ...]:
        """Peers with the same key get the same frames."""
        wish = self.wish
        dialect = self.peer.dialect
        return (dialect.name, dialect.share_key(wish.wire_name, wish.key), wish.encoding,
                wish.queue_depth, wish.fragment_size, wish.max_points)


@dataclass(slots=True, eq=False)
class Throttled:
    """
    One peer that gets samples for itself: at most one each ``interval`` s, or what takes time.

    :param owed: samples that wait for their turn; with ``interval`` the newest, which waits for
        the peer's next time (``timer``) or for its turn.
    """

    member: Member
    form: Form
    interval: float
    due: float = -inf
    timer: asyncio.TimerHandle | None = None
    owed: deque[Sample] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Arrival:
    """
    A peer that comes to a topic. It joins those who get what comes when it has got all before.

    :param kept: what it is given first, one in a turn.
    :param count: how many of these there were: its own wish does not make them fewer.
    :param after: the number of the last sample that it is not given, unless it is kept.
    :ivar live: the newest samples that came since, which others were given.
    """

    member: Member
    kept: deque[Sample]
    count: int
    after: int
    live: deque[Sample] = field(default_factory=deque)

    def add(self, sample: Sample, *, is_first: bool = False) -> None:
        """Let it be given one more sample before it joins."""
        self.count += 1
        (self.kept.appendleft if is_first else self.kept.append)(sample)

    def hold(self, sample: Sample) -> None:
        """Take a sample that others are given now; too many give way."""
        if sample[2] > self.after:
            self.live.append(sample)
            if len(self.live) > self.member.patience:
                self.live.popleft()
                if not self.member.wish.min_interval:
                    self.member.peer.link.note_dropped()


Key = tuple[str, QosRequest | None, str | None]
"""What peers share: a topic, a quality of service that was asked for, a type if it is known."""


@dataclass(slots=True, eq=False)
class Topic:
    """
    A topic that at least one peer subscribes to; without ``codec`` its type is awaited.

    :param channels: numbers by the names that peers use: one connection may use several.
    :param begun: the number of the last sample before each subscription.
    :param on_left: told of each sample that has left.
    :ivar thinned: the last sample, and its frame, for those who get it alone, by what they share.
    :ivar clouds: the last sample with fewer points, where it is a point cloud.
    :ivar is_slow: a large sample is being converted: smaller ones come after it.
    :ivar waiting: the samples that nobody was given yet.
    :ivar arrivals: the peers that have not joined yet, in the order in which they do.
    :ivar depth: how many of them may be late.
    """

    name: str
    freshness: Freshness
    channels: dict[str, int] = field(default_factory=dict)
    members: dict[Name, Member] = field(default_factory=dict)
    begun: dict[Name, int] = field(default_factory=dict)
    groups: dict[object, Group] = field(default_factory=dict)
    throttled: dict[Name, Throttled] = field(default_factory=dict)
    thinned: dict[object, tuple[Sample, Frame]] = field(default_factory=dict)
    clouds: SparseClouds = field(default_factory=SparseClouds)
    codec: Codec | None = None
    subscription: Any = None
    sequence: int = 0
    errors: int = 0
    is_slow: bool = False
    waiting: deque[Sample] = field(default_factory=deque)
    arrivals: deque[Arrival] = field(default_factory=deque)
    depth: int = 1
    on_left: OnLeft | None = None

    def behind(self, name: Name, last: int | None) -> int:
        """
        Return how many samples a peer has not got.

        :param last: the number of the last one that it got, as its frame had it, which may be a
            binary one; ``None`` = it got none.
        """
        most = self.sequence - self.begun.get(name, 0)
        return most if last is None else min((self.sequence - last) % NUMBERS, most)

    def left(self, stamp: int) -> Callable[[Link], None] | None:
        """Return what is told when a sample has left."""
        return None if self.on_left is None else partial(self.on_left, stamp)

    def let_in(self, member: Member) -> None:
        """Deliver to a peer from now on, once the type is known."""
        if self.codec is None or not member.peer.link.is_open:
            return
        if member.is_alone:
            self.throttled[member.key] = Throttled(member, form_of(self, member),
                                                   member.wish.min_interval)
            return
        group = self.groups.get(member.group_key)
        if group is None:
            group = self.groups[member.group_key] = Group(
                form_of(self, member), member.wish.queue_depth)
        # What is made, and not put together yet, is for those who were here.
        group.links = {**group.links, member.peer.link: member.since}

    def let_out(self, member: Member) -> list[bytes]:
        """Deliver to a peer no longer; return the samples that wait for it, oldest first."""
        kept: list[Sample] = []
        own: list[Sample] = []
        since = 0
        arrival = self.arrival_of(member)
        if arrival is not None:
            self.arrivals.remove(arrival)
            kept, own, since = [*arrival.kept], [*arrival.live], arrival.after
        throttled = self.throttled.pop(member.key, None)
        if throttled is not None:
            own += throttled.owed
            throttled.owed.clear()
            if throttled.timer is not None:
                throttled.timer.cancel()
            self.thinned.pop(member.group_key, None)    # it is made again for others
            if member.wish.max_points is not None:
                self.clouds.forget(member.wish.max_points)
            if not self.throttled:
                self.clouds.clear()
        own += [sample for sample in self.waiting if sample[2] > since]
        if member.wish.min_interval:
            own = own[-1:]
        group = self.groups.get(member.group_key)
        if group is not None:
            group.links.pop(member.peer.link, None)
            if not group.links:
                del self.groups[member.group_key]
        if member.patience == self.depth > 1:
            self.depth = max((each.patience for each in self.members.values()
                              if each is not member), default=1)
        return [cdr for cdr, _, _ in (*kept, *own)]

    def arrival_of(self, member: Member) -> Arrival | None:
        """Return what a peer gets before it joins, if it has not joined yet."""
        return next((each for each in self.arrivals if each.member is member), None)


def form_of(topic: Topic, member: Member) -> Form:
    """Return in which form a peer wants the samples of a topic."""
    form = form_for(member, topic.channels[member.wish.wire_name])
    most = member.wish.max_points
    if most is None:
        return form
    clouds, encode = topic.clouds, form.encode
    # What comes of it is small enough to be converted here.
    return replace(form, converted=None,
                   encode=lambda codec, cdr: encode(codec, clouds.make(cdr, most)))


def form_for(member: Member, channel_id: int) -> Form:
    """Return in which form a peer wants the samples of a channel."""
    wish = member.wish
    kind = ENCODINGS[wish.encoding]
    split = None
    if wish.fragment_size and kind.is_text:
        split = splitter(f'{wish.wire_name}:{channel_id}', wish.fragment_size)
    writer = member.peer.dialect.sample_writer
    write = writer(wish.wire_name, channel_id, wish.encoding, wish.key)
    return Form(wish.name, write, kind.encode, kind.is_text, split,
                None if kind.is_cdr else kind.name,
                writer(wish.wire_name, channel_id, kind.inside) if kind.inside else None,
                kind.is_cdr and _is_spliced(write))
