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
"""Messages of a recording in the order of their time, and what a role may read of it."""
from __future__ import annotations

import json
from pathlib import Path

from mcap.writer import Writer
import pytest
from support.recordings import begin, COUNT, fill, NAME, POINT, record, START, STEP
from support.recordings import messages as wanted

from ws_bridge.errors import BadRecording
from ws_bridge.record.channels import COMMANDS, EVENTS, OWN
from ws_bridge.record.reading import channels_at, cut, messages, newest

NUMBER = 8


def test_the_order_of_time(tmp_path: Path) -> None:
    folder = record(tmp_path / 'records', NUMBER, each_file=3)
    assert [(each.info.topic, each.stamp, each.sequence, each.data)
            for each in messages(folder)] == [
        (info.topic, stamp, sequence, data) for info, stamp, sequence, data in wanted(NUMBER)]
    part = messages(folder, [POINT.topic], START + STEP, START + 2 * STEP + 1)
    assert [each.sequence for each in part] == [1]
    assert {topic: count for (topic, _), (_, count) in channels_at(folder).items()} == {
        '/count': NUMBER, POINT.topic: NUMBER, COMMANDS: NUMBER}
    assert len(list(messages(folder / f'{NAME}_1.mcap'))) == 6


def test_what_was_cut_is_not_read(tmp_path: Path) -> None:
    folder = record(tmp_path / 'records', NUMBER)
    path = folder / f'{NAME}_0.mcap'
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadRecording, match='was cut'):
        list(messages(folder))


def test_what_is_being_recorded_is_not_read(tmp_path: Path) -> None:
    recording = begin(tmp_path / 'records')
    fill(recording, NUMBER)
    with pytest.raises(BadRecording, match='is being recorded now'):
        list(messages(recording.folder))
    recording.abandon()
    with pytest.raises(BadRecording, match='was cut'):
        list(messages(recording.folder))


@pytest.mark.parametrize('hears_all', [True, False])
def test_what_is_denied_is_left_out(tmp_path: Path, hears_all: bool) -> None:
    source = begin(tmp_path / 'records')
    for info, stamp, sequence, data in wanted(NUMBER):
        source.add(info, stamp, sequence, data)
    for topic, fields in ((COMMANDS, {'topic': POINT.topic}), (EVENTS, {'event': 'login'}),
                          (EVENTS, [])):
        source.add(OWN[topic], START, 0, json.dumps(fields).encode())
    source.close()
    target = begin(tmp_path / 'records', name='part')
    count, left_out = cut(source.folder, target, begin=None, end=None,
                          may_hear=lambda topic, _: topic == '/count', hears_all=hears_all)
    found = list(messages(target.folder))
    assert len(found) == count
    assert POINT.topic not in {each.info.topic for each in found}
    assert POINT.topic in left_out
    own = [json.loads(each.data) for each in found if each.info.is_own]
    assert ({'topic': POINT.topic} in own) is hears_all
    assert ({'event': 'login'} in own) is hears_all
    assert {each['topic'] for each in own if 'verdict' in each} == {'/count'}


def test_the_newest_of_each_topic(tmp_path: Path) -> None:
    """At a time, and not older than another one; over the files of a recording."""
    folder = record(tmp_path / 'records', 20, each_file=5)
    every = [COUNT.topic, POINT.topic, COMMANDS, '/none']
    assert [(each.info.topic, each.stamp - START) for each in newest(
        folder, START + 7 * STEP + 1, every)] == [
            (COMMANDS, 6 * STEP + 2), ('/count', 7 * STEP), (POINT.topic, 7 * STEP + 1)]
    assert [each.info.topic for each in newest(
        folder, START + 7 * STEP + 1, every, START + 7 * STEP)] == ['/count', POINT.topic]
    assert newest(folder, START - 1, every) == []
    assert newest(folder, START + 5 * STEP, []) == []
    assert [each.stamp - START for each in newest(folder, 2 * START, ['/count'])] == [19 * STEP]


def test_a_message_of_no_channel(tmp_path: Path) -> None:
    """It is an error with a code, as each file that nobody can read."""
    path = tmp_path / 'x_0.mcap'
    with open(path, 'wb') as file:
        writer = Writer(file)
        writer.start()
        writer.register_channel('/a', 'cdr', writer.register_schema('a/msg/B', 'ros2msg', b''))
        for channel in (1, 7):
            writer.add_message(channel, START, b'1234', START)
        writer.finish()
    for read in (lambda: list(messages(path)), lambda: newest(path, START, ['/a'])):
        with pytest.raises(BadRecording):
            read()
