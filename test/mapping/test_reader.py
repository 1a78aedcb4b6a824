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
"""The mapping file: what it says, and that every error in it names file, line and key."""
from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
import pytest
import yaml

from ws_bridge.config import Denial, Exposure, Rule
from ws_bridge.config.roles import ADMIN, Grant, NAMELESS, OBSERVER, Role, USES
from ws_bridge.errors import ConfigError
from ws_bridge.mapping.reader import load_mapping, MAX_FILE_SIZE, parse_mapping, SECTIONS
from ws_bridge.safety.policy import Clamp, GatePolicy, LossStep, Rest, SlowDown

EXAMPLE = Path(__file__).resolve().parents[2] / 'config' / 'mapping.example.yaml'

WHOLE = b"""\
version: 1
out:
  - topic: /odom
    type: nav_msgs/Odometry
    channel: pose
    encoding: cdr
    max_rate: 20
    expected_rate: 50.0
    queue_depth: 2
    priority: -1
    weight: 0.5
    min_rate: 2
  - /camera/*
in:
  - topic: cmd_vel
    type: geometry_msgs/msg/Twist
    channel: drive
services:
  - service: /reset
    type: std_srvs/srv/Trigger
    timeout: 2.5
  - '*/get_parameters'
host:
  - service: /page/ask
    type: std_srvs/SetBool
deny:
  - /rosout
  - in: '*/estop'
    services: ~/private
"""


def parse(text: str | bytes, **options: Any) -> Exposure:
    """Parse a text as the file ``m.yaml``."""
    return parse_mapping(text.encode() if isinstance(text, str) else text, 'm.yaml', **options)


def errors_of(text: str | bytes, **options: Any) -> list[str]:
    """Return the lines of the error that a text gives."""
    with pytest.raises(ConfigError) as caught:
        parse(text, **options)
    return str(caught.value).splitlines()


def test_every_key() -> None:
    assert parse(WHOLE) == Exposure(
        subscribe=(Rule('/odom', 'nav_msgs/msg/Odometry', 'pose', 'cdr', 20.0, 50.0, 2,
                        priority=-1, weight=0.5, min_rate=2.0),
                   Rule('/camera/*')),
        publish=(Rule('cmd_vel', 'geometry_msgs/msg/Twist', 'drive'),),
        call=(Rule('/reset', 'std_srvs/srv/Trigger', timeout=2.5), Rule('*/get_parameters')),
        host=(Rule('/page/ask', 'std_srvs/srv/SetBool'),),
        deny=(Denial('/rosout'), Denial('*/estop', 'publish'), Denial('~/private', 'call')))


def test_every_key_is_tried_above() -> None:
    content = yaml.safe_load(WHOLE)
    for name, section in SECTIONS.items():
        used = {key for item in content[name] if isinstance(item, dict) for key in item}
        assert used == {section.noun, *section.keys}


def test_absent_and_empty_sections_expose_nothing() -> None:
    assert parse('version: 1') == Exposure() == parse(
        'version: 1\nout: []\nin: []\nservices: []\nhost: []\ngates: []\ndeny: []\n'
        'roles: {}\nidentities: {}')


def places(document: Any, path: str = '') -> Iterator[tuple[str, Any, Any]]:
    """Give the path of each value, with what it stands in and its key there."""
    entries: Any = ()
    if isinstance(document, dict):
        entries = [(key, f'{path}.{key}' if path else key) for key in document]
    elif isinstance(document, list):
        entries = [(index, f'{path}[{index}]') for index in range(len(document))]
    for key, where in entries:
        yield where, document, key
        yield from places(document[key], where)


def test_a_key_without_a_value_is_an_error_everywhere() -> None:
    """A list that was forgotten is not an empty one: ``deny:`` would deny nothing."""
    document = yaml.safe_load(WHOLE) | yaml.safe_load(GATES) | yaml.safe_load(ROLES)
    paths = [where for where, _, _ in places(document)]
    assert {'deny', 'deny[0]', 'gates[1].on_loss[1].message.points[0].y', 'roles.lab',
            'roles.lab.deny', 'identities.bob', 'gates[0].topics'} <= set(paths)
    for where, parent, key in places(document):
        was, parent[key] = parent[key], None
        # Of texts and numbers one is enough.
        if isinstance(was, (dict, list)) or key in ('type', 'timeout', 'y', 'bob'):
            assert any(f': {where}: has no value: ' in line
                       for line in errors_of(json.dumps(document))), where
        parent[key] = was
    parse(json.dumps(document))


@pytest.mark.parametrize(('text', 'expected'), [
    ('deny:', "deny: has no value: must be a list, one '- ' an entry, or [] for none"),
    ('deny: ~', "deny: has no value: must be a list, one '- ' an entry, or [] for none"),
    ('roles:', 'roles: has no value: must be a mapping, or {} for none'),
    ('roles: {a: }', 'roles.a: has no value: must be a mapping with like, allow, deny, '
     'signed'),
    ('deny: [{}]', 'deny[0]: says nothing'),
    ('roles: {a: {deny: [{}]}}', 'roles.a.deny[0]: says nothing'),
    ('gates: [{gate: a, topics: []}]', 'gates[0]: guards nothing: its lists are empty'),
    ('gates: [{gate: a, topics: [], services: []}]',
     'gates[0]: guards nothing: its lists are empty'),
])
def test_what_stands_for_nothing_says_so(text: str, expected: str) -> None:
    assert errors_of(f'version: 1\n{text}') == [f'm.yaml:2: {expected}']


def test_an_empty_list_of_a_gate_that_guards_something_is_taken() -> None:
    (gate,) = parse('version: 1\ngates: [{gate: a, topics: [], services: [/s], clamp: [], '
                    'acquire_on_publish: [], neutral: []}]').gates
    assert gate == GatePolicy('a', services=('/s',), acquire_on_publish=())


def test_a_byte_order_mark_is_no_error() -> None:
    assert parse(b'\xef\xbb\xbfversion: 1') == Exposure()


@pytest.mark.parametrize(('text', 'expected'), [
    ('', "m.yaml: is empty; it needs at least 'version: 1'"),
    ('- a', 'm.yaml:1: must be a mapping with version, out, in, services, host, gates, deny, '
     'roles, identities'),
    ('out: []', 'm.yaml:1: version: is missing; this bridge reads version 1'),
    ('version: 1\nroles: [a]', 'm.yaml:2: roles: must be a mapping, or {} for none'),
    ('version: 1\nroles: {1a: {}}', "m.yaml:2: roles.1a: '1a' is not a role: a letter, then up "
     "to 63 letters, digits, '_' or '-'"),
    ('version: 1\nroles:\n  a: {allow: [{fly: /x}]}', 'm.yaml:3: roles.a.allow[0].fly: unknown '
     f'key; known are {", ".join(USES)}'),
    ('version: 1\nroles:\n  a: {allow: [/x y]}', "m.yaml:3: roles.a.allow[0]: '/x y' is neither "
     'a ROS name nor a pattern'),
    ('version: 1\nroles:\n  a: {like: operater}', "m.yaml:3: roles.a.like: 'operater' is unknown; "
     "did you mean 'operator'?; known are observer, operator, safety, admin"),
    ('version: 1\nroles:\n  a: {signed: 1}', 'm.yaml:3: roles.a.signed: must be true or false'),
    ('version: 1\nroles:\n  a: {}\n  a: {}', 'm.yaml:4: roles.a: stands twice'),
    ('version: 1\nroles: {7: {}}', 'm.yaml:2: roles: must be text'),
    ("version: 1\nidentities: {'': admin}",
     'm.yaml:2: identities: a name has 1 to 255 characters'),
    ('version: 1\nidentities: {bob: king}', "m.yaml:2: identities.bob: 'king' is unknown; known "
     'are observer, operator, safety, admin'),
    ('version: 2', 'm.yaml:1: version: must be 1'),
    ('version: one', 'm.yaml:1: version: must be a number'),
    ('version: 1\nversion: 1', 'm.yaml:2: version: stands twice, first in line 1'),
    ('version: 1\n? [a]\n: b', 'm.yaml:2: unknown key; known are version, out, '
     'in, services, host, gates, deny, roles, identities'),
    ('version: 1\nout: /odom', "m.yaml:2: out: must be a list, one '- ' an entry, "
     'or [] for none'),
    ('version: 1\nout: {topic: /odom}', "m.yaml:2: out: must be a list, one '- ' an entry, "
     'or [] for none'),
    ('version: 1\nout:\n- []', 'm.yaml:3: out[0]: must be a mapping with topic, type, channel, '
     'encoding, max_rate, expected_rate, queue_depth, priority, weight, min_rate'),
    ('version: 1\nout:\n- type: a/B', "m.yaml:3: out[0]: has no 'topic'"),
    ('version: 1\nin:\n- topic: /a\n  tipe: a/B', 'm.yaml:4: in[0].tipe: unknown key; did you '
     "mean 'type'?; known are topic, type, channel"),
    ('version: 1\nin:\n- 5', 'm.yaml:3: in[0]: must be text'),
    ('version: 1\nin:\n- /a b', "m.yaml:3: in[0]: '/a b' is neither a ROS name nor a pattern"),
    ('version: 1\nin:\n- /a/', "m.yaml:3: in[0]: '/a/' is neither a ROS name nor a pattern"),
    ('version: 1\nin:\n- /a//*', "m.yaml:3: in[0]: '/a//*' is neither a ROS name nor a pattern"),
    ('version: 1\nin:\n- a__b', "m.yaml:3: in[0]: 'a__b' is neither a ROS name nor a pattern"),
    ('version: 1\nin:\n- /a\n- topic: /a', 'm.yaml:4: in[1]: /a stands twice, first in line 3'),
    ('version: 1\nin:\n- {topic: /a, type: Twist}', "m.yaml:3: in[0].type: 'Twist' is not a type "
     'such as package/msg/Type'),
    ('version: 1\nin:\n- {topic: /a, type: a/srv/B}', 'm.yaml:3: in[0].type: a/srv/B is no msg '
     "type: 'package/msg/Type'"),
    ('version: 1\nhost:\n- {service: /a, type: a/msg/B}', 'm.yaml:3: host[0].type: a/msg/B is no '
     "srv type: 'package/srv/Type'"),
    ('version: 1\nout:\n- {topic: /a, encoding: jsn}', "m.yaml:3: out[0].encoding: 'jsn' is "
     "unknown; did you mean 'json'?; known are json, cbor, cdr"),
    ('version: 1\nout:\n- {topic: /a, max_rate: 0}', 'm.yaml:3: out[0].max_rate: must be above 0 '
     'and at most 1000000'),
    ('version: 1\nout:\n- {topic: /a, max_rate: .nan}', 'm.yaml:3: out[0].max_rate: must be a '
     'number'),
    ('version: 1\nout:\n- {topic: /a, max_rate: inf}', 'm.yaml:3: out[0].max_rate: must be above '
     '0 and at most 1000000'),
    ('version: 1\nout:\n- {topic: /a, expected_rate: yes}', 'm.yaml:3: out[0].expected_rate: must '
     'be a number'),
    ('version: 1\nout:\n- {topic: /a, queue_depth: 1.5}', 'm.yaml:3: out[0].queue_depth: must be '
     'an integer, 1 to 10000'),
    ('version: 1\nout:\n- {topic: /a, priority: 1.5}', 'm.yaml:3: out[0].priority: must be an '
     'integer, -100 to 100'),
    ('version: 1\nout:\n- {topic: /a, weight: 0}', 'm.yaml:3: out[0].weight: must be above 0 and '
     'at most 1000'),
    ('version: 1\nout:\n- {topic: /a, min_rate: -1}', 'm.yaml:3: out[0].min_rate: must be above '
     '0 and at most 1000000'),
    ('version: 1\nout:\n- {topic: /a, queue_depth: nan}', 'm.yaml:3: out[0].queue_depth: must be '
     'an integer, 1 to 10000'),
    ('version: 1\nservices:\n- {service: /a, timeout: 1:30}', 'm.yaml:3: services[0].timeout: '
     'must be a number'),
    ('version: 1\nout:\n- {topic: /a/*, channel: a}', 'm.yaml:3: out[0].channel: one name cannot '
     'stand for every topic of /a/*'),
    ('version: 1\nout:\n- {topic: /a, channel: /a}', "m.yaml:3: out[0].channel: '/a' is not a "
     "channel name: a letter or digit, then up to 63 letters, digits, '_', '.' or '-'"),
    ('version: 1\nout:\n- {topic: /a, channel: x}\nin:\n- {topic: /b, channel: x}',
     "m.yaml:5: in[0].channel: 'x' is the name of /a in line 3"),
    ('version: 1\nout:\n- {topic: /a, channel: x}\nin:\n- {topic: /a, channel: y}',
     "m.yaml:5: in[0].channel: /a is called 'x' in line 3"),
    ('version: 1\ndeny:\n- {out: /a, outt: /b}', 'm.yaml:3: deny[0].outt: unknown key; did you '
     "mean 'out'?; known are out, in, services, host"),
    ('version: 1\ndeny:\n- in: 3', 'm.yaml:3: deny[0].in: must be text'),
    ('version: 1\ndeny:\n- [a]', 'm.yaml:3: deny[0]: must be a mapping with out, in, services, '
     'host'),
    ('version: 1\ndeny:\n- *', 'm.yaml:3: expected alphabetic or numeric character, but found '
     "'\\x00'; a pattern that starts with '*' needs quotes"),
    ('version: 1\ndeny:\n- *a', 'm.yaml:3: aliases are not supported; a pattern that starts with '
     "'*' needs quotes"),
    ('version: 1\nout: [', "m.yaml:2: expected the node content, but found '<stream end>'"),
    ('version: 1\nout: ' + '[' * 50_000, 'm.yaml:2: more than 16 levels deep'),
    ('version: 1\n---\nversion: 1', 'm.yaml:2: but found another document'),
    (b'version: \xff', "m.yaml: not YAML: 'utf-8' codec can't decode byte 0xff in position 9: "
     'invalid start byte'),
    (b' ' * (MAX_FILE_SIZE + 1), f'm.yaml: is larger than {MAX_FILE_SIZE} bytes'),
], ids=lambda value: value[:40] if isinstance(value, str) else 'bytes')
def test_an_error_names_file_line_and_key(text: str | bytes, expected: str) -> None:
    assert errors_of(text) == [expected]


def test_all_errors_are_reported_in_the_order_of_the_file() -> None:
    text = ('version: 3\nout:\n- {topic: 1, max_rate: x, encoding: y}\nbad: 1\n'
            'deny:\n- []\nservices:\n- service: a b')
    assert [line.split(': ')[:2] for line in errors_of(text)] == [
        ['m.yaml:1', 'version'], ['m.yaml:3', 'out[0].max_rate'],
        ['m.yaml:3', 'out[0].encoding'], ['m.yaml:3', 'out[0].topic'], ['m.yaml:4', 'bad'],
        ['m.yaml:6', 'deny[0]'], ['m.yaml:8', 'services[0].service']]


def test_a_single_error_has_file_line_and_field() -> None:
    with pytest.raises(ConfigError) as caught:
        parse('version: 1\nin:\n- 5')
    assert (caught.value.file, caught.value.line, caught.value.field) == ('m.yaml', 3, 'in[0]')


def test_aliases_cannot_grow() -> None:
    bomb = 'a: &a [x, x]\n' + ''.join(
        f'{chr(97 + n)}: &{chr(97 + n)} [*{chr(96 + n)}, *{chr(96 + n)}]\n' for n in range(1, 25))
    assert 'aliases are not supported' in errors_of(bomb)[0]


def test_types_are_looked_up_where_ros_is_there() -> None:
    asked: list[tuple[str, str]] = []

    def known(folder: str, name: str) -> bool:
        asked.append((folder, name))
        return name != 'b/srv/B'

    text = ('version: 1\nin:\n- {topic: /a, type: a/A}\nservices:\n- {service: /b, type: b/B}')
    assert errors_of(text, known_type=known) == [
        'm.yaml:5: services[0].type: no such type on this machine: b/srv/B']
    assert asked == [('msg', 'a/msg/A'), ('srv', 'b/srv/B')]


def test_files(tmp_path: Path) -> None:
    good = tmp_path / 'good.yaml'
    good.write_bytes(WHOLE)
    assert load_mapping(str(good)) == parse(WHOLE)
    for path, reason in ((tmp_path / 'none', 'No such file'), (tmp_path, 'Is a directory')):
        with pytest.raises(ConfigError, match=reason) as caught:
            load_mapping(str(path))
        assert caught.value.file == str(path)
    with pytest.raises(ConfigError, match='null byte'):
        load_mapping('a\0b')


def test_a_file_is_not_read_beyond_the_limit() -> None:
    with pytest.raises(ConfigError, match='larger than'):
        load_mapping('/dev/zero')


def test_the_example() -> None:
    exposure = load_mapping(str(EXAMPLE))
    for kind, name in (('subscribe', '/odom'), ('publish', '/cmd_vel'), ('call', '/reset')):
        assert exposure.find(kind, name), name      # type: ignore[arg-type]


keys = st.sampled_from(['version', *SECTIONS, 'deny', 'topic', 'service', 'type', 'channel',
                        'encoding', 'max_rate', 'timeout', 'queue_depth'])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | \
    st.sampled_from(['/odom', '*', 'a/B', 'a/msg/B', 'a/srv/B', 'json', 'x'])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) |
                      st.dictionaries(keys | st.text(max_size=3), inner, max_size=4),
                      max_leaves=12)


def only_config_errors(content: bytes) -> None:
    """Parse; each error must name the file, and a place in it that exists."""
    try:
        parse(content)
    except ConfigError as exc:
        lines = content.count(b'\n') + content.count(b'\r') + 2
        assert exc.line is None or 1 <= exc.line <= lines
        assert 'm.yaml' in str(exc)


@given(st.dictionaries(keys, values, max_size=5), st.booleans())
def test_any_document_gives_an_exposure_or_a_config_error(document: Any, flow: bool) -> None:
    only_config_errors(yaml.safe_dump({'version': 1, **document}, default_flow_style=flow,
                                      allow_unicode=True).encode('utf-8', 'surrogatepass'))


@given(st.binary(max_size=60) | st.text('-:[]{}&*!|>%@`\'"#?,\n\t \\U0Fax1', max_size=40).map(
    str.encode))
@example(b'a: "\\UFFFFFFFF"')
@example(b'a: "\\U00110000"')
@example(b'%YAML 9999999999999999.1\n---\na')
@example(b'a: !<%ff> b')
@example(b'a: &a [*a]')
@example(b'<<: {a: b}')
@example(b'=: 1')
@example(b'a: !!python/object/apply:os.system [true]')
def test_any_bytes_give_an_exposure_or_a_config_error(content: bytes) -> None:
    only_config_errors(content)


@given(st.data())
def test_a_damaged_file_gives_an_exposure_or_a_config_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(WHOLE)))
    end = data.draw(st.integers(start, min(len(WHOLE), start + 30)))
    only_config_errors(WHOLE[:start] + data.draw(st.binary(max_size=5)) + WHOLE[end:])


ROLES = """
version: 1
roles:
  guest: {}
  lab:
    like: observer
    allow:
      - {call: /lab/*, goal: arm}
      - take: '*'
      - /all
    deny:
      - subscribe: ~/secret
  admin:
    like: admin
    deny: [parameter_write: '*']
  lead: {like: lab, allow: [publish: /x], signed: true}
  far: {like: lead}
  near: {like: lead, signed: false}
identities:
  tablet-*: lab
  bob: admin
"""


def test_roles() -> None:
    exposure = parse(ROLES)
    lab = Role('lab', (*OBSERVER.allow, Grant('/lab/*', 'call'), Grant('arm', 'goal'),
                       Grant('*', 'take'), Grant('/all')), (Grant('~/secret', 'subscribe'),))
    assert exposure.roles == (
        Role('guest'), lab, Role('admin', ADMIN.allow, (Grant('*', 'parameter_write'),)),
        *(Role(name, (*lab.allow, Grant('/x', 'publish')), lab.deny, signed)
          for name, signed in (('lead', True), ('far', True), ('near', False))))
    assert exposure.identities == (('tablet-*', 'lab'), ('bob', 'admin'))
    resolved = exposure.resolved('/ns', 'bridge').roles[1]
    assert resolved.allow[-3:] == (Grant('/ns/arm', 'goal'), Grant('*', 'take'), Grant('/all'))
    assert resolved.deny == (Grant('/ns/bridge/secret', 'subscribe'),)
    assert [role.signed for role in exposure.resolved('/ns', 'bridge').roles] == \
        [False, False, False, True, True, False]


@pytest.mark.parametrize('use', NAMELESS)
@pytest.mark.parametrize('side', ['allow', 'deny'])
def test_a_use_without_a_name_takes_no_pattern(use: str, side: str) -> None:
    """One that could match nothing would be a right, or a denial, that is not in force."""
    text = f'version: 1\nroles:\n  r:\n    {side}:\n    - {use}: '
    assert errors_of(f'{text}base') == [
        f"m.yaml:5: roles.r.{side}[0].{use}: {use} is about no name: '*' is all that can stand "
        'here']
    (role,) = parse(f"{text}'*'").roles
    assert getattr(role, side) == (Grant('*', use),)        # type: ignore[arg-type]


# ---- gates

GATES = """\
version: 1
gates:
- gate: drive
  topics: [cmd_vel, '*/cmd_vel']
  timeout: 1
  ttl: 0.5
  max_rate: 50
  on_loss: silence
- gate: arm
  services: [/move, /home]
  topics: [/arm/trajectory]
  on_loss:
  - {action: service, after: 2, service: /arm/park, type: std_srvs/SetBool, request: {data: true}}
  - action: message
    times: 2
    rate: 10
    message: {joint_names: [a, b], points: [{positions: [0.5, 1], y: 1.0e-3}]}
  - {action: silence, after: 0.5}
  clamp:
  - {field: 'points[*].velocities[*]', min: -1, max: 1.5}
  - {field: x, min: 0, max: 0, saturate: true}
  require_lease: false
  acquire_on_publish: [native]
  neutral_first: false
  neutral:
  - {field: 'axes[2]', rest: 1, tolerance: 0.1}
  - {field: x}
"""


def test_gates() -> None:
    drive, arm = parse_mapping(GATES.encode(), 'm.yaml').gates
    assert drive == GatePolicy('drive', ('cmd_vel', '*/cmd_vel'), timeout=1.0, ttl=0.5,
                               max_rate=50.0, on_loss=(LossStep('silence'),))
    assert arm == GatePolicy(
        'arm', ('/arm/trajectory',), ('/move', '/home'), on_loss=(
            LossStep('message', times=2, rate=10.0, message={
                'joint_names': ['a', 'b'], 'points': [{'positions': [0.5, 1], 'y': 1e-3}]}),
            LossStep('silence', after=0.5),
            LossStep('service', after=2.0, service='/arm/park', srv_type='std_srvs/srv/SetBool',
                     request={'data': True})),
        clamp=(Clamp('points[*].velocities[*]', -1.0, 1.5), Clamp('x', 0.0, 0.0, saturate=True)),
        require_lease=False, acquire_on_publish=('native',), neutral_first=False,
        neutral=(Rest('axes[2]', (1.0,), 0.1), Rest('x')))


def test_the_patterns_of_gates_are_expanded() -> None:
    drive, arm = parse_mapping(GATES.encode(), 'm.yaml').resolved('/robot', 'bridge').gates
    assert drive.topics == ('/robot/cmd_vel', '*/cmd_vel')
    assert arm.services == ('/move', '/home')


def test_a_gate_slows_down_by_delay() -> None:
    text = 'version: 1\ngates:\n- ' + SLOW
    (gate,) = parse(text.format('{full: 0.15, stop: 0.6}')).gates
    assert gate.slow_down == SlowDown(0.15, 0.6)
    exposure = parse(text.format('{full: 0, stop: 1, camera: c}')).resolved('/robot', 'bridge')
    exposure = exposure.remapped(lambda name: name + '2', lambda name: name)
    assert exposure.gates[0].slow_down == SlowDown(0.0, 1.0, '/robot/c2')


SLOW = '{{gate: a, topics: [/t], clamp: [{{field: x, min: -1, max: 1}}], slow_down: {}}}'


@pytest.mark.parametrize(('gate', 'expected'), [
    ('5', 'gates[0]: must be a mapping with gate, '),
    ('{gate: a}', "gates[0]: guards nothing: it has neither 'topics' nor 'services'"),
    ('{topics: [/t]}', "gates[0]: has no 'gate', which is its name"),
    ('{gate: /a, topics: [/t]}', "gates[0].gate: '/a' is not a gate name: "),
    ('{gate: a, topics: [a b]}', "gates[0].topics[0]: 'a b' is neither a ROS name"),
    ('{gate: a, topics: /t}', "gates[0].topics: must be a list, one '- ' an entry, "
     'or [] for none'),
    ('{gate: a, topics: [/t], timeout: 0}', 'gates[0].timeout: must be above 0'),
    ('{gate: a, topics: [/t], ttl: x}', 'gates[0].ttl: must be a number'),
    ('{gate: a, topics: [/t], max_rate: .inf}', 'gates[0].max_rate: must be a number'),
    ('{gate: a, topics: [/t], require_lease: yes}', 'gates[0].require_lease: must be true or'),
    ('{gate: a, topics: [/t], acquire_on_publish: [web]}',
     "gates[0].acquire_on_publish[0]: 'web' is unknown"),
    ('{gate: a, topics: [/t], neutral_first: 1}', 'gates[0].neutral_first: must be true or'),
    ('{gate: a, topics: [/t], neutral: x}', "gates[0].neutral: must be a list, one '- ' an"),
    ('{gate: a, topics: [/t], neutral: [x]}', 'gates[0].neutral[0]: must be a mapping'),
    ('{gate: a, topics: [/t], neutral: [{rest: 1}]}', 'gates[0].neutral[0]: has no field'),
    ('{gate: a, topics: [/t], neutral: [{field: x, rest: a}]}', 'gates[0].neutral[0].rest: '),
    ('{gate: a, topics: [/t], neutral: [{field: x, tolerance: -1}]}',
     'gates[0].neutral[0]: tolerance -1 is below 0'),
    ('{gate: a, topics: [/t], neutral: [{field: x, tolerance: inf}]}',
     'gates[0].neutral[0]: rest and tolerance must be finite'),
    ('{gate: a, topics: [/t], neutral: [{field: x, rest: nan}]}',
     'gates[0].neutral[0]: rest and tolerance must be finite'),
    ('{gate: a, topics: [/t], on_loss: message}', "gates[0].on_loss: 'message' is unknown"),
    ('{gate: a, topics: [/t], on_loss: []}', 'gates[0].on_loss: needs at least one action'),
    ('{gate: a, topics: [/t], on_loss: [zero]}', 'gates[0].on_loss[0]: must be a mapping'),
    ('{gate: a, topics: [/t], on_loss: [{after: 1}]}', "gates[0].on_loss[0]: has no 'action'"),
    ('{gate: a, topics: [/t], on_loss: [{action: stop}]}',
     "gates[0].on_loss[0].action: 'stop' is unknown"),
    ('{gate: a, topics: [/t], on_loss: [{action: message}]}',
     "gates[0].on_loss[0]: the action message needs 'message'"),
    ('{gate: a, topics: [/t], on_loss: [{action: message, message: 5}]}',
     'gates[0].on_loss[0].message: must be a mapping: the fields of a message'),
    ('{gate: a, topics: [/t], on_loss: [{action: message, message: {a: !x 5}}]}',
     'gates[0].on_loss[0].message: is not understood: '),
    ('{gate: a, topics: [/t], on_loss: [{action: service, service: /s}]}',
     "gates[0].on_loss[0]: the action service needs 'type'"),
    ('{gate: a, topics: [/t], on_loss: [{action: zero, message: {}}]}',
     'gates[0].on_loss[0].message: has no meaning for zero'),
    ('{gate: a, topics: [/t], on_loss: [{action: zero, after: -1}]}',
     'gates[0].on_loss[0].after: must be 0 to 3600'),
    ('{gate: a, topics: [/t], on_loss: [{action: zero, times: 0}]}',
     'gates[0].on_loss[0].times: must be an integer'),
    ('{gate: a, topics: [/t], clamp: [x]}', 'gates[0].clamp[0]: must be a mapping'),
    ('{gate: a, topics: [/t], clamp: [{field: x}]}', 'gates[0].clamp[0]: has no max, min'),
    ('{gate: a, topics: [/t], clamp: [{field: x., min: 0, max: 1}]}',
     "gates[0].clamp[0].field: 'x.' is not a field"),
    ('{gate: a, topics: [/t], clamp: [{field: x, min: 2, max: 1}]}',
     'gates[0].clamp[0]: min 2 is not below max 1'),
    (SLOW.format('x'), 'gates[0].slow_down: must be a mapping with full, stop, camera'),
    (SLOW.format('{full: 0.1}'), 'gates[0].slow_down: has no stop'),
    (SLOW.format('{full: 0.5, stop: 0.5}'),
     'gates[0].slow_down: full 0.5 is not below stop 0.5'),
    (SLOW.format('{full: -1, stop: 1}'), 'gates[0].slow_down.full: must be 0 to 3600'),
    (SLOW.format('{full: 0, stop: nan}'), 'gates[0].slow_down.stop: must be 0 to 3600'),
    (SLOW.format('{full: 0, stop: 1, camera: "/c*"}'),
     'gates[0].slow_down.camera: /c* is a pattern: one topic is looked at'),
    (SLOW.format('{full: 0, stop: 1, camera: 5}'), 'gates[0].slow_down.camera: must be text'),
    ('{gate: a, topics: [/t], slow_down: {full: 0, stop: 1}}',
     "gates[0].slow_down: slows nothing down: the gate has no 'clamp'"),
    ('{gate: a, topics: [/t], slow_down: {full: 0, stop: 1}, clamp: [{field: x, min: 1, max: 2}]}',
     'gates[0].slow_down: the bounds of x, 1 to 2, cannot shrink to 0'),
])
def test_an_error_in_a_gate_is_named(gate: str, expected: str) -> None:
    (error,) = errors_of(f'version: 1\ngates:\n- {gate}\n')
    assert error.startswith(f'm.yaml:3: {expected}')


def test_a_gate_stands_once() -> None:
    assert errors_of('version: 1\ngates:\n- {gate: a, topics: [/t]}\n'
                     '- {gate: a, topics: [/u]}\n') == ['m.yaml:4: gates[1]: a stands twice']


@pytest.mark.parametrize('key', ['topics', 'services'])
def test_a_name_has_one_gate(key: str) -> None:
    assert errors_of(f'version: 1\ngates:\n- {{gate: a, {key}: [/t, /u]}}\n'
                     f'- {{gate: b, {key}: [/v, /t]}}\n') == [
        'm.yaml:4: gates[1]: /t has a gate already: a']


@pytest.mark.parametrize('pattern', ['/secret[a', '/a[]', '/a]', '/[a-b][c'])
def test_a_set_of_characters_is_closed(pattern: str) -> None:
    assert errors_of(f'version: 1\ndeny: ["{pattern}"]\n') == [
        f"m.yaml:2: deny[0]: '{pattern}' is neither a ROS name nor a pattern"]
