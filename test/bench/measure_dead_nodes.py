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
How often ``publish`` waits for a node that is frozen or killed, and how long.

``python test/bench/measure_dead_nodes.py [--runs 60]`` has a publisher of 200 Hz, a subscriber,
and three nodes that subscribe and publish 300 messages/s each.  The three are frozen for 2 s
again and again, then killed and started again.  Each is done with the middleware's own choice of
transports, and with that of the stop process (``ros/transports.py``).  Counted are the faults
after which a ``publish`` took longer than 50 ms.  It ends with 1 where one did that without shared
memory.
"""
from __future__ import annotations

import argparse
from contextlib import suppress
import os
from pathlib import Path
import platform
from random import Random
import signal
import subprocess
import sys
import time

from measure import command_line, environment
from rclpy.utilities import get_rmw_implementation_identifier

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from ws_bridge.ros.transports import (  # noqa: E402,I100,RUF100
    profiles_variable,
    without_shared_memory,
)

FROZEN, BETWEEN, LONG = 2.0, 0.1, 0.05
AFTER_KILL = 3.0
"""In which the publisher goes on after a kill, s."""
RATE, BUSY_RATE = 200.0, 300.0
NODES = 3
TOPIC, OTHER = '/measured', '/beside'


def neighbour() -> None:
    """Hear everything, and publish a lot."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from std_msgs.msg import String

    rclpy.init()
    node = rclpy.create_node('neighbour')
    for topic in (TOPIC, OTHER):
        node.create_subscription(String, topic, lambda message: None, 1)
    publisher = node.create_publisher(String, OTHER, 1)
    node.create_timer(1 / BUSY_RATE, lambda: publisher.publish(String(data='x' * 100)))
    print('ready', flush=True)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


def publish() -> None:
    """Publish until the standard input ends; print how long each slow ``publish`` took, s."""
    import select

    import rclpy
    from std_msgs.msg import String

    rclpy.init()
    node = rclpy.create_node('publisher')
    publisher = node.create_publisher(String, TOPIC, 1)
    print('ready', flush=True)
    while not select.select([sys.stdin], [], [], 1 / RATE)[0]:
        before = time.monotonic()
        publisher.publish(String(data='x' * 50))
        if time.monotonic() - before > LONG:
            print(time.monotonic() - before, flush=True)


def start(role: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    """Start a node of this file, and wait until it is there."""
    process = subprocess.Popen([sys.executable, __file__, '--role', role], env=environ, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == 'ready\n'
    return process


def waits(environ: dict[str, str], runs: int, kills: bool) -> list[float]:
    """Return how long each ``publish`` took that took long, s."""
    random = Random(1)
    beside = {**os.environ, **environment()}
    with start('neighbour', beside) as subscriber, start('publish', environ) as publisher:
        nodes = [start('neighbour', beside) for _ in range(NODES)]
        time.sleep(AFTER_KILL)
        for _ in range(runs):
            for each in nodes:
                time.sleep(BETWEEN / NODES + random.uniform(0.0, 0.01))
                each.send_signal(signal.SIGKILL if kills else signal.SIGSTOP)
            if kills:
                for each in nodes:
                    each.communicate()
                time.sleep(AFTER_KILL)
                nodes = [start('neighbour', beside) for _ in range(NODES)]
                time.sleep(AFTER_KILL / 2)
            else:
                time.sleep(FROZEN)
                for each in nodes:
                    each.send_signal(signal.SIGCONT)
        slow, _ = publisher.communicate()
        for process in (*nodes, subscriber):
            process.kill()
            process.communicate()
    return [float(line) for line in slow.split()]


def main() -> int:
    """Parse the arguments and measure, or be one of the nodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--runs', type=int, default=60)
    parser.add_argument('--role', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        {'neighbour': neighbour, 'publish': publish}[args.role]()
        return 0
    own = {**os.environ, **environment()}
    changes = without_shared_memory(own, get_rmw_implementation_identifier(), profiles_variable())
    if isinstance(changes, str):
        print(f'{changes} is set')
        return 2
    print(f'`{command_line()}`, Python {platform.python_version()}, {os.cpu_count()} processors, '
          'times in ms\n\n| the three nodes are | transports | faults | publish took longer than '
          '50 | longest |\n|---|---|---|---|---|')
    held = True
    for fault, runs, kills in (('frozen for 2 s', args.runs, False),
                               ('killed', args.runs // 4, True)):
        for name, environ in (('default', own), ('without shared memory', {**own, **changes})):
            slow = waits(environ, runs, kills)
            longest = f'{max(slow) * 1e3:.0f}' if slow else '-'
            print(f'| {fault} | {name} | {runs * NODES} | {len(slow)} | {longest} |', flush=True)
            held &= not slow or environ is own
    print(f'\n{"held" if held else "NOT held"}')
    return int(not held)


if __name__ == '__main__':
    sys.exit(main())
