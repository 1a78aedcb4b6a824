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
"""One plain file has what the files of a recording have."""
from __future__ import annotations

from pathlib import Path

from mcap.reader import make_reader
import pytest
from support.recordings import COUNT, POINT, read, record, START, STEP

from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import COMMANDS, OWN
from ws_bridge.record.export import write_mcap
from ws_bridge.record.rosbag2 import QOS, TYPE_HASH


def all_of(topic: str, type_name: str) -> bool:
    """Hear everything."""
    return True


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a recording of four files."""
    return record(tmp_path_factory.mktemp('robot') / 'records', 20, each_file=10)


def test_it_has_all_messages(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / 'x.mcap'
    rows = sorted((row for path in folder.glob('*.mcap') for row in read(path)),
                  key=lambda row: row[1])
    assert write_mcap(folder, target, may_hear=all_of) == (len(rows), set())
    with target.open('rb') as file:
        reader = make_reader(file)
        found = list(reader.iter_messages(log_time_order=False))
        assert reader.get_header().profile == ''
    assert [(channel.topic, message.log_time, message.sequence, message.data)
            for _, channel, message in found] == rows
    assert all(message.publish_time == message.log_time for _, _, message in found)
    told = {channel.topic: (schema and (schema.name, schema.encoding, schema.data.decode()),
                            channel.message_encoding, channel.metadata)
            for schema, channel, _ in found}
    own = OWN[COMMANDS]
    assert told[COMMANDS] == ((own.type_name, 'jsonschema', own.schema), 'json', {})
    assert told[COUNT.topic][:2] == ((COUNT.type_name, 'ros2msg', COUNT.schema), 'cdr')
    assert told[COUNT.topic][2][TYPE_HASH] == COUNT.type_hash
    assert 'reliability: reliable' in told[COUNT.topic][2][QOS]


def test_a_part_of_samples_alone_is_a_bag_of_ros(folder: Path, tmp_path: Path) -> None:
    rosbags = pytest.importorskip('rosbags.highlevel')
    target = tmp_path / 'x.mcap'
    count, _ = write_mcap(folder, target, [COUNT.topic, POINT.topic], START + STEP,
                          START + 3 * STEP, may_hear=lambda *key: key == COUNT.key)
    assert count == 2
    with rosbags.AnyReader([target]) as bag:
        assert [(connection.topic, time, bag.deserialize(data, connection.msgtype).data)
                for connection, time, data in bag.messages()] == [
                    ('/count', START + STEP, 1), ('/count', START + 2 * STEP, 2)]


def test_who_may_hear_less(folder: Path, tmp_path: Path) -> None:
    """Neither a topic that he may not hear, nor what is said of it."""
    target = tmp_path / 'x.mcap'
    assert write_mcap(folder, target, may_hear=lambda topic, _: topic == POINT.topic,
                      hears_all=False) == (20, {COUNT.topic, COMMANDS})
    assert {row[0] for row in read(target)} == {POINT.topic}


def test_what_cannot_be_written_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / 'x.mcap'
    with pytest.raises(BadRecording, match=r'/counts is not in .*/count'):
        write_mcap(folder, target, ['/counts'], may_hear=all_of)

    def fail(topic: str, type_name: str) -> bool:
        raise BadRecording('the disk')
    with pytest.raises(BadRecording, match='the disk'):
        write_mcap(folder, target, may_hear=fail)
    assert not target.exists()
    target.write_bytes(b'mine')
    with pytest.raises(FileExistsError):
        write_mcap(folder, target, may_hear=all_of)
    assert target.read_bytes() == b'mine'
