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
What plain HTTP on a relay's port answers: the list of robots, the page of each, a login.

The page of a robot is this relay's own copy: it finds its WebSocket beside itself.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
import hashlib
from http import HTTPStatus

import orjson

from ws_bridge.bridge.door import Admission
from ws_bridge.bridge.files import read_files, StaticFile
from ws_bridge.config import VERSION
from ws_bridge.fleet.cookie import cookie_of
from ws_bridge.fleet.names import robot_asked_for, ROBOTS
from ws_bridge.fleet.relay import name_of, Relay
from ws_bridge.transport.options import HttpHook, HttpReply, Visitor

LIST = '/robots.json'
RELAYS = '/relays.json'
LOGIN, LOGOUT = '/login', '/logout'
HEALTH, METRICS = '/healthz', '/metrics'
OWN = 'fleet/web'
"""Where the page of the list is, below the package."""

_JSON = {'Content-Type': 'application/json', 'Cache-Control': 'no-store'}
_FOR_ALL = {**_JSON, 'Access-Control-Allow-Origin': '*'}
"""Of what pages of other relays may read: whether this one is there."""


def make_pages(relay: Relay,
               metrics: Callable[[Visitor], Awaitable[HttpReply]] | None = None,
               relays: Sequence[str] = ()) -> HttpHook:
    """
    Return what answers plain requests.

    :param metrics: answers ``/metrics``, also with a refusal; ``None`` = there is none.
    :param relays: where browsers find them all.
    """
    robot_page, own = read_files(), read_files(OWN)
    own['/relays.js'] = robot_page['/app/relays.js']
    if relays:
        for table in (robot_page, own):
            table['/'] = _with_relays(table['/'], relays)
    others = orjson.dumps(relays)
    version = orjson.dumps({'name': 'ws_bridge relay', 'version': VERSION})

    async def answer(visitor: Visitor) -> HttpReply | None:
        page = visitor.path.partition('?')[0]
        if page in ('/', f'{ROBOTS}/'):
            return _moved(ROBOTS)
        if page == '/version':
            return HttpReply(HTTPStatus.OK, _JSON, version)
        if page == HEALTH:
            return HttpReply(HTTPStatus.OK, _FOR_ALL, b'{"status":"ok"}')
        if page == RELAYS:
            return HttpReply(HTTPStatus.OK, _JSON, others)
        if page == METRICS and metrics is not None:
            return await metrics(visitor)
        if page == LIST:
            return await _list(relay, visitor)
        if page in (LOGIN, LOGOUT):
            return await _log(relay, visitor, is_in=page == LOGIN)
        return _file(page, visitor)

    def _file(page: str, visitor: Visitor) -> HttpReply | None:
        asked = robot_asked_for(page)
        if asked is None:
            file = own.get('/' if page == ROBOTS else page)
        elif not asked[1]:
            return _moved(f'{ROBOTS}/{asked[0]}/')
        else:
            file = robot_page.get(asked[1])
        return None if file is None else file.answer(visitor.headers)
    return answer


def _with_relays(page: StaticFile, relays: Sequence[str]) -> StaticFile:
    """Return a page that may ask other relays whether they are there."""
    policy = page.headers['Content-Security-Policy'].replace(
        "connect-src 'self'", ' '.join(("connect-src 'self'", *relays)))
    tag = hashlib.sha256(page.body + policy.encode()).hexdigest()[:32]
    return replace(page, headers={
        **page.headers, 'Content-Security-Policy': policy, 'ETag': f'"{tag}"'})


async def _list(relay: Relay, visitor: Visitor) -> HttpReply:
    admission = await relay.who_is(visitor)
    if isinstance(admission, HttpReply):
        return admission
    return HttpReply(HTTPStatus.OK, _JSON, orjson.dumps({
        'you': name_of(admission), 'role': admission.rights.role.name,
        'robots': [entry.shown() for entry in relay.entries(admission)]}))


async def _log(relay: Relay, visitor: Visitor, *, is_in: bool) -> HttpReply:
    """
    Have a browser keep the token that a page presents in a header, or forget it.

    A page of another site can give a request no such header without asking first, and is refused.
    """
    scheme, _, token = visitor.headers.get('authorization', '').partition(' ')
    if is_in:
        admission = await relay.who_is(visitor)
        if not isinstance(admission, Admission):
            return admission
    is_secure = visitor.is_secure or visitor.headers.get('x-forwarded-proto') == 'https'
    return HttpReply(HTTPStatus.NO_CONTENT, {
        'Cache-Control': 'no-store',
        'Set-Cookie': cookie_of(token.strip() if is_in and scheme.lower() == 'bearer' else '',
                                is_secure=is_secure)})


def _moved(where: str) -> HttpReply:
    return HttpReply(HTTPStatus.FOUND, {'Location': where, 'Cache-Control': 'no-store'})
