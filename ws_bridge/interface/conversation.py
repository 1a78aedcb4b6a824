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
The seed's own behaviour over links: envelopes, handlers, ``receive()``, heartbeats.

Every message goes both to ``receive()`` and to the handler of its type. Handlers of one peer run
one after the other, beside the reader. When ``receive_buffer_size`` bytes wait for them the peer's
socket is read no further until half of it is done: nothing is lost, and the peer is slowed down.
Who is not read cannot be heard: it is not judged meanwhile. Nor are its pings answered: as long as
handlers are behind it gets heartbeats so often that it does not take this end for dead.
``receive()`` has a queue of that size too, which keeps the newest, so a program may use one and
forget the other. ``messages_dropped`` counts what neither a handler nor ``receive()`` got.
Heartbeats go to handlers only.

A message older than its ``ttl`` (by this machine's clock) is dropped and counted. A frame that
is no envelope is counted and answered with an ``error`` message.
"""
from __future__ import annotations

import asyncio
from collections import deque, OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
import time
from typing import Any, TYPE_CHECKING

from ws_bridge.errors import BadField, LimitExceeded, ProtocolError
from ws_bridge.interface.handlers import Handler
from ws_bridge.interface.inbox import Inbox, OVERHEAD
from ws_bridge.protocol.envelope import decode, encode
from ws_bridge.protocol.native import SUBPROTOCOL
from ws_bridge.protocol.pieces import is_piece, Joiner
from ws_bridge.protocol.types import MessageMetadata, MessageType, Priority
from ws_bridge.timing.liveness import Liveness, LivenessState

if TYPE_CHECKING:
    from ws_bridge.transport.link import Link
    from ws_bridge.transport.options import LinkOptions
    from ws_bridge.transport.settings import ConnectionSettings

#: The ids among which a repeated one is noticed.
DUPLICATE_WINDOW = 4096
#: What an automatic acknowledgment says.
_RECEIVED = {'status': 'received'}
_SILENT = 1008
#: The longest interval of heartbeats that another end may announce, s.
MAX_INTERVAL = 86400.0

Received = tuple[Any, MessageMetadata]
Deserialize = Callable[[Any], Received]
Call = Callable[[Handler, Any, MessageMetadata, Any], Awaitable[None]]
Job = tuple[Handler, Any, MessageMetadata]


@dataclass(slots=True)
class Counters:
    """What is counted beside the traffic of the links."""

    errors: int = 0
    heartbeats_sent: int = 0
    heartbeats_received: int = 0
    heartbeats_lost: int = 0
    duplicates_dropped: int = 0
    expired_dropped: int = 0
    messages_dropped: int = 0


class _Peer:
    """One link's liveness, and the handler calls that wait."""

    __slots__ = ('_last_beat', '_shown', '_signs', 'heard_at', 'is_working', 'jobs', 'joiner',
                 'liveness', 'nbytes', 'told_at')

    def __init__(self, now: float, joiner: Joiner | None) -> None:
        self.joiner = joiner
        self.heard_at = self.told_at = now
        self._signs: tuple[float, ...] = ()
        self.liveness: Liveness | None = None
        self._last_beat: float | None = None
        self._shown = 0.0
        self.jobs: deque[tuple[Job, int]] = deque()
        self.nbytes = 0
        self.is_working = False

    def excuse(self, now: float) -> None:
        """Do not count the silence until ``now``: nobody listened."""
        self.heard_at = now
        if self.liveness is not None:
            self.liveness.excuse(now)

    def is_silent(self, signs: tuple[float, ...], patience: float, now: float) -> bool:
        """Whether nothing changed in the signs of the other end for ``patience`` s."""
        if signs != self._signs:
            self._signs, self.heard_at = signs, now
        return now - self.heard_at >= patience

    def beaten(self, data: Any, settings: ConnectionSettings, now: float) -> None:
        """
        Learn from a heartbeat how often the other end sends them, and watch it from then on.

        An end whose heartbeats are rarer than ours may be silent for as many of its own.

        :param data: its data; ``interval`` (s) announces it, else the longest gap shows it.
        """
        announced = data.get('interval') if isinstance(data, dict) else None
        if isinstance(announced, (int, float)) and not isinstance(announced, bool) \
                and 0 < announced <= MAX_INTERVAL:
            interval = float(announced)
        elif self._last_beat is not None:
            interval = self._shown = max(self._shown, now - self._last_beat)
        else:
            self._last_beat = now
            return
        self._last_beat = now
        longer = max(1.0, interval / settings.heartbeat_interval)
        times = settings.heartbeat_interval * longer, settings.heartbeat_timeout * longer
        if self.liveness is None:
            self.liveness = Liveness(*times, now)
        else:
            self.liveness.expect(*times)


class Conversation:
    """
    The default listener of an interface.

    :param deserialize: makes data and metadata of a frame; raises ``ProtocolError``.
    :param call: calls a handler safely.
    """

    def __init__(self, settings: ConnectionSettings, deserialize: Deserialize, call: Call) -> None:
        self._settings = settings
        self._deserialize = deserialize
        self._call = call
        self._peers: dict[Link, _Peer] = {}
        self._handlers: dict[MessageType, Handler] = {}
        self._watchers: list[Handler] = []
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._running: dict[asyncio.Future[None], _Peer] = {}
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.inbox: Inbox[Received] = Inbox(settings.inbox_bytes)
        self.counters = Counters()

    # A listener's three calls.

    def opened(self, link: Link) -> None:
        """Take note of a peer; it is watched when its heartbeats have shown their interval."""
        link.keepalive.leave_unjudged()
        # Elsewhere what a binary frame begins with is its sender's own.
        self._peers[link] = _Peer(_clock(), Joiner(self._settings.max_message_size)
                                  if link.subprotocol == SUBPROTOCOL else None)

    def received(self, link: Link, data: str | bytes) -> None:
        """Take one frame."""
        peer = self._peers[link]
        if peer.liveness is not None:
            self._note(link, peer, peer.liveness.heard(_clock()))
        try:
            if peer.joiner is not None and isinstance(data, bytes) and is_piece(data):
                whole = peer.joiner.add(data)
                if whole is None:
                    return
                data = whole
            message, metadata = self._deserialize(data)
        except (ProtocolError, LimitExceeded) as exc:
            self.counters.errors += 1
            self._settings.log.debug('bad frame from %s: %s', link.remote, exc)
            link.send(self.encode({'code': exc.code, 'message': exc.message, 'field': exc.field},
                                  MessageMetadata(message_type=MessageType.ERROR)))
            return
        if self._is_wanted(link, data, metadata):
            self._deliver(link, peer, message, metadata, len(data) + OVERHEAD)

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Forget a peer; handler calls that wait still run."""
        del self._peers[link]

    # What the interface uses.

    def encode(self, data: Any, metadata: MessageMetadata) -> bytes:
        """
        Encode one envelope; the source is this interface if none is given.

        :raises BadField: if it cannot be JSON, or type or priority is none of the known ones.
        """
        try:
            message_type = MessageType(metadata.message_type)
            priority = Priority(metadata.priority)
        except ValueError as exc:
            raise BadField(str(exc), field='metadata') from exc
        return encode(
            data, message_id=metadata.message_id, timestamp=metadata.timestamp,
            message_type=message_type, priority=priority,
            source=metadata.source or self._settings.name, destination=metadata.destination,
            correlation_id=metadata.correlation_id, ttl=metadata.ttl)

    def register(self, message_type: MessageType, function: Callable[..., Any]) -> None:
        """Set the handler of a type; the last one counts."""
        self._handlers[MessageType(message_type)] = Handler(function)

    def watch(self, function: Callable[..., Any]) -> None:
        """Call a function with (state, websocket) when the liveness of a peer changes."""
        self._watchers.append(Handler(lambda state, _, websocket: function(state, websocket)))

    def expect(self, message_id: str) -> asyncio.Future[None]:
        """Return what is done when the message is acknowledged; ask before it is sent."""
        return self._waiting.setdefault(message_id, asyncio.get_running_loop().create_future())

    def forget(self, message_id: str) -> None:
        """Stop waiting for an acknowledgment."""
        self._waiting.pop(message_id, None)

    async def shutdown(self) -> None:
        """Drop the handler calls that wait, end those that run, and wake who waits to receive."""
        self.inbox.release()
        for peer in self._running.values():
            self.counters.messages_dropped += len(peer.jobs)
            peer.jobs.clear()
        # A handler may itself be what shuts down.
        running = self._running.keys() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def reconfigure(self, settings: ConnectionSettings) -> None:
        """Take new settings; only while there is no peer."""
        self._settings = settings
        self.inbox.max_bytes = settings.inbox_bytes

    def beat(self, links: Iterable[Link]) -> None:
        """Send a heartbeat to each, which announces when the next one comes."""
        now = time.time()
        frame = self.encode(
            {'type': 'heartbeat', 'timestamp': now, 'interval': self._settings.heartbeat_interval},
            MessageMetadata(timestamp=now, message_type=MessageType.HEARTBEAT))
        for link in links:
            self.counters.heartbeats_sent += link.send(frame)

    def poll(self, options: LinkOptions) -> float:
        """
        Look for peers that fell silent; return when to look again (monotonic).

        :param options: say how long a ping may go unanswered.
        """
        now = _clock()
        look = min(options.ping_interval or options.ping_timeout, options.ping_timeout / 2)
        self._check_pings(options.ping_interval + options.ping_timeout
                          if options.ping_interval and self._settings.keep_alive else None, now)
        for link, peer in self._peers.items():
            if peer.jobs and now >= peer.told_at + look:
                peer.told_at = now
                self.beat((link,))
        watched = [(link, peer, peer.liveness) for link, peer in self._peers.items()
                   if peer.liveness is not None and not link.is_paused]
        for link, peer, liveness in watched:
            self._note(link, peer, liveness.poll(now))
        deadlines = [deadline for _, _, liveness in watched
                     if (deadline := liveness.deadline()) is not None]
        return min([now + look, *deadlines])

    # Inside.

    def _check_pings(self, patience: float | None, now: float) -> None:
        """Cut those that answered no ping, and said nothing else, for ``patience`` s."""
        for link, peer in list(self._peers.items()):
            if link.is_paused:
                if not link.is_open:
                    link.resume()       # so that its end is seen, though a handler is stuck
                continue
            if patience is not None and peer.is_silent(link.received_signs, patience, now):
                link.abort(f'answered no ping for {patience:g} s')

    def _note(self, link: Link, peer: _Peer, state: LivenessState | None) -> None:
        """Act on a change of liveness: tell who watches, close who is lost."""
        if state is None or peer.liveness is None:
            return
        for watcher in self._watchers:      # at once, not behind the handlers that wait
            task = asyncio.ensure_future(
                self._call(watcher, state, MessageMetadata(), link.websocket))
            self._running[task] = peer
            task.add_done_callback(self._running.pop)
        if state is LivenessState.LOST:
            self.counters.heartbeats_lost += 1
            link.close(_SILENT, f'silent for {peer.liveness.timeout:.3g} s')

    def _is_wanted(self, link: Link, data: str | bytes, metadata: MessageMetadata) -> bool:
        """Count and drop what is too old, or came before; acknowledge the rest, if asked to."""
        if metadata.ttl is not None and time.time() - metadata.timestamp > metadata.ttl:
            self.counters.expired_dropped += 1
            return False
        control = metadata.message_type in (MessageType.ACKNOWLEDGMENT, MessageType.HEARTBEAT)
        if self._settings.confirm_delivery and not control and isinstance(data, str):
            link.send(self.encode(_RECEIVED, MessageMetadata(
                message_type=MessageType.ACKNOWLEDGMENT, destination=metadata.source or None,
                correlation_id=metadata.message_id)))
        if self._settings.drop_duplicates and self._came_before(metadata):
            self.counters.duplicates_dropped += 1
            return False
        return True

    def _came_before(self, metadata: MessageMetadata) -> bool:
        key = metadata.source, metadata.message_id
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > DUPLICATE_WINDOW:
            self._seen.popitem(last=False)
        return False

    def _deliver(self, link: Link, peer: _Peer, message: Any, metadata: MessageMetadata,
                 size: int) -> None:
        if metadata.message_type is MessageType.ACKNOWLEDGMENT:
            future = self._waiting.get(metadata.correlation_id or '')
            if future is not None and not future.done():
                future.set_result(None)
                return
            if self._settings.confirm_delivery and message == _RECEIVED:
                return          # too late, or of a broadcast, which waits for none
        handler = self._handlers.get(metadata.message_type)
        if metadata.message_type is MessageType.HEARTBEAT:
            self.counters.heartbeats_received += 1
            if self._settings.heartbeat_interval:
                peer.beaten(message, self._settings, _clock())
        else:
            self.counters.messages_dropped += self.inbox.put(
                (message, metadata), size, is_spare=handler is not None)
        if handler is not None:
            self._start_job(link, peer, (handler, message, metadata), size)

    def _start_job(self, link: Link, peer: _Peer, job: Job, size: int) -> None:
        peer.jobs.append((job, size))
        peer.nbytes += size
        if not peer.is_working:
            self._next_job(link, peer)
        if peer.nbytes > self._settings.inbox_bytes and not link.is_paused:
            link.pause()

    def _next_job(self, link: Link, peer: _Peer) -> None:
        """Start the next handler call of a peer; when it ends, the one after it."""
        peer.is_working = bool(peer.jobs)
        if not peer.jobs:
            return
        job, size = peer.jobs.popleft()
        peer.nbytes -= size
        task = asyncio.ensure_future(self._call(*job, link.websocket))
        self._running[task] = peer
        task.add_done_callback(lambda done: self._job_done(done, link, peer))
        if link.is_paused and peer.nbytes <= self._settings.inbox_bytes / 2:
            peer.excuse(_clock())
            link.resume()

    def _job_done(self, task: asyncio.Future[None], link: Link, peer: _Peer) -> None:
        del self._running[task]
        self._next_job(link, peer)


def deserialize(frame: str | bytes) -> Received:
    """
    Make data and metadata of a frame; what the metadata lacks has its default.

    :param frame: the text of an envelope; ``bytes`` (a binary frame) are data as they are.
    :raises ProtocolError: if it is no envelope.
    """
    if not isinstance(frame, str):
        return frame, MessageMetadata()
    got = decode(frame)
    metadata = MessageMetadata(
        message_type=got.message_type, priority=got.priority, source=got.source,
        destination=got.destination, correlation_id=got.correlation_id, ttl=got.ttl)
    if got.message_id is not None:
        metadata.message_id = got.message_id
    if got.timestamp is not None:
        metadata.timestamp = got.timestamp
    return got.data, metadata


def _clock() -> float:
    return time.monotonic()
