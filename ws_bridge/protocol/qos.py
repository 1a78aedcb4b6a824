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
What a peer asks of the quality of service of a topic; absent means matched to the graph.

Words are those of rclpy (``best_effort``, ``transient_local``, ...), numbers those of rmw.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ws_bridge.errors import BadField

MAX_DEPTH = 10_000
INFINITE = 9223372037
"""What rmw writes for a duration without end, s, rounded up."""
LONGEST = 2**31
"""Durations from here on, s, have no end; 0 says that to the middleware."""

# word -> (rmw number, ...); 'system_default' (0) and 'unknown' mean: not asked for
_WORDS: dict[str, tuple[tuple[str, int], ...]] = {
    'history': (('keep_last', 1),),
    'reliability': (('reliable', 1), ('best_effort', 2), ('best_available', 4)),
    'durability': (('transient_local', 1), ('volatile', 2), ('best_available', 4)),
    'liveliness': (('automatic', 1), ('manual_by_topic', 3), ('best_available', 5)),
}
_SECONDS = ('lifespan', 'deadline')
_MAX_KEY = 64


@dataclass(frozen=True, slots=True)
class QosRequest:
    """Each ``None`` is chosen by the bridge; words as in rclpy, durations in seconds."""

    history: str | None = None
    depth: int | None = None
    reliability: str | None = None
    durability: str | None = None
    lifespan: float | None = None
    deadline: float | None = None
    liveliness: str | None = None


_FIELDS = frozenset(f.name for f in fields(QosRequest))


def parse_qos(values: object, path: str = 'qos') -> QosRequest | None:
    """
    Read the ``qos`` object of a request.

    :param values: the object as it came, or ``None``.
    :param path: where it stands in the request, for errors.
    :raises BadField: an unknown key, word or number.
    """
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise BadField('must be an object', field=path)
    found: dict[str, Any] = {}
    for key, value in values.items():
        where = f'{path}.{key[:_MAX_KEY]}'
        if key not in _FIELDS:
            raise BadField(f'unknown; known are {", ".join(sorted(_FIELDS))}', field=where)
        if value is None:
            continue
        if key == 'depth':
            found[key] = _depth(value, where)
        elif key == 'history' and _is_keep_all(value):
            raise BadField('keep_all has no bound: a subscriber that hangs would hold everybody; '
                           f'ask for keep_last with a depth of at most {MAX_DEPTH}', field=where)
        elif key in _SECONDS:
            found[key] = _seconds(value, where)
        else:
            found[key] = _word(key, value, where)
    return QosRequest(**found)


def _is_keep_all(value: object) -> bool:
    return (isinstance(value, str) and _as_word(value) == 'keep_all') or (
        value == 2 and not isinstance(value, bool))


def _depth(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_DEPTH:
        raise BadField(f'must be an integer from 0 to {MAX_DEPTH}', field=where)
    return value


def _seconds(value: object, where: str) -> float:
    if isinstance(value, Mapping):
        value = _from_parts(value, where)
    if isinstance(value, bool) or not isinstance(value, (int, float)) \
            or not 0 <= value <= INFINITE:
        raise BadField(f'must be seconds from 0 to {INFINITE:g}, or {{sec, nanosec}}', field=where)
    return float(value) if value < LONGEST else 0.0


def _from_parts(value: Mapping[Any, Any], where: str) -> float:
    sec = value.get('sec', value.get('secs', 0))
    nanosec = value.get('nanosec', value.get('nsecs', value.get('nsec', 0)))
    for part in (sec, nanosec):
        if isinstance(part, bool) or not isinstance(part, int) or not 0 <= part <= INFINITE:
            raise BadField('must be {sec, nanosec}', field=where)
    return float(sec + nanosec * 1e-9)


def _as_word(value: str) -> str:
    return value.strip().lower().replace('-', '_').replace(' ', '_')


def _word(key: str, value: object, where: str) -> str | None:
    if isinstance(value, str):
        word = _as_word(value)
        if word in ('system_default', 'default', 'unknown'):
            return None
        if any(word == known for known, _ in _WORDS[key]):
            return word
    elif isinstance(value, int) and not isinstance(value, bool):
        if value == 0:
            return None
        for word, number in _WORDS[key]:
            if value == number:
                return word
    known = ', '.join(f'{word} ({number})' for word, number in _WORDS[key])
    raise BadField(f'must be one of {known}', field=where)
