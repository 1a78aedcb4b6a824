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
"""What stands out in a recording."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.recordings import incident, START

from ws_bridge.protocol.replies import Mark
from ws_bridge.protocol.unix_time import nanoseconds, seconds
from ws_bridge.record.channels import COMMANDS, EVENTS, OWN
from ws_bridge.record.marks import BEHIND, LONGEST, MARKED, marks_of, MOST, TOGETHER
from ws_bridge.record.reading import messages, Recorded
from ws_bridge.record.wire import json_of


def said(channel: str, at: int = START, /, **fields: Any) -> Recorded:
    return Recorded(OWN[channel], at, at, 0, json_of(fields))


def test_an_incident(tmp_path: Path) -> None:
    """The emergency stop stands for the stops that it makes, a command for what was refused."""
    marks = marks_of(messages(incident(tmp_path / 'records'), MARKED))
    assert [((mark.time - START) // 1_000_000_000, mark.kind, mark.text) for mark in marks] == [
        (3, 'refusal', 'page, /cmd_vel: not_holder: p2 has the lease'),
        (4, 'stop', 'emergency stop by p2: a dog'),
        (6, 'lost', 'p2 lost /cmd_vel: heartbeat')]
    for mark, stamp in zip(marks, (3_000_000_000, 4_000_000_001, 6_000_000_000), strict=True):
        # whoever says the time again, as it was told him, gets what the mark is of
        assert nanoseconds(seconds(mark.time)) >= START + stamp


@pytest.mark.parametrize(('topic', 'fields', 'kind', 'text'), [
    (COMMANDS, {'verdict': 'passed'}, None, ''), (COMMANDS, {}, None, ''),
    (COMMANDS, {'peer': 'p1', 'topic': '/t', 'verdict': 'expired', 'message': ''}, 'refusal',
     'p1, /t: expired'),
    (EVENTS, {'event': 'refused', 'peer': 'p1', 'gate': '/t', 'code': 'expired',
              'message': 'expired: too old'}, 'refusal', 'p1, /t: expired: too old'),
    (EVENTS, {'event': 'stopped', 'gate': '/t', 'reason': 'timeout'}, 'stop',
     '/t stopped: timeout'),
    (EVENTS, {'event': 'stopped', 'gate': '/t', 'reason': 'released'}, None, ''),
    (EVENTS, {'event': 'estop', 'stopped': True}, 'stop', 'emergency stop'),
    (EVENTS, {'event': 'estop', 'stopped': False, 'peer': 'p1'}, None, ''),
    (EVENTS, {'event': 'stop_failed', 'message': 'no'}, 'stop', 'stop_failed: no'),
    (EVENTS, {'event': 'lease', 'gate': '/t', 'before': 'p1', 'reason': 'released'}, None, ''),
    (EVENTS, {'event': 'lease', 'gate': '/t', 'reason': 'closed'}, None, ''),
    (EVENTS, {'event': 'close', 'peer': 'p1', 'code': 1006}, 'lost',
     'p1: the connection ended with 1006'),
    (EVENTS, {'event': 'close', 'peer': 'p1', 'code': 1001}, None, ''),
    (EVENTS, {'event': 'close', 'peer': 'p1', 'code': 1005}, None, ''),
    (EVENTS, {'event': 'login'}, None, '')])
def test_what_is_a_mark(topic: str, fields: dict[str, Any], kind: Any, text: str) -> None:
    marks = marks_of([said(topic, **fields)])
    assert marks == ([] if kind is None else [Mark(START + BEHIND, kind, text)])


def test_what_no_bridge_has_written() -> None:
    for data in (b'', b'[]', b'{', b'{"event": []}', b'{"event": "x"}', b'{"verdict": null}'):
        for topic in MARKED:
            assert marks_of([Recorded(OWN[topic], START, START, 0, data)]) == []


def test_many_of_one_kind_are_one() -> None:
    def refused(number: int, stamp: int) -> Recorded:
        return said(COMMANDS, stamp, peer=f'p{number}', topic='/t', verdict='expired',
                    message='x' * 1000)
    step = TOGETHER // 20
    flood = marks_of(refused(1, START + number * step) for number in range(45))
    assert [mark.time - START - BEHIND for mark in flood] == [0, TOGETHER, 2 * TOGETHER]
    assert len(flood[0].text) == LONGEST
    assert len(marks_of(refused(number, START + number) for number in range(MOST + 10))) == MOST
