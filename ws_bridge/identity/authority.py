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
All ways to log in, from the files and the environment; read again when these change.

Secrets come from files and ``WS_BRIDGE_TOKENS``, never from ROS parameters, which every node can
read; they are in no ``repr``, error or log.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping
import hashlib
import hmac
import logging
from typing import Any, TYPE_CHECKING

from ws_bridge.config.roles import BUILT_IN
from ws_bridge.errors import ConfigError, LoginFailed
from ws_bridge.identity.certificate import identity_of
from ws_bridge.identity.files import read_file
from ws_bridge.identity.identity import Identity
from ws_bridge.identity.tokens import Entry, find_token, MAX_LENGTH, parse_tokens
from ws_bridge.identity.webtoken import web_tokens, WebTokens

if TYPE_CHECKING:
    from ws_bridge.config import Settings
    from ws_bridge.identity.signatures import PublicKeys

logger = logging.getLogger(__name__)

TOKENS_VARIABLE = 'WS_BRIDGE_TOKENS'
"""The same lines as the token file's; ``;`` also ends one."""
MAX_FILE_SIZE = 1 << 20
MAX_TIME = 1e12
ROSAUTH_AGE = 5.0
"""How old the request of a rosauth client may be, s, as rosauth has it."""


class Authority:
    """
    Tells who somebody is by what they present.

    :param settings: the parameters that name files.
    :param environment: the process's; only :data:`TOKENS_VARIABLE` is read.
    :param roles: the names of those that there are.
    :raises ConfigError: a file cannot be read, or does not hold what it should.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str],
                 roles: Collection[str] = tuple(BUILT_IN)) -> None:
        self._settings = settings
        self._environment = environment
        self._roles = roles
        self._tokens: tuple[Entry, ...] = ()
        self._web: WebTokens | None = None
        self._keys: PublicKeys | None = None
        self.read()
        self.read_keys()

    def __repr__(self) -> str:
        return f'Authority({len(self._tokens)} tokens, jwt={self._web is not None}, ' \
               f'certificates={self.takes_certificates})'

    def __bool__(self) -> bool:
        """Whether there is any way to log in."""
        return self.takes_tokens or self.takes_certificates

    @property
    def takes_certificates(self) -> bool:
        """Whether a client's certificate says who it is."""
        return bool(self._settings.tls_client_ca)

    @property
    def takes_tokens(self) -> bool:
        """Whether there is another way than a certificate."""
        return bool(self._tokens) or self._web is not None or bool(self._settings.token_file)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that :meth:`read` reads."""
        settings = self._settings
        return tuple(path for path in (settings.token_file, settings.jwt_key_file) if path)

    def read(self) -> None:
        """
        Read the files of logins; nothing is changed when one is wrong.

        :raises ConfigError: one is, or names a role that there is not.
        """
        settings = self._settings
        lines = self._environment.get(TOKENS_VARIABLE, '').replace(';', '\n')
        tokens = parse_tokens(lines, TOKENS_VARIABLE)
        if lines.strip() and not tokens:
            # Without a token it is no way to log in, and then everybody may do everything.
            raise ConfigError('is set and holds no token: unset it, or give one',
                              field=TOKENS_VARIABLE)
        in_file: tuple[Entry, ...] = ()
        if settings.token_file:
            content = read_file(settings.token_file, 'token_file', MAX_FILE_SIZE)
            in_file = parse_tokens(content.decode(errors='replace'), settings.token_file)
        tokens += in_file
        for entry in tokens:
            if entry.role is not None and entry.role not in self._roles:
                raise ConfigError(
                    f'{entry.name} has the role {entry.role!r}, which there is not; known are '
                    f'{", ".join(self._roles)}', field='token_file')
        web = None
        if settings.jwt_key_file:
            # A public key may be known; who changes it is whoever he likes.
            key = read_file(settings.jwt_key_file, 'jwt_key_file', MAX_FILE_SIZE,
                            is_secret=settings.jwt_algorithm.startswith('HS'))
            web = web_tokens(key, settings.jwt_algorithm,
                             settings.jwt_audience, settings.jwt_issuer, settings.jwt_leeway)
        self._tokens, self._web = tokens, web
        if settings.token_file and not in_file:
            logger.warning('token_file: %s holds no token: with one of its lines nobody can log '
                           'in%s', settings.token_file, '' if tokens or web or
                           self.takes_certificates else ', and there is no other way')

    @property
    def key_files(self) -> tuple[str, ...]:
        """The files that :meth:`read_keys` reads."""
        path = self._settings.command_key_file
        return (path,) if path else ()

    def read_keys(self) -> None:
        """
        Read the keys that sign commands; where their file is wrong, there is none.

        A key may have been taken out of it: what was read before must not hold.

        :raises ConfigError: it is wrong.
        """
        self._keys = None
        for path in self.key_files:
            from ws_bridge.identity.signatures import parse_keys  # which few need
            content = read_file(path, 'command_key_file', MAX_FILE_SIZE, is_secret=False)
            self._keys = parse_keys(content.decode(errors='replace'), path)

    def read_keys_again(self) -> None:
        """Do so while peers are connected, who then cannot sign."""
        try:
            self.read_keys()
        except ConfigError as exc:
            logger.error('%s: until it is right, nobody can sign', exc)

    def is_signed(self, name: str, signature: bytes, text: bytes) -> bool:
        """Whether a text has the signature of one of the keys of a name."""
        return self._keys is not None and self._keys.is_signed(name, signature, text)

    def identify(self, token: str) -> Identity:
        """
        Return whose token this is, of either kind.

        :raises LoginFailed: nobody's.
        """
        if not 0 < len(token) <= MAX_LENGTH:
            raise LoginFailed('a token is missing, or too long')
        found = find_token(self._tokens, token)
        if found is not None:
            return found
        if self._web is not None and token.count('.') == 2:
            return self._web.identify(token)
        raise LoginFailed('the token is unknown')

    def identify_certificate(self, certificate: Mapping[str, Any] | None) -> Identity | None:
        """Return whose certificate this is; ``None`` where there is none, or none is wanted."""
        return identity_of(certificate) if self.takes_certificates else None

    def identify_credentials(self, credentials: Mapping[str, Any], now: float) -> Identity:
        """
        Return whose the fields of an ``auth`` operation are: ``token``, or rosauth's.

        :param now: Unix s.
        :raises LoginFailed: nobody's.
        """
        if 'mac' in credentials:
            return self._rosauth(credentials, now)
        token = credentials.get('token')
        if not isinstance(token, str):
            raise LoginFailed('a token is missing')
        return self.identify(token)

    def _rosauth(self, credentials: Mapping[str, Any], now: float) -> Identity:
        """Check ``sha512(secret, client, dest, rand, t, level, end)`` as rosauth does."""
        texts = [credentials.get(key) for key in ('mac', 'client', 'dest', 'rand', 'level')]
        times: list[Any] = [credentials.get(key) for key in ('t', 'end')]
        if any(not isinstance(text, str) or len(text) > MAX_LENGTH for text in texts) or \
                any(type(time) not in (int, float) or not abs(time) < MAX_TIME for time in times):
            raise LoginFailed('mac, client, dest, rand and level are text, t and end numbers')
        mac, client, dest, rand, level = map(str, texts)
        start, end = times
        if not (abs(now - start) <= ROSAUTH_AGE and now <= end):
            raise LoginFailed('the request is too old, or of the future')
        said = f'{client}{dest}{rand}{_plain(start)}{level}{_plain(end)}'.encode(errors='replace')
        found = None
        for entry in self._tokens:
            made = hashlib.sha512(entry.secret + said).hexdigest().encode()
            if hmac.compare_digest(made, mac.lower().encode(errors='replace')) and entry.secret:
                found = entry
        if found is None:
            raise LoginFailed('the mac is wrong')
        return Identity(found.name, found.role, 'token', float(end))


def _plain(number: Any) -> str:
    """Return a number as JavaScript writes it into the text that it hashes."""
    return str(int(number)) if float(number).is_integer() else str(number)
