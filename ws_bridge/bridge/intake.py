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
Large messages of peers: read and converted by a worker process, in the order of each peer.

While the worker has a message of a peer, that peer's next ones wait here, up to a bound, beyond
which its socket is not read; an emergency stop passes them. Nobody else waits.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
import logging
import time
from typing import Any, Protocol

from ws_bridge.bridge.peer import Peer
from ws_bridge.config import Settings
from ws_bridge.convert.codec import Codec, Converted
from ws_bridge.errors import (
    NotAdvertised,
    PeerGone,
    TooLarge,
    TypeMismatch,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.offload import wire
from ws_bridge.offload.workshop import pages, Workshop
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.session import effects as fx
from ws_bridge.transport.fence import UNKNOWN
from ws_bridge.transport.large import Large
from ws_bridge.transport.link import Link, TURN

MAX_WAITING = 64
"""Frames of one peer that wait for its large one."""
MAX_WAITING_BYTES = 1 << 20
"""Their bytes, but for the last; then its socket is not read."""
MAX_COMMAND = 262_144
"""The largest command of a gate, bytes of CDR: its values are judged on the loop."""
EDGE = 2048
"""So much of both ends of a message is looked at for its id, bytes."""
MAX_FLAT = 2 << 20
"""CDR of so many bytes is checked on the loop where that takes no step a value: it is copied."""
PROTOCOL_ERROR = 1002
INTERNAL_ERROR = 1011

VALUES: dict[type, str] = {
    fx.Publish: 'data', fx.CallService: 'data', fx.StartGoal: 'data', fx.AnswerService: 'values',
    fx.Feedback: 'values', fx.EndGoal: 'values'}
"""The effects that carry the values of a message, and where."""

Job = Callable[[], Coroutine[Any, Any, None]]
"""Reads or converts one large message, once it is called and awaited."""

logger = logging.getLogger(__name__)


class Taker(Protocol):
    """What the bridge does with what was read."""

    def take(self, link: Link, data: str | bytes | Large) -> Job | None:
        """Carry out a frame, or return what has to be awaited for it."""

    def operate(self, peer: Peer, op: ops.Operation) -> Job | None:
        """Carry out an operation, or return what has to be awaited for it."""

    def find(self, link: Link, dialect: str | None) -> Peer | None:
        """Return the peer of a link, made if a first frame shows its dialect."""

    def is_here(self, peer: Peer) -> bool:
        """Whether the peer has not left."""

    def carry_out(self, peer: Peer, effects: list[fx.Effect], op_id: str | None = None) -> bool:
        """Carry out effects; whether all were."""

    def codec_of(self, peer: Peer, effect: Any) -> Codec | None:
        """Return what converts the values of an effect; ``None`` where nobody wants them."""

    def is_unsure(self, peer: Peer, op: ops.Operation) -> bool:
        """Whether the graph has to be looked at again before an operation is carried out."""

    async def look_again(self) -> None:
        """Return when the graph was looked at again."""

    def is_gated(self, peer: Peer, topic: str) -> bool:
        """Whether what a peer publishes is judged by its values."""

    def ros_time(self) -> tuple[int, int]:
        """Return the time of ROS: s, ns."""


@dataclass(slots=True, eq=False)
class Line:
    """
    What one peer sent after a message that the worker has.

    :ivar is_working: its turn has come: what was begun is ended, even if the peer leaves.
    :ivar fence: of the message in work; see :class:`ws_bridge.transport.fence.Fenced`. What
        arrives meanwhile has fences of its own.
    """

    jobs: deque[Job] = field(default_factory=deque)
    frames: deque[tuple[str | bytes | Large, float]] = field(default_factory=deque)
    nbytes: int = 0
    task: asyncio.Task[None] | None = None
    is_working: bool = False
    fence: float = UNKNOWN


class Intake:
    """
    Everything of peers that the loop does not read itself.

    :param workshop: has the worker.
    """

    def __init__(self, settings: Settings, workshop: Workshop, taker: Taker,
                 loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._workshop = workshop
        self._taker = taker
        self._loop = loop
        self._lines: dict[Link, Line] = {}

    def __repr__(self) -> str:
        return f'Intake({len(self._lines)} peers, {self._workshop!r})'

    def is_busy(self, link: Link) -> bool:
        """Whether what a peer sends has to wait for what it sent before."""
        return link in self._lines

    def begin(self, link: Link, job: Job) -> None:
        """Have a large message read; what the peer sends next waits for it."""
        line = self._lines[link] = Line(fence=link.fence)
        line.jobs.append(job)
        line.task = self._loop.create_task(self._work(link, line))
        line.task.add_done_callback(lambda _: self._ended(link, line))

    def wait(self, link: Link, data: str | bytes | Large) -> None:
        """Keep a frame until its turn; where too much waits the socket is not read."""
        line = self._lines[link]
        line.frames.append((data, link.fence))
        line.nbytes += len(data)
        if len(line.frames) >= MAX_WAITING or line.nbytes >= MAX_WAITING_BYTES:
            link.pause()

    def closed(self, link: Link) -> None:
        """Drop what a peer that left has waiting."""
        line = self._lines.get(link)
        if line is None:
            return
        line.frames.clear()
        link.resume()
        if line.task is not None and not line.is_working:
            line.task.cancel()

    async def shutdown(self) -> None:
        """End everything that is being read, and the worker."""
        self._workshop.close()
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._workshop.closed()

    async def _work(self, link: Link, line: Line) -> None:
        """Work a line off."""
        end = time.perf_counter() + TURN
        try:
            while line.jobs or line.frames:
                job = line.jobs.popleft() if line.jobs else self._next(link, line)
                if job is not None:
                    running, job = job(), None      # which holds the message, and may let go of it
                    await running
                if time.perf_counter() > end:
                    await asyncio.sleep(0)
                    end = time.perf_counter() + TURN
        except Exception as exc:
            logger.error('a fault with a message from %s', link.address, exc_info=exc)
            link.close(INTERNAL_ERROR, 'internal error')
        finally:
            self._ended(link, line)     # at once: what comes next must not wait for nothing

    def _ended(self, link: Link, line: Line) -> None:
        if self._lines.get(link) is line:
            del self._lines[link]
        link.resume()

    def _next(self, link: Link, line: Line) -> Job | None:
        data, line.fence = line.frames.popleft()
        line.nbytes -= len(data)
        if len(line.frames) < MAX_WAITING // 2 and line.nbytes < MAX_WAITING_BYTES:
            link.resume()
        link.fence = line.fence
        return self._taker.take(link, data) if link.is_open else None

    # ---- what a line awaits

    async def read(self, link: Link, data: str | bytes | Large | ops.Wrapped,
                   form: wire.TextForm | None = None) -> None:
        """
        Have a message parsed, then carry it out.

        :param form: what it is, where that does not show.
        """
        peer = self._taker.find(link, None)
        form = form or ('cbor' if isinstance(data, bytes) else 'json')
        wrapped = isinstance(data, ops.Wrapped)
        if isinstance(data, ops.Wrapped):
            form, data = 'png' if data.is_png else 'json', data.text
        is_unchecked = isinstance(data, Large) and data.is_text
        edge = data.edge(EDGE) if isinstance(data, Large) else None
        cargo: list[Any] = data.pieces if isinstance(data, Large) else [
            data if isinstance(data, bytes) else data.encode()]
        del data
        op_id = peer.kind.find_id(edge or cargo[0]) \
            if peer and form == 'json' and not wrapped else None
        settings = self._settings
        request = wire.Parse(
            None if peer is None else peer.kind.name, form, peer is None or peer.kind.lenient_json,
            settings.max_json_depth, settings.max_elements, settings.max_message_size,
            is_unchecked)
        async with self._turn(link):
            try:
                head, rest = await self._workshop.ask(request, cargo)
            except WsBridgeError as exc:
                self._refuse(link, peer, op_id, exc)
                return
            if not link.is_open:
                return
            if 'no_text' in head:
                link.close_for_text(*head['no_text'])
                return
            if peer is None:
                peer = self._taker.find(link, head.get('dialect') or '')
            if peer is None:
                return
            peer.dialect.fence = link.fence = self._lines[link].fence
            if 'again' in head:
                decoded = peer.dialect.decode(str(rest, 'utf-8'), self._loop.time())
            else:
                decoded = peer.dialect.decode_value(
                    _with_parked(head), self._loop.time(), wrapped=wrapped or head['wrapped'])
            if isinstance(decoded, ops.Wrapped):
                self._lines[link].jobs.appendleft(partial(self.read, link, decoded))
                return
            end = time.perf_counter() + TURN
            for op in decoded:
                link.fence = self._lines[link].fence
                if self._taker.is_here(peer):
                    await self._carry_out(peer, op)
                if time.perf_counter() > end:
                    await asyncio.sleep(0)
                    end = time.perf_counter() + TURN
            if decoded:
                with suppress(WsBridgeError):   # what was left of it has gone with the worker
                    await self._workshop.ask(wire.Forget())

    async def put_together(self, link: Link, message: Large) -> None:
        """Put a binary message together, bit by bit, then carry it out."""
        data = pages(len(message))
        pieces = message.pieces
        del message
        for number, piece in enumerate(pieces):
            data.write(piece)
            pieces[number] = b''
            await asyncio.sleep(0)
        peer = self._taker.find(link, None)
        if peer is None or not self._taker.is_here(peer):
            return
        peer.dialect.fence = link.fence = self._lines[link].fence
        decoded = peer.dialect.decode(memoryview(data), self._loop.time())
        job = partial(self.read, link, decoded) if isinstance(decoded, ops.Wrapped) \
            else self.in_order(peer, decoded)
        if job is not None:
            self._lines[link].jobs.appendleft(job)

    def in_order(self, peer: Peer, operations: tuple[ops.Operation, ...]) -> Job | None:
        """Carry out the operations of one frame; return what has to be awaited, and the rest."""
        jobs = self._jobs(peer, operations)
        first = next(jobs, None)
        return None if first is None else partial(self._in_order, peer.link, first, jobs)

    def _jobs(self, peer: Peer, operations: tuple[ops.Operation, ...]) -> Iterator[Job]:
        """Carry out operations; give what has to be awaited before the next, or that others do."""
        end = time.perf_counter() + TURN
        for op in operations:
            job = self._taker.operate(peer, op) if self._taker.is_here(peer) else None
            if job is not None:
                yield job
            elif time.perf_counter() > end:
                yield partial(asyncio.sleep, 0)
                end = time.perf_counter() + TURN

    async def _in_order(self, link: Link, first: Job, others: Iterator[Job]) -> None:
        await first()
        link.fence = self._lines[link].fence
        for job in others:
            await job()
            link.fence = self._lines[link].fence

    async def finish(self, peer: Peer, effects: list[fx.Effect], op_id: str | None) -> None:
        """Have the values of the last effect converted, then carry the effects out."""
        async with self._turn(peer.link):
            await self._finish(peer, effects, op_id)

    async def check(self, link: Link, codec: Codec, cdr: memoryview,
                    then: Callable[[Any], object]) -> None:
        """Have CDR checked, for one that is no peer of the bridge."""
        async with self._turn(link):
            outcome = await self._convert(codec, 'cdr', cdr)
        if link.is_open:
            then(Converted(outcome))

    def is_large(self, peer: Peer, effects: list[fx.Effect]) -> bool:
        """Whether the values of a publication or a call in bytes are too much for the loop."""
        last = effects[-1] if effects else None
        if not isinstance(last, (fx.Publish, fx.CallService)) \
                or not isinstance(last.data, memoryview):
            return False
        kind = ENCODINGS[last.encoding]
        if not kind.is_heavy(last.data):
            return False
        if isinstance(last, fx.CallService):
            return True
        codec = self._taker.codec_of(peer, last)
        return codec is not None and not (
            kind.is_cdr and is_soon_checked(codec, len(last.data)))

    @asynccontextmanager
    async def _turn(self, link: Link) -> AsyncIterator[None]:
        """Have the worker; what is asked of it then is ended, even if the peer leaves."""
        async with self._workshop.turn():
            line = self._lines[link]
            line.is_working = True
            try:
                yield
            finally:
                line.is_working = False

    def _refuse(self, link: Link, peer: Peer | None, op_id: str | None,
                error: WsBridgeError) -> None:
        """Tell a peer that its message could not be read; one that nobody knows has to leave."""
        if peer is None:
            link.close(PROTOCOL_ERROR, unreadable(error))
        elif self._taker.is_here(peer):
            self._taker.carry_out(peer, peer.session.receive(
                ops.Malformed(op_id, error), self._loop.time()))

    async def _carry_out(self, peer: Peer, op: ops.Operation) -> None:
        if self._taker.is_unsure(peer, op) and not await self._look_again(peer):
            return
        effects = peer.session.receive(op, self._loop.time())
        if effects and isinstance(effects[0], fx.LookAgain):
            if not await self._look_again(peer):
                return
            effects = peer.session.resume(effects[0].operation, self._loop.time())
        await self._finish(peer, effects, getattr(op, 'op_id', None))

    async def _look_again(self, peer: Peer) -> bool:
        """Return when the graph was looked at again: whether the peer is still here."""
        await self._taker.look_again()
        peer.link.fence = self._lines[peer.link].fence
        return self._taker.is_here(peer)

    async def _finish(self, peer: Peer, effects: list[fx.Effect], op_id: str | None) -> None:
        last: Any = effects[-1] if effects else None
        where = VALUES.get(type(last))
        values = getattr(last, where or 'data', None)
        if not isinstance(values, (ops.Parked, memoryview)):
            self._taker.carry_out(peer, effects, op_id)
            return
        if not self._taker.carry_out(peer, effects[:-1], op_id):
            return
        if where is None:       # an inquiry
            error = TooLarge('nothing that large is asked for here')
            self._taker.carry_out(peer, peer.session.services.ended(last.key, error), op_id)
            return
        outcome = await self._outcome(peer, last, values)
        why = self._judge_again(peer, last)
        if why is None:
            peer.link.fence = self._lines[peer.link].fence
            self._taker.carry_out(peer, [replace(last, **{where: Converted(outcome)})], op_id)
        else:       # if it has left, its session may wait for it: it is told
            self._taker.carry_out(peer, _given_up(peer, last, why), op_id)

    def _judge_again(self, peer: Peer, effect: Any) -> WsBridgeError | None:
        """Return why what was read is too late: its peer has left, or has lost the lease."""
        if not self._taker.is_here(peer):
            return PeerGone('the connection ended before this was read')
        try:
            if isinstance(effect, fx.CallService):
                peer.session.services.check_again(effect)
            elif isinstance(effect, fx.StartGoal):
                peer.session.actions.check_again(effect)
        except WsBridgeError as exc:
            return exc
        return None

    async def _outcome(self, peer: Peer, effect: Any,
                       values: ops.Parked | memoryview) -> memoryview | WsBridgeError:
        """Return the CDR of the values of an effect, or why there is none."""
        try:
            try:
                codec = self._taker.codec_of(peer, effect)
            except (UnknownName, TypeMismatch):     # it may be new, or anew
                await self._taker.look_again()
                codec = self._taker.codec_of(peer, effect)
        except WsBridgeError as exc:
            return exc
        if codec is None:
            return NotAdvertised('nobody waits for this any more')
        outcome = await self._convert(codec, getattr(effect, 'encoding', 'json'), values)
        if isinstance(effect, fx.Publish) and self._taker.is_gated(peer, effect.topic) \
                and isinstance(outcome, memoryview) and len(outcome) > MAX_COMMAND:
            return TooLarge(f'a command may have at most {MAX_COMMAND} bytes')
        return outcome

    async def _convert(self, codec: Codec, encoding: Any,
                       values: ops.Parked | memoryview) -> memoryview | WsBridgeError:
        now = self._taker.ros_time() if codec.uses_time else None
        try:
            if isinstance(values, ops.Parked):
                _, cdr = await self._workshop.ask(wire.Convert(codec.schema, now))
                return cdr
            _, cdr = await self._workshop.ask(wire.Read(
                codec.schema, encoding, now, self._settings.max_elements), [values])
            return values if ENCODINGS[encoding].is_cdr else cdr
        except WsBridgeError as exc:
            return exc


def is_soon_checked(codec: Codec, size: int) -> bool:
    """Whether the loop copies and checks so many bytes of CDR before others notice."""
    return codec.is_flat and size <= MAX_FLAT


def unreadable(error: WsBridgeError) -> str:
    """Return why a connection ends with its first frame: no dialect is known to tell it in."""
    return f'{error.code}: the first frame cannot be read: {error.message}'


def _given_up(peer: Peer, effect: Any, why: WsBridgeError) -> list[fx.Effect]:
    """End what a peer asked for and does not get any more."""
    if isinstance(effect, fx.CallService):
        return peer.session.services.ended(effect.key, why)
    if isinstance(effect, fx.StartGoal):
        return peer.session.actions.ended(effect.key, why)
    return []


def _with_parked(head: dict[str, Any]) -> Any:
    """Return what a worker parsed, with a mark where it has the values."""
    value = holder = head['value']
    *path, last = head['path'] or ['']
    for key in path:
        holder = holder[key]
    if last:
        holder[last] = ops.Parked(head['is_list'])
    return value
