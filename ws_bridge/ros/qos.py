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
Quality of service: what a peer asks for, and what fits the publishers of a topic.

A subscription without a request is matched to the publishers. One profile cannot hear every
mix without loss, so up to two are used:

* every publisher reliable and transient local: one such subscription;
* otherwise a *base* that hears everybody: reliable only if every publisher is, and volatile;
* beside it, if some publishers are reliable and transient local, a *latched* one (reliable,
  transient local) that hears only those and brings their old samples. What both bring is
  delivered once (:class:`ws_bridge.ros.memory.Memory`).

``ros2 topic echo`` and foxglove_bridge stop at the base, and lose the old samples in a mix.
No publisher yet: a reliable and a best-effort one, so that whoever comes first is heard, and
heard without loss if it is reliable; one of them goes when the publisher is known.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

from ws_bridge.protocol.qos import QosRequest

BURST = QoSProfile(depth=100)
"""
Of services and their clients, whose own default keeps 10: requests, or answers, that come at once.
"""
LONGEST = 1e9
"""A duration of so many seconds is the middleware's "infinite"."""

_RELIABILITIES = {'reliable': ReliabilityPolicy.RELIABLE,
                  'best_effort': ReliabilityPolicy.BEST_EFFORT,
                  'best_available': ReliabilityPolicy.BEST_AVAILABLE}
_DURABILITIES = {'transient_local': DurabilityPolicy.TRANSIENT_LOCAL,
                 'volatile': DurabilityPolicy.VOLATILE,
                 'best_available': DurabilityPolicy.BEST_AVAILABLE}
_LIVELINESSES = {'automatic': LivelinessPolicy.AUTOMATIC,
                 'manual_by_topic': LivelinessPolicy.MANUAL_BY_TOPIC,
                 'best_available': LivelinessPolicy.BEST_AVAILABLE}


@dataclass(frozen=True, slots=True)
class Match:
    """One subscription profile of a plan."""

    reliable: bool
    latched: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """
    The policies that decide whether two ends hear each other.

    :param deadline: s; ``None`` = none. So ``lease``, the liveliness lease.
    """

    reliable: bool = True
    latched: bool = False
    deadline: float | None = None
    manual: bool = False
    lease: float | None = None


LATCHED = Match(reliable=True, latched=True)
ANYBODY = (Match(reliable=True, latched=False), Match(reliable=False, latched=False))


def plan_matches(publishers: Iterable[QoSProfile]) -> tuple[Match, ...]:
    """
    Return the subscription profiles that hear these publishers, latched first.

    :param publishers: the profiles that the graph shows.
    """
    offers = [(each.reliability == ReliabilityPolicy.RELIABLE,
               each.durability == DurabilityPolicy.TRANSIENT_LOCAL) for each in publishers]
    if not offers:
        return ANYBODY
    if all(offer == (True, True) for offer in offers):
        return (LATCHED,)
    base = Match(reliable=all(reliable for reliable, _ in offers), latched=False)
    return (LATCHED, base) if (True, True) in offers else (base,)


def subscription_profile(match: Match, depth: int) -> QoSProfile:
    """
    Return the profile of a matched subscription.

    :param depth: samples that ROS keeps until they are taken.
    """
    return QoSProfile(
        depth=depth,
        reliability=_RELIABILITIES['reliable' if match.reliable else 'best_effort'],
        durability=_DURABILITIES['transient_local' if match.latched else 'volatile'])


def requested_profile(request: QosRequest, *, depth: int) -> QoSProfile:
    """
    Return the profile of a request: what it leaves open is reliable, volatile, ``depth``.

    :param depth: for a request without depth, or with depth 0.
    """
    policies: dict[str, Any] = {
        'history': HistoryPolicy.KEEP_LAST,     # all = without bound
        'depth': request.depth or depth,
        'reliability': _RELIABILITIES[request.reliability or 'reliable'],
        'durability': _DURABILITIES[request.durability or 'volatile'],
        'liveliness': _LIVELINESSES[request.liveliness or 'automatic']}
    for name in ('lifespan', 'deadline'):
        seconds = getattr(request, name)
        if seconds:  # 0 is the middleware's "not set"
            policies[name] = Duration(nanoseconds=round(seconds * 1e9))
    return QoSProfile(**policies)


def best_durability(publishers: Iterable[QoSProfile]) -> DurabilityPolicy:
    """Return what the middleware makes of "best available" for a subscription."""
    if all(each.durability == DurabilityPolicy.TRANSIENT_LOCAL for each in publishers):
        return DurabilityPolicy.TRANSIENT_LOCAL
    return DurabilityPolicy.VOLATILE


def offer_of(profile: QoSProfile) -> Offer:
    """Return what decides about matching in a profile."""
    return Offer(
        profile.reliability != ReliabilityPolicy.BEST_EFFORT,
        profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        _finite(profile.deadline), profile.liveliness == LivelinessPolicy.MANUAL_BY_TOPIC,
        _finite(profile.liveliness_lease_duration))


def described(profile: QoSProfile) -> dict[str, Any]:
    """Return a profile by the names of rosbag2; what the graph does not show is ``unknown``."""
    return {
        'history': _word(profile.history), 'depth': profile.depth,
        'reliability': _word(profile.reliability), 'durability': _word(profile.durability),
        'deadline': _time(profile.deadline), 'lifespan': _time(profile.lifespan),
        'liveliness': _word(profile.liveliness),
        'liveliness_lease_duration': _time(profile.liveliness_lease_duration),
        'avoid_ros_namespace_conventions': profile.avoid_ros_namespace_conventions}


def _word(policy: Any) -> str:
    return str(policy.name).lower()


def _time(duration: Duration) -> dict[str, int]:
    seconds, rest = divmod(int(duration.nanoseconds), 1_000_000_000)
    return {'sec': seconds, 'nsec': rest}


def _finite(duration: Duration) -> float | None:
    """Return seconds; the middleware has 0 and its largest number for "none"."""
    seconds = duration.nanoseconds / 1e9
    return seconds if 0 < seconds < LONGEST else None


def mismatches(offered: Offer, wanted: Offer) -> list[str]:
    """Return what keeps a subscription (``wanted``) from hearing a publisher, by policy."""
    found = []
    if wanted.reliable and not offered.reliable:
        found.append('reliability (reliable wanted, best_effort offered)')
    if wanted.latched and not offered.latched:
        found.append('durability (transient_local wanted, volatile offered)')
    if _is_less(wanted.deadline, offered.deadline):
        found.append(f'deadline ({wanted.deadline:g} s wanted, {_seconds(offered.deadline)} '
                     'offered)')
    if wanted.manual and not offered.manual:
        found.append('liveliness (manual_by_topic wanted, automatic offered)')
    if _is_less(wanted.lease, offered.lease):
        found.append(f'liveliness lease ({wanted.lease:g} s wanted, {_seconds(offered.lease)} '
                     'offered)')
    return found


def _is_less(wanted: float | None, offered: float | None) -> bool:
    return wanted is not None and (offered is None or offered > wanted)


def _seconds(value: float | None) -> str:
    return 'none' if value is None else f'{value:g} s'
