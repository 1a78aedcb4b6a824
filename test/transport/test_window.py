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
"""The window of a peer's link, before a link that is simulated: what it learns, and what waits."""
from __future__ import annotations

import asyncio
from math import inf
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from support.helpers import async_wait_until
from support.transport_support import Dial, MakeServer, Recorder

from ws_bridge.protocol.pieces import Joiner
from ws_bridge.session.queue import Parts
from ws_bridge.transport.framing import PIECE, StreamFrame
from ws_bridge.transport.window import (
    DELAY,
    FAR,
    FULL,
    Kernel,
    LARGEST,
    LEAST,
    LONGEST,
    NEAR,
    NOT_SENT,
    START,
    TcpState,
    TIGHT,
    Window,
)

STEP = 0.005


class Line(Kernel):
    """
    A link with a queue without end: bytes leave at a rate, and are acknowledged a while later.

    :param rate: bytes/s; ``round_trip``: of the empty link, s.
    """

    def __init__(self, rate: float, round_trip: float) -> None:
        self.rate, self.round_trip = rate, round_trip
        self.now = self.free_at = 0.0
        self.written = 0
        self.under_way: list[tuple[float, int]] = []
        self.acked = 0
        self.delay = round_trip
        self.takes = 0

    def write(self, size: int) -> None:
        """Take bytes from the window's owner."""
        self.free_at = max(self.free_at, self.now) + size / self.rate
        self.under_way.append((self.free_at + self.round_trip, size))
        self.written += size

    def is_full(self) -> bool:
        """Tell whether the kernel takes no more, which has sent what the link holds."""
        return self.written - self.acked > NOT_SENT + self.rate * self.round_trip

    def take(self, size: int) -> None:
        """Remember it."""
        self.takes = size

    def read(self) -> TcpState:
        """Tell what the kernel would."""
        while self.under_way and self.under_way[0][0] <= self.now:
            self.acked += self.under_way.pop(0)[1]
        self.delay = max(self.free_at - self.now, 0.0) + self.round_trip
        return TcpState(self.acked, self.written - self.acked, self.delay, self.round_trip)


class SlowWindow:
    """A window through which a piece leaves when the test says so."""

    most, rate, at_once = 700, 1000.0, 0
    is_tight = is_asked = is_bounded = True

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(0)

    async def room(self, transport: object, now: object) -> int:
        """Wait until the test says so."""
        await self.turns.acquire()
        return self.most

    def has_room(self, unwritten: int, sent: int) -> bool:
        """Tell that there is, as long as nothing waits."""
        return True

    def rest(self, now: float) -> None:
        """Take note that nothing waits."""


class Given(Kernel):
    """States that were given, one after another; the last one stays."""

    def __init__(self, *states: TcpState) -> None:
        self.states = list(states)

    def take(self, size: int) -> None:
        """Take it."""

    def read(self) -> TcpState:
        """Return the next one."""
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def fill(window: Window, line: Line, seconds: float) -> list[float]:
    """Send without end; return how long a ping would take at each time that something leaves."""
    delays, end = [], line.now + seconds
    while line.now < end:
        line.now += window.wait(line.now, 0) or (
            STEP if line.is_full() else 0.0)
        if window.wait(line.now, 0) or line.is_full():
            continue
        line.write(window.most)
        line.read()
        delays.append(line.delay)
    return delays


@settings(max_examples=20)
@given(rate=st.floats(10_000, 600_000), round_trip=st.floats(0.001, 0.2))
def test_what_is_under_way_waits_for_little(rate: float, round_trip: float) -> None:
    line = Line(rate, round_trip)
    window = Window(line)
    fill(window, line, 6.0)
    before = line.acked
    delays = fill(window, line, 4.0)
    # The window is DELAY, or a packet, and one piece is above it; what is measured varies.
    most = round_trip + max(2 * DELAY, 2 * LEAST / rate) + 2 * window.most / rate
    assert max(delays) < most
    if rate * (round_trip + DELAY) > 2 * LEAST:
        assert line.acked - before > 0.7 * rate * 4.0     # and the link is used


@pytest.mark.parametrize('round_trip', [FAR, 0.02, 0.2])
@pytest.mark.parametrize('rate', [12_500, 37_500, 125_000, 625_000, 10_000_000])
def test_an_unknown_link_is_not_filled(rate: int, round_trip: float) -> None:
    """Nobody knows how slow it is: the first picture must not keep commands waiting for long."""
    line = Line(rate, round_trip)
    window = Window(line)
    delays = fill(window, line, 3.0)
    assert max(delays) - round_trip < max(2 * START / rate, round_trip + 4 * DELAY)
    assert window.rate < inf
    fill(window, line, 3.0)
    assert window.is_tight is (rate < TIGHT / (round_trip + DELAY))


def test_a_link_that_becomes_faster_is_used() -> None:
    line = Line(20_000, 0.05)
    window = Window(line)
    fill(window, line, 3.0)
    assert (window.is_tight, line.takes) == (True, NOT_SENT)
    line.rate = 1e7
    fill(window, line, 3.0)
    assert (window.is_tight, window.most, line.takes) == (False, PIECE, TIGHT)


@pytest.mark.parametrize(('rate', 'at_once', 'takes'), [
    (1e5, 0, NOT_SENT), (5e6, 100_000, TIGHT), (5e7, 1_000_000, 1_000_000), (1e10, FULL, FULL)])
def test_a_near_link_gets_large_frames_at_once(rate: float, at_once: int, takes: int) -> None:
    """As much as it carries in no time; what the kernel holds of it has left as soon."""
    line = Line(rate, NEAR / 2)
    window = Window(line)
    assert window.at_once == 0
    window._set(rate, NEAR / 2)
    assert (window.at_once, line.takes) == (at_once, takes)
    assert window.largest == max(at_once, LARGEST)
    window._set(1e4, NEAR / 2)     # it has become slow
    assert (window.at_once, line.takes) == (0, NOT_SENT)


@pytest.mark.parametrize(('round_trip', 'is_direct'), [(NEAR, True), (NEAR / 2, False)])
def test_a_link_that_may_become_slow_has_little_in_the_kernel(
        round_trip: float, is_direct: bool) -> None:
    """By radio, or behind a proxy: 3 MB would keep the answer to a stop for minutes."""
    line = Line(1e10, round_trip)
    window = Window(line, is_direct=is_direct)
    window._set(1e10, round_trip)
    assert (window.at_once, line.takes, window.largest) == (0, TIGHT, LARGEST)


def test_a_pause_of_the_link_is_no_rate() -> None:
    line = Line(100_000, 0.02)
    window = Window(line)
    fill(window, line, 3.0)
    before = window.size
    line.free_at = line.now + 0.3        # a packet is lost, and sent again
    fill(window, line, 0.4)
    assert window.size > 0.2 * before
    fill(window, line, 2.0)
    assert window.size == pytest.approx(before, rel=0.3)


@pytest.mark.parametrize('elapsed', [0.001, 0.05])
def test_a_fast_link_is_known_by_little(elapsed: float) -> None:
    """Before it is, frames leave in small pieces; what proves nothing changes nothing."""
    begin = TcpState(0, 0, 0.01, 0.01)
    window = Window(Given(begin, begin, TcpState(2 * TIGHT, 0, 0.01, 0.01)))
    assert (window.size, window.most, window.is_tight) == (START, START // 2, False)
    assert window.wait(0.0, 0) == 0.0
    assert window.wait(elapsed, 0) == 0.0
    assert (window.most, window.is_tight) == (PIECE, False)


@pytest.mark.parametrize(('acked', 'most'), [(90_000, PIECE), (1000, START // 2)])
def test_a_short_burst_can_prove_that_a_link_is_fast(acked: int, most: int) -> None:
    begin = TcpState(0, 0, 0.01, 0.01)
    window = Window(Given(begin, begin, TcpState(acked, 0, 0.01, 0.01)))
    window.wait(0.0, 0)
    window.rest(0.02)
    assert (window.most, window.is_tight) == (most, False)
    window.rest(0.03)       # nothing waited since: nothing is asked


def test_a_near_link_is_asked_only_where_something_waits() -> None:
    kernel = Given(TcpState(0, 0, FAR / 2, FAR / 2))
    window = Window(kernel)
    asked = kernel.read
    kernel.read = pytest.fail   # type: ignore[method-assign]
    assert (window.has_room(0, 0), window.has_room(1, 0), window.most) == (True, False, NOT_SENT)
    kernel.read = asked     # type: ignore[method-assign]
    assert window.wait(0.0, 0) == 0.0


@pytest.mark.parametrize('rate', [inf, 100_000.0])
def test_a_far_link_with_little_traffic_is_asked_rarely(rate: float) -> None:
    """Not for each frame; and never is more under way than the window lets through."""
    kernel, asked = Given(TcpState(0, 0, 0.02, 0.02)), 0
    window = Window(kernel)
    if rate < inf:
        window._set(rate, 0.02)
    under_way = sent = most = 0

    def read() -> TcpState:
        nonlocal asked
        asked += 1
        return TcpState(sent - under_way, under_way, 0.02, 0.02)
    kernel.read = read      # type: ignore[method-assign]
    for number in range(1000):
        if window.has_room(0, sent):
            sent, under_way = sent + 300, under_way + 300
        most = max(most, under_way)
        if not number % 4:
            under_way = 0
    assert sent == 300_000
    assert asked <= sent / (window.size - 4 * 300) + 1
    assert most <= 4 * 300
    under_way, frames = 0, 0
    while window.has_room(0, sent):     # nothing is acknowledged any more
        sent, under_way, frames = sent + 300, under_way + 300, frames + 1
        assert frames < 1000
    assert window.size <= under_way < window.size + 300
    window._set(LEAST, 0.0)             # it has become slow: what was known counts no more
    assert not window.has_room(0, sent)


async def test_an_unknown_far_link_is_not_filled_by_small_samples(make_server: MakeServer,
                                                                  dial: Dial) -> None:
    """They leave without being asked for where the window is open, and only there."""
    server = Recorder()
    await dial((await make_server(listener=server)).port)
    link = await server.link()
    under_way = 0

    class Far(Given):
        """A far link on which so much is under way."""

        def read(self) -> TcpState:
            """Tell it."""
            return TcpState(0, under_way, 0.2, 0.2)
    for kernel, is_direct in ((Given(TcpState(0, 0, FAR / 2, FAR / 2)), True), (Far(), False)):
        link._window = Window(kernel)
        link.stage(StreamFrame('odometry', b'1' * 100, 1))
        link.flush()
        assert (link.direct is not None) is is_direct
        link.direct = None
    assert link.is_bounded
    under_way = START
    link.stage(StreamFrame('odometry', b'2' * START, 1))
    link.flush()
    link.stage(StreamFrame('odometry', b'3', 1))
    link.flush()
    await async_wait_until(lambda: link.queue.waiting('odometry'))
    under_way = 0


def test_a_dead_link_is_measured_in_the_end() -> None:
    window = Window(Given(TcpState(0, 100_000, 0.01, 0.01)))
    assert window.wait(0.0, 0) > 0.0
    assert window.wait(LONGEST - STEP, 0) > 0.0
    assert (window.size, window.has_room(0, 0)) == (START, False)
    assert window.wait(LONGEST, 0) > 0.0
    assert window.size == LEAST
    assert not window.has_room(0, 0)
    assert repr(window) == f'<Window {LEAST} bytes, {LEAST} bytes/s>'


def test_what_the_system_does_not_tell() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Kernel.of(ours) is None
    assert Kernel.of(None) is None


async def test_a_real_connection(make_server: MakeServer, dial: Dial) -> None:
    """The numbers are where they are read: all that was sent is acknowledged, soon."""
    server = Recorder()
    peer = await dial((await make_server(listener=server)).port)
    link = await server.link()
    own: Any = link.websocket.transport.get_extra_info('socket')
    kernel = Kernel.of(own)
    if kernel is None:
        pytest.skip('this system tells nothing of its connections')
    before = kernel.read()
    link.send('x' * 10_000)
    assert len(await peer.recv()) == 10_000
    await peer.send('y')
    await async_wait_until(lambda: server.frames)
    after = kernel.read()
    assert 10_000 <= after.acked + after.waiting - before.acked - before.waiting < 10_100
    assert 0.0 < after.least <= after.round_trip < 1.0


async def test_where_the_system_tells_nothing_all_may_leave() -> None:
    window = Window(None)
    assert (window.most, window.is_tight, window.wait(0.0, 1 << 20)) == (PIECE, False, 0.0)
    assert window.has_room(1 << 20, 0)
    window.rest(1.0)


async def test_over_a_slow_link_a_reply_passes_what_waits(make_server: MakeServer,
                                                          dial: Dial) -> None:
    """Two pictures wait; the reply leaves before them, and all of them arrive."""
    server = Recorder()
    peer = await dial((await make_server(listener=server)).port)
    link = await server.link()
    if link._window._kernel is None:
        pytest.skip('this system tells nothing of its connections')
    link._window._set(20_000.0, 0.001)
    assert (link._window.is_tight, link._window.most) == (True, LEAST // 2)
    pictures = [bytes([number]) * 30_000 for number in range(2)]
    for number, picture in enumerate(pictures):
        link.send_stream(number, picture, 1, text=False)
    link.send('reply')
    assert [await peer.recv() for _ in range(3)] == ['reply', *pictures]


async def test_over_a_slow_link_a_reply_passes_the_pieces_of_a_picture(make_server: MakeServer,
                                                                       dial: Dial) -> None:
    """The picture is on its way already: its first piece has left."""
    server = Recorder()
    peer = await dial((await make_server(listener=server)).port)
    link = await server.link()
    slow: Any = SlowWindow()
    link._window = slow
    link.queue.takes_pieces = True
    picture = bytes(range(256)) * 40
    link.send_stream('camera', Parts(picture), 1, text=False)
    joiner = Joiner(len(picture))
    slow.turns.release()
    first = await peer.recv()
    assert isinstance(first, bytes)
    assert (len(first), joiner.add(first)) == (slow.most, None)
    link.send('reply')
    slow.turns.release()
    assert await peer.recv() == 'reply'
    assert 0 < link.queued_bytes <= len(picture)
    whole = None
    while whole is None:
        slow.turns.release()
        frame = await peer.recv()
        assert isinstance(frame, bytes)
        whole = joiner.add(frame)
    assert whole == picture
    slow.turns.release()
    await async_wait_until(lambda: link._writer is None)
    assert link.queued_bytes == 0
