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
"""What plain HTTP on the bridge's port answers: page, version, health, metrics, pictures."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import orjson

from ws_bridge.bridge.files import Folder, PAGES, read_files
from ws_bridge.config import VERSION
from ws_bridge.protocol import rosbridge
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.transport.options import HttpHook, HttpReply, HttpStreaming, Visitor

METRICS = '/metrics'
HEALTH = '/healthz'
"""Answers under any ``Host``: load balancers ask by an address, or by a name of their own."""

_JSON = {'Content-Type': 'application/json', 'Cache-Control': 'no-store'}


def make_http(robot: str, alive: Callable[[], bool],
              metrics: Callable[[Visitor], Awaitable[HttpReply]] | None = None,
              pages: Folder | None = None, pictures: HttpHook | None = None,
              recordings: HttpHook | None = None) -> HttpHook:
    """
    Return what answers plain requests.

    :param alive: whether the ROS side runs.
    :param metrics: answers ``/metrics``, also with a refusal; ``None`` = there is none.
    :param pages: one's own, below ``/pages/``; ``None`` = there are none.
    :param pictures: answers requests for pictures of cameras, and others by ``None``.
    :param recordings: likewise of recordings.
    """
    version = orjson.dumps({'name': 'ws_bridge', 'version': VERSION, 'robot': robot,
                            'dialects': DIALECTS.subprotocols,
                            # what rosbridge_suite answers
                            'protocol': rosbridge.PROTOCOL_VERSION, 'server': VERSION})

    table = read_files()

    async def answer(visitor: Visitor) -> HttpReply | HttpStreaming | None:
        page = visitor.path.partition('?')[0]
        if page == '/version':
            return HttpReply(HTTPStatus.OK, _JSON, version)
        if page == HEALTH:
            ok = alive()
            return HttpReply(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, _JSON,
                             orjson.dumps({'status': 'ok' if ok else 'the ROS side has ended'}))
        if page == METRICS and metrics is not None:
            return await metrics(visitor)
        if pages is not None and page == PAGES.rstrip('/'):
            return HttpReply(HTTPStatus.MOVED_PERMANENTLY, {'Location': PAGES})
        if pages is not None and page.startswith(PAGES):
            return await asyncio.to_thread(pages.find, page.removeprefix(PAGES), visitor.headers)
        file = table.get(page)
        if file is not None:
            return file.answer(visitor.headers)
        for each in (pictures, recordings):
            reply = None if each is None else await each(visitor)
            if reply is not None:
                return reply
        return None
    return answer
