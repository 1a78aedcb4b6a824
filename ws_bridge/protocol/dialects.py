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
The wire protocols that are spoken on the bridge's port: one row each.

A peer names its dialect by a WebSocket subprotocol, or shows it by its first frame. Nothing but
this table and the module of a dialect knows which dialects there are.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ws_bridge.errors import BadFrame
from ws_bridge.protocol import foxglove, foxglove_requests, native, rosbridge, stop_connection
from ws_bridge.protocol.dialect import Dialect
from ws_bridge.protocol.envelope import MAX_DEPTH
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.weight import BESIDE


@dataclass(frozen=True, slots=True)
class DialectOptions:
    """
    What a dialect may want to know of the connection that it is made for.

    :param robot_name: what the bridge calls itself.
    :param prefix: begins identities that no other connection has.
    :param max_size: largest message, however it is wrapped, bytes.
    :param max_depth: most arrays and objects inside each other.
    :param read_cbor: decodes CBOR; raises ``BadEncoding``.
    :param in_browser: the peer is a page.
    :param ros_distro: the name of the ROS release; empty = not known.
    :param serves_assets: whether there are files of packages that a peer may have.
    :param sim_time: returns the time of a simulation, ns; ``None`` = there is none.
    """

    robot_name: str
    prefix: str
    max_size: int
    max_depth: int
    read_cbor: Callable[[bytes], Any]
    in_browser: bool = False
    ros_distro: str = ''
    serves_assets: bool = False
    sim_time: Callable[[], int] | None = None


@dataclass(frozen=True, slots=True)
class DialectKind:
    """
    One wire protocol.

    :param name: what peers and metrics are shown.
    :param subprotocol: of WebSocket, by which a peer names it.
    :param recognises: whether a first frame, parsed, is of this dialect; bytes as they came.
    :param make: makes the codec of one peer.
    :param greets: a peer that named it is told hello, and the robot's state, unasked.
    :param has_heartbeats: peers are sent heartbeats.
    :param lease_mode: how a peer goes about leases: ``native`` = in the words of this dialect,
        without which it commands nothing that wants a lease.
    :param unnamed_lease_mode: the same of a peer that did not name the dialect; ``None`` = as
        those that did.
    :param only_stops: peers can do nothing but stop: they are not shown among those that operate
        the robot, and give way to these where there is no room.
    :param stops_early: it has an emergency stop, which is carried out before what waits.
    :param parses_binary: binary frames are messages that have to be parsed: CBOR, or JSON.
    :param lenient_json: ``NaN`` and the infinities in JSON are read.
    :param find_values: where a parsed text frame has the values of a message; empty = nowhere.
        Without these a frame that is too large for the loop has to be short.
    :param find_id: the identity of a request in the text of a frame that cannot be parsed.
    :param most_beside: of a large text frame, parsed, how much the loop gets beside the values of
        a message, bytes.
    :param hears_topics: peers are told of topics that come and go; what they subscribed to ends
        with its topic.
    :param hears_definitions: they are told the definitions of the types of these, too, and of
        services that come and go.
    :param has_video_topics: peers have no words for video, and get it on topics of its own.
    :param hears_time: they are told the time of a simulation.
    :param other_subprotocols: further names of the same dialect.
    """

    name: str
    subprotocol: str
    recognises: Callable[[Any], bool]
    make: Callable[[DialectOptions], Dialect]
    greets: bool = False
    has_heartbeats: bool = False
    lease_mode: LeaseMode = 'native'
    unnamed_lease_mode: LeaseMode | None = None
    only_stops: bool = False
    stops_early: bool = False
    parses_binary: bool = False
    lenient_json: bool = False
    find_values: Callable[[dict[str, Any]], list[str]] = lambda value: []
    find_id: Callable[[bytes], str | None] = lambda text: None
    most_beside: Callable[[dict[str, Any]], int] = lambda value: BESIDE
    hears_topics: bool = False
    hears_definitions: bool = False
    hears_time: bool = False
    has_video_topics: bool = False
    other_subprotocols: tuple[str, ...] = ()

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """All of its names, the one that is chosen first of several."""
        return self.subprotocol, *self.other_subprotocols


class DialectTable(dict[str, DialectKind]):
    """Finds the dialect of a peer; the keys are the names."""

    def __init__(self, kinds: Iterable[DialectKind]) -> None:
        super().__init__()
        for kind in kinds:
            self.add(kind)

    def __repr__(self) -> str:
        return f'DialectTable({", ".join(self)})'

    def add(self, kind: DialectKind) -> None:
        """
        Add a row.

        :raises ValueError: an older row has its name or one of its subprotocols.
        """
        if kind.name in self or any(map(self.of_subprotocol, kind.subprotocols)):
            raise ValueError(f'a dialect has the name or the subprotocol of {kind.name}')
        self[kind.name] = kind

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What peers may name, in the order in which it is offered."""
        return tuple(name for kind in self.values() for name in kind.subprotocols)

    def of_subprotocol(self, subprotocol: str | None) -> DialectKind | None:
        """Return the dialect that a peer named, if it did."""
        return next((kind for kind in self.values() if subprotocol in kind.subprotocols), None)

    def of_frame(self, frame: str | bytes, max_depth: int = MAX_DEPTH) -> DialectKind | None:
        """
        Return the dialect that a first frame shows.

        One that may be an emergency stop shows it even where only Python can read it.

        :param max_depth: most arrays and objects inside each other.
        :raises BadFrame: it is text that cannot be read.
        """
        if isinstance(frame, bytes):
            return self.of_value(frame)
        try:
            value = rosbridge.parse_lenient(frame, max_depth)
        except BadFrame:
            value = native.find_stop(frame) or rosbridge.find_call(frame)
            if value is None:
                raise
        return self.of_value(value)

    def of_value(self, value: Any) -> DialectKind | None:
        """Do as :meth:`of_frame`, of a parsed text frame."""
        return next((kind for kind in self.values() if kind.recognises(value)), None)


DIALECTS = DialectTable((
    DialectKind(
        'native', native.SUBPROTOCOL, native.recognises,
        lambda options: native.NativeDialect(
            options.robot_name, options.prefix, options.max_depth),
        greets=True, has_heartbeats=True, unnamed_lease_mode='seed', stops_early=True,
        find_values=native.find_values, find_id=native.find_id),
    DialectKind(
        'rosbridge', rosbridge.SUBPROTOCOL, rosbridge.recognises,
        lambda options: rosbridge.RosbridgeDialect(
            options.max_size, options.read_cbor, options.max_depth,
            # what runs in browsers ignores a status that it did not ask for; roslibpy raises
            takes_status=options.in_browser),
        lease_mode='rosbridge', parses_binary=True, lenient_json=True, has_video_topics=True,
        find_values=rosbridge.find_values),
    DialectKind(
        'foxglove', foxglove.SUBPROTOCOL, foxglove.recognises,
        lambda options: foxglove.FoxgloveDialect(
            options.robot_name, options.ros_distro, options.max_depth,
            serves_assets=options.serves_assets, sim_time=options.sim_time),
        greets=True, lease_mode='foxglove', hears_topics=True, hears_definitions=True,
        hears_time=True, has_video_topics=True, most_beside=foxglove_requests.most_beside,
        other_subprotocols=(foxglove.OLD_SUBPROTOCOL,)),
    DialectKind(
        'stop', stop_connection.SUBPROTOCOL, lambda value: False,
        lambda options: stop_connection.StopDialect(
            options.robot_name, options.prefix, options.max_depth),
        only_stops=True, stops_early=True, find_values=native.find_values,
        find_id=native.find_id),
))
"""In the order in which a first frame is shown to them, and in which they are offered."""
