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
What a camera costs that several people look at.

``python test/bench/bench_video.py [--seconds S] [--viewers N]``: raw pictures of 1280 x 720 pixels
at 30 Hz (664 Mbit/s) to 5 viewers, as H.264 in the quality that the bridge chooses, then as JPEG
by ``/stream``. Camera and viewers are a process each. CPU is a share of one core. An age is from
the stamp of a picture until a viewer has all of it. It ends with 1 where more than one process
encodes, or the bridge itself takes 30 % of a core.
"""
from __future__ import annotations

import argparse
import json
import selectors
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from measure import Client, cpu, environment, NATIVE, percentile, started
import numpy as np
import psutil

WIDTH, HEIGHT, RATE = 1280, 720, 30
TOPIC, TYPE = '/bench/camera', 'sensor_msgs/msg/Image'
MOST = 0.3
STAMP = struct.Struct('<iI')
STAMP_AT = 4
HEADER = struct.Struct('<BBHIdI')
WARM = 3.0


def be_camera() -> None:
    """Publish pictures that move until stdin ends; print how many, when asked."""
    import rclpy
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image
    rclpy.init()
    node = rclpy.create_node('bench_camera')
    # Reliable: of best effort the middleware loses most of what is so large.
    publisher = node.create_publisher(Image, TOPIC, 2)
    random = np.random.default_rng(0)
    scene = np.kron(random.integers(0, 255, (36, 64, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    frames = []
    for number in range(30):
        noisy = np.roll(scene, 8 * number, 1) // 2 + random.integers(0, 8, scene.shape, np.uint8)
        frames.append(bytearray(serialize_message(Image(
            height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH,
            data=noisy.tobytes()))))
    print('ready', flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        begin, number = time.monotonic(), 0
        while True:
            for _ in selector.select(max(0.0, begin + number / RATE - time.monotonic())):
                if not sys.stdin.readline():
                    return
                print(json.dumps(number), flush=True)
            frame = frames[number % len(frames)]
            STAMP.pack_into(frame, STAMP_AT, *divmod(time.time_ns(), 1_000_000_000))
            publisher.publish(bytes(frame))
            number += 1


class Page:
    """An ``<img>``: reads a stream of JPEG."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=10)
        self.socket.sendall(f'GET /stream?topic={TOPIC} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
                            .encode())
        self._buffer = bytearray()

    def pictures(self) -> list[tuple[float, int]]:
        """Read once; return stamp and size of the pictures that are complete."""
        self._buffer += self.socket.recv(1 << 20)
        found = []
        while (at := self._buffer.find(b'X-Timestamp: ')) >= 0:
            head = self._buffer.find(b'\r\n\r\n', at)
            if head < 0:
                break
            fields = bytes(self._buffer[at:head]).split(b'\r\n')
            stamp, size = float(fields[0].split()[1]), int(fields[1].split()[1])
            if len(self._buffer) < head + 4 + size:
                break
            del self._buffer[:head + 4 + size]
            found.append((stamp, size))
        return found


class Watcher(Client):
    """A native peer that watches video."""

    def __init__(self, port: int) -> None:
        super().__init__(port, NATIVE.subprotocol)
        self.send(json.dumps({
            'metadata': {'message_type': 'configuration', 'message_id': 's'},
            'data': {'op': 'subscribe', 'topic': TOPIC, 'encoding': 'video', 'type': TYPE}}))

    def pictures(self) -> list[tuple[float, int]]:
        """Read once; return stamp and size of the frames that are complete."""
        return [(HEADER.unpack_from(frame)[4], len(frame)) for frame in self.frames()
                if frame[0] == 5]


def be_viewers(kind: str, port: int, number: int) -> None:
    """Look until stdin says so; print what was seen since the line before."""
    viewers: list[Any] = [(Watcher if kind == 'video' else Page)(port) for _ in range(number)]
    seen: list[tuple[float, int]] = []
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for viewer in viewers:
            selector.register(viewer.socket, selectors.EVENT_READ, viewer)
        print('ready', flush=True)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    if not sys.stdin.readline():
                        return
                    print(json.dumps(seen), flush=True)
                    seen.clear()
                else:
                    seen += [(time.time() - stamp, size) for stamp, size in key.data.pictures()]


def helper(*words: object) -> subprocess.Popen[str]:
    """Run this file as one of the ends, and wait until it is ready."""
    process = subprocess.Popen([sys.executable, __file__, *map(str, words)], env=environment(),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == 'ready\n'
    return process


def ask(process: subprocess.Popen[str]) -> Any:
    """Return what a helper has to tell."""
    assert process.stdin and process.stdout
    process.stdin.write('now\n')
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    """End a helper."""
    process.kill()
    process.communicate()


def measure(kind: str, viewers: int, seconds: float) -> bool:
    """Measure one way to look; return whether its bounds are held."""
    with started(NATIVE) as (port, bridge):
        camera = helper('--camera')
        try:
            time.sleep(WARM)
            looking = helper('--look', kind, port, viewers)
            try:
                while not ask(looking):
                    time.sleep(0.5)
                time.sleep(WARM)
                encoders = [child for child in bridge.children(recursive=True)
                            if 'ws_bridge.video.worker' in child.cmdline()]
                ask(looking)
                published = -ask(camera)
                begin, before = time.monotonic(), cpu(bridge)
                encoder_before = sum(map(cpu, encoders))
                time.sleep(seconds)
                elapsed = time.monotonic() - begin
                used = (cpu(bridge) - before) / elapsed
                encoding = (sum(map(cpu, encoders)) - encoder_before) / elapsed
                seen: list[list[float]] = ask(looking)
                published += ask(camera)
                memory = sum(child.memory_info().rss for child in encoders) >> 20
            finally:
                end(looking)
        finally:
            end(camera)
    ages = [age * 1e3 for age, _ in seen]
    frames = len(seen) / viewers / elapsed
    bits = sum(size for _, size in seen) * 8 / viewers / elapsed / 1e6
    print(f'{kind:6} {published / elapsed:.1f} Hz to {viewers} viewers: {len(encoders)} encoding, '
          f'bridge {used:4.0%}, '
          f'encoder {encoding:4.0%} and {memory} MB, {frames:.1f} frames/s and {bits:.2f} Mbit/s '
          f'each, age {percentile(ages, 0.5):.0f} ms, p95 {percentile(ages, 0.95):.0f} ms',
          flush=True)
    return len(encoders) == 1 and used < MOST


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--viewers', type=int, default=5)
    parser.add_argument('--camera', action='store_true')
    parser.add_argument('--look', nargs=3)
    args = parser.parse_args()
    if args.camera:
        be_camera()
        return 0
    if args.look:
        kind, port, number = args.look
        be_viewers(kind, int(port), int(number))
        return 0
    print(f'cores: {psutil.cpu_count()}, load: {psutil.getloadavg()[0]:.1f}')
    held = [measure(kind, args.viewers, args.seconds) for kind in ('video', 'stream')]
    return int(not all(held))


if __name__ == '__main__':
    sys.exit(main())
