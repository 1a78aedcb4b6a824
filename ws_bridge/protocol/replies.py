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
The closed vocabulary of what sessions and the bridge tell peers.

Every dialect makes its own wire form of these values, or has no word for one. Names are as the
peer wrote them; ``op_id`` is the identity of the request that is answered, if it had one; times
are Unix time, ns, durations s.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ws_bridge.config import Limits
from ws_bridge.config.roles import Use
from ws_bridge.errors import forget_place, WsBridgeError
from ws_bridge.protocol.operations import (
    About,
    Encoding,
    LeaseVerb,
    STATUS_SUCCEEDED,
    TopicUse,
)
from ws_bridge.timing.freshness import FreshnessState

LoginState = Literal['needed', 'done', 'possible', 'none']
"""Whether the peer has to log in, did, or can."""


class Answer:
    """A request was carried out; each kind of request has an answer of its own."""

    __slots__ = ()
    REQUEST: ClassVar[str] = ''
    op_id: str | None

    @property
    def request(self) -> str:
        """The name of the request that is answered."""
        return self.REQUEST


@dataclass(frozen=True, slots=True)
class GateState:
    """
    What peers may know of a gate.

    :param holder: who has its lease, by unique name; ``holder_name`` is what that calls itself.
    :param timeout: silence after which the robot is stopped, s.
    :param ttl: age of the oldest command that passes, s.
    :param neutral_needed: the first command on each topic has to be neutral, and none came yet.
    :param speed_limit: how much of its bounds the delay of commands leaves, 1 to 0; ``None`` =
        nobody commands, or the gate does not slow down.
    :param services: names and patterns of the services and actions that it guards.
    """

    gate: str
    topics: Sequence[str]
    holder: str | None
    holder_name: str | None
    epoch: int
    timeout: float
    ttl: float
    state: str
    neutral_needed: bool
    speed_limit: float | None = None
    services: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StopState:
    """The emergency stop: by whom it was asserted or cleared, and why."""

    stopped: bool
    by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ControlState:
    """The gates that a peer may know of, and the emergency stop."""

    gates: Sequence[GateState]
    estop: StopState


@dataclass(frozen=True, slots=True)
class Span:
    """What a recording spans: the times of its first and last message, Unix time, ns."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Greeting:
    """
    Who the bridge is and what this peer may do.

    :param asked: the peer said hello first.
    :param peer: unique name of the peer.
    :param limits: bounds of what the peer may send and have, by name.
    :param allowed: patterns of names, by kind of use.
    :param control: ``None`` before the login.
    :param uses: those that the peer has a right to at all.
    :param playback: what is replayed; ``None``: this is no replay.
    :param resume_time: for how long the session waits for its peer to come back, s; 0 = it does
        not.
    :param secret: what the peer comes back with, if it wants to.
    :param challenge: what the peer has to sign with what it sends; ``None``: nothing is signed.
    """

    op_id: str | None
    asked: bool
    peer: str
    robot_name: str
    version: str
    heartbeat_interval: float
    heartbeat_timeout: float
    limits: Limits
    allowed: Mapping[str, list[str]]
    role: str
    login: LoginState
    control: ControlState | None = None
    uses: Collection[Use] = ()
    playback: Span | None = None
    resume_time: float = 0.0
    secret: str | None = field(default=None, repr=False)
    challenge: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedIn(Answer):
    """
    Who the peer is, and what it may do.

    :param name: ``None`` where nobody can log in.
    :param allowed: patterns of names, by kind of use.
    """

    REQUEST = 'auth'
    op_id: str | None
    name: str | None
    role: str
    allowed: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class TicketMade(Answer):
    """
    A ticket that lets somebody in once.

    :param lifetime: how long it can be used, s.
    """

    REQUEST = 'ticket'
    op_id: str | None
    role: str
    ticket: str = field(repr=False)
    lifetime: float


# ---- topics

@dataclass(frozen=True, slots=True)
class Delivery:
    """
    How the samples of a topic come.

    :param msg_type: ``None`` while the topic has none.
    :param channel_id: names the topic in binary frames.
    :param schema: the definition of the type, where it is wanted.
    :param pending: the topic is not there yet.
    :param rung: the quality of video that is encoded.
    """

    topic: str
    msg_type: str | None
    encoding: Encoding
    channel_id: int
    schema: str | None
    pending: bool
    rung: int | None = None


@dataclass(frozen=True, slots=True)
class Subscribed(Answer):
    """A subscription was made."""

    REQUEST = 'subscribe'
    op_id: str | None
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Restored:
    """
    A subscription that a peer found when it came back.

    :param missed: how many samples it did not get, and will not.
    :param sequence: the number of the last of these: the next sample has one more.
    """

    delivery: Delivery
    missed: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Resumed(Answer):
    """
    The peer is back in its session.

    :param peer: unique name of the peer, as before.
    :param secret: to come back once more.
    :param resume_time: for how long the session waits then, s.
    :param channels: the topics that it has advertised, as it named them, with their numbers.
    :param unknown: the requests that no reply will answer.
    """

    REQUEST = 'resume'
    op_id: str | None
    peer: str
    secret: str = field(repr=False)
    resume_time: float
    subscriptions: Sequence[Restored]
    channels: Sequence[tuple[str, int]]
    unknown: Sequence[str]


@dataclass(frozen=True, slots=True)
class TopicAppeared:
    """A subscription that was pending found its topic."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Unsubscribed(Answer):
    """A subscription has ended."""

    REQUEST = 'unsubscribe'
    op_id: str | None
    topic: str


@dataclass(frozen=True, slots=True)
class Advertised(Answer):
    """
    A publisher is ready.

    :param channel_id: names the topic in binary frames.
    :param schema: the definition of the type.
    :param gate: what guards the topic, if anything does.
    :param subscribers: how many ROS has.
    :param qos: the one that the gate has in place of the one that was asked for.
    """

    REQUEST = 'advertise'
    op_id: str | None
    topic: str
    msg_type: str
    channel_id: int
    schema: str
    gate: str | None
    subscribers: int
    qos: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Unadvertised(Answer):
    """A publisher, or one of several advertisements of it, has ended."""

    REQUEST = 'unadvertise'
    op_id: str | None
    topic: str


@dataclass(frozen=True, slots=True)
class MessagePublished(Answer):
    """A message was published; ``subscribers`` is how many ROS has."""

    REQUEST = 'publish'
    op_id: str | None
    topic: str | None
    subscribers: int


# ---- services and actions

@dataclass(frozen=True, slots=True)
class CallDone:
    """A service, or the bridge, answered; ``values`` in the encoding that the call named."""

    op_id: str | None
    service: str
    values: bytes


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """ROS calls a service that the peer hosts; ``values`` is JSON text."""

    call_id: str
    service: str
    values: bytes


@dataclass(frozen=True, slots=True)
class ServiceAdvertised(Answer):
    """ROS has the service that the peer hosts."""

    REQUEST = 'advertise_service'
    op_id: str | None
    service: str
    srv_type: str


@dataclass(frozen=True, slots=True)
class ServiceUnadvertised(Answer):
    """ROS has the service no longer."""

    REQUEST = 'unadvertise_service'
    op_id: str | None
    service: str


@dataclass(frozen=True, slots=True)
class GoalAccepted:
    """The server accepted a goal of this peer's."""

    op_id: str | None
    action: str


@dataclass(frozen=True, slots=True)
class GoalFeedback:
    """Feedback on a goal of this peer's; ``values`` is JSON text."""

    op_id: str | None
    action: str
    values: bytes


@dataclass(frozen=True, slots=True)
class GoalDone:
    """
    A goal of this peer's that was accepted ended; ``values`` is JSON text of the result.

    :param status: of action_msgs: 4 succeeded, 5 canceled, 6 aborted.
    """

    op_id: str | None
    action: str
    values: bytes
    status: int

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.status == STATUS_SUCCEEDED


@dataclass(frozen=True, slots=True)
class GoalCancelling(Answer):
    """The server cancels a goal of this peer's; ``goal`` is what it was sent with."""

    REQUEST = 'cancel_goal'
    op_id: str | None
    goal: str


@dataclass(frozen=True, slots=True)
class GoalRequest:
    """ROS sends a goal to an action that the peer hosts; ``values`` is JSON text."""

    goal_id: str
    action: str
    action_type: str
    values: bytes


@dataclass(frozen=True, slots=True)
class GoalCancel:
    """ROS wants a goal that the peer works on to end; the peer still has to end it."""

    goal_id: str
    action: str


@dataclass(frozen=True, slots=True)
class ActionAdvertised(Answer):
    """ROS has the action that the peer hosts."""

    REQUEST = 'advertise_action'
    op_id: str | None
    action: str
    action_type: str


@dataclass(frozen=True, slots=True)
class ActionUnadvertised(Answer):
    """ROS has the action no longer."""

    REQUEST = 'unadvertise_action'
    op_id: str | None
    action: str


# ---- the graph and the state of the robot

@dataclass(frozen=True, slots=True)
class TopicEntry:
    """
    A topic that a peer may know of.

    :param channel: its friendly name.
    :param publishers: how many ROS has; so are ``subscribers``.
    :param subscribe: whether the peer may; so is ``publish``.
    """

    topic: str
    types: Sequence[str]
    channel: str | None
    publishers: int
    subscribers: int
    subscribe: bool
    publish: bool


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A service that a peer may call."""

    service: str
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class ActionEntry:
    """An action that a peer may send goals to."""

    action: str
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class GraphView:
    """What there is in ROS, of what a peer may know."""

    topics: Sequence[TopicEntry]
    services: Sequence[ServiceEntry]
    actions: Sequence[ActionEntry]
    nodes: Sequence[str]


@dataclass(frozen=True, slots=True)
class GraphListed(Answer):
    """What there is in ROS, of what the peer may know."""

    REQUEST = 'list'
    op_id: str | None
    graph: GraphView


@dataclass(frozen=True, slots=True)
class MessageDefined(Answer):
    """The definition of a message type."""

    REQUEST = 'schema'
    op_id: str | None
    msg_type: str
    text: str


@dataclass(frozen=True, slots=True)
class ServiceDefined(Answer):
    """The definition of a service type."""

    REQUEST = 'schema'
    op_id: str | None
    srv_type: str
    request_text: str
    response_text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A reason why nothing arrives, or moves.

    :param code: stays the same; ``docs/reference/protocol.md`` lists them.
    :param message: what is so.
    :param advice: what to do.
    """

    code: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class Diagnosed(Answer):
    """
    Why nothing arrives from a topic, or moves.

    :param topic: ``None`` where only what concerns all topics was asked for.
    """

    REQUEST = 'diagnose'
    op_id: str | None
    topic: str | None
    use: TopicUse | None
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class TopicsChanged:
    """
    Topics came, went or have other types, of those that the peer may subscribe to.

    The first one names all that there are; only dialects that ask for it have it told.

    :param present: those that came or changed, with their types.
    :param gone: those that went.
    :param definitions: those of the types that are installed, by name, for dialects that have
        them told.
    """

    present: Mapping[str, tuple[str, ...]]
    gone: tuple[str, ...]
    definitions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServicesChanged:
    """
    Services came, went or have another type, of those that the peer may call.

    Only dialects that have definitions told have this told.

    :param present: those that came or changed.
    :param gone: those that went, or have no type that is installed any more.
    """

    present: Mapping[str, ServiceDefined]
    gone: tuple[str, ...]


ParameterKind = Literal['bool', 'integer', 'double', 'string', 'byte_array', 'bool_array',
                        'integer_array', 'double_array', 'string_array']
"""In the order of ``rcl_interfaces/msg/ParameterType``, from 1."""


@dataclass(frozen=True, slots=True)
class ParameterEntry:
    """A parameter of a node, ``node:parameter``, and its value as JSON has it."""

    name: str
    kind: ParameterKind
    value: Any


@dataclass(frozen=True, slots=True)
class ParametersTold(Answer):
    """
    Values of parameters.

    :param op_id: ``None`` where they changed, and the peer watches them.
    :param reasons: why others have no value, by name.
    """

    REQUEST = 'get_parameters'
    op_id: str | None
    parameters: Sequence[ParameterEntry]
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ParametersSet(Answer):
    """
    Parameters were set; ``reasons`` says why others were not, by name.

    :param parameters: what all of them are now, where the peer wants to be told that.
    """

    REQUEST = 'set_parameters'
    op_id: str | None
    reasons: Mapping[str, str]
    parameters: Sequence[ParameterEntry] = ()


@dataclass(frozen=True, slots=True)
class ParametersWatched(Answer):
    """Changes of parameters will be told, or no longer."""

    REQUEST = 'watch_parameters'
    op_id: str | None
    names: tuple[str, ...]
    watch: bool


@dataclass(frozen=True, slots=True)
class ConnectionsChanged:
    """
    Who publishes, subscribes to and serves what: names of nodes, by topic or service.

    The first one has all that the peer may know of. Later ones have what is different, the whole
    list of each name.

    :param gone_topics: those that nobody publishes or subscribes to any more.
    """

    publishers: Mapping[str, Sequence[str]]
    subscribers: Mapping[str, Sequence[str]]
    servers: Mapping[str, Sequence[str]]
    gone_topics: tuple[str, ...] = ()
    gone_services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssetFetched(Answer):
    """What a file of a package holds."""

    REQUEST = 'fetch_asset'
    op_id: str | None
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TimeTold:
    """The time of a simulation, ns."""

    stamp: int


PlaybackStatus = Literal['playing', 'paused', 'ended']
MarkKind = Literal['stop', 'refusal', 'lost']


@dataclass(frozen=True, slots=True)
class PlaybackState:
    """
    How a replay goes.

    :param time: of the recording, Unix time, ns.
    :param speed: 1 = as it was; also while it pauses.
    """

    status: PlaybackStatus
    time: int
    speed: float


@dataclass(frozen=True, slots=True)
class Mark:
    """
    What stands out in a recording.

    :param time: Unix time, ns; when one is at it, all of it was told.
    :param text: of one line.
    """

    time: int
    kind: MarkKind
    text: str


@dataclass(frozen=True, slots=True)
class PlaybackControlled(Answer):
    """
    A replay goes as it was asked to.

    :param marks: ``None``: they were not asked for.
    :param has_jumped: it was asked to seek, and is at another time.
    """

    REQUEST = 'playback'
    op_id: str | None
    state: PlaybackState
    span: Span
    marks: Sequence[Mark] | None = None
    has_jumped: bool = False


@dataclass(frozen=True, slots=True)
class PlaybackChanged:
    """A replay goes on in another way: somebody else asked for it, or it has ended."""

    state: PlaybackState
    has_jumped: bool = False


@dataclass(frozen=True, slots=True)
class Exported(Answer):
    """
    A part of a table was taken.

    :param data: the MCAP file, when it was the last one.
    """

    REQUEST = 'mcap'
    op_id: str | None
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StatusWatched(Answer):
    """The robot's state will be told, or no longer."""

    REQUEST = 'status'
    op_id: str | None
    subscribe: bool


@dataclass(frozen=True, slots=True)
class TopicState:
    """
    How a topic does.

    :param msg_type: ``None`` while it has none.
    :param rate: of the samples, Hz; ``None`` where the bridge does not listen.
    :param age: of the last sample, s.
    """

    topic: str
    msg_type: str | None
    rate: float | None
    age: float | None
    freshness: FreshnessState


@dataclass(frozen=True, slots=True)
class PeerState:
    """
    What others are shown of a peer.

    :param peer: its unique name; ``name`` is what it calls itself.
    :param identity: who it logged in as.
    :param connected: since when, s.
    :param liveness: ``ALIVE``, ``SUSPECT``, ``LOST`` or ``UNWATCHED``.
    :param round_trip: of frames, s; so is ``jitter``, how much that varies.
    :param offset: its clock minus the bridge's, s.
    """

    peer: str
    name: str
    dialect: str
    identity: str | None
    role: str
    connected: float
    liveness: str
    round_trip: float | None
    offset: float | None
    jitter: float | None


@dataclass(frozen=True, slots=True)
class TopicRate:
    """
    How often a peer gets samples of a topic that is thinned for its slow link.

    :param rate: Hz; ``wanted``: what would leave if the link were fast.
    :param size: of a sample, bytes.
    """

    topic: str
    rate: float
    wanted: float
    size: int


@dataclass(frozen=True, slots=True)
class LinkState:
    """
    What only a peer itself is told: the samples that it lost, and the bytes that wait.

    :param bandwidth: what its link carries, bytes/s; ``None`` where it is not slow.
    :param rates: of the topics that are thinned for it.
    """

    peer: str
    dropped: int
    queued_bytes: int
    bandwidth: float | None = None
    rates: Sequence[TopicRate] = ()


@dataclass(frozen=True, slots=True)
class RatesChanged:
    """Other topics are thinned for this peer than before, or to other rates; none: none is."""

    bandwidth: float | None
    rates: Sequence[TopicRate]


@dataclass(frozen=True, slots=True, eq=False)
class SharedState:
    """
    The state of the robot as all peers of one role are told it, each by the same object.

    A dialect makes its form of it once.

    :param uptime: of the bridge, s.
    :param peers: those that came first; ``peer_count`` is how many there are.
    """

    robot_name: str
    uptime: float
    nodes: Sequence[str]
    topics: Sequence[TopicState]
    peers: Sequence[PeerState]
    peer_count: int


@dataclass(frozen=True, slots=True)
class RobotState:
    """The robot's state, and this peer's own."""

    shared: SharedState
    you: LinkState


# ---- control

@dataclass(frozen=True, slots=True)
class GatesListed(Answer):
    """Gates and the emergency stop, as far as the peer may know of them."""

    REQUEST = 'gates'
    op_id: str | None
    control: ControlState


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """
    What the holder of a lease has to keep to.

    :param epoch: of the lease.
    :param timeout: silence after which the robot is stopped, s.
    :param ttl: age of the oldest command that passes, s.
    """

    epoch: int
    timeout: float
    ttl: float


@dataclass(frozen=True, slots=True)
class LeaseAnswered(Answer):
    """
    What was asked of a lease was done.

    :param terms: of the lease that the peer has now.
    :param answer_timeout: how long the holder may take to answer, s, where it was asked.
    """

    op_id: str | None
    verb: LeaseVerb
    gate: str
    terms: LeaseTerms | None = None
    answer_timeout: float | None = None

    @property
    def request(self) -> str:
        """The name of the request that is answered."""
        return self.verb


@dataclass(frozen=True, slots=True)
class StopAsserted(Answer):
    """
    A stop was carried out.

    :param stopped: the robot is stopped; false if the stop was one that had been carried out
        before, and was cleared meanwhile.
    """

    REQUEST = 'stop'
    op_id: str | None
    stopped: bool = True


@dataclass(frozen=True, slots=True)
class StopReady(Answer):
    """
    A connection takes stops.

    :param peer: unique name of the peer.
    """

    REQUEST = 'hello'
    op_id: str | None
    peer: str


@dataclass(frozen=True, slots=True)
class StopCleared(Answer):
    """The emergency stop has ended."""

    REQUEST = 'clear_stop'
    op_id: str | None


@dataclass(frozen=True, slots=True)
class GatesChanged:
    """Gates came or went, or their topics."""

    control: ControlState


@dataclass(frozen=True, slots=True)
class LeaseChanged:
    """Somebody else, or nobody, holds the lease of a gate."""

    gate: str
    holder: str | None
    holder_name: str | None
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class EstopChanged:
    """The emergency stop was asserted or cleared."""

    stopped: bool
    by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class RobotStopped:
    """
    A stop was published behind a gate.

    :param subscribers: how many ROS has.
    :param after: time from the reason to the stop, s.
    """

    gate: str
    reason: str
    subscribers: int
    after: float


@dataclass(frozen=True, slots=True)
class SpeedChanged:
    """
    The delay of commands, or of the picture, leaves another share of a gate's bounds.

    :param speed_limit: the share, 1 to 0; ``None`` = nobody commands, and nothing is known.
    :param delay: age of the last command, s; ``picture_age``: of what its sender sees.
    """

    gate: str
    speed_limit: float | None
    delay: float | None = None
    picture_age: float | None = None


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """This peer holds a lease no longer."""

    gate: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class LeaseDecided:
    """What became of this peer's request for a lease; ``terms`` is ``None`` if it was refused."""

    gate: str
    reason: str
    terms: LeaseTerms | None


@dataclass(frozen=True, slots=True)
class LeaseRequested:
    """Another peer asks this one for its lease; ``timeout`` is how long it may take to answer."""

    gate: str
    peer: str
    name: str
    message: str
    timeout: float


# ---- anything

@dataclass(frozen=True, slots=True)
class Failed:
    """
    A request, or something else of this peer's, failed.

    :param subscription: the name and the encoding of the one that has failed, after it was made.
    """

    op_id: str | None
    error: WsBridgeError
    about: About | None = None
    subscription: tuple[str, Encoding] | None = None

    def __post_init__(self) -> None:
        forget_place(self.error)


@dataclass(frozen=True, slots=True)
class Beat:
    """
    A heartbeat of the bridge; ``answers`` is set when it answers one.

    :param challenge: as of :class:`Greeting`.
    """

    sequence: int
    stamp: int
    echo: tuple[int, int, int] | None
    answers: str | None = None
    challenge: str | None = None


Reply = (
    Greeting | Resumed | LoggedIn | TicketMade | Subscribed | TopicAppeared | Unsubscribed
    | Advertised | Unadvertised | MessagePublished | CallDone | ServiceCall | ServiceAdvertised
    | ServiceUnadvertised
    | GoalAccepted | GoalFeedback | GoalDone | GoalCancelling | GoalRequest | GoalCancel
    | ActionAdvertised | ActionUnadvertised | GraphListed | MessageDefined | ServiceDefined
    | Diagnosed | TopicsChanged | ServicesChanged | ParametersTold | ParametersSet
    | ParametersWatched | ConnectionsChanged | AssetFetched | TimeTold
    | PlaybackControlled | PlaybackChanged | Exported | StatusWatched
    | RobotState | GatesListed | LeaseAnswered | StopAsserted | StopReady | StopCleared
    | GatesChanged | LeaseChanged | EstopChanged | RobotStopped | SpeedChanged | RatesChanged
    | LeaseLost | LeaseDecided | LeaseRequested | Failed | Beat)
