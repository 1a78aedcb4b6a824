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
Samples to peers: encoded once, framed once a group, written to all, in slices of time.

Samples wait here for their turn. They are handed out in slices of :data:`SLICE`, between which
the loop reads what peers send: streams give way to commands, however many peers want them. What
waits when a peer's turn comes leaves in one write; of peers who get the same, it is put together
once. A peer that comes to a topic gets what is kept in turns as well: :class:`.streams.Arrival`.
"""
from __future__ import annotations

import asyncio
from collections import deque, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil
import time

from ws_bridge.bridge.converter import Converter
from ws_bridge.bridge.streams import (
    Arrival,
    Form,
    form_of,
    Group,
    Member,
    Sample,
    Throttled,
    Topic,
)
from ws_bridge.convert.codec import LARGE
from ws_bridge.errors import BadCloud, ConversionError, WsBridgeError
from ws_bridge.protocol.encodings import Encode, ENCODINGS
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.session.queue import Frame
from ws_bridge.transport.framing import PIECE, StreamFrame
from ws_bridge.transport.link import Link

ERROR_INTERVAL = 1.0
"""A peer is told once in this time, s, for each reason, that samples cannot be converted."""
SLICE = 0.002
"""For how long streams are handed out before the loop reads again, s."""
ROUND = 65_536
"""Bytes of frames that are made before every peer has been given them."""
TOGETHER = 16_384
"""Bytes that are put together for all who get the same: no more than any link takes at once."""
MOST_SETS = 8
"""So many sets of peers who get the same are looked for in what is made in one round."""
LATE = 0.1
"""After so long, s, older samples give way where more wait than peers want to have waiting."""
COMMON = 1.0
"""Who wants a sample in this time, s, or more often, gets it together with others."""
MAX_WAITING = 1000
"""Samples of one topic that wait for their turn, unless a peer wants more."""
MAX_WAITING_BYTES = 67_108_864
"""Bytes of all samples that wait, but for the newest of each topic."""


@dataclass(slots=True, eq=False)
class PeerBatch:
    """
    Frames that the same peers get, as one write.

    :param links: of the peers that were not given them yet.
    :param count: messages in it; ``size``: bytes of these.
    """

    items: list[StreamFrame]
    links: Iterator[Link]
    wire: bytes
    count: int
    size: int


def batch_of(items: list[StreamFrame], links: Iterable[Link]) -> PeerBatch:
    """Put frames together."""
    wires = [item.wire() for item in items]
    return PeerBatch(items, iter(tuple(links)), wires[0] if len(wires) == 1 else b''.join(wires),
                     sum([item.count for item in items]), sum([item.size for item in items]))


class FanOut:
    """
    Hands out samples.

    :param converter: converts what is large.
    :param epoch: Unix time at the loop's time 0, s.
    :ivar tap: gets what comes, with its Unix time, ns: it is recorded.
    """

    def __init__(self, converter: Converter, loop: asyncio.AbstractEventLoop,
                 epoch: float) -> None:
        self._converter = converter
        self._loop = loop
        self._epoch = epoch
        self._line: OrderedDict[Topic, None] = OrderedDict()    # those with samples that wait
        self._late: OrderedDict[Topic, None] = OrderedDict()    # those to which peers come
        self._due: deque[tuple[Topic, Throttled]] = deque()     # turns, in time
        self._served: deque[Link] = deque()     # those that have frames, not sent yet
        self._batches: deque[PeerBatch] = deque()   # older than those
        self._made: list[tuple[StreamFrame, dict[Link, int]]] = []     # in this round, for whom
        self._waiting_bytes = 0
        self._is_scheduled = False
        self.tap: Callable[[Topic, list[bytes], int], None] | None = None

    def __repr__(self) -> str:
        return f'FanOut({len(self._line)} topics and {len(self._served)} peers wait)'

    def arrive(self, topic: Topic, member: Member, kept: list[bytes]) -> None:
        """
        Let a peer join a topic, after what waits there.

        :param kept: what it is given first, oldest first.
        """
        topic.depth = max(topic.depth, member.patience)
        if not kept and not topic.waiting:
            topic.let_in(member)
            return
        stamp = nanoseconds(self._loop.time() + self._epoch)
        first = max(topic.sequence - len(kept), 0) + 1  # as if they were the last that came
        topic.arrivals.append(Arrival(
            member, deque((cdr, stamp, number) for number, cdr in enumerate(kept, first)),
            len(kept), topic.sequence))
        self._late[topic] = None
        self._schedule()

    def deliver_missed(self, topic: Topic, cdr: bytes, had: int) -> None:
        """
        Give a sample to the peers that came after it, because only now it is known to be kept.

        :param had: the number of the last peer that has had it.
        """
        sample = cdr, nanoseconds(self._loop.time() + self._epoch), max(topic.sequence, 1)
        for member in topic.members.values():
            if member.joined <= had or not member.peer.link.is_open:
                continue
            arrival = topic.arrival_of(member)
            if arrival is not None:
                arrival.add(sample)
            elif topic.is_slow:     # it is in line for what is being converted
                self._give_again(topic, member, sample, len(topic.subscription.latched()) + 1)
            else:
                self.arrive(topic, member, [*topic.let_out(member), cdr])

    def deliver(self, topic: Topic, samples: list[bytes], taken: float) -> None:
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
        if self.tap is not None:
            self.tap(topic, samples, stamp)

    def work(self) -> None:
        """Hand out what waits, for a slice of time; called once in a turn of the loop."""
        if not self._is_scheduled and (self._line or self._served or self._batches):
            self._work()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        """Hot path: give each peer what was made for it, then make more, until time is up."""
        self._is_scheduled = False
        clock = time.perf_counter
        end = clock() + SLICE
        batches, served, line = self._batches, self._served, self._line
        due, late = self._due, self._late
        try:
            while True:
                if batches and not self._hand_out(end):
                    return
                while served:
                    served.popleft().flush()
                    if clock() > end:
                        return
                if not (line or due or late) or clock() > end:
                    return
                self._fill(end)
        finally:
            if batches or served or line or due or late:
                self._schedule()

    def _hand_out(self, end: float) -> bool:
        """Hot path: write the frames of batches; return whether that is done before ``end``."""
        clock = time.perf_counter
        while self._batches:
            batch = self._batches[0]
            wire, count, size = batch.wire, batch.count, batch.size
            all_of_it = len(wire)
            for link in batch.links:
                write = link.direct
                if write is not None:
                    try:
                        sent = write(wire)
                    except OSError:     # it takes nothing now, or never again
                        sent = 0
                    if sent != all_of_it:
                        link.write_rest(wire, sent)
                    link.messages_out += count
                    link.bytes_out += size
                else:
                    for item in batch.items:
                        link.stage(item)
                    link.flush()
                if clock() > end:
                    return False
            self._batches.popleft()
        return True

    def _fill(self, end: float) -> None:
        """Make the frames of a round, of each topic in turn."""
        size = 0
        clock = time.perf_counter
        due, late, line = self._due, self._late, self._line
        while (due or late or line) and size < ROUND and clock() <= end:
            if late:        # beside the others, however much of it there is
                size += self._next_of(late, self._admit)
                if clock() > end:
                    break
            if due:
                size += self._release_now(*due.popleft())
            elif line:
                size += self._next_of(line, self._serve)
        self._put_together()

    def _next_of(self, topics: OrderedDict[Topic, None], step: Callable[[Topic], int]) -> int:
        """Take a step in the first of topics; return the bytes of the frames that it makes."""
        topic, _ = topics.popitem(last=False)
        if len(topic.waiting) > topic.depth:
            late = nanoseconds(self._loop.time() + self._epoch - LATE)
            while len(topic.waiting) > topic.depth and topic.waiting[0][1] < late:
                self._give_way(topic)
        size = step(topic)
        if topic.arrivals:
            self._late[topic] = None
        if topic.waiting:
            self._line[topic] = None
        return size

    def _admit(self, topic: Topic) -> int:
        """Do the next step of a topic's oldest arrival; return the bytes of the frames made."""
        if not topic.arrivals:
            return 0
        arrival, size = topic.arrivals[0], 0
        member, kept, live = arrival.member, arrival.kept, arrival.live
        if not member.peer.link.is_open:
            topic.arrivals.popleft()
            return 0
        is_early = bool(topic.waiting) and topic.waiting[0][2] <= arrival.after
        if is_early and not kept:
            return self._serve(topic)
        if kept:
            steps = [kept.popleft()]
        else:       # two that came meanwhile: with one it might never catch up
            steps = [] if member.is_alone else [live.popleft() for _ in range(min(2, len(live)))]
        for sample in steps:
            size += self._send_alone(topic, member, form_of(topic, member), sample,
                                     member.wish.queue_depth + arrival.count,
                                     (topic, member.key))
        if not (is_early or kept or (live and not member.is_alone)):
            topic.arrivals.popleft()
            topic.thinned.pop(member.group_key, None)
            topic.let_in(member)
            for sample in live:
                self._offer(topic, topic.throttled[member.key], sample)
        return size

    def _give_way(self, topic: Topic) -> None:
        """Drop the oldest sample of a topic that nobody was given yet."""
        cdr, _, _ = topic.waiting.popleft()
        self._waiting_bytes -= len(cdr)
        for group in topic.groups.values():
            for link in group.links:
                link.note_dropped()
        for throttled in topic.throttled.values():
            if not throttled.interval:
                throttled.member.peer.link.note_dropped()

    def forget(self, topic: Topic) -> None:
        """Drop what waits of a topic that nobody wants any more."""
        self._waiting_bytes -= sum(len(cdr) for cdr, _, _ in topic.waiting)
        topic.waiting.clear()
        self._line.pop(topic, None)
        self._late.pop(topic, None)

    def _serve(self, topic: Topic) -> int:
        """
        Encode the next sample once per encoding anyone wants, for all who want it.

        :return: the bytes of all frames that were made.
        """
        if not topic.waiting:
            return 0
        sample = cdr, stamp, sequence = topic.waiting.popleft()
        self._waiting_bytes -= len(cdr)
        codec = topic.codec
        assert codec is not None
        for arrival in topic.arrivals:
            arrival.hold(sample)
        if len(cdr) > LARGE or topic.is_slow:
            self._deliver_large(topic, sample)
            return len(cdr)
        size = 0
        bodies: dict[Encode, bytes] = {}
        for key, group in topic.groups.items():
            form = group.form
            body = bodies.get(form.encode)
            if body is None:
                try:
                    body = bodies[form.encode] = form.encode(codec, cdr)
                except ConversionError as exc:
                    _report(topic, exc, self._loop.time(), _members(topic, [key]))
                    continue
            frame = form.write(body, stamp, sequence)
            size += len(frame)
            self._make(topic, group.links, form, group.depth, frame, stamp)
        for throttled in topic.throttled.values():
            self._offer(topic, throttled, sample)
        return size

    def _make(self, topic: Topic, links: dict[Link, int], form: Form, depth: int, frame: Frame,
              stamp: int) -> None:
        """Give a frame to peers in this round."""
        if isinstance(frame, bytes) and len(frame) <= PIECE and topic.on_left is None:
            self._made.append((StreamFrame(
                form.stream, frame, depth, text=form.text, split=form.split), links))
        else:
            self._stage(topic, links, form, depth, frame, stamp)

    def _put_together(self) -> None:
        """Have the frames of a round leave as one write for each peer."""
        made = self._made
        if not made:
            return
        if self._served:        # these have older ones
            self.gather()
            return
        sets: list[tuple[dict[Link, int], list[StreamFrame]]] = []
        for item, links in made:
            for known, items in sets:
                if known is links or known.keys() == links.keys():
                    items.append(item)
                    break
            else:
                sets.append((links, [item]))
                if len(sets) > MOST_SETS:
                    self.gather()
                    return
        if len(sets) > 1 and len(set[Link]().union(*[links for links, _ in sets])) \
                < sum([len(links) for links, _ in sets]):
            self.gather()       # some get a part of what others get: theirs is put together alone
            return
        self._made = []
        for links, items in sets:
            _add_batches(self._batches, links, items)

    def _stage(self, topic: Topic, links: Iterable[Link], form: Form, depth: int, frame: Frame,
               stamp: int) -> None:
        """Give a frame to peers, which are sent it in the next turn."""
        self.gather()
        _stage_item(StreamFrame(form.stream, frame, depth, text=form.text, split=form.split,
                                on_left=topic.left(stamp)), links, self._served)

    def gather(self) -> None:
        """Let what is left of batches, and of this round, leave before what is staged next."""
        while self._batches:
            batch = self._batches.popleft()
            links = tuple(batch.links)
            for item in batch.items:
                _stage_item(item, links, self._served)
        made, self._made = self._made, []
        for item, wanting in made:
            _stage_item(item, wanting, self._served)

    def _deliver_large(self, topic: Topic, sample: Sample) -> None:
        """Have a sample, and what comes after it, converted elsewhere, once an encoding."""
        cdr, stamp, sequence = sample
        topic.is_slow = False
        asked: set[Hashable] = set()
        for key, group in topic.groups.items():
            converted = group.form.converted
            if converted is None:
                self._stage(topic, group.links, group.form, group.depth,
                            group.form.frame_here(cdr, stamp, sequence), stamp)
                continue
            topic.is_slow = True
            stream: tuple[Topic, object] = (topic, key if group.form.write_text else converted)
            if stream not in asked:
                asked.add(stream)
                self._convert(topic, group.form, sample, stream,
                              partial(self._fan_out_large, topic, stream, cdr,
                                      _wanting(topic, stream)),
                              partial(_members_of, topic, stream),
                              on_drop=partial(_note_dropped, topic, stream))
        for throttled in topic.throttled.values():
            self._offer(topic, throttled, sample)

    def _convert(self, topic: Topic, form: Form, sample: Sample, stream: Hashable,
                 then: Callable[[memoryview, int, int], None],
                 wanting: Callable[[], list[Member]], depth: int = 1,
                 on_drop: Callable[[], None] | None = None) -> None:
        """
        Have a sample converted, then handed out; one of a stream at a time, the newest.

        :param wanting: returns who is told if it cannot be.
        """
        cdr, stamp, sequence = sample

        def on_done(body: memoryview | WsBridgeError) -> None:
            if not any(self._converter.is_busy((topic, key)) for key in (
                    *topic.groups, *topic.members, *ENCODINGS)):
                topic.is_slow = False
            if isinstance(body, ConversionError):
                _report(topic, body, self._loop.time(), wanting())
            elif isinstance(body, WsBridgeError):
                _report(topic, ConversionError(body.message), self._loop.time(), wanting())
            else:
                then(body, stamp, sequence)
        converted = form.converted
        assert topic.codec is not None
        assert converted is not None
        self._converter.convert(stream, topic.codec, cdr, converted, on_done, depth=depth,
                                on_drop=on_drop,
                                around=form.around(stamp, sequence) if form.write_text else
                                (b'', b''))

    def _fan_out_large(self, topic: Topic, stream: tuple[Topic, object], cdr: bytes,
                       wanting: set[int], body: memoryview, stamp: int, sequence: int) -> None:
        """
        Hand out what was converted.

        :param wanting: the numbers of those who were here when it came. Who came later has been
            given it with what the topic keeps, or it is from before.
        """
        left = set(wanting)
        for _, group in _groups(topic, stream):
            links = [link for link, since in group.links.items() if since in wanting]
            left.difference_update(group.links.values())
            self._stage(topic, links, group.form, group.depth,
                        group.form.frame(body, stamp, sequence), stamp)
        for member in list(topic.members.values()) if left else ():
            if member.since in left:    # it wants another form by now
                self._give_again(topic, member, (cdr, stamp, sequence), 1)
        self._schedule()

    def _give_large(self, topic: Topic, member: Member, form: Form, cdr: bytes, depth: int,
                    body: memoryview, stamp: int, sequence: int) -> None:
        """Give a peer what was converted for it, unless it has left; maybe in another form now."""
        now = topic.members.get(member.key)
        if now is member:
            self._stage(topic, [member.peer.link], form, depth, form.frame(body, stamp, sequence),
                        stamp)
            self._schedule()
        elif now is not None and now.since == member.since:
            self._give_again(topic, now, (cdr, stamp, sequence), depth)

    def _give_again(self, topic: Topic, member: Member, sample: Sample, depth: int) -> None:
        """Give a peer a sample, maybe in another form, before all that waits for it."""
        arrival = topic.arrival_of(member)
        if arrival is not None:
            arrival.add(sample, is_first=True)
            return
        self._send_alone(topic, member, form_of(topic, member), sample,
                         max(member.wish.queue_depth, depth), (topic, member.key))
        self.gather()
        self._schedule()

    def _offer(self, topic: Topic, throttled: Throttled, sample: Sample) -> None:
        """Have a peer get a sample in its turn, or at its next time, unless a newer one comes."""
        now, interval, owed = self._loop.time(), throttled.interval, throttled.owed
        if not interval:    # it takes a while: between two of them time is looked at
            owed.append(sample)
            if len(owed) <= throttled.member.patience:
                self._release(topic, throttled)
            else:           # it has the turn of the oldest
                owed.popleft()
                throttled.member.peer.link.note_dropped()
            return
        if owed:
            owed[0] = sample
            return
        if now < throttled.due:
            owed.append(sample)
            throttled.timer = self._loop.call_at(throttled.due, self._release, topic, throttled)
            return
        if now - throttled.due < interval:
            throttled.due += interval
        else:
            throttled.due = now + interval
            if interval <= COMMON:      # when those get theirs who want as many, or a multiple
                throttled.due = ceil(throttled.due / interval) * interval
        owed.append(sample)
        if throttled.member.wish.max_points is None:
            self._release_now(topic, throttled)
        else:
            self._release(topic, throttled)

    def _release(self, topic: Topic, throttled: Throttled) -> None:
        self._due.append((topic, throttled))
        self._schedule()

    def _release_now(self, topic: Topic, throttled: Throttled) -> int:
        """Send a peer what waits for its turn, if anything does; return the frame's bytes."""
        if not throttled.owed:
            return 0
        timer, throttled.timer = throttled.timer, None
        if timer is not None:
            throttled.due += throttled.interval
        return self._send_alone(
            topic, throttled.member, throttled.form, throttled.owed.popleft(),
            1 if throttled.interval else throttled.member.wish.queue_depth, (topic, throttled))

    def _send_alone(self, topic: Topic, member: Member, form: Form, sample: Sample, depth: int,
                    stream: Hashable) -> int:
        """Encode a sample once for all who get it alone, and send it; return the frame's bytes."""
        cdr, stamp, sequence = sample
        if form.converted and (len(cdr) > LARGE or self._converter.is_busy(stream)
                               or self._converter.is_busy((topic, member.key))):
            topic.is_slow = True
            self._convert(topic, form, sample, stream,
                          partial(self._give_large, topic, member, form, cdr, depth),
                          lambda: [member], depth)
            return len(cdr)
        made = topic.thinned.get(member.group_key)
        if made is None or made[0] is not sample:
            assert topic.codec is not None
            try:
                body = form.encode(topic.codec, cdr)
            except ConversionError as exc:
                _report(topic, exc, self._loop.time(), [member])
                return 0
            made = topic.thinned[member.group_key] = sample, form.frame_here(body, stamp, sequence)
        self._make(topic, {member.peer.link: 0}, form, depth, made[1], stamp)
        return len(made[1])


def _add_batches(batches: deque[PeerBatch], links: dict[Link, int], items: list[StreamFrame]
                 ) -> None:
    """Put frames for the same links together, as many as leave in one write."""
    first = size = 0
    for index, item in enumerate(items):
        size += len(item.frame)
        if size > TOGETHER and index > first:
            batches.append(batch_of(items[first:index], links))
            first, size = index, len(item.frame)
    batches.append(batch_of(items[first:] if first else items, links))


def _stage_item(item: StreamFrame, links: Iterable[Link], served: deque[Link]) -> None:
    """Stage a frame for links; note those that had none staged."""
    for link in links:
        if link.stage(item):
            served.append(link)


def _groups(topic: Topic, stream: tuple[Topic, object]) -> list[tuple[object, Group]]:
    """Return the groups that get what is converted for a stream, and their keys."""
    return [(key, group) for key, group in topic.groups.items()
            if stream[1] in (key, group.form.converted)]


def _members(topic: Topic, keys: list[object]) -> list[Member]:
    """Return who is in groups with these keys."""
    return [member for name, member in topic.members.items()
            if name not in topic.throttled and member.group_key in keys]


def _members_of(topic: Topic, stream: tuple[Topic, object]) -> list[Member]:
    """Return who gets what is converted for a stream."""
    return _members(topic, [key for key, _ in _groups(topic, stream)])


def _wanting(topic: Topic, stream: tuple[Topic, object]) -> set[int]:
    """Return the numbers of the peers that get it."""
    return {since for _, group in _groups(topic, stream) for since in group.links.values()}


def _note_dropped(topic: Topic, stream: tuple[Topic, object]) -> None:
    """Count a sample that gave way to a newer one for those who wanted it."""
    for _, group in _groups(topic, stream):
        for link in group.links:
            link.note_dropped()


def _report(topic: Topic, exc: ConversionError, now: float, wanting: list[Member]) -> None:
    """Tell those who wanted a sample that it cannot be converted."""
    topic.errors += 1
    if isinstance(exc, BadCloud):
        exc = BadCloud(f'{topic.name} {exc.message}')
    for member in wanting:
        if now >= member.errors_due.get(exc.code, 0.0):
            member.errors_due[exc.code] = now + ERROR_INTERVAL
            member.peer.send(member.wish.failed(exc))
