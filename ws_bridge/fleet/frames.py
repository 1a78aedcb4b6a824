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
What crosses between a robot and a relay, and between relays.  Pure.

A frame is one byte that says its kind, then, in the order of the network::

    OPEN    1  stream u32, JSON: a relay asks a robot to take a connection, and says whose it is
    ACCEPT  2  stream u32: the robot takes it
    REFUSE  3  stream u32, JSON: it does not; an HTTP status, and why
    DATA    4  count u16, count times stream u32, bytes: the same to each of these streams
    ROOM    5  stream u32, u32: so many more bytes of the stream have been taken
    END     6  stream u32: nothing more comes of it, either way
    STATE   7  JSON: what a robot says of itself, for the list
    BYE     8  between relays: nothing of this is valid any more

The bytes of a stream are those of a WebSocket connection after its handshake, as they are. A relay
does not read them: pings, and so the age of commands, go from end to end.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
import struct
from typing import Any, NamedTuple

import orjson

from ws_bridge.errors import BadFrame

SUBPROTOCOL = 'ws_bridge.fleet.v1'
MAX_STREAMS = 65_535
"""To which the same bytes go in one frame."""
MAX_JSON = 65_536
"""Of one frame, bytes."""

_STREAM = struct.Struct('!BI')
_COUNT = struct.Struct('!BH')
_ROOM = struct.Struct('!BII')


class Kind(IntEnum):
    """What a frame is."""

    OPEN = 1
    ACCEPT = 2
    REFUSE = 3
    DATA = 4
    ROOM = 5
    END = 6
    STATE = 7
    BYE = 8


class CarrierFrame(NamedTuple):
    """
    One frame.

    :param streams: to which it belongs; several only of ``DATA``, none of ``STATE``.
    :param fields: of those with JSON.
    :param data: of ``DATA``.
    :param room: of ``ROOM``.
    """

    kind: Kind
    streams: tuple[int, ...] = ()
    fields: Mapping[str, Any] | None = None
    data: bytes = b''
    room: int = 0


def encode_stream(kind: Kind, stream: int, fields: Mapping[str, Any] | None = None) -> bytes:
    """Return a frame of one stream, with JSON if there are fields."""
    head = _STREAM.pack(kind, stream)
    return head if fields is None else head + orjson.dumps(fields)


def encode_data(streams: Sequence[int], data: bytes | memoryview) -> bytes:
    """Return the frame of bytes that go to each of some streams."""
    return b''.join((_COUNT.pack(Kind.DATA, len(streams)),
                     struct.pack(f'!{len(streams)}I', *streams), data))


def encode_room(stream: int, room: int) -> bytes:
    """Return a frame that gives room."""
    return _ROOM.pack(Kind.ROOM, stream, room)


def encode_state(fields: Mapping[str, Any]) -> bytes:
    """Return what a robot says of itself."""
    return bytes((Kind.STATE,)) + orjson.dumps(fields)


def decode(frame: bytes) -> CarrierFrame:
    """
    Read a frame.

    :raises BadFrame: it is none.
    """
    try:
        kind = Kind(frame[0])
        if kind is Kind.DATA:
            _, count = _COUNT.unpack_from(frame)
            streams = struct.unpack_from(f'!{count}I', frame, _COUNT.size)
            if not count or len(set(streams)) != count:
                raise BadFrame('bytes for no stream, or twice for one')
            return CarrierFrame(kind, streams, data=frame[_COUNT.size + 4 * count:])
        if kind is Kind.STATE:
            return CarrierFrame(kind, fields=_fields(frame[1:]))
        if kind is Kind.BYE:
            raise BadFrame('only relays say goodbye to each other')
        if kind is Kind.ROOM:
            _, stream, room = _ROOM.unpack(frame)
            return CarrierFrame(kind, (stream,), room=room)
        _, stream = _STREAM.unpack_from(frame)
        rest = frame[_STREAM.size:]
    except (IndexError, ValueError, struct.error) as exc:
        raise BadFrame(f'no frame of a fleet: {exc}') from exc
    if kind in (Kind.OPEN, Kind.REFUSE):
        return CarrierFrame(kind, (stream,), fields=_fields(rest))
    if rest:
        raise BadFrame('a frame of a fleet is too long')
    return CarrierFrame(kind, (stream,))


def _fields(text: bytes) -> Mapping[str, Any]:
    if len(text) > MAX_JSON:
        raise BadFrame('the JSON in a frame of a fleet is too long')
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise BadFrame('the JSON in a frame of a fleet cannot be read') from exc
    if not isinstance(fields, dict):
        raise BadFrame('the JSON in a frame of a fleet is no object')
    return fields
