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
The bridge's watchdog and its stop process together, whatever is killed, frozen or late.

The simulation asserts at every moment, as one who hears the topics: after a deadline a zero was
published by somebody, and never a command of before it follows.
"""
from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, RuleBasedStateMachine
import pytest
from support.simulation import (
    FakePublisher,
    MATCH_TIMEOUT,
    simulated,
    Simulation,
    STARTS_WITHIN,
    STEPS,
    TIMEOUT,
)

from ws_bridge.errors import Expired, Unavailable
from ws_bridge.ros.guard import INSIST
from ws_bridge.ros.watchdog import (
    END_WITHIN,
    HEARD_WITHIN,
    PING_EVERY,
    RESTART,
    STABLE,
    UNANSWERED,
)
from ws_bridge.stop_process import DISCOVERY, wire
from ws_bridge.stop_process.guard import StopGuard
from ws_bridge.stop_process.process import CLOSING, GREETING, StopProcess

GATES = {'drive': ('/left', '/right'), 'arm': ('/arm',)}
TOPICS = st.sampled_from(['/left', '/left', '/right', '/arm'])
SECONDS = st.sampled_from([0.0, 0.001, 0.03, 0.26, 0.5, 2.0])
HOLD = st.none() | st.tuples(st.integers(0, 100), st.sampled_from(['kill', 'freeze', 'pause']))
HALF, LONG = 0.01, 6.0
ANNOUNCED_EVERY = 3.0   # s, each node, by Fast DDS
ZEROS = STEPS[0].times


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """Give a simulation whose stop process is ready."""
    with simulated(1, GATES) as made:
        yield made


def test_silence_stops(simulation: Simulation) -> None:
    assert simulation.command('/left', moving=True)
    simulation.run(TIMEOUT - HALF)
    assert simulation.heard['/left'].moving
    simulation.run(2 * HALF)
    assert not simulation.heard['/left'].moving
    simulation.run(LONG)
    assert simulation.heard['/left'].zeros == 2


def test_a_rest_that_a_frozen_process_has_not_published_is_none(simulation: Simulation) -> None:
    assert simulation.command('/left', moving=True)
    simulation.run(HALF)
    process = simulation.stop_process
    assert process is not None
    process.frozen = True
    # the bridge knows only that the operator has let go, not that the robot has heard of it
    assert simulation.command('/left', moving=False)
    simulation.run(PING_EVERY + UNANSWERED + HALF)
    assert not simulation.heard['/left'].moving


def test_nobody_is_told_of_a_stop_while_a_rest_waits_in_a_frozen_process(
        simulation: Simulation) -> None:
    assert simulation.command('/left', moving=True)
    simulation.run(HALF)
    process = simulation.stop_process
    assert process is not None
    process.frozen = True
    assert simulation.command('/left', moving=False)
    simulation.stop('drive')


def test_a_rest_that_was_published_costs_no_stop(simulation: Simulation) -> None:
    assert simulation.command('/left', moving=True)
    assert simulation.command('/left', moving=False)
    simulation.run(HALF)
    simulation.run_loop()
    process = simulation.stop_process
    assert process is not None
    process.kill()
    simulation.run(LONG)
    assert simulation.heard['/left'].zeros == 0


def test_a_first_command_that_waited_is_stopped_while_the_bridge_is_frozen(
        simulation: Simulation) -> None:
    simulation.matched_within = 0.05
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    assert simulation.command('/left', moving=True, ttl=9.0)
    simulation.bridge.frozen = True     # nothing wakes the process but its own clock
    simulation.run(0.05 + MATCH_TIMEOUT + 2 * HALF)
    assert simulation.moving
    simulation.run(TIMEOUT + HALF)
    assert not simulation.moving
    simulation.bridge.frozen = False


def test_many_gates_are_stopped_by_one_message(simulation: Simulation,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    for topic in simulation.gate_of:
        assert simulation.command(topic, moving=True)
    simulation.run(HALF)
    assert simulation.moving
    told: list[object] = []
    send = simulation.watchdog._send
    monkeypatch.setattr(simulation.watchdog, '_send', lambda m: (told.append(m), send(m)))
    simulation.stop(*set(simulation.gate_of.values()))
    assert not simulation.moving
    assert [type(message) for message in told] == [wire.Stop]
    simulation.stop(*set(simulation.gate_of.values()))      # nothing to wait for
    assert [type(message) for message in told] == [wire.Stop] * 2


def test_a_gate_that_cannot_be_stopped_keeps_no_other_from_it(
        simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    for topic in simulation.gate_of:
        assert simulation.command(topic, moving=True)
    simulation.run(HALF)
    stop, failed = StopGuard.stop, []

    def fail(guard: StopGuard, reason: str, now: float) -> bool:
        if not failed:
            failed.append(guard)
            raise AssertionError('a fault')
        return stop(guard, reason, now)
    monkeypatch.setattr(StopGuard, 'stop', fail)
    simulation.stop(*set(simulation.gate_of.values()))
    assert not simulation.moving
    simulation.run_loop()
    assert 'a fault' in repr(simulation.faults.pop())


def test_a_rest_waits_for_its_subscriber_as_long_as_it_takes(simulation: Simulation) -> None:
    """Where zero is a stop the gate lets it: what moves passes because its sender has let go."""
    simulation.matched_within = 2.0
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    assert simulation.command('/left', moving=False, acknowledge=True, ttl=inf)
    assert simulation.command('/left', moving=True, acknowledge=True, ttl=0.2)
    simulation.run(1.0)
    simulation.run_loop()
    (answer,) = simulation.answers
    assert isinstance(answer, Expired)
    assert simulation.command('/left', moving=True, acknowledge=True, ttl=9.0)
    simulation.run(2.0)
    simulation.run_loop()
    assert simulation.answers[1:] == [None, None]
    assert simulation.not_let_go == []


def test_who_lets_go_again_while_it_waits_has_let_go(simulation: Simulation) -> None:
    """What moves before the later rest is refused, as the first one was; what comes after not."""
    simulation.matched_within = 1.0
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    for moving, ttl in ((False, 0.1), (True, inf), (False, inf), (True, inf)):
        assert simulation.command('/left', moving=moving, acknowledge=True, ttl=ttl)
    simulation.run(1.2)
    simulation.run_loop()
    codes = [getattr(answer, 'code', None) for answer in simulation.answers]
    assert codes == ['expired', 'expired', None, None]


@pytest.mark.parametrize('other_moves', [False, True])
def test_nothing_follows_a_rest_that_was_not_published(
        simulation: Simulation, monkeypatch: pytest.MonkeyPatch, other_moves: bool) -> None:
    """By which a sender let go: what moves was let through because of it."""
    if other_moves:     # behind the same gate: it goes on
        assert simulation.command('/right', moving=True, ttl=9.0)
        simulation.run(0.05)
    simulation.matched_within = 0.3
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    publish, failed = StopProcess.publish, list[int]()

    def fail(process: StopProcess, topic: int, cdr: bytes) -> None:
        if not failed:
            failed.append(topic)
            raise Unavailable('a fault')
        publish(process, topic, cdr)
    assert simulation.command('/left', moving=False, acknowledge=True, ttl=inf)
    assert simulation.command('/left', moving=True, acknowledge=True, ttl=0.4)
    monkeypatch.setattr(StopProcess, 'publish', fail)
    simulation.run(0.4)
    simulation.run_loop()
    assert simulation.not_let_go == ['/left']
    codes = [getattr(answer, 'code', 'published') for answer in simulation.answers]
    assert sorted(codes) == sorted(['unavailable', 'expired' if other_moves else 'stopped'])
    assert '/left' not in simulation.moving
    # It begins anew, with the right to do so.
    assert simulation.command('/left', moving=True, acknowledge=True)
    simulation.run(0.05)
    simulation.run_loop()
    assert simulation.answers[-1] is None
    assert '/left' in simulation.moving


@pytest.mark.parametrize(('ttl', 'then'), [(0.2, 0.25), (9.0, TIMEOUT)])
def test_a_command_that_no_subscriber_waits_for_is_told_so(simulation: Simulation, ttl: float,
                                                           then: float) -> None:
    simulation.matched_within = 2.0
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    assert simulation.command('/left', moving=True, acknowledge=True, ttl=ttl)
    simulation.run(then)
    if ttl > then:      # its sender is taken for silent before it has moved anything
        simulation.stop('drive', reason='timeout')
    simulation.run(HALF)
    simulation.run_loop()
    (answer,) = simulation.answers
    assert isinstance(answer, Expired)
    assert 'no subscriber of /left was matched' in str(answer)
    assert not simulation.heard['/left'].moving


def test_a_command_waits_for_a_subscriber_that_missed_one_announcement(simulation: Simulation
                                                                       ) -> None:
    """The next one comes after 3 s; then the nodes still have to tell what they subscribe to."""
    simulation.matched_within = ANNOUNCED_EVERY + 0.3
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    assert simulation.command('/left', moving=True, acknowledge=True, ttl=9.0)
    simulation.run(ANNOUNCED_EVERY + 0.3 - 2 * HALF)
    simulation.run_loop()
    assert not simulation.answers
    assert not simulation.heard['/left'].moving     # nobody would have heard it
    simulation.run(4 * HALF)
    simulation.run_loop()
    assert simulation.answers == [None]
    assert simulation.heard['/left'].moving


def readvertise(simulation: Simulation, heard_within: float) -> FakePublisher:
    """Make a publisher of which the subscriber takes something only after a while."""
    simulation.unadvertise('/left')
    simulation.heard_within = heard_within
    simulation.advertise('/left')
    return simulation.publishers['/left']


def test_a_new_subscriber_has_taken_something_before_it_is_counted(simulation: Simulation) -> None:
    """It may not know the publisher yet: what comes next takes the place of the command."""
    publisher: Any = readvertise(simulation, 0.2)
    assert simulation.command('/left', moving=True, acknowledge=True, counted=True)
    simulation.run(0.2 - HALF)
    assert simulation.command('/left', moving=False, acknowledge=True, counted=True)
    simulation.run_loop()
    assert simulation.answers == []
    # who only has to know that it is published waits for nobody
    assert simulation.command('/left', moving=False, acknowledge=True)
    simulation.run(0.0)
    simulation.run_loop()
    assert simulation.answers == [None]
    simulation.run(4 * HALF)
    simulation.run_loop()
    assert simulation.answers == [None] * 3
    assert simulation.guard('/left').subscriber_count(publisher) == 1
    assert not simulation.guard('/left').may_move


@pytest.mark.parametrize(('closes', 'within'), [(False, GREETING), (True, CLOSING)])
def test_a_new_subscriber_that_takes_nothing_is_waited_for_once(
        simulation: Simulation, closes: bool, within: float) -> None:
    publisher: Any = readvertise(simulation, LONG)
    assert simulation.command('/left', moving=False, acknowledge=True, counted=True)
    if closes:
        simulation.unadvertise('/left')
    simulation.run(within + 4 * HALF)
    simulation.run_loop()
    assert simulation.answers == [None]
    guard = simulation.guard('/left')
    assert guard.subscriber_count(publisher) == 0
    if not closes:
        assert simulation.command('/left', moving=False, acknowledge=True, counted=True)
        simulation.run(HALF)
        simulation.run_loop()
        assert simulation.answers == [None, None]
        assert guard.subscriber_count(publisher) == 1


def test_the_end_of_the_bridge_waits_for_no_frozen_process(simulation: Simulation) -> None:
    assert simulation.command('/left', moving=True)
    simulation.run(HALF)
    process = simulation.stop_process
    assert process is not None
    process.frozen = True
    begin = simulation.now
    assert simulation.watchdog.close()
    assert not simulation.moving
    assert process.done
    assert simulation.now - begin < END_WITHIN + HALF


def freeze(simulation: Simulation) -> None:
    """Freeze the stop process while a topic moves; another one would be started at once."""
    simulation.run(STABLE)
    assert simulation.command('/left', moving=True)
    simulation.run(HALF)
    process = simulation.stop_process
    assert process is not None
    process.frozen = True


def test_the_bridge_publishes_every_zero_where_it_takes_a_stop_over_and_ends(
        simulation: Simulation) -> None:
    freeze(simulation)
    simulation.stop('drive')
    assert simulation.heard['/left'].zeros == 1
    assert simulation.watchdog.close()      # the process that was started in its place ends too
    assert simulation.heard['/left'].zeros == ZEROS


@pytest.mark.parametrize('restarts', [False, True])
def test_nothing_moves_before_its_subscribers_know_the_bridge(simulation: Simulation,
                                                              restarts: bool) -> None:
    """The bridge's own publisher stops them, where the stop process dies."""
    known_within = RESTART[1] + STARTS_WITHIN + 0.3 if restarts else 0.1
    simulation.known_within = known_within
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    assert simulation.command('/left', moving=True, acknowledge=True)
    process = simulation.stop_process
    assert process is not None
    if restarts:    # the process that follows has to be told of it
        simulation.run(HALF)
        process.kill()
        simulation.run(RESTART[1] + STARTS_WITHIN + HALF)
        simulation.run_loop()
        assert simulation.command('/left', moving=True, acknowledge=True, ttl=9.0)
        process = simulation.stop_process
        assert process is not None
    simulation.run(2 * HALF)
    simulation.run_loop()
    assert not simulation.moving
    simulation.run(known_within)
    simulation.run_loop()
    simulation.run(HALF)
    simulation.run_loop()
    assert simulation.moving == ['/left']
    assert simulation.answers[-1] is None
    process.kill()
    simulation.run(HALF)
    simulation.run_loop()
    assert not simulation.moving
    assert simulation.stopped


def test_a_command_that_waits_for_the_subscribers_too_long_is_told_so(
        simulation: Simulation) -> None:
    """One that is frozen keeps nobody from driving."""
    simulation.known_within = LONG
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    assert simulation.command('/left', moving=True, acknowledge=True, ttl=0.2)
    simulation.run(0.2 + 2 * HALF)
    simulation.run_loop()
    (answer,) = simulation.answers
    assert isinstance(answer, Expired)
    assert 'the subscribers of /left were not ready' in str(answer)
    assert simulation.command('/left', moving=True, acknowledge=True, ttl=MATCH_TIMEOUT)
    simulation.run(MATCH_TIMEOUT - 0.2 + HALF)
    simulation.run_loop()
    assert simulation.answers[1:] == [None]


@pytest.mark.parametrize('rests', [True, False])
def test_a_subscriber_that_the_bridge_does_not_know_yet(simulation: Simulation, rests: bool
                                                        ) -> None:
    """Nobody sets it in motion; who drives is not held up, nor who lets go."""
    simulation.run(DISCOVERY)
    for moving in (True, not rests):
        assert simulation.command('/left', moving=moving)
        simulation.run(HALF)
    simulation.subscribers, simulation.unknown = 2, 1
    for moving, waits in ((not rests, False), (True, rests), (False, rests)):
        assert simulation.command('/left', moving=moving, acknowledge=True, ttl=9.0)
        simulation.run(HALF)
        simulation.run_loop()
        assert (simulation.unanswered > 0) is waits
    simulation.run(MATCH_TIMEOUT)
    simulation.run_loop()
    assert simulation.answers == [None] * 3


def test_who_drives_waits_while_the_process_is_new(simulation: Simulation) -> None:
    """A process that has just come may know a subscriber earlier than the bridge does."""
    assert simulation.command('/left', moving=True, ttl=9.0)
    simulation.run(HALF)
    simulation.subscribers, simulation.unknown = 2, 1
    for _ in range(2):
        assert simulation.command('/left', moving=True, acknowledge=True, ttl=9.0)
        simulation.run(HALF)
        simulation.run_loop()
        assert simulation.answers == []
    assert simulation.command('/left', moving=False, acknowledge=True)
    simulation.run(HALF)
    simulation.run_loop()
    codes = [getattr(answer, 'code', None) for answer in simulation.answers]
    assert codes == ['expired', 'expired', None]
    assert not simulation.moving


def test_nobody_is_told_of_a_stop_that_cannot_have_reached_everybody(simulation: Simulation
                                                                     ) -> None:
    simulation.subscribers, simulation.unknown = 2, 1
    assert simulation.command('/left', moving=True, ttl=9.0)
    simulation.run(MATCH_TIMEOUT + 2 * HALF)
    assert simulation.moving
    process = simulation.stop_process
    assert process is not None
    process.kill()
    simulation.run(HEARD_WITHIN + HALF)
    simulation.run_loop()
    guard = simulation.guard('/left')
    assert 'a subscriber of /left has not taken it' in guard.alarm
    assert not simulation.stopped
    simulation.unknown = 0
    simulation.run(2 * PING_EVERY)
    simulation.run_loop()
    assert simulation.stopped
    assert not guard.alarm


def test_a_stop_is_repeated_until_those_hear_it_who_know_the_bridge_late(
        simulation: Simulation) -> None:
    """They know the publisher of the stop process, and nothing that the bridge publishes."""
    simulation.known_within = known_within = MATCH_TIMEOUT + 0.3
    simulation.unadvertise('/left')
    simulation.advertise('/left')
    guard = simulation.guard('/left')
    assert simulation.command('/left', moving=True, ttl=9.0)
    simulation.run(MATCH_TIMEOUT + 2 * HALF)
    process = simulation.stop_process
    assert process is not None
    process.kill()
    simulation.run(HALF)
    simulation.run_loop()
    assert simulation.heard['/left'].moving
    assert not simulation.stopped
    simulation.run(known_within - MATCH_TIMEOUT)
    simulation.run(PING_EVERY)
    simulation.run_loop()
    assert not simulation.heard['/left'].moving
    assert len(simulation.stopped) == 1
    assert not guard.alarm


def test_a_process_that_dies_again_ends_no_escalation(simulation: Simulation) -> None:
    freeze(simulation)
    simulation.stop('drive')
    simulation.unadvertise('/left')         # its publisher stays until the stop is said
    simulation.run(HALF)
    process = simulation.stop_process
    assert process is not None
    process.kill()
    simulation.run(LONG)
    assert simulation.heard['/left'].zeros == INSIST * STEPS[0].rate
    assert not simulation.guard('/left').alarm


def test_a_command_ends_no_escalation_while_there_is_no_process_to_publish_it(
        simulation: Simulation) -> None:
    freeze(simulation)
    simulation.stop('drive')
    for _ in range(5):                      # the operator has let go, and says so
        assert not simulation.command('/left', moving=False)
        simulation.run(HALF)
    simulation.run(STARTS_WITHIN)
    assert simulation.heard['/left'].zeros > ZEROS
    assert simulation.command('/left', moving=True)
    simulation.run(HALF)
    assert simulation.heard['/left'].moving
    simulation.run(TIMEOUT - 2 * HALF)
    assert simulation.heard['/left'].moving


def test_a_stop_waits_while_the_watchdog_takes_over(simulation: Simulation) -> None:
    assert simulation.command('/left', moving=True)
    simulation.run(HALF)
    process = simulation.stop_process
    assert process is not None
    simulation.bridge.hold_at = 0, 'pause'      # between the death and the stops
    process.kill()
    simulation.run(0.0)
    simulation.stop('drive')


def test_a_stop_waits_for_a_process_of_which_the_bridge_has_not_heard_that_it_began(
        simulation: Simulation) -> None:
    process = simulation.stop_process
    assert process is not None
    process.kill()
    simulation.run(RESTART[1] + HALF)
    assert simulation.command('/left', moving=True, ttl=9.0)
    simulation.bridge.frozen = True
    simulation.run(STARTS_WITHIN + MATCH_TIMEOUT + 2 * HALF)
    assert simulation.moving
    simulation.bridge.frozen = False
    simulation.stop('drive')


def test_a_topic_that_is_closed_while_it_moves_is_stopped(simulation: Simulation) -> None:
    assert simulation.command('/left', moving=True)
    simulation.run(HALF)
    simulation.unadvertise('/left')
    process = simulation.stop_process
    assert process is not None
    process.kill()
    simulation.run(HALF)
    assert not simulation.moving


def test_a_command_is_answered_after_its_topic_was_closed(simulation: Simulation) -> None:
    assert simulation.command('/left', moving=False, acknowledge=True)
    simulation.unadvertise('/left')
    simulation.run(HALF)
    simulation.run_loop()
    assert simulation.unanswered == 0


class Machine(RuleBasedStateMachine):
    """Commands, stops, kills, freezes and delays in any order."""

    @initialize(seed=st.integers(0, 2**16), end=st.sampled_from(['none', 'ended', 'killed']))
    def begin(self, seed: int, end: str) -> None:
        self._context = simulated(seed, GATES)
        self.simulation = self._context.__enter__()
        self._end = end

    def process_lives(self) -> bool:
        """Whether there is a stop process."""
        return hasattr(self, 'simulation') and self.simulation.stop_process is not None

    @rule(topic=TOPICS, moving=st.booleans(), acknowledge=st.booleans(), old=st.booleans())
    def command(self, topic: str, moving: bool, acknowledge: bool, old: bool) -> None:
        if self.simulation.publishers[topic].closed:
            self.simulation.advertise(topic)
        if not old:     # else the loop has not heard the news yet
            self.simulation.run_loop()
        self.simulation.command(topic, moving=moving, acknowledge=acknowledge)

    @rule(topic=TOPICS, count=st.integers(2, 40), every=st.sampled_from([0.0, 0.02]),
          size=st.sampled_from([0, 500, 40_000]), then_rests=st.booleans(), hold=HOLD,
          then=SECONDS)
    def drive(self, topic: str, count: int, every: float, size: int, then_rests: bool,
              hold: tuple[int, str] | None, then: float) -> None:
        if self.simulation.publishers[topic].closed:
            self.simulation.advertise(topic)
        if self.simulation.stop_process is not None:
            self.simulation.stop_process.hold_at = hold
        for number in range(count):
            self.simulation.command(topic, moving=number < count - then_rests, size=size)
            self.simulation.run(every)
        self.simulation.run(then)

    @rule(topic=TOPICS)
    def unadvertise(self, topic: str) -> None:
        if not self.simulation.publishers[topic].closed:
            self.simulation.unadvertise(topic)

    @rule(seconds=SECONDS, hung=st.booleans())
    def time_passes(self, seconds: float, hung: bool) -> None:
        self.simulation.run(seconds)
        if not hung:
            self.simulation.run_loop()

    @rule(gates=st.sampled_from([('drive',), ('arm',), ('arm', 'drive')]))
    def stop(self, gates: tuple[str, ...]) -> None:
        self.simulation.stop(*gates)

    @rule(seconds=st.sampled_from([0.0, 0.1]))
    def halt(self, seconds: float) -> None:
        alarm = self.simulation.watchdog.halt('estop')
        assert alarm or not self.simulation.moving
        assert not self.simulation.command('/left', moving=True)
        self.simulation.run(seconds)
        self.simulation.watchdog.resume()

    @precondition(process_lives)
    @rule(hold=HOLD)
    def hold_stop_process(self, hold: tuple[int, str] | None) -> None:
        self.simulation.stop_process.hold_at = hold

    @precondition(process_lives)
    @rule()
    def thaw_stop_process(self) -> None:
        self.simulation.stop_process.frozen = False

    @precondition(process_lives)
    @rule(seconds=st.sampled_from([0.02, 0.2, 0.4]))
    def starve_stop_process(self, seconds: float) -> None:
        self.simulation.stop_process.busy_until = self.simulation.now + seconds

    @rule(count=st.integers(0, 6))
    def hold_watchdog(self, count: int) -> None:
        self.simulation.bridge.hold_at = count, 'pause'

    @rule(seconds=st.sampled_from([0.1, 0.3, 3.0]))
    def freeze_bridge(self, seconds: float) -> None:
        self.simulation.bridge.frozen = True
        self.simulation.run(seconds)
        self.simulation.bridge.frozen = False

    @rule(failures=st.integers(0, 2), start=st.sampled_from([0.1, 0.4, 2.0]),
          match=st.sampled_from([0.0, 0.05]), known=st.sampled_from([0.0, 0.05, 1.0, 4.0]))
    def start_badly(self, failures: int, start: float, match: float, known: float) -> None:
        self.simulation.launches_fail = failures
        self.simulation.starts_within = start
        self.simulation.matched_within = match
        self.simulation.known_within = known

    def teardown(self) -> None:
        """Let everything that lives run: all stands, and every command was answered."""
        if not hasattr(self, 'simulation'):
            return
        simulation = self.simulation
        lost = set()
        try:
            if self._end == 'killed':
                # of these both processes are dead: the base's own timeout is left
                lost = {topic for topic in simulation.moving
                        if simulation.heard[topic].writer.done}
                simulation.kill_bridge()
            elif self._end == 'ended':
                simulation.watchdog.close()
                assert not simulation.moving
            if simulation.stop_process is not None:
                simulation.stop_process.frozen = False
                simulation.stop_process.hold_at = None
            simulation.run(LONG)
            assert set(simulation.moving) <= lost
            if self._end == 'none':
                simulation.run_loop()
                assert simulation.unanswered == 0
                assert simulation.watchdog.close()
            assert simulation.faults == []
            assert simulation.stop_process is None
        finally:
            self._context.__exit__(None, None, None)


TestMachine = Machine.TestCase
TestMachine.settings = settings(     # some 2 s; to shrink what fails would take minutes
    max_examples=settings.default.max_examples // 4, stateful_step_count=40,
    phases=[Phase.explicit, Phase.generate])
