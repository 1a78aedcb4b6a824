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
Static tokens, one a line: name, role (``-`` = as the mapping file says) and token.

::

    # openssl rand -base64 32
    alice  operator  q0nJr3l...
    page   -         sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

With ``sha256:`` the file holds no secret but its digest. Every comparison is of digests, of all
tokens, and in constant time, so that nothing is learnt from how long it takes.
"""
from __future__ import annotations

from dataclasses import dataclass, field
import hashlib
import hmac
import re

from ws_bridge.errors import ConfigError
from ws_bridge.identity.identity import Identity, is_name

MIN_LENGTH = 16
MAX_LENGTH = 4096
"""Of a token that is presented, of any kind."""

_DIGEST = re.compile(r'sha256:([0-9a-fA-F]{64})')
_ROLE = re.compile(r'-|[A-Za-z][A-Za-z0-9_-]{0,63}')


@dataclass(frozen=True, slots=True)
class Entry:
    """One token; ``secret`` is empty where only its digest is known."""

    name: str
    role: str | None
    digest: bytes = field(repr=False)
    secret: bytes = field(repr=False, default=b'')


def digest_of(token: str) -> bytes:
    """Return what is compared."""
    return hashlib.sha256(token.encode(errors='surrogatepass')).digest()


def parse_tokens(text: str, source: str) -> tuple[Entry, ...]:
    """
    Read the lines; an error never repeats what stands in one.

    :param source: names the text in errors.
    :raises ConfigError: a line is not name, role, token.
    """
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith('#'):
            continue
        if len(words) != 3:
            raise ConfigError('a line is: name, role, token', file=source, line=number)
        name, role, token = words
        if not is_name(name) or not _ROLE.fullmatch(role):
            raise ConfigError('the name or the role cannot be one', file=source, line=number)
        match = _DIGEST.fullmatch(token)
        if not match and not MIN_LENGTH <= len(token) <= MAX_LENGTH:
            raise ConfigError(f'a token has {MIN_LENGTH} to {MAX_LENGTH} characters, or is '
                              'sha256: with 64 hexadecimal digits', file=source, line=number)
        entry = Entry(name, None if role == '-' else role,
                      bytes.fromhex(match[1]) if match else digest_of(token),
                      b'' if match else token.encode(errors='surrogatepass'))
        if any(hmac.compare_digest(entry.digest, other.digest) for other in entries):
            raise ConfigError('the token stands twice', file=source, line=number)
        entries.append(entry)
    return tuple(entries)


def find_token(entries: tuple[Entry, ...], token: str) -> Identity | None:
    """Return whose token this is."""
    digest = digest_of(token)
    found = None
    for entry in entries:       # to the end, whichever it is
        if hmac.compare_digest(entry.digest, digest):
            found = entry
    return Identity(found.name, found.role, 'token') if found else None
