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
Leases, gates, the stop and the watchdog, in any order, against a plain model.

The bridge's own :class:`Control` runs here with a ROS side that only keeps what is published.
The watchdog acts on its own, and what it tells comes later, as from another thread.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, RuleBasedStateMachine
from support.sessions import FakeNames

from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.control import Control, PRESS_TIME
from ws_bridge.bridge.guarded import Lane
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.peer import Peer
from ws_bridge.config import Exposure, settings_from
from ws_bridge.config.roles import OwnNames
from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema import MessageSchema
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialects import DIALECTS as KINDS
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.ros.graph import GraphSnapshot, TopicInfo
from ws_bridge.safety.policy import GatePolicy, LeaseMode
from ws_bridge.session.effects import ControlOperation, Publish
from ws_bridge.session.session import Session

TWIST = 'geometry_msgs/msg/Twist'
SCHEMA: MessageSchema = schema_from_text(TWIST, 'float64 x\nfloat64 y\n')
CODEC = Codec(SCHEMA)
GATE = '/cmd_vel'
TOPICS = GATE, '/other'
TIMEOUT, TTL, INTERVAL, EPOCH = 0.5, 0.3, 1.0, 1_760_000_000.0


class FakeGuard:
    """Keeps what passed; ``moving`` says whether the robot does."""

    def __init__(self, on_stopped: Any) -> None:
        self.generation = 0
        self.alarm = ''
        self.moving: set[object] = set()    # publishers, here the names of their topics
        self.passed: list[float] = []
        self.on_stopped = on_stopped

    def add(self, publisher: object, stops: tuple[bytes | None, ...]) -> None:
        assert stops == (CODEC.from_values({}),)

    def publish(self, publisher: object, cdr: bytes, generation: int, *, moving: bool,
                deadline: float | None, on_done: Any, counted: bool) -> bool:
        if generation != self.generation:
            return False
        (self.moving.add if moving else self.moving.discard)(publisher)
        self.passed.append(float(CODEC.to_values(cdr)['x']))  # type: ignore[arg-type]
        if on_done is not None:
            on_done(None)
        return True

    def stop(self, reason: str) -> bool:
        self.generation += 1
        moved, self.moving = bool(self.moving), set()
        return moved


class FakePace:
    """Remembers since when a peer is pinged fast."""

    def __init__(self, machine: Machine) -> None:
        self.hurried_at: float | None = None
        self._machine = machine

    def hurry(self, interval: float) -> None:
        assert interval == TTL / 3
        if self.hurried_at is None:
            self.hurried_at = self._machine.now


@dataclass
class Model:
    """What has to be true, in plain words."""

    holder: str | None = None
    implicit: bool = False
    asker: str | None = None
    asked_at: float = 0.0
    stopped: bool = False
    presses: dict[str, float] = field(default_factory=dict)     # when they were carried out
    armed: set[str] = field(default_factory=set)        # topics on which the holder has let go
    sequence: int = -1
    last: float = 0.0
    since_estop: set[str] | None = None         # topics commanded since it was cleared
    senders: set[str] = field(default_factory=set)      # of anything, accepted or not
    # senders while another commanded, ..., and the topics on which they have let go since
    owing: dict[str, set[str]] = field(default_factory=dict)
    epochs: dict[str, list[int]] = field(default_factory=dict)

    def give(self, peer: str | None, *, implicit: bool = False) -> None:
        self.holder, self.implicit = peer, implicit
        self.armed, self.sequence = set(), -1
        if peer is not None:
            self.owe(but=peer)

    def owe(self, but: str = '') -> None:
        """Have all who sent something let go on each topic."""
        self.owing.update((each, set()) for each in self.senders - {but})

    def is_over(self, now: float) -> bool:
        """Whether the silence of a holder that acquired by publishing has ended its lease."""
        return self.implicit and self.holder is not None and now >= self.last + TIMEOUT

    def end(self) -> None:
        heir, self.asker = (None if self.stopped else self.asker), None
        self.give(heir)


DIALECTS: dict[str, LeaseMode] = {'a': 'native', 'b': 'native', 'page': 'rosbridge'}
peers = st.sampled_from(sorted(DIALECTS))
topics = st.sampled_from([GATE, *TOPICS])


class Machine(RuleBasedStateMachine):
    """Two peers that know leases, a page that does not, and a watchdog."""

    @initialize()
    def start(self) -> None:
        self.now = 1000.0
        self.mail = 0
        self.replies: dict[str, list[replies.Reply]] = {}
        ros: Any = SimpleNamespace(
            graph=GraphSnapshot({GATE: TopicInfo((TWIST,))}),
            watchdog=SimpleNamespace(guard=self.make_guard, stop=lambda guards, reason: [
                guard.stop(reason) for guard in guards]), own=OwnNames(),
            publish_safety=lambda **_: None, node_name='/ws_bridge',
            tell_neighbours=lambda text: None, has_neighbours=lambda: True)
        parameters = settings_from({'gate_timeout': TIMEOUT, 'gate_ttl': TTL})
        self.ledger = Ledger(Audit('', 0, lambda: self.now, EPOCH))
        self.peers = {name: self.make_peer(name, parameters) for name in DIALECTS}
        exposure = replace(Exposure.open(), gates=(GatePolicy(GATE, TOPICS),))
        self.control = Control(parameters, exposure, ros, peers=self.peers.values,
                               arm=lambda peer: None, halt=lambda gate: None,
                               clock=lambda: self.now, epoch=EPOCH, audit=self.ledger.audit)
        lanes = {topic: self.open(topic) for topic in TOPICS}
        self.guarded = lanes[GATE].guarded
        self.passages = {(name, topic): self.control.passages.passage(peer, lane)
                         for name, peer in self.peers.items() for topic, lane in lanes.items()}
        self.model = Model()

    def open(self, topic: str) -> Lane:  # noqa: A003
        lane = self.control.passages.open(topic, CODEC, topic)
        assert lane is not None
        return lane

    def make_guard(self, name: str, timeout: float, steps: Any, events: Any) -> FakeGuard:
        assert (name, timeout) == (GATE, TIMEOUT)
        self.guard = FakeGuard(events.stopped)
        return self.guard

    def make_peer(self, name: str, parameters: Any) -> Peer:
        session = Session(name, DIALECTS[name], lease_mode=DIALECTS[name], settings=parameters,
                          exposure=Exposure.open(), names=FakeNames(), now=self.now,
                          unix_offset=EPOCH)
        session.wants_status = True
        sent = self.replies[name] = []
        dialect: Any = SimpleNamespace(
            name=DIALECTS[name], encode=lambda reply, stamp: [sent.append(reply)][:0])
        link: Any = SimpleNamespace(address='127.0.0.1', remote='127.0.0.1:9', fence=0.0,
                                    pace=FakePace(self))
        kind = KINDS[dialect.name]
        return Peer(link, session, dialect, kind, lambda: self.now + EPOCH, self.ledger)

    def said(self, peer: str, op: Any) -> str:
        """Return what becomes of a wish: ``ok``, or the code of the error."""
        try:
            self.control.operate(self.peers[peer], ControlOperation(op))
        except WsBridgeError as exc:
            return exc.code
        return 'ok'

    @property
    def lease(self) -> Any:
        return self.guarded.gate.lease

    def follow(self) -> None:
        """Note the epoch that the holder was told."""
        if self.model.holder is not None:
            self.model.epochs.setdefault(self.model.holder, []).append(self.lease.epoch)

    # ---- words

    @rule(peer=peers)
    def acquire(self, peer: str) -> None:
        model = self.model
        expected = 'stopped' if model.stopped else 'held' if model.holder else 'ok'
        assert self.said(peer, ops.LeaseOperation('i', 'acquire', GATE)) == expected
        if expected == 'ok':
            model.give(peer)
            self.follow()

    @rule(peer=peers)
    def take(self, peer: str) -> None:
        expected = 'stopped' if self.model.stopped else 'ok'
        assert self.said(peer, ops.LeaseOperation('i', 'take', GATE)) == expected
        if expected == 'ok':
            self.model.asker = None
            self.model.give(peer)
            self.follow()

    @rule(peer=peers)
    def release(self, peer: str) -> None:
        held = self.model.holder == peer
        assert self.said(peer, ops.LeaseOperation('i', 'release', GATE)) == \
            ('ok' if held else 'not_holder')
        if held:
            self.model.end()
            self.follow()

    @rule(peer=peers)
    def request(self, peer: str) -> None:
        model = self.model
        expected = 'stopped' if model.stopped else \
            'held' if model.holder == peer or model.asker else 'ok'
        assert self.said(peer, ops.LeaseOperation('i', 'request', GATE)) == expected
        if expected == 'ok' and model.holder:
            model.asker, model.asked_at = peer, self.now
        elif expected == 'ok':
            model.give(peer)
            self.follow()

    @rule(peer=peers, asker=peers, granted=st.booleans())
    def answer(self, peer: str, asker: str, granted: bool) -> None:
        model = self.model
        expected = 'not_holder' if model.holder != peer else \
            'peer_gone' if model.asker != asker else 'ok'
        word: Any = 'grant' if granted else 'deny'
        assert self.said(peer, ops.LeaseOperation('i', word, GATE, asker)) == expected
        if expected == 'ok':
            model.asker = None
            if granted:
                model.give(asker)
                self.follow()

    @rule(peer=peers, rarely=st.integers(0, 3))
    def stop(self, peer: str, rarely: int) -> None:
        if rarely:
            return
        assert self.said(peer, ops.EmergencyStop('i')) == 'ok'
        self.model.stopped = True
        self.model.end()

    @rule(peer=peers, press=st.sampled_from(['x', 'y']), rarely=st.integers(0, 3))
    def press(self, peer: str, press: str, rarely: int) -> None:
        """Stop by a press that may have been carried out before."""
        if rarely:
            return
        at = self.model.presses.get(press)
        is_known = at is not None and self.now < at + PRESS_TIME
        assert self.said(peer, ops.EmergencyStop('i', press=press)) == 'ok'
        if not is_known:
            self.model.presses[press] = self.now
            self.model.stopped = True
            self.model.end()
        assert self.replies[peer][-1] == replies.StopAsserted('i', self.model.stopped)

    @rule(peer=peers)
    def clear(self, peer: str) -> None:
        model = self.model
        assert self.said(peer, ops.ClearStop('i')) == 'ok'
        if model.stopped:
            model.stopped, model.since_estop = False, set()
            model.owe()

    # ---- loss

    @rule(peer=peers, reason=st.sampled_from(['heartbeat', 'closed']))
    def lose(self, peer: str, reason: str) -> None:
        self.control.lost(self.peers[peer], reason)
        model = self.model
        if model.implicit and model.holder == peer and reason == 'heartbeat':
            return
        model.senders.discard(peer)
        model.owing.pop(peer, None)
        if model.asker == peer:
            model.asker = None
        if model.holder == peer:
            model.end()
            self.follow()

    @rule(seconds=st.sampled_from([0.01, 0.2, 0.4, 1.0, 20.0, PRESS_TIME]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.control.tick()
        model = self.model
        if model.asker and self.now >= model.asked_at + 15.0:
            model.asker = None
        if model.is_over(self.now):
            model.end()
            self.follow()

    @rule(seconds=st.sampled_from([0.1, 0.3]))
    def the_loop_hangs(self, seconds: float) -> None:
        """Let time pass of which nobody takes note."""
        self.now += seconds

    @rule(peer=peers)
    def it_rests(self, peer: str) -> None:
        pace: Any = self.peers[peer].link.pace
        pace.hurried_at = None

    @precondition(lambda self: self.guard.moving)
    @rule()
    def watchdog_stops(self) -> None:
        self.guard.stop('timeout')     # the loop does not know of it yet
        self.mail += 1

    @precondition(lambda self: self.mail)
    @rule()
    def mail_comes(self) -> None:
        self.mail -= 1
        news = self.guarded.generation != self.guard.generation
        self.guard.on_stopped(self.guard, 'timeout', 1, TIMEOUT)
        if news:
            self.note_the_stop()

    def note_the_stop(self) -> None:
        self.model.armed = set()
        if self.model.implicit and self.model.holder:
            self.model.end()
            self.follow()

    # ---- commands

    @rule(topic=topics, x=st.sampled_from([0.0, 1.0]))
    def holder_commands(self, topic: str, x: float) -> None:
        self.command_of(self.model.holder or 'page', topic, x, 0, 1, 0.0)

    @rule(topic=topics,
          speeds=st.sampled_from([(0.0, 1.0), (0.0, 1.0, None, 1.0), (0.0, 1.0, None)]))
    def holder_drives(self, topic: str, speeds: tuple[float | None, ...]) -> None:
        for x in speeds:
            if x is None:
                if self.guard.moving:
                    self.watchdog_stops()
                continue
            self.command_of(self.model.holder or 'page', topic, x, 0, 1, 0.0)

    @rule(peer=peers, topic=topics, x=st.sampled_from([0.0, 1.0, 2.0]),
          older=st.sampled_from([0, 0, 0, 1]), step=st.sampled_from([1, 1, 1, 0, -1]),
          age=st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.35, 1.25, 1.35, 5.0, -5.0, None]))
    def command(self, peer: str, topic: str, x: float, older: int, step: int,
                age: float | None) -> None:
        self.command_of(peer, topic, x, older, step, age)

    def command_of(self, peer: str, topic: str, x: float, older: int, step: int,
                   age: float | None) -> None:
        model = self.model
        epochs = model.epochs.get(peer, [])
        epoch = epochs[-1 - older] if len(epochs) > older and DIALECTS[peer] == 'native' else None
        sequence = max(model.sequence + step, 0)
        link: Any = self.peers[peer].link
        bound, self.heir = TTL, False
        if DIALECTS[peer] == 'native':
            link.fence = -1e9           # it counts for nothing: such peers tell the time
        else:
            fenced = max(age or 0.0, 0.0)
            link.fence, age = self.now - fenced, None
            bound = self.make_ready(link.pace)
        op = ops.Command('i', topic, {'x': x}, epoch=epoch, sequence=sequence,
                         bridge_time=None if age is None else
                         nanoseconds(self.now + EPOCH - age))
        first = model.holder is None
        expected = self.expected(peer, op, x, age, bound)
        model.senders.add(peer)
        if model.holder not in (None, peer):
            model.owing[peer] = set()
        if expected == 'publish' and DIALECTS[peer] == 'native' and \
                self.guarded.generation != self.guard.generation:
            expected = 'stopped'
        before = len(self.guard.passed)
        wish = Publish('i', topic, {'x': x}, 'json', None, None, op)
        try:
            self.control.passages.publish(self.passages[peer, topic], wish, None)
            got = 'publish'
        except WsBridgeError as exc:
            got = exc.code
        if self.heir:
            self.follow()       # who had asked has got it
        assert got == expected
        assert self.guard.passed[before:] == ([x] if got == 'publish' else [])
        if got == 'publish' and DIALECTS[peer] != 'native':
            assert self.now - link.fence <= (TTL + INTERVAL if first else TTL)
        if got == 'publish':
            self.note_the_command(peer, topic, sequence)
        elif got == 'stopped' and not model.stopped:
            self.note_the_stop()

    def make_ready(self, pace: Any) -> float:
        """Do what a command of a peer without words for leases begins with; return its bound."""
        slow = pace.hurried_at is None or self.now < pace.hurried_at + TTL
        ended = self.guarded.generation != self.guard.generation
        if ended:
            self.model.armed = set()
        if (ended and self.model.implicit and self.model.holder) or self.model.is_over(self.now):
            self.model.end()
            self.heir = self.model.holder is not None
        return TTL + INTERVAL if slow and self.model.holder is None else TTL

    def expected(self, peer: str, op: ops.Command, x: float, age: float | None,
                 bound: float) -> str:
        model = self.model
        explicit = DIALECTS[peer] == 'native'
        if model.stopped:
            return 'stopped'
        if model.holder != peer and (model.holder is not None or explicit):
            return 'not_holder'
        if model.holder == peer and not model.implicit:
            if op.epoch != self.lease.epoch:
                return 'not_holder'
            assert op.sequence is not None
            if op.sequence <= model.sequence:
                return 'out_of_order'
        if age is None and explicit:
            return 'no_time_sync'
        if age is not None and not -TTL <= age <= TTL:
            return 'expired' if age > 0 else 'too_distant'
        if not explicit and self.now - self.peers[peer].link.fence > bound:
            return 'expired'
        topic = op.destination
        must = model.holder != peer or topic not in model.armed if explicit else \
            topic not in ({topic} if model.since_estop is None else model.since_estop) or \
            topic not in model.owing.get(peer, {topic})
        return 'not_neutral' if x and must else 'publish'

    def note_the_command(self, peer: str, topic: str, sequence: int) -> None:
        model = self.model
        if model.holder is None:
            model.give(peer, implicit=True)
            self.follow()
        if model.since_estop is not None:
            model.since_estop.add(topic)
        model.owing.get(peer, set()).add(topic)
        model.armed.add(topic)
        model.sequence, model.last = sequence, self.now

    # ---- what always holds

    @invariant()
    def the_holder_is_one(self) -> None:
        if hasattr(self, 'model'):
            assert self.lease.holder == self.model.holder
            assert (self.lease.request and self.lease.request.peer) == self.model.asker

    @invariant()
    def nothing_moves_without_a_holder(self) -> None:
        if hasattr(self, 'model') and self.guard.moving:
            assert self.model.holder is not None
            assert not self.model.stopped
            moving = self.guard.moving
            assert moving <= self.model.armed
            assert moving <= (moving if self.model.since_estop is None
                              else self.model.since_estop)
            assert moving <= self.model.owing.get(self.model.holder, moving)

    @invariant()
    def everybody_knows_the_holder(self) -> None:
        if not hasattr(self, 'model'):
            return
        for sent in self.replies.values():
            told = [reply.holder for reply in sent if isinstance(reply, replies.LeaseChanged)]
            assert (told[-1] if told else None) == self.model.holder

    @invariant()
    def epochs_never_come_twice(self) -> None:
        if hasattr(self, 'model'):
            epochs = [epoch for each in self.model.epochs.values() for epoch in each]
            assert len(epochs) == len(set(epochs))


TestControl = Machine.TestCase
TestControl.settings = settings(
    max_examples=max(100, settings.default.max_examples), stateful_step_count=60)
