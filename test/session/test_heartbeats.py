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
"""Heartbeats either way: whether the peer lives, and how far its clock is."""
from __future__ import annotations

from dataclasses import asdict

import pytest
from support.sessions import beat_of, EPOCH, exchange, make, START

from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.unix_time import nanoseconds as ns
from ws_bridge.protocol.unix_time import SECOND
from ws_bridge.session import effects as fx
from ws_bridge.session.heartbeats import BEATS_REMEMBERED


def test_round_trip_and_offset() -> None:
    session = make()
    assert session.describe(START + 2).round_trip is None
    exchange(session, START + 1, -12.5, travel=0.02)
    told = asdict(session.describe(START + 2))
    assert told == {
        'peer': 'p', 'name': '', 'dialect': 'native', 'connected': 2.0, 'liveness': 'ALIVE',
        'identity': None, 'role': 'admin',
        'round_trip': pytest.approx(0.04, abs=1e-5), 'offset': pytest.approx(-12.5, abs=1e-5),
        'jitter': 0.0}


def test_a_heartbeat_is_answered_once_with_its_echo() -> None:
    session = make()
    effects = session.receive(ops.Heartbeat('a', 5 * SECOND, 7), START)
    assert effects == [fx.Send(replies.Beat(
        1, ns(START + EPOCH), (7, 5 * SECOND, ns(START + EPOCH)), 'a')), fx.PeerChanged()]
    assert session.receive(ops.Heartbeat('a', 6 * SECOND, 8), START + 1) == [
        fx.Send(replies.Beat(2, ns(START + 1 + EPOCH), (8, 6 * SECOND, ns(START + 1 + EPOCH)),
                             'a'))]


def test_an_answer_is_not_answered() -> None:
    session = make()
    assert session.receive(
        ops.Heartbeat('a', 5 * SECOND, 7, answer=True), START) == [fx.PeerChanged()]
    assert session.receive(ops.Heartbeat('a', 5 * SECOND, 8, answer=True), START) == []
    assert beat_of(session.receive(ops.Heartbeat('a', None, 9), START)).echo == \
        (8, 5 * SECOND, ns(START + EPOCH))


def test_a_heartbeat_without_time_is_answered_too() -> None:
    assert beat_of(make().receive(ops.Heartbeat('a', None, 1), START)).echo is None


def test_the_heartbeat_of_a_seed_is_heard_but_not_answered() -> None:
    session = make()
    assert session.receive(ops.Heartbeat('a', 5 * SECOND), START) == [fx.PeerChanged()]
    assert session.heartbeats.state_name == 'ALIVE'


def test_an_echo_counts_only_of_a_beat_that_was_sent() -> None:
    session = make()
    session.receive(ops.Heartbeat('a', 5 * SECOND, 1), START)
    for sequence in (0, 2, 10**15):
        echo = sequence, ns(START + EPOCH), 5 * SECOND
        session.receive(ops.Heartbeat('a', 5_100_000_000, 1, echo, answer=True), START + 1)
    assert session.clock.timesync.offset is None
    for _ in range(BEATS_REMEMBERED):
        session.receive(ops.Heartbeat('a', 5 * SECOND, 1), START + 1)
    received = 5 * SECOND
    session.receive(ops.Heartbeat('a', 5_100_000_000, 1, (1, 0, received), answer=True), START + 1)
    assert session.clock.timesync.offset is None
    session.receive(ops.Heartbeat('a', 5_100_000_000, 1, (2, 0, received), answer=True), START + 2)
    assert session.clock.timesync.offset == pytest.approx(5.05 - (START + EPOCH + 1.5))


def test_beats_to_a_peer_are_made_when_the_bridge_wants_one() -> None:
    session = make()
    assert session.deadline() is None
    assert session.heartbeats.make(5.0) == replies.Beat(1, ns(5.0), None)
    session.receive(ops.Heartbeat('a', ns(4.0), 7, answer=True), START)
    assert session.heartbeats.make(6.0) == replies.Beat(
        2, ns(6.0), (7, ns(4.0), ns(START + EPOCH)))
    session.receive(ops.Heartbeat('b', ns(7.5), 8, (2, ns(6.0), ns(7.5)), answer=True), START)
    assert session.clock.timesync.offset is not None


def test_liveness() -> None:
    session = make(heartbeat_interval=1.0, heartbeat_timeout=3.0)
    assert session.heartbeats.state_name == 'UNWATCHED'
    assert session.poll(START + 100) == []
    start = START + 100
    session.receive(ops.Heartbeat('a', 0, 1), start)
    assert session.heartbeats.state_name == 'ALIVE'
    for state, after in (('SUSPECT', 1.5), ('LOST', 3.0)):
        assert session.deadline() == start + after
        assert session.poll(start + after - 0.01) == []
        lost = [fx.PeerLost()] if state == 'LOST' else []
        assert session.poll(start + after) == [*lost, fx.PeerChanged()]
        assert session.poll(start + after) == []
        assert session.describe(start + after).liveness == state
    assert session.deadline() is None
    effects = session.receive(ops.Heartbeat('a', 0, 2), start + 9)
    assert [type(effect) for effect in effects] == [fx.Send, fx.PeerChanged]
    assert session.heartbeats.state_name == 'ALIVE'


def test_a_loss_that_nobody_polled_for_is_one() -> None:
    session = make(heartbeat_interval=1.0, heartbeat_timeout=3.0)
    session.receive(ops.Heartbeat('a', 0), START)
    effects = session.receive(ops.Heartbeat('b', 0), START + 3)
    assert effects == [fx.PeerLost(), fx.PeerChanged()]


def test_who_commands_has_to_send_heartbeats() -> None:
    session = make(heartbeat_interval=1.0, heartbeat_timeout=3.0)
    session.heartbeats.watch(START)
    assert session.heartbeats.state_name == 'ALIVE'
    session.heartbeats.watch(START + 2)      # to command more renews nothing
    assert fx.PeerLost() in session.poll(START + 3)
    session.heartbeats.watch(START + 4)      # it asked again, and has to be heard again
    assert session.heartbeats.state_name == 'ALIVE'
    assert fx.PeerLost() in session.poll(START + 7)


def test_it_shows_itself() -> None:
    session = make()
    session.heartbeats.make(1.0)
    assert repr(session.heartbeats) == 'Heartbeats(UNWATCHED, sent=1)'
    assert repr(session.allowance) == 'Allowance(refused=0)'
    assert repr(session) == ("Session(p, native, name='', PeerSubscriptions(), "
                             'PeerPublications(), PeerServices(calls=0, hosted=0), '
                             'PeerActions(sent=0, hosted=0, working=0))')
