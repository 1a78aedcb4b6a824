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
"""Whatever is done to a recording, verification names it."""
from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import shutil

from mcap.data_stream import RecordBuilder
from mcap.records import Metadata
import pytest
from support.recordings import begin, cdr, COUNT, NAME, record, signer_in

from ws_bridge.errors import BadRecording
from ws_bridge.record import chain
from ws_bridge.record.rosbag2 import files_of
from ws_bridge.record.scan import scan, Scanned
from ws_bridge.record.verify import verify

SAMPLES = f'{NAME}_0.mcap'


@pytest.fixture(scope='module')
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a recording with two files a stream, four chunks in the first."""
    return record(tmp_path_factory.mktemp('robot') / 'records', 30, each_file=20)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """Give a copy of it."""
    return Path(shutil.copytree(original, tmp_path / NAME))


def parts(path: Path) -> tuple[Scanned, list[bytes], bytes]:
    """Return the segments of a file, each with its link, and what stands behind them."""
    scanned, data = scan(path), path.read_bytes()
    segments = [data[each.start:each.after] for each in scanned.segments]
    return scanned, segments, data[scanned.segments[-1].after:]


def flip(path: Path, offset: int) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def record_bytes(name: str, fields: dict[str, str]) -> bytes:
    """Return a record of the kind Metadata."""
    builder = RecordBuilder()
    Metadata(name=name, metadata=fields).write(builder)
    return bytes(builder.end())


def test_an_intact_one(folder: Path) -> None:
    assert [(each.kind, each.is_fault) for each in verify(folder)] == [('intact', False)]
    assert [each.kind for each in verify(folder / SAMPLES)] == ['intact']


def test_whose_key_it_is(folder: Path, original: Path, tmp_path: Path) -> None:
    signer = signer_in(original.parent.parent)
    assert [each.kind for each in verify(folder, signer.public)] == ['intact']
    found = verify(folder, signer_in(tmp_path).public)
    assert {(each.kind, each.text.split(':')[0]) for each in found} == {
        ('signature', 'is signed by another key')}


def test_every_byte_counts(folder: Path, original: Path) -> None:
    """Also those of indexes, links, lengths and the magic."""
    path = folder / SAMPLES
    size = path.stat().st_size
    for offset in [*range(0, size, 241), size - 1]:
        flip(path, offset)
        try:
            assert any(each.is_fault for each in verify(path)), offset
        except BadRecording:
            assert offset < 8
        flip(path, offset)
    assert path.read_bytes() == (original / SAMPLES).read_bytes()


def test_a_changed_chunk_is_named(folder: Path) -> None:
    path = folder / SAMPLES
    segment = scan(path).segments[1]
    flip(path, segment.start + 60)
    found = verify(folder)
    assert [(each.kind, each.where) for each in found] == [('changed', SAMPLES)]
    assert found[0].text.startswith(f'chunk 2 (bytes {segment.start} to {segment.end}, 2023-11-14')


def forge_message(path: Path) -> str:
    """Change a message, and write its chunk, its link and all later ones as they have to be."""
    scanned, segments, rest = parts(path)
    data = bytearray(segments[1])
    data[60] ^= 1
    value = bytes.fromhex(scanned.segments[0].said['chain'])
    import hashlib
    body = bytes(data[:scanned.segments[1].end - scanned.segments[1].start])
    forged = [segments[0]]
    for number, content in enumerate([body, *(
            segment[:each.end - each.start] for segment, each in zip(
                segments[2:], scanned.segments[2:], strict=True))], 2):
        digest = hashlib.sha256(content).digest()
        value = chain.follow(value, digest)
        forged.append(content + record_bytes(chain.LINK, chain.link_fields(number, digest, value)))
    path.write_bytes(b''.join(forged) + rest)
    return 'changed'


def leave_out(path: Path) -> str:
    """Take a chunk out."""
    _, segments, rest = parts(path)
    path.write_bytes(b''.join([segments[0], *segments[2:]]) + rest)
    return 'left_out: chunk 2 of 4: left out'


def leave_out_the_last(path: Path) -> str:
    """Take the last chunk out, and keep the end."""
    _, segments, rest = parts(path)
    path.write_bytes(b''.join(segments[:-1]) + rest)
    return 'left_out: chunk 4 of 4: left out'


def cut_the_tail(path: Path) -> str:
    """Take the end away."""
    _, segments, _ = parts(path)
    path.write_bytes(b''.join(segments[:3]))
    return 'cut: the end is missing, behind chunk 3'


def cut_within(path: Path) -> str:
    """Take the end away, within a chunk."""
    os.truncate(path, scan(path).segments[2].end - 10)
    return 'cut: the end is missing, behind chunk 2'


def change_the_order(path: Path) -> str:
    """Let two chunks change places."""
    _, segments, rest = parts(path)
    path.write_bytes(b''.join([segments[0], segments[2], segments[1], segments[3]]) + rest)
    return 'order: chunks 2 to 3: in another order'


def repeat(path: Path) -> str:
    """Have a chunk twice."""
    _, segments, rest = parts(path)
    path.write_bytes(b''.join([*segments[:2], *segments[1:]]) + rest)
    return 'added: chunk 2: there twice'


def append(path: Path) -> str:
    """Write something behind the file."""
    path.write_bytes(path.read_bytes() + b'more')
    return 'added: byte'


def unsign(path: Path) -> str:
    """Take the signature away."""
    scanned = scan(path)
    assert scanned.finish is not None
    data = path.read_bytes()
    said = {key: value for key, value in scanned.finish.said.items() if key != 'signature'}
    path.write_bytes(data[:scanned.finish.end] + record_bytes(chain.END, said)
                     + data[scanned.finish.after:])
    return 'signature: is not signed'


@pytest.mark.parametrize('tamper', [
    forge_message, leave_out, leave_out_the_last, cut_the_tail, cut_within, change_the_order,
    repeat, append, unsign])
def test_it_is_named(folder: Path, tamper: Callable[[Path], str]) -> None:
    kind, _, text = tamper(folder / SAMPLES).partition(': ')
    for found in (verify(folder), verify(folder / SAMPLES)):
        assert [each for each in found if each.kind == kind and each.text.startswith(text)], found
        assert {each.where for each in found} == {SAMPLES}


def test_two_files_that_were_swapped(folder: Path) -> None:
    first, second = folder / SAMPLES, folder / f'{NAME}_1.mcap'
    first.rename(folder / 'x')
    second.rename(first)
    (folder / 'x').rename(second)
    found = verify(folder)
    assert [(each.kind, each.where, each.text) for each in found] == [
        ('swapped', SAMPLES, f'was recorded as number 1 of the samples of {NAME}'),
        ('swapped', f'{NAME}_1.mcap', f'was recorded as number 0 of the samples of {NAME}')]


def test_a_file_that_is_missing(folder: Path) -> None:
    (folder / SAMPLES).unlink()
    assert [(each.kind, each.text) for each in verify(folder)] == [
        ('left_out', 'file 0 of the samples: left out')]
    for path in folder.glob('*.bridge.mcap'):
        path.unlink()
    assert 'there is no file of the bridge' in {each.text for each in verify(folder)}


def test_a_file_of_another_recording(folder: Path, tmp_path: Path) -> None:
    other = record(tmp_path / 'robot' / 'records')
    shutil.copy(other / SAMPLES, folder / SAMPLES)
    kinds = {(each.kind, each.where) for each in verify(folder)}
    assert ('foreign', SAMPLES) in kinds
    assert ('signature', NAME) in kinds     # two keys


def test_metadata_that_says_something_else(folder: Path) -> None:
    path = folder / 'metadata.yaml'
    path.write_text(path.read_text().replace('/count', '/mount'))
    assert [(each.kind, each.where) for each in verify(folder)] == [('changed', 'metadata.yaml')]
    path.unlink()
    assert [(each.kind, each.where) for each in verify(folder)] == [('left_out', 'metadata.yaml')]


def test_what_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match='has no files'):
        verify(tmp_path)
    path = tmp_path / 'x_0.mcap'
    path.write_bytes(b'something else')
    with pytest.raises(BadRecording, match='no file of MCAP'):
        verify(path)
    assert next(each.kind for each in verify(tmp_path)) == 'changed'


def test_files_of_a_stream_are_in_order(tmp_path: Path) -> None:
    folder = record(tmp_path / 'records', 10, each_chunk=1, each_file=1)
    names = [path.name for path in files_of(folder)]
    assert names.index(f'{NAME}_2.mcap') < names.index(f'{NAME}_10.mcap')
    assert [each.kind for each in verify(folder)] == ['intact']


def test_the_time_0_is_a_time(tmp_path: Path) -> None:
    """As of a simulation's clock, in a part of somebody's bag."""
    recording = begin(tmp_path / 'records')
    for stamp in (0, 5, 7):
        recording.add(COUNT, stamp, stamp, cdr(COUNT, data=stamp))
    recording.close()
    assert [each.kind for each in verify(recording.folder)] == ['intact']


@pytest.mark.parametrize('start', [1, 1 << 62, (1 << 64) - 1])
def test_a_footer_that_points_anywhere(folder: Path, start: int) -> None:
    path = folder / SAMPLES
    data = bytearray(path.read_bytes())
    data[-28:-20] = start.to_bytes(8, 'little')
    path.write_bytes(data)
    assert {each.kind for each in verify(folder)} & {'index', 'cut', 'changed'}


def test_a_folder_that_was_renamed(folder: Path, tmp_path: Path) -> None:
    """It is no fault, but nobody takes one recording for another."""
    other = folder.rename(tmp_path / '2026-11-29_08-00-00Z_estop')
    renamed, intact = verify(other)
    assert (renamed.kind, renamed.is_fault, intact.kind) == ('renamed', False, 'intact')
    assert NAME in renamed.text
