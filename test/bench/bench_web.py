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
The cost of one page that shows everything: camera 640x480 raw, scan and odometry.

``python test/bench/bench_web.py [--seconds N] [--topics N]``; needs chromium, chromedriver and
selenium. A publisher makes the data and the browser draws it, in processes of their own that share
the machine's cores with the bridge; what is judged is the bridge's CPU and the page's frames. All
is published reliably: best effort would lose pictures of this size before the bridge, and flatter
it.

With ``--topics 300`` there are so many topics instead. Printed are the long tasks (50 ms and more)
that the browser reports of the page since it is connected: while the rows come, are filtered, and
their ages change for some seconds; and those of the same page without the panel of topics, which
are the machine's.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
import math
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

from measure import cpu, environment
import psutil

CAMERA, SCAN, ODOMETRY = 15.0, 10.0, 50.0     # Hz
MOST_CPU = 25.0                               # % of a core, the bridge alone
LEAST_FRAMES = 30.0                           # a second
SETTLE = 3.0                                  # s

COUNT_FRAMES = """
    window.frames_drawn = 0;
    const count = () => { window.frames_drawn += 1; requestAnimationFrame(count); };
    requestAnimationFrame(count);"""
COUNTS = """
    const number = (id, name) => Number(document.getElementById(id).dataset[name] || 0);
    return [window.frames_drawn, number('camera', 'frames'), number('topview', 'scans')];"""

NOTE_LONG_TASKS = """
    window.tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(
      ({startTime, duration}) => [startTime, duration]))).observe({type: 'longtask'});
    const look = setInterval(() => {
      if (document.getElementById('connection')?.dataset.state !== 'connected') return;
      window.connectedAt = performance.now();
      clearInterval(look);
    }, 5);"""
LONG_TASKS = """return tasks.filter(([start]) => start >= arguments[0])
    .map(([, duration]) => Math.round(duration));"""
SHOWN = "return document.querySelectorAll('#topics tr:not([hidden])').length;"
WATCHED = 2.5                                 # s, in which ages change


def publish_many(topics: int) -> None:
    """Have publishers of many topics until the process is ended."""
    import rclpy
    from std_msgs.msg import Int32
    rclpy.init()
    node = rclpy.create_node('bench_web')
    publishers = [node.create_publisher(Int32, f'/many/t{i:03}', 1) for i in range(topics)]
    node.create_subscription(_twist(), '/cmd_vel', lambda _: None, 10)
    rclpy.spin(node)
    assert len(publishers) == topics


def publish() -> None:
    """Publish until the process is ended."""
    from nav_msgs.msg import Odometry
    import rclpy
    from sensor_msgs.msg import Image, LaserScan
    rclpy.init()
    node = rclpy.create_node('bench_web')
    image = Image(width=640, height=480, encoding='rgb8', step=1920, data=bytes(640 * 480 * 3))
    scan = LaserScan(angle_increment=math.tau / 720, range_max=10.0, ranges=[3.0] * 720)
    odometry = Odometry()
    odometry.pose.pose.orientation.w = 1.0
    for message, topic, rate in ((image, '/camera', CAMERA), (scan, '/scan', SCAN),
                                 (odometry, '/odom', ODOMETRY)):
        publisher = node.create_publisher(type(message), topic, 10)
        node.create_timer(1.0 / rate, lambda publisher=publisher, message=message:
                          publisher.publish(message))
    node.create_subscription(_twist(), '/cmd_vel', lambda _: None, 10)   # what the page may drive
    rclpy.spin(node)


def _twist() -> Any:
    from geometry_msgs.msg import Twist
    return Twist


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run this interpreter with arguments for a while."""
    running = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    try:
        yield running
    finally:
        running.terminate()
        running.communicate(timeout=10)


def measure(page: Any, bridge: psutil.Process, seconds: float) -> dict[str, float]:
    """Return the rates of the page, and the CPU of the bridge in % of a core."""
    page.run(COUNT_FRAMES)
    time.sleep(SETTLE)
    before, used, since = page.run(COUNTS), cpu(bridge), time.monotonic()
    time.sleep(seconds)
    after, spent, took = page.run(COUNTS), cpu(bridge) - used, time.monotonic() - since
    frames, pictures, scans = ((new - old) / took
                               for new, old in zip(after, before, strict=True))
    return {'bridge CPU %': 100 * spent / took, 'page frames/s': frames,
            'pictures/s': pictures, 'scans/s': scans}


def long_tasks(page: Any, url: str, topics: int, tries: int = 3) -> int:
    """Print the long tasks of several tries; 1 where each has some that are the page's."""
    script = page.driver.execute_cdp_cmd(
        'Page.addScriptToEvaluateOnNewDocument', {'source': NOTE_LONG_TASKS})
    print('| try | with the topics, ms | without, ms |\n|---|---|---|')
    good = False
    for number in range(1, tries + 1):
        page.load(url)
        page.wait(lambda: page.run(SHOWN) >= topics, 'a row for each')
        page['topic-filter'].send_keys('t29')
        page.wait(lambda: page.run(SHOWN) == 10, 'the filter')
        page['topic-filter'].clear()
        page['topic-filter'].send_keys(' \b')
        time.sleep(WATCHED)
        found = page.run(LONG_TASKS, page.run('return connectedAt;'))
        page.show('log')        # what the machine does without the topics
        since = page.run('return performance.now();')
        time.sleep(WATCHED)
        without = page.run(LONG_TASKS, since)
        page.show('topics')     # the layout is remembered
        good |= not found
        print(f'| {number} | {", ".join(map(str, found)) or "none"} | '
              f'{", ".join(map(str, without)) or "none"} |', flush=True)
    page.driver.execute_cdp_cmd('Page.removeScriptToEvaluateOnNewDocument', script)
    print(f'no long task in a try: {"yes" if good else "NO"}')
    return 0 if good else 1


def main() -> int:
    """Measure once and print; 1 where a number is not good enough."""
    parser = argparse.ArgumentParser(description='The cost of one page.')
    parser.add_argument('--seconds', type=float, default=15.0)
    parser.add_argument('--topics', type=int, default=0, help='so many instead of a camera')
    parser.add_argument('--publish', action='store_true', help='be the publisher')
    arguments = parser.parse_args()
    if arguments.publish:
        publish_many(arguments.topics) if arguments.topics else publish()
        return 0
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from support.browser import browser, free_port
    os.environ.update(environment())
    port = free_port()
    many = ('--topics', str(arguments.topics))
    with process(__file__, '--publish', *many), process(
            '-m', 'ws_bridge', 'serve', '--ros-args', '-p', f'port:={port}') as bridge, \
            browser() as page:
        assert bridge.stdout is not None
        while 'listening on' not in (line := bridge.stdout.readline()):
            assert line, 'the bridge ended before it listened'
        if arguments.topics:
            return long_tasks(page, f'http://127.0.0.1:{port}/', arguments.topics)
        page.load(f'http://127.0.0.1:{port}/')
        page.wait(lambda: page['camera'].get_attribute('data-frames'), 'pictures')
        numbers = measure(page, psutil.Process(bridge.pid), arguments.seconds)
    for name, value in numbers.items():
        print(f'{name:15} {value:6.1f}')
    good = numbers['bridge CPU %'] < MOST_CPU \
        and numbers['page frames/s'] >= LEAST_FRAMES \
        and numbers['pictures/s'] > 0.9 * CAMERA and numbers['scans/s'] > 0.9 * SCAN
    print(f'less than {MOST_CPU:g} % and at least {LEAST_FRAMES:g} frames/s, all delivered: '
          f'{"yes" if good else "NO"}')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
