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
"""Test the MCAP file that is made of a plot's table."""
from __future__ import annotations

from io import BytesIO
import json
import sys

from mcap.reader import make_reader
import pytest

from ws_bridge.errors import BadField
from ws_bridge.record import plotted as process
from ws_bridge.record.plotted import MOST_SIGNALS, plotted

HEAD = 'arrival [s],"/a v[""x"", y]",/b p,/b p\r\n'


def test_each_column_is_a_channel() -> None:
    made = plotted(HEAD + '1764399605.250001,0.1,,\r\n1764399606.000000,nan,-2,1e300\r\n'
                          '1764399606.000000,,3,\r\n')
    reader = make_reader(BytesIO(made), validate_crcs=True)
    found = [(channel.topic, message.log_time, message.sequence, json.loads(message.data))
             for _, channel, message in reader.iter_messages()]
    begin, then = 1764399605_250001000, 1764399606_000000000
    assert sorted(found, key=lambda each: each[:3]) == [
        ('/a v["x", y]', begin, 0, {'value': 0.1}), ('/a v["x", y]', then, 1, {'value': None}),
        ('/b p', then, 0, {'value': -2.0}), ('/b p', then, 1, {'value': 3.0}),
        ('/b p (2)', then, 0, {'value': 1e300})]
    summary = reader.get_summary()
    assert summary is not None
    (schema,) = summary.schemas.values()
    assert (schema.encoding, schema.name) == ('jsonschema', 'ws_bridge.Plotted')
    assert json.loads(schema.data)['properties']['value']['type'] == ['number', 'null']
    assert {each.message_encoding for each in summary.channels.values()} == {'json'}


@pytest.mark.parametrize(('table', 'line', 'why'), [
    ('', 0, 'needs a time'), ('time\r\n', 1, 'needs a time'),
    (','.join('x' * (MOST_SIGNALS + 2)), 1, 'needs a time'),
    ('t,a\n1,2\n1,2,3\n', 3, '3 cells, not 2'), ('t,a\n-1,2\n', 2, "'-1' is no time"),
    ('t,a\n99999999999,2\n', 2, 'is no time'), ('t,a\n1,x\n', 2, 'could not convert'),
    ('t,a\n1,"2\n', 2, 'unexpected end'), (f't,{"a" * 200_000}\n', 1, 'field larger')])
def test_what_is_no_table(table: str, line: int, why: str) -> None:
    with pytest.raises(BadField, match=f'line {line}: .*{why}'):
        plotted(table)


def test_the_process(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
                     ) -> None:
    class Standard:

        def __init__(self, table: bytes) -> None:
            self.buffer = BytesIO(table)
    monkeypatch.setattr(process, 'NICENESS', 0)
    monkeypatch.setattr(sys, 'stdin', Standard(b't,a\n1,2\n'))
    process.main()
    sys.stdout.flush()
    assert capfdbinary.readouterr().out.startswith(b'\x89MCAP0\r\n')
    monkeypatch.setattr(sys, 'stdin', Standard(b't,a\n1,x\n'))
    with pytest.raises(SystemExit) as ended:
        process.main()
    assert 'line 2' in json.loads(str(ended.value.code))['message']
