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
Replies that are kept until they have arrived.

A state machine breaks the connection at any moment: every request gets one outcome, and samples
that came and samples that were missed are all that there were.
"""
from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    RuleBasedStateMachine,
)
import pytest

from ws_bridge.bridge.streams import Topic
from ws_bridge.errors import SessionGone, TimedOut
from ws_bridge.protocol import replies
from ws_bridge.protocol.operations import Frame
from ws_bridge.protocol.types import Priority
from ws_bridge.session.outbox import MOST_DISOWNED, Outbox
from ws_bridge.session.waiting_room import WaitingRoom
from ws_bridge.timing.freshness import Freshness


def frame(text: str) -> Frame:
    return Frame(text.encode(), True, Priority.HIGH)


def done(op_id: str) -> replies.CallDone:
    return replies.CallDone(op_id, '/s', b'{}')


def texts(frames: list[Frame]) -> list[str]:
    return [each.data.decode() for each in frames]


def test_a_reply_is_kept_until_a_later_heartbeat_was_echoed() -> None:
    outbox = Outbox(100)
    assert outbox.keep(done('a'), [frame('A')], 1)
    assert outbox.keep(done('b'), [frame('BB')], 2)
    assert (len(outbox), outbox.nbytes) == (2, 3)
    outbox.arrived(1)
    assert len(outbox) == 2
    outbox.arrived(2)
    assert repr(outbox) == 'Outbox(1 replies, 2 bytes)'
    outbox.arrived(9)
    assert outbox.nbytes == 0


def test_what_a_peer_waits_for_is_sent_again_and_kept_on() -> None:
    outbox = Outbox(100)
    for op_id in 'abc':
        outbox.keep(done(op_id), [frame(op_id)], 1)
    again, unknown = outbox.come_back(['a', 'c', 'd', 'e'], [], ['d', None], 5)
    assert (texts(again), unknown) == (['a', 'c'], ['e'])
    outbox.arrived(5)       # of heartbeats before it came back
    assert len(outbox) == 2
    again, unknown = outbox.come_back(['a'], [], [], 6)
    assert (texts(again), unknown) == (['a'], [])
    outbox.arrived(7)
    assert len(outbox) == 0


def test_a_goal_that_is_known_to_be_accepted_is_not_accepted_again() -> None:
    outbox = Outbox(100)
    for op_id in 'gh':
        outbox.keep(replies.GoalAccepted(op_id, '/a'), [frame(f'{op_id}+')], 0)
    outbox.keep(replies.GoalDone('h', '/a', b'{}', 4), [frame('h=')], 0)
    assert texts(outbox.come_back(['g'], ['h'], ['g'], 0)[0]) == ['g+', 'h=']
    assert outbox.come_back(['h'], [], [], 0) == ([frame('h=')], [])


def test_an_acceptance_is_no_end() -> None:
    outbox = Outbox(100)
    outbox.keep(replies.GoalAccepted('g', '/a'), [frame('g+')], 0)
    assert outbox.come_back(['g'], [], [], 0) == ([], ['g'])


@pytest.mark.parametrize('reply', [
    replies.LeaseAnswered('a', 'acquire', '/g', replies.LeaseTerms(1, 1.0, 1.0)),
    replies.GatesListed('a', replies.ControlState([], replies.StopState(False, None, ''))),
    replies.TicketMade('a', 'r', 't', 1.0), replies.Failed(None, TimedOut('x')),
    replies.Beat(1, 0, None, 'a')], ids=lambda reply: type(reply).__name__)
def test_what_says_nothing_on_another_connection_is_not_kept(reply: Any) -> None:
    outbox = Outbox(100)
    assert outbox.keep(reply, [frame('x')], 0)
    assert len(outbox) == 0


def test_the_reply_to_a_request_that_is_given_up_is_held_back_once() -> None:
    outbox = Outbox(100)
    assert outbox.come_back(['a'], [], [], 0) == ([], ['a'])
    assert not outbox.keep(done('a'), [frame('a')], 0)
    assert outbox.keep(done('a'), [frame('a')], 0)


def test_what_was_given_up_stays_so_when_the_peer_comes_back_again() -> None:
    outbox = Outbox(100)
    assert outbox.come_back(['a', 'g'], [], [], 0) == ([], ['a', 'g'])
    assert outbox.come_back([], [], [], 1) == ([], [])
    assert not outbox.keep(done('a'), [frame('a')], 1)
    assert not outbox.keep(replies.GoalAccepted('g', '/a'), [frame('g+')], 1)
    assert not outbox.keep(replies.GoalDone('g', '/a', b'{}', 4), [frame('g=')], 1)
    many = [str(number) for number in range(MOST_DISOWNED)]
    outbox.come_back(['b', *many], [], [], 2)
    assert outbox.keep(done('b'), [frame('b')], 2)
    assert not outbox.keep(done('0'), [frame('0')], 2)


def test_the_oldest_replies_give_way() -> None:
    outbox = Outbox(10)
    for op_id in 'abc':
        outbox.keep(done(op_id), [frame(op_id * 4)], 0)
    outbox.keep(done('d'), [frame('d' * 11)], 0)
    assert (len(outbox), outbox.nbytes, outbox.given_way) == (2, 8, 2)
    assert outbox.come_back(['a', 'c', 'd'], [], [], 0) == ([frame('cccc')], ['a', 'd'])


def test_samples_are_counted_by_numbers_of_32_bits() -> None:
    topic = Topic('/t', Freshness(None, 0.0), sequence=2**32 + 3)
    topic.begun['p', '/t'] = 2**32 - 10
    name = ('p', '/t')
    assert topic.behind(name, None) == 13
    assert topic.behind(name, 2**32 + 1) == 2
    assert topic.behind(name, 1) == 2           # as a binary frame has it
    assert topic.behind(name, 2**32 - 2) == 5
    assert topic.behind(name, 4) == 13          # a sample that there was not yet
    assert topic.behind(('q', '/t'), None) == 2**32 + 3


class Links(RuleBasedStateMachine):
    """
    A bridge and a peer; what is under way comes in order, or is lost with all that follows it.

    The bridge may take long to see that a connection is gone: the peer comes back all the same.
    """

    @initialize()
    def begin(self) -> None:
        self.outbox = Outbox(1 << 20)
        secrets = iter(range(10_000))
        self.room: WaitingRoom[str] = WaitingRoom(10.0, 1, 1, lambda: f's{next(secrets)}')
        self.up: deque[tuple[Any, ...]] = deque()
        self.down: deque[tuple[Any, ...]] = deque()
        self.is_open = self.is_back = True
        self.secret = self.room.issue('p', 'bridge', 0)
        self.beat = 0
        self.reached: set[str] = set()
        self.running: dict[str, bool] = {}      # whether it is a goal that was not accepted yet
        self.topic = Topic('/t', Freshness(None, 0.0))
        # the peer
        self.sent = 0
        self.waiting: set[str] = set()
        self.accepted: set[str] = set()
        self.outcomes: dict[str, list[str]] = {}
        self.last: int | None = None
        self.got = self.missed = 0

    def tell(self, *what: Any) -> None:
        if self.is_open:
            self.down.append(what)

    def reply(self, reply: Any, text: str) -> None:
        if self.outbox.keep(reply, [frame(text)], self.beat):
            self.tell('reply', text)

    # ---- what happens in the bridge

    @precondition(lambda self: self.up)
    @rule()
    def hear(self) -> None:
        what, value = self.up.popleft()
        if what == 'echo':
            self.outbox.arrived(value)
            self.room.arrived('p', value)
        elif what == 'resume':
            self.resume(*value)
        else:
            self.running[value] = what == 'goal'
            self.reached.add(value)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        op_id = data.draw(st.sampled_from(sorted(self.running)))
        if self.running[op_id]:
            self.running[op_id] = False
            self.reply(replies.GoalAccepted(op_id, '/a'), f'{op_id} accepted')
        else:
            del self.running[op_id]
            self.reply(done(op_id), f'{op_id} done')

    @rule()
    def make_beat(self) -> None:
        self.beat += 1
        self.tell('beat', self.beat)

    @rule()
    def sample(self) -> None:
        self.topic.sequence += 1
        if self.is_back:
            self.tell('sample', self.topic.sequence)

    def resume(self, secret: str, waiting: list[str], accepted: list[str],
               last: int | None) -> None:
        try:
            self.room.find('p', secret, 0.0)
        except SessionGone:
            raise AssertionError('the peer knows no secret that counts') from None
        behind = self.topic.behind(('p', '/t'), last)
        again, unknown = self.outbox.come_back(waiting, accepted, self.running, self.beat)
        new = self.room.issue('p', 'bridge', self.beat)
        self.is_back = True
        self.tell('resumed', new, unknown, behind, self.topic.sequence)
        for text in texts(again):
            self.tell('reply', text)

    # ---- what happens at the peer

    @precondition(lambda self: self.is_open)
    @rule(is_goal=st.booleans())
    def ask(self, is_goal: bool) -> None:
        self.sent += 1
        op_id = f'r{self.sent:03}'
        self.outcomes[op_id] = []
        self.waiting.add(op_id)
        self.up.append(('goal' if is_goal else 'call', op_id))

    @precondition(lambda self: self.down)
    @rule()
    def get(self) -> None:
        what, *values = self.down.popleft()
        if what == 'beat' and self.is_open:
            self.up.append(('echo', values[0]))
        elif what == 'sample':
            assert self.last is None or values[0] == self.last + 1
            self.last, self.got = values[0], self.got + 1
        elif what == 'reply':
            op_id, word = values[0].split()
            self.outcomes[op_id].append(word)
            self.waiting.discard(op_id)
            self.accepted.discard(op_id)
            if word == 'accepted':
                self.accepted.add(op_id)
        elif what == 'resumed':
            self.secret, unknown, behind, self.last = values
            self.missed += behind
            for op_id in unknown:
                self.outcomes[op_id].append('unknown')
                self.waiting.discard(op_id)
                self.accepted.discard(op_id)

    @precondition(lambda self: self.is_open)
    @rule(heard=st.integers(0, 3), got=st.integers(0, 3))
    def cut(self, heard: int, got: int) -> None:
        """Lose what is under way, but for the first of it."""
        for _ in range(min(heard, len(self.up))):
            self.hear()
        for _ in range(min(got, len(self.down))):
            self.get()
        self.up.clear()
        self.down.clear()
        self.is_open = self.is_back = False

    @precondition(lambda self: not self.is_open)
    @rule()
    def come_back(self) -> None:
        self.is_open = True
        self.up.append(('resume', (self.secret, sorted(self.waiting), sorted(self.accepted),
                                   self.last)))

    # ---- what must hold

    @invariant()
    def every_request_has_one_end(self) -> None:
        for op_id, words in getattr(self, 'outcomes', {}).items():
            assert words in ([], ['done'], ['accepted'], ['accepted', 'done'], ['unknown'],
                             ['accepted', 'unknown']), (op_id, words)
            assert 'unknown' not in words or op_id not in self.reached, 'a reply was lost'

    def teardown(self) -> None:
        if not hasattr(self, 'outbox'):
            return
        if not self.is_open:
            self.come_back()
        while self.up or self.down or self.running:
            if self.up:
                self.hear()
            elif self.down:
                self.get()
            else:
                self.running[min(self.running)] = False
                op_id = min(self.running)
                del self.running[op_id]
                self.reply(done(op_id), f'{op_id} done')
        self.every_request_has_one_end()
        assert not self.waiting
        assert not self.accepted
        for op_id, words in self.outcomes.items():
            assert words[-1] == ('done' if op_id in self.reached else 'unknown')
        assert self.got + self.missed == self.topic.sequence


TestLinks = Links.TestCase
TestLinks.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
