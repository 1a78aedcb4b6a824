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
"""The guard of a gate: escalations, failures, and anything in any order against a plain model."""
from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, RuleBasedStateMachine
import pytest

from ws_bridge.errors import Unavailable
from ws_bridge.safety.policy import LossStep
from ws_bridge.stop_process.guard import RETRY, schedule, StopGuard

TIMEOUT = 0.5
ZERO, MESSAGE = b'\0\1\0\0zero', b'\0\1\0\0message'


@dataclass
class FakeOutput:
    """Keeps what is published; ``broken`` topics refuse it."""

    said: list[tuple[int, bytes]] = field(default_factory=list)
    told: list[tuple[str, int]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    rests: int = 0
    broken: set[int] = field(default_factory=set)

    def publish(self, topic: int, cdr: bytes) -> None:
        if topic in self.broken:
            raise Unavailable('made up')
        self.said.append((topic, cdr))

    def subscribers(self, topic: int) -> int:
        return 1

    def ros_time(self) -> tuple[int, int]:
        return 7, 8

    def call(self, guard: StopGuard, step: int) -> None:
        self.calls.append(step)

    def stopped(self, guard: StopGuard, reason: str, subscribers: int, after: float) -> None:
        self.told.append((reason, subscribers))

    def rested(self, guard: StopGuard) -> None:
        self.rests += 1

    def alarm(self, guard: StopGuard, text: str) -> None:
        self.alarms.append(text)


def make(*steps: LossStep, topics: int = 1, stamped: bool = False) -> tuple[StopGuard, FakeOutput]:
    """Return a guard of topics 1 and so on, and where it publishes."""
    output = FakeOutput()
    steps = steps or (LossStep('zero', times=3, rate=10.0),)
    guard = StopGuard(9, TIMEOUT, steps, output)
    stops = tuple({'zero': ZERO, 'message': MESSAGE}.get(step.action) for step in steps)
    for key in range(1, topics + 1):
        guard.add(key, stops, stamped=stamped)
    return guard, output


@pytest.mark.parametrize(('steps', 'plan'), [
    ((), []),
    ((LossStep('silence'),), []),
    ((LossStep('zero', times=2, rate=10.0),), [(0.0, 0), (0.1, 0)]),
    ((LossStep('zero', times=1), LossStep('message', after=2.0, times=2, rate=2.0)),
     [(0.0, 0), (2.0, 1), (2.5, 1)]),
    # a later step ends the repetitions of an earlier one, silence too
    ((LossStep('message', times=9, rate=10.0), LossStep('zero', after=0.2, times=1)),
     [(0.0, 0), (0.1, 0), (0.2, 1)]),
    ((LossStep('zero', times=9, rate=10.0), LossStep('silence', after=0.15)),
     [(0.0, 0), (0.1, 0)]),
    # a service is called beside
    ((LossStep('zero', times=2, rate=1.0), LossStep('service', after=0.5)),
     [(0.0, 0), (0.5, 1), (1.0, 0)]),
    ((LossStep('service', after=5.0), LossStep('silence', after=1.0)), [(5.0, 0)]),
])
def test_schedule(steps: tuple[LossStep, ...], plan: list[tuple[float, int]]) -> None:
    assert schedule(steps) == plan


def test_silence_climbs_the_ladder() -> None:
    guard, output = make()
    guard.feed(1, moving=True, now=10.0)
    assert guard.poll(10.4) == 10.5
    assert output.said == []
    assert guard.poll(10.5) == pytest.approx(10.6)
    assert output.said == [(1, ZERO)]
    assert output.told == [('timeout', 1)]
    assert (guard.generation, guard.moving, guard.stopping) == (1, False, True)
    guard.poll(10.71)
    assert output.said == [(1, ZERO)] * 3
    assert (guard.poll(11.0), guard.stopping, output.rests) == (None, False, 1)


def test_a_stop_that_fails_is_an_alarm_and_is_tried_again() -> None:
    guard, output = make(LossStep('zero', times=1), topics=2)
    for key in (1, 2):
        guard.feed(key, moving=True, now=10.0)
    output.broken = {1}
    assert guard.stop('estop', 10.1)
    # the other topic stops all the same; nobody is told that it is stopped
    assert output.said == [(2, ZERO)]
    assert output.told == []
    assert (output.alarms, guard.alarm) == (['made up'], 'made up')
    assert guard.needs(1)
    due = guard.poll(10.1)
    assert due == pytest.approx(10.1 + RETRY)
    guard.poll(10.16)
    assert output.told == []
    output.broken = set()
    guard.poll(10.3)
    assert output.said == [(2, ZERO), (1, ZERO)]
    assert output.told == [('estop', 2)]
    assert output.alarms == ['made up', '']
    assert guard.poll(10.4) is None


def test_a_command_ends_the_ladder_and_the_alarm() -> None:
    guard, output = make()
    guard.feed(1, moving=True, now=1.0)
    output.broken = {1}
    guard.stop('left', 1.1)
    output.broken = set()
    guard.feed(1, moving=False, now=1.11)
    assert (guard.alarm, guard.stopping, output.told) == ('', False, [])
    assert guard.poll(9.0) is None
    assert output.said == []


def test_services_are_called_and_stamps_are_those_of_the_stop() -> None:
    guard, output = make(LossStep('zero', times=1), LossStep('service', after=0.2), stamped=True)
    guard.feed(1, moving=True, now=1.0)
    guard.stop('left', 1.0)
    assert output.said[0][1][4:12] == (7).to_bytes(4, 'little') + (8).to_bytes(4, 'little')
    assert output.calls == []
    guard.poll(1.2)
    assert output.calls == [1]


def test_a_silent_ladder_is_told() -> None:
    guard, output = make(LossStep('silence'))
    guard.feed(1, moving=True, now=1.0)
    guard.poll(1.5)
    assert (output.said, output.told) == ([], [('timeout', 1)])
    assert not guard.needs(1)
    guard.remove(1)


class Machine(RuleBasedStateMachine):
    """
    Commands, silence, stops and failures of two topics.

    After a deadline a zero was published, and never a command of an older generation after it.
    """

    @initialize()
    def start(self) -> None:
        self.guard, self.output = make(LossStep('zero', times=2, rate=10.0), topics=2)
        self.now = 100.0
        self.moving: dict[int, float] = {}

    @rule(key=st.sampled_from([1, 2]), moving=st.booleans(), late=st.booleans())
    def command(self, key: int, moving: bool, late: bool) -> None:
        generation = self.guard.generation - late
        # the stop process: a deadline that has passed comes first, then the generation is judged
        self.guard.poll(self.now)
        if generation != self.guard.generation or key in self.output.broken:
            return
        self.guard.feed(key, moving=moving, now=self.now)
        self.output.said.append((key, b'moving' if moving else b'neutral'))
        if moving:
            self.moving[key] = self.now
        else:
            self.moving.pop(key, None)

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.2, 0.6, 5.0]), polled=st.booleans())
    def time_passes(self, seconds: float, polled: bool) -> None:
        self.now += seconds
        if polled:
            self.guard.poll(self.now)

    @rule()
    def stop(self) -> None:
        moved = self.guard.moving
        assert self.guard.stop('taken', self.now) is moved

    @rule(key=st.sampled_from([1, 2]))
    def break_or_mend(self, key: int) -> None:
        self.output.broken ^= {key}

    @precondition(lambda self: self.guard.stopping)
    @rule()
    def wait(self) -> None:
        self.now += 0.3
        self.guard.poll(self.now)

    @invariant()
    def is_stopped_in_time(self) -> None:
        if not hasattr(self, 'guard'):
            return
        due = self.guard.poll(self.now)
        assert due is None or due > self.now
        for key, fed in self.moving.items():
            last = [cdr for topic, cdr in self.output.said if topic == key][-1]
            if self.now >= fed + TIMEOUT and last == b'moving':
                # not stopped in time: then it is an alarm, and is tried again
                assert self.guard.alarm or self.guard.generation
                assert key in self.output.broken or due is not None
        if self.guard.alarm:
            assert self.output.broken or self.guard.stopping

    def teardown(self) -> None:
        if hasattr(self, 'guard'):
            self.output.broken = set()
            for _ in range(10):
                self.now += 0.6
                self.guard.poll(self.now)
            assert not self.guard.moving
            assert not self.guard.alarm
            for key in self.moving:
                assert [cdr for topic, cdr in self.output.said if topic == key][-1] == ZERO


TestMachine = Machine.TestCase
