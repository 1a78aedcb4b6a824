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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import os
from pathlib import Path
import random
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, PATIENCE, SpinningNode, wait_until
from support.processes import serving

from ws_bridge.demo import SERVICES, TOPICS

ROOT = Path(__file__).parents[1]

SHUTDOWN_WITHIN = 2.0
START_WITHIN = 60.0     # a second of computing, of which a busy machine gives little
STOPS = 5
"""Zeros that follow the last command when the bridge ends."""


def finish(process: subprocess.Popen[str], since: float) -> tuple[int, str]:
    """
    Return exit code and the rest of the output of a process that must end in time.

    On a machine so busy that the start took longer than an end may take, the end may as well.
    """
    lived = time.time() - psutil.Process(process.pid).create_time()
    output, _ = process.communicate(timeout=START_WITHIN)
    assert time.monotonic() - since < max(SHUTDOWN_WITHIN, lived)
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
            await asyncio.wait_for(peer.websocket.wait_closed(), PATIENCE)
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
        (said,) = (line for line in done.stderr.splitlines() if port in line)
        assert said.endswith('; choose another port, or end the program that uses it')


@contextmanager
def demonstrating() -> Iterator[tuple[subprocess.Popen[str], str, psutil.Process]]:
    """Start ``ws_bridge demo``, wait for its banner, and give its URL and its robot."""
    process = subprocess.Popen(
        ['env', '--default-signal=INT', sys.executable, '-m', 'ws_bridge', 'demo', '--ros-args',
         '-p', 'port:=0'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = ''
        while 'listens on' not in line:
            line = process.stdout.readline()
            assert line
        (robot,) = (child for child in psutil.Process(process.pid).children(recursive=True)
                    if 'ws_bridge.demo' in child.cmdline())
        yield process, line.split()[-1], robot
    finally:
        process.kill()
        process.communicate()


def test_demo_ends_its_robot() -> None:
    with demonstrating() as (process, _, robot):
        since = time.monotonic()
        process.send_signal(signal.SIGINT)
        code, output = finish(process, since)
        assert code == 0, output
        assert 'Traceback' not in output
        assert not robot.is_running()


def test_a_demo_that_is_killed_leaves_no_robot() -> None:
    with demonstrating() as (process, _, robot):
        process.kill()
        robot.wait(START_WITHIN)


async def test_the_banner_of_the_demo_comes_when_its_robot_is_there() -> None:
    with demonstrating() as (_, url, _):
        async with native_peer(url) as peer:
            listed = await peer.ask('list')
        assert set(TOPICS) <= {topic['topic'] for topic in listed['topics']}
        assert set(SERVICES) <= {service['service'] for service in listed['services']}


@pytest.mark.parametrize(('address', 'said'), [
    ('127.0.0.1', r'listening on ws://127\.0\.0\.1:(\d+) \(page: http://127\.0\.0\.1:\1/\)'),
    ('0.0.0.0', r'listening on ws://0\.0\.0\.0:(\d+), every address of this machine; from here '
                r'ws://127\.0\.0\.1:\1 \(page: http://127\.0\.0\.1:\1/\)'),
    ('::', r'listening on ws://\[::\]:(\d+), every .* ws://\[::1\]:\1 \(page: http://\[::1\]'),
    ('::1', r'listening on ws://\[::1\]:(\d+) \(page')])
async def test_where_it_listens_is_told(address: str, said: str) -> None:
    if ':' in address:
        try:
            socket.create_server(('::1', 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip('this machine has no IPv6')
    async with running_bridge(address=address, allow_anonymous=True) as service:
        assert re.match(said, f'listening on {service.listening} (page: {service.page})')


@pytest.fixture(scope='module')
def old_websockets(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a folder with the websockets of Ubuntu 24.04, as pip would install it."""
    folder = str(tmp_path_factory.mktemp('old'))
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder,
         'websockets==10.4'], capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip('pip cannot install websockets 10.4 here')
    return folder


@pytest.mark.parametrize('words', [
    ['serve'], ['demo'], ['topics'], ['echo', '/x'], ['pub', '/x', '{}'], ['call', '/x'],
    ['ping']])
def test_really_old_websockets_are_one_clear_line(old_websockets: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'ws_bridge', *words], capture_output=True, text=True,
        timeout=START_WITHIN, env={**os.environ, 'PYTHONPATH': old_websockets})
    assert (done.returncode, done.stdout) == (1, '')
    assert re.fullmatch(r'websockets 10\.4 is too old: ws_bridge needs 14\.2 or newer .*\n',
                        done.stderr)


@pytest.mark.parametrize('words', [
    ['--version'], ['--help'], ['robot', '--help'],
    ['check', str(Path(__file__).parents[1] / 'config' / 'mapping.example.yaml')]])
def test_what_needs_no_websockets(old_websockets: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'ws_bridge', *words], capture_output=True, text=True,
        timeout=START_WITHIN, env={**os.environ, 'PYTHONPATH': old_websockets})
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout


def test_old_websockets_is_one_clear_line(monkeypatch: Any,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    from ws_bridge import cli
    from ws_bridge.transport import requirements
    monkeypatch.setattr(requirements, 'version', lambda name: '10.4')
    assert cli.main(['topics']) == 1
    error = capsys.readouterr().err
    assert '10.4 is too old' in error
    assert len(error.strip().splitlines()) == 1


def is_caught(pid: int) -> bool:
    """Whether a process ignores SIGHUP, which is the last thing that it sets at its beginning."""
    status = Path(f'/proc/{pid}/status').read_text()
    match = re.search(r'^SigIgn:\s*([0-9a-f]+)$', status, re.MULTILINE)
    return bool(match and int(match[1], 16) >> (signal.SIGHUP - 1) & 1)


SIGNALS_AT_ONCE = [
    (signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP, signal.SIGINT),
    (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGINT, signal.SIGINT, signal.SIGHUP)]


@contextmanager
def starting() -> Iterator[subprocess.Popen[str]]:
    """Give a bridge that catches signals; what it says goes where the output goes."""
    process = subprocess.Popen(
        ['env', '--default-signal=INT,HUP', sys.executable, '-m', 'ws_bridge', 'serve',
         '--ros-args', '-p', 'port:=0'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)
    try:
        wait_until(lambda: is_caught(process.pid))
        yield process
    finally:
        process.kill()
        process.communicate()


def ends_quietly(process: subprocess.Popen[str], numbers: Sequence[int]) -> None:
    """Send signals all at once; assert that the process ends in order."""
    for number in numbers:
        process.send_signal(number)
    output, _ = process.communicate(timeout=START_WITHIN)
    assert process.returncode == 0, output
    assert 'Traceback' not in output
    assert 'Error' not in output


@pytest.mark.parametrize('seed', range(int(os.environ.get('SIGNAL_RUNS', '8'))))
def test_signals_at_any_moment_of_the_start(seed: int) -> None:
    """From the moment on in which it can catch them; loading and starting take about a second."""
    moment = random.Random(seed).uniform(0.0, 1.5)
    with starting() as process:
        time.sleep(moment)      # what is tested is this moment
        ends_quietly(process, SIGNALS_AT_ONCE[seed % len(SIGNALS_AT_ONCE)])


@pytest.mark.parametrize('numbers', SIGNALS_AT_ONCE)
def test_signals_at_once_while_it_runs(numbers: Sequence[int]) -> None:
    with starting() as process:
        assert process.stdout is not None
        assert any('listening on' in line for line in process.stdout)
        ends_quietly(process, numbers)


def test_a_hangup_during_the_start_ends_nothing(tmp_path: Path) -> None:
    said = tmp_path / 'said'
    with said.open('w') as output:
        process = subprocess.Popen(
            ['env', '--default-signal=HUP', sys.executable, '-m', 'ws_bridge', 'serve',
             '--ros-args', '-p', 'port:=0'], stdout=output, stderr=output)

    def listens() -> bool:
        assert process.poll() is None, said.read_text()
        process.send_signal(signal.SIGHUP)      # not only once
        return 'listening on' in said.read_text()
    try:
        wait_until(lambda: is_caught(process.pid))
        wait_until(listens, START_WITHIN)
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_WITHIN) == 0
    finally:
        process.kill()
        process.wait()


def test_signals_can_be_caught_before_anything_else_is_loaded() -> None:
    """In what is loaded before, an interrupt would be a traceback."""
    done = subprocess.run([sys.executable, '-I', '-S', '-c', (
        'import __future__, os, signal, sys; sys.path.insert(0, sys.argv[1]); '
        'before = set(sys.modules); import ws_bridge.cli; '
        'print(*sorted(set(sys.modules) - before))'), str(ROOT)],
        capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['ws_bridge', 'ws_bridge.cli']


def test_what_other_processes_need_is_not_loaded() -> None:
    """It would take memory in the bridge too; at the first use it would block the loop."""
    optional = ('PIL', 'av', 'cryptography', 'jwt', 'mcap', 'nats', 'prometheus_client',
                'zstandard', 'ws_bridge.fleet', 'ws_bridge.cli.parser')
    done = subprocess.run([sys.executable, '-c', (
        'import sys; import ws_bridge.main, ws_bridge.bridge.bridge; '
        'print(*(name for name in sys.argv[1:] if name in sys.modules))'), *optional],
        capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


async def test_a_full_disk_keeps_no_stop_from_coming() -> None:
    """A process that ends while a peer drives: all stops are published, whatever else fails."""
    from geometry_msgs.msg import Twist
    heard: list[float] = []
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda m: heard.append(m.linear.x), 50)
        with serving('-p', 'audit_file:=/dev/full') as (process, url):
            async with native_peer(url) as peer:
                await peer.ask('advertise', topic='/cmd_vel', type='geometry_msgs/msg/Twist')
                await peer.acquire('/cmd_vel')
                await peer.command('/cmd_vel', {})
                while 0.4 not in heard:
                    await peer.command('/cmd_vel', {'linear': {'x': 0.4}})
                since = time.monotonic()
                process.send_signal(signal.SIGINT)
                code, output = await asyncio.to_thread(finish, process, since)
        last = len(heard) - heard[::-1].index(0.4)
        await async_wait_until(lambda: len(heard) - last >= STOPS)
    assert not any(heard[last:])    # more, where its gate has already waited in vain
    assert code == 0, output
    assert 'Traceback' not in output
    assert output.count('the audit log cannot be written') == 1
