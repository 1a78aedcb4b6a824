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
"""Frames between robots and relays."""
from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.errors import BadFrame
from ws_bridge.fleet.frames import (
    CarrierFrame,
    decode,
    encode_data,
    encode_room,
    encode_state,
    encode_stream,
    Kind,
    MAX_JSON,
)

NUMBER = st.integers(0, 2**32 - 1)


@given(st.lists(NUMBER, min_size=1, unique=True), st.binary())
def test_data_is_read_as_it_was_written(streams: list[int], data: bytes) -> None:
    assert decode(encode_data(streams, data)) == CarrierFrame(
        Kind.DATA, tuple(streams), data=data)


@given(NUMBER, NUMBER)
def test_the_others_are(stream: int, room: int) -> None:
    fields = {'a': [1, 'text']}
    assert decode(encode_room(stream, room)) == CarrierFrame(Kind.ROOM, (stream,), room=room)
    assert decode(encode_state(fields)) == CarrierFrame(Kind.STATE, fields=fields)
    for kind in (Kind.OPEN, Kind.REFUSE):
        assert decode(encode_stream(kind, stream, fields)) == CarrierFrame(
            kind, (stream,), fields)
    for kind in (Kind.ACCEPT, Kind.END):
        assert decode(encode_stream(kind, stream)) == CarrierFrame(kind, (stream,))


@given(st.binary())
def test_whatever_comes_is_read_or_refused(frame: bytes) -> None:
    with suppress(BadFrame):
        decode(frame)


@pytest.mark.parametrize('frame', [
    b'', b'\0', b'\x09', bytes((Kind.BYE,)), bytes((Kind.DATA, 0, 0)),
    encode_data([1, 1], b'x'), encode_data([1, 2], b'')[:-1], encode_stream(Kind.END, 1) + b'x',
    encode_stream(Kind.OPEN, 1), encode_stream(Kind.OPEN, 1) + b'[]',
    encode_state({'a': 'x' * MAX_JSON}), encode_room(1, 1) + b'x'])
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        decode(frame)
