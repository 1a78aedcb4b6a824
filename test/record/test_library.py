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
"""What those who ask over HTTP are told of recordings, and sent of one."""
from __future__ import annotations

from io import BytesIO
import json
from pathlib import Path
import tarfile
from typing import Any

import pytest
from support.recordings import begin, COUNT, NAME, POINT, read, record, START

from ws_bridge.errors import BadRecording, LimitExceeded, UnknownName
from ws_bridge.record import library
from ws_bridge.record.channels import ChannelInfo, COMMANDS, EVENTS, OWN
from ws_bridge.record.verify import verify
from ws_bridge.record.wire import json_of

NUMBER = 10
PARAMETERS = ChannelInfo('/renamed', 'rcl_interfaces/msg/ParameterEvent', 'string node\n')
SECRET = {'topic': POINT.topic, 'values': {'password': 'swordfish'}}


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Give the folder of recordings: a whole one, one that is being written, and others."""
    parent = tmp_path / 'records'
    record(parent, NUMBER)
    begin(parent, name='2026-11-29_08-00-00Z_now')
    (parent / 'holiday').mkdir()
    (parent / '2026-11-29_09-00-00Z_link').symlink_to(parent / NAME)
    return parent


def asked(parent: Path, **options: Any) -> BytesIO:
    out = BytesIO()
    library.answer({'folder': str(parent), 'key': str(parent.parent / 'record.key'), **options},
                   out)
    return out


def unpacked(parent: Path, target: Path, **options: Any) -> Path:
    """Return the folder that is in what was sent."""
    out = asked(parent, **{'name': NAME, 'more': [], 'hears_all': True, **options})
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert {(each.uid, each.gid, each.uname, each.gname) for each in archive} == {
            (0, 0, '', '')}
        archive.extractall(target, filter='data')
    folder, = target.iterdir()
    return folder


def test_what_there_is(parent: Path) -> None:
    told = json.loads(asked(parent).getvalue())['recordings']
    size = sum(path.stat().st_size for path in (parent / NAME).glob('*.mcap'))
    assert [(each['name'], each['complete']) for each in told] == [
        ('2026-11-29_08-00-00Z_now', False), (NAME, True)]
    assert told[1] == {'name': NAME, 'reason': 'test', 'began': '2026-11-29T07:00:00Z',
                       'seconds': 0.090000001, 'size': size, 'complete': True}
    assert told[0]['seconds'] is None
    (parent / NAME / 'metadata.yaml').write_bytes(b'\xff')    # what somebody has put there
    assert json.loads(asked(parent).getvalue())['recordings'][1]['seconds'] is None
    assert json.loads(asked(parent / 'nowhere').getvalue()) == {'recordings': []}


@pytest.mark.parametrize(('name', 'error'), [
    ('2026-11-29_08-00-00Z_now', BadRecording), ('holiday', UnknownName), ('', UnknownName),
    ('2026-11-29_09-00-00Z_link', UnknownName), (f'../records/{NAME}', UnknownName),
    ('..', UnknownName), (f'/etc/{NAME}', UnknownName), ('nul\0', UnknownName)])
def test_nothing_else_is_sent(parent: Path, name: str, error: type[Exception]) -> None:
    for more in ({}, {'topics': [], 'more': [], 'hears_all': True}):
        with pytest.raises(error):
            asked(parent, name=name, **more)


def test_who_may_hear_all_gets_the_files_as_they_are(parent: Path, tmp_path: Path) -> None:
    topics = json.loads(asked(parent, name=NAME).getvalue())['topics']
    assert sorted(topics) == sorted(map(list, (COUNT.key, POINT.key, OWN[COMMANDS].key)))
    sent = unpacked(parent, tmp_path / 'got', topics=topics)
    assert sent.name == NAME
    assert {path.name: path.read_bytes() for path in sent.iterdir()} == {
        path.name: path.read_bytes() for path in (parent / NAME).iterdir()}


def test_who_may_hear_less_gets_a_part(parent: Path, tmp_path: Path) -> None:
    """Neither a topic that he may not hear, nor what is said of it; signed, and says so."""
    name = '2026-11-29_10-00-00Z_more'
    recording = begin(parent, name=name)
    recording.add(COUNT, START, 0, b'\0\1\0\0\7\0\0\0')
    recording.add(POINT, START, 0, b'swordfish')
    recording.add(PARAMETERS, START, 0, b'swordfish')
    for topic, said in ((COMMANDS, SECRET), (EVENTS, {'event': 'login', 'name': 'swordfish'}),
                        (COMMANDS, {'topic': '/count', 'verdict': 'not_holder'}),
                        (COMMANDS, {'topic': '/gated', 'verdict': 'stopped'}),
                        (COMMANDS, ['swordfish'])):
        recording.add(OWN[topic], START, 0, json_of(said))      # type: ignore[arg-type]
    recording.close()
    assert b'swordfish' in b''.join(row[3] for path in recording.folder.glob('*.mcap')
                                    for row in read(path))
    sent = unpacked(parent, tmp_path / 'got', name=name, topics=[COUNT.key], more=['/gated'],
                    hears_all=False)
    rows = [row for path in sorted(sent.glob('*.mcap')) for row in read(path)]
    assert sorted(row[0] for row in rows) == ['/count', COMMANDS, COMMANDS]
    assert not any(b'swordfish' in row[3] for row in rows)
    assert POINT.topic.encode() not in b''.join(path.read_bytes() for path in sent.iterdir())
    assert sent.name == f'{name}-part'
    assert [each.kind for each in verify(sent)] == ['intact']
    # who hears all but one topic: what is said of no topic is for him
    sent = unpacked(parent, tmp_path / 'other', name=name, topics=[
        COUNT.key])
    assert {row[0] for path in sent.glob('*.mcap') for row in read(path)} == {
        '/count', COMMANDS, EVENTS}


def test_no_room(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('shutil.disk_usage', lambda path: type('Usage', (), {'free': 1000}))
    with pytest.raises(LimitExceeded):
        asked(parent, name=NAME, topics=[COUNT.key], more=[], hears_all=True)
