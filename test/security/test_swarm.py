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
"""A swarm of connections at a real bridge with TLS: its memory, its log, and the peer inside."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
import signal
import subprocess

import psutil
import pytest
from support.attacks import anybody, hello, silent, swarm, Talk, Target
from support.bridge_harness import native_peer
from support.certificates import make_authority, make_certificate
from support.processes import serving

CONNECTIONS = 1000
GROWTH_MB = 80
"""What the bridge may take more at its highest. Unbounded it was half a megabyte each."""


@pytest.fixture
def secure_bridge(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Give a bridge with TLS, a process of its own, and its port."""
    pair = make_certificate(tmp_path, 'server', make_authority(tmp_path, 'ours'))
    with serving('-p', f'tls_certificate:={pair.cert}', '-p', f'tls_key:={pair.key}') \
            as (process, url):
        yield process, int(url.rpartition(':')[2])


@pytest.mark.parametrize('talk', [silent, hello], ids=['silent', 'hello'])
async def test_half_open_connections(secure_bridge: tuple[subprocess.Popen[str], int],
                                     talk: Talk) -> None:
    process, port = secure_bridge
    bridge = psutil.Process(process.pid)
    async with native_peer(f'wss://127.0.0.1:{port}', ssl=anybody()) as peer:
        await peer.ask('hello')
        before = highest = bridge.memory_info().rss
        attack = asyncio.create_task(swarm(
            Target(port, '', is_tls=True), talk, CONNECTIONS, CONNECTIONS))
        while not attack.done():
            await peer.ask('hello')
            highest = max(highest, bridge.memory_info().rss)
        assert sum((await attack).values()) == CONNECTIONS
        highest = max(highest, bridge.memory_info().rss)
        assert highest - before < GROWTH_MB << 20
        assert peer.closed is None
    async with native_peer(f'wss://127.0.0.1:{port}', ssl=anybody()) as peer:
        await peer.ask('hello')
    process.send_signal(signal.SIGTERM)
    output, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 0
    assert 'Traceback' not in output
