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
Measure the ROS side alone: CPU a message from ROS to the loop, without any WebSocket.

Beside it, in the same run, the same work by a bare loop (one wait set built once, no bounds, no
memory): what a Python process must spend at least.

    python test/bench/bench_pump.py [SECONDS]
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
import os
import subprocess
import sys
import threading
import time
from typing import Any

from geometry_msgs.msg import Twist
from rclpy.context import Context
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from ws_bridge.ros.settings import RosSettings
from ws_bridge.ros.side import RosSide

DEPTH = 1000
WARM_UP = 3.0  # the graph is known, replaced subscriptions are gone
LOADS = [('twist', 1, 1000), ('twist', 50, 1000), ('string', 1, 20000), ('string', 1, 100000)]


def publish(kind: str, topics: int, rate: float, seconds: float) -> None:
    """Publish at a total rate, round the topics, until time is up (own process)."""
    context = Context()
    context.init(args=[])
    node = Node('load', context=context)
    msg_type = Twist if kind == 'twist' else String
    cdr = serialize_message(Twist() if kind == 'twist' else String(data='x' * 20))
    publishers = [node.create_publisher(msg_type, f'/bench/{kind}_{number}',
                                        QoSProfile(depth=DEPTH)) for number in range(topics)]
    while not all(each.get_subscription_count() for each in publishers):
        time.sleep(0.01)
    time.sleep(0.2)
    begin = time.monotonic()
    sent = refused = 0
    while (elapsed := time.monotonic() - begin) < seconds:
        due = int(elapsed * rate)
        for number in range(sent, due):
            try:
                publishers[number % topics].publish(cdr)
            except RuntimeError:  # the middleware gave up after 0.1 s: too much for this machine
                refused += 1
        sent = max(sent, due)
        time.sleep(0.0005)
    print(sent - refused, flush=True)
    node.destroy_node()
    context.try_shutdown()


def bare(loop: asyncio.AbstractEventLoop, kind: str, topics: int, count: Callable[[int], None]
         ) -> Callable[[], None]:
    """Take with a bare loop; return what ends it."""
    context = Context()
    context.init(args=[])
    node = Node('bare', context=context)
    msg_type: Any = Twist if kind == 'twist' else String
    entities = [node.create_subscription(msg_type, f'/bench/{kind}_{number}', lambda _: None,
                                         QoSProfile(depth=DEPTH), raw=True)
                for number in range(topics)]
    handles: dict[int, Any] = {each.handle.pointer: each.handle for each in entities}
    ended = threading.Event()

    def run() -> None:
        handle: Any = context.handle
        with ExitStack() as stack:
            stack.enter_context(handle)
            for each in handles.values():
                stack.enter_context(each)
            wait_set = _rclpy.WaitSet(len(handles), 0, 0, 0, 0, 0, handle)
            stack.enter_context(wait_set)
            while not ended.is_set():
                wait_set.clear_entities()
                for each in handles.values():
                    wait_set.add_subscription(each)
                wait_set.wait(10 ** 8)
                batch = []
                for pointer in wait_set.get_ready_entities('subscription'):
                    take = handles[pointer].take_message
                    while (taken := take(msg_type, True)) is not None:
                        batch.append(taken[0])
                if batch:
                    loop.call_soon_threadsafe(count, len(batch))
    thread = threading.Thread(target=run)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join()
        node.destroy_node()
        context.try_shutdown()
    return end


def ros_side(loop: asyncio.AbstractEventLoop, kind: str, topics: int,
             count: Callable[[int], None]) -> Callable[[], None]:
    """Take with the ROS side; return what ends it."""
    side = RosSide(RosSettings(subscription_depth=DEPTH), post=loop.call_soon_threadsafe)
    side.start()
    msg_type = 'geometry_msgs/msg/Twist' if kind == 'twist' else 'std_msgs/msg/String'
    for number in range(topics):
        side.subscribe(f'/bench/{kind}_{number}', msg_type, None,
                       lambda samples, taken: count(len(samples)), print)
    return side.shutdown


async def measure(name: str, take: Callable[..., Callable[[], None]], kind: str, topics: int,
                  rate: float, seconds: float) -> None:
    """Print one row."""
    loop = asyncio.get_running_loop()
    received = 0
    flowing = asyncio.Event()

    def count(samples: int) -> None:
        nonlocal received
        received += samples
        flowing.set()
    load = await asyncio.create_subprocess_exec(
        sys.executable, __file__, 'publish', kind, str(topics), str(rate),
        str(seconds + WARM_UP), stdout=subprocess.PIPE)
    end = take(loop, kind, topics, count)
    await flowing.wait()
    await asyncio.sleep(WARM_UP)
    before, cpu, begin = received, time.process_time(), time.monotonic()
    await asyncio.sleep(seconds - 1.0)
    spent, taken = time.process_time() - cpu, received - before
    elapsed = time.monotonic() - begin
    output, _ = await load.communicate()
    await asyncio.sleep(0.3)
    end()
    print(f'{name:9} {kind:6} {topics:3} topics  {taken / elapsed:8.0f} /s '
          f'{spent / max(taken, 1) * 1e6:7.1f} us CPU a message   '
          f'{int(output) - received:6} of {int(output)} lost', flush=True)


def main() -> None:
    """Measure every load, bare loop and ROS side by turns."""
    os.environ.setdefault('ROS_DOMAIN_ID', '99')
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if sys.argv[1:2] == ['publish']:
        kind, topics, rate, seconds = sys.argv[2:]
        publish(kind, int(topics), float(rate), float(seconds))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    for kind, topics, rate in LOADS:
        for name, take in (('bare', bare), ('ros side', ros_side)):
            asyncio.run(measure(name, take, kind, topics, rate, seconds))


if __name__ == '__main__':
    main()
