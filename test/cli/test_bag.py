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
"""What ``ws_bridge bag`` prints, and how it ends."""
from __future__ import annotations

from importlib import util
import json
import os
from pathlib import Path
import subprocess
import sys

import pytest
from support.recordings import begin, NAME, POINT, record, START, STEP
from support.recordings import read as messages_of

from ws_bridge.cli.parser import main
from ws_bridge.record.channels import COMMANDS, EVENTS, OWN
from ws_bridge.record.scan import scan
from ws_bridge.record.wire import json_of

NUMBER = 10
MAPPING = """
version: 1
out: ['*']
roles:
  reader: {like: observer, allow: [{recordings: '*'}], deny: [{subscribe: '/secret/*'}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a recording."""
    return record(tmp_path / 'records', NUMBER)


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['bag', 'info', str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'{folder}: 2 files, ')
    assert lines[1] == 'from 2023-11-14 22:13:20.000Z for 0.090 s'
    assert ['/count', 'std_msgs/msg/Int32', str(NUMBER)] in [line.split() for line in lines]


def test_a_recording_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'none'
    for words in (['info', str(path)], ['csv', str(path), '/count'], ['verify', str(path)]):
        assert main(['bag', *words]) == 1
        assert f'{path}: No such file or directory' in capsys.readouterr().err


def test_csv(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['bag', 'csv', str(folder), '/count', '--begin', '0.05']) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ['log_time,publish_time,data', *(
        f'1700000000.0{index}0000000,1700000000.0{index}0000000,{index}'
        for index in range(5, NUMBER))]
    assert err == '5 messages\n'
    target = tmp_path / 'x.csv'
    assert main(['bag', 'csv', str(folder), '/count', '-o', str(target)]) == 0
    assert len(target.read_text().splitlines()) == NUMBER + 1
    assert main(['bag', 'csv', str(folder), '/none']) == 1
    assert main(['bag', 'csv', str(folder), '/count', '-o', str(tmp_path)]) == 1


def test_cut(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / 'part'
    end = (START + 3 * STEP) / 1e9
    assert main(['bag', 'cut', str(folder), str(target), '--end', f'{end:.3f}',
                 '--key', str(tmp_path / 'record.key')]) == 0
    assert capsys.readouterr().out == f'{target}: 9 messages\n'
    assert main(['bag', 'verify', str(target), '--key', str(tmp_path / 'record.key.pub')]) == 0


@pytest.mark.parametrize(('role', 'code', 'topics'), [
    ('reader', 0, {'/count'}), ('admin', 0, {'/count', POINT.topic}),
    ('observer', 1, set()), ('operator', 1, set()), ('safety', 1, set()), ('none', 1, set())])
def test_what_a_role_may_read(folder: Path, tmp_path: Path, role: str, code: int,
                              topics: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text(MAPPING)
    target = tmp_path / 'part'
    assert main(['bag', 'cut', str(folder), str(target), '--as', role,
                 '--mapping', str(mapping)]) == code
    said = capsys.readouterr()
    if code:
        assert not target.exists()
        assert ('forbidden' in said.err) is (role != 'none')
    else:
        assert {row[0] for row in messages_of(target / 'part_0.mcap')} == topics
        assert (f'left out: {POINT.topic}' in said.err) is (role == 'reader')


def test_mcap(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As far as a role may read it; what is there is not written over."""
    (tmp_path / 'mapping.yaml').write_text(MAPPING)
    target = tmp_path / 'x.mcap'
    words = ['bag', 'mcap', str(folder), str(target), '--begin', '0.05', '--topic', '/count',
             '--topic', POINT.topic, '--as', 'reader', '--mapping', str(tmp_path / 'mapping.yaml')]
    assert main(words) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (f'{target}: 5 messages, not signed\n',
                                    f'left out: {POINT.topic}\n')
    assert [row[0] for row in messages_of(target)] == ['/count'] * 5
    assert main(words) == 1
    assert 'File exists' in capsys.readouterr().err


def test_what_is_said_of_a_denied_topic(tmp_path: Path) -> None:
    """To see all names is not to be told what was commanded."""
    recording = begin(tmp_path / 'records')
    for topic in (POINT.topic, '/count'):
        recording.add(OWN[COMMANDS], START, 0, json_of({'topic': topic, 'values': {'x': 1.0}}))
    recording.close()
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text(MAPPING)
    assert main(['bag', 'cut', str(recording.folder), str(tmp_path / 'part'), '--as', 'reader',
                 '--mapping', str(mapping)]) == 0
    assert [json.loads(row[3])['topic'] for row in messages_of(
        tmp_path / 'part' / 'part_0.bridge.mcap')] == ['/count']


def test_a_denial_of_the_bridges_own_name(folder: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    """A pattern with ~ is about the node that recorded; what is said of a topic follows it."""
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text(MAPPING.replace('/secret/*', '~/point').replace('/secret', '~'))
    words = ['bag', 'cut', str(folder), '--as', 'reader', '--mapping', str(mapping)]
    assert main([*words, str(tmp_path / 'all')]) == 0
    assert main([*words, str(tmp_path / 'part'), '--node', '/secret']) == 0
    assert {row[0] for row in messages_of(tmp_path / 'all' / 'all_0.mcap')} == {
        '/count', POINT.topic}
    assert {row[0] for row in messages_of(tmp_path / 'part' / 'part_0.mcap')} == {'/count'}
    assert main(['bag', 'cut', str(folder), str(tmp_path / 'x'), '--node', '/secret']) == 1
    assert '--as' in capsys.readouterr().err


def test_verify_and_repair(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['bag', 'verify', str(folder)]) == 0
    path = folder / f'{NAME}_0.mcap'
    os.truncate(path, scan(path).segments[0].after + 3)
    assert main(['bag', 'verify', str(folder)]) == 1
    assert f'cut: {NAME}_0.mcap: the end is missing, behind chunk 1' in capsys.readouterr().out
    assert main(['bag', 'info', str(folder)]) == 1
    assert 'was cut' in capsys.readouterr().err
    key = str(folder.parent.parent / 'record.key')
    assert main(['bag', 'repair', str(folder), '--key', key]) == 0
    assert '3 that were no whole chunk lost, signed' in capsys.readouterr().out
    assert main(['bag', 'repair', str(folder)]) == 0
    assert 'nothing was cut' in capsys.readouterr().out
    assert main(['bag', 'verify', str(folder), '--key', f'{key}.pub']) == 0
    assert f'repaired: {NAME}_0.mcap: was cut' in capsys.readouterr().out


def test_without_the_libraries(folder: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    find = util.find_spec
    monkeypatch.setattr('ws_bridge.record.requirements.find_spec', lambda name: None
                        if name == 'mcap' else find(name))
    assert main(['bag', 'info', str(folder)]) == 1
    assert capsys.readouterr().err == "needs mcap: pip install 'ws_bridge[record]'\n"


@pytest.mark.parametrize('words', [[], ['info'], ['csv', 'x', '/y', '--begin', 'soon']])
def test_wrong_usage(words: list[str]) -> None:
    assert main(['bag', *words]) == 2


@pytest.mark.parametrize('words', [
    ['info', 'x' * 300], ['verify', 'x' * 300], ['csv', 'x' * 5000, '/a'],
    ['cut', 'FOLDER', 'x' * 300], ['cut', 'FOLDER', 'TARGET\udcff'],
    ['csv', 'FOLDER', '/count', '-o', '/dev/full']], ids=lambda words: words[0])
def test_what_the_system_refuses_is_one_line(folder: Path, tmp_path: Path, words: list[str],
                                             capsys: pytest.CaptureFixture[str]) -> None:
    given = [word.replace('FOLDER', str(folder)).replace('TARGET', str(tmp_path / 'part'))
             for word in words]
    assert main(['bag', *given]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize('words', [['csv', '/count'], ['info'], ['verify']])
def test_a_disk_that_takes_no_output(folder: Path, words: list[str]) -> None:
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([sys.executable, '-m', 'ws_bridge', 'bag', words[0], str(folder),
                               *words[1:]], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert 'No space left' in done.stderr.splitlines()[-1]


def test_an_empty_key_is_no_key(folder: Path) -> None:
    """A variable of the shell that is not set must not verify by each file's own key."""
    assert main(['bag', 'verify', str(folder), '--key', '']) == 2


def test_channels_of_the_same_name_that_are_not_ours(tmp_path: Path) -> None:
    recording = begin(tmp_path / 'records')
    for data in (b'\x00\x01', b'[1]', b'{"event": "estop"}'):
        recording.add(OWN[EVENTS], START, 0, data)
    recording.close()
    assert main(['bag', 'info', str(recording.folder)]) == 0
