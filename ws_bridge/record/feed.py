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
From the loop to the process that writes: a deque, a thread, a pipe.

The loop appends references of what it holds anyway, and counts their bytes. The thread sends them
in batches; it holds the interpreter only to pack the heads. Nothing here waits on the loop, and
what the process is too slow for is dropped and counted.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
import json
import os
from pathlib import Path
import select
import subprocess
import sys
import threading
import time
from typing import Any, IO

from ws_bridge.record import wire
from ws_bridge.record.channels import RECORDER

INTERVAL = 0.1
"""How long items are gathered before they are sent, s."""
MOST_BYTES = 67_108_864
"""What may wait for the process."""
SPARE = 1_048_576
"""What may wait beyond that of what asks for a recording, bytes."""
RESTART = 5.0
"""A process that died is started again after so long, s."""
END_WITHIN = 1.0
"""How long the bridge waits at its end for the process to end its files, s."""
LEFT_ALONE = 60.0
"""How long the process may take for it, s: it goes on when the bridge has ended."""
SMALL = 16_384
"""Samples of less bytes are put together before they are written."""
_PACKAGE_ROOT = str(Path(__file__).parents[2])


class Feed:
    """
    The process that records, and the way to it.

    :param options: of :func:`ws_bridge.record.process.run`.
    :param on_said: gets what the process says, and that it died; called on the thread.
    :param unix: Unix time, ns; any thread.
    :ivar lost: items that were dropped.
    """

    def __init__(self, options: Mapping[str, Any], on_said: Callable[[dict[str, Any]], None],
                 unix: Callable[[], int]) -> None:
        self.lost = 0
        self._options = json.dumps(options)
        self._on_said = on_said
        self._unix = unix
        self._items: deque[tuple[wire.Item | wire.Run, int]] = deque()
        self._put = self._taken = 0     # bytes; with one writer each
        self._channels: dict[int, wire.NewChannel] = {}
        self._told_lost = 0
        self._is_closing = threading.Event()
        self._is_sent = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name='ws_bridge record', daemon=True)

    def __repr__(self) -> str:
        return f'Feed({len(self._items)} items wait, {self.lost} lost)'

    @property
    def pid(self) -> int | None:
        """The number of the process, ``None`` while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def waiting(self) -> int:
        """Bytes that wait for the process."""
        return self._put - self._taken

    def start(self) -> None:
        """Start the thread, which starts the process."""
        self._thread.start()

    def put(self, item: wire.Item, size: int = 500) -> None:
        """
        Hand an item over; never waits (loop thread).

        What asks for a recording is not dropped: then only what it is about would be there.

        :param size: its bytes, by and large.
        """
        most = MOST_BYTES if item.__class__ is not wire.Trigger else MOST_BYTES + SPARE
        if self._put - self._taken > most:
            self.lost += 1
            return
        self._put += size
        self._items.append((item, size))

    def put_samples(self, run: wire.Run, size: int) -> None:
        """Hot path: do as :meth:`put`, with samples."""
        if self._put - self._taken > MOST_BYTES:
            self.lost += 1
            return
        self._put += size
        self._items.append((run, size))

    def close(self) -> None:
        """
        Have everything written, and the process end; waits for END_WITHIN at most.

        A process that takes nothing is killed: what it has written can be repaired. One that has
        taken everything ends its files by itself.
        """
        self._is_closing.set()
        if self._thread.ident is None:
            return
        self._thread.join(END_WITHIN)
        process = self._process
        if self._thread.is_alive() and process is not None and not self._is_sent:
            process.kill()
            self._thread.join(END_WITHIN)

    # ---- the thread

    def _run(self) -> None:
        while self._live():
            if self._is_closing.wait(RESTART):
                return

    def _live(self) -> bool:
        """Run a process to its end; return whether another one is to follow."""
        path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get('PYTHONPATH'))))
        try:
            process = self._process = subprocess.Popen(
                [sys.executable, '-m', 'ws_bridge.record.process', self._options],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
                bufsize=0, env={**os.environ, 'PYTHONPATH': path})
        except OSError as exc:
            self._on_said({'state': 'failed', 'folder': '', 'why': f'{exc}'})
            return True
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as pipe, process.stdout as said:
            try:
                self._send(pipe, list(self._channels.values()))
                self._serve(pipe, said)
            except OSError:
                pass        # it has ended
            is_over = self._is_sent
            pipe.close()
            if is_over:
                self._hear(said, time.monotonic() + LEFT_ALONE)
        if not is_over:
            process.kill()
        code = process.wait()
        self._process = None
        if not is_over:
            self._on_said({'state': 'failed', 'folder': '', 'why':
                           f'the process that records ended ({code})'})
        return not is_over

    def _serve(self, pipe: IO[bytes], said: IO[bytes]) -> None:
        """
        Send what comes, and hear what the process says, until it is to end.

        :raises OSError: it has ended by itself.
        """
        while True:
            is_closing = self._is_closing.is_set()
            if not is_closing and not self._hear(said, time.monotonic() + INTERVAL):
                raise BrokenPipeError
            items, size = self._take()
            # What was learned of channels goes first: they are written as they are known then.
            channels = [item for item in items if isinstance(item, wire.NewChannel)]
            self._channels.update((each.number, each) for each in channels)
            self._send(pipe, [*channels, *(item for item in items if item.__class__
                                           is not wire.NewChannel)] if channels else items)
            self._taken += size
            if is_closing and not self._items:
                self._is_sent = True
                return

    def _take(self) -> tuple[list[wire.Item | wire.Run], int]:
        """Return what waits, with its bytes, and that something was lost."""
        taken = [self._items.popleft() for _ in range(len(self._items))]
        items = [item for item, _ in taken]
        lost = self.lost
        if lost != self._told_lost:
            items.append(wire.Happened(RECORDER, self._unix(), {
                'event': 'not_recorded', 'count': lost - self._told_lost,
                'message': 'the process that records was too slow'}))
            self._told_lost = lost
        return items, sum(size for _, size in taken)

    def _send(self, pipe: IO[bytes], items: Sequence[wire.Item | wire.Run]) -> None:
        buffers: list[wire.Buffer] = []
        runs: list[wire.Run] = []
        for item in items:
            if isinstance(item, tuple):
                runs.append(item)
                continue
            if runs:
                buffers += wire.pack_runs(runs)
                runs = []
            buffers += wire.pack(item)
        if runs:
            buffers += wire.pack_runs(runs)
        small: list[wire.Buffer] = []
        for buffer in buffers:
            if len(buffer) < SMALL:
                small.append(buffer)
                continue
            _write(pipe.fileno(), [b''.join(small), buffer])
            small = []
        if small:
            _write(pipe.fileno(), [b''.join(small)])

    def _hear(self, said: IO[bytes], until: float) -> bool:
        """Take what the process says until then; return whether it still may say something."""
        while True:
            ready, _, _ = select.select([said], [], [], max(until - time.monotonic(), 0.0))
            if not ready:
                return True
            line = said.readline()
            if not line:
                return False
            self._on_said(json.loads(line))


def _write(descriptor: int, buffers: list[wire.Buffer]) -> None:
    """Write all of some buffers, without putting them together."""
    left = [memoryview(each) for each in buffers if len(each)]
    first = 0
    while first < len(left):
        written = os.writev(descriptor, left[first:])
        while first < len(left) and written >= len(left[first]):
            written -= len(left[first])
            first += 1
        if written:
            left[first] = left[first][written:]
