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
"""The watchdog on a real node: what is published when commands cease, and what never is."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
import signal
import threading
import time
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
import pytest
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from std_srvs.srv import SetBool
from support.ros_harness import FakeLoop, OtherNode, QUICK, running_side

from ws_bridge.errors import Expired, Stopped, UnknownType, WsBridgeError
from ws_bridge.ros.guard import Guard, GuardEvents
from ws_bridge.ros.publishers import Publisher
from ws_bridge.ros.side import RosSide
from ws_bridge.safety.policy import LossStep

DEEP = QoSProfile(depth=1000)
TWIST = 'geometry_msgs/msg/Twist'
ZERO = LossStep('zero', times=3, rate=100.0)
SOON = 0.1
NEVER = 3600.0

pytestmark = pytest.mark.usefixtures('tidy')


def twist(x: float) -> bytes:
    message = Twist()
    message.linear.x = float(x)
    return bytes(serialize_message(message))


def events(stopped: Any = print, refused: Any = print, alarm: Any = print) -> GuardEvents:
    return GuardEvents(stopped, refused, alarm, print)


@dataclass
class Rig:
    """A guard, a publisher that is ready, and what a subscriber hears."""

    loop: FakeLoop
    guard: Guard
    publisher: Publisher
    take: Callable[[], list[Any]]
    stopped: list[tuple[str, int, float]] = field(default_factory=list)

    def command(self, x: float, generation: int | None = None) -> bool:
        return self.guard.publish(
            self.publisher, twist(x), self.guard.generation if generation is None else generation,
            moving=x != 0, deadline=inf)

    def heard(self) -> list[float]:
        return [message.linear.x for message in self.take()]

    def hears(self, *values: float) -> None:
        """Wait for exactly these, from the beginning."""
        self.loop.until(lambda: len(self.heard()) >= len(values), self.heard)
        assert self.heard() == list(values)


@pytest.fixture
def rig(loop: FakeLoop, side: RosSide, other: OtherNode, topic: str, tidy: None
        ) -> Iterator[Callable[..., Any]]:
    """Return what makes a rig; nothing is published after the last of what a test heard."""
    @contextmanager
    def make(timeout: float = NEVER, *steps: LossStep, side: RosSide = side) -> Iterator[Rig]:
        with other.hearing(topic, DEEP, Twist) as take:
            loop.until(lambda: topic in side.graph.topics)
            publisher = side.advertise(topic, TWIST, None, print)
            loop.until(lambda: publisher.ready)
            stopped: list[tuple[str, int, float]] = []
            guard = side.watchdog.guard(
                topic, timeout, steps or (ZERO,),
                events(lambda _, reason, subscribers, after: stopped.append(
                    (reason, subscribers, after))))
            guard.add(publisher, tuple(
                None if step.action in ('silence', 'service')
                else twist(9 if step.action == 'message' else 0) for step in steps or (ZERO,)))
            made = Rig(loop, guard, publisher, take, stopped)
            assert made.command(0)  # and when the stop process is ready, and matched
            # beside that of the bridge's own publisher
            zeros = 1 + any(step.action == 'zero' for step in steps or (ZERO,))
            loop.until(lambda: len(take()) == zeros)
            take().clear()
            yield made
            guard.close()
    yield make


def test_silence_of_the_commands_stops_while_the_loop_hangs(rig: Any) -> None:
    with rig(SOON) as r:
        begin = time.monotonic()
        assert r.command(0.5)
        # the loop does not run: who waits here is the test's thread
        while len(r.heard()) < 4:
            assert time.monotonic() < begin + 15
            time.sleep(0.002)
        assert time.monotonic() - begin >= SOON
        assert r.heard() == [0.5, 0, 0, 0]
        assert r.stopped == []
        # what the loop would publish now, in the right that it had before, is refused
        assert not r.command(0.7, 0)
        r.loop.until(lambda: r.stopped)
        ((reason, subscribers, after),) = r.stopped
        assert (reason, subscribers) == ('timeout', 1)
        assert after >= SOON
        assert r.guard.generation == 1
        r.loop.until(lambda: r.guard.state == 'idle')   # told after the last stop is published
        assert r.heard() == [0.5, 0, 0, 0]


def test_commands_that_go_on_are_not_stopped(rig: Any) -> None:
    with rig(0.3) as r:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            assert r.command(0.5)
            time.sleep(0.01)
        assert r.command(0)
        r.loop.run()
        assert r.stopped == []
        assert set(r.heard()[:-1]) == {0.5}


def test_what_rests_is_not_stopped(rig: Any) -> None:
    with rig(SOON) as r:
        assert r.command(0.5)
        assert r.command(0)
        assert r.guard.state == 'idle'
        assert not r.guard.stop('left')
        assert r.guard.generation == 1
        r.loop.run()
        assert r.stopped == []
        r.hears(0.5, 0)


def test_stop_publishes_before_it_returns(rig: Any) -> None:
    with rig(NEVER, LossStep('zero', times=1)) as r:
        r.command(0.5)
        assert r.guard.stop('taken')
        assert not r.guard.stop('taken')
        r.hears(0.5, 0)
        r.loop.until(lambda: r.stopped)
        assert [(reason, subscribers) for reason, subscribers, _ in r.stopped] == [('taken', 1)]


def test_nothing_follows_a_stop_that_comes_between(rig: Any) -> None:
    with rig(NEVER, LossStep('zero', times=1)) as r:
        begun = threading.Event()

        def flood() -> None:
            while r.command(0.5, 0):
                begun.set()
        thread = threading.Thread(target=flood)
        thread.start()
        begun.wait()
        r.guard.stop('taken')
        thread.join()
        r.loop.until(lambda: 0 in r.heard())
        assert r.heard()[-1] == 0
        assert r.heard().count(0) == 1


def test_a_new_command_ends_the_ladder(rig: Any) -> None:
    with rig(NEVER, LossStep('zero', times=2, rate=10.0), LossStep('message', after=0.5)) as r:
        r.command(0.5)
        r.guard.stop('left')
        assert r.guard.state == 'stopping'
        assert r.command(0.0)
        r.loop.until(lambda: r.guard.state == 'idle')
        assert r.command(0.7)
        assert r.guard.state == 'armed'
        r.hears(0.5, 0, 0, 0.7)


def test_a_stop_leaves_the_ladder_that_runs(rig: Any) -> None:
    with rig(NEVER, ZERO) as r:
        r.command(0.5)
        assert r.guard.stop('left')
        assert not r.guard.stop('taken')
        assert r.guard.generation == 2
        r.hears(0.5, 0, 0, 0)
        r.loop.run()
        assert len(r.stopped) == 1


def test_silence_publishes_nothing_and_tells(rig: Any) -> None:
    with rig(SOON, LossStep('silence')) as r:
        r.command(0.5)
        r.loop.until(lambda: r.stopped)
        assert not r.command(0.7, 0)
        assert r.command(0)
        r.hears(0.5, 0)


def test_ladder_of_messages(rig: Any) -> None:
    with rig(SOON, LossStep('message', times=2, rate=50.0), LossStep('zero', after=0.2, times=1)
             ) as r:
        r.command(0.5)
        r.hears(0.5, 9, 9, 0)


def test_ladder_calls_a_service(rig: Any, loop: FakeLoop, side: RosSide, topic: str) -> None:
    calls: list[bytes] = []

    def on_request(token: int, cdr: bytes) -> None:
        calls.append(cdr)
        hosted.reply(token, bytes(serialize_message(SetBool.Response(success=True))))
    hosted = side.host(f'{topic}_stop', 'std_srvs/srv/SetBool', on_request, print)
    loop.until(lambda: f'{topic}_stop' in side.graph.services)
    step = LossStep('service', service=f'{topic}_stop', srv_type='std_srvs/srv/SetBool',
                    request={'data': True})
    with rig(SOON, step) as r:
        r.command(0.5)
        loop.until(lambda: calls)
        assert calls[0][4] == 1
        r.hears(0.5)


def test_a_wrong_service_is_known_at_once(side: RosSide) -> None:
    with pytest.raises(UnknownType):
        side.watchdog.guard('bad', 1.0, (LossStep('service', service='/a', srv_type='a/srv/B'),),
                            events())
    assert all('bad' not in row[0] for row in side.watchdog.diagnostics())


def test_each_topic_has_its_own_time(rig: Any, loop: FakeLoop, side: RosSide, other: OtherNode,
                                     topic: str) -> None:
    with rig(0.3, ZERO) as r, other.hearing(f'{topic}_2', DEEP, Twist) as take:
        loop.until(lambda: f'{topic}_2' in side.graph.topics)
        second = side.advertise(f'{topic}_2', TWIST, None, print)
        r.guard.add(second, (twist(0),))
        second.publish(twist(-1))
        loop.until(lambda: second.ready)
        assert r.guard.publish(second, twist(0.2), 0, moving=True, deadline=inf)
        begin = time.monotonic()
        while r.command(0.5, 0):
            assert time.monotonic() < begin + 15
            time.sleep(0.01)
        loop.until(lambda: len(take()) >= 6)
        # the first zero is of the bridge's own publisher
        assert [message.linear.x for message in take()] == [-1, 0, 0.2, 0, 0, 0]
        loop.until(lambda: r.heard()[-3:] == [0, 0, 0])
        loop.until(lambda: r.stopped)
        assert r.stopped[0][:2] == ('timeout', 2)


def test_what_waits_for_subscribers_is_dropped_by_a_stop(loop: FakeLoop, other: OtherNode,
                                                         topic: str) -> None:
    results: list[WsBridgeError | None] = []
    refused: list[WsBridgeError] = []
    with other.hearing(topic, DEEP, Twist) as take, running_side(loop) as side:
        loop.until(lambda: topic in side.graph.topics)
        publisher = side.advertise(topic, TWIST, None, refused.append)
        launch, go = side.watchdog._launch, threading.Event()

        def late(fd: int) -> Any:
            go.wait()
            return launch(fd)
        side.watchdog._launch = late
        guard = side.watchdog.guard('base', NEVER, (ZERO,), events(
            refused=lambda _, error: refused.append(error)))
        guard.add(publisher, (twist(0),))
        assert guard.publish(publisher, twist(0.5), 0, moving=True, deadline=inf)
        assert guard.publish(publisher, twist(0.6), 0, moving=True, deadline=inf,
                             on_done=results.append)
        assert guard.stop('left')
        assert not guard.publish(publisher, twist(0.7), 0, moving=True, deadline=inf)
        assert guard.publish(publisher, twist(0), 1, moving=False, deadline=inf,
                             on_done=results.append)
        go.set()
        loop.until(lambda: len(results) == 2)
        loop.until(take)
        assert {message.linear.x for message in take()} == {0}
        assert isinstance(results[0], Stopped)
        assert results[1] is None
        assert [type(error) for error in refused] == [Stopped]
        guard.close()


def test_a_command_that_comes_too_late_is_refused(rig: Any) -> None:
    with rig() as r:
        results: list[WsBridgeError | None] = []
        assert r.guard.publish(r.publisher, twist(0.5), 0, moving=True,
                               deadline=time.monotonic() - 0.001, on_done=results.append)
        r.loop.until(lambda: results)
        assert isinstance(results[0], Expired)
        assert r.command(0)
        r.hears(0)


def test_a_closed_publisher_still_says_the_stop(rig: Any, loop: FakeLoop, side: RosSide) -> None:
    with rig(SOON) as r:
        r.command(0.5)
        r.guard.close_publisher(r.publisher)
        r.hears(0.5, 0, 0, 0)
        loop.until(lambda: r.stopped)
        assert r.stopped[0][:2] == ('timeout', 1)
        loop.until(lambda: r.publisher._entity is None)


def test_stop_all_in_a_signal_handler_waits_for_no_lock(rig: Any, side: RosSide) -> None:
    with rig(NEVER, LossStep('zero', times=1)) as r:
        r.command(0.5)
        before = signal.signal(signal.SIGUSR1, lambda *_: side.watchdog.stop_all('shutdown'))
        try:
            with side.watchdog._lock:
                signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        r.hears(0.5, 0)
        r.loop.until(lambda: r.guard.generation == 1)
        assert not r.command(0, 1)
        side.watchdog.resume()
        assert r.command(0, 1)
        r.hears(0.5, 0, 0)


def test_shutdown_says_the_ladder_to_its_end(rig: Any, loop: FakeLoop, other: OtherNode) -> None:
    def watchdogs() -> int:
        return [each.name for each in threading.enumerate()].count('ws_bridge watchdog')
    before = watchdogs()
    with running_side(loop, QUICK) as own:
        assert watchdogs() == before + 1
        loop.until(lambda: own.graph.nodes)
        with rig(NEVER, LossStep('zero', times=3, rate=20.0), side=own) as r:
            r.command(0.5)
            own.shutdown()
            r.hears(0.5, 0, 0, 0)
            r.loop.until(lambda: r.stopped)
            assert r.stopped[0][0] == 'shutdown'
            assert not r.command(0.5)
    assert watchdogs() == before


def test_headers_are_stamped_when_the_stop_is_said(loop: FakeLoop, side: RosSide,
                                                   other: OtherNode, topic: str) -> None:
    moving = TwistStamped()
    moving.header.frame_id = 'base_link'
    moving.twist.linear.x = 1.0
    zero = TwistStamped()
    zero.header.frame_id = 'base_link'
    with other.hearing(topic, DEEP, TwistStamped) as take:
        loop.until(lambda: topic in side.graph.topics)
        publisher = side.advertise(topic, 'geometry_msgs/msg/TwistStamped', None, print)
        guard = side.watchdog.guard('base', NEVER, (LossStep('zero', times=1),), events())
        guard.add(publisher, (bytes(serialize_message(zero)),))
        before = side.now()
        guard.publish(publisher, bytes(serialize_message(moving)), 0, moving=True, deadline=inf)
        loop.until(lambda: len(take()) == 2)
        guard.stop('left')
        loop.until(lambda: len(take()) == 3)
        assert [message.twist.linear.x for message in take()] == [0, 1.0, 0]
        for message in take()[::2]:     # the first one is of the bridge's own publisher
            stamp = message.header.stamp
            assert before <= (stamp.sec, stamp.nanosec) <= side.now()
            assert message.header.frame_id == 'base_link'
        guard.close()


def test_diagnostics_name_every_guard(rig: Any, side: RosSide, loop: FakeLoop, topic: str
                                      ) -> None:
    with rig(NEVER, LossStep('zero', times=2, rate=2.0)) as r:
        def rows() -> list[Any]:
            return [row for row in side.watchdog.diagnostics() if row[0].endswith(topic)]

        def row() -> Any:
            return rows()[0]
        assert row()[1:3] == (0, 'idle')
        r.command(0.5)
        assert row()[1:3] == (0, 'armed')
        r.guard.stop('taken')
        assert row()[1:3] == (1, 'stopping')
        values = dict(row()[3])
        assert (values['stops'], values['timeout']) == ('1', '3600')
        assert values['last stop'].startswith('taken, ')
        r.hears(0.5, 0, 0)
    assert rows() == []
