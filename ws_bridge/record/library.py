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
The process that reads recordings for those who ask over HTTP: it lists them, and sends one.

Reading is slow, on a disk that may hang, and needs libraries that the bridge does not load: so a
process does it, one for each request. It knows nothing of rights: it says which topics there are,
and is told which of them it may send.
"""
from __future__ import annotations

from contextlib import suppress
import json
import os
from pathlib import Path
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from typing import Any, IO

from ws_bridge.errors import BadRecording, LimitExceeded, UnknownName, WsBridgeError
from ws_bridge.record.keys import load_signer
from ws_bridge.record.reading import channels_at, cut, facts_at, MayHear
from ws_bridge.record.recording import DELETED, Origin, Recording, recordings_in
from ws_bridge.record.rosbag2 import duration_of, files_of, METADATA

NANO = 1_000_000_000
NICENESS = 10
PART = '-part'
"""Behind the name of a recording of which only a part is sent."""
LISTED = 10_000
"""Of so many recordings the newest are listed."""


def listing(parent: Path) -> list[dict[str, Any]]:
    """
    Return what recordings there are, the newest first.

    ``seconds`` is the time from the first sample to the last one, ``None`` where nobody knows yet.
    ``complete`` is false of one that is being written, or that was cut and has to be repaired.
    """
    found = []
    for folder in recordings_in(parent)[:-LISTED - 1:-1]:
        with suppress(OSError, BadRecording):       # it is being deleted
            began, _, reason = folder.name.partition('_')[2].partition('_')
            duration = duration_of(folder)
            found.append({
                'name': folder.name, 'reason': reason,
                'began': f'{folder.name.partition("_")[0]}T{began.replace("-", ":")}',
                'seconds': None if duration is None else duration / NANO,
                'size': sum(path.stat().st_size for path in files_of(folder)),
                'complete': (folder / METADATA).is_file()})
    return found


def find(parent: Path, name: str) -> Path:
    """
    Return the folder of a recording.

    :raises UnknownName: there is none of this name.
    :raises BadRecording: it is being written, or was cut.
    """
    folder = parent / name
    if folder not in recordings_in(parent):
        raise UnknownName(f'there is no recording {name[:255]!r}')
    if not (folder / METADATA).is_file():
        raise BadRecording(f'{name} is being recorded, or was cut and is not repaired yet')
    return folder


def send(folder: Path, key: Path, target: IO[bytes], may_hear: MayHear, *,
         hears_all: bool) -> None:
    """
    Write a recording, or what somebody may hear of it, as a tar archive.

    :param key: file of the key that a part is signed with.
    :raises WsBridgeError: it cannot be read, or there is no room to make a part of it.
    :raises OSError: likewise; or nobody wants it any more.
    """
    with tarfile.open(fileobj=target, mode='w|', format=tarfile.PAX_FORMAT) as archive:
        if hears_all and all(info.is_own or may_hear(*info.key)
                             for info, _ in channels_at(folder).values()):
            _pack(archive, folder)
            return
        with tempfile.TemporaryDirectory(prefix='ws_bridge-') as temporary:
            size = sum(path.stat().st_size for path in files_of(folder))
            if shutil.disk_usage(temporary).free < 2 * size:
                raise LimitExceeded(f'there is no room for a part of {folder.name}')
            first = facts_at(folder)[0]
            part = Recording(
                Path(temporary), folder.name + PART, signer=load_signer(key), limit=0,
                now=time.monotonic(),
                origin=Origin(distro=first.distro, source=f'{folder.name} of {first.bag}'))
            cut(folder, part, begin=None, end=None, may_hear=may_hear, hears_all=hears_all)
            _pack(archive, part.folder)


def _pack(archive: tarfile.TarFile, folder: Path) -> None:
    for path in [folder / METADATA, folder / DELETED, *files_of(folder)]:
        if path.is_file() and not path.is_symlink():
            archive.add(path, f'{folder.name}/{path.name}', filter=_of_nobody)


def _of_nobody(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who has the file on this machine."""
    info.uid = info.gid = 0
    info.uname = info.gname = ''
    return info


def answer(options: dict[str, Any], out: IO[bytes]) -> None:
    """
    Answer one request.

    :param options: ``folder`` of all recordings. Without a ``name`` they are listed. With one the
        topics in it are told, each with its type. With those that may be heard (``topics``) it is
        sent; then ``key``, ``hears_all``, and ``more``, topics of which may only be spoken.
    :raises WsBridgeError: it cannot be read.
    """
    parent = Path(options['folder'])
    if 'name' not in options:
        _say(out, recordings=listing(parent))
        return
    folder = find(parent, options['name'])
    if 'topics' not in options:
        _say(out, topics=list(channels_at(folder)))
        return
    topics = {tuple(each) for each in options['topics']}
    names = {topic for topic, _ in topics} | set(options['more'])
    send(folder, Path(options['key']), out,
         lambda topic, type_name: (topic, type_name) in topics if type_name else topic in names,
         hears_all=options['hears_all'])


def _say(out: IO[bytes], **fields: Any) -> None:
    out.write(json.dumps(fields).encode())


def main() -> None:
    """Run as a process, which is told the options, JSON, on its standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # what it made is taken away
    os.nice(NICENESS)
    try:
        answer(json.load(sys.stdin), sys.stdout.buffer)
    except WsBridgeError as exc:
        sys.exit(json.dumps({'code': exc.code, 'message': exc.message}))
    except OSError as exc:
        sys.exit(json.dumps({'code': BadRecording.code, 'message': str(exc)}))


if __name__ == '__main__':
    main()
