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
The process that makes an MCAP file of a plot's table; it knows neither ROS nor peers.

The table is CSV as the page saves it: a time in s, then a column for each signal. Each column
becomes a channel of JSON messages with one value.
"""
from __future__ import annotations

from collections import Counter
import csv
from io import BytesIO, StringIO
import json
import os
import re
import sys

from mcap.writer import CompressionType, Writer
import orjson

from ws_bridge.config import VERSION
from ws_bridge.errors import BadField
from ws_bridge.record.channels import JSON

NICENESS = 10
MOST_SIGNALS = 64
"""Columns beside the time; an XY signal has two."""
FIELD = 'data.csv'
SCHEMA_NAME = 'ws_bridge.Plotted'
SCHEMA = json.dumps({
    '$schema': 'https://json-schema.org/draft/2020-12/schema', 'title': SCHEMA_NAME,
    'description': 'A value that a plot shows.', 'type': 'object',
    'properties': {'value': {'type': ['number', 'null'],
                             'description': 'null = not a number, or infinite'}}})

_TIME = re.compile(r'(\d{1,10})(?:\.(\d{1,9}))?', re.ASCII)


def plotted(table: str) -> bytes:
    """
    Return an MCAP file with what a table holds.

    :raises BadField: it is no such table; says which line is wrong.
    """
    rows = csv.reader(StringIO(table, newline=''), strict=True)
    out = BytesIO()
    writer = Writer(out, compression=CompressionType.ZSTD)
    writer.start('', library=f'ws_bridge {VERSION}')
    schema = writer.register_schema(SCHEMA_NAME, 'jsonschema', SCHEMA.encode())
    try:
        names = _names(next(rows, []))
        channels = [writer.register_channel(name, JSON, schema) for name in names]
        counts = Counter(dict.fromkeys(channels, 0))
        for row in rows:
            if len(row) != len(channels) + 1:
                raise ValueError(f'{len(row)} cells, not {len(channels) + 1}')
            time = _nanoseconds(row[0])
            for channel, cell in zip(channels, row[1:], strict=True):
                if cell:
                    writer.add_message(channel, time, orjson.dumps({'value': float(cell)}), time,
                                       counts[channel])
                    counts[channel] += 1
    except (csv.Error, ValueError) as exc:
        raise BadField(f'is no table of a plot: line {rows.line_num}: {exc}', field=FIELD) from exc
    writer.finish()
    return out.getvalue()


def _names(head: list[str]) -> list[str]:
    """
    Return a topic for each column; a signal may be in several plots.

    :raises ValueError: there are none, or too many.
    """
    if not 1 < len(head) <= MOST_SIGNALS + 1:
        raise ValueError(f'needs a time and 1 to {MOST_SIGNALS} signals')
    seen: Counter[str] = Counter()
    names = []
    for name in head[1:]:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f'{name} ({seen[name]})')
    return names


def _nanoseconds(text: str) -> int:
    """
    Return a time in ns, without rounding.

    :raises ValueError: it is none, or before 0.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f'{text[:40]!r} is no time')
    return int(found[1]) * 1_000_000_000 + int((found[2] or '').ljust(9, '0'))


def main() -> None:
    """Run as a process, which gets a table on its standard input and writes the file."""
    os.nice(NICENESS)
    try:
        made = plotted(sys.stdin.buffer.read().decode())
    except BadField as exc:
        sys.exit(json.dumps({'message': exc.message}))
    sys.stdout.buffer.write(made)


if __name__ == '__main__':
    main()
