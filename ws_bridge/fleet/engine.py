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
Relays that are one, by NATS: an operator of one relay reaches the robot of another.

Each connection with the engine has a name of its own. When it ends, so does everything that was
carried over it, at both ends: nothing is kept for later, nothing is sent again. A relay that is
silent for a while is forgotten with its robots.

What goes is core NATS alone. No message is ever stored.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
import logging
import random
import secrets
import ssl
from typing import Any, TYPE_CHECKING

from ws_bridge.errors import BadFrame, ConfigError
from ws_bridge.fleet.names import is_robot_name
from ws_bridge.fleet.parcels import (
    BYE,
    down,
    ID_SIZE,
    pack,
    pack_presence,
    Parcel,
    PRESENCE,
    Presence,
    unpack,
    unpack_presence,
    up,
)
from ws_bridge.fleet.reach import Reach
from ws_bridge.fleet.relay import read_state, Relay, RelayedRobot, RobotEntry
from ws_bridge.fleet.settings import RelaySettings
from ws_bridge.fleet.ways import EngineOutlet, Guest, Way
from ws_bridge.identity.files import read_file
from ws_bridge.identity.tokens import MAX_LENGTH

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

BEAT = 0.5
"""Between two signs of a relay, s."""
FORGET_AFTER = 2.0
"""Silence of a relay after which it is forgotten, s."""
SOME = 100
"""Robots that are told of in one message."""
FULL = 262_144
"""Bytes that may wait for the engine; then no more are taken from robots and operators."""
HELD = 65_536
"""With so many bytes in the client of the engine, samples wait where commands overtake them."""
MOST_WAITING = 32 << 20
"""Bytes that may wait for a subscription to be read; more are lost, which is noticed."""
LOOK = 0.005
"""Between looks whether the engine takes more, s."""
PAUSE = 0.2
"""Before the next node is tried, s; with as much again by chance."""
CONNECTING = 2
"""How long a node may take to answer, s."""
PING = 1
"""Between pings to the node, s; two may go unanswered."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OtherRelay:
    """Another relay, as it is known here: its robots, and when it was heard, loop time, s."""

    heard: float
    robots: dict[str, RobotEntry]


class Engine:
    """
    This relay's connection with the engine, and what it knows of other relays.

    :ivar name: of the connection; each has another one.
    """

    def __init__(self, settings: RelaySettings, relay: Relay) -> None:
        self._nodes = list(settings.engine)
        self._user = read_user(settings.engine_user_file)
        self._tls = _tls(settings)
        self._relay = relay
        self._client: Client | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._others: dict[str, OtherRelay] = {}
        self._ways: dict[str, Way] = {}
        self._guests: dict[str, Guest] = {}     # by the name of their way
        self._urgent: deque[tuple[EngineOutlet | None, str, bytes]] = deque()
        self._usual: deque[tuple[EngineOutlet | None, str, bytes]] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._room: list[Callable[[], None]] = []
        self._rotation: list[str] = []
        self._new: set[str] = set()     # robots that came or left since subscriptions were made
        self._complaints: set[str] = set()
        self._running: asyncio.Task[None] | None = None
        self.name = secrets.token_hex(ID_SIZE)

    def __repr__(self) -> str:
        return f'<Engine {self.name}, {len(self._others)} other relays>'

    @property
    def is_connected(self) -> bool:
        """Whether there is an engine now."""
        return self._client is not None

    @property
    def relays(self) -> int:
        """How many other relays there are."""
        return len(self._others)

    def start(self) -> None:
        """Begin to connect; robots and operators of this relay do not wait for that."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End: others forget this relay at once."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))

    # ---- robots of other relays

    async def find(self, robot: str) -> Reach | None:
        """Return the way to a robot that another relay has."""
        entry = self._told_of(robot)
        if entry is None or self._client is None:
            return None
        way = self._ways.get(robot)
        if way is None or way.relay != entry.relay:
            self._drop_way(robot)
            way = self._ways[robot] = Way(self, entry.relay, robot)
        return way

    def entries(self) -> Iterable[RobotEntry]:
        """Give the robots that other relays have."""
        return {name: entry for other in self._others.values()
                for name, entry in other.robots.items()}.values()

    def _told_of(self, robot: str) -> RobotEntry | None:
        """Return what is known of a robot; of two relays that tell of it the newer one counts."""
        return next((other.robots[robot] for other in reversed(self._others.values())
                     if robot in other.robots), None)

    def holds(self, robot: str, instance: str) -> bool:
        """Whether another relay has a robot of this name, which is another instance."""
        entry = self._told_of(robot)
        return entry is not None and entry.instance != instance

    # ---- robots of this one

    def came(self, robot: RelayedRobot) -> None:
        """Tell others of a robot, or what has changed of it."""
        self._follow(robot.name)
        self._say(Presence(self.name, robots=(_told(robot, self.name),)))

    def left(self, robot: RelayedRobot) -> None:
        """Tell others that a robot has left."""
        self._follow(robot.name)
        self._say(Presence(self.name, gone=(robot.name,)))
        self._close_guests(lambda guest: guest.robot_name == robot.name)

    def _follow(self, robot: str) -> None:
        """Have the subscription of a robot made, or ended; a new connection follows all."""
        if self._client is not None:
            self._new.add(robot)

    # ---- what leaves

    @property
    def is_full(self) -> bool:
        """Whether too much waits for the engine."""
        client = self._client
        return client is not None and self._waiting_bytes + client.pending_data_size > FULL

    def wait_for_room(self, then: Callable[[], None]) -> None:
        """Call ``then`` as soon as less waits."""
        self._room.append(then)
        self._wake.set()

    def put(self, outlet: EngineOutlet, frame: bytes, *, is_urgent: bool) -> None:
        """Have a frame leave; without an engine it is for nobody."""
        self._put(outlet, outlet.subject, frame, is_urgent=is_urgent)

    def _say(self, presence: Presence) -> None:
        self._put(None, PRESENCE, pack_presence(presence), is_urgent=True)

    def _put(self, outlet: EngineOutlet | None, subject: str, data: bytes, *,
             is_urgent: bool) -> None:
        if self._client is not None:
            (self._urgent if is_urgent else self._usual).append((outlet, subject, data))
            self._waiting_bytes += len(data)
            self._wake.set()

    async def _send(self, client: Client) -> None:
        """Send what waits, and follow the robots that come and go."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._urgent or self._usual:
                while not self._urgent and (    # noqa: ASYNC110 - the client tells by no event
                        client.pending_data_size > HELD):
                    await asyncio.sleep(LOOK)
                if self._new:       # before anybody is told of them
                    await self._follow_robots(client)
                outlet, subject, data = (self._urgent or self._usual).popleft()
                self._waiting_bytes -= len(data)
                await client.publish(subject, data if outlet is None else outlet.parcel(data))
            while self._room and self.is_full:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(LOOK)
            room, self._room = self._room, []
            for then in room:
                then()

    async def _follow_robots(self, client: Client) -> None:
        """Be sent what is for the robots of this relay, and for no other."""
        new, self._new = self._new, set()
        for name in new:
            subject = up(name)
            if name not in self._relay.robots:
                if subject in self._subscriptions:
                    await self._subscriptions.pop(subject).unsubscribe()
            elif subject not in self._subscriptions:
                self._subscriptions[subject] = await client.subscribe(
                    subject, cb=self._from_operators, pending_bytes_limit=MOST_WAITING)

    # ---- a connection with the engine

    async def _run(self) -> None:
        said = ''
        while True:
            random.shuffle(self._nodes)
            for node in self._nodes:
                ended = asyncio.Event()
                try:
                    client = await self._connect(node, ended)
                except _errors() as exc:
                    text = f'engine: {node}: {exc or type(exc).__name__}'
                    if text != said:
                        said = text
                        logger.error('%s', text)
                else:
                    said = ''
                    await self._serve(client, node, ended)
                await asyncio.sleep(PAUSE * (1 + random.random()))

    async def _connect(self, node: str, ended: asyncio.Event) -> Client:
        from nats.aio.client import Client

        async def closed() -> None:
            ended.set()

        async def failed(exc: Exception) -> None:
            if str(exc) not in self._complaints and len(self._complaints) < SOME:
                self._complaints.add(str(exc))      # such as that a right is missing
                logger.error('engine: %s', exc or repr(exc))
        user, password = self._user or (None, None)
        client = Client()
        try:
            # Its own reconnection would send what waited meanwhile: commands, old by then.
            await client.connect(
                servers=[node], allow_reconnect=False, connect_timeout=CONNECTING, no_echo=True,
                user=user, password=password, tls=self._tls if node.startswith('tls:') else None,
                name='ws_bridge relay', closed_cb=closed, error_cb=failed, ping_interval=PING,
                max_outstanding_pings=2)
        except BaseException:       # it keeps its socket
            await client.close()
            raise
        return client

    async def _serve(self, client: Client, node: str, ended: asyncio.Event) -> None:
        """Use a connection until it ends."""
        before, self.name = self.name, secrets.token_hex(ID_SIZE)
        self._client = client
        self._new = set(self._relay.robots)
        logger.info('engine: connected with %s as %s', node, self.name)
        tasks: list[asyncio.Future[Any]] = []
        try:
            self._subscriptions = {}
            for subject, hear in ((PRESENCE, self._heard), (down(self.name), self._from_robots)):
                await client.subscribe(subject, cb=hear, pending_bytes_limit=MOST_WAITING)
            self._say(Presence(self.name, asks=True, before=before))
            tasks = [asyncio.ensure_future(each) for each in (
                ended.wait(), self._send(client), self._beat())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except _errors() as exc:
            logger.error('engine: %r', exc)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._lost()
            if not client.is_closed:
                await _leave(client, self.name)
            logger.warning('engine: the connection with %s has ended', node)

    def _lost(self) -> None:
        """End everything that was carried over the connection."""
        self._client = None
        self._urgent.clear()
        self._usual.clear()
        self._waiting_bytes = 0
        self._room.clear()
        for relay in list(self._others):
            self._forget(relay)
        for robot in list(self._ways):
            self._drop_way(robot)
        self._close_guests(lambda guest: True)

    def _close_guests(self, is_meant: Callable[[Guest], bool]) -> None:
        for way, guest in list(self._guests.items()):
            if is_meant(guest):
                del self._guests[way]
                guest.close()

    async def _beat(self) -> None:
        """Show that this relay is there; tell of some robots each time, of all in turn."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._rotation:
                self._rotation = list(self._relay.robots)
            some, self._rotation = self._rotation[:SOME], self._rotation[SOME:]
            self._say(Presence(self.name, robots=self._tell(some)))
            now = loop.time()
            for relay, other in list(self._others.items()):
                if now - other.heard > FORGET_AFTER:
                    self._forget(relay)
            await asyncio.sleep(BEAT)

    def _tell(self, names: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
        robots = self._relay.robots
        return tuple(_told(robots[name], self.name) for name in names if name in robots)

    # ---- what is heard of other relays

    async def _heard(self, message: Msg) -> None:
        try:
            said = unpack_presence(message.data)
            found = [_entry(each, said.relay) for each in said.robots]
        except BadFrame as exc:
            logger.error('engine: %s', exc)
            return
        if said.relay == self.name:
            return
        if said.leaves:
            self._forget(said.relay)
            return
        self._forget(said.before)
        now = asyncio.get_running_loop().time()
        is_new = said.relay not in self._others
        other = self._others.setdefault(said.relay, OtherRelay(now, {}))
        other.heard = now
        if said.asks or is_new:
            names = list(self._relay.robots)
            for start in range(0, max(len(names), 1), SOME):    # at least that this relay is here
                self._say(Presence(self.name, robots=self._tell(names[start:start + SOME])))
        for name in said.gone:
            other.robots.pop(name, None)
            self._drop_way(name, said.relay)
        for entry in found:
            self._enter(other, entry)

    def _enter(self, other: OtherRelay, entry: RobotEntry) -> None:
        """Take note of a robot; of two with one name, one has to go."""
        own = self._relay.robots.get(entry.name)
        if own is not None and _has_precedence(entry, own.entry(self.name)):
            self._relay.drop(entry.name, 'it came by another relay'
                             if own.instance == entry.instance else 'the name is in use')
            own = None
        if own is None:
            other.robots[entry.name] = entry
        else:
            other.robots.pop(entry.name, None)
            self.came(own)

    def _forget(self, relay: str) -> None:
        """End everything that another relay carries here, or is carried there."""
        self._others.pop(relay, None)
        for robot, way in list(self._ways.items()):
            if way.relay == relay:
                self._drop_way(robot)
        for guest in self._guests.values():
            if guest.relay == relay:        # it may be there after all
                self._put(guest.outlet, guest.outlet.subject, BYE, is_urgent=True)
        self._close_guests(lambda guest: guest.relay == relay)

    def _drop_way(self, robot: str, relay: str | None = None) -> None:
        way = self._ways.get(robot)
        if way is not None and relay in (None, way.relay):
            del self._ways[robot]
            way.close()

    # ---- parcels

    async def _from_robots(self, message: Msg) -> None:
        """Take a parcel for what this relay carries."""
        parcel = self._open_parcel(message)
        if parcel is None:
            return
        way = self._ways.get(parcel.robot)
        if way is None or (way.way, way.relay) != (parcel.way, parcel.sender):
            self._say_bye(parcel, up(parcel.robot))
        elif parcel.frame == BYE:
            self._drop_way(parcel.robot)
        elif not self._take(way, parcel):
            self._drop_way(parcel.robot)
            self._say_bye(parcel, up(parcel.robot))

    async def _from_operators(self, message: Msg) -> None:
        """Take a parcel for a robot of this relay."""
        parcel = self._open_parcel(message)
        robot = None if parcel is None else self._relay.robots.get(parcel.robot)
        if parcel is None or robot is None or message.subject != up(robot.name):
            return
        guest = self._guests.get(parcel.way)
        if guest is None and parcel.number == 0 and parcel.sender in self._others:
            guest = self._guests[parcel.way] = Guest(self, parcel.sender, robot, parcel.way)
        if guest is None or (guest.relay, guest.robot_name) != (parcel.sender, parcel.robot):
            self._say_bye(parcel, down(parcel.sender))
        elif parcel.frame == BYE or not self._take(guest, parcel):
            del self._guests[parcel.way]
            guest.close()
            self._say_bye(parcel, down(parcel.sender))

    def _open_parcel(self, message: Msg) -> Parcel | None:
        try:
            parcel = unpack(message.data)
        except BadFrame as exc:
            logger.error('engine: %s', exc)
            return None
        return parcel if parcel.receiver == self.name else None    # else of what has ended here

    def _take(self, end: Way | Guest, parcel: Parcel) -> bool:
        """Take the frame of a parcel; whether everything is in order."""
        try:
            if parcel.number != end.expected:
                raise BadFrame(f'parcels of {parcel.robot} were lost')
            end.expected += 1
            end.carrier.received(parcel.frame)
        except BadFrame as exc:
            logger.error('engine: %s', exc)
            return False
        return True

    def _say_bye(self, parcel: Parcel, subject: str) -> None:
        """Tell the other end of a way that it is none any more; that is not answered."""
        if parcel.frame != BYE:
            self._put(None, subject, pack(Parcel(
                self.name, parcel.sender, parcel.way, 0, parcel.robot, BYE)), is_urgent=True)


async def _leave(client: Client, name: str) -> None:
    """Say goodbye, and close; the node may be gone."""
    try:
        await client.publish(PRESENCE, pack_presence(Presence(name, leaves=True)))
        await asyncio.wait_for(client.flush(), PING)
    except _errors() as exc:
        logger.debug('engine: %r', exc)
    await client.close()


def _errors() -> tuple[type[Exception], ...]:
    """Return what may go wrong with a node."""
    from nats.errors import Error
    return OSError, asyncio.TimeoutError, Error


def _told(robot: RelayedRobot, relay: str) -> dict[str, Any]:
    entry = robot.entry(relay)
    return {'name': entry.name, 'instance': entry.instance, 'since': entry.since,
            'round_trip': entry.round_trip, 'state': entry.state}


def _entry(said: Mapping[str, Any], relay: str) -> RobotEntry:
    """
    Read what another relay tells of a robot.

    :raises BadFrame: it is not what it should be.
    """
    name, instance, state = said.get('name'), said.get('instance'), said.get('state')
    since, round_trip = said.get('since'), said.get('round_trip')
    if not isinstance(name, str) or not is_robot_name(name) or not isinstance(instance, str) or \
            not isinstance(since, (int, float)) or not isinstance(round_trip, (int, float)) or \
            not isinstance(state, dict):
        raise BadFrame('a relay tells of a robot what cannot be')
    return RobotEntry(name, instance, float(since), relay, float(round_trip),
                      read_state(state) if state else {})


def _has_precedence(other: RobotEntry, own: RobotEntry) -> bool:
    """Tell which of two of one name stays: the same bridge where it is now, else the first."""
    if other.instance == own.instance:
        return (other.since, other.relay) > (own.since, own.relay)
    return (other.since, other.relay) < (own.since, own.relay)


def read_user(path: str) -> tuple[str, str] | None:
    """
    Return user and password of a file.

    :raises ConfigError: it cannot be read, or holds something else.
    """
    if not path:
        return None
    words = read_file(path, 'engine_user_file', MAX_LENGTH).decode(errors='replace').split()
    if len(words) != 2:
        raise ConfigError(f'{path} holds no user and password', field='engine_user_file')
    return words[0], words[1]


def _tls(settings: RelaySettings) -> ssl.SSLContext | None:
    if not any(node.startswith('tls:') for node in settings.engine):
        return None
    try:
        return ssl.create_default_context(cafile=settings.engine_ca or None)
    except OSError as exc:
        raise ConfigError(f'{settings.engine_ca} cannot be read: {exc}', field='engine_ca') \
            from exc


def require_nats() -> None:
    """
    Check that the client of NATS is installed.

    :raises ConfigError: it is not.
    """
    try:
        import nats  # noqa: F401
    except ImportError:
        raise ConfigError('needs the Python package nats-py (pip install "ws_bridge[fleet]")',
                          field='engine') from None
