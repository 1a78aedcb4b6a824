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
"""Topics out: what sessions ask for of :mod:`ws_bridge.bridge.outward`, which delivers them."""
from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.bridge.video import VideoToPeers
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.operations import VIDEO
from ws_bridge.session import effects as fx


class Subscriptions(Unit):
    """
    Opens and closes deliveries for sessions.

    :param require_room: refuses one more entity of ROS where peers have too many.
    :param video: delivers what has to be encoded for it.
    :param changed: told when a peer hears another topic, or one no more.
    """

    def __init__(self, outward: Outward, video: VideoToPeers, *, require_room: Callable[[], None],
                 changed: Callable[[], None]) -> None:
        self._outward = outward
        self._video = video
        self._require_room = require_room
        self._changed = changed

    def __repr__(self) -> str:
        return f'Subscriptions({len(self._outward.topics())} topics)'

    def _open(self, peer: Peer, effect: fx.OpenSubscription) -> None:
        try:
            by = self._of(effect.name)
            if by is self._outward and not by.has(peer, effect.name):
                self._require_room()
            by.open(peer, effect)
        except WsBridgeError:
            self._take_back(peer, effect)
            raise
        self._changed()

    def _take_back(self, peer: Peer, effect: fx.OpenSubscription) -> None:
        """Let the session forget what could not be made; an older one may still stand."""
        subscriptions = peer.session.subscriptions
        if self._of(effect.name).has(peer, effect.name):
            subscriptions.forget_key(effect.name, effect.key)
        else:
            subscriptions.forget(effect.name)

    def _close(self, peer: Peer, effect: fx.CloseSubscription) -> None:
        self._of(effect.name).close(peer, effect.name)
        self._changed()

    def _of(self, name: fx.DeliveryName) -> Outward | VideoToPeers:
        """Return what delivers."""
        return self._video if isinstance(name, tuple) and name[1] == VIDEO else self._outward

    def graph_changed(self) -> None:
        """Deliver what waited for its topic to appear."""
        self._outward.graph_changed()

    def _takes_pieces(self, peer: Peer, effect: fx.TakesPieces) -> None:
        peer.link.queue.takes_pieces = True

    EFFECTS: ClassVar[Effects] = {
        fx.OpenSubscription: _open, fx.CloseSubscription: _close, fx.TakesPieces: _takes_pieces}
