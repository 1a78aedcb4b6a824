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
The login of a page: a token in a cookie, for a browser can give a WebSocket no header.

The page of a robot is the same as on the robot itself, and knows nothing of relays. No other
site's page is sent with the cookie (``SameSite``), and no script reads it (``HttpOnly``).
"""
from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from ws_bridge.transport.options import Visitor

COOKIE = 'ws_bridge_relay'
LIFETIME = 86_400
"""s."""


def with_cookie(visitor: Visitor) -> Visitor:
    """Return a visitor who presents the token of his cookie, unless he presents another one."""
    if 'authorization' in visitor.headers:
        return visitor
    for each in visitor.headers.get('cookie', '').split(';'):
        name, _, value = each.strip().partition('=')
        if name == COOKIE:
            return replace(visitor, headers={
                **visitor.headers, 'authorization': f'Bearer {_decode(value)}'})
    return visitor


def cookie_of(token: str, *, is_secure: bool) -> str:
    """
    Return the header that has a browser keep a token; an empty one is forgotten.

    :param is_secure: it came by TLS, and is to go by nothing else.
    """
    value = base64.urlsafe_b64encode(token.encode(errors='surrogatepass')).decode().rstrip('=')
    return f'{COOKIE}={value}; Path=/; Max-Age={LIFETIME if token else 0}; HttpOnly; ' \
           f'SameSite=Strict{"; Secure" if is_secure else ""}'


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value + '=' * (-len(value) % 4), altchars=b'-_',
                                validate=True).decode()
    except (binascii.Error, ValueError):
        return ''
