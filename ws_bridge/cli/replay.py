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
"""``ws_bridge replay FOLDER``: serves a recording like a robot, read-only, without ROS."""
from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, AsyncExitStack
from pathlib import Path
import signal
import time
from typing import cast, TYPE_CHECKING

from ws_bridge.bridge import Bridge
from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.door import Door
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.pages import HEALTH, make_http
from ws_bridge.bridge.replay_side import ReplaySide
from ws_bridge.config import Exposure, Rule, Settings, settings_from
from ws_bridge.errors import ConnectFailed
from ws_bridge.identity.authority import Authority
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.types import InterfaceConfig
from ws_bridge.session.rights import Policy
from ws_bridge.transport.options import ServerOptions

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

READ_ONLY = Exposure(subscribe=(Rule('*'),))
"""What peers may: hear everything, do nothing."""
NAME_LENGTH = 54
"""Characters of the name of the recording that peers are told."""


def replay(args: argparse.Namespace) -> int:
    """
    Serve until Ctrl-C.

    :return: the exit code.
    :raises WsBridgeError: the recording cannot be read, or the port cannot be had.
    """
    name = Path(args.path).resolve().name
    settings = settings_from({'address': args.address, 'port': args.port,
                              'robot_name': f'{name[:NAME_LENGTH]} (replay)'})
    return asyncio.run(_until_interrupted(args, settings))


async def _until_interrupted(args: argparse.Namespace, settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    path = Path(args.path)
    side = ReplaySide(path, loop, speed=args.speed, begin=args.begin or 0.0,
                      is_endless=args.is_endless)
    async with serving(side, settings) as port:
        host = f'[{settings.address}]' if ':' in settings.address else settings.address
        print(f'ws_bridge: {path} is replayed on ws://{host}:{port} (page: '
              f'http://{host}:{port}/)', flush=True)
        await stop.wait()
    return 0


@asynccontextmanager
async def serving(side: ReplaySide, settings: Settings) -> AsyncIterator[int]:
    """
    Serve a recording, from its beginning, as long as the context lasts; gives the port.

    :raises ConnectFailed: the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    epoch = time.time() - loop.time()
    ledger = Ledger(Audit('', settings.audit_size, loop.time, epoch))
    door = Door(settings, Policy(READ_ONLY, side.own), Authority(settings, {}, {}), ledger)
    # As much of it as a bridge asks for that takes nothing.
    bridge = Bridge(settings, READ_ONLY, cast('RosSide', side), loop, door, ledger, epoch)
    server = WebSocketServer(
        InterfaceConfig(name=settings.robot_name, description='a replay',
                        max_message_size=settings.max_message_size, log_level='WARNING'),
        listener=bridge, options=ServerOptions(
            subprotocols=DIALECTS.subprotocols, origins=None, admit=door.admit,
            max_peers=settings.max_peers, hosts=settings.hosts, paths_of_any_host=(HEALTH,),
            refused=ledger.refused, http=make_http(settings.robot_name, lambda: True),
            ping_interval=settings.ping_interval, ping_timeout=settings.ping_timeout,
            max_queue_bytes=settings.max_queue_bytes))
    async with AsyncExitStack() as undo:
        undo.push_async_callback(bridge.end_workers)
        undo.push_async_callback(server.disconnect)
        if not await server.start_server(settings.address, settings.port):
            raise server.last_error or ConnectFailed('cannot listen')
        undo.callback(bridge.shutdown)
        bridge.start()
        undo.callback(side.shutdown)
        side.start(bridge.work)
        yield server.port
