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
``/recordings/``: a list of what was recorded, and each recording, for those who may read them.

What stands in a recording was on topics: who may not subscribe to one does not get it. The reading
itself is done by a process of its own (:mod:`ws_bridge.record.library`), one for each request.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
import json
import logging
import os
from pathlib import Path
import sys
from typing import Any

from ws_bridge.bridge.door import Admission, Door
from ws_bridge.bridge.leases import is_on_this_machine
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.config import Settings
from ws_bridge.config.roles import EVERYTHING
from ws_bridge.errors import (
    BadRecording,
    Forbidden,
    LimitExceeded,
    TimedOut,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.identity.tickets import FOLDER
from ws_bridge.session.rights import Rights
from ws_bridge.transport.options import HttpReply, HttpStreaming, PartSender, Visitor
from ws_bridge.transport.streaming import HttpStream

RECORDINGS = '/recordings'
ARCHIVE = '.tar'
AT_ONCE = 2
"""Requests that are worked on at the same time: each is a process."""
WITHIN = 0.8
"""Of the time of a handshake: so long the list of recordings, or of topics, may take."""
PIECE = 262_144

_STATUS: Mapping[str, HTTPStatus] = {
    Forbidden.code: HTTPStatus.FORBIDDEN, UnknownName.code: HTTPStatus.NOT_FOUND,
    BadRecording.code: HTTPStatus.CONFLICT, TimedOut.code: HTTPStatus.GATEWAY_TIMEOUT,
    LimitExceeded.code: HTTPStatus.SERVICE_UNAVAILABLE}
_KINDS: Mapping[str, type[WsBridgeError]] = {
    each.code: each for each in (BadRecording, LimitExceeded, UnknownName)}
_COMMAND = sys.executable, '-m', 'ws_bridge.record.library'
_PACKAGE_ROOT = str(Path(__file__).parents[2])

logger = logging.getLogger(__name__)


class Recordings:
    """
    Answers the requests for recordings.

    :param folder: of all recordings; ``key``: file of the key that parts are signed with.
    :param door: knows who asks; ``ledger`` takes down who was sent what.
    :param gated: returns the topics that have a gate: what was refused is in no sample.
    :param epoch: Unix time at the loop's time 0, s.
    """

    def __init__(self, settings: Settings, folder: str, key: str, door: Door, ledger: Ledger,
                 loop: asyncio.AbstractEventLoop, *, gated: Callable[[], Iterable[str]],
                 epoch: float) -> None:
        self._folder = folder
        self._key = key
        self._door = door
        self._ledger = ledger
        self._loop = loop
        self._gated = gated
        self._epoch = epoch
        self._within = WITHIN * settings.handshake_timeout
        self._patience = settings.ping_timeout
        self._working = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f'Recordings({self._working} requests)'

    async def answer(self, visitor: Visitor) -> HttpReply | HttpStreaming | None:
        """Answer a request; ``None`` = it is not for a recording."""
        path = visitor.path.partition('?')[0]
        page = path.rpartition(FOLDER)[0] if FOLDER in path else path
        if page != RECORDINGS and not page.startswith(f'{RECORDINGS}/'):
            return None
        admission = await self._door.admit_to_look(visitor)
        if isinstance(admission, HttpReply):
            return admission
        name = page[len(RECORDINGS) + 1:]
        try:
            _require(admission, visitor)
            if not name:
                found = await self._ask({})
                return HttpReply(HTTPStatus.OK, {
                    **_headers(visitor), 'Content-Type': 'application/json'},
                    json.dumps(found['recordings']).encode())
            if not name.endswith(ARCHIVE):
                raise UnknownName('there is no such file; a recording is NAME.tar')
            name = name.removesuffix(ARCHIVE)
            topics = (await self._ask({'name': name}))['topics']
            return HttpStreaming({
                **_headers(visitor), 'Content-Type': 'application/x-tar',
                'Content-Disposition': f'attachment; filename="{name}{ARCHIVE}"',
                'Transfer-Encoding': 'chunked'},
                lambda stream: self._begin(visitor, admission, name, topics, stream))
        except WsBridgeError as exc:
            return self._door.refusal(
                _STATUS[exc.code], exc, visitor, admission, 'recordings')

    async def shutdown(self) -> None:
        """Send no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- the process

    async def _ask(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return what the process answers.

        :raises WsBridgeError: it cannot, or not within the time.
        """
        process = await self._start()
        try:
            told, failed = await asyncio.wait_for(
                process.communicate(self._request(options)), self._within)
        except asyncio.TimeoutError:
            raise TimedOut(f'the recordings were not read within {self._within:g} s') from None
        finally:
            await self._end(process)
        if process.returncode:
            raise _fault(failed)
        said: dict[str, Any] = json.loads(told)
        return said

    def _request(self, options: Mapping[str, Any]) -> bytes:
        return json.dumps({'folder': self._folder, 'key': self._key, **options}).encode()

    async def _start(self) -> asyncio.subprocess.Process:
        if self._working >= AT_ONCE:
            raise LimitExceeded(f'{AT_ONCE} requests for recordings are worked on, no more may')
        self._working += 1
        path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get('PYTHONPATH'))))
        try:
            return await asyncio.create_subprocess_exec(
                *_COMMAND, env={**os.environ, 'PYTHONPATH': path}, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                start_new_session=True, limit=PIECE)
        except OSError as exc:
            self._working -= 1
            raise BadRecording(f'what reads the recordings cannot be started: {exc}') from exc

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """End a process, if it has not; it takes away what it made."""
        self._working -= 1
        if process.returncode is None:
            process.terminate()
            await process.communicate()     # what it has written has to be taken, or it stays

    # ---- sending

    def _begin(self, visitor: Visitor, admission: Admission, name: str,
               topics: list[list[str]], stream: PartSender) -> None:
        assert isinstance(stream, HttpStream)
        rights, identity = admission.rights, admission.identity
        self._ledger.note('recording_sent', address=visitor.address, message=name,
                          name=None if identity is None else identity.name)
        task = self._loop.create_task(self._send(stream, {
            'name': name, 'hears_all': rights.hears_all,
            'topics': [each for each in topics if rights.may_hear(*each)],
            'more': _heard(rights, self._gated())}))
        self._tasks.add(task)
        expires = None if identity is None else identity.expires
        timer = None if expires is None else self._loop.call_later(
            max(expires - self._epoch - self._loop.time(), 0.0), stream.close)

        def end(_: object) -> None:
            self._tasks.discard(task)
            if timer is not None:
                timer.cancel()
        task.add_done_callback(end)

    async def _send(self, stream: HttpStream, options: Mapping[str, Any]) -> None:
        """Send what the process writes; an answer that is not whole has no end."""
        has_ended = asyncio.Event()
        try:
            process = await self._start()
        except WsBridgeError as exc:
            logger.warning('%s is not sent: %s', options['name'], exc)
            stream.close()
            return
        assert process.stdin is not None and process.stdout is not None
        assert process.stderr is not None

        def end() -> None:
            has_ended.set()
            if process.returncode is None:
                process.terminate()

        stream.on_end = end
        try:
            process.stdin.write(self._request(options))
            process.stdin.close()
            while stream.is_open:
                piece = await _read(process.stdout)
                if not piece:
                    break
                stream.put(b'%x\r\n%b\r\n' % (len(piece), piece))
                await stream.drained()
            if stream.is_open and await process.wait() == 0:
                stream.put(b'0\r\n\r\n')
                await asyncio.wait_for(has_ended.wait(), self._patience)
            elif stream.is_open:
                logger.warning('%s was not sent: %s', options['name'],
                               _fault(await process.stderr.read(PIECE)))
        except asyncio.TimeoutError:        # who got all of it did not close the connection
            pass
        finally:
            await self._end(process)
            stream.close()


def _require(admission: Admission, visitor: Visitor) -> None:
    """
    Refuse who may not read recordings; who has not logged in has to be near.

    :raises Forbidden: the role or the place does not allow it.
    """
    if admission.rights.find('recordings', EVERYTHING) is None:
        raise Forbidden('needs the right recordings')
    if admission.identity is None and not is_on_this_machine(visitor.address):
        raise Forbidden('needs a login, or a client on the same machine')


def _heard(rights: Rights, topics: Iterable[str]) -> list[str]:
    return [topic for topic in topics if rights.may_hear(topic, '')]


def _fault(said: bytes) -> WsBridgeError:
    """Return the error that a process ended with."""
    try:
        told = json.loads(said.splitlines()[-1])
        return _KINDS.get(told['code'], BadRecording)(told['message'])
    except (ValueError, KeyError, IndexError, TypeError):
        return BadRecording('what reads the recordings has failed')


async def _read(stream: asyncio.StreamReader) -> bytes:
    """Return the next piece, a full one but at the end."""
    try:
        return await stream.readexactly(PIECE)
    except asyncio.IncompleteReadError as exc:
        return exc.partial


def _headers(visitor: Visitor) -> dict[str, str]:
    """Return what pages need to be told; one that was let in may read the answer."""
    headers = {'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff',
               'Referrer-Policy': 'no-referrer', 'Vary': 'Origin'}
    if 'origin' in visitor.headers:
        headers['Access-Control-Allow-Origin'] = visitor.headers['origin']
    return headers
