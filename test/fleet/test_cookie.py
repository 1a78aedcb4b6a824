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
"""The login of a page."""
from __future__ import annotations

import pytest

from ws_bridge.fleet.cookie import COOKIE, cookie_of, with_cookie
from ws_bridge.transport.options import Visitor

TOKEN = 'a;token,"with" everything='


def visitor(**headers: str) -> Visitor:
    """Return who asks with these headers."""
    return Visitor('127.0.0.1', '/', headers)


def test_a_token_comes_back_as_it_was() -> None:
    kept = cookie_of(TOKEN, is_secure=False)
    assert 'HttpOnly' in kept
    assert 'SameSite=Strict' in kept
    assert 'Secure' not in kept
    assert 'Secure' in cookie_of(TOKEN, is_secure=True)
    sent = f'other=1; {kept.partition(";")[0]}; more=2'
    assert with_cookie(visitor(cookie=sent)).headers['authorization'] == f'Bearer {TOKEN}'


def test_an_empty_one_is_forgotten() -> None:
    assert 'Max-Age=0' in cookie_of('', is_secure=False)


@pytest.mark.parametrize('value', ['=', '%%', 'a', '_w'])
def test_what_cannot_be_read_is_a_wrong_token(value: str) -> None:
    assert with_cookie(visitor(cookie=f'{COOKIE}={value}')).headers['authorization'] == 'Bearer '


def test_another_login_counts_for_more() -> None:
    asked = visitor(authorization='Bearer x', cookie=f'{COOKIE}=eA')
    assert with_cookie(asked) is asked
    assert with_cookie(visitor()).headers == {}
