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
MCAP files of what a page plots, which it sends as a table, in parts that the loop reads at once.

A process of its own makes the file (:mod:`ws_bridge.record.plotted`): that takes time, and a
library that the bridge does not load.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import sys
from typing import ClassVar

from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.errors import (
    BadField,
    ConfigError,
    LimitExceeded,
    TimedOut,
    TooLarge,
    Unavailable,
    WsBridgeError,
)
from ws_bridge.protocol.replies import Exported, Failed
from ws_bridge.session.effects import AddToExport

LARGEST = 4_000_000
"""Characters of one table."""
AT_ONCE = 2
"""Tables of all peers that are sent, or that files are made of, at the same time."""
PATIENCE = 10.0
"""So long a table whose next part does not come keeps others from their place, s."""
WITHIN = 10.0
"""So long a file may take, s."""

_COMMAND = sys.executable, '-m', 'ws_bridge.record.plotted'
_PACKAGE_ROOT = str(Path(__file__).parents[2])


@dataclass(slots=True, eq=False)
class Table:
    """
    What a peer has sent of a table.

    :ivar heard: when its newest part came, s.
    """

    parts: list[str] = field(default_factory=list)
    size: int = 0
    heard: float = 0.0


class Exports(Unit):
    """
    Takes tables, answers with files.

    :param clock: monotonic, s.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tables: dict[Peer, Table] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lack: str | None = None       # nobody has asked yet

    def __repr__(self) -> str:
        return f'Exports({len(self._tables)} tables, {len(self._tasks)} files)'

    async def shutdown(self) -> None:
        """Make no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _add(self, peer: Peer, effect: AddToExport) -> None:
        """Take a part; the file is made when it is the last one."""
        op = effect.op
        if op.part == 0:
            self._begin(peer)
        table = self._tables.get(peer)
        if table is None or op.part != len(table.parts):
            raise BadField('must count the parts of one table from 0', field='data.part')
        table.parts.append(op.csv)
        table.size += len(op.csv)
        table.heard = self._clock()
        if op.is_last or table.size > LARGEST:
            del self._tables[peer]
        if table.size > LARGEST:
            raise TooLarge(f'a table of more than {LARGEST} characters', field='csv')
        if not op.is_last:
            peer.send(Exported(op.op_id))
            return
        task = asyncio.get_running_loop().create_task(
            self._make(peer, op.op_id, ''.join(table.parts)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, peer: Peer) -> None:
        """
        Make room for a table; one that its peer has given up gives way.

        :raises Unavailable: a library is missing; says how to get it.
        :raises LimitExceeded: others are at it.
        """
        if self._lack is None:
            self._lack = _lack()
        if self._lack:
            raise Unavailable(self._lack)
        now = self._clock()
        for each, table in list(self._tables.items()):
            if each is peer or not each.link.is_open or now - table.heard > PATIENCE:
                del self._tables[each]
        if len(self._tables) + len(self._tasks) >= AT_ONCE:
            raise LimitExceeded(f'{AT_ONCE} MCAP files are being made, no more may at once')
        self._tables[peer] = Table(heard=now)

    async def _make(self, peer: Peer, op_id: str | None, table: str) -> None:
        try:
            made = await asyncio.wait_for(_converted(table.encode()), WITHIN)
        except asyncio.TimeoutError:
            peer.send(Failed(op_id, TimedOut(f'the file was not made within {WITHIN:g} s')))
        except WsBridgeError as exc:
            peer.send(Failed(op_id, exc))
        else:
            peer.send(Exported(op_id, made))

    EFFECTS: ClassVar[Effects] = {AddToExport: _add}


def _lack() -> str:
    """Return what is missing, and how to get it; empty = nothing. It reads the disk."""
    from ws_bridge.record.requirements import require_libraries
    try:
        require_libraries()
    except ConfigError as exc:
        return f'MCAP {exc.message}'
    return ''


async def _converted(table: bytes) -> bytes:
    """
    Return the file that a process makes of a table.

    :raises WsBridgeError: it cannot.
    """
    path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get('PYTHONPATH'))))
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, env={**os.environ, 'PYTHONPATH': path}, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True)
    except OSError as exc:
        raise Unavailable(f'what makes MCAP cannot be started: {exc}') from exc
    try:
        made, failed = await process.communicate(table)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _fault(failed)
    return made


def _fault(said: bytes) -> WsBridgeError:
    """Return the error that a process ended with."""
    try:
        return BadField(json.loads(said.splitlines()[-1])['message'], field='data.csv')
    except (ValueError, KeyError, IndexError, TypeError):
        return Unavailable('what makes MCAP has failed')
