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
"""The packaged page over HTTP: kinds, caching, policy, and no way out of the table."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
import re

from bridge_harness import running_bridge
from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.bridge.files import POLICY, read_files
from ws_bridge.bridge.pages import make_http
from ws_bridge.transport.options import Visitor

WEB = Path(__file__).parents[2] / 'ws_bridge' / 'web'
FILES = read_files()
HTTP = make_http('r', lambda: True)


def packaged() -> Iterator[str]:
    """Give the path of each file of the page."""
    for path in sorted(WEB.rglob('*')):
        if path.is_file():
            yield f'/{path.relative_to(WEB).as_posix()}'


def test_every_file_is_in_the_table() -> None:
    assert set(FILES) == {*packaged(), '/'}


@pytest.mark.parametrize(('suffix', 'mime_type'), [
    ('.html', 'text/html; charset=utf-8'), ('.js', 'text/javascript; charset=utf-8'),
    ('.css', 'text/css; charset=utf-8'), ('.json', 'application/json')])
def test_kinds(suffix: str, mime_type: str) -> None:
    found = [file for path, file in FILES.items() if path.endswith(suffix)]
    assert found
    assert {file.headers['Content-Type'] for file in found} == {mime_type}


def test_the_etag_is_of_the_content() -> None:
    tags = {file.body: file.headers['ETag'] for file in FILES.values()}
    assert len(set(tags.values())) == len(tags)
    page = FILES['/']
    tag = page.headers['ETag']
    for known in (tag, f'W/{tag}', f'"other", {tag}', '*'):
        reply = page.answer({'if-none-match': known})
        assert (reply.status, reply.body) == (304, b'')
        assert reply.headers['ETag'] == tag
    for other in ('"other"', tag.strip('"'), ''):
        assert page.answer({'if-none-match': other}).status == 200


def test_nothing_inline_and_nothing_from_elsewhere() -> None:
    assert 'unsafe' not in POLICY
    assert '*' not in POLICY
    for path, file in FILES.items():
        if path.endswith('.html'):
            text = file.body.decode()
            assert not re.findall(r'<script(?![^>]*\bsrc=)', text), path
            assert not re.findall(r'<style|\sstyle=|\son[a-z]+=|javascript:', text), path
        if path.endswith(('.html', '.css')):
            assert not re.findall(rb'(?:https?:)?//[a-z]', file.body.replace(
                b'http://www.apache.org', b'').replace(b'http://www.w3.org/2000/svg', b'')), path


@given(st.text(alphabet='./%2eEfF5c\\abc0\x00?#;') | st.text())
def test_only_what_is_in_the_table(path: str) -> None:
    visitor = Visitor('127.0.0.1', f'/{path}', {})
    reply = asyncio.run(HTTP(visitor))
    page = f'/{path}'.partition('?')[0]
    assert (reply is not None) == (page in FILES or page in ('/version', '/healthz'))


def ask(host: str, path: str, method: str = 'GET', **headers: str) -> tuple[HTTPResponse, bytes]:
    """Ask as it stands: nothing is normalised on the way."""
    connection = HTTPConnection(host, timeout=10)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace('_', '-'), value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


async def test_over_the_wire() -> None:
    async with running_bridge() as service:
        assert service.page == service.url.replace('ws://', 'http://') + '/'
        host = service.url.removeprefix('ws://')
        response, body = await asyncio.to_thread(ask, host, '/')
        assert response.status == 200
        assert body == (WEB / 'index.html').read_bytes()
        assert response.headers['Content-Security-Policy'] == POLICY
        assert response.headers['X-Content-Type-Options'] == 'nosniff'
        tag = response.headers['ETag']
        response, body = await asyncio.to_thread(ask, host, '/', if_none_match=tag)
        assert (response.status, body) == (304, b'')
        assert response.headers['Content-Length'] is None
        for path in ('/../setup.py', '/..%2fsetup.py', '/%2e%2e/setup.py', '//etc/passwd',
                     '/./index.html', '/app/../index.html', '/index.html/', '/app'):
            response, body = await asyncio.to_thread(ask, host, path)
            assert response.status == 404, path
