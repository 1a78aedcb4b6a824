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
"""All ways to log in: files, environment, JSON web tokens, rosauth; what is wrong with them."""
from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
import sys
import time
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
import jwt
import pytest

from ws_bridge.config import settings_from
from ws_bridge.errors import ConfigError, LoginFailed
from ws_bridge.identity.authority import Authority, MAX_FILE_SIZE
from ws_bridge.identity.webtoken import web_tokens

SECRET = 'a-secret-of-at-least-thirty-two-bytes'
TOKEN = 'correct-horse-battery'
NOW = 1e9

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


def private(key: Any) -> bytes:
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                   serialization.NoEncryption())
    return pem


def claims(**more: Any) -> dict[str, Any]:
    made = {'sub': 'alice', 'exp': time.time() + 60, 'role': 'operator', **more}
    return {key: value for key, value in made.items() if value is not None}


def authority(folder: Path, *, tokens: str = '', key: bytes = b'', environment: str = '',
              **parameters: Any) -> Authority:
    """Return an authority with these files."""
    for name, content in (('token_file', tokens.encode()), ('jwt_key_file', key)):
        if content:
            path = folder / name
            path.write_bytes(content)
            parameters[name] = str(path)
    return Authority(settings_from(parameters), {'WS_BRIDGE_TOKENS': environment})


def test_nobody_can_log_in_by_default(tmp_path: Path) -> None:
    nobody = authority(tmp_path)
    assert not nobody
    assert not nobody.takes_tokens
    assert nobody.files == ()
    assert nobody.identify_certificate({'subject': ((('commonName', 'a'),),)}) is None
    with pytest.raises(LoginFailed):
        nobody.identify('x')


def test_file_and_environment(tmp_path: Path) -> None:
    both = authority(tmp_path, tokens=f'alice operator {TOKEN}\n',
                     environment='bob - another-long-token;carol safety yet-another-token')
    assert both
    assert both.takes_tokens
    assert [both.identify(token).name for token in (
        TOKEN, 'another-long-token', 'yet-another-token')] == ['alice', 'bob', 'carol']
    assert [both.identify(token).role for token in (
        TOKEN, 'another-long-token', 'yet-another-token')] == ['operator', None, 'safety']
    assert TOKEN not in repr(both)
    assert '3 tokens' in repr(both)


@pytest.mark.parametrize('tokens', ['# none\n', '\n', '# alice operator ' + TOKEN])
def test_a_token_file_without_a_token_lets_nobody_in_and_says_so(
        tmp_path: Path, tokens: str, caplog: pytest.LogCaptureFixture) -> None:
    one = authority(tmp_path, tokens=tokens)
    assert one
    assert 'holds no token: with one of its lines nobody can log in, and there is no other way' \
        in caplog.text
    Path(one.files[0]).write_text(f'alice operator {TOKEN}\n')
    caplog.clear()
    one.read()
    assert not caplog.records
    Path(one.files[0]).write_text('')
    one.read()
    assert 'holds no token' in caplog.text


def test_a_token_file_without_a_token_beside_another_way(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority(tmp_path, tokens='#', environment='bob - another-long-token')
    assert 'nobody can log in' in caplog.text
    assert 'no other way' not in caplog.text


def test_a_variable_without_a_token_is_an_error(tmp_path: Path) -> None:
    """Without a way to log in everybody would be an admin."""
    with pytest.raises(ConfigError, match='WS_BRIDGE_TOKENS: is set and holds no token'):
        authority(tmp_path, environment='# alice operator later')
    assert not authority(tmp_path, environment=' ; ')


def test_files_are_read_again_all_or_nothing(tmp_path: Path) -> None:
    one = authority(tmp_path, tokens=f'alice operator {TOKEN}\n', key=SECRET.encode(),
                    jwt_algorithm='HS256')
    (file, key) = one.files
    Path(file).write_text('bob operator another-long-token\n')
    one.read()
    assert one.identify('another-long-token').name == 'bob'
    with pytest.raises(LoginFailed):
        one.identify(TOKEN)
    Path(file).write_text('carol king yet-another-token\n')
    with pytest.raises(ConfigError, match="token_file: carol has the role 'king'"):
        one.read()
    assert one.identify('another-long-token').name == 'bob'
    Path(file).write_text('carol operator yet-another-token\n')
    Path(key).write_text('short')
    with pytest.raises(ConfigError, match='jwt_key_file'):
        one.read()
    assert one.identify('another-long-token').name == 'bob'


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='No such file'):
        Authority(settings_from({'token_file': str(tmp_path / 'none')}), {})
    big = tmp_path / 'big'
    big.write_bytes(b'#' * (MAX_FILE_SIZE + 1))
    with pytest.raises(ConfigError, match='larger than'):
        Authority(settings_from({'token_file': str(big)}), {})


# ---- JSON web tokens

@pytest.mark.parametrize(('algorithm', 'key', 'signing'), [
    ('HS256', SECRET.encode(), SECRET), ('RS256', public(RSA_KEY), private(RSA_KEY)),
    ('ES256', public(EC_KEY), private(EC_KEY))])
def test_web_tokens(tmp_path: Path, algorithm: str, key: bytes, signing: Any) -> None:
    one = authority(tmp_path, key=key, jwt_algorithm=algorithm, jwt_leeway=3.0)
    made = claims()
    identity = one.identify(jwt.encode(made, signing, algorithm=algorithm))
    assert (identity.name, identity.role, identity.method) == ('alice', 'operator', 'jwt')
    assert identity.expires == pytest.approx(made['exp'] + 3.0, abs=1.0)
    assert one.identify(jwt.encode(claims(role=None), signing, algorithm=algorithm)).role is None


def forged(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b'') -> str:
    """Return a token that no library would make."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return '.'.join(base64.urlsafe_b64encode(part).rstrip(b'=').decode() for part in parts)


def with_foreign_key() -> str:
    return jwt.encode(claims(), private(rsa.generate_private_key(
        public_exponent=65537, key_size=2048)), algorithm='RS256')


def signed_with_the_public_key() -> str:
    """Return what fools who lets the token choose: HS256 with the RSA key as the secret."""
    import hmac
    head = forged({'alg': 'HS256', 'typ': 'JWT'}, claims()).rpartition('.')[0]
    mac = hmac.new(public(RSA_KEY), head.encode(), hashlib.sha256).digest()
    return f'{head}.{base64.urlsafe_b64encode(mac).rstrip(b"=").decode()}'


def changed() -> str:
    """Return a good token whose role was raised afterwards."""
    head, _, signature = jwt.encode(claims(), private(RSA_KEY), algorithm='RS256').split('.')
    return f'{head}.{forged({}, claims(role="admin")).split(".")[1]}.{signature}'


def signed(**more: Any) -> str:
    return jwt.encode(claims(**more), private(RSA_KEY), algorithm='RS256')


@pytest.mark.parametrize('make', [
    lambda: signed(exp=time.time() - 60), lambda: signed(exp=time.time() - 2.5),
    lambda: signed(exp=10 ** 400), lambda: signed(exp='later'),
    lambda: signed(exp=None), lambda: signed(sub=None),
    lambda: signed(sub=''), lambda: signed(sub='a\nb'), lambda: signed(role=7),
    lambda: signed(aud='other'), lambda: signed(nbf=time.time() + 60),
    lambda: signed(iss='other'), lambda: signed(aud=None),
    lambda: signed(iss=None), with_foreign_key, signed_with_the_public_key, changed,
    lambda: forged({'alg': 'none'}, claims()), lambda: forged({'alg': 'None'}, claims()),
    lambda: forged({'alg': ''}, claims()), lambda: forged({}, claims()),
    lambda: signed()[:-4] + 'AAAA', lambda: signed().rpartition('.')[0] + '.',
    lambda: '..', lambda: 'a.b.c', lambda: forged({'alg': 'RS256', 'crit': ['x']}, claims()),
    lambda: forged({'alg': 'RS256', 'kid': '../../../dev/null'}, claims()),
    lambda: forged({'alg': 'RS256'}, {'sub': 'a', 'exp': 10 ** 400}),
    lambda: 'x' * 5000, lambda: '', lambda: '[' * 1000 + '..',
    lambda: base64.urlsafe_b64encode(b'[' * 2000).decode() + '..'])
def test_web_tokens_that_are_refused(tmp_path: Path, make: Any) -> None:
    one = authority(tmp_path, key=public(RSA_KEY), jwt_algorithm='RS256', jwt_leeway=1.0,
                    jwt_audience='robot', jwt_issuer='me')
    token = make()
    with pytest.raises(LoginFailed) as caught:
        one.identify(token)
    assert not any(len(part) > 8 and part in caught.value.message for part in token.split('.'))
    assert one.identify(signed(aud=['x', 'robot'], iss='me')).name == 'alice'


def test_a_token_of_another_audience_is_refused_where_none_is_known(tmp_path: Path) -> None:
    one = authority(tmp_path, key=public(RSA_KEY), jwt_algorithm='RS256')
    with pytest.raises(LoginFailed):
        one.identify(signed(aud='robot'))


@pytest.mark.parametrize(('algorithm', 'key', 'message'), [
    ('none', SECRET.encode(), 'must be one of'), ('HS512', SECRET.encode(), 'must be one of'),
    ('HS256', b'short', 'at least 32'), ('HS256', public(RSA_KEY), 'no PEM'),
    ('RS256', SECRET.encode(), 'no key for RS256'), ('RS256', b'', 'no key for RS256'),
    ('ES256', public(RSA_KEY), 'no key for ES256'), ('RS256', private(RSA_KEY), 'private key')])
def test_keys_that_do_not_fit(algorithm: str, key: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        web_tokens(key, algorithm, '', '', 0.0)
    assert SECRET not in str(caught.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'jwt', None)
    with pytest.raises(ConfigError, match='python3-jwt'):
        web_tokens(SECRET.encode(), 'HS256', '', '', 0.0)


def test_no_key_in_a_repr() -> None:
    assert SECRET not in repr(web_tokens(SECRET.encode(), 'HS256', '', '', 0.0))


# ---- the auth operation

def rosauth(secret: str = TOKEN, **changes: Any) -> dict[str, Any]:
    """Return the fields that roslibjs' ``authenticate`` sends."""
    made: dict[str, Any] = {'client': '10.0.0.1', 'dest': '10.0.0.2', 'rand': 'r', 't': int(NOW),
                            'level': 'admin', 'end': int(NOW) + 100, **changes}
    text = secret + ''.join(str(made[key]) for key in ('client', 'dest', 'rand', 't', 'level',
                                                       'end'))
    return {'mac': hashlib.sha512(text.encode()).hexdigest(), **made}


def test_credentials(tmp_path: Path) -> None:
    one = authority(tmp_path, tokens=f'alice operator {TOKEN}\n')
    assert one.identify_credentials({'token': TOKEN}, NOW).name == 'alice'
    identity = one.identify_credentials(rosauth(), NOW)
    assert (identity.name, identity.role, identity.expires) == ('alice', 'operator', NOW + 100)
    upper = rosauth()
    upper['mac'] = upper['mac'].upper()
    assert one.identify_credentials(upper, NOW)
    assert one.identify_credentials(rosauth(t=NOW + 0.5), NOW)


@pytest.mark.parametrize('credentials', [
    {}, {'token': 7}, {'token': ''}, {'token': None}, {'mac': 'x'},
    {**rosauth(), 'mac': '0' * 128},
    rosauth('wrong-secret-token'), rosauth(''), {**rosauth(), 'client': 'other'},
    {**rosauth(), 't': 'now'}, {**rosauth(), 't': True}, {**rosauth(), 't': 10 ** 400},
    {**rosauth(), 'end': float('nan')}, {**rosauth(), 'level': None}, rosauth(t=int(NOW) - 6),
    rosauth(t=int(NOW) + 6), rosauth(end=int(NOW) - 1), {**rosauth(), 'mac': '\ud800'},
    {**rosauth(), 'rand': 'x' * 5000}])
def test_credentials_that_are_refused(tmp_path: Path, credentials: dict[str, Any]) -> None:
    hashed = hashlib.sha256(b'another-long-token').hexdigest()
    one = authority(tmp_path, tokens=f'alice operator {TOKEN}\nbob - sha256:{hashed}')
    with pytest.raises(LoginFailed) as caught:
        one.identify_credentials(credentials, NOW)
    assert TOKEN not in str(caught.value)
