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
JSON web tokens (RFC 7519): one key, one algorithm, both from the configuration, never the token.

Needed claims: ``sub`` (the name) and ``exp``; ``aud`` and ``iss`` where they are configured.
``role`` names the role.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ws_bridge.config import JWT_ALGORITHMS
from ws_bridge.errors import ConfigError, LoginFailed
from ws_bridge.identity.identity import Identity, is_name

MIN_SECRET = 32
_PEM = b'-----BEGIN'


@dataclass(frozen=True, slots=True)
class WebTokens:
    """
    Verifies tokens; made by :func:`web_tokens`.

    :param audience: what ``aud`` must hold; empty = there must be none.
    :param issuer: what ``iss`` must be; empty = it does not matter.
    :param leeway: by how much the clocks may differ, s.
    """

    key: bytes = field(repr=False)
    algorithm: str
    audience: str
    issuer: str
    leeway: float

    def identify(self, token: str) -> Identity:
        """
        Return who a token is for.

        :raises LoginFailed: it is not valid; the reason holds nothing of the token.
        """
        import jwt
        try:
            claims = jwt.decode(
                token, self.key, algorithms=[self.algorithm], leeway=self.leeway,
                audience=self.audience or None, issuer=self.issuer or None,
                options={'require': ['exp', 'sub']})
            return _identity(claims, self.leeway)
        except jwt.PyJWTError as exc:
            raise LoginFailed(f'the web token is not valid: {type(exc).__name__}') from None
        except (ValueError, TypeError, OverflowError, RecursionError) as exc:
            raise LoginFailed('the web token cannot be read') from exc


def _identity(claims: dict[str, Any], leeway: float) -> Identity:
    name, role = claims['sub'], claims.get('role')
    if not is_name(name) or not (role is None or is_name(role)):
        raise LoginFailed('the web token names no one, or no role')
    return Identity(name, role, 'jwt', float(claims['exp']) + leeway)


def web_tokens(key: bytes, algorithm: str, audience: str, issuer: str,
               leeway: float) -> WebTokens:
    """
    Check key and algorithm against each other.

    :param key: a secret (HS256), or a public key as PEM.
    :raises ConfigError: they do not fit, or the libraries are not installed.
    """
    if algorithm not in JWT_ALGORITHMS:
        raise ConfigError(f'must be one of {", ".join(JWT_ALGORITHMS)}', field='jwt_algorithm')
    try:
        import jwt
    except ImportError:
        raise ConfigError('needs the Python package PyJWT (pip install "pyjwt[crypto]", '
                          'apt install python3-jwt)', field='jwt_key_file') from None
    key = key.strip()
    if algorithm == 'HS256' and (len(key) < MIN_SECRET or _PEM in key):
        raise ConfigError(f'HS256 needs a secret of at least {MIN_SECRET} bytes, no PEM file',
                          field='jwt_key_file')
    try:
        jwt.get_algorithm_by_name(algorithm).prepare_key(key)
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError) as exc:
        raise ConfigError(f'is no key for {algorithm}, or the Python package cryptography is '
                          f'missing ({type(exc).__name__})', field='jwt_key_file') from None
    if algorithm != 'HS256' and b'PRIVATE' in key:
        raise ConfigError('is a private key: the bridge needs the public one only',
                          field='jwt_key_file')
    return WebTokens(key, algorithm, audience, issuer, leeway)
