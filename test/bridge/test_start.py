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
"""The start: each parameter that is nonsense ends it with one line that names the parameter."""
from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from support.bridge_harness import running_bridge
from support.security_support import write_tokens

from ws_bridge.bridge.guard import tell_gates
from ws_bridge.errors import ConfigError
from ws_bridge.main import open_service

FILE_PARAMETERS = ('mapping_file', 'tls_certificate', 'token_file', 'jwt_key_file',
                   'command_key_file')


async def fails(**parameters: Any) -> ConfigError:
    """Return why a bridge with these parameters does not start."""
    args = ['--ros-args', '--log-level', 'warn', '-p', 'port:=0']
    for name, value in parameters.items():
        args += ['-p', f'{name}:={json.dumps(value)}']
    faults: list[BaseException] = []
    with pytest.raises(ConfigError) as caught:
        await open_service(args, on_fault=faults.append)
    assert not faults
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


@pytest.mark.parametrize(('parameters', 'field', 'said'), [
    ({'gated_types': ['geometry_msgs/msg/Twits']}, 'gated_types', 'geometry_msgs/msg/Twits'),
    ({'gated_types': ['geometry_msgs/Twits']}, 'gated_types', 'geometry_msgs/msg/Twits'),
    ({'gated_types': ['nosuch_msgs/Twist']}, 'gated_types', 'nosuch_msgs'),
    ({'gated_types': ['os/Twist']}, 'gated_types', 'os'),
    ({'gated_types': ['geometry_msgs/msg/twist']}, 'gated_types', 'geometry_msgs/msg/twist'),
    ({'gated_types': ['x y']}, 'gated_types', 'x y'),
    ({'push': ['/a//b']}, 'push', '/a//b'), ({'push': ['/1a']}, 'push', '/1a'),
    ({'push': ['a~']}, 'push', 'a~'), ({'push': ['a/']}, 'push', 'a/'),
    ({'pull': ['/{nosuch}']}, 'pull', 'nosuch'), ({'pull': ['a b']}, 'pull', 'a b'),
    ({'push': ['/a', '/b'], 'pull': ['/b']}, 'pull', '/b is in push too'),
    ({'push': ['/b'], 'pull': ['b']}, 'pull', 'b is in push too'),
    ({'estop_service': 'a b'}, 'estop_service', 'a b'),
    ({'estop_service': '/a//b'}, 'estop_service', '/a//b'),
    ({'estop_service': '~/stop'}, 'estop_service', '/ws_bridge/stop'),
    ({'anonymous_role': 'nosuch'}, 'anonymous_role', 'nosuch'),
    ({'connect_role': 'nosuch'}, 'connect_role', 'nosuch'),
    ({'relay_role': 'nosuch'}, 'relay_role', 'nosuch'),
    ({'fleet': ['ws://127.0.0.1:9'], 'robot_name': 'a.b'}, 'robot_name', 'a.b'),
    ({'fleet': ['http://x']}, 'fleet', 'http://x'),
    ({'fleet_token_file': '/no/such/file'}, 'fleet_token_file', '/no/such/file'),
    ({'hosts': ['http://x']}, 'hosts', 'http://x'),
    ({'jwt_algorithm': 'none'}, 'jwt_algorithm', 'none'),
    ({'connect': ['ws://127.0.0.1:9'], 'connect_token_file': '/no/such/file'},
     'connect_token_file', '/no/such/file'),
    ({'connect_token_file': '/no/such/file'}, 'connect_token_file', '/no/such/file'),
    ({'audit_file': '/no/such/folder/file'}, 'audit_file', '/no/such/folder/file'),
    ({'audit_file': '/'}, 'audit_file', '/'),
    *(({name: path}, None if name in ('mapping_file', 'tls_certificate') else name, path)
      for name in FILE_PARAMETERS for path in ('/no/such/file', '/'))])
async def test_nonsense_is_one_line(parameters: dict[str, Any], field: str | None,
                                    said: str) -> None:
    error = await fails(**parameters)
    assert error.field == field or field is None
    assert said in str(error)


@pytest.mark.parametrize('name', ['tls_key', 'tls_client_ca'])
async def test_files_of_tls(name: str, tmp_path: Path) -> None:
    from support.certificates import make_authority, make_certificate
    authority = make_authority(tmp_path, 'authority')
    pair = make_certificate(tmp_path, 'server', authority)
    good = {'tls_certificate': pair.cert, 'tls_key': pair.key, 'tls_client_ca': authority.cert}
    for path in ('/no/such/file', '/', write_tokens(tmp_path / 'tokens')):
        assert path in str(await fails(**{**good, name: path}))


async def test_types_without_their_folder_have_a_gate() -> None:
    async with running_bridge(gated_types=[' std_msgs/String ', 'geometry_msgs/Twist']) as service:
        assert service.settings.gated_types == ('std_msgs/msg/String', 'geometry_msgs/msg/Twist')


@pytest.mark.parametrize(('gates', 'types', 'level', 'said'), [
    ({}, ['a/msg/B', 'a/msg/C'], 'INFO', 'gates: none yet; every topic of a/msg/B, a/msg/C gets'),
    ({'drive': ['/x', '/y'], '/cmd_vel': ['/cmd_vel'], 'arm': []}, ['a/msg/B'], 'INFO',
     'gates: drive (/x /y), /cmd_vel, arm (-); every topic of a/msg/B'),
    ({'drive': ['/x']}, [], 'INFO', 'gates: drive (/x); gated_types is empty: no other topic'),
    ({}, [], 'WARNING', 'gates: none; gated_types is empty: nothing stops the robot')])
def test_gates_are_told_in_one_line(gates: dict[str, list[str]], types: list[str], level: str,
                                    said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, 'ws_bridge'):
        tell_gates(gates, types)
    (record,) = caplog.records
    assert record.levelname == level
    assert record.getMessage().startswith(said)
