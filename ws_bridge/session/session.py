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
One peer's life: what it subscribed to, owns, waits for and may do.  Pure: no clock, no I/O.

Operations go in with the monotonic time, effects come out (:mod:`ws_bridge.session.effects`);
the bridge carries them out and tells the parts of the session what became of them. The session
itself only finds the part that an operation is for.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from ws_bridge.config import Exposure, Settings, VERSION
from ws_bridge.config.roles import Use, USES
from ws_bridge.errors import AlreadyExists, BadField, NotAdvertised, WsBridgeError
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session import effects as fx
from ws_bridge.session.actions import PeerActions
from ws_bridge.session.allowance import Allowance
from ws_bridge.session.clock import PeerClock
from ws_bridge.session.gate_lookup import GateLookup, NoGates
from ws_bridge.session.heartbeats import Heartbeats
from ws_bridge.session.login import Login, open_to_all
from ws_bridge.session.names import Names
from ws_bridge.session.outbox import Outbox
from ws_bridge.session.parameters import PeerParameters
from ws_bridge.session.parts import Handlers, Part, table_of
from ws_bridge.session.publications import PeerPublications
from ws_bridge.session.services import PeerServices
from ws_bridge.session.subscriptions import PeerSubscriptions


class Session:
    """
    The state of one peer.

    :param peer: unique name of the peer.
    :param dialect: name of its dialect.
    :param settings: limits, timeouts and defaults.
    :param exposure: what peers may use.
    :param names: resolves names.
    :param now: monotonic time of the connection, s.
    :param unix_offset: Unix time at monotonic 0, s: wall clock steps change nothing.
    :param gates: knows the gates.
    :param login: who the peer is; without it anybody, who may do whatever is exposed.
    :param lease_mode: how the peer goes about leases.
    :param playback: what is replayed; ``None``: this is no replay.
    :param camera_of: returns the camera of which a topic is the video, where the peer gets it so.
    :ivar name: what the peer calls itself.
    :ivar reported_status: what it last said of itself.
    :ivar outbox: keeps replies that have not arrived; ``None`` where the peer does not come back.
    :ivar wants_status: whether it wants to be told of the robot's state.
    """

    def __init__(self, peer: str, dialect: str, *, settings: Settings, exposure: Exposure,
                 names: Names, now: float, unix_offset: float, gates: GateLookup | None = None,
                 login: Login | None = None, lease_mode: LeaseMode = 'native',
                 playback: replies.Span | None = None,
                 camera_of: Callable[[str], str | None] = lambda topic: None) -> None:
        self.peer = peer
        self.dialect = dialect
        self.lease_mode = lease_mode
        self.name = ''
        self.connected_at = now
        self.reported_status: Mapping[str, Any] = {}
        self.wants_status = False
        self.outbox: Outbox | None = None
        self._settings = settings
        self._names = names
        self._playback = playback
        self._gates = gates = gates or NoGates()
        self.login = login = login or open_to_all(exposure)
        self.clock = PeerClock(unix_offset)
        self.allowance = Allowance(settings, now)
        self.heartbeats = Heartbeats(settings, self.clock)
        self.subscriptions = PeerSubscriptions(settings, names, login, camera_of)
        self.publications = PeerPublications(settings, names, login, gates, self.clock)
        check_lease = partial(gates.check, peer, self.lease_mode)
        hosted: list[Sized] = []    # both parts count them, and refer to nothing that refers back
        self._hosted_count: Callable[[], int] = lambda: sum(map(len, hosted))
        self.services = PeerServices(peer, settings, names, login, check_lease, self.clock,
                                     self._hosted_count)
        self.actions = PeerActions(peer, settings, names, login, check_lease, self.clock,
                                   self._hosted_count)
        hosted += self.services.hosted, self.actions.hosted
        self.parameters = PeerParameters(settings, login)
        self._parts: tuple[Part, ...] = (
            self.subscriptions, self.publications, self.services, self.actions, self.parameters,
            login, self.allowance, self.heartbeats)
        # what waits for nothing is not asked again and again
        self._timed = [part for part in self._parts if type(part).deadlines is not Part.deadlines]
        self._handlers = table_of((type(self), *map(type, self._parts)))

    def __repr__(self) -> str:
        return (f'Session({self.peer}, {self.dialect}, name={self.name!r}, '
                f'{self.subscriptions!r}, {self.publications!r}, {self.services!r}, '
                f'{self.actions!r})')

    # ---- operations

    def receive(self, op: ops.Operation, now: float) -> list[fx.Effect]:
        """Return what follows from an operation of the peer; errors are replies too."""
        try:
            if not self.allowance.take(now):
                if type(op) is not ops.EmergencyStop:
                    return self._refuse(op, now)
                self.allowance.note_excess(now)     # it passes, but a flood of them ends
            self.login.admit(op)
            place, handle = self._handlers[type(op)]
            return handle(self._parts[place - 1] if place else self, op, now)
        except WsBridgeError as exc:
            op_id: str | None = getattr(op, 'op_id', None)
            return [fx.Send(replies.Failed(op_id, exc, ops.about(op)))]

    def resume(self, op: ops.Command, now: float) -> list[fx.Effect]:
        """Go on with a command for which the graph was looked at again."""
        try:
            self.login.admit(op)
            kind = self._kind_of(op.destination) or 'topic'
            return self._command(replace(op, kind=kind), now)
        except WsBridgeError as exc:
            return [fx.Send(replies.Failed(op.op_id, exc, ops.about(op)))]

    def _refuse(self, op: ops.Operation, now: float) -> list[fx.Effect]:
        """
        Refuse: each request by its own error, what asks for no answer by one error a second.

        A refused heartbeat is not answered, but it was heard: a peer that sends too much lives.
        """
        is_first = self.allowance.note_refusal(now)
        if self._wants_answer(op):
            raise self.allowance.error()
        effects = self.heartbeats.heard(now) \
            if isinstance(op, ops.Heartbeat) and not op.forgeable else []
        return effects + self.allowance.count_refusal(tell=is_first)

    def _wants_answer(self, op: ops.Operation) -> bool:
        if isinstance(op, ops.Command):
            kind = op.kind or self._kind_of(op.destination)
            return op.ack or kind not in ('topic', None)
        if isinstance(op, ops.ServiceAnswer):
            return op.error is None  # never answer an error with an error
        if isinstance(op, ops.Malformed):
            return op.op_id is not None
        return not isinstance(op, _COUNTED)

    def _kind_of(self, destination: str) -> ops.Kind | None:
        """Tell what a destination is; what the peer may not use is as if it were not there."""
        kind = self._names.kind_of(destination)
        use = _USES.get(kind) if kind else None
        if use is None or self.login.rights.find(use, self._names.service(destination)):
            return kind
        return None

    def _command(self, op: ops.Command, now: float) -> list[fx.Effect]:
        kind = op.kind or self._kind_of(op.destination)
        if kind == 'service':
            return self.services.call(op, now)
        if kind == 'action':
            if op.op_id is None:
                raise BadField('a goal needs one: all that follows names it',
                               field='metadata.message_id')
            return self.actions.send(ops.SendGoal(
                op.op_id, op.destination, None, op.data, True, op.stamp, op.ttl, op.timeout,
                op.epoch), now)
        topic = self._names.topic(op.destination)
        if kind is None and topic not in self.publications.topics and self._may_be_used(op, topic):
            return [fx.LookAgain(op)]
        return self.publications.publish(op, topic, now)

    def _may_be_used(self, op: ops.Command, topic: str) -> bool:
        """Whether the peer may command a destination, if only the graph had it."""
        find, name = self.login.rights.find, self._names.service(op.destination)
        return find('publish', topic) is not None or any(
            find(use, name) is not None for use in _USES.values())

    def _service_answer(self, op: ops.ServiceAnswer, now: float) -> list[fx.Effect]:
        """Take an answer to whatever this side sent: an error may be about a goal."""
        if op.error is not None and op.call_id in self.actions.working:
            return self.actions.failed(op.call_id)
        return self.services.answered(op)

    def _malformed(self, op: ops.Malformed, now: float) -> list[fx.Effect]:
        """Refuse it, unless it is a call for the emergency stop, whatever else is wrong in it."""
        about = op.about
        if about is None or about.kind != 'call' or not self.services.is_stop(about.name):
            raise op.error
        call = ops.Command(op.op_id, about.name, {}, 'service')
        self.login.admit(call)
        return self.services.call(call, now)

    def _unasked(self, op: ops.BinarySample | ops.Appeared, now: float) -> list[fx.Effect]:
        raise NotAdvertised('this side subscribes to nothing of this peer')

    def _hello(self, op: ops.Hello, now: float) -> list[fx.Effect]:
        if op.name is not None:
            self.name = op.name
        if op.greeting:
            return [fx.PeerChanged(), fx.Greeted()]
        return [fx.OfferResume(op.op_id) if op.resume and self._settings.resume_time else
                fx.Send(self.greeting(op.op_id, asked=True)), fx.PeerChanged(),
                *([fx.TakesPieces()] if op.pieces else [])]

    def _resume(self, op: ops.ComeBack, now: float) -> list[fx.Effect]:
        """Let the peer go on with another session, in place of this one, which has nothing."""
        if any((self.subscriptions.names, self.publications.topics, self.services.calls,
                self.actions.sent, self._hosted_count())):
            raise AlreadyExists('this connection has a session of its own by now: resume before '
                                'anything else')
        if op.session == self.peer:
            raise BadField('is the session of this connection', field='data.session')
        return [fx.ResumeSession(op)]

    def _describe(self, op: ops.ListNames | ops.GetSchema, now: float) -> list[fx.Effect]:
        self.login.rights.check_at_all('graph')
        return [fx.Describe(op)]

    def _diagnose(self, op: ops.Diagnose, now: float) -> list[fx.Effect]:
        self.login.rights.check_at_all('graph')
        topic = None if op.topic is None else self._names.topic(op.topic)
        return [fx.RunDiagnosis(op.op_id, topic, op.topic, op.use)]

    def _watch_status(self, op: ops.WatchStatus, now: float) -> list[fx.Effect]:
        self.wants_status = op.subscribe
        done = fx.Send(replies.StatusWatched(op.op_id, op.subscribe))
        return [done, fx.StatusWanted()] if op.subscribe else [done]

    def _watch_connections(self, op: ops.WatchConnections, now: float) -> list[fx.Effect]:
        self.login.rights.check_at_all('graph')
        return [fx.ConnectionsWatched(op.watch)]

    def _fetch_asset(self, op: ops.FetchAsset, now: float) -> list[fx.Effect]:
        """Have a file read for a peer that may look at the robot: the file is a part of that."""
        self.login.rights.check_at_all('subscribe')
        return [fx.ReadAsset(op.op_id, op.uri)]

    def _of_viewers(self, op: ops.ControlPlayback | ops.AddToTable, now: float
                    ) -> list[fx.Effect]:
        """
        Let whoever may look control a replay, and have a file made of a table.

        All look at the same replay; what stands in a table its sender has already.
        """
        self.login.rights.check_at_all('subscribe')
        return [fx.SetPlayback(op) if isinstance(op, ops.ControlPlayback)
                else fx.AddToExport(op)]

    def _peer_status(self, op: ops.PeerStatus, now: float) -> list[fx.Effect]:
        self.reported_status = op.data
        return [fx.PeerChanged()]

    def _control(self, op: ops.ListGates | ops.LeaseOperation | ops.EmergencyStop | ops.ClearStop,
                 now: float) -> list[fx.Effect]:
        return [fx.ControlOperation(op)]

    HANDLERS: ClassVar[Handlers] = {
        ops.Command: _command, ops.ServiceAnswer: _service_answer, ops.Malformed: _malformed,
        ops.BinarySample: _unasked, ops.Appeared: _unasked, ops.Hello: _hello,
        ops.ComeBack: _resume,
        ops.ListNames: _describe, ops.GetSchema: _describe, ops.Diagnose: _diagnose,
        ops.WatchConnections: _watch_connections, ops.FetchAsset: _fetch_asset,
        ops.ControlPlayback: _of_viewers, ops.AddToTable: _of_viewers,
        ops.WatchStatus: _watch_status, ops.PeerStatus: _peer_status, ops.ListGates: _control,
        ops.LeaseOperation: _control, ops.EmergencyStop: _control, ops.ClearStop: _control}

    # ---- time and end

    def deadline(self) -> float | None:
        """Return when :meth:`poll` is due next, monotonic seconds."""
        earliest: float | None = None
        for part in self._timed:
            for due in part.deadlines():
                if earliest is None or due < earliest:
                    earliest = due
        return earliest

    def poll(self, now: float) -> list[fx.Effect]:
        """Return what the passing of time brings: heartbeats, changes of liveness."""
        return [effect for part in self._timed for effect in part.poll(now)]

    def leave(self) -> list[fx.Effect]:
        """Return the effects that take back what does not wait for the peer to come back."""
        return [*self.services.leave(), *self.actions.leave(), *self.parameters.close()]

    def come_back(self, other: Session, now: float) -> list[fx.Effect]:
        """
        Go on, on a new connection: with its login, its clock and its heartbeats.

        :param other: the session that was begun there, which has nothing of its own.
        :return: the effects that take back what the peer may not have any more.
        """
        self.login.take_over(other.login)
        self.clock.timesync = other.clock.timesync
        self.heartbeats.take_over(other.heartbeats)
        self.connected_at = now
        return [*self.subscriptions.forbidden(), *self.publications.forbidden()]

    def close(self) -> list[fx.Effect]:
        """Return the effects that take back everything the peer made."""
        return [effect for part in self._parts for effect in part.close()]

    # ---- what others are told

    def greeting(self, op_id: str | None = None, *, asked: bool = False,
                 secret: str | None = None) -> replies.Greeting:
        """
        Return what the peer is told of the bridge and of its rights; before a login less.

        :param secret: what it can come back with.
        """
        settings, login = self._settings, self.login
        return replies.Greeting(
            op_id, asked, self.peer, settings.robot_name, VERSION, settings.heartbeat_interval,
            settings.heartbeat_timeout, settings.limits, login.rights.allowed(),
            login.rights.role.name, login.state,
            None if login.needed else self._gates.describe(login.rights),
            tuple(use for use in USES if login.may(use)), self._playback,
            settings.resume_time, secret)

    def describe(self, now: float) -> replies.PeerState:
        """Return what other peers and ROS are shown about this one."""
        sync = self.clock.timesync
        return replies.PeerState(
            self.peer, self.name, self.dialect,
            self.login.identity.name if self.login.identity else None,
            self.login.rights.role.name, round(now - self.connected_at, 3),
            self.heartbeats.state_name, sync.round_trip, sync.offset, sync.jitter)


_USES: Mapping[ops.Kind, Use] = {'service': 'call', 'action': 'goal'}
"""What the destination of a command is used for, unless it is a topic."""

_COUNTED = (ops.BinaryPublish, ops.BinarySample, ops.Heartbeat, ops.Appeared, ops.ActionFeedback,
            ops.PictureShown, ops.Nothing)
"""What is refused by count when it comes too fast, and publications; else by its own error."""
