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
The native dialect, ``ws_bridge.v1``: envelopes and binary frames to operations and back.

``docs/reference/protocol.md`` is its reference. One instance serves one peer; it keeps nothing but
the counter of the frames it made.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
import math
import re
import struct
from typing import Any, get_args

import orjson

from ws_bridge.errors import (
    BadField,
    BadFrame,
    ProtocolError,
    UnknownOperation,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialect import begins_cbor_map, read_small, SampleWriter
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.envelope import decode as decode_envelope
from ws_bridge.protocol.envelope import encode as encode_envelope
from ws_bridge.protocol.envelope import Envelope, envelope_of, MAX_DEPTH, MAX_ID_LENGTH
from ws_bridge.protocol.native_replies import content_of, GOAL_STATUS, Often, OFTEN_SENT
from ws_bridge.protocol.native_requests import (
    choice,
    CONFIGURATIONS,
    flag,
    MAX_NAME,
    optional_integer,
    optional_number,
    optional_time,
    text,
    whole,
)
from ws_bridge.protocol.types import MessageType
from ws_bridge.protocol.unix_time import nanoseconds, SECOND, seconds

SUBPROTOCOL = 'ws_bridge.v1'
MAX_STATUS = 4096

BRIDGE_STATUS = ('state', 'gates', 'lease', 'estop', 'stopped', 'speed', 'rates',
                 'playback')
"""What ``status`` frames of a bridge are about, by ``data.kind``."""

_HEAD = (b'{"metadata":{"message_id":%b-%d","timestamp":%b,"message_type":"%b","priority":%d,'
         b'"source":%b,"destination":null,"correlation_id":%b},"data":')
_WITH_VALUES = ('command', 'data', None)
_ID = re.compile(rb'"message_id"\s*:\s*"([^"\\]{1,256})"')
_EDGE = 2048

BINARY_HEADER = struct.Struct('<BBHIdI')
VIDEO_OPCODE = 5
"""Of binary frames with a frame of video; the next one is kept free, as of each encoding."""
KEY_FRAME, H265, JPEG, RUNG_AT = 1, 2, 4, 4
"""
What is said of it in the second byte: it stands for itself; it is not H.264 but H.265, or a JPEG;
from which bit on, its quality and one, 0 where the bridge has not encoded it.
"""
_CODECS = {'h264': 0, 'h265': H265, 'jpeg': JPEG}


def recognises(value: Any) -> bool:
    """
    Whether a first frame may be of this dialect.

    :param value: parsed text: an envelope, which has no ``op`` outside of ``data``; or bytes:
        anything but a map in CBOR.
    """
    if isinstance(value, bytes):
        return not begins_cbor_map(value)
    return type(value) is dict and 'op' not in value and ('metadata' in value or 'data' in value)


def find_values(value: dict[str, Any]) -> list[str]:
    """Return where an envelope has the values of a message; empty = nowhere."""
    metadata, data = value.get('metadata'), value.get('data')
    kind = metadata.get('message_type') if type(metadata) is dict else None
    if type(data) is not dict:
        return []
    if kind == 'acknowledgment':
        return ['data', 'result'] if type(data.get('result')) is dict else []
    return ['data'] if kind in _WITH_VALUES else []


def find_id(text: bytes) -> str | None:
    """Return the message id of an envelope that will not be parsed, if it stands near an end."""
    found = _ID.search(text, 0, _EDGE) or _ID.search(text, max(len(text) - _EDGE, 0))
    return None if found is None else found[1].decode(errors='replace')


def find_stop(frame: str | bytes | memoryview) -> Any:
    """
    Return the JSON of a frame that was refused and is an emergency stop all the same, or nothing.

    The other fields of the envelope do not matter; see also :func:`read_small`.

    :return: its JSON; ``None`` where it is no stop, or is longer than :data:`STOP_SIZE`.
    """
    value = read_small(frame)
    if type(value) is not dict or type(value.get('data')) is not dict \
            or value['data'].get('op') != 'stop':
        return None
    metadata = value.get('metadata')
    kind = metadata.get('message_type') if type(metadata) is dict else None
    if kind is None:        # a publication, if it says where
        return None if type(metadata) is dict and isinstance(metadata.get('destination'), str) \
            else value
    return None if kind in _OTHERS else value


class NativeDialect:
    """
    Codec of one peer.

    :param source: the bridge's name in ``metadata.source``.
    :param prefix: makes ``message_id`` unique; the caller brings the randomness.
    :param max_depth: most arrays and objects inside each other in a frame.
    """

    name = 'native'
    fence = 0.0

    def __init__(self, source: str, prefix: str, max_depth: int = MAX_DEPTH) -> None:
        self._source = source
        self._prefix = prefix
        self._source_text = _text_of(source)
        self._stem = orjson.dumps(prefix)[:-1]
        self._max_depth = max_depth
        self._count = 0

    def decode(self, frame: str | bytes | memoryview, now: float = 0.0) -> tuple[ops.Operation]:
        """Turn one frame into its operation; what cannot be read becomes ``Malformed``."""
        op = self._decode_text(frame) if isinstance(frame, str) else _decode_binary(frame)
        if type(op) is ops.Malformed:
            stop = find_stop(frame)
            if stop is not None:
                return (CONFIGURATIONS['stop'](_id_in(stop), stop['data']),)
        return (op,)

    def _decode_text(self, frame: str) -> ops.Operation:
        if not frame:
            return ops.Nothing()
        try:
            envelope = decode_envelope(frame, self._max_depth)
        except ProtocolError as exc:
            return _no_envelope(_id_of(frame), exc)
        return self._operation(envelope)

    def decode_value(self, value: Any, now: float = 0.0, *,
                     wrapped: bool = False) -> tuple[ops.Operation]:
        """Turn a parsed text frame, in which ``Parked`` may stand, into its operation."""
        message_id = _id_in(value)
        try:
            envelope = envelope_of(value)
        except ProtocolError as exc:
            return (_no_envelope(message_id, exc),)
        return (self._operation(envelope),)

    def _operation(self, envelope: Envelope) -> ops.Operation:
        try:
            return _DECODERS[envelope.message_type](envelope)
        except ProtocolError as exc:
            return ops.Malformed(envelope.message_id, exc)

    def limit_messages(self, size: int) -> None:
        """Do nothing: here a message is a frame, which the connection bounds."""

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        """
        Turn one reply into frames, in the order to be sent; none for what is not native.

        :param stamp: Unix time, ns, for ``metadata.timestamp``.
        """
        often = OFTEN_SENT.get(type(reply))
        if often is not None:
            return [self._join(often(reply), stamp)]
        content = content_of(reply)
        if content is None:
            return []
        message_type, data, answers, priority, destination, message_id, source, extra = content
        self._count += 1
        text = encode_envelope(
            message_id=message_id or f'{self._prefix}-{self._count}', timestamp=seconds(stamp),
            message_type=message_type, priority=priority, source=source or self._source,
            destination=destination, correlation_id=answers, data=data, extra=extra)
        return [ops.Frame(text, True, priority)]

    def _join(self, often: Often, stamp: int) -> ops.Frame:
        """Do as :func:`encode_envelope`, of what all peers are sent again and again."""
        self._count += 1
        head = _HEAD % (self._stem, self._count, orjson.dumps(seconds(stamp)),
                        often.message_type, often.priority, self._source_text,
                        orjson.dumps(often.answers))
        return ops.Frame(b''.join((head, *often.data, b'}')), True, often.priority)

    def share_key(self, topic: str, key: str | None) -> str:
        """Return the topic's name: the frames of its samples have nothing else of a peer."""
        return topic

    def sample_writer(self, topic: str, channel_id: int, encoding: ops.Encoding,
                      key: str | None = None) -> SampleWriter:
        """
        Return the function that frames one sample of ``topic`` for everybody who wants it so.

        It takes the encoded body, the Unix time at which the sample was taken, ns, and its number.
        """
        opcode = ENCODINGS[encoding].opcode
        return binary_writer(channel_id, opcode) if opcode \
            else text_writer(topic, channel_id, self._prefix)


@lru_cache(1)
def _text_of(source: str) -> bytes:
    """Return a name as JSON, the same object for all peers: orjson leaves 4 kB behind each."""
    return orjson.dumps(source)


def text_writer(topic: str, channel_id: int, prefix: str) -> SampleWriter:
    """Return the framer of JSON samples; see :meth:`NativeDialect.sample_writer`."""
    source = orjson.dumps(topic).replace(b'%', b'%%')
    stem = orjson.dumps(f'{prefix}-{channel_id}-')[:-1].replace(b'%', b'%%')
    head = (b'{"metadata":{"message_id":' + stem + b'%d","timestamp":%.6f,'
            b'"message_type":"data","priority":1,"source":' + source +
            b',"destination":null,"correlation_id":null,"sequence":%d},"data":%b}')

    def write(body: bytes, stamp: int, sequence: int) -> bytes:
        return head % (sequence, stamp / SECOND, sequence, body)
    return write


def binary_writer(channel_id: int, opcode: int) -> SampleWriter:
    """Return the framer of binary samples; see :meth:`NativeDialect.sample_writer`."""
    pack = BINARY_HEADER.pack

    def write(body: bytes, stamp: int, sequence: int) -> bytes:
        return pack(opcode, 0, 0, channel_id, stamp / SECOND, sequence & 0xFFFFFFFF) + body
    return write


def video_frame(channel_id: int, data: bytes | memoryview, stamp: int, number: int, *,
                is_key: bool, codec: str, rung: int | None = None) -> bytes:
    """
    Return the binary frame of a frame of video.

    :param data: Annex B, or a JPEG.
    :param stamp: when the picture was taken, Unix time, ns.
    :param number: counts the frames of this channel.
    :param codec: ``h264``, ``h265`` or ``jpeg``.
    :param rung: the quality in which the bridge has encoded it.
    """
    flags = (KEY_FRAME if is_key else 0) | _CODECS[codec] | (
        0 if rung is None else rung + 1 << RUNG_AT)
    return b''.join((BINARY_HEADER.pack(VIDEO_OPCODE, flags, 0, channel_id, stamp / SECOND,
                                        number & 0xFFFFFFFF), data))


def _decode_binary(frame: bytes | memoryview) -> ops.Operation:
    if len(frame) < BINARY_HEADER.size:
        return ops.Malformed(None, BadFrame(
            f'a binary frame has a header of {BINARY_HEADER.size} bytes, this one {len(frame)}'))
    opcode, zero, ttl, channel_id, stamp, sequence = BINARY_HEADER.unpack_from(frame)
    if zero or not math.isfinite(stamp):
        return ops.Malformed(None, BadFrame('the binary header is malformed'))
    payload, taken = memoryview(frame)[BINARY_HEADER.size:], nanoseconds(stamp)
    kind = ENCODINGS.publications.get(opcode)
    if kind is not None:
        return ops.BinaryPublish(channel_id, kind.name, payload, taken, sequence,
                                 ttl / 1e3 if ttl else None)
    kind = ENCODINGS.samples.get(opcode)
    if kind is not None:
        return ops.BinarySample(channel_id, kind.name, payload, taken, sequence)
    return ops.Malformed(None, UnknownOperation(f'binary opcode {opcode} is unknown'))


def _no_envelope(message_id: str | None, error: ProtocolError) -> ops.Malformed:
    unknown = error.field == 'metadata.message_type'
    return ops.Malformed(message_id, UnknownOperation(
        error.message, field=error.field) if unknown else error)


def _id_of(frame: str) -> str | None:
    """Find the message id of an envelope that could not be read otherwise."""
    try:
        return _id_in(orjson.loads(frame))
    except orjson.JSONDecodeError:
        return None


def _id_in(value: Any) -> str | None:
    try:
        message_id = value['metadata']['message_id']
    except (KeyError, TypeError, IndexError):
        return None
    if not isinstance(message_id, str) or len(message_id) > MAX_ID_LENGTH:
        return None
    return message_id if whole(message_id) == message_id else None


# ---- envelope -> operation

def _fields(envelope: Envelope) -> Mapping[str, Any]:
    data = envelope.data
    if not isinstance(data, dict):
        raise BadField('must be an object', field='data')
    return data


def _configuration(envelope: Envelope) -> ops.Operation:
    data = _fields(envelope)
    op = text(data, 'op')
    parse = CONFIGURATIONS.get(op)
    if parse is None:
        raise UnknownOperation(
            f'{op!r} is unknown; known are {", ".join(CONFIGURATIONS)}', field='data.op')
    return parse(envelope.message_id, data)


def _time_of(envelope: Envelope) -> int | None:
    return None if envelope.timestamp is None else nanoseconds(envelope.timestamp)


def _command(envelope: Envelope) -> ops.Operation:
    destination = envelope.destination
    if destination is None and envelope.message_type is MessageType.DATA \
            and envelope.correlation_id is not None:
        return ops.ActionFeedback(envelope.message_id, envelope.correlation_id, envelope.data)
    if not destination or len(destination) > MAX_NAME:
        raise BadField(f'must be a name of 1 to {MAX_NAME} characters',
                       field='metadata.destination')
    extra = envelope.extra
    if not extra:
        kind = timeout = sequence = epoch = bridge_time = picture_time = None
        ack = False
    else:
        kind = choice(extra, 'kind', get_args(ops.Kind), 'metadata')
        timeout = optional_number(extra, 'timeout', 0.0, 3600.0, 'metadata')
        sequence = optional_integer(extra, 'sequence', 0, 2**53, 'metadata')
        ack = flag(extra, 'ack', default=False, path='metadata')
        epoch = optional_integer(extra, 'epoch', 0, 2**53, 'metadata')
        bridge_time = optional_time(extra, 'bridge_time', 'metadata')
        picture_time = optional_time(extra, 'picture_time', 'metadata')
    if envelope.message_type is MessageType.DATA:
        if kind not in (None, 'topic'):
            raise BadField('a service or an action takes a command', field='metadata.kind')
        kind = 'topic'
    return ops.Command(envelope.message_id, destination, envelope.data, kind,
                       _time_of(envelope), envelope.ttl, sequence, timeout, ack, epoch,
                       bridge_time, picture_time)


def _acknowledgment(envelope: Envelope) -> ops.Operation:
    data = _fields(envelope)
    if data.get('op') == 'goal':
        return ops.GoalAnswer(envelope.message_id, envelope.correlation_id or '',
                              flag(data, 'accepted', default=True))
    if data.get('op') == 'result':
        status = choice(data, 'status', tuple(GOAL_STATUS))
        return ops.ActionResult(envelope.message_id, envelope.correlation_id or '',
                                data.get('result'), GOAL_STATUS[status] if status else None)
    return ops.ServiceAnswer(envelope.message_id, envelope.correlation_id,
                             data.get('result', {}), data=data)


def _error(envelope: Envelope) -> ops.Operation:
    data = envelope.data if isinstance(envelope.data, dict) else {}
    message = data.get('message')
    return ops.ServiceAnswer(
        envelope.message_id, envelope.correlation_id, data=data,
        error=message[:MAX_STATUS] if message and isinstance(message, str) else 'no reason given')


def _heartbeat(envelope: Envelope) -> ops.Operation:
    data = _fields(envelope)
    echo = data.get('echo')
    times: tuple[int, int, int] | None = None
    if echo is not None:
        if not isinstance(echo, dict):
            raise BadField('must be an object', field='data.echo')
        sequence = optional_integer(echo, 'sequence', 0, 2**53, 'data.echo')
        sent = optional_time(echo, 'timestamp', 'data.echo')
        received = optional_time(echo, 'received', 'data.echo')
        if sequence is None or sent is None or received is None:
            raise BadField('needs sequence, timestamp and received', field='data.echo')
        times = sequence, sent, received
    stamp = optional_time(data, 'timestamp')
    return ops.Heartbeat(
        envelope.message_id, _time_of(envelope) if stamp is None else stamp,
        optional_integer(data, 'sequence', 0, 2**53), times,
        envelope.correlation_id is not None)


def _status(envelope: Envelope) -> ops.Operation:
    data = _fields(envelope)
    kind = data.get('kind')
    if kind in BRIDGE_STATUS:  # another bridge's: of no use to this side's peers, and may be long
        return ops.PeerStatus(envelope.message_id, {'kind': kind})
    if len(orjson.dumps(data)) > MAX_STATUS:
        raise BadField(f'is longer than {MAX_STATUS} bytes', field='data')
    return ops.PeerStatus(envelope.message_id, data)


_DECODERS: dict[MessageType, Callable[[Envelope], ops.Operation]] = {
    MessageType.COMMAND: _command,
    MessageType.DATA: _command,
    MessageType.STATUS: _status,
    MessageType.ERROR: _error,
    MessageType.HEARTBEAT: _heartbeat,
    MessageType.ACKNOWLEDGMENT: _acknowledgment,
    MessageType.CONFIGURATION: _configuration,
}

_OTHERS = tuple(each.value for each in MessageType if each is not MessageType.CONFIGURATION)
"""Kinds of message that are no request, so that no ``op`` of theirs is an emergency stop."""
