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
"""What crosses between relays."""
from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.errors import BadFrame
from ws_bridge.fleet.parcels import (
    down,
    pack,
    pack_presence,
    Parcel,
    Presence,
    unpack,
    unpack_presence,
    up,
)

ID = '0123456789abcdef'


@given(st.integers(0, 2**64 - 1), st.binary())
def test_a_parcel_is_read_as_it_was_packed(number: int, frame: bytes) -> None:
    parcel = Parcel(ID, 'f' * 16, '0' * 16, number, 'r-1_A', frame)
    assert unpack(pack(parcel)) == parcel


@given(st.binary())
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with suppress(BadFrame):
        unpack(data)
    with suppress(BadFrame):
        unpack_presence(data)


def test_presence_is_read_as_it_was_said() -> None:
    said = Presence(ID, asks=True, robots=({'name': 'r1'},), gone=('r2',), before='f' * 16)
    assert unpack_presence(pack_presence(said)) == said


@pytest.mark.parametrize('data', [
    b'{}', b'[]', b'\xff', pack_presence(Presence('short')), pack_presence(Presence('x' * 16)),
    pack_presence(Presence(ID)).replace(b'"robots":[]', b'"robots":[1]'),
    pack_presence(Presence(ID)).replace(b'"gone":[]', b'"gone":{}')])
def test_what_is_no_presence_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        unpack_presence(data)


def test_a_name_that_is_none_of_a_robot_is_refused() -> None:
    with pytest.raises(BadFrame):
        unpack(pack(Parcel(ID, ID, ID, 0, 'a.b', b'')))


def test_the_subjects_are_those_of_the_sample_configuration() -> None:
    assert up('r1') == 'ws_bridge.robots.r1.up'
    assert down(ID) == f'ws_bridge.relays.{ID}.down'
