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
"""Services both ways: calls from peers to ROS, and from ROS to the peers that host them."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import logging
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.converter import Converter
from ws_bridge.bridge.handles import RunningCall, ServiceServer
from ws_bridge.bridge.peer import Peer, type_to_call
from ws_bridge.bridge.unit import Codecs, Effects, Unit
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema import by_name
from ws_bridge.errors import (
    AlreadyExists,
    Forbidden,
    LimitExceeded,
    PeerGone,
    ServiceFailed,
    TypeMismatch,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.operations import About
from ws_bridge.protocol.replies import Failed, ServiceAdvertised
from ws_bridge.session.effects import (
    AnswerService,
    CallService,
    CancelCall,
    Effect,
    Host,
    Unhost,
)

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

GOALS_REMEMBERED = 100
"""Goals of an action that were sent by its own service; what ended by itself is among them."""
SEND_GOAL, CANCEL_GOAL = '/_action/send_goal', '/_action/cancel_goal'
CANCEL_TYPE = 'action_msgs/srv/CancelGoal'
CANCEL_TIMEOUT = 5.0  # s
CDR_HEADER, UUID_SIZE = 4, 16
NO_OPTIONS, NO_STAMP = b'\0\1\0\0', bytes(8)

logger = logging.getLogger(__name__)

Apply = Callable[[Peer, list[Effect]], object]


@dataclass(slots=True, eq=False)
class HostedService:
    """A ROS service that a peer answers."""

    owner: Peer
    srv_type: str
    response: Codec
    server: ServiceServer


def _log_failure(action: str, result: bytes | WsBridgeError) -> None:
    if isinstance(result, WsBridgeError):
        logger.error('a goal of %s was not cancelled: %s', action, result)


class Services(Unit):
    """
    All calls and all hosted services.

    :param converter: writes what ROS says for peers.
    :param apply: carries out the effects of a session.
    :param now: monotonic time, s.
    :param cancel_question: forgets a question to the bridge; the session counts it as a call.
    :param require_room: refuses one more entity of ROS where peers have too many.
    """

    def __init__(self, ros: RosSide, store: CodecStore, converter: Converter, *, apply: Apply,
                 now: Callable[[], float], cancel_question: Callable[[Peer, int], None],
                 require_room: Callable[[], None]) -> None:
        self._ros = ros
        self._store = store
        self._converter = converter
        self._apply = apply
        self._now = now
        self._cancel_question = cancel_question
        self._require_room = require_room
        self._calls: dict[tuple[str, int], RunningCall] = {}
        self._hosted: dict[str, HostedService] = {}
        self._goals: dict[str, deque[bytes]] = {}

    def __len__(self) -> int:
        """How many hosted services there are."""
        return len(self._hosted)

    def call(self, peer: Peer, wish: CallService) -> None:
        """Start a call; its end reaches the session, also when it cannot be started."""
        try:
            self._call(peer, wish)
        except (UnknownName, TypeMismatch):     # the service may be new, or anew
            self._ros.look_again(lambda: self._call_at_last(peer, wish))
        except WsBridgeError as exc:
            self._apply(peer, peer.session.services.ended(wish.key, exc))
        own = peer.session.login.rights.policy.own
        if wish.service in (own.stop, own.clear_stop):  # after the call: no disk holds up a stop
            # what follows in the audit log is what a node asks for: this one
            peer.ledger.often('called', peer=peer.name, address=peer.link.address,
                              name=peer.shown_name, action=wish.service)

    def _call_at_last(self, peer: Peer, wish: CallService) -> None:
        services = peer.session.services
        if wish.key not in services.calls:
            return
        try:
            if peer.has_left:       # its session waits, or goes on: a call does not begin so late
                raise PeerGone('the connection ended before this was called')
            services.check_again(wish)
            self._call(peer, wish)
        except WsBridgeError as exc:
            self._apply(peer, peer.session.services.ended(wish.key, exc))

    def _call(self, peer: Peer, wish: CallService) -> None:
        key = peer.name, wish.key

        def on_done(result: bytes | WsBridgeError) -> None:
            self._calls.pop(key, None)
            if isinstance(result, WsBridgeError):
                self._apply(peer, peer.session.services.ended(wish.key, result))
            else:
                self._converter.encode(response, result, on_text, encoding=wish.encoding)

        def on_text(text: bytes | WsBridgeError) -> None:
            if isinstance(text, WsBridgeError):
                text = ServiceFailed(f'the response cannot be read: {text}')
            self._apply(peer, peer.session.services.ended(wish.key, text))

        srv_type = self._type_of(wish)
        peer.session.login.rights.check_type(wish.service, srv_type)
        schema = self._ros.types.service(srv_type)
        request = self._request_codec(peer, wish)
        response = self._store.codec(schema.response)
        now = self._ros.now() if request.uses_time else None
        if isinstance(wish.data, memoryview):
            cdr = ENCODINGS[wish.encoding].decode(request, wish.data, now)
        else:
            cdr = request.from_values(by_name(schema.request, wish.data), now=now)
        self._calls[key] = self._ros.call(wish.service, srv_type, cdr, wish.timeout, on_done)
        self._note_goal(wish.service, cdr)

    def _note_goal(self, service: str, cdr: bytes) -> None:
        """Remember a goal that was sent by its action's own service, to cancel it."""
        if service.endswith(SEND_GOAL):
            action = service.removesuffix(SEND_GOAL)
            goals = self._goals.setdefault(action, deque(maxlen=GOALS_REMEMBERED))
            goals.append(cdr[CDR_HEADER:CDR_HEADER + UUID_SIZE])

    def cancel_goals(self, of: Callable[[str], bool]) -> None:
        """Cancel the goals of some actions that peers sent by the actions' own services."""
        for action in [action for action in self._goals if of(action)]:
            for goal_id in self._goals.pop(action):
                self._ros.call(action + CANCEL_GOAL, CANCEL_TYPE, NO_OPTIONS + goal_id + NO_STAMP,
                               CANCEL_TIMEOUT, partial(_log_failure, action))

    def _request_codec(self, peer: Peer, wish: CallService) -> Codec:
        """
        Return what converts the request of a call.

        :raises WsBridgeError: there is no such service, or of another type.
        """
        return self._store.codec(self._ros.types.service(self._type_of(wish)).request)

    def _response_codec(self, peer: Peer, wish: AnswerService) -> Codec | None:
        """Return what converts a peer's answer; ``None`` where it answers nothing any more."""
        return self._hosted[wish.service].response if self.owned_by(peer, wish.service) else None

    def about(self, effect: Effect) -> About | None:
        """Return that an error is about an answer, for which somebody in ROS waits."""
        return About('answer', '') if isinstance(effect, AnswerService) else None

    def _cancel(self, peer: Peer, effect: CancelCall) -> None:
        """Forget a call, or a question, whose peer left."""
        call = self._calls.pop((peer.name, effect.key), None)
        if call is not None:
            call.cancel()
        self._cancel_question(peer, effect.key)

    def _type_of(self, wish: CallService) -> str:
        hosted = self._hosted.get(wish.service)
        types = tuple(self._ros.graph.services.get(wish.service, ())) or \
            ((hosted.srv_type,) if hosted else ())
        asked = None if wish.srv_type is None else self._ros.types.service(wish.srv_type).name
        return type_to_call('service', wish.service, asked, types)

    def _advertise(self, peer: Peer, wish: Host) -> None:
        """Host a service for a session, which forgets it where it cannot be had."""
        try:
            if not self.owned_by(peer, wish.service):
                self._require_room()
            self.host(peer, wish)
        except WsBridgeError:
            if not self.owned_by(peer, wish.service):
                peer.session.services.forget(wish.service)
            raise

    def _unadvertise(self, peer: Peer, effect: Unhost) -> None:
        self.unhost(peer, effect.service)

    def host(self, peer: Peer, wish: Host) -> None:
        """
        Let a peer serve a ROS service, and acknowledge it; the newest owner wins.

        :raises Forbidden: the service is the bridge's own.
        :raises UnknownType: the type is not on this machine.
        """
        if wish.service in self._ros.own.services:
            raise Forbidden(f'{wish.service} is served by the bridge itself', field='service')
        schema = self._ros.types.service(wish.srv_type)
        old = self._hosted.get(wish.service)
        if old is not None:
            self.unhost(old.owner, wish.service)
            if old.owner is not peer:
                old.owner.session.services.forget(wish.service)
                old.owner.send(Failed(None, AlreadyExists(
                    f'{wish.service} is hosted by a newer peer now', field='service')))
        request = self._store.codec(schema.request)

        def on_request(token: int, cdr: bytes) -> None:
            self._converter.encode(request, cdr, lambda text: on_text(token, text))

        def on_text(token: int, text: bytes | WsBridgeError) -> None:
            if isinstance(text, WsBridgeError):
                peer.send(Failed(None, text))
                return
            self._apply(peer, peer.session.services.called(
                wish.service, token, text, self._now()))

        def on_error(exc: WsBridgeError) -> None:
            fatal = not isinstance(exc, LimitExceeded)
            if fatal and self._hosted.get(wish.service) is hosted:
                del self._hosted[wish.service]
                peer.session.services.forget(wish.service)
            peer.send(Failed(wish.op_id, exc))

        def on_ready() -> None:
            peer.send(ServiceAdvertised(wish.op_id, wish.wire_name, schema.name))

        hosted = HostedService(
            peer, schema.name, self._store.codec(schema.response),
            self._ros.host(wish.service, schema.name, on_request, on_error, on_ready))
        self._hosted[wish.service] = hosted

    def graph_changed(self) -> None:
        """End the hosted services that others serve with another type."""
        for service, hosted in list(self._hosted.items()):
            types = self._ros.graph.services.get(service)
            if types and hosted.srv_type not in types:
                self.unhost(hosted.owner, service)
                hosted.owner.session.services.forget(service)
                hosted.owner.send(Failed(None, TypeMismatch(
                    f'{service} is {" and ".join(types)}, not {hosted.srv_type}', field='type')))

    def owned_by(self, peer: Peer, service: str) -> bool:
        """Whether it is this peer that hosts a service."""
        return service in self._hosted and self._hosted[service].owner is peer

    def hosts(self, service: str) -> bool:
        """Whether some peer hosts a service."""
        return service in self._hosted

    def unhost(self, peer: Peer, service: str) -> None:
        """End a hosted service, if the peer still owns it."""
        hosted = self._hosted.get(service)
        if hosted is not None and hosted.owner is peer:
            del self._hosted[service]
            hosted.server.close()

    def answer(self, peer: Peer, wish: AnswerService) -> None:
        """
        Pass a peer's answer on to the ROS caller.

        :raises ConversionError: the values do not fit; the caller then gets no answer.
        """
        hosted = self._hosted.get(wish.service)
        if hosted is None or hosted.owner is not peer:
            return
        codec = hosted.response
        hosted.server.reply(wish.token, codec.from_values(
            wish.values, now=self._ros.now() if codec.uses_time else None))

    EFFECTS: ClassVar[Effects] = {
        CallService: call, CancelCall: _cancel, Host: _advertise, Unhost: _unadvertise,
        AnswerService: answer}
    CODECS: ClassVar[Codecs] = {CallService: _request_codec, AnswerService: _response_codec}
