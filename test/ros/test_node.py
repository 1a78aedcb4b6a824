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

from collections.abc import Iterator
import threading
import time
from typing import Any

import pytest
from rclpy.context import Context
from support.ros_harness import FakeLoop

from ws_bridge.errors import ConfigError
from ws_bridge.ros import node as node_module
from ws_bridge.ros.node import RosNode


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def ros(loop: FakeLoop) -> Iterator[RosNode]:
    ros = RosNode('tested', '', [], post=loop.post, on_fault=loop.faults.append)
    ros.start()
    yield ros
    ros.stop(lambda: None)
    assert ros.join(5.0)
    ros.discard()
    ros.submit(pytest.fail)  # harmless now


def test_requests_run_in_order_on_one_thread(ros: RosNode, loop: FakeLoop) -> None:
    ran: list[tuple[int, int]] = []
    for number in range(500):
        ros.submit(lambda number=number: ran.append((number, threading.get_ident())))
    loop.until(lambda: len(ran) == 500)
    assert [number for number, _ in ran] == list(range(500))
    assert len({thread for _, thread in ran}) == 1
    assert ran[0][1] != threading.get_ident()


def test_requests_of_several_threads_all_run(ros: RosNode, loop: FakeLoop) -> None:
    ran: list[int] = []

    def ask() -> None:
        for _ in range(300):
            ros.submit(lambda: ran.append(1))
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.until(lambda: len(ran) == 1200)
    loop.until(lambda: ros.idle)


def test_what_a_lost_trigger_asked_for_is_done(loop: FakeLoop) -> None:
    """Seen once: the executor waited for ever with requests that nothing woke it for."""
    ran: list[int] = []
    ros = RosNode('tested', '', [], post=loop.post, on_fault=loop.faults.append)
    ros._awake = True       # as if the first trigger was lost
    ros.submit(lambda: ran.append(1))

    def ring_later() -> None:
        ros.after(0.2, lambda: ran.append(3))
    ros.submit(ring_later)
    ros.start()
    loop.until(lambda: ran == [1] and ros.idle)
    ros._awake = True
    ros.submit(lambda: ran.append(2))
    loop.until(lambda: ran == [1, 2, 3])
    ros.stop(lambda: None)
    assert ros.join(5.0)
    ros.discard()
    assert not loop.faults


def test_alarms_ring_in_the_order_of_their_time(ros: RosNode, loop: FakeLoop) -> None:
    rung: list[tuple[str, float]] = []
    begin = time.monotonic()

    def note(name: str) -> Any:
        return lambda: rung.append((name, time.monotonic() - begin))

    def set_alarms() -> None:
        ros.after(0.15, note('late'))
        ros.after(0.10, note('cancelled')).cancel()
        ros.after(0.05, note('early'))
        ros.after(0.0, note('now'))
    ros.submit(set_alarms)
    loop.until(lambda: len(rung) == 3)
    assert [name for name, _ in rung] == ['now', 'early', 'late']
    assert all(at >= due for (_, at), due in zip(rung, (0.0, 0.05, 0.15), strict=True))


def test_an_alarm_may_set_another(ros: RosNode, loop: FakeLoop) -> None:
    rung: list[int] = []

    def ring() -> None:
        rung.append(1)
        if len(rung) < 5:
            ros.after(0.001, ring)
    ros.submit(ring)
    loop.until(lambda: len(rung) == 5)


def test_faults_are_reported_and_the_next_request_runs(ros: RosNode, loop: FakeLoop) -> None:
    ran: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError
    ros.submit(fail)
    ros.submit(lambda: ros.after(0.0, fail))  # type: ignore[arg-type,return-value]
    ros.submit(lambda: ran.append(1))
    loop.until(lambda: ran and len(loop.faults) == 2)
    assert [type(fault) for fault in loop.faults] == [ZeroDivisionError] * 2


def test_a_callback_that_fails_in_rclpy_is_reported(ros: RosNode, loop: FakeLoop) -> None:
    ran: list[int] = []

    def fail() -> None:
        timer.cancel()
        raise ZeroDivisionError
    timer = ros.node.create_timer(0.001, fail)
    loop.until(lambda: loop.faults)
    ros.submit(lambda: ran.append(1))
    loop.until(lambda: ran)
    assert [type(fault) for fault in loop.faults] == [ZeroDivisionError]


def test_it_gives_up_after_faults_in_a_row(loop: FakeLoop) -> None:
    ros = RosNode('broken', '', [], post=loop.post, on_fault=loop.faults.append)

    def fail() -> None:
        raise ZeroDivisionError
    ros._executor.spin_once = fail  # type: ignore[method-assign,assignment]
    ros.start()
    loop.until(lambda: len(loop.faults) == node_module.MAX_FAULTS)
    assert ros.join(5.0)
    ros.discard()


def test_a_context_that_is_shut_down_ends_the_thread(loop: FakeLoop) -> None:
    context = Context()
    context.init(args=[])
    ros = RosNode('left', '', [], post=loop.post, on_fault=loop.faults.append, context=context)
    ros.start()
    context.try_shutdown()
    assert ros.join(5.0)
    ros.discard()
    assert loop.faults == []


@pytest.mark.parametrize(('name', 'args'), [
    ('not a name', []),
    ('fine', ['--ros-args', '-r', 'nonsense']),
    ('fine', ['--ros-args', '--no-such-option']),
    ('fine', ['--ros-args', '-r', '__ns:=//']),
    ('fine', ['--ros-args', '--params-file', '/no/such/file']),
])
def test_wrong_arguments(loop: FakeLoop, name: str, args: list[str]) -> None:
    with pytest.raises(ConfigError):
        RosNode(name, '', args, post=loop.post, on_fault=loop.faults.append)
