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
Any sequence of operations against a plain model of who owns what.

The ledger carries effects out as a bridge would; the model says beforehand what must come.
"""
from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, RuleBasedStateMachine
from support.sessions import EPOCH, FakeNames, START

from ws_bridge.config import Denial, Exposure, Rule, settings_from
from ws_bridge.errors import PeerGone
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.session import effects as fx
from ws_bridge.session.session import Session

LIMIT = 2
EVERYTHING = (Rule('*'),)
EXPOSURE = Exposure(EVERYTHING, EVERYTHING, EVERYTHING, EVERYTHING, (Denial('/denied'),))

# several words for one name, a name that is not one, one that is denied
topics = st.sampled_from(['odom', '/odometry', 'odometry', '/a', '/b', '/c', 'a b', '/denied'])
services = st.sampled_from(['/reset', 'reset', '/s', '/t', '/u', 'a b', '/denied'])

Owned = tuple[str, object]


class Ledger:
    """What is open, after effects were carried out in order."""

    def __init__(self) -> None:
        self.open: set[Owned] = set()

    def carry_out(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.OpenSubscription():
                    self.open.add(('subscription', effect.name))
                case fx.OpenPublisher():
                    self.open.add(('publisher', effect.topic))
                case fx.Host():
                    self.open.add(('service', effect.service))
                case fx.CallService():
                    assert ('call', effect.key) not in self.open
                    self.open.add(('call', effect.key))
                case fx.CloseSubscription():
                    self.open.remove(('subscription', effect.name))
                case fx.ClosePublisher():
                    self.open.remove(('publisher', effect.topic))
                case fx.Unhost():
                    self.open.remove(('service', effect.service))
                case fx.CancelCall():
                    self.open.remove(('call', effect.key))
                case fx.Publish():
                    assert ('publisher', effect.topic) in self.open
                case fx.AnswerService():
                    assert ('service', effect.service) in self.open

    def names(self, kind: str) -> set[object]:
        return {name for what, name in self.open if what == kind}


class Machine(RuleBasedStateMachine):
    """One peer that does anything, and a bridge that carries out what follows."""

    rate = 0.0

    @initialize()
    def connect(self) -> None:
        parameters = settings_from({
            'max_subscriptions': LIMIT, 'max_advertisements': LIMIT, 'max_services': LIMIT,
            'max_calls': LIMIT, 'max_message_rate': self.rate, 'call_timeout': 2.0,
            'heartbeat_interval': 1.0, 'heartbeat_timeout': 3.0})
        self.names = FakeNames()
        self.session = Session('p', 'native', settings=parameters, exposure=EXPOSURE,
                               names=self.names, now=START, unix_offset=EPOCH)
        self.ledger = Ledger()
        self.now = START
        self.waiting: dict[str, tuple[str, float]] = {}
        self.channels: dict[int, str] = {}
        self.answers: Counter[str] = Counter()

    # ---- helpers

    def send(self, op: ops.Operation) -> str:
        """Hand over an operation; return ``ok`` or the code of its error."""
        effects = self.session.receive(op, self.now)
        self.ledger.carry_out(effects)
        codes = [effect.reply.error.code for effect in effects
                 if isinstance(effect, fx.Send) and isinstance(effect.reply, replies.Failed)]
        assert len(codes) <= 1
        if codes:
            assert not [e for e in effects if not isinstance(e, fx.Send | fx.PeerChanged)]
        return codes[0] if codes else 'ok'

    def expected(self, kind: str, name: str) -> str:
        """Return what becomes of a request to own ``name``."""
        if ' ' in name:
            return 'bad_name'
        resolved = self.resolve(kind, name)
        if resolved == '/denied':
            return 'forbidden'
        owned = self.ledger.names(kind)
        mine = name if kind == 'subscription' else resolved     # each name has one of its own
        return 'ok' if mine in owned or len(owned) < LIMIT else 'limit_exceeded'

    def resolve(self, kind: str, name: str) -> str:
        return self.names.service(name) if kind == 'service' else self.names.topic(name)

    def given_back(self, kind: str, name: str) -> str:
        if ' ' in name:
            return 'bad_name'
        owned = {self.resolve(kind, str(each)) for each in self.ledger.names(kind)}
        return 'ok' if self.resolve(kind, name) in owned else 'not_advertised'

    def may(self, code: str, expected: str) -> None:
        """Hold a result against the model; a limited rate may refuse anything."""
        assert code == expected or (self.rate and code == 'rate_limited'), (code, expected)

    # ---- what the peer does

    @rule(name=topics)
    def subscribe(self, name: str) -> None:
        expected = self.expected('subscription', name)
        self.may(self.send(ops.Subscribe('i', name)), expected)

    @rule(name=topics)
    def unsubscribe(self, name: str) -> None:
        expected = self.given_back('subscription', name)
        self.may(self.send(ops.Unsubscribe('i', name)), expected)

    @rule(name=topics)
    def advertise(self, name: str) -> None:
        expected = self.expected('publisher', name)
        self.may(self.send(ops.Advertise('i', name)), expected)

    @rule(name=topics, channel_id=st.integers(1, 6))
    def publisher_opened(self, name: str, channel_id: int) -> None:
        topic = self.names.topic(name) if ' ' not in name else ''
        if topic in self.ledger.names('publisher') and channel_id not in self.channels:
            self.channels = {c: t for c, t in self.channels.items() if t != topic}
            self.channels[channel_id] = topic
            self.session.publications.opened(topic, channel_id, is_judged=False)

    @rule(name=topics)
    def unadvertise(self, name: str) -> None:
        expected = self.given_back('publisher', name)
        self.may(self.send(ops.Unadvertise('i', name)), expected)

    @rule(name=topics, ack=st.booleans())
    def publish(self, name: str, ack: bool) -> None:
        expected = self.expected('publisher', name)
        code = self.send(ops.Command('i', name, {}, 'topic', ack=ack))
        if not self.rate:
            assert code == expected

    @rule(channel_id=st.integers(1, 6))
    def publish_binary(self, channel_id: int) -> None:
        expected = 'ok' if channel_id in self.channels else 'not_advertised'
        code = self.send(ops.BinaryPublish(channel_id, 'cdr', memoryview(b''), 0, 0))
        if not self.rate:
            assert code == expected

    @rule(name=services)
    def call(self, name: str) -> None:
        expected = 'limit_exceeded' if len(self.ledger.names('call')) >= LIMIT else 'ok'
        if ' ' in name or name == '/denied':
            expected = self.expected('service', name)
        self.may(self.send(ops.Command('i', name, {}, 'service')), expected)

    @rule(name=services)
    def host(self, name: str) -> None:
        expected = self.expected('service', name)
        code = self.send(ops.AdvertiseService('i', name, 'a/S'))
        self.may(code, expected)
        if code == 'ok':  # hosting again is a new server: the old one's calls have gone
            service = self.names.service(name)
            self.waiting = {c: (s, d) for c, (s, d) in self.waiting.items() if s != service}

    @rule(name=services)
    def unhost(self, name: str) -> None:
        expected = self.given_back('service', name)
        self.may(self.send(ops.UnadvertiseService('i', name)), expected)

    @rule(data=st.data(), good=st.booleans())
    def answer(self, data: st.DataObject, good: bool) -> None:
        known = [*self.answers, 'unknown']
        call_id = data.draw(st.sampled_from(known))
        waits = call_id in self.waiting
        error = None if good else 'no'
        refused = self.session.allowance.refused
        code = self.send(ops.ServiceAnswer('i', call_id, {}, error))
        if not self.rate:
            assert code == ('ok' if waits or not good else 'expired')
        if self.session.allowance.refused == refused:
            self.waiting.pop(call_id, None)

    @rule(sequence=st.none() | st.integers(0, 20), echo=st.none() | st.integers(0, 20),
          is_answer=st.booleans())
    def heartbeat(self, sequence: int | None, echo: int | None,
                  is_answer: bool) -> None:
        echoed = None if echo is None else (echo, 0, nanoseconds(self.now))
        op = ops.Heartbeat('i', nanoseconds(self.now), sequence, echoed, is_answer)
        effects = self.session.receive(op, self.now)
        beats = [e for e in effects
                 if isinstance(e, fx.Send) and isinstance(e.reply, replies.Beat)]
        if not self.rate:
            assert len(beats) == (sequence is not None and not is_answer)
        assert self.session.heartbeats.state_name != 'UNWATCHED'

    # ---- what ROS and time do

    @rule(name=services)
    def called_from_ros(self, name: str) -> None:
        if ' ' in name:
            return
        service = self.names.service(name)
        effects = self.session.services.called(service, object(), b'{}', self.now)
        replies: list[Any] = [e.reply for e in effects if isinstance(e, fx.Send)]
        if service not in self.ledger.names('service'):
            assert effects == []
        elif len(self.waiting) >= LIMIT:
            assert [reply.error.code for reply in replies] == ['limit_exceeded']
        else:
            (request,) = replies
            self.answers[request.call_id] += 1
            assert self.answers[request.call_id] == 1
            self.waiting[request.call_id] = service, self.now + 2.0

    @precondition(lambda self: self.ledger.names('call'))
    @rule(data=st.data(), good=st.booleans())
    def call_ends(self, data: st.DataObject, good: bool) -> None:
        key: Any = data.draw(st.sampled_from(sorted(self.ledger.names('call'), key=str)))
        assert len(self.session.services.ended(key, b'{}' if good else PeerGone('left'))) == 1
        self.ledger.open.remove(('call', key))
        assert self.session.services.ended(key, b'{}') == []

    @rule(data=st.data())
    def ros_refuses(self, data: st.DataObject) -> None:
        kinds = {'subscription': self.session.subscriptions.forget,
                 'publisher': self.session.publications.forget,
                 'service': self.session.services.forget}
        kind = data.draw(st.sampled_from(sorted(kinds)))
        for name in sorted(map(str, self.ledger.names(kind)))[:1]:
            kinds[kind](name)
            self.ledger.open.remove((kind, name))

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.5, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.poll()

    @rule()
    def time_comes(self) -> None:
        """Poll at the very instant that the session asked for."""
        due = self.session.deadline()
        if due is not None:
            self.now = max(self.now, due)
            self.poll()

    def poll(self) -> None:
        effects = self.session.poll(self.now)
        self.ledger.carry_out(effects)
        self.waiting = {c: (s, d) for c, (s, d) in self.waiting.items() if d > self.now}
        due = self.session.deadline()
        assert due is None or due > self.now
        assert self.session.poll(self.now) == []
        assert self.session.deadline() == due

    # ---- what always holds

    @invariant()
    def the_session_owns_what_is_open(self) -> None:
        if not hasattr(self, 'session'):
            return
        session = self.session
        assert set(session.subscriptions.names) == self.ledger.names('subscription')
        assert set(session.publications.topics) == self.ledger.names('publisher')
        assert set(session.services.hosted) == self.ledger.names('service')
        assert set(session.services.calls) == self.ledger.names('call')
        topics, services = session.publications.topics, session.services.hosted
        self.channels = {c: t for c, t in self.channels.items() if t in topics}
        self.waiting = {c: (s, d) for c, (s, d) in self.waiting.items() if s in services}

    def teardown(self) -> None:
        if not hasattr(self, 'session'):
            return
        effects = self.session.close()
        assert len(effects) == len(self.ledger.open)
        self.ledger.carry_out(effects)
        assert not self.ledger.open
        assert self.session.close() == []


class LimitedMachine(Machine):
    """The same, faster than the peer may."""

    rate = 2.0


class Refusals(RuleBasedStateMachine):
    """However a peer floods, each refused message is told of: itself, or in a count."""

    @initialize()
    def connect(self) -> None:
        parameters = settings_from({'max_message_rate': 2.0})
        self.session = Session('p', 'native', settings=parameters, exposure=EXPOSURE,
                               names=FakeNames(), now=START, unix_offset=EPOCH)
        self.now = START
        self.sent = self.passed = self.told = 0
        self.last_count = -1e9

    def look(self, effects: list[fx.Effect]) -> int:
        """Add up what errors tell; return how many there were."""
        errors = [e.reply for e in effects if isinstance(e, fx.Send)
                  and isinstance(e.reply, replies.Failed) and e.reply.error.code == 'rate_limited']
        for reply in errors:
            if reply.op_id is None:
                self.told += int(reply.error.message.split()[0])
                assert self.now - self.last_count >= 1.0 - 1e-6
                self.last_count = self.now
            else:
                self.told += 1
        return len(errors)

    @rule(op=st.sampled_from([ops.Command('i', '/a', {}), ops.ListNames('i'),
                              ops.Command('i', '/reset', {}), ops.Heartbeat('i', None, 1)]),
          number=st.integers(1, 5))
    def flood(self, op: ops.Operation, number: int) -> None:
        for _ in range(number):
            self.look(self.session.receive(op, self.now))

    @rule(seconds=st.sampled_from([0.1, 0.4, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.session.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.look(self.session.poll(self.now))
        self.now = end

    def teardown(self) -> None:
        if hasattr(self, 'session'):
            self.time_passes(10.0)
            assert self.told == self.session.allowance.refused


# The default of examples is that of the profile; each one is many operations.
TestSession = Machine.TestCase
TestLimitedSession = LimitedMachine.TestCase
TestRefusals = Refusals.TestCase
TestSession.settings = TestLimitedSession.settings = TestRefusals.settings = \
    settings(stateful_step_count=40)
