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
The robots and operators of a relay: who may dial in as which robot, who is carried to which.

Nothing is decided here about a robot, and nothing is remembered of it but what its own connection
says. When that ends, so does everything that it carried.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
import logging
import time
from typing import Any, Protocol

from ws_bridge.addresses import network_of
from ws_bridge.bridge.door import Admission, Door
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.config import Settings
from ws_bridge.config.roles import NOBODY, Role
from ws_bridge.errors import BadFrame
from ws_bridge.fleet.access import FleetAccess
from ws_bridge.fleet.cookie import with_cookie
from ws_bridge.fleet.frames import SUBPROTOCOL
from ws_bridge.fleet.names import robot_asked_for, robot_dialling
from ws_bridge.fleet.outlets import LinkOutlet
from ws_bridge.fleet.reach import NotReached, Reach
from ws_bridge.fleet.tunnel import Tunnel
from ws_bridge.identity.identity import Identity, printable
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.stop_connection import giving_way
from ws_bridge.protocol.stop_connection import SUBPROTOCOL as STOPS
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import HttpReply, Visitor

ROBOT = Role('robot')
"""What the token of a robot names: it may dial in by the name of the token, and no more."""
ANONYMOUS = 'anonymous'
"""The identity of who need not log in."""
TEXT = {'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store'}
UNSUPPORTED, PROTOCOL_ERROR, POLICY_VIOLATION = 1003, 1002, 1008
MAX_ORIGIN = 512
"""Of what a robot is told, characters."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RobotEntry:
    """
    A robot in the list.

    :param since: Unix s; ``relay``: which has it, by a name that no other has.
    :param round_trip: between robot and relay, s; 0 = not known yet.
    """

    name: str
    instance: str
    since: float
    relay: str
    round_trip: float
    state: Mapping[str, Any]

    def shown(self) -> dict[str, Any]:
        """Return what is listed."""
        return {'name': self.name, 'since': round(self.since, 3), 'relay': self.relay,
                'round_trip': round(self.round_trip, 6) or None, **self.state}


@dataclass(frozen=True, slots=True)
class RobotAdmission:
    """A robot that may dial in."""

    name: str
    instance: str


@dataclass(slots=True, eq=False)
class RelayedRobot:
    """A robot that has dialled this relay."""

    name: str
    instance: str
    link: Link
    outlet: LinkOutlet
    reach: Reach
    since: float
    state: dict[str, Any] = field(default_factory=dict)

    def entry(self, relay: str) -> RobotEntry:
        """Return the robot as it is listed."""
        return RobotEntry(self.name, self.instance, self.since, relay, self.link.latency,
                          self.state)


class OtherRelays(Protocol):
    """The robots of other relays."""

    name: str

    def find(self, robot: str) -> Awaitable[Reach | None]:
        """Return the way to a robot that another relay has."""

    def entries(self) -> Iterable[RobotEntry]:
        """Give the robots that other relays have."""

    def holds(self, robot: str, instance: str) -> bool:
        """Whether another relay has a robot of this name, which is another instance."""

    def came(self, robot: RelayedRobot) -> None:
        """Tell others of a robot, or what has changed of it."""

    def left(self, robot: RelayedRobot) -> None:
        """Tell others that a robot has left."""


class Relay:
    """
    The listener of the links of robots, and who decides about every handshake.

    :param door: knows who somebody is by a token.
    :param access: returns who may reach which robots.
    :param has_logins: whether anybody can log in at all: then robots have to.
    """

    def __init__(self, settings: Settings, door: Door, ledger: Ledger,
                 access: Callable[[], FleetAccess], *, has_logins: Callable[[], bool]) -> None:
        self._settings = settings
        self._door = door
        self._ledger = ledger
        self._access = access
        self._has_logins = has_logins
        self._links: dict[Link, RelayedRobot] = {}
        self.robots: dict[str, RelayedRobot] = {}
        self.tunnels: dict[Tunnel, str] = {}
        self.others: OtherRelays | None = None
        self._past_bytes = 0

    @property
    def bytes_out(self) -> int:
        """Bytes that were carried to robots."""
        return self._past_bytes + sum(robot.reach.carrier.bytes_out
                                      for robot in self.robots.values())

    def __repr__(self) -> str:
        return f'<Relay {len(self.robots)} robots, {len(self.tunnels)} operators>'

    # ---- who may come in

    async def admit(self, visitor: Visitor) -> Any:
        """Decide about a handshake: of a robot, or of an operator."""
        dialling = robot_dialling(visitor.path)
        if dialling is not None:
            return await self._admit_robot(visitor, RobotAdmission(*dialling))
        asked = robot_asked_for(visitor.path)
        if asked is None:
            return _say(HTTPStatus.NOT_FOUND, 'this is a relay: robots are at /robots/NAME')
        if SUBPROTOCOL in _offered(visitor):
            return _say(HTTPStatus.BAD_REQUEST, 'robots dial in at /fleet/NAME')
        return await self._admit_operator(visitor, asked[0])

    async def _admit_robot(self, visitor: Visitor,
                           asked: RobotAdmission) -> RobotAdmission | HttpReply:
        if SUBPROTOCOL not in _offered(visitor):
            return _say(HTTPStatus.BAD_REQUEST, f'a robot offers the subprotocol {SUBPROTOCOL}')
        if self._has_logins():
            admission = await self._door.admit(visitor)
            if isinstance(admission, HttpReply):
                return admission
            identity = admission.identity
            if identity is None:
                return _unauthorized('a robot needs a token of its own')
            if admission.rights.role != ROBOT or identity.name != asked.name:
                self._ledger.refused('robot_name', visitor.address)
                return _say(HTTPStatus.FORBIDDEN,
                            f'this token is not that of a robot called {asked.name}')
        if len(self.robots) >= self._settings.max_peers:
            self._ledger.refused('max_peers', visitor.address)
            return _say(HTTPStatus.SERVICE_UNAVAILABLE, 'too many robots are connected')
        if self._is_in_use(asked):
            self._ledger.refused('name_in_use', visitor.address)
            return _say(HTTPStatus.CONFLICT, f'the name {asked.name} is in use: another bridge '
                        'is connected by it')
        return asked

    def _is_in_use(self, asked: RobotAdmission) -> bool:
        """Whether another bridge has a name; the same one may come again before it was missed."""
        robot = self.robots.get(asked.name)
        if robot is not None and robot.instance != asked.instance and robot.link.is_open:
            return True
        return self.others is not None and self.others.holds(asked.name, asked.instance)

    async def who_is(self, visitor: Visitor) -> Admission | HttpReply:
        """Return who asks for the list, or to be carried; a refusal if he may not."""
        admission = await self._door.admit(with_cookie(visitor))
        if isinstance(admission, HttpReply):
            return admission
        if admission.rights.role is NOBODY:
            return _unauthorized('log in first')
        if admission.rights.role == ROBOT:
            return _say(HTTPStatus.FORBIDDEN, 'a robot operates no robot')
        return admission

    async def _admit_operator(self, visitor: Visitor, name: str) -> Tunnel | HttpReply:
        admission = await self.who_is(visitor)
        if isinstance(admission, HttpReply):
            return admission
        if len(self.tunnels) >= self._settings.max_peers:
            self._ledger.refused('max_peers', visitor.address)
            return _say(HTTPStatus.SERVICE_UNAVAILABLE, 'too many operators are connected')
        reach = None
        if self._access().allows(name_of(admission), name):
            reach = await self._find(name)
        if reach is None:       # the same for what he may not know of
            return _say(HTTPStatus.NOT_FOUND, f'there is no robot {name}')
        tunnel = Tunnel(network_of(visitor.address), only_stops=_chosen(visitor) == STOPS)
        self.tunnels[tunnel] = name
        tunnel.on_end = self._carried
        for other in giving_way([(each, each.network, each.only_stops) for each in self.tunnels],
                                self._settings.max_peers, self._settings.max_peers_per_address):
            other.close()
        if tunnel not in self.tunnels:
            self._ledger.refused('max_peers', visitor.address)
            return _say(HTTPStatus.SERVICE_UNAVAILABLE, 'others need the room')
        try:
            tunnel.stream = await reach.begin(tunnel, _claims(visitor, admission))
        except NotReached as exc:
            tunnel.close()
            self._ledger.refused('robot', visitor.address)
            return _say(HTTPStatus(exc.status), exc.text)
        except BaseException:       # who asked has left
            tunnel.close()
            raise
        tunnel.expect(self._settings.handshake_timeout)
        self._ledger.note('open', robot=name, address=visitor.address,
                          identity=name_of(admission), role=admission.rights.role.name)
        return tunnel

    async def _find(self, name: str) -> Reach | None:
        robot = self.robots.get(name)
        if robot is not None and robot.link.is_open:
            return robot.reach
        return None if self.others is None else await self.others.find(name)

    def _carried(self, tunnel: Tunnel) -> None:
        name = self.tunnels.pop(tunnel, None)
        if name is not None:
            self._ledger.note('close', robot=name)

    # ---- the list

    def entries(self, admission: Admission) -> list[RobotEntry]:
        """Return the robots that somebody may know of, by name."""
        access, name = self._access(), name_of(admission)
        others = self.others
        found = {} if others is None else {entry.name: entry for entry in others.entries()}
        relay = '' if others is None else others.name
        found.update((robot.name, robot.entry(relay)) for robot in self.robots.values())
        return [entry for _, entry in sorted(found.items()) if access.allows(name, entry.name)]

    # ---- a listener of the links of robots

    def opened(self, link: Link) -> None:
        """Enter a robot into the list."""
        admitted = link.admitted
        if not isinstance(admitted, RobotAdmission) or self._is_in_use(admitted):
            link.close(POLICY_VIOLATION, 'the name is in use')
            return
        before = self.robots.get(admitted.name)
        if before is not None:
            before.link.abort('it came again')
            self._forget(before)
        outlet = LinkOutlet(link)
        robot = RelayedRobot(admitted.name, admitted.instance, link, outlet, Reach(
            outlet, lambda state: self._told(robot, state)), time.time())
        self._links[link] = self.robots[robot.name] = robot
        self._ledger.note('open', robot=robot.name, address=link.address)
        logger.info('robot %s from %s', robot.name, link.address)
        if self.others is not None:
            self.others.came(robot)

    def received(self, link: Link, data: str | bytes) -> None:
        """Take a frame of a robot."""
        robot = self._links.get(link)
        if robot is None:
            return
        if isinstance(data, str):
            link.close(UNSUPPORTED, 'a robot sends binary frames')
            return
        try:
            robot.reach.carrier.received(data)
        except BadFrame as exc:
            self._ledger.often('refused', robot=robot.name, code=exc.code)
            link.close(PROTOCOL_ERROR, exc.message)

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Take a robot off the list; who was carried to it is closed."""
        robot = self._links.get(link)
        if robot is not None:
            self._forget(robot)
            self._ledger.note('close', robot=robot.name, address=link.address)
            logger.info('robot %s left: %d %s', robot.name, code, printable(reason))

    def _forget(self, robot: RelayedRobot) -> None:
        if self._links.pop(robot.link, None) is None:
            return
        self._past_bytes += robot.reach.carrier.bytes_out
        robot.outlet.close()
        robot.reach.close()
        if self.robots.get(robot.name) is robot:
            del self.robots[robot.name]
            if self.others is not None:
                self.others.left(robot)

    def drop(self, name: str, reason: str) -> None:
        """Close the connection of a robot."""
        robot = self.robots.get(name)
        if robot is not None:
            robot.link.close(POLICY_VIOLATION, reason)
            self._forget(robot)

    def _told(self, robot: RelayedRobot, state: Mapping[str, Any]) -> None:
        shown = read_state(state)
        if shown != robot.state:
            robot.state = shown
            if self.others is not None:
                self.others.came(robot)

    # ---- the end

    def close(self) -> None:
        """End everything that is carried."""
        for tunnel in list(self.tunnels):
            tunnel.close()


def name_of(admission: Admission) -> str:
    """Return the name of who was let in."""
    return admission.identity.name if admission.identity is not None else ANONYMOUS


def read_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what is shown of what a robot says of itself: it is shown to others.

    :raises BadFrame: it is not what it should be.
    """
    stopped, drivers = fields.get('stopped'), fields.get('drivers')
    battery = fields.get('battery')
    if not isinstance(stopped, bool) or not isinstance(drivers, list) or len(drivers) > 64 or \
            not all(isinstance(each, str) and len(each) <= 128 for each in drivers) or not (
            battery is None or (type(battery) in (int, float) and 0 <= battery <= 1)):
        raise BadFrame('a robot says of itself what cannot be')
    return {'stopped': stopped, 'drivers': [printable(each) for each in drivers],
            'battery': battery}


def _claims(visitor: Visitor, admission: Admission) -> dict[str, Any]:
    """Return what a robot is told of a connection; no credentials."""
    identity = admission.identity or Identity(ANONYMOUS, admission.rights.role.name, 'relay')
    origin = visitor.headers.get('origin')
    if origin is not None and not (len(origin) <= MAX_ORIGIN and origin.isprintable()):
        origin = 'null'
    return {'identity': identity.name, 'role': identity.role, 'expires': identity.expires,
            'address': visitor.address, 'path': '/', 'origin': origin,
            'subprotocol': _chosen(visitor)}


def _offered(visitor: Visitor) -> list[str]:
    return [each.strip() for each in
            visitor.headers.get('sec-websocket-protocol', '').split(',')]


def _chosen(visitor: Visitor) -> str | None:
    """Return the subprotocol that the robot speaks with an operator."""
    offered = _offered(visitor)
    return next((each for each in DIALECTS.subprotocols if each in offered), None)


def _say(status: HTTPStatus, text: str) -> HttpReply:
    return HttpReply(status, TEXT, f'{text}\n'.encode())


def _unauthorized(text: str) -> HttpReply:
    return replace(_say(HTTPStatus.UNAUTHORIZED, text),
                   headers={**TEXT, 'WWW-Authenticate': 'Bearer'})
