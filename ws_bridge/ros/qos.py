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
  delivered once (:class:`ws_bridge.ros.pump.Memory`).

``ros2 topic echo`` and foxglove_bridge stop at the base, and lose the old samples in a mix.
No publisher yet: a reliable and a best-effort one, so that whoever comes first is heard, and
heard without loss if it is reliable; one of them goes when the publisher is known.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

from ws_bridge.errors import BadField

MAX_DEPTH = 10_000
MAX_SECONDS = 2 ** 31

_HISTORIES = {'keep_last': HistoryPolicy.KEEP_LAST, 'keep_all': HistoryPolicy.KEEP_ALL}
_RELIABILITIES = {'reliable': ReliabilityPolicy.RELIABLE,
                  'best_effort': ReliabilityPolicy.BEST_EFFORT}
_DURABILITIES = {'transient_local': DurabilityPolicy.TRANSIENT_LOCAL,
                 'volatile': DurabilityPolicy.VOLATILE}
_LIVELINESSES = {'automatic': LivelinessPolicy.AUTOMATIC,
                 'manual_by_topic': LivelinessPolicy.MANUAL_BY_TOPIC}
_WORDS: dict[str, Mapping[str, Any]] = {
    'history': _HISTORIES, 'reliability': _RELIABILITIES,
    'durability': _DURABILITIES, 'liveliness': _LIVELINESSES}
_UNSET = ('system_default', 'default')


@dataclass(frozen=True, slots=True)
class QosRequest:
    """
    What a peer asks for; ``None`` leaves the choice to the bridge.

    :param lifespan: seconds.
    :param deadline: seconds.
    """

    history: str | None = None
    depth: int | None = None
    reliability: str | None = None
    durability: str | None = None
    lifespan: float | None = None
    deadline: float | None = None
    liveliness: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One subscription profile of a plan."""

    reliable: bool
    latched: bool


LATCHED = Match(reliable=True, latched=True)
ANYBODY = (Match(reliable=True, latched=False), Match(reliable=False, latched=False))


def parse_qos(values: object, *, field: str = 'qos') -> QosRequest:
    """
    Check a peer's QoS object: words or the numbers of ``rmw``, durations in s or {sec, nanosec}.

    :param values: a mapping, from JSON.
    :param field: path of the object in the request, for errors.
    :raises BadField: naming the key that is wrong.
    """
    if not isinstance(values, Mapping):
        raise BadField('expected an object', field=field)
    known = {each.name for each in fields(QosRequest)}
    parsed: dict[str, Any] = {}
    for key, value in values.items():
        path = f'{field}.{key}'
        if key not in known:
            raise BadField(f'not a QoS policy; known are {", ".join(sorted(known))}', field=path)
        if value is None:
            continue
        if key in _WORDS:
            parsed[key] = _parse_word(_WORDS[key], value, path)
        elif key == 'depth':
            parsed[key] = _parse_depth(value, path)
        else:
            parsed[key] = _parse_duration(value, path)
    return QosRequest(**parsed)


def _parse_word(words: Mapping[str, Any], value: object, path: str) -> str | None:
    if isinstance(value, str):
        word = value.strip().lower().replace('-', '_').replace(' ', '_')
        if word in words:
            return word
        if word in _UNSET:
            return None
    elif isinstance(value, int) and not isinstance(value, bool):
        if value == 0:  # RMW_QOS_POLICY_*_SYSTEM_DEFAULT
            return None
        for word, policy in words.items():
            if int(policy) == value:
                return word
    numbers = ', '.join(f'{word} ({int(policy)})' for word, policy in words.items())
    raise BadField(f'expected one of {numbers}', field=path)


def _parse_depth(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_DEPTH:
        raise BadField(f'expected an integer from 0 to {MAX_DEPTH}', field=path)
    return value


def _parse_duration(value: object, path: str) -> float:
    if isinstance(value, Mapping):
        seconds, nanoseconds = value.get('sec', 0), value.get('nanosec', 0)
        if set(value) <= {'sec', 'nanosec'} and _is_number(seconds) and _is_number(nanoseconds):
            value = seconds + nanoseconds * 1e-9
    if _is_number(value) and 0 <= value < MAX_SECONDS:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise BadField('expected seconds, or {sec, nanosec}', field=path)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
        'history': _HISTORIES[request.history or 'keep_last'],
        'depth': request.depth or depth,
        'reliability': _RELIABILITIES[request.reliability or 'reliable'],
        'durability': _DURABILITIES[request.durability or 'volatile'],
        'liveliness': _LIVELINESSES[request.liveliness or 'automatic']}
    for name in ('lifespan', 'deadline'):
        seconds = getattr(request, name)
        if seconds:  # 0 is the middleware's "not set"
            policies[name] = Duration(nanoseconds=round(seconds * 1e9))
    return QoSProfile(**policies)
