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
The services of ``/rosapi``, answered inside the bridge for the rosbridge dialect.

Each is a function of :data:`QUESTIONS`: it returns the response's fields, or ``None`` and calls
``done`` later. A question that is not answered in time ends with an error; nothing waits.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, TYPE_CHECKING

import orjson

from ws_bridge.bridge.parameters import absolute, ParameterAccess, Parameters
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.typedefs import short_name, typedefs
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.bridge.video_topics import video_topics
from ws_bridge.config.roles import is_hidden, Use
from ws_bridge.errors import BadName, TimedOut, UnknownName, WrongKind, WrongLength, WsBridgeError
from ws_bridge.protocol.operations import VIDEO_TYPE
from ws_bridge.protocol.replies import ParametersTold
from ws_bridge.protocol.rosbridge_ops import MAX_NAME
from ws_bridge.session.effects import AnswerQuestion, Effect
from ws_bridge.session.rights import Rights

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

Values = Mapping[str, Any]
Done = Callable[['Values | WsBridgeError'], None]
Apply = Callable[[Peer, list[Effect]], object]
MAX_TEXT = 1_000_000
ROS_VERSION = 2
NULL = 'null'


@dataclass(slots=True, eq=False)
class Pending:
    """A question that is not answered yet."""

    peer: Peer
    key: int
    timer: asyncio.TimerHandle


class ApiNames(Protocol):
    """How names become full ones; each raises ``BadName``."""

    def topic(self, name: str) -> str:
        """Expand and remap a topic."""

    def service(self, name: str) -> str:
        """Expand and remap a service or an action."""

    def node(self, name: str) -> str:
        """Expand the name of a node."""


class Look:
    """
    What one peer may see and ask: the robot through its rights.

    :param rights: the peer's.
    :param parameters: reaches the parameters of other nodes.
    :param names: makes full names of what the peer says.
    :param advertised: returns the topics of peers, which the graph may not show yet.
    """

    def __init__(self, ros: RosSide, rights: Rights, parameters: ParameterAccess,
                 names: ApiNames, advertised: Callable[[], dict[str, str]]) -> None:
        self.ros = ros
        self.names = names
        self.rights = rights
        self.parameters = parameters
        self._advertised = advertised

    def topics(self, *, hidden: bool = False) -> dict[str, str]:
        """Return the topics that the peer may use, with their (first) types; video is one."""
        types = {**self._advertised(), **{name: next(iter(info.types), '')
                                          for name, info in self.ros.graph.topics.items()}}
        shown = {name: types[name] for name in types if (hidden or not is_hidden(name))
                 and self.rights.shows(name, 'subscribe', 'publish')}
        videos = video_topics(self.ros.graph.topics, [
            name for name in shown if self.rights.find('subscribe', name) is not None])
        return dict(sorted({**shown, **dict.fromkeys(videos, VIDEO_TYPE)}.items()))

    def services(self, *, hidden: bool = False) -> dict[str, str]:
        """Return the services that the peer may call, with their (first) types."""
        return self._usable(self.ros.graph.services, 'call', hidden=hidden)

    def actions(self, *, hidden: bool = False) -> dict[str, str]:
        """Return the actions that the peer may send goals to, with their (first) types."""
        return self._usable(self.ros.graph.actions, 'goal', hidden=hidden)

    def _usable(self, names: Mapping[str, tuple[str, ...]], use: Use, *, hidden: bool
                ) -> dict[str, str]:
        return {name: next(iter(types), '') for name, types in sorted(names.items())
                if (hidden or not is_hidden(name)) and self.rights.shows(name, use)}

    def survey(self, done: Done, make: Callable[[Any], Values], question: str, *args: Any
               ) -> None:
        """Let the node answer; ``make`` turns what it found into the response's fields."""
        self.ros.survey(question, *args, on_done=lambda found: done(
            found if isinstance(found, WsBridgeError) else make(found)))


class RosApi(Unit):
    """
    Answers questions about the robot.

    :param parameters: reaches the parameters of nodes.
    :param apply: carries out the effects of a session.
    :param names: makes full names of what peers say.
    :param advertised: returns the topics that peers advertise, with their types.
    """

    def __init__(self, ros: RosSide, loop: asyncio.AbstractEventLoop, parameters: Parameters, *,
                 apply: Apply, names: ApiNames,
                 advertised: Callable[[], dict[str, str]]) -> None:
        self._ros = ros
        self._parameters = parameters
        self._loop = loop
        self._apply = apply
        self._advertised = advertised
        self._names = names
        self._pending: dict[tuple[str, int], Pending] = {}

    def __repr__(self) -> str:
        return f'RosApi({len(self._pending)} questions)'

    def ask(self, peer: Peer, wish: AnswerQuestion) -> None:
        """Answer a question; its end reaches the session, also when it cannot be asked."""
        key = peer.name, wish.key
        timer = self._loop.call_later(wish.timeout, self._end, key, TimedOut(
            f'no answer within {wish.timeout:g} s'))
        self._pending[key] = Pending(peer, wish.key, timer)
        if wish.question in UNSEEN:
            self._answer(peer, wish)
        else:   # what was made a moment ago, also by this peer, is to be seen
            self._ros.look_again(lambda: self._answer(peer, wish))

    def _answer(self, peer: Peer, wish: AnswerQuestion) -> None:
        key = peer.name, wish.key
        if key not in self._pending:
            return

        def done(result: Values | WsBridgeError) -> None:
            self._end(key, result)
        try:
            names, answer = _question(wish.question)
            rights = peer.session.login.rights
            if wish.question not in UNSEEN:
                rights.check_at_all('graph')
            look = Look(self._ros, rights, self._parameters.access(peer), self._names,
                        self._advertised)
            values = answer(look, _texts(names, wish.data), done)
        except WsBridgeError as exc:
            done(exc)
        else:
            if values is not None:
                done(values)

    def cancel(self, peer: Peer, key: int) -> None:
        """Forget a question whose peer left."""
        pending = self._pending.pop((peer.name, key), None)
        if pending is not None:
            pending.timer.cancel()

    def _end(self, key: tuple[str, int], result: Values | WsBridgeError) -> None:
        pending = self._pending.pop(key, None)
        if pending is None:
            return
        pending.timer.cancel()
        answer = result if isinstance(result, WsBridgeError) else orjson.dumps(result)
        self._apply(pending.peer, pending.peer.session.services.ended(pending.key, answer))

    EFFECTS: ClassVar[Effects] = {AnswerQuestion: ask}


Question = Callable[[Look, Any, Done], 'Values | None']


def _question(name: str) -> tuple[tuple[str, ...], Question]:
    found = QUESTIONS.get(name)
    if found is None:
        raise UnknownName(f'there is no /rosapi/{name[:MAX_NAME]}', field='service')
    return found


def _texts(names: tuple[str, ...], data: Any) -> dict[str, str]:
    """
    Return the arguments by name, each a text; what is missing is empty.

    :raises ConversionError: one is no text, or there are too many.
    """
    if isinstance(data, tuple):
        if len(data) > len(names):
            raise WrongLength(f'{len(data)} values for {len(names)} fields')
        data = dict(zip(names, data, strict=False))
    texts = {}
    for name in names:
        value = data.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > MAX_TEXT):
            raise WrongKind(f'must be text of at most {MAX_TEXT} characters', field=name)
        texts[name] = value or ''
    return texts


def _full(resolve: Callable[[str], str], args: Mapping[str, str], field: str) -> str:
    """
    Return the full name that an argument means: a relative one is below ``/`` here.

    :raises BadName: it is no name.
    """
    try:
        return resolve(absolute(args[field]))
    except BadName as exc:
        raise BadName(exc.message, field=field) from exc


def _is_type(full: str, wanted: str) -> bool:
    return full == wanted or short_name(full) == wanted


# ---- topics

def _topics(api: Look, args: Any, done: Done) -> Values:
    topics = api.topics()
    return {'topics': list(topics), 'types': list(topics.values())}


def _topics_for_type(api: Look, args: Any, done: Done) -> Values:
    return {'topics': [name for name, each in api.topics().items()
                       if _is_type(each, args['type'])]}


def _topics_and_raw_types(api: Look, args: Any, done: Done) -> None:
    topics = api.topics()
    types = tuple(topics.values())
    api.survey(done, lambda texts: {
        'topics': list(topics), 'types': types, 'typedefs_full_text': texts}, 'full_texts', types)


def _topic_type(api: Look, args: Any, done: Done) -> Values:
    return {'type': api.topics(hidden=True).get(_full(api.names.topic, args, 'topic'), '')}


def _publishers(api: Look, args: Any, done: Done) -> Values | None:
    return _users(api, args, done, 'publishers', 'publisher_nodes')


def _subscribers(api: Look, args: Any, done: Done) -> Values | None:
    return _users(api, args, done, 'subscribers', 'subscriber_nodes')


def _users(api: Look, args: Any, done: Done, field: str, question: str) -> Values | None:
    name = _full(api.names.topic, args, 'topic')
    if name not in api.topics(hidden=True):
        return {field: []}
    api.survey(done, lambda nodes: {field: api.rights.seen(nodes)}, question, name)
    return None


# ---- services, actions, nodes

def _services(api: Look, args: Any, done: Done) -> Values:
    return {'services': list(api.services())}


def _services_for_type(api: Look, args: Any, done: Done) -> Values:
    return {'services': [name for name, each in api.services().items()
                         if _is_type(each, args['type'])]}


def _service_type(api: Look, args: Any, done: Done) -> Values:
    return {'type': api.services(hidden=True).get(_full(api.names.service, args, 'service'), '')}


def _service_node(api: Look, args: Any, done: Done) -> Values | None:
    name = _full(api.names.service, args, 'service')
    if name not in api.services(hidden=True):
        return {'node': ''}
    api.survey(done, lambda nodes: {'node': next(iter(api.rights.seen(nodes)), '')},
               'service_nodes', name)
    return None


def _service_providers(api: Look, args: Any, done: Done) -> None:
    full = next((each for each in api.services().values() if _is_type(each, args['service'])),
                args['service'])
    api.survey(done, lambda nodes: {'providers': api.rights.seen(nodes)}, 'type_nodes', full)


def _action_servers(api: Look, args: Any, done: Done) -> Values:
    return {'action_servers': list(api.actions())}


def _action_type(api: Look, args: Any, done: Done) -> Values:
    return {'type': api.actions(hidden=True).get(_full(api.names.service, args, 'action'), '')}


def _nodes(api: Look, args: Any, done: Done) -> Values:
    return {'nodes': sorted(api.rights.seen(set(api.ros.graph.nodes)))}


def _node_details(api: Look, args: Any, done: Done) -> None:
    name = _full(api.names.node, args, 'node')
    if not api.rights.seen([name]):
        raise UnknownName(f'there is no node {name}', field='node')
    api.survey(done, lambda found: {
        key: [each for each in found[key] if api.rights.shows(each, *uses)]
        for key, uses in _DETAILS.items()}, 'node_details', name)


_DETAILS: dict[str, tuple[Use, ...]] = {
    'subscribing': ('subscribe', 'publish'), 'publishing': ('subscribe', 'publish'),
    'services': ('call',)}


# ---- types

def _interfaces(api: Look, args: Any, done: Done) -> None:
    api.survey(done, lambda found: {'interfaces': found}, 'interfaces')


def _message_details(api: Look, args: Any, done: Done) -> Values:
    return {'typedefs': typedefs(api.ros.types.message(args['type']))}


def _service_request_details(api: Look, args: Any, done: Done) -> Values:
    return {'typedefs': typedefs(api.ros.types.service(args['type']).request)}


def _service_response_details(api: Look, args: Any, done: Done) -> Values:
    return {'typedefs': typedefs(api.ros.types.service(args['type']).response)}


def _action_goal_details(api: Look, args: Any, done: Done) -> Values:
    return {'typedefs': typedefs(api.ros.types.action(args['type']).goal)}


def _action_result_details(api: Look, args: Any, done: Done) -> Values:
    return {'typedefs': typedefs(api.ros.types.action(args['type']).result)}


def _action_feedback_details(api: Look, args: Any, done: Done) -> Values:
    return {'typedefs': typedefs(api.ros.types.action(args['type']).feedback)}


# ---- parameters, the rest

# What a node refuses is an answer, not an error; values are JSON text.

def _get_param(api: Look, args: Any, done: Done) -> None:
    name, default = args['name'], args['default_value'] or args['default']

    def told(found: ParametersTold) -> None:
        text = orjson.dumps(found.parameters[0].value).decode() if found.parameters else \
            default or NULL
        done({'value': text, 'successful': bool(found.parameters),
              'reason': found.reasons.get(name, '')})
    api.parameters.get((name,), told)


def _set_param(api: Look, args: Any, done: Done) -> None:
    name = args['name']
    api.parameters.require((name,), write=True)
    try:
        value = orjson.loads(args['value'])
    except orjson.JSONDecodeError as exc:
        done({'successful': False, 'reason': f'the value is not JSON: {exc}'})
        return
    api.parameters.set({name: value}, partial(_refused, name, done))


def _refused(name: str, done: Done, reasons: Mapping[str, str]) -> None:
    done({'successful': name not in reasons, 'reason': reasons.get(name, '')})


def _has_param(api: Look, args: Any, done: Done) -> None:
    api.parameters.get((args['name'],), lambda told: done({'exists': bool(told.parameters)}))


def _delete_param(api: Look, args: Any, done: Done) -> None:
    api.parameters.delete(args['name'], partial(_refused, args['name'], done))


def _get_param_names(api: Look, args: Any, done: Done) -> None:
    api.parameters.names(lambda names: done({'names': names}))


def _get_time(api: Look, args: Any, done: Done) -> Values:
    sec, nanosec = api.ros.now()
    # secs and nsecs too: roslibpy knows only these
    return {'time': {'sec': sec, 'nanosec': nanosec, 'secs': sec, 'nsecs': nanosec}}


def _get_ros_version(api: Look, args: Any, done: Done) -> None:
    api.survey(done, lambda name: {'version': ROS_VERSION, 'distro': name}, 'distro')


UNSEEN = frozenset({'get_param', 'set_param', 'has_param', 'delete_param', 'get_param_names',
                    'get_time', 'get_ros_version'})
"""What is no question about the graph; parameters have rights of their own."""

QUESTIONS: dict[str, tuple[tuple[str, ...], Question]] = {
    'topics': ((), _topics),
    'topics_for_type': (('type',), _topics_for_type),
    'topics_and_raw_types': ((), _topics_and_raw_types),
    'topic_type': (('topic',), _topic_type),
    'publishers': (('topic',), _publishers),
    'subscribers': (('topic',), _subscribers),
    'services': ((), _services),
    'services_for_type': (('type',), _services_for_type),
    'service_type': (('service',), _service_type),
    'service_node': (('service',), _service_node),
    'service_providers': (('service',), _service_providers),
    'action_servers': ((), _action_servers),
    'action_type': (('action',), _action_type),
    'nodes': ((), _nodes),
    'node_details': (('node',), _node_details),
    'interfaces': ((), _interfaces),
    'message_details': (('type',), _message_details),
    'service_request_details': (('type',), _service_request_details),
    'service_response_details': (('type',), _service_response_details),
    'action_goal_details': (('type',), _action_goal_details),
    'action_result_details': (('type',), _action_result_details),
    'action_feedback_details': (('type',), _action_feedback_details),
    'get_param': (('name', 'default_value', 'default'), _get_param),
    'set_param': (('name', 'value'), _set_param),
    'has_param': (('name',), _has_param),
    'delete_param': (('name',), _delete_param),
    'get_param_names': ((), _get_param_names),
    'get_time': ((), _get_time),
    'get_ros_version': ((), _get_ros_version),
}
"""By the last part of the service's name: the fields of the request, and what answers it."""
