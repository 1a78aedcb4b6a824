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
"""One MCAP file that is being written, chunk by chunk, each with its link of the chain."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import cast, IO

from mcap.writer import CompressionType, Writer

from ws_bridge.config import VERSION
from ws_bridge.record import chain
from ws_bridge.record.channels import ChannelInfo, JSON
from ws_bridge.record.keys import Signer
from ws_bridge.record.rosbag2 import channel_metadata, FileFacts, INFORMATION, serialized
from ws_bridge.record.wire import Buffer

CHUNK_BYTES = 262_144
"""A chunk that has so many bytes is written."""
CHUNK_TIME = 0.5
"""So is one that was begun so long ago, s: what a crash may cost at most."""
_NEVER = 1 << 62
PROFILE = 'ros2'
_OVERHEAD = 31      # bytes of a message beside its data
_WRITTEN_AT_ONCE = 1 << 24


class _Sink:
    """Gathers what is written until it is committed, and hashes it."""

    def __init__(self, path: Path) -> None:
        # For its owner and group: it holds what the robot saw.
        self._descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)     # nobody repairs it now
        self._path = path
        self._parts: list[bytes] = []
        self._offset = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        self._hash.update(data)
        self._offset += len(data)
        return len(data)

    def tell(self) -> int:
        return self._offset

    def flush(self) -> None:
        """Do nothing yet: see :meth:`commit`."""

    def end_segment(self) -> bytes:
        """Return the hash of what came since the last call."""
        digest, self._hash = self._hash.digest(), hashlib.sha256()
        return digest

    def commit(self) -> None:
        """
        Write what was gathered.

        :raises OSError: the disk takes no more.
        """
        parts, self._parts = self._parts, []
        view = memoryview(b''.join(parts))
        while view:
            view = view[os.write(self._descriptor, view[:_WRITTEN_AT_ONCE]):]

    def sync(self) -> None:
        """
        Have the disk take it; see :meth:`commit`.

        :raises FileNotFoundError: the file was deleted or moved: nobody would find it.
        """
        if not os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path)):
            raise FileNotFoundError(errno.ENOENT, 'another file stands in its place',
                                    str(self._path))
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class SignedFile:
    """
    A file.

    :param path: which does not exist yet.
    :param begin: what its first record says; see :class:`~ws_bridge.record.recording.Recording`.
    :raises OSError: it cannot be made.
    :ivar waiting: bytes of messages that are in no chunk yet.
    """

    def __init__(self, path: Path, begin: Mapping[str, str]) -> None:
        self.path = path
        self.waiting = 0
        self._begin = dict(begin)
        self._chain = chain.start()
        self._links = 0
        self._schemas: dict[tuple[str, str], int] = {}
        self._channels: dict[int, ChannelInfo] = {}
        self._counts: Counter[int] = Counter()
        self._start = self._end = 0
        self._sink = _Sink(path)
        # Its annotation wants all of a file; it uses write, tell and flush.
        self._writer = Writer(cast('IO[bytes]', self._sink), chunk_size=_NEVER,
                              compression=CompressionType.ZSTD)
        self._writer.start(PROFILE, library=f'ws_bridge {VERSION}')
        self._writer.add_metadata(chain.BEGIN, self._begin)
        try:
            self._sink.commit()
        except OSError:
            self._sink.close()
            raise

    def __repr__(self) -> str:
        return f'SignedFile({self.path.name}, {self._links} chunks)'

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._sink.tell() + self.waiting

    @property
    def chain(self) -> bytes:
        """The value of its chain."""
        return self._chain

    def add_channel(self, info: ChannelInfo) -> int:
        """Return the number of a new channel."""
        encoding = 'jsonschema' if info.encoding == JSON else 'ros2msg'
        key = info.type_name, info.schema
        if key not in self._schemas:
            self._schemas[key] = self._writer.register_schema(
                info.type_name, encoding, info.schema.encode())
        number = self._writer.register_channel(
            info.topic, info.encoding, self._schemas[key], channel_metadata(info))
        self._channels[number] = info
        return number

    def add(self, channel: int, stamp: int, sequence: int, data: Buffer,
            published: int) -> None:
        """
        Add a message.

        :param stamp: when the bridge got it, Unix time, ns.
        :param published: when it was published, the same where that is not known.
        """
        self._writer.add_message(channel, stamp, cast(bytes, data), published, sequence)
        self.waiting += len(data) + _OVERHEAD
        if not self._counts:
            self._start = self._end = stamp
        self._start, self._end = min(self._start, stamp), max(self._end, stamp)
        self._counts[channel] += 1

    def flush(self) -> None:
        """
        Write what waits as a chunk, with its link.

        :raises OSError: the disk takes no more.
        """
        if self.waiting:
            self.waiting = 0
            self._writer.flush()
            segment = self._sink.end_segment()
            self._links += 1
            self._chain = chain.follow(self._chain, segment)
            self._writer.add_metadata(chain.LINK, chain.link_fields(
                self._links, segment, self._chain))
            self._sink.end_segment()      # the link is held by its own numbers
            self._sink.commit()

    def sync(self) -> None:
        """Have the disk take what was written; raises as :meth:`flush`."""
        self._sink.sync()

    def facts(self) -> FileFacts:
        """Return what ``metadata.yaml`` says of it."""
        return FileFacts(
            self.path.name, self._start, self._end,
            {info.key: (info, self._counts[number]) for number, info in self._channels.items()},
            self._begin.get('distro', ''), self._begin.get('bag', ''))

    def close(self, signer: Signer | None) -> None:
        """
        Write the end, signed, and the indexes.

        :param signer: ``None`` = it is not signed.
        :raises OSError: the disk takes no more; the file is closed nevertheless.
        """
        try:
            self.flush()
            self._writer.add_metadata(INFORMATION, serialized(self.facts()))
            segment = self._sink.end_segment()
            self._chain = chain.follow(self._chain, segment)
            said = {'state': chain.COMPLETE, 'links': str(self._links),
                    'sha256': segment.hex(), 'chain': self._chain.hex()}
            self._writer.add_metadata(chain.END, signer.sign(said) if signer else said)
            self._writer.finish()
            self._sink.commit()
            self._sink.sync()
        finally:
            self._sink.close()

    def abandon(self) -> None:
        """Close the file as it is; what was written can be repaired."""
        self._sink.close()
