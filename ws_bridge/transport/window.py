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
How much may be under way to one peer: as much as its link carries in a tenth of a second or so.

What the kernel and the routers hold of a slow link nobody can overtake: neither a ping, by whose
answer one knows how old a command is, nor the answer to a stop. So the rest waits here, where
priority decides.

The kernel tells how many bytes the peer has acknowledged, and the round trip. The window is what
was acknowledged in the time of the empty link's round trip and :data:`DELAY`. A window that is too
large fills the link and learns its rate; one that is too small sees a short round trip, and grows.

At first nobody knows the rate. So the window begins small, and doubles as long as all of it was
acknowledged without delay: a link of any speed is known before more than twice that is under way.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
import socket
import struct
import sys
from typing import Any, NamedTuple

from ws_bridge.transport.framing import PIECE

if sys.platform.startswith('linux'):
    import fcntl

DELAY = 0.06
"""How long what is under way may wait for what was sent before, s."""
LEAST = 1000
"""The window is at least so large, bytes: on a link of 100 kbit/s a full packet takes 0.12 s."""
START = 1_500
"""With so much under way an unknown link is tried, bytes: at 100 kbit/s it takes 0.12 s."""
FAR = 0.002
"""
A link of a shorter round trip is not tried, s: it is within this machine or this room.

Each frame would be asked for as long as nobody knows its rate, and little traffic never tells.
"""
TIGHT = 262_144
"""A smaller window is kept; a larger one holds up nobody, bytes."""
LARGEST = 524_288
"""What is written at once while the kernel takes everything, bytes; to a fast peer it is more."""
NEAR = 0.0002
"""
A link of a shorter round trip stays within the machine or a cable, s: it does not become slow.

To any other peer little is in the kernel, however fast its link was: it may be by radio.
"""
AT_ONCE = 0.02
"""What a near link carries in this time is written at once, s."""
FULL = 3_145_728
"""But no more, bytes: Linux keeps 4 MB for a socket, with what it needs beside the data."""
PERIOD = 0.1
"""For how long one measures at least, and a round trip, s."""
LONGEST = 1.0
ENOUGH = 5_792
"""What has to be acknowledged in a period before :data:`LONGEST`, bytes."""
SLOWER = 0.7
"""The rate falls to this share at most from one period to the next: a lost packet is no rate."""
NOT_SENT = 8_192
"""
What the kernel takes beyond what it can send, as long as the link is not known to be fast, bytes:
so one notices that it is slow.
"""
_SOONEST, _LATEST = 0.002, 0.05

_TCP_INFO, _TCP_NOTSENT_LOWAT = 11, 25
_SIOCOUTQ = 0x5411   # in Linux
_ROUND_TRIP, _ACKED, _LEAST_ROUND_TRIP = 68, 120, 148   # where they stand in Linux's tcp_info
_SIZE = 152


class TcpState(NamedTuple):
    """
    What the kernel tells of a connection.

    :param acked: bytes that the peer has acknowledged since the connection was made.
    :param waiting: bytes that it has not, sent or not.
    :param round_trip: s, smoothed; ``least``: the shortest.
    """

    acked: int
    waiting: int
    round_trip: float
    least: float


class Kernel:
    """
    A connection of TCP, as Linux shows it.

    :param sock: as asyncio gives it.
    :cvar begins_small: little leaves in one piece until the link was measured.
    """

    __slots__ = ('_sock',)
    begins_small = True

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    @staticmethod
    def of(sock: Any) -> Kernel | None:
        """Return what a socket's kernel tells; ``None``: it does not."""
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6) \
                or not sys.platform.startswith('linux') or len(
                    sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SIZE)) < _SIZE:
            return None
        return Kernel(sock)

    def read(self) -> TcpState:
        """Return the state of the connection."""
        sock = self._sock
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SIZE)
        (waiting,) = struct.unpack('i', fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)))
        (round_trip,) = struct.unpack_from('I', info, _ROUND_TRIP)
        (acked,) = struct.unpack_from('Q', info, _ACKED)
        (least,) = struct.unpack_from('I', info, _LEAST_ROUND_TRIP)
        return TcpState(acked, waiting, round_trip / 1e6, least / 1e6)

    def take(self, size: int) -> None:
        """Take at most so many bytes that cannot be sent yet."""
        self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, size)


class Window:
    """
    The window of one connection; it is measured while something waits for the peer.

    :param kernel: which has the connection; ``None``: it tells nothing, and the window stays open.
    :param start: with so much under way an unknown link is tried, bytes.
    :param is_direct: the kernel's connection ends at the peer, and not at a proxy.
    :ivar size: bytes. ``rate``: of the link, bytes/s; infinite until it was measured.
    :ivar most: bytes that leave in one piece; few until the link was measured.
    :ivar at_once: bytes that a near link carries in no time: fewer leave in one piece, whatever
        they are; 0 until it was measured.
    :ivar is_tight: the link is slow.
    :ivar is_asked: it has to be asked before something is written: the link is slow, or nobody
        knows yet, and then nothing is written while the kernel takes no more.
    """

    __slots__ = ('_acked', '_free_until', '_is_direct', '_kernel', '_since', 'at_once',
                 'is_asked', 'is_tight', 'most', 'rate', 'size')

    def __init__(self, kernel: Kernel | None, start: int = START, *,
                 is_direct: bool = True) -> None:
        self._kernel = kernel
        self._is_direct = is_direct
        self._since: float | None = None
        self._acked = 0
        self._free_until = 0.0      # of what was sent in all; as it is known without asking
        self.size: float = inf
        self.rate: float = inf
        self.most = PIECE
        self.at_once = 0
        self.is_tight = False
        self.is_asked = kernel is not None and kernel.begins_small
        if kernel is not None and kernel.begins_small:
            self.most = NOT_SENT
            if kernel.read().least >= FAR:
                self.size, self.most = float(start), start // 2
            kernel.take(NOT_SENT)

    def __repr__(self) -> str:
        return f'<Window {self.size:.0f} bytes, {self.rate:.0f} bytes/s>'

    @property
    def is_bounded(self) -> bool:
        """Whether little may be under way: the link is slow, or far and nobody knows yet."""
        return self.size < TIGHT

    @property
    def bandwidth(self) -> float | None:
        """What the link carries, bytes/s; ``None`` where it is not slow, or nobody knows."""
        return self.rate if self.is_tight else None

    @property
    def largest(self) -> int:
        """How many bytes leave in one piece while the kernel takes everything."""
        return max(self.at_once, LARGEST)

    def wait(self, now: float, unwritten: int) -> float:
        """
        Measure, as something waits for the peer.

        :param now: s.
        :param unwritten: bytes that the kernel has not taken yet.
        :return: when to ask again, s; 0 = something may be written now.
        """
        if self._kernel is None:
            return 0.0
        state = self._kernel.read()
        if self._since is None:
            self._since, self._acked = now, state.acked
        elif self.rate == inf and self.size < inf:
            self._try(now, state)
        else:
            self._measure(now, state)
        if unwritten and self.rate == inf:
            return _SOONEST
        return self._wait(state.waiting + unwritten)

    async def room(self, transport: asyncio.WriteTransport, now: Callable[[], float]) -> int:
        """Wait until something may be written; return how many bytes may leave in one piece."""
        while not transport.is_closing() and (  # noqa: ASYNC110 - the kernel tells by no event
                wait := self.wait(now(), transport.get_write_buffer_size())):
            await asyncio.sleep(wait)
        return self.most

    def has_room(self, unwritten: int, sent: int) -> bool:
        """
        Tell whether something may be written, as nothing waits for the peer.

        The kernel is asked only where more was sent since it was asked than would leave room:
        with little traffic that is rare.

        :param sent: bytes in all.
        """
        if self._kernel is None:
            return True
        if self.rate == inf and (unwritten or self.size == inf):
            return not unwritten
        if sent < self._free_until:
            return True
        under_way = self._kernel.read().waiting + unwritten
        self._free_until = sent + self.size - under_way
        return under_way < self.size

    def rest(self, now: float) -> None:
        """Take note that nothing waits any more: from now on the link is not full."""
        if self.rate == inf and self._since is not None and self._kernel is not None:
            state = self._kernel.read()
            rate = (state.acked - self._acked) / max(now - self._since, _SOONEST)
            if rate * (state.least + DELAY) >= TIGHT:   # it carries at least as much
                self._set(rate, state.least)
        self._since = None

    def _try(self, now: float, state: TcpState) -> None:
        """Open the window further where all that it lets through came without delay."""
        assert self._since is not None
        elapsed, acked = now - self._since, state.acked - self._acked
        if acked < self.size and elapsed < max(LONGEST, 2 * state.least):
            return
        self._since, self._acked = now, state.acked
        if acked < self.size:
            self._set(max(acked / elapsed, LEAST), state.least)
        elif elapsed > state.least + DELAY:
            self._set(acked / (elapsed - state.least), state.least)
        else:
            self.size = 2 * max(self.size, acked)
            self.most = min(int(self.size / 2), NOT_SENT)
            if self.size >= TIGHT:
                self._set(self.size / DELAY, state.least)

    def _wait(self, under_way: int) -> float:
        if under_way < self.size:
            return 0.0
        return min(max((under_way - self.size) / self.rate, _SOONEST), _LATEST)

    def _measure(self, now: float, state: TcpState) -> None:
        assert self._since is not None
        elapsed, acked = now - self._since, state.acked - self._acked
        if acked < 2 * TIGHT and (elapsed < max(PERIOD, state.round_trip)
                                  or (acked < ENOUGH and elapsed < LONGEST)):
            return
        self._since, self._acked = now, state.acked
        rate = acked / max(elapsed, _SOONEST)
        if self.rate < inf:
            rate = max(rate, self.rate * SLOWER)
        self._set(max(rate, LEAST), state.least)

    def _set(self, rate: float, least: float) -> None:
        self.rate = rate
        self._free_until = 0.0
        self.size = max(rate * (least + DELAY), LEAST)
        self.is_tight = self.is_asked = self.size < TIGHT
        is_near = self._is_direct and least < NEAR and not self.is_tight
        self.at_once = int(min(rate * AT_ONCE, FULL)) if is_near else 0
        assert self._kernel is not None
        self._kernel.take(NOT_SENT if self.is_tight else max(TIGHT, self.at_once))
        self.most = max(int(self.size / 4), LEAST // 2) if self.is_tight else PIECE
