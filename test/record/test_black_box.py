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
"""The ring holds the last seconds, and becomes a file when something asks for it."""
from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import shutil
from typing import Any

import pytest
from support.helpers import open_files
from support.recordings import COUNT, POINT, read, signer_in

from ws_bridge.record.black_box import BlackBox, BoxSettings, BoxState
from ws_bridge.record.channels import COMMANDS, EVENTS
from ws_bridge.record.recording import Origin, Recording
from ws_bridge.record.verify import verify
from ws_bridge.record.wire import Batch, Happened, Item, Latched, NewChannel, Trigger

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


class Box:
    """A box and what it says; its monotonic time is what it was told last."""

    def __init__(self, parent: Path, **settings: Any) -> None:
        self.parent = parent
        self.said: list[BoxState] = []
        self.count = 0
        self.fault: Callable[[], None] = lambda: None
        self.box = BlackBox(BoxSettings(**settings), self.begin, self.said.append, 0.0)
        for number, info in enumerate((COUNT, POINT)):
            self.take(NewChannel(number, {
                'topic': info.topic, 'type_name': info.type_name, 'schema': info.schema,
                'qos': list(info.qos), 'type_hash': info.type_hash}))

    def begin(self, reason: str, now: float) -> Recording:
        self.fault()
        self.count += 1
        return Recording(self.parent, f'{self.count}-{reason}', signer=signer_in(
            self.parent.parent), origin=Origin(), limit=0, now=now)

    def take(self, item: Item, now: float = 0.0) -> None:
        self.box.take(item, now)

    def sample(self, second: float, number: int = 0) -> None:
        """Take a sample of a topic."""
        self.take(Batch(number, T0 + int(second * SECOND), int(second * 10), [
            b'%g' % second]), second)

    def samples(self, name: str) -> list[bytes]:
        """Return the data of the samples of a recording."""
        return [data for *_, data in read(self.parent / name / f'{name}_0.mcap')]

    def told(self, name: str, topic: str) -> list[dict[str, Any]]:
        """Return what an own channel of a recording says."""
        return [json.loads(data) for name, _, _, data in read(
            self.parent / name / f'{name}_0.bridge.mcap') if name == topic]


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Give the folder of recordings."""
    return tmp_path / 'records'


def test_a_ring(parent: Path) -> None:
    each = Box(parent, ring=2.0, after=1.0)
    for second in range(10):
        each.sample(second)
    each.take(Happened(EVENTS, T0 + 9 * SECOND, b'{"event": "stopped"}'), 9.0)
    assert not parent.exists()
    each.take(Trigger('estop', T0 + 9 * SECOND), 9.0)
    each.sample(9.5)
    each.box.poll(9.9)
    assert each.said == [BoxState('ring'), BoxState('recording', '1-estop', 'estop')]
    each.box.poll(10.0)
    assert each.said[-1] == BoxState('ring', '1-estop')
    assert each.samples('1-estop') == [b'7', b'8', b'9', b'9.5']
    assert each.told('1-estop', EVENTS) == [{'event': 'stopped'}]
    notes = each.told('1-estop', '/ws_bridge/recorder')
    assert [(note['event'], note.get('reason')) for note in notes if 'topic' not in note] == [
        ('begin', 'estop'), ('trigger', 'estop')]
    # what is not known of a topic is said
    assert [note['topic'] for note in notes if 'topic' in note] == [POINT.topic]


def test_another_trigger_goes_on_for_longer(parent: Path) -> None:
    each = Box(parent, ring=2.0, after=1.0)
    each.sample(0)
    each.take(Trigger('stopped', T0), 0.0)
    each.sample(0.9)
    each.take(Trigger('save', T0 + SECOND), 0.9)
    each.box.poll(1.5)
    each.sample(1.8)
    each.box.poll(1.9)
    assert os.listdir(parent) == ['1-stopped']
    assert each.samples('1-stopped') == [b'0', b'0.9', b'1.8']
    each.sample(5)
    each.take(Trigger('save', T0 + 5 * SECOND), 5.0)
    each.box.close()
    assert each.samples('2-save') == [b'5']


def test_each_file_begins_with_what_is_kept(parent: Path) -> None:
    """As it was when the file begins, not as it is when something asks for it."""
    each = Box(parent, mode='ring', ring=2.0, after=1000.0)
    each.take(Latched(1, T0, [b'old map']))
    each.sample(0, 1)
    each.sample(5)
    each.take(Latched(1, T0 + 6 * SECOND, [b'new map', b'patch']))
    each.sample(6, 1)
    each.take(Trigger('stopped', T0 + 6 * SECOND), 6.0)
    each.sample(7)
    each.box.poll(700.0)        # the next file
    each.sample(701)
    each.box.close()
    assert each.samples('1-stopped') == [b'old map', b'5', b'6', b'7']
    second = read(parent / '1-stopped' / '1-stopped_1.mcap')
    assert [(topic, data) for topic, _, _, data in second] == [
        (POINT.topic, b'new map'), (POINT.topic, b'patch'), ('/count', b'701')]


def test_always(parent: Path) -> None:
    each = Box(parent, mode='always')
    each.sample(0)
    each.box.poll(3500.0)
    each.sample(3500)
    each.box.poll(3600.0)
    each.sample(3600)
    each.box.close()
    assert each.samples('1-always') == [b'0']
    assert each.samples('2-always') == [b'3600']


def test_ring_is_bounded_by_bytes(parent: Path) -> None:
    each = Box(parent, ring=100.0, ring_bytes=3000)
    for second in range(50):
        each.sample(second)
    assert each.box.ring_size[1] <= 3000
    each.take(Trigger('stopped', T0 + 50 * SECOND), 50.0)
    each.box.close()
    assert each.samples('1-stopped')[-1] == b'49'
    assert any('more than 3000 bytes' in note.get('message', '')
               for note in each.told('1-stopped', '/ws_bridge/recorder'))


def test_a_day_in_the_ring(parent: Path) -> None:
    """24 h, a sample each 10 s: it is flat (1,000 a second: bench/measure_record.py)."""
    each = Box(parent, ring=300.0)
    sizes = set()
    for second in range(0, 86_400, 10):
        each.take(Batch(0, T0 + second * SECOND, second, (b'1234',)))
        if second >= 600:
            sizes.add(each.box.ring_size)
    assert sizes == {(31, 31 * 104)}


def test_a_full_disk_ends_the_recording_and_nothing_else(
        parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = Box(parent, ring=5.0, after=10.0)
    each.sample(0)
    each.take(Trigger('stopped', T0), 0.0)
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'write', full)
    each.box.poll(1.0)
    assert each.said[-1] == BoxState('failed', '1-stopped', 'No space left on device')
    for second in range(2, 20):
        each.sample(second)
        each.box.poll(second)
    assert len(each.said) == 3      # it is said once
    monkeypatch.setattr(os, 'write', write)
    each.take(Trigger('save', T0 + 20 * SECOND), 20.0)
    each.box.close()
    assert each.samples('2-save') == [b'15', b'16', b'17', b'18', b'19']


def test_a_folder_that_cannot_be_made(parent: Path) -> None:
    def refuse() -> None:
        raise PermissionError(13, 'Permission denied')
    each = Box(parent, ring=5.0)
    each.fault = refuse
    each.take(Trigger('stopped', T0), 0.0)
    assert each.said[-1] == BoxState('failed', '', 'Permission denied')
    each.sample(1)
    each.box.poll(1.0)
    each.box.close()


def test_always_tries_again(parent: Path) -> None:
    def refuse() -> None:
        raise PermissionError(13, 'Permission denied')
    each = Box(parent, mode='always')
    each.fault = refuse
    each.box.poll(3600.0)       # the next one is due
    assert each.said[-1].state == 'failed'
    assert each.box.due() == 3660.0
    each.sample(3601)
    each.box.poll(3659.0)
    each.fault = lambda: None
    each.box.poll(3660.0)
    each.box.close()
    assert each.samples('2-always') == [b'3601']


def test_commands_are_in_the_other_file(parent: Path) -> None:
    each = Box(parent)
    each.take(Happened(COMMANDS, T0, b'{"verdict": "not_holder"}'))
    each.take(Trigger('stopped', T0), 0.0)
    each.box.close()
    assert each.told('1-stopped', COMMANDS) == [{'verdict': 'not_holder'}]
    assert each.samples('1-stopped') == []


def test_always_begins_at_the_time_of_the_first_item(parent: Path) -> None:
    """The recorder begins before anything has told what time it is."""
    each = Box(parent, mode='always')
    assert each.said == [BoxState('recording', '1-always', 'always')]
    each.sample(3)
    each.box.close()
    rows = read(parent / '1-always' / '1-always_0.bridge.mcap')
    assert {stamp for _, stamp, *_ in rows} == {T0 + 3 * SECOND}
    assert [note['event'] for note in each.told('1-always', '/ws_bridge/recorder')][:1] == [
        'begin']
    assert [remark.kind for remark in verify(parent / '1-always')] == ['intact']


@pytest.mark.parametrize('mode', ['ring', 'always'])
def test_a_folder_that_vanishes(parent: Path, mode: str) -> None:
    """What nobody will find is not recorded: it is told, and recording begins anew."""
    each = Box(parent, mode=mode)
    each.sample(0)
    each.take(Trigger('save', T0), 0.0)
    shutil.rmtree(parent)
    each.sample(1)
    each.box.poll(2.0)
    assert each.said[-1].state == 'failed'
    each.sample(60)
    each.take(Trigger('save', T0 + 60 * SECOND), 60.0)
    each.box.poll(60.0)
    assert each.said[-1].state == 'recording'
    each.box.close()
    assert b'60' in each.samples(each.said[-1].folder)


def test_a_folder_that_is_moved_at_the_end(parent: Path) -> None:
    each = Box(parent, mode='always')
    each.sample(0)
    parent.rename(parent.parent / 'elsewhere')
    each.box.close()
    assert each.said[-1].state == 'failed'


def test_a_disk_that_is_full_at_the_end(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are let go of: the next start repairs them."""
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(28, 'No space left on device')
    before = open_files()
    each = Box(parent, mode='always')
    each.sample(0)
    monkeypatch.setattr('ws_bridge.record.signed_file.os.write', write)
    each.box.close()
    assert each.said[-1].state == 'failed'
    assert open_files() == before
