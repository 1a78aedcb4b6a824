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
"""The key with which the bridge signs what it records (Ed25519), and the check of signatures."""
from __future__ import annotations

from collections.abc import Mapping
import errno
import os
from pathlib import Path
import secrets
import stat

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    load_pem_public_key,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ws_bridge.errors import ConfigError
from ws_bridge.record.chain import SIGNED, text_to_sign

FIELD = 'record_key'
_LARGEST = 4096


class Signer:
    """
    Signs the end of files.

    :ivar public: the public key, hex.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def __repr__(self) -> str:
        return f'Signer({self.public[:16]})'

    def sign(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the fields with the public key and the signature."""
        signed = {**fields, 'key': self.public}
        return {**signed, SIGNED: self._key.sign(text_to_sign(signed)).hex()}


def is_signed(fields: Mapping[str, str]) -> bool:
    """Whether the signature of a last record is that of the key in it."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields.get('key', '')))
        key.verify(bytes.fromhex(fields.get(SIGNED, '')), text_to_sign(fields))
    except (ValueError, InvalidSignature):
        return False
    return True


def load_signer(path: Path) -> Signer:
    """
    Return the signer of a key file, which is made where there is none.

    The public key is written beside it, with ``.pub``.

    :raises ConfigError: others may read the file, it is a symbolic link, or no such key.
    """
    try:
        text = _read_private(path)
        if text is None:
            _make(path)
            text = _read_private(path)
    except OSError as exc:
        reason = 'is a symbolic link' if exc.errno == errno.ELOOP else f'{exc.strerror}'
        raise ConfigError(f'{path}: {reason}', field=FIELD) from exc
    try:
        key = load_pem_private_key(text or b'', None)
    except (ValueError, TypeError) as exc:
        raise ConfigError(f'{path} holds no private key without a password, PEM',
                          field=FIELD) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f'{path} holds a key of another kind than Ed25519', field=FIELD)
    return Signer(key)


def load_public(path: Path) -> str:
    """
    Return a public key, hex.

    :raises ConfigError: the file holds none, as PEM.
    """
    try:
        key = load_pem_public_key(path.read_bytes()[:_LARGEST])
    except OSError as exc:
        raise ConfigError(f'{path}: {exc.strerror}', field='--key') from exc
    except ValueError as exc:
        raise ConfigError(f'{path} holds no public key, PEM', field='--key') from exc
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f'{path} holds a key of another kind than Ed25519', field='--key')
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _read_private(path: Path) -> bytes | None:
    """
    Return a file of the user's own; ``None`` where there is none.

    :raises ConfigError: others may read or write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f'{path} is not a regular file', field=FIELD)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise ConfigError(f'{path} can be read by others (mode '
                              f'{stat.S_IMODE(status.st_mode):04o}): chmod 600', field=FIELD)
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    key = Ed25519PrivateKey.generate()
    _place(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _place(path.with_name(f'{path.name}.pub'), key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)


def _place(path: Path, content: bytes, mode: int) -> None:
    """Write a file at once, or leave the one that somebody else has just made."""
    draft = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with open(descriptor, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path, follow_symlinks=False)
        except FileExistsError:
            return
    finally:
        os.unlink(draft)
