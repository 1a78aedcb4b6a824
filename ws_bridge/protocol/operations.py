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

A dialect turns frames into the :data:`Operation` values of this module and the
:data:`Reply` values of this module into frames; a session sees nothing else. Names are
as the peer wrote them; times are Unix seconds of the peer's clock, durations seconds.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.types import Priority

Encoding = Literal['json', 'cbor', 'cdr']
Kind = Literal['topic', 'service']


@dataclass(frozen=True, slots=True)
class Hello:
    """
    The peer introduces itself.

    ``greeting`` is true where it is the unasked hello of another bridge.
    """

    op_id: str | None
    name: str | None = None
    greeting: bool = False


@dataclass(frozen=True, slots=True)
class ListNames:
    """The peer asks which topics, services and nodes there are."""

    op_id: str | None


@dataclass(frozen=True, slots=True)
class GetSchema:
    """The peer asks for the definition of a type."""

    op_id: str | None
    type_name: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """
    Samples of a topic are wanted.

    ``min_interval`` is 0 for every sample; ``queue_depth`` is ``None`` for the default.
    """

    op_id: str | None
    topic: str
    msg_type: str | None = None
    encoding: Encoding | None = None
    min_interval: float | None = None
    queue_depth: int | None = None
    qos: QosRequest | None = None
    want_schema: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """No more samples of a topic."""

    op_id: str | None
    topic: str


@dataclass(frozen=True, slots=True)
class Advertise:
    """The peer will publish a topic."""

    op_id: str | None
    topic: str
    msg_type: str | None = None
    qos: QosRequest | None = None


@dataclass(frozen=True, slots=True)
class Unadvertise:
    """The peer will no longer publish a topic."""

    op_id: str | None
    topic: str


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
class WatchStatus:
    """The robot's state is wanted, or no longer."""

    op_id: str | None
    subscribe: bool


@dataclass(frozen=True, slots=True)
class Command:
    """
    Fields for a topic or a service; ``kind`` says which, where the peer knows.

    ``stamp`` and ``ttl`` bound its age; ``ack`` asks for an answer to a publication.
    """

    op_id: str | None
    destination: str
    data: Any
    kind: Kind | None = None
    stamp: float | None = None
    ttl: float | None = None
    sequence: int | None = None
    timeout: float | None = None
    ack: bool = False


@dataclass(frozen=True, slots=True)
class BinaryPublish:
    """A publication without text, on a channel that an acknowledgment named."""

    channel_id: int
    encoding: Encoding
    payload: memoryview
    stamp: float
    sequence: int
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class BinarySample:
    """A sample from another bridge, on a channel that its acknowledgment named."""

    channel_id: int
    encoding: Encoding
    payload: memoryview
    stamp: float
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
    from this side.
    """

    op_id: str | None
    stamp: float | None
    sequence: int | None = None
    echo: tuple[int, float, float] | None = None
    answer: bool = False


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What the peer tells about itself."""

    op_id: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that is no operation; the error goes back to its sender."""

    op_id: str | None
    error: WsBridgeError


@dataclass(frozen=True, slots=True)
class Appeared:
    """A pending subscription found its topic."""

    result: Mapping[str, Any]


Operation = (
    Appeared | Hello | ListNames | GetSchema | Subscribe | Unsubscribe | Advertise | Unadvertise
    | AdvertiseService | UnadvertiseService | WatchStatus | Command | BinaryPublish
    | BinarySample | ServiceAnswer | Heartbeat | PeerStatus | Malformed)


@dataclass(frozen=True, slots=True)
class Welcome:
    """Who the bridge is and what this peer may do; unasked when ``op_id`` is ``None``."""

    op_id: str | None
    hello: Mapping[str, Any]
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """A request was carried out."""

    op_id: str | None
    op: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallDone:
    """A service answered; ``values`` is JSON text."""

    op_id: str | None
    service: str
    values: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A request, or something else of this peer's, failed."""

    op_id: str | None
    error: WsBridgeError


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """ROS calls a service that the peer hosts; ``values`` is JSON text."""

    call_id: str
    service: str
    values: bytes


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat of the bridge; ``answers`` is set when it answers one."""

    sequence: int
    stamp: float
    echo: tuple[int, float, float] | None
    answers: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The robot's state: ``common`` is JSON object text for all, ``you`` this peer's part."""

    common: bytes
    you: Mapping[str, Any]


Reply = Welcome | Done | CallDone | Failed | Appeared | ServiceCall | Beat | State


class Frame(NamedTuple):
    """One WebSocket message, ready to be written."""

    data: bytes
    text: bool
    priority: Priority
