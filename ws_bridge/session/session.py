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
the bridge carries them out and tells the session what became of them.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any, Protocol

from ws_bridge.access import Use
from ws_bridge.config import Exposure, Rule, Settings, VERSION
from ws_bridge.errors import (
    BadField,
    Expired,
    LimitExceeded,
    NotAdvertised,
    RateLimited,
    TypeMismatch,
    WsBridgeError,
)
from ws_bridge.identity.identity import Identity
from ws_bridge.protocol import operations as ops
from ws_bridge.session import effects as fx
from ws_bridge.session.goals import Goals
from ws_bridge.session.goals import HANDLERS as GOAL_HANDLERS
from ws_bridge.session.keeper import Keeper, NoGates
from ws_bridge.session.limits import below
from ws_bridge.session.login import Login, open_to_all, POLICY_VIOLATION
from ws_bridge.session.rights import Rights
from ws_bridge.session.wishes import Wishes
from ws_bridge.timing.bucket import Bucket
from ws_bridge.timing.liveness import Liveness, LivenessState
from ws_bridge.timing.timesync import TimeSync

BEATS_REMEMBERED = 16
MAX_QUESTIONS = 1000
"""Questions of one peer that wait, beside those that are asked: pages ask many at once."""
REFUSAL_INTERVAL = 1.0
"""A peer over its rate is told so once in this time, with the count."""
FLOOD = 5
"""In so many of these times after each other twice what it may send: then it has to leave."""


class Names(Protocol):
    """How names become fully qualified ones; ``topic`` and ``service`` raise ``BadName``."""

    def topic(self, name: str) -> str:
        """Expand and remap a topic, or find the topic of a channel's friendly name."""

    def service(self, name: str) -> str:
        """Expand and remap a service."""

    def kind_of(self, name: str) -> ops.Kind | None:
        """Tell what the graph has under this name; a topic where it has both."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A call from ROS that this peer has to answer until ``deadline``."""

    service: str
    token: object
    deadline: float


class Session:
    """
    The state of one peer.

    :param peer: unique name of the peer.
    :param dialect: name of its dialect.
    :param settings: limits, timeouts and defaults.
    :param exposure: what peers may use.
    :param login: who the peer is; without it anybody, who may do whatever is exposed.
    :param names: resolves names.
    :param now: monotonic time of the connection, s.
    :param epoch: Unix time at monotonic 0, s: wall clock steps change nothing.
    :param keeper: knows the gates.
    :ivar manner: how the peer goes about leases: its dialect, or ``seed`` where it speaks the
        native one as a program does that knows of none.
    """

    def __init__(self, peer: str, dialect: str, *, settings: Settings, exposure: Exposure,
                 names: Names, now: float, epoch: float, keeper: Keeper | None = None,
                 login: Login | None = None) -> None:
        self.peer = peer
        self.dialect = dialect
        self.manner = dialect
        self.name = ''
        self.connected_at = now
        self.told: Mapping[str, Any] = {}
        self.wants_status = False
        self.beats = False
        self.subscriptions: dict[str, str] = {}   # by the names that the peer used
        self.advertised: dict[str, bool] = {}
        self.hosted: dict[str, str] = {}
        self.calls: dict[int, tuple[str | None, str]] = {}
        self.liveness: Liveness | None = None
        self.timesync = TimeSync()
        self.refused = 0
        self._settings = settings
        self.login = login or open_to_all(exposure)
        self._names = names
        self._epoch = epoch
        self._keeper = keeper or NoGates()
        self.goals = Goals(peer, settings, names, self._rule)
        self._keys = count(1)
        self._wishes = Wishes()
        self._advertisers: dict[str, set[str | None]] = {}
        self._channels: dict[int, str] = {}
        self._waiting: dict[str, Hosted] = {}
        self._questions: deque[tuple[tuple[str | None, str], fx.Inquire]] = deque()
        self._bucket = Bucket(settings.max_message_rate, now)
        self._bytes = Bucket(settings.max_byte_rate, now, settings.max_message_size)
        self._refusals_due: float | None = None
        self._refusals = 0
        self._refused_lately = 0
        self._refused_bytes = 0
        self._floods = 0
        self._beat = 0
        self._beats_sent: dict[int, float] = {}
        self._last_heard: tuple[int, float, float] | None = None
        self._next_beat = now + settings.heartbeat_interval

    def __repr__(self) -> str:
        return (f'Session({self.peer}, {self.dialect}, name={self.name!r}, '
                f'subscriptions={len(self.subscriptions)}, advertised={len(self.advertised)}, '
                f'hosted={len(self.hosted)}, calls={len(self.calls)})')

    # ---- operations

    def receive(self, op: ops.Operation, now: float) -> list[fx.Effect]:
        """Return what follows from an operation of the peer; errors are replies too."""
        try:
            if not self._bucket.take(now):
                if type(op) is not ops.EmergencyStop:
                    return self._over_rate(op, now)
                # It passes, but who floods with it has to leave.
                self._refused_lately += 1
                self._refusals_due = self._refusals_due or now + REFUSAL_INTERVAL
            self.login.admit(op)
            return _HANDLERS[type(op)](self, op, now)
        except WsBridgeError as exc:
            op_id: str | None = getattr(op, 'op_id', None)
            return [fx.Send(ops.Failed(op_id, exc, _about(op)))]

    def resume(self, op: ops.Command, now: float) -> list[fx.Effect]:
        """Go on with a command for which the graph was looked at again."""
        try:
            self.login.admit(op)
            kind = self._kind_of(op.destination) or 'topic'
            return self._command(replace(op, kind=kind), now)
        except WsBridgeError as exc:
            return [fx.Send(ops.Failed(op.op_id, exc, _about(op)))]

    def weigh(self, size: int, now: float) -> list[fx.Effect] | None:
        """Return what follows from a frame that is too much to be read, ``None`` if it is not."""
        if self._bytes.take(now, size):
            return None
        first = self._note_refusal(now)
        self._refused_bytes += size
        self._refusals += 1
        return self._tell_refusals() if first else []

    def _note_refusal(self, now: float) -> bool:
        """Count a refusal; whether it is the first in a while."""
        self.refused += 1
        self._refused_lately += 1
        first = self._refusals_due is None
        if first:
            self._refusals_due = now + REFUSAL_INTERVAL
        return first

    def _over_rate(self, op: ops.Operation, now: float) -> list[fx.Effect]:
        """
        Refuse: each request by its own error, what asks for no answer by one error a second.

        A refused heartbeat is not answered, but it was heard: who sends too much is not dead.
        """
        first = self._note_refusal(now)
        if self._wants_answer(op):
            raise RateLimited(f'more than {self._settings.max_message_rate:g} messages a second')
        effects = self._heard(now) if isinstance(op, ops.Heartbeat) else []
        self._refusals += 1
        return effects + self._tell_refusals() if first else effects

    def _wants_answer(self, op: ops.Operation) -> bool:
        if isinstance(op, ops.Command):
            kind = op.kind or self._kind_of(op.destination)
            return op.ack or kind not in ('topic', None)
        if isinstance(op, ops.ServiceAnswer):
            return op.error is None  # never answer an error with an error
        if isinstance(op, ops.Malformed):
            return op.op_id is not None
        return not isinstance(op, _COUNTED)

    def _tell_refusals(self) -> list[fx.Effect]:
        number, self._refusals = self._refusals, 0
        error = RateLimited(f'{number} messages were refused: more than '
                            f'{self._settings.max_message_rate:g}, or '
                            f'{self._settings.max_byte_rate:g} bytes, a second')
        return [fx.Send(ops.Failed(None, error))]

    def _malformed(self, op: ops.Malformed, now: float) -> list[fx.Effect]:
        raise op.error

    def _unasked(self, op: ops.BinarySample | ops.Appeared, now: float) -> list[fx.Effect]:
        raise NotAdvertised('this side subscribes to nothing of this peer')

    def _hello(self, op: ops.Hello, now: float) -> list[fx.Effect]:
        if op.name is not None:
            self.name = op.name
        if op.greeting:
            return [fx.PeerChanged(), fx.Greeted()]
        return [fx.Send(ops.Welcome(op.op_id, self.hello(), asked=True)), fx.PeerChanged()]

    def hello(self) -> dict[str, Any]:
        """Return what a peer is told about the bridge and about what it may do; strangers less."""
        return {
            'op': 'hello', 'dialect': 'ws_bridge.v1', 'session': self.peer,
            'robot': self._settings.robot_name, 'version': VERSION,
            'encodings': ['json', 'cbor', 'cdr'],
            'capabilities': ['subscribe', 'publish', 'call', 'host', 'actions', 'list', 'schema',
                             'diagnose', 'status', 'lease', 'estop'],
            'heartbeat': {'interval': self._settings.heartbeat_interval,
                          'timeout': self._settings.heartbeat_timeout},
            'limits': asdict(self._settings.limits),
            'allowed': self.login.rights.allowed(), 'role': self.login.rights.role.name,
            'login': self.login.word,
            **({} if self.login.needed else self._keeper.describe(self.login.rights)),
        }

    def _describe(self, op: ops.ListNames | ops.GetSchema, now: float) -> list[fx.Effect]:
        self.login.rights.check_at_all('graph')
        return [fx.Describe(op)]

    def _diagnose(self, op: ops.Diagnose, now: float) -> list[fx.Effect]:
        self.login.rights.check_at_all('graph')
        topic = None if op.topic is None else self._names.topic(op.topic)
        return [fx.Diagnose(op.op_id, topic, op.topic, op.use)]

    def _rule(self, use: Use, name: str, field: str) -> Rule:
        return self.login.rights.check(use, name, field)

    def _subscribe(self, op: ops.Subscribe, now: float) -> list[fx.Effect]:
        topic = self._names.topic(op.topic)
        rule = self._rule('subscribe', topic, 'topic')
        if op.topic not in self.subscriptions:
            below(len(self.subscriptions), self._settings.max_subscriptions, 'subscriptions')
        if op.key is not None and not self._wishes.has(op.topic, op.key):
            below(len(self._wishes), self._settings.max_subscriptions, 'subscriptions')
        msg_type = _type_of(op.msg_type, rule)
        interval = op.min_interval or 0.0
        if rule.max_rate:
            interval = max(interval, 1.0 / rule.max_rate)
        depth = op.queue_depth or rule.queue_depth or self._settings.queue_depth
        self.subscriptions[op.topic] = topic
        encoding: Any = op.encoding or rule.encoding or 'json'
        wish = fx.OpenSubscription(
            op.op_id, topic, op.topic, msg_type, encoding, interval, depth, op.qos,
            op.want_schema, op.fragment_size, op.key)
        return [self._wishes.add(wish)]

    def _unsubscribe(self, op: ops.Unsubscribe, now: float) -> list[fx.Effect]:
        topic = self._names.topic(op.topic)
        # by the name that was used, else by another one for the same topic
        name = op.topic if op.topic in self.subscriptions else next(
            (name for name, of in self.subscriptions.items() if of == topic), None)
        if name is None:
            raise NotAdvertised(f'{op.topic} is not subscribed to', field='topic')
        rest = self._wishes.remove(name, op.key)
        if rest is None:
            del self.subscriptions[name]
        return [rest or fx.CloseSubscription(topic, name),
                fx.Send(ops.Done(op.op_id, 'unsubscribe', {'topic': op.topic}))]

    def forget_subscription(self, name: str) -> None:
        """Take back a subscription that ROS refused; ``name`` as the peer used it."""
        self.subscriptions.pop(name, None)
        self._wishes.forget(name)

    def forget_wish(self, name: str, key: str | None) -> None:
        """Take back one wish that was refused; the subscription stands for the others."""
        self._wishes.refused(name, key)

    def _advertise(self, op: ops.Advertise, now: float) -> list[fx.Effect]:
        topic = self._names.topic(op.topic)
        msg_type = _type_of(op.msg_type, self._rule('publish', topic, 'topic'))
        fresh = op.key not in self._advertisers.get(topic, ())
        if fresh and op.key is not None:
            below(sum(map(len, self._advertisers.values())),
                  self._settings.max_advertisements, 'advertisements')
        effect = self._note_publisher(fx.OpenPublisher(
            op.op_id, topic, op.topic, msg_type, op.qos, True, op.key, fresh))
        self._advertisers.setdefault(topic, set()).add(op.key)
        return [effect]

    def _note_publisher(self, effect: fx.OpenPublisher) -> fx.OpenPublisher:
        """Count a publisher that is about to be made."""
        if effect.topic not in self.advertised:
            below(len(self.advertised), self._settings.max_advertisements, 'advertisements')
        self.advertised[effect.topic] = effect.asked
        return effect

    def _unadvertise(self, op: ops.Unadvertise, now: float) -> list[fx.Effect]:
        topic = self._names.topic(op.topic)
        if topic not in self.advertised:
            raise NotAdvertised(f'{op.topic} is not advertised', field='topic')
        done = fx.Send(ops.Done(op.op_id, 'unadvertise', {'topic': op.topic}))
        keys = self._advertisers.get(topic, set())
        if op.key in keys and len(keys) > 1:
            keys.remove(op.key)
            return [done]
        self.forget_publisher(topic)
        return [fx.ClosePublisher(topic), done]

    def publisher_opened(self, topic: str, channel_id: int) -> None:
        """Note the channel, the only one, on which the peer may publish ``topic`` in binary."""
        self._forget_channels(topic)
        self._channels[channel_id] = topic

    def forget_advertiser(self, topic: str, key: str | None) -> None:
        """Take back one advertisement that was refused; the publisher stands for the others."""
        self._advertisers.get(topic, set()).discard(key)

    def forget_publisher(self, topic: str) -> None:
        """Take back an advertisement, also one that ROS refused."""
        self.advertised.pop(topic, None)
        self._advertisers.pop(topic, None)
        self._forget_channels(topic)

    def _forget_channels(self, topic: str) -> None:
        for channel_id in [c for c, t in self._channels.items() if t == topic]:
            del self._channels[channel_id]

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
            return self._call(op, now)
        if kind == 'action':
            if op.op_id is None:
                raise BadField('a goal needs one: all that follows names it',
                               field='metadata.message_id')
            return self._send_goal(ops.SendGoal(
                op.op_id, op.destination, None, op.data, True, op.stamp, op.ttl, op.timeout,
                op.epoch), now)
        topic = self._names.topic(op.destination)
        if kind is None and topic not in self.advertised:
            return [fx.LookAgain(op)]
        deadline = None if self._keeper.guards(topic) else \
            self._deadline(op.stamp, op.ttl, now)
        publish = fx.Publish(op.op_id, topic, op.data, 'json', deadline,
                             op.destination if op.ack else None, op)
        if topic in self.advertised:
            return [publish]
        rule = self._rule('publish', topic, 'destination')
        return [self._note_publisher(fx.OpenPublisher(
            op.op_id, topic, op.destination, rule.msg_type, None, False)), publish]

    def _binary(self, op: ops.BinaryPublish, now: float) -> list[fx.Effect]:
        topic = self._channels.get(op.channel_id)
        if topic is None:
            raise NotAdvertised(f'channel {op.channel_id} is not advertised by this peer',
                                field='channel_id')
        deadline = None if self._keeper.guards(topic) else \
            self._deadline(op.stamp, op.ttl, now)
        return [fx.Publish(None, topic, op.payload, op.encoding, deadline, None, op)]

    def _deadline(self, stamp: float | None, ttl: float | None, now: float) -> float | None:
        """
        Return until when (monotonic) a message may reach ROS.

        Its age is bridge time minus its timestamp, corrected by the measured clock offset; one
        without a timestamp, or from the future, is as new as can be.

        :raises Expired: it is older than its ``ttl`` already.
        """
        if ttl is None:
            return None
        age = 0.0 if stamp is None else \
            max(0.0, now + self._epoch - (stamp - (self.timesync.offset or 0.0)))
        if age > ttl:
            raise Expired(f'{age:.3f} s old, may be {ttl:g} s', field='ttl')
        return now + ttl - age

    def _call(self, op: ops.Command, now: float) -> list[fx.Effect]:
        service = self._names.service(op.destination)
        rule = self._rule('call', service, 'destination')
        self._keeper.check(self.peer, self.manner, service, op.epoch)
        self._deadline(op.stamp, op.ttl, now)
        below(len(self.calls), self._settings.max_calls, 'calls')
        key = next(self._keys)
        self.calls[key] = op.op_id, op.destination
        timeout = op.timeout or rule.timeout or self._settings.call_timeout
        return [fx.Call(key, service, rule.msg_type, op.data, timeout)]

    def _inquire(self, op: ops.Inquire, now: float) -> list[fx.Effect]:
        below(len(self._questions), MAX_QUESTIONS, 'questions that wait')
        key = next(self._keys)
        question = fx.Inquire(key, op.question, op.data, op.timeout or self._settings.call_timeout)
        self._questions.append(((op.op_id, op.service), question))
        return self._next_questions()

    def _next_questions(self) -> list[fx.Effect]:
        """Ask what waits, as far as there may be more calls."""
        asked: list[fx.Effect] = []
        while self._questions and len(self.calls) < self._settings.max_calls:
            call, question = self._questions.popleft()
            self.calls[question.key] = call
            asked.append(question)
        return asked

    def _authenticate(self, op: ops.Authenticate, now: float) -> list[fx.Effect]:
        return self.login.ask(op)

    def logged_in(self, op_id: str | None, identity: Identity, rights: Rights,
                  until: float | None) -> list[fx.Effect]:
        """Take note of who the peer is, and tell it; ``until`` is monotonic, s."""
        self.login.done(identity, rights, until)
        return [fx.Send(ops.Done(op_id, 'auth', self.login.describe())), fx.PeerChanged()]

    def call_ended(self, key: int, result: bytes | WsBridgeError) -> list[fx.Effect]:
        """Return the answer to the peer: JSON text of the response, or the error."""
        if key not in self.calls:
            return []
        op_id, service = self.calls.pop(key)
        if isinstance(result, WsBridgeError):
            reply: ops.Reply = ops.Failed(op_id, result, ops.About('call', service))
        else:
            reply = ops.CallDone(op_id, service, result)
        return [fx.Send(reply), *self._next_questions()]

    def _send_goal(self, op: ops.SendGoal, now: float) -> list[fx.Effect]:
        action = self._names.service(op.action)
        rule = self._rule('goal', action, 'destination')
        self._keeper.check(self.peer, self.manner, action, op.epoch)
        self._deadline(op.stamp, op.ttl, now)
        return self.goals.send(op, action, rule)

    def _advertise_action(self, op: ops.AdvertiseAction, now: float) -> list[fx.Effect]:
        return self.goals.advertise(op, len(self.hosted))

    def _goals(self, op: Any, now: float) -> list[fx.Effect]:
        return GOAL_HANDLERS[type(op)](self.goals, op)

    def _advertise_service(self, op: ops.AdvertiseService, now: float) -> list[fx.Effect]:
        service = self._names.service(op.service)
        _type_of(op.srv_type, self._rule('host', service, 'service'))
        if service not in self.hosted:
            below(len(self.hosted) + len(self.goals.hosted), self._settings.max_services,
                  'services')
        self.forget_service(service)  # its unanswered calls went to the older advertisement
        self.hosted[service] = op.service
        return [fx.Host(op.op_id, service, op.service, op.srv_type)]

    def _unadvertise_service(self, op: ops.UnadvertiseService, now: float) -> list[fx.Effect]:
        service = self._names.service(op.service)
        if service not in self.hosted:
            raise NotAdvertised(f'{op.service} is not hosted by this peer', field='service')
        self.forget_service(service)
        return [fx.Unhost(service),
                fx.Send(ops.Done(op.op_id, 'unadvertise_service', {'service': op.service}))]

    def forget_service(self, service: str) -> None:
        """Take back a hosted service: it was refused, taken over by another peer or given up."""
        self.hosted.pop(service, None)
        for call_id in [c for c, h in self._waiting.items() if h.service == service]:
            del self._waiting[call_id]

    def service_called(self, service: str, token: object, values: bytes,
                       now: float) -> list[fx.Effect]:
        """
        Pass a call from ROS on to the peer that hosts the service.

        A call that would exceed the bound of unanswered ones is not passed on; the peer is told.
        """
        if service not in self.hosted:
            return []
        try:
            below(len(self._waiting), self._settings.max_calls, 'unanswered calls')
        except LimitExceeded as exc:
            return [fx.Send(ops.Failed(None, exc))]
        call_id = f'{self.peer}-call-{next(self._keys)}'
        self._waiting[call_id] = Hosted(service, token, now + self._settings.call_timeout)
        return [fx.Send(ops.ServiceCall(call_id, self.hosted[service], values))]

    def _service_answer(self, op: ops.ServiceAnswer, now: float) -> list[fx.Effect]:
        hosted = self._waiting.pop(op.call_id or '', None)
        if hosted is None:
            if op.error is not None and op.call_id in self.goals.working:
                return self.goals.failed(op.call_id)
            if op.error is not None:  # never answer an error with an error: two bridges would talk
                return [fx.Ignored()]
            raise Expired(f'no call {op.call_id!r} waits for an answer of this peer',
                          field='correlation_id')
        if op.error is not None:
            return []
        return [fx.AnswerService(op.op_id, hosted.service, hosted.token, op.values)]

    def _watch_status(self, op: ops.WatchStatus, now: float) -> list[fx.Effect]:
        self.wants_status = op.subscribe
        done = fx.Send(ops.Done(op.op_id, 'status', {'subscribe': op.subscribe}))
        return [done, fx.StatusWanted()] if op.subscribe else [done]

    def _peer_status(self, op: ops.PeerStatus, now: float) -> list[fx.Effect]:
        self.told = op.data
        return [fx.PeerChanged()]

    def _control(self, op: ops.ListGates | ops.LeaseWish | ops.EmergencyStop | ops.ClearStop,
                 now: float) -> list[fx.Effect]:
        return [fx.Control(op)]

    # ---- heartbeats

    def watch(self, now: float) -> None:
        """Expect heartbeats from now on: the peer commands. Who was LOST begins anew."""
        if self.liveness is None or self.liveness.state is LivenessState.LOST:
            self.liveness = Liveness(self._settings.heartbeat_interval,
                                     self._settings.heartbeat_timeout, now)

    def _heartbeat(self, op: ops.Heartbeat, now: float) -> list[fx.Effect]:
        effects = self._heard(now)
        unix = now + self._epoch
        if op.stamp is not None and op.echo is not None:
            sent = self._beats_sent.get(op.echo[0])
            if sent is not None:
                self.timesync.sample(sent, op.echo[2], op.stamp, unix)
        if op.sequence is not None:
            if op.stamp is not None:
                self._last_heard = op.sequence, op.stamp, unix
            if not op.answer:
                effects.insert(0, fx.Send(self._make_beat(unix, op.op_id)))
        return effects

    def _heard(self, now: float) -> list[fx.Effect]:
        first = self.liveness is None
        if self.liveness is None:
            self.liveness = Liveness(self._settings.heartbeat_interval,
                                     self._settings.heartbeat_timeout, now)
        changed = self.liveness.heard(now)
        if changed is LivenessState.LOST:
            return [fx.PeerLost(), fx.PeerChanged()]
        return [fx.PeerChanged()] if first or changed else []

    def _make_beat(self, unix: float, answers: str | None) -> ops.Beat:
        self._beat += 1
        self._beats_sent[self._beat] = unix
        self._beats_sent.pop(self._beat - BEATS_REMEMBERED, None)
        return ops.Beat(self._beat, unix, self._last_heard, answers)

    @property
    def liveness_name(self) -> str:
        """ALIVE, SUSPECT or LOST; UNWATCHED before the first heartbeat."""
        return 'UNWATCHED' if self.liveness is None else self.liveness.state.name

    # ---- time

    def deadline(self) -> float | None:
        """Return when :meth:`poll` is due next, monotonic seconds."""
        due = [hosted.deadline for hosted in self._waiting.values()]
        due.extend(self.goals.deadlines())
        if self.login.until is not None:
            due.append(self.login.until)
        if self.beats:
            due.append(self._next_beat)
        if self._refusals_due is not None:
            due.append(self._refusals_due)
        if self.liveness is not None and (end := self.liveness.deadline()) is not None:
            due.append(end)
        return min(due, default=None)

    def poll(self, now: float) -> list[fx.Effect]:
        """Return what the passing of time brings: heartbeats, changes of liveness."""
        effects = self.goals.poll(now) + self.login.poll(now)
        for call_id in [c for c, h in self._waiting.items() if h.deadline <= now]:
            del self._waiting[call_id]
        if self._refusals_due is not None and now >= self._refusals_due:
            effects += self._end_interval(now)
        if self.beats and now >= self._next_beat:
            self._next_beat += self._settings.heartbeat_interval
            if self._next_beat <= now:  # beats that were missed are not made up for
                self._next_beat = now + self._settings.heartbeat_interval
            effects.append(fx.Send(self._make_beat(now + self._epoch, None)))
        changed = None if self.liveness is None else self.liveness.poll(now)
        if changed is LivenessState.LOST:
            effects.append(fx.PeerLost())
        if changed is not None:
            effects.append(fx.PeerChanged())
        return effects

    def _end_interval(self, now: float) -> list[fx.Effect]:
        """Tell how much was refused in the interval that ends; end a flood."""
        number, self._refused_lately = self._refused_lately, 0
        size, self._refused_bytes = self._refused_bytes, 0
        self._refusals_due = now + REFUSAL_INTERVAL if number else None
        effects = self._tell_refusals() if self._refusals else []
        flood = 0 < self._settings.max_message_rate * REFUSAL_INTERVAL < number or \
            0 < self._settings.max_byte_rate * REFUSAL_INTERVAL < size
        self._floods = self._floods + 1 if flood else 0
        if self._floods >= FLOOD:
            effects.append(fx.Dismiss(POLICY_VIOLATION, 'too many messages'))
        return effects

    def close(self) -> list[fx.Effect]:
        """Return the effects that take back everything the peer made."""
        effects: list[fx.Effect] = [fx.CloseSubscription(topic, name)
                                    for name, topic in self.subscriptions.items()]
        effects += [fx.ClosePublisher(topic) for topic in self.advertised]
        effects += [fx.Unhost(service) for service in self.hosted]
        effects += [fx.CancelCall(key) for key in self.calls]
        effects += self.goals.close()
        for owned in (self.subscriptions, self.advertised, self.hosted, self.calls,
                      self._channels, self._waiting, self._advertisers, self._questions):
            owned.clear()
        self._wishes = Wishes()
        return effects

    def describe(self, now: float) -> dict[str, Any]:
        """Return what other peers and ROS are shown about this one."""
        sync = self.timesync
        return {
            'peer': self.peer, 'name': self.name, 'dialect': self.dialect,
            'identity': self.login.identity.name if self.login.identity else None,
            'role': self.login.rights.role.name,
            'connected': round(now - self.connected_at, 3),
            'liveness': self.liveness_name,
            'round_trip': sync.round_trip, 'offset': sync.offset, 'jitter': sync.jitter,
        }


def _type_of(asked: str | None, rule: Rule) -> str | None:
    """
    Return the type for what a rule exposes: the rule's, else what is asked for, if anything.

    :raises TypeMismatch: the rule exposes another one.
    """
    only = rule.msg_type
    if only is None or asked is None:
        return asked or only
    package, _, name = asked.partition('/')
    if only.split('/')[::2] != [package, name.rpartition('/')[2]]:
        raise TypeMismatch(f'only {only} is exposed here, not {asked}', field='type')
    return only


def _about(op: ops.Operation) -> ops.About | None:
    """Return what else than the error the peer waits for."""
    if isinstance(op, ops.Malformed):
        return op.about
    if isinstance(op, ops.Inquire):
        return ops.About('call', op.service)
    if isinstance(op, ops.SendGoal):
        return ops.About('goal', op.action)
    if isinstance(op, ops.Command) and op.kind == 'service':
        return ops.About('call', op.destination)
    return None


_USES: Mapping[ops.Kind, Use] = {'service': 'call', 'action': 'goal'}
"""What the destination of a command is used for, unless it is a topic."""

_COUNTED = (ops.BinaryPublish, ops.BinarySample, ops.Heartbeat, ops.Appeared, ops.ActionFeedback)
"""What is refused by count when it comes too fast, and publications; else by its own error."""

_HANDLERS: dict[type, Callable[[Session, Any, float], list[fx.Effect]]] = {
    ops.Hello: Session._hello,
    ops.ListNames: Session._describe,
    ops.GetSchema: Session._describe,
    ops.Diagnose: Session._diagnose,
    ops.Subscribe: Session._subscribe,
    ops.Unsubscribe: Session._unsubscribe,
    ops.Advertise: Session._advertise,
    ops.Unadvertise: Session._unadvertise,
    ops.AdvertiseService: Session._advertise_service,
    ops.UnadvertiseService: Session._unadvertise_service,
    ops.SendGoal: Session._send_goal,
    ops.CancelGoal: Session._goals,
    ops.AdvertiseAction: Session._advertise_action,
    ops.UnadvertiseAction: Session._goals,
    ops.GoalAnswer: Session._goals,
    ops.ActionFeedback: Session._goals,
    ops.ActionResult: Session._goals,
    ops.WatchStatus: Session._watch_status,
    ops.Command: Session._command,
    ops.Inquire: Session._inquire,
    ops.Authenticate: Session._authenticate,
    ops.BinaryPublish: Session._binary,
    ops.ServiceAnswer: Session._service_answer,
    ops.Heartbeat: Session._heartbeat,
    ops.PeerStatus: Session._peer_status,
    ops.ListGates: Session._control,
    ops.LeaseWish: Session._control,
    ops.EmergencyStop: Session._control,
    ops.ClearStop: Session._control,
    ops.Malformed: Session._malformed,
    ops.BinarySample: Session._unasked,
    ops.Appeared: Session._unasked,
}
