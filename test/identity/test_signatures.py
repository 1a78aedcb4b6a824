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
"""The files of keys with which peers sign."""
from __future__ import annotations

import asyncio
from pathlib import Path
import stat
import sys

from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key, SECP256R1
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
import pytest

from ws_bridge.bridge.guard import watch_files
from ws_bridge.config import settings_from
from ws_bridge.errors import ConfigError
from ws_bridge.identity.authority import Authority
from ws_bridge.identity.signatures import (
    line_of,
    load_private_key,
    make_private_key,
    MOST_KEYS,
    parse_keys,
    PublicKeys,
)

KEY = b'k' * 32
LINE = line_of('alice', KEY)


def test_a_line() -> None:
    assert LINE == 'alice ed25519:a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s'
    assert repr(parse_keys(f'# of alice\n\n{LINE}\n{line_of("alice", b"l" * 32)}=  \n', 'f')) == \
        'PublicKeys(alice)'
    assert repr(parse_keys('', 'f')) == 'PublicKeys()'


@pytest.mark.parametrize('text', [
    'alice', 'alice ed25519:', 'alice a2tr', f'{LINE} operator', f'{LINE[:-4]}',
    'alice ed25519:*', f'{LINE}=\n{LINE}', f'x{chr(7)}{LINE}',
    '\n'.join(line_of('alice', bytes([n]) * 32) for n in range(2, MOST_KEYS + 3))])
def test_a_wrong_file_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r'^keys:\d+: '):
        parse_keys(text, 'keys')


@pytest.mark.parametrize('raw', [
    '00' * 32, '00' * 31 + '80', '01' + '00' * 31, 'ec' + 'ff' * 30 + '7f'])
def test_a_key_with_which_everybody_signs_is_refused(raw: str) -> None:
    """Such as one of zeros, which stands for the key that is yet to come."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw))
    signature = bytes([1, *[0] * 63])       # of no private key: a point of small order, and 0
    assert any(PublicKeys({'alice': (key,)}).is_signed('alice', signature, b'%d' % number)
               for number in range(100))
    with pytest.raises(ConfigError, match='keys:1: the key is none'):
        parse_keys(line_of('alice', bytes.fromhex(raw)), 'keys')


def test_a_private_key_is_made_read_and_signs(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'command.key'
    made = make_private_key(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = load_private_key(str(path))
    assert read.public == made.public
    keys = parse_keys(line_of('alice', read.public), 'f')
    assert keys.is_signed('alice', read.sign(b'text'), b'text')
    assert not keys.is_signed('alice', read.sign(b'text'), b'other')
    assert not keys.is_signed('bob', read.sign(b'text'), b'text')
    assert not keys.is_signed('alice', b'short', b'text')
    with pytest.raises(ConfigError, match='File exists'):
        make_private_key(str(path))


def test_what_is_no_private_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'key'
    path.touch(0o600)
    path.write_bytes(b'-----BEGIN')
    with pytest.raises(ConfigError, match='holds no private key'):
        load_private_key(str(path))
    path.write_bytes(generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match='another kind'):
        load_private_key(str(path))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match='chmod'):
        load_private_key(str(path))


def test_without_the_library_it_says_which_extra_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'cryptography.hazmat.primitives.asymmetric', None)
    with pytest.raises(ConfigError, match=r'ws_bridge\[signed\]'):
        parse_keys('', 'f')


def test_a_key_that_is_taken_out_of_the_file_is_good_no_longer(tmp_path: Path) -> None:
    path = tmp_path / 'keys'
    key = make_private_key(str(tmp_path / 'key'))
    path.write_text(line_of('alice', key.public))
    authority = Authority(settings_from({'command_key_file': str(path)}), {})
    assert authority.key_files == (str(path),)
    assert authority.is_signed('alice', key.sign(b't'), b't')
    assert not authority        # a key alone is no login
    path.write_text('')
    authority.read_keys_again()
    assert not authority.is_signed('alice', key.sign(b't'), b't')
    assert not Authority(settings_from({}), {}).is_signed('alice', key.sign(b't'), b't')


async def test_a_file_that_is_wrong_holds_no_key(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It may be wrong where a key was taken out; and what else is wrong does not keep one."""
    path, tokens = tmp_path / 'keys', tmp_path / 'tokens'
    key = make_private_key(str(tmp_path / 'key'))
    line = line_of('alice', key.public)
    tokens.write_text('alice operator correct-horse-battery')
    tokens.chmod(0o600)
    path.write_text(line)
    settings = settings_from({'command_key_file': str(path), 'token_file': str(tokens)})
    authority = Authority(settings, {})
    watch = watch_files(settings, authority, None, asyncio.get_running_loop())

    def signs() -> bool:
        watch.read()
        return authority.is_signed('alice', key.sign(b't'), b't')
    tokens.write_text('nonsense')
    assert signs()
    path.write_text('')
    assert not signs()
    for text, mode in (('alice', 0o644), (f'{line}\nbob', 0o644), (line, 0o646)):
        path.write_text(text)
        path.chmod(mode)
        caplog.clear()
        assert not signs(), text
        assert 'until it is right, nobody can sign' in caplog.text
    path.chmod(0o644)
    assert signs()
    path.unlink()
    assert not signs()
