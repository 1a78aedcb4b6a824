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
"""The controls of a replay: all peers see the same one. A bridge to a robot has none."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol

from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.errors import Unavailable
from ws_bridge.protocol.replies import (
    Mark,
    PlaybackChanged,
    PlaybackControlled,
    PlaybackState,
    Span,
)
from ws_bridge.session.effects import SetPlayback


class Player(Protocol):
    """
    What plays a recording; times are Unix times, ns.

    :ivar on_change: called when it goes on in another way by itself: whether it has jumped.
    """

    span: Span
    on_change: Callable[[bool], None]

    @property
    def state(self) -> PlaybackState:
        """How it goes."""

    def play(self) -> None:
        """Go on."""

    def pause(self) -> None:
        """Stand still."""

    def set_speed(self, speed: float) -> None:
        """Go on faster or slower."""

    def seek(self, to: int) -> None:
        """Go on from another time."""

    def show(self) -> None:
        """Tell what there is at that time."""

    def marks(self) -> list[Mark]:
        """Return what stands out in the recording."""


class Playback(Unit):
    """
    Has a recording played as peers ask.

    :param player: ``None``: this is no replay.
    :param peers: returns those that are connected.
    """

    def __init__(self, player: Player | None, peers: Callable[[], Iterable[Peer]]) -> None:
        self._player = player
        self._peers = peers
        if player is not None:
            player.on_change = self._tell

    def __repr__(self) -> str:
        return f'Playback({self._player!r})'

    @property
    def span(self) -> Span | None:
        """What is replayed, if anything."""
        return None if self._player is None else self._player.span

    def _set(self, peer: Peer, effect: SetPlayback) -> None:
        """Do what a peer asks for, and tell the others; what there is then follows the answer."""
        player, op = self._player, effect.op
        if player is None:
            raise Unavailable('this is no replay')
        before = player.state
        if op.play is False:
            player.pause()
        if op.seek is not None:
            player.seek(op.seek)
        if op.speed is not None:
            player.set_speed(op.speed)
        if op.play is True:
            player.play()
        has_jumped = op.seek is not None or (before.status == 'ended' and op.play is True)
        peer.send(PlaybackControlled(
            op.op_id, player.state, player.span, player.marks() if op.want_marks else None,
            has_jumped))
        if has_jumped or (op.speed, op.play) != (None, None):
            self._tell(has_jumped, peer)
        if has_jumped:
            player.show()

    def _tell(self, has_jumped: bool, asker: Peer | None = None) -> None:
        """Tell those who want to know how it goes now."""
        assert self._player is not None
        changed = PlaybackChanged(self._player.state, has_jumped)
        for peer in list(self._peers()):
            if peer is not asker and peer.hears_news:
                peer.send(changed)

    EFFECTS: ClassVar[Effects] = {SetPlayback: _set}
