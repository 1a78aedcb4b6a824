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
The dialect ``rosbridge.v2``: what roslibjs, roslibpy and their kin speak.

``docs/how-to/come_from_rosbridge.md`` says where it differs from rosbridge_suite. A client is
told nothing that it did not ask for: errors come as ``status`` from the level on that
``set_level`` gives, and as the failed answer of a call or goal. But a browser's is told, once a
second, why the robot does not do what it commands, and each other error once: its libraries
ignore what they do not know.  Without a level these have no ``id``: roslib gives a ``status`` that
has one only to who waits for that ``id``.
"""
from __future__ import annotations

from collections.abc import Callable
import json
from typing import Any
from weakref import WeakSet

import cbor2
import orjson

from ws_bridge.errors import (
    BadField,
    BadFrame,
    ConversionError,
    ProtocolError,
    QosMismatch,
    UnknownOperation,
    WsBridgeError,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialect import begins_cbor_map, read_small, SampleWriter
from ws_bridge.protocol.envelope import MAX_DEPTH, parse_json
from ws_bridge.protocol.fragment import Defragmenter
from ws_bridge.protocol.png import png_size, require_size, to_png
from ws_bridge.protocol.rosbridge_ops import about, Handed, Message, op_id_of, PARSERS, text
from ws_bridge.protocol.types import Priority
from ws_bridge.protocol.unix_time import SECOND
from ws_bridge.weight import is_heavy_json

SUBPROTOCOL = 'rosbridge.v2'
NAME = 'rosbridge'
PROTOCOL_VERSION = {'major': 2, 'minor': 0, 'patch': 0}
"""Rosbridge v2; its specification names no finer version."""
LEVELS = ('none', 'error', 'warning', 'info')
VALUES = {'publish': 'msg', 'call_service': 'args', 'send_action_goal': 'args',
          'service_response': 'values', 'action_feedback': 'values', 'action_result': 'values'}
"""Where the operations that carry values of messages have them."""
_STATUS_UNKNOWN = 0
_WARNING_INTERVAL = SECOND
MOST_WARNINGS = 100
"""Errors that are remembered, so that a browser is told each once."""
_NOT_JSON = ('NaN', 'Infinity')

ReadCbor = Callable[[bytes], Any]


def recognises(value: Any) -> bool:
    """Whether a first frame is of this dialect: an object with ``op``, or a map in CBOR."""
    if isinstance(value, bytes):
        return begins_cbor_map(value)
    return type(value) is dict and 'op' in value


def find_call(frame: str | bytes) -> Any:
    """
    Return the JSON of a frame that was refused and is a call all the same: of a stop, it may be.

    A call is answered, so its sender is told what is wrong.
    """
    value = read_small(frame)
    return value if type(value) is dict and value.get('op') == 'call_service' else None


def find_values(value: Message) -> list[str]:
    """Return where an operation has the values of a message; empty = nowhere."""
    op = value.get('op')
    key = VALUES.get(op) if isinstance(op, str) else None
    if key is None:
        return []
    values = value.get(key)
    return [key] if type(values) is dict or (type(values) is list and key == 'args') else []


class RosbridgeDialect:
    """
    Codec of one peer; keeps its status level, incomplete messages and the ids it was given.

    :param limit: most bytes of one message, however it is wrapped.
    :param read_cbor: decodes binary frames; raises ``BadEncoding``.
    :param max_depth: most arrays and objects inside each other in JSON, however it is wrapped.
    :param takes_status: the client bears a ``status`` that it did not ask for.
    """

    name = NAME
    fence = 0.0

    def __init__(self, limit: int, read_cbor: ReadCbor, max_depth: int = MAX_DEPTH, *,
                 takes_status: bool = False) -> None:
        self._limit = limit
        self._max_depth = max_depth
        self._read_cbor = read_cbor
        self._level = LEVELS.index('none')
        self._warns = takes_status
        self._warned = 0
        self._told: WeakSet[WsBridgeError] = WeakSet()      # of QoS, which has not changed
        self._warned_of: dict[str, None] = {}       # other errors
        self._fragments = Defragmenter(limit)
        self._handed = Handed()

    def __repr__(self) -> str:
        return f'RosbridgeDialect({LEVELS[self._level]}, {self._fragments!r}, {self._handed!r})'

    # ---- decode

    def decode(self, frame: str | bytes | memoryview, now: float = 0.0) -> ops.Decoded:
        """Turn one frame into its operation; none for what concerns only this codec."""
        message: Any = None
        try:
            message = parse_lenient(frame, self._max_depth) if isinstance(frame, str) \
                else self._read_cbor(bytes(frame))
            return self._operations(message, now, wrapped=False)
        except ConversionError as exc:
            return (ops.Malformed(None, BadFrame(exc.message)),)
        except WsBridgeError as exc:        # it may be a call of the emergency stop all the same
            return (_malformed(read_small(frame) if message is None else message, exc),)

    def decode_value(self, value: Any, now: float = 0.0, *,
                     wrapped: bool = False) -> ops.Decoded:
        """
        Turn a parsed frame, in which ``Parked`` may stand, into its operation.

        :param wrapped: it came in parts or as an image.
        """
        try:
            return self._operations(value, now, wrapped=wrapped)
        except WsBridgeError as exc:
            return (_malformed(value, exc),)

    def _operations(self, message: Any, now: float, *, wrapped: bool) -> ops.Decoded:
        if type(message) is not dict:
            raise BadFrame('expected an object with "op"')
        op = message.get('op')
        if type(op) is not str:
            raise BadField('is missing' if op is None else 'must be text', field='op')
        parse = PARSERS.get(op)
        if parse is not None:
            return (parse(message, self._handed),)
        if op == 'set_level':
            self._set_level(message)
            return ()
        if op not in ('fragment', 'png'):
            raise UnknownOperation(f'{op[:64]!r} is unknown; known are fragment, png, set_level, '
                                   f'{", ".join(PARSERS)}', field='op')
        inner = self._unwrap(op, message, now, wrapped=wrapped)
        if inner is None:
            return ()
        if isinstance(inner, ops.Wrapped):
            return inner
        return self.decode_value(parse_lenient(inner, self._max_depth), now, wrapped=True)

    def _unwrap(self, op: str, message: Message, now: float, *,
                wrapped: bool) -> str | bytes | ops.Wrapped | None:
        """Return the text of a message that came in parts or as an image, once it is whole."""
        if op == 'fragment':
            if wrapped:
                raise BadFrame('a fragment inside of another message')
            text = self._add(message, now)
            return ops.Wrapped(text) if text is not None and is_heavy_json(text) else text
        data: str | None = message.get('data')
        if message.get('total') is not None:
            data = self._add(message, now)
            if data is None:
                return None
        elif type(data) is not str:
            raise BadField('must be text', field='data')
        require_size(png_size(data), self._limit)
        return ops.Wrapped(data, is_png=True)

    def _add(self, part: Message, now: float) -> str | None:
        whole = self._fragments.add(part, now, self.fence)
        if whole is not None:
            self.fence = min(self.fence, self._fragments.fence)
        return whole

    def _set_level(self, message: Message) -> None:
        level = text(message, 'level')
        if level not in LEVELS:
            raise BadField(f'must be one of {", ".join(LEVELS)}', field='level')
        self._level = LEVELS.index(level)
        self._warns = False

    def limit_messages(self, size: int) -> None:
        """Take messages of at most so many bytes, however they are wrapped, from now on."""
        self._limit = self._fragments.limit = size

    # ---- encode

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        """Turn one reply into frames; many replies have no word here."""
        message = self._message(reply, stamp)
        if message is None:
            return []
        return [ops.Frame(orjson.dumps(message), True, Priority.HIGH)]

    def _message(self, reply: replies.Reply, stamp: int) -> dict[str, Any] | None:
        if isinstance(reply, replies.CallDone):
            return _with_id({'op': 'service_response', 'service': reply.service,
                             'values': orjson.Fragment(reply.values), 'result': True},
                            reply.op_id)
        if isinstance(reply, replies.ServiceCall):
            return {'op': 'call_service',
                    'id': self._handed.hand('service_request', reply.service, reply.call_id),
                    'service': reply.service, 'args': orjson.Fragment(reply.values)}
        if isinstance(reply, replies.Failed):
            return self._failed(reply, stamp)
        if isinstance(reply, replies.Answer):
            return self._status('info', f'{reply.request}: done', reply.op_id)
        return self._about_goal(reply)

    def _about_goal(self, reply: replies.Reply) -> dict[str, Any] | None:
        if isinstance(reply, replies.GoalFeedback):
            return _with_id({'op': 'action_feedback', 'action': reply.action,
                             'values': orjson.Fragment(reply.values)}, reply.op_id)
        if isinstance(reply, replies.GoalDone):
            return _with_id({'op': 'action_result', 'action': reply.action,
                             'values': orjson.Fragment(reply.values), 'status': reply.status,
                             'result': True}, reply.op_id)
        if isinstance(reply, replies.GoalRequest):
            return {'op': 'send_action_goal',
                    'id': self._handed.hand('action_goal', reply.action, reply.goal_id),
                    'action': reply.action, 'action_type': reply.action_type,
                    'args': orjson.Fragment(reply.values), 'feedback': True}
        if isinstance(reply, replies.GoalCancel):
            wire = self._handed.wire_of(reply.goal_id)
            return None if wire is None else {
                'op': 'cancel_action_goal', 'id': wire, 'action': reply.action}
        return None

    def _failed(self, reply: replies.Failed, stamp: int) -> dict[str, Any] | None:
        kind = reply.about.kind if reply.about else None
        if kind == 'command':
            return self._command_failed(reply, stamp)
        why = error_text(reply.error, kind)
        if self._warns and isinstance(reply.error, QosMismatch):
            return self._misfit(reply.error, why)
        if reply.about is None or kind == 'answer':
            return self._warn_once(why) if self._warns \
                else self._status('error', why, reply.op_id)
        if kind == 'call':
            return _with_id({'op': 'service_response', 'service': reply.about.name,
                             'values': why, 'result': False}, reply.op_id)
        return _with_id({'op': 'action_result', 'action': reply.about.name, 'values': why,
                         'status': _STATUS_UNKNOWN, 'result': False}, reply.op_id)

    def _command_failed(self, reply: replies.Failed, stamp: int) -> dict[str, Any] | None:
        why = error_text(reply.error, None)
        if self._warns and stamp >= self._warned + _WARNING_INTERVAL:
            self._warned = stamp
            return _warning(why)
        return self._status('error', why, reply.op_id)

    def _misfit(self, error: QosMismatch, why: str) -> dict[str, Any] | None:
        """Tell why a topic stays silent, once: it is the same error until something changes."""
        if error in self._told:
            return None
        self._told.add(error)
        return _warning(why)

    def _warn_once(self, why: str) -> dict[str, Any] | None:
        """Tell an error that has no answer, the same one once."""
        if why in self._warned_of:
            return None
        while len(self._warned_of) >= MOST_WARNINGS:
            del self._warned_of[next(iter(self._warned_of))]
        self._warned_of[why] = None
        return _warning(why)

    def _status(self, level: str, message: str, op_id: str | None) -> dict[str, Any] | None:
        if LEVELS.index(level) > self._level:
            return None
        return _with_id({'op': 'status', 'level': level, 'msg': message}, op_id)

    def share_key(self, topic: str, key: str | None) -> str:
        """Return the topic's name: the frames of its samples have nothing else of a peer."""
        return topic

    def sample_writer(self, topic: str, channel_id: int, encoding: ops.Encoding,
                      key: str | None = None) -> SampleWriter:
        """Return the function that frames one sample of ``topic``: a ``publish`` operation."""
        return _WRITERS[encoding](topic)


def parse_lenient(frame: str | bytes, max_depth: int) -> Any:
    """
    Parse JSON; ``NaN`` and the infinities, which some clients send, are taken as well.

    :raises BadFrame: it is not that.
    """
    try:
        return parse_json(frame, max_depth)
    except BadFrame as exc:
        try:
            words = frame if isinstance(frame, str) else frame.decode()
        except UnicodeDecodeError:
            raise exc from None
        if not any(word in words for word in _NOT_JSON):
            raise
        # Through strict JSON again: what Python takes beyond it, and depth, are refused there.
        return parse_json(_without_nan(words.removeprefix('\ufeff')), max_depth)


def _without_nan(words: str) -> str:
    try:
        return json.dumps(json.loads(words, parse_constant=lambda word: None))
    except (ValueError, RecursionError) as exc:
        raise BadFrame(f'not JSON: {type(exc).__name__}') from exc


def _malformed(message: Any, error: WsBridgeError) -> ops.Malformed:
    if type(message) is not dict:
        return ops.Malformed(None, error)
    try:
        op_id = op_id_of(message)
    except ProtocolError:
        op_id = None
    return ops.Malformed(op_id, error, about(message))


def _warning(why: str) -> dict[str, Any]:
    return {'op': 'status', 'level': 'warning', 'msg': why}


def _with_id(message: dict[str, Any], op_id: str | None) -> dict[str, Any]:
    if op_id is not None:
        message['id'] = orjson.Fragment(op_id)
    return message


_ROOTS = {'call': 'args', 'goal': 'args', 'answer': 'values', None: 'msg'}
_FIELDS = {'correlation_id': 'id', 'metadata.kind': 'op', 'metadata.ttl': None}


def error_text(error: WsBridgeError, kind: str | None) -> str:
    """Return code, path and reason; the path begins with the field that holds the message."""
    field = error.field
    if isinstance(error, ConversionError):
        root = _ROOTS[kind]
        field = root if not field else f'{root}{"" if field.startswith("[") else "."}{field}'
    elif field == 'destination':
        field = {'call': 'service', 'goal': 'action'}.get(kind or '', 'topic')
    else:
        field = _FIELDS.get(field or '', field)
    return ': '.join(part for part in (error.code, field, error.message) if part)


# ---- samples

def _text_writer(topic: str) -> SampleWriter:
    head = b'{"op":"publish","topic":' + orjson.dumps(topic) + b',"msg":'

    def write(body: bytes, stamp: int, sequence: int) -> bytes:
        return b'%b%b}' % (head, body)
    return write


PNG_AROUND = (b'{"op":"png","data":"', b'"}')
"""What a frame has around text as an image in base64."""


def _png_writer(topic: str) -> SampleWriter:
    write_text = _text_writer(topic)

    def write(body: bytes, stamp: int, sequence: int) -> bytes:
        return to_png(write_text(body, stamp, sequence)).join(PNG_AROUND)
    return write


def _cbor_writer(topic: str) -> SampleWriter:
    head = _cbor_head(topic)

    def write(body: bytes, stamp: int, sequence: int) -> bytes:
        return head + body
    return write


def _raw_writer(topic: str) -> SampleWriter:
    head = _cbor_head(topic)

    def write(body: bytes, stamp: int, sequence: int) -> bytes:
        return head + cbor2.dumps({'secs': stamp // SECOND, 'nsecs': stamp % SECOND,
                                   'bytes': body})
    return write


def _cbor_head(topic: str) -> bytes:
    """Return a map of three up to the value of ``msg``."""
    return cbor2.dumps({'op': 'publish', 'topic': topic, 'msg': None})[:-1]


_WRITERS: dict[ops.Encoding, Callable[[str], SampleWriter]] = {
    'json': _text_writer, 'png': _png_writer, 'cbor': _cbor_writer, 'cbor-raw': _raw_writer}
