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
"""Looks into the values of a command: all numbers finite, neutral or not, within bounds."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
import re
from typing import Any, NamedTuple

from ws_bridge.convert.schema import Field, MessageSchema
from ws_bridge.errors import OutOfRange
from ws_bridge.safety.policy import Clamp, GatePolicy, Rest, USUAL_REST

NeutralCheck = Callable[[Mapping[str, Any]], bool]
ClampFunction = Callable[[dict[str, Any]], bool]
SlowFunction = Callable[[dict[str, Any], float], bool]
Steps = tuple[str | int | None, ...]
Path = tuple[str | int, ...]

TIMED = ('std_msgs/msg/Header', 'builtin_interfaces/msg/Time', 'builtin_interfaces/msg/Duration')
_STEP = re.compile(r'([^.\[\]]+)|\[(\d+|\*)\]')
_ZERO_TEXT = set('A=')
_ROUNDED = 1 + 1e-6
"""What is written 0.05 is a little more as a float32."""
_LEARNED = 64
"""Elements of an array that are learned about; those behind rest where they are said to."""


def make_neutral_check(schema: MessageSchema) -> NeutralCheck:
    """
    Return what tells whether the values of a message are neutral.

    Neutral is: every number 0, every bool false, no element in a list of messages (a trajectory
    without points). Headers, times and texts do not count. It raises ``OutOfRange`` for a
    number that is not finite.
    """
    looks = [(field.name, look) for field in schema.fields if (look := _look_at(field))]

    def is_neutral(values: Mapping[str, Any]) -> bool:
        neutral = True
        for name, look in looks:
            try:
                if not look(values[name]):
                    neutral = False
            except OutOfRange as exc:
                exc.inside(name)
                raise
        return neutral
    return is_neutral


def _look_at(field: Field) -> Callable[[Any], bool] | None:
    kind = field.field_type.kind
    is_array = field.field_type.array != 'none'
    if kind == 'message':
        message = field.field_type.message
        assert message is not None
        if message.name in TIMED:
            return None
        is_neutral = make_neutral_check(message)
        return _list_of(is_neutral) if is_array else is_neutral
    if kind in ('string', 'wstring'):
        return None
    return _numbers if is_array else _number


def _number(value: Any) -> bool:
    if not value:
        return True
    if value - value != 0:
        raise OutOfRange('is not a finite number')
    return False


def _numbers(values: Any) -> bool:
    if isinstance(values, (str, bytes)):     # bytes, as base64
        return set(values) <= _ZERO_TEXT
    neutral = True
    for index, value in enumerate(values):
        if value:
            if value - value != 0:
                raise OutOfRange('is not a finite number', field=f'[{index}]')
            neutral = False
    return neutral


def _list_of(is_neutral: NeutralCheck) -> Callable[[Any], bool]:
    def look(values: Any) -> bool:
        for index, value in enumerate(values):
            try:
                is_neutral(value)
            except OutOfRange as exc:
                exc.inside(f'[{index}]')
                raise
        return not values
    return look


def parse_path(path: str) -> tuple[str | int | None, ...] | None:
    """
    Return the steps of ``linear.x``, ``axes[1]``, ``points[*].velocities[*]``.

    :return: names, indices and ``None`` for every element; ``None`` where it is no path.
    """
    steps: list[str | int | None] = []
    at = 0
    while at < len(path):
        if steps and path[at] == '.':
            at += 1
        match = _STEP.match(path, at)
        if match is None or (match[1] and at and path[at - 1] != '.') or \
                (match[2] and (not steps or path[at - 1] == '.')):
            return None
        steps.append(match[1] or (None if match[2] == '*' else int(match[2])))
        at = match.end()
    return tuple(steps) or None


def fits(schema: MessageSchema, path: str) -> bool:
    """Whether a path leads to a number of a message type; ``uint8[]`` is text there (base64)."""
    steps = parse_path(path) or ()
    found: MessageSchema | None = schema
    field: Field | None = None
    indexed = True
    for step in steps:
        if isinstance(step, str):
            if found is None or not indexed:
                return False
            field = next((each for each in found.fields if each.name == step), None)
            if field is None:
                return False
            found = field.field_type.message
            indexed = field.field_type.array == 'none'
        elif indexed:
            return False
        else:
            indexed = True
    return field is not None and found is None and indexed and \
        field.field_type.kind not in ('string', 'wstring', 'bool') and \
        (field.field_type.kind != 'uint8' or field.field_type.array == 'none')


def missing_bounds(schema: MessageSchema, clamps: tuple[Clamp, ...]) -> dict[str, bool]:
    """
    Return the fields of bounds that are not about a message type.

    :return: each with whether it begins with a field of the type: then it cannot be meant for
        another type of the gate.
    """
    names = {field.name for field in schema.fields}
    return {clamp.field: (parse_path(clamp.field) or ('',))[0] in names
            for clamp in clamps if not fits(schema, clamp.field)}


def make_clamp(schema: MessageSchema, clamps: tuple[Clamp, ...]) -> ClampFunction | None:
    """
    Return what holds values to their bounds; ``None`` where no bound is about this type.

    It changes what is to be saturated, returns whether it did, and raises ``OutOfRange``.
    """
    bounds = [(parse_path(clamp.field) or (), clamp) for clamp in clamps
              if fits(schema, clamp.field)]
    if not bounds:
        return None

    def clamp_values(values: dict[str, Any]) -> bool:
        changed = False
        for steps, clamp in bounds:
            changed = _clamp(values, steps, clamp) or changed
        return changed
    return clamp_values


def make_slow(schema: MessageSchema, clamps: tuple[Clamp, ...]) -> SlowFunction | None:
    """
    Return what holds values to a share of their bounds; ``None`` where no bound is of this type.

    It saturates every field that has a bound, and returns whether it changed something.
    """
    bounds = [(parse_path(clamp.field) or (), clamp) for clamp in clamps
              if fits(schema, clamp.field)]
    if not bounds:
        return None

    def slow_values(values: dict[str, Any], share: float) -> bool:
        changed = False
        for steps, clamp in bounds:     # 0.0: not -0.0
            changed = _clamp(values, steps, Clamp(
                clamp.field, clamp.minimum * share + 0.0, clamp.maximum * share + 0.0, True)
            ) or changed
        return changed
    return slow_values


def _clamp(values: Any, steps: tuple[str | int | None, ...], clamp: Clamp) -> bool:
    step = steps[0]
    if step is None:
        changed = False
        for index in range(len(values)):
            changed = _clamp(values, (index, *steps[1:]), clamp) or changed
        return changed
    if isinstance(step, int) and step >= len(values):
        return False
    if len(steps) > 1:
        return _clamp(values[step], steps[1:], clamp)
    value = values[step]
    if clamp.minimum <= value <= clamp.maximum:
        return False
    if not clamp.saturate:
        raise OutOfRange(f'is {value:g}, the gate allows {clamp.minimum:g} to '
                         f'{clamp.maximum:g}', field=clamp.field)
    values[step] = type(value)(min(max(value, clamp.minimum), clamp.maximum))
    return True


class RestCheck:
    """
    Tells whether a command is neutral where that is more than zero.

    What was seen of a peer's commands is kept by who asks: a set, which is handed in.
    """

    def __init__(self, is_zero: NeutralCheck, rests: list[tuple[Steps, Rest]]) -> None:
        self._is_zero = is_zero
        self._rests = rests
        self.learns = any(rest.learned for _, rest in rests)

    def __call__(self, values: Mapping[str, Any], seen: set[Path]) -> bool:
        """Whether every number is at rest: those that a rest is about there, all others at 0."""
        decided: set[Path] = set()
        for steps, rest in self._rests:
            for path, value in _numbers_at(values, steps):
                if path not in decided and not _rests(value, rest, path, seen):
                    return False
                decided.add(path)
        remains = deepcopy(dict(values))
        for path in decided:
            _put(remains, path, 0)
        return self._is_zero(remains)

    def note(self, values: Mapping[str, Any], seen: set[Path]) -> None:
        """Note which numbers of a peer's are where they rest, and not at an end of their way."""
        for steps, rest in self._rests:
            if rest.learned:
                seen.update(path for path, value in _numbers_at(values, steps)
                            if _is_learned(path) and _near(value, rest.values, rest.tolerance))


def make_rest_check(schema: MessageSchema, is_zero: NeutralCheck, rests: tuple[Rest, ...]
                    ) -> RestCheck | None:
    """Return what tells whether values are at rest; ``None`` where that is zero alone."""
    found = [(parse_path(rest.field) or (), rest) for rest in rests if fits(schema, rest.field)]
    return RestCheck(is_zero, found) if found else None


class Checks(NamedTuple):
    """
    What a gate looks for in the commands of one type.

    :param is_zero: whether nothing moves; raises ``OutOfRange``.
    :param is_at_rest: whether a command is neutral all the same; ``None`` = only zero is.
    :param clamp: holds it to its bounds; ``None`` = it has none.
    :param slow: holds it to a share of them; ``None`` = the gate slows nothing down.
    """

    is_zero: NeutralCheck
    is_at_rest: RestCheck | None = None
    clamp: ClampFunction | None = None
    slow: SlowFunction | None = None


def make_checks(schema: MessageSchema, policy: GatePolicy) -> Checks:
    """Return the checks of a gate for a type."""
    is_zero = make_neutral_check(schema)
    rests = policy.neutral or USUAL_REST.get(schema.name, ())
    return Checks(is_zero, make_rest_check(schema, is_zero, rests),
                  make_clamp(schema, policy.clamp),
                  make_slow(schema, policy.clamp) if policy.slow_down else None)


def _numbers_at(values: Any, steps: Steps, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """Give the numbers that a path leads to, each with its own path."""
    step = steps[0]
    if step is None:
        keys: Any = range(len(values))
    else:
        keys = (step,) if isinstance(step, str) or step < len(values) else ()
    for key in keys:
        if len(steps) == 1:
            yield (*path, key), values[key]
        else:
            yield from _numbers_at(values[key], steps[1:], (*path, key))


def _rests(value: float, rest: Rest, path: Path, seen: set[Path]) -> bool:
    return _near(value, rest.values, rest.tolerance) or (
        path not in seen and _is_learned(path) and _near(value, rest.learned, rest.tolerance))


def _near(value: float, places: tuple[float, ...], tolerance: float) -> bool:
    reach = tolerance * _ROUNDED
    return any(abs(value - place) <= reach for place in places)


def _is_learned(path: Path) -> bool:
    return not isinstance(path[-1], int) or path[-1] < _LEARNED


def _put(values: Any, path: Path, value: float) -> None:
    for step in path[:-1]:
        values = values[step]
    values[path[-1]] = value
