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
"""A folder that is being written: its files in turn, bounded in size and time."""
from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
import os
from pathlib import Path
import re
import secrets

import orjson

from ws_bridge.errors import BadRecording
from ws_bridge.record import chain
from ws_bridge.record.channels import ChannelInfo
from ws_bridge.record.keys import is_signed, Signer
from ws_bridge.record.rosbag2 import (
    BRIDGE,
    file_name,
    METADATA,
    parse_name,
    SAMPLES,
    STREAMS,
    write_metadata,
)
from ws_bridge.record.signed_file import CHUNK_BYTES, CHUNK_TIME, SignedFile
from ws_bridge.record.wire import Buffer

SPLIT_BYTES = 268_435_456
"""A file of so many bytes is followed by the next one, or of less where the limit is small."""
SPLIT_TIME = 600.0
"""So is one that was begun so long ago, s."""
SHARES = 8
"""The limit of all recordings has room for so many files at least."""
SYNC_TIME = 1.0
"""How often the disk is asked to take what was written, s: what a power cut may cost."""
_WORD = re.compile(r'[^A-Za-z0-9-]+')
_TIMED = re.compile(r'[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}Z_.*')


DELETED = 'deleted.json'
"""Says, signed, from which number on a recording has its files."""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Who records: what the first record of each file says.

    :param source: of which recording this is a part.
    """

    robot: str = ''
    distro: str = ''
    source: str = ''


def folder_name(unix: float, reason: str) -> str:
    """Return the name of a recording: when it began (UTC), and why."""
    when = datetime.fromtimestamp(unix, timezone.utc).strftime('%Y-%m-%d_%H-%M-%SZ')
    return f'{when}_{_WORD.sub("-", reason).strip("-")[:40] or "record"}'


class Recording:
    """
    A recording.

    :param parent: the folder of all recordings; it is made where it is missing.
    :param name: its own folder; another number is put behind where it is there.
    :param signer: ``None`` = the files are not signed, and nothing is deleted.
    :param limit: bytes of all recordings; 0 = any.
    :param now: monotonic time, s.
    :raises OSError: it cannot be written.
    """

    def __init__(self, parent: Path, name: str, *, signer: Signer | None, origin: Origin,
                 limit: int, now: float) -> None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.folder = _make_folder(parent, name)
        self.bag = secrets.token_hex(16)
        self._signer = signer
        self._origin = origin
        self._limit = limit
        self._number = 0
        self._previous = dict.fromkeys(STREAMS, '')
        self._files: dict[str, SignedFile] = {}
        self._channels: dict[tuple[str, str], int] = {}
        self._infos: dict[tuple[str, str], ChannelInfo] = {}
        self._chunk_due = self._sync_due = self._split_due = now
        try:
            self._open(now)
        except OSError:
            self._undo()
            raise

    def __repr__(self) -> str:
        return f'Recording({self.folder.name}, file {self._number})'

    @property
    def size(self) -> int:
        """Bytes of the files that are open."""
        return sum(file.size for file in self._files.values())

    def add(self, info: ChannelInfo, stamp: int, sequence: int, data: Buffer,
            published: int | None = None) -> None:
        """
        Add a message.

        :param stamp: Unix time, ns; ``published``: the same, where it is known.
        :raises OSError: the disk takes no more.
        """
        # As it was first: what metadata.yaml says of a channel holds for all files.
        info = self._infos.setdefault(info.key, info)
        stream = BRIDGE if info.is_own else SAMPLES
        file = self._files[stream]
        channel = self._channels.get(info.key)
        if channel is None:
            channel = self._channels[info.key] = file.add_channel(info)
        file.add(channel, stamp, sequence, data, stamp if published is None else published)
        if file.waiting >= CHUNK_BYTES:
            file.flush()

    def poll(self, now: float) -> bool:
        """
        Write what has waited long enough.

        :return: whether its files are full: then :meth:`split`.
        :raises OSError: the disk takes no more.
        """
        if now >= self._chunk_due:
            self._chunk_due = now + CHUNK_TIME
            for file in self._files.values():
                file.flush()
        if now >= self._sync_due:
            self._sync_due = now + SYNC_TIME
            for file in self._files.values():
                file.sync()
        most = min(SPLIT_BYTES, self._limit // SHARES) if self._limit else SPLIT_BYTES
        return now >= self._split_due or self.size >= most

    def due(self) -> float:
        """Return when :meth:`poll` is to be called next, monotonic, s."""
        return min(self._chunk_due, self._sync_due)

    def split(self, now: float) -> None:
        """
        Go on in the next files.

        :raises OSError: they cannot be written.
        """
        self._close_files()
        self._make_room()
        self._number += 1
        self._open(now)

    def close(self) -> None:
        """
        End it in order.

        :raises OSError: the disk takes no more.
        """
        self._close_files()
        self._make_room()
        write_metadata(self.folder)

    def abandon(self) -> None:
        """Let go of the files as they are; they can be repaired."""
        for file in self._files.values():
            file.abandon()

    def _undo(self) -> None:
        """Take back what was made of a recording that cannot be: each attempt would leave it."""
        self.abandon()
        with suppress(OSError):
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()

    def _open(self, now: float) -> None:
        self._chunk_due = now + CHUNK_TIME
        self._sync_due = now + SYNC_TIME
        self._split_due = now + SPLIT_TIME
        self._channels.clear()
        name = self.folder.name
        for stream in STREAMS:
            self._files[stream] = SignedFile(
                self.folder / file_name(name, stream, self._number), self._begin(stream))

    def _begin(self, stream: str) -> Mapping[str, str]:
        return {'version': chain.FORMAT, 'bag': self.bag, 'name': self.folder.name,
                'stream': stream, 'file': str(self._number), 'previous': self._previous[stream],
                'robot': self._origin.robot, 'distro': self._origin.distro,
                'source': self._origin.source}

    def _make_room(self) -> None:
        if self._limit and self._signer is not None:
            delete_oldest(self.folder.parent, self._limit, self._signer, self.folder)

    def _close_files(self) -> None:
        for stream, file in self._files.items():
            file.close(self._signer)
            self._previous[stream] = file.chain.hex()


def _make_folder(parent: Path, name: str) -> Path:
    """Make a folder that was not there."""
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f'{name}-{number}')
        try:
            folder.mkdir(mode=0o750)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(17, 'there are a thousand of this name', str(parent / name))


def recordings_in(parent: Path) -> list[Path]:
    """Return the folders that this module names, the oldest first; symbolic links are none."""
    try:
        found = [Path(each.path) for each in os.scandir(parent)
                 if _TIMED.fullmatch(each.name) and each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(found)


def delete_oldest(parent: Path, limit: int, signer: Signer, current: Path | None = None) -> int:
    """
    Delete the oldest files until all of them have at most ``limit`` bytes.

    Nothing is deleted but files that a recording has, and folders that are then empty. The newest
    file of each stream of the current recording stays. What went is said, and signed, in the
    folder: verification tells it from what somebody else took away.

    :return: how many files went.
    """
    found = [(folder, path, number, path.lstat().st_size)
             for folder in recordings_in(parent) for number, path in _numbered(folder)]
    newest = max((number for folder, _, number, _ in found if folder == current), default=0)
    total = sum(size for *_, size in found)
    gone: dict[Path, int] = {}
    for folder, path, number, size in found:
        if total <= limit:
            break
        if folder != current or number < newest:
            path.unlink()
            total -= size
            gone[folder] = gone.get(folder, 0) + 1
    for folder in gone:
        _note_deleted(folder, signer, is_current=folder == current)
    return sum(gone.values())


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return the files of a recording, those of one number after each other."""
    return sorted((_parsed(path)[2], path) for path in folder.iterdir()
                  if parse_name(path.name) and not path.is_symlink() and path.is_file())


def _parsed(path: Path) -> tuple[str, str, int]:
    return parse_name(path.name) or ('', '', 0)


def _note_deleted(folder: Path, signer: Signer, *, is_current: bool) -> None:
    """Say from which number on a recording has its files; remove a folder that has none."""
    left = _numbered(folder)
    if not left:
        for name in (METADATA, DELETED):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):     # somebody keeps something of his own there
            folder.rmdir()
        return
    said = signer.sign({'name': folder.name, 'first': str(left[0][0])})
    draft = folder / f'.{DELETED}'
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
    with open(descriptor, 'wb') as file:
        file.write(orjson.dumps(said))
    draft.replace(folder / DELETED)
    if not is_current:
        with suppress(BadRecording):        # a file that was cut is repaired first
            write_metadata(folder)


def deleted_before(folder: Path) -> tuple[int, str] | None:
    """
    Return the number of the first file that was left, and the public key of who says so.

    ``None`` where nothing was deleted, or nobody signed it.
    """
    try:
        said = orjson.loads((folder / DELETED).read_bytes())
        fields = {str(key): str(value) for key, value in said.items()}
        first = int(fields['first'])
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    names = {name for path in folder.iterdir() for name, *_ in [_parsed(path)] if name}
    if fields.get('name') not in names or not is_signed(fields):
        return None
    return first, fields['key']
