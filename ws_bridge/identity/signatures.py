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
"""
Keys with which peers sign: the file of public ones, and a private one of a peer's own.

One public key a line, after the name of whoever has it::

    # ws_bridge key ~/.ros/ws_bridge/command.key
    alice  ed25519:2Zb0Zk6Jm2Yl0Sg4mW0fUq3S8Yc1m7n9dZsQ8h0h2fE

The file holds no secret, but whoever can write it may command.
"""
from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ws_bridge.errors import ConfigError
from ws_bridge.identity.files import read_file
from ws_bridge.identity.identity import is_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PREFIX = 'ed25519:'
MOST_KEYS = 4
"""Of one name: each may have to be tried."""
KEY_SIZE = 32
_SMALL = frozenset(bytes.fromhex(text) for text in (
    '00' * 32, '01' + '00' * 31, 'ec' + 'ff' * 30 + '7f', 'ed' + 'ff' * 30 + '7f',
    'ee' + 'ff' * 30 + '7f', '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'))
"""
The points of small order (RFC 8032 5.1), in each way of writing them, without the sign: with one
as its key, anybody can make signatures.
"""
MAX_FILE_SIZE = 4096
"""Of a private key, bytes."""


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The public keys of each name."""

    of_names: Mapping[str, tuple[Ed25519PublicKey, ...]]

    def __repr__(self) -> str:
        return f'PublicKeys({", ".join(self.of_names)})'

    def is_signed(self, name: str, signature: bytes, text: bytes) -> bool:
        """Whether a text has the signature of one of the keys of a name (0.1 to 0.25 ms each)."""
        from cryptography.exceptions import InvalidSignature
        for key in self.of_names.get(name, ()):
            try:
                key.verify(signature, text)
            except InvalidSignature:
                continue
            return True
        return False


def parse_keys(text: str, source: str) -> PublicKeys:
    """
    Read the lines of a file of public keys.

    :param source: names the text in errors.
    :raises ConfigError: a line is not a name and a key, or cryptography is not installed.
    """
    ed25519 = _ed25519('command_key_file')
    keys: dict[str, tuple[Ed25519PublicKey, ...]] = {}
    seen: set[bytes] = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith('#'):
            continue
        raw = _raw(words[1]) if len(words) == 2 else None
        if raw is None or not is_name(words[0]):
            raise ConfigError(f'a line is: name, {PREFIX} and {KEY_SIZE} bytes in base64url',
                              file=source, line=number)
        if bytes((*raw[:-1], raw[-1] & 0x7f)) in _SMALL:
            raise ConfigError('the key is none: everybody could sign with it', file=source,
                              line=number)
        if raw in seen:
            raise ConfigError('the key stands twice', file=source, line=number)
        seen.add(raw)
        name = words[0]
        keys[name] = (*keys.get(name, ()), ed25519.Ed25519PublicKey.from_public_bytes(raw))
        if len(keys[name]) > MOST_KEYS:
            raise ConfigError(f'{name} has more than {MOST_KEYS} keys', file=source, line=number)
    return PublicKeys(keys)


def _raw(word: str) -> bytes | None:
    """Return the bytes of a public key, ``None`` where it is none."""
    if not word.startswith(PREFIX):
        return None
    text = word[len(PREFIX):]
    try:
        raw = base64.b64decode(text + '=' * (-len(text) % 4), altchars=b'-_', validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == KEY_SIZE else None


def line_of(name: str, public: bytes) -> str:
    """Return the line of a public key."""
    return f'{name} {PREFIX}{base64.urlsafe_b64encode(public).decode().rstrip("=")}'


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """
    What a peer signs with.

    :ivar public: the bytes of the public key.
    :ivar sign: returns the signature of bytes.
    """

    public: bytes
    sign: Callable[[bytes], bytes]

    def __repr__(self) -> str:
        return f'PrivateKey({line_of("", self.public).strip()})'


def load_private_key(path: str, field: str = '--key') -> PrivateKey:
    """
    Return the private key of a file.

    :raises ConfigError: others may read the file, or it holds no such key.
    """
    ed25519 = _ed25519(field)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    try:
        key = load_pem_private_key(read_file(path, field, MAX_FILE_SIZE), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigError(f'{path} holds no private key without a password, PEM',
                          field=field) from exc
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(f'{path} holds a key of another kind than Ed25519', field=field)
    return _private(key)


def make_private_key(path: str, field: str = '--key') -> PrivateKey:
    """
    Write a new private key into a file, which only its owner may read, and return it.

    :raises ConfigError: there is such a file, or it cannot be written.
    """
    ed25519 = _ed25519(field)
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    key = ed25519.Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, 'wb') as file:
            file.write(content)
    except OSError as exc:
        raise ConfigError(f'{path} cannot be written: {exc.strerror}', field=field) from exc
    return _private(key)


def _private(key: Ed25519PrivateKey) -> PrivateKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    return PrivateKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), key.sign)


def _ed25519(field: str) -> ModuleType:
    """
    Return the module that signs.

    :raises ConfigError: it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise ConfigError('needs the Python package cryptography (pip install '
                          '"ws_bridge[signed]", apt install python3-cryptography)',
                          field=field) from None
    return ed25519
