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
Those who wait for the connection of a robot that is too slow: what many want leaves once for all.

Each operator has the queue of any peer. While the connection to the relay has no room, samples
wait in all of these queues. If the writers of the queues went on by themselves, each would do so
at another time, then with a newer sample, or with pieces of a size of its own. So they go on
together:

1. When the connection has room, whoever has messages (replies, the state of the robot) sends them.
   The carrier sends once what is the same in them.
2. Then one of the others has its turn: it sends the frame of a stream that is next in its queue.
3. Whoever has the same frame waiting, as the next one of its stream, sends it at the same time,
   and that was its turn. So the frame leaves once. A frame that is other only at its beginning, as
   those of Foxglove's clients are, is sent likewise: then the carrier sends the rest once. What
   each queue gave way, and what it has sent, is counted there as ever.
4. When that has left, the next one has its turn.

What is too large to leave at once leaves in pieces, of which each is a turn. Those who have the
same left to send have their turns together, so the carrier sends these pieces once.

How fast an operator is, is measured from the arrival at the relay on. An operator that is slow
itself has a window of its own, as a peer without a relay has. It takes part in step 3 if the frame
fits into its window and its credit. Otherwise it gets frames, or pieces, of its own later.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ws_bridge.fleet.carrier import ALIKE
from ws_bridge.transport.framing import head, PIECE
from ws_bridge.transport.window import Kernel, PERIOD, TcpState, Window

if TYPE_CHECKING:
    from ws_bridge.fleet.carrier import Carrier
    from ws_bridge.transport.fence import Fenced
    from ws_bridge.transport.outbound import Outbound

HEAD = 32
"""In so many bytes at the beginning a frame may be other than what is sent along with it."""
GROWTH = 1.25
"""By how much a window grows in each period for which its link has waited for its turn."""


class Convoy:
    """
    The line of the links whose streams are in one carrier.

    :param uplink: the connection of the robot, by which the carrier sends.
    """

    def __init__(self, carrier: Carrier, uplink: Outbound) -> None:
        self._carrier = carrier
        self._uplink = uplink
        self._kernel = uplink.websocket.kernel()
        self._links: dict[Outbound, CarriedWindow] = {}
        self._line: dict[Outbound, asyncio.Future[None]] = {}
        self._large: set[tuple[int, ...]] = set()   # of those who write in this turn of the loop
        self._is_looking = False
        carrier.on_room = self._go_on

    def __repr__(self) -> str:
        return f'<Convoy of {len(self._links)}, {len(self._line)} wait>'

    @property
    def bandwidth(self) -> float | None:
        """What the connection of the robot carries, bytes/s, if it is slow."""
        return self._uplink.bandwidth

    @property
    def position(self) -> int:
        """How many bytes were written to all streams, what left once counted once."""
        return self._carrier.position

    def arrived(self) -> int:
        """Return how many of them have arrived at the relay."""
        waiting = 0 if self._kernel is None else self._kernel.read().waiting
        return self._carrier.left - self._uplink.queued_bytes - waiting

    @property
    def is_clear(self) -> bool:
        """Whether everything that was written has left."""
        return not (self._carrier.is_full or self._carrier.has_batch)

    def join(self, link: Outbound, window: CarriedWindow) -> None:
        """Have a link take part."""
        self._links[link] = window

    def leave(self, link: Outbound) -> None:
        """Have it do so no more."""
        self._links.pop(link, None)
        self._wake(link)

    def may_write(self, link: Outbound) -> bool:
        """Whether a link need not wait for its turn."""
        if self.is_clear:
            self._large.clear()
        elif self._carrier.is_full or not (
                link.queue.has_messages or _large(link) in self._large):
            return False
        self.take_turn(link)
        return True

    def take_turn(self, link: Outbound) -> None:
        """Note that a link writes now: who has the same pieces to send may, too."""
        large = _large(link)
        if any(large):
            self._large.add(large)

    async def turn(self, link: Outbound) -> None:
        """Wait for the turn of a link, or until nothing of it waits any more."""
        waiter = self._line[link] = asyncio.get_running_loop().create_future()
        self._look_soon()
        try:
            await waiter
        finally:
            if self._line.get(link) is waiter:
                del self._line[link]

    def share(self, link: Outbound, frame: bytes) -> None:
        """Have others send what a link sends now, if it is what is next of a stream of theirs."""
        end = frame[HEAD:] if len(frame) >= ALIKE else frame
        for other, window in self._links.items():
            if other is link or not len(other.queue) \
                    or not _send_along(other, frame, end, window.spare()):
                continue
            if not len(other.queue):
                self._wake(other)
            elif other in self._line:
                self._line[other] = self._line.pop(other)   # behind all others

    def _look_soon(self) -> None:
        """Go on in the next turn of the loop, unless something leaves, after which one goes on."""
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_looking = False
        if self.is_clear:
            self._go_on()

    def _go_on(self) -> None:
        """Let those go on who have messages, or else the first one."""
        self._large.clear()
        waiting = list(self._line)
        together = [link for link in waiting if link.queue.has_messages]
        if waiting and not together:
            large = _large(waiting[0])
            together = [link for link in waiting if _large(link) == large] if any(large) \
                else waiting[:1]
        for link in together:
            self._wake(link)
        if self._line:
            self._look_soon()

    def _wake(self, link: Outbound) -> None:
        waiter = self._line.pop(link, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _send_along(link: Outbound, frame: bytes, end: bytes, most: int) -> bool:
    """
    Send a frame like the one that leaves to others now, if it is next of one of a link's streams.

    :param end: of the frame: what is alike has the same.
    :param most: bytes that may leave now.
    :return: whether it was sent.
    """
    # Not between the fragments of another one.
    if len(frame) > most or link.in_hand or not link.is_open:
        return False
    item = link.queue.take_alike(frame, end, link.websocket.loop.time())
    if item is None:
        return False
    own = item.frame
    assert isinstance(own, bytes)
    link.websocket.write(head(len(own), item.text) + own)
    link.messages_out += 1
    link.bytes_out += len(own)
    if item.on_left is not None:
        item.on_left()
    return True


def _is_drained(link: Outbound) -> bool:
    """Whether nothing waits in the queue, nor the rest of what was begun."""
    return not (len(link.queue) or link.in_hand or link.queue.begun_bytes)


def _large(link: Outbound) -> tuple[int, ...]:
    """Return what tells of the frames that leave in pieces: what is left, and what waits."""
    return (link.in_hand + link.queue.begun_bytes, *link.queue.large(PIECE))


class Journey(Kernel):
    """
    How much of a stream is under way from the relay to its operator, and for how long.

    It tells that as a kernel tells of TCP. What has not arrived at the relay does not count. What
    the operator has taken is told within :data:`ws_bridge.fleet.carrier.TOLD_AFTER`.

    :param now: returns the time, s.
    """

    __slots__ = ('_acked', '_arrived', '_convoy', '_least', '_mark', '_now', '_smooth', '_way',
                 '_written')
    begins_small = False    # what many are sent alike leaves once: pieces would be of all sizes

    def __init__(self, convoy: Convoy, now: Callable[[], float]) -> None:
        super().__init__(None)
        self._convoy = convoy
        self._now = now
        self._written = self._arrived = self._acked = 0
        # Of what has not arrived yet: the position in the carrier, and of the stream.
        self._way: deque[tuple[int, int]] = deque()
        # Of a byte that is awaited, and when it was seen that it has arrived.
        self._mark: tuple[int, float | None] | None = None
        self._smooth = self._least = 0.0

    def wrote(self, size: int) -> None:
        """Note that bytes were written."""
        self._written += size
        self._way.append((self._convoy.position, self._written))
        if self._mark is None:
            self._mark = self._written, None

    def under_way(self, size: int) -> None:
        """Note how many bytes the operator has not taken yet."""
        self._acked = self._written - size
        way, mark = self._way, self._mark
        while way and way[0][1] <= self._acked:
            self._arrived = way.popleft()[1]
        if mark is not None and self._acked >= mark[0]:
            took = 0.0 if mark[1] is None else max(self._now() - mark[1], 0.0)
            self._mark = None
            self._least = min(self._least or took, took)
            self._smooth = 0.875 * (self._smooth or took) + 0.125 * took

    def read(self) -> TcpState:
        """Return what is known."""
        way, there = self._way, self._convoy.arrived()
        while way and way[0][0] <= there:
            self._arrived = way.popleft()[1]
        mark = self._mark
        if mark is not None and mark[1] is None and self._arrived >= mark[0]:
            self._mark = mark[0], self._now()
        return TcpState(self._acked, max(self._arrived - self._acked, 0), self._smooth,
                        self._least)

    def take(self, size: int) -> None:
        """Do nothing: the relay keeps no more than is taken."""


class CarriedWindow(Window):
    """
    The window of an operator: how much it takes, whatever the connection of the robot carries.

    :param credit: returns how many bytes its stream may have under way.
    """

    __slots__ = ('_convoy', '_credit', '_held', '_held_before', '_held_grown', '_link',
                 '_websocket')

    def __init__(self, websocket: Fenced, link: Outbound, convoy: Convoy,
                 credit: Callable[[], int]) -> None:
        super().__init__(websocket.kernel())
        self._websocket = websocket
        self._link = link
        self._convoy = convoy
        self._credit = credit
        # How long it has waited for its turn, s: in all, until it is measured, until it has grown.
        self._held = self._held_before = self._held_grown = 0.0

    @property
    def bandwidth(self) -> float | None:
        """What the operator, or else the connection of the robot, carries, if it is slow."""
        return self.rate if self.is_tight else self._convoy.bandwidth

    def spare(self) -> int:
        """Return how large a frame may be that is sent now along with others."""
        assert self._kernel is not None
        credit = self._credit()
        if credit <= 0 or not self.is_tight:
            return max(credit, 0)
        return max(min(int(self.size) - self._kernel.read().waiting, credit), 0)

    async def room(self, transport: asyncio.WriteTransport, now: Callable[[], float]) -> int:
        """Wait until something may be written; return how many bytes may leave in one piece."""
        link, convoy, has_turn = self._link, self._convoy, False
        if self._since is None:
            self._held_before = self._held
        while not transport.is_closing() and not _is_drained(link):
            credit = self._credit()
            if credit <= 0 and not convoy.is_clear:
                has_turn = False
                await self._websocket.drain()
            elif wait := self.wait(now(), max(1 - credit, 0)):
                has_turn = False
                await asyncio.sleep(wait)
            elif credit <= 0:
                has_turn = False
                await self._websocket.drain()
            elif has_turn or convoy.may_write(link):
                break
            else:
                began = now()
                await convoy.turn(link)
                self._note_held(now() - began)
                convoy.take_turn(link)
                has_turn = True
        return self.most

    def _measure(self, now: float, state: TcpState) -> None:
        """Measure; but who waited for its turn most of the time may take more than it was sent."""
        before, since = self.rate, self._since
        super()._measure(now, state)
        if self._since == since or since is None:
            return
        held, self._held_before = self._held - self._held_before, self._held
        if held > (now - since) / 2:
            self._set(max(self.rate, before), state.least)

    def _note_held(self, held: float) -> None:
        """Let the window grow while something else is in the way: it may be too small."""
        self._held += held
        if self.is_tight and self._held >= self._held_grown + PERIOD:
            self._held_grown = self._held
            assert self._kernel is not None
            self._set(self.rate * GROWTH, self._kernel.read().least)
