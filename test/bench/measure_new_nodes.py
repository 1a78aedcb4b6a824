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
How long the other threads of a process wait while one makes an entity, and nodes come and go.

``python test/bench/measure_new_nodes.py [--seconds 90] [--nodes 3] [KIND ...]`` makes and
destroys entities of each kind in turn, by rclpy and as the bridge does it.  Meanwhile other
processes make and destroy nodes.  Another thread looks at the clock every millisecond: when it
cannot, the interpreter is held.  What either thread waited for a processor does not count.  It
ends with 1 where the bridge's way held the interpreter longer than 0.02 s.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
import os
from pathlib import Path
import platform
from statistics import median
import subprocess
import sys
import threading
import time
from typing import Any

from measure import command_line, environment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

LIVES = 0.2
"""How long a node that comes and goes is there, s."""
PAUSE = 0.01
"""Between two steps, s."""
LONG = 0.02
NAME = '/measured'


@dataclass
class Way:
    """
    How an entity of a kind is made and destroyed.

    :ivar made: how long it took to make each, s.
    :ivar held: how long others waited while one was made or destroyed, s.
    """

    kind: str
    by: str
    make: Callable[[], Any]
    destroy: Callable[[Any], object]
    made: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    entity: Any = None

    def begin(self) -> None:
        """Make one."""
        began = time.monotonic()
        self.entity = self.make()
        self.made.append(time.monotonic() - began)

    def end(self) -> None:
        """Destroy it."""
        self.destroy(self.entity)


class Clock(threading.Thread):
    """Looks at the clock each millisecond."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._longest = self._last = self._delayed = 0.0
        self.start()

    def run(self) -> None:
        """Look."""
        while True:
            time.sleep(0.001)
            now = time.monotonic()
            self._longest = max(self._longest, now - self._last)
            self._last = now

    def _delay(self) -> float:
        """Return for how long this thread and the caller's have waited for a processor, s."""
        return sum(int(Path(f'/proc/self/task/{each}/schedstat').read_text('ascii').split()[1])
                   for each in (self.native_id, threading.get_native_id())) / 1e9

    def longest(self, action: Callable[[], object]) -> float:
        """Return the longest time between two looks while something is done, s."""
        delayed = self._delay()
        self._last, self._longest = time.monotonic(), 0.0
        action()
        time.sleep(0.002)       # for a look that was due
        return max(self._longest - self._delay() + delayed, 0.0)


def come_and_go() -> None:
    """Be one node after the other, each in a context of its own."""
    import rclpy
    from rclpy.context import Context
    print('ready', flush=True)
    while True:
        context = Context()
        rclpy.init(context=context)
        node = rclpy.create_node('passing', context=context)
        time.sleep(LIVES)
        node.destroy_node()
        rclpy.shutdown(context=context)


@contextmanager
def passing_nodes(count: int) -> Iterator[None]:
    """Have nodes that come and go, each of its own process."""
    processes = [subprocess.Popen([sys.executable, __file__, '--role', 'passing'],
                                  env=environment(), stdout=subprocess.PIPE, text=True)
                 for _ in range(count)]
    try:
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == 'ready\n'
        yield
    finally:
        for each in processes:
            each.kill()
            each.communicate()


def ways_of(node: Any) -> list[Way]:
    """Return all ways to make an entity."""
    from rclpy.action.client import ActionClient
    from rclpy.action.server import ActionServer
    from rclpy.qos import QoSProfile
    from std_msgs.msg import String
    from std_srvs.srv import Trigger
    from test_msgs.action import Fibonacci

    from ws_bridge.ros.trials import find
    access, profile = find(node), QoSProfile(depth=10)

    def of_tap(destroy: Callable[[Any], object]) -> Callable[[Any], object]:
        return lambda tap: destroy(tap.entity)
    return [
        Way('subscription', 'rclpy', lambda: node.create_subscription(
            String, NAME, print, profile), node.destroy_subscription),
        Way('subscription', 'bridge', lambda: access.make_subscription(
            node, String, NAME, profile), of_tap(node.destroy_subscription)),
        Way('publisher', 'rclpy', lambda: node.create_publisher(String, NAME, profile),
            node.destroy_publisher),
        Way('publisher', 'bridge', lambda: access.make_publisher(node, String, NAME, profile),
            node.destroy_publisher),
        Way('service client', 'rclpy', lambda: node.create_client(Trigger, NAME),
            node.destroy_client),
        Way('service client', 'bridge', lambda: access.make_client(node, Trigger, NAME),
            node.destroy_client),
        Way('service', 'rclpy', lambda: node.create_service(Trigger, NAME, print),
            node.destroy_service),
        Way('service', 'bridge', lambda: access.make_service(node, Trigger, NAME),
            of_tap(node.destroy_service)),
        Way('action client', 'rclpy', lambda: ActionClient(node, Fibonacci, NAME),
            lambda client: client.destroy()),
        Way('action server', 'rclpy', lambda: ActionServer(node, Fibonacci, NAME, print),
            lambda server: server.destroy())]


def measure(seconds: float, kinds: list[str]) -> list[Way]:
    """Make and destroy entities of some kinds in turn, of all kinds if none is named."""
    import rclpy
    from rclpy.context import Context
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node('measured', context=context)
    clock = Clock()
    ways = [way for way in ways_of(node) if way.kind in kinds or not kinds]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for way in ways:
            for step in (way.begin, way.end):
                way.held.append(clock.longest(step))
                time.sleep(PAUSE)
    node.destroy_node()
    rclpy.shutdown(context=context)
    return ways


def main() -> int:
    """Parse the arguments and measure, or be one of the nodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('kinds', nargs='*', help='such as "service client"')
    parser.add_argument('--seconds', type=float, default=90.0)
    parser.add_argument('--nodes', type=int, default=3)
    parser.add_argument('--role', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        come_and_go()
        return 0
    os.environ.update(environment())
    print(f'`{command_line()}`, Python {platform.python_version()}, {os.cpu_count()} processors, '
          'times in ms\n\n| kind | made by | times | made in, median | most | others waited, '
          f'median | most | longer than {LONG * 1e3:.0f} |\n|---|---|---|---|---|---|---|---|')
    with passing_nodes(args.nodes):
        ways = measure(args.seconds, args.kinds)
    for way in ways:
        print(f'| {way.kind} | {way.by} | {len(way.made)} | {median(way.made) * 1e3:.1f} | '
              f'{max(way.made) * 1e3:.0f} | {median(way.held) * 1e3:.1f} | '
              f'{max(way.held) * 1e3:.0f} | {sum(each > LONG for each in way.held)} |')
    held = max(max(way.held) for way in ways if way.by == 'bridge') <= LONG
    print(f'\n{"held" if held else "NOT held"}')
    return int(not held)


if __name__ == '__main__':
    sys.exit(main())
