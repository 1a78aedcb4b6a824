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
The packaged web page as a table of answers, and a folder of one's own pages.

The table is read once, at the start: what is not in it does not exist, and no path can lead out of
it. A :class:`Folder` is read when it is asked.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import gzip
import hashlib
from http import HTTPStatus
from importlib.resources import files
import mimetypes
import os
import stat
import sys
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ws_bridge.errors import ConfigError
from ws_bridge.transport.options import HttpReply

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

MIME_TYPES = {
    'css': 'text/css; charset=utf-8', 'html': 'text/html; charset=utf-8',
    'js': 'text/javascript; charset=utf-8', 'json': 'application/json',
    'mjs': 'text/javascript; charset=utf-8',
    'LICENSE': 'text/plain; charset=utf-8',
    'md': 'text/plain; charset=utf-8', 'png': 'image/png', 'svg': 'image/svg+xml',
    'ts': 'text/plain; charset=utf-8',
    'webmanifest': 'application/manifest+json'}
# Nothing from elsewhere, nothing inline; 'self' of connect-src is the bridge's own WebSocket.
POLICY = '; '.join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:",
    "connect-src 'self'", "worker-src 'self'", "manifest-src 'self'", "base-uri 'none'",
    "form-action 'none'", "frame-ancestors 'none'"))
_HEADERS = {
    'Cache-Control': 'no-cache',    # kept, but asked for each time: a new version shows at once
    'Content-Security-Policy': POLICY, 'Cross-Origin-Opener-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer', 'X-Content-Type-Options': 'nosniff'}
PAGES = '/pages/'
"""Where one's own pages are."""
MAX_PAGE_SIZE = 16 << 20
"""Of one file of one's own, bytes."""
_OWN_HEADERS = {
    # What they load is their own affair. Inside a page of somebody else, hidden, they are not.
    'Cache-Control': 'no-cache', 'Content-Security-Policy': "frame-ancestors 'self'",
    'Referrer-Policy': 'no-referrer', 'X-Content-Type-Options': 'nosniff'}
#: Without the files of this system, which would make a difference between machines.
_GUESS = mimetypes.MimeTypes(())


@dataclass(frozen=True, slots=True)
class StaticFile:
    """
    One file, with what HTTP says about it.

    :ivar packed: the same as gzip; empty = there is none.
    """

    body: bytes
    headers: Mapping[str, str]
    packed: bytes = b''

    def answer(self, asked: Mapping[str, str]) -> HttpReply:
        """
        Return the file, or 304 where the browser has it.

        :param asked: the request's headers, with lower-case names.
        """
        known = [tag.strip().removeprefix('W/')
                 for tag in asked.get('if-none-match', '').split(',')]
        if self.headers['ETag'] in known or known == ['*']:
            return HttpReply(HTTPStatus.NOT_MODIFIED, self.headers)
        if self.packed and _takes_gzip(asked.get('accept-encoding', '')):
            return HttpReply(HTTPStatus.OK, {
                **self.headers, 'Content-Encoding': 'gzip', 'ETag': f'W/{self.headers["ETag"]}'},
                self.packed)
        return HttpReply(HTTPStatus.OK, self.headers, self.body)


def _takes_gzip(accepted: str) -> bool:
    """Whether an ``Accept-Encoding`` names gzip, and does not refuse it."""
    for each in accepted.lower().split(','):
        name, _, weight = each.partition(';')
        if name.strip() == 'gzip':
            return weight.replace(' ', '').removeprefix('q=').strip('0.') != '' or not weight
    return False


def read_files(folder: str = 'web') -> dict[str, StaticFile]:
    """Return every packaged file of a known kind by its path; ``/`` is the page."""
    table = dict(_walk(files('ws_bridge').joinpath(folder), ''))
    if '/index.html' in table:
        table['/'] = table['/index.html']
    return table


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, StaticFile]]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        here = f'{path}/{entry.name}'
        mime_type = MIME_TYPES.get(entry.name.rpartition('.')[2])
        if entry.is_dir():
            yield from _walk(entry, here)
        elif mime_type is not None:
            body = entry.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            packed = gzip.compress(body, mtime=0)
            yield here, StaticFile(
                body, {'Content-Type': mime_type, 'ETag': tag, 'Vary': 'Accept-Encoding',
                       **_HEADERS}, packed if len(packed) < len(body) else b'')


class Folder:
    """
    The files of one's own pages, below :data:`PAGES`; read when they are asked for.

    What is hidden (its name begins with a dot), no regular file, or outside of the folder, also by
    a symbolic link, does not exist. Whoever reaches the port can read the rest, without a login.

    :param path: of the folder.
    :raises ConfigError: it is none, or cannot be read.
    """

    def __init__(self, path: str) -> None:
        try:
            self._root = os.path.realpath(path, strict=True)
            os.listdir(self._root)
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise ConfigError(f'{path} cannot be served: {reason}', field='pages') from exc

    def __repr__(self) -> str:
        return f'Folder({self._root!r})'

    def find(self, path: str, asked: Mapping[str, str]) -> HttpReply | None:
        """
        Return the answer to a request, ``None`` where there is nothing; reads the disk.

        :param path: what follows :data:`PAGES`, as it stands in the request; empty or ending with
            ``/`` = ``index.html`` of that folder.
        :param asked: the request's headers, with lower-case names.
        """
        try:
            parts = unquote(path, errors='strict').split('/')
            if not parts[-1]:
                parts[-1] = 'index.html'
            if not all(part and not part.startswith('.') for part in parts):
                return None
            found = os.path.realpath(os.path.join(self._root, *parts), strict=True)
            if os.path.commonpath((self._root, found)) != self._root:
                return None
            body = read_regular(found, MAX_PAGE_SIZE)
        except (OSError, ValueError):       # a NUL, a byte that is no UTF-8, no such file
            return None
        if body is None:
            return HttpReply(HTTPStatus.NOT_FOUND, {'Content-Type': MIME_TYPES['md']},
                             f'larger than {MAX_PAGE_SIZE} bytes: not served\n'.encode())
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return StaticFile(body, {'Content-Type': _mime_type(found), 'ETag': tag,
                                 **_OWN_HEADERS}).answer(asked)


def read_regular(path: str, most: int) -> bytes | None:
    """
    Return what a file holds; ``None``: more than so many bytes.

    :raises OSError: it cannot be read, or is no regular file.
    """
    # The path was resolved: a link there now was made since. A pipe would keep the reader waiting.
    with open(path, 'rb', opener=lambda name, flags: os.open(
            name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError('not a regular file')
        body = file.read(most + 1)
    return body if len(body) <= most else None


def _mime_type(path: str) -> str:
    known = MIME_TYPES.get(path.rpartition('.')[2].lower())
    guessed = known or _GUESS.guess_type(path)[0] or 'application/octet-stream'
    return guessed if known or not guessed.startswith('text/') else f'{guessed}; charset=utf-8'
