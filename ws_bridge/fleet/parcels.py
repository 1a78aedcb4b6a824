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
What crosses between relays.  Pure.

A frame of a carrier is in a parcel, which names who sent it, the way to a robot that it belongs
to, and its number there: parcels of one way come in order, or somebody has lost some, and then
nothing of its streams can be trusted any more. Whoever notices says :data:`BYE`. Subjects::

    ws_bridge.presence        who is there, which robots they have: JSON
    ws_bridge.robots.NAME.up  parcels for the robot: whichever relay has it takes them
    ws_bridge.relays.ID.down  parcels for what a relay carries
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import struct
from typing import Any, NamedTuple

import orjson

from ws_bridge.errors import BadFrame
from ws_bridge.fleet.frames import Kind
from ws_bridge.fleet.names import is_robot_name

PREFIX = 'ws_bridge'
PRESENCE = f'{PREFIX}.presence'
ID_SIZE = 8
"""Of what names one connection of a relay with the engine, bytes."""

BYE = bytes((Kind.BYE,))
"""The frame that ends a way, whatever its number."""

_HEAD = struct.Struct(f'!{ID_SIZE}s{ID_SIZE}s{ID_SIZE}sQB')


def up(robot: str) -> str:
    """Return the subject of what goes to a robot."""
    return f'{PREFIX}.robots.{robot}.up'


def down(relay: str) -> str:
    """Return the subject of what goes to the operators of a relay."""
    return f'{PREFIX}.relays.{relay}.down'


class Parcel(NamedTuple):
    """
    A frame on its way between relays.

    :param sender: of this connection with the engine; ``receiver``: likewise, so that nothing
        reaches one that was made since.
    :param way: names it; whoever has operators makes one for each robot.
    :param number: counted by the sender for each way.
    """

    sender: str
    receiver: str
    way: str
    number: int
    robot: str
    frame: bytes


def pack(parcel: Parcel) -> bytes:
    """Return a parcel as it is sent."""
    name = parcel.robot.encode()
    return b''.join((_HEAD.pack(bytes.fromhex(parcel.sender), bytes.fromhex(parcel.receiver),
                                bytes.fromhex(parcel.way), parcel.number, len(name)),
                     name, parcel.frame))


def unpack(data: bytes) -> Parcel:
    """
    Read a parcel.

    :raises BadFrame: it is none.
    """
    try:
        sender, receiver, way, number, size = _HEAD.unpack_from(data)
        name = data[_HEAD.size:_HEAD.size + size].decode('ascii')
    except (struct.error, ValueError) as exc:
        raise BadFrame(f'no parcel of a relay: {exc}') from exc
    if not is_robot_name(name):
        raise BadFrame('a parcel of a relay names no robot')
    return Parcel(sender.hex(), receiver.hex(), way.hex(), number, name,
                  data[_HEAD.size + size:])


@dataclass(frozen=True, slots=True)
class Presence:
    """
    What a relay says of itself and its robots.

    :param asks: it wants to hear of everybody's robots.
    :param robots: that it has, and what is to be known of them; not always all.
    :param gone: names of those that have left.
    :param leaves: it ends.
    :param before: its name until now, which is no more.
    """

    relay: str
    asks: bool = False
    robots: tuple[Mapping[str, Any], ...] = ()
    gone: tuple[str, ...] = ()
    leaves: bool = False
    before: str = ''


def pack_presence(presence: Presence) -> bytes:
    """Return what a relay says, as it is sent."""
    return orjson.dumps({'relay': presence.relay, 'asks': presence.asks,
                         'robots': presence.robots, 'gone': presence.gone,
                         'leaves': presence.leaves, 'before': presence.before})


def unpack_presence(data: bytes) -> Presence:
    """
    Read what a relay says; what it says of robots is read later.

    :raises BadFrame: it cannot be read.
    """
    try:
        said = orjson.loads(data)
        relay, robots, gone = said['relay'], said['robots'], said['gone']
        if len(bytes.fromhex(relay)) != ID_SIZE or not isinstance(robots, list) or \
                not all(isinstance(each, dict) for each in robots) or \
                not isinstance(gone, list) or not all(isinstance(each, str) for each in gone):
            raise BadFrame('the presence of a relay is not what it should be')
        return Presence(relay, bool(said['asks']), tuple(robots), tuple(gone),
                        bool(said['leaves']), str(said['before']))
    except (ValueError, KeyError, TypeError) as exc:
        raise BadFrame('the presence of a relay cannot be read') from exc
