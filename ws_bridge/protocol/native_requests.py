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
The requests of the native dialect: ``data.op`` of ``configuration`` to operations.

``path`` is where the checked object stands in its frame, for the errors.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from ws_bridge.errors import BadField
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.envelope import MAX_ID_LENGTH
from ws_bridge.protocol.qos import parse_qos
from ws_bridge.protocol.unix_time import nanoseconds

MAX_NAME = 255
MAX_PEER_NAME = 64
MAX_TOKEN = 4096
MAX_WORDS = 255
MAX_PRESS = 64
MAX_RATE = 1e6
MAX_INTERVAL = 1e6
MAX_POINTS = 20_000
"""To take more points out of a cloud would keep the loop for long."""
MAX_REQUESTS = 1000
"""For so many replies a peer that comes back may wait."""
MAX_CHANNELS = 10_000
MAX_DIGITS = 10
MAX_SECRET = 256
MAX_TABLE = 8000
"""Characters of a part of a table: its frame is read at once, however many values are in it."""
MAX_PARTS = 10_000
MAX_RUNG = 2
"""The best of the qualities of video."""


def text(data: Mapping[str, Any], key: str, *, limit: int = MAX_NAME,
         path: str = 'data') -> str:
    """Return a text that must be there."""
    value = optional_text(data, key, limit=limit, path=path)
    if value is None:
        raise BadField('is missing', field=f'{path}.{key}')
    return value


def optional_text(data: Mapping[str, Any], key: str, *, limit: int = MAX_NAME,
                  path: str = 'data') -> str | None:
    """Return a text, ``None`` where there is none."""
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise BadField(f'must be text of 1 to {limit} characters', field=f'{path}.{key}')
    return value


def optional_number(data: Mapping[str, Any], key: str, low: float, high: float,
                    path: str = 'data') -> float | None:
    """Return a number from ``low`` to ``high``, ``None`` where there is none."""
    value = data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) \
            or not low <= value <= high:
        raise BadField(f'must be a number from {low:g} to {high:g}', field=f'{path}.{key}')
    return float(value)


def optional_time(data: Mapping[str, Any], key: str, path: str = 'data') -> int | None:
    """Return a Unix time, written in s, in ns; ``None`` where there is none."""
    value = optional_number(data, key, -1e12, 1e12, path)
    return None if value is None else nanoseconds(value)


def optional_integer(data: Mapping[str, Any], key: str, low: int, high: int,
                     path: str = 'data') -> int | None:
    """Return an integer from ``low`` to ``high``, ``None`` where there is none."""
    value = data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadField(f'must be an integer from {low} to {high}', field=f'{path}.{key}')
    return value


def flag(data: Mapping[str, Any], key: str, *, default: bool, path: str = 'data') -> bool:
    """Return true or false."""
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadField('must be true or false', field=f'{path}.{key}')
    return value


def choice(data: Mapping[str, Any], key: str, known: tuple[Any, ...],
           path: str = 'data') -> Any:
    """Return one of the known values, ``None`` where there is none."""
    value = data.get(key)
    if value is not None and value not in known:
        raise BadField(f'must be one of {", ".join(known)}', field=f'{path}.{key}')
    return value


def whole(value: str) -> str:
    """Return a text that can be told to others: a question mark for half a surrogate pair."""
    return value.encode(errors='replace').decode()


def _encoding(data: Mapping[str, Any]) -> Any:
    """Return the encoding in which a peer wants a topic."""
    return choice(data, 'encoding', (*ENCODINGS.native_names, ops.VIDEO))


def _subscribe(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    rate = optional_number(data, 'max_rate', 0.0, MAX_RATE)
    encoding = _encoding(data)
    is_video = encoding == ops.VIDEO
    max_points = optional_integer(data, 'max_points', 1, MAX_POINTS)
    if is_video and max_points is not None:
        raise BadField('is for point clouds, not for video', field='data.max_points')
    return ops.Subscribe(
        op_id, text(data, 'topic'), optional_text(data, 'type'), encoding,
        None if rate is None else min(1.0 / rate, MAX_INTERVAL) if rate else 0.0,
        optional_integer(data, 'queue_depth', 1, 10_000),
        parse_qos(data.get('qos'), 'data.qos'), flag(data, 'schema', default=False),
        ops.VIDEO if is_video else None, separate=is_video,
        rung=optional_integer(data, 'rung', 0, MAX_RUNG),
        codec=choice(data, 'codec', ops.CODECS) or ops.CODECS[0], max_points=max_points)


def _unsubscribe(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    is_video = _encoding(data) == ops.VIDEO
    return ops.Unsubscribe(op_id, text(data, 'topic'), ops.VIDEO if is_video else None)


def _shown(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    stamp = optional_time(data, 'picture_time')
    if stamp is None:
        raise BadField('is missing', field='data.picture_time')
    return ops.PictureShown(op_id, text(data, 'topic'), stamp)


def _hello(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    greeting = 'dialect' in data and 'robot' in data
    name = optional_text(data, 'robot' if greeting else 'name', limit=MAX_PEER_NAME)
    return ops.Hello(op_id, name, greeting, flag(data, 'pieces', default=False),
                     flag(data, 'resume', default=False))


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the ids of requests in a list."""
    value = data.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_REQUESTS or not all(
            isinstance(each, str) and len(each) <= MAX_ID_LENGTH for each in value):
        raise BadField(f'must be a list of at most {MAX_REQUESTS} texts of at most '
                       f'{MAX_ID_LENGTH} characters', field=f'data.{key}')
    return tuple(value)


def _received(data: Mapping[str, Any]) -> dict[int, int]:
    """Return the number of the last sample of each channel."""
    value = data.get('received')
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_CHANNELS:
        raise BadField(f'must be an object of at most {MAX_CHANNELS} channels',
                       field='data.received')
    received = {}
    for key in value:
        if not (key.isascii() and key.isdecimal() and len(key) <= MAX_DIGITS):
            raise BadField('must have channel_ids as its keys', field='data.received')
        number = optional_integer(value, key, 0, 2**53, 'data.received')
        if number is not None:
            received[int(key)] = number
    return received


def _resume(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    waiting, accepted = _texts(data, 'waiting'), _texts(data, 'accepted')
    if len(waiting) + len(accepted) > MAX_REQUESTS:
        raise BadField(f'must have, with accepted, at most {MAX_REQUESTS} requests',
                       field='data.waiting')
    return ops.ComeBack(op_id, text(data, 'session'), text(data, 'secret', limit=MAX_SECRET),
                        waiting, accepted, _received(data))


def _watch_status(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    return ops.WatchStatus(op_id, flag(data, 'subscribe', default=True))


def _playback(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    play = None if data.get('play') is None else flag(data, 'play', default=False)
    return ops.ControlPlayback(
        op_id, play, optional_number(data, 'speed', ops.MIN_SPEED, ops.MAX_SPEED),
        optional_time(data, 'seek'), flag(data, 'marks', default=False))


def _mcap(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    part = optional_integer(data, 'part', 0, MAX_PARTS)
    if part is None:
        raise BadField('is missing', field='data.part')
    return ops.AddToTable(op_id, part, text(data, 'csv', limit=MAX_TABLE),
                          flag(data, 'last', default=False))


def _stop(op_id: str | None, data: Mapping[str, Any]) -> ops.Operation:
    """Read an emergency stop: whatever is wrong with its reason or its press, it is one."""
    reason, press = data.get('reason'), data.get('press')
    return ops.EmergencyStop(
        op_id, whole(reason[:MAX_WORDS]) if isinstance(reason, str) else '',
        press if isinstance(press, str) and 0 < len(press) <= MAX_PRESS else None)


CONFIGURATIONS: dict[str, Callable[[Any, Mapping[str, Any]], ops.Operation]] = {
    'hello': _hello,
    'resume': _resume,
    'auth': lambda i, d: ops.Authenticate(i, {'token': text(d, 'token', limit=MAX_TOKEN)}),
    'ticket': lambda i, d: ops.MakeTicket(i, text(d, 'role')),
    'list': lambda i, d: ops.ListNames(i, flag(d, 'hidden', default=False)),
    'schema': lambda i, d: ops.GetSchema(i, text(d, 'type')),
    'diagnose': lambda i, d: ops.Diagnose(
        i, optional_text(d, 'topic'), choice(d, 'use', get_args(ops.TopicUse))),
    'subscribe': _subscribe,
    'unsubscribe': _unsubscribe,
    'shown': _shown,
    'advertise': lambda i, d: ops.Advertise(
        i, text(d, 'topic'), optional_text(d, 'type'), parse_qos(d.get('qos'), 'data.qos')),
    'unadvertise': lambda i, d: ops.Unadvertise(i, text(d, 'topic')),
    'advertise_service': lambda i, d: ops.AdvertiseService(
        i, text(d, 'service'), text(d, 'type')),
    'unadvertise_service': lambda i, d: ops.UnadvertiseService(i, text(d, 'service')),
    'cancel_goal': lambda i, d: ops.CancelGoal(
        i, text(d, 'goal', limit=MAX_ID_LENGTH), optional_text(d, 'action')),
    'advertise_action': lambda i, d: ops.AdvertiseAction(
        i, text(d, 'action'), text(d, 'type'), flag(d, 'answers', default=False)),
    'unadvertise_action': lambda i, d: ops.UnadvertiseAction(i, text(d, 'action')),
    'playback': _playback,
    'mcap': _mcap,
    'status': _watch_status,
    'gates': lambda i, d: ops.ListGates(i),
    'acquire': lambda i, d: ops.LeaseOperation(i, 'acquire', text(d, 'gate')),
    'request': lambda i, d: ops.LeaseOperation(
        i, 'request', text(d, 'gate'),
        message=optional_text(d, 'message', limit=MAX_WORDS) or ''),
    'grant': lambda i, d: ops.LeaseOperation(i, 'grant', text(d, 'gate'), text(d, 'peer')),
    'deny': lambda i, d: ops.LeaseOperation(i, 'deny', text(d, 'gate'), text(d, 'peer')),
    'take': lambda i, d: ops.LeaseOperation(i, 'take', text(d, 'gate')),
    'release': lambda i, d: ops.LeaseOperation(i, 'release', text(d, 'gate')),
    'stop': _stop,
    'clear_stop': lambda i, d: ops.ClearStop(i),
    'channel': lambda i, d: ops.Appeared(d),
}
