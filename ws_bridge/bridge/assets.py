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
Files of packages, such as the meshes of a robot, for peers that show it: ``package://name/path``.

Only what a pattern of ``asset_uri_allowlist`` matches exists, and only inside of the package.
"""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
import os
import re
from typing import ClassVar
from urllib.parse import unquote

from ws_bridge.bridge.files import read_regular
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.errors import (
    Forbidden,
    LimitExceeded,
    TooLarge,
    Unavailable,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.protocol.replies import AssetFetched, Failed
from ws_bridge.session.effects import ReadAsset

SCHEME = 'package://'
OWN_PACKAGE = 'ws_bridge'
OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MARKERS = os.path.join('share', 'ament_index', 'resource_index', 'packages')
"""Where an installation names its packages, below its prefix."""
MOST_WAITING = 1000
"""Files that one peer may have asked for and not got yet."""
PAUSE = 0.02
"""Time between looks whether a slow peer has taken a file, s."""

_PACKAGE = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')


class Library:
    """
    The files that there are.

    :param patterns: regular expressions; a URI is served that one of them matches as a whole.
    :param largest: bytes of one file.
    :param environment: names the installations of ROS (``AMENT_PREFIX_PATH``).
    """

    def __init__(self, patterns: Sequence[str], largest: int,
                 environment: Mapping[str, str] = os.environ) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._largest = largest
        self._environment = environment

    def __repr__(self) -> str:
        return f'Library({len(self._patterns)} patterns)'

    def read(self, uri: str) -> bytes:
        """
        Return what a file holds; reads the disk.

        :raises WsBridgeError: ``Forbidden``, ``UnknownName``, ``TooLarge``, ``Unavailable``.
        """
        if not any(pattern.fullmatch(uri) for pattern in self._patterns):
            raise Forbidden(f'{uri} is not in asset_uri_allowlist', field='uri')
        if not uri.startswith(SCHEME):
            raise Forbidden(f'{uri} is no {SCHEME}', field='uri')
        package, *parts = uri.removeprefix(SCHEME).split('/')
        parts = [unquote(part) for part in parts]
        if not _PACKAGE.fullmatch(package) or not parts or not all(map(_is_name, parts)):
            raise Forbidden(f'{uri} is no name of a file of a package', field='uri')
        for folder in self._folders(package):
            found = _find(folder, parts, uri)
            if found is not None:
                return self._read(found, uri)
        raise UnknownName(f'there is no {uri}', field='uri')

    def _folders(self, package: str) -> Iterator[str]:
        """Give where the files of a package are: as installed, and of this one without that."""
        for prefix in self._environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
            if prefix and os.path.isfile(os.path.join(prefix, MARKERS, package)):
                yield os.path.join(prefix, 'share', package)
        if package == OWN_PACKAGE:
            yield OWN_FOLDER

    def _read(self, path: str, uri: str) -> bytes:
        try:
            body = read_regular(path, self._largest)
        except OSError as exc:
            raise Unavailable(f'{uri} cannot be read: {exc.strerror or exc}') from exc
        if body is None:
            raise TooLarge(f'{uri} has more than {self._largest} bytes', field='uri')
        return body


def _is_name(part: str) -> bool:
    """Whether a part of a path leads no way but down, to what is not hidden."""
    return part != '' and not part.startswith('.') and not {'/', '\\', '\0'} & set(part)


def _find(folder: str, parts: Sequence[str], uri: str) -> str | None:
    """
    Return the file itself, ``None`` where there is none.

    :raises Forbidden: a symbolic link leads out of the folder.
    """
    try:
        root = os.path.realpath(folder, strict=True)
        found = os.path.realpath(os.path.join(root, *parts), strict=True)
    except (OSError, ValueError):
        return None
    if os.path.commonpath((root, found)) != root:
        raise Forbidden(f'{uri} is a symbolic link out of its package', field='uri')
    return found


class Assets(Unit):
    """
    Reads files for peers, one after the other for each: the next when the last one has left.

    A panel asks for every mesh of a robot at once; all together may be more than may wait for it.

    :param library: reads them, in a thread of its own.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._waiting: dict[Peer, deque[ReadAsset]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f'Assets({len(self._waiting)} peers)'

    async def shutdown(self) -> None:
        """Read no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _fetch(self, peer: Peer, effect: ReadAsset) -> None:
        waiting = self._waiting.get(peer)
        if waiting is not None:
            if len(waiting) >= MOST_WAITING:
                raise LimitExceeded(f'{MOST_WAITING} files are waited for', field='uri')
            waiting.append(effect)
            return
        self._waiting[peer] = deque((effect,))
        task = asyncio.get_running_loop().create_task(self._serve(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: Peer) -> None:
        waiting, link = self._waiting[peer], peer.link
        try:
            while waiting and link.is_open:
                wanted = waiting.popleft()
                try:
                    body = await asyncio.to_thread(self._library.read, wanted.uri)
                except WsBridgeError as exc:
                    peer.send(Failed(wanted.op_id, exc))
                    continue
                peer.send(AssetFetched(wanted.op_id, body))
                del body        # it may be large, and the peer slow
                while link.owed_bytes and link.is_open:     # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(PAUSE)
        finally:
            del self._waiting[peer]

    EFFECTS: ClassVar[Effects] = {ReadAsset: _fetch}
