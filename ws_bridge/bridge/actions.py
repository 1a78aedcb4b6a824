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
"""Actions both ways: goals from peers to ROS, and from ROS to the peers that host actions."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TYPE_CHECKING

from ws_bridge.bridge.converter import Converter
from ws_bridge.bridge.handles import ActionServer, RunningGoal
from ws_bridge.bridge.peer import Peer, type_to_call
from ws_bridge.bridge.services import Apply
from ws_bridge.bridge.unit import Codecs, Effects, Unit
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema import by_name
from ws_bridge.errors import (
    AlreadyExists,
    Expired,
    LimitExceeded,
    Rejected,
    ServiceFailed,
    TypeMismatch,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.protocol.operations import About, STATUS_ABORTED
from ws_bridge.protocol.replies import ActionAdvertised, Failed, GoalCancelling
from ws_bridge.session.effects import (
    AbandonGoal,
    AnswerGoal,
    DropGoal,
    Effect,
    EndGoal,
    Feedback,
    HostAction,
    RequestCancel,
    StartGoal,
    UnhostAction,
)

if TYPE_CHECKING:
    from ws_bridge.ros.actions import GoalEnd
    from ws_bridge.ros.side import RosSide

FEEDBACK_DEPTH = 10
"""Feedback of one goal that waits for a slow connection, as ROS keeps it for a slow client."""


@dataclass(slots=True, eq=False)
class ActionHost:
    """A ROS action that a peer serves."""

    owner: Peer
    action_type: str
    feedback: Codec
    result: Codec
    server: ActionServer


class Unsent:
    """Stands for a goal while the graph is looked at again for its action."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self, on_answer: Callable[[WsBridgeError | None], None]) -> None:
        """Do not send it."""
        self.cancelled = True
        on_answer(None)

    def drop(self) -> None:
        """Do not send it, and tell nobody."""
        self.cancelled = True


class Actions(Unit):
    """
    All goals and all hosted actions.

    :param converter: writes what ROS says for peers.
    :param apply: carries out the effects of a session.
    :param now: monotonic time, s.
    :param patience: how long a server may take to accept or to cancel a goal, s.
    :param require_room: refuses one more entity of ROS where peers have too many.
    """

    def __init__(self, ros: RosSide, store: CodecStore, converter: Converter, *, apply: Apply,
                 now: Callable[[], float], patience: float,
                 require_room: Callable[[], None]) -> None:
        self._ros = ros
        self._store = store
        self._converter = converter
        self._apply = apply
        self._now = now
        self._patience = patience
        self._require_room = require_room
        self._goals: dict[tuple[str, int], tuple[str, RunningGoal]] = {}
        self._hosted: dict[str, ActionHost] = {}

    def __len__(self) -> int:
        """How many hosted actions there are."""
        return len(self._hosted)

    # ---- goals of peers

    def send(self, peer: Peer, wish: StartGoal) -> None:
        """Send a goal; its end reaches the session, also when it cannot be sent."""
        try:
            self._send(peer, wish)
        except (UnknownName, TypeMismatch):     # the action may be new, or anew
            unsent = Unsent()
            self._goals[peer.name, wish.key] = wish.action, unsent
            self._ros.look_again(lambda: self._send_at_last(peer, wish, unsent))
        except WsBridgeError as exc:
            self._apply(peer, peer.session.actions.ended(wish.key, exc))

    def _send_at_last(self, peer: Peer, wish: StartGoal, unsent: Unsent) -> None:
        self._goals.pop((peer.name, wish.key), None)
        if wish.key not in peer.session.actions.sent:
            return
        try:
            if unsent.cancelled:
                raise Rejected('it was cancelled before it was sent')
            self._send(peer, wish)
        except WsBridgeError as exc:
            self._apply(peer, peer.session.actions.ended(wish.key, exc))

    def _send(self, peer: Peer, wish: StartGoal) -> None:
        goals = peer.session.actions

        def on_accepted() -> None:
            self._apply(peer, goals.accepted(wish.key))

        def on_feedback(cdr: bytes) -> None:
            self._converter.encode(feedback, cdr, on_feedback_text,
                                   stream=(peer, 'feedback', wish.key), depth=FEEDBACK_DEPTH,
                                   on_drop=peer.link.note_dropped)

        def on_feedback_text(text: bytes | WsBridgeError) -> None:
            if isinstance(text, WsBridgeError):
                peer.send(Failed(None, text))
                return
            reply = goals.feedback(wish.key, text)
            now = peer.current
            for frame in now.frames_of(reply) if reply else ():
                now.link.send_stream(('feedback', wish.key), frame.data, FEEDBACK_DEPTH,
                                     text=frame.text)

        def on_done(end: GoalEnd | WsBridgeError) -> None:
            self._goals.pop((peer.name, wish.key), None)
            if isinstance(end, WsBridgeError):
                self._apply(peer, goals.ended(wish.key, end))
            else:
                self._converter.encode(result, end.result, partial(on_result_text, end.status))

        def on_result_text(status: int, text: bytes | WsBridgeError) -> None:
            self._apply(peer, goals.ended(wish.key, ServiceFailed(
                f'the result cannot be read: {text}') if isinstance(text, WsBridgeError) else
                (status, text)))

        action_type = self._type_of(wish)
        schema = self._ros.types.action(action_type)
        cdr = self._to_cdr(self._store.codec(schema.goal), by_name(schema.goal, wish.data))
        feedback = self._store.codec(schema.feedback)
        result = self._store.codec(schema.result)
        goal = self._ros.send_goal(
            wish.action, action_type, cdr, patience=self._patience, timeout=wish.timeout,
            on_accepted=on_accepted,
            on_feedback=on_feedback if wish.want_feedback else None, on_done=on_done)
        self._goals[peer.name, wish.key] = wish.action, goal

    def cancel(self, peer: Peer, wish: RequestCancel) -> None:
        """
        Have a goal cancelled; the peer is told when the server has agreed or refused.

        :raises Expired: it ended just now.
        """
        sent = self._goals.get((peer.name, wish.key))
        if sent is None:
            raise Expired(f'the goal {wish.goal_op_id!r} has ended', field='goal')
        sent[1].cancel(lambda why: peer.send(
            Failed(wish.op_id, why) if why else
            GoalCancelling(wish.op_id, wish.goal_op_id)))

    def abandon(self, peer: Peer, effect: AbandonGoal) -> None:
        """Cancel a goal whose peer left; its end is told all the same."""
        sent = self._goals.get((peer.name, effect.key))
        if sent is not None:
            sent[1].cancel(lambda why: None)

    def drop(self, peer: Peer, effect: DropGoal) -> None:
        """Cancel a goal whose peer left."""
        sent = self._goals.pop((peer.name, effect.key), None)
        if sent is not None:
            sent[1].drop()

    def cancel_all(self, of: Callable[[str], bool]) -> None:
        """Cancel the goals of some actions, whoever sent them; their ends are told as ever."""
        for action, goal in self._goals.values():
            if of(action):
                goal.cancel(lambda why: None)

    def _type_of(self, wish: StartGoal) -> str:
        hosted = self._hosted.get(wish.action)
        types = tuple(self._ros.graph.actions.get(wish.action, ())) or \
            ((hosted.action_type,) if hosted else ())
        asked = None if wish.action_type is None \
            else self._ros.types.action(wish.action_type).name
        return type_to_call('action', wish.action, asked, types)

    def _goal_codec(self, peer: Peer, wish: StartGoal) -> Codec:
        """
        Return what converts a goal.

        :raises WsBridgeError: there is no such action, or of another type.
        """
        return self._store.codec(self._ros.types.action(self._type_of(wish)).goal)

    def _feedback_codec(self, peer: Peer, wish: Feedback) -> Codec | None:
        """Return what converts a peer's feedback; ``None`` where it hosts the action no more."""
        hosted = self._owned(peer, wish.action)
        return None if hosted is None else hosted.feedback

    def _result_codec(self, peer: Peer, wish: EndGoal) -> Codec | None:
        """Return what converts a peer's result; ``None`` where it hosts the action no more."""
        hosted = self._owned(peer, wish.action)
        return None if hosted is None else hosted.result

    def _to_cdr(self, codec: Codec, values: Any) -> bytes:
        return codec.from_values(values, now=self._ros.now() if codec.uses_time else None)

    # ---- actions of peers

    def about(self, effect: Effect) -> About | None:
        """Return that an error is about an answer, for which somebody in ROS waits."""
        return About('answer', '') if isinstance(effect, Feedback | EndGoal) else None

    def _advertise(self, peer: Peer, wish: HostAction) -> None:
        """Host an action for a session, which forgets it where it cannot be had."""
        try:
            if not self.owned_by(peer, wish.action):
                self._require_room()
            self.host(peer, wish)
        except WsBridgeError:
            if not self.owned_by(peer, wish.action):
                peer.session.actions.forget(wish.action)
            raise

    def _unadvertise(self, peer: Peer, effect: UnhostAction) -> None:
        self.unhost(peer, effect.action)

    def host(self, peer: Peer, wish: HostAction) -> None:
        """
        Let a peer serve a ROS action, and acknowledge it; the newest owner wins.

        :raises UnknownType: the type is not on this machine.
        """
        schema = self._ros.types.action(wish.action_type)
        action, goals = wish.action, peer.session.actions
        self._replace(peer, action)
        goal = self._store.codec(schema.goal)

        def on_goal(token: int, cdr: bytes) -> None:
            self._converter.encode(goal, cdr, partial(on_goal_text, token))

        def on_goal_text(token: int, text: bytes | WsBridgeError) -> None:
            if isinstance(text, WsBridgeError):
                hosted.server.answer(token, accepted=False)
                peer.send(Failed(None, text))
                return
            self._apply(peer, goals.asked(action, wish.action_type, token, text, self._now()))

        def on_cancel(token: int) -> None:
            self._apply(peer, goals.cancelled(action, token))

        def on_error(exc: WsBridgeError) -> None:
            if isinstance(exc, LimitExceeded):  # only goals are rejected
                peer.send(Failed(None, exc))
                return
            if self._hosted.get(action) is hosted:
                del self._hosted[action]
                goals.forget(action)
            peer.send(Failed(wish.op_id, exc))

        def on_ready() -> None:
            peer.send(ActionAdvertised(wish.op_id, wish.wire_name, schema.name))

        hosted = ActionHost(
            peer, schema.name, self._store.codec(schema.feedback),
            self._store.codec(schema.result), self._ros.host_action(
                action, schema.name, on_goal=on_goal, on_error=on_error, on_ready=on_ready,
                on_cancel=on_cancel))
        self._hosted[action] = hosted

    def graph_changed(self) -> None:
        """End the hosted actions that others serve with another type."""
        for action, hosted in list(self._hosted.items()):
            types = self._ros.graph.actions.get(action)
            if types and hosted.action_type not in types:
                self.unhost(hosted.owner, action)
                hosted.owner.session.actions.forget(action)
                hosted.owner.send(Failed(None, TypeMismatch(
                    f'{action} is {" and ".join(types)}, not {hosted.action_type}',
                    field='type')))

    def _replace(self, peer: Peer, action: str) -> None:
        old = self._hosted.get(action)
        if old is None:
            return
        self.unhost(old.owner, action)
        if old.owner is peer:
            peer.session.actions.forget_goals(action)
        else:
            old.owner.session.actions.forget(action)
            old.owner.send(Failed(None, AlreadyExists(
                f'{action} is hosted by a newer peer now', field='action')))

    def hosts(self, action: str) -> bool:
        """Whether some peer hosts an action."""
        return action in self._hosted

    def owned_by(self, peer: Peer, action: str) -> bool:
        """Whether a peer hosts an action."""
        return self._owned(peer, action) is not None

    def unhost(self, peer: Peer, action: str) -> None:
        """End a hosted action, if the peer still owns it."""
        hosted = self._hosted.get(action)
        if hosted is not None and hosted.owner is peer:
            del self._hosted[action]
            hosted.server.close()

    def answer(self, peer: Peer, wish: AnswerGoal) -> None:
        """Pass on whether a peer accepts a goal."""
        hosted = self._owned(peer, wish.action)
        if hosted is not None:
            hosted.server.answer(wish.token, accepted=wish.accepted)

    def feedback(self, peer: Peer, wish: Feedback) -> None:
        """
        Publish a peer's feedback.

        :raises ConversionError: the values do not fit.
        """
        hosted = self._owned(peer, wish.action)
        if hosted is not None:
            hosted.server.feedback(wish.token, self._to_cdr(hosted.feedback, wish.values))

    def end(self, peer: Peer, wish: EndGoal) -> None:
        """
        Pass a peer's result on.

        :raises WsBridgeError: the values do not fit; the goal is then aborted.
        """
        hosted = self._owned(peer, wish.action)
        if hosted is None:
            return
        try:
            cdr = None if wish.values is None else self._to_cdr(hosted.result, wish.values)
        except WsBridgeError:
            hosted.server.finish(wish.token, STATUS_ABORTED, None)
            raise
        hosted.server.finish(wish.token, wish.status, cdr)

    def _owned(self, peer: Peer, action: str) -> ActionHost | None:
        hosted = self._hosted.get(action)
        return hosted if hosted is not None and hosted.owner is peer else None

    EFFECTS: ClassVar[Effects] = {
        StartGoal: send, RequestCancel: cancel, AbandonGoal: abandon, DropGoal: drop,
        HostAction: _advertise, UnhostAction: _unadvertise, AnswerGoal: answer,
        Feedback: feedback, EndGoal: end}
    CODECS: ClassVar[Codecs] = {
        StartGoal: _goal_codec, Feedback: _feedback_codec, EndGoal: _result_codec}
