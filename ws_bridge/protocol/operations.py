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
The closed vocabulary between dialects and sessions.

A dialect turns frames into the :data:`Operation` values of this module, and the values of
:mod:`ws_bridge.protocol.replies` into frames; a session sees nothing else. Names are as the peer
wrote them; times are Unix time of the peer's clock, ns, durations s.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.types import Priority

Encoding = str
"""The name of a row of :data:`ws_bridge.protocol.encodings.ENCODINGS`, or :data:`VIDEO`."""
VIDEO = 'video'
"""No row of that table: a frame is made of the one before, by a process of the camera's own."""
CODECS = 'h264', 'jpeg'
"""What the frames of video are, which the bridge encodes; the first one unless it is said."""
VIDEO_TYPE = 'foxglove_msgs/msg/CompressedVideo'
"""The type of a frame of video as a message, for dialects that have no words for video."""
Kind = Literal['topic', 'service', 'action']
TopicUse = Literal['subscribe', 'publish']
LeaseVerb = Literal['acquire', 'request', 'grant', 'deny', 'take', 'release']

MIN_SPEED, MAX_SPEED = 1e-3, 1e3
"""Of a replay; 1 = as it was."""
STATUS_SUCCEEDED = 4
STATUS_CANCELED = 5
STATUS_ABORTED = 6
"""How goals end, as ``action_msgs/msg/GoalStatus`` has it."""


class About(NamedTuple):
    """What an error is about, where the peer waits for more than the error itself."""

    kind: Literal['call', 'goal', 'answer', 'command']
    name: str


@dataclass(frozen=True, slots=True)
class Hello:
    """
    The peer introduces itself.

    ``greeting`` is true where it is the unasked hello of another bridge. ``pieces``: it puts large
    frames together that come in pieces. ``resume``: it wants to come back to this session.
    """

    op_id: str | None
    name: str | None = None
    greeting: bool = False
    pieces: bool = False
    resume: bool = False


@dataclass(frozen=True, slots=True)
class ComeBack:
    """
    The peer comes back to a session.

    :param waiting: the requests for whose replies it waits.
    :param accepted: its goals that it knows to be accepted, for whose ends it waits.
    :param received: the number of the last sample that it got, by channel.
    """

    op_id: str | None
    session: str
    secret: str = field(repr=False)
    waiting: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    received: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListNames:
    """The peer asks which topics, services and nodes there are; hidden ones only on request."""

    op_id: str | None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class GetSchema:
    """The peer asks for the definition of a type."""

    op_id: str | None
    type_name: str


@dataclass(frozen=True, slots=True)
class Diagnose:
    """
    The peer asks why nothing arrives from a topic, or moves.

    :param topic: ``None`` asks only for what concerns all topics.
    :param use: for which of the two; ``None``: the bridge finds out.
    """

    op_id: str | None
    topic: str | None = None
    use: TopicUse | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """
    Samples of a topic are wanted.

    ``min_interval`` is 0 for every sample; ``queue_depth`` is ``None`` for the default. With a
    ``key`` it is one of several for the same topic, which are served together, or, if it is
    ``separate``, by frames of its own; without one it takes the place of all. Text longer than
    ``fragment_size`` comes in fragments. ``rung`` is the quality of video, and ``codec`` what its
    frames are, where the bridge encodes them. ``max_points`` is for point clouds alone.
    """

    op_id: str | None
    topic: str
    msg_type: str | None = None
    encoding: Encoding | None = None
    min_interval: float | None = None
    queue_depth: int | None = None
    qos: QosRequest | None = None
    want_schema: bool = False
    key: str | None = None
    fragment_size: int | None = None
    separate: bool = False
    rung: int | None = None
    codec: str = CODECS[0]
    max_points: int | None = None


@dataclass(frozen=True, slots=True)
class PictureShown:
    """The peer has shown a picture of a topic, which was taken at ``stamp``; asks no answer."""

    op_id: str | None
    topic: str
    stamp: int


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """No more samples of a topic, for this ``key`` or for all that are not separate."""

    op_id: str | None
    topic: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Advertise:
    """The peer will publish a topic; with a ``key`` until that one, or all, is taken back."""

    op_id: str | None
    topic: str
    msg_type: str | None = None
    qos: QosRequest | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Unadvertise:
    """The peer will no longer publish a topic, for this ``key`` or for all."""

    op_id: str | None
    topic: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class AdvertiseService:
    """The peer hosts a service."""

    op_id: str | None
    service: str
    srv_type: str


@dataclass(frozen=True, slots=True)
class UnadvertiseService:
    """The peer hosts a service no longer."""

    op_id: str | None
    service: str


@dataclass(frozen=True, slots=True)
class SendGoal:
    """
    A goal for an action; ``op_id`` is its identity towards the peer that sends it.

    Answered by :class:`GoalAccepted`, any number of :class:`GoalFeedback` where wanted, and one
    :class:`GoalDone`; or by one ``Failed``, at any time: refused, rejected, no server, timeout.

    ``timeout`` bounds the whole goal, which is then cancelled; ``None`` for no bound.
    """

    op_id: str | None
    action: str
    action_type: str | None
    args: Any
    want_feedback: bool = True
    stamp: int | None = None
    ttl: float | None = None
    timeout: float | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class CancelGoal:
    """
    A goal of this peer's shall end; ``goal_op_id`` is the ``op_id`` that it was sent with.

    Answered by ``GoalCancelling(op_id)`` or ``Failed(op_id)``, so ``op_id`` is ``None`` in a
    dialect where the request has no identity of its own; the goal's end is told as of any goal.
    """

    op_id: str | None
    goal_op_id: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class AdvertiseAction:
    """
    The peer hosts an action.

    ``answers`` is true where it says of each goal by :class:`GoalAnswer` whether it is
    accepted; else all are.
    """

    op_id: str | None
    action: str
    action_type: str
    answers: bool = False


@dataclass(frozen=True, slots=True)
class UnadvertiseAction:
    """The peer hosts an action no longer; its goals are aborted."""

    op_id: str | None
    action: str


@dataclass(frozen=True, slots=True)
class GoalAnswer:
    """The host of an action accepts or rejects a :class:`GoalRequest`."""

    op_id: str | None
    goal_id: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class ActionFeedback:
    """Feedback of the host of an action on a goal, which accepts it where it was not."""

    op_id: str | None
    goal_id: str
    values: Any
    action: str | None = None


@dataclass(frozen=True, slots=True)
class ActionResult:
    """
    The end of a goal, from the host of its action.

    :param values: the result's fields; ``None`` for its defaults.
    :param status: of action_msgs: 4 succeeded, 5 canceled, 6 aborted; ``None``: as ``ok`` says.
    """

    op_id: str | None
    goal_id: str
    values: Any = None
    status: int | None = None
    ok: bool = True
    action: str | None = None


@dataclass(frozen=True, slots=True)
class GetParameters:
    """
    Parameters of nodes are wanted, each named ``node:parameter``; none = all that there are.

    :param within: of all, those that are known after so long, s; the others are told later, as
        what has changed is. ``None`` = all together.
    """

    op_id: str | None
    names: tuple[str, ...] = ()
    within: float | None = None


@dataclass(frozen=True, slots=True)
class SetParameters:
    """
    Parameters of nodes shall have these values, as JSON has them; those of ``unset`` none.

    ``want_values`` asks for what all of them are afterwards.
    """

    op_id: str | None
    values: Mapping[str, Any]
    want_values: bool = False
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchParameters:
    """Changes of parameters are wanted, or no longer; no names = of all."""

    op_id: str | None
    names: tuple[str, ...] = ()
    watch: bool = True


@dataclass(frozen=True, slots=True)
class WatchConnections:
    """Who publishes, subscribes to and serves what is wanted, and its changes, or no longer."""

    op_id: str | None
    watch: bool = True


@dataclass(frozen=True, slots=True)
class FetchAsset:
    """A file of a package is wanted, ``package://name/path``."""

    op_id: str | None
    uri: str


@dataclass(frozen=True, slots=True)
class ControlPlayback:
    """
    The replay of a recording is to go on, or not; ``None``: as it does.

    :param play: else it pauses.
    :param speed: 1 = as it was.
    :param seek: a time of the recording, Unix time, ns.
    :param want_marks: also tell what stands out in it.
    """

    op_id: str | None
    play: bool | None = None
    speed: float | None = None
    seek: int | None = None
    want_marks: bool = False


@dataclass(frozen=True, slots=True)
class AddToTable:
    """
    A part of a table of what is plotted, of which an MCAP file is wanted.

    :param part: counts the parts of a table from 0.
    :param csv: a time in s, then a column for each signal; parts may begin and end anywhere.
    :param is_last: the file is to be made now.
    """

    op_id: str | None
    part: int
    csv: str
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """The robot's state is wanted, or no longer."""

    op_id: str | None
    subscribe: bool


@dataclass(frozen=True, slots=True)
class Command:
    """
    Fields for a topic, a service or an action; ``kind`` says which, where the peer knows.

    ``stamp`` and ``ttl`` bound its age; ``ack`` asks for an answer to a publication. A tuple as
    ``data`` has the values of the fields by their position. ``epoch`` is that of the sender's
    lease; ``bridge_time`` the last time of the bridge's own clock that the sender has seen,
    ``picture_time`` that of the picture that it shows.
    ``encoding`` is that of the answer of a service, and of ``data`` where that is a
    ``memoryview``.
    """

    op_id: str | None
    destination: str
    data: Any
    kind: Kind | None = None
    stamp: int | None = None
    ttl: float | None = None
    sequence: int | None = None
    timeout: float | None = None
    ack: bool = False
    epoch: int | None = None
    bridge_time: int | None = None
    picture_time: int | None = None
    encoding: Encoding = 'json'


@dataclass(frozen=True, slots=True)
class Inquire:
    """A question about the robot that the bridge answers itself, as it does a service call."""

    op_id: str | None
    service: str
    question: str
    data: Any
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Who the peer claims to be, as its dialect says it."""

    op_id: str | None
    credentials: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class MakeTicket:
    """Have a ticket made that lets somebody in who can type nothing but a URL."""

    op_id: str | None
    role: str


@dataclass(frozen=True, slots=True)
class BinaryPublish:
    """
    A publication without text, on a channel that an acknowledgment named.

    ``stamp`` is ``None`` where ``bridge_time`` alone tells its age.
    """

    channel_id: int
    encoding: Encoding
    payload: memoryview
    stamp: int | None
    sequence: int
    ttl: float | None = None
    epoch: int | None = None
    bridge_time: int | None = None
    picture_time: int | None = None


@dataclass(frozen=True, slots=True)
class BinarySample:
    """A sample from another bridge, on a channel that its acknowledgment named."""

    channel_id: int
    encoding: Encoding
    payload: memoryview
    stamp: int
    sequence: int


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """
    The answer to something that this side sent, most often a :class:`ServiceCall`.

    ``error`` is set where the peer failed; ``data`` is all that it answered.
    """

    op_id: str | None
    call_id: str | None
    values: Any = None
    error: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """
    The peer's program lives.

    ``echo`` is (sequence, its timestamp, when the peer received it) of the last heartbeat
    from this side. One that is ``forgeable`` tells times alone: the peer has to sign, and did not
    sign this.
    """

    op_id: str | None
    stamp: int | None
    sequence: int | None = None
    echo: tuple[int, int, int] | None = None
    answer: bool = False
    forgeable: bool = False


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What the peer tells about itself."""

    op_id: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListGates:
    """The peer asks which gates there are, who commands through them, and of the e-stop."""

    op_id: str | None


@dataclass(frozen=True, slots=True)
class LeaseOperation:
    """
    The peer wants something done with the lease of a gate.

    :param peer: whom it grants or denies the lease.
    :param message: what it tells the holder of whom it requests the lease.
    """

    op_id: str | None
    verb: LeaseVerb
    gate: str
    peer: str | None = None
    message: str = ''


@dataclass(frozen=True, slots=True)
class EmergencyStop:
    """
    Nothing may move any more.

    :param press: names the press of a button that it is sent for, maybe more than once.
    """

    op_id: str | None
    reason: str = ''
    press: str | None = None


@dataclass(frozen=True, slots=True)
class ClearStop:
    """The emergency stop is over."""

    op_id: str | None


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty frame: by what comes next TCP notices that what came before was lost."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that is no operation; the error goes back to its sender."""

    op_id: str | None
    error: WsBridgeError
    about: About | None = None


@dataclass(frozen=True, slots=True)
class Appeared:
    """A pending subscription found its topic."""

    result: Mapping[str, Any]


Operation = (
    Appeared | Hello | ComeBack | ListNames | GetSchema | Diagnose | Subscribe | Unsubscribe
    | PictureShown | Advertise | Unadvertise | AdvertiseService | UnadvertiseService
    | SendGoal | CancelGoal | AdvertiseAction | UnadvertiseAction | GoalAnswer
    | ActionFeedback | ActionResult | GetParameters | SetParameters | WatchParameters
    | WatchConnections | FetchAsset | ControlPlayback | AddToTable | WatchStatus | Command
    | Inquire | Authenticate | MakeTicket | BinaryPublish | BinarySample | ServiceAnswer
    | Heartbeat | PeerStatus | ListGates | LeaseOperation | EmergencyStop | ClearStop | Nothing
    | Malformed)


def about(op: Operation) -> About | None:
    """Return what else than an error the peer waits for."""
    if isinstance(op, Malformed):
        return op.about
    if isinstance(op, Inquire):
        return About('call', op.service)
    if isinstance(op, SendGoal):
        return About('goal', op.action)
    if isinstance(op, Command) and op.kind == 'service':
        return About('call', op.destination)
    return None


@dataclass(frozen=True, slots=True)
class Parked:
    """
    Stands, in an operation, for values that were too much to be read here: the reader has them.

    :param is_list: they are an array, else an object.
    """

    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Wrapped:
    """
    A message that came in parts and is too much to be read here, or that came as an image.

    :param text: JSON, or an image in base64.
    """

    text: str
    is_png: bool = False


Decoded = tuple[Operation, ...] | Wrapped
"""What a frame holds: operations in their order, or what has to be read elsewhere."""


class Frame(NamedTuple):
    """One WebSocket message, ready to be written."""

    data: bytes
    text: bool
    priority: Priority
