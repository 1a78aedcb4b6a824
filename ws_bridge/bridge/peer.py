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
"""One connected peer: its link, its session and its dialect."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ws_bridge.bridge.ledger import Ledger
from ws_bridge.errors import TypeMismatch, UnknownName
from ws_bridge.protocol.dialect import Dialect
from ws_bridge.protocol.dialects import DialectKind
from ws_bridge.protocol.operations import Frame
from ws_bridge.protocol.replies import Failed, Reply
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.session.session import Session
from ws_bridge.transport.link import Link

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.snapshot import TopicInfo


@dataclass(slots=True, eq=False)
class Peer:
    """
    What the bridge keeps of a peer that has spoken.

    :param kind: the row of its dialect.
    :param clock: Unix time that no wall clock step disturbs, s.
    :param ledger: counts the errors that the peer is told.
    :param takes_json_bytes: JSON in its binary frames is read as text.
    :ivar successor: the peer that has gone on with its session, on another connection.
    :ivar topics: the topics that it was told of, with their types, where its dialect has that;
        ``services`` are the services.
    """

    link: Link
    session: Session
    dialect: Dialect
    kind: DialectKind
    clock: Callable[[], float]
    ledger: Ledger
    takes_json_bytes: bool = False
    topics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    services: dict[str, tuple[str, ...]] = field(default_factory=dict)
    successor: Peer | None = None

    @property
    def current(self) -> Peer:
        """The peer that has the session now."""
        peer = self
        while peer.successor is not None:
            peer = peer.successor
        return peer

    @property
    def has_left(self) -> bool:
        """Whether its connection has ended, though its session may wait or go on."""
        return self.successor is not None or not self.link.is_open

    @property
    def name(self) -> str:
        """The unique name of the peer."""
        return self.session.peer

    @property
    def shown_name(self) -> str:
        """What a person knows it by: who logged in, else what it calls itself."""
        identity = self.session.login.identity
        return identity.name if identity is not None else self.session.name or self.name

    @property
    def hears_news(self) -> bool:
        """Whether it is told what happens: it wants to be, and has not still to log in."""
        return self.session.wants_status and not self.session.login.needed

    def send(self, reply: Reply) -> None:
        """Encode a reply in the peer's dialect and queue it; never waits."""
        if self.successor is not None:
            self.current.send(reply)
            return
        if isinstance(reply, Failed):
            self.ledger.counts['refused', reply.error.code] += 1
        frames, outbox = self.frames_of(reply), self.session.outbox
        if isinstance(reply, Failed) and not frames and not reply.error.is_logged:
            # its dialect has no word for that, or it wants none
            self.ledger.audit.often('untold', peer=self.name, address=self.link.address,
                                    code=reply.error.code, message=str(reply.error))
        if outbox is None or outbox.keep(reply, frames, self.session.heartbeats.number):
            self.send_frames(frames)

    def send_frames(self, frames: Iterable[Frame]) -> None:
        """Queue frames; never waits."""
        for frame in frames:
            self.link.send(frame.data, frame.priority, text=frame.text)

    def frames_of(self, reply: Reply) -> list[Frame]:
        """Encode a reply in the peer's dialect."""
        return self.dialect.encode(reply, nanoseconds(self.clock()))

    def beat(self) -> None:
        """Send a heartbeat."""
        beat = self.session.heartbeats.make(self.clock())
        for frame in self.dialect.encode(beat, beat.stamp):
            self.link.beat(frame.data, frame.priority)


def is_there(info: TopicInfo | None) -> bool:
    """Whether a topic is more than what peers wait for."""
    return info is not None and (info.publishers > 0 or not info.brought)


def types_of(ros: RosSide, topic: str) -> tuple[str, ...]:
    """
    Return the types under which the graph knows a topic; none where it does not.

    Where only peers use it, these are what they asked for.
    """
    info = ros.graph.topics.get(topic)
    return tuple(info.types) if info else ()


def types_of_others(ros: RosSide, topic: str) -> tuple[str, ...]:
    """Return the types that a topic has in ROS: what a peer asked for is none of them."""
    info = ros.graph.topics.get(topic)
    return tuple(info.types) if info and not info.brought else ()


def agreed_type(name: str, asked: str, types: Sequence[str]) -> str:
    """
    Return the type that a peer asks for, unless the name has others.

    :param asked: its full name.
    :param types: those that the name has; none = any will do.
    :raises TypeMismatch: it is none of them.
    """
    if types and asked not in types:
        raise TypeMismatch(f'{name} is {" and ".join(types)}, not {asked}', field='type')
    return asked


def type_to_call(what: str, name: str, asked: str | None, types: Sequence[str]) -> str:
    """
    Return the type with which a peer calls something.

    :param what: ``service`` or ``action``.
    :param asked: the full name of the type that it names, if it names one.
    :raises TypeMismatch: it is none of ``types``.
    :raises UnknownName: it names none, and there is none.
    """
    if asked is not None:
        return agreed_type(name, asked, types)
    if not types:
        raise UnknownName(f'there is no {what} {name}', field='destination')
    return types[0]
