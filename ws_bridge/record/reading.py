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
from typing import TypeAlias

from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
import orjson

from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import ChannelInfo
from ws_bridge.record.recording import Recording
from ws_bridge.record.rosbag2 import facts_of, FileFacts, files_of, Topics
from ws_bridge.record.scan import UNREADABLE

MayHear: TypeAlias = Callable[[str, str], bool]
"""Whether somebody may hear a topic of a type; no type = one of which only is spoken."""


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


def newest(path: Path, at: int, topics: Iterable[str], begin: int | None = None) -> list[Recorded]:
    """
    Return the newest message of each topic at a time, the oldest of them first.

    :param at: Unix time, ns; what came later is not there yet.
    :param begin: likewise: what is older is not looked for.
    :raises BadRecording: a file was cut, or cannot be read.
    """
    found: dict[str, Recorded] = {}
    wanted = set(topics)
    try:
        for each in files_at(path):
            facts = facts_of(each)
            infos = {key: info for key, (info, count) in facts.topics.items()
                     if count and info.topic in wanted}
            missing = {info.topic for info in infos.values()}
            if not missing or facts.start > at or facts.end < (begin or 0):
                continue
            with open(each, 'rb') as file:
                rows = make_reader(file).iter_messages(
                    missing, starting_at=begin, ending_at=at, reverse=True)
                for _, recorded in _rows(0, rows, infos):
                    topic = recorded.info.topic
                    if topic not in missing:
                        continue
                    missing.discard(topic)
                    if topic not in found or found[topic].stamp <= recorded.stamp:
                        found[topic] = recorded
                    if not missing:
                        break
    except UNREADABLE as exc:
        raise BadRecording(f'{path}: {exc}') from exc
    except OSError as exc:
        raise BadRecording(f'{path}: {exc.strerror}') from exc
    return sorted(found.values(), key=lambda each: each.stamp)


def _rows(number: int, found: Iterable[tuple[Schema | None, Channel, Message]],
          infos: dict[tuple[str, str], ChannelInfo]) -> Iterator[tuple[tuple[int, int], Recorded]]:
    """Give the messages of a file, each with what it is sorted by."""
    for schema, channel, message in found:
        yield (message.log_time, number), Recorded(
            infos[channel.topic, schema.name if schema else ''], message.log_time,
            message.publish_time, message.sequence, message.data)


def cut(path: Path, target: Recording, *, begin: int | None, end: int | None,
        may_hear: MayHear, hears_all: bool = True) -> tuple[int, set[str]]:
    """
    Copy a part of a recording.

    :param target: which is closed at the end.
    :param may_hear: of a topic; others are left out, and what the bridge says of them too.
    :param hears_all: whether to copy what the bridge says of no topic, or of several.
    :return: how many messages were copied, and the topics that were left out.
    """
    left_out: set[str] = set()
    count = 0
    for each in messages_for(path, None, begin, end, left_out, may_hear=may_hear,
                             hears_all=hears_all):
        target.add(each.info, each.stamp, each.sequence, each.data, each.published)
        count += 1
    target.close()
    return count, left_out


def messages_for(path: Path, topics: Iterable[str] | None, begin: int | None, end: int | None,
                 left_out: set[str], *, may_hear: MayHear, hears_all: bool) -> Iterator[Recorded]:
    """
    Give the messages that somebody may hear, in the order of their time.

    :param left_out: gets the topics of the others.
    :raises BadRecording: as of :func:`messages`.
    """
    for each in messages(path, topics, begin, end):
        if is_for(each, may_hear, hears_all=hears_all):
            yield each
        else:
            left_out.add(each.info.topic)


def is_for(each: Recorded, may_hear: MayHear, *, hears_all: bool) -> bool:
    """Whether a message is for somebody who may hear this; see :func:`cut`."""
    if not each.info.is_own:
        return may_hear(each.info.topic, each.info.type_name)
    if hears_all:
        return True
    try:
        topic = orjson.loads(each.data).get('topic')
    except (ValueError, AttributeError):
        return False
    return isinstance(topic, str) and may_hear(topic, '')
