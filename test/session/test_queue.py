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
"""The outbound queue against a slow, plain model of what it promises."""
from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, RuleBasedStateMachine
import pytest

from ws_bridge.errors import QueueOverflow
from ws_bridge.protocol.pieces import is_piece, Joiner
from ws_bridge.protocol.types import Priority
from ws_bridge.session.queue import Outgoing, OutQueue, Parts, Share, SMALL, SMALL_WEIGHT


def frame(number: int, size: int) -> bytes:
    """Return a frame of ``size`` bytes that no other number gives."""
    return number.to_bytes(4, 'big') + bytes(size)


def size_of(stream: tuple[str, list[bytes]]) -> int:
    """Return the bytes that wait of a stream."""
    return sum(map(len, stream[1]))


class QueueModel(RuleBasedStateMachine):
    """Messages as a list per priority, streams as lists, and beside them what each has had."""

    @initialize(max_bytes=st.integers(10, 200), max_frames=st.integers(1, 12))
    def start(self, max_bytes: int, max_frames: int) -> None:
        """Begin with an empty queue."""
        self.queue = OutQueue(max_bytes, max_frames)
        self.max_bytes, self.max_frames = max_bytes, max_frames
        self.messages: list[tuple[Priority, bytes]] = []
        self.streams: list[tuple[str, list[bytes]]] = []
        self.began: dict[str, int] = {}
        self.counter = self.dropped = self.turn = 0
        self.had: dict[str, int] = {}

    def _next(self, size: int) -> bytes:
        self.counter += 1
        return frame(self.counter, size)

    def _bytes(self) -> int:
        return sum(len(item) for _, item in self.messages) + sum(map(size_of, self.streams))

    def _frames(self) -> int:
        return len(self.messages) + sum(len(frames) for _, frames in self.streams)

    def _take(self, stream: tuple[str, list[bytes]]) -> bytes:
        """Take the oldest of a stream."""
        item = stream[1].pop(0)
        if not stream[1]:
            self.streams.remove(stream)
        return item

    def _give_way(self) -> None:
        while self.streams and (self._bytes() > self.max_bytes
                                or self._frames() > self.max_frames):
            largest = max(map(size_of, self.streams))
            # of several that have the most, the one that began to wait first
            self._take(min((each for each in self.streams if size_of(each) == largest),
                           key=lambda each: self.began[each[0]]))
            self.dropped += 1

    @rule(size=st.integers(0, 80), priority=st.sampled_from(Priority))
    def put(self, size: int, priority: Priority) -> None:
        """Add a message: kept, or refused with nothing changed."""
        item = self._next(size)
        mine = sum(len(each) for _, each in self.messages)
        if mine + len(item) > self.max_bytes or len(self.messages) >= self.max_frames:
            with pytest.raises(QueueOverflow):
                self.queue.put(item, priority)
        else:
            self.queue.put(item, priority)
            self.messages.append((priority, item))
            self._give_way()

    @rule(key=st.sampled_from('abc'), size=st.integers(0, 80), depth=st.integers(0, 4))
    def put_stream(self, key: str, size: int, depth: int) -> None:
        """Add a stream frame: the newest stay; who was away gets no more than the others."""
        item = self._next(size)
        depth = max(depth, 1)
        before = self.dropped
        own = next((frames for name, frames in self.streams if name == key), None)
        if own is None:
            own = []
            self.streams.append((key, own))
            self.began[key] = self.counter
            self.had[key] = max(self.had.get(key, 0), self.turn)
        own.append(item)
        self.dropped += max(len(own) - depth, 0)
        del own[:-depth]
        self._give_way()
        assert self.queue.put_stream(key, item, depth) == self.dropped - before

    @rule()
    def pop(self) -> None:
        """Take: messages by priority and then age, of streams that which had least."""
        if self.messages:
            highest = max(priority for priority, _ in self.messages)
            entry = next(entry for entry in self.messages if entry[0] is highest)
            self.messages.remove(entry)
            assert self.queue.pop() == Outgoing(entry[1], True)
        elif self.streams:
            stream = min(self.streams, key=lambda each: self.had[each[0]])
            self.turn = self.had[stream[0]]
            item = self._take(stream)
            self.had[stream[0]] += len(item)
            if not self.streams:
                self.had.clear()
            assert self.queue.pop() == Outgoing(item, True)
        else:
            assert self.queue.pop() is None

    @rule(key=st.sampled_from('abc'))
    def forget(self, key: str) -> None:
        """Forget what waits of a stream; that is none that gave way."""
        for stream in [each for each in self.streams if each[0] == key]:
            while stream in self.streams:
                self._take(stream)
        self.queue.forget(key)

    @precondition(lambda self: self.counter > 30)
    @rule()
    def clear(self) -> None:
        """Forget everything."""
        self.queue.clear()
        self.messages, self.streams = [], []
        self.had.clear()

    @invariant()
    def agrees(self) -> None:
        """Count, bytes and drops are the model's, and inside the bounds."""
        assert len(self.queue) == self._frames() <= self.max_frames
        assert self.queue.nbytes == self._bytes() <= self.max_bytes
        assert self.queue.dropped == self.dropped


TestQueueModel: Any = QueueModel.TestCase


def test_newer_stream_frame_takes_the_place_of_the_older() -> None:
    """A fast stream does not push a slow one back."""
    queue = OutQueue(1000, 10)
    queue.put_stream('fast', b'f1', 1)
    queue.put_stream('slow', b's1', 1)
    assert queue.put_stream('fast', b'f2', 1) == 1
    assert [queue.pop(), queue.pop()] == [Outgoing(b'f2', True), Outgoing(b's1', True)]


def test_a_large_stream_keeps_small_ones_waiting_for_one_frame() -> None:
    queue = OutQueue(1 << 30, 1000)
    for number in range(10):
        queue.put_stream('camera', frame(number, 65536), 10)
        queue.put_stream('odometry', frame(number, 100), 10)
    order = []
    while (item := queue.pop()) is not None:
        order.append((int.from_bytes(item.frame[:4], 'big'), len(item.frame) > 1000))
        if order[-1] == (0, True):
            queue.put_stream('late', frame(99, 100), 10)
    assert order == [(0, True), (0, False), (99, False),
                     *((number, False) for number in range(1, 10)),
                     *((number, True) for number in range(1, 10))]


def test_the_largest_stream_gives_way() -> None:
    queue = OutQueue(1000, 1000)
    for number in range(10):
        queue.put_stream('odometry', frame(number, 36), 10)
        queue.put_stream('camera', frame(number, 296), 10)
    assert queue.dropped == 8
    assert len(queue) == 12


def test_a_large_stream_keeps_no_small_one_waiting() -> None:
    """On a link that is full, each stream gets the same share of the bytes."""
    queue = OutQueue(100_000, 100)
    sent = {'camera': 0, 'odometry': 0}
    for _ in range(2000):
        queue.put_stream('camera', bytes(1000), 1)
        queue.put_stream('odometry', bytes(100), 1)
        item = queue.pop()
        assert item is not None
        sent['camera' if len(item.frame) == 1000 else 'odometry'] += len(item.frame)
    assert abs(sent['camera'] - sent['odometry']) <= 1000


def test_who_was_silent_has_no_claim() -> None:
    """A stream that comes back does not get at once what it has left to others."""
    queue = OutQueue(100_000, 100)
    queue.put_stream('silent', bytes(10), 1)
    for number in range(100):
        queue.put_stream('busy', number.to_bytes(10, 'big'), 1)
        queue.put_stream('other', bytes(10), 1)
        queue.pop()
    for _ in range(4):
        queue.put_stream('silent', b'silent', 9)
    left = []
    while (item := queue.pop()) is not None:
        left.append(bytes(item.frame) == b'silent')
    assert not all(left[:4])


def test_streams_that_are_gone_are_forgotten() -> None:
    """Names without end cost no memory, though something waits all the time."""
    queue = OutQueue(100_000, 100)
    for number in range(1000):
        queue.put_stream('large', bytes(90_000), 1)
        queue.put_stream(number, bytes(10), 1)
        queue.pop()
        assert len(queue)
    assert len(queue._had) < 200


def test_kind_of_frame_and_repr() -> None:
    """Text and binary frames keep their kind; repr tells the counts."""
    queue = OutQueue(1000, 10)
    queue.put(b'reply', Priority.HIGH, text=False)
    queue.put_stream('k', b'stream', 3, text=False)
    assert repr(queue) == '<OutQueue 2 frames, 11 bytes, 0 dropped>'
    assert queue.pop() == Outgoing(b'reply', False)
    assert queue.pop() == Outgoing(b'stream', False)


def test_stream_frame_that_cannot_fit_is_dropped_itself() -> None:
    """It costs its stream and the others what is older, and no message."""
    queue = OutQueue(10, 10)
    queue.put(b'123456', Priority.NORMAL)
    assert queue.put_stream('k', b'12345', 3) == 1
    assert queue.pop() == Outgoing(b'123456', True)
    assert queue.pop() is None


def test_a_frame_in_parts() -> None:
    parts = Parts(b'head', memoryview(b'0123456789'), b'')
    assert len(parts) == 14
    assert parts.whole() == b'head0123456789'
    assert list(map(bytes, parts.pieces(4))) == [b'head', b'0123', b'4567', b'89']
    assert list(Outgoing(parts, True).frames()) == [parts]
    assert list(Outgoing(parts, True, lambda frame: [frame[:2]]).frames()) == [b'he']
    queue = OutQueue(20, 10)
    queue.put_stream('s', parts, 1)
    assert queue.nbytes == 14
    item = queue.pop()
    assert item is not None
    assert item.frame is parts


# ---- pieces

@given(st.lists(st.tuples(st.sampled_from(['message', 'stream', 'pop']), st.integers(0, 3),
                          st.integers(0, 300), st.integers(9, 120)), max_size=60))
def test_pieces_make_the_same_frames_and_let_messages_pass(
        steps: list[tuple[str, int, int, int]]) -> None:
    """A message waits for one piece at most; nothing is lost, mixed up or late in its lane."""
    queue = OutQueue(1 << 30, 1 << 30)
    queue.takes_pieces = True
    joiner = Joiner(1 << 30)
    waiting: dict[Any, list[bytes]] = {}
    priorities = list(Priority)

    def pop(most: int) -> bool:
        item = queue.pop(most)
        if item is None:
            return False
        assert isinstance(item.frame, bytes)
        assert len(item.frame) <= most
        whole: Any = item.frame if not is_piece(item.frame) else joiner.add(item.frame)
        if whole is None:
            return True
        lane = next(key for key, frames in waiting.items() if frames and frames[0] == whole)
        waiting[lane].pop(0)
        if isinstance(lane, Priority):
            assert not any(frames for key, frames in waiting.items()
                           if isinstance(key, Priority) and key > lane)
        else:
            assert not any(frames for key, frames in waiting.items() if isinstance(key, Priority))
        return True
    for number, (what, index, size, most) in enumerate(steps):
        item = frame(number, size)
        if what == 'message':
            queue.put(item, priorities[index], text=False)
            waiting.setdefault(priorities[index], []).append(item)
        elif what == 'stream':
            queue.put_stream(f's{index}', item, 1000, text=False)
            waiting.setdefault(f's{index}', []).append(item)
        else:
            pop(most)
    while pop(40):
        pass
    assert not any(waiting.values())
    assert (queue.nbytes, queue.begun_bytes, len(queue)) == (0, 0, 0)


def test_others_have_their_turns_between_the_pieces_of_a_picture() -> None:
    queue = OutQueue(1 << 20, 100)
    queue.takes_pieces = True
    left: list[str] = []
    queue.begin_stream('camera', Parts(b'head', bytes(1000)), text=False,
                       on_left=lambda: left.append('picture'))
    assert (queue.nbytes, queue.begun_bytes) == (0, 1004)
    first = queue.pop(100)
    assert first is not None
    assert (len(first.frame), first.text, first.on_left) == (100, False, None)
    queue.put_stream('odometry', b'o' * 50, 1)
    queue.put(b'reply', Priority.HIGH)
    assert [queue.pop(100), queue.pop(100)] == [
        Outgoing(b'reply', True), Outgoing(b'o' * 50, True)]
    joiner, whole = Joiner(2000), None
    assert isinstance(first.frame, bytes)
    joiner.add(first.frame)
    while (item := queue.pop(100)) is not None:
        assert isinstance(item.frame, bytes)
        whole = joiner.add(item.frame)
        if item.on_left is not None:
            item.on_left()
    assert whole == b'head' + bytes(1000)
    assert left == ['picture']
    queue.begin(b'x' * 300, Priority.LOW)
    queue.clear()
    assert queue.pop(100) is None


def test_what_is_split_lets_others_pass_as_well() -> None:
    """As the fragments of rosbridge are, whether the peer takes pieces or not."""
    queue = OutQueue(1 << 20, 100)
    left: list[str] = []
    queue.put_stream('s', b'abcdef', 1, split=lambda frame: [frame[:2], frame[2:4], frame[4:]],
                     on_left=lambda: left.append('all'))
    assert queue.pop() == Outgoing(b'ab', True)
    assert queue.begun_bytes == 4
    queue.put(b'reply', Priority.HIGH)
    assert queue.pop() == Outgoing(b'reply', True)
    assert queue.pop() == Outgoing(b'cd', True)
    queue.put_stream('s', b'12', 1, split=lambda frame: [frame])
    last = queue.pop()
    assert last is not None
    assert last.frame == b'ef'
    assert last.on_left is not None
    assert queue.pop() == Outgoing(b'12', True)
    assert queue.pop() is None


def test_what_does_not_leave_in_pieces_leaves_whole() -> None:
    queue = OutQueue(10, 10)
    queue.begin(b'x' * 1000, Priority.HIGH)
    parts = Parts(b'y' * 1000)
    queue.begin_stream('s', parts, text=False)
    assert queue.begun_bytes == 2000
    assert queue.pop(100) == Outgoing(b'x' * 1000, True)
    assert queue.pop(100) == Outgoing(parts, False)
    assert queue.begun_bytes == 0


# ---- shares

def bytes_of(queue: OutQueue, sizes: dict[str, int], turns: int = 2000) -> dict[str, int]:
    """Return what each stream gets that always has a frame of its size to send."""
    sent = dict.fromkeys(sizes, 0)
    for turn in range(turns):
        for key, size in sizes.items():
            queue.put_stream(key, key.encode() + bytes(size - 1), 1)
        item = queue.pop(now=turn / 100)
        assert item is not None
        sent[chr(bytes(item.frame)[0])] += len(item.frame)
    return sent


def test_small_frames_get_more_unless_weights_say_otherwise() -> None:
    sizes = {'a': SMALL, 'b': 2 * SMALL}
    sent = bytes_of(OutQueue(1 << 20, 100), sizes)
    assert sent['a'] / sent['b'] == pytest.approx(SMALL_WEIGHT, rel=0.05)
    queue = OutQueue(1 << 20, 100)
    queue.share('b', Share(12.0))
    sent = bytes_of(queue, sizes)
    assert sent['b'] / sent['a'] == pytest.approx(3.0, rel=0.05)
    queue.share('b', Share())
    assert not queue._shares


def test_a_higher_priority_leaves_first_but_for_what_is_overdue() -> None:
    queue = OutQueue(1 << 20, 100)
    queue.share('a', Share(priority=1))
    assert bytes_of(queue, {'a': 100, 'b': 100}) == {'a': 200_000, 'b': 0}
    queue.share('b', Share(max_gap=0.1))
    sent = bytes_of(queue, {'a': 100, 'b': 100})
    assert sent['b'] / 100 == pytest.approx(2000 / 10, abs=20)      # of 100 turns a second 10
    queue.forget('b')
    assert not queue._left_at


def test_who_comes_late_has_its_share_whatever_more_urgent_ones_had() -> None:
    queue = OutQueue(1 << 20, 100)
    queue.share('a', Share(priority=1))
    queue.share('b', Share(max_gap=0.02))
    bytes_of(queue, {'a': 100, 'b': 100, 'c': 100})
    for key in 'ab':
        queue.forget(key)
    sent = bytes_of(queue, {'c': 100, 'd': 100})
    assert sent['c'] == pytest.approx(sent['d'], rel=0.05)


def test_who_wants_less_than_its_share_gets_all() -> None:
    """Large and fast topics are thinned first."""
    queue = OutQueue(1 << 20, 100)
    for turn in range(1000):
        queue.put_stream('camera', bytes(50_000), 1)
        if turn % 10 == 0:
            queue.put_stream('odometry', bytes(700), 1)
        for _ in range(1 + (turn % 10 == 0)):
            queue.pop()
    drops = queue.take_drops()
    assert 'odometry' not in drops
    assert queue.dropped == sum(count for count, _ in drops.values())
    assert not queue.take_drops()


def test_what_nothing_could_pass_gives_way_where_it_comes_again_and_again() -> None:
    """A picture that takes a slow link for long keeps all else waiting: news of a stop, too."""
    queue, large = OutQueue(1 << 20, 100), bytes(1000)
    queue.most_whole = 999.0
    for _ in range(2):                              # the first may be the only one
        assert queue.waiting('camera') == queue.put_stream('camera', large, 1)
    assert queue.pop() is not None
    assert queue.put_stream('camera', Parts(large), 1) == 1
    queue.begin_stream('camera', large)
    assert (len(queue), queue.begun_bytes, queue.dropped) == (0, 0, 3)
    assert queue.take_drops() == {'camera': (3, 1000)}
    assert queue.put_stream('camera', large[1:], 2) == 0
    assert queue.put_stream('camera', large, 2, split=lambda frame: [frame]) == 0   # of rosbridge
    assert queue.put_stream('map', large, 1) == 0
    queue.takes_pieces = True
    assert queue.put_stream('camera', large, 9) == 0
    queue.takes_pieces = False
    queue.forget('camera')
    assert queue.put_stream('camera', large, 1) == 0


def test_what_leaves_to_others_is_taken_out_of_turn() -> None:
    """If it is next of its stream, and whole; it counts as sent, and nothing passes a message."""
    queue, first, second, large = OutQueue(10**6, 100), frame(1, 50), frame(2, 50), frame(3, 900)
    assert not queue.has_messages
    for key, item in (('a', first), ('a', second), ('b', large)):
        queue.put_stream(key, item, 2, text=False)
    assert queue.take_alike(second, second) is None      # not the next one
    like_first = b'other' + first[5:]
    assert queue.take_alike(like_first, like_first) is None
    assert queue.take_alike(like_first + b'.', first[5:]) is None
    assert queue.take_alike(like_first, first[5:]) == Outgoing(first, False)
    assert queue.large(100) == [id(large)]
    taken = queue.pop()
    assert taken is not None
    assert taken.frame is large                 # the other stream has had its turn
    queue.put(b'reply', Priority.HIGH)
    assert queue.has_messages
    assert queue.take_alike(second, second) is None
    assert queue.pop() == Outgoing(b'reply', True)
    assert queue.take_alike(second, second) == Outgoing(second, False)
    assert (len(queue), queue.nbytes, queue.dropped) == (0, 0, 0)


def test_what_is_split_or_begun_is_not_taken_out_of_turn() -> None:
    queue, item, next_one = OutQueue(10**6, 100), frame(1, 50), frame(2, 50)
    queue.put_stream('split', item, 1, split=lambda whole: [whole])
    assert queue.take_alike(item, item) is None
    queue = OutQueue(10**6, 100)
    queue.takes_pieces = True
    queue.put_stream('a', item, 2)
    queue.pop(30)
    queue.put_stream('a', next_one, 2)
    assert queue.take_alike(next_one, next_one) is None


def test_what_was_taken_out_of_turn_was_the_last_of_its_stream() -> None:
    """It is overdue so long after that."""
    queue, item, other = OutQueue(10**6, 100), frame(1, 50), frame(2, 50)
    queue.share('a', Share(max_gap=1.0))
    queue.put_stream('a', item, 1)
    assert queue.take_alike(item, item, 5.0) is not None
    for now, first in ((5.5, other), (6.5, item)):
        queue.put_stream('a', item, 1)
        queue.put_stream('b', other, 1)
        popped = queue.pop(now=now)
        assert popped is not None
        assert popped.frame is first
