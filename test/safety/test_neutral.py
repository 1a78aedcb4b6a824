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
"""What tells neutral commands from others, finds what is not finite, and holds to bounds."""
from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import OutOfRange
from ws_bridge.safety.neutral import (
    fits,
    make_checks,
    make_clamp,
    make_neutral_check,
    make_rest_check,
    missing_bounds,
    parse_path,
    Path,
)
from ws_bridge.safety.policy import Clamp, GatePolicy, Rest

LINE = '=' * 80
SCHEMA = schema_from_text('a/msg/Command', f"""\
std_msgs/Header header
float64 x
bool on
string name
float32[] axes
int32[2] buttons
uint8[] raw
uint8 small
Point point
Point[] points
Text text
{LINE}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{LINE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
{LINE}
MSG: a/Point
float64 x
float64[] v
{LINE}
MSG: a/Text
string words
""")
CODEC = Codec(SCHEMA)
is_neutral = make_neutral_check(SCHEMA)


def values(**fields: Any) -> dict[str, Any]:
    """Return a command as it is judged: made by way of CDR, so nothing is missing."""
    return dict(CODEC.to_values(CODEC.from_values(fields)))


@pytest.mark.parametrize('fields', [
    {}, {'x': -0.0}, {'axes': [0, 0.0]}, {'name': 'x', 'text': {'words': 'y'}}, {'raw': [0, 0]},
    {'header': {'frame_id': 'map', 'stamp': {'sec': 5}}}, {'point': {'v': [0]}}])
def test_neutral(fields: dict[str, Any]) -> None:
    assert is_neutral(values(**fields))


@pytest.mark.parametrize('fields', [
    {'x': 5e-324}, {'on': True}, {'axes': [0, 0.1]}, {'buttons': [0, 1]}, {'raw': [0, 1]},
    {'point': {'x': 1}}, {'point': {'v': [0, -1]}}, {'points': [{}]}, {'points': [{'x': 1}]}])
def test_not_neutral(fields: dict[str, Any]) -> None:
    assert not is_neutral(values(**fields))


@pytest.mark.parametrize(('fields', 'path'), [
    ({'x': None}, 'x'), ({'axes': [0, None]}, 'axes[1]'), ({'point': {'x': None}}, 'point.x'),
    ({'x': 1, 'points': [{}, {'v': [1, None]}]}, 'points[1].v[1]')])
def test_not_finite(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(OutOfRange) as caught:
        is_neutral(values(**fields))
    assert caught.value.field == path
    assert str(caught.value) == f'{path}: is not a finite number'


@given(st.fixed_dictionaries({}, optional={
    'x': st.floats(), 'on': st.booleans(), 'axes': st.lists(st.floats(width=32), max_size=3),
    'raw': st.binary(max_size=4).map(list),
    'points': st.lists(st.fixed_dictionaries({'x': st.floats()}), max_size=2)}))
def test_against_a_plain_look(fields: dict[str, Any]) -> None:
    numbers = [fields.get('x', 0), fields.get('on', False), *fields.get('axes', []),
               *fields.get('raw', []), *(point['x'] for point in fields.get('points', []))]
    command = values(**fields)
    if all(map(math.isfinite, numbers)):
        assert is_neutral(command) == (not any(numbers) and not fields.get('points'))
    else:
        with pytest.raises(OutOfRange):
            is_neutral(command)


@pytest.mark.parametrize(('path', 'steps'), [
    ('x', ('x',)), ('linear.x', ('linear', 'x')), ('axes[1]', ('axes', 1)),
    ('points[*].v[*]', ('points', None, 'v', None)), ('a[0][1]', ('a', 0, 1)),
    ('', None), ('.x', None), ('x.', None), ('x..y', None), ('[1]', None), ('x[', None),
    ('x[a]', None), ('x.[1]', None), ('x[1]y', None), ('x[-1]', None)])
def test_paths(path: str, steps: Any) -> None:
    assert parse_path(path) == steps


@pytest.mark.parametrize(('path', 'good'), [
    ('x', True), ('point.x', True), ('axes[*]', True), ('buttons[1]', True),
    ('points[*].v[0]', True), ('axes', False), ('x[0]', False), ('points.x', False),
    ('points[0]', False), ('point', False), ('name', False), ('on', False), ('nothing', False),
    ('x.y', False), ('', False), ('axes[0][1]', False), ('axes[0].x', False),
    ('raw[0]', False), ('raw[*]', False), ('small', True)])
def test_what_a_path_leads_to(path: str, good: bool) -> None:
    assert fits(SCHEMA, path) is good


def clamped(command: dict[str, Any], *clamps: Clamp) -> bool:
    clamp = make_clamp(SCHEMA, clamps)
    assert clamp is not None
    return clamp(command)


def test_no_bound_of_this_type() -> None:
    assert make_clamp(SCHEMA, (Clamp('linear.x', -1, 1),)) is None
    assert make_clamp(SCHEMA, ()) is None


def test_bounds_that_are_misspelt() -> None:
    """A bound may be of another type of the gate, but not if it begins in this one."""
    fields = ('x', 'x.y', 'point.z', 'point', 'axes', 'nothing', 'nothing.x', 'points[*].v[0]')
    missed = missing_bounds(SCHEMA, tuple(Clamp(field, -1, 1) for field in fields))
    assert missed == {'x.y': True, 'point.z': True, 'point': True, 'axes': True,
                      'nothing': False, 'nothing.x': False}


@pytest.mark.parametrize(('fields', 'path', 'fits_in'), [
    ({'x': 1.0}, 'x', True), ({'x': -1.0}, 'x', True), ({'x': 1.001}, 'x', False),
    ({'axes': [0, 2]}, 'axes[1]', False), ({'axes': [2, 0]}, 'axes[1]', True),
    ({'axes': [2]}, 'axes[1]', True), ({'axes': [0, 0, -2]}, 'axes[*]', False),
    ({'points': [{}, {'v': [0, 3]}]}, 'points[*].v[*]', False),
    ({'points': []}, 'points[*].v[*]', True)])
def test_bounds(fields: dict[str, Any], path: str, fits_in: bool) -> None:
    command = values(**fields)
    if fits_in:
        assert not clamped(command, Clamp(path, -1, 1))
    else:
        with pytest.raises(OutOfRange) as caught:
            clamped(command, Clamp(path, -1, 1))
        assert caught.value.field == path
    assert command == values(**fields)


def test_saturation() -> None:
    command = values(x=-3, buttons=[5, 0], points=[{'v': [2, 0]}, {'v': [0, -2]}])
    assert clamped(command, Clamp('x', -1, 1, saturate=True),
                   Clamp('buttons[*]', -2, 2, saturate=True),
                   Clamp('points[*].v[*]', -1, 1, saturate=True), Clamp('point.x', -1, 1))
    assert command == values(x=-1, buttons=[2, 0], points=[{'v': [1, 0]}, {'v': [0, -1]}])
    assert type(command['buttons'][0]) is int


# ---- what is neutral besides zero

JOY = schema_from_text('sensor_msgs/msg/Joy', 'float32[] axes\nint32[] buttons\n')


def rests(schema: Any, *found: Rest, seen: set[Path] | None = None, **fields: Any) -> bool:
    """Tell whether a command is at rest."""
    rest = make_rest_check(schema, make_neutral_check(schema), found)
    assert rest is not None
    codec = Codec(schema)
    return rest(codec.to_values(codec.from_values(fields)), set() if seen is None else seen)


@pytest.mark.parametrize(('found', 'fields', 'at_rest'), [
    ((Rest('x', tolerance=0.1),), {'x': 0.1}, True),
    ((Rest('x', tolerance=0.1),), {'x': -0.11}, False),
    ((Rest('x', (1.0,)),), {'x': 1.0}, True),
    ((Rest('x', (1.0,)),), {}, False),                              # its rest is not 0
    ((Rest('x', tolerance=0.1),), {'x': 0.1, 'on': True}, False),   # all others are at 0
    ((Rest('axes[1]', (1.0,)), Rest('axes[*]', tolerance=0.1)), {'axes': [0.1, 1, -0.1]}, True),
    ((Rest('axes[1]', (1.0,)), Rest('axes[*]', tolerance=0.1)), {'axes': [0.1, 0, 0]}, False),
    ((Rest('axes[1]', (1.0,)), Rest('axes[*]', tolerance=0.1)), {'axes': [1, 1, 0]}, False),
    ((Rest('axes[5]', (1.0,)),), {'axes': [0]}, True),              # there is none
    ((Rest('point.v[*]', tolerance=1.0),), {'point': {'v': [1, -1]}}, True)])
def test_at_rest(found: tuple[Rest, ...], fields: dict[str, Any], at_rest: bool) -> None:
    assert rests(SCHEMA, *found, **fields) is at_rest


def test_a_rest_about_no_field_of_a_type_is_none() -> None:
    assert make_rest_check(SCHEMA, is_neutral, (Rest('nothing.here'), Rest('name'))) is None
    checks = make_checks(SCHEMA, GatePolicy('g', clamp=(Clamp('x', 0.0, 1.0),)))
    assert checks.is_at_rest is None
    assert checks.clamp is not None


@pytest.mark.parametrize(('before', 'axes', 'buttons', 'at_rest'), [
    ([], [0, 0, 1, 0, 0, 1, 0, 0], [0] * 11, True),         # triggers at the end where they rest
    ([], [0.004, -0.05, 1, 0, 0, -1], [], True),            # a stick drifts
    ([], [0.051, 0, 1], [], False), ([], [0, 0, 0.9], [], False), ([], [0], [1], False),
    ([[0, 0, 1]], [0, 0, 1], [], True),
    ([[0, 0, 1], [0, 0.5, 0.4]], [0, 1, 1], [], False),     # a stick that is held, and was at rest
    ([[0, 0, 1]], [0, 0, -1], [], True),                    # what was never at 0 may rest anywhere
    ([], [0.0] * 64 + [1.0], [], False)])                   # nobody has so many
def test_joy_at_rest(before: list[list[float]], axes: list[float], buttons: list[int],
                     at_rest: bool) -> None:
    checks = make_checks(JOY, GatePolicy('g'))
    assert checks.is_at_rest is not None
    assert checks.is_at_rest.learns
    codec, seen = Codec(JOY), set[Path]()
    for past in before:
        checks.is_at_rest.note(codec.to_values(codec.from_values({'axes': past})), seen)
    values = codec.to_values(codec.from_values({'axes': axes, 'buttons': buttons}))
    assert checks.is_at_rest(values, seen) is at_rest


def test_what_a_gate_says_replaces_what_is_usual() -> None:
    policy = GatePolicy('g', neutral=(Rest('axes[2]', (1.0,)),))
    rest = make_checks(JOY, policy).is_at_rest
    assert rest is not None
    assert not rest.learns
    rest.note({'axes': [0.0, 0.0, 1.0], 'buttons': []}, seen := set[Path]())
    assert not seen
    assert rest({'axes': [0.0, 0.0, 1.0], 'buttons': []}, seen)
    assert not rest({'axes': [0.004, 0.0, 1.0], 'buttons': []}, seen)
