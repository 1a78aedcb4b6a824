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
from __future__ import annotations

from contextlib import closing
import signal
import threading
import time

import pytest
from rclpy.context import Context
from rosgraph_msgs.msg import Clock
from support.ros_harness import FakeLoop, OtherNode, QUICK, RELIABLE, running_side

from ws_bridge.errors import ConfigError, Unavailable
from ws_bridge.ros.side import RosSide

STRING = 'std_msgs/msg/String'


def own_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith('ws_bridge')]


def test_three_threads_while_it_runs_and_none_after(loop: FakeLoop) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with running_side(loop) as side:
        assert sorted(own_threads()) == [
            'ws_bridge executor', 'ws_bridge pump', 'ws_bridge watchdog']
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
        side.start()  # changes nothing
        assert len(own_threads()) == 3
        assert repr(side) == '<RosSide running, 0 owned>'
    assert own_threads() == []
    assert repr(side) == '<RosSide shut down, 0 owned>'


def test_shutdown_twice_and_before_the_start(loop: FakeLoop) -> None:
    side = RosSide(QUICK, post=loop.post)
    side.shutdown()
    with pytest.raises(Unavailable):
        side.start()
    side = RosSide(QUICK, post=loop.post)
    side.start()
    side.shutdown()
    side.shutdown()
    assert own_threads() == []
    with pytest.raises(Unavailable):
        side.start()


def test_shutdown_during_the_start(loop: FakeLoop) -> None:
    for _ in range(5):
        side = RosSide(QUICK, post=loop.post)
        refused: list[Unavailable] = []

        def start(side: RosSide = side, refused: list[Unavailable] = refused) -> None:
            try:
                side.start()
            except Unavailable as exc:
                refused.append(exc)
        thread = threading.Thread(target=start)
        thread.start()
        side.shutdown()
        thread.join()
        side.shutdown()
        assert own_threads() == []


def test_shutdown_with_everything_open(loop: FakeLoop) -> None:
    with closing(OtherNode()) as other, other.publisher('/flow', RELIABLE) as entity:
        side = RosSide(QUICK, post=loop.post, on_fault=loop.faults.append)
        side.start()
        for number in range(20):
            side.subscribe('/flow', STRING, None, lambda samples, taken: None, print)
            side.advertise(f'/out_{number}', STRING, None, print)
            side.host(f'/serve_{number}', 'std_srvs/srv/Trigger', lambda token, cdr: None, print)
            side.call('/nobody', 'std_srvs/srv/Trigger', b'\0\1\0\0\0', 60.0, lambda result: None)
        loop.until(lambda: entity.get_subscription_count() == 20)
        side.shutdown()
        loop.run()
        loop.until(lambda: entity.get_subscription_count() == 0)
    assert own_threads() == []
    assert loop.faults == []


def test_closing_after_the_shutdown_is_harmless(loop: FakeLoop) -> None:
    with running_side(loop) as side:
        owned = [side.subscribe('/t', STRING, None, lambda samples, taken: None, print),
                 side.advertise('/t', STRING, None, print),
                 side.host('/s', 'std_srvs/srv/Trigger', lambda token, cdr: None, print)]
        call = side.call('/none', 'std_srvs/srv/Trigger', b'\0\1\0\0\0', 60.0, lambda result: None)
    for each in owned:
        each.close()
    call.cancel()
    loop.run()


def test_nothing_works_when_it_does_not_run(loop: FakeLoop) -> None:
    side = RosSide(QUICK, post=loop.post)
    for _ in range(2):
        for action in (lambda: side.resolve('/x'), side.now, lambda: side.node_name,
                       lambda: side.subscribe('/x', None, None, print, print),
                       lambda: side.advertise('/x', STRING, None, print),
                       lambda: side.call('/x', 'std_srvs/srv/Trigger', b'', 1.0, print),
                       lambda: side.host('/x', 'std_srvs/srv/Trigger', print, print),
                       lambda: side.publish_status(diagnostics=[])):
            with pytest.raises(Unavailable):
                action()
        side.shutdown()


def test_a_start_that_fails_leaves_nothing(loop: FakeLoop) -> None:
    side = RosSide(QUICK, post=loop.post, args=['--ros-args', '-r', 'nonsense'])
    with pytest.raises(ConfigError):
        side.start()
    assert own_threads() == []
    side.shutdown()


def test_a_given_context_stays_up(loop: FakeLoop) -> None:
    context = Context()
    context.init(args=[])
    with running_side(loop, context=context) as side:
        assert side.node_name == '/ws_bridge'
    assert context.ok()
    context.try_shutdown()


def test_wall_time(loop: FakeLoop) -> None:
    with running_side(loop) as side:
        check_wall_time(side)


def check_wall_time(side: RosSide) -> None:
    before = time.time()
    seconds, nanoseconds = side.now()
    assert before - 0.001 <= seconds + nanoseconds * 1e-9 <= time.time() + 0.001
    assert 0 <= nanoseconds < 10 ** 9


def test_simulated_time(loop: FakeLoop) -> None:
    with running_side(loop, args=['--ros-args', '-p', 'use_sim_time:=true']) as side, \
            closing(OtherNode()) as other, other.publisher('/clock', RELIABLE, Clock) as clock:
        assert side.now() == (0, 0)

        def tick() -> bool:
            message = Clock()
            message.clock.sec, message.clock.nanosec = 42, 500
            clock.publish(message)
            return side.now() == (42, 500)
        loop.until(tick)
        # timeouts run on while simulated time stands still
        results: list[object] = []
        side.call('/nobody', 'std_srvs/srv/Trigger', b'\0\1\0\0\0', 0.2, results.append)
        loop.until(lambda: results)
        assert side.now() == (42, 500)
