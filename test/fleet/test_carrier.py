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
"""Streams over one connection: each in order, each with its window, the same bytes once."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest
from support.fleet import turns

from ws_bridge.errors import BadFrame
from ws_bridge.fleet.carrier import Carrier, MOST, SLICE, Stream, WINDOW
from ws_bridge.fleet.frames import decode, encode_data, encode_room, Kind


class Wire:
    """An outlet that hands frames to another carrier, or keeps them."""

    def __init__(self) -> None:
        self.other: Carrier | None = None
        self.frames: list[bytes] = []
        self.is_busy = False
        self.waiting: list[Callable[[], None]] = []

    def send(self, frame: bytes, *, is_urgent: bool) -> None:
        self.frames.append(frame)
        if self.other is not None:
            self.other.received(frame)

    def when_free(self, then: Callable[[], None]) -> None:
        self.waiting.append(then)


class Listener:
    """Takes every stream; keeps what it is told."""

    def __init__(self) -> None:
        self.carrier: Carrier | None = None
        self.ends: dict[int, End] = {}
        self.told: list[object] = []

    def open_asked(self, number: int, fields: Mapping[str, Any]) -> None:
        assert self.carrier is not None
        self.ends[number] = End()
        self.ends[number].stream = self.carrier.add(number, self.ends[number])
        self.carrier.accept(number)

    def answered(self, number: int, refusal: Mapping[str, Any] | None) -> None:
        self.told.append((number, refusal))

    def state_told(self, fields: Mapping[str, Any]) -> None:
        self.told.append(fields)


class End:
    """A port that keeps what comes."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.data = b''
        self.looks = 0
        self.has_ended = False

    def received(self, data: bytes) -> None:
        self.data += data

    def room_changed(self) -> None:
        self.looks += 1

    def ended(self) -> None:
        self.has_ended = True


def pair() -> tuple[Carrier, Listener, Wire]:
    """Return a carrier that is joined to another one, whose listener takes what is asked."""
    wire, back, listener, asker = Wire(), Wire(), Listener(), Listener()
    carrier, other = Carrier(wire, asker), Carrier(back, listener)
    listener.carrier, wire.other, back.other = other, other, carrier
    return carrier, listener, wire


def is_data(frame: bytes) -> bool:
    """Whether a frame has bytes of streams."""
    return frame[0] == Kind.DATA


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([b'aa', b'b', b'cc', b'd' * 3]))))
def test_each_stream_gets_its_bytes_in_order(writes: list[tuple[int, bytes]]) -> None:
    async def run() -> None:
        carrier, listener, wire = pair()
        streams = {number: carrier.ask(number, End(), {}) for number in range(1, 5)}
        for number, data in writes:
            streams[number].write(data)
        streams[1].end()
        await turns()
        for number in streams:
            assert listener.ends[number].data == b''.join(
                data for each, data in writes if each == number)
        assert listener.ends[1].has_ended
        assert not listener.ends[2].has_ended
        sent = sum(len(decode(frame).data) for frame in wire.frames if is_data(frame))
        assert sent == carrier.bytes_out <= sum(len(data) for _, data in writes)
    asyncio.run(run())


async def test_what_is_the_same_for_many_leaves_once() -> None:
    carrier, listener, wire = pair()
    streams = [carrier.ask(number, End(), {}) for number in range(50)]
    for sample in (b'odometry' * 10, b'camera' * 1000):
        for stream in streams:
            stream.write(bytes(bytearray(sample)))      # equal, not the same object
    await turns()
    assert carrier.bytes_out == 80 + 6000
    assert sum(map(is_data, wire.frames)) == 2
    assert {end.data for end in listener.ends.values()} == {b'odometry' * 10 + b'camera' * 1000}


def told(peer: int, number: int) -> bytes:
    """Return what a peer is told of the robot: most of it is the same for all."""
    head = b'{"id":"p%d-%d","timestamp":%.3f,"data":{"topics":[' % (peer, number, peer / 7)
    topics = b','.join(b'{"topic":"/topic/%d","rate":null,"age":null}' % (number * each)
                       for each in range(100))
    return head + topics + b'],"you":{"peer":"p%d","dropped":%d}}}' % (peer, peer * 10_000)


WRITES = st.one_of(
    st.builds(told, st.integers(0, 200), st.integers(1, 2)),
    st.builds(lambda one, two, size: one + b'x' * size + two, st.binary(max_size=40),
              st.binary(max_size=40), st.integers(150, 600)),
    st.binary(max_size=3))


@given(st.lists(st.tuples(st.integers(1, 4), WRITES), max_size=30))
def test_each_stream_gets_its_bytes_in_order_where_they_are_alike(
        writes: list[tuple[int, bytes]]) -> None:
    async def run() -> None:
        carrier, listener, _ = pair()
        streams = {number: carrier.ask(number, End(), {}) for number in range(1, 5)}
        for number, data in writes:
            streams[number].write(data)
        await turns()
        for number in streams:
            assert listener.ends[number].data == b''.join(
                data for each, data in writes if each == number)
        assert carrier.bytes_out <= sum(len(data) for _, data in writes)
    asyncio.run(run())


async def test_what_is_the_same_in_most_of_it_leaves_once() -> None:
    """The state of the robot, as 50 peers are told it, and a sample with numbers of their own."""
    carrier, listener, _ = pair()
    streams = [carrier.ask(number, End(), {}) for number in range(50)]
    picture = bytes(range(256)) * 40
    for number, stream in enumerate(streams):
        for each in range(number % 3):
            stream.write(b'heartbeat %d %d' % (number, each))
        stream.write(told(number, 1))
        stream.write(b'\x01%04d' % number + picture)
    await turns()
    for number, end in listener.ends.items():
        beats = b''.join(b'heartbeat %d %d' % (number, each) for each in range(number % 3))
        assert end.data == beats + told(number, 1) + b'\x01%04d' % number + picture
    assert carrier.bytes_out < len(told(0, 1)) + len(picture) + 50 * 200


async def test_a_large_write_leaves_in_slices() -> None:
    carrier, listener, wire = pair()
    carrier.ask(1, End(), {}).write(b'x' * (2 * SLICE + 1))
    await turns()
    assert [len(decode(frame).data) for frame in wire.frames if is_data(frame)] == [
        SLICE, SLICE, 1]
    assert len(listener.ends[1].data) == 2 * SLICE + 1


async def test_who_is_not_read_gets_no_more() -> None:
    carrier, listener, _ = pair()
    slow, quick = carrier.ask(1, End(), {}), carrier.ask(2, End(), {})
    for _ in range(3):
        for stream in (slow, quick):
            stream.write(b'x' * (WINDOW // 2))
        await turns()
        other = listener.ends[2].stream
        assert other is not None
        other.taken(WINDOW // 2)
    assert quick.can_write
    assert not slow.can_write
    there = listener.ends[1].stream
    assert there is not None
    there.taken(WINDOW)
    assert slow.can_write
    assert isinstance(slow.port, End)
    assert slow.port.looks


async def test_who_heeds_no_window_is_cut_alone() -> None:
    carrier, listener, _ = pair()
    bad, good = carrier.ask(1, End(), {}), carrier.ask(2, End(), {})
    for _ in range(MOST // SLICE + 1):
        bad.write(b'x' * SLICE)
        await turns()
    good.write(b'well')
    await turns()
    assert listener.ends[1].has_ended
    assert len(listener.ends[1].data) <= MOST
    assert bad.port.has_ended  # type: ignore[attr-defined]
    assert listener.ends[2].data == b'well'


async def test_all_wait_where_the_connection_is_full() -> None:
    carrier, _, wire = pair()
    streams = [carrier.ask(number, End(), {}) for number in (1, 2)]
    wire.is_busy = True
    streams[0].write(b'x')
    await turns()
    assert not any(stream.can_write for stream in streams)
    for then in wire.waiting:
        then()
    assert all(stream.can_write for stream in streams)


async def test_the_end_of_the_connection_is_that_of_all() -> None:
    carrier, _, wire = pair()
    end = End()
    stream = carrier.ask(1, end, {})
    stream.write(b'x')
    carrier.close()
    await turns()
    stream.write(b'late')
    stream.end()
    await turns()
    assert end.has_ended
    assert not any(map(is_data, wire.frames))


async def test_what_cannot_be_is_refused() -> None:
    carrier, listener, _ = pair()
    stream = carrier.ask(1, End(), {})
    with pytest.raises(BadFrame):
        carrier.add(1, End())
    with pytest.raises(BadFrame, match='window'):
        carrier.received(encode_room(1, 1))
    carrier.received(encode_room(7, 1))
    carrier.received(encode_data([7], b'of a stream that has ended'))
    assert stream.is_open
    assert listener.carrier is not None
    listener.carrier.refuse(1, {'status': 403})
    listener.carrier.tell_state({'stopped': True})
