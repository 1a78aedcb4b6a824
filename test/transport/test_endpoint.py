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
"""Endpoints: every form that is one, and those that are none."""
from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.errors import ConfigError
from ws_bridge.transport.endpoint import Endpoint, parse_endpoint


@pytest.mark.parametrize(('text', 'endpoint'), [
    ('ws://robot:9090/path', Endpoint('robot', 9090, '/path', False)),
    ('WS://Robot:9090', Endpoint('robot', 9090, '/', False)),
    ('ws://robot', Endpoint('robot', 80, '/', False)),
    ('wss://robot/a?b=c', Endpoint('robot', 443, '/a?b=c', True)),
    ('wss://[::1]:1', Endpoint('::1', 1, '/', True)),
    ('robot:9090', Endpoint('robot', 9090)),
    ('robot', Endpoint('robot', 8080)),
    ('127.0.0.1:0', Endpoint('127.0.0.1', 0)),
    ('my_host.local', Endpoint('my_host.local', 8080)),
    ('[::1]:9', Endpoint('::1', 9)),
    ('[::1]', Endpoint('::1', 8080)),
    ('robot:9/x', Endpoint('robot', 9, '/x'))])
def test_forms(text: str, endpoint: Endpoint) -> None:
    """As the seed lists them."""
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize('text', [
    '', ' robot', 'robot ', ':80', 'ws://', 'ws://:80', 'http://robot', 'ftp://x', 'robot:', 'a:b',
    'robot:-1', 'robot:65536', '::1', '::1:80', 'ws://user@robot', 'ws://user:secret@robot',
    'ws://robot/#part', 'ro bot', 'röbot', '[::1', '[zz]:1', '[1.2.3.4]:1', '[::1%]', '[1:2]:3',
    'robot:99999999999', None, 5])
def test_what_is_no_endpoint(text: Any) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(text)
    assert caught.value.field == 'endpoint'


ALIKE = st.from_regex(r'(wss?://)?[\[\]:a-z0-9./?#@%]{0,20}', fullmatch=True)


@given(st.text(max_size=30) | ALIKE)
def test_any_text_is_an_endpoint_or_a_config_error(text: str) -> None:
    """And what is one can be written and read again."""
    try:
        endpoint = parse_endpoint(text)
    except ConfigError:
        return
    again = parse_endpoint(endpoint.url(secure=bool(endpoint.secure)))
    assert (again.host, again.port, again.path) == (endpoint.host, endpoint.port, endpoint.path)
