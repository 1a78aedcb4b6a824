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
"""Behind nginx on the same machine: names, addresses, pages, and no rights of this machine's."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import re
import shutil
import socket
import subprocess
from typing import Any

import pytest
from support.bridge_harness import native_peer, running_bridge
from support.helpers import wait_until
from support.security_support import bearer, TOKEN
from support.transport_support import http
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

NGINX = shutil.which('nginx') or shutil.which('nginx', path='/usr/sbin:/usr/local/sbin')
pytestmark = pytest.mark.skipif(NGINX is None, reason='there is no nginx on this machine')

NAME = 'robot.example'
DOCUMENT = Path(__file__).parents[2] / 'docs' / 'how-to' / 'put_it_behind_a_proxy.md'
AROUND = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {servers}
}}
"""


def documented() -> str:
    """Return the block of nginx's configuration that stands in the documents."""
    match = re.search(r'```nginx\n(.*?)```', DOCUMENT.read_text(), re.DOTALL)
    assert match is not None
    return match[1]


@contextmanager
def nginx(folder: Path, port: int) -> Iterator[int]:
    """Run nginx in front of a port, as the documents have it, and give its port."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        own = probe.getsockname()[1]
    # Without its own TLS, which the documents have: the bridge does not see it.
    servers = re.sub(r'listen 443 ssl;', f'listen 127.0.0.1:{own};', documented())
    servers = re.sub(r'^ *ssl_.*\n', '', servers, flags=re.MULTILINE)
    assert servers != documented()
    servers = servers.replace('127.0.0.1:9090', f'127.0.0.1:{port}')
    configuration = folder / 'nginx.conf'
    configuration.write_text(AROUND.format(folder=folder, servers=servers))
    assert NGINX is not None
    process = subprocess.Popen([NGINX, '-p', str(folder), '-c', str(configuration)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def listens() -> bool:
        assert process.poll() is None, process.communicate()[1]
        with socket.socket() as client:
            return client.connect_ex(('127.0.0.1', own)) == 0
    try:
        wait_until(listens)
        yield own
    finally:
        process.terminate()
        process.communicate(timeout=20)


def asked_as(host: str, port: int, **headers: str) -> dict[str, Any]:
    """Return how a browser asks that knows the robot by a name."""
    return {'host': '127.0.0.1', 'port': port, 'origin': f'http://{host}:{port}',
            'additional_headers': headers}


PARAMETERS: dict[str, Any] = {'hosts': [NAME], 'trusted_proxies': ['127.0.0.1']}
"""What the documents say."""


async def test_a_page_behind_the_proxy(tmp_path: Path) -> None:
    async with running_bridge(**PARAMETERS, allow_anonymous=True) as service:
        with nginx(tmp_path, service.server.port) as port:
            url = f'ws://{NAME}:{port}'
            async with native_peer(url, **asked_as(NAME, port)) as peer:
                await peer.ask('hello')
                (link,) = service.server.links
                assert link.address == '127.0.0.1'
            status, _, body = await http(port, f'GET / HTTP/1.1\nHost: {NAME}:{port}\n'
                                               'Connection: close\n\n')
            assert (status, b'<html' in body) == (200, True)
            # A page of somebody else, and a name of somebody else that points here, are refused.
            with pytest.raises(InvalidStatus) as caught:
                await connect(url, **{**asked_as(NAME, port), 'origin': 'http://evil.example'})
            assert caught.value.response.status_code == 403
            with pytest.raises(InvalidStatus) as caught:
                await connect(f'ws://evil.example:{port}', **asked_as('evil.example', port))
            assert caught.value.response.status_code in (403, 421)


async def test_who_comes_through_the_proxy_is_not_on_this_machine(tmp_path: Path,
                                                                  token_file: str) -> None:
    """The address is the one that the proxy saw, not one that the client says."""
    audit = tmp_path / 'audit'
    async with running_bridge(**PARAMETERS, token_file=token_file,
                              audit_file=str(audit)) as service:
        with nginx(tmp_path, service.server.port) as port:
            async with native_peer(
                    f'ws://{NAME}:{port}', local_addr=('127.0.0.7', 0),
                    **asked_as(NAME, port, **bearer(TOKEN),
                               **{'X-Forwarded-For': '192.0.2.1'})) as peer:
                await peer.ask('hello')
                (link,) = service.server.links
                assert link.address == '127.0.0.7'
    opened = [event for event in map(json.loads, audit.read_text().splitlines())
              if event['event'] == 'open']
    assert '127.0.0.7' in json.dumps(opened)
