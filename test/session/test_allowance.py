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
"""How much a peer may send, and what it is told when it sends more."""
from __future__ import annotations

import pytest
from support.sessions import binary, failed, make, refusal, START

from ws_bridge.errors import BadField
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.session import effects as fx
from ws_bridge.session.session import Session

REQUESTS: list[ops.Operation] = [
    ops.ListNames('i'), ops.Subscribe('i', '/t'), ops.Command('i', '/reset', {}),
    ops.Command('i', '/t', {}, 'service'), ops.Command('i', '/t', {}, ack=True),
    ops.ServiceAnswer('i', 'c', {}), ops.Malformed('i', BadField('x')), ops.PeerStatus('i', {})]
UNANSWERED: list[ops.Operation] = [
    ops.Command('i', '/t', {}), ops.Command('i', '/reset', {}, 'topic'), binary(1),
    ops.BinarySample(1, 'cdr', memoryview(b''), 0, 0), ops.Appeared({}), ops.Nothing(),
    ops.Malformed(None, BadField('x')), ops.ServiceAnswer('i', 'c', error='no')]


def dismissed(session: Session, frames: int, size: int) -> bool:
    """Weigh so many frames a second, after a second that is used up; whether that ends it."""
    ended = False
    for second in range(9):
        for _ in range(frames):
            session.allowance.check_size(size, START + 1.001 * second)
        ended = any(isinstance(effect, fx.Dismiss)
                    for effect in session.poll(START + 1.001 * (second + 1))) or ended
    return ended


@pytest.mark.parametrize('op', REQUESTS, ids=lambda op: type(op).__name__)
def test_each_request_over_the_rate_gets_its_own_error(op: ops.Operation) -> None:
    session = make(max_message_rate=2.0)
    for _ in range(2):
        session.receive(ops.ListNames(None), START)
    for number in range(1, 4):
        assert refusal(session.receive(op, START)) == ('i', 'rate_limited', None)
        assert session.allowance.refused == number
    assert session.poll(START + 1) == []     # each was told already
    assert session.poll(START + 2) == []
    assert session.deadline() is None
    assert session.receive(ops.ListNames('j'), START + 0.5) == [fx.Describe(ops.ListNames('j'))]


@pytest.mark.parametrize('op', UNANSWERED, ids=lambda op: type(op).__name__)
def test_the_rest_over_the_rate_is_counted_in_one_error_a_second(op: ops.Operation) -> None:
    session = make(max_message_rate=1.0)
    session.receive(ops.ListNames(None), START)
    told = [session.receive(op, START + number / 100) for number in range(1, 11)]
    assert [failed(told[0]).op_id, failed(told[0]).error.code] == [None, 'rate_limited']
    assert '1 messages' in failed(told[0]).error.message
    assert told[1:] == [[]] * 9
    due = session.deadline()
    assert due == START + 1.01
    assert session.poll(due - 0.01) == []
    assert failed(session.poll(due)).error.message.startswith('9 messages were refused')
    assert session.poll(due) == []
    due = session.deadline()
    assert due == START + 2.01
    assert session.poll(due) == []
    assert session.deadline() is None
    assert session.allowance.refused == 10


def test_bytes_over_the_rate_are_not_read() -> None:
    session = make(max_byte_rate=2e6, max_message_size=1_000_000)
    assert session.allowance.check_size(1_500_000, START) is None
    refused = session.allowance.check_size(600_000, START)
    assert refusal(refused or []) == (None, 'rate_limited', None)
    assert session.allowance.check_size(600_000, START) == []
    assert session.allowance.check_size(500_000, START) is None
    assert failed(session.poll(START + 1)).error.message.startswith('1 messages')
    assert session.allowance.check_size(2_000_000, START + 1) is None
    unlimited = make(max_byte_rate=0)
    assert all(unlimited.allowance.check_size(1 << 40, START) is None for _ in range(9))


def test_the_largest_message_always_fits_the_byte_rate() -> None:
    session = make(max_byte_rate=1000.0, max_message_size=5000)
    assert session.allowance.check_size(5000, START) is None
    assert session.allowance.check_size(5000, START + 4.9) is not None
    assert session.allowance.check_size(5000, START + 10) is None


@pytest.mark.parametrize('op', [ops.ListNames('i'), binary(1)], ids=['request', 'stream'])
def test_a_flood_is_ended(op: ops.Operation) -> None:
    """After five seconds of more than twice the rate; a pause begins the count anew."""
    session = make(max_message_rate=10.0)
    now = START
    for pause in (False, True, False):
        for second in range(4 if not pause else 3):
            for _ in range(0 if pause else 30):
                session.receive(op, now)
            now += 1.001
            assert not any(isinstance(effect, fx.Dismiss) for effect in session.poll(now)), second
    for _ in range(30):
        session.receive(op, now)
    assert fx.Dismiss(1008, 'too many messages') in session.poll(now + 1.001)


def test_stops_pass_the_rate_but_a_flood_of_them_ends() -> None:
    session = make(max_message_rate=10)
    now, dismissed = START, False
    for _ in range(400):
        now += 0.02
        (effect,) = session.receive(ops.EmergencyStop('s', ''), now)
        assert not isinstance(effect, fx.Send)      # no error
        dismissed |= any(isinstance(effect, fx.Dismiss) for effect in session.poll(now))
    assert dismissed
    assert session.allowance.refused == 0


def test_a_flood_of_bytes_is_ended() -> None:
    """Few messages, but large ones."""
    assert dismissed(make(max_byte_rate=1e6, max_message_size=100_000), 30, 100_000)
    assert not dismissed(make(max_byte_rate=1e6, max_message_size=100_000), 15, 100_000)


def test_who_sends_too_many_bytes_now_and_then_may_stay() -> None:
    """Without a limit of messages, too."""
    limits = {'max_byte_rate': 1e6, 'max_message_size': 100_000}
    for rate in (0.0, 5000.0):
        assert not dismissed(make(**limits, max_message_rate=rate), 12, 100_000)
    assert not dismissed(make(max_byte_rate=0.0, max_message_rate=0.0), 50, 1 << 30)


def test_no_rate_limit() -> None:
    session = make(max_message_rate=0)
    assert all(session.receive(ops.ListNames('i'), START) == [fx.Describe(ops.ListNames('i'))]
               for _ in range(10_000))


def test_a_heartbeat_over_the_rate_is_heard_but_not_answered() -> None:
    session = make(max_message_rate=1.0, heartbeat_interval=1.0, heartbeat_timeout=3.0)
    session.receive(ops.ListNames(None), START)
    effects = session.receive(ops.Heartbeat('i', nanoseconds(START), 1), START)
    assert [type(effect) for effect in effects] == [fx.PeerChanged, fx.Send]
    assert refusal(effects[1:]) == (None, 'rate_limited', None)
    assert session.heartbeats.state_name == 'ALIVE'
    for tenth in range(1, 100):
        now = START + tenth / 10
        session.receive(binary(1), now)
        session.receive(ops.Heartbeat('i', nanoseconds(now), 1), now)
        session.poll(now)
        assert session.heartbeats.state_name == 'ALIVE'
