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
The dialect of Foxglove and Lichtblick: ``foxglove.sdk.v1``, once ``foxglove.websocket.v1``.

A client is told which channels (topics) and services there are, and which of them came and went;
samples are CDR as ROS has it. It may publish and call in CDR and in JSON. It has no words for
leases: its first fresh command acquires one, and what is refused becomes a status.
``docs/how-to/use_foxglove.md`` says what is served and what is not.
"""
from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from ws_bridge.config import Kind
from ws_bridge.config.roles import Use
from ws_bridge.errors import UnknownOperation, WsBridgeError
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialect import SampleWriter
from ws_bridge.protocol.envelope import MAX_DEPTH, parse_json
from ws_bridge.protocol.foxglove_frames import (
    asset_error,
    asset_response,
    call_response,
    ENDED,
    PAUSED,
    PLAYBACK_CONTROL,
    playback_state,
    PLAYING,
    sample_writer,
    time_frame,
)
from ws_bridge.protocol.foxglove_ids import Channel, Ids, PeerBook, Row
from ws_bridge.protocol.foxglove_requests import ENCODINGS, read_binary, read_text
from ws_bridge.protocol.foxglove_status import ERROR, PASSING, Statuses, text_of, WARNING
from ws_bridge.protocol.types import Priority
from ws_bridge.protocol.unix_time import SECOND

SUBPROTOCOL = 'foxglove.sdk.v1'
OLD_SUBPROTOCOL = 'foxglove.websocket.v1'
"""The same words under the name that older clients know."""
NAME = 'foxglove'
BATCH = 100
"""Channels in one frame."""
CAPABILITIES: dict[str, tuple[Kind | None, Use]] = {
    'clientPublish': ('publish', 'publish'), 'services': ('call', 'call'),
    'parameters': ('call', 'parameter_read'), 'parametersSubscribe': ('call', 'parameter_read'),
    'connectionGraph': (None, 'graph'), 'assets': (None, 'subscribe'),
    'time': (None, 'subscribe'), 'playbackControl': (None, 'subscribe')}
"""What is served: where something is exposed in this way, to those who have this right."""
NEEDS_LOGIN = ('this bridge wants a login, for which this protocol has no words: '
               'use a client certificate of TLS, a ticket in the URL, or a proxy that logs you in')
SET = 'set'
"""Identity of what sets parameters and has no id: values would be an update of what is watched."""
_HINTS = {'double': 'float64', 'double_array': 'float64_array', 'byte_array': 'byte_array'}
"""The type that goes with the value of a parameter, by its kind; else there is none."""

_CONTROL = bytes([PLAYBACK_CONTROL])
_PLAYBACK = {'playing': PLAYING, 'paused': PAUSED, 'ended': ENDED}

_IDS = Ids()

Message = dict[str, Any]


def recognises(value: Any) -> bool:
    """Whether a first frame is of this dialect: never, its clients name it."""
    return False


class FoxgloveDialect:
    """
    Codec of one client; keeps what it was told and what its numbers mean.

    :param robot_name: what the bridge calls itself.
    :param ros_distro: the name of the ROS release; empty = not known.
    :param max_depth: most arrays and objects inside each other in JSON.
    :param ids: the numbers of the process.
    :param serves_assets: whether there are files that a client may have.
    :param sim_time: returns the time of a simulation, ns; ``None`` = there is none.
    """

    name = NAME
    fence = 0.0

    def __init__(self, robot_name: str, ros_distro: str = '', max_depth: int = MAX_DEPTH,
                 ids: Ids = _IDS, *, serves_assets: bool = False,
                 sim_time: Callable[[], int] | None = None) -> None:
        self._lacks = {'assets': not serves_assets, 'time': sim_time is None}
        self._sim_time = sim_time
        self._is_replay = self._hears_playback = False
        self._robot_name = robot_name
        self._ros_distro = ros_distro
        self._max_depth = max_depth
        self._ids = ids
        self._book = PeerBook()
        self._statuses = Statuses()

    def __repr__(self) -> str:
        return f'FoxgloveDialect({self._book!r}, {self._statuses!r})'

    # ---- decode

    def decode(self, frame: str | bytes | memoryview, now: float = 0.0) -> ops.Decoded:
        """Turn one frame into its operations."""
        try:
            if isinstance(frame, str):
                return self.decode_value(parse_json(frame, self._max_depth), now)
            if frame[:1] == _CONTROL:
                self._expect_playback()
            return tuple(read_binary(frame, self._book, self._statuses.waits))
        except WsBridgeError as exc:
            return (ops.Malformed(None, exc),)

    def _expect_playback(self) -> None:
        """
        Take note that a client knows how to control a replay.

        :raises UnknownOperation: this is none.
        """
        if not self._is_replay:
            raise UnknownOperation('Server does not support the playbackControl capability')
        self._hears_playback = True

    def decode_value(self, value: Any, now: float = 0.0, *,
                     wrapped: bool = False) -> ops.Decoded:
        """Turn a parsed frame into its operations."""
        try:
            operations = tuple(read_text(value, self._book))
        except WsBridgeError as exc:
            return (ops.Malformed(None, exc),)
        self._take_back(value)
        return operations

    def _take_back(self, value: Message) -> None:
        """Take back the statuses of what a client has ended, which are about nothing any more."""
        numbers = value.get('channelIds') if value['op'] == 'unadvertise' else None
        for number in numbers or ():
            self._statuses.drop(f'advertise:{number}', f'publish:{number}')

    def limit_messages(self, size: int) -> None:
        """Do nothing: a message is a frame."""

    # ---- encode

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        """Turn one reply into frames; many replies have no word here."""
        if isinstance(reply, replies.Answer) and reply.op_id is not None:
            self._succeeded(reply)
        write = _WRITERS.get(type(reply))
        frames = [] if write is None else write(self, reply, stamp)
        removed = self._statuses.removed()
        return frames if removed is None else [_text(removed), *frames]

    def _succeeded(self, reply: replies.Answer) -> None:
        """Take back the status of what failed before, and passes again."""
        if isinstance(reply, (replies.MessagePublished, replies.Subscribed, replies.Advertised)):
            self._statuses.drop(reply.op_id or '')
        if isinstance(reply, replies.MessagePublished):
            self._statuses.drop(*PASSING)

    def _greet(self, reply: replies.Greeting, stamp: int) -> list[ops.Frame]:
        metadata = {'ws_bridge': reply.version}
        if self._ros_distro:
            metadata['ROS_DISTRO'] = self._ros_distro
        needs_login = reply.login == 'needed'
        span = reply.playback
        self._is_replay = span is not None
        lacks = {**self._lacks, 'playbackControl': span is None}
        frames = [_text({
            'op': 'serverInfo', 'name': self._robot_name,
            'capabilities': [] if needs_login else [
                name for name, (kind, use) in CAPABILITIES.items()
                if (kind is None or reply.allowed.get(kind)) and use in reply.uses
                and not lacks.get(name)],
            'supportedEncodings': ENCODINGS, 'metadata': metadata,
            'sessionId': self._ids.session_id,
            **({} if span is None or needs_login else {
                'dataStartTime': _seconds(span.begin), 'dataEndTime': _seconds(span.end)})})]
        if needs_login:
            frames.append(_text(self._statuses.tell('login', ERROR, NEEDS_LOGIN, stamp)))
        if reply.control is not None and reply.control.estop.stopped:
            frames += self._stop(reply.control.estop, stamp)
        return frames

    def _stop(self, stop: replies.StopState | replies.EstopChanged,
              stamp: int) -> list[ops.Frame]:
        """Tell of an emergency stop as long as it stands."""
        if not stop.stopped:
            self._statuses.drop('estop')
            return []
        by = f' by {stop.by}' if stop.by else ''
        why = f': {stop.reason}' if stop.reason else ''
        return [_text(self._statuses.tell('estop', WARNING, f'emergency stop{by}{why}', stamp))]

    def _topics(self, reply: replies.TopicsChanged, stamp: int) -> list[ops.Frame]:
        """Tell which channels are gone, then which are new: a topic never has two."""
        book = self._book
        gone = [book.remove(topic) for topic in reply.gone]
        rows: list[Row] = []
        for topic, types in reply.present.items():
            old = book.channels.get(topic)
            if old is not None and old.msg_type in types:
                continue
            gone.append(book.remove(topic))
            msg_type = next((each for each in types if each in reply.definitions), None)
            if msg_type is not None:
                row = self._ids.channels.row(topic, msg_type, reply.definitions[msg_type])
                book.add(Channel(row.number, topic, msg_type))
                rows.append(row)
        return [*_gone('unadvertise', 'channelIds', gone),
                *_rows('advertise', 'channels', rows)]

    def _services(self, reply: replies.ServicesChanged, stamp: int) -> list[ops.Frame]:
        book = self._book
        gone = [book.remove_service(service) for service in reply.gone]
        rows: list[Row] = []
        for service, definition in reply.present.items():
            row = self._ids.services.row(service, definition.srv_type, definition.request_text,
                                         definition.response_text)
            if book.services.get(service) != row.number:
                gone.append(book.remove_service(service))
                book.add_service(service, row.number)
                rows.append(row)
        return [*_gone('unadvertiseServices', 'serviceIds', gone),
                *_rows('advertiseServices', 'services', rows)]

    def _call_done(self, reply: replies.CallDone, stamp: int) -> list[ops.Frame]:
        service_id, call_id, encoding = _call_of(reply.op_id)
        self._statuses.drop(f'call:{service_id}')
        return [ops.Frame(call_response(service_id, call_id, encoding, reply.values), False,
                          Priority.HIGH)]

    def _connections(self, reply: replies.ConnectionsChanged, stamp: int) -> list[ops.Frame]:
        return [_text({
            'op': 'connectionGraphUpdate',
            'publishedTopics': [{'name': name, 'publisherIds': nodes}
                                for name, nodes in reply.publishers.items()],
            'subscribedTopics': [{'name': name, 'subscriberIds': nodes}
                                 for name, nodes in reply.subscribers.items()],
            'advertisedServices': [{'name': name, 'providerIds': nodes}
                                   for name, nodes in reply.servers.items()],
            'removedTopics': reply.gone_topics, 'removedServices': reply.gone_services})]

    def _asset(self, reply: replies.AssetFetched, stamp: int) -> list[ops.Frame]:
        number = int((reply.op_id or '').partition(':')[2])
        return [ops.Frame(asset_response(number, reply.data), False, Priority.NORMAL)]

    def _time(self, reply: replies.TimeTold, stamp: int) -> list[ops.Frame]:
        return [ops.Frame(time_frame(reply.stamp), False, Priority.LOW)]

    def _playback_controlled(self, reply: replies.PlaybackControlled,
                             stamp: int) -> list[ops.Frame]:
        self._statuses.drop('playback')
        return [_playback(reply.state, reply.has_jumped, (reply.op_id or '').partition(':')[2])]

    def _playback_changed(self, reply: replies.PlaybackChanged, stamp: int) -> list[ops.Frame]:
        """Tell it those that know the word: older clients take it for an error."""
        return [_playback(reply.state, reply.has_jumped)] if self._hears_playback else []

    def _parameters_told(self, reply: replies.ParametersTold, stamp: int) -> list[ops.Frame]:
        """Tell values, and which of those that it watches are unset now."""
        if reply.op_id == SET:
            return []
        gone = () if reply.op_id is not None else reply.reasons
        return [_parameters(reply.parameters, reply.op_id, gone)]

    def _parameters_set(self, reply: replies.ParametersSet, stamp: int) -> list[ops.Frame]:
        """Tell the values that there are now, and why others are not as they should be."""
        frames = []
        if reply.reasons:
            reasons = '; '.join(f'{_wire_name(name)}: {why}'
                                for name, why in reply.reasons.items())
            frames.append(_text(self._statuses.tell(
                'set', ERROR, f'not set: {reasons}', stamp)))
        else:
            self._statuses.drop('set')
        if reply.op_id == SET:
            return frames
        return [*frames, _parameters(reply.parameters, reply.op_id)]

    def _failed(self, reply: replies.Failed, stamp: int) -> list[ops.Frame]:
        op_id = reply.op_id or ''
        kind, _, rest = op_id.partition(':')
        frames = []
        if kind == 'call':
            service_id, call_id, _ = _call_of(op_id)
            op_id = f'call:{service_id}'
            frames.append(_text({'op': 'serviceCallFailure', 'serviceId': service_id,
                                 'callId': call_id, 'message': text_of(reply.error)}))
        elif kind == 'asset':       # who asked is answered, and has nothing more to be told
            return [ops.Frame(asset_error(int(rest), text_of(reply.error)), False,
                              Priority.HIGH)]
        elif kind == 'subscribe':
            self._book.unsubscribe(int(rest))
        elif kind == 'advertise':
            self._book.refuse(int(rest))
        elif kind in ('get', 'set', 'playback'):
            op_id = kind
        status = self._statuses.of_failure(op_id, reply.error, stamp)
        return frames if status is None else [*frames, _text(status)]

    # ---- samples

    def share_key(self, topic: str, key: str | None) -> tuple[str, str | None]:
        """Return the topic and the client's own number, which is in each of its frames."""
        return topic, key

    def sample_writer(self, topic: str, channel_id: int, encoding: ops.Encoding,
                      key: str | None = None) -> SampleWriter:
        """Return what frames the samples of a subscription, by its number."""
        return sample_writer(int(key or 0), self._sim_time)


def _text(message: Message) -> ops.Frame:
    return ops.Frame(orjson.dumps(message), True, Priority.HIGH)


def _playback(state: replies.PlaybackState, has_jumped: bool,
              request_id: str = '') -> ops.Frame:
    return ops.Frame(playback_state(_PLAYBACK[state.status], state.time, state.speed,
                                    has_jumped=has_jumped, request_id=request_id),
                     False, Priority.HIGH)


def _seconds(stamp: int) -> Message:
    sec, nsec = divmod(stamp, SECOND)
    return {'sec': sec, 'nsec': nsec}


def _gone(op: str, key: str, numbers: list[int | None]) -> list[ops.Frame]:
    known = [number for number in numbers if number is not None]
    return [_text({'op': op, key: known})] if known else []


def _rows(op: str, key: str, rows: list[Row]) -> list[ops.Frame]:
    """Return what is new, in batches; each row was written once, for all clients."""
    return [ops.Frame(b'{"op":"%b","%b":[%b]}' % (
        op.encode(), key.encode(), b','.join(row.wire for row in rows[start:start + BATCH])),
        True, Priority.HIGH) for start in range(0, len(rows), BATCH)]


def _call_of(op_id: str | None) -> tuple[int, int, str]:
    """Return service, call and encoding from the identity of a call."""
    _, service_id, call_id, encoding = (op_id or '').split(':')
    return int(service_id), int(call_id), encoding


def _parameters(entries: Iterable[replies.ParameterEntry], op_id: str | None,
                unset: Iterable[str] = ()) -> ops.Frame:
    message: Message = {'op': 'parameterValues', 'parameters': [
        *map(_parameter, entries), *({'name': _wire_name(name)} for name in unset)]}
    _, has_id, request_id = (op_id or '').partition(':')
    if has_id:
        message['id'] = request_id
    return _text(message)


def _parameter(entry: replies.ParameterEntry) -> Message:
    value, hint = entry.value, _HINTS.get(entry.kind)
    if entry.kind == 'byte_array':
        value = base64.b64encode(bytes(value)).decode()
    told = {'name': _wire_name(entry.name), 'value': value}
    return told if hint is None else {**told, 'type': hint}


def _wire_name(name: str) -> str:
    """Return ``/node.parameter`` for ``/node:parameter``."""
    return name.replace(':', '.', 1)


_WRITERS: dict[type, Callable[[FoxgloveDialect, Any, int], list[ops.Frame]]] = {
    replies.Greeting: FoxgloveDialect._greet,
    replies.TopicsChanged: FoxgloveDialect._topics,
    replies.ServicesChanged: FoxgloveDialect._services,
    replies.CallDone: FoxgloveDialect._call_done,
    replies.ConnectionsChanged: FoxgloveDialect._connections,
    replies.AssetFetched: FoxgloveDialect._asset,
    replies.TimeTold: FoxgloveDialect._time,
    replies.ParametersTold: FoxgloveDialect._parameters_told,
    replies.ParametersSet: FoxgloveDialect._parameters_set,
    replies.PlaybackControlled: FoxgloveDialect._playback_controlled,
    replies.PlaybackChanged: FoxgloveDialect._playback_changed,
    replies.EstopChanged: FoxgloveDialect._stop,
    replies.Failed: FoxgloveDialect._failed,
}
"""The replies that this dialect has words for."""
