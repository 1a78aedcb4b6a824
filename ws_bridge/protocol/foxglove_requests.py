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
What a client of the Foxglove dialect asks for: frames to operations, by what its numbers mean.

The ``op_id`` of an operation is made up here: what it is, and of which number, such as
``publish:3``. By it an answer is written (:mod:`ws_bridge.protocol.foxglove_replies`).
"""
from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from ws_bridge.errors import (
    AlreadyExists,
    BadField,
    BadFrame,
    BadName,
    LimitExceeded,
    TypeMismatch,
    UnknownName,
    UnknownOperation,
    WsBridgeError,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.foxglove_frames import (
    CALL_REQUEST,
    CLIENT_DATA,
    PAUSE,
    PLAY,
    PLAYBACK_CONTROL,
    read_call,
    read_client_data,
    read_control,
)
from ws_bridge.protocol.foxglove_ids import ClientChannel, PeerBook
from ws_bridge.weight import BESIDE

Message = Mapping[str, Any]
Operations = list[ops.Operation]

ENCODINGS = ('cdr', 'json')
"""Of publications and of calls. Lichtblick takes the first that it knows."""
MAX_NUMBER = 2**32 - 1
MAX_TEXT = 255
MAX_ID = 256
MAX_URI = 1024
MAX_PARAMETER = 1024
AT_ONCE = 100
"""Names that one operation watches: those of a frame are as many operations as they need."""
MOST_NAMES = 10_000
"""Names of parameters in one frame."""
NAMES_SIZE = 1 << 19
"""
A frame of names may be so long, bytes: Lichtblick watches all parameters of a robot by one frame.
"""
WITHIN = 0.4
"""After which time a client that asks for all parameters is told those that are known, s."""

_T = TypeVar('_T')


# ---- fields

def _number(message: Message, key: str) -> int:
    value = message.get(key)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise BadField(f'must be an integer from 0 to {MAX_NUMBER}', field=key)
    return value


def _text(message: Message, key: str, most: int = MAX_TEXT) -> str:
    value = message.get(key)
    if type(value) is not str or not 0 < len(value) <= most:
        raise BadField(f'must be text of 1 to {most} characters', field=key)
    return value


def _list(message: Message, key: str, kind: type[_T]) -> list[_T]:
    value = message.get(key)
    if type(value) is not list:
        raise BadField('must be an array', field=key)
    if not all(type(each) is kind for each in value):
        raise BadField(f'must be an array of {_KINDS[kind]}', field=key)
    return value


_KINDS: dict[type, str] = {dict: 'objects', int: 'integers', str: 'text'}


def _request_id(message: Message) -> str:
    """Return the ``id`` of a request as the end of its identity: empty where it has none."""
    value = message.get('id')
    if value is None:
        return ''
    if type(value) is not str or len(value) > MAX_ID:
        raise BadField(f'must be text of at most {MAX_ID} characters', field='id')
    return f':{value}'


# ---- topics

def _subscribe(message: Message, book: PeerBook) -> Operations:
    return [_attempt(None, partial(_subscription, each, book))
            for each in _list(message, 'subscriptions', dict)]


def _subscription(each: Message, book: PeerBook) -> ops.Operation:
    number, channel_id = _number(each, 'id'), _number(each, 'channelId')
    channel = book.channel(channel_id)
    if channel is None:
        raise UnknownName(f'Unknown channel ID: {channel_id}', field='channelId')
    if book.is_subscribed(channel):
        raise AlreadyExists(f'{channel.topic} is subscribed to already', field='channelId')
    if number in book.subscriptions:
        raise BadField(f'subscription {number} is in use', field='id')
    book.subscribe(number, channel)
    return ops.Subscribe(f'subscribe:{number}', channel.topic, channel.msg_type, 'cdr',
                         key=str(number), separate=True)


def _unsubscribe(message: Message, book: PeerBook) -> Operations:
    """End subscriptions; those that ended with their channel are not there any more."""
    done: Operations = []
    for number in _list(message, 'subscriptionIds', int):
        channel = book.unsubscribe(number)
        if channel is not None:
            done.append(ops.Unsubscribe(f'unsubscribe:{number}', channel.topic, str(number)))
    return done


def _advertise(message: Message, book: PeerBook) -> Operations:
    return [_attempt(None, partial(_publication, each, book))
            for each in _list(message, 'channels', dict)]


def _publication(each: Message, book: PeerBook) -> ops.Operation:
    number = _number(each, 'id')
    channel = ClientChannel(_text(each, 'topic'), _text(each, 'schemaName'),
                            _text(each, 'encoding'))
    if number in book.published:
        raise AlreadyExists(f'channel {number} is advertised already', field='id')
    if channel.encoding not in ENCODINGS:
        raise BadField(f'must be one of {", ".join(ENCODINGS)}', field='encoding')
    if book.other_type(channel):
        raise TypeMismatch(f'{channel.topic} is advertised by this client with another type',
                           field='schemaName')
    book.publish(number, channel)
    return ops.Advertise(f'advertise:{number}', channel.topic, channel.msg_type, key=str(number))


def _unadvertise(message: Message, book: PeerBook) -> Operations:
    return [op for number in _list(message, 'channelIds', int)
            for op in _end_publication(number, book)]


def _end_publication(number: int, book: PeerBook) -> Operations:
    was_refused = book.is_refused(number)
    channel = book.unpublish(number)
    if was_refused:
        return []
    if channel is None:
        return [ops.Malformed(f'unadvertise:{number}', UnknownName(
            f'channel {number} is not advertised by this client', field='channelIds'))]
    return [ops.Unadvertise(f'unadvertise:{number}', channel.topic, str(number))]


# ---- parameters

def parameter_of(name: str) -> str:
    """
    Return ``/node:parameter`` for the name that clients use, ``/node.parameter``.

    :raises BadName: it has no point, or is too long to be kept.
    """
    node, _, parameter = name.partition('.')
    if not node or not parameter:
        raise BadName(f'{name[:MAX_TEXT]!r} is not /node.parameter', field='name')
    if len(name) > MAX_PARAMETER:
        raise BadName(f'the name of a parameter has at most {MAX_PARAMETER} characters',
                      field='name')
    return f'{node}:{parameter}'


def _get_parameters(message: Message, book: PeerBook) -> Operations:
    def make(op_id: str) -> ops.Operation:
        names = tuple(map(parameter_of, _list(message, 'parameterNames', str)))
        return ops.GetParameters(op_id, names, None if names else WITHIN)
    return [_of_parameters(f'get{_request_id(message)}', make)]


def _set_parameters(message: Message, book: PeerBook) -> Operations:
    return [_of_parameters(f'set{_request_id(message)}',
                           partial(_setting, _list(message, 'parameters', dict)))]


def _setting(parameters: list[Message], op_id: str) -> ops.Operation:
    values = dict(map(_parameter, parameters))
    return ops.SetParameters(
        op_id, {name: value for name, value in values.items() if value is not None},
        want_values=True, unset=tuple(name for name in values if values[name] is None))


def _parameter(each: Message) -> tuple[str, Any]:
    """Return name and value of a parameter; ``None`` = it shall be unset."""
    name = parameter_of(_text(each, 'name', MAX_PARAMETER))
    if each.keys() - {'name', 'value', 'type'}:
        raise BadField('has keys that no parameter has', field='parameters')
    value = each.get('value')
    if each.get('type') == 'byte_array' and value is not None:
        try:
            value = list(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError, TypeError) as exc:
            raise BadField(f'{name} is no base64', field='parameters') from exc
    return name, value


def _watch_parameters(message: Message, book: PeerBook, *, watch: bool) -> Operations:
    names = _list(message, 'parameterNames', str)
    if len(names) > MOST_NAMES:
        raise LimitExceeded(f'more than {MOST_NAMES} names', field='parameterNames')
    known = tuple(map(parameter_of, names))
    return [ops.WatchParameters('watch', known[start:start + AT_ONCE], watch)
            for start in range(0, max(len(known), 1), AT_ONCE)]


def _of_parameters(op_id: str, make: Callable[[str], ops.Operation]) -> ops.Operation:
    return _attempt(op_id, lambda: make(op_id))


def _attempt(op_id: str | None, make: Callable[[], ops.Operation]) -> ops.Operation:
    """Return an operation, or what is wrong with it."""
    try:
        return make()
    except WsBridgeError as exc:
        return ops.Malformed(op_id, exc)


# ---- the robot

def _fetch_asset(message: Message, book: PeerBook) -> Operations:
    op_id = f'asset:{_number(message, "requestId")}'
    return [_attempt(op_id, lambda: ops.FetchAsset(op_id, _text(message, 'uri', MAX_URI)))]


def _watch_connections(message: Message, book: PeerBook, *, watch: bool) -> Operations:
    return [ops.WatchConnections('graph', watch)]


PARSERS: dict[str, Callable[[Message, PeerBook], Operations]] = {
    'subscribe': _subscribe,
    'unsubscribe': _unsubscribe,
    'advertise': _advertise,
    'unadvertise': _unadvertise,
    'getParameters': _get_parameters,
    'setParameters': _set_parameters,
    'fetchAsset': _fetch_asset,
    'subscribeConnectionGraph': partial(_watch_connections, watch=True),
    'unsubscribeConnectionGraph': partial(_watch_connections, watch=False),
    'subscribeParameterUpdates': lambda message, book: _watch_parameters(
        message, book, watch=True),
    'unsubscribeParameterUpdates': lambda message, book: _watch_parameters(
        message, book, watch=False),
}


def read_text(message: Any, book: PeerBook) -> Operations:
    """
    Return the operations of a text frame, parsed.

    :raises ProtocolError: it has none.
    """
    if type(message) is not dict:
        raise BadFrame('expected an object with "op"')
    op = message.get('op')
    if type(op) is not str:
        raise BadField('is missing' if op is None else 'must be text', field='op')
    parse = PARSERS.get(op)
    if parse is None:
        raise UnknownOperation(f'{op[:64]!r} is unknown; known are {", ".join(PARSERS)}',
                               field='op')
    return parse(message, book)


def most_beside(message: Message) -> int:
    """Return how much of a large text frame may be handed back to the loop, bytes."""
    return NAMES_SIZE if 'parameterNames' in message else BESIDE


# ---- binary frames

def read_binary(frame: bytes | memoryview, book: PeerBook,
                wants_ack: Callable[[str], bool]) -> Operations:
    """
    Return the operation of a binary frame; none of an empty one.

    :param wants_ack: whether the client is to be told that what it publishes, with this identity,
        passes again.
    :raises BadFrame: it is too short, or of no kind.
    """
    if not frame:
        return []
    if frame[0] == CLIENT_DATA:
        return _publish(frame, book, wants_ack)
    if frame[0] == CALL_REQUEST:
        return [_call(frame, book)]
    if frame[0] == PLAYBACK_CONTROL:
        return [_control_playback(frame)]
    raise BadFrame(f'opcode {frame[0]} is unknown')


def _publish(frame: bytes | memoryview, book: PeerBook,
             wants_ack: Callable[[str], bool]) -> Operations:
    number, payload = read_client_data(frame)
    op_id = f'publish:{number}'
    channel = book.published.get(number)
    if channel is None:
        return [] if book.is_refused(number) else [ops.Malformed(f'data:{number}', UnknownName(
            f'channel {number} is not advertised by this client'))]
    return [ops.Command(op_id, channel.topic, payload, 'topic', ack=wants_ack(op_id),
                        encoding=channel.encoding)]


def _control_playback(frame: bytes | memoryview) -> ops.Operation:
    command, speed, seek, request_id = read_control(frame)
    op_id = f'playback:{request_id[:MAX_ID]}'
    if command not in (PLAY, PAUSE):
        return ops.Malformed(op_id, BadField(f'must be {PLAY} or {PAUSE}', field='command'))
    if not ops.MIN_SPEED <= speed <= ops.MAX_SPEED:
        return ops.Malformed(op_id, BadField(
            f'must be a number from {ops.MIN_SPEED:g} to {ops.MAX_SPEED:g}', field='speed'))
    return ops.ControlPlayback(op_id, command == PLAY, speed, seek)


def _call(frame: bytes | memoryview, book: PeerBook) -> ops.Operation:
    service_id, call_id, encoding, payload = read_call(frame)
    op_id = f'call:{service_id}:{call_id}:{encoding if encoding in ENCODINGS else ""}'
    service = book.service(service_id)
    about = ops.About('call', service or '')
    if service is None:
        return ops.Malformed(op_id, UnknownName(f'Unknown service ID: {service_id}'), about)
    if encoding not in ENCODINGS:
        return ops.Malformed(op_id, BadField(
            f'must be one of {", ".join(ENCODINGS)}', field='encoding'), about)
    return ops.Command(op_id, service, payload, 'service', encoding=encoding)
