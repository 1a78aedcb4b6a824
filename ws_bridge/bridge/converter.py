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
Large messages on their way to peers: converted by a worker process, the newest of each stream.

What is small is converted at once by who has it; only after a large message of the same stream,
which is not ready yet, does it come here too: order is kept.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
import logging

from ws_bridge.convert.codec import Codec, CodecStore, LARGE
from ws_bridge.errors import ConversionError, WsBridgeError
from ws_bridge.offload import wire
from ws_bridge.offload.workshop import Workshop
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.operations import Encoding

Then = Callable[['memoryview | WsBridgeError'], object]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Conversion:
    """One message to be converted, and who gets what comes of it."""

    request: wire.Write
    cdr: bytes
    then: Then
    on_drop: Callable[[], object] | None


class Converter:
    """
    Everything for peers that the loop does not convert itself.

    :param workshop: has the worker.
    """

    def __init__(self, store: CodecStore, workshop: Workshop,
                 loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._workshop = workshop
        self._loop = loop
        self._streams: dict[Hashable, deque[Conversion]] = {}
        self._line: deque[Hashable] = deque()   # of those, once for each message that waits
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f'Converter({len(self._streams)} streams, {self._workshop!r})'

    def is_busy(self, stream: Hashable) -> bool:
        """Whether an older message of a stream is not ready yet."""
        return stream in self._streams

    def convert(self, stream: Hashable, codec: Codec, cdr: bytes, encoding: Encoding, then: Then,
                *, depth: int = 1, around: tuple[bytes, bytes] = (b'', b''),
                on_drop: Callable[[], object] | None = None) -> None:
        """
        Have a message converted, after all before it; of a stream the newest that wait are kept.

        :param depth: how many.
        :param then: is given the result, or why there is none; not called if a newer one came.
        :param around: see :class:`~ws_bridge.offload.wire.Write`.
        :param on_drop: called instead of ``then`` if a newer one came.
        """
        waiting = self._streams.setdefault(stream, deque())
        if len(waiting) < depth:        # else it has the place of the oldest
            self._line.append(stream)
        while len(waiting) >= depth:
            dropped = waiting.popleft()
            if dropped.on_drop is not None:
                dropped.on_drop()
        waiting.append(Conversion(wire.Write(
            codec.schema, encoding, self._store.wide_as_text, around), cdr, then, on_drop))
        if self._task is None:
            self._task = self._loop.create_task(self._work())

    def encode(self, codec: Codec, cdr: bytes, then: Callable[[bytes | WsBridgeError], object],
               *, encoding: Encoding = 'json', stream: Hashable = None, depth: int = 1,
               on_drop: Callable[[], object] | None = None) -> None:
        """
        Give a message as peers get it, or why there is none, to ``then``: a small one at once.

        :param stream: of which the newest ``depth`` that wait are kept; ``None`` = it is of none.
        """
        kind = ENCODINGS[encoding]
        if not kind.is_cdr and (
                len(cdr) > LARGE or (stream is not None and self.is_busy(stream))):
            self.convert(object() if stream is None else stream, codec, cdr, encoding,
                         lambda body: then(
                             body if isinstance(body, WsBridgeError) else bytes(body)),
                         depth=depth, on_drop=on_drop)
            return
        try:
            body = kind.encode(codec, cdr)
        except ConversionError as exc:
            then(exc)
        else:
            then(body)

    async def shutdown(self) -> None:
        """End the worker; what waits is not converted any more."""
        self._streams.clear()
        self._line.clear()
        self._workshop.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._workshop.closed()

    async def _work(self) -> None:
        """Convert what waits, until nothing does."""
        try:
            while self._line:
                stream = self._line.popleft()
                waiting = self._streams.get(stream)
                if not waiting:
                    continue            # fewer of it were wanted by the time
                job = waiting.popleft()
                outcome = await self._convert(job)
                if self._streams.get(stream) is not waiting:
                    continue            # shut down
                if not waiting:
                    del self._streams[stream]
                self._hand_over(job, outcome)
        finally:
            self._task = None

    async def _convert(self, job: Conversion) -> memoryview | WsBridgeError:
        try:
            async with self._workshop.turn():
                _, body = await self._workshop.ask(job.request, [job.cdr])
        except WsBridgeError as exc:
            return exc
        return body

    def _hand_over(self, job: Conversion, outcome: memoryview | WsBridgeError) -> None:
        try:
            job.then(outcome)
        except Exception as exc:
            logger.error('a fault with a large message', exc_info=exc)
