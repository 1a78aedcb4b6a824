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
The way of commands through their gates.

What passes is handed to the guard on the ROS side, which publishes it.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
import logging
from typing import TYPE_CHECKING

from ws_bridge.bridge.gates import Gates
from ws_bridge.bridge.guarded import CommandTap, Guarded, Lane, Passage
from ws_bridge.bridge.peer import Peer
from ws_bridge.config import Settings
from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema import Value
from ws_bridge.errors import ConversionError, Forbidden, Stopped, WsBridgeError
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.safety.gate import Convert, HandOver
from ws_bridge.safety.neutral import make_checks, missing_bounds
from ws_bridge.session.effects import Publish

if TYPE_CHECKING:
    from ws_bridge.ros.publishers import Publisher
    from ws_bridge.ros.side import RosSide
    from ws_bridge.transport.link import Link

logger = logging.getLogger(__name__)


class Passages:
    """
    Lets commands pass, or refuses them.

    :param clock: monotonic time, s.
    :param epoch: Unix time at monotonic 0, s.
    :ivar tap: records commands; ``None`` = nothing is recorded.
    """

    def __init__(self, settings: Settings, ros: RosSide, gates: Gates, *,
                 clock: Callable[[], float], epoch: float) -> None:
        self._settings = settings
        self._ros = ros
        self._gates = gates
        self._clock = clock
        self._epoch = epoch
        self.tap: CommandTap | None = None

    def __repr__(self) -> str:
        return f'Passages({self._gates!r})'

    def open(self, topic: str, codec: Codec, publisher: Publisher) -> Lane | None:  # noqa: A003
        """
        Return the way of a new publisher's commands; ``None`` where no gate is.

        :raises Forbidden: the gate bounds only fields that this type does not have, or one that
            is misspelt: what it was to bound would not be bounded.
        """
        guarded = self._gates.of(topic, codec.schema.name)
        if guarded is None:
            return None
        policy = guarded.gate.policy
        checks = make_checks(codec.schema, policy)
        if policy.clamp and checks.clamp is None:
            raise Forbidden(f'no bound of the gate {policy.name} is about a field of '
                            f'{codec.schema.name}', field='type')
        for name, begins in missing_bounds(codec.schema, policy.clamp).items():
            if begins:
                raise Forbidden(f'the gate {policy.name} bounds {name}, which is no number of '
                                f'{codec.schema.name}', field='type')
            logger.warning('%s: the gate %s bounds %s, which %s does not have', topic, policy.name,
                           name, codec.schema.name)
        guarded.guard.add(publisher, tuple(
            _stop_of(codec, step.action, step.message) for step in policy.on_loss))
        guarded.lanes += 1
        return Lane(guarded, topic, codec, publisher, checks)

    def passage(self, peer: Peer, lane: Lane) -> Passage:
        """Return the way of a peer's commands, for as long as it uses the publisher."""
        return Passage(peer, lane, lane.guarded.gate.explicit(peer.session.lease_mode))

    def close(self, lane: Lane) -> None:
        """End the way of a publisher, and that when the robot is stopped."""
        lane.guarded.lanes -= 1
        lane.guarded.guard.close_publisher(lane.publisher)

    def publish(self, passage: Passage, wish: Publish,
                on_done: Callable[[WsBridgeError | None], None] | None) -> None:
        """
        Hot path: judge a command, and publish it if it may pass.

        What is judged is what would be published, whatever it was encoded in.

        :raises WsBridgeError: it is refused.
        """
        try:
            self._publish(passage, wish, on_done)
        except WsBridgeError as exc:
            self._gates.watcher.refused(passage.lane.guarded, passage.peer, exc)
            if self.tap is not None:
                self.tap.judged(passage, wish, exc)
            raise
        if self.tap is not None:
            self.tap.judged(passage, wish, None)

    def _publish(self, passage: Passage, wish: Publish,
                 on_done: Callable[[WsBridgeError | None], None] | None) -> None:
        peer, lane, command = passage.peer, passage.lane, wish.command
        guarded, session = lane.guarded, peer.session
        gate = guarded.gate
        assert command is not None
        if guarded.granting is not None:
            gate.kept_out(session.peer)
            self._gates.check_grants(guarded)
        now = self._clock()
        slack = 0.0 if passage.is_explicit else self._refresh(guarded, peer, now)
        slow_down = gate.policy.slow_down
        camera = slow_down.camera if slow_down is not None else None
        under_way = 0.0 if slow_down is None else _half_a_trip(
            peer.link, gate.policy.fence_interval, now)
        begins = gate.policy.require_lease and gate.lease.holder is None
        before, handed_over = guarded.beginning, False
        if begins:
            on_done = self._when_published(guarded, on_done)
            guarded.beginning = True
        hand_over: HandOver = partial(guarded.guard.publish, lane.publisher,
                                      generation=guarded.generation, on_done=on_done,
                                      counted=wish.ack is not None and not begins)
        if self.tap is not None:
            hand_over = _noting(self.tap, lane, hand_over)
        try:
            handed_over = gate.let_through(
                session.peer, session.lease_mode, command, lane.checks, topic=lane.topic,
                convert=_reading(lane.codec, wish, self._ros), encode=lane.codec.from_values,
                hand_over=hand_over,
                offset=session.clock.timesync.offset, unix=now + self._epoch, now=now,
                fence=peer.link.fence, slack=slack, under_way=under_way,
                picture=self._gates.sight.age(camera, peer.link, now, command.picture_time)
                if camera else None)
        finally:
            if begins and not handed_over:
                guarded.beginning = before
        if not handed_over:
            self._gates.halted(guarded, 'timeout')
            raise Stopped('the robot was stopped a moment ago; begin anew')
        guarded.last_peer = session.peer
        if begins:
            self._gates.watcher.acquired(guarded, peer)

    def _when_published(self, guarded: Guarded,
                        on_done: Callable[[WsBridgeError | None], None] | None
                        ) -> Callable[[WsBridgeError | None], None]:
        """Return what is told of a peer's first command: that it is published, or why not."""
        def done(why: WsBridgeError | None) -> None:
            guarded.beginning = False
            if why is not None:
                self._gates.note_stop(guarded, 'timeout')
            if on_done is not None:
                on_done(why)
            elif why is not None:
                self._gates.watcher.dropped(guarded, why)
            actions, guarded.afterwards = guarded.afterwards, []
            for action in actions:
                action()
        return done

    def _refresh(self, guarded: Guarded, peer: Peer, now: float) -> float:
        """
        Make ready for a command of a peer that has no words for leases.

        A stop by silence, or the end of a lease by it, is taken note of first: such a peer is
        told of none, and its next command begins anew. From now on it is pinged fast.

        :return: by how much its first command may be older than ``ttl``, s: until the first fast
            ping can have been answered there are but slow ones.
        """
        gate = guarded.gate
        self._gates.note_stop(guarded, 'timeout')
        if gate.is_over(now):
            self._gates.watcher.elapsed(guarded)
        pace, ttl = peer.link.pace, gate.policy.ttl
        is_slow = pace.hurried_at is None or now < pace.hurried_at + ttl
        slow = self._settings.fence_interval
        pace.hurry(min(gate.policy.fence_interval, slow))
        return slow if is_slow else 0.0


def _half_a_trip(link: Link, interval: float, now: float) -> float:
    """
    Return how long a command takes at least on the way, by pings alone, s; 0 before the first.

    A peer may answer them late, but not early: it can make this longer, never shorter.

    :param interval: from now on it is pinged so often, s.
    """
    pace = link.pace
    pace.hurry(interval)
    begun = now if pace.hurried_at is None else pace.hurried_at
    return max(link.latency, now - max(link.fence, begun) - interval) / 2


def _reading(codec: Codec, wish: Publish, ros: RosSide) -> Convert:
    """Return what converts a command, when its gate asks for it."""
    now = ros.now() if codec.uses_time else None
    if wish.data.__class__ is memoryview:
        return partial(ENCODINGS[wish.encoding].round_trip, codec, wish.data, now)
    return partial(codec.round_trip, wish.data, now)


def _noting(tap: CommandTap, lane: Lane, hand_over: HandOver) -> HandOver:
    """Return what hands a command over, and has it recorded then."""
    def hand_over_and_note(cdr: bytes, /, *, moving: bool, deadline: float) -> bool:
        done = hand_over(cdr, moving=moving, deadline=deadline)
        if done:
            tap.published(lane.topic, lane.codec, cdr)
        return done
    return hand_over_and_note


def _stop_of(codec: Codec, action: str, message: Value) -> bytes | None:
    """Return what a step of on_loss publishes; zero where its message is of another type."""
    if action not in ('zero', 'message'):
        return None
    if action == 'message':
        try:
            return codec.from_values(message)
        except ConversionError as exc:
            logger.warning('the message of on_loss does not fit %s: %s; zero instead',
                           codec.schema.name, exc)
    return codec.from_values({})
