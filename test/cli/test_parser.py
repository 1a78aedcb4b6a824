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
"""The tree of subcommands: what is passed on, what is wrong usage, exit codes."""
from __future__ import annotations

import argparse
import io
from pathlib import Path
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from ws_bridge.cli import main
from ws_bridge.cli.parser import build_parser, run
from ws_bridge.config import VERSION
from ws_bridge.errors import (
    ConfigError,
    ConnectFailed,
    Forbidden,
    SignatureNeeded,
    Unavailable,
    WsBridgeError,
)

Captured = pytest.CaptureFixture[str]
ROS_ARGS = ['--ros-args', '-p', 'port:=0', '--', '--count', 'x', '--ros-args', '-r', 'a:=b']


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Any) -> None:
    """Put a module in the place of one that needs ROS."""
    module = ModuleType(name)
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize('command', ['serve', 'demo', 'robot'])
@pytest.mark.parametrize('ros_args', [[], ROS_ARGS], ids=['plain', 'ros'])
def test_ros_arguments_are_passed_on(monkeypatch: pytest.MonkeyPatch, command: str,
                                     ros_args: list[str]) -> None:
    calls: list[tuple[str, list[str]]] = []

    def note(name: str) -> Any:
        return lambda argv: calls.append((name, argv)) or 7
    stand_in(monkeypatch, 'ws_bridge.main', serve=note('serve'), demo=note('demo'))
    stand_in(monkeypatch, 'ws_bridge.demo.node', run=note('robot'))
    assert main([command, *ros_args]) == 7
    assert calls == [(command, ros_args)]


def test_a_relay_gets_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, 'ws_bridge.fleet.serve',
             relay=lambda file, assignments: calls.append((file, assignments)) or 7)
    calls: list[tuple[str | None, list[str]]] = []
    assert main(['relay']) == 7
    assert main(['relay', '--params-file', 'a.yaml', '-p', 'port:=1', '-p', 'x:=y']) == 7
    assert calls == [(None, []), ('a.yaml', ['port:=1', 'x:=y'])]


@pytest.mark.parametrize('words', [['topics'], ['echo', '/a'], ['ping']])
def test_a_robot_of_a_relay(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    urls: list[str] = []
    stand_in(monkeypatch, 'ws_bridge.cli.commands',
             run_command=lambda args: urls.append(args.url) or 0)
    for url in ('wss://relay', 'wss://relay/'):
        assert main([*words, '--url', url, '--robot', 'r-1']) == 0
    assert urls == ['wss://relay/robots/r-1'] * 2
    assert main([*words, '--robot', 'a/b']) == 2


def test_words_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, 'ws_bridge.main', serve=lambda argv: len(argv))
    monkeypatch.setattr('sys.argv', ['ws_bridge', 'serve', '--ros-args', '-r', '__node:=b'])
    assert main() == 3


@pytest.mark.parametrize(('error', 'code', 'text'), [
    (ConfigError('is odd', field='port', file='a.yaml', line=3), 1, 'a.yaml:3: port: is odd\n'),
    (Unavailable('nobody'), 1, 'unavailable: nobody\n'), (KeyboardInterrupt(), 130, '')])
def test_errors_of_a_command(monkeypatch: pytest.MonkeyPatch, capsys: Captured,
                             error: BaseException, code: int, text: str) -> None:
    def serve(argv: list[str]) -> int:
        raise error
    stand_in(monkeypatch, 'ws_bridge.main', serve=serve)
    assert main(['serve']) == code
    assert capsys.readouterr().err == text


@pytest.mark.parametrize('words', [
    [], ['fly'], ['serve', '-p', 'port:=1'], ['check'], ['check', 'a', '--ros-args'], ['echo'],
    ['echo', '/a', '--encoding', 'xml'], ['echo', '/a', '--count', '0'],
    ['echo', '/a', '--count', 'many'], ['echo', '/a', '--max-rate', '0'],
    ['echo', '/a', '--max-points', '0'], ['echo', '/a', '--max-points', '1.5'],
    ['echo', '/a', '--max-rate', 'inf'], ['echo', '/a', '--max-rate', 'x'], ['pub', '/a'],
    ['pub', '/a', '{'], ['pub', '/a', '{"x": NaN}'], ['pub', '/a', '{}', '--rate', '-1'],
    ['pub', '/a', '{}', '--once', '--count', '2'], ['call', '/a', "{'a': 1}"],
    ['call', '/a', '{}', '--timeout', 'soon'], ['ping', 'a', 'b'], ['ping', 'a', '--url', 'b'],
    ['key', 'f'], ['key', 'f', 'a b'],
    ['pub', '/a', '{}', '--wait', '-1'], ['pub', '/a', '{}', '--wait', 'x']], ids=' '.join)
def test_wrong_usage(capsys: Captured, words: list[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith('usage: ws_bridge')


def test_a_key_is_made_and_shown(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / 'command.key'
    assert main(['key', str(path), 'alice']) == 0
    line = capsys.readouterr().out
    assert line.startswith('alice ed25519:')
    assert main(['key', str(path), 'alice']) == 0
    assert capsys.readouterr().out == line
    path.chmod(0o644)
    assert main(['key', str(path), 'alice']) == 1


def test_version(capsys: Captured) -> None:
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'ws_bridge {VERSION}\n'


def test_wrong_json_on_stdin(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr('sys.stdin', io.StringIO('{"a": '))
    assert main(['call', '/a', '-']) == 2
    assert 'argument JSON: not JSON' in capsys.readouterr().err


@pytest.mark.parametrize('words', [
    ['--help'], *([name, '--help'] for name in ('serve', 'demo', 'robot', 'check', 'topics',
                                                'echo', 'pub', 'call', 'ticket', 'ping', 'relay',
                                                'robots'))])
def test_help(capsys: Captured, words: list[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith('usage: ws_bridge')


@pytest.mark.parametrize(('words', 'variable', 'url'), [
    (['topics'], '', 'ws://127.0.0.1:9090'), (['ping'], '', 'ws://127.0.0.1:9090'),
    (['topics'], 'ws://a:1', 'ws://a:1'), (['topics', '--url', 'wss://b'], 'ws://a:1', 'wss://b'),
    (['ping', 'robot.local'], '', 'ws://robot.local:9090'), (['topics'], 'c', 'ws://c:9090'),
    (['ping', '[::1]'], '', 'ws://[::1]:9090'), (['ping', 'robot:80'], '', 'robot:80'),
    (['ping', '--url', 'b'], 'ws://a:1', 'ws://b:9090'), (['ping'], 'ws://a:1', 'ws://a:1')])
def test_url(monkeypatch: pytest.MonkeyPatch, words: list[str], variable: str, url: str) -> None:
    monkeypatch.setenv('WS_BRIDGE_URL', variable)
    assert build_parser().parse_args(words).url == url


def run_module(*words: str, script: str = '') -> subprocess.CompletedProcess[str]:
    """Run ``python -m ws_bridge`` in a process where ROS cannot be imported."""
    code = ("import sys, runpy; sys.modules['rclpy'] = None; "
            f"sys.argv = {['ws_bridge', *words]!r}; "
            "runpy.run_module('ws_bridge', run_name='__main__', alter_sys=True)")
    return subprocess.run([sys.executable, '-c', code], check=False, capture_output=True,
                          text=True, timeout=60)


def test_module_without_ros() -> None:
    shown = run_module('--help')
    assert (shown.returncode, shown.stderr) == (0, '')
    refused = run_module('topics', '--url', 'ws://127.0.0.1:1')
    assert refused.returncode == 1
    assert refused.stderr.startswith('connect_failed: ws://127.0.0.1:1')
    assert len(refused.stderr.splitlines()) == 1
    assert run_module('fly').returncode == 2


def test_a_reader_that_has_enough() -> None:
    process = subprocess.Popen(
        [sys.executable, '-m', 'ws_bridge', 'check', 'config/mapping.example.yaml'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == ''
    assert process.wait(60) == 0


@pytest.mark.parametrize('words', [['-p', 'port:=1'], ['--port', '1']])
def test_arguments_of_ros_without_their_word(words: list[str],
                                             capsys: Captured) -> None:
    assert main(['serve', *words]) == 2
    assert capsys.readouterr().err.endswith(
        f'unrecognized arguments: {" ".join(words)}; ROS arguments come after --ros-args\n')
    assert main(['topics', *words]) == 2
    assert '--ros-args' not in capsys.readouterr().err


@pytest.mark.parametrize(('error', 'advice'), [
    (Forbidden('log in first'), 'WS_BRIDGE_TOKEN'),
    (ConnectFailed('ws://relay/robots/r: HTTP 401 log in first'), 'WS_BRIDGE_TOKEN'),
    (SignatureNeeded('the role of this peer has to sign this'), 'WS_BRIDGE_KEY'),
    (Forbidden('not for you'), '')])
def test_what_a_command_may_lack(error: WsBridgeError, advice: str,
                                 capsys: Captured) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise error
    assert run(fail, argparse.Namespace()) == 1
    told = capsys.readouterr().err
    assert told.startswith(f'{error.code}: {error}')
    assert advice in told
    assert bool(advice) is ('WS_BRIDGE' in told)


@pytest.mark.parametrize('command', ['serve', 'robot'])
def test_a_node_without_ros(command: str) -> None:
    done = run_module(command)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('rclpy')
    assert "pip install 'ws_bridge[kilted]'" in line
