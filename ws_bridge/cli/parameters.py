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
The table of parameters as a parameter file and as Markdown.

``python -m ws_bridge.cli.parameters yaml > config/ws_bridge.yaml`` writes the file anew, and
with ``markdown`` it prints what stands between the markers of the README.
"""
from __future__ import annotations

import sys
from textwrap import wrap

from ws_bridge.config import PARAMETERS, ParameterSpec

WIDTH = 99
_HEAD = """\
# Parameters of the ws_bridge node: every one, with its default.
#
#   ws_bridge serve --ros-args --params-file ws_bridge.yaml
#   ros2 launch ws_bridge ws_bridge.launch.py params_file:=ws_bridge.yaml
#
# They are read at the start. Made from the table in ws_bridge/config.py by
#   python -m ws_bridge.cli.parameters yaml
/**:
  ros__parameters:
"""


def parameter_file() -> str:
    """Return the parameter file with every default."""
    lines: list[str] = []
    for spec in PARAMETERS:
        lines += wrap(_described(spec), WIDTH, initial_indent='    # ',
                      subsequent_indent='    # ', break_long_words=False, break_on_hyphens=False)
        lines += [*wrap(f'{spec.name}: {_yaml(spec)}', WIDTH, initial_indent='    ',
                        subsequent_indent='      '), '']
    return _HEAD + '\n'.join(lines[:-1]) + '\n'


def parameter_table() -> str:
    """Return the table of the README."""
    rows = ['| parameter | default | range | meaning |', '|---|---|---|---|']
    for spec in PARAMETERS:
        default = '[]' if spec.default == () else _yaml(spec)
        rows.append(f'| `{spec.name}` | `{default}` | {spec.range_text()} | '
                    f'{spec.description.replace("*", chr(92) + "*")} |')
    return '\n'.join(rows) + '\n'


def _described(spec: ParameterSpec) -> str:
    limits = spec.range_text()
    return f'{spec.description} Range: {limits}.' if limits else spec.description


def _yaml(spec: ParameterSpec) -> str:
    """Return the default as YAML that rclpy reads with the right type."""
    value = spec.ros_default
    return str(value).lower() if isinstance(value, bool) else repr(value)


if __name__ == '__main__':
    sys.stdout.write({'yaml': parameter_file, 'markdown': parameter_table}[sys.argv[1]]())
