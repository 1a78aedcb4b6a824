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
"""What is written is a rosbag2 folder, whoever reads it, and has the same bytes."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
import pytest
from rosbags.interfaces import QosReliability
from rosbags.rosbag2 import Reader
from support.helpers import open_files
from support.recordings import (
    begin,
    COUNT,
    fill,
    HASH,
    messages,
    NAME,
    POINT,
    QOS,
    read,
    record,
    signer_in,
    START,
    STEP,
)
import yaml

from ws_bridge.record.channels import OWN
from ws_bridge.record.recording import delete_oldest, folder_name, recordings_in
from ws_bridge.record.rosbag2 import files_of
from ws_bridge.record.signed_file import CHUNK_BYTES
from ws_bridge.record.verify import verify

NUMBER = 20


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a recording with two files a stream."""
    return record(tmp_path_factory.mktemp('robot') / 'records', NUMBER, each_file=12)


def wanted(*, own: bool) -> list[tuple[str, int, int, bytes]]:
    """Return what was recorded."""
    return [(info.topic, stamp, sequence, data) for info, stamp, sequence, data in messages(NUMBER)
            if info.is_own is own]


def test_files(folder: Path) -> None:
    assert [path.name for path in files_of(folder)] == [
        f'{NAME}_0.mcap', f'{NAME}_1.mcap', f'{NAME}_0.bridge.mcap', f'{NAME}_1.bridge.mcap']
    assert not any(path.stat().st_mode & 0o027 for path in files_of(folder))


def test_mcap_reads_the_same_bytes(folder: Path) -> None:
    samples = [row for name in ('_0', '_1') for row in read(folder / f'{NAME}{name}.mcap')]
    own = [row for name in ('_0', '_1') for row in read(folder / f'{NAME}{name}.bridge.mcap')]
    assert samples == wanted(own=False)
    assert own == wanted(own=True)


def test_rosbags_reads_the_same_bytes(folder: Path) -> None:
    with Reader(folder) as reader:
        found = [(connection.topic, stamp, data) for connection, stamp, data in reader.messages()]
        assert found == [(topic, stamp, data) for topic, stamp, _, data in wanted(own=False)]
        assert reader.ros_distro == 'kilted'
        assert reader.message_count == 2 * NUMBER
        count, point = sorted(reader.connections, key=lambda each: each.topic)
        assert (count.topic, count.msgtype, count.digest) == (
            '/count', 'std_msgs/msg/Int32', HASH)
        assert count.msgdef.data == COUNT.schema
        assert [each.reliability for each in count.ext.offered_qos_profiles] == [
            QosReliability.RELIABLE]
        assert (point.topic, point.digest, point.ext.offered_qos_profiles) == (
            POINT.topic, '', [])


def test_each_key_of_the_metadata(folder: Path) -> None:
    said = yaml.safe_load((folder / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    custom = said.pop('custom_data')
    assert set(custom) == {'ws_bridge'}

    def time_of(start: int, end: int) -> dict[str, Any]:
        return {'starting_time': {'nanoseconds_since_epoch': start},
                'duration': {'nanoseconds': end - start}}

    def topic_of(name: str, msg_type: str, qos: list[Any], type_hash: str) -> dict[str, Any]:
        return {'topic_metadata': {
            'name': name, 'type': msg_type, 'serialization_format': 'cdr',
            'offered_qos_profiles': qos, 'type_description_hash': type_hash},
            'message_count': NUMBER}
    end = START + (NUMBER - 1) * STEP + 1
    assert said == {
        'version': 9, 'storage_identifier': 'mcap', **time_of(START, end),
        'message_count': 2 * NUMBER, 'compression_format': '', 'compression_mode': '',
        'ros_distro': 'kilted',
        'relative_file_paths': [f'{NAME}_0.mcap', f'{NAME}_1.mcap'],
        'topics_with_message_count': [
            topic_of('/count', 'std_msgs/msg/Int32', [QOS], HASH),
            topic_of(POINT.topic, 'geometry_msgs/msg/Point', [], '')],
        'files': [
            {'path': f'{NAME}_0.mcap', 'message_count': 24,
             **time_of(START, START + 11 * STEP + 1)},
            {'path': f'{NAME}_1.mcap', 'message_count': 16,
             **time_of(START + 12 * STEP, end)}]}


def test_the_records_of_a_file(folder: Path) -> None:
    path = folder / f'{NAME}_0.mcap'
    with open(path, 'rb') as file:
        reader = make_reader(file)
        assert reader.get_header().profile == 'ros2'
        summary = reader.get_summary()
        assert summary is not None
        assert {schema.encoding for schema in summary.schemas.values()} == {'ros2msg'}
        channels = {each.topic: each for each in summary.channels.values()}
        assert {each.message_encoding for each in channels.values()} == {'cdr'}
        count = channels['/count'].metadata
        assert set(count) == {'offered_qos_profiles', 'topic_type_hash'}
        assert yaml.safe_load(count['offered_qos_profiles']) == [QOS]
        assert count['topic_type_hash'] == HASH
        assert channels[POINT.topic].metadata == {
            'offered_qos_profiles': '', 'topic_type_hash': ''}
        own = [each for each in reader.iter_metadata() if each.name == 'rosbag2']
        said = yaml.safe_load(own[0].metadata['serialized_metadata'])
        assert (said['version'], said['message_count']) == (9, 24)
    with open(path, 'rb') as file:
        chunks = [each for each in StreamReader(file, emit_chunks=True).records
                  if isinstance(each, Chunk)]
        assert {each.compression for each in chunks} == {'zstd'}
        assert len(chunks) == 3     # 12 messages each, 5 a chunk


def test_own_channels_have_schemas(folder: Path) -> None:
    with open(folder / f'{NAME}_0.bridge.mcap', 'rb') as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            assert (schema.encoding, channel.message_encoding) == ('jsonschema', 'json')
            jsonschema.validate(json.loads(message.data), json.loads(schema.data))
    for info in OWN.values():
        jsonschema.Draft202012Validator.check_schema(json.loads(info.schema))


def test_a_chunk_ends_by_size(tmp_path: Path) -> None:
    recording = begin(tmp_path / 'records')
    path = files_of(recording.folder)[0]
    before = path.stat().st_size
    recording.add(COUNT, START, 0, bytes(CHUNK_BYTES // 2))
    assert path.stat().st_size == before
    recording.add(COUNT, START, 1, bytes(CHUNK_BYTES // 2))
    assert path.stat().st_size > before
    recording.close()
    assert [row[1:3] for row in read(path)] == [(START, 0), (START, 1)]


def test_files_follow_each_other_by_size_and_time(tmp_path: Path) -> None:
    recording = begin(tmp_path / 'records', limit=80_000)
    assert not recording.poll(1.0)
    recording.add(COUNT, START, 0, os.urandom(10_000))
    assert recording.poll(2.0)
    recording.split(2.0)
    assert not recording.poll(2.1)
    assert recording.poll(602.0)
    recording.close()


def test_the_newest_are_kept(tmp_path: Path) -> None:
    parent = tmp_path / 'records'
    old = [record(parent, name=f'2026-11-2{day}_00-00-00Z_stop') for day in (1, 2)]
    (parent / 'mine.mcap').write_bytes(bytes(1000))
    (old[0] / 'notes.txt').write_text('not of the bridge')
    recording = begin(parent, limit=60_000)
    fill(recording, 15, each_file=5)
    signer = recording._signer
    assert signer is not None
    assert delete_oldest(parent, 12_000, signer, recording.folder)
    recording.close()
    # what is not the bridge's stays, with its folder
    assert recordings_in(parent) == [old[0], recording.folder]
    assert [path.name for path in old[0].iterdir()] == ['notes.txt']
    assert (parent / 'mine.mcap').exists()
    names = [path.name for path in files_of(recording.folder)]
    assert f'{NAME}_0.mcap' not in names
    assert f'{NAME}_3.mcap' in names
    # which nobody takes for something that was left out
    assert {each.kind for each in verify(recording.folder)} == {'deleted', 'intact'}
    with Reader(recording.folder) as reader:
        assert reader.message_count < 2 * 15
    (recording.folder / 'deleted.json').unlink()
    assert 'left_out' in {each.kind for each in verify(recording.folder)}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    parent = tmp_path / 'records'
    other = record(tmp_path / 'other')
    parent.mkdir()
    (parent / NAME).symlink_to(other)
    assert recordings_in(parent) == []
    recording = begin(parent)
    recording.close()
    assert recording.folder == parent / f'{NAME}-2'


def test_names() -> None:
    assert folder_name(0.0, 'estop') == '1970-01-01_00-00-00Z_estop'
    assert folder_name(0.0, '../a b') == '1970-01-01_00-00-00Z_a-b'
    assert folder_name(0.0, '//') == '1970-01-01_00-00-00Z_record'


def test_nothing_is_left_of_one_that_cannot_begin(tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt on a full disk would leave a folder and two files that stay open."""
    parent = tmp_path / 'records'
    record(parent, 3, name='a')
    left, real = [1, 0], os.write

    def write(descriptor: int, data: bytes) -> int:
        if not left.pop(0):
            raise OSError(28, 'No space left on device')
        return real(descriptor, data)
    before = open_files()
    monkeypatch.setattr('ws_bridge.record.signed_file.os.write', write)
    with pytest.raises(OSError, match='No space'):
        begin(parent, name='b')
    assert os.listdir(parent) == ['a']
    assert open_files() == before


def test_a_folder_with_the_name_of_a_file_is_not_deleted(tmp_path: Path) -> None:
    """It would keep every recording from its end."""
    parent = tmp_path / 'records'
    old = '2020-01-01_00-00-00Z_x'
    (parent / old / f'{old}_0.mcap').mkdir(parents=True)
    record(parent, 60)
    signer = signer_in(tmp_path)
    assert delete_oldest(parent, 1, signer) == 2
    assert os.listdir(parent) == [old]
