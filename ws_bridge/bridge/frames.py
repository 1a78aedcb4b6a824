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
Frames of peers: frame -> operation -> session -> effects, in the order of each peer.

What is too much for the loop goes by :mod:`ws_bridge.bridge.intake`; an emergency stop waits for
nothing.
"""
from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ws_bridge.bridge.connections import (
    may_stop,
    NO_DIALECT,
    PeerConnections,
    PROTOCOL_ERROR,
)
from ws_bridge.bridge.dispatch import Dispatcher
from ws_bridge.bridge.intake import Intake, is_soon_checked, Job, unreadable
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.publications import Publications
from ws_bridge.bridge.second_look import SecondLook
from ws_bridge.bridge.uplink import Uplink
from ws_bridge.bridge.uplinks import Uplinks
from ws_bridge.config import Settings
from ws_bridge.errors import BadFrame
from ws_bridge.offload.workshop import Workshop
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.operations import BinarySample, EmergencyStop, Operation, Wrapped
from ws_bridge.transport.large import Large
from ws_bridge.transport.link import Link
from ws_bridge.weight import INLINE, is_heavy_cbor, is_heavy_json, LARGE

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

SPACES = 64
"""White space before JSON in a binary frame is at most as long."""
MEMORY = 64 << 20
"""What the worker that reads messages may take beside itself for any message, bytes,"""
MEMORY_BYTE = 20
"""and for each byte of the largest one: text, a string of wide characters, CDR; the parser asks
for twelve, and uses few."""


class Frames:
    """Reads what peers send, or has it read, and has it carried out."""

    def __init__(self, settings: Settings, ros: RosSide, loop: asyncio.AbstractEventLoop, *,
                 peers: Mapping[Link, Peer], connections: PeerConnections,
                 dispatcher: Dispatcher, publications: Publications,
                 second_look: SecondLook, uplinks: Uplinks) -> None:
        self._settings = settings
        self._ros = ros
        self._loop = loop
        self._peers = peers
        self._connections = connections
        self._second_look = second_look
        self._uplinks = uplinks
        # what the intake asks of others, beside what is below
        self.find, self.is_here = connections.find, connections.is_here
        self.carry_out, self.codec_of = dispatcher.carry_out, dispatcher.codec_of
        self.is_unsure, self.is_gated = second_look.is_unsure, publications.is_gated
        self.ros_time = ros.now
        self.intake = Intake(settings, Workshop(
            'messages from peers', timeout=settings.max_reading_time,
            memory=MEMORY + MEMORY_BYTE * settings.max_message_size), self, loop)

    def __repr__(self) -> str:
        return f'Frames({self.intake!r})'

    def received(self, link: Link, data: str | bytes) -> None:
        """Carry out what a frame of a peer asks for, after what the peer sent before."""
        if not self.intake.is_busy(link):
            job = self.take(link, data)
            if job is not None:
                self.intake.begin(link, job)
        elif not (may_stop(data) and self._stops(link, data)):
            self.intake.wait(link, data)

    def received_large(self, link: Link, message: Large) -> None:
        """Do so with a message that nobody puts together here."""
        job = None if self.intake.is_busy(link) else self.take(link, message)
        if job is not None:
            self.intake.begin(link, job)
        elif self.intake.is_busy(link):
            self.intake.wait(link, message)

    def _stops(self, link: Link, data: str | bytes) -> bool:
        """Carry out an emergency stop, which waits for nothing."""
        peer = self._peers.get(link)
        if peer is None or not peer.kind.stops_early:
            return False
        decoded = peer.dialect.decode(data, self._loop.time())
        if isinstance(decoded, Wrapped):
            return False
        stops = _stops_in(decoded)
        for op in stops:
            self.carry_out(peer, peer.session.receive(op, self._loop.time()), op.op_id)
        return len(stops) == len(decoded) > 0     # else the frame waits, for what else it asks

    def take(self, link: Link, data: str | bytes | Large) -> Job | None:
        """Carry out a frame, or return what has to be awaited for it; see :class:`Intake`."""
        peer = self._peers.get(link)
        if isinstance(data, Large):
            return self._take_large(link, peer, data)
        if type(data) is bytes and (peer is None or peer.takes_json_bytes):
            data = _as_text(data)
        if peer is None:
            if isinstance(data, str) and is_heavy_json(data):
                return partial(self.intake.read, link, data)
            try:
                kind = DIALECTS.of_frame(data, self._settings.max_json_depth)
            except BadFrame as exc:
                link.close(PROTOCOL_ERROR, unreadable(exc))
                return None
            if kind is None:
                link.close(PROTOCOL_ERROR, NO_DIALECT)
                return None
            peer = self._connections.meet(link, kind)
        now = self._loop.time()
        too_much = peer.session.allowance.check_size(len(data), now)
        if too_much is not None:
            self.carry_out(peer, too_much)
            if not (peer.kind.stops_early and may_stop(data)):
                return None
        elif _is_heavy(peer, data):
            return partial(self.intake.read, link, data)
        peer.dialect.fence = link.fence
        decoded = peer.dialect.decode(data, now)
        link.fence = peer.dialect.fence
        if isinstance(decoded, Wrapped):
            return partial(self.intake.read, link, decoded) if too_much is None else None
        if too_much is not None:
            decoded = _stops_in(decoded)
        if len(decoded) == 1:
            return self.operate(peer, decoded[0])
        return self.intake.in_order(peer, decoded)

    def _take_large(self, link: Link, peer: Peer | None, message: Large) -> Job | None:
        """Return what reads a large message; what is only passed on has to be put together."""
        is_json = message.is_text or (
            (peer is None or peer.takes_json_bytes) and _begins_json(message.pieces[0]))
        if peer is None and not is_json:
            kind = DIALECTS.of_value(message.pieces[0])
            if kind is None:
                link.close(PROTOCOL_ERROR, NO_DIALECT)
                return None
            peer = self._connections.meet(link, kind)
        if peer is not None:
            too_much = peer.session.allowance.check_size(len(message), self._loop.time())
            if too_much is not None:
                self.carry_out(peer, too_much)
                return None
        if is_json or (peer is not None and peer.kind.parses_binary):
            return partial(self.intake.read, link, message, form='json' if is_json else 'cbor')
        return partial(self.intake.put_together, link, message)

    def operate(self, peer: Peer, op: Operation) -> Job | None:
        """Carry out an operation, or return what has to be awaited for it."""
        link = peer.link
        uplink = self._uplinks.of(link)
        if uplink is not None:
            job = self._check_sample(link, uplink, op)
            if job is not None or uplink.takes(op):
                return job
        if self._second_look.keeps(peer, op):
            return None
        effects = peer.session.receive(op, self._loop.time())
        if self.intake.is_large(peer, effects):
            return partial(self.intake.finish, peer, effects, None)
        self.carry_out(peer, effects, getattr(op, 'op_id', None))
        return None

    def _check_sample(self, link: Link, uplink: Uplink, op: Operation) -> Job | None:
        """Have a sample that is pulled checked elsewhere, where it is too much for the loop."""
        if type(op) is not BinarySample or len(op.payload) <= LARGE:
            return None
        codec = uplink.codec_of(op)
        if codec is None or is_soon_checked(codec, len(op.payload)):
            return None
        return partial(self.intake.check, link, codec, op.payload,
                       lambda checked: uplink.takes(replace(op, payload=checked)))

    async def look_again(self) -> None:
        """Return when the graph was looked at again, and what waited for that is done."""
        looked = asyncio.Event()
        self._ros.look_again(looked.set)
        await looked.wait()


def _as_text(data: bytes) -> str | bytes:
    """
    Return JSON that came in a binary frame as text, as some clients send all of it.

    Neither a native binary frame, which begins with its opcode, nor CBOR of a map begins so.
    """
    if not _begins_json(data):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _begins_json(data: bytes) -> bool:
    return data[:SPACES].removeprefix(BOM_UTF8).lstrip(b' \t\r\n').startswith(b'{')


def _stops_in(operations: tuple[Operation, ...]) -> tuple[EmergencyStop, ...]:
    return tuple(op for op in operations if type(op) is EmergencyStop)


def _is_heavy(peer: Peer, data: str | bytes) -> bool:
    """Whether a frame is too much to be parsed here; what is not parsed never is."""
    if len(data) <= INLINE:
        return False
    if isinstance(data, str):
        return is_heavy_json(data)
    return peer.kind.parses_binary and is_heavy_cbor(data)
