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
"""A ``websockets`` that is too old, or missing, is one clear line; ROS is not needed at all."""
from __future__ import annotations

from importlib.metadata import PackageNotFoundError
import subprocess
import sys

import pytest

import ws_bridge
from ws_bridge.errors import ConfigError
from ws_bridge.transport import requirements


@pytest.mark.parametrize(('found', 'is_fine'), [
    ('10.4', False), ('13.1', False), ('14.1', False), ('14.2', True), ('15.0.1', True),
    ('16.1', True), ('17.4', True), ('15.0rc1', True), ('9.1', False)])
def test_versions(found: str, is_fine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Debian 12 and Ubuntu 24.04 package is too old."""
    monkeypatch.setattr(requirements, 'version', lambda name: found)
    if is_fine:
        requirements.require_websockets()
        return
    with pytest.raises(ConfigError) as caught:
        requirements.require_websockets()
    assert str(caught.value).startswith(f'websockets {found} is too old: ws_bridge needs 14.2')
    assert '\n' not in str(caught.value)


def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    def version(name: str) -> str:
        raise PackageNotFoundError(name)
    monkeypatch.setattr(requirements, 'version', version)
    with pytest.raises(ConfigError, match=r'not installed.*pip install "websockets>=14.2"'):
        requirements.require_websockets()


def test_the_public_names_are_there() -> None:
    """All of them; no other."""
    for name in ws_bridge.__all__:
        assert getattr(ws_bridge, name).__name__ == name
    with pytest.raises(AttributeError, match='nonsense'):
        ws_bridge.nonsense      # noqa: B018


@pytest.mark.parametrize('program', [
    'import ws_bridge',
    'from ws_bridge import InterfaceConfig, MessageMetadata',
    'from ws_bridge import WebSocketServer, WebSocketClient, WebSocketInterface'])
def test_the_seed_api_needs_no_ros(program: str) -> None:
    """Nor does the package load websockets before it must."""
    code = f'import sys; {program}; print("rclpy" in sys.modules, "websockets" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True, timeout=60)
    assert done.stdout.split() == ['False', str('WebSocket' in program)]
