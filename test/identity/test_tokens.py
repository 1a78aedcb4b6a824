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
"""Static tokens, certificates and the throttle."""
from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ws_bridge.errors import ConfigError
from ws_bridge.identity.certificate import identity_of
from ws_bridge.identity.throttle import ADDRESSES_REMEMBERED, Throttle, WINDOW
from ws_bridge.identity.tokens import digest_of, find_token, parse_tokens

TOKEN = 'correct-horse-battery'
HASHED = hashlib.sha256(b'another-long-token').hexdigest()


def test_lines() -> None:
    entries = parse_tokens(f'# people\n\n alice operator {TOKEN}\npage - sha256:{HASHED}\n', 'f')
    assert [(entry.name, entry.role) for entry in entries] == [('alice', 'operator'),
                                                               ('page', None)]
    alice, page = find_token(entries, TOKEN), find_token(entries, 'another-long-token')
    assert (alice, page) == (find_token(entries[:1], TOKEN), find_token(entries[1:],
                                                                        'another-long-token'))
    assert alice is not None
    assert (alice.name, alice.role, alice.method, alice.expires) == (
        'alice', 'operator', 'token', None)
    assert page is not None
    assert page.role is None


@pytest.mark.parametrize('wrong', ['', TOKEN[:-1], TOKEN + ' ', TOKEN.upper(), f'sha256:{HASHED}',
                                   HASHED, 'é' * 20, '\ud800' * 20])
def test_a_wrong_token_is_nobody_s(wrong: str) -> None:
    entries = parse_tokens(f'alice operator {TOKEN}\npage - sha256:{HASHED}', 'f')
    assert find_token(entries, wrong) is None
    assert len(digest_of(wrong)) == 32


@pytest.mark.parametrize(('text', 'line'), [
    ('alice operator', 1), ('\nalice operator long-secret-token more', 2),
    ('alice operator short', 1), ('alice 1role long-secret-token', 1),
    ('ali\x07ce operator long-secret-token', 1), ('alice - sha256:12ab', 1),
    ('x' * 129 + ' - long-secret-token', 1),
    ('a - long-secret-token\nb - long-secret-token', 2)])
def test_errors_name_the_line_and_no_secret(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_tokens(text, 'tokens')
    assert str(caught.value).startswith(f'tokens:{line}: ')
    for word in text.split():
        assert len(word) < 5 or word not in str(caught.value)


def test_no_secret_in_a_repr() -> None:
    entries = parse_tokens(f'alice operator {TOKEN}', 'f')
    assert TOKEN not in repr(entries)
    assert 'digest' not in repr(entries)


@pytest.mark.parametrize(('certificate', 'name'), [
    (None, None), ({}, None),
    ({'subject': ((('organizationName', 'o'),), (('commonName', 'tablet'),)),
      'subjectAltName': (('DNS', 'other'),)}, 'tablet'),
    ({'subject': ((('commonName', 'bad\n'),),), 'subjectAltName': (('email', 'a@b'),)}, 'a@b'),
    ({'subjectAltName': (('URI', 'spiffe://x'),)}, 'spiffe://x'),
    ({'subject': ((('commonName', ''),),)}, None)])
def test_certificates(certificate: Any, name: str | None) -> None:
    identity = identity_of(certificate)
    assert (identity.name if identity else None) == name
    assert identity is None or (identity.role, identity.method) == (None, 'certificate')


# ---- throttle

def test_too_many_failures_have_to_wait() -> None:
    throttle = Throttle(3)
    for second in range(3):
        assert throttle.wait('a', second) == 0
        throttle.failed('a', second)
    assert throttle.wait('a', 10) == WINDOW - 10
    assert throttle.wait('b', 10) == 0
    assert throttle.wait('a', WINDOW) == 0
    throttle.failed('a', WINDOW)
    assert throttle.wait('a', WINDOW) == 1
    assert 'addresses' in repr(throttle)


def test_the_memory_of_a_throttle_is_bounded() -> None:
    throttle = Throttle(1)
    for number in range(ADDRESSES_REMEMBERED + 10):
        throttle.failed(f'h{number}', 0)
    assert throttle.wait('h0', 0) == 0
    assert throttle.wait(f'h{ADDRESSES_REMEMBERED + 9}', 0) == WINDOW
    assert repr(throttle) == f'Throttle({ADDRESSES_REMEMBERED} addresses)'
