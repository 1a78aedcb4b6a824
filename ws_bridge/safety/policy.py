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
"""What a gate demands of commands, and what happens when they cease, as frozen values."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args, Literal

Action = Literal['zero', 'silence', 'message', 'service']
ACTIONS: tuple[Action, ...] = get_args(Action)
LeaseMode = Literal['native', 'seed', 'rosbridge', 'foxglove', 'bridge']
"""
How peers go about leases: ``native`` peers ask for them in words, all others may acquire them by
publishing. A ``seed`` speaks the native dialect without naming it, as programs do that know no
leases; ``bridge`` is what this bridge pulls from one that it dialled.
"""
LEASE_MODES: tuple[LeaseMode, ...] = get_args(LeaseMode)

TIMEOUT = 0.5
TTL = 0.3
FENCE_INTERVAL = 1.0
"""Time between pings to a peer that may command but does not, s."""
FENCES_A_TTL = 3
"""Pings within a gate's ``ttl`` to a peer that commands without times."""
SHORTEST = 0.1
"""For a delay below this one nobody is pinged more often, s."""
STOP_TIMES = 5
STOP_RATE = 20.0
ASK_TIMEOUT = 15.0
"""How long a holder may take to answer who asks for its lease, s."""
NEIGHBOURS_TOPIC = '/ws_bridge_gates'
"""Where the bridges of a graph say what they guard: ``std_msgs/msg/String``, JSON."""
GATED_TYPES = ('geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped', 'sensor_msgs/msg/Joy',
               'trajectory_msgs/msg/JointTrajectory')
"""Types whose topics command a robot by all likelihood."""


class EstopState(str, Enum):
    """Whether commands may pass."""

    ARMED = 'armed'
    STOPPED = 'stopped'


@dataclass(frozen=True, slots=True)
class LossStep:
    """
    One step of what happens on loss.

    :param after: time since the loss, s.
    :param times: how often a message is published, at ``rate`` Hz; then the topic is left alone.
    :param message: fields of the message, of ``message``; topics of other types get zero.
    :param service: what is called with ``request``, of ``service``.
    """

    action: Action
    after: float = 0.0
    times: int = STOP_TIMES
    rate: float = STOP_RATE
    message: Mapping[str, Any] | None = None
    service: str | None = None
    srv_type: str | None = None
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Clamp:
    """Bounds of one field, by its path; beyond them a command is refused or saturated."""

    field: str
    minimum: float
    maximum: float
    saturate: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """
    Where a field is at rest; the first that names a number decides about it.

    :param field: its path, as of a :class:`Clamp`.
    :param values: where it rests.
    :param tolerance: by how much it may be off.
    :param learned: where it rests besides, unless the peer's was ever seen at one of ``values``:
        a trigger rests at an end of its way, a stick only lingers there.
    """

    field: str
    values: tuple[float, ...] = (0.0,)
    tolerance: float = 0.0
    learned: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SlowDown:
    """
    How the bounds of a gate shrink with delay.

    :param full: up to this delay they are whole, s.
    :param stop: from this one on they are 0, s.
    :param camera: topic of the picture by which one drives; its age is a delay too.
    """

    full: float
    stop: float
    camera: str | None = None

    def share(self, delay: float) -> float:
        """Return how much of the bounds is left at a delay, 1 to 0."""
        return min(1.0, max(0.0, (self.stop - delay) / (self.stop - self.full)))


USUAL_REST = {'sensor_msgs/msg/Joy': (Rest('axes[*]', tolerance=0.05, learned=(1.0, -1.0)),)}
"""What rests where, by type, unless a gate says it: sticks drift, triggers rest at an end."""


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """
    One gate.

    :param topics: patterns of the topics that it guards.
    :param services: patterns of the services and actions that need its lease.
    :param timeout: silence of the holder after which the robot is stopped, s;
        0 = ``gate_timeout``.
    :param ttl: the oldest command that is accepted, s; 0 = ``gate_ttl``.
    :param on_loss: the escalation; in the order of ``after``.
    :param max_rate: most commands a second that move something; ``None`` = unlimited.
    :param require_lease: else whoever may publish may command.
    :param acquire_on_publish: of :data:`LEASE_MODES`, whose first publication acquires the lease.
    :param neutral_first: the first command after a change or a stop must be neutral, of everybody,
        or of nobody. ``None``: of native peers; of others after an emergency stop, and after
        another peer commanded.
    :param neutral: what counts as neutral besides zero.
    :param slow_down: how ``clamp`` shrinks with delay; ``None`` = it does not.
    """

    name: str
    topics: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    timeout: float = 0.0
    ttl: float = 0.0
    on_loss: tuple[LossStep, ...] = (LossStep('zero'),)
    clamp: tuple[Clamp, ...] = ()
    max_rate: float | None = None
    require_lease: bool = True
    acquire_on_publish: tuple[LeaseMode, ...] = ('seed', 'rosbridge', 'foxglove', 'bridge')
    neutral_first: bool | None = None
    neutral: tuple[Rest, ...] = ()
    slow_down: SlowDown | None = None

    @property
    def is_stopped_by_zero(self) -> bool:
        """Whether zero stops what is behind it, whenever it comes."""
        return any(step.action == 'zero' for step in self.on_loss)

    def explicit(self, lease_mode: LeaseMode) -> bool:
        """Whether a peer has to hold a lease that it asked for in words."""
        return self.require_lease and lease_mode not in self.acquire_on_publish

    @property
    def fence_interval(self) -> float:
        """How often a peer is pinged that commands without times, s: this much its age may err."""
        shortest = self.ttl if self.slow_down is None else min(
            self.ttl, max(self.slow_down.full, SHORTEST))
        return shortest / FENCES_A_TTL
