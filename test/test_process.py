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
"""The process: start, signals, exit codes, what peers are told, what is left behind."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import re
import signal
import subprocess
import sys
import time
from typing import Any

from bridge_harness import native_peer
import psutil
import pytest

SHUTDOWN_WITHIN = 2.0
START_WITHIN = 20.0


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start ``ws_bridge serve`` as a shell would, SIGINT not ignored, and wait for its URL."""
    process = subprocess.Popen(
        ['env', '--default-signal=INT', sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args',
         '-p', 'port:=0', *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = ''
        while 'ws_bridge: listening on' not in line:
            line = process.stdout.readline()
            assert line, 'ended before it listened'
        match = re.search(r'ws://\S+', line)
        assert match is not None
        yield process, match[0]
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], since: float) -> tuple[int, str]:
    """Return exit code and the rest of the output of a process that must end in time."""
    output, _ = process.communicate(timeout=START_WITHIN)
    assert time.monotonic() - since < SHUTDOWN_WITHIN
    return process.returncode, output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('again', [False, True])
async def test_signal_ends_it_in_order(number: signal.Signals, again: bool) -> None:
    with serving() as (process, url):
        async with native_peer(url) as peer:
            await peer.ask('subscribe', topic='/rosout')
            await peer.ask('advertise_service', service='/page', type='std_srvs/srv/Trigger')
            since = time.monotonic()
            process.send_signal(number)
            if again:
                await asyncio.sleep(0.05)
                process.send_signal(number)
            code, output = await asyncio.to_thread(finish, process, since)
            assert code == 0, output
            assert 'Traceback' not in output
            await asyncio.wait_for(peer.websocket.wait_closed(), 2)
            assert peer.websocket.close_code == 1001


async def test_a_peer_that_does_not_answer_delays_nothing() -> None:
    with serving() as (process, url):
        host, port = url.removeprefix('ws://').split(':')
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f'GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n'
                     'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
                     'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n'.encode())
        await reader.readuntil(b'\r\n\r\n')
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, output = await asyncio.to_thread(finish, process, since)
        assert code == 0, output
        writer.close()


def test_signal_during_the_start() -> None:
    process = subprocess.Popen([sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '-p',
                                'port:=0'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    started = psutil.Process(process.pid)
    while 'rclpy' not in ' '.join(m.path for m in started.memory_maps()):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=START_WITHIN)
    assert process.returncode in (0, -signal.SIGTERM), output
    assert 'Traceback' not in output


@pytest.mark.parametrize(('arguments', 'said'), [
    (['-p', 'port:=70000'], 'port'),
    (['-p', 'heartbeat_timeout:=0.5'], 'heartbeat_timeout'),
    (['-p', 'mapping_file:=/no/such/file.yaml'], '/no/such/file.yaml'),
    (['-p', 'address:=203.0.113.1'], '203.0.113.1'),
    (['-r', '__ns:=bad name'], 'name'),
    (['-p', 'use_sim_time:=maybe'], 'use_sim_time'),
    (['-p', 'port:=0', '-p', 'port:=abc'], 'port: must be an integer'),
    (['--params-file', '/no/such/file.yaml'], '/no/such/file.yaml'),
])
def test_a_wrong_setting_is_one_clear_line(arguments: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', *arguments],
                          capture_output=True, text=True, timeout=START_WITHIN)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert said in last, done.stderr


def test_a_taken_port_is_one_clear_line() -> None:
    with serving() as (_, url):
        port = url.rpartition(':')[2]
        done = subprocess.run(
            [sys.executable, '-m', 'ws_bridge', 'serve', '--ros-args', '-p', f'port:={port}'],
            capture_output=True, text=True, timeout=START_WITHIN)
        assert done.returncode == 1
        assert 'Traceback' not in done.stderr
        assert port in done.stderr


def test_demo_ends_its_robot(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ['env', '--default-signal=INT', sys.executable, '-m', 'ws_bridge', 'demo', '--ros-args',
         '-p', 'port:=0'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = ''
        while 'listens on' not in line:
            line = process.stdout.readline()
            assert line
        (robot,) = psutil.Process(process.pid).children(recursive=True)
        since = time.monotonic()
        process.send_signal(signal.SIGINT)
        code, output = finish(process, since)
        assert code == 0, output
        assert 'Traceback' not in output
        assert not robot.is_running()
    finally:
        process.kill()
        process.communicate()


def test_old_websockets_is_one_clear_line(monkeypatch: Any,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    from ws_bridge import cli
    from ws_bridge.transport import requirements
    monkeypatch.setattr(requirements, 'version', lambda name: '10.4')
    assert cli.main(['serve']) == 1
    error = capsys.readouterr().err
    assert '10.4 is too old' in error
    assert len(error.strip().splitlines()) == 1
