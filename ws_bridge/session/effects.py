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
What a session asks of its surroundings: values only, carried out in order by the bridge.

``topic``, ``service`` and ``action`` are fully qualified and remapped, ``wire_name`` is what the
peer calls it.
``deadline`` is monotonic, in seconds. When one effect of an operation fails, the rest of that
operation is not carried out.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.operations import (
    AddToTable,
    BinaryPublish,
    ClearStop,
    ComeBack,
    Command,
    ControlPlayback,
    EmergencyStop,
    Encoding,
    GetParameters,
    GetSchema,
    LeaseOperation,
    ListGates,
    ListNames,
    SetParameters,
    TopicUse,
    WatchParameters,
)
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.replies import Failed, Reply
from ws_bridge.session.queue import Share, USUAL

POLICY_VIOLATION = 1008
"""Close code of a peer that is dismissed for what it did, or did not do."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a reply to the peer."""

    reply: Reply


DeliveryName = str | tuple[str, str]
"""What tells the deliveries of a peer apart: a topic as it calls it, with a key if separate."""


@dataclass(frozen=True, slots=True)
class OpenSubscription:
    """
    Deliver samples of ``topic`` under the name that the peer used for it.

    A peer may use several names for one topic: each has a subscription of its own, and so has
    each ``separate`` one of the same name.

    ``share`` is what it is entitled to on a slow link. ``topic`` stands for the video of
    ``camera``, where there is one; ``msg_type`` is then that of the camera.

    ``key`` names the request that changed, where the peer has several for this name; a ``fresh``
    one gets what the topic has kept, though another one of this peer got it before.

    Of point clouds, at most ``max_points`` points are delivered; ``None`` = as they are.
    """

    op_id: str | None
    topic: str
    wire_name: str
    msg_type: str | None
    encoding: Encoding
    min_interval: float
    queue_depth: int
    qos: QosRequest | None
    want_schema: bool
    fragment_size: int | None = None
    key: str | None = None
    fresh: bool = False
    separate: bool = False
    share: Share = USUAL
    rung: int | None = None
    codec: str = 'h264'
    camera: str | None = None
    max_points: int | None = None

    @property
    def name(self) -> DeliveryName:
        """Tells it from other deliveries of the peer."""
        return (self.wire_name, self.key or '') if self.separate else self.wire_name

    def failed(self, error: WsBridgeError, op_id: str | None = None) -> Failed:
        """Return what tells the peer that something is wrong with this subscription."""
        return Failed(op_id, error, subscription=(self.wire_name, self.encoding))


@dataclass(frozen=True, slots=True)
class CloseSubscription:
    """Deliver ``topic`` no longer under this name."""

    topic: str
    name: DeliveryName


@dataclass(frozen=True, slots=True)
class NoteShown:
    """
    The peer has shown the picture of ``topic`` that was taken at ``stamp``, Unix, ns.

    ``names`` are those of its subscriptions of the topic.
    """

    topic: str
    names: tuple[DeliveryName, ...]
    stamp: int


@dataclass(frozen=True, slots=True)
class OpenPublisher:
    """
    Get a publisher ready; ``asked`` is false where a publication alone implied it.

    ``key`` names the advertisement, where the peer has several; a ``fresh`` one was not there yet.
    """

    op_id: str | None
    topic: str
    wire_name: str
    msg_type: str | None
    qos: QosRequest | None
    asked: bool
    key: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class ClosePublisher:
    """The peer publishes ``topic`` no longer."""

    topic: str


@dataclass(frozen=True, slots=True)
class Publish:
    """
    Convert and publish.

    ``ack`` asks for the number of matched subscribers, and is the topic as the peer calls it.
    ``command`` is what the peer sent: a gate judges that; ``deadline`` holds where there is none.
    """

    op_id: str | None
    topic: str
    data: Any
    encoding: Encoding
    deadline: float | None
    ack: str | None = None
    command: Command | BinaryPublish | None = None


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Look whether the graph has by now what a command is for, then go on with the command."""

    operation: Command


@dataclass(frozen=True, slots=True)
class CallService:
    """
    Call a ROS service; ``key`` names this call within the session.

    ``encoding`` is that of the answer, and of ``data`` where that is a ``memoryview``; ``epoch``
    that of the lease under which the peer calls, if it said so.
    """

    key: int
    service: str
    srv_type: str | None
    data: Any
    timeout: float
    encoding: Encoding = 'json'
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerQuestion:
    """Answer a question about the robot; ``key`` is that of a call."""

    key: int
    question: str
    data: Any
    timeout: float


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Nobody waits for this call any more."""

    key: int


@dataclass(frozen=True, slots=True)
class Host:
    """Serve a ROS service on the peer's behalf."""

    op_id: str | None
    service: str
    wire_name: str
    srv_type: str


@dataclass(frozen=True, slots=True)
class Unhost:
    """Serve it no longer."""

    service: str


@dataclass(frozen=True, slots=True)
class AnswerService:
    """Answer a ROS caller of a hosted service."""

    op_id: str | None
    service: str
    token: int
    values: Any


@dataclass(frozen=True, slots=True)
class StartGoal:
    """
    Send a goal to a ROS action; ``key`` names it within the session.

    ``epoch`` is that of the lease under which the peer sends it, if it said so.
    """

    key: int
    action: str
    action_type: str | None
    data: Any
    want_feedback: bool
    timeout: float | None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class RequestCancel:
    """Have a goal cancelled, and tell the peer whether it will be."""

    op_id: str | None
    key: int
    goal_op_id: str


@dataclass(frozen=True, slots=True)
class AbandonGoal:
    """Cancel a goal whose peer has left; it may come back for the end of the goal."""

    key: int


@dataclass(frozen=True, slots=True)
class DropGoal:
    """Cancel a goal that nobody waits for any more."""

    key: int


@dataclass(frozen=True, slots=True)
class HostAction:
    """Serve a ROS action on the peer's behalf."""

    op_id: str | None
    action: str
    wire_name: str
    action_type: str


@dataclass(frozen=True, slots=True)
class UnhostAction:
    """Serve it no longer; its goals are aborted."""

    action: str


@dataclass(frozen=True, slots=True)
class AnswerGoal:
    """Accept or reject a goal for a hosted action."""

    action: str
    token: int
    accepted: bool


@dataclass(frozen=True, slots=True)
class Feedback:
    """Give feedback on a goal for a hosted action."""

    op_id: str | None
    action: str
    token: int
    values: Any


@dataclass(frozen=True, slots=True)
class EndGoal:
    """End a goal for a hosted action; ``values`` is ``None`` for a result of defaults."""

    op_id: str | None
    action: str
    token: int
    values: Any
    status: int


@dataclass(frozen=True, slots=True)
class Describe:
    """Answer a question about the graph or its types."""

    operation: ListNames | GetSchema


@dataclass(frozen=True, slots=True)
class RunDiagnosis:
    """Say why nothing arrives from a topic, or moves; ``topic`` is ``None`` for any of them."""

    op_id: str | None
    topic: str | None
    wire_name: str | None
    use: TopicUse | None


@dataclass(frozen=True, slots=True)
class ControlOperation:
    """Do what the peer asks for about leases and the emergency stop, and answer it."""

    operation: ListGates | LeaseOperation | EmergencyStop | ClearStop

    @property
    def op_id(self) -> str | None:
        """What the answer refers to."""
        return self.operation.op_id


@dataclass(frozen=True, slots=True)
class ParameterOperation:
    """Read, set or watch parameters of nodes, and answer that."""

    operation: GetParameters | SetParameters | WatchParameters

    @property
    def op_id(self) -> str | None:
        """What the answer refers to."""
        return self.operation.op_id


@dataclass(frozen=True, slots=True)
class UnwatchParameters:
    """The peer watches no parameters any more."""


@dataclass(frozen=True, slots=True)
class ConnectionsWatched:
    """Tell who is connected to what in ROS, and changes of that, or no longer."""

    watch: bool


@dataclass(frozen=True, slots=True)
class ReadAsset:
    """Read a file of a package."""

    op_id: str | None
    uri: str


@dataclass(frozen=True, slots=True)
class SetPlayback:
    """Have a replay go on in another way, or tell how it goes."""

    op: ControlPlayback


@dataclass(frozen=True, slots=True)
class AddToExport:
    """Take a part of a table; make an MCAP file of it when it is the last one."""

    op: AddToTable


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The peer was silent for too long: what it commanded by is gone for good."""


@dataclass(frozen=True, slots=True)
class StatusWanted:
    """Send the robot's state now."""


@dataclass(frozen=True, slots=True)
class PeerChanged:
    """Something that other peers are shown about this one changed."""


@dataclass(frozen=True, slots=True)
class Greeted:
    """The peer is a bridge itself, which this one dialled or which dialled this one."""


@dataclass(frozen=True, slots=True)
class TakesPieces:
    """The peer puts large frames together that come in pieces."""


@dataclass(frozen=True, slots=True)
class OfferResume:
    """Greet the peer, and tell it the secret with which it can come back to this session."""

    op_id: str | None


@dataclass(frozen=True, slots=True)
class ResumeSession:
    """Let the peer go on with a session of its own."""

    operation: ComeBack

    @property
    def op_id(self) -> str | None:
        """What the answer refers to."""
        return self.operation.op_id


@dataclass(frozen=True, slots=True)
class LogIn:
    """Find out who presents these credentials."""

    op_id: str | None
    credentials: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssueTicket:
    """Make a ticket for a role, if the peer may."""

    op_id: str | None
    role: str


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Close the connection."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """An error that answers nothing of this side: counted, never answered."""


Effect = (
    Send | LookAgain | OpenSubscription | CloseSubscription | NoteShown | OpenPublisher
    | ClosePublisher | Publish | CallService | AnswerQuestion | CancelCall | Host | Unhost
    | AnswerService | StartGoal | RequestCancel | AbandonGoal | DropGoal | HostAction
    | UnhostAction | AnswerGoal | Feedback | EndGoal | Describe | RunDiagnosis | ControlOperation
    | ParameterOperation | UnwatchParameters | ConnectionsWatched | ReadAsset | SetPlayback
    | AddToExport | OfferResume | ResumeSession | PeerLost | StatusWanted | PeerChanged | Greeted
    | TakesPieces | LogIn | IssueTicket | Dismiss | Ignored)
