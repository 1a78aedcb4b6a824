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
The packaged web page as a table of answers: what is not in it does not exist.

Read once, at the start. No request ever touches the file system, so no path can lead out of it.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import hashlib
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING

from ws_bridge.transport.options import HttpReply

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # Python 3.11 moved it here

MIME_TYPES = {
    'css': 'text/css; charset=utf-8', 'html': 'text/html; charset=utf-8',
    'js': 'text/javascript; charset=utf-8', 'json': 'application/json',
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


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, with what HTTP says about it."""

    body: bytes
    headers: Mapping[str, str]

    def answer(self, asked: Mapping[str, str]) -> HttpReply:
        """
        Return the file, or 304 where the browser has it.

        :param asked: the request's headers, with lower-case names.
        """
        known = [tag.strip().removeprefix('W/')
                 for tag in asked.get('if-none-match', '').split(',')]
        if self.headers['ETag'] in known or known == ['*']:
            return HttpReply(HTTPStatus.NOT_MODIFIED, self.headers)
        return HttpReply(HTTPStatus.OK, self.headers, self.body)


def read_files() -> dict[str, StaticFile]:
    """Return every packaged file of a known kind by its path; ``/`` is the page."""
    table = dict(_walk(files('ws_bridge') / 'web', ''))
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
            yield here, StaticFile(body, {'Content-Type': mime_type, 'ETag': tag, **_HEADERS})
