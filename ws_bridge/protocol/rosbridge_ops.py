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
The operations of rosbridge v2 that a client sends: JSON objects to values and nothing else.

An ``op_id`` of this dialect is the JSON text of the client's ``id``, whatever kind it has.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from ws_bridge.errors import BadField
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.qos import MAX_DEPTH, parse_qos, QosRequest

Message = Mapping[str, Any]

MAX_NAME = 255
MAX_ID = 256
MAX_INTERVAL_MS = 1e9
MAX_TIMEOUT = 86400.0
"""What stands for a timeout of 0, s: that client waits for ever."""
MAX_TOLD = 4096
ROSAPI = 'rosapi/'
COMPRESSIONS: dict[str, ops.Encoding] = {
    'none': 'json', 'png': 'png', 'cbor': 'cbor', 'cbor-raw': 'cbor-raw'}


class Handed:
    """
    Ids of calls and goals that were handed to the peer: the client's to the session's.

    They count from 1 again at each advertisement. Bounded: the oldest are forgotten, and an
    answer to one of these is answered to nothing.
    """

    LIMIT = 10_000

    def __init__(self) -> None:
        self._inner: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def __repr__(self) -> str:
        return f'Handed({len(self._inner)})'

    def hand(self, kind: str, name: str, inner: str) -> str:
        """Return the id under which the client gets what the session calls ``inner``."""
        stem = f'{kind}:{name}:'
        number = self._numbers[stem] = self._numbers.get(stem, 0) + 1
        wire = f'{stem}{number}'
        self._inner[wire] = inner
        if len(self._inner) > self.LIMIT:
            del self._inner[next(iter(self._inner))]
        return wire

    def find(self, wire: str) -> str | None:
        """Return the session's id."""
        return self._inner.get(wire)

    def take(self, wire: str) -> str | None:
        """Return the session's id, which is not needed again."""
        return self._inner.pop(wire, None)

    def wire_of(self, inner: str) -> str | None:
        """Return the client's id."""
        return next((wire for wire, each in self._inner.items() if each == inner), None)

    def restart(self, kind: str, name: str) -> None:
        """Count from 1 again; what was handed out before can no longer be answered."""
        stem = f'{kind}:{name}:'
        self._numbers.pop(stem, None)
        for wire in [wire for wire in self._inner if wire.startswith(stem)]:
            del self._inner[wire]


# ---- fields

def op_id_of(message: Message) -> str | None:
    """
    Return the ``id`` as JSON text.

    :raises BadField: it is neither text nor an integer, or too long.
    """
    value = message.get('id')
    if value is None:
        return None
    if (type(value) is str and len(value) <= MAX_ID) or \
            (type(value) is int and abs(value) < 2**63):
        return orjson.dumps(value).decode()
    raise BadField(f'must be text of at most {MAX_ID} characters, or an integer', field='id')


def text(message: Message, key: str, *, limit: int = MAX_NAME) -> str:
    """
    Return a field that must be there.

    :raises BadField: it is missing, or no text.
    """
    value = message.get(key)
    if type(value) is str and 0 < len(value) <= limit:
        return value
    raise BadField('is missing' if value is None else
                   f'must be text of 1 to {limit} characters', field=key)


def _optional_text(message: Message, key: str) -> str | None:
    return None if message.get(key) in (None, '') else text(message, key)


def _number(message: Message, key: str, low: float, high: float) -> float | None:
    value = message.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not low <= value <= high:
        raise BadField(f'must be a number from {low:g} to {high:g}', field=key)
    return float(value)


def _integer(message: Message, key: str, low: int) -> int | None:
    value = message.get(key)
    if value is None:
        return None
    if type(value) is not int or value < low:
        raise BadField(f'must be an integer, at least {low}', field=key)
    return value


def _flag(message: Message, key: str, *, default: bool) -> bool:
    value = message.get(key)
    if value is None:
        return default
    if type(value) is not bool:
        raise BadField('must be true or false', field=key)
    return value


def _object(message: Message, key: str) -> Any:
    """Return a field whose values a converter checks; only its outermost kind is looked at."""
    value = message.get(key)
    if value is None:
        return {}
    if not is_object(value):
        raise BadField('must be an object', field=key)
    return value


def is_object(value: Any) -> bool:
    """Whether a value is an object, be it one that was too much to be read here."""
    return type(value) is dict or (type(value) is ops.Parked and not value.is_list)


def _args(message: Message) -> Any:
    value = message.get('args')
    if type(value) is ops.Parked:
        return value
    return tuple(value) if type(value) is list else _object(message, 'args')


# ---- topics

def _publish(message: Message, handed: Handed) -> ops.Operation:
    return ops.Command(op_id_of(message), text(message, 'topic'), _object(message, 'msg'),
                       'topic')


def _subscribe(message: Message, handed: Handed) -> ops.Operation:
    op_id = op_id_of(message)
    compression = message.get('compression') or 'none'
    if type(compression) is not str or compression not in COMPRESSIONS:
        raise BadField(f'must be one of {", ".join(COMPRESSIONS)}', field='compression')
    queue_length = _integer(message, 'queue_length', 0)
    return ops.Subscribe(
        op_id, text(message, 'topic'), _optional_text(message, 'type'),
        COMPRESSIONS[compression],
        (_number(message, 'throttle_rate', 0, MAX_INTERVAL_MS) or 0.0) / 1000.0,
        min(queue_length, MAX_DEPTH) if queue_length else None,
        parse_qos(message.get('qos')), key=op_id or '',
        fragment_size=_integer(message, 'fragment_size', 1))


def _unsubscribe(message: Message, handed: Handed) -> ops.Operation:
    op_id = op_id_of(message)
    return ops.Unsubscribe(op_id, text(message, 'topic'), op_id)


def _advertise(message: Message, handed: Handed) -> ops.Operation:
    op_id = op_id_of(message)
    return ops.Advertise(op_id, text(message, 'topic'), _optional_text(message, 'type'),
                         _publisher_qos(message), op_id or '')


def _publisher_qos(message: Message) -> QosRequest | None:
    """Return what ``qos``, ``latch`` and ``queue_size`` ask for; a latch keeps the last one."""
    qos = parse_qos(message.get('qos'))
    size = _integer(message, 'queue_size', 0)
    if _flag(message, 'latch', default=False):
        if qos is None:
            return QosRequest(depth=1, durability='transient_local')
        return qos if qos.durability else replace(qos, durability='transient_local')
    return qos or (QosRequest(depth=min(size, MAX_DEPTH)) if size else None)


def _unadvertise(message: Message, handed: Handed) -> ops.Operation:
    op_id = op_id_of(message)
    return ops.Unadvertise(op_id, text(message, 'topic'), op_id)


# ---- services

def _call_service(message: Message, handed: Handed) -> ops.Operation:
    op_id, service = op_id_of(message), text(message, 'service')
    timeout = _number(message, 'timeout', -1e9, 1e9)
    if timeout is not None:
        timeout = min(timeout, MAX_TIMEOUT) if timeout > 0 else MAX_TIMEOUT
    question = service.lstrip('/')
    if question.startswith(ROSAPI):
        return ops.Inquire(op_id, service, question[len(ROSAPI):], _args(message), timeout)
    return ops.Command(op_id, service, _args(message), 'service', timeout=timeout)


def _advertise_service(message: Message, handed: Handed) -> ops.Operation:
    service = text(message, 'service')
    op = ops.AdvertiseService(op_id_of(message), service, text(message, 'type'))
    handed.restart('service_request', service)
    return op


def _unadvertise_service(message: Message, handed: Handed) -> ops.Operation:
    return ops.UnadvertiseService(op_id_of(message), text(message, 'service'))


def _service_response(message: Message, handed: Handed) -> ops.Operation:
    """Read an answer; a client may say that it failed and mean its values nevertheless."""
    op_id, wire = op_id_of(message), text(message, 'id', limit=MAX_ID)
    ok = _flag(message, 'result', default=True)
    values = message.get('values')
    error = None
    if not ok and (not is_object(values) or not values):
        error = values[:MAX_TOLD] if values and type(values) is str else 'no reason given'
    elif not is_object(values) and values is not None:
        raise BadField('must be an object', field='values')
    return ops.ServiceAnswer(op_id, handed.take(wire), values or {}, error)


# ---- actions

def _send_action_goal(message: Message, handed: Handed) -> ops.Operation:
    return ops.SendGoal(
        op_id_of(message), text(message, 'action'), _optional_text(message, 'action_type'),
        _args(message), _flag(message, 'feedback', default=False))


def _cancel_action_goal(message: Message, handed: Handed) -> ops.Operation:
    op_id = op_id_of(message)
    if op_id is None:
        raise BadField('is missing', field='id')
    return ops.CancelGoal(None, op_id, text(message, 'action'))


def _advertise_action(message: Message, handed: Handed) -> ops.Operation:
    action = text(message, 'action')
    action_type = _optional_text(message, 'action_type') or text(message, 'type')
    op = ops.AdvertiseAction(op_id_of(message), action, action_type)
    handed.restart('action_goal', action)
    return op


def _unadvertise_action(message: Message, handed: Handed) -> ops.Operation:
    return ops.UnadvertiseAction(op_id_of(message), text(message, 'action'))


def _action_feedback(message: Message, handed: Handed) -> ops.Operation:
    wire = text(message, 'id', limit=MAX_ID)
    return ops.ActionFeedback(op_id_of(message), handed.find(wire) or wire,
                              _object(message, 'values'), _optional_text(message, 'action'))


def _action_result(message: Message, handed: Handed) -> ops.Operation:
    op_id, wire = op_id_of(message), text(message, 'id', limit=MAX_ID)
    ok = _flag(message, 'result', default=True)
    status = _integer(message, 'status', 0)
    values = message.get('values')
    if ok and not is_object(values) and values is not None:
        raise BadField('must be an object', field='values')
    return ops.ActionResult(op_id, handed.take(wire) or wire,
                            values if is_object(values) else None, status or None, ok,
                            _optional_text(message, 'action'))


# ---- the rest

def _status(message: Message, handed: Handed) -> ops.Operation:
    told = {'level': _optional_text(message, 'level'),
            'msg': text(message, 'msg', limit=MAX_TOLD)}
    return ops.PeerStatus(op_id_of(message), told)


def _auth(message: Message, handed: Handed) -> ops.Operation:
    return ops.Authenticate(None, {key: value for key, value in message.items() if key != 'op'})


PARSERS: dict[str, Callable[[Message, Handed], ops.Operation]] = {
    'publish': _publish,
    'subscribe': _subscribe,
    'unsubscribe': _unsubscribe,
    'advertise': _advertise,
    'unadvertise': _unadvertise,
    'call_service': _call_service,
    'advertise_service': _advertise_service,
    'unadvertise_service': _unadvertise_service,
    'service_response': _service_response,
    'send_action_goal': _send_action_goal,
    'cancel_action_goal': _cancel_action_goal,
    'advertise_action': _advertise_action,
    'unadvertise_action': _unadvertise_action,
    'action_feedback': _action_feedback,
    'action_result': _action_result,
    'status': _status,
    'auth': _auth,
}


def about(message: Message) -> ops.About | None:
    """Return what the client of a malformed request waits for."""
    for op, kind, key in (('call_service', 'call', 'service'),
                          ('send_action_goal', 'goal', 'action')):
        name = message.get(key)
        if message.get('op') == op and type(name) is str:
            return ops.About('call' if kind == 'call' else 'goal', name[:MAX_NAME])
    return None
