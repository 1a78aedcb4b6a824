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
"""What is made from the code, the parameter file and two references, says what the code says."""
from __future__ import annotations

from pathlib import Path
import re

import pytest
import yaml

from scripts.references import (
    error_reference,
    FILES,
    parameter_file,
    parameter_reference,
    WIDTH,
)
from ws_bridge import errors
from ws_bridge.config import PARAMETERS, settings_from

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize('name', FILES)
def test_the_files_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == FILES[name](), '`python scripts/references.py` writes it'


def test_the_file_holds_the_defaults() -> None:
    content = yaml.safe_load(parameter_file())
    assert list(content) == ['/**']
    values = content['/**']['ros__parameters']
    assert list(values) == [spec.name for spec in PARAMETERS]
    assert settings_from(values) == settings_from({})
    assert {name: type(value) for name, value in values.items()} == \
        {spec.name: type(spec.ros_default) for spec in PARAMETERS}


def test_rclpy_reads_the_file() -> None:
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from rclpy.context import Context
    from rclpy.node import Node
    context = Context()
    context.init(args=['--ros-args', '--params-file', str(ROOT / 'config' / 'ws_bridge.yaml')])
    node = Node('any_name', context=context, start_parameter_services=False)
    try:
        values = {spec.name: node.declare_parameter(spec.name, spec.ros_default).value
                  for spec in PARAMETERS}
        assert {spec.name for spec in PARAMETERS} == set(node._parameter_overrides)
    finally:
        node.destroy_node()
        context.shutdown()
    assert settings_from(values) == settings_from({})


def test_every_line_of_the_file_is_short_enough() -> None:
    assert max(map(len, parameter_file().splitlines())) <= WIDTH


def cells(text: str) -> list[str]:
    """Return what stands in backticks in the first cells of all tables."""
    return re.findall(r'^\| `(\w+)` \|', text, re.MULTILINE)


def test_the_reference_names_every_parameter() -> None:
    text = parameter_reference()
    assert cells(text) == [spec.name for spec in PARAMETERS]
    rows = [row for row in text.splitlines() if row.startswith('| `')]
    assert all(row.replace('\\|', '').count('|') == 6 for row in rows)


def test_the_reference_names_every_error_code() -> None:
    codes = [error.code for error in vars(errors).values()
             if isinstance(error, type) and issubclass(error, errors.WsBridgeError)]
    assert sorted(cells(error_reference())) == sorted(codes)
    assert len(set(codes)) == len(codes)
