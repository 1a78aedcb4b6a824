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
One WebSocket connection, either mode: what comes, and its end.

What leaves is the work of :class:`Outbound`. A peer that cannot take what it is sent is closed,
and costs nobody else anything.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
import time
from typing import Any, Protocol, TYPE_CHECKING

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from ws_bridge.addresses import network_of
from ws_bridge.protocol.types import Priority
from ws_bridge.transport.endpoint import address_host, join_host_port
from ws_bridge.transport.fence import END, Keepalive, Pace, UNKNOWN
from ws_bridge.transport.framing import head
from ws_bridge.transport.large import (
    INVALID_DATA,
    Large,
    limit_messages,
    MESSAGE_TOO_BIG,
    TOO_MANY,
)
from ws_bridge.transport.outbound import Outbound
from ws_bridge.transport.rounds import Rounds
from ws_bridge.transport.turns import Turns

if TYPE_CHECKING:
    from ws_bridge.transport.fence import Fenced
    from ws_bridge.transport.options import LinkOptions

#: For how long one socket is read before the others get their turn, s.
TURN = 0.001
#: RFC 6455 5.5: a control frame holds 125 bytes, two of them the code.
_MAX_REASON = 123
_ABNORMAL = 1006
_INTERNAL_ERROR = 1011


class Listener(Protocol):
    """
    What gets the raw frames of each connection, on the event loop; never blocks.

    Reading waits while a call is running, and from ``link.pause()`` to ``link.resume()``, and only
    for that connection's socket. An exception is a fault of the listener: it closes that
    connection with 1011.
    """

    def opened(self, link: Link) -> None:
        """Take note of a connection whose handshake is complete."""

    def received(self, link: Link, data: str | bytes) -> None:
        """Take one message: ``str`` from a text frame, ``bytes`` from a binary one."""

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Take note of the end; 1006 = without a closing handshake. Called once."""


class LargeListener(Listener, Protocol):
    """A listener that takes large messages as they came; others get them as one."""

    def received_large(self, link: Link, message: Large) -> None:
        """Take one; where its text is no UTF-8: :meth:`Link.close_for_text`."""


class Link(Outbound):
    """
    One open connection.

    :param dialled: whether this side opened it (client mode).
    :param turns: the line in which the readers of all connections wait.
    :param rounds: in which all connections are pinged.
    :param ping_interval: s; 0 = it need not answer pings.
    :ivar fence: of the message that the listener has just got: loop time, s, before which it
        cannot have been sent.
    :ivar pace: of the pings, which make fences; nobody has asked for any.
    :ivar keepalive: pings as well, to see whether the peer is still there.
    """

    __slots__ = ('_closer', '_fault', '_options', '_resumed', '_turns', 'address', 'admitted',
                 'bytes_in', 'dialled', 'fence', 'keepalive', 'last_activity', 'opened_at', 'pace',
                 'peer_id', 'remote', 'subprotocol')

    def __init__(self, websocket: Fenced, options: LinkOptions, *, dialled: bool,
                 turns: Turns, rounds: Rounds, ping_interval: float = 0.0) -> None:
        super().__init__(websocket, options, dialled=dialled)
        self.dialled = dialled
        self.peer_id: str = websocket.id.hex
        self.remote = address_text(websocket.remote_address)
        #: Where the peer is, without a port; and what the server's ``admit`` hook returned.
        self.address: str = getattr(websocket, 'client_address', '') or \
            self.remote.rpartition(':')[0]
        websocket.place.network = network_of(self.address)
        self.admitted: Any = getattr(websocket, 'admitted', None)
        self.subprotocol: str | None = websocket.subprotocol
        self.opened_at = self.last_activity = time.time()
        self.bytes_in = 0
        self.fence = UNKNOWN
        self.pace = Pace(websocket.send_fence, rounds)
        self._turns = websocket.turns = turns
        self.keepalive = Keepalive(
            websocket, rounds, ping_interval, options.ping_timeout,
            lambda: self.close(_INTERNAL_ERROR, 'keepalive ping timeout'))
        self._options = options
        self._closer: asyncio.Task[None] | None = None
        self._resumed: asyncio.Event | None = None
        self._fault: Exception | None = None     # of the listener, which the reader raises

    def __repr__(self) -> str:
        way = 'to' if self.dialled else 'from'
        return f'<Link {way} {self.remote} in={self.messages_in} out={self.messages_out} ' \
               f'{self.queue!r}>'

    @property
    def is_paused(self) -> bool:
        """Whether its listener has stopped the reading."""
        return self._resumed is not None

    @property
    def ending(self) -> int | None:
        """The code with which this side closes, or has closed, the connection, if it does."""
        return None if self._ending is None else self._ending[0]

    @property
    def request_headers(self) -> Mapping[str, str]:
        """The headers of the opening request, names in lower case."""
        request = self.websocket.request
        return {} if request is None else plain_headers(request.headers)

    @property
    def path(self) -> str:
        """The path, with its query, of the opening request."""
        request = self.websocket.request
        return '/' if request is None else request.path

    @property
    def latency(self) -> float:
        """The last round trip of a WebSocket ping, s; 0 before the first."""
        return self.websocket.latency

    def beat(self, frame: bytes, priority: Priority) -> None:
        """
        Send a heartbeat, and with it the ping that is due.

        :param frame: UTF-8.
        """
        websocket = self.websocket
        is_pinged = self.pace.goes_along and websocket.may_ping
        if self._is_plain and self.is_idle and self._protocol.state is State.OPEN:
            ping = websocket.make_fence() if is_pinged else b''
            websocket.write(b''.join((ping, head(len(frame), True), frame)))
            self.messages_out += 1
            self.bytes_out += len(frame)
            return
        if is_pinged:
            websocket.send_fence()
        self.send(frame, priority)

    def limit_messages(self, size: int) -> None:
        """Take messages of at most so many bytes from now on; larger ones close with 1009."""
        limit_messages(self.websocket.protocol, size)

    def pause(self) -> None:
        """Read no further until :meth:`resume`: the listener's back-pressure."""
        if self._resumed is None and self._ending is None:
            self._resumed = asyncio.Event()

    def resume(self) -> None:
        """Read on."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def close(self, code: int, reason: str) -> None:
        """
        Start to close; never waits. What is queued leaves first, if the peer takes it in time.

        Nothing is received any more. A peer that does not answer is cut off after the
        ``close_timeout``. The first call counts.
        """
        if self._ending is None:
            self.flush()
            reason = reason.encode()[:_MAX_REASON].decode(errors='ignore')
            self._ending = code, reason
            self.direct = None
            self.resume()
            self._closer = asyncio.get_running_loop().create_task(self._close(code, reason))

    def close_for_text(self, reason: str, position: int) -> None:
        """
        Start to close, for text that is no UTF-8.

        :param reason: what is wrong, as ``UnicodeDecodeError`` says it, and where.
        """
        self.close(INVALID_DATA, f'{reason} at position {position}')

    def abort(self, reason: str) -> None:
        """Cut the connection at once, without a closing handshake."""
        if self._ending is None:
            self._ending = _ABNORMAL, reason
        self.direct = None
        self.resume()
        self.queue.clear()
        self._transport.abort()

    async def serve(self, listener: Listener) -> None:
        """
        Read until the end and tell the listener; returns when nothing of the link is left.

        The end is when the peer says that it closes, or sends no more. Over a slow link the rest
        of the closing handshake takes long, and what the peer drives has to stop.
        """
        try:
            listener.opened(self)
            self.keepalive.start()
            try:
                await self._read(listener)
                await self._wait_to_end()
            finally:
                if self.is_open:       # the listener failed; who called closes the connection
                    self._ending = _INTERNAL_ERROR, 'internal error'
                    self.direct = None
                self.queue.clear()
                listener.closed(self, *self._outcome())
            self._turns.note()
            await self.websocket.wait_closed()
        except asyncio.CancelledError:
            self.abort('cancelled')
            raise
        finally:
            self.pace.end()
            self.keepalive.stop()
            self._stop()
        tasks = [task for task in (self._writer, self._closer) if task is not None]
        if tasks:
            await asyncio.wait(tasks)
        # Without cycles, all of it is freed now: to look for the garbage of many takes long.
        self._stall.forget()
        self.websocket.forget_link()

    async def _read(self, listener: Listener) -> None:
        """Hand on what comes: at once while nothing waits, else from the queue, in its turn."""
        websocket, turns = self.websocket, self._turns
        receive, fences = websocket.recv, websocket.fences
        end = time.perf_counter() + TURN
        place = websocket.place
        take = partial(self._take, listener)
        try:
            while True:
                websocket.take = take
                data = await receive()
                websocket.take = None
                if self._fault is not None:
                    raise self._fault
                fence, large = fences.popleft()
                if large is END:
                    return
                self._count(len(large or data) if large or isinstance(data, bytes)
                            or data.isascii() else len(data.encode()))
                while self._resumed is not None:
                    await self._resumed.wait()
                    end = time.perf_counter() + TURN
                if turns.are_over() and not place.hurries \
                        and (large or not websocket.is_urgent(data)):
                    await turns.wait(place)
                    end = time.perf_counter() + TURN
                if not fences:
                    place.hurries = False       # what was urgent is this
                self.fence = fence
                if self._ending is None:
                    if large is None:
                        listener.received(self, data)
                    else:
                        self._received_large(listener, large)
                turns.note()
                del data, large     # the next one may be long in coming
                if time.perf_counter() > end:
                    await asyncio.sleep(0)
                    end = time.perf_counter() + TURN
        except ConnectionClosed:
            return
        finally:
            websocket.take = None

    async def _wait_to_end(self) -> None:
        """Wait in line where many end at once, but not if the peer may be driving something."""
        if not self.websocket.is_urgent(b''):
            await self._turns.come_or_go()

    def _take(self, listener: Listener, frame: Frame, fence: float) -> bool:
        """
        Hand a message on where nothing of the connection waits: a wake-up of the reader less.

        :return: whether it was; else it is for the queue, and the reader finds what is wrong.
        """
        if self._resumed is not None or self._turns.are_over():
            return False
        payload = bytes(frame.data)
        data: str | bytes = payload
        if frame.opcode is Opcode.TEXT:
            try:
                data = payload.decode()
            except UnicodeDecodeError:
                return False
        self._count(len(payload))
        self.fence = fence
        if self._ending is None:
            try:
                listener.received(self, data)
            except Exception as exc:  # noqa: BLE001 - the reader raises it
                self._fault = exc
                return False
        self._turns.note()
        return True

    def _count(self, size: int) -> None:
        self.messages_in += 1
        self.bytes_in += size
        self.last_activity = time.time()

    def _received_large(self, listener: Listener, message: Large) -> None:
        take: Callable[[Link, Large], None] | None = getattr(listener, 'received_large', None)
        if message is TOO_MANY:
            self.close(MESSAGE_TOO_BIG, 'too many fragments')
        elif take is not None:
            take(self, message)
        else:
            try:
                data = message.whole()
            except UnicodeDecodeError as exc:
                self.close_for_text(exc.reason, exc.start)
            else:
                listener.received(self, data)

    async def _close(self, code: int, reason: str) -> None:
        timeout = self._options.close_timeout / 2
        writer = self._writer
        if writer is not None and not (await asyncio.wait((writer,), timeout=timeout))[0]:
            # `websockets` would say 1011 while a message of its own is half sent.
            writer.cancel()
            await asyncio.wait((writer,))
        try:
            await asyncio.wait_for(self.websocket.close(code, reason), timeout)
        except asyncio.TimeoutError:
            self._transport.abort()

    def _outcome(self) -> tuple[int, str]:
        if self._ending is not None:
            return self._ending
        close = self._protocol.close_rcvd
        return (_ABNORMAL, '') if close is None else (close.code, close.reason)


def address_text(address: Any) -> str:
    """Return ``host:port`` of a socket address."""
    if isinstance(address, tuple) and len(address) >= 2:
        return join_host_port(address_host(address), address[1])
    return str(address or 'unknown')


def plain_headers(headers: Any) -> dict[str, str]:
    """Return headers with lower-case names, repeated ones joined as RFC 9110 5.3 allows."""
    plain: dict[str, str] = {}
    for name, value in headers.raw_items():
        name = name.lower()
        plain[name] = f'{plain[name]}, {value}' if name in plain else value
    return plain
