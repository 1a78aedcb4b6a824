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
"""Reads recordings: what is in them, their messages in the order of their time, parts of them."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
import heapq
from pathlib import Path

from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
import orjson

from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import ChannelInfo
from ws_bridge.record.recording import Recording
from ws_bridge.record.rosbag2 import facts_of, FileFacts, files_of, Topics
from ws_bridge.record.scan import UNREADABLE


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message; times are Unix times, ns."""

    info: ChannelInfo
    stamp: int
    published: int
    sequence: int
    data: bytes


def files_at(path: Path) -> list[Path]:
    """
    Return the files of a folder, or the one that a path names.

    :raises BadRecording: there are none.
    """
    return files_of(path) if path.is_dir() else [path]


def facts_at(path: Path) -> list[FileFacts]:
    """
    Return what is in each file.

    :raises BadRecording: one was cut.
    """
    return [facts_of(each) for each in files_at(path)]


def channels_at(path: Path) -> Topics:
    """Return the channels of all files, with how many messages there are."""
    found: dict[tuple[str, str], tuple[ChannelInfo, int]] = {}
    for facts in facts_at(path):
        for key, (info, count) in facts.topics.items():
            found[key] = info, count + (found[key][1] if key in found else 0)
    return found


def messages(path: Path, topics: Iterable[str] | None = None, begin: int | None = None,
             end: int | None = None) -> Iterator[Recorded]:
    """
    Give the messages of all files in the order of their time.

    :param topics: ``None`` = all.
    :param begin: Unix time, ns, of the first one; ``end``: before which the last one is.
    :raises BadRecording: a file was cut, or cannot be read.
    """
    wanted = None if topics is None else list(topics)
    infos = {key: info for key, (info, _) in channels_at(path).items()}
    try:
        with ExitStack() as stack:
            readers = [make_reader(stack.enter_context(open(each, 'rb')))
                       for each in files_at(path)]
            rows = [_rows(number, reader.iter_messages(
                wanted, starting_at=begin, ending_before=end), infos)
                for number, reader in enumerate(readers)]
            for _, recorded in heapq.merge(*rows, key=lambda row: row[0]):
                yield recorded
    except UNREADABLE as exc:
        raise BadRecording(f'{path}: {exc}') from exc
    except OSError as exc:
        raise BadRecording(f'{path}: {exc.strerror}') from exc


def _rows(number: int, found: Iterable[tuple[Schema | None, Channel, Message]],
          infos: dict[tuple[str, str], ChannelInfo]) -> Iterator[tuple[tuple[int, int], Recorded]]:
    """Give the messages of a file, each with what it is sorted by."""
    for schema, channel, message in found:
        yield (message.log_time, number), Recorded(
            infos[channel.topic, schema.name if schema else ''], message.log_time,
            message.publish_time, message.sequence, message.data)


def cut(path: Path, target: Recording, *, begin: int | None, end: int | None,
        may_read: Callable[[str], bool], sees_all: bool = True) -> tuple[int, set[str]]:
    """
    Copy a part of a recording.

    :param target: which is closed at the end.
    :param may_read: of a topic; others are left out, and what the bridge says of them too.
    :param sees_all: whether to copy what the bridge says of no topic, or of several.
    :return: how many messages were copied, and the topics that were left out.
    """
    left_out: set[str] = set()
    count = 0
    for each in messages(path, None, begin, end):
        info = each.info
        if not info.is_own and not may_read(info.topic):
            left_out.add(info.topic)
            continue
        if info.is_own and not _may_hear(each.data, may_read, sees_all=sees_all):
            left_out.add(info.topic)
            continue
        target.add(info, each.stamp, each.sequence, each.data, each.published)
        count += 1
    target.close()
    return count, left_out


def _may_hear(data: bytes, may_read: Callable[[str], bool], *, sees_all: bool) -> bool:
    """Whether a role may hear what the bridge says."""
    if sees_all:
        return True
    try:
        topic = orjson.loads(data).get('topic')
    except (ValueError, AttributeError):
        return False
    return isinstance(topic, str) and may_read(topic)
