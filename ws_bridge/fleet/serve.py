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
"""Start, signals, shutdown of a relay: what ``ws_bridge relay`` does.  No ROS."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
import gc
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.door import Door
from ws_bridge.bridge.guard import check_reach, server_tls, watch_files
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.metrics import make_metrics
from ws_bridge.bridge.watch import Watch
from ws_bridge.config import Exposure
from ws_bridge.errors import ConnectFailed, WsBridgeError
from ws_bridge.fleet.access import FleetAccess, parse_access
from ws_bridge.fleet.figures import RelayFigures
from ws_bridge.fleet.frames import SUBPROTOCOL
from ws_bridge.fleet.pages import HEALTH, make_pages
from ws_bridge.fleet.relay import Relay, ROBOT
from ws_bridge.fleet.settings import read_values, relay_settings_from, RelaySettings
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.files import read_file
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.types import InterfaceConfig
from ws_bridge.session.rights import Policy
from ws_bridge.transport.options import ServerOptions

if TYPE_CHECKING:
    from ws_bridge.fleet.engine import Engine

MAX_FRAME = 1 << 20
"""Of a robot, bytes."""
MAX_FILE_SIZE = 1 << 20
COUNTED_BY_RELAY = 1 << 30
"""Robots and operators each have their own bound, which the relay looks at."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
FLUSH = 1.0
"""Between looks of the audit at what came often, s."""

logger = logging.getLogger('ws_bridge')


@dataclass
class RelayService:
    """What runs: made by :func:`open_relay`, ended by :func:`close_relay`."""

    settings: RelaySettings
    relay: Relay
    server: WebSocketServer
    watch: Watch
    ledger: Ledger
    flushing: asyncio.Task[None]
    engine: Engine | None

    @property
    def url(self) -> str:
        """Where a client on this machine connects; robots too."""
        shared = self.settings.shared
        host = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(shared.address, shared.address)
        scheme = 'wss' if shared.tls_certificate else 'ws'
        return f'{scheme}://{f"[{host}]" if ":" in host else host}:{self.server.port}'


class AccessFile:
    """
    Who may reach which robots, read again when the file changes.

    :param path: empty = everybody who has logged in may reach all.
    :raises ConfigError: it cannot be read, or does not hold what it should.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.access = FleetAccess()
        self.read()

    def __repr__(self) -> str:
        return f'AccessFile({self._path!r})'

    def read(self) -> None:
        """
        Read the file; nothing is changed when it is wrong.

        :raises ConfigError: it is.
        """
        if self._path:
            content = read_file(self._path, 'access_file', MAX_FILE_SIZE, is_secret=False)
            self.access = parse_access(content.decode(errors='replace'), self._path)


async def open_relay(settings: RelaySettings) -> RelayService:
    """
    Start a relay; what was started is closed again when a later step fails.

    :raises ConfigError: a parameter, or a file that it names, is wrong.
    :raises TransportError: the port cannot be had.
    """
    loop, shared = asyncio.get_running_loop(), settings.shared
    async with AsyncExitStack() as undo:
        policy = Policy(Exposure(roles=(ROBOT,)))
        authority = Authority(shared, os.environ, policy.roles)
        check_reach(shared, authority)
        tls = server_tls(shared, authority)
        access = AccessFile(settings.access_file)
        audit = Audit(shared.audit_file, shared.audit_size, loop.time, time.time() - loop.time())
        undo.callback(audit.close)
        ledger = Ledger(audit)
        door = Door(shared, policy, authority, ledger)
        relay = Relay(shared, door, ledger, lambda: access.access,
                      has_logins=lambda: bool(authority))
        undo.callback(relay.close)
        engine = _engine(settings, relay)
        figures = RelayFigures(relay, loop.time)
        server = WebSocketServer(
            InterfaceConfig(name='relay', description='ws_bridge relay', log_level='WARNING',
                            max_message_size=MAX_FRAME),
            listener=relay, options=ServerOptions(
                subprotocols=(*DIALECTS.subprotocols, SUBPROTOCOL),
                origins=shared.origins or None, max_peers=COUNTED_BY_RELAY,
                max_peers_per_address=shared.max_peers_per_address,
                max_handshakes=shared.max_handshakes, handshake_timeout=shared.handshake_timeout,
                hosts=shared.hosts, paths_of_any_host=(HEALTH,),
                trusted_proxies=shared.trusted_proxies, tls=tls, admit=relay.admit,
                refused=ledger.refused, http=make_pages(
                    relay, make_metrics(figures, ledger, door) if shared.metrics else None,
                    settings.relays),
                ping_interval=shared.ping_interval, ping_timeout=shared.ping_timeout,
                max_queue_bytes=shared.max_queue_bytes))
        undo.push_async_callback(server.disconnect)
        if not await server.start_server(shared.address, shared.port):
            raise server.last_error or ConnectFailed('cannot listen')
        watch = watch_files(shared, authority, tls, loop, *(
            [((settings.access_file,), access.read)] if settings.access_file else []))
        watch.start()
        undo.callback(watch.close)
        flushing = loop.create_task(_flush(audit))
        undo.pop_all()
    if engine is not None:
        engine.start()
    return RelayService(settings, relay, server, watch, ledger, flushing, engine)


async def close_relay(service: RelayService) -> None:
    """End everything: what is carried, then the links of robots."""
    service.watch.close()
    service.flushing.cancel()
    service.relay.close()
    if service.engine is not None:
        await service.engine.close()
    await service.server.disconnect()
    service.relay.close()       # who came meanwhile
    service.ledger.audit.close()


def _engine(settings: RelaySettings, relay: Relay) -> Engine | None:
    if not settings.engine:
        return None
    from ws_bridge.fleet.engine import Engine, require_nats
    require_nats()
    engine = Engine(settings, relay)
    relay.others = engine
    return engine


async def _flush(audit: Audit) -> None:
    while True:
        await asyncio.sleep(FLUSH)
        audit.flush()


async def _run(settings: RelaySettings) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        service = await open_relay(settings)
    except WsBridgeError as exc:
        print(f'ws_bridge: {exc}', file=sys.stderr)
        return 1
    try:
        loop.add_signal_handler(signal.SIGHUP, service.watch.read)
        # What is there now stays: to look through all of it takes tens of ms.
        gc.collect()
        gc.freeze()
        print(f'ws_bridge: the relay listens on {service.url} '
              f'(robots: http{service.url.removeprefix("ws")}/robots)', flush=True)
        await stop.wait()
    finally:
        await close_relay(service)
    return 0


def relay(params_file: str | None, assignments: Sequence[str]) -> int:
    """
    Run a relay.

    :param params_file: of YAML, a parameter a line.
    :param assignments: ``name:=value``.
    :return: exit code.
    :raises ConfigError: a parameter is wrong.
    """
    logging.basicConfig(level=logging.INFO, format='%(levelname)s: %(message)s')
    logging.getLogger('websockets').setLevel(logging.WARNING)
    return asyncio.run(_run(relay_settings_from(read_values(params_file, assignments))))
