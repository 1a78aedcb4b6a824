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
Start, signals, shutdown: what ``ws_bridge serve`` and ``ws_bridge demo`` do.

Order of the start: ROS side (it has the parameters), mapping file, port, dial-out. The
shutdown is the reverse, in :func:`close`; each step is bounded, all together below 2 s.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
import ctypes
from dataclasses import dataclass, replace
import gc
import inspect
import logging
import os
from pathlib import Path
import shlex
import shutil
import signal
import ssl
import sys
import time
from typing import Any, TYPE_CHECKING

from ws_bridge.bridge import Bridge, Mailbox
from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.door import Door
from ws_bridge.bridge.files import Folder
from ws_bridge.bridge.guard import (
    check_names,
    check_reach,
    read_token,
    server_tls,
    tell_gates,
    watch_files,
)
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.metrics import make_metrics
from ws_bridge.bridge.pages import HEALTH, make_http
from ws_bridge.bridge.watch import Watch
from ws_bridge.config import Exposure, PARAMETERS, Settings, settings_from
from ws_bridge.demo import PARENT, SERVICES, TOPICS
from ws_bridge.errors import ConnectFailed, WsBridgeError
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.files import check_file
from ws_bridge.interface.client import WebSocketClient
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.mapping.reader import load_mapping
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.native import SUBPROTOCOL
from ws_bridge.protocol.types import InterfaceConfig, SecurityLevel
from ws_bridge.ros.log import RosLogHandler
from ws_bridge.ros.settings import RosSettings
from ws_bridge.ros.side import RosSide
from ws_bridge.session.rights import Policy
from ws_bridge.stop_process import load_no_generator
from ws_bridge.transport.options import ClientOptions, ServerOptions

if TYPE_CHECKING:
    from ws_bridge.fleet.uplink import FleetUplink

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOPBACK = {'0.0.0.0': '127.0.0.1', '::': '::1'}
"""Addresses that stand for all, and how a client on this machine reaches each."""

ROBOT_WITHIN = 15.0
"""How long the demo waits for its robot's topics before it says that they are not there, s."""

LOOK_EVERY = 0.05
COMPANION_TIMEOUT = 1.0
"""How long the demo robot may take to end, s."""

SWITCH = 0.0005
"""For how long a thread that computes keeps the others waiting, s; Python's own is 5 ms."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of ``mallopt(3)``."""
MMAP_THRESHOLD = 4 << 20
"""A block of so many bytes is returned as soon as it is free."""
TRIM_THRESHOLD = 2 * MMAP_THRESHOLD
"""So many bytes of smaller blocks are kept: those of a cloud of 2 MB take 4 ms to get anew."""

logger = logging.getLogger('ws_bridge')


@dataclass
class Service:
    """What runs: made by :func:`open_service`, ended by :func:`close_service`."""

    ros: RosSide
    settings: Settings
    bridge: Bridge
    server: WebSocketServer
    watch: Watch
    ledger: Ledger
    dialled: list[WebSocketClient]
    dialling: list[asyncio.Task[Any]]
    fleet: FleetUplink | None

    @property
    def url(self) -> str:
        """Where a client on this machine connects."""
        host = self.settings.address
        return self._url_of(LOOPBACK.get(host, host))

    @property
    def listening(self) -> str:
        """Where the bridge listens, for a person."""
        host = self.settings.address
        also = f' and port {self.settings.foxglove_port}' if self.settings.foxglove_port else ''
        return f'{self.url}{also}' if host not in LOOPBACK else \
            f'{self._url_of(host)}{also}, every address of this machine; from here {self.url}'

    def _url_of(self, host: str) -> str:
        scheme = 'wss' if self.settings.tls_certificate else 'ws'
        return f'{scheme}://{f"[{host}]" if ":" in host else host}:{self.server.port}'

    @property
    def page(self) -> str:
        """The web page, for a browser on this machine."""
        return f'http{self.url.removeprefix("ws")}/'


async def open_service(args: Sequence[str], *, on_fault: Callable[[BaseException], None],
                       context: Any = None) -> Service:
    """
    Start everything; what was started is closed again when a later step fails.

    :param args: ROS arguments, from ``--ros-args`` on.
    :param on_fault: called with an exception of a thread that should not have been.
    :param context: an initialised rclpy context, else an own one.
    :raises ConfigError: a parameter or the mapping file is wrong.
    :raises TransportError: the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    mailbox = Mailbox(loop)
    bridges: list[Bridge] = []

    def told(hear: Callable[..., None]) -> Callable[..., None]:
        """Return what calls a method of the bridge; of none, while it is being made."""
        def call(*args: object) -> None:
            for bridge in bridges:
                hear(bridge, *args)
        return call

    ros = RosSide(RosSettings(), post=mailbox.post, attach=mailbox.attach, args=list(args),
                  parameters=PARAMETERS,
                  on_graph=told(Bridge.graph_changed), on_estop=told(Bridge.stop_wish),
                  on_neighbour=told(Bridge.hear_neighbour),
                  on_stops_lost=told(Bridge.stops_lost),
                  on_stop_failed=told(Bridge.stop_failed),
                  on_save=told(Bridge.save_wish), on_fault=on_fault, context=context)
    async with AsyncExitStack() as undo:
        undo.callback(ros.shutdown)
        ros.start()
        settings = settings_from(ros.parameters)
        check_names(settings, ros)
        exposure = _exposure(settings, ros)
        if exposure.gates or any(settings.gated_types):
            ros.watchdog.start_process()
        policy = Policy(exposure, ros.own)
        authority = Authority(settings, os.environ, policy.roles)
        check_reach(settings, authority)
        tls = server_tls(settings, authority)
        epoch = time.time() - loop.time()
        audit = Audit(settings.audit_file, settings.audit_size, loop.time, epoch)
        undo.callback(audit.close)
        ledger = Ledger(audit)
        door = Door(settings, policy, authority, ledger)
        bridge = Bridge(settings, exposure, ros, loop, door, ledger, epoch)
        bridges.append(bridge)
        mailbox.then = bridge.work
        server = _server(settings, bridge, ros, door, ledger, tls)
        clients = _clients(settings, bridge)
        fleet = _fleet(settings, bridge, door, server)
        undo.push_async_callback(server.disconnect)
        if not await server.start_server(settings.address, settings.port):
            raise server.last_error or ConnectFailed('cannot listen')
        ros.declare_fact('actual_port', server.port, 'The port that the bridge listens on.')
        undo.callback(bridge.end_recorder)
        undo.callback(bridge.shutdown)
        bridge.start()
        watch = watch_files(settings, authority, tls, loop)
        watch.start()
        undo.pop_all()
    if fleet is not None:
        fleet.start()
    return Service(ros, settings, bridge, server, watch, ledger, clients, [
        loop.create_task(client.connect_to_server(endpoint))
        for client, endpoint in zip(clients, settings.connect, strict=True)], fleet)


async def close_service(service: Service) -> list[str]:
    """
    End everything, in order: commands, no new peers, peers told (1001), their things, ROS.

    Each step is tried, whatever became of those before it.

    :return: what went wrong, a line each; it was logged.
    """
    async def connections() -> None:
        outcomes = await asyncio.gather(
            service.server.disconnect(), *(client.disconnect() for client in service.dialled),
            return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def fleet() -> None:
        if service.fleet is not None:
            await service.fleet.close()

    async def dialling() -> None:
        for task in service.dialling:
            with suppress(asyncio.CancelledError, WsBridgeError):
                await task

    def dial_no_more() -> None:
        for task in service.dialling:
            task.cancel()
        if service.fleet is not None:
            service.fleet.dial_no_more()

    steps: tuple[tuple[str, Callable[[], Any]], ...] = (
        ('stop', lambda: service.ros.watchdog.stop_all('shutdown')),
        ('files', service.watch.close),
        ('control', service.bridge.end_control),
        ('dial no more', dial_no_more),
        ('connections', connections),
        ('fleet', fleet),
        ('dialling', dialling),
        ('bridge', service.bridge.shutdown),
        ('workers', service.bridge.end_workers),
        ('audit', service.ledger.audit.close),
        ('recorder', service.bridge.end_recorder),
        ('ROS', service.ros.shutdown))
    faults: list[str] = []
    cancelled: asyncio.CancelledError | None = None
    for name, step in steps:
        try:
            outcome = step()
            if inspect.isawaitable(outcome):
                await outcome
        except asyncio.CancelledError as exc:
            cancelled = exc
        except Exception as exc:        # the steps that follow have to be done as well
            logger.error('at the end, %s: %r', name, exc, exc_info=exc)
            faults.append(f'{name}: {exc!r}')
    if cancelled is not None:
        raise cancelled
    return faults


def _exposure(settings: Settings, ros: RosSide) -> Exposure:
    if not settings.mapping_file:
        return Exposure.open()
    check_file(settings.mapping_file, 'mapping_file', is_secret=False)
    namespace, _, name = ros.node_name.rpartition('/')
    exposure = load_mapping(settings.mapping_file).resolved(namespace or '/', name)
    for warning in exposure.idle_gates():
        logger.warning('%s: %s', settings.mapping_file, warning)
    exposure = exposure.remapped(ros.resolve, lambda each: ros.resolve(each, service=True))
    exposure.check_cameras(settings.mapping_file)
    return exposure


def _server(settings: Settings, bridge: Bridge, ros: RosSide, door: Door, ledger: Ledger,
            tls: ssl.SSLContext | None) -> WebSocketServer:
    metrics = make_metrics(bridge.figures, ledger, door) if settings.metrics else None
    return WebSocketServer(_config(settings, 'ws_bridge server'), listener=bridge,
                           options=ServerOptions(
        subprotocols=DIALECTS.subprotocols,
        origins=settings.origins or None,
        max_peers=settings.max_peers, max_peers_per_address=settings.max_peers_per_address,
        max_handshakes=settings.max_handshakes, handshake_timeout=settings.handshake_timeout,
        hosts=settings.hosts, paths_of_any_host=(HEALTH,),
        trusted_proxies=settings.trusted_proxies, tls=tls, admit=door.admit,
        more_ports=(settings.foxglove_port,) if settings.foxglove_port else (),
        refused=ledger.refused, http=make_http(
            settings.robot_name, lambda: ros.alive, metrics,
            Folder(settings.pages) if settings.pages else None, bridge.screens.answer,
            bridge.recordings.answer if bridge.recordings else None),
        **_link_options(settings)))


def _clients(settings: Settings, bridge: Bridge) -> list[WebSocketClient]:
    configure = _dialling(settings, 'connect_token_file')
    return [WebSocketClient(configure(endpoint), listener=bridge, options=ClientOptions(
        subprotocols=(SUBPROTOCOL,), **_link_options(settings))) for endpoint in settings.connect]


def _fleet(settings: Settings, bridge: Bridge, door: Door,
           server: WebSocketServer) -> FleetUplink | None:
    """Return what dials relays; where there are none, nothing of a fleet is even loaded."""
    configure = _dialling(settings, 'fleet_token_file')
    if not settings.fleet:
        return None
    from ws_bridge.fleet.frames import SUBPROTOCOL as SUBPROTOCOL_OF_FLEET
    from ws_bridge.fleet.uplink import FleetUplink, MOST_RETRY_DELAY
    return FleetUplink(settings, configure, ClientOptions(
        subprotocols=(SUBPROTOCOL_OF_FLEET,), max_retry_delay=MOST_RETRY_DELAY,
        **_link_options(settings)), door=door, server=server, summary=bridge.summary)


def _dialling(settings: Settings, token_file: str) -> Callable[[str], InterfaceConfig]:
    """
    Return what makes the configuration of a client by its endpoint.

    :param token_file: the parameter that names the file with the token which is presented.
    """
    path = getattr(settings, token_file)
    token = read_token(path, token_file) if path else None

    def configure(endpoint: str) -> InterfaceConfig:
        config = replace(_config(settings, 'ws_bridge dialling out'), endpoint=endpoint,
                         retry_attempts=0, retry_delay=settings.retry_delay)
        if token is None:
            return config
        level = SecurityLevel.AUTHENTICATED if endpoint.startswith('wss:') \
            else SecurityLevel.BASIC
        return replace(config, security_level=level, auth_token=token)
    return configure


def _config(settings: Settings, description: str) -> InterfaceConfig:
    return InterfaceConfig(name=settings.robot_name, description=description,
                           max_message_size=settings.max_message_size,
                           compression=settings.compression, log_level='WARNING')


def _link_options(settings: Settings) -> dict[str, Any]:
    return {'ping_interval': settings.ping_interval, 'ping_timeout': settings.ping_timeout,
            'max_queue_bytes': settings.max_queue_bytes}


async def run(args: Sequence[str], *, announce: Callable[[Service], None],
              companion: Sequence[str] = (),
              is_complete: Callable[[Service], bool] | None = None) -> int:
    """
    Serve until SIGINT or SIGTERM, or until the companion ends.

    :param announce: called once, when peers can connect and all is there.
    :param companion: command line of a process to run beside the bridge, as long as it runs.
    :param is_complete: tells whether the graph has what the companion makes.
    :return: exit code.
    """
    _give_memory_back()
    load_no_generator()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    faults: list[BaseException] = []

    def on_fault(exc: BaseException) -> None:
        logger.error('a fault of the ROS side: %r', exc, exc_info=exc)
        faults.append(exc)

    failed: list[str] = []
    services: list[Service] = []

    def at_once() -> None:
        for service in services:
            service.ros.watchdog.stop_all('shutdown')

    async with AsyncExitStack() as stack:
        stack.enter_context(_caught_signals(loop, stop.set, at_once))
        try:
            service = await open_service(args, on_fault=on_fault)
        except WsBridgeError as exc:
            print(f'ws_bridge: {exc}', file=sys.stderr)
            return 1
        services.append(service)

        async def close() -> None:
            failed.extend(await close_service(service))
        stack.push_async_callback(close)
        stack.callback(services.clear)
        stack.enter_context(_said_by(service.ros))
        tell_gates(service.bridge.gates, service.settings.gated_types)
        ended = await _start(companion, stop, stack) if companion else None
        # What is there now stays: to look through all of it takes tens of ms, in which all wait,
        # the watchdog too.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH)
        _catch_hangup(loop, service.watch.read)
        stack.callback(signal.signal, signal.SIGHUP, signal.SIG_IGN)
        if is_complete is not None:
            await _until_complete(service, is_complete, stop)
        if not stop.is_set():
            announce(service)
        await stop.wait()
    return int(bool(failed or (ended is not None and ended.done() and ended.result())))


def _give_memory_back() -> None:
    """
    Have what is large returned to the system as soon as it is free.

    glibc takes it for its own heap once the first of the size was freed, and keeps it.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)


async def _until_complete(service: Service, is_complete: Callable[[Service], bool],
                          stop: asyncio.Event) -> None:
    """Wait for what the companion makes, but not for ever."""
    end = time.monotonic() + ROBOT_WITHIN
    while not is_complete(service) and not stop.is_set():
        if time.monotonic() > end:
            logger.warning('the demo robot is not in the graph after %g s', ROBOT_WITHIN)
            return
        await asyncio.sleep(LOOK_EVERY)


@contextmanager
def _caught_signals(loop: asyncio.AbstractEventLoop, then: Callable[[], object],
                    at_once: Callable[[], object]) -> Iterator[None]:
    """
    Have the first signal call ``then`` on the loop; later ones change nothing, to the very end.

    The robot is stopped ``at_once``, in the handler itself, also while the loop hangs.

    A handler of the loop's own would be gone when the loop is, and Python's handlers are gone
    when the interpreter ends: a second signal would kill a process that was ending in order.  So
    signals are ignored in the end, but not in the handler: Python complains of one that has come
    before it was ignored.
    """
    has_come = False

    def caught(*_: object) -> None:
        nonlocal has_come
        if has_come:
            return
        has_come = True
        at_once()
        with suppress(RuntimeError):        # the loop has ended, and everything with it
            loop.call_soon_threadsafe(then)
    for number in SIGNALS:
        signal.signal(number, caught)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)    # until there are files to read again
    try:
        yield
    finally:
        for number in (*SIGNALS, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def _catch_hangup(loop: asyncio.AbstractEventLoop, then: Callable[[], object]) -> None:
    """Have SIGHUP call ``then`` on the loop, as long as there is one."""
    def caught(*_: object) -> None:
        with suppress(RuntimeError):        # the loop has ended
            loop.call_soon_threadsafe(then)
    signal.signal(signal.SIGHUP, caught)


@contextmanager
def _said_by(ros: RosSide) -> Iterator[None]:
    """Let the node say what this package logs, at the level that ROS has for it."""
    handler = RosLogHandler(ros.logger)
    logger.addHandler(handler)
    logger.setLevel(int(ros.logger.get_effective_level()))
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


async def _start(command: Sequence[str], stop: asyncio.Event,
                 stack: AsyncExitStack) -> asyncio.Task[int]:
    """Run a process until the stack is closed; its own end is everybody's."""
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)

    async def watch() -> int:
        code = await process.wait()
        if not stop.is_set():
            logger.error('%s ended with exit code %d', ' '.join(command), code)
            stop.set()
            return code or 1
        return 0

    async def end() -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(watching), COMPANION_TIMEOUT)
        except asyncio.TimeoutError:
            process.kill()
            await watching

    watching = asyncio.create_task(watch())
    stack.push_async_callback(end)
    return watching


def _own_command() -> str:
    """Return what a person types in this folder to run this program once more."""
    called = sys.argv[0]
    if shutil.which('ws_bridge') is not None:
        return 'ws_bridge'
    if Path(called).name == 'ws_bridge':
        return shlex.quote(called)
    return f'{shlex.quote(sys.executable)} -m ws_bridge'


def serve(argv: Sequence[str]) -> int:
    """
    Run the bridge node.

    :param argv: ROS arguments.
    :return: exit code.
    """
    def announce(service: Service) -> None:
        print(f'ws_bridge: listening on {service.listening} (page: {service.page})', flush=True)

    return asyncio.run(run(argv, announce=announce))


def demo(argv: Sequence[str]) -> int:
    """
    Run the bridge node and, in a process of its own, the demo robot.

    :param argv: ROS arguments of the bridge.
    :return: exit code.
    """
    def announce(service: Service) -> None:
        url, command = service.url, _own_command()
        robot = 'runs' if is_complete(service) else 'is still starting'
        print(f"""ws_bridge: the demo robot {robot}, the bridge listens on {url}

  Open {service.page} in a browser to watch and drive it.

  {command} topics --url {url}
  {command} echo /odom --url {url}
  {command} pub /cmd_vel '{{"linear": {{"x": 0.3}}}}' --rate 10 --url {url}
  {command} call /reset '{{}}' --url {url}

Ctrl-C ends both.""", flush=True)

    def is_complete(service: Service) -> bool:
        graph = service.ros.graph
        return set(TOPICS) <= set(graph.topics) and set(SERVICES) <= set(graph.services)

    command = sys.executable, '-m', 'ws_bridge.demo', PARENT, str(os.getpid())
    return asyncio.run(run(argv, announce=announce, companion=command, is_complete=is_complete))
