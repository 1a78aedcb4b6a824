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
"""What the tests of security share: a token for each role, and how to present it."""
from __future__ import annotations

from pathlib import Path
import socket
import ssl

TOKENS = {'alice': ('operator', 'correct-horse-battery'),
          'olga': ('observer', 'observing-only-oo'),
          'sam': ('safety', 'safety-first-always'), 'root': ('admin', 'administrator-token')}
TOKEN = TOKENS['alice'][1]


def bearer(token: str) -> dict[str, str]:
    """Return the header that presents a token."""
    return {'Authorization': f'Bearer {token}'}


def write_tokens(path: Path) -> str:
    """Write a file with a token for each role, and return its path."""
    path.write_text(''.join(f'{name} {role} {token}\n'
                            for name, (role, token) in TOKENS.items()))
    path.chmod(0o600)       # also where a measurement calls, with the umask of whoever runs it
    return str(path)


def answer_of(port: int, context: ssl.SSLContext) -> bytes:
    """Return what a plain request over TLS is answered; empty where TLS fails."""
    with socket.create_connection(('127.0.0.1', port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname='127.0.0.1') as secure:
                secure.sendall(b'GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n')
                return secure.recv(1000)
        except (ssl.SSLError, ConnectionError):
            return b''


def text_of(path: str) -> str:
    """Return the content of a file."""
    return Path(path).read_text()


def replace_text(path: str, text: str) -> None:
    """Write a file anew."""
    Path(path).write_text(text)
