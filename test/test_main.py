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
"""The end of the bridge, step by step; and files that the start refuses."""
from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.bridge_harness import running_bridge
from support.certificates import make_authority, make_certificate

from ws_bridge import main
from ws_bridge.demo import SERVICES, TOPICS
from ws_bridge.errors import ConfigError
from ws_bridge.main import close_service, open_service
from ws_bridge.stop_process import GENERATOR, load_no_generator

STEPS = ('watch.close', 'bridge.end_control', 'server.disconnect', 'bridge.shutdown',
         'ledger.audit.close')


async def test_each_step_of_the_end_is_tried(monkeypatch: pytest.MonkeyPatch,
                                             caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails: the stops come first, ROS ends last, and what failed is told."""
    done: list[str] = []
    service = await open_service(['--ros-args', '-p', 'port:=0'], on_fault=print)

    def break_it(path: str) -> None:
        *parts, name = path.split('.')
        owner: Any = service
        for part in parts:
            owner = getattr(owner, part)

        def fail(*_: Any, **__: Any) -> None:
            done.append(path)
            raise RuntimeError(f'fault of {path}')
        monkeypatch.setattr(type(owner), name, fail)
    stop_all = service.ros.watchdog.stop_all

    def stop(reason: str) -> None:
        done.append('stop')
        stop_all(reason)
    monkeypatch.setattr(service.ros.watchdog, 'stop_all', stop, raising=False)
    for path in STEPS:
        break_it(path)
    faults = await close_service(service)
    assert done == ['stop', *STEPS]
    assert [f'fault of {path}' in fault for path, fault in zip(STEPS, faults, strict=True)]
    assert len([text for text in caplog.messages if text.startswith('at the end, ')]) == len(STEPS)
    assert not service.ros.alive
    monkeypatch.undo()
    await close_service(service)        # what failed is done after all


@pytest.mark.parametrize('parameter', [
    'token_file', 'connect_token_file', 'jwt_key_file', 'tls_key', 'tls_certificate',
    'tls_client_ca', 'mapping_file'])
async def test_files_that_others_may_write_are_refused(tmp_path: Path, parameter: str) -> None:
    pair = make_certificate(tmp_path, 'server', authority := make_authority(tmp_path, 'ours'))
    for name, text in (('tokens', 'alice operator correct-horse-battery\n'),
                       ('token', 'correct-horse-battery\n'), ('key', 'x' * 40),
                       ('mapping', 'version: 1\n')):
        (tmp_path / name).write_text(text)
    files = {'token_file': tmp_path / 'tokens', 'connect_token_file': tmp_path / 'token',
             'jwt_key_file': tmp_path / 'key', 'tls_key': Path(pair.key),
             'tls_certificate': Path(pair.cert), 'tls_client_ca': Path(authority.cert),
             'mapping_file': tmp_path / 'mapping'}
    parameters: dict[str, Any] = {name: str(path) for name, path in files.items()}
    parameters |= {'jwt_algorithm': 'HS256', 'connect': ['ws://127.0.0.1:9']}
    files[parameter].chmod(0o666)
    with pytest.raises(ConfigError, match='written by others') as caught:
        async with running_bridge(**parameters):
            pass
    assert caught.value.field == parameter


@pytest.mark.parametrize(('called', 'folder', 'topics', 'expected'), [
    ('.venv/bin/ws_bridge', None, TOPICS,
     ('the demo robot runs,', '\n  .venv/bin/ws_bridge topics --url ws://robot')),
    ('.venv/bin/ws_bridge', 'bin', TOPICS, ('\n  ws_bridge topics --url ws://robot',)),
    ('/x/ws_bridge/__main__.py', None, TOPICS, (f'\n  {sys.executable} -m ws_bridge topics',)),
    ('ws_bridge', None, (), ('the demo robot is still starting,',))])
def test_the_demo_says_what_is_so_and_what_can_be_typed(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
        called: str, folder: str | None, topics: tuple[str, ...],
        expected: tuple[str, ...]) -> None:
    """The commands are those of this environment, be it on the path or not."""
    async def run(_: object, *, announce: Callable[[Any], None], **__: object) -> int:
        announce(SimpleNamespace(
            url='ws://robot', page='http://robot/',
            ros=SimpleNamespace(graph=SimpleNamespace(topics=topics, services=SERVICES))))
        return 0
    if folder is not None:
        (tmp_path / 'ws_bridge').write_text('#!/bin/sh\n')
        (tmp_path / 'ws_bridge').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(sys, 'argv', [called, 'demo'])
    monkeypatch.setattr(main, 'run', run)
    assert main.demo([]) == 0
    said = capsys.readouterr().out
    assert [text for text in expected if text not in said] == []


def test_no_generator_of_code_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first message class loads brings no parser of IDL, and works without."""
    for name in list(sys.modules):
        if name.startswith(('rosidl_generator_py', 'lark')):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, GENERATOR, None)   # taken back at the end, whatever it was
    monkeypatch.delitem(sys.modules, GENERATOR)
    load_no_generator()
    generator = import_module('rosidl_generator_py')
    assert generator.import_type_support('std_msgs')
    assert 'lark' not in sys.modules
