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
"""Throwaway certificates, made by the ``openssl`` command."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import subprocess

_COMMON = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes')


@dataclass(frozen=True)
class Pair:
    """Paths of a certificate and its key."""

    cert: str
    key: str


def _openssl(*arguments: str) -> None:
    subprocess.run(['openssl', *arguments], check=True, capture_output=True, timeout=60)


def make_authority(folder: Path, name: str) -> Pair:
    """Make a certificate that can sign others."""
    pair = Pair(str(folder / f'{name}.pem'), str(folder / f'{name}.key'))
    _openssl('req', '-x509', *_COMMON, '-keyout', pair.key, '-out', pair.cert, '-days', '2',
             '-subj', f'/CN={name}', '-addext', 'keyUsage=critical,keyCertSign,cRLSign')
    return pair


def make_certificate(folder: Path, name: str, authority: Pair) -> Pair:
    """Make a certificate for 127.0.0.1, signed by ``authority``."""
    pair = Pair(str(folder / f'{name}.pem'), str(folder / f'{name}.key'))
    request, extensions = str(folder / f'{name}.csr'), folder / f'{name}.ext'
    extensions.write_text('subjectAltName=IP:127.0.0.1\nkeyUsage=critical,digitalSignature\n'
                          'authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n')
    _openssl('req', *_COMMON, '-keyout', pair.key, '-out', request, '-subj', f'/CN={name}')
    _openssl('x509', '-req', '-in', request, '-CA', authority.cert, '-CAkey', authority.key,
             '-CAcreateserial', '-out', pair.cert, '-days', '2', '-extfile', str(extensions))
    return pair
