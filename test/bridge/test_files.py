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
import gzip
from http.client import HTTPConnection, HTTPResponse
import os
from pathlib import Path
import re

from hypothesis import given
from hypothesis import strategies as st
import pytest
from support.bridge_harness import native_peer, running_bridge
from support.helpers import tries
from websockets.http11 import Request

from ws_bridge.bridge.files import Folder, MAX_PAGE_SIZE, POLICY, read_files
from ws_bridge.bridge.pages import make_http
from ws_bridge.errors import ConfigError
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


@pytest.mark.parametrize(('accepted', 'is_packed'), [
    ('gzip', True), ('br, GZIP;q=0.5', True), ('', False), ('br', False), ('gzip;q=0', False),
    ('gzip; q=0.0', False), ('x-gzip', False)])
def test_what_is_packed_is_the_same(accepted: str, is_packed: bool) -> None:
    """A page has to come over a thin link: packed it is a third."""
    sizes = [0, 0]
    for file in FILES.values():
        reply = file.answer({'accept-encoding': accepted})
        assert ('Content-Encoding' in reply.headers) is (is_packed and bool(file.packed))
        assert (gzip.decompress(reply.body) if 'Content-Encoding' in reply.headers
                else reply.body) == file.body
        assert reply.headers['Vary'] == 'Accept-Encoding'
        assert file.answer({'if-none-match': reply.headers['ETag']}).status == 304
        sizes[0] += len(file.body)
        sizes[1] += len(reply.body)
    assert (sizes[1] < 0.4 * sizes[0]) is is_packed


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


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Give a folder of pages, with a secret beside it."""
    (tmp_path / 'secret.html').write_text('secret')
    root = tmp_path / 'own'
    (root / 'sub').mkdir(parents=True)
    for name in ('index.html', 'my page.html', 'app.MJS', 'model.bin', 'a.wasm', 'sub/index.html',
                 '.hidden.html'):
        (root / name).write_text(f'this is {name}')
    (root / '.git').mkdir()
    (root / '.git' / 'config').write_text('secret')
    (root / 'inside.html').symlink_to('sub/index.html')
    (root / 'out.html').symlink_to(tmp_path / 'secret.html')
    (root / 'up').symlink_to(tmp_path)
    os.mkfifo(root / 'pipe.html')
    with (root / 'huge.bin').open('wb') as file:
        file.truncate(MAX_PAGE_SIZE + 1)
    return root


@pytest.mark.parametrize(('path', 'body', 'mime_type'), [
    ('', 'index.html', 'text/html; charset=utf-8'),
    ('sub/', 'sub/index.html', 'text/html; charset=utf-8'),
    ('my%20page.html', 'my page.html', 'text/html; charset=utf-8'),
    ('app.MJS', 'app.MJS', 'text/javascript; charset=utf-8'),
    ('model.bin', 'model.bin', 'application/octet-stream'),
    ('a.wasm', 'a.wasm', 'application/wasm'),
    ('inside.html', 'sub/index.html', 'text/html; charset=utf-8')])
def test_own_pages(own: Path, path: str, body: str, mime_type: str) -> None:
    reply = Folder(str(own)).find(path, {})
    assert reply is not None
    assert (reply.status, reply.body) == (200, f'this is {body}'.encode())
    assert reply.headers['Content-Type'] == mime_type
    assert reply.headers['X-Content-Type-Options'] == 'nosniff'
    again = Folder(str(own)).find(path, {'if-none-match': reply.headers['ETag']})
    assert again is not None and again.status == 304


@pytest.mark.parametrize('path', [
    '../secret.html', '..%2fsecret.html', '%2e%2e/secret.html', 'sub/../../secret.html',
    'sub/../index.html', './index.html', '/etc/passwd', '%2fetc%2fpasswd', '//index.html',
    'out.html', 'up/secret.html', '.hidden.html', '.git/config', 'pipe.html', 'sub',
    'index.html/', 'index.html%00', '%00', '%ff', 'missing.html', 'a' * 5000])
def test_what_is_none_of_the_pages(own: Path, path: str) -> None:
    assert Folder(str(own)).find(path, {}) is None


def test_a_page_that_is_too_large(own: Path) -> None:
    reply = Folder(str(own)).find('huge.bin', {})
    assert reply is not None
    assert (reply.status, b'not served' in reply.body) == (404, True)


def test_the_folder_has_to_be_one(own: Path) -> None:
    for path in (own / 'missing', own / 'index.html'):
        with pytest.raises(ConfigError) as caught:
            Folder(str(path))
        assert caught.value.field == 'pages'


@given(st.text(alphabet='./%2eEfF5c\\abc0\x00?#;') | st.text())
def test_no_path_leads_out(path: str) -> None:
    assert Folder(str(WEB / 'app')).find(path, {}) is None


async def test_own_pages_over_the_wire(own: Path) -> None:
    """What was opened as a file is refused, and connects from there."""
    async with running_bridge(pages=str(own)) as service:
        host = service.url.removeprefix('ws://')
        response, body = await asyncio.to_thread(ask, host, '/pages/my%20page.html?x=1')
        assert (response.status, body) == (200, b'this is my page.html')
        if hasattr(Request, 'method'):      # before websockets 16 only GET comes to the bridge
            response, body = await asyncio.to_thread(ask, host, '/pages/', 'HEAD')
            assert (response.status, body) == (200, b'')
            assert response.headers['Content-Length'] == str(len('this is index.html'))
        response, _ = await asyncio.to_thread(ask, host, '/pages')
        assert (response.status, response.headers['Location']) == (301, '/pages/')
        response, _ = await asyncio.to_thread(ask, host, '/pages/../secret.html')
        assert response.status == 404
        response, body = await asyncio.to_thread(ask, host, '/')
        assert body == (WEB / 'index.html').read_bytes()
        async with native_peer(service, origin=f'http://{host}') as peer:
            await peer.ask('hello')


async def test_who_takes_no_page_fills_no_memory(
        own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a sum of bytes that wait, further pages are refused until some are taken."""
    (own / 'large.bin').write_bytes(bytes(8_000_000))
    monkeypatch.setattr('ws_bridge.transport.crowd.MAX_BODIES', 20_000_000)
    async with running_bridge(pages=str(own)) as service:
        async def first_line() -> tuple[bytes, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection('127.0.0.1', service.server.port)
            writer.transport.set_write_buffer_limits(0)
            writer.write(b'GET /pages/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n')
            line = await asyncio.wait_for(reader.readline(), 10)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            return line, writer
        answers = [await first_line() for _ in range(3)]
        assert [line.split()[1] for line, _ in answers] == [b'200', b'200', b'503']
        # Who takes them that slowly keeps others from theirs for no longer than that.
        monkeypatch.setattr('ws_bridge.transport.crowd.BODY_TIME', 0.0)
        answers.append(await first_line())
        assert answers[-1][0].split()[1] == b'200'
        for _, writer in answers:
            writer.transport.abort()
        monkeypatch.undo()
        monkeypatch.setattr('ws_bridge.transport.crowd.MAX_BODIES', 20_000_000)

        async def answer() -> bytes:
            line, writer = await first_line()
            writer.transport.abort()
            return line.split()[1]
        for _ in tries():
            if await answer() == b'200':
                break
        else:
            pytest.fail('what was taken, or cut, still counts')
