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
One gate: which commands may pass, and whose.  Pure; ``now`` is monotonic, ``unix`` the same in s.

A command passes by :meth:`Gate.let_through` in three steps of one instant: :meth:`Gate.admit`
judges who sent it and how old it is, :meth:`Gate.judge` what it says, and :meth:`Gate.accepted`
notes that it was published. What fails in between leaves no trace: only good commands renew
anything.
"""
from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from ws_bridge.errors import (
    Expired,
    NotHolder,
    NoTimeSync,
    NotNeutral,
    OutOfOrder,
    RateLimited,
    Stopped,
    TooDistant,
)
from ws_bridge.protocol.operations import BinaryPublish, Command
from ws_bridge.protocol.replies import GateState
from ws_bridge.protocol.unix_time import SECOND
from ws_bridge.safety.estop import Estop
from ws_bridge.safety.lease import Lease, LeaseState
from ws_bridge.safety.neutral import Checks, Path
from ws_bridge.safety.policy import GatePolicy, LeaseMode
from ws_bridge.safety.speed import SpeedLimit
from ws_bridge.timing.bucket import Bucket

MAX_TOPICS = 1024
"""
Topics of a gate that are remembered; whoever commands more of them lets go on each anew.

A gate may name topics by a pattern, and peers can make any number of these.
"""
Convert = Callable[[], tuple[bytes, dict[str, Any]]]
"""Returns a command as CDR, and the values that are read from that."""


class HandOver(Protocol):
    """Publishes what has passed."""

    def __call__(self, cdr: bytes, /, *, moving: bool, deadline: float) -> bool:
        """
        Return whether it was taken.

        :param moving: it asks for something that has to be stopped.
        :param deadline: until when it may reach ROS, monotonic, s.
        """


def age_of(stamp: int | None, bridge_time: int | None, *, offset: float | None,
           unix: float, tolerance: float) -> float | None:
    """
    Return how old a command is, s; negative from the future, ``None`` where nothing tells.

    The bridge's own time that the peer echoes is an upper bound that no clock of the peer's can
    falsify; the peer's stamp counts where its clock offset was measured. The lower one holds,
    but for a stamp from the future.

    :param stamp: Unix time, ns; so is ``bridge_time``.
    :param offset: the peer's clock minus this one, s.
    :param unix: this one, s.
    :param tolerance: s by which a stamp may be from the future.
    """
    by_echo = None if bridge_time is None else unix - bridge_time / SECOND
    by_stamp = None if stamp is None or offset is None else unix - (stamp / SECOND - offset)
    if by_echo is None or by_echo < -tolerance:
        return by_stamp if by_echo is None else by_echo
    if by_stamp is None or by_stamp < -tolerance:
        return by_echo
    return min(by_echo, by_stamp)


class Gate:
    """
    What guards some commanding topics.

    :param next_epoch: of leases; see :class:`~ws_bridge.safety.lease.Lease`.
    :ivar name: what peers call it.
    :ivar commander: who sent the last command, where no lease is required.
    :ivar last: when the last command was accepted.
    :ivar speed: how fast delay lets one drive; ``None`` = the gate does not slow down.
    """

    __slots__ = ('_armed', '_bucket', '_estop', '_owing', '_seen', '_senders', '_sequence',
                 '_since_estop', 'commander', 'last', 'lease', 'name', 'policy', 'speed')

    def __init__(self, policy: GatePolicy, estop: Estop, now: float,
                 next_epoch: Callable[[], int]) -> None:
        self.name = policy.name
        self.policy = policy
        self.lease = Lease(next_epoch)
        self.commander: str | None = None
        self.last = now
        self._estop = estop
        self._sequence = -1
        self._armed: set[str] = set()       # topics commanded since the last change or stop
        self._since_estop: set[str] | None = None   # the same, since one was cleared
        self._senders: set[str] = set()     # of commands, accepted or not
        # senders that have to begin with a neutral one on each topic: where they have done so
        self._owing: dict[str, set[str]] = {}
        self._seen: dict[str, dict[str, set[Path]]] = {}    # by peer and topic
        self._bucket = Bucket(policy.max_rate, now) if policy.max_rate else None
        self.speed = SpeedLimit(policy.slow_down) if policy.slow_down else None

    def __repr__(self) -> str:
        return f'<Gate {self.name} {self.state}, {self.lease!r}>'

    @property
    def state(self) -> str:
        """``free``, ``held`` or ``stopped``."""
        if self._estop.stopped:
            return 'stopped'
        return 'free' if self.lease.state is LeaseState.FREE else 'held'

    def is_driven_by(self, peer: str) -> bool:
        """Whether a peer commands: it holds the lease, or none is required and it commanded."""
        return self.lease.holder == peer or (
            not self.policy.require_lease and peer in self._senders)

    @property
    def neutral_needed(self) -> bool:
        """Whether no topic of a peer that has words for leases is armed: it has to let go."""
        return self.policy.neutral_first is not False and not self._armed

    # ---- the lease

    def acquire(self, peer: str) -> None:
        """
        Give the free lease to a peer.

        :raises Held: somebody has it.
        :raises Stopped: the emergency stop is asserted.
        """
        self._require_armed()
        self.lease.acquire(peer)
        self._begin()

    def ask(self, peer: str, message: str, deadline: float) -> None:
        """
        Ask the holder; a free lease is given at once.

        :param deadline: until when the holder may answer.
        :raises Held: the peer has it, or another one has asked already.
        :raises Stopped: the emergency stop is asserted.
        """
        self._require_armed()
        if self.lease.ask(peer, message, deadline):
            self._begin()

    def answer(self, by: str, peer: str, *, granted: bool) -> None:
        """
        Let the holder answer a request.

        :raises NotHolder: only the holder may.
        :raises PeerGone: this peer does not ask (any more).
        """
        self.lease.answer(by, peer, granted=granted)
        if granted:
            self._begin()

    def take(self, peer: str) -> None:
        """
        Give the lease to a peer, whoever has it.

        :raises Stopped: the emergency stop is asserted.
        """
        self._require_armed()
        self.lease.take(peer)
        self._begin()

    def release(self, peer: str) -> None:
        """
        End the lease of a peer.

        :raises NotHolder: it has none.
        """
        if self.lease.holder != peer:
            raise NotHolder(f'this peer does not hold the lease of {self.name}', field='gate')
        self.end()

    def end(self) -> None:
        """End the lease; who has asked for it gets it, but not while everything is stopped."""
        if self._estop.stopped and self.lease.request is not None:
            self.lease.withdraw()
        if self.lease.holder is not None:
            self.lease.end()
        self._begin()

    def forget(self, peer: str) -> None:
        """Take from a peer what it has: the lease, a request for it, its word as commander."""
        self._senders.discard(peer)
        self._owing.pop(peer, None)
        self._seen.pop(peer, None)
        lease = self.lease
        if lease.request is not None and lease.request.peer == peer:
            lease.withdraw()
        if lease.holder == peer:
            self.end()
        elif self.commander == peer:
            self._begin()

    def poll(self, now: float) -> None:
        """Note that time has passed: requests are answered in time, or not at all."""
        lease = self.lease
        if lease.request is not None and now >= lease.request.deadline:
            lease.withdraw()
        if self.is_over(now):
            self.end()
        if self.speed is not None and self.speed.is_over(now, self.policy.timeout):
            self.speed.clear()

    def is_over(self, now: float) -> bool:
        """Whether a lease that was acquired by publishing has ended by silence."""
        lease = self.lease
        return lease.implicit and lease.holder is not None and \
            now >= self.last + self.policy.timeout

    def stopped(self) -> None:
        """Note that the robot was stopped; who acquired by publishing has to do so again."""
        self._armed.clear()
        if self.lease.implicit and self.lease.holder is not None:
            self.end()

    def cleared(self) -> None:
        """Note that the emergency stop was cleared: everybody lets go first."""
        self.stopped()
        self._since_estop = set()
        self._owe(None)

    def _begin(self) -> None:
        """Note that there is another holder: what was said before counts no more."""
        self._sequence = -1
        self.commander = None
        self._armed.clear()
        if self.lease.holder is not None:
            self._owe(self.lease.holder)

    def _owe(self, holder: str | None) -> None:
        """Note that a peer commands: of the others who sent something has to let go first."""
        self._owing.update((peer, set()) for peer in self._senders if peer != holder)

    def kept_out(self, peer: str) -> None:
        """Note that a peer commands while another bridge grants the lease: later it lets go."""
        self._senders.add(peer)
        self._owing[peer] = set()

    def not_let_go(self, topic: str) -> None:
        """Note that a command by which somebody let go on a topic was not published after all."""
        for topics in (self._armed, self._since_estop, *self._owing.values()):
            if topics is not None:
                topics.discard(topic)

    def commanded_elsewhere(self) -> None:
        """Note that somebody commands by another bridge: everybody here lets go first."""
        self._armed.clear()
        self._owe(None)

    def _require_armed(self) -> None:
        if self._estop.stopped:
            raise Stopped(
                'the emergency stop is asserted: when it is safe, clear it in the page of the '
                'bridge, or by ~/clear_stop (for which a role needs the right)')

    # ---- commands

    def let_through(self, peer: str, lease_mode: LeaseMode, command: Command | BinaryPublish,
                    checks: Checks, *, topic: str, convert: Convert,
                    encode: Callable[[dict[str, Any]], bytes], hand_over: HandOver,
                    offset: float | None, unix: float, now: float, fence: float,
                    slack: float, picture: float | None = None,
                    under_way: float = 0.0) -> bool:
        """
        Judge a command, have it published if it may pass, and note that it was.

        What is judged is what is published: the values that are read from its CDR.

        :param topic: where it is to be published; see :meth:`judge`.
        :param convert: asked only where sender and age are right.
        :param encode: returns CDR of values that a bound has changed.
        :param offset: see :meth:`admit`, and so on.
        :return: whether it was handed over; else nothing happened, but that it was judged.
        :raises WsBridgeError: it is refused, or cannot be converted or published.
        """
        deadline = self.admit(peer, lease_mode, command, offset=offset, unix=unix, now=now,
                              fence=fence, slack=slack, picture=picture, under_way=under_way)
        cdr, values = convert()
        moving, changed = self.judge(peer, lease_mode, topic, values, checks, now)
        if changed:
            cdr = encode(values)
        if not moving and self.policy.is_stopped_by_zero:
            deadline = inf      # it is a stop; and what moves later passes because of it
        if not hand_over(cdr, moving=moving, deadline=deadline):
            return False
        self.accepted(peer, topic, command, now)
        return True

    def admit(self, peer: str, lease_mode: LeaseMode, command: Command | BinaryPublish, *,
              offset: float | None, unix: float, now: float, fence: float,
              slack: float = 0.0, picture: float | None = None,
              under_way: float = 0.0) -> float:
        """
        Judge sender and age of a command.

        :param offset: the peer's clock minus ours, where it was measured.
        :param fence: when, at the earliest, it was sent: monotonic, s. It bounds the age of what
            comes without times from a peer that has no words for leases.
        :param slack: by how much the first command of such a peer after a rest may be older
            than ``ttl``, s: it was fenced slowly.
        :param picture: how old the picture may be that the sender sees, s; ``None`` = none counts.
        :param under_way: how old it is at least where delay slows one down, whatever it says, s.
        :return: until when (monotonic) it may reach ROS.
        :raises Stopped: the emergency stop is asserted.
        :raises NotHolder: the peer does not hold the lease, or this is of an older one.
        :raises OutOfOrder: its number is not above that of the last one.
        :raises RequestError: ``Expired``, ``TooDistant``, ``NoTimeSync``.
        """
        lease = self.lease
        self._senders.add(peer)
        if lease.holder is not None and lease.holder != peer:
            self._owing[peer] = set()
        self.check_sender(peer, lease_mode, command.epoch)
        if lease.holder == peer and not lease.implicit:
            if command.epoch is None:
                raise NotHolder(f'it has no epoch; the lease of {self.name} is in epoch '
                                f'{lease.epoch}', field='epoch')
            if command.sequence is None or command.sequence <= self._sequence:
                raise OutOfOrder(f'sequence {command.sequence} after {self._sequence}',
                                 field='sequence')
        ttl = self.policy.ttl
        if command.ttl is not None and command.ttl < ttl:
            ttl = command.ttl
        age = age_of(command.stamp, command.bridge_time, offset=offset, unix=unix,
                     tolerance=self.policy.ttl)
        if not self.explicit(lease_mode):
            if age is None or age > now - fence:
                age = now - fence
            if self._rests(peer, now) and command.ttl is None:
                ttl += slack
        elif age is None:
            raise NoTimeSync('its age is unknown: send heartbeats with an echo, or bridge_time',
                             field='timestamp')
        if self.speed is not None:
            self.speed.note(peer, max(age, under_way, 0.0), picture, now)
        if age > ttl:
            unknown = self.explicit(lease_mode) and command.stamp is not None and offset is None
            raise Expired(f'it may be {age:.3f} s old, allowed are {ttl:g} s: ' + (
                'its timestamp tells nothing before heartbeats with an echo have told how far '
                'the clocks are apart' if unknown else
                'send it anew; if that happens often, the link is too slow'), field='ttl')
        if age < -self.policy.ttl:
            raise TooDistant(f'{-age:.3f} s in the future', field='timestamp')
        return now + ttl - max(age, 0.0)

    def _rests(self, peer: str, now: float) -> bool:
        """Whether a peer would begin to command, and not go on."""
        if self.policy.require_lease:
            return self.lease.holder is None
        return self.commander != peer or now >= self.last + self.policy.timeout

    def explicit(self, lease_mode: LeaseMode) -> bool:
        """Whether a peer has to hold a lease that it asked for in words."""
        return self.policy.explicit(lease_mode)

    def check_sender(self, peer: str, lease_mode: LeaseMode, epoch: int | None) -> None:
        """Judge the sender alone, as of a call or goal through the gate; see :meth:`admit`."""
        self._require_armed()
        if not self.policy.require_lease:
            return
        lease = self.lease
        if lease.holder != peer:
            if lease.holder is None and not self.explicit(lease_mode):
                return
            raise NotHolder(f'{lease.holder} holds the lease of {self.name}: wait, ask for it, or '
                            'take it' if lease.holder else
                            f'nobody holds the lease of {self.name}: acquire it')
        if epoch is not None and epoch != lease.epoch:
            raise NotHolder(f'the lease of {self.name} is in epoch {lease.epoch}, this is of '
                            f'{epoch}', field='epoch')

    def judge(self, peer: str, lease_mode: LeaseMode, topic: str, values: dict[str, Any],
              checks: Checks, now: float) -> tuple[bool, bool]:
        """
        Judge what a command says; zero passes bounds and rate.

        Where delay slows one down, its bounds are smaller, and a command is held to them.

        :param topic: where it is to be published: a peer lets go on each one.
        :return: whether it moves something, and whether ``values`` were changed.
        :raises OutOfRange: a number is not finite, or out of its bounds.
        :raises NotNeutral: it has to be, first.
        :raises RateLimited: too many a second.
        """
        is_zero, is_at_rest, clamp, slow = checks
        moving = not is_zero(values)
        if is_at_rest is not None and is_at_rest.learns:
            is_at_rest.note(values, self._seen_of(peer, topic))
        if not moving:
            return False, False
        why = self._why_neutral(peer, lease_mode, topic)
        if why and (is_at_rest is None or not is_at_rest(values, self._seen_of(peer, topic))):
            raise NotNeutral(f'the first command {why} must be zero: let go first')
        changed = clamp is not None and clamp(values)
        if self._bucket is not None and not self._bucket.take(now):
            raise RateLimited(f'more than {self.policy.max_rate:g} commands a second')
        delays = None if self.speed is None else self.speed.newest
        if slow is not None and delays is not None and slow(values, delays.share):
            return not is_zero(values), True
        return True, changed

    def _seen_of(self, peer: str, topic: str) -> set[Path]:
        """Return which numbers of a peer's on a topic were seen at rest."""
        topics = self._seen.setdefault(peer, {})
        if topic not in topics and len(topics) >= MAX_TOPICS:
            topics.clear()
        return topics.setdefault(topic, set())

    def _why_neutral(self, peer: str, lease_mode: LeaseMode, topic: str) -> str:
        """Return after what a peer's command has to be neutral; empty = it need not be."""
        policy, lease = self.policy, self.lease
        if policy.neutral_first is False:
            return ''
        if policy.neutral_first or lease_mode == 'native' or \
                (lease.holder == peer and not lease.implicit):
            anew = lease.holder != peer if policy.require_lease else self.commander != peer
            return f'on {topic} after a change or a stop' \
                if anew or topic not in self._armed else ''
        if self._since_estop is not None and topic not in self._since_estop:
            return f'on {topic} after an emergency stop'
        if peer in self._owing and topic not in self._owing[peer]:
            return f'on {topic} after others commanded, or after an emergency stop,'
        return ''

    def accepted(self, peer: str, topic: str, command: Command | BinaryPublish,
                 now: float) -> None:
        """
        Note that a command was published; by it its sender acquires a lease that is free.

        :param topic: where.
        """
        if self.policy.require_lease and self.lease.holder is None:
            self.lease.acquire(peer, implicit=True)
            self._begin()
        elif self.commander != peer:
            self._owe(peer)
            self._armed.clear()
        for topics in (self._armed, self._since_estop, self._owing.get(peer)):
            if topics is not None and topic not in topics:
                if len(topics) >= MAX_TOPICS:
                    topics.clear()
                topics.add(topic)
        self.commander = peer
        self.last = now
        if command.sequence is not None:
            self._sequence = command.sequence

    def describe(self, name_of: Callable[[str], str | None], topics: list[str],
                 services: list[str]) -> GateState:
        """Return what every peer may know of the gate."""
        holder = self.lease.holder
        return GateState(
            self.name, topics, holder, name_of(holder) if holder else None, self.lease.epoch,
            self.policy.timeout, self.policy.ttl, self.state, self.neutral_needed,
            None if self.speed is None else self.speed.limit, services)
