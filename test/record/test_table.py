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
"""Numbers of a topic as CSV are the numbers that were recorded."""
from __future__ import annotations

from base64 import b64encode
import csv
import io
from pathlib import Path

import pytest
from support.recordings import begin, cdr, POINT, record, START, STEP

from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import ChannelInfo, COMMANDS
from ws_bridge.record.table import write_table

ARRAYS = ChannelInfo('/arrays', 'a_msgs/msg/Arrays', """\
float64[3] fixed
b_msgs/Part[] parts
uint8[] bytes
string text
int32[] many
================================================================================
MSG: b_msgs/Part
int32 x
""")


def table(folder: Path, topic: str, begin: int | None = None,
          end: int | None = None) -> list[list[str]]:
    out = io.StringIO()
    count = write_table(folder, topic, out, begin, end)
    rows = list(csv.reader(out.getvalue().splitlines()))
    assert len(rows) == count + 1
    return rows


def test_numbers(tmp_path: Path) -> None:
    folder = record(tmp_path / 'records', 6, each_file=4)
    rows = table(folder, POINT.topic)
    assert rows[0] == ['log_time', 'publish_time', 'x', 'y', 'z']
    assert rows[1] == ['1700000000.000000001', '1700000000.000000001', '0.0', '-1.0', '0.0']
    assert [float(row[2]) for row in rows[1:]] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    part = table(folder, POINT.topic, START + STEP, START + 3 * STEP)
    assert [row[2] for row in part[1:]] == ['0.5', '1.0']
    own = table(folder, COMMANDS)
    assert own[0][2:] == ['peer', 'topic', 'verdict', 'age', 'values.data']
    assert own[2][4:] == ['passed', '0.01', '1']
    with pytest.raises(BadRecording, match='there are /count'):
        table(folder, '/none')


def test_arrays(tmp_path: Path) -> None:
    recording = begin(tmp_path / 'records')
    for index, parts in enumerate(([{'x': 1}], [{'x': 2}, {'x': 3}])):
        recording.add(ARRAYS, START + index, 0, cdr(
            ARRAYS, fixed=[1.0, 2.0, 3.0], parts=parts, bytes=[7] * 65, text='a,b', many=[7] * 65))
    recording.close()
    rows = table(recording.folder, ARRAYS.topic)
    assert rows[0][2:] == ['fixed[0]', 'fixed[1]', 'fixed[2]', 'parts[0].x', 'bytes', 'text',
                           'many', 'parts[1].x']
    data = b64encode(bytes([7] * 65)).decode()
    assert rows[1][5:] == ['1', data, 'a,b', f'[{",".join(["7"] * 65)}]', '']
    assert rows[2][5:] == ['2', data, 'a,b', f'[{",".join(["7"] * 65)}]', '3']
