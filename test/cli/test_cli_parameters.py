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
"""What is made from the table of parameters is up to date, and says the same as the table."""
from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys

import pytest
import yaml

from ws_bridge.cli.parameters import parameter_file, parameter_table
from ws_bridge.config import PARAMETERS, settings_from

ROOT = Path(__file__).resolve().parents[2]
MARKED = re.compile(r'<!-- parameters -->\n(.*?)<!-- /parameters -->', re.DOTALL)


def test_the_file_is_up_to_date() -> None:
    assert (ROOT / 'config' / 'ws_bridge.yaml').read_text() == parameter_file()


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
    assert max(map(len, parameter_file().splitlines())) <= 99


def test_the_table_names_every_parameter() -> None:
    rows = parameter_table().splitlines()[2:]
    assert [row.split('`')[1] for row in rows] == [spec.name for spec in PARAMETERS]
    assert all(row.replace('\\|', '').count('|') == 5 for row in rows)


def test_the_readme_is_up_to_date() -> None:
    readme = ROOT / 'README.md'
    text = readme.read_text() if readme.exists() else ''
    if '<!-- parameters -->' not in text:
        pytest.skip('README.md has no <!-- parameters --> marker yet')
    marked = MARKED.search(text)
    assert marked, 'README.md has no closing <!-- /parameters -->'
    assert marked[1].strip() == parameter_table().strip()


@pytest.mark.parametrize(('form', 'text'), [('yaml', parameter_file()),
                                            ('markdown', parameter_table())])
def test_command(form: str, text: str) -> None:
    done = subprocess.run([sys.executable, '-m', 'ws_bridge.cli.parameters', form], check=True,
                          capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == text
