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
The seed's envelope: ``{"metadata": {...}, "data": ...}`` as text, and back.

Decoding is lenient to what is missing, as the seed is, and strict to what is wrong: a metadata
key that is absent or null has its default; one of the wrong kind is a :class:`BadField`.
"""
from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ws_bridge.errors import BadField, BadFrame
from ws_bridge.protocol.types import MessageType, Priority

#: Arrays and objects inside each other, unless the caller says otherwise: no ROS message nests so
#: deep, and a reader may recurse.
MAX_DEPTH = 100
#: Ids are kept (to detect repeats) and echoed, so they are short.
MAX_ID_LENGTH = 256

_TYPES = {item.value: item for item in MessageType}
_PRIORITIES: Mapping[object, Priority] = {
    **{item.value: item for item in Priority},
    **{item.name: item for item in Priority},
    **{item.name.lower(): item for item in Priority},
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    One decoded frame.

    :param message_id: ``None`` if the peer gave none; so with ``timestamp`` (Unix, s).
    :param extra: the metadata keys that the envelope does not know.
    """

    message_id: str | None
    timestamp: float | None
    message_type: MessageType
    priority: Priority
    source: str
    destination: str | None
    correlation_id: str | None
    ttl: float | None
    extra: Mapping[str, Any]
    data: Any


def parse_json(text: str | bytes, max_depth: int = MAX_DEPTH) -> Any:
    """
    Parse strict JSON; a byte order mark in front is skipped, as RFC 8259, 8.1 allows.

    :param max_depth: most arrays and objects inside each other.
    :raises BadFrame: if it is not that.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        bare = _without_mark(text)
        if bare is text:
            raise BadFrame(f'not JSON: {exc}') from exc
        try:
            value = orjson.loads(bare)
        except orjson.JSONDecodeError as inner:
            raise BadFrame(f'not JSON: {inner}') from inner
    if isinstance(text, str):
        brackets = text.count('{') + text.count('[')
    else:
        brackets = text.count(b'{') + text.count(b'[')
    if brackets > max_depth and _is_too_deep(value, max_depth):
        raise BadFrame(f'JSON nested deeper than {max_depth}')
    return value


def _without_mark(text: str | bytes) -> str | bytes:
    """Return text without the byte order mark that some programs begin it with."""
    if isinstance(text, str):
        return text[1:] if text[:1] == '\ufeff' else text
    return text[len(BOM_UTF8):] if text[:len(BOM_UTF8)] == BOM_UTF8 else text


def _is_too_deep(value: Any, max_depth: int) -> bool:
    """Whether arrays and objects nest deeper than allowed; level by level, not recursive."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(max_depth):
        level = [child for parent in level
                 for child in (parent.values() if type(parent) is dict else parent)
                 if type(child) is dict or type(child) is list]
        if not level:
            return False
    return True


def _text(metadata: dict[str, Any], key: str) -> str | None:
    value = metadata.pop(key, None)
    if value is None or type(value) is str:
        return value
    raise BadField('expected a string', field=f'metadata.{key}')


def _message_id(metadata: dict[str, Any], key: str) -> str | None:
    value = _text(metadata, key)
    if value is not None and len(value) > MAX_ID_LENGTH:
        raise BadField(f'longer than {MAX_ID_LENGTH} characters', field=f'metadata.{key}')
    return value


def _number(metadata: dict[str, Any], key: str) -> float | None:
    value = metadata.pop(key, None)
    if value is None or type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise BadField('expected a number', field=f'metadata.{key}')


def _duration(metadata: dict[str, Any], key: str) -> float | None:
    value = _number(metadata, key)
    if value is not None and value < 0:
        raise BadField('expected a number of seconds, not less than 0', field=f'metadata.{key}')
    return value


def _message_type(metadata: dict[str, Any]) -> MessageType:
    value = metadata.pop('message_type', None)
    if value is None:
        return MessageType.DATA
    found = _TYPES.get(value) if type(value) is str else None
    if found is None:
        raise BadField(f'expected one of {", ".join(_TYPES)}', field='metadata.message_type')
    return found


def _priority(metadata: dict[str, Any]) -> Priority:
    value = metadata.pop('priority', None)
    if value is None:
        return Priority.NORMAL
    found = _PRIORITIES.get(value) if type(value) in (int, str) else None
    if found is None:
        raise BadField('expected 1 (low) to 4 (critical), or a name', field='metadata.priority')
    return found


def decode(frame: str | bytes, max_depth: int = MAX_DEPTH) -> Envelope:
    """
    Decode one text frame.

    :param max_depth: most arrays and objects inside each other.
    :raises BadFrame: if it is not a JSON object with ``metadata`` or ``data``.
    :raises BadField: if a metadata key is of the wrong kind.
    """
    return envelope_of(parse_json(frame, max_depth))


def envelope_of(value: Any) -> Envelope:
    """As :func:`decode`, of parsed JSON; takes ``value`` over."""
    if type(value) is not dict:
        raise BadFrame('expected a JSON object')
    metadata = value.get('metadata')
    if metadata is None:
        if 'data' not in value:
            raise BadFrame('expected an object with "metadata" and "data"')
        metadata = {}
    elif type(metadata) is not dict:
        raise BadField('expected an object', field='metadata')
    return Envelope(
        message_id=_message_id(metadata, 'message_id'),
        timestamp=_number(metadata, 'timestamp'),
        message_type=_message_type(metadata),
        priority=_priority(metadata),
        source=_text(metadata, 'source') or '',
        destination=_text(metadata, 'destination'),
        correlation_id=_message_id(metadata, 'correlation_id'),
        ttl=_duration(metadata, 'ttl'),
        extra=metadata,
        data=value.get('data'))


def encode(data: Any, *, message_id: str, timestamp: float,
           message_type: MessageType = MessageType.DATA, priority: Priority = Priority.NORMAL,
           source: str = '', destination: str | None = None, correlation_id: str | None = None,
           ttl: float | None = None, extra: Mapping[str, Any] | None = None) -> bytes:
    """
    Encode one frame as UTF-8 text.

    Numbers that JSON does not have (NaN, infinities) become null.

    :param data: anything JSON has, numpy's scalars and arrays; ``orjson.Fragment`` for what is
        encoded already.
    :param extra: further metadata keys.
    :raises BadField: if ``data`` (or ``extra``) cannot be JSON.
    """
    metadata: dict[str, Any] = {
        'message_id': message_id, 'timestamp': timestamp, 'message_type': message_type,
        'priority': priority, 'source': source, 'destination': destination,
        'correlation_id': correlation_id}
    if ttl is not None:
        metadata['ttl'] = ttl
    if extra:
        metadata.update(extra)
    envelope = {'metadata': metadata, 'data': data}
    try:
        return orjson.dumps(envelope)
    except orjson.JSONEncodeError:
        return _encode_like_json(envelope)


def _encode_like_json(envelope: dict[str, Any]) -> bytes:
    """Encode keys that are numbers, as ``json.dumps`` would, and numpy; slower, so second."""
    try:
        return orjson.dumps(envelope, default=_to_plain, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError as exc:
        raise BadField(f'cannot be JSON: {exc}', field='data') from exc


def _to_plain(value: Any) -> Any:
    """Make Python's own of a numpy scalar or array; orjson's way wants C order and byte order."""
    if type(value).__module__ == 'numpy' and hasattr(value, 'tolist'):
        return value.tolist()
    raise TypeError(f'{type(value).__name__} is not JSON')
