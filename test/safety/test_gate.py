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
"""A gate by itself: the table of its lease, the age of commands, rate, bounds."""
from __future__ import annotations

from itertools import count
from math import inf
from typing import Any

import pytest

from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import (
    Expired,
    NotHolder,
    NoTimeSync,
    NotNeutral,
    OutOfRange,
    RateLimited,
    TooDistant,
    WsBridgeError,
)
from ws_bridge.protocol.operations import Command
from ws_bridge.protocol.replies import GateState
from ws_bridge.protocol.unix_time import nanoseconds as ns
from ws_bridge.safety.estop import Estop, EstopEvent
from ws_bridge.safety.gate import age_of, Gate, MAX_TOPICS
from ws_bridge.safety.neutral import make_checks
from ws_bridge.safety.policy import (
    Clamp,
    FENCE_INTERVAL,
    GatePolicy,
    LeaseMode,
    LossStep,
    Rest,
    TIMEOUT,
    TTL,
)

SCHEMA = schema_from_text('a/msg/B', 'float64 x\n')
NOW, UNIX = 100.0, 1_760_000_000.0


def make(**fields: Any) -> Gate:
    """Return a gate; its lease is free."""
    policy = GatePolicy('g', ('/t',), **{'timeout': TIMEOUT, 'ttl': TTL, **fields})
    return Gate(policy, Estop(), NOW, count(1).__next__)


def send(gate: Gate, x: float, *, peer: str = 'p', lease_mode: LeaseMode = 'native',
         topic: str = '/t', now: float = NOW, offset: float | None = None, fence: float = 0.0,
         slack: float = 0.0, **fields: Any) -> str:
    """
    Let a command through; return ``ok`` or the code of the refusal.

    :param fence: how old it may be, s.
    """
    command = Command('i', topic, {'x': x}, **fields)
    values = {'x': x}
    try:
        gate.admit(peer, lease_mode, command, offset=offset, unix=UNIX + now - NOW, now=now,
                   fence=now - fence, slack=slack)
        gate.judge(peer, lease_mode, topic, values, make_checks(SCHEMA, gate.policy), now)
    except WsBridgeError as exc:
        return exc.code
    gate.accepted(peer, topic, command, now)
    return 'ok'


def test_a_gate_shows_its_state() -> None:
    gate = make()
    assert gate.state == 'free'
    gate.acquire('p')
    assert repr(gate) == '<Gate g held, <Lease held by p, epoch 1>>'


def test_describe() -> None:
    gate = make(timeout=2.0, ttl=1.0)
    gate.acquire('p')
    assert gate.describe({'p': 'page'}.get, ['/t'], ['/s']) == GateState(
        'g', ['/t'], 'p', 'page', 1, 2.0, 1.0, 'held', True, services=['/s'])


@pytest.mark.parametrize('is_required', [True, False])
def test_who_drives(is_required: bool) -> None:
    """Who holds the lease; where none is required, whoever has commanded and is still there."""
    gate = make(require_lease=is_required)
    assert not gate.is_driven_by('p')
    for peer in ('p', 'q'):
        send(gate, 0.0, peer=peer, lease_mode='rosbridge')
    assert gate.is_driven_by('p')
    assert gate.is_driven_by('q') != is_required
    gate.forget('p')
    assert not gate.is_driven_by('p')


# ---- age

@pytest.mark.parametrize(('stamp', 'echo', 'offset', 'age'), [
    (None, None, None, None),
    (-5.0, None, None, None),           # a stamp without time sync says nothing
    (-5.0, None, 0.0, 5.0),
    (3595.0, None, 3600.0, 5.0),        # the peer's clock is an hour ahead
    (-5.0, -1.0, None, 1.0),
    (-0.1, -1.0, 0.0, 0.1),             # the stamp is nearer than what was echoed
    (-5.0, -1.0, 0.0, 1.0),             # the peer's clock was set back: the echo holds
    (5.0, -1.0, 0.0, 1.0),              # or forward
    (5.0, None, 0.0, -5.0),
    (-0.1, 5.0, 0.0, -5.0),             # an echo of what was never said
    (0.2, -1.0, 0.0, -0.2)])
def test_age(stamp: float | None, echo: float | None, offset: float | None,
             age: float | None) -> None:
    found = age_of(*[None if each is None else ns(UNIX + each) for each in (stamp, echo)],
                   offset=offset, unix=UNIX, tolerance=0.3)
    assert found == (None if age is None else pytest.approx(age))


@pytest.mark.parametrize(('fields', 'error'), [
    ({'bridge_time': ns(UNIX - 0.31)}, Expired),
    ({'bridge_time': ns(UNIX - 0.2), 'ttl': 0.1}, Expired),
    ({'bridge_time': ns(UNIX - 0.4), 'ttl': 9.0}, Expired),     # a peer cannot raise the gate's
    ({'bridge_time': ns(UNIX + 0.31)}, TooDistant), ({}, NoTimeSync),
    ({'bridge_time': ns(UNIX), 'epoch': None}, NotHolder)])
def test_admit_refuses(fields: dict[str, Any], error: type[WsBridgeError]) -> None:
    gate = make()
    gate.acquire('p')
    assert send(gate, 0.0, **{'epoch': 1, 'sequence': 0, **fields}) == error.code


@pytest.mark.parametrize(('stamp', 'offset', 'why'), [
    (ns(UNIX), None, 'heartbeats with an echo'), (None, None, 'the link is too slow'),
    (ns(UNIX - 1.0), 0.0, 'the link is too slow')])
def test_what_expires_is_told_the_true_reason(stamp: int | None, offset: float | None,
                                              why: str) -> None:
    """A stamp tells nothing while the clock of its sender is unknown: no link is to blame."""
    gate = make()
    gate.acquire('p')
    command = Command('i', '/t', {}, stamp=stamp, epoch=1, sequence=1, bridge_time=ns(UNIX - 1.0))
    with pytest.raises(Expired, match=why):
        gate.admit('p', 'native', command, offset=offset, unix=UNIX, now=NOW, fence=0.0)


def test_admit_returns_the_deadline() -> None:
    gate = make()
    gate.acquire('p')
    for back, left in ((0.1, 0.2), (-0.1, 0.3)):
        command = Command('i', '/t', {}, epoch=1, sequence=1, bridge_time=ns(UNIX - back))
        assert gate.admit('p', 'native', command, offset=None, unix=UNIX,
                          now=NOW, fence=0.0) == pytest.approx(NOW + left)


# ---- what it says

def test_rate_and_bounds_are_for_what_moves() -> None:
    gate = make(max_rate=2.0, clamp=(Clamp('x', 1.0, 2.0),))
    gate.acquire('p')
    fields: dict[str, Any] = {'epoch': 1, 'bridge_time': ns(UNIX)}
    assert [send(gate, x, sequence=number, **fields) for number, x in enumerate(
        (0.0, 3.0, 1.0, 1.0, 1.0, 0.0))] == [
        'ok', OutOfRange.code, 'ok', 'ok', RateLimited.code, 'ok']


@pytest.mark.parametrize('lease_mode', ['rosbridge', 'seed', 'bridge'])
def test_who_has_no_words_for_leases_moves_at_once(lease_mode: LeaseMode) -> None:
    gate = make()
    assert send(gate, 1.0, lease_mode=lease_mode) == 'ok'
    assert gate.lease.implicit
    assert send(gate, 1.0, lease_mode=lease_mode, now=NOW + 0.1) == 'ok'
    gate.stopped()                          # the watchdog, by silence
    assert gate.lease.holder is None
    assert send(gate, 1.0, lease_mode=lease_mode, now=NOW + 5.0) == 'ok'


def test_a_lease_that_ended_by_silence_after_a_zero_is_had_again() -> None:
    gate = make()
    assert send(gate, 0.0, lease_mode='rosbridge') == 'ok'
    gate.poll(NOW + TIMEOUT)
    assert gate.lease.holder is None
    assert [send(gate, 1.0, lease_mode='rosbridge', now=NOW + 1.0 + i / 10)
            for i in range(20)] == ['ok'] * 20


@pytest.mark.parametrize(('neutral_first', 'lease_mode', 'code'), [
    (None, 'native', 'not_neutral'), (None, 'rosbridge', 'ok'),
    (True, 'native', 'not_neutral'), (True, 'rosbridge', 'not_neutral'),
    (False, 'native', 'ok'), (False, 'rosbridge', 'ok')])
def test_neutral_first(neutral_first: bool | None, lease_mode: LeaseMode, code: str) -> None:
    fields: dict[str, Any] = {} if lease_mode != 'native' else {
        'epoch': 1, 'bridge_time': ns(UNIX)}

    def command(x: float, sequence: int) -> str:
        return send(gate, x, lease_mode=lease_mode, sequence=sequence, **fields)
    gate = make(neutral_first=neutral_first)
    if lease_mode == 'native':
        gate.acquire('p')
    assert command(1.0, 0) == code
    assert command(0.0, 1) == 'ok'
    assert command(1.0, 2) == 'ok'
    gate.stopped()
    assert command(1.0, 3) == code


# ---- the fence

@pytest.mark.parametrize(('age', 'code'), [(0.0, 'ok'), (0.29, 'ok'), (0.31, 'expired'),
                                           (5.0, 'expired'), (float('inf'), 'expired')])
def test_the_fence_bounds_the_age_of_what_has_no_times(age: float, code: str) -> None:
    for x in (0.0, 1.0):
        assert send(make(), x, lease_mode='rosbridge', fence=age) == code


def test_the_first_after_a_rest_may_be_older_by_the_slack_and_no_other() -> None:
    gate = make()

    def command(now: float, fence: float, **fields: Any) -> str:
        return send(gate, 1.0, lease_mode='rosbridge', now=NOW + now, fence=fence,
                    slack=FENCE_INTERVAL, **fields)
    bound = TTL + FENCE_INTERVAL
    assert command(0.0, bound + 0.01) == 'expired'
    assert command(0.0, bound - 0.01, ttl=0.2) == 'expired'     # the peer says how long it holds
    assert command(0.0, bound - 0.01) == 'ok'
    assert command(0.01, bound - 0.01) == 'expired'
    assert command(0.02, TTL - 0.01) == 'ok'
    gate.poll(NOW + 1.0)
    assert command(1.0, bound - 0.01) == 'ok'


def test_without_leases_each_peer_has_a_first() -> None:
    gate = make(require_lease=False)
    for peer, now, code in (('a', 0.0, 'ok'), ('a', 0.1, 'expired'), ('b', 0.2, 'ok'),
                            ('b', 0.3, 'expired'), ('b', 0.8, 'ok')):
        assert send(gate, 1.0, peer=peer, lease_mode='rosbridge', now=NOW + now, fence=1.0,
                    slack=FENCE_INTERVAL) == code


def test_the_deadline_is_the_bound_of_the_age() -> None:
    gate = make()
    command = Command('i', '/t', {})
    for fence, slack, left in ((0.1, 0.0, 0.2), (1.0, 1.0, 0.3), (0.1, 1.0, 1.2)):
        assert gate.admit('p', 'rosbridge', command, offset=None, unix=UNIX, now=NOW,
                          fence=NOW - fence, slack=slack) == pytest.approx(NOW + left)


def test_the_smaller_of_what_is_known_holds() -> None:
    """A stamp is believed where a clock offset was measured, but never beyond the fence."""
    for stamp, fence, code in ((-0.1, 5.0, 'ok'), (-5.0, 0.1, 'ok'), (-5.0, 5.0, 'expired'),
                               (5.0, 0.1, 'too_distant')):
        assert send(make(), 1.0, lease_mode='seed', offset=0.0, fence=fence,
                    stamp=ns(UNIX + stamp)) == code
    assert send(make(), 1.0, lease_mode='seed', fence=5.0, stamp=ns(UNIX)) == 'expired'


def test_the_fence_is_no_time_for_who_has_words() -> None:
    gate = make()
    gate.acquire('p')
    assert send(gate, 0.0, epoch=1, sequence=0, fence=0.0) == NoTimeSync.code
    assert send(gate, 0.0, epoch=1, sequence=0, fence=9.0, bridge_time=ns(UNIX)) == 'ok'


# ---- who has to let go first

def page(gate: Gate, peer: str, x: float, now: float = NOW, topic: str = '/t') -> str:
    return send(gate, x, peer=peer, lease_mode='rosbridge', now=now, topic=topic)


def test_after_an_emergency_stop_everybody_lets_go_first() -> None:
    estop = Estop()
    gate = Gate(GatePolicy('g', ('/t',), timeout=TIMEOUT, ttl=TTL), estop, NOW,
                count(1).__next__)
    assert page(gate, 'a', 1.0) == 'ok'
    estop.apply(EstopEvent.ASSERT, 'x', 'smoke')
    gate.end()
    assert page(gate, 'a', 1.0) == page(gate, 'b', 1.0) == 'stopped'
    estop.apply(EstopEvent.CLEAR, 'x')
    gate.cleared()
    for peer in ('a', 'b', 'c'):
        assert page(gate, peer, 1.0) == NotNeutral.code
    assert page(gate, 'a', 0.0) == page(gate, 'a', 1.0) == 'ok'
    gate.poll(NOW + TIMEOUT)
    assert page(gate, 'b', 1.0, NOW + 1.0) == NotNeutral.code      # its stick is stuck
    assert page(gate, 'c', 1.0, NOW + 1.0) == NotNeutral.code      # it tried before
    assert page(gate, 'd', 1.0, NOW + 1.0) == 'ok'                 # this one was not there
    gate.forget('b')
    assert page(gate, 'd', 0.0, NOW + 1.1) == 'ok'


def test_after_another_commanded_the_first_is_neutral() -> None:
    gate = make()
    assert page(gate, 'a', 1.0) == 'ok'
    gate.poll(NOW + 0.5)
    assert page(gate, 'b', 1.0, NOW + 0.6) == 'ok'
    assert page(gate, 'c', 1.0, NOW + 0.7) == NotHolder.code
    gate.poll(NOW + 1.1)
    for peer in ('a', 'c'):
        assert page(gate, peer, 1.0, NOW + 1.2) == NotNeutral.code
    assert page(gate, 'b', 1.0, NOW + 1.3) == 'ok'
    gate.poll(NOW + 1.8)
    assert page(gate, 'a', 0.0, NOW + 1.9) == page(gate, 'a', 1.0, NOW + 1.95) == 'ok'


def test_after_a_lease_in_words_too() -> None:
    gate = make()
    assert page(gate, 'a', 1.0) == 'ok'
    gate.take('p')
    gate.release('p')
    assert page(gate, 'a', 1.0) == NotNeutral.code
    assert page(gate, 'a', 0.0) == 'ok'


def test_who_was_kept_out_by_another_bridge_lets_go_first() -> None:
    """A stick that is held does not move the robot the moment the other bridge is gone."""
    gate = make()
    gate.kept_out('page')
    assert send(gate, 0.5, peer='page', lease_mode='rosbridge') == 'not_neutral'
    assert send(gate, 0.0, peer='page', lease_mode='rosbridge') == 'ok'
    assert send(gate, 0.5, peer='page', lease_mode='rosbridge') == 'ok'
    gate.commanded_elsewhere()      # while this page held a stick
    assert send(gate, 0.5, peer='page', lease_mode='rosbridge') == 'not_neutral'
    assert send(gate, 0.0, peer='page', lease_mode='rosbridge') == 'ok'
    assert send(gate, 0.5, peer='page', lease_mode='rosbridge') == 'ok'
    gate.kept_out('other')
    gate.forget('other')
    assert send(gate, 0.0, peer='page', lease_mode='rosbridge') == 'ok'


def test_nothing_is_kept_of_who_left() -> None:
    gate = make(neutral=(Rest('x', tolerance=0.1, learned=(1.0,)),))
    for peer in ('a', 'b'):
        page(gate, peer, 0.05)
    assert (gate._senders, set(gate._owing), set(gate._seen)) == ({'a', 'b'}, {'b'}, {'a'})
    for peer in ('a', 'b'):
        gate.forget(peer)
    assert not gate._senders | set(gate._owing) | set(gate._seen)


# ---- on each topic

A, B = '/arm/a', '/arm/b'


def test_a_native_peer_lets_go_on_each_topic_after_each_change_and_stop() -> None:
    gate = make()
    numbers = count()

    def command(topic: str, x: float) -> str:
        return send(gate, x, topic=topic, epoch=gate.lease.epoch, sequence=next(numbers),
                    bridge_time=ns(UNIX))
    for anew in (lambda: gate.take('p'), gate.stopped, gate.cleared, lambda: gate.take('p')):
        anew()
        assert gate.neutral_needed
        assert [command(B, 0.6), command(A, 0.0), command(A, 0.6), command(B, 0.6),
                command(B, 0.0), command(B, 0.6), command(A, 0.6)] == [
            'not_neutral', 'ok', 'ok', 'not_neutral', 'ok', 'ok', 'ok']
        assert not gate.neutral_needed


def test_a_page_lets_go_on_each_topic_after_an_emergency_stop() -> None:
    gate = make()
    for topic in (A, B):
        assert page(gate, 'a', 0.6, topic=topic) == 'ok'
    gate.cleared()
    assert [page(gate, peer, x, NOW + 1.0, topic) for peer, topic, x in (
        ('a', B, 0.6), ('a', A, 0.0), ('a', A, 0.6), ('a', B, 0.6))] == [
        'not_neutral', 'ok', 'ok', 'not_neutral']
    gate.poll(NOW + 2.0)
    assert page(gate, 'new', 0.6, NOW + 2.0, B) == 'not_neutral'    # of it nobody has let go
    assert page(gate, 'new', 0.6, NOW + 2.0, A) == 'ok'
    gate.poll(NOW + 3.0)
    assert [page(gate, 'a', x, NOW + 3.0, B) for x in (0.6, 0.0, 0.6)] == [
        'not_neutral', 'ok', 'ok']
    assert page(gate, 'a', 0.6, NOW + 3.0, A) == 'not_neutral'      # another one had it meanwhile


def test_a_page_lets_go_on_each_topic_after_another_commanded() -> None:
    gate = make()
    assert page(gate, 'a', 0.6, topic=B) == 'ok'
    gate.poll(NOW + 1.0)
    assert page(gate, 'b', 0.6, NOW + 1.0, A) == 'ok'
    gate.poll(NOW + 2.0)
    assert [page(gate, 'a', x, NOW + 2.0, topic) for topic, x in (
        (B, 0.6), (A, 0.0), (B, 0.6), (B, 0.0), (B, 0.6))] == [
        'not_neutral', 'ok', 'not_neutral', 'ok', 'ok']


def test_without_leases_another_commander_begins_on_each_topic() -> None:
    gate = make(require_lease=False, neutral_first=True)
    assert [page(gate, peer, x, topic=topic) for peer, topic, x in (
        ('a', A, 0.0), ('a', B, 0.0), ('a', B, 0.6), ('b', A, 0.0), ('b', B, 0.6),
        ('a', B, 0.0), ('a', A, 0.6))] == [
        'ok', 'ok', 'ok', 'ok', 'not_neutral', 'ok', 'not_neutral']


def test_what_rests_at_an_end_on_one_topic_is_learned_of_that_one() -> None:
    gate = make(neutral_first=True, neutral=(Rest('x', tolerance=0.1, learned=(1.0,)),))
    assert page(gate, 'a', 0.05, topic=A) == 'ok'
    assert page(gate, 'a', 1.0, topic=B) == 'ok'            # a trigger that rests at its end
    gate.stopped()
    assert page(gate, 'a', 1.0, NOW + 1.0, A) == 'not_neutral'


def test_what_is_remembered_of_topics_is_bounded() -> None:
    gate = make(neutral=(Rest('x', tolerance=0.1, learned=(1.0,)),))
    page(gate, 'a', 0.05)
    page(gate, 'b', 0.05)
    gate.poll(NOW + 1.0)
    gate.cleared()
    for number in range(MAX_TOPICS + 5):
        assert page(gate, 'b', 0.05, NOW + 1.0, f'/arm/{number}') == 'ok'
    assert page(gate, 'b', 0.6, NOW + 1.0, f'/arm/{number}') == 'ok'
    assert page(gate, 'b', 0.6, NOW + 1.0, '/arm/0') == 'not_neutral'    # forgotten: anew
    assert [len(each) for each in (gate._armed, gate._since_estop or (), gate._owing['b'],
                                   gate._seen['b'])] == [5, 5, 5, 6]


def test_what_is_at_rest_is_neutral_but_has_to_be_stopped() -> None:
    gate = make(neutral_first=True, neutral=(Rest('x', (1.0,), 0.1),), max_rate=1.0)
    checks = make_checks(SCHEMA, gate.policy)
    assert gate.judge('p', 'rosbridge', '/t', {'x': 0.95}, checks, NOW) == (True, False)
    with pytest.raises(RateLimited):
        gate.judge('p', 'rosbridge', '/t', {'x': 0.95}, checks, NOW)
    with pytest.raises(NotNeutral):
        gate.judge('p', 'rosbridge', '/t', {'x': 0.85}, checks, NOW + 2.0)
    assert gate.judge('p', 'rosbridge', '/t', {'x': 0.0}, checks, NOW) == (False, False)


def test_without_leases_whoever_commands_begins_neutral() -> None:
    gate = make(require_lease=False, ttl=0.1, neutral_first=True)
    for number, peer in enumerate(('a', 'b')):
        now = NOW + number
        assert send(gate, 1.0, peer=peer, bridge_time=ns(UNIX + now - NOW),
                    now=now) == NotNeutral.code
        assert send(gate, 0.0, peer=peer, now=now) == 'ok'
        assert send(gate, 1.0, peer=peer, now=now + 0.2) == 'ok'
    gate.forget('a')
    assert send(gate, 1.0, peer='b', now=NOW + 1.3) == 'ok'
    gate.forget('b')
    assert send(gate, 1.0, peer='b', now=NOW + 1.4) == NotNeutral.code
    gate.check_sender('anybody', 'native', None)
    assert gate.lease.holder is None


def test_a_stop_keeps_the_order_of_a_lease_that_stays() -> None:
    gate = make()
    gate.acquire('p')
    fields: dict[str, Any] = {'epoch': 1, 'bridge_time': ns(UNIX)}
    assert send(gate, 0.0, sequence=5, **fields) == 'ok'
    gate.stopped()
    assert send(gate, 0.0, sequence=5, **fields) == 'out_of_order'
    assert send(gate, 1.0, sequence=6, **fields) == NotNeutral.code
    assert send(gate, 0.0, sequence=7, **fields) == 'ok'
    assert send(gate, 1.0, sequence=8, **fields) == 'ok'


def test_a_request_ends_in_time() -> None:
    gate = make()
    gate.acquire('a')
    gate.ask('b', 'please', NOW + 15.0)
    gate.poll(NOW + 14.9)
    assert gate.lease.request is not None
    gate.poll(NOW + 15.0)
    assert (gate.lease.request, gate.lease.holder, gate.lease.epoch) == (None, 'a', 1)
    gate.ask('b', '', NOW + 30.0)
    gate.forget('b')
    assert (gate.lease.request, gate.lease.holder) == (None, 'a')


def test_a_free_lease_that_is_asked_for_begins_neutral() -> None:
    gate = make()
    gate.ask('p', '', NOW + 15.0)
    assert (gate.lease.holder, gate.lease.epoch, gate.neutral_needed) == ('p', 1, True)


def test_an_answer_of_the_holder_hands_the_gate_over() -> None:
    gate = make()
    gate.acquire('a')
    numbers = count()
    fields: dict[str, Any] = {'epoch': 1, 'bridge_time': ns(UNIX)}
    assert send(gate, 0.0, peer='a', sequence=next(numbers), **fields) == 'ok'
    gate.ask('b', '', NOW + 15.0)
    gate.answer('a', 'b', granted=False)
    assert (gate.lease.holder, gate.neutral_needed) == ('a', False)
    gate.ask('b', '', NOW + 15.0)
    gate.answer('a', 'b', granted=True)
    assert (gate.lease.holder, gate.lease.epoch, gate.neutral_needed) == ('b', 2, True)
    assert send(gate, 0.0, peer='b', sequence=0, **fields) == NotHolder.code    # the old epoch
    with pytest.raises(NotHolder):
        gate.release('a')
    gate.release('b')
    gate.end()      # nobody has it: nothing to end
    assert (gate.lease.holder, gate.state) == (None, 'free')


def test_nobody_inherits_while_everything_is_stopped() -> None:
    estop = Estop()
    gate = Gate(GatePolicy('g', ('/t',)), estop, NOW, count(1).__next__)
    gate.acquire('a')
    gate.ask('b', '', NOW + 15.0)
    estop.apply(EstopEvent.ASSERT, 'c', 'smoke')
    gate.end()
    assert (gate.lease.request, gate.lease.holder, gate.state) == (None, None, 'stopped')


def test_who_has_not_let_go_after_all_has_to() -> None:
    """The command by which it did was accepted, and then not published."""
    gate, clock = make(), 1.0
    gate.lease.acquire('p1')
    assert gate.neutral_needed
    gate.accepted('p1', '/cmd_vel', Command(None, '/cmd_vel', {}), clock)
    assert not gate.neutral_needed
    gate.not_let_go('/another')
    assert not gate.neutral_needed
    gate.not_let_go('/cmd_vel')
    assert gate.neutral_needed


@pytest.mark.parametrize(('on_loss', 'x', 'is_late'), [
    ((LossStep('zero'),), 0.0, True), ((LossStep('zero'),), 0.5, False),
    ((LossStep('message', message={'x': 1.0}),), 0.0, False), ((LossStep('none'),), 0.0, False)])
def test_only_zero_where_it_is_a_stop_may_reach_ros_late(
        on_loss: tuple[LossStep, ...], x: float, is_late: bool) -> None:
    gate, told = make(on_loss=on_loss, neutral_first=False), list[float]()

    def hand_over(cdr: bytes, /, *, moving: bool, deadline: float) -> bool:
        told.append(deadline)
        return True
    assert gate.let_through(
        'p', 'rosbridge', Command('i', '/t', {'x': x}), make_checks(SCHEMA, gate.policy),
        topic='/t', convert=lambda: (b'', {'x': x}), encode=lambda values: b'',
        hand_over=hand_over, offset=None, unix=UNIX, now=NOW, fence=NOW, slack=0.0)
    assert (told[0] == inf) is is_late


def test_what_was_clamped_is_what_is_handed_over() -> None:
    gate = make(clamp=(Clamp('x', -1.0, 1.0, True),), neutral_first=False)
    handed = list[bytes]()

    def hand_over(cdr: bytes, /, *, moving: bool, deadline: float) -> bool:
        handed.append(cdr)
        return True
    for x in (0.5, 5.0):
        gate.let_through(
            'p', 'rosbridge', Command('i', '/t', {'x': x}), make_checks(SCHEMA, gate.policy),
            topic='/t', convert=lambda x=x: (b'as it came', {'x': x}),
            encode=lambda values: f'{values}'.encode(), hand_over=hand_over, offset=None,
            unix=UNIX, now=NOW, fence=NOW, slack=0.0)
    assert handed == [b'as it came', b"{'x': 1.0}"]
