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
"""What was changed, cut or left out of a recording, as far as its chains and signatures tell."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
import itertools
from pathlib import Path

from ws_bridge.errors import BadRecording
from ws_bridge.record import chain
from ws_bridge.record.keys import is_signed
from ws_bridge.record.recording import deleted_before
from ws_bridge.record.rosbag2 import (
    expected_metadata,
    files_of,
    METADATA,
    parse_name,
    read_metadata,
    STREAMS,
)
from ws_bridge.record.scan import scan, Scanned, Segment

_LINK = chain.link_fields(0, b'', b'')


@dataclass(frozen=True, slots=True)
class Remark:
    """
    One thing that verification has to say.

    :param kind: ``changed``, ``left_out``, ``cut``, ``order``, ``swapped``, ``added``,
        ``signature``, ``index``, ``foreign``, or what is no fault: ``repaired``, ``deleted``,
        ``renamed``, ``intact``.
    :param where: the file.
    """

    kind: str
    where: str
    text: str

    @property
    def is_fault(self) -> bool:
        """Whether the recording is not what was recorded."""
        return self.kind not in ('repaired', 'deleted', 'renamed', 'intact')


def verify(path: Path, key: str | None = None) -> list[Remark]:
    """
    Verify a folder, or one file.

    :param key: the public key of the bridge, hex; ``None`` = each file's own, which says only that
        nobody else has changed it since.
    :raises BadRecording: there is nothing to verify.
    """
    if not path.is_dir():
        scanned = scan(path)
        return [*_file(scanned, key, parse_name(path.name)),
                *_ending(scanned.path.name, [scanned])]
    found: list[Remark] = []
    files: list[Scanned] = []
    for each in files_of(path):
        try:
            files.append(scan(each))
        except BadRecording as exc:
            found.append(Remark('changed', each.name, str(exc)))
    for scanned in files:
        found += _file(scanned, key, parse_name(scanned.path.name))
    found += _together(path, files)
    if not any(each.is_fault for each in found):
        found += _metadata(path)
    return [*found, *_ending(path.name, files)] if not any(
        each.is_fault for each in found) else found


def _ending(name: str, files: list[Scanned]) -> Iterator[Remark]:
    """Say what was found intact, and who signed it."""
    keys = {scanned.finish.said.get('key', '') for scanned in files if scanned.finish}
    chunks = sum(len(scanned.segments) for scanned in files)
    yield Remark('intact', name, f'{len(files)} files, {chunks} chunks, signed by the key '
                 f'{", ".join(sorted(keys)) or "of nobody"}')


# ---- one file

def _file(scanned: Scanned, key: str | None,
          parsed: tuple[str, str, int] | None) -> Iterator[Remark]:
    name = scanned.path.name
    if scanned.begin is None:
        yield Remark('foreign', name, 'was not recorded by ws_bridge: it has no chain')
        return
    if parsed is not None:
        yield from _place(scanned, parsed)
    yield from (Remark(kind, name, text) for kind, text in (
        *_chain(scanned), *_end(scanned, key), *_indexes(scanned)))


def _place(scanned: Scanned, parsed: tuple[str, str, int]) -> Iterator[Remark]:
    """Compare what a file says it is with where it is."""
    begin, (name, stream, number) = scanned.begin or {}, parsed
    said = begin.get('name', ''), begin.get('stream', ''), begin.get('file', '')
    if said != (name, stream, str(number)):
        yield Remark('swapped', scanned.path.name, f'was recorded as number {said[2]} of the '
                     f'{said[1]} of {said[0]}')


def _chain(scanned: Scanned) -> Iterator[tuple[str, str]]:
    """Follow the chain, and go on behind a fault with what the file says."""
    numbers = [segment.number for segment in scanned.segments]
    last = max(numbers, default=0)
    if scanned.finish is not None:
        links = scanned.finish.said.get('links', '')
        last = int(links) if links.isdecimal() and len(links) < 10 else last
    counts = Counter(numbers)
    missing = [number for number in range(1, last + 1) if number not in counts]
    if missing:
        yield 'left_out', f'{_chunks(missing)} of {last}: left out'
    twice = [number for number, count in counts.items() if count > 1 or not 1 <= number <= last]
    if twice:
        yield 'added', f'{_chunks(sorted(twice))}: there twice, or not of this file'
    if not missing and not twice and numbers != sorted(numbers):
        wrong = [number for place, number in enumerate(numbers, 1) if place != number]
        yield 'order', f'{_chunks(sorted(wrong))}: in another order'
    value, expected = chain.start(), 1
    for segment in scanned.segments:
        said = segment.said
        if len(said) != len(_LINK) or segment.sha256.hex() != said.get('sha256'):
            yield 'changed', (f'chunk {segment.number} (bytes {segment.start} to '
                              f'{segment.end}{_times(segment)}): changed')
        elif segment.number == expected and \
                chain.follow(value, segment.sha256).hex() != said.get('chain'):
            yield 'changed', f'the link of chunk {segment.number} (byte {segment.end}): changed'
        value, expected = _bytes(said.get('chain')), segment.number + 1


def _end(scanned: Scanned, key: str | None) -> Iterator[tuple[str, str]]:
    finish = scanned.finish
    if finish is None:
        where = (f'behind chunk {len(scanned.segments)}{_until(scanned.segments)}, byte '
                 f'{scanned.reached} of {scanned.size}')
        yield ('changed', f'it cannot be read {where}') if scanned.has_tail else (
            'cut', f'the end is missing, {where}: it was cut, or is being written')
        return
    said = finish.said
    value = _bytes(scanned.segments[-1].said.get('chain')) if scanned.segments else chain.start()
    if finish.sha256.hex() != said.get('sha256'):
        yield 'changed', f'what stands behind the last chunk (byte {finish.start}): changed'
    elif chain.follow(value, finish.sha256).hex() != said.get('chain'):
        yield 'changed', f'the end (byte {finish.end}) belongs to another chain'
    if not said.get(chain.SIGNED):
        yield 'signature', 'is not signed'
    elif not is_signed(said):
        yield 'signature', f'the signature (byte {finish.end}) is not that of the key in it'
    elif key is not None and said.get('key') != key:
        yield 'signature', f'is signed by another key: {said.get("key")}'
    if scanned.stray:
        yield 'added', f'byte {scanned.stray[0]}: added behind the end'
    if said.get('state') != chain.COMPLETE:
        yield 'repaired', (f'was cut (crash, power cut, or somebody) and repaired: what came '
                           f'behind chunk {len(scanned.segments)}{_until(scanned.segments)} is '
                           'missing')
    if not scanned.is_whole:
        yield 'cut', f'the indexes at the end are missing, from byte {scanned.reached} on'


def _indexes(scanned: Scanned) -> Iterator[tuple[str, str]]:
    """Compare the indexes with what they are of: readers go by them."""
    data_end = scanned.finish.after if scanned.finish else scanned.size
    hurt = [offset for offset in scanned.broken if offset >= data_end]
    if not scanned.is_whole or len(hurt) < len(scanned.broken):
        return      # what is in a chunk that cannot be read nobody knows: it is named already
    found, told = scanned.found, scanned.told
    pairs = (('schemas', found.schemas, told.schemas), ('channels', found.channels, told.channels),
             ('chunks', found.chunks, told.chunks), ('metadata', found.metadata, told.metadata),
             ('statistics', found.statistics, told.statistics))
    wrong = [what for what, there, said in pairs if there != said]
    if wrong or hurt:
        yield 'index', ('the indexes at the end are not those of the file: '
                        f'{", ".join(wrong) or f"byte {hurt[0]}"}')


# ---- a folder

def _together(folder: Path, files: list[Scanned]) -> Iterator[Remark]:
    """Look for files that are missing, or of another recording."""
    own = [scanned for scanned in files if scanned.begin is not None]
    bags = Counter((scanned.begin or {}).get('bag') for scanned in own)
    if len(bags) > 1:
        usual = bags.most_common(1)[0][0]
        for scanned in own:
            if (scanned.begin or {}).get('bag') != usual:
                yield Remark('foreign', scanned.path.name, 'is of another recording')
    names = {(scanned.begin or {}).get('name', '') for scanned in own}
    if len(names) == 1 and folder.resolve().name not in names:
        yield Remark('renamed', folder.name, f'holds the recording {names.pop()}')
    keys = {scanned.finish.said['key'] for scanned in own
            if scanned.finish and 'key' in scanned.finish.said}
    if len(keys) > 1:
        yield Remark('signature', folder.name, f'signed by {len(keys)} keys')
    deleted = deleted_before(folder)
    first = 0 if deleted is None or deleted[1] not in keys else deleted[0]
    if first:
        yield Remark('deleted', folder.name, f'the files before number {first} were deleted by '
                     'the bridge, to make room')
    for stream in STREAMS:
        yield from _row(folder, stream, sorted(
            (scanned for scanned in own if (scanned.begin or {}).get('stream') == stream),
            key=_number), first)


def _number(scanned: Scanned) -> int:
    text = (scanned.begin or {}).get('file', '')
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _row(folder: Path, stream: str, files: list[Scanned], first: int) -> Iterator[Remark]:
    """Check that each file of a stream follows the one before it."""
    if not files:
        yield Remark('left_out', folder.name, f'there is no file of the {stream}')
        return
    missing = sorted(set(range(first, _number(files[-1]))) - set(map(_number, files)))
    if missing:
        yield Remark('left_out', folder.name, f'{_list("file", missing)} of the {stream}: left '
                     'out')
    for before, after in itertools.pairwise(files):
        if _number(after) == _number(before) + 1 and before.finish is not None and \
                (after.begin or {}).get('previous') != before.finish.said.get('chain'):
            yield Remark('changed', after.path.name, f'does not follow {before.path.name} as it '
                         'is')


def _metadata(folder: Path) -> Iterator[Remark]:
    said = read_metadata(folder)
    if said is None:
        yield Remark('left_out', METADATA, 'is missing')
    elif said != expected_metadata(folder):
        yield Remark('changed', METADATA, 'does not say what is in the files')


# ---- words

def _chunks(numbers: list[int]) -> str:
    return _list('chunk', numbers)


def _list(what: str, numbers: Iterable[int]) -> str:
    """Return numbers as a text: ``chunks 2 to 4, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    text = ', '.join(f'{run[0]} to {run[-1]}' if len(run) > 1 else str(run[0]) for run in runs)
    return f'{what}{"s" if sum(map(len, runs)) > 1 else ""} {text}'


def _times(segment: Segment) -> str:
    first, last = segment.times
    return f', {shown_time(first)} to {shown_time(last)}' if last else ''


def _until(segments: list[Segment]) -> str:
    last = segments[-1].times[1] if segments else 0
    return f' ({shown_time(last)})' if last else ''


def shown_time(stamp: int) -> str:
    """Return a Unix time, ns, for a person: UTC."""
    seconds, rest = divmod(stamp, 1_000_000_000)
    try:
        when = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return f'{stamp} ns'
    return f'{when:%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}Z'


def _bytes(text: str | None) -> bytes:
    try:
        return bytes.fromhex(text or '')
    except ValueError:
        return b''
