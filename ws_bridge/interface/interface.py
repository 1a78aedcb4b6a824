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
``WebSocketInterface``: the seed's interface, server or client, and the bridge's transport.

Without a ``listener`` it does what the seed describes (:mod:`.conversation`); with one, the
listener gets the raw frames of every :class:`Link` instead, and nothing else is read or sent.

States: DISCONNECTED at first and after ``disconnect``; CONNECTING; CONNECTED, for a server while
it listens; RECONNECTING after a loss; ERROR when the attempts are used up, or the port is taken:
``last_error`` says why, and also why data could not be sent.

Logging, to ``ws_bridge.transport.<name>``: ERROR, a port that is taken (unless there is a
``listener``, whose owner says it), attempts used up, a handler or listener that failed, data that
cannot be sent; INFO, states, connections, failed attempts; DEBUG, bad frames.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
import math
import time
from typing import Any, TYPE_CHECKING

from ws_bridge.errors import BadField, ConfigError, TooLarge, TransportError, WsBridgeError
from ws_bridge.identity.tickets import without_ticket
from ws_bridge.interface.conversation import Conversation, deserialize, Received
from ws_bridge.interface.handlers import Handler
from ws_bridge.interface.sending import Sender
from ws_bridge.protocol.types import (
    CommunicationProtocol,
    ConnectionState,
    InterfaceConfig,
    MessageMetadata,
    MessageType,
)
from ws_bridge.transport.connections import Connections
from ws_bridge.transport.endpoint import parse_endpoint
from ws_bridge.transport.link import Link, Listener
from ws_bridge.transport.listening import listen, Listening
from ws_bridge.transport.options import Carried, ClientOptions, LinkOptions, ServerOptions
from ws_bridge.transport.settings import check_config, is_server_mode, merged

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

_NORMAL = 1000, ''
_GOING_AWAY = 1001, 'shutting down'
_TRY_LATER = 1013, 'too many peers'


class WebSocketInterface(CommunicationProtocol):
    """
    A WebSocket interface; custom setting ``mode`` (or ``is_server``) says which end it is.

    All of it belongs to the event loop in which ``connect`` is called.

    :param config: see :mod:`ws_bridge.transport.settings`.
    :param listener: who gets the raw frames instead of the seed's own behaviour.
    :param options: ``ServerOptions`` or ``ClientOptions``, as the mode is.
    :raises ConfigError: naming the field that is wrong.
    """

    def __init__(self, config: InterfaceConfig, *, listener: Listener | None = None,
                 options: LinkOptions | None = None) -> None:
        self._given_options = options
        self._server_options = ServerOptions()
        self._client_options = ClientOptions()
        self._configure(config)
        self._state = ConnectionState.DISCONNECTED
        self._connections = Connections()
        self._conversation = Conversation(
            self._settings, lambda frame: self._deserialize_message(frame),
            lambda *call: self._call_handler(*call))
        self._sender = Sender(self._settings, self._connections, self._conversation)
        self._listener: Listener = self._conversation if listener is None else listener
        self._listening: Listening | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._first_outcome: asyncio.Future[bool] | None = None
        self._stopping = False
        self.last_error: WsBridgeError | None = None

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.config.name!r} {self.config.description!r} ' \
               f'{without_ticket(self.config.endpoint)} {self.get_connection_state().value}, ' \
               f'{len(self._connections)} connections>'

    @property
    def links(self) -> list[Link]:
        """The open connections."""
        return list(self._connections)

    # The seed's public methods.

    async def connect(self, config: InterfaceConfig | Mapping[str, Any] | None = None) -> bool:
        """
        Listen or dial, as the mode is.

        A client makes ``retry_attempts`` attempts before it returns ``False``; with 0 it returns
        when it is connected, or when ``disconnect`` is called. From then on it connects again
        after each loss, on its own.

        :param config: replaces the one given to the constructor; a dictionary replaces some of
            its fields, and its ``server_mode`` (bool) the mode of a plain interface.
        :raises ConfigError: naming the field that is wrong.
        """
        chosen = merged(self.config, config)
        if self._is_up() and chosen == self.config:
            return True
        if isinstance(config, Mapping) and 'server_mode' in config \
                and config['server_mode'] is not self._is_server_mode(chosen):
            raise ConfigError(f'{type(self).__name__} has the other mode', field='server_mode')
        await self.disconnect()
        self._configure(chosen)
        self._conversation.reconfigure(self._settings)
        self._sender = Sender(self._settings, self._connections, self._conversation)
        self._stopping = False
        self.last_error = None
        self._set_state(ConnectionState.CONNECTING)
        self._settings.log.info('%r starts', self)
        start = self._start_server if self._settings.is_server else self._connect_client
        return await start(self.config)

    async def disconnect(self) -> bool:
        """Close every connection, and the port, within ``close_timeout``; leaves no task."""
        self._stopping = True
        if self._listening is not None:
            self._listening.stop()
        busy = len(self._connections) > 0
        self._connections.close(*(_GOING_AWAY if self._settings.is_server else _NORMAL))
        await self._end_tasks(grace=2 * self._link_options.close_timeout if busy else 0.0)
        if self._listening is not None:
            await self._listening.closed(2 * self._link_options.close_timeout)
            self._listening = None
        await self._conversation.shutdown()
        self._answer(connected=False)
        self._set_state(ConnectionState.DISCONNECTED)
        return True

    async def send(self, data: Any, metadata: MessageMetadata | None = None) -> bool:
        """
        Send a message: a client to its server, a server to every peer (``broadcast``).

        ``bytes`` go as a binary frame, without metadata; anything else as the envelope. A client
        waits while its server is slow, up to ``timeout``, and with ``delivery_confirmation`` for
        the acknowledgment.

        :return: ``False`` if the connection failed, or if ``data`` cannot be JSON or is more than
            ``max_message_size``: then ``statistics['errors']`` counts, and ``last_error`` and the
            log say why. Also ``False``, which is no error, of a server without peers.
        """
        if self._settings.is_server:
            return await self._send_to_all(data, metadata) > 0
        return await self._send_to(next(iter(self._connections), None), data, metadata)

    async def receive(self, timeout: float | None = None) -> Received | None:
        """
        Return the next message, from any peer, in the order of arrival.

        Messages that nobody takes wait in ``receive_buffer_size`` bytes; then the oldest is
        dropped, and counted (``messages_dropped``) unless a handler got it.

        :param timeout: s; ``None`` waits until there is a message or the interface is closed.
        :return: data and metadata; of a binary frame the bytes and metadata of type ``data``.
        """
        inbox = self._conversation.inbox
        if self._stopping or self.get_connection_state() in (ConnectionState.DISCONNECTED,
                                                             ConnectionState.ERROR):
            return inbox.pop()
        return await inbox.take(timeout)

    def get_connection_state(self) -> ConnectionState:
        """Return where the connection stands, now: a lost one never counts as CONNECTED."""
        if self._state is ConnectionState.CONNECTED and not self._settings.is_server \
                and not self.links:
            return ConnectionState.RECONNECTING
        return self._state

    def get_statistics(self) -> dict[str, Any]:
        """Return a copy of the counters; all zero if ``enable_metrics`` is off."""
        counts = {**self._connections.traffic(),
                  'connections_established': self._connections.established,
                  'connections_lost': self._connections.lost,
                  **asdict(self._conversation.counters)}
        counted = self._settings.count
        return {**(counts if counted else dict.fromkeys(counts, 0)),
                'last_activity': self._connections.last_activity if counted else None,
                'connection_state': self.get_connection_state().value,
                'connected_clients': len(self.links) if self._settings.is_server else 0,
                'is_server': self._settings.is_server}

    def register_message_handler(self, message_type: MessageType,
                                 handler: Callable[..., Any]) -> None:
        """
        Set the handler of a message type; the last one counts.

        :param handler: sync or async; takes ``(data, metadata)`` or
            ``(data, metadata, websocket)``, in both modes.
        """
        self._conversation.register(message_type, handler)

    def register_heartbeat_callback(self, callback: Callable[..., Any]) -> None:
        """
        Have a function called when a peer's heartbeats stop, or come again; both modes.

        At ``LivenessState.LOST`` the connection is closed: a client connects again.

        :param callback: sync or async; takes ``(state, websocket)``.
        """
        self._conversation.watch(callback)

    async def send_to_client(self, client: Any, data: Any,
                             metadata: MessageMetadata | None = None) -> bool:
        """
        Send to one peer of a server.

        :param client: its websocket, as handlers and ``get_connected_clients`` give it, its
            :class:`Link`, or its peer id.
        :return: as :meth:`send`; ``False`` also if there is no such peer.
        """
        return await self._send_to(self._connections.find(client), data, metadata)

    # The seed's inner methods.

    async def _start_server(self, config: InterfaceConfig) -> bool:
        """Bind the port of ``config`` and accept peers; whether that succeeded."""
        self._settings = check_config(config, is_server=True)
        try:
            self._listening = await listen(
                self._settings, self._server_options, self._handle_client_connection,
                lambda: self._connections.make_room(self._server_options.max_peers),
                self._connections.turns)
        except TransportError as exc:
            self._fail(exc, is_said=self._listener is not self._conversation)
            return False
        self._set_state(ConnectionState.CONNECTED)
        self._beating = asyncio.get_running_loop().create_task(self._heartbeat_loop())
        return True

    async def _connect_client(self, config: InterfaceConfig) -> bool:
        """Dial the endpoint of ``config``; whether one of its attempts succeeded."""
        self._settings = check_config(config, is_server=False)
        self._first_outcome = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        self._receiving = loop.create_task(self._receive_loop())
        self._beating = loop.create_task(self._heartbeat_loop())
        try:
            return await asyncio.shield(self._first_outcome)
        except asyncio.CancelledError:
            await self.disconnect()
            raise

    async def _handle_client_connection(self, websocket: Any, path: str | None = None) -> None:
        """Serve one peer of a server until it leaves; ``path`` is the websocket's own."""
        admitted = getattr(websocket, 'admitted', None)
        if isinstance(admitted, Carried):
            await admitted.carry(websocket)
        elif self._stopping:
            await websocket.close(*_GOING_AWAY)
        elif self._connections.make_room(most := self._server_options.max_peers) >= most:
            await websocket.close(*_TRY_LATER)
        else:
            await self._serve(websocket, dialled=False)

    async def _receive_loop(self) -> None:
        """Dial, read until the connection is lost, and dial again: a client's one reader."""
        # Only here: it loads a client of HTTP, which a server has no use for.
        from ws_bridge.transport.dialling import dial, pause
        settings, options = self._settings, self._client_options
        failures = losses = 0
        while True:
            try:
                websocket = await dial(settings, options)
            except TransportError as exc:
                failures += 1
                settings.log.info('attempt %d failed: %s', failures, exc)
                if failures == settings.retry_attempts:
                    self._fail(exc)
                    return
                self.last_error = exc
            else:
                failures = 0
                began = time.monotonic()
                if not await self._serve_dialled(websocket):
                    return
                # A connection that is dropped as soon as it is made counts for the pause.
                brief = time.monotonic() - began < pause(losses, settings, options)
                losses = losses + 1 if brief else 0
            await asyncio.sleep(pause(failures + losses, settings, options))

    async def _serve_dialled(self, websocket: Connection) -> bool:
        """Serve a connection to its end; whether to connect again."""
        try:
            async with websocket:
                await self._serve(websocket, dialled=True)
        except Exception:
            # A fault of the listener; it has closed this connection, and must not end the next.
            self._settings.log.exception('the listener failed')
        if not self._stopping:
            self._set_state(ConnectionState.RECONNECTING)
        return not self._stopping

    async def _heartbeat_loop(self) -> None:
        """Send heartbeats to every peer and watch for theirs."""
        if self._listener is not self._conversation:
            return
        interval = self._settings.heartbeat_interval or math.inf
        next_beat = time.monotonic() if interval < math.inf else math.inf
        while True:
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + interval
                self._conversation.beat(self.links)
            wake = min(next_beat, self._conversation.poll(self._link_options))
            await asyncio.sleep(max(wake - time.monotonic(), 0))

    async def _call_handler(self, handler: Any, data: Any, metadata: MessageMetadata,
                            websocket: Any = None) -> None:
        """Call a handler; what it raises is logged and counted, and stops nothing."""
        if not isinstance(handler, Handler):
            handler = Handler(handler)
        try:
            await handler.call(data, metadata, websocket)
        except Exception:
            self._conversation.counters.errors += 1
            self._settings.log.exception('handler %r failed', handler.function)

    def _deserialize_message(self, message_json: str | bytes) -> Received:
        """
        Make data and metadata of a frame; what the metadata lacks has its default.

        :param message_json: the text of an envelope; ``bytes`` are data as they are.
        :raises ProtocolError: if it is no envelope.
        """
        return deserialize(message_json)

    def _parse_endpoint(self, endpoint: str) -> tuple[str, int]:
        """
        Return host and port of an endpoint.

        :raises ConfigError: if it is none.
        """
        parsed = parse_endpoint(endpoint)
        return parsed.host, parsed.port

    # Inside.

    def _is_server_mode(self, config: InterfaceConfig) -> bool:
        return is_server_mode(config)

    def _configure(self, config: InterfaceConfig) -> None:
        """Check a configuration and the options, and take them."""
        is_server = self._is_server_mode(config)
        self._settings = check_config(config, is_server=is_server)
        if isinstance(self._given_options, ServerOptions) and is_server:
            self._server_options = self._given_options
        elif isinstance(self._given_options, ClientOptions) and not is_server:
            self._client_options = self._given_options
        elif self._given_options is not None:
            raise ConfigError(f'a {"server" if is_server else "client"} cannot have '
                              f'{type(self._given_options).__name__}', field='options')
        self._link_options: LinkOptions = \
            self._server_options if is_server else self._client_options
        self.config = config

    async def _serve(self, websocket: Connection, *, dialled: bool) -> None:
        link = self._connections.add(
            websocket, self._link_options, dialled=dialled,
            ping_interval=self._link_options.ping_interval if self._settings.keep_alive else 0.0)
        self._settings.log.info('%r opened', link)
        if dialled:
            self._set_state(ConnectionState.CONNECTED)
            self._answer(connected=True)
        await self._connections.serve(link, self._listener)
        self._settings.log.info('%r closed', link)

    async def _send_to(self, link: Link | None, data: Any,
                       metadata: MessageMetadata | None) -> bool:
        try:
            return await self._sender.send_to(link, data, metadata)
        except (BadField, TooLarge) as exc:
            self._note_unsent(exc)
            return False

    async def _send_to_all(self, data: Any, metadata: MessageMetadata | None) -> int:
        try:
            return await self._sender.send_to_all(data, metadata, is_up=self._is_up())
        except (BadField, TooLarge) as exc:
            self._note_unsent(exc)
            return 0

    def _note_unsent(self, error: BadField | TooLarge) -> None:
        self.last_error = error
        self._conversation.counters.errors += 1
        self._settings.log.error('not sent: %s', error)

    def _is_up(self) -> bool:
        return self.get_connection_state() is ConnectionState.CONNECTED

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self._state:
            self._settings.log.info('%s -> %s', self._state.value, state.value)
            self._state = state

    def _fail(self, error: TransportError, *, is_said: bool = False) -> None:
        self.last_error = error
        if not is_said:
            self._settings.log.error('%s', error)
        self._set_state(ConnectionState.ERROR)
        self._answer(connected=False)
        self._conversation.inbox.release()

    def _answer(self, *, connected: bool) -> None:
        """Let ``connect`` return, if it still waits."""
        if self._first_outcome is not None and not self._first_outcome.done():
            self._first_outcome.set_result(connected)

    async def _end_tasks(self, grace: float) -> None:
        """End the loops; a client's receiving one may take ``grace`` s to end by itself."""
        if self._beating is not None:
            self._beating.cancel()
        if self._receiving is not None and grace:
            await asyncio.wait((self._receiving,), timeout=grace)
        tasks = [task for task in (self._beating, self._receiving) if task is not None]
        self._beating = self._receiving = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
