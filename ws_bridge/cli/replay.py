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
from contextlib import asynccontextmanager, AsyncExitStack, ExitStack
from fnmatch import fnmatchcase
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
from ws_bridge.cli.bag import exposure_of, rights_of
from ws_bridge.config import did_you_mean, Exposure, Rule, Settings, settings_from
from ws_bridge.errors import ConfigError, ConnectFailed, Forbidden, UnknownName
from ws_bridge.identity.authority import Authority
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.types import InterfaceConfig
from ws_bridge.record.channels import ChannelInfo, COMMANDS
from ws_bridge.record.marks import said_of
from ws_bridge.record.reading import messages
from ws_bridge.safety.policy import GATED_TYPES
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
    side = side_of(args, loop)
    with ExitStack() as undo:
        if args.publish:
            publish_named(args, side, undo)
        return await _serve(args, side, settings, stop)


async def _serve(args: argparse.Namespace, side: ReplaySide, settings: Settings,
                 stop: asyncio.Event) -> int:
    async with serving(side, settings) as port:
        host = f'[{settings.address}]' if ':' in settings.address else settings.address
        print(f'ws_bridge: {args.path} is replayed on ws://{host}:{port} (page: '
              f'http://{host}:{port}/)', flush=True)
        await stop.wait()
    return 0


def side_of(args: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> ReplaySide:
    """
    Return the recording, as far as the role may read it that is named.

    :raises WsBridgeError: it cannot be read, or not by this role.
    """
    rights = rights_of(args)
    return ReplaySide(
        Path(args.path), loop, speed=args.speed, begin=args.begin or 0.0,
        is_endless=args.is_endless,
        may_hear=lambda *topic: rights is None or rights.may_hear(*topic),
        hears_all=rights is None or rights.hears_all)


def publish_named(args: argparse.Namespace, side: ReplaySide, undo: ExitStack) -> None:
    """
    Have topics published into ROS, until the stack is closed.

    :raises WsBridgeError: one is not there, or may have a gate.
    """
    topics = to_publish(args, side)
    try:
        from ws_bridge.ros.replaying import Replayed, ReplayNode
    except ImportError as exc:
        raise ConfigError(f'needs ROS: {exc}', field='--publish') from exc
    node = ReplayNode({topic: Replayed(side.types.message(info.type_name), _qos(info))
                       for topic, info in topics.items()})
    undo.callback(node.close)
    side.publish(topics, node.publish)


def to_publish(args: argparse.Namespace, side: ReplaySide) -> dict[str, ChannelInfo]:
    """
    Return the topics that are named, if none of them ever had, or would have, a gate.

    A command that was recorded is not one that anybody gives now.

    :raises UnknownName: one is not in the recording.
    :raises Forbidden: one moves something.
    """
    exposure = exposure_of(args)
    gated = {pattern for gate in exposure.gates for pattern in gate.topics} | {
        str(said_of(each.data).get('topic'))
        for each in messages(Path(args.path), [COMMANDS])}
    found: dict[str, ChannelInfo] = {}
    for topic in args.publish:
        info = side.infos.get(topic)
        if info is None:
            raise UnknownName(f'{topic} is not in the recording'
                              f'{did_you_mean(topic, side.infos)}', field='--publish')
        if info.is_own:
            raise Forbidden(f'{topic} is what the bridge said: it is no topic of ROS',
                            field='--publish')
        if topic in side.gated or _full(info.type_name) in GATED_TYPES or '/_action/' in topic \
                or any(fnmatchcase(topic, each) for each in gated):
            raise Forbidden(f'{topic} moves something: it has a gate, or its type is one of '
                            'commands', field='--publish')
        found[topic] = info
    return found


def _full(type_name: str) -> str:
    """Return the full name of a type that is written without its kind, as in bags of others."""
    package, _, name = type_name.partition('/')
    return type_name if '/' in name else f'{package}/msg/{name}'


def _qos(info: ChannelInfo) -> QosRequest:
    """Return what the first publisher of a topic offered, as far as it matters here."""
    offered = info.qos[0] if info.qos else {}
    return QosRequest(
        reliability='best_effort' if offered.get('reliability') == 'best_effort' else 'reliable',
        durability='transient_local' if offered.get('durability') == 'transient_local'
        else 'volatile')


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
    bridge = Bridge(settings, READ_ONLY, cast('RosSide', side), loop, door, ledger, epoch,
                    player=side)
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
