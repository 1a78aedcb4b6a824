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
"""A relay in this process, and robots of a fleet that need no ROS."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
import os
from pathlib import Path
import socket
import subprocess
import sys
from typing import Any

from support.helpers import async_wait_until, wait_until
from support.security_support import bearer
from support.transport_support import http
from websockets.asyncio.client import ClientConnection, connect

from scripts.fleet import free_ports
from ws_bridge.bridge.door import Admission
from ws_bridge.config import Exposure, settings_from
from ws_bridge.config.roles import ADMIN
from ws_bridge.fleet.frames import SUBPROTOCOL
from ws_bridge.fleet.serve import close_relay, open_relay, RelayService
from ws_bridge.fleet.settings import relay_settings_from
from ws_bridge.fleet.uplink import FleetUplink
from ws_bridge.identity.identity import Identity
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.types import InterfaceConfig, SecurityLevel
from ws_bridge.session.rights import Policy, Rights
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import ClientOptions, ServerOptions

TOKENS = {'alice': ('operator', 'alice-drives-robots'), 'bob': ('observer', 'bob-looks-at-them'),
          'r1': ('robot', 'the-token-of-robot-1'), 'r2': ('robot', 'the-token-of-robot-2')}
ROOT = Path(__file__).resolve().parents[2]


def write_fleet_tokens(folder: Path) -> str:
    """Write the tokens of operators and robots, and return the file's path."""
    path = folder / 'fleet_tokens'
    path.write_text(''.join(f'{name} {role} {token}\n' for name, (role, token) in TOKENS.items()))
    path.chmod(0o600)
    return str(path)


@asynccontextmanager
async def running_relay(**parameters: Any) -> AsyncIterator[RelayService]:
    """Run a relay on a free port."""
    service = await open_relay(relay_settings_from({'port': 0, **parameters}))
    try:
        yield service
    finally:
        await close_relay(service)


class Echo:
    """What stands for a bridge: it gives back what it gets, and keeps its links."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.heard: list[tuple[str | bytes, float]] = []
        self.closed_links: list[Link] = []

    def opened(self, link: Link) -> None:
        self.links.append(link)

    def received(self, link: Link, data: str | bytes) -> None:
        self.heard.append((data, link.fence))
        link.send(data, text=isinstance(data, str))

    def closed(self, link: Link, code: int, reason: str) -> None:
        self.links.remove(link)
        self.closed_links.append(link)

    def vouch(self, identity: Identity) -> Admission:
        return Admission(identity, Rights(Policy(Exposure.open()), ADMIN))


class FakeRobot(Echo):
    """
    A robot of a fleet without ROS.

    :param patience: how long the answer of a relay may take, s.
    :param longest: between two attempts, s.
    """

    def __init__(self, urls: list[str], name: str, token: str | None = None,
                 ca_path: str | None = None, patience: float = 3.0, longest: float = 1.0,
                 **parameters: Any) -> None:
        super().__init__()
        settings = settings_from({'robot_name': name, 'fleet': urls, 'retry_delay': 0.02,
                                  **parameters})
        self.state: dict[str, Any] = {'stopped': False, 'drivers': []}
        self.server = WebSocketServer(InterfaceConfig(name=name), listener=self,
                                      options=ServerOptions())

        def configure(endpoint: str) -> InterfaceConfig:
            level = SecurityLevel.NONE if token is None else SecurityLevel.BASIC \
                if ca_path is None else SecurityLevel.AUTHENTICATED
            return InterfaceConfig(name=name, endpoint=endpoint,
                                   retry_delay=settings.retry_delay, timeout=patience,
                                   security_level=level, auth_token=token, retry_attempts=0,
                                   custom_settings={'ssl_ca_path': ca_path} if ca_path else {})
        self.uplink = FleetUplink(
            settings, configure, ClientOptions(
                subprotocols=(SUBPROTOCOL,), max_retry_delay=longest), door=self,
            server=self.server, summary=lambda: dict(self.state))


@asynccontextmanager
async def fake_robot(relay: RelayService | str | list[str], name: str = 'r1',
                     token: str | None = None, *, is_awaited: bool = True,
                     kind: type[FakeRobot] = FakeRobot,
                     **parameters: Any) -> AsyncIterator[FakeRobot]:
    """Have a robot dial a relay, and wait until it is in the list."""
    urls = [relay] if isinstance(relay, str) else relay if isinstance(relay, list) \
        else [relay.url]
    robot = kind(urls, name, token, **parameters)
    assert await robot.server.start_server('127.0.0.1', 0)
    robot.uplink.start()
    try:
        if is_awaited:
            await async_wait_until(lambda: robot.uplink.is_registered)
        yield robot
    finally:
        robot.uplink.dial_no_more()
        await robot.server.disconnect()
        await robot.uplink.close()


@asynccontextmanager
async def operator(relay: RelayService | str, robot: str = 'r1', token: str | None = None,
                   **options: Any) -> AsyncIterator[ClientConnection]:
    """Connect with a robot through a relay."""
    url = relay if isinstance(relay, str) else relay.url
    if token is not None:
        options['additional_headers'] = {**bearer(token), **options.get('additional_headers', {})}
    websocket = await connect(f'{url}/robots/{robot}', proxy=None, max_size=None, **options)
    try:
        yield websocket
    finally:
        websocket.transport.abort()
        await websocket.wait_closed()


class SlowLine:
    """
    A line to a port of this machine, which carries so many bytes a second there.

    :ivar carried: bytes that were.
    """

    def __init__(self, port: int, rate: float) -> None:
        self._to = port
        self._rate = rate
        self.port = self.carried = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection, both ways."""
        back, there = await asyncio.open_connection('127.0.0.1', self._to)
        returning = asyncio.create_task(self._return(back, writer))
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while data := await reader.read(CHUNK):
                there.write(data)
                await there.drain()
                self.carried += len(data)
                due = max(due, loop.time() - 0.05) + len(data) / self._rate
                await asyncio.sleep(due - loop.time())
        finally:
            returning.cancel()
            there.close()
            writer.close()

    async def _return(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


CHUNK = 2048
"""Bytes that a slow line carries at a time, and about as many as it holds."""


@asynccontextmanager
async def slow_line(port: int, rate: float) -> AsyncIterator[SlowLine]:
    """Listen for who has to use a slow line to a port."""
    line = SlowLine(port, rate)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
    listening.bind(('127.0.0.1', 0))
    line.port = listening.getsockname()[1]
    carrying: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(line.carry(reader, writer))
        carrying.add(task)
        task.add_done_callback(carrying.discard)
    server = await asyncio.start_server(begin, sock=listening, limit=CHUNK)
    try:
        yield line
    finally:
        server.close()
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        await server.wait_closed()


async def get(port: int, path: str, headers: Mapping[str, str] | None = None
              ) -> tuple[int, dict[str, str], bytes]:
    """Ask for a page; return status, headers and body."""
    lines = [f'GET {path} HTTP/1.1', 'Host: localhost',
             *(f'{name}: {value}' for name, value in (headers or {}).items())]
    return await http(port, '\n'.join(lines) + '\n\n')


# ---- an engine

NATS_SERVER = Path(os.environ.get('NATS_SERVER') or
                   Path(sys.executable).with_name('nats-server'))
"""Another one, such as Debian's, can be named by the environment."""


class Cluster:
    """
    Nodes of NATS on this machine.

    :param config: a file with what all have in common.
    """

    def __init__(self, size: int, config: Path | None = None) -> None:
        self.ports, self._routes = free_ports(size), free_ports(size)
        self._config = config
        self.nodes: list[subprocess.Popen[bytes] | None] = [None] * size

    @property
    def urls(self) -> list[str]:
        """Return the addresses of the nodes."""
        return [f'nats://127.0.0.1:{port}' for port in self.ports]

    def start(self, index: int) -> None:
        """Start a node, and wait until it listens."""
        command = [str(NATS_SERVER), '-a', '127.0.0.1', '-p', str(self.ports[index])]
        if self._config is not None:
            command += ['-c', str(self._config)]
        if len(self.ports) > 1:
            command += ['--cluster_name', 'fleet',
                        '--cluster', f'nats://127.0.0.1:{self._routes[index]}', '--routes',
                        ','.join(f'nats://127.0.0.1:{port}' for port in self._routes)]
        self.nodes[index] = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL)
        wait_until(lambda: self._listens(self.ports[index]))

    def kill(self, index: int) -> None:
        """End a node at once."""
        node, self.nodes[index] = self.nodes[index], None
        if node is not None:
            node.kill()
            node.wait()

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', port)) == 0


@contextmanager
def nats_cluster(size: int = 1, config: Path | None = None) -> Iterator[Cluster]:
    """Run nodes of NATS."""
    cluster = Cluster(size, config)
    try:
        for index in range(size):
            cluster.start(index)
        yield cluster
    finally:
        for index in range(size):
            cluster.kill(index)


async def relays_know(*relays: RelayService) -> None:
    """Wait until each relay knows all others."""
    await async_wait_until(lambda: all(
        relay.engine is not None and relay.engine.relays == len(relays) - 1 for relay in relays),
        why=lambda: [relay.engine for relay in relays])


async def listed(relay: RelayService, *names: str) -> None:
    """Wait until a relay lists these robots, and no other."""
    def found() -> set[str]:
        others = () if relay.engine is None else relay.engine.entries()
        return {*relay.relay.robots, *(entry.name for entry in others)}
    await async_wait_until(lambda: found() == set(names), why=found)


async def turns(count: int = 3) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)
