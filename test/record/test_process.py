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
"""The process that writes: what it was given is in the file, also when it was killed."""
from __future__ import annotations

from collections.abc import Iterator
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from support.helpers import wait_until
from support.recordings import cdr, COUNT, NAME, read, record, signer_in, START, STEP

from ws_bridge.record import wire
from ws_bridge.record.recording import recordings_in
from ws_bridge.record.rosbag2 import files_of
from ws_bridge.record.scan import scan
from ws_bridge.record.signed_file import CHUNK_TIME
from ws_bridge.record.verify import verify


class Writer:
    """The process, and a hand on its pipe."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        given = {'folder': str(folder / 'records'), 'key': str(folder / 'record.key'),
                 'limit': 0, 'robot': 'r', 'distro': 'kilted', 'mode': 'always', 'ring': 5.0,
                 'after': 1.0, **options}
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'ws_bridge.record.process', json.dumps(given)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.send(wire.NewChannel(1, {
            'topic': COUNT.topic, 'type_name': COUNT.type_name, 'schema': COUNT.schema,
            'qos': [], 'type_hash': COUNT.type_hash}))

    def send(self, item: wire.Item) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b''.join(map(bytes, wire.pack(item))))
        self.process.stdin.flush()

    def sample(self, number: int) -> None:
        self.send(wire.Batch(1, START + number * STEP, number, [cdr(COUNT, data=number)]))

    def close(self) -> list[dict[str, Any]]:
        """End its input; return what it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        with self.process.stdout as out:
            said = [json.loads(line) for line in out]
        self.process.wait()
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[Writer]]:
    """Give a list for processes, which are ended."""
    started: list[Writer] = []
    yield started
    for each in started:
        if each.process.poll() is None:
            each.kill()


def test_it_ends_with_its_input(tmp_path: Path, writers: list[Writer]) -> None:
    """Nothing that was sent is lost when the bridge dies; signals do not end it."""
    cut = record(tmp_path / 'records') / f'{NAME}_0.mcap'
    os.truncate(cut, scan(cut).segments[0].after + 5)
    writer = Writer(tmp_path, mode='ring')
    writers.append(writer)
    for number in range(30):
        writer.sample(number)
    writer.send(wire.Trigger('estop', START))
    wait_until(lambda: len(recordings_in(tmp_path / 'records')) == 2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        writer.process.send_signal(number)
    writer.sample(30)
    said = writer.close()
    assert said[0] == {'repaired': str(cut), 'kept': scan(cut).segments[0].after, 'lost': 5}
    folder = recordings_in(tmp_path / 'records')[1]
    assert [each.get('state') for each in said[1:]] == ['ring', 'recording', 'ring']
    assert said[-1]['folder'] == folder.name
    assert [row[2] for row in read(files_of(folder)[0])] == list(range(31))
    key = signer_in(tmp_path).public
    assert [each.kind for each in verify(folder, key)] == ['intact']
    assert [each.kind for each in verify(cut.parent, key)] == ['repaired', 'intact']


def test_killed_at_a_random_moment(tmp_path: Path, writers: list[Writer]) -> None:
    """The next one repairs it: the last chunk's time is missing at most."""
    writer = Writer(tmp_path)
    writers.append(writer)
    parent = tmp_path / 'records'
    wait_until(lambda: recordings_in(parent))
    sent: list[float] = []
    end = time.monotonic() + CHUNK_TIME + random.Random().uniform(0.2, 0.6)
    while time.monotonic() < end:
        writer.sample(len(sent))
        sent.append(time.monotonic())
        time.sleep(0.002)           # that is the rate of the samples
    killed = time.monotonic()
    writer.kill()
    other = Writer(tmp_path, mode='ring')
    writers.append(other)
    said = other.close()
    assert [each for each in said if 'repaired' in each]
    (folder,) = recordings_in(parent)
    numbers = [row[2] for row in read(files_of(folder)[0])]
    assert numbers == list(range(len(numbers)))
    # beside the chunk: what the process had not read yet, on a busy machine
    assert len(numbers) >= sum(each < killed - CHUNK_TIME - 1.0 for each in sent)
    assert {each.kind for each in verify(folder)} == {'repaired', 'intact'}


def test_a_key_that_is_refused(tmp_path: Path, writers: list[Writer]) -> None:
    (tmp_path / 'record.key').symlink_to(tmp_path / 'elsewhere')
    writer = Writer(tmp_path)
    writers.append(writer)
    for number in range(100):
        writer.sample(number)
    (said,) = writer.close()
    assert said['state'] == 'failed'
    assert 'symbolic link' in said['why']
