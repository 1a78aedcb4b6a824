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
"""Test that peers have MCAP files made of tables, a few at once, of bounded size."""
from __future__ import annotations

import sys
from typing import Any

import pytest
from support.helpers import async_wait_until

from ws_bridge.bridge import exports
from ws_bridge.bridge.exports import AT_ONCE, Exports, PATIENCE
from ws_bridge.errors import BadField, LimitExceeded, TooLarge, Unavailable
from ws_bridge.protocol.operations import AddToTable
from ws_bridge.protocol.replies import Exported, Failed
from ws_bridge.session.effects import AddToExport


class FakeLink:
    """One that is open, unless it says otherwise."""

    is_open = True


class FakePeer:
    """Takes replies."""

    def __init__(self) -> None:
        self.link = FakeLink()
        self.told: list[Any] = []

    def send(self, reply: Any) -> None:
        self.told.append(reply)


class Rig:
    """What makes files, at a time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.exports = Exports(lambda: self.now)

    def add(self, peer: FakePeer, part: int, csv: str, *, last: bool = False) -> None:
        """Send a part of a table."""
        take: Any = Exports.EFFECTS[AddToExport]
        take(self.exports, peer, AddToExport(AddToTable(f'{part}', part, csv, last)))


@pytest.fixture
def rig() -> Rig:
    """Give one."""
    return Rig()


async def test_the_last_part_is_answered_with_the_file(rig: Rig) -> None:
    good, bad = FakePeer(), FakePeer()
    for part, csv in enumerate(('t,', 'a\n1,', '2\n')):
        rig.add(good, part, csv, last=part == 2)
    rig.add(bad, 0, 't,a\n1,x\n', last=True)
    with pytest.raises(LimitExceeded):      # both are being made
        rig.add(FakePeer(), 0, 't')
    await async_wait_until(lambda: len(good.told) == 3 and bad.told)
    assert good.told[:2] == [Exported('0'), Exported('1')]
    assert good.told[2].op_id == '2'
    assert good.told[2].data.startswith(b'\x89MCAP0\r\n')
    (failed,) = bad.told
    assert (failed.op_id, failed.error.code, failed.error.field) == ('0', 'bad_field', 'data.csv')
    assert 'line 2' in failed.error.message
    rig.add(bad, 0, 't')        # there is room again
    await rig.exports.shutdown()


async def test_parts_are_counted(rig: Rig) -> None:
    peer = FakePeer()
    with pytest.raises(BadField, match='from 0'):
        rig.add(peer, 1, 'x')
    rig.add(peer, 0, 'x')
    for part in (2, 3):
        with pytest.raises(BadField, match='from 0'):
            rig.add(peer, part, 'x')
    rig.add(peer, 1, 'x')
    rig.add(peer, 0, 'x')       # it begins anew


async def test_a_table_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, 'LARGEST', 10)
    peer = FakePeer()
    rig.add(peer, 0, 'x' * 10)
    with pytest.raises(TooLarge) as caught:
        rig.add(peer, 1, 'x', last=True)
    assert caught.value.field == 'csv'      # the dialect puts `data` before it
    with pytest.raises(BadField):
        rig.add(peer, 2, 'x')       # what was too large is not kept


async def test_who_goes_away_keeps_nobody_out(rig: Rig) -> None:
    first, *_ = peers = [FakePeer() for _ in range(AT_ONCE)]
    for peer in peers:
        rig.add(peer, 0, 'x')
    with pytest.raises(LimitExceeded):
        rig.add(FakePeer(), 0, 'x')
    first.link.is_open = False
    rig.add(FakePeer(), 0, 'x')
    with pytest.raises(LimitExceeded):
        rig.add(FakePeer(), 0, 'x')
    rig.now += PATIENCE + 1
    rig.add(FakePeer(), 0, 'x')


async def test_what_is_missing_is_named(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ws_bridge.record.requirements.find_spec', lambda name: None)
    with pytest.raises(Unavailable, match=r"needs mcap, .*pip install 'ws_bridge\[record\]'"):
        rig.add(FakePeer(), 0, 'x')


async def test_a_process_that_fails_or_hangs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failed(command: tuple[str, ...]) -> Failed:
        monkeypatch.setattr(exports, '_COMMAND', command)
        peer = FakePeer()
        rig.add(peer, 0, 't,a\n', last=True)
        await async_wait_until(lambda: peer.told)
        (told,) = peer.told
        assert isinstance(told, Failed)
        return told
    assert (await failed(('/nowhere/python',))).error.code == 'unavailable'
    assert (await failed((sys.executable, '-c', 'import sys; sys.exit(3)'))).error.code == \
        'unavailable'
    monkeypatch.setattr(exports, 'WITHIN', 0.05)
    hangs = sys.executable, '-c', 'import time; time.sleep(60)'
    assert (await failed(hangs)).error.code == 'timeout'
