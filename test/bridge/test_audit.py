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
"""The audit log: lines, counts instead of floods, rotation, a disk that fails."""
from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from ws_bridge.bridge.audit import Audit, KEPT_FILES, MOST_KINDS
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.errors import ConfigError


class Clock:
    """A clock that stands."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


def lines(path: Path) -> list[Any]:
    """Return the events of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def refused(audit: Audit, peer: str, code: str = 'expired', **fields: Any) -> None:
    """Note a refusal."""
    audit.often('refused', gate='/t', peer=peer, code=code, **fields)


def test_a_line(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    audit = Audit(str(tmp_path / 'audit'), 1000, clock, 1000.0)
    audit.write('lease', gate='/t', peer=None, reason='acquired')
    audit.close()
    expected = {'time': 1100.0, 'event': 'lease', 'gate': '/t', 'reason': 'acquired'}
    assert lines(tmp_path / 'audit') == [expected]
    assert json.loads(caplog.messages[0].removeprefix('audit: ')) == expected
    audit.write('stopped')              # what comes after the end is only logged
    assert len(lines(tmp_path / 'audit')) == 1


def test_who_flips_a_lease_rotates_nothing_away(tmp_path: Path, clock: Clock) -> None:
    audit = Audit(str(tmp_path / 'audit'), 10_000, clock, 0.0)
    for epoch in range(1000):
        audit.often('lease', 3, gate='/t', peer='p1', epoch=epoch)
        clock.now += 0.01
        audit.flush()
    audit.close()
    written = lines(tmp_path / 'audit')
    assert [each['epoch'] for each in written[:3]] == [0, 1, 2]
    assert sum(each.get('count', 1) for each in written) == 1000
    assert len(written) < 20


def test_refusals_of_a_kind_are_counted(tmp_path: Path, clock: Clock) -> None:
    audit = Audit(str(tmp_path / 'audit'), 10_000, clock, 0.0)
    for _ in range(1000):
        refused(audit, 'p1', name='page', message='ttl: old')
    refused(audit, 'p2', 'not_holder')
    audit.flush()
    clock.now += 1.0
    audit.flush()
    audit.flush()
    clock.now += 1.0
    audit.flush()                       # nothing came any more: the kind is forgotten
    refused(audit, 'p1', name='page')
    refused(audit, 'p1', name='page')
    audit.close()
    told = lines(tmp_path / 'audit')
    assert [(line.get('peer'), line['code'], line.get('count')) for line in told] == [
        ('p1', 'expired', None), ('p2', 'not_holder', None), ('p1', 'expired', 999),
        ('p1', 'expired', None), ('p1', 'expired', 1)]
    assert told[0]['message'] == 'ttl: old'
    assert told[2]['until'] == 100.0


def test_many_kinds_are_counted_together(tmp_path: Path, clock: Clock) -> None:
    audit = Audit(str(tmp_path / 'audit'), 1 << 30, clock, 0.0)
    for number in range(MOST_KINDS + 50):
        refused(audit, f'p{number}')
    audit.close()
    told = lines(tmp_path / 'audit')
    assert len(told) == MOST_KINDS + 2
    assert told[-1]['count'] == 49


def test_the_ledger_counts_all_and_writes_few(tmp_path: Path, clock: Clock) -> None:
    """What anybody may cause by the thousand fills no disk; what a peer does once is all there."""
    audit = Audit(str(tmp_path / 'audit'), 1 << 30, clock, 0.0)
    ledger = Ledger(audit)
    for number in range(MOST_KINDS + 5):
        ledger.note('login', peer=f'p{number}')
    for _ in range(1000):
        ledger.refused('origin', '192.0.2.1')
    ledger.often('login_failed', address='192.0.2.1', reason='the token is unknown')
    audit.close()
    told = lines(tmp_path / 'audit')
    assert [line['peer'] for line in told[:MOST_KINDS + 5]] == [
        f'p{number}' for number in range(MOST_KINDS + 5)]
    assert [(line['event'], line.get('count')) for line in told[MOST_KINDS + 5:]] == [
        ('connection_refused', None), ('login_failed', None), ('connection_refused', 999)]
    assert told[-1]['address'] == '192.0.2.1'
    assert ledger.counts == {('login', ''): MOST_KINDS + 5, ('login_failed', ''): 1,
                             ('connection_refused', 'origin'): 1000}


def test_it_is_bounded(tmp_path: Path, clock: Clock) -> None:
    audit = Audit(str(tmp_path / 'audit'), 1000, clock, 0.0)
    for number in range(500):
        audit.write('lease', number=number)
    audit.close()
    sizes = [entry.stat().st_size for entry in os.scandir(tmp_path)]
    assert len(sizes) == KEPT_FILES + 1
    assert max(sizes) <= 1000


def test_no_such_folder(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(ConfigError) as caught:
        Audit(str(tmp_path / 'missing' / 'audit'), 1000, clock, 0.0)
    assert caught.value.field == 'audit_file'


def test_a_disk_that_fails_is_said_once(tmp_path: Path, clock: Clock,
                                        caplog: pytest.LogCaptureFixture) -> None:
    audit = Audit(str(tmp_path / 'audit'), 1000, clock, 0.0)

    class Full:
        """A file on a full disk."""

        def write(self, text: str) -> None:
            raise OSError(28, 'No space left on device')

        def __getattr__(self, name: str) -> Any:
            return lambda *_: 0
    assert audit._handler is not None
    audit._handler.stream.close()
    audit._handler.stream = Full()  # type: ignore[assignment]
    for _ in range(3):
        audit.write('lease')
    audit.close()
    assert caplog.messages.count(
        'the audit log cannot be written: [Errno 28] No space left on device') == 1


def test_it_is_its_owners_alone(tmp_path: Path, clock: Clock) -> None:
    """Also the one that was there before, and those that are rotated."""
    path = tmp_path / 'audit'
    path.write_text('')
    path.chmod(0o644)
    audit = Audit(str(path), 1000, clock, 0.0)
    for number in range(100):
        audit.write('lease', number=number)
    audit.close()
    assert {entry.stat().st_mode & 0o777 for entry in os.scandir(tmp_path)} == {0o600}


def test_no_link_is_followed(tmp_path: Path, clock: Clock,
                             caplog: pytest.LogCaptureFixture) -> None:
    """Neither at the start nor when the file is made anew."""
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    (tmp_path / 'link').symlink_to(victim)
    with pytest.raises(ConfigError, match='symbolic link') as caught:
        Audit(str(tmp_path / 'link'), 1000, clock, 0.0)
    assert caught.value.field == 'audit_file'
    audit = Audit(str(tmp_path / 'audit'), 1000, clock, 0.0)
    assert audit._handler is not None
    audit._handler.stream.close()
    audit._handler.stream = None        # type: ignore[assignment]
    (tmp_path / 'audit').unlink()
    (tmp_path / 'audit').symlink_to(victim)
    audit.write('lease')
    audit.close()
    assert victim.read_text() == 'mine'
    assert 'cannot be written' in caplog.text


def test_a_full_disk_at_the_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """What could not be written is still there when it is closed."""
    audit = Audit('/dev/full', 1000, clock, 0.0)
    audit.often('refused', gate='/t', peer='p', code='expired')
    audit.often('refused', gate='/t', peer='p', code='expired')
    audit.close()
    assert caplog.text.count('cannot be written') == 1
