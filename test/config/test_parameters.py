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
"""Parameters: one table, checked values."""
from __future__ import annotations

from array import array
from dataclasses import fields
from pathlib import Path
import platform
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.config import forms, PARAMETERS, ParameterSpec, Settings, settings_from
from ws_bridge.config import parameters as module
from ws_bridge.errors import ConfigError

SOURCE = Path(module.__file__).read_text()
SPECS = {spec.name: spec for spec in PARAMETERS}
NUMBERS = [spec for spec in PARAMETERS if spec.kind in ('integer', 'double')]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children), max_leaves=5)


def test_defaults_are_valid() -> None:
    settings = settings_from({})
    assert settings.robot_name == platform.node()
    assert {name: getattr(settings, name) for name in SPECS if name != 'robot_name'} == \
        {spec.name: spec.default for spec in PARAMETERS if spec.name != 'robot_name'}


@pytest.mark.parametrize('name', SPECS)
def test_a_parameter_is_declared_once(name: str) -> None:
    declarations = re.findall(
        rf"^ +(?:{name}: [\w\[\], .]+(?:$| = parameter\()|ParameterSpec\('{name}')", SOURCE,
        re.MULTILINE)
    assert len(declarations) == 1


def test_the_table_is_that_of_the_settings() -> None:
    assert [field.name for field in fields(Settings)] == [spec.name for spec in PARAMETERS]
    kinds = {'bool': 'bool', 'int': 'integer', 'float': 'double', 'str': 'string',
             'tuple[str, ...]': 'string_array'}
    assert [kinds[str(field.type)] for field in fields(Settings)] == \
        [spec.kind for spec in PARAMETERS], 'a default of another kind than its annotation'


def test_defaults_listen_to_this_machine_only() -> None:
    assert settings_from({}).address == '127.0.0.1'
    assert settings_from({}).origins == ()


@pytest.mark.parametrize('spec', PARAMETERS, ids=lambda spec: spec.name)
def test_description(spec: ParameterSpec) -> None:
    assert spec.description.endswith('.')
    assert spec.kind in ('integer', 'double') or spec.range_text() == ''


@pytest.mark.parametrize('spec', NUMBERS, ids=lambda spec: spec.name)
def test_range_is_closed(spec: ParameterSpec) -> None:
    assert spec.minimum is not None
    assert spec.maximum is not None
    cast = type(spec.default)
    for value in (cast(spec.minimum), cast(spec.maximum)):       # type: ignore[arg-type]
        assert spec.check(value) == value
    for value in (cast(spec.minimum - 1), cast(spec.maximum + 1)):   # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=spec.name):
            spec.check(value)


@pytest.mark.parametrize('spec', PARAMETERS, ids=lambda spec: spec.name)
def test_another_kind_is_refused(spec: ParameterSpec) -> None:
    wrong: dict[str, list[Any]] = {
        'bool': [1, 'true', 1.0], 'integer': [True, '1', 1.0, [1]],
        'double': [True, '1', float('nan'), float('inf'), 10 ** 400, b'1'],
        'string': [1, ['a'], b'a'], 'string_array': ['a', [1], [None], {}]}
    for value in wrong[spec.kind]:
        with pytest.raises(ConfigError) as caught:
            spec.check(value)
        assert caught.value.field == spec.name


@pytest.mark.parametrize(('name', 'value', 'said'), [
    ('robot_name', False, """a bool .* -p robot_name:='"off"', or robot_name: "off" in a"""),
    ('robot_name', 1, """a number .* -p robot_name:='"1"', or robot_name: "1" in a file"""),
    ('record', True, 'must be a string, is True; YAML'),
    ('record', 0, 'must be a string, is 0; YAML'),
    ('origins', [True, False], """a bool .* -p origins:='\\["on", "off"\\]'"""),
    ('origins', array('q', [1]), """a number .* origins: \\["1"\\] in a file""")])
def test_what_yaml_made_of_a_text_is_told(name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SPECS[name].check(value)


def test_off_needs_no_quotes_where_it_can_mean_only_that() -> None:
    assert SPECS['record'].check(False) == 'off'
    with pytest.raises(ConfigError, match='YAML'):
        ParameterSpec('p', 'a', '', form=forms.OneOf('a', 'off', 'no')).check(False)


def test_integer_is_taken_for_a_double() -> None:
    value = SPECS['max_message_rate'].check(100)
    assert value == 100.0
    assert isinstance(value, float)


@pytest.mark.parametrize(('spec', 'text'), [
    (ParameterSpec('p', 1, '', 0, 3), '0 to 3'), (ParameterSpec('p', 1, '', 0), 'at least 0'),
    (ParameterSpec('p', 1, '', maximum=3), 'at most 3'), (ParameterSpec('p', 1, ''), '')])
def test_range_text(spec: ParameterSpec, text: str) -> None:
    assert spec.range_text() == text


def test_string_arrays_as_rclpy_gives_them() -> None:
    assert SPECS['connect'].ros_default == ['']
    assert ParameterSpec('p', ('a',), '').ros_default == ['a']
    assert SPECS['port'].ros_default == 9090
    assert settings_from({'connect': [''], 'origins': None}) == settings_from({})


def test_limits_are_those_of_the_settings() -> None:
    settings = settings_from({'max_calls': 3, 'max_message_rate': 7})
    assert settings.limits.calls == 3
    assert settings.limits.message_rate == 7.0
    assert settings.limits.message_size == settings.max_message_size
    assert settings.limits.subscriptions == settings.max_subscriptions
    assert settings.limits.advertisements == settings.max_advertisements
    assert settings.limits.services == settings.max_services


@pytest.mark.parametrize(('values', 'name', 'message'), [
    ({'adress': ''}, 'adress', "did you mean 'address'"),
    ({'zzz': 1}, 'zzz', 'no such parameter$'),
    ({'robot_name': 'x' * 65}, 'robot_name', '64'),
    ({'robot_name': 'a\nb'}, 'robot_name', 'printable'),
    ({'heartbeat_interval': 5.0}, 'heartbeat_timeout', 'longer than heartbeat_interval'),
    ({'max_queue_bytes': 5000}, 'max_queue_bytes', 'max_message_size'),
    ({'tls_key': 'key.pem'}, 'tls_key', 'tls_certificate'),
    ({'port': 8765, 'foxglove_port': 8765}, 'foxglove_port', 'is port already'),
    ({'origins': ['https://a/']}, 'origins', 'no origin'),
    ({'origins': ['robot.local']}, 'origins', 'no origin'),
    ({'connect': ['http://a']}, 'connect', 'no endpoint'),
    ({'connect': ['ws://a:99999']}, 'connect', 'no endpoint'),
    ({'connect': ['a b']}, 'connect', 'no endpoint'),
])
def test_wrong_values_name_the_parameter(values: dict[str, Any], name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        settings_from(values)
    assert caught.value.field == name


PATHS = [' /etc/x', '/etc/x ', '/etc/\0', 'a\nb', ' ']
NAMES = ['a b', '/a-b', '/a?', ' ', '/a\0', '/ü', 'a:b']
HOSTS = ['http://x', 'a b', 'a:80', '*', 'a/b', '[a]', '-a', 'a..b', '999.1.1.1', '1.2.3', ' ',
         'ü.example', 'a' * 254, '10.0.0.0/8', '[::1', '0x7f000001']
ENDPOINTS = ['http://a', 'ws://a:99999', 'ws://a:0', 'a b', 'ws://', 'ws://u:p@a', 'ws://a?b',
             'ws://-a', 'ws://[::1', 'ws://[a]', ' ', 'WS://a', 'ws://1.2.3']
NONSENSE: dict[str, list[str]] = {
    'address': ['', *HOSTS],
    'robot_name': ['x' * 65, 'a\nb', '\0'],
    'connect': ENDPOINTS, 'fleet': ENDPOINTS,
    'origins': ['https://a/', 'robot.local', 'https://a b', 'https://a:b', 'https://a:0',
                'https://', 'https://a:70000', 'https://*', 'NULL', '**', ' ', 'https://u@a',
                'file:///x'],
    'hosts': HOSTS,
    'asset_uri_allowlist': ['(', '[a', '*', '(?P<a>'],
    'record_secrets': ['(', '[a', '*', '(?P<a>'],
    'trusted_proxies': ['a', '10.0.0.0/33', '10.0.0', ' ', '*', 'http://10.0.0.1', '::1/200'],
    'push': NAMES, 'pull': NAMES, 'estop_service': NAMES,
    'jwt_algorithm': ['none', '', 'hs256', 'HS256,RS256', ' '],
    'pages': ['a\nb', '\0'],
    'jwt_audience': ['a\nb', '\0'], 'jwt_issuer': ['a\nb', '\0'],
    'anonymous_role': ['a b', ' ', 'a\0'], 'connect_role': ['', 'a b', ' ', 'a\0'],
    'relay_role': ['', 'a b', ' ', 'a\0'], 'record': ['', 'on', 'Ring', ' '],
    'gated_types': ['geometry_msgs/msg/twist', 'geometry_msgs', 'x y', ' ', 'Twist', '/Twist',
                    'geometry_msgs/srv/Twist', 'geometry_msgs/msg/Twist/', 'a/b/c/D', 'a.msg.B',
                    'geometry_msgs/msg /Twist', '1a/B', '*', 'geometry_msgs/*'],
    'estop_at_start': ['', 'on', 'Armed', ' '],
    **dict.fromkeys(('mapping_file', 'tls_certificate', 'tls_key', 'tls_client_ca', 'token_file',
                     'jwt_key_file', 'command_key_file', 'connect_token_file', 'audit_file',
                     'fleet_token_file',
                     'record_folder', 'record_key'), PATHS),
}
"""Texts that a parameter cannot have; what only a node or a file can tell: test_start.py."""


def test_every_text_has_a_form() -> None:
    assert set(NONSENSE) == {spec.name for spec in PARAMETERS
                             if spec.kind in ('string', 'string_array')}
    assert all(SPECS[name].form is not None for name in NONSENSE)


@pytest.mark.parametrize(('name', 'text'), [
    (name, text) for name, texts in NONSENSE.items() for text in texts])
def test_nonsense_is_refused_in_one_line(name: str, text: str) -> None:
    value = text if SPECS[name].kind == 'string' else [text]
    with pytest.raises(ConfigError) as caught:
        settings_from({'tls_certificate': 'c.pem', name: value})
    assert caught.value.field == name
    assert str(caught.value).startswith(f'{name}: {text!r} is '[:200])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(('name', 'given', 'used'), [
    ('address', ' 127.0.0.1 ', '127.0.0.1'), ('address', '[::1]', '::1'), ('address', '::', '::'),
    ('address', 'localhost', 'localhost'), ('address', 'robot-1.local', 'robot-1.local'),
    ('address', 'fe80::1%eth0', 'fe80::1%eth0'),
    ('hosts', ['robot.example', '[::1]'], ('robot.example', '::1')),
    ('origins', [' https://a '], ('https://a',)), ('origins', ['file://'], ('file://',)),
    ('trusted_proxies', ['10.0.0.1', '10.0.0.0/8', 'fd00::/8'],
     ('10.0.0.1', '10.0.0.0/8', 'fd00::/8')),
    ('push', ['/a ', 'a', '~/b', '/{node}/c'], ('/a', 'a', '~/b', '/{node}/c')),
    ('jwt_algorithm', 'HS256 ', 'HS256'), ('robot_name', ' r2 ', 'r2'),
    ('gated_types', ['geometry_msgs/Twist', ' geometry_msgs/msg/Twist ', 'sensor_msgs/msg/Joy'],
     ('geometry_msgs/msg/Twist', 'sensor_msgs/msg/Joy')),
    ('gated_types', ['', 'a/B'], ('a/msg/B',)), ('gated_types', [''], ())])
def test_texts_in_their_usual_form(name: str, given: Any, used: Any) -> None:
    assert getattr(settings_from({name: given}), name) == used


def test_the_own_name_of_a_machine_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, 'node', lambda: 'x' * 70)
    assert settings_from({}).robot_name == 'x' * 64
    monkeypatch.setattr(platform, 'node', lambda: '')
    assert settings_from({}).robot_name == 'robot'


@pytest.mark.parametrize('endpoint', [
    'ws://robot:9090', 'wss://robot.example/path?x=1', 'robot:80', 'robot', '[::1]:9090',
    'ws://[fe80::1%eth0]:1/'])
def test_endpoints(endpoint: str) -> None:
    assert settings_from({'connect': [endpoint]}).connect == (endpoint,)


@pytest.mark.parametrize('origin', ['*', 'null', 'https://a', 'http://[::1]:80'])
def test_origins(origin: str) -> None:
    assert settings_from({'origins': [origin]}).origins == (origin,)


@given(st.dictionaries(st.sampled_from(sorted(SPECS)) | st.text(), anything, max_size=4))
def test_any_values_give_settings_or_a_config_error(values: dict[str, object]) -> None:
    try:
        settings = settings_from(values)
    except ConfigError as exc:
        assert exc.field is not None
    else:
        for spec in PARAMETERS:
            spec.check(getattr(settings, spec.name))
