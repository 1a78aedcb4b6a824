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
"""TLS of the bridge: versions, certificates that change, certificates of peers."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
import os
from pathlib import Path
import shutil
import signal
import socket
import ssl
import subprocess
import sys

import pytest
from support.bridge_harness import native_peer, running_bridge
from support.certificates import make_authority, make_certificate, Pair
from support.helpers import async_wait_until, Limit, PATIENCE
from support.security_support import answer_of, bearer, replace_text, text_of, TOKEN
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ws_bridge.bridge import watch


@pytest.fixture
def authority(tmp_path: Path) -> Pair:
    """Give who signs."""
    return make_authority(tmp_path, 'authority')


@pytest.fixture
def server(tmp_path: Path, authority: Pair) -> Iterator[Pair]:
    """Give the server's certificate."""
    yield make_certificate(tmp_path, 'server', authority)


def trusting(authority: Pair, own: Pair | None = None) -> ssl.SSLContext:
    """Return a client's context."""
    context = ssl.create_default_context(cafile=authority.cert)
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def read_serial(port: int, authority: Pair) -> str:
    """Return the serial number of the certificate that a new connection gets."""
    with socket.create_connection(('127.0.0.1', port), timeout=10) as plain, \
            trusting(authority).wrap_socket(plain, server_hostname='127.0.0.1') as secure:
        certificate = secure.getpeercert()
    assert certificate is not None
    return str(certificate['serialNumber'])


async def serial_of(port: int, authority: Pair) -> str:
    """Do as :func:`read_serial`, while the event loop goes on."""
    return await asyncio.to_thread(read_serial, port, authority)


async def test_no_old_tls(server: Pair, authority: Pair) -> None:
    async with running_bridge(tls_certificate=server.cert, tls_key=server.key) as service:
        context = trusting(authority)
        context.set_ciphers('DEFAULT:@SECLEVEL=0')
        with pytest.warns(DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection('127.0.0.1', service.server.port, ssl=context)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.maximum_version = version
            context.minimum_version = version
            async with native_peer(service, ssl=context) as peer:
                await peer.ask('hello')


async def test_a_key_in_the_certificate_s_file(tmp_path: Path, server: Pair,
                                               authority: Pair) -> None:
    both = tmp_path / 'both.pem'
    replace_text(str(both), f'{text_of(server.cert)}{text_of(server.key)}')
    async with running_bridge(tls_certificate=str(both)) as service, \
            native_peer(service, ssl=trusting(authority)) as peer:
        await peer.ask('hello')


async def test_a_new_certificate_and_peers_stay(tmp_path: Path, server: Pair, authority: Pair,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken up when the file changes; a broken one is not."""
    monkeypatch.setattr(watch.Watch.__init__, '__defaults__', (0.05,))
    new = make_certificate(tmp_path, 'newer', authority)
    async with running_bridge(tls_certificate=server.cert, tls_key=server.key) as service, \
            native_peer(service, ssl=trusting(authority)) as peer:
        first = await serial_of(service.server.port, authority)
        for source, target in ((new.cert, server.cert), (new.key, server.key)):
            shutil.copy(source, target)
        limit = Limit(PATIENCE)
        while await serial_of(service.server.port, authority) == first:
            assert not limit.is_over()
        second = await serial_of(service.server.port, authority)
        replace_text(server.cert, 'nonsense')
        service.watch.read()
        assert await serial_of(service.server.port, authority) == second
        await peer.ask('hello')


def test_hangup_reads_again(tmp_path: Path, server: Pair, authority: Pair) -> None:
    process = subprocess.Popen(
        [sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '-p', 'port:=0', '-p',
         f'tls_certificate:={server.cert}', '-p', f'tls_key:={server.key}'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={
            **os.environ, 'PYTHONUNBUFFERED': '1'})
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if 'listening on' in line)
        port = int(line.partition('wss://127.0.0.1:')[2].split()[0])
        first = read_serial(port, authority)
        new = make_certificate(tmp_path, 'newer', authority)
        for source, target in ((new.cert, server.cert), (new.key, server.key)):
            shutil.copy(source, target)
        process.send_signal(signal.SIGHUP)
        assert any('read again' in line for line in process.stdout)
        assert read_serial(port, authority) != first
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


async def test_certificates_of_peers(tmp_path: Path, server: Pair, authority: Pair) -> None:
    """Where they are the only way in: who has none, or one of somebody else, stays out."""
    mapping = tmp_path / 'm.yaml'
    mapping.write_text("version: 1\nout: ['*']\nidentities: {tablet: operator}\n")
    tablet = make_certificate(tmp_path, 'tablet', authority)
    foreign_authority = make_authority(tmp_path, 'foreign')
    foreign = make_certificate(tmp_path, 'stranger', foreign_authority)
    async with running_bridge(tls_certificate=server.cert, tls_key=server.key,
                              tls_client_ca=authority.cert, mapping_file=str(mapping)) as service:
        async with native_peer(service, ssl=trusting(authority, tablet)) as peer:
            assert (await peer.ask('hello'))['role'] == 'operator'
        for own in (None, foreign):
            assert not await asyncio.to_thread(
                answer_of, service.server.port, trusting(authority, own))
        assert service.bridge.peer_count == 0


async def test_a_certificate_or_a_token(tmp_path: Path, server: Pair, authority: Pair,
                                        token_file: str, no_delay: None) -> None:
    tablet = make_certificate(tmp_path, 'tablet', authority)
    async with running_bridge(tls_certificate=server.cert, tls_key=server.key,
                              tls_client_ca=authority.cert, token_file=token_file) as service:
        async with native_peer(service, ssl=trusting(authority, tablet)) as peer:
            assert (await peer.ask('hello'))['role'] == 'observer'
        async with native_peer(service, ssl=trusting(authority),
                               additional_headers=bearer(TOKEN)) as peer:
            assert (await peer.ask('hello'))['role'] == 'operator'
        async with native_peer(service, ssl=trusting(authority)) as peer:
            assert (await peer.refused('list'))['code'] == 'forbidden'
        with pytest.raises(InvalidStatus):
            await connect(service.url, ssl=trusting(authority, tablet),
                          additional_headers=bearer('wrong'))
        await async_wait_until(lambda: not service.bridge.peer_count)
