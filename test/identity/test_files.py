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
"""Files that hold secrets, or say who may do what: whose they must be."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from ws_bridge.config import settings_from
from ws_bridge.errors import ConfigError
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.files import check_file, read_file

STRANGER = 12345


def make(path: Path, mode: int, owner: int | None = None) -> str:
    """Write a file with a mode, of an owner."""
    path.write_text('alice operator correct-horse-battery\n')
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, -1)
    return str(path)


@pytest.mark.parametrize(('mode', 'said'), [
    (0o600, None), (0o400, None), (0o700, None), (0o604, 'read by others (mode 0604): chmod 600'),
    (0o640, 'read by others'), (0o644, 'read by others'), (0o602, 'written by others'),
    (0o620, 'written by others'), (0o666, 'written by others')])
def test_secrets(tmp_path: Path, mode: int, said: str | None) -> None:
    path = make(tmp_path / 'tokens', mode)
    if said is None:
        assert read_file(path, 'token_file', 1000).startswith(b'alice')
        return
    with pytest.raises(ConfigError, match='token_file') as caught:
        read_file(path, 'token_file', 1000)
    assert said in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize(('mode', 'is_fine'), [
    (0o644, True), (0o664, True), (0o646, False), (0o666, False)])
def test_what_is_no_secret(tmp_path: Path, mode: int, is_fine: bool) -> None:
    """A certificate may be read by all, and written by the group of its owner."""
    path = make(tmp_path / 'cert.pem', mode)
    if is_fine:
        check_file(path, 'tls_certificate', is_secret=False)
    else:
        with pytest.raises(ConfigError, match='written by others'):
            check_file(path, 'tls_certificate', is_secret=False)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')
@pytest.mark.parametrize(('mode', 'owner', 'own', 'said'), [
    (0o440, 0, STRANGER, None), (0o640, 0, STRANGER, None), (0o644, 0, STRANGER, 'read'),
    (0o660, 0, STRANGER, 'written'), (0o600, STRANGER, STRANGER, None),
    (0o640, STRANGER, STRANGER, 'read'), (0o600, STRANGER, 0, None),
    (0o600, STRANGER + 1, STRANGER, 'belongs to the user 12346')])
def test_files_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int,
                                owner: int, own: int, said: str | None) -> None:
    """The group may read what belongs to root: so a service gets its key."""
    path = make(tmp_path / 'key.pem', mode, owner)
    monkeypatch.setattr(os, 'geteuid', lambda: own)
    if said is None:
        check_file(path, 'tls_key', is_secret=True)
    else:
        with pytest.raises(ConfigError, match=said):
            check_file(path, 'tls_key', is_secret=True)


def test_links_as_kubernetes_makes_them(tmp_path: Path) -> None:
    """The file at the end of the chain is judged, not the links, whose mode means nothing."""
    (tmp_path / '..2026').mkdir()
    make(tmp_path / '..2026' / 'tokens', 0o400)
    (tmp_path / '..data').symlink_to('..2026')
    (tmp_path / 'tokens').symlink_to('..data/tokens')
    assert read_file(str(tmp_path / 'tokens'), 'token_file', 1000)
    make(tmp_path / '..2026' / 'tokens', 0o444)
    with pytest.raises(ConfigError, match='read by others'):
        read_file(str(tmp_path / 'tokens'), 'token_file', 1000)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe', 0o600)         # nobody writes: waiting would have no end
    for path in (tmp_path, tmp_path / 'pipe'):
        with pytest.raises(ConfigError, match='not a regular file'):
            read_file(str(path), 'token_file', 1000)
    with pytest.raises(ConfigError, match='No such file'):
        read_file(str(tmp_path / 'missing'), 'token_file', 1000)
    with pytest.raises(ConfigError, match='larger than 10 bytes'):
        read_file(make(tmp_path / 'large', 0o600), 'token_file', 10)


def test_a_token_file_that_all_may_read_again(tmp_path: Path) -> None:
    """At the start and each time that it is read again; then what was read before still holds."""
    path = make(tmp_path / 'tokens', 0o644)
    with pytest.raises(ConfigError, match='read by others'):
        Authority(settings_from({'token_file': path}), {})
    Path(path).chmod(0o600)
    authority = Authority(settings_from({'token_file': path}), {})
    Path(path).chmod(0o606)
    with pytest.raises(ConfigError, match='written by others'):
        authority.read()
    assert authority.identify('correct-horse-battery').name == 'alice'


@pytest.mark.parametrize(('algorithm', 'is_fine'), [('HS256', False), ('RS256', True)])
def test_the_key_of_web_tokens(tmp_path: Path, algorithm: str, is_fine: bool) -> None:
    """A shared secret is one; a public key may be read."""
    path = tmp_path / 'key'
    if is_fine:
        from support.certificates import make_web_token_key
        make_web_token_key(path)
    else:
        path.write_text('x' * 40)
    path.chmod(0o644)
    settings = settings_from({'jwt_key_file': str(path), 'jwt_algorithm': algorithm})
    if is_fine:
        assert Authority(settings, {}).takes_tokens
    else:
        with pytest.raises(ConfigError, match='jwt_key_file'):
            Authority(settings, {})
