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
"""The identity in a client's certificate, which TLS has verified."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ws_bridge.identity.identity import Identity, is_name


def identity_of(certificate: Mapping[str, Any] | None) -> Identity | None:
    """
    Return who a certificate is for: its subject's common name, else its first alternative name.

    :param certificate: as :meth:`ssl.SSLSocket.getpeercert` gives it; empty where the client had
        none.
    """
    for name in _names(certificate or {}):
        if is_name(name):
            return Identity(name, None, 'certificate')
    return None


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for part in certificate.get('subject', ()):
        yield from (value for key, value in part if key == 'commonName')
    yield from (value for _, value in certificate.get('subjectAltName', ()))
