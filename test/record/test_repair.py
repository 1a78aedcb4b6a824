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
"""A file that was cut anywhere has all of its whole chunks, and its end, after repair."""
from __future__ import annotations

import os
from pathlib import Path
import random
import shutil

import pytest
from rosbags.rosbag2 import Reader
from support.recordings import begin, fill, messages, NAME, read, record, signer_in

from ws_bridge.errors import BadRecording
from ws_bridge.record.repair import repair, repair_all, repair_file
from ws_bridge.record.scan import scan
from ws_bridge.record.verify import verify

NUMBER, CHUNK = 20, 5


def samples(count: int) -> list[tuple[str, int, int, bytes]]:
    """Return the first samples, on two topics."""
    return [(info.topic, stamp, sequence, data) for info, stamp, sequence, data in messages(count)
            if not info.is_own]


def test_cut_anywhere(tmp_path: Path) -> None:
    """Nothing is missing but what was in the chunk that was being written."""
    signer = signer_in(tmp_path)
    folder = record(tmp_path / 'records', NUMBER, each_chunk=CHUNK)
    path = folder / f'{NAME}_0.mcap'
    whole = path.read_bytes()
    scanned = scan(path)
    ends = [segment.after for segment in scanned.segments]
    places = {scanned.begin_end, len(whole) - 1, ends[1], ends[1] - 1}
    places |= set(random.Random(7).sample(range(scanned.begin_end, len(whole)), 3))
    for place in sorted(places):
        path.write_bytes(whole[:place])
        (fixed,) = repair(folder, signer)
        complete = sum(end <= place for end in ends)
        assert (fixed.path, fixed.kept + fixed.lost) == (path, place)
        assert fixed.is_signed
        assert read(path) == samples(complete * CHUNK), place
        assert [(each.kind, each.is_fault) for each in verify(folder, signer.public)] == [
            ('repaired', False), ('intact', False)], place
        assert repair(folder, signer) == []     # once is enough


def test_a_recording_that_nobody_ended(tmp_path: Path) -> None:
    """It has no ``metadata.yaml``, and both of its files were cut."""
    recording = begin(tmp_path / 'records')
    fill(recording, 12, CHUNK)
    assert list(repair_all(tmp_path / 'records', None)) == []   # it is being written
    recording.abandon()
    fixed = list(repair_all(tmp_path / 'records', signer_in(tmp_path)))
    assert [(each.lost, each.is_signed) for each in fixed
            if not isinstance(each, BadRecording)] == [(0, True), (0, True)]
    with Reader(recording.folder) as reader:
        assert reader.message_count == 20
    assert {each.kind for each in verify(recording.folder)} == {'repaired', 'intact'}


def test_without_a_key_it_is_not_signed(tmp_path: Path) -> None:
    folder = record(tmp_path / 'records')
    path = folder / f'{NAME}_0.mcap'
    os.truncate(path, scan(path).segments[-1].after)
    (fixed,) = repair(folder, None)
    assert not fixed.is_signed
    assert [each.kind for each in verify(folder) if each.is_fault] == ['signature']


def test_what_was_changed_is_not_signed(tmp_path: Path) -> None:
    """The key of the bridge vouches for nothing that it did not write."""
    folder = record(tmp_path / 'records')
    path = folder / f'{NAME}_0.mcap'
    segments = scan(path).segments
    data = bytearray(path.read_bytes()[:segments[2].after])
    data[segments[0].start + 100] ^= 1
    path.write_bytes(data)
    (fixed,) = repair(folder, signer_in(tmp_path))
    assert not fixed.is_signed


def test_what_was_not_cut_stays(tmp_path: Path) -> None:
    folder = record(tmp_path / 'records')
    path = folder / f'{NAME}_0.mcap'
    data = bytearray(path.read_bytes())
    data[scan(path).segments[1].start + 7] ^= 1     # a length
    path.write_bytes(data)
    with pytest.raises(BadRecording, match='not cut but changed'):
        repair(folder, None)
    assert path.read_bytes() == data


def test_empty_files_go(tmp_path: Path) -> None:
    folder = record(tmp_path / 'records')
    (folder / f'{NAME}_1.mcap').touch()
    (fixed,) = repair(folder, None)
    assert (fixed.kept, fixed.lost) == (0, 0)
    assert not (folder / f'{NAME}_1.mcap').exists()
    for path in folder.glob('*.mcap'):
        os.truncate(path, 0)
    assert len(repair(folder, None)) == 2


def test_foreign_files_stay(tmp_path: Path) -> None:
    from mcap.writer import Writer
    path = tmp_path / 'records' / NAME / f'{NAME}_0.mcap'
    path.parent.mkdir(parents=True)
    with open(path, 'wb') as file:
        writer = Writer(file)
        writer.start()
    (told,) = repair_all(path.parents[1], None)
    assert isinstance(told, BadRecording)
    assert 'not recorded by ws_bridge' in str(told)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = record(tmp_path / 'records')
    path = folder / f'{NAME}_0.mcap'
    os.truncate(path, 1000)
    before = sorted(folder.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(shutil, 'copyfileobj', full)
    (told,) = repair_all(folder.parent, None)
    assert 'No space left' in str(told)
    assert sorted(folder.iterdir()) == before
    assert path.stat().st_size == 1000
    monkeypatch.undo()
    assert repair_file(path, None) is not None
