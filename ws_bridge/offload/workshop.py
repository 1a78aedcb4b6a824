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
The bridge's end of a worker process: one message at a time, in the order in which it was asked.

The process starts with the first message and ends after a rest, so that what it took is given
back. One that takes too long, or dies, is replaced; who asked gets an error with a code.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
import logging
import mmap
import os
import pickle
import socket
import sys
from typing import Any

import orjson

from ws_bridge.errors import LimitExceeded, Unavailable
from ws_bridge.offload import wire

START_TIMEOUT = 30.0
"""Time for the process to start, on the busiest machine, s."""
REST = 10.0
"""For how long a worker that has nothing to do is kept, s."""
PIECE = 524_288
"""After so many bytes others get their turn."""
Buffer = bytes | bytearray | memoryview

logger = logging.getLogger(__name__)


class Workshop:
    """
    One worker, made when it is needed (loop thread).

    :param what: what it is for, for the log.
    :param timeout: most time for one request, s.
    :param memory: most bytes that it may take for a message; 0 = any.
    :param module: what runs in the process.
    :param files: what else it inherits; their numbers are its last arguments.
    :ivar restarts: how often a worker was killed or died.
    """

    def __init__(self, what: str, *, timeout: float, memory: int = 0, rest: float = REST,
                 module: str = 'ws_bridge.offload.worker', files: Sequence[int] = ()) -> None:
        self.restarts = 0
        self._module = module
        self._files = tuple(files)
        self._what = what
        self._timeout = timeout
        self._memory = memory
        self._rest = rest
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._reaping: set[asyncio.Task[Any]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f'Workshop({self._what}, pid={self.pid}, restarts={self.restarts})'

    @property
    def pid(self) -> int | None:
        """The number of the process, ``None`` while there is none."""
        return None if self._process is None else self._process.pid

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Workshop]:
        """Have the worker alone: what one request leaves in it is there for the next one."""
        async with self._lock:
            if self._resting is not None:
                self._resting.cancel()
                self._resting = None
            try:
                yield self
            finally:
                if self._process is not None and not self._closed:
                    self._resting = asyncio.get_running_loop().call_later(self._rest, self._end)

    async def ask(self, request: object,
                  cargo: list[Buffer] | None = None) -> tuple[dict[str, Any], memoryview]:
        """
        Return the answer of the worker: its head and its body. Only inside of :meth:`turn`.

        :param cargo: the body of the request, in pieces; each is taken out when it has left, to be
            given back.
        :raises WsBridgeError: what the worker found wrong.
        :raises LimitExceeded: it took too long, or died of it.
        :raises Unavailable: there is no worker.
        """
        limit = START_TIMEOUT
        try:
            channel = self._channel
            if channel is None:
                channel = await asyncio.wait_for(self._start(), limit)
            limit = self._timeout
            head, answer = await asyncio.wait_for(
                _ask(channel, request, cargo or []), limit)
        except asyncio.TimeoutError as exc:
            self._give_up(f'took longer than {limit:g} s')
            raise LimitExceeded(f'the message took longer than {limit:g} s') from exc
        except (EOFError, OSError) as exc:
            self._give_up('died')
            raise LimitExceeded('the message took more than its worker has') from exc
        except asyncio.CancelledError:
            self._end()         # what it answers next would answer this
            raise
        if 'error' in head:
            raise wire.error_from(head)
        return head, answer

    def close(self) -> None:
        """End the worker; who waits for it is told."""
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        self._end()

    async def _start(self) -> socket.socket:
        if self._closed:
            raise Unavailable('the bridge shuts down')
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, '-m', self._module, str(theirs.fileno()), str(self._memory),
                *map(str, self._files), stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *self._files),
                start_new_session=True, env={**os.environ, 'OPENBLAS_NUM_THREADS': '1'})
        except OSError as exc:
            ours.close()
            raise Unavailable(f'cannot start the worker for {self._what}: {exc}') from exc
        finally:
            theirs.close()
        self._channel = ours
        await _receive(ours, len(wire.READY))
        return ours

    def _give_up(self, why: str) -> None:
        if not self._closed:
            self.restarts += 1
            logger.warning('the worker for %s %s: it is started again', self._what, why)
        self._end()

    def _end(self) -> None:
        """Kill the process, and have it reaped."""
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            task = asyncio.get_running_loop().create_task(process.wait())
            self._reaping.add(task)
            task.add_done_callback(self._reaping.discard)

    async def closed(self) -> None:
        """Wait until no process is left."""
        while self._reaping:
            await asyncio.wait(tuple(self._reaping))


async def _ask(channel: socket.socket, request: object,
               cargo: list[Buffer]) -> tuple[dict[str, Any], memoryview]:
    loop = asyncio.get_running_loop()
    head = pickle.dumps(request)
    await loop.sock_sendall(channel, wire.SIZES.pack(len(head), sum(map(len, cargo))) + head)
    cargo.reverse()
    while cargo:
        view = memoryview(cargo.pop())
        for start in range(0, len(view), PIECE):
            await loop.sock_sendall(channel, view[start:start + PIECE])
            await asyncio.sleep(0)      # it waits by itself only where there is no room
        del view
    head_size, size = wire.SIZES.unpack(await _receive(channel, wire.SIZES.size))
    if head_size > wire.MAX_HEAD:
        raise EOFError
    answered: dict[str, Any] = orjson.loads(await _receive(channel, head_size))
    return answered, await _receive(channel, size)


async def _receive(channel: socket.socket, size: int) -> memoryview:
    """
    Return so many bytes.

    :raises EOFError: the worker has ended.
    """
    loop = asyncio.get_running_loop()
    view = memoryview(bytearray(size) if size < PIECE else pages(size))
    got = rested = 0
    while got < size:
        count = await loop.sock_recv_into(channel, view[got:])
        if not count:
            raise EOFError
        got += count
        if got - rested > PIECE:
            rested = got
            await asyncio.sleep(0)      # it waits by itself only where nothing is there yet
    return view


def pages(size: int) -> mmap.mmap:
    """
    Return memory whose pages come as they are filled, and which is quickly given back.

    A bytearray of 46 MB is filled with zeros in 24 ms. To give back as much takes 11 ms where it
    is shared, as ``mmap`` has it by itself, 4 ms where not, and 0.2 ms in large pages: the
    interpreter is held all the time.
    """
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, 'MADV_HUGEPAGE'):      # Linux; where they are turned off it does nothing
        with suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages
