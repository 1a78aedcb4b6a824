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

``thin_link.py MBIT DELAY LOSS [QUEUE]`` makes both ends and prints the namespace and the addresses
in it and outside, JSON; it ends with stdin, or when it is terminated. Each way lets ``MBIT``
million bits a second through, drops a share ``LOSS`` of the packets, keeps at most ``QUEUE`` s of
them (0.5, and at least :data:`LEAST` bytes) as a modem does, and takes ``DELAY`` s. Packets are
shaped here because not every kernel has a queue that does it.
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


class Way:
    """
    One direction of the line.

    :param rate: bytes a second.
    :param room: bytes that may wait.
    :ivar carried: bytes that came through; ``dropped``: packets for which there was no room.
    """

    def __init__(self, rate: float, delay: float, loss: float, room: float) -> None:
        self.rate, self.delay, self.loss, self.room = rate, delay, loss, room
        self.carried = self.dropped = 0
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
        if self._random.random() >= self.loss:
            self._under_way.append((self._free_at + self.delay, packet))

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
        print(json.dumps({'namespace': namespace, 'outside': ends[0], 'inside': ends[1]}),
              flush=True)
        carry(*files, *ways)
    finally:
        subprocess.run(['ip', 'netns', 'del', namespace], check=False)
        print(json.dumps({side: {'carried': way.carried, 'dropped': way.dropped}
                          for side, way in zip(('out', 'back'), ways, strict=True)}), flush=True)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    main(*sys.argv[1:])
