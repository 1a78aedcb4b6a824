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
A robot's connection to a relay: it dials out, and takes the connections that the relay carries.

With several relays it has one at a time, and goes on to the next where one does not answer. Each
operator is an ordinary peer of this bridge. The relay vouches for its identity, role and address.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
import logging
import secrets
import time
from typing import Any, Protocol

from ws_bridge.bridge.door import Admission
from ws_bridge.config import Settings
from ws_bridge.errors import BadFrame, Forbidden, TransportError
from ws_bridge.fleet.carrier import Carrier, TOLD_LATE
from ws_bridge.fleet.convoy import Convoy
from ws_bridge.fleet.names import dialled_path
from ws_bridge.fleet.outlets import LinkOutlet
from ws_bridge.fleet.transport import CarriedConnection, CarriedTransport
from ws_bridge.identity.identity import Identity, is_name
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.types import InterfaceConfig
from ws_bridge.transport.connections import Connections
from ws_bridge.transport.dialling import dial, FencedClient, pause
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import ClientOptions
from ws_bridge.transport.settings import check_config

LOOK = 0.2
"""Between looks whether the state has changed, s."""
STATE_EACH = 5.0
"""The state is told at least so often, s."""
MOST_RETRY_DELAY = 3.0
"""Until a relay is tried again, s: operators wait for that."""
ENDING = 1.0
"""How long carried connections may take to end, s."""
PROTOCOL_ERROR = 1002
UNSUPPORTED = 1003

logger = logging.getLogger(__name__)

Summary = Callable[[], Mapping[str, Any]]


class Voucher(Protocol):
    """Decides what those may do for whom a relay vouches."""

    def vouch(self, identity: Identity) -> Admission:
        """
        Return who is let in.

        :raises Forbidden: nobody is.
        """


@dataclass(frozen=True, slots=True)
class Claims:
    """What a relay says of a connection."""

    identity: Identity
    address: str
    path: str
    subprotocol: str | None
    origin: str | None


def read_claims(fields: Mapping[str, Any]) -> Claims:
    """
    Check what a relay says of a connection.

    :raises BadFrame: it is not what it should be.
    """
    def text(key: str, most: int = 512) -> str | None:
        value = fields.get(key)
        if value is not None and not (isinstance(value, str) and len(value) <= most
                                      and value.isprintable()):
            raise BadFrame(f'a relay says what cannot be: {key}')
        return value
    name, expires = fields.get('identity'), fields.get('expires')
    address, path = text('address'), text('path', 4096)
    if not is_name(name) or not address or not path or not (
            expires is None or type(expires) in (int, float)):
        raise BadFrame('a relay does not say whose connection it is')
    return Claims(Identity(str(name), text('role'), 'relay', expires), address, path,
                  text('subprotocol'), text('origin'))


class FleetUplink:
    """
    Keeps a connection to one of some relays.

    :param settings: of the bridge.
    :param configure: returns how to dial an endpoint.
    :param server: serves the connections that are carried, among its own.
    :param summary: returns what the list of robots shows.
    """

    def __init__(self, settings: Settings, configure: Callable[[str], InterfaceConfig],
                 options: ClientOptions, *, door: Voucher, server: WebSocketServer,
                 summary: Summary) -> None:
        name = self._name = settings.robot_name
        path = dialled_path(name, secrets.token_hex(8))
        self._relays = [check_config(configure(f'{relay.rstrip("/")}{path}'), is_server=False)
                        for relay in settings.fleet]
        self._settings = settings
        self._options = options
        self._door = door
        self._server = server
        self._summary = summary
        self._connections = Connections()
        self._link: Link | None = None
        self._carrier: Carrier | None = None
        self._convoy: Convoy | None = None
        self._outlet: LinkOutlet | None = None
        self._state_timer: asyncio.TimerHandle | None = None
        self._told: tuple[Mapping[str, Any], float] | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f'<FleetUplink of {self._name!r}, {self._link!r}, {self._carrier!r}>'

    @property
    def is_registered(self) -> bool:
        """Whether a relay has this robot in its list."""
        return self._link is not None and self._link.is_open

    @property
    def bytes_out(self) -> int:
        """Bytes of carried connections that went to the relay of now."""
        return 0 if self._carrier is None else self._carrier.bytes_out

    def start(self) -> None:
        """Begin to dial."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    def dial_no_more(self) -> None:
        """Leave it at the connection of now."""
        if self._link is None and self._running is not None:
            self._running.cancel()

    async def close(self) -> None:
        """End: the carried connections first, in order, as far as they do not take too long."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=ENDING)
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _run(self) -> None:
        failures = losses = 0
        said = ''
        for turn in count():
            relay = self._relays[turn % len(self._relays)]
            try:
                websocket = await dial(relay, self._options)
            except TransportError as exc:
                failures += 1
                if exc.message != said:     # else it would be said each second
                    said = exc.message
                    logger.error('fleet: %s', said)
            else:
                failures, began, said = 0, time.monotonic(), ''
                logger.info('fleet: %s is in the list of %s', self._name, relay.endpoint.host)
                await self._use(websocket)
                logger.warning('fleet: the connection to %s is lost', relay.endpoint.host)
                brief = time.monotonic() - began < pause(losses, relay, self._options)
                losses = losses + 1 if brief else 0
            # Where there are others, the next one is asked soon.
            await asyncio.sleep(pause(failures // len(self._relays) + losses, relay,
                                      self._options))

    async def _use(self, websocket: FencedClient) -> None:
        """Serve a connection to its end."""
        link = self._connections.add(websocket, self._options, dialled=True,
                                     ping_interval=self._options.ping_interval)
        try:
            async with websocket:
                await self._connections.serve(link, self)
        except Exception as exc:    # it has closed this connection, and must not end the next
            logger.error('fleet: a fault with the relay', exc_info=exc)

    # ---- a listener of its link

    def opened(self, link: Link) -> None:
        """Begin to take what the relay carries."""
        self._link = link
        self._outlet = LinkOutlet(link)
        self._carrier = Carrier(self._outlet, self, TOLD_LATE)
        self._convoy = Convoy(self._carrier, link)
        self._told = None
        self._tell_state()

    def received(self, link: Link, data: str | bytes) -> None:
        """Take a frame of the relay."""
        if self._carrier is None:
            return
        if isinstance(data, str):
            link.close(UNSUPPORTED, 'a relay sends binary frames')
            return
        try:
            self._carrier.received(data)
        except BadFrame as exc:
            logger.error('fleet: %s', exc)
            link.close(PROTOCOL_ERROR, exc.message)

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Lose every connection that the relay carried: who commanded by it commands no more."""
        carrier, self._carrier, self._link = self._carrier, None, None
        if self._state_timer is not None:
            self._state_timer.cancel()
        if self._outlet is not None:
            self._outlet.close()
        if carrier is not None:
            carrier.close()

    # ---- a listener of its carrier

    def open_asked(self, number: int, fields: Mapping[str, Any]) -> None:
        """Take a connection, or say why not."""
        carrier, convoy = self._carrier, self._convoy
        assert carrier is not None
        assert convoy is not None
        try:
            claims = read_claims(fields)
        except BadFrame as exc:     # of one operator, perhaps: others are not to blame
            carrier.refuse(number, _refusal(HTTPStatus.BAD_REQUEST, exc.message))
            return
        most = self._settings.max_peers
        if len(self._server.links) >= most:
            carrier.refuse(number, _refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, f'{most} peers are connected, no more may'))
            return
        try:
            admission = self._door.vouch(claims.identity)
        except Forbidden as exc:
            carrier.refuse(number, _refusal(HTTPStatus.FORBIDDEN, exc.message))
            return
        connection = CarriedConnection(
            claims.path, {} if claims.origin is None else {'origin': claims.origin},
            claims.subprotocol, address=claims.address, admitted=admission, convoy=convoy,
            max_size=self._settings.max_message_size, close_timeout=self._options.close_timeout)
        transport = CarriedTransport(connection, convoy)
        stream = carrier.add(number, transport)
        transport.begin(stream)
        carrier.accept(number)
        task = asyncio.get_running_loop().create_task(self._serve(connection, transport))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: CarriedConnection, transport: CarriedTransport) -> None:
        try:
            await self._server.adopt(connection)
        except Exception as exc:
            logger.error('fleet: a fault with a peer', exc_info=exc)
        finally:
            transport.close()

    def answered(self, number: int, refusal: Mapping[str, Any] | None) -> None:
        """Refuse what only a robot says."""
        raise BadFrame('a robot asks a relay for nothing')

    def state_told(self, fields: Mapping[str, Any]) -> None:
        """Refuse what only a robot says."""
        raise BadFrame('a relay has no state')

    # ---- what the list shows

    def _tell_state(self) -> None:
        loop = asyncio.get_running_loop()
        self._state_timer = loop.call_later(LOOK, self._tell_state)
        state, now = self._summary(), loop.time()
        told = self._told
        if self._carrier is not None and (
                told is None or told[0] != state or now >= told[1] + STATE_EACH):
            self._told = state, now
            self._carrier.tell_state(state)


def _refusal(status: HTTPStatus, text: str) -> dict[str, Any]:
    return {'status': int(status), 'text': text}
