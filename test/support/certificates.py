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
"""Certificates and keys for the tests, made when they are needed."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
import trustme


@dataclass(frozen=True)
class Pair:
    """Paths of a certificate and its key."""

    cert: str
    key: str


def make_authority(folder: Path, name: str) -> Pair:
    """Make a certificate that can sign others."""
    authority = trustme.CA(organization_name=name)
    pair = Pair(str(folder / f'{name}.pem'), str(folder / f'{name}.key'))
    authority.cert_pem.write_to_path(pair.cert)
    authority.private_key_pem.write_to_path(pair.key)
    Path(pair.key).chmod(0o600)
    return pair


def make_certificate(folder: Path, name: str, authority: Pair) -> Pair:
    """Make a certificate for 127.0.0.1, signed by ``authority``."""
    issued = trustme.CA.from_pem(
        Path(authority.cert).read_bytes(), Path(authority.key).read_bytes(),
    ).issue_cert('127.0.0.1', common_name=name)
    pair = Pair(str(folder / f'{name}.pem'), str(folder / f'{name}.key'))
    issued.cert_chain_pems[0].write_to_path(pair.cert)
    issued.private_key_pem.write_to_path(pair.key)
    Path(pair.key).chmod(0o600)
    return pair


def make_web_token_key(path: Path) -> bytes:
    """Write the public key for JSON web tokens, PEM, and return the private one of the issuer."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
