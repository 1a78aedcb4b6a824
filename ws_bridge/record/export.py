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
"""Writes a recording, or a part of it, as one plain MCAP file."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mcap.writer import CompressionType, Writer

from ws_bridge.config import did_you_mean, VERSION
from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import ChannelInfo, JSON
from ws_bridge.record.reading import channels_at, MayHear, messages_for
from ws_bridge.record.rosbag2 import channel_metadata
from ws_bridge.record.signed_file import PROFILE


def write_mcap(path: Path, target: Path, topics: Iterable[str] | None = None,
               begin: int | None = None, end: int | None = None, *, may_hear: MayHear,
               hears_all: bool = True) -> tuple[int, set[str]]:
    """
    Write the messages of all files as one file, in the order of their time; it is not signed.

    :param target: the file, which must not exist.
    :param topics: ``None`` = all, also those of the bridge's own.
    :param begin: Unix time, ns, of the first one; ``end``: before which the last one is.
    :param may_hear: as of :func:`ws_bridge.record.reading.cut`; ``hears_all`` likewise.
    :return: how many messages there are, and the topics that were left out.
    :raises BadRecording: there is no such topic, or the recording cannot be read.
    :raises OSError: the file cannot be written; there is none then.
    """
    infos = {info.topic: info for info, _ in channels_at(path).values()}
    wanted = set(infos if topics is None else topics)
    for topic in sorted(wanted - set(infos)):
        raise BadRecording(f'{topic} is not in {path}{did_you_mean(topic, infos)}')
    with open(target, 'xb') as file:
        try:
            writer = Writer(file, compression=CompressionType.ZSTD)
            # Readers of ROS 2 bags take their profile at its word: all channels are CDR.
            writer.start('' if any(infos[topic].is_own for topic in wanted) else PROFILE,
                         library=f'ws_bridge {VERSION}')
            numbers: dict[tuple[str, str], int] = {}
            left_out: set[str] = set()
            count = 0
            for each in messages_for(path, wanted, begin, end, left_out, may_hear=may_hear,
                                     hears_all=hears_all):
                if each.info.key not in numbers:
                    numbers[each.info.key] = _add_channel(writer, each.info)
                writer.add_message(numbers[each.info.key], each.stamp, each.data, each.published,
                                   each.sequence)
                count += 1
            writer.finish()
        except BaseException:
            target.unlink()
            raise
    return count, left_out


def _add_channel(writer: Writer, info: ChannelInfo) -> int:
    schema = writer.register_schema(
        info.type_name, 'jsonschema' if info.encoding == JSON else 'ros2msg', info.schema.encode())
    return writer.register_channel(info.topic, info.encoding, schema, channel_metadata(info))
