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
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter
from support.ros_harness import FakeLoop, QUICK, running_side

from ws_bridge.config import PARAMETERS, ParameterSpec
from ws_bridge.errors import ConfigError
from ws_bridge.ros.parameters import descriptor_of
from ws_bridge.ros.side import RosSide

SPECS = (
    ParameterSpec('port', 9090, 'Port.', 0, 65535),
    ParameterSpec('timeout', 1.5, 'Timeout, s.', 0.0, None, read_only=False),
    ParameterSpec('count', 3, 'Count.', None, 10, read_only=False),
    ParameterSpec('names', (), 'Names.'),
    ParameterSpec('flag', False, 'Flag.', read_only=False),
    ParameterSpec('subscription_depth', 1000, 'Depth.', 1, 10000),
)


def given(*assignments: str) -> list[str]:
    return ['--ros-args', *(word for each in assignments for word in ('-p', each))]


def test_defaults(loop: FakeLoop) -> None:
    with running_side(loop, parameters=SPECS) as side:
        assert side.parameters == {'port': 9090, 'timeout': 1.5, 'count': 3, 'names': (),
                                   'flag': False, 'subscription_depth': 1000}


def test_the_whole_table_of_the_bridge(loop: FakeLoop) -> None:
    with running_side(loop, parameters=PARAMETERS) as side:
        assert side.parameters == {spec.name: spec.default for spec in PARAMETERS}
        assert side.settings.match_timeout == side.parameters['match_timeout']


def test_values_from_the_command_line(loop: FakeLoop) -> None:
    args = given('port:=1234', 'timeout:=5', 'names:=[a, b]', 'flag:=true',
                 'subscription_depth:=7')
    with running_side(loop, parameters=SPECS, args=args) as side:
        assert side.parameters == {'port': 1234, 'timeout': 5.0, 'count': 3, 'names': ('a', 'b'),
                                   'flag': True, 'subscription_depth': 7}
        assert isinstance(side.parameters['timeout'], float)
        assert side.settings.subscription_depth == 7
        assert side.settings.overlap == QUICK.overlap


def test_values_from_a_file(loop: FakeLoop, tmp_path: Path) -> None:
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**:\n  ros__parameters:\n    port: 4321\n')
    args = ['--ros-args', '--params-file', str(file)]
    with running_side(loop, parameters=SPECS, args=args) as side:
        assert side.parameters['port'] == 4321


@pytest.mark.parametrize(('assignment', 'field'), [
    ('port:=70000', 'port'), ('port:=-1', 'port'), ('port:=hello', 'port'), ('port:=1.5', 'port'),
    ('timeout:=-0.1', 'timeout'), ('timeout:=.nan', 'timeout'), ('flag:=1', 'flag'),
    ('names:=[1, 2]', 'names'), ('count:=11', 'count')])
def test_wrong_values(loop: FakeLoop, assignment: str, field: str) -> None:
    side = RosSide(QUICK, post=loop.post, parameters=SPECS, args=given(assignment))
    with pytest.raises(ConfigError) as caught:
        side.start()
    assert caught.value.field == field
    side.shutdown()


def test_a_text_without_its_quotes(loop: FakeLoop, tmp_path: Path) -> None:
    """YAML makes a bool of ``off`` and ``no``."""
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**:\n  ros__parameters:\n    record: ring\n')
    spec = next(spec for spec in PARAMETERS if spec.name == 'record')
    for args in (given('record:=off'), given('ws_bridge:record:=no'),
                 ['--ros-args', '--params-file', str(file), '-p', 'record:=off']):
        with running_side(loop, parameters=[spec], args=args) as side:
            assert side.parameters['record'] == 'off'
            assert side._ros is not None
            assert side._ros.node.get_parameter('record').value == 'off'
    side = RosSide(QUICK, post=loop.post, parameters=PARAMETERS, args=given('robot_name:=No'))
    with pytest.raises(ConfigError, match="""-p robot_name:='"No"', or robot_name: "No" in a"""):
        side.start()
    side.shutdown()


SECTIONS = ('/**', '/ws_bridge', 'ws_bridge')


@pytest.mark.parametrize('section', SECTIONS)
@pytest.mark.parametrize('text', ['abc', '1.5', 'true', '[1]'])
def test_what_comes_last_counts_whatever_its_type(
        loop: FakeLoop, tmp_path: Path, section: str, text: str) -> None:
    """Where a file and the command line differ in type, rcl takes the integer of the file."""
    file, later = tmp_path / 'parameters.yaml', tmp_path / 'later.yaml'
    file.write_text(f'{section}:\n  ros__parameters:\n    port: 4321\n    count: 2\n')
    later.write_text(f'/**:\n  ros__parameters:\n    port: {text}\n')
    for more in (['-p', f'port:={text}'], ['-p', f'ws_bridge:port:={text}'],
                 ['--params-file', str(later)]):
        side = RosSide(QUICK, post=loop.post, parameters=SPECS,
                       args=['--ros-args', '--params-file', str(file), *more])
        with pytest.raises(ConfigError) as caught:
            side.start()
        assert caught.value.field == 'port'
        side.shutdown()


@pytest.mark.parametrize(('words', 'expected'), [
    (['-p', 'timeout:=1', '-p', 'timeout:=0.3'], 0.3),
    (['-p', 'timeout:=0.3', '-p', 'timeout:=1'], 1.0),
    (['-p', 'timeout:=x', '-p', 'timeout:=0.3'], 0.3),
    (['-p', 'timeout:=0.3', '-p', 'other:timeout:=1'], 0.3),
    (['-p', 'timeout:=0.3', '--params-file', 'FILE'], 2.0),
    (['--params-file', 'FILE', '-p', 'timeout:=0.3'], 0.3),
    (['--params-file', 'OTHERS', '-p', 'timeout:=0.3'], 0.3)])
def test_the_last_of_two_values_counts(loop: FakeLoop, tmp_path: Path, words: list[str],
                                       expected: float) -> None:
    (tmp_path / 'FILE').write_text('/**:\n  ros__parameters:\n    timeout: 2\n')
    (tmp_path / 'OTHERS').write_text('other:\n  ros__parameters:\n    timeout: 2\n')
    args = [str(tmp_path / word) if word.isupper() else word for word in words]
    with running_side(loop, parameters=SPECS, args=['--ros-args', *args]) as side:
        assert side.parameters['timeout'] == expected
        assert side._ros is not None
        assert side._ros.node.get_parameter('timeout').value == expected


def test_unknown_parameters_are_warned_of(loop: FakeLoop, capfd: pytest.CaptureFixture[str]
                                          ) -> None:
    args = given('prot:=1', 'zzz.y:=2', 'port:=0', 'use_sim_time:=false',
                 'qos_overrides./parameter_events.publisher.depth:=5')
    with running_side(loop, parameters=SPECS, args=args):
        pass
    warned = [line.partition(']: ')[2] for line in capfd.readouterr().err.splitlines()
              if 'WARN' in line]
    assert warned == ["prot: no such parameter; did you mean 'port'?", 'zzz.y: no such parameter']


@pytest.mark.parametrize('name', ['timeot', 'time_out', 'timeouts'])
def test_a_parameter_that_is_nearly_one_is_an_error(loop: FakeLoop, name: str) -> None:
    """The default of the one that was meant may let everybody do everything."""
    side = RosSide(QUICK, post=loop.post, parameters=SPECS, args=given(f'{name}:=1'))
    with pytest.raises(ConfigError, match=f"{name}: no such parameter; did you mean 'timeout'"):
        side.start()


@pytest.mark.parametrize(('words', 'said'), [
    (['-p', 'use_sim_time:=maybe'], 'use_sim_time'),
    (['-p', 'start_type_description_service:=3'], 'start_type_description_service'),
    (['--params-file', '/no/such/file.yaml'], '/no/such/file.yaml'),
    (['--nonsense'], 'unknown ROS arguments'), (['-p', 'port'], '-p port'),
    (['-r', '__ns:=a b'], 'a b')])
def test_what_rcl_refuses_is_one_line(loop: FakeLoop, words: list[str], said: str) -> None:
    side = RosSide(QUICK, post=loop.post, parameters=SPECS, args=['--ros-args', *words])
    with pytest.raises(ConfigError) as caught:
        side.start()
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert ' at /' not in str(caught.value)
    side.shutdown()


def test_setting_while_running(loop: FakeLoop) -> None:
    changes: list[dict[str, Any]] = []
    with running_side(loop, parameters=SPECS, on_parameters=changes.append) as side:
        assert side._ros is not None
        node = side._ros.node
        results: list[bool] = []

        def set_all() -> None:
            for name, value in [('timeout', 2), ('timeout', 'x'), ('timeout', -1.0),
                                ('count', 11), ('port', 1), ('flag', True)]:
                results.append(node.set_parameters([Parameter(name, value=value)])[0].successful)
        side._ros.submit(set_all)
        loop.until(lambda: len(results) == 6)
        loop.run()
    assert results == [True, False, False, False, False, True]
    assert changes == [{'timeout': 2.0}, {'flag': True}]


def test_descriptors() -> None:
    port, timeout, count, names, *_ = map(descriptor_of, SPECS)
    assert (port.description, port.read_only) == ('Port.', True)
    assert (port.integer_range[0].from_value, port.integer_range[0].to_value) == (0, 65535)
    assert timeout.floating_point_range[0].from_value == 0.0
    assert timeout.floating_point_range[0].to_value > 1e300
    assert count.integer_range[0].to_value == 10
    assert not names.integer_range
    assert not names.floating_point_range
