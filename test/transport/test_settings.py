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
"""Every wrong value of every field is rejected, and the error names the field."""
from __future__ import annotations

from dataclasses import replace
import math
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Pair

from ws_bridge.errors import ConfigError
from ws_bridge.interface.client import WebSocketClient
from ws_bridge.interface.interface import WebSocketInterface
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.types import InterfaceConfig, SecurityLevel
from ws_bridge.transport.options import ClientOptions, ServerOptions
from ws_bridge.transport.settings import check_config, is_server_mode

TOKEN = {'auth_token': 'secret'}
NOT_FLAGS = [0, 1, 'yes', None]
NOT_SIZES = [0, -1, 1.5, '64', True, None, 2**31]
NOT_DURATIONS = [0, -1, math.nan, math.inf, '1', True, None]

WRONG: list[tuple[str, list[Any]]] = [
    ('name', ['', None, 5]),
    ('interface_type', ['can', 'TCP', None, 5]),
    ('description', [None, 5]),
    ('endpoint', ['', 'http://x', 'x:y', None]),
    ('timeout', NOT_DURATIONS),
    ('retry_attempts', [-1, 1.5, '3', True, None]),
    ('retry_delay', NOT_DURATIONS),
    ('keep_alive', NOT_FLAGS),
    ('send_buffer_size', NOT_SIZES),
    ('receive_buffer_size', NOT_SIZES),
    ('max_message_size', NOT_SIZES),
    ('security_level', ['high', None, 3]),
    ('serialization', ['pickle', 'msgpack', 'JSON', None]),
    ('compression', [0, 1, 'yes', 'gzip', '']),
    ('encoding', ['latin-1', 'utf-16', None]),
    ('message_ordering', NOT_FLAGS),
    ('duplicate_detection', NOT_FLAGS),
    ('delivery_confirmation', NOT_FLAGS),
    ('enable_metrics', NOT_FLAGS),
    ('enable_logging', NOT_FLAGS),
    ('log_level', ['LOUD', '', None, 10]),
]


@pytest.mark.parametrize('is_server', [False, True])
@pytest.mark.parametrize(('field', 'value'),
                         [(field, value) for field, values in WRONG for value in values])
def test_wrong_values(field: str, value: Any, is_server: bool) -> None:
    """Rejected by name, in both modes."""
    config = replace(InterfaceConfig(), **{field: value})
    with pytest.raises(ConfigError) as caught:
        check_config(config, is_server=is_server)
    assert caught.value.field == field


@pytest.mark.parametrize(('key', 'value'), [
    ('heartbeat_interval', -1), ('heartbeat_interval', '30'), ('heartbeat_timeout', 5),
    ('heartbeat_timeout', math.nan), ('mode', 'both'), ('mode', 5), ('is_server', 'yes'),
    ('heartbeat_intervall', 1.0), ('heartbeat_time_out', 1.0)])
def test_wrong_custom_settings(key: str, value: Any) -> None:
    """Those that are read are checked as well."""
    with pytest.raises(ConfigError) as caught:
        WebSocketInterface(InterfaceConfig(custom_settings={key: value}))
    assert caught.value.field == f'custom_settings.{key}'


@pytest.mark.parametrize(('settings', 'is_server'), [
    ({}, False), ({'mode': 'server'}, True), ({'mode': 'client'}, False),
    ({'is_server': True}, True), ({'is_server': False}, False),
    ({'mode': 'server', 'is_server': True}, True), ({'something': 'of the program'}, False)])
def test_mode_of_a_plain_interface(settings: dict[str, Any], is_server: bool) -> None:
    """A client, unless it is told otherwise."""
    assert is_server_mode(InterfaceConfig(custom_settings=settings)) is is_server


def test_a_mode_that_contradicts_itself() -> None:
    """Two keys for one thing must agree."""
    with pytest.raises(ConfigError, match='contradicts'):
        is_server_mode(InterfaceConfig(custom_settings={'mode': 'client', 'is_server': True}))


def test_a_client_needs_a_port() -> None:
    """Port 0 is for servers."""
    config = InterfaceConfig(endpoint='robot:0')
    check_config(config, is_server=True)
    with pytest.raises(ConfigError, match=r'endpoint.*needs a port'):
        check_config(config, is_server=False)


def test_options_belong_to_a_mode() -> None:
    """Those of the other one are refused."""
    with pytest.raises(ConfigError, match='a client cannot have ServerOptions'):
        WebSocketInterface(InterfaceConfig(), options=ServerOptions())
    with pytest.raises(ConfigError, match='a server cannot have ClientOptions'):
        WebSocketInterface(InterfaceConfig(custom_settings={'mode': 'server'}),
                           options=ClientOptions())


@pytest.mark.parametrize(('level', 'is_server', 'more', 'field'), [
    ('none', False, TOKEN, 'auth_token'),
    ('none', True, TOKEN, 'auth_token'),
    ('none', True, {'ssl_cert_path': 'x'}, 'ssl_cert_path'),
    ('none', False, {'ssl_key_path': 'x'}, 'ssl_key_path'),
    ('none', True, {'endpoint': 'wss://x:1'}, 'security_level'),
    ('basic', True, {}, 'auth_token'),
    ('basic', True, {**TOKEN, 'ssl_cert_path': 'x'}, 'ssl_cert_path'),
    ('basic', False, {'auth_token': ''}, 'auth_token'),
    ('basic', False, {'auth_token': 'two words'}, 'auth_token'),
    ('basic', False, {'auth_token': 'new\nline'}, 'auth_token'),
    ('basic', False, {'auth_token': 'sécret'}, 'auth_token'),
    ('basic', False, {'auth_token': 5}, 'auth_token'),
    ('encrypted', False, TOKEN, 'auth_token'),
    ('encrypted', False, {'endpoint': 'ws://x:1'}, 'endpoint'),
    ('encrypted', False, {'ssl_cert_path': 'x'}, 'ssl_cert_path'),
    ('encrypted', True, {}, 'ssl_cert_path'),
    ('encrypted', True, {'ssl_cert_path': 'x'}, 'ssl_key_path'),
    ('encrypted', True, {'ssl_cert_path': '/no/file', 'ssl_key_path': 'x'}, 'ssl_cert_path'),
    ('authenticated', False, {}, 'auth_token'),
    ('authenticated', True, TOKEN, 'ssl_cert_path'),
    ('mutual_tls', False, {}, 'ssl_cert_path'),
    ('mutual_tls', True, {'ssl_cert_path': 'x', 'ssl_key_path': 'x'},
     'custom_settings.ssl_ca_path'),
    ('encrypted', False, {'custom_settings': {'ssl_ca_path': '/no/file'}},
     'custom_settings.ssl_ca_path')])
def test_security_level_must_agree(level: str, is_server: bool, more: dict[str, Any],
                                   field: str) -> None:
    """With scheme, paths and token: nothing is silently left out."""
    config = replace(InterfaceConfig(security_level=SecurityLevel(level)), **more)
    with pytest.raises(ConfigError) as caught:
        check_config(config, is_server=is_server)
    assert caught.value.field == field


def test_files_that_are_no_certificates(tmp_path: Path, certificates: dict[str, Pair]) -> None:
    """They are named; no password is asked for."""
    junk = tmp_path / 'junk.pem'
    junk.write_text('junk')
    server, client = certificates['server'], certificates['client']
    for cert, key in ((str(junk), server.key), (server.cert, str(junk)),
                      (server.cert, client.key)):
        with pytest.raises(ConfigError, match='not a certificate and its'):
            WebSocketServer(InterfaceConfig(security_level=SecurityLevel.ENCRYPTED,
                                            ssl_cert_path=cert, ssl_key_path=key))
    with pytest.raises(ConfigError, match='holds no certificates'):
        WebSocketClient(InterfaceConfig(security_level=SecurityLevel.ENCRYPTED,
                                        custom_settings={'ssl_ca_path': str(junk)}))


def test_the_seed_may_say_security_by_value() -> None:
    """An enum member and its text are the same."""
    loose: Any = 'basic'
    config = InterfaceConfig(security_level=loose, auth_token='t')
    assert check_config(config, is_server=False).token == 't'


def test_no_secret_in_a_repr() -> None:
    """Neither of the configuration nor of what is made of it."""
    config = InterfaceConfig(security_level=SecurityLevel.BASIC, auth_token='s3cret')
    assert 's3cret' not in repr(check_config(config, is_server=True))
    assert 's3cret' not in repr(WebSocketServer(config))
