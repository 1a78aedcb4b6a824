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
Carries out what sessions ask for: each effect by the unit that has it in its table.

Sessions ask when an operation comes, and when time has passed for them.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
import logging
from typing import ClassVar, get_args

from ws_bridge.bridge.intake import VALUES
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.unit import CodecOf, Effects, Handler, table_of, Unit
from ws_bridge.convert.codec import Codec
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.replies import Failed
from ws_bridge.session import effects as fx
from ws_bridge.transport.link import Link

logger = logging.getLogger(__name__)


class Dispatcher(Unit):
    """
    Finds the unit of each effect, and has each session polled when it is due.

    :param peers: those that are connected.
    """

    def __init__(self, peers: Mapping[Link, Peer], loop: asyncio.AbstractEventLoop) -> None:
        self._peers = peers
        self._loop = loop
        self._handlers: dict[type, tuple[Unit, Handler]] = {}
        self._codecs: dict[type, tuple[Unit, CodecOf]] = {}
        self._timers: dict[Link, tuple[float, asyncio.TimerHandle]] = {}

    def __repr__(self) -> str:
        return f'Dispatcher({len(self._handlers)} effects)'

    def connect(self, units: Iterable[Unit]) -> None:
        """
        Let units carry out effects; to be called once, before the first peer.

        :raises TypeError: an effect is carried out by none of them, or by two.
        """
        units = self, *units
        self._handlers = table_of(((unit, unit.EFFECTS) for unit in units), get_args(fx.Effect))
        self._codecs = table_of(((unit, unit.CODECS) for unit in units), VALUES)

    def carry_out(self, peer: Peer, effects: list[fx.Effect], op_id: str | None = None) -> bool:
        """
        Carry out effects in order; an error ends the list and goes to the peer.

        :param op_id: of the operation that they follow from.
        :return: whether all were carried out.
        """
        done = True
        for effect in effects:
            unit, handler = self._handlers[type(effect)]
            try:
                handler(unit, peer, effect)
            except WsBridgeError as exc:
                peer.send(Failed(getattr(effect, 'op_id', op_id), exc, unit.about(effect)))
                done = False
                break
        if len(effects) != 1 or type(effects[0]) is not fx.Publish:
            self.arm(peer)
        return done

    def codec_of(self, peer: Peer, effect: fx.Effect) -> Codec | None:
        """
        Return what converts the values of an effect; ``None`` where nobody wants them.

        :raises WsBridgeError: they are for something that is not there.
        """
        unit, method = self._codecs[type(effect)]
        return method(unit, peer, effect)

    # ---- time

    def arm(self, peer: Peer) -> None:
        """Have the session of a peer polled at its next deadline, unless the peer has left."""
        link = peer.link
        if self._peers.get(link) is not peer:
            return
        due = peer.session.deadline()
        armed = self._timers.get(link)
        if armed is not None:
            if armed[0] == due:
                return
            armed[1].cancel()
            del self._timers[link]
        if due is not None:
            self._timers[link] = due, self._loop.call_at(due, self._poll, peer)

    def disarm(self, link: Link) -> None:
        """Poll the session of a link no more."""
        timer = self._timers.pop(link, None)
        if timer is not None:
            timer[1].cancel()

    def _poll(self, peer: Peer) -> None:
        self._timers.pop(peer.link, None)
        self.carry_out(peer, peer.session.poll(self._loop.time()))
        self.arm(peer)

    # ---- effects that need no unit

    def _send(self, peer: Peer, effect: fx.Send) -> None:
        peer.send(effect.reply)

    def _ignored(self, peer: Peer, effect: fx.Ignored) -> None:
        logger.debug('peer %s sent an error that answers nothing', peer.name)

    EFFECTS: ClassVar[Effects] = {fx.Send: _send, fx.Ignored: _ignored}
