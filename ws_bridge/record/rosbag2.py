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
The form of rosbag2: ``metadata.yaml`` of version 9, and which files a folder has.

A folder ``NAME`` has files ``NAME_0.mcap``, ``NAME_1.mcap`` ... with what crossed the bridge. The
bridge's own channels are in ``NAME_0.bridge.mcap`` ... beside them, which ``metadata.yaml`` does
not name: rosbag2 plays a folder only where all channels are CDR, and some readers of ROS bags
refuse a schema that is not of ROS.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
import fcntl
import os
from pathlib import Path
import re
import struct
from typing import Any, TypeAlias

from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Schema
import yaml

from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import ChannelInfo, Qos

METADATA = 'metadata.yaml'
INFORMATION = 'rosbag2'
"""Name of the record that holds the same of one file."""
VERSION = 9
STREAMS = SAMPLES, BRIDGE = ('samples', 'bridge')
"""What crossed, and what the bridge says of it: a file each."""
_SUFFIX = {SAMPLES: '.mcap', BRIDGE: '.bridge.mcap'}
_FILE = re.compile(r'(?P<name>.+)_(?P<number>[0-9]{1,9})(?P<suffix>(?:\.bridge)?\.mcap)')
NO_TIME = (1 << 63) - 1
"""When a file without messages begins, as rosbag2 has it, ns."""
Topics: TypeAlias = Mapping[tuple[str, str], tuple[ChannelInfo, int]]
"""Channels with their counts of messages, by topic and type."""
# The same in C, where PyYAML has it.
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_DUMPER = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)
_TOP = 'rosbag2_bagfile_information'
_HEAD = 400
"""Characters of ``metadata.yaml``, as it is written here, in which the duration stands."""
_DURATION = re.compile(r'\n  duration:\n    nanoseconds: ([0-9]{1,18})\n')
QOS, TYPE_HASH, GATE = 'offered_qos_profiles', 'topic_type_hash', 'ws_bridge_gate'
"""Keys of a channel's metadata."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """
    What ``metadata.yaml`` says of one file.

    :param start: of the first message, Unix time, ns; ``end``: of the last.
    :param distro: the ROS release.
    :param bag: the number of the recording.
    """

    name: str
    start: int = 0
    end: int = 0
    topics: Topics = field(default_factory=dict)
    distro: str = ''
    bag: str = ''

    @property
    def count(self) -> int:
        """How many messages there are."""
        return sum(count for _, count in self.topics.values())


def file_name(name: str, stream: str, number: int) -> str:
    """Return the name of a file of a recording."""
    return f'{name}_{number}{_SUFFIX[stream]}'


def parse_name(file: str) -> tuple[str, str, int] | None:
    """Return recording, stream and number of a file, ``None`` where it is none of ours."""
    match = _FILE.fullmatch(file)
    if match is None:
        return None
    stream = next(each for each, suffix in _SUFFIX.items() if suffix == match['suffix'])
    return match['name'], stream, int(match['number'])


def files_of(folder: Path) -> list[Path]:
    """
    Return the files of a recording, those of a stream in their order.

    :raises BadRecording: there are none.
    """
    found = []
    try:
        for path in folder.iterdir():
            parsed = parse_name(path.name)
            if parsed is not None and not path.is_symlink() and path.is_file():
                found.append(((STREAMS.index(parsed[1]), parsed[2]), path))
    except OSError as exc:
        raise BadRecording(f'{folder}: {exc.strerror}') from exc
    if not found:
        raise BadRecording(f'{folder} has no files NAME_0.mcap')
    return [path for _, path in sorted(found)]


def stream_of(path: Path) -> str:
    """Return what a file holds; a file of another name has samples."""
    parsed = parse_name(path.name)
    return parsed[1] if parsed else SAMPLES


def channel_metadata(info: ChannelInfo) -> dict[str, str]:
    """Return what the record of a channel says beside topic and type."""
    if info.is_own:
        return {}
    return {QOS: _yaml([dict(each) for each in info.qos]) if info.qos else '',
            TYPE_HASH: info.type_hash, **({GATE: info.gate} if info.gate else {})}


def information(files: Iterable[FileFacts]) -> dict[str, Any]:
    """Return what ``metadata.yaml`` says of files of samples, in their order."""
    files = list(files)
    topics: dict[tuple[str, str], tuple[ChannelInfo, int]] = {}
    for facts in files:
        for info, count in facts.topics.values():
            topics[info.key] = info, count + (topics[info.key][1] if info.key in topics else 0)
    timed = [facts for facts in files if facts.count]
    start = min((facts.start for facts in timed), default=NO_TIME)
    end = max((facts.end for facts in timed), default=NO_TIME)
    return {
        'version': VERSION,
        'storage_identifier': 'mcap',
        'duration': {'nanoseconds': end - start},
        'starting_time': {'nanoseconds_since_epoch': start},
        'message_count': sum(facts.count for facts in files),
        'topics_with_message_count': [
            {'topic_metadata': {
                'name': info.topic, 'type': info.type_name,
                'serialization_format': info.encoding,
                'offered_qos_profiles': [dict(each) for each in info.qos],
                'type_description_hash': info.type_hash},
             'message_count': count} for _, (info, count) in sorted(topics.items())],
        'compression_format': '',
        'compression_mode': '',
        'relative_file_paths': [facts.name for facts in files],
        'files': [{
            'path': facts.name,
            'starting_time': {'nanoseconds_since_epoch': facts.start if facts.count else NO_TIME},
            'duration': {'nanoseconds': facts.end - facts.start},
            'message_count': facts.count} for facts in files],
        'custom_data': {'ws_bridge': files[0].bag} if files and files[0].bag else None,
        'ros_distro': files[0].distro if files else ''}


def serialized(facts: FileFacts) -> dict[str, str]:
    """Return the record :data:`INFORMATION` of a file."""
    return {'serialized_metadata': _yaml(information([facts]))}


def write_metadata(folder: Path) -> dict[str, Any]:
    """
    Write ``metadata.yaml`` anew, from the files that there are, and return what it says.

    :raises BadRecording: a file cannot be read.
    :raises OSError: it cannot be written.
    """
    said = {_TOP: information(map(facts_of, samples_of(folder)))}
    draft = folder / f'.{METADATA}'
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
    with open(descriptor, 'w', encoding='utf-8') as file:
        file.write(_yaml(said))
        file.flush()
        os.fsync(descriptor)
    draft.replace(folder / METADATA)
    return said


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """
    Return what ``metadata.yaml`` says, ``None`` where there is none.

    :raises BadRecording: it is no YAML.
    """
    try:
        said = yaml.load((folder / METADATA).read_text(encoding='utf-8'), _LOADER)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise BadRecording(f'{folder / METADATA}: {exc}') from exc
    return said if isinstance(said, dict) else {}


def duration_of(folder: Path) -> int | None:
    """
    Return how long a recording is, from its first sample to its last one, ns.

    ``None``: its ``metadata.yaml`` does not say, or is not there yet. Nothing else is read.
    """
    try:
        with open(folder / METADATA, encoding='utf-8') as file:
            found = _DURATION.search(file.read(_HEAD))
    except (OSError, ValueError):
        return None
    return None if found is None else int(found[1])


def expected_metadata(folder: Path) -> dict[str, Any]:
    """Return what ``metadata.yaml`` has to say of the files that there are."""
    return {_TOP: information(map(facts_of, samples_of(folder)))}


def samples_of(folder: Path) -> Iterator[Path]:
    """Give the files of samples of a folder."""
    return (path for path in files_of(folder) if stream_of(path) == SAMPLES)


def facts_of(path: Path) -> FileFacts:
    """
    Read what ``metadata.yaml`` says of a file from its own indexes.

    :raises BadRecording: it is being recorded, was cut, or is no file of MCAP.
    """
    from ws_bridge.record.chain import BEGIN
    try:
        with open(path, 'rb') as file:
            reader = make_reader(file)
            summary = reader.get_summary()
            if summary is None or summary.statistics is None:
                raise _fault(path, 'its end is missing')
            begin = next((each.metadata for each in reader.iter_metadata()
                          if each.name == BEGIN), {})
    except (OSError, ValueError, LookupError, struct.error, McapError) as exc:
        raise _fault(path, exc) from exc
    counts = summary.statistics.channel_message_counts
    topics = {}
    for number, channel in summary.channels.items():
        schema = summary.schemas.get(channel.schema_id)
        info = info_of(channel, schema)
        topics[info.key] = info, counts.get(number, 0)
    return FileFacts(path.name, summary.statistics.message_start_time,
                     summary.statistics.message_end_time, topics,
                     begin.get('distro', ''), begin.get('bag', ''))


def _fault(path: Path, why: object) -> BadRecording:
    """Return why a file cannot be read: who is writing it holds a lock."""
    with suppress(OSError), open(path, 'rb') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return BadRecording(f'{path} is being recorded now: wait until that has ended')
    if isinstance(why, OSError) and why.filename:       # else: too short to be read
        return BadRecording(f'{path}: {why.strerror}')
    return BadRecording(f'{path} was cut and has to be repaired, or is no file of MCAP: {why}')


def info_of(channel: Channel, schema: Schema | None) -> ChannelInfo:
    """Return what the records of a channel and of its schema say."""
    return ChannelInfo(
        channel.topic, schema.name if schema else '',
        schema.data.decode(errors='replace') if schema else '', channel.message_encoding,
        tuple(parse_qos(channel.metadata.get(QOS, ''))), channel.metadata.get(TYPE_HASH, ''),
        channel.metadata.get(GATE, ''))


def parse_qos(text: str) -> list[Qos]:
    """Return the profiles in a channel's metadata; none where they are of another form."""
    try:
        found = yaml.load(text, _LOADER)
    except yaml.YAMLError:
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=1000))
