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

from ws_bridge.config import PARAMETERS, ParameterSpec
from ws_bridge.errors import ConfigError
from ws_bridge.ros.parameters import descriptor_of
from ws_bridge.ros.side import RosSide

from .harness import FakeLoop, QUICK, running_side

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
