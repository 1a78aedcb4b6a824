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
The binary frames of the Foxglove dialect: an opcode of one byte, then little endian.

Offsets, and the bytes that tests hold them to, are those of Foxglove's own server.
"""
from __future__ import annotations

from collections.abc import Callable
import struct
from typing import NamedTuple

from ws_bridge.errors import BadFrame
from ws_bridge.protocol.dialect import SampleWriter

MESSAGE_DATA, TIME, CALL_RESPONSE, ASSET_RESPONSE, PLAYBACK_STATE = 1, 2, 3, 4, 5
"""Opcodes of frames to clients."""
CLIENT_DATA, CALL_REQUEST, PLAYBACK_CONTROL = 1, 2, 3
"""Opcodes of frames of clients."""
ASSET_OK, ASSET_ERROR = 0, 1
PLAY, PAUSE = 0, 1
PLAYING, PAUSED, BUFFERING, ENDED = range(4)

_SAMPLE = struct.Struct('<BI')
_CALL = struct.Struct('<BIII')
_ASSET = struct.Struct('<BIBI')
_TIME = struct.Struct('<BQ')
_CONTROL = struct.Struct('<BBfBQI')
_STATE = struct.Struct('<BBQfBI')
_STAMP_SIZE = 8


class ClientData(NamedTuple):
    """A publication of a client, on a channel that it has advertised."""

    channel_id: int
    payload: memoryview


class CallRequest(NamedTuple):
    """A call of a service; ``encoding`` is that of the payload, and of the answer."""

    service_id: int
    call_id: int
    encoding: str
    payload: memoryview


def read_client_data(frame: bytes | memoryview) -> ClientData:
    """
    Read a publication.

    :raises BadFrame: it is too short.
    """
    if len(frame) < _SAMPLE.size:
        raise BadFrame(f'a message has {_SAMPLE.size} bytes before its payload')
    return ClientData(_SAMPLE.unpack_from(frame)[1], memoryview(frame)[_SAMPLE.size:])


def read_call(frame: bytes | memoryview) -> CallRequest:
    """
    Read a call of a service.

    :raises BadFrame: it is too short, or its encoding is no text.
    """
    if len(frame) < _CALL.size:
        raise BadFrame(f'a call has {_CALL.size} bytes before its encoding')
    _, service_id, call_id, length = _CALL.unpack_from(frame)
    end = _CALL.size + length
    if len(frame) < end:
        raise BadFrame('the encoding of the call is longer than the frame')
    try:
        encoding = bytes(frame[_CALL.size:end]).decode()
    except UnicodeDecodeError as exc:
        raise BadFrame('the encoding of the call is no UTF-8') from exc
    return CallRequest(service_id, call_id, encoding, memoryview(frame)[end:])


class ControlRequest(NamedTuple):
    """
    How a replay is to go on.

    :param command: ``PLAY`` or ``PAUSE``.
    :param seek: Unix time, ns; ``None`` = nowhere else.
    """

    command: int
    speed: float
    seek: int | None
    request_id: str


def read_control(frame: bytes | memoryview) -> ControlRequest:
    """
    Read how a replay is to go on.

    :raises BadFrame: it is too short, or its identity is no text.
    """
    if len(frame) < _CONTROL.size:
        raise BadFrame(f'a control of playback has at least {_CONTROL.size} bytes')
    _, command, speed, has_seek, seek, length = _CONTROL.unpack_from(frame)
    end = _CONTROL.size + length
    if len(frame) < end:
        raise BadFrame('the identity of the request is longer than the frame')
    try:
        request_id = bytes(frame[_CONTROL.size:end]).decode()
    except UnicodeDecodeError as exc:
        raise BadFrame('the identity of the request is no UTF-8') from exc
    return ControlRequest(command, speed, seek if has_seek else None, request_id)


def playback_state(status: int, stamp: int, speed: float, *, has_jumped: bool,
                   request_id: str = '') -> bytes:
    """
    Return how a replay goes.

    :param stamp: the time in the recording, Unix time, ns.
    :param request_id: of what asked for it; empty = nothing did.
    """
    name = request_id.encode()
    return _STATE.pack(PLAYBACK_STATE, status, stamp, speed, has_jumped, len(name)) + name


def call_response(service_id: int, call_id: int, encoding: str, payload: bytes) -> bytes:
    """Return the answer to a call."""
    name = encoding.encode()
    return _CALL.pack(CALL_RESPONSE, service_id, call_id, len(name)) + name + payload


def asset_response(request_id: int, data: bytes) -> bytes:
    """Return an asset."""
    return b'%b%b' % (_ASSET.pack(ASSET_RESPONSE, request_id, ASSET_OK, 0), data)


def asset_error(request_id: int, why: str) -> bytes:
    """Return why an asset cannot be had."""
    text = why.encode()
    return _ASSET.pack(ASSET_RESPONSE, request_id, ASSET_ERROR, len(text)) + text


def time_frame(stamp: int) -> bytes:
    """Return the time of a simulation, ns."""
    return _TIME.pack(TIME, stamp)


def sample_writer(subscription_id: int, clock: Callable[[], int] | None = None) -> SampleWriter:
    """
    Return what frames the samples of a subscription.

    :param clock: gives their times, ns, in place of those at which they were taken.
    """
    head = _SAMPLE.pack(MESSAGE_DATA, subscription_id)

    def write(body: bytes, stamp: int, sequence: int) -> bytes:
        return b'%b%b%b' % (head, stamp.to_bytes(_STAMP_SIZE, 'little'), body)

    def write_simulated(body: bytes, stamp: int, sequence: int) -> bytes:
        return write(body, clock() if clock else stamp, sequence)
    return write if clock is None else write_simulated
