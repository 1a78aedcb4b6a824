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
Makes files that were cut readable again: what is there as a whole stays, the end is written anew.

A file is copied up to the last link that is there as a whole, and the copy takes its place. What
stood behind it was not complete: at most a chunk, of ``CHUNK_TIME``.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
import fcntl
import hashlib
import os
from pathlib import Path
import shutil
from typing import BinaryIO
import zlib

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import DataEnd, Footer, McapRecord, Metadata, MetadataIndex, SummaryOffset

from ws_bridge.errors import BadRecording
from ws_bridge.record import chain
from ws_bridge.record.keys import Signer
from ws_bridge.record.recording import recordings_in
from ws_bridge.record.rosbag2 import (
    FileFacts,
    files_of,
    INFORMATION,
    METADATA,
    serialized,
    write_metadata,
)
from ws_bridge.record.scan import Indexes, MAGIC, scan, Scanned


@dataclass(frozen=True, slots=True)
class Repaired:
    """
    What became of a file.

    :param kept: bytes of it; ``lost``: those that stood behind.
    :param is_signed: whether the end is signed: the bridge's key was there, and the chain held.
    """

    path: Path
    kept: int
    lost: int
    is_signed: bool


def repair(folder: Path, signer: Signer | None) -> list[Repaired]:
    """
    Repair what was cut of a recording, and write its ``metadata.yaml`` where that is missing.

    :param signer: ``None`` = the ends are not signed.
    :return: what was repaired.
    :raises BadRecording: a file is no recording of ws_bridge.
    :raises OSError: it cannot be written; the files are as they were.
    """
    done = [fixed for path in files_of(folder) if (fixed := repair_file(path, signer))]
    with suppress(BadRecording):        # all files were empty
        if done or not (folder / METADATA).exists():
            write_metadata(folder)
    return done


def repair_all(parent: Path, signer: Signer | None) -> Iterator[Repaired | BadRecording]:
    """Repair every recording of a folder; one that cannot be repaired is told, and stays."""
    for folder in recordings_in(parent):
        try:
            yield from repair(folder, signer)
        except BadRecording as exc:
            yield exc
        except OSError as exc:
            yield BadRecording(f'{folder}: {exc.strerror}')


def repair_file(path: Path, signer: Signer | None) -> Repaired | None:
    """
    Repair a file; ``None`` where nothing is wrong with it, or it is being written.

    A file in which nothing was written yet is deleted.

    :raises BadRecording: it is no recording of ws_bridge.
    :raises OSError: it cannot be written; it is as it was.
    """
    with open(path, 'rb') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        size = os.fstat(file.fileno()).st_size
        if size < len(MAGIC) and MAGIC.startswith(file.read()):
            path.unlink()
            return Repaired(path, 0, size, is_signed=False)
        scanned = scan(path)
        if scanned.is_whole:
            return None
        if scanned.begin is None:
            raise BadRecording(f'{path} was not recorded by ws_bridge')
        if scanned.has_tail:
            raise BadRecording(f'{path} was not cut but changed, at byte {scanned.reached}: to '
                               'repair it would lose what stands behind')
        keep = scanned.segments[-1].after if scanned.segments else scanned.begin_end
        kept = scan(path, keep)
        file.seek(0)
        is_signed = _write(path, file, kept, signer)
        return Repaired(path, keep, size - keep, is_signed)


def _write(path: Path, file: BinaryIO, kept: Scanned, signer: Signer | None) -> bool:
    draft = path.with_name(f'.{path.name}.repair')
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
        with open(descriptor, 'wb') as copy:
            shutil.copyfileobj(_Part(file, kept.size), copy, 1 << 20)
            end, is_signed = _end(kept, signer)
            copy.write(end)
            copy.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return is_signed


class _Part:
    """The first bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data


def _end(kept: Scanned, signer: Signer | None) -> tuple[bytes, bool]:
    """Return what is written behind the part that is kept, and whether it is signed."""
    begin, indexes = kept.begin or {}, kept.found
    statistics = indexes.statistics
    assert statistics is not None
    value, holds = chain.start(), not kept.broken
    for number, segment in enumerate(kept.segments, 1):
        value = chain.follow(value, segment.sha256)
        holds = holds and segment.said == chain.link_fields(number, segment.sha256, value)
    facts = FileFacts(kept.path.name, statistics.message_start_time, statistics.message_end_time,
                      kept.topics(), begin.get('distro', ''), begin.get('bag', ''))
    information = _record(Metadata(name=INFORMATION, metadata=serialized(facts)))
    digest = _last_segment(kept, information)
    value = chain.follow(value, digest)
    fields = {'state': chain.REPAIRED, 'links': str(len(kept.segments)), 'sha256': digest.hex(),
              'chain': value.hex()}
    is_signed = signer is not None and holds
    if signer is not None and holds:
        fields = signer.sign(fields)
    end = _record(Metadata(name=chain.END, metadata=fields))
    offset = kept.size
    for name, record in ((INFORMATION, information), (chain.END, end)):
        indexes.metadata.append(MetadataIndex(offset=offset, length=len(record), name=name))
        offset += len(record)
    statistics.metadata_count = len(indexes.metadata)
    data_end = _record(DataEnd(data_section_crc=0))
    return information + end + data_end + _summary(indexes, offset + len(data_end)), is_signed


def _last_segment(kept: Scanned, information: bytes) -> bytes:
    """Return the hash of what stands between the last link and the end."""
    digest = hashlib.sha256()
    if not kept.segments:
        with open(kept.path, 'rb') as file:
            digest.update(file.read(kept.size))
    digest.update(information)
    return digest.digest()


def _record(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())


def _summary(indexes: Indexes, start: int) -> bytes:
    """
    Return the summary, the footer and the magic.

    :param start: offset of the summary.
    """
    assert indexes.statistics is not None
    groups: tuple[tuple[int, list[McapRecord]], ...] = (
        (Opcode.SCHEMA, list(indexes.schemas.values())),
        (Opcode.CHANNEL, list(indexes.channels.values())),
        (Opcode.STATISTICS, [indexes.statistics]),
        (Opcode.CHUNK_INDEX, list(indexes.chunks)),
        (Opcode.METADATA_INDEX, list(indexes.metadata)))
    summary = b''
    offsets: list[McapRecord] = []
    for opcode, records in groups:
        written = b''.join(map(_record, records))
        if written:
            offsets.append(SummaryOffset(group_opcode=opcode, group_start=start + len(summary),
                                         group_length=len(written)))
        summary += written
    offset_start = start + len(summary)
    summary += b''.join(map(_record, offsets))
    footer = _record(Footer(summary_start=start, summary_offset_start=offset_start, summary_crc=0))
    crc = zlib.crc32(summary + footer[:-4])
    return summary + footer[:-4] + crc.to_bytes(4, 'little') + MAGIC
