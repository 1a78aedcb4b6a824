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
"""What is guarded: a gate, the publishers behind it, and who is told what happens there."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TYPE_CHECKING

from ws_bridge.bridge.neighbours import Neighbour
from ws_bridge.bridge.peer import Peer
from ws_bridge.convert.codec import Codec
from ws_bridge.errors import WsBridgeError
from ws_bridge.safety.gate import Gate
from ws_bridge.safety.neutral import Checks
from ws_bridge.session.effects import Publish

if TYPE_CHECKING:
    from ws_bridge.ros.guard import Guard
    from ws_bridge.ros.publishers import Publisher


@dataclass(slots=True, eq=False)
class Guarded:
    """
    A gate and what stops the robot behind it.

    :param generation: of the guard, as far as this side has taken note of its stops.
    :param topic: the only one, of a gate that no mapping file names.
    :param lanes: how many publishers it has.
    :param last_peer: who sent the last command that passed.
    :param beginning: the command by which somebody acquired the lease is not published yet.
    :param afterwards: what is to be done when it is, or was dropped.
    :param granting: another bridge that guards the same topic, and grants the leases.
    :param told: the speed limit that peers were told.
    """

    gate: Gate
    guard: Guard
    generation: int
    topic: str | None = None
    lanes: int = 0
    last_peer: str | None = None
    beginning: bool = False
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    granting: Neighbour | None = None
    told: float | None = None


@dataclass(slots=True, eq=False)
class Lane:
    """One publisher behind a gate, and how the gate judges what it is to say."""

    guarded: Guarded
    topic: str
    codec: Codec
    publisher: Publisher
    checks: Checks


@dataclass(frozen=True, slots=True)
class Passage:
    """
    The way of the commands of one peer to one publisher, through its gate.

    :param is_explicit: the peer has to hold a lease that it asked for in words.
    """

    peer: Peer
    lane: Lane
    is_explicit: bool


class Watcher(Protocol):
    """Who is told what happens; see :class:`ws_bridge.bridge.leases.Leases`."""

    def acquired(self, guarded: Guarded, peer: Peer) -> None:
        """Note that a peer acquired the lease by publishing."""

    def refused(self, guarded: Guarded, peer: Peer, error: WsBridgeError) -> None:
        """Note that a command was refused."""

    def stopped(self, guarded: Guarded, reason: str, subscribers: int, after: float) -> None:
        """Note that a stop was published."""

    def halted(self, guarded: Guarded, reason: str) -> None:
        """Note that the guard has stopped without being asked from here."""

    def elapsed(self, guarded: Guarded) -> None:
        """Note that time has passed for a gate."""

    def dropped(self, guarded: Guarded, error: WsBridgeError) -> None:
        """Note that a command that had passed was not published after all."""

    def alarmed(self, guarded: Guarded, text: str) -> None:
        """Note that a stop cannot be published, or with an empty text that it was."""


class CommandTap(Protocol):
    """What records commands; see :class:`ws_bridge.bridge.recorder.Recorder`."""

    def judged(self, passage: Passage, wish: Publish, why: WsBridgeError | None) -> None:
        """Note what became of a command: it passed, or why not."""

    def published(self, topic: str, codec: Codec, cdr: bytes | memoryview) -> None:
        """Note what was published."""
