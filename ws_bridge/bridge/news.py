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
"""What everybody is told of leases, of the emergency stop and of stops: peers, ROS, the audit."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
import logging
from math import isfinite
from typing import Any, NamedTuple, TYPE_CHECKING

import orjson

from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.gates import Gates
from ws_bridge.bridge.guarded import Guarded
from ws_bridge.bridge.peer import Peer
from ws_bridge.errors import StopFailed, WsBridgeError
from ws_bridge.protocol.replies import (
    ControlState,
    EstopChanged,
    Failed,
    GatesChanged,
    LeaseChanged,
    LeaseDecided,
    LeaseLost,
    LeaseRequested,
    LeaseTerms,
    Reply,
    SpeedChanged,
    StopState,
)
from ws_bridge.safety.estop import Estop
from ws_bridge.safety.gate import Gate
from ws_bridge.safety.lease import Request
from ws_bridge.safety.policy import ASK_TIMEOUT
from ws_bridge.session.rights import Rights

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

CHANGES = 10
"""Changes of a lease or the emergency stop by one peer that are written one by one, a second."""
STEP = 0.05
"""By how much a speed limit has to change before peers are told again."""
UNNAMED = 'a stop cannot be published and is tried again'
"""What is said of a gate that a peer may not know of."""

logger = logging.getLogger(__name__)


class Before(NamedTuple):
    """A lease as it was."""

    holder: str | None
    epoch: int
    request: Request | None


def state_of(gate: Gate) -> Before:
    """Return the lease of a gate as it is."""
    return Before(gate.lease.holder, gate.lease.epoch, gate.lease.request)


def terms_of(gate: Gate) -> LeaseTerms:
    """Return what the holder of a lease has to know."""
    return LeaseTerms(gate.lease.epoch, gate.policy.timeout, gate.policy.ttl)


class News:
    """
    Tells each what concerns it, of a gate those that may know of it.

    :param peers: returns those that are connected.
    :param arm: looks anew at when a peer's session is due.
    :param clock: monotonic time, s.
    """

    def __init__(self, gates: Gates, estop: Estop, ros: RosSide, audit: Audit, *,
                 peers: Callable[[], Iterable[Peer]], arm: Callable[[Peer], None],
                 clock: Callable[[], float]) -> None:
        self._gates = gates
        self._estop = estop
        self._ros = ros
        self._audit = audit
        self._peers = peers
        self._arm = arm
        self._clock = clock
        self._listed = gates.topics()
        self._estop_untold = False

    def __repr__(self) -> str:
        return f'News({self._gates!r})'

    # ---- who and what

    def peer(self, name: str) -> Peer | None:
        """Return a peer that is connected."""
        return next((peer for peer in self._peers() if peer.name == name), None)

    def name_of(self, name: str) -> str | None:
        """Return what a peer calls itself."""
        peer = self.peer(name)
        return peer.session.name if peer else None

    def describe(self, rights: Rights) -> ControlState:
        """Return the gates that a role may know of, and the emergency stop."""
        return ControlState([self._gates.describe(guarded, rights, self.name_of)
                             for guarded in self._gates.all()
                             if self._gates.is_shown(guarded, rights)],
                            StopState(**self._estop_fields()))

    def _estop_fields(self) -> dict[str, Any]:
        estop = self._estop
        return {'stopped': estop.stopped, 'by': estop.by, 'reason': estop.reason}

    def _leases(self) -> str:
        """Return what ROS is told, JSON."""
        return orjson.dumps([self._gates.describe(guarded, None, self.name_of)
                             for guarded in self._gates.all()]).decode()

    # ---- to peers

    def notify(self, name: str | None, news: Reply) -> None:
        """Tell one peer, if it is connected."""
        peer = None if name is None else self.peer(name)
        if peer is not None:
            peer.send(news)

    def broadcast(self, news: Reply, about: Guarded | None = None) -> None:
        """Tell the peers that want to know, of a gate those that may know of it."""
        for peer in self._peers():
            if peer.hears_news and (about is None or self._gates.is_shown(
                    about, peer.session.login.rights)):
                peer.send(news)

    def alarm(self, error: WsBridgeError, about: Guarded | None = None) -> None:
        """Tell everybody, but not of which gate to who may not know of it."""
        for peer in self._peers():
            if not peer.session.login.needed:
                shown = about is None or self._gates.is_shown(about, peer.session.login.rights)
                peer.send(Failed(None, error if shown else StopFailed(UNNAMED)))

    # ---- what happened

    def begin(self) -> None:
        """Tell ROS how it begins."""
        self._ros.publish_safety(lease=self._leases(), estop=(
            self._estop.stopped, self._estop.by or '', self._estop.reason))

    def gates_changed(self) -> None:
        """Tell of gates that came or went, and of new topics of old ones, if there are any."""
        listed = self._gates.topics()
        if listed != self._listed:
            self._listed = listed
            for peer in self._peers():
                if peer.hears_news:
                    peer.send(GatesChanged(self.describe(peer.session.login.rights)))
            self._ros.publish_safety(lease=self._leases())

    def estop_changed(self, by: str) -> None:
        """Tell of the emergency stop: peers when every stop is published."""
        fields = self._estop_fields()
        self._ros.publish_safety(estop=(fields['stopped'], by, fields['reason']))
        self._audit.often('estop', CHANGES, peer=by,
                          **{key: fields[key] for key in ('stopped', 'reason')})
        self._estop_untold = True
        self.tell_estop()

    def tell_estop(self) -> None:
        """Tell peers of the emergency stop, if they were not yet and every stop is published."""
        if self._estop_untold and not any(
                guarded.guard.alarm for guarded in self._gates.all()):
            self._estop_untold = False
            self.broadcast(EstopChanged(**self._estop_fields()))

    def speed_changed(self, guarded: Guarded) -> None:
        """Tell of what delay leaves of the speed, when that is another step."""
        gate, before = guarded.gate, guarded.told
        if gate.speed is None:
            return
        limit, delays = gate.speed.limit, gate.speed.newest
        if not _is_step(before, limit):
            return
        guarded.told = limit
        told = SpeedChanged(gate.name, limit) if delays is None else SpeedChanged(
            gate.name, limit, _seconds(delays.command), _seconds(delays.picture))
        if limit is not None and _pace_of(limit) != _pace_of(before):
            self._audit.often('speed', CHANGES, gate=gate.name, peer=guarded.last_peer,
                              **{key: value for key, value in asdict(told).items()
                                 if key != 'gate'})
        self.broadcast(told, guarded)
        self._ros.publish_safety(lease=self._leases())

    def lease_changed(self, guarded: Guarded, before: Before, reason: str) -> None:
        """Tell who is concerned, and then everybody, what became of a lease, if anything did."""
        gate = guarded.gate
        lease = gate.lease
        changed = (lease.holder, lease.epoch) != (before.holder, before.epoch)
        if changed and before.holder is not None:
            self.notify(before.holder, LeaseLost(gate.name, before.epoch, reason))
        if changed:
            self._tell_change(guarded, before, reason)
        asked = before.request
        if asked is not None and lease.request is not asked:
            self._decided(gate, asked.peer, changed and lease.holder == asked.peer, reason)
        elif changed and reason == 'request' and lease.holder is not None:
            self._decided(gate, lease.holder, True, reason)
        if lease.request is not None and lease.request is not asked:
            self.notify(lease.holder, LeaseRequested(
                gate.name, lease.request.peer, self.name_of(lease.request.peer) or '',
                lease.request.message, ASK_TIMEOUT))

    def _tell_change(self, guarded: Guarded, before: Before, reason: str) -> None:
        gate = guarded.gate
        lease = gate.lease
        holder = None if lease.holder is None else self.peer(lease.holder)
        if holder is not None and not lease.implicit:
            holder.session.heartbeats.watch(self._clock())
            self._arm(holder)
        name = holder.session.name if holder else None
        self._audit.often('lease', CHANGES, gate=gate.name, peer=lease.holder, name=name,
                          epoch=lease.epoch, reason=reason, before=before.holder)
        self.broadcast(LeaseChanged(gate.name, lease.holder, name, lease.epoch, reason), guarded)
        self._ros.publish_safety(lease=self._leases())

    def _decided(self, gate: Gate, peer: str, granted: bool, reason: str) -> None:
        """Tell a peer what became of its request."""
        self.notify(peer, LeaseDecided(gate.name, reason, terms_of(gate) if granted else None))


def _seconds(delay: float | None) -> float | None:
    """Return a delay as it is told: nothing where nobody knows of an end to it."""
    return None if delay is None or not isfinite(delay) else round(delay, 3)


def _is_step(before: float | None, limit: float | None) -> bool:
    """Whether a speed limit is another one than was told, by enough."""
    if limit == before or limit is None or before is None or limit in (0.0, 1.0):
        return limit != before
    return abs(limit - before) >= STEP


def _pace_of(limit: float | None) -> str:
    """Return what is worth a line: whether one is slowed down, or may not move at all."""
    return 'full' if limit is None or limit >= 1.0 else 'slow' if limit else 'stop'
