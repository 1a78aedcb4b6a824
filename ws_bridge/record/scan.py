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
Reads a file record by record, as far as it goes: a file that was cut has no indexes to seek by.

Nothing here believes a length, an index or a hash: what a file says is kept beside what is found.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
import hashlib
from io import BytesIO
from pathlib import Path
import struct
from typing import BinaryIO
import zlib

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    Footer,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)
from mcap.stream_reader import get_chunk_data_stream
import zstandard

from ws_bridge.errors import BadRecording
from ws_bridge.record import chain
from ws_bridge.record.rosbag2 import info_of, Topics

MAGIC = b'\x89MCAP0\r\n'
_HEAD = struct.Struct('<BQ')
_MESSAGE = struct.Struct('<HIQ')
UNREADABLE = (McapError, struct.error, ValueError, zstandard.ZstdError, OverflowError,
              LookupError, MemoryError)
"""What a record that was changed may raise when it is read."""
LARGEST = 1 << 31
"""Bytes of a record beyond which a file is not believed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One record: where it begins and ends, what it is, what is in it."""

    offset: int
    end: int
    opcode: int
    body: bytes

    def stream(self) -> ReadDataStream:
        """Return the body, to be read by the records of ``mcap``."""
        return ReadDataStream(BytesIO(self.body))


def pieces(file: BinaryIO, size: int) -> Iterator[Piece]:
    """Give each record that is there as a whole, from where the file stands."""
    offset = file.tell()
    while True:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        opcode, length = _HEAD.unpack(head)
        end = offset + _HEAD.size + length
        if end > size or length > LARGEST:
            return
        yield Piece(offset, end, opcode, file.read(length))
        offset = end


@dataclass(slots=True)
class Segment:
    """
    A part of a file that ends with a link of the chain.

    :param start: offset of its first byte; ``end``: of its link; ``after``: behind that.
    :param sha256: of its bytes, as they are.
    :param said: what its link holds.
    :param times: of the first and the last message, Unix time, ns; 0 = none.
    """

    start: int
    end: int
    after: int
    sha256: bytes
    said: dict[str, str]
    times: tuple[int, int] = (0, 0)

    @property
    def number(self) -> int:
        """The number that the link has, 0 where it has none."""
        text = self.said.get('number', '')
        return int(text) if text.isdecimal() and len(text) < 10 else 0


@dataclass(slots=True)
class Indexes:
    """
    What the summary of a file has to say.

    :ivar metadata: offset, length and name of each.
    """

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    statistics: Statistics | None = None


@dataclass(slots=True)
class Scanned:
    """
    What is in a file.

    :ivar begin: its first own record, ``None`` where it has none.
    :ivar finish: the segment of the last own record, ``None`` where the end is missing.
    :ivar stray: offsets of records that are in no segment.
    :ivar reached: behind the last record that is there as a whole.
    :ivar data_end: whether the part of the data ended in order.
    :ivar is_whole: whether the file ends as MCAP has it, and it was reached.
    :ivar has_tail: whether it ends so, reached or not: then it was not cut.
    :ivar found: the indexes as they have to be; ``told``: as they are.
    :ivar broken: chunks that cannot be read, by offset.
    """

    path: Path
    size: int
    begin: dict[str, str] | None = None
    begin_end: int = 0
    segments: list[Segment] = field(default_factory=list)
    finish: Segment | None = None
    stray: list[int] = field(default_factory=list)
    reached: int = 0
    data_end: bool = False
    is_whole: bool = False
    has_tail: bool = False
    found: Indexes = field(default_factory=Indexes)
    told: Indexes = field(default_factory=Indexes)
    broken: list[int] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)

    def topics(self) -> Topics:
        """Return channels with their counts of messages."""
        infos = {number: info_of(channel, self.found.schemas.get(channel.schema_id))
                 for number, channel in self.found.channels.items()}
        return {info.key: (info, self.counts[number]) for number, info in infos.items()}


def scan(path: Path, until: int | None = None) -> Scanned:
    """
    Read a file.

    :param until: take it as if it ended there.
    :raises BadRecording: it cannot be read, or is no file of MCAP.
    """
    try:
        with open(path, 'rb') as file:
            size = path.stat().st_size if until is None else until
            if file.read(len(MAGIC)) != MAGIC:
                raise BadRecording(f'{path} is no file of MCAP')
            file.seek(max(size - len(MAGIC), len(MAGIC)))
            has_tail = file.read(len(MAGIC)) == MAGIC
            file.seek(len(MAGIC))
            return _Scanner(Scanned(path, size, reached=len(MAGIC), has_tail=has_tail),
                            file).run()
    except OSError as exc:
        raise BadRecording(f'{path}: {exc.strerror}') from exc


class _Scanner:

    def __init__(self, scanned: Scanned, file: BinaryIO) -> None:
        self._scanned = scanned
        self._file = file
        self._hash = hashlib.sha256(MAGIC)
        self._start = 0
        self._times = (0, 0)
        self._index: ChunkIndex | None = None
        self._first = self._last = self._data_end = 0

    def run(self) -> Scanned:
        done = self._scanned
        for piece in pieces(self._file, done.size):
            done.reached = piece.end
            if done.data_end:
                self._summary(piece)
            else:
                self._data(piece)
            if piece.opcode == Opcode.FOOTER:
                self._foot(piece)
                break
        found = done.found
        found.statistics = Statistics(
            attachment_count=0, channel_count=len(found.channels),
            channel_message_counts=dict(done.counts), chunk_count=len(found.chunks),
            message_count=sum(done.counts.values()), message_end_time=self._last,
            message_start_time=self._first, metadata_count=len(found.metadata),
            schema_count=len(found.schemas))
        return done

    # ---- the part of the data

    def _data(self, piece: Piece) -> None:
        done, opcode = self._scanned, piece.opcode
        if opcode == Opcode.DATA_END:
            done.data_end, self._data_end = True, piece.end
            return
        if done.finish is not None:
            done.stray.append(piece.offset)
        is_hashed = True
        try:
            if opcode == Opcode.METADATA:
                is_hashed = self._metadata(piece)
            elif opcode == Opcode.CHUNK:
                self._chunk(piece)
            elif opcode == Opcode.MESSAGE_INDEX and self._index is not None:
                record = MessageIndex.read(piece.stream())
                self._index.message_index_offsets[record.channel_id] = piece.offset
                self._index.message_index_length += piece.end - piece.offset
        except UNREADABLE:
            done.broken.append(piece.offset)
        if is_hashed:
            self._hash.update(_HEAD.pack(opcode, len(piece.body)))
            self._hash.update(piece.body)

    def _metadata(self, piece: Piece) -> bool:
        """Take note of a record of ours; return whether it is a part of a segment."""
        done = self._scanned
        record = Metadata.read(piece.stream())
        done.found.metadata.append(MetadataIndex(
            offset=piece.offset, length=piece.end - piece.offset, name=record.name))
        if record.name == chain.BEGIN and done.begin is None and not done.segments:
            done.begin, done.begin_end = record.metadata, piece.end
        if record.name not in (chain.LINK, chain.END):
            return True
        segment = Segment(self._start, piece.offset, piece.end, self._hash.digest(),
                          record.metadata, self._times)
        if record.name == chain.END:
            done.finish = segment
        else:
            done.segments.append(segment)
        self._hash, self._start, self._times = hashlib.sha256(), piece.end, (0, 0)
        return False

    def _chunk(self, piece: Piece) -> None:
        done = self._scanned
        chunk = Chunk.read(piece.stream())
        self._times = chunk.message_start_time, chunk.message_end_time
        self._index = ChunkIndex(
            chunk_length=piece.end - piece.offset, chunk_start_offset=piece.offset,
            compression=chunk.compression, compressed_size=len(chunk.data),
            message_end_time=chunk.message_end_time, message_index_length=0,
            message_index_offsets={}, message_start_time=chunk.message_start_time,
            uncompressed_size=chunk.uncompressed_size)
        done.found.chunks.append(self._index)
        size = chunk.uncompressed_size
        if size > LARGEST or (chunk.compression == 'zstd'
                              and zstandard.frame_content_size(chunk.data) != size):
            raise ValueError('not of the size that it says')
        stream, size = get_chunk_data_stream(chunk, validate_crc=True)
        for part in pieces(BytesIO(stream.read(size)), size):
            if part.opcode == Opcode.SCHEMA:
                schema = Schema.read(part.stream())
                done.found.schemas[schema.id] = schema
            elif part.opcode == Opcode.CHANNEL:
                channel = Channel.read(part.stream())
                done.found.channels[channel.id] = channel
            elif part.opcode == Opcode.MESSAGE:
                number, _, stamp = _MESSAGE.unpack_from(part.body)
                self._first = min(self._first, stamp) if done.counts else stamp
                self._last = max(self._last, stamp)
                done.counts[number] += 1

    # ---- the summary

    def _summary(self, piece: Piece) -> None:
        told, opcode = self._scanned.told, piece.opcode
        try:
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(piece.stream())
                told.schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                channel = Channel.read(piece.stream())
                told.channels[channel.id] = channel
            elif opcode == Opcode.STATISTICS:
                told.statistics = Statistics.read(piece.stream())
            elif opcode == Opcode.CHUNK_INDEX:
                told.chunks.append(ChunkIndex.read(piece.stream()))
            elif opcode == Opcode.METADATA_INDEX:
                told.metadata.append(MetadataIndex.read(piece.stream()))
        except UNREADABLE:
            self._scanned.broken.append(piece.offset)

    def _foot(self, piece: Piece) -> None:
        """Check the end of the file, and the checksum of its summary."""
        done = self._scanned
        try:
            footer = Footer.read(piece.stream())
        except UNREADABLE:
            done.broken.append(piece.offset)
            return
        self._file.seek(piece.end)
        tail = self._file.read(len(MAGIC) + 1)
        done.is_whole = tail.startswith(MAGIC)
        if len(tail) > len(MAGIC):
            done.stray.append(piece.end + len(MAGIC))
        start = footer.summary_start
        if not start:
            return
        if not self._data_end <= start <= piece.offset:
            done.broken.append(piece.offset)
            return
        self._file.seek(start)
        if zlib.crc32(self._file.read(piece.end - 4 - start)) != footer.summary_crc:
            done.broken.append(start)
