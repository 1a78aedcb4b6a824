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
"""Messages of one topic as CSV: a line each, a column for each number, in the order of fields."""
from __future__ import annotations

from collections.abc import Callable, Iterator
import csv
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import orjson

from ws_bridge.convert.codec import CodecStore
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import ChannelInfo
from ws_bridge.record.reading import channels_at, messages, Recorded

TIMES = ('log_time', 'publish_time')
"""The first columns: Unix times, s."""
SPREAD = 64
"""Elements of an array that have a column each; a longer one is JSON in one column."""


def write_table(path: Path, topic: str, out: TextIO, begin: int | None = None,
                end: int | None = None) -> int:
    """
    Write the messages of a topic.

    :param begin: Unix time, ns, of the first one; ``end``: before which the last one is.
    :return: how many there were.
    :raises BadRecording: there is no such topic.
    :raises WsBridgeError: a message does not fit its type.
    """
    channels = channels_at(path)
    infos = [info for info, _ in channels.values() if info.topic == topic]
    if len(infos) != 1:
        there = ', '.join(sorted({name for name, _ in channels}))
        raise BadRecording(f'{topic} has several types in {path}' if infos else
                           f'{topic} is not in {path}: there are {there}')
    read = _reader(infos[0])

    def rows() -> Iterator[tuple[Recorded, dict[str, Any]]]:
        for each in messages(path, [topic], begin, end):
            yield each, dict(_cells('', read(each.data)))
    columns: dict[str, None] = {}
    for _, cells in rows():     # arrays differ in length: all are asked first
        columns.update(dict.fromkeys(cells))
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(chain(TIMES, columns))
    count = 0
    for each, cells in rows():
        writer.writerow(chain((_seconds(each.stamp), _seconds(each.published)),
                              (cells.get(name, '') for name in columns)))
        count += 1
    return count


def _reader(info: ChannelInfo) -> Callable[[bytes], Any]:
    if info.is_own:
        return orjson.loads
    codec = CodecStore().codec(schema_from_text(info.type_name, info.schema))
    return lambda data: orjson.loads(codec.to_json(data))


def _cells(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Give name and value of each column of a value."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _cells(f'{name}.{key}' if name else key, part)
    elif isinstance(value, list):
        if len(value) > SPREAD:
            yield name, orjson.dumps(value).decode()
        else:
            for place, part in enumerate(value):
                yield from _cells(f'{name}[{place}]', part)
    else:
        yield name, value


def _seconds(stamp: int) -> str:
    return f'{stamp // 1_000_000_000}.{stamp % 1_000_000_000:09d}'
