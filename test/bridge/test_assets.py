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
"""Test which files of packages peers may have, and that a slow one gets them one by one."""
from __future__ import annotations

import asyncio
from collections import deque
import os
from pathlib import Path
from typing import Any

import pytest
from support.helpers import async_wait_until

from ws_bridge.bridge.assets import Assets, Library, MARKERS
from ws_bridge.config import Settings, settings_from
from ws_bridge.errors import Forbidden, LimitExceeded, TooLarge, Unavailable, UnknownName
from ws_bridge.protocol import replies
from ws_bridge.session.effects import ReadAsset

DEFAULT = settings_from({}).asset_uri_allowlist
LARGEST = 100


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Give an installation with a package ``robot``, whose mesh is ``solid``."""
    prefix = tmp_path / 'install'
    (prefix / MARKERS).mkdir(parents=True)
    (prefix / MARKERS / 'robot').touch()
    (prefix / MARKERS / 'unlisted').touch()
    meshes = prefix / 'share' / 'robot' / 'meshes'
    meshes.mkdir(parents=True)
    for name in ('base.stl', 'my arm.stl', 'secret.key', '.hidden.stl'):
        (meshes / name).write_bytes(b'solid')
    (meshes / 'large.stl').write_bytes(b'x' * (LARGEST + 1))
    (meshes / 'exact.stl').write_bytes(b'x' * LARGEST)
    (meshes / 'folder.stl').mkdir()
    os.mkfifo(meshes / 'pipe.stl')
    (tmp_path / 'outside.stl').write_bytes(b'secret')
    (prefix / 'share' / 'other').mkdir()
    (prefix / 'share' / 'other' / 'other.stl').write_bytes(b'secret')
    (meshes / 'out.stl').symlink_to(tmp_path / 'outside.stl')
    (meshes / 'away').symlink_to(tmp_path)
    (meshes / 'again.stl').symlink_to(meshes / 'base.stl')
    return prefix


def library(prefix: Path, patterns: Any = DEFAULT) -> Library:
    return Library(patterns, LARGEST, {'AMENT_PREFIX_PATH': f'/nowhere{os.pathsep}{prefix}'})


@pytest.mark.parametrize('path', ['meshes/base.stl', 'meshes/my%20arm.stl', 'meshes/again.stl'])
def test_files_of_packages(prefix: Path, path: str) -> None:
    assert library(prefix).read(f'package://robot/{path}') == b'solid'


def test_a_file_may_be_so_large(prefix: Path) -> None:
    assert len(library(prefix).read('package://robot/meshes/exact.stl')) == LARGEST
    with pytest.raises(TooLarge):
        library(prefix).read('package://robot/meshes/large.stl')


@pytest.mark.parametrize('uri', [
    'package://robot/meshes/secret.key', 'file:///etc/passwd', 'http://a.b/c.stl',
    'package://robot/../robot/meshes/base.stl', 'package://robot/meshes/%2e%2e/meshes/base.stl',
    'package://robot/%2e%2e/other/other.stl', 'package://robot/meshes%2fbase.stl',
    'package://robot/meshes/%2ehidden.stl', 'package://%2e%2e/share/robot/meshes/base.stl',
    'package://robot/meshes/out.stl', 'package://robot/meshes/away/outside.stl',
    'package://robot/meshes/base%00.stl', 'package://robot//meshes/base.stl',
    'package://robot/meshes/base.stl\n', 'package://robot/meshes/base.stl?x',
    'package:///etc/x.stl', 'package://', ''])
@pytest.mark.parametrize('patterns', [DEFAULT, ('(?s).*',)], ids=['default', 'all'])
def test_nothing_outside(prefix: Path, uri: str, patterns: Any) -> None:
    """Also where the patterns would let everything pass."""
    outcomes = (Forbidden,) if patterns is DEFAULT or '\n' not in uri else (UnknownName,)
    if patterns is not DEFAULT and uri.endswith(('secret.key', '?x')):
        outcomes = ()       # so it is meant; a question mark is a character of a name
    if not outcomes:
        return
    with pytest.raises(outcomes):
        library(prefix, patterns).read(uri)


@pytest.mark.parametrize('uri', [
    'package://other/other.stl', 'package://none/x.stl', 'package://unlisted/x.stl',
    'package://robot/meshes/none.stl', f'package://robot/{"x" * 300}.stl'])
def test_what_is_not_there(prefix: Path, uri: str) -> None:
    with pytest.raises(UnknownName):
        library(prefix).read(uri)


@pytest.mark.parametrize('name', ['folder.stl', 'pipe.stl'])
def test_what_is_no_file(prefix: Path, name: str) -> None:
    with pytest.raises(Unavailable):
        library(prefix).read(f'package://robot/meshes/{name}')


def test_without_patterns_there_is_nothing(prefix: Path) -> None:
    with pytest.raises(Forbidden):
        library(prefix, ()).read('package://robot/meshes/base.stl')


def test_its_own_package_needs_no_installation() -> None:
    own = Library(['package://ws_bridge/web/.*'], 1 << 20, {})
    assert b'<!doctype html' in own.read('package://ws_bridge/web/index.html').lower()


class FakeLink:
    """A slow one, unless ``owed_bytes`` is 0."""

    is_open = True
    owed_bytes = 0


class FakePeer:
    """Takes replies."""

    def __init__(self) -> None:
        self.link = FakeLink()
        self.told: deque[Any] = deque()

    def send(self, reply: Any) -> None:
        self.told.append(reply)


async def test_the_next_file_waits_until_the_last_one_has_left(
        prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ws_bridge.bridge.assets.MOST_WAITING', 4)
    assets = Assets(library(prefix))
    peer: Any = FakePeer()
    other: Any = FakePeer()
    peer.link.owed_bytes = 5
    fetch = Assets._fetch
    for number in range(4):
        fetch(assets, peer, ReadAsset(str(number), 'package://robot/meshes/base.stl'))
    with pytest.raises(LimitExceeded):
        fetch(assets, peer, ReadAsset('4', 'package://robot/meshes/base.stl'))
    fetch(assets, other, ReadAsset('a', 'package://robot/meshes/none.stl'))
    await async_wait_until(lambda: other.told and peer.told)
    assert isinstance(other.told[0], replies.Failed)
    assert other.told[0].op_id == 'a'
    assert list(peer.told) == [replies.AssetFetched('0', b'solid')]
    peer.link.owed_bytes = 0
    await async_wait_until(lambda: len(peer.told) == 4)
    assert [each.op_id for each in peer.told] == ['0', '1', '2', '3']
    await async_wait_until(lambda: repr(assets) == 'Assets(0 peers)')

    peer.link.owed_bytes = 5        # who has left is read nothing more for
    for number in range(2):
        fetch(assets, peer, ReadAsset(str(number), 'package://robot/meshes/base.stl'))
    peer.link.is_open = False
    await async_wait_until(lambda: repr(assets) == 'Assets(0 peers)')
    peer.link.is_open = True
    fetch(assets, peer, ReadAsset('x', 'package://robot/meshes/base.stl'))
    await async_wait_until(lambda: peer.told[-1].op_id == 'x')
    await assets.shutdown()
    await asyncio.sleep(0)
    assert repr(assets) == 'Assets(0 peers)'


def test_the_default_is_a_valid_setting() -> None:
    assert Settings().asset_uri_allowlist == DEFAULT
