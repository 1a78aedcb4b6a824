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
A thin link, a process of its own: a slow line between this machine and a network namespace.

``thin_link.py MBIT DELAY LOSS [QUEUE]`` makes both ends and prints the namespace, the addresses in
it and outside, and its own process number, JSON; it ends with stdin, or when it is terminated.
Each way lets ``MBIT`` million bits a second through, drops a share ``LOSS`` of the packets, keeps
at most ``QUEUE`` s of them (0.5, and at least :data:`LEAST` bytes) as a modem does, and takes
``DELAY`` s. Packets are shaped here because not every kernel has a queue that does it. At the end
it prints for each way how many bytes came through, how many packets found no room (``dropped``),
and for each packet with data of TCP that was lost how long it took until its first byte was sent
again and came through, s (``repeated``).
"""
from __future__ import annotations

from collections import deque
from contextlib import suppress
import fcntl
import json
import os
from random import Random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time

LEAST = 16 * 1500
"""What a queue holds in any case, bytes."""
MTU = 1500
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 1, 0x1000


def ip(*arguments: str) -> None:
    """Run ``ip``."""
    subprocess.run(['ip', *arguments], check=True, capture_output=True)


def open_tun(name: str) -> int:
    """Make a network device; return the file from which its packets are read."""
    tun = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack('16sH', name.encode(), _IFF_TUN | _IFF_NO_PI))
    return tun


def data_of(packet: bytes) -> tuple[bytes, int, int] | None:
    """Return of a packet with data of TCP the ports, the number of its first byte, its size."""
    begin = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return None
    first, offset = struct.unpack_from('>4xI4xB', packet, begin)
    size = len(packet) - begin - (offset >> 4) * 4
    return (packet[begin:begin + 4], first, size) if size else None


class Way:
    """
    One direction of the line.

    :param rate: bytes a second.
    :param room: bytes that may wait.
    :ivar carried: bytes that came through; ``dropped``: packets for which there was no room;
        ``repeated``: s, for each packet with data that was lost.
    """

    def __init__(self, rate: float, delay: float, loss: float, room: float) -> None:
        self.rate, self.delay, self.loss, self.room = rate, delay, loss, room
        self.carried = self.dropped = 0
        self.repeated: list[float] = []
        self._lost: dict[tuple[bytes, int], float] = {}
        self._free_at = 0.0
        self._random = Random(1)
        self._under_way: deque[tuple[float, bytes]] = deque()

    def take(self, packet: bytes, now: float) -> None:
        """Take a packet at one end."""
        waiting = max(self._free_at - now, 0.0) * self.rate
        if waiting + len(packet) > self.room:
            self.dropped += 1
            return
        self._free_at = max(self._free_at, now) + len(packet) / self.rate
        is_lost = self._random.random() < self.loss
        if not is_lost:
            self._under_way.append((self._free_at + self.delay, packet))
        if is_lost or self._lost:
            self._note(packet, now, is_lost=is_lost)

    def _note(self, packet: bytes, now: float, *, is_lost: bool) -> None:
        """Note what is lost, and what of it comes through now."""
        data = data_of(packet)
        if data is None:
            return
        ports, first, size = data
        if is_lost:
            self._lost.setdefault((ports, first), now)
            return
        for key in [key for key in self._lost
                    if key[0] == ports and (key[1] - first) % (1 << 32) < size]:
            self.repeated.append(now - self._lost.pop(key))

    def due(self) -> float | None:
        """Return when the next packet comes out."""
        return self._under_way[0][0] if self._under_way else None

    def give(self, tun: int, now: float) -> None:
        """Hand out at the other end what has arrived."""
        while self._under_way and self._under_way[0][0] <= now:
            packet = self._under_way.popleft()[1]
            self.carried += len(packet)
            with suppress(BlockingIOError):
                os.write(tun, packet)


def carry(outside: int, inside: int, out: Way, back: Way) -> None:
    """Carry packets until stdin ends."""
    with selectors.DefaultSelector() as selector:
        for file in (outside, inside, sys.stdin.fileno()):
            selector.register(file, selectors.EVENT_READ)
        while True:
            dues = [due for due in (out.due(), back.due()) if due is not None]
            ready = selector.select(max(min(dues) - time.monotonic(), 0.0) if dues else None)
            now = time.monotonic()
            for key, _ in ready:
                if key.fd == sys.stdin.fileno():
                    return
                way = out if key.fd == outside else back
                with suppress(BlockingIOError):
                    while True:
                        way.take(os.read(key.fd, 65536), now)
            now = time.monotonic()
            out.give(inside, now)
            back.give(outside, now)


def main(mbit: str, delay: str, loss: str, queue: str = '0.5') -> None:
    """Make the link, carry, and remove it."""
    number = os.getpid() % 16384
    namespace = f'thin{number}'
    ends = [f'10.84.{number * 4 // 256}.{number * 4 % 256 + end}' for end in (1, 2)]
    names = [f'thin{number}{side}' for side in 'oi']
    rate = float(mbit) * 1e6 / 8
    room = max(rate * float(queue), LEAST)
    ways = [Way(rate, float(delay), float(loss), room) for _ in range(2)]
    files = [open_tun(name) for name in names]
    try:
        ip('netns', 'add', namespace)
        ip('link', 'set', names[1], 'netns', namespace)
        ip('-n', namespace, 'link', 'set', 'lo', 'up')
        for name, own, other, inside in zip(names, ends, ends[::-1], ((), ('-n', namespace)),
                                            strict=True):
            ip(*inside, 'addr', 'add', own, 'peer', other, 'dev', name)
            ip(*inside, 'link', 'set', name, 'mtu', str(MTU), 'up')
        print(json.dumps({'namespace': namespace, 'outside': ends[0], 'inside': ends[1],
                          'pid': os.getpid()}), flush=True)
        carry(*files, *ways)
    finally:
        subprocess.run(['ip', 'netns', 'del', namespace], check=False)
        print(json.dumps({side: {'carried': way.carried, 'dropped': way.dropped,
                                 'repeated': way.repeated}
                          for side, way in zip(('out', 'back'), ways, strict=True)}), flush=True)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    main(*sys.argv[1:])
