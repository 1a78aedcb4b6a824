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
"""The key is made once, is its owner's alone, and is not taken from anywhere else."""
from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
import pytest

from ws_bridge.errors import ConfigError
from ws_bridge.record.keys import is_signed, load_public, load_signer


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / 'ros' / 'record.key'
    signer = load_signer(path)
    assert load_signer(path).public == signer.public
    assert load_public(tmp_path / 'ros' / 'record.key.pub') == signer.public
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == [
        'record.key', 'record.key.pub']


def test_signatures(tmp_path: Path) -> None:
    signed = load_signer(tmp_path / 'key').sign({'chain': 'ab', 'state': 'complete'})
    assert is_signed(signed)
    other = load_signer(tmp_path / 'other').public
    for changed in ({'chain': 'ac'}, {'more': ''}, {'key': other}, {'key': 'no hex'},
                    {'signature': ''}):
        assert not is_signed({**signed, **changed})
    assert not is_signed({})


def test_what_is_refused(tmp_path: Path) -> None:
    path, link = tmp_path / 'key', tmp_path / 'link'
    load_signer(path)
    link.symlink_to(path)
    with pytest.raises(ConfigError, match='symbolic link'):
        load_signer(link)
    (tmp_path / 'dangling').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(ConfigError, match='symbolic link'):
        load_signer(tmp_path / 'dangling')
    assert not (tmp_path / 'elsewhere').exists()
    path.chmod(0o640)
    with pytest.raises(ConfigError, match='chmod 600'):
        load_signer(path)
    with pytest.raises(ConfigError, match='not a regular file'):
        load_signer(tmp_path)
    path.chmod(0o600)
    path.write_text('no key')
    with pytest.raises(ConfigError, match='no private key'):
        load_signer(path)
    key = Ed448PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match='another kind'):
        load_signer(path)
    path.write_bytes(key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ConfigError, match='another kind'):
        load_public(path)
    for name, why in (('none', 'No such file'), ('link', 'no public key')):
        path.write_text('no key')
        with pytest.raises(ConfigError, match=why):
            load_public(tmp_path / name)
    with pytest.raises(ConfigError, match='record_key'):
        load_signer(path / 'below')
