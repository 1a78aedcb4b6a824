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
"""Replies in the native dialect: what stands in the envelope of each."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any, get_args, NamedTuple

import orjson

from ws_bridge.config.roles import NAMELESS
from ws_bridge.errors import ConversionError, WsBridgeError
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.types import MessageType, Priority
from ws_bridge.protocol.unix_time import seconds

NAME = 'ws_bridge.v1'
CAPABILITIES = ('subscribe', 'publish', 'call', 'host', 'actions', 'list', 'schema', 'diagnose',
                'status', 'lease', 'estop', 'pieces', 'empty', 'stop_connection')
PLAYBACK = 'playback'
"""One capability more, of a replay; also what ``status`` is about."""
URGENT = (*get_args(ops.LeaseVerb), 'stop', 'clear_stop')
"""Requests whose acknowledgments overtake others."""
RESUME = 'resume'
"""One capability more, of a bridge whose sessions wait for their peers."""
SHARED_STATES = 8
"""Of so many, one for each role, the text is kept while peers are told."""
GOAL_STATUS = {'succeeded': ops.STATUS_SUCCEEDED, 'canceled': ops.STATUS_CANCELED,
               'aborted': ops.STATUS_ABORTED}
_STATUS_WORDS = {number: word for word, number in GOAL_STATUS.items()}

# where a frame has what errors of a session and of ROS call by the operation's name for it
_PATHS = {
    'topic': 'data.topic', 'service': 'data.service', 'action': 'data.action',
    'goal': 'data.goal', 'type': 'data.type', 'qos': 'data.qos',
    'destination': 'metadata.destination', 'ttl': 'metadata.ttl',
    'correlation_id': 'metadata.correlation_id', 'timestamp': 'metadata.timestamp',
    'epoch': 'metadata.epoch', 'sequence': 'metadata.sequence', 'gate': 'data.gate',
    'peer': 'data.peer', 'role': 'data.role',
}


class Content(NamedTuple):
    """
    What a reply puts into its envelope.

    :param answers: ``metadata.correlation_id``.
    :param message_id: ``None`` = a new one.
    :param source: ``None`` = the bridge.
    """

    message_type: MessageType
    data: Any
    answers: str | None = None
    priority: Priority = Priority.HIGH
    destination: str | None = None
    message_id: str | None = None
    source: str | None = None
    extra: Mapping[str, Any] | None = None


class Often(NamedTuple):
    """
    What all peers are sent again and again: text that needs only to be put together.

    :param message_type: in ASCII.
    :param answers: ``metadata.correlation_id``.
    :param data: the text of ``data``, in parts.
    """

    message_type: bytes
    priority: Priority
    answers: str | None
    data: tuple[bytes, ...]


def _beat(reply: replies.Beat) -> Often:
    echo = b'null' if reply.echo is None else orjson.dumps({
        'sequence': reply.echo[0], 'timestamp': seconds(reply.echo[1]),
        'received': seconds(reply.echo[2])})
    end = b'' if reply.challenge is None else b',"challenge":"%b"' % reply.challenge.encode()
    return Often(b'heartbeat', Priority.CRITICAL, reply.answers, (
        b'{"type":"heartbeat","timestamp":%b,"sequence":%d,"echo":%b%b}' % (
            orjson.dumps(seconds(reply.stamp)), reply.sequence, echo, end),))


@lru_cache(SHARED_STATES)
def _shared(state: replies.SharedState) -> bytes:
    """Return the text of what many peers are told, but for the last brace."""
    return orjson.dumps({
        'kind': 'state', 'robot': state.robot_name, 'uptime': state.uptime,
        'nodes': state.nodes,
        'topics': [{'topic': each.topic, 'type': each.msg_type, 'rate': each.rate,
                    'age': each.age, 'freshness': each.freshness.value} for each in state.topics],
        'peers': state.peers, 'peer_count': state.peer_count})[:-1]


def _state(reply: replies.RobotState) -> Often:
    return Often(b'status', Priority.NORMAL, None, (
        _shared(reply.shared), b',"you":', orjson.dumps(reply.you), b'}'))


OFTEN_SENT: Mapping[type, Callable[[Any], Often]] = {
    replies.Beat: _beat, replies.RobotState: _state}
"""What is not made by :func:`content_of`."""


def content_of(reply: replies.Reply) -> Content | None:
    """Return what stands in the envelope of a reply; ``None`` for what is not native."""
    encode = _CONTENT.get(type(reply))
    if encode is not None:
        return encode(reply)
    return _answer(reply) if type(reply) in _FIELDS else None


def error_fields(error: WsBridgeError) -> dict[str, Any]:
    """Return what a peer is told of an error; values inside a message stand under ``data``."""
    field = error.field
    if isinstance(error, ConversionError):
        field = f'data.{field}' if field and not field.startswith('[') else f'data{field or ""}'
    elif field is not None:
        field = _PATHS.get(field, field)
    return {'code': error.code, 'message': error.message, 'field': field}


def _control(state: replies.ControlState) -> dict[str, Any]:
    return {'gates': state.gates, 'estop': state.estop}


def hello_fields(reply: replies.Greeting) -> dict[str, Any]:
    """Return the fields of a hello."""
    return {
        'op': 'hello', 'dialect': NAME, 'session': reply.peer, 'robot': reply.robot_name,
        'version': reply.version, 'encodings': ENCODINGS.native_names,
        'capabilities': (*CAPABILITIES, *(() if reply.playback is None else (PLAYBACK,)),
                         *((RESUME,) if reply.resume_time else ())),
        'heartbeat': {'interval': reply.heartbeat_interval, 'timeout': reply.heartbeat_timeout},
        'limits': asdict(reply.limits), 'allowed': reply.allowed, 'role': reply.role,
        'may': [use for use in NAMELESS if use in reply.uses],
        'login': reply.login, **({} if reply.control is None else _control(reply.control)),
        **({} if reply.secret is None else _secret(reply.secret, reply.resume_time)),
        **({} if reply.challenge is None else {'challenge': reply.challenge})}


def _secret(secret: str, time: float) -> dict[str, Any]:
    return {'resume': {'secret': secret, 'time': time}}


# ---- answers: acknowledgments with the name of the request

def _answer(reply: Any) -> Content:
    request = reply.request
    data = {'op': request, **_FIELDS[type(reply)](reply)}
    return Content(MessageType.ACKNOWLEDGMENT, data, reply.op_id,
                   Priority.CRITICAL if request in URGENT else Priority.HIGH)


def _delivery(delivery: replies.Delivery) -> dict[str, Any]:
    return {'topic': delivery.topic, 'type': delivery.msg_type, 'encoding': delivery.encoding,
            'channel_id': delivery.channel_id, 'schema': delivery.schema,
            'pending': delivery.pending,
            **({} if delivery.rung is None else {'rung': delivery.rung})}


def _resumed(reply: replies.Resumed) -> dict[str, Any]:
    return {'session': reply.peer, **_secret(reply.secret, reply.resume_time),
            'subscriptions': [{**_delivery(each.delivery), 'missed': each.missed,
                               'sequence': each.sequence} for each in reply.subscriptions],
            'channels': [{'topic': topic, 'channel_id': channel_id}
                         for topic, channel_id in reply.channels],
            'unknown': reply.unknown}


def _advertised(reply: replies.Advertised) -> dict[str, Any]:
    return {'topic': reply.topic, 'type': reply.msg_type, 'channel_id': reply.channel_id,
            'schema': reply.schema, 'gate': reply.gate, 'subscribers': reply.subscribers,
            **({} if reply.qos is None else {'qos': reply.qos})}


def _terms(terms: replies.LeaseTerms) -> dict[str, Any]:
    return {'epoch': terms.epoch, 'timeout': terms.timeout, 'ttl': terms.ttl}


def _playback(state: replies.PlaybackState) -> dict[str, Any]:
    return {'status': state.status, 'time': seconds(state.time), 'speed': state.speed}


def _playback_controlled(reply: replies.PlaybackControlled) -> dict[str, Any]:
    data = {**_playback(reply.state), 'begin': seconds(reply.span.begin),
            'end': seconds(reply.span.end)}
    if reply.marks is not None:
        data['marks'] = [{'time': seconds(mark.time), 'kind': mark.kind, 'text': mark.text}
                         for mark in reply.marks]
    return data


def _lease_answered(reply: replies.LeaseAnswered) -> dict[str, Any]:
    data: dict[str, Any] = {'gate': reply.gate}
    if reply.answer_timeout is not None:
        data |= {'pending': True, 'timeout': reply.answer_timeout}
    if reply.terms is not None:
        data |= _terms(reply.terms)
    return data


_FIELDS: dict[type, Callable[[Any], Mapping[str, Any]]] = {
    replies.Resumed: _resumed,
    replies.LoggedIn: lambda r: {'name': r.name, 'role': r.role, 'allowed': r.allowed},
    replies.TicketMade: lambda r: {
        'role': r.role, 'ticket': r.ticket, 'lifetime': r.lifetime},
    replies.Subscribed: lambda r: _delivery(r.delivery),
    replies.Unsubscribed: lambda r: {'topic': r.topic},
    replies.Advertised: _advertised,
    replies.Unadvertised: lambda r: {'topic': r.topic},
    replies.MessagePublished: lambda r: {'topic': r.topic, 'subscribers': r.subscribers},
    replies.ServiceAdvertised: lambda r: {'service': r.service, 'type': r.srv_type},
    replies.ServiceUnadvertised: lambda r: {'service': r.service},
    replies.GoalCancelling: lambda r: {'goal': r.goal},
    replies.ActionAdvertised: lambda r: {'action': r.action, 'type': r.action_type},
    replies.ActionUnadvertised: lambda r: {'action': r.action},
    replies.GraphListed: lambda r: {
        'topics': r.graph.topics, 'services': [
            {'service': each.service, 'types': each.types, 'call': True}
            for each in r.graph.services],
        'actions': r.graph.actions, 'nodes': r.graph.nodes},
    replies.MessageDefined: lambda r: {'type': r.msg_type, 'kind': 'message', 'text': r.text},
    replies.ServiceDefined: lambda r: {
        'type': r.srv_type, 'kind': 'service', 'request': r.request_text,
        'response': r.response_text},
    replies.Diagnosed: lambda r: {'topic': r.topic, 'use': r.use, 'findings': r.findings},
    replies.PlaybackControlled: _playback_controlled,
    replies.Exported: lambda r: {'data': None if r.data is None else b64encode(r.data).decode()},
    replies.StatusWatched: lambda r: {'subscribe': r.subscribe},
    replies.GatesListed: lambda r: _control(r.control),
    replies.LeaseAnswered: _lease_answered,
    replies.StopAsserted: lambda r: {'stopped': r.stopped},
    replies.StopReady: lambda r: {'session': r.peer},
    replies.StopCleared: lambda r: {'stopped': False},
}
"""The fields of each answer, beside the name of the request."""


# ---- everything else

def _greeting(reply: replies.Greeting) -> Content:
    if reply.asked:
        return Content(MessageType.ACKNOWLEDGMENT, hello_fields(reply), reply.op_id)
    return Content(MessageType.CONFIGURATION, hello_fields(reply))


def _call_done(reply: replies.CallDone) -> Content:
    return Content(MessageType.ACKNOWLEDGMENT, {
        'op': 'call', 'service': reply.service, 'result': orjson.Fragment(reply.values)},
        reply.op_id)


def _failed(reply: replies.Failed) -> Content:
    fields = error_fields(reply.error)
    if reply.subscription is not None:
        fields['topic'], fields['encoding'] = reply.subscription
    return Content(MessageType.ERROR, fields, reply.op_id)


def _topic_appeared(reply: replies.TopicAppeared) -> Content:
    return Content(MessageType.CONFIGURATION, {'op': 'channel', **_delivery(reply.delivery)})


def _service_call(reply: replies.ServiceCall) -> Content:
    return Content(MessageType.COMMAND, orjson.Fragment(reply.values), destination=reply.service,
                   message_id=reply.call_id)


def _goal_accepted(reply: replies.GoalAccepted) -> Content:
    return Content(MessageType.ACKNOWLEDGMENT, {
        'op': 'goal', 'action': reply.action, 'accepted': True}, reply.op_id)


def _goal_feedback(reply: replies.GoalFeedback) -> Content:
    return Content(MessageType.DATA, orjson.Fragment(reply.values), reply.op_id, Priority.LOW,
                   source=reply.action)


def _goal_done(reply: replies.GoalDone) -> Content:
    return Content(MessageType.ACKNOWLEDGMENT, {
        'op': 'result', 'action': reply.action, 'status': _STATUS_WORDS[reply.status],
        'result': orjson.Fragment(reply.values)}, reply.op_id)


def _goal_request(reply: replies.GoalRequest) -> Content:
    return Content(MessageType.COMMAND, orjson.Fragment(reply.values), destination=reply.action,
                   message_id=reply.goal_id, extra={'kind': 'action'})


def _goal_cancel(reply: replies.GoalCancel) -> Content:
    return Content(MessageType.CONFIGURATION, {
        'op': 'cancel_goal', 'action': reply.action, 'goal': reply.goal_id})


def _news(kind: str, fields: Mapping[str, Any]) -> Content:
    """Return what everybody is told who wants to know."""
    return Content(MessageType.STATUS, {'kind': kind, **fields}, priority=Priority.CRITICAL)


def _gates_changed(reply: replies.GatesChanged) -> Content:
    return _news('gates', _control(reply.control))


def _lease_changed(reply: replies.LeaseChanged) -> Content:
    return _news('lease', {
        'gate': reply.gate, 'holder': reply.holder, 'holder_name': reply.holder_name,
        'epoch': reply.epoch, 'reason': reply.reason})


def _estop_changed(reply: replies.EstopChanged) -> Content:
    return _news('estop', {'stopped': reply.stopped, 'by': reply.by, 'reason': reply.reason})


def _robot_stopped(reply: replies.RobotStopped) -> Content:
    return _news('stopped', {'gate': reply.gate, 'reason': reply.reason,
                             'subscribers': reply.subscribers, 'after': reply.after})


def _speed_changed(reply: replies.SpeedChanged) -> Content:
    return _news('speed', {'gate': reply.gate, 'speed_limit': reply.speed_limit,
                           'delay': reply.delay, 'picture_age': reply.picture_age})


def _rates_changed(reply: replies.RatesChanged) -> Content:
    return Content(MessageType.STATUS, {
        'kind': 'rates', 'bandwidth': reply.bandwidth, 'rates': reply.rates},
        priority=Priority.NORMAL)


def _playback_changed(reply: replies.PlaybackChanged) -> Content:
    return Content(MessageType.STATUS, {
        'kind': PLAYBACK, **_playback(reply.state), 'jumped': reply.has_jumped})


def _personal(op: str, fields: Mapping[str, Any]) -> Content:
    """Return what concerns this peer alone."""
    return Content(MessageType.CONFIGURATION, {'op': op, **fields}, priority=Priority.CRITICAL)


def _lease_lost(reply: replies.LeaseLost) -> Content:
    return _personal('lost', {'gate': reply.gate, 'epoch': reply.epoch, 'reason': reply.reason})


def _lease_decided(reply: replies.LeaseDecided) -> Content:
    terms = {'epoch': None} if reply.terms is None else _terms(reply.terms)
    return _personal('lease', {'gate': reply.gate, 'granted': reply.terms is not None,
                               'reason': reply.reason, **terms})


def _lease_requested(reply: replies.LeaseRequested) -> Content:
    return _personal('requested', {'gate': reply.gate, 'peer': reply.peer, 'name': reply.name,
                                   'message': reply.message, 'timeout': reply.timeout})


_CONTENT: dict[type, Callable[[Any], Content]] = {
    replies.Greeting: _greeting,
    replies.CallDone: _call_done,
    replies.Failed: _failed,
    replies.TopicAppeared: _topic_appeared,
    replies.ServiceCall: _service_call,
    replies.GoalAccepted: _goal_accepted,
    replies.GoalFeedback: _goal_feedback,
    replies.GoalDone: _goal_done,
    replies.GoalRequest: _goal_request,
    replies.GoalCancel: _goal_cancel,
    replies.GatesChanged: _gates_changed,
    replies.LeaseChanged: _lease_changed,
    replies.EstopChanged: _estop_changed,
    replies.RobotStopped: _robot_stopped,
    replies.SpeedChanged: _speed_changed,
    replies.RatesChanged: _rates_changed,
    replies.PlaybackChanged: _playback_changed,
    replies.LeaseLost: _lease_lost,
    replies.LeaseDecided: _lease_decided,
    replies.LeaseRequested: _lease_requested,
}
"""The envelope of each reply that is no answer."""
